//! Where should a key be allowed to go? The simulation behind `src/probe.rs` and "Where a key may go" in `DESIGN.md`.
//!
//! Fills a table to capacity with random keys, then lets one key go and another come, five times as often as there are
//! keys, and counts how often a newcomer found no room: each would be a forced eviction. `cargo run --release --example
//! placement` takes about a minute.

/// Where a key may go: `homes` of `slots` slots each, in parts of the table of their own, then an overflow line.
struct Layout {
    homes: usize,
    slots: u8,
    /// Share of the table that is overflow, in 1/1000, and slots of an overflow line.
    overflow: (usize, u8),
    /// While the first home has fewer busy slots than this, a key takes it; else the emptiest home.
    crowded: u8,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let draw = u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D));
        usize::try_from((draw * n as u128) >> 64).expect("below n")
    }
}

struct Table {
    homes: Vec<u8>,
    overflow: Vec<u8>,
}

impl Table {
    fn insert(&mut self, layout: &Layout, random: &mut Random) -> Option<(bool, usize)> {
        let part = self.homes.len() / layout.homes;
        let first = random.below(layout.homes);
        let mut best = 0;
        for choice in 0..layout.homes {
            let home = (first + choice) % layout.homes * part + random.below(part);
            if choice == 0 || self.homes[home] < self.homes[best] {
                best = home;
            }
            if choice == 0 && self.homes[home] < layout.crowded {
                break;
            }
        }
        if self.homes[best] < layout.slots {
            self.homes[best] += 1;
            return Some((false, best));
        }
        if self.overflow.is_empty() {
            return None;
        }
        let line = random.below(self.overflow.len());
        if self.overflow[line] < layout.overflow.1 {
            self.overflow[line] += 1;
            return Some((true, line));
        }
        None
    }
}

fn run(layout: &Layout, keys: usize, slots: usize) -> (u64, u64) {
    let overflow = slots * layout.overflow.0 / 1_000;
    let mut table = Table {
        homes: vec![0; (slots - overflow) / usize::from(layout.slots)],
        overflow: vec![0; overflow / usize::from(layout.overflow.1)],
    };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut while_filling, mut while_churning) = (0, 0);
    let mut placed = Vec::with_capacity(keys);
    for _ in 0..keys {
        match table.insert(layout, &mut random) {
            Some(place) => placed.push(place),
            None => while_filling += 1,
        }
    }
    for _ in 0..5 * keys {
        let leaving = random.below(placed.len());
        let (in_overflow, index) = placed[leaving];
        if in_overflow {
            table.overflow[index] -= 1
        } else {
            table.homes[index] -= 1
        }
        match table.insert(layout, &mut random) {
            Some(place) => placed[leaving] = place,
            None => {
                while_churning += 1;
                placed.swap_remove(leaving);
            }
        }
    }
    (while_filling, while_churning)
}

fn main() {
    const KEYS: usize = 4_000_000;
    let layouts = [
        (2, 4, (0, 4), 0),
        (3, 4, (0, 4), 0),
        (4, 4, (0, 4), 0),
        (2, 8, (0, 4), 0),
        (3, 8, (0, 4), 5),
        (3, 4, (30, 4), 3),
        (4, 4, (10, 4), 3),
        (2, 8, (20, 4), 4),
        (2, 8, (20, 4), 5),
        (2, 8, (20, 4), 6),
    ];
    println!("{KEYS} keys; keys that found no room while filling / while 5 x as many come and go");
    println!("{:<44} {:>16} {:>16}", "layout", "16 B/slot: 24 B", "32 B a key");
    for (homes, slots, overflow, crowded) in layouts {
        let layout = Layout { homes, slots, overflow, crowded };
        let at = |bytes: usize| {
            let (filling, churning) = run(&layout, KEYS, KEYS * bytes / 16);
            format!("{filling} / {churning}")
        };
        let (share, line) = overflow;
        let name = format!("{homes} homes x {slots}, overflow {share}/1000 x {line}, crowded {crowded}");
        println!("{name:<44} {:>16} {:>16}", at(24), at(32));
    }
}
