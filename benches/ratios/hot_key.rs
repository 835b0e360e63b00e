//! One key, hammered by as many threads as there are cores (two in the goals), and by one.

use crate::common::contender::{count, ready};
use crate::common::peers::{AtNow, Cached, CasLoop, Exact, Governor, MutexedMap};
use crate::common::threads::{available, disturbed, together};
use crate::common::{Contender, One, Peer, Race, Slice, Terms};
use crate::options::Options;
use crate::report::{Goal, Report};

pub fn hammer<C: Contender<u64>>(contender: &C, threads: usize, calls: u64) -> Slice {
    together(threads, calls, Terms::Allow, |_, share| count(contender, &mut One::default(), share))
}

pub fn race(options: &Options, report: &mut Report) {
    let allow = Terms::Allow;
    for threads in if available() > 1 { vec![1, available()] } else { vec![1] } {
        let exact: Exact = ready(&mut One::default(), 1, allow);
        let cached: Cached = ready(&mut One::default(), 1, allow);
        let governor: Governor<u64> = ready(&mut One::default(), 1, allow);
        let map: MutexedMap<u64> = ready(&mut One::default(), 1, allow);
        let cas_loop = CasLoop::new(1, allow);
        let mut race = Race::new(options.length());
        race.add(CasLoop::NAME, |calls| hammer(&cas_loop, threads, calls));
        race.add(Exact::NAME, |calls| hammer(&exact, threads, calls));
        race.add(Cached::NAME, |calls| hammer(&cached, threads, calls));
        race.add(AtNow::NAME, |calls| hammer(&AtNow::new(&exact), threads, calls));
        race.add(Governor::<u64>::NAME, |calls| hammer(&governor, threads, calls));
        race.add(MutexedMap::<u64>::NAME, |calls| hammer(&map, threads, calls));
        let times = race.run();
        report.disturbed(disturbed());

        let both = |least| if threads == 2 { Goal::Ratio(least) } else { Goal::None };
        let at_most = |most| if threads == 2 { Goal::TimesThePeer(most) } else { Goal::None };
        let plural = if threads == 1 { "" } else { "s" };
        for (time, ours) in [("exact time", Exact::NAME), ("cached time", Cached::NAME), ("caller's now", AtNow::NAME)]
        {
            let workload = format!("one hot key, {threads} thread{plural}, {time}");
            report.row(&times, &workload, ours, CasLoop::NAME, at_most(1.3), CasLoop::NOTE);
            report.row(&times, &workload, ours, Governor::<u64>::NAME, both(3.0), Governor::<u64>::NOTE);
            report.row(&times, &workload, ours, MutexedMap::<u64>::NAME, Goal::None, MutexedMap::<u64>::NOTE);
        }
    }
    report.disturbed(0);
}
