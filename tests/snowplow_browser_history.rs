//! What the browser tracker did under a fake clock, done again by our sessions and bridge: the same steps at the same
//! times, with the recorded ids, through a log pipeline into a collector.
//!
//! The recording has a jump of the clock, a new session, a new user and the switches of anonymity as notes. Ours differs
//! where [`DIFFERENCES`] says so, and nowhere else.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider, SimpleLogProcessor};
use otel_session::collector::{ClientSession, DevCollector, SnowplowEvent};
use otel_session::export::snowplow::Anonymity;
use otel_session::testing::ManualClock;
use otel_session::{Sessions, SnowplowExporter};
use serde_json::Value;

/// Scenarios in which ours is not what was recorded, and why. `expected` changes the recording to what ours must be.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "stateStorageStrategy none",
        "the tracker attaches an entity that no schema accepts: no user, index 0, every event the first one; without storage \
         we keep the session in memory, whole",
    ),
    (
        "newSession() between events, then natural expiry",
        "after newSession() the tracker never calls its callback again, so it is silent about the third session",
    ),
    (
        "clearUserData()",
        "the tracker begins to count anew; a session.start of ours carries the index in the chain of the program, which goes on \
         for the next user. Without lifecycle events the bridge counts for each user, as recorded",
    ),
];

#[test]
fn the_recorded_history_of_the_browser_tracker_is_ours_too() {
    let Some(recording) = shared("browser_session_traces.json") else { return };
    let recording: Value = serde_json::from_str(&recording).unwrap();
    let scenarios = recording["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 9, "the recording has changed: look at what is new");
    for (name, _) in DIFFERENCES {
        assert!(scenarios.iter().any(|it| it["name"] == *name), "no scenario is called {name}");
    }
    for scenario in scenarios {
        let name = scenario["name"].as_str().unwrap();
        let recorded: Vec<Seen> = scenario["events"].as_array().unwrap().iter().map(Seen::recorded).collect();
        let (ours, _) = replay(scenario, &recorded, Lifecycle::Filtered);
        let (mut ours_numbered, expected) = (numbered(&ours), numbered(&expected(name, recorded.clone())));
        if name == "stateStorageStrategy none" {
            assert!(ours.iter().all(|it| it.user.is_some() && it.user == ours[0].user), "one user, ours");
            ours_numbered.iter_mut().for_each(|it| it.user = None);
        }
        for (at, (ours, expected)) in ours_numbered.iter().zip(&expected).enumerate() {
            assert_eq!(ours, expected, "{name}, event {}", at + 1);
        }
        // With the lifecycle events, which no tracker has, the session.start is the first event of each session.
        let (whole, told) = replay(scenario, &recorded, Lifecycle::Sent);
        assert_eq!(told, expected_callbacks(scenario, &recorded), "{name}: the sessions whose start was told");
        assert_eq!(whole.len(), ours.len());
        for (with, without) in whole.iter().zip(&ours) {
            assert_eq!(with.event_index, without.event_index.map(|index| index + 1), "{name}");
            // Our sessions count on when there is a new user.
            let counted = if name == "clearUserData()" { with.session_index } else { without.session_index };
            assert_eq!((&with.session, with.session_index), (&without.session, counted), "{name}");
            assert_eq!(with.previous, without.previous, "{name}");
        }
    }
}

/// The sessions that the tracker told its callback of, but for the [`DIFFERENCES`].
fn expected_callbacks(scenario: &Value, recorded: &[Seen]) -> Vec<String> {
    let session = |it: &Value| it["sessionId"].as_str().unwrap().to_owned();
    let mut told: Vec<String> = scenario["callbacks"].as_array().unwrap().iter().map(session).collect();
    match scenario["name"].as_str().unwrap() {
        "newSession() between events, then natural expiry" => told.extend(recorded.last().unwrap().session.clone()),
        "stateStorageStrategy none" => {
            told.extend(recorded.iter().filter_map(|it| it.session.clone()));
            told.dedup();
        }
        _ => {}
    }
    told
}

/// The recording, but for the [`DIFFERENCES`].
fn expected(scenario: &str, mut events: Vec<Seen>) -> Vec<Seen> {
    if scenario == "stateStorageStrategy none" {
        let sessions: Vec<Option<String>> = events.iter().map(|it| it.session.clone()).collect();
        for (at, event) in events.iter_mut().enumerate() {
            let first = sessions.iter().position(|it| *it == sessions[at]).unwrap();
            event.event_index = Some((at - first + 1) as u64);
            event.session_index = Some(if first == 0 { 1 } else { 2 });
            event.previous = (first > 0).then(|| sessions[0].clone()).flatten();
            event.first = Some(first);
        }
    }
    events
}

/// Does the scenario again and returns its events as the collector received them, without those of the lifecycle.
fn replay(scenario: &Value, recorded: &[Seen], lifecycle: Lifecycle) -> (Vec<Seen>, Vec<String>) {
    let collector = DevCollector::start().unwrap();
    let clock = ManualClock::new(recorded[0].at);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let teller = told.clone();
    let exporter = SnowplowExporter::builder()
        .on_session_start(move |it| teller.lock().unwrap().push(it.session_id.to_string()))
        .with_endpoint(collector.snowplow_endpoint())
        .with_clock(clock.clone())
        .with_number_unannounced_sessions(true)
        .with_filter(move |it| {
            lifecycle == Lifecycle::Sent || !it.name().is_some_and(|name| name.starts_with("session."))
        })
        .build()
        .unwrap();
    // Where the tracker is silent about the session it goes on: the generator gives an id for each session that it had.
    let mut ids: VecDeque<String> = VecDeque::new();
    for id in recorded.iter().filter_map(|it| it.session.clone()) {
        if !ids.contains(&id) {
            ids.push_back(id);
        }
    }
    let ids = Mutex::new(ids);
    let sessions = Sessions::builder()
        .with_clock(clock.clone())
        .with_id_generator(move || ids.lock().unwrap().pop_front().unwrap_or_else(|| "too-many-sessions".to_owned()))
        .build()
        .unwrap();
    let processor = sessions.log_processor(SimpleLogProcessor::new(exporter.clone()));
    let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
    let logger = loggers.logger("browser");
    let mut anonymous = scenario["config"]["anonymousTracking"].as_bool().unwrap_or(false);
    let anonymity = |anonymous| if anonymous { Anonymity::full() } else { Anonymity::off() };
    exporter.set_anonymous(anonymity(anonymous));
    for (at, event) in recorded.iter().enumerate() {
        assert!(clock.advance(event.at.duration_since(clock.now()).unwrap()));
        emit(&logger, event);
        for note in scenario["notes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()) {
            let (what, after) = note.rsplit_once(" after event ").unwrap();
            if after.parse() != Ok(at + 1) {
                continue;
            }
            match what {
                "newSession() called" => drop(sessions.rotate()),
                "clearUserData()" => sessions.end(),
                "enableAnonymousTracking()" | "disableAnonymousTracking()" => {
                    anonymous = what.starts_with("enable");
                    exporter.set_anonymous(anonymity(anonymous));
                }
                // The times of the events have the jump already.
                jump if jump.starts_with("clock +") => {}
                unknown => panic!("a note that this test does not know: {unknown}"),
            }
        }
    }
    assert!(exporter.flush(Duration::from_secs(10)));
    let stream = collector.stream();
    assert!(stream.snowplow_bad().is_empty(), "{:?}", stream.snowplow_bad());
    let named =
        |event: &&Arc<SnowplowEvent>| event.self_describing().is_some_and(|it| it["data"]["name"] == "interaction");
    let events = stream.snowplow_good().iter().filter(named);
    let seen: Vec<Seen> = events.zip(recorded).map(|(event, recorded)| Seen::received(event, recorded.at)).collect();
    assert_eq!(seen.len(), recorded.len());
    loggers.shutdown().unwrap();
    let told = told.lock().unwrap().clone();
    (seen, told)
}

/// The tracker's user is an installation, in OpenTelemetry's words.
fn emit(logger: &SdkLogger, event: &Seen) {
    let mut record = logger.create_log_record();
    record.set_event_name("interaction");
    record.set_timestamp(event.at);
    if let Some(user) = &event.user {
        record.add_attribute("app.installation.id", user.clone());
    }
    logger.emit(record);
}

/// A file of the recordings. Where there are none the test is skipped, saying so.
fn shared(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let read = std::fs::read_to_string(&path).ok();
    if read.is_none() {
        assert!(std::env::var_os("OTEL_SESSION_REQUIRE").is_none(), "{} is missing", path.display());
        println!("skipped: the recordings are not beside this checkout ({})", path.display());
    }
    read
}

#[derive(Clone, Copy, PartialEq)]
enum Lifecycle {
    Sent,
    Filtered,
}

/// An event as far as sessions go. Events and first events are compared by their place in the history.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: String,
    at: SystemTime,
    user: Option<String>,
    session: Option<String>,
    session_index: Option<u64>,
    event_index: Option<u64>,
    previous: Option<String>,
    first_id: Option<String>,
    first_at: Option<String>,
    first: Option<usize>,
}

