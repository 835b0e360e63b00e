//! The figures behind the pictures: cost against keys, calls against threads, latencies. `ci/pictures.sh` draws them.
#![expect(clippy::cast_precision_loss, reason = "figures for pictures")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::common::contender::ready;
use crate::common::peers::{Array, AtNow, Cached, CasLoop, Exact, Governor, MutexedMap};
use crate::common::threads::{available, disturbed};
use crate::common::{One, Peer, Race, Terms, Uniform};
use crate::numbers::MANY;
use crate::options::Options;
use crate::{hot_key, latency, numbers, threads};

pub fn measure(options: &Options, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("a file");
    write("keys.tsv", keys(options));
    write("threads.tsv", threads(options));
    write("latency.tsv", latencies(options));
}

/// Nanoseconds a check, from a thousand keys to ten million.
fn keys(options: &Options) -> String {
    let mut text = String::from("keys\twho\tns\tns_q1\tns_q3\n");
    for count in [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000] {
        eprintln!("cost of a check, {count} keys");
        let count = options.keys(count);
        let times = numbers::run(count, || Uniform::new(count), options, false);
        for who in [Governor::<u64>::NAME, Exact::NAME, Array::NAME, Cached::NAME, AtNow::NAME, MANY] {
            let of = times.of(who);
            writeln!(text, "{count}\t{who}\t{:.2}\t{:.2}\t{:.2}", of.median, of.low, of.high).expect("a text");
        }
    }
    text
}

/// Million calls a second, all threads together, up to twice as many threads as cores.
fn threads(options: &Options) -> String {
    let allow = Terms::Allow;
    let count = options.keys(1_000_000);
    let mut text = format!("# cores\t{}\nthreads\tkeys\twho\tcalls_per_us\tq1\tq3\n", available());
    for number in [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|threads| *threads <= 2 * available()) {
        eprintln!("calls a second, {number} threads");
        let mut filler = Uniform::new(count);
        let exact: Exact = ready(&mut filler, count, allow);
        let governor: Governor<u64> = ready(&mut filler, count, allow);
        let map: MutexedMap<u64> = ready(&mut filler, count, allow);
        let [mut a, mut b, mut c] = [0_u64; 3];
        let mut race = Race::new(options.length());
        race.add(Exact::NAME, |calls| threads::uniform(&exact, count, number, calls, &mut a));
        race.add(Governor::<u64>::NAME, |calls| threads::uniform(&governor, count, number, calls, &mut b));
        race.add(MutexedMap::<u64>::NAME, |calls| threads::uniform(&map, count, number, calls, &mut c));
        let uniform = race.run();

        let exact: Exact = ready(&mut One::default(), 1, allow);
        let governor: Governor<u64> = ready(&mut One::default(), 1, allow);
        let map: MutexedMap<u64> = ready(&mut One::default(), 1, allow);
        let cas_loop = CasLoop::new(1, allow);
        let mut race = Race::new(options.length());
        race.add(Exact::NAME, |calls| hot_key::hammer(&exact, number, calls));
        race.add(Governor::<u64>::NAME, |calls| hot_key::hammer(&governor, number, calls));
        race.add(MutexedMap::<u64>::NAME, |calls| hot_key::hammer(&map, number, calls));
        race.add(CasLoop::NAME, |calls| hot_key::hammer(&cas_loop, number, calls));
        let hot = race.run();
        eprintln!("other work disturbed {} % of the slices", disturbed());
        for (keys, times) in [("1 M keys", &uniform), ("one hot key", &hot)] {
            for who in times.names() {
                let of = times.of(who);
                let [median, q1, q3] = [of.median, of.high, of.low].map(|nanos| 1_000.0 / nanos);
                writeln!(text, "{number}\t{keys}\t{who}\t{median:.3}\t{q1:.3}\t{q3:.3}").expect("a text");
            }
        }
    }
    text
}

/// For every nanosecond value that occurred, which share of the calls took longer.
fn latencies(options: &Options) -> String {
    eprintln!("latencies");
    let mut text = String::from("who\tns\tlonger\n");
    for latencies in latency::measure(options) {
        let (all, mut left) = (latencies.histogram.len(), latencies.histogram.len());
        let mut last = f64::INFINITY;
        for step in latencies.histogram.iter_recorded() {
            left -= step.count_since_last_iteration();
            let longer = left as f64 / all as f64;
            // A fiftieth of a decade is finer than a picture shows.
            if longer < last * 0.955 || left == 0 {
                let nanos = step.value_iterated_to();
                writeln!(text, "{}\t{nanos}\t{longer:.3e}", latencies.who).expect("a text");
                last = longer;
            }
        }
    }
    text
}
