//! The access log of uvicorn: `INFO:     192.0.2.1:52342 - "GET /a HTTP/1.1" 200 OK`.
//!
//! By default it has no time. Where somebody has added one in front, or a collector has put one there, it is read.

use std::borrow::Cow;
use std::net::IpAddr;

use super::clf::until_quote;
use super::roles::{Fields, Role};
use super::time::Times;
use super::{Client, Reason, Request, Rest, client_address, request_line};

/// Why most of its lines cannot be read, and what helps.
pub(super) const NO_TIME: &str = "no time on the line, which is how uvicorn writes it by default: add %(asctime)s to its log format, or \
     read what a collector has stamped (docker logs -t, journalctl -o short-iso)";

/// Reads one line, which a collector stamped at `stamp`.
pub(super) fn parse<'a>(line: &'a str, times: &Times, stamp: Option<u64>) -> Result<Request<'a>, Reason> {
    let unfit = || Reason::Borrowed("no `address - \"request\" status` on the line");
    let (before, quoted) = line.split_once(" - \"").ok_or_else(unfit)?;
    let (request, tail) = until_quote(quoted).ok_or_else(unfit)?;
    let (head, word) = before.rsplit_once(' ').unwrap_or(("", before));
    let client = address(word).ok_or_else(unfit)?;
    let status = tail.split_ascii_whitespace().next().filter(|word| word.len() == 3 && word.parse::<u16>().is_ok());
    let status = status.ok_or_else(unfit)?;
    let (Some(method), Some(target)) = request_line(request) else { return Err(unfit()) };
    if !request.rsplit_once(' ').is_some_and(|(_, version)| version.starts_with("HTTP/")) {
        return Err(unfit());
    }
    let time = time_in(head, times).or(stamp).ok_or(NO_TIME)?;
    let client = Client { text: Some(client), is_address: true, list: None };
    Ok(Request {
        time,
        client: client.text,
        is_address: client.is_address,
        list: client.list,
        method: Some(Cow::Borrowed(method)),
        target: Some(Cow::Borrowed(target)),
        odd_tail: false,
        is_zoneless: false,
        rest: Rest::Fields(Fields { roles: &[Role::Status], values: vec![status], has_escapes: false }),
    })
}

/// Behind the last colon is the port: IPv6 addresses have no brackets here.
fn address(word: &str) -> Option<Cow<'_, str>> {
    let bare = match word.rsplit_once(':') {
        Some((address, port)) if port.parse::<u16>().is_ok() => address,
        _ => word,
    };
    let bare = bare.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(bare);
    bare.parse::<IpAddr>().is_ok().then(|| client_address(bare).0)
}

/// The time among the words in front: what begins with a year.
fn time_in(head: &str, times: &Times) -> Option<u64> {
    let is_date = |word: &str| matches!(word.as_bytes(), [a, b, c, d, b'-' | b'/', ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()));
    let words: Vec<&str> = head.split_ascii_whitespace().collect();
    let first = words.iter().position(|word| is_date(word.trim_start_matches('[')))?;
    // With the time of day and the zone behind it, where those are words of their own.
    (1..=3).rev().find_map(|count| {
        let text = words.get(first..first + count)?.join(" ");
        times.any(text.trim_matches(['[', ']', ':'])).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_431_857_103_000_000_000;
    const LINE: &str = "192.0.2.1:52342 - \"GET /a?b HTTP/1.1\" 200";

    #[test]
    fn a_time_is_found_where_somebody_has_added_one() {
        for head in [
            "2015-05-17 10:05:03,000 - uvicorn.access - INFO - ",
            "INFO:     2015-05-17 10:05:03,000 ",
            "2015-05-17T10:05:03Z INFO: ",
            "[2015-05-17 12:05:03 +0200] [8] [INFO] ",
            "2015/05/17 10:05:03: ",
        ] {
            let line = format!("{head}{LINE} OK");
            let request = parse(&line, &Times::default(), Some(7)).unwrap();
            assert_eq!((request.time, request.client.as_deref()), (TIME, Some("192.0.2.1")), "{head}");
            assert_eq!((request.method.as_deref(), request.target.as_deref()), (Some("GET"), Some("/a?b")));
            assert_eq!(request.status(), Some(200));
        }
    }

    #[test]
    fn without_a_time_the_collector_is_asked() {
        let line = format!("INFO:     {LINE}");
        assert_eq!(parse(&line, &Times::default(), Some(7)).unwrap().time, 7);
        assert_eq!(parse(&line, &Times::default(), None).unwrap_err(), NO_TIME);
    }

    #[test]
    fn what_is_no_such_line() {
        let client =
            |line: &str| parse(line, &Times::default(), Some(7)).map(|request| request.client.unwrap().into_owned());
        assert_eq!(client("2001:db8::1:8080 - \"GET / HTTP/1.1\" 200").unwrap(), "2001:db8::1");
        assert_eq!(client("[2001:db8::1]:80 - \"GET / HTTP/1.1\" 200").unwrap(), "2001:db8::1");
        for line in [
            "None - \"GET / HTTP/1.1\" 200",
            "192.0.2.1:1 - \"GET /\" 200",
            "192.0.2.1:1 - \"GET / HTTP/1.1\" OK",
            "192.0.2.1:1 - \"GET / HTTP/1.1\"",
            "192.0.2.1:1 - \"GET / HTTP/1.1",
            "192.0.2.1:1 \"GET / HTTP/1.1\" 200",
            "",
        ] {
            assert!(client(line).unwrap_err().starts_with("no `address"), "{line}");
        }
    }
}
