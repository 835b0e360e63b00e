//! Where the admin listener is: on a given address, on the default one if that is free, or nowhere.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum AdminListen {
    /// The default address; if it is taken, the gateway goes without.
    #[default]
    Default,
    /// This address; if it is taken, the gateway does not start.
    At(SocketAddr),
    Off,
}

impl AdminListen {
    /// An address that only this machine can reach.
    pub(crate) const DEFAULT_ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
}

/// Why a text says neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminListenError(String);

impl fmt::Display for AdminListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an address such as {} nor `off`", self.0, AdminListen::DEFAULT_ADDR)
    }
}

impl std::error::Error for AdminListenError {}

impl FromStr for AdminListen {
    type Err = AdminListenError;

    fn from_str(text: &str) -> Result<Self, AdminListenError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| AdminListenError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(AdminListen::Off));
        assert_eq!("[::1]:0".parse(), Ok(AdminListen::At("[::1]:0".parse().unwrap())));
        for text in ["", "on", "localhost", "127.0.0.1", "9900"] {
            let error = text.parse::<AdminListen>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is neither an address such as 127.0.0.1:9900 nor `off`"));
        }
    }
}
