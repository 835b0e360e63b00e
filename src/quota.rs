//! What a limit allows: a count in a period, a burst, and the algorithm that counts. A description only; `limit.rs`
//! turns it into whole numbers of a limiter's time unit, once, off the check path.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::arith::narrow;

pub use crate::given::{IntoQuota, IntoQuotas};

/// How requests are counted against a [`Quota`].
///
/// All but the last keep a bucket in one 64-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// A bucket of `burst` tokens, refilled evenly at `count` per `period`; the default.
    ///
    /// Kept in the form of the generic cell rate algorithm (GCRA; ITU-T I.371): the word is the instant at which the
    /// bucket will be full again.
    ///
    /// Every limiter holds up to a thousand million tokens a second, and a bucket that takes up to 1,339 days to fill: a
    /// period so long if the burst is the count, a longer one with a smaller burst. What the bucket does not use of these
    /// days is left for debt.
    #[default]
    TokenBucket,
    /// A bucket that leaks at `count` per `period` and overflows above `burst`: the leaky bucket as a meter.
    ///
    /// The mirror image of the token bucket: it admits exactly the same requests, and holds as much.
    LeakyBucket,
    /// The leaky bucket as a queue: requests leave one by one, `period / count` apart, and at most `burst` may wait.
    ///
    /// `check` admits only what may leave at once; `reserve` says when a request may leave.
    ///
    /// Every limiter holds a line that takes up to 669 days to leave, so a period so long if the burst is the count.
    LeakyQueue,
    /// At most `count` in each window of `period`; windows begin at whole multiples of the period since the zero of
    /// the clock (for the clocks of this crate that is the Unix epoch; of a period that the limiter
    /// [rounds](crate::Limit::effective_rate), of what it holds), or [each with its first
    /// request](Quota::with_window_start).
    ///
    /// Every limiter holds a period of up to 669 days, and a count of up to one a nanosecond.
    FixedWindow,
    /// Two fixed windows, the previous one weighted by how much of it a window ending now would still cover.
    ///
    /// An estimate: in any span of one period it admits fewer than twice the count.
    ///
    /// Every limiter holds a period of up to 446 days, and a count of about the square root of its nanoseconds: 32,767 a
    /// second, 262,143 a minute.
    SlidingWindow,
    /// At most `count` in every span of one period, exactly, by remembering when each admitted request expires.
    ///
    /// Costs one bucket of the table per request remembered, and at most `count` lookups a check, so its count is
    /// bounded by [`Quota::MAX_LOG`]. Every limiter holds a period of up to 669 days.
    SlidingLog,
}

impl Algorithm {
    /// Every algorithm, in the order of this documentation.
    pub const ALL: [Self; 6] = [
        Self::TokenBucket,
        Self::LeakyBucket,
        Self::LeakyQueue,
        Self::FixedWindow,
        Self::SlidingWindow,
        Self::SlidingLog,
    ];

    /// The name used in configuration and on the command line, such as `token-bucket`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenBucket => "token-bucket",
            Self::LeakyBucket => "leaky-bucket",
            Self::LeakyQueue => "leaky-queue",
            Self::FixedWindow => "fixed-window",
            Self::SlidingWindow => "sliding-window",
            Self::SlidingLog => "sliding-log",
        }
    }

    /// Whether the count is per window, so that a burst of its own has no meaning.
    #[must_use]
    pub const fn is_window(self) -> bool {
        matches!(self, Self::FixedWindow | Self::SlidingWindow | Self::SlidingLog)
    }
}

/// When the windows of a [fixed window](Algorithm::FixedWindow) begin; see [`Quota::with_window_start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WindowStart {
    /// At whole multiples of the period since the zero of the clock, for all keys alike; the default.
    #[default]
    Clock,
    /// With the first request of the key, or the first after its last window has ended; the window ends one period later.
    ///
    /// What a counter with an expiry does, such as `INCR` and `EXPIRE`. The end is rounded up, never down: it is late by less
    /// than a thousandth of the period and by less than 0.9 s; of a period below a millisecond by less than a microsecond and
    /// less than half the period. [`Decision::retry_after`](crate::Decision::retry_after) and
    /// [`reset_after`](crate::Decision::reset_after) tell the rounded end, to the nanosecond.
    ///
    /// The word has room for the count in what the rounding leaves free: the largest is at least 524,286 a second, and
    /// 536,870,910 for periods of a quarter of an hour or more ([`QuotaError::CountTooLarge`]).
    FirstHit,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| UnknownAlgorithm { given: name.to_owned() })
    }
}

