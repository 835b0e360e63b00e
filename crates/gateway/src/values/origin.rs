//! Where a server is: scheme, host and port.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::header::HeaderValue;
use http::uri::Scheme;

/// Where an upstream is: scheme, host and port, and no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    uri: Uri,
    host: HeaderValue,
}

/// Why a text names no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginError {
    Uri(String),
    Scheme(String),
    UserInfo(String),
    Path(String),
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(text) => write!(f, "`{text}` is not a valid URL; expected for example http://127.0.0.1:3000"),
            Self::Scheme(text) => write!(f, "`{text}` begins neither with http:// nor with https://"),
            // The text may hold a password, so it is not repeated.
            Self::UserInfo(host) => write!(f, "the URL for `{host}` contains a user name, which is not supported"),
            Self::Path(text) => write!(f, "`{text}` has a path; requests keep the path that the client asked for"),
        }
    }
}

impl std::error::Error for OriginError {}

impl Origin {
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
        let uri: Uri = text.parse().map_err(|_| OriginError::Uri(text.to_owned()))?;
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
        Ok(Self { uri, host })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
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
        assert!(matches!("ftp://example.com".parse::<Origin>(), Err(OriginError::Scheme(_))));
        assert!(matches!("http://example.com/api".parse::<Origin>(), Err(OriginError::Path(_))));
        let error = "http://me:secret@example.com".parse::<Origin>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
