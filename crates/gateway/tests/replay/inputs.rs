//! Where logs come from: files, archives, standard input; and in which order.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::tool::{file, line, program, refused, replay, replay_input, replay_json, run, total};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn minute_of(client: &str) -> String {
    (0..60).map(|second| line(client, second)).collect()
}

#[test]
fn gzip_is_known_by_its_content() {
    // Two members, as from `cat a.gz b.gz`, under a name that says nothing.
    let mut bytes = gzip(&minute_of("192.0.2.1"));
    bytes.extend(gzip(&minute_of("192.0.2.2")));
    let log = file("access.log", &bytes);
    let result = replay_json("--limit 50/hour -a fixed-window", &[&log]);
    assert_eq!((total(&result, "requests"), total(&result, "refused")), (120, 20));

    let piped = replay_input("--json --limit 50/hour -a fixed-window -", &bytes).json();
    assert_eq!(piped["totals"], result["totals"]);
    assert_eq!(piped["input"][0]["file"], "standard input");
}

#[test]
fn damaged_archives_are_an_error() {
    let whole = gzip(&minute_of("192.0.2.1"));
    let cut = file("cut.gz", &whole[..whole.len() - 9]);
    replay("--limit 1/s", &[&cut]).fails(65, "cut.gz is damaged");
    let mut torn = gzip(&minute_of("192.0.2.1").repeat(20));
    let middle = torn.len() / 2;
    torn[middle..].fill(0xff);
    replay("--limit 1/s", &[&file("torn.gz", torn)]).fails(65, "torn.gz is damaged");
    replay("--limit 1/s", &[&file("log.zst", [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0])]).fails(65, "log.zst is damaged");
    replay("--limit 1/s", &[&file("log.zip", b"PK\x03\x04\0\0")]).fails(65, "try `unzip -p ");
    // Among others, what could be read of it counts.
    let good = file("good.log", line("192.0.2.2", 0));
    let half = file("half.gz", &gzip(&(0..9).map(|i| minute_of(&format!("192.0.2.{i}"))).collect::<String>())[..100]);
    let result = replay_json("--limit 1/day", &[&half, &good]);
    let read = total(&result, "requests");
    assert!((1..541).contains(&read), "{read}");
    assert!(result["left_out"][0]["reason"].as_str().unwrap().contains("is damaged"), "{}", result["left_out"]);
}

