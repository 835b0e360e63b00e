//! How the gateway is doing, as seen from outside.

use crate::proxy::client::connection_limit::ConnectionLimit;
use crate::proxy::live::Live;
use crate::proxy::shutdown::Signal;
pub use crate::proxy::shutdown::Stage;
use crate::proxy::tally::{Tallies, Total};
pub use crate::proxy::times::Times;
pub use crate::proxy::upstream::upstream::Counts;

/// The gateway at one moment; the counts only grow, but for a moment may not agree with each other.
#[derive(Debug, Clone)]
pub struct View {
    pub stage: Stage,
    /// Connections of clients.
    pub connections: usize,
    /// Connections closed at once because there were too many.
    pub turned_away: usize,
    /// Request heads that could not be read, by what they were answered.
    pub unreadable: [(u16, usize); 2],
    /// Requests that no policy refused.
    pub passed: u64,
    /// What they were answered, by the first digit of the status.
    pub answers: Vec<(u16, u64)>,
    /// Those of the answers that no upstream gave, by status.
    pub own: Vec<(u16, u64)>,
    pub upstreams: Vec<Upstream>,
    /// How long requests took, until their answers had gone.
    pub request_times: Times,
    /// How long upstreams took, until the heads of their answers were there.
    pub upstream_times: Times,
    /// Requests for each group but the default, in the order of the settings.
    pub routes: Vec<(String, usize)>,
    /// Connections closed at once because their client had too many.
    pub crowding: usize,
}

/// One upstream at one moment.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub url: String,
    /// The names of the groups that it is in, but for the default.
    pub routes: Vec<String>,
    pub counts: Counts,
}

/// Looks at a gateway from any thread.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub(crate) live: Live,
    pub(crate) connections: ConnectionLimit,
    pub(crate) signal: Signal,
    pub(crate) tallies: Tallies,
}

impl Viewer {
    pub fn now(&self) -> View {
        let Total { passed, classes, own, requests, upstreams: upstream_times } = self.tallies.total();
        let state = self.live.now();
        let groups = || state.groups.iter().flat_map(|groups| groups.iter());
        let upstreams = state.all.iter().map(|one| Upstream {
            url: one.origin.to_string(),
            routes: groups().filter(|group| group.upstreams.has(one)).map(|group| group.name.clone()).collect(),
            counts: one.counts(),
        });
        View {
            stage: self.signal.stage(),
            connections: self.connections.present(),
            turned_away: self.connections.turned_away(),
            unreadable: self.connections.unreadable(),
            passed,
            answers: classes,
            own,
            upstreams: upstreams.collect(),
            request_times: requests,
            upstream_times,
            routes: groups().map(|group| (group.name.clone(), group.requests())).collect(),
            crowding: self.connections.crowding(),
        }
    }
}
