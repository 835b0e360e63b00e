//! All that can be done to a key, at random and by several: who checks, who holds tokens ahead, who waits and who goes away
//! again, who asks several limits at once, who is moved from one limit to another; and callers who are late.
//!
//! Every answer is that of the exact models. And apart from them, what was really used is judged as a whole, by P1 over all
//! windows: a request counts at the instant at which it goes, one that was cancelled does not count, what a handle holds
//! counts when it is used, and a refund counts less than zero.

use super::common::{Admitted, Rng, SECOND, YEAR, keeps_its_promise, nanos, ns, within_rate};
use super::draw::{self, Times};
use super::journal::{Call, Journal};
use super::one::lateness;
use super::several::{KEYS, NAMES, Part, Several};
use super::subject::{At, Kind, Subject};
use super::track::{Handle, Marks, Reserved, Track};
use tollgate::{Algorithm, Inheritance, Limit, LimitSet};

/// One who was granted a place.
struct Waiter<'a> {
    reserved: Reserved<'a>,
    bucket: usize,
    /// Which of the requests of that bucket.
    request: usize,
}

/// What goes on in a scenario.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    /// The clock may step back.
    back: bool,
    /// Callers may be late.
    late: bool,
    /// Tokens come back that were used.
    refunds: bool,
}

struct Mixed<'a> {
    several: Several<'a>,
    set: &'a LimitSet,
    handles: Vec<(usize, Handle<'a>)>,
    waiters: Vec<Waiter<'a>>,
    /// What was used of each bucket, and what was refunded.
    used: Vec<Vec<Admitted>>,
    refunded: Vec<u64>,
    kinds: Kinds,
}

pub(crate) fn calls(rng: &mut Rng, journal: &mut Journal) {
    let mut quotas = draw::related(rng);
    quotas.truncate(1 + rng.index(quotas.len()));
    let (start, own_clock) = (draw::start(rng), rng.once_in(3));
    let subject = Subject::new(rng, &mut quotas, start, false);
    let Kind::Keyed(limiter) = &subject.kind else { panic!("not a lone bucket") };
    let limits: Vec<Limit> = quotas.iter().zip(NAMES).map(|(&quota, name)| subject.limit(quota, name)).collect();
    let set = LimitSet::new(limits.iter().copied()).expect("names of their own");
    let kinds = Kinds { back: rng.once_in(5), late: !own_clock && rng.once_in(2), refunds: rng.once_in(2) };
    let keys = if rng.once_in(2) { 1 } else { 2 };
    let mut tracks = Vec::new();
    for key in &KEYS[..keys] {
        for limit in &limits {
            let at = At { subject: &subject, key, limit, now: (!own_clock).then_some(start) };
            // Half a nanosecond is a whole number of parts.
            tracks.push(Track::new(at, start, 2 * i128::from(limit.quota().count())));
        }
    }
    let times = Times::new(rng, *tracks[0].range(), start, kinds.back);
    journal.about(format!("{quotas:?}, own clock {own_clock}, {kinds:?}, {times:?}"));
    let (used, refunded) = (vec![Vec::new(); tracks.len()], vec![0; tracks.len()]);
    let several = Several { limiter, tracks };
    let mut mixed = Mixed { several, set: &set, handles: Vec::new(), waiters: Vec::new(), used, refunded, kinds };
    if mixed.several.tracks.iter().all(Track::is_whole) {
        mixed.run(rng, journal, times);
        mixed.judge();
    } else {
        // What is held and what comes back is not known to the last digit. So that the scenario counts as a step:
        let _ = mixed.several.tracks[0].check(1, journal);
    }
}

impl<'a> Mixed<'a> {
    fn run(&mut self, rng: &mut Rng, journal: &mut Journal, mut times: Times) {
        for _ in 0..40 + rng.below(160) {
            if rng.is_used_up() {
                break;
            }
            let bucket = rng.index(self.several.tracks.len());
            self.pass_time(rng, journal, &times, bucket);
            self.step(rng, journal, &mut times, bucket);
        }
        // All that is held is used at once, with all that is left.
        let last = self.several.tracks[0].clock;
        self.several.tracks.iter_mut().for_each(|track| track.go(last, journal));
        let mut handles = std::mem::take(&mut self.handles);
        for (bucket, handle) in &mut handles {
            self.leased(*bucket, handle, 1, journal);
        }
        for bucket in 0..self.several.tracks.len() {
            self.take_up_to(bucket, u64::MAX, journal);
        }
    }

