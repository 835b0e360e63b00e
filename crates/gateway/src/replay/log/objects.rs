//! JSON that is no object a line: an array, as `gcloud logging read --format json` writes it, objects over many lines or without line ends
//! between them, and a list inside of an object, as in `{"Records":[...]}`. Each object becomes a line.

use std::io::{self, Read};

use super::json;
use super::lines::MAX_LINE;

/// Names of the lists in which services export what they have logged, in small letters.
const LISTS: &[&str] =
    &["records", "value", "entries", "items", "logs", "logevents", "events", "results", "data", "hits", "rows"];

/// Whether a text that begins with `start` is such JSON. No other log begins with a bracket and a blank, a line end, or an object.
pub(super) fn is_spread(start: &[u8]) -> bool {
    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    match start {
        [b'[', b' ' | b'\t' | b'\r' | b'\n' | b'{', rest @ ..] => {
            // A number between them is of the kernel's clock.
            matches!(rest.trim_ascii_start(), [] | [b'{' | b'[' | b']' | b'"' | b'}', ..])
        }
        [b'[', b']', ..] | [b'{', b'\r' | b'\n', ..] => true,
        [b'{', ..] => is_more_than_a_line(start),
        _ => false,
    }
}

/// Whether the rest of the first line tells more than `start` does.
pub(super) fn may_go_on(start: &[u8]) -> bool {
    let text = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    text.starts_with(b"{") && !text.contains(&b'\n')
}

/// Whether what begins with an object goes on with another on the same line, or is a list inside of it, or has its first line end between
/// two parts of it.
fn is_more_than_a_line(start: &[u8]) -> bool {
    let mut scan = Scan::default();
    for (at, byte) in start.iter().enumerate() {
        match scan.byte(*byte) {
            Step::Inside if *byte == b'\n' => {
                let line = start[..at].trim_ascii_end();
                return !scan.is_quoted && matches!(line.last(), Some(b',' | b'{' | b'[' | b':'));
            }
            Step::Inside => {}
            Step::List => return true,
            Step::End => {
                let rest = start[at + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
                return rest == Some(&b'{');
            }
        }
    }
    false
}

/// Where one is in an object.
#[derive(Debug, Default)]
struct Scan {
    /// How many braces and how many brackets are open.
    depth: usize,
    arrays: usize,
    is_quoted: bool,
    is_escaped: bool,
    /// The object so far.
    text: Vec<u8>,
    /// A list of one of the names that count has just begun.
    is_list: bool,
}

/// What a byte is.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Inside,
    /// The first of what is in a list that makes the object its wrapper.
    List,
    /// The last of the object.
    End,
}

impl Scan {
    fn byte(&mut self, byte: u8) -> Step {
        if self.is_quoted {
            self.text.push(byte);
            self.is_quoted = byte != b'"' || self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return Step::Inside;
        }
        if self.is_list && !byte.is_ascii_whitespace() {
            self.is_list = false;
            if matches!(byte, b'{' | b']') && !self.has_request() {
                return Step::List;
            }
        }
        match byte {
            b'"' => self.is_quoted = true,
            b'{' => self.depth += 1,
            b'}' => self.depth = self.depth.saturating_sub(1),
            b'[' => {
                self.is_list = self.arrays == 0 && self.is_named();
                self.arrays += 1;
            }
            b']' => self.arrays = self.arrays.saturating_sub(1),
            _ => {}
        }
        self.text.push(byte);
        if self.depth == 0 { Step::End } else { Step::Inside }
    }

    /// Whether what begins now has one of the names of lists.
    fn is_named(&self) -> bool {
        let name = self.text.trim_ascii_end().strip_suffix(b":").map(<[u8]>::trim_ascii_end);
        let name = name.and_then(|text| text.strip_suffix(b"\""));
        name.is_some_and(|text| {
            LISTS.iter().any(|list| {
                let before = text.len().checked_sub(list.len() + 1).and_then(|at| text.split_at_checked(at));
                before.is_some_and(|(_, name)| name[0] == b'"' && name[1..].eq_ignore_ascii_case(list.as_bytes()))
            })
        })
    }

