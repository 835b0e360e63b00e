//! The clock on the wall by which reports and pictures show times: UTC, or that of a zone.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::log::time::timestamp;

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// Shows moments as a clock in a zone does.
#[derive(Debug, Clone)]
pub(crate) struct WallClock(TimeZone);

impl WallClock {
    pub(crate) fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// In the zone of this machine: that of the variable `TZ`, else of the system.
    ///
    /// # Errors
    ///
    /// If neither says which it is.
    pub(crate) fn local() -> Result<Self, String> {
        TimeZone::try_system().map(Self).map_err(|error| format!("the local time zone is not known: {error}"))
    }

    #[cfg(test)]
    pub(crate) fn of(zone: TimeZone) -> Self {
        Self(zone)
    }

    /// What the zone is called.
    pub(crate) fn name(&self) -> String {
        match (self.0.to_fixed_offset(), self.0.iana_name()) {
            (Ok(offset), _) if offset == Offset::UTC => "UTC".to_owned(),
            (_, Some(name)) => name.to_owned(),
            (Ok(offset), None) => offset.to_string(),
            (Err(_), None) => "local time".to_owned(),
        }
    }

    /// Day and time of day. Where a clock shows the same time twice, when summer time ends, also which of the two it is.
    pub(crate) fn moment(&self, nanos: u64) -> String {
        self.shown(nanos, "%-d %b %Y %H:%M:%S")
    }

    /// The same without the seconds.
    pub(crate) fn minute(&self, nanos: u64) -> String {
        self.shown(nanos, "%-d %b %Y %H:%M")
    }

    fn shown(&self, nanos: u64, format: &str) -> String {
        let zoned = timestamp(nanos).to_zoned(self.0.clone());
        let is_twice = self.0.to_ambiguous_timestamp(zoned.datetime()).is_ambiguous();
        let offset = if is_twice { zoned.strftime("%:z").to_string() } else { String::new() };
        format!("{}{offset}", zoned.strftime(format))
    }

    pub(crate) fn date(&self, nanos: u64) -> String {
        timestamp(nanos).to_zoned(self.0.clone()).strftime("%-d %b %Y").to_string()
    }

    pub(crate) fn time_of_day(&self, nanos: u64, has_seconds: bool) -> String {
        let zoned = timestamp(nanos).to_zoned(self.0.clone());
        zoned.strftime(if has_seconds { "%H:%M:%S" } else { "%H:%M" }).to_string()
    }

    /// What the clock shows, as nanoseconds after it showed the beginning of 1970.
    pub(crate) fn reading(&self, nanos: u64) -> i128 {
        i128::from(nanos) + i128::from(self.0.to_offset(timestamp(nanos)).seconds()) * SECOND
    }

    /// When the clock shows that, in nanoseconds since 1970; of two times the first, and for one that is left out in spring
    /// the one an hour later. Nothing before 1970 or after 2554.
    pub(crate) fn when(&self, reading: i128) -> Option<u64> {
        let civil = Offset::UTC.to_datetime(Timestamp::from_nanosecond(reading).ok()?);
        u64::try_from(self.0.to_timestamp(civil).ok()?.as_nanosecond()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe: an hour before UTC, and two from the last Sunday of March to that of October.
    fn central_europe() -> WallClock {
        WallClock(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn a_clock_shows_the_time_of_its_zone() {
        let moment = at("2024-03-01T23:30:00Z");
        assert_eq!(WallClock::utc().moment(moment), "1 Mar 2024 23:30:00");
        assert_eq!(central_europe().moment(moment), "2 Mar 2024 00:30:00");
        assert_eq!(central_europe().minute(moment), "2 Mar 2024 00:30");
        assert_eq!(central_europe().date(moment), "2 Mar 2024");
        assert_eq!(central_europe().moment(at("2024-07-01T23:30:00Z")), "2 Jul 2024 01:30:00");
        let names = [TimeZone::UTC, TimeZone::fixed(Offset::constant(-5)), TimeZone::fixed(Offset::UTC)];
        assert_eq!(names.map(|zone| WallClock(zone).name()), ["UTC", "-05", "UTC"]);
        assert_eq!(central_europe().name(), "local time");
    }

    #[test]
    fn an_hour_that_comes_twice_is_told_apart() {
        let clock = central_europe();
        let [first, second] = ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"].map(at);
        assert_eq!(clock.moment(first), "27 Oct 2024 02:30:00+02:00");
        assert_eq!(clock.moment(second), "27 Oct 2024 02:30:00+01:00");
        assert_eq!(clock.when(clock.reading(second)), Some(first));
    }

    #[test]
    fn readings_lead_back() {
        let clock = central_europe();
        for moment in ["1970-01-01T00:00:00Z", "2024-03-31T00:59:59Z", "2024-03-31T01:00:00Z", "2100-07-01T12:00:00Z"] {
            assert_eq!(clock.when(clock.reading(at(moment))), Some(at(moment)), "{moment}");
        }
        // Half past two is left out: the clock goes on as if it had not been.
        let gap = WallClock::utc().reading(at("2024-03-31T02:30:00Z"));
        assert_eq!(clock.when(gap), Some(at("2024-03-31T01:30:00Z")));
        assert_eq!(clock.when(0), None, "an hour before 1970");
        assert_eq!(clock.when(i128::MAX), None);
    }
}
