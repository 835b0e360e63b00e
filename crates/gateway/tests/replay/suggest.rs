//! Which limit: what is suggested holds when it is tried, and the next smaller one does not.

use serde_json::Value;

use crate::tool::{file, line, replay, replay_json, total};

/// A few busy clients, bursts of others, and many that come once.
fn log() -> String {
    let mut state = 11_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut lines = Vec::new();
    for client in 0..120 {
        let (start, count, gap) = match client {
            0..4 => (random(600), 150, 1 + random(20)),
            4..20 => (random(3_000), 5 + random(30), 1 + random(3)),
            _ => (random(3_500), 1 + random(3), 1 + random(60)),
        };
        let mut at = start;
        for _ in 0..count {
            at += random(gap * 2);
            lines.push((at, line(&format!("192.0.2.{client}"), at)));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn assert_smallest(options: &str, most: impl Fn(&Value) -> bool) {
    assert_smallest_of(&log(), 120, options, most);
}

#[track_caller]
fn assert_smallest_of(log: &str, keys: u64, options: &str, most: impl Fn(&Value) -> bool) {
    let log = file("access.log", log);
    let suggestion = replay(&format!("--suggest --json {options}"), &[&log]).json();
    assert_eq!((suggestion["schema"].as_u64(), suggestion["keys"].as_u64()), (Some(1), Some(keys)));
    let periods = suggestion["periods"].as_array().unwrap();
    assert_eq!(periods.len(), 6);
    for period in periods {
        let seconds = period["seconds"].as_u64().unwrap();
        for (algorithm, choice) in
            [("token-bucket", &period["token_bucket"]), ("fixed-window", &period["fixed_window"])]
        {
            let count = choice["count"].as_u64().unwrap();
            let tried = |count: u64| {
                let config = format!(
                    "policies:\n  - {{name: default, limits: {count} per {seconds} seconds, algorithm: {algorithm}}}\n"
                );
                replay_json(&format!("--config {}", file("t.yaml", config).display()), &[&log])
            };
            let result = tried(count);
            assert_eq!(total(&result, "refused"), choice["refused"].as_u64().unwrap(), "{choice}");
            assert_eq!(total(&result, "limited_keys"), choice["keys_hit"].as_u64().unwrap(), "{choice}");
            assert!(most(&result), "{seconds} s, {algorithm}: {choice}");
            assert!(count == 1 || !most(&tried(count - 1)), "{seconds} s, {algorithm}: {choice} is not the smallest");
        }
        // The curve is of the same limiter.
        for pair in period["keys_hit_by"].as_array().unwrap() {
            let (count, hit) = (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
            if [2, 10].contains(&count) {
                let result = replay_json(&format!("--limit {count}/{seconds}s"), &[&log]);
                assert_eq!(total(&result, "limited_keys"), hit, "{count} in {seconds} s");
            }
        }
    }
}

#[test]
fn the_smallest_that_hits_so_many_keys() {
    assert_smallest("", |result| total(result, "limited_keys") <= 1);
    assert_smallest("--keys 7", |result| total(result, "limited_keys") <= 7);
    assert_smallest("--keys 0", |result| total(result, "refused") == 0);
}

#[test]
fn the_smallest_that_refuses_so_many_requests() {
    assert_smallest("--requests 5%", |result| total(result, "refused") * 20 <= total(result, "requests"));
}

/// The answer is never one that hits more than was asked for, and is the smallest, whatever the log is like.
#[test]
fn logs_that_are_like_no_other() {
    let one = line("192.0.2.1", 5);
    let instant = |keys: usize| -> String {
        (0..keys).flat_map(|key| vec![line(&format!("192.0.2.{key}"), 7); key % 4 + 1]).collect()
    };
    let backwards: String = (0..40).rev().map(|second| line("192.0.2.1", second * second)).collect();
    // Of the other requests one is more than ten years away, and left out.
    let apart = format!("{}{}", line("192.0.2.9", 1).replace("2015", "1970"), backwards);
    for (name, log, keys) in [
        ("one request", &one, 1),
        ("all in one instant", &instant(20), 20),
        ("one key, backwards", &backwards, 1),
        ("years apart", &apart, 1),
    ] {
        println!("{name}");
        // One of a hundred of few keys is none.
        assert_smallest_of(log, keys, "", |result| total(result, "refused") == 0);
        assert_smallest_of(log, keys, "--requests 10%", |result| {
            total(result, "refused") * 10 <= total(result, "requests")
        });
    }
    replay("--suggest", &[&file("empty.log", "")]).fails(65, "there is no request");
    replay("--suggest", &[&file("none.log", "#Fields: time c-ip\nx\n")]).fails(65, "can be read");
}

#[test]
fn what_people_are_shown() {
    let text: String = (0..30).map(|second| line("192.0.2.1", second)).chain([line("192.0.2.2", 5)]).collect();
    let log = file("access.log", text);
    let picture = log.with_file_name("suggest.svg");
    let report = replay(&format!("--suggest --keys 1 --svg {}", picture.display()), &[&log]).ok().stdout;
    for part in [
        "Which limit for each ip: at most 1 key hit (50.0 %)",
        "2 keys with 31 requests that are not exempt",
        "  in any           p50         p90         p99       p99.9        most",
        "  10 s               1          10          10          10          10",
        "    1 per 10 second                  1   50.0 %            27   87.1 %",
        "  20                -          -          1          1          1          1",
    ] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
    assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 6);
    replay("--suggest --limit 1/s", &[&log]).fails_usage("cannot be used with");
    replay("--suggest --requests 2", &[&log]).fails_usage("`2` is no share");
    replay("--suggest --exempt path:/*", &[&log]).fails(65, "every request is exempt");
}
