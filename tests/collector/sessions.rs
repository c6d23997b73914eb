//! Sessions in their chains, and how they are drawn.

use std::time::Duration;

use otel_session::collector::DevCollector;
use serde_json::json;

use crate::client::post_json;
use crate::story::{clean_logs, end, event, log, push, send_logs, span, start, stream_of, time};
use crate::wire::json_pair;

#[test]
fn a_session_has_its_times_its_reason_and_its_counts() {
    let mut first = start("s1", None, 0);
    push(&mut first, json!({ "key": "otel_session.index", "value": { "intValue": "1" } }));
    push(&mut first, json_pair("user.id", "ada"));
    let mut logs = clean_logs();
    logs[0] = first;
    let mut work = span("s1", 2, 60);
    work["events"] = json!([event("s1", 3), event("s2", 45)]);
    let stream = stream_of(&logs, &[work, span("s2", 42, 43)]);

    let sessions = stream.sessions();
    assert_eq!(sessions.len(), 2);
    let (first, second) = (&sessions[0], &sessions[1]);
    assert_eq!((first.id.as_str(), &first.previous_id, first.index), ("s1", &None, Some(1)));
    assert_eq!(first.user_id.as_deref(), Some("ada"));
    assert_eq!((first.started_at, first.ended_at), (Some(time(0)), Some(time(10))));
    assert_eq!((first.duration(), first.end_reason.as_deref()), (Some(Duration::from_secs(10)), Some("inactivity")));
    assert_eq!((first.spans, first.span_events, first.logs), (1, 1, 1));
    assert_eq!((second.id.as_str(), second.previous_id.as_deref()), ("s2", Some("s1")));
    assert_eq!((second.started_at, second.ended_at, second.duration()), (Some(time(40)), None, None));
    assert_eq!((second.spans, second.span_events, second.logs), (1, 1, 2));
    assert_eq!((second.first_seen, second.last_seen), (Some(time(40)), Some(time(45))));
    assert_eq!(second.resource.service_name(), Some("shop"));

    let signals = stream.by_session("s2");
    assert_eq!((signals.spans.len(), signals.events.len(), signals.logs.len()), (1, 1, 3));
    assert_eq!(signals.events[0].0.session_id(), Some("s1"), "an event may belong to a later session than its span");
    assert!(stream.unstarted().is_empty());
}

#[test]
fn chains_stand_one_after_another_whatever_the_order_of_arrival() {
    let logs = [start("b2", Some("b1"), 6), start("a3", Some("a2"), 9), start("a1", None, 0), start("b1", None, 2)];
    let stream = stream_of(&[&logs[..], &[start("a2", Some("a1"), 4)]].concat(), &[]);
    let ids: Vec<_> = stream.sessions().into_iter().map(|session| session.id).collect();
    assert_eq!(ids, ["a1", "a2", "a3", "b1", "b2"]);
}

#[test]
fn ten_thousand_sessions_in_a_chain_and_a_circle_of_two_are_listed_once_each() {
    let id = |number: u64| format!("s{number}");
    let mut logs: Vec<_> = (1..10_000).map(|number| start(&id(number), Some(&id(number - 1)), number)).collect();
    logs.push(start("x", Some("y"), 5));
    logs.push(start("y", Some("x"), 6));
    let stream = stream_of(&logs, &[]);
    let sessions = stream.sessions();
    assert_eq!(sessions.len(), 10_001);
    assert_eq!((sessions[0].id.as_str(), sessions[9_998].id.as_str()), ("s1", "s9999"));
    assert_eq!((sessions[9_999].id.as_str(), sessions[10_000].id.as_str()), ("x", "y"));
    assert!(stream.timeline().contains("… 9901 more before these"));
}

#[test]
fn adopted_ids_are_listed_as_never_started_and_are_no_problem() {
    let stream = stream_of(&[start("own", None, 0), log("own", 1), log("adopted", 2)], &[span("other", 3, 4)]);
    assert_eq!(stream.unstarted(), ["adopted", "other"]);
    assert_eq!(stream.sessions().len(), 3);
    assert_eq!(stream.problems(), []);
}

