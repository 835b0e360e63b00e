//! Who shares a bucket: the part of a request, or several, that make its key.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::log::Request;

/// Stands in a key for a part that a request has not.
///
/// Such requests share a bucket, as they would in a proxy that has nothing else to tell them apart by; letting them
/// pass would make leaving out a header a way round the limit. The report counts them.
pub(crate) const MISSING: &str = "(none)";

/// Between the parts of a composite key. It is made for this, and no address, method or path has one in it.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// One part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Client,
    Path,
    Method,
    Header(String),
}

impl Part {
    /// This part of `request`, if it has it.
    pub(crate) fn of<'r>(&self, request: &'r Request<'_>) -> Option<Cow<'r, str>> {
        match self {
            Self::Client => request.client.as_deref().map(Cow::Borrowed),
            Self::Path => request.path().map(Cow::Borrowed),
            Self::Method => request.method.as_deref().map(Cow::Borrowed),
            Self::Header(name) => request.header(name),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("ip"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "ip" => Ok(Self::Client),
            "path" => Ok(Self::Path),
            "method" => Ok(Self::Method),
            other => match other.strip_prefix("header").map(|rest| rest.trim_start_matches([':', ' ', '='])) {
                // `headerx` is no header called x.
                Some(name) if is_header_name(name) && other.len() > "header".len() + name.len() => {
                    Ok(Self::Header(name.to_ascii_lowercase()))
                }
                _ => Err(format!("`{other}` is no part of a request; expected ip, path, method or header:NAME")),
            },
        }
    }
}

/// The `token` of RFC 9110, without the `+` that joins parts here.
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*-.^_`|~".contains(&byte))
}

/// The parts that make a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySpec(Vec<Part>);

impl KeySpec {
    /// Writes the key of `request` into `key`; returns whether every part was there.
    pub(crate) fn write(&self, request: &Request<'_>, key: &mut String) -> bool {
        let mut is_complete = true;
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                key.push(SEPARATOR);
            }
            match part.of(request) {
                Some(text) => key.push_str(&text),
                None => {
                    key.push_str(MISSING);
                    is_complete = false;
                }
            }
        }
        is_complete
    }
}

/// A key as reports show it.
pub(crate) fn shown(key: &str) -> Cow<'_, str> {
    if key.contains(SEPARATOR) { Cow::Owned(key.replace(SEPARATOR, " ")) } else { Cow::Borrowed(key) }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if i == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('+').map(Part::from_str).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log;
    use super::*;

    fn key(spec: &str, line: &str) -> (String, bool) {
        let mut key = String::new();
        let is_complete = spec.parse::<KeySpec>().unwrap().write(&log::parse(line).unwrap(), &mut key);
        (shown(&key).into_owned(), is_complete)
    }

    #[test]
    fn keys_of_a_line() {
        let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 1 "-" "curl/8""#;
        assert_eq!(key("ip", line), ("192.0.2.1".to_owned(), true));
        assert_eq!(key("ip+path", line), ("192.0.2.1 /a".to_owned(), true));
        assert_eq!(key("method + header User-Agent", line), ("GET curl/8".to_owned(), true));
        assert_eq!(key("header:referer", line), ("(none)".to_owned(), false));
        assert_eq!(key("ip+header:x-api-key", line), ("192.0.2.1 (none)".to_owned(), false));
    }

    #[test]
    fn key_specs_print_and_complain() {
        for (given, printed) in [("ip", "ip"), ("header User-Agent", "header:user-agent"), ("ip+ path", "ip+path")] {
            assert_eq!(given.parse::<KeySpec>().unwrap().to_string(), printed);
        }
        for bad in ["", "ip+", "user", "header", "header:", "headerx", "header:a b", "ip,path"] {
            assert!(bad.parse::<KeySpec>().unwrap_err().contains("expected ip, path"), "{bad}");
        }
    }
}
