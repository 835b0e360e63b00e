//! What collectors of logs put in front of a line: syslog of both RFCs, journald, containers, compose, and colours.

use std::net::IpAddr;

/// What is in front of what a server wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stripped<'a> {
    /// The line as the server wrote it.
    pub(super) line: &'a str,
    /// The time that the collector put in front, if it is a full one.
    pub(super) stamp: Option<&'a str>,
}

/// How many prefixes may stand one before the other: compose before a container's time before syslog's, and one more.
const MOST: usize = 5;

/// Takes off what is known as a prefix; nothing if there is none.
pub(super) fn strip(line: &str) -> Option<Stripped<'_>> {
    let mut found: Option<Stripped<'_>> = None;
    for _ in 0..MOST {
        let from = found.map_or(line, |found| found.line);
        let Some(Stripped { line, stamp }) = one(from) else { break };
        found = Some(Stripped { line, stamp: stamp.or_else(|| found.and_then(|found| found.stamp)) });
    }
    found
}

/// Most lines begin with an address, and one look at a few bytes tells that there is no prefix.
fn one(line: &str) -> Option<Stripped<'_>> {
    if matches!(line.as_bytes(), [b'0'..=b'9', _, _, _, b'-' | b'/', ..])
        && let Some(found) = console(line)
    {
        return Some(found);
    }
    match line.as_bytes() {
        [b'<', ..] => priority(line),
        // Of `journalctl -o export` and, behind blanks, `-o verbose`.
        [b' ', ..] => Some(Stripped { line: line.trim_start_matches(' '), stamp: None }),
        [b'M', b'E', b'S', b'S', ..] => line.strip_prefix("MESSAGE=").map(|line| Stripped { line, stamp: None }),
        // Python's `logging` by default.
        [b'I', b'N', b'F', b'O', b':', b'a'..=b'z', ..] => {
            line.splitn(3, ':').nth(2).map(|line| Stripped { line, stamp: None })
        }
        // RFC 5424 without the priority.
        [b'1', b' ', b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b'T', ..] => syslog(&line[2..]),
        [a, b, c, b' ', ..] if [a, b, c].iter().all(|byte| byte.is_ascii_alphabetic()) => {
            dated(line).or_else(|| compose(line))
        }
        [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] => {
            let (stamp, rest) = line.split_once(' ')?;
            Some(Stripped { line: origin(rest), stamp: is_full(stamp).then_some(stamp) })
        }
        [b'0'..=b'9', ..] => {
            match line.bytes().position(|byte| !byte.is_ascii_digit()).map(|end| line.as_bytes().split_at(end)) {
                Some((_, [b' ', b'<', ..])) => counted(line),
                Some((seconds, [b'.', ..])) if seconds.len() == 10 => unix(line),
                _ => None,
            }
        }
        [first, ..] if first.is_ascii_alphabetic() => compose(line),
        _ => None,
    }
}

fn is_full(stamp: &str) -> bool {
    stamp.len() >= 20 && stamp.is_ascii()
}

/// `<190>` of syslog, and in RFC 5424 a `1` behind it.
fn priority(line: &str) -> Option<Stripped<'_>> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match rest.strip_prefix("1 ") {
        Some(rest) => syslog(rest),
        None => Some(Stripped { line: rest.trim_start(), stamp: None }),
    }
}

/// Behind the priority and the version of RFC 5424.
fn syslog(rest: &str) -> Option<Stripped<'_>> {
    // TIME HOST APP PROCESS MESSAGE-ID, then `-` or `[data]`.
    let mut words = rest.splitn(6, ' ');
    let stamp = words.next()?;
    let rest = words.nth(4)?;
    let rest = data(rest)?;
    let line = rest.strip_prefix('\u{feff}').unwrap_or(rest);
    Some(Stripped { line, stamp: is_full(stamp).then_some(stamp) })
}

