//! Where clients connect: an address of the network, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::values::origin::{MAX_SOCKET, socket_path};

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    Net(SocketAddr),
    /// The whole path of a socket, which is made there.
    Unix(PathBuf),
}

impl ListenAddr {
    /// The address of the network, if it is one.
    pub fn net(&self) -> Option<SocketAddr> {
        match self {
            Self::Net(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Net(addr)
    }
}

/// Why a text says nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddrError {
    Net(String),
    Unix(String),
}

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(text) => write!(
                f,
                "`{text}` is not a valid address to listen on; expected for example 0.0.0.0:8080, [::]:8080 or unix:/run/tollgate.sock"
            ),
            Self::Unix(text) => write!(
                f,
                "`{text}` is not the whole path of a Unix socket, without blanks and of at most {MAX_SOCKET} bytes; expected for \
                 example unix:/run/tollgate.sock"
            ),
        }
    }
}

impl std::error::Error for ListenAddrError {}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        match text.strip_prefix("unix:") {
            Some(path) => socket_path(path).map(Self::Unix).ok_or_else(|| ListenAddrError::Unix(text.to_owned())),
            None => text.parse().map(Self::Net).map_err(|_| ListenAddrError::Net(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
