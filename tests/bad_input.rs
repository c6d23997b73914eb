//! Settings and ids that cannot work: a clear error at build, or a counter at run time; never a panic, never silence.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use otel_session::{InvalidSessionId, Loss, SessionId, Sessions, SessionsBuilder};

use support::*;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The message of the error that building ends with.
fn refused(configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> String {
    configure(Sessions::builder()).build().expect_err("it must be refused").to_string()
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn a_zero_duration_is_refused_with_setting_value_and_fix() {
    let zero = Duration::ZERO;
    for (message, setting) in [
        (refused(|it| it.with_inactivity_timeout(zero)), "with_inactivity_timeout(0ns)"),
        (refused(|it| it.with_background_timeout(zero)), "with_background_timeout(0ns)"),
        (refused(|it| it.with_max_duration(zero)), "with_max_duration(0ns)"),
    ] {
        assert_says(&message, &[setting, "must be more than zero", "use "]);
    }
}

#[test]
fn an_overflowing_duration_is_refused_with_setting_value_and_fix() {
    for value in [Duration::MAX, 101 * YEAR, 100 * YEAR + Duration::from_nanos(1)] {
        let shown = format!("{value:?}");
        for (message, setting) in [
            (refused(|it| it.with_inactivity_timeout(value)), "with_inactivity_timeout"),
            (refused(|it| it.with_background_timeout(value)), "with_background_timeout"),
            (refused(|it| it.with_max_duration(value)), "with_max_duration"),
        ] {
            assert_says(&message, &[setting, &shown, "at most 100 years", "use less"]);
        }
    }
}

#[test]
fn the_shortest_and_the_longest_duration_work() {
    let shortest = Duration::from_nanos(1);
    let rig = Rig::with(|it| it.with_inactivity_timeout(shortest).with_max_duration(shortest));
    rig.log("log");
    rig.clock.advance(shortest);
    rig.log("log");
    assert_lawful(&rig.lines());
    let rig = Rig::with(|it| it.with_inactivity_timeout(100 * YEAR).with_max_duration(100 * YEAR));
    rig.log("log");
    rig.clock.advance(99 * YEAR);
    assert!(rig.sessions.current().is_some());
    rig.clock.advance(2 * YEAR);
    assert!(rig.sessions.current().is_none());
    rig.clock.advance(Duration::MAX);
    rig.log("at the end of time");
    let last = rig.sessions.current();
    assert!(last.is_some());
    rig.log("no time later");
    assert_eq!(rig.sessions.current(), last);
    rig.sessions.rotate();
    rig.sessions.shutdown(Duration::MAX).unwrap();
    assert_lawful(&rig.lines());
}

#[test]
fn a_timeout_beyond_the_maximum_duration_is_refused_with_setting_value_and_fix() {
    for order in [true, false] {
        let message = refused(|it| {
            let it = if order { it.with_max_duration(MINUTE) } else { it };
            let it = it.with_inactivity_timeout(2 * MINUTE);
            if order { it } else { it.with_max_duration(MINUTE) }
        });
        assert_says(&message, &["with_inactivity_timeout(120s)", "with_max_duration(60s)", "use 60s or less"]);
    }
    let message = refused(|it| it.with_background_timeout(2 * MINUTE).with_max_duration(MINUTE));
    assert_says(&message, &["with_background_timeout(120s)", "with_max_duration(60s)", "use 60s or less"]);
    let equal = Sessions::builder().with_inactivity_timeout(MINUTE).with_background_timeout(MINUTE);
    assert!(equal.with_max_duration(MINUTE).build().is_ok());
}

#[test]
fn the_default_timeout_gives_way_to_a_shorter_maximum() {
    let rig = Rig::with(|it| it.with_max_duration(MINUTE));
    rig.log("log");
    rig.clock.advance(MINUTE);
    assert_eq!(rig.lifecycle()[1].reason.as_deref(), Some("max_duration"));
}

#[test]
fn a_user_or_installation_that_cannot_be_exported_is_refused() {
    for (message, wrong) in [
        (refused(|it| it.with_user_id("")), "with_user_id: is empty"),
        (refused(|it| it.with_user_id("a\nb")), "with_user_id: holds control characters"),
        (refused(|it| it.with_installation_id("x".repeat(201))), "with_installation_id: has 201 bytes"),
        (refused(|it| it.with_installation_id("\u{7f}")), "with_installation_id: holds control characters"),
    ] {
        assert_eq!(message, format!("{wrong}; use 1 to 200 bytes without control characters"));
    }
}

#[test]
fn an_empty_user_set_later_means_none() {
    let rig = Rig::new();
    rig.sessions.set_user_id(Some(""));
    rig.log("log");
    assert_eq!(rig.lines()[1].user_id, None);
}

#[test]
fn a_user_set_later_that_cannot_be_exported_means_none_and_is_counted() {
    let rig = Rig::with(|builder| builder.with_user_id("ada"));
    for user in ["x".repeat(201).as_str(), "line\nbreak"] {
        rig.sessions.set_user_id(Some("ada"));
        rig.sessions.set_user_id(Some(user));
        rig.log("log");
        assert_eq!(rig.lines().last().unwrap().user_id, None);
    }
    assert_eq!(rig.sessions.losses().count(Loss::InvalidUser), 2);
    assert_eq!(rig.sessions.losses().total(), 2);
}

#[test]
fn ids_are_parsed_or_refused_for_a_reason() {
    assert_eq!(SessionId::parse(""), Err(InvalidSessionId::Empty));
    assert_eq!(SessionId::parse(&"é".repeat(101)), Err(InvalidSessionId::TooLong { bytes: 202 }));
    for control in ["a\0", "\n", "tab\t", "\u{85}", "\u{1b}[0m"] {
        assert_eq!(SessionId::parse(control), Err(InvalidSessionId::ControlCharacter), "{control:?}");
    }
    for fine in ["a", " ", "é", "🦀", &"x".repeat(200)] {
        assert_eq!(SessionId::parse(fine).unwrap().as_str(), fine);
    }
    assert!("".parse::<SessionId>().unwrap_err().to_string().contains("empty"));
    assert!(SessionId::parse(&"x".repeat(201)).unwrap_err().to_string().contains("201"));
}

/// Runs three sessions with this generator; returns their ids and how often a loss was counted.
fn generated(loss: Loss, generate: impl Fn() -> String + Send + Sync + 'static) -> (Vec<String>, u64) {
    let rig = Rig::with(|it| it.with_id_generator(generate));
    rig.log("log");
    rig.sessions.rotate();
    rig.clock.suspend(TIMEOUT);
    rig.span("span");
    rig.sessions.shutdown(seconds(5)).unwrap();
    let lifecycle = rig.lifecycle();
    assert_eq!(lifecycle.len(), 6);
    assert!(lifecycle.iter().all(|line| line.id != line.previous_id));
    let losses = rig.sessions.losses();
    assert_eq!(losses.total(), losses.count(loss), "{losses}");
    let starts = lifecycle.into_iter().filter(Line::is_start);
    (starts.map(|line| line.id.unwrap()).collect(), losses.count(loss))
}

fn assert_own(id: &str) {
    assert_eq!(uuid_shape(id), [8, 4, 4, 4, 12], "{id} is no id of our own");
}

fn uuid_shape(id: &str) -> Vec<usize> {
    id.split('-').map(|part| part.chars().filter(|it| matches!(it, '0'..='9' | 'a'..='f')).count()).collect()
}

#[test]
fn an_invalid_id_from_the_generator_is_replaced_and_counted() {
    for id in [String::new(), "x".repeat(201), "a\nb".into(), "\u{0}".into()] {
        let (ids, counted) = generated(Loss::InvalidId, move || id.clone());
        ids.iter().for_each(|id| assert_own(id));
        assert_eq!(counted, 3);
    }
}

#[test]
fn a_generator_that_repeats_the_previous_id_is_replaced_and_counted() {
    let (ids, counted) = generated(Loss::InvalidId, || "same".into());
    assert_eq!((ids[0].as_str(), ids[2].as_str()), ("same", "same"));
    assert_own(&ids[1]);
    assert_eq!(counted, 1);
}

#[test]
fn a_panicking_generator_is_replaced_and_counted() {
    let calls = AtomicU64::new(0);
    let (ids, counted) = generated(Loss::IdGenerator, move || match calls.fetch_add(1, Ordering::SeqCst) {
        1 => panic!("this generator panics"),
        call => format!("call-{call}"),
    });
    assert_eq!((ids[0].as_str(), ids[2].as_str()), ("call-0", "call-2"));
    assert_own(&ids[1]);
    assert_eq!(counted, 1);
}

#[test]
fn a_valid_id_is_used_as_it_is() {
    let calls = AtomicU64::new(0);
    let (ids, counted) =
        generated(Loss::InvalidId, move || format!("ünïcode {}", calls.fetch_add(1, Ordering::SeqCst)));
    assert_eq!(ids, ["ünïcode 0", "ünïcode 1", "ünïcode 2"]);
    assert_eq!(counted, 0);
}

#[test]
fn the_generator_is_called_once_for_each_session_also_by_many_threads() {
    let calls = std::sync::Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let rig = Rig::with(|it| it.with_id_generator(move || format!("id {}", counter.fetch_add(1, Ordering::SeqCst))));
    for _ in 0..50 {
        rig.clock.suspend(TIMEOUT);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| rig.log("log"));
            }
        });
    }
    assert_eq!(calls.load(Ordering::SeqCst), 50);
    assert_lawful(&rig.lines());
    assert_eq!(rig.sessions.losses().total(), 0);
}
