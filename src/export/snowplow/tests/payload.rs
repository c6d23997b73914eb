//! The fields of a payload: what goes in, what is cut, what stays out.

use opentelemetry::KeyValue;
use opentelemetry::logs::Severity;
use opentelemetry::{SpanId, TraceFlags, TraceId};
use serde_json::json;

use super::super::{EventStyle, NonFinite, Platform, Subject};
use super::schemas::assert_good;
use super::*;

/// Behaviours 37, 38 and 45.
#[test]
fn a_payload_holds_texts_only_and_nothing_empty() {
    let mut bridge = Bridge::new(MapSettings { app_id: Some(String::new()), ..MapSettings::default() });
    let empty = ["snowplow.page", "snowplow.tz", "url.full", "user_agent.original", "user.id", "log.record.uid"];
    let sent = bridge.send_one(empty.into_iter().fold(event_of(A), |record, key| with(record, key, "")));
    assert_good(&sent);
    let mut keys: Vec<_> = sent.fields.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["co", "dtm", "duid", "e", "eid", "p", "sid", "tna", "tv", "ue_pr", "vid"]);
    assert_eq!(sent.field("dtm"), Some("1700000000000"));
    assert_eq!(sent.field("p"), Some("srv"));
    assert_eq!(sent.field("tv"), Some(concat!("rust-otel-session-", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn an_events_name_by_attribute_is_said_besides_only_if_it_is_another_one() {
    let mut bridge = Bridge::new(MapSettings::default());
    // Twice each: the second one is read as the first was.
    for (name, kept) in [("checkout", json!({"event.name": "checkout"})), ("cart.add", json!(null))] {
        for _ in 0..2 {
            let sent = bridge.send_one(with(event_of(A), "event.name", name));
            assert_good(&sent);
            assert_eq!((&sent.data()["name"], &sent.data()["attributes"]), (&json!("cart.add"), &kept));
        }
    }
    assert_eq!(bridge.lost(Loss::EventField), 0);
}

/// Behaviours 39 and 40.
#[test]
fn unicode_survives_plain_and_in_base64() {
    let text = "✓ à la mode \"quoted\" \\ \n\t\u{1}\u{7f}😀";
    for base64 in [false, true] {
        let mut bridge = Bridge::new(MapSettings { base64, ..MapSettings::default() });
        let mut record = with(with(event_of(A), "text", text), "user.id", "✓ à la mode");
        record.set_body(text.into());
        let sent = bridge.send_one(with(record, "url.full", "https://x/?q=✓"));
        assert_good(&sent);
        assert_eq!(sent.data()["attributes"]["text"], text);
        assert_eq!(sent.data()["body"], text);
        assert_eq!(sent.field("uid"), Some("✓ à la mode"));
        assert_eq!(sent.field("url"), Some("https://x/?q=✓"));
        assert_eq!(sent.field("ue_px").is_some(), base64);
        assert_eq!(sent.field("cx").is_some(), base64);
        assert_eq!(bridge.lost(Loss::EventField), 0);
    }
}

/// Behaviour 42.
#[test]
fn the_fields_of_a_record_win_over_the_subject_key_by_key() {
    let subject = Subject::new()
        .with_platform(Platform::Mobile)
        .with_user_id("subject")
        .with_useragent("UA/1")
        .with_ip_address("203.0.113.7")
        .with_screen_resolution(1920, 1080)
        .with_viewport(800, 600)
        .with_color_depth(24)
        .with_timezone("Europe/London")
        .with_language("en")
        .with_network_user_id("network")
        .with_domain_session_id(B.to_uppercase())
        .with_domain_session_index(9);
    let mut bridge = Bridge::new(MapSettings { subject, ..MapSettings::default() });
    let plain = bridge.send_one(event([]));
    assert_good(&plain);
    let expected = [
        ("p", "mob"),
        ("uid", "subject"),
        ("ua", "UA/1"),
        ("ip", "203.0.113.7"),
        ("res", "1920x1080"),
        ("vp", "800x600"),
        ("cd", "24"),
        ("tz", "Europe/London"),
        ("lang", "en"),
        ("tnuid", "network"),
        ("sid", B),
        ("vid", "9"),
    ];
    for (key, value) in expected {
        assert_eq!(plain.field(key), Some(value), "{key}");
    }
    let record = with(with(event_of(A), "user_agent.original", "UA/2"), "client.address", "192.0.2.1");
    let record = with(with(record, "snowplow.vp", "1x1"), "snowplow.page", "Cart");
    let sent = bridge.send_one(with(record, "user.id", 17));
    assert_good(&sent);
    let changed = [("ua", "UA/2"), ("ip", "192.0.2.1"), ("vp", "1x1"), ("page", "Cart"), ("uid", "17"), ("sid", A)];
    for (key, value) in changed {
        assert_eq!(sent.field(key), Some(value), "{key}");
    }
    for key in ["res", "cd", "tz", "lang", "tnuid", "p"] {
        assert_eq!(sent.field(key), plain.field(key), "{key}");
    }
    assert_eq!(sent.field("vid"), Some("1"), "the subject's session is not that of the record");
    assert_eq!(sent.data().get("attributes"), None, "what has a field is not sent twice");
}

#[test]
fn each_field_has_an_attribute_that_fills_it() {
    let conventional =
        [("user_agent.original", "ua"), ("client.address", "ip"), ("browser.language", "lang"), ("url.full", "url")];
    let ours = [
        ("snowplow.ua", "ua"),
        ("snowplow.ip", "ip"),
        ("snowplow.lang", "lang"),
        ("snowplow.url", "url"),
        ("snowplow.refr", "refr"),
        ("snowplow.page", "page"),
        ("snowplow.tz", "tz"),
        ("snowplow.res", "res"),
        ("snowplow.vp", "vp"),
        ("snowplow.ds", "ds"),
        ("snowplow.cd", "cd"),
        ("snowplow.cs", "cs"),
        ("snowplow.fp", "fp"),
        ("snowplow.tnuid", "tnuid"),
    ];
    let mut bridge = Bridge::new(MapSettings::default());
    let usual: Vec<_> = bridge.send_one(event([])).fields.into_keys().collect();
    for (attribute, key) in conventional.into_iter().chain(ours) {
        let value = match key {
            "res" | "vp" | "ds" => "12x34",
            "cd" => "24",
            _ => "some text",
        };
        let sent = bridge.send_one(with(event([]), attribute, value));
        assert_good(&sent);
        let said: Vec<_> = sent.fields.iter().filter(|(key, _)| !usual.contains(key)).collect();
        assert_eq!(said, [(&key.to_owned(), &value.to_owned())], "{attribute}");
    }
}

/// Behaviour 44.
#[test]
fn the_time_is_the_records_own_else_when_it_was_seen_else_now() {
    let mut bridge = Bridge::new(MapSettings { true_timestamps: true, ..MapSettings::default() });
    let sent = bridge.send_one(later(event([]), 7));
    assert_eq!((sent.field("dtm"), sent.field("ttm")), (Some("1700000000007"), Some("1700000000007")));
    let mut seen = event([]);
    seen.set_timestamp(SystemTime::UNIX_EPOCH);
    seen.set_observed_timestamp(at(9));
    assert_eq!(bridge.send_one(seen).field("dtm"), Some("1700000000009"));
    let mut never = event([]);
    never.set_timestamp(SystemTime::UNIX_EPOCH);
    assert_eq!(bridge.send_one(never).field("dtm"), Some("1700000099000"));
}

#[test]
fn an_event_id_is_made_of_the_records_own_id_where_it_has_one() {
    let mut bridge = Bridge::new(MapSettings::default());
    let id = |bridge: &mut Bridge, uid: &'static str| bridge.send_one(with(event([]), "log.record.uid", uid)).id();
    let first = id(&mut bridge, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(first, Uuid::new_v5(&super::super::ID_NAMESPACE, b"01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    assert_eq!(id(&mut bridge, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), first);
    assert_eq!(bridge.send_one(event([])).id().get_version_num(), 4);
    assert_eq!(bridge.mapped.events[0].id, bridge.payloads()[0].id(), "what callbacks are told is what is sent");
}

/// Behaviour 47.
#[test]
fn what_enrich_would_fail_an_event_for_is_cut_or_left_out_and_counted() {
    let mut bridge = Bridge::new(MapSettings::default());
    let long = "ü".repeat(20_000);
    let cases = [
        ("url.full", "url", Some(10_000)),
        ("user_agent.original", "ua", Some(1000)),
        ("user.id", "uid", Some(255)),
        ("snowplow.page", "page", Some(2000)),
        ("snowplow.res", "res", None),
        ("snowplow.cd", "cd", None),
    ];
    for (index, (attribute, key, length)) in cases.into_iter().enumerate() {
        let sent = bridge.send_one(with(event([]), attribute, long.clone()));
        assert_good(&sent);
        assert_eq!(sent.field(key).map(|it| it.chars().count()), length, "{key}");
        assert_eq!(bridge.lost(Loss::EventField), index as u64 + 1, "{key}");
    }
    let sent = bridge.send_one(with(event([]), "snowplow.page", "a\tb\nc\0d"));
    assert_good(&sent);
    assert_eq!(sent.field("page"), Some("a b c d"));
}

#[test]
fn bad_values_are_mapped_by_rule_and_never_spoil_their_batch() {
    let mut deep = AnyValue::Int(1);
    for _ in 0..60 {
        deep = AnyValue::ListAny(Box::new(vec![deep]));
    }
    let bad = [
        ("bytes", AnyValue::Bytes(Box::new(vec![0, 255, 3])), json!("AP8D")),
        ("nan", f64::NAN.into(), json!("NaN")),
        ("infinite", f64::NEG_INFINITY.into(), json!("-Infinity")),
        ("null", "a\0b".into(), json!("a\u{FFFD}b")),
    ];
    let mut bridge = Bridge::new(MapSettings::default());
    for (key, value, expected) in bad {
        let sent = bridge.send(&[event_of(A), with(event_of(A), key, value), event_of(A)]);
        assert_eq!(sent.len(), 3);
        sent.iter().for_each(assert_good);
        assert_eq!(sent[1].data()["attributes"][key], expected);
    }
    assert_eq!(bridge.lost(Loss::EventField), 3);

    let sent = bridge.send_one(with(event_of(A), "deep", deep));
    assert_good(&sent);
    assert_eq!(bridge.lost(Loss::EventField), 4);
    let megabyte = "x\"".repeat(524_288);
    let sent = bridge.send_one(with(event_of(A), "large", megabyte.clone()));
    assert_good(&sent);
    assert_eq!(sent.data()["attributes"]["large"].as_str().unwrap().len(), 65_535);
    assert_eq!(bridge.lost(Loss::EventField), 5);

    let mut bridge = Bridge::new(MapSettings { non_finite: NonFinite::Null, ..MapSettings::default() });
    assert_eq!(bridge.send_one(with(event_of(A), "nan", f64::NAN)).data()["attributes"]["nan"], json!(null));
}

#[test]
fn however_much_a_record_holds_its_event_is_smaller_than_a_pipeline_takes() {
    for base64 in [false, true] {
        let mut bridge = Bridge::new(MapSettings { base64, ..MapSettings::default() });
        let worst = "\u{1}".repeat(1_000_000);
        let mut record = event_of(A);
        for key in ["a", "b", "c", "d", "e", "f", "url.full", "user_agent.original", "snowplow.refr"] {
            record.add_attribute(key, worst.clone());
        }
        let nested = vec![AnyValue::from(worst.clone()); 30];
        record.add_attribute("list", AnyValue::ListAny(Box::new(nested)));
        record.set_body(worst.into());
        assert_good(&bridge.send_one(record));
        assert!(bridge.mapped.events[0].len < 990_000, "{} bytes", bridge.mapped.events[0].len);
        assert!(bridge.lost(Loss::EventField) > 5);
    }
}

#[test]
fn of_an_attribute_given_twice_the_last_one_counts() {
    let mut bridge = Bridge::new(MapSettings::default());
    let mut record = with(with(event_of(A), "key", 1), "key", 2);
    for _ in 0..2 {
        for number in 0..40_i64 {
            record.add_attribute(format!("k{number}"), number);
        }
    }
    let sent = bridge.send_one(with(record, "k7", "last"));
    assert_good(&sent);
    let attributes = sent.data()["attributes"].as_object().unwrap();
    assert_eq!(attributes.len(), 41);
    assert_eq!((&attributes["key"], &attributes["k7"], &attributes["k8"]), (&json!(2), &json!("last"), &json!(8)));
    assert_eq!(bridge.lost(Loss::EventField), 42);
}

/// Of which only one is what it is for: JSON with a key twice would be read as each reader likes.
#[test]
fn an_attribute_with_a_meaning_that_is_given_twice_stands_in_the_data_once() {
    let style = EventStyle::SchemaPerName { vendor: "com.acme".to_owned(), version: "1-0-0".to_owned() };
    for (style, cuts) in [(EventStyle::SelfDescribing, 1), (style, 2)] {
        let mut bridge = Bridge::new(MapSettings { style, ..MapSettings::default() });
        let record = with(with(with(event_of("no uuid"), "event.name", 5), "event.name", "other"), "session.id", 7);
        bridge.send_one(record);
        let text = std::str::from_utf8(&bridge.mapped.encoded[0].bytes).unwrap();
        for (key, value) in [("event.name", "\\\"other\\\""), ("session.id", "")] {
            let key = format!("\\\"{key}\\\":");
            assert_eq!((text.matches(&key).count(), text.contains(&format!("{key}{value}"))), (1, true), "{text}");
        }
        assert_eq!(bridge.lost(Loss::EventField), cuts);
    }
}

#[test]
fn an_event_carries_what_opentelemetry_says_about_it() {
    let mut bridge = Bridge::new(MapSettings { trace_entity: true, ..MapSettings::default() });
    let mut record = with(event_of(A), "cart.items", 3);
    record.set_body(AnyValue::Map(Box::new([("paid".into(), true.into())].into_iter().collect())));
    record.set_severity_number(Severity::Warn);
    record.set_severity_text("WARN");
    record.set_target("shop::cart");
    let (trace, span) = (TraceId::from_bytes([0xab; 16]), SpanId::from_bytes([0xcd; 8]));
    record.set_trace_context(trace, span, Some(TraceFlags::SAMPLED));
    let sent = bridge.send_one(record);
    assert_good(&sent);
    assert_eq!(
        sent.data(),
        &json!({
            "name": "cart.add",
            "attributes": {"cart.items": 3},
            "body": {"paid": true},
            "severityNumber": 13,
            "severityText": "WARN",
            "target": "shop::cart",
            "traceId": "ab".repeat(16),
            "spanId": "cd".repeat(8),
            "scopeName": "shop.cart",
            "scopeVersion": "2.0",
        })
    );
    assert_eq!(sent.entity("trace"), Some(&json!({"traceId": "ab".repeat(16), "spanId": "cd".repeat(8)})));
}

#[test]
fn a_record_of_a_trace_that_names_no_span_is_not_said_to_belong_to_one() {
    let mut bridge = Bridge::new(MapSettings { trace_entity: true, ..MapSettings::default() });
    let mut record = event_of(A);
    record.set_trace_context(TraceId::from_bytes([0xab; 16]), SpanId::INVALID, None);
    let sent = bridge.send_one(record);
    assert_good(&sent);
    assert_eq!((&sent.data()["traceId"], sent.data().get("spanId")), (&json!("ab".repeat(16)), None));
    assert_eq!(sent.entity("trace"), None, "which needs both");
}

#[test]
fn the_events_of_a_session_have_fields_of_their_own() {
    let mut bridge = Bridge::new(MapSettings::default());
    let mut record = with(with(end(A), "otel_session.end.reason", "inactivity"), "otel_session.duration", 12.5);
    record.add_attribute("otel_session.storage", "memory");
    record.add_attribute("otel_session.sampled", true);
    record.add_attribute("shop.floor", 2);
    let sent = bridge.send_one(record);
    assert_good(&sent);
    assert_eq!(
        sent.data(),
        &json!({
            "sessionId": A, "storage": "memory", "endReason": "inactivity", "sampled": true, "duration": 12.5,
            "attributes": {"shop.floor": 2}, "scopeName": "shop.cart", "scopeVersion": "2.0",
        })
    );
    let other = bridge.send_one(with(event_of(A), "otel_session.storage", "memory"));
    assert_eq!(other.data()["attributes"]["otel_session.storage"], "memory");
    let odd = bridge.send_one(with(with(end(A), "otel_session.duration", "long"), "otel_session.end.reason", 3));
    assert_good(&odd);
    assert_eq!(odd.data()["attributes"], json!({"otel_session.duration": "long", "otel_session.end.reason": 3}));
}

/// Behaviour 41.
#[test]
fn entities_of_several_sources_stand_in_one_list() {
    let resource = Resource::builder_empty()
        .with_attributes([KeyValue::new("service.name", "shop"), KeyValue::new("service.version", "1.2.3")])
        .build();
    let settings = MapSettings { resource_entity: true, trace_entity: true, ..MapSettings::default() };
    let mut bridge = Bridge::with_resource(settings, resource);
    let mut record = event_of(A);
    record.set_trace_context(TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]), None);
    let sent = bridge.send_one(record);
    assert_good(&sent);
    assert_eq!(sent.entities.len(), 4);
    assert_eq!(sent.entity("application"), Some(&json!({"version": "1.2.3"})));
    assert_eq!(sent.entity("resource").unwrap()["attributes"]["service.name"], "shop");
    assert_eq!(sent.field("aid"), Some("shop"));
    let alone = bridge.send_one(event([]));
    assert_good(&alone);
    assert_eq!(alone.entities.len(), 2);
    bridge.resource = Resource::builder_empty().with_service_name("other").build();
    let other = bridge.send_one(event([]));
    assert_eq!(
        (other.field("aid"), other.entity("application")),
        (Some("other"), None),
        "another resource is read anew"
    );
}

/// Behaviour 8.
#[test]
fn the_session_entity_is_attached_unless_it_is_off() {
    let mut bridge = Bridge::new(MapSettings { session_entity: false, ..MapSettings::default() });
    let sent = bridge.send_one(start(A, None));
    assert_good(&sent);
    assert_eq!((sent.field("sid"), sent.field("vid"), sent.field("co")), (Some(A), Some("1"), None));
}

#[test]
fn a_browser_context_is_attached_only_when_all_it_requires_is_known() {
    let mut bridge = Bridge::new(MapSettings { browser_entity: true, ..MapSettings::default() });
    let mut record = event_of(A);
    let known = [("res", "1920x1080"), ("vp", "800x600"), ("ds", "800x6000"), ("cd", "24")];
    for (key, value) in known {
        record.add_attribute(format!("snowplow.{key}"), value);
    }
    record.add_attribute("snowplow.cookies_enabled", true);
    assert_eq!(bridge.send_one(record.clone()).entity("browser_context"), None);
    let sent = bridge.send_one(with(with(record, "snowplow.online", true), "browser.language", "en"));
    assert_good(&sent);
    let expected = json!({
        "viewport": "800x600", "documentSize": "800x6000", "resolution": "1920x1080", "colorDepth": 24,
        "cookiesEnabled": true, "online": true, "browserLanguage": "en",
    });
    assert_eq!(sent.entity("browser_context"), Some(&expected));
}

#[test]
fn plain_logs_are_events_only_if_asked_for() {
    let mut log = record(None, [("session.id", A.into())]);
    log.set_body("no more socks".into());
    assert!(Bridge::new(MapSettings::default()).send(&[log.clone()]).is_empty());
    let sent = Bridge::new(MapSettings { logs: true, ..MapSettings::default() }).send_one(log);
    assert_good(&sent);
    assert_eq!(sent.event.as_ref().unwrap().0, "iglu:io.github.otel_session/log/jsonschema/1-0-0");
    assert_eq!(sent.data()["body"], "no more socks");
}

#[test]
fn events_can_go_under_a_schema_of_their_name() {
    let style = EventStyle::SchemaPerName { vendor: "com.acme".to_owned(), version: "2-0-1".to_owned() };
    let mut bridge = Bridge::new(MapSettings { style, ..MapSettings::default() });
    let mut record = record(Some("cart.add item/✓"), [("session.id", "7".into()), ("count", 3.into())]);
    record.set_body("x".into());
    let sent = bridge.send_one(record);
    assert_good(&sent);
    let (schema, data) = sent.event.as_ref().unwrap();
    assert_eq!(schema, "iglu:com.acme/cart_add_item__/jsonschema/2-0-1");
    assert_eq!(data, &json!({"session.id": "7", "count": 3, "body": "x"}));
    assert_eq!(
        bridge.send_one(start(A, None)).event.unwrap().0,
        "iglu:io.github.otel_session/session_start/jsonschema/1-0-0"
    );
}

#[test]
fn a_body_that_gives_way_to_an_attribute_of_its_name_is_counted() {
    let style = EventStyle::SchemaPerName { vendor: "com.acme".to_owned(), version: "1-0-0".to_owned() };
    let mut bridge = Bridge::new(MapSettings { style, ..MapSettings::default() });
    let mut record = with(event_of(A), "body", "the attribute's");
    record.set_body("the record's".into());
    assert_eq!(bridge.send_one(record).event.unwrap().1, json!({"body": "the attribute's"}));
    assert_eq!(bridge.lost(Loss::EventField), 1);
}

#[test]
fn structured_events_need_no_schema() {
    let mut bridge = Bridge::new(MapSettings { style: EventStyle::Structured, logs: true, ..MapSettings::default() });
    let ended = with(with(end(A), "otel_session.end.reason", "inactivity"), "otel_session.duration", 12.5);
    let mut warned = record(None, []);
    warned.set_severity_text("WARN");
    let sent = bridge.send(&[start(A, None), ended, event_of("7"), warned, record(None, [])]);
    sent.iter().for_each(assert_good);
    let fields = |index: usize| ["se_ca", "se_ac", "se_la", "se_pr", "se_va"].map(|key| sent[index].field(key));
    assert_eq!(fields(0), [Some("session"), Some("session.start"), None, Some(A), None]);
    assert_eq!(fields(1), [Some("session"), Some("session.end"), Some("inactivity"), Some(A), Some("12.5")]);
    assert_eq!(fields(2), [Some("shop.cart"), Some("cart.add"), None, Some("7"), None]);
    assert_eq!(fields(3), [Some("shop.cart"), Some("WARN"), Some("WARN"), None, None]);
    assert_eq!(fields(4), [Some("shop.cart"), Some("log"), None, None, None]);
    assert_eq!(sent[1].event_index(), Some(2), "with their session");
}

#[test]
fn a_structured_event_does_without_texts_that_are_empty() {
    let mut bridge = Bridge::new(MapSettings { style: EventStyle::Structured, logs: true, ..MapSettings::default() });
    let mut numbered = record(None, []);
    numbered.set_severity_text("");
    numbered.set_severity_number(Severity::Warn);
    numbered.set_body("".into());
    let mut empty = record(None, []);
    empty.set_severity_text("");
    let mut named = event([]);
    named.set_severity_number(Severity::Warn);
    named.set_body("".into());
    let sent = bridge.send(&[numbered, empty, named]);
    sent.iter().for_each(assert_good);
    let fields = |index: usize| ["se_ac", "se_la"].map(|key| sent[index].field(key));
    assert_eq!(fields(0), [Some("WARN"), Some("WARN")]);
    assert_eq!(fields(1), [Some("log"), None]);
    assert_eq!(fields(2), [Some("cart.add"), Some("WARN")]);
}

#[test]
fn what_is_blank_is_no_category_and_no_action() {
    let mut bridge = Bridge::new(MapSettings { style: EventStyle::Structured, logs: true, ..MapSettings::default() });
    let mut blank = record(None, []);
    blank.set_severity_text(" ");
    let mut named = event([]);
    named.set_event_name("\u{1}");
    let scope = InstrumentationScope::builder("\t").build();
    let sent = bridge.try_send_from(&scope, &[blank, named]);
    let fields = |index: usize| ["se_ca", "se_ac"].map(|key: &str| sent[index].field(key));
    assert_eq!(fields(0), [Some("log"), Some("log")]);
    assert_eq!(fields(1), [Some("event"), Some("event")]);
}
