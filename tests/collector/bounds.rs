//! Nothing a sender does makes the collector large, slow for others, or gone.

use std::io::Write;
use std::time::Duration;

use otel_session::collector::{DevCollector, Refusal, fuzzing};
use proptest::prelude::*;
use serde_json::json;

use crate::client::{LOGS, TRACES, call, connect, post, post_json, post_protobuf};
use crate::story::{log, send_logs, span};
use crate::wire::{bytes, frame, full_log, full_span, gzip, json_logs, json_traces, request};

const LIMIT: usize = 64 << 10;

fn small_collector() -> DevCollector {
    DevCollector::builder().with_max_body_bytes(LIMIT).build().expect("a collector")
}

/// A log request of exactly this many bytes.
fn request_of(size: usize) -> Vec<u8> {
    let overhead = bytes(1, bytes(2, bytes(2, bytes(3, vec![b'x'; size])))).len() - size;
    let body = bytes(1, bytes(2, bytes(2, bytes(3, vec![b'x'; size - overhead]))));
    assert_eq!(body.len(), size);
    body
}

#[test]
fn a_body_of_the_limit_is_accepted_and_one_byte_more_is_refused() {
    let collector = small_collector();
    let (http, grpc) = (collector.otlp_http_endpoint(), collector.otlp_grpc_endpoint());
    assert_eq!(post_protobuf(&http, "/v1/logs", &request_of(LIMIT)).status, 200);
    assert_eq!(post_protobuf(&http, "/v1/logs", &request_of(LIMIT + 1)).status, 413);
    assert_eq!(call(&grpc, LOGS, None, frame(0, &request_of(LIMIT))).status, Some(0));
    assert_eq!(call(&grpc, LOGS, None, frame(0, &request_of(LIMIT + 1))).status, Some(8));
    assert_eq!(call(&grpc, LOGS, None, frame(0, &request_of(LIMIT * 40))).status, Some(8));
    assert_eq!(post_protobuf(&http, "/v1/logs", &vec![0; LIMIT * 40]).status, 413, "the sender still hears it");
    assert_eq!(collector.stream().refusals().count(Refusal::TooLarge), 4);
}

#[test]
fn a_compressed_bomb_is_refused_at_the_limit() {
    let collector = small_collector();
    let bomb = gzip(&vec![0; 50 << 20]);
    assert!(bomb.len() < LIMIT, "the bomb itself is small: {} bytes", bomb.len());
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n";
    assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, &bomb).status, 413);
    assert_eq!(call(&collector.otlp_grpc_endpoint(), LOGS, Some("gzip"), frame(1, &bomb)).status, Some(8));
    let fits = gzip(&request_of(LIMIT));
    assert_eq!(post(&collector.otlp_http_endpoint(), "/v1/logs", headers, &fits).status, 200);
}

