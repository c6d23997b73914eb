//! What events say.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_session::SnowplowExporter;
use otel_session::export::snowplow::{
    Anonymity, Candidate, EventStyle, Mapping, NonFinite, Platform, SelfDescribing, SessionIdPolicy, StateStorage,
    StructuredEvent, Subject,
};
use serde_json::json;

use crate::recorder::Event;
use crate::rig::{FIRST, Rig, SECOND};

fn first(rig: &Rig) -> Event {
    rig.collector.wait_events(1).remove(0)
}

#[test]
fn a_session_start_arrives_with_all_eight_fields_of_client_session() {
    let rig = Rig::with(|builder| builder.with_namespace("content-eight"));
    rig.start(FIRST);
    rig.event("session.start", SECOND, &[("session.previous_id", FIRST)]);
    let events = rig.collector.wait_events(2);
    let start = &events[0];
    assert_eq!((start.text("e"), start.text("sid"), start.text("vid")), (Some("ue"), Some(FIRST), Some("1")));
    let (schema, _) = start.own();
    assert!(schema.starts_with("iglu:io.github.otel_session/session_start/jsonschema/"), "{schema}");
    let session = start.entity("client_session").unwrap();
    assert_eq!(session["sessionId"], FIRST);
    assert_eq!(session["sessionIndex"], 1);
    assert_eq!(session["eventIndex"], 1);
    assert!(session["previousSessionId"].is_null());
    assert_eq!(session["storageMechanism"], "LOCAL_STORAGE");
    assert_eq!(session["firstEventId"].as_str(), start.text("eid"));
    assert_eq!(session["firstEventTimestamp"], "2023-11-14T22:13:20.123Z");
    assert_eq!(session["userId"].as_str().unwrap().len(), 36);
    let next = events[1].entity("client_session").unwrap();
    assert_eq!((&next["sessionIndex"], &next["previousSessionId"]), (&json!(2), &json!(FIRST)));
    assert_eq!(next["userId"], session["userId"]);
}

#[test]
fn a_session_end_carries_the_session_that_ended() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.event("session.start", SECOND, &[("session.previous_id", FIRST)]);
    rig.end(FIRST);
    let end = rig.collector.wait_events(3).remove(2);
    let session = end.entity("client_session").unwrap();
    assert_eq!(
        (end.text("sid"), &session["sessionIndex"], &session["eventIndex"]),
        (Some(FIRST), &json!(1), &json!(2))
    );
}

#[test]
fn the_session_context_can_be_left_out() {
    let rig = Rig::with(|builder| builder.with_session_context(false));
    rig.start(FIRST);
    let event = first(&rig);
    assert_eq!(event.entity("client_session"), None);
    assert_eq!(event.text("sid"), Some(FIRST));
}

#[test]
fn the_namespace_is_sent_as_the_trackers_name() {
    let rig = Rig::with(|builder| builder.with_namespace("content-namespace"));
    rig.start(FIRST);
    assert_eq!(first(&rig).text("tna"), Some("content-namespace"));
}

#[test]
fn the_app_id_is_the_service_name_unless_it_is_given() {
    let default = Rig::new();
    default.start(FIRST);
    assert_eq!(first(&default).text("aid"), Some("shop"));
    let given = Rig::with(|builder| builder.with_app_id("my-app-id"));
    given.start(FIRST);
    assert_eq!(first(&given).text("aid"), Some("my-app-id"));
}

#[test]
fn the_platform_is_srv_unless_it_is_given() {
    let default = Rig::new();
    default.start(FIRST);
    assert_eq!(first(&default).text("p"), Some("srv"));
    for platform in Platform::ALL {
        let rig = Rig::with(|builder| builder.with_platform(platform));
        rig.start(FIRST);
        assert_eq!(first(&rig).text("p"), Some(platform.as_str()));
    }
}

