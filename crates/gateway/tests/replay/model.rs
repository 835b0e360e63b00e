//! What each algorithm must do, written down as plainly as possible and without the engine: whole numbers of
//! nanoseconds, multiplied out so that nothing is ever divided, and no cleverness.

use std::collections::{BTreeMap, HashMap};

/// One limit: `count` per `period` nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) algorithm: &'static str,
    pub(crate) count: u128,
    pub(crate) period: u128,
    pub(crate) burst: u128,
}

/// What came of all requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) allowed: u64,
    pub(crate) delayed: u64,
    /// Only keys that were refused.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Nanoseconds that queued requests waited, each rounded up.
    pub(crate) longest_delay: u128,
}

/// The state of one key under one rule.
#[derive(Debug, Clone)]
enum State {
    /// Tokens times `period`, and when they were counted.
    Tokens { level: u128, at: u128 },
    /// Water times `period`, and when it was measured.
    Water { level: u128, at: u128 },
    /// When the queue's next place leaves, times `count`.
    Queue { next: u128 },
    /// Admissions by number of the window.
    Windows(HashMap<u128, u128>),
    /// When requests were admitted.
    Log(Vec<u128>),
}

impl State {
    fn new(rule: &Rule) -> Self {
        match rule.algorithm {
            "token-bucket" => Self::Tokens { level: rule.burst * rule.period, at: 0 },
            "leaky-bucket" => Self::Water { level: 0, at: 0 },
            "leaky-queue" => Self::Queue { next: 0 },
            "fixed-window" | "sliding-window" => Self::Windows(HashMap::new()),
            "sliding-log" => Self::Log(Vec::new()),
            other => panic!("no model of {other}"),
        }
    }

    /// Moves to `now`, and says how long the request must wait there, or nothing when it is refused.
    fn ask(&mut self, rule: &Rule, now: u128) -> Option<u128> {
        let Rule { count, period, burst, .. } = *rule;
        let is_admitted = match self {
            Self::Tokens { level, at } => {
                *level = (*level + (now - *at) * count).min(burst * period);
                *at = now;
                *level >= period
            }
            Self::Water { level, at } => {
                *level = level.saturating_sub((now - *at) * count);
                *at = now;
                *level + period <= burst * period
            }
            Self::Queue { next } => {
                *next = (*next).max(now * count);
                let wait = *next - now * count;
                return (wait <= burst * period).then(|| wait.div_ceil(count));
            }
            Self::Windows(admitted) => {
                let window = now / period;
                let current = admitted.get(&window).copied().unwrap_or(0);
                let previous = window.checked_sub(1).and_then(|window| admitted.get(&window)).copied().unwrap_or(0);
                if rule.algorithm == "fixed-window" {
                    current < count
                } else {
                    let still_covered = period - now % period;
                    previous * still_covered + (current + 1) * period <= count * period
                }
            }
            Self::Log(admitted) => {
                admitted.retain(|&time| now - time < period);
                u128::try_from(admitted.len()).unwrap() < count
            }
        };
        is_admitted.then_some(0)
    }

    /// Takes the place that [`ask`](Self::ask) offered.
    fn take(&mut self, rule: &Rule, now: u128) {
        match self {
            Self::Tokens { level, .. } => *level -= rule.period,
            Self::Water { level, .. } => *level += rule.period,
            Self::Queue { next } => *next += rule.period,
            Self::Windows(admitted) => *admitted.entry(now / rule.period).or_default() += 1,
            Self::Log(admitted) => admitted.push(now),
        }
    }
}

/// Plays `requests` (time and key, in any order) under all of `rules` at once.
pub(crate) fn play(rules: &[Rule], requests: &[(u128, String)]) -> Expected {
    let mut requests: Vec<&(u128, String)> = requests.iter().collect();
    requests.sort_by_key(|request| request.0);
    let mut states: HashMap<&str, Vec<State>> = HashMap::new();
    let mut expected = Expected::default();
    for (now, key) in requests {
        let states = states.entry(key).or_insert_with(|| rules.iter().map(State::new).collect());
        let asked: Vec<Option<u128>> =
            states.iter_mut().zip(rules).map(|(state, rule)| state.ask(rule, *now)).collect();
        let Some(wait) = asked.into_iter().collect::<Option<Vec<u128>>>().map(|waits| waits.into_iter().max().unwrap())
        else {
            *expected.refused.entry(key.clone()).or_default() += 1;
            continue;
        };
        for (state, rule) in states.iter_mut().zip(rules) {
            state.take(rule, *now);
        }
        *(if wait == 0 { &mut expected.allowed } else { &mut expected.delayed }) += 1;
        expected.longest_delay = expected.longest_delay.max(wait);
    }
    expected
}
