//! A short text built on the stack, so that a header or a body costs the one allocation it lives in.

use core::fmt;

use bytes::Bytes;
use http::HeaderValue;

use super::wire_name::WireName;

/// The largest integer of RFC 9651: 15 digits. Figures above it are shown as it.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// At most [`TextBuffer::CAPACITY`] bytes of text; what does not fit is left out.
pub(crate) struct TextBuffer {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl TextBuffer {
    /// Above the longest body and the longest header made here; see the tests of both.
    pub(crate) const CAPACITY: usize = 384;

    pub(crate) const fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], len: 0 }
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        // A piece is taken whole or not at all: half a character would not be text.
        if let Some(room) = self.bytes.get_mut(self.len..self.len.saturating_add(text.len())) {
            room.copy_from_slice(text.as_bytes());
            self.len += text.len();
        }
        self
    }

    pub(crate) fn push_number(&mut self, number: u64) -> &mut Self {
        self.push(itoa::Buffer::new().format(number.min(MAX_INTEGER)))
    }

    /// A name between quotes, escaped as RFC 9651 and JSON both have it for printable ASCII.
    pub(crate) fn push_quoted(&mut self, name: &str) -> &mut Self {
        self.push("\"");
        self.push_escaped(name);
        self.push("\"")
    }

    /// A name as within quotes.
    pub(crate) fn push_escaped(&mut self, name: &str) -> &mut Self {
        let name = WireName::new(name);
        let mut rest = name.as_str();
        while let Some(at) = rest.find(['"', '\\']) {
            let (plain, special) = rest.split_at(at);
            let (special, after) = special.split_at(1);
            self.push(plain).push("\\").push(special);
            rest = after;
        }
        self.push(rest)
    }

    /// A name without quotes or escapes.
    pub(crate) fn push_name(&mut self, name: &str) -> &mut Self {
        self.push(WireName::new(name).as_str())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text in an allocation of exactly its length.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    /// The text as the value of a header; empty if it holds a control character, which nothing pushed here does.
    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.to_bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// The value of a header that is one number.
pub(crate) fn number(number: u64) -> HeaderValue {
    value(Digits::new().of(number).to_vec())
}

/// The value of a header in the allocation of its text; empty if that holds a control character, which nothing made here does.
pub(crate) fn value(text: Vec<u8>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

/// Room for the digits of a number.
pub(crate) struct Digits(itoa::Buffer);

impl Digits {
    pub(crate) fn new() -> Self {
        Self(itoa::Buffer::new())
    }

    pub(crate) fn of(&mut self, number: u64) -> &[u8] {
        self.0.format(number.min(MAX_INTEGER)).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_fifteen_digits() {
        assert_eq!(number(0), "0");
        assert_eq!(number(MAX_INTEGER - 1), "999999999999998");
        assert_eq!(number(u64::MAX), "999999999999999");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut line = TextBuffer::new();
        line.push(&"x".repeat(TextBuffer::CAPACITY - 1)).push("é").push("y").push("z");
        assert_eq!(line.as_bytes().len(), TextBuffer::CAPACITY);
        assert_eq!(line.as_bytes().last(), Some(&b'y'));
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let mut line = TextBuffer::new();
        line.push_quoted(r#"a"b\c"#);
        assert_eq!(line.as_bytes(), br#""a\"b\\c""#);
    }
}
