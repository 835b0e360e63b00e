//! Every call timed by itself, through the processor's counter: percentiles, nothing subtracted.
//!
//! The timer's own cost is a line of its own, and in all others; so is what the machine does in between.
#![expect(clippy::cast_precision_loss, reason = "nanoseconds of one call")]

use hdrhistogram::Histogram;

use crate::common::contender::ready;
use crate::common::paired::Spread;
use crate::common::peers::governor::insert_heavy;
use crate::common::peers::{Exact, Governor};
use crate::common::{Contender, Fresh, Keys, Stopwatch, Terms, Uniform};
use crate::insert::{self, SLOTS};
use crate::options::Options;
use crate::report::{Goal, Report, Row};

pub struct Latencies {
    pub who: &'static str,
    pub histogram: Histogram<u64>,
}

impl Latencies {
    fn new(who: &'static str) -> Self {
        // One part in a thousand, up to ten seconds.
        Self { who, histogram: Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("bounds") }
    }

    fn record<K>(&mut self, calls: u64, keys: &mut impl Keys<K>, mut admit: impl FnMut(&K) -> bool) {
        let clock = quanta::Clock::new();
        for _ in 0..calls {
            let key = keys.draw();
            let start = clock.raw();
            let admitted = admit(key);
            let end = clock.raw();
            assert!(admitted, "{}: a call was refused", self.who);
            self.histogram.record(clock.delta_as_nanos(start, end).max(1)).expect("within ten seconds");
        }
    }
}

pub const TIMER: &str = "the timer alone";
pub const HIT: [&str; 2] = ["tollgate, hit", "governor, hit"];
pub const INSERT: [&str; 2] = ["tollgate, insert", "governor, insert"];

/// In turns, so that a bad moment of the machine does not meet one of them alone.
pub fn measure(options: &Options) -> [Latencies; 5] {
    let (turns, calls) = if options.smoke { (2, 1_000) } else { (24, 250_000) };
    let count = options.keys(SLOTS);
    let mut filler = Uniform::new(count);
    let exact: Exact = ready(&mut filler, count, Terms::Allow);
    let governor: Governor<u64> = ready(&mut filler, count, Terms::Allow);
    let (inserting, governor_inserting) =
        (Exact(insert::ours(tollgate::clock::ExactClock::new(), count)), insert_heavy());
    let mut all = [TIMER, HIT[0], HIT[1], INSERT[0], INSERT[1]].map(Latencies::new);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|seed| Uniform::seeded(count, seed));
    let (mut d, mut e) = (Fresh::default(), Fresh::default());
    for _ in 0..turns {
        let [timer, hit, governor_hit, insert, governor_insert] = &mut all;
        timer.record(calls, &mut a, |_| true);
        hit.record(calls, &mut b, |key| exact.check(key));
        governor_hit.record(calls, &mut c, |key| governor.check(key));
        insert.record(calls, &mut d, |key| inserting.check(key));
        insert::swept(&governor_inserting, || {
            governor_insert.record(calls, &mut e, |key| governor_inserting.check(key));
        });
    }
    all
}

pub fn race(options: &Options, report: &mut Report) {
    let watch = Stopwatch::start();
    let [timer, hit, governor_hit, insert, governor_insert] = measure(options);
    eprintln!("         {} calls of each, {:.0} s", timer.histogram.len(), watch.secs());
    let points: [(&str, f64); 6] =
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];
    let note = "each call timed by the counter; the timer is not subtracted";
    for (name, share) in points {
        let ours = timer.histogram.value_at_quantile(share) as f64;
        let workload = format!("latency, {TIMER}, {name}");
        report.line(&Row { workload: &workload, unit: "ns", ours, peer: None, goal: Goal::None, note });
    }
    for (what, ours, theirs) in [("a hit, 1 M keys", &hit, &governor_hit), ("insert-heavy", &insert, &governor_insert)]
    {
        for (name, share) in points {
            let (ours, peer) = (ours.histogram.value_at_quantile(share), theirs.histogram.value_at_quantile(share));
            let (ours, peer) = (ours as f64, peer as f64);
            let (workload, ratio) = (format!("latency, {what}, {name}"), peer / ours);
            let of_inserts = what == "insert-heavy";
            let goal = if of_inserts && name == "p99.99" { Goal::Most(10_000.0) } else { Goal::None };
            let note = if of_inserts { insert::NOTE } else { note };
            // One figure over all turns: no quartiles.
            let ratio = Spread { median: ratio, low: ratio, high: ratio };
            let peer = Some(("governor", peer, ratio));
            report.line(&Row { workload: &workload, unit: "ns", ours, peer, goal, note });
        }
    }
}
