//! `until_ready`: order, deadline, bound on waiters, and what dropping the future gives back.
#![cfg(feature = "async")]

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::clock::{Clock, Instant, ManualClock};
use tollgate::error::WaitError;
use tollgate::{Algorithm, Bucket, Limiter, Quota};

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

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn waiters_go_first_come_first_served_each_at_its_own_instant() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).clock(clock.clone()).build().unwrap();
    let mut first = pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock)));
    let mut second = pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock)));
    let mut third = pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock)));
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
    let late = poll(pin!(bucket.until_ready(1, SECOND / 2, timer(&clock))));
    let Poll::Ready(Err(WaitError::TooLong(report))) = late else { panic!("{late:?}") };
    assert_eq!(report.retry_after, Some(SECOND));
    clock.advance(SECOND);
    assert!(bucket.check().is_allowed());
}

#[test]
fn a_cost_above_the_limit_does_not_wait() {
    let bucket = Bucket::with_clock(Quota::per_second(1), ManualClock::default()).unwrap();
    let never = poll(pin!(bucket.until_ready(2, SECOND, |_| std::future::pending())));
    assert!(matches!(never, Poll::Ready(Err(WaitError::NeverFits(_)))), "{never:?}");
}

#[test]
fn dropping_the_future_gives_the_place_back() {
    let clock = ManualClock::default();
    let bucket = Bucket::with_clock(Quota::per_second(1), clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    {
        let mut waiting = pin!(bucket.until_ready(1, 10 * SECOND, timer(&clock)));
        assert_eq!(poll(waiting.as_mut()), Poll::Pending);
        assert_eq!(bucket.peek().retry_after(), Some(2 * SECOND));
    }
    assert_eq!(bucket.peek().retry_after(), Some(SECOND));
}

#[test]
fn no_more_wait_than_may() {
    let clock = ManualClock::default();
    let limiter = Limiter::builder(Quota::per_second(1)).max_waiters(1).clock(clock.clone()).build().unwrap();
    assert!(limiter.check("key").is_allowed());
    let mut first = pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock)));
    assert_eq!(poll(first.as_mut()), Poll::Pending);
    for _ in 0..3 {
        let refused = poll(pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock))));
        assert_eq!(refused, Poll::Ready(Err(WaitError::TooManyWaiters { max: 1 })));
    }
    clock.advance(SECOND);
    assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(())), "those turned away have given their places back");
    assert_eq!(poll(pin!(limiter.until_ready("key", 1, 10 * SECOND, timer(&clock)))), Poll::Pending);
}

#[test]
fn a_window_is_waited_for() {
    let clock = ManualClock::default();
    let quota = Quota::per_minute(1).with_algorithm(Algorithm::FixedWindow);
    let bucket = Bucket::with_clock(quota, clock.clone()).unwrap();
    assert!(bucket.check().is_allowed());
    let mut waiting = pin!(bucket.until_ready(1, 90 * SECOND, timer(&clock)));
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
    assert_eq!(poll(pin!(bucket.until_ready(1, 10 * SECOND, early))), Poll::Ready(Ok(())));
    assert!(asked.get() > 1 && clock.now() >= Instant::from_secs(1));
}