/// What the usual tools make, so that it is their format that is read.
#[test]
fn archives_of_other_kinds() {
    for (tool, name) in [("zstd", "access.zst"), ("bzip2", "access.bz2"), ("xz", "access.xz")] {
        let text = [minute_of("192.0.2.1"), minute_of("192.0.2.2")];
        let compress = |text: &str| {
            let plain = file("plain.log", text);
            let output = std::process::Command::new(tool).args(["-c", "-q"]).arg(&plain).output();
            output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
        };
        // Where there is no such tool, nothing can be tried; CI has all of them.
        let (Some(first), Some(second)) = (compress(&text[0]), compress(&text[1])) else { continue };
        let whole = [first.clone(), second].concat();
        let result = replay_json("--limit 50/hour -a fixed-window", &[&file(name, &whole)]);
        assert_eq!((total(&result, "requests"), total(&result, "refused")), (120, 20), "{tool}");
        replay("--limit 1/s", &[&file(name, &first[..first.len() - 9])]).fails(65, "is damaged");
        let mut torn = first.clone();
        let middle = torn.len() / 2;
        torn[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
        replay("--limit 1/s", &[&file(name, torn)]).fails(65, "is damaged");
    }
}

#[test]
fn only_the_time_that_is_asked_for() {
    let log = file("access.log", minute_of("192.0.2.1"));
    let counts = |options: &str| {
        let result = replay_json(&format!("--limit 1/day {options}"), &[&log]);
        (total(&result, "requests"), total(&result, "outside"))
    };
    assert_eq!(counts("--since 2015-05-17T10:00:10Z"), (50, 10));
    assert_eq!(counts("--until 2015-05-17T10:00:10Z"), (10, 50));
    assert_eq!(counts("--since 2015-05-17 --until 2015-05-18"), (60, 0));
    assert_eq!(counts("--since 2015-05-17T12:00:10 --timezone +02:00"), (50, 10));
    assert_eq!(counts("--since 1431856810 --until 2015-05-17T10:00:20+00:00"), (10, 50));
    replay("--limit 1/day --since 2016-01-01", &[&log]).fails(65, "in the time asked for, of 60");
    replay("--limit 1/day --since yesterday", &[&log]).fails(2, "`yesterday` is no time");
    replay("--limit 1/day --since 2016-01-01 --until 2016-01-01", &[&log]).fails(2, "must be earlier");
}

#[test]
fn a_script_can_ask_whether_anybody_would_be_refused() {
    let log = file("access.log", minute_of("192.0.2.1"));
    let answer = replay("--limit 1/day --fail-if-refused", &[&log]);
    assert_eq!((answer.code, answer.stderr.as_str()), (3, ""));
    assert!(answer.stdout.contains("Who would be limited"));
    assert_eq!(replay("--limit 60/minute --fail-if-refused", &[&log]).code, 0);
}

/// Of a pipe that stays open and says nothing more. What was said before counts, a line without its end, too, and an archive without its.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_shows_what_there_is() {
    use std::process::Stdio;
    let text = minute_of("192.0.2.1");
    // Of the first part the lines are read when the second has been taken.
    let (rest, unended) =
        (line("192.0.2.1", 60), "192.0.2.1 - - [17/May/2015:10:01:01 +0000] \"GET / HTTP/1.1\" 200 1".to_owned());
    let folder = file("access.log", "");
    let named = folder.with_file_name("pipe");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &named, kind, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.flush().unwrap();
    let begun = packed.get_ref().clone();
    packed.write_all(rest.as_bytes()).unwrap();
    packed.flush().unwrap();
    let more = &packed.get_ref()[begun.len()..];
    for (name, path, parts, requests) in [
        ("standard input", Path::new("-"), [text.as_bytes(), rest.as_bytes(), unended.as_bytes()], 62),
        ("an archive", Path::new("-"), [&begun, more, b""], 61),
        ("a named pipe", named.as_path(), [text.as_bytes(), rest.as_bytes(), b""], 61),
    ] {
        let mut command = program();
        command.args(["replay", "--json", "--limit", "1/day"]).arg(path).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut pipe: std::fs::File = if path == named {
            std::fs::File::options().write(true).open(path).unwrap()
        } else {
            std::os::fd::OwnedFd::from(stdin).into()
        };
        for part in parts {
            pipe.write_all(part).unwrap();
            while rustix::io::ioctl_fionread(&pipe).unwrap() > 0 {
                std::thread::yield_now();
            }
        }
        // It has taken everything, and now waits in the kernel, unless it is still about to.
        let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        // A minute and more, though it takes no time.
        let ended = (0..12_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            child.try_wait().unwrap()
        });
        let Some(status) = ended else {
            child.kill().unwrap();
            panic!("{name}: it still waits");
        };
        drop(pipe);
        let result: serde_json::Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
        assert_eq!(status.code(), Some(130), "{name}: {result}");
        let of = |what: &str| total(&result, what);
        // What it had in hand when it was ended may be missing, the first part never is.
        assert!(
            (60..=requests).contains(&of("requests")) && result["totals"]["interrupted"] == true,
            "{name}: {result}"
        );
        assert_eq!((of("unreadable"), of("refused")), (0, of("requests") - 1), "{name}: {result}");
    }
}

#[test]
fn standard_input_with_and_without_a_dash() {
    let text = minute_of("192.0.2.1");
    for options in ["--json -l 10/hour", "--json -l 10/hour -"] {
        let result = replay_input(options, text.as_bytes()).json();
        assert_eq!((total(&result, "requests"), total(&result, "refused")), (60, 50), "{options}");
    }
    replay("-l 1/s - -", &[]).fails(2, "only once");
}

