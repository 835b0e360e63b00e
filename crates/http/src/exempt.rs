//! Requests that a policy never limits.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderName;
use ipnet::IpNet;

use crate::client::canonical;
use crate::error::PolicyError;
use crate::request::RequestInfo;
use crate::route::PathPattern;

/// Requests that a policy never limits: `10.0.0.0/8`, `192.0.2.7`, `path:/health`, `path:/static/*`, `method:OPTIONS`,
/// `header:user-agent:Pingdom*`. Their buckets are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption(What);

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Net(IpNet),
    Path(PathPattern),
    Method(String),
    /// A `*` at the end of the value stands for any rest.
    Header {
        name: HeaderName,
        value: String,
        is_prefix: bool,
    },
}

impl Exemption {
    /// The header field that it looks at, if it does.
    pub(crate) const fn header_field(&self) -> Option<&HeaderName> {
        match &self.0 {
            What::Header { name, .. } => Some(name),
            What::Net(_) | What::Path(_) | What::Method(_) => None,
        }
    }

    pub(crate) const fn looks_at_method(&self) -> bool {
        matches!(self.0, What::Method(_))
    }

    pub(crate) const fn looks_at_path(&self) -> bool {
        matches!(self.0, What::Path(_))
    }

    /// Whether `request` is one of them.
    #[must_use]
    pub fn covers(&self, request: &RequestInfo<'_>) -> bool {
        match &self.0 {
            What::Net(net) => request.client().is_some_and(|client| net.contains(&client.to_canonical())),
            // However the server reads it: else the path of another resource could be written so that it is exempt.
            What::Path(pattern) => request.paths().all(|path| pattern.covers(path)),
            What::Method(method) => request.method().as_str() == method,
            What::Header { name, value, is_prefix } => request.headers().get_all(name).iter().any(|given| {
                let (given, value) = (given.as_bytes(), value.as_bytes());
                if *is_prefix { given.starts_with(value) } else { given == value }
            }),
        }
    }
}

impl FromStr for Exemption {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let error = || PolicyError::Exemption { exemption: text.to_owned() };
        let trimmed = text.trim();
        let address = trimmed.strip_prefix("ip:").unwrap_or(trimmed);
        if let Ok(address) = address.parse::<IpAddr>() {
            return Ok(Self(What::Net(address.to_canonical().into())));
        }
        if let Ok(net) = address.parse::<IpNet>() {
            return Ok(Self(What::Net(canonical(net))));
        }
        let (kind, rest) = trimmed.split_once(':').ok_or_else(error)?;
        Ok(Self(match kind {
            "path" => What::Path(rest.parse()?),
            "method" if !rest.is_empty() => What::Method(rest.to_owned()),
            "header" => {
                let (name, value) = rest.split_once(':').ok_or_else(error)?;
                let (value, is_prefix) = value.strip_suffix('*').map_or((value, false), |prefix| (prefix, true));
                if value.contains('*') {
                    return Err(error());
                }
                let name = name.trim().parse().map_err(|_| error())?;
                What::Header { name, value: value.to_owned(), is_prefix }
            }
            _ => return Err(error()),
        }))
    }
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            What::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            What::Net(net) => net.fmt(f),
            What::Path(pattern) => write!(f, "path:{pattern}"),
            What::Method(method) => write!(f, "method:{method}"),
            What::Header { name, value, is_prefix } => {
                write!(f, "header:{name}:{value}{}", if *is_prefix { "*" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn what_is_covered() {
        let request = Request::builder()
            .uri("/static/a.css?v=1")
            .header("user-agent", "Ping 1")
            .extension(crate::PeerAddr("[::ffff:10.0.0.7]:9".parse().unwrap()))
            .body(())
            .unwrap();
        for (exemption, is_covered) in [
            ("10.0.0.7", true),
            ("10.0.0.8", false),
            ("10.0.0.99/8", true),
            ("::ffff:10.0.0.7", true),
            ("::/0", false),
            ("path:/static/*", true),
            ("path:/static", false),
            ("method:GET", true),
            ("method:get", false),
            ("header:User-Agent:Ping*", true),
            ("header:user-agent:Ping", false),
            ("header:referer:*", false),
        ] {
            let parsed: Exemption = exemption.parse().unwrap();
            assert_eq!(parsed.covers(&RequestInfo::new(&request)), is_covered, "{exemption}");
            assert_eq!(parsed.to_string().parse::<Exemption>().unwrap(), parsed);
        }
        for bad in ["", "x", "10.0.0.0/33", "path:", "path:/a*b", "header:ua", "header: :x", "query:x", "method:"] {
            assert!(bad.parse::<Exemption>().is_err(), "{bad}");
        }
    }
}
