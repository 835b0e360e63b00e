//! What is kept of the requests of a log: of each its time and a number, and of all that are alike one text.

use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

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
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What was asked.
    pub request: RequestId,
}

/// Records in a chunk.
const CHUNK: usize = 1 << 16;

/// The requests of a log in order of time, in some four bytes each.
///
/// They are put away in chunks as they come. A chunk is sorted by itself, and reading merges the chunks, of equal times the earlier chunk
/// first: that is the order of a stable sort, however far from it the log is. Nothing is moved or copied when a log grows. Where
/// a log is in order, or out of it by less than a chunk, few chunks are open at once and reading is a walk through one after the other.
#[derive(Debug)]
pub struct Records {
    /// In the order in which they came until they are sealed, then by their first times.
    chunks: Vec<Chunk>,
    /// What is not yet a chunk.
    open: Vec<Record>,
    len: usize,
    /// The times of which records are read.
    kept: RangeInclusive<u64>,
    buffer: Vec<u8>,
}

/// Sorted records: of each its number, doubled, and one more if its time is not that of the one before; then how much later it is. Both are
/// of seven bits in a byte, the lowest first, of which all but the last have the eighth.
#[derive(Debug)]
struct Chunk {
    /// Which one it was.
    number: usize,
    /// The times of the first record and of the last.
    times: (u64, u64),
    /// What differences of time are counted in, in nanoseconds.
    unit: u64,
    bytes: Box<[u8]>,
}

impl Chunk {
    /// Of `records`, which are sorted and not empty.
    fn new(number: usize, records: &[Record], buffer: &mut Vec<u8>) -> Option<Self> {
        let times = (records.first()?.time, records.last()?.time);
        let mut unit = 1_000_000_000;
        for pair in records.windows(2) {
            let later = pair[1].time - pair[0].time;
            while later != 0 && !later.is_multiple_of(unit) {
                // At last by one, which everything is a multiple of.
                unit /= 1_000;
            }
        }
        buffer.clear();
        let mut before = times.0;
        for record in records {
            let later = (record.time - before) / unit;
            before = record.time;
            put(buffer, u64::from(record.request.0) << 1 | u64::from(later > 0));
            if later > 0 {
                put(buffer, later);
            }
        }
        Some(Self { number, times, unit, bytes: buffer.as_slice().into() })
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// What [`put`] has written; nothing at the end.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        // At most ten bytes are written: up to 63.
        shift += 7;
    }
}

impl Default for Records {
    fn default() -> Self {
        Self { chunks: Vec::new(), open: Vec::new(), len: 0, kept: 0..=u64::MAX, buffer: Vec::new() }
    }
}

impl Records {
    pub(crate) fn push(&mut self, record: Record) {
        self.open.push(record);
        self.len += 1;
        if self.open.len() == CHUNK {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_sorted_by_key(|record| record.time) {
            self.open.sort_by_key(|record| record.time);
        }
        self.chunks.extend(Chunk::new(self.chunks.len(), &self.open, &mut self.buffer));
        self.open.clear();
    }

    /// No more will be added, and now they can be read.
    pub(crate) fn seal(&mut self) {
        self.close();
        (self.open, self.buffer) = (Vec::new(), Vec::new());
        self.chunks.sort_by_key(|chunk| (chunk.times.0, chunk.number));
    }

    /// Leaves out all but the `len` records of these times, which has one.
    pub(crate) fn keep(&mut self, times: RangeInclusive<u64>, len: usize) {
        self.chunks.retain(|chunk| chunk.times.0 <= *times.end() && *times.start() <= chunk.times.1);
        (self.kept, self.len) = (times, len);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The time of the first.
    pub(crate) fn first(&self) -> Option<u64> {
        self.iter().next().map(|record| record.time)
    }

    /// The time of the last.
    pub(crate) fn last(&self) -> Option<u64> {
        let last = self.chunks.iter().map(|chunk| chunk.times.1).max()?;
        if last <= *self.kept.end() { Some(last) } else { self.iter().last().map(|record| record.time) }
    }

    /// All of them, in order of time, and where that is equal in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Record> {
        let (start, end) = (*self.kept.start(), *self.kept.end());
        let merged = Merged { waiting: self.chunks.iter(), open: BinaryHeap::new(), now: None, next: None };
        merged.skip_while(move |record| record.time < start).take_while(move |record| record.time <= end)
    }
}

/// Where reading a chunk stands.
#[derive(Debug)]
struct Cursor<'r> {
    number: usize,
    unit: u64,
    bytes: &'r [u8],
    head: Record,
}