    /// Whether what is there so far is a request by itself, to which a list only belongs.
    fn has_request(&self) -> bool {
        let end = self.text.iter().rposition(|byte| matches!(byte, b',' | b'{'));
        let mut text = match end {
            Some(at) if self.text[at] == b'{' => self.text[..=at].to_vec(),
            Some(at) => self.text[..at].to_vec(),
            None => return false,
        };
        text.extend(std::iter::repeat_n(b'}', self.depth));
        serde_json::from_slice(&text).is_ok_and(|object| json::has_request(&object))
    }
}

/// Reads the objects of such JSON, each as a line. What is between them and is no part of an array stays a line, too.
#[derive(Debug)]
pub(super) struct Objects<R> {
    input: R,
    /// What is read and not yet taken, and how much of it is taken.
    ready: Vec<u8>,
    taken: usize,
    object: Scan,
    /// How many braces are open around the list that is being read.
    wrapped: usize,
    /// The object is what is left of a wrapper behind its list.
    is_tail: bool,
    /// The beginning of the object is given out already, as it is too long to be kept.
    is_long: bool,
    /// Inside of text that belongs to no object.
    is_stray: bool,
}

impl<R: Read> Objects<R> {
    pub(super) fn new(input: R) -> Self {
        let object = Scan::default();
        Self { input, ready: Vec::new(), taken: 0, object, wrapped: 0, is_tail: false, is_long: false, is_stray: false }
    }

    fn byte(&mut self, byte: u8) {
        if self.object.depth == 0 {
            self.between(byte);
            return;
        }
        if byte == b'\n' && self.object.is_quoted {
            // No text has a line end in it: the object is cut off, and what follows is another.
            self.wrapped = 0;
            self.end();
            return;
        }
        // A line end is only between the parts of an object: inside of a text it is written as `\n`.
        match self.object.byte(if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }) {
            Step::Inside if self.object.text.len() > MAX_LINE && !self.is_tail => {
                // Whoever reads the lines says that it is too long.
                self.ready.append(&mut self.object.text);
                self.is_long = true;
            }
            Step::Inside if self.is_tail && self.object.text.len() > MAX_LINE => self.object.text.clear(),
            Step::Inside => {}
            Step::List => {
                self.wrapped = self.object.depth;
                if self.is_long {
                    self.ready.push(b'\n');
                }
                (self.object, self.is_tail, self.is_long) = (Scan::default(), false, false);
                self.between(byte);
            }
            Step::End => self.end(),
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'{' => {
                if self.is_stray {
                    self.ready.push(b'\n');
                    self.is_stray = false;
                }
                self.object.byte(byte);
                return;
            }
            b']' if self.wrapped > 0 && !self.is_stray => {
                (self.object.depth, self.wrapped, self.is_tail) = (self.wrapped, 0, true);
                return;
            }
            b'\n' => {
                if self.is_stray {
                    self.ready.push(b'\n');
                }
                self.is_stray = false;
                return;
            }
            b'[' | b']' | b',' if !self.is_stray => return,
            byte if byte.is_ascii_whitespace() && !self.is_stray => return,
            _ => self.is_stray = true,
        }
        self.ready.push(byte);
    }

    /// The object is over: it is a line, unless there is only the rest of a wrapper.
    fn end(&mut self) {
        if !self.is_tail {
            self.ready.append(&mut self.object.text);
            self.ready.push(b'\n');
        }
        (self.object, self.is_tail, self.is_long) = (Scan::default(), false, false);
    }
}

