//! The scenarios of `tests/oracle`, with every choice drawn from the input: quotas, instants, calls, and who makes them.
//! All answers are held against the exact models, and what was used against P1.
#![no_main]
#![allow(dead_code, reason = "a part of what the oracle has")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/oracle/draw.rs"]
mod draw;
#[path = "../../tests/oracle/journal.rs"]
mod journal;
#[path = "../../tests/oracle/mixed.rs"]
mod mixed;
#[path = "../../tests/oracle/one.rs"]
mod one;
#[path = "../../tests/oracle/range.rs"]
mod range;
#[path = "../../tests/oracle/several.rs"]
mod several;
#[path = "../../tests/oracle/subject.rs"]
mod subject;
#[path = "../../tests/oracle/track.rs"]
mod track;

use libfuzzer_sys::fuzz_target;
use tollgate::Algorithm;

use common::Rng;
use journal::Journal;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, choices)) = input.split_first() else { return };
    let (mut rng, mut journal) = (Rng::from_input(choices), Journal::new("fuzz"));
    journal.begin(0);
    let kind = usize::from(kind) % (Algorithm::ALL.len() + 4);
    match Algorithm::ALL.get(kind) {
        Some(&algorithm) => one::calls(&mut rng, &mut journal, algorithm),
        None if kind == Algorithm::ALL.len() => several::calls(&mut rng, &mut journal),
        None => mixed::calls(&mut rng, &mut journal),
    }
});
