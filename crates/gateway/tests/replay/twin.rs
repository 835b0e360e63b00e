//! The program against the library driven by hand, on random logs and random policies: the same counts, and the same
//! refusals of every key.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tollgate::Algorithm;
use tollgate::clock::{Instant, ManualClock};
use tollgate_http::limiter::AsyncKeys;
use tollgate_http::request::RequestParts;
use tollgate_http::{Charge, Decision, LimiterConfig, Policy, Precedence, RateLimiter, Route, Tiers};

use crate::tool::{file, replay};

const START: u64 = 1_700_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one<'o>(&mut self, of: &[&'o str]) -> &'o str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// One request of the log.
struct Logged {
    millis: u64,
    client: IpAddr,
    method: &'static str,
    target: String,
    host: &'static str,
    plan: Option<&'static str>,
    key: Option<String>,
    status: u16,
}

impl Logged {
    fn new(random: &mut Random) -> Self {
        let client = match random.below(4) {
            0 => format!("2001:db8:0:{}::{}", random.below(2), random.below(9)),
            _ => format!("192.0.2.{}", random.below(4)),
        };
        let path = random.one(&["/", "/login", "/login/", "//login", "/api/a", "/api/b", "/static/x", "/%6cogin"]);
        let query = random.one(&["", "?a=b", "?next=http://h/x"]);
        Self {
            millis: random.below(900_000),
            client: client.parse().unwrap(),
            method: random.one(&["GET", "GET", "POST"]),
            target: format!("{path}{query}"),
            host: random.one(&["a.example", "B.example:80"]),
            plan: [None, Some("gold"), Some("unknown")][usize::try_from(random.below(3)).unwrap()],
            key: (random.below(2) == 0).then(|| format!("k{}", random.below(3))),
            status: [200, 200, 401, 503][usize::try_from(random.below(4)).unwrap()],
        }
    }

    fn line(&self) -> String {
        let mut headers = serde_json::Map::new();
        headers.insert("Host".to_owned(), self.host.into());
        headers.extend(self.plan.map(|plan| ("X-Plan".to_owned(), plan.into())));
        headers.extend(self.key.as_ref().map(|key| ("X-Api-Key".to_owned(), key.as_str().into())));
        let line = serde_json::json!({
            "time": START * 1_000 + self.millis, "remote_ip": self.client.to_string(), "method": self.method,
            "uri": self.target, "headers": headers, "status": self.status,
        });
        format!("{line}\n")
    }
}

/// A policy, for the file and for the library.
fn policy(random: &mut Random, name: &str) -> (String, Policy) {
    let algorithm = ["token-bucket", "leaky-bucket", "leaky-queue", "fixed-window", "sliding-window", "sliding-log"];
    let algorithm = random.one(&algorithm);
    let limits = random.one(&["3/minute", "5 per 2 minutes, 9 per 10 minutes", "2/10s", "40/hour"]);
    let key = random.one(&["ip", "header:x-api-key | ip", "path+method", "host", "all", "header:x-api-key+ip"]);
    let parsed: Algorithm = algorithm.parse().unwrap();
    let mut policy = Policy::new(name, limits).unwrap().key(key.parse().unwrap());
    let mut text = format!("- name: {name}\n  limits: {limits}\n  algorithm: {algorithm}\n  key: '{key}'\n");
    if random.below(2) == 0 {
        text.push_str("  tiers: {by: 'header:x-plan', limits: {gold: 20/minute}}\n");
        policy = policy.tiers(Tiers::by_header("x-plan".parse().unwrap()).tier("gold", "20/minute").unwrap());
    }
    policy = policy.algorithm(parsed);
    let path = random.one(&["", "/login", "/api/*"]);
    if !path.is_empty() {
        writeln!(text, "  match: {{path: {path}}}").unwrap();
        policy = policy.on(Route::any().path(path).unwrap());
    }
    if random.below(3) == 0 {
        text.push_str("  always: true\n");
        policy = policy.precedence(Precedence::Always);
    }
    if random.below(4) == 0 {
        text.push_str("  shadow: true\n");
        policy = policy.shadow(true);
    }
    if random.below(3) == 0 {
        text.push_str("  exempt: ['path:/static/*', 192.0.2.3]\n");
        policy = policy.exempt("path:/static/*".parse().unwrap()).exempt("192.0.2.3".parse().unwrap());
    }
    let cost = 1 + random.below(2);
    writeln!(text, "  cost: {cost}").unwrap();
    policy = policy.cost(cost);
    match random.below(4) {
        0 => {
            text.push_str("  charge: {only_on: '401'}\n");
            policy = policy.charge(Charge::OnlyOn("401".parse().unwrap()));
        }
        // Not of queues: a turn does not come back while somebody waits under the same mark, and which keys share one differs from process
        // to process (`src/marks.rs` of the engine). So two runs of either side may differ.
        1 if parsed != Algorithm::LeakyQueue => {
            text.push_str("  charge: {refund_on: 5xx}\n");
            policy = policy.charge(Charge::RefundOn("5xx".parse().unwrap()));
        }
        _ => {}
    }
    (text, policy)
}

