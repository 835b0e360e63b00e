//! How the gateway is doing, for whoever looks from outside.

use super::listener::Crowd;
use super::live::Live;
use super::shutdown::Signal;
pub(crate) use super::shutdown::Stage;
use super::tally::{Tallies, Total};
use super::upstream::Counts;

/// The gateway at one moment; the counts only grow, but for a moment may not agree with each other.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) stage: Stage,
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Connections closed at once because there were too many.
    pub(crate) turned_away: usize,
    /// Request heads that could not be read, by what they were answered.
    pub(crate) unreadable: [(u16, usize); 2],
    /// Requests that no policy refused.
    pub(crate) passed: u64,
    /// What they were answered, by the first digit of the status.
    pub(crate) answers: Vec<(u16, u64)>,
    /// Those of the answers that no upstream gave, by status.
    pub(crate) own: Vec<(u16, u64)>,
    pub(crate) upstreams: Vec<Upstream>,
}

/// One upstream at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) counts: Counts,
}

/// Looks at a gateway from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(super) live: Live,
    pub(super) crowd: Crowd,
    pub(super) signal: Signal,
    pub(super) tallies: Tallies,
}

impl Viewer {
    pub(crate) fn now(&self) -> View {
        let Total { passed, classes, own } = self.tallies.total();
        let state = self.live.now();
        let upstreams = state.upstreams.iter();
        let upstreams = upstreams.map(|one| Upstream { url: one.origin.to_string(), counts: one.counts() });
        View {
            stage: self.signal.stage(),
            connections: self.crowd.present(),
            turned_away: self.crowd.turned_away(),
            unreadable: self.crowd.unreadable(),
            passed,
            answers: classes,
            own,
            upstreams: upstreams.collect(),
        }
    }
}
