//! A quota as the scripts count it: whole numbers within what a double adds exactly, checked once; and what a reply says.

use core::time::Duration;

use tollgate::{Algorithm, Quota, Report, Verdict, WindowStart};

use crate::error::LimitError;
use crate::request::Arg;
use crate::span::{MAX_NUMBER, Span, Token};

/// 2^51 microseconds, 71 years: a stamp of today with that on top is below 2^53, as is twice that alone.
pub(crate) const MAX_SPAN_US: u64 = 1 << 51;

/// The debt that a bucket may have if its quota does not say, unless its burst takes longer; as in the engine.
const DEFAULT_DEBT: Duration = Duration::from_secs(3_600);

/// What a cost is cut to where it can only fill a window up, or empty it: above all counts, and exact in a script.
const MOST_TOKENS: u64 = 1 << 52;

#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Admits everything, and asks nobody.
    Unlimited,
    /// Admits nothing that costs anything, and asks nobody.
    Closed,
    Bucket(Bucket),
    Queue(Bucket),
    Fixed(Window),
    First(Window),
    Sliding(Window),
    Log(Window),
}

/// A token bucket, or a queue, whose largest request is the depth and whose line is the debt.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) token: Token,
    pub(crate) burst: u64,
    /// `burst` tokens, in parts.
    depth: u128,
    /// How far past empty it may go, in whole microseconds.
    debt_us: u64,
    /// Depth and debt in whole microseconds, rounded up: no call leaves a stamp further ahead.
    reach_us: u64,
    /// What the stored text says of the quota.
    tag: Box<str>,
    period_nanos: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) us: u64,
    pub(crate) limit: u64,
    pub(crate) counts_refused: bool,
}

/// What a script says of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    Stamp {
        stamp: Span,
    },
    Window {
        count: u64,
        end: u64,
    },
    Sliding {
        previous: u64,
        current: u64,
        end: u64,
        rest: u64,
    },
    Log {
        count: u64,
        must_leave: u64,
        last: u64,
    },
    /// Nobody was asked.
    None,
}

impl Evidence {
    /// Whether it says that more was used than the other does, of a bucket or a window.
    pub(crate) fn is_later(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stamp { stamp }, Self::Stamp { stamp: other }) => (stamp.us, stamp.parts) > (other.us, other.parts),
            (Self::Window { count, end }, Self::Window { count: other, end: other_end }) => {
                (end, count) > (other_end, other)
            }
            _ => false,
        }
    }
}

