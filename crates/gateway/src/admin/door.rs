//! Where the admin listener is: on an address of choice, on the usual one if that is free, or nowhere.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

use metrics_exporter_prometheus::PrometheusHandle;
use tollgate_http::RateLimiter;

use super::subject::Subject;
use super::{metrics, server};
use crate::failure::Failure;
use crate::gateway::view::Viewer;
use crate::output;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    /// The usual address; if somebody else has it, the gateway goes without.
    #[default]
    Usual,
    /// This address or none of the gateway.
    At(SocketAddr),
    Off,
}

impl Choice {
    /// An address that only this machine can reach.
    pub(crate) const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
}

/// Why a text is no choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChoiceError(String);

impl fmt::Display for ChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an address such as {} nor `off`", self.0, Choice::USUAL)
    }
}

impl std::error::Error for ChoiceError {}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| ChoiceError(text.to_owned()))
    }
}

/// An address that is open, and a recorder that takes down what is counted from now on.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    socket: TcpListener,
    recorder: PrometheusHandle,
}

impl Door {
    /// Opens the address, if there is to be one. Before the limiter is made: its metrics go to the recorder that is
    /// there by then.
    pub(crate) fn open(choice: Choice) -> Result<Option<Self>, Failure> {
        let addr = match choice {
            Choice::Off => return Ok(None),
            Choice::At(addr) => addr,
            Choice::Usual => Choice::USUAL,
        };
        match bind(addr) {
            Ok((socket, addr)) => Ok(Some(Self { addr, socket, recorder: metrics::install()? })),
            Err(error) if choice == Choice::Usual => {
                output::complain(&format_args!(
                    "no admin page: cannot listen on {addr}: {error}; `--admin ADDR` puts it elsewhere"
                ));
                Ok(None)
            }
            Err(error) => Err(Failure::Io(format!("cannot listen on {addr} for the admin page: {error}"))),
        }
    }

    /// Answers from now on, until the process ends.
    pub(crate) fn serve(self, limiter: RateLimiter, gateway: Viewer) -> Result<(), Failure> {
        let subject = Subject { limiter, gateway, recorder: self.recorder, is_local: self.addr.ip().is_loopback() };
        server::start(self.socket, subject)
            .map_err(|error| Failure::Other(format!("cannot start the admin listener: {error}")))
    }
}

fn bind(addr: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind(addr)?;
    socket.set_nonblocking(true)?;
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(Choice::Off));
        assert_eq!("[::1]:0".parse(), Ok(Choice::At("[::1]:0".parse().unwrap())));
        for text in ["", "on", "localhost", "127.0.0.1", "9900"] {
            let error = text.parse::<Choice>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is neither an address such as 127.0.0.1:9900 nor `off`"));
        }
    }
}
