//! What can be asked of a replay, and the help that explains it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::tz::{Offset, TimeZone};
use tollgate::{Algorithm, Quota};
use tollgate_http::client::{AddressSource, ClientAddress, TrustedProxies};
use tollgate_http::{ConfigError, Exemption, KeySpec, LimiterConfig, Policy};

use super::ingest::Wanted;
use super::log::time::Times;
use super::log::{Form, Format, Places, Rules};
use super::suggest::{Goal, Share};
use super::wall_clock::WallClock;
use crate::values::failure::Failure;
use crate::values::output::printable;
use crate::values::rates::Rates;

/// How many keys and minutes are listed unless told otherwise.
const DEFAULT_TOP: usize = 10;

pub(crate) const NOTES: &str = "\
What is read:
  Some thirty kinds of access logs, told apart line by line, or one of them by
  --format; docs/replay.md has a line of each. Plain, gzip, zstd, bzip2 or xz.
  Lines are put in order of their time stamps; equal time stamps stay in the
  order of the files. A line that cannot be read is counted and the first few
  are shown; blank lines and comments are counted apart. A log may span ten
  years; what is further from the rest is left out and counted.

  Names of --format: common, combined, vhost, nginx-main, json, w3c (IIS,
  CloudFront), alb, elb, s3, haproxy, envoy, squid, nginx-proxy-manager,
  apache-ssl, gin, uvicorn, pairs (Heroku, logfmt, LTSV), and names of servers
  that write one of these; or the string of a log_format or LogFormat.

  In JSON the usual names are looked for, in any letter case, at the top, under
  `request` and under what loggers wrap requests in; a header by its own name,
  at the top or under `headers`; --field says where else. A number as a time is
  since 1970: seconds below 10^11, milliseconds below 10^14, microseconds below
  10^17, else nanoseconds; fractions are kept.

Keys:
  ip           the client's address; IPv6 addresses count as their /64
  path         the path without the query, in its one spelling
  method       the request method; HEAD counts as GET
  host         the site that was asked, without the port
  header:NAME  a request header; Combined has referer and user-agent
  cookie:NAME  a cookie, from the header `cookie`
  all          one bucket for all
  ip+path      any of these joined by `+`: a bucket for each combination
  header:x-api-key | ip   the first alternative of which all parts are there
  These are the keys of a config file. A request without a key (no such
  header, or a host name in the place of the address) counts under `(none)`,
  one key for all of them; the report says how many there were.

Algorithms:
  token-bucket, leaky-bucket   evenly refilled, up to the burst at once
  leaky-queue                  requests wait their turn; the burst may wait
  fixed-window                 the count in each window since 1970 (UTC)
  sliding-window               two windows, the previous one weighted
  sliding-log                  the count in any period, exactly

