//! Running the program and looking at what it answered.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// What a run of the program left behind.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The run must have gone well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        assert_eq!(self.stderr, "");
        self
    }

    /// The run must have ended with `code` and one readable line.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, saying: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("tollgate: "), "{}", self.stderr);
        assert!(self.stderr.contains(saying), "{}", self.stderr);
    }

    /// The command line must have been refused for that reason, by whoever reads it.
    #[track_caller]
    pub(crate) fn fails_usage(self, saying: &str) {
        assert_eq!(self.code, 2, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(saying), "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok().stdout).unwrap()
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn answer(output: Output) -> Answer {
    Answer {
        code: output.status.code().expect("the program was ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Answer {
    answer(program().args(args).output().unwrap())
}

/// `tollgate replay` with `options`, split at spaces, and `files`.
pub(crate) fn replay(options: &str, files: &[&Path]) -> Answer {
    let options = options.split_whitespace().map(PathBuf::from);
    run(["replay".into()].into_iter().chain(options).chain(files.iter().map(PathBuf::from)))
}

/// As [`replay`] with `--json`.
pub(crate) fn replay_json(options: &str, files: &[&Path]) -> Value {
    replay(&format!("--json {options}"), files).json()
}

/// `tollgate replay` with `options` on standard input.
pub(crate) fn replay_input(options: &str, input: &[u8]) -> Answer {
    let mut command = program();
    command.arg("replay").args(options.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that gives up early closes the pipe, which is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    answer(child.wait_with_output().unwrap())
}

/// `report` as one line with single blanks, for what may be told on two lines.
pub(crate) fn flat(report: &str) -> String {
    report.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file of that content, gone when the tests are cleaned up.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: the number only has to differ.
    let folder = format!("replay-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A line of the Common Log Format at a second after 17 May 2015, 10:00 UTC.
pub(crate) fn line(client: &str, second: u32) -> String {
    let (hour, minute) = (10 + second / 3_600, second / 60 % 60);
    format!("{client} - - [17/May/2015:{hour:02}:{minute:02}:{:02} +0000] \"GET / HTTP/1.1\" 200 1\n", second % 60)
}

/// Refusals by key.
pub(crate) fn refused(result: &Value) -> BTreeMap<String, u64> {
    let keys = result["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["key"].as_str().unwrap().to_owned(), key["refused"].as_u64().unwrap())).collect()
}

/// A number of `totals`.
#[track_caller]
pub(crate) fn total(result: &Value, name: &str) -> u64 {
    result["totals"][name].as_u64().unwrap_or_else(|| panic!("no number `{name}` in {}", result["totals"]))
}
