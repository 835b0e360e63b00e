//! Time stamps as logs write them, turned into nanoseconds since 1970.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::Reason;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `17/May/2015:10:05:03 +0200`, the seconds with or without a fraction.
pub(crate) fn common_log(text: &str) -> Result<u64, Reason> {
    fields(text).and_then(nanos).ok_or_else(|| bad(text, "17/May/2015:10:05:03 +0000"))
}

fn fields(text: &str) -> Option<Timestamp> {
    let (local, offset) = text.split_once(' ')?;
    let mut parts = local.split(['/', ':']);
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
    let civil = DateTime::new(year, month, small(day)?, small(hour)?, small(minute)?, small(second)?, fraction).ok()?;
    zone(offset)?.to_timestamp(civil).ok()
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

/// A time stamp from a JSON string, in whichever notation.
pub fn any(text: &str) -> Result<u64, Reason> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return epoch(text);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return nanos(timestamp).ok_or_else(|| bad(text, "a time between 1970 and 2500"));
    }
    if let Ok(time) = common_log(text) {
        return Ok(time);
    }
    Err(if text.parse::<DateTime>().is_ok() {
        format!("the time `{}` does not say its time zone", excerpt(text)).into()
    } else {
        bad(text, "2015-05-17T10:05:03Z, 17/May/2015:10:05:03 +0000 or seconds since 1970")
    })
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

    #[test]
    fn common_log_times_honour_their_offset() {
        assert_eq!(common_log("17/May/2015:10:05:03 +0000"), Ok(EXPECTED));
        assert_eq!(common_log("17/May/2015:12:05:03 +0200"), Ok(EXPECTED));
        assert_eq!(common_log("17/May/2015:04:35:03 -0530"), Ok(EXPECTED));
        assert_eq!(common_log("17/may/2015:10:05:03.25 +0000"), Ok(EXPECTED + SECOND / 4));
        assert_eq!(common_log("31/Dec/2016:23:59:60 +0000"), common_log("31/Dec/2016:23:59:59 +0000"));
    }

    #[test]
    fn what_is_no_common_log_time() {
        for text in [
            "",
            " ",
            "17/May/2015:10:05:03",
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
        assert!(any("2015-05-17T10:05:03").unwrap_err().contains("time zone"));
        assert!(any("yesterday").unwrap_err().contains("bad time"));
        assert!(any("1.2.3").is_err());
        assert!(any("99999999999999999999").is_err());
        assert!(any("1960-01-01T00:00:00Z").is_err());
        assert_eq!(timestamp(EXPECTED).to_string(), "2015-05-17T10:05:03Z");
    }
}
