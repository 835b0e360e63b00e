//! What is asked: a lone bucket, or the keys of a limiter.

use std::cell::Cell;
use std::time::Duration;

use super::common::{Rng, ns};
use tollgate::clock::ManualClock;
use tollgate::error::{BuildError, LimitError, QuotaError};
use tollgate::{Bucket, Handle, Limit, Limiter, Quota};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few at a time")]
pub(crate) enum Kind {
    Bucket(Bucket<ManualClock>),
    Keyed(Limiter<ManualClock>),
}

#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    own: Cell<Own>,
}

/// What a limiter knows of its own clock: what it shows, how late it has been seen, less the slack, and how late it was
/// before it stepped back.
#[derive(Debug, Clone, Copy)]
struct Own {
    now: u64,
    latest: u64,
    before: u64,
}

/// A step back of no more than this is not noticed.
const SLACK: u64 = 1_000_000;

/// One bucket of a subject, asked on the subject's clock or at the caller's `now`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) key: &'static str,
    pub(crate) limit: &'a Limit,
    pub(crate) now: Option<u64>,
}

impl<'a> At<'a> {
    /// Whichever it is.
    pub(crate) fn handle(self) -> Handle<'a, ManualClock> {
        let handle = match &self.subject.kind {
            Kind::Bucket(bucket) => bucket.handle(),
            Kind::Keyed(limiter) => limiter.under(self.limit).key(self.key),
        };
        self.now.map_or(handle, |now| handle.at(ns(now)))
    }
}

impl Subject {
    /// A subject that starts at `start`, and a limit for each quota; a quota that is out of bounds is replaced by one that
    /// is on the bound that the error named. `lone` asks for a bucket without a table, made for the last of them.
    pub(crate) fn new(rng: &mut Rng, quotas: &mut [Quota], start: u64, lone: bool) -> Self {
        // A quota may break several bounds, one after the other.
        for _ in 0..8 * quotas.len() {
            match Self::try_new(rng, quotas, start, lone) {
                Ok(subject) => return subject,
                Err((index, error)) => quotas[index] = on_the_bound(quotas[index], error),
            }
        }
        panic!("the bounds that the errors name do not hold: {quotas:?}");
    }

    /// The error comes with the index of its quota.
    fn try_new(rng: &mut Rng, quotas: &[Quota], start: u64, lone: bool) -> Result<Self, (usize, QuotaError)> {
        let clock = ManualClock::new(ns(start));
        let kind = if lone {
            let last = quotas.len() - 1;
            Kind::Bucket(Bucket::with_clock(quotas[last], clock).map_err(|error| (last, bound(error)))?)
        } else {
            let builder = Limiter::builder(quotas[0]).capacity(1_024).fixed_seed(rng.next());
            let builder = quotas[1..].iter().fold(builder, |builder, &quota| builder.also_exact_for(quota));
            match builder.clock(clock).build() {
                Ok(limiter) => Kind::Keyed(limiter),
                Err(BuildError::Quota(error)) => return Err((0, error)),
                Err(error) => panic!("{error}"),
            }
        };
        let subject = Self { kind, own: Cell::new(Own { now: start, latest: start.saturating_sub(SLACK), before: 0 }) };
        for (index, &quota) in quotas.iter().enumerate().skip(if lone { quotas.len() } else { 0 }) {
            subject.try_limit(quota, "limit").map_err(|error| (index, error))?;
        }
        Ok(subject)
    }

    fn try_limit(&self, quota: Quota, name: &str) -> Result<Limit, QuotaError> {
        match &self.kind {
            Kind::Bucket(bucket) => {
                assert_eq!(*bucket.default_limit().quota(), quota, "a bucket has one limit");
                Ok(*bucket.default_limit())
            }
            Kind::Keyed(limiter) => limiter.prepare(name, quota).map_err(bound),
        }
    }

    /// A limit of one of the quotas that the subject was made with; of a lone bucket, the last.
    pub(crate) fn limit(&self, quota: Quota, name: &str) -> Limit {
        self.try_limit(quota, name).expect("tried when the subject was made")
    }

    /// Sets the clock, and has the limiter look at it.
    pub(crate) fn set_clock(&self, t: u64) {
        match &self.kind {
            Kind::Bucket(bucket) => {
                bucket.clock().set(ns(t));
                let _ = bucket.peek();
            }
            Kind::Keyed(limiter) => {
                limiter.clock().set(ns(t));
                assert_eq!(limiter.now(), ns(t));
            }
        }
        let mut own = Own { now: t, ..self.own.get() };
        // One comparison for both, as in the engine: at the very ends of a clock's range it takes one for the other.
        if t.wrapping_sub(own.latest) >= 2 * SLACK {
            if t < own.latest {
                own.before = own.before.max(own.latest.saturating_add(SLACK));
            }
            own.latest = t.saturating_sub(SLACK);
        }
        self.own.set(own);
    }

    /// What the clock shows.
    pub(crate) fn clock(&self) -> u64 {
        self.own.get().now
    }

    /// Whether the clock shows less than it once did, as far as the limiter has noticed.
    pub(crate) fn is_behind(&self) -> bool {
        self.own.get().now < self.own.get().before
    }
}

/// A quota is no text.
fn bound(error: LimitError) -> QuotaError {
    match error {
        LimitError::Quota(error) => error,
        other => panic!("{other}"),
    }
}

/// The quota that is just within the bound that an error names.
fn on_the_bound(quota: Quota, error: QuotaError) -> Quota {
    // Of its own, because the model knows no range: the default debt is what the range leaves.
    let in_debt = |other: Quota| other.with_max_debt(quota.max_debt().unwrap_or(Duration::from_secs(3_600)));
    let with = |count: u64, period: Duration| {
        let other = Quota::new(count, period).expect("a valid period").with_algorithm(quota.algorithm());
        let other = other.with_window_start(quota.window_start()).with_refused_counted(quota.counts_refused());
        if quota.algorithm().is_window() { other } else { in_debt(other.with_burst(quota.burst())) }
    };
    match error {
        QuotaError::BurstTooLarge { max_burst, .. } => in_debt(quota.with_burst(max_burst)),
        QuotaError::DebtTooLong { max_debt, .. } => quota.with_max_debt(max_debt),
        QuotaError::RateTooHigh { max_per_second, .. } => with(max_per_second, Duration::from_secs(1)),
        QuotaError::CountTooLarge { max_count, .. } => with(max_count, quota.period()),
        QuotaError::PeriodTooLong { max, .. } => with(quota.count(), max),
        other => panic!("{other}"),
    }
}
