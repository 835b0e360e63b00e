//! How the exact clock gets from ticks of the processor's counter to time.
//!
//! A **line** says what time it is from one tick on, and how much a tick adds. It is good for [`LENGTH`], which is where the
//! product of its ticks and its rate leaves 64 bits; so one multiplication tells that a line has come to its end, that the
//! counter has jumped ahead, and that it was set back. Whoever finds that out compares the counter with the operating
//! system's clock and draws the next line:
//!
//! - from where the last one ended, and steeper or flatter by as much as brings it to the system's clock in one length, so that
//!   time neither stands nor goes back;
//! - from the system's clock at once, if time is far behind it, as when nobody has asked for long;
//! - or none: if the counter's rate is not what it was, the system's clock is read each time, and never shows less than was
//!   shown before, until two lengths in a row agree on a rate.
//!
//! There are two places for lines, and a count of the lines drawn, whose parity says which is in use. A line is drawn in the
//! other place and then counted. A reader reads the count, the line and the count again; it starts over if it was overtaken
//! by a whole new line. One thread at a time draws: it alone has the **pen**, which nobody waits for. Who does not get it, or
//! finds that its owner has stopped, goes on by the old line, slower, or by the system's clock.

use crate::arith::narrow;
use crate::process::Process;
use crate::sync::{Atomic, Ordering, Retry};

/// What time is made of.
pub(crate) trait Source {
    /// The counter, which goes forward at a steady rate, unless it does not.
    fn ticks(&self) -> u64;
    /// The operating system's clock, in nanoseconds: it never goes back.
    fn os_nanos(&self) -> u64;
}

/// Binary places of the nanoseconds a tick takes: a thousandth of a millionth of a counter's rate, or better.
pub(crate) const PLACES: u32 = 34;
/// How long a line is good for: 1.07 s.
pub(crate) const LENGTH: u64 = 1 << (64 - PLACES);
/// When a line may begin: time ends in the year 2554, and nothing is shown after it.
const LATEST: u64 = u64::MAX - LENGTH;
/// By how much a line may be steeper or flatter than the counter's rate, and by how much two measurements of that may differ:
/// one part in this many. Of a length, 4 ms.
const SLACK: u64 = 256;
/// By how much time is slower, at least, between the end of a line and the next one: one part in this many. It is more than
/// two lines that follow each other can differ by, so the next one is never behind what was shown meanwhile.
const PAUSE: u128 = 64;
/// The rate of a line that is none: every product but that of the tick it begins with is too large.
const NONE: u64 = u64::MAX;
/// Nanoseconds a tick takes: from those of a counter of 1 THz to those of one of 1 kHz.
const RATES: core::ops::RangeInclusive<u64> = 1 << 24..=1 << 54;

/// The counter and the system's clock at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) ticks: u64,
    pub(crate) os: u64,
    /// The instant is off by so many nanoseconds at most.
    pub(crate) width: u64,
}

impl Reading {
    /// The sharpest of a few: a thread may be kept from running between two clocks.
    pub(crate) fn take(source: &impl Source) -> Self {
        let mut before = source.os_nanos();
        let mut best: Option<Self> = None;
        for _ in 0..8 {
            let (ticks, os) = (source.ticks(), source.os_nanos());
            let width = os.saturating_sub(before);
            if best.is_none_or(|best| width < best.width) {
                best = Some(Self { ticks, os, width });
            }
            if width < 250 {
                break;
            }
            before = os;
        }
        best.expect("eight readings were taken")
    }

    /// The nanoseconds a tick has taken since an earlier reading, with [`PLACES`]; `None` if no counter is like that.
    pub(crate) fn rate_since(&self, earlier: &Self) -> Option<u64> {
        let (ticks, passed) = (self.ticks.wrapping_sub(earlier.ticks), self.os.saturating_sub(earlier.os));
        let rate = (u128::from(passed) << PLACES).checked_div(u128::from(ticks))?;
        u64::try_from(rate).ok().filter(|rate| RATES.contains(rate))
    }

    /// Whether a rate measured since then is good to one part in a million.
    const fn is_sharp_since(&self, earlier: &Self) -> bool {
        self.width <= self.os.saturating_sub(earlier.os) >> 20
    }
}

/// What a line is drawn from, beside the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    from: u64,
    shows: u64,
    rate: u64,
    /// Since when the rate is measured.
    since: Reading,
    /// The counter's own rate as last measured; zero if it is none that a counter has.
    known: u64,
}

