//! The first page of a shared table: what it is, written once, and a few numbers that change.
//!
//! ```text
//! word  0  magic "TOLLGATE"    1  byte order    2  version, length of the header (32 bits each)    3  layout
//!       4  bytes of the file   5  state         6, 7  which table    8, 9  which boot of the machine
//!      10  when made, Unix nanoseconds          11  process that made it         12 to 15  zero
//!      16  capacity   17 on_full   18 clock    19 to 21  time base   22 anchor   23 time namespace   24 sparse
//!      25  hash scheme   26 to 29  seeds   30 to 33  fingerprint   34 to 62  zero   63 checksum of all but the state
//!      64, 65  reach   66 latest instant seen   67 slots freed   68 limits renewed
//! ```
//!
//! Words 0 to 15 are the same in every version for ever, so that each can say what it does not know. All words are of 64 bits
//! in the machine's byte order. **Every value is taken for hostile**: read once, judged, and never again; nothing in the mapping is an
//! index, a length or a variant by itself. (Orderings: what is written once is read by others only after the file has been
//! linked, or a lock taken, which orders more than any of these. So all are Relaxed.)

use core::hash::Hasher as _;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use siphasher::sip::SipHasher13;

use super::error::SharedError;
use crate::algorithm::sliding_window::SlidingWindow;
use crate::claimer::{Claimer, Claimers};
use crate::hash::{ByteHash, Identity};
use crate::marks::{MarkTable, Marks};
use crate::memory::{Beside, Line, SharedMap};
use crate::on_full::OnFull;
use crate::probe::Shape;
use crate::sync::{Atomic, Ordering};
use crate::table::{Counters, Parts};
use crate::time_base::TimeBase;
use crate::word::Word;

/// Raised with every change of what the words behind the frozen part mean.
const VERSION: u64 = 1;
/// Raised when an algorithm writes stamps that mean something else than they did.
const ENCODING: u64 = 1;
pub(super) const BYTES: usize = 4_096;
const WORDS: usize = BYTES / size_of::<u64>();
const COUNTERS: usize = BYTES;
const MARKS: usize = COUNTERS + 64 * size_of::<CachePadded<Counters>>();
/// Of a small table; of a large one the lines begin at a huge page.
const SMALL_LINES: usize = (MARKS + MarkTable::COUNT * size_of::<Marks>()).next_multiple_of(4_096);
const HUGE_PAGE: usize = 2 << 20;
const _: () = assert!(SMALL_LINES <= HUGE_PAGE);
/// What stands before the lines of every table.
pub(super) const BESIDE: u64 = SMALL_LINES as u64;

const MAGIC: u64 = u64::from_ne_bytes(*b"TOLLGATE");
const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;

const STATE: usize = 5;
const CHECKSUM: usize = 63;
const REACH: usize = 64;
const LATEST: usize = 66;
const FREED: usize = 67;
const RENEWED: usize = 68;

/// What a table is waiting for.
pub(super) const READY: u64 = 1;
pub(super) const RETIRED: u64 = 2;

/// What stands in the header and does not change while anybody uses the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) capacity: u64,
    pub(super) on_full: OnFull,
    /// Of the operating system, else of the callers.
    pub(super) is_system_clock: bool,
    pub(super) base: TimeBase,
    pub(super) anchor: u64,
    pub(super) time_namespace: u64,
    pub(super) is_sparse: bool,
    pub(super) seeds: [u64; ByteHash::SEEDS],
    pub(super) uuid: [u64; 2],
    pub(super) boot: [u64; 2],
    pub(super) created: u64,
    pub(super) created_by: u64,
}

/// Where the parts of a table of this capacity are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) shape: Shape,
    lines: usize,
    pub(super) bytes: usize,
}

impl Layout {
    /// `None` if no table is so large.
    pub(super) fn of(capacity: u64) -> Option<Self> {
        let capacity = usize::try_from(capacity).ok().filter(|keys| (1..=Shape::MAX_CAPACITY).contains(keys))?;
        let shape = Shape::for_capacity(capacity);
        // Below 2^41.
        let length = shape.lines() * size_of::<Line>();
        let lines = if length >= HUGE_PAGE { HUGE_PAGE } else { SMALL_LINES };
        Some(Self { shape, lines, bytes: (lines + length).next_multiple_of(4_096) })
    }

    /// The parts of a table in a mapping that is as long; `can_go`: pages of its lines may be given back.
    pub(super) fn parts(&self, map: &Arc<SharedMap>, can_go: bool, claimers: Arc<Claimers>) -> Option<Parts> {
        Some(Parts {
            lines: map.lines(self.lines, self.shape.lines(), can_go)?,
            shards: map.part(COUNTERS, self.shape.shards())?,
            marks: MarkTable::shared(map.part(MARKS, MarkTable::COUNT)?),
            reach: map.part(REACH * size_of::<u64>(), 2)?,
            detached: Arc::new(Atomic::new(0)),
            claimers,
        })
    }
}

