//! The table that is published: each workload with all its contenders in one race of short slices, and the median of
//! the ratios within a round, which noise on a shared machine moves far less than it moves nanoseconds.
//!
//! `ci/bench.sh`, or `cargo bench --bench ratios -- [full] [--tsv] [--test] [FILTER]`; `--list` names the scenes.

#![allow(unreachable_pub, reason = "a program: nothing is public")]

mod cache;
#[path = "../common/mod.rs"]
mod common;
mod hot_key;
mod insert;
mod latency;
mod memory;
mod numbers;
mod options;
mod peers;
mod pictures;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod processes;
mod report;
mod text;
mod threads;

use common::Stopwatch;
use options::{Options, Set};
use report::Report;

/// One scene: contenders that are built together and race each other.
type Scene = (String, Set, Play);
type Play = Box<dyn Fn(&Options, &mut Report)>;

fn scenes() -> Vec<Scene> {
    let mut scenes: Vec<Scene> = Vec::new();
    let mut add = |name: String, set, run: Play| scenes.push((name, set, run));
    for keys in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let set = if [1_000, 1_000_000, 10_000_000].contains(&keys) { Set::Default } else { Set::Full };
        let name = report::keys(keys);
        add(format!("numbers, {name}"), set, Box::new(move |options, report| numbers::race(keys, options, report)));
    }
    for keys in [1_000, 1_000_000] {
        let name = report::keys(keys);
        add(format!("text of 16, {name}"), Set::Default, Box::new(move |o, r| text::race::<16>(keys, o, r)));
        add(format!("text of 64, {name}"), Set::Default, Box::new(move |o, r| text::race::<64>(keys, o, r)));
        add(format!("threads, {name}"), Set::Default, Box::new(move |o, r| threads::race(keys, o, r)));
    }
    add("hot key".into(), Set::Default, Box::new(hot_key::race));
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    add("processes".into(), Set::Default, Box::new(processes::race));
    add("insert-heavy".into(), Set::Default, Box::new(insert::race));
    add("latency".into(), Set::Default, Box::new(latency::race));
    for keys in [1_000_000, 10_000_000] {
        let name = report::keys(keys);
        add(format!("memory, {name}"), Set::Default, Box::new(move |o, r| memory::compare(keys, o, r)));
    }
    for keys in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let set = if keys == 1_000 { Set::Default } else { Set::Full };
        let name = report::keys(keys);
        add(format!("peers, numbers, {name}"), set, Box::new(move |o, r| peers::numbers(keys, o, r)));
        if keys <= 1_000_000 {
            // Ten million owned texts in seven maps at once would take more memory than a common machine has.
            add(format!("peers, text, {name}"), set, Box::new(move |o, r| peers::text(keys, o, r)));
        }
        add(format!("zipf, {name}"), Set::Full, Box::new(move |o, r| numbers::zipf(keys, o, r)));
        add(format!("mixed, {name}"), Set::Full, Box::new(move |o, r| peers::mixed(keys, o, r)));
    }
    add("numbers, 50 M keys".into(), Set::Full, Box::new(|o, r| numbers::beyond_cache(50_000_000, o, r)));
    add("peers, one bucket".into(), Set::Default, Box::new(peers::one_bucket));
    scenes
}

fn main() {
    if memory::child() {
        return;
    }
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    if processes::child() {
        return;
    }
    let options = Options::from_args();
    if let Some(folder) = &options.pictures {
        pictures::measure(&options, folder);
        return;
    }
    let scenes: Vec<Scene> =
        scenes().into_iter().filter(|(name, set, _)| options.wants(*set) && name.contains(&options.filter)).collect();
    if options.list {
        scenes.iter().for_each(|(name, ..)| println!("{name}"));
        return;
    }
    if options.smoke {
        eprintln!("only shows that everything runs: few keys, short slices; the figures mean nothing");
    }
    assert!(!scenes.is_empty(), "no scene contains {:?}; `--list` names them", options.filter);
    cache::compare(10_000_000);
    let (mut report, begun) = (Report::new(options.tsv), Stopwatch::start());
    for (index, (name, _, run)) in scenes.iter().enumerate() {
        eprintln!("[{:>2}/{}] {:>4.0} s  {name}", index + 1, scenes.len(), begun.secs());
        run(&options, &mut report);
    }
    report.end();
    eprintln!("took {:.0} s", begun.secs());
}
