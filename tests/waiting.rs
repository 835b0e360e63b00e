//! `until_ready`: order, deadline, bound on waiters, and what dropping the future gives back.
#![cfg(feature = "async")]

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::clock::{Clock, Instant, ManualClock};
use tollgate::error::WaitError;
use tollgate::{Algorithm, Bucket, LimitSet, Limiter, Quota};

const SECOND: Duration = Duration::from_secs(1);

/// A timer on a manual clock: ready once the clock has moved far enough.
struct Sleep(ManualClock, Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.now() >= self.1 { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn timer(clock: &ManualClock) -> impl Fn(Duration) -> Sleep {
    let clock = clock.clone();
    move |duration| Sleep(clock.clone(), clock.now() + duration)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn waiters_go_first_come_first_served_each_at_its_own_instant() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).clock(clock.clone()).build().unwrap();
    let mut first = pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock)));
    let mut second = pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock)));
    let mut third = pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock)));
    assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(poll(second.as_mut()), Poll::Pending);
    assert_eq!(poll(third.as_mut()), Poll::Pending);
    clock.advance(SECOND);
    assert_eq!(poll(third.as_mut()), Poll::Pending, "the third does not overtake the second");
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
    clock.advance(SECOND);
    assert_eq!(poll(third.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn a_wait_past_the_deadline_takes_nothing() {
    let clock = ManualClock::default();
    let bucket = Bucket::with_clock(Quota::per_second(1), clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    let late = poll(pin!(bucket.handle().until_ready(1, SECOND / 2, timer(&clock))));
    let Poll::Ready(Err(WaitError::TooLong(report))) = late else { panic!("{late:?}") };
    assert_eq!(report.retry_after, Some(SECOND));
    clock.advance(SECOND);
    assert!(bucket.check().is_allowed());
}

#[test]
fn a_cost_above_the_limit_does_not_wait() {
    let bucket = Bucket::with_clock(Quota::per_second(1), ManualClock::default()).unwrap();
    let never = poll(pin!(bucket.handle().until_ready(2, SECOND, |_| std::future::pending())));
    assert!(matches!(never, Poll::Ready(Err(WaitError::NeverFits(_)))), "{never:?}");
}

#[test]
fn dropping_the_future_gives_the_place_back() {
    let clock = ManualClock::default();
    let bucket = Bucket::with_clock(Quota::per_second(1), clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    {
        let mut waiting = pin!(bucket.handle().until_ready(1, 10 * SECOND, timer(&clock)));
        assert_eq!(poll(waiting.as_mut()), Poll::Pending);
        assert_eq!(bucket.peek().retry_after(), Some(2 * SECOND));
    }
    assert_eq!(bucket.peek().retry_after(), Some(SECOND));
}

/// A child that is forked while somebody waits has a copy of his future, but not of his turn: it gives nothing back, and does not go by it.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(unsafe_code, reason = "a process is forked by the C library's functions")]
fn a_turn_is_its_process_s() {
    let clock = ManualClock::default();
    let shared = tollgate::shared::Shared::before_fork();
    let limiter = Limiter::builder(Quota::per_second(1)).shared(shared).trust_clock(clock.clone()).build().unwrap();
    assert!(limiter.check("key").is_allowed());
    let mut waiting = Some(Box::pin(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock))));
    assert_eq!(poll(waiting.as_mut().unwrap().as_mut()), Poll::Pending);
    for drops in [true, false] {
        // SAFETY: the child runs what follows alone, and ends without returning to the test harness.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let is_right = if drops {
                drop(waiting.take());
                limiter.peek("key").retry_after() == Some(2 * SECOND)
            } else {
                clock.advance(SECOND);
                let polled = poll(waiting.as_mut().unwrap().as_mut());
                // The parent's at one second, and the one of its own, at two.
                polled.is_pending() && limiter.peek("key").retry_after() == Some(2 * SECOND)
            };
            // SAFETY: ends this process; nothing of the parent's is flushed or dropped twice.
            unsafe { libc::_exit(i32::from(!is_right)) }
        }
        let mut status = 0;
        // SAFETY: `status` is a place for one, and the child is this process's own.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "drops: {drops}");
    }
    clock.advance(SECOND);
    assert_eq!(poll(waiting.as_mut().unwrap().as_mut()), Poll::Ready(Ok(())));
    assert_eq!(limiter.peek("key").retry_after(), Some(2 * SECOND));
}

#[test]
fn no_more_wait_than_may() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).max_waiters(1).clock(clock.clone()).build().unwrap();
    assert!(limiter.check("key").is_allowed());
    let mut first = pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock)));
    assert_eq!(poll(first.as_mut()), Poll::Pending);
    for _ in 0..3 {
        let refused = poll(pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock))));
        assert_eq!(refused, Poll::Ready(Err(WaitError::TooManyWaiters { max: 1 })));
    }
    clock.advance(SECOND);
    assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(())), "those turned away have given their places back");
    assert_eq!(poll(pin!(limiter.key("key").until_ready(1, 10 * SECOND, timer(&clock)))), Poll::Pending);
}

#[test]
fn a_window_is_waited_for() {
    let clock = ManualClock::default();
    let quota = Quota::per_minute(1).with_algorithm(Algorithm::FixedWindow);
    let bucket = Bucket::with_clock(quota, clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    let mut waiting = pin!(bucket.handle().until_ready(1, 90 * SECOND, timer(&clock)));
    assert_eq!(poll(waiting.as_mut()), Poll::Pending);
    clock.advance(60 * SECOND);
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(Ok(())));
    assert!(!bucket.check().is_allowed());
}