    fn pass_time(&mut self, rng: &mut Rng, journal: &mut Journal, times: &Times, bucket: usize) {
        let quota = *self.several.tracks[bucket].at.limit.quota();
        let clock = self.several.tracks[0].clock;
        let to = times.next(rng, clock, &quota);
        journal.tally.back += u64::from(to < clock);
        self.several.tracks.iter_mut().for_each(|track| track.go(to, journal));
        if self.kinds.late && rng.once_in(3) && self.several.tracks.iter().all(Track::can_be_late) {
            let late = to.saturating_sub(lateness(rng, &quota)).max(self.several.tracks[0].range().first.min(to));
            self.several.tracks.iter_mut().for_each(|track| track.be_late(late));
        }
        let marks = self.several.tracks.iter().map(Track::marks).fold(Marks::NONE, Marks::or);
        self.several.tracks.iter_mut().for_each(|track| track.others = marks);
    }

    fn step(&mut self, rng: &mut Rng, journal: &mut Journal, times: &mut Times, bucket: usize) {
        let track = &mut self.several.tracks[bucket];
        let (quota, cost) = (*track.at.limit.quota(), draw::cost(rng, track.limit()));
        match rng.below(32) {
            0..4 => {
                let decision = track.check(cost, journal);
                times.told(track.t, &decision);
                self.uses(bucket, cost, decision.is_allowed());
            }
            4 => drop(track.peek(cost, journal)),
            5 => self.take_up_to(bucket, cost, journal),
            6 if rng.once_in(2) => track.charge(cost, journal),
            7..12 => {
                let some = times.hints[1].saturating_sub(track.t);
                let max_wait = rng.pick(&[0, SECOND, YEAR, u64::MAX, nanos(quota.period()), some]);
                if let Some((reserved, go_at)) = track.reserve(cost, max_wait, journal) {
                    times.hints[2] = go_at;
                    let request = self.used[bucket].len();
                    self.used[bucket].push((go_at, cost));
                    self.waiters.push(Waiter { reserved, bucket, request });
                }
            }
            12..15 if !self.waiters.is_empty() => {
                // Some go away as they came, some the other way round.
                let last = self.waiters.len() - 1;
                let some = rng.index(self.waiters.len());
                let Waiter { reserved, bucket, request } = self.waiters.swap_remove(rng.pick(&[0, some, last]));
                self.used[bucket][request].1 = 0;
                self.several.tracks[bucket].cancel(reserved, journal);
            }
            15..22 if !self.handles.is_empty() => {
                let place = rng.index(self.handles.len());
                let (bucket, mut handle) = self.handles.swap_remove(place);
                let cost = if rng.once_in(2) { 1 } else { draw::cost(rng, self.several.tracks[bucket].limit()) };
                self.leased(bucket, &mut handle, cost, journal);
                self.handles.push((bucket, handle));
            }
            22 | 23 if self.handles.len() < 5 => {
                let batch = rng.pick(&[1, 2, 3, 8, quota.burst() / 2, quota.burst(), u64::MAX]);
                let mut handle = track.lease(batch);
                self.leased(bucket, &mut handle, 1, journal);
                self.handles.push((bucket, handle));
            }
            24 | 25 if !self.handles.is_empty() => {
                let (bucket, mut handle) = self.handles.swap_remove(rng.index(self.handles.len()));
                // Dropped, or used again.
                self.several.tracks[bucket].give_back(&mut handle, journal);
                if rng.once_in(2) {
                    self.handles.push((bucket, handle));
                }
            }
            26 | 27 => self.ask_all(rng, journal, times, bucket, cost),
            28 => self.convert(rng, journal, bucket),
            29 if self.kinds.refunds => {
                if rng.once_in(2) {
                    track.refund(cost, journal);
                } else {
                    let ago = rng.pick(&[0, 1, SECOND, nanos(quota.period())]);
                    track.refund_of(cost, track.t.saturating_sub(ago), journal);
                }
                let refunded = cost.min(track.limit());
                self.refunded[bucket] = self.refunded[bucket].saturating_add(refunded);
            }
            30 if self.kinds.refunds && rng.once_in(4) => {
                track.reset(journal);
                // Of whatever was taken.
                self.refunded[bucket] = u64::MAX;
            }
            _ => {
                let decision = track.peek(1, journal);
                times.told(track.t, &decision);
            }
        }
    }

