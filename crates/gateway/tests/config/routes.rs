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
