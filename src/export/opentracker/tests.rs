//! What records become: names, values, ids, and what is counted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{InstrumentationScope, Key};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

use super::Anonymity;
use super::map::{Mapper, OldRecords};
use crate::clock::to_nanos;
use crate::telemetry::{Loss, LossCounters};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn mapper() -> Mapper {
    Mapper {
        site: "test.opentracker.net".into(),
        proxy: true,
        logs: true,
        skip_without_session: false,
        user_without_session: false,
        max_age: 60 * 24 * 60 * 60 * 1_000_000_000,
        old_records: OldRecords::Drop,
        max_event_bytes: 65_536,
        filter: None,
        hook: None,
        properties: Vec::new(),
        renamed: Default::default(),
        resource_attributes: Vec::new(),
        losses: Arc::new(LossCounters::default()),
        warned_of_age: Default::default(),
    }
}

fn logger() -> SdkLogger {
    SdkLoggerProvider::builder().build().logger("test")
}

fn event(name: &'static str, attributes: &[(&'static str, AnyValue)]) -> SdkLogRecord {
    let mut record = logger().create_log_record();
    record.set_event_name(name);
    record.set_timestamp(now());
    for (key, value) in attributes {
        record.add_attribute(*key, value.clone());
    }
    record
}

fn in_session(name: &'static str, attributes: &[(&'static str, AnyValue)]) -> SdkLogRecord {
    event(name, &[&[("session.id", AnyValue::from("s 1"))], attributes].concat())
}

/// The properties of the event that a record becomes.
fn sent(mapper: &Mapper, record: &SdkLogRecord) -> Option<Vec<(String, String)>> {
    sent_as(mapper, record, Anonymity::Off)
}

fn sent_as(mapper: &Mapper, record: &SdkLogRecord, anonymity: Anonymity) -> Option<Vec<(String, String)>> {
    let scope = InstrumentationScope::builder("test").build();
    let resource = Resource::builder_empty().with_service_name("shop").build();
    let event = mapper.map(record, &scope, &resource, anonymity, to_nanos(now()))?;
    Some(url::form_urlencoded::parse(&event.query).into_owned().collect())
}

fn value<'a>(sent: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = sent.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}

fn counted(mapper: &Mapper, loss: Loss) -> u64 {
    let losses = mapper.losses.read();
    assert_eq!(losses.total(), losses.count(loss), "{losses}");
    losses.count(loss)
}

