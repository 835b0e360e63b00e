//! A file in which anything may stand: each byte of the header flipped, slots at random, all other parts at random. An error,
//! or a limiter that works.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::clock::{Clock as _, Instant, ManualClock};
use tollgate::error::{BuildError, SharedError};
use tollgate::shared::{OnMismatch, Shared};

use crate::process::{Child, Directory, builder, shared};

fn step(draw: &mut u64) -> u64 {
    *draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *draw;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 29)
}

#[test]
fn each_byte_of_the_header_flipped_is_an_error_or_nothing() {
    let directory = Directory::new("flipped");
    let path = directory.table();
    let limiter = shared("10/hour", 100, &path);
    assert_eq!(limiter.key("key").take_up_to(4), 4);
    drop(limiter);
    let original = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let (mut errors, mut works) = (0, 0);
    for byte in 0..4_096 {
        // What nobody reads needs it once.
        for &flip in if byte < 560 { &[0x01, 0x80, 0xFF][..] } else { &[0xFF] } {
            file.write_all_at(&[original[byte] ^ flip], byte as u64).unwrap();
            match builder("10/hour", 100).shared(Shared::at(&path)).build() {
                Ok(limiter) => {
                    works += 1;
                    // Numbers that change, and what nobody reads; the slots are what they were.
                    assert!(byte >= 512, "byte {byte}");
                    assert_eq!(limiter.peek("key").remaining(), 6, "byte {byte}");
                    assert!(limiter.check("other").is_allowed());
                    let _ = limiter.stats();
                }
                Err(BuildError::Shared { source, .. }) => {
                    errors += 1;
                    assert!(byte < 544, "byte {byte}: {source}");
                    assert!(!source.to_string().is_empty());
                }
                Err(other) => panic!("{other}"),
            }
            file.write_all_at(&original, 0).unwrap();
        }
    }
    assert!(errors >= 512 * 3 && works > 0, "{errors} errors");
    assert_eq!(shared("10/hour", 100, &path).peek("key").remaining(), 6);
}

/// A value that a hostile process wrote, with a checksum that is right, is judged all the same. (It is of words that this test
/// knows nothing of: so it asks that none of them ends the process.)
#[test]
fn a_header_of_random_words_is_an_error() {
    let directory = Directory::new("random");
    let path = directory.table();
    drop(shared("10/hour", 100, &path));
    let original = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut draw = 7;
    for _ in 0..1_000 {
        let mut header = original[..4_096].to_vec();
        for _ in 0..1 + step(&mut draw) % 4 {
            let word = usize::try_from(step(&mut draw) % 70).unwrap() * 8;
            let value = step(&mut draw) >> (step(&mut draw) % 64);
            header[word..word + 8].copy_from_slice(&value.to_le_bytes());
        }
        file.write_all_at(&header, 0).unwrap();
        if let Ok(limiter) = builder("10/hour", 100).shared(Shared::at(&path)).build() {
            let _ = limiter.check("key");
            let _ = limiter.stats();
        }
    }
}

/// The same of all that is not the header: every operation comes to an end, and nothing wraps.
#[test]
fn slots_counters_and_marks_may_hold_anything() {
    let directory = Directory::new("slots");
    let path = directory.table();
    drop(shared("10/hour", 60, &path));
    let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut draw = 11;
    let quotas = [
        "10/hour",
        "100/second burst 7 debt 30 second",
        "5/minute as leaky-queue",
        "9/minute as fixed-window",
        "9/minute as sliding-window",
        "7/hour as sliding-log",
    ];
    for _ in 0..10 {
        let words = (0..(length - 4_096) / 8).map(|_| match step(&mut draw) % 8 {
            0 => 0,
            1 => u64::MAX,
            _ => step(&mut draw),
        });
        let garbage: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&garbage, 4_096).unwrap();
        // The reach and what else changes in the header.
        let changing: Vec<u8> =
            [step(&mut draw), u64::MAX, 0, step(&mut draw), u64::MAX].into_iter().flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&changing, 512).unwrap();
        let limiter = shared("10/hour", 60, &path);
        // Over what the sweep has made of it, as well.
        file.write_all_at(&garbage, 4_096).unwrap();
        for quota in quotas {
            let limit = limiter.prepare("garbage", quota).unwrap();
            let view = limiter.under(&limit);
            for key in 0..40_u64 {
                let handle = view.key(&key);
                let _ = (handle.check(), handle.peek(), handle.state());
                let _ = handle.charge(3);
                handle.refund(1);
                let _ = handle.take_up_to(2);
                let _ = handle.reserve(1, Duration::from_secs(5)).map(|reserved| reserved.cancel());
                if key % 8 == 0 {
                    handle.reset();
                }
            }
        }
        let _ = limiter.stats();
    }
}

