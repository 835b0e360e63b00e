//! Requests that a policy never limits.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::key::Part;
use super::log::Request;

/// One `--exempt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exemption {
    /// Clients in a network; a single address is a network of one.
    Net(IpNet),
    /// Requests with a part that is, or starts with, a text.
    Pattern { part: Part, text: String, is_prefix: bool },
}

impl Exemption {
    fn covers(&self, request: &Request<'_>, client: Option<IpAddr>) -> bool {
        match self {
            Self::Net(net) => client.is_some_and(|client| net.contains(&client)),
            Self::Pattern { part, text, is_prefix } => part.of(request).is_some_and(|value| {
                if *is_prefix { value.starts_with(text.as_str()) } else { value == text.as_str() }
            }),
        }
    }
}

/// Whether one of `exemptions` covers `request`.
pub(crate) fn is_exempt(exemptions: &[Exemption], request: &Request<'_>) -> bool {
    if exemptions.is_empty() {
        return false;
    }
    let client = request.client.as_deref().and_then(|client| client.parse().ok());
    exemptions.iter().any(|exemption| exemption.covers(request, client))
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
            Self::Pattern { part, text, is_prefix } => write!(f, "{part}:{text}{}", if *is_prefix { "*" } else { "" }),
        }
    }
}

impl FromStr for Exemption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let address = text.strip_prefix("ip:").unwrap_or(text);
        if let Ok(address) = address.parse::<IpAddr>() {
            // As log lines are read: IPv4 inside IPv6 is IPv4.
            return Ok(Self::Net(IpNet::from(address.to_canonical())));
        }
        if let Ok(net) = address.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let expected = || {
            format!(
                "`{text}` exempts nothing; expected an address, a network such as 10.0.0.0/8, path:/static/*, method:NAME or header:NAME:VALUE"
            )
        };
        let (part, pattern) = match text.strip_prefix("header:") {
            Some(rest) => {
                let (name, pattern) = rest.split_once(':').ok_or_else(expected)?;
                (format!("header:{name}").parse()?, pattern)
            }
            None => {
                let (part, pattern) = text.split_once(':').ok_or_else(expected)?;
                match part {
                    // A client that was logged by its name.
                    "ip" => (Part::Client, pattern),
                    "path" => (Part::Path, pattern),
                    "method" => (Part::Method, pattern),
                    _ => return Err(expected()),
                }
            }
        };
        let (text, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
        if pattern.is_empty() || text.contains('*') {
            return Err(format!(
                "`{pattern}` is no pattern; expected a text, with a `*` at its end if any rest will do"
            ));
        }
        Ok(Self::Pattern { part, text: text.to_owned(), is_prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::super::log;
    use super::*;

    fn covers(exemption: &str, client: &str) -> bool {
        let line = format!(
            "{client} - - [17/May/2015:10:05:03 +0000] \"GET /static/a.css?v=1 HTTP/1.1\" 200 1 \"-\" \"Ping 1\""
        );
        is_exempt(&[exemption.parse().unwrap()], &log::parse(&line).unwrap())
    }

    #[test]
    fn what_is_covered() {
        for (exemption, is_covered) in [
            ("10.0.0.7", true),
            ("10.0.0.8", false),
            ("10.0.0.0/8", true),
            ("10.0.0.99/8", true),
            ("11.0.0.0/8", false),
            ("0.0.0.0/0", true),
            ("::/0", false),
            ("::ffff:10.0.0.7", true),
            ("ip:10.0.0.*", true),
            ("path:/static/a.css", true),
            ("path:/static/*", true),
            ("path:/static", false),
            ("path:/api/*", false),
            ("method:GET", true),
            ("method:get", false),
            ("header:user-agent:Ping*", true),
            ("header:referer:*", false),
        ] {
            assert_eq!(covers(exemption, "10.0.0.7"), is_covered, "{exemption}");
        }
        assert!(covers("2001:db8::/32", "2001:DB8::5"));
        assert!(covers("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_exemption() {
        for bad in ["", "x", "10.0.0.0/33", "path:", "path:/a*b", "header:ua", "header::x", "query:x"] {
            assert!(bad.parse::<Exemption>().is_err(), "{bad}");
        }
        for good in ["10.0.0.7", "10.0.0.0/8", "path:/static/*", "header:user-agent:x"] {
            assert_eq!(good.parse::<Exemption>().unwrap().to_string(), good);
        }
    }
}
