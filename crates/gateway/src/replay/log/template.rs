//! Formats that a server's configuration writes down: nginx's `log_format` and Apache's `LogFormat`.

use std::borrow::Cow;
use std::net::IpAddr;

use super::clf::until_quote;
use super::roles::{FORWARDED_FOR, Fields, Role};
use super::time::Times;
use super::{Reason, Request};

/// Why a line is not in one of the formats of ours.
pub(super) const NOT_IN_THE_FORMAT: &str = "not in the format";

/// A format, compiled.
#[derive(Debug, Clone)]
pub struct Template {
    /// In front of the first field.
    head: String,
    roles: Vec<Role>,
    /// What follows each field, in the same order.
    after: Vec<String>,
    is_builtin: bool,
}

impl Template {
    /// Compiles the string of a configuration: with `$name` it is nginx's, with `%h` Apache's.
    ///
    /// # Errors
    ///
    /// If it has no time, or nothing that tells who the client is, or two fields with nothing between them.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = &configured(text);
        let mut pieces = Pieces::default();
        if is_nginx(text) {
            pieces.nginx(text)?
        } else {
            pieces.apache(text)?
        }
        let template = pieces.finish(false)?;
        let has = |wanted: &[Role]| template.roles.iter().any(|role| wanted.contains(role));
        if !has(&[Role::Time, Role::Start]) {
            return Err("it has no time, such as $time_local, $time_iso8601, $msec or %t".to_owned());
        }
        if !has(&[Role::Client, Role::Header(FORWARDED_FOR.to_owned())]) {
            return Err("it does not say who the client is, as $remote_addr, %h or %a would".to_owned());
        }
        Ok(template)
    }

    /// One of our own, in nginx's notation; blanks may stand for several.
    pub(super) fn builtin(text: &str) -> Self {
        let mut pieces = Pieces::default();
        // A test compiles every one of them.
        let compiled = pieces.nginx(text).and_then(|()| pieces.finish(true));
        compiled.unwrap_or_else(|_| Self {
            head: "\0".to_owned(),
            roles: Vec::new(),
            after: Vec::new(),
            is_builtin: true,
        })
    }

    /// Reads one line. One that is cut off behind its time, its client and its request is kept as odd, unless the format is a guess.
    pub(super) fn parse<'a>(&'a self, line: &'a str, times: &Times) -> Result<Request<'a>, Reason> {
        let mismatch = |at: usize, literal: &str| -> Reason {
            // A line that is nobody's fails in each of ours, behind each of its words: nobody reads what was missing.
            if self.is_builtin {
                return NOT_IN_THE_FORMAT.into();
            }
            let wanted = literal.escape_debug();
            format!("not in the format: `{wanted}` is missing after byte {at}").into()
        };
        let mut rest = line.strip_prefix(self.head.as_str()).ok_or_else(|| mismatch(0, &self.head))?;
        let mut values: Vec<&'a str> = Vec::with_capacity(self.roles.len());
        let mut before = self.head.as_str();
        let mut is_cut = false;
        for after in &self.after {
            if self.is_builtin && before.ends_with(' ') {
                rest = rest.trim_start_matches(' ');
            }
            let is_quoted = before.ends_with('"') && after.starts_with('"');
            let found = if after.is_empty() {
                Some((rest, ""))
            } else if is_quoted {
                until_quote(rest).and_then(|(value, rest)| Some((value, rest.strip_prefix(&after[1..])?)))
            } else {
                let role = self.roles.get(values.len()).filter(|_| !self.is_builtin && after.starts_with(' '));
                let whole = match role {
                    Some(Role::Time | Role::Start) => split_time(rest, after, times),
                    Some(Role::Request) => split_request(rest, after),
                    _ => None,
                };
                whole.or_else(|| split(rest, after))
            };
            let Some((value, behind)) = found else {
                let wanted = [Role::Time, Role::Start, Role::Client, Role::Request, Role::Target];
                let (seen, unseen) = self.roles.split_at(values.len());
                let still = |role: &Role| unseen.contains(role) && !seen.contains(role);
                let has_time = seen.contains(&Role::Time) || seen.contains(&Role::Start);
                if self.is_builtin || !has_time || wanted[2..].iter().any(still) {
                    return Err(mismatch(line.len() - rest.len(), after));
                }
                is_cut = true;
                break;
            };
            values.push(value);
            rest = behind;
            before = after;
        }
        let last_is_open = self.after.last().is_some_and(String::is_empty);
        // The request in the formats of ours for lines that end in it.
        let has_no_end = self.is_builtin && last_is_open && self.roles.last() == Some(&Role::Request);
        let odd_tail = is_cut || has_no_end || (!self.is_builtin && !last_is_open && !rest.is_empty());
        let fields = Fields { roles: &self.roles, values, has_escapes: true };
        if self.is_builtin && !fields.is_plausible() {
            return Err(NOT_IN_THE_FORMAT.into());
        }
        let mut request = fields.request(times, false, None)?;
        request.odd_tail = odd_tail;
        Ok(request)
    }
}