/// What a limit allows: `count` per `period`, a `burst`, an [`Algorithm`].
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Algorithm, Quota};
///
/// let quota = Quota::new(5, Duration::from_secs(30))?.with_burst(10);
/// assert_eq!(quota.to_string(), "5 per 30 second burst 10");
/// let same: Quota = "5/30s burst 10".parse()?;
/// assert_eq!(quota, same);
/// let windows = Quota::per_minute(10).with_algorithm(Algorithm::FixedWindow);
/// assert_eq!(windows.burst(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # All or nothing
///
/// [`Quota::unlimited`] admits everything, and [`Quota::blocked`] nothing that costs anything. Both are only made by asking
/// for them, here or as the words `unlimited` and `blocked` in a rate string, and stay what they are: a burst, an algorithm
/// or a debt that is set changes nothing in them.
///
/// # Zeros
///
/// - A **count of zero** closes the limit: no request that costs anything is ever admitted, and the answer is "can
///   never fit", not "later".
/// - A **burst of zero** does the same: nothing fits into a bucket without room. A queue without room to wait still lets
///   through what may leave at once; a window has no burst apart from its count.
/// - A **cost of zero** is always admitted, by every limit, and takes and writes nothing.
/// - A **period of zero** is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    count: u64,
    period: Duration,
    burst: u64,
    algorithm: Algorithm,
    max_debt: Option<Duration>,
    window_start: WindowStart,
    counts_refused: bool,
    kind: Kind,
}

/// Whether a quota is a rate. What is not has a mark of its own, so that no number, however large, is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Rate,
    Unlimited,
    Blocked,
}

impl Quota {
    /// The longest period: 3,660 days, about ten years.
    ///
    /// Only a bucket whose burst is much smaller than its count can be held for so long. What every limiter holds is
    /// [`Algorithm::max_period`]; a limiter whose time unit is coarser, because its quotas are, holds up to twice that.
    pub const MAX_PERIOD: Duration = Duration::from_secs(3_660 * 86_400);

    /// The largest count of a [sliding log](Algorithm::SlidingLog).
    pub const MAX_LOG: u64 = 1_024;

    /// `count` requests per `period`, with a burst of the same count, as a token bucket.
    ///
    /// # Errors
    ///
    /// If the period is zero or longer than [`Quota::MAX_PERIOD`]. Bounds that depend on a limiter's time unit are
    /// checked when the quota meets the limiter.
    pub const fn new(count: u64, period: Duration) -> Result<Self, QuotaError> {
        if period.is_zero() {
            return Err(QuotaError::ZeroPeriod);
        }
        if period.as_nanos() > Self::MAX_PERIOD.as_nanos() {
            return Err(QuotaError::PeriodTooLong { algorithm: None, period, max: Self::MAX_PERIOD });
        }
        Ok(Self::valid(count, period))
    }

    const fn valid(count: u64, period: Duration) -> Self {
        Self {
            count,
            period,
            burst: count,
            algorithm: Algorithm::TokenBucket,
            max_debt: None,
            window_start: WindowStart::Clock,
            counts_refused: false,
            kind: Kind::Rate,
        }
    }

