//! What became of the requests, counted: in all and by minute.

/// Nanoseconds in a minute.
pub(crate) const MINUTE: u64 = 60_000_000_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Passed at once.
    Allowed,
    /// Passed, but later than it came.
    Delayed,
    /// Refused by the limit with that number.
    Refused(u16),
    /// Never limited.
    Exempt,
}

/// An [`Outcome`] in two bytes instead of four, as there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored(u16);

impl Stored {
    const ALLOWED: u16 = u16::MAX;
    const DELAYED: u16 = u16::MAX - 1;
    const EXEMPT: u16 = u16::MAX - 2;
    /// The highest number of a limit.
    pub(crate) const MAX_LIMIT: u16 = u16::MAX - 3;

    pub(crate) fn get(self) -> Outcome {
        match self.0 {
            Self::ALLOWED => Outcome::Allowed,
            Self::DELAYED => Outcome::Delayed,
            Self::EXEMPT => Outcome::Exempt,
            limit => Outcome::Refused(limit),
        }
    }
}

impl From<Outcome> for Stored {
    fn from(outcome: Outcome) -> Self {
        Self(match outcome {
            Outcome::Allowed => Self::ALLOWED,
            Outcome::Delayed => Self::DELAYED,
            Outcome::Exempt => Self::EXEMPT,
            Outcome::Refused(limit) => limit.min(Self::MAX_LIMIT),
        })
    }
}

impl Outcome {
    pub(crate) const fn is_refused(self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// How often each outcome came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Passed at once.
    pub(crate) allowed: u64,
    pub(crate) delayed: u64,
    pub(crate) refused: u64,
    pub(crate) exempt: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Allowed => &mut self.allowed,
            Outcome::Delayed => &mut self.delayed,
            Outcome::Refused(_) => &mut self.refused,
            Outcome::Exempt => &mut self.exempt,
        } += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.passed() + self.refused
    }

    /// All that got through.
    pub(crate) fn passed(&self) -> u64 {
        self.allowed + self.delayed + self.exempt
    }
}

/// What became of one minute.
#[derive(Debug, Clone)]
pub(crate) struct Minute {
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) counts: Counts,
}

/// The counts in all and by minute.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) totals: Counts,
    /// The minutes that have a request, in order.
    pub(crate) minutes: Vec<Minute>,
}

impl Tally {
    /// Counts what became of a request at `time`, which is not before the one that was counted last; returns the number of its minute.
    pub(crate) fn add(&mut self, time: u64, outcome: Outcome) -> usize {
        self.totals.add(outcome);
        match self.minutes.last_mut() {
            Some(minute) if time - minute.start < MINUTE => minute.counts.add(outcome),
            _ => {
                let mut counts = Counts::default();
                counts.add(outcome);
                self.minutes.push(Minute { start: time - time % MINUTE, counts });
            }
        }
        self.minutes.len() - 1
    }

    /// Up to `count` minutes with refusals: the most refused first, then the busiest, then the earliest.
    pub(crate) fn worst_minutes(&self, count: usize) -> Vec<(usize, &Minute)> {
        let mut worst: Vec<(usize, &Minute)> =
            self.minutes.iter().enumerate().filter(|(_, minute)| minute.counts.refused > 0).collect();
        worst.sort_by_key(|(_, minute)| {
            let Counts { refused, .. } = minute.counts;
            (std::cmp::Reverse((refused, minute.counts.total())), minute.start)
        });
        worst.truncate(count);
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back() {
        let refused = [0, 1, 255, 256, Stored::MAX_LIMIT].map(Outcome::Refused);
        for outcome in [Outcome::Allowed, Outcome::Delayed, Outcome::Exempt].into_iter().chain(refused) {
            assert_eq!(Stored::from(outcome).get(), outcome);
        }
    }
}
