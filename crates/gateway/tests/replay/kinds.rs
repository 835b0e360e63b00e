//! A small log of every kind that is read, and what it must come to.

use std::io::Write;
use std::path::Path;

use crate::tool::{file, flat, refused, replay, replay_json, total};

/// A kind of log. In its line `@IP` stands for the client and `@S` for the second, on 1 March 2024 at 12:00 UTC.
struct Kind {
    name: &'static str,
    /// As what it is recognised.
    form: &'static str,
    /// What `--format` calls it, if that is something.
    format: &'static str,
    head: &'static str,
    line: &'static str,
    agent: bool,
    host: bool,
}

const fn kind(name: &'static str, form: &'static str, format: &'static str, line: &'static str) -> Kind {
    Kind { name, form, format, head: "", line, agent: false, host: false }
}

impl Kind {
    const fn agent(mut self) -> Self {
        self.agent = true;
        self
    }

    const fn host(mut self) -> Self {
        self.host = true;
        self
    }

    const fn head(mut self, head: &'static str) -> Self {
        self.head = head;
        self
    }

    /// Three requests of one client, and one of another.
    fn log(&self) -> String {
        let clients = ["192.0.2.10", "192.0.2.10", "192.0.2.10", "192.0.2.11"];
        let line = |(second, client): (usize, &&str)| {
            self.line.replace("@IP", client).replace("@S", &second.to_string()) + "\n"
        };
        self.head.to_owned() + &clients.iter().enumerate().map(line).collect::<String>()
    }
}

