//! Keys that are text: the ratios should be those of numbers, within a fifth.

use crate::common::contender::ready;
use crate::common::peers::{Array, AtNow, Cached, Exact, Governor, batches};
use crate::common::{Peer, Race, Terms, Text, Uniform, checks};
use crate::numbers::{KEYS_ALONE, MANY, keys_alone};
use crate::options::Options;
use crate::report::{self, Goal, Report};

pub fn race<const LENGTH: usize>(count: u64, options: &Options, report: &mut Report) {
    let name = report::keys(count);
    let count = options.keys(count);
    let allow = Terms::Allow;
    let keys = || Text::<_, LENGTH>::new(Uniform::new(count));
    let exact: &Exact = &ready(&mut keys(), count, allow);
    let cached: Cached = ready(&mut keys(), count, allow);
    let governor: Governor<String> = ready(&mut keys(), count, allow);
    let array = Array::new(count, allow);

    let mut race = Race::new(options.length());
    let mut k = keys();
    race.add(KEYS_ALONE, move |calls| keys_alone(&mut k, calls));
    let mut k = keys();
    race.add(Array::NAME, move |calls| checks(&array, &mut k, calls, allow));
    let mut k = keys();
    race.add(Exact::NAME, move |calls| checks(exact, &mut k, calls, allow));
    let mut k = keys();
    race.add(AtNow::NAME, move |calls| checks(&AtNow::new(exact), &mut k, calls, allow));
    let mut k = keys();
    race.add(MANY, move |calls| batches(exact, &mut k, calls, allow));
    let mut k = keys();
    race.add(Cached::NAME, move |calls| checks(&cached, &mut k, calls, allow));
    let mut k = keys();
    race.add(Governor::<String>::NAME, move |calls| checks(&governor, &mut k, calls, allow));
    let times = race.run();

    let governor = Governor::<String>::NAME;
    for (workload, ours) in [
        ("exact time", Exact::NAME),
        ("cached time", Cached::NAME),
        ("caller's now", AtNow::NAME),
        ("check_keys of 32", MANY),
    ] {
        // Measured before in this run, unless a filter left it out.
        let of_numbers = report.ratio(&format!("{name}, {workload}"), governor);
        let goal = of_numbers.map_or(Goal::None, |ratio| Goal::Ratio(ratio * 0.8));
        let note = "goal: within a fifth of the ratio for numbers in this run";
        report.row(&times, &format!("{name}, {LENGTH} bytes, {workload}"), ours, governor, goal, note);
    }
    let exact = format!("{name}, {LENGTH} bytes, exact time");
    report.row(&times, &exact, Exact::NAME, Array::NAME, Goal::None, Array::NOTE);
    report.alone(
        &times,
        &format!("{name}, {LENGTH} bytes, {KEYS_ALONE}"),
        KEYS_ALONE,
        "writing the text; in all others",
    );
}
