//! The keys that say how much the limiter keeps.

use tollgate::OnFull;
use tollgate_http::LimiterConfig;

use super::item::Table;

/// How much the limiter keeps, and what it shows of it.
#[derive(Debug, Clone)]
pub(crate) struct TableConfig {
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    pub(crate) shows_keys: bool,
    pub(crate) ignores_path_case: bool,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            capacity: LimiterConfig::DEFAULT_CAPACITY,
            on_full: OnFull::default(),
            shows_keys: false,
            ignores_path_case: true,
        }
    }
}

pub(crate) fn read(table: &mut Table<'_, '_>) -> TableConfig {
    let mut table_config = TableConfig::default();
    table.set("capacity", &mut table_config.capacity, |item| item.number(1..=usize::MAX));
    let choices =
        [("evict", OnFull::EvictNearestIdle), ("refuse", OnFull::RefuseNew), ("admit", OnFull::AdmitUntracked)];
    table.set("on_full", &mut table_config.on_full, |item| item.choice(&choices));
    table.set("show_keys", &mut table_config.shows_keys, |item| item.flag());
    table.set("path_case", &mut table_config.ignores_path_case, |item| item.choice(&[("any", true), ("exact", false)]));
    table_config
}
