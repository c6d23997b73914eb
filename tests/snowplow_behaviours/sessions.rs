//! Behaviours 1 to 22: what the browser tracker's suite asks of sessions.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
use otel_session::export::snowplow::Anonymity;
use otel_session::export::{Outbox, StateRow};
use uuid::Uuid;

use crate::bench::{BOUND, Bench, Event, FIRST, NIL, SECOND, TIMEOUT, track};
use crate::store::{SESSIONS, Store};

#[test]
fn b01_the_first_session_has_index_1() {
    let bench = Bench::new();
    bench.track("open");
    assert_eq!(bench.story(), ["start 1.1", "open 1.2"]);
}

#[test]
fn b02_a_known_user_without_a_live_session_gets_the_next_index() {
    let bench = Bench::new();
    bench.track("open");
    bench.sessions.end();
    bench.track("again");
    assert_eq!(bench.story(), ["start 1.1", "open 1.2", "end 1.3", "start 2.1", "again 2.2"]);
    let events = bench.tracked();
    assert_eq!(events[0].session().user_id, events[1].session().user_id);
}

#[test]
fn b03_a_live_session_keeps_index_and_id() {
    let bench = Bench::new();
    bench.track("open");
    for _ in 0..3 {
        bench.later(TIMEOUT - Duration::from_nanos(1));
        bench.track("again");
    }
    let events = bench.tracked();
    assert!(events.iter().all(|it| it.field("sid") == events[0].field("sid") && it.field("vid") == Some("1")));
    assert_eq!(events[3].session().event_index, Some(5));
}

/// The bridge counts anew for whoever comes after an opt-out. Our own sessions count for the program.
#[test]
fn b04_after_the_user_is_forgotten_the_index_is_1_again() {
    let bench = Bench::new();
    bench.emit("session.start", &[("session.id", FIRST)]);
    bench.emit("session.start", &[("session.id", SECOND)]);
    bench.exporter.set_opt_out(true);
    bench.exporter.set_opt_out(false);
    bench.emit("session.start", &[("session.id", "33333333-3333-4333-8333-333333333333")]);
    let events = bench.all();
    assert_eq!(events.iter().map(|it| it.field("vid").unwrap()).collect::<Vec<_>>(), ["1", "2", "1"]);
    assert_eq!(events[2].session().previous_session_id, None, "nothing leads back");
    assert_ne!(events[2].field("duid"), events[1].field("duid"));
}

/// With our own sessions the program ends its session when the user is forgotten.
#[test]
fn b04_a_session_begun_after_the_user_was_forgotten_does_not_lead_back() {
    let bench = Bench::new();
    bench.track("open");
    bench.exporter.set_opt_out(true);
    bench.sessions.end();
    bench.exporter.set_opt_out(false);
    bench.track("again");
    let [before, after] = <[Event; 2]>::try_from(bench.tracked()).unwrap().map(|it| it.session());
    assert_ne!((&after.session_id, &after.user_id), (&before.session_id, &before.user_id));
    assert_eq!((after.previous_session_id, after.event_index), (None, Some(2)));
}

/// What is stored goes as soon as the store takes it, also without a further event.
#[test]
fn b04_who_is_to_be_forgotten_is_forgotten_although_the_store_failed_meanwhile() {
    for again in [true, false] {
        let store = Store::default();
        let build = |name| Bench::with(|it| it.with_namespace(name).with_outbox(Outbox::custom(store.clone())));
        let name = if again { "b04-again" } else { "b04-out" };
        let bench = build(name);
        bench.emit("session.start", &[("session.id", FIRST)]);
        let before = bench.all().remove(0).session();
        store.look().broken = true;
        bench.exporter.set_opt_out(true);
        store.look().broken = false;
        if again {
            bench.exporter.set_opt_out(false);
            bench.emit("session.start", &[("session.id", SECOND)]);
            let after = bench.all().remove(1).session();
            assert_ne!(after.user_id, before.user_id);
        }
        assert!(bench.exporter.flush(BOUND));
        let known = Uuid::parse_str(FIRST).unwrap();
        let is_of_first = |row: &StateRow| row.key.ends_with(known.as_bytes());
        assert!(!store.look().rows.iter().any(is_of_first), "the session is still stored");
        let last = bench.exporter.cross_domain_link();
        assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
        drop(bench);
        // The next run knows whom this one knew, and not who was there before.
        let next = build(name);
        next.emit("open", &[("session.id", SECOND)]);
        let user = next.all().remove(0).session().user_id;
        assert_ne!(user, before.user_id);
        assert!(last.is_none_or(|link| link.value().starts_with(&user)));
    }
}

#[test]
fn b04_who_has_opted_out_is_not_named_by_a_link_either() {
    let store = Store::default();
    let outbox = || Outbox::custom(store.clone());
    let bench = Bench::with(|it| it.with_namespace("b04-link").with_outbox(outbox()));
    bench.track("open");
    assert!(bench.exporter.cross_domain_link().is_some());
    assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
    drop(bench);
    // The installation is still stored: nothing has been exported since.
    let bench = Bench::with(|it| it.with_namespace("b04-link").with_outbox(outbox()).with_opt_out(|| true));
    assert!(bench.exporter.cross_domain_link().is_none());
}

