//! `--config` and `--against`: policies of a file tried on a log, with counts that were worked out by hand.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::tool::{Answer, file, flat, line, refused, replay, run, total};

fn config(policies: &str) -> PathBuf {
    file("tollgate.yaml", format!("policies:\n{policies}"))
}

fn simulate(options: &str, config: &Path, log: &Path) -> Answer {
    replay(&format!("--config {} {options}", config.display()), &[log])
}

#[track_caller]
fn simulate_json(config: &Path, log: &Path) -> Value {
    simulate("--json", config, log).json()
}

/// A JSON line at a second after 17 May 2015, 10:00 UTC.
fn request(second: u64, client: &str, method: &str, path: &str, more: Value) -> String {
    let mut line = json!({"ts": 1_431_856_800 + second, "ip": client, "method": method, "path": path});
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("{line}\n")
}

fn get(second: u64, client: &str, path: &str) -> String {
    request(second, client, "GET", path, json!({}))
}

/// `(allowed, refused, shadow_refused, exempt)` of a policy.
#[track_caller]
fn counts(result: &Value, policy: &str) -> [u64; 4] {
    let policies = result["policies"].as_array().unwrap();
    let found = policies.iter().find(|found| found["policy"] == policy).unwrap();
    ["allowed", "refused", "shadow_refused", "exempt"].map(|name| found[name].as_u64().unwrap())
}

#[test]
fn a_policy_of_a_file_refuses_as_the_option_does() {
    let log = file("access.log", (0..90).map(|second| line("192.0.2.1", second)).collect::<String>());
    for algorithm in ["token-bucket", "leaky-bucket", "leaky-queue", "fixed-window", "sliding-window", "sliding-log"] {
        let file = config(&format!("  - {{name: default, limits: '10/minute, 45/hour', algorithm: {algorithm}}}\n"));
        let by_file = simulate_json(&file, &log);
        let by_option = replay(&format!("--json -l 10/minute,45/hour -a {algorithm}"), &[&log]).json();
        for name in ["allowed", "delayed", "refused", "delay_seconds_total", "first", "last"] {
            assert_eq!(by_file["totals"][name], by_option["totals"][name], "{algorithm} {name}");
        }
        assert_eq!(by_file["minutes"], by_option["minutes"], "{algorithm}");
        assert_eq!(refused(&by_file), refused(&by_option), "{algorithm}");
        for name in ["checks", "capacity", "evictions", "refused_full", "untracked"] {
            assert_eq!(by_file["engine"][name], by_option["engine"][name], "{algorithm} {name}");
        }
    }
}

/// Keys and exemptions mean the same on the command line and in a file, to the letter.
#[test]
fn options_are_the_policy_of_a_file() {
    let headers = |key: &str| json!({"headers": {"X-Api-Key": key, "User-Agent": "Ping 1"}});
    let log = file_of((0_u32..40).flat_map(|second| {
        let client =
            ["192.0.2.1", "2001:db8::1", "2001:db8::2", "crawler.example.org"][usize::try_from(second % 4).unwrap()];
        let second = u64::from(second);
        [
            get(second, client, "/a"),
            request(second, client, "HEAD", "//a/", headers("k")),
            request(second, client, "GET", "/%61?b", headers("l")),
            get(second, client, "/static/x"),
        ]
    }));
    for (key, exempt) in [
        ("ip", ""),
        ("ip", "path:/static/*"),
        ("path", "192.0.2.1"),
        ("ip+path", "header:user-agent:Ping*"),
        ("method", ""),
        ("ip+header:x-api-key", ""),
        ("header:x-api-key|ip", "method:HEAD"),
        ("all", "2001:db8::/64"),
    ] {
        let mut options = format!("--json --limit 3/minute,9/hour --key {key}");
        let mut policy = format!("  - {{name: default, limits: '3/minute, 9/hour', key: '{key}'");
        if !exempt.is_empty() {
            options.push_str(&format!(" --exempt {exempt}"));
            policy.push_str(&format!(", exempt: ['{exempt}']"));
        }
        let by_option = replay(&options, &[&log]).json();
        let by_file = simulate_json(&config(&format!("{policy}}}\n")), &log);
        assert!(total(&by_option, "refused") > 0, "{options} tests nothing");
        for part in ["totals", "policies", "limits", "keys", "minutes"] {
            assert_eq!(by_option[part], by_file[part], "{options} {part}");
        }
    }
    let by_path = replay("--json --limit 1/hour --key path", &[&log]).json();
    assert_eq!(
        refused(&by_path).into_iter().collect::<Vec<_>>(),
        [("/a".to_owned(), 119), ("/static/x".to_owned(), 39)]
    );
    let by_both = replay("--json --limit 1/hour --key ip+header:x-api-key", &[&log]).json();
    assert_eq!(refused(&by_both)["(none)"], 99, "all that lack a part share one bucket");
}

