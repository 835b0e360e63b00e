//! Which limit would hit how many: found from the times of each key, then replayed through the limiter.

use std::fmt;
use std::time::Duration;

use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Quota};
use tollgate_http::{LimiterConfig, RateLimiter};

use super::ingest::Input;
use super::simulate::fields::RequestFields;
use super::simulate::matches::Matches;
use super::simulate::run;
use super::timeline::Timelines;
use crate::values::failure::Failure;

const SECOND: u64 = 1_000_000_000;

/// The periods that are tried, in seconds, and what people call them.
pub(crate) const PERIODS: [(u64, &str); 6] =
    [(1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (86_400, "1 d")];

/// Shares of the keys, in thousandths, of which the busiest times are told.
pub(crate) const SHARES: [u64; 4] = [500, 900, 990, 999];

/// What a limit may hit at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// So many keys, at least once.
    Keys(u64),
    /// So many requests are refused, in all.
    Requests(u64),
}

/// `1%` or `0.5%` of something, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u64);

impl Share {
    /// Of `whole`, rounded down.
    pub(crate) fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 1_000_000).unwrap_or(u64::MAX)
    }
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unfit = || format!("`{text}` is no share; expected per cent from 0 to 100, such as 1% or 0.05%");
        let number = text.trim().strip_suffix('%').ok_or_else(unfit)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 4 || whole.len() > 3 {
            return Err(unfit());
        }
        let whole: u64 = whole.parse().map_err(|_| unfit())?;
        let part: u64 = format!("{part:0<4}").parse().map_err(|_| unfit())?;
        Some(whole * 10_000 + part).filter(|share| *share <= 1_000_000).map(Self).ok_or_else(unfit)
    }
}

/// What comes of all limits.
#[derive(Debug)]
pub(crate) struct Suggestion {
    pub(crate) goal: Goal,
    pub(crate) keys: u64,
    /// Requests that have a key: the exempt ones have none.
    pub(crate) requests: u64,
    pub(crate) periods: Vec<Period>,
}

/// What is known of one period.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) seconds: u64,
    pub(crate) name: &'static str,
    /// The most requests in any such time of the keys at [`SHARES`], and of the busiest.
    pub(crate) peaks: [u64; SHARES.len() + 1],
    pub(crate) token_bucket: Choice,
    pub(crate) fixed_window: Choice,
    /// Of each key the smallest count of a token bucket that never refuses it, in ascending order.
    needs: Vec<u64>,
}

impl Period {
    /// How many keys a token bucket of that count refuses at least once.
    pub(crate) fn hit_by(&self, count: u64) -> u64 {
        let spared = self.needs.partition_point(|need| *need <= count);
        u64::try_from(self.needs.len() - spared).unwrap_or(u64::MAX)
    }

    /// The largest count that refuses anybody, and one more.
    pub(crate) fn most(&self) -> u64 {
        self.needs.last().copied().unwrap_or(1)
    }
}

/// The smallest limit of a period, and what came of its replay.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) quota: Quota,
    pub(crate) refused: u64,
    pub(crate) keys_hit: u64,
}

/// The times of each key, one after the other.
struct Times {
    all: Vec<u64>,
    ends: Vec<usize>,
}

impl Times {
    fn of(matches: &Matches, input: &Input) -> Self {
        let key = |request| matches.key_in(request, 0).map(super::simulate::matches::KeyId::index);
        let mut ends = vec![0_usize; matches.keys()];
        for record in input.records.iter() {
            if let Some(key) = key(record.request) {
                ends[key] += 1;
            }
        }
        let mut sum = 0;
        let mut next: Vec<usize> = Vec::with_capacity(ends.len());
        for end in &mut ends {
            next.push(sum);
            sum += *end;
            *end = sum;
        }
        let mut all = vec![0; sum];
        for record in input.records.iter() {
            if let Some(key) = key(record.request) {
                all[next[key]] = record.time;
                next[key] += 1;
            }
        }
        Self { all, ends }
    }

    /// Of each key, in order of time.
    fn keys(&self) -> impl Iterator<Item = &[u64]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.all[start..end]).filter(|times| !times.is_empty())
    }
}

/// The most requests in any `period`, with its beginning and without its end.
fn peak(times: &[u64], period: u64) -> u64 {
    let (mut start, mut most) = (0, 0);
    for (end, time) in times.iter().enumerate() {
        while time - times[start] >= period {
            start += 1;
        }
        most = most.max(end + 1 - start);
    }
    u64::try_from(most).unwrap_or(u64::MAX)
}

/// The most requests in a window of that length since 1970.
fn window_peak(times: &[u64], period: u64) -> u64 {
    let windows = times.chunk_by(|a, b| a / period == b / period);
    windows.map(<[u64]>::len).max().map_or(0, |most| u64::try_from(most).unwrap_or(u64::MAX))
}

