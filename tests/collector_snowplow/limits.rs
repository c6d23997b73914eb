//! Sizes and times that the collector does not go beyond.

use std::io::{Read, Write};
use std::time::Duration;

use otel_session::collector::{DevCollector, Refusal, fuzzing};
use proptest::prelude::*;
use serde_json::json;

use crate::client::{connect, exchange, post};
use crate::story::{
    APPLICATION, CLIENT_SESSION, TP2, client_session, collector, contexts, counts, envelope, get, get_json,
    only_errors, page_view, post_to, send, text, unstruct, with,
};

#[test]
fn b87_a_body_above_the_drop_size_is_answered_413() {
    let collector = collector();
    let body = |size: usize| "x".repeat(size);
    assert_eq!(post_to(&collector, TP2, "", &body((2 << 20) + 1)).status, 413);
    assert_eq!(counts(&collector), (0, 0), "nothing of it is kept");
    assert_eq!(collector.stream().refusals().count(Refusal::TooLarge), 1);
    assert_eq!(post_to(&collector, TP2, "", &body(2 << 20)).status, 200);
    assert!(only_errors(&collector).contains("size_violation"));
}

#[test]
fn b88_a_body_that_does_not_arrive_in_time_is_answered_408() {
    let builder = DevCollector::builder().with_body_timeout(Duration::from_millis(50));
    let collector = builder.build().expect("a collector");
    let mut socket = connect(&collector.snowplow_endpoint());
    let head =
        format!("POST {TP2} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{");
    socket.write_all(head.as_bytes()).expect("the collector reads");
    let mut reply = [0; 12];
    socket.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 408");
    assert_eq!((counts(&collector), collector.stream().refusals().count(Refusal::Unfinished)), ((0, 0), 1));
}

#[test]
fn b89_a_large_body_is_split_and_an_event_too_large_alone_is_a_size_violation() {
    let builder = DevCollector::builder().with_snowplow_limits(1_000, 4_000, 8_000);
    let collector = builder.build().expect("a collector");
    let long = "x".repeat(600);
    let longer = "x".repeat(1_000);
    let (fits, too_large) = (with(&[("ue_na", long.as_str())]), with(&[("ue_na", longer.as_str())]));
    assert_eq!(send(&collector, &[fits.clone(), too_large, fits.clone()]).status, 200);
    assert_eq!(counts(&collector), (2, 1), "the others of the request are good");
    assert!(only_errors(&collector).contains("size_violation"));
    let rows = get_json(&collector, "/micro/bad");
    assert!(rows[0]["rawEvent"].is_null() && rows[0]["collectorPayload"].is_null(), "{rows}");
    get(&collector, "/micro/reset", "");
    assert_eq!(send(&collector, &vec![fits.clone(); 8]).status, 200, "above the payload size");
    assert_eq!(counts(&collector), (0, 1), "one row for the whole request");
    get(&collector, "/micro/reset", "");
    assert_eq!(send(&collector, &vec![fits; 16]).status, 413);
    get(&collector, "/micro/reset", "");
    assert_eq!(post_to(&collector, TP2, "", &"x".repeat(1_500)).status, 200);
    assert!(only_errors(&collector).contains("size_violation"), "what cannot be split is one row");
    for (size, split) in [(1_000, false), (1_001, true)] {
        get(&collector, "/micro/reset", "");
        post_to(&collector, TP2, "", &"x".repeat(size));
        assert_eq!(only_errors(&collector).contains("size_violation"), split, "{size} bytes");
    }
}

