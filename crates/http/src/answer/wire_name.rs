//! A name as clients see it: printable ASCII, and short.

use core::fmt;

/// A limit's or a policy's name, ready for headers and bodies.
///
/// Bytes outside printable ASCII are percent-encoded, since the fields of the draft hold nothing else. Names longer
/// than [`WireName::MAX`] end in three dots: keep names apart in their first [`WireName::MAX`]` - 3` bytes.
pub(crate) struct WireName {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl WireName {
    /// The most bytes of a name that are shown.
    pub(crate) const MAX: usize = 48;

    const DOTS: &'static [u8] = b"...";

    pub(crate) fn new(name: &str) -> Self {
        let mut wire = Self { bytes: [0; Self::MAX], len: 0 };
        // Where to cut if it turns out too long: the last end of a whole byte's form that leaves room for the dots.
        let mut cut = 0;
        for &byte in name.as_bytes() {
            let fits = if is_plain(byte) { wire.push(&[byte]) } else { wire.push(&percent(byte)) };
            if !fits {
                wire.len = cut;
                wire.push(Self::DOTS);
                break;
            }
            if wire.len + Self::DOTS.len() <= Self::MAX {
                cut = wire.len;
            }
        }
        wire
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        match self.bytes.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                true
            }
            None => false,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII was pushed.
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// The byte as `%` and two hexadecimal digits.
fn percent(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(name: &str) -> String {
        WireName::new(name).to_string()
    }

    #[test]
    fn plain_names_stay() {
        assert_eq!(shown("per minute, 50%"), "per minute, 50%");
        let longest = "n".repeat(WireName::MAX);
        assert_eq!(shown(&longest), longest);
    }

    #[test]
    fn other_bytes_are_percent_encoded() {
        assert_eq!(shown("café\r\n\u{7f}"), "caf%C3%A9%0D%0A%7F");
    }

    #[test]
    fn long_names_end_in_dots_and_never_in_half_a_byte() {
        assert_eq!(shown(&"n".repeat(WireName::MAX + 1)), format!("{}...", "n".repeat(WireName::MAX - 3)));
        // 45 is a multiple of three: all of it is used; one plain byte before, and the last form would be cut.
        assert_eq!(shown(&"é".repeat(100)), format!("{}%C3...", "%C3%A9".repeat(7)));
        assert_eq!(shown(&format!("x{}", "é".repeat(100))), format!("x{}...", "%C3%A9".repeat(7)));
    }
}
