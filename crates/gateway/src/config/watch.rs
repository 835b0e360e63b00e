//! Whether a file, or one of those it names, holds something else than before.
//!
//! What counts is what they hold, not when they were written: a file that another was renamed over, a link that points
//! elsewhere (as Kubernetes changes a `ConfigMap`) and a file written in place all read anew. A change is believed when
//! two looks in a row have seen the same, so that a file that is still being written is left alone. A large file is read again only
//! if its times or its size say that it may have changed: all of a table of a million keys, once a second, would be too much.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Each file and the hash of its content.
type ContentHashes = Vec<(PathBuf, u64)>;

#[derive(Debug)]
pub(crate) struct Watch {
    /// What was acted on last.
    settled: ContentHashes,
    /// What the last look saw, if that was something else.
    seen: Option<ContentHashes>,
    /// Large files as they were read last.
    large: Vec<(PathBuf, Stamp, u64)>,
}

/// Files of so many bytes are large.
const LARGE: u64 = 1 << 20;

/// What changes with every write: device, number, size, and the time of the last change in nanoseconds.
type Stamp = (u64, u64, u64, i128);

/// Of a large file that was left alone for a while: the kernel's clock has ticks, and two writes may be in one.
fn stamp(file: &Path) -> Option<Stamp> {
    const WHILE: i128 = 2_000_000_000;
    let found = std::fs::metadata(file).ok().filter(|found| found.len() >= LARGE)?;
    let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
    let now = jiff::Timestamp::now().as_nanosecond();
    (changed < now.saturating_sub(WHILE)).then(|| (found.dev(), found.ino(), found.len(), changed))
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
        Self { settled: vec![(path.to_owned(), content_hash(path))], seen: None, large: Vec::new() }
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
        let now = self.hashes();
        self.settle(now);
    }

    /// One of them that is there and no file: a folder, or a pipe, which must not be waited for.
    pub(crate) fn no_file(&self) -> Option<&Path> {
        self.settled.iter().map(|(path, _)| &**path).find(|path| is_no_file(path))
    }

    /// Watches `files` from now on. Those that were watched before are taken as they were last acted on.
    pub(crate) fn follow(&mut self, files: Vec<PathBuf>) {
        let known = |file: &Path| self.settled.iter().find(|(known, _)| known == file).map(|(_, hash)| *hash);
        let settled = files.into_iter().map(|file| (known(&file).unwrap_or_else(|| content_hash(&file)), file));
        self.settled = settled.map(|(hash, file)| (file, hash)).collect();
    }

    fn hashes(&mut self) -> ContentHashes {
        let before = std::mem::take(&mut self.large);
        let mut hashes = Vec::with_capacity(self.settled.len());
        for (file, _) in &self.settled {
            // Taken before the file is read: what changes meanwhile has another.
            let stamp = stamp(file);
            let known =
                before.iter().find(|(known, at, _)| known == file && stamp == Some(*at)).map(|(.., hash)| *hash);
            let hash = known.unwrap_or_else(|| content_hash(file));
            self.large.extend(stamp.map(|stamp| (file.clone(), stamp, hash)));
            hashes.push((file.clone(), hash));
        }
        hashes
    }

    fn settle(&mut self, hashes: ContentHashes) {
        self.settled = hashes;
        self.seen = None;
    }
}

fn content_hash(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    // To read a pipe is to wait for somebody who writes, maybe for ever.
    if is_no_file(file) {
        "no file".hash(&mut hasher);
    } else {
        // A file that cannot be read is a state like any other.
        std::fs::read(file).map_err(|error| error.kind()).hash(&mut hasher);
    }
    hasher.finish()
}

fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_large_file_is_read_once_and_again_when_it_changes() {
        let folder = std::env::temp_dir().join(format!("tollgate-watch-large-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        let large = |byte: u8| vec![byte; usize::try_from(LARGE).unwrap()];
        fs::write(&file, large(b'a')).unwrap();
        let mut watch = Watch::new(&file);
        assert_eq!(watch.look(), Look::Same);
        // As if it had been left alone, and holds what it does not: then it was not read.
        let settle = |watch: &mut Watch, file: &Path| {
            let found = fs::metadata(file).unwrap();
            let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
            watch.large = vec![(file.to_owned(), (found.dev(), found.ino(), found.len(), changed), 7)];
        };
        let limit = tokio::time::Instant::now() + Duration::from_secs(60);
        while stamp(&file).is_none() {
            assert!(tokio::time::Instant::now() < limit, "it never settles");
            std::thread::sleep(Duration::from_millis(50));
        }
        settle(&mut watch, &file);
        assert_eq!(watch.look(), Look::Changing, "the hash that was kept, and not that of the content");
        // Written anew, of the same size: read, and what it holds counts.
        fs::write(&file, large(b'a')).unwrap();
        assert_eq!(watch.look(), Look::Same);
        fs::write(&file, large(b'b')).unwrap();
        assert_eq!([watch.look(), watch.look()], [Look::Changing, Look::Changed]);
        fs::remove_dir_all(&folder).unwrap();
    }

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
