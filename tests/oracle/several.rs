//! Random calls on several limits of several keys: lists of keys, sets of limits, shares.

use std::time::Duration;

use super::common::model::Debit;
use super::common::{Rng, YEAR, nanos, ns};
use super::draw::{self, Times};
use super::journal::{Call, Journal};
use super::subject::{At, Kind, Subject};
use super::track::Track;
use tollgate::clock::ManualClock;
use tollgate::error::ReserveError;
use tollgate::set::SetReservation;
use tollgate::{Algorithm, Decision, Limit, LimitSet, Limiter, Quota, SetDecision, SetItem, Verdict};

pub(crate) const KEYS: [&str; 2] = ["one key", "another"];
pub(crate) const NAMES: [&str; LimitSet::MAX] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20",
    "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32",
];

/// What one request asks of one of the buckets: its index, and a cost.
pub(crate) type Part = (usize, u64);

/// A reservation of several, and what the models need to cancel it.
struct Waiting<'a> {
    reservation: SetReservation<'a>,
    debits: Vec<(usize, Debit)>,
}

/// The buckets of one key under every limit, then those of the other.
pub(crate) struct Several<'a> {
    pub(crate) limiter: &'a Limiter<ManualClock>,
    pub(crate) tracks: Vec<Track<'a>>,
}

pub(crate) fn calls(rng: &mut Rng, journal: &mut Journal) {
    let count = if rng.once_in(20) { LimitSet::MAX } else { usize::try_from(1 + rng.below(4)).expect("small") };
    let mut quotas: Vec<Quota> = (0..count).map(|_| quota(rng)).collect();
    let start = draw::start(rng);
    let subject = Subject::new(rng, &mut quotas, start, false);
    let Kind::Keyed(limiter) = &subject.kind else { panic!("not a lone bucket") };
    let limits: Vec<Limit> = quotas.iter().zip(NAMES).map(|(&quota, name)| subject.limit(quota, name)).collect();
    let set = LimitSet::new(limits.iter().copied()).expect("names of their own");
    let mut several = Several { limiter, tracks: Vec::new() };
    // One instant under several limits is followed in parts of a nanosecond that all of them know, if the model has room.
    let common = quotas.iter().map(|quota| i128::from(quota.count().max(1))).try_fold(1, |sum, count| {
        let common = sum / gcd(sum, count) * count;
        (common < 1 << 40).then_some(common)
    });
    let has_room = |quota: &Quota, leak: i128| {
        let token = leak / i128::from(quota.count().max(1)) * i128::from(nanos(quota.period()));
        token < 1 << 64 && token.checked_mul(quota.burst().into()).is_some_and(|depth| depth < 1 << 110)
    };
    let common = common.filter(|&leak| quotas.iter().all(|quota| has_room(quota, leak)));
    for key in KEYS {
        for limit in &limits {
            let at = At { subject: &subject, key, limit, now: Some(start) };
            several.tracks.push(Track::new(at, start, common.unwrap_or_else(|| limit.quota().count().into())));
        }
    }
    // Windows can be followed back only where they begin at the same nanosecond.
    let back = several.tracks.iter().all(Track::is_whole) && rng.once_in(2);
    let mut times = Times::new(rng, *several.tracks[0].range(), start, back);
    journal.about(format!("{quotas:?}, {times:?}"));
    let mut t = start;
    let mut waiting: Vec<Waiting<'_>> = Vec::new();
    for _ in 0..20 + rng.below(60) {
        if rng.is_used_up() {
            break;
        }
        let quota = rng.pick(&quotas);
        t = times.next(rng, t, &quota);
        journal.tally.back += u64::from(t < several.tracks[0].t);
        several.tracks.iter_mut().for_each(|track| track.go(t, journal));
        let key = rng.index(KEYS.len());
        let cost = draw::cost(rng, quota.burst());
        match rng.below(11) {
            8 => {
                let parts = several.parts(rng);
                several.check_each(&parts, t, journal);
            }
            9 => {
                let mut parts: Vec<Part> = (0..count).map(|limit| (key * count + limit, cost)).collect();
                let of_set = rng.once_in(2);
                if !of_set {
                    parts = several.parts(rng);
                    parts.sort_unstable();
                    parts.dedup_by_key(|&mut (index, _)| index);
                }
                if common.is_some() && parts.iter().all(|&(index, _)| several.tracks[index].is_followed()) {
                    let some = rng.magnitude(nanos(quota.period()).max(1));
                    let max_wait = rng.pick(&[0, 1, YEAR, u64::MAX, nanos(quota.period()), some]);
                    let set = of_set.then_some((&set, KEYS[key], cost));
                    waiting.extend(several.reserve(&parts, set, t, max_wait, journal));
                }
            }
            // Where the clock has stepped back it is not known what was repaired.
            10 if back => {}
            10 => {
                if let Some(turn) = (!waiting.is_empty()).then(|| waiting.swap_remove(rng.index(waiting.len()))) {
                    several.cancel(turn, t, journal);
                }
            }
            0..3 => {
                let parts: Vec<Part> = (0..count).map(|limit| (key * count + limit, cost)).collect();
                journal.call(Call::CheckSet, t, cost);
                let view = limiter.at(ns(t));
                let set =
                    if cost == 1 { view.check_set(&set, KEYS[key]) } else { view.check_set_n(&set, KEYS[key], cost) };
                several.decided(&parts, &set, journal);
                times.told(t, &set.decision());
            }
            3 | 4 => {
                let mut parts = several.parts(rng);
                if back {
                    // What was taken and given back is full as of now, not as of long ago: not the same if time goes back.
                    parts.sort_unstable();
                    parts.dedup_by_key(|&mut (index, _)| index);
                }
                journal.call(Call::CheckItems, t, parts.len() as u64);
                let set = several.check_items(&parts, t, journal);
                several.decided(&parts, &set, journal);
                times.told(t, &set.decision());
            }
            5 => {
                let limit = rng.index(count);
                let keys: Vec<usize> = (0..rng.below(70)).map(|_| rng.index(KEYS.len())).collect();
                several.check_keys(limit, &keys, t, journal);
            }
            6 => {
                let decision = several.tracks[rng.index(2 * count)].check(cost, journal);
                times.told(t, &decision);
            }
            _ => drop(several.tracks[rng.index(2 * count)].peek(cost, journal)),
        }
    }
}

const fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn quota(rng: &mut Rng) -> Quota {
    let algorithm = rng.pick(&Algorithm::ALL);
    let quota = draw::quota(rng, algorithm);
    if algorithm != Algorithm::SlidingLog {
        return quota;
    }
    // All entries of all logs have to fit into the table.
    Quota::new(quota.count().min(8), quota.period()).expect("a valid period").with_algorithm(algorithm)
}

impl<'a> Several<'a> {
    /// A few of the buckets, perhaps one twice, each with a cost of its own.
    fn parts(&self, rng: &mut Rng) -> Vec<Part> {
        let count = if rng.once_in(20) { LimitSet::MAX as u64 } else { 1 + rng.below(5) };
        let part = |_| {
            let index = rng.index(self.tracks.len());
            let some = self.tracks[index].limit();
            // Most of them small, or one would refuse always.
            (index, if rng.once_in(2) { rng.below(2) } else { draw::cost(rng, some) })
        };
        (0..count).map(part).collect()
    }

    fn items(&self, parts: &[Part], journal: &mut Journal) -> Vec<SetItem<'a>> {
        let item = |&(index, cost): &Part| {
            journal.answer(index as u64);
            journal.answer(cost);
            let At { key, limit, .. } = self.tracks[index].at;
            SetItem { limit, key: self.limiter.hash(key), cost }
        };
        parts.iter().map(item).collect()
    }

    fn check_items(&self, parts: &[Part], t: u64, journal: &mut Journal) -> SetDecision<'a> {
        self.limiter.at(ns(t)).check_items(&self.items(parts, journal)).expect("neither empty nor too many")
    }

    /// Exactly when all parts fit, one after the other, all are taken; else none is (P11).
    pub(crate) fn decided(&mut self, parts: &[Part], set: &SetDecision<'_>, journal: &mut Journal) {
        let told = set.decision();
        journal.answer(set.index() as u64);
        journal.decision(&told);
        let before: Vec<(usize, Track<'a>)> =
            parts.iter().map(|&(index, _)| (index, self.tracks[index].clone())).collect();
        let (mut must, mut may) = (true, true);
        for &(index, cost) in parts.iter().filter(|&&(_, cost)| cost > 0) {
            let track = &mut self.tracks[index];
            must &= track.at_least() >= cost.into();
            may &= track.at_most() >= cost.into();
            if may {
                track.take(cost);
            }
        }
        assert!(if told.is_allowed() { may } else { !must }, "P11: {parts:?}: {told:?}");
        let never = |cost_of: &dyn Fn(&Part) -> u128| {
            parts.iter().any(|part| cost_of(part) > u128::from(self.tracks[part.0].limit()))
        };
        // What is asked of one bucket several times may fit each time, and never together.
        let together = |part: &Part| parts.iter().filter(|other| other.0 == part.0).map(|one| u128::from(one.1)).sum();
        assert!(!never(&|part| part.1.into()) || told.never_fits(), "P11: {parts:?}: {told:?}");
        assert!(!told.never_fits() || never(&together), "P11: {parts:?}: {told:?}");
        if !told.is_allowed() {
            before.into_iter().for_each(|(index, track)| self.tracks[index] = track);
        }
        // Whatever a step of the clock has left is repaired in all that refuse by themselves, so that the wait is true.
        for &(index, cost) in parts.iter().filter(|_| !told.is_allowed()) {
            let track = &mut self.tracks[index];
            if i128::from(cost) > track.at_most() {
                if cost <= track.limit() {
                    track.repair();
                }
                // Where it is refused by itself, and nowhere else.
                track.count_refused(cost);
            }
        }
        self.compare(parts, set, journal);
    }

    /// What each says by itself is what the set has left it with, and what the set tells is the most telling of it.
    fn compare(&self, parts: &[Part], set: &SetDecision<'_>, journal: &mut Journal) {
        let told = set.decision();
        let alone = |&(index, _): &Part| parts.iter().filter(|part| part.0 == index).count() == 1;
        let distinct = parts.iter().all(alone);
        if distinct {
            self.waits(parts, &told, journal);
        }
        for (place, &(index, cost)) in parts.iter().enumerate() {
            let track = &self.tracks[index];
            let single = track.at.handle().peek_n(cost);
            track.judge(cost, &single, journal);
            track.told(cost, &single);
            if !distinct {
                continue;
            }
            match told.verdict() {
                Verdict::Allowed => assert!(single.remaining() >= told.remaining()),
                Verdict::Refused => {
                    // Of one that was repaired, as of the clock's own time.
                    let ready = |one: &Decision<'_>| one.retry_after().map_or(one.at(), |wait| one.at() + wait);
                    assert!(!single.never_fits() && ready(&single) <= ready(&told));
                }
                _ => assert!(told.never_fits()),
            }
            if place == set.index() {
                let (one, other) = (told.report(), single.report());
                if told.is_allowed() {
                    assert_eq!((one.remaining, one.reset_after), (other.remaining, other.reset_after));
                } else if told.at() != single.at() {
                    assert!(self.tracks[0].at.subject.is_behind());
                } else if told.retry_after().is_none_or(|retry| self.is_in_range(told.at().as_nanos(), nanos(retry))) {
                    assert_eq!(one, other);
                }
            }
        }
    }

    /// Whether so long after an instant the limiter's time still goes on.
    fn is_in_range(&self, t: u64, after: u64) -> bool {
        let range = self.tracks[0].range();
        range.contains(t) && t.checked_add(after).is_some_and(|later| range.contains(later))
    }

    /// P2 of sets: at the wait told each of its limits admits its cost, and a nanosecond before one does not.
    fn waits(&self, parts: &[Part], told: &Decision<'_>, journal: &mut Journal) {
        let Some(retry) = told.retry_after().map(nanos) else { return };
        let fits = |after: u64| {
            let t = told.at().as_nanos();
            let t = self.is_in_range(t, after).then(|| t + after)?;
            let admits = |&(index, cost): &Part| {
                let At { key, limit, .. } = self.tracks[index].at;
                self.limiter.under(limit).at(ns(t)).key(key).peek_n(cost).is_allowed()
            };
            Some(parts.iter().all(admits))
        };
        journal.tally.probes += 1;
        assert_ne!(fits(retry), Some(false), "P2: a set refused {parts:?} after {retry} ns");
        assert_ne!(fits(retry - 1), Some(true), "P2: a set admitted {parts:?} before {retry} ns");
    }

    /// Reserved exactly if the latest of the instants at which the parts fit is one that all can promise, and for then.
    fn reserve(
        &mut self,
        parts: &[Part],
        set: Option<(&'a LimitSet, &str, u64)>,
        t: u64,
        max_wait: u64,
        journal: &mut Journal,
    ) -> Option<Waiting<'a>> {
        journal.call(Call::ReserveSet, t, max_wait);
        let limiter = self.limiter.at(ns(t));
        let patience = Duration::from_nanos(max_wait);
        let reserved = match set {
            Some((set, key, cost)) => limiter.reserve_set(set, key, cost, patience),
            None => match limiter.reserve_items(&self.items(parts, journal), patience) {
                Err(ReserveError::Items(error)) => panic!("{error}"),
                Err(ReserveError::Refused(refusal)) => Err(refusal),
                Ok(reservation) => Ok(reservation),
            },
        };
        let tracks = || parts.iter().map(|&(index, cost)| (&self.tracks[index], cost));
        let fits: Option<Vec<i128>> = tracks().map(|(track, cost)| track.fits_at(cost)).collect();
        let go = fits.and_then(|fits| fits.into_iter().max());
        let promised = go.filter(|&go| tracks().all(|(track, cost)| track.promises(go, cost, max_wait)));
        match reserved {
            Ok(reservation) => {
                journal.answer(nanos(reservation.wait()));
                let go = promised.unwrap_or_else(|| panic!("P1: {parts:?}: {reservation:?}"));
                assert_eq!(i128::from(nanos(reservation.wait())), self.tracks[parts[0].0].wait(go), "{parts:?}");
                let debit = |&(index, cost): &Part| (index, self.tracks[index].take_as_of(go, cost));
                let debits = parts.iter().map(debit).collect();
                self.look(parts, journal);
                Some(Waiting { reservation, debits })
            }
            Err(refusal) => {
                journal.decision(&refusal.decision());
                assert!(!refusal.is_allowed() && promised.is_none(), "P2: {parts:?} in {max_wait} ns: {refusal:?}");
                self.look(parts, journal);
                None
            }
        }
    }

    /// The last first, so that all of them come back where nobody has taken since.
    fn cancel(&mut self, waiting: Waiting<'_>, t: u64, journal: &mut Journal) {
        let Waiting { reservation, debits } = waiting;
        journal.call(Call::Cancel, t, debits.len() as u64);
        reservation.cancel_at(ns(t));
        for (index, debit) in debits.iter().rev() {
            self.tracks[*index].cancelled(debit);
        }
        let parts: Vec<Part> = debits.iter().map(|&(index, _)| (index, 1)).collect();
        self.look(&parts, journal);
    }

    fn look(&self, parts: &[Part], journal: &mut Journal) {
        for &(index, cost) in parts {
            let track = &self.tracks[index];
            let decision = track.at.handle().peek_n(cost);
            track.judge(cost, &decision, journal);
            track.told(cost, &decision);
        }
    }

    /// A list decided one by one is the same as many checks.
    fn check_each(&mut self, parts: &[Part], t: u64, journal: &mut Journal) {
        journal.call(Call::CheckEach, t, parts.len() as u64);
        let items = self.items(parts, journal);
        let mut next = 0;
        self.limiter.at(ns(t)).check_each(&items, |place, decision| {
            assert_eq!(place, next, "in order");
            next += 1;
            let (index, cost) = parts[place];
            let track = &mut self.tracks[index];
            track.judge(cost, &decision, journal);
            track.took(cost, &decision);
            track.told(cost, &decision);
        });
        assert_eq!(next, parts.len(), "each once");
    }

    /// Many keys at once are the same keys one by one.
    fn check_keys(&mut self, limit: usize, keys: &[usize], t: u64, journal: &mut Journal) {
        let count = self.tracks.len() / KEYS.len();
        let names: Vec<&str> = keys.iter().map(|&key| KEYS[key]).collect();
        journal.call(Call::CheckKeys, t, keys.len() as u64);
        let mut next = 0;
        let tracks = &mut self.tracks;
        let limiter = self.limiter.under(tracks[limit].at.limit).at(ns(t));
        limiter.check_keys(&names, |index, decision| {
            assert_eq!(index, next, "in order");
            next += 1;
            let track = &mut tracks[keys[index] * count + limit];
            track.judge(1, &decision, journal);
            track.took(1, &decision);
            track.told(1, &decision);
        });
        assert_eq!(next, keys.len(), "each once");
    }
}

/// Of one limit the wait begins when the caller thinks it is, of the other, which is repaired, at the clock's later time.
#[test]
fn a_late_caller_is_told_the_latest_instant() {
    use super::common::SECOND;

    let (slow, quick) = (Quota::per_second(1).with_burst(10), Quota::per_second(1).with_burst(1));
    let limiter = Limiter::builder(slow).clock(ManualClock::new(ns(100 * SECOND))).build().unwrap();
    let limits = [("slow", slow), ("quick", quick)].map(|(name, quota)| limiter.prepare(name, quota).unwrap());
    let set = LimitSet::new(limits).unwrap();
    assert!(limiter.under(&limits[1]).check("key").is_allowed());
    // The clock steps back to 54. By it the quick limit is empty, so it admits again at 55; the slow one does at 53.
    limiter.clock().set(ns(54 * SECOND));
    assert_eq!(limiter.at(ns(52 * SECOND)).under(&limits[0]).key("key").take_up_to(10), 10);
    let told = limiter.at(ns(50 * SECOND)).check_set(&set, "key").decision();
    assert_eq!(told.at() + told.retry_after().unwrap(), ns(55 * SECOND));
}
