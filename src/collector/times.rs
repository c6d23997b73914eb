//! The wall clock, and times as Snowplow writes them.

use crate::calendar::iso_time;
use crate::clock::Source;

/// The wall clock in milliseconds since 1970.
pub(super) fn now_millis(clock: &Source) -> i64 {
    clock.moment().wall.div_euclid(1_000_000)
}

/// ISO 8601 in UTC with milliseconds, for the years 0 to 9999.
pub(super) fn iso(millis: i64) -> String {
    iso_time(millis).map(char::from).iter().collect()
}
