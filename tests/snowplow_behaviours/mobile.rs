//! Behaviours 23 to 33: what the mobile trackers' suites ask of sessions.

use std::time::Duration;

use otel_session::export::Outbox;
use otel_session::export::snowplow::Anonymity;

use crate::bench::{BOUND, Bench, Event, FIRST, MINUTE, NIL, SECOND, THIRD, TIMEOUT, epoch};
use crate::store::{META, OWNER, Store};

const BACKGROUND: Duration = Duration::from_secs(5 * 60);
const NANO: Duration = Duration::from_nanos(1);

/// Sessions that end sooner in the background.
fn two_timeouts() -> Bench {
    Bench::of(epoch(), |builder| builder.with_background_timeout(BACKGROUND), |builder| builder)
}

/// The sessions of the tracked events, each once, in order; linked one to the next.
#[track_caller]
fn chain(bench: &Bench) -> Vec<u32> {
    let mut sessions: Vec<_> = bench.tracked().iter().map(Event::session).collect();
    sessions.dedup_by(|a, b| a.session_id == b.session_id);
    assert_eq!(sessions[0].previous_session_id, None);
    for pair in sessions.windows(2) {
        assert_eq!(pair[1].previous_session_id.as_ref(), Some(&pair[0].session_id));
        assert_eq!(pair[1].user_id, pair[0].user_id);
    }
    sessions.iter().map(|it| it.session_index).collect()
}

#[test]
fn b23_before_the_first_event_nothing_is_stored_and_with_it_the_user_is() {
    let store = Store::default();
    let bench = Bench::with(|builder| builder.with_outbox(Outbox::custom(store.clone())));
    assert!(bench.sessions.current().is_none());
    assert!(bench.exporter.flush(MINUTE));
    // But for whose outbox it is, and when it was last used.
    let stored =
        |store: &Store| store.look().rows.iter().map(|row| row.table).filter(|it| *it != OWNER).collect::<Vec<_>>();
    assert!(matches!(stored(&store)[..], [] | [META]), "{:?}", stored(&store));
    let before = stored(&store).len();
    assert!(bench.exporter.cross_domain_link().is_none());
    bench.track("open");
    let user = bench.all()[0].session().user_id;
    assert_eq!(stored(&store).iter().filter(|table| **table == META).count(), before + 1, "the installation");
    assert!(bench.exporter.cross_domain_link().unwrap().value().starts_with(&user));
}

#[test]
fn b24_in_the_foreground_a_session_ends_at_the_foreground_timeout() {
    let bench = two_timeouts();
    bench.track("a");
    bench.later(TIMEOUT - NANO);
    bench.track("b");
    bench.later(TIMEOUT);
    bench.track("c");
    assert_eq!(bench.story(), ["start 1.1", "a 1.2", "b 1.3", "end 1.4", "start 2.1", "c 2.2"]);
    assert_eq!(chain(&bench), [1, 2]);
}

#[test]
fn b25_in_the_background_a_session_ends_at_the_background_timeout() {
    let bench = two_timeouts();
    bench.track("a");
    bench.sessions.set_background(true);
    bench.later(BACKGROUND - NANO);
    bench.track("b");
    bench.later(BACKGROUND);
    bench.track("c");
    assert_eq!(bench.story(), ["start 1.1", "a 1.2", "b 1.3", "end 1.4", "start 2.1", "c 2.2"]);
    assert_eq!(chain(&bench), [1, 2]);
}

#[test]
fn b26_alternating_between_foreground_and_background_keeps_the_chain_of_four_sessions() {
    let bench = two_timeouts();
    bench.track("a");
    for background in [true, false, true] {
        bench.sessions.set_background(background);
        bench.later(if background { BACKGROUND } else { TIMEOUT });
        bench.track("again");
    }
    assert_eq!(chain(&bench), [1, 2, 3, 4]);
}

#[test]
fn b28_a_stay_in_the_background_of_its_timeout_opens_the_next_session_and_a_shorter_one_does_not() {
    for (stay, sessions) in [(BACKGROUND - NANO, &[1][..]), (BACKGROUND, &[1, 2])] {
        let bench = two_timeouts();
        bench.track("a");
        bench.sessions.set_background(true);
        bench.later(stay);
        bench.sessions.set_background(false);
        bench.track("back");
        assert_eq!(chain(&bench), sessions, "{stay:?}");
    }
}

