//! What a table gives back of its memory.

use crate::claimer::Claimer;
use crate::protocol;
use crate::table::Table;
use crate::word::Units;

impl Table {
    /// Gives back every page of memory of which no slot has been in use since `since`, and says how many bytes that are.
    pub(crate) fn release_idle(&self, now: Units, since: Units) -> usize {
        let claimer = self.claimer();
        let pages = self.lines.pages().filter(|page| {
            let slots = page.iter().flat_map(|line| &line.slots);
            protocol::release(slots, now, since, claimer, || self.lines.forget(page))
        });
        pages.map(size_of_val).sum()
    }

    /// Frees the slots that are claimed by those who do not live, while others use the table, and says how many.
    #[cfg(target_os = "linux")]
    pub(crate) fn free_of_the_dead(&self, lives: impl Fn(Claimer) -> bool) -> u64 {
        let slots = self.lines.used().into_iter().flatten().flat_map(|line| &line.slots);
        slots.map(|slot| u64::from(protocol::free_of_the_dead(slot, &lives))).sum()
    }
}
