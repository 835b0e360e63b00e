//! Which slots a key may use: pure arithmetic.
//!
//! A line is 64 bytes, four slots. A key has two different **homes** of two neighbouring lines (128 bytes, which
//! processors fetch together), and one **overflow** line in a small part of its own: 20 slots in the order
//!
//! ```text
//!   0..4 first home, near line   4..8 first home, far line   8..16 second home   16..20 overflow
//! ```
//!
//! Which line of a home is near is a bit of the hash. A new key takes the near line of its first home, and of a full one
//! the far line, unless the home is crowded and the second is emptier; the overflow when the home it should go to is
//! full. Simulated at two thirds full, while busy keys come and go 20 million times: nothing ever overflowed the overflow
//! (`DESIGN.md`, "Where a key may go").
//!
//! What is counted is counted by **shard**: the keys whose first homes lie in one part of the table.

use crate::hash::Identity;
use crate::word::Units;

/// Slots in a line.
pub(crate) const SLOTS_PER_LINE: usize = 4;
/// Lines a key may use.
pub(crate) const LINES_PER_KEY: usize = 5;
/// Slots a key may use.
pub(crate) const SLOTS_PER_KEY: usize = LINES_PER_KEY * SLOTS_PER_LINE;
/// Slots in a home.
pub(crate) const SLOTS_PER_HOME: usize = 8;
const HOME: u32 = (1 << SLOTS_PER_HOME) - 1;
/// The near lines of both homes.
const NEAR: u32 = ((1 << SLOTS_PER_LINE) - 1) * (1 | 1 << SLOTS_PER_HOME);
/// A home with so many busy slots is crowded.
const CROWDED: usize = 6;

/// Bytes of table per key of capacity, a little less with what else there is: slots of 16 bytes, two thirds of them in
/// use.
pub(crate) const BYTES_PER_KEY: usize = 24;
const LINE_BYTES: usize = 64;

/// The shape of a table: how many lines there are of each kind, and how many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Homes, at least 2; their lines come first.
    homes: usize,
    /// Overflow lines, at least 1, after those.
    overflow: usize,
    /// At least 1.
    shards: usize,
}

impl Shape {
    const MAX_SHARDS: usize = 64;
    const KEYS_PER_SHARD: usize = 65_536;
    /// Up to so many keys have a table of just the slots that each of them may use, and a line of those to spare.
    const SHARED_BY_ALL: usize = SLOTS_PER_KEY - SLOTS_PER_LINE;
    /// One line in so many is overflow, and so many more.
    const LINES_PER_OVERFLOW: usize = 48;
    const OVERFLOW_MORE: usize = 4;
    /// What a small table has beyond `BYTES_PER_KEY`, where few keys make an uneven spread likely: so many lines, less one
    /// for every so many that it has anyway.
    const LINES_MORE: usize = 24;
    const LINES_MORE_LESS_ONE: usize = 32;
    /// One in so many is left out, so that nothing of a large table counts as more than `BYTES_PER_KEY`.
    const LINES_SPARE_ONE: usize = 512;
    /// The largest table: 2^36 keys, 1.6 TB.
    pub(crate) const MAX_CAPACITY: usize = if usize::BITS == 64 { 1 << 36 } else { 1 << 24 };

    /// Room for `capacity` busy keys, from 1 to [`Self::MAX_CAPACITY`].
    pub(crate) const fn for_capacity(capacity: usize) -> Self {
        assert!(capacity >= 1 && capacity <= Self::MAX_CAPACITY);
        let shards = capacity / Self::KEYS_PER_SHARD;
        let shards = if shards < 1 {
            1
        } else if shards > Self::MAX_SHARDS {
            Self::MAX_SHARDS
        } else {
            shards
        };
        if capacity <= Self::SHARED_BY_ALL {
            return Self { homes: 2, overflow: 1, shards };
        }
        // Below 2^41, and so is everything that follows from it.
        let due = capacity * BYTES_PER_KEY / LINE_BYTES;
        let more = Self::LINES_MORE.saturating_sub(due / Self::LINES_MORE_LESS_ONE);
        let lines = due + more - due / Self::LINES_SPARE_ONE;
        let overflow = due / Self::LINES_PER_OVERFLOW + Self::OVERFLOW_MORE;
        let homes = (lines - overflow) / 2;
        Self { homes, overflow, shards }
    }

    /// How many shards there are.
    pub(crate) const fn shards(&self) -> usize {
        self.shards
    }

    /// How many lines there are in all.
    pub(crate) const fn lines(&self) -> usize {
        self.homes * 2 + self.overflow
    }

