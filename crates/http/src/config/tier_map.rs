//! Which key is in which tier, for as many keys as a service has customers: made once, then only read.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};

use ahash::RandomState;
use hashbrown::HashTable;

use crate::error::ConfigError;
use crate::identity::key::OnePart;
use crate::identity::written::WrittenKey;
use crate::identity::{Grouping, KeyPart};
use crate::request::RequestInfo;

/// The most bytes that the keys of a map may have in all, with 9 more for each: their ends are numbers of 32 bits.
const MOST_BYTES: usize = u32::MAX as usize; // 2^32 - 1; where a `usize` has 16 bits, less, and then nothing that large fits

/// Which key is in which tier, by one part of a request, such as `header:x-api-key`.
///
/// Immutable, so a look-up takes no lock and no allocation; to change it, [reload](crate::RateLimiter::reload) the rules with another.
/// A million keys of 24 bytes take about 45 MB. Keys are compared as the keys of a policy are, so that no spelling of one is in
/// another tier.
///
/// ```
/// use std::sync::Arc;
///
/// use tollgate_http::{KeyPart, Policy, TierMap, Tiers};
///
/// let mut map = TierMap::builder("header:x-api-key".parse()?, &["free", "premium"])?;
/// map.add("abc", "premium")?;
/// let tiers = Tiers::by_map(Arc::new(map.build())).tier("free", "10/minute")?.tier("premium", "1000/minute")?;
/// let policy = Policy::new("api", "10/minute")?.key("header:x-api-key | ip".parse()?).tiers(tiers);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TierMap {
    by: KeyPart,
    grouping: Grouping,
    /// Of the tiers, in their order.
    names: Vec<String>,
    hasher: RandomState,
    /// The numbers of the keys, by their hashes.
    table: HashTable<u32>,
    /// All keys, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// The tier of each.
    tiers: Vec<u16>,
}

impl TierMap {
    /// A map that is to be filled, by the part of requests that says whose they are: a header field, a cookie, the host, the user
    /// or the client's address. Its tiers are those of the [`Tiers`](crate::Tiers) that it is given to, in the same order.
    ///
    /// # Errors
    ///
    /// If the part tells nobody apart: the path, the method, or `all`.
    pub fn builder(by: KeyPart, tiers: &[impl AsRef<str>]) -> Result<TierMapBuilder, ConfigError> {
        if matches!(by, KeyPart::Path | KeyPart::Method | KeyPart::All) {
            return Err(ConfigError::TierKey { part: by.to_string() });
        }
        let names = tiers.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(TierMapBuilder {
            map: Self {
                by,
                grouping: Grouping::default(),
                names,
                hasher: RandomState::new(),
                table: HashTable::new(),
                bytes: Vec::new(),
                ends: Vec::new(),
                tiers: Vec::new(),
            },
            hashes: Vec::new(),
        })
    }

    /// How many keys it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What it takes of memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let Self { table, bytes, ends, tiers, .. } = self;
        table.allocation_size() + bytes.capacity() + size_of_val(&**ends) + size_of_val(&**tiers)
    }

    /// The part of requests by which it is asked.
    #[must_use]
    pub const fn by(&self) -> &KeyPart {
        &self.by
    }

    /// The names of the tiers.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The tier of `request`; nothing if its key has no row, or if it has none or several.
    pub(crate) fn tier(&self, request: &RequestInfo<'_>) -> Option<usize> {
        if !self.by.is_in(request) {
            return None;
        }
        let key = OnePart { part: &self.by, request, grouping: self.grouping };
        let row = self.table.find(self.hash(&key), |row| self.is_row(*row, &key))?;
        Some(usize::from(*self.tiers.get(index(*row))?))
    }

    fn hash(&self, key: &OnePart<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        tollgate::key::feed(key, |part| hasher.write(part));
        hasher.finish()
    }

    fn is_row(&self, row: u32, key: &OnePart<'_>) -> bool {
        let end = |row: usize| self.ends.get(row).copied().unwrap_or_default();
        let begin = index(row).checked_sub(1).map_or(0, end);
        let mut rest = self.bytes.get(index(begin)..index(end(index(row))));
        tollgate::key::feed(key, |part| rest = rest.and_then(|rest| rest.strip_prefix(part)));
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// A number of a row or of a byte, which was made from a `usize`.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl fmt::Debug for TierMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys by {}", self.len(), self.by)
    }
}

/// A [`TierMap`] that is being filled.
pub struct TierMapBuilder {
    map: TierMap,
    /// Of each key.
    hashes: Vec<u64>,
}

impl TierMapBuilder {
    /// Which addresses count as one client, where the key is an address; by default as [`Grouping`] does.
    #[must_use]
    pub fn grouping(mut self, grouping: Grouping) -> Self {
        self.map.grouping = grouping;
        self
    }

    /// What keys are found by.
    #[must_use]
    pub const fn by(&self) -> &KeyPart {
        &self.map.by
    }