#[test]
fn a_timer_that_fires_early_is_asked_again() {
    let clock = ManualClock::default();
    let bucket = Bucket::with_clock(Quota::per_second(1), clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    let asked = Cell::new(0);
    let early = |left: Duration| {
        asked.set(asked.get() + 1);
        clock.advance(left / 2 + Duration::from_nanos(1));
        std::future::ready(())
    };
    assert_eq!(poll(pin!(bucket.handle().until_ready(1, 10 * SECOND, early))), Poll::Ready(Ok(())));
    assert!(asked.get() > 1 && clock.now() >= Instant::from_secs(1));
}

/// Which of them are ready.
fn go<F: Future>(waits: &mut [Pin<Box<F>>]) -> Vec<bool> {
    waits.iter_mut().map(|wait| poll(wait.as_mut()).is_ready()).collect()
}

#[test]
fn who_waits_for_several_limits_waits_for_all() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).clock(clock.clone()).build().unwrap();
    let queue = Quota::per_second(2).with_burst(9).with_algorithm(Algorithm::LeakyQueue);
    let limits = [("one", Quota::per_second(1)), ("two", queue)];
    let set = LimitSet::new(limits.map(|(name, quota)| limiter.prepare(name, quota).unwrap())).unwrap();
    let wait = || Box::pin(limiter.until_set_ready(&set, "key", 1, 9 * SECOND, timer(&clock)));
    let mut waits = [wait(), wait(), wait(), wait()];
    assert_eq!(go(&mut waits), [true, false, false, false]);
    clock.advance(SECOND);
    assert_eq!(go(&mut waits[2..]), [false, false], "nobody overtakes");
    assert_eq!(go(&mut waits[1..]), [true, false, false]);
    let [_, _, third, last] = waits;
    // Who leaves gives his turn back, the last first.
    drop(last);
    drop(third);
    assert_eq!(limiter.reserve_set(&set, "key", 1, 9 * SECOND).unwrap().go_at(), Instant::from_secs(2));
    let never = poll(pin!(limiter.until_set_ready(&set, "key", 2, 9 * SECOND, timer(&clock))));
    assert!(matches!(never, Poll::Ready(Err(WaitError::NeverFits(_)))), "{never:?}");
    let late = poll(pin!(limiter.until_set_ready(&set, "key", 1, SECOND, timer(&clock))));
    assert!(matches!(late, Poll::Ready(Err(WaitError::TooLong(_)))), "{late:?}");
}

#[test]
fn in_a_set_with_a_window_waiters_try_again_when_it_begins() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).clock(clock.clone()).build().unwrap();
    let window = Quota::per_minute(1).with_algorithm(Algorithm::FixedWindow);
    let limits = [("bucket", Quota::per_second(1)), ("window", window)];
    let set = LimitSet::new(limits.map(|(name, quota)| limiter.prepare(name, quota).unwrap())).unwrap();
    assert!(limiter.check_set(&set, "key").is_allowed());
    let mut wait = pin!(limiter.until_set_ready(&set, "key", 1, 100 * SECOND, timer(&clock)));
    assert_eq!(poll(wait.as_mut()), Poll::Pending);
    clock.advance(59 * SECOND);
    assert_eq!(poll(wait.as_mut()), Poll::Pending);
    assert!(limiter.under(&set.limits()[0]).peek("key").is_allowed(), "nothing is taken meanwhile");
    clock.advance(SECOND);
    assert_eq!(poll(wait.as_mut()), Poll::Ready(Ok(())));
    assert!(!limiter.under(&set.limits()[1]).peek("key").is_allowed());
}

/// What an async runtime asks of a future that it moves between threads, and keeps.
#[test]
fn waits_can_be_sent_and_stored() {
    fn sent<T: Send>(wait: T) -> T {
        wait
    }
    let clock = ManualClock::default();
    let limiter = Arc::new(Limiter::builder(Quota::per_second(1)).clock(clock.clone()).build().unwrap());
    let set = LimitSet::new([*limiter.default_limit()]).unwrap();
    // The key is not borrowed.
    let wait = |key: String| sent(limiter.key(key.as_str()).until_ready(1, SECOND, timer(&clock)));
    assert_eq!(poll(pin!(wait("key".to_owned()))), Poll::Ready(Ok(())));
    let of_set = |key: String| sent(limiter.until_set_ready(&set, key.as_str(), 1, SECOND, timer(&clock)));
    assert_eq!(poll(pin!(of_set("another".to_owned()))), Poll::Ready(Ok(())));
    let owned: Pin<Box<dyn Future<Output = Result<(), WaitError>> + Send>> = {
        let limiter = Arc::clone(&limiter);
        let limit = *limiter.default_limit();
        Box::pin(limiter.until_ready_owned(limit, "key", 1, SECOND, timer(&clock)))
    };
    let mut kept = [owned];
    assert_eq!(poll(kept[0].as_mut()), Poll::Pending);
    clock.advance(SECOND);
    assert_eq!(poll(kept[0].as_mut()), Poll::Ready(Ok(())));
    let bucket = Bucket::with_clock(Quota::per_second(1), clock.clone()).unwrap();
    assert_eq!(poll(pin!(sent(bucket.handle().until_ready(1, SECOND, timer(&clock))))), Poll::Ready(Ok(())));
}
