//! Requests on the wire: methods, faults, order, what comes back, and what a handle does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLoggerProvider};
use otel_session::export::Outbox;
use otel_session::export::opentracker::{Anonymity, Method};
use otel_session::testing::ManualClock;
use otel_session::{Loss, OpentrackerExporter};

use crate::crash::{Random, Scratch};
use crate::records::{event, export};
use crate::sink::{Call, Reply, Sink};
use crate::watched_store::Watched;
use crate::{LONG, builder, now, properties, value};

type Calls = Arc<Mutex<Vec<Call>>>;

/// A sink that keeps every call and answers as told.
fn sink(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> (Sink, Calls) {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let sink = Sink::start(move |call| {
        seen.lock().unwrap().push(call.clone());
        answer(call)
    });
    (sink, calls)
}

fn visit(session: &'static str, attributes: &[(&'static str, AnyValue)]) -> SdkLogRecord {
    event("visit", now(), &[&[("session.id", AnyValue::from(session))], attributes].concat())
}

fn sent(call: &Call) -> Vec<(String, String)> {
    if call.method == "GET" { properties(call.query().as_bytes()) } else { properties(&call.body) }
}

#[test]
fn by_get_an_event_is_the_query_and_by_post_the_same_text_is_a_form() {
    for method in [Method::Get, Method::Post] {
        let (sink, calls) = sink(|_| Reply::ok("4454d621-e056-4afc-bb5b-063a3f98e4a7"));
        let exporter =
            builder(&sink.endpoint()).with_method(method).with_custom_header("X-Key", "secret").build().unwrap();
        export(&exporter, &[visit("s", &[("path", "/a b+c&d=é".into())])]).unwrap();
        assert!(exporter.flush(LONG));
        let calls = calls.lock().unwrap();
        let [call] = &calls[..] else { panic!("one request: {calls:?}") };
        let text = match method {
            Method::Post => {
                assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/"));
                assert!(call.header("content-type").unwrap().starts_with("application/x-www-form-urlencoded"));
                String::from_utf8(call.body.clone()).unwrap()
            }
            _ => {
                assert_eq!((call.method.as_str(), call.body.len()), ("GET", 0));
                assert!(call.target.starts_with("/?si=test.opentracker.net&"), "{}", call.target);
                call.query().to_owned()
            }
        };
        assert!(text.ends_with("&path=%2Fa%20b%2Bc%26d%3D%C3%A9"), "{text}");
        assert_eq!(call.header("x-key"), Some("secret"));
    }
}

#[test]
fn a_url_that_would_be_too_long_goes_by_post() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).with_max_get_bytes(1_000).build().unwrap();
    for length in [100, 2_000] {
        export(&exporter, &[visit("s", &[("text", "x".repeat(length).into())])]).unwrap();
    }
    assert!(exporter.flush(LONG));
    let methods: Vec<_> = calls.lock().unwrap().iter().map(|call| call.method.clone()).collect();
    assert_eq!(methods, ["GET", "POST"]);
}

#[test]
fn a_url_is_too_long_from_one_byte_above_the_limit_on() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let send = |limit| {
        let exporter = builder(&sink.endpoint()).with_max_get_bytes(limit).build().unwrap();
        export(&exporter, &[visit("s", &[("text", "x".repeat(1_500).into())])]).unwrap();
        assert_eq!(exporter.shutdown(LONG).delivered, 1);
        calls.lock().unwrap().last().unwrap().clone()
    };
    let length = sink.endpoint().len() + send(60_000).target.len();
    assert_eq!((send(length).method.as_str(), send(length - 1).method.as_str()), ("GET", "POST"));
}

#[test]
fn the_same_bytes_are_sent_until_a_reply_is_complete() {
    for fault in [
        Reply::status(500),
        Reply::status(503),
        Reply::status(408),
        Reply::status(301),
        Reply::Nothing,
        Reply::Truncated(200),
    ] {
        let failures = AtomicU64::new(0);
        let (sink, calls) =
            sink(move |_| if failures.fetch_add(1, Ordering::AcqRel) < 3 { fault.clone() } else { Reply::ok("") });
        let exporter = builder(&sink.endpoint()).build().unwrap();
        export(&exporter, &[visit("s", &[])]).unwrap();
        let report = exporter.shutdown(LONG);
        assert_eq!((report.delivered, report.pending, report.dropped.total()), (1, 0, 0));
        let calls = calls.lock().unwrap();
        assert_eq!(calls.len(), 4);
        assert!(calls.iter().all(|call| call.target == calls[0].target), "{calls:?}");
    }
}

