//! One type for the clocks of both kinds of tables.

use tollgate::clock::{Clock, ExactClock, Instant};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use tollgate::shared::TableClock;

/// Of a table of this process, or of one that processes share.
#[derive(Debug)]
pub(crate) struct AnyClock(Kind);

#[derive(Debug)]
enum Kind {
    Own(ExactClock),
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Table(TableClock),
}

impl AnyClock {
    pub(crate) fn own() -> Self {
        Self(Kind::Own(ExactClock::new()))
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) const fn of_table(clock: TableClock) -> Self {
        Self(Kind::Table(clock))
    }
}

impl Clock for AnyClock {
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

    #[inline]
    fn is_of_shared_table(&self) -> bool {
        match &self.0 {
            Kind::Own(_) => false,
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(_) => true,
        }
    }
}