#[test]
fn json_is_plain_in_a_post_unless_base64_is_asked_for() {
    let plain = Rig::new();
    plain.start(FIRST);
    let event = first(&plain);
    assert!(event.text("ue_pr").is_some() && event.text("co").is_some());
    let encoded = Rig::with(|builder| builder.with_base64(true));
    encoded.event("session.start", FIRST, &[("note", "✓ à la mode")]);
    let event = first(&encoded);
    assert!(event.text("ue_pr").is_none() && event.text("co").is_none());
    assert!(!event.text("ue_px").unwrap().contains('=') && !event.text("cx").unwrap().contains('='));
    assert!(event.own().1.to_string().contains("✓ à la mode"));
    assert_eq!(event.entity("client_session").unwrap()["sessionId"], FIRST);
}

#[test]
fn the_version_of_the_service_is_the_application_context() {
    let rig = Rig::new();
    rig.start(FIRST);
    assert_eq!(first(&rig).entity("application"), Some(json!({"version": "1.2.3"})));
    let off = Rig::with(|builder| builder.with_application_context(false));
    off.start(FIRST);
    assert_eq!(first(&off).entity("application"), None);
}

#[test]
fn every_field_of_the_subject_is_sent_and_the_records_own_win() {
    let subject = Subject::new()
        .with_platform(Platform::Mobile)
        .with_user_id("ada")
        .with_domain_user_id("D5C4A3B2-0000-4000-8000-000000000001")
        .with_domain_session_id(SECOND)
        .with_domain_session_index(7)
        .with_network_user_id("n1")
        .with_ip_address("192.0.2.7")
        .with_useragent("Tracker/1")
        .with_language("en-GB")
        .with_timezone("Europe/Amsterdam")
        .with_screen_resolution(1920, 1080)
        .with_viewport(800, 600)
        .with_color_depth(24);
    let rig = Rig::with(|builder| builder.with_subject(subject));
    rig.emit("checkout", None, [], None);
    rig.event("session.start", FIRST, &[("user.id", "bob"), ("client.address", "198.51.100.9")]);
    let events = rig.collector.wait_events(2);
    for (key, value) in [
        ("p", "mob"),
        ("uid", "ada"),
        ("duid", "d5c4a3b2-0000-4000-8000-000000000001"),
        ("sid", SECOND),
        ("vid", "7"),
        ("tnuid", "n1"),
        ("ip", "192.0.2.7"),
        ("ua", "Tracker/1"),
        ("lang", "en-GB"),
        ("tz", "Europe/Amsterdam"),
        ("res", "1920x1080"),
        ("vp", "800x600"),
        ("cd", "24"),
    ] {
        assert_eq!(events[0].text(key), Some(value), "{key}");
    }
    let own = &events[1];
    assert_ne!(own.text("duid"), events[0].text("duid"));
    assert_eq!(own.entity("client_session").unwrap()["userId"].as_str(), own.text("duid"));
    assert_eq!((own.text("uid"), own.text("ip")), (Some("bob"), Some("198.51.100.9")));
    assert_eq!((own.text("sid"), own.text("vid"), own.text("lang")), (Some(FIRST), Some("1"), Some("en-GB")));
}

#[test]
fn each_provider_keeps_its_own_resource() {
    let rig = Rig::new();
    let named = |name: &'static str| Resource::builder_empty().with_service_name(name).build();
    let other =
        SdkLoggerProvider::builder().with_resource(named("other")).with_simple_exporter(rig.exporter.clone()).build();
    let other = Rig { collector: rig.collector.clone(), exporter: rig.exporter.clone(), loggers: other };
    other.start(FIRST);
    rig.start(SECOND);
    let apps: Vec<_> = rig.collector.wait_events(2).iter().map(|it| it.text("aid").unwrap().to_owned()).collect();
    assert_eq!(apps, ["other", "shop"]);
}

#[test]
fn spans_become_events_of_their_sessions_only_through_the_span_exporter() {
    let rig = Rig::new();
    rig.start(FIRST);
    let tracers = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("traced").build())
        .with_simple_exporter(rig.exporter.span_exporter())
        .build();
    let span = tracers.tracer("shop").span_builder("GET /cart");
    drop(span.with_attributes([KeyValue::new("session.id", FIRST)]).start(&tracers.tracer("shop")));
    let event = rig.collector.wait_events(2).remove(1);
    assert_eq!((event.text("sid"), event.text("aid")), (Some(FIRST), Some("traced")));
    assert!(event.own().1.to_string().contains("GET /cart"));
    // It shares the numbers, and goes on when the log pipeline is gone.
    assert_eq!(event.entity("client_session").unwrap()["eventIndex"], 2);
    rig.loggers.shutdown().unwrap();
    drop(tracers.tracer("shop").span_builder("later").start(&tracers.tracer("shop")));
    assert_eq!(rig.collector.wait_events(3).len(), 3);
}

