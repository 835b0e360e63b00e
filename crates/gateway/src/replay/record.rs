//! What is kept of the requests of a log: of each its time and a number, and of all that are alike one text.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::values::failure::Failure;

/// Stands for all requests that are alike to the rules. It is not the number of a key: several of these may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u32);

impl RequestId {
    /// The place of the request among the [`Texts`].
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
// There are millions: twelve bytes instead of sixteen.
#[repr(C, packed(4))]
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What was asked.
    pub request: RequestId,
}

const _: () = assert!(size_of::<Record>() == 12);

/// What is kept of requests, each text once, in the order in which the files have them.
#[derive(Debug, Default)]
pub struct Texts {
    slots: Vec<Slot>,
    /// The texts that do not fit in their slots.
    long: Vec<u8>,
    /// The numbers, by the hashes of their texts.
    ids: HashTable<RequestId>,
    hasher: RandomState,
}

/// A text of up to 15 bytes, such as an IPv4 address, with its length behind it; or where a longer one stands, with
/// [`LONG`] at the end. So one look at memory finds most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot([u8; 16]);

const LONG: u8 = u8::MAX;

impl Slot {
    fn short(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..15)?.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        bytes[15] = u8::try_from(text.len()).ok()?;
        Some(Self(bytes))
    }

    /// The lines of a log, and so what is kept of them, are far shorter than four billion bytes.
    fn long(start: usize, len: usize) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&u64::try_from(start).ok()?.to_le_bytes());
        bytes[8..12].copy_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        bytes[15] = LONG;
        Some(Self(bytes))
    }

    fn text<'t>(&'t self, long: &'t [u8]) -> &'t [u8] {
        let Self([start @ .., l0, l1, l2, l3, _, _, _, len]) = self;
        if *len != LONG {
            return &self.0[..usize::from(*len)];
        }
        let start = usize::try_from(u64::from_le_bytes(*start)).unwrap_or(usize::MAX);
        let len = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        &long[start..start + len]
    }
}

impl Texts {
    /// The number of `text`.
    pub(crate) fn intern(&mut self, text: &str) -> Result<RequestId, Failure> {
        let Self { slots, long, ids, hasher } = self;
        let hash = hasher.hash_one(text.as_bytes());
        let short = Slot::short(text);
        let is_it = |id: &RequestId| {
            let slot = &slots[id.index()];
            match &short {
                Some(short) => slot == short,
                None => slot.text(long) == text.as_bytes(),
            }
        };
        if let Some(id) = ids.find(hash, is_it) {
            return Ok(*id);
        }
        let too_many = || Failure::Other("the log has more than 4,294,967,296 requests that differ".to_owned());
        let id = RequestId(u32::try_from(slots.len()).map_err(|_| too_many())?);
        let slot = match short {
            Some(short) => short,
            None => {
                let slot = Slot::long(long.len(), text.len()).ok_or_else(too_many)?;
                long.extend_from_slice(text.as_bytes());
                slot
            }
        };
        slots.push(slot);
        ids.insert_unique(hash, id, |id| hasher.hash_one(slots[id.index()].text(long)));
        Ok(id)
    }

    /// No more will be added: what is needed for that alone is freed.
    pub(crate) fn seal(&mut self) {
        self.ids = HashTable::new();
        self.slots.shrink_to_fit();
        self.long.shrink_to_fit();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The text of that number.
    pub fn text(&self, id: RequestId) -> &str {
        self.of(&self.slots[id.index()])
    }

    fn of<'t>(&'t self, slot: &'t Slot) -> &'t str {
        // It came from a text.
        str::from_utf8(slot.text(&self.long)).unwrap_or_default()
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &str)> {
        (0..=u32::MAX).map(RequestId).zip(self.slots.iter().map(|slot| self.of(slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once() {
        let mut texts = Texts::default();
        let (fits, long) = ("255.255.255.255", "2001:db8::1:2:3:4\u{1f}/é");
        let ids = ["a", "", fits, "a", "", "a\0", long, fits, long].map(|text| texts.intern(text).unwrap());
        assert_eq!(ids, [0, 1, 2, 0, 1, 3, 4, 2, 4].map(RequestId));
        for number in 0..10_000 {
            texts.intern(&format!("{number}")).unwrap();
            texts.intern(&format!("a text that is long {number}")).unwrap();
        }
        assert_eq!(texts.intern(long).unwrap(), ids[6]);
        texts.seal();
        assert_eq!(texts.len(), 20_005);
        assert_eq!(["a", "", fits, "a\0", long], [0, 1, 2, 5, 6].map(|at: usize| texts.text(ids[at])));
        assert!(texts.iter().all(|(id, text)| texts.text(id) == text));
    }
}