/// Behind the structured data of RFC 5424. Some senders, such as Heroku's, leave it out.
fn data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("- ") {
        return Some(rest);
    }
    let mut rest = text;
    while rest.starts_with('[') {
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b']' && !is_quoted && !is_escaped;
            is_quoted ^= byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        // A line of a server can begin with a time in brackets.
        if rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) && !rest[..end].contains('=') {
            break;
        }
        rest = rest.get(end + 1..)?;
    }
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// The length of a message of syslog over TCP (RFC 6587) in front of it.
fn counted(line: &str) -> Option<Stripped<'_>> {
    let (length, rest) = line.split_once(' ')?;
    let is_length = length.len() <= 7 && length.bytes().all(|byte| byte.is_ascii_digit());
    (is_length && rest.starts_with('<')).then_some(Stripped { line: rest, stamp: None })
}

/// `1709294400.123456 host nginx[1]: ` of `journalctl -o short-unix`.
fn unix(line: &str) -> Option<Stripped<'_>> {
    let (stamp, rest) = line.split_once(' ')?;
    let (whole, part) = stamp.split_once('.')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 10 || !is_number(whole) || !is_number(part) {
        return None;
    }
    tagged(rest).map(|line| Stripped { line, stamp: Some(stamp) })
}

/// `Mar  1 12:00:00 host nginx[1]: `, and `Fri 2024-03-01 12:00:00 UTC host nginx[1]: ` of `journalctl -o short-full`.
fn dated(line: &str) -> Option<Stripped<'_>> {
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    const DAYS: &str = "Mon Tue Wed Thu Fri Sat Sun";
    let (name, rest) = line.split_at_checked(3)?;
    let rest = rest.trim_start();
    let (first, rest) = rest.split_once(' ')?;
    if MONTHS.split(' ').any(|month| month == name) {
        let rest = rest.trim_start();
        // Cisco and some relays write the year, too.
        let rest = match rest.split_once(' ') {
            Some((year, rest)) if year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) => rest,
            _ => rest,
        };
        let (clock, rest) = rest.split_once(' ')?;
        let is_day = first.len() <= 2 && first.bytes().all(|byte| byte.is_ascii_digit());
        return (is_day && is_clock(clock)).then(|| Stripped { line: origin(rest), stamp: None });
    }
    if !DAYS.split(' ').any(|day| day == name) || first.len() != 10 || first.as_bytes()[4] != b'-' {
        return None;
    }
    let (clock, rest) = rest.split_once(' ')?;
    let (_zone, rest) = rest.split_once(' ')?;
    is_clock(clock).then(|| Stripped { line: origin(rest), stamp: None })
}

/// `12:00:00`, with a fraction or not.
fn is_clock(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let two = |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    two(parts.next())
        && two(parts.next())
        && parts.next().is_some_and(|part| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// Behind the words that say from where a line is: of a container's runtime (`stdout F`), or a host and a program.
fn origin(rest: &str) -> &str {
    let rest = rest.trim_start();
    for stream in ["stdout ", "stderr "] {
        if let Some(rest) = rest.strip_prefix(stream) {
            return rest.split_once(' ').map_or(rest, |(_, rest)| rest);
        }
    }
    tagged(rest).unwrap_or(rest)
}

/// Behind `host program[1]: ` or `program: `.
fn tagged(text: &str) -> Option<&str> {
    let mut rest = text;
    for _ in 0..2 {
        let (word, after) = rest.split_once(' ')?;
        // No host and no program is called so, but lines of servers begin so.
        if word.starts_with('[') {
            return None;
        }
        if word.ends_with(':') && word.parse::<IpAddr>().is_err() {
            return Some(after.trim_start());
        }
        rest = after.trim_start();
    }
    None
}

/// `2024/03/01 12:00:00.123 INFO http.log.access handled request {...}` with tabs between, as Caddy writes it for people to read.
fn console(line: &str) -> Option<Stripped<'_>> {
    let (stamp, rest) = line.split_once('\t')?;
    let object = rest.find("\t{")? + 1;
    // A date and a time, and nothing of a collector before them.
    let is_stamp = stamp.len() >= 19 && stamp.is_ascii() && stamp.split(' ').count() <= 2;
    is_stamp.then_some(Stripped { line: &rest[object..], stamp: Some(stamp) })
}

/// `nginx-1  | ` of `docker compose logs`.
fn compose(line: &str) -> Option<Stripped<'_>> {
    let at = line.bytes().take(80).position(|byte| byte == b'|')?;
    let (name, rest) = (line[..at].strip_suffix(' ')?.trim_end(), &line[at + 1..]);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    is_name.then(|| Stripped { line: rest.strip_prefix(' ').unwrap_or(rest), stamp: None })
}

