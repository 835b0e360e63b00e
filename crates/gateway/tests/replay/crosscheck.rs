//! The program against the exact model: the refusals of every key must be the same, for every algorithm.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use crate::model::{self, Expected, Rule};
use crate::tool::{file, refused, replay_json, run, total};

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;

const ALGORITHMS: [&str; 6] =
    ["token-bucket", "leaky-bucket", "leaky-queue", "fixed-window", "sliding-window", "sliding-log"];

/// A rate, as an option and as `(count, period)`.
const RATES: [(&str, u128, u128); 6] = [
    ("10/minute", 10, MINUTE),
    ("5/30s", 5, 30 * SECOND),
    ("7/13min", 7, 13 * MINUTE),
    ("3/second", 3, SECOND),
    ("100/hour", 100, HOUR),
    ("1/day", 1, 24 * HOUR),
];

/// A log: where it is, and its requests as `(time, key)` for each kind of key.
struct Log {
    path: PathBuf,
    by_ip: Vec<(u128, String)>,
    by_ip_and_path: Vec<(u128, String)>,
}

impl Log {
    /// Reads Combined lines by counting spaces, which is all that these logs need.
    fn new(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut log = Self { path, by_ip: Vec::new(), by_ip_and_path: Vec::new() };
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields.len() < 7 || !fields[3].starts_with('[') {
                continue;
            }
            let (time, ip) = (time(fields[3]), fields[0]);
            let target = fields[6].split(['?', '#']).next().unwrap();
            let client = client(ip);
            // Nor does the case of letters make another path of it.
            log.by_ip_and_path.push((time, format!("{client} {}", one_spelling(target).to_ascii_lowercase())));
            log.by_ip.push((time, client));
        }
        log
    }
}

/// A client as the gateway counts it: an IPv6 address by its /64.
fn client(address: &str) -> String {
    match address.parse::<Ipv6Addr>().map(|address| address.segments()) {
        Ok([a, b, c, d, ..]) => format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
        Err(_) => address.to_owned(),
    }
}

/// A path as the gateway reads it: of what is in these logs, one slash for several and none at the end.
fn one_spelling(path: &str) -> String {
    let mut spelled = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        spelled.push('/');
        spelled.push_str(segment);
    }
    if spelled.is_empty() { "/".to_owned() } else { spelled }
}

/// `[17/May/2015:10:05:03` in UTC.
fn time(stamp: &str) -> u128 {
    let parts: Vec<&str> = stamp[1..].split(['/', ':']).collect();
    let number = |i: usize| parts[i].parse::<u128>().unwrap();
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(parts[1]).unwrap() / 3;
    let is_leap = |year: u128| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let year = number(2);
    let mut days = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<u128>() + number(0) - 1;
    days += [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][..month].iter().sum::<u128>();
    days += u128::from(month > 1 && is_leap(year));
    ((days * 24 + number(3)) * 3_600 + number(4) * 60 + number(5)) * SECOND
}

fn sample() -> Log {
    Log::new(file("sample.log", run(["sample"]).ok().stdout))
}

/// The log of a real site, where it is at hand: it is not part of this repository.
fn real() -> Option<Log> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/apache_access.log");
    let path = std::env::var_os("TOLLGATE_LOG").map_or(beside, PathBuf::from);
    if path.exists() {
        return Some(Log::new(path));
    }
    println!("skipped: there is no {}; TOLLGATE_LOG can name a log", path.display());
    None
}

#[track_caller]
fn compare(path: &Path, options: &str, expected: &Expected) {
    let result = replay_json(options, &[path]);
    assert_eq!(refused(&result), expected.refused, "{options}");
    let found = Expected {
        allowed: total(&result, "allowed"),
        delayed: total(&result, "delayed"),
        refused: refused(&result),
        longest_delay: expected.longest_delay,
    };
    assert_eq!(&found, expected, "{options}");
    assert_eq!(total(&result, "refused"), expected.refused.values().sum::<u64>(), "{options}");
    let longest = std::time::Duration::from_nanos(u64::try_from(expected.longest_delay).unwrap()).as_secs_f64();
    let delay = result["totals"]["delay_seconds_longest"].as_f64().unwrap();
    assert!((delay - longest).abs() < 1e-6, "{options}: {delay} instead of {longest}");
    for gone in ["evictions", "refused_full", "untracked"] {
        assert_eq!(result["engine"][gone], 0, "{options}: {gone}");
    }
}

