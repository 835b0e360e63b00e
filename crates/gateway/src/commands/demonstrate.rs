//! What a run without arguments does: the sample under a simple policy, and how to go on from there.

use crate::replay::{self, ReplayArgs};
use crate::values::failure::Failure;
use crate::values::output;

pub(crate) fn run() -> Result<(), Failure> {
    replay::run(&ReplayArgs::demonstration()?)?;
    output::print(
        "\nThis was a log made up by the program (`tollgate sample` prints it). On a log of yours:\n  \
         tollgate replay --limit 10/minute access.log\n  \
         tollgate replay --limit '200 per day, 50 per hour' --key ip+path --svg limits.svg access.log.gz\n\
         Everything else: tollgate replay --help\n",
    )
}