#[test]
fn b05_the_event_after_the_timeout_has_index_2_and_a_new_id() {
    let bench = Bench::new();
    bench.track("open");
    // At the timeout, not after it.
    bench.later(TIMEOUT);
    bench.track("again");
    let [before, after] = <[Event; 2]>::try_from(bench.tracked()).unwrap().map(|it| it.session());
    assert_eq!((before.session_index, after.session_index), (1, 2));
    assert_ne!(after.session_id, before.session_id);
    assert_eq!(after.previous_session_id, Some(before.session_id));
}

#[test]
fn b06_a_new_session_on_demand_has_another_id() {
    let bench = Bench::new();
    bench.track("open");
    bench.sessions.rotate();
    bench.track("again");
    assert_eq!(bench.story(), ["start 1.1", "open 1.2", "end 1.3", "start 2.1", "again 2.2"]);
    let events = bench.tracked();
    assert_ne!(events[0].field("sid"), events[1].field("sid"));
}

#[test]
fn b07_a_change_of_session_is_stored_in_one_commit_with_its_event_before_anything_is_sent() {
    let store = Store::default();
    let bench = Bench::with(|builder| builder.with_outbox(Outbox::custom(store.clone())));
    bench.exporter.pause();
    for _ in 0..2 {
        let before = store.look().commits.len();
        bench.emit("session.start", &[("session.id", if before == 0 { FIRST } else { SECOND })]);
        let kept = store.look();
        let [(tables, events)] = &kept.commits[before..] else { panic!("one commit: {:?}", kept.commits) };
        assert_eq!(*events, 1);
        assert!(tables.contains(&SESSIONS), "{tables:?}");
    }
    assert_eq!(bench.collector.stream().snowplow_requests(), 0);
    bench.exporter.resume();
    assert_eq!(bench.all().len(), 2);
}

#[test]
fn b08_the_session_entity_is_there_when_it_is_on_and_else_not() {
    for on in [true, false] {
        let bench = Bench::with(|builder| builder.with_session_context(on));
        bench.track("open");
        for event in bench.all() {
            assert_eq!(event.entity().is_some(), on);
            assert_eq!(event.field("vid"), Some("1"));
        }
    }
}

#[test]
fn b09_an_anonymous_session_has_the_nil_user_and_no_session_before() {
    let bench = Bench::with(|builder| builder.with_anonymity(Anonymity::with_session_tracking()));
    bench.track("open");
    bench.sessions.rotate();
    bench.track("again");
    let events = bench.all();
    assert_eq!(events.len(), 5);
    for event in events {
        let session = event.session();
        assert_eq!((session.user_id.as_str(), session.previous_session_id), (NIL, None));
        assert_eq!(event.field("sid"), Some(session.session_id.as_str()));
        assert_eq!(event.field("duid"), None);
    }
}

#[test]
fn b10_a_fully_anonymous_event_has_no_session_at_all() {
    let bench = Bench::with(|builder| builder.with_anonymity(Anonymity::full()));
    bench.track("open");
    let id = bench.sessions.current().unwrap().id().to_owned();
    let events = bench.all();
    assert_eq!(events.len(), 2);
    for event in events {
        assert!(event.entity().is_none());
        for key in ["sid", "vid", "duid"] {
            assert_eq!(event.field(key), None, "{key}");
        }
        assert!(!event.0.parameters().values().any(|it| it.contains(&id)), "{:?}", event.0.parameters());
    }
}

#[test]
fn b14_entity_and_fields_say_the_same_of_every_event() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.track(name);
        bench.later(TIMEOUT / 2);
        bench.track(name);
        bench.sessions.rotate();
    }
    let events = bench.all();
    assert_eq!(events.len(), 3 * 2 + 4 + 3);
    for event in events {
        let session = event.session();
        assert_eq!(event.field("duid"), Some(session.user_id.as_str()));
        assert_eq!(event.field("sid"), Some(session.session_id.as_str()));
        assert_eq!(event.field("vid"), Some(session.session_index.to_string().as_str()));
    }
}

/// The numbers without our lifecycle events, which no tracker has, and with them.
#[test]
fn b15_events_count_from_1_and_again_from_1_in_a_new_session() {
    for lifecycle in [false, true] {
        let bench = Bench::with(|builder| {
            builder
                .with_number_unannounced_sessions(true)
                .with_filter(move |it| lifecycle || !it.name().is_some_and(|name| name.starts_with("session.")))
        });
        bench.track("a");
        bench.track("b");
        bench.sessions.rotate();
        bench.track("c");
        let expected: &[&str] = if lifecycle {
            &["start 1.1", "a 1.2", "b 1.3", "end 1.4", "start 2.1", "c 2.2"]
        } else {
            &["a 1.1", "b 1.2", "c 2.1"]
        };
        assert_eq!(bench.story(), expected);
    }
}

