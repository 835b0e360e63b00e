//! The path of a request as rules see it: one spelling for each resource, so that another spelling does not evade a limit.
//!
//! Servers do not agree on what a path means. Flask and FastAPI decode all of it, with the slashes; Tomcat leaves out
//! what follows a `;`; nginx resolves dot segments; axum takes it as it came. So there are several readings of a path
//! that is not plain, and a limit holds if it is for any of them. What is passed on to the application stays as it came.

use std::borrow::Cow;

/// A path, in all ways in which servers read it.
#[derive(Debug, Clone)]
pub(crate) struct Readings<'a> {
    one: Cow<'a, str>,
    /// Those that differ from the one; a plain path has none.
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        if is_plain(path) {
            return Self { one: Cow::Borrowed(path), others: Vec::new() };
        }
        let one = normalized(path);
        let unresolved = joined(separated(path).split('/').filter(|segment| !segment.is_empty()));
        let mut others = vec![unresolved, resolved(&decoded(path)), joined(literal(path))];
        others.retain(|other| *other != one);
        Self { one, others }
    }

    /// The one spelling: of all readings the one in which most paths are the same.
    pub(crate) fn one(&self) -> &str {
        &self.one
    }

    /// The only reading, if there is no other.
    pub(crate) fn only(&self) -> Option<&str> {
        self.others.is_empty().then_some(&*self.one)
    }

    pub(crate) fn any(&self, covers: impl Fn(&str) -> bool) -> bool {
        covers(&self.one) || self.others.iter().any(|other| covers(other))
    }

    pub(crate) fn all(&self, covers: impl Fn(&str) -> bool) -> bool {
        covers(&self.one) && self.others.iter().all(|other| covers(other))
    }
}

/// `path` in its one spelling: without dot segments, doubled slashes, a slash at the end, and what follows a `;` in a
/// segment; with an encoded slash or a backslash as a slash; decoded but for what is never written plainly. Allocates
/// only if it is not in that spelling already.
pub(crate) fn normalized(path: &str) -> Cow<'_, str> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(resolved(&separated(path))) }
}

/// Whether all readings of it are the same, which is as it came.
pub(crate) fn is_plain(path: &str) -> bool {
    let [b'/', rest @ ..] = path.as_bytes() else { return false };
    // Every request comes through here: one pass.
    let mut after_slash = true;
    for &byte in rest {
        let is_special = !byte.is_ascii_graphic() || matches!(byte, b'%' | b'\\' | b';');
        if is_special || after_slash && matches!(byte, b'/' | b'.') {
            return false;
        }
        after_slash = byte == b'/';
    }
    rest.is_empty() || !after_slash
}

/// Without parameters, decoded, and with a slash for everything that is one to some server.
fn separated(path: &str) -> String {
    let mut separated = String::with_capacity(path.len());
    for segment in path.split('/') {
        separated.push('/');
        decode(segment.split(';').next().unwrap_or_default(), &mut separated, |byte| b"/\\".contains(&byte));
    }
    separated
}

/// The segments as they came, but for bytes that are to be encoded.
fn literal(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let encoded = |segment| {
        if str::bytes(segment).all(|byte| byte.is_ascii_graphic()) {
            return Cow::Borrowed(segment);
        }
        let mut encoded = String::with_capacity(segment.len());
        segment.bytes().for_each(|byte| push(&mut encoded, byte, byte.is_ascii_graphic()));
        Cow::Owned(encoded)
    };
    path.split('/').filter(|segment| !segment.is_empty()).map(encoded)
}

/// Without dot segments and empty ones.
fn resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    joined(segments)
}

fn joined<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(segment.as_ref());
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// Decoded, with what stands for a slash as it is.
fn decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    decode(path, &mut decoded, |_| false);
    decoded
}

/// Printable ASCII plainly, but for what would then mean something else; the rest encoded, in capitals.
fn decode(path: &str, decoded: &mut String, is_slash: impl Fn(u8) -> bool) {
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(hex);
        let (byte, was_plain) = (hex.unwrap_or(*byte), hex.is_none());
        rest = if was_plain { after } else { after.get(2..).unwrap_or_default() };
        let keeps = |byte| if was_plain { byte != b'\\' } else { !b"%/\\;?#".contains(&byte) };
        match byte {
            b'/' if was_plain => decoded.push('/'),
            _ if is_slash(byte) => decoded.push('/'),
            _ => push(decoded, byte, byte.is_ascii_graphic() && keeps(byte)),
        }
    }
}

fn push(path: &mut String, byte: u8, is_plain: bool) {
    if is_plain {
        path.push(byte.into());
    } else {
        path.push('%');
        path.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)]))); // below 16
    }
}

/// The byte that two hexadecimal digits say.
pub(crate) fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(0)? * 16 + digit(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_path() {
        for (given, normal) in [
            ("/login", "/login"),
            ("/login/", "/login"),
            ("//login", "/login"),
            ("/./login", "/login"),
            ("/a/../login", "/login"),
            ("/../../login", "/login"),
            ("/%6Cogin", "/login"),
            ("/%6cogin", "/login"),
            ("/a/%2e%2E/login", "/login"),
            ("/a\\login", "/a/login"),
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("*", "/*"),
            ("/a%2fb", "/a/b"),
            ("/a%5cb", "/a/b"),
            ("/a;x=1/b;/c", "/a/b/c"),
            ("/a;x%2fy/b", "/a/b"),
            ("/..;/a/..;x/b", "/b"),
            ("/a%3Ab%40%21%7B%2A", "/a:b@!{*"),
            ("/a%252F%3b%3f%23", "/a%252F%3B%3F%23"),
            ("/a%20b%00", "/a%20b%00"),
            ("/a%zzb%", "/a%zzb%"),
            ("/%C3%a9/é", "/%C3%A9/%C3%A9"),
            ("/a.b/.c", "/a.b/.c"),
        ] {
            assert_eq!(normalized(given), normal, "{given}");
            assert_eq!(normalized(normal), normal, "{normal}: once is enough");
        }
        assert!(matches!(normalized("/a.b/c-d"), Cow::Borrowed(_)));
    }
    #[test]
    fn readings_of_a_path() {
        let readings = |path| {
            let readings = Readings::new(path);
            [readings.one.into_owned()].into_iter().chain(readings.others).collect::<Vec<_>>().join(" ")
        };
        for (path, all) in [
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b"),
            ("/.a/b", "/.a/b"),
            ("/a/../b", "/b /a/../b /a/../b"),
            ("/a%2F../b;c", "/b /a/../b /a%2F../b;c /a%2F../b;c"),
            ("/%61", "/a /%61"),
            ("/é", "/%C3%A9"),
        ] {
            assert_eq!(readings(path), all);
        }
    }
}