/// How many of `times` a token bucket of `count` in `period` refuses; at most `most`, where it stops.
///
/// In units of a `count`th of a nanosecond, so that nothing is rounded.
fn refused_by_bucket(times: &[u64], period: u64, count: u64, most: u64) -> u64 {
    let (size, unit) = (u128::from(count) * u128::from(period), u128::from(period));
    let (mut used, mut last, mut refused) = (0_u128, 0, 0);
    for &time in times {
        used = used.saturating_sub(u128::from(time - last) * u128::from(count));
        last = time;
        if used + unit > size {
            refused += 1;
            if refused == most {
                break;
            }
        } else {
            used += unit;
        }
    }
    refused
}

/// The smallest count of a token bucket that never refuses `times`, of which at most `peak` come in any `period`.
///
/// The peak is enough: so many come in each period, and so many are given back in each. Less than a half is never enough, as the
/// requests of a peak come within one period, in which at most a full bucket and its refill are given.
fn need(times: &[u64], period: u64, peak: u64) -> u64 {
    let (mut low, mut high) = (peak.div_ceil(2).max(1), peak.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if refused_by_bucket(times, period, middle, 1) == 0 { high = middle } else { low = middle + 1 }
    }
    low
}

/// The smallest count, from 1 to `most`, for which `is_fit` holds; it must hold for all larger ones, and for `most`.
fn smallest(most: u64, is_fit: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (1, most.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if is_fit(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// Of sorted `needs`, the smallest count that is too little for at most `keys` of them.
fn for_keys(needs: &[u64], keys: u64) -> u64 {
    let spared = usize::try_from(keys).ok().and_then(|keys| needs.len().checked_sub(keys + 1));
    spared.and_then(|last| needs.get(last)).copied().unwrap_or(1).max(1)
}

/// Finds the smallest limits of the policy that `settings` makes of a limit.
pub(crate) fn suggest(
    settings: &dyn Fn(Quota) -> Result<LimiterConfig, Failure>,
    fields: &RequestFields,
    input: &Input,
    goal_of: impl Fn(u64, u64) -> Goal,
) -> Result<Suggestion, Failure> {
    let first = input.records.first().unwrap_or(0);
    let rules = RateLimiter::with_clock(
        settings(Quota::per_second(1))?.capacity(1),
        ManualClock::new(Instant::from_nanos(first)),
    );
    let rules = rules.map_err(|error| Failure::Usage(format!("the policy cannot be used: {error}")))?;
    let matches = Matches::new(rules, fields, &input.texts)?;
    let times = Times::of(&matches, input);
    drop(matches);
    let keys = u64::try_from(times.keys().count()).unwrap_or(u64::MAX);
    let requests = u64::try_from(times.all.len()).unwrap_or(u64::MAX);
    if requests == 0 {
        return Err(Failure::Data("every request is exempt: there is nothing to limit".to_owned()));
    }
    let goal = goal_of(keys, requests);
    let search = Search { settings, fields, input, times: &times, goal };
    let periods = PERIODS.iter().map(|&(seconds, name)| search.period(seconds, name)).collect::<Result<_, _>>()?;
    Ok(Suggestion { goal, keys, requests, periods })
}

struct Search<'s> {
    settings: &'s dyn Fn(Quota) -> Result<LimiterConfig, Failure>,
    fields: &'s RequestFields,
    input: &'s Input,
    times: &'s Times,
    goal: Goal,
}

impl Search<'_> {
    fn period(&self, seconds: u64, name: &'static str) -> Result<Period, Failure> {
        let period = seconds * SECOND;
        let mut peaks: Vec<u64> = self.times.keys().map(|times| peak(times, period)).collect();
        let mut needs: Vec<u64> =
            self.times.keys().zip(&peaks).map(|(times, &peak)| need(times, period, peak)).collect();
        let mut windows: Vec<u64> = self.times.keys().map(|times| window_peak(times, period)).collect();
        let (bucket, window) = match self.goal {
            Goal::Keys(keys) => {
                needs.sort_unstable();
                windows.sort_unstable();
                (for_keys(&needs, keys), for_keys(&windows, keys))
            }
            Goal::Requests(most) => {
                let refused = |count: u64| -> u64 {
                    let of_key = |(times, need): (&[u64], &u64)| {
                        if *need <= count { 0 } else { refused_by_bucket(times, period, count, u64::MAX) }
                    };
                    self.times.keys().zip(&needs).map(of_key).sum()
                };
                let bucket = smallest(needs.iter().copied().max().unwrap_or(1), |count| refused(count) <= most);
                let refused = |count: u64| -> u64 {
                    let of_window =
                        |times: &[u64]| u64::try_from(times.len()).unwrap_or(u64::MAX).saturating_sub(count);
                    let of_key =
                        |times: &[u64]| times.chunk_by(|a, b| a / period == b / period).map(of_window).sum::<u64>();
                    self.times
                        .keys()
                        .zip(&windows)
                        .filter(|(_, peak)| **peak > count)
                        .map(|(times, _)| of_key(times))
                        .sum()
                };
                let window = smallest(windows.iter().copied().max().unwrap_or(1), |count| refused(count) <= most);
                needs.sort_unstable();
                (bucket, window)
            }
        };
        peaks.sort_unstable();
        let at = |share: u64| {
            let rank = (u128::from(share) * peaks.len() as u128).div_ceil(1_000);
            usize::try_from(rank).ok().and_then(|rank| peaks.get(rank.saturating_sub(1))).copied().unwrap_or(0)
        };
        let [half, nine, two_nines, three_nines] = SHARES.map(at);
        let most = peaks.last().copied().unwrap_or(0);
        Ok(Period {
            seconds,
            name,
            peaks: [half, nine, two_nines, three_nines, most],
            token_bucket: self.replayed(bucket, seconds, Algorithm::TokenBucket)?,
            fixed_window: self.replayed(window, seconds, Algorithm::FixedWindow)?,
            needs,
        })
    }

    /// The limit, or one a little larger, through the limiter: what is shown is what the gateway would do.
    fn replayed(&self, count: u64, seconds: u64, algorithm: Algorithm) -> Result<Choice, Failure> {
        let mut count = count;
        loop {
            let unfit = |error: &dyn fmt::Display| {
                Failure::Other(format!("a limit of {count} in {seconds} s cannot be used: {error}"))
            };
            let quota = Quota::new(count, Duration::from_secs(seconds)).map_err(|error| unfit(&error))?;
            let choice = self.replay(quota.with_algorithm(algorithm)).map_err(|error| unfit(&error))?;
            let is_fit = match self.goal {
                Goal::Keys(keys) => choice.keys_hit <= keys,
                Goal::Requests(requests) => choice.refused <= requests,
            };
            if is_fit {
                return Ok(choice);
            }
            count += 1;
        }
    }

    fn replay(&self, quota: Quota) -> Result<Choice, Failure> {
        let plan = run::Plan { has_own_capacity: false, keeps_outcomes: false, timelines: Timelines::default() };
        let (_, counted) = run::simulate((self.settings)(quota)?, self.fields, self.input, plan)?;
        let refused = counted.tally.totals.refused;
        let keys_hit = u64::try_from(counted.keys.limited()).unwrap_or(u64::MAX);
        Ok(Choice { quota, refused, keys_hit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u64 = 10 * SECOND;

    fn seconds(times: &[u64]) -> Vec<u64> {
        times.iter().map(|second| 1_709_294_400 * SECOND + second * SECOND).collect()
    }

    #[test]
    fn peaks_are_of_any_period_and_of_windows() {
        let times = seconds(&[1, 8, 9, 10, 11, 18, 30]);
        assert_eq!((peak(&times, P), window_peak(&times, P)), (4, 3));
        assert_eq!((peak(&seconds(&[0, 10]), P), window_peak(&seconds(&[0, 9]), P)), (1, 2));
    }

    /// Every count is tried, and the search is never off.
    #[test]
    fn a_need_is_the_smallest_count_that_refuses_nothing() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..300 {
            let mut at = 0;
            let spread = [1, 2_000_000_000, 9_000_000_000, 30_000_000_000][round % 4];
            let times: Vec<u64> = (0..1 + random(40))
                .map(|_| {
                    at += random(spread);
                    at
                })
                .collect();
            let peak = peak(&times, P);
            let found = need(&times, P, peak);
            let tried = (1..=peak).find(|&count| refused_by_bucket(&times, P, count, u64::MAX) == 0).unwrap();
            assert_eq!(found, tried, "{times:?}");
            let refused: Vec<u64> = (1..=peak).map(|count| refused_by_bucket(&times, P, count, u64::MAX)).collect();
            assert!(refused.is_sorted_by(|a, b| a >= b), "{refused:?} of {times:?}");
        }
    }

    #[test]
    fn so_many_keys_are_hit_at_most() {
        let needs = [1, 1, 2, 5, 9, 9];
        let found = [0, 1, 2, 3, 4, 5, 6, 99].map(|keys| for_keys(&needs, keys));
        assert_eq!(found, [9, 9, 5, 2, 1, 1, 1, 1]);
        assert_eq!(smallest(100, |count| count >= 37), 37);
        assert_eq!((smallest(1, |_| true), smallest(0, |_| true)), (1, 1));
    }

    #[test]
    fn shares_of_a_whole() {
        let share = |text: &str| text.parse::<Share>();
        assert_eq!(share("1%").unwrap().of(1_753), 17);
        assert_eq!(share("0.05 %").unwrap().of(10_000), 5);
        assert_eq!(share("100%").unwrap().of(7), 7);
        for text in ["1", "-1%", "101%", "%", "1.%", ".5%", "1.00001%", "x%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
