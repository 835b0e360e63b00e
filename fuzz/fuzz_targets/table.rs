//! Anything in the file of a table that processes share, header and slots, with a checksum that fits or not: an error, or a limiter whose
//! every call comes to an end, and whose snapshot is one.
#![no_main]

use core::hash::Hasher as _;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use siphasher::sip::SipHasher13;
use tollgate::clock::{Instant, ManualClock};
use tollgate::shared::{OnMismatch, Shared};
use tollgate::snapshot::SnapshotInfo;
use tollgate::{Algorithm, Limiter, Quota};
use tollgate_fuzz::SECOND;

const START: u64 = 1_700_000_000 * SECOND;
/// Where the slots are, and how many words they have.
const SLOTS: (u64, u64) = (20_480, 40);

/// A table in memory that nobody uses, and what it was at first.
fn table() -> &'static (File, Vec<u8>) {
    static TABLE: OnceLock<(File, Vec<u8>)> = OnceLock::new();
    TABLE.get_or_init(|| {
        let clock = ManualClock::new(Instant::from_nanos(START));
        let limiter = Limiter::builder("7/minute").capacity(16).shared(Shared::before_fork()).trust_clock(clock);
        let limiter = limiter.build().expect("a table in memory");
        let shared = limiter.shared().expect("it is shared");
        let file = opened_again(&shared.descriptor().try_clone_to_owned().expect("a descriptor").into());
        let mut bytes = vec![0; usize::try_from(shared.bytes()).expect("some pages")];
        file.read_exact_at(&mut bytes, 0).expect("memory");
        (file, bytes)
    })
}

/// By a description of its own.
fn opened_again(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(path).expect("a file in memory")
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, input)) = input.split_first() else { return };
    let (file, original) = table();
    let mut bytes = original.clone();
    // A place of 16 bits and a word each.
    for patch in input.chunks_exact(10) {
        let place = u64::from(u16::from_le_bytes([patch[0], patch[1]]));
        let at = match place {
            // The words of the header, what is between them and the slots, and the slots.
            0..0x4000 => place % 72 * 8,
            0x4000..0x8000 => 4_096 + place % 2_048 * 8,
            _ => SLOTS.0 + place % SLOTS.1 * 8,
        };
        let at = usize::try_from(at).expect("inside");
        bytes[at..at + 8].copy_from_slice(&patch[2..]);
    }
    if mode & 1 == 0 {
        seal(&mut bytes);
    }
    file.write_all_at(&bytes, 0).expect("memory");
    let clock = ManualClock::new(Instant::from_nanos(START + u64::from(mode >> 4) * 61 * SECOND));
    let what = if mode & 2 == 0 { OnMismatch::Refuse } else { OnMismatch::Adopt };
    let open = || Shared::fd(opened_again(file).into()).on_mismatch(what);
    let quota = Quota::per_minute(7);
    let build = || Limiter::builder(quota).capacity(16).shared(open()).trust_clock(clock.clone()).build();
    if let Ok(found) = open().inspect() {
        let _ = found.info();
    }
    let Ok(limiter) = build() else { return };
    // Over what who was alone has mended, and beside another.
    file.write_all_at(&bytes[4_096..], 4_096).expect("memory");
    let other = if mode & 4 == 0 { build().ok() } else { None };
    for algorithm in Algorithm::ALL {
        for quota in [quota, quota.with_burst(70), quota.with_max_debt(Duration::from_secs(9))] {
            let Ok(limit) = limiter.prepare("name", quota.with_algorithm(algorithm)) else { continue };
            for key in 0..3_u64 {
                let handle = limiter.under(&limit).key(&key);
                let _ = (handle.check(), handle.peek(), handle.state(), handle.charge(2), handle.take_up_to(3));
                let _ = handle.reserve(1, Duration::from_secs(60)).map(|reserved| reserved.cancel());
                handle.refund(1);
            }
        }
        clock.advance(Duration::from_secs(17));
    }
    let (_, _, _) = (limiter.stats(), limiter.release_idle(), limiter.free_dead_slots());
    let mut written = Vec::new();
    let info = limiter.snapshot(&mut written).expect("memory");
    assert_eq!(SnapshotInfo::read(&written[..]).expect("what was just written"), info);
    drop(other);
});

/// With the checksum that fits: of the first 63 words but for the state.
fn seal(bytes: &mut [u8]) {
    let mut hasher = SipHasher13::new();
    for (word, bytes) in bytes.as_chunks::<8>().0[..63].iter().enumerate() {
        if word != 5 {
            hasher.write(&u64::from_ne_bytes(*bytes).to_be_bytes());
        }
    }
    bytes[504..512].copy_from_slice(&hasher.finish().to_ne_bytes());
}
