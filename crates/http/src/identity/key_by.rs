//! How the key of a request is found: by its parts, or by a function of the application.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;

use smallvec::SmallVec;
use tollgate::Key;
use tollgate::key::KeyWriter;

use super::key::KeySpec;
use crate::request::RequestInfo;

/// A future that is sent between threads.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type KeyFunction = dyn Fn(&RequestInfo<'_>, &mut KeySlot) + Send + Sync;
type AsyncKeyFunction = dyn Fn(&RequestInfo<'_>) -> BoxFuture<Option<KeyBytes>> + Send + Sync;
type LabelFunction = dyn Fn(&RequestInfo<'_>) -> Option<String> + Send + Sync;

/// How the key of a request is found. A function that sets none: it has none.
#[derive(Clone)]
pub(crate) enum KeyBy {
    Spec(KeySpec),
    Function(Arc<KeyFunction>),
    /// Asked before anything is decided, with what it needs of the request cloned into the future.
    Async(Arc<AsyncKeyFunction>),
}

impl fmt::Debug for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => spec.fmt(f),
            Self::Function(_) => f.write_str("a function"),
            Self::Async(_) => f.write_str("an async function"),
        }
    }
}

/// How operators see the keys of a function.
#[derive(Clone)]
pub(crate) struct LabelBy(pub(crate) Arc<LabelFunction>);

impl fmt::Debug for LabelBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

/// Where a [key function](crate::Policy::key_into) puts the key of a request.
#[derive(Debug, Default)]
pub struct KeySlot(Option<KeyBytes>);

impl KeySlot {
    /// `key` is the key of the request, in place of what was set before. Its bytes are copied; up to 48 of them (39 of a text)
    /// take no allocation.
    pub fn set(&mut self, key: &(impl Key + ?Sized)) {
        self.0 = Some(KeyBytes::of(key));
    }

    pub(crate) fn take(self) -> Option<KeyBytes> {
        self.0
    }
}

/// The bytes of a key, as [`tollgate::key`] defines them: what is left of it where its type is not known.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyBytes(SmallVec<[u8; 48]>);

impl KeyBytes {
    pub(crate) fn of(key: &(impl Key + ?Sized)) -> Self {
        let mut bytes = SmallVec::new();
        tollgate::key::feed(key, |part| bytes.extend_from_slice(part));
        Self(bytes)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The key in full, for people: text, a whole number or an address as it is, any other as its bytes in hexadecimal.
    pub(crate) fn text(&self) -> String {
        self.plain().unwrap_or_else(|| self.0.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn plain(&self) -> Option<String> {
        // One byte that says the kind, and the length in eight.
        let (tag, contents) = (*self.0.first()?, self.0.get(9..)?);
        match tag {
            b's' => String::from_utf8(contents.to_vec()).ok(),
            b'i' if contents.len() == 8 => Some(u64::from_be_bytes(contents.try_into().ok()?).to_string()),
            b'a' if contents.len() == 4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(contents).ok()?).to_string()),
            b'a' => Some(Ipv6Addr::from(<[u8; 16]>::try_from(contents).ok()?).to_string()),
            _ => None,
        }
    }
}

impl Key for KeyBytes {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.0.as_slice().write_to(out);
    }
}

/// Keys may be secrets.
impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn keys_of_functions_are_shown_as_what_they_are() {
        let text = |key: &dyn Fn() -> KeyBytes| key().text();
        assert_eq!(text(&|| KeyBytes::of("ada")), "ada");
        assert_eq!(text(&|| KeyBytes::of(&7_u8)), "7");
        assert_eq!(text(&|| KeyBytes::of(&IpAddr::from([192, 0, 2, 7]))), "192.0.2.7");
        assert_eq!(text(&|| KeyBytes::of(&Ipv6Addr::LOCALHOST)), "::1");
        assert_eq!(text(&|| KeyBytes::of(&true)), "66000000000000000101");
        assert_eq!(text(&|| KeyBytes::of(&(1, "a"))).len(), 2 * (9 + 17 + 10));
    }
}