impl Rule {
    pub(crate) fn new(quota: &Quota) -> Result<Self, LimitError> {
        let quota = *quota;
        if quota.is_unlimited() {
            return Ok(Self::Unlimited);
        }
        let is_of_fixed_windows = quota.window_start() != WindowStart::Clock || quota.counts_refused();
        if is_of_fixed_windows && quota.algorithm() != Algorithm::FixedWindow {
            return Err(LimitError::NotAFixedWindow { quota });
        }
        Ok(match quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket if quota.count() == 0 || quota.burst() == 0 => Self::Closed,
            _ if quota.count() == 0 => Self::Closed,
            Algorithm::TokenBucket | Algorithm::LeakyBucket => Self::Bucket(Bucket::new(&quota, false)?),
            Algorithm::LeakyQueue => Self::Queue(Bucket::new(&quota, true)?),
            Algorithm::FixedWindow => {
                let window = Window::new(&quota)?;
                // The count stands beside the end, and is less than a window; refusals may count to one below.
                at_most(&quota, window.us.saturating_sub(1 + u64::from(window.counts_refused)))?;
                match quota.window_start() {
                    WindowStart::Clock => Self::Fixed(window),
                    _ => Self::First(window),
                }
            }
            Algorithm::SlidingWindow => {
                let window = Window::new(&quota)?;
                // The two products of the script and their sum are exact.
                at_most(&quota, ((1 << 53) - 1) / 2 / window.us)?;
                Self::Sliding(window)
            }
            Algorithm::SlidingLog => {
                at_most(&quota, Quota::MAX_LOG)?;
                Self::Log(Window::new(&quota)?)
            }
            other => return Err(LimitError::UnknownAlgorithm(other)),
        })
    }

    /// One letter for each way of keeping a bucket, a part of its key's name.
    pub(crate) const fn letter(&self) -> char {
        match self {
            Self::Unlimited | Self::Closed => '-',
            Self::Bucket(_) => 'b',
            Self::Queue(_) => 'q',
            Self::Fixed(_) => 'w',
            Self::First(_) => 'h',
            Self::Sliding(_) => 's',
            Self::Log(_) => 'l',
        }
    }

    /// The most that fits at once.
    pub(crate) const fn most(&self) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Closed => 0,
            Self::Bucket(bucket) | Self::Queue(bucket) => bucket.burst,
            Self::Fixed(window) | Self::First(window) | Self::Sliding(window) | Self::Log(window) => window.limit,
        }
    }

    /// The report that needs no server: of no limit, a closed one, a cost of nothing that nobody has to look at, or one above
    /// all that fits.
    pub(crate) fn without_server(&self, cost: u64) -> Option<Report> {
        let most = self.most();
        let report = |verdict, remaining| Report {
            verdict,
            burst: most,
            remaining,
            retry_after: None,
            reset_after: Duration::ZERO,
        };
        match self {
            Self::Unlimited => Some(report(Verdict::Allowed, u64::MAX)),
            Self::Closed if cost == 0 => Some(report(Verdict::Allowed, 0)),
            Self::Closed => Some(report(Verdict::NeverFits, 0)),
            _ => None,
        }
    }

    /// What a script is told of this limit for a check of `cost`; `wait` is how long the request may wait, in microseconds.
    pub(crate) fn push_check(&self, cost: u64, wait_us: u64, converted: Option<&Converted>, out: &mut Vec<Arg>) {
        match self {
            Self::Unlimited | Self::Closed => {}
            Self::Bucket(bucket) => {
                let wait = bucket.token.parts_of_us(wait_us.min(bucket.debt_us));
                // A cost above the burst fits at no time, however long it waits.
                let limit = if cost <= bucket.burst { bucket.depth + wait } else { 0 };
                let cost = bucket.token.parts(cost.min(bucket.burst.saturating_add(1)));
                bucket.push(Some(cost), limit, bucket.depth, converted, out);
            }
            Self::Queue(bucket) => {
                let wait = bucket.token.parts_of_us(wait_us.min(bucket.debt_us));
                let fits = cost <= bucket.burst;
                let cost = bucket.token.parts(cost.min(bucket.burst.saturating_add(1)));
                // It goes once the line is empty: its own cost is what it may leave behind.
                let limit = if fits { cost + wait } else { 0 };
                bucket.push(Some(cost), limit, 0, converted, out);
            }
            Self::Fixed(window) | Self::First(window) => {
                out.push(Arg::Static(if matches!(self, Self::Fixed(_)) { "w" } else { "h" }));
                window.push(cost, out);
                out.push(Arg::Static(if window.counts_refused { "1" } else { "0" }));
            }
            Self::Sliding(window) => {
                out.push(Arg::Static("s"));
                window.push(cost, out);
            }
            Self::Log(window) => {
                out.push(Arg::Static("l"));
                window.push(cost, out);
            }
        }
    }

    /// What `reserve` is told beyond a check: how far ahead a bucket may promise.
    pub(crate) fn push_promise(&self, out: &mut Vec<Arg>) {
        if let Self::Bucket(bucket) | Self::Queue(bucket) = self {
            out.push(Arg::Number(bucket.debt_us));
        }
    }

    /// What `lease` is told beyond a check: spans or a count to take in advance, up to `most` tokens.
    pub(crate) fn push_ahead(&self, most: u64, lost: Option<&Evidence>, out: &mut Vec<Arg>) {
        let (at, more) = match (self, lost) {
            (Self::Bucket(_), Some(Evidence::Stamp { stamp })) => (stamp.us, stamp.parts),
            (Self::Fixed(_) | Self::First(_), Some(Evidence::Window { count, end })) => (*end, *count),
            _ => (0, 0),
        };
        out.extend([Arg::Number(at), Arg::Number(more)]);
        match self {
            Self::Bucket(bucket) => {
                for tokens in halves(most) {
                    push_span(bucket.span(bucket.token.parts(tokens)), out);
                }
            }
            _ => out.push(Arg::Number(most)),
        }
    }

    /// How many tokens were taken in advance, by what the script says of `most`; `None` if it says what cannot be.
    pub(crate) fn ahead(&self, most: u64, answer: u64) -> Option<u64> {
        match self {
            Self::Bucket(_) if answer == 0 => Some(0),
            Self::Bucket(_) => halves(most).nth(usize::try_from(answer - 1).ok()?),
            _ => (answer <= most).then_some(answer),
        }
    }

    /// Whether a bucket whose stamp is at least `ahead_us` ahead is short of `cost` tokens.
    pub(crate) fn lacks(&self, cost: u64, ahead_us: u64) -> bool {
        let Self::Bucket(bucket) = self else { return false };
        bucket.token.parts_of_us(ahead_us) + bucket.token.parts(cost) > bucket.depth
    }

    /// What `adjust` is told: to take up to `cost`, into debt or not, or to give it back; what is given back to a window or a
    /// log only if it is of the one that ends at `mine`, or was taken then, unless that is 0.
    pub(crate) fn push_adjust(
        &self,
        how: Adjust,
        cost: u64,
        mine: u64,
        converted: Option<&Converted>,
        out: &mut Vec<Arg>,
    ) {
        out.push(Arg::Static(match how {
            Adjust::UpTo => "upto",
            Adjust::Charge => "charge",
            Adjust::Refund => "refund",
        }));
        match self {
            Self::Unlimited | Self::Closed => {}
            Self::Bucket(bucket) | Self::Queue(bucket) => {
                let past = if how == Adjust::Charge { bucket.token.parts_of_us(bucket.debt_us) } else { 0 };
                let mark_from = if matches!(self, Self::Queue(_)) { 0 } else { bucket.depth };
                bucket.push(None, bucket.depth + past, mark_from, converted, out);
                if how == Adjust::Refund {
                    // More than all that it can lack is as good as that.
                    let all = bucket.token.parts_of_us(bucket.reach_us);
                    push_span(bucket.span(bucket.token.parts(cost).min(all)), out);
                } else {
                    for rung in rungs(bucket.at_most_with_debt(cost)) {
                        push_span(bucket.span(bucket.token.parts(rung)), out);
                    }
                }
            }
            Self::Fixed(window) | Self::First(window) | Self::Sliding(window) | Self::Log(window) => {
                out.push(Arg::Static(match self {
                    Self::Fixed(_) => "w",
                    Self::First(_) => "h",
                    Self::Sliding(_) => "s",
                    _ => "l",
                }));
                window.push(cost, out);
                out.push(Arg::Number(mine));
            }
        }
    }

    /// How much was taken, of what [`push_adjust`](Self::push_adjust) asked for: the script's third answer.
    pub(crate) fn taken(&self, cost: u64, answer: &str) -> Option<u64> {
        match self {
            Self::Bucket(bucket) | Self::Queue(bucket) => {
                let rungs = rungs(bucket.at_most_with_debt(cost));
                (answer.len() == rungs.len()).then(|| {
                    rungs.iter().zip(answer.bytes()).filter(|&(_, picked)| picked == b'1').map(|(rung, _)| rung).sum()
                })
            }
            _ => answer.parse().ok(),
        }
    }

    /// The figures of a reply, each rounded once.
    pub(crate) fn report(&self, cost: u64, now: u64, fits: bool, evidence: &Evidence) -> Report {
        let (remaining, ready_us, full_us) = match (self, evidence) {
            (Self::Bucket(bucket), Evidence::Stamp { stamp }) => {
                let ahead = bucket.token.ahead(*stamp, now);
                let lacks = (ahead + bucket.token.parts(cost.min(bucket.burst))).saturating_sub(bucket.depth);
                let remaining = bucket.token.tokens_in(bucket.depth.saturating_sub(ahead));
                (remaining, bucket.token.us_up(lacks), bucket.token.us_up(ahead))
            }
            (Self::Queue(bucket), Evidence::Stamp { stamp }) => {
                let ahead = bucket.token.ahead(*stamp, now);
                let wait = bucket.token.us_up(ahead);
                (if ahead > 0 { 0 } else { bucket.burst }, wait, wait)
            }
            (Self::Fixed(window) | Self::First(window), Evidence::Window { count, end }) => {
                let wait = end.saturating_sub(now);
                (window.limit.saturating_sub(*count), wait, if *count == 0 { 0 } else { wait })
            }
            (Self::Sliding(window), Evidence::Sliding { previous, current, end, rest }) => {
                window.sliding(cost, now, (*previous, *current), *end, *rest)
            }
            (Self::Log(window), Evidence::Log { count, must_leave, last }) => {
                let until = |at: u64| (at + window.us).saturating_sub(now);
                (window.limit.saturating_sub(*count), until(*must_leave), if *count == 0 { 0 } else { until(*last) })
            }
            // Not asked, or an answer of another kind, which the reading of it has refused.
            _ => (0, 0, 0),
        };
        let verdict = match fits {
            true => Verdict::Allowed,
            false if cost > self.most() => Verdict::NeverFits,
            false => Verdict::Refused,
        };
        // Never zero: a client would spin.
        let retry_after = (verdict == Verdict::Refused).then(|| Duration::from_micros(ready_us.max(1)));
        Report { verdict, burst: self.most(), remaining, retry_after, reset_after: Duration::from_micros(full_us) }
    }

    /// When a request may go that was reserved: how long after `now`, from what the debit left.
    pub(crate) fn wait(&self, cost: u64, now: u64, evidence: &Evidence) -> Duration {
        let us = match (self, evidence) {
            (Self::Bucket(bucket), Evidence::Stamp { stamp }) => {
                bucket.token.us_up(bucket.token.ahead(*stamp, now).saturating_sub(bucket.depth))
            }
            (Self::Queue(bucket), Evidence::Stamp { stamp }) => {
                bucket.token.us_up(bucket.token.ahead(*stamp, now).saturating_sub(bucket.token.parts(cost)))
            }
            _ => 0,
        };
        Duration::from_micros(us)
    }

    /// The text of another quota's bucket as this one's, at the server's `now`; `None` if it is no bucket's.
    pub(crate) fn convert(&self, text: &str, now: u64) -> Option<Converted> {
        let (Self::Bucket(bucket) | Self::Queue(bucket)) = self else { return None };
        bucket.convert(text, now, matches!(self, Self::Queue(_)))
    }

    /// The text of a bucket with this stamp, as `put` of the scripts writes it.
    pub(crate) fn text(&self, stamp: Span, mark: &str, surplus: &str) -> Option<String> {
        let (Self::Bucket(bucket) | Self::Queue(bucket)) = self else { return None };
        Some(bucket.text(stamp, mark, surplus))
    }

    /// What the stored text says of the quota.
    pub(crate) fn tag(&self) -> &str {
        match self {
            Self::Bucket(bucket) | Self::Queue(bucket) => &bucket.tag,
            _ => "",
        }
    }
}

