//! Reading a [`Node`]: what cannot be used is noted as a [`Problem`], and reading goes on.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use super::node::{Key, Node, Value};
use super::problem::{Place, Problem};

/// All mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// Every key that was asked for, so that the documentation can be held against it.
    #[cfg(test)]
    pub(crate) asked: RefCell<std::collections::BTreeSet<String>>,
}

impl Problems {
    pub(crate) fn note(&self, place: Place, path: &str, what: impl fmt::Display) {
        self.found.borrow_mut().push(Problem { place, path: path.to_owned(), what: what.to_string() });
    }

    /// In the order of the file.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|problem| problem.place);
        problems
    }
}

/// A value, the path to it, and where to note what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Item<'n> {
    node: &'n Node,
    path: String,
    problems: &'n Problems,
}

impl<'n> Item<'n> {
    pub(crate) fn root(node: &'n Node, problems: &'n Problems) -> Self {
        Self { node, path: String::new(), problems }
    }

    /// Notes that this value cannot be used.
    pub(crate) fn refuse(&self, what: impl fmt::Display) {
        self.problems.note(self.node.place, &self.path, what);
    }

    /// The value of `result`; an error is noted.
    pub(crate) fn accept<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(error)).ok()
    }

    /// Whether nothing was noted so far, of any value.
    pub(crate) fn is_fine(&self) -> bool {
        self.problems.found.borrow().is_empty()
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.node.value, Value::Nothing)
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// One word, number or sentence.
    pub(crate) fn text(&self) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => return Some(text),
            Value::Nothing => self.refuse("this is empty; leave the key out for its default"),
            Value::List(_) => self.refuse("expected one value, got a list"),
            Value::Table(_) => self.refuse("expected one value, got keys"),
        }
        None
    }

    /// A text that `T` can be read from.
    pub(crate) fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Option<T> {
        self.accept(self.text()?.parse())
    }

    /// Yes or no.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.text()? {
            "true" | "True" | "TRUE" | "yes" | "on" => Some(true),
            "false" | "False" | "FALSE" | "no" | "off" => Some(false),
            text => {
                self.refuse(format_args!("expected true or false, got `{text}`"));
                None
            }
        }
    }

    /// One of a few names.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let meant = meant(text, names.iter().copied());
            self.refuse(format_args!("`{text}` is unknown{meant}; expected one of {}", names.join(", ")));
        }
        found
    }

    /// The items of a list; anything else is a list of one.
    pub(crate) fn items(&self) -> Vec<Self> {
        match &self.node.value {
            Value::List(nodes) => {
                let path = |index| format!("{}[{index}]", self.path);
                let item = |(index, node)| Self { node, path: path(index), problems: self.problems };
                nodes.iter().enumerate().map(item).collect()
            }
            _ => vec![self.clone()],
        }
    }

    /// Reads the keys of a table; those that `read` does not ask for are noted as unknown.
    pub(crate) fn table<T>(&self, read: impl FnOnce(&mut Table<'_, 'n>) -> T) -> Option<T> {
        let Value::Table(entries) = &self.node.value else {
            match &self.node.value {
                Value::Nothing => self.refuse("this is empty; leave it out for its defaults"),
                Value::Text(text) => self.refuse(format_args!("expected keys, got `{text}`")),
                _ => self.refuse("expected keys, got a list"),
            }
            return None;
        };
        let mut table = Table { item: self, entries, known: Vec::new() };
        let value = read(&mut table);
        table.note_unknown();
        Some(value)
    }

    /// All entries of a table whose keys are names of the user's.
    pub(crate) fn entries(&self) -> Vec<(&'n str, Self)> {
        match &self.node.value {
            Value::Table(entries) => {
                entries.iter().map(|(key, node)| (key.name.as_str(), self.child(&key.name, node))).collect()
            }
            _ => {
                self.refuse("expected names with values");
                Vec::new()
            }
        }
    }

    fn child(&self, name: &str, node: &'n Node) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { node, path, problems: self.problems }
    }
}

/// A table that is being read. It learns which keys there are from being asked for them.
#[derive(Debug)]
pub(crate) struct Table<'i, 'n> {
    item: &'i Item<'n>,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'n> Table<'_, 'n> {
    /// The table itself, to note what is wrong with it as a whole.
    pub(crate) fn item(&self) -> &Item<'n> {
        self.item
    }

    /// Whether `name` is there, usable or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.name == name)
    }

    pub(crate) fn get(&mut self, name: &'static str) -> Option<Item<'n>> {
        self.known.push(name);
        #[cfg(test)]
        self.item.problems.asked.borrow_mut().insert(format!("{}.{name}", self.item.path));
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        Some(self.item.child(name, node))
    }

    /// A key without which the table means nothing.
    pub(crate) fn require(&mut self, name: &'static str, what: &str) -> Option<Item<'n>> {
        let found = self.get(name);
        if found.is_none() {
            self.item.refuse(format_args!("`{name}` is missing: {what}"));
        }
        found
    }

    /// Puts what `read` makes of `name` into `target`, if it is there and can be used.
    pub(crate) fn set<T>(&mut self, name: &'static str, target: &mut T, read: impl FnOnce(Item<'n>) -> Option<T>) {
        if let Some(value) = self.get(name).and_then(read) {
            *target = value;
        }
    }

    fn note_unknown(&self) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.name.as_str())) {
            let path = &self.item.path;
            let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
            let meant = meant(&key.name, self.known.iter().copied());
            let what = if meant.is_empty() {
                format!("unknown key; expected one of {}", self.known.join(", "))
            } else {
                format!("unknown key{meant}")
            };
            self.item.problems.note(key.place, &path, what);
        }
    }
}

/// `, did you mean ...?` if one of `names` is close to what was `given`.
fn meant<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> String {
    // The measure and the threshold that the argument parser uses for its own suggestions.
    let near = names.map(|name| (strsim::jaro(given, name), name)).filter(|(nearness, _)| *nearness > 0.7);
    let best = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map_or_else(String::new, |(_, name)| format!(", did you mean `{name}`?"))
}
