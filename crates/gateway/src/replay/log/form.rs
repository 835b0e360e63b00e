//! The forms of log lines: their names, and the formats of those that servers write field by field.

use std::sync::OnceLock;

use super::template::Template;

/// A form that a line may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The Common Log Format, with the virtual host or without.
    Common,
    /// With the referer and the user agent behind, and perhaps more.
    Combined,
    Json,
    /// The W3C extended format.
    W3c,
    /// Names and values, as Heroku writes them, and LTSV.
    Pairs,
    /// The columns that IIS writes unless told otherwise, without the comment that says so.
    Iis,
    Uvicorn,
    /// One of [`BUILTIN`], by its index.
    Builtin(u8),
    /// What the command line says.
    Custom,
}

/// Names of forms, and the formats that lines of them have; the first that fits.
const BUILTIN: &[(&str, &[&str])] = &[
    // Before those that a time in front of its lines would make of them.
    (
        "gorouter",
        &[
            "$host - [$start_time] \"$request\" $status $_ $_ \"$http_referer\" \"$http_user_agent\" \"$remote_addr\" \"$_\" \
             x_forwarded_for:\"$http_x_forwarded_for\" $_",
        ],
    ),
    (
        "alb",
        &[
            "$_ $time_iso8601 $_ $remote_addr $_ $_ $_ $_ $status $_ $_ $_ \"$request\" \"$http_user_agent\" $_ $_ $_ \"$_\" \
           \"$_\" \"$_\" $_ $start_time \"$_",
            // Before 2018.
            "$_ $time_iso8601 $_ $remote_addr $_ $_ $_ $_ $status $_ $_ $_ \"$request\" \"$http_user_agent\" $_ $_ $_ \"$_",
        ],
    ),
    ("elb", &["$time_iso8601 $_ $remote_addr $_ $_ $_ $_ $status $_ $_ $_ \"$request\" \"$http_user_agent\" $_ $_"]),
    (
        "s3",
        &["$_ $_ [$time_local] $remote_addr $_ $_ $_ $_ \"$request\" $status $_ $_ $_ $_ $_ \"$http_referer\" \
             \"$http_user_agent\" $_"],
    ),
    (
        "haproxy",
        &[
            "$remote_addr [$time_local] $_ $_/$_ $_/$_/$_/$_/$_ $status $_ $_ $_ $_ $_/$_/$_/$_/$_ $_/$_ \"$request\"$_",
            "$remote_addr [$time_local] $_ $_/$_ $_/$_/$_/$_/$_ $status $_ $_ $_ $_ $_/$_/$_/$_/$_ $_/$_ {$_} \"$request\"$_",
            // It cuts lines off after a thousand bytes, and the request is last.
            "$remote_addr [$time_local] $_ $_/$_ $_/$_/$_/$_/$_ $status $_ $_ $_ $_ $_/$_/$_/$_/$_ $_/$_ \"$request",
            "$remote_addr [$time_local] $_ $_/$_ $_/$_/$_/$_/$_ $status $_ $_ $_ $_ $_/$_/$_/$_/$_ $_/$_ {$_} \"$request",
        ],
    ),
    (
        "envoy",
        &[
            "[$start_time] \"$request\" $status $_ $_ $_ \"$_\" $_ $_ $_ $_ \"$http_x_forwarded_for\" \"$http_user_agent\" \
             \"$_\" \"$host\" \"$_\" $_ $_ $_ $remote_addr $_",
            "[$start_time] \"$request\" $status $_ $_ $_ $_ $_ \"$http_x_forwarded_for\" \"$http_user_agent\" \"$_\" \"$host\" \
             \"$_\"$_",
        ],
    ),
    ("squid", &["$msec $_ $remote_addr $_/$status $_ $request_method $request_uri $_ $_/$_ $_"]),
    (
        "nginx-proxy-manager",
        &[
            "[$time_local] $_ $status $_ - $request_method $_ $host \"$request_uri\" [Client $remote_addr] [$_] [$_] [$_] \
             \"$http_user_agent\" \"$http_referer\"$_",
            "[$time_local] $status - $request_method $_ $host \"$request_uri\" [Client $remote_addr] [$_] [$_] \
             \"$http_user_agent\" \"$http_referer\"$_",
        ],
    ),
    ("apache-ssl", &["[$time_local] $remote_addr $_ $_ \"$request\" $_"]),
    (
        "gin",
        &[
            "[GIN] $time | $status | $_ | $remote_addr | $request_method \"$request_uri\"$_",
            "[GIN] $time | $status | $_ | $remote_addr | $request_method $request_uri",
        ],
    ),
    (
        "api-gateway",
        &[
            "$remote_addr,$_,$_,$time_local,$request_method,$request_uri,HTTP/$_,$status,$_,$_",
            "<request id=\"$_\"> <ip>$remote_addr</ip> <caller>$_</caller> <user>$_</user> <requestTime>$time_local</requestTime> \
             <httpMethod>$request_method</httpMethod> <resourcePath>$request_uri</resourcePath> <status>$status</status> $_",
        ],
    ),
    (
        "uwsgi",
        &["[pid: $_] $remote_addr ($_) {$_} [$time] $request_method $request_uri => generated $_ (HTTP/$_ $status) $_"],
    ),
    ("rails", &["Started $request_method \"$request_uri\" for $remote_addr at $time"]),
    ("chi", &["$time [$_] \"$request\" from $remote_addr - $status $_"]),
];

