//! Which slots a key may use: pure arithmetic.
//!
//! A line is 64 bytes, four slots. A key has two **homes** of two neighbouring lines (128 bytes, which processors fetch
//! together), one in each half of its shard, and one **overflow** line in a small common part: 20 slots in the order
//!
//! ```text
//!   0..4 first home, near line   4..8 first home, far line   8..16 second home   16..20 overflow
//! ```
//!
//! Which half is first, and which line is near, are bits of the hash. While neither home is crowded, a new key takes the
//! slot that has been idle for longest, its first home first; else it takes its first home if that is not the crowded
//! one, else the emptier, and the overflow when both are full. Simulated at two thirds full, while busy keys come and
//! go 20 million times: nothing ever overflowed the overflow (`DESIGN.md`, "Where a key may go").

use crate::hash::Identity;
use crate::word::Units;

/// Slots in a line.
pub(crate) const SLOTS_PER_LINE: usize = 4;
/// Lines a key may use.
pub(crate) const LINES_PER_KEY: usize = 5;
/// Slots a key may use.
pub(crate) const SLOTS_PER_KEY: usize = LINES_PER_KEY * SLOTS_PER_LINE;
const SLOTS_PER_HOME: u32 = 8;
const HOME: u32 = (1 << SLOTS_PER_HOME) - 1;
/// A home with so many busy slots is crowded.
const CROWDED: u32 = 5;

/// Bytes of table per key of capacity: slots of 16 bytes, two thirds of them in use.
pub(crate) const BYTES_PER_KEY: usize = 24;
const LINE_BYTES: usize = 64;

/// The shape of a table: how many shards, and how many lines of each kind in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// A power of two.
    shards: usize,
    /// Homes in one half of a shard; below 2^32.
    homes: usize,
    /// Overflow lines of a shard.
    overflow: usize,
}

impl Shape {
    const MAX_SHARDS: usize = 64;
    /// A shard gets its share of the keys by chance, so it must be large enough for chance to be fair.
    const KEYS_PER_SHARD: usize = 65_536;
    /// One line in so many is overflow.
    const LINES_PER_OVERFLOW: usize = 48;
    /// The largest table: 2^36 keys, 1.6 TB.
    pub(crate) const MAX_CAPACITY: usize = if usize::BITS == 64 { 1 << 36 } else { 1 << 24 };

    /// Room for `capacity` busy keys, from 1 to [`Self::MAX_CAPACITY`].
    pub(crate) const fn for_capacity(capacity: usize) -> Self {
        assert!(capacity >= 1 && capacity <= Self::MAX_CAPACITY);
        let mut shards = 1;
        while shards < Self::MAX_SHARDS && capacity / (shards * 2) >= Self::KEYS_PER_SHARD {
            shards *= 2;
        }
        let lines = capacity.div_ceil(shards) * BYTES_PER_KEY / LINE_BYTES;
        // Even, so that the homes of the next shard begin at an even line too.
        let overflow = (lines / Self::LINES_PER_OVERFLOW + 1).next_multiple_of(2);
        let homes = lines.saturating_sub(overflow).div_ceil(4) + 1;
        assert!((homes as u64) < 1 << 32 && (overflow as u64) < 1 << 32);
        Self { shards, homes, overflow }
    }

    const fn lines_per_shard(&self) -> usize {
        self.homes * 4 + self.overflow
    }

    /// How many shards there are.
    pub(crate) const fn shards(&self) -> usize {
        self.shards
    }

    /// How many lines there are in all.
    pub(crate) const fn lines(&self) -> usize {
        self.shards * self.lines_per_shard()
    }

    /// The shard of a key: the top bits.
    #[inline]
    pub(crate) const fn shard(&self, id: Identity) -> usize {
        // Below 64, so it fits.
        (id.bits() >> 58) as usize & (self.shards - 1)
    }

    /// The two lines of a key's first home, nearest first.
    #[inline]
    pub(crate) const fn first_home(&self, id: Identity) -> [usize; 2] {
        self.home(id, id.bits() & 0xFFFF_FFFF, id.bits() >> 32 & 1)
    }

    /// The two lines of its second home, which lies in the other half of the shard.
    #[inline]
    pub(crate) const fn second_home(&self, id: Identity) -> [usize; 2] {
        // Another draw from the same bits, by an odd factor; so is the next.
        self.home(id, id.bits().wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32, !id.bits() >> 32 & 1)
    }

    /// Its overflow line.
    #[inline]
    pub(crate) const fn overflow(&self, id: Identity) -> usize {
        let draw = id.bits().wrapping_mul(0xA076_1D64_78BD_642F) >> 32;
        self.first_line(id) + self.homes * 4 + scale(draw, self.overflow)
    }

