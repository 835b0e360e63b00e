//! The time to the nanosecond.

use std::sync::Arc;

use super::os::Os;
use super::timeline::{PLACES, Reading, Source, Timeline};
use super::{Clock, Instant};

/// The time now, to the nanosecond, from the processor's counter.
///
/// One reading costs what reading the counter costs (about 11 ns on x86-64). The first one that a process makes tests the
/// counter, in a thread of its own, for up to 0.2 s and 10 ms: it must agree with the operating system's monotonic clock to one
/// part in a thousand, never step back, and be in step between threads to a microsecond. If it fails, if no thread can be
/// started, or if there is no answer in two seconds, the operating system's clock is read each time instead: slower, and
/// right. Making another takes some 30 us at most. A forked child tests again.
///
/// # How far it is off
///
/// Every 1.07 s one reading, which takes a microsecond longer, compares the counter with the operating system's clock and
/// measures the counter's rate. From one comparison to the next the clock is led back to the system's, faster or slower by
/// one part in 256 at most: it does not step back, and where it has been kept from running it is set forward. So it is off the
/// operating system's clock
///
/// - by 1.1 ms at most in its first second (one part in a thousand),
/// - by less than 10 us from its third second on, as long as the operating system lets a thread read both clocks within a
///   microsecond in one of eight tries, else by as long as that takes.
///
/// A counter that is set back (a virtual machine that moves to another host), jumps, stops for a while or changes its rate is
/// found out by the first reading that would be more than 4 ms earlier, or 1.07 s later, than the last comparison: at once for
/// what lies outside of that, else at the next comparison. Until then the time is off by as much as the counter was moved. From
/// then on it is the operating system's, read each time; if it was ahead of that, half as fast until it is not. The counter is
/// in use again when two seconds in a row agree on its rate. A counter that stops for ever, while the processor runs, is not
/// found out.
///
/// The processor may read its counter before the instructions ahead of the reading are done, so a reading can be earlier than
/// what this thread has just learned from another, by as long as that took to arrive: 5 us have been seen. To forbid it would
/// double the cost (7 ns against 13 here). A thread that is interrupted after its reading looks the same, and a check by an
/// earlier instant never admits more.
///
/// Clones are the same clock. The operating system's clock does not go on while the machine is suspended, nor does this.
#[derive(Debug, Clone)]
pub struct ExactClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    timeline: Timeline,
    machine: Machine,
}

/// The processor's counter, if it is in use, and the operating system's clock.
#[derive(Debug)]
struct Machine {
    counter: Option<quanta::Clock>,
    os: Os,
}

impl Source for Machine {
    #[inline]
    fn ticks(&self) -> u64 {
        self.counter.as_ref().map_or(0, quanta::Clock::raw)
    }

    fn os_nanos(&self) -> u64 {
        self.os.nanos()
    }
}

impl ExactClock {
    /// An exact clock, from the counter if that can be trusted.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(not(tollgate_model))]
        let counter = super::counter::tested();
        #[cfg(tollgate_model)]
        let counter = None;
        Self::on(counter)
    }

    /// An exact clock that asks the operating system each time, whatever the processor offers.
    #[must_use]
    pub fn from_os() -> Self {
        Self::on(None)
    }

    fn on(counter: Option<quanta::Clock>) -> Self {
        let rate = counter.as_ref().map(|counter| counter.delta_as_nanos(0, 1 << PLACES));
        let machine = Machine { counter, os: Os::new() };
        let timeline = Timeline::new(Reading::take(&machine), rate);
        Self { shared: Arc::new(Shared { timeline, machine }) }
    }

    /// Whether the processor's counter passed the test and is in use at this moment.
    #[must_use]
    pub fn uses_counter(&self) -> bool {
        self.shared.timeline.is_line()
    }
}

impl Default for ExactClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ExactClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant(self.shared.timeline.nanos(&self.shared.machine))
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::os::{order, unix_nanos};
    use super::*;

    #[test]
    fn clocks_run_forward_and_near_the_wall_clock() {
        for clock in [ExactClock::new(), ExactClock::from_os()] {
            let first = clock.now();
            assert!(first.as_nanos().abs_diff(unix_nanos()) < 1_000_000_000, "{clock:?}");
            assert!((0..10_000).fold(first, |last, _| last.max(clock.now())) <= clock.now());
        }
    }

    #[test]
    fn no_thread_sees_what_another_has_seen_go_back() {
        use crate::sync::{Atomic, Ordering};
        // Over the ends of two lines.
        let clock = ExactClock::new();
        let (start, latest) = (clock.now().as_nanos(), Atomic::<u64>::new(0));
        let watch = || loop {
            // AcqRel, with each other: a reading comes after the one that it is compared with. No model: a test.
            let before = latest.fetch_max(0, Ordering::AcqRel);
            order();
            let now = clock.now().as_nanos();
            latest.fetch_max(now, Ordering::AcqRel);
            assert!(now + 1_000 >= before, "{} ns back", before - now);
            if now - start > 2_300_000_000 {
                break;
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(watch))));
        assert!(clock.now().as_nanos().abs_diff(unix_nanos()) < 1_000_000_000);
    }

    #[test]
    fn clones_are_one_clock() {
        let clock = ExactClock::new();
        assert!(Arc::ptr_eq(&clock.shared, &clock.clone().shared));
    }
}