impl Line {
    const fn is_none(&self) -> bool {
        self.rate == NONE
    }

    /// The nanoseconds from where the line begins, beyond its end as well.
    const fn along(&self, ticks: u64) -> u128 {
        (ticks.wrapping_sub(self.from) as u128 * self.rate as u128) >> PLACES
    }

    /// What is shown when the line has ended and the next is not there yet. No less than anybody has been shown, and no more
    /// than the next line shows.
    fn meanwhile(&self, ticks: u64, os: u64) -> u64 {
        if self.is_none() {
            // If time is ahead of the system's clock, half as fast until it is not.
            return os.max(self.shows.saturating_add(os.saturating_sub(self.since.os) / 2));
        }
        let beyond = self.along(ticks).saturating_sub(u128::from(LENGTH));
        // And 3 ns less, which is more than all that is rounded.
        let beyond = (beyond - beyond / PAUSE).saturating_sub(3);
        let slower = u128::from(self.shows) + u128::from(LENGTH) + beyond;
        // Further ahead nobody has been: the counter has jumped, or was set back, which looks like a long way ahead.
        if slower > u128::from(os) + u128::from(LENGTH) { self.shows } else { slower.try_into().unwrap_or(u64::MAX) }
    }

    /// The next line.
    fn next(&self, now: Reading) -> Self {
        let slack = LENGTH / SLACK;
        let straight = u128::from(self.shows) + self.along(now.ticks);
        let shows = match u64::try_from(straight) {
            Ok(straight) if !self.is_none() && straight.abs_diff(now.os) <= slack => straight,
            _ => self.meanwhile(now.ticks, now.os).max(now.os),
        };
        let measured = now.rate_since(&self.since).unwrap_or(0);
        let agrees = measured != 0 && measured.abs_diff(self.known) <= self.known / SLACK;
        if !agrees || shows > now.os.saturating_add(slack) || shows > LATEST {
            // No counter has the rate of one that was set back: that says nothing of the rate it goes on with.
            return Self::none(now, shows, if measured == 0 { self.known } else { measured });
        }
        // A reading that is not sharp waits for a longer way, over which it is.
        let (since, known) = if now.is_sharp_since(&self.since) { (now, measured) } else { (self.since, self.known) };
        // In one length from what is shown to what the system's clock will show: one part in 256 off the length at most, so
        // this is no less than zero, and the rate fits.
        let way = u128::from(LENGTH) + u128::from(now.os) - u128::from(shows);
        let rate = narrow((u128::from(known) * way) >> (64 - PLACES));
        Self { from: now.ticks, shows, rate, since, known }
    }

    /// No line, from this reading on.
    fn none(now: Reading, shows: u64, known: u64) -> Self {
        // Half of all ticks away: the product never fits.
        Self { from: now.ticks.wrapping_add(1 << 63), shows, rate: NONE, since: now, known }
    }
}

/// Two lines, and which of them is in use. What every reading needs is in one cache line, written once a second.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Timeline {
    /// How many lines were drawn after the first.
    drawn: Atomic<u64>,
    from: [Atomic<u64>; 2],
    shows: [Atomic<u64>; 2],
    rate: [Atomic<u64>; 2],
    /// The process in which a thread is drawing, or zero.
    pen: Atomic<u64>,
    since: [[Atomic<u64>; 2]; 2],
    known: [Atomic<u64>; 2],
}

impl Timeline {
    /// From this reading on, with this many nanoseconds a tick ([`PLACES`]); by the system's clock alone if that is `None`.
    pub(crate) fn new(now: Reading, rate: Option<u64>) -> Self {
        let line = match rate.filter(|rate| RATES.contains(rate) && now.os <= LATEST) {
            Some(rate) => Line { from: now.ticks, shows: now.os, rate, since: now, known: rate },
            None => Line::none(now, now.os, 0),
        };
        let both = |value| [Atomic::new(value), Atomic::new(value)];
        Self {
            drawn: Atomic::new(0),
            from: both(line.from),
            shows: both(line.shows),
            rate: both(line.rate),
            pen: Atomic::new(0),
            since: [both(line.since.ticks), both(line.since.os)],
            known: both(line.known),
        }
    }

