//! What is decided from code and variables, without touching the process's environment.

use std::ffi::OsString;
use std::time::Duration;

use super::destination::{Destination, LOGS, Otlp, SPANS, Wishes, shown};
use super::environment::{Environment, pairs};
use super::export::{is_near, metadata};
use super::resource::resource;
use super::subscriber::colours;
use super::{Protocol, SetupError, setup};

/// What the variables decide about spans and logs, or the message.
fn resolved(variables: &[(&str, &str)]) -> Result<[Destination; 2], String> {
    with(variables, |environment| {
        let spans = Destination::resolve(&SPANS, &Wishes::default(), environment)?;
        Ok([spans, Destination::resolve(&LOGS, &Wishes::default(), environment)?])
    })
}

fn with<T>(
    variables: &[(&str, &str)],
    decide: impl FnOnce(&Environment<'_>) -> Result<T, SetupError>,
) -> Result<T, String> {
    let read = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(*value))
    };
    decide(&Environment(&read)).map_err(|error| error.to_string())
}

fn otlp(destination: &Destination) -> (Protocol, &str, Duration) {
    match destination {
        Destination::Otlp(Otlp { protocol, endpoint, timeout, .. }) => (*protocol, endpoint.as_str(), *timeout),
        Destination::Nowhere => panic!("it goes nowhere"),
    }
}

#[test]
fn without_variables_both_signals_go_to_this_host_over_http() {
    let [spans, logs] = resolved(&[]).unwrap();
    let ten = Duration::from_secs(10);
    assert_eq!(otlp(&spans), (Protocol::HttpProtobuf, "http://localhost:4318/v1/traces", ten));
    assert_eq!(otlp(&logs), (Protocol::HttpProtobuf, "http://localhost:4318/v1/logs", ten));
    let [spans, logs] = resolved(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
    assert_eq!((otlp(&spans).1, otlp(&logs).1), ("http://localhost:4317", "http://localhost:4317"));
}

#[test]
fn a_signals_own_variable_wins_and_its_endpoint_is_used_as_it_is() {
    let [spans, logs] = resolved(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/base/"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://[::1]:2/own?tenant=3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
    ])
    .unwrap();
    assert_eq!((otlp(&spans).1, otlp(&spans).2), ("http://all:1/base/v1/traces", Duration::from_secs(2)));
    assert_eq!((otlp(&logs).1, otlp(&logs).2), ("http://[::1]:2/own?tenant=3", Duration::from_secs(1)));
    for endpoint in ["http://collector_1.local", "http://10.0.0.1:4318/", "http://127.1:4318", "http://host:1/a|b"] {
        assert!(resolved(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).is_ok(), "{endpoint}");
    }
}

