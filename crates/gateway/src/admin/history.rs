//! What happened when: the last minutes by the second and the last day by the minute, in memory of fixed size.

use std::collections::VecDeque;

use serde::Serialize;
use tollgate::clock::Instant;
use tollgate_http::stats::PolicyCounts;

/// Seconds that are remembered: ten minutes.
const SECONDS: usize = 600;

/// Minutes that are remembered: a day.
const MINUTES: usize = 24 * 60;

/// All counts at one moment.
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Requests that no policy refused.
    pub(crate) passed: u64,
    pub(crate) policies: Vec<(String, PolicyCounts)>,
}

impl Sample {
    /// Of all policies together. A request is refused by one policy and passes all the others, so what they admitted
    /// says nothing in sum; what they refused does.
    fn total(&self) -> Counts {
        let sum = |of: fn(&PolicyCounts) -> u64| self.policies.iter().map(|(_, counts)| of(counts)).sum();
        Counts {
            allowed: self.passed,
            refused: sum(|counts| counts.refused),
            shadow: sum(|counts| counts.shadow_refused),
        }
    }
}

/// Three counts that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    allowed: u64,
    refused: u64,
    shadow: u64,
}

impl From<&PolicyCounts> for Counts {
    fn from(counts: &PolicyCounts) -> Self {
        Self { allowed: counts.allowed, refused: counts.refused, shadow: counts.shadow_refused }
    }
}

/// What was counted in one second or one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Point {
    allowed: u32,
    refused: u32,
    shadow: u32,
}

impl Point {
    fn between(before: Counts, after: Counts) -> Self {
        // A policy that went and came again begins with zero.
        let grown = |before: u64, after: u64| u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
        Self {
            allowed: grown(before.allowed, after.allowed),
            refused: grown(before.refused, after.refused),
            shadow: grown(before.shadow, after.shadow),
        }
    }

    fn add(&mut self, other: Self) {
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.refused = self.refused.saturating_add(other.refused);
        self.shadow = self.shadow.saturating_add(other.shadow);
    }
}

/// The latest steps of time, each with its point and none left out.
#[derive(Debug)]
struct Ring {
    points: VecDeque<Point>,
    /// The step after the last one, counted from 1970.
    next: u64,
    most: usize,
}

impl Ring {
    fn new(most: usize) -> Self {
        Self { points: VecDeque::with_capacity(most), next: 0, most }
    }

    fn add(&mut self, step: u64, point: Point) {
        if self.points.is_empty() {
            self.next = step;
        }
        // Steps without a sample, as when the machine slept: nothing is known of them, so nothing is shown.
        let missed = step.saturating_sub(self.next);
        if usize::try_from(missed).map_or(true, |missed| missed >= self.most) {
            self.points.clear();
            self.next = step;
        }
        while self.next <= step {
            self.push(Point::default());
        }
        // Time does not run back; if it did, the latest step would take it all.
        if let Some(last) = self.points.back_mut() {
            last.add(point);
        }
    }

    fn push(&mut self, point: Point) {
        if self.points.len() >= self.most {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.next = self.next.saturating_add(1);
    }

    /// The steps from `from` on.
    fn since(&self, from: u64) -> Series {
        let first = self.next.saturating_sub(u64::try_from(self.points.len()).unwrap_or(0));
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let points = || self.points.iter().skip(skipped);
        Series {
            from: first.max(from),
            allowed: points().map(|point| point.allowed).collect(),
            refused: points().map(|point| point.refused).collect(),
            shadow: points().map(|point| point.shadow).collect(),
        }
    }
}

/// Consecutive steps of a ring, for the page.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Series {
    /// The first step, counted from 1970.
    from: u64,
    allowed: Vec<u32>,
    refused: Vec<u32>,
    shadow: Vec<u32>,
}

/// The past of one policy or of all.
#[derive(Debug)]
pub(crate) struct Track {
    last: Counts,
    seconds: Ring,
    minutes: Ring,
}

impl Track {
    fn new() -> Self {
        Self { last: Counts::default(), seconds: Ring::new(SECONDS), minutes: Ring::new(MINUTES) }
    }

    fn record(&mut self, second: u64, counts: Counts) {
        let point = Point::between(self.last, counts);
        self.last = counts;
        self.seconds.add(second, point);
        self.minutes.add(second / 60, point);
    }