#[test]
fn a_route_takes_the_place_of_the_default_and_what_always_holds_stays() {
    let file = config(
        "  - {name: default, limits: 2/hour}\n  \
           - {name: login, limits: 1/hour, match: {path: /login, method: POST}}\n  \
           - {name: all, limits: 4/hour, always: true, key: all}\n",
    );
    let post = |second, path| request(second, "192.0.2.1", "POST", path, json!({}));
    let log = file_of([
        get(0, "192.0.2.1", "/"),      // default 1, all 1
        get(1, "192.0.2.1", "/login"), // default 2, all 2
        get(2, "192.0.2.1", "/a"),     // refused by default
        post(3, "/login?a=b"),         // login 1, all 3
        post(4, "//login"),            // refused by login
        get(5, "192.0.2.2", "/"),      // default 1, all 4
        get(6, "192.0.2.3", "/"),      // refused by all
    ]);
    let result = simulate_json(&file, &log);
    assert_eq!((total(&result, "allowed"), total(&result, "refused")), (4, 3));
    assert_eq!(counts(&result, "default"), [3, 1, 0, 0]);
    assert_eq!(counts(&result, "login"), [1, 1, 0, 0]);
    assert_eq!(counts(&result, "all"), [4, 1, 0, 0]);
    let who: Vec<[&str; 3]> = keys(&result, &["policy", "key", "first_refused"]);
    assert_eq!(
        who,
        [
            ["all", "all", "2015-05-17T10:00:06Z"],
            ["default", "192.0.2.1", "2015-05-17T10:00:02Z"],
            ["login", "192.0.2.1", "2015-05-17T10:00:04Z"]
        ]
    );
    assert_eq!(result["keys"][1]["requests"], 3);
}

fn file_of(lines: impl IntoIterator<Item = String>) -> PathBuf {
    file("log.json", lines.into_iter().collect::<String>())
}

fn keys<'r, const N: usize>(result: &'r Value, fields: &[&str; N]) -> Vec<[&'r str; N]> {
    let keys = result["keys"].as_array().unwrap();
    keys.iter().map(|key| fields.map(|field| key[field].as_str().unwrap())).collect()
}

#[test]
fn a_shadow_refuses_nobody_and_tells_whom_it_would() {
    let file = config("  - {name: default, limits: 3/hour}\n  - {name: new, limits: 1/hour, shadow: true}\n");
    let log = file_of((0..4).map(|second| get(second, "192.0.2.1", "/")).chain([get(9, "192.0.2.2", "/")]));
    let result = simulate_json(&file, &log);
    assert_eq!((total(&result, "allowed"), total(&result, "refused")), (4, 1));
    assert_eq!(counts(&result, "default"), [4, 1, 0, 0]);
    // The fourth was refused already, so the shadow was not asked.
    assert_eq!(counts(&result, "new"), [2, 0, 2, 0]);
    assert_eq!(
        result["shadow_keys"],
        json!([{"key": "192.0.2.1", "policy": "new", "requests": 4, "shadow_refused": 2,
                "first_refused": "2015-05-17T10:00:01Z"}])
    );
    let report = simulate("", &file, &log).ok().stdout;
    assert!(report.contains("Whom shadow policies would refuse"), "{report}");
}

