//! Keys that are numbers: exact, cached and caller's time, thirty-two at once, and refusals; all in one race.

use std::sync::Arc;

use crate::common::contender::ready;
use crate::common::peers::{Array, ArrayWithoutTime, AtNow, Cached, Exact, Governor, GovernorCached, batches};
use crate::common::{Keys, Peer, Race, Slice, Stopwatch, Terms, Times, Uniform, Zipf, checks};
use crate::options::Options;
use crate::report::{self, Goal, Report};

pub const KEYS_ALONE: &str = "keys alone";
pub const MANY: &str = "tollgate, 32 at once";
const REFUSED: &str = "tollgate, refused";
const REFUSED_AT_NOW: &str = "tollgate, refused at now";
const GOVERNOR_REFUSED: &str = "governor, refused";

/// Drawing the keys, which all others pay as well.
pub fn keys_alone<K>(keys: &mut impl Keys<K>, calls: u64) -> Slice {
    let watch = Stopwatch::start();
    for _ in 0..calls {
        std::hint::black_box(keys.draw());
    }
    Slice { nanos: watch.nanos(), calls, admitted: calls, due: calls }
}

pub fn race(count: u64, options: &Options, report: &mut Report) {
    let name = report::keys(count);
    let count = options.keys(count);
    let times = run(count, || Uniform::new(count), options, true);
    let least = |at_1_k, at_1_m, at_10_m| match count {
        1_000 => Goal::Ratio(at_1_k),
        1_000_000 => Goal::Ratio(at_1_m),
        10_000_000 => Goal::Ratio(at_10_m),
        _ => Goal::None,
    };
    let at_1_k = |goal| if count == 1_000 { goal } else { Goal::None };

    let mut row = |workload: &str, ours: &str, peer: &str, goal: Goal, note: &str| {
        report.row(&times, &format!("{name}, {workload}"), ours, peer, goal, note);
    };
    let (floor, governor) = (Array::NAME, Governor::<u64>::NAME);
    row("exact time", Exact::NAME, floor, at_1_k(Goal::TimesThePeer(1.25)), Array::NOTE);
    row("exact time", Exact::NAME, governor, least(1.6, 2.0, 2.0), Governor::<u64>::NOTE);
    row("cached time", Cached::NAME, ArrayWithoutTime::NAME, Goal::None, ArrayWithoutTime::NOTE);
    row("cached time", Cached::NAME, governor, least(3.0, 6.0, 8.0), "governor at its default, exact time");
    row("cached time", Cached::NAME, GovernorCached::<u64>::NAME, Goal::None, GovernorCached::<u64>::NOTE);
    row("caller's now", AtNow::NAME, ArrayWithoutTime::NAME, Goal::None, ArrayWithoutTime::NOTE);
    row("caller's now", AtNow::NAME, governor, at_1_k(Goal::Ratio(3.0)), "now is read once a slice");
    let many = if count == 1_000 { Goal::None } else { least(0.0, 10.0, 15.0) };
    row("check_keys of 32", MANY, governor, many, "exact time, read once for 32");
    row("refused, exact time", REFUSED, Exact::NAME, Goal::Ratio(1.0), "peer: our own allowed check");
    row("refused, caller's now", REFUSED_AT_NOW, AtNow::NAME, Goal::Ratio(1.0), "peer: our own allowed check");
    row("refused, exact time", REFUSED, GOVERNOR_REFUSED, Goal::None, "both refuse");
    report.alone(&times, &format!("{name}, {KEYS_ALONE}"), KEYS_ALONE, "drawing keys; in all other figures as well");
}

/// As many keys as take more memory than the largest caches have, and allowed checks only: it takes memory enough.
pub fn beyond_cache(count: u64, options: &Options, report: &mut Report) {
    let name = report::keys(count);
    let count = options.keys(count);
    allowed(&name, &run(count, || Uniform::new(count), options, false), "beyond the cache", report);
}

pub fn zipf(count: u64, options: &Options, report: &mut Report) {
    let name = format!("{} by Zipf", report::keys(count));
    let count = options.keys(count);
    let keys = Zipf::new(count);
    let times = run(count, || keys.clone(), options, false);
    allowed(&name, &times, "exponent 0.99", report);
    report.alone(&times, &format!("{name}, {KEYS_ALONE}"), KEYS_ALONE, "read from a million draws");
}

fn allowed(name: &str, times: &Times, note: &str, report: &mut Report) {
    for (workload, ours) in [
        ("exact time", Exact::NAME),
        ("cached time", Cached::NAME),
        ("caller's now", AtNow::NAME),
        ("check_keys of 32", MANY),
    ] {
        report.row(times, &format!("{name}, {workload}"), ours, Governor::<u64>::NAME, Goal::None, note);
    }
    report.row(times, &format!("{name}, exact time"), Exact::NAME, Array::NAME, Goal::None, Array::NOTE);
}

/// Everything that has one thread and numbers for keys.
pub fn run<D: Keys<u64>>(count: u64, keys: impl Fn() -> D, options: &Options, refusals: bool) -> Times {
    let (allow, refuse) = (Terms::Allow, Terms::Refuse);
    let mut filler = Uniform::new(count);
    let exact: &Exact = &ready(&mut filler, count, allow);
    let cached: Cached = ready(&mut filler, count, allow);
    let governor: Governor<u64> = ready(&mut filler, count, allow);
    let governor_cached: GovernorCached<u64> = ready(&mut filler, count, allow);
    let (array, array_without_time) = (Array::new(count, allow), ArrayWithoutTime::new(count, allow));

    let mut race = Race::new(options.length());
    let mut k = keys();
    race.add(KEYS_ALONE, move |calls| keys_alone(&mut k, calls));
    let mut k = keys();
    race.add(Array::NAME, move |calls| checks(&array, &mut k, calls, allow));
    let mut k = keys();
    race.add(ArrayWithoutTime::NAME, move |calls| checks(&array_without_time, &mut k, calls, allow));
    let mut k = keys();
    race.add(Exact::NAME, move |calls| checks(exact, &mut k, calls, allow));
    let mut k = keys();
    race.add(AtNow::NAME, move |calls| checks(&AtNow::new(exact), &mut k, calls, allow));
    let mut k = keys();
    race.add(MANY, move |calls| batches(exact, &mut k, calls, allow));
    let mut k = keys();
    race.add(Cached::NAME, move |calls| checks(&cached, &mut k, calls, allow));
    let mut k = keys();
    race.add(Governor::<u64>::NAME, move |calls| checks(&governor, &mut k, calls, allow));
    let mut k = keys();
    race.add(GovernorCached::<u64>::NAME, move |calls| checks(&governor_cached, &mut k, calls, allow));
    if !refusals {
        return race.run();
    }
    let refusing: Arc<Exact> = Arc::new(ready(&mut filler, count, refuse));
    let refusing_at_now = Arc::clone(&refusing);
    let governor_refusing: Governor<u64> = ready(&mut filler, count, refuse);
    let mut k = keys();
    race.add(REFUSED, move |calls| checks(&*refusing, &mut k, calls, refuse));
    let mut k = keys();
    race.add(REFUSED_AT_NOW, move |calls| checks(&AtNow::new(&refusing_at_now), &mut k, calls, refuse));
    let mut k = keys();
    race.add(GOVERNOR_REFUSED, move |calls| checks(&governor_refusing, &mut k, calls, refuse));
    race.run()
}