#[test]
fn requests_are_replayed_in_order_of_time() {
    // A fixed window refuses whoever comes last in it, so the order shows in who is refused.
    let early = file("b.log", ["a", "b", "c"].map(|path| json(10, path)).concat());
    let late = file("a.log", [json(59, "z"), json(0, "y"), json(10, "d")].concat());
    let refused_of = |files: &[&Path]| {
        let result = replay_json("--limit 3/minute --key method+ip -a fixed-window", files);
        result["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["first_refused"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // In order: y at 0, a, b, c at 10 (as `early` comes first), d at 10, z at 59: the fourth, c, is refused first.
    assert_eq!(refused_of(&[&early, &late]), ["2015-05-17T10:00:10Z"]);
    let result = replay_json("--limit 3/minute -a fixed-window", &[&early, &late]);
    assert_eq!((total(&result, "requests"), total(&result, "refused")), (6, 3));
    assert_eq!(total(&result, "out_of_order"), 2);
    assert_eq!(result["totals"]["first"], "2015-05-17T10:00:00Z");
    assert_eq!(result["totals"]["last"], "2015-05-17T10:00:59Z");
}

fn json(second: u32, path: &str) -> String {
    format!(
        "{{\"time\":\"2015-05-17T10:00:{second:02}Z\",\"ip\":\"192.0.2.1\",\"method\":\"GET\",\"path\":\"/{path}\"}}\n"
    )
}

#[test]
fn several_files_count_as_one_log() {
    let parts: Vec<_> = (0..3).map(|i| file("part.log", minute_of(&format!("192.0.2.{i}")))).collect();
    let parts: Vec<&Path> = parts.iter().map(std::path::PathBuf::as_path).collect();
    let backwards: Vec<&Path> = parts.iter().rev().copied().collect();
    let empty = file("rotated.log", "");
    let forwards = replay_json("--limit 7/minute", &parts);
    assert_eq!(refused(&forwards), refused(&replay_json("--limit 7/minute", &backwards)));
    assert_eq!(forwards["input"].as_array().unwrap().len(), 3);
    let report = replay("--limit 7/minute", &[parts[0], &empty]).ok().stdout;
    assert!(report.contains("60 lines in 2 files") && report.contains("rotated.log is empty"), "{report}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    replay("--limit 1/s", &[Path::new("no-such-file.log")]).fails(66, "cannot read no-such-file.log");
    replay("--limit 1/s", &[Path::new(env!("CARGO_MANIFEST_DIR"))]).fails(66, "it is a directory");
}

#[test]
fn a_log_may_be_older_than_any_clock_but_not_longer_than_ten_years() {
    let old = file(
        "old.log",
        "{\"ts\":1,\"ip\":\"192.0.2.1\"}\n{\"ts\":2,\"ip\":\"192.0.2.1\"}\n{\"ts\":200000000,\"ip\":\"192.0.2.1\"}\n",
    );
    let result = replay_json("--limit 1/day", &[&old]);
    assert_eq!((total(&result, "allowed"), total(&result, "refused")), (2, 1));
    // A clock that stood at 1970 when the server booted: the ten years with the most requests count.
    let text: String = [1, 1_431_856_800, 1_431_856_801, 4_000_000_000_u64]
        .map(|time| format!("{{\"ts\":{time},\"ip\":\"192.0.2.{}\"}}\n", time % 2))
        .concat();
    let long = file("long.log", text);
    let result = replay_json("--limit 1/day", &[&long]);
    assert_eq!(["far_away", "allowed", "distinct_keys"].map(|what| total(&result, what)), [2, 2, 2]);
    assert_eq!(result["totals"]["first"], "2015-05-17T10:00:00Z");
    let report = replay("--limit 1/day", &[&long]).ok().stdout;
    assert!(report.contains("2 requests more than ten years from the rest left out"), "{report}");
}

#[test]
fn the_sample_is_the_same_every_time() {
    let first = run(["sample"]).ok().stdout;
    assert_eq!(first, run(["sample"]).ok().stdout);
    let log = file("sample.log", &first);
    let (made, read) = (replay_json("--limit 10/minute --sample", &[]), replay_json("--limit 10/minute", &[&log]));
    for part in ["totals", "keys", "minutes"] {
        assert_eq!(made[part], read[part]);
    }
    assert!(total(&made, "refused") > 500 && total(&made, "limited_keys") >= 5 && total(&made, "unreadable") == 2);
}

#[cfg(target_os = "linux")]
#[test]
fn an_endless_input_without_a_line_ends() {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let output = program().args(["replay", "-l", "1/s"]).stdin(zero).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
}
