//! A fleet's limits for a program that has a client of its own: what to send, and what the answers mean.
//!
//! Nothing here connects, waits or knows the time, so that it serves any client in any language; feature `client` is not needed for it.
//! Keys, scripts, arguments and the reading of answers are those of a [`Fleet`](crate::Fleet): programs of both kinds count together.
//!
//! ```
//! use tollgate::{Limiter, Quota};
//! use tollgate_redis::calls::{Answer, FleetCalls};
//! use tollgate_redis::error::Outage;
//! use tollgate_redis::OnOutage;
//!
//! # fn send(_: tollgate_redis::calls::Command<'_>) -> Result<Answer, ()> { Err(()) }
//! let calls = FleetCalls::new("what all nodes know, and nobody else", None)?;
//! // Decides during outages.
//! let local = Limiter::builder(Quota::unlimited()).build()?;
//! let limit = calls.limit(&local, "login", "10/minute", OnOutage::Closed)?;
//! let mut check = calls.check(vec![calls.item(&limit, "ada", 1)]);
//! let decision = loop {
//!     let Some(command) = check.command(&calls) else { break check.decision() };
//!     let answer = send(command).map_err(|()| Outage::Disconnected);
//!     if let Err(outage) = answer.and_then(|answer| check.read(&answer)) {
//!         break check.outage(&local, &outage);
//!     }
//! };
//! # assert!(decision.is_refused() && decision.decision().outage().is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ahash::RandomState;
use tollgate::clock::Clock;
use tollgate::quota::IntoQuota;
use tollgate::{Key, Limiter};

use crate::decision::{FleetDecision, FleetSetDecision};
use crate::error::{CallsError, LimitError, Outage};
use crate::item::{self, FleetItem, Mode};
use crate::limit::FleetLimit;
use crate::outage::OnOutage;
use crate::question::{self, CONVERSIONS};
use crate::reply::{self, Said};
use crate::request::{Arg, Request, Scripts};
use crate::rule::{Adjust, Converted, Rule};
use crate::secret::{Secret, Subject};

/// What a server said. Whatever a client has besides is [`Other`](Self::Other), which no script answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(Vec<u8>),
    /// A list.
    List(Vec<Answer>),
    /// Anything else.
    Other,
}

impl Said for Answer {
    fn integer(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { core::str::from_utf8(text).ok() } else { None }
    }

    fn list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }
}

/// A script to be run: `EVALSHA digest keys... arguments...`, and `EVAL script ...` if the server answers `NOSCRIPT`, which
/// proves that nothing was run. After any other failure it must not be sent again: it may have been run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// The whole script.
    pub script: &'a str,
    /// Its SHA-1, in small hexadecimal digits.
    pub digest: &'a str,
    /// The keys, all with one hash tag if all items are of one key.
    pub keys: Vec<String>,
    /// What the script is told.
    pub args: Vec<String>,
}

impl<'a> Command<'a> {
    fn of(request: Request<'a>) -> Self {
        let text = |arg: Arg| match arg {
            Arg::Static(text) => text.to_owned(),
            Arg::Number(number) => number.to_string(),
            Arg::Text(text) => text,
        };
        let Request { script, keys, args, .. } = request;
        Self { script: &script.body, digest: &script.sha, keys, args: args.into_iter().map(text).collect() }
    }
}

/// Limits that all nodes with the same servers and the same secret hold together, without a client.
#[derive(Debug)]
pub struct FleetCalls {
    scripts: Scripts,
    secret: Secret,
    hasher: RandomState,
    nodes: Option<u64>,
}

impl FleetCalls {
    /// The shortest secret, in bytes.
    pub const MIN_SECRET: usize = Secret::MIN;

    /// Secret and nodes are those of [`FleetBuilder`](crate::FleetBuilder).
    ///
    /// # Errors
    ///
    /// If the secret is too short, or there are no nodes.
    pub fn new(secret: impl AsRef<[u8]>, nodes: Option<u64>) -> Result<Self, CallsError> {
        let secret = secret.as_ref();
        if secret.len() < Self::MIN_SECRET {
            return Err(CallsError::Secret { length: secret.len() });
        }
        if nodes == Some(0) {
            return Err(CallsError::Nodes);
        }
        Ok(Self { scripts: Scripts::new(None), secret: Secret::new(secret), hasher: RandomState::new(), nodes })
    }

    /// A limit, and what it does during an outage: `local` decides then, under a limit of its own that is prepared there.
    ///
    /// # Errors
    ///
    /// As of [`Fleet::limit_with`](crate::Fleet::limit_with).
    pub fn limit<C: Clock>(
        &self,
        local: &Limiter<C>,
        name: &str,
        quota: impl IntoQuota,
        on_outage: OnOutage,
    ) -> Result<FleetLimit, LimitError> {
        FleetLimit::prepare(local, self.nodes, name, quota.into_quota()?, on_outage)
    }