impl Seen {
    fn recorded(event: &Value) -> Self {
        let millis: u64 = event["dtm"].as_str().unwrap().parse().unwrap();
        let entity = &event["client_session"];
        let text = |value: &Value| value.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        Self {
            id: text(&event["eid"]).unwrap(),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(millis),
            user: text(&event["duid"]),
            session: text(&event["sid"]),
            session_index: event["vid"].as_u64(),
            event_index: entity["eventIndex"].as_u64(),
            previous: text(&entity["previousSessionId"]),
            first_id: text(&entity["firstEventId"]),
            first_at: text(&entity["firstEventTimestamp"]),
            first: None,
        }
    }

    fn received(event: &SnowplowEvent, at: SystemTime) -> Self {
        let entity: Option<ClientSession> = event.client_session();
        let parameters = event.parameters();
        Self {
            id: event.event_id().to_owned(),
            at,
            user: parameters.get("duid").cloned(),
            session: parameters.get("sid").cloned(),
            session_index: parameters.get("vid").map(|it| it.parse().unwrap()),
            event_index: entity.as_ref().and_then(|it| it.event_index).map(u64::from),
            previous: entity.as_ref().and_then(|it| it.previous_session_id.clone()),
            first_id: entity.as_ref().and_then(|it| it.first_event_id.clone()),
            first_at: entity.and_then(|it| it.first_event_timestamp),
            first: None,
        }
    }
}

/// What is compared: everything but the ids of events, which are told by their place.
fn numbered(events: &[Seen]) -> Vec<Seen> {
    let places: HashMap<&str, usize> = events.iter().enumerate().map(|(at, it)| (it.id.as_str(), at)).collect();
    let place = |it: &Seen| it.first.or_else(|| it.first_id.as_deref().map(|id| places[id]));
    let seen = events.iter().map(|it| {
        let first = place(it);
        Seen { first, first_at: first.map(|at| millis(events[at].at)), id: String::new(), first_id: None, ..it.clone() }
    });
    seen.collect()
}

fn millis(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string()
}
