//! Any bytes as a snapshot, as they are or with the checksums that fit: an error, or a limiter that works and whose own snapshot can be
//! restored.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tollgate::clock::{Instant, ManualClock};
use tollgate::snapshot::SnapshotInfo;
use tollgate::{Algorithm, Limiter, Quota};
use tollgate_fuzz::SECOND;

const HEADER: usize = 256;
/// When the snapshots of the corpus were taken.
const START: u64 = 1_700_000_000 * SECOND;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 0 {
        seal(&mut bytes);
    }
    let info = SnapshotInfo::read(&bytes[..]);
    let clock = ManualClock::new(Instant::from_nanos(START + u64::from(mode >> 2) * 61 * SECOND));
    let quota = Quota::per_minute(7);
    let builder = Limiter::builder(quota).capacity(if mode & 2 == 0 { 1 } else { 50 }).clock(&clock);
    let Ok((limiter, restored)) = builder.clone().restore(&bytes[..]) else { return };
    let info = info.expect("restore and read judge alike");
    assert!(restored.buckets + restored.refilled + restored.displaced <= info.buckets);
    assert_eq!(info.bytes, bytes.len() as u64);
    for algorithm in Algorithm::ALL {
        let limit = limiter.prepare("name", quota.with_algorithm(algorithm)).expect("a quota for any base");
        for key in 0..4_u64 {
            let taken = (0..9).filter(|_| limiter.under(&limit).check(&key).is_allowed()).count();
            assert!(taken <= 7, "{algorithm:?}");
        }
        clock.advance(Duration::from_secs(30));
    }
    limiter.release_idle();
    let mut again = Vec::new();
    let written = limiter.snapshot(&mut again).expect("memory");
    let (other, restored) = builder.restore(&again[..]).expect("what was just written");
    assert_eq!((restored.buckets, restored.displaced), (written.buckets, 0));
    for key in 0..4_u64 {
        assert_eq!(limiter.key(&key).state(), other.key(&key).state());
    }
});

fn seal(bytes: &mut [u8]) {
    if bytes.len() < HEADER + 8 {
        return;
    }
    let sum = u64::from(crc32fast::hash(&bytes[..HEADER - 8]));
    bytes[HEADER - 8..HEADER].copy_from_slice(&sum.to_le_bytes());
    let end = bytes.len() - 8;
    let sum = u64::from(crc32fast::hash(&bytes[..end]));
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
}