#[test]
fn a_frame_that_announces_more_than_the_limit_is_refused() {
    let collector = small_collector();
    let reply = call(&collector.otlp_grpc_endpoint(), LOGS, None, vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    assert_eq!(reply.status, Some(8));
}

#[test]
fn a_request_of_very_many_tiny_items_is_refused_before_it_is_built() {
    let collector = small_collector();
    let spans = bytes(1, bytes(2, bytes(2, []).repeat(LIMIT / 3)));
    assert!(spans.len() < LIMIT);
    assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/traces", &spans).status, 400);
    assert_eq!(call(&collector.otlp_grpc_endpoint(), TRACES, None, frame(0, &spans)).status, Some(3));
    let spans = json_traces("shop", &vec![json!({}); LIMIT / 4]);
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/traces", &spans).status, 400);
}

#[test]
fn commas_in_a_text_are_no_values_also_behind_an_escaped_quotation_mark() {
    let collector = DevCollector::builder().with_max_body_bytes(2_000).build().expect("a collector");
    let body = json!({ "timeUnixNano": "1", "body": { "stringValue": format!("\"{}", ",".repeat(1_000)) } });
    let reply = post_json(&collector.otlp_http_endpoint(), "/v1/logs", &json_logs("shop", &[body]));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}

#[test]
fn honest_batches_of_the_largest_size_pass_the_bound_on_memory() {
    let collector = DevCollector::builder().with_max_body_bytes(1 << 20).build().expect("a collector");
    let short = bytes(6, [bytes(1, "a"), bytes(2, bytes(1, "b"))].concat());
    for (record, times) in [(short.repeat(10), 9_000), (full_log(), 4_500)] {
        let body = request(&vec![record; times]);
        assert!(body.len() > 900_000 && body.len() < 1 << 20, "{}", body.len());
        assert_eq!(post_protobuf(&collector.otlp_http_endpoint(), "/v1/logs", &body).status, 200);
    }
    let json = json_logs("shop", &vec![log("s", 1); 4_500]);
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/logs", &json).status, 200);
}

#[test]
fn the_ring_keeps_the_latest_and_counts_the_rest() {
    let collector = DevCollector::builder().with_max_records(10).build().expect("a collector");
    for second in 0..30 {
        send_logs(&collector, &[log("s", second)]);
    }
    let reply = post_json(&collector.otlp_http_endpoint(), "/v1/traces", &json_traces("shop", &[span("s", 1, 2)]));
    assert_eq!(reply.status, 200);
    let stream = collector.stream();
    assert_eq!((stream.logs().len(), stream.spans().len(), stream.dropped()), (9, 1, 21));
    assert_eq!(stream.logs().first().map(|log| log.sequence), Some(22));
    assert!(stream.timeline().contains("21 records dropped to make room"));
}

#[test]
fn every_text_of_a_record_counts_for_the_memory_that_it_takes() {
    let long = "x".repeat(100_000);
    let value = json!({ "stringValue": long });
    let pair = json!([{ "key": "k", "value": value }]);
    let fields = [
        ("/v1/traces", "name", json!(long)),
        ("/v1/traces", "traceState", json!(long)),
        ("/v1/traces", "attributes", pair.clone()),
        ("/v1/traces", "status", json!({ "code": 2, "message": long })),
        ("/v1/traces", "events", json!([{ "name": long }])),
        ("/v1/traces", "events", json!([{ "attributes": pair }])),
        ("/v1/traces", "links", json!([{ "traceState": long }])),
        ("/v1/traces", "links", json!([{ "attributes": pair }])),
        ("/v1/logs", "body", value.clone()),
        ("/v1/logs", "severityText", json!(long)),
        ("/v1/logs", "eventName", json!(long)),
        ("/v1/logs", "attributes", pair.clone()),
    ];
    for (path, field, content) in fields {
        let collector = DevCollector::builder().with_max_stored_bytes(1 << 20).build().expect("a collector");
        let mut record = json!({});
        record[field] = content.clone();
        let records = vec![record; 20];
        let body = if path == "/v1/logs" { json_logs("shop", &records) } else { json_traces("shop", &records) };
        assert_eq!(post_json(&collector.otlp_http_endpoint(), path, &body).status, 200);
        let dropped = collector.stream().dropped();
        assert!((10..20).contains(&dropped), "{dropped} of 20 dropped: {field} {}", &content.to_string()[..40]);
    }
}

#[test]
fn a_stream_once_taken_does_not_change() {
    let collector = DevCollector::start().expect("a collector");
    send_logs(&collector, &[log("s", 1)]);
    let before = collector.stream();
    send_logs(&collector, &[log("s", 2)]);
    assert_eq!((before.logs().len(), collector.stream().logs().len()), (1, 2));
}

#[test]
fn silent_and_babbling_connections_do_not_keep_others_out() {
    let collector = DevCollector::start().expect("a collector");
    let http = collector.otlp_http_endpoint();
    let silent: Vec<_> = (0..40).map(|_| connect(&http)).collect();
    let babbling: Vec<_> = (0..40_u8)
        .map(|number| {
            let mut socket = connect(&collector.otlp_grpc_endpoint());
            // Whether it is taken at all is the collector's choice.
            drop(socket.write_all(&[number; 4_096]));
            socket
        })
        .collect();
    assert_eq!(post_protobuf(&http, "/v1/logs", &request(&[full_log()])).status, 200);
    assert_eq!(call(&http, LOGS, None, frame(0, &request(&[full_log()]))).status, Some(0));
    drop((silent, babbling));
}

#[test]
fn a_body_that_breaks_off_is_counted_and_harms_nobody() {
    let collector = DevCollector::start().expect("a collector");
    let mut socket = connect(&collector.otlp_http_endpoint());
    let head = "POST /v1/logs HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    socket.write_all(head.as_bytes()).expect("the collector reads");
    drop(socket);
    let counted =
        collector.wait_until(Duration::from_secs(30), |stream| stream.refusals().count(Refusal::Unfinished) == 1);
    assert!(counted, "{}", collector.stream().refusals());
    send_logs(&collector, &[log("s", 1)]);
}

#[test]
fn bad_settings_are_refused_with_setting_value_and_fix() {
    let message = |builder: otel_session::collector::DevCollectorBuilder| match builder.build() {
        Ok(_) => panic!("a bad setting was accepted"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        message(DevCollector::builder().with_max_records(0)),
        "with_max_records(0): give how many spans and logs to keep, 262144 by default"
    );
    assert_eq!(
        message(DevCollector::builder().with_max_body_bytes(0)),
        "with_max_body_bytes(0): give the largest request body in bytes, 4194304 by default"
    );
    let large = (1 << 30) + 1;
    assert_eq!(
        message(DevCollector::builder().with_max_body_bytes(large)),
        "with_max_body_bytes(1073741825): give at most 1073741824 (1 GiB)"
    );
    let both = message(DevCollector::builder().with_grpc_port(45_317).with_http_port(45_317));
    assert!(both.starts_with("with_http_port(45317): give a port other than with_grpc_port's"), "{both}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..512)) {
        decode_everywhere(&data);
    }

    #[test]
    fn spoiled_requests_never_panic(
        which in 0..4_u8,
        spoils in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (choice, body) = match which {
            0 => (0, request(&[full_span()])),
            1 => (1, request(&[full_log()])),
            2 => (0, json_traces("shop", &[span("s", 1, 2)]).to_string().into_bytes()),
            _ => (1, json_logs("shop", &[log("s", 1)]).to_string().into_bytes()),
        };
        let mut data = [vec![choice], body].concat();
        for (place, byte) in spoils {
            let place = place.index(data.len());
            data[place] = byte;
        }
        decode_everywhere(&data);
        data.truncate(cut.index(data.len()));
        decode_everywhere(&data);
    }
}

fn decode_everywhere(data: &[u8]) {
    fuzzing::otlp_protobuf(data);
    fuzzing::otlp_json(data);
    fuzzing::grpc_frame(data);
}
