//! Time stamps as logs write them, turned into nanoseconds since 1970.

use std::cell::Cell;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::Reason;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How the times of a log are read: in which zone those are that do not say theirs.
#[derive(Debug)]
pub struct Times {
    zone: TimeZone,
    /// Whether one did not say its own.
    is_zoneless: Cell<bool>,
    /// The last minutes of the Common Log Format, as they are written for the second 0, by their last digit: many requests come in one
    /// minute, and lines are written when responses are done, so that the minutes around it take turns.
    last: [Cell<([u8; COMMON], u64)>; 16],
}

/// Characters of `17/May/2015:10:05:03 +0200`.
const COMMON: usize = 26;

impl Default for Times {
    fn default() -> Self {
        Self::new(TimeZone::UTC)
    }
}

impl Times {
    /// Times without a zone are in `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, is_zoneless: Cell::new(false), last: [const { Cell::new(([u8::MAX; COMMON], 0)) }; 16] }
    }

    /// Whether a time since the last call did not say its zone.
    pub(super) fn take_zoneless(&self) -> bool {
        self.is_zoneless.take()
    }

    /// `17/May/2015:10:05:03 +0200`, the seconds with or without a fraction, and the zone, too.
    pub(crate) fn common_log(&self, text: &str) -> Result<u64, Reason> {
        let minute = minute_and_second(text);
        if let Some((minute, second)) = minute {
            let (last, start) = self.slot(&minute).get();
            if minute == last
                && let Some(time) = start.checked_add(second)
            {
                return Ok(time);
            }
        }
        let time = self.fields(text).and_then(nanos).ok_or_else(|| bad(text, "17/May/2015:10:05:03 +0000"))?;
        // With a zone, as the times without one are counted. No zone has seconds, so that a minute begins on the hour's beat everywhere.
        if let Some((minute, second)) = minute
            && minute[20] == b' '
            && let Some(start) = time.checked_sub(second)
        {
            self.slot(&minute).set((minute, start));
        }
        Ok(time)
    }

    fn slot(&self, minute: &[u8; COMMON]) -> &Cell<([u8; COMMON], u64)> {
        &self.last[usize::from(minute[16] & 15)]
    }

    fn fields(&self, text: &str) -> Option<Timestamp> {
        let (local, offset) = match text.rsplit_once(' ') {
            Some((local, offset)) if offset.starts_with(['+', '-']) => (local, Some(offset)),
            _ => (text, None),
        };
        let mut parts = local.split(['/', ':', ' ']);
        let day = digits(parts.next()?, 2)?;
        let name = parts.next()?;
        let month =
            MONTHS.iter().zip(1..).find_map(|(month, number)| month.eq_ignore_ascii_case(name).then_some(number))?;
        let year = digits(parts.next()?, 4)?;
        let hour = digits(parts.next()?, 2)?;
        let minute = digits(parts.next()?, 2)?;
        let (second, fraction) = parts.next().map(|second| second.split_once('.').unwrap_or((second, "")))?;
        // A leap second has no place in Unix time; it counts as the second before, as everywhere.
        let second = digits(if second == "60" { "59" } else { second }, 2)?;
        if parts.next().is_some() {
            return None;
        }
        let small = |number: i16| i8::try_from(number).ok();
        let fraction = i32::try_from(billionths(fraction)?).ok()?;
        let civil =
            DateTime::new(year, month, small(day)?, small(hour)?, small(minute)?, small(second)?, fraction).ok()?;
        match offset {
            Some(offset) => zone(offset)?.to_timestamp(civil).ok(),
            None => self.in_zone(civil),
        }
    }

    fn in_zone(&self, civil: DateTime) -> Option<Timestamp> {
        let timestamp = self.zone.to_timestamp(civil).ok()?;
        self.is_zoneless.set(true);
        Some(timestamp)
    }

    /// A date and a time of day that stand apart.
    pub(super) fn of_day(&self, date: &str, clock: &str, is_utc: bool) -> Result<u64, Reason> {
        let text = format!("{date} {clock}");
        let civil = text.parse::<DateTime>().ok();
        let timestamp =
            civil.and_then(|civil| if is_utc { Offset::UTC.to_timestamp(civil).ok() } else { self.in_zone(civil) });
        timestamp.and_then(nanos).ok_or_else(|| bad(&text, "2015-05-17 10:05:03"))
    }

    /// A time in whichever notation.
    ///
    /// # Errors
    ///
    /// If it is in none of those that are known, or before 1970, or after 2554.
    pub fn any(&self, text: &str) -> Result<u64, Reason> {
        let text = text.trim();
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_number && text.starts_with(|c: char| c.is_ascii_digit()) {
            return epoch(text);
        }
        let shorter;
        let text = match excess(text) {
            Some((start, end)) => {
                shorter = format!("{}{}", &text[..start], &text[end..]);
                shorter.as_str()
            }
            None => text,
        };
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return nanos(timestamp).ok_or_else(|| bad(text, "a time between 1970 and 2500"));
        }
        if text.as_bytes().get(2) == Some(&b'/') {
            return self.common_log(text);
        }
        let expected = "2015-05-17T10:05:03Z, 17/May/2015:10:05:03 +0000 or seconds since 1970";
        self.unusual(text).and_then(nanos).ok_or_else(|| bad(text, expected))
    }

    /// A time as a person writes it: as in a log, or a day, or a time of a day.
    pub(crate) fn moment(&self, text: &str) -> Option<u64> {
        if let Ok(date) = text.trim().parse::<jiff::civil::Date>()
            && !text.contains(':')
        {
            return self.in_zone(date.at(0, 0, 0, 0)).and_then(nanos);
        }
        self.any(text).ok()
    }

    /// `2024-03-01 12:00:00 UTC`, `2024/03/01 - 12:00:00`, `Fri, 01 Mar 2024 12:00:00 GMT`, `Fri Mar  1 12:00:00 2024`.
    fn unusual(&self, text: &str) -> Option<Timestamp> {
        if text.len() > 64 || !text.is_ascii() {
            return None;
        }
        // As JavaScript prints one: with the name of the zone in parentheses.
        let text = text.split_once(" (").map_or(text, |(text, _)| text);
        // As Go prints one: with a monotonic clock, and with the name of a zone behind its offset.
        let text = text.split_once(" m=").map_or(text, |(text, _)| text);
        let text = match text.rsplit_once(' ') {
            Some((time, name)) if name.bytes().all(|byte| byte.is_ascii_uppercase()) && ends_in_zone(time) => time,
            _ => text,
        };
        if let Some(time) = self.by_month(text) {
            return Some(time);
        }
        let text = text.replace(" - ", " ").replace('/', "-");
        if let Ok(civil) = text.parse::<DateTime>() {
            // A date alone is the time of no request.
            return if text.contains(':') { self.in_zone(civil) } else { None };
        }
        if let Some(local) = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"))
            && let Ok(civil) = local.parse::<DateTime>()
        {
            return Offset::UTC.to_timestamp(civil).ok();
        }
        if let Some((local, offset)) = text.rsplit_once(' ')
            && let (Ok(civil), Some(zone)) = (local.parse::<DateTime>(), zone(&offset.replace(':', "")))
        {
            return zone.to_timestamp(civil).ok();
        }
        if let Ok(zoned) = jiff::fmt::rfc2822::parse(&text) {
            return Some(zoned.timestamp());
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (month, day, clock, zone, year) = match *words {
            [_, month, day, clock, year] => (month, day, clock, "", year),
            [_, month, day, clock, "UTC" | "GMT", year] => (month, day, clock, " +0000", year),
            [_, month, day, year, clock, zone] if zone.starts_with("GMT+") || zone.starts_with("GMT-") => {
                return self.fields(&format!("{day:0>2}/{month}/{year}:{clock} {}", &zone[3..]));
            }
            [_, month, day, clock, zone, year] if zone.starts_with(['+', '-']) => {
                return self.fields(&format!("{day:0>2}/{month}/{year}:{clock} {zone}"));
            }
            _ => return None,
        };
        self.fields(&format!("{day:0>2}/{month}/{year}:{clock}{zone}"))
    }

    /// `01-Mar-2024 12:00:00`, `1 Mar 2024 12:00:00 +0100`.
    fn by_month(&self, text: &str) -> Option<Timestamp> {
        let mut parts = text.splitn(3, ['-', ' ']);
        let (day, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
        if day.len() > 2 || !MONTHS.iter().any(|name| name.eq_ignore_ascii_case(month)) {
            return None;
        }
        let (year, clock) = rest.split_once([' ', ':'])?;
        let clock = clock.strip_suffix(" GMT").or_else(|| clock.strip_suffix(" UTC"));
        match clock {
            Some(clock) => self.fields(&format!("{day:0>2}/{month}/{year}:{clock} +0000")),
            None => self.fields(&format!("{day:0>2}/{month}/{rest}").replacen(' ', ":", 1)),
        }
    }
}

/// Where the digits of a fraction are that are finer than a nanosecond; they are cut off.
fn excess(text: &str) -> Option<(usize, usize)> {
    let start = text.find('.')? + 1;
    let end = start + text[start..].bytes().take_while(u8::is_ascii_digit).count();
    (end > start + 9).then_some((start + 9, end))
}

/// Whether an offset is last, as in `2024-03-01 12:00:00 +0100`.
fn ends_in_zone(text: &str) -> bool {
    text.rsplit_once(' ').is_some_and(|(_, offset)| zone(offset).is_some())
}

/// Of `17/May/2015:10:05:03 +0200` the same with 00 for the seconds, and the seconds in nanoseconds, if they are two digits below 60 where
/// they are expected. Of a text that is no time, too; but what becomes a time with the 00 is one with them.
fn minute_and_second(text: &str) -> Option<([u8; COMMON], u64)> {
    let mut bytes: [u8; COMMON] = text.as_bytes().try_into().ok()?;
    let [b':', tens @ b'0'..=b'5', ones @ b'0'..=b'9'] = bytes[17..20] else { return None };
    (bytes[18], bytes[19]) = (b'0', b'0');
    Some((bytes, (u64::from(tens - b'0') * 10 + u64::from(ones - b'0')) * 1_000_000_000))
}

/// A number of exactly `count` digits: `parse` alone would take a sign, too.
fn digits(text: &str, count: usize) -> Option<i16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// `+0200`.
fn zone(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes) = (self::digits(hours, 2)?, self::digits(minutes, 2)?);
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (i32::from(hours) * 3_600 + i32::from(minutes) * 60)).ok()
}

