//! Creation, identity and the chain: 1 to 8.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use otel_session::testing::ManualClock;
use otel_session::{SessionId, Sessions, SessionsBuilder};

use crate::support::probes::*;
use crate::support::*;

#[test]
fn b001_the_first_activity_creates_a_session_with_an_id_an_expiry_and_no_previous_id() {
    on_both(|rig| {
        let session = rig.sessions.record_activity();
        assert!(SessionId::parse(session.id()).is_ok());
        assert_eq!((session.previous_id(), session.index(), session.started_at()), (None, 1, epoch()));
        rig.clock.advance(TIMEOUT);
        assert_eq!(rig.sessions.current(), None, "it has an expiry");
        assert_eq!(started_ids(&rig.lines()), [session.id()]);
    });
}

#[test]
fn b002_two_reads_return_the_same_id() {
    on_both(|rig| {
        let session = rig.sessions.record_activity();
        assert_eq!(rig.sessions.current(), rig.sessions.current());
        assert_eq!(rig.sessions.current(), Some(session));
        assert_eq!(rig.sessions.record_activity(), session);
        assert_eq!(starts_and_ends(&rig.lines()), (1, 0));
    });
}

#[test]
fn b003_after_each_expiry_the_id_changes_and_a_chain_of_three_links() {
    on_both(|rig| {
        let first = rig.sessions.record_activity();
        rig.clock.advance(TIMEOUT);
        let second = rig.sessions.record_activity();
        rig.clock.advance(TIMEOUT + MINUTE);
        let third = rig.sessions.record_activity();
        assert_ne!(first.id(), second.id());
        assert_ne!(second.id(), third.id());
        assert_ne!(first.id(), third.id());
        assert!(first.started_at() < second.started_at() && second.started_at() < third.started_at());
        assert_eq!(third.started_at(), epoch() + TIMEOUT * 2 + MINUTE, "when it began, not when the last was due");
        assert_eq!((second.previous_id(), third.previous_id()), (Some(first.id()), Some(second.id())));
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(started_ids(&lines), [first.id(), second.id(), third.id()]);
    });
}

#[test]
fn b004_ten_sessions_by_rotation_give_exactly_nineteen_events() {
    on_both(|rig| {
        rig.sessions.record_activity();
        for _ in 0..9 {
            rig.clock.advance(MINUTE);
            rig.sessions.rotate();
        }
        nineteen_linked_events(&rig);
    });
}

#[test]
fn b004_ten_sessions_by_expiry_give_exactly_nineteen_events() {
    on_both(|rig| {
        rig.log("first");
        for n in 0..9 {
            // Half of them end on the keeper, half at the signal that finds them over.
            if n % 2 == 0 {
                rig.clock.suspend(TIMEOUT);
            } else {
                rig.clock.advance(TIMEOUT);
            }
            rig.log("next");
        }
        nineteen_linked_events(&rig);
    });
}

fn nineteen_linked_events(rig: &Rig) {
    let lines = rig.lifecycle();
    assert_eq!(lines.len(), 19);
    assert_lawful(&lines);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line.is_start(), n % 2 == 0, "one start, then nine times an end and a start");
    }
    for pair in lines[1..].chunks(2) {
        assert_eq!(pair[1].previous_id, pair[0].id, "each start is linked to its predecessor");
    }
}

#[test]
fn b005_an_id_is_a_lower_case_dashed_uuid_of_version_4() {
    on_both(|rig| {
        rig.log("one");
        let id = rig.log_id("one").unwrap();
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts.concat().chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
    });
}

