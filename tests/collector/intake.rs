//! What goes in comes out, on every protocol; what the protocol refuses is refused in its own words.

use std::time::Duration;

use otel_session::collector::{DevCollector, Refusal, SpanKind, SpanStatus, Stream, Value};
use serde_json::{Value as Json, json};

use crate::client::{LOGS, METRICS, TRACES, call, exchange, post, post_json, post_protobuf};
use crate::story::{clean_logs, log, send_logs};
use crate::wire::{
    EPOCH, bytes, frame, full_log, full_span, gzip, json_logs, json_traces, metrics_request, nested, pair, request,
};

#[test]
fn every_field_of_a_log_arrives_over_protobuf() {
    let collector = DevCollector::start().expect("a collector");
    let reply = post_protobuf(&collector.otlp_http_endpoint(), "/v1/logs", &request(&[full_log()]));
    assert_eq!((reply.status, reply.body.len()), (200, 0), "an empty message");
    assert!(reply.head.contains("content-type: application/x-protobuf"), "{}", reply.head);
    check_full_log(&collector.stream());
}

#[test]
fn every_field_of_a_span_arrives_over_protobuf() {
    let collector = DevCollector::start().expect("a collector");
    assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/traces", &request(&[full_span()])).status, 200);
    check_full_span(&collector.stream());
}

#[test]
fn every_field_arrives_over_grpc_plain_and_compressed() {
    for encoding in [None, Some("identity"), Some("gzip")] {
        let collector = DevCollector::start().expect("a collector");
        let framed = |message: Vec<u8>| match encoding {
            Some("gzip") => frame(1, &gzip(&message)),
            _ => frame(0, &message),
        };
        for (path, body) in [(LOGS, request(&[full_log()])), (TRACES, request(&[full_span()]))] {
            let reply = call(&collector.otlp_grpc_endpoint(), path, encoding, framed(body));
            assert_eq!(reply.status, Some(0), "{encoding:?}: {}", reply.message);
            assert!(reply.trailers, "a success ends in trailers");
            assert_eq!(&reply.body[..], [0; 5], "an empty message in a frame");
        }
        check_full_log(&collector.stream());
        check_full_span(&collector.stream());
    }
}

#[test]
fn both_ports_serve_both_protocols() {
    let collector = DevCollector::start().expect("a collector");
    assert_eq!(call(&collector.otlp_http_endpoint(), LOGS, None, frame(0, &request(&[full_log()]))).status, Some(0));
    assert_eq!(post_protobuf(&collector.otlp_grpc_endpoint(), "/v1/logs", &request(&[full_log()])).status, 200);
    assert_eq!(collector.stream().logs().len(), 2);
}

#[test]
fn a_compressed_http_body_is_unpacked() {
    let collector = DevCollector::start().expect("a collector");
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n";
    let reply = post(&collector.otlp_http_endpoint(), "/v1/logs", headers, &gzip(&request(&[full_log()])));
    assert_eq!(reply.status, 200);
    check_full_log(&collector.stream());
}

#[test]
fn types_and_encodings_are_read_whatever_their_case_and_parameters() {
    let collector = DevCollector::start().expect("a collector");
    let (plain, packed) = (request(&[full_log()]), gzip(&request(&[full_log()])));
    for (headers, body) in [
        ("Content-Type: Application/X-Protobuf; charset=utf-8\r\n", &plain),
        ("Content-Type: application/x-protobuf\r\nContent-Encoding: identity\r\n", &plain),
        ("Content-Type: application/x-protobuf\r\nContent-Encoding: GZIP\r\n", &packed),
    ] {
        assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, body).status, 200, "{headers}");
    }
    assert_eq!(collector.stream().logs().len(), 3);
}

#[test]
fn a_compressed_body_of_several_members_is_unpacked_to_its_end() {
    let collector = DevCollector::start().expect("a collector");
    // Two messages after one another are one with the records of both, and so are two gzip members.
    let member = gzip(&request(&[full_log()]));
    let both = [member.clone(), member.clone()].concat();
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n";
    assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, &both).status, 200);
    assert_eq!(collector.stream().logs().len(), 2);
    assert_eq!(call(&collector.otlp_grpc_endpoint(), LOGS, Some("gzip"), frame(1, &both)).status, Some(0));
    assert_eq!(collector.stream().logs().len(), 4);
    let cut = &both[..both.len() - 1];
    assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, cut).status, 400);
    let trailing = [&member[..], b"more"].concat();
    assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, &trailing).status, 400);
    assert_eq!(collector.stream().logs().len(), 4);
}

