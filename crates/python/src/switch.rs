//! The off switch: for tests, and for a program whose limits have to go at once.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Whether nothing is limited in this process.
#[inline]
pub(crate) fn is_off() -> bool {
    // Relaxed, with the store below: a flag by itself, which guards nothing else. No model.
    IS_OFF.load(Ordering::Relaxed)
}

/// Whether anything is limited in this process.
#[pyfunction]
pub(crate) fn is_enabled() -> bool {
    !is_off()
}

/// Limits, or admits all and takes nothing, in this process, from now on; what it was before.
#[pyfunction]
pub(crate) fn set_enabled(enabled: bool) -> bool {
    !IS_OFF.swap(!enabled, Ordering::Relaxed)
}
