//! The word and the time base. Both are private, so their files are compiled into this target as they are.
#![no_main]
#![allow(dead_code, reason = "the engine uses the rest")]

#[path = "../../src/arith.rs"]
mod arith;
#[path = "../../src/time_base.rs"]
mod time_base;
#[path = "../../src/word.rs"]
mod word;

mod clock {
    pub(crate) use tollgate::clock::Instant;
}
mod quota {
    pub(crate) use tollgate::Quota;
}

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tollgate::Quota;
use tollgate::clock::Instant;
use tollgate_fuzz::{DAY, SECOND, Scaled, Shape};

use arith::gcd;
use time_base::{LATEST, MAX_AHEAD, TimeBase};
use word::{Balance, State, Word};

#[derive(Debug, Arbitrary)]
enum Input {
    Base { start: Scaled, ahead: Scaled, quotas: [Option<Shape>; 3], instants: Vec<Moment> },
    Word { bits: u64, steps: Vec<Step> },
}

#[derive(Debug, Arbitrary)]
enum Moment {
    At(Scaled),
    BeforeStart(Scaled),
    AfterStart(Scaled),
    BeforeTheLast(Scaled),
}

#[derive(Debug, Arbitrary)]
enum Step {
    Live { stamp: Scaled, overdrawn: bool },
    Claim { later: Scaled },
    Pending,
    Dead,
    At { stamp: Scaled },
}

fuzz_target!(|input: Input| match input {
    Input::Base { start, ahead, quotas, instants } => {
        let quotas: Vec<Quota> = quotas.iter().flatten().filter_map(Shape::quota).collect();
        // The range may end up to a second before the last u64.
        let start = start.0.min(u64::MAX - SECOND);
        let base = TimeBase::new(&quotas, Instant::from_nanos(start));
        the_unit_fits(&base, &quotas);
        windows_are_aligned(&base, &quotas, start);
        let line = Line::new(&base, start);
        for moment in instants {
            line.judge(
                match moment {
                    Moment::At(nanos) => nanos.0,
                    Moment::BeforeStart(nanos) => start.saturating_sub(nanos.0),
                    Moment::AfterStart(nanos) => start.saturating_add(nanos.0),
                    Moment::BeforeTheLast(nanos) => u64::MAX - nanos.0,
                },
                ahead.0 & MAX_AHEAD,
            );
        }
    }
    Input::Word { bits, steps } => fields_are_apart(bits, &steps),
});

/// What a second must divide into for a quota to be whole: `period / count` of a token, or the period of a window.
fn divisor(quota: &Quota) -> u128 {
    let parts = if quota.algorithm().is_window() { 1 } else { u128::from(quota.count().max(1)) } * u128::from(SECOND);
    parts / gcd(parts, quota.period().as_nanos())
}

/// As many quotas are exact as fit, earlier ones first; then nanoseconds; and the unit is as fine as the range allows.
fn the_unit_fits(base: &TimeBase, quotas: &[Quota]) {
    // A year back and ten ahead, in what the largest debt leaves of a stamp.
    let finest = u128::from(LATEST / ((366 + 3_653) * 86_400));
    let units = u128::from(base.units_per_second());
    let mut common = 1;
    for needed in quotas.iter().map(divisor).chain([u128::from(SECOND)]) {
        let both = common / gcd(common, needed) * needed;
        if both <= finest {
            common = both;
        }
    }
    assert!(units.is_multiple_of(common), "{units} units do not divide by {common}");
    assert!(units <= finest && units + common > finest, "{units} units, where {finest} fit, in steps of {common}");
    assert_eq!(base.is_whole(), common.is_multiple_of(u128::from(SECOND)));
}

/// Where a window is a whole number of units, it begins at whole multiples of itself since the clock's zero.
fn windows_are_aligned(base: &TimeBase, quotas: &[Quota], start: u64) {
    for period in quotas.iter().map(|quota| u64::try_from(quota.period().as_nanos()).unwrap()) {
        let window = base.span(period);
        let product = u128::from(period) * u128::from(base.units_per_second());
        assert_eq!(window, product.div_ceil(u128::from(SECOND)));
        let is_whole = product.is_multiple_of(u128::from(SECOND));
        let Ok(window) = u64::try_from(window) else { continue };
        let Some(begin) = (start / period + 1).checked_mul(period).filter(|_| is_whole) else { continue };
        let phase = base.phase(window);
        assert!(phase < window);
        let stamp = base.units(Instant::from_nanos(begin));
        if begin - start < 300 * DAY && begin < u64::MAX - SECOND {
            assert_eq!((stamp + phase) % window, 0, "{period} ns from {begin} ns on");
        }
    }
}

