//! What a hostile hand can write: with checksums that fit, so that what stands behind them is reached.

use core::time::Duration;

use super::header::LENGTH;
use super::*;
use crate::clock::ManualClock;
use crate::limiter::Limiter;
use crate::quota::{Algorithm, Quota};

const START: u64 = 1_700_000_000;
/// Of 8 bytes, in a header.
const WORDS: usize = LENGTH / 8;

fn limiter() -> Limiter<ManualClock> {
    let clock = ManualClock::new(Instant::from_secs(START));
    Limiter::builder(Quota::per_hour(10)).capacity(20).fixed_seed(7).clock(clock).build().unwrap()
}

fn snapshot() -> Vec<u8> {
    let (limiter, mut bytes) = (limiter(), Vec::new());
    for key in 0..12_u64 {
        let _ = limiter.key(&key).take_up_to(1 + key);
    }
    limiter.snapshot(&mut bytes).unwrap();
    bytes
}

/// With the checksums that fit.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(header) = bytes.get_mut(..LENGTH) {
        let sum = u64::from(crc32fast::hash(&header[..LENGTH - 8]));
        header[LENGTH - 8..].copy_from_slice(&sum.to_le_bytes());
    }
    if let Some(end) = bytes.len().checked_sub(8).filter(|&end| end >= LENGTH) {
        let sum = u64::from(crc32fast::hash(&bytes[..end]));
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn with_word(at: usize, value: u64) -> Vec<u8> {
    let mut bytes = snapshot();
    bytes[at * 8..][..8].copy_from_slice(&value.to_le_bytes());
    sealed(bytes)
}

/// Restores, and if that works does everything once.
fn attack(bytes: &[u8]) -> Result<Restored, RestoreError> {
    let info = SnapshotInfo::read(bytes);
    let clock = ManualClock::new(Instant::from_secs(START + 5));
    let builder = Limiter::builder(Quota::per_hour(10)).capacity(20).clock(&clock);
    let (limiter, restored) = builder.restore(bytes)?;
    assert_eq!(info.unwrap().bytes, bytes.len() as u64);
    for step in [0, 3_600, 400_000_000] {
        clock.advance(Duration::from_secs(step));
        for algorithm in Algorithm::ALL {
            let limit = limiter.prepare("name", Quota::per_minute(5).with_algorithm(algorithm)).unwrap();
            for key in 0..6_u64 {
                let decisions = [limiter.under(&limit).check(&key), limiter.peek(&key), limiter.check_n(&key, 3)];
                assert!(decisions.iter().all(|decision| decision.remaining() <= 10));
                assert!(decisions.iter().all(|decision| decision.is_allowed() || decision.retry_after().is_some()));
                limiter.key(&key).refund(1);
                let _ = limiter.key(&key).state();
            }
        }
        limiter.snapshot(std::io::sink()).unwrap();
    }
    Ok(restored)
}

#[test]
fn what_is_whole_is_taken() {
    let restored = attack(&snapshot()).unwrap();
    assert_eq!((restored.buckets, restored.displaced), (12, 0));
    assert_eq!(restored.taken_at, Instant::from_secs(START));
}

#[test]
fn every_number_of_the_header_is_judged() {
    // Those that any number may be: the wall clock, the lineage, the seeds and what they lead to.
    let (free, hashed) = ([7, 11], 12..24);
    let whole = snapshot();
    let was = |at: usize| u64::from_le_bytes(whole[at * 8..][..8].try_into().unwrap());
    for at in 0..WORDS - 1 {
        for value in [0, 1, 1 << 20, 1_000_000_000, 1 << 32, 1 << 58, 1 << 60, 1 << 63, u64::MAX - 1, u64::MAX] {
            let bytes = with_word(at, value);
            if value == was(at) {
                continue;
            }
            match attack(&bytes) {
                Err(RestoreError::NotASnapshot { .. }) => assert_eq!(at, 0),
                Err(RestoreError::Version { found, .. }) => assert!(at == 1 && found != header::VERSION),
                Err(RestoreError::Hash) => assert!(hashed.contains(&at), "word {at}"),
                Err(RestoreError::Field { found, min, max, .. }) => assert!(!(min..=max).contains(&found)),
                // A range elsewhere, or one that has all but passed.
                Err(RestoreError::Clock { .. }) => assert!((3..=6).contains(&at), "word {at}"),
                Err(other) => panic!("word {at} as {value:#x}: {other}"),
                Ok(_) => assert!(free.contains(&at) || (3..=10).contains(&at), "word {at} as {value:#x}"),
            }
        }
    }
}

#[test]
fn every_record_is_judged() {
    for record in 0..12 {
        for value in [0, 1, 1 << 59, (1 << 60) - 1, 1 << 60, (1 << 61) - 1, 1 << 61, 1 << 62, 1 << 63, u64::MAX] {
            let balance = attack(&with_word(WORDS + 2 * record + 1, value));
            match balance {
                Err(RestoreError::Record { index, found }) => {
                    assert_eq!((index, found), (record as u64, value));
                    assert!(value >= 1 << 61);
                }
                other => assert!(other.is_ok() && value < 1 << 61, "{value:#x}: {other:?}"),
            }
            let identity = attack(&with_word(WORDS + 2 * record, value));
            match identity {
                // The end, before its time: what follows is no checksum of it.
                Err(RestoreError::Checksum { .. }) => assert_eq!(value, 0),
                other => assert!(other.is_ok() && value != 0, "{value:#x}: {other:?}"),
            }
        }
    }
}

#[test]
fn one_key_twice_is_one_bucket_with_the_larger_debt() {
    let mut bytes = snapshot();
    let record = bytes[LENGTH..][..16].to_vec();
    for other in 1..12 {
        bytes[LENGTH + 16 * other..][..8].copy_from_slice(&record[..8]);
    }
    let bytes = sealed(bytes);
    let latest =
        bytes[LENGTH..][..16 * 12].chunks(16).map(|one| u64::from_le_bytes(one[8..].try_into().unwrap())).max();
    let clock = ManualClock::new(Instant::from_secs(START));
    let builder = Limiter::builder(Quota::per_hour(10)).capacity(20).clock(&clock);
    let (limiter, restored) = builder.restore(&bytes[..]).unwrap();
    assert_eq!((restored.buckets, restored.displaced), (1, 0));
    let mut found = Vec::new();
    let all: Result<(), ()> = limiter.table.each_busy(0, &mut |_, balance| {
        found.push(balance.stamp);
        Ok(())
    });
    all.unwrap();
    assert_eq!(found, [latest.unwrap()]);
}

#[test]
fn there_are_no_more_records_than_slots_and_as_many_as_it_says() {
    let whole = snapshot();
    let (head, end) = whole.split_at(whole.len() - 24);
    let with = |records: usize, count: u64| {
        let mut bytes = head[..LENGTH].to_vec();
        for id in 1..=records as u64 {
            bytes.extend(encode(id << 32, 1));
        }
        bytes.extend(encode(0, count));
        bytes.extend(&end[16..]);
        attack(&sealed(bytes))
    };
    let slots = usize::try_from(Records::open(&whole[..]).unwrap().0.slots()).unwrap();
    assert!(slots >= 20 && with(slots, slots as u64).is_ok(), "{slots}");
    let error = with(slots + 1, slots as u64 + 1).unwrap_err();
    assert!(matches!(error, RestoreError::Field { name: "number of records", .. }), "{error}");
    for count in [0, 4, 6, u64::MAX] {
        let error = with(5, count).unwrap_err();
        assert!(matches!(error, RestoreError::Count { found: 5, expected } if expected == count), "{error}");
    }
}

#[test]
fn another_hash_is_refused() {
    for at in 20..24 {
        let error = attack(&with_word(at, 7)).unwrap_err();
        assert!(matches!(error, RestoreError::Hash), "{error}");
    }
}
