//! The file that says which key is in which tier: CSV or lines of JSON, a row for each key.
//!
//! All of it or nothing: a row that cannot be used is told of with its line, and so is the end of a file that was cut off in a row.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use tollgate_http::{TierMap, TierMapBuilder, TierRowError};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// The longest line, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Reads the file at `path` into `map`.
///
/// # Errors
///
/// A line that says what is wrong, and where.
pub(crate) fn read(path: &Path, mut map: TierMapBuilder) -> Result<TierMap, String> {
    let in_file = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let unreadable = |error: io::Error| in_file(&error);
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(in_file(&"not a file"));
    }
    if found.len() > MAX_FILE {
        return Err(in_file(&"longer than 1 GiB"));
    }
    let file = BufReader::with_capacity(64 << 10, File::open(path).map_err(unreadable)?.take(MAX_FILE));
    let read = match path.extension().and_then(|end| end.to_str()) {
        Some("csv") => csv_rows(file, &mut map),
        Some("jsonl" | "ndjson") => json_rows(file, &mut map),
        _ => {
            return Err(in_file(
                &"the name must end in .csv or, with an object of JSON on each line, in .jsonl or .ndjson",
            ));
        }
    };
    read.map_err(|BadRow { line, what }| format!("{}:{line}: {what}", path.display()))?;
    let map = map.build();
    // It may be an emptied one.
    if map.is_empty() {
        return Err(in_file(&"there is no key in it; a policy without such keys has no `file`"));
    }
    Ok(map)
}

/// What is wrong with a line.
struct BadRow {
    line: u64,
    what: String,
}

impl BadRow {
    fn new(line: u64, what: impl ToString) -> Self {
        Self { line, what: what.to_string() }
    }

    fn of(line: u64, error: TierRowError, tier: &str) -> Self {
        match error {
            TierRowError::Tier => {
                Self::new(line, format_args!("`{}` is none of the tiers in `limits`", tier.escape_debug()))
            }
            error => Self::new(line, error),
        }
    }

    fn cut(line: u64) -> Self {
        Self::new(line, "the last line has no end, so the file may have been cut off")
    }
}

/// Columns `key` and `tier`, which the first line names; others are passed over.
fn csv_rows(file: impl Read, map: &mut TierMapBuilder) -> Result<(), BadRow> {
    let mut rows = csv::ReaderBuilder::new().buffer_capacity(64 << 10).from_reader(Tail::new(file));
    let bad = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                BadRow::new(line, format_args!("{len} columns where the first line has {expected_len}"))
            }
            csv::ErrorKind::Utf8 { .. } => BadRow::new(line, "not valid UTF-8"),
            _ => BadRow::new(line, error),
        }
    };
    let names = rows.headers().map_err(bad)?;
    let column = |wanted: &str| {
        let place = names.iter().position(|name| name.trim_start_matches('\u{feff}') == wanted);
        place.ok_or_else(|| {
            BadRow::new(1, format_args!("the first line names no column `{wanted}`; expected `key,tier`"))
        })
    };
    let (key, tier) = (column("key")?, column("tier")?);
    let mut row = csv::StringRecord::new();
    let mut last = 1;
    while rows.read_record(&mut row).map_err(bad)? {
        last = row.position().map_or(last, csv::Position::line);
        let (key, tier) = (row.get(key).unwrap_or_default(), row.get(tier).unwrap_or_default());
        map.add(key, tier).map_err(|error| BadRow::of(last, error, tier))?;
    }
    let tail = rows.get_ref();
    if !tail.quotes.is_multiple_of(2) {
        return Err(BadRow::new(last, "a quote that begins here, or before, has no end"));
    }
    if tail.last.is_some_and(|byte| byte != b'\n') { Err(BadRow::cut(last)) } else { Ok(()) }
}

/// How a file ends, which a reader of CSV does not care about.
struct Tail<R> {
    file: R,
    last: Option<u8>,
    quotes: u64,
}

impl<R> Tail<R> {
    const fn new(file: R) -> Self {
        Self { file, last: None, quotes: 0 }
    }
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        self.last = read.last().copied().or(self.last);
        self.quotes += u64::try_from(memchr::memchr_iter(b'"', read).count()).unwrap_or(0);
        Ok(length)
    }
}

/// A row of JSON; what else there is in it is passed over.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    tier: std::borrow::Cow<'a, str>,
}

