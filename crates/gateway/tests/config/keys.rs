//! `tollgate keys`: one client of a running gateway.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use crate::tool::{Folder, Gateway, PATIENCE, program};

const POLICIES: &str = "policies:
  - {name: default, limits: [2/hour, 100/day]}
  - {name: api, limits: 5/hour, key: 'header:x-api-key', always: true, missing_key: skip}
  - {name: places, concurrency: 3, always: true}
";

fn gateway(folder: &Folder) -> Gateway {
    let text = format!("listen: 127.0.0.1:0\nadmin: off\nthreads: 1\ncontrol: socket\n{POLICIES}");
    Gateway::start(&folder.write("tollgate.yaml", &text))
}

fn keys(folder: &Folder, args: &[&str]) -> Output {
    program().arg("keys").args(args).arg("--socket").arg(folder.0.join("socket")).output().unwrap()
}

/// What it prints; it must have succeeded.
fn said(folder: &Folder, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = keys(folder, args);
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What it complains of, with its exit code.
fn complaint(output: Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_client_is_looked_up_and_begins_anew() {
    let folder = Folder::new();
    let gateway = gateway(&folder);
    assert_eq!([(); 3].map(|()| gateway.status("/")), [200, 200, 429]);
    let text = said(&folder, &["show", "127.0.0.1"]);
    let row = |policy: &str| text.lines().filter(|line| line.starts_with(policy)).collect::<Vec<_>>();
    let [by_hour, by_day] = row("default")[..] else { panic!("{text}") };
    let cells =
        |line: &str| line.split("  ").filter(|cell| !cell.is_empty()).map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    let hour = cells(by_hour);
    assert_eq!(hour[..4], ["default", "127.0.0.1", "2 per 1 hour", "0 of 2"], "{text}");
    assert!(hour[4].starts_with("refused, in ") && hour[5].starts_with("in "), "{text}");
    let day = cells(by_day);
    assert_eq!(day[2..5], ["100 per 1 day", "98 of 100", "passes"], "{text}");
    assert_eq!(cells(row("places")[0])[2..], ["in flight", "3 of 3", "passes"], "{text}");
    assert!(text.ends_with("No key of api, which counts by header:x-api-key.\n"), "{text}");
    assert_eq!(keys(&folder, &["show", "127.0.0.1", "--fail-if-refused"]).status.code(), Some(3));
    let text = said(&folder, &["reset", "127.0.0.1", "--policy", "default"]);
    assert!(text.contains("0 of 2") && text.ends_with("All of it is there again.\n"), "{text}");
    gateway.hear("a key was reset by way of the control socket: default");
    assert_eq!(gateway.status("/"), 200);
    assert!(said(&folder, &["show", "default=127.0.0.1", "--fail-if-refused"]).contains("1 of 2"));
}

#[test]
fn programs_get_json() {
    let folder = Folder::new();
    let gateway = gateway(&folder);
    assert_eq!(gateway.status("/"), 200);
    let json: serde_json::Value = serde_json::from_str(&said(&folder, &["show", "--json", "127.0.0.1"])).unwrap();
    let limit = &json["policies"][0]["limits"][0];
    assert_eq!((limit["name"].as_str(), limit["remaining"].as_u64()), (Some("default/hour"), Some(1)));
    assert_eq!(json["policies"][1]["in_flight"], serde_json::json!({"now": 0, "most": 3}));
    assert_eq!(json["others"][0]["policy"], "api");
    assert_eq!(json["reset"], false);
}

#[test]
fn mistakes_have_a_line_and_a_code() {
    let folder = Folder::new();
    let gateway = gateway(&folder);
    let (code, said) = complaint(keys(&folder, &["show", "127.0.0.1", "--policy", "defualt"]));
    assert_eq!((code, said.as_str()), (2, "tollgate: there is no policy `defualt`; there are default, api, places\n"));
    let (code, said) = complaint(keys(&folder, &["reset", "default=abc"]));
    assert_eq!((code, said.as_str()), (2, "tollgate: no policy has such a key; their keys are ip (`default`)\n"));
    gateway.end();
    assert!(!folder.0.join("socket").exists(), "it goes with the gateway");
    let (code, said) = complaint(keys(&folder, &["show", "127.0.0.1"]));
    assert!(code == 66 && said.contains("there is no such socket"), "{code}: {said}");
    fs::write(folder.0.join("socket"), "").unwrap();
    let (code, said) = complaint(keys(&folder, &["show", "127.0.0.1"]));
    assert!(code == 66 && said.contains("no gateway listens there"), "{code}: {said}");
}

#[test]
fn the_socket_is_one_gateways_and_what_a_killed_one_leaves_is_no_hindrance() {
    let folder = Folder::new();
    let first = gateway(&folder);
    let other = program().args(["gateway", "--config"]).arg(folder.0.join("tollgate.yaml")).output().unwrap();
    let (code, told) = complaint(other);
    assert!(code == 73 && told.contains("another gateway that runs has this socket"), "{code}: {told}");
    // Killed: its socket stays behind.
    drop(first);
    assert!(folder.0.join("socket").exists());
    let second = gateway(&folder);
    assert_eq!(second.status("/"), 200);
    assert!(said(&folder, &["show", "127.0.0.1"]).contains("1 of 2"));
}

const QUESTION: &[u8] = b"{\"key\":\"127.0.0.1\",\"policy\":null,\"resets\":false}\n";

/// What is answered to a question, in parts.
fn answer(mut socket: UnixStream, question: &[u8]) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    // It may have been closed.
    let _ = socket.write_all(question).and_then(|()| socket.read_to_string(&mut answer).map(drop));
    answer
}

#[test]
fn who_says_nothing_holds_up_nobody() {
    let folder = Folder::new();
    let _gateway = gateway(&folder);
    let connect = || UnixStream::connect(folder.0.join("socket")).unwrap();
    // The second is answered while the first has not asked. On a busy machine the first may be given up meanwhile: then again.
    let is_served_meanwhile = (0..8).any(|_| {
        let first = connect();
        let second = answer(connect(), QUESTION);
        assert!(second.contains("standings"), "{second}");
        answer(first, QUESTION).contains("standings")
    });
    assert!(is_served_meanwhile);
}

#[test]
fn who_never_ends_a_question_is_given_up() {
    let folder = Folder::new();
    let _gateway = gateway(&folder);
    let mut slow = UnixStream::connect(folder.0.join("socket")).unwrap();
    // All of it would go into one question.
    let ended = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        slow.write_all(b" ").is_err()
    });
    assert!(ended);
}