#[test]
fn json_lines_carry_everything_and_json_reads_it_back_the_same() {
    let first = DevCollector::start().expect("a collector");
    let (http, logs, spans) = (first.otlp_http_endpoint(), request(&[full_log()]), request(&[full_span()]));
    assert_eq!(post_protobuf(&http, "/v1/logs", &logs).status, 200);
    assert_eq!(post_protobuf(&http, "/v1/traces", &spans).status, 200);
    let first = first.stream();
    let lines = first.to_json_lines();
    let lines: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(lines.iter().map(|line| &line["kind"]).collect::<Vec<_>>(), ["log", "span"]);
    assert_eq!(lines[0]["timeUnixNano"], EPOCH.to_string());
    assert_eq!(lines[1]["traceId"], "ab".repeat(16));

    let second = DevCollector::start().expect("a collector");
    let (log, mut span) = (lines[0].clone(), lines[1].clone());
    span["kind"] = span["spanKind"].take();
    let logs = json!({ "resourceLogs": [{
        "resource": log["resource"], "schemaUrl": log["resource"]["schemaUrl"],
        "scopeLogs": [{ "scope": log["scope"], "schemaUrl": log["scope"]["schemaUrl"], "logRecords": [log] }],
    }] });
    let spans = json!({ "resourceSpans": [{
        "resource": span["resource"], "schemaUrl": span["resource"]["schemaUrl"],
        "scopeSpans": [{ "scope": span["scope"], "schemaUrl": span["scope"]["schemaUrl"], "spans": [span] }],
    }] });
    for (path, body) in [("/v1/logs", logs), ("/v1/traces", spans)] {
        let reply = post_json(&second.otlp_http_endpoint(), path, &body);
        assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
    }
    assert_eq!(second.stream().logs(), first.logs());
    assert_eq!(second.stream().spans(), first.spans());
}

#[test]
fn numbers_that_json_has_no_word_for_are_exported_as_otlp_writes_them_and_read_back() {
    let collector = DevCollector::start().expect("a collector");
    let words = ["NaN", "Infinity", "-Infinity"];
    let bodies = words.map(|word| json!({ "timeUnixNano": "1", "body": { "doubleValue": word } }));
    let reply = post_json(&collector.otlp_http_endpoint(), "/v1/logs", &json_logs("shop", &bodies));
    assert_eq!(reply.status, 200);
    let stream = collector.stream();
    let numbers: Vec<_> = stream.logs().iter().filter_map(|log| log.body.as_ref()?.as_f64()).collect();
    assert!(numbers[0].is_nan() && numbers[1..] == [f64::INFINITY, f64::NEG_INFINITY], "{numbers:?}");
    let lines = stream.to_json_lines();
    let written =
        lines.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON")["body"]["doubleValue"].clone());
    assert_eq!(written.collect::<Vec<_>>(), words);
}

#[test]
fn each_kind_of_span_is_known_and_a_new_one_is_unspecified() {
    let collector = DevCollector::start().expect("a collector");
    let spans: Vec<_> = (0..7).map(|kind| json!({ "name": "work", "kind": kind })).collect();
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/traces", &json_traces("shop", &spans)).status, 200);
    let stream = collector.stream();
    let kinds: Vec<_> = stream.spans().iter().map(|span| span.kind).collect();
    use SpanKind::{Client, Consumer, Internal, Producer, Server, Unspecified};
    assert_eq!(kinds, [Unspecified, Internal, Server, Client, Producer, Consumer, Unspecified]);
}

#[test]
fn json_numbers_may_be_strings_or_numbers_and_null_is_absence() {
    let collector = DevCollector::start().expect("a collector");
    let attributes = json!([
        { "key": "big", "value": { "intValue": "9223372036854775807" } },
        { "key": "small", "value": { "intValue": -3 } },
        { "key": "nan", "value": { "doubleValue": "NaN" } },
        { "key": "half", "value": { "doubleValue": 0.5 } },
        { "key": "nothing", "value": null },
        { "key": "bytes", "value": { "bytesValue": "AQL/" } },
    ]);
    send_logs(&collector, &[json!({ "timeUnixNano": 12, "body": null, "attributes": attributes, "unknown": [1] })]);
    let stream = collector.stream();
    let log = &stream.logs()[0];
    assert_eq!((log.time_unix_nanos, &log.body), (12, &None));
    assert_eq!(log.attributes.get("big").and_then(Value::as_i64), Some(i64::MAX));
    assert_eq!(log.attributes.get("small").and_then(Value::as_i64), Some(-3));
    assert!(log.attributes.get("nan").and_then(Value::as_f64).is_some_and(f64::is_nan));
    assert_eq!(log.attributes.get("half"), Some(&Value::Double(0.5)));
    assert_eq!(log.attributes.get("nothing"), Some(&Value::Empty));
    assert_eq!(log.attributes.get("bytes"), Some(&Value::Bytes(vec![1, 2, 255])));
}

