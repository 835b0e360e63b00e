//! What a configuration means, for people.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tollgate::{Algorithm, OnFull, Quota};
use tollgate_http::answer::RetryForm;
use tollgate_http::client::AddressSource;
use tollgate_http::fleet::OnOutage;
use tollgate_http::{Charge, OnMissingKey, Precedence, TableMismatch, Unanswered};

use super::Config;
use super::policy::{PolicyConfig, StoreConfig, TierConfig, TierSource};
use super::table::{SharedTable, TableConfig};
use super::units::shown;
use crate::proxy::cors::Cors;
use crate::proxy::fields::OwnBody;
use crate::proxy::settings::{GroupCheck, Listen, LogFormat, LogSettings, Settings, Timeouts, XForwarded};
use crate::values::admin_listen::AdminListen;
use crate::values::listen_addr::ListenAddr;
use crate::values::output::grouped;

/// A heading, and what belongs to it in lines of a moderate width.
struct Page(String);

/// The longest line, with its indent.
const WIDTH: usize = 100;
const INDENT: &str = "  ";

impl Page {
    fn heading(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        let _ = writeln!(self.0, "{text}");
    }

    /// One paragraph, broken between words.
    fn line(&mut self, text: impl fmt::Display) {
        let mut width = 0;
        for word in text.to_string().split(' ') {
            let length = word.chars().count();
            match width {
                0 => self.0.push_str(INDENT),
                _ if width + 1 + length > WIDTH => {
                    self.0.push_str("\n    ");
                    width = INDENT.len();
                }
                _ => self.0.push(' '),
            }
            self.0.push_str(word);
            width += if width == 0 { INDENT.len() + length } else { 1 + length };
        }
        self.0.push('\n');
    }
}

impl Config {
    /// What all of it means, defaults included.
    pub fn explain(&self) -> String {
        let mut page = Page(String::new());
        self.explain_listeners(&mut page);
        self.explain_upstreams(&mut page);
        self.explain_clients(&mut page);
        self.explain_policies(&mut page);
        self.explain_answer(&mut page);
        self.explain_keeping(&mut page);
        self.explain_redis(&mut page);
        self.explain_bounds(&mut page);
        // Names and texts are the file's.
        page.0.lines().flat_map(|line| [crate::values::output::printable(line), "\n".to_owned()]).collect()
    }

    fn explain_listeners(&self, page: &mut Page) {
        page.heading("Listens on");
        for Listen { addr, mode, peer, tls, proxy_protocol } in &self.gateway.listeners {
            let scheme = if tls.is_some() { "https" } else { "http" };
            let mut text = match addr {
                ListenAddr::Net(addr) => format!("{scheme}://{addr}, {}", reach(*addr)),
                ListenAddr::Unix(_) => {
                    let peers = peer.map_or_else(
                        || "have no address, so that to limits by address they are one".to_owned(),
                        |peer| format!("count as {peer}"),
                    );
                    format!("{addr} ({scheme}), a file of mode {mode:04o}; clients {peers}")
                }
            };
            if let Some(tls) = tls {
                let _ = write!(text, ", with the certificate {} and the key {}", tls.cert.display(), tls.key.display());
            }
            if let Some(networks) = proxy_protocol {
                let _ = write!(
                    text,
                    "; connections must begin with a PROXY protocol header and come from {}",
                    list(networks, "or")
                );
            }
            page.line(format_args!("{text}."));
        }
        match self.admin {
            AdminListen::At(addr) => page.line(format_args!("Admin page and metrics: http://{addr}, {}.", reach(addr))),
            AdminListen::Default => page.line(format_args!(
                "Admin page and metrics: http://{}, {}; none if that is taken.",
                AdminListen::DEFAULT_ADDR,
                reach(AdminListen::DEFAULT_ADDR)
            )),
            AdminListen::Off => page.line("No admin page, no metrics."),
        }
        if let Some(path) = &self.control {
            page.line(format_args!(
                "Answers `tollgate keys` on the socket {}, which its own user and root may use.",
                path.display()
            ));
        }
        page.line(format_args!("Threads: {}.", self.gateway.threads));
        match &self.gateway.access_log {
            None => page.line("No access log."),
            Some(LogSettings { format, target }) => page.line(format_args!(
                "Access log: {} to {}.",
                match format {
                    LogFormat::Combined => "combined",
                    LogFormat::Json => "JSON",
                },
                target.path().display()
            )),
        }
    }

