//! What the fields of a line are for, whichever format they came from, and the request that they make.

use std::borrow::Cow;

use super::time::Times;
use super::{Reason, Request, Rest, clf, client_of, present, request_line};

/// What a field is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing that a policy asks for.
    Skip,
    /// The client's address, or a list of them.
    Client,
    /// When the request came.
    Time,
    /// When it came, if the log tells that apart from when it was logged: believed before [`Time`](Self::Time).
    Start,
    /// The zone of that, such as `+0100`.
    Zone,
    /// A date, whose time of day is in a field of its own.
    Date,
    /// The time of day.
    Clock,
    /// Method, target and version.
    Request,
    Method,
    /// With the query, or whole.
    Target,
    Query,
    Status,
    Host,
    /// A header field, its name in lower case.
    Header(String),
}

pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

/// The values of a line, each with its role.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) roles: &'a [Role],
    pub(super) values: Vec<&'a str>,
    /// Whether `\"` stands for a quote, as between the quotes of servers.
    pub(super) has_escapes: bool,
}

impl<'a> Fields<'a> {
    fn first(&self, role: &Role) -> Option<&'a str> {
        let mut fields = self.roles.iter().zip(&self.values);
        fields.find_map(|(of, value)| if of == role { present(value) } else { None })
    }

    fn text(&self, raw: &'a str) -> Cow<'a, str> {
        if self.has_escapes { clf::unescaped(raw) } else { Cow::Borrowed(raw) }
    }

    /// The values of a header.
    pub(super) fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let is_it = |role: &Role| matches!(role, Role::Header(of) if of.eq_ignore_ascii_case(name));
        let mut fields = self.roles.iter().zip(&self.values);
        let raw = fields.find_map(|(of, value)| if is_it(of) { present(value) } else { None })?;
        let has_no_blanks = raw.contains([',', '+']) && (raw.contains('+') || raw.contains("%20"));
        if has_no_blanks && name.eq_ignore_ascii_case(FORWARDED_FOR) {
            // IIS and CloudFront write a column so; no address has either.
            return Some(Cow::Owned(self.text(raw).replace("%20", " ").replace('+', " ")));
        }
        Some(self.text(raw))
    }

    pub(super) fn host(&self) -> Option<Cow<'a, str>> {
        self.first(&Role::Host).map(Cow::Borrowed).or_else(|| self.header("host"))
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.first(&Role::Status)?.parse().ok()
    }

    /// The request that the fields tell of. Times that say nothing of their zone are in UTC if the format says so.
    /// The `day` is of lines whose fields have none.
    pub(super) fn request(self, times: &Times, is_utc: bool, day: Option<&str>) -> Result<Request<'a>, Reason> {
        let time = match (self.first(&Role::Start), self.first(&Role::Time)) {
            (Some(start), time) => {
                times.any(start).or_else(|reason| time.map_or(Err(reason), |time| times.any(time)))?
            }
            (None, Some(time)) => match self.first(&Role::Zone) {
                Some(zone) => times.any(&format!("{time} {zone}"))?,
                None => times.any(time)?,
            },
            (None, None) => {
                let date = self.first(&Role::Date).or(day).ok_or("no time on the line")?;
                let clock = self.first(&Role::Clock).ok_or("no time of day on the line")?;
                times.of_day(date, clock, is_utc)?
            }
        };
        let client = self.first(&Role::Client).map(Cow::Borrowed).or_else(|| self.header(FORWARDED_FOR));
        let client = client.map_or_else(Default::default, client_of);
        let (mut method, mut target) = match self.first(&Role::Request) {
            None => (None, None),
            Some(raw) => match self.text(raw) {
                Cow::Borrowed(line) => {
                    let (method, target) = request_line(line);
                    (method.map(Cow::Borrowed), target.map(Cow::Borrowed))
                }
                Cow::Owned(line) => {
                    let (method, target) = request_line(&line);
                    (method.map(|m| Cow::Owned(m.to_owned())), target.map(|t| Cow::Owned(t.to_owned())))
                }
            },
        };
        method = method.or_else(|| self.first(&Role::Method).map(Cow::Borrowed));
        target = target.or_else(|| self.first(&Role::Target).map(|raw| self.text(raw)));
        if let (Some(path), Some(query)) = (&target, self.first(&Role::Query)) {
            target = Some(Cow::Owned(format!("{path}?{}", query.strip_prefix('?').unwrap_or(query))));
        }
        if client.text.is_none() && target.is_none() && self.first(&Role::Request).is_none() {
            return Err("no client and no request on the line".into());
        }
        Ok(Request {
            time,
            client: client.text,
            is_address: client.is_address,
            list: client.list,
            method,
            target,
            odd_tail: false,
            is_zoneless: false,
            rest: Rest::Fields(self),
        })
    }
}