#[test]
fn json_whole_numbers_may_have_a_fraction_of_zero_or_an_exponent() {
    let collector = DevCollector::start().expect("a collector");
    let http = collector.otlp_http_endpoint();
    let send = |number: &str| {
        let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":{number}}}]}}]}}]}}"#);
        post(&http, "/v1/logs", "Content-Type: application/json\r\n", body.as_bytes()).status
    };
    let whole = ["1.0", "1e3", "1.5E1", "\"1.0\"", "\"1e3\"", "18446744073709551615", "-0.0"];
    for number in whole {
        assert_eq!(send(number), 200, "{number}");
    }
    let times: Vec<_> = collector.stream().logs().iter().map(|log| log.time_unix_nanos).collect();
    assert_eq!(times, [1, 1_000, 15, 1, 1_000, u64::MAX, 0]);
    let refused = ["1.5", "1e-1", "-1.0", "1e20", "1e300", "\"1.5\"", "\"NaN\"", "\"inf\"", "\" 5\"", "\"\""];
    for number in refused {
        assert_eq!(send(number), 400, "{number}");
    }
    assert_eq!(collector.stream().logs().len(), whole.len());
}

#[test]
fn metrics_are_counted_and_not_kept() {
    let collector = DevCollector::start().expect("a collector");
    assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/metrics", &metrics_request()).status, 200);
    assert_eq!(call(&collector.otlp_grpc_endpoint(), METRICS, None, frame(0, &metrics_request())).status, Some(0));
    let json = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "name": "m", "gauge": {} }] }] }] });
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/metrics", &json).status, 200);
    let stream = collector.stream();
    assert_eq!((stream.metrics(), stream.requests(), stream.spans().len(), stream.logs().len()), (5, 3, 0, 0));
}

#[test]
fn an_empty_request_is_accepted() {
    let collector = DevCollector::start().expect("a collector");
    assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/logs", &[]).status, 200);
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/traces", &json!({})).status, 200);
    assert_eq!(call(&collector.otlp_grpc_endpoint(), TRACES, None, frame(0, &[])).status, Some(0));
    assert_eq!(collector.stream().requests(), 3);
}

#[test]
fn http_refuses_in_the_encoding_of_the_request_and_counts_the_reason() {
    let collector = DevCollector::start().expect("a collector");
    let http = collector.otlp_http_endpoint();
    let unknown = post_protobuf(&http, "/v1/nothing", &[]);
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.body[..3], [8, 5, 18], "a google.rpc.Status: code NOT_FOUND, then the message");
    let get = exchange(&http, b"GET /v1/logs HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_eq!(get.status, 405);
    assert!(get.head.contains("allow: post"), "{}", get.head);
    assert_eq!(post(&http, "/v1/logs", "Content-Type: text/plain\r\n", b"").status, 415);
    assert_eq!(post(&http, "/v1/logs", "", b"").status, 415);
    let zstd = "Content-Type: application/json\r\nContent-Encoding: zstd\r\n";
    assert_eq!(post(&http, "/v1/logs", zstd, b"").status, 415);
    let garbage = post_protobuf(&http, "/v1/logs", &[0xff; 40]);
    assert_eq!((garbage.status, &garbage.body[..3]), (400, &[8, 3, 18][..]));
    let json = post(&http, "/v1/logs", "Content-Type: application/json; charset=utf-8\r\n", b"{\"resourceLogs\":7}");
    let status: Json = serde_json::from_slice(&json.body).expect("a JSON status");
    assert_eq!((json.status, &status), (400, &json!({ "code": 3, "message": "resourceLogs is not an array" })));
    let not_gzip = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    assert_eq!(post(&http, "/v1/logs", not_gzip, b"{}").status, 400);

    let refusals = *collector.stream().refusals();
    assert_eq!(refusals.to_string(), "1 unknown path, 1 wrong method, 3 unknown media type, 3 malformed");
    assert_eq!((refusals.count(Refusal::UnknownMediaType), refusals.total()), (3, 8));
}

