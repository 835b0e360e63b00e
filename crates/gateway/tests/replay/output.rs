//! What the program says: the report, JSON, the picture, and its exit codes.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crate::tool::{file, line, program, replay, replay_json, run, total};

#[test]
fn without_arguments_it_shows_itself() {
    let shown = run::<&str>([]).ok().stdout;
    for part in
        ["per 1 minute", "Over time", "Who would be limited", "203.0.113.150", "Worst minutes", "checks per second"]
    {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    assert!(shown.contains("tollgate replay --limit 10/minute access.log"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn the_report_names_who_when_and_by_which_limit() {
    let text: String = (0..90).map(|second| line("192.0.2.1", second)).chain([line("192.0.2.2", 7)]).collect();
    let log = file("access.log", text);
    let report = replay("--limit 10/minute,45/hour -a fixed-window", &[&log]).ok().stdout;
    for part in [
        "10 per 1 minute and 45 per 1 hour for each ip, fixed-window",
        "91 lines in ",
        "17 May 2015 10:00:00 to 17 May 2015 10:01:29 UTC, 1 min 29 s",
        "1 of 2 keys would be limited",
        "17 May 2015 10:00:10\n    by 10 per 1 minute",
        "17 May 2015 10:00         50         61      1  192.0.2.1 (50)",
        "17 May 2015 10:01         20         30      1  192.0.2.1 (20)",
        "91 checks in ",
    ] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
    let nobody = replay("--limit 1000/minute", &[&log]).ok().stdout;
    assert!(nobody.contains("Nobody would be limited."), "{nobody}");
    let one = replay("--limit 1/minute --top 1", &[&log]).ok().stdout;
    assert!(one.contains("and 1 more minute"), "{one}");
}

/// No line of `report` is wider than a terminal, or ends in blanks.
#[track_caller]
fn assert_fits(report: &str) {
    for line in report.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}\n{report}");
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn every_line_fits_a_terminal() {
    assert_fits(&replay("--sample --limit 10/minute,100/hour,300/day --top 100", &[]).ok().stdout);
    assert_fits(&replay("--sample --suggest", &[]).ok().stdout);
    // Long keys that are alike, wide letters, letters that do not show, a list in the place of a name, lines that are none, and
    // a file with a long name.
    let mut text = String::new();
    let middle = "x".repeat(400);
    let paths = ["one", "two", "日本語日本語", "a\u{200b}", "a", "…"]
        .map(|part| format!("/{}/{part}/{middle}", "long".repeat(30)));
    for (path, second) in paths.iter().cycle().zip(0..1_800) {
        let (day, minute, second) = (1 + second / 600, second / 60 % 60, second % 60);
        for client in ["2001:db8:1234:5678::1", "client.with-a-very-long-name.in-a-very-long-domain.example"] {
            let time = format!("{day:02}/May/2015:10:{minute:02}:{second:02} +0000");
            text.push_str(&format!("{client} - - [{time}] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"{path}\"\n"));
        }
    }
    text.push_str(&format!("no request {}\n\u{1b}[2J\u{202e}{}\n", "word ".repeat(60), "日本".repeat(90)));
    text.push_str(&format!(
        "192.0.2.1, 192.0.2.2 - - [01/May/2015:10:00:00] \"GET / HTTP/1.1\" 200 1 \"{}\n",
        "r".repeat(300)
    ));
    let log = file(&format!("{}.log", "name-".repeat(40)), text);
    let limits = "--limit 1000000/day,2/minute,3/hour --top 1000";
    for key in ["ip", "path", "ip+path", "header:user-agent", "host"] {
        let report =
            replay(&format!("{limits} --key {key} --exempt path:/static/{}", "e".repeat(90)), &[&log]).ok().stdout;
        assert_fits(&report);
        assert_fits(&replay(&format!("--suggest --key {key}"), &[&log]).ok().stdout);
        if key != "path" {
            continue;
        }
        let (_, table) = report.split_once("first refused").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let keys = table.lines().skip(1).filter(|line| !line.starts_with("    "));
        let keys: Vec<&str> = keys.map(|line| line.split_whitespace().next().unwrap()).collect();
        let different: std::collections::HashSet<&&str> = keys.iter().collect();
        assert_eq!((keys.len(), different.len()), (6, 6), "{report}");
    }
    let policies = |limit: u32, is_shadow: bool| {
        let policy = |number: usize, key: &str| {
            format!(
                "  - {{name: {}{number}, limits: {limit}/day, key: {key}, shadow: {is_shadow}}}\n",
                "policy-".repeat(7)
            )
        };
        let all = ["path", "ip+path", "header:user-agent"].iter().zip(1..).map(|(key, number)| policy(number, key));
        file("a-config-file.yaml", format!("policies:\n{}", all.collect::<String>()))
    };
    for (is_shadow, parts) in
        [(false, ["By policy", "Worst minutes", "limited by"]), (true, ["By policy", "Whom shadow", "requests"])]
    {
        let (one, other) = (policies(5, is_shadow), policies(900, false));
        let options = format!("--top 1000 --config {} --against {}", one.display(), other.display());
        let report = replay(&options, &[&log]).ok().stdout;
        for part in parts {
            assert!(report.contains(part), "no {part} in {report}");
        }
        assert_fits(&report);
    }
}

#[test]
fn exempt_requests_are_counted_apart() {
    let request = |client: &str, path: &str| {
        format!("{client} - - [17/May/2015:10:00:00 +0000] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"Ping/1\"\n")
    };
    let text = [
        request("10.1.2.3", "/"),
        request("192.0.2.1", "/static/a.css"),
        request("192.0.2.1", "/health"),
        request("2001:db8::7", "/"),
        request("192.0.2.1", "/"),
        request("192.0.2.1", "/"),
    ];
    let log = file("access.log", text.concat());
    for (options, exempt, refused) in [
        ("", 0, 3),
        ("--exempt 10.0.0.0/8", 1, 3),
        ("--exempt 10.0.0.0/8 --exempt 2001:db8::7", 2, 3),
        ("--exempt path:/static/*", 1, 2),
        ("--exempt path:/static/* --exempt path:/health", 2, 1),
        ("--exempt path:/*", 6, 0),
        ("--exempt header:user-agent:Ping*", 6, 0),
    ] {
        let result = replay_json(&format!("--limit 1/minute {options}"), &[&log]);
        assert_eq!((total(&result, "exempt"), total(&result, "refused")), (exempt, refused), "{options}");
        assert_eq!(result["engine"]["checks"], 6, "{options}");
    }
    let report = replay("--limit 1/minute --exempt 10.0.0.0/8", &[&log]).ok().stdout;
    assert!(report.contains("exempt: 10.0.0.0/8") && report.contains("exempt              1   16.7 %"), "{report}");
}

#[test]
fn all_limits_hold_at_once() {
    let text: String = (0..120).map(|second| line("192.0.2.1", second)).collect();
    let log = file("access.log", text);
    let result = replay_json("--limit 10/minute --limit 15/hour -a fixed-window", &[&log]);
    assert_eq!(total(&result, "allowed"), 15);
    assert_eq!(result["policies"][0]["limits"].as_array().unwrap().len(), 2);
    let by_limit = result["limits"].as_array().unwrap().iter().map(|limit| limit["refused"].as_u64().unwrap());
    assert_eq!(by_limit.sum::<u64>(), 105);
    // All or nothing: what the first minute refused took nothing from the hour.
    assert_eq!(result["minutes"][0]["allowed"], 10);
    assert_eq!(result["minutes"][1]["allowed"], 5);
}

#[test]
fn a_queue_delays_before_it_refuses() {
    let log = file("access.log", (0..10).map(|_| line("192.0.2.1", 0)).collect::<String>());
    let result = replay_json("--limit 6/minute -a leaky-queue --burst 4", &[&log]);
    assert_eq!((total(&result, "allowed"), total(&result, "delayed"), total(&result, "refused")), (1, 4, 5));
    assert_eq!(result["totals"]["delay_seconds_total"], 100.0);
    assert_eq!(result["totals"]["delay_seconds_longest"], 40.0);
    let report = replay("--limit 6/minute -a leaky-queue --burst 4", &[&log]).ok().stdout;
    assert!(report.contains("25.0 s on average, 40.0 s at most"), "{report}");
}

#[test]
fn json_has_the_documented_fields() {
    let log = file("access.log", (0..30).map(|second| line("192.0.2.1", second)).collect::<String>());
    let result = replay_json("--limit 10/minute", &[&log]);
    assert_eq!(result["schema"], 2);
    assert_eq!(result["title"], "10 per 1 minute for each ip, token-bucket");
    assert!(result["config"].is_null());
    for (part, fields) in [
        ("/policies/0", "policy route key limits concurrency shadow allowed refused shadow_refused exempt"),
        ("/input/0", "file lines requests blank unreadable odd comments pieces outside forms"),
        (
            "/totals",
            "lines requests blank unreadable odd allowed delayed refused exempt distinct_keys limited_keys \
             without_key out_of_order first last delay_seconds_total delay_seconds_longest incomplete \
             without_policy without_address lists without_zone outside comments pieces far_away interrupted",
        ),
        ("/limits/0", "limit name policy refused"),
        ("/keys/0", "key policy requests allowed delayed refused first_refused first_limit"),
        ("/minutes/0", "minute allowed delayed refused exempt"),
        ("/engine", "checks seconds checks_per_second capacity bytes evictions refused_full untracked"),
    ] {
        let object = result.pointer(part).unwrap().as_object().unwrap();
        let mut expected: Vec<&str> = fields.split_whitespace().collect();
        let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{part}");
    }
    assert_eq!(result["unreadable"].as_array().unwrap().len() + result["odd"].as_array().unwrap().len(), 0);
    assert_eq!(result["minutes"][0]["minute"], "2015-05-17T10:00:00Z");
}

/// Enough of an XML reader to see that tags nest and text is escaped.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        assert!(!text.contains('>'), "{text}");
        for reference in text.split('&').skip(1) {
            let is_known = ["amp;", "lt;", "gt;", "quot;"].iter().any(|known| reference.starts_with(known));
            assert!(is_known, "{text}");
        }
        let (tag, after) = tag[1..].split_once('>').expect("a tag without an end");
        rest = after;
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[test]
fn the_picture_is_well_formed_and_complete() {
    let log = file("a <&> b.log", (0..30).map(|second| line("192.0.2.1", second)).collect::<String>());
    let picture = log.with_file_name("timeline.svg");
    let picture_option = picture.display().to_string();
    let report = run([
        "replay",
        "--limit",
        "10/minute",
        "--key",
        "header:x&y",
        "--svg",
        &picture_option,
        &log.display().to_string(),
    ]);
    assert!(report.ok().stdout.contains(&picture_option));
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
    assert_well_formed(&svg);
    for part in [
        "header:x&amp;y",
        "30 requests from 17 May 2015",
        "requests per second",
        ">allowed<",
        ">refused<",
        "class=\"refused\"",
        "prefers-color-scheme: dark",
        "10:00:00",
        "17 May",
    ] {
        assert!(svg.contains(part), "no `{part}` in {svg}");
    }
    assert!(!svg.contains("NaN") && !svg.contains(">delayed<"));
    let nowhere = Path::new("no-such-folder").join("x.svg").display().to_string();
    let answer = run(["replay", "--sample", "-l", "1/s", "--svg", &nowhere]);
    assert_eq!(answer.code, 73, "{}", answer.stderr);
    assert!(answer.stderr.starts_with("tollgate: cannot write no-such-folder"), "{}", answer.stderr);
}

#[test]
fn times_are_shown_in_the_local_zone_on_demand() {
    let log = file("access.log", (0..90).map(|second| line("192.0.2.1", second)).collect::<String>());
    let picture = log.with_file_name("timeline.svg");
    let run = |zone: &str, options: &[&str]| {
        let mut command = program();
        command.env("TZ", zone).args(["replay", "--limit", "10/minute", "--svg"]).arg(&picture).args(options).arg(&log);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(&picture).unwrap())
    };
    // 10:00 in UTC; India has no whole hours, and New York has summer time in May.
    for (zone, options, time, zone_shown) in [
        ("IST-5:30", &["--local-time"][..], "17 May 2015 15:30", "local time"),
        ("America/New_York", &["--local-time"], "17 May 2015 06:00", "America/New_York"),
        ("America/New_York", &[], "17 May 2015 10:00", "UTC"),
    ] {
        let clock = &time[time.len() - 5..];
        let (report, svg) = run(zone, options);
        for part in [
            format!("{time}:00 to {}:29 {zone_shown}, 1 min 29 s", time.replace(":30", ":31").replace(":00", ":01")),
            format!("requests per 2 seconds ({zone_shown})"),
            format!("\n     {clock}"),
            format!("  {time}:1"),
            format!("\n  {time}  "),
        ] {
            assert!(report.contains(&part), "{zone}: no `{part}` in {report}");
        }
        for part in [
            format!("times in {zone_shown}<"),
            format!("from {time}:00 to"),
            format!("<title>{time}:00,"),
            format!(">{clock}:00<"),
        ] {
            assert!(svg.contains(&part), "{zone}: no `{part}` in {svg}");
        }
        let json: serde_json::Value = serde_json::from_str(&run(zone, &[options, &["--json"]].concat()).0).unwrap();
        assert_eq!(json["totals"]["first"], "2015-05-17T10:00:00Z", "for programs it stays UTC");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let log = file(
        "access.log",
        (0..20_000).map(|i| line(&format!("10.0.{}.{}", i / 250, i % 250), i % 3_600)).collect::<String>(),
    );
    for options in [&["--json"][..], &["--top", "20000"]] {
        let mut command = program();
        command.args(["replay", "--limit", "0/s"]).args(options).arg(&log);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // `head -c 10`: a little is read, and the pipe is closed with much more than it holds to come.
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success(), "{options:?}: {:?}", output.status);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program().arg("sample").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("tollgate: cannot write to standard output"));
}

#[test]
fn a_picture_is_not_drawn_over_the_log() {
    let log = file("precious.log", line("192.0.2.1", 1));
    let before = std::fs::read(&log).unwrap();
    let options = format!("--limit 10/minute --svg {}", log.display());
    replay(&options, &[&log]).fails(2, "would overwrite the log");
    assert_eq!(std::fs::read(&log).unwrap(), before);
}

#[test]
fn bad_policies_are_usage_errors() {
    for (options, saying) in [
        ("", "--limit"),
        ("--limit , --sample", "limit"),
        ("--limit often", "often"),
        ("--limit 10/minute --algorithm magic", "sliding-log"),
        ("--limit 10/minute --key nobody", "expected ip, user, path, method"),
        ("--limit 10/minute --exempt 10.0.0.0/99", "10.0.0.0/99"),
        ("--limit 10/minute --sample access.log", "--sample"),
        ("--limit 10/minute --burst 5 --algorithm fixed-window --sample", "burst"),
        ("--limit 2000/minute --algorithm sliding-log --sample", "1024"),
    ] {
        let answer = replay(options, &[]);
        assert_eq!(answer.code, 2, "{options}: {}", answer.stderr);
        assert!(answer.stderr.contains(saying), "{options}: {}", answer.stderr);
        assert_eq!(answer.stdout, "");
    }
}

#[test]
fn help_is_complete() {
    let help = run(["replay", "--help"]).ok().stdout;
    for part in ["--limit", "--algorithm", "--key", "--exempt", "--svg", "--json", "Exit codes:", "What --json writes:"]
    {
        assert!(help.contains(part), "no `{part}` in {help}");
    }
}