    fn uses(&mut self, bucket: usize, cost: u64, admitted: bool) {
        if admitted && cost > 0 {
            self.used[bucket].push((self.several.tracks[bucket].t, cost));
        }
    }

    fn take_up_to(&mut self, bucket: usize, most: u64, journal: &mut Journal) {
        let taken = self.several.tracks[bucket].take_up_to(most, journal);
        self.uses(bucket, taken, true);
    }

    fn leased(&mut self, bucket: usize, handle: &mut Handle<'a>, cost: u64, journal: &mut Journal) {
        let track = &mut self.several.tracks[bucket];
        // Of a log whose clock went back it is not known which entries count.
        let decision =
            if track.is_equal() { track.check_leased(handle, cost, journal) } else { track.check(cost, journal) };
        self.uses(bucket, cost, decision.is_allowed());
    }

    /// All limits of a key at once.
    fn ask_all(&mut self, rng: &mut Rng, journal: &mut Journal, times: &mut Times, bucket: usize, cost: u64) {
        let count = self.set.limits().len();
        let first = bucket / count * count;
        let At { key, now, .. } = self.several.tracks[bucket].at;
        let t = self.several.tracks[bucket].t;
        let cost = if rng.once_in(2) { 1 } else { cost };
        let parts: Vec<Part> = (first..first + count).map(|bucket| (bucket, cost)).collect();
        journal.call(Call::CheckSet, t, cost);
        let set = match now {
            Some(now) => self.several.limiter.at(ns(now)).check_set_n(self.set, key, cost),
            None => self.several.limiter.check_set_n(self.set, key, cost),
        };
        self.several.decided(&parts, &set, journal);
        times.told(t, &set.decision());
        (first..first + count).for_each(|bucket| self.uses(bucket, cost, set.is_allowed()));
    }

    /// A key is moved to another of its limits.
    fn convert(&mut self, rng: &mut Rng, journal: &mut Journal, bucket: usize) {
        let count = self.set.limits().len();
        let to = bucket / count * count + rng.index(count);
        if to == bucket {
            return;
        }
        use Inheritance::{Additive, AsIs, Proportional, Reset};
        let how = rng.pick(&[AsIs, Proportional, Additive, Reset]);
        if how == Reset && !self.kinds.refunds {
            return;
        }
        let from = self.several.tracks[bucket].clone();
        if !(from.is_equal() && self.several.tracks[to].is_equal()) && how != Reset {
            // What a log holds after a step back is known to be between two figures, and what goes over, or is missing, is one.
            return;
        }
        from.convert(&mut self.several.tracks[to], how, journal);
        if how == Reset {
            self.refunded[to] = u64::MAX;
        }
    }

    /// P1 of all that was used.
    fn judge(&mut self) {
        if self.kinds.back {
            return;
        }
        for ((used, &refunded), track) in self.used.iter_mut().zip(&self.refunded).zip(&self.several.tracks) {
            used.retain(|&(_, cost)| cost > 0);
            used.sort_unstable();
            // A queue without places to wait in still lets one through.
            let quota = *track.at.limit.quota();
            let quota = if quota.algorithm().is_window() { quota } else { quota.with_burst(track.limit()) };
            match quota.algorithm() {
                Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::LeakyQueue => {
                    // What was refunded while somebody held tokens, or waited, counts in spans that begin later.
                    let over = within_rate(used, &quota, 1).err().unwrap_or(0);
                    let most = i128::from(refunded) * i128::from(nanos(quota.period()));
                    assert!(over <= most, "P1 of {quota}: too much by {over} of {most}");
                }
                _ if self.kinds.late || refunded > 0 => {}
                _ => keeps_its_promise(used, &quota),
            }
        }
    }
}
