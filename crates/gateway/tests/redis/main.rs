//! Gateways with policies on a real server, which the tests start and end by themselves: run by `ci/redis.sh`, which names it in
//! `TOLLGATE_REDIS`.

#![allow(clippy::disallowed_methods, reason = "measures how long answers take")]

#[path = "../config/tool.rs"]
#[allow(dead_code, reason = "the parts of it that other tests use")]
mod tool;

mod servers;
mod topologies;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use servers::Server;
use tool::{Folder, Gateway};

/// As long as anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder with the secret, and the text of a file for one plain server.
fn file(port: u16, rest: &str) -> (Folder, String) {
    file_on(&format!("url: \"redis://127.0.0.1:{port}/\""), rest)
}

/// The same for servers that these keys name; the deadline is one that a busy machine keeps.
fn file_on(servers: &str, rest: &str) -> (Folder, String) {
    let folder = Folder::new();
    folder.write("secret", "sixteen bytes or more\n");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 2\n\
         redis: {{{servers}, secret_file: secret, deadline: 1s, nodes: 4}}\npolicies:\n{rest}"
    );
    (folder, text)
}

/// A gateway that is connected.
fn connected(folder: &Folder, text: &str) -> Gateway {
    connected_to(folder, text, 1)
}

/// One that is connected to so many servers.
fn connected_to(folder: &Folder, text: &str, servers: u64) -> Gateway {
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    until("the gateway is connected", || number(&mut gateway, "tollgate_redis_connected") == servers);
    gateway
}