#[test]
fn grpc_refuses_with_a_status_of_its_own() {
    let collector = DevCollector::start().expect("a collector");
    let grpc = collector.otlp_grpc_endpoint();
    let status = |path: &str, encoding, body| {
        let reply = call(&grpc, path, encoding, body);
        assert!(!reply.trailers && !reply.message.is_empty(), "a refusal is headers alone, with a message");
        reply.status
    };
    assert_eq!(status("/some.Service/Method", None, frame(0, &[])), Some(12));
    assert_eq!(status(LOGS, Some("zstd"), frame(0, &[])), Some(12));
    assert_eq!(status(LOGS, None, frame(0, &[0xff; 40])), Some(3));
    assert_eq!(status(LOGS, None, Vec::new()), Some(3));
    assert_eq!(status(LOGS, None, vec![0, 0, 0, 0, 9, 1]), Some(3));
    assert_eq!(status(LOGS, None, [frame(0, &[]), frame(0, &[])].concat()), Some(3));
    assert_eq!(status(LOGS, None, frame(2, &[])), Some(3));
    assert_eq!(status(LOGS, Some("gzip"), frame(1, b"not gzip")), Some(3));
    assert_eq!(status(LOGS, None, frame(1, &gzip(&[]))), Some(13));
    assert_eq!(collector.stream().refusals().total(), 9);
}

#[test]
fn grpc_over_http_1_is_refused_since_its_status_could_not_be_sent() {
    let collector = DevCollector::start().expect("a collector");
    let headers = "Content-Type: application/grpc\r\n";
    assert_eq!(post(&collector.otlp_grpc_endpoint(), LOGS, headers, &frame(0, &[])).status, 404);
    assert_eq!(post(&collector.otlp_grpc_endpoint(), "/v1/logs", headers, &frame(0, &[])).status, 415);
}

#[test]
fn an_id_of_the_wrong_length_is_refused() {
    let collector = DevCollector::start().expect("a collector");
    let body = request(&[bytes(9, [1; 15])]);
    assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/logs", &body).status, 400);
    let body = json_logs("shop", &[json!({ "traceId": "xyz" })]);
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/logs", &body).status, 400);
    for (id, wrong) in [("traceId", "ab"), ("spanId", "ab"), ("parentSpanId", "ab"), ("parentSpanId", "abc")] {
        let body = json_traces("shop", &[json!({ id: wrong })]);
        assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/traces", &body).status, 400, "{id} {wrong}");
    }
}

#[test]
fn values_may_be_nested_a_bit_but_not_deeply() {
    let collector = DevCollector::start().expect("a collector");
    let http = collector.otlp_http_endpoint();
    let with = |depth| request(&[bytes(6, pair("deep", &nested(depth)))]);
    assert_eq!(post_protobuf(&http, "/v1/logs", &with(32)).status, 200);
    assert_eq!(post_protobuf(&http, "/v1/logs", &with(33)).status, 400);
    assert_eq!(post_protobuf(&http, "/v1/logs", &with(5_000)).status, 400);
    let json = |depth: usize| {
        let value = (0..depth).fold(json!({}), |inner, _| json!({ "arrayValue": { "values": [inner] } }));
        json_logs("shop", &[json!({ "attributes": [{ "key": "deep", "value": value }] })])
    };
    assert_eq!(post_json(&http, "/v1/logs", &json(32)).status, 200);
    assert_eq!(post_json(&http, "/v1/logs", &json(33)).status, 400);
    let brackets = format!("{{\"resourceLogs\":{}", "[".repeat(100_000));
    assert_eq!(post(&http, "/v1/logs", "Content-Type: application/json\r\n", brackets.as_bytes()).status, 400);
}

#[test]
fn waiting_ends_when_the_condition_holds_and_the_condition_may_use_the_collector() {
    let collector = DevCollector::start().expect("a collector");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for second in 0..5 {
                send_logs(&collector, &[log("s", second)]);
            }
        });
        let met = collector.wait_until(Duration::from_secs(30), |stream| {
            stream.logs().len() >= 5 && collector.stream().logs().len() >= stream.logs().len()
        });
        assert!(met);
    });
}

#[test]
fn waiting_ends_with_the_deadline_also_while_signals_arrive() {
    let collector = DevCollector::start().expect("a collector");
    assert!(!collector.wait_until(Duration::ZERO, |_| false));
    assert!(collector.wait_until(Duration::ZERO, |stream| stream.logs().is_empty()));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                send_logs(&collector, &[log("s", 1)]);
            }
        });
        assert!(!collector.wait_until(Duration::from_millis(50), |_| false));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn waiting_sees_refusals_too() {
    let collector = DevCollector::start().expect("a collector");
    std::thread::scope(|scope| {
        scope.spawn(|| post_protobuf(&collector.otlp_http_endpoint(), "/nothing", &[]));
        assert!(collector.wait_until(Duration::from_secs(30), |stream| stream.refusals().total() == 1));
    });
}

