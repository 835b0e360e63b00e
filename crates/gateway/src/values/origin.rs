//! Where a server is, and what is spoken there: scheme, host and port, or a Unix socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use http::header::HeaderValue;
use http::uri::Scheme;

/// Where an upstream is: scheme, host and port, and no path; or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    uri: Uri,
    host: HeaderValue,
    spoken: Spoken,
    socket: Option<PathBuf>,
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    /// HTTP/2 from the first byte, without TLS.
    Http2,
    /// What it chooses in the handshake of TLS.
    Negotiated,
}

/// Why a text names no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginError {
    Uri(String),
    Scheme(String),
    UserInfo(String),
    Path(String),
    Socket(String),
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(text) => write!(f, "`{text}` is not a valid URL; expected for example http://127.0.0.1:3000"),
            Self::Scheme(text) => write!(f, "`{text}` begins neither with http:// nor with https://, h2c:// or unix:"),
            // The text may hold a password, so it is not repeated.
            Self::UserInfo(host) => write!(f, "the URL for `{host}` contains a user name, which is not supported"),
            Self::Socket(text) => write!(
                f,
                "`{text}` is not the whole path of a Unix socket, without blanks and of at most {MAX_SOCKET} bytes; expected for example unix:/run/app.sock"
            ),
            Self::Path(text) => write!(f, "`{text}` has a path; requests keep the path that the client asked for"),
        }
    }
}

impl std::error::Error for OriginError {}

/// The bytes of a path that fit the address of a socket (`unix(7)`), with a zero behind them.
pub const MAX_SOCKET: usize = 107;

/// The path of a socket, if `text` can be one.
pub fn socket_path(text: &str) -> Option<PathBuf> {
    // Without blanks, so that it is one word in a log.
    let is_path = text.starts_with('/')
        && !text.ends_with('/')
        && text.len() <= MAX_SOCKET
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_path.then(|| PathBuf::from(text))
}

impl Origin {
    pub fn spoken(&self) -> Spoken {
        self.spoken
    }

    /// The Unix socket on which it is, if it is on one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What `Host` says when the client's own is not passed on.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (spoken, rest) = match text.strip_prefix("h2c") {
            Some(rest) if rest.starts_with("://") => (Spoken::Http2, format!("http{rest}")),
            Some(rest) if rest.starts_with("+unix:") => (Spoken::Http2, rest.trim_start_matches('+').to_owned()),
            _ if text.starts_with("https:") => (Spoken::Negotiated, text.to_owned()),
            _ => (Spoken::Http1, text.to_owned()),
        };
        if let Some(path) = rest.strip_prefix("unix:") {
            let socket = Some(socket_path(path).ok_or_else(|| OriginError::Socket(text.to_owned()))?);
            let (uri, host) = (Uri::from_static("http://localhost"), HeaderValue::from_static("localhost"));
            return Ok(Self { uri, host, spoken, socket });
        }
        let uri: Uri = rest.parse().map_err(|_| OriginError::Uri(text.to_owned()))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(OriginError::Uri(text.to_owned()));
        };
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(OriginError::Scheme(text.to_owned()));
        }
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo(authority.host().to_owned()));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(OriginError::Path(text.to_owned()));
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| OriginError::Uri(text.to_owned()))?;
        Ok(Self { uri, host, spoken, socket: None })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            let spoken = if self.spoken == Spoken::Http2 { "h2c+" } else { "" };
            return write!(f, "{spoken}unix:{}", socket.display());
        }
        let scheme = if self.spoken == Spoken::Http2 { "h2c" } else { self.uri.scheme_str().unwrap_or("http") };
        write!(f, "{scheme}://{}", self.uri.authority().map_or("", |authority| authority.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin: Origin = "http://example.com:3000".parse().unwrap();
        assert_eq!(origin.to_string(), "http://example.com:3000");
        assert_eq!(origin.host(), "example.com:3000");
        assert!(matches!("example.com".parse::<Origin>(), Err(OriginError::Uri(_))));
        for (text, spoken, uri, host, socket) in [
            ("http://a:80", Spoken::Http1, "http://a:80/", "a:80", None),
            ("https://a", Spoken::Negotiated, "https://a/", "a", None),
            ("h2c://[::1]:50051", Spoken::Http2, "http://[::1]:50051/", "[::1]:50051", None),
            ("unix:/run/a.sock", Spoken::Http1, "http://localhost/", "localhost", Some("/run/a.sock")),
            ("h2c+unix:/run/a.sock", Spoken::Http2, "http://localhost/", "localhost", Some("/run/a.sock")),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!((origin.spoken(), origin.uri().to_string().as_str()), (spoken, uri), "{text}");
            assert_eq!((origin.host().to_str().unwrap(), origin.socket()), (host, socket.map(Path::new)), "{text}");
            assert_eq!(origin.to_string(), text);
        }
        for bad in [
            "unix:",
            "unix:run/a.sock",
            "unix:/",
            "unix://a/b/",
            "h2c+unix:a",
            "unix:/a b",
            &format!("unix:/{}", "a".repeat(107)),
        ] {
            assert!(matches!(bad.parse::<Origin>(), Err(OriginError::Socket(_))), "{bad}");
        }
        assert!(matches!("h2c:/a".parse::<Origin>(), Err(OriginError::Uri(_))));
        assert!(matches!("h2c+http://a".parse::<Origin>(), Err(OriginError::Scheme(_))));
        assert!(matches!("ftp://example.com".parse::<Origin>(), Err(OriginError::Scheme(_))));
        assert!(matches!("http://example.com/api".parse::<Origin>(), Err(OriginError::Path(_))));
        let error = "http://me:secret@example.com".parse::<Origin>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
