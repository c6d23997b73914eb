//! The bridge to Snowplow through kill -9 in a loop, with the collector outside of the killed process and a SQLite outbox:
//! every accepted event arrives, none under two ids, and the numbers of each session have no gap.
//!
//! A quick run by `cargo test`; the full one:
//!
//! `OTEL_SESSION_CRASH_KILLS=200 OTEL_SESSION_CRASH_EVENTS=100000 cargo test --release --features
//! snowplow,sqlite,testing --test snowplow_crash -- --nocapture`

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![allow(dead_code, unreachable_pub)] // what test crates share is public to each, and each uses a part

#[path = "support/crash.rs"]
mod crash;
#[path = "support/records.rs"]
mod records;
#[path = "support/sink.rs"]
mod sink;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::logs::SdkLogRecord;
use otel_session::SnowplowExporter;
use otel_session::export::{Outbox, RetryPolicy};
use serde_json::Value as Json;

use crash::{Plan, Random, Scratch, Task, run};
use records::{event, export};
use sink::{Call, Reply, Sink};

/// Events of one batch.
const BATCH: u64 = 50;
/// Sessions that are live at a time.
const LANES: u64 = 5;
/// After so many numbers all sessions are new ones; several kills later, that is.
const EPOCH: u64 = 4_000;
/// Longer than anything that is not stuck.
const LONG: Duration = Duration::from_secs(120);

/// An event as it came.
#[derive(Debug, Clone)]
struct Arrival {
    id: String,
    session: String,
    index: Option<u64>,
    first_event_id: Option<String>,
    /// None for the start of a session.
    number: Option<u64>,
}

#[test]
fn every_accepted_event_arrives_through_kill_minus_9_under_one_id_and_without_gaps_in_its_session() {
    let plan = Plan::or_from_environment(20, 8_000);
    let arrivals = Arc::<Mutex<Vec<Arrival>>>::default();
    let seen = Arc::clone(&arrivals);
    let random = Mutex::new(Random(plan.seed));
    let sink = Sink::start(move |call| {
        // Faults before anything is taken, and faults after: the reply is lost, so the events come again.
        let fault = random.lock().unwrap().below(20);
        if let Some(status) = [500, 503, 408, 429, 302].get(usize::try_from(fault).unwrap()) {
            return Reply::status(*status);
        }
        let mut arrived = decode(call);
        seen.lock().unwrap().append(&mut arrived);
        match fault {
            5 => Reply::Nothing,
            6 => Reply::Truncated(200),
            _ => Reply::ok("ok"),
        }
    });
    let scratch = Scratch::new("snowplow-crash");
    let accepted = run(plan, "child", &scratch.path("outbox.db"), &sink.endpoint());
    let arrivals = arrivals.lock().unwrap();
    check(&accepted, &arrivals);
    let ids: HashSet<_> = arrivals.iter().map(|it| &it.id).collect();
    println!("{} kills, {} events accepted, {} arrived", plan.kills, accepted.len(), ids.len());
    println!("{} arrivals, those that came again included", arrivals.len());
}

fn check(accepted: &[u64], arrivals: &[Arrival]) {
    let mut ids: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for arrival in arrivals {
        if let Some(number) = arrival.number {
            ids.entry(number).or_default().insert(&arrival.id);
        }
    }
    let lost: Vec<_> = accepted.iter().filter(|number| !ids.contains_key(number)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let changed: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(changed.is_empty(), "under several ids: {changed:?}");

    // By id, since an event may come more than once; then it says the same each time.
    let mut distinct: HashMap<&str, &Arrival> = HashMap::new();
    let mut sessions: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        match distinct.get(arrival.id.as_str()) {
            Some(before) => assert_eq!((before.index, before.number), (arrival.index, arrival.number), "{arrival:?}"),
            None => {
                distinct.insert(&arrival.id, arrival);
                // In the order of their first arrival.
                sessions.entry(&arrival.session).or_default().push(arrival);
            }
        }
    }
    for (session, events) in sessions {
        let indices: Vec<_> = events.iter().map(|it| it.index).collect();
        let expected: Vec<_> = (1..=events.len() as u64).map(Some).collect();
        assert_eq!(indices, expected, "the numbers of session {session}, in the order of arrival");
        let first = &events[0];
        assert_eq!(first.number, None, "a session begins with its start");
        assert!(
            events.iter().all(|it| it.first_event_id.as_ref() == Some(&first.id)),
            "the first event of session {session}"
        );
    }
}

