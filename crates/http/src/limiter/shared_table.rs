//! Limits in a table that other processes have as well.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tollgate::clock::{Clock, LimiterClock};
use tollgate::{Limiter, LimiterBuilder};

use crate::config::SharedAt;
use crate::error::ConfigError;

/// The table that several processes share, as it is found by one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedTable {
    /// Where it is, or was.
    pub path: PathBuf,
    /// A number that no other table has: processes with the same one share their limits.
    pub id: u128,
    /// How long ago it was made.
    pub age: Duration,
    /// Whether the path is another file's by now, or nobody's. Then processes that come later do not share this table, and together
    /// with those a key may be admitted twice: start this one anew.
    pub is_detached: bool,
    /// Slots that processes had left when they were killed in the middle of an insertion, and that were freed since.
    pub freed_slots: u64,
}

/// Makes the table, or attaches to it.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) fn open(builder: LimiterBuilder, table: &SharedAt) -> Result<Limiter<LimiterClock>, ConfigError> {
    Ok(builder.shared(table.to_engine()).build_either()?)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn open(_: LimiterBuilder, table: &SharedAt) -> Result<Limiter<LimiterClock>, ConfigError> {
    Err(ConfigError::NotShared {
        path: table.path().to_owned(),
        why: "processes share tables on Linux with 64 bits only",
    })
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) fn of<C: Clock>(limiter: &Limiter<C>) -> Option<SharedTable> {
    let table = limiter.shared()?;
    Some(SharedTable {
        path: table.path().unwrap_or(Path::new("")).to_owned(),
        id: table.id(),
        age: table.age(limiter.now()),
        is_detached: table.is_detached(),
        freed_slots: table.freed_slots(),
    })
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn of<C: Clock>(_: &Limiter<C>) -> Option<SharedTable> {
    None
}

/// Figures of a table that each of its processes tells: under names of their own, so that nobody adds them up.
#[cfg(feature = "metrics")]
pub(super) fn publish<C: Clock>(limiter: &Limiter<C>, stats: &tollgate::Stats) {
    use metrics::{counter, gauge};

    use super::as_f64;

    let Some(table) = of(limiter) else { return };
    let id = format!("{:032x}", table.id);
    gauge!("tollgate_shared_table_capacity_keys", "table" => id.clone()).set(as_f64(stats.capacity as u64));
    gauge!("tollgate_shared_table_bytes", "table" => id.clone()).set(as_f64(stats.bytes as u64));
    gauge!("tollgate_shared_table_busy_keys", "table" => id.clone()).set(as_f64(stats.busy));
    counter!("tollgate_shared_table_evictions_total", "table" => id.clone()).absolute(stats.evictions);
    counter!("tollgate_shared_table_refused_full_total", "table" => id.clone()).absolute(stats.refused_full);
    counter!("tollgate_shared_table_untracked_total", "table" => id.clone()).absolute(stats.untracked);
    // Of this process: another may have found the table that is there now.
    gauge!("tollgate_shared_table_detached", "table" => id).set(if table.is_detached { 1.0 } else { 0.0 });
}