/// A number since 1970 in decimal digits, as exact as it was logged: through a float it would not be.
///
/// The unit shows in the size: today is 1.7 * 10^9 seconds, and in each of the units the range taken as that unit
/// spans the years 1973 to 5138.
pub(crate) fn epoch(text: &str) -> Result<u64, Reason> {
    let expected = "a number of seconds, milliseconds, microseconds or nanoseconds since 1970";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parse = || {
        let whole: u64 = whole.parse().ok()?;
        let unit: u64 = match whole {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        let part = u128::from(billionths(fraction)?) * u128::from(unit) / 1_000_000_000;
        whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
    };
    parse().ok_or_else(|| bad(text, expected))
}

/// Digits behind a decimal point, in units of 10^-9; finer ones are cut off.
fn billionths(digits: &str) -> Option<u64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value = 0;
    for i in 0..9 {
        value = value * 10 + digits.as_bytes().get(i).map_or(0, |digit| u64::from(digit - b'0'));
    }
    Some(value)
}

fn nanos(timestamp: Timestamp) -> Option<u64> {
    u64::try_from(timestamp.as_nanosecond()).ok()
}

fn bad(text: &str, expected: &str) -> Reason {
    format!("bad time `{}`; expected {expected}", excerpt(text)).into()
}

fn excerpt(text: &str) -> String {
    crate::values::output::shortened(text, 40)
}

