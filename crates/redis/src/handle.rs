//! All that can be asked of one key under one limit.

use core::time::Duration;

use tokio::time::Instant;

use crate::decision::{FleetDecision, Place};
use crate::error::Outage;
use crate::exchange;
use crate::fleet::Fleet;
use crate::item::{FleetItem, Mode};
use crate::limit::FleetLimit;
use crate::outage::OnOutage;
use crate::question;
use crate::reply;
use crate::reservation::{FleetReservation, Undo};
use crate::rule::{Adjust, Rule};
use crate::secret::Subject;

/// A fleet under one limit; from [`Fleet::under`].
#[derive(Debug, Clone, Copy)]
pub struct FleetScoped<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) limit: &'a FleetLimit,
}

/// The bucket of one key under one limit; from [`Fleet::key`]. Holds the hash of the key.
///
/// Each call is one round trip, and takes no longer than the fleet's deadline (two round trips if another quota wrote the
/// bucket before). None is ever sent again once it may have been run.
#[derive(Debug, Clone)]
#[must_use = "a handle by itself does nothing"]
pub struct FleetHandle<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) limit: &'a FleetLimit,
    pub(crate) subject: Subject,
}

impl<'a> FleetHandle<'a> {
    fn item(&self, cost: u64) -> FleetItem {
        FleetItem { limit: self.limit.clone(), subject: self.subject.clone(), cost }
    }

    fn until(&self) -> Instant {
        Instant::now() + self.fleet.0.deadline
    }

    fn rule(&self) -> &Rule {
        &self.limit.0.rule
    }

    /// Admits one request, or not.
    pub async fn check(&self) -> FleetDecision {
        self.check_n(1).await
    }

    /// Admits a request that costs `cost` tokens, all of it or nothing. A cost of 0 is always admitted and takes nothing; one
    /// above the limit [never fits](FleetDecision::never_fits).
    pub async fn check_n(&self, cost: u64) -> FleetDecision {
        self.decide(cost, Mode::Take).await
    }

    /// What [`check`](Self::check) would answer. Writes nothing.
    pub async fn peek(&self) -> FleetDecision {
        self.peek_n(1).await
    }

    /// What [`check_n`](Self::check_n) would answer. Writes nothing.
    pub async fn peek_n(&self, cost: u64) -> FleetDecision {
        self.decide(cost, Mode::Peek).await
    }

    /// What needs no answer is decided at once. The rest is boxed: all futures around it would be as large as it is, and moved for checks
    /// that ask nobody.
    async fn decide(&self, cost: u64, mode: Mode) -> FleetDecision {
        match self.at_once(cost, mode) {
            Some(decision) => decision,
            None => Box::pin(self.clone().ask(cost, mode)).await,
        }
    }

    /// The decision, if no server has to be asked, or if none is there.
    pub(crate) fn at_once(&self, cost: u64, mode: Mode) -> Option<FleetDecision> {
        self.here(cost, mode == Mode::Take).or_else(|| {
            let is_up = self.fleet.0.servers.link(|| self.subject.name(&self.fleet.0.secret).slot()).is_some();
            (!is_up).then(|| self.item(cost).without_answer(self.fleet, Outage::Disconnected, mode))
        })
    }

    /// The decision, if no server has to be asked.
    pub(crate) fn here(&self, cost: u64, take: bool) -> Option<FleetDecision> {
        crate::item::without_server(self.limit, cost)
            .or_else(|| crate::ahead::here(self.fleet, self.limit, &self.subject, cost, take))
    }

    pub(crate) async fn ask(self, cost: u64, mode: Mode) -> FleetDecision {
        let (item, until) = (self.item(cost), self.until());
        if mode == Mode::Take
            && let Some(decision) = crate::ahead::check(self.fleet, &item, until).await
        {
            return decision;
        }
        match exchange::check(self.fleet, &[&item], mode, until).await {
            Ok(checked) => match checked.parts.first() {
                Some(part) => item.decided(part, checked.now),
                None => item.without_answer(self.fleet, Outage::Unreadable, mode),
            },
            Err(outage) => item.without_answer(self.fleet, outage, mode),
        }
    }

    /// Takes as much of `most` as is there, in one step, and says how much. During an outage: nothing if the limit is then closed,
    /// all if it is open.
    pub async fn take_up_to(&self, most: u64) -> u64 {
        match self.rule() {
            Rule::Unlimited => return most,
            Rule::Closed => return 0,
            // What may leave at once, or nothing.
            Rule::Queue(queue) => {
                let cost = most.min(queue.burst);
                return if cost > 0 && self.check_n(cost).await.is_allowed() { cost } else { 0 };
            }
            _ if most == 0 => return 0,
            _ => {}
        }
        let item = self.item(most);
        match exchange::adjust(self.fleet, &item, Adjust::UpTo, 0, self.until()).await {
            Ok(taken) => taken,
            Err(_) => {
                self.fleet.count_outage();
                match (&self.limit.local(&self.fleet.0.local), self.limit.on_outage()) {
                    (Some(limit), _) => self.local(limit).take_up_to(most),
                    (None, OnOutage::Open) => most,
                    (None, _) => 0,
                }
            }
        }
    }

