//! Response bodies on their way to the client: given up when they stand still, never collected.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::error::Error;
use crate::proxy::idle_timer::IdleTimer;
use crate::proxy::settings::Timeouts;
use crate::proxy::upstream::complaint::Cause;
use crate::proxy::upstream::pool::Connection;

/// A response body on its way to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// An answer of our own.
    Own(Option<Bytes>),
    /// What an upstream sends.
    Relayed(Relayed),
}

#[derive(Debug)]
pub(crate) struct Relayed {
    body: Incoming,
    idle: IdleTimer,
    /// Given back to the pool once the body has ended; if it does not, both are dropped, which closes the connection.
    connection: Option<Connection>,
}

impl ResponseBody {
    pub(crate) fn relay(body: Incoming, connection: Connection, timeouts: &Timeouts) -> Self {
        let mut relayed = Relayed { body, idle: IdleTimer::new(timeouts.response_body), connection: Some(connection) };
        relayed.release_at_end();
        Self::Relayed(relayed)
    }
}

impl Relayed {
    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self { body, connection, .. } = self;
        let polled = match connection {
            Some(connection) => connection.poll_with(cx, |cx| Pin::new(&mut *body).poll_frame(cx)),
            None => Pin::new(body).poll_frame(cx),
        };
        let Poll::Ready(frame) = polled else {
            ready!(self.idle.poll_end(cx));
            return Poll::Ready(Some(Err(self.failed(Error::UpstreamTimedOut, &Error::UpstreamTimedOut))));
        };
        self.idle.renew();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.release_at_end();
                Some(Ok(frame))
            }
            Some(Err(why)) => Some(Err(self.failed(Error::Upstream, &why))),
            None => {
                self.release();
                None
            }
        })
    }

    fn failed(&mut self, error: Error, why: &dyn std::error::Error) -> Error {
        if let Some(connection) = self.connection.take() {
            connection.upstream().failed();
            connection.upstream().complain(Cause::Body, why);
        }
        error
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Self::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}
