//! Settings that cannot work are refused by name; records that make no sense spoil nothing.

use std::time::Duration;

use opentelemetry::Key;
use opentelemetry::logs::AnyValue;
use otel_session::export::snowplow::{Collector, EventStyle, IdentityLifetime, Platform, StateStorage, Subject};
use otel_session::export::{Outbox, RetryPolicy};
use otel_session::{BuildError, Loss, SnowplowExporter, SnowplowExporterBuilder};

use crate::rig::{FIRST, Rig};

/// Builds with what should not work, and returns the setting that was refused and its message.
#[track_caller]
fn refused(configure: impl FnOnce(SnowplowExporterBuilder) -> SnowplowExporterBuilder) -> (&'static str, String) {
    let builder = SnowplowExporter::builder().with_endpoint("http://127.0.0.1:9");
    match configure(builder).build() {
        Err(error @ BuildError::Setting { setting, .. }) => (setting, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endpoint_without_a_host_is_refused() {
    for endpoint in [
        "",
        "http://",
        "https:///path",
        "http://:80",
        "/path",
        "http://u:p@host",
        "http://host?a=b",
        "ftp://host",
        "h:0",
    ] {
        let built = SnowplowExporter::builder().with_endpoint(endpoint).build();
        let Err(BuildError::Setting { setting: "with_endpoint", .. }) = built else { panic!("{endpoint}: {built:?}") };
    }
    let none = SnowplowExporter::builder().build().unwrap_err().to_string();
    assert!(none.contains("at least one collector"), "{none}");
}

#[test]
fn an_unknown_platform_is_refused_with_those_there_are() {
    let error = "browser".parse::<Platform>().unwrap_err().to_string();
    assert!(error.contains("browser") && error.contains("headset"), "{error}");
    assert_eq!("headset".parse::<Platform>().unwrap(), Platform::Headset);
}

#[test]
fn a_retry_map_with_a_2xx_is_refused() {
    let (_, message) = refused(|builder| builder.with_retry(RetryPolicy::new().with_retry_code(204, true)));
    assert!(message.contains("204"), "{message}");
}

#[test]
fn a_byte_limit_below_one_envelope_is_refused() {
    for bytes in [0, 1, 87, 88] {
        let (setting, message) = refused(|builder| builder.with_max_post_bytes(bytes));
        assert_eq!(setting, "with_max_post_bytes");
        assert!(message.contains(&bytes.to_string()) && message.contains("envelope"), "{message}");
    }
    assert!(SnowplowExporter::builder().with_endpoint("http://127.0.0.1:1").with_max_post_bytes(89).build().is_ok());
    assert_eq!(refused(|builder| builder.with_max_post_bytes(1_000_001)).0, "with_max_post_bytes");
    assert_eq!(refused(|builder| builder.with_max_get_bytes(0)).0, "with_max_get_bytes");
}

#[test]
fn a_url_limit_beyond_what_a_collector_reads_is_refused() {
    let (setting, message) = refused(|builder| builder.with_max_get_bytes(20_468));
    assert_eq!(setting, "with_max_get_bytes");
    assert!(message.contains("20468") && message.contains("at most 20467"), "{message}");
    assert!(SnowplowExporter::builder().with_endpoint("http://127.0.0.1:1").with_max_get_bytes(20_467).build().is_ok());
}

#[test]
fn numbers_that_stop_everything_are_refused() {
    assert_eq!(refused(|builder| builder.with_batch_size(0)).0, "with_batch_size");
    assert_eq!(refused(|builder| builder.with_max_batch_events(0)).0, "with_max_batch_events");
    assert_eq!(refused(|builder| builder.with_max_in_flight(0)).0, "with_max_in_flight");
    assert_eq!(refused(|builder| builder.with_flush_bytes(0)).0, "with_flush_bytes");
    assert_eq!(refused(|builder| builder.with_max_queue_events(0)).0, "with_max_queue_events");
    assert_eq!(refused(|builder| builder.with_connect_timeout(Duration::ZERO)).0, "with_connect_timeout");
    assert_eq!(refused(|builder| builder.with_request_timeout(Duration::MAX)).0, "with_request_timeout");
    assert_eq!(refused(|builder| builder.with_schedule_delay(Duration::MAX)).0, "with_schedule_delay");
    assert_eq!(refused(|builder| builder.with_max_sessions(0)).0, "with_max_sessions");
    assert_eq!(refused(|builder| builder.with_max_text_bytes(0)).0, "with_max_text_bytes");
    assert_eq!(refused(|builder| builder.with_outbox(Outbox::memory().with_max_bytes(0))).0, "with_max_bytes");
    let zero = IdentityLifetime::For(Duration::ZERO);
    assert_eq!(refused(|builder| builder.with_identity_lifetime(zero)).0, "with_identity_lifetime");
}

#[test]
fn texts_that_snowplow_would_fail_events_for_are_refused() {
    for namespace in ["", "a:b", "a;b", "a\nb", &"x".repeat(129)] {
        assert_eq!(refused(|builder| builder.with_namespace(namespace)).0, "with_namespace");
    }
    for app_id in ["", "a\u{0}", &"x".repeat(256)] {
        assert_eq!(refused(|builder| builder.with_app_id(app_id)).0, "with_app_id");
    }
    for vendor in ["", "com acme", "com/acme", "com.äcme"] {
        assert_eq!(refused(|builder| builder.with_vendor(vendor)).0, "with_vendor");
    }
    for version in ["", "1", "1-0", "0-0-0", "1-0-0-0", "1-x-0", "01-0-0", "1-00-0", "1-0-01"] {
        let style = EventStyle::SchemaPerName { vendor: "com.acme".to_owned(), version: version.to_owned() };
        assert_eq!(refused(|builder| builder.with_event_style(style)).0, "with_event_style");
    }
    for subject in [
        Subject::new().with_user_id("x".repeat(256)),
        Subject::new().with_ip_address("x".repeat(129)),
        Subject::new().with_useragent("a\nb"),
        Subject::new().with_domain_session_id("not a uuid"),
    ] {
        assert_eq!(refused(|builder| builder.with_subject(subject)).0, "with_subject");
    }
}

#[test]
fn headers_that_are_not_ones_own_to_set_are_refused_and_their_values_not_shown() {
    for name in [
        "Host",
        "content-type",
        "Content-Length",
        "Connection",
        "SP-Anonymous",
        "Cookie",
        "Transfer-Encoding",
        "Content-Encoding",
        "a b",
        "",
    ] {
        let (setting, message) = refused(|builder| builder.with_custom_header(name, "s3cret"));
        assert_eq!(setting, "with_custom_header");
        assert!(!message.contains("s3cret"), "{message}");
    }
    let (setting, message) = refused(|builder| builder.with_custom_header("X-A", "s3cret\r\nX-B: 1"));
    assert_eq!(setting, "with_custom_header");
    assert!(!message.contains("s3cret"), "{message}");
    assert!(refused(|builder| builder.with_custom_header("SP-Anonymous", "*")).1.contains("with_server_anonymisation"));
    assert!(refused(|builder| builder.with_custom_header("Cookie", "a=b")).1.contains("with_cookie_jar"));
}

#[test]
fn paths_ports_and_services_that_lead_nowhere_are_refused() {
    for path in ["", "/", "custom/path", "//host/path", "/path?query=1", "/path#x", "/a b", "/größe"] {
        assert_eq!(refused(|builder| builder.with_post_path(path)).0, "with_post_path");
    }
    let twice = Collector::new("http://127.0.0.1:80").with_port(81);
    assert_eq!(refused(|builder| builder.with_collector(twice)).0, "Collector::with_port");
    let (setting, message) = refused(|builder| builder.with_collector(Collector::new("http://127.0.0.1").with_port(0)));
    assert_eq!(setting, "Collector::with_port");
    assert!(message.contains("65535"), "{message}");
    let (setting, message) = refused(|builder| builder.with_opt_out_file(""));
    assert_eq!(setting, "with_opt_out_file");
    assert!(message.contains("name the file"), "{message}");
    for service in ["http://", "http://127.0.0.1:0/id"] {
        assert_eq!(refused(|builder| builder.with_id_service(service)).0, "with_id_service", "{service}");
    }
}

#[test]
fn no_storage_and_a_durable_outbox_exclude_each_other() {
    #[derive(Debug)]
    struct Store;

    impl otel_session::export::OutboxStore for Store {
        fn open(&mut self) -> Result<otel_session::export::Opened, otel_session::export::OutboxError> {
            Ok(otel_session::export::Opened::default())
        }

        fn commit(&mut self, _: &otel_session::export::Commit<'_>) -> Result<(), otel_session::export::OutboxError> {
            Ok(())
        }

        fn read(&mut self, _: u64) -> Result<otel_session::export::Chunk, otel_session::export::OutboxError> {
            Ok(otel_session::export::Chunk::new(0, 0, 0))
        }
    }

    let (setting, message) =
        refused(|builder| builder.with_outbox(Outbox::custom(Store)).with_state_storage(StateStorage::None));
    assert_eq!(setting, "with_state_storage");
    assert!(message.contains("Outbox::memory()"), "{message}");
}

#[test]
fn values_that_snowplow_cannot_hold_are_mapped_and_spoil_no_neighbour() {
    let rig = Rig::with(|builder| builder.with_batch_size(100).with_schedule_delay(crate::requests::HOUR));
    let mut deep = AnyValue::from("bottom");
    for _ in 0..60 {
        deep = AnyValue::Map(Box::new([(Key::from_static_str("down"), deep)].into_iter().collect()));
    }
    let million = "x".repeat(1 << 20);
    rig.start(FIRST);
    rig.emit("bad", Some(FIRST), [("raw", AnyValue::Bytes(Box::new(vec![0; 10])))], None);
    rig.emit("bad", Some(FIRST), [("nan", AnyValue::Double(f64::NAN)), ("inf", AnyValue::Double(f64::INFINITY))], None);
    rig.emit("bad", Some(FIRST), [("long", AnyValue::from(million.clone()))], None);
    rig.emit("bad", Some(FIRST), [("deep", deep)], None);
    rig.event("bad", FIRST, &[("a name with blanks", "1"), ("näme", "2"), ("", "3")]);
    rig.event("bad", "an\nid\u{0}with\tcontrol", &[]);
    rig.event("bad", &million, &[]);
    rig.event("", FIRST, &[]);
    rig.emit("session.start", None, [], None);
    rig.named(FIRST);
    rig.flush();
    let events = rig.collector.events();
    // Of eleven records, one has no name and one a start without a session.
    assert_eq!(events.len(), 9, "{}", rig.exporter.losses());
    assert!(rig.collector.requests().iter().all(|it| it.body.len() <= 1_000_000));
    let last = events.last().unwrap().entity("client_session").unwrap();
    assert_eq!(last["eventIndex"], 7);
    let losses = rig.exporter.losses();
    assert_eq!(losses.count(Loss::EventWithoutSession), 1, "{losses}");
    assert!(losses.count(Loss::EventField) >= 2, "{losses}");
}
