//! Whom a policy has refused: for people, and to look up how they stand.

use std::sync::Arc;

use tollgate::KeyHash;
use tollgate::clock::Instant;

use crate::key::Part;
use crate::label::Label;
use crate::request::RequestInfo;
use crate::rules::{Engine, FoundBy, Meeting};

/// A key that was refused.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) label: Label,
    pub(crate) key: KeyHash,
    pub(crate) tier: usize,
}

impl Meeting<'_> {
    /// Takes note that this policy refuses this key, or would.
    pub(crate) fn note_refusal<C>(&self, engine: &Engine<C>, request: &RequestInfo<'_>, shows_keys: bool, at: Instant) {
        let who = || Who { label: self.label(engine, request, shows_keys), key: self.hash, tier: self.tier };
        self.rule.shared.top.record(self.id(engine), who, at);
    }

    fn label<C>(&self, engine: &Engine<C>, request: &RequestInfo<'_>, shows_keys: bool) -> Label {
        let secret = |part: &str, key: &[u8]| {
            if shows_keys {
                text(&format!("{part}:{}", String::from_utf8_lossy(key)))
            } else {
                engine.labeller.key(&Arc::from(part), key)
            }
        };
        let part = |part: &Part| match part {
            Part::Client => request.client().map(|client| engine.labeller.address(client, shows_keys)),
            Part::Path => Some(text(request.path())),
            Part::Method => Some(text(request.method().as_str())),
            Part::Host => request.host().map(text),
            Part::All => Some(text("all")),
            Part::Header(_) | Part::Cookie(_) | Part::User => {
                part.secret(request).map(|value| secret(&part.to_string(), value))
            }
        };
        match &self.key {
            FoundBy::Function(key) => secret("key", key.as_bytes()),
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
