//! The wall clock, and times as Snowplow writes them.

use crate::clock::Source;

/// The wall clock in milliseconds since 1970.
pub(super) fn now_millis(clock: &Source) -> i64 {
    clock.moment().wall.div_euclid(1_000_000)
}

/// ISO 8601 in UTC with milliseconds, for the years 0 to 9999.
pub(super) fn iso(millis: i64) -> String {
    let (day, in_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, date) = civil(day);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// Days since 1970 to a date of the Gregorian calendar. Counted in eras of 400 years that begin in March, so that the
/// leap day is the last of its year.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + TO_MARCH_OF_YEAR_0;
    let (era, of_era) = (shifted.div_euclid(ERA), shifted.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

const DAY: i64 = 86_400_000;
/// Days in 400 years.
const ERA: i64 = 146_097;
/// Days from the first of March of the year 0 to 1970.
const TO_MARCH_OF_YEAR_0: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_164_800_123, "2024-02-29T00:00:00.123Z"),
            (1_795_164_538_129, "2026-11-20T08:48:58.129Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(millis), text);
        }
    }
}
