//! Another configuration while the gateway runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rcgen::generate_simple_self_signed;

use crate::tool::{Folder, Gateway};

const IN_FORCE: &str = "reloaded and in force";
const NOT_IN_FORCE: &str = "everything stays as it was before";

/// One in an hour, and how a client is told.
fn once_an_hour(dialect: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: off\nthreads: 1\nanswer: {{headers: {dialect}}}\npolicies: {{name: a, limits: 1/hour}}\n"
    )
}

fn exhausted(text: &str) -> (Folder, Gateway) {
    let folder = Folder::new();
    let gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    assert_eq!(gateway.status("/"), 200);
    assert!(gateway.get("/").contains("\r\nratelimit: "));
    (folder, gateway)
}

/// What was used up stays so, and what is told has changed.
fn assert_reloaded(gateway: &Gateway) {
    let head = gateway.get("/");
    assert!(head.starts_with("http/1.1 429") && head.contains("x-ratelimit-limit: 1"), "{head}");
    assert!(!head.contains("\r\nratelimit: "), "{head}");
}

#[test]
fn a_hangup_reads_it_anew_and_keeps_what_was_used_up() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    folder.write("tollgate.yaml", &once_an_hour("x-ratelimit"));
    gateway.hang_up();
    assert_eq!(gateway.hear(IN_FORCE).len(), 1);
    assert_reloaded(&gateway);
}

#[test]
fn a_change_is_seen() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    folder.write("tollgate.yaml", &once_an_hour("x-ratelimit"));
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

/// To read it would be to wait for somebody who writes, and to hear of nothing else.
#[test]
fn a_pipe_in_its_place_is_not_waited_for() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    let path = folder.0.join("tollgate.yaml");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let told = gateway.hear(NOT_IN_FORCE);
    assert!(told.iter().any(|line| line.ends_with("tollgate.yaml: not a file")), "{told:?}");
    let new = folder.write("new.yaml", &once_an_hour("x-ratelimit"));
    fs::rename(new, &path).unwrap();
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
    gateway.end();
}

#[test]
fn a_file_renamed_over_it_is_seen() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    let new = folder.write("new.yaml", &once_an_hour("x-ratelimit"));
    fs::rename(new, folder.0.join("tollgate.yaml")).unwrap();
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

/// As Kubernetes does with a `ConfigMap`: the file is a link into a folder that is a link, and that one is swapped.
#[test]
fn a_swapped_link_is_seen() {
    let folder = Folder::new();
    for (name, dialect) in [("one", "ietf"), ("two", "x-ratelimit")] {
        fs::create_dir(folder.0.join(name)).unwrap();
        folder.write(&format!("{name}/tollgate.yaml"), &once_an_hour(dialect));
    }
    let link = |to: &str, name: &str| symlink(Path::new(to), folder.0.join(name)).unwrap();
    link("one", "data");
    link("data/tollgate.yaml", "tollgate.yaml");
    let gateway = Gateway::start(&folder.0.join("tollgate.yaml"));
    assert_eq!(gateway.status("/"), 200);
    link("two", "new");
    fs::rename(folder.0.join("new"), folder.0.join("data")).unwrap();
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_once() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    let bad = once_an_hour("x-ratelimit").replace("1/hour", "1/fortnight");
    let file = folder.write("tollgate.yaml", &bad);
    let lines = gateway.hear(NOT_IN_FORCE);
    let place = format!("tollgate: {}:5:29: policies.limits: at column 3 of `1/fortnight`", file.display());
    assert!(lines.len() == 2 && lines[0].starts_with(&place), "{lines:?}");
    assert!(gateway.get("/").contains("\r\nratelimit: "));
    // Asked for once more, it is told once more; in between, many looks have been silent about it.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(gateway.is_silent());
    gateway.hang_up();
    gateway.hear(NOT_IN_FORCE);
    folder.write("tollgate.yaml", &once_an_hour("x-ratelimit"));
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

/// A write that was cut off, a full disk, `> tollgate.yaml`.
#[test]
fn an_empty_file_and_half_of_one_change_nothing() {
    let whole = once_an_hour("ietf");
    let (folder, gateway) = exhausted(&whole);
    let half = whole.split("policies").next().unwrap();
    for text in ["", "# to be written\n", half, &format!("{half}policies:\n")] {
        folder.write("tollgate.yaml", text);
        // The first is seen; the others say the same, and are told of because somebody asks.
        if !text.is_empty() {
            gateway.hang_up();
        }
        let lines = gateway.hear(NOT_IN_FORCE);
        assert!(lines[0].contains("to limit nothing, write `policies: []`"), "{lines:?}");
        assert_eq!(gateway.status("/"), 429);
    }
    folder.write("tollgate.yaml", &once_an_hour("x-ratelimit"));
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

#[test]
fn a_file_that_has_gone_changes_nothing() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    fs::remove_file(folder.0.join("tollgate.yaml")).unwrap();
    let lines = gateway.hear(NOT_IN_FORCE);
    assert!(lines[0].contains("tollgate.yaml: No such file"), "{lines:?}");
    assert!(gateway.get("/").contains("\r\nratelimit: "));
    folder.write("tollgate.yaml", &once_an_hour("x-ratelimit"));
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

#[test]
fn what_a_file_lacks_may_come_later() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    folder.write("tollgate.yaml", &format!("{}upstream_ca: ca.pem\n", once_an_hour("x-ratelimit")));
    let lines = gateway.hear(NOT_IN_FORCE);
    assert!(lines[0].contains(": upstream_ca: ") && lines[0].contains("ca.pem"), "{lines:?}");
    let authority = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.write("ca.pem", &authority.cert.pem());
    gateway.hear(IN_FORCE);
    assert_reloaded(&gateway);
}

#[test]
fn what_takes_a_restart_is_told_and_the_rest_is_in_force() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    let text = once_an_hour("x-ratelimit")
        .replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:1")
        .replace("threads: 1", "threads: 2")
        .replace("admin: off", "admin: 127.0.0.1:0");
    folder.write("tollgate.yaml", &format!("{text}limiter: {{capacity: 9, on_full: refuse}}\n"));
    gateway.hang_up();
    let lines = gateway.hear("limiter.on_full: a change of this needs a restart");
    for key in ["listen", "threads", "admin", "limiter.capacity", "limiter.on_full"] {
        let end = format!(": {key}: a change of this needs a restart");
        assert!(lines.iter().any(|line| line.ends_with(&end)), "{key} in {lines:?}");
    }
    assert_reloaded(&gateway);
}

