//! The open address of the admin listener.

use std::net::{SocketAddr, TcpListener};

use metrics_exporter_prometheus::PrometheusHandle;
use tollgate_http::RateLimiter;

use super::state::Subject;
use super::{metrics, server};
use crate::proxy::view::Viewer;
use crate::values::admin_listen::AdminListen;
use crate::values::failure::Failure;
use crate::values::output;

/// An address that is open, and a recorder that takes down what is counted from now on.
#[derive(Debug)]
pub(crate) struct AdminListener {
    pub(crate) addr: SocketAddr,
    socket: TcpListener,
    recorder: PrometheusHandle,
}

impl AdminListener {
    /// Opens the address, if there is to be one. Before the limiter is made: its metrics go to the recorder that is
    /// there by then.
    pub(crate) fn open(listen: AdminListen) -> Result<Option<Self>, Failure> {
        let addr = match listen {
            AdminListen::Off => return Ok(None),
            AdminListen::At(addr) => addr,
            AdminListen::Default => AdminListen::DEFAULT_ADDR,
        };
        match bind(addr) {
            Ok((socket, addr)) => Ok(Some(Self { addr, socket, recorder: metrics::install()? })),
            Err(error) if listen == AdminListen::Default => {
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
