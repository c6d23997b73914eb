//! What reaches a collector.

use otel_session::collector::{DevCollector, Stream, Value};

use crate::{DEADLINE, child};

const CASES: [&str; 6] = [
    "no runtime",
    "no runtime, dropped",
    "current thread",
    "current thread, dropped",
    "multi thread",
    "multi thread, dropped",
];

#[test]
fn over_http_every_signal_arrives_with_its_session_from_any_runtime_and_from_none() {
    for case in CASES {
        let collector = DevCollector::start().unwrap();
        let told = child(case, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint())]);
        assert_eq!(told.value("losses"), "none", "{case}");
        assert_whole(&collector, case);
    }
}

#[test]
fn over_grpc_every_signal_arrives_with_its_session_from_any_runtime_and_from_none() {
    for case in CASES {
        let collector = DevCollector::start().unwrap();
        let endpoint = collector.otlp_grpc_endpoint();
        let told = child(case, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!(told.value("losses"), "none", "{case}");
        assert_whole(&collector, case);
    }
}

#[test]
fn a_collector_on_this_machine_is_not_behind_the_proxy_that_the_environment_names() {
    let collector = DevCollector::start().unwrap();
    let endpoint = collector.otlp_http_endpoint();
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1"));
    let told = child("no runtime", &[&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)], &proxies[..]].concat());
    assert_eq!(told.value("losses"), "none");
    assert_whole(&collector, "behind a proxy");
}

#[test]
fn each_signal_may_have_its_own_endpoint_protocol_and_compression() {
    let (spans, logs) = (DevCollector::start().unwrap(), DevCollector::start().unwrap());
    child(
        "no runtime",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &spans.otlp_grpc_endpoint()),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &format!("{}/v1/logs", logs.otlp_http_endpoint())),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ],
    );
    assert!(spans.wait_until(DEADLINE, |stream| stream.spans().len() == 3));
    assert!(logs.wait_until(DEADLINE, |stream| stream.logs().len() == 4));
    assert!(spans.stream().logs().is_empty() && logs.stream().spans().is_empty());
}

#[test]
fn further_exporters_of_logs_get_everything_in_order_beside_otlp() {
    let collector = DevCollector::start().unwrap();
    let told = child("further exporters", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint())]);
    assert!(told.value("first").starts_with("session.start, "), "{}", told.value("first"));
    assert!(told.value("first").contains("shop.paid") && told.value("first").ends_with(", session.end"));
    assert!(!told.value("first").contains("without a session"), "{}", told.value("first"));
    assert_eq!(told.value("first"), told.value("second"));
    assert_whole(&collector, "further exporters");
}

#[test]
fn the_environment_names_the_service_and_its_resource() {
    let collector = DevCollector::start().unwrap();
    child(
        "no runtime",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint()),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,shop.floor=2%2C%20left,shop%2Eroom=%33"),
        ],
    );
    assert_eq!(resource(&collector, "service.name"), "shop");
    assert_eq!(resource(&collector, "shop.floor"), "2, left");
    assert_eq!(resource(&collector, "shop.room"), "3");
    let sent = collector.stream().logs()[0].resource.attributes.clone();
    assert!(sent.iter().all(|(key, _)| !key.contains('%')), "{sent:?}");
    assert!(sent.get("telemetry.sdk.name").is_some(), "{sent:?}");
}

#[test]
fn code_beats_the_environment() {
    let collector = DevCollector::start().unwrap();
    let environment = [("OTEL_SERVICE_NAME", "by environment"), ("OTEL_RESOURCE_ATTRIBUTES", "shop.floor=other")];
    let endpoint = collector.otlp_http_endpoint();
    let named = [&environment[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat();
    child("named by code", &named);
    assert_eq!(resource(&collector, "service.name"), "by code");
    assert_eq!(resource(&collector, "shop.floor"), "by code");

    let collector = DevCollector::start().unwrap();
    child(
        "endpoint by code",
        &[
            ("SETUP_TEST_ENDPOINT", &collector.otlp_grpc_endpoint()),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ],
    );
    assert_whole(&collector, "endpoint by code");
}

#[test]
fn none_is_exported_where_the_environment_says_none_and_sessions_go_on() {
    let collector = DevCollector::start().unwrap();
    let endpoint = collector.otlp_http_endpoint();
    let told = child("no runtime", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_TRACES_EXPORTER", "none")]);
    assert_eq!((told.value("current"), told.value("losses")), ("true", "none"));
    let stream = collector.stream();
    assert_eq!((stream.spans().len(), stream.logs().len()), (0, 4));
    assert!(!logged(&stream).trace_id.is_empty(), "logs still belong to their traces");
}

#[test]
fn whoever_wants_no_telemetry_gets_none_and_the_program_runs() {
    for (name, value) in [("DO_NOT_TRACK", "1"), ("DO_NOT_TRACK", "yes"), ("OTEL_SDK_DISABLED", "TRUE")] {
        let collector = DevCollector::start().unwrap();
        let endpoint = collector.otlp_http_endpoint();
        let told = child("no runtime", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), (name, value)]);
        assert_eq!((told.value("enabled"), told.value("current")), ("false", "false"), "{name}={value}");
        assert_eq!((told.value("shutdown"), told.value("losses")), ("ok", "none"));
        assert!(told.stderr.contains("logged"), "logs still go to standard error");
        assert_eq!(collector.stream().requests(), 0);
    }
    for value in ["", "0", "false"] {
        let told =
            child("no runtime", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("DO_NOT_TRACK", value)]);
        assert_eq!(told.value("enabled"), "true", "DO_NOT_TRACK={value}");
    }
}

