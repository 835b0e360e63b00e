//! Call by call against models in exact fractions, written from the definitions and not from the scripts: a bucket is a number of
//! tokens, a window a list of what it admitted.

use std::time::Duration;

use num_bigint::BigInt;
use num_rational::Ratio;
use tollgate::{Algorithm, Quota};
use tollgate_redis::{Fleet, FleetDecision};

use crate::harness::{Server, T0};

type Q = Ratio<BigInt>;

fn whole(n: u64) -> Q {
    Q::from_integer(BigInt::from(n))
}

fn up(q: &Q) -> u64 {
    u64::try_from(q.ceil().to_integer()).unwrap_or(0)
}

fn down(q: &Q) -> u64 {
    u64::try_from(q.floor().to_integer()).unwrap_or(0)
}

/// xorshift, seeded: every run makes the same calls.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Fits, remaining, retry and reset in microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    fits: bool,
    remaining: u64,
    retry: Option<u64>,
    reset: u64,
}

fn answer(decision: &FleetDecision) -> Answer {
    let us = |duration: Duration| {
        assert_eq!(duration.as_nanos() % 1_000, 0);
        u64::try_from(duration.as_micros()).unwrap()
    };
    Answer {
        fits: decision.is_allowed(),
        remaining: decision.remaining(),
        retry: decision.retry_after().map(us),
        reset: us(decision.reset_after()),
    }
}

trait Model {
    /// Whether `cost` fits; takes it if `take`.
    fn ask(&mut self, now: u64, cost: u64, take: bool) -> Answer;
    fn up_to(&mut self, now: u64, most: u64) -> u64;
    fn charge(&mut self, now: u64, cost: u64) -> u64;
    fn refund(&mut self, now: u64, cost: u64);
    /// The wait, if it may go within `max`.
    fn reserve(&mut self, now: u64, cost: u64, max: u64) -> Option<u64>;
    /// When all is available again.
    fn full(&mut self, now: u64) -> u64;
}

/// Tokens lacking, as of an instant.
struct Bucket {
    lacks: Q,
    at: u64,
    rate: Q,
    burst: u64,
    debt: Q,
    /// Until when somebody waits for what he was promised.
    promised: Q,
}

impl Bucket {
    fn new(quota: &Quota) -> Self {
        let rate = whole(quota.count()) * whole(1_000) / whole(u64::try_from(quota.period().as_nanos()).unwrap());
        let burst = quota.burst();
        let hour = whole(3_600_000_000) * &rate;
        let debt = if hour > whole(burst) { hour } else { whole(burst) };
        Self { lacks: whole(0), at: T0, rate, burst, debt, promised: whole(0) }
    }

    fn advance(&mut self, now: u64) {
        self.lacks -= &self.rate * whole(now - self.at);
        if self.lacks < whole(0) {
            self.lacks = whole(0);
        }
        self.at = now;
    }

    fn wait(&self, cost: u64) -> Q {
        let short = &self.lacks + whole(cost) - whole(self.burst);
        if short > whole(0) { short / &self.rate } else { whole(0) }
    }
}

impl Model for Bucket {
    fn ask(&mut self, now: u64, cost: u64, take: bool) -> Answer {
        self.advance(now);
        let wait = self.wait(cost);
        let fits = cost == 0 || (cost <= self.burst && wait == whole(0));
        if fits && take {
            self.lacks += whole(cost);
        }
        Answer {
            fits,
            remaining: down(&(whole(self.burst) - &self.lacks)),
            retry: (!fits && cost <= self.burst).then(|| up(&wait)),
            reset: up(&(&self.lacks / &self.rate)),
        }
    }

    fn up_to(&mut self, now: u64, most: u64) -> u64 {
        self.advance(now);
        let taken = down(&(whole(self.burst) - &self.lacks)).min(most);
        self.lacks += whole(taken);
        taken
    }

    fn charge(&mut self, now: u64, cost: u64) -> u64 {
        self.advance(now);
        // The debt is a time, in whole microseconds: an hour.
        let room = whole(self.burst) + &self.debt - &self.lacks;
        let taken = down(&room).min(cost);
        self.lacks += whole(taken);
        taken
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.advance(now);
        // A promise waits as long as the bucket has been past empty since.
        if self.promised > whole(now) && self.lacks > whole(self.burst) {
            return;
        }
        self.lacks -= whole(cost);
        if self.lacks < whole(0) {
            self.lacks = whole(0);
        }
    }

    fn reserve(&mut self, now: u64, cost: u64, max: u64) -> Option<u64> {
        self.advance(now);
        let wait = self.wait(cost);
        if cost > self.burst || wait > whole(max) || &wait * &self.rate > self.debt {
            return None;
        }
        self.lacks += whole(cost);
        if wait > whole(0) {
            self.promised = whole(now) + whole(1 << 50);
        }
        Some(up(&wait))
    }