#[test]
fn an_event_that_is_refused_for_good_is_dropped_by_name_and_the_next_arrive() {
    for (status, loss) in [(400, Loss::EventRejected), (403, Loss::EventRejected), (413, Loss::EventTooLarge)] {
        let (sink, calls) =
            sink(move |call| if call.target.contains("spoilt") { Reply::status(status) } else { Reply::ok("") });
        let exporter = builder(&sink.endpoint()).build().unwrap();
        let records = [visit("a", &[]), visit("a", &[("note", "spoilt".into())]), visit("a", &[])];
        export(&exporter, &records).unwrap();
        let report = exporter.shutdown(LONG);
        assert_eq!((report.delivered, report.pending, report.dropped.count(loss)), (2, 0, 1), "{status}");
        assert_eq!(calls.lock().unwrap().len(), 3);
    }
}

#[test]
fn a_bad_record_does_not_spoil_its_batch() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).build().unwrap();
    let bad = [
        event("visit", now(), &[("session.id", "a\u{0}".into())]),
        event("session.start", now(), &[]),
        event("visit", now() - Duration::from_secs(61 * 24 * 60 * 60), &[("session.id", "a".into())]),
    ];
    export(&exporter, &[&bad[..], &[visit("a", &[("é", 1.into())])]].concat()).unwrap();
    let report = exporter.shutdown(LONG);
    assert_eq!(report.delivered, 1);
    assert_eq!(calls.lock().unwrap().len(), 1);
    for loss in [Loss::EventSessionId, Loss::EventWithoutSession, Loss::EventTooOld, Loss::EventField] {
        assert_eq!(report.dropped.count(loss), 1, "{loss}");
    }
}

#[test]
fn the_order_within_a_session_is_kept_with_eight_requests_in_flight() {
    let random = Mutex::new(Random(7));
    let most = Arc::new((Mutex::new((0_u64, 0_u64)), Condvar::new()));
    let at_once = Arc::clone(&most);
    let (sink, calls) = sink(move |_| {
        // Holds the first requests until several are there; replies come in any order, and some fail.
        let (count, changed) = &*at_once;
        let mut guard = count.lock().unwrap();
        guard.0 += 1;
        guard.1 = guard.1.max(guard.0);
        changed.notify_all();
        let (mut guard, _) =
            changed.wait_timeout_while(guard, Duration::from_millis(5), |(_, most)| *most < 8).unwrap();
        guard.0 -= 1;
        drop(guard);
        match random.lock().unwrap().below(10) {
            0 => Reply::status(503),
            1 => Reply::Nothing,
            _ => Reply::ok(""),
        }
    });
    let exporter = builder(&sink.endpoint()).build().unwrap();
    const SESSIONS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let records: Vec<_> =
        (0..600_i64).map(|number| visit(SESSIONS[number as usize % SESSIONS.len()], &[("n", number.into())])).collect();
    for batch in records.chunks(64) {
        export(&exporter, batch).unwrap();
    }
    let report = exporter.shutdown(LONG);
    assert_eq!((report.delivered, report.pending), (600, 0));
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut distinct = 0;
    for call in calls.lock().unwrap().iter() {
        let sent = sent(call);
        let (session, number) = (value(&sent, "sid").unwrap(), value(&sent, "n").unwrap().parse().unwrap());
        let before = last.insert(session.to_owned(), number).unwrap_or(-1);
        // The same again is a retry; anything else comes after all before it.
        assert!(number >= before, "{number} after {before} in {session}");
        distinct += u64::from(number > before);
    }
    assert_eq!(distinct, 600);
    assert!(most.0.lock().unwrap().1 >= 4, "requests were made one after the other");
}