    /// The lines of a key, nearest first; all below [`Self::lines`], and all different.
    pub(crate) const fn lines_of(&self, id: Identity) -> [usize; LINES_PER_KEY] {
        let ([a, b], [c, d]) = (self.first_home(id), self.second_home(id));
        [a, b, c, d, self.overflow(id)]
    }

    #[inline]
    const fn first_line(&self, id: Identity) -> usize {
        self.shard(id) * self.lines_per_shard()
    }

    /// `half` is 0 or 1.
    #[inline]
    const fn home(&self, id: Identity, draw: u64, half: u64) -> [usize; 2] {
        let half = if half == 0 { 0 } else { self.homes };
        let near = (id.bits() >> 33 & 1) as usize; // one bit
        let first = self.first_line(id) + (half + scale(draw, self.homes)) * 2;
        [first + near, first + 1 - near]
    }

    /// Which free place a new key takes; bit `i` of `free` is place `i`, and `stamp` tells how long it has been idle.
    pub(crate) fn prefer(free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
        let part = |part: u32| free & HOME << (part * SLOTS_PER_HOME);
        let (first, second, overflow) = (part(0), part(1), part(2));
        let [busy_first, busy_second] = [first, second].map(|free| SLOTS_PER_HOME - free.count_ones());
        // A line of its own, or idle for longest: a key that comes back soon finds its slot again.
        let oldest = |free: u32| {
            let places = (0..SLOTS_PER_KEY).filter(|place| free >> place & 1 == 1);
            places.min_by_key(|&place| stamp(place))
        };
        if busy_first < CROWDED && busy_second < CROWDED {
            oldest(first | second)
        } else if busy_first < CROWDED || busy_first <= busy_second {
            oldest(first).or_else(|| oldest(overflow))
        } else {
            oldest(second)
        }
    }
}

/// A draw below 2^32 scaled to `0..n`, without a division.
#[inline]
const fn scale(draw: u64, n: usize) -> usize {
    // A shard has fewer than 2^32 lines (`for_capacity`), so the product fits; the result is below n, so it does too.
    ((draw * n as u64) >> 32) as usize
}

const _: () = assert!(SLOTS_PER_KEY <= u32::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_in_range_and_different(bits: u64, capacity in 1_usize..10_000_000) {
            let shape = Shape::for_capacity(capacity);
            let lines = shape.lines_of(Identity::for_model(bits));
            for (i, line) in lines.iter().enumerate() {
                prop_assert!(*line < shape.lines());
                prop_assert!(!lines[..i].contains(line));
            }
            prop_assert_eq!(lines[0] / 2, lines[1] / 2);
        }

        #[test]
        fn preferred_place_is_free(free in 0_u32..1 << SLOTS_PER_KEY) {
            match Shape::prefer(free, |_| 0) {
                Some(place) => prop_assert!(free >> place & 1 == 1),
                None => prop_assert_eq!(free, 0),
            }
        }
    }

    #[test]
    fn size_is_24_bytes_a_key() {
        for capacity in [100_000, 1_000_000, 10_000_000] {
            let bytes = Shape::for_capacity(capacity).lines() * LINE_BYTES;
            assert!(bytes >= capacity * BYTES_PER_KEY, "{capacity}");
            assert!(bytes <= capacity * BYTES_PER_KEY * 101 / 100, "{capacity}: {bytes}");
        }
        assert!(Shape::for_capacity(1_000).lines() * LINE_BYTES <= 32 * 1_000);
    }

    #[test]
    fn a_crowded_home_gives_way_to_the_emptier() {
        let prefer = |free| Shape::prefer(free, |_| 0);
        assert_eq!(prefer(0b1111_1111_1111_1111_1111), Some(0));
        assert_eq!(prefer(0b1111_1111_1111_0000_1111), Some(0), "four busy");
        assert_eq!(prefer(0b1111_1111_1111_1110_0000), Some(8), "five busy, the other empty");
        assert_eq!(prefer(0b1111_1000_0000_1110_0000), Some(5), "the other is fuller");
        assert_eq!(prefer(0b1111_0000_0000_0000_0000), Some(16), "overflow last");
        assert_eq!(prefer(0), None);
    }

    #[test]
    fn the_slot_idle_for_longest_is_taken() {
        let stamps = [5, 4, 3, 9, 9, 9, 9, 9, 9, 2, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1];
        assert_eq!(Shape::prefer(0b1111_1111_1111_1111_1111, |place| stamps[place]), Some(9));
        assert_eq!(Shape::prefer(0b1111_0000_0111_1111_1111, |place| stamps[place]), Some(2), "the second is crowded");
    }
}