impl Fields<'_> {
    /// Whether a line that was matched by a format nobody named says what the format would say: a client that is an address, a status, a method.
    fn is_plausible(&self) -> bool {
        let mut clients = self.roles.iter().zip(&self.values).filter(|(role, _)| match role {
            Role::Client => true,
            Role::Header(name) => name == FORWARDED_FOR,
            _ => false,
        });
        let is_status = |text: &str| text == "-" || text.parse::<i32>().is_ok();
        let has_status =
            self.roles.iter().zip(&self.values).all(|(role, text)| *role != Role::Status || is_status(text));
        // Some are filled up with blanks.
        let is_method = |text: &str| text == "-" || super::is_method(text.trim_end());
        let has_method =
            self.roles.iter().zip(&self.values).all(|(role, text)| *role != Role::Method || is_method(text));
        // HAProxy writes the number of a socket of the machine itself so.
        let is_nobody = |text: &str| text == "-" || text.starts_with("unix:");
        has_status
            && has_method
            && clients.any(|(_, text)| is_nobody(text) || super::client_of((*text).into()).is_address)
    }
}

/// The value before `after`, and what is behind that.
///
/// A comma ends no list of addresses: in `192.0.2.1, 198.51.100.1 - -` the blank behind the comma belongs to the value.
fn split<'t>(text: &'t str, after: &str) -> Option<(&'t str, &'t str)> {
    if !after.starts_with(' ') {
        return text.split_once(after);
    }
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(after)?;
        let value = &text[..at];
        if value.ends_with(',') && value.trim_end_matches(',').rsplit([' ', ',']).next().is_some_and(is_hop) {
            from = at + 1;
            continue;
        }
        return Some((value, &text[at + after.len()..]));
    }
}

/// A time with blanks in it and nothing around it: of what ends at a blank the longest that is a time.
fn split_time<'t>(text: &'t str, after: &str, times: &Times) -> Option<(&'t str, &'t str)> {
    // `Fri Mar 1 12:00:00 2024 +0100` has the most.
    let ends = text.match_indices(after).take(6);
    let is_time = |at: &usize| times.any(&text[..*at]).is_ok();
    let at = ends.map(|(at, _)| at).filter(is_time).last();
    // What was tried does not count.
    times.take_zoneless();
    at.map(|at| (&text[..at], &text[at + after.len()..]))
}

/// A request line with nothing around it ends behind its version.
fn split_request<'t>(text: &'t str, after: &str) -> Option<(&'t str, &'t str)> {
    let version = text.find(" HTTP/")? + 1;
    let at = version + text[version..].find(after)?;
    Some((&text[..at], &text[at + after.len()..]))
}

fn is_hop(text: &str) -> bool {
    text == "unknown" || text.parse::<IpAddr>().is_ok()
}

/// Of a line of a configuration, `log_format NAME '...' '...';` or `LogFormat "..." NAME`, and of its strings alone, the format.
fn configured(text: &str) -> Cow<'_, str> {
    let (line, quote) = (text.trim().trim_end_matches(';').trim_end(), ['\'', '"']);
    let line = match line.split_once(char::is_whitespace) {
        Some(("log_format", rest)) => rest.trim_start().split_once(char::is_whitespace).map_or(line, |(_, rest)| rest),
        Some((word, rest)) if word.eq_ignore_ascii_case("LogFormat") => rest,
        // A format may begin with a quote, and then another quote is not next to a blank and a third one.
        _ if line.starts_with('\'') && line.ends_with('\'') => line,
        _ => return Cow::Borrowed(text),
    };
    let mut format = String::new();
    let mut rest = line.trim_start();
    while let Some(with) = quote.into_iter().find(|quote| rest.starts_with(*quote)) {
        let mut is_escaped = false;
        let end = rest[1..].find(|c: char| {
            let ends = c == with && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        let Some(end) = end else { return Cow::Borrowed(text) };
        format.push_str(&rest[1..=end]);
        rest = rest[end + 2..].trim_start();
    }
    if format.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format) }
}

