//! The feature `serde`: figures as structs of numbers. Instants are seconds since the clock's epoch and spans are seconds, both as
//! floating-point numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use tollgate::clock::Instant;

use super::label::Label;
use super::policy_stats::{PolicyStats, RefusedKey, UsedKey};

/// As it displays.
impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `name`, `route`, `key`, `limits`, `concurrency`, `shadow`, `allowed`, `refused`, `shadow_refused`, `exempt`, `missed`,
/// `keys`, `paths` (refusals by path) and `used`.
impl Serialize for PolicyStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, route, key, limits, concurrency, is_shadow, counts, missed, refused, .. } = self;
        let mut policy = serializer.serialize_struct("PolicyStats", 14)?;
        policy.serialize_field("name", name)?;
        policy.serialize_field("route", route)?;
        policy.serialize_field("key", key)?;
        policy.serialize_field("limits", limits)?;
        policy.serialize_field("concurrency", concurrency)?;
        policy.serialize_field("shadow", is_shadow)?;
        policy.serialize_field("allowed", &counts.allowed)?;
        policy.serialize_field("refused", &counts.refused)?;
        policy.serialize_field("shadow_refused", &counts.shadow_refused)?;
        policy.serialize_field("exempt", &counts.exempt)?;
        policy.serialize_field("missed", missed)?;
        policy.serialize_field("keys", refused)?;
        policy.serialize_field("paths", &self.refused_by_path.iter().cloned().collect::<BTreeMap<_, _>>())?;
        policy.serialize_field("used", &self.used)?;
        policy.end()
    }
}

/// `key`, `requests`, `error`, `remaining` and `retry_after_seconds`.
impl Serialize for UsedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { key, requests, error, remaining, retry_after } = self;
        let mut row = serializer.serialize_struct("UsedKey", 5)?;
        row.serialize_field("key", key)?;
        row.serialize_field("requests", requests)?;
        row.serialize_field("error", error)?;
        row.serialize_field("remaining", remaining)?;
        row.serialize_field("retry_after_seconds", &retry_after.as_ref().map(Duration::as_secs_f64))?;
        row.end()
    }
}

/// `key`, `refused`, `error`, `first_seconds`, `last_seconds`, `remaining` and `retry_after_seconds`.
impl Serialize for RefusedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { key, refused, error, first, last, remaining, retry_after } = self;
        let seconds = |at: &Instant| Duration::from_nanos(at.as_nanos()).as_secs_f64();
        let mut row = serializer.serialize_struct("RefusedKey", 7)?;
        row.serialize_field("key", key)?;
        row.serialize_field("refused", refused)?;
        row.serialize_field("error", error)?;
        row.serialize_field("first_seconds", &seconds(first))?;
        row.serialize_field("last_seconds", &seconds(last))?;
        row.serialize_field("remaining", remaining)?;
        row.serialize_field("retry_after_seconds", &retry_after.as_ref().map(Duration::as_secs_f64))?;
        row.end()
    }
}