#[test]
fn without_settings_eight_requests_are_under_way_at_most() {
    let under_way = Arc::new((Mutex::new((0_u64, 0_u64)), Condvar::new()));
    let at_once = Arc::clone(&under_way);
    let (sink, _) = sink(move |_| {
        let (count, changed) = &*at_once;
        let mut guard = count.lock().unwrap();
        guard.0 += 1;
        guard.1 = guard.1.max(guard.0);
        changed.notify_all();
        guard = changed.wait_timeout_while(guard, LONG, |(_, most)| *most < 8).unwrap().0;
        // A ninth would have the time to come.
        guard = changed.wait_timeout_while(guard, Duration::from_millis(50), |(_, most)| *most < 9).unwrap().0;
        guard.0 -= 1;
        Reply::ok("")
    });
    let exporter = builder(&sink.endpoint()).build().unwrap();
    const SESSIONS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    exporter.pause();
    export(&exporter, &SESSIONS.map(|session| visit(session, &[]))).unwrap();
    exporter.resume();
    assert_eq!(exporter.shutdown(LONG).delivered, SESSIONS.len() as u64);
    assert_eq!(under_way.0.lock().unwrap().1, 8);
}

#[test]
fn the_returned_event_id_is_told_with_ours_and_nonsense_is_not() {
    let replies = Mutex::new(vec!["not an id", "", " 4454d621-e056-4afc-bb5b-063a3f98e4a7\r\n"].into_iter());
    let (sink, calls) = sink(move |_| Reply::ok(replies.lock().unwrap().next().unwrap_or_default()));
    let told = Arc::<Mutex<Vec<(String, String)>>>::default();
    let heard = Arc::clone(&told);
    let exporter = builder(&sink.endpoint())
        .on_event_id(move |ours, theirs| {
            heard.lock().unwrap().push((ours.to_string(), theirs.to_owned()));
            panic!("a callback panics");
        })
        .build()
        .unwrap();
    for _ in 0..3 {
        export(&exporter, &[visit("s", &[])]).unwrap();
        assert!(exporter.flush(LONG));
    }
    // A flush that finds nothing left does not wait for the last callback; a shutdown does.
    assert_eq!(exporter.shutdown(LONG).delivered, 3);
    let ours = value(&sent(&calls.lock().unwrap()[2]), "event_id").unwrap().to_owned();
    assert_eq!(*told.lock().unwrap(), [(ours, "4454d621-e056-4afc-bb5b-063a3f98e4a7".to_owned())]);
    assert_eq!(exporter.losses().count(Loss::EventFilterPanic), 1);
}

#[test]
fn a_reply_that_is_too_long_delivers_its_event_and_tells_no_id() {
    let padded = format!("4454d621-e056-4afc-bb5b-063a3f98e4a7{}", " ".repeat(2 << 20));
    let (sink, calls) = sink(move |_| Reply::ok(padded.clone()));
    let told = Arc::<AtomicU64>::default();
    let heard = Arc::clone(&told);
    let exporter =
        builder(&sink.endpoint()).on_event_id(move |_, _| _ = heard.fetch_add(1, Ordering::AcqRel)).build().unwrap();
    export(&exporter, &[visit("s", &[]), visit("s", &[])]).unwrap();
    let report = exporter.shutdown(LONG);
    assert_eq!((report.delivered, report.pending, report.dropped.total()), (2, 0, 0));
    assert_eq!((calls.lock().unwrap().len(), told.load(Ordering::Acquire)), (2, 0));
}

#[test]
fn an_event_keeps_its_id_and_its_client_time_through_retries_and_a_record_id_makes_it_repeatable() {
    let failures = AtomicU64::new(0);
    let (sink, calls) =
        sink(move |_| if failures.fetch_add(1, Ordering::AcqRel) < 2 { Reply::Nothing } else { Reply::ok("") });
    let exporter = builder(&sink.endpoint()).build().unwrap();
    let at = now();
    let record = event("visit", at, &[("session.id", "s".into()), ("log.record.uid", "01HXYZ".into())]);
    export(&exporter, std::slice::from_ref(&record)).unwrap();
    export(&exporter, &[record]).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 2);
    let calls = calls.lock().unwrap();
    let id = uuid::Uuid::new_v5(&otel_session::export::opentracker::ID_NAMESPACE, b"01HXYZ").to_string();
    let millis = at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    assert_eq!(calls.len(), 4);
    for call in calls.iter() {
        let sent = sent(call);
        assert_eq!((value(&sent, "event_id"), value(&sent, "t_ms")), (Some(id.as_str()), Some(millis.as_str())));
    }
}