/// The time base as a straight line through its start, in arithmetic wide enough for all of it.
struct Line<'a> {
    base: &'a TimeBase,
    start: u64,
    at_start: u64,
}

impl<'a> Line<'a> {
    fn new(base: &'a TimeBase, start: u64) -> Self {
        // A whole second is a whole number of units: nothing is rounded there.
        let start = start / SECOND * SECOND;
        let line = Self { base, start, at_start: base.units(Instant::from_nanos(start)) };
        // A year back and ten ahead are in the range, as far as there is such an instant.
        for end in
            [start.saturating_sub(365 * DAY), start.saturating_add(3_652 * DAY).min(u64::MAX - SECOND).max(start)]
        {
            assert_eq!(i128::from(line.units(end)), line.exact(end), "the end of the range at {end} ns");
        }
        assert!(line.units(0) > 0 && line.units(0).is_multiple_of(base.units_per_second()));
        assert!(line.units(u64::MAX) <= LATEST);
        line
    }

    fn units(&self, now: u64) -> u64 {
        self.base.units(Instant::from_nanos(now))
    }

    /// The floor, were there no ends.
    fn exact(&self, now: u64) -> i128 {
        let since = i128::from(now) - i128::from(self.start);
        let units = i128::from(self.base.units_per_second());
        i128::from(self.at_start) + (since * units).div_euclid(i128::from(SECOND))
    }

    fn judge(&self, now: u64, ahead: u64) {
        let (first, last) = (self.units(0), self.units(u64::MAX));
        let units = self.units(now);
        assert_eq!(i128::from(units), self.exact(now).clamp(first.into(), last.into()), "{now} ns");
        let target = units + ahead;
        // From before the range, and for what lies beyond it, there is no such instant.
        if self.exact(now) >= first.into() && target <= last {
            let wait = self.base.nanos_until(Instant::from_nanos(now), target);
            assert!(self.units(now + wait) >= target, "{target} not reached {wait} ns after {now} ns");
            assert!(wait == 0 || self.units(now + wait - 1) < target, "{target} reached within {wait} ns of {now} ns");
        }
    }
}

/// Every field of a word holds what was last written to it, whatever was written to the others.
fn fields_are_apart(bits: u64, steps: &[Step]) {
    let mut word: Word = bytemuck::cast(bits);
    let (mut state, mut generation, mut overdrawn, mut stamp) = (
        match bits >> 62 {
            0 => State::Live,
            1 => State::Dead,
            2 => State::Claimed,
            _ => State::Pending,
        },
        bits >> 61 & 1 == 1,
        bits >> 60 & 1 == 1,
        bits & Word::MAX_STAMP,
    );
    for step in steps {
        word = match *step {
            Step::Live { stamp: to, overdrawn: past_empty } => {
                (state, overdrawn, stamp) = (State::Live, past_empty, to.0 & Word::MAX_STAMP);
                word.live(Balance { stamp, overdrawn })
            }
            // At the end of the range there is no claim.
            Step::Claim { .. } if stamp == Word::MAX_STAMP => continue,
            Step::Claim { later } => {
                (state, generation, stamp) =
                    (State::Claimed, !generation, stamp.saturating_add(later.0.max(1)).min(Word::MAX_STAMP));
                word.claimed(stamp)
            }
            Step::Pending => {
                state = State::Pending;
                word.pending()
            }
            Step::Dead => {
                state = State::Dead;
                word.dead()
            }
            Step::At { stamp: to } => {
                stamp = to.0 & Word::MAX_STAMP;
                word.at(stamp)
            }
        };
        assert_eq!((word.state(), word.stamp(), word.is_overdrawn()), (state, stamp, overdrawn), "after {step:?}");
        assert_eq!(word.balance(), Balance { stamp, overdrawn });
        let bits: u64 = bytemuck::cast(word);
        assert_eq!(bits >> 61 & 1 == 1, generation, "the generation after {step:?}");
    }
}