/// What to do to one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adjust {
    UpTo,
    Charge,
    Refund,
}

/// A text that another quota wrote, and what it is under this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Converted {
    pub(crate) seen: String,
    pub(crate) text: String,
}

impl Bucket {
    fn new(quota: &Quota, is_queue: bool) -> Result<Self, LimitError> {
        let quota = *quota;
        let too_deep = || LimitError::TooDeep { quota, max: Duration::from_micros(MAX_SPAN_US) };
        // At most ten years.
        let period_nanos = u64::try_from(quota.period().as_nanos()).map_err(|_| too_deep())?;
        let token = Token::new(quota.count(), period_nanos).ok_or(LimitError::RateTooFine { quota })?;
        // A queue without room to wait still lets through what may leave at once.
        let burst = if is_queue { quota.burst().max(1) } else { quota.burst() };
        let depth = token.parts(burst);
        let depth_us = token.us_up(depth);
        if depth_us > MAX_SPAN_US {
            return Err(too_deep());
        }
        let debt_us = match quota.max_debt() {
            _ if is_queue => {
                if quota.burst() == 0 {
                    0
                } else {
                    depth_us
                }
            }
            Some(debt) => u64::try_from(debt.as_micros()).map_err(|_| too_deep())?,
            None => depth_us.max(u64::try_from(DEFAULT_DEBT.as_micros()).unwrap_or(0)).min(MAX_SPAN_US - depth_us),
        };
        let reach_us = depth_us.checked_add(debt_us).filter(|&reach| reach <= MAX_SPAN_US).ok_or_else(too_deep)?;
        let tag = format!("{}/{}", quota.count(), quota.burst()).into();
        Ok(Self { token, burst, depth, debt_us, reach_us, tag, period_nanos })
    }