#[test]
fn the_zone_of_an_address_is_for_grpc_since_the_http_client_knows_none() {
    let zone = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://[fe80::1%eth0]:4317");
    assert!(resolved(&[zone, ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")]).is_ok());
    let error = resolved(&[zone]).unwrap_err();
    assert_eq!(
        error,
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://[fe80::1%eth0]:4317: has an address with a zone, which works over grpc only; \
         leave the zone out, or use grpc"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_LOGS_EXPORTER"];
    let empty: Vec<_> = empty.into_iter().map(|name| (name, "")).collect();
    assert_eq!(resolved(&empty), resolved(&[]));
}

#[test]
fn a_value_that_cannot_work_is_an_error_that_names_it() {
    let cases = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "no scheme; write http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318", "needs TLS"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector", "write http://host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318", "no host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:0", "from 1 to 65535"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:99999", "from 1 to 65535"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ho st:1", "characters"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://::1:4318", "in brackets"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1:4318", "in brackets"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]4318", "in brackets"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318,two:4318", "no valid host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ho%20st:4318", "no valid host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://256.0.0.1:4318", "no valid host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.1.2:4318", "no valid host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://xn--:4318", "no valid host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:4318/<tenant>", "characters"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:4318/`tenant`", "characters"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:+80", "from 1 to 65535"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector", "no scheme"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "use http/protobuf"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "udp", "use http/protobuf or grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "whole number"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "more than zero"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", "whole number"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "99999999999", "longer than an hour"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "use gzip or none"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "use otlp or none"),
        ("OTEL_LOGS_EXPORTER", "otlp,none", "use otlp or none"),
        ("OTEL_LOGS_EXPORTER", "  ", "blanks only"),
    ];
    for (name, value, expected) in cases {
        let error = resolved(&[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name}=")) && error.contains(expected), "{error}");
        assert!(value.trim().is_empty() || error.contains(value), "{error}");
    }
}

#[test]
fn a_general_value_that_cannot_work_is_told_even_if_a_signals_own_one_wins() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ];
    assert!(resolved(&variables).unwrap_err().starts_with("OTEL_EXPORTER_OTLP_TIMEOUT=soon"));
}

#[test]
fn what_the_sdk_would_ignore_is_an_error() {
    for (name, value) in [
        ("OTEL_BSP_SCHEDULE_DELAY", "fast"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-3"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        // The SDK would panic.
        ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "1048577"),
    ] {
        let error = with(&[(name, value)], |it| it.check_sdk()).unwrap_err();
        assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
    }
    let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
    assert!(with(&[ratio, ("OTEL_TRACES_SAMPLER_ARG", "0.25")], |it| it.check_sdk()).is_ok());
    assert!(with(&[ratio, ("OTEL_TRACES_SAMPLER_ARG", "2")], |it| it.check_sdk()).is_err());
}

#[test]
fn a_value_that_the_sdk_would_not_understand_for_the_blanks_around_it_is_an_error() {
    for (name, value) in [
        ("OTEL_BSP_SCHEDULE_DELAY", " 100"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "4096\n"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "\t1"),
        ("OTEL_TRACES_SAMPLER", "always_off "),
    ] {
        let error = with(&[(name, value)], |it| it.check_sdk()).unwrap_err();
        assert_eq!(
            error,
            format!(
                "{name}={}: has blanks around it, with which the SDK does not understand it; leave them out",
                value.trim()
            )
        );
    }
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", " 0.5")];
    assert!(with(&ratio, |it| it.check_sdk()).is_err());
    assert!(resolved(&[("OTEL_EXPORTER_OTLP_TIMEOUT", " 100 ")]).is_ok(), "those that are read here may have them");
}

#[test]
fn headers_are_checked_and_never_shown() {
    for value in ["token", "=secret", "a b=secret", "key=", "key=%zz", "key=secret\u{e9}", "key=%0Asecret"] {
        let error = resolved(&[("OTEL_EXPORTER_OTLP_HEADERS", value)]).unwrap_err();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS=(not shown): entry 1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(resolved(&[("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization=Bearer%20x, x-team=shop,")]).is_ok());
}

#[test]
fn an_empty_variable_of_a_signal_does_not_hide_the_headers_of_all() {
    let all = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20secret");
    let [spans, logs] =
        resolved(&[all, ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""), ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-team=shop")])
            .unwrap();
    let [Destination::Otlp(spans), Destination::Otlp(logs)] = [spans, logs] else { panic!("both are exported") };
    let (spans_have, logs_have) = (metadata(&spans.headers), metadata(&logs.headers));
    assert_eq!(spans_have.get("authorization").unwrap(), "Bearer secret");
    assert_eq!((logs_have.len(), logs_have.get("x-team").unwrap().to_str().unwrap()), (1, "shop"));
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
}

#[test]
fn a_password_in_an_endpoint_is_never_shown() {
    assert_eq!(shown("http://user:secret@host:1/v1/logs?key=secret"), "http://***@host:1/v1/logs");
    // Neither is one that should have been encoded.
    for endpoint in ["http://user:sec?ret@host:1", "http://user:sec/ret?@host", "user:sec?ret@host:1"] {
        let error = resolved(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", endpoint)]).unwrap_err();
        assert!(!error.contains("sec"), "{error}");
    }
    let setup = setup().with_endpoint("http://user:secret@host:0");
    assert!(!format!("{setup:?}").contains("secret"));
    let error = with(&[], |environment| setup.plan(environment).map(|_| ())).unwrap_err();
    assert!(error.starts_with("with_endpoint(http://***@host:0): "), "{error}");
}

#[test]
fn a_user_in_an_endpoint_is_refused_since_no_exporter_sends_it() {
    for endpoint in ["http://user:secret@host:4318", "http://token@host/base", "http://@[::1]:4318"] {
        let error = resolved(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap_err();
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("secret"), "{error}");
        assert!(resolved(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", endpoint)]).is_err());
    }
    assert!(resolved(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://host/v1/logs?for=me@shop")]).is_ok());
}

#[test]
fn settings_in_code_that_cannot_work_are_errors_that_name_them() {
    use opentelemetry::KeyValue;
    let cases = [
        (setup().with_service_name(""), "with_service_name(\"\")"),
        (setup().with_service_name(" \t"), "with_service_name(\" \\t\")"),
        (setup().with_resource_attributes([KeyValue::new("", 1)]), "with_resource_attributes(\"\")"),
        (
            setup().with_resource_attributes([KeyValue::new("service.name", "")]),
            "with_resource_attributes(\"service.name\")",
        ),
        (setup().with_endpoint("collector:4317"), "with_endpoint(collector:4317)"),
        (setup().with_endpoint(""), "with_endpoint(): is empty; write http://host:port"),
        (setup().with_export_timeout(Duration::ZERO), "with_export_timeout(0ns)"),
        (setup().with_export_timeout(Duration::MAX), "with_export_timeout("),
    ];
    for (setup, expected) in cases {
        let error = with(&[], |environment| setup.plan(environment).map(|_| ())).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn only_an_express_wish_disables() {
    let disabled = |name, value| with(&[(name, value)], |it| it.disabled());
    assert!(["1", "true", "yes", "on"].iter().all(|value| disabled("DO_NOT_TRACK", value) == Ok(true)));
    assert!(["", " ", "0", "false", "FALSE"].iter().all(|value| disabled("DO_NOT_TRACK", value) == Ok(false)));
    assert_eq!(disabled("OTEL_SDK_DISABLED", "True"), Ok(true));
    assert_eq!(disabled("OTEL_SDK_DISABLED", "false"), Ok(false));
    assert!(
        disabled("OTEL_SDK_DISABLED", "1").unwrap_err().starts_with("OTEL_SDK_DISABLED=1: is neither true nor false")
    );
}

#[test]
fn lines_are_coloured_on_terminals_unless_no_color_is_set() {
    let coloured = |variables: &[_], terminal| with(variables, |it| Ok(colours(it, terminal))).unwrap();
    assert!(coloured(&[], true) && coloured(&[("NO_COLOR", "")], true));
    assert!(!coloured(&[], false) && !coloured(&[("NO_COLOR", "1")], true));
}

#[test]
fn an_endpoint_is_on_this_machine_by_its_name() {
    for near in [
        "http://localhost:4318/v1/logs",
        "http://LOCALHOST.",
        "http://a.localhost",
        "http://127.1.2.3",
        "http://[::1]:1",
    ] {
        assert!(is_near(near), "{near}");
    }
    for far in ["http://collector:4318", "http://localhost.example", "http://10.0.0.1", "http://[fe80::1]:1"] {
        assert!(!is_near(far), "{far}");
    }
}

#[test]
fn a_key_of_a_resource_attribute_that_is_none_is_refused() {
    for value in ["a%=1", "a%ff=1", "%20=1"] {
        let error = with(&[("OTEL_RESOURCE_ATTRIBUTES", value)], |it| resource(None, Vec::new(), it)).unwrap_err();
        assert!(error.starts_with(&format!("OTEL_RESOURCE_ATTRIBUTES={value}: ")), "{error}");
    }
}

#[test]
fn the_case_of_a_word_that_is_read_here_does_not_matter() {
    let [spans, logs] = resolved(&[
        ("OTEL_TRACES_EXPORTER", "None"),
        ("OTEL_LOGS_EXPORTER", "OTLP"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZip"),
    ])
    .unwrap();
    assert_eq!((spans, otlp(&logs).0), (Destination::Nowhere, Protocol::Grpc));
    for text in ["TraceContext,Baggage", "NONE"] {
        let installed = with(&[("OTEL_PROPAGATORS", text)], |it| setup().plan(it)).unwrap().propagators.len();
        assert_eq!(installed, if text == "NONE" { 0 } else { 2 });
    }
}

#[test]
fn pairs_are_percent_decoded() {
    assert_eq!(pairs("a=1,b = x%20y ,").unwrap(), [("a".into(), "1".into()), ("b".into(), "x y".into())]);
    assert!(pairs("a=%f").is_err() && pairs("a=%ff").is_err(), "half a digit, half a character");
}