#[cfg(target_os = "linux")]
#[test]
fn so_many_connections_and_no_more() {
    let folder = Folder::new();
    let gateway = gateway(&folder);
    let socket = folder.0.join("socket");
    assert_eq!(gateway.status("/"), 200);
    let connect = || UnixStream::connect(&socket).unwrap();
    let before = gateway.sockets();
    let silent: Vec<UnixStream> = (0..48).map(|_| connect()).collect();
    let mut most = 0;
    for _ in 0..200 {
        most = most.max(gateway.sockets().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(10));
    }
    // What else the gateway has open may come and go; all of them would be 48.
    assert!((1..=24).contains(&most), "{most}");
    // Who comes last has its turn, as those who do not ask are given up.
    assert!(answer(connect(), QUESTION).contains("standings"));
    drop(silent);
}

/// Who gets past the file's mode is asked who it is. Only root can try that.
#[test]
fn nobody_else_is_answered() {
    let folder = Folder::new();
    let _gateway = gateway(&folder);
    let socket = folder.0.join("socket");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    // With a program that anybody may run.
    let asks = "import socket, sys\n\
                s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
                s.sendall(b'{\"key\":\"127.0.0.1\",\"policy\":null,\"resets\":false}\\n')\n\
                print(len(s.recv(10)))";
    let asked = |as_nobody: bool| {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", asks]).arg(&socket).current_dir(Path::new("/"));
        if as_nobody {
            python.uid(65_534).gid(65_534);
        }
        python.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    assert_eq!(asked(false).unwrap(), "10");
    if let Ok(answer) = asked(true) {
        assert!(answer == "0" || answer.is_empty(), "{answer}");
    }
}

#[test]
fn another_path_takes_a_restart() {
    let folder = Folder::new();
    let gateway = gateway(&folder);
    let text = fs::read_to_string(folder.0.join("tollgate.yaml")).unwrap();
    folder.write("tollgate.yaml", &text.replace("control: socket", "control: off"));
    gateway.hear("control: a change of this needs a restart");
    assert!(said(&folder, &["show", "127.0.0.1"]).contains("2 of 2"));
}
