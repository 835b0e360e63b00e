//! The decisions of many threads, and what they are judged by afterwards, in exact integers.
//!
//! **Late threads.** A thread may be stopped between reading the clock and changing the bucket, so decisions take effect
//! in another order than that of their instants.
//!
//! - Where buckets stay in their slots that does no harm. In the order in which they take effect, each admission leaves
//!   `stamp = max(stamp before, its now) + cost * T <= its now + burst * T`. Of those with instants in `[t1, t2]` the first
//!   starts at `t1` or later and the last leaves at most `t2 + burst * T`: P1, with nothing allowed for. The same holds of
//!   a slot that changes hands by force, as the newcomer inherits the stamp, and of all keys of a slot together.
//! - A bucket that was full when another key's thread took its slot may be asked for by a thread with an earlier `now`. It
//!   then starts full at an instant before the one at which it was: it gains `rate * lateness`, once for each time the
//!   key is put into the table late. So there, and only there, P1 is checked with the sum of the latenesses; a decision was
//!   no later than the clock shows after the call.
//!
//! Elsewhere time stands still while the threads race, or the table is so large that no slot is used twice.

use tollgate::clock::{Clock, ManualClock};
use tollgate::{Decision, Limiter, Quota};

use super::model::Model;
use super::{Admitted, within_rate};

pub(crate) const MICRO: u64 = 1_000;
pub(crate) const MILLI: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Refused,
    Allowed,
    /// Allowed, and of no bucket: the table was full.
    Untracked,
    /// Taken and given back: it comes back if nobody took since.
    GivenBack,
}

/// One decision, in 24 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) key: u64,
    pub(crate) at: u64,
    /// How long after `at` it took effect, at most, in microseconds. At least one: the clocks of two threads may be that
    /// far apart, as the self-test of `ExactClock` grants.
    late: u32,
    cost: u16,
    thread: u8,
    pub(crate) answer: Answer,
}

impl Seen {
    /// `after` is what the clock showed when the decision had been made.
    pub(crate) fn new(thread: usize, key: u64, cost: u64, decision: &Decision<'_>, after: u64) -> Self {
        let at = decision.at().as_nanos();
        let answer = match decision.is_allowed() {
            true if decision.remaining() == decision.burst() => Answer::Untracked,
            true => Answer::Allowed,
            false => Answer::Refused,
        };
        Self::with_answer(thread, key, cost, at, answer, after)
    }

    pub(crate) fn with_answer(thread: usize, key: u64, cost: u64, at: u64, answer: Answer, after: u64) -> Self {
        Self {
            key,
            at,
            late: u32::try_from(after.saturating_sub(at).div_ceil(MICRO) + 1).expect("less than an hour"),
            cost: cost.try_into().expect("a small cost"),
            thread: thread.try_into().expect("few threads"),
            answer,
        }
    }

    pub(crate) fn check<C: Clock>(limiter: &Limiter<C>, thread: usize, key: u64, cost: u64) -> Self {
        let decision = limiter.check_n(&key, cost);
        Self::new(thread, key, cost, &decision, limiter.clock().now().as_nanos())
    }

    /// The same, given back.
    pub(crate) const fn given_back(self) -> Self {
        Self { answer: Answer::GivenBack, ..self }
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.answer == Answer::Allowed
    }

    /// What it took from the bucket of its key.
    pub(crate) fn taken(&self) -> u64 {
        if self.is_allowed() { self.cost.into() } else { 0 }
    }

    fn late(&self) -> u64 {
        u64::from(self.late) * MICRO
    }
}

/// What was seen of each key, in the order of time. Of one instant thread by thread, so that threads seem to meet no more
/// often than they did.
pub(crate) fn by_key(seen: &mut [Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.sort_unstable_by_key(|one| (one.key, one.at, one.thread));
    seen.chunk_by(|a, b| a.key == b.key)
}

/// What all keys together took, in the order of time.
pub(crate) fn admitted(seen: &[Seen]) -> Vec<Admitted> {
    seen.iter().filter(|one| one.is_allowed()).map(|one| (one.at, one.taken())).collect()
}

/// P1 of every key, with what `slack` allows for, in nanoseconds, besides the one.
pub(crate) fn assert_p1(seen: &mut [Seen], quota: &Quota, slack: impl Fn(&[Seen]) -> u64) {
    for calls in by_key(seen) {
        let (key, slack) = (calls[0].key, 1 + slack(calls));
        assert_eq!(within_rate(&mut admitted(calls), quota, slack), Ok(()), "key {key}, {quota}, slack {slack} ns");
    }
}

/// P1 of all keys together: no more than one key in each of so many slots would get. No lateness comes into it: the stamps
/// of a slot rise.
pub(crate) fn assert_p1_together(seen: &[Seen], quota: &Quota, slots: u64) {
    let second = std::time::Duration::from_secs(1);
    assert_eq!(quota.period(), second, "a rate per second can be multiplied");
    let together = Quota::per_second(quota.count() * slots).with_burst(quota.burst() * slots);
    assert_eq!(within_rate(&mut admitted(seen), &together, 1), Ok(()), "{slots} slots together");
}

pub(crate) const fn none(_: &[Seen]) -> u64 {
    0
}

/// The lateness of all requests of a key that may have put it into the table.
pub(crate) fn late(calls: &[Seen]) -> u64 {
    calls.iter().filter(|one| one.is_allowed()).map(Seen::late).sum()
}

/// How often a key admitted one thread after another.
pub(crate) fn takeovers(seen: &mut [Seen]) -> usize {
    let changes = |calls: &[Seen]| {
        let threads = calls.iter().filter(|one| one.is_allowed()).map(|one| one.thread);
        threads.clone().zip(threads.skip(1)).filter(|(one, next)| one != next).count()
    };
    by_key(seen).map(changes).sum()
}

/// What was left of a key at an instant, when all threads had met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    pub(crate) key: u64,
    pub(crate) at: u64,
    pub(crate) remaining: u64,
}

