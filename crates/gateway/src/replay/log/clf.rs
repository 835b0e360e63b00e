//! The Common Log Format and the Combined one, as Apache and nginx write them.
//!
//! `host ident user [time] "request" status bytes`, in Combined followed by `"referer" "user-agent"`. The host, the
//! time and the request make a request; the rest only serves headers. So a line whose rest is odd is kept, and said
//! to be odd, rather than thrown away.

use std::borrow::Cow;
use std::net::IpAddr;

use super::time::Times;
use super::{Form, Reason, Request, Rest, client_address, client_of, is_v4, present, request_line, split_at};

/// Reads one line.
pub(super) fn parse<'a>(line: &'a str, times: &Times) -> Result<Request<'a>, Reason> {
    let (before, stamp, rest) = around_time(line)?;
    let who = Who::parse(before)?;
    // In nginx the time may be written otherwise. Envoy's lines begin with a time, and behind words of a collector that has an address they
    // would look like it.
    let time = match times.common_log(stamp) {
        Ok(time) => time,
        Err(reason) if before.starts_with(who.client) && client_of(who.client.into()).is_address => {
            times.any(stamp).map_err(|_| reason)?
        }
        Err(reason) => return Err(reason),
    };
    let quoted = rest.strip_prefix(" \"").ok_or("no quoted request after the time")?;
    let (request, tail) = until_quote(quoted).ok_or("the quoted request has no end")?;
    let (method, target) = match unescaped(request) {
        Cow::Borrowed(request) => {
            let (method, target) = request_line(request);
            (method.map(Cow::Borrowed), target.map(Cow::Borrowed))
        }
        Cow::Owned(request) => {
            let (method, target) = request_line(&request);
            (method.map(|m| Cow::Owned(m.to_owned())), target.map(|t| Cow::Owned(t.to_owned())))
        }
    };
    let tail = Tail::parse(tail);
    let client = present(who.client).map_or_else(Default::default, |client| client_of(client.into()));
    Ok(Request {
        time,
        client: client.text,
        is_address: client.is_address,
        list: client.list,
        method,
        target,
        odd_tail: tail.is_odd,
        is_zoneless: false,
        rest: Rest::Common(CommonRest {
            virtual_host: who.virtual_host,
            status: tail.status,
            referer: tail.referer,
            user_agent: tail.user_agent,
            more: tail.more,
            has_headers: tail.has_headers,
        }),
    })
}

/// What is before the time in brackets, the time, and what is behind: the first bracket with a date in it counts.
fn around_time(line: &str) -> Result<(&str, &str, &str), Reason> {
    let bytes = line.as_bytes();
    let is_time = |&at: &usize| {
        let is_date = matches!(bytes.get(at + 1..at + 4), Some([b'0'..=b'9', b'0'..=b'9', b'/']));
        is_date && at.checked_sub(1).is_some_and(|before| bytes[before] == b' ')
    };
    let is_other = |&at: &usize| {
        let digits = bytes.get(at + 1..at + 5).is_some_and(|year| year.iter().all(u8::is_ascii_digit));
        digits && at.checked_sub(1).is_some_and(|before| bytes[before] == b' ')
    };
    let at = memchr::memchr_iter(b'[', bytes).find(is_time);
    let at = at.or_else(|| memchr::memchr_iter(b'[', bytes).find(is_other));
    let at = at.or_else(|| line.find(" [").map(|at| at + 1)).ok_or("no `[time]` in brackets")?;
    let (stamp, rest) = split_at(&line[at + 1..], b']').ok_or("the `[time]` has no end")?;
    Ok((&line[..at - 1], stamp, rest))
}

/// What a line tells besides the client, the time and the request; headers as they stand between the quotes.
#[derive(Debug)]
pub(super) struct CommonRest<'a> {
    pub(super) virtual_host: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) referer: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
    /// What is behind the user agent.
    more: &'a str,
    /// Whether there is a place for referer and user agent.
    has_headers: bool,
}