#[test]
fn a_program_without_telemetry_passes_the_contexts_of_others_on_unless_nobody_is_to_be_tracked() {
    let off = ("OTEL_TRACES_EXPORTER", "none");
    for (variables, enabled, same) in [
        (&[("OTEL_SDK_DISABLED", "true")][..], "false", "true"),
        (&[("OTEL_SDK_DISABLED", "true"), ("OTEL_PROPAGATORS", "none")], "false", "false"),
        (&[("DO_NOT_TRACK", "1")], "false", "false"),
        (&[off, ("OTEL_LOGS_EXPORTER", "none")], "true", "true"),
    ] {
        let told = child("propagated", variables);
        assert_eq!((told.value("enabled"), told.value("the same")), (enabled, same), "{variables:?}");
        assert_ne!(told.value("the same"), told.value("nothing"), "all or nothing: {variables:?}");
    }
}

#[test]
fn exports_do_not_feed_themselves_whatever_is_logged() {
    for (protocol, case) in [("grpc", "multi thread"), ("http/protobuf", "no runtime")] {
        let collector = DevCollector::start().unwrap();
        let endpoint = if protocol == "grpc" { collector.otlp_grpc_endpoint() } else { collector.otlp_http_endpoint() };
        let told = child(
            case,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("RUST_LOG", "trace"),
            ],
        );
        assert!(told.stderr.contains("hyper"), "the plumbing logs to standard error:\n{}", told.stderr);
        assert_whole(&collector, protocol);
    }
}

#[test]
fn what_outlives_the_guard_goes_on_without_harm() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = DevCollector::start().unwrap();
        let endpoint = if protocol == "grpc" { collector.otlp_grpc_endpoint() } else { collector.otlp_http_endpoint() };
        let told = child(
            "used afterwards",
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)],
        );
        assert_eq!(told.value("after"), "false");
        assert_whole(&collector, protocol);
    }
}

/// Three spans, one event, two logs and the session's two records, all of one session, and nothing else.
fn assert_whole(collector: &DevCollector, case: &str) {
    assert!(
        collector.wait_until(DEADLINE, |stream| stream.spans().len() >= 3 && stream.logs().len() >= 4),
        "{case}: {:?}",
        collector.stream()
    );
    let stream = collector.stream();
    let names: std::collections::BTreeSet<_> = stream.spans().iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["started", "started globally", "traced"], "{case}");
    assert_eq!((stream.spans().len(), stream.logs().len()), (3, 4), "{case}: {}", stream.to_json_lines());
    let sessions = stream.sessions();
    assert_eq!(sessions.len(), 1, "{case}");
    let signals = stream.by_session(&sessions[0].id);
    assert_eq!((signals.spans.len(), signals.events.len(), signals.logs.len()), (3, 1, 4), "{case}");
    assert!(stream.problems().is_empty(), "{case}: {:?}", stream.problems());
    assert_eq!(logged(&stream).scope.name, "setup::child");
}

fn logged(stream: &Stream) -> &otel_session::collector::Log {
    stream.logs().iter().find(|log| log.scope.name == "setup::child").expect("the log from tracing")
}

fn resource(collector: &DevCollector, key: &str) -> String {
    assert!(collector.wait_until(DEADLINE, |stream| stream.spans().len() == 3));
    let stream = collector.stream();
    stream.spans()[0].resource.attributes.get(key).and_then(Value::as_str).expect("the attribute").to_owned()
}