#[test]
fn an_opted_out_user_is_not_sent_and_what_was_accepted_before_is() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).build().unwrap();
    exporter.pause();
    export(&exporter, &[visit("before", &[])]).unwrap();
    exporter.set_opt_out(true);
    export(&exporter, &[visit("meanwhile", &[])]).unwrap();
    exporter.set_opt_out(false);
    export(&exporter, &[visit("after", &[])]).unwrap();
    assert_eq!(exporter.pending(), 2);
    exporter.resume();
    let report = exporter.shutdown(LONG);
    assert_eq!((report.delivered, report.dropped.total()), (2, 0));
    let sessions: Vec<_> = calls.lock().unwrap().iter().map(|it| value(&sent(it), "sid").unwrap().to_owned()).collect();
    assert!(!sessions.contains(&"meanwhile".to_owned()), "{sessions:?}");

    let asked = builder(&sink.endpoint()).with_opt_out(|| true).build().unwrap();
    export(&asked, &[visit("s", &[])]).unwrap();
    assert_eq!(asked.shutdown(LONG).delivered, 0);
}

#[test]
fn an_opt_out_holds_for_a_batch_that_is_being_looked_at() {
    let (sink, _calls) = sink(|_| Reply::ok(""));
    let handle = Arc::new(OnceLock::<OpentrackerExporter>::new());
    let known = Arc::clone(&handle);
    let exporter = builder(&sink.endpoint())
        .with_filter(move |_, _| {
            known.get().unwrap().set_opt_out(true);
            true
        })
        .build()
        .unwrap();
    handle.set(exporter.clone()).unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    assert_eq!((exporter.pending(), exporter.shutdown(LONG).delivered), (0, 0));
}

#[test]
fn anonymity_is_switched_for_what_comes_and_not_for_what_waits() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).with_max_in_flight(1).build().unwrap();
    exporter.pause();
    let record = visit("s", &[("user.id", "ada".into())]);
    for anonymity in [Anonymity::Off, Anonymity::SessionOnly, Anonymity::Full, Anonymity::Off] {
        exporter.set_anonymous(anonymity);
        export(&exporter, std::slice::from_ref(&record)).unwrap();
    }
    exporter.resume();
    assert_eq!(exporter.shutdown(LONG).delivered, 4);
    let ids: Vec<_> = calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| {
            let sent = sent(call);
            (value(&sent, "sid").map(str::to_owned), value(&sent, "uid").map(str::to_owned))
        })
        .collect();
    let (s, ada) = (|| Some("s".to_owned()), || Some("ada".to_owned()));
    let mut expected = vec![(s(), ada()), (s(), None), (None, None), (s(), ada())];
    // An event without a session has a lane of its own, so it may overtake.
    let (mut ids, _) = (ids, expected.sort());
    ids.sort();
    assert_eq!(ids, expected);
}

#[test]
fn a_shutdown_reports_what_is_left_and_nothing_is_accepted_after_it() {
    let (sink, _) = sink(|_| Reply::status(503));
    let exporter = builder(&sink.endpoint()).build().unwrap();
    export(&exporter, &[visit("s", &[]), visit("s", &[])]).unwrap();
    assert!(!exporter.flush(Duration::from_millis(1)));
    let report = exporter.shutdown(Duration::from_millis(20));
    assert_eq!((report.delivered, report.pending), (0, 2));
    assert_eq!(report.dropped.count(Loss::EventUndelivered), 2);
    let lost = || exporter.losses().count(Loss::OutboxError);
    assert!(export(&exporter, &[visit("s", &[]), visit("s", &[])]).is_err());
    assert_eq!(lost(), 2);
    exporter.set_opt_out(true);
    assert!(export(&exporter, &[visit("s", &[])]).is_err());
    assert_eq!(lost(), 2, "it was not wanted");
    assert_eq!(exporter.shutdown(Duration::ZERO).pending, 2, "once more is fine");
}

#[test]
fn what_a_filter_holds_up_until_the_exporter_has_shut_down_is_refused_and_counted() {
    let (sink, _) = sink(|_| Reply::ok(""));
    let itself: Arc<OnceLock<OpentrackerExporter>> = Arc::default();
    let of_filter = Arc::clone(&itself);
    let exporter = builder(&sink.endpoint())
        .with_filter(move |_, _| {
            let _ = of_filter.get().unwrap().shutdown(LONG);
            true
        })
        .build()
        .unwrap();
    itself.set(exporter.clone()).unwrap();
    assert!(export(&exporter, &[visit("s", &[])]).is_err(), "nobody is there any more to send it");
    assert_eq!((exporter.pending(), exporter.losses().count(Loss::OutboxError)), (0, 1));
}