#[test]
fn charges_follow_the_status_that_was_logged() {
    let login = |second, status: Value| request(second, "192.0.2.1", "POST", "/login", json!({"status": status}));
    let log = file_of([
        login(0, json!(200)),
        login(1, json!(401)),
        login(2, json!("401")),
        login(3, json!(200)),
        login(4, Value::Null),
    ]);
    let failures = config("  - {name: login, limits: 2/hour, charge: {only_on: '401'}}\n");
    // Two failures use the limit up; what comes after them is refused, whatever it would have been.
    assert_eq!(counts(&simulate_json(&failures, &log), "login"), [3, 2, 0, 0]);
    let refunds = config("  - {name: login, limits: 2/hour, charge: {refund_on: 2xx}}\n");
    // The success at 0 is given back; the failures stay.
    assert_eq!(counts(&simulate_json(&refunds, &log), "login"), [3, 2, 0, 0]);
    let always = config("  - {name: login, limits: 2/hour}\n");
    assert_eq!(counts(&simulate_json(&always, &log), "login"), [2, 3, 0, 0]);
    // The status of the Common Log Format.
    let text = ["200", "401", "401", "200"]
        .into_iter()
        .zip(0..)
        .map(|(status, second)| line("192.0.2.1", second).replace("200 1", &format!("{status} 1")));
    let log = file("access.log", text.collect::<String>());
    assert_eq!(counts(&simulate_json(&failures, &log), "login"), [3, 1, 0, 0]);
}

#[test]
fn tiers_exemptions_costs_keys_and_clients_come_from_the_headers_that_were_logged() {
    let file = file(
        "tollgate.yaml",
        "client: {from: x-forwarded-for, trusted: [10.0.0.0/8]}\n\
         policies:\n\
         - name: api\n  \
           limits: 1/hour\n  \
           key: 'header:x-api-key | ip'\n  \
           tiers: {by: 'header:x-plan', limits: {premium: 6/hour}}\n  \
           cost: 2\n  \
           burst: 2\n  \
           exempt: ['header:user-agent:Pingdom*', 198.51.100.7]\n",
    );
    let headers = |second, peer: &str, headers: Value| request(second, peer, "GET", "/", json!({"headers": headers}));
    let log = file_of([
        headers(0, "192.0.2.1", json!({"X-Api-Key": ["k"]})),
        headers(1, "192.0.2.2", json!({"X-Api-Key": ["k"]})), // refused: the same key, and it is used up
        headers(2, "192.0.2.2", json!({})),
        headers(3, "10.0.0.1", json!({"X-Forwarded-For": "192.0.2.2"})), // refused: the same address
        headers(4, "192.0.2.9", json!({"X-Forwarded-For": "192.0.2.2"})), // the header is not believed
        headers(5, "10.0.0.1", json!({"X-Forwarded-For": "198.51.100.7"})), // exempt
        headers(6, "192.0.2.2", json!({"user-agent": "Pingdom 1"})),     // exempt
        headers(7, "192.0.2.2", json!({"x-plan": "premium"})),
        headers(8, "192.0.2.2", json!({"x-plan": "premium"})), // refused: 2 of 2 are used up, as by its own limits
    ]);
    let result = simulate_json(&file, &log);
    assert_eq!(counts(&result, "api"), [4, 3, 0, 2]);
    assert_eq!(total(&result, "exempt"), 2);
    assert_eq!(
        keys(&result, &["policy", "key"]),
        [["api", "192.0.2.2"], ["api", "header:x-api-key:k"], ["api/premium", "192.0.2.2"]]
    );
}

#[test]
fn hosts_are_known_from_both_kinds_of_log() {
    let file = config("  - {name: shop, limits: 1/hour, match: {host: shop.example.org}}\n");
    let at = |host: &str, second: u32| format!("{host}:443 {}", line("192.0.2.1", second));
    let log = file_of([
        at("shop.example.org", 0),
        at("www.example.org", 1),
        at("SHOP.example.org", 2),
        request(3, "192.0.2.1", "GET", "/", json!({"host": "shop.example.org"})),
        request(4, "192.0.2.1", "GET", "http://shop.example.org/", json!({})),
        request(5, "192.0.2.1", "GET", "/", json!({"headers": {"Host": "www.example.org"}})),
        line("192.0.2.1", 6),
    ]);
    let result = simulate_json(&file, &log);
    assert_eq!(counts(&result, "shop"), [1, 3, 0, 0]);
    assert_eq!(total(&result, "without_policy"), 3);
}

