//! The rate string: a quota as people write it, such as `10/minute` or `100 per 5 seconds burst 20`. Reading and
//! printing both live here, so that they can be seen to agree.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::quota::{Algorithm, Quota, WindowStart};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// The name a unit is printed by, its other spellings, and its length in nanoseconds.
type Unit = (&'static str, &'static [&'static str], u64);

const SECONDS: Unit = ("second", &["seconds", "sec", "secs", "s"], SECOND);
const NANOSECOND: Unit = ("nanosecond", &["nanoseconds", "ns"], 1);

/// Printing takes the first unit that divides the period. The nanosecond always does, so what follows it is only read.
const UNITS: [Unit; 10] = [
    ("day", &["days", "d"], DAY),
    ("hour", &["hours", "hr", "hrs", "h"], 3_600 * SECOND),
    ("minute", &["minutes", "min", "mins", "m"], 60 * SECOND),
    SECONDS,
    ("millisecond", &["milliseconds", "ms"], 1_000_000),
    ("microsecond", &["microseconds", "us"], 1_000),
    NANOSECOND,
    ("week", &["weeks", "w"], 7 * DAY),
    ("month", &["months"], 30 * DAY),
    ("year", &["years"], 360 * DAY),
];

// What an error says was expected; bounds are spelled out.
const AMOUNT: &str = "an amount (digits), `unlimited` or `blocked`";
const AMOUNT_BOUND: &str = "an amount of at most 18446744073709551615";
const PER: &str = "`/` or `per`";
const UNIT: &str = "a unit (second, minute, hour, day, week, month, year, ms, us, ns)";
const PERIOD_BOUND: &str = "a period of at most 3660 days";
const BURST: &str = "a burst (digits)";
const BURST_BOUND: &str = "a burst of at most 18446744073709551615";
const DEBT: &str = "a debt, such as `30 seconds`";
const DEBT_BOUND: &str = "a debt of at most 18446744073709551615.999999999 seconds";
const ALGORITHM: &str =
    "an algorithm (token-bucket, leaky-bucket, leaky-queue, fixed-window, sliding-window, sliding-log)";
const SEPARATOR: &str = "a separator (`,`, `;` or `|`) or the end";
const SINGLE_END: &str = "the end of a single rate";
const _: () = assert!(Quota::MAX_PERIOD.as_secs() == 3_660 * 86_400);

/// The most characters of the input, and of what was found in it, that an error keeps.
const MAX_EXCERPT: usize = 80;
const MAX_FOUND: usize = 30;

/// Parses a list of rates, such as `100/second; 5000/hour`, in the order written; never an empty list.
///
/// ```text
/// list   = rate *( [":"] ( "," / ";" / "|" ) rate )
/// rate   = "unlimited" / "blocked" / amount ( "/" / "per" ) [multiple] unit *setting
/// setting = "burst" ["="] amount                 ; each at most once,
///         / "debt" ["="] amount unit             ; in any order
///         / "as" ["="] algorithm
///         / "first-hit" / "refused-counted"      ; of fixed windows
/// unit   = second, minute, hour, day, week, month or year, with or without a final "s", or a short form:
///          s sec secs, m min mins, h hr hrs, d, w,
///          ms millisecond(s), us microsecond(s), ns nanosecond(s)
/// algorithm = token-bucket, leaky-bucket, leaky-queue, fixed-window, sliding-window or sliding-log
/// ```
///
/// Amounts and multiples are runs of the digits 0 to 9. Letters may be of either case (`5/M` is per minute). White
/// space may stand around any of these parts; it must only between a unit and the setting after it. A month has 30 days
/// and a year 360; a multiple of 0 means 1, but a debt of 0 is none. Without `burst`, the burst is the amount; without
/// `debt`, see [`Quota::with_max_debt`]; without `as`, it is a [token bucket](crate::Algorithm::TokenBucket);
/// `first-hit` and `refused-counted` are [`Quota::with_window_start`] and [`Quota::with_refused_counted`].
/// `unlimited` is [`Quota::unlimited`], `blocked` is [`Quota::blocked`]; no other word, and no missing one, means either.
///
/// This takes every string that the Python package `limits` 5.8 takes (Flask-Limiter and slowapi use its notation), its
/// white space and its stray `:` before a separator included, and reads it as the same amounts and periods, but for the
/// bounds below, which Python does not have. The week, the units below a second, the short forms, the settings,
/// `unlimited` and `blocked` are additions.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Algorithm, Quota, parse_quotas};
///
/// let limits = parse_quotas("100/s burst 20; 5000 per 2 hours as fixed-window")?;
/// assert_eq!(limits[0], Quota::per_second(100).with_burst(20));
/// assert_eq!(limits[1], Quota::new(5000, Duration::from_secs(7200))?.with_algorithm(Algorithm::FixedWindow));
///
/// let error = parse_quotas("10/minute, 5/fortnight").unwrap_err();
/// assert_eq!(error.position(), 13);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the text is not such a list, an amount or burst is above [`u64::MAX`], a debt above [`Duration::MAX`], or a period
/// longer than [`Quota::MAX_PERIOD`]. What a limiter holds of these is checked when the quota meets it.
pub fn parse_quotas(text: &str) -> Result<Vec<Quota>, ParseQuotaError> {
    let mut cursor = Cursor { text, rest: text };
    let mut quotas = vec![cursor.rate()?];
    while !cursor.rest.is_empty() {
        let rest = cursor.rest.strip_prefix(':').unwrap_or(cursor.rest);
        cursor.rest = rest.strip_prefix([',', ';', '|']).ok_or_else(|| cursor.unexpected(SEPARATOR))?;
        quotas.push(cursor.rate()?);
    }
    Ok(quotas)
}

/// Parses exactly one rate; [`parse_quotas`] describes the notation and parses lists.
impl FromStr for Quota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut cursor = Cursor { text, rest: text };
        let quota = cursor.rate()?;
        if cursor.rest.is_empty() { Ok(quota) } else { Err(cursor.unexpected(SINGLE_END)) }
    }
}

