//! From a question to the servers and back: arguments, the call, the reading of the reply, and the conversion of what another quota
//! wrote.

use std::sync::Arc;

use tokio::time::Instant;

use crate::error::Outage;
use crate::fleet::Fleet;
use crate::item::{FleetItem, Mode};
use crate::lease::anchor::ServerClock;
use crate::lease::hot::Hot;
use crate::question::{self, CONVERSIONS, Checked};
use crate::reply::{self, Part, Reply};
use crate::request::Arg;
use crate::rule::{Adjust, Converted, Rule};

/// Asks about items whose keys are in one slot, or on one server.
pub(crate) async fn check(fleet: &Fleet, items: &[&FleetItem], mode: Mode, until: Instant) -> Result<Checked, Outage> {
    let slot = || items.first().map_or(0, |item| item.name(&fleet.0.secret).slot());
    if fleet.0.servers.link(slot).is_none() {
        return Err(Outage::Disconnected);
    }
    let mut converted: Vec<Option<Converted>> = items.iter().map(|_| None).collect();
    for _ in 0..CONVERSIONS {
        let request = question::check(&fleet.0.scripts, &fleet.0.secret, items, mode, &converted);
        let value = fleet.0.servers.call(&request, until).await?;
        if let Some(checked) = question::checked(&value, items, &mut converted)? {
            return Ok(checked);
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
    /// By which connection it was asked for.
    pub(crate) link: u64,
    /// This node's clock when the request was sent.
    pub(crate) sent: u64,
    pub(crate) clock: Arc<ServerClock>,
}

/// Asks about one item of a key that is hot, and for tokens in advance. A server that was not asked for it before is told what another
/// has said: it may have lost that.
pub(crate) async fn lease(fleet: &Fleet, item: &FleetItem, hot: &Hot, until: Instant) -> Result<Leased, Outage> {
    let rule: &Rule = &item.limit.0.rule;
    let Some(link) = fleet.0.servers.link(|| item.name(&fleet.0.secret).slot()) else {
        return Err(Outage::Disconnected);
    };
    let (most, lost) = (hot.want(), hot.seen_before(link));
    let mut converted: Option<Converted> = None;
    for _ in 0..CONVERSIONS {
        let mut args = Vec::new();
        rule.push_check(item.cost, 0, converted.as_ref(), &mut args);
        rule.push_ahead(most, lost.as_ref(), &mut args);
        let request = question::of_one(&fleet.0.scripts.lease, &fleet.0.secret, item, args);
        let sent = fleet.0.leases.now();
        let (value, clock) = fleet.0.servers.call_whom(&request, until).await?;
        match reply::lease(&value, rule).ok_or(Outage::Unreadable)? {
            Reply::Decided { now, answer: (part, answer), .. } => {
                let tokens = rule.ahead(most, answer).ok_or(Outage::Unreadable)?;
                // Of a repeat after a failover it is another.
                let is_same = fleet.0.servers.link(|| item.name(&fleet.0.secret).slot()) == Some(link);
                let link = if is_same { link } else { 0 };
                return Ok(Leased { now, part, tokens, link, sent, clock });
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
    let mut converted: Option<Converted> = None;
    for _ in 0..CONVERSIONS {
        let request = question::adjust(&fleet.0.scripts, &fleet.0.secret, item, how, mine, converted.as_ref());
        let value = fleet.0.servers.call(&request, until).await;
        if how == Adjust::Refund {
            // What was known of it is over, whether an answer came or not.
            fleet.0.leases.with(&item.subject, &item.limit, |hot| hot.forget());
        }
        if let Some(taken) = question::adjusted(&value?, item, &mut converted)? {
            return Ok(taken);
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
    fleet.0.servers.call(&question::of_one(script, &fleet.0.secret, item, args), until).await
}
