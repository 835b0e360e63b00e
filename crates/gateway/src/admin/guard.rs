//! Who may ask: on an address of this machine, only who calls it by a name of this machine.
//!
//! A page from elsewhere can give its own host name the address 127.0.0.1 after it was loaded (DNS rebinding), and the
//! browser would let it read what it finds there. But the browser also says that name in `Host`, and we are not called
//! that. On any other address its names are unknown, and the operator who opens one has to protect it.

use std::net::IpAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Whether a request to an address of this machine means this machine.
pub(crate) fn means_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = Authority::try_from(host.as_bytes()) else { return false };
    is_local(&host) && uri.authority().is_none_or(is_local)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn means(uri: &'static str, hosts: &[&'static str]) -> bool {
        let headers = hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect();
        means_this_machine(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn names_of_this_machine_are_let_in() {
        for host in ["localhost", "LocalHost:9900", "127.0.0.1:9900", "127.1.2.3", "[::1]:9900", "[::1]"] {
            assert!(means("/", &[host]), "{host}");
        }
    }

    #[test]
    fn others_are_not() {
        for host in ["evil.example", "evil.example:9900", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"]
        {
            assert!(!means("/", &[host]), "{host}");
        }
        for host in ["192.0.2.1", "[2001:db8::1]:9900", "0.0.0.0"] {
            assert!(!means("/", &[host]), "{host}");
        }
        assert!(!means("/", &[]));
        assert!(!means("/", &["localhost", "evil.example"]));
        assert!(!means("http://evil.example/", &["localhost"]));
    }
}
