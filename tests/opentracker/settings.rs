//! What the builder refuses, and in which words.

use std::time::Duration;

use otel_session::export::RetryPolicy;
use otel_session::{OpentrackerExporter, OpentrackerExporterBuilder};

use crate::builder;

#[track_caller]
fn refused(builder: OpentrackerExporterBuilder, setting: &str) -> String {
    let message = builder.build().unwrap_err().to_string();
    assert!(message.starts_with(setting), "{message}");
    message
}

fn local() -> OpentrackerExporterBuilder {
    builder("http://127.0.0.1:1")
}

#[test]
fn a_site_is_required() {
    refused(OpentrackerExporter::builder().with_endpoint("http://127.0.0.1:1"), "with_site");
    for site in ["", "a b", "a\nb", "https://example.com", &"x".repeat(256)] {
        refused(local().with_site(site), "with_site");
    }
}

#[test]
fn what_cannot_work_is_refused_by_the_name_of_its_setting() {
    for endpoint in ["", "http://", "ftp://example.com", "http://a?b=c"] {
        refused(local().with_endpoint(endpoint), "with_endpoint");
    }
    refused(local().with_retry(RetryPolicy::new().with_retry_code(204, true)), "with_retry_code");
    refused(local().with_request_timeout(Duration::ZERO), "with_request_timeout");
    refused(local().with_connect_timeout(Duration::ZERO), "with_connect_timeout");
    refused(local().with_max_age(Duration::ZERO), "with_max_age");
    for bytes in [0, 999, 60_001] {
        refused(local().with_max_get_bytes(bytes), "with_max_get_bytes");
    }
    for bytes in [0, 8_191, 900_001] {
        refused(local().with_max_event_bytes(bytes), "with_max_event_bytes");
    }
    for requests in [0, 65] {
        refused(local().with_max_in_flight(requests), "with_max_in_flight");
    }
    for namespace in ["", "a\u{1}"] {
        refused(local().with_namespace(namespace), "with_namespace");
    }
    refused(local().with_resource_attribute("größe"), "with_resource_attribute");
    refused(local().with_opt_out_file(""), "with_opt_out_file");
    assert!(local().build().is_ok());
}

#[test]
fn property_names_with_spaces_other_letters_or_a_reserved_meaning_are_refused() {
    for name in ["a b", "größe", "", "a\tb", "sid", "SID", "eid", "proxy", "unixtimestamp", "ots", "otui"] {
        refused(local().with_property(name, "x"), "with_property");
        refused(local().with_renamed_attribute("url.full", name), "with_renamed_attribute");
    }
}

#[test]
fn the_value_of_a_header_is_never_shown() {
    let secret = "hunter2\n";
    let message = refused(local().with_custom_header("X-Key", secret), "with_custom_header");
    assert!(!message.contains("hunter2"), "{message}");
    for name in ["Content-Type", "host", "a b"] {
        refused(local().with_custom_header(name, "x"), "with_custom_header");
    }
    let debugged = format!("{:?}", local().with_custom_header("X-Key", "hunter2"));
    assert!(debugged.contains("X-Key") && !debugged.contains("hunter2"), "{debugged}");
    let debugged = format!("{:?}", local().with_endpoint("https://ada:hunter2@host/x?key=hunter2"));
    assert!(debugged.contains("host/x") && !debugged.contains("hunter2"), "{debugged}");
    let exporter = local().with_custom_header("X-Key", "hunter2").build().unwrap();
    assert!(!format!("{exporter:?}").contains("hunter2"));
}

#[cfg(not(feature = "tls"))]
#[test]
fn the_default_endpoint_needs_tls_and_says_so() {
    let message = refused(OpentrackerExporter::builder().with_site("example.com"), "with_endpoint");
    assert!(message.contains("log.opentracker.net") && message.contains("tls"), "{message}");
}
