//! What `install()` refuses, and what its messages say. The many values of variables are tested beside the code.

use otel_session::collector::DevCollector;

use crate::child;

#[test]
fn a_second_install_is_an_error_and_leaves_the_first_as_it_is() {
    let collector = DevCollector::start().unwrap();
    let told = child("twice", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint())]);
    assert!(told.value("error").contains("installed in this process already"), "{}", told.value("error"));
    assert_eq!((told.value("shutdown"), told.value("again")), ("ok", "ok"));
    assert!(told.value("later").contains("installed in this process already"));
    assert!(collector.stream().problems().is_empty());
}

#[test]
fn what_was_refused_can_be_corrected() {
    let collector = DevCollector::start().unwrap();
    let told = child("corrected", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint())]);
    assert!(told.value("error").contains("with_service_name"), "{}", told.value("error"));
    assert_eq!(told.value("losses"), "none");
}

#[test]
fn a_subscriber_that_is_set_already_is_an_error_before_anything_starts() {
    let told = child("with a subscriber", &[]);
    assert!(told.value("error").contains("global tracing subscriber is set already"), "{}", told.value("error"));
}

#[test]
fn a_subscriber_that_one_thread_had_for_a_while_is_none_of_the_process() {
    let collector = DevCollector::start().unwrap();
    let told = child("after a scoped subscriber", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http_endpoint())]);
    assert_eq!((told.value("shutdown"), told.value("losses")), ("ok", "none"));
    assert!(collector.stream().spans().iter().any(|span| span.name == "traced"));
}

#[test]
fn a_variable_that_cannot_be_understood_is_named_with_its_value() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ("RUST_LOG", "info=[broken"),
    ] {
        let told = child("install only", &[(name, value)]);
        let error = told.value("error");
        assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
    }
}
