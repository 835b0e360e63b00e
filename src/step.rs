//! Whether the limiter's own clock has stepped back, and for how long that matters.
//!
//! A stamp that is further ahead than any call now could leave it was left at a later time. Was that a caller whose `now`
//! ran ahead, whose debit counts, or the limiter's own clock, which has stepped back since, so that the bucket would refuse
//! until it has caught up? The word does not say. So the limiter remembers how late its own clock has shown it to be, to a
//! millisecond, and takes stamps back only while the clock is behind that.
//!
//! A thread may sleep between reading the clock and looking here; that others have seen a later time by then is no step. So
//! the clock is read again, after the time that others saw: it cannot be earlier unless it has stepped back.

use crate::clock::{Clock, Instant};
use crate::sync::{Atomic, Ordering};

/// How late the clock was, and how late it was before it last stepped back.
#[derive(Debug)]
pub(crate) struct Steps {
    /// The latest reading, to [`SLACK`], since the last step; less `SLACK`, so that `now` needs one comparison.
    latest: Atomic<u64>,
    /// What the clock had shown when it stepped back; it is behind itself until it shows that again.
    before: Atomic<u64>,
    count: Atomic<u64>,
}

/// A step back of less is not noticed: it makes nobody wait longer than that. In nanoseconds.
const SLACK: u64 = 1_000_000;

impl Steps {
    pub(crate) fn new(now: Instant) -> Self {
        Self { latest: Atomic::new(less_slack(now)), before: Atomic::new(0), count: Atomic::new(0) }
    }

    /// Of a clock that shows `now`, and had shown `before` to another limiter, whose buckets this one has taken over.
    #[cfg(not(tollgate_model))]
    pub(crate) fn since(before: Instant, now: Instant) -> Self {
        let is_back = now < before;
        let behind = if is_back { before.as_nanos() } else { 0 };
        Self {
            latest: Atomic::new(less_slack(now)),
            before: Atomic::new(behind),
            count: Atomic::new(u64::from(is_back)),
        }
    }

    /// A reading of the clock, looked at.
    #[inline]
    pub(crate) fn now(&self, clock: &(impl Clock + ?Sized)) -> Instant {
        let now = clock.now();
        if clock.never_steps_back() {
            return now;
        }
        // Acquire, with the exchange in `look`: a thread that observes the time that another has read reads no earlier one after that.
        // Model: step.
        let latest = self.latest.load(Ordering::Acquire);
        // Neither behind by the slack nor ahead by it.
        if now.as_nanos().wrapping_sub(latest) < 2 * SLACK { now } else { self.look(now, clock) }
    }

    #[cold]
    #[inline(never)]
    fn look(&self, mut now: Instant, clock: &(impl Clock + ?Sized)) -> Instant {
        // Acquire, here and if the exchange fails, as in `now`. Model: step.
        let mut latest = self.latest.load(Ordering::Acquire);
        loop {
            if now.as_nanos() < latest {
                // After the time that others saw.
                now = clock.now();
            }
            let is_back = now.as_nanos() < latest;
            if !is_back && less_slack(now) <= latest {
                return now;
            }
            if is_back {
                // Relaxed, with the load in `is_behind`: raised before the exchange below, whose Release carries it to whoever
                // sees the earlier time there. One who does not see it takes nothing back, and is refused. Model: step.
                self.before.fetch_max(latest.saturating_add(SLACK), Ordering::Relaxed);
            }
            // Release, with the loads above: carries the reading of the clock, and what was before. Model: step.
            match self.latest.compare_exchange(latest, less_slack(now), Ordering::Release, Ordering::Acquire) {
                Ok(_) => {
                    if is_back {
                        // Relaxed, with `count`: a number by itself. No model.
                        self.count.fetch_add(1, Ordering::Relaxed);
                    }
                    return now;
                }
                Err(newer) => latest = newer,
            }
        }
    }

    /// Whether the clock has stepped back and not caught up by `now`, a reading of it.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        // Relaxed, with the maximum in `look`: see there. Model: step.
        now.as_nanos() < self.before.load(Ordering::Relaxed)
    }

    /// How often the clock has stepped back.
    pub(crate) fn count(&self) -> u64 {
        // Relaxed, with the addition in `look`: a number by itself. No model.
        self.count.load(Ordering::Relaxed)
    }
}

const fn less_slack(now: Instant) -> u64 {
    now.as_nanos().saturating_sub(SLACK)
}

#[cfg(all(test, not(tollgate_model)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use core::time::Duration;

    #[test]
    fn a_step_back_is_noticed_and_counted_once() {
        let clock = ManualClock::new(Instant::from_secs(100));
        let steps = Steps::new(clock.now());
        for secs in [100, 101, 200] {
            clock.set(Instant::from_secs(secs));
            assert_eq!((steps.now(&clock), steps.count()), (Instant::from_secs(secs), 0));
        }
        clock.set(Instant::from_secs(50));
        for _ in 0..3 {
            assert_eq!((steps.now(&clock), steps.count()), (Instant::from_secs(50), 1));
        }
        assert!(steps.is_behind(Instant::from_secs(199)) && !steps.is_behind(Instant::from_secs(200)));
        clock.set(Instant::from_secs(40));
        assert_eq!((steps.now(&clock), steps.count()), (Instant::from_secs(40), 2));
        assert!(steps.is_behind(Instant::from_secs(199)), "the clock has yet to catch up with the first");
    }

    #[test]
    fn within_the_slack_nothing_is_noticed() {
        let clock = ManualClock::new(Instant::from_secs(100));
        let steps = Steps::new(clock.now());
        clock.set(clock.now().saturating_sub(Duration::from_nanos(SLACK)));
        steps.now(&clock);
        assert_eq!(steps.count(), 0);
    }

    /// Thread B reads a later time before thread A, which has an earlier reading, looks.
    #[test]
    fn a_sleeper_sees_no_step() {
        struct Sleeper<'a>(&'a ManualClock, &'a Steps, Atomic<u64>);
        impl Clock for Sleeper<'_> {
            fn now(&self) -> Instant {
                let now = self.0.now();
                // The first reading only: then others read, and this thread sleeps. Relaxed: one thread.
                if self.2.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.0.advance(Duration::from_secs(10));
                    self.1.now(self.0);
                }
                now
            }
        }
        let clock = ManualClock::new(Instant::from_secs(100));
        let steps = Steps::new(clock.now());
        assert_eq!(steps.now(&Sleeper(&clock, &steps, Atomic::new(0))), Instant::from_secs(110));
        assert_eq!(steps.count(), 0);
    }
}
