//! The development collector as Opentracker's event engine: the rules of its document, and its six examples.

#[allow(dead_code)] // shared with the tests of the OTLP side
#[path = "collector/client.rs"]
mod client;

use otel_session::collector::{DevCollector, OpentrackerRecord, Refusal};
use serde_json::Value as Json;

use client::{Reply, exchange, post};

#[test]
fn example_1_a_first_event_gives_its_id_to_session_and_user() {
    let collector = collector();
    let eid = track(&collector, "message=Please%20track%20me&si=test.opentracker.net");
    assert_eq!(eid.len(), 36, "a UUID: {eid}");
    let expected = [("message", "Please track me"), ("eid", &eid), ("sid", &eid), ("uid", &eid)];
    check(&events(&collector)[0], &expected);
    check(&sessions(&collector)[0], &expected);
    check(&users(&collector)[0], &expected);
}

#[test]
fn examples_2_to_4_events_of_a_known_session_add_up() {
    let collector = collector();
    // Example 2.
    let eid = track(&collector, "message=Please+track+me+too!&sid=1234567890&si=test.opentracker.net");
    let expected = [("message", "Please track me too!"), ("eid", &eid), ("sid", "1234567890"), ("uid", "1234567890")];
    check(&events(&collector)[0], &expected);
    check(&sessions(&collector)[0], &expected);
    check(&users(&collector)[0], &expected);
    // Example 3.
    let eid = track(&collector, "message=Please+track+a+seconds+event!&sid=1234567890&si=test.opentracker.net");
    let expected =
        [("message", "Please track a seconds event!"), ("eid", &eid), ("sid", "1234567890"), ("uid", "1234567890")];
    check(&events(&collector)[1], &expected);
    check(&sessions(&collector)[0], &expected);
    check(&users(&collector)[0], &expected);
    // Example 4. The document shows the user with privateMessage "Please track a seconds event!", which no event ever
    // carried: a slip, since by its own rule the user takes the event's property, as the session above it does.
    let eid = track(&collector, "privateMessage=Please+track+a+third+event!&sid=1234567890&si=test.opentracker.net");
    let private = ("privateMessage", "Please track a third event!");
    let ids = [("eid", eid.as_str()), ("sid", "1234567890"), ("uid", "1234567890")];
    check(&events(&collector)[2], &[&[private], &ids[..]].concat());
    let both = [&[("message", "Please track a seconds event!"), private], &ids[..]].concat();
    check(&sessions(&collector)[0], &both);
    check(&users(&collector)[0], &both);
    assert_eq!((events(&collector).len(), sessions(&collector).len(), users(&collector).len()), (3, 1, 1));
}

#[test]
fn example_5_given_ids_are_used_as_they_are() {
    let collector = collector();
    let eid = track(&collector, "message=Please+track+me+too!&sid=1234567890&uid=123456&si=test.opentracker.net");
    let expected = [("message", "Please track me too!"), ("eid", &eid), ("sid", "1234567890"), ("uid", "123456")];
    check(&events(&collector)[0], &expected);
    check(&sessions(&collector)[0], &expected);
    check(&users(&collector)[0], &expected);
}

#[test]
fn example_6_a_user_without_a_session_begins_a_new_one() {
    let collector = collector();
    track(&collector, "message=before&sid=1234567890&uid=123456&si=test.opentracker.net");
    let eid = track(&collector, "message=Im%20a%20new%20session%20starting!&uid=123456&si=test.opentracker.net");
    let expected = [("message", "Im a new session starting!"), ("eid", &eid), ("sid", &eid), ("uid", "123456")];
    check(&events(&collector)[1], &expected);
    check(&sessions(&collector)[1], &expected);
    check(&users(&collector)[0], &expected);
    assert_eq!((sessions(&collector).len(), users(&collector).len()), (2, 1));
}

