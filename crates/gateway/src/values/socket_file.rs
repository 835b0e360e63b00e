//! A Unix socket in the file system: one gateway's at a time, and never in the place of somebody who lives.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The longest path of a socket, in bytes (`unix(7)`; its field of 108 has a zero behind it).
pub(crate) const LONGEST_PATH: usize = 107;

/// The file of a socket that this process has made. Dropped, it is removed if it is still the same.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number: by then the path may be another's.
    id: (u64, u64),
    /// Held while the socket is in use. Its file stays: to remove it would let two have a lock of that name.
    _lock: File,
}

impl SocketFile {
    /// Listens at `path`, for those whom `mode` lets in. Does not block, in accepting either.
    ///
    /// Whoever makes a socket there has the lock beside it (`PATH.lock`), from before it looks until it has gone: of two that start at the
    /// same moment one has the path. What nobody listens on any more makes way.
    ///
    /// # Errors
    ///
    /// If another gateway has the path or somebody else listens there, if something there is no socket, or if it cannot be made.
    pub(crate) fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, Self)> {
        let addr = SockAddr::unix(path)?;
        let lock = lock(path)?;
        make_way(path, &addr)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr)?;
        let file = Self { path: path.to_owned(), id: id(path)?, _lock: lock };
        // Nobody can connect before it is listened on.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        Ok((socket.into(), file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// The lock of whoever makes a socket at `path`.
fn lock(path: &Path) -> io::Result<File> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".lock");
    let failed =
        |what: &str, error: &io::Error| io::Error::new(error.kind(), format!("cannot {what} beside it: {error}"));
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name);
    let lock = lock.map_err(|error| failed("open the lock", &error))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(ErrorKind::AddrInUse, "another gateway that runs has this socket"),
        TryLockError::Error(error) => failed("lock the file", &error),
    })?;
    Ok(lock)
}

/// Removes the socket of somebody who has gone. Others than gateways have no such lock: that a connection is refused shows that nobody
/// listens.
fn make_way(path: &Path, addr: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            let what = "there is something that is no socket; it is left alone";
            return Err(io::Error::new(ErrorKind::AlreadyExists, what));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Or its queue is full.
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there already")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// A folder of this test alone, with a short name.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("tg-socket-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        SocketFile::listen(path, 0o600, 16)
    }

    #[test]
    fn it_goes_with_its_owner_and_is_nobody_elses_meanwhile() {
        let folder = Folder::new("own");
        let path = folder.0.join("socket");
        let socket = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("another gateway that runs has this socket"), "{error}");
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists());
        drop(listen(&path).unwrap());
    }

    #[test]
    fn what_was_left_makes_way_and_nothing_else() {
        let folder = Folder::new("stale");
        let path = folder.0.join("socket");
        // As of a process that was killed: nobody listens, and the file is there.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(listen(&path).unwrap());
        // A program that knows of no lock.
        let other = UnixListener::bind(&path).unwrap();
        let before = id(&path).unwrap();
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("somebody listens there already"), "{error}");
        assert_eq!(id(&path).unwrap(), before);
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    /// Each finds that nobody listens on what was left there; without the lock each removes it, or the socket of who was faster.
    #[test]
    fn of_several_at_the_same_moment_one_has_it() {
        const AT_ONCE: usize = 4;
        let folder = Folder::new("once");
        let path = folder.0.join("socket");
        for round in 0..100 {
            drop(UnixListener::bind(&path).unwrap());
            let start = Barrier::new(AT_ONCE);
            let made: Vec<_> = thread::scope(|scope| {
                let makers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| (start.wait(), listen(&path)).1)).collect();
                makers.into_iter().map(|maker| maker.join().unwrap()).collect()
            });
            let errors = made.iter().filter_map(|made| made.as_ref().err()).map(ToString::to_string);
            let errors: Vec<String> = errors.collect();
            assert_eq!(errors.len(), AT_ONCE - 1, "round {round}: {errors:?}");
            assert!(errors.iter().all(|error| error.contains("another gateway that runs")), "{errors:?}");
            std::os::unix::net::UnixStream::connect(&path).expect("the one that has it can be reached");
        }
    }
}
