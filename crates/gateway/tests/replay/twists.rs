//! Lines as they are in the wild: of known kinds, and not as their manuals have them.

use crate::tool::{file, flat, refused, replay, replay_json, total};

/// A log and what it must come to. In it `@T` stands for 1 March 2024, 12:00 UTC, as in the Common Log Format, `@R` for a request with its
/// answer as in the Combined one, and `@L` for the whole line of 192.0.2.10.
struct Twist {
    name: &'static str,
    options: &'static str,
    log: &'static str,
    /// Each key that it has, in order.
    keys: &'static [&'static str],
    requests: u64,
    unreadable: u64,
    /// When the first request came.
    first: &'static str,
}

const NOON: &str = "2024-03-01T12:00:00";
const ONE: &[&str] = &["192.0.2.10"];
const SIX: &[&str] = &["2001:db8:1:2::/64"];
const LOCAL: &[&str] = &["fe80::/64"];

const fn twist(name: &'static str, log: &'static str, keys: &'static [&'static str]) -> Twist {
    Twist { name, options: "", log, keys, requests: 1, unreadable: 0, first: NOON }
}

impl Twist {
    const fn with(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }

    const fn counts(mut self, requests: u64, unreadable: u64) -> Self {
        (self.requests, self.unreadable) = (requests, unreadable);
        self
    }

    const fn first(mut self, first: &'static str) -> Self {
        self.first = first;
        self
    }
}

const TRUSTED: &str = "--trusted 198.51.100.0/24";

