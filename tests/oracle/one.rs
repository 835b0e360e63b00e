//! Random calls on one bucket.

use super::common::{Admitted, Rng, SECOND, YEAR, keeps_its_promise, nanos, within_span};
use super::draw::{self, Times};
use super::journal::Journal;
use super::subject::{At, Subject};
use super::track::{Reserved, Track};
use tollgate::{Algorithm, Limit, Quota};

/// Every under one quota.
pub(crate) fn calls(rng: &mut Rng, journal: &mut Journal, algorithm: Algorithm) {
    let quota = draw::quota(rng, algorithm);
    // A second quota, so that not every base is made for one alone.
    let mut quotas = if rng.once_in(3) { vec![draw::quota(rng, Algorithm::TokenBucket), quota] } else { vec![quota] };
    let (start, subject) = subject(rng, &mut quotas);
    let limit = subject.limit(*quotas.last().expect("one at least"), "limit");
    if rng.once_in(3) {
        return checks(rng, journal, &subject, &limit, start);
    }
    // Windows can be followed back only where they begin at the same nanosecond.
    let track = track(rng, &subject, &limit, start);
    let windows = matches!(algorithm, Algorithm::FixedWindow | Algorithm::SlidingWindow);
    let back = rng.once_in(2) && (track.is_whole() || !windows);
    scenario(rng, journal, track, back);
}

fn subject(rng: &mut Rng, quotas: &mut [Quota]) -> (u64, Subject) {
    let (start, lone) = (draw::start(rng), rng.once_in(2));
    (start, Subject::new(rng, quotas, start, lone))
}

fn track<'a>(rng: &mut Rng, subject: &'a Subject, limit: &'a Limit, start: u64) -> Track<'a> {
    let now = rng.once_in(2).then_some(start);
    Track::new(At { subject, key: "key", limit, now }, start, limit.quota().count().into())
}

/// Only checks: their history is judged as a whole as well.
fn checks(rng: &mut Rng, journal: &mut Journal, subject: &Subject, limit: &Limit, start: u64) {
    let quota = *limit.quota();
    let mut track = track(rng, subject, limit, start);
    let mut times = begin(rng, journal, &mut track, false);
    let mut history: Vec<Admitted> = Vec::new();
    for _ in 0..40 + rng.below(160) {
        if rng.is_used_up() {
            break;
        }
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

/// How late a caller may be, in nanoseconds.
pub(crate) fn lateness(rng: &mut Rng, quota: &Quota) -> u64 {
    rng.pick(&[1, SECOND, 2 * SECOND, nanos(quota.period()), YEAR]).min(rng.magnitude(YEAR))
}

/// All calls.
fn scenario(rng: &mut Rng, journal: &mut Journal, mut track: Track<'_>, back: bool) {
    let mut times = begin(rng, journal, &mut track, back);
    let mut reservations: Vec<Reserved<'_>> = Vec::new();
    for _ in 0..40 + rng.below(160) {
        if rng.is_used_up() {
            break;
        }
        let quota = *track.at.limit.quota();
        let to = times.next(rng, track.t, &quota);
        journal.tally.back += u64::from(to < track.t);
        track.go(to, journal);
        if rng.once_in(6) && track.can_be_late() {
            // Not before the range begins: there all instants are one.
            let late = to.saturating_sub(lateness(rng, &quota)).max(track.range().first.min(to));
            track.be_late(late);
        }
        let cost = draw::cost(rng, track.limit());
        match rng.below(24) {
            0..8 => {
                let decision = track.check(cost, journal);
                times.told(track.t, &decision);
            }
            8 => drop(track.check(1, journal)),
            9 => drop(track.peek(cost, journal)),
            10 | 11 => _ = track.take_up_to(cost, journal),
            12 if rng.once_in(2) => track.refund(cost, journal),
            12 => {
                let ago = rng.pick(&[0, 1, SECOND, nanos(quota.period())]);
                track.refund_of(cost, track.t.saturating_sub(ago), journal);
            }
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
            _ => {
                let decision = track.peek(1, journal);
                times.told(track.t, &decision);
            }
        }
    }
}
