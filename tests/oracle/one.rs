//! Random calls on one bucket.

use super::common::{Admitted, Rng, SECOND, YEAR, keeps_its_promise, nanos, within_span};
use super::draw::{self, Times};
use super::journal::Journal;
use super::subject::{At, SKEW, Subject};
use super::track::{Reserved, Track};
use tollgate::{Algorithm, Inheritance, Limit, Quota};

/// Every call, under one quota.
pub(crate) fn calls(rng: &mut Rng, journal: &mut Journal, algorithm: Algorithm) {
    let quota = draw::quota(rng, algorithm);
    // A second quota, so that not every base is made for one alone.
    let mut quotas = if rng.once_in(3) { vec![draw::quota(rng, Algorithm::TokenBucket), quota] } else { vec![quota] };
    let (start, skew, subject) = subject(rng, &mut quotas);
    let limit = subject.limit(*quotas.last().expect("one at least"), "limit");
    if rng.once_in(3) {
        return checks(rng, journal, &subject, &limit, start);
    }
    // Windows can be followed back only where they begin at the same nanosecond.
    let track = track(rng, &subject, &limit, start, skew, limit.quota().count().into());
    let windows = matches!(algorithm, Algorithm::FixedWindow | Algorithm::SlidingWindow);
    let back = rng.once_in(2) && (track.is_whole() || !windows);
    scenario(rng, journal, track, back, &[]);
}

/// The same, under several quotas in turn.
pub(crate) fn changes(rng: &mut Rng, journal: &mut Journal) {
    let mut quotas = draw::related(rng);
    let (start, skew, subject) = subject(rng, &mut quotas);
    let limits: Vec<Limit> = quotas.iter().map(|&quota| subject.limit(quota, "limit")).collect();
    // Half a nanosecond is a whole number of parts for all of them.
    let leak = quotas.iter().fold(2, |leak, quota| lcm(leak, 2 * i128::from(quota.count())));
    let track = track(rng, &subject, &limits[0], start, skew, leak);
    let whole = limits.iter().all(|limit| Track::new(At { limit, ..track.at }, start, leak).is_whole());
    let back = rng.once_in(2) && quotas.iter().all(|quota| is_like(quota, &quotas[0]));
    scenario(rng, journal, track, back && whole, if whole { &limits } else { &[] });
}

const fn lcm(a: i128, b: i128) -> i128 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// Whether what one quota has written another can read.
fn is_like(a: &Quota, b: &Quota) -> bool {
    let [x, y] = [a, b].map(|quota| quota.algorithm());
    match (x, y) {
        (Algorithm::SlidingLog, _) | (_, Algorithm::SlidingLog) => false,
        _ if x.is_window() || y.is_window() => (x, a.period()) == (y, b.period()),
        _ => true,
    }
}

fn subject(rng: &mut Rng, quotas: &mut [Quota]) -> (u64, u64, Subject) {
    let (start, lone) = (draw::start(rng), rng.once_in(2));
    let skew = if lone { SKEW } else { rng.pick(&[SKEW, SKEW, 0, 1, 3_600 * SECOND]) };
    (start, skew, Subject::new(rng, quotas, start, skew, lone))
}

fn track<'a>(rng: &mut Rng, subject: &'a Subject, limit: &'a Limit, start: u64, skew: u64, leak: i128) -> Track<'a> {
    let now = rng.once_in(2).then_some(start);
    Track::new(At { subject, key: "key", limit, now }, start, leak).with_skew(skew)
}

/// Only checks: their history is judged as a whole as well.
fn checks(rng: &mut Rng, journal: &mut Journal, subject: &Subject, limit: &Limit, start: u64) {
    let quota = *limit.quota();
    let mut track = track(rng, subject, limit, start, SKEW, quota.count().into());
    let mut times = begin(rng, journal, &mut track, false);
    let mut history: Vec<Admitted> = Vec::new();
    for _ in 0..40 + rng.below(160) {
        let to = times.next(rng, track.t, &quota);
        track.go(to, journal);
        let cost = draw::cost(rng, track.limit());
        let decision = track.check(cost, journal);
        if decision.is_allowed() && cost > 0 {
            history.push((track.t, cost));
        }
        times.told(track.t, &decision);
    }
    if track.is_off_grid() {
        assert_eq!(within_span(&history, nanos(quota.period()), 2 * quota.count()), Ok(()));
    } else {
        // A queue without places to wait in still lets one through.
        let quota = if quota.algorithm().is_window() { quota } else { quota.with_burst(track.limit()) };
        keeps_its_promise(&mut history, &quota);
    }
}

/// The first instants of a scenario.
fn begin(rng: &mut Rng, journal: &mut Journal, track: &mut Track<'_>, back: bool) -> Times {
    let times = Times::new(rng, *track.range(), track.t, back);
    let quota = *track.at.limit.quota();
    journal.about(format!("{quota:?}, at {:?}, {times:?}", track.at.now));
    if times.goes_to_the_end() {
        let t = times.near_the_end(rng, &quota).max(track.t);
        track.go(t, journal);
    }
    times
}

/// All calls, and if there are `limits`, changes from each to any other.
fn scenario<'a>(rng: &mut Rng, journal: &mut Journal, mut track: Track<'a>, back: bool, limits: &'a [Limit]) {
    let mut times = begin(rng, journal, &mut track, back);
    let mut reservations: Vec<Reserved<'_>> = Vec::new();
    for _ in 0..40 + rng.below(160) {
        let quota = *track.at.limit.quota();
        let to = times.next(rng, track.t, &quota);
        journal.tally.back += u64::from(to < track.t);
        track.go(to, journal);
        let cost = draw::cost(rng, track.limit());
        match rng.below(24) {
            0..8 => {
                let decision = track.check(cost, journal);
                times.told(track.t, &decision);
            }
            8 => drop(track.check(1, journal)),
            9 => drop(track.peek(cost, journal)),
            10 | 11 => track.take_up_to(cost, journal),
            12 => track.refund(cost, journal),
            13 => track.reset(journal),
            14 | 15 => track.charge(cost, journal),
            16..19 => {
                let some = times.hints[1].saturating_sub(track.t);
                let max_wait = rng.pick(&[0, 1, SECOND, YEAR, u64::MAX, nanos(quota.period()), some]);
                if let Some((reserved, go_at)) = track.reserve(cost, max_wait, journal) {
                    times.hints[2] = go_at;
                    reservations.push(reserved);
                }
            }
            19 | 20 if !reservations.is_empty() => {
                track.cancel(reservations.swap_remove(rng.index(reservations.len())), journal);
            }
            21 | 22 if !limits.is_empty() => {
                let to = &limits[rng.index(limits.len())];
                // A reservation is of the quota that it was made under.
                reservations.clear();
                if is_like(&quota, to.quota()) && rng.once_in(2) {
                    track.switch(to, journal);
                } else {
                    use Inheritance::{Additive, AsIs, Proportional, Reset};
                    let how = rng.pick(&[AsIs, Proportional, Additive, Reset]);
                    track.convert(to, how, journal);
                }
            }
            _ => {
                let decision = track.peek(1, journal);
                times.told(track.t, &decision);
            }
        }
    }
}
