//! The socket in the file system: for its owner alone.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::values::failure::Failure;
use crate::values::socket_file::SocketFile;

/// Those who may wait until they are accepted.
const BACKLOG: i32 = 64;

/// A socket that is open. Dropped, its file is removed.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    _file: SocketFile,
}

impl ControlSocket {
    /// Opens a socket at `path`.
    ///
    /// # Errors
    ///
    /// If somebody has it, if there is something else, or if it cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let (listener, file) = SocketFile::listen(path, 0o600, BACKLOG)
            .map_err(|error| Failure::CannotCreate(format!("control: {}: {error}", path.display())))?;
        Ok(Self { listener, _file: file })
    }

    /// For the server. Accepting does not block.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}