    /// What it takes to fill when it is empty, in whole microseconds, rounded up.
    pub(crate) fn depth_us(&self) -> u64 {
        self.token.us_up(self.depth)
    }

    /// Of a span within the reach, which is one; what is longer, by as much as a cost that never fits, is cut.
    fn span(&self, parts: u128) -> Span {
        self.token
            .span(parts)
            .filter(|span| span.us <= 2 * MAX_SPAN_US)
            .unwrap_or(Span { us: 2 * MAX_SPAN_US, parts: 0 })
    }

    /// What `cost` is cut to: as much as can ever be taken at once, in debt.
    fn at_most_with_debt(&self, cost: u64) -> u64 {
        cost.min(self.token.tokens_in(self.token.parts_of_us(self.reach_us)))
    }

    fn push(
        &self,
        cost: Option<u128>,
        limit: u128,
        mark_from: u128,
        converted: Option<&Converted>,
        out: &mut Vec<Arg>,
    ) {
        out.push(Arg::Static("b"));
        out.push(Arg::Text(self.tag.to_string()));
        out.push(Arg::Number(self.token.parts_per_us()));
        if let Some(cost) = cost {
            push_span(self.span(cost), out);
        }
        push_span(self.span(limit), out);
        push_span(self.span(mark_from), out);
        out.push(Arg::Number(self.reach_us));
        match converted {
            Some(Converted { seen, text }) => out.extend([Arg::Text(seen.clone()), Arg::Text(text.clone())]),
            None => out.extend([Arg::Static(""), Arg::Static("")]),
        }
    }