#[test]
fn a_hook_that_makes_telemetry_does_not_feed_the_exporter() {
    let tracers: Arc<OnceLock<SdkTracerProvider>> = Arc::default();
    let of_hook = Arc::clone(&tracers);
    let rig = Rig::with(|builder| {
        builder.with_filter(move |candidate| {
            if matches!(candidate, Candidate::Log { .. }) {
                of_hook.get().unwrap().tracer("hook").start("echo").end();
            }
            true
        })
    });
    let exporter = rig.exporter.span_exporter();
    tracers.set(SdkTracerProvider::builder().with_simple_exporter(exporter).build()).unwrap();
    let mut record = rig.logger().create_log_record();
    record.set_event_name("checkout");
    let scope = opentelemetry::InstrumentationScope::builder("test").build();
    // Not through a processor of the SDK, some of which are quiet by themselves; nor by the executor that they use, which
    // refuses to run within itself.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(rig.exporter.export(LogBatch::new(&[(&record, &scope)]))).unwrap();
    rig.flush();
    assert_eq!(rig.collector.events().len(), 1);
}

#[test]
fn the_subject_can_be_set_later() {
    let rig = Rig::new();
    rig.start(FIRST);
    rig.exporter.set_subject(Subject::new().with_user_id("ada")).unwrap();
    rig.named(FIRST);
    assert!(rig.exporter.set_subject(Subject::new().with_user_id("x".repeat(256))).is_err());
    rig.named(FIRST);
    let users: Vec<_> = rig.collector.wait_events(3).iter().map(|it| it.text("uid").map(str::to_owned)).collect();
    assert_eq!(users, [None, Some("ada".to_owned()), Some("ada".to_owned())]);
}

#[test]
fn the_browser_context_is_sent_when_all_that_it_requires_is_known() {
    let text = |value: &'static str| AnyValue::from(value);
    let required = [
        ("snowplow.vp", text("800x600")),
        ("snowplow.ds", text("800x2400")),
        ("snowplow.res", text("1920x1080")),
        ("snowplow.cd", AnyValue::Int(24)),
        ("snowplow.cookies_enabled", AnyValue::Boolean(true)),
        ("snowplow.online", AnyValue::Boolean(false)),
    ];
    let further = [
        ("browser.language", text("en-GB")),
        ("snowplow.document_language", text("nl")),
        ("snowplow.device_pixel_ratio", AnyValue::Double(1.5)),
        ("snowplow.webdriver", AnyValue::Boolean(false)),
        ("snowplow.device_memory", AnyValue::Int(8)),
        ("snowplow.hardware_concurrency", AnyValue::Int(16)),
        ("snowplow.tab_id", text("7C2B1A00-0000-4000-8000-000000000001")),
    ];
    let rig = Rig::with(|builder| builder.with_browser_context(true));
    rig.emit("checkout", Some(FIRST), required.iter().cloned().chain(further), None);
    rig.emit("checkout", Some(FIRST), required[1..].to_vec(), None);
    let off = Rig::new();
    off.emit("checkout", Some(FIRST), required.to_vec(), None);
    let events = rig.collector.wait_events(2);
    let expected = json!({
        "viewport": "800x600", "documentSize": "800x2400", "resolution": "1920x1080", "colorDepth": 24,
        "cookiesEnabled": true, "online": false, "browserLanguage": "en-GB", "documentLanguage": "nl",
        "devicePixelRatio": 1.5, "webdriver": false, "deviceMemory": 8.0, "hardwareConcurrency": 16,
        "tabId": "7c2b1a00-0000-4000-8000-000000000001",
    });
    assert_eq!(events[0].entity("browser_context"), Some(expected));
    assert_eq!(events[1].entity("browser_context"), None);
    assert_eq!(first(&off).entity("browser_context"), None);

    let subject = Subject::new().with_viewport(1, 2).with_screen_resolution(1920, 1080).with_color_depth(24);
    let subject = subject.with_language("en-GB");
    let rig = Rig::with(|builder| builder.with_browser_context(true).with_subject(subject));
    let [viewport, document, _, _, cookies, online] = required;
    let given = [viewport, document, cookies, online];
    rig.emit("checkout", Some(FIRST), given.clone(), None);
    rig.exporter.set_subject(Subject::new().with_screen_resolution(1920, 1080)).unwrap();
    rig.emit("checkout", Some(FIRST), given, None);
    let events = rig.collector.wait_events(2);
    let expected = json!({
        "viewport": "800x600", "documentSize": "800x2400", "resolution": "1920x1080", "colorDepth": 24,
        "cookiesEnabled": true, "online": false, "browserLanguage": "en-GB",
    });
    assert_eq!(events[0].entity("browser_context"), Some(expected), "the subject knows what the record does not say");
    assert_eq!(events[1].entity("browser_context"), None);
}

