//! What long runs show while they run.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use tollgate::clock::{Clock, ExactClock};

/// 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Says now and then on standard error how far a run has come; a quiet one says nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: ExactClock,
    start: u64,
    shown: u64,
    total: u64,
    what: &'static str,
    quiet: bool,
}

impl Progress {
    pub(crate) fn new(total: u64, what: &'static str, quiet: bool) -> Self {
        let clock = ExactClock::from_os();
        let start = clock.now().as_nanos();
        Self { clock, start, shown: start, total, what, quiet }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.now().as_nanos() - self.start)
    }

    pub(crate) fn show(&mut self, done: u64, at: impl Display) {
        const MILLI: u64 = 1_000_000;
        let (now, terminal) = (self.clock.now().as_nanos(), stderr().is_terminal());
        let pause = if terminal { 200 * MILLI } else { 5_000 * MILLI };
        if self.quiet || now - self.shown < pause {
            return;
        }
        self.shown = now;
        let rate = 1_000 * u128::from(done) / u128::from((now - self.start) / MILLI);
        let rate = grouped(u64::try_from(rate).unwrap_or(u64::MAX));
        let (start, end) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let (percent, total, what) = ((100 * done / self.total).min(100), grouped(self.total), self.what);
        eprint!("{start}{percent:3} %  {} of {total} {what}, {rate} a second; {at}{end}", grouped(done));
    }
}
