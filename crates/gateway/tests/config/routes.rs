//! `routes`: in the file, while the gateway runs, and in what it says of them.

use crate::tool::{Folder, Gateway};

#[test]
fn the_page_and_metrics_tell_of_routes() {
    let folder = Folder::new();
    let file = |rest: &str| {
        format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\npolicies: []\nroutes:\n  - name: api\n    paths: [/api/*]\n    \
             upstreams: [http://127.0.0.1:1]\n{rest}"
        )
    };
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", &file("")));
    assert_eq!(gateway.status("/api/x"), 502);
    assert_eq!(gateway.status("/other"), 404, "no echo where there are routes");
    let metrics = gateway.metrics();
    for line in [
        "\ntollgate_route_requests_total{route=\"api\"} 1\n",
        "\ntollgate_route_upstream{route=\"api\",upstream=\"http://127.0.0.1:1\"} 1\n",
        "\ntollgate_upstream_failures_total{upstream=\"http://127.0.0.1:1\"} 1\n",
        "\ntollgate_gateway_own_answers_total{status=\"404\"} 1\n",
        "\ntollgate_gateway_crowding_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let live = gateway.ask_admin("/live");
    assert!(live.contains(r#""routes":["api"]"#) && live.contains(r#""routes":{"api":1}"#), "{live}");

    folder.write(
        "tollgate.yaml",
        &file("  - name: named\n    hosts: a.example\n    upstreams: [http://127.0.0.1:2]\nhosts: strict\n"),
    );
    gateway.hear("reloaded and in force");
    assert_eq!(gateway.status("/api/x"), 421);
    // Without any upstream at all there is nothing to go on with.
    folder.write("tollgate.yaml", "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\npolicies: []\n");
    gateway.hear("upstreams: a change of this needs a restart");
    assert_eq!(gateway.status("/api/x"), 502);
}

/// Counters never go back and never stand still while something happens, and nobody is told that what has gone is there.
#[test]
fn what_goes_and_comes_back_is_counted_on() {
    let folder = Folder::new();
    let with = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\nhealth: {rest: 10m}\npolicies: {name: once, limits: 1/hour, match: {path: /api/limited}}\n\
                routes:\n  - name: api\n    paths: [/api/*]\n    upstreams: [http://127.0.0.1:1]\n";
    let without = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\npolicies: []\n\
                   routes:\n  - name: other\n    paths: [/other]\n    upstreams: [http://127.0.0.1:2]\n";
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", with));
    let shows = |gateway: &mut Gateway, refusals: u32, requests: u32, is_there: u32| {
        let metrics = gateway.metrics();
        for line in [
            format!("tollgate_refusals_total{{policy=\"once\",route=\"/api/limited\"}} {refusals}"),
            format!("tollgate_route_requests_total{{route=\"api\"}} {requests}"),
            format!("tollgate_upstream_requests_total{{upstream=\"http://127.0.0.1:1\"}} {requests}"),
            format!("tollgate_upstream_failures_total{{upstream=\"http://127.0.0.1:1\"}} {requests}"),
            format!("tollgate_route_upstream{{route=\"api\",upstream=\"http://127.0.0.1:1\"}} {is_there}"),
            format!("tollgate_upstream_resting{{upstream=\"http://127.0.0.1:1\"}} {is_there}"),
        ] {
            assert!(metrics.contains(&format!("\n{line}\n")), "{line} is not in {metrics}");
        }
    };
    let reload = |gateway: &Gateway, text: &str| {
        folder.write("tollgate.yaml", text);
        gateway.hang_up();
        gateway.hear("reloaded and in force");
    };
    let mut refused = 0;
    let mut ask = |gateway: &Gateway, count: u32| {
        for _ in 0..count {
            assert_eq!(gateway.status("/api/x"), 502);
        }
        refused += u32::from(gateway.status("/api/limited") == 429);
        refused
    };
    // The one request that is admitted goes to the upstream as well. Three failures in a row are enough to be left alone.
    assert_eq!(ask(&gateway, 5), 0);
    assert_eq!(ask(&gateway, 0), 1);
    shows(&mut gateway, 1, 6, 1);
    reload(&gateway, without);
    shows(&mut gateway, 1, 6, 0);
    reload(&gateway, with);
    // Fewer than before.
    let admitted = u32::from(ask(&gateway, 4) == 1);
    let refusals = ask(&gateway, 0);
    shows(&mut gateway, refusals, 10 + admitted, 1);
}
