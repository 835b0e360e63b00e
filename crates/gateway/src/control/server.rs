//! The thread that answers on the control socket: each question by itself, so that nobody waits for one who does not ask.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tollgate_http::RateLimiter;
use tollgate_http::limiter::StandingError;

use super::message::{Answer, KeyJson, LONGEST_QUESTION, Question};
use super::socket::ControlSocket;
use crate::values::output;

/// Connections at once; one more waits until another has ended.
const CONNECTIONS: usize = 16;

/// How long a question may take from the connection to its last byte, and how long it may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long accepting pauses when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the thread, which ends with the process: it answers while the gateway drains.
pub(crate) fn start(socket: &ControlSocket, limiter: RateLimiter) -> io::Result<()> {
    let listener = socket.listener()?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        if let Err(error) = run(listener, &limiter) {
            output::complain(&format_args!("the control socket cannot be served: {error}"));
        }
    })?;
    Ok(())
}

fn run(listener: StdUnixListener, limiter: &RateLimiter) -> io::Result<()> {
    // Looks at limits on Redis wait, on threads of which there are as many as connections at most.
    let runtime = Builder::new_current_thread().max_blocking_threads(CONNECTIONS).enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        // An error means that the semaphore was closed, which never happens.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((asking, _)) => {
                    let limiter = limiter.clone();
                    tokio::spawn(async move {
                        // An error concerns who asks alone.
                        let _ = answer(asking, limiter).await;
                        drop(place);
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        Ok(())
    })
}

async fn answer(mut asking: UnixStream, limiter: RateLimiter) -> io::Result<()> {
    if !may_ask(asking.peer_cred()?.uid(), geteuid().as_raw()) {
        return Ok(());
    }
    let mut line = String::new();
    let mut question = BufReader::new((&mut asking).take(LONGEST_QUESTION));
    timeout(PATIENCE, question.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) => spawn_blocking(move || answered(&question, &limiter)).await?,
        Err(error) => Answer::Refused(format!("the question cannot be read: {error}")),
    };
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    timeout(PATIENCE, asking.write_all(line.as_bytes())).await?
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
                let names: Vec<&str> = standings.found.iter().map(|standing| standing.policy.as_str()).collect();
                tell_of_reset(&names);
            }
            Answer::Standings(KeyJson::new(&standings, *resets))
        }
        Err(error @ StandingError::Unanswered { .. }) => {
            if let StandingError::Unanswered { reset, .. } = &error
                && !reset.is_empty()
            {
                tell_of_reset(&reset.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Answer::Unanswered(error.to_string())
        }
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Not the key: it may be a secret.
fn tell_of_reset(policies: &[&str]) {
    output::complain(&format_args!("a key was reset by way of the control socket: {}", policies.join(", ")));
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