    fn explain_upstreams(&self, page: &mut Page) {
        let gateway = &self.gateway;
        page.heading("Passes requests to");
        for route in &gateway.routes {
            page.line(format_args!(
                "`{}`: {}, those for {}{}.",
                route.name,
                list(&route.upstreams, "and"),
                list(&route.places, "or"),
                match &route.check {
                    GroupCheck::Common => String::new(),
                    GroupCheck::Of(path) => format!("; its servers are asked for {path}"),
                    GroupCheck::Nothing => "; its servers are not checked".to_owned(),
                }
            ));
        }
        if !gateway.routes.is_empty() {
            page.line("Of several routes that are for a request, the one with the narrowest host has it, then the narrowest path.");
        }
        if gateway.hosts_strict {
            page.line("Hosts that no route names are answered 421.");
        }
        let most_upstreams = gateway.routes.iter().map(|route| route.upstreams.len()).max().unwrap_or(0);
        match gateway.upstreams.as_slice() {
            [] if !gateway.routes.is_empty() => page.line("What no route is for is answered 404."),
            all if !gateway.routes.is_empty() => page.line(format_args!("All else to {}.", list(all, "and"))),
            [] => page.line("a built-in echo, because no upstream is named."),
            [only] => page.line(format_args!("{only}.")),
            several => {
                page.line(format_args!("{}, whichever has the fewest requests in flight.", list(several, "and")));
            }
        }
        if gateway.upstreams.len().max(most_upstreams) > 1 {
            self.explain_health(page);
        }
        if let Some(most) = gateway.limits.upstream_connections {
            page.line(format_args!(
                "To each of them {} connections are in use at most; then others are asked, and 503 is answered if there are none.",
                grouped(most.get())
            ));
        }
        if let Some(path) = &gateway.upstream_ca {
            page.line(format_args!("Of https upstreams, those are believed that {} vouches for.", path.display()));
        }
        if !gateway.upstream_http2 {
            page.line("HTTP/1.1 is spoken to all https upstreams.");
        }
        let forwarding = &gateway.forwarding;
        page.line(format_args!(
            "Host is {}. X-Forwarded-For, -Proto and -Host {}. Via is {}.",
            if forwarding.keep_host { "what the client named" } else { "that of the upstream" },
            match forwarding.x_forwarded {
                XForwarded::Trusted if forwarding.trusted.is_empty() =>
                    "are replaced, because no proxy is trusted".to_owned(),
                XForwarded::Trusted => format!(
                    "are kept and appended to if they come from {}, and replaced otherwise",
                    list(&forwarding.trusted, "or")
                ),
                XForwarded::Append => "are kept and appended to, whoever sent them".to_owned(),
                XForwarded::Replace => "are always replaced".to_owned(),
                XForwarded::Untouched => "are passed as they come".to_owned(),
            },
            if forwarding.via { "added" } else { "not added" },
        ));
        page.line(format_args!(
            "Fields with anything but letters, digits and hyphens in their names are {}.",
            if forwarding.underscores {
                "passed on, unless they could be taken for one of the gateway's own"
            } else {
                "not passed on"
            }
        ));
    }

    fn explain_health(&self, page: &mut Page) {
        if !self.gateway.routes.is_empty() {
            page.line("Of several for the same requests, whichever has the fewest in flight.");
        }
        let health = &self.gateway.health;
        page.line(format_args!(
            "One that cannot be reached {0} times in a row is left alone for {1}; one that leaves {0} requests in a \
             row without an answer is asked last for {1}. After that one request tries it first.",
            health.failures,
            time(health.rest)
        ));
        if let Some(path) = &health.path {
            page.line(format_args!(
                "Each is asked for {path} every {}; after {} answers in a row that are not 2xx or 3xx it is left alone \
                 until one is.",
                time(health.every),
                health.failures
            ));
        }
    }

