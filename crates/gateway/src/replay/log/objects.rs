//! JSON that is no object a line: an array, as `gcloud logging read --format json` writes it, or objects over many lines.
//! Each object becomes a line.

use std::io::{self, Read};

/// Whether a text that begins with `start` is such JSON. No other log begins with a bracket and a blank, a line end, or an object.
pub(super) fn is_spread(start: &[u8]) -> bool {
    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    matches!(start, [b'[', b' ' | b'\t' | b'\r' | b'\n' | b'{', ..] | [b'[', b']', ..] | [b'{', b'\r' | b'\n', ..])
}

/// Reads the objects of such JSON, each as a line. What is between them and is no part of an array stays a line, too.
#[derive(Debug)]
pub(super) struct Objects<R> {
    input: R,
    /// What is read and not yet taken, and how much of it is taken.
    ready: Vec<u8>,
    taken: usize,
    /// How many braces are open.
    depth: usize,
    is_quoted: bool,
    is_escaped: bool,
    /// Inside of text that belongs to no object.
    is_stray: bool,
}

impl<R: Read> Objects<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, ready: Vec::new(), taken: 0, depth: 0, is_quoted: false, is_escaped: false, is_stray: false }
    }

    fn byte(&mut self, byte: u8) {
        if self.depth == 0 {
            match byte {
                b'{' => self.depth = 1,
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
            if self.depth == 1 && self.is_stray {
                self.ready.push(b'\n');
                self.is_stray = false;
            }
            self.ready.push(byte);
            return;
        }
        // A line end is only between the parts of an object: inside of a text it is written as `\n`.
        self.ready.push(if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
        if self.is_quoted {
            self.is_quoted = byte != b'"' || self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return;
        }
        match byte {
            b'"' => self.is_quoted = true,
            b'{' => self.depth += 1,
            b'}' => self.depth -= 1,
            _ => {}
        }
        if self.depth == 0 {
            self.ready.push(b'\n');
        }
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
                return Ok(0);
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
    }

    #[test]
    fn it_is_told_by_its_beginning() {
        for start in ["[\n  {", "[{\"a\"", "[ {\"a\"", "[]", "{\n", "{\r\n  ", "\n [\n", "\u{feff}[\n"] {
            assert!(is_spread(start.as_bytes()), "{start:?}");
        }
        for start in ["{\"a\":", "{", "[", "", "[01/Ma", "[2024-", "[GIN] ", "192.0."] {
            assert!(!is_spread(start.as_bytes()), "{start:?}");
        }
    }
}