const TWISTS: &[Twist] = &[
    // Addresses.
    twist("a port behind brackets", "[2001:db8:1:2::5]:4711 - - @T @R\n", SIX),
    twist("a zone", "fe80::1%eth0 - - @T @R\n", LOCAL),
    twist("a zone in brackets, and a port", "[fe80::1%eth0]:443 - - @T @R\n", LOCAL),
    twist("mapped, and a port", "::ffff:192.0.2.10 - - @T @R\n192.0.2.10:5511 - - @T @R\n", ONE).counts(2, 0),
    twist("a user that looks like an address", "192.0.2.10 - 198.51.100.7 @T @R\n", ONE),
    twist("a user with blanks and brackets", "192.0.2.10 - \"joe [x] doe\" @T @R\n", ONE),
    twist("a virtual host of version 6", "[2001:db8::1]:443 192.0.2.10 - - @T @R\n", ONE),
    twist("an address in JSON with a zone", "{\"ts\":1709294400,\"remote_addr\":\"fe80::1%eth0\",\"uri\":\"/a\"}\n", LOCAL),
    // Lists.
    twist("blanks in the list", "198.51.100.1 - - @T @R \" 192.0.2.10 ,  198.51.100.2 \"\n", ONE).with(TRUSTED),
    twist("unknown on the left", "198.51.100.1 - - @T @R \"unknown, 192.0.2.10, 198.51.100.2\"\n", ONE).with(TRUSTED),
    twist("hidden on the left", "198.51.100.1 - - @T @R \"_hidden, 192.0.2.10, 198.51.100.2\"\n", ONE).with(TRUSTED),
    twist("a lie on the left", "198.51.100.1 - - @T @R \"' OR 1=1, 192.0.2.10\"\n", ONE).with(TRUSTED),
    twist("ports in the list", "198.51.100.1 - - @T @R \"192.0.2.10:4711, 198.51.100.2:33\"\n", ONE).with(TRUSTED),
    twist("no list", "192.0.2.10 - - @T @R \"-\"\n", ONE).with(TRUSTED),
    twist("a list in front", "_hidden, 192.0.2.99,192.0.2.10 - - @T @R\n", ONE),
    twist(
        "a list over two lines of a header",
        "{\"ts\":1709294400,\"remote_addr\":\"198.51.100.1\",\"headers\":{\"X-Forwarded-For\":[\"192.0.2.9\",\"192.0.2.10\"]},\"uri\":\"/a\"}\n",
        ONE,
    )
    .with(TRUSTED),
    twist(
        "a list alone",
        "{\"time\":\"2024-03-01T12:00:00Z\",\"host\":\"www.example.com\",\"x_forwarded_for\":\"192.0.2.10\",\"path\":\"/a\"}\n",
        ONE,
    ),
    twist(
        "a list in a column",
        "#Fields: date time c-ip cs-method cs-uri-stem X-Forwarded-For\n2024-03-01 12:00:00 198.51.100.1 GET /a 192.0.2.10,+198.51.100.3\n",
        ONE,
    )
    .with(TRUSTED),
    // Texts.
    twist("a time in the agent", "192.0.2.10 - - @T \"GET /a HTTP/1.1\" 200 1 \"-\" \"x \\\"@T\\\" y\"\n", ONE),
    twist("a quote that is not escaped", "192.0.2.10 - - @T \"GET /a HTTP/1.1\" 200 1 \"-\" \"ag\"ent\"\n", ONE),
    twist("what is missing", "192.0.2.10 - - @T \"-\" 400 0 \"-\" \"-\"\n- - - @T @R\n", &["(none)", "192.0.2.10"]).counts(2, 0),
    twist("a mark, and ends of Windows", "\u{feff}@L\r\n@L\r\n", ONE).counts(2, 0),
    twist("a NUL", "192.0.2.10 - - @T \"GET /\0 HTTP/1.1\" 200 1\n", ONE),
    twist("colours", "\u{1b}[38;5;14mweb-1 |\u{1b}[39m \u{1b}[1m192.0.2.10\u{1b}[0m - - @T @R\n", ONE),
    // Times.
    twist("half an hour", "192.0.2.10 - - [01/Mar/2024:17:30:00 +0530] @R\n192.0.2.10 - - [01/Mar/2024:08:30:00 -0330] @R\n", ONE)
        .counts(2, 0),
    twist(
        "one local time in two zones",
        "192.0.2.10 - - [01/Mar/2024:13:00:01 +0000] @R\n192.0.2.10 - - [01/Mar/2024:13:00:00 +0100] @R\n",
        ONE,
    )
    .counts(2, 0),
    twist("a leap day", "192.0.2.10 - - [29/Feb/2024:23:59:59 +0000] @R\n192.0.2.10 - - [29/Feb/2023:00:00:00 +0000] @R\n", ONE)
        .counts(1, 1)
        .first("2024-02-29T23:59:59"),
    twist(
        "numbers since 1970 of all sizes",
        "{\"ts\":1709294400.25,\"ip\":\"192.0.2.10\"}\n{\"ts\":\"1709294400.25\",\"ip\":\"192.0.2.10\"}\n\
         {\"ts\":1709294400250.5,\"ip\":\"192.0.2.10\"}\n{\"ts\":1709294400250000,\"ip\":\"192.0.2.10\"}\n\
         {\"ts\":1709294400250000000,\"ip\":\"192.0.2.10\"}\n{\"ts\":1.70929440025e9,\"ip\":\"192.0.2.10\"}\n",
        ONE,
    )
    .counts(6, 0)
    .first("2024-03-01T12:00:00.25"),
    // Load balancers.
    twist(
        "ALB: no target, and before 2018",
        "h2 2024-03-01T12:00:09.1Z app/my/50 192.0.2.10:51340 - -1 -1 -1 503 - 5 2 \"GET https://h:443/a\\\"b HTTP/2.0\" \"x \\\"y\\\"\" E T a \
         \"R\" \"-\" \"-\" 1 2024-03-01T12:00:00.5Z \"redirect\" \"https://e:80/\" \"-\" \"-\" \"-\" \"-\" \"-\"\n\
         http 2024-03-01T12:00:01.1Z app/my/50 192.0.2.10:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 \"GET http://h:80/ HTTP/1.1\" \
         \"curl\" - - arn:x \"Root=1\"\n",
        ONE,
    )
    .counts(2, 0)
    .first("2024-03-01T12:00:00.5"),
    twist(
        "ALB: no request, of version 6",
        "http 2024-03-01T12:00:00.1Z app/my/50 2001:db8:1:2::5:51340 - -1 -1 -1 460 - 0 0 \"- http://h:80- -\" \"-\" - - - \"-\" \"-\" \"-\" - \
         2024-03-01T12:00:00.1Z \"-\" \"-\" \"-\" \"-\" \"-\" \"-\" \"-\"\n",
        SIX,
    ),
    twist(
        "S3: by nobody, and its own work",
        "79a5 b @T - 79a5 3E REST.GET.OBJECT a \"GET /a HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x\" - s9\n\
         79a5 b @T 192.0.2.10 79a5 3E REST.GET.OBJECT a \"GET /a HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x \\\"y\\\"\" - s9\n\
         79a5 b @T - AmazonS3 3E S3.EXPIRE.OBJECT a \"-\" - - - 12 - - \"-\" \"-\" - s9\n",
        &["(none)", "192.0.2.10"],
    )
    .counts(2, 1),
    twist(
        "WAF: lies in the headers",
        "{\"timestamp\":1709294400123,\"action\":\"BLOCK\",\"httpRequest\":{\"clientIp\":\"192.0.2.10\",\"headers\":\
         [{\"name\":\"X-Forwarded-For\",\"value\":\"1.2.3.4\"}],\"uri\":\"/a\",\"httpMethod\":\"POST\"},\"rateBasedRuleList\":[{\"limitValue\":\"203.0.113.1\"}]}\n",
        ONE,
    ),
    twist(
        "HAProxy: no server, captures with quotes and braces, of the HTTPS log",
        "192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in~ in/<NOSRV> -1/-1/-1/-1/+0 400 187 - - PR-- 1/1/0/0/0 0/0 \"<BADREQ>\"\n\
         192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/+10 200 2 - - ---- 1/1/1/1/+1 0/0 {h|x (y; {z}) \"q\"|} {n|} \"GET /a HTTP/1.1\"\n\
         ::ffff:192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in~ st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\" 0/0/0/0/0 h/TLSv1.3/A\n",
        ONE,
    )
    .counts(3, 0),
    twist(
        "HAProxy: over a socket of the machine",
        "unix:1 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n",
        &["(none)"],
    ),
    // Columns.
    twist(
        "columns that change their order",
        "#Fields: date time c-ip cs-method cs-uri-stem sc-status\r\n2024-03-01 12:00:00 192.0.2.10 GET /a 200\r\n\
         #Software: x\r\n#Fields: sc-status cs-uri-stem cs-method c-ip time date\r\n200 /a GET 192.0.2.10 12:00:01 2024-03-01\r\n",
        ONE,
    )
    .counts(2, 0),
    twist("a zone in a column", "#Fields: date time c-ip cs-method cs-uri-stem\n2024-03-01 12:00:00.5 fe80::1%12 GET /a\n", LOCAL),
    // Collectors.
    twist("structured data with brackets and quotes", "<165>1 2024-03-01T12:00:09Z h app 1 ID [e@1 a=\"x\\]y\" b=\"\\\"q\\\"\"][p@2 c=\"d\"] \u{feff}@L\n", ONE),
    twist("RFC 5424 with nothing", "<165>1 - - - - - - @L\n", ONE),
    twist("RFC 3164 from an address of version 6", "<13>Mar  1 12:00:00 2001:db8::99 nginx: @L\n", ONE),
    twist("CRI in two pieces, and an error between", "2024-03-01T12:00:09Z stdout P 192.0.2.10 - - @T \"GET \n2024-03-01T12:00:09Z stderr F x\n2024-03-01T12:00:09Z stdout F /a HTTP/1.1\" 200 1\n", ONE)
        .counts(1, 1),
    twist("journalctl -o export", "__CURSOR=s=1\n_PID=1\nMESSAGE=@L\n\n", ONE).counts(1, 2),
    twist("journalctl -o verbose", "Fri 2024-03-01 12:00:09.000000 UTC [s=1]\n    _PID=1\n    MESSAGE=@L\n", ONE).counts(1, 2),
    twist(
        "several kinds in one file",
        "@L\n{\"time\":\"2024-03-01T12:00:00Z\",\"remote_addr\":\"192.0.2.10\",\"uri\":\"/a\"}\n\
         2024/03/01 12:00:00 [error] 7#7: *1 open() failed, client: 192.0.2.99, server: h, request: \"GET /x HTTP/1.1\"\n\
         [Fri Mar 01 12:00:00.123456 2024] [core:error] [pid 1] [client 192.0.2.99:5] AH00000: x\n\
         at=info method=GET path=\"/a\" fwd=\"192.0.2.10\" time=2024-03-01T12:00:00Z\n@L\n",
        ONE,
    )
    .counts(4, 2),
    // Others.
    twist("squid: no request", "1709294400.003      0 192.0.2.10 NONE_NONE/400 4053 - error:invalid-request - HIER_NONE/- text/html\n", ONE),
    twist("Heroku: an error", "2024-03-01T12:00:09.1+00:00 heroku[router]: at=error code=H12 desc=\"Request timeout\" method=GET path=\"/a\" fwd=\"192.0.2.10\" dyno=web.1 connect= status=503\n", ONE)
        .first("2024-03-01T12:00:09.1"),
    twist("Envoy: no request", "[2024-03-01T12:00:00.1Z] \"- - -\" 0 UF,URX 0 0 5 - \"-\" \"-\" \"-\" \"-\" \"10.1.0.1:80\"\n", &["(none)"]),
];