    fn full(&mut self, now: u64) -> u64 {
        self.advance(now);
        if self.lacks <= whole(self.burst) {
            self.promised = whole(0);
        }
        now + up(&(&self.lacks / &self.rate))
    }
}

struct Queue(Bucket);

impl Model for Queue {
    fn ask(&mut self, now: u64, cost: u64, take: bool) -> Answer {
        self.0.advance(now);
        let wait = up(&(&self.0.lacks / &self.0.rate));
        let fits = cost == 0 || (cost <= self.0.burst && self.0.lacks == whole(0));
        if fits && take {
            self.0.lacks += whole(cost);
        }
        let is_full = self.0.lacks == whole(0);
        Answer {
            fits,
            remaining: if is_full { self.0.burst } else { 0 },
            retry: (!fits && cost <= self.0.burst).then_some(wait),
            reset: up(&(&self.0.lacks / &self.0.rate)),
        }
    }

    fn up_to(&mut self, now: u64, most: u64) -> u64 {
        let cost = most.min(self.0.burst);
        if self.ask(now, cost, true).fits { cost } else { 0 }
    }

    fn charge(&mut self, now: u64, cost: u64) -> u64 {
        self.0.advance(now);
        let room = down(&(whole(2 * self.0.burst) - &self.0.lacks));
        self.0.lacks += whole(room.min(cost));
        room.min(cost)
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.0.advance(now);
        if self.0.promised == whole(0) {
            self.0.lacks -= whole(cost);
            self.0.advance(now);
        }
    }

    fn reserve(&mut self, now: u64, cost: u64, max: u64) -> Option<u64> {
        self.0.advance(now);
        let wait = &self.0.lacks / &self.0.rate;
        if cost > self.0.burst || wait > whole(max) || self.0.lacks > whole(self.0.burst) {
            return None;
        }
        self.0.lacks += whole(cost);
        self.0.promised = whole(1);
        Some(up(&wait))
    }

    fn full(&mut self, now: u64) -> u64 {
        self.0.advance(now);
        if self.0.lacks == whole(0) {
            self.0.promised = whole(0);
        }
        now + up(&(&self.0.lacks / &self.0.rate))
    }
}

/// What was admitted, and when, the latest last.
struct Windows {
    kind: Algorithm,
    us: u64,
    limit: u64,
    admitted: Vec<u64>,
}

impl Windows {
    fn begin(&self, now: u64) -> u64 {
        now - now % self.us
    }

    fn counts(&self, now: u64) -> (u64, u64) {
        let begin = self.begin(now);
        let within = |from: u64, to: u64| self.admitted.iter().filter(|&&at| at >= from && at < to).count() as u64;
        (within(begin - self.us, begin), within(begin, begin + self.us))
    }

    /// What is taken of the limit at an instant after the last that was admitted.
    fn used(&self, now: u64) -> Q {
        match self.kind {
            Algorithm::FixedWindow => whole(self.counts(now).1),
            Algorithm::SlidingWindow => {
                let (last, this) = self.counts(now);
                whole(last) * whole(self.begin(now) + self.us - now) / whole(self.us) + whole(this)
            }
            _ => whole(self.admitted.iter().filter(|&&at| at + self.us > now).count() as u64),
        }
    }

    fn fits(&self, now: u64, cost: u64) -> bool {
        self.used(now) + whole(cost) <= whole(self.limit)
    }

    /// The first instant at which something holds that goes on holding: by halving.
    fn first(&self, now: u64, holds: impl Fn(u64) -> bool) -> u64 {
        let (mut low, mut high) = (now, now + 2 * self.us);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        low - now
    }
}

impl Model for Windows {
    fn ask(&mut self, now: u64, cost: u64, take: bool) -> Answer {
        let fits = cost == 0 || self.fits(now, cost);
        if fits && take {
            self.admitted.extend((0..cost).map(|_| now));
        }
        Answer {
            fits,
            remaining: down(&(whole(self.limit) - self.used(now))),
            retry: (!fits && cost <= self.limit).then(|| self.first(now, |at| self.fits(at, cost))),
            reset: self.first(now, |at| self.used(at) == whole(0)),
        }
    }

    fn up_to(&mut self, now: u64, most: u64) -> u64 {
        let taken = down(&(whole(self.limit) - self.used(now))).min(most);
        self.ask(now, taken, true);
        taken
    }

    fn charge(&mut self, now: u64, cost: u64) -> u64 {
        let used = match self.kind {
            Algorithm::SlidingWindow => self.counts(now).1,
            _ => down(&self.used(now)),
        };
        let taken = (self.limit - used).min(cost);
        self.admitted.extend((0..taken).map(|_| now));
        taken
    }

