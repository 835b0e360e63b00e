//! What is granted to every key, so that it is known beforehand how many checks must be admitted.

use std::time::Duration;

/// One in this many keys is exhausted under [`Terms::Mixed`].
pub const EXHAUSTED: u64 = 10;

/// The quota of a race. All peers get the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// Everything is admitted, and every key stays busy: a thousand seconds of debt, and far more tokens than a race
    /// takes, even of one hot key.
    Allow,
    /// Every key is exhausted, and stays so: a token comes back in a thousand seconds.
    Refuse,
    /// One key in ten is exhausted, the others have tokens enough.
    Mixed,
}

impl Terms {
    /// How long one token takes.
    pub const fn period(self) -> Duration {
        match self {
            Self::Allow => Duration::from_micros(1),
            Self::Refuse | Self::Mixed => Duration::from_secs(1_000),
        }
    }

    /// How many tokens a full bucket has.
    pub const fn burst(self) -> u32 {
        match self {
            Self::Allow => 4_000_000_000,
            Self::Refuse | Self::Mixed => 100_000,
        }
    }

    /// What a key is charged before the race.
    pub const fn first(self, key: u64) -> u32 {
        match self {
            Self::Allow => 1_000_000_000,
            Self::Refuse => self.burst(),
            Self::Mixed => {
                if key.is_multiple_of(EXHAUSTED) {
                    self.burst()
                } else {
                    1
                }
            }
        }
    }

    /// How many of `calls` must be admitted, where that does not depend on the keys.
    pub fn due(self, calls: u64) -> u64 {
        match self {
            Self::Allow => calls,
            Self::Refuse => 0,
            Self::Mixed => unreachable!("what is due of a mixture depends on the keys: `checks_mixed`"),
        }
    }
}
