//! From a question to the servers and back: arguments, the call, the reading of the reply, and the conversion of what another quota
//! wrote.

use std::sync::Arc;

use tokio::time::Instant;

use crate::error::Outage;
use crate::fleet::Fleet;
use crate::lease::anchor::ServerClock;
use crate::reply::{self, Part, Reply};
use crate::request::{Arg, Request};
use crate::rule::{Adjust, Converted, Rule};
use crate::set::FleetItem;

/// What to do with what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Take,
    Peek,
    /// For a request that may wait so many microseconds.
    Reserve(u64),
}

/// How often a text of another quota is converted before it is given up: more than once only while nodes of both are at work.
const CONVERSIONS: usize = 4;

/// The limits of one call: all or nothing.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) now: u64,
    pub(crate) is_yes: bool,
    pub(crate) parts: Vec<Part>,
}

/// Asks about items whose keys are in one slot, or on one server.
pub(crate) async fn check(fleet: &Fleet, items: &[&FleetItem], mode: Mode, until: Instant) -> Result<Checked, Outage> {
    if !fleet.0.servers.is_up(items.first().map_or(0, |item| item.name(fleet).slot())) {
        return Err(Outage::Disconnected);
    }
    let mut converted: Vec<Option<Converted>> = items.iter().map(|_| None).collect();
    for _ in 0..CONVERSIONS {
        let (word, wait) = match mode {
            Mode::Take => ("take", 0),
            Mode::Peek => ("peek", 0),
            Mode::Reserve(wait) => ("reserve", wait),
        };
        let mut args = vec![Arg::Static(word)];
        for (item, converted) in items.iter().zip(&converted) {
            item.limit.0.rule.push_check(item.cost, wait, converted.as_ref(), &mut args);
        }
        let request = Request {
            script: &fleet.0.scripts.check,
            keys: items.iter().map(|item| item.limit.key(item.name(fleet))).collect(),
            args,
            slot: items.first().map_or(0, |item| item.name(fleet).slot()),
        };
        let value = fleet.0.servers.call(&request, until).await?;
        let rules = items.iter().map(|item| &item.limit.0.rule);
        match reply::check(&value, rules).ok_or(Outage::Unreadable)? {
            Reply::Decided { now, is_yes, answer } => return Ok(Checked { now, is_yes, parts: answer }),
            Reply::Changed { now, texts } => {
                for (index, seen) in texts {
                    let item = items.get(index).ok_or(Outage::Unreadable)?;
                    let text = item.limit.0.rule.convert(&seen, now).ok_or(Outage::Unreadable)?;
                    converted[index] = Some(text);
                }
            }
        }
    }
    Err(Outage::Contended)
}

/// An answer with tokens in advance.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) now: u64,
    pub(crate) part: Part,
    pub(crate) tokens: u64,
    /// This node's clock when the request was sent.
    pub(crate) sent: u64,
    pub(crate) clock: Arc<ServerClock>,
}

/// Asks about one item, and for up to `most` tokens in advance.
pub(crate) async fn lease(fleet: &Fleet, item: &FleetItem, most: u64, until: Instant) -> Result<Leased, Outage> {
    let rule: &Rule = &item.limit.0.rule;
    if !fleet.0.servers.is_up(item.name(fleet).slot()) {
        return Err(Outage::Disconnected);
    }
    let mut converted: Option<Converted> = None;
    for _ in 0..CONVERSIONS {
        let mut args = Vec::new();
        rule.push_check(item.cost, 0, converted.as_ref(), &mut args);
        rule.push_ahead(most, &mut args);
        let script = &fleet.0.scripts.lease;
        let request =
            Request { script, keys: vec![item.limit.key(item.name(fleet))], args, slot: item.name(fleet).slot() };
        let sent = fleet.0.leases.now();
        let (value, clock) = fleet.0.servers.call_whom(&request, until).await?;
        match reply::lease(&value, rule).ok_or(Outage::Unreadable)? {
            Reply::Decided { now, answer: (part, answer), .. } => {
                let tokens = rule.ahead(most, answer).ok_or(Outage::Unreadable)?;
                return Ok(Leased { now, part, tokens, sent, clock });
            }
            Reply::Changed { now, texts } => {
                let (_, seen) = texts.first().ok_or(Outage::Unreadable)?;
                converted = Some(rule.convert(seen, now).ok_or(Outage::Unreadable)?);
            }
        }
    }
    Err(Outage::Contended)
}

/// Changes one bucket; how much was taken.
pub(crate) async fn adjust(
    fleet: &Fleet,
    item: &FleetItem,
    how: Adjust,
    mine: u64,
    until: Instant,
) -> Result<u64, Outage> {
    let rule: &Rule = &item.limit.0.rule;
    let mut converted: Option<Converted> = None;
    for _ in 0..CONVERSIONS {
        let mut args = Vec::new();
        rule.push_adjust(how, item.cost, mine, converted.as_ref(), &mut args);
        let value = call(fleet, item, &fleet.0.scripts.adjust, args, until).await;
        if how == Adjust::Refund {
            // What was known of it is over, whether an answer came or not.
            fleet.0.leases.with(&item.subject, &item.limit, |hot| hot.forget());
        }
        let value = value?;
        match reply::adjust(&value).ok_or(Outage::Unreadable)? {
            Reply::Decided { answer: None, .. } => return Ok(0),
            Reply::Decided { answer: Some(taken), .. } => {
                return rule.taken(item.cost, &taken).ok_or(Outage::Unreadable);
            }
            Reply::Changed { now, texts } => {
                let seen = texts.first().ok_or(Outage::Unreadable)?;
                converted = Some(rule.convert(&seen.1, now).ok_or(Outage::Unreadable)?);
            }
        }
    }
    Err(Outage::Contended)
}

/// Runs a script on the key of one item.
pub(crate) async fn call(
    fleet: &Fleet,
    item: &FleetItem,
    script: &crate::request::Script,
    args: Vec<Arg>,
    until: Instant,
) -> Result<redis::Value, Outage> {
    let request = Request { script, keys: vec![item.limit.key(item.name(fleet))], args, slot: item.name(fleet).slot() };
    fleet.0.servers.call(&request, until).await
}
