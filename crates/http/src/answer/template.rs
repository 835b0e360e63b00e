//! A body made from a template, with places for what differs from one refusal to the next.

use http::HeaderValue;

use super::MAX_BODY;
use super::error::AnswerError;
use super::status::LimitStatus;
use super::text_buffer::TextBuffer;
use super::wire_name::WireName;

/// A text with placeholders, checked when it is made.
///
/// A placeholder is a name in braces: `{policy}`, `{name}` (of the limit), `{quota}` (in words), `{limit}`,
/// `{remaining}`, `{retry_after}` (seconds). Braces round anything but lower-case letters and `_` stand for themselves,
/// so JSON needs no escapes:
///
/// ```
/// use tollgate_http::answer::Template;
///
/// Template::new("application/json", r#"{"limit":"{name}","wait":{retry_after}}"#)?;
/// assert!(Template::new("text/plain", "wait {retry-after} s").is_ok()); // no placeholder
/// let error = Template::new("text/plain", "wait {wait} s").unwrap_err();
/// assert!(error.to_string().starts_with("unknown placeholder `{wait}`"));
/// # Ok::<(), tollgate_http::answer::AnswerError>(())
/// ```
///
/// For a request that can never fit, `{retry_after}` is `null` in JSON and `never` elsewhere.
#[derive(Debug, Clone)]
pub struct Template {
    content_type: HeaderValue,
    is_json: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Policy,
    Name,
    Quota,
    Limit,
    Remaining,
    RetryAfter,
}

const PLACES: [Place; 6] =
    [Place::Policy, Place::Name, Place::Quota, Place::Limit, Place::Remaining, Place::RetryAfter];

/// The names of all placeholders.
static NAMES: [&str; 6] = {
    let mut names = [""; 6];
    let mut i = 0;
    while i < names.len() {
        names[i] = PLACES[i].name();
        i += 1;
    }
    names
};

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Name => "name",
            Self::Quota => "quota",
            Self::Limit => "limit",
            Self::Remaining => "remaining",
            Self::RetryAfter => "retry_after",
        }
    }

    /// The most bytes that can stand here.
    const fn longest(self, is_json: bool) -> usize {
        match self {
            // In JSON every byte may need a backslash.
            Self::Policy | Self::Name => WireName::MAX * if is_json { 2 } else { 1 },
            // `COUNT per NANOSECONDS nanosecond burst BURST`: numbers of 20, 18 and 20 digits.
            Self::Quota => 81,
            // The integers of RFC 9651.
            Self::Limit | Self::Remaining | Self::RetryAfter => 15,
        }
    }
}

impl Template {
    /// A body of this content type.
    ///
    /// # Errors
    ///
    /// If the type cannot be the value of a header, a placeholder is unknown, or the body could be longer than
    /// [`RefusalBody::MAX`](super::RefusalBody::MAX).
    pub fn new(content_type: &str, text: &str) -> Result<Self, AnswerError> {
        let value = HeaderValue::from_str(content_type)
            .map_err(|_| AnswerError::ContentType { given: content_type.to_owned() })?;
        let template = Self {
            content_type: value,
            is_json: content_type.to_ascii_lowercase().contains("json"),
            pieces: pieces(text)?,
        };
        let longest = template.longest();
        if longest > MAX_BODY {
            return Err(AnswerError::BodyTooLong { longest, max: MAX_BODY });
        }
        Ok(template)
    }

    pub(super) fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    fn longest(&self) -> usize {
        let longest = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Place(place) => place.longest(self.is_json),
        };
        self.pieces.iter().map(longest).sum()
    }

    pub(super) fn push(&self, line: &mut TextBuffer, limit: &LimitStatus<'_>, retry_after: Option<u64>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    line.push(text);
                }
                Piece::Place(place) => self.push_place(*place, line, limit, retry_after),
            }
        }
    }

    fn push_place(&self, place: Place, line: &mut TextBuffer, limit: &LimitStatus<'_>, retry_after: Option<u64>) {
        match place {
            Place::Policy => self.push_name(line, limit.policy),
            Place::Name => self.push_name(line, limit.name),
            Place::Quota => limit.push_rule(line),
            Place::Limit => {
                line.push_number(limit.report.burst);
            }
            Place::Remaining => {
                line.push_number(limit.report.remaining);
            }
            Place::RetryAfter => match retry_after {
                Some(seconds) => {
                    line.push_number(seconds);
                }
                None => {
                    line.push(if self.is_json { "null" } else { "never" });
                }
            },
        }
    }

    fn push_name(&self, line: &mut TextBuffer, name: &str) {
        if self.is_json {
            line.push_escaped(name)
        } else {
            line.push_name(name)
        };
    }
}

/// The text, taken apart at its placeholders.
fn pieces(text: &str) -> Result<Vec<Piece>, AnswerError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        match placeholder(after) {
            Some((name, tail)) => {
                let place = PLACES.into_iter().find(|place| place.name() == name);
                let place =
                    place.ok_or_else(|| AnswerError::Placeholder { given: name.to_owned(), expected: &NAMES })?;
                pieces.push(Piece::Text(core::mem::take(&mut plain)));
                pieces.push(Piece::Place(place));
                rest = tail;
            }
            None => {
                plain.push('{');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

/// The name of a placeholder and what comes behind it, if there is one after an opening brace.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, tail) = text.split_once('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
    is_name.then_some((name, tail))
}
