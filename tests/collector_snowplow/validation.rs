//! What makes an event bad, and what does not.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use otel_session::collector::{DevCollector, SnowplowEvent};
use serde_json::{Value as Json, json};

use crate::client::post;
use crate::story::{
    APPLICATION, CLIENT_SESSION, EID, SID, TP2, client_session, collector, contexts, counts, envelope, get,
    only_errors, page_view, post_to, send, unstruct, with,
};

#[test]
fn atomic_fields_that_break_a_rule_make_the_event_bad() {
    let long = |length: usize| "x".repeat(length);
    for (key, value) in [
        ("eid", ""),
        ("eid", "56d7ee1f5ca0452b9cc95159053c858a"),
        ("sid", "1234567891234"),
        ("sid", ""),
        ("tv", &long(101)),
        ("p", "desktop"),
        ("p", ""),
        ("tna", &long(129)),
        ("tna", "a:b"),
        ("tna", "a;b"),
        ("aid", &long(256)),
        ("dtm", "2026-11-20"),
        ("dtm", "1795164538129.5"),
        ("stm", "999999999999999"),
        ("ttm", ""),
        ("tid", "x"),
        ("uid", &long(256)),
        ("duid", &long(129)),
        ("vid", "2147483648"),
        ("vid", "-1"),
        ("vid", "1.0"),
        ("nuid", &long(129)),
        ("tnuid", &long(129)),
        ("ip", &long(129)),
        ("ua", &long(1001)),
        ("fp", &long(129)),
        ("tz", &long(256)),
        ("res", "1920"),
        ("vp", "800x"),
        ("ds", "-1x2"),
        ("cookie", "yes"),
        ("f_pdf", "2"),
        ("url", &long(10_001)),
        ("refr", &long(10_001)),
        ("page", &long(2001)),
        ("se_ca", &long(1001)),
        ("se_ac", &long(1001)),
        ("se_la", &long(4097)),
        ("se_pr", &long(1001)),
        ("se_va", "much"),
        ("se_va", "NaN"),
        ("pp_mix", "1.5"),
        ("pp_may", "a"),
        ("e", "xx"),
        ("tr_tt", "free"),
        ("ti_qu", "one"),
    ] {
        let collector = collector();
        send(&collector, &[with(&[(key, value)])]);
        assert_eq!(counts(&collector), (0, 1), "{key} = {value:?}");
        assert!(only_errors(&collector).contains(&format!("{key} = ")), "{}", only_errors(&collector));
    }
}

#[test]
fn atomic_fields_at_their_limits_are_good() {
    let long = |length: usize| "é".repeat(length);
    let collector = collector();
    let cases = [
        ("eid", EID.to_uppercase()),
        ("tv", long(100)),
        ("p", "headset".to_owned()),
        ("tna", long(128)),
        ("aid", long(255)),
        ("dtm", "-62167219200000".to_owned()),
        ("stm", "253402300799999".to_owned()),
        ("vid", "2147483647".to_owned()),
        ("vid", "0".to_owned()),
        ("uid", long(255)),
        ("duid", long(128)),
        ("ip", "203.0.113.7, 10.0.0.1".to_owned()),
        ("ua", long(1000)),
        ("res", "0x0".to_owned()),
        ("page", long(2000)),
        ("url", format!("https://shop.test/{}", "x".repeat(9_982))),
        ("refr", "not an address".to_owned()),
        ("se_la", long(4096)),
        ("se_va", "-1.5e3".to_owned()),
        ("pp_mix", "-5".to_owned()),
        ("mac", "ignored".to_owned()),
        ("aid", String::new()),
        ("page", "line\nbreak\ttab".to_owned()),
    ];
    for (key, value) in &cases {
        send(&collector, &[with(&[(key, value)])]);
        assert_eq!(collector.stream().snowplow_bad().len(), 0, "{key}: {}", only_errors(&collector));
    }
    let stream = collector.stream();
    assert_eq!(stream.snowplow_good().len(), cases.len());
    assert_eq!(stream.snowplow_good()[0].event_id(), EID, "ids are shown in lower case");
    let address = |event: &SnowplowEvent| event.column("user_ipaddress") == Some(&json!("203.0.113.7"));
    assert!(stream.snowplow_good().iter().any(|event| address(event)), "the first address of a list");
    let page = stream.snowplow_good()[cases.len() - 1].column("page_title").cloned();
    assert_eq!(page, Some(json!("linebreak    tab")), "columns are written as tab-separated values");
}