    /// What time it is.
    #[inline]
    pub(crate) fn nanos(&self, source: &impl Source) -> u64 {
        // Acquire, with the swap in `draw`: a thread that observes a line counted also observes it whole. Model: timeline.
        let drawn = self.drawn.load(Ordering::Acquire);
        let place = place(drawn);
        // Acquire, all three, with the stores in `draw`: a thread that observes a part of the line after next also observes the next one counted, and
        // so that this one is gone. Model: timeline.
        let from = self.from[place].load(Ordering::Acquire);
        let shows = self.shows[place].load(Ordering::Acquire);
        let rate = self.rate[place].load(Ordering::Acquire);
        match source.ticks().wrapping_sub(from).checked_mul(rate) {
            // The sum fits: no line begins later than `LATEST`.
            Some(along) if self.still(drawn) => shows + (along >> PLACES),
            _ => self.beyond(source),
        }
    }

    /// Whether there is a line, and not the system's clock in its place.
    pub(crate) fn is_line(&self) -> bool {
        !self.line().1.is_none()
    }

    #[cfg(tollgate_model)]
    pub(crate) fn drawn(&self) -> u64 {
        // Acquire: asked once the threads are joined, which orders it. No model: a model asks.
        self.drawn.load(Ordering::Acquire)
    }

    /// Whether no line was drawn since.
    #[inline]
    fn still(&self, drawn: u64) -> bool {
        // Relaxed: ordered after the parts of the line by their Acquire, and only compared. Partner: the swap in `draw`. Model:
        // timeline.
        self.drawn.load(Ordering::Relaxed) == drawn
    }

    /// The line in use, and which it is.
    fn line(&self) -> (u64, Line) {
        let retry = Retry::new();
        loop {
            retry.again(0);
            // Acquire, all, with the stores in `draw`: as in `nanos`. Model: timeline.
            let drawn = self.drawn.load(Ordering::Acquire);
            let of = |parts: &[Atomic<u64>; 2]| parts[place(drawn)].load(Ordering::Acquire);
            let since = Reading { ticks: of(&self.since[0]), os: of(&self.since[1]), width: 0 };
            let (from, shows, rate) = (of(&self.from), of(&self.shows), of(&self.rate));
            let line = Line { from, shows, rate, since, known: of(&self.known) };
            if self.still(drawn) {
                return (drawn, line);
            }
        }
    }

    /// The line has ended, or another thread has drawn the next, or there is none.
    #[cold]
    #[inline(never)]
    fn beyond(&self, source: &impl Source) -> u64 {
        let (drawn, line) = self.line();
        let (ticks, os) = (source.ticks(), source.os_nanos());
        if line.is_none() {
            if os.saturating_sub(line.since.os) < LENGTH {
                return line.meanwhile(ticks, os);
            }
        } else {
            let along = ticks.wrapping_sub(line.from);
            if let Some(along) = along.checked_mul(line.rate) {
                return line.shows + (along >> PLACES);
            }
            // The counter of another core, a little behind: less than a line may be off.
            let behind = line.from.wrapping_sub(ticks);
            if behind.checked_mul(line.rate).is_some_and(|behind| behind >> PLACES < LENGTH / SLACK) {
                return line.shows;
            }
        }
        if self.take_pen() {
            let shown = self.still(drawn).then(|| self.draw(drawn, &line.next(Reading::take(source))));
            self.put_pen_down();
            if let Some(shown) = shown {
                return shown;
            }
        }
        // Not less than the system's clock by more than the next line may be, if that begins with it.
        line.meanwhile(ticks, os).max(os.saturating_sub(LENGTH / SLACK))
    }