impl CommonRest<'_> {
    /// The list of addresses that nginx's `main` format has last, and others somewhere behind the user agent.
    pub(super) fn forwarded_for(&self) -> Option<&str> {
        let mut rest = self.more;
        while let Some((_, quoted)) = rest.split_once('"') {
            let (value, after) = until_quote(quoted)?;
            // A client can begin the list with anything; what the last proxy has added is an address, or says that it knows none.
            let last = value.rsplit(',').next().unwrap_or_default().trim();
            if client_address(last).1 || (last == "unknown" && value.contains(',')) {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// What the form is called.
    pub(super) fn name(&self) -> Form {
        match () {
            () if self.has_headers => Form::Combined,
            () => Form::Common,
        }
    }
}

/// `host ident user`; the user may have spaces in it.
struct Who<'a> {
    client: &'a str,
    virtual_host: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// The client is the first word that is an address, or the list of addresses that begins there; if none is, the first word.
    ///
    /// Apache's `vhost_combined` has the virtual host in front: then the second word is the address.
    fn parse(who: &'a str) -> Result<Self, Reason> {
        let (first, rest) =
            split_at(who, b' ').filter(|(first, _)| !first.is_empty()).ok_or("no `host ident user` before the time")?;
        if is_v4(first) || first.parse::<IpAddr>().is_ok() {
            return Ok(Self { client: first, virtual_host: None });
        }
        let second = rest.split(' ').next().unwrap_or_default();
        let quoted = first.strip_prefix('"').and_then(|first| first.strip_suffix('"'));
        if let Some(quoted) = quoted
            && client_address(quoted).1
        {
            return Ok(Self { client: quoted, virtual_host: None });
        }
        // Behind the name of a program there is no other word of a collector.
        let tag = who.rfind(": ").filter(|at| !client_address(who[..*at].rsplit(' ').next().unwrap_or_default()).1);
        if let Some(tag) = tag
            && who[..tag].contains(' ')
            && let Ok(behind) = Self::parse(&who[tag + 2..])
            && client_of(behind.client.into()).is_address
        {
            return Ok(behind);
        }
        // A virtual host may be an address, too; a port gives it away.
        if second.parse::<IpAddr>().is_ok() && !first.ends_with(',') {
            return Ok(Self { client: list_at(rest), virtual_host: present(first) });
        }
        let mut at = 0;
        for word in who.split(' ') {
            let from = &who[at..];
            let bare = word.trim_start_matches(['"', '[']);
            let hop = bare.split([',', '"', ']']).next().unwrap_or_default();
            if client_address(bare).1 || client_address(hop).1 || (hop == "unknown" && bare.starts_with("unknown,")) {
                return Ok(Self { client: list_at(from), virtual_host: None });
            }
            at += word.len() + 1;
        }
        Ok(Self { client: first, virtual_host: None })
    }
}

/// The address, or the list of them, that `text` begins with.
fn list_at(text: &str) -> &str {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split('"').next().unwrap_or_default();
    }
    let mut end = 0;
    for word in text.split(' ') {
        end += word.len();
        if !word.ends_with(',') {
            break;
        }
        end += 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Splits at the quote that ends a quoted field; a quote after a backslash belongs to the field.
pub(super) fn until_quote(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &text.as_bytes()[from..])?;
        if text.as_bytes()[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        // What follows the backslash is one character, and the field goes on behind its first byte.
        from = (at + 2).min(text.len());
    }
}

/// What follows the request.
#[derive(Debug, Default)]
struct Tail<'a> {
    status: Option<u16>,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    more: &'a str,
    has_headers: bool,
    is_odd: bool,
}

