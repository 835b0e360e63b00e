//! Text of two bytes a character, as PowerShell writes what is redirected to a file, read as UTF-8.

use std::io::{self, Read};

/// Which of two bytes comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Low,
    High,
}

impl Order {
    /// That of a text that begins with `start`, if its mark says that it is such.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0xff, 0xfe, ..] => Some(Self::Low),
            [0xfe, 0xff, ..] => Some(Self::High),
            _ => None,
        }
    }
}

/// Reads it, with the mark in front as the one of UTF-8; what is no text becomes U+FFFD.
#[derive(Debug)]
pub(super) struct Utf16<R> {
    input: R,
    order: Order,
    /// What is read and not yet whole.
    bytes: Vec<u8>,
    /// What is whole and not yet taken, and how much of it is taken.
    ready: Vec<u8>,
    taken: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(input: R, order: Order) -> Self {
        Self { input, order, bytes: Vec::new(), ready: Vec::new(), taken: 0 }
    }

    /// Turns what is whole of the bytes into text; at the end all of them.
    fn turn(&mut self, is_end: bool) {
        let unit = |pair: &[u8]| match (self.order, pair) {
            (Order::Low, [low, high]) | (Order::High, [high, low]) => u16::from_le_bytes([*low, *high]),
            // Half of one, at the end.
            _ => 0xfffd,
        };
        let whole = self.bytes.len() - self.bytes.len() % 2;
        // The first half of a character beyond the first 65,536 waits for the second.
        let waits = whole >= 2 && (0xd800..0xdc00).contains(&unit(&self.bytes[whole - 2..whole]));
        let end = match (is_end, waits) {
            (true, _) => self.bytes.len(),
            (false, true) => whole - 2,
            (false, false) => whole,
        };
        let mut utf8 = [0; 4];
        for character in char::decode_utf16(self.bytes[..end].chunks(2).map(unit)) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.ready.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
        self.bytes.drain(..end);
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            let mut chunk = [0; 16 * 1024];
            let read = self.input.read(&mut chunk)?;
            if read == 0 && self.bytes.is_empty() {
                return Ok(0);
            }
            self.bytes.extend_from_slice(&chunk[..read]);
            self.turn(read == 0);
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

    /// A reader that gives one byte at a time.
    struct Slow<'t>(&'t [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = 1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    #[track_caller]
    fn assert_read(bytes: &[u8], expected: &str) {
        let order = Order::of(bytes).unwrap();
        let (mut whole, mut slow) = (String::new(), String::new());
        Utf16::new(bytes, order).read_to_string(&mut whole).unwrap();
        Utf16::new(Slow(bytes), order).read_to_string(&mut slow).unwrap();
        assert_eq!((whole.as_str(), slow.as_str()), (expected, expected));
    }

    #[test]
    fn both_orders_become_utf_8() {
        let text = "\u{feff}GET /é\u{20ac}\u{1f600}\r\n";
        let low: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let high: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_read(&low, text);
        assert_read(&high, text);
        assert_read(&low[..low.len() - 1], "\u{feff}GET /é\u{20ac}\u{1f600}\r\u{fffd}");
        // Halves without the other.
        assert_read(&[0xff, 0xfe, 0x3d, 0xd8], "\u{feff}\u{fffd}");
        assert_read(&[0xff, 0xfe, 0x00, 0xde, b'a', 0], "\u{feff}\u{fffd}a");
        assert_eq!((Order::of(b"\xff"), Order::of(b"192.0"), Order::of(b"")), (None, None, None));
    }
}