#[test]
fn without_settings_the_sizes_are_those_of_the_real_collector() {
    let collector = collector();
    // Events of 1,000 bytes each, of which the last makes up the size.
    let of_size = |bytes: usize| {
        let padded = |length: usize| with(&[("ue_na", &"x".repeat(length))]);
        let mut events = vec![padded(950); (bytes - 2_000) / 1_000];
        let missing = bytes - envelope(&[&events[..], &[padded(0)]].concat()).to_string().len();
        events.push(padded(missing));
        let body = envelope(&events).to_string();
        assert_eq!(body.len(), bytes);
        (body, events.len())
    };
    let judged = |bytes: usize| {
        get(&collector, "/micro/reset", "");
        let (body, events) = of_size(bytes);
        assert_eq!(post_to(&collector, TP2, "", &body).status, 200, "{bytes}");
        let (good, bad) = counts(&collector);
        (good == events, bad)
    };
    for bytes in [1_000_000, 1_000_001, 1 << 20] {
        assert_eq!(judged(bytes), (true, 0), "{bytes} bytes are a record, or are split into some");
    }
    assert_eq!(judged((1 << 20) + 1), (false, 1));
    assert!(only_errors(&collector).contains("a payload may have 1048576"), "{}", only_errors(&collector));
    for (bytes, fits) in [(1_000_000, true), (1_000_001, false)] {
        get(&collector, "/micro/reset", "");
        let one = |length: usize| envelope(&[with(&[("ue_na", &"x".repeat(length))])]).to_string();
        let around = one(0).len();
        post_to(&collector, TP2, "", &one(bytes - around));
        assert_eq!(counts(&collector), (usize::from(fits), usize::from(!fits)), "one event of {bytes} bytes");
    }
}

#[test]
fn what_was_reset_takes_no_room_any_more() {
    let collector = DevCollector::builder().with_max_stored_bytes(1 << 20).build().expect("a collector");
    let long = "x".repeat(2_000);
    for _ in 0..3 {
        send(&collector, &vec![with(&[("page", long.as_str())]); 130]);
        assert_eq!((counts(&collector), collector.stream().dropped()), ((130, 0), 0));
        get(&collector, "/micro/reset", "");
        assert_eq!((counts(&collector), collector.stream().snowplow_requests()), ((0, 0), 0));
    }
}

#[test]
fn request_lines_and_headers_have_the_limits_of_the_real_server() {
    let collector = collector();
    let line = |total: usize| {
        let around = "GET /i?e=pv&p=web&tv=t&page= HTTP/1.1".len();
        get(&collector, &format!("/i?e=pv&p=web&tv=t&page={}", "x".repeat(total - around)), "")
    };
    assert_eq!(line(20_480).status, 200);
    assert_eq!(line(20_481).status, 414);
    let headers = |size: usize| get(&collector, "/i?e=pv&p=web&tv=t", &format!("X-Long: {}\r\n", "x".repeat(size)));
    let around = "Host: collector.test:80\r\nConnection: close\r\nX-Long: \r\n".len();
    assert_eq!(headers(40_960 - around).status, 200);
    assert_eq!(headers(40_961 - around).status, 431);
    assert_eq!(headers(200_000).status, 431, "far beyond what is buffered");
}

#[test]
fn a_long_query_does_not_grow_with_the_number_of_events() {
    let collector = collector();
    let query = "x".repeat(20_000);
    post_to(&collector, &format!("{TP2}?page={query}"), "", &envelope(&vec![page_view(); 20_000]).to_string());
    assert!(only_errors(&collector).contains("too many events"), "one row instead of 400 MB");
    let collector = DevCollector::builder().with_snowplow_limits(1_000, 1 << 20, 2 << 20).build().expect("a collector");
    post_to(&collector, &format!("{TP2}?page={query}"), "", &envelope(&vec![page_view(); 20_000]).to_string());
    assert!(only_errors(&collector).contains("too many events"), "nor when the body is split");
}

#[test]
fn a_list_of_very_many_wrong_events_is_judged_in_bounds() {
    let collector = collector();
    send(&collector, &vec![json!({}); 300_000]);
    assert_eq!(counts(&collector), (0, 1));
    assert_eq!(collector.stream().snowplow_bad()[0].errors().len(), 10);
}

#[test]
fn a_long_address_of_the_schema_does_not_grow_with_the_number_of_events() {
    let collector = collector();
    let schema = format!("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-{}", "4".repeat(520_000));
    let body = json!({ "schema": schema, "data": vec![0; 255_000] }).to_string();
    assert!((1_000_001..1 << 20).contains(&body.len()), "large enough to be split: {}", body.len());
    assert_eq!(post_to(&collector, TP2, "", &body).status, 200);
    assert!(only_errors(&collector).contains("size_violation"), "one row instead of 130 GB");
}