fn json_rows(mut file: impl BufRead, map: &mut TierMapBuilder) -> Result<(), BadRow> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| BadRow::new(number, error))? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            let is_long = u64::try_from(line.len()).is_ok_and(|length| length == MAX_LINE);
            return Err(if is_long { BadRow::new(number, "longer than 64 KiB") } else { BadRow::cut(number) });
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: Row<'_> = serde_json::from_slice(&line).map_err(|error| BadRow::new(number, error))?;
        map.add(&row.key, &row.tier).map_err(|error| BadRow::of(number, error, &row.tier))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read_text(name: &str, text: &str) -> Result<usize, String> {
        let folder = std::env::temp_dir().join(format!("tollgate-tiers-{}-{:x}", std::process::id(), hash(name, text)));
        std::fs::create_dir_all(&folder).unwrap();
        let file: PathBuf = folder.join(name);
        std::fs::write(&file, text).unwrap();
        let map = TierMap::builder("header:x-api-key".parse().unwrap(), &["free", "gold"]).unwrap();
        let read = read(&file, map).map(|map| map.len());
        std::fs::remove_dir_all(&folder).unwrap();
        read.map_err(|error| error.split_once(name).unwrap().1.to_owned())
    }

    fn hash(name: &str, text: &str) -> u64 {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        BuildHasherDefault::<DefaultHasher>::default().hash_one((name, text))
    }

    #[test]
    fn rows_are_read() {
        for (name, text, rows) in [
            ("a.csv", "key,tier\nabc,free\ndef,gold\n", 2),
            ("a.csv", "id,tier,key\r\n1,free,\"a,b\"\r\n2,gold,\"c\"\"d\"\r\n", 2),
            ("a.csv", "\u{feff}key,tier\nabc,free\n\n", 1),
            (
                "a.jsonl",
                "{\"key\":\"abc\",\"tier\":\"free\",\"since\":2020}\n\n{\"tier\":\"gold\",\"key\":\"\\u0064\"}\n",
                2,
            ),
        ] {
            assert_eq!(read_text(name, text), Ok(rows), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_line() {
        for (name, text, expected) in [
            ("a.csv", "", ":1: the first line names no column `key`; expected `key,tier`"),
            ("a.csv", "key,tier\n", ": there is no key in it; a policy without such keys has no `file`"),
            ("a.csv", "abc,free\n", ":1: the first line names no column `key`; expected `key,tier`"),
            ("a.csv", "key,tier\nabc,free\ndef,silver\n", ":3: `silver` is none of the tiers in `limits`"),
            ("a.csv", "key,tier\nabc,free\ndef\n", ":3: 1 columns where the first line has 2"),
            ("a.csv", "key,tier\nabc,free\ndef,go", ":3: `go` is none of the tiers in `limits`"),
            (
                "a.csv",
                "key,tier\nabc,free\ndef,gold",
                ":3: the last line has no end, so the file may have been cut off",
            ),
            ("a.csv", "key,tier\nabc,free\n\"d\ne,gold\n", ":3: 1 columns where the first line has 2"),
            ("a.csv", "key,tier\nabc,free\nabc,gold\n", ":3: the key is there twice"),
            ("a.csv", "key,tier\n,free\n", ":2: no request can have such a key"),
            ("a.jsonl", "", ": there is no key in it; a policy without such keys has no `file`"),
            (
                "a.jsonl",
                "{\"key\":\"a\",\"tier\":\"free\"}\n{\"key\":\"b\",\"tier\":\"free\"}",
                ":2: the last line has no end, so the file may have been cut off",
            ),
            ("a.jsonl", "{\"key\":\"a\"}\n", ":1: missing field `tier` at line 1 column 11"),
            (
                "a.jsonl",
                "{\"key\":7,\"tier\":\"free\"}\n",
                ":1: invalid type: integer `7`, expected a string at line 1 column 8",
            ),
            (
                "a.txt",
                "abc,free\n",
                ": the name must end in .csv or, with an object of JSON on each line, in .jsonl or .ndjson",
            ),
        ] {
            assert_eq!(read_text(name, text), Err(expected.to_owned()), "{text}");
        }
        let long = format!("{{\"key\":\"{}\",\"tier\":\"free\"}}\n", "a".repeat(70_000));
        assert_eq!(read_text("a.jsonl", &long), Err(":1: longer than 64 KiB".to_owned()));
    }
}
