//! The path of a request as rules see it: one spelling for each resource, so that another spelling is no way round a
//! limit.
//!
//! Percent-encoded unreserved characters are decoded, `//` counts as `/`, `.` and `..` are resolved (RFC 3986, 6.2.2),
//! and a slash at the end is left out. What is passed on to the application stays as it came.

use std::borrow::Cow;

/// `path` in its one spelling. Allocates only if it is not in that spelling already.
pub(crate) fn normalized(path: &str) -> Cow<'_, str> {
    if is_normal(path) { Cow::Borrowed(path) } else { Cow::Owned(respelled(path)) }
}

fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_plain = bytes.first() == Some(&b'/')
        && !bytes.iter().any(|byte| *byte == b'%' || *byte == b'\\')
        && !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.");
    is_plain && (bytes.len() == 1 || bytes.last() != Some(&b'/'))
}

fn respelled(path: &str) -> String {
    let decoded = decoded(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

/// Decodes what may be decoded without changing what the path means (a `/` that was encoded stays so), with the hex
/// digits of the rest in capitals. A backslash is a slash to enough servers.
fn decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        let (before, from) = rest.split_at(at);
        decoded.push_str(before);
        if let Some(after) = from.strip_prefix('\\') {
            decoded.push('/');
            rest = after;
            continue;
        }
        match from.get(1..3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            Some(hex) => {
                match u8::from_str_radix(hex, 16) {
                    Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => decoded.push(byte.into()),
                    _ => {
                        decoded.push('%');
                        decoded.push_str(&hex.to_ascii_uppercase());
                    }
                }
                rest = from.get(3..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    decoded.push_str(rest);
    decoded
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
            ("/a%2fb", "/a%2Fb"),
            ("/a%zzb%", "/a%zzb%"),
            ("/%C3%a9/é", "/%C3%A9/é"),
            ("/a.b/.c", "/a.b/.c"),
        ] {
            assert_eq!(normalized(given), normal, "{given}");
            assert_eq!(normalized(normal), normal, "{normal}: once is enough");
        }
        assert!(matches!(normalized("/a.b/c-d"), Cow::Borrowed(_)));
    }
}