    fn explain_clients(&self, page: &mut Page) {
        page.heading("Who a client is");
        let address = &self.client.address;
        let trusted = address.trusted().to_string();
        let whom = match trusted.strip_prefix("hops:") {
            Some(hops) => format!("the last {hops} in front of this gateway, whatever their addresses"),
            None => trusted.clone(),
        };
        match address.source() {
            AddressSource::Peer => page.line("The address at the other end of the connection. No header is believed."),
            AddressSource::XForwardedFor | AddressSource::Forwarded => page.line(format_args!(
                "The rightmost address of {} that is not one of your proxies ({whom}). From any other peer the header is not read, \
                 and the address at the other end of the connection counts.",
                address.source()
            )),
            AddressSource::Header(name) => page.line(format_args!(
                "The address in `{name}`, if the connection comes from a proxy of yours ({whom}); otherwise the address \
                 at the other end of the connection."
            )),
        }
        let grouping = self.client.grouping;
        page.line(format_args!(
            "Addresses that share {} bits of IPv4 or {} bits of IPv6 are one client.",
            grouping.v4_prefix(),
            grouping.v6_prefix()
        ));
    }

    fn explain_policies(&self, page: &mut Page) {
        page.heading("Policies");
        if self.plans.is_empty() {
            page.line("None: nothing is limited.");
        }
        for plan in &self.plans {
            page.line(plan.explain());
        }
        let overrides = |plan: &&PolicyConfig| !plan.route.is_any() && plan.reach == Precedence::Override;
        let is_default = |plan: &&PolicyConfig| plan.route.is_any() && plan.reach == Precedence::Override;
        let names = |plans: Vec<&PolicyConfig>| {
            list(&plans.iter().map(|plan| format!("`{}`", plan.name)).collect::<Vec<_>>(), "and")
        };
        let defaults: Vec<&PolicyConfig> = self.plans.iter().filter(is_default).collect();
        let routed: Vec<&PolicyConfig> = self.plans.iter().filter(overrides).collect();
        if !defaults.is_empty() && !routed.is_empty() {
            page.line(format_args!(
                "A request that {} is for is not limited by {}, unless `always` is said there.",
                names(routed).replace(" and ", " or "),
                names(defaults)
            ));
        }
        if self.plans.len() > 1 {
            page.line("Policies for the same request hold together: it passes all of them or takes from none.");
        }
    }

    fn explain_answer(&self, page: &mut Page) {
        page.heading("A refused client is told");
        let reply = &self.reply;
        let form = match reply.retry_after.form {
            RetryForm::Seconds => "seconds from now",
            RetryForm::HttpDate => "a date",
        };
        let jitter = match reply.retry_after.jitter {
            Duration::ZERO => String::new(),
            most => format!(", with up to {} added at random", time(most)),
        };
        page.line(format_args!(
            "Status {}, a body of the kind `{}`, and when to try again as {form}{jitter}.",
            reply.status, reply.body
        ));
        page.line(format_args!(
            "Header fields that tell where a client stands: `{}`, {}.",
            reply.dialect,
            if reply.on_success { "on every response" } else { "on refusals alone" }
        ));
        for (status, OwnBody { content_type, text }) in &self.gateway.own_bodies {
            page.line(format_args!(
                "The gateway's own {status} has {} bytes of {}.",
                text.len(),
                String::from_utf8_lossy(content_type.as_bytes())
            ));
        }
        for (what, edits) in [("Requests", &self.gateway.fields.request), ("Answers", &self.gateway.fields.response)] {
            if !edits.is_empty() {
                page.line(format_args!("{what}: {}.", list(edits, "and")));
            }
        }
        match self.gateway.cors.as_deref() {
            None => {}
            Some(Cors::Any) => page.line("Pages of any origin may read answers that do not say who may."),
            Some(Cors::Of(origins)) => {
                let origins: Vec<_> = origins.iter().map(|origin| String::from_utf8_lossy(origin.as_bytes())).collect();
                page.line(format_args!("Pages of {} may read answers that do not say who may.", list(&origins, "and")));
            }
        }
    }

