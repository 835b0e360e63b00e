//! The keys that say how much the limiter keeps.

use std::path::{Path, PathBuf};

use tollgate::OnFull;
use tollgate_http::LimiterConfig;

use super::item::{Item, Table};

/// How much the limiter keeps, and what it shows of it.
#[derive(Debug, Clone)]
pub(crate) struct TableConfig {
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    /// Where the table is that other processes of the machine have as well.
    pub(crate) shared: Option<PathBuf>,
    pub(crate) shows_keys: bool,
    pub(crate) ignores_path_case: bool,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            capacity: LimiterConfig::DEFAULT_CAPACITY,
            on_full: OnFull::default(),
            shared: None,
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
    table.set("shared", &mut table_config.shared, |item| path(&item).map(Some));
    table.set("show_keys", &mut table_config.shows_keys, |item| item.flag());
    table.set("path_case", &mut table_config.ignores_path_case, |item| item.choice(&[("any", true), ("exact", false)]));
    table_config
}

/// Not relative to the file's folder, as the names of other files are: two configurations that mean one table must name one path.
fn path(item: &Item<'_>) -> Option<PathBuf> {
    let path = Path::new(item.text()?);
    if !path.is_absolute() || path.file_name().is_none() {
        item.refuse(format_args!(
            "expected the whole path of a file on a tmpfs, such as /run/tollgate/table; got `{}`",
            path.display()
        ));
        return None;
    }
    Some(path.to_owned())
}