    /// No limit: every call admits whatever it asks for, writes nothing and takes no room in the table. Reads as
    /// `unlimited`.
    ///
    /// Its count and its burst are [`u64::MAX`], and so is what [remains](crate::Decision::remaining); no other quota of such
    /// numbers is unlimited. A bucket that comes from it or goes to it, by [`change_quota`](crate::Limiter::change_quota) or
    /// by [`convert`](crate::Limiter::convert), carries nothing over.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { kind: Kind::Unlimited, ..Self::per_second(u64::MAX) }
    }

    /// Nothing that costs anything, ever: the answer is "can never fit". Reads as `blocked`; a count of zero admits as
    /// little.
    #[must_use]
    pub const fn blocked() -> Self {
        Self { kind: Kind::Blocked, ..Self::per_second(0) }
    }

    /// Whether it is [`Quota::unlimited`].
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        matches!(self.kind, Kind::Unlimited)
    }

    /// Whether it is [`Quota::blocked`]. Other quotas [admit nothing](Self#zeros) either, and are not called so.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        matches!(self.kind, Kind::Blocked)
    }

    const fn is_rate(&self) -> bool {
        matches!(self.kind, Kind::Rate)
    }

    /// `count` requests per second.
    #[must_use]
    pub const fn per_second(count: u64) -> Self {
        Self::valid(count, Duration::from_secs(1))
    }

    /// `count` requests per minute.
    #[must_use]
    pub const fn per_minute(count: u64) -> Self {
        Self::valid(count, Duration::from_secs(60))
    }

    /// `count` requests per hour.
    #[must_use]
    pub const fn per_hour(count: u64) -> Self {
        Self::valid(count, Duration::from_secs(3_600))
    }

    /// `count` requests per day of 24 hours.
    #[must_use]
    pub const fn per_day(count: u64) -> Self {
        Self::valid(count, Duration::from_secs(86_400))
    }

    /// The same quota with a burst of its own: how many requests fit at once after a pause.
    ///
    /// For a [queue](Algorithm::LeakyQueue): how many requests may wait. Window algorithms have no burst apart from
    /// their count, and a limiter refuses one that differs.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        if self.is_rate() {
            self.burst = burst;
        }
        self
    }

    /// The same quota counted by another algorithm.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        if self.is_rate() {
            self.algorithm = algorithm;
        }
        self
    }

    /// The same quota with a bound on how far past empty `reserve` and `charge` may take a bucket, as the time the
    /// bucket then needs to be merely empty again.
    ///
    /// Without it: the time a full bucket's worth of tokens takes to refill, and at least an hour.
    #[must_use]
    pub const fn with_max_debt(mut self, max_debt: Duration) -> Self {
        if self.is_rate() {
            self.max_debt = Some(max_debt);
        }
        self
    }

    /// The same quota with windows that begin otherwise: with the first request of each key, say.
    ///
    /// For [fixed windows](Algorithm::FixedWindow) only; a limiter refuses it for any other algorithm.
    ///
    /// ```
    /// use tollgate::clock::{Instant, ManualClock};
    /// use tollgate::{Algorithm, Bucket, Quota, WindowStart};
    ///
    /// let quota = Quota::per_minute(2).with_algorithm(Algorithm::FixedWindow).with_window_start(WindowStart::FirstHit);
    /// let bucket = Bucket::with_clock(quota, ManualClock::new(Instant::from_secs(50)))?;
    /// assert_eq!(bucket.handle().take_up_to(9), 2);
    /// // Windows of the clock would turn over at 60.
    /// assert!(bucket.at(Instant::from_secs(109)).peek().is_refused());
    /// assert!(bucket.at(Instant::from_secs(111)).peek().is_allowed());
    /// # Ok::<(), tollgate::error::LimitError>(())
    /// ```
    #[must_use]
    pub const fn with_window_start(mut self, start: WindowStart) -> Self {
        if self.is_rate() {
            self.window_start = start;
        }
        self
    }

    /// The same quota with requests that are refused counted as well, as by a counter that is raised before it is compared.
    /// So whoever goes on after a refusal is shut out until the window ends, also for what would have fitted. The window's
    /// end does not move.
    ///
    /// For [fixed windows](Algorithm::FixedWindow) only; a limiter refuses it for any other algorithm, and the largest count
    /// is at least a fifth of what the window has nanoseconds, or the smaller one of [`WindowStart::FirstHit`].
    ///
    /// What counts is the cost of every refused [`check`](crate::Limiter::check) or check of a [lease](crate::Lease), also of
    /// one that can never fit; of a [set](crate::LimitSet), where the limit itself refuses. Nothing else: no look, no
    /// reservation, and not what [`take_up_to`](crate::Handle::take_up_to) or [`charge`](crate::Handle::charge) left.
    /// The count stops at a bound above all limits of the period. A new key whose request can never fit is counted only
    /// if a slot is free: nobody is displaced for a refusal. A refusal then costs a compare-and-swap: it is the one
    /// exception to the promise that refusals write nothing (P5).
    #[must_use]
    pub const fn with_refused_counted(mut self, counted: bool) -> Self {
        if self.is_rate() {
            self.counts_refused = counted;
        }
        self
    }

    /// When windows begin.
    #[must_use]
    pub const fn window_start(&self) -> WindowStart {
        self.window_start
    }

    /// Whether requests that are refused count, as [`with_refused_counted`](Self::with_refused_counted) set it.
    #[must_use]
    pub const fn counts_refused(&self) -> bool {
        self.counts_refused
    }

    /// Requests per [`period`](Self::period).
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The period that [`count`](Self::count) refers to.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The most that fits at once; the count unless [`with_burst`](Self::with_burst) said otherwise.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// The algorithm that counts.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bound set by [`with_max_debt`](Self::with_max_debt), if one was.
    #[must_use]
    pub const fn max_debt(&self) -> Option<Duration> {
        self.max_debt
    }

    /// The period in nanoseconds: at least 1 and, by [`Self::MAX_PERIOD`], below 2^59.
    pub(crate) const fn period_nanos(&self) -> u64 {
        const _: () = assert!(Quota::MAX_PERIOD.as_nanos() < 1 << 59);
        narrow(self.period.as_nanos())
    }
}