    fn text(&self, stamp: Span, mark: &str, surplus: &str) -> String {
        let Span { us, parts } = stamp;
        let tag = &self.tag;
        match parts {
            0 => format!("{us}{mark} {tag}{surplus}"),
            _ => format!("{us}:{parts}{mark} {tag}{surplus}"),
        }
    }

    /// What was used, in tokens, at most the burst, and what the old bucket was past empty, as the engine's change of quota has
    /// it; rounded up, so that going back and forth sells nothing. What the cut takes off stands beside it, for nodes that
    /// still have the old quota.
    fn convert(&self, seen: &str, now: u64, is_queue: bool) -> Option<Converted> {
        let (stamp, tag) = seen.split_once(' ')?;
        let mark = if stamp.ends_with('p') {
            "p"
        } else if stamp.ends_with('d') {
            "d"
        } else {
            ""
        };
        let stamp = stamp.trim_end_matches(['p', 'd']);
        let (us, parts) = stamp.split_once(':').unwrap_or((stamp, "0"));
        let (tag, surplus) = tag.split_once('+').unwrap_or((tag, "0"));
        let (count, burst) = tag.split_once('/')?;
        let old = Token::new(count.parse().ok().filter(|&count: &u64| count > 0)?, self.period_nanos)?;
        let old_burst: u64 = burst.parse().ok()?;
        // Whoever else writes to the server may have written this: what no script writes is no bucket's.
        let number = |text: &str| text.parse().ok().filter(|&number: &u64| number <= MAX_NUMBER);
        let ahead = old.ahead(Span { us: number(us)?, parts: number(parts)? }, now);
        let reach = self.token.parts_of_us(self.reach_us);
        let (ahead, surplus) = if is_queue {
            let all = old.as_tokens_of(ahead, &self.token)?;
            // Whoever waits goes when he was told: the next comes a new token after the last of them, not before.
            let (old_token, new_token) = (old.parts(1), self.token.parts(1));
            let in_new = |parts: u128| -> Option<u128> {
                let product = parts.checked_mul(u128::from(self.token.parts_per_us()))?;
                Some(product.div_ceil(u128::from(old.parts_per_us())))
            };
            let is_faster = new_token < in_new(old_token)?;
            let told =
                if is_faster && ahead > old_token { in_new(ahead - old_token)?.checked_add(new_token)? } else { 0 };
            (all.max(told), 0)
        } else {
            let depth = old.parts(old_burst);
            let used = ahead.min(depth).checked_add(old.parts(surplus.parse().ok()?))?;
            let used = old.as_tokens_of(used, &self.token)?;
            let owed = old.as_tokens_of(ahead.saturating_sub(depth), &self.token)?;
            let kept = used.min(self.depth);
            let surplus = (used - kept).checked_add(self.token.parts(1) - 1)?;
            (kept.checked_add(owed)?, self.token.tokens_in(surplus))
        };
        let ahead = ahead.min(reach);
        let mark = match mark {
            _ if !is_queue && ahead <= self.depth => "",
            "" => "d",
            mark => mark,
        };
        let stamp = self.token.span(self.token.parts_of_us(now) + ahead)?;
        let surplus = if surplus > 0 { format!("+{surplus}") } else { String::new() };
        Some(Converted { seen: seen.to_owned(), text: self.text(stamp, mark, &surplus) })
    }
}

