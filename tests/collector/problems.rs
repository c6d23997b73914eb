//! Every kind of problem is found when it is there, and not when it is not.

use otel_session::collector::{DevCollector, Problem, SignalKind};
use serde_json::{Value as Json, json};

use crate::story::{clean_logs, end, event, log, push, send_logs, send_logs_of, send_spans, span, start, stream_of};
use crate::wire::{EPOCH, SECOND, json_pair};

#[test]
fn a_clean_stream_has_no_problems_whichever_of_spans_and_logs_arrive_first() {
    let mut work = span("s1", 2, 60);
    work["events"] = json!([event("s1", 3), event("s2", 45)]);
    let spans = [work, span("s2", 40, 44)];
    assert_eq!(stream_of(&clean_logs(), &spans).problems(), []);

    let collector = DevCollector::start().expect("a collector");
    send_logs(&collector, &clean_logs());
    send_spans(&collector, &spans);
    assert_eq!(collector.stream().problems(), []);
    assert_eq!(DevCollector::start().expect("a collector").stream().problems(), []);
}

#[test]
fn a_signal_without_a_session_id_is_found_on_spans_span_events_and_logs() {
    let bare = |mut signal: Json| {
        signal["attributes"] = json!([]);
        signal
    };
    let mut with_event = span("s1", 1, 3);
    with_event["events"] = json!([bare(event("s1", 2))]);
    let stream = stream_of(&[start("s1", None, 0), bare(log("s1", 2))], &[bare(span("s1", 1, 2)), with_event]);
    let kinds: Vec<_> = stream
        .problems()
        .into_iter()
        .map(|problem| match problem {
            Problem::MissingSessionId { signal, .. } => signal.kind,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, [SignalKind::Log, SignalKind::Span, SignalKind::SpanEvent]);
}

#[test]
fn an_empty_session_id_and_one_that_is_a_number_are_missing() {
    let mut number = log("s1", 2);
    number["attributes"] = json!([{ "key": "session.id", "value": { "intValue": "7" } }]);
    assert_eq!(found(&[log("", 1), number], &[]), ["log #1 has no session.id", "log #2 has no session.id"]);
}

#[test]
fn a_session_id_that_stands_twice_is_found() {
    let mut twice = span("s1", 1, 2);
    push(&mut twice, json_pair("session.id", "s1"));
    assert_eq!(found(&[start("s1", None, 0)], &[twice]), ["span #1 work has 2 attributes session.id"]);
}

#[test]
fn a_session_that_names_itself_as_the_previous_one_is_found() {
    assert_eq!(
        found(&[start("s1", Some("s1"), 0)], &[]),
        ["log #1 session.start names its session s1 as the previous one too"]
    );
}

#[test]
fn the_time_zero_is_found_on_spans_span_events_and_logs() {
    let mut endless = span("s1", 1, 2);
    endless["endTimeUnixNano"] = json!("0");
    endless["events"] = json!([event("s1", 1)]);
    endless["events"][0]["timeUnixNano"] = json!("0");
    let mut timeless = log("s1", 1);
    timeless["timeUnixNano"] = json!("0");
    timeless["observedTimeUnixNano"] = json!("0");
    let stream = [start("s1", None, 0), timeless];
    assert_eq!(
        found(&stream, &[endless]),
        ["log #3 has the time zero", "span #1 work has the time zero", "span event #1 click has the time zero"]
    );
}

#[test]
fn an_observed_time_is_enough_for_a_log_and_not_for_a_start() {
    let without_own_time = |mut log: Json| {
        log["timeUnixNano"] = json!("0");
        log
    };
    assert_eq!(found(&[start("s1", None, 0), without_own_time(log("s1", 1))], &[]), [""; 0]);
    assert_eq!(found(&[without_own_time(start("s1", None, 0))], &[]), ["log #1 session.start has the time zero"]);
}

#[test]
fn two_starts_and_two_ends_of_one_session_are_found() {
    let logs = [start("s1", None, 0), start("s1", None, 0), end("s1", "ended", 5), end("s1", "ended", 5)];
    assert_eq!(found(&logs, &[]), ["session s1 was started 2 times", "session s1 was ended 2 times"]);
}

#[test]
fn an_end_without_a_start_is_found_unless_a_crash_explains_it() {
    assert_eq!(found(&[end("s1", "inactivity", 5)], &[]), ["session s1 ended and was never started"]);
    assert_eq!(found(&[end("s1", "crash", 5)], &[]), [""; 0]);
    assert_eq!(found(&[end("s1", "Crash", 5)], &[]), [""; 0], "however another producer writes it");
}

#[test]
fn an_end_without_a_start_is_not_judged_once_records_were_dropped() {
    let collector = DevCollector::builder().with_max_records(1).build().expect("a collector");
    send_logs(&collector, &[start("s1", None, 0), end("s1", "ended", 5)]);
    assert_eq!((collector.stream().dropped(), collector.stream().problems()), (1, vec![]));
}

#[test]
fn a_span_is_not_held_against_an_end_that_was_dropped() {
    for start in [start("s2", None, 20), start("s2", Some("s1"), 20)] {
        let collector = DevCollector::builder().with_max_records(2).build().expect("a collector");
        send_logs(&collector, &[end("s1", "ended", 10), start]);
        send_spans(&collector, &[span("s2", 15, 21)]);
        assert_eq!((collector.stream().dropped(), collector.stream().problems()), (1, vec![]));
    }
}

#[test]
fn an_end_before_its_start_is_found() {
    assert_eq!(found(&[start("s1", None, 10), end("s1", "ended", 8)], &[]), ["session s1 ended 2s before it started"]);
    let mut linked = clean_logs();
    linked.push(end("s2", "ended", 8));
    let expected = ["session s2 ended 32s before it started"];
    assert_eq!(found(&linked, &[]), expected, "it is no signal that carries the wrong session");
}

#[test]
fn a_start_that_arrives_after_logs_of_its_session_is_found_once() {
    let logs = [log("s1", 1), log("s1", 2), end("s1", "ended", 3), start("s1", None, 0)];
    let expected = ["the start of session s1 arrived after 3 of its logs, the first of them log #1"];
    assert_eq!(found(&logs, &[]), expected);

    let collector = DevCollector::start().expect("a collector");
    for one in logs {
        send_logs(&collector, &[one]);
    }
    let problems: Vec<_> = collector.stream().problems().iter().map(Problem::to_string).collect();
    assert_eq!(problems, expected, "over several requests too");
}

#[test]
fn logs_of_another_resource_may_arrive_before_the_start() {
    let collector = DevCollector::start().expect("a collector");
    send_logs_of(&collector, "worker", &[log("s1", 1)]);
    send_logs_of(&collector, "shop", &[start("s1", None, 0), log("s1", 2)]);
    assert_eq!(collector.stream().problems(), []);
}

#[test]
fn a_log_of_an_older_session_may_follow_its_end() {
    let logs = [clean_logs(), vec![log("s1", 9)]].concat();
    assert_eq!(found(&logs, &[]), [""; 0]);
}

#[test]
fn a_previous_session_that_has_not_ended_is_found() {
    let expected = ["session s2 started before the end of its previous session s1 arrived"];
    assert_eq!(found(&[start("s1", None, 0), start("s2", Some("s1"), 5)], &[]), expected);
    let late = [start("s1", None, 0), start("s2", Some("s1"), 5), end("s1", "ended", 5)];
    assert_eq!(found(&late, &[]), expected);
}

#[test]
fn a_previous_session_that_was_never_seen_or_ended_elsewhere_is_no_problem() {
    assert_eq!(found(&[start("s2", Some("unseen"), 5)], &[]), [""; 0]);
    let collector = DevCollector::start().expect("a collector");
    send_logs_of(&collector, "one", &[start("s1", None, 0), start("s2", Some("s1"), 5)]);
    send_logs_of(&collector, "two", &[end("s1", "inactivity", 5)]);
    assert_eq!(collector.stream().problems(), []);

    let collector = DevCollector::start().expect("a collector");
    send_logs_of(&collector, "one", &[start("s1", None, 0)]);
    send_logs_of(&collector, "two", &[start("s2", Some("s1"), 5)]);
    assert_eq!(collector.stream().problems(), [], "started elsewhere: what arrived first says nothing");
    assert_eq!(found(&[start("s2", Some("s1"), 5), start("s1", None, 0)], &[]), [""; 0], "seen to start only after it");
}

#[test]
fn a_signal_older_than_its_session_is_found_when_the_previous_one_still_ran() {
    let mut with_event = span("s1", 2, 50);
    with_event["events"] = json!([event("s2", 7)]);
    let mut logs = clean_logs();
    logs.push(log("s2", 8));
    assert_eq!(
        found(&logs, &[span("s2", 9, 50), with_event]),
        [
            "log #9 carries session s2 but is 32s older than it, of the time of s1",
            "span #1 work carries session s2 but is 31s older than it, of the time of s1",
            "span event #2 click carries session s2 but is 33s older than it, of the time of s1",
        ]
    );
}

#[test]
fn a_log_without_a_time_of_its_own_is_not_older_than_its_session() {
    let mut logs = clean_logs();
    let mut observed_early = log("s2", 8);
    observed_early["timeUnixNano"] = json!("0");
    logs.push(observed_early);
    assert_eq!(found(&logs, &[]), [""; 0]);
}

#[test]
fn times_between_two_sessions_belong_to_the_later() {
    assert_eq!(found(&clean_logs(), &[span("s2", 30, 41)]), [""; 0]);
}

#[test]
fn times_between_an_unlinked_end_and_the_next_start_belong_to_the_later_too() {
    let logs = [start("s1", None, 0), log("s1", 5), end("s1", "ended", 10), start("s2", None, 20), log("s2", 20)];
    let mut with_event = span("s1", 5, 16);
    with_event["events"] = json!([event("s2", 15)]);
    assert_eq!(found(&logs, &[span("s2", 15, 16), span("s2", 10, 11), with_event]), [""; 0]);
    let expected = "span #1 work carries session s2 but is 11s older than it";
    assert_eq!(found(&logs, &[span("s2", 9, 16)]), [expected], "the first still ran");
}

#[test]
fn an_end_of_other_sessions_in_the_same_program_proves_nothing_against_a_span() {
    // Two sets of sessions with one resource: the last end before the start of a2 is one of the others'.
    let logs = [
        start("a1", None, 0),
        start("b1", None, 0),
        end("a1", "ended", 10),
        end("b1", "inactivity", 15),
        start("a2", None, 20),
    ];
    assert_eq!(found(&logs, &[span("a2", 12, 21)]), [""; 0]);
    let expected = "span #1 work carries session a2 but is 11s older than it";
    assert_eq!(found(&logs, &[span("a2", 9, 21)]), [expected], "no session had ended");

    // Either start may follow either end, but none an end that is later than itself.
    let of_two = |b1_ended| {
        vec![
            start("a1", None, 0),
            start("b1", None, 0),
            end("a1", "ended", 10),
            end("b1", "ended", b1_ended),
            start("b2", None, 20),
            start("a2", None, 30),
        ]
    };
    assert_eq!(found(&of_two(15), &[span("a2", 12, 31), span("b2", 16, 21)]), [""; 0]);
    let expected = "span #1 work carries session a2 but is 6s older than it";
    assert_eq!(found(&of_two(25), &[span("a2", 24, 31)]), [expected], "b2 followed a1");
}

#[test]
fn an_end_that_another_session_followed_excuses_nothing() {
    let expected = "span #1 work carries session s3 but is 15s older than it";
    let last = [end("s2", "ended", 30), start("s3", None, 40)];
    for second in [start("s2", Some("s1"), 20), start("s2", None, 20)] {
        let logs = [&[start("s1", None, 0), end("s1", "ended", 10), second], last.as_slice()].concat();
        assert_eq!(found(&logs, &[span("s3", 25, 41)]), [expected]);
        assert_eq!(found(&logs, &[span("s3", 30, 41)]), [""; 0]);
    }
    // What arrives a second time changes nothing of that.
    let (first, second) = (end("s1", "ended", 10), start("s2", None, 20));
    let logs = [&[start("s1", None, 0), first.clone(), second.clone(), first], last.as_slice()].concat();
    assert_eq!(found(&logs, &[span("s3", 25, 41)]), [expected, "session s1 was ended 2 times"]);
    let logs = [start("s1", None, 0), end("s1", "ended", 10), second.clone(), end("s2", "ended", 30), second];
    assert_eq!(found(&logs, &[span("s2", 15, 21)]), ["session s2 was started 2 times"]);
}

#[test]
fn an_end_of_another_resource_says_nothing_of_when_a_session_began() {
    let collector = DevCollector::start().expect("a collector");
    send_logs_of(&collector, "worker", &[start("s1", None, 0), end("s1", "ended", 10)]);
    send_logs(&collector, &[start("s2", None, 20)]);
    send_spans(&collector, &[span("s2", 15, 16)]);
    assert_eq!(collector.stream().problems().len(), 1);
}

#[test]
fn a_span_that_is_older_than_the_first_session_shows_that_the_start_came_after_it() {
    let mut late = clean_logs();
    late[0] = start("s1", None, 4);
    assert_eq!(found(&late, &[span("s1", 1, 5)]), ["span #1 work carries session s1 but is 3s older than it"]);

    // A span takes its time a moment before the thread that begins the session takes the session's.
    let earlier_by = |millis: u64| {
        let mut span = span("s1", 4, 5);
        span["startTimeUnixNano"] = json!((EPOCH + 4 * SECOND - millis * 1_000_000).to_string());
        span
    };
    assert_eq!(found(&late, &[earlier_by(100)]), [""; 0]);
    assert_eq!(found(&late, &[earlier_by(101)]).len(), 1);
}

#[test]
fn a_sender_that_orders_its_attributes_differently_is_still_the_same_resource() {
    let collector = DevCollector::start().expect("a collector");
    let (name, host) = (json_pair("service.name", "shop"), json_pair("host.name", "h"));
    for (attributes, record) in [(json!([name, host]), log("s1", 1)), (json!([host, name]), start("s1", None, 0))] {
        let body = json!({ "resourceLogs": [
            { "resource": { "attributes": attributes }, "scopeLogs": [{ "logRecords": [record] }] },
        ] });
        assert_eq!(crate::client::post_json(&collector.otlp_http_endpoint(), "/v1/logs", &body).status, 200);
    }
    assert_eq!(collector.stream().problems().len(), 1);
}

/// The problems of a stream as sentences; spans arrive first.
fn found(logs: &[Json], spans: &[Json]) -> Vec<String> {
    stream_of(logs, spans).problems().iter().map(Problem::to_string).collect()
}
