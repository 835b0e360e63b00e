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
    // Exports.
    twist("records of Azure", "{\"records\":[{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"},{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}]}\n", ONE).counts(2, 0),
    twist("Records of CloudTrail, over many lines", "{\n  \"Records\": [\n    {\n      \"eventTime\": \"2024-03-01T12:00:00Z\",\n      \"sourceIPAddress\": \"192.0.2.10\",\n      \"eventName\": \"GetObject\"\n    }\n  ]\n}\n", ONE),
    twist("records without line ends", "{\"Records\":[{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"},{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}]}{\"Records\":[{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}]}", ONE).counts(3, 0),
    twist("a value that is a list, and one that is none", "{\"@odata.context\":\"x\",\"value\":[{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}]}\n{\"value\":{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}}\n", ONE).counts(2, 0),
    twist("lines in an export of CloudWatch", "{\"messageType\":\"DATA_MESSAGE\",\"subscriptionFilters\":[\"x\"],\"logEvents\":[{\"id\":\"1\",\"timestamp\":1709294409000,\"message\":\"192.0.2.10 - - @T \\\"GET /a HTTP/1.1\\\" 200 1\"}]}\n", ONE),
    twist("what a search found", "{\"took\":1,\"hits\":{\"total\":{\"value\":1},\"hits\":[{\"_index\":\"x\",\"_source\":{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}}]}}\n", ONE),
    twist("a list of a request", "{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\",\"events\":[{\"name\":\"x\"}]}\n", ONE),
    twist("objects on one line, as Firehose leaves them", "{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}", ONE).counts(3, 0),
    twist("an object whose first line has a part of it", "{ \"time\": \"2024-03-01T12:00:00Z\",\n  \"ip\": \"192.0.2.10\",\n  \"uri\": \"/a\" }\n", ONE),
    twist("an object over many lines that is cut off", "{\n \"time\": \"2024-03-01T12:00:00Z\",\n \"ip\": \"192.0.2.10\",\n \"uri\": \"/a\"\n}\n{\n \"time\": \"2024\n{\n \"time\": \"2024-03-01T12:00:00Z\",\n \"ip\": \"192.0.2.10\"\n}\n", ONE).counts(2, 1),
    twist("wrapped once", "{\"payload\":{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}}\n{\"value\":\"{\\\"time\\\":\\\"2024-03-01T12:00:00Z\\\",\\\"ip\\\":\\\"192.0.2.10\\\",\\\"uri\\\":\\\"/a\\\"}\"}\n{\"record\":{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}}\n", ONE).counts(3, 0),
    twist("Splunk", "{\"preview\":false,\"result\":{\"_raw\":\"192.0.2.10 - - @T \\\"GET /a HTTP/1.1\\\" 200 1\",\"host\":\"web1\"}}\n", ONE),
    twist("Graylog", "{\"version\":\"1.1\",\"host\":\"web1\",\"short_message\":\"192.0.2.10 - - @T \\\"GET /a HTTP/1.1\\\" 200 1\",\"timestamp\":1709294409.1}\n", ONE),
    twist("App Service: an object in a text", "{\"time\":\"2024-03-01T12:00:00Z\",\"properties\":\"{\\\"CsMethod\\\":\\\"GET\\\",\\\"CIp\\\":\\\"192.0.2.10\\\",\\\"CsUriStem\\\":\\\"/a\\\"}\"}\n", ONE),
    twist("App Engine", "{\"protoPayload\":{\"ip\":\"192.0.2.10\",\"startTime\":\"2024-03-01T12:00:00Z\",\"method\":\"GET\",\"resource\":\"/a\",\"status\":200},\"timestamp\":\"2024-03-01T12:00:09Z\"}\n", ONE),
    twist("API Gateway: CSV and XML", "192.0.2.10,-,-,01/Mar/2024:12:00:00 +0000,GET,/a,HTTP/1.1,200,12,f00\n<request id=\"f\"> <ip>192.0.2.10</ip> <caller>-</caller> <user>-</user> <requestTime>01/Mar/2024:12:00:00 +0000</requestTime> <httpMethod>GET</httpMethod> <resourcePath>/a</resourcePath> <status>200</status> <protocol>HTTP/1.1</protocol> <responseLength>12</responseLength> </request>\n", ONE).counts(2, 0),
    twist("a function of AWS", "{\"requestContext\":{\"http\":{\"method\":\"GET\",\"path\":\"/a\",\"sourceIp\":\"192.0.2.10\"},\"timeEpoch\":1709294400000}}\n", ONE),
    twist("Vercel", "{\"timestamp\":1709294400000,\"host\":\"h\",\"path\":\"/a\",\"proxy\":{\"method\":\"GET\",\"clientIp\":\"192.0.2.10\"}}\n", ONE),
    twist("a sequence of JSON, and zeros of logrotate", "\u{1e}{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n\0\0\0@L\n", ONE).counts(2, 0),
    twist("a list of one address", "{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":[\"192.0.2.10\"],\"path\":\"/a\"}\n", ONE),
    twist("date and time apart", "{\"date\":\"2024-03-01\",\"time\":\"12:00:00\",\"c-ip\":\"192.0.2.10\",\"cs-uri-stem\":\"/a\"}\n", ONE),
    twist("a date of MongoDB", "{\"time\":{\"$date\":\"2024-03-01T12:00:00Z\"},\"ip\":\"192.0.2.10\"}\n{\"time\":{\"$date\":1709294400000},\"ip\":\"192.0.2.10\"}\n", ONE).counts(2, 0),
    // Days of W3C logs.
    twist("the day in a comment", "#Date: 2024-03-01 00:00:00\n#Fields: time c-ip cs-method cs-uri-stem\n12:00:00 192.0.2.10 GET /a\n", ONE),
    twist("the day in a comment behind the columns", "#Fields: time c-ip cs-method cs-uri-stem\n#Date: 2024-03-01T11:00:00Z\n12:00:00 192.0.2.10 GET /a\n", ONE),
    twist("over midnight", "#Date: 2024-02-29 23:59:00\n#Fields: time c-ip cs-method cs-uri-stem\n23:59:59 192.0.2.10 GET /a\n00:00:01 192.0.2.10 GET /a\n", ONE).counts(2, 0).first("2024-02-29T23:59:59"),
    twist("columns behind syslog", "Mar  1 12:00:00 web1 iis: #Fields: date time c-ip cs-method cs-uri-stem\nMar  1 12:00:00 web1 iis: 2024-03-01 12:00:00 192.0.2.10 GET /a\n", ONE),
    // Other times and words in the Common Log Format.
    twist("times of nginx in brackets", "192.0.2.10 - - [2024-03-01T12:00:00+00:00] @R\n192.0.2.10 - - [1709294400.000] @R\n192.0.2.10 - - [Fri Mar 01 12:00:00 2024] @R\n", ONE).counts(3, 0),
    twist("an address of a collector before the name of a program", "2024-03-01 12:00:09 10.0.0.5 nginx: @L\n1 2024-03-01T12:00:09Z 10.0.0.5 nginx - - - @L\n", ONE).counts(2, 0),
    twist("a list in quotes in front", "\"192.0.2.10\" 198.51.100.1 - - @T @R\n", ONE),
    twist("Werkzeug through logging", "INFO:werkzeug:192.0.2.10 - - [01/Mar/2024 12:00:00] \"GET /a HTTP/1.1\" 200 -\n", ONE),
    twist("blanks in front", "   @L\n", ONE),
    // Words of collectors that are not known.
    twist("kubectl", "[pod/nginx-5d/nginx] @L\n[pod/nginx-5d/nginx] {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n[pod/nginx-5d/nginx] [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n[pod/nginx-5d/nginx] 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("stern", "nginx-5d9 nginx @L\nnginx-5d9 nginx {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\nnginx-5d9 nginx [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\nnginx-5d9 nginx 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("logcli", "2024-03-01T12:00:09Z {app=\"nginx\", pod=\"x\"} @L\n2024-03-01T12:00:09Z {app=\"nginx\", pod=\"x\"} {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n2024-03-01T12:00:09Z {app=\"nginx\", pod=\"x\"} [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n2024-03-01T12:00:09Z {app=\"nginx\", pod=\"x\"} 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("the clock of the kernel", "[   12.345678] web1 nginx[7]: @L\n[   12.345678] web1 nginx[7]: {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n[   12.345678] web1 nginx[7]: [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n[   12.345678] web1 nginx[7]: 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("PM2", "0|app  | @L\n0|app  | {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n0|app  | [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n0|app  | 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("supervisor", "2024-03-01 12:00:09,123 DEBG 'nginx' stdout output: @L\n2024-03-01 12:00:09,123 DEBG 'nginx' stdout output: {\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"uri\":\"/a\"}\n2024-03-01 12:00:09,123 DEBG 'nginx' stdout output: [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n2024-03-01 12:00:09,123 DEBG 'nginx' stdout output: 192.0.2.10:33317 [01/Mar/2024:12:00:00.655] in st/s1 1/0/3/6/10 200 2 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n", ONE).counts(4, 0),
    twist("an address of syslog before a line of Envoy", "Mar  1 12:00:09 10.0.0.5 envoy[7]: [2024-03-01T12:00:00Z] \"GET /a HTTP/1.1\" 200 - 0 58 4 1 \"192.0.2.10\" \"x\" \"f\" \"h\" \"10.1.0.4:80\"\n", ONE),
    // Others.
    twist("uWSGI", "[pid: 1|app: 0|req: 1/1] 192.0.2.10 () {40 vars in 600 bytes} [Fri Mar  1 12:00:00 2024] GET /a => generated 12 bytes in 3 msecs (HTTP/1.1 200) 2 headers in 70 bytes (1 switches on core 0)\n", ONE),
    twist("Rails", "I, [2024-03-01T12:00:09.123456 #1]  INFO -- : [f00] Started GET \"/a\" for 192.0.2.10 at 2024-03-01 12:00:00 +0000\n", ONE),
    twist("Gorouter", "h - [2024-03-01T12:00:00.123456789Z] \"GET /a HTTP/1.1\" 200 0 12 \"-\" \"curl\" \"198.51.100.1:1\" \"10.0.0.1:2\" x_forwarded_for:\"192.0.2.10, 198.51.100.1\" x_forwarded_proto:\"https\"\n", ONE).with(TRUSTED),
    twist("chi", "2024/03/01 12:00:00 [host/abc-000001] \"GET http://h/a HTTP/1.1\" from 192.0.2.10:51234 - 200 12B in 1.2ms\n", ONE),
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
fn a_time_of_day_without_a_day_is_unreadable() {
    let log = "192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200 1\n#Fields: time c-ip cs-method cs-uri-stem\n12:00:00 192.0.2.10 GET /a\n";
    let result = replay_json("--limit 1/week", &[&file("w3c.log", log)]);
    assert_eq!(["requests", "unreadable"].map(|what| total(&result, what)), [1, 1], "{result}");
    assert_eq!(result["unreadable"][0]["reason"], "a time of day alone, and no `#Date` comment before it says the day");
}

#[test]
fn text_of_two_bytes_a_character_is_read() {
    let text = "\u{feff}#Fields: date time c-ip cs-method cs-uri-stem\r\n2024-03-01 12:00:00 192.0.2.10 GET /é\r\n";
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let log: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
        let result = replay_json("--limit 1/week -k ip+path", &[&file("a.log", &log), &file("b.log", &log)]);
        assert_eq!(["requests", "unreadable", "refused"].map(|what| total(&result, what)), [2, 0, 1], "{result}");
        assert_eq!(refused(&result)["192.0.2.10 /%c3%a9"], 1, "{result}");
    }
}

/// An export of a day is one line, and longer than any line may be.
#[test]
fn a_list_may_be_longer_than_a_line() {
    let one = format!("{{\"time\":\"2024-03-01T12:00:00Z\",\"ip\":\"192.0.2.10\",\"pad\":\"{}\"}}", "x".repeat(1_000));
    let log = format!("{{\"Records\":[{}]}}", vec![one; 3_000].join(","));
    let result = replay_json("--limit 1/week", &[&file("export.json", log)]);
    assert_eq!(["requests", "unreadable"].map(|what| total(&result, what)), [3_000, 0]);
}

/// Formats as they stand in configurations, and fields with blanks in them and nothing around.
#[test]
fn formats_as_people_have_them() {
    for (format, line, first) in [
        (
            "$remote_addr $time_local $status $request_method $request_uri",
            "192.0.2.10 01/Mar/2024:13:00:00 +0100 200 GET /a",
            NOON,
        ),
        (
            "$remote_addr [$time_local] $request $status",
            "192.0.2.10 [01/Mar/2024:12:00:00 +0000] GET /a HTTP/1.1 200",
            NOON,
        ),
        ("%h %{%Y-%m-%d %H:%M:%S}t %m %U", "192.0.2.10 2024-03-01 12:00:00 GET /a", NOON),
        (
            "%h %{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t \"%r\"",
            "192.0.2.10 01/Mar/2024 13:00:00.123 +0100 \"GET /a HTTP/1.1\"",
            NOON,
        ),
        (
            "'$remote_addr - $remote_user [$time_local] '\n  '\"$request\" $status'",
            "192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200",
            NOON,
        ),
        (
            "log_format main '$remote_addr - $remote_user [$time_local] '\n  '\"$request\" $status';",
            "192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200",
            NOON,
        ),
        (
            "LogFormat \"%h %l %u %t \\\"%r\\\" %>s\" common",
            "192.0.2.10 - - [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200",
            NOON,
        ),
        (
            "$remote_addr [$time_local] \"$request\"",
            "Mar  1 12:00:09 web1 nginx: 192.0.2.10 [01/Mar/2024:12:00:00 +0000] \"GET /a HTTP/1.1\"",
            NOON,
        ),
    ] {
        let log = file("access.log", format!("{line}\n{line}\n"));
        let options = ["replay", "--json", "--limit", "1/week", "--key", "ip+path", "--format", format];
        let result = crate::tool::run(options.iter().map(std::path::Path::new).chain([log.as_path()])).json();
        assert_eq!(
            refused(&result).into_iter().collect::<Vec<_>>(),
            [("192.0.2.10 /a".to_owned(), 1)],
            "{format}: {result}"
        );
        assert!(result["totals"]["first"].as_str().unwrap().starts_with(first), "{format}: {result}");
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
