//! What is said on standard error of an upstream that fails: why, and at most once a second for each kind of failure.

use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::proxy::coarse_clock;
use crate::values::origin::Origin;
use crate::values::output;

/// Milliseconds between two lines of one kind.
const PAUSE: u64 = 1_000;

/// Kinds of failure; the next line of one kind tells how many there were since the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No connection.
    Connect,
    /// The request was sent, and what came was no answer.
    Answer,
    /// The request was sent, and nothing came in time.
    Silence,
    /// The answer broke off.
    Body,
    /// A health check was not answered well.
    Check,
    /// It was not asked: there are as many connections to it as there may be.
    Full,
}

/// An upstream has as many connections as it may.
#[derive(Debug)]
pub(crate) struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as much is under way to it as `bounds.upstream_connections` allows")
    }
}

impl StdError for Full {}

/// When each kind was last spoken of, and how often it has been passed over since. All orderings are relaxed: who wins the
/// exchange speaks, and the counts are for people.
#[derive(Debug, Default)]
pub(crate) struct Complaints([(AtomicU64, AtomicU64); 6]);

impl Complaints {
    /// Says that `origin` has failed, and by which error, unless that was said a moment ago.
    pub(crate) fn tell(&self, origin: &Origin, cause: Cause, error: &dyn StdError) {
        let Some(unsaid) = self.may_speak(cause, coarse_clock::now()) else { return };
        let mut line = format!("upstream {origin}: ");
        // Writing to memory cannot fail.
        let _ = write!(line, "{}: {}", cause.words(), output::printable(&chain(error)));
        if unsaid > 0 {
            let _ = write!(line, " (and {unsaid} more of these since the last line)");
        }
        output::complain(&line);
    }

    /// How many have been passed over, if it is time to speak again.
    fn may_speak(&self, cause: Cause, now: u64) -> Option<u64> {
        let (last, unsaid) = match cause {
            Cause::Connect => &self.0[0],
            Cause::Answer => &self.0[1],
            Cause::Silence => &self.0[2],
            Cause::Body => &self.0[3],
            Cause::Check => &self.0[4],
            Cause::Full => &self.0[5],
        };
        let before = last.load(Relaxed);
        let is_time = before == 0 || now.saturating_sub(before) >= PAUSE;
        if is_time && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok() {
            return Some(unsaid.swap(0, Relaxed));
        }
        unsaid.fetch_add(1, Relaxed);
        None
    }
}

impl Cause {
    const fn words(self) -> &'static str {
        match self {
            Self::Connect => "cannot connect",
            Self::Answer => "no answer that is HTTP",
            Self::Silence => "no answer in time",
            Self::Body => "the answer broke off",
            Self::Check => "health check failed",
            Self::Full => "not asked",
        }
    }
}

/// An error and what caused it, each once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_speaks_once_a_second_and_tells_what_it_passed_over() {
        let complaints = Complaints::default();
        let speaks = |cause, now| complaints.may_speak(cause, now);
        assert_eq!(speaks(Cause::Connect, 5_000), Some(0));
        assert_eq!(speaks(Cause::Connect, 5_001), None);
        assert_eq!(speaks(Cause::Connect, 5_999), None);
        assert_eq!(speaks(Cause::Silence, 5_001), Some(0));
        assert_eq!(speaks(Cause::Connect, 6_000), Some(2));
        assert_eq!(speaks(Cause::Connect, 7_000), Some(0));
    }
}
