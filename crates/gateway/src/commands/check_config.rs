//! `tollgate check-config`: whether a file can be used, and what it means.

use std::path::PathBuf;

use clap::Args;
use tollgate_http::RateLimiter;

use crate::config;
use crate::values::failure::Failure;
use crate::values::output;

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// The file that `tollgate gateway --config` would be given
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Checks the file of `args` as `tollgate gateway` would, and explains it.
pub(crate) fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let config = config::load(&args.file)?;
    // Whether there is room for the table is known once it is there. Not at its path, if it is to be shared: that would be made
    // for whoever checks a file, and may be in use.
    RateLimiter::new(config.limits.clone().private()).map_err(|error| config::no_limiter(&args.file, &error))?;
    output::print(&format!("{} can be used.\n\n{}", args.file.display(), config.explain()))
}