pub(crate) fn left_of<C: Clock>(limiter: &Limiter<C>, keys: u64) -> Vec<Left> {
    let look = |key| {
        let decision = limiter.key(&key).peek_n(0);
        Left { key, at: decision.at().as_nanos(), remaining: decision.remaining() }
    };
    (0..keys).map(look).collect()
}

/// Rounds against the exact model (P3): no more admitted than there was, and what is left is what the admissions leave:
/// nothing lost but what was given back when others stood behind it, nothing counted twice, nothing taken by a foreign key.
/// How many were refused although, after everybody
/// else, there would still have been enough: none, unless the table was full or somebody gave back.
pub(crate) fn assert_exact(seen: &mut [Seen], left: &mut [Left], quota: Quota) -> u64 {
    seen.sort_unstable_by_key(|one| (one.key, one.at));
    left.sort_unstable_by_key(|one| (one.key, one.at));
    let (mut rest, mut unexplained) = (&*seen, 0);
    for looks in left.chunk_by(|a, b| a.key == b.key) {
        let mut model = Model::new(quota);
        for &Left { key, at, remaining } in looks {
            let (calls, more) = rest.split_at(rest.iter().take_while(|one| (one.key, one.at) == (key, at)).count());
            rest = more;
            let t = i128::from(at);
            let (there, taken) = (model.available(t), calls.iter().map(Seen::taken).sum());
            assert!(i128::from(taken) <= there, "key {key} at {at} ns: {taken} of {there} admitted");
            let would_fit = |one: &&Seen| i128::from(u64::from(one.cost) + taken) <= there;
            let refused = calls.iter().filter(|one| one.answer == Answer::Refused);
            unexplained += refused.filter(would_fit).map(|_| 1).sum::<u64>();
            model.take(t, taken);
            let given_back = calls.iter().filter(|one| one.answer == Answer::GivenBack);
            let lost = 0..=given_back.map(|one| i128::from(one.cost)).sum();
            let missing = model.available(t) - i128::from(remaining);
            assert!(lost.contains(&missing), "key {key} at {at} ns: {missing} lost, or counted twice, of {lost:?}");
            model.take(t, u64::try_from(missing).expect("at most what was given back"));
        }
    }
    assert!(rest.is_empty(), "all are accounted for");
    unexplained
}

/// The same where time did not stand still and buckets stayed in their slots (P3). Replayed in the order of time, the
/// record leaves a stamp that the real one is not below: the last burst of the record is in the bucket, in whatever order.
/// Nor is it above by more than the greatest lateness: that is how far apart the two orders are.
pub(crate) fn assert_left(seen: &mut [Seen], left: &[Left], quota: Quota) {
    let mut left = left.iter();
    for calls in by_key(seen) {
        let Left { key, at, remaining } = *left.find(|one| one.key == calls[0].key).expect("every key was looked at");
        let mut model = Model::new(quota);
        let (end, mut latest) = (i128::from(at), 0);
        for one in calls.iter().filter(|one| one.is_allowed()) {
            model.take(one.at.into(), one.taken());
            latest = latest.max(one.late());
        }
        let (least, most) = (model.available(end - i128::from(latest)), model.available(end));
        let there = i128::from(remaining);
        assert!(least <= there && there <= most, "key {key}: {there} left, and by the record from {least} to {most}");
    }
}

/// Once every bucket has had the time to fill, every slot can be used again: none was left between two owners.
pub(crate) fn assert_none_stuck(limiter: &Limiter<ManualClock>) {
    limiter.clock().advance(std::time::Duration::from_secs(3_600));
    assert_eq!(limiter.stats().busy, 0);
}