/// The events of a POST.
fn decode(call: &Call) -> Vec<Arrival> {
    let body: Json = serde_json::from_slice(&call.body).unwrap();
    body["data"].as_array().unwrap().iter().map(arrival).collect()
}

fn arrival(event: &Json) -> Arrival {
    let json = |key: &str| serde_json::from_str::<Json>(event[key].as_str().unwrap()).unwrap();
    let data = json("ue_pr")["data"]["data"].clone();
    let contexts = json("co")["data"].clone();
    let session =
        contexts.as_array().unwrap().iter().find(|it| it["schema"].as_str().unwrap().contains("/client_session/"));
    let session = &session.expect("every event carries its session")["data"];
    Arrival {
        id: event["eid"].as_str().unwrap().to_owned(),
        session: session["sessionId"].as_str().unwrap().to_owned(),
        index: session["eventIndex"].as_u64(),
        first_event_id: session["firstEventId"].as_str().map(str::to_owned),
        number: data["attributes"]["n"].as_u64(),
    }
}

/// The work of a child process; without a task it is no test.
#[test]
fn child() {
    let Some(task) = Task::of_this_process() else { return };
    let exporter = SnowplowExporter::builder()
        .with_endpoint(&task.endpoint)
        .with_namespace("crash")
        .with_app_id("crash")
        .with_retry(RetryPolicy::new().with_max_delay(Duration::from_millis(1)))
        .with_outbox(Outbox::sqlite(&task.outbox))
        .build()
        .unwrap();
    let mut started = Started::open(&task.outbox.with_extension("started"));
    let mut next = task.first;
    while next < task.first + task.count {
        let numbers = next..(next + BATCH).min(task.first + task.count);
        let mut records = Vec::new();
        let mut new = Vec::new();
        for number in numbers.clone() {
            let session = session_of(number);
            if !started.0.contains(&session) && !new.contains(&session) {
                records.push(record("session.start", &session, None));
                new.push(session.clone());
            }
            records.push(record("work", &session, Some(number)));
        }
        export(&exporter, &records).unwrap();
        task.journal(numbers.clone());
        started.note(new, &task.outbox.with_extension("started"));
        next = numbers.end;
    }
    if !task.last {
        task.wait_to_be_killed();
    }
    let report = exporter.shutdown(LONG);
    assert_eq!((report.pending, report.dropped.total()), (0, 0), "{report}");
}

/// A UUID, so that it is sent as it is.
fn session_of(number: u64) -> String {
    format!("00000000-0000-4000-8000-{:012x}", number / EPOCH * LANES + number % LANES)
}

#[allow(clippy::disallowed_methods, reason = "the time of a record is the real one")]
fn record(name: &'static str, session: &str, number: Option<u64>) -> SdkLogRecord {
    let mut attributes = vec![("session.id", AnyValue::from(session.to_owned()))];
    attributes.extend(number.map(|number| ("n", AnyValue::from(i64::try_from(number).unwrap()))));
    event(name, SystemTime::now(), &attributes)
}

/// Sessions whose start is known to have been accepted, in a file, since a program does not start its sessions twice. A kill
/// between the two repeats a start all the same: it is then one more event of its session.
struct Started(HashSet<String>);

impl Started {
    fn open(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line may be cut off.
        Self(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect())
    }

    fn note(&mut self, sessions: Vec<String>, path: &Path) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for session in sessions {
            file.write_all(format!("{session}\n").as_bytes()).unwrap();
            self.0.insert(session);
        }
    }
}
