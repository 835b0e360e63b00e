//! Whether a file, or one of those it names, holds something else than before.
//!
//! What counts is what they hold, not when they were written: a file that another was renamed over, a link that points
//! elsewhere (as Kubernetes changes a `ConfigMap`) and a file written in place all read anew. A change is believed when
//! two looks in a row have seen the same, so that a file that is still being written is left alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Each file and the hash of its content.
type ContentHashes = Vec<(PathBuf, u64)>;

#[derive(Debug)]
pub(crate) struct Watch {
    /// What was acted on last.
    settled: ContentHashes,
    /// What the last look saw, if that was something else.
    seen: Option<ContentHashes>,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing has changed since it was acted on.
    Same,
    /// Something may still be changing.
    Changing,
    /// Something has changed: to be acted on now.
    Changed,
}

impl Watch {
    /// Watches the file at `path`, as it is now.
    pub(crate) fn new(path: &Path) -> Self {
        Self { settled: vec![(path.to_owned(), content_hash(path))], seen: None }
    }

    /// To be asked again and again.
    pub(crate) fn look(&mut self) -> Look {
        let now = self.hashes();
        if now == self.settled {
            self.seen = None;
            return Look::Same;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return Look::Changing;
        }
        self.settle(now);
        Look::Changed
    }

    /// What the files hold now will be acted on, whether it has changed or not.
    pub(crate) fn take(&mut self) {
        self.settle(self.hashes());
    }

    /// Watches `files` from now on. Those that were watched before are taken as they were last acted on.
    pub(crate) fn follow(&mut self, files: Vec<PathBuf>) {
        let known = |file: &Path| self.settled.iter().find(|(known, _)| known == file).map(|(_, hash)| *hash);
        let settled = files.into_iter().map(|file| (known(&file).unwrap_or_else(|| content_hash(&file)), file));
        self.settled = settled.map(|(hash, file)| (file, hash)).collect();
    }

    fn hashes(&self) -> ContentHashes {
        self.settled.iter().map(|(file, _)| (file.clone(), content_hash(file))).collect()
    }

    fn settle(&mut self, hashes: ContentHashes) {
        self.settled = hashes;
        self.seen = None;
    }
}

fn content_hash(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    // A file that cannot be read is a state like any other.
    std::fs::read(file).map_err(|error| error.kind()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_believed_at_the_second_look() {
        let folder = std::env::temp_dir().join(format!("tollgate-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file);
        let mut write_and_look = |text: &str| {
            fs::write(&file, text).unwrap();
            watch.look()
        };
        assert_eq!(write_and_look("one"), Look::Same);
        // Half of it is there, then all of it, and it stays.
        assert_eq!(["tw", "two", "two"].map(&mut write_and_look), [Look::Changing, Look::Changing, Look::Changed]);
        assert_eq!(write_and_look("two"), Look::Same);
        // What was seen before it was changed back does not count.
        assert_eq!(["one", "two", "one"].map(write_and_look), [Look::Changing, Look::Same, Look::Changing]);
        fs::remove_file(&file).unwrap();
        assert_eq!([watch.look(), watch.look(), watch.look()], [Look::Changing, Look::Changed, Look::Same]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
