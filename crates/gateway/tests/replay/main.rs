//! The real program, run as a user runs it.

mod crosscheck;
mod formats;
mod inputs;
mod kinds;
mod model;
mod output;
mod policies;
mod suggest;
mod tool;
mod twin;
mod twists;
