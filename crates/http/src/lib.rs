#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod dialect;
mod label;
mod line;
mod name;
mod standing;
mod top;
mod unknown;

pub use answer::{Answer, AnswerError, Body, RetryAfter, RetryForm, Template};
pub use dialect::{Dialect, Reset};
pub use label::{Label, Labeller};
pub use standing::{Standing, Unit};
pub use top::{TopRefused, TopRow};
pub use unknown::UnknownName;
