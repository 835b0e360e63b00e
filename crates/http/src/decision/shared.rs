//! What all clones of a limiter share.

use arc_swap::ArcSwap;

use crate::decision::compile::Rules;
use crate::decision::engine::Engine;
use crate::decision::warnings::Warnings;
use crate::stats::DecisionTimer;

/// The engine, and the rules that are in force.
pub(crate) struct Shared<C> {
    pub(crate) engine: Engine<C>,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) timer: DecisionTimer,
    pub(crate) warnings: Warnings,
}
