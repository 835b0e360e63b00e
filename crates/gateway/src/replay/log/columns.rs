//! The W3C extended log format of IIS and CloudFront: columns, and comments that say which.

use std::net::IpAddr;
use std::sync::OnceLock;

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

/// The columns that a `#Fields` comment names.
#[derive(Debug, Clone)]
pub(super) struct Columns(Vec<Role>);

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
    pub(super) fn parse<'a>(&'a self, line: &'a str, times: &Times) -> Result<Request<'a>, Reason> {
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
        let mut request = Fields { roles: &self.0, values, has_escapes: false }.request(times, true)?;
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
    fn only_the_columns_of_iis_are_taken_for_them() {
        let line = "2015-05-17 10:05:03 198.51.100.1 GET /a b=c 443 - 192.0.2.1 agent/1 - 200 0 0 15";
        let request =
            |line: &'static str| Columns::of_iis(line).and_then(|columns| columns.parse(line, &Times::default()));
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
        let read = |line: &'static str| columns.parse(line, &times);
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