#[test]
fn a_form_is_read_like_a_query() {
    let collector = collector();
    let reply = form(&collector, "si=shop&message=%E2%9C%93+%C3%A0%20la&sid=s&uid=u");
    assert_eq!(reply.status, 200);
    let eid = String::from_utf8(reply.body).expect("text");
    check(&events(&collector)[0], &[("message", "✓ à la"), ("eid", &eid), ("sid", "s"), ("uid", "u")]);
    let charset = "Content-Type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\r\n";
    assert_eq!(post(&address(&collector), "/", charset, b"si=shop").status, 200);
    assert_eq!(post(&address(&collector), "/", "Content-Type: application/json\r\n", b"{}").status, 415);
}

#[test]
fn a_session_takes_the_user_of_its_last_event() {
    let collector = collector();
    for user in ["ada", "eve"] {
        track(&collector, &format!("si=test.opentracker.net&sid=s&uid={user}"));
    }
    let found = sessions(&collector);
    assert_eq!((found.len(), found[0].user_id()), (1, "eve"));
    assert_eq!(users(&collector).iter().map(|it| it.user_id().to_owned()).collect::<Vec<_>>(), ["ada", "eve"]);
}

#[test]
fn a_request_without_a_site_is_refused_in_words() {
    let collector = collector();
    for query in ["", "?", "?message=x", "?si=", "?si=a&si="] {
        let reply = get(&collector, &format!("/{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(String::from_utf8_lossy(&reply.body).contains("si is missing or empty"));
    }
    assert_eq!(form(&collector, "message=x").status, 400);
    let stream = collector.stream();
    assert_eq!((stream.opentracker_events().len(), stream.refusals().count(Refusal::Malformed)), (0, 6));
}

#[test]
fn a_property_name_that_is_not_ascii_or_has_a_space_is_refused_by_name() {
    let collector = collector();
    for (query, name) in [("a+b=1", "a b"), ("a%20b=1", "a b"), ("%C3%A9=1", "é"), ("=1", ""), ("a%0Ab=1", "a\\nb")] {
        let reply = get(&collector, &format!("/?si=shop&{query}"));
        assert_eq!(reply.status, 400, "{query}");
        let words = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(words.contains(&format!("property name \"{name}\"")), "{words}");
    }
    track(&collector, "si=shop&session.id=1&a-b_c!~=2");
    assert_eq!(events(&collector)[0].get("session.id"), Some("1"), "dots are ASCII");
}

#[test]
fn what_the_server_sets_is_not_taken_from_the_request() {
    let collector = collector();
    let eid = track(&collector, "si=shop&eid=mine&unixtimestamp=5&sid=&uid=&ti=a&ti=b");
    let event = &events(&collector)[0];
    check(event, &[("ti", "b"), ("eid", &eid), ("sid", &eid), ("uid", &eid)]);
    assert_ne!(eid, "mine");
    assert!(event.unix_millis() > 1_700_000_000_000, "{}", event.unix_millis());
}

#[test]
fn sites_do_not_share_sessions_and_users() {
    let collector = collector();
    track(&collector, "si=shop&sid=1&a=shop");
    track(&collector, "si=blog&sid=1&b=blog");
    let sessions = sessions(&collector);
    assert_eq!((sessions[0].site.as_str(), sessions[0].get("b")), ("shop", None));
    assert_eq!((sessions[1].site.as_str(), sessions[1].get("a")), ("blog", None));
}

#[test]
fn only_the_root_takes_events_by_get_and_post() {
    let collector = collector();
    assert_eq!(get(&collector, "/i?si=shop").status, 404);
    let put = exchange(&address(&collector), b"PUT /?si=a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert!(put.status == 405 && put.head.contains("allow: get, post"), "{}", put.head);
    assert_eq!(collector.stream().opentracker_events().len(), 0);
}

#[test]
fn bodies_and_records_are_bounded() {
    let builder = DevCollector::builder().with_max_body_bytes(1_000).with_max_records(2);
    let collector = builder.build().expect("a collector");
    assert_eq!(form(&collector, &format!("si=shop&a={}", "x".repeat(1_000))).status, 413);
    for session in ["1", "2", "3"] {
        track(&collector, &format!("si=shop&sid={session}&uid=u"));
    }
    track(&collector, "si=shop&sid=2&uid=u&late=yes");
    let ids = |records: &[std::sync::Arc<OpentrackerRecord>]| {
        records.iter().map(|record| record.session_id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&events(&collector)), ids(&sessions(&collector))),
        (vec!["3".into(), "2".into()], vec!["2".into(), "3".into()])
    );
    assert_eq!(sessions(&collector)[0].get("late"), Some("yes"));
    assert_eq!((users(&collector).len(), collector.stream().dropped()), (1, 2));
}

#[test]
fn sessions_and_users_are_bounded_in_bytes_as_the_events_are() {
    let collector = DevCollector::builder().with_max_stored_bytes(1 << 20).build().expect("a collector");
    for session in 0..20 {
        form(&collector, &format!("si=shop&sid={session}&a={}", "x".repeat(100_000)));
    }
    let kept = [events(&collector).len(), sessions(&collector).len(), users(&collector).len()];
    assert_eq!(kept, [10; 3], "records of 100 kB in 1 MiB");
    assert_eq!(sessions(&collector)[9].session_id(), "19");
}

#[test]
fn a_session_that_made_room_and_comes_again_is_a_new_one() {
    let collector = DevCollector::builder().with_max_records(1).build().expect("a collector");
    for query in ["si=shop&sid=1&old=yes", "si=shop&sid=2", "si=shop&sid=1"] {
        track(&collector, query);
    }
    let found = sessions(&collector);
    assert_eq!((found.len(), found[0].session_id(), found[0].get("old")), (1, "1", None));
}

#[test]
fn very_many_properties_are_merged_in_bounds() {
    let collector = collector();
    for event in ["a", "b"] {
        let names: String = (0..100_000).map(|name| format!("&{event}{name}=")).collect();
        assert_eq!(form(&collector, &format!("si=shop&sid=1{names}")).status, 200);
    }
    assert_eq!(sessions(&collector).len(), 1);
}

#[test]
fn records_stand_in_the_export_and_in_the_timeline() {
    let collector = collector();
    track(&collector, "si=shop&ti=Home&sid=1&uid=2");
    let stream = collector.stream();
    let line: Json = serde_json::from_str(stream.to_json_lines().trim()).expect("one line of JSON");
    assert_eq!(
        (&line["kind"], &line["site"], &line["properties"]["ti"]),
        (&"opentracker".into(), &"shop".into(), &"Home".into())
    );
    assert!(stream.timeline().contains("opentracker: 1 event, 1 session, 1 user\n"), "{}", stream.timeline());
}

fn collector() -> DevCollector {
    DevCollector::start().expect("a collector")
}

fn address(collector: &DevCollector) -> String {
    collector.opentracker_endpoint().trim_end_matches('/').to_owned()
}

/// Sends an event and gives the id that it was given.
fn track(collector: &DevCollector, query: &str) -> String {
    let reply = get(collector, &format!("/?{query}"));
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    String::from_utf8(reply.body).expect("text")
}

fn get(collector: &DevCollector, target: &str) -> Reply {
    let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    exchange(&address(collector), head.as_bytes())
}

fn form(collector: &DevCollector, body: &str) -> Reply {
    post(&address(collector), "/", "Content-Type: application/x-www-form-urlencoded\r\n", body.as_bytes())
}

fn events(collector: &DevCollector) -> Vec<std::sync::Arc<OpentrackerRecord>> {
    collector.stream().opentracker_events().to_vec()
}

fn sessions(collector: &DevCollector) -> Vec<std::sync::Arc<OpentrackerRecord>> {
    collector.stream().opentracker_sessions()
}

fn users(collector: &DevCollector) -> Vec<std::sync::Arc<OpentrackerRecord>> {
    collector.stream().opentracker_users()
}

/// Exactly these properties, in any order, and the server's time.
fn check(record: &OpentrackerRecord, expected: &[(&str, &str)]) {
    let mut properties: Vec<_> = record.properties().filter(|(name, _)| *name != "unixtimestamp").collect();
    let mut expected = expected.to_vec();
    properties.sort_unstable();
    expected.sort_unstable();
    assert_eq!(properties, expected);
    assert!(record.unix_millis() > 0 && record.get("si").is_none());
}
