//! What all clones of a limiter share.

use std::cell::Cell;
use std::rc::Rc;
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

/// Rules that a thread has seen, so that a request need not count, where other threads do, who holds them.
pub(crate) struct Seen {
    limiter: u64,
    version: u64,
    pub(crate) rules: Arc<Rules>,
}

/// For as many limiters in one process; more of them take turns.
const SEEN: usize = 4;

thread_local! {
    static SEEN_HERE: [Cell<Option<Rc<Seen>>>; SEEN] = const { [const { Cell::new(None) }; SEEN] };
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
        // Release, with the load in `rules_here`: who sees the number finds these rules, or later ones.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The rules in force, as this thread has them. Writes nothing that another thread reads, unless they have been replaced
    /// since this thread last looked.
    #[inline]
    pub(crate) fn rules_here(&self) -> Rc<Seen> {
        // Acquire, with the addition in `replace`. Before the rules are loaded: they may be later ones, never earlier.
        let version = self.version.load(Ordering::Acquire);
        let seen = SEEN_HERE.try_with(|seen| {
            let place = self.place(seen)?;
            let kept = place.take();
            let found = kept.clone().filter(|kept| (kept.limiter, kept.version) == (self.id, version));
            place.set(kept);
            found
        });
        seen.ok().flatten().unwrap_or_else(|| self.look(version))
    }

    /// Looks at the rules in force, of this version or later.
    #[cold]
    fn look(&self, version: u64) -> Rc<Seen> {
        let seen = Rc::new(Seen { limiter: self.id, version, rules: self.rules() });
        // A thread that is ending keeps nothing.
        let _ = SEEN_HERE.try_with(|here| self.place(here).map(|place| place.set(Some(Rc::clone(&seen)))));
        seen
    }

    fn place<'a, T>(&self, places: &'a [T; SEEN]) -> Option<&'a T> {
        places.get(usize::try_from(self.id).unwrap_or(0) % SEEN)
    }
}