#[test]
fn what_the_request_says_is_held_to_the_limits_of_its_columns() {
    let long = |length: usize| "x".repeat(length);
    for (column, header, prefix, most) in [
        ("useragent", "User-Agent", "", 1000),
        ("network_userid", "Cookie", "sp=", 128),
        ("page_url", "Referer", "https://shop.test/", 10_000 - "https://shop.test/".len()),
    ] {
        let collector = collector();
        get(&collector, "/i?e=pv&p=web&tv=t", &format!("{header}: {prefix}{}\r\n", long(most)));
        assert_eq!(counts(&collector), (1, 0), "{column}");
        get(&collector, "/i?e=pv&p=web&tv=t", &format!("{header}: {prefix}{}\r\n", long(most + 1)));
        assert_eq!(counts(&collector), (1, 1), "{column}");
        assert!(only_errors(&collector).contains(column), "{}", only_errors(&collector));
        // A parameter of the event stands before what the request says.
        get(&collector, "/i?e=pv&p=web&tv=t&ua=u&tnuid=n&url=p", &format!("{header}: {prefix}{}\r\n", long(most + 1)));
        assert_eq!(counts(&collector), (2, 1), "{column}");
    }
}

#[test]
fn an_event_without_tracker_version_platform_or_type_is_bad() {
    for (query, missing) in [("e=pv&p=web", "tv"), ("e=pv&tv=t", "p"), ("p=web&tv=t", "e")] {
        let collector = collector();
        get(&collector, &format!("/i?{query}"), "");
        assert!(only_errors(&collector).contains(&format!("{missing} is missing")), "{}", only_errors(&collector));
        let mut event = page_view();
        event.as_object_mut().expect("an object").remove(missing);
        send(&collector, &[event]);
        assert_eq!(counts(&collector), (0, 2), "the envelope asks for it too");
    }
}

#[test]
fn envelopes_that_break_a_rule_are_one_bad_row_each() {
    let good = envelope(&[page_view()]).to_string();
    let mut other_schema = envelope(&[page_view()]);
    other_schema["schema"] = json!("iglu:com.acme/payload_data/jsonschema/1-0-4");
    let mut newer = envelope(&[page_view()]);
    newer["schema"] = json!("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-9");
    let mut extra = envelope(&[page_view()]);
    extra["more"] = json!(1);
    let with_value = |value: Json| {
        let mut event = page_view();
        event["aid"] = value;
        envelope(&[page_view(), event]).to_string()
    };
    for (why, content_type, body, words) in [
        ("no content type", "", good.clone(), "no content type"),
        ("wrong content type", "Content-Type: text/plain\r\n", good.clone(), "text/plain"),
        ("other charset", "Content-Type: application/json; charset=latin1\r\n", good.clone(), "latin1"),
        ("content type without body", "Content-Type: application/json\r\n", String::new(), "both empty"),
        ("not JSON", JSON, "{".to_owned(), "not JSON"),
        ("not self-describing", JSON, "[]".to_owned(), "self-describing"),
        ("something beside schema and data", JSON, extra.to_string(), "self-describing"),
        ("another schema", JSON, other_schema.to_string(), "com.acme"),
        ("a version that nobody has", JSON, newer.to_string(), "ResolutionError"),
        ("no events", JSON, envelope(&[]).to_string(), "payload_data"),
        ("a number", JSON, with_value(json!(1)), "payload_data"),
        ("null", JSON, with_value(Json::Null), "payload_data"),
        ("nested too deeply", JSON, envelope(&[json!({ "e": nested(50) })]).to_string(), "40 deep"),
        ("nested beyond the parser", JSON, "[".repeat(100_000), "not JSON"),
    ] {
        let collector = collector();
        assert_eq!(post(&collector.snowplow_endpoint(), TP2, content_type, body.as_bytes()).status, 200, "{why}");
        assert_eq!(counts(&collector), (0, 1), "{why}");
        assert!(only_errors(&collector).contains(words), "{why}: {}", only_errors(&collector));
        assert!(collector.stream().snowplow_bad()[0].parameters().is_none(), "{why}");
    }
}

#[test]
fn the_older_envelopes_and_each_spelling_of_json_are_accepted() {
    let collector = collector();
    for version in ["1-0-0", "1-0-1", "1-0-2", "1-0-3"] {
        let mut older = envelope(&[page_view()]);
        older["schema"] = json!(format!("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/{version}"));
        post_to(&collector, TP2, "", &older.to_string());
    }
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON; charset=UTF-8"] {
        let headers = format!("Content-Type: {content_type}\r\n");
        post(&collector.snowplow_endpoint(), TP2, &headers, envelope(&[page_view()]).to_string().as_bytes());
    }
    post(&collector.snowplow_endpoint(), &format!("{TP2}?e=pv&p=web&tv=t"), "", b"");
    assert_eq!(counts(&collector), (8, 0), "{:?}", collector.stream().snowplow_bad());
}