    /// Takes `cost` tokens whether they are there or not, and says how much was recorded: for a cost that is known only
    /// afterwards. A bucket goes at most as far past empty as [`Quota::with_max_debt`](tollgate::Quota::with_max_debt) says; a window
    /// fills up to its limit.
    ///
    /// # Errors
    ///
    /// The outage, if no server has said so. Then the charge may or may not have been recorded.
    pub async fn charge(&self, cost: u64) -> Result<u64, Outage> {
        match self.rule() {
            Rule::Unlimited => return Ok(cost),
            Rule::Closed => return Ok(0),
            _ if cost == 0 => return Ok(0),
            _ => {}
        }
        let charged = exchange::adjust(self.fleet, &self.item(cost), Adjust::Charge, 0, self.until()).await;
        if let (Err(_), Some(limit)) = (&charged, &self.limit.local(&self.fleet.0.local)) {
            self.local(limit).charge(cost);
        }
        charged
    }

    /// Gives `cost` tokens back, up to full: for a request that was admitted and then not made. While requests that were
    /// [reserved](Self::reserve) wait for their instants it gives nothing back.
    ///
    /// Give back only what a server took: of a decision that [an outage made](FleetDecision::outage) nothing was taken there, and a
    /// refund of it is one request more for somebody.
    ///
    /// # Errors
    ///
    /// The outage, if no server has said so. Then they may or may not have come back.
    pub async fn refund(&self, cost: u64) -> Result<(), Outage> {
        if matches!(self.rule(), Rule::Unlimited | Rule::Closed) || cost == 0 {
            return Ok(());
        }
        exchange::adjust(self.fleet, &self.item(cost), Adjust::Refund, 0, self.until()).await.map(|_| ())
    }

    /// Fills the bucket: forgets what it owes, and what was promised.
    ///
    /// # Errors
    ///
    /// The outage, if no server has said so.
    pub async fn reset(&self) -> Result<(), Outage> {
        if matches!(self.rule(), Rule::Unlimited | Rule::Closed) {
            return Ok(());
        }
        let request = question::reset(&self.fleet.0.scripts, &self.fleet.0.secret, &self.item(0));
        let value = self.fleet.0.servers.call(&request, self.until()).await;
        // Nor is anything left of what was taken in advance: a full bucket is all there is.
        self.fleet.0.leases.with(&self.subject, self.limit, |hot| hot.clear());
        reply::undo(&value?).map(|_| ()).ok_or(Outage::Unreadable)
    }

    /// Takes `cost` tokens now for a request that may go within `max_wait`, and says when: an instant of its own for each, first
    /// come first served, whichever node they came to. Window algorithms promise nothing ahead of time: there a
    /// reservation goes now or is refused.
    ///
    /// # Errors
    ///
    /// The decision, if it would have to wait longer, or if no server decided and the limit is closed then.
    pub async fn reserve(&self, cost: u64, max_wait: Duration) -> Result<FleetReservation<'a>, FleetDecision> {
        let item = self.item(cost);
        let made = |wait, undo| Ok(FleetReservation::new(self.fleet, self.item(cost), wait, undo));
        if let Some(decision) = item.without_server() {
            return if decision.is_allowed() { made(Duration::ZERO, None) } else { Err(decision) };
        }
        let wait = u64::try_from(max_wait.as_micros()).unwrap_or(u64::MAX);
        let checked = match exchange::check(self.fleet, &[&item], Mode::Reserve(wait), self.until()).await {
            Ok(checked) => checked,
            Err(outage) => return self.reserve_here(&item, max_wait, outage),
        };
        let Some(part) = checked.parts.first() else {
            return self.reserve_here(&item, max_wait, Outage::Unreadable);
        };
        if !part.fits {
            return Err(item.decided(part, checked.now));
        }
        made(item.wait(part, checked.now), Undo::of(&item, part))
    }

    fn reserve_here(
        &self,
        item: &FleetItem,
        max_wait: Duration,
        outage: Outage,
    ) -> Result<FleetReservation<'a>, FleetDecision> {
        let cost = item.cost;
        let made = |wait| Ok(FleetReservation::new(self.fleet, self.item(cost), wait, None));
        let Some(limit) = &self.limit.local(&self.fleet.0.local) else {
            let decision = item.without_answer(self.fleet, outage, Mode::Take);
            return if decision.is_allowed() { made(Duration::ZERO) } else { Err(decision) };
        };
        self.fleet.count_outage();
        match self.local(limit).reserve(cost, max_wait) {
            Ok(reservation) => made(reservation.wait()),
            Err(decision) => {
                let place = Place::Outage(self.limit.on_outage(), outage);
                Err(FleetDecision { report: decision.report(), place, at_us: None, mine: 0 })
            }
        }
    }

    fn local<'b>(&'b self, limit: &'b tollgate::Limit) -> tollgate::Handle<'b> {
        self.fleet.0.local.under(limit).key(self.subject.bytes())
    }
}
