//! Lines of bounded length: a file without line ends must not end up in memory.

use std::io::{self, BufRead};

/// The longest line that is read; servers bound their requests far below.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// What [`next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The line is in the buffer, without its end.
    Whole,
    /// The line was longer than [`MAX_LINE`] and has been skipped, or the next part of it has.
    TooLong {
        /// The end of the line is still to come.
        goes_on: bool,
    },
}

/// Reads the next line into `buffer`, or nothing at the end.
pub(crate) fn next(reader: &mut dyn BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<Line>> {
    buffer.clear();
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            return Ok((!buffer.is_empty()).then_some(Line::Whole));
        }
        let end = memchr::memchr(b'\n', chunk);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let used = end.map_or(chunk.len(), |end| end + 1);
        let is_too_long = buffer.len() + part.len() > MAX_LINE;
        if !is_too_long {
            buffer.extend_from_slice(part);
        }
        reader.consume(used);
        if is_too_long {
            buffer.clear();
            return Ok(Some(Line::TooLong { goes_on: end.is_none() }));
        }
        if end.is_some() {
            if buffer.last() == Some(&b'\r') {
                buffer.pop();
            }
            return Ok(Some(Line::Whole));
        }
    }
}

/// Skips what is left of a line that goes on; returns how many bytes that was and whether its end is reached.
///
/// One buffer at a time, so that the caller can give up on an endless one.
pub(crate) fn skip(reader: &mut dyn BufRead) -> io::Result<(usize, bool)> {
    let chunk = match reader.fill_buf() {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok((0, false)),
        chunk => chunk?,
    };
    let end = memchr::memchr(b'\n', chunk);
    let used = end.map_or(chunk.len(), |end| end + 1);
    let is_over = end.is_some() || chunk.is_empty();
    reader.consume(used);
    Ok((used, is_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_all_kinds_of_ends() {
        let mut reader: &[u8] = b"one\r\n\ntwo\nthree";
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        while let Some(line) = next(&mut reader, &mut buffer).unwrap() {
            assert_eq!(line, Line::Whole);
            seen.push(String::from_utf8(buffer.clone()).unwrap());
        }
        assert_eq!(seen, ["one", "", "two", "three"]);
    }

    #[test]
    fn a_long_line_is_skipped_and_the_next_is_whole() {
        let mut text = vec![b'x'; MAX_LINE];
        text.extend_from_slice(b"\n");
        text.extend(vec![b'y'; 3 * MAX_LINE]);
        text.extend_from_slice(b"\nafter\n");
        let mut reader = io::BufReader::with_capacity(1 << 16, text.as_slice());
        let mut buffer = Vec::new();
        assert_eq!(next(&mut reader, &mut buffer).unwrap(), Some(Line::Whole));
        assert_eq!(buffer.len(), MAX_LINE);
        assert_eq!(next(&mut reader, &mut buffer).unwrap(), Some(Line::TooLong { goes_on: true }));
        while !skip(&mut reader).unwrap().1 {}
        assert_eq!(next(&mut reader, &mut buffer).unwrap(), Some(Line::Whole));
        assert_eq!(buffer, b"after");
        assert_eq!(next(&mut reader, &mut buffer).unwrap(), None);
    }
}
