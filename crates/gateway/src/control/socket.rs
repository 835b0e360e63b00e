//! The socket in the file system: made for its owner alone, and never in the place of another gateway's.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::values::failure::Failure;

/// The longest path of a socket, in bytes (`unix(7)`; its field of 108 has a zero behind it).
pub(crate) const LONGEST_PATH: usize = 107;

/// A socket that is open. Dropped, its file is removed.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    /// Of the file, so that none but it is removed.
    id: (u64, u64),
    listener: UnixListener,
    /// Held while the socket is in use. The file stays: to remove it would let two have a lock of that name.
    _lock: File,
}

impl ControlSocket {
    /// Opens a socket at `path`. What a gateway that was killed has left there is removed, by proof of its lock; anything else is
    /// left alone.
    ///
    /// # Errors
    ///
    /// If a gateway that runs has it, if there is something else, or if it cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed =
            |what: &dyn std::fmt::Display| Failure::CannotCreate(format!("control: {}: {what}", path.display()));
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock_path(path));
        let lock = lock.map_err(|error| failed(&format_args!("cannot make the lock beside it: {error}")))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => failed(&"another gateway that runs has this socket"),
            TryLockError::Error(error) => failed(&format_args!("cannot lock the file beside it: {error}")),
        })?;
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => {
                fs::remove_file(path)
                    .map_err(|error| failed(&format_args!("cannot remove what was left there: {error}")))?;
            }
            Ok(_) => return Err(failed(&"there is something there that is no socket; it is left alone")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
        let listener = UnixListener::bind(path).map_err(|error| failed(&error))?;
        // Who came in between is turned away by the server, which asks for the user of each.
        let id = fs::set_permissions(path, Permissions::from_mode(0o600)).and_then(|()| id(path));
        let id = id.map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), id, listener, _lock: lock })
    }

    /// For the server.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
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

fn lock_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tollgate-control-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn it_is_its_owners_alone_and_goes_with_it() {
        let folder = folder("own");
        let path = folder.join("socket");
        let socket = ControlSocket::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = ControlSocket::open(&path).unwrap_err().to_string();
        assert!(error.contains("another gateway that runs has this socket"), "{error}");
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists());
        drop(ControlSocket::open(&path).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_left_is_removed_and_what_is_else_is_not() {
        let folder = folder("stale");
        let path = folder.join("socket");
        // As of a process that was killed: nobody listens, and the file is there.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(ControlSocket::open(&path).unwrap());
        fs::write(&path, "mine").unwrap();
        let error = ControlSocket::open(&path).unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_dir_all(folder).unwrap();
    }
}
