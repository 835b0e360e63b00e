//! Round numbers and round times for the axes.

use jiff::Timestamp;

use super::STEPS;
use crate::replay::log::time::timestamp;

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

/// At most `max` (and at least one) round times from `start` to `end`.
pub(crate) fn times(start: u64, end: u64, max: usize) -> Vec<Tick> {
    let most = u64::try_from(max.max(1)).unwrap_or(u64::MAX);
    let count = |step: u64| (end / step + 1) - start.div_ceil(step);
    let steps = STEPS.map(|seconds| seconds * SECOND);
    let step = steps.into_iter().find(|&step| count(step) <= most).unwrap_or(steps[steps.len() - 1]);
    let mut ticks: Vec<Tick> = Vec::new();
    let mut last_day = None;
    let mut time = start.div_ceil(step) * step;
    // A span shorter than the step can fall between two round times: then its start is as good as any.
    if time > end {
        time = start;
    }
    while time <= end {
        let moment = timestamp(time);
        let is_new_day = last_day.replace(time / DAY) != Some(time / DAY);
        let label = if step >= DAY { date(moment) } else { clock(moment, step) };
        let day = (is_new_day && step < DAY).then(|| date(moment));
        ticks.push(Tick { time, label, day });
        time += step;
    }
    ticks
}

fn date(moment: Timestamp) -> String {
    moment.strftime("%-d %b %Y").to_string()
}

fn clock(moment: Timestamp, step: u64) -> String {
    moment.strftime(if step.is_multiple_of(MINUTE) { "%H:%M" } else { "%H:%M:%S" }).to_string()
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
        let ticks = times(START, START + seconds * SECOND, max);
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