#[test]
fn a_post_whose_query_is_the_event_has_no_content_type() {
    let collector = collector();
    post_to(&collector, &format!("{TP2}?e=pv&p=web&tv=t"), "", "");
    assert!(only_errors(&collector).contains("content type and no body"));
    post(&collector.snowplow_endpoint(), &format!("{TP2}?e=pv&p=web&tv=t"), "", b"");
    assert_eq!(counts(&collector), (1, 1));
}

#[test]
fn a_link_between_domains_has_at_most_seven_parts() {
    let collector = collector();
    for parts in ["duid.1795164538129.a.b.c.d.e", "duid.1795164538129.a.b.c.d.e.f"] {
        send(&collector, &[with(&[("url", &format!("https://shop.test/?_sp={parts}"))])]);
    }
    let stream = collector.stream();
    let users: Vec<_> = stream.snowplow_good().iter().map(|event| event.column("refr_domain_userid")).collect();
    assert_eq!(users, [Some(&json!("duid")), None]);
}

#[test]
fn a_column_has_one_value_the_last_and_an_empty_one_is_none() {
    let collector = collector();
    let query =
        "utm_medium=a&utm_medium=b&utm_source=&utm_term=a&utm_term=&_sp=one.1795164538129&_sp=two.1795164538130";
    send(&collector, &[with(&[("url", &format!("https://shop.test/?{query}"))])]);
    let stream = collector.stream();
    let event = &stream.snowplow_good()[0];
    let canonical = event.canonical();
    let once: BTreeSet<_> = event.columns().map(|(name, _)| name).collect();
    assert_eq!(event.columns().count(), once.len());
    for (column, expected) in [
        ("mkt_medium", json!("b")),
        ("mkt_source", Json::Null),
        ("mkt_term", Json::Null),
        ("refr_domain_userid", json!("two")),
    ] {
        assert_eq!(event.column(column).unwrap_or(&Json::Null), &expected, "{column}");
        assert_eq!(canonical[column], expected, "{column}");
    }
}

#[test]
fn an_empty_get_and_a_foreign_adapter_are_bad() {
    let collector = collector();
    get(&collector, "/i", "");
    assert!(only_errors(&collector).contains("empty"));
    get(&collector, "/micro/reset", "");
    get(&collector, "/com.acme/v1?e=pv&p=web&tv=t", "");
    assert!(only_errors(&collector).contains("no adapter"));
}

#[test]
fn base64_is_read_padded_or_not_in_either_alphabet() {
    let event = unstruct(APPLICATION, &json!({ "version": "✓ à la mode ÿÿÿ>>>???" }));
    let plain = wire_base64(event.as_bytes());
    assert!(plain.contains('+') || plain.contains('/'), "the alphabets differ: {plain}");
    let url_safe = plain.replace('+', "-").replace('/', "_");
    let collector = collector();
    let codings = [
        plain.clone(),
        plain.trim_end_matches('=').to_owned(),
        url_safe.clone(),
        url_safe.trim_end_matches('=').to_owned(),
    ];
    for coded in &codings {
        send(&collector, &[with(&[("e", "ue"), ("ue_px", coded)])]);
    }
    assert_eq!(counts(&collector), (4, 0));
    for event in collector.stream().snowplow_good() {
        assert_eq!(event.self_describing().expect("an inner event")["data"]["version"], "✓ à la mode ÿÿÿ>>>???");
    }
    for wrong in ["!!!!", "e30", "AAAA", "/w=="] {
        send(&collector, &[with(&[("e", "ue"), ("ue_px", wrong)])]);
    }
    assert_eq!(counts(&collector), (4, 4));
}

