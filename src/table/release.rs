//! What a table gives back of its memory.

use crate::protocol;
use crate::table::Table;
use crate::word::Units;

impl Table {
    /// Gives back every page of memory of which no slot has been in use since `since`, and says how many bytes that are.
    pub(crate) fn release_idle(&self, now: Units, since: Units) -> usize {
        let pages = self.lines.pages().filter(|page| {
            let slots = page.iter().flat_map(|line| &line.slots);
            protocol::release(slots, now, since, || self.lines.forget(page))
        });
        pages.map(size_of_val).sum()
    }
}