impl<'r> Cursor<'r> {
    fn new(chunk: &'r Chunk) -> Option<Self> {
        let head = Record { time: chunk.times.0, request: RequestId(0) };
        Self { number: chunk.number, unit: chunk.unit, bytes: &chunk.bytes, head }.advanced()
    }

    /// At the next record, if there is one.
    #[inline]
    fn advanced(mut self) -> Option<Self> {
        let word = take(&mut self.bytes)?;
        if word & 1 == 1 {
            self.head.time += take(&mut self.bytes)? * self.unit;
        }
        // As it was put there.
        self.head.request = RequestId(u32::try_from(word >> 1).unwrap_or(u32::MAX));
        Some(self)
    }

    /// What comes first.
    const fn rank(&self) -> (u64, usize) {
        (self.head.time, self.number)
    }
}

/// The one of lowest rank is the greatest: it is to be at the top of a heap.
impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.rank().cmp(&self.rank())
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Cursor<'_> {}

/// All records of sorted chunks.
struct Merged<'r> {
    /// Chunks of which nothing has been read, by their first times.
    waiting: std::slice::Iter<'r, Chunk>,
    /// Those that have been begun, but for the one that is being read.
    open: BinaryHeap<Cursor<'r>>,
    now: Option<Cursor<'r>>,
    /// The lowest rank of all others.
    next: Option<(u64, usize)>,
}

impl Merged<'_> {
    /// Goes to the chunk whose turn it is.
    #[cold]
    fn change(&mut self) {
        self.open.extend(self.now.take());
        let first = |chunk: &Chunk| (chunk.times.0, chunk.number);
        if let Some(chunk) = self.waiting.as_slice().first()
            && self.open.peek().is_none_or(|open| first(chunk) < open.rank())
        {
            self.waiting.next();
            self.now = Cursor::new(chunk);
        } else {
            self.now = self.open.pop();
        }
        let (waiting, open) = (self.waiting.as_slice().first().map(first), self.open.peek().map(Cursor::rank));
        self.next = waiting.into_iter().chain(open).min();
    }
}

impl Iterator for Merged<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        if self.now.as_ref().is_none_or(|now| self.next.is_some_and(|next| next < now.rank())) {
            self.change();
        }
        let now = self.now.take()?;
        let head = now.head;
        self.now = now.advanced();
        Some(head)
    }
}

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

    /// Whatever the order in which they come, they are read as a stable sort would have them.
    #[test]
    fn records_are_read_as_a_stable_sort_has_them() {
        let mut state = 5_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let count = 3 * CHUNK + 17;
        for (unit, disorder, step) in [
            (1_000_000_000, 0, 2),
            (1_000_000_000, 5, 2),
            (1_000_000, 40_000, 3),
            (1_000, 1, 900),
            (1, 3, 1 << 20),
            (1 << 10, 1 << 32, 1 << 8),
            (1, 1 << 62, 2),
        ] {
            let (mut at, mut records, mut expected) = (7_u64, Records::default(), Vec::new());
            for number in 0..count {
                at += random(step);
                // Numbers of all lengths, and times anywhere.
                let request = RequestId(u32::try_from(number % 70_000).unwrap() << (number % 15));
                let record = Record { time: (at + random(disorder + 1)) * unit % (1 << 63), request };
                records.push(record);
                expected.push((record.time, record.request));
            }
            expected.sort_by_key(|(time, _)| *time);
            records.seal();
            let read =
                |records: &Records| records.iter().map(|record| (record.time, record.request)).collect::<Vec<_>>();
            assert!(read(&records) == expected, "{unit} {disorder} {step}");
            assert_eq!(
                (records.len(), records.first(), records.last()),
                (count, Some(expected[0].0), Some(expected[count - 1].0))
            );
            // And of some of them.
            let (start, end) = (expected[count / 3].0, expected[count / 2].0);
            expected.retain(|(time, _)| (start..=end).contains(time));
            records.keep(start..=end, expected.len());
            assert!(read(&records) == expected, "{unit} {disorder} {step}: a part");
            assert_eq!((records.first(), records.last()), (Some(start), Some(end)));
        }
        let mut none = Records::default();
        none.seal();
        assert!(none.is_empty() && none.first().is_none() && none.last().is_none() && none.iter().next().is_none());
    }

    #[test]
    fn a_record_of_a_busy_log_takes_three_bytes() {
        let mut records = Records::default();
        for number in 0..2 * u32::try_from(CHUNK).unwrap() {
            let request = RequestId(number % 8_000);
            records.push(Record { time: 1_709_294_400_000_000_000 + u64::from(number / 100) * 1_000_000_000, request });
        }
        records.seal();
        let bytes: usize = records.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(bytes <= 2 * 3 * CHUNK, "{bytes}");
    }

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