/// A figure of `/metrics`.
fn number(gateway: &mut Gateway, name: &str) -> u64 {
    let metrics = gateway.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{name}` in {metrics}")).trim().parse().unwrap()
}

fn count(gateway: &Gateway, path: &str, requests: usize, status: u16) -> usize {
    count_at(gateway.addr, path, requests, status)
}

fn count_at(addr: SocketAddr, path: &str, requests: usize, status: u16) -> usize {
    let start = format!("HTTP/1.1 {status} ");
    (0..requests).filter(|_| tool::get(addr, path).starts_with(&start)).count()
}

#[test]
fn gateways_admit_one_limit_together() {
    let server = Server::start();
    let (folder, text) = file(server.port, " - {name: all, limits: 20/day, store: redis}\n");
    let gateways = [connected(&folder, &text), connected(&folder, &text)];
    // Both at once.
    let admitted: usize = std::thread::scope(|scope| {
        let clients = gateways.iter().flat_map(|gateway| [gateway.addr; 3]);
        let clients: Vec<_> = clients.map(|addr| scope.spawn(move || count_at(addr, "/", 15, 200))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(admitted, 20);
    let refused = gateways[0].get("/");
    assert!(refused.starts_with("http/1.1 429") && refused.contains("ratelimit: \"all\";r=0;t="), "{refused}");
}

/// `tollgate keys` of this gateway, with its exit code and all that it says.
fn keys(folder: &Folder, args: &[&str]) -> (i32, String) {
    let output = tool::program().arg("keys").args(args).arg("--socket").arg(folder.0.join("socket")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn one_client_is_looked_up_and_reset_on_the_server() {
    let server = Server::start();
    let policies = " - {name: all, limits: 5/day, store: redis}\n - {name: here, limits: 50/day, always: true}\n";
    let (folder, text) = file(server.port, policies);
    let gateway = connected(&folder, &format!("control: socket\n{text}"));
    assert_eq!(count(&gateway, "/", 7, 200), 5);
    let standing = |said: &str| -> Vec<(String, u64)> {
        let said: serde_json::Value = serde_json::from_str(said).unwrap();
        let rows = said["policies"].as_array().unwrap().iter();
        rows.map(|row| (row["policy"].as_str().unwrap().to_owned(), row["limits"][0]["remaining"].as_u64().unwrap()))
            .collect()
    };
    let (code, said) = keys(&folder, &["show", "127.0.0.1", "--json"]);
    assert_eq!((code, standing(&said)), (0, vec![("all".to_owned(), 0), ("here".to_owned(), 45)]), "{said}");
    assert_eq!(keys(&folder, &["reset", "127.0.0.1"]).0, 0);
    assert_eq!(count(&gateway, "/", 7, 200), 5);
    // What cannot be looked up is said, and what may not have been reset is an error, of another kind than a wrong question.
    server.signal("-STOP");
    let (code, said) = keys(&folder, &["show", "127.0.0.1", "--policy", "here", "--json"]);
    assert_eq!((code, standing(&said)), (0, vec![("here".to_owned(), 45)]), "{said}");
    let (code, said) = keys(&folder, &["show", "127.0.0.1"]);
    assert!(code == 75 && said.contains("Not known of all, which counts on Redis, where "), "{code}: {said}");
    assert!(said.contains("45 of 50") && said.contains("Redis has not answered of all"), "{said}");
    let (code, said) = keys(&folder, &["reset", "127.0.0.1"]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("policy `all` is counted on Redis, where the key may not have been reset: "), "{said}");
    assert!(said.ends_with("; it was reset under here\n"), "{said}");
    gateway.hear("a key was reset by way of the control socket: here");
    let (code, said) = keys(&folder, &["show", "127.0.0.1", "--policy", "here", "--json"]);
    assert_eq!((code, standing(&said)), (0, vec![("here".to_owned(), 50)]), "{said}");
    assert_eq!(keys(&folder, &["reset", "127.0.0.1", "--policy", "her"]).0, 2);
    server.signal("-CONT");
}

/// All four choices beside a policy of this process, whose tokens come back for each request that is refused on the server.
const CHOICES: &str = "
 - {name: closed, limits: 8/day, match: {path: /closed}, store: redis}
 - {name: open, limits: 8/day, match: {path: /open}, store: redis, on_outage: open}
 - {name: share, limits: 8/day, match: {path: /share}, store: redis, on_outage: share}
 - {name: local, limits: 8/day, match: {path: /local}, store: redis, on_outage: local}
 - {name: here, limits: 1000/day, always: true}
";

/// What 12 requests of each path get: how many are admitted, and what the others are told.
fn assert_outage(gateway: &mut Gateway) {
    let mut longest = Duration::ZERO;
    for (path, admitted, otherwise) in [("/closed", 0, 503), ("/open", 12, 429), ("/share", 2, 429), ("/local", 8, 429)]
    {
        let mut statuses = Vec::new();
        for _ in 0..12 {
            let asked = Instant::now();
            statuses.push(gateway.status(path));
            longest = longest.max(asked.elapsed());
        }
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), admitted, "{path}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, otherwise].contains(status)), "{path}: {statuses:?}");
    }
    let closed = gateway.get("/closed");
    assert!(closed.contains("retry-after: 1") && !closed.contains("ratelimit"), "{closed}");
    // The deadline is a second; the rest is room for a busy machine, far below what TCP waits.
    assert!(longest < Duration::from_secs(5), "an answer took {longest:?}");
    assert!(number(gateway, "tollgate_redis_decisions_total{policy=\"closed\",place=\"outage\"}") >= 13);
    assert_eq!(number(gateway, "tollgate_redis_connected"), 0, "the breaker is open");
}

#[test]
fn a_server_that_is_killed_leaves_the_choice_to_each_policy() {
    let mut server = Server::start();
    let (folder, text) = file(server.port, CHOICES);
    let mut gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/closed", 3, 200), 3);
    server.kill();
    assert_outage(&mut gateway);
    let told = |gateway: &Gateway, what: &str| {
        let lines = gateway.hear_with(what);
        let start = format!("tollgate: redis 127.0.0.1:{}: {what}", server.port);
        assert!(lines.last().unwrap().starts_with(&start), "{lines:?}");
        lines
    };
    told(&gateway, "cannot connect: ");
    let server = Server::at(server.port);
    let lines = told(&gateway, "connected, and works again");
    assert!(lines.len() <= 20, "{lines:?}");
    until("the gateway is connected again", || number(&mut gateway, "tollgate_redis_connected") == 1);
    assert_eq!(count(&gateway, "/closed", 12, 200), 8, "what was counted has gone with the server");
    drop(server);
}

/// It takes connections and requests, and says nothing: no error ever comes.
#[test]
fn a_server_that_is_stopped_leaves_the_choice_to_each_policy() {
    let server = Server::start();
    let (folder, text) = file(server.port, CHOICES);
    let mut gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/closed", 3, 200), 3);
    server.signal("-STOP");
    assert_outage(&mut gateway);
    gateway.hear_with("no answer within the deadline");
    server.signal("-CONT");
    gateway.hear_with("connected, and works again");
    until("the gateway is connected again", || number(&mut gateway, "tollgate_redis_connected") == 1);
    // Three before, and up to three that were sent and never answered.
    let admitted = count(&gateway, "/closed", 12, 200);
    assert!((2..=5).contains(&admitted), "{admitted}");
}

#[test]
fn a_gateway_starts_without_its_server() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (folder, text) = file(port, CHOICES);
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
    assert_outage(&mut gateway);
    let _server = Server::at(port);
    until("the gateway is connected", || number(&mut gateway, "tollgate_redis_connected") == 1);
    assert_eq!(count(&gateway, "/closed", 12, 200), 8);
}

#[test]
fn what_this_process_gave_comes_back_when_the_server_refuses() {
    let server = Server::start();
    let rest = " - {name: here, limits: 5/day, always: true}\n - {name: there, limits: 2/day, match: {path: /there}, store: redis}\n";
    let (folder, text) = file(server.port, rest);
    let gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/there", 9, 200), 2);
    assert_eq!(count(&gateway, "/elsewhere", 9, 200), 3);
}

#[test]
fn a_reload_keeps_the_connection_unless_the_servers_change() {
    let server = Server::start();
    let policy = |limit: &str| format!(" - {{name: all, limits: {limit}, store: redis}}\n");
    let (folder, text) = file(server.port, &policy("4/day"));
    let mut gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/", 6, 200), 4);
    assert_eq!(number(&mut gateway, "tollgate_redis_connects_total"), 1);
    let calls = number(&mut gateway, "tollgate_redis_calls_total");
    folder.write("tollgate.yaml", &text.replace("4/day", "6/day"));
    gateway.hang_up();
    gateway.hear("reloaded and in force");
    assert_eq!(count(&gateway, "/", 6, 200), 2, "what was used counts");
    assert_eq!(number(&mut gateway, "tollgate_redis_connects_total"), 1);
    assert!(number(&mut gateway, "tollgate_redis_calls_total") >= calls + 6, "the same servers, so the counts go on");
    // A secret that is another one is another fleet, with counts of its own.
    folder.write("secret", "another one, of sixteen bytes or more");
    gateway.hang_up();
    gateway.hear("reloaded and in force");
    until("the gateway is connected", || gateway.status("/") == 200);
    assert!(count(&gateway, "/", 9, 200) >= 4);
}

#[test]
fn what_the_response_decides_is_charged_on_the_server() {
    let server = Server::start();
    let rest = " - {name: after, limits: 3/day, match: {path: /after}, store: redis, charge: {only_on: 2xx}}\n \
                - {name: back, limits: 3/day, match: {path: /back}, store: redis, charge: {refund_on: 2xx}}\n \
                - {name: never, limits: 3/day, match: {path: /never}, store: redis, charge: {only_on: 5xx}}\n";
    let (folder, text) = file(server.port, rest);
    let mut gateway = connected(&folder, &text);
    // The charge is sent without waiting for it.
    until("it is used up", || gateway.status("/after") == 429);
    assert_eq!(count(&gateway, "/never", 9, 200), 9);
    let mut admitted = 0;
    until("ten came back", || {
        admitted += usize::from(gateway.status("/back") == 200);
        admitted == 10
    });
    assert_eq!(number(&mut gateway, "tollgate_redis_unsettled_total{policy=\"back\"}"), 0);
}

#[test]
fn a_busy_key_is_decided_by_leases() {
    let server = Server::start();
    let (folder, text) =
        file(server.port, " - {name: hot, limits: 1000/minute burst 100000, store: redis, leased: true}\n");
    let mut gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/", 400, 200), 400);
    let by = |gateway: &mut Gateway, place: &str| {
        number(gateway, &format!("tollgate_redis_decisions_total{{policy=\"hot\",place=\"{place}\"}}"))
    };
    let (lease, asked) = (by(&mut gateway, "lease"), by(&mut gateway, "server"));
    assert!(lease > 200 && lease + asked == 400, "{lease} by leases, {asked} by the server");
}

#[test]
fn a_shadow_on_the_server_refuses_nobody_and_counts() {
    let server = Server::start();
    let (folder, text) = file(server.port, " - {name: trial, limits: 2/day, store: redis, shadow: true}\n");
    let mut gateway = connected(&folder, &text);
    assert_eq!(count(&gateway, "/", 7, 200), 7);
    let limits = gateway.ask_admin("/limits");
    assert!(limits.contains("\"shadow_refused\":5"), "{limits}");
    let live = gateway.ask_admin("/live");
    assert!(live.contains("\"redis\":{\"servers\":1,\"connected\":1,"), "{live}");
}