    /// The shard of a key.
    #[inline]
    pub(crate) const fn shard(&self, id: Identity) -> usize {
        scale(id.bits(), self.shards)
    }

    /// The line where most keys are: the near one of the first home.
    #[inline]
    pub(crate) const fn near(&self, id: Identity) -> usize {
        scale(id.bits(), self.homes) * 2 + near_bit(id)
    }

    /// The lines of a key, nearest first; all below [`Self::lines`], and all different.
    pub(crate) const fn lines_of(&self, id: Identity) -> [usize; LINES_PER_KEY] {
        let bits = id.bits();
        let first = scale(bits, self.homes);
        // Any but the first. The other half of the bits decides, and those of the overflow are all of them, stirred.
        let second = first + 1 + scale(bits.rotate_left(u64::BITS / 2), self.homes - 1);
        let second = if second < self.homes { second } else { second - self.homes };
        let overflow = scale(bits.wrapping_mul(0xA076_1D64_78BD_642F), self.overflow);
        let (near, far) = (near_bit(id), 1 - near_bit(id));
        [first * 2 + near, first * 2 + far, second * 2 + near, second * 2 + far, self.homes * 2 + overflow]
    }

    /// Which free place a new key takes; bit `i` of `free` is place `i`, and `stamp` tells how long it has been idle.
    pub(crate) fn prefer(free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
        let (first, second) = (free & HOME, free & HOME << SLOTS_PER_HOME);
        let home = if busy(first) < CROWDED || busy(first) <= busy(second) { first } else { second };
        oldest_of_nearest([home & NEAR, home, free & !(HOME | HOME << SLOTS_PER_HOME)], stamp)
    }

    /// The same, if the first home alone decides.
    #[inline]
    pub(crate) fn prefer_first_home(free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
        if busy(free) < CROWDED { oldest_of_nearest([free & NEAR, free, 0], stamp) } else { None }
    }
}

/// Busy slots of one home, given its free ones.
const fn busy(free: u32) -> usize {
    SLOTS_PER_HOME - free.count_ones() as usize // at most 8: a home has no more
}

/// Of the nearest line with room the slot idle for longest, so that a key that comes back soon finds its own.
#[inline]
fn oldest_of_nearest(lines: [u32; 3], stamp: impl Fn(usize) -> Units) -> Option<usize> {
    let line = lines.into_iter().find(|&free| free != 0)?;
    let first = line.trailing_zeros() as usize; // at most 31
    (first..first + SLOTS_PER_LINE).filter(|place| line >> place & 1 == 1).min_by_key(|&place| stamp(place))
}

/// Which line of a home is near.
#[inline]
const fn near_bit(id: Identity) -> usize {
    (id.bits() & 1) as usize // one bit
}

