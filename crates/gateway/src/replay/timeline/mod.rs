//! The replay over time: requests in bins, ready to be drawn.

pub(crate) mod axis;
pub(crate) mod svg;
pub(crate) mod terminal;

use self::axis::SECOND;
use super::tally::{Counts, Outcome};
use super::wall_clock::WallClock;

/// Lengths of a bin that divide a larger unit of time evenly, so that bins start at round times. In seconds.
pub(crate) const STEPS: [u64; 24] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800,
    604_800, 1_209_600, 2_419_200, 7_257_600,
];

/// Bins of equal length without gaps, from the first request to the last.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Where the first bin starts, in nanoseconds since 1970.
    pub(crate) start: u64,
    /// The length of a bin in nanoseconds.
    pub(crate) step: u64,
    pub(crate) bins: Vec<Counts>,
    /// By which times are shown, and bins begin at round ones.
    pub(crate) clock: WallClock,
}

impl Timeline {
    /// Empty bins from the first time to the last, at most `max_bins` (and at least one, and a few more than that when the log spans decades).
    ///
    /// All are of one length: after a change to or from summer time, bins of a day no longer begin at midnight.
    pub(crate) fn new((first, last): (u64, u64), max_bins: usize, clock: &WallClock) -> Self {
        let most = u64::try_from(max_bins.max(1)).unwrap_or(u64::MAX);
        // How far into a bin the first request is: the clock may be hours from UTC, where the others are counted from.
        let into = |step: u64| {
            let into = clock.reading(first).rem_euclid(i128::from(step));
            // No bin begins before 1970.
            u64::try_from(into).unwrap_or(0).min(first)
        };
        let fits = |&step: &u64| (last - first + into(step)) / step < most;
        let step =
            STEPS.map(|seconds| seconds * SECOND).into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1] * SECOND);
        let start = first - into(step);
        let bins = usize::try_from((last - start) / step).unwrap_or(usize::MAX).saturating_add(1);
        Self { start, step, bins: vec![Counts::default(); bins], clock: clock.clone() }
    }

    /// Counts what became of a request at `time`.
    pub(crate) fn add(&mut self, time: u64, outcome: Outcome) {
        let index = usize::try_from(time.saturating_sub(self.start) / self.step).unwrap_or(usize::MAX);
        if let Some(bin) = self.bins.get_mut(index) {
            bin.add(outcome);
        }
    }

    /// Where the last bin ends.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.step * u64::try_from(self.bins.len()).unwrap_or(0)
    }

    /// The height of the highest bin.
    pub(crate) fn peak(&self) -> u64 {
        self.bins.iter().map(Counts::total).max().unwrap_or(0)
    }
}

/// The pictures that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Timelines {
    pub(crate) terminal: Option<Timeline>,
    pub(crate) svg: Option<Timeline>,
}

impl Timelines {
    /// Counts what became of a request at `time`.
    pub(crate) fn add(&mut self, time: u64, outcome: Outcome) {
        for timeline in self.terminal.iter_mut().chain(&mut self.svg) {
            timeline.add(time, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of exempt requests at these seconds.
    fn timeline(seconds: &[u64], max_bins: usize, clock: &WallClock) -> Timeline {
        let times = (seconds[0] * SECOND, seconds[seconds.len() - 1] * SECOND);
        let mut timeline = Timeline::new(times, max_bins, clock);
        seconds.iter().for_each(|second| timeline.add(second * SECOND, Outcome::Exempt));
        timeline
    }

    #[test]
    fn bins_are_round_and_hold_everything() {
        for (seconds, max_bins, step, bins) in [
            (vec![7], 80, 1, 1),
            (vec![100, 179], 80, 1, 80),
            (vec![100, 180], 80, 2, 41),
            (vec![59, 3_600], 61, 60, 61),
            (vec![59, 3_660], 61, 120, 31),
        ] {
            let timeline = timeline(&seconds, max_bins, &WallClock::utc());
            assert_eq!((timeline.step, timeline.bins.len()), (step * SECOND, bins), "{seconds:?}");
            assert_eq!(timeline.start % timeline.step, 0);
            assert_eq!(timeline.bins.iter().map(Counts::total).sum::<u64>(), seconds.len() as u64);
            assert!(timeline.end() > seconds[seconds.len() - 1] * SECOND);
        }
    }

    #[test]
    fn bins_begin_at_round_times_of_the_clock() {
        let clock = WallClock::of(jiff::tz::TimeZone::posix("IST-5:30").unwrap());
        // 10:05:03 and a day later in UTC, 15:35:03 in India.
        let days = timeline(&[1_431_857_103, 1_431_943_503], 26, &clock);
        assert_eq!((days.step, days.bins.len()), (3_600 * SECOND, 25));
        assert_eq!(days.start, 1_431_855_000 * SECOND, "15:00 there, 09:30 in UTC");
        assert_eq!((days.bins[0].total(), days.bins[24].total()), (1, 1));
        // No clock was before 1970.
        let timeline = timeline(&[60, 86_400], 2, &clock);
        assert_eq!((timeline.start, timeline.bins.iter().map(Counts::total).sum::<u64>()), (0, 2));
    }
}