#[tokio::test]
async fn a_collector_works_inside_a_runtime_of_one_thread_and_may_be_dropped_there() {
    let collector = DevCollector::start().expect("a collector");
    let sender = std::thread::spawn({
        let http = collector.otlp_http_endpoint();
        move || post_json(&http, "/v1/logs", &json_logs("shop", &clean_logs())).status
    });
    assert!(collector.wait_until(Duration::from_secs(30), |stream| stream.logs().len() == 6));
    assert_eq!(sender.join().expect("the sender"), 200);
    drop(collector);
}

#[test]
fn a_dropped_collector_no_longer_listens_and_its_ports_are_free() {
    let collector = DevCollector::start().expect("a collector");
    let port = |endpoint: &str| endpoint.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let (grpc, http) = (port(&collector.otlp_grpc_endpoint()), port(&collector.otlp_http_endpoint()));
    let taken = DevCollector::builder().with_http_port(http).build().expect_err("the port is taken");
    assert!(taken.to_string().starts_with(&format!("with_http_port({http}): cannot listen")), "{taken}");
    drop(collector);
    assert!(std::net::TcpStream::connect(("127.0.0.1", grpc)).is_err());
    let again = DevCollector::builder().with_grpc_port(grpc).with_http_port(http).build().expect("free again");
    assert_eq!(again.otlp_grpc_endpoint(), format!("http://127.0.0.1:{grpc}"));
}

fn check_full_log(stream: &Stream) {
    let log = &stream.logs()[0];
    assert_eq!(log.resource.service_name(), Some("shop"));
    assert_eq!((log.resource.dropped_attributes, log.resource.schema_url.as_str()), (7, "https://resource.example/1"));
    assert_eq!((log.scope.name.as_str(), log.scope.version.as_str()), ("wire", "1.2"));
    assert_eq!((log.scope.dropped_attributes, log.scope.schema_url.as_str()), (1, "https://scope.example/1"));
    assert_eq!(log.scope.attributes.get("k").and_then(Value::as_str), Some("v"));
    assert_eq!((log.time_unix_nanos, log.observed_unix_nanos), (EPOCH, EPOCH + 1));
    assert_eq!((log.severity_number, log.severity_text.as_str()), (9, "INFO"));
    assert_eq!(log.body.as_ref().and_then(Value::as_str), Some("hello"));
    assert_eq!((log.session_id(), log.event_name.as_str()), (Some("s1"), "session.start"));
    assert_eq!(log.attributes.get("count"), Some(&Value::Int(-5)));
    assert_eq!(log.attributes.get("yes"), Some(&Value::Bool(true)));
    let list = Value::Array(vec![Value::String("one".into()), Value::Int(2)]);
    assert_eq!(log.attributes.get("list"), Some(&list));
    let map = [("inner".to_owned(), Value::Double(1.5))].into_iter().collect();
    assert_eq!(log.attributes.get("map"), Some(&Value::Map(map)));
    assert_eq!(log.attributes.get("raw"), Some(&Value::Bytes(vec![1, 2, 255])));
    assert_eq!(log.attributes.get("empty"), Some(&Value::Empty));
    assert_eq!((log.attributes.len(), log.dropped_attributes, log.flags), (7, 3, 1));
    assert_eq!((log.trace_id.as_str(), log.span_id.as_str()), (&*"ab".repeat(16), &*"cd".repeat(8)));
}

fn check_full_span(stream: &Stream) {
    let span = &stream.spans()[0];
    assert_eq!((span.trace_id.as_str(), span.span_id.as_str()), (&*"ab".repeat(16), &*"cd".repeat(8)));
    assert_eq!((span.parent_span_id.as_str(), span.trace_state.as_str()), (&*"ef".repeat(8), "vendor=1"));
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET /", SpanKind::Server, 257));
    assert_eq!((span.start_unix_nanos, span.end_unix_nanos), (EPOCH, EPOCH + 10));
    assert_eq!(span.session_id(), Some("s1"));
    assert_eq!((span.dropped_attributes, span.dropped_events, span.dropped_links), (4, 5, 6));
    assert_eq!(span.status, SpanStatus::Error("broke".to_owned()));
    let event = &span.events[0];
    assert_eq!((event.name.as_str(), event.time_unix_nanos, event.dropped_attributes), ("click", EPOCH + 5, 1));
    assert_eq!(event.session_id(), Some("s1"));
    let link = &span.links[0];
    assert_eq!((link.trace_id.as_str(), link.span_id.as_str()), (&*"01".repeat(16), &*"02".repeat(8)));
    assert_eq!((link.trace_state.as_str(), link.attributes.len(), link.dropped_attributes), ("a=b", 1, 2));
    assert_eq!(link.flags, 1);
}
