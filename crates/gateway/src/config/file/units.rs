//! Numbers, durations and sizes as people write them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;

use super::item::Item;

/// Longer than anybody waits, and far from where clocks overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Item<'_> {
    /// A whole number, with underscores where they help the eye.
    pub(crate) fn number<N: TryFrom<u64> + Copy + Display + PartialOrd>(&self, range: RangeInclusive<N>) -> Option<N> {
        let text = self.text()?;
        let number = text.replace('_', "").parse::<u64>().ok().and_then(|number| N::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.refuse(format_args!("expected a whole number from {least} to {most}, got `{text}`"));
        }
        number
    }

    /// A time such as `5s`, `250ms` or `1m30s`, and more than none.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
        if duration.is_none() {
            self.refuse(format_args!("`{text}` is not a valid duration; expected for example 5s, 250ms or 1m30s"));
        }
        let duration = duration?;
        if !(Duration::from_millis(1)..=LONGEST).contains(&duration) {
            self.refuse(format_args!("expected a duration from 1ms to 8760h, got `{text}`"));
            return None;
        }
        Some(duration)
    }

    /// A number of bytes such as `10MiB`, `32KiB`, `1MB` or `8192`.
    pub(crate) fn bytes<N: TryFrom<u64> + Copy + Into<u64> + PartialOrd>(&self, range: RangeInclusive<N>) -> Option<N> {
        let text = self.text()?;
        let Ok(size) = text.replace('_', "").parse::<ByteSize>() else {
            self.refuse(format_args!(
                "`{text}` is not a valid number of bytes; expected for example 10MiB, 32KiB or 8192"
            ));
            return None;
        };
        let bytes = N::try_from(size.as_u64()).ok().filter(|bytes| range.contains(bytes));
        if bytes.is_none() {
            let (least, most) = (shown((*range.start()).into()), shown((*range.end()).into()));
            self.refuse(format_args!("expected {least} to {most}, got `{text}`"));
        }
        bytes
    }
}

/// `bytes` as the file has them.
pub(crate) fn shown(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}
