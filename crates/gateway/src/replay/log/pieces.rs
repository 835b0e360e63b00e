//! Lines that the runtime of a container has cut to pieces, as it does with what is longer than 16 KiB.

use serde_json::{Map, Value};

use super::Reason;
use super::lines::MAX_LINE;

/// What Docker writes at most as one piece.
const DOCKER: usize = 16 * 1024;

/// A piece of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// 1 for what was written as an error: pieces of the two come mixed.
    stream: usize,
    /// Whether another follows.
    goes_on: bool,
    text: &'a str,
}

impl<'a> Piece<'a> {
    /// Of `TIME stdout P TEXT`; a whole line, or the last piece, has an `F`. Also what is in front of the text.
    pub(super) fn of_cri(line: &'a str) -> Option<(Self, &'a str)> {
        if !matches!(line.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..]) {
            return None;
        }
        let mut words = line.splitn(4, ' ');
        let (_time, stream, tag, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let stream = stream_of(stream)?;
        // More tags may follow, with colons between.
        let goes_on = tag == "P" || tag.starts_with("P:");
        let head = line.strip_suffix(text)?;
        (goes_on || tag == "F" || tag.starts_with("F:")).then_some((Self { stream, goes_on, text }, head))
    }

    /// Of Docker's `json-file`: only the last piece has the end of the line. Others who write such objects leave all ends out.
    pub(super) fn of_docker(object: &'a Map<String, Value>) -> Option<Self> {
        let text = object.get("log")?.as_str()?;
        let stream = stream_of(object.get("stream")?.as_str()?)?;
        Some(Self { stream, goes_on: text.len() >= DOCKER && !text.ends_with('\n'), text })
    }
}

fn stream_of(name: &str) -> Option<usize> {
    match name {
        "stdout" => Some(0),
        "stderr" => Some(1),
        _ => None,
    }
}

/// The pieces whose line is not yet whole.
#[derive(Debug, Default)]
pub(super) struct Pieces([Line; 2]);

#[derive(Debug, Default)]
struct Line {
    text: String,
    /// How many pieces it has so far.
    count: u64,
}

impl Pieces {
    /// Adds a piece: the text of the line if it was the last of several, and nothing if it is a line by itself.
    /// The first piece is kept with its `head` in front.
    ///
    /// # Errors
    ///
    /// If the line is too long. What follows of it is, too.
    pub(super) fn add(&mut self, piece: &Piece<'_>, head: &str) -> Result<Joined, Reason> {
        let Some(line) = self.0.get_mut(piece.stream) else { return Ok(Joined::Whole) };
        if !piece.goes_on && line.count == 0 {
            return Ok(Joined::Whole);
        }
        if line.count == 0 {
            line.text.push_str(head);
        }
        line.count += 1;
        if line.text.len() + piece.text.len() > MAX_LINE {
            line.text.clear();
            // The next ones find it as long.
            line.text.extend(std::iter::repeat_n(' ', MAX_LINE));
        } else {
            line.text.push_str(piece.text);
        }
        if piece.goes_on {
            return Ok(Joined::GoesOn);
        }
        line.count = 0;
        let text = std::mem::take(&mut line.text);
        if text.len() >= MAX_LINE {
            return Err(format!("its pieces together are longer than {MAX_LINE} bytes").into());
        }
        Ok(Joined::Line(text))
    }

    /// How many lines have pieces and no end.
    pub(super) fn open(&self) -> u64 {
        self.0.iter().map(|line| u64::from(line.count > 0)).sum()
    }
}

/// What a piece made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is a line by itself.
    Whole,
    /// Others are still to come.
    GoesOn,
    /// It was the last of this line.
    Line(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(pieces: &mut Pieces, line: &str) -> Result<Joined, Reason> {
        let (piece, head) = Piece::of_cri(line).unwrap();
        pieces.add(&piece, head)
    }

    #[test]
    fn pieces_of_two_streams_come_mixed() {
        let mut pieces = Pieces::default();
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:00Z stdout F a b"), Ok(Joined::Whole));
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:00Z stdout P a "), Ok(Joined::GoesOn));
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:01Z stderr F x"), Ok(Joined::Whole));
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:02Z stderr P:x y"), Ok(Joined::GoesOn));
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:02Z stdout P b"), Ok(Joined::GoesOn));
        assert_eq!(pieces.open(), 2);
        let line = "2024-03-01T12:00:00Z stdout P a bc".to_owned();
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:03Z stdout F c"), Ok(Joined::Line(line)));
        assert_eq!(pieces.open(), 1);
        for line in ["2024-03-01T12:00:00Z stdout x y", "2024-03-01T12:00:00Z web1 F x", "192.0.2.1 - - [x] F y", ""] {
            assert_eq!(Piece::of_cri(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_many_pieces_is_bounded() {
        let mut pieces = Pieces::default();
        let piece = format!("2024-03-01T12:00:00Z stdout P {}", "x".repeat(MAX_LINE / 3));
        for _ in 0..10 {
            assert_eq!(add(&mut pieces, &piece), Ok(Joined::GoesOn));
            assert!(pieces.0[0].text.len() <= MAX_LINE);
        }
        assert!(add(&mut pieces, "2024-03-01T12:00:00Z stdout F x").unwrap_err().contains("longer than"));
        assert_eq!(add(&mut pieces, "2024-03-01T12:00:00Z stdout F x"), Ok(Joined::Whole));
    }
}
