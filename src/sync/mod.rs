//! The facade for atomics: the only folder of the engine that names `core::sync::atomic`, `atomic`, `loom` or `shuttle`.
//!
//! Everything shared between threads is an [`Atomic<T>`] of a type as wide as a `u64`. In a normal build that is
//! `atomic::Atomic`, asserted to be lock-free at compile time; under `--cfg tollgate_model` it is an atomic of a
//! [witness] with the same face, so that the models run the code that ships.

#[cfg(all(tollgate_count, not(tollgate_model)))]
pub(crate) mod counting;
#[cfg(tollgate_model)]
mod model;
#[cfg(not(tollgate_model))]
mod real;
#[cfg(tollgate_model)]
#[allow(missing_docs, missing_debug_implementations, reason = "for the models only")]
pub mod witness;

#[cfg(tollgate_model)]
pub(crate) use model::*;
#[cfg(not(tollgate_model))]
pub(crate) use real::*;
