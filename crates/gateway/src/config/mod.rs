//! The configuration of `tollgate gateway`: one YAML file with everything.
//!
//! [`file`] understands the text and explains it, [`mod@load`] reads it from the disk, [`watch`] sees it change.

pub mod file;
mod load;
mod tier_file;
pub(crate) mod watch;

pub(crate) use self::file::Config;
pub(crate) use self::load::{load, no_limiter, understand};
