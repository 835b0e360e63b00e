//! `tollgate keys`: where a client stands in a running gateway, and a new start for it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::control::message::{Answer, KeyJson, LONGEST_ANSWER, LONGEST_QUESTION, LimitJson, Question, StandingJson};
use crate::values::failure::Failure;
use crate::values::output::{self, columns, grouped, printable};

/// Where the unit of systemd has the socket.
const DEFAULT_SOCKET: &str = "/run/tollgate/control.sock";

/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Show what each policy says of a client: what remains, how long it has to wait, what is in flight
    Show {
        #[command(flatten)]
        which: Which,
        /// Exit with 3 if a policy would refuse it now
        #[arg(long)]
        fail_if_refused: bool,
    },
    /// Fill a client's buckets, as if it had used nothing; what is in flight stays so
    Reset {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// An address; an API key, or whatever else the policies count by; several parts as A+B; `header:NAME:VALUE` or
    /// `cookie:NAME:VALUE` where a value may be that of several; `(none)` for requests without one; `POLICY=KEY` for one
    /// policy; `-` to read it from standard input
    #[arg(value_name = "KEY")]
    key: String,
    /// This policy alone
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The socket that `control` names in the configuration of the gateway
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Say it as one object of JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Does what `args` ask for.
pub(crate) fn run(args: &KeysArgs) -> Result<(), Failure> {
    let (which, resets, fails) = match &args.command {
        KeysCommand::Show { which, fail_if_refused } => (which, false, *fail_if_refused),
        KeysCommand::Reset { which } => (which, true, false),
    };
    let key = if which.key == "-" { from_input()? } else { which.key.clone() };
    let said = ask(&which.socket, &Question { key, policy: which.policy.clone(), resets })?;
    if which.json {
        let text = serde_json::to_string_pretty(&said);
        output::print(&format!("{}\n", text.map_err(|error| Failure::Other(error.to_string()))?))?;
    } else {
        output::print(&table(&said))?;
    }
    if fails && said.policies.iter().any(|standing| standing.refuses) {
        return Err(Failure::Refused);
    }
    if said.unanswered.is_empty() {
        return Ok(());
    }
    let policies: Vec<String> = said.unanswered.iter().map(|one| printable(&one.policy)).collect();
    Err(Failure::NotNow(format!("Redis has not answered of {}, so this is not all", policies.join(", "))))
}

fn from_input() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(LONGEST_QUESTION).read_line(&mut line);
    read.map_err(|error| Failure::Io(format!("cannot read the key from standard input: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(path: &Path, question: &Question) -> Result<KeyJson, Failure> {
    let mut gateway = UnixStream::connect(path).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "there is no such socket; does `control` of the gateway's configuration name it?",
            ErrorKind::ConnectionRefused => "no gateway listens there",
            ErrorKind::PermissionDenied => "only the user of the gateway and root may use it",
            _ => return Failure::NoInput(format!("{}: {error}", path.display())),
        };
        Failure::NoInput(format!("{}: {why}", path.display()))
    })?;
    let broken = |error: &dyn std::fmt::Display| {
        Failure::Io(format!("{}: the gateway does not answer: {error}", path.display()))
    };
    let mut line = serde_json::to_string(question).map_err(|error| Failure::Other(error.to_string()))?;
    line.push('\n');
    if u64::try_from(line.len()).unwrap_or(u64::MAX) > LONGEST_QUESTION {
        return Err(Failure::Usage(format!(
            "a key of {} bytes is longer than any that can be asked for",
            question.key.len()
        )));
    }
    let timed = gateway.set_read_timeout(Some(PATIENCE)).and_then(|()| gateway.set_write_timeout(Some(PATIENCE)));
    timed.and_then(|()| gateway.write_all(line.as_bytes())).map_err(|error| broken(&error))?;
    let mut said = String::new();
    BufReader::new(gateway.take(LONGEST_ANSWER)).read_line(&mut said).map_err(|error| broken(&error))?;
    if said.is_empty() {
        return Err(broken(&"it has hung up, as it does on others than its user and root"));
    }
    match serde_json::from_str(&said).map_err(|error| broken(&error))? {
        Answer::Standings(said) => Ok(said),
        Answer::Refused(why) => Err(Failure::Usage(printable(&why))),
        Answer::Unanswered(why) => Err(Failure::NotNow(printable(&why))),
    }
}

