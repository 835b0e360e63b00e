//! Several gateways as processes, with one table.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::tool::{Folder, Gateway, check, run};

/// Where a table may be: on a tmpfs.
struct Place {
    folder: PathBuf,
    /// For configurations.
    files: Folder,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new("/dev/shm").join(format!("tollgate-gateway-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a tmpfs on /dev/shm");
        Self { folder, files: Folder::new() }
    }

    fn table(&self) -> PathBuf {
        self.folder.join("table")
    }

    /// A file with that rate, and with what else is to be said of the limiter.
    fn file(&self, name: &str, rate: &str, limiter: &str) -> PathBuf {
        let table = self.table();
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\nlimiter: {{shared: {}{limiter}}}\n\
             policies: [{{name: a, limits: {rate}}}]\n",
            table.display()
        );
        self.files.write(&format!("{name}.yaml"), &text)
    }

    fn gateway(&self, name: &str, rate: &str) -> Gateway {
        Gateway::start(&self.file(name, rate, ""))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The status of an answer; nothing from a process that is not there any more.
fn ask(addr: SocketAddr) -> Option<u16> {
    let mut socket = TcpStream::connect(addr).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(socket, "GET / HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// How many of so many requests go through that two clients of each gateway send, all at once. Calls `meanwhile` with how many
/// that are so far.
fn admitted_while(gateways: &[SocketAddr], each: usize, meanwhile: impl FnOnce(&AtomicUsize)) -> usize {
    let count = AtomicUsize::new(0);
    let client = |addr| {
        for _ in 0..each {
            match ask(addr) {
                Some(200) => _ = count.fetch_add(1, Ordering::SeqCst),
                Some(429) | None => {}
                Some(other) => panic!("{other}"),
            }
        }
    };
    thread::scope(|scope| {
        for addr in gateways.iter().chain(gateways) {
            scope.spawn(|| client(*addr));
        }
        meanwhile(&count);
    });
    count.into_inner()
}

fn admitted(gateways: &[&Gateway], each: usize) -> usize {
    let addrs: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.addr).collect();
    admitted_while(&addrs, each, |_| {})
}

#[test]
fn two_gateways_admit_one_limit_through_an_upgrade() {
    let place = Place::new();
    let (a, b) = (place.gateway("a", "60/day"), place.gateway("b", "60/day"));
    // In part, so that there is something to carry on with.
    assert_eq!(admitted(&[&a, &b], 8), 32);
    // The new one and the old one in turn, with the same configuration: what is left of one limit.
    drop(a);
    let new = place.gateway("a", "60/day");
    assert_eq!(admitted(&[&new, &b], 20), 28);
    drop((new, b));
    // After all have gone, too.
    assert_eq!(admitted(&[&place.gateway("a", "60/day")], 5), 0);
}

#[test]
fn kill_9_under_load_costs_what_was_under_way_and_admits_nothing_twice() {
    let place = Place::new();
    let (a, b) = (place.gateway("a", "200/day"), place.gateway("b", "200/day"));
    let addrs = [a.addr, b.addr];
    let mut when = 0;
    let seen = admitted_while(&addrs, 150, |count| {
        while count.load(Ordering::SeqCst) < 20 {
            thread::yield_now();
        }
        when = count.load(Ordering::SeqCst);
        drop(a); // SIGKILL
    });
    assert!(when < 200, "it was killed too late to show anything");
    // One request of each of its two clients was perhaps decided and not answered.
    assert!((198..=200).contains(&seen), "{seen} of 200, killed after {when}");
    let again = place.gateway("a", "200/day");
    assert_eq!(admitted(&[&again, &b], 5), 0);
}

#[test]
fn of_a_changed_rate_at_most_the_sum_is_admitted_and_of_the_rest_one_limit() {
    let place = Place::new();
    let old = place.gateway("old", "20/day");
    assert_eq!(admitted(&[&old], 4), 8);
    let new = place.gateway("new", "30/day");
    // 12 are left of the one, 30 of the other.
    assert_eq!(admitted(&[&old, &new], 40), 42);
    // The old one is told of the new rate as well: it is the new one's limit.
    place.file("old", "30/day", "");
    old.hang_up();
    let lines = old.hear("counts with all processes of this machine that have it");
    assert!(lines.iter().any(|line| line.contains("`a: 30 per 1 day` has another rate than before")), "{lines:?}");
    assert_eq!(admitted(&[&old, &new], 5), 0);
}

#[test]
fn a_process_tells_its_own_counts_and_the_machine_s_apart() {
    let place = Place::new();
    let (mut a, mut b) = (place.gateway("a", "10/day"), place.gateway("b", "10/day"));
    let (by_a, by_b) = (admitted(&[&a], 3), admitted(&[&b], 20));
    assert_eq!((by_a, by_b), (6, 4));
    let metrics = [a.metrics(), b.metrics()];
    let all = |name: &str| -> Vec<f64> {
        let lines = metrics.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    };
    // Of processes: the sum is right.
    assert_eq!(all("tollgate_requests_total{policy=\"a\",outcome=\"allowed\"}"), [6.0, 4.0]);
    assert_eq!(all("tollgate_requests_total{policy=\"a\",outcome=\"refused\"}"), [0.0, 36.0]);
    // Of the table: the largest is right, and nothing invites to a sum.
    assert_eq!(all("tollgate_shared_table_capacity_keys{table="), [65_536.0; 2]);
    assert_eq!(all("tollgate_shared_table_detached{table="), [0.0; 2]);
    let ids: Vec<&str> =
        metrics.iter().map(|text| label(text, "tollgate_shared_table_capacity_keys{table=\"")).collect();
    assert!(ids[0] == ids[1] && ids[0].len() == 32, "{ids:?}");
    for gateway in [&mut a, &mut b] {
        let live = gateway.ask_admin("/live");
        let path = place.table().display().to_string();
        let shared = format!("\"shared\":{{\"path\":\"{path}\",\"id\":\"{}\",\"detached\":false,", ids[0]);
        assert!(live.contains(&shared), "{live}");
    }
    for name in
        ["tollgate_table_", "tollgate_evictions_total ", "tollgate_refused_full_total ", "tollgate_untracked_total "]
    {
        assert!(all(name).is_empty(), "{name}");
    }
}

fn label<'a>(text: &'a str, start: &str) -> &'a str {
    text.split_once(start).unwrap().1.split('"').next().unwrap()
}

