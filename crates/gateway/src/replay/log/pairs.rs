//! Lines of names and values: `at=info method=GET` as Heroku and many loggers write it, and LTSV.

use serde_json::{Map, Value};

/// The pairs of a line, if it is made of at least three.
pub(super) fn read(line: &str) -> Option<Map<String, Value>> {
    if line.contains('\t') && line.contains(':') { tabbed(line) } else { spaced(line) }.filter(|pairs| pairs.len() >= 3)
}

/// `time:...\thost:...`: no tab may stand in a value.
fn tabbed(line: &str) -> Option<Map<String, Value>> {
    let mut pairs = Map::new();
    for pair in line.split('\t') {
        let (name, value) = pair.split_once(':')?;
        if !is_name(name) {
            return None;
        }
        let value = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
        pairs.entry(name).or_insert_with(|| Value::String(value.to_owned()));
    }
    Some(pairs)
}

/// `name=value name="a value" name`.
fn spaced(line: &str) -> Option<Map<String, Value>> {
    let mut pairs = Map::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix('=') else {
            // A word without a value is a flag, except at the beginning, where it would be a line of another kind.
            if pairs.is_empty() {
                return None;
            }
            rest = after.trim_start();
            continue;
        };
        if !is_name(name) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = super::clf::until_quote(quoted)?;
                (super::clf::unescaped(value).into_owned(), after)
            }
            None => {
                let (value, after) = after.split_at(after.find(' ').unwrap_or(after.len()));
                (value.to_owned(), after)
            }
        };
        pairs.entry(name).or_insert(Value::String(value));
        rest = after.trim_start();
    }
    Some(pairs)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_both_kinds() {
        let pairs = read(r#"at=info method=GET path="/a b\"" flag fwd="192.0.2.1, 10.0.0.1" status=200"#).unwrap();
        assert_eq!(pairs["path"], "/a b\"");
        assert_eq!((pairs["fwd"].as_str(), pairs["status"].as_str()), (Some("192.0.2.1, 10.0.0.1"), Some("200")));
        let pairs = read("time:[17/May/2015:10:05:03 +0000]\thost:192.0.2.1\treq:GET / HTTP/1.1").unwrap();
        assert_eq!(pairs["time"], "17/May/2015:10:05:03 +0000");
        for line in ["a=1 b=2", "hello a=1 b=2 c=3", "a=\"1 b=2 c=3", "", "(a)=1 b=2 c=3"] {
            assert!(read(line).is_none(), "{line}");
        }
    }
}