#[test]
fn what_a_log_does_not_tell_is_said() {
    let file = config("  - {name: default, limits: 2/hour, concurrency: 1}\n");
    let log = file_of([
        line("crawler.example.org", 0),
        line("crawler.example.com", 1),
        line("other.example.com", 2),
        line("192.0.2.1", 3),
    ]);
    let result = simulate_json(&file, &log);
    assert_eq!((total(&result, "incomplete"), total(&result, "without_key"), total(&result, "refused")), (3, 3, 1));
    assert_eq!(refused(&result).into_iter().collect::<Vec<_>>(), [("(none)".to_owned(), 1)]);
    let report = simulate("", &file, &log).ok().stdout;
    for part in ["3 requests without an address", "not tried: the concurrency of default", "default (none) (1)"] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
}

#[test]
fn the_difference_of_two_files() {
    let one = config("  - {name: default, limits: 3/hour}\n  - {name: api, limits: 1/hour, match: {path: /api/*}}\n");
    let other = config("  - {name: everybody, limits: 4/hour}\n");
    let log = file_of([
        // a: both let three pass, `everybody` a fourth, too.
        get(0, "192.0.2.1", "/"),
        get(1, "192.0.2.1", "/"),
        get(2, "192.0.2.1", "/"),
        get(3, "192.0.2.1", "/"), // refused by the first alone
        get(4, "192.0.2.1", "/"), // refused by both
        // b: limited by `api` alone.
        get(5, "192.0.2.2", "/api/x"),
        get(6, "192.0.2.2", "/api/x"), // refused by the first alone
        // c: two of the api and three others are five for `everybody`, which the first file counts apart.
        get(7, "192.0.2.3", "/api/x"),
        get(8, "192.0.2.3", "/"),
        get(9, "192.0.2.3", "/"),
        get(10, "192.0.2.3", "/"),
        get(11, "192.0.2.3", "/api/y"), // refused by both: by `api` and by `everybody`
        // d: one is refused by each file, and not the same one.
        get(12, "192.0.2.4", "/"),
        get(13, "192.0.2.4", "/"),
        get(14, "192.0.2.4", "/api/x"),
        get(15, "192.0.2.4", "/api/x"), // refused by the first alone
        get(16, "192.0.2.4", "/"),      // the third of the default, and the fifth of all: refused by the second alone
        // e: the api's one, and three others, and the first file lets them all pass.
        get(17, "192.0.2.5", "/api/x"),
        get(18, "192.0.2.5", "/"),
        get(19, "192.0.2.5", "/"),
        get(20, "192.0.2.5", "/"),
    ]);
    let against = |one: &Path, other: &Path, options: &str| {
        simulate(&format!("--against {} {options}", other.display()), one, &log)
    };
    let result = against(&one, &other, "--json").json();
    let there = &result["against"];
    let number = |name: &str| there[name].as_u64().unwrap();
    assert_eq!(total(&result, "refused"), 5);
    assert_eq!((number("refused"), number("refused_by_both")), (3, 2));
    assert_eq!((number("refused_only_by_config"), number("refused_only_by_against")), (3, 1));
    assert_eq!(there["only_by_config"], json!({"default": 1, "api": 2}));
    assert_eq!(there["only_by_against"], json!({"everybody": 1}));
    assert_eq!((number("keys_limited_only_by_config"), number("keys_limited_only_by_against")), (1, 0));
    let key = |key: &str, [here, there, only_here, only_there]: [u64; 4]| {
        json!({"key": key, "refused_by_config": here, "refused_by_against": there,
               "refused_only_by_config": only_here, "refused_only_by_against": only_there})
    };
    assert_eq!(
        there["keys"],
        json!([key("192.0.2.4", [1, 1, 1, 1]), key("192.0.2.1", [2, 1, 1, 0]), key("192.0.2.2", [1, 0, 1, 0])])
    );

    let back = against(&other, &one, "--json").json();
    assert_eq!(back["against"]["refused_only_by_against"], 3);
    assert_eq!(back["against"]["only_by_against"], there["only_by_config"]);
    assert_eq!(back["against"]["keys_limited_only_by_against"], 1);
    let same = against(&one, &one, "--json").json();
    assert_eq!(same["against"]["keys"], json!([]));
    assert_eq!(same["against"]["refused_by_both"], 5);

    let report = against(&one, &other, "").ok().stdout;
    assert!(report.contains("192.0.2.2          1          0"), "{report}");
    // Paths are as long as they are, and lines wrap.
    let report = flat(&report);
    for part in ["2 refused by both", "1 key limited by", "alone by policy api"] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
}