#[test]
fn self_describing_parts_that_break_a_rule_make_the_event_bad() {
    let session = |field: &str, value: Json| {
        let mut data = client_session();
        data[field] = value;
        contexts(&[(CLIENT_SESSION, data)])
    };
    let good = contexts(&[(CLIENT_SESSION, client_session())]);
    let empty = contexts(&[]);
    let inner = unstruct(APPLICATION, &json!({ "version": "1" }));
    let deep = unstruct(APPLICATION, &nested(60));
    let unknown = unstruct("iglu:com.acme/click/jsonschema/1-0-0", &json!({}));
    for (parameters, words) in [
        (vec![("co", good.as_str()), ("cx", "e30")], "co and cx are both present"),
        (vec![("e", "ue"), ("ue_pr", inner.as_str()), ("ue_px", "e30")], "ue_pr and ue_px are both present"),
        (vec![("e", "ue")], "without ue_pr"),
        (vec![("co", "{")], "co: not JSON"),
        (vec![("co", "")], "co: not JSON"),
        (vec![("co", inner.as_str())], "contexts/jsonschema/1-0-*"),
        (vec![("co", empty.as_str())], "co: iglu:com.snowplowanalytics.snowplow/contexts"),
        (vec![("e", "ue"), ("ue_pr", good.as_str())], "unstruct_event/jsonschema/1-0-*"),
        (vec![("e", "ue"), ("ue_pr", deep.as_str())], "40 deep"),
        (vec![("e", "ue"), ("ue_pr", unknown.as_str())], "ResolutionError"),
        (vec![("co", &session("userId", json!("6DE9024E-17B9-4026-BD4D-EFEC50AE84CB")))], "client_session"),
        (vec![("co", &session("sessionId", json!("1234567891234")))], "$/sessionId"),
        (vec![("co", &session("firstEventTimestamp", json!("noon")))], "$/firstEventTimestamp"),
        (vec![("co", &session("storageMechanism", json!("MEMORY")))], "$/storageMechanism"),
        (vec![("co", &session("more", json!(1)))], "more"),
        (vec![("co", &session("sessionIndex", json!("2")))], "$/sessionIndex"),
    ] {
        let collector = collector();
        send(&collector, &[page_view(), with(&parameters), page_view()]);
        assert_eq!(counts(&collector), (2, 1), "{words}");
        assert!(only_errors(&collector).contains(words), "{words}: {}", only_errors(&collector));
    }
}

#[test]
fn a_list_of_entities_may_be_empty_in_its_later_version_only() {
    let collector = collector();
    let empty = contexts(&[]);
    send(&collector, &[with(&[("co", &empty.replace("1-0-0", "1-0-1"))]), with(&[("co", &empty)])]);
    assert_eq!(counts(&collector), (1, 1));
    assert!(only_errors(&collector).contains("contexts/jsonschema/1-0-0"), "{}", only_errors(&collector));
}

#[test]
fn every_error_of_an_event_is_listed_within_bounds() {
    let collector = collector();
    send(&collector, &[with(&[("eid", "1"), ("sid", "2"), ("p", "3"), ("co", "{"), ("uid", &"x".repeat(100_000))])]);
    assert_eq!(collector.stream().snowplow_bad()[0].errors().len(), 5);
    let entities: Vec<_> = (0..500).map(|_| ("iglu:com.acme/n/jsonschema/1-0-0", json!({}))).collect();
    send(&collector, &[with(&[("co", &contexts(&entities))])]);
    let stream = collector.stream();
    assert_eq!(stream.snowplow_bad()[1].errors().len(), 10);
    assert!(stream.snowplow_bad().iter().flat_map(|row| row.errors()).all(|error| error.len() <= 510));
}

#[test]
fn an_error_about_a_long_value_still_says_what_is_wrong_with_it() {
    let long = "é".repeat(5000);
    let entity = contexts(&[("iglu:com.acme/n/jsonschema/1-0-0", json!({ "text": long }))]);
    let schema = r#"{ "properties": { "text": { "type": "string", "maxLength": 255 } } }"#;
    for (key, value, words) in [
        ("ua", long.as_str(), "5000 characters, at most 1000 are allowed"),
        ("co", entity.as_str(), "is longer than 255 characters"),
    ] {
        let builder = DevCollector::builder().with_schema("iglu:com.acme/n/jsonschema/1-0-0", schema);
        let collector = builder.build().expect("a collector");
        send(&collector, &[with(&[(key, value)])]);
        let stream = collector.stream();
        let [error] = stream.snowplow_bad()[0].errors() else { panic!("one error") };
        assert!(error.ends_with(words), "{error}");
        assert!(error.len() <= 510 && error.contains('…'), "{error}");
    }
}

