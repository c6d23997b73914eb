//! Collectors that are not there, do not answer, or want a token.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use crate::{DEADLINE, child};

#[test]
fn an_endpoint_that_cannot_be_reached_is_told_once_a_signal_and_its_losses_are_counted() {
    for protocol in ["http/protobuf", "grpc"] {
        // Bound and closed again: nobody listens there.
        let endpoint = endpoint_of(&TcpListener::bind("127.0.0.1:0").unwrap());
        let told = child(
            "current thread",
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)],
        );
        assert_ne!(told.value("shutdown"), "ok");
        assert_eq!(told.value("losses"), "lifecycle_export: 2, span_export: 3, log_export: 2", "{protocol}");
        for signal in ["spans cannot be exported to", "logs cannot be exported to"] {
            assert_eq!(told.stderr.matches(signal).count(), 1, "{protocol}: {}", told.stderr);
        }
        assert!(told.stderr.contains(&endpoint));
        // The SDK has an error for each batch, which would say the same again and again.
        assert!(!told.stderr.contains("ExportError"), "{protocol}: {}", told.stderr);
    }
}

#[test]
fn a_shutdown_tells_of_each_signal_that_could_not_be_exported() {
    let endpoint = endpoint_of(&TcpListener::bind("127.0.0.1:0").unwrap());
    for (other, signal) in [("OTEL_LOGS_EXPORTER", "spans: "), ("OTEL_TRACES_EXPORTER", "logs: ")] {
        let told = child("no runtime", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), (other, "none")]);
        assert!(told.value("shutdown").contains(signal), "{}", told.value("shutdown"));
    }
}

#[test]
fn what_the_sdk_says_of_each_batch_of_an_outage_is_not_told_again() {
    let told = child("what the SDK says", &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")]);
    assert!(!told.stderr.contains("said for a batch"), "{}", told.stderr);
    assert!(told.stderr.contains("said about the queue"), "{}", told.stderr);
}

#[test]
fn a_collector_that_never_answers_keeps_nobody_waiting() {
    // The system accepts connections for it, and nothing ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = endpoint_of(&silent);
    for protocol in ["http/protobuf", "grpc"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let told = child("in a hurry", &variables);
        let passed: u128 = told.value("milliseconds").parse().unwrap();
        assert!((400..3_000).contains(&passed), "{protocol}: 500 ms became {passed}");
        assert!(told.value("shutdown").contains("longer than 500ms"), "{}", told.value("shutdown"));

        for case in ["current thread, dropped", "no runtime, dropped"] {
            let told = child(case, &variables);
            let passed: u128 = told.value("milliseconds").parse().unwrap();
            assert!(passed < 6_000, "{protocol}, {case}: {passed} ms");
        }
    }
}

#[test]
fn exporters_that_do_not_end_share_one_bound() {
    let nowhere = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")];
    for (case, told) in [
        ("exporters that do not end", "flushing took longer than 2s; allow more time"),
        ("exporters that do not end, dropped", ""),
    ] {
        let child = child(case, &nowhere);
        let milliseconds: u64 = child.value("milliseconds").parse().unwrap();
        assert!(milliseconds < 5_000, "{case}: {milliseconds} ms, where each alone may take all of the time");
        assert_eq!(child.values.get("shutdown").map_or("", String::as_str), told, "{case}");
    }
}

#[test]
fn headers_reach_the_collector_and_are_never_shown() {
    const SECRET: &str = "c2VjcmV0 t0ken";
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("{}/v1/logs?key=hunter2", endpoint_of(&server));
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || server.incoming().flatten().for_each(|stream| _ = heads.send(refuse(stream))));
    let told = child(
        "no runtime",
        &[
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &endpoint),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20c2VjcmV0%20t0ken,x-team=shop"),
        ],
    );
    let head = received.recv_timeout(DEADLINE).unwrap();
    assert!(head.contains(&format!("authorization: Bearer {SECRET}")), "{head}");
    assert!(head.contains("x-team: shop"), "{head}");
    let shown = format!("{}{:?}", told.stderr, told.values);
    assert!(shown.contains("cannot be exported to http://127.0.0.1"), "{shown}");
    assert!(!shown.contains("t0ken") && !shown.contains("hunter2"), "{shown}");

    let told = child("install only", &[("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer t0ken")]);
    assert_eq!(
        told.value("error"),
        "OTEL_EXPORTER_OTLP_HEADERS=(not shown): entry 1 has no '='; write name=value,name=value"
    );
}

#[test]
fn an_empty_variable_of_a_signal_does_not_hide_the_headers_of_all() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = endpoint_of(&server);
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || server.incoming().flatten().for_each(|stream| _ = heads.send(refuse(stream))));
    child(
        "no runtime",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=t0ken%252D"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""),
            ("OTEL_LOGS_EXPORTER", "none"),
        ],
    );
    let head = received.recv_timeout(DEADLINE).unwrap();
    assert!(head.contains("/v1/traces") && head.contains("authorization: t0ken%2D\r"), "{head}");
}

/// Reads one request and says 400; returns its head.
fn refuse(stream: std::net::TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let _ = reader.by_ref().take(length).read_to_end(&mut Vec::new());
    let _ = reader.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    head
}

fn endpoint_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}
