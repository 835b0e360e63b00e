//! The Common Log Format and the Combined one, as Apache and nginx write them.
//!
//! `host ident user [time] "request" status bytes`, in Combined followed by `"referer" "user-agent"`. The host, the
//! time and the request make a request; the rest only serves headers. So a line whose rest is odd is kept, and said
//! to be odd, rather than thrown away.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Reason, Request, Rest, client_address, present, request_line, time};

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Request<'_>, Reason> {
    let (who, rest) = line.split_once(" [").ok_or("no `[time]` in brackets")?;
    let (stamp, rest) = rest.split_once(']').ok_or("the `[time]` has no end")?;
    let who = Who::parse(who)?;
    let time = time::common_log(stamp)?;
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
    let client = present(who.client).map(client_address);
    let is_address = client.as_ref().is_some_and(|(_, is_address)| *is_address);
    Ok(Request {
        time,
        client: client.map(|(client, _)| client),
        is_address,
        method,
        target,
        odd_tail: tail.is_odd,
        rest: Rest::Common(CommonRest {
            virtual_host: who.virtual_host,
            status: tail.status,
            referer: tail.referer,
            user_agent: tail.user_agent,
        }),
    })
}

/// What a line tells besides the client, the time and the request; headers as they stand between the quotes.
#[derive(Debug)]
pub(super) struct CommonRest<'a> {
    pub(super) virtual_host: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) referer: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
}

/// `host ident user`; the user may have spaces in it.
struct Who<'a> {
    client: &'a str,
    virtual_host: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// Apache's `vhost_combined` has the virtual host in front: then the second word is the address.
    fn parse(who: &'a str) -> Result<Self, Reason> {
        let mut words = who.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(first), Some(second), Some(_)) if !first.is_empty() => {
                let has_virtual_host = second.parse::<IpAddr>().is_ok() && first.parse::<IpAddr>().is_err();
                Ok(if has_virtual_host {
                    Self { client: second, virtual_host: Some(first) }
                } else {
                    Self { client: first, virtual_host: None }
                })
            }
            _ => Err("no `host ident user` before the time".into()),
        }
    }
}

/// Splits at the quote that ends a quoted field; a quote after a backslash belongs to the field.
fn until_quote(text: &str) -> Option<(&str, &str)> {
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
    is_odd: bool,
}

impl<'a> Tail<'a> {
    /// Own formats put more fields behind the status, or behind the user agent: the first two quoted ones count.
    fn parse(text: &'a str) -> Self {
        let (bare, quoted) = match text.split_once(" \"") {
            Some((bare, quoted)) => (bare, Some(quoted)),
            None => (text, None),
        };
        let mut words = bare.split(' ').skip(1);
        let status = words.next().filter(|word| *word == "-" || (word.len() == 3 && is_number(word)));
        let has_bytes = words.next().is_some_and(|word| word == "-" || is_number(word));
        let is_odd = status.is_none() || !has_bytes;
        let mut tail = Self { is_odd, status: status.and_then(|word| word.parse().ok()), ..Self::default() };
        let Some(quoted) = quoted else { return tail };
        let Some((referer, rest)) = until_quote(quoted) else {
            return Self { referer: present(quoted), is_odd: true, ..tail };
        };
        tail.referer = present(referer);
        match rest.strip_prefix(" \"").map(|rest| (rest, until_quote(rest))) {
            Some((_, Some((user_agent, _)))) => tail.user_agent = present(user_agent),
            // The line was cut off inside the user agent: what there is of it is better than nothing.
            Some((cut, None)) => (tail.user_agent, tail.is_odd) = (present(cut), true),
            None => tail.is_odd = true,
        }
        tail
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// A quoted field without its escapes: `\"`, `\\` and `\xHH`, which nginx writes for every byte beyond ASCII.
///
/// What does not come out as UTF-8 stays as it was logged.
pub(super) fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
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
