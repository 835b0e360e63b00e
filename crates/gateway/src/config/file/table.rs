//! The keys that say how much the limiter keeps.

use std::path::{Path, PathBuf};

use tollgate::OnFull;
use tollgate_http::{LimiterConfig, SharedAt, TableMismatch};

use super::gateway::file_mode;
use super::item::{Item, Table};

/// How much the limiter keeps, and what it shows of it.
#[derive(Debug, Clone)]
pub(crate) struct TableConfig {
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    /// Where the table is that other processes of the machine have as well.
    pub(crate) shared: Option<SharedTable>,
    pub(crate) shows_keys: bool,
    pub(crate) ignores_path_case: bool,
}

/// A table of several processes.
#[derive(Debug, Clone)]
pub(crate) struct SharedTable {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) owner: Option<u32>,
    pub(crate) on_mismatch: TableMismatch,
    pub(crate) allows_disk: bool,
}

impl SharedTable {
    pub(crate) fn settings(&self) -> SharedAt {
        let settings =
            SharedAt::new(&self.path).mode(self.mode).on_mismatch(self.on_mismatch).allow_disk(self.allows_disk);
        match self.owner {
            Some(owner) => settings.owner(owner),
            None => settings,
        }
    }
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
    table.set("shared", &mut table_config.shared, |item| shared(&item).map(Some));
    table.set("show_keys", &mut table_config.shows_keys, |item| item.flag());
    table.set("path_case", &mut table_config.ignores_path_case, |item| item.choice(&[("any", true), ("exact", false)]));
    table_config
}

/// A path, or a table with more to say.
fn shared(item: &Item<'_>) -> Option<SharedTable> {
    let usual = |path| SharedTable {
        path,
        mode: 0o600,
        owner: None,
        on_mismatch: TableMismatch::default(),
        allows_disk: false,
    };
    if !item.is_table() {
        return path(item).map(usual);
    }
    item.table(|table| {
        let at = table.require("path", "the whole path of a file on a tmpfs, such as /run/tollgate/table");
        let mut shared = usual(PathBuf::new());
        table.set("mode", &mut shared.mode, |item| {
            let mode = file_mode(&item)?;
            let bad = || format!("{mode:04o} is no mode of a table; expected one from 0600 to 0666, such as 0660");
            item.accept(SharedAt::is_mode(mode).then_some(mode).ok_or_else(bad))
        });
        table.set("owner", &mut shared.owner, |item| item.number(0..=u32::MAX - 1).map(Some));
        table.set("on_mismatch", &mut shared.on_mismatch, |item| item.choice(&TableMismatch::ALL));
        table.set("allow_disk", &mut shared.allows_disk, |item| item.flag());
        shared.path = path(&at?)?;
        Some(shared)
    })?
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