/// `text` without the codes that colour a terminal, put into `out`.
pub(super) fn without_colors(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, code) = rest.split_at(at);
        out.push_str(before);
        let code = &code[2..];
        let end = code.bytes().position(|byte| (0x40..=0x7e).contains(&byte));
        match end {
            Some(end) if code.as_bytes()[end] == b'm' || code.as_bytes()[end] == b'K' => rest = &code[end + 1..],
            // No colour: it stays to be seen.
            _ => {
                out.push_str("\u{1b}[");
                rest = code;
            }
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200 12";

    #[test]
    fn what_collectors_put_in_front_is_taken_off() {
        for prefix in [
            "Mar  1 12:00:00 web1 nginx: ",
            "Mar 11 12:00:00.123456 web1 nginx[12]: ",
            "Mar  1 12:00:00 10.0.0.5 nginx: ",
            "Mar  1 12:00:00 nginx: ",
            "Mar  1 2024 12:00:00 web1 nginx: ",
            "<190>Mar  1 12:00:00 web1 nginx: ",
            "<190>1 2024-03-01T12:00:00.000Z web1 nginx 12 - - ",
            "<190>1 2024-03-01T12:00:00.000Z web1 nginx - access [a@1 x=\"]\\\"\"][b y=\"z\"] \u{feff}",
            "254 <158>1 2024-03-01T12:00:00+00:00 host nginx web.1 - - ",
            "2024-03-01T12:00:00.000000001Z stdout F ",
            "2024-03-01T12:00:00.000000001Z ",
            "2024-03-01T12:00:00+0000 web1 nginx[12]: ",
            "Fri 2024-03-01 12:00:00 UTC web1 nginx[12]: ",
            "1709294400.123456 web1 nginx[12]: ",
            "nginx-1  | ",
            "web_1 | 2024-03-01T12:00:00.000000001Z ",
            "web_1 | Mar  1 12:00:00 web1 nginx: ",
        ] {
            let line = format!("{prefix}{LINE}");
            assert_eq!(strip(&line).map(|stripped| stripped.line), Some(LINE), "{prefix}");
        }
    }

    #[test]
    fn what_is_no_prefix_stays() {
        for line in [
            LINE,
            "2001:db8:: - - [x]",
            "www.example.org:443 192.0.2.1 - - [x]",
            "1709294400.123    45 192.0.2.10 TCP_MISS/200 12 GET http://h/ - HIER_DIRECT/198.51.100.7 text/html",
            "2024-03-01 12:00:00 198.51.100.1 GET /a",
            "- - - [x]",
            "",
            "é",
        ] {
            assert_eq!(strip(line), None, "{line}");
        }
        let console =
            strip("2024/03/01 12:00:00.123\tINFO\thttp.log.access\thandled request\t{\"a\": \"\t{\"}").unwrap();
        assert_eq!((console.line, console.stamp), ("{\"a\": \"\t{\"}", Some("2024/03/01 12:00:00.123")));
        let stripped = strip("2024-03-01T12:00:00.123456Z 192.0.2.10").unwrap();
        assert_eq!(stripped.stamp, Some("2024-03-01T12:00:00.123456Z"));
    }

    #[test]
    fn colors_go_and_nothing_else() {
        let mut out = String::new();
        without_colors("\u{1b}[36mweb_1  |\u{1b}[0m a\u{1b}[2J\u{1b}[Kb\u{1b}", &mut out);
        assert_eq!(out, "web_1  | a\u{1b}[2Jb\u{1b}");
    }
}