#[test]
fn b29_a_long_silence_takes_exactly_one_index() {
    let bench = Bench::new();
    bench.track("a");
    for _ in 0..20 {
        bench.later(TIMEOUT * 10);
    }
    bench.track("b");
    assert_eq!(bench.story(), ["start 1.1", "a 1.2", "end 1.3", "start 2.1", "b 2.2"]);
    assert_eq!(chain(&bench), [1, 2]);
}

#[test]
fn b30_stored_state_that_is_incomplete_is_as_if_not_there_and_harms_nobody() {
    let store = Store::default();
    let build = || Bench::with(|builder| builder.with_namespace("b30").with_outbox(Outbox::custom(store.clone())));
    let user = {
        let bench = build();
        bench.track("a");
        let user = bench.all()[0].session().user_id;
        close(bench);
        user
    };
    for cut in [0, 1, 10, 17] {
        let whole = store.look().rows.clone();
        store.look().rows.iter_mut().for_each(|row| row.value.as_mut().unwrap().truncate(cut));
        let bench = build();
        bench.emit("session.start", &[("session.id", FIRST)]);
        let session = bench.all()[0].session();
        assert_eq!((session.session_index, session.event_index), (1, Some(1)), "cut at {cut}");
        assert_eq!(session.user_id == user, cut == 17, "cut at {cut}: the installation takes 17 bytes");
        close(bench);
        store.look().rows = whole;
    }
}

/// The program ends in order: nothing is left for the next one.
fn close(bench: Bench) {
    bench.sessions.shutdown(BOUND).unwrap();
    assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
}

/// Ours is told at once; what is published of it comes with the next event, as there.
#[test]
fn b31_a_new_session_on_demand_takes_the_next_event_and_no_earlier_one() {
    let bench = Bench::new();
    bench.track("a");
    let next = bench.sessions.rotate().id().to_owned();
    bench.track("b");
    bench.track("c");
    let events = bench.tracked();
    let ids: Vec<_> = events.iter().map(|it| it.field("sid").unwrap()).collect();
    assert_ne!(ids[0], next);
    assert_eq!(ids[1..], [next.as_str(), next.as_str()]);
    assert_eq!(chain(&bench), [1, 2]);
}

#[test]
fn b32_two_namespaces_share_no_sessions_and_each_goes_on_with_its_own() {
    let store = Store::default();
    let run = |namespace: &str, id: &str| {
        let bench = Bench::with(|builder| builder.with_namespace(namespace).with_outbox(Outbox::custom(store.clone())));
        bench.emit("session.start", &[("session.id", id)]);
        let event = bench.all().remove(0);
        assert_eq!(event.field("tna"), Some(namespace));
        assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
        event.session()
    };
    let (a, b, again) = (run("b32-a", FIRST), run("b32-b", SECOND), run("b32-a", THIRD));
    assert_ne!(a.user_id, b.user_id);
    assert_eq!((a.session_index, b.session_index, again.session_index), (1, 1, 2));
    assert_eq!((b.previous_session_id, again.previous_session_id.as_deref()), (None, Some(FIRST)));
    assert_eq!(again.user_id, a.user_id);
}

#[test]
fn b33_while_anonymous_users_and_previous_sessions_are_masked_and_afterwards_not() {
    let bench = Bench::new();
    bench.track("a");
    bench.exporter.set_anonymous(Anonymity::with_session_tracking());
    bench.sessions.rotate();
    bench.track("b");
    bench.exporter.set_anonymous(Anonymity::off());
    bench.sessions.rotate();
    bench.track("c");
    let [a, b, c] = <[Event; 3]>::try_from(bench.tracked()).unwrap().map(|it| it.session());
    assert_eq!((b.user_id.as_str(), b.previous_session_id), (NIL, None));
    assert_eq!(c.user_id, a.user_id);
    assert_eq!(c.previous_session_id, Some(b.session_id));
}

/// Only the application says where it is. What is said of it in records are events like others.
#[test]
fn b35_records_of_the_operating_systems_lifecycle_change_no_timeout() {
    let bench = two_timeouts();
    bench.track("device.app.lifecycle");
    bench.later(BACKGROUND);
    bench.track("application_background");
    bench.later(TIMEOUT - NANO);
    bench.track("application_foreground");
    assert_eq!(chain(&bench), [1]);
}