#[test]
fn true_timestamps_are_sent_beside_the_devices() {
    let rig = Rig::with(|builder| builder.with_true_timestamps(true));
    rig.start(FIRST);
    let event = first(&rig);
    assert_eq!((event.text("ttm"), event.text("dtm")), (Some("1700000000123"), Some("1700000000123")));
    let off = Rig::new();
    off.start(FIRST);
    let event = first(&off);
    assert_eq!((event.text("ttm"), event.text("dtm")), (None, Some("1700000000123")));
}

#[test]
fn events_are_structured_where_there_are_no_schemas() {
    let rig = Rig::with(|builder| builder.with_event_style(EventStyle::Structured));
    rig.start(FIRST);
    let event = first(&rig);
    assert_eq!((event.text("e"), event.text("se_ac")), (Some("se"), Some("session.start")));
    assert!(event.text("se_ca").is_some());
    assert_eq!(event.entity("client_session").unwrap()["sessionId"], FIRST);
}

#[test]
fn the_vendor_of_our_schemas_can_be_another() {
    let rig = Rig::with(|builder| builder.with_vendor("com.acme"));
    rig.start(FIRST);
    assert!(first(&rig).own().0.starts_with("iglu:com.acme/session_start/jsonschema/"));
}

#[test]
fn session_ids_that_are_no_uuids_follow_the_policy() {
    let derived = Rig::new();
    derived.start("visit 7");
    let sid = first(&derived).text("sid").unwrap().to_owned();
    assert_eq!((sid.len(), &sid[14..15]), (36, "5"));
    let omitted = Rig::with(|builder| builder.with_session_ids(SessionIdPolicy::Omit));
    omitted.named("visit 7");
    let event = first(&omitted);
    assert_eq!((event.text("sid"), event.entity("client_session")), (None, None));
    let exact = Rig::with(|builder| builder.with_session_ids(SessionIdPolicy::Exact));
    exact.start("visit 7");
    exact.start(FIRST);
    assert_eq!(first(&exact).text("sid"), Some(FIRST));
    assert_eq!(exact.exporter.losses().count(otel_session::Loss::EventSessionId), 1);
}

#[test]
fn plain_logs_are_sent_only_when_they_are_asked_for() {
    let rig = Rig::new();
    rig.emit("", Some(FIRST), [], None);
    rig.start(FIRST);
    rig.flush();
    assert_eq!(rig.collector.events().len(), 1);
    let on = Rig::with(|builder| builder.with_logs(true));
    on.emit("", Some(FIRST), [], None);
    assert_eq!(first(&on).text("sid"), Some(FIRST));
}

#[test]
fn an_event_of_tracing_is_a_plain_log_unless_it_is_given_a_name() {
    use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
    use tracing_subscriber::layer::SubscriberExt as _;
    let rig = Rig::new();
    let subscriber = tracing_subscriber::registry().with(OpenTelemetryTracingBridge::new(&rig.loggers));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(session.id = FIRST, "tracing names it after its line");
        tracing::info!(name: "log event", { session.id = FIRST }, "as a record of the log crate is named");
        tracing::info!(name: "checkout", { session.id = FIRST }, "paid");
    });
    rig.flush();
    let events = rig.collector.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].own().1["name"], "checkout");
}