#[test]
fn a_table_that_was_removed_is_told_of_once() {
    let place = Place::new();
    let old = place.gateway("a", "10/day");
    assert_eq!(admitted(&[&old], 5), 10);
    fs::remove_file(place.table()).unwrap();
    let lines = old.hear("start it anew");
    assert!(lines.len() == 1 && lines[0].contains(&*place.table().to_string_lossy()), "{lines:?}");
    assert_eq!(admitted(&[&old], 5), 0, "it goes on in the old one");
    thread::sleep(Duration::from_millis(2_500));
    assert!(old.is_silent());
}

#[test]
fn what_is_wrong_with_a_table_is_one_line_with_its_path() {
    let place = Place::new();
    let refused = |file: &Path| {
        let output = run(&["gateway", "--config", file.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(78), 1), "{error}");
        error
    };
    let table = place.table().display().to_string();
    // No folder.
    let nowhere = place.files.write("no.yaml", "admin: off\nlimiter: {shared: /dev/shm/no/such/table}\npolicies: []\n");
    let error = refused(&nowhere);
    assert!(error.contains("/dev/shm/no/such/table: there is no such file"), "{error}");
    // No room: 36 TB.
    let error = refused(&place.file("large", "5/day", ", capacity: 60000000000"));
    assert!(error.contains(&table) && error.contains("there is no room for its"), "{error}");
    assert!(!place.table().exists());
    // Not a table.
    fs::write(place.table(), vec![7; 20_000]).unwrap();
    let error = refused(&place.file("a", "5/day", ""));
    assert!(error.contains(&table) && error.contains("permissions are"), "{error}");
    fs::set_permissions(place.table(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = refused(&place.file("a", "5/day", ""));
    assert!(error.contains("is not a table of tollgate"), "{error}");
    fs::remove_file(place.table()).unwrap();
    // Another capacity.
    let gateway = place.gateway("a", "5/day");
    let error = refused(&place.file("b", "5/day", ", capacity: 1000"));
    assert!(error.contains("the table's capacity is 65536 keys, and 1000 were asked for"), "{error}");
    let error = refused(&place.file("b", "5/day", ", on_full: refuse"));
    assert!(error.contains("RefuseNew was asked for"), "{error}");
    assert_eq!(admitted(&[&gateway], 5), 5, "nobody minds the others");
    // More permissions than its owner's.
    fs::set_permissions(place.table(), fs::Permissions::from_mode(0o666)).unwrap();
    let error = refused(&place.file("b", "5/day", ""));
    assert!(error.contains("permissions are 0666, and may be 0600 at most"), "{error}");
}

#[test]
fn a_check_says_what_is_the_machine_s_and_touches_no_table() {
    let place = Place::new();
    let told = |file: &Path| {
        let output = check(file);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let file = place.file("a", "5/day, concurrency: 3", "");
    let text = told(&file);
    assert!(text.contains("Rates hold for this machine") && text.contains(&*place.table().to_string_lossy()), "{text}");
    assert!(text.contains("(`concurrency`) are bounded for each process by itself"), "{text}");
    assert!(!place.table().exists(), "made by a check");
    let private = place.files.write("private.yaml", "policies: [{name: a, limits: 5/day}]\n");
    assert!(told(&private).contains("of this process alone"));
    for bad in ["table", "./table", "/", "", "[a]"] {
        let file = place.files.write("bad.yaml", &format!("limiter: {{shared: {bad}}}\npolicies: []\n"));
        let output = check(&file);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains(":1:") && error.contains("limiter.shared: "),
            "{bad}: {error}"
        );
    }
}

/// The longer form: whose the table is, and what happens where it does not fit.
#[test]
fn a_table_of_several_users_and_one_that_does_not_fit() {
    let place = Place::new();
    let table = place.table().display().to_string();
    let start = |name: &str, limiter: &str| {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: off\nthreads: 1\nlimiter: {limiter}\npolicies: [{{name: a, limits: 4/day}}]\n"
        );
        place.files.write(&format!("{name}.yaml"), &text)
    };
    let long = |rest: &str| format!("{{shared: {{path: {table}, mode: 0660{rest}}}}}");
    let first = Gateway::start(&start("first", &long("")));
    assert_eq!(fs::metadata(place.table()).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(admitted(&[&first], 1), 2);
    // The short form wants 0600 and no more.
    let refused = run(&["gateway", "--config", start("short", &format!("{{shared: {table}}}")).to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("660"), "{refused:?}");
    let adopting = Gateway::start(&start(
        "adopting",
        &format!("{{capacity: 99, shared: {{path: {table}, mode: 0660, on_mismatch: adopt}}}}"),
    ));
    assert_eq!(admitted(&[&adopting], 2), 2);
    drop((first, adopting));

    let said = |limiter: &str| {
        let output = check(&start("checked", limiter));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for (rest, expected) in [
        ("", "Its file must be of the user of the gateway, with the mode 0660 at most."),
        (", owner: 1000, on_mismatch: adopt", "of the user 1000, with the mode 0660 at most. If it has another"),
        (", on_mismatch: adopt", "those of the table hold."),
        (", on_mismatch: refuse", "the gateway does not start."),
        (
            ", on_mismatch: replace, allow_disk: true",
            "IT IS REPLACED AND ALL THAT WAS COUNTED FORGOTTEN, unless others use it. It may be on a disk",
        ),
    ] {
        let (is_usable, text) = said(&long(rest));
        assert!(is_usable && text.contains(expected), "{expected} in {text}");
    }
    for (limiter, expected) in [
        ("{shared: {mode: 0660}}".to_owned(), "`path` is missing"),
        (
            format!("{{shared: {{path: {table}, mode: 0700}}}}"),
            "0700 is no mode of a table; expected one from 0600 to 0666",
        ),
        (format!("{{shared: {{path: {table}, mode: rw}}}}"), "`rw` is not the mode of a file"),
        (format!("{{shared: {{path: {table}, owner: root}}}}"), "limiter.shared.owner: expected a whole number"),
        (format!("{{shared: {{path: {table}, on_mismatch: ignore}}}}"), "expected one of refuse, adopt, replace"),
        ("{shared: {path: table}}".to_owned(), "expected the whole path of a file on a tmpfs"),
        (format!("{{shared: {{path: {table}, sparse: true}}}}"), "sparse"),
    ] {
        let (is_usable, text) = said(&limiter);
        assert!(!is_usable && text.contains(expected), "{limiter}: {expected} in {text}");
    }
}
