//! Round numbers and round times for the axes.

use super::STEPS;
use crate::replay::wall_clock::WallClock;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 86_400 * SECOND;

/// A marked time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) label: String,
    /// The day, at the first tick of each.
    pub(crate) day: Option<String>,
}

/// About `max` (and at least one) times from `start` to `end` that are round on `clock`: never more, but for a change to or from
/// summer time in between.
pub(crate) fn times(start: u64, end: u64, max: usize, clock: &WallClock) -> Vec<Tick> {
    let most = i128::try_from(max.max(1)).unwrap_or(i128::MAX);
    let (from, to) = (clock.reading(start), clock.reading(end));
    // The first multiple of the step that is not before the start.
    let first = |step: i128| from + (-from).rem_euclid(step);
    let count = |step: i128| (to - first(step)).div_euclid(step) + 1;
    let steps = STEPS.map(|seconds| i128::from(seconds * SECOND));
    let step = steps.into_iter().find(|&step| count(step) <= most).unwrap_or(steps[steps.len() - 1]);
    let times = (0..).map_while(|number: i128| clock.when(first(step) + number * step)).take_while(|time| *time <= end);
    let mut times: Vec<u64> = times.filter(|time| *time >= start).collect();
    // A time that a clock leaves out in spring is the one after it.
    times.dedup();
    // A span shorter than the step can fall between two round times: then its start is as good as any.
    if times.is_empty() {
        times.push(start);
    }
    let is_of_days = step >= i128::from(DAY);
    let has_seconds = step % i128::from(MINUTE) != 0;
    let mut last_day = None;
    let tick = |time: u64| {
        let date = clock.date(time);
        if is_of_days {
            return Tick { time, label: date, day: None };
        }
        let is_new_day = last_day.as_ref() != Some(&date);
        last_day = Some(date.clone());
        Tick { time, label: clock.time_of_day(time, has_seconds), day: is_new_day.then_some(date) }
    };
    times.into_iter().map(tick).collect()
}

/// A round step that takes at most `max` of itself to reach `peak`.
pub(crate) fn count_step(peak: u64, max: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = unit.saturating_mul(factor);
            if peak.div_ceil(step) <= max {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// A length of time in its largest whole unit, such as `5 min`.
pub(crate) fn length(nanos: u64) -> String {
    let seconds = nanos / SECOND;
    let units = [(604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    match seconds / unit {
        1 => name.to_owned(),
        count => format!("{count} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-05-17T10:05:03Z.
    const START: u64 = 1_431_857_103 * SECOND;

    fn labels(seconds: u64, max: usize) -> Vec<String> {
        let ticks = times(START, START + seconds * SECOND, max, &WallClock::utc());
        ticks
            .into_iter()
            .map(|tick| tick.day.map_or(tick.label.clone(), |day| format!("{} {day}", tick.label)))
            .collect()
    }

    #[test]
    fn ticks_are_at_round_times() {
        assert_eq!(labels(3_600, 5), ["10:15 17 May 2015", "10:30", "10:45", "11:00"]);
        assert_eq!(labels(86_400, 4), ["12:00 17 May 2015", "18:00", "00:00 18 May 2015", "06:00"]);
        assert_eq!(labels(4 * 86_400, 5), ["18 May 2015", "19 May 2015", "20 May 2015", "21 May 2015"]);
        assert_eq!(labels(10, 3), ["10:05:05 17 May 2015", "10:05:10"]);
        assert_eq!(labels(0, 3), ["10:05:03 17 May 2015"]);
    }

    #[test]
    fn ticks_are_round_on_the_clock_that_is_shown() {
        use jiff::tz::TimeZone;
        let zoned = |start: u64, seconds: u64, max: usize, zone: &str| -> Vec<String> {
            let clock = WallClock::of(TimeZone::posix(zone).unwrap());
            let ticks = times(start * SECOND, (start + seconds) * SECOND, max, &clock);
            ticks
                .into_iter()
                .map(|tick| tick.day.map_or(tick.label.clone(), |day| format!("{} {day}", tick.label)))
                .collect()
        };
        // 2015-05-17T10:05:03Z is 15:35:03 in India.
        assert_eq!(
            zoned(START / SECOND, 86_400, 4, "IST-5:30"),
            ["18:00 17 May 2015", "00:00 18 May 2015", "06:00", "12:00"]
        );
        // 2024-03-30T23:00:00Z and 2024-10-26T22:00:00Z: midnight before the days with 23 and with 25 hours.
        let central = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(
            zoned(1_711_839_600, 4 * 3_600, 6, central),
            ["00:00 31 Mar 2024", "01:00", "03:00", "04:00", "05:00"]
        );
        assert_eq!(zoned(1_729_980_000, 4 * 3_600, 6, central), ["00:00 27 Oct 2024", "01:00", "02:00", "03:00"]);
        assert_eq!(zoned(1_711_839_600, 2 * 86_400, 3, central), ["31 Mar 2024", "1 Apr 2024", "2 Apr 2024"]);
    }

    #[test]
    fn counts_are_round() {
        for (peak, step) in [(0, 1), (1, 1), (4, 1), (5, 2), (9, 5), (39, 10), (41, 20), (1_000_000, 500_000)] {
            assert_eq!(count_step(peak, 4), step, "{peak}");
        }
        assert!(count_step(u64::MAX, 4) > 1);
        assert_eq!(length(60 * SECOND), "minute");
        assert_eq!(length(300 * SECOND), "5 minutes");
        assert_eq!(length(90 * SECOND), "90 seconds");
    }
}
