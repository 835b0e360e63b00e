//! Whether the largest race leaves the processor's last cache.

use std::fs;

/// Bytes of a key in the smallest contender, the array of the floor.
const SMALLEST: u64 = 8;
/// And in ours.
const OURS: u64 = 24;

/// Says how large the caches are, beside what so many keys take.
pub fn compare(keys: u64) {
    let size = |index| {
        let text = fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let Some(cache) = (0..8).filter_map(size).max() else {
        eprintln!("the sizes of the caches are not known here");
        return;
    };
    let [cache, floor, ours] = [cache, keys * SMALLEST, keys * OURS].map(|bytes| bytes >> 20);
    eprintln!("largest cache: {cache} MiB; {keys} keys: floor {floor} MiB, tollgate {ours} MiB");
    if ours < 2 * cache {
        eprintln!("so they may stay within the cache, if that is not shared with others; `full` has 50 M keys as well");
    }
}