impl<'a> Tail<'a> {
    /// Own formats put more fields behind the status, or behind the user agent: the first two quoted ones count.
    fn parse(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut quotes = memchr::memchr_iter(b'"', bytes);
        let quote = quotes.find(|at| at.checked_sub(1).is_some_and(|before| bytes[before] == b' '));
        let (bare, quoted) = match quote {
            Some(at) => (&bytes[..at - 1], text.get(at + 1..)),
            None => (bytes, None),
        };
        let mut words = bare.split(|byte| *byte == b' ').skip(1);
        let status = words.next().filter(|word| *word == b"-" || (word.len() == 3 && is_number(word)));
        let has_bytes = words.next().is_some_and(|word| word == b"-" || is_number(word));
        let is_odd = status.is_none() || !has_bytes;
        let status = status.and_then(|word| str::from_utf8(word).ok()?.parse().ok());
        let mut tail = Self { is_odd, status, ..Self::default() };
        let Some(quoted) = quoted else { return tail };
        tail.has_headers = true;
        let Some((referer, rest)) = until_quote(quoted) else {
            return Self { referer: present(quoted), is_odd: true, ..tail };
        };
        tail.referer = present(referer);
        match rest.strip_prefix(" \"").map(|rest| (rest, until_quote(rest))) {
            Some((_, Some((user_agent, more)))) => (tail.user_agent, tail.more) = (present(user_agent), more),
            // The line was cut off inside the user agent: what there is of it is better than nothing.
            Some((cut, None)) => (tail.user_agent, tail.is_odd) = (present(cut), true),
            None => tail.is_odd = true,
        }
        tail
    }
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// A quoted field without its escapes: `\"`, `\\` and `\xHH`, which nginx writes for every byte beyond ASCII.
///
/// What does not come out as UTF-8 stays as it was logged.
pub(super) fn unescaped(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest {
            [b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [b'n', after @ ..] => (bytes.push(b'\n'), rest = after).1,
            [b't', after @ ..] => (bytes.push(b'\t'), rest = after).1,
            [b'r', after @ ..] => (bytes.push(b'\r'), rest = after).1,
            [other @ (b'"' | b'\\'), after @ ..] => (bytes.push(*other), rest = after).1,
            _ => bytes.push(b'\\'),
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request<'_>, Reason> {
        super::parse(line, &Times::default())
    }

    fn read(tail: &str) -> Request<'static> {
        let line = format!("192.0.2.1 - frank [17/May/2015:10:05:03 +0000] {tail}");
        parse(line.leak()).unwrap()
    }

    #[test]
    fn combined_with_escapes() {
        let request = read(r#""GET /a\"b?c HTTP/1.1" 200 5 "http://r.example/\xc3\xa9" "say \"hi\" \\ back""#);
        assert_eq!(request.client.as_deref(), Some("192.0.2.1"));
        assert_eq!(request.method.as_deref(), Some("GET"));
        assert_eq!(request.target.as_deref(), Some("/a\"b?c"));
        assert_eq!(request.header_lines("Referer"), ["http://r.example/é"]);
        assert_eq!(request.header_lines("user-agent"), [r#"say "hi" \ back"#]);
        assert_eq!(request.header_lines("x-other"), [""; 0]);
        assert!(!request.odd_tail);
    }

    #[test]
    fn what_is_missing_is_none() {
        let request = read(r#""-" 408 - "-" "-""#);
        assert_eq!((request.method.as_deref(), request.target.as_deref()), (None, None));
        assert_eq!(request.header_lines("user-agent"), [""; 0]);
        assert!(!request.odd_tail);
        assert!(!read(r#""GET / HTTP/1.0" 200 17"#).odd_tail, "the plain Common Log Format");
        assert!(!read(r#""GET / HTTP/1.0" 200 17 0.004 "-" "curl" "198.51.100.1""#).odd_tail, "fields of one's own");
        assert_eq!(read(r#""\x16\x03\x01" 400 0"#).method.as_deref(), None);
    }

    #[test]
    fn an_odd_tail_keeps_the_request() {
        for tail in
            [r#""GET / HTTP/1.1" 200 235 "-" "Mozilla/5.0 (comp"#, r#""GET / HTTP/1.1""#, r#""GET / HTTP/1.1" x y"#]
        {
            let request = read(tail);
            assert!(request.odd_tail, "{tail}");
            assert_eq!(request.target.as_deref(), Some("/"));
        }
        let cut = read(r#""GET / HTTP/1.1" 200 235 "-" "Mozilla/5.0 (comp"#);
        assert_eq!(cut.header_lines("user-agent"), ["Mozilla/5.0 (comp"]);
    }

    #[test]
    fn hosts_of_all_kinds() {
        let client = |who: &str| {
            let line = format!("{who} [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1");
            parse(&line).map(|request| request.client.map(Cow::into_owned))
        };
        assert_eq!(client("2001:db8::1 - -").unwrap().as_deref(), Some("2001:db8::1"));
        assert_eq!(client("www.example.org:443 192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("192.0.2.1 - frank and joe").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("- - -").unwrap(), None);
        assert_eq!(client("192.0.2.100:443 192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("www.example.org - 192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("192.0.2.9, 192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("192.0.2.9,192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("\"192.0.2.9, 192.0.2.1\" - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("unknown, 192.0.2.1 - -").unwrap().as_deref(), Some("192.0.2.1"));
        assert_eq!(client("192.0.2.9 - [192.0.2.9] - -").unwrap().as_deref(), Some("192.0.2.9"));
        assert_eq!(client("[192.0.2.9] - -").unwrap().as_deref(), Some("192.0.2.9"));
        assert!(client("192.0.2.1").is_err());
    }

    #[test]
    fn reasons_say_what_is_missing() {
        let reason = |line: &'static str| parse(line).unwrap_err();
        assert_eq!(reason("hello world"), "no `[time]` in brackets");
        assert_eq!(reason("1.2.3.4 - - [x"), "the `[time]` has no end");
        assert_eq!(reason("1.2.3.4 - - [17/May/2015:10:05:03 +0000] GET /"), "no quoted request after the time");
        assert_eq!(reason("1.2.3.4 - - [17/May/2015:10:05:03 +0000] \"GET /"), "the quoted request has no end");
    }
}
