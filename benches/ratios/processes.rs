//! One table of several processes: they beside as many threads of one process, what the file and its clock cost, and that clock alone.
//!
//! The processes are this very program, started again; each attaches to the table, and makes its share of a slice when it is told to.
//! The table's clock shows the same in all of them, so it is the stopwatch.

use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs};

use tollgate::clock::{Clock, ExactClock};
use tollgate::shared::{Shared, TableClock};
use tollgate::{Limiter, Quota};

use crate::common::contender::{Contender, Fill, count, fill, ready};
use crate::common::keys::Keys;
use crate::common::peers::Exact;
use crate::common::threads::together;
use crate::common::{One, Race, Slice, Stopwatch, Terms, Uniform};
use crate::options::Options;
use crate::report::{self, Goal, Report};

/// As many as the goal names, however many cores there are.
const WORKERS: usize = 4;

const PATH: &str = "TOLLGATE_BENCH_TABLE";
const KEYS: &str = "TOLLGATE_BENCH_TABLE_KEYS";

/// A limiter on a table that others have mapped.
struct Attached(Limiter<TableClock>);

impl Attached {
    fn to(path: &Path, keys: u64) -> Self {
        let terms = Terms::Allow;
        let quota = Quota::new(1, terms.period()).expect("a quota").with_burst(terms.burst().into());
        let keys = usize::try_from(keys).expect("a number of keys");
        Self(Limiter::builder(quota).capacity(keys).shared(Shared::at(path)).build().expect("a shared table"))
    }

    fn now(&self) -> u64 {
        self.0.now().as_nanos()
    }
}

impl Contender<u64> for Attached {
    #[inline]
    fn check(&self, key: &u64) -> bool {
        self.0.check(key).is_allowed()
    }
}

impl Fill<u64> for Attached {
    fn check_n(&self, key: &u64, cost: u32) -> bool {
        self.0.check_n(key, cost.into()).is_allowed()
    }
}

/// So many checks of uniform keys, or of one.
fn share<C: Contender<u64>>(contender: &C, keys: u64, seed: u64, calls: u64) -> u64 {
    match keys {
        1 => count(contender, &mut One::default(), calls),
        _ => count(contender, &mut Uniform::seeded(keys, seed), calls),
    }
}

/// If this is such a process: makes its shares until nobody asks for one any more, and says so.
pub fn child() -> bool {
    let (Ok(path), Ok(keys)) = (env::var(PATH), env::var(KEYS)) else { return false };
    let keys = keys.parse().expect("a number of keys");
    let table = Attached::to(Path::new(&path), keys);
    println!("ready");
    for line in stdin().lines() {
        let line = line.expect("a line");
        let (seed, calls) = line.split_once(' ').expect("a seed and a number of calls");
        let (seed, calls) = (seed.parse().expect("a seed"), calls.parse().expect("a number of calls"));
        let start = table.now();
        let admitted = share(&table, keys, seed, calls);
        println!("{start} {} {admitted}", table.now());
    }
    true
}

struct Worker {
    child: Child,
    ask: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(path: &Path, keys: u64) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.env(PATH, path).env(KEYS, keys.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let (ask, answers) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let mut worker = Self { child, ask, answers: BufReader::new(answers).lines() };
        assert_eq!(worker.answer(), "ready");
        worker
    }

    fn ask(&mut self, seed: u64, calls: u64) {
        writeln!(self.ask.as_mut().expect("a pipe"), "{seed} {calls}").expect("a process that reads");
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("a process that answers").expect("a line")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.wait();
    }
}

/// A slice of a race: the time is that from the first to begin to the last to finish.
fn processes(workers: &mut [Worker], calls: u64, turn: &mut u64) -> Slice {
    *turn += 1;
    let each = (calls / WORKERS as u64).max(1);
    for (number, worker) in (0..).zip(&mut *workers) {
        worker.ask(*turn << 8 | number, each);
    }
    let (mut first, mut last, mut admitted) = (u64::MAX, 0, 0);
    for worker in workers {
        let answer = worker.answer();
        let mut numbers = answer.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        first = first.min(next());
        last = last.max(next());
        admitted += next();
    }
    let calls = each * WORKERS as u64;
    Slice { nanos: last - first, calls, admitted, due: Terms::Allow.due(calls) }
}

fn threads<C: Contender<u64>>(contender: &C, keys: u64, calls: u64, turn: &mut u64) -> Slice {
    *turn += 1;
    let seed = *turn << 8;
    together(WORKERS, calls, Terms::Allow, |thread, calls| share(contender, keys, seed | thread as u64, calls))
}

/// A clock, read so many times.
fn readings(clock: &impl Clock, calls: u64) -> Slice {
    let watch = Stopwatch::start();
    for _ in 0..calls {
        std::hint::black_box(clock.now());
    }
    Slice { nanos: watch.nanos(), calls, admitted: calls, due: calls }
}

/// A directory on a tmpfs, gone with the race.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Option<Self> {
        let path = Path::new("/dev/shm").join(format!("tollgate-bench-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn race(options: &Options, report: &mut Report) {
    let Some(directory) = Directory::new() else {
        eprintln!("left out: there is no tmpfs on /dev/shm");
        return;
    };
    for keys in [1, 1_000_000] {
        let name = if keys == 1 { "one hot key".to_owned() } else { report::keys(keys) };
        let keys = options.keys(keys);
        let path = directory.0.join(format!("table-{keys}"));
        let table = Attached::to(&path, keys);
        let private: Exact = match keys {
            1 => filled(&table, &mut One::default(), keys),
            _ => filled(&table, &mut Uniform::new(keys), keys),
        };
        let mut workers: Vec<Worker> = (0..WORKERS).map(|_| Worker::start(&path, keys)).collect();
        let [mut a, mut b, mut c] = [0_u64; 3];
        let mut race = Race::new(options.length());
        race.add("processes", |calls| processes(&mut workers, calls, &mut a));
        race.add("threads", |calls| threads(&table, keys, calls, &mut b));
        race.add("threads, private", |calls| threads(&private, keys, calls, &mut c));
        let times = race.run();
        let workload = format!("shared table, {name}, {WORKERS} processes");
        report.row(&times, &workload, "processes", "threads", Goal::None, "the same table, threads of one process");
        report.row(&times, &workload, "processes", "threads, private", Goal::None, "a table and a clock of their own");
    }
    let (shared, private) = (*Attached::to(&directory.0.join("clock"), 1).0.clock(), ExactClock::new());
    let mut race = Race::new(options.length());
    race.add("shared", |calls| readings(&shared, calls));
    race.add("private", |calls| readings(&private, calls));
    let times = race.run();
    report.row(
        &times,
        "the clock of shared tables, a reading",
        "shared",
        "private",
        Goal::None,
        "the operating system's, beside the counter",
    );
}

fn filled(table: &Attached, keys: &mut impl Keys<u64>, count: u64) -> Exact {
    fill(table, keys, count, Terms::Allow);
    ready(keys, count, Terms::Allow)
}