#[test]
fn the_table_has_room_for_everybody_unless_told_otherwise() {
    let file = file("tollgate.yaml", "limiter: {capacity: 64}\npolicies: [{name: default, limits: '1/hour, 9/day'}]\n");
    let log = file_of((0..2_000).map(|i| line(&format!("10.0.{}.{}", i / 250, i % 250), i)));
    let result = simulate_json(&file, &log);
    assert!(result["engine"]["capacity"].as_u64().unwrap() >= 4_000, "{}", result["engine"]);
    assert_eq!(result["engine"]["evictions"], 0);
    let small = simulate("--json --capacity-from-config", &file, &log).json();
    assert_eq!(small["engine"]["capacity"], 64);
    let lost = |name: &str| small["engine"][name].as_u64().unwrap();
    assert!(lost("evictions") + lost("refused_full") > 1_000, "{}", small["engine"]);
    let report = simulate("--capacity-from-config", &file, &log).ok().stdout;
    assert!(report.contains("for want of room"), "{report}");
}

#[test]
fn the_picture_is_drawn_and_not_over_the_config() {
    let file = config("  - {name: default, limits: 2/hour}\n");
    let log = file_of((0..9).map(|second| get(second, "192.0.2.1", "/")));
    let picture = log.with_file_name("picture.svg");
    simulate(&format!("--svg {}", picture.display()), &file, &log).ok();
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.contains("policy default") && svg.contains("9 requests from") && svg.contains("7 refused"), "{svg}");
    let before = std::fs::read(&file).unwrap();
    simulate(&format!("--svg {}", file.display()), &file, &log).fails(2, "would overwrite the config file");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let log = file("access.log", line("192.0.2.1", 0));
    simulate("", Path::new("no-such-file.yaml"), &log).fails(66, "no-such-file.yaml");
    let bad = config("  - {name: default, limits: often}\n");
    let answer = simulate("", &bad, &log);
    assert_eq!((answer.code, answer.stdout.as_str()), (78, ""));
    assert!(answer.stderr.contains("tollgate.yaml:2:") && answer.stderr.contains("often"), "{}", answer.stderr);
    let good = config("  - {name: default, limits: 1/s}\n");
    let answer = simulate(&format!("--against {}", bad.display()), &good, &log);
    assert!(answer.code == 78 && answer.stderr.contains("often"), "{}", answer.stderr);
    // Right by itself, and too much for one limiter.
    let crowd: String = (0..40).map(|i| format!("  - {{name: p{i}, limits: 1/s, always: true}}\n")).collect();
    let answer = simulate("", &config(&crowd), &log);
    assert!(answer.code != 0 && answer.stderr.contains("at most 32"), "{}", answer.stderr);
}

#[test]
fn options_that_do_not_go_together() {
    for options in [
        "-c a.yaml -l 1/s",
        "-c a.yaml --key ip",
        "-c a.yaml --exempt path:/",
        "-c a.yaml -b 3",
        "-c a.yaml -a sliding-log",
    ] {
        let answer = replay(options, &[Path::new("access.log")]);
        assert_eq!(answer.code, 2, "{options}");
        assert!(answer.stderr.contains("cannot be used with"), "{options}: {}", answer.stderr);
    }
    for (options, saying) in [
        ("-l 1/s --against b.yaml", "cannot be used with"),
        ("-l 1/s --capacity-from-config", "cannot be used with"),
        ("--against b.yaml", "--config"),
        ("", "--limit"),
    ] {
        let answer = replay(options, &[Path::new("access.log")]);
        assert_eq!((answer.code, answer.stderr.contains(saying)), (2, true), "{options}: {}", answer.stderr);
    }
    let help = run(["replay", "--help"]).ok().stdout;
    for part in ["--config", "--against", "--capacity-from-config", "the address that was logged"] {
        assert!(help.contains(part), "no `{part}` in {help}");
    }
}