const KINDS: &[Kind] = &[
    kind("common", "common", "common", r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12"#),
    kind(
        "combined, and so gunicorn and nginx",
        "combined",
        "combined",
        r#"@IP - joe [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0""#,
    )
    .agent(),
    kind(
        "combined with the virtual host",
        "combined",
        "vhost",
        r#"api.example.com:443 @IP - - [01/Mar/2024:13:00:0@S +0100] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0""#,
    )
    .agent()
    .host(),
    kind(
        "nginx main",
        "combined",
        "nginx-main",
        r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0" "203.0.113.9""#,
    )
    .agent(),
    kind(
        "ingress-nginx",
        "combined",
        "ingress-nginx",
        r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0" 120 0.004 [default-api-80] [] 10.0.0.7:8080 12 0.004 200 f00"#,
    )
    .agent(),
    kind(
        "ingress-nginx of old",
        "combined",
        "ingress-nginx",
        r#"@IP - [@IP] - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0" 120 0.004 [default-api-80] 10.0.0.7:8080 12 0.004 200 f00"#,
    )
    .agent(),
    kind(
        "Varnish",
        "combined",
        "varnish",
        r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET http://api.example.com/a HTTP/1.1" 200 12 "-" "agent/1.0""#,
    )
    .agent()
    .host(),
    kind(
        "Traefik",
        "combined",
        "traefik-common",
        r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 "-" "agent/1.0" 7 "api@docker" "http://10.0.0.7:80" 3ms"#,
    )
    .agent(),
    kind(
        "Traefik JSON",
        "json",
        "traefik",
        r#"{"ClientAddr":"@IP:4711","ClientHost":"@IP","DownstreamStatus":200,"RequestHost":"api.example.com","RequestMethod":"GET","RequestPath":"/a","StartUTC":"2024-03-01T12:00:0@S.1Z","request_User-Agent":"agent/1.0","level":"info","msg":"","time":"2024-03-01T12:00:09Z"}"#,
    )
    .agent()
    .host(),
    kind(
        "Caddy",
        "json",
        "caddy",
        r#"{"level":"info","ts":170929440@S.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"@IP","client_ip":"@IP","proto":"HTTP/2.0","method":"GET","host":"api.example.com","uri":"/a","headers":{"User-Agent":["agent/1.0"]}},"duration":0.001,"status":200}"#,
    )
    .agent()
    .host(),
    kind(
        "Kong",
        "json",
        "kong",
        r#"{"client_ip":"@IP","started_at":170929440@S123,"request":{"method":"GET","uri":"/a","url":"http://api.example.com:8000/a","headers":{"host":"api.example.com","user-agent":"agent/1.0"}},"response":{"status":200},"latencies":{"request":9}}"#,
    )
    .agent()
    .host(),
    kind(
        "Cloudflare Logpush",
        "json",
        "cloudflare",
        r#"{"ClientIP":"@IP","ClientRequestMethod":"GET","ClientRequestURI":"/a","ClientRequestHost":"api.example.com","ClientRequestUserAgent":"agent/1.0","EdgeStartTimestamp":170929440@S000000000,"EdgeEndTimestamp":1709294409000000000,"EdgeResponseStatus":200}"#,
    )
    .agent()
    .host(),
    kind(
        "Azure Front Door",
        "json",
        "azure-front-door",
        r#"{"time":"2024-03-01T12:00:0@S.0000000Z","resourceId":"/x","category":"FrontDoorAccessLog","operationName":"Microsoft.Cdn/Profiles/AccessLog/Write","properties":{"httpMethod":"GET","requestUri":"https://api.example.com:443/a","userAgent":"agent/1.0","clientIp":"@IP","socketIp":"203.0.113.9","httpStatusCode":"200"}}"#,
    )
    .agent(),
    kind(
        "Google load balancer",
        "json",
        "google-load-balancer",
        r#"{"httpRequest":{"requestMethod":"GET","requestUrl":"https://api.example.com/a","status":200,"userAgent":"agent/1.0","remoteIp":"@IP","serverIp":"10.0.0.7"},"insertId":"x","timestamp":"2024-03-01T12:00:0@S.123456Z","receiveTimestamp":"2024-03-01T12:00:09Z"}"#,
    )
    .agent(),
    kind(
        "AWS WAF",
        "json",
        "aws-waf",
        r#"{"timestamp":170929440@S000,"formatVersion":1,"action":"ALLOW","httpSourceName":"ALB","httpRequest":{"clientIp":"@IP","country":"US","headers":[{"name":"Host","value":"api.example.com"},{"name":"User-Agent","value":"agent/1.0"}],"uri":"/a","args":"","httpVersion":"HTTP/1.1","httpMethod":"GET"}}"#,
    )
    .agent()
    .host(),
    kind(
        "AWS API Gateway JSON",
        "json",
        "json",
        r#"{"requestId":"x","ip":"@IP","requestTime":"01/Mar/2024:12:00:0@S +0000","httpMethod":"GET","path":"/a","status":"200","protocol":"HTTP/1.1","responseLength":"12"}"#,
    ),
    kind(
        "AWS API Gateway",
        "common",
        "common",
        r#"@IP - - [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200 12 f00"#,
    ),
    kind(
        "Envoy JSON",
        "json",
        "envoy-json",
        r#"{"start_time":"2024-03-01T12:00:0@S.123Z","method":"GET","path":"/a","response_code":200,"x_forwarded_for":"@IP","downstream_remote_address":"@IP:41000","authority":"api.example.com","user_agent":"agent/1.0"}"#,
    )
    .agent()
    .host(),
    kind(
        "Envoy",
        "envoy",
        "envoy",
        r#"[2024-03-01T12:00:0@S.123Z] "GET /a HTTP/1.1" 200 - 0 58 4 1 "@IP" "agent/1.0" "f21e" "api.example.com" "198.51.100.4:80""#,
    )
    .agent()
    .host(),
    kind(
        "Envoy of Istio",
        "envoy",
        "envoy",
        r#"[2024-03-01T12:00:0@S.123Z] "GET /a HTTP/1.1" 200 - via_upstream - "-" 0 58 4 1 "-" "agent/1.0" "f21e" "api.example.com" "10.0.0.7:80" inbound|80|| 127.0.0.6:1 10.0.0.7:80 @IP:0 - default"#,
    )
    .agent()
    .host(),
    kind(
        "AWS application load balancer",
        "alb",
        "alb",
        r#"https 2024-03-01T12:00:09.186641Z app/lb/490d @IP:44740 198.51.100.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://api.example.com:443/a HTTP/1.1" "agent/1.0" ECDHE TLSv1.2 arn:aws:x "Root=1-0" "api.example.com" "-" 0 2024-03-01T12:00:0@S.100000Z "forward" "-" "-" "-" "-" "-" "-""#,
    )
    .agent(),
    kind(
        "AWS classic load balancer",
        "elb",
        "elb",
        r#"2024-03-01T12:00:0@S.186641Z lb @IP:44740 198.51.100.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://api.example.com:443/a HTTP/1.1" "agent/1.0" ECDHE TLSv1.2"#,
    )
    .agent(),
    kind(
        "AWS S3",
        "s3",
        "s3",
        r#"79a5 bucket [01/Mar/2024:12:00:0@S +0000] @IP 79a5 3E57 REST.GET.OBJECT a "GET /a HTTP/1.1" 200 - 12 12 7 6 "-" "agent/1.0" - s9l SigV4 - AuthHeader bucket.s3.example.com TLSv1.2 - -"#,
    )
    .agent(),
    kind(
        "IIS",
        "w3c",
        "iis",
        "2024-03-01 12:00:0@S 198.51.100.1 GET /a - 443 - @IP agent/1.0 200 15",
    )
    .head("#Software: Microsoft Internet Information Services 10.0\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status time-taken\n")
    .agent(),
    kind(
        "CloudFront",
        "w3c",
        "cloudfront",
        "2024-03-01\t12:00:0@S\tFRA2\t12\t@IP\tGET\td1.example.net\t/a\t200\t-\tagent/1.0\t-\t-\tHit\tf00==\tapi.example.com",
    )
    .head("#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header\n")
    .agent(),
    kind(
        "HAProxy",
        "haproxy",
        "haproxy",
        r#"Mar  1 12:00:00 lb1 haproxy[1234]: @IP:33317 [01/Mar/2024:12:00:0@S.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /a HTTP/1.1""#,
    ),
    kind(
        "HAProxy with captures",
        "haproxy",
        "haproxy",
        r#"@IP:33317 [01/Mar/2024:12:00:0@S.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {api.example.com|agent/1.0 x} {} "GET /a HTTP/1.1""#,
    ),
    kind(
        "Heroku",
        "pairs",
        "heroku",
        r#"2024-03-01T12:00:0@S.123456+00:00 heroku[router]: at=info method=GET path="/a" host=api.example.com request_id=f00 fwd="@IP" dyno=web.1 connect=1ms service=18ms status=200 bytes=13"#,
    )
    .host(),
    kind(
        "Heroku through a drain",
        "pairs",
        "heroku",
        r#"254 <158>1 2024-03-01T12:00:0@S+00:00 host heroku router - at=info method=GET path="/a" host=api.example.com fwd="@IP" status=200"#,
    )
    .host(),
    kind("LTSV", "pairs", "ltsv", "time:[01/Mar/2024:12:00:0@S +0000]\thost:@IP\tmethod:GET\turi:/a\tstatus:200\tua:agent/1.0").agent(),
    kind(
        "squid",
        "squid",
        "squid",
        "170929440@S.123     45 @IP TCP_MISS/200 1234 GET http://api.example.com/a - HIER_DIRECT/198.51.100.7 text/html",
    ),
    kind(
        "Nginx Proxy Manager",
        "nginx-proxy-manager",
        "nginx-proxy-manager",
        r#"[01/Mar/2024:12:00:0@S +0000] - 200 200 - GET https api.example.com "/a" [Client @IP] [Length 12] [Gzip -] [Sent-to 10.0.0.7] "agent/1.0" "-""#,
    )
    .agent()
    .host(),
    kind(
        "Apache's log of TLS requests",
        "apache-ssl",
        "apache-ssl",
        r#"[01/Mar/2024:12:00:0@S +0000] @IP TLSv1.3 TLS_AES_256_GCM_SHA384 "GET /a HTTP/1.1" 12"#,
    ),
    kind(
        "AWS API Gateway, CSV",
        "api-gateway",
        "api-gateway",
        "@IP,-,-,01/Mar/2024:12:00:0@S +0000,GET,/a,HTTP/1.1,200,12,f00",
    ),
    kind(
        "AWS API Gateway, XML",
        "api-gateway",
        "api-gateway",
        "<request id=\"f0\"> <ip>@IP</ip> <caller>-</caller> <user>-</user> <requestTime>01/Mar/2024:12:00:0@S +0000</requestTime> \
         <httpMethod>GET</httpMethod> <resourcePath>/a</resourcePath> <status>200</status> <protocol>HTTP/1.1</protocol> \
         <responseLength>12</responseLength> </request>",
    ),
    kind(
        "uWSGI",
        "uwsgi",
        "uwsgi",
        "[pid: 1|app: 0|req: 1/1] @IP () {40 vars in 600 bytes} [Fri Mar  1 12:00:0@S 2024] GET /a => generated 12 bytes in 3 msecs \
         (HTTP/1.1 200) 2 headers in 70 bytes (1 switches on core 0)",
    ),
    kind("Rails", "rails", "rails", r#"Started GET "/a" for @IP at 2024-03-01 12:00:0@S +0000"#),
    kind(
        "Gorouter",
        "gorouter",
        "gorouter",
        r#"api.example.com - [2024-03-01T12:00:0@S.1Z] "GET /a HTTP/1.1" 200 0 12 "-" "agent/1.0" "@IP:1" "10.0.0.7:2" x_forwarded_for:"-" x_forwarded_proto:"https""#,
    )
    .agent()
    .host(),
    kind(
        "chi",
        "chi",
        "chi",
        r#"2024/03/01 12:00:0@S [h/f0-000001] "GET http://api.example.com/a HTTP/1.1" from @IP:51234 - 200 12B in 1.2ms"#,
    )
    .host(),
    kind("Gin", "gin", "gin", "[GIN] 2024/03/01 - 12:00:0@S |\u{1b}[97;42m 200 \u{1b}[0m|      1.2ms |      @IP |\u{1b}[97;44m GET     \u{1b}[0m \"/a\""),
    kind(
        "IIS without its comments",
        "w3c with the columns of IIS",
        "iis",
        "2024-03-01 12:00:0@S 198.51.100.1 GET /a - 443 - @IP agent/1.0 - 200 0 0 15",
    )
    .agent(),
    kind(
        "uvicorn with a time",
        "uvicorn",
        "uvicorn",
        r#"2024-03-01 12:00:0@S,250 - uvicorn.access - INFO - @IP:52342 - "GET /a HTTP/1.1" 200"#,
    ),
    kind(
        "gunicorn before uvicorn",
        "uvicorn",
        "uvicorn",
        r#"[2024-03-01 13:00:0@S +0100] [8] [INFO] @IP:52342 - "GET /a HTTP/1.1" 200"#,
    ),
    kind(
        "Caddy's console",
        "json",
        "caddy",
        "2024/03/01 12:00:0@S.250\tINFO\thttp.log.access.log0\thandled request\t{\"request\": {\"client_ip\": \"@IP\", \"method\": \"GET\", \"host\": \"api.example.com\", \"uri\": \"/a\", \"headers\": {\"User-Agent\": [\"agent/1.0\"]}}, \"status\": 200}",
    )
    .agent()
    .host(),
    kind("Python's http.server", "common", "common", r#"@IP - - [01/Mar/2024 12:00:0@S] "GET /a HTTP/1.1" 200 -"#),
];

/// What collectors put before a line, or around it.
const COLLECTORS: &[(&str, &str)] = &[
    ("docker logs -t", "2024-03-01T12:00:09.000000001Z @LINE"),
    ("CRI", "2024-03-01T12:00:09.000000001Z stdout F @LINE"),
    ("docker compose", "nginx-1  | @LINE"),
    ("docker compose with colours", "\u{1b}[36mnginx-1  |\u{1b}[0m @LINE"),
    ("syslog", "Mar  1 12:00:09 10.0.0.5 nginx[7]: @LINE"),
    ("syslog of RFC 3164 on the wire", "<190>Mar  1 12:00:09 web1 nginx: @LINE"),
    ("syslog of RFC 5424", "<190>1 2024-03-01T12:00:09.000Z web1 nginx 7 - [a@1 b=\"c\"] @LINE"),
    ("journald", "2024-03-01T12:00:09+0000 web1 nginx[7]: @LINE"),
    ("docker's json-file", "{\"log\":\"@JSON\\n\",\"stream\":\"stdout\",\"time\":\"2024-03-01T12:00:09.1Z\"}"),
    ("journald's JSON", "{\"__REALTIME_TIMESTAMP\":\"1709294409000000\",\"MESSAGE\":\"@JSON\",\"_HOSTNAME\":\"web1\"}"),
    ("Filebeat", "{\"@timestamp\":\"2024-03-01T12:00:09Z\",\"message\":\"@JSON\",\"host\":{\"name\":\"web1\"}}"),
];

#[track_caller]
fn assert_right(name: &str, log: &Path, options: &str, form: &str) {
    let answer = replay(&format!("--json --limit 2/minute -a fixed-window {options}"), &[log]);
    assert_eq!(answer.code, 0, "{name} {options}: {}", answer.stderr);
    let result = answer.json();
    let counts = ["requests", "unreadable", "odd", "refused", "distinct_keys"].map(|what| total(&result, what));
    assert_eq!(counts, [4, 0, 0, 1, 2], "{name} {options}: {result}");
    assert_eq!(refused(&result).into_iter().collect::<Vec<_>>(), [("192.0.2.10".to_owned(), 1)], "{name}");
    let first = result["keys"][0]["first_refused"].as_str().unwrap();
    assert!(first.starts_with("2024-03-01T12:00:02"), "{name}: {first}");
    assert_eq!(result["input"][0]["forms"][form], 4, "{name}: {}", result["input"][0]["forms"]);
}

#[test]
fn every_kind_is_read_by_itself_and_by_its_name() {
    for kind in KINDS {
        let log = file("access.log", kind.log());
        assert_right(kind.name, &log, "", kind.form);
        assert_right(kind.name, &log, &format!("--format {}", kind.format), kind.form);
        let only = |key: &str| {
            let result = replay_json(&format!("--limit 1/day --key {key}"), &[&log]);
            refused(&result).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(only("path"), [("/a".to_owned(), 3)], "{}", kind.name);
        assert_eq!(only("method"), [("GET".to_owned(), 3)], "{}", kind.name);
        let of = |key: &str, is_there: bool| vec![(if is_there { key } else { "(none)" }.to_owned(), 3)];
        assert_eq!(only("header:user-agent"), of("header:user-agent:agent/1.0", kind.agent), "{}", kind.name);
        if kind.host {
            assert_eq!(only("host"), of("api.example.com", true), "{}", kind.name);
        }
    }
}

#[test]
fn what_collectors_add_is_taken_off() {
    let kinds = KINDS.iter().filter(|kind| !kind.line.contains('\u{1b}') && kind.head.is_empty());
    // What has a prefix of its own would have two, and the classic load balancer's time in front is like a collector's.
    let kinds = kinds.filter(|kind| {
        !kind.name.starts_with("Heroku") && !["HAProxy", "AWS classic load balancer"].contains(&kind.name)
    });
    for kind in kinds {
        for (name, pattern) in COLLECTORS {
            let log: String = kind
                .log()
                .lines()
                .map(|line| {
                    let quoted = serde_json::to_string(line).unwrap();
                    pattern.replace("@LINE", line).replace("@JSON", &quoted[1..quoted.len() - 1]) + "\n"
                })
                .collect();
            assert_right(&format!("{} in {name}", kind.name), &file("access.log", log), "", kind.form);
        }
    }
}

#[test]
fn an_array_of_objects_is_read_as_one_an_object() {
    // As `gcloud logging read --format json` writes the log of a load balancer: the newest first.
    let entry = |client: &str, second: usize| {
        serde_json::json!({
            "httpRequest": {
                "remoteIp": client, "requestMethod": "GET", "requestUrl": "https://api.example.com/a", "status": 200,
                "userAgent": "agent/1.0", "latency": "0.012s"
            },
            "insertId": "f00", "jsonPayload": {"@type": "type.example/LoadBalancerLogEntry", "statusDetails": "a } { ] [ \" b"},
            "logName": "projects/p/logs/requests", "receiveTimestamp": "2024-03-01T12:00:09.5Z", "severity": "INFO",
            "resource": {"labels": {"zone": "global"}, "type": "http_load_balancer"},
            "timestamp": format!("2024-03-01T12:00:0{second}.123456Z"), "trace": "t"
        })
    };
    let clients = ["192.0.2.10", "192.0.2.10", "192.0.2.10", "192.0.2.11"];
    let entries: Vec<_> = clients.iter().enumerate().map(|(second, client)| entry(client, second)).rev().collect();
    let pretty = serde_json::to_string_pretty(&entries).unwrap();
    let objects: String = entries.iter().map(|entry| serde_json::to_string_pretty(entry).unwrap() + "\n").collect();
    for (name, text) in [
        ("an array", pretty.clone()),
        ("an array with other line ends", pretty.replace('\n', "\r\n")),
        ("an array on one line", serde_json::to_string(&entries).unwrap()),
        ("objects over many lines", objects),
        ("an array behind a byte order mark", format!("\u{feff}{pretty}")),
    ] {
        let log = file("log.json", &text);
        assert_right(name, &log, "", "json");
        assert_right(name, &log, "--format google-load-balancer", "json");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        assert_right(name, &file("log.json.gz", packed.finish().unwrap()), "", "json");
    }
    let user = replay_json("--limit 1/day --key header:user-agent+path", &[&file("log.json", &pretty)]);
    assert_eq!(refused(&user)["header:user-agent:agent/1.0 /a"], 3);
    // Cut off in the middle: what is whole counts, and the rest is said.
    let cut = replay_json("--limit 1/day", &[&file("log.json", &pretty[..pretty.len() - 100])]);
    assert_eq!((total(&cut, "requests"), total(&cut, "unreadable")), (3, 1));
}

#[test]
fn what_is_missing_on_a_line_is_said_with_what_helps() {
    let uvicorn = "INFO:     192.0.2.10:52342 - \"GET /a HTTP/1.1\" 200 OK\n";
    for options in ["--limit 1/day", "--limit 1/day --format uvicorn"] {
        replay(options, &[&file("uvicorn.log", uvicorn)]).fails(65, "add %(asctime)s to its log format");
    }
    let stamped = ["2024-03-01T12:00:00.5Z ", "2024-03-01T12:00:01+0000 web1 uvicorn[7]: "]
        .map(|stamp| format!("{stamp}{uvicorn}"));
    let result = replay_json("--limit 1/day", &[&file("uvicorn.log", stamped.concat())]);
    assert_eq!((total(&result, "requests"), refused(&result)["192.0.2.10"]), (2, 1));
    assert_eq!(result["totals"]["first"], "2024-03-01T12:00:00.5Z");
    let columns = "2024-03-01 12:00:00 GET /a 192.0.2.10 200\n";
    replay("--limit 1/day", &[&file("iis.log", columns)]).fails(65, "put the comment of the log in front");
    let caddy = "2024/03/01 12:00:00.250\tINFO\thttp.log.access\thandled request\t{\"request\": {\"remote_ip\": \"192.0.2.1\", \"uri\": \"/a\"}}\n";
    let result = replay_json("--limit 1/day --timezone +02:00", &[&file("caddy.log", caddy)]);
    assert_eq!((total(&result, "without_zone"), &result["totals"]["first"]), (1, &"2024-03-01T10:00:00.25Z".into()));
}

#[test]
fn a_format_of_ones_own() {
    let lines = |line: &str| kind("", "", "", "").head("").with(line);
    for (format, line) in [
        (
            r#"$remote_addr | $time_iso8601 | "$request" | $status"#,
            r#"@IP | 2024-03-01T12:00:0@S+00:00 | "GET /a HTTP/1.1" | 200"#,
        ),
        ("$_|$status|$msec|$_|$remote_addr|$request_uri", "HIT|200|170929440@S.001|412|@IP|https://h/a"),
        (
            r#"%{X-Forwarded-For}i %t \"%r\" %>s"#,
            r#"203.0.113.9, @IP [01/Mar/2024:12:00:0@S +0000] "GET /a HTTP/1.1" 200"#,
        ),
        (r#"%{msec}t,%a,%m,%U%q"#, "170929440@S000,@IP,GET,/a?b"),
    ] {
        let log = file("access.log", lines(line));
        let result = replay_with_format(format, &log);
        assert_eq!((total(&result, "requests"), total(&result, "refused")), (4, 1), "{format}");
        assert_eq!(refused(&result)["192.0.2.10"], 1, "{format}");
        assert_eq!(result["input"][0]["forms"]["the given format"], 4);
    }
    replay("--limit 1/s --format apach", &[Path::new("x")]).fails_usage("there is no such form; known are common,");
    replay("--limit 1/s --format $status", &[Path::new("x")]).fails_usage("it has no time");
}

impl Kind {
    fn with(&self, line: &str) -> String {
        let clients = ["192.0.2.10", "192.0.2.10", "192.0.2.10", "192.0.2.11"];
        let line =
            |(second, client): (usize, &&str)| line.replace("@IP", client).replace("@S", &second.to_string()) + "\n";
        clients.iter().enumerate().map(line).collect()
    }
}

fn replay_with_format(format: &str, log: &Path) -> serde_json::Value {
    let options = ["replay", "--json", "--limit", "2/minute", "-a", "fixed-window", "--format", format];
    crate::tool::run(options.iter().map(Path::new).chain([log])).json()
}

#[test]
fn fields_of_json_where_somebody_says() {
    let line = r#"{"at":"2024-03-01T12:00:0@S","who":{"addr":"@IP","ip":"203.0.113.9"},"time":"x","ip":"203.0.113.9","t":"/a","v":"POST"}"#;
    let log = file("access.log", kind("", "", "", "").with(line));
    let options = "--field time=at,client=who.addr --field path=t --field method=v";
    assert_right("fields", &log, options, "json");
    let result = replay_json(&format!("--limit 1/day --key method+path {options}"), &[&log]);
    assert_eq!(refused(&result)["POST /a"], 3);
    for (field, why) in [("client", "is no field"), ("who=x", "is no field"), ("time=", "is no field")] {
        replay(&format!("--limit 1/s --field {field}"), &[&log]).fails(2, why);
    }
}

#[test]
fn lists_of_addresses_are_read_from_the_right() {
    let list = "192.0.2.1@S, 192.0.2.7, 198.51.100.1";
    let lines = |line: &str| (0..3).map(|second| line.replace("@S", &second.to_string()) + "\n").collect::<String>();
    let common = lines(&format!("{list} - - [01/Mar/2024:12:00:0@S +0000] \"GET /a HTTP/1.1\" 200 12"));
    let json =
        lines(&format!("{{\"ClientHost\":\"{list}\",\"StartUTC\":\"2024-03-01T12:00:0@SZ\",\"RequestPath\":\"/a\"}}"));
    let main = lines(&format!(
        "198.51.100.1 - - [01/Mar/2024:12:00:0@S +0000] \"GET /a HTTP/1.1\" 200 12 \"-\" \"-\" \"{}\"",
        "192.0.2.1@S, 192.0.2.7"
    ));
    // IIS and CloudFront write no blanks in a column.
    let columns = |blank: &str| {
        let fields = "#Fields: date time c-ip cs-method cs-uri-stem X-Forwarded-For\n";
        let line = format!("2024-03-01 12:00:0@S 198.51.100.1 GET /a 192.0.2.1@S,{blank}192.0.2.7");
        fields.to_owned() + &lines(&line)
    };
    let (iis, cloudfront) = (columns("+"), columns("%20"));
    for (text, lists) in [(common, 3), (json, 3), (main, 0), (iis, 0), (cloudfront, 0)] {
        let log = file("access.log", text);
        let keys = |options: &str| {
            let result = replay_json(&format!("--limit 1/day {options}"), &[&log]);
            assert_eq!(total(&result, "lists"), lists);
            refused(&result).into_iter().collect::<Vec<_>>()
        };
        let of = |key: &str| vec![(key.to_owned(), 2)];
        assert_eq!(keys(""), of("198.51.100.1"));
        assert_eq!(keys("--trusted nobody"), of("198.51.100.1"));
        assert_eq!(keys("--trusted 198.51.100.0/24"), of("192.0.2.7"));
        assert_eq!(keys("--trusted 198.51.100.0/24,192.0.2.7"), []);
        let report = replay("--limit 1/day", &[&log]).ok().stdout;
        assert_eq!(report.contains("3 requests with a list of addresses"), lists > 0, "{report}");
        let config = file(
            "t.yaml",
            "client: {from: x-forwarded-for, trusted: 198.51.100.0/24}\npolicies:\n  - {name: default, limits: 1/day}\n",
        );
        let result = replay_json(&format!("--config {}", config.display()), &[&log]);
        assert_eq!(refused(&result).into_iter().collect::<Vec<_>>(), of("192.0.2.7"));
    }
}

#[test]
fn who_cannot_be_told_is_said() {
    let line = |client: &str| format!("{client} - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200 12\n");
    let log = file("access.log", [line("one.example"), line("two.example"), line("192.0.2.1"), line("-")].concat());
    let report = flat(&replay("--limit 9/day", &[&log]).ok().stdout);
    assert!(
        report.contains("3 requests without the address of a client, but for example `one.example`, `two.example`"),
        "{report}"
    );
    assert!(!report.contains("Nobody would be limited"), "{report}");
    assert!(report.contains("who the client was is not known of 3 requests (75.0 %)"), "{report}");
    let site = r#"{"time":"2024-03-01T12:00:00Z","host":"www.example.com","path":"/a"}"#;
    let result = replay_json("--limit 1/day", &[&file("host.log", format!("{site}\n{site}\n"))]);
    assert_eq!(refused(&result)["(none)"], 1);
}

#[test]
fn times_without_a_zone_are_said_and_can_be_given_one() {
    let text = kind("", "", "", "").with(r#"@IP - - [01/Mar/2024 12:00:0@S] "GET /a HTTP/1.1" 200 -"#);
    let log = file("access.log", text);
    let first = |options: &str| replay_json(&format!("--limit 1/day {options}"), &[&log])["totals"]["first"].clone();
    assert_eq!(first(""), "2024-03-01T12:00:00Z");
    assert_eq!(first("--timezone +02:00"), "2024-03-01T10:00:00Z");
    assert_eq!(first("--timezone -0530"), "2024-03-01T17:30:00Z");
    let report = replay("--limit 1/day", &[&log]).ok().stdout;
    assert!(report.contains("4 times without a zone: taken as UTC"), "{report}");
    replay("--limit 1/day --timezone Nowhere/Land", &[&log]).fails_usage("is no time zone");
}

#[test]
fn most_lines_decide_and_the_others_are_counted() {
    let haproxy = KINDS.iter().find(|kind| kind.name == "HAProxy").unwrap().log();
    let common = KINDS[0].log();
    let log = file("access.log", format!("{haproxy}nonsense\n{common}[01/Mar/2024:12:00:00.1] x\n{haproxy}"));
    let result = replay_json("--limit 1/day", &[&log]);
    assert_eq!((total(&result, "requests"), total(&result, "unreadable")), (12, 2));
    assert_eq!(result["input"][0]["forms"], serde_json::json!({"haproxy": 8, "common": 4}));
    let report = replay("--limit 1/day", &[&log]).ok().stdout;
    assert!(report.contains("read as haproxy (8), common (4)"), "{report}");
    let strict = replay_json("--limit 1/day --format haproxy", &[&log]);
    assert_eq!((total(&strict, "requests"), total(&strict, "unreadable")), (8, 6));
}

#[test]
fn haproxy_tells_the_port_behind_an_address_of_version_6() {
    let line = "2001:db8:1:2::5:33317 [01/Mar/2024:12:00:00.655] in static/s1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 \
                {h.example} {} \"GET /a HTTP/1.1\"\n";
    let result = replay_json("--limit 1/day", &[&file("haproxy.log", line.repeat(3))]);
    assert_eq!(refused(&result).into_iter().collect::<Vec<_>>(), [("2001:db8:1:2::/64".to_owned(), 2)]);
    assert_eq!(result["input"][0]["forms"], serde_json::json!({"haproxy": 3}));
}
