//! Law 4: lifecycle records describe themselves.

use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::logs::{AnyValue, Severity};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _};

use crate::support::pipelines::KINDS;
use crate::support::*;

fn attributes(line: &Line) -> Vec<(String, AnyValue)> {
    line.record.attributes_iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect()
}

fn text(value: &str) -> AnyValue {
    AnyValue::String(value.to_owned().into())
}

#[test]
fn law_4_lifecycle_records_have_all_their_fields_and_no_others() {
    for kind in KINDS {
        let rig = Rig::of_with(kind, |builder| builder.with_installation_id("installation"));
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        rig.sessions.set_user_id(Some("ada"));
        let second = rig.sessions.rotate();
        rig.clock.advance(90 * SECOND);
        rig.sessions.end();
        let lines = rig.lifecycle();
        let installation = ("app.installation.id".to_owned(), text("installation"));
        let id = |id: &str| ("session.id".to_owned(), text(id));
        let previous = || ("session.previous_id".to_owned(), text(first.id()));
        let index = |index| ("otel_session.index".to_owned(), AnyValue::Int(index));
        let user = || ("user.id".to_owned(), text("ada"));
        let ends = |reason: &str, duration| {
            [
                ("otel_session.end.reason".to_owned(), text(reason)),
                ("otel_session.duration".to_owned(), AnyValue::Double(duration)),
            ]
        };
        let expected = [
            vec![id(first.id()), installation.clone(), index(1)],
            [vec![id(first.id()), user(), installation.clone(), index(1)], ends("rotated", 60.0).into()].concat(),
            vec![id(second.id()), previous(), user(), installation.clone(), index(2)],
            [vec![id(second.id()), previous(), user(), installation.clone(), index(2)], ends("ended", 90.0).into()]
                .concat(),
        ];
        assert_eq!(lines.iter().map(attributes).collect::<Vec<_>>(), expected);
        let times = [epoch(), epoch() + MINUTE, epoch() + MINUTE, epoch() + MINUTE + 90 * SECOND];
        for (line, time) in lines.iter().zip(times) {
            assert_eq!(line.at, Some(time));
            assert_eq!(line.record.severity_number(), Some(Severity::Info));
            assert_eq!(line.record.severity_text(), Some("INFO"));
            assert!(line.record.trace_context().is_none());
            let (event, body) =
                if line.is_start() { ("session.start", "session started") } else { ("session.end", "session ended") };
            assert_eq!((line.event, line.body.as_str()), (Some(event), body));
            assert!(line.record.target().is_none());
        }
        // A start that the pipeline got when it had already attached was decided at that moment.
        assert_eq!(lines[1].observed_at, Some(epoch() + MINUTE));
        assert_eq!(lines[3].observed_at, Some(epoch() + MINUTE + 90 * SECOND));
    }
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

#[test]
fn law_4_lifecycle_records_come_from_our_own_scope_with_a_version() {
    for rig in KINDS.map(Rig::of) {
        rig.log("log");
        let _ = rig.loggers.force_flush();
        let scopes: Vec<_> = rig.logs.scoped_records().into_iter().map(|(_, scope)| scope).collect();
        assert_eq!((scopes[0].name(), scopes[0].version()), ("otel_session", Some(env!("CARGO_PKG_VERSION"))));
        assert_eq!(scopes[1].name(), "test");
    }
}

#[test]
fn law_4_no_strangers_trace_ids_stand_on_lifecycle_records() {
    for rig in KINDS.map(Rig::of) {
        let span = rig.tracer().start("stranger");
        let guard = Context::current_with_span(span).attach();
        rig.log("inside");
        rig.sessions.rotate();
        rig.log("inside");
        let _ = rig.loggers.force_flush();
        drop(guard);
        let lines = rig.lines();
        assert_eq!(lines.len(), 5);
        for line in &lines {
            assert_eq!(line.record.trace_context().is_some(), !line.is_lifecycle(), "{line:?}");
        }
    }
}

#[test]
fn law_4_no_record_goes_out_with_time_zero() {
    for rig in KINDS.map(Rig::of) {
        // Zero is what a record without a time is exported with: it says nothing of when the session began.
        rig.log_at("zero", SystemTime::UNIX_EPOCH);
        rig.sessions.rotate();
        for line in rig.lifecycle() {
            assert!(line.at.unwrap() >= epoch());
            assert!(line.observed_at.unwrap() >= epoch());
        }
    }
}

#[test]
fn law_4_lifecycle_records_extend_nothing_and_start_nothing() {
    for rig in KINDS.map(Rig::of) {
        rig.log("only");
        rig.clock.advance(TIMEOUT - MINUTE);
        rig.sessions.rotate();
        // Published here, halfway: the window still began with the rotation.
        rig.clock.advance(TIMEOUT / 2);
        let _ = rig.loggers.force_flush();
        rig.clock.advance(TIMEOUT / 2);
        let lifecycle = rig.lifecycle();
        assert_eq!(lifecycle.len(), 4);
        assert_eq!(lifecycle[3].at, Some(epoch() + TIMEOUT - MINUTE));
        assert_eq!(rig.sessions.current(), None, "the end started nothing");
    }
}

#[test]
fn law_4_an_id_differs_from_the_previous_one() {
    let rig = Rig::with(|builder| builder.with_id_generator(|| "always the same"));
    for _ in 0..4 {
        let session = rig.sessions.rotate();
        assert_ne!(Some(session.id()), session.previous_id());
    }
    assert!(rig.lifecycle().iter().all(|line| line.id != line.previous_id));
}