/// The moment that many nanoseconds after 1970.
pub fn timestamp(nanos: u64) -> Timestamp {
    // A u64 of nanoseconds ends in the year 2554, and a `Timestamp` holds four digits of year.
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const EXPECTED: u64 = 1_431_857_103 * SECOND;

    fn common_log(text: &str) -> Result<u64, Reason> {
        Times::default().common_log(text)
    }

    fn any(text: &str) -> Result<u64, Reason> {
        Times::default().any(text)
    }

    #[test]
    fn common_log_times_honour_their_offset() {
        assert_eq!(common_log("17/May/2015:10:05:03 +0000"), Ok(EXPECTED));
        assert_eq!(common_log("17/May/2015:12:05:03 +0200"), Ok(EXPECTED));
        assert_eq!(common_log("17/May/2015:04:35:03 -0530"), Ok(EXPECTED));
        assert_eq!(common_log("17/may/2015:10:05:03.25 +0000"), Ok(EXPECTED + SECOND / 4));
        assert_eq!(common_log("31/Dec/2016:23:59:60 +0000"), common_log("31/Dec/2016:23:59:59 +0000"));
    }

    /// Whatever was read before: of times that share a place among the last ones, each is itself.
    #[test]
    fn times_that_were_read_before_change_nothing() {
        let times = Times::default();
        let texts: Vec<String> =
            (0..60).map(|second| format!("17/May/2015:10:{:02}:{second:02} +0{}00", second % 3, second % 5)).collect();
        for text in texts.iter().chain(&texts).chain(texts.iter().rev()) {
            assert_eq!(times.common_log(text), common_log(text), "{text}");
        }
        assert!(times.common_log("17/May/2015:10:61:03 +0000").is_err());
        // A leap second, and what is none of the minute that is known.
        for text in [
            "17/May/2015:10:00:60 +0000",
            "17/May/2015:10:00:61 +0000",
            "17/May/2015:10:00:0x +0000",
            "17/May/2015:10:00 00 +0000",
        ] {
            assert_eq!(times.common_log(text), common_log(text), "{text}");
        }
        for text in [
            "01/Jan/1970:00:00:00 +0000",
            "01/Jan/1970:00:59:59 +0100",
            "01/Jan/1970:01:00:59 +0100",
            "01/Jan/1970:01:00:00 +0100",
        ] {
            assert_eq!(times.common_log(text), common_log(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_common_log_time() {
        for text in [
            "",
            " ",
            "17/May/2015:10:05:03 +00:00",
            "17/May/2015:10:05:03 0000",
            "32/May/2015:10:05:03 +0000",
            "17/Mai/2015:10:05:03 +0000",
            "17/May/15:10:05:03 +0000",
            "17/May/2015:24:05:03 +0000",
            "17/May/2015:10:60:03 +0000",
            "17/May/2015:10:05:61 +0000",
            "17/May/2015:10:05:03 +0060",
            "29/Feb/2015:10:05:03 +0000",
            "17/May/1969:10:05:03 +0000",
            "17/May/2015:10:05:03.x +0000",
            "17/May/2015:10:05: +0000",
            "17/May/2015:10:05:03 +é00",
        ] {
            assert!(common_log(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_times() {
        assert_eq!(any("2015-05-17T10:05:03Z"), Ok(EXPECTED));
        assert_eq!(any("2015-05-17T12:05:03.5+02:00"), Ok(EXPECTED + SECOND / 2));
        assert_eq!(any("2015-05-17 10:05:03+0000"), Ok(EXPECTED));
        assert_eq!(any("17/May/2015:10:05:03 +0000"), Ok(EXPECTED));
        assert_eq!(any("1431857103"), Ok(EXPECTED));
        assert_eq!(any("1431857103.000000001"), Ok(EXPECTED + 1));
        assert_eq!(any("1431857103001"), Ok(EXPECTED + 1_000_000));
        assert_eq!(any("1431857103001.5"), Ok(EXPECTED + 1_500_000));
        assert_eq!(any("1431857103000001"), Ok(EXPECTED + 1_000));
        assert_eq!(any("1431857103000000001"), Ok(EXPECTED + 1));
        assert!(any("yesterday").unwrap_err().contains("bad time"));
        assert!(any("1.2.3").is_err());
        assert!(any("99999999999999999999").is_err());
        assert!(any("1960-01-01T00:00:00Z").is_err());
        assert_eq!(timestamp(EXPECTED).to_string(), "2015-05-17T10:05:03Z");
    }
    #[test]
    fn times_of_all_kinds() {
        for text in [
            "[17/May/2015:10:05:03 +0000]",
            "2015-05-17 10:05:03 UTC",
            "2015-05-17 10:05:03 +0000",
            "2015-05-17 12:05:03 +02:00",
            "Sun, 17 May 2015 10:05:03 GMT",
            "2015-05-17 12:05:03 +0200 CEST",
            "2015-05-17 10:05:03 +0000 UTC m=+0.000012",
            "Sun May 17 10:05:03 UTC 2015",
            "Sun May 17 12:05:03 +0200 2015",
            "17-May-2015 10:05:03 GMT",
            "Sun May 17 2015 12:05:03 GMT+0200 (Central European Summer Time)",
            "2015-05-17T10:05:03.000000000999Z",
            "17 May 2015 12:05:03 +0200",
        ] {
            let times = Times::default();
            assert_eq!((times.any(text), times.take_zoneless()), (Ok(EXPECTED), false), "{text}");
        }
        // In the zone that is given, where they say none.
        let zone = TimeZone::fixed(Offset::constant(2));
        for text in [
            "17/May/2015:12:05:03.000",
            "17/May/2015 12:05:03",
            "2015-05-17T12:05:03",
            "2015-05-17 12:05:03,000",
            "2015/05/17 - 12:05:03",
            "Sun May 17 12:05:03 2015",
            "Sun May  17 12:05:03 2015",
            "17-May-2015 12:05:03",
            "17 May 2015 12:05:03.000",
        ] {
            let times = Times::new(zone.clone());
            assert_eq!((times.any(text), times.take_zoneless()), (Ok(EXPECTED), true), "{text}");
        }
        for text in ["2015-05-17", "17/May/2015", "May 17 10:05:03", "10:05:03", "[]", "", "12ms"] {
            assert!(any(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_like_the_last_is_that_time() {
        let times = Times::default();
        for second in [3, 3, 4, 3] {
            let text = format!("17/May/2015:10:05:{second:02} +0000");
            assert_eq!(times.common_log(&text), Ok(EXPECTED + (second - 3) * SECOND));
        }
        // Of the same length, and no zone: that is told each time.
        for _ in 0..2 {
            assert_eq!(times.common_log("17/May/2015:10:05:03.00000"), Ok(EXPECTED));
            assert!(times.take_zoneless());
        }
    }
}
