//! YAML as a tree in which every value knows its place.
//!
//! The tree is read by hand rather than by derived code, so that all mistakes of a file are told at once, each with its
//! place, and a number is what was written: `1_000`, `0.5s` and `off` reach the settings as they stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::{Place, Problem};

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A key without a value, or `null`.
    Nothing,
    /// A text, a number, or yes or no.
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// The name of a value in a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) name: String,
}

/// Reads one document. No document at all is an empty table.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    // A settings file is short. What is not is refused before it costs anything.
    let budget = serde_saphyr::budget! { max_documents: 1, max_nodes: 100_000, max_depth: 16, max_aliases: 1_000 };
    let options = serde_saphyr::options! { budget: budget, with_snippet: false };
    let raw: Option<Spanned<Raw>> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(&error))?;
    match raw {
        Some(raw) => Ok(placed(text, raw)),
        None => Ok(Node { place: Place::START, value: Value::Table(Vec::new()) }),
    }
}

fn problem(error: &Error) -> Problem {
    let place = error.location().map_or(Place::START, place);
    if let Error::Budget { breach: BudgetBreach::Documents { .. }, .. } = error.without_snippet() {
        let what = "a second document begins here; a configuration is one".to_owned();
        return Problem { place, path: String::new(), what };
    }
    let what = UserMessageFormatter.format_message(error.without_snippet());
    Problem { place, path: String::new(), what: what.lines().next().unwrap_or_default().to_owned() }
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

/// A value as the parser has it.
enum Raw {
    /// Quoted, or nothing but a text.
    Text(String),
    /// Something that YAML has a type for; what it says stands in the file.
    Typed(String),
    Nothing,
    List(Vec<Spanned<Self>>),
    Table(Vec<(Spanned<String>, Spanned<Self>)>),
}

fn placed(text: &str, raw: Spanned<Raw>) -> Node {
    let value = match raw.value {
        Raw::Nothing => Value::Nothing,
        Raw::Text(value) => Value::Text(value),
        Raw::Typed(value) => Value::Text(written(text, &raw.defined).unwrap_or(value)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| placed(text, item)).collect()),
        Raw::Table(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Raw>)| {
                (Key { place: place(key.referenced), name: key.value }, placed(text, value))
            };
            Value::Table(entries.into_iter().map(entry).collect())
        }
    };
    Node { place: place(raw.referenced), value }
}

/// What stands in the file at `location`, if it is one word.
fn written(text: &str, location: &Location) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let word = text.get(start..end)?.trim();
    let is_word = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "!&*".contains(c));
    is_word.then(|| word.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Table(entries))
    }
}