    /// One more key, with its tier. The key is the value of the part, as clients send it.
    ///
    /// # Errors
    ///
    /// If there is no such tier, if no request can have the key, if it is there already, or if there is no more room.
    pub fn add(&mut self, key: &str, tier: &str) -> Result<(), TierRowError> {
        let Self { map, hashes } = self;
        let tier = map.names.iter().position(|name| name == tier).and_then(|tier| u16::try_from(tier).ok());
        let tier = tier.ok_or(TierRowError::Tier)?;
        let written = WrittenKey::default().with_value(&map.by, key).ok_or(TierRowError::Key)?;
        let request = RequestInfo::new(&written);
        let key = OnePart { part: &map.by, request: &request, grouping: map.grouping };
        // Such as a cookie that servers read in several ways.
        if !map.by.is_in(&request) || tollgate::key::encode(&key) == tollgate::key::encode(&()) {
            return Err(TierRowError::Key);
        }
        let hash = map.hash(&key);
        if map.table.find(hash, |row| map.is_row(*row, &key)).is_some() {
            return Err(TierRowError::Twice);
        }
        let row = u32::try_from(map.ends.len()).map_err(|_| TierRowError::TooMany)?;
        let begin = map.bytes.len();
        tollgate::key::feed(&key, |part| map.bytes.extend_from_slice(part));
        let end = Some(map.bytes.len()).filter(|end| *end <= MOST_BYTES).and_then(|end| u32::try_from(end).ok());
        let Some(end) = end else {
            map.bytes.truncate(begin);
            return Err(TierRowError::TooMany);
        };
        map.ends.push(end);
        map.tiers.push(tier);
        hashes.push(hash);
        map.table.insert_unique(hash, row, |row| hashes.get(index(*row)).copied().unwrap_or_default());
        Ok(())
    }

    /// The map, with no more memory than it needs.
    #[must_use]
    pub fn build(self) -> TierMap {
        let Self { mut map, hashes } = self;
        map.table.shrink_to_fit(|row| hashes.get(index(*row)).copied().unwrap_or_default());
        map.bytes.shrink_to_fit();
        map.ends.shrink_to_fit();
        map.tiers.shrink_to_fit();
        map
    }
}

impl fmt::Debug for TierMapBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

/// Why a key cannot be added. Does not name it: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierRowError {
    /// There is no such tier.
    Tier,
    /// No request can have such a key.
    Key,
    /// The key is there already.
    Twice,
    /// There is no room for more keys.
    TooMany,
}

impl fmt::Display for TierRowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tier => "there is no such tier",
            Self::Key => "no request can have such a key",
            Self::Twice => "the key is there twice",
            Self::TooMany => "there are more keys than fit into 4 GiB",
        })
    }
}

impl std::error::Error for TierRowError {}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn map(by: &str, rows: &[(&str, &str)]) -> TierMap {
        let mut map = TierMap::builder(by.parse().unwrap(), &["free", "gold"]).unwrap();
        for (key, tier) in rows {
            map.add(key, tier).unwrap();
        }
        map.build()
    }

    fn tier(map: &TierMap, fields: &[(&str, &str)]) -> Option<usize> {
        let request = fields.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let peer = crate::request::PeerAddr("192.0.2.7:1".parse().unwrap());
        tier_of(map, &request.extension(peer).body(()).unwrap())
    }

    fn tier_of(map: &TierMap, request: &Request<()>) -> Option<usize> {
        map.tier(&RequestInfo::new(request))
    }

    #[test]
    fn keys_are_found_as_policies_find_them() {
        let keys = map("header:authorization", &[("Bearer abc", "gold"), ("x", "free")]);
        assert_eq!(tier(&keys, &[("authorization", "bearer  abc")]), Some(1));
        assert_eq!(tier(&keys, &[("authorization", "x")]), Some(0));
        assert_eq!(tier(&keys, &[("authorization", "Bearer abcd")]), None);
        assert_eq!(tier(&keys, &[("authorization", "Bearer ab")]), None);
        assert_eq!(tier(&keys, &[]), None);
        assert_eq!(tier(&keys, &[("authorization", "x"), ("authorization", "x")]), None, "several are nobody's");
        let cookies = map("cookie:sid", &[("7", "gold")]);
        assert_eq!(tier(&cookies, &[("cookie", "a=1; sid=\"%37\"")]), Some(1));
        let clients = map("ip", &[("192.0.2.7", "gold"), ("2001:db8::1", "free")]);
        assert_eq!(tier(&clients, &[]), Some(1));
        let peer = crate::request::PeerAddr("[2001:db8::2]:1".parse().unwrap());
        assert_eq!(tier_of(&clients, &Request::builder().extension(peer).body(()).unwrap()), Some(0), "its network");
    }

    #[test]
    fn rows_that_mean_nothing_are_refused() {
        let mut map = TierMap::builder("cookie:sid".parse().unwrap(), &["free"]).unwrap();
        map.add("abc", "free").unwrap();
        for (key, tier, error) in [
            ("abc", "free", TierRowError::Twice),
            ("%61bc", "free", TierRowError::Twice),
            ("d", "gold", TierRowError::Tier),
            ("", "free", TierRowError::Key),
            ("a\\b", "free", TierRowError::Key),
            ("a;b", "free", TierRowError::Key),
        ] {
            assert_eq!(map.add(key, tier), Err(error), "{key}");
        }
        assert_eq!(map.build().len(), 1);
        let mut clients = TierMap::builder(KeyPart::Client, &["free"]).unwrap();
        clients.add("2001:db8::1", "free").unwrap();
        assert_eq!(clients.add("2001:db8::2", "free"), Err(TierRowError::Twice));
        assert_eq!(clients.add("abc", "free"), Err(TierRowError::Key));
        assert!(TierMap::builder(KeyPart::Path, &["free"]).is_err());
    }

    #[test]
    fn of_many_each_is_found_and_no_other() {
        let mut map = TierMap::builder("header:x".parse().unwrap(), &["free", "gold"]).unwrap();
        for number in 0..20_000_u32 {
            map.add(&format!("key-{number}"), if number % 2 == 0 { "free" } else { "gold" }).unwrap();
        }
        let map = map.build();
        for number in 0..40_000_u32 {
            let expected = (number < 20_000).then_some(usize::from(number % 2 == 1));
            assert_eq!(tier(&map, &[("x", &format!("key-{number}"))]), expected, "{number}");
        }
        assert!((20_000 * 20..20_000 * 60).contains(&map.memory()), "{}", map.memory());
    }
}