/// Whether a format is nginx's.
fn is_nginx(text: &str) -> bool {
    text.match_indices('$')
        .any(|(at, _)| text[at + 1..].starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_lowercase()))
}

#[derive(Default)]
struct Pieces {
    head: String,
    fields: Vec<(Role, String)>,
}

impl Pieces {
    fn literal(&mut self, c: char) {
        self.fields.last_mut().map_or(&mut self.head, |(_, after)| after).push(c);
    }

    /// A field; next to another it must be a part of the same.
    fn field(&mut self, name: &str, role: Role) -> Result<(), String> {
        if let Some((before, after)) = self.fields.last()
            && after.is_empty()
        {
            // `$uri$is_args$args`, `%U%q`.
            if *before == Role::Target && (role == Role::Query || name == "$is_args") {
                return Ok(());
            }
            return Err(format!("there is nothing between {name} and the field before it"));
        }
        self.fields.push((role, String::new()));
        Ok(())
    }

    fn nginx(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '$' => {
                    let (name, after) = if let Some(braced) = rest.strip_prefix('{') {
                        braced.split_once('}').ok_or("`${` has no end")?
                    } else {
                        let end = rest.find(|c: char| !(c == '_' || c.is_ascii_alphanumeric())).unwrap_or(rest.len());
                        rest.split_at(end)
                    };
                    self.field(&format!("${name}"), nginx_role(name))?;
                    rest = after;
                }
                '\\' if rest.starts_with(['"', '\'']) => {}
                '\\' if rest.starts_with('t') => {
                    self.literal('\t');
                    rest = &rest[1..];
                }
                other => self.literal(other),
            }
        }
        Ok(())
    }

    fn apache(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '%' if rest.starts_with('%') => {
                    self.literal('%');
                    rest = &rest[1..];
                }
                '%' => {
                    // Only for some statuses, and before or after a redirect: neither changes what the field is.
                    rest = rest.trim_start_matches(|c: char| {
                        c == '<' || c == '>' || c == '!' || c == ',' || c.is_ascii_digit()
                    });
                    let (argument, after) = match rest.strip_prefix('{') {
                        Some(braced) => {
                            braced.split_once('}').map(|(name, rest)| (Some(name), rest)).ok_or("`%{` has no end")?
                        }
                        None => (None, rest),
                    };
                    let mut letters = after.chars();
                    let letter = letters.next().ok_or("a `%` at the end says nothing")?;
                    if letter == '^' {
                        letters.next();
                        letters.next();
                    }
                    rest = letters.as_str();
                    let name =
                        format!("%{}{letter}", argument.map_or_else(String::new, |argument| format!("{{{argument}}}")));
                    let is_bracketed = letter == 't' && argument.is_none();
                    if is_bracketed {
                        self.literal('[');
                    }
                    self.field(&name, apache_role(letter, argument))?;
                    if is_bracketed {
                        self.literal(']');
                    }
                }
                '\\' if rest.starts_with(['"', '\'', '\\']) => {}
                '\\' if rest.starts_with('t') => {
                    self.literal('\t');
                    rest = &rest[1..];
                }
                other => self.literal(other),
            }
        }
        Ok(())
    }

    fn finish(&mut self, is_builtin: bool) -> Result<Template, String> {
        if self.fields.is_empty() {
            return Err("it has no fields such as $remote_addr or %h".to_owned());
        }
        let head = std::mem::take(&mut self.head);
        let (roles, after): (Vec<Role>, Vec<String>) = std::mem::take(&mut self.fields).into_iter().unzip();
        // Whoever the server says is the client is believed before what is only a part of it.
        Ok(Template { head, roles, after, is_builtin })
    }
}

fn nginx_role(name: &str) -> Role {
    match name {
        "remote_addr" | "realip_remote_addr" | "proxy_protocol_addr" | "the_real_ip" => Role::Client,
        "proxy_add_x_forwarded_for" => Role::Header(FORWARDED_FOR.to_owned()),
        "time_local" | "time_iso8601" | "msec" | "time" => Role::Time,
        "start_time" => Role::Start,
        "request" => Role::Request,
        "request_method" => Role::Method,
        "request_uri" | "uri" | "document_uri" => Role::Target,
        "args" | "query_string" => Role::Query,
        "status" => Role::Status,
        "host" | "http_host" | "server_name" => Role::Host,
        _ => match name.strip_prefix("http_") {
            Some(header) => Role::Header(header.replace('_', "-").to_ascii_lowercase()),
            None => Role::Skip,
        },
    }
}