#[test]
fn the_oldest_records_make_room_and_are_counted() {
    let collector = DevCollector::builder().with_max_records(3).build().expect("a collector");
    send(&collector, &[with(&[("aid", "1")]), json!({ "e": "pv", "p": "nowhere", "tv": "t" }), with(&[("aid", "2")])]);
    send(&collector, &[with(&[("aid", "3")]), with(&[("aid", "4")])]);
    let stream = collector.stream();
    let kept: Vec<_> = stream.snowplow_good().iter().filter_map(|event| event.column("app_id")?.as_str()).collect();
    assert_eq!((kept, stream.snowplow_bad().len(), stream.dropped()), (vec!["2", "3", "4"], 0, 2));
    let collector = DevCollector::builder().with_max_stored_bytes(1 << 20).build().expect("a collector");
    send(&collector, &vec![with(&[("ue_na", &"x".repeat(10_000))]); 90]);
    let (kept, dropped) = (counts(&collector).0, collector.stream().dropped());
    assert!((60..90).contains(&kept) && kept as u64 + dropped == 90, "{kept} events of 10 kB in 1 MiB");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let error =
        |builder: otel_session::collector::DevCollectorBuilder| builder.build().expect_err("refused").to_string();
    let builder = DevCollector::builder;
    for (message, named) in [
        (error(builder().with_snowplow_limits(0, 1, 2)), "with_snowplow_limits(0, 1, 2)"),
        (error(builder().with_snowplow_limits(2, 1, 3)), "with_snowplow_limits(2, 1, 3)"),
        (error(builder().with_snowplow_path("custom")), "with_snowplow_path(custom)"),
        (error(builder().with_snowplow_path("/custom?a=b")), "with_snowplow_path(/custom?a=b)"),
        (error(builder().with_snowplow_path("/a path")), "with_snowplow_path(/a path)"),
        (error(builder().with_snowplow_path("/micro/tp2")), "with_snowplow_path(/micro/tp2)"),
        (error(builder().with_snowplow_do_not_track_cookie("", "1")), "with_snowplow_do_not_track_cookie(=1)"),
        (error(builder().with_snowplow_do_not_track_cookie("a=b", "1")), "with_snowplow_do_not_track_cookie(a=b=1)"),
        (
            error(builder().with_snowplow_do_not_track_cookie("dnt", "1; x")),
            "with_snowplow_do_not_track_cookie(dnt=1; x)",
        ),
        (error(builder().with_body_timeout(Duration::ZERO)), "with_body_timeout(0ns)"),
        (error(builder().with_max_stored_bytes(5)), "with_max_stored_bytes(5)"),
        (error(builder().with_schema("acme", "{}")), "with_schema(acme"),
        (
            error(builder().with_schema("iglu:a/b/jsonschema/1-0-0", "[")),
            "with_schema(iglu:a/b/jsonschema/1-0-0: not JSON",
        ),
        (
            error(builder().with_schema("iglu:a/b/jsonschema/1-0-0", "{\"type\":5}")),
            "with_schema(iglu:a/b/jsonschema/1-0-0",
        ),
        (error(builder().with_iglu_dir("/no/such/folder")), "with_iglu_dir(/no/such/folder"),
        (error(builder().with_snowplow_port(45319).with_opentracker_port(45319)), "with_opentracker_port(45319)"),
    ] {
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn a_request_that_is_no_http_harms_nobody() {
    let collector = collector();
    let reply = exchange(&collector.snowplow_endpoint(), b"nonsense\r\n\r\n");
    assert_eq!(reply.status, 400);
    assert_eq!(post(&collector.snowplow_endpoint(), TP2, "", b"").status, 200);
    assert!(text(&get(&collector, "/health", "")).contains("ok"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..512)) {
        judge_everywhere(&data);
    }

    #[test]
    fn spoiled_requests_never_panic(
        spoils in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let session = contexts(&[(CLIENT_SESSION, client_session())]);
        let inner = unstruct(APPLICATION, &json!({ "version": "1" }));
        let event = with(&[("e", "ue"), ("ue_pr", &inner), ("co", &session), ("dtm", "1795164538129"), ("res", "1x2")]);
        let mut data = format!("\u{2}aid=a&url=http://shop.test/\n{}", envelope(&[page_view(), event])).into_bytes();
        for (place, byte) in spoils {
            let place = place.index(data.len());
            data[place] = byte;
        }
        judge_everywhere(&data);
        data.truncate(cut.index(data.len()));
        judge_everywhere(&data);
    }
}

fn judge_everywhere(data: &[u8]) {
    fuzzing::snowplow_post(data);
    fuzzing::snowplow_get(data);
    fuzzing::opentracker_form(data);
}