#[test]
fn an_event_carries_site_title_ids_time_and_its_attributes() {
    let mapper = mapper();
    let record = in_session(
        "add to cart",
        &[("user.id", "ada".into()), ("log.record.uid", "01H".into()), ("item", "té a&b=c+d".into()), ("n", 2.into())],
    );
    let scope = InstrumentationScope::builder("test").build();
    let resource = Resource::builder_empty().build();
    let event = mapper.map(&record, &scope, &resource, Anonymity::Off, 0).expect("it is an event");
    let id = uuid::Uuid::new_v5(&super::ID_NAMESPACE, b"01H");
    assert_eq!(event.id, id);
    assert_eq!(
        String::from_utf8(event.query).expect("ASCII"),
        format!(
            "si=test.opentracker.net&ti=add%20to%20cart&sid=s%201&uid=ada&t_ms=1700000000000&event_id={id}&proxy=true\
             &log.record.uid=01H&item=t%C3%A9%20a%26b%3Dc%2Bd&n=2"
        )
    );
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn a_record_without_a_session_carries_no_ids_at_all() {
    let mapper = mapper();
    let sent = sent(&mapper, &event("visit", &[("user.id", "ada".into())])).expect("it is sent");
    assert_eq!((value(&sent, "sid"), value(&sent, "uid")), (None, None));
    assert_eq!(value(&sent, "user.id"), Some("ada"), "it is no id of Opentracker, but not lost");
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn records_without_a_session_are_refused_where_they_are_skipped_and_always_if_they_start_or_end_one() {
    let mut mapper = mapper();
    assert!(sent(&mapper, &event("session.start", &[])).is_none());
    assert!(sent(&mapper, &event("session.end", &[])).is_none());
    assert_eq!(counted(&mapper, Loss::EventWithoutSession), 2);
    mapper.skip_without_session = true;
    assert!(sent(&mapper, &event("visit", &[])).is_none());
    assert_eq!(counted(&mapper, Loss::EventWithoutSession), 3);
}

#[test]
fn a_session_id_that_no_session_has_refuses_its_record_and_no_other() {
    let mapper = mapper();
    let bad = [AnyValue::from("a\nb"), "".into(), "x".repeat(201).into(), AnyValue::Double(1.0)];
    for id in &bad {
        assert!(sent(&mapper, &event("visit", &[("session.id", id.clone())])).is_none(), "{id:?}");
    }
    assert_eq!(counted(&mapper, Loss::EventSessionId), bad.len() as u64);
    let sent = sent(&mapper, &event("visit", &[("session.id", 1_234_567_890_i64.into())])).expect("a number is text");
    assert_eq!(value(&sent, "sid"), Some("1234567890"));
}

#[test]
fn a_user_id_that_cannot_be_sent_is_left_out_and_counted() {
    let mapper = mapper();
    let bad = [AnyValue::from("a\u{7f}"), "".into(), "x".repeat(256).into(), AnyValue::Double(1.0)];
    for key in ["user.id", "enduser.id"] {
        for id in &bad {
            let sent = sent(&mapper, &in_session("visit", &[(key, id.clone())])).expect("it is sent");
            assert_eq!((value(&sent, "uid"), value(&sent, key)), (None, None), "{key} {id:?}");
            assert_eq!(value(&sent, "sid"), Some("s 1"));
        }
    }
    assert_eq!(counted(&mapper, Loss::EventField), 2 * bad.len() as u64);
    let both = [("user.id", AnyValue::from("a\nb")), ("enduser.id", "eve".into())];
    let sent = sent(&mapper, &in_session("visit", &both)).expect("it is sent");
    let own = ["uid", "user.id", "enduser.id"].map(|name| value(&sent, name));
    assert_eq!(own, [None, None, Some("eve")], "another user than the one who was meant is none");
}

#[test]
fn an_empty_user_id_is_none_beside_that_of_the_older_convention() {
    let mapper = mapper();
    let mut record = in_session("visit", &[("user.id", "".into())]);
    record.set_body([("enduser.id", "eve")].into_iter().collect());
    for record in [record, in_session("visit", &[("enduser.id", "eve".into()), ("user.id", "".into())])] {
        let sent = sent(&mapper, &record).expect("it is sent");
        let own = ["uid", "user.id", "enduser.id"].map(|name| value(&sent, name));
        assert_eq!(own, [Some("eve"), None, None]);
    }
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn ids_stand_in_the_body_of_older_conventions() {
    let mapper = mapper();
    let mut record = event("session.start", &[]);
    record.set_body([("session.id", "abc"), ("session.previous_id", "abb")].into_iter().collect());
    let sent = sent(&mapper, &record).expect("it is sent");
    assert_eq!(value(&sent, "sid"), Some("abc"));
    assert_eq!(value(&sent, "session.previous_id"), Some("abb"));
    assert_eq!((value(&sent, "session.id"), value(&sent, "log.body")), (None, None));
}

#[test]
fn a_name_with_spaces_gets_underscores_and_one_that_is_not_ascii_is_refused() {
    let mapper = mapper();
    let attributes: [(&str, AnyValue); 5] = [
        ("platform version", "9".into()),
        ("http.route", "/".into()),
        ("größe", 1.into()),
        ("", 1.into()),
        ("a\tb", 1.into()),
    ];
    let sent = sent(&mapper, &in_session("visit", &attributes)).expect("it is sent");
    assert_eq!(value(&sent, "platform_version"), Some("9"));
    assert_eq!(value(&sent, "http.route"), Some("/"));
    assert_eq!(counted(&mapper, Loss::EventField), 3);
}

#[test]
fn names_that_collide_after_mapping_are_settled_the_same_way_in_every_order() {
    let attributes: [(&str, AnyValue); 4] =
        [("a b", "spaced".into()), ("a_b", "exact".into()), ("x y_z", "2".into()), ("x_y z", "1".into())];
    for rotation in 0..attributes.len() {
        let mapper = mapper();
        let mut attributes = attributes.clone();
        attributes.rotate_left(rotation);
        let sent = sent(&mapper, &in_session("visit", &attributes)).expect("it is sent");
        assert_eq!(value(&sent, "a_b"), Some("exact"));
        assert_eq!(value(&sent, "x_y_z"), Some("2"), "`x y_z` sorts before `x_y z`");
        assert_eq!(counted(&mapper, Loss::EventField), 2);
    }
}

#[test]
fn of_an_attribute_set_twice_the_later_value_is_sent() {
    let mapper = mapper();
    let sent = sent(&mapper, &in_session("visit", &[("a", 1.into()), ("a", 2.into())])).expect("it is sent");
    assert_eq!(value(&sent, "a"), Some("2"));
    assert_eq!(counted(&mapper, Loss::EventField), 1);
}

#[test]
fn attributes_cannot_take_a_reserved_name() {
    let mapper = mapper();
    let attributes: Vec<(&str, AnyValue)> = super::RESERVED_NAMES
        .iter()
        .map(|name| (*name, AnyValue::from("mine")))
        .chain([("SID", "shouted".into())])
        .collect();
    let sent = sent(&mapper, &in_session("visit", &attributes)).expect("it is sent");
    for name in super::RESERVED_NAMES {
        assert_ne!(value(&sent, name), Some("mine"), "{name}");
        assert_eq!(value(&sent, &format!("otel.{name}")), Some("mine"));
    }
    assert_eq!(value(&sent, "otel.SID"), Some("shouted"));
    assert_eq!(value(&sent, "SID"), None);
    assert_eq!(mapper.losses.read().total(), 0, "nothing is lost");
}

#[test]
fn values_that_no_property_can_have_are_replaced_or_left_out_and_counted() {
    let deep = (0..60).fold(AnyValue::from("core"), |inner, _| AnyValue::ListAny(Box::new(vec![inner])));
    let huge = || "é".repeat(500_000);
    let list = AnyValue::ListAny(Box::new(vec![huge().into()]));
    let cases: [(&str, AnyValue, Option<&str>, u64); 10] = [
        ("text", "tab\tand\0zero".into(), Some("tab\tand\0zero"), 0),
        ("float", 1.5.into(), Some("1.5"), 0),
        ("flag", true.into(), Some("true"), 0),
        ("nan", f64::NAN.into(), Some("NaN"), 1),
        ("infinite", f64::NEG_INFINITY.into(), Some("-Infinity"), 1),
        ("bytes", AnyValue::Bytes(Box::new(vec![0, 255])), Some("AP8="), 1),
        ("map", [("b", 2), ("a", 1)].into_iter().collect(), Some(r#"{"a":1,"b":2}"#), 0),
        ("deep", deep, Some("[[[[[[[[[[[[[[[[null]]]]]]]]]]]]]]]]"), 1),
        ("long list", list, None, 1),
        ("empty", "".into(), Some(""), 0),
    ];
    for (key, given, expected, losses) in cases {
        let mapper = mapper();
        let sent = sent(&mapper, &in_session("visit", &[(key, given)])).expect("it is sent");
        assert_eq!(value(&sent, &key.replace(' ', "_")), expected, "{key}");
        assert_eq!(counted(&mapper, Loss::EventField), losses, "{key}");
    }
    let mapper = mapper();
    let sent = sent(&mapper, &in_session("visit", &[("huge", huge().into())])).expect("it is sent");
    assert_eq!(value(&sent, "huge").map(str::len), Some(4_096));
    assert_eq!(counted(&mapper, Loss::EventField), 1);
}

#[test]
fn an_event_has_a_title_whatever_the_record_lacks() {
    let mapper = mapper();
    let mut bare = logger().create_log_record();
    let title = |record: &SdkLogRecord| value(&sent(&mapper, record).expect("it is sent"), "ti").map(str::to_owned);
    assert_eq!(title(&bare).as_deref(), Some("log"));
    bare.set_body("  ".into());
    assert_eq!(title(&bare).as_deref(), Some("log"));
    bare.set_body("the body".into());
    assert_eq!(title(&bare).as_deref(), Some("the body"));
    bare.add_attribute("event.name", "by attribute");
    assert_eq!(title(&bare).as_deref(), Some("by attribute"));
    bare.set_event_name("by name");
    assert_eq!(title(&bare).as_deref(), Some("by name"));

    let mut long = logger().create_log_record();
    long.set_body("ü".repeat(300).into());
    let sent = sent(&mapper, &long).expect("it is sent");
    assert_eq!(value(&sent, "ti").map(str::len), Some(200));
    assert_eq!(value(&sent, "log.body"), Some("ü".repeat(300).as_str()), "what the title cuts off");
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn a_body_that_had_to_be_changed_is_counted_once_wherever_it_stands() {
    let bodies: [(AnyValue, &str); 3] = [
        (f64::NAN.into(), "NaN"),
        (AnyValue::Bytes(Box::new(vec![0, 255])), "AP8="),
        (AnyValue::Bytes(Box::new(vec![0; 300])), &"A".repeat(400)),
    ];
    for (body, text) in bodies {
        for name in [None, Some("visit")] {
            let mapper = mapper();
            let mut record = logger().create_log_record();
            record.set_body(body.clone());
            if let Some(name) = name {
                record.set_event_name(name);
            }
            let sent = sent(&mapper, &record).expect("it is sent");
            assert!([value(&sent, "ti"), value(&sent, "log.body")].contains(&Some(text)), "{sent:?}");
            assert_eq!(counted(&mapper, Loss::EventField), 1, "{body:?} of {name:?}");
        }
    }
}

#[test]
fn plain_logs_are_sent_only_if_asked_for() {
    let mut mapper = mapper();
    mapper.logs = false;
    let mut plain = logger().create_log_record();
    plain.set_body("a log".into());
    assert!(sent(&mapper, &plain).is_none());
    // `tracing` names what nobody gave a name.
    assert!(sent(&mapper, &in_session("event src/main.rs:7", &[])).is_none());
    assert!(sent(&mapper, &in_session("an event", &[])).is_some());
    assert_eq!(mapper.losses.read().total(), 0, "it was not wanted, so nothing is lost");
}

#[test]
fn records_older_than_opentracker_keeps_are_dropped_or_sent_and_counted_either_way() {
    let mut mapper = mapper();
    let aged = |age: Duration| {
        let mut record = in_session("visit", &[]);
        record.set_timestamp(now() - age);
        record
    };
    assert!(sent(&mapper, &aged(60 * DAY)).is_some());
    assert_eq!(mapper.losses.read().total(), 0);
    assert!(sent(&mapper, &aged(60 * DAY + Duration::from_millis(1))).is_none());
    assert_eq!(counted(&mapper, Loss::EventTooOld), 1);
    mapper.old_records = OldRecords::Send;
    let old = sent(&mapper, &aged(70 * DAY)).expect("it is sent");
    assert_eq!(value(&old, "t_ms"), Some("1693952000000"));
    assert_eq!(counted(&mapper, Loss::EventTooOld), 2);
}

#[test]
fn an_anonymous_event_says_nothing_of_the_user_and_a_fully_anonymous_one_nothing_of_the_session() {
    let mapper = mapper();
    let person = || AnyValue::from_iter([("id", "ada")]);
    let attributes: [(&str, AnyValue); 16] = [
        ("user.id", "ada".into()),
        ("user.email", "ada@example.com".into()),
        ("user", person()),
        ("enduser.id", "ada".into()),
        ("app.installation.id", "i1".into()),
        ("device.id", "d1".into()),
        ("client.address", "192.0.2.1".into()),
        ("source.address", "192.0.2.1".into()),
        ("network.peer.address", "192.0.2.1".into()),
        ("snowplow.fp", 22.5.into()),
        ("snowplow.ip", "192.0.2.1".into()),
        ("snowplow.tnuid", "n1".into()),
        ("session.previous_id", "s0".into()),
        ("session.reason", "timeout".into()),
        ("otel_session.index", 7.into()),
        ("user_agent.original", "curl".into()),
    ];
    let mut record = in_session("visit", &attributes);
    record.set_body(AnyValue::from_iter([("enduser", person())]));
    let names = |anonymity| {
        let sent = sent_as(&mapper, &record, anonymity).expect("it is sent");
        sent.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let always = ["si", "ti", "t_ms", "event_id", "proxy", "user_agent.original"];
    assert_eq!(names(Anonymity::Full), always);
    let session = names(Anonymity::SessionOnly);
    let shown = ["sid", "session.reason", "otel_session.index"];
    assert!(always.iter().chain(&shown).all(|name| session.iter().any(|it| it == name)), "{session:?}");
    assert_eq!(session.len(), always.len() + shown.len(), "{session:?}");
    assert_eq!(names(Anonymity::Off).len(), always.len() + attributes.len() + 1, "all of them, and the body's");
    assert_eq!(mapper.losses.read().total(), 0, "it was wished, so nothing is lost");
}

#[test]
fn static_and_resource_properties_give_way_to_the_records_own() {
    let mut mapper = mapper();
    mapper.properties = vec![("tier".into(), "free".into()), ("app".into(), "web".into())];
    mapper.resource_attributes = vec!["service.name".into(), "host.name".into()];
    mapper.renamed = [("url.full".to_owned(), "lc".to_owned())].into();
    let record = in_session("visit", &[("tier", "gold".into()), ("url.full", "https://example.com/".into())]);
    let sent = sent(&mapper, &record).expect("it is sent");
    assert_eq!(value(&sent, "tier"), Some("gold"));
    assert_eq!(value(&sent, "app"), Some("web"));
    assert_eq!(value(&sent, "service.name"), Some("shop"));
    assert_eq!(value(&sent, "lc"), Some("https://example.com/"));
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn a_hook_changes_properties_and_title_within_the_rules() {
    let mut mapper = mapper();
    mapper.hook = Some(Arc::new(|_, _, properties| {
        assert!(properties.set("a", "changed"));
        assert!(properties.set("new", "added"));
        assert!(!properties.set("sid", "stolen") && !properties.set("with space", ""));
        assert_eq!(properties.remove("b").as_deref(), Some("2"));
        properties.set_title("Renamed");
    }));
    let record = in_session("visit", &[("a", 1.into()), ("b", 2.into()), ("c", 3.into())]);
    let sent = sent(&mapper, &record).expect("it is sent");
    let own = ["ti", "sid", "a", "b", "c", "new"].map(|name| value(&sent, name));
    assert_eq!(own, [Some("Renamed"), Some("s 1"), Some("changed"), None, Some("3"), Some("added")]);
    assert_eq!(counted(&mapper, Loss::EventField), 2);
}

#[test]
fn a_filter_chooses_and_hooks_that_panic_are_counted_and_change_nothing() {
    let mut mapper = mapper();
    mapper.filter = Some(Arc::new(|record, _| record.event_name() != Some("noise")));
    assert!(sent(&mapper, &in_session("noise", &[])).is_none());
    assert!(sent(&mapper, &in_session("signal", &[])).is_some());
    assert_eq!(mapper.losses.read().total(), 0);

    mapper.filter = Some(Arc::new(|_, _| panic!("a filter panics")));
    mapper.hook = Some(Arc::new(|_, _, properties| {
        properties.set("half", "done");
        panic!("a hook panics");
    }));
    let sent = sent(&mapper, &in_session("signal", &[("a", 1.into())])).expect("it is sent");
    assert_eq!((value(&sent, "a"), value(&sent, "half")), (Some("1"), None));
    assert_eq!(counted(&mapper, Loss::EventFilterPanic), 2);
}

#[test]
fn an_event_stays_within_its_limits_however_much_a_record_carries() {
    let mut mapper = mapper();
    mapper.max_event_bytes = 8_192;
    let mut record = in_session("visit", &[]);
    for number in 0..1_000 {
        record.add_attribute(Key::from(format!("key{number}")), AnyValue::from("ü".repeat(20)));
    }
    let scope = InstrumentationScope::builder("test").build();
    let event = mapper.map(&record, &scope, &Resource::builder_empty().build(), Anonymity::Off, 0).expect("it is sent");
    assert!(event.query.len() <= 8_192);
    let kept = url::form_urlencoded::parse(&event.query).filter(|(name, _)| name.starts_with("key")).count();
    assert!(kept > 40);
    assert_eq!(counted(&mapper, Loss::EventField), 1_000 - kept as u64);
}

#[test]
fn events_of_one_session_share_a_lane() {
    let mapper = mapper();
    let scope = InstrumentationScope::builder("test").build();
    let lane = |record: &SdkLogRecord| {
        mapper.map(record, &scope, &Resource::builder_empty().build(), Anonymity::Off, 0).map(|event| event.lane)
    };
    assert_eq!(lane(&in_session("a", &[])), lane(&in_session("b", &[])));
    assert_ne!(lane(&in_session("a", &[])), lane(&event("b", &[("session.id", "another".into())])));
    // Stored, so it must stay the same from version to version.
    assert_eq!(super::ids::lane(b"a"), 0xe40c_292c);
}

#[test]
fn the_proxy_mark_can_be_switched_off() {
    let mut mapper = mapper();
    assert_eq!(value(&sent(&mapper, &in_session("visit", &[])).expect("it is sent"), "proxy"), Some("true"));
    mapper.proxy = false;
    assert_eq!(value(&sent(&mapper, &in_session("visit", &[])).expect("it is sent"), "proxy"), None);
}

#[test]
fn an_events_time_is_its_records_else_that_of_its_observation_else_of_its_acceptance() {
    let mapper = mapper();
    let before = |seconds| Some(now() - Duration::from_secs(seconds));
    let zero = Some(SystemTime::UNIX_EPOCH);
    let cases = [
        (before(2), before(1), "1699999998000"),
        (None, before(1), "1699999999000"),
        (zero, before(1), "1699999999000"),
        (zero, zero, "1700000000000"),
    ];
    for (time, observed, expected) in cases {
        let mut record = logger().create_log_record();
        record.set_event_name("visit");
        time.into_iter().for_each(|time| record.set_timestamp(time));
        observed.into_iter().for_each(|time| record.set_observed_timestamp(time));
        let sent = sent(&mapper, &record).expect("it is sent");
        assert_eq!(value(&sent, "t_ms"), Some(expected), "{time:?}, {observed:?}");
    }
}

#[test]
fn what_the_title_does_not_say_of_a_record_stands_beside_it() {
    let mapper = mapper();
    let mut record = in_session("visit", &[("event.name", "another".into())]);
    record.set_body("the body".into());
    record.set_severity_number(Severity::Warn);
    record.set_severity_text("");
    let own = |record: &SdkLogRecord| {
        let sent = sent(&mapper, record).expect("it is sent");
        ["ti", "event.name", "log.severity", "log.body"].map(|name| value(&sent, name).map(str::to_owned))
    };
    let texts = |texts: [Option<&str>; 4]| texts.map(|text| text.map(str::to_owned));
    assert_eq!(own(&record), texts([Some("visit"), Some("another"), Some("WARN"), Some("the body")]));

    let mut plain = logger().create_log_record();
    plain.set_body(" ".into());
    plain.set_severity_text("caution");
    plain.set_severity_number(Severity::Warn);
    assert_eq!(own(&plain), texts([Some("log"), None, Some("caution"), Some(" ")]));
    plain.add_attribute("event.name", "visit");
    assert_eq!(own(&plain), texts([Some("visit"), None, Some("caution"), Some(" ")]), "the name is not said twice");
    assert_eq!(mapper.losses.read().total(), 0);
}

#[test]
fn records_whose_uid_is_empty_are_not_one_event() {
    let mapper = mapper();
    let id = || {
        let sent = sent(&mapper, &in_session("visit", &[("log.record.uid", "".into())])).expect("it is sent");
        value(&sent, "event_id").map(str::to_owned)
    };
    assert_ne!(id(), id());
}

#[test]
fn the_bounds_of_names_values_and_their_number_are_those_that_the_manual_gives() {
    let bytes = |count| AnyValue::Bytes(Box::new(vec![0; count]));
    let list = |values: Vec<AnyValue>| AnyValue::ListAny(Box::new(values));
    let text = |length| list(vec!["x".repeat(length).into()]);
    // Bytes are changed in any case.
    let cases: [(AnyValue, Option<usize>, u64); 6] = [
        (bytes(3_072), Some(4_096), 1),
        (bytes(3_073), Some(4_096), 1),
        (text(4_092), Some(4_096), 0),
        (text(4_093), None, 1),
        (list(vec![f64::NAN.into(), bytes(2)]), Some(r#"["NaN","AAA="]"#.len()), 2),
        (list(vec![f64::INFINITY.into()]), Some(r#"["Infinity"]"#.len()), 1),
    ];
    for (given, length, losses) in cases {
        let mapper = mapper();
        let sent = sent(&mapper, &in_session("visit", &[("a", given)])).expect("it is sent");
        assert_eq!(value(&sent, "a").map(str::len), length);
        assert_eq!(counted(&mapper, Loss::EventField), losses);
    }
    for (count, length, losses) in [(128, 200, 0), (129, 200, 1), (1, 201, 1)] {
        let mapper = mapper();
        let mut record = in_session("visit", &[]);
        for number in 0..count {
            record.add_attribute(Key::from(format!("{number:0length$}")), 1);
        }
        let sent = sent(&mapper, &record).expect("it is sent");
        let kept = sent.iter().filter(|(name, _)| name.starts_with('0')).count() as u64;
        assert_eq!((kept, counted(&mapper, Loss::EventField)), (count - losses, losses));
    }
}

#[test]
fn a_hook_finds_every_property_after_it_has_taken_one_out_and_what_it_loses_is_counted() {
    let mut mapper = mapper();
    mapper.hook = Some(Arc::new(|_, _, properties| {
        assert_eq!(properties.remove("a").as_deref(), Some("1"));
        assert_eq!((properties.get("a"), properties.get("b"), properties.get("c")), (None, Some("2"), Some("3")));
        assert!(properties.set("c", &"x".repeat(4_097)));
        properties.set_title(" ");
    }));
    let record = in_session("visit", &[("a", 1.into()), ("b", 2.into()), ("c", 3.into())]);
    let sent = sent(&mapper, &record).expect("it is sent");
    assert_eq!(["ti", "a", "b"].map(|name| value(&sent, name)), [Some("visit"), None, Some("2")]);
    assert_eq!(value(&sent, "c").map(str::len), Some(4_096));
    assert_eq!(counted(&mapper, Loss::EventField), 2, "a text that was cut, and a blank title");
}

#[test]
fn attributes_of_the_resource_win_over_the_builders_and_say_no_more_of_the_user_than_others() {
    let mut mapper = mapper();
    mapper.properties = vec![("service.name".into(), "built".into())];
    mapper.resource_attributes = vec!["service.name".into(), "device.id".into()];
    let resource = Resource::builder_empty()
        .with_attributes([
            opentelemetry::KeyValue::new("service.name", "shop"),
            opentelemetry::KeyValue::new("device.id", "d1"),
        ])
        .build();
    let scope = InstrumentationScope::builder("test").build();
    for (anonymity, device) in [(Anonymity::Off, Some("d1")), (Anonymity::SessionOnly, None), (Anonymity::Full, None)] {
        let event = mapper.map(&in_session("visit", &[]), &scope, &resource, anonymity, 0).expect("it is sent");
        let sent: Vec<(String, String)> = url::form_urlencoded::parse(&event.query).into_owned().collect();
        assert_eq!((value(&sent, "service.name"), value(&sent, "device.id")), (Some("shop"), device));
    }
    assert_eq!(mapper.losses.read().total(), 0);
}