impl<R: Read> Read for Objects<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            let mut chunk = [0; 16 * 1024];
            let read = self.input.read(&mut chunk)?;
            if read == 0 {
                if self.object.text.is_empty() || self.is_tail {
                    return Ok(0);
                }
                self.end();
            }
            chunk[..read].iter().for_each(|byte| self.byte(*byte));
        }
        let rest = &self.ready[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives a few bytes at a time.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[track_caller]
    fn assert_lines(text: &str, expected: &[&str]) {
        for step in [1, 2, 7, 100_000] {
            let mut lines = String::new();
            Objects::new(Slow(text.as_bytes(), step)).read_to_string(&mut lines).unwrap();
            let lines: Vec<String> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
            assert_eq!(lines, expected, "{step}");
        }
    }

    #[test]
    fn every_object_is_a_line() {
        assert_lines(
            "[\n  {\n    \"a\": 1\n  },\r\n  {\n    \"b\": {\"c\": [{}]}\n  }\n]\n",
            &["{\"a\":1}", "{\"b\":{\"c\":[{}]}}"],
        );
        assert_lines("[{\"a\":\"}{\\\"]\\\\\"},{\"b\":2}]", &["{\"a\":\"}{\\\"]\\\\\"}", "{\"b\":2}"]);
        assert_lines("{\n\"a\":1\n}\n{\n\"b\":2}{\"c\":3}", &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        assert_lines("[]\n", &[]);
        assert_lines(
            "[ {\"a\":1}, nonsense, [x]\n{\"b\":2}, {\"c\":",
            &["{\"a\":1}", "nonsense,[x]", "{\"b\":2}", "{\"c\":"],
        );
        assert_lines("[ x {\"a\":1} ]", &["x", "{\"a\":1}"]);
        // An object that is cut off takes none of the next one with it.
        assert_lines("{\"a\":\"1\n{\"b\":2}{\"c\":3}\n", &["{\"a\":\"1", "{\"b\":2}", "{\"c\":3}"]);
    }

    #[test]
    fn a_list_in_an_object_is_what_the_object_is_for() {
        let two = ["{\"a\":[1,{}]}", "{\"b\":\"]}\"}"];
        for (before, after) in [
            ("{\"records\":[", "]}"),
            ("{ \"Records\" : [ ", " ] }\n"),
            ("{\n  \"value\": [\n    ", "\n  ]\n}\n"),
            ("{\"owner\":\"1\",\"filters\":[\"x\"],\"logEvents\":[", "],\"next\":{\"token\":[{}]}}"),
            ("{\"took\":1,\"hits\":{\"total\":{\"value\":2},\"hits\":[", "]}}"),
            ("[{\"records\":[", "]}]"),
        ] {
            let text = format!("{before}{},{}{after}", two[0], two[1]);
            assert_lines(&text, &two);
            assert_lines(&format!("{text}{text}\n{text}"), &[two, two, two].concat());
        }
        assert_lines("{\"records\":[]}\n{\"records\":[{\"a\":1}]}", &["{\"a\":1}"]);
        // A request that has such a list, and lists of other things.
        for line in [
            "{\"remote_addr\":\"192.0.2.1\",\"events\":[{\"a\":1}]}",
            "{\"a\":[{\"records\":[{\"b\":1}]}]}",
            "{\"records\":[\"x\",{\"a\":1}]}",
            "{\"records\":[1]}",
            "{\"xrecords\":[{}]}",
        ] {
            assert_lines(line, &[line]);
        }
        // What is cut off in its list: the rest is a line of its own, and unreadable.
        assert_lines("{\"records\":[{\"a\":1},{\"b\":", &["{\"a\":1}", "{\"b\":"]);
    }

    #[test]
    fn an_object_that_is_too_long_is_not_kept() {
        let mut objects = Objects::new(io::empty());
        let (mut most, mut all) = (0, 0);
        for byte in std::iter::once(b'{').chain(std::iter::repeat_n(b' ', 3 * MAX_LINE)) {
            objects.byte(byte);
            most = most.max(objects.object.text.len());
            all = all.max(objects.ready.len());
        }
        assert!(most <= MAX_LINE + 1 && all > MAX_LINE, "{most} {all}");
    }

    #[test]
    fn it_is_told_by_its_beginning() {
        for start in ["[\n  {", "[{\"a\"", "[ {\"a\"", "[]", "{\n", "{\r\n  ", "\n [\n", "\u{feff}[\n"] {
            assert!(is_spread(start.as_bytes()), "{start:?}");
        }
        for start in
            ["{\"a\":{}}{", "{\"a\":1} {", "{\"records\":[{", "{ \"a\":1,\n", "{ \"a\":{\r\n", "{\"value\": []"]
        {
            assert!(is_spread(start.as_bytes()), "{start:?}");
        }
        for start in
            ["{\"a\":1}\n{", "{\"a\":\"b,\n{", "{\"a\":1\n{", "{\"ip\":\"192.0.2.1\",\"events\":[{", "{\"records\":[1"]
        {
            assert!(!is_spread(start.as_bytes()), "{start:?}");
        }
        for start in ["{\"a\":", "{", "[", "", "[   12.", "[01/Ma", "[2024-", "[GIN] ", "192.0."] {
            assert!(!is_spread(start.as_bytes()), "{start:?}");
        }
    }
}