impl Window {
    fn new(quota: &Quota) -> Result<Self, LimitError> {
        let quota = *quota;
        if quota.burst() != quota.count() {
            return Err(LimitError::BurstInWindow { quota });
        }
        if !quota.period().subsec_nanos().is_multiple_of(1_000) {
            return Err(LimitError::PeriodNotMicros { quota });
        }
        let us = u64::try_from(quota.period().as_micros()).ok().filter(|&us| us <= MAX_SPAN_US);
        let us = us.ok_or(LimitError::TooDeep { quota, max: Duration::from_micros(MAX_SPAN_US) })?;
        Ok(Self { us, limit: quota.count(), counts_refused: quota.counts_refused() })
    }

    fn push(&self, cost: u64, out: &mut Vec<Arg>) {
        out.extend([self.us, self.limit, cost.min(MOST_TOKENS)].map(Arg::Number));
    }

    /// Remaining, ready and full of a sliding window counter.
    fn sliding(&self, cost: u64, now: u64, (previous, current): (u64, u64), end: u64, rest: u64) -> (u64, u64, u64) {
        let window = u128::from(self.us);
        let wide = u128::from;
        // The start of a later window, if the server's clock is a little behind it.
        let weighted = (wide(previous) * wide(rest)).div_ceil(window);
        let remaining = wide(self.limit).saturating_sub(weighted).saturating_sub(wide(current));
        let remaining = u64::try_from(remaining).unwrap_or(0);
        let until = |at: u64| at.saturating_sub(now);
        // The longest rest of a window at which so many weigh no more than `room`.
        let rest_for = |room: u64, counted: u64| match counted {
            _ if room >= counted => self.us,
            _ => u64::try_from(wide(room) * window / wide(counted)).unwrap_or(self.us),
        };
        let fits_later_here = self.limit.checked_sub(current).and_then(|left| left.checked_sub(cost));
        let ready = match fits_later_here.map(|room| rest_for(room, previous)) {
            Some(rest) if rest > 0 => end - rest,
            // In the next window, of which this one's count will be the one before.
            _ => end + self.us - rest_for(self.limit.saturating_sub(cost), current),
        };
        let full = match (previous, current) {
            (_, 1..) => end + self.us,
            (1.., 0) => end,
            (0, 0) => now,
        };
        (remaining, until(ready), until(full))
    }
}