    /// Takes the pen, if no thread of this process has it: one that had it when the process was forked is not here.
    fn take_pen(&self) -> bool {
        let here = Process::current().bits();
        // Relaxed, here and if the exchange fails: only a guess at what that will find. Model: timeline.
        let owner = self.pen.load(Ordering::Relaxed);
        // Acquire, with the swap in `put_pen_down`: the lines of its last owner come before what is drawn with it. Model:
        // timeline.
        owner != here && self.pen.compare_exchange(owner, here, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn put_pen_down(&self) {
        // Release, with the exchange in `take_pen`: carries what was drawn. Model: timeline.
        self.pen.swap(0, Ordering::Release);
    }

    /// By the owner of the pen: puts a line in the place that is not in use, then into use. Returns what it shows at first.
    fn draw(&self, drawn: u64, line: &Line) -> u64 {
        let next = drawn.wrapping_add(1);
        // Release, all, with the loads in `nanos` and `line`: a part carries the count of the line before it, so that a reader
        // a thread that observes it knows its own line to be gone. Model: timeline.
        let set = |parts: &[Atomic<u64>; 2], value| parts[place(next)].store(value, Ordering::Release);
        set(&self.from, line.from);
        set(&self.shows, line.shows);
        set(&self.rate, line.rate);
        set(&self.since[0], line.since.ticks);
        set(&self.since[1], line.since.os);
        set(&self.known, line.known);
        // Release, with the load in `nanos`: carries the line. Model: timeline.
        let before = self.drawn.swap(next, Ordering::Release);
        debug_assert_eq!(before, drawn, "two have drawn at once");
        line.shows
    }
}

/// Where a line is.
#[inline]
fn place(drawn: u64) -> usize {
    usize::from(drawn & 1 != 0)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MILLI: u64 = 1_000_000;
    /// A counter of 2.5 GHz.
    const RATE: u64 = (1 << PLACES) * 2 / 5;

    /// A counter and a clock that a test moves.
    struct Fake {
        /// In thousandths of a tick.
        counter: Cell<u128>,
        os: Cell<u64>,
        /// Ticks in a thousand nanoseconds.
        speed: Cell<u64>,
        /// What a reading of the system's clock takes.
        cost: u64,
    }

    impl Fake {
        fn at(ticks: u64, os: u64) -> Self {
            Self { counter: Cell::new(u128::from(ticks) * 1_000), os: Cell::new(os), speed: Cell::new(2_500), cost: 40 }
        }

        fn pass(&self, nanos: u64) {
            self.counter.set(self.counter.get() + u128::from(nanos) * u128::from(self.speed.get()));
            self.os.set(self.os.get().saturating_add(nanos));
        }

        fn jump(&self, ticks: u64) {
            self.counter.set(self.counter.get() + u128::from(ticks) * 1_000);
        }
    }

    impl Source for Fake {
        fn ticks(&self) -> u64 {
            narrow(self.counter.get() / 1_000 % (1 << 64))
        }

        fn os_nanos(&self) -> u64 {
            self.pass(self.cost);
            self.os.get()
        }
    }

    struct Clock {
        timeline: Timeline,
        fake: Fake,
        last: u64,
    }

    impl Clock {
        fn new(fake: Fake, rate: u64) -> Self {
            let timeline = Timeline::new(Reading::take(&fake), Some(rate));
            Self { timeline, last: fake.os.get(), fake }
        }

        /// How far what is shown is ahead of the system's clock.
        fn ahead(&mut self) -> i64 {
            let shown = self.timeline.nanos(&self.fake);
            assert!(shown >= self.last, "{} ns back", self.last - shown);
            self.last = shown;
            i64::try_from(i128::from(shown) - i128::from(self.fake.os.get())).unwrap()
        }

        /// Reads every tenth of a millisecond, and returns how far it was off at most.
        fn run(&mut self, nanos: u64) -> u64 {
            let step = MILLI / 10;
            let off = (0..nanos / step).map(|_| {
                self.fake.pass(step);
                let before = self.last;
                let off = self.ahead().unsigned_abs();
                assert!(self.last > before || off > LENGTH / 2, "time stands still, {off} ns off");
                off
            });
            off.max().unwrap_or(0)
        }

        /// The same when something was done to the counter: then the time may go back, once.
        fn shaken(&mut self) {
            self.last = 0;
        }
    }

    fn clock() -> Clock {
        Clock::new(Fake::at(7 * SECOND, 1_800_000_000 * SECOND), RATE)
    }

    #[test]
    fn a_rate_that_is_off_is_repaired_without_a_step() {
        // As far off as passes the test of the counter, to either side, and not at all.
        for rate in [RATE - RATE / 1_000, RATE, RATE + RATE / 1_000] {
            let mut clock = Clock::new(Fake::at(7, 1_800_000_000 * SECOND), rate);
            assert!(clock.run(SECOND) <= 1_001_000);
            // It is led back, not set: nobody sees more than one part in 128 of a step.
            for _ in 0..40_000 {
                let before = clock.last;
                clock.fake.pass(50_000);
                clock.ahead();
                assert!((49_500..50_500).contains(&(clock.last - before)), "{} of 50,000 ns", clock.last - before);
            }
            assert!(clock.run(100 * SECOND) <= 2_000, "{rate}");
            assert!(clock.timeline.is_line());
        }
    }

    #[test]
    fn a_rate_that_drifts_is_followed() {
        let mut clock = clock();
        for speed in (2_500..2_520).chain((2_480..2_520).rev()) {
            clock.fake.speed.set(speed);
            // A step of the rate by one in 2,500, which is 0.4 ms until it is known.
            let off = clock.run(4 * SECOND);
            assert!(off <= 500_000, "{off} ns off at {speed}");
            assert!(clock.run(SECOND) <= 2_000 && clock.timeline.is_line());
        }
    }

    #[test]
    fn a_rate_is_measured_sharply() {
        let first = Reading { ticks: 0, os: 0, width: 0 };
        let line = Line { from: 0, shows: 0, rate: RATE, since: first, known: RATE };
        // A millisecond late after a second, and on time after two: 5 G ticks.
        let late = line.next(Reading { ticks: 5 * SECOND / 2, os: SECOND + MILLI, width: MILLI });
        assert_eq!((late.known, late.since), (RATE, first));
        let sharp = Reading { ticks: 5 * SECOND, os: 2 * SECOND + 2, width: 100 };
        let next = late.next(sharp);
        assert_eq!((next.known, next.since), (sharp.rate_since(&first).unwrap(), sharp));
        assert!(next.known.abs_diff(RATE) <= RATE >> 20);
    }

    #[test]
    fn who_comes_back_late_finds_the_time() {
        for idle in [2, 10, 3_600, 100_000_000] {
            let mut clock = Clock::new(Fake::at(7, 1_800_000_000 * SECOND), RATE + RATE / 1_000);
            clock.fake.pass(idle * SECOND);
            assert!(clock.ahead().abs() <= 4 * MILLI.cast_signed() + 200_000, "after {idle} s");
            clock.run(SECOND);
            assert!(clock.run(2 * SECOND) <= 4 * MILLI, "after {idle} s");
            assert!(clock.run(2 * SECOND) <= 2_000, "after {idle} s");
        }
    }

    #[test]
    fn a_counter_that_is_set_back_holds_nobody_up() {
        // By so many ticks, of 0.4 ns: 40 ms, 0.4 s, 40 s, a day, and all the way.
        for back in [100 * MILLI, SECOND, 100 * SECOND, 216_000 * SECOND, u64::MAX / 2 + 1] {
            let mut clock = clock();
            clock.run(10_300 * MILLI);
            clock.fake.jump(0_u64.wrapping_sub(back));
            clock.shaken();
            // Within a line it is not seen at once.
            assert!(clock.run(LENGTH + SECOND / 2) <= back.min(LENGTH * 5 / 2) * 2 / 5 + 10_000);
            clock.shaken();
            assert!(clock.run(SECOND) <= 10_000, "set back by {back}");
            assert!(clock.run(4 * SECOND) <= 10_000, "set back by {back}");
            assert!(clock.timeline.is_line(), "set back by {back}: the counter is as good as before");
        }
    }

    #[test]
    fn a_counter_that_jumps_or_stops_is_found_out() {
        type Shake = fn(&Fake);
        let shakes: [(&str, Shake); 5] = [
            ("jumps by 0.4 s", |fake| fake.jump(SECOND)),
            ("jumps by an hour", |fake| fake.jump(9_000 * SECOND)),
            ("jumps half of all the way", |fake| fake.jump(1 << 63)),
            ("stops for 10 s", |fake| fake.os.set(fake.os.get() + 10 * SECOND)),
            ("goes half as fast", |fake| fake.speed.set(1_250)),
        ];
        for (name, shake) in shakes {
            let mut clock = clock();
            clock.run(10_300 * MILLI);
            shake(&clock.fake);
            clock.run(3 * LENGTH);
            // Ahead by no more than a length, it has been going half as fast: that is over.
            assert!(clock.run(3 * LENGTH) <= 10_000, "{name}");
            assert!(clock.run(10 * SECOND) <= 10_000, "{name}");
            assert!(clock.timeline.is_line(), "{name}: the counter is as good as before");
        }
    }

    #[test]
    fn a_counter_that_never_settles_is_not_used() {
        let mut clock = clock();
        clock.run(2 * SECOND);
        for round in 0..50 {
            clock.fake.speed.set(1_000 + 1_500 * (round % 2));
            clock.run(SECOND);
        }
        assert!(!clock.timeline.is_line());
        assert!(clock.run(SECOND) <= 100);
    }

    #[test]
    fn ticks_wrap_and_time_ends() {
        // The counter comes to its end in the middle of a line, and starts over.
        let mut clock = Clock::new(Fake::at(u64::MAX - SECOND, 1_800_000_000 * SECOND), RATE);
        assert!(clock.run(10 * SECOND) <= 2_000 && clock.timeline.is_line());
        // Of time there is nothing after the end.
        for left in [0, LENGTH - 1, LENGTH, 3 * LENGTH] {
            let fake = Fake::at(0, u64::MAX - left);
            let timeline = Timeline::new(Reading::take(&fake), Some(RATE));
            let mut last = 0;
            for _ in 0..1_000 {
                fake.pass(10 * MILLI);
                let shown = timeline.nanos(&fake);
                assert!(shown >= last);
                last = shown;
            }
            assert_eq!(last, u64::MAX);
        }
    }

    #[test]
    fn counters_of_every_rate() {
        // From 1 MHz to 100 GHz; a tick of a slow one is off by as much as it takes.
        for speed in [1, 19, 1_000, 100_000] {
            let fake = Fake::at(3, 1_800_000_000 * SECOND);
            fake.speed.set(speed);
            let rate = (1 << PLACES) / speed * 1_000;
            let mut clock = Clock::new(fake, rate);
            clock.run(SECOND);
            assert!(clock.run(3 * SECOND) <= 10_000, "{speed} ticks in 1,000 ns");
        }
    }

    #[test]
    fn a_pen_that_is_not_given_back_holds_nobody_up() {
        let mut clock = Clock::new(Fake::at(7, 1_800_000_000 * SECOND), RATE + RATE / 1_000);
        assert!(clock.timeline.take_pen());
        assert!(!clock.timeline.take_pen());
        // By the line, then slower than it, and never far behind the system's clock.
        assert!(clock.run(20 * SECOND) <= 5 * MILLI);
        clock.fake.jump(0_u64.wrapping_sub(SECOND * 100));
        clock.shaken();
        assert!(clock.run(10 * SECOND) <= 5 * MILLI);
    }

    #[test]
    fn who_reads_while_a_line_is_drawn_sees_no_step_back() {
        for rate in [RATE - RATE / 1_000, RATE, RATE + RATE / 1_000] {
            // How often the others read while the one who draws is kept from running, and every how many nanoseconds.
            for (kept, step) in [(0, 0), (3, 1), (20, 1), (1_000, 1), (300, 1_000), (200, 100_000)] {
                let mut clock = Clock::new(Fake { cost: 0, ..Fake::at(7, 1_800_000_000 * SECOND) }, rate);
                for _ in 0..3 {
                    clock.run(LENGTH - 6 * MILLI);
                    let (drawn, line) = clock.timeline.line();
                    while line.along(clock.fake.ticks()) < u128::from(LENGTH) {
                        clock.fake.pass(17);
                    }
                    assert!(clock.timeline.take_pen());
                    let next = line.next(Reading::take(&clock.fake));
                    for _ in 0..kept {
                        clock.fake.pass(step);
                        clock.ahead();
                    }
                    clock.timeline.draw(drawn, &next);
                    clock.timeline.put_pen_down();
                    // Also by the reading that the line begins with.
                    for _ in 0..3 {
                        clock.ahead();
                    }
                }
            }
        }
    }

    #[test]
    fn a_pen_of_another_process_is_taken() {
        let mut clock = clock();
        // Relaxed: there is one thread. No model: a test.
        clock.timeline.pen.swap(Process::current().bits() ^ 1 << 40, Ordering::Relaxed);
        clock.run(10 * SECOND);
        // Relaxed: as above.
        assert!(clock.timeline.drawn.load(Ordering::Relaxed) > 5);
    }

    #[test]
    fn without_a_counter_it_is_the_systems_clock() {
        let fake = Fake::at(0, SECOND);
        fake.speed.set(0);
        let timeline = Timeline::new(Reading::take(&fake), None);
        for _ in 0..100_000 {
            fake.pass(MILLI / 10);
            assert!(timeline.nanos(&fake).abs_diff(fake.os.get()) <= 1_000 && !timeline.is_line());
        }
    }
}
