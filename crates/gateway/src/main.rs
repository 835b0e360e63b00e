//! The `tollgate` program.

use std::process::ExitCode;

/// A request takes some twenty allocations from the tables of HTTP libraries, on threads that share nothing: the system's
/// allocator spends three times the instructions on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollgate_gateway::cli::run()
}
