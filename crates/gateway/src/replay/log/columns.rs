//! The W3C extended log format of IIS and CloudFront: columns, and comments that say which.

use super::roles::{FORWARDED_FOR, Fields, Role};
use super::time::Times;
use super::{Reason, Request};

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
