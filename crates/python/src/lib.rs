//! The extension module `tollgate_limiter._engine`: the engine and the decision path of `tollgate-http`, as Python calls them.
//!
//! What has to be fast is here; what reads better in Python (waiting, decorators, frameworks) is in `python/tollgate_limiter`.
//! No thread is started, and nothing is kept that a fork would leave behind.

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]

mod clock;
mod decision;
mod errors;
mod fleet;
mod key;
mod limiter;
mod middleware;
mod request;
mod reservation;
mod switch;
mod table;
mod windows;

use pyo3::prelude::*;

/// See the package `tollgate_limiter`.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use crate::clock::ManualClock;
    #[pymodule_export]
    use crate::decision::Decision;
    #[pymodule_export]
    use crate::fleet::{Fleet, Question};
    #[pymodule_export]
    use crate::key::key_bytes;
    #[pymodule_export]
    use crate::limiter::Core;
    #[pymodule_export]
    use crate::middleware::{AsgiCore, Guard, Policies, WsgiCore};
    #[pymodule_export]
    use crate::reservation::Reservation;
    #[pymodule_export]
    use crate::switch::{is_enabled, set_enabled};
    #[pymodule_export]
    use crate::windows::HitWindows;
}