/// Parses exactly one rate, as [`FromStr`] does.
impl TryFrom<&str> for Quota {
    type Error = ParseQuotaError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Parses exactly one rate, as [`FromStr`] does.
impl TryFrom<String> for Quota {
    type Error = ParseQuotaError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Prints a rate that parses back to the same quota: `10 per 1 minute`, `5 per 30 second burst 10`,
/// `10 per 1 minute burst 20 debt 30 second as leaky-bucket`, `unlimited`, `blocked`.
///
/// The unit is the largest of day, hour, minute, second and below that divides the period. The burst is printed only if it
/// differs from the count, the bound on debt only if it was set, the algorithm only if it is not the token bucket; then
/// `first-hit` and `refused-counted`.
///
/// `{:#}` leaves out the debt, the algorithm and what it counts, for whoever is told the rate and need not know how it is counted.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_short = f.alternate();
        let print = |out: &mut dyn fmt::Write| {
            if self.is_unlimited() {
                return out.write_str(UNLIMITED);
            }
            if self.is_blocked() {
                return out.write_str(BLOCKED);
            }
            write!(out, "{} per {}", self.count(), Span(self.period()))?;
            if self.burst() != self.count() {
                write!(out, " burst {}", self.burst())?;
            }
            if is_short {
                return Ok(());
            }
            if let Some(debt) = self.max_debt() {
                write!(out, " debt {}", Span(debt))?;
            }
            if self.algorithm() != Algorithm::default() {
                write!(out, " as {}", self.algorithm())?;
            }
            if self.window_start() == WindowStart::FirstHit {
                write!(out, " {FIRST_HIT}")?;
            }
            if self.counts_refused() { write!(out, " {REFUSED_COUNTED}") } else { Ok(()) }
        };
        // Only padding needs the text in one piece.
        if f.width().is_none() && f.precision().is_none() {
            return print(f);
        }
        let mut text = String::new();
        print(&mut text)?;
        f.pad(&text)
    }
}

/// The settings that are words by themselves.
const FIRST_HIT: &str = "first-hit";
const REFUSED_COUNTED: &str = "refused-counted";

/// The words that stand for a whole rate.
const UNLIMITED: &str = "unlimited";
const BLOCKED: &str = "blocked";

/// A duration as a multiple of the largest unit that divides it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let units = UNITS.iter().find(|unit| nanos.is_multiple_of(u128::from(unit.2)));
        // Nothing is a multiple of everything.
        let (unit, _, length) = if nanos == 0 { &SECONDS } else { units.unwrap_or(&NANOSECOND) };
        write!(f, "{} {unit}", nanos / u128::from(*length))
    }
}