fn push_span(span: Span, out: &mut Vec<Arg>) {
    out.extend([Arg::Number(span.us), Arg::Number(span.parts)]);
}

fn at_most(quota: &Quota, max: u64) -> Result<(), LimitError> {
    if quota.count() > max { Err(LimitError::CountTooLarge { quota: *quota, max }) } else { Ok(()) }
}

/// `most`, the half of it, and so on down to one.
fn halves(most: u64) -> impl Iterator<Item = u64> {
    core::iter::successors((most > 0).then_some(most), |&tokens| (tokens > 1).then_some(tokens / 2))
}

/// Numbers that sum up to `most`, the largest first, each at most one more than the sum of all after it: so who takes each that
/// fits in turn takes as much as fits.
fn rungs(most: u64) -> Vec<u64> {
    let (mut left, mut rungs) = (most, Vec::new());
    while left > 0 {
        let rung = left.div_ceil(2);
        rungs.push(rung);
        left -= rung;
    }
    rungs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_reach_every_number() {
        for most in 0..200_u64 {
            let rungs = rungs(most);
            for room in 0..=most + 3 {
                let taken = rungs.iter().fold(0, |taken, rung| if taken + rung <= room { taken + rung } else { taken });
                assert_eq!(taken, room.min(most), "{most} of {room}");
            }
        }
        assert_eq!(rungs(u64::MAX).len(), 64);
    }

    #[test]
    fn what_a_script_could_not_add_is_refused() {
        let new = |text: &str| Rule::new(&text.parse::<Quota>().unwrap());
        assert!(matches!(new("1000003 per 3600 days burst 2000000"), Ok(Rule::Bucket(_))));
        assert!(matches!(new("1 per 3600 days burst 100"), Err(LimitError::TooDeep { .. })));
        assert!(matches!(new("9000000000000000001/second burst 1"), Err(LimitError::RateTooFine { .. })));
        assert!(new("52124 per day as sliding-window").is_ok());
        assert!(matches!(new("52125 per day as sliding-window"), Err(LimitError::CountTooLarge { max: 52_124, .. })));
        assert!(matches!(new("1025/hour as sliding-log"), Err(LimitError::CountTooLarge { max: 1_024, .. })));
        assert!(matches!(new("1/1500ns as fixed-window"), Err(LimitError::PeriodNotMicros { .. })));
    }

    #[test]
    fn a_changed_quota_keeps_what_was_used() {
        let rule = |text: &str| Rule::new(&text.parse::<Quota>().unwrap()).unwrap();
        let (old, new) = (rule("100/minute"), rule("10/minute"));
        let now = 4_100_000_000_000_000;
        // 4 of 100 used, then 4 of 10; 6 s each.
        let text = old.text(Span { us: now + 4 * 600_000, parts: 0 }, "", "").unwrap();
        assert_eq!(text, "4100000002400000 100/100");
        assert_eq!(new.convert(&text, now).unwrap().text, "4100000024000000 10/10");
        // 50 used: empty, and 40 more are remembered for those who go back.
        let text = old.text(Span { us: now + 50 * 600_000, parts: 0 }, "", "").unwrap();
        let there = new.convert(&text, now).unwrap().text;
        assert_eq!(there, "4100000060000000 10/10+40");
        assert_eq!(old.convert(&there, now).unwrap().text, text);
        assert_eq!(new.convert("rubbish", now), None);
        assert_eq!(new.convert("12 0/1", now), None);
    }
}