#[test]
fn a_session_whose_start_was_not_seen_is_described_by_its_end() {
    let mut last = end("s2", "crash", 10);
    for pair in [json_pair("session.previous_id", "s1"), json_pair("user.id", "u")] {
        push(&mut last, pair);
    }
    push(&mut last, json!({ "key": "otel_session.index", "value": { "intValue": "7" } }));
    let sessions = stream_of(&[last], &[]).sessions();
    assert_eq!((sessions.len(), sessions[0].id.as_str(), sessions[0].started_at), (1, "s2", None));
    assert_eq!((sessions[0].previous_id.as_deref(), sessions[0].user_id.as_deref()), (Some("s1"), Some("u")));
    assert_eq!((sessions[0].index, sessions[0].ended_at), (Some(7), Some(time(10))));
}

#[test]
fn the_timeline_shows_each_session_and_ends_with_the_verdict() {
    let logs = [clean_logs(), vec![end("s2", "shutdown", 50)]].concat();
    let timeline = stream_of(&logs, &[span("s1", 2, 3), span("s2", 42, 43)]).timeline();
    let expected = "\
shop · 2 sessions · 00:00:00.000 to 00:00:50.000 UTC
┌      s1            00:00:00.000     10.0 s  inactivity        1 spans     0 events     1 logs  ██████························
└      s2            00:00:40.000     10.0 s  shutdown          1 spans     0 events     2 logs  ························██████
0 problems";
    assert_eq!(timeline, expected);
}

#[test]
fn the_timeline_of_an_open_session_and_of_nothing_can_be_drawn() {
    let open = stream_of(&[start("3f2a91c0-89ab-4cde-8f01-23456789abcd", None, 3_723)], &[]).timeline();
    let expected = "\
shop · 1 session · 01:02:03.000 to 01:02:03.000 UTC
┌      3f2a91c0…     01:02:03.000          …  open              0 spans     0 events     0 logs  ▶·····························
0 problems";
    assert_eq!(open, expected);
    assert_eq!(stream_of(&[], &[]).timeline(), "no sessions\n0 problems");
}

#[test]
fn the_timeline_shows_the_last_hundred_sessions_the_first_twenty_problems_and_what_was_refused() {
    let collector = DevCollector::start().expect("a collector");
    let ends: Vec<_> = (0..101).map(|number| end(&format!("s{number}"), "ended", number)).collect();
    send_logs(&collector, &ends);
    assert_eq!(post_json(&collector.otlp_http_endpoint(), "/v1/nothing", &json!({})).status, 404);
    let timeline = collector.stream().timeline();
    let count = |what: &str| timeline.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("not started"), count("… 1 more before these")), (100, 1), "{timeline}");
    assert_eq!((count("  ! session"), count("  ! … and 81 more")), (20, 1), "{timeline}");
    assert!(timeline.contains("\n  requests refused: 1 unknown path\n"), "{timeline}");
    assert!(timeline.ends_with("\n101 problems"), "{timeline}");
}

#[test]
fn text_from_the_wire_cannot_steer_the_terminal() {
    let mut bad = log("\u{202e}\u{2066}evil\u{1b}[2J", 1);
    bad["eventName"] = json!("\u{7}bell\r");
    bad["timeUnixNano"] = json!("0");
    bad["observedTimeUnixNano"] = json!("0");
    // A row is drawn for a session that has a time.
    let shown = log("\u{202e}\u{2066}evil\u{1b}", 2);
    let timeline = stream_of(&[bad, shown], &[]).timeline();
    assert!(timeline.contains("evil") && timeline.contains("1 problem"), "{timeline}");
    assert!(
        !timeline.contains(|c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}".contains(c)),
        "{timeline:?}"
    );
}