/// All that two programs must agree in to read each other's slots.
pub(super) fn layout_hash() -> u64 {
    let mut hasher = SipHasher13::new();
    let mut add = |value: u64| hasher.write(&value.to_be_bytes());
    let sizes = [size_of::<Line>(), size_of::<CachePadded<Counters>>(), size_of::<Marks>(), MarkTable::COUNT];
    sizes.into_iter().chain([COUNTERS, MARKS, SMALL_LINES, HUGE_PAGE]).for_each(|size| add(size as u64));
    add(ENCODING);
    add(u64::from(Word::STAMP_WIDTH));
    add(Claimer::MOST);
    // What the shape, the places of a key and the counts of windows are, rather than the rules by which they come about.
    for capacity in [1, 17, 100, 1_000, 65_536, 1 << 20, 10_000_000] {
        let shape = Shape::for_capacity(capacity);
        add(shape.lines() as u64);
        add(shape.shards() as u64);
        for draw in 1..8_u64 {
            let id = Identity::drawn(draw.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            shape.lines_of(id).into_iter().for_each(|line| add(line as u64));
            add(id.cell(draw).bits());
        }
    }
    for bits in [20, 30, 40, 50, 58] {
        add(u64::from(SlidingWindow::bits(1 << bits)));
    }
    hasher.finish()
}

/// The words of a header.
#[derive(Debug)]
pub(super) struct Header(Beside<Atomic<u64>>);

impl Header {
    /// Of a mapping that has one.
    pub(super) fn of(map: &Arc<SharedMap>) -> Option<Self> {
        map.part(0, WORDS).map(Self)
    }

    fn get(&self, word: usize) -> u64 {
        // Relaxed: see above. No model.
        self.0[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        // Relaxed: see above. No model.
        self.0[word].store(value, Ordering::Relaxed);
    }

    /// Of a file that nobody else has.
    pub(super) fn write(&self, facts: &Facts, bytes: u64) {
        let [a, b, c, d] = facts.seeds;
        let [units, first, lead] = facts.base.parts();
        let fingerprint = ByteHash::new(facts.seeds).fingerprint();
        let header = VERSION | (BYTES as u64) << 32;
        let frozen = [MAGIC, BYTE_ORDER, header, layout_hash(), bytes, READY];
        let made = [facts.uuid[0], facts.uuid[1], facts.boot[0], facts.boot[1], facts.created, facts.created_by];
        let clock = if facts.is_system_clock { 1 } else { 2 };
        let table =
            [facts.capacity, code(facts.on_full), clock, units, first, lead, facts.anchor, facts.time_namespace];
        let hash = [u64::from(facts.is_sparse), ByteHash::SCHEME, a, b, c, d];
        let words = frozen.into_iter().chain(made).chain([0; 4]).chain(table).chain(hash).chain(fingerprint);
        words.enumerate().for_each(|(word, value)| self.set(word, value));
        self.set(CHECKSUM, self.checksum(&self.once()));
    }

    /// Another value, as if a program had written it.
    #[cfg(test)]
    pub(super) fn put(&self, word: usize, value: u64) {
        self.set(word, value);
        if word < CHECKSUM {
            self.set(CHECKSUM, self.checksum(&self.once()));
        }
    }

    /// The words that are written once, each read once.
    fn once(&self) -> [u64; CHECKSUM + 1] {
        core::array::from_fn(|word| self.get(word))
    }

    fn checksum(&self, words: &[u64; CHECKSUM + 1]) -> u64 {
        let mut hasher = SipHasher13::new();
        for (word, value) in words[..CHECKSUM].iter().enumerate() {
            if word != STATE {
                hasher.write(&value.to_be_bytes());
            }
        }
        hasher.finish()
    }

    /// What the header says, if a program that knows as much as this one has written it.
    pub(super) fn read(&self, file_bytes: u64) -> Result<Facts, SharedError> {
        let words = self.once();
        let damaged = |what| Err(SharedError::Damaged { what });
        if !is_magic(words[0]) {
            // Also where the byte order is the other: the magic is bytes.
            return Err(SharedError::Foreign);
        }
        if words[1] == BYTE_ORDER.swap_bytes() {
            return Err(SharedError::ByteOrder);
        }
        if words[1] != BYTE_ORDER {
            return damaged("the byte order");
        }
        let version = words[2] & u64::from(u32::MAX);
        if version != VERSION {
            return Err(SharedError::Version { found: version, known: VERSION });
        }
        if words[2] >> 32 != BYTES as u64 {
            return damaged("the length of the header");
        }
        if words[3] != layout_hash() {
            return Err(SharedError::Layout { found: words[3], known: layout_hash() });
        }
        if words[4] != file_bytes {
            return Err(SharedError::Length { found: file_bytes, expected: words[4] });
        }
        match words[STATE] {
            READY => {}
            RETIRED => return Err(SharedError::Retired),
            _ => return damaged("the state"),
        }
        if words[CHECKSUM] != self.checksum(&words) {
            return damaged("the checksum");
        }
        // From here on it is what a program wrote, or what somebody wanted to be taken for that.
        let Some(layout) = Layout::of(words[16]) else { return damaged("the capacity") };
        if layout.bytes as u64 != file_bytes {
            return damaged("the length of the file");
        }
        let Some(on_full) = decode(words[17]) else { return damaged("what it does when full") };
        let is_system_clock = match words[18] {
            1 => true,
            2 => false,
            _ => return damaged("the clock"),
        };
        let Ok(base) = TimeBase::from_parts([words[19], words[20], words[21]]) else {
            return damaged("the time base");
        };
        if words[22] > i64::MAX.cast_unsigned() {
            return damaged("the anchor of the clock");
        }
        let is_sparse = match words[24] {
            0 => false,
            1 => true,
            _ => return damaged("whether it is sparse"),
        };
        let seeds = [words[26], words[27], words[28], words[29]];
        if words[25] != ByteHash::SCHEME || ByteHash::new(seeds).fingerprint() != words[30..34] {
            return Err(SharedError::Hash);
        }
        Ok(Facts {
            capacity: words[16],
            on_full,
            is_system_clock,
            base,
            anchor: words[22],
            time_namespace: words[23],
            is_sparse,
            seeds,
            uuid: [words[6], words[7]],
            boot: [words[8], words[9]],
            created: words[10],
            created_by: words[11],
        })
    }

    /// Whether this is a table of whatever version, so that it may be replaced by another.
    pub(super) fn is_table(&self) -> bool {
        is_magic(self.get(0))
    }

    pub(super) fn retire(&self) {
        self.set(STATE, RETIRED);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.get(STATE) == RETIRED
    }

    /// The latest instant that any process has said it has seen.
    pub(super) fn latest(&self) -> u64 {
        self.get(LATEST)
    }

    pub(super) fn see(&self, nanos: u64) {
        // Relaxed: a number by itself. No model.
        self.0[LATEST].fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn freed(&self) -> u64 {
        self.get(FREED)
    }

    pub(super) fn count_freed(&self, slots: u64) {
        // Relaxed: a number by itself. No model.
        self.0[FREED].fetch_add(slots, Ordering::Relaxed);
    }

    /// How many limits have been renewed.
    pub(super) fn renewed(&self) -> u64 {
        self.get(RENEWED)
    }

    /// Of a table that begins with another's buckets: as many as there.
    pub(super) fn set_renewed(&self, count: u64) {
        self.set(RENEWED, count);
    }

    /// A number that no process has had from here.
    pub(super) fn renew(&self) -> u64 {
        // Relaxed: a number by itself. No model.
        self.0[RENEWED].fetch_add(1, Ordering::Relaxed)
    }
}

/// Whether a file that begins with this is a table.
pub(super) const fn is_magic(word: u64) -> bool {
    word == MAGIC
}

const fn code(on_full: OnFull) -> u64 {
    match on_full {
        OnFull::EvictNearestIdle => 0,
        OnFull::RefuseNew => 1,
        OnFull::AdmitUntracked => 2,
    }
}

const fn decode(code: u64) -> Option<OnFull> {
    match code {
        0 => Some(OnFull::EvictNearestIdle),
        1 => Some(OnFull::RefuseNew),
        2 => Some(OnFull::AdmitUntracked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever changes how a table is laid out gets another hash of its own accord; whoever changes what stamps mean raises
    /// `ENCODING`. Then this is another number, and tables of before are refused.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_layout_stays_what_it_is() {
        assert_eq!(layout_hash(), 387_488_108_309_156_820);
        assert_eq!((COUNTERS, MARKS, SMALL_LINES), (4_096, 12_288, 20_480));
    }

    #[test]
    fn every_capacity_has_its_length() {
        for capacity in [1, 16, 17, 1_000, 65_536, 80_000, 1 << 20, 1 << 36] {
            let layout = Layout::of(capacity).unwrap();
            assert!(layout.bytes >= layout.lines + layout.shape.lines() * size_of::<Line>(), "{capacity}");
            assert!(layout.bytes.is_multiple_of(4_096) && layout.lines.is_multiple_of(4_096), "{capacity}");
        }
        assert!(Layout::of(0).is_none() && Layout::of((1 << 36) + 1).is_none() && Layout::of(u64::MAX).is_none());
    }
}
