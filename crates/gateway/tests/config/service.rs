//! As a service: what a manager is told, and how it is stopped.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::tool::{Folder, Gateway, get, program};

/// A program that does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_manager_is_told_when_it_serves_and_when_it_stops() {
    let folder = Folder::new();
    let path = folder.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let file = folder.write("tollgate.yaml", "listen: 127.0.0.1:0\nadmin: off\npolicies: []\n");
    let mut gateway = program();
    gateway.args(["gateway", "--config"]).arg(file).env("NOTIFY_SOCKET", &path).stdout(Stdio::null());
    let mut gateway = Killed(gateway.spawn().unwrap());
    let told = || {
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    assert!(Command::new("kill").arg(gateway.0.id().to_string()).status().unwrap().success());
    assert_eq!(told(), "STOPPING=1");
    assert!(gateway.0.wait().unwrap().success());
}

#[test]
fn before_it_stops_it_serves_on_and_says_that_it_will() {
    let folder = Folder::new();
    let text = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntimeouts: {drain: 2s}\npolicies: []\n";
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    let admin = gateway.admin();
    assert!(get(admin, "/healthz").starts_with("HTTP/1.1 200 "));
    gateway.signal("-TERM");
    let start = tokio::time::Instant::now();
    while !get(admin, "/healthz").starts_with("HTTP/1.1 503 ") {
        assert!(start.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(get(admin, "/healthz").contains("leaving"));
    assert_eq!(gateway.status("/"), 200, "a new connection is served");
    assert!(gateway.ended().success());
    assert!(start.elapsed() > Duration::from_millis(1_500), "{:?}", start.elapsed());
}