fn rules(algorithm: &'static str, rates: &[(u128, u128)], burst: Option<u128>) -> Vec<Rule> {
    let rule = |&(count, period)| Rule { algorithm, count, period, burst: burst.unwrap_or(count) };
    rates.iter().map(rule).collect()
}

fn every_algorithm_by_ip(log: &Log) {
    for algorithm in ALGORITHMS {
        for (rate, count, period) in RATES {
            let expected = model::play(&rules(algorithm, &[(count, period)], None), &log.by_ip);
            assert!(!expected.refused.is_empty() && expected.allowed > 0, "{rate} by {algorithm} tests nothing");
            compare(&log.path, &format!("--limit {rate} --algorithm {algorithm}"), &expected);
        }
    }
}

fn several_limits_and_bursts(log: &Log) {
    for algorithm in ALGORITHMS {
        let rates = [(10, MINUTE), (60, HOUR), (3, SECOND)];
        let expected = model::play(&rules(algorithm, &rates, None), &log.by_ip);
        compare(&log.path, &format!("--limit 10/minute,60/hour --limit 3/second --algorithm {algorithm}"), &expected);

        let expected = model::play(&rules(algorithm, &[(4, HOUR)], None), &log.by_ip_and_path);
        compare(&log.path, &format!("--limit 4/hour --key ip+path --algorithm {algorithm}"), &expected);
    }
    for algorithm in ["token-bucket", "leaky-bucket", "leaky-queue"] {
        for burst in [1, 2, 30] {
            let expected = model::play(&rules(algorithm, &[(10, MINUTE)], Some(burst)), &log.by_ip);
            compare(&log.path, &format!("--limit 10/minute --burst {burst} --algorithm {algorithm}"), &expected);
        }
    }
}

#[test]
fn sample_by_ip() {
    every_algorithm_by_ip(&sample());
}

#[test]
fn sample_with_several_limits_and_bursts() {
    several_limits_and_bursts(&sample());
}

#[test]
fn real_log_by_ip() {
    if let Some(log) = real() {
        every_algorithm_by_ip(&log);
    }
}

#[test]
fn real_log_with_several_limits_and_bursts() {
    if let Some(log) = real() {
        several_limits_and_bursts(&log);
    }
}

/// Requests to the nanosecond, many of them right at and right beside the edges of windows and of tokens.
#[test]
fn nanoseconds_at_the_edges() {
    const START: u128 = 1_700_000_000 * SECOND;
    let mut random = 1_u64;
    let mut next = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut requests = Vec::new();
    let mut text = String::new();
    for _ in 0..6_000 {
        // Edges: whole seconds, sixths of a second and sevenths, missed by up to two nanoseconds.
        let parts = [1, 6, 7][usize::try_from(next(3)).unwrap()];
        let edge = u128::from(next(120 * parts)) * SECOND / u128::from(parts);
        let time = START + edge + u128::from(next(5)) - 2;
        let client = format!("192.0.2.{}", next(5));
        let (seconds, nanos) = (time / SECOND, time % SECOND);
        text.push_str(&format!("{{\"ts\":\"{seconds}.{nanos:09}\",\"ip\":\"{client}\"}}\n"));
        requests.push((time, client));
    }
    let path = file("edges.json", text);
    for algorithm in ALGORITHMS {
        for (rate, count, period) in
            [("6/second", 6, SECOND), ("7/second", 7, SECOND), ("10/minute", 10, MINUTE), ("2/s", 2, SECOND)]
        {
            let expected = model::play(&rules(algorithm, &[(count, period)], None), &requests);
            compare(&path, &format!("--limit {rate} --algorithm {algorithm}"), &expected);
        }
    }
}
