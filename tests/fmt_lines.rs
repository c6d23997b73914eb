//! Lines of `tracing_subscriber::fmt` with the session id, with and without the layer, whichever comes first.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use otel_session::{Activity, Sessions};
use support::{MINUTE, Rig, TIMEOUT};
use tracing::dispatcher::with_default;
use tracing::{Dispatch, Subscriber, info, info_span};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FmtSpan, format};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt, registry};

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn read(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    fn json(&self) -> Vec<serde_json::Value> {
        self.read().iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn text<S>(sessions: &Sessions, lines: &Lines) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let format = sessions.event_format(format().without_time());
    fmt::layer().with_ansi(false).with_writer(lines.clone()).event_format(format)
}

fn json<S>(sessions: &Sessions, lines: &Lines) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let fields = fmt::format::JsonFields::new();
    fmt::layer().with_writer(lines.clone()).fmt_fields(fields).event_format(sessions.json_event_format(format().json()))
}

/// With the layer before, after, and not at all.
fn text_subscribers(sessions: &Sessions, lines: &Lines) -> [Dispatch; 3] {
    [
        Dispatch::new(registry().with(text(sessions, lines)).with(sessions.layer())),
        Dispatch::new(registry().with(sessions.layer()).with(text(sessions, lines))),
        Dispatch::new(registry().with(text(sessions, lines))),
    ]
}

#[test]
fn a_text_line_begins_with_the_live_session_and_after_its_end_with_the_next() {
    for way in 0..3 {
        let (rig, lines) = (Rig::new(), Lines::default());
        let [before, after, none] = text_subscribers(&rig.sessions, &lines);
        with_default(&[before, after, none][way], || {
            info!("first");
            let first = rig.sessions.current().unwrap();
            rig.clock.advance(TIMEOUT);
            info!(answer = 42, "second");
            let second = rig.sessions.current().unwrap();
            assert_eq!(second.previous_id(), Some(first.id()));
            let expected = [
                format!("session.id={}  INFO fmt_lines: first", first.id()),
                format!("session.id={}  INFO fmt_lines: second answer=42", second.id()),
            ];
            assert_eq!(lines.read(), expected);
        });
    }
}

#[test]
fn a_line_is_activity_by_the_policy_of_the_layer_or_else_of_the_sessions() {
    let alive_after = |activity, configure: fn(&Sessions, &Lines) -> Dispatch| {
        let (rig, lines) = (Rig::with(|builder| builder.with_activity(activity)), Lines::default());
        let first = rig.sessions.record_activity();
        let dispatch = configure(&rig.sessions, &lines);
        rig.clock.advance(20 * MINUTE);
        with_default(&dispatch, || info!("event"));
        rig.clock.advance(20 * MINUTE);
        assert_eq!(lines.read().len(), 1);
        rig.sessions.current() == Some(first)
    };
    let alone: fn(&Sessions, &Lines) -> Dispatch = |sessions, lines| text_subscribers(sessions, lines)[2].clone();
    let quiet: fn(&Sessions, &Lines) -> Dispatch = |sessions, lines| {
        let layer = sessions.layer().with_activity_level(tracing::level_filters::LevelFilter::OFF);
        Dispatch::new(registry().with(text(sessions, lines)).with(layer))
    };
    let layered: fn(&Sessions, &Lines) -> Dispatch =
        |sessions, lines| Dispatch::new(registry().with(text(sessions, lines)).with(sessions.layer()));
    assert!(alive_after(Activity::EverySignal, layered));
    assert!(!alive_after(Activity::EverySignal, quiet));
    let (rig, lines) = (Rig::new(), Lines::default());
    let only = Dispatch::new(registry().with(text(&rig.sessions, &lines)));
    let first = rig.sessions.record_activity();
    rig.clock.advance(20 * MINUTE);
    with_default(&only, || info!("event"));
    rig.clock.advance(20 * MINUTE);
    assert_eq!(rig.sessions.current(), Some(first));
    assert!(!alive_after(Activity::Explicit, alone));
}

#[test]
fn once_the_layer_has_gone_lines_are_activity_again_and_one_that_is_put_in_later_decides_as_well() {
    let (rig, lines) = (Rig::new(), Lines::default());
    let after_two_events = |dispatch: &Dispatch| {
        let first = rig.sessions.record_activity();
        for _ in 0..2 {
            rig.clock.advance(20 * MINUTE);
            with_default(dispatch, || info!("event"));
        }
        rig.sessions.current() == Some(first)
    };
    drop(Dispatch::new(registry().with(rig.sessions.layer())));
    assert!(after_two_events(&Dispatch::new(registry().with(text(&rig.sessions, &lines)))));

    let (room, handle) = tracing_subscriber::reload::Layer::new(None);
    let dispatch = Dispatch::new(registry().with(text(&rig.sessions, &lines)).with(room));
    handle.reload(rig.sessions.layer().with_activity_level(tracing::level_filters::LevelFilter::OFF)).unwrap();
    assert!(!after_two_events(&dispatch));
}

