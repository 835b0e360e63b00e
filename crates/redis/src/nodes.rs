//! How many nodes a fleet has: each says on the servers that it is there, once a second, and is told how many have.
//!
//! What is used is the largest number that was told within the last half minute or so that this node was connected. A fleet that comes
//! back after an outage, or after a flush, is told of one node, then of two: none of these numbers makes a share larger. While no server
//! answers nothing changes.

use core::time::Duration;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tollgate::clock::Clock;
use tollgate::{Limiter, Quota};

use crate::fleet::{Fleet, Inner};
use crate::outage::OnOutage;
use crate::reply;
use crate::request::{Arg, Request};
use crate::sync::{AtomicU64, Ordering};

/// Between two times that a node says that it is there, and up to a quarter more.
const EVERY: Duration = Duration::from_secs(1);
/// For so long a node counts after that.
const COUNTS: Duration = Duration::from_secs(30);
/// So many answers are looked at for the largest number, and as many before them: 30 s or more of each.
const ANSWERS: u32 = 30;

/// How many nodes there are.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// At least, as was set; 0 if it was not.
    least: u64,
    /// The most that were told lately; 0 before the first answer.
    told: AtomicU64,
}

impl Nodes {
    pub(crate) const fn new(least: u64) -> Self {
        Self { least, told: AtomicU64::new(0) }
    }

    /// `None` if nobody has said.
    pub(crate) fn number(&self) -> Option<u64> {
        // Relaxed, with the store in `tell`: a number by itself. No model.
        Some(self.told.load(Ordering::Relaxed).max(self.least)).filter(|&number| number > 0)
    }

    fn tell(&self, number: u64) {
        self.told.store(number, Ordering::Relaxed);
    }
}

/// The largest of the last numbers.
#[derive(Debug, Default)]
struct Peak {
    before: u64,
    now: u64,
    answers: u32,
}

impl Peak {
    fn note(&mut self, number: u64) -> u64 {
        if self.answers == ANSWERS {
            *self = Self { before: self.now, now: 0, answers: 0 };
        }
        self.now = self.now.max(number);
        self.answers += 1;
        self.now.max(self.before)
    }
}

/// What a limit is on this node while no server decides: its part of it, by the number of nodes.
#[derive(Debug)]
pub(crate) struct Share {
    nodes: Arc<Nodes>,
    /// By which number it was made.
    made: ArcSwapOption<(u64, tollgate::Limit)>,
}

impl Share {
    pub(crate) fn new(nodes: &Arc<Nodes>) -> Self {
        Self { nodes: Arc::clone(nodes), made: ArcSwapOption::empty() }
    }

    /// `None`, which refuses, if nobody has said how many nodes there are.
    pub(crate) fn limit<C: Clock>(&self, local: &Limiter<C>, name: &str, quota: &Quota) -> Option<tollgate::Limit> {
        let number = self.nodes.number()?;
        if let Some((_, limit)) = self.made.load().as_deref().filter(|(of, _)| *of == number) {
            return Some(*limit);
        }
        // The same name and quota are the same limit, whoever makes it.
        let limit = local.prepare(name, OnOutage::Share.quota(quota, number)?).ok()?;
        self.made.store(Some(Arc::new((number, limit))));
        Some(limit)
    }
}

/// Says that this node is there, until nobody needs the fleet any more.
pub(crate) fn announce(fleet: &Fleet, nodes: &Arc<Nodes>) {
    tokio::spawn(run(Arc::downgrade(&fleet.0), Arc::clone(nodes)));
}

async fn run(fleet: Weak<Inner>, nodes: Arc<Nodes>) {
    let (id, mut peak) = (format!("{:032x}", fastrand::u128(..)), Peak::default());
    loop {
        let Some(inner) = fleet.upgrade() else { return };
        if let Some(number) = say(&Fleet(inner), &id).await {
            nodes.tell(peak.note(number));
        }
        tokio::time::sleep(EVERY.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
    }
}

/// How many nodes there are, if a server has said so and none is missing.
async fn say(fleet: &Fleet, id: &str) -> Option<u64> {
    let subject = fleet.subject("nodes");
    let name = subject.name(&fleet.0.secret);
    fleet.0.servers.link(|| name.slot())?;
    let request = Request {
        script: &fleet.0.scripts.nodes,
        keys: vec![format!("tg1:{{{}}}:nodes", name.as_str())],
        args: vec![Arg::Text(id.to_owned()), Arg::Number(u64::try_from(COUNTS.as_micros()).unwrap_or(u64::MAX))],
        slot: name.slot(),
    };
    let answer = fleet.0.servers.call(&request, Instant::now() + fleet.0.deadline).await.ok()?;
    // Whom this node does not see others may see, or not.
    let is_whole = fleet.0.servers.shards().iter().all(|shard| shard.is_up());
    reply::number(&answer).filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_nodes_are_believed_late_and_more_at_once() {
        let mut peak = Peak::default();
        assert_eq!([1, 4, 3].map(|number| peak.note(number)), [1, 4, 4]);
        // Seen last in the first thirty, and so for the next thirty.
        assert_eq!((3..=60).map(|_| peak.note(1)).filter(|&number| number == 4).count(), 57);
        assert_eq!([1, 7].map(|number| peak.note(number)), [1, 7]);
    }

    #[test]
    fn a_share_is_by_the_number_that_was_told_and_by_none_before() {
        let local = Limiter::builder(Quota::unlimited()).build().unwrap();
        let quota: Quota = "80/second".parse().unwrap();
        let burst = |share: &Share| share.limit(&local, "api", &quota).map(|limit| limit.quota().burst());
        let nodes = Arc::new(Nodes::new(0));
        let share = Share::new(&nodes);
        assert_eq!(burst(&share), None);
        nodes.tell(4);
        assert_eq!(burst(&share), Some(20));
        nodes.tell(8);
        assert_eq!((burst(&share), burst(&share)), (Some(10), Some(10)));
        // What was set is the least.
        let nodes = Arc::new(Nodes::new(10));
        let share = Share::new(&nodes);
        assert_eq!(burst(&share), Some(8));
        nodes.tell(4);
        assert_eq!(burst(&share), Some(8));
    }
}