    /// The seconds after `second`, and the minutes from the one it is in.
    pub(crate) fn after(&self, second: u64) -> Past {
        Past { seconds: self.seconds.since(second.saturating_add(1)), minutes: self.minutes.since(second / 60) }
    }
}

/// A part of a [`Track`].
#[derive(Debug, Serialize)]
pub(crate) struct Past {
    seconds: Series,
    minutes: Series,
}

/// The past of everything: 25 KB for each policy, and as much for all together.
#[derive(Debug)]
pub(crate) struct History {
    /// The second that is recorded last.
    pub(crate) second: u64,
    pub(crate) total: Track,
    policies: Vec<(String, Track)>,
}

impl History {
    /// A history that begins now. What is counted already, as while the threads started, belongs to the first second.
    pub(crate) fn new(now: Instant) -> Self {
        Self { second: second_of(now), total: Track::new(), policies: Vec::new() }
    }

    /// Takes down what has been counted since the sample before.
    pub(crate) fn record(&mut self, sample: &Sample) {
        let second = second_of(sample.at).max(self.second);
        self.second = second;
        self.total.record(second, sample.total());
        let mut before = std::mem::take(&mut self.policies);
        for (name, counts) in &sample.policies {
            let known = before.iter().position(|(known, _)| known == name).map(|place| before.swap_remove(place));
            // All that a new policy has counted is new.
            let (name, mut track) = known.unwrap_or_else(|| (name.clone(), Track::new()));
            track.record(second, counts.into());
            self.policies.push((name, track));
        }
    }

    pub(crate) fn policy(&self, name: &str) -> Option<&Track> {
        self.policies.iter().find(|(known, _)| known == name).map(|(_, track)| track)
    }
}

/// The second that a sample is about, which it is taken at the end of.
fn second_of(at: Instant) -> u64 {
    at.as_nanos().saturating_sub(500_000_000) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn point(allowed: u32) -> Point {
        Point { allowed, refused: 0, shadow: 0 }
    }

    #[test]
    fn a_ring_forgets_the_oldest() {
        let mut ring = Ring::new(3);
        for step in 10..15 {
            ring.add(step, point(u32::try_from(step).unwrap()));
        }
        assert_eq!(ring.points.len(), 3);
        let series = ring.since(0);
        assert_eq!((series.from, series.allowed), (12, vec![12, 13, 14]));
        let series = ring.since(14);
        assert_eq!((series.from, series.allowed), (14, vec![14]));
        let series = ring.since(15);
        assert_eq!((series.from, series.allowed), (15, vec![]));
    }

    #[test]
    fn a_gap_is_filled_and_a_long_one_forgets_all() {
        let mut ring = Ring::new(4);
        ring.add(10, point(1));
        ring.add(10, point(1));
        ring.add(12, point(3));
        assert_eq!(ring.since(0).allowed, [2, 0, 3]);
        ring.add(u64::MAX - 1, point(4));
        assert_eq!(ring.since(0), Series { from: u64::MAX - 1, allowed: vec![4], refused: vec![0], shadow: vec![0] });
        // Time that runs back adds to the latest.
        ring.add(7, point(5));
        assert_eq!(ring.since(0).allowed, [9]);
    }

    fn sample(second: u64, passed: u64, names: &[&str]) -> Sample {
        let policies = names.iter().map(|name| ((*name).to_owned(), PolicyCounts::default())).collect();
        Sample { at: Instant::from_secs(second + 1), passed, policies }
    }

    #[test]
    fn every_second_has_what_came_since_the_one_before() {
        let mut history = History::new(Instant::from_secs(100));
        history.record(&sample(100, 5, &[]));
        history.record(&sample(102, 7, &[]));
        let past = history.total.after(0);
        assert_eq!((past.seconds.from, past.seconds.allowed), (100, vec![5, 0, 2]));
        assert_eq!((past.minutes.from, past.minutes.allowed), (1, vec![7]));
        assert_eq!(history.total.after(101).seconds.from, 102);
    }

    #[test]
    fn policies_come_and_go() {
        let mut history = History::new(Instant::from_secs(99));
        history.record(&sample(99, 0, &["a", "b"]));
        history.record(&sample(100, 0, &["b", "c"]));
        assert!(history.policy("a").is_none());
        assert!(history.policy("b").is_some() && history.policy("c").is_some());
    }
}
