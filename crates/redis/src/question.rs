//! What a script is asked about items, and the reading of its answer: again, if another quota wrote a bucket, with its text converted.

use crate::error::Outage;
use crate::item::{FleetItem, Mode};
use crate::reply::{self, Part, Reply, Said};
use crate::request::{Arg, Request, Script, Scripts};
use crate::rule::{Adjust, Converted, MAX_SPAN_US};
use crate::secret::Secret;

/// How often a text of another quota is converted before it is given up: more than once only while nodes of both are at work.
pub(crate) const CONVERSIONS: usize = 4;

/// The limits of one call: all or nothing.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) now: u64,
    pub(crate) is_yes: bool,
    pub(crate) parts: Vec<Part>,
}

/// Asks about items whose keys are in one slot, or on one server; `converted` has a place for each.
pub(crate) fn check<'a>(
    scripts: &'a Scripts,
    secret: &Secret,
    items: &[&FleetItem],
    mode: Mode,
    converted: &[Option<Converted>],
) -> Request<'a> {
    let (script, first, wait) = match mode {
        Mode::Take => (&scripts.check, Arg::Static("take"), 0),
        Mode::Peek => (&scripts.check, Arg::Static("peek"), 0),
        Mode::Reserve(wait) => (&scripts.check, Arg::Static("reserve"), wait),
        Mode::ReserveAll(wait) => (&scripts.reserve, Arg::Number(wait.min(MAX_SPAN_US)), 0),
    };
    let mut args = vec![first];
    for (item, converted) in items.iter().zip(converted) {
        item.limit.0.rule.push_check(item.cost, wait, converted.as_ref(), &mut args);
        if let Mode::ReserveAll(_) = mode {
            item.limit.0.rule.push_promise(&mut args);
        }
    }
    Request {
        script,
        keys: items.iter().map(|item| item.limit.key(item.name(secret))).collect(),
        args,
        slot: items.first().map_or(0, |item| item.name(secret).slot()),
    }
}

/// The answer to [`check`]; nothing if it has to be asked again.
pub(crate) fn checked(
    value: &impl Said,
    items: &[&FleetItem],
    converted: &mut [Option<Converted>],
) -> Result<Option<Checked>, Outage> {
    match reply::check(value, items.iter().map(|item| &item.limit.0.rule)).ok_or(Outage::Unreadable)? {
        Reply::Decided { now, is_yes, answer } => Ok(Some(Checked { now, is_yes, parts: answer })),
        Reply::Changed { now, texts } => {
            for (index, seen) in texts {
                let (item, place) = items.get(index).zip(converted.get_mut(index)).ok_or(Outage::Unreadable)?;
                *place = Some(item.limit.0.rule.convert(&seen, now).ok_or(Outage::Unreadable)?);
            }
            Ok(None)
        }
    }
}

/// Changes one bucket.
pub(crate) fn adjust<'a>(
    scripts: &'a Scripts,
    secret: &Secret,
    item: &FleetItem,
    how: Adjust,
    mine: u64,
    converted: Option<&Converted>,
) -> Request<'a> {
    let mut args = Vec::new();
    item.limit.0.rule.push_adjust(how, item.cost, mine, converted, &mut args);
    of_one(&scripts.adjust, secret, item, args)
}

/// The answer to [`adjust`]: how much was taken; nothing if it has to be asked again.
pub(crate) fn adjusted(
    value: &impl Said,
    item: &FleetItem,
    converted: &mut Option<Converted>,
) -> Result<Option<u64>, Outage> {
    let rule = &item.limit.0.rule;
    match reply::adjust(value).ok_or(Outage::Unreadable)? {
        Reply::Decided { answer: None, .. } => Ok(Some(0)),
        Reply::Decided { answer: Some(taken), .. } => rule.taken(item.cost, &taken).map(Some).ok_or(Outage::Unreadable),
        Reply::Changed { now, texts } => {
            let (_, seen) = texts.first().ok_or(Outage::Unreadable)?;
            *converted = Some(rule.convert(seen, now).ok_or(Outage::Unreadable)?);
            Ok(None)
        }
    }
}

/// Fills a bucket.
pub(crate) fn reset<'a>(scripts: &'a Scripts, secret: &Secret, item: &FleetItem) -> Request<'a> {
    let args =
        vec![Arg::Static("*"), Arg::Number(0), Arg::Number(0), Arg::Static(""), Arg::Static(""), Arg::Static("")];
    of_one(&scripts.undo, secret, item, args)
}

/// A script on the key of one item.
pub(crate) fn of_one<'a>(script: &'a Script, secret: &Secret, item: &FleetItem, args: Vec<Arg>) -> Request<'a> {
    Request { script, keys: vec![item.limit.key(item.name(secret))], args, slot: item.name(secret).slot() }
}