    fn refund(&mut self, now: u64, cost: u64) {
        let since = match self.kind {
            Algorithm::FixedWindow => self.begin(now),
            Algorithm::SlidingWindow => self.begin(now) - self.us,
            _ => now - self.us + 1,
        };
        for _ in 0..cost {
            if self.admitted.last().is_some_and(|&at| at >= since) {
                self.admitted.pop();
            }
        }
    }

    fn reserve(&mut self, now: u64, cost: u64, _: u64) -> Option<u64> {
        self.ask(now, cost, true).fits.then_some(0)
    }

    fn full(&mut self, now: u64) -> u64 {
        now + self.first(now, |at| self.used(at) == whole(0))
    }
}

fn model(quota: &Quota) -> Box<dyn Model> {
    let us = u64::try_from(quota.period().as_micros()).unwrap();
    match quota.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => Box::new(Bucket::new(quota)),
        Algorithm::LeakyQueue => Box::new(Queue(Bucket::new(quota))),
        kind => Box::new(Windows { kind, us, limit: quota.count(), admitted: Vec::new() }),
    }
}

async fn compare(server: &Server, fleet: &Fleet, text: &str, calls: u64, dice: &mut Dice) {
    let quota: Quota = text.parse().unwrap();
    let limit = fleet.limit("a", quota).unwrap();
    let key = dice.below(u64::MAX);
    let handle = fleet.key(&limit, &key);
    let mut model = model(&quota);
    let mut now = T0 + dice.below(1_000_000_000);
    let token = (u64::try_from(quota.period().as_micros()).unwrap() / quota.count()).max(1);
    let mut edge = 0;
    for call in 0..calls {
        // Often to the very microsecond at which something changes, or one before.
        now += match dice.below(6) {
            0 => 0,
            1 => dice.below(3),
            2 => edge,
            3 => u64::max(edge, 1) - 1,
            4 => dice.below(token * 2),
            _ => dice.below(token * quota.count() / 3 + 1),
        };
        server.set_clock(now).await;
        let full = model.full(now);
        let cost = if dice.below(8) == 0 { dice.below(quota.burst() + 2) } else { dice.below(3) };
        let place = format!("{text}: call {call} at {now}, cost {cost}");
        match dice.below(9) {
            0..4 => {
                let (ours, theirs) = (answer(&handle.check_n(cost).await), model.ask(now, cost, true));
                assert_eq!(ours, theirs, "check, {place}");
                edge = ours.retry.unwrap_or(ours.reset);
            }
            4 => {
                let (ours, theirs) = (answer(&handle.peek_n(cost).await), model.ask(now, cost, false));
                assert_eq!(ours, theirs, "peek, {place}");
                assert_eq!(model.full(now), full);
            }
            5 => assert_eq!(handle.take_up_to(cost).await, model.up_to(now, cost), "take up to, {place}"),
            6 => assert_eq!(handle.charge(cost).await, Ok(model.charge(now, cost)), "charge, {place}"),
            7 => {
                handle.refund(cost).await.unwrap();
                model.refund(now, cost);
            }
            _ => {
                let max = dice.below(token * 20);
                let ours = handle.reserve(cost, Duration::from_micros(max)).await.map(|made| made.wait());
                let theirs = if cost == 0 { Some(0) } else { model.reserve(now, cost, max) };
                let ours = ours.ok().map(|wait| u64::try_from(wait.as_micros()).unwrap());
                assert_eq!(ours, theirs, "reserve up to {max}, {place}");
            }
        }
        // A key goes when its bucket is full, to the millisecond, and not before: nothing is kept for ever.
        let full = model.full(now);
        for key in server.keys().await {
            let until = server.number(&["PEXPIRETIME", &key]).await;
            let (until, expected) = (u64::try_from(until).unwrap(), full.div_ceil(1_000));
            // One that is full by the test's time would be gone by the true one.
            assert!(until == expected || (full == now && until <= expected), "{key} at {until}, {place}");
        }
    }
    server.run(&["FLUSHALL"]).await;
}

#[tokio::test]
async fn every_call_is_what_exact_arithmetic_says() {
    let calls = std::env::var("TOLLGATE_CALLS").map_or(120, |calls| calls.parse().unwrap());
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for text in [
        "10/second",
        "7/minute burst 3",
        "300/second",
        "997/minute burst 50",
        "1/day",
        "1000000/second burst 100",
        "3000001/second burst 40",
        "10/second as leaky-queue",
        "7/minute burst 4 as leaky-queue",
        "100/minute as fixed-window",
        "7/second as fixed-window",
        "10/minute as sliding-window",
        "1000/day as sliding-window",
        "9/minute as sliding-log",
        "60/hour as sliding-log",
    ] {
        compare(&server, &fleet, text, calls, &mut dice).await;
    }
}
