//! The hot keys that a thread has looked at last. The table of all keys counts who looks at a key, so that a key that gives way is not
//! freed too early; here each is held by the thread, and looking at it is reading its own memory.

use core::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::lease::hot::Hot;
use crate::lease::tally::Places;

/// As many keys a thread holds at most, a power of two: until others come into their places, or until it ends.
const KEYS: usize = 256;

/// Of all fleets of the process.
static PLACES: Places = Places::new();

thread_local! {
    static NEAR: Near = const { Near::new() };
}

struct Near {
    hot: RefCell<[Option<Arc<Hot>>; KEYS]>,
    /// Where this thread counts, once it has held a key.
    place: Cell<Option<usize>>,
}

impl Near {
    const fn new() -> Self {
        Self { hot: RefCell::new([const { None }; KEYS]), place: Cell::new(None) }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            PLACES.give_back(place);
        }
    }
}

#[inline]
fn index(hash: u64) -> usize {
    // Below `KEYS`.
    usize::try_from(hash % KEYS as u64).unwrap_or(0)
}

/// What is seen of a key with this hash that `is_it`, if this thread has it; with where the thread counts.
#[inline]
pub(crate) fn with<R>(
    hash: u64,
    is_it: impl FnOnce(&Hot) -> bool,
    look: impl FnOnce(&Arc<Hot>, Option<usize>) -> Option<R>,
) -> Option<R> {
    NEAR.try_with(|near| {
        // Not while `keep` changes it, which a key that is written to a hash function could have been called from.
        let held = near.hot.try_borrow().ok()?;
        let hot = held[index(hash)].as_ref().filter(|hot| hot.hash == hash && is_it(hot))?;
        look(hot, near.place.get())
    })
    .ok()?
}

/// Where this thread counts.
pub(crate) fn place() -> Option<usize> {
    NEAR.try_with(|near| near.place.get()).ok()?
}

/// Holds a key from now on, in the place of another.
pub(crate) fn keep(hot: &Arc<Hot>) {
    let _ = NEAR.try_with(|near| {
        if near.place.get().is_none() {
            near.place.set(PLACES.take());
        }
        let before = near.hot.try_borrow_mut().ok().and_then(|mut held| held[index(hot.hash)].replace(Arc::clone(hot)));
        // Once nothing is borrowed.
        drop(before);
    });
}
