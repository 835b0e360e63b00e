//! Resident bytes for each key at full capacity, with every key busy. Each limiter has a process of its own: this very
//! program, started again.
#![expect(clippy::cast_precision_loss, reason = "bytes of a process")]

use std::process::Command;
use std::{env, fs};

use crate::common::contender::{Fill, ready};
use crate::common::paired::Spread;
use crate::common::peers::{Exact, Gcra, Governor, MutexedMap};
use crate::common::{Peer, Terms, Uniform};
use crate::options::Options;
use crate::report::{self, Goal, Report, Row};

const WHO: &str = "TOLLGATE_RESIDENT_OF";
const KEYS: &str = "TOLLGATE_RESIDENT_KEYS";

/// If this is such a process: builds, fills, prints how many bytes that took, and says so.
pub fn child() -> bool {
    let (Ok(who), Ok(keys)) = (env::var(WHO), env::var(KEYS)) else { return false };
    let keys = keys.parse().expect("a number of keys");
    let bytes = match who.as_str() {
        Exact::NAME => grown_by::<Exact>(keys),
        Governor::<u64>::NAME => grown_by::<Governor<u64>>(keys),
        MutexedMap::<u64>::NAME => grown_by::<MutexedMap<u64>>(keys),
        Gcra::<u64>::NAME => grown_by::<Gcra<u64>>(keys),
        _ => panic!("nobody is called {who}"),
    };
    println!("{bytes}");
    true
}

fn grown_by<P: Peer + Fill<u64>>(keys: u64) -> u64 {
    let terms = Terms::Allow;
    // A small one first: what a clock or a hash function needs once is not a matter of keys.
    let small: P = ready(&mut Uniform::new(100), 100, terms);
    let before = resident();
    let peer: P = ready(&mut Uniform::new(keys), keys, terms);
    let bytes = resident().saturating_sub(before);
    // All of them are in, and go on being admitted.
    assert!((0..keys).all(|key| peer.check(&key)), "a key was refused");
    drop((small, peer));
    bytes
}

/// The resident set of this process, in bytes, counted by the kernel page by page.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line on the resident set");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

fn per_key(who: &str, keys: u64) -> f64 {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program).env(WHO, who).env(KEYS, keys.to_string()).output().expect("a process");
    assert!(output.status.success(), "{who}: {}", String::from_utf8_lossy(&output.stderr));
    let bytes: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of bytes");
    bytes as f64 / keys as f64
}

pub fn compare(keys: u64, options: &Options, report: &mut Report) {
    if !cfg!(target_os = "linux") {
        eprintln!("left out: the resident set is read from /proc");
        return;
    }
    let workload = format!("memory, {}, all busy", report::keys(keys));
    let keys = options.keys(keys);
    let ours = per_key(Exact::NAME, keys);
    let goal = Goal::Most(24.0);
    for (peer, goal, note) in [
        (Governor::<u64>::NAME, goal, "resident bytes a key; both hold numbers, and nothing is ever swept"),
        (MutexedMap::<u64>::NAME, Goal::None, "resident bytes a key"),
        (Gcra::<u64>::NAME, Goal::None, "resident bytes a key; room reserved beforehand"),
    ] {
        let theirs = per_key(peer, keys);
        let ratio = theirs / ours;
        let peer = Some((peer, theirs, Spread { median: ratio, low: ratio, high: ratio }));
        report.line(&Row { workload: &workload, unit: "B", ours, peer, goal, note });
    }
}
