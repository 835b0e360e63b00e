//! One line of an access log, read into the parts that a policy can ask for.

mod clf;
mod columns;
pub(crate) mod form;
mod json;
pub(crate) mod lines;
mod names;
mod objects;
mod pairs;
mod parser;
mod pieces;
mod prefix;
mod roles;
pub mod source;
mod template;
pub mod time;
mod utf16;
mod uvicorn;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use self::clf::CommonRest;
pub use self::form::{Form, Format};
use self::json::JsonRest;
pub use self::json::Places;
pub use self::parser::{Parsed, Parser, Rules};
use self::roles::{FORWARDED_FOR, Fields};

/// A request as its log line tells it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Who asked: an address in its one spelling, or a host name.
    pub client: Option<Cow<'a, str>>,
    /// Whether that is an address.
    pub is_address: bool,
    /// The list of addresses, as in `X-Forwarded-For`, of which the client is the last.
    pub list: Option<Cow<'a, str>>,
    pub method: Option<Cow<'a, str>>,
    /// What was asked for, with its query.
    pub target: Option<Cow<'a, str>>,
    rest: Rest<'a>,
    /// The line is readable up to its request and odd after it, as when a log was cut off in the middle of a line.
    pub odd_tail: bool,
    /// Its time does not say in which zone it is.
    pub is_zoneless: bool,
}

/// What only some policies ask for.
#[derive(Debug)]
enum Rest<'a> {
    Common(CommonRest<'a>),
    Fields(Fields<'a>),
    Json(JsonRest),
}

/// Why a line could not be read, in words for the report.
pub type Reason = Cow<'static, str>;

impl Request<'_> {
    /// The values of a header, one for each of its lines where the log tells them apart; `name` in any letter case.
    ///
    /// Where the client is a list of addresses, that is the `X-Forwarded-For` of which the client was the last proxy's peer.
    pub fn header_lines(&self, name: &str) -> Vec<Cow<'_, str>> {
        let is_list = name.eq_ignore_ascii_case(FORWARDED_FOR);
        let lines: Vec<Cow<'_, str>> = match &self.rest {
            Rest::Common(rest) if is_list => rest.forwarded_for().map(Cow::Borrowed).into_iter().collect(),
            Rest::Common(rest) => {
                let raw = match () {
                    () if name.eq_ignore_ascii_case("referer") => rest.referer,
                    () if name.eq_ignore_ascii_case("user-agent") => rest.user_agent,
                    () => None,
                };
                raw.map(clf::unescaped).into_iter().collect()
            }
            Rest::Fields(rest) => rest.header(name).into_iter().collect(),
            Rest::Json(rest) => rest.header(name).into_iter().flatten().map(Cow::Owned).collect(),
        };
        if lines.is_empty() && is_list {
            return self.list.as_deref().map(Cow::Borrowed).into_iter().collect();
        }
        lines
    }

    /// The site that was asked, where the log tells several apart.
    pub fn host(&self) -> Option<Cow<'_, str>> {
        match &self.rest {
            Rest::Common(rest) => rest.virtual_host.map(Cow::Borrowed),
            Rest::Fields(rest) => rest.host(),
            Rest::Json(rest) => rest.host().filter(|host| self.client.as_deref() != Some(host)).map(Cow::Owned),
        }
    }

    /// What the server answered.
    pub fn status(&self) -> Option<u16> {
        match &self.rest {
            Rest::Common(rest) => rest.status,
            Rest::Fields(rest) => rest.status(),
            Rest::Json(rest) => rest.status(),
        }
    }
}

/// A client in the one spelling of its address, so that one client is one key: no port, and IPv4 inside IPv6 as IPv4.
/// What is no address (a host name) stays as it is. Also whether it is one.
fn client_address(text: &str) -> (Cow<'_, str>, bool) {
    if is_v4(text) {
        return (Cow::Borrowed(text), true);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(_) => (Cow::Borrowed(text), true),
            IpAddr::V6(_) => (Cow::Owned(address.to_canonical().to_string()), true),
        };
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return (Cow::Owned(socket.ip().to_canonical().to_string()), true);
    }
    // The interface of an address that is only valid there says nothing about who it is.
    if let Some((address, _)) = text.split_once('%')
        && address.contains(':')
        && address.parse::<IpAddr>().is_ok()
    {
        return client_address(address);
    }
    // HAProxy puts the port behind an IPv6 address without brackets. One of up to four digits reads as the end of the address instead, which
    // seldom changes its network.
    if let Some((address, port)) = text.rsplit_once(':')
        && port.len() == 5
        && port.parse::<u16>().is_ok()
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return client_address(address);
    }
    // In brackets, and so perhaps with a zone and a port.
    if let Some((inner, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
        && let (address, true) = client_address(inner)
    {
        return (address, true);
    }
    (Cow::Borrowed(text), false)
}

/// Who a log says the client is.
#[derive(Debug, Default)]
struct Client<'a> {
    text: Option<Cow<'a, str>>,
    is_address: bool,
    list: Option<Cow<'a, str>>,
}

