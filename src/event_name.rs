//! The name that somebody gave an event, for filters of activity and in every bridge alike.

use opentelemetry_sdk::logs::SdkLogRecord;

/// The event name of a record; none if it is one that `tracing` makes up where nobody gives any, such as
/// `event src/main.rs:7`, or `log event` for a record of the `log` crate. That one is a plain log.
pub(crate) fn event_name(record: &SdkLogRecord) -> Option<&'static str> {
    record.event_name().and_then(given)
}

/// The name of an event; none if it is made up.
pub(crate) fn given(name: &str) -> Option<&str> {
    (!is_made_up(name)).then_some(name)
}

fn is_made_up(name: &str) -> bool {
    let is_number = |line: &str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    let place = name.strip_prefix("event ").and_then(|place| place.rsplit_once(':'));
    name == "log event" || place.is_some_and(|(_, line)| is_number(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_up_only_if_it_is_a_place() {
        for made_up in [r"event C:\shop\src\main.rs:7", "event src/a b.rs:1200", "log event"] {
            assert!(is_made_up(made_up), "{made_up}");
        }
        for given in ["", "event", "event ", "event of: today", "event src/main.rs:", "events a:1", "checkout", "log"] {
            assert!(!is_made_up(given), "{given}");
        }
    }
}