    /// One part of a request.
    pub fn item<K: Key + ?Sized>(&self, limit: &FleetLimit, key: &K, cost: u64) -> FleetItem {
        FleetItem { limit: limit.clone(), subject: Subject::new(key, &self.secret, &self.hasher), cost }
    }

    /// Takes the cost of each, or of none. All must be on one server: of a cluster, items of one key are.
    pub fn check(&self, items: Vec<FleetItem>) -> FleetCheck {
        FleetCheck::new(self, items, Mode::Take)
    }

    /// What [`check`](Self::check) would answer. Writes nothing.
    pub fn peek(&self, items: Vec<FleetItem>) -> FleetCheck {
        FleetCheck::new(self, items, Mode::Peek)
    }

    /// Takes a cost whether it is there or not; how much was recorded. See [`FleetHandle::charge`](crate::FleetHandle::charge).
    pub fn charge(&self, item: FleetItem) -> FleetChange {
        FleetChange::new(item, Change::Adjust(Adjust::Charge))
    }

    /// Gives a cost back. See [`FleetHandle::refund`](crate::FleetHandle::refund).
    pub fn refund(&self, item: FleetItem) -> FleetChange {
        FleetChange::new(item, Change::Adjust(Adjust::Refund))
    }

    /// Fills the bucket.
    pub fn reset(&self, item: FleetItem) -> FleetChange {
        FleetChange::new(item, Change::Reset)
    }
}

/// One request under one limit or several, until it is decided.
#[derive(Debug)]
pub struct FleetCheck {
    items: Vec<FleetItem>,
    /// Which of the items each that was given is.
    places: Vec<usize>,
    decisions: Vec<Option<FleetDecision>>,
    /// Those that a server is asked about.
    asked: Vec<usize>,
    mode: Mode,
    converted: Vec<Option<Converted>>,
    left: usize,
}

impl FleetCheck {
    fn new(calls: &FleetCalls, items: Vec<FleetItem>, mode: Mode) -> Self {
        let (items, places) = item::merged(items, &calls.secret);
        let decisions: Vec<_> = items.iter().map(FleetItem::without_server).collect();
        // One that is refused here takes nothing anywhere.
        let is_open = decisions.iter().flatten().all(FleetDecision::is_allowed);
        let asked: Vec<usize> = (0..items.len()).filter(|&i| decisions[i].is_none()).collect();
        let converted = asked.iter().map(|_| None).collect();
        let mode = if is_open { mode } else { Mode::Peek };
        Self { items, places, decisions, asked, mode, converted, left: CONVERSIONS }
    }

    fn asked(&self) -> Vec<&FleetItem> {
        self.asked.iter().map(|&i| &self.items[i]).collect()
    }

    /// What to send now. Nothing once all is decided.
    #[must_use]
    pub fn command<'a>(&self, calls: &'a FleetCalls) -> Option<Command<'a>> {
        if self.decisions.iter().all(Option::is_some) {
            return None;
        }
        Some(Command::of(question::check(&calls.scripts, &calls.secret, &self.asked(), self.mode, &self.converted)))
    }

    /// Reads the answer to [`command`](Self::command). There may be one more: if another quota wrote a bucket.
    ///
    /// # Errors
    ///
    /// If it is none that the script gives, or if it has been asked too often. Then go on with [`outage`](Self::outage).
    pub fn read(&mut self, answer: &Answer) -> Result<(), Outage> {
        let mut converted = core::mem::take(&mut self.converted);
        let checked = question::checked(answer, &self.asked(), &mut converted);
        self.converted = converted;
        match checked? {
            Some(checked) => {
                for (&i, part) in self.asked.iter().zip(&checked.parts) {
                    self.decisions[i] = Some(self.items[i].decided(part, checked.now));
                }
                Ok(())
            }
            None if self.left <= 1 => Err(Outage::Contended),
            None => {
                self.left -= 1;
                Ok(())
            }
        }
    }

    /// The decision, once there is no command any more; before that what was not decided is refused.
    pub fn decision(self) -> FleetSetDecision {
        let none = || FleetDecision {
            report: crate::outage::refusal(0),
            place: crate::decision::Place::Outage(OnOutage::Closed, Outage::Unreadable),
            at_us: None,
            mine: 0,
        };
        let decisions: Vec<_> = self.decisions.into_iter().map(|decision| decision.unwrap_or_else(none)).collect();
        FleetSetDecision::new(self.places.into_iter().filter_map(|place| decisions.get(place).cloned()).collect())
    }

    /// The decision when no server made it, as each limit says, with `local` for those that this node decides by itself: the
    /// limiter that they were made with.
    pub fn outage<C: Clock>(mut self, local: &Limiter<C>, outage: &Outage) -> FleetSetDecision {
        let mut is_yes = self.mode == Mode::Take;
        let mut taken = Vec::new();
        for &i in &self.asked {
            let mode = if is_yes { Mode::Take } else { Mode::Peek };
            let decision = self.items[i].in_outage(local, outage.clone(), mode);
            if mode == Mode::Take && decision.is_allowed() {
                taken.push(i);
            }
            is_yes &= decision.is_allowed();
            self.decisions[i] = Some(decision);
        }
        if !is_yes {
            taken.into_iter().for_each(|i| self.items[i].give_back_here(local));
        }
        self.decision()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Adjust(Adjust),
    Reset,
}

