//! Arbitrary records: whatever they hold, each request is one that a collector takes, and says what the record said.

use opentelemetry::Key;
use opentelemetry::logs::{AnyValue, LogRecord as _};
use opentelemetry_sdk::logs::SdkLogRecord;
use otel_session::Loss;
use otel_session::collector::{DevCollector, OpentrackerRecord};
use otel_session::export::opentracker::{Method, RESERVED_NAMES};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::records::{blank, export};
use crate::{LONG, builder};

#[derive(Debug, Clone)]
struct Sketch {
    name: Option<&'static str>,
    body: Option<AnyValue>,
    attributes: Vec<(String, AnyValue)>,
}

impl Sketch {
    fn record(&self, index: usize) -> SdkLogRecord {
        let mut record = blank();
        record.add_attribute(INDEX, index as i64);
        if let Some(name) = self.name {
            record.set_event_name(name);
        }
        if let Some(body) = &self.body {
            record.set_body(body.clone());
        }
        for (key, value) in &self.attributes {
            record.add_attribute(Key::from(key.clone()), value.clone());
        }
        record
    }

    /// The last value of an attribute.
    fn attribute(&self, key: &str) -> Option<&AnyValue> {
        self.attributes.iter().rev().find(|(it, _)| it == key).map(|(_, value)| value)
    }
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<String>().prop_map(AnyValue::from),
        any::<i64>().prop_map(AnyValue::from),
        any::<f64>().prop_map(AnyValue::from),
        any::<bool>().prop_map(AnyValue::from),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| AnyValue::Bytes(Box::new(bytes))),
        (0_usize..200_000).prop_map(|length| AnyValue::from("ü".repeat(length))),
    ];
    leaf.prop_recursive(40, 64, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|values| AnyValue::ListAny(Box::new(values))),
            proptest::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<AnyValue>()),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-mo-z_. ][a-z_. ]{0,11}",
        // Not the name by which events are told apart.
        2 => any::<String>().prop_filter("taken", |key| key != INDEX),
        1 => proptest::sample::select(RESERVED_NAMES).prop_map(str::to_owned),
        1 => Just("user.id".to_owned()),
        1 => "[ -~]{190,210}",
    ]
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let name = proptest::option::of(proptest::sample::select(vec!["visit", "session.start", "ünïcode", "", "a b&c=d"]));
    let session = prop_oneof![
        4 => "[ -~äß✓]{1,40}".prop_map(AnyValue::from),
        1 => any::<i64>().prop_map(AnyValue::from),
        1 => value(),
    ];
    let attributes = proptest::collection::vec((key(), value()), 0..12);
    (name, proptest::option::of(value()), proptest::option::of(session), attributes).prop_map(
        |(name, body, session, mut attributes)| {
            attributes.extend(session.map(|id| ("session.id".to_owned(), id)));
            Sketch { name, body, attributes }
        },
    )
}

/// The text of a value that must arrive as it is.
fn plain(value: &AnyValue) -> Option<String> {
    match value {
        AnyValue::String(text) if text.as_str().len() <= 4_096 => Some(text.as_str().to_owned()),
        AnyValue::Int(number) => Some(number.to_string()),
        AnyValue::Boolean(value) => Some(value.to_string()),
        AnyValue::Double(number) if number.is_finite() => Some(number.to_string()),
        _ => None,
    }
}

/// Whether an attribute of this key is sent under its own name.
fn keeps_its_name(key: &str) -> bool {
    let is_name = (1..=200).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_name && !RESERVED_NAMES.contains(&key.to_ascii_lowercase().as_str()) && key != "session.id" && key != "user.id"
}

/// The id that a value is: none if it is not one that can be sent.
fn id(value: &AnyValue, longest: usize) -> Option<String> {
    let text = match value {
        AnyValue::String(text) => text.as_str().to_owned(),
        AnyValue::Int(number) => number.to_string(),
        _ => return None,
    };
    ((1..=longest).contains(&text.len()) && !text.chars().any(char::is_control)).then_some(text)
}

/// What must have become of a record.
fn judge(sketch: &Sketch, event: Option<&OpentrackerRecord>) -> Result<(), TestCaseError> {
    let session = sketch.attribute("session.id").map(|value| id(value, 200));
    let refused = match &session {
        Some(id) => id.is_none(),
        None => sketch.name == Some("session.start"),
    };
    prop_assert_eq!(event.is_none(), refused, "{:?}", sketch);
    let Some(event) = event else { return Ok(()) };
    prop_assert!(event.get("ti").is_some_and(|title| !title.trim().is_empty()));
    prop_assert!(event.get("t_ms").is_some_and(|millis| millis.parse::<i64>().is_ok_and(|millis| millis > 0)));
    match session.flatten() {
        Some(session) => {
            prop_assert_eq!(event.session_id(), &session);
            let user = sketch.attribute("user.id").and_then(|value| id(value, 255)).unwrap_or(session);
            prop_assert_eq!(event.user_id(), &user);
        }
        None => prop_assert_eq!((event.session_id(), event.user_id()), (event.event_id(), event.event_id())),
    }
    let size: usize = event.properties().map(|(name, value)| 3 * (name.len() + value.len())).sum();
    for (key, _) in sketch.attributes.iter().filter(|(key, _)| keeps_its_name(key)) {
        let expected = sketch.attribute(key).and_then(plain);
        match (expected, event.get(key)) {
            (Some(expected), Some(value)) => prop_assert_eq!(value, expected),
            // There was no room for it.
            (Some(_), None) => prop_assert!(size > 40_000, "{} is missing: {:?}", key, event),
            (None, _) => {}
        }
    }
    Ok(())
}

#[test]
fn every_request_is_taken_and_says_what_its_record_said() {
    let collector = DevCollector::start().unwrap();
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let exporters = [Method::Get, Method::Post]
        .map(|method| builder(&collector.opentracker_endpoint()).with_method(method).with_logs(true).build().unwrap());
    let run = |sketches: Vec<Sketch>| {
        for exporter in &exporters {
            let before = collector.stream().opentracker_events().len();
            let records: Vec<_> = sketches.iter().enumerate().map(|(index, sketch)| sketch.record(index)).collect();
            export(exporter, &records).unwrap();
            prop_assert!(exporter.flush(LONG));
            let stream = collector.stream();
            prop_assert_eq!(stream.refusals().total(), 0, "{}", stream.refusals());
            prop_assert_eq!(exporter.losses().count(Loss::EventRejected), 0);
            let arrived = &stream.opentracker_events()[before..];
            for (index, sketch) in sketches.iter().enumerate() {
                let mut events = arrived.iter().filter(|event| event.get(INDEX) == Some(index.to_string().as_str()));
                judge(sketch, events.next().map(|event| &**event))?;
                prop_assert!(events.next().is_none(), "it arrived twice");
            }
        }
        Ok(())
    };
    TestRunner::new(config).run(&proptest::collection::vec(sketch(), 1..8), run).unwrap();
}

/// The attribute that tells which record of its batch an event was.
const INDEX: &str = "n";