/// Names under which people look for a form that has another here.
const SYNONYMS: &[(&str, Form)] = &[
    ("common", Form::Common),
    ("clf", Form::Common),
    ("combined", Form::Combined),
    ("vhost", Form::Combined),
    ("nginx", Form::Combined),
    ("nginx-main", Form::Combined),
    ("apache", Form::Combined),
    ("ingress-nginx", Form::Combined),
    ("varnish", Form::Combined),
    ("gunicorn", Form::Combined),
    ("traefik-common", Form::Combined),
    ("json", Form::Json),
    ("caddy", Form::Json),
    ("kong", Form::Json),
    ("cloudflare", Form::Json),
    ("azure-front-door", Form::Json),
    ("google-load-balancer", Form::Json),
    ("aws-waf", Form::Json),
    ("envoy-json", Form::Json),
    ("traefik", Form::Json),
    ("w3c", Form::W3c),
    ("iis", Form::W3c),
    ("cloudfront", Form::W3c),
    ("uvicorn", Form::Uvicorn),
    ("pairs", Form::Pairs),
    ("logfmt", Form::Pairs),
    ("ltsv", Form::Pairs),
    ("heroku", Form::Pairs),
];

/// How many forms there are.
pub(crate) const FORMS: usize = 8 + BUILTIN.len();

impl Form {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Json => "json",
            Self::W3c => "w3c",
            Self::Pairs => "pairs",
            Self::Iis => "w3c with the columns of IIS",
            Self::Uvicorn => "uvicorn",
            Self::Builtin(index) => BUILTIN.get(usize::from(index)).map_or("", |(name, _)| name),
            Self::Custom => "the given format",
        }
    }

    /// For counting by form.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Common => 0,
            Self::Combined => 1,
            Self::Json => 2,
            Self::W3c => 3,
            Self::Pairs => 4,
            Self::Custom => 5,
            Self::Iis => 6,
            Self::Uvicorn => 7,
            Self::Builtin(index) => 8 + usize::from(index),
        }
    }

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let fixed =
            [Self::Common, Self::Combined, Self::Json, Self::W3c, Self::Pairs, Self::Custom, Self::Iis, Self::Uvicorn];
        fixed.into_iter().chain(Self::builtin())
    }

    pub(super) fn builtin() -> impl Iterator<Item = Self> {
        (0_u8..).take(BUILTIN.len()).map(Self::Builtin)
    }

    /// The formats of a built-in form, compiled.
    pub(super) fn templates(self) -> &'static [Template] {
        static COMPILED: OnceLock<Vec<Vec<Template>>> = OnceLock::new();
        let compile = || {
            let formats =
                |(_, formats): &(&str, &[&str])| formats.iter().map(|format| Template::builtin(format)).collect();
            BUILTIN.iter().map(formats).collect()
        };
        match self {
            Self::Builtin(index) => COMPILED.get_or_init(compile).get(usize::from(index)).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}

/// The form that a log is said to have.
#[derive(Debug, Clone)]
pub enum Format {
    /// One of those that are known.
    Known(Form),
    /// Of a server's configuration.
    Custom(Template),
}

/// The name of a form, or the string of nginx's `log_format` or Apache's `LogFormat`.
impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        if let Some((_, form)) = SYNONYMS.iter().find(|(known, _)| *known == name) {
            return Ok(Self::Known(*form));
        }
        if let Some(form) = Form::builtin().find(|form| form.name() == name) {
            return Ok(Self::Known(form));
        }
        if text.contains(['$', '%']) {
            return Template::new(text).map(Self::Custom);
        }
        let builtin = BUILTIN.iter().map(|(name, _)| *name);
        let names: Vec<&str> = SYNONYMS.iter().map(|(name, _)| *name).chain(builtin).collect();
        Err(format!(
            "there is no such form; known are {}, and the string of a log_format or LogFormat",
            names.join(", ")
        ))
    }
}
