//! All peers: those that take numbers, those that take text, and those that have no keys.

use crate::common::contender::{Contender, Fill, ready};
use crate::common::peers::{
    Exact, Gcra, Governor, GovernorDirect, LeakyBucket, Lone, MutexedMap, PingoraLimits, Ratelimit, Throttlecrab,
    Trypema,
};
use crate::common::{Keys, Peer, Race, Terms, Text, Times, Uniform, checks, checks_mixed};
use crate::options::Options;
use crate::report::{self, Goal, Report};

/// Builds one, fills it, and lets it run.
fn enter<K, P: Peer + Fill<K> + 'static, D: Keys<K> + 'static>(
    race: &mut Race<'_>,
    keys: impl Fn() -> D,
    count: u64,
    terms: Terms,
) {
    let mut keys_of_race = keys();
    let peer: P = ready(&mut keys(), count, terms);
    race.add(P::NAME, move |calls| checks(&peer, &mut keys_of_race, calls, terms));
}

fn rows<P: Peer>(report: &mut Report, times: &Times, workload: &str, notes: &[(&str, &str)]) {
    for (name, note) in notes {
        report.row(times, workload, P::NAME, name, Goal::None, note);
    }
}

fn note<P: Peer>() -> (&'static str, &'static str) {
    (P::NAME, P::NOTE)
}

const BOTH: [(Terms, &str); 2] = [(Terms::Allow, "allowed"), (Terms::Refuse, "refused")];

pub fn numbers(count: u64, options: &Options, report: &mut Report) {
    let name = report::keys(count);
    let count = options.keys(count);
    for (terms, answer) in BOTH {
        let keys = || Uniform::new(count);
        let mut race = Race::new(options.length());
        enter::<u64, Exact, _>(&mut race, keys, count, terms);
        enter::<u64, Governor<u64>, _>(&mut race, keys, count, terms);
        enter::<u64, Gcra<u64>, _>(&mut race, keys, count, terms);
        enter::<u64, MutexedMap<u64>, _>(&mut race, keys, count, terms);
        enter::<u64, PingoraLimits, _>(&mut race, keys, count, terms);
        let peers = [note::<Governor<u64>>(), note::<Gcra<u64>>(), note::<MutexedMap<u64>>(), note::<PingoraLimits>()];
        rows::<Exact>(report, &race.run(), &format!("peers, {name}, {answer}"), &peers);
    }
}

pub fn text(count: u64, options: &Options, report: &mut Report) {
    let name = report::keys(count);
    let count = options.keys(count);
    for (terms, answer) in BOTH {
        let keys = || Text::<_, 16>::new(Uniform::new(count));
        let mut race = Race::new(options.length());
        enter::<String, Exact, _>(&mut race, keys, count, terms);
        enter::<String, Governor<String>, _>(&mut race, keys, count, terms);
        enter::<String, Gcra<String>, _>(&mut race, keys, count, terms);
        enter::<String, MutexedMap<String>, _>(&mut race, keys, count, terms);
        enter::<String, PingoraLimits, _>(&mut race, keys, count, terms);
        enter::<String, Throttlecrab, _>(&mut race, keys, count, terms);
        enter::<String, Trypema, _>(&mut race, keys, count, terms);
        let peers = [
            note::<Governor<String>>(),
            note::<Gcra<String>>(),
            note::<MutexedMap<String>>(),
            note::<PingoraLimits>(),
            note::<Throttlecrab>(),
            note::<Trypema>(),
        ];
        rows::<Exact>(report, &race.run(), &format!("peers, {name} of 16 bytes, {answer}"), &peers);
    }
}

pub fn one_bucket(options: &Options, report: &mut Report) {
    for (terms, answer) in BOTH {
        let keys = || Uniform::new(1);
        let mut race = Race::new(options.length());
        enter::<u64, Lone, _>(&mut race, keys, 1, terms);
        enter::<u64, GovernorDirect, _>(&mut race, keys, 1, terms);
        enter::<u64, Ratelimit, _>(&mut race, keys, 1, terms);
        enter::<u64, LeakyBucket, _>(&mut race, keys, 1, terms);
        let peers = [note::<GovernorDirect>(), note::<Ratelimit>(), note::<LeakyBucket>()];
        rows::<Lone>(report, &race.run(), &format!("peers, one bucket, {answer}"), &peers);
    }
}

/// One key in ten is exhausted: how well a processor foresees the answer is part of it.
pub fn mixed(count: u64, options: &Options, report: &mut Report) {
    fn enter<P: Peer + Fill<u64> + Contender<u64> + 'static>(race: &mut Race<'_>, count: u64) {
        let mut keys = Uniform::new(count);
        let peer: P = ready(&mut keys, count, Terms::Mixed);
        race.add(P::NAME, move |calls| checks_mixed(&peer, &mut keys, calls));
    }
    let name = report::keys(count);
    let count = options.keys(count);
    let mut race = Race::new(options.length());
    enter::<Exact>(&mut race, count);
    enter::<Governor<u64>>(&mut race, count);
    enter::<MutexedMap<u64>>(&mut race, count);
    let peers = [note::<Governor<u64>>(), note::<MutexedMap<u64>>()];
    rows::<Exact>(report, &race.run(), &format!("{name}, one in ten refused"), &peers);
}
