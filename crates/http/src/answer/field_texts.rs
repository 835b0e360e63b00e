//! What the header fields of the current draft say of limits whatever a client has used: made with the rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;

use crate::per_thread::PerThread;

/// The texts of responses that one limit decides.
#[derive(Debug)]
pub(crate) struct FieldTexts {
    /// What `RateLimit-Policy` says.
    pub(crate) policies: HeaderValue,
    /// What `RateLimit` [begins with](super::Dialect::item_start).
    pub(crate) item_start: Box<[u8]>,
}

/// Texts that responses say without writing what other threads write.
///
/// A copy of a [`HeaderValue`] is counted where its bytes are, by two locked instructions, unless the bytes are static. So texts are
/// kept until the process ends, once, however many rules say them. Rules may change for as long, so that is bounded: of the
/// texts after that each thread has its own, whose copies are counted.
#[derive(Debug)]
pub(crate) enum SharedTexts {
    /// Until the process ends.
    Kept(&'static FieldTexts),
    /// As long as the rules.
    Copies(Box<PerThread<FieldTexts>>),
}

impl SharedTexts {
    pub(crate) fn new(policies: &HeaderValue, item_start: &str) -> Self {
        Self::kept_in(&KEPT, policies, item_start)
    }

    fn kept_in(kept: &Mutex<Kept>, policies: &HeaderValue, item_start: &str) -> Self {
        match kept.lock().unwrap_or_else(PoisonError::into_inner).keep(policies, item_start) {
            Some(texts) => Self::Kept(texts),
            None => Self::copies(policies, item_start),
        }
    }

    pub(super) fn copies(policies: &HeaderValue, item_start: &str) -> Self {
        let copy = || FieldTexts {
            policies: value(Bytes::copy_from_slice(policies.as_bytes())),
            item_start: item_start.as_bytes().into(),
        };
        Self::Copies(Box::new(PerThread::new(copy)))
    }

    /// Those of which this thread takes copies.
    #[inline]
    pub(crate) fn here(&self) -> &FieldTexts {
        match self {
            Self::Kept(texts) => texts,
            Self::Copies(copies) => copies.mine(),
        }
    }
}

/// Texts that are kept until the process ends, by what they say.
struct Kept {
    texts: BTreeMap<(&'static [u8], &'static [u8]), &'static FieldTexts>,
    /// What they take, about; at most [`Kept::MOST`].
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept::new());

impl Kept {
    const MOST: usize = 128 << 10;

    /// What one takes beside its bytes.
    const BESIDE: usize = 128;

    const fn new() -> Self {
        Self { texts: BTreeMap::new(), bytes: 0 }
    }

    /// Those that are kept and say this; `None` if there is no room for them.
    fn keep(&mut self, policies: &HeaderValue, item_start: &str) -> Option<&'static FieldTexts> {
        if let Some(kept) = self.texts.get(&(policies.as_bytes(), item_start.as_bytes())) {
            return Some(kept);
        }
        let takes = policies.len().saturating_add(item_start.len()).saturating_add(Self::BESIDE);
        self.bytes = self.bytes.checked_add(takes).filter(|&bytes| bytes <= Self::MOST)?;
        let policies: &'static [u8] = Box::leak(policies.as_bytes().into());
        let texts: &'static FieldTexts = Box::leak(Box::new(FieldTexts {
            policies: value(Bytes::from_static(policies)),
            item_start: item_start.as_bytes().into(),
        }));
        self.texts.insert((policies, &texts.item_start), texts);
        Some(texts)
    }
}

/// The value of bytes that were one before.
fn value(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(number: usize) -> HeaderValue {
        HeaderValue::try_from(format!("\"policy-{number}\";q=10;w=60")).unwrap()
    }

    #[test]
    fn what_says_the_same_is_kept_once() {
        let kept = Mutex::new(Kept::new());
        let keep = |number, start| match SharedTexts::kept_in(&kept, &policies(number), start) {
            SharedTexts::Kept(texts) => texts,
            SharedTexts::Copies(_) => panic!("there is room"),
        };
        let first = keep(1, "\"one\";r=");
        assert_eq!(first.policies, policies(1));
        assert_eq!(*first.item_start, *b"\"one\";r=");
        assert!(std::ptr::eq(first, keep(1, "\"one\";r=")));
        let (of_another_limit, of_other_policies) = (keep(1, "\"two\";r="), keep(2, "\"one\";r="));
        assert_eq!((&of_another_limit.policies, &*of_another_limit.item_start), (&policies(1), &b"\"two\";r="[..]));
        assert_eq!((&of_other_policies.policies, &*of_other_policies.item_start), (&policies(2), &b"\"one\";r="[..]));
        let each = policies(1).len() + "\"one\";r=".len() + Kept::BESIDE;
        assert_eq!(kept.lock().unwrap().bytes, 3 * each);
    }

    /// Rules that change for ever keep no more than the bound, say the same after it, and what is kept needs no room again.
    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Mutex::new(Kept::new());
        let keep = |number| SharedTexts::kept_in(&kept, &policies(number), "\"x\";r=");
        let texts: Vec<SharedTexts> = (0..2_000).map(keep).collect();
        for (number, texts) in texts.iter().enumerate() {
            assert_eq!(texts.here().policies, policies(number));
            assert_eq!(*texts.here().item_start, *b"\"x\";r=");
        }
        let count = texts.iter().filter(|texts| matches!(texts, SharedTexts::Kept(_))).count();
        assert!((500..1_500).contains(&count), "{count}");
        assert!(matches!(keep(0), SharedTexts::Kept(_)));
        let kept = kept.lock().unwrap();
        assert_eq!(kept.texts.len(), count);
        assert!(kept.bytes <= Kept::MOST, "{}", kept.bytes);
    }
}
