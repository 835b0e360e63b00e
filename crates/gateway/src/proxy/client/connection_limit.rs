//! The bounds on connections over all threads, of all clients and of each, and what has become of those that were counted.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use tollgate_http::client::Group;

/// How many connections there are, over all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionLimit(Arc<Counts>);

/// All orderings are relaxed: numbers that publish nothing. A permit gives back what it added, so `present` is exact.
#[derive(Debug, Default)]
struct Counts {
    present: AtomicUsize,
    turned_away: AtomicUsize,
    malformed: AtomicUsize,
    too_large: AtomicUsize,
    crowding: AtomicUsize,
    /// Connections of each client, if they are bounded. A lock, for a moment, when a connection comes and when it goes: no request
    /// waits for it.
    by_client: Mutex<HashMap<Group, usize>>,
}

impl ConnectionLimit {
    /// A permit for one more, unless there are `most` already.
    pub(crate) fn enter(&self, most: usize) -> Option<ConnectionPermit> {
        let permit = ConnectionPermit { counts: Arc::clone(&self.0), client: None };
        if self.0.present.fetch_add(1, Relaxed) < most {
            return Some(permit);
        }
        self.0.turned_away.fetch_add(1, Relaxed);
        None
    }

    pub(crate) fn present(&self) -> usize {
        self.0.present.load(Relaxed)
    }

    /// Clients whose connection was closed at once because there were too many.
    pub(crate) fn turned_away(&self) -> usize {
        self.0.turned_away.load(Relaxed)
    }

    /// Clients whose connection was closed at once because they had too many.
    pub(crate) fn crowding(&self) -> usize {
        self.0.crowding.load(Relaxed)
    }

    /// A connection has ended with `error`; one after an unreadable head is counted.
    pub(crate) fn ended_with(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.0.too_large.fetch_add(1, Relaxed);
        } else if error.is_parse() {
            self.0.malformed.fetch_add(1, Relaxed);
        }
    }

    /// Request heads that could not be read, by what they were answered.
    pub(crate) fn unreadable(&self) -> [(u16, usize); 2] {
        [(400, self.0.malformed.load(Relaxed)), (431, self.0.too_large.load(Relaxed))]
    }
}

/// One connection under the limit; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    counts: Arc<Counts>,
    /// Whose it is, if that is counted.
    client: Option<Group>,
}

impl ConnectionPermit {
    /// Counts the connection as one of `client`, unless there are `most` already. Whether it does.
    pub(crate) fn is_one_of(&mut self, client: Group, most: NonZeroUsize) -> bool {
        let mut by_client = self.counts.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let present = by_client.entry(client).or_default();
        if *present >= most.get() {
            self.counts.crowding.fetch_add(1, Relaxed);
            return false;
        }
        *present += 1;
        self.client = Some(client);
        true
    }

    /// What counts it.
    pub(crate) fn limit(&self) -> ConnectionLimit {
        ConnectionLimit(Arc::clone(&self.counts))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            let mut by_client = self.counts.by_client.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(present) = by_client.get_mut(&client) {
                *present = present.saturating_sub(1);
                if *present == 0 {
                    by_client.remove(&client);
                }
            }
        }
        self.counts.present.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tollgate_http::client::Grouping;

    use super::*;

    #[test]
    fn each_client_has_so_many_and_nothing_is_kept_of_one_that_has_gone() {
        let (limit, most) = (ConnectionLimit::default(), NonZeroUsize::new(2).unwrap());
        let client = |address: &str| Grouping::default().group(address.parse().unwrap());
        let enter = |address: &str| {
            let mut permit = limit.enter(10).unwrap();
            permit.is_one_of(client(address), most).then_some(permit)
        };
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let v6 = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(v6.iter().all(Option::is_some) && enter("2001:db8::3").is_none(), "a /64 is one client");
        assert_eq!((limit.present(), limit.crowding()), (4, 2));
        drop((first, v6));
        assert_eq!(limit.0.by_client.lock().unwrap().len(), 1);
        assert!(enter("192.0.2.1").is_some());
    }
}
