//! The `tollgate` program: a rate-limit policy tried on yesterday's log before anybody is limited by it.
//!
//! The subcommands share this file, [`cli`] and [`failure`]; everything else belongs to one of them.

mod admin;
mod cli;
mod config;
mod failure;
mod gateway;
mod output;
mod replay;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        None => replay::demonstrate(),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Gateway(args)) => gateway::run(&args),
        Some(Command::CheckConfig(args)) => config::check::run(&args),
        Some(Command::Sample) => output::print(&replay::sample::log()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}
