//! Where a table is that several processes share, and what it must be like.

use std::path::{Path, PathBuf};

/// A table that processes of one machine share, for [`LimiterConfig::shared_at`](super::LimiterConfig::shared_at). All that is not said is
/// as with [`LimiterConfig::shared`](super::LimiterConfig::shared): the file is this user's, with the mode 0600, on a tmpfs, and as large
/// as the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedAt {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) owner: Option<u32>,
    pub(crate) on_mismatch: TableMismatch,
    pub(crate) allows_disk: bool,
}

/// What happens when the table that is there has another capacity or `on_full` than the configuration, or is no longer fit for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TableMismatch {
    /// An error that says what was found and what was asked for.
    #[default]
    Refuse,
    /// Capacity and `on_full` are the table's, whatever the configuration says; all else is an error.
    Adopt,
    /// A new table in its place, which forgets all that was counted; an error if another process uses it.
    Replace,
}

impl TableMismatch {
    /// All of them, with the words for them in configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("refuse", Self::Refuse), ("adopt", Self::Adopt), ("replace", Self::Replace)];
}

impl SharedAt {
    /// What the owner of a table needs to do with it, and what others may: read and write.
    const MODES: [u32; 2] = [0o600, 0o666];

    /// The table at a whole path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (mode, on_mismatch) = (Self::MODES[0], TableMismatch::Refuse);
        Self { path: path.into(), mode, owner: None, on_mismatch, allows_disk: false }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The permissions with which the file is made, and the most that it may have: from 0600 to 0666, without any to execute. For
    /// processes of several users. Whoever may write there can give and take tokens as he likes.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The number of the user whose the file must be; that of this process unless told otherwise. Who makes the file gives it to him,
    /// if it may, as root may.
    #[must_use]
    pub const fn owner(mut self, user: u32) -> Self {
        self.owner = Some(user);
        self
    }

    /// What happens when the table that is there is another one.
    #[must_use]
    pub const fn on_mismatch(mut self, what: TableMismatch) -> Self {
        self.on_mismatch = what;
        self
    }

    /// Whether the file may be on a disk (ext4, XFS, btrfs): then it outlives a restart of the machine, and a check that touches a page
    /// while the kernel writes it back waits, for up to seconds.
    #[must_use]
    pub const fn allow_disk(mut self, allows: bool) -> Self {
        self.allows_disk = allows;
        self
    }

    /// Whether a table can be made with these permissions.
    #[must_use]
    pub const fn is_mode(mode: u32) -> bool {
        mode & Self::MODES[0] == Self::MODES[0] && mode & !Self::MODES[1] == 0
    }

    /// As the engine knows it.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) fn to_engine(&self) -> tollgate::shared::Shared {
        use tollgate::shared::{OnMismatch, Shared};

        let on_mismatch = match self.on_mismatch {
            TableMismatch::Refuse => OnMismatch::Refuse,
            TableMismatch::Adopt => OnMismatch::Adopt,
            TableMismatch::Replace => OnMismatch::Replace,
        };
        let shared = Shared::at(&self.path).mode(self.mode).on_mismatch(on_mismatch);
        let shared = self.owner.map_or_else(|| shared.clone(), |owner| shared.clone().owner(owner));
        if self.allows_disk { shared.allow_disk() } else { shared }
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_all_of_it() {
        let told = |at: SharedAt| format!("{:?}", at.to_engine());
        let usual = told(SharedAt::new("/run/app/table"));
        for expected in ["/run/app/table", "mode: 384", "owner: None", "allows_disk: false", "on_mismatch: Refuse"] {
            assert!(usual.contains(expected), "{expected} in {usual}");
        }
        let at =
            SharedAt::new("/run/app/table").mode(0o660).owner(7).on_mismatch(TableMismatch::Replace).allow_disk(true);
        let other = told(at);
        for expected in ["mode: 432", "owner: Some(7)", "allows_disk: true", "on_mismatch: Replace"] {
            assert!(other.contains(expected), "{expected} in {other}");
        }
    }

    #[test]
    fn modes_are_those_that_a_table_can_have() {
        for mode in [0o600, 0o640, 0o660, 0o666] {
            assert!(SharedAt::is_mode(mode), "{mode:o}");
        }
        for mode in [0, 0o400, 0o200, 0o060, 0o700, 0o610, 0o1600, 0o10_600, u32::MAX] {
            assert!(!SharedAt::is_mode(mode), "{mode:o}");
        }
    }
}