#[test]
fn the_pipelines_own_shutdown_flushes_and_leaves_the_handle_alone() {
    let (sink, _) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).build().unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    exporter.shutdown_with_timeout(LONG).unwrap();
    assert_eq!(exporter.pending(), 0);
    export(&exporter, &[visit("s", &[])]).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 2);

    let (failing, _) = self::sink(|_| Reply::status(503));
    let exporter = builder(&failing.endpoint()).build().unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    assert!(exporter.shutdown_with_timeout(Duration::from_millis(1)).is_err(), "and says what it could not do");
}

#[test]
fn age_is_told_by_the_exporters_clock() {
    let (sink, _) = sink(|_| Reply::ok(""));
    let clock = ManualClock::new(now());
    let exporter = builder(&sink.endpoint()).with_clock(clock.clone()).build().unwrap();
    let record = visit("s", &[]);
    export(&exporter, std::slice::from_ref(&record)).unwrap();
    clock.advance(Duration::from_secs(61 * 24 * 60 * 60));
    export(&exporter, std::slice::from_ref(&record)).unwrap();
    assert_eq!(exporter.losses().count(Loss::EventTooOld), 1);
}

#[test]
fn events_wait_in_a_file_for_the_next_exporter() {
    let scratch = Scratch::new("opentracker-wait");
    let path = scratch.path("outbox.db");
    let (sink, calls) = sink(|_| Reply::ok(""));
    let open =
        || -> OpentrackerExporter { builder(&sink.endpoint()).with_outbox(Outbox::sqlite(&path)).build().unwrap() };
    let exporter = open();
    exporter.pause();
    export(&exporter, &[visit("s", &[("n", 1.into())])]).unwrap();
    assert_eq!(exporter.shutdown(Duration::ZERO).pending, 1);
    drop(exporter);
    assert_eq!(open().shutdown(LONG).delivered, 1);
    assert_eq!(value(&sent(&calls.lock().unwrap()[0]), "n"), Some("1"));
}

#[cfg(feature = "snowplow")]
#[test]
fn a_file_of_the_other_bridge_is_refused_and_kept_for_it() {
    let scratch = Scratch::new("opentracker-other");
    let (sink, calls) = sink(|_| Reply::ok(""));
    let opentracker = |path| builder(&sink.endpoint()).with_outbox(Outbox::sqlite(path)).build();
    let snowplow = |path| {
        let builder = otel_session::SnowplowExporter::builder().with_endpoint(sink.endpoint()).with_app_id("shop");
        builder.with_outbox(Outbox::sqlite(path)).build()
    };
    let ours = scratch.path("ours.db");
    let exporter = opentracker(ours.clone()).unwrap();
    exporter.pause();
    export(&exporter, &[visit("s", &[("n", 1.into())])]).unwrap();
    assert_eq!(exporter.shutdown(Duration::ZERO).pending, 1);
    drop(exporter);
    let error = snowplow(ours.clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "with_outbox: the outbox belongs to an exporter to opentracker; give every exporter one of its own"
    );
    assert_eq!(opentracker(ours).unwrap().shutdown(LONG).delivered, 1);
    assert_eq!(calls.lock().unwrap().len(), 1);

    // Also if nothing waits in it: what comes later would be theirs and ours.
    let theirs = scratch.path("theirs.db");
    drop(snowplow(theirs.clone()).unwrap());
    let error = opentracker(theirs.clone()).unwrap_err().to_string();
    assert!(error.contains("belongs to an exporter to snowplow"), "{error}");
    drop(snowplow(theirs).unwrap());
}

#[test]
fn a_file_that_a_kill_left_with_an_empty_first_page_is_opened_again() {
    let scratch = Scratch::new("opentracker-first-page");
    let path = scratch.path("outbox.db");
    // What opening does first, and then no more.
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL;").unwrap();
    drop(connection);
    assert!(std::fs::metadata(&path).unwrap().len() > 0);
    let (sink, _) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).with_outbox(Outbox::sqlite(&path)).build().unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 1);
}

