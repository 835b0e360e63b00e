//! What all clones of a limiter share.

use arc_swap::ArcSwap;

use crate::decision::compile::Rules;
use crate::decision::engine::Engine;

/// The engine, and the rules that are in force.
pub(crate) struct Shared<C> {
    pub(crate) engine: Engine<C>,
    pub(crate) rules: ArcSwap<Rules>,
    /// How long decisions take.
    pub(crate) decision_time: metrics::Histogram,
}
