//! Replays what is checked in under `fuzz/corpus`, so that whatever a fuzzer once found stays fixed.

#[path = "../fuzz/session_id.rs"]
mod session_id;
#[path = "collector/wire.rs"]
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use otel_session::collector::fuzzing;

#[test]
fn the_corpus_of_protobuf_requests_is_decoded_without_a_panic() {
    replay("otlp_protobuf", fuzzing::otlp_protobuf);
}

#[test]
fn the_corpus_of_json_requests_is_decoded_without_a_panic() {
    replay("otlp_json", fuzzing::otlp_json);
}

#[test]
fn the_corpus_of_grpc_frames_is_decoded_without_a_panic() {
    replay("grpc_frame", fuzzing::grpc_frame);
}

#[test]
fn the_corpus_of_snowplow_bodies_is_judged_without_a_panic() {
    replay("snowplow_post", fuzzing::snowplow_post);
}

#[test]
fn the_corpus_of_snowplow_queries_is_judged_without_a_panic() {
    replay("snowplow_get", fuzzing::snowplow_get);
}

#[test]
fn the_corpus_of_opentracker_forms_is_read_without_a_panic() {
    replay("opentracker_form", fuzzing::opentracker_form);
}

#[test]
fn the_corpus_of_session_ids_is_judged_as_documented() {
    replay("session_id", session_id::check);
}

/// With `OTEL_SESSION_BLESS=1` the seeds are written anew, after the requests in `wire` were changed.
#[test]
fn every_seed_is_checked_in() {
    let (logs, spans) = (wire::request(&[wire::full_log()]), wire::request(&[wire::full_span()]));
    let metrics = wire::metrics_request();
    let deep = wire::request(&[wire::bytes(6, wire::pair("deep", &wire::nested(33)))]);
    let two = wire::request(&[wire::full_log(), wire::full_log()]);
    let many = wire::bytes(1, wire::bytes(2, wire::bytes(2, []).repeat(300)));
    for (name, choice, body) in [
        ("traces", 0, &spans),
        ("logs", 1, &logs),
        ("metrics", 2, &metrics),
        ("logs_nested_too_deeply", 1, &deep),
        ("logs_started_twice", 1, &two),
        ("traces_of_empty_spans", 0, &many),
        ("logs_cut_short", 1, &logs[..logs.len() / 2].to_vec()),
    ] {
        write("otlp_protobuf", name, &[&[choice], &body[..]].concat());
        write("grpc_frame", name, &[&[choice], &wire::frame(0, body)[..]].concat());
        write("grpc_frame", &format!("{name}_gzip"), &[&[choice | 4], &wire::frame(1, &wire::gzip(body))[..]].concat());
    }
    write("grpc_frame", "traces_longer_than_announced", &[0, 0, 0, 0, 0, 1, 2, 3]);
    write("grpc_frame", "traces_of_four_gigabytes", &[0, 0, 0xff, 0xff, 0xff, 0xff, 1]);
    write("grpc_frame", "logs_bomb_gzip", &[&[5], &wire::frame(1, &wire::gzip(&vec![0; 2 << 20]))[..]].concat());
    write_json_seeds();
    write_tracker_seeds();
}

fn write_json_seeds() {
    let pair = wire::json_pair("session.id", "s1");
    let event = serde_json::json!({ "name": "click", "timeUnixNano": "5", "attributes": [pair] });
    let span = serde_json::json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": "", "kind": 2,
        "name": "GET /", "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": 1_767_225_600_000_000_001_u64,
        "attributes": [pair], "events": [event], "links": [{ "traceId": "00", "flags": 1 }],
        "status": { "code": 2, "message": "broke" }, "droppedEventsCount": 1,
    });
    let values = serde_json::json!([
        pair,
        { "key": "int", "value": { "intValue": "-5" } },
        { "key": "double", "value": { "doubleValue": "NaN" } },
        { "key": "bytes", "value": { "bytesValue": "AQL/" } },
        { "key": "list", "value": { "arrayValue": { "values": [{ "boolValue": true }, {}] } } },
        { "key": "map", "value": { "kvlistValue": { "values": [pair] } } },
        { "key": "null", "value": null },
    ]);
    let start = serde_json::json!({
        "timeUnixNano": "1767225600000000000", "eventName": "session.start", "severityNumber": 9,
        "body": { "stringValue": "text" }, "attributes": values,
    });
    let mut end = start.clone();
    end["eventName"] = "session.end".into();
    let metrics = serde_json::json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "name": "m" }] }] }] });
    for (name, choice, document) in [
        ("traces", 0, wire::json_traces("shop", &[span])),
        ("logs", 1, wire::json_logs("shop", &[start, end])),
        ("metrics", 2, metrics),
        ("logs_of_the_wrong_type", 1, serde_json::json!({ "resourceLogs": { "a": [] } })),
    ] {
        write("otlp_json", name, &[&[choice], document.to_string().as_bytes()].concat());
    }
    write("otlp_json", "logs_of_brackets", &[&[1], "[".repeat(300).as_bytes()].concat());
}