#[test]
fn a_filter_and_a_mapping_may_call_the_exporter() {
    let exporter: Arc<OnceLock<SnowplowExporter>> = Arc::default();
    let (of_filter, of_mapping) = (Arc::clone(&exporter), Arc::clone(&exporter));
    let rig = Rig::with(|builder| {
        builder
            .with_filter(move |_| {
                of_filter.get().unwrap().set_subject(Subject::new().with_language("de")).unwrap();
                true
            })
            .with_mapping(move |_| {
                of_mapping.get().unwrap().set_anonymous(Anonymity::off());
                let _ = of_mapping.get().unwrap().cross_domain_link();
                Mapping::usual()
            })
    });
    exporter.set(rig.exporter.clone()).unwrap();
    rig.named(FIRST);
    rig.flush();
    assert_eq!(first(&rig).text("lang"), Some("de"));
}

#[test]
fn a_filter_drops_records_before_they_take_an_index() {
    let rig = Rig::with(|builder| builder.with_filter(|it: &Candidate<'_>| it.name() != Some("noise")));
    rig.start(FIRST);
    rig.event("noise", FIRST, &[]);
    rig.named(FIRST);
    let events = rig.collector.wait_events(2);
    rig.flush();
    assert_eq!(rig.collector.events().len(), 2);
    assert_eq!(events[1].entity("client_session").unwrap()["eventIndex"], 2);
}

#[test]
fn a_mapping_makes_other_events_and_attaches_entities() {
    let rig = Rig::with(|builder| {
        builder.with_mapping(|it: &Candidate<'_>| match it.name() {
            Some("checkout") => Mapping::structured(StructuredEvent::new("shop", "checkout").with_value(9.5)),
            Some("session.start") => Mapping::usual()
                .with_entity(SelfDescribing::new("iglu:com.acme/cart/jsonschema/1-0-0", json!({"items": 3}))),
            _ => Mapping::usual(),
        })
    });
    rig.start(FIRST);
    rig.named(FIRST);
    let events = rig.collector.wait_events(2);
    assert_eq!(events[0].entity("cart"), Some(json!({"items": 3})));
    assert_eq!(events[0].entity("client_session").unwrap()["sessionId"], FIRST);
    assert_eq!(
        (events[1].text("e"), events[1].text("se_ca"), events[1].text("se_va")),
        (Some("se"), Some("shop"), Some("9.5"))
    );
}

#[test]
fn a_session_entity_of_a_mapping_replaces_ours() {
    let rig = Rig::with(|builder| {
        builder.with_mapping(|_: &Candidate<'_>| {
            let schema = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2";
            Mapping::usual().with_entity(SelfDescribing::new(schema, json!({"sessionId": SECOND})))
        })
    });
    rig.start(FIRST);
    let event = first(&rig);
    assert_eq!(event.entity("client_session"), Some(json!({"sessionId": SECOND})));
}

#[test]
fn what_json_cannot_say_is_sent_as_text_or_null() {
    for (non_finite, sent) in [(NonFinite::Text, json!("NaN")), (NonFinite::Null, json!(null))] {
        let rig = Rig::with(|builder| builder.with_non_finite(non_finite));
        rig.emit("checkout", Some(FIRST), [("load", AnyValue::Double(f64::NAN))], None);
        let data = first(&rig).own().1;
        assert_eq!(data["attributes"]["load"], sent, "{data}");
    }
    let rig = Rig::new();
    rig.emit("checkout", Some(FIRST), [("raw", AnyValue::Bytes(Box::new(vec![0, 255])))], None);
    assert_eq!(first(&rig).own().1["attributes"]["raw"], "AP8=");
}

#[test]
fn unannounced_sessions_are_numbered_only_if_asked() {
    let rig = Rig::new();
    rig.named(FIRST);
    let session = first(&rig).entity("client_session").unwrap();
    assert!(session["eventIndex"].is_null() && session["firstEventId"].is_null(), "{session}");
    let on = Rig::with(|builder| builder.with_number_unannounced_sessions(true));
    on.named(FIRST);
    assert_eq!(first(&on).entity("client_session").unwrap()["eventIndex"], 1);
}

