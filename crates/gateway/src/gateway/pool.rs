//! One thread's connections to upstreams: made when needed, kept for the next request, most recent first.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tower_service::Service;

use super::body::RequestBody;
use super::error::Error;
use super::live::{Live, View};
use super::moment;
use super::upstream::{InFlight, Upstream};

/// Connections that wait for a request, by upstream. There are few upstreams, so a list is searched.
#[derive(Debug)]
pub(crate) struct Pool {
    live: View,
    idle: RefCell<Vec<(Arc<Upstream>, Vec<Idle>)>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: u64,
}

impl Pool {
    pub(crate) fn new(live: &Live) -> Rc<Self> {
        Rc::new(Self { live: live.view(), idle: RefCell::default() })
    }

    /// A connection that was used before and is still good.
    pub(crate) fn reuse(self: &Rc<Self>, in_flight: InFlight) -> Result<Connection, InFlight> {
        let sender = self.take(in_flight.upstream());
        match sender {
            Some(sender) => Ok(Connection { pool: Rc::clone(self), in_flight, sender }),
            None => Err(in_flight),
        }
    }

    fn take(&self, upstream: &Arc<Upstream>) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.borrow_mut();
        let (_, stack) = idle.iter_mut().find(|(known, _)| Arc::ptr_eq(known, upstream))?;
        while stack.pop_if(|idle| idle.sender.is_closed()).is_some() {}
        // One that is not ready still sends a body whose answer came early, as slowly as that client likes.
        let place = stack.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(stack.remove(place).sender)
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>, in_flight: InFlight) -> Result<Connection, Error> {
        let state = self.live.now();
        let upstream = in_flight.upstream();
        let mut connector = state.connector.clone();
        let making = async {
            let stream = connector.call(upstream.origin.uri().clone()).await.map_err(|_| Error::Upstream)?;
            // A head with more fields or bytes than this is a fault of the upstream: 502.
            http1::Builder::new().max_buf_size(256 << 10).handshake(stream).await.map_err(|_| Error::Upstream)
        };
        let made = timeout(state.settings.timeouts.connect, making).await.unwrap_or(Err(Error::UpstreamTimedOut));
        match made {
            Ok((sender, connection)) => {
                upstream.reached();
                // Whoever waits for the answer is told of errors; a connection that ends idle is no news.
                spawn_local(async { drop(connection.with_upgrades().await) });
                Ok(Connection { pool: Rc::clone(self), in_flight, sender })
            }
            Err(error) => {
                upstream.unreachable(&state.settings.health);
                Err(error)
            }
        }
    }

    fn give_back(&self, upstream: &Arc<Upstream>, sender: SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let kept = self.live.now().settings.limits.pooled;
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|(known, _)| Arc::ptr_eq(known, upstream));
        let new = Idle { sender, since: moment::now() };
        match place.and_then(|place| idle.get_mut(place)) {
            Some((_, stack)) if stack.len() < kept => stack.push(new),
            Some(_) => {}
            None if kept > 0 => idle.push((Arc::clone(upstream), vec![new])),
            None => {}
        }
    }

    /// Closes what has not been used for a while. The oldest are at the bottom, because the most recent is used first.
    pub(crate) fn sweep(&self) {
        let patience = moment::millis(self.live.now().settings.timeouts.pooled);
        let now = moment::now();
        let mut idle = self.idle.borrow_mut();
        for (_, stack) in idle.iter_mut() {
            stack.retain(|idle| !idle.sender.is_closed() && now.saturating_sub(idle.since) < patience);
        }
        // Upstreams that are no longer configured go with their last connection.
        idle.retain(|(_, stack)| !stack.is_empty());
    }
}

/// A connection that belongs to one request.
#[derive(Debug)]
pub(crate) struct Connection {
    pool: Rc<Pool>,
    in_flight: InFlight,
    sender: SendRequest<RequestBody>,
}

impl Connection {
    /// Sends `request`, which comes back if not a byte of it has been written.
    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        self.sender.try_send_request(request)
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        self.in_flight.upstream()
    }

    /// The answer has been read to its end: the connection can serve the next request.
    pub(crate) fn give_back(self) {
        self.pool.give_back(self.in_flight.upstream(), self.sender);
    }

    /// The connection speaks something else from now on; the request stays in flight until the guard is dropped.
    pub(crate) fn leave(self) -> InFlight {
        self.in_flight
    }
}