    fn explain_keeping(&self, page: &mut Page) {
        let TableConfig { capacity, on_full, shared, shows_keys, ignores_path_case } = &self.table_config;
        page.heading("Keeps");
        page.line(format_args!(
            "Room for {} busy keys. When it is used up, {}. Keys are shown {}. The case of letters in paths {}.",
            grouped(*capacity as u64),
            match on_full {
                OnFull::EvictNearestIdle => "the key nearest to idle makes way, and the new one inherits its debt",
                OnFull::RefuseNew => "new keys are refused",
                OnFull::AdmitUntracked => "new keys are admitted without a limit",
                _ => "it does as the limiter says",
            },
            if *shows_keys { "in full" } else { "as networks and fingerprints" },
            if *ignores_path_case { "does not matter" } else { "matters" }
        ));
        let has_places = self.plans.iter().any(|plan| plan.concurrency.is_some());
        match shared {
            Some(table) => {
                page.line(format_args!(
                    "Rates hold for this machine: all processes whose file names the table {} admit one limit together, where name \
                     and rate are the same; where they differ, at most the sum.",
                    table.path.display()
                ));
                explain_file(table, page);
                page.line(if has_places {
                    "Requests in flight (`concurrency`) are bounded for each process by itself: of two gateways, both admit as \
                     many. Counts of requests are each process's, too."
                } else {
                    "Requests in flight and counts of requests are each process's."
                });
            }
            None if self.plans.iter().any(|plan| plan.store.is_some()) => page.line(
                "Rates of policies that are not on Redis, and counts of requests, are of this process alone: of two gateways, \
                 both admit as many.",
            ),
            None => page.line("Rates and counts are of this process alone: of two gateways, both admit as many."),
        }
    }

    fn explain_redis(&self, page: &mut Page) {
        let Some(redis) = &self.redis else { return };
        page.heading("Redis");
        page.line(format_args!(
            "{}. A decision waits for it up to {:?}, and is not sent again. Keys are hashed with the secret in {}: gateways with \
             another one have other counts.",
            redis.shown(),
            redis.deadline,
            redis.secret_file.display()
        ));
        page.line(match redis.nodes {
            Some(nodes) => format!(
                "Gateways of the fleet: {nodes}. Each one more adds its share to what `share` admits in an outage."
            ),
            None => "How many gateways there are is not said (`nodes`).".to_owned(),
        });
        if self.plans.iter().all(|plan| plan.store.is_none()) {
            page.line("NO POLICY SAYS `store: redis`, so nothing is counted there.");
        }
    }

    fn explain_bounds(&self, page: &mut Page) {
        let Settings { timeouts, limits, .. } = &self.gateway;
        page.heading("Bounds");
        let body =
            limits.body_bytes.map_or_else(|| "of any size".to_owned(), |bytes| format!("up to {}", shown(bytes)));
        page.line(format_args!(
            "Request heads up to {} and {} fields, bodies {body}; {} connections, {} requests at once on one of HTTP/2; \
             {} unused connections from each thread to each upstream. {}{}",
            shown(limits.head_bytes.into()),
            limits.head_fields,
            grouped(limits.connections as u64),
            limits.streams,
            limits.pooled,
            match limits.client_connections {
                None => String::new(),
                Some(most) => format!(
                    "Of one client {} connections at once; trusted proxies are not counted. ",
                    grouped(most.get() as u64)
                ),
            },
            match limits.buffer_request {
                0 => "Bodies are passed on as they come.".to_owned(),
                most => format!("The first {} of a body are collected before an upstream is asked.", shown(most as u64)),
            }
        ));
        let Timeouts { handshake, head, idle, request_body, send, connect, .. } = timeouts;
        let Timeouts { response_head, response_body, upgraded, pooled, upstream_age, drain, shutdown, .. } = timeouts;
        let times = [
            ("handshake", handshake),
            ("request head", head),
            ("no request", idle),
            ("pause in a request body", request_body),
            ("client that does not read", send),
            ("connecting to an upstream", connect),
            ("head of its answer", response_head),
            ("pause in its body", response_body),
            ("silent upgraded connection", upgraded),
            ("unused connection to an upstream", pooled),
            ("any connection to an upstream", upstream_age),
            ("serving on when told to stop", drain),
            ("requests in flight at the end", shutdown),
        ];
        let times = times.into_iter().filter(|(_, most)| !most.is_zero());
        let times: Vec<String> = times.map(|(what, most)| format!("{what} {}", time(*most))).collect();
        page.line(format_args!("Times: {}.", times.join(", ")));
    }
}