/// A process that changes keys and words without end does not keep anybody's call from coming to one.
#[test]
fn who_flips_words_without_end_holds_nobody() {
    let directory = Directory::new("flipper");
    let path = directory.table();
    let limiter = shared("10/second", 16, &path);
    let flipper = Child::new(|| {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let map = memmap2::MmapOptions::new().map_raw(&file).unwrap();
        let first = map.as_mut_ptr().wrapping_add(20_480).cast::<AtomicU64>();
        // SAFETY: aligned, inside the file, and only ever reached as these atomics.
        let words = unsafe { std::slice::from_raw_parts(first, 40) };
        let (mut draw, keys) = (3, [0_usize, 2, 4].map(|at| words[at].load(Ordering::Relaxed)));
        loop {
            for (at, word) in words.iter().enumerate() {
                let drawn = step(&mut draw);
                // Keys that were there, and words of every state, at all distances.
                let value = if at % 2 == 0 { keys[at / 2 % 3] } else { drawn >> (drawn % 5) };
                word.store(value, Ordering::Relaxed);
            }
        }
    });
    let quotas = ["10/second", "5/minute as sliding-window", "7/hour as sliding-log", "9/second debt 30 second"];
    let limits = quotas.map(|quota| limiter.prepare("flipped", quota).unwrap());
    for round in 0..400_u64 {
        for limit in &limits {
            let handle = limiter.under(limit).key(&(round % 3));
            let _ = (handle.check(), handle.peek(), handle.state(), handle.take_up_to(3), handle.charge(2));
            handle.refund(1);
            let _ = handle.reserve(1, Duration::from_secs(5)).map(|reserved| reserved.cancel());
        }
        let _ = limiter.snapshot(std::io::sink()).unwrap();
    }
    let _ = limiter.stats();
    flipper.kill();
}

/// How far ahead limits leave stamps stands in the mapping, and is taken for no more than it can be.
#[test]
fn a_reach_that_is_not_to_be_believed() {
    let directory = Directory::new("reach");
    let path = directory.table();
    let clock = ManualClock::new(Instant::from_secs(1_800_000_000));
    let shared = Shared::at(&path);
    let limiter = builder("1/day", 16).shared(shared).trust_clock(clock.clone()).build().unwrap();
    for key in 0..20 {
        assert!(limiter.check(&key).is_allowed());
    }
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0xFF; 16], 512).unwrap();
    // Refused for want of a slot, which looks at what a clock that steps back may have left.
    clock.set(clock.now().saturating_sub(Duration::from_secs(100)));
    assert!(limiter.check("stranger").is_refused());
}

#[test]
fn sums_of_anything_do_not_wrap_around_a_program() {
    let directory = Directory::new("sums");
    let path = directory.table();
    let limiter = shared("1/day", 200_000, &path);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0xFF; 8_192], 4_096).unwrap();
    let _ = limiter.stats();
}

/// Whatever is damaged, whoever says so gets a table that works in its place.
#[test]
fn what_is_damaged_can_be_replaced() {
    let directory = Directory::new("replaced");
    let path = directory.table();
    for (offset, what) in [(16_u64, "version"), (24, "layout"), (40, "state"), (200, "checksum")] {
        drop(shared("10/hour", 100, &path));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xEE], offset).unwrap();
        let error = builder("10/hour", 100).shared(Shared::at(&path)).build().unwrap_err();
        assert!(
            matches!(
                (&error, what),
                (BuildError::Shared { source: SharedError::Version { .. }, .. }, "version")
                    | (BuildError::Shared { source: SharedError::Layout { .. }, .. }, "layout")
                    | (BuildError::Shared { source: SharedError::Damaged { .. }, .. }, "state" | "checksum")
            ),
            "{what}: {error}"
        );
        let adopted = builder("10/hour", 100).shared(Shared::at(&path).on_mismatch(OnMismatch::Adopt)).build();
        assert!(adopted.is_err(), "{what}");
        let replaced = builder("10/hour", 100).shared(Shared::at(&path).on_mismatch(OnMismatch::Replace)).build();
        assert!(replaced.unwrap().check("key").is_allowed(), "{what}");
        std::fs::remove_file(&path).unwrap();
    }
}
