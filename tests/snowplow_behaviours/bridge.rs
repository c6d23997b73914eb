//! Behaviours 93 to 100: what only a bridge from OpenTelemetry has to answer.

use otel_session::Loss;
use otel_session::export::snowplow::SessionIdPolicy;

use crate::bench::{Bench, FIRST, SECOND, TIMEOUT, track};
use opentelemetry::logs::LoggerProvider as _;

fn start(bench: &Bench, id: &str, previous: &str) {
    let all = [("session.id", id), ("session.previous_id", previous)];
    bench.emit("session.start", &all[..if previous.is_empty() { 1 } else { 2 }]);
}

fn event(bench: &Bench, id: &str) {
    bench.emit("open", &[("session.id", id)]);
}

#[test]
fn b93_the_end_of_an_expired_session_is_of_that_session() {
    let bench = Bench::new();
    bench.track("a");
    let expired = bench.sessions.current().unwrap().id().to_owned();
    bench.later(TIMEOUT * 2);
    bench.track("b");
    let end = bench.all().into_iter().find(|it| it.name() == "end").unwrap();
    let session = end.session();
    assert_eq!((end.field("sid"), end.field("vid")), (Some(expired.as_str()), Some("1")));
    assert_eq!((session.session_id, session.session_index, session.event_index), (expired, 1, Some(3)));
}

#[test]
fn b93_so_it_is_when_the_next_session_has_begun_already() {
    let bench = Bench::new();
    start(&bench, FIRST, "");
    start(&bench, SECOND, FIRST);
    event(&bench, SECOND);
    bench.emit("session.end", &[("session.id", FIRST)]);
    event(&bench, SECOND);
    assert_eq!(bench.story(), ["start 1.1", "start 2.1", "open 2.2", "end 1.2", "open 2.3"]);
    assert_eq!(bench.all()[3].field("sid"), Some(FIRST));
}

#[test]
fn b94_a_start_without_an_end_before_closes_its_predecessor_once() {
    for synthesize in [false, true] {
        let ended = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let teller = ended.clone();
        let bench = Bench::with(|builder| {
            builder
                .with_synthesize_end(synthesize)
                .on_session_end(move |it| teller.lock().unwrap().push(it.session_id.to_string()))
        });
        start(&bench, FIRST, "");
        start(&bench, SECOND, FIRST);
        start(&bench, SECOND, FIRST);
        let expected: &[&str] = if synthesize {
            &["start 1.1", "end 1.2", "start 2.1", "start 2.2"]
        } else {
            &["start 1.1", "start 2.1", "start 2.2"]
        };
        assert_eq!(bench.story(), expected);
        assert_eq!(*ended.lock().unwrap(), [FIRST]);
    }
}

#[test]
fn b94_an_end_that_was_told_is_exported_and_not_told_again() {
    let ended = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let teller = ended.clone();
    let bench =
        Bench::with(|builder| builder.on_session_end(move |it| teller.lock().unwrap().push(it.session_id.to_string())));
    start(&bench, FIRST, "");
    start(&bench, SECOND, FIRST);
    for id in [FIRST, SECOND, SECOND] {
        bench.emit("session.end", &[("session.id", id)]);
    }
    assert_eq!(bench.story(), ["start 1.1", "start 2.1", "end 1.2", "end 2.2", "end 2.3"]);
    assert_eq!(*ended.lock().unwrap(), [FIRST, SECOND]);
}

/// Records of the program that carry an earlier time belong to the session of then.
#[test]
fn b95_a_late_record_keeps_its_sessions_index_and_takes_its_next_event_index() {
    let bench = Bench::new();
    let then = bench.clock.now();
    bench.track("a");
    bench.later(TIMEOUT * 2);
    bench.track("b");
    track(&bench.loggers.logger("shop"), "late", then);
    bench.track("c");
    assert_eq!(bench.story(), ["start 1.1", "a 1.2", "end 1.3", "start 2.1", "b 2.2", "late 1.4", "c 2.3"]);
}

#[test]
fn b96_session_ids_that_are_no_uuids_are_mapped_as_the_policy_says() {
    for (policy, arrives) in [(SessionIdPolicy::default(), true), (SessionIdPolicy::Exact, false)] {
        let bench = Bench::with(|builder| builder.with_session_ids(policy));
        for id in ["1234567891234", "0123456789abcdef0123456789abcdef", FIRST] {
            start(&bench, id, "");
            event(&bench, id);
        }
        let events = bench.all();
        assert_eq!(events.len(), if arrives { 6 } else { 2 });
        for pair in events.chunks(2) {
            assert_eq!(pair[0].field("sid"), pair[1].field("sid"), "one id, one session");
            assert_eq!(pair[1].session().event_index, Some(2));
        }
        assert_eq!(events.last().unwrap().field("sid"), Some(FIRST));
        assert_eq!(bench.exporter.losses().count(Loss::EventSessionId), if arrives { 0 } else { 4 });
    }
}

#[test]
fn b99_a_session_that_is_said_to_follow_itself_follows_none() {
    let bench = Bench::new();
    start(&bench, FIRST, FIRST);
    let session = bench.all()[0].session();
    assert_eq!((session.session_id.as_str(), session.previous_session_id), (FIRST, None));
    assert_eq!(session.event_index, Some(1));
}

#[test]
fn b100_records_without_a_session_arrive_without_one_or_are_skipped() {
    for skip in [false, true] {
        let bench = Bench::with(|builder| builder.with_skip_without_session(skip));
        bench.emit("alone", &[]);
        event(&bench, FIRST);
        let events = bench.all();
        assert_eq!(events.len(), if skip { 1 } else { 2 });
        if !skip {
            assert!(
                events[0].entity().is_none() && events[0].field("sid").is_none() && events[0].field("vid").is_none()
            );
        }
    }
}