/// A string that is not a rate, or not a list of them: where it goes wrong, what was expected there, what was found.
///
/// ```
/// use tollgate::Quota;
///
/// let error = "10/5 fortnight".parse::<Quota>().unwrap_err();
/// assert_eq!((error.position(), error.found()), (5, "fortnight"));
/// assert!(error.to_string().starts_with("at column 6 of `10/5 fortnight`: expected a unit (second, minute, "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseQuotaError {
    position: usize,
    column: usize,
    excerpt: String,
    expected: &'static str,
    found: String,
}

impl ParseQuotaError {
    /// Where in the text it goes wrong, in bytes from the start: always a character boundary.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// What would have been right there, in words; for a number that is too large, its bound.
    #[must_use]
    pub const fn expected(&self) -> &'static str {
        self.expected
    }

    /// What is there instead, cut to a readable length; empty at the end of the text.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }
}

/// One line, however long or strange the text was: `at column 4 of ...: expected ..., found ...`.
///
/// Columns count characters from 1.
impl fmt::Display for ParseQuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at column {} of {}: expected {}, found ", self.column, Quoted(&self.excerpt), self.expected)?;
        if self.found.is_empty() { f.write_str("the end") } else { Quoted(&self.found).fmt(f) }
    }
}

impl core::error::Error for ParseQuotaError {}

/// Text in backticks, with whatever would not print as itself on one line escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\'') { write!(f, "{c}")? } else { write!(f, "{}", c.escape_debug())? }
        }
        f.write_str("`")
    }
}

/// At most `max` characters of `text`, and dots if that is not all of it.
fn clip(text: &str, max: usize) -> String {
    let mut clipped: String = text.chars().take(max).collect();
    if clipped.len() < text.len() {
        clipped.push_str("...");
    }
    clipped
}