/// A change of one bucket that is no yes or no, until it is made.
#[derive(Debug)]
pub struct FleetChange {
    item: FleetItem,
    how: Change,
    converted: Option<Converted>,
    done: Option<u64>,
    left: usize,
}

impl FleetChange {
    fn new(item: FleetItem, how: Change) -> Self {
        let done = match (&item.limit.0.rule, how) {
            (Rule::Unlimited, Change::Adjust(Adjust::Charge)) => Some(item.cost),
            (Rule::Unlimited | Rule::Closed, _) => Some(0),
            (_, Change::Adjust(_)) if item.cost == 0 => Some(0),
            _ => None,
        };
        Self { item, how, converted: None, done, left: CONVERSIONS }
    }

    /// What to send now. Nothing once it is done.
    #[must_use]
    pub fn command<'a>(&self, calls: &'a FleetCalls) -> Option<Command<'a>> {
        if self.done.is_some() {
            return None;
        }
        Some(Command::of(match self.how {
            Change::Adjust(how) => {
                question::adjust(&calls.scripts, &calls.secret, &self.item, how, 0, self.converted.as_ref())
            }
            Change::Reset => question::reset(&calls.scripts, &calls.secret, &self.item),
        }))
    }

    /// Reads the answer to [`command`](Self::command). There may be one more: if another quota wrote the bucket.
    ///
    /// # Errors
    ///
    /// If it is none that the script gives, or if it has been asked too often.
    pub fn read(&mut self, answer: &Answer) -> Result<(), Outage> {
        let done = match self.how {
            Change::Adjust(_) => question::adjusted(answer, &self.item, &mut self.converted)?,
            Change::Reset => reply::undo(answer).map(|_| Some(0)).ok_or(Outage::Unreadable)?,
        };
        match done {
            None if self.left <= 1 => return Err(Outage::Contended),
            None => self.left -= 1,
            done => self.done = done,
        }
        Ok(())
    }

    /// How much was recorded of a charge, once it is done; of other changes 0.
    #[must_use]
    pub const fn done(&self) -> Option<u64> {
        self.done
    }

    /// Records a charge in `local` where this node decides by itself: to be called if no server has said that it was recorded.
    pub fn outage<C: Clock>(&self, local: &Limiter<C>) {
        if let (Change::Adjust(Adjust::Charge), Some(limit)) = (self.how, self.item.limit.local(local)) {
            local.under(&limit).key(self.item.subject.bytes()).charge(self.item.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate::clock::ManualClock;
    use tollgate::{Limiter, Quota};

    use super::*;

    fn local() -> Limiter<ManualClock> {
        Limiter::builder(Quota::unlimited()).clock(ManualClock::default()).build().unwrap()
    }

    fn calls(nodes: Option<u64>) -> FleetCalls {
        FleetCalls::new("0123456789abcdef", nodes).unwrap()
    }

    fn list(values: Vec<Answer>) -> Answer {
        Answer::List(values)
    }

    #[test]
    fn settings_have_bounds() {
        assert_eq!(FleetCalls::new("0123456789abcde", None).unwrap_err(), CallsError::Secret { length: 15 });
        assert_eq!(FleetCalls::new("0123456789abcdef", Some(0)).unwrap_err(), CallsError::Nodes);
        let shared = calls(None).limit(&local(), "a", "1/second", OnOutage::Share);
        assert!(matches!(shared, Err(LimitError::ShareWithoutNodes { .. })));
    }

    #[test]
    fn a_check_is_the_script_with_its_keys_and_figures() {
        let (calls, local) = (calls(None), local());
        let limits = ["3/second", "5/hour as fixed-window"];
        let items = limits.map(|text| {
            let limit = calls.limit(&local, "a:b", text, OnOutage::Closed).unwrap();
            calls.item(&limit, "ada", 2)
        });
        let mut check = calls.check(items.to_vec());
        let command = check.command(&calls).unwrap();
        let subject = items[0].name(&calls.secret).as_str();
        assert_eq!(command.keys[0], format!("tg1:{{{subject}}}:a%3Ab:b1000000000"));
        assert_eq!(command.keys[1], format!("tg1:{{{subject}}}:a%3Ab:w3600000000000"));
        assert_eq!(command.args[..3], ["take", "b", "3/3"]);
        assert_eq!(command.digest, sha1_smol::Sha1::from(command.script).digest().to_string());
        let now = 4_100_000_000_000_000;
        let text = |text: &str| Answer::Text(text.as_bytes().to_vec());
        // Of the bucket a token is left, of the window three.
        let bucket = list(vec![
            Answer::Number(1),
            Answer::Number(now + 666_666),
            Answer::Number(2),
            text(""),
            Answer::Number(now),
            Answer::Number(0),
            text(""),
            text(""),
        ]);
        let window = list(vec![Answer::Number(1), Answer::Number(2), Answer::Number(now + 1_000_000)]);
        check.read(&list(vec![Answer::Number(1), Answer::Number(now), bucket, window])).unwrap();
        assert!(check.command(&calls).is_none());
        let decision = check.decision();
        assert!(decision.is_allowed() && decision.index() == 0 && decision.remaining() == 1);
        assert_eq!(decision.decisions()[1].reset_after(), Duration::from_secs(1));
    }

    #[test]
    fn what_another_quota_wrote_is_converted_and_asked_again_a_few_times() {
        let (calls, local) = (calls(None), local());
        let limit = calls.limit(&local, "a", "10/minute", OnOutage::Closed).unwrap();
        let mut check = calls.check(vec![calls.item(&limit, "ada", 1)]);
        let now = 4_100_000_000_000_000;
        let seen = format!("{} 100/100", now + 4 * 600_000);
        let changed = list(vec![
            Answer::Number(2),
            Answer::Number(now),
            list(vec![list(vec![Answer::Number(1), Answer::Text(seen.clone().into_bytes())])]),
        ]);
        for _ in 0..CONVERSIONS - 1 {
            check.read(&changed).unwrap();
            let args = check.command(&calls).unwrap().args;
            assert_eq!(args[args.len() - 2..], [seen.clone(), format!("{} 10/10", now + 24_000_000)]);
        }
        assert_eq!(check.read(&changed), Err(Outage::Contended));
    }

    #[test]
    fn what_no_script_answers_is_never_a_yes() {
        let (calls, local) = (calls(None), local());
        let limit = calls.limit(&local, "a", "1/second as fixed-window", OnOutage::Closed).unwrap();
        let yes = list(vec![Answer::Number(1), Answer::Number(1), Answer::Number(1_000_000)]);
        for answer in [
            Answer::Other,
            Answer::Text(b"OK".to_vec()),
            list(vec![]),
            list(vec![Answer::Number(1), Answer::Number(5)]),
            list(vec![Answer::Number(0), Answer::Number(5), yes.clone()]),
            list(vec![Answer::Number(1), Answer::Number(5), yes.clone(), yes.clone()]),
            list(vec![Answer::Number(1), Answer::Number(-5), yes]),
        ] {
            let mut check = calls.check(vec![calls.item(&limit, "ada", 1)]);
            assert_eq!(check.read(&answer), Err(Outage::Unreadable), "{answer:?}");
            assert!(check.outage(&local, &Outage::Unreadable).is_refused());
        }
        assert!(calls.check(vec![calls.item(&limit, "ada", 1)]).decision().is_refused());
        assert!(calls.check(Vec::new()).decision().is_refused());
    }

    #[test]
    fn an_outage_takes_all_or_nothing_here() {
        let (calls, local) = (calls(Some(4)), local());
        let limit = |name: &str, text: &str, choice| calls.limit(&local, name, text, choice).unwrap();
        let share = limit("share", "8/hour", OnOutage::Share);
        let none = limit("local", "2/hour", OnOutage::Local);
        let ask = |limits: &[&FleetLimit]| {
            let items = limits.iter().map(|limit| calls.item(limit, "ada", 1)).collect();
            calls.check(items).outage(&local, &Outage::Deadline).is_allowed()
        };
        // A quarter of 8 is 2, of which none is lost to a request that the other limit refuses.
        assert!(ask(&[&none]) && ask(&[&none]) && !ask(&[&share, &none]));
        assert!(ask(&[&share]) && ask(&[&share]) && !ask(&[&share]));
        assert!(ask(&[&limit("open", "1/hour", OnOutage::Open)]));
        assert!(!ask(&[&limit("closed", "1/hour", OnOutage::Closed)]));
        // A look takes nothing.
        let peeked = limit("peeked", "1/hour", OnOutage::Local);
        for _ in 0..3 {
            let item = calls.item(&peeked, "ada", 1);
            assert!(calls.peek(vec![item]).outage(&local, &Outage::Deadline).is_allowed());
        }
    }
}
