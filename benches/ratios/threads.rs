//! Uniform keys, by as many threads as the machine has cores: calls a second, against one thread.

use crate::common::contender::{count, ready};
use crate::common::peers::{Cached, Exact, Governor};
use crate::common::threads::{available, disturbed, together};
use crate::common::{Contender, Race, Slice, Terms, Uniform};
use crate::options::Options;
use crate::report::{self, Goal, Report};

/// A slice of a race between threads, each with keys of its own. `turn` tells one slice from the next.
pub fn uniform<C: Contender<u64>>(contender: &C, keys: u64, threads: usize, calls: u64, turn: &mut u64) -> Slice {
    *turn += 1;
    let seed = *turn << 8;
    together(threads, calls, Terms::Allow, |thread, share| {
        count(contender, &mut Uniform::seeded(keys, seed + thread as u64), share)
    })
}

pub fn race(keys: u64, options: &Options, report: &mut Report) {
    let name = report::keys(keys);
    let keys = options.keys(keys);
    let threads = available();
    if threads < 2 {
        eprintln!("left out: this machine runs one thread at a time");
        return;
    }
    let mut filler = Uniform::new(keys);
    let exact: Exact = ready(&mut filler, keys, Terms::Allow);
    let cached: Cached = ready(&mut filler, keys, Terms::Allow);
    let governor: Governor<u64> = ready(&mut filler, keys, Terms::Allow);
    let [mut a, mut b, mut c, mut d, mut e, mut f] = [0_u64; 6];
    let mut race = Race::new(options.length());
    race.add("tollgate, 1 thread", |calls| uniform(&exact, keys, 1, calls, &mut a));
    race.add("tollgate, threads", |calls| uniform(&exact, keys, threads, calls, &mut b));
    race.add("cached, 1 thread", |calls| uniform(&cached, keys, 1, calls, &mut c));
    race.add("cached, threads", |calls| uniform(&cached, keys, threads, calls, &mut d));
    race.add("governor, 1 thread", |calls| uniform(&governor, keys, 1, calls, &mut e));
    race.add("governor, threads", |calls| uniform(&governor, keys, threads, calls, &mut f));
    let times = race.run();
    report.disturbed(disturbed());

    let note = "time a call over all threads";
    let workload = |time| format!("{name}, {threads} threads, {time}");
    // Nine tenths of the cores; 1.8 on the two cores of the goal.
    let goal = Goal::Ratio(report_goal(threads));
    let (exact, cached) = (workload("exact time"), workload("cached time"));
    report.row(&times, &exact, "tollgate, threads", "tollgate, 1 thread", goal, note);
    report.row(&times, &cached, "cached, threads", "cached, 1 thread", goal, note);
    report.row(&times, &exact, "tollgate, threads", "governor, threads", Goal::None, note);
    report.row(&times, &cached, "cached, threads", "governor, threads", Goal::None, note);
    report.row(&times, &workload("governor's own"), "governor, threads", "governor, 1 thread", Goal::None, note);
    report.disturbed(0);
}

fn report_goal(threads: usize) -> f64 {
    0.9 * f64::from(u32::try_from(threads).expect("a number of threads"))
}
