//! The W3C extended log format of IIS and CloudFront: columns, and comments that say which.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::OnceLock;

use jiff::civil::{DateTime, Time};
use jiff::{ToSpan, tz::TimeZone};

use super::roles::{FORWARDED_FOR, Fields, Role};
use super::time::Times;
use super::{Reason, Request};

/// Why a line cannot be read, and what helps.
pub(super) const NO_FIELDS: &str = "no `#Fields` comment before the line says what its columns are, and they are not those that IIS writes by \
     default: put the comment of the log in front";

/// What IIS writes by default: since version 8.5, and before.
const IIS: [&str; 2] = [
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus \
     sc-win32-status time-taken",
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus \
     sc-win32-status time-taken",
];

/// Why a line cannot be read whose time of day is there.
const NO_DATE: &str = "a time of day alone, and no `#Date` comment before it says the day";

/// The columns that a `#Fields` comment names.
#[derive(Debug, Clone)]
pub(super) struct Columns(Vec<Role>);

/// When the last line was written whose columns have no date: at first what a `#Date` comment says.
#[derive(Debug, Default)]
pub(super) struct Day(Cell<Option<DateTime>>);

impl Day {
    /// Heeds the comment `line`, if it says a date.
    pub(super) fn heed(&self, line: &str) {
        let Some((name, date)) = line.strip_prefix('#').and_then(|line| line.split_once(':')) else { return };
        if !["date", "start-date"].contains(&name.trim().to_ascii_lowercase().as_str()) {
            return;
        }
        // In UTC, as everything in such logs.
        let times = Times::default();
        let time = times.moment(date.trim()).map(super::time::timestamp);
        self.0.set(time.map(|time| TimeZone::UTC.to_datetime(time)));
    }

    /// The day of a line at `clock`. Lines are in order but for those of the same moments: what is more than an hour earlier than the line
    /// before is of the next day, and what is of the last hour of a day, when the line before is of the first, of the day before.
    fn at(&self, clock: &str) -> Result<String, Reason> {
        let last = self.0.get().ok_or(NO_DATE)?;
        let time: Time = clock.parse().map_err(|_| Reason::from(format!("bad time of day `{clock}`")))?;
        let (now, before) = (i32::from(time.hour()) * 60 + i32::from(time.minute()), last.time());
        let before = i32::from(before.hour()) * 60 + i32::from(before.minute());
        let day = match () {
            () if now + 60 < before => last.date().checked_add(1.day()).map_err(|_| NO_DATE)?,
            () if now >= 23 * 60 && before < 60 => {
                return Ok(last.date().checked_sub(1.day()).map_err(|_| NO_DATE)?.to_string());
            }
            () => last.date(),
        };
        self.0.set(Some(day.to_datetime(time)));
        Ok(day.to_string())
    }
}

impl Columns {
    /// Of the comment `line`, if that is what it says.
    pub(super) fn of(line: &str) -> Option<Self> {
        let (name, fields) = line.strip_prefix('#')?.split_once(':')?;
        let is_it = name.trim().eq_ignore_ascii_case("fields");
        is_it.then(|| Self(fields.split_ascii_whitespace().map(role).collect()))
    }

    /// Those of IIS by default, where a line can have no others: their number fits, and each that can be told is what it should be.
    pub(super) fn of_iis(line: &str) -> Result<&'static Self, Reason> {
        static COLUMNS: OnceLock<Vec<Columns>> = OnceLock::new();
        let values: Vec<&str> = line.trim_end().split(' ').collect();
        let is = |column: usize, wanted: fn(&str) -> bool| values.get(column).is_some_and(|value| wanted(value));
        if !is(0, is_date) || !is(1, is_time_of_day) {
            return Err("no date and time at the beginning of the line".into());
        }
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
        let numbers = values.len().saturating_sub(4)..values.len();
        let fits = is(2, is_address)
            && is(3, |text| text.bytes().all(|byte| byte.is_ascii_uppercase()))
            && is(4, |text| text.starts_with('/') || text == "*")
            && is(6, is_number)
            && is(8, is_address)
            && values.get(numbers).is_some_and(|numbers| numbers.iter().copied().all(is_number));
        let all = COLUMNS.get_or_init(|| IIS.iter().filter_map(|comment| Self::of(comment)).collect());
        all.iter().find(|columns| fits && columns.0.len() == values.len()).ok_or(NO_FIELDS.into())
    }

    /// Reads one line: columns with tabs between them, or blanks.
    pub(super) fn parse<'a>(&'a self, line: &'a str, times: &Times, day: &Day) -> Result<Request<'a>, Reason> {
        let separator = if line.contains('\t') { '\t' } else { ' ' };
        let mut values = Vec::with_capacity(self.0.len());
        let mut rest = line.trim_end_matches(separator);
        while !rest.is_empty() {
            let (value, after) = match rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
                Some((value, after)) if after.is_empty() || after.starts_with(separator) => {
                    (value, after.strip_prefix(separator).unwrap_or(""))
                }
                _ => rest.split_once(separator).unwrap_or((rest, "")),
            };
            values.push(value);
            rest = after;
        }
        let (found, named) = (values.len(), self.0.len());
        if found > named {
            return Err(format!("{found} columns where `#Fields` names {named}").into());
        }
        let has = |role: &Role| self.0.contains(role);
        let clock = self.0.iter().zip(&values).find_map(|(role, value)| (*role == Role::Clock).then_some(*value));
        let day = match clock {
            Some(clock) if !has(&Role::Date) && !has(&Role::Time) => Some(day.at(clock)?),
            _ => None,
        };
        let fields = Fields { roles: &self.0, values, has_escapes: false };
        let mut request = fields.request(times, true, day.as_deref())?;
        request.odd_tail = found < named;
        Ok(request)
    }
}

fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10
}

fn is_time_of_day(text: &str) -> bool {
    text.parse::<jiff::civil::Time>().is_ok() && text.as_bytes().get(2) == Some(&b':')
}

fn role(name: &str) -> Role {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "c-ip" => Role::Client,
        "date" => Role::Date,
        "time" => Role::Clock,
        "timestamp" | "x-timestamp" | "datetime" => Role::Time,
        "cs-method" => Role::Method,
        "cs-uri-stem" | "cs-uri" => Role::Target,
        "cs-uri-query" => Role::Query,
        "sc-status" => Role::Status,
        "cs-host" | "x-host-header" => Role::Host,
        "x-forwarded-for" | "x_forwarded_for" | "cs(x-forwarded-for)" => Role::Header(FORWARDED_FOR.to_owned()),
        other => match other.strip_prefix("cs(").and_then(|name| name.strip_suffix(')')) {
            Some("host") => Role::Host,
            Some(header) => Role::Header(header.to_owned()),
            None => Role::Skip,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_the_comment_until_midnight_passes() {
        let day = Day::default();
        assert_eq!(day.at("12:00:00").unwrap_err(), NO_DATE);
        for comment in ["#Software: x", "#Date: soon", "Date: 2024-02-28 23:00:00", "#Date"] {
            day.heed(comment);
            assert_eq!(day.at("12:00:00").unwrap_err(), NO_DATE, "{comment}");
        }
        for comment in
            ["#Date: 2024-02-28 23:00:00", "#Date:\t2024-02-28T23:00:00Z", "#start-date: 28-Feb-2024 23:00:00"]
        {
            day.heed(comment);
            for (clock, expected) in [
                ("22:59:58", "2024-02-28"),
                ("23:59:59", "2024-02-28"),
                ("00:00:01", "2024-02-29"),
                ("23:59:59", "2024-02-28"),
                ("00:00:02.5", "2024-02-29"),
                ("14:00:00", "2024-02-29"),
                ("13:00:01", "2024-02-29"),
                ("11:00:00", "2024-03-01"),
            ] {
                assert_eq!(day.at(clock).as_deref(), Ok(expected), "{comment} {clock}");
            }
        }
        assert!(day.at("25:00:00").unwrap_err().contains("25:00:00"));
        day.heed("#Date: 2024-05-01");
        assert_eq!(day.at("00:00:00").as_deref(), Ok("2024-05-01"));
    }

    #[test]
    fn only_the_columns_of_iis_are_taken_for_them() {
        let line = "2015-05-17 10:05:03 198.51.100.1 GET /a b=c 443 - 192.0.2.1 agent/1 - 200 0 0 15";
        let request = |line: &'static str| {
            Columns::of_iis(line).and_then(|columns| columns.parse(line, &Times::default(), &Day::default()))
        };
        let read = request(line).unwrap();
        assert_eq!((read.time, read.client.as_deref()), (1_431_857_103_000_000_000, Some("192.0.2.1")));
        assert_eq!((read.target.as_deref(), read.status(), read.odd_tail), (Some("/a?b=c"), Some(200), false));
        let old = request("2015-05-17 10:05:03 198.51.100.1 GET /a - 443 - 2001:db8::1 agent/1 404 0 2 15").unwrap();
        assert_eq!((old.client.as_deref(), old.status()), (Some("2001:db8::1"), Some(404)));
        for (value, other) in [
            ("198.51.100.1", "web1"),
            ("GET", "get"),
            ("/a", "a"),
            ("443", "-"),
            ("192.0.2.1", "-"),
            (" 0 0 15", " 0 0 -"),
            (" - 200", " 200 9 9"),
            (" 0 0 15", " 0 15"),
        ] {
            let line = line.replacen(value, other, 1);
            assert_eq!(Columns::of_iis(&line).err().as_deref(), Some(NO_FIELDS), "{line}");
        }
        assert_ne!(Columns::of_iis("192.0.2.1 - - [17/May/2015:10:05:03 +0000]").err().as_deref(), Some(NO_FIELDS));
    }

    #[test]
    fn columns_are_where_the_comment_says() {
        assert!(Columns::of("#Software: IIS").is_none());
        let columns =
            Columns::of("#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent)").unwrap();
        let times = Times::default();
        let day = Day::default();
        let read = |line: &'static str| columns.parse(line, &times, &day);
        let request = read("2015-05-17 10:05:03 198.51.100.1 GET /a b=c 192.0.2.1 \"agent 1\"").unwrap();
        assert_eq!((request.time, request.client.as_deref()), (1_431_857_103_000_000_000, Some("192.0.2.1")));
        assert_eq!(request.target.as_deref(), Some("/a?b=c"));
        assert_eq!(request.header_lines("user-agent"), ["agent 1"]);
        let tabs = read("2015-05-17\t10:05:03\t198.51.100.1\tGET\t/a\t-\t192.0.2.1\tagent/1").unwrap();
        assert_eq!((tabs.target.as_deref(), tabs.odd_tail), (Some("/a"), false));
        assert!(read("2015-05-17 10:05:03 198.51.100.1 GET /a - 192.0.2.1").unwrap().odd_tail);
        assert!(read("2015-05-17 10:05:03 198.51.100.1 GET /a - 192.0.2.1 x y").unwrap_err().contains("9 columns"));
    }
}
