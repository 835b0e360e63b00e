//! Takes note of the keys that were refused, with labels that people may see.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tollgate::clock::Instant;

use crate::config::LimiterConfig;
use crate::decision::engine::Engine;
use crate::decision::matching::{FoundBy, MatchedPolicy};
use crate::identity::key::KeyPart;
use crate::request::RequestInfo;
use crate::stats::{Label, TopEntry};

impl MatchedPolicy<'_> {
    /// Takes note that this policy refuses this key, or would.
    pub(crate) fn note_refusal<C>(&self, engine: &Engine<C>, request: &RequestInfo<'_>, shows_keys: bool, at: Instant) {
        let who = || TopEntry { label: self.label(engine, request, shows_keys), key: self.hash, tier: self.tier };
        self.rule.stats.top.record(self.id(engine), who, at);
        if !self.rule.policy.is_shadow {
            self.count_path(request);
        }
    }

    /// Counts a refusal by the path that the policy names.
    fn count_path(&self, request: &RequestInfo<'_>) {
        let at = self.rule.policy.route.path_of(request).unwrap_or(0);
        let Some((_, count)) = self.rule.paths.get(at) else { return };
        // Relaxed, with the loads of who reads it: a number for people. Where no other thread writes, a load and a store lose none.
        match count.own() {
            Ok(mine) => mine.store(mine.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed),
            Err(shared) => drop(shared.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Takes note that a request of this key passes, if that is watched.
    #[inline]
    pub(crate) fn note_use<C>(&self, engine: &Engine<C>, request: &RequestInfo<'_>, config: &LimiterConfig) {
        if config.watches_use {
            let label = || self.label(engine, request, config.shows_keys);
            self.rule.stats.used.count(self.id(engine), || TopEntry {
                label: label(),
                key: self.hash,
                tier: self.tier,
            });
        }
    }

    fn label<C>(&self, engine: &Engine<C>, request: &RequestInfo<'_>, shows_keys: bool) -> Label {
        let secret = |part: &str, key: &[u8]| {
            if shows_keys {
                text(&format!("{part}:{}", String::from_utf8_lossy(key)))
            } else {
                engine.labeller.key(&Arc::from(part), key)
            }
        };
        let part = |part: &KeyPart| match part {
            KeyPart::Client => request.client().map(|client| engine.labeller.address(client, shows_keys)),
            KeyPart::Path => Some(text(request.path())),
            KeyPart::Method => Some(text(request.method())),
            KeyPart::Host => request.host().map(text),
            KeyPart::All => Some(text("all")),
            KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::User => {
                part.secret(request).map(|value| secret(&part.to_string(), value))
            }
        };
        match &self.key {
            FoundBy::Function(key) => match &self.rule.policy.label {
                Some(label) => (label.0)(request).map_or_else(|| secret("key", key.as_slice()), |label| text(&label)),
                None if shows_keys => text(&format!("key:{}", key.text())),
                None => secret("key", key.as_slice()),
            },
            FoundBy::Missing | FoundBy::Known { .. } => text("(none)"),
            FoundBy::Spec(key) => match key.parts {
                [one] => part(one).unwrap_or_else(|| text("(none)")),
                several => {
                    let shown: Vec<String> = several.iter().filter_map(part).map(|label| label.to_string()).collect();
                    text(&shown.join(" + "))
                }
            },
        }
    }
}

/// Clients choose how long these are.
const LONGEST: usize = 96;

fn text(text: &str) -> Label {
    let cut = text.char_indices().nth(LONGEST).and_then(|(at, _)| text.get(..at));
    Label::Text(cut.map_or_else(|| text.into(), |cut| format!("{cut}…").into()))
}
