//! Nodes that are all asked for one key, and the record of all that was admitted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tollgate_redis::{Fleet, FleetLimit, OnOutage, Place};

/// Requests to each node at a rate, until told to stop.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    nodes: Vec<tokio::task::JoinHandle<Seen>>,
}

/// What was decided.
#[derive(Default)]
pub(crate) struct Seen {
    /// When each request that was admitted began and ended.
    pub(crate) admitted: Vec<(Instant, Instant)>,
    pub(crate) refused: u64,
    /// Admitted by what was taken in advance.
    pub(crate) leased: u64,
    /// Decided by no server, nor by what one had granted.
    pub(crate) without_server: u64,
    /// Why, and how often.
    pub(crate) outages: BTreeMap<String, u64>,
}

impl Load {
    /// A leased limit, if its quota can be leased.
    pub(crate) fn start(fleets: &[Fleet], name: &str, quota: &str, choice: OnOutage, per_second: u32) -> Self {
        let limits = fleets.iter().map(|fleet| fleet.limit_with(name, quota, choice).unwrap().leased()).collect();
        Self::of(fleets, limits, per_second)
    }

    /// A limit for each node.
    pub(crate) fn of(fleets: &[Fleet], limits: Vec<FleetLimit>, per_second: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let nodes = fleets.iter().cloned().zip(limits);
        let nodes = nodes.map(|(fleet, limit)| tokio::spawn(node(fleet, limit, per_second, Arc::clone(&is_over))));
        Self { nodes: nodes.collect(), is_over }
    }

    pub(crate) async fn stop(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for node in self.nodes {
            all.add(node.await.unwrap());
        }
        all
    }
}

async fn node(fleet: Fleet, limit: FleetLimit, per_second: u32, is_over: Arc<AtomicBool>) -> Seen {
    let begun = Instant::now();
    let since = |begun: Instant| u64::try_from(begun.elapsed().as_micros()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let (mut sent, mut seen) = (0, Seen::default());
    while !is_over.load(Ordering::Relaxed) {
        let due = since(begun) * u64::from(per_second) / 1_000_000;
        while sent < due {
            sent += 1;
            let (fleet, limit) = (fleet.clone(), limit.clone());
            tasks.spawn(async move {
                let begun = Instant::now();
                let decision = fleet.under(&limit).check("ada").await;
                (begun, Instant::now(), decision)
            });
        }
        while let Some(done) = tasks.try_join_next() {
            seen.note(done.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(done) = tasks.join_next().await {
        seen.note(done.unwrap());
    }
    seen
}

impl Seen {
    fn note(&mut self, (begun, ended, decision): (Instant, Instant, tollgate_redis::FleetDecision)) {
        if let Some(outage) = decision.outage() {
            self.without_server += 1;
            *self.outages.entry(outage.to_string()).or_default() += 1;
        }
        if decision.is_allowed() {
            self.leased += u64::from(*decision.place() == Place::Lease);
            self.admitted.push((begun, ended));
        } else {
            self.refused += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.admitted.extend(other.admitted);
        self.refused += other.refused;
        self.leased += other.leased;
        self.without_server += other.without_server;
        for (outage, times) in other.outages {
            *self.outages.entry(outage).or_default() += times;
        }
    }

    /// The most that was admitted in some span of time beyond burst and rate: of requests that began and ended in it.
    pub(crate) fn beyond(&mut self, burst: f64, rate: f64) -> f64 {
        let record = &mut self.admitted;
        record.sort_unstable();
        let (step, mut most) = ((record.len() / 200).max(1), f64::NEG_INFINITY);
        for first in (0..record.len()).step_by(step) {
            let mut ends: Vec<Instant> = record[first..].iter().map(|&(_, end)| end).collect();
            ends.sort_unstable();
            for (count, end) in (1_u32..).zip(ends) {
                // The server's clock may be slewed by a thousandth beside this one's.
                let allowed = burst + rate * 1.001 * (end - record[first].0).as_secs_f64() + 1.0;
                most = most.max(f64::from(count) - allowed);
            }
        }
        most
    }

    /// That it was no more than `allowed`.
    pub(crate) fn judge(&mut self, burst: f64, rate: f64, allowed: f64) -> f64 {
        let beyond = self.beyond(burst, rate);
        assert!(beyond <= allowed, "{beyond} beyond the limit, of which {allowed} are allowed");
        beyond
    }
}
