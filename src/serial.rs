//! The feature `serde`: a quota is its rate string, names are names, and figures are structs of numbers.
//!
//! Written out rather than derived: what is read must not depend on the order or the names of private fields, and no derive
//! macro is built for it.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::decision::{Report, Verdict};
#[cfg(not(tollgate_model))]
use crate::limiter::Stats;
use crate::on_full::OnFull;
use crate::quota::{Algorithm, Quota};

/// Reads a string, and nothing else, by `parse`; `expected` says what would have been right.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, Wrong>,
}

/// Why a string is not what it should be: in words of its own, or just not as expected.
enum Wrong {
    Because(String),
    Unknown,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|wrong| match wrong {
            Wrong::Because(why) => E::custom(format_args!("{why}; expected {}", self.expected)),
            Wrong::Unknown => E::invalid_value(Unexpected::Str(text), &self),
        })
    }
}

/// As its rate string: see [`parse_quotas`](crate::parse_quotas).
impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From a rate string; anything else, such as a number, is an error.
impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: "a rate string such as `100 per minute`",
            parse: |text| Self::from_str(text).map_err(|error| Wrong::Because(error.to_string())),
        })
    }
}

/// As its [name](Algorithm::name).
impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// From its [name](Algorithm::name).
impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: "the name of an algorithm such as `token-bucket`",
            parse: |name| Self::from_str(name).map_err(|error| Wrong::Because(error.to_string())),
        })
    }
}

impl OnFull {
    const NAMES: [(Self, &str); 3] = [
        (Self::EvictNearestIdle, "evict-nearest-idle"),
        (Self::RefuseNew, "refuse-new"),
        (Self::AdmitUntracked, "admit-untracked"),
    ];

    const fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

// In the order of their declaration, so that each is found by its number.
const _: () = {
    let mut place = 0;
    while place < OnFull::NAMES.len() {
        assert!(OnFull::NAMES[place].0 as usize == place);
        place += 1;
    }
};

/// As `evict-nearest-idle`, `refuse-new` or `admit-untracked`.
impl Serialize for OnFull {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// From `evict-nearest-idle`, `refuse-new` or `admit-untracked`.
impl<'de> Deserialize<'de> for OnFull {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: "`evict-nearest-idle`, `refuse-new` or `admit-untracked`",
            parse: |text| {
                Self::NAMES.into_iter().find(|(_, name)| *name == text).map(|(it, _)| it).ok_or(Wrong::Unknown)
            },
        })
    }
}

/// As `allowed`, `refused` or `never-fits`.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::NeverFits => "never-fits",
        })
    }
}

/// `verdict`, `burst`, `remaining`, `retry_after_seconds` (none if the report has none) and `reset_after_seconds`: spans in
/// seconds, as floating-point numbers, so exact to the nanosecond up to a hundred days.
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { verdict, burst, remaining, retry_after, reset_after } = self;
        let mut report = serializer.serialize_struct("Report", 5)?;
        report.serialize_field("verdict", verdict)?;
        report.serialize_field("burst", burst)?;
        report.serialize_field("remaining", remaining)?;
        report.serialize_field("retry_after_seconds", &retry_after.as_ref().map(Duration::as_secs_f64))?;
        report.serialize_field("reset_after_seconds", &reset_after.as_secs_f64())?;
        report.end()
    }
}

/// Under the names of its fields.
#[cfg(not(tollgate_model))]
impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { capacity, is_detached, bytes, busy, evictions, refused_full, untracked, clock_steps, foreign } =
            self;
        let mut stats = serializer.serialize_struct("Stats", 9)?;
        stats.serialize_field("capacity", capacity)?;
        stats.serialize_field("is_detached", is_detached)?;
        stats.serialize_field("bytes", bytes)?;
        stats.serialize_field("busy", busy)?;
        stats.serialize_field("evictions", evictions)?;
        stats.serialize_field("refused_full", refused_full)?;
        stats.serialize_field("untracked", untracked)?;
        stats.serialize_field("clock_steps", clock_steps)?;
        stats.serialize_field("foreign", foreign)?;
        stats.end()
    }
}