#[test]
fn b006_a_generator_of_the_user_is_called_once_for_each_session() {
    let calls = Arc::new(AtomicUsize::new(0));
    let generator = {
        let calls = calls.clone();
        move || format!("mine-{}", calls.fetch_add(1, Ordering::SeqCst))
    };
    within_bound(move || {
        let rig = Rig::with(|builder| builder.with_id_generator(generator));
        assert_eq!(calls.load(Ordering::SeqCst), 0, "not before the first signal");
        rig.log("one");
        rig.span("two");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        rig.sessions.rotate();
        rig.clock.suspend(TIMEOUT);
        rig.log("three");
        rig.clock.advance(TIMEOUT);
        rig.sessions.end();
        rig.log("four");
        assert_eq!(calls.load(Ordering::SeqCst), 4);
        assert_eq!(started_ids(&rig.lines()), ["mine-0", "mine-1", "mine-2", "mine-3"]);
        assert_eq!(rig.span_id("two").as_deref(), Some("mine-0"));
        assert_eq!(rig.sessions.losses().total(), 0);
    });
}

#[test]
fn b007_sessions_are_equal_when_all_their_fields_are() {
    let rig = Rig::new();
    let one = rig.sessions.record_activity();
    let copy = one;
    assert_eq!(one, copy);
    rig.sessions.set_user_id(Some("ann"));
    let with_user = rig.sessions.current().unwrap();
    assert_eq!(one.id(), with_user.id());
    assert_ne!(one, with_user, "one field differs");
    rig.sessions.set_user_id(None);
    assert_eq!(rig.sessions.current(), Some(one));
    assert_ne!(rig.sessions.rotate(), one, "another id");

    let same = |user: &str| {
        let builder = otel_session::Sessions::builder().with_clock(rig.clock.clone());
        builder.with_id_generator(|| "same").with_user_id(user).build().unwrap().record_activity()
    };
    assert_eq!(same("ann"), same("ann"), "equality is of values, not of handles");
    assert_ne!(same("ann"), same("bob"));
}

#[test]
fn b007_sessions_that_differ_in_one_field_alone_are_not_equal() {
    let build = |configure: fn(SessionsBuilder) -> SessionsBuilder| {
        let ids = AtomicUsize::new(0);
        let sessions = Sessions::builder()
            .with_clock(ManualClock::new(epoch()))
            .with_id_generator(move || ["one", "other", "same"][ids.fetch_add(1, Ordering::SeqCst) % 3]);
        configure(sessions).build().unwrap()
    };
    // The third, of the same id and the same start.
    let third = |sessions: &Sessions, linked: bool| {
        sessions.rotate();
        sessions.rotate();
        if !linked {
            sessions.end();
        }
        sessions.rotate()
    };
    let usual = third(&build(|builder| builder), true);
    assert_eq!(third(&build(|builder| builder), true), usual);
    assert_ne!(third(&build(|builder| builder), false), usual, "the previous id");
    assert_ne!(third(&build(|builder| builder.with_installation_id("here")), true), usual, "the installation");
    let later = |builder: SessionsBuilder| builder.with_clock(ManualClock::new(epoch() + MINUTE));
    assert_ne!(third(&build(later), true), usual, "the start");
    let first = build(|builder| builder.with_id_generator(|| "same"));
    let fourth = build(|builder| builder);
    third(&fourth, true);
    (0..2).for_each(|_| _ = fourth.rotate());
    fourth.end();
    let (first, fourth) = (first.rotate(), fourth.rotate());
    assert_eq!((first.id(), first.previous_id()), (fourth.id(), fourth.previous_id()));
    assert_ne!(first, fourth, "the index");
}

#[test]
fn b008_peeking_returns_nothing_before_creation_and_never_creates_or_extends() {
    on_both(|rig| {
        for _ in 0..3 {
            assert_eq!(rig.sessions.current(), None);
        }
        assert!(rig.lines().is_empty(), "a read creates nothing");
        let session = rig.sessions.record_activity();
        for _ in 0..29 {
            rig.clock.advance(MINUTE);
            assert_eq!(rig.sessions.current(), Some(session));
        }
        rig.clock.advance(MINUTE);
        assert_eq!(rig.sessions.current(), None, "reads did not extend it");
        assert_eq!(rig.sessions.current(), None);
        let lines = rig.lines();
        assert_eq!(starts_and_ends(&lines), (1, 1));
        assert_eq!(lines[1].at, Some(epoch()));
    });
}
