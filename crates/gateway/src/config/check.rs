//! `tollgate check-config`: whether a file can be used, and what it means.

use std::path::Path;

use tollgate_http::{ConfigError, RateLimiter};

use crate::cli::CheckConfigArgs;
use crate::failure::Failure;
use crate::output;

/// Checks the file of `args` as `tollgate gateway` would, and explains it.
pub(crate) fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let config = super::load(&args.file)?;
    // Whether there is room for the table is known once it is there.
    RateLimiter::new(config.limits.clone()).map_err(|error| no_limiter(&args.file, &error))?;
    output::print(&format!("{} can be used.\n\n{}", args.file.display(), config.explain()))
}

/// Why the limiter of a file that is right by itself cannot be made.
pub(crate) fn no_limiter(path: &Path, error: &ConfigError) -> Failure {
    Failure::Config(format!("{}: limiter: {error}", path.display()))
}