#[test]
fn records_without_a_session_can_be_skipped() {
    let rig = Rig::new();
    rig.emit("checkout", None, [], None);
    let event = first(&rig);
    assert_eq!((event.text("sid"), event.entity("client_session")), (None, None));
    let skips = Rig::with(|builder| builder.with_skip_without_session(true));
    skips.emit("checkout", None, [], None);
    skips.start(FIRST);
    skips.flush();
    assert_eq!(skips.collector.events().len(), 1);
}

#[test]
fn an_implied_end_becomes_an_event_only_if_asked() {
    let rig = Rig::with(|builder| builder.with_synthesize_end(true));
    rig.start(FIRST);
    rig.event("session.start", SECOND, &[("session.previous_id", FIRST)]);
    let schemas: Vec<_> = rig.collector.wait_events(3).iter().map(|it| it.own().0).collect();
    assert!(schemas[1].contains("/session_end/") && schemas[2].contains("/session_start/"), "{schemas:?}");
}

#[test]
fn the_cookie_strategy_says_where_the_session_came_from() {
    let rig = Rig::with(|builder| builder.with_state_storage(StateStorage::Cookie));
    rig.start(FIRST);
    assert_eq!(first(&rig).entity("client_session").unwrap()["storageMechanism"], "COOKIE_1");
}

#[test]
fn callbacks_tell_of_sessions_and_of_accepted_events() {
    let told = Arc::new(Mutex::new(Vec::<String>::new()));
    let tell = |told: &Arc<Mutex<Vec<String>>>| told.clone();
    let (starts, ends, accepted) = (tell(&told), tell(&told), tell(&told));
    let rig = Rig::with(|builder| {
        builder
            .on_session_start(move |it| {
                starts.lock().unwrap().push(format!("start {} {}", it.session_id, it.session_index))
            })
            .on_session_end(move |it| ends.lock().unwrap().push(format!("end {}", it.session_id)))
            .on_accepted(move |it| accepted.lock().unwrap().push(format!("accepted {}", it.event_id)))
    });
    rig.start(FIRST);
    rig.event("session.start", SECOND, &[("session.previous_id", FIRST)]);
    rig.end(FIRST);
    let ids: Vec<_> =
        rig.collector.wait_events(3).iter().map(|it| format!("accepted {}", it.text("eid").unwrap())).collect();
    let told = told.lock().unwrap();
    // An end that the next start implied is told once.
    let expected = [
        format!("start {FIRST} 1"),
        ids[0].clone(),
        format!("end {FIRST}"),
        format!("start {SECOND} 2"),
        ids[1].clone(),
        ids[2].clone(),
    ];
    assert_eq!(*told, expected);
}

#[test]
fn a_callback_that_emits_a_record_neither_loops_nor_hangs() {
    let logger = Arc::new(Mutex::new(None::<SdkLogger>));
    let within = logger.clone();
    let rig = Rig::with(|builder| {
        builder.on_session_start(move |_| {
            let logger = within.lock().unwrap().clone().unwrap();
            let mut record = logger.create_log_record();
            record.set_event_name("session.start");
            record.add_attribute("session.id", SECOND);
            logger.emit(record);
        })
    });
    *logger.lock().unwrap() = Some(rig.logger());
    rig.start(FIRST);
    rig.flush();
    let sessions: Vec<_> = rig.collector.events().iter().map(|it| it.text("sid").unwrap().to_owned()).collect();
    // The SDK keeps what is emitted within an export out of the pipeline.
    assert_eq!(sessions, [FIRST]);
}

#[test]
fn a_callback_that_panics_is_counted_and_harms_nothing() {
    let rig = Rig::with(|builder| builder.on_session_start(|_| panic!("told to")).on_accepted(|_| panic!("told to")));
    rig.start(FIRST);
    assert_eq!(rig.collector.wait_events(1).len(), 1);
    assert_eq!(rig.exporter.losses().count(otel_session::Loss::EventFilterPanic), 2);
}

#[test]
fn a_record_without_a_time_of_its_own_takes_the_observed_one() {
    let rig = Rig::new();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_999);
    rig.emit("session.start", Some(FIRST), [], Some(time));
    assert_eq!(first(&rig).text("dtm"), Some("1600000000999"));
}
