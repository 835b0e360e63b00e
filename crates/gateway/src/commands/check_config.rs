//! `tollgate check-config`: whether a file can be used, and what it means.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tollgate_http::RateLimiter;

use crate::config;
use crate::config::file::{Config, Problem};
use crate::values::failure::Failure;
use crate::values::output;

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// The file that `tollgate gateway --config` would be given
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Say it as one object of JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Checks the file of `args` as `tollgate gateway` would, and explains it.
pub(crate) fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let file = &args.file;
    if !args.json {
        let config = config::load(file)?;
        can_be_held(args, &config)?;
        return output::print(&format!("{} can be used.\n\n{}", file.display(), config.explain()));
    }
    let (said, outcome) = match config::understand(file)? {
        Ok(config) => match can_be_held(args, &config) {
            Ok(()) => (usable(&config), Ok(())),
            Err(failure) => (unusable(vec![json!({ "what": failure.to_string() })]), Err(failure)),
        },
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| problem.in_file(file)).collect();
            (unusable(problems.iter().map(told).collect()), Err(Failure::Config(lines.join("\n"))))
        }
    };
    output::print(&format!("{said:#}\n"))?;
    outcome
}

/// Whether there is room for the table, which is known once it is there. Not at its path, if it is to be shared: that would be made
/// for whoever checks a file, and may be in use.
fn can_be_held(args: &CheckConfigArgs, config: &Config) -> Result<(), Failure> {
    let limiter = RateLimiter::new(config.limits.clone().private());
    limiter.map(drop).map_err(|error| config::no_limiter(&args.file, &error))
}

fn usable(config: &Config) -> Value {
    let policy = |plan: &crate::config::file::PolicyConfig| {
        json!({
            "name": plan.name,
            "refuses_everything": plan.refuses_all(),
            "explanation": plan.explain(),
        })
    };
    let policies: Vec<Value> = config.plans.iter().map(policy).collect();
    json!({ "usable": true, "problems": [], "policies": policies, "explanation": config.explain() })
}

fn unusable(problems: Vec<Value>) -> Value {
    json!({ "usable": false, "problems": problems })
}

fn told(problem: &Problem) -> Value {
    let Problem { place, path, what } = problem;
    json!({ "line": place.line, "column": place.column, "key": path, "what": what })
}