#[test]
fn callbacks_are_told_of_each_request_under_the_events_id() {
    let failures = AtomicU64::new(0);
    let (sink, calls) = sink(move |call| match failures.fetch_add(1, Ordering::AcqRel) {
        0 => Reply::status(503),
        _ if call.target.contains("spoilt") => Reply::status(400),
        _ => Reply::ok(""),
    });
    let told = Arc::<Mutex<Vec<String>>>::default();
    let (succeeded, failed) = (Arc::clone(&told), Arc::clone(&told));
    let exporter = builder(&sink.endpoint())
        .on_request_success(move |it| succeeded.lock().unwrap().push(format!("{} {}", it.events[0], it.status)))
        .on_request_failure(move |it| {
            failed.lock().unwrap().push(format!("{} {:?} {}", it.events[0], it.status, it.will_retry));
        })
        .build()
        .unwrap();
    export(&exporter, &[visit("s", &[]), visit("s", &[("note", "spoilt".into())])]).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 1);
    let ids: Vec<_> = calls.lock().unwrap().iter().map(|it| value(&sent(it), "event_id").unwrap().to_owned()).collect();
    let expected =
        [format!("{} Some(503) true", ids[0]), format!("{} 200", ids[1]), format!("{} Some(400) false", ids[2])];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn do_not_track_in_the_environment_is_respected_if_asked_for() {
    const ENDPOINT: &str = "OTEL_SESSION_TEST_DO_NOT_TRACK_ENDPOINT";
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        for (respect, delivered) in [(true, 0), (false, 1)] {
            let exporter = builder(&endpoint).with_do_not_track(respect).build().unwrap();
            export(&exporter, &[visit("s", &[])]).unwrap();
            assert_eq!(exporter.shutdown(LONG).delivered, delivered);
        }
        return;
    }
    let (sink, calls) = sink(|_| Reply::ok(""));
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "delivery::do_not_track_in_the_environment_is_respected_if_asked_for"])
        .env(ENDPOINT, sink.endpoint())
        .env("DO_NOT_TRACK", "1")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[test]
fn a_hook_that_logs_does_not_feed_the_exporter() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let inner = Arc::new(Mutex::new(None::<opentelemetry_sdk::logs::SdkLogger>));
    let logger = Arc::clone(&inner);
    let exporter = builder(&sink.endpoint())
        .with_filter(move |_, _| {
            let logger = logger.lock().unwrap().clone().expect("the pipeline is there");
            let mut record = logger.create_log_record();
            record.set_event_name("echo");
            logger.emit(record);
            true
        })
        .build()
        .unwrap();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    *inner.lock().unwrap() = Some(loggers.logger("hook"));
    // Not by the executor that the pipeline uses, which refuses to run within itself.
    let (record, scope) = (visit("s", &[]), opentelemetry::InstrumentationScope::builder("test").build());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(exporter.export(LogBatch::new(&[(&record, &scope)]))).unwrap();
    let report = exporter.shutdown(LONG);
    assert_eq!((report.delivered, report.dropped.total()), (1, 0));
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[test]
fn an_opt_out_that_logs_does_not_feed_the_exporter_either() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let inner: Arc<OnceLock<opentelemetry_sdk::logs::SdkLogger>> = Arc::default();
    let logger = Arc::clone(&inner);
    let exporter = builder(&sink.endpoint())
        .with_opt_out(move || {
            let logger = logger.get().expect("the pipeline is there");
            let mut record = logger.create_log_record();
            record.set_event_name("echo");
            logger.emit(record);
            false
        })
        .build()
        .unwrap();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    inner.set(loggers.logger("hook")).unwrap();
    let (record, scope) = (visit("s", &[]), opentelemetry::InstrumentationScope::builder("test").build());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(exporter.export(LogBatch::new(&[(&record, &scope)]))).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 1);
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[test]
fn hooks_and_callbacks_may_call_the_exporter() {
    let (sink, calls) = sink(|_| Reply::ok("4454d621-e056-4afc-bb5b-063a3f98e4a7"));
    let itself: Arc<OnceLock<OpentrackerExporter>> = Arc::default();
    let told = Arc::new(AtomicU64::new(0));
    let caller = || {
        let (itself, told) = (Arc::clone(&itself), Arc::clone(&told));
        move || {
            let exporter = itself.get().unwrap();
            exporter.set_anonymous(Anonymity::Off);
            exporter.set_opt_out(false);
            exporter.pause();
            exporter.resume();
            let _ = exporter.flush(Duration::ZERO);
            let _ = (exporter.pending(), exporter.losses(), format!("{exporter:?}"));
            told.fetch_add(1, Ordering::AcqRel);
        }
    };
    let (filter, mapping, opt_out, event_id, success) = (caller(), caller(), caller(), caller(), caller());
    let exporter = builder(&sink.endpoint())
        .with_filter(move |_, _| {
            filter();
            true
        })
        .with_mapping(move |_, _, _| mapping())
        .with_opt_out(move || {
            opt_out();
            false
        })
        .on_event_id(move |_, _| event_id())
        .on_request_success(move |_| success())
        .build()
        .unwrap();
    itself.set(exporter.clone()).unwrap();
    export(&exporter, &[visit("s", &[]), visit("s", &[])]).unwrap();
    assert_eq!(exporter.shutdown(LONG).delivered, 2);
    // Once for the batch, and four times for each event.
    assert_eq!((calls.lock().unwrap().len(), told.load(Ordering::Acquire)), (2, 9));
    // On the delivery thread, and within a hook, an end is no deadlock either.
    let itself: Arc<OnceLock<OpentrackerExporter>> = Arc::default();
    let callback = Arc::clone(&itself);
    let exporter = builder(&sink.endpoint())
        .on_request_success(move |_| drop(callback.get().unwrap().shutdown(LONG)))
        .build()
        .unwrap();
    itself.set(exporter.clone()).unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    assert!(exporter.flush(LONG) || exporter.pending() == 0);
    assert_eq!(exporter.shutdown(LONG).pending, 0);
}