/// Totals as the program counts them, then for each policy what it allowed, refused, would have refused and exempted.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    delayed: u64,
    refused: u64,
    policies: BTreeMap<String, [u64; 4]>,
}

fn by_hand(settings: LimiterConfig, log: &[Logged]) -> Counts {
    let clock = ManualClock::new(Instant::from_secs(START));
    let limiter = RateLimiter::with_clock(settings.capacity(100_000), clock).unwrap();
    let mut counts = Counts { passed: 0, delayed: 0, refused: 0, policies: BTreeMap::new() };
    let mut log: Vec<&Logged> = log.iter().collect();
    log.sort_by_key(|logged| logged.millis);
    for logged in log {
        let now = Instant::from_nanos((START * 1_000 + logged.millis) * 1_000_000);
        limiter.clock().set(now);
        let (method, uri): (Method, Uri) = (logged.method.parse().unwrap(), logged.target.parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static(logged.host));
        // Fields that no rule asks for make no difference.
        headers.insert("accept", HeaderValue::from_static("*/*"));
        if let Some(plan) = logged.plan {
            headers.insert("x-plan", HeaderValue::from_static(plan));
        }
        if let Some(key) = &logged.key {
            headers.insert("x-api-key", key.parse().unwrap());
        }
        let extensions = Extensions::new();
        let info = RequestParts::new(&method, &uri, &headers, &extensions, Some(logged.client));
        match limiter.check_at(&info, &AsyncKeys::default(), now) {
            Decision::Refused(_) => counts.refused += 1,
            Decision::Admitted(mut admission) => {
                *(if admission.wait().is_zero() { &mut counts.passed } else { &mut counts.delayed }) += 1;
                admission.settle(StatusCode::from_u16(logged.status).unwrap());
            }
        }
    }
    for view in limiter.policies(0) {
        let of = view.counts;
        counts.policies.insert(view.name, [of.allowed, of.refused, of.shadow_refused, of.exempt]);
    }
    counts
}

fn by_program(config: &str, log: &[Logged]) -> Counts {
    let config = file("tollgate.yaml", config);
    let log = file("log.json", log.iter().map(Logged::line).collect::<String>());
    let result = replay(&format!("--json --config {}", config.display()), &[&log]).json();
    let total = |name: &str| result["totals"][name].as_u64().unwrap();
    let mut counts = Counts {
        passed: total("allowed") + total("exempt"),
        delayed: total("delayed"),
        refused: total("refused"),
        policies: BTreeMap::new(),
    };
    for policy in result["policies"].as_array().unwrap() {
        let of = ["allowed", "refused", "shadow_refused", "exempt"].map(|name| policy[name].as_u64().unwrap());
        let name = policy["policy"].as_str().unwrap();
        // The keys of a policy hold all that it refused.
        for (list, field, count) in [("keys", "refused", of[1]), ("shadow_keys", "shadow_refused", of[2])] {
            let whose = |key: &serde_json::Value| key["policy"].as_str().unwrap().split('/').next() == Some(name);
            let keys = result[list].as_array().unwrap().iter().filter(|key| whose(key));
            assert_eq!(keys.map(|key| key[field].as_u64().unwrap()).sum::<u64>(), count, "{list} of {name}");
        }
        counts.policies.insert(name.to_owned(), of);
    }
    for gone in ["evictions", "refused_full", "untracked"] {
        assert_eq!(result["engine"][gone], 0, "{gone}");
    }
    counts
}

#[test]
fn the_program_and_the_library_count_alike() {
    let mut seen = [0; 4];
    for seed in 0..40 {
        let mut random = Random(seed);
        let log: Vec<Logged> = (0..400).map(|_| Logged::new(&mut random)).collect();
        let mut config = "policies:\n".to_owned();
        let mut settings = LimiterConfig::new();
        for number in 0..=random.below(4) {
            let (text, policy) = policy(&mut random, &format!("p{number}"));
            config.push_str(&text);
            settings = settings.policy(policy);
        }
        let (expected, found) = (by_hand(settings, &log), by_program(&config, &log));
        assert_eq!(found, expected, "seed {seed}:\n{config}");
        for (seen, count) in seen.iter_mut().zip([
            expected.delayed,
            expected.refused,
            expected.policies.values().map(|of| of[2]).sum(),
            expected.policies.values().map(|of| of[3]).sum(),
        ]) {
            *seen += count;
        }
    }
    assert!(seen.iter().all(|count| *count > 300), "{seen:?}: delays, refusals, shadows and exemptions come up");
}
