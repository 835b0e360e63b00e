//! Which keys are hot, and what this node holds of them. Bounded: a key that finds no place stays exact.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::lease::hot::{Hot, Steps};
use crate::lease::near;
use crate::lease::tally::Tally;
use crate::limit::FleetLimit;
use crate::secret::Subject;

/// As many keys are held at most; a power of two.
const PLACES: usize = 16_384;
/// A key is in one of so many places.
const WAYS: usize = 4;

#[derive(Debug)]
pub(crate) struct Leases {
    hot: Box<[ArcSwapOption<Hot>]>,
    /// Which key was there last, and when: 32 bits each.
    seen: Box<[AtomicU64]>,
    steps: Arc<Steps>,
    #[cfg(any(test, not(target_os = "linux")))]
    start: tokio::time::Instant,
    /// How long what a server said last is taken for true, in nanoseconds.
    pub(crate) fresh: u64,
    /// What was decided here.
    pub(crate) decided: Tally,
    /// How often tokens were asked for.
    asked: AtomicU64,
    /// By as many millionths this node's clock runs fast.
    #[cfg(test)]
    pub(crate) drift: i64,
    /// For so many nanoseconds it has stood still.
    #[cfg(test)]
    pub(crate) stood: AtomicU64,
}

impl Leases {
    pub(crate) fn new(fresh: u64) -> Self {
        Self {
            hot: (0..PLACES).map(|_| ArcSwapOption::empty()).collect(),
            seen: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            steps: Arc::default(),
            #[cfg(any(test, not(target_os = "linux")))]
            start: tokio::time::Instant::now(),
            fresh,
            decided: Tally::new(),
            asked: AtomicU64::new(0),
            #[cfg(test)]
            drift: 0,
            #[cfg(test)]
            stood: AtomicU64::new(0),
        }
    }

    /// This node's clock, in nanoseconds: on Linux one that goes on while the machine is suspended, as the servers' clocks do.
    #[cfg(all(target_os = "linux", not(test)))]
    #[allow(clippy::unused_self, reason = "elsewhere it has a beginning")]
    pub(crate) fn now(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // Neither is negative on a clock that began with the machine; 584 years, and one second so that nothing began at 0.
        let [seconds, nanos] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
        seconds.saturating_add(1).saturating_mul(1_000_000_000).saturating_add(nanos)
    }