#[test]
fn b16_all_events_of_a_session_name_its_first_event_and_its_time() {
    let bench = Bench::new();
    bench.track("a");
    bench.later(Duration::from_millis(1234));
    bench.track("b");
    bench.sessions.rotate();
    bench.track("c");
    let events = bench.all();
    for event in &events {
        let session = event.session();
        let first = events.iter().find(|it| it.field("sid") == event.field("sid")).unwrap();
        assert_eq!(session.first_event_id.as_deref(), Some(first.id()));
        assert_eq!(session.first_event_timestamp, Some(iso(first.field("dtm").unwrap())));
    }
    assert_eq!(events[0].session().first_event_timestamp.as_deref(), Some("2023-11-14T22:13:20.000Z"));
    assert_eq!(events[5].session().first_event_timestamp.as_deref(), Some("2023-11-14T22:13:21.234Z"));
}

/// Of milliseconds on the day on which the tests' clock begins.
fn iso(millis: &str) -> String {
    let of_day = millis.parse::<u64>().unwrap() % 86_400_000;
    let (hours, rest) = (of_day / 3_600_000, of_day % 3_600_000);
    format!("2023-11-14T{hours:02}:{:02}:{:02}.{:03}Z", rest / 60_000, rest % 60_000 / 1000, rest % 1000)
}

#[test]
fn b17_the_first_session_follows_none_and_each_other_one_the_one_before() {
    let bench = Bench::new();
    for time in [Duration::ZERO, TIMEOUT, TIMEOUT * 7] {
        bench.later(time);
        bench.track("open");
    }
    bench.sessions.rotate();
    bench.track("open");
    let sessions: Vec<_> = bench.tracked().iter().map(Event::session).collect();
    assert_eq!(sessions[0].previous_session_id, None);
    for pair in sessions.windows(2) {
        assert_eq!(pair[1].previous_session_id.as_ref(), Some(&pair[0].session_id));
    }
}

#[test]
fn b18_fifteen_pipelines_that_begin_at_once_share_one_session() {
    const PIPELINES: usize = 15;
    let told = Arc::new(AtomicUsize::new(0));
    let teller = told.clone();
    let bench = Bench::with(|builder| builder.on_session_start(move |_| _ = teller.fetch_add(1, Ordering::AcqRel)));
    let barrier = Barrier::new(PIPELINES);
    std::thread::scope(|scope| {
        for _ in 0..PIPELINES {
            scope.spawn(|| {
                let processor = bench.sessions.log_processor(SimpleLogProcessor::new(bench.exporter.clone()));
                let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
                barrier.wait();
                track(&loggers.logger("frame"), "open", bench.clock.now());
            });
        }
    });
    let events = bench.tracked();
    assert_eq!(events.len(), PIPELINES);
    let sessions: BTreeSet<_> = bench.all().iter().map(|it| it.field("sid").unwrap().to_owned()).collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(told.load(Ordering::Acquire), 1, "each pipeline has the start in its records, and it is told once");
    assert!(bench.all().iter().all(|it| it.field("vid") == Some("1")));
}

#[test]
fn b20_the_first_events_time_is_the_one_that_the_event_was_sent_with() {
    let bench = Bench::with(|builder| builder.with_true_timestamps(true));
    bench.later(Duration::from_millis(77));
    bench.emit("session.start", &[("session.id", FIRST)]);
    let first = bench.all().remove(0);
    assert_eq!(first.field("ttm"), first.field("dtm"));
    assert_eq!(first.session().first_event_timestamp, Some(iso(first.field("ttm").unwrap())));
}

#[test]
fn b21_later_events_do_not_change_what_the_first_one_was() {
    let bench = Bench::new();
    bench.later(Duration::from_secs(10));
    bench.track("a");
    let first = bench.all().remove(0).session();
    let logger = bench.loggers.logger("shop");
    // One that is late, and therefore earlier.
    track(&logger, "b", bench.clock.now() - Duration::from_secs(5));
    bench.later(Duration::from_secs(1));
    bench.track("c");
    for event in bench.all() {
        let session = event.session();
        if session.session_id == first.session_id {
            assert_eq!(session.first_event_id, first.first_event_id);
            assert_eq!(session.first_event_timestamp, first.first_event_timestamp);
        }
    }
}

#[test]
fn b22_without_anonymity_again_the_session_goes_on() {
    let store = Store::default();
    let bench = Bench::with(|builder| builder.with_outbox(Outbox::custom(store)));
    bench.track("a");
    bench.exporter.set_anonymous(Anonymity::full());
    bench.track("b");
    bench.exporter.set_anonymous(Anonymity::off());
    bench.track("c");
    let events = bench.tracked();
    let [a, c] = [0, 2].map(|at| events[at].session());
    assert!(events[1].entity().is_none());
    assert_eq!((&c.session_id, &c.user_id, c.session_index), (&a.session_id, &a.user_id, a.session_index));
    assert_eq!((a.event_index, c.event_index), (Some(2), Some(3)), "what is anonymous takes no number");
}
