//! Each key once, and a small number for it everywhere else.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;

use crate::values::failure::Failure;

/// Stands for a key. Not zero, so that "no key" costs a record no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(NonZeroU32);

impl KeyId {
    /// The place of the key in [`Keys::iter`].
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

/// The distinct keys of a log, in the order in which the files have them.
#[derive(Debug, Default)]
pub struct Keys {
    texts: Vec<Rc<str>>,
    ids: HashMap<Rc<str>, KeyId>,
}

impl Keys {
    /// The number of `text`, or nothing when there are no more numbers.
    pub(crate) fn intern(&mut self, text: &str) -> Option<KeyId> {
        if let Some(&id) = self.ids.get(text) {
            return Some(id);
        }
        let id = KeyId(NonZeroU32::new(u32::try_from(self.texts.len() + 1).ok()?)?);
        let text: Rc<str> = Rc::from(text);
        self.texts.push(Rc::clone(&text));
        self.ids.insert(text, id);
        Some(id)
    }

    /// There are no more numbers.
    pub(crate) fn too_many() -> Failure {
        Failure::Other("the log has more than 4,294,967,295 distinct keys".to_owned())
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn text(&self, id: KeyId) -> &str {
        &self.texts[id.index()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(Rc::as_ref)
    }
}
