//! The thread that answers on the control socket: one question at a time. Who pauses in it is given up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tollgate_http::RateLimiter;

use super::message::{Answer, KeyJson, LONGEST_QUESTION, Question};
use super::socket::ControlSocket;
use crate::values::output;

/// The longest pause in reading or writing.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long accepting pauses when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the thread, which ends with the process: it answers while the gateway drains.
pub(crate) fn start(socket: &ControlSocket, limiter: RateLimiter) -> io::Result<()> {
    let listener = socket.listener()?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        loop {
            match listener.accept() {
                // An error concerns who asks alone.
                Ok((asking, _)) => drop(answer(asking, &limiter)),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(())
}

fn answer(mut asking: UnixStream, limiter: &RateLimiter) -> io::Result<()> {
    asking.set_read_timeout(Some(PATIENCE))?;
    asking.set_write_timeout(Some(PATIENCE))?;
    let user = socket_peercred(&asking)?.uid;
    if !may_ask(user.as_raw(), geteuid().as_raw()) {
        return Ok(());
    }
    let mut line = String::new();
    BufReader::new((&mut asking).take(LONGEST_QUESTION)).read_line(&mut line)?;
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) => answered(&question, limiter),
        Err(error) => Answer::Refused(format!("the question cannot be read: {error}")),
    };
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    asking.write_all(line.as_bytes())
}

/// The file lets in nobody else, but for a moment after it was made, or if somebody opens it.
const fn may_ask(user: u32, own: u32) -> bool {
    user == own || user == 0
}

fn answered(question: &Question, limiter: &RateLimiter) -> Answer {
    let Question { key, policy, resets } = question;
    let (policy, key) = match (policy, key.split_once('=')) {
        (None, Some((name, rest))) if limiter.config().policies().iter().any(|policy| policy.name() == name) => {
            (Some(name), rest)
        }
        (policy, _) => (policy.as_deref(), key.as_str()),
    };
    let found = if *resets { limiter.reset_key(key, policy) } else { limiter.standings(key, policy) };
    match found {
        Ok(standings) => {
            if *resets {
                // Not the key: it may be a secret.
                let names: Vec<&str> = standings.found.iter().map(|standing| standing.policy.as_str()).collect();
                output::complain(&format_args!("a key was reset by way of the control socket: {}", names.join(", ")));
            }
            Answer::Standings(KeyJson::new(&standings, *resets))
        }
        Err(error) => Answer::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }
}