Exemptions:
  192.0.2.7   10.0.0.0/8   2001:db8::/32   path:/health   path:/static/*
  method:OPTIONS   header:user-agent:Pingdom*
  As in a config file. Exempt requests take nothing from any bucket and are
  counted apart.

What is tried:
  Every request goes through the very limiter of the gateway; the options
  above make one policy for it, named `default`. With --config it is the
  policies of the file: routes, keys, tiers, costs, exemptions, charges by the
  status, shadows.
  The client is the address that was logged. Of a list of addresses it is the
  last, unless --trusted or the file says which proxies to believe. A policy reads
  the header fields that the log has: Combined has referer and user-agent,
  JSON may have all. Bounds on concurrency are not tried, because a log does
  not tell how long requests took. A response counts as sent when its request
  came; without a status nothing is charged that depends on it.

What --json writes:
  One object: `schema` (2), `title`, `config` (the file, or null), `policies`,
  `input` (by file), `left_out` (files), `totals`, `limits` (those that have refused), `keys`
  (every limited key, most refused first), `shadow_keys`, `minutes` (every
  minute with a request), `unreadable` and `odd` (the first few lines that
  were not read, or were kept although their end is odd), `engine`; with
  --against also `against`. Times are RFC 3339, UTC.

Examples:
  tollgate replay --limit 10/minute access.log
  tollgate replay --limit '200 per day, 50 per hour' --key ip+path access.log*
  tollgate replay --limit 60/minute --exempt 'path:/static/*' --json access.log
  tollgate replay --config new.yaml --against tollgate.yaml access.log
  tollgate replay --suggest access.log.zst
  tail -n 100000 access.log | tollgate replay --limit '5/s burst 20' --svg a.svg -";

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Access logs, compressed or not; `-` or none at all is standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// How lines are written, where that is not found out: a name such as `haproxy`, or a log_format or LogFormat string
    ///
    /// The names are in docs/replay.md. Of a string, such as '$remote_addr [$time_local] "$request"' or '%h %l %u %t "%r" %>s',
    /// the fields are read that policies ask for.
    #[arg(long, value_name = "FORMAT", help_heading = "How logs are read")]
    pub(crate) format: Option<Format>,

    /// Where a part of JSON lines is, such as `client=request.ip` or `time=at`; repeatable, or with commas between
    ///
    /// The parts: time, client, method, path, status, host, forwarded-for, header:NAME.
    #[arg(
        long,
        value_name = "PART=PLACE",
        value_delimiter = ',',
        conflicts_with = "format",
        help_heading = "How logs are read"
    )]
    pub(crate) field: Vec<String>,

    /// The zone of times that do not say theirs: `+02:00`, `Europe/Berlin`, `local` [default: UTC]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true, help_heading = "How logs are read")]
    pub(crate) timezone: Option<Zone>,

    /// The proxies to believe where the log has lists of addresses: networks with commas between, or `hops:1`
    #[arg(long, value_name = "PROXIES", conflicts_with = "config", help_heading = "How logs are read")]
    pub(crate) trusted: Option<TrustedProxies>,

    /// Leave out requests before that time: `2024-03-01`, `2024-03-01T12:00`, or as in a log
    #[arg(long, value_name = "TIME", help_heading = "How logs are read")]
    pub(crate) since: Option<String>,

    /// Leave out requests at that time and after it
    #[arg(long, value_name = "TIME", help_heading = "How logs are read")]
    pub(crate) until: Option<String>,

    /// A limit such as `10/minute` or `5 per 30 seconds burst 20`, or a list of them; all given limits hold at once
    ///
    /// Repeatable. A request passes when every limit has room, and takes from all of them or from none.
    #[arg(short, long = "limit", value_name = "RATE", required_unless_present_any = ["config", "suggest"])]
    pub(crate) limits: Vec<Rates>,

    /// How requests are counted
    #[arg(short, long, default_value = Algorithm::TokenBucket.name(), value_parser = algorithms())]
    pub(crate) algorithm: Algorithm,

    /// How many requests fit at once, for every limit whose rate string has no burst [default: the limit's count]
    ///
    /// For leaky-queue: how many may wait. The window algorithms have none.
    #[arg(short, long, value_name = "N")]
    pub(crate) burst: Option<u64>,

    /// Who shares a bucket: ip, path, method, host, header:NAME, or several joined by `+`
    #[arg(short, long, default_value = "ip")]
    pub(crate) key: KeySpec,

    /// Requests that are never limited: an address, a network, or `path:/static/*`; repeatable
    #[arg(short, long = "exempt", value_name = "WHAT")]
    pub(crate) exempt: Vec<Exemption>,

    /// Try the policies of a config file of `tollgate gateway` instead of `--limit`
    ///
    /// Every request goes through the limiter that the gateway would use.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["limits", "algorithm", "burst", "key", "exempt"])]
    pub(crate) config: Option<PathBuf>,

    /// Show what a second config file, such as the one in force, would have done otherwise
    #[arg(long, value_name = "FILE", requires = "config", conflicts_with = "limits")]
    pub(crate) against: Option<PathBuf>,

    /// Keep as many keys as the config file says, instead of every key of the log
    #[arg(long, requires = "config", conflicts_with = "limits")]
    pub(crate) capacity_from_config: bool,

    /// Show which limits would hit how many, instead of trying one: the smallest for periods from a second to a day
    ///
    /// By default those that hit at most 1 % of the keys. Each is replayed, and what it refuses is shown. With --svg also a picture of
    /// limit against keys hit.
    #[arg(long, conflicts_with_all = ["limits", "config", "against", "algorithm", "burst", "fail_if_refused"])]
    pub(crate) suggest: bool,

    /// With --suggest: limits that hit at most so many keys, at least once
    #[arg(long, value_name = "N", requires = "suggest")]
    pub(crate) keys: Option<u64>,

    /// With --suggest: limits that refuse at most that share of all requests, such as `0.1%`
    #[arg(long, value_name = "P%", requires = "suggest", conflicts_with = "keys")]
    pub(crate) requests: Option<Share>,

    /// How many keys and minutes to list
    #[arg(short, long, value_name = "N", default_value_t = DEFAULT_TOP)]
    pub(crate) top: usize,

    /// Show times in the local time zone instead of UTC; `TZ=Europe/Berlin` before the command sets another
    ///
    /// In the report and in pictures. JSON stays in UTC.
    #[arg(long)]
    pub(crate) local_time: bool,

    /// Also draw the timeline as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the whole result as JSON instead of the report
    #[arg(long)]
    pub(crate) json: bool,

    /// End with exit code 3 if any request would be refused
    #[arg(long)]
    pub(crate) fail_if_refused: bool,

    /// Replay the sample log instead of files
    #[arg(long, conflicts_with = "files")]
    pub(crate) sample: bool,
}

impl ReplayArgs {
    /// The sample under a simple policy.
    pub(crate) fn demonstration() -> Result<Self, Failure> {
        let unfit = |error| Failure::Other(format!("the policy of the demonstration cannot be used: {error}"));
        Ok(Self {
            files: Vec::new(),
            format: None,
            field: Vec::new(),
            timezone: None,
            trusted: None,
            since: None,
            until: None,
            fail_if_refused: false,
            suggest: false,
            keys: None,
            requests: None,
            limits: vec!["10/minute".parse().map_err(unfit)?],
            algorithm: Algorithm::TokenBucket,
            burst: None,
            key: KeySpec::default(),
            exempt: Vec::new(),
            config: None,
            against: None,
            capacity_from_config: false,
            top: DEFAULT_TOP,
            local_time: false,
            svg: None,
            json: false,
            sample: true,
        })
    }

    /// The limits, as a policy named `default`, and all else as it is unless a config file says otherwise.
    pub(super) fn settings(&self) -> Result<LimiterConfig, Failure> {
        self.settings_with(self.quotas())
    }

    /// What a suggested limit may hit, of so many keys and requests.
    pub(super) fn goal(&self, keys: u64, requests: u64) -> Goal {
        match (self.keys, self.requests) {
            (Some(keys), _) => Goal::Keys(keys),
            (None, Some(share)) => Goal::Requests(share.of(requests)),
            (None, None) => Goal::Keys(keys / 100),
        }
    }

    /// The same with other limits.
    pub(super) fn settings_with(&self, quotas: Vec<Quota>) -> Result<LimiterConfig, Failure> {
        let unfit = |error: ConfigError| Failure::Usage(format!("the policy cannot be used: {error}"));
        let policy = Policy::new("default", quotas).map_err(unfit)?.key(self.key.clone());
        let client = match &self.trusted {
            Some(trusted) if *trusted != TrustedProxies::nobody() => {
                ClientAddress::new(AddressSource::XForwardedFor, trusted.clone())
                    .map_err(|error| Failure::Usage(format!("--trusted: {error}")))?
            }
            _ => ClientAddress::default(),
        };
        Ok(LimiterConfig::new().client(client).policy(self.exempt.iter().cloned().fold(policy, Policy::exempt)))
    }

    /// By which clock times are shown.
    pub(super) fn clock(&self) -> Result<WallClock, Failure> {
        if !self.local_time {
            return Ok(WallClock::utc());
        }
        WallClock::local().map_err(|error| Failure::Usage(format!("--local-time: {error}")))
    }

    /// What is read of the logs, and how.
    pub(super) fn wanted(&self) -> Result<Wanted, Failure> {
        let zone = self.timezone.as_ref().map(|Zone(zone)| zone.clone());
        let times = Times::new(zone.clone().unwrap_or(TimeZone::UTC));
        let time = |option: &str, text: &Option<String>| -> Result<Option<u64>, Failure> {
            let Some(text) = text else { return Ok(None) };
            let expected = "2024-03-01, 2024-03-01T12:00 or a time as in a log";
            let unfit = || Failure::Usage(format!("--{option}: `{}` is no time; expected {expected}", printable(text)));
            times.moment(text).map(Some).ok_or_else(unfit)
        };
        let (since, until) =
            (time("since", &self.since)?.unwrap_or(0), time("until", &self.until)?.unwrap_or(u64::MAX));
        if since >= until {
            return Err(Failure::Usage("--since must be earlier than --until".to_owned()));
        }
        let mut places = Places::default();
        self.field
            .iter()
            .try_for_each(|pair| places.add(pair))
            .map_err(|error| Failure::Usage(format!("--field: {error}")))?;
        let format = if self.field.is_empty() { self.format.clone() } else { Some(Format::Known(Form::Json)) };
        Ok(Wanted { rules: Rules { format, places, zone }, since, until })
    }

    fn quotas(&self) -> Vec<Quota> {
        let quotas = self.limits.iter().flat_map(|rates| &rates.0);
        let quota = |quota: &Quota| {
            // What the rate string says is closer to its limit and wins.
            let quota = match quota.algorithm() {
                Algorithm::TokenBucket => quota.with_algorithm(self.algorithm),
                _ => *quota,
            };
            match self.burst {
                Some(burst) if quota.burst() == quota.count() => quota.with_burst(burst),
                _ => quota,
            }
        };
        quotas.map(quota).collect()
    }

    /// The limits in a line.
    pub(super) fn title(&self) -> String {
        let quotas = self.quotas();
        // How a limit counts is only said where it is not as the others do.
        let shown = |quota: &Quota| {
            if quota.algorithm() == self.algorithm { format!("{quota:#}") } else { quota.to_string() }
        };
        let limits: Vec<String> = quotas.iter().map(shown).collect();
        format!("{} for each {}, {}", limits.join(" and "), self.key, self.algorithm)
    }
}

fn algorithms() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::name)).try_map(|name| name.parse::<Algorithm>())
}

/// A time zone.
#[derive(Debug, Clone)]
pub(crate) struct Zone(TimeZone);

/// `UTC`, `local`, `+02:00`, or a name of the time zone database.
impl std::str::FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unfit = || format!("`{text}` is no time zone; expected UTC, local, +02:00 or a name such as Europe/Berlin");
        if text.eq_ignore_ascii_case("utc") || text == "Z" {
            return Ok(Self(TimeZone::UTC));
        }
        if text.eq_ignore_ascii_case("local") {
            return TimeZone::try_system()
                .map(Self)
                .map_err(|error| format!("the local time zone is not known: {error}"));
        }
        if let Some(digits) = text.strip_prefix(['+', '-']) {
            let digits = digits.replace(':', "");
            let (hours, minutes) = match digits.len() {
                2 => (digits.as_str(), "0"),
                4 => digits.split_at(2),
                _ => return Err(unfit()),
            };
            let (hours, minutes): (i32, i32) =
                (hours.parse().map_err(|_| unfit())?, minutes.parse().map_err(|_| unfit())?);
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let offset = Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok().filter(|_| minutes < 60);
            return offset.map(|offset| Self(TimeZone::fixed(offset))).ok_or_else(unfit);
        }
        TimeZone::get(text).map(Self).map_err(|_| unfit())
    }
}