fn apache_role(letter: char, argument: Option<&str>) -> Role {
    match (letter, argument) {
        ('h' | 'a', _) => Role::Client,
        ('t', Some(format)) if format.ends_with("_frac") => Role::Skip,
        ('t', Some("%z")) => Role::Zone,
        ('t', Some(format)) if format.starts_with("begin:") => Role::Start,
        ('t', _) => Role::Time,
        ('r', _) => Role::Request,
        ('m', _) => Role::Method,
        ('U', _) => Role::Target,
        ('q', _) => Role::Query,
        ('s', _) => Role::Status,
        ('v' | 'V', _) => Role::Host,
        ('i', Some(name)) if name.eq_ignore_ascii_case("host") => Role::Host,
        ('i', Some(name)) => Role::Header(name.to_ascii_lowercase()),
        _ => Role::Skip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(template: &'a Template, line: &'a str) -> Request<'a> {
        template.parse(line, &Times::default()).unwrap()
    }

    #[test]
    fn nginx_formats() {
        let main = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                    \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\"";
        let template = Template::new(main).unwrap();
        let request = read(
            &template,
            r#"192.0.2.1 - a b [17/May/2015:10:05:03 +0000] "GET /a\"b HTTP/1.1" 200 5 "-" "say \"hi\"" "192.0.2.9, 10.0.0.1""#,
        );
        assert_eq!(request.client.as_deref(), Some("192.0.2.1"));
        assert_eq!((request.target.as_deref(), request.status()), (Some("/a\"b"), Some(200)));
        assert_eq!(request.header_lines("user-agent"), ["say \"hi\""]);
        assert_eq!(request.header_lines("x-forwarded-for"), ["192.0.2.9, 10.0.0.1"]);
        assert!(!request.odd_tail);
        let cut = read(&template, r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Mozil"#);
        assert!(cut.odd_tail);
        let early = template.parse("192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /", &Times::default());
        assert!(early.unwrap_err().starts_with("not in the format"));

        let other = Template::new("${msec}|$http_x_forwarded_for|$request_method|$uri$is_args$args|$host").unwrap();
        let request = read(&other, "1431857103.5|192.0.2.1|POST|/a?b|example.org");
        assert_eq!((request.time, request.client.as_deref()), (1_431_857_103_500_000_000, Some("192.0.2.1")));
        assert_eq!((request.method.as_deref(), request.target.as_deref()), (Some("POST"), Some("/a?b")));
        assert_eq!(request.host().as_deref(), Some("example.org"));
    }

    #[test]
    fn apache_formats() {
        let template =
            Template::new(r#"%{X-Forwarded-For}i %l %u %t \"%r\" %>s %b \"%{Referer}i\" %{Host}i %D%%"#).unwrap();
        let request = read(
            &template,
            r#"192.0.2.1, 198.51.100.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" example.org 12%"#,
        );
        assert_eq!(request.client.as_deref(), Some("198.51.100.1"));
        assert_eq!(request.header_lines("x-forwarded-for"), ["192.0.2.1, 198.51.100.1"]);
        assert_eq!(request.host().as_deref(), Some("example.org"));
        let template = Template::new("%a,%{%Y-%m-%dT%H:%M:%S%z}t,%m,%U%q,%s").unwrap();
        let request = read(&template, "192.0.2.1,2015-05-17T10:05:03+0000,GET,/a?b,404");
        assert_eq!((request.time, request.target.as_deref()), (1_431_857_103_000_000_000, Some("/a?b")));
    }

    #[test]
    fn formats_that_say_too_little_are_refused() {
        for (format, reason) in [
            ("$remote_addr $request", "no time"),
            ("[$time_local] $request", "who the client is"),
            ("$remote_addr$time_local", "nothing between"),
            ("%h %{t", "has no end"),
            ("%h %t %", "says nothing"),
            ("nothing", "no fields"),
        ] {
            assert!(Template::new(format).unwrap_err().contains(reason), "{format}");
        }
    }
}
