//! Whatever a record holds, and whatever the settings are, its event is one that a pipeline takes.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Key, KeyValue, SpanId, TraceId};
use proptest::prelude::*;

use super::super::{Anonymity, EventStyle, NonFinite, SessionIdPolicy, Subject};
use super::schemas::assert_good;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_payload_is_good(settings in settings(), records in prop::collection::vec(made(), 1..12)) {
        let resource = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", "a\tb"), KeyValue::new("service.version", "v".repeat(300))])
            .build();
        let mut bridge = Bridge::with_resource(settings, resource);
        let records: Vec<_> = records.iter().map(Made::record).collect();
        let sent = bridge.send(&records);
        sent.iter().for_each(assert_good);
        // Each record is mapped for itself: alone it makes as many events as within the batch.
        let mut alone = Bridge::with_resource(bridge.settings.clone(), bridge.resource.clone());
        let one_by_one: usize = records.iter().map(|it| alone.send(std::slice::from_ref(it)).len()).sum();
        prop_assert_eq!(one_by_one, sent.len());
        bridge.restart();
        bridge.send(&records).iter().for_each(assert_good);
    }
}

/// A record to be made.
#[derive(Debug, Clone)]
struct Made {
    name: Option<&'static str>,
    attributes: Vec<(String, AnyValue)>,
    body: Option<AnyValue>,
    time: Option<i64>,
    severity: bool,
    trace: bool,
}

impl Made {
    fn record(&self) -> SdkLogRecord {
        let mut record = record(self.name, []);
        for (key, value) in &self.attributes {
            record.add_attribute(key.clone(), value.clone());
        }
        if let Some(body) = &self.body {
            record.set_body(body.clone());
        }
        if let Some(seconds) = self.time {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            let time = if seconds < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
            record.set_timestamp(time.unwrap_or(epoch));
        }
        if self.severity {
            record.set_severity_number(Severity::Fatal4);
            record.set_severity_text("a\tvery \"bad\" thing");
            record.set_target("a\\b".repeat(700));
        }
        if self.trace {
            record.set_trace_context(TraceId::from_bytes([9; 16]), SpanId::from_bytes([8; 8]), None);
        }
        record
    }
}

fn made() -> impl Strategy<Value = Made> {
    let name = prop::sample::select(vec![
        None,
        Some("session.start"),
        Some("session.end"),
        Some("cart.add"),
        Some(""),
        Some("a \"name\"\n/✓"),
    ]);
    let attributes = prop::collection::vec((key(), value()), 0..10);
    let time = prop::option::of(prop_oneof![
        Just(0_i64),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(-9_000_000_000),
        1_000_000_000..2_000_000_000_i64
    ]);
    (name, attributes, prop::option::of(value()), time, any::<bool>(), any::<bool>()).prop_map(
        |(name, attributes, body, time, severity, trace)| Made { name, attributes, body, time, severity, trace },
    )
}

/// Names that mean something here, more often than not, and any others.
fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "session.id",
        "session.id",
        "session.previous_id",
        "user.id",
        "app.installation.id",
        "otel_session.index",
        "otel_session.storage",
        "otel_session.sampled",
        "otel_session.end.reason",
        "otel_session.duration",
        "log.record.uid",
        "event.name",
        "user_agent.original",
        "client.address",
        "browser.language",
        "url.full",
        "snowplow.res",
        "snowplow.vp",
        "snowplow.ds",
        "snowplow.cd",
        "snowplow.tz",
        "snowplow.page",
        "snowplow.tnuid",
        "snowplow.online",
        "snowplow.cookies_enabled",
        "snowplow.sid",
        "network",
        "",
    ])
    .prop_map(str::to_owned);
    prop_oneof![3 => known, 1 => "(?s).{0,20}"]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let texts = prop::sample::select(vec![
        A,
        B,
        "AAAAAAAA-0000-4000-8000-00000000000A",
        "00000000-0000-0000-0000-000000000000",
        "1234567891234",
        "1920x1080",
        "99999999999x1",
        "24",
        "",
        " ",
        "\u{0}\u{1}\t\r\n\u{7f}\u{2028}",
    ])
    .prop_map(AnyValue::from);
    let leaf = prop_oneof![
        4 => texts,
        2 => "(?s).{0,40}".prop_map(AnyValue::from),
        1 => Just(AnyValue::from("✓\"\\".repeat(6000))),
        1 => any::<i64>().prop_map(AnyValue::from),
        1 => (-2..3_i64).prop_map(AnyValue::from),
        1 => any::<f64>().prop_map(AnyValue::from),
        1 => any::<bool>().prop_map(AnyValue::from),
        1 => prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| AnyValue::Bytes(Box::new(bytes))),
        1 => (0..80_usize).prop_map(deep),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(|values| AnyValue::ListAny(Box::new(values)));
        let map = prop::collection::vec((key(), inner), 0..5).prop_map(|members| {
            let members: HashMap<Key, AnyValue> = members.into_iter().map(|(key, value)| (key.into(), value)).collect();
            AnyValue::Map(Box::new(members))
        });
        prop_oneof![list, map]
    })
}

fn deep(levels: usize) -> AnyValue {
    (0..levels).fold(AnyValue::Int(1), |value, level| {
        if level % 2 == 0 {
            AnyValue::ListAny(Box::new(vec![value]))
        } else {
            AnyValue::Map(Box::new([("in".into(), value)].into_iter().collect()))
        }
    })
}

fn settings() -> impl Strategy<Value = MapSettings> {
    let style = prop::sample::select(vec![
        EventStyle::SelfDescribing,
        EventStyle::Structured,
        EventStyle::SchemaPerName { vendor: "com.acme".to_owned(), version: "1-0-0".to_owned() },
    ]);
    let ids = prop::sample::select(vec![SessionIdPolicy::UuidV5, SessionIdPolicy::Exact, SessionIdPolicy::Omit]);
    let anonymity = prop::sample::select(vec![
        Anonymity::off(),
        Anonymity::off(),
        Anonymity::with_session_tracking(),
        Anonymity::full().with_server_anonymisation(),
    ]);
    let subject = prop::sample::select(vec![
        Subject::new(),
        Subject::new().with_user_id("ada").with_domain_session_id(C).with_domain_session_index(3),
        Subject::new().with_domain_user_id("x").with_ip_address("::1").with_network_user_id("n"),
    ]);
    (style, ids, anonymity, subject, prop::array::uniform8(any::<bool>()), 1..4_usize).prop_map(
        |(style, session_ids, anonymity, subject, flags, max_sessions)| {
            let [base64, logs, entities, number, skip, synthesize, null, session] = flags;
            MapSettings {
                namespace: "n✓".repeat(100),
                style,
                session_ids,
                anonymity,
                subject,
                base64,
                logs,
                max_sessions,
                resource_entity: entities,
                trace_entity: entities,
                browser_entity: entities,
                true_timestamps: entities,
                number_unannounced_sessions: number,
                skip_without_session: skip,
                synthesize_end: synthesize,
                non_finite: if null { NonFinite::Null } else { NonFinite::Text },
                session_entity: session,
                network_user_attribute: Some("network".to_owned()),
                ..MapSettings::default()
            }
        },
    )
}