/// Who `text` says the client is: of a list the last, which is all that can be believed unless somebody trusts proxies.
fn client_of(text: Cow<'_, str>) -> Client<'_> {
    let comma = memchr::memrchr(b',', text.as_bytes());
    let Some(last) = comma.and_then(|at| text.get(at + 1..)) else {
        let (client, is_address) = match &text {
            Cow::Borrowed(text) => client_address(text.trim()),
            Cow::Owned(text) => {
                let (client, is_address) = client_address(text.trim());
                (Cow::Owned(client.into_owned()), is_address)
            }
        };
        return Client { text: (!client.is_empty()).then_some(client), is_address, list: None };
    };
    let (client, is_address) = client_address(last.trim());
    let client = client.into_owned();
    Client { text: (!client.is_empty()).then_some(Cow::Owned(client)), is_address, list: Some(text) }
}

/// A logged value, or nothing where the log says that there was none.
fn present(text: &str) -> Option<&str> {
    (!text.is_empty() && text != "-").then_some(text)
}

/// The method and the target of a request line; whatever is not one (an empty request, TLS spoken to a plain port)
/// is still a request by somebody, only without the two.
fn request_line(text: &str) -> (Option<&str>, Option<&str>) {
    match split_at(text, b' ') {
        Some((method, rest)) if is_method(method) => {
            (Some(method), present(split_at(rest, b' ').map_or(rest, |(target, _)| target)))
        }
        _ => (None, None),
    }
}

/// `split_once` of an ASCII character, faster: looking for such is most of the work.
fn split_at(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Whether `text` is an IPv4 address, as its `FromStr` would say, faster.
fn is_v4(text: &str) -> bool {
    let (mut octets, mut digits, mut octet) = (1, 0, 0_u16);
    for byte in text.bytes() {
        match byte {
            // A zero in front would be octal to some.
            b'0'..=b'9' if digits < 3 && !(digits > 0 && octet == 0) => {
                octet = octet * 10 + u16::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return false;
                }
            }
            b'.' if digits > 0 && octets < 4 => (octets, digits, octet) = (octets + 1, 0, 0),
            _ => return false,
        }
    }
    octets == 4 && digits > 0
}

fn is_method(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_version_4_are_those_of_the_standard_library() {
        let texts = [
            "",
            ".",
            "1",
            "1.2.3",
            "1.2.3.4",
            "1.2.3.4.",
            ".1.2.3.4",
            "1..3.4",
            "1.2.3.4.5",
            "0.0.0.0",
            "00.0.0.0",
            "01.2.3.4",
        ];
        let more = [
            "255.255.255.255",
            "256.2.3.4",
            "1.2.3.256",
            "1.2.3.1000",
            "1.2.3.4 ",
            "1.2.3.x",
            "1.2.3.4é",
            "0.0.0.00",
            "10.20.30.40",
        ];
        for text in texts.iter().chain(&more) {
            assert_eq!(is_v4(text), text.parse::<std::net::Ipv4Addr>().is_ok(), "{text}");
        }
    }

    #[test]
    fn one_client_is_one_key() {
        assert_eq!(client_address("192.0.2.1"), ("192.0.2.1".into(), true));
        assert_eq!(client_address("192.0.2.1:4711"), ("192.0.2.1".into(), true));
        assert_eq!(client_address("2001:DB8:0::1"), ("2001:db8::1".into(), true));
        assert_eq!(client_address("[2001:db8::1]:80"), ("2001:db8::1".into(), true));
        assert_eq!(client_address("[2001:db8::1]"), ("2001:db8::1".into(), true));
        assert_eq!(client_address("::ffff:192.0.2.1"), ("192.0.2.1".into(), true));
        assert_eq!(client_address("fe80::1%eth0"), ("fe80::1".into(), true));
        assert_eq!(client_address("[fe80::1%eth0]:443"), ("fe80::1".into(), true));
        assert_eq!(client_address("[192.0.2.1]"), ("192.0.2.1".into(), true));
        assert!(!client_address("[2001:db8::1]x").1 && !client_address("[2001:db8::1]:70000").1);
        assert!(!client_address("[host]:80").1 && !client_address("[]").1);
        assert_eq!(client_address("2001:db8::5:33317"), ("2001:db8::5".into(), true));
        assert_eq!(client_address("1:2:3:4:5:6:7:8:33317"), ("1:2:3:4:5:6:7:8".into(), true));
        assert!(!client_address("2001:db8::5:70000").1 && !client_address("h:33317").1);
        assert_eq!(client_address("crawler.example.org"), ("crawler.example.org".into(), false));
    }
}