#[test]
fn each_provider_that_feeds_one_exporter_keeps_its_resource() {
    let (sink, calls) = sink(|_| Reply::ok(""));
    let exporter = builder(&sink.endpoint()).with_resource_attribute("service.name").build().unwrap();
    let providers = ["shop", "stock"].map(|service| {
        let resource = Resource::builder_empty().with_service_name(service).build();
        SdkLoggerProvider::builder().with_resource(resource).with_simple_exporter(exporter.clone()).build()
    });
    for provider in &providers {
        provider.logger("test").emit(visit("s", &[]));
    }
    assert_eq!(exporter.shutdown(LONG).delivered, 2);
    let services: Vec<_> =
        calls.lock().unwrap().iter().map(|it| value(&sent(it), "service.name").unwrap().to_owned()).collect();
    assert_eq!(services, ["shop", "stock"]);
}

/// Its commit is to come, which the disk has to take anyway.
#[test]
fn what_is_removed_while_a_batch_is_mapped_waits_for_no_disk() {
    let (sink, _) = sink(|_| Reply::ok(""));
    let (store, removals) = Watched::new();
    let here: Arc<OnceLock<OpentrackerExporter>> = Arc::default();
    let (in_filter, clock) = (here.clone(), ManualClock::new(now()));
    let moves = clock.clone();
    let exporter = builder(&sink.endpoint())
        .with_clock(clock)
        .with_outbox(Outbox::custom(store))
        .with_filter(move |record, _| {
            if record.event_name() == Some("comes") {
                in_filter.wait().resume();
                // It is sent, then its removal falls due.
                assert!(moves.advance(Duration::from_secs(1)) && moves.advance(Duration::from_secs(1)));
            }
            true
        })
        .build()
        .unwrap();
    here.set(exporter.clone()).unwrap();
    exporter.pause();
    export(&exporter, &[visit("s", &[])]).unwrap();
    export(&exporter, &[event("comes", now(), &[("session.id", "s".into())])]).unwrap();
    assert_eq!(removals.try_recv(), Ok(true));
    assert!(exporter.flush(LONG));
    assert_eq!(removals.try_recv(), Ok(false), "no batch is in the making");
}

#[test]
fn a_shutdown_removes_what_was_delivered_although_a_callback_holds_its_thread_up() {
    let (sink, _) = sink(|_| Reply::ok(""));
    let (store, removals) = Watched::new();
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let wait = Mutex::new(wait);
    let exporter = builder(&sink.endpoint())
        .with_outbox(Outbox::custom(store))
        .on_request_success(move |_| {
            tell.send(()).unwrap();
            let _ = wait.lock().unwrap().recv();
        })
        .build()
        .unwrap();
    export(&exporter, &[visit("s", &[])]).unwrap();
    told.recv_timeout(LONG).unwrap();
    assert_eq!(exporter.shutdown(Duration::ZERO).delivered, 1);
    assert_eq!(removals.try_recv(), Ok(false), "or it would be sent again after the next start");
    drop(go);
}
