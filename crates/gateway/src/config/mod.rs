//! The configuration of `tollgate gateway`: one YAML file with everything.
//!
//! [`file`] understands the text, [`load`] reads it from the disk, [`watch`] sees it change, [`check`] explains it.

pub(crate) mod check;
mod file;
mod load;
pub(crate) mod watch;

pub(crate) use self::file::Config;
pub(crate) use self::load::load;