/// White space as Python's `\s` has it: Unicode's, and the four ASCII information separators.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// The text and the part of it that is still to be read.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Reads one rate and the blanks around it.
    fn rate(&mut self) -> Result<Quota, ParseQuotaError> {
        self.skip_blanks();
        let start = *self;
        for (word, quota) in [(UNLIMITED, Quota::unlimited()), (BLOCKED, Quota::blocked())] {
            // The whole word: of what only begins like one, nobody knows what it was to be.
            if self.letters().eq_ignore_ascii_case(word) && !self.rest.starts_with(char::is_alphanumeric) {
                self.skip_blanks();
                return Ok(quota);
            }
            *self = start;
        }
        let amount = self.number(AMOUNT_BOUND)?.ok_or_else(|| self.unexpected(AMOUNT))?;
        self.skip_blanks();
        if !self.word("/") && !self.word("per") {
            return Err(self.unexpected(PER));
        }
        self.skip_blanks();
        let period_start = *self;
        let multiple = self.number::<u64>(PERIOD_BOUND)?.unwrap_or(1).max(1);
        self.skip_blanks();
        let nanos = self.unit()?;
        // Only the length can be wrong: neither factor is zero, and what overflows is beyond the bound too.
        let quota = multiple.checked_mul(nanos).map(Duration::from_nanos).and_then(|p| Quota::new(amount, p).ok());
        let quota = quota.ok_or_else(|| period_start.error(self.since(period_start), PERIOD_BOUND))?;
        self.settings(quota)
    }

    /// Reads what may follow a rate, each at most once, and the blanks around it.
    fn settings(&mut self, mut quota: Quota) -> Result<Quota, ParseQuotaError> {
        let (mut burst, mut debt, mut algorithm) = (None, None, None);
        let (mut first_hit, mut refused_counted) = (false, false);
        loop {
            self.skip_blanks();
            if burst.is_none() && self.setting("burst") {
                burst = Some(self.number(BURST_BOUND)?.ok_or_else(|| self.unexpected(BURST))?);
            } else if debt.is_none() && self.setting("debt") {
                debt = Some(self.debt()?);
            } else if algorithm.is_none() && self.setting("as") {
                algorithm = Some(self.algorithm()?);
            } else if !first_hit && self.word(FIRST_HIT) {
                first_hit = true;
            } else if !refused_counted && self.word(REFUSED_COUNTED) {
                refused_counted = true;
            } else {
                break;
            }
        }
        quota = quota.with_algorithm(algorithm.unwrap_or_default());
        if let Some(burst) = burst {
            quota = quota.with_burst(burst);
        }
        if let Some(debt) = debt {
            quota = quota.with_max_debt(debt);
        }
        if first_hit {
            quota = quota.with_window_start(WindowStart::FirstHit);
        }
        Ok(quota.with_refused_counted(refused_counted))
    }

    /// Reads the name of a setting, and what may stand between it and its value, if it is next.
    fn setting(&mut self, name: &str) -> bool {
        let found = self.word(name);
        if found {
            self.skip_blanks();
            if self.word("=") {
                self.skip_blanks();
            }
        }
        found
    }

    /// Reads a debt: as long as any duration, so wider than a period.
    fn debt(&mut self) -> Result<Duration, ParseQuotaError> {
        let start = *self;
        let multiple = self.number::<u128>(DEBT_BOUND)?.ok_or_else(|| self.unexpected(DEBT))?;
        self.skip_blanks();
        let nanos = self.unit()?;
        let length = multiple.checked_mul(u128::from(nanos)).and_then(|nanos| {
            let second = u128::from(SECOND);
            let rest = u32::try_from(nanos % second).ok()?;
            Some(Duration::new(u64::try_from(nanos / second).ok()?, rest))
        });
        length.ok_or_else(|| start.error(self.since(start), DEBT_BOUND))
    }

    /// Reads the name of an algorithm.
    fn algorithm(&mut self) -> Result<Algorithm, ParseQuotaError> {
        let start = *self;
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-');
        let name = self.since(start);
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
        algorithm.ok_or_else(|| if name.is_empty() { self.unexpected(ALGORITHM) } else { start.error(name, ALGORITHM) })
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(is_blank);
    }

    /// Reads a run of digits, if one is next; `bound` says what the number cannot hold.
    fn number<N: FromStr>(&mut self, bound: &'static str) -> Result<Option<N>, ParseQuotaError> {
        let start = *self;
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        match self.since(start) {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| start.error(digits, bound)),
        }
    }

    /// Reads `word`, in either case, if it is next. It need not end there: `10per5minutes` is a rate.
    fn word(&mut self, word: &str) -> bool {
        let Some((head, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let found = head.eq_ignore_ascii_case(word);
        if found {
            self.rest = rest;
        }
        found
    }

    /// Reads a run of letters, which may be none.
    fn letters(&mut self) -> &'a str {
        let start = *self;
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        self.since(start)
    }

    /// Reads a unit, and gives its length in nanoseconds.
    fn unit(&mut self) -> Result<u64, ParseQuotaError> {
        let start = *self;
        let letters = self.letters();
        let is_named = |name: &&str| name.eq_ignore_ascii_case(letters);
        let unit = UNITS.iter().find(|(name, others, _)| is_named(name) || others.iter().any(is_named));
        unit.map(|&(_, _, nanos)| nanos).ok_or_else(|| start.unexpected(UNIT))
    }

    /// What was read since `start`, an earlier state of this cursor.
    fn since(&self, start: Self) -> &'a str {
        start.rest.get(..start.rest.len() - self.rest.len()).unwrap_or_default()
    }

    /// The error that something else than `expected` is next: a whole word, a character, or the end.
    fn unexpected(&self, expected: &'static str) -> ParseQuotaError {
        let after_word = Self { rest: self.rest.trim_start_matches(char::is_alphanumeric), ..*self };
        let after_char = self.rest.chars().next().map_or(0, char::len_utf8);
        match after_word.since(*self) {
            "" => self.error(self.rest.get(..after_char).unwrap_or_default(), expected),
            word => self.error(word, expected),
        }
    }

    /// The error that `found`, which is next, is not as `expected`.
    fn error(&self, found: &str, expected: &'static str) -> ParseQuotaError {
        let position = self.text.len() - self.rest.len();
        let before = self.text.chars().count() - self.rest.chars().count();
        // In a long text, the excerpt begins where it can still show what is wrong.
        let excerpt = match before.checked_sub(MAX_EXCERPT / 2) {
            Some(skipped) if skipped > 0 && self.text.chars().count() > MAX_EXCERPT => {
                let shown = self.text.char_indices().nth(skipped).map_or(0, |(at, _)| at);
                format!("...{}", clip(self.text.get(shown..).unwrap_or_default(), MAX_EXCERPT))
            }
            _ => clip(self.text, MAX_EXCERPT),
        };
        ParseQuotaError { position, column: before + 1, excerpt, expected, found: clip(found, MAX_FOUND) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_every_algorithm() {
        let names = Algorithm::ALL.map(Algorithm::name).join(", ");
        assert_eq!(ALGORITHM, format!("an algorithm ({names})"));
    }
}