#[test]
fn reloads_are_counted() {
    let folder = Folder::new();
    let text = once_an_hour("ietf").replace("admin: off", "admin: 127.0.0.1:0");
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
    assert_eq!(gateway.status("/"), 200);
    for _ in 0..2 {
        gateway.hang_up();
        gateway.hear(IN_FORCE);
    }
    folder.write("tollgate.yaml", "nonsense");
    gateway.hang_up();
    gateway.hear(NOT_IN_FORCE);
    let metrics = gateway.metrics();
    for (outcome, count) in [("applied", 2), ("refused", 1)] {
        let line = format!("tollgate_config_reloads_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn policies_come_and_go() {
    let (folder, gateway) = exhausted(&once_an_hour("ietf"));
    folder.write("tollgate.yaml", "{listen: 127.0.0.1:0, admin: off, threads: 1, policies: []}");
    gateway.hang_up();
    gateway.hear("policies: there are none, so nothing is limited");
    assert_eq!([(); 3].map(|()| gateway.status("/")), [200; 3]);
    folder.write("tollgate.yaml", &once_an_hour("ietf").replace("name: a", "name: b"));
    gateway.hang_up();
    gateway.hear(IN_FORCE);
    assert_eq!([(); 3].map(|()| gateway.status("/")), [200, 429, 429]);
}

#[test]
fn upstreams_change() {
    let folder = Folder::new();
    let text = "{listen: 127.0.0.1:0, admin: off, threads: 1, policies: []}";
    let gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    assert_eq!(gateway.status("/"), 200);
    // Nobody listens there.
    folder.write("tollgate.yaml", &text.replace('}', ", upstreams: http://127.0.0.1:1}"));
    gateway.hang_up();
    gateway.hear(IN_FORCE);
    assert_eq!(gateway.status("/"), 502);
    folder.write("tollgate.yaml", text);
    gateway.hang_up();
    gateway.hear(IN_FORCE);
    assert_eq!(gateway.status("/"), 200, "the echo is back");
}

#[test]
fn a_new_certificate_is_shown() {
    let folder = Folder::new();
    let [old, new] = [(); 2].map(|()| generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    folder.write("cert.pem", &old.cert.pem());
    folder.write("key.pem", &old.signing_key.serialize_pem());
    let text = "{listen: {address: 127.0.0.1:0, tls: {certificate: cert.pem, key: key.pem}}, admin: off, threads: 1, policies: []}";
    let gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    let shows = |cert: &rcgen::Certificate| tls::trusts(gateway.addr, cert.der().clone());
    assert!(shows(&old.cert) && !shows(&new.cert));
    // The configuration itself has not changed. Between the two, certificate and key do not fit.
    folder.write("cert.pem", &new.cert.pem());
    let lines = gateway.hear(NOT_IN_FORCE);
    assert!(lines[0].contains("listen.tls: "), "{lines:?}");
    assert!(shows(&old.cert));
    folder.write("key.pem", &new.signing_key.serialize_pem());
    gateway.hear(IN_FORCE);
    assert!(shows(&new.cert) && !shows(&old.cert));
}

mod tls {
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;

    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    /// Whether a client that trusts `cert` alone gets through at `addr`.
    pub(crate) fn trusts(addr: SocketAddr, cert: CertificateDer<'static>) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(cert).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(addr).unwrap();
        while client.is_handshaking() {
            if client.complete_io(&mut socket).is_err() {
                return false;
            }
        }
        true
    }
}
