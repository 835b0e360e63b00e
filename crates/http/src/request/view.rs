//! What is asked of a request, whatever its type is.

use std::net::IpAddr;

use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri};
use smallvec::SmallVec;

use super::peer::{AuthenticatedUser, peer};

/// Header fields that can be looked up by name.
pub trait Fields {
    /// [Pushes](FieldLines::push) the value of each line of the field, in the order in which the lines came. Nothing is pushed
    /// for a field that is not there.
    ///
    /// `name` is in lower case.
    fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>);
}

/// A request as rules ask about it, all but its body: they look up what they need, and nothing is built or copied for it.
///
/// Implemented for [`http::Request`], for its [`Parts`], and for [`RequestParts`]. A server with other types, or another language,
/// implements it over its own:
///
/// ```
/// use std::net::IpAddr;
///
/// use http::HeaderName;
/// use tollgate_http::request::{FieldLines, Fields, RequestView};
/// use tollgate_http::{LimiterConfig, Policy, RateLimiter};
///
/// struct Raw {
///     path: &'static str,
///     fields: Vec<(&'static str, &'static str)>,
/// }
///
/// impl Fields for Raw {
///     fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>) {
///         let found = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_str()));
///         found.for_each(|(_, value)| lines.push(value.as_bytes()));
///     }
/// }
///
/// impl RequestView for Raw {
///     fn method(&self) -> &str {
///         "GET"
///     }
///     fn path(&self) -> &str {
///         self.path
///     }
///     fn peer(&self) -> Option<IpAddr> {
///         None
///     }
/// }
///
/// let policy = Policy::new("default", "1/minute")?.key("header:x-api-key".parse()?);
/// let limiter = RateLimiter::new(LimiterConfig::new().policy(policy))?;
/// let request = Raw { path: "/", fields: vec![("X-Api-Key", "k")] };
/// assert!(limiter.check(&request).is_admitted());
/// assert!(!limiter.check(&request).is_admitted());
/// # Ok::<(), tollgate_http::ConfigError>(())
/// ```
pub trait RequestView: Fields {
    /// The method, such as `GET`.
    fn method(&self) -> &str;

    /// The path of the target as it came, without the query.
    fn path(&self) -> &str;

    /// The query of the target, without the `?`.
    fn query(&self) -> Option<&str> {
        None
    }

    /// The host in the target, without the port: `:authority` of HTTP/2, or of a target with a scheme. The field `Host` is looked
    /// up beside it.
    fn target_host(&self) -> Option<&str> {
        None
    }

    /// The address at the other end of the connection.
    fn peer(&self) -> Option<IpAddr>;

    /// The user that the application has authenticated, for the key part `user`.
    fn user(&self) -> Option<&str> {
        None
    }

    /// What earlier layers have left, for functions that look at it.
    fn extensions(&self) -> Option<&Extensions> {
        None
    }
}

/// The lines of one header field, in the order in which they came. Up to four take no allocation.
#[derive(Debug, Clone, Default)]
pub struct FieldLines<'f>(SmallVec<[&'f [u8]; 4]>);

impl<'f> FieldLines<'f> {
    /// The lines of `name` in `fields`.
    #[must_use]
    pub fn of(fields: &'f (impl Fields + ?Sized), name: &HeaderName) -> Self {
        let mut lines = Self::default();
        fields.field(name, &mut lines);
        lines
    }

    /// One more line.
    pub fn push(&mut self, line: &'f [u8]) {
        self.0.push(line);
    }

    /// The first line.
    #[must_use]
    pub fn first(&self) -> Option<&'f [u8]> {
        self.0.first().copied()
    }

    /// The line, if there is exactly one: of two, the client may have written one.
    #[must_use]
    pub fn only(&self) -> Option<&'f [u8]> {
        match self.0.as_slice() {
            [line] => Some(line),
            _ => None,
        }
    }

    /// Whether the field is not there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'f> IntoIterator for FieldLines<'f> {
    type Item = &'f [u8];
    type IntoIter = smallvec::IntoIter<[&'f [u8]; 4]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Fields for HeaderMap {
    fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>) {
        self.get_all(name).iter().for_each(|line| lines.push(line.as_bytes()));
    }
}

/// The parts of a request that are held apart, and a peer that is known from elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    peer: Option<IpAddr>,
}

impl<'a> RequestParts<'a> {
    /// A request of these parts. No peer is looked for in `extensions`.
    #[must_use]
    pub const fn new(
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
        peer: Option<IpAddr>,
    ) -> Self {
        Self { method, uri, headers, extensions, peer }
    }
}

/// The look-ups in a type that has method, URI, headers and extensions as the crate `http` has them.
macro_rules! view {
    ([$($generics:tt)*] $type:ty, $self:ident, $method:expr, $uri:expr, $headers:expr, $extensions:expr, $peer:expr) => {
        impl<$($generics)*> Fields for $type {
            fn field<'f>(&'f $self, name: &HeaderName, lines: &mut FieldLines<'f>) {
                $headers.field(name, lines);
            }
        }

        impl<$($generics)*> RequestView for $type {
            fn method(&$self) -> &str {
                $method.as_str()
            }

            fn path(&$self) -> &str {
                $uri.path()
            }

            fn query(&$self) -> Option<&str> {
                $uri.query()
            }

            fn target_host(&$self) -> Option<&str> {
                $uri.host()
            }

            #[inline(always)] // an address of 17 bytes comes back through memory, which a processor forwards slowly
            fn peer(&$self) -> Option<IpAddr> {
                $peer
            }

            fn user(&$self) -> Option<&str> {
                $extensions.get::<AuthenticatedUser>().map(|user| &*user.0)
            }

            fn extensions(&$self) -> Option<&Extensions> {
                Some(&$extensions)
            }
        }
    };
}

view!([B] Request<B>, self, self.method(), self.uri(), self.headers(), *self.extensions(), peer(self.extensions()));
view!([] Parts, self, self.method, self.uri, self.headers, self.extensions, peer(&self.extensions));
view!([] RequestParts<'_>, self, self.method, self.uri, self.headers, *self.extensions, self.peer);