#[test]
fn lines_in_a_scope_carry_its_id_whichever_layer_comes_first() {
    for way in 0..2 {
        let (rig, lines) = (Rig::new(), Lines::default());
        let session = rig.sessions.record_activity();
        let [before, after, _] = text_subscribers(&rig.sessions, &lines);
        with_default(&[before, after][way], || {
            let scope = info_span!("scope", session.id = "chat-1");
            scope.in_scope(|| {
                info!("in");
                info_span!("child").in_scope(|| info!("in child"));
                info!(session.id = "mine", "explicit");
            });
            info!(parent: &scope, "by parent");
            info!("out");
        });
        let lines = lines.read();
        let begins = |line: usize, id: &str| {
            assert!(lines[line].starts_with(&format!("session.id={id} ")), "{}", lines[line]);
        };
        begins(0, "chat-1");
        begins(1, "chat-1");
        assert!(!lines[2].starts_with("session.id") && lines[2].contains("session.id=\"mine\""), "{}", lines[2]);
        begins(3, "chat-1");
        begins(4, session.id());
    }
}

#[test]
fn a_text_line_keeps_its_colours_and_quotes_what_would_break_it() {
    let (rig, lines) = (Rig::with(|builder| builder.with_id_generator(|| "an id")), Lines::default());
    let format = rig.sessions.event_format(format().without_time());
    let subscriber = fmt().with_ansi(true).with_writer(lines.clone()).event_format(format).finish();
    tracing::subscriber::with_default(subscriber, || info!("event"));
    let line = lines.read().remove(0);
    assert!(line.starts_with("\u{1b}[3msession.id\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"an id\" \u{1b}["), "{line:?}");
}

#[test]
fn a_json_line_has_the_id_once_at_its_top_level() {
    for way in 0..3 {
        let (rig, lines) = (Rig::with(|builder| builder.with_id_generator(|| r#"quo"te\"#)), Lines::default());
        let dispatch = match way {
            0 => Dispatch::new(registry().with(json(&rig.sessions, &lines)).with(rig.sessions.layer())),
            1 => Dispatch::new(registry().with(rig.sessions.layer()).with(json(&rig.sessions, &lines))),
            _ => Dispatch::new(registry().with(json(&rig.sessions, &lines))),
        };
        with_default(&dispatch, || {
            info!("event");
            info!(session.id = "mine", "explicit");
            info_span!("scope", session.id = "chat-1").in_scope(|| info!("in"));
        });
        let lines = lines.json();
        assert_eq!(lines[0]["session.id"], r#"quo"te\"#);
        assert_eq!(lines[0]["fields"]["message"], "event");
        assert_eq!(lines[1]["session.id"], "mine");
        assert_eq!(lines[2]["session.id"], if way == 2 { r#"quo"te\"# } else { "chat-1" });
        assert_eq!(lines[2]["span"]["session.id"], "chat-1");
    }
}

#[test]
fn a_json_line_whose_fields_are_flattened_does_not_repeat_the_key() {
    let (rig, lines) = (Rig::new(), Lines::default());
    let format = rig.sessions.json_event_format(format().json().flatten_event(true));
    let subscriber =
        fmt().with_writer(lines.clone()).fmt_fields(fmt::format::JsonFields::new()).event_format(format).finish();
    tracing::subscriber::with_default(subscriber, || {
        info!(session.id = "mine", "explicit");
        info!("event");
    });
    let text = lines.read();
    assert_eq!(text[0].matches("session.id").count(), 1);
    let lines = lines.json();
    assert_eq!(lines[0]["session.id"], "mine");
    assert_eq!(lines[1]["session.id"], rig.sessions.current().unwrap().id());
}

#[test]
fn what_is_no_json_object_is_left_as_it_is() {
    let (rig, lines) = (Rig::new(), Lines::default());
    let format = rig.sessions.json_event_format(format().without_time());
    let subscriber = fmt().with_ansi(false).with_writer(lines.clone()).event_format(format).finish();
    tracing::subscriber::with_default(subscriber, || info!("event"));
    assert_eq!(lines.read(), [" INFO fmt_lines: event"]);
}

#[test]
fn the_lines_of_a_span_itself_carry_its_scope() {
    let (rig, lines) = (Rig::new(), Lines::default());
    let fmt = fmt::layer()
        .with_ansi(false)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_writer(lines.clone())
        .event_format(rig.sessions.event_format(format().without_time()));
    with_default(&Dispatch::new(registry().with(rig.sessions.layer()).with(fmt)), || {
        drop(info_span!("scope", session.id = "chat-1"));
    });
    assert_eq!(lines.read().len(), 2);
    assert!(lines.read().iter().all(|line| line.starts_with("session.id=chat-1 ")), "{:?}", lines.read());
}

#[test]
fn without_a_session_a_line_is_as_it_was() {
    let (rig, lines) = (Rig::new(), Lines::default());
    let [layered, _, alone] = text_subscribers(&rig.sessions, &lines);
    rig.sessions.shutdown(std::time::Duration::from_secs(1)).unwrap();
    for dispatch in [layered, alone] {
        with_default(&dispatch, || info!("event"));
    }
    assert_eq!(lines.read(), [" INFO fmt_lines: event", " INFO fmt_lines: event"]);
}