/// A line for each limit. Tiers of which nothing is used are left out where something is.
fn table(said: &KeyJson) -> String {
    let uses = |standing: &StandingJson| {
        standing.limits.iter().any(|limit| limit.full_after > 0.0 || limit.refuses)
            || standing.in_flight.as_ref().is_some_and(|places| places.now > 0)
    };
    let is_shown = |standing: &&StandingJson| {
        let of_policy =
            || said.policies.iter().filter(|other| other.policy == standing.policy && other.key == standing.key);
        uses(standing) || !of_policy().any(uses) && standing.tier.is_none()
    };
    let mut rows = vec![["POLICY", "KEY", "LIMIT", "LEFT", "NEXT REQUEST", "ALL THERE"].map(str::to_owned)];
    for standing in said.policies.iter().filter(is_shown) {
        let mut policy = standing.policy.clone();
        if let Some(tier) = &standing.tier {
            policy.push_str(&format!("/{tier}"));
        }
        if standing.shadow {
            policy.push_str(" (shadow)");
        }
        let row = |limit: String, left: String, next: String, full: String| {
            [policy.clone(), standing.key.clone(), limit, left, next, full]
        };
        for limit in &standing.limits {
            let left = format!("{} of {}", grouped(limit.remaining), grouped(limit.burst));
            let full = if limit.full_after > 0.0 { format!("in {}", span(limit.full_after)) } else { "now".to_owned() };
            rows.push(row(limit.limit.clone(), left, next(limit), full));
        }
        if let Some(places) = &standing.in_flight {
            let left = places.most.saturating_sub(places.now);
            let (left, limit) = (format!("{} of {}", grouped(left), grouped(places.most)), "in flight".to_owned());
            let next = if places.now < places.most { "passes" } else { "refused until one ends" };
            rows.push(row(limit, left, next.to_owned(), String::new()));
        }
    }
    let mut text = aligned(&rows);
    for one in &said.unanswered {
        text.push_str(&printable(&format!("Not known of {}, which counts on Redis, where {}.", one.policy, one.why)));
        text.push('\n');
    }
    for other in &said.others {
        text.push_str(&printable(&format!("No key of {}, which counts by {}.", other.policy, other.by)));
        text.push('\n');
    }
    if said.reset {
        text.push_str("That is how it stood. All of it is there again.\n");
    }
    text
}

fn next(limit: &LimitJson) -> String {
    match (limit.refuses, limit.retry_after) {
        (false, Some(wait)) if wait > 0.0 => format!("waits {}", span(wait)),
        (false, _) => "passes".to_owned(),
        (true, Some(wait)) => format!("refused, in {}", span(wait)),
        (true, None) => "never passes".to_owned(),
    }
}

/// Seconds for people, rounded up, so that who waits so long has waited long enough.
fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.ceil().max(0.0)).unwrap_or(Duration::MAX).as_secs();
    match whole {
        0..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole.div_ceil(60)),
        7200..172_800 => format!("{} h", whole.div_ceil(3600)),
        _ => format!("{} d", whole.div_ceil(86_400)),
    }
}

/// Columns as wide as what stands in them.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let shown: Vec<[String; N]> = rows.iter().map(|row| std::array::from_fn(|i| printable(&row[i]))).collect();
    let widths: [usize; N] = std::array::from_fn(|i| shown.iter().map(|row| columns(&row[i])).max().unwrap_or(0));
    let mut text = String::new();
    for row in &shown {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(columns(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_never_too_short() {
        for (seconds, shown) in
            [(0.0, "0 s"), (0.1, "1 s"), (119.0, "119 s"), (121.0, "3 min"), (7_200.5, "3 h"), (200_000.0, "3 d")]
        {
            assert_eq!(span(seconds), shown);
        }
        assert_eq!(span(f64::NAN), "0 s");
    }
}
