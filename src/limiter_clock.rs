//! One type for the clocks of both kinds of tables.

use crate::clock::{Clock, ExactClock, Instant};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::shared::TableClock;

/// The clock of a limiter whose table is this process's own or a [shared](crate::shared) one, as is found out when it is made:
/// an [`ExactClock`], or the clock of that table. Both begin at the Unix epoch and never step back.
///
/// A reading costs what that clock's costs, and a branch that goes the same way each time.
///
/// ```
/// use tollgate::Limiter;
/// use tollgate::clock::LimiterClock;
/// # #[cfg(target_os = "linux")]
/// use tollgate::shared::Shared;
///
/// fn limiter(path: Option<&str>) -> Result<Limiter<LimiterClock>, Box<dyn std::error::Error>> {
///     let builder = Limiter::builder("100/minute");
///     Ok(match path {
///         # #[cfg(target_os = "linux")]
///         Some(path) => builder.shared(Shared::at(path)).build_either()?,
///         # #[cfg(not(target_os = "linux"))]
///         # Some(_) => unreachable!(),
///         None => builder.clock(LimiterClock::default()).build()?,
///     })
/// }
/// # limiter(None)?.check("key");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LimiterClock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Own(ExactClock),
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Table(TableClock),
}

/// The clock of a table of this process alone.
impl Default for LimiterClock {
    fn default() -> Self {
        ExactClock::new().into()
    }
}

/// The clock of a table of this process alone, read as it is given.
impl From<ExactClock> for LimiterClock {
    fn from(clock: ExactClock) -> Self {
        Self(Kind::Own(clock))
    }
}

/// The clock of a table that several processes share.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl From<TableClock> for LimiterClock {
    fn from(clock: TableClock) -> Self {
        Self(Kind::Table(clock))
    }
}

impl Clock for LimiterClock {
    #[inline]
    fn now(&self) -> Instant {
        match &self.0 {
            Kind::Own(clock) => clock.now(),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(clock) => clock.now(),
        }
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        match &self.0 {
            Kind::Own(clock) => clock.never_steps_back(),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(clock) => clock.never_steps_back(),
        }
    }

    // Keys are hashed as all processes of a shared table hash them.
    #[inline]
    fn is_of_shared_table(&self) -> bool {
        match &self.0 {
            Kind::Own(_) => false,
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(_) => true,
        }
    }
}