    #[cfg(any(test, not(target_os = "linux")))]
    pub(crate) fn now(&self) -> u64 {
        // 584 years, and one second so that nothing began at 0.
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1_000_000_000);
        #[cfg(test)]
        let now = now.saturating_add_signed(i64::try_from(now).unwrap() / 1_000_000 * self.drift)
            - self.stood.load(Ordering::Relaxed);
        now
    }

    fn places(subject: &Subject, limit: &FleetLimit) -> (usize, u64) {
        let hash = subject.hash() ^ limit.hash();
        let place = usize::try_from(hash >> 32).unwrap_or(0) % (PLACES / WAYS) * WAYS;
        (place, hash)
    }

    /// What is seen of a key, given its hash and how to tell it, if it is hot and this thread has looked at it lately.
    #[inline]
    pub(crate) fn near<R>(
        &self,
        hash: u64,
        is_it: impl FnOnce(&Subject) -> bool,
        limit: &FleetLimit,
        look: impl FnOnce(&Arc<Hot>, Option<usize>) -> Option<R>,
    ) -> Option<R> {
        near::with(hash ^ limit.hash(), |hot| hot.is_of(limit, &self.steps) && is_it(&hot.subject), look)
    }

    /// Looks at what is held of a key, if it is hot; this thread has it near from then on.
    pub(crate) fn with<R>(
        &self,
        subject: &Subject,
        limit: &FleetLimit,
        look: impl FnOnce(&Arc<Hot>) -> R,
    ) -> Option<R> {
        let (place, hash) = Self::places(subject, limit);
        for slot in &self.hot[place..place + WAYS] {
            let hot = slot.load();
            let is_it = |hot: &&Arc<Hot>| hot.hash == hash && hot.is_of(limit, &self.steps) && hot.subject.is(subject);
            if let Some(hot) = hot.as_ref().filter(is_it) {
                near::keep(hot);
                return Some(look(hot));
            }
        }
        None
    }

    /// What is held of a key; begun if it is asked for again so soon that it is hot.
    pub(crate) fn get(&self, subject: &Subject, limit: &FleetLimit, now: u64) -> Option<Arc<Hot>> {
        if let Some(hot) = self.with(subject, limit, Arc::clone) {
            return Some(hot);
        }
        let plan = limit.plan()?;
        let (place, hash) = Self::places(subject, limit);
        // Relaxed: a guess at what is worth a place. No model.
        let cell = &self.seen[place + usize::try_from(hash).unwrap_or(0) % WAYS];
        let tag = hash << 32;
        let ms = (now / 1_000_000) & 0xFFFF_FFFF;
        let before = cell.swap(tag | ms, Ordering::Relaxed);
        let is_hot = before >> 32 == tag >> 32 && ms.saturating_sub(before & 0xFFFF_FFFF) <= plan.hot / 1_000_000;
        if !is_hot {
            return None;
        }
        let new = Arc::new(Hot::new(subject.clone(), limit.clone(), &self.steps, now));
        // A place of nobody, or of whoever was asked for longest ago, if that is long ago.
        for slot in &self.hot[place..place + WAYS] {
            let old = slot.load_full();
            let is_free = old.as_ref().is_none_or(|old| {
                let idle = now.saturating_sub(old.asked_at());
                old.is_past() || old.limit.plan().is_none_or(|plan| idle > plan.depth.min(10_000_000_000))
            });
            if is_free {
                let seen = slot.compare_and_swap(&old, Some(Arc::clone(&new)));
                if let Some(old) = &old {
                    old.leave();
                }
                let is_mine = match (seen.as_ref(), &old) {
                    (None, None) => true,
                    (Some(seen), Some(old)) => Arc::ptr_eq(seen, old),
                    _ => false,
                };
                // Of two at once one is in the table; what the other takes in advance is paid for as well, and lapses.
                return if is_mine { Some(new) } else { self.with(subject, limit, Arc::clone) };
            }
        }
        None
    }

    /// A server's clock has stepped.
    pub(crate) fn step(&self) {
        self.steps.step();
    }

    /// Tokens are asked for.
    pub(crate) fn count_asked(&self) {
        // Relaxed, with the load in `asked`: a number by itself, to be shown. No model.
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often tokens were asked for.
    pub(crate) fn asked(&self) -> u64 {
        // Relaxed: as `count_asked`.
        self.asked.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use ahash::RandomState;

    use super::*;
    use crate::outage::OnOutage;
    use crate::secret::Secret;

    fn subjects() -> impl Fn(&u64) -> Subject {
        let (secret, hasher) = (Secret::new(b"a secret of the tests"), RandomState::new());
        move |key| Subject::new(key, &secret, &hasher)
    }

    fn limit(name: &str) -> FleetLimit {
        FleetLimit::new(name, "100/second burst 100".parse().unwrap(), OnOutage::Closed, None, 4).unwrap().leased()
    }

    #[test]
    fn however_many_keys_there_are_no_more_are_held() {
        let (leases, subject, limit) = (Leases::new(250_000_000), subjects(), limit("api"));
        let held = || leases.hot.iter().filter(|slot| slot.load().is_some()).count();
        let now = 1_000_000_000;
        let mut found = 0;
        for key in 0..60_000_u64 {
            let subject = subject(&key);
            assert!(leases.get(&subject, &limit, now).is_none(), "once is not often");
            found += usize::from(leases.get(&subject, &limit, now + 1_000_000).is_some());
        }
        // Who was first has the place as long as it is asked for.
        assert_eq!(held(), found);
        assert!(found > PLACES * 9 / 10 && found <= PLACES, "{found}");
        assert!(leases.with(&subject(&0_u64), &limit, |_| ()).is_some());
        // After the depth it is another's, and what a thread has kept of it is nobody's: it is not told of resets.
        let later = now + 3_000_000_000;
        let mine = subject(&0_u64);
        let near = || leases.near(mine.hash(), |known| known.is(&mine), &limit, |_, _| Some(()));
        assert!(leases.with(&mine, &limit, |_| ()).is_some() && near().is_some());
        leases.with(&mine, &limit, |hot| hot.leave());
        assert!(near().is_none() && leases.with(&mine, &limit, |_| ()).is_none());
        for key in 60_000..61_000_u64 {
            let subject = subject(&key);
            let _ = leases.get(&subject, &limit, later);
            assert!(leases.get(&subject, &limit, later).is_some());
        }
        assert!(held() <= PLACES);
    }

    #[test]
    fn keys_and_limits_stay_apart_whatever_their_bytes() {
        let (secret, hasher) = (Secret::new(b"a secret of the tests"), RandomState::new());
        let long = "{a}:tg1\r\n".repeat(10_000);
        let keys =
            ["", "\0", "\0\0", "a", "{a}", "a}", "{", "}{", "a\r\nSET x y\r\n", "tg1:{a}:api", "\u{202e}", &*long];
        let limits = ["a", "a:b", "{a}", "a}", "%3A", ":", " ", "\0", "a\r\n", "ü"].map(limit);
        let mut names = std::collections::HashSet::new();
        for key in keys {
            for limit in &limits {
                let name = limit.key(Subject::new(key, &secret, &hasher).name(&secret));
                let (subject, rest) = name.strip_prefix("tg1:{").unwrap().split_once("}:").unwrap();
                assert!(
                    subject.len() == 26
                        && subject.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                );
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%-_./:".contains(&byte);
                assert!(rest.bytes().all(plain) && rest.matches(':').count() == 1, "{rest}");
                assert!(names.insert(name), "{key:?} {limit:?}");
            }
        }
        // A key is its kind as well as its bytes.
        let named = |subject: Subject| *subject.name(&secret);
        let of = |text: &str| named(Subject::new(text, &secret, &hasher));
        assert_ne!(of("1"), named(Subject::new(&1_u64, &secret, &hasher)));
        let pair = |a: &str, b: &str| named(Subject::new(&(a, b), &secret, &hasher));
        assert_ne!(pair("a", "bc"), pair("ab", "c"));
    }
}
