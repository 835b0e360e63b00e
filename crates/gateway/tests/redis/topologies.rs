//! Gateways on more than one plain server: TLS, sentinels, a cluster; and what becomes of each when it fails.

use crate::servers::{self, Server, Watched};
use crate::tool::Gateway;
use crate::{CHOICES, assert_outage, connected_to, count, file_on, number, until};

/// Each path by itself, so that a cluster has them on all of its nodes.
const BY_PATH: &str = " - {name: each, limits: 2/day, key: path, match: {path: /each/*}, store: redis}\n";

/// Whether two gateways admit together what one limit allows, of each of these paths.
fn assert_one_limit(gateways: &[Gateway; 2], paths: usize) {
    for path in 0..paths {
        let path = format!("/each/{path}");
        let statuses = [0, 1, 0, 1].map(|which| gateways[which].status(&path));
        assert_eq!(statuses, [200, 200, 429, 429], "{path}");
    }
}

#[test]
fn tls_and_no_other_certificate() {
    let (mut server, port) = servers::with_tls();
    let keys = format!("url: \"rediss://localhost:{port}/\"");
    let (folder, text) = file_on(&keys, &format!("{BY_PATH}{CHOICES}"));
    let mut gateways = [connected_to(&folder, &text, 1), connected_to(&folder, &text, 1)];
    assert_one_limit(&gateways, 3);
    // It is not for this name.
    let (folder, text) = file_on(&keys.replace("localhost", "127.0.0.1"), BY_PATH);
    let mut stranger = Gateway::start(&folder.write("tollgate.yaml", &text));
    stranger.hear_with("cannot connect: ");
    assert_eq!((number(&mut stranger, "tollgate_redis_connected"), stranger.status("/each/0")), (0, 503));
    server.kill();
    assert_outage(&mut gateways[0]);
}

#[test]
fn sentinels_name_the_next_primary() {
    let mut watched = Watched::start();
    let sentinels: Vec<String> =
        watched.sentinels.iter().map(|sentinel| format!("\"redis://127.0.0.1:{}/\"", sentinel.port)).collect();
    let keys = format!("url: redis://any/, primary: main, sentinels: [{}]", sentinels.join(", "));
    let (folder, text) = file_on(&keys, &format!("{BY_PATH}{CHOICES}"));
    let mut gateways = [connected_to(&folder, &text, 1), connected_to(&folder, &text, 1)];
    assert_one_limit(&gateways, 3);
    assert_eq!(count(&gateways[0], "/closed", 3, 200), 3);
    watched.replicate();
    watched.primary.kill();
    assert_outage(&mut gateways[0]);
    watched.be_strict();
    for gateway in &mut gateways {
        gateway.hear_with("redis main (sentinels ");
        until("the gateway is at the next primary", || number(gateway, "tollgate_redis_connected") == 1);
    }
    // It has what the other had.
    assert_eq!(count(&gateways[1], "/closed", 12, 200), 5);
}

#[test]
fn a_cluster_has_each_key_on_one_of_its_nodes() {
    let mut nodes = servers::cluster();
    let keys = format!("url: [\"redis://127.0.0.1:{}/\", \"redis://127.0.0.1:{}/\"]", nodes[0].port, nodes[1].port);
    let (folder, text) = file_on(&keys, &format!("{BY_PATH}{CHOICES}"));
    let mut gateways = [connected_to(&folder, &text, 3), connected_to(&folder, &text, 3)];
    assert_one_limit(&gateways, 30);
    let held: Vec<u32> = nodes.iter().map(|node| node.ask(&["DBSIZE"])[1..].parse().unwrap()).collect();
    assert!(held.iter().all(|count| *count > 0) && held.iter().sum::<u32>() == 30, "{held:?}");
    assert_eq!(count(&gateways[0], "/closed", 3, 200), 3);
    nodes.iter_mut().for_each(Server::kill);
    assert_outage(&mut gateways[0]);
    nodes.iter_mut().for_each(Server::start_again);
    servers::agree(&nodes);
    let gateway = &mut gateways[0];
    until("the gateway is connected again", || number(gateway, "tollgate_redis_connected") == 3);
    until("it is decided there again", || gateway.status("/closed") == 200);
    assert_eq!(count(gateway, "/closed", 12, 200), 7, "what was counted has gone with the nodes");
}
