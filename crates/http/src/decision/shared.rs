//! What all clones of a limiter share.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::decision::compile::Rules;
use crate::decision::engine::Engine;
use crate::decision::warnings::Warnings;
use crate::stats::DecisionTimer;

/// The engine, and the rules that are in force.
pub(crate) struct Shared<C> {
    pub(crate) engine: Engine<C>,
    pub(crate) timer: DecisionTimer,
    pub(crate) warnings: Warnings,
    /// Which limiter of the process this is.
    id: u64,
    rules: ArcSwap<Rules>,
    /// How often the rules have been replaced.
    version: AtomicU64,
}

/// Rules that a thread has seen, so that a request need not count who holds them.
struct Seen {
    limiter: u64,
    version: u64,
    rules: Arc<Rules>,
}

/// For as many limiters in one process; more of them take turns.
const SEEN: usize = 4;

thread_local! {
    static RULES: RefCell<[Option<Seen>; SEEN]> = const { RefCell::new([const { None }; SEEN]) };
}

impl<C> Shared<C> {
    pub(crate) fn new(engine: Engine<C>, rules: Rules) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            engine,
            timer: DecisionTimer::new(),
            warnings: Warnings::default(),
            // Relaxed: a number by itself.
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            rules: ArcSwap::from_pointee(rules),
            version: AtomicU64::new(0),
        }
    }

    /// The rules in force, to keep.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// From now on these rules are in force.
    pub(crate) fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        // Release, with the load in `with_rules`: who sees the number finds these rules, or later ones.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Shows the rules in force to `look`. Writes nothing that another thread reads, unless they have been replaced since this
    /// thread last looked.
    #[inline]
    pub(crate) fn with_rules<T>(&self, look: impl Fn(&Arc<Rules>) -> T) -> T {
        let looked = RULES.try_with(|seen| {
            // Borrowed already: by a request that is being decided, in a function of the application that asks again.
            let mut seen = seen.try_borrow_mut().ok()?;
            let seen = seen.get_mut(usize::try_from(self.id).unwrap_or(0) % SEEN)?;
            // Acquire, with the addition in `replace`. Before the rules are loaded: they may be later ones, never earlier.
            let version = self.version.load(Ordering::Acquire);
            if seen.as_ref().is_none_or(|seen| (seen.limiter, seen.version) != (self.id, version)) {
                *seen = Some(Seen { limiter: self.id, version, rules: self.rules() });
            }
            seen.as_ref().map(|seen| look(&seen.rules))
        });
        // Or the thread is ending.
        looked.ok().flatten().unwrap_or_else(|| look(&self.rules()))
    }
}