#[test]
fn the_derived_time_is_the_true_one_else_the_arrival_less_the_wait_else_the_arrival() {
    let collector = collector();
    let (early, late) = ("1795164538000", "1795164538750");
    for times in [
        vec![("ttm", "1763625600123"), ("dtm", early), ("stm", late)],
        vec![("dtm", early), ("stm", late)],
        vec![("dtm", late), ("stm", early)],
        vec![("dtm", early)],
        // A wait of ten thousand years would lead before the first year that can be written.
        vec![("dtm", "-62167219200000"), ("stm", "253402300799999")],
    ] {
        send(&collector, &[with(&times)]);
    }
    let stream = collector.stream();
    let millis = |index: usize, column: &str| {
        let text = stream.snowplow_good()[index].column(column).and_then(Json::as_str).expect("a time").to_owned();
        in_day(&text)
    };
    assert_eq!(stream.snowplow_good()[0].column("derived_tstamp"), Some(&json!("2025-11-20T08:00:00.123Z")));
    for (index, wait) in [(1, 750), (2, 0), (3, 0), (4, 0)] {
        let difference = (millis(index, "collector_tstamp") - millis(index, "derived_tstamp")).rem_euclid(DAY);
        assert_eq!(difference, wait, "event {index}");
    }
}

#[test]
fn what_an_event_says_is_there_in_types() {
    let collector = collector();
    let inner = unstruct(APPLICATION, &json!({ "version": "1" }));
    let session = contexts(&[(APPLICATION, json!({ "version": "2" })), (CLIENT_SESSION, client_session())]);
    send(
        &collector,
        &[with(&[("e", "ue"), ("ue_pr", &inner), ("co", &session), ("sid", SID), ("eid", EID)]), page_view()],
    );
    let stream = collector.stream();
    let [first, second] = stream.snowplow_good() else { panic!("two events") };
    assert_eq!((first.event_type(), first.schema(), first.event_id()), ("unstruct", APPLICATION, EID));
    assert_eq!(first.self_describing(), Some(&json!({ "schema": APPLICATION, "data": { "version": "1" } })));
    let uris: Vec<_> = first.contexts().iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!((uris, first.session_id(), first.is_anonymous()), (vec![APPLICATION, CLIENT_SESSION], Some(SID), false));
    let session = first.client_session().expect("a session");
    assert_eq!((session.session_id.as_str(), session.session_index, session.event_index), (SID, 2, Some(1)));
    assert_eq!((session.storage_mechanism.as_str(), session.previous_session_id), ("SQLITE", None));
    assert_eq!((session.first_event_id.as_deref(), session.user_id.len()), (Some(EID), 36));
    assert_eq!(session.first_event_timestamp.as_deref(), Some("2026-11-20T08:00:00.000Z"));
    assert_eq!((second.event_type(), second.client_session(), second.session_id()), ("page_view", None, None));
    assert_eq!(second.event_id().len(), 36, "made here when none was sent");
    assert!(first.sequence < second.sequence);
    assert!(!format!("{stream:?}{first:?}").contains("127.0.0.1"), "no addresses and headers in what may be logged");
}

#[test]
fn snowplow_records_stand_in_the_export_and_in_the_timeline() {
    let collector = collector();
    send(&collector, &[page_view(), with(&[("eid", "1")])]);
    let stream = collector.stream();
    let lines: Vec<Json> =
        stream.to_json_lines().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = lines.iter().map(|line| (line["kind"].as_str(), line["sequence"].as_u64())).collect();
    assert_eq!(kinds, [(Some("snowplow_good"), Some(1)), (Some("snowplow_bad"), Some(2))]);
    assert_eq!(lines[0]["event"]["platform"], "web");
    assert!(stream.timeline().contains("snowplow: 1 good, 1 bad, in 1 request\n"), "{}", stream.timeline());
}

#[test]
fn the_collector_waits_for_events() {
    let collector = collector();
    let arrived = std::thread::scope(|scope| {
        scope.spawn(|| send(&collector, &[page_view()]));
        collector.wait_until(Duration::from_secs(60), |stream| stream.snowplow_good().len() == 1)
    });
    assert!(arrived);
}

#[test]
fn the_arrival_is_now() {
    #[allow(clippy::disallowed_methods)] // it is the collector's reading of the clock that is tested
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64 % DAY;
    let collector = DevCollector::start().expect("a collector");
    let before = now();
    send(&collector, &[page_view()]);
    let arrived = collector.stream().snowplow_good()[0].column("collector_tstamp").and_then(Json::as_str).map(in_day);
    let past = (arrived.expect("a time") - before).rem_euclid(DAY);
    assert!(past <= (now() - before).rem_euclid(DAY), "{past} ms after the request was sent");
}

/// The milliseconds since midnight of an ISO time.
fn in_day(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("a number");
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
}

fn nested(levels: usize) -> Json {
    (0..levels).fold(Json::Null, |inner, _| json!([inner]))
}

/// Standard base64 with padding, written here so that no decoder is tested by its own sibling.
fn wire_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, index| bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            text.push(if shown { ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

const JSON: &str = "Content-Type: application/json\r\n";
const DAY: i64 = 86_400_000;
