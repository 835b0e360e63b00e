//! What is said on standard error of servers of Redis that fail, and once of each that works again. Who serves requests only counts;
//! this looks at the counts once a second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_http::fleet::ServerStatus;

use crate::values::output::printable;

/// The shortest and the longest time between two lines of one cause. It doubles while a server goes on failing.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

const CAUSES: usize = 5;

/// The servers that there were at the last look, and what was said of them.
#[derive(Debug, Default)]
pub(crate) struct FleetLog(Vec<Server>);

/// A server as it is found.
#[derive(Debug, Default, Clone)]
pub(crate) struct Found {
    name: String,
    is_connected: bool,
    /// How often each cause has been there, and the last error's words.
    causes: [(u64, Option<Arc<String>>); CAUSES],
}

/// How the causes are called, in the order of [`Found::causes`].
const WORDS: [&str; CAUSES] = [
    "cannot connect",
    "the connection was lost",
    "no answer within the deadline",
    "it answers with an error",
    "as many calls wait for it already as may",
];

impl From<ServerStatus> for Found {
    fn from(status: ServerStatus) -> Self {
        let causes = [
            (status.failed_connects, status.connect_error),
            (status.closed, None),
            (status.misses, None),
            (status.errors, status.error),
            (status.busy, None),
        ];
        Self { name: status.name, is_connected: status.is_connected, causes }
    }
}

#[derive(Debug, Default)]
struct Server {
    name: String,
    causes: [Cause; CAUSES],
    /// Whether something was said of it since it worked last.
    is_troubled: bool,
}

#[derive(Debug, Default)]
struct Cause {
    /// As it was found.
    count: u64,
    /// Of which nothing was said.
    unsaid: u64,
    /// When the next line may come, and how long after it the one behind it.
    next: Option<Instant>,
    pause: Duration,
}

impl FleetLog {
    /// The lines for what is found `now`.
    pub(crate) fn look(&mut self, found: impl Iterator<Item = Found>, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let mut before = std::mem::take(&mut self.0);
        for found in found {
            let known = before.iter().position(|server| server.name == found.name);
            let mut server = known.map(|at| before.swap_remove(at)).unwrap_or_default();
            server.look(&found, now, &mut lines);
            server.name = found.name;
            self.0.push(server);
        }
        lines
    }
}

impl Server {
    fn look(&mut self, found: &Found, now: Instant, lines: &mut Vec<String>) {
        let mut has_failed = false;
        for ((cause, (count, error)), words) in self.causes.iter_mut().zip(&found.causes).zip(WORDS) {
            // Less than before if it is a server of another fleet that has its name.
            let new = count.checked_sub(cause.count).unwrap_or(*count);
            cause.count = *count;
            cause.unsaid = cause.unsaid.saturating_add(new);
            has_failed |= new > 0;
            if new == 0 || cause.next.is_some_and(|next| now < next) {
                continue;
            }
            let mut line = format!("redis {}: {words}", printable(&found.name));
            // Writing to memory cannot fail.
            if let Some(error) = error {
                let _ = write!(line, ": {}", printable(error));
            }
            if cause.unsaid > 1 {
                let _ = write!(line, " (and {} more of these since the last line)", cause.unsaid - 1);
            }
            lines.push(line);
            cause.pause = cause.pause.saturating_mul(2).clamp(PAUSES[0], PAUSES[1]);
            (cause.unsaid, cause.next) = (0, Some(now + cause.pause));
        }
        self.is_troubled |= has_failed;
        if self.is_troubled && !has_failed && found.is_connected {
            self.is_troubled = false;
            let unsaid = self.causes.iter().map(|cause| cause.unsaid).fold(0, u64::saturating_add);
            let more =
                if unsaid > 0 { format!(" ({unsaid} more failures since the last line)") } else { String::new() };
            lines.push(format!("redis {}: connected, and works again{more}", printable(&found.name)));
            for cause in &mut self.causes {
                (cause.unsaid, cause.pause) = (0, Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of looks at one server, each so many milliseconds after the first: whether it is connected, trials to connect that
    /// failed, and calls without an answer.
    fn lines(looks: &[(u64, bool, u64, u64)]) -> Vec<Vec<String>> {
        let (mut log, start) = (FleetLog::default(), Instant::now());
        let look = |(at, is_connected, connects, misses): &(u64, bool, u64, u64)| {
            let mut found = Found { name: "a:6379".to_owned(), is_connected: *is_connected, ..Found::default() };
            found.causes[0] = (*connects, Some(Arc::new("refused\nby it".to_owned())));
            found.causes[2].0 = *misses;
            log.look([found].into_iter(), start + Duration::from_millis(*at))
        };
        looks.iter().map(look).collect()
    }

    const AGAIN: &str = "redis a:6379: connected, and works again";

    #[test]
    fn each_cause_is_told_with_what_was_passed_over_and_recovery_once() {
        let told = lines(&[
            (0, true, 0, 0),
            (1_000, false, 1, 3),
            (1_500, false, 3, 3),
            (2_000, false, 5, 3),
            // Two seconds after its second line.
            (3_000, false, 7, 3),
            (4_000, false, 9, 3),
            (5_000, false, 11, 3),
            (6_000, true, 11, 3),
            (7_000, true, 11, 3),
            (8_000, true, 11, 4),
            (9_000, true, 11, 4),
        ]);
        let connect = |more: &str| vec![format!("redis a:6379: cannot connect: refused\\nby it{more}")];
        let miss = "redis a:6379: no answer within the deadline";
        assert_eq!(told[0], [""; 0]);
        assert_eq!(told[1][..1], connect(""));
        assert_eq!(told[1][1..], [format!("{miss} (and 2 more of these since the last line)")]);
        assert_eq!(told[2], [""; 0]);
        assert_eq!(told[3], connect(" (and 3 more of these since the last line)"));
        assert_eq!(told[4], [""; 0]);
        assert_eq!(told[5], connect(" (and 3 more of these since the last line)"));
        assert_eq!(told[6], [""; 0]);
        assert_eq!(told[7], [format!("{AGAIN} (2 more failures since the last line)")]);
        assert_eq!(told[8], [""; 0]);
        assert_eq!(told[9], [miss]);
        assert_eq!(told[10], [AGAIN]);
    }

    #[test]
    fn an_hour_of_it_is_no_flood_and_another_fleet_begins_anew() {
        let looks: Vec<_> = (0..3_600).map(|second| (second * 1_000, false, second + 1, 0)).collect();
        let told: usize = lines(&looks).iter().map(Vec::len).sum();
        assert!((60..70).contains(&told), "{told}");
        assert_eq!(lines(&[(0, false, 9, 0), (1_000, false, 2, 0)])[1].len(), 1);
    }
}
