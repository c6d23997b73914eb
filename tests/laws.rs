//! The laws of sessions, each a test.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;

#[test]
fn law_3_a_rotation_is_an_end_and_then_a_linked_start_before_the_first_new_log() {
    for rig in [Rig::new(), Rig::batched(|builder| builder)] {
        rig.log("first");
        assert!(rig.clock.advance(TIMEOUT));
        rig.log("second");
        let lines = rig.lines();
        assert_lawful(&lines);
        let order: Vec<&str> = lines.iter().map(|line| line.body.as_str()).collect();
        assert_eq!(order, ["session started", "first", "session ended", "session started", "second"]);
        assert_eq!(lines[3].previous_id, lines[2].id);
        assert_eq!(lines[2].at, Some(epoch()));
        assert_eq!(lines[2].reason.as_deref(), Some("inactivity"));
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_3_what_started_ends_when_the_provider_is_only_dropped() {
    for rig in [Rig::new(), Rig::batched(|builder| builder)] {
        rig.log("only");
        let Rig { loggers, logs, sessions, .. } = rig;
        drop(loggers);
        let lines = lines(&logs);
        assert_lawful(&lines);
        assert_eq!(lines.last().unwrap().reason.as_deref(), Some("shutdown"));
        assert_eq!(lines.len(), 3);
        assert_eq!(sessions.losses().total(), 0);
    }
}

#[test]
fn law_2_a_span_belongs_to_the_session_it_started_in_and_its_events_to_theirs() {
    use opentelemetry::trace::Span as _;
    for rig in [Rig::new(), Rig::batched(|builder| builder)] {
        let before = rig.sessions.record_activity();
        let mut span = start_span(&rig.tracer(), "long", rig.clock.now());
        span.add_event_with_timestamp("early", rig.clock.now(), vec![]);
        rig.clock.advance(MINUTE);
        let after = rig.sessions.rotate();
        span.add_event_with_timestamp("late", rig.clock.now(), vec![]);
        span.end_with_timestamp(rig.clock.now());
        let spans = rig.finished_spans();
        assert_eq!(session_id(&spans[0].attributes).as_deref(), Some(before.id()));
        assert_eq!(session_id(&spans[0].events.events[0].attributes).as_deref(), Some(before.id()));
        assert_eq!(session_id(&spans[0].events.events[1].attributes).as_deref(), Some(after.id()));
    }
}

#[test]
fn law_3_every_pipeline_of_a_provider_gets_the_last_end_when_it_is_only_dropped() {
    use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
    use otel_session::Sessions;
    use otel_session::testing::CapturedLogs;

    let sessions = Sessions::builder().build().unwrap();
    let exporters = [CapturedLogs::default(), CapturedLogs::default(), CapturedLogs::default()];
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(sessions.log_processor(SimpleLogProcessor::new(exporters[0].clone())))
        .with_log_processor(sessions.batch_log_processor(exporters[1].clone()))
        .build();
    let other = provider_of(sessions.batch_log_processor(exporters[2].clone()));
    use opentelemetry::logs::LoggerProvider as _;
    emit(&provider.logger("test"), "one", None);
    emit(&other.logger("test"), "two", None);
    drop(other);
    assert!(sessions.current().is_some(), "another provider is still there");
    drop(provider);
    assert!(sessions.current().is_none());
    for exporter in &exporters[..2] {
        let lines = lines(exporter);
        assert_lawful(&lines);
        assert!(lines.last().unwrap().is_end(), "{lines:#?}");
    }
    assert_eq!(sessions.losses().total(), 0);
}
