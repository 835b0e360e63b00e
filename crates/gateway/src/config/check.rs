//! `tollgate check-config`: whether a file can be used, and what it means.

use tollgate_http::RateLimiter;

use crate::cli::CheckConfigArgs;
use crate::failure::Failure;
use crate::output;

/// Checks the file of `args` as `tollgate gateway` would, and explains it.
pub(crate) fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let path = args.file.display();
    let config = super::load(&args.file)?;
    // Whether there is room for the table is known once it is there.
    RateLimiter::new(config.limits.clone()).map_err(|error| Failure::Config(format!("{path}: limiter: {error}")))?;
    output::print(&format!("{path} can be used.\n\n{}", config.explain()))
}