impl PolicyConfig {
    /// The policy in a few sentences.
    pub(crate) fn explain(&self) -> String {
        let mut text = format!("`{}`: {}", self.name, self.route);
        if self.reach == Precedence::Always {
            text.push_str(", beside whatever else holds");
        }
        let mut most: Vec<String> = self.limits.iter().map(quota).collect();
        most.extend(self.concurrency.map(|most| format!("{} in flight at once", grouped(most))));
        let most = if most.is_empty() { "unlimited".to_owned() } else { list(&most, "and") };
        let _ = write!(text, ", for each {}: {most}.", self.key);
        if let Some(TierConfig { by, tiers }) = &self.tiers {
            let tier = |(name, quotas): &(String, Vec<Quota>)| {
                format!("`{name}` {}", list(&quotas.iter().map(quota).collect::<Vec<_>>(), "and"))
            };
            let tiers: Vec<String> = tiers.iter().map(tier).collect();
            let tiers = tiers.join("; ");
            let _ = match by {
                TierSource::Header(name) => {
                    write!(text, " The header `{name}` chooses other limits instead: {tiers}.")
                }
                TierSource::File(path, map) => write!(
                    text,
                    " {} has {} keys, by {}, with other limits instead: {tiers}. A key that is not there has those above. It is read \
                     anew when it changes, and takes {} of memory.",
                    path.display(),
                    grouped(map.len() as u64),
                    map.by(),
                    shown(map.memory() as u64)
                ),
            };
        }
        // A header and a cookie may be left out; the rest is always there.
        let can_miss = self.key.to_string().split('|').all(|parts| parts.contains(':'));
        if can_miss {
            text.push_str(match self.missing_key {
                OnMissingKey::Skip => " A request without such a key is not limited by it.",
                OnMissingKey::Refuse => " A request without such a key is refused.",
                _ => " Requests without such a key share a bucket.",
            });
        }
        match self.cost {
            1 => {}
            0 => text.push_str(" Requests cost nothing."),
            cost => {
                let _ = write!(text, " A request counts as {cost}.");
            }
        }
        let _ = match &self.charge {
            Charge::RefundOn(statuses) => {
                write!(text, " What it cost is given back if the response is one of {statuses}.")
            }
            Charge::OnlyOn(statuses) => {
                write!(text, " It is charged after the response, and only if that is one of {statuses}.")
            }
            Charge::ByField(field) => write!(
                text,
                " Once it is answered it counts as much as the field `{field}` of the answer says; if that says no whole number, as before."
            ),
            _ => Ok(()),
        };
        text.push_str(match (&self.charge, self.unanswered) {
            (Charge::OnlyOn(_), Unanswered::Charged) => " A request that ends without a response is charged, too.",
            (Charge::OnlyOn(_), _) => " A request that ends without a response is free.",
            (Charge::ByField(_), Unanswered::Free) => " A request that ends without a response is free.",
            (Charge::RefundOn(_), Unanswered::Free) => " So is what a request cost that ends without a response.",
            _ => "",
        });
        if !self.exemptions.is_empty() {
            let _ = write!(text, " Exempt: {}.", list(&self.exemptions, "and"));
        }
        if self.refuses_all() {
            text.push_str(
                " IT REFUSES EVERY REQUEST, FOR EVER: a limit is zero, or smaller than what one request costs.",
            );
        }
        if let Some(StoreConfig { on_outage, is_leased }) = self.store {
            text.push_str(
                " Its counts are on Redis: all gateways of the fleet admit one limit together, and nothing beyond it while Redis \
                 keeps its state.",
            );
            if is_leased {
                text.push_str(
                    " Of keys that are busy here, tokens are taken in advance (at most a quarter of the burst divided by the \
                     gateways), and most requests are decided without asking; what is not used lapses.",
                );
            }
            text.push_str(match on_outage {
                OnOutage::Closed => " When Redis does not decide, it refuses with 503; nothing is admitted beyond the limit.",
                OnOutage::Open => " WHEN REDIS DOES NOT DECIDE, IT ADMITS EVERYTHING.",
                OnOutage::Share => {
                    " When Redis does not decide, each gateway admits its share of the limit: with all of them cut off no more than \
                     the limit, beside what was used of it before."
                }
                OnOutage::Local => {
                    " When Redis does not decide, each gateway that is cut off admits the whole limit: of N gateways, up to N times \
                     as many."
                }
            });
            if matches!(self.charge, Charge::OnlyOn(_) | Charge::RefundOn(_)) {
                text.push_str(" What the response decides is sent to Redis once, without waiting for it: if that fails, it is lost.");
            }
        }
        if self.is_shadow {
            text.push_str(" SHADOW: it refuses nobody, and counts who would have been refused.");
        }
        text
    }
}