/// A quota that cannot be used, with the value that was given and the bound it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaError {
    /// The period is zero, so the rate would be infinite.
    ZeroPeriod,
    /// The period is longer than [`Quota::MAX_PERIOD`], or than a limiter can hold for this algorithm; for a bucket or a
    /// queue, for a single token of it.
    PeriodTooLong {
        /// The algorithm whose bound it is, in a limiter; `None` if it is that of all quotas.
        algorithm: Option<Algorithm>,
        /// The period that was asked for.
        period: Duration,
        /// The longest period, to the nanosecond: of a limiter's bound, for this count.
        max: Duration,
    },
    /// The rate is finer than the limiter's clock unit can tell apart.
    RateTooHigh {
        /// The quota that was asked for.
        quota: Quota,
        /// The highest rate this limiter can hold, in tokens per second.
        max_per_second: u64,
    },
    /// An empty bucket would take longer to fill than the word can express.
    BurstTooLarge {
        /// The quota that was asked for.
        quota: Quota,
        /// The largest burst this limiter can hold at that rate.
        max_burst: u64,
    },
    /// A window algorithm has no burst apart from its count.
    BurstInWindow {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// When windows begin, and that refusals count, can be set for fixed windows only.
    NotAFixedWindow {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// The count is larger than this algorithm can hold for this period.
    CountTooLarge {
        /// The quota that was asked for.
        quota: Quota,
        /// The largest count this limiter can hold for that algorithm and period.
        max_count: u64,
    },
    /// The debt that [`Quota::with_max_debt`] allows does not fit beside the burst.
    DebtTooLong {
        /// The quota that was asked for.
        quota: Quota,
        /// The longest debt this limiter can hold beside that burst.
        max_debt: Duration,
    },
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroPeriod => f.write_str("the period of a quota must be at least 1 ns, and 0 was given"),
            Self::PeriodTooLong { algorithm: None, period, max } => {
                write!(f, "the period of a quota must be at most {}, and {} was given", Days(*max), Days(*period))
            }
            Self::PeriodTooLong { algorithm: Some(algorithm), period, max } => {
                write!(
                    f,
                    "the period of a {algorithm} of this count must be at most {} in this limiter, and {} was given; \
                     every limiter holds {} days",
                    Days(*max),
                    Days(*period),
                    algorithm.max_period().as_secs() / DAY_SECONDS
                )
            }
            Self::RateTooHigh { quota, max_per_second } => {
                write!(
                    f,
                    "the rate of `{quota}` is above {max_per_second} per second, the highest this limiter can hold"
                )
            }
            Self::BurstTooLarge { quota, max_burst } => {
                write!(f, "the burst of `{quota}` is above {max_burst}, the largest this limiter can hold at that rate")
            }
            Self::BurstInWindow { quota } => write!(
                f,
                "`{quota:#}` sets a burst of {}, and a {} admits exactly its count of {} in a window",
                quota.burst(),
                quota.algorithm(),
                quota.count()
            ),
            Self::NotAFixedWindow { quota } => write!(
                f,
                "`{quota}` sets when windows begin, or that refusals count, which a {} cannot; a {} can",
                quota.algorithm(),
                Algorithm::FixedWindow
            ),
            Self::CountTooLarge { quota, max_count } => write!(
                f,
                "the count of `{quota:#}` is above {max_count}, the largest a {} can hold for that period",
                quota.algorithm()
            ),
            Self::DebtTooLong { quota, max_debt } => {
                write!(
                    f,
                    "the debt allowed to `{quota}` is above {max_debt:?}, the longest this limiter can hold beside its burst"
                )
            }
        }
    }
}

impl core::error::Error for QuotaError {}

const DAY_SECONDS: u64 = 86_400;

/// A duration to the nanosecond; of a long one also how many days that is, which can be read.
struct Days(Duration);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() / DAY_SECONDS {
            0 => write!(f, "{:?}", self.0),
            days if self.0 == Duration::from_secs(days * DAY_SECONDS) => write!(f, "{days} days"),
            days => write!(f, "{:?} ({days} days)", self.0),
        }
    }
}

/// The name of an algorithm that is none of [`Algorithm::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAlgorithm {
    /// The name that was given.
    pub given: String,
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm `{}`; expected one of", self.given)?;
        for (i, algorithm) in Algorithm::ALL.iter().enumerate() {
            write!(f, "{} {algorithm}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownAlgorithm {}
