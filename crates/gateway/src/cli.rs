//! The command line: what can be asked, and the exit code that says how it went.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::check_config::{self, CheckConfigArgs};
use crate::commands::demonstrate;
use crate::commands::keys::{self, KeysArgs};
use crate::commands::serve::{self, GatewayArgs};
use crate::commands::table::{self, TableArgs};
use crate::replay::{self, NOTES as REPLAY_NOTES, ReplayArgs};
use crate::values::failure::Failure;
use crate::values::output;

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failure
   2  the command line or the policy cannot be used
   3  somebody would be refused (replay --fail-if-refused, keys show --fail-if-refused)
  65  the input is not an access log, or is damaged
  66  an input file is missing or may not be read
  73  the picture cannot be written
  74  reading or writing broke down on the way
  78  the configuration file is wrong
 130  ended by Ctrl-C; what was read until then has been shown";

/// A rate limiter that can be tried on yesterday's log before anybody is limited.
///
/// Without arguments it replays a small log that it makes itself.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 120, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay access logs through a policy and show who would be limited
    #[command(after_help = EXIT_CODES, after_long_help = format!("{REPLAY_NOTES}\n\n{EXIT_CODES}"))]
    Replay(Box<ReplayArgs>),
    /// Stand in front of an API as a reverse proxy
    #[command(after_help = EXIT_CODES)]
    Gateway(GatewayArgs),
    /// Check a configuration file of the gateway, and explain what it means
    #[command(after_help = EXIT_CODES)]
    CheckConfig(CheckConfigArgs),
    /// Show where one client stands in a running gateway, or let it begin anew
    #[command(after_help = EXIT_CODES)]
    Keys(KeysArgs),
    /// Show what is in a table or its snapshot, write one down, restore it
    #[command(after_help = EXIT_CODES)]
    Table(TableArgs),
    /// Print the sample log that a run without arguments replays
    #[command(after_help = EXIT_CODES)]
    Sample,
}

/// Does what the command line of this process asks for.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        None => demonstrate::run(),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Gateway(args)) => serve::run(&args),
        Some(Command::CheckConfig(args)) => check_config::run(&args),
        Some(Command::Keys(args)) => keys::run(&args),
        Some(Command::Table(args)) => table::run(&args),
        Some(Command::Sample) => output::print(&replay::sample::log()),
    };
    match outcome {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        // The report has said it.
        Err(failure @ (Failure::Refused | Failure::Interrupted)) => ExitCode::from(failure.code()),
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}
