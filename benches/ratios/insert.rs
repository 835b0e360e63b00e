//! Every check has a key that was never seen: ours takes an idle slot, governor grows and is swept by a second thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tollgate::clock::{CachedClock, Clock};
use tollgate::{Limiter, Quota};

use crate::common::peers::governor::insert_heavy;
use crate::common::peers::{Cached, Exact, Governor};
use crate::common::{Fresh, Peer, Race, Terms, checks};
use crate::options::Options;
use crate::report::{Goal, Report};

/// Slots of ours; governor sees about as many keys between two sweeps.
pub const SLOTS: u64 = 1_000_000;

/// The capacity that a limiter has unless told otherwise: within the second cache.
const SMALL: u64 = tollgate::LimiterBuilder::DEFAULT_CAPACITY as u64;
const SMALL_NAME: &str = "tollgate, 65,536 slots";

/// How governor is kept small, for the note.
pub const NOTE: &str = "governor swept by a second thread: retain_recent, shrink_to_fit, 50 ms, and again";

/// A key is idle again after a nanosecond, so its slot can be taken.
pub fn ours<C: Clock>(clock: C, slots: u64) -> Limiter<C> {
    let slots = usize::try_from(slots).expect("a number of slots");
    let builder = Limiter::builder(Quota::per_second(1_000_000_000)).capacity(slots).commit_at_build(true);
    builder.clock(clock).build().expect("a limiter")
}

/// Runs `calls` while another thread sweeps, as governor's documentation advises from time to time.
pub fn swept<T>(governor: &Governor<u64>, calls: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                governor.0.retain_recent();
                governor.0.shrink_to_fit();
                thread::park_timeout(Duration::from_millis(50));
            }
        });
        let result = calls();
        done.store(true, Ordering::Release);
        sweeper.thread().unpark();
        result
    })
}

pub fn race(options: &Options, report: &mut Report) {
    let slots = options.keys(SLOTS);
    let exact = Exact(ours(tollgate::clock::ExactClock::new(), slots));
    let cached = Cached(ours(CachedClock::new().expect("a clock"), slots));
    let small = Exact(ours(tollgate::clock::ExactClock::new(), options.keys(SMALL)));
    let governor = insert_heavy();
    // Long slices: several sweeps in each.
    let mut race = Race::new(options.length().slices(16));
    let [mut a, mut b, mut c, mut d] = [0_u64; 4].map(Fresh::from);
    race.add(Exact::NAME, |calls| checks(&exact, &mut a, calls, Terms::Allow));
    race.add(Cached::NAME, |calls| checks(&cached, &mut b, calls, Terms::Allow));
    race.add(SMALL_NAME, |calls| checks(&small, &mut d, calls, Terms::Allow));
    race.add(Governor::<u64>::NAME, |calls| swept(&governor, || checks(&governor, &mut c, calls, Terms::Allow)));
    let times = race.run();
    let governor = Governor::<u64>::NAME;
    report.row(&times, "insert-heavy, exact time", Exact::NAME, governor, Goal::Ratio(3.0), NOTE);
    report.row(&times, "insert-heavy, 65,536 slots, exact time", SMALL_NAME, governor, Goal::None, NOTE);
    report.row(&times, "insert-heavy, cached time", Cached::NAME, governor, Goal::None, NOTE);
}