fn write_tracker_seeds() {
    const OURS: &str = "iglu:com.snowplowanalytics.snowplow";
    let described =
        |name: &str, data: serde_json::Value| serde_json::json!({ "schema": format!("{OURS}/{name}"), "data": data });
    let session = serde_json::json!({
        "userId": "6de9024e-17b9-4026-bd4d-efec50ae84cb", "sessionId": "6d15a4fb-9623-4ba1-b876-5240e72e6970",
        "sessionIndex": 2, "eventIndex": 1, "previousSessionId": null, "storageMechanism": "SQLITE",
        "firstEventId": null, "firstEventTimestamp": "2026-11-20T08:00:00.000Z",
    });
    let entity = described("client_session/jsonschema/1-0-2", session);
    let contexts = described("contexts/jsonschema/1-0-1", serde_json::json!([entity]));
    let inner = described("application/jsonschema/1-0-0", serde_json::json!({ "version": "1" }));
    let unstruct = described("unstruct_event/jsonschema/1-0-0", inner);
    let view = serde_json::json!({
        "e": "pv", "p": "web", "tv": "seed", "eid": "56d7ee1f-5ca0-452b-9cc9-5159053c858a", "dtm": "1795164538129",
        "stm": "1795164538229", "url": "https://shop.test/a?utm_source=b&_sp=c.1795164538129#d", "res": "10x20",
    });
    let told = serde_json::json!({
        "e": "ue", "p": "srv", "tv": "seed", "co": contexts.to_string(), "ue_pr": unstruct.to_string(), "vid": "1",
    });
    let structured =
        serde_json::json!({ "e": "se", "p": "app", "tv": "seed", "se_ca": "c", "se_va": "1.5", "cx": "e30" });
    let wrong = serde_json::json!({ "e": "pv", "p": "nowhere", "tv": "seed", "eid": "1", "dtm": "-", "vp": "x" });
    let envelope = |events: &[&serde_json::Value]| {
        described("payload_data/jsonschema/1-0-4", serde_json::json!(events)).to_string()
    };
    for (name, choice, query, body) in [
        ("page_view", 2, "", envelope(&[&view])),
        ("self_describing", 2, "", envelope(&[&told])),
        ("good_and_bad", 2, "aid=shop", envelope(&[&view, &wrong, &structured])),
        ("query_alone", 0, "e=pv&p=web&tv=seed", String::new()),
        ("another_content_type", 1, "", envelope(&[&view])),
        ("brackets", 2, "", "[".repeat(300)),
        ("cut_short", 2, "", envelope(&[&told])[..200].to_owned()),
    ] {
        write("snowplow_post", name, &[&[choice], query.as_bytes(), b"\n", body.as_bytes()].concat());
    }
    for (name, query) in [
        ("page_ping", "e=pp&p=web&tv=lol&pp_mix=0&pp_may=200"),
        ("bad_event_id", "e=pp&p=web&tv=lol&eid=invalidEventId"),
        ("coded_context", "e=se&p=srv&tv=seed&se_ca=a&se_ac=b&cx=eyJzY2hlbWEiOiJhIiwiZGF0YSI6W119"),
        ("escapes", "e=pv&p=web&tv=%E2%9C%93&page=%00%09%zz&ip=1,2&url=http%3A%2F%2F%5B%3A%3A1%5D%2F"),
        ("empty", ""),
    ] {
        write("snowplow_get", name, query.as_bytes());
    }
    for (name, form) in [
        ("site_alone", "si=shop"),
        ("both_ids", "si=shop&sid=1&uid=2&ti=Home+page"),
        ("user_alone", "si=shop&uid=2&a=1&a=2"),
        ("reserved", "si=shop&eid=x&unixtimestamp=y&sid=&uid="),
        ("bad_name", "si=shop&a%20b=1"),
        ("no_site", "ti=Home"),
    ] {
        write("opentracker_form", name, form.as_bytes());
    }
}

fn write(target: &str, name: &str, data: &[u8]) {
    let seed = corpus(target).join(name);
    if std::env::var_os("OTEL_SESSION_BLESS").is_none() {
        // Compressed seeds differ between versions of the compressor, so only that they are there.
        assert!(seed.exists(), "{} is missing", seed.display());
        return;
    }
    fs::create_dir_all(corpus(target)).expect("the corpus can be written");
    fs::write(seed, data).expect("the corpus can be written");
}

fn replay(target: &str, decode: fn(&[u8])) {
    let mut replayed = 0;
    for file in fs::read_dir(corpus(target)).expect("the corpus is checked in") {
        let path = file.expect("the corpus can be listed").path();
        println!("{}", path.display());
        decode(&fs::read(path).expect("the corpus can be read"));
        replayed += 1;
    }
    assert!(replayed > 4, "{replayed} files in the corpus of {target}");
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}