/// A draw of 64 bits scaled to `0..n`, without a division: by D. Lemire, "Fast random integer generation in an interval".
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below n, which is a usize")]
const fn scale(draw: u64, n: usize) -> usize {
    ((draw as u128 * n as u128) >> u64::BITS) as usize
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
            assert!(bytes <= capacity * BYTES_PER_KEY, "{capacity}: {bytes}");
            assert!(bytes >= capacity * BYTES_PER_KEY * 99 / 100, "{capacity}: {bytes}");
        }
        // Small ones have more; what 4 KiB pages would round up to is not counted.
        for (capacity, most) in [(1, 320), (16, 320), (17, 2_048), (100, 3_904), (1_000, 24_832), (2_000, 48_128)] {
            let bytes = Shape::for_capacity(capacity).lines() * LINE_BYTES;
            assert!(bytes <= most, "{capacity}: {bytes}");
        }
    }

    /// Which slots of a table are free, a bit each; nobody's name is kept.
    struct Simulated {
        shape: Shape,
        free: Vec<u8>,
        draws: u64,
    }

    impl Simulated {
        fn new(capacity: usize, seed: u64) -> Self {
            let shape = Shape::for_capacity(capacity);
            let free = vec![(1 << SLOTS_PER_LINE) - 1; shape.lines()];
            Self { shape, free, draws: seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (capacity as u64) << 32 }
        }

        /// SplitMix64: any seed will do.
        fn draw(&mut self) -> u64 {
            self.draws = self.draws.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut draw = self.draws;
            draw = (draw ^ (draw >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            draw = (draw ^ (draw >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            draw ^ (draw >> 31)
        }

        /// A new key's line, and its slot there as a bit.
        fn come(&mut self) -> Option<(usize, u8)> {
            let id = Identity::for_model(self.draw());
            let lines = self.shape.lines_of(id);
            let free = lines.iter().rev().fold(0, |free, line| free << SLOTS_PER_LINE | u32::from(self.free[*line]));
            let place = Shape::prefer(free, |_| 0)?;
            let taken = (lines[place / SLOTS_PER_LINE], 1 << (place % SLOTS_PER_LINE));
            self.free[taken.0] &= !taken.1;
            Some(taken)
        }

        /// How many keys found no room while the table was filled to `capacity`, and while `churn` times one of them went and
        /// another came.
        fn without_room(capacity: usize, churn: usize, seed: u64) -> [u64; 2] {
            let mut table = Self::new(capacity, seed);
            let mut without = [0; 2];
            let mut keys = Vec::with_capacity(capacity);
            for _ in 0..capacity {
                match table.come() {
                    Some(key) => keys.push(key),
                    None => without[0] += 1,
                }
            }
            for _ in 0..churn {
                let goes = scale(table.draw(), keys.len());
                let (line, slot) = keys[goes];
                table.free[line] |= slot;
                keys[goes] = loop {
                    match table.come() {
                        Some(key) => break key,
                        None => without[1] += 1,
                    }
                };
            }
            without
        }
    }

    #[test]
    fn small_tables_have_room_for_their_capacity() {
        for capacity in 1..=1_000 {
            let (seeds, churn) = if capacity <= 100 { (200, 2 * capacity) } else { (4, 0) };
            for seed in 0..seeds {
                assert_eq!(Simulated::without_room(capacity, churn, seed), [0, 0], "capacity {capacity}, seed {seed}");
            }
        }
    }

    /// How likely the above is for any seed. `TOLLGATE_SEEDS`, `TOLLGATE_CHURN` (times the capacity), `TOLLGATE_UP_TO`.
    #[test]
    #[ignore = "takes minutes: `cargo test --release --lib probe::tests::small_tables_with -- --ignored --nocapture`"]
    fn small_tables_with_many_seeds() {
        let setting = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"));
        let (seeds, churn) = (setting("TOLLGATE_SEEDS", 4_000), setting("TOLLGATE_CHURN", 5));
        let (mut all, mut came) = ([0; 2], 0);
        for capacity in 1..=usize::try_from(setting("TOLLGATE_UP_TO", 1_000)).expect("64 bits") {
            let churn = usize::try_from(churn).expect("64 bits") * capacity;
            let without = (0..seeds).map(|seed| Simulated::without_room(capacity, churn, seed));
            let sum = without.fold([0; 2], |sum, without| [sum[0] + without[0], sum[1] + without[1]]);
            if sum != [0, 0] || capacity % 100 == 0 {
                println!("{capacity:>5} keys, {seeds} seeds: {} without room filling, {} in churn", sum[0], sum[1]);
            }
            all = [all[0] + sum[0], all[1] + sum[1]];
            came += seeds * churn as u64;
        }
        println!("{} without room filling, {} of {came} that came when another went", all[0], all[1]);
        assert_eq!(all[0], 0);
        // As for large tables: about one in 1e8.
        assert!(all[1] <= 1 + came / 100_000_000, "{} of {came}", all[1]);
    }

    #[test]
    fn a_crowded_home_gives_way_to_the_emptier() {
        let prefer = |free| Shape::prefer(free, |_| 0);
        assert_eq!(prefer(0b1111_1111_1111_1111_1111), Some(0));
        assert_eq!(prefer(0b1111_1111_1111_1111_0000), Some(4), "the near line is full");
        assert_eq!(prefer(0b1111_1111_1111_1110_0000), Some(5), "five busy");
        assert_eq!(prefer(0b1111_1111_1111_1100_0000), Some(8), "six busy, the other empty");
        assert_eq!(prefer(0b1111_1000_0000_1100_0000), Some(6), "the other is fuller");
        assert_eq!(prefer(0b1111_1000_0000_0000_0000), Some(15), "the far line of the other");
        assert_eq!(prefer(0b1111_0000_0000_0000_0000), Some(16), "overflow last");
        assert_eq!(prefer(0), None);
    }

    #[test]
    fn the_slot_idle_for_longest_is_taken_of_the_nearest_line_with_room() {
        let stamps = [5, 4, 3, 9, 9, 2, 9, 9, 9, 2, 1, 9, 9, 9, 9, 9, 1, 1, 1, 1];
        let prefer = |free| Shape::prefer(free, |place| stamps[place]);
        assert_eq!(prefer(0b1111_1111_1111_1111_1111), Some(2));
        assert_eq!(prefer(0b1111_1111_1111_1111_1011), Some(1));
        assert_eq!(prefer(0b1111_1111_1111_1111_0000), Some(5));
        assert_eq!(prefer(0b1111_1111_1111_0000_0000), Some(10), "the first home is full");
    }
}