#[test]
fn lines_of_the_wild() {
    for Twist { name, options, log, keys, requests, unreadable, first } in TWISTS {
        let log = log.replace("@L", "192.0.2.10 - - @T @R").replace("@T", "[01/Mar/2024:12:00:00 +0000]");
        let log = log.replace("@R", "\"GET /a HTTP/1.1\" 200 12 \"-\" \"agent/1.0\"");
        // Twice, so that every client is refused.
        let log = file("access.log", log.clone() + &log);
        let result = replay_json(&format!("--limit 1/week -a fixed-window {options}"), &[&log]);
        assert_eq!(refused(&result).keys().map(String::as_str).collect::<Vec<_>>(), *keys, "{name}: {result}");
        assert_eq!(
            (total(&result, "requests"), total(&result, "unreadable")),
            (2 * requests, 2 * unreadable),
            "{name}: {result}"
        );
        let from = result["totals"]["first"].as_str().unwrap();
        assert!(from.starts_with(first), "{name}: {from}");
    }
}

#[test]
fn a_line_in_pieces_counts_once() {
    let whole = format!("192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /{} HTTP/1.1\" 200 1", "a".repeat(20_000));
    let object = |text: &str| {
        serde_json::json!({"log": text, "stream": "stdout", "time": "2024-03-01T12:00:09Z"}).to_string() + "\n"
    };
    // As Docker writes what is longer than 16 KiB; whoever writes no ends of lines writes whole ones.
    let (begin, end) = whole.split_at(16 * 1024);
    let log = [
        object(begin),
        object(&format!("{end}\n")),
        object(&whole[..50]),
        object(&format!("{whole}\n")),
        object(begin),
    ]
    .concat();
    let result = replay_json("--limit 1/week", &[&file("docker.json", log)]);
    let counts = ["lines", "requests", "pieces", "unreadable"].map(|what| total(&result, what));
    assert_eq!(counts, [5, 2, 1, 2], "{result}");
    assert_eq!(result["unreadable"][1]["reason"], "the rest of the line is missing");
    assert_eq!(refused(&result)["192.0.2.10"], 1);
    let cri = |tag: &str, text: &str| format!("2024-03-01T12:00:09Z stdout {tag} {text}\n");
    let log =
        [cri("P", &whole[..20]), cri("P:x", &whole[20..9_000]), cri("F", &whole[9_000..]), cri("F", &whole)].concat();
    let log = file("cri.log", log);
    let result = replay_json("--limit 1/week --key ip+path", &[&log]);
    assert_eq!(
        ["lines", "requests", "pieces", "limited_keys"].map(|what| total(&result, what)),
        [4, 2, 2, 1],
        "{result}"
    );
    let report = flat(&replay("--limit 1/week", &[&log]).ok().stdout);
    assert!(report.contains("2 requests, 2 joined with others"), "{report}");
}

#[test]
fn a_request_that_haproxy_has_cut_off_counts_and_is_odd() {
    let line = "192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /aaaa\n\
                192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2750 - - ---- 1/1/1/1/0 0/0 {h} {} \"GET /aaaa\n\
                192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /aaaa HTTP/1.1\"\n";
    let result = replay_json("--limit 1/week", &[&file("haproxy.log", line)]);
    assert_eq!(["requests", "odd"].map(|what| total(&result, what)), [3, 2], "{result}");
}