impl PolicyConfig {
    /// Whether no request that it is for will ever pass it, by whichever of its tiers.
    pub(crate) fn refuses_all(&self) -> bool {
        let never = |quotas: &[Quota]| quotas.iter().any(|quota| self.never_passes(quota));
        match &self.tiers {
            None => never(&self.limits),
            Some(tiers) => never(&self.limits) && tiers.tiers.iter().all(|(_, quotas)| never(quotas)),
        }
    }

    fn never_passes(&self, quota: &Quota) -> bool {
        // The queue's bound is about who waits; one that waits for nobody passes.
        let is_too_small = quota.algorithm() != Algorithm::LeakyQueue && self.cost > quota.burst();
        quota.is_blocked() || !quota.is_unlimited() && is_too_small
    }
}

/// `100 per 1 minute, by token-bucket, 20 at once`.
fn quota(quota: &Quota) -> String {
    if quota.is_unlimited() || quota.is_blocked() {
        return quota.to_string();
    }
    let period = time(quota.period());
    let mut text = format!("{} per {}", grouped(quota.count()), period.strip_prefix("1 ").unwrap_or(&period));
    if quota.burst() != quota.count() {
        let verb = if quota.algorithm() == Algorithm::LeakyQueue { "waiting" } else { "at once" };
        let _ = write!(text, " with up to {} {verb}", grouped(quota.burst()));
    }
    if let Some(debt) = quota.max_debt() {
        let _ = write!(text, " with a debt of up to {}", time(debt));
    }
    if quota.algorithm() != Algorithm::default() {
        let _ = write!(text, " ({})", quota.algorithm());
    }
    text
}

/// Who can get there.
fn reach(addr: SocketAddr) -> &'static str {
    if addr.ip().is_loopback() {
        "for this machine alone"
    } else if addr.ip().is_unspecified() {
        "on every network of this machine"
    } else {
        "on that network"
    }
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: &[impl fmt::Display], last: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match items.split_last() {
        None => "nobody".to_owned(),
        Some((only, [])) => only.clone(),
        Some((end, begin)) => format!("{} {last} {end}", begin.join(", ")),
    }
}

/// A time in its largest whole unit.
fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [
        (86_400_000_000_000, "day"),
        (3_600_000_000_000, "hour"),
        (60_000_000_000, "minute"),
        (1_000_000_000, "second"),
    ];
    match units.into_iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit)) {
        Some((unit, name)) if nanos == unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", nanos / unit),
        None => format!("{duration:?}"),
    }
}

/// Whose the file of a shared table is, and what happens where another one is found.
fn explain_file(table: &SharedTable, page: &mut Page) {
    let SharedTable { mode, owner, on_mismatch, allows_disk, .. } = table;
    let owner = owner.map_or_else(|| "the user of the gateway".to_owned(), |owner| format!("the user {owner}"));
    page.line(format_args!(
        "Its file must be of {owner}, with the mode {mode:04o} at most. If it has another `capacity` or `on_full`, {}.{}",
        match on_mismatch {
            TableMismatch::Adopt => "those of the table hold",
            TableMismatch::Replace => {
                "or is not fit for use, IT IS REPLACED AND ALL THAT WAS COUNTED FORGOTTEN, unless others use it"
            }
            _ => "the gateway does not start",
        },
        if *allows_disk { " It may be on a disk, where a check may wait for the disk, up to seconds." } else { "" }
    ));
}
