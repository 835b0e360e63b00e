//! The keys that say how much the limiter keeps.

use tollgate::OnFull;
use tollgate_http::LimiterConfig;

use super::item::Table;

/// How much the limiter keeps, and what it shows of it.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    pub(crate) shows_keys: bool,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { capacity: LimiterConfig::DEFAULT_CAPACITY, on_full: OnFull::default(), shows_keys: false }
    }
}

pub(crate) fn read(table: &mut Table<'_, '_>) -> Keeping {
    let mut keeping = Keeping::default();
    table.set("capacity", &mut keeping.capacity, |item| item.number(1..=usize::MAX));
    let choices =
        [("evict", OnFull::EvictNearestIdle), ("refuse", OnFull::RefuseNew), ("admit", OnFull::AdmitUntracked)];
    table.set("on_full", &mut keeping.on_full, |item| item.choice(&choices));
    table.set("show_keys", &mut keeping.shows_keys, |item| item.flag());
    keeping
}
