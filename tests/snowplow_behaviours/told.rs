//! Behaviours 12, 13, 43 and 55: what callbacks are told, and what they may do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::SnowplowExporter;
use otel_session::export::Outbox;
use otel_session::export::snowplow::{Anonymity, SessionState, StateStorage, StorageMechanism};
use otel_session::testing::ManualClock;

use crate::bench::{BOUND, Bench, FIRST, MINUTE, track};
use crate::watched_store::Watched;

type Told = Arc<Mutex<Vec<SessionState>>>;

fn listening(anonymity: Anonymity, storage: StateStorage) -> (Bench, Told) {
    let told = Told::default();
    let teller = told.clone();
    let bench = Bench::with(|builder| {
        builder
            .with_anonymity(anonymity)
            .with_state_storage(storage)
            .on_session_start(move |it| teller.lock().unwrap().push(it.clone()))
    });
    (bench, told)
}

#[test]
fn b12_the_callback_is_told_of_the_first_session_and_of_each_new_one_like_its_entity() {
    let (bench, told) = listening(Anonymity::off(), StateStorage::default());
    bench.track("a");
    bench.track("b");
    assert_eq!(told.lock().unwrap().len(), 1);
    bench.sessions.rotate();
    bench.track("c");
    let starts: Vec<_> = bench.all().into_iter().filter(|it| it.name() == "start").collect();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    for (told, start) in told.iter().zip(&starts) {
        let entity = start.session();
        assert_eq!(told.user_id.to_string(), entity.user_id);
        assert_eq!(told.session_id.to_string(), entity.session_id);
        assert_eq!(told.session_index, entity.session_index);
        assert_eq!((told.event_index, entity.event_index), (Some(1), Some(1)));
        assert_eq!(told.previous_session_id.map(|it| it.to_string()), entity.previous_session_id);
        assert_eq!(told.first_event_id.map(|it| it.to_string()).as_deref(), Some(start.id()));
        assert_eq!(told.first_event_millis.map(|it| it.to_string()).as_deref(), start.field("dtm"));
    }
}

#[test]
fn b12_the_callback_is_told_where_the_session_is_kept() {
    let path = std::env::temp_dir().join(format!("b-table-told-{}.db", std::process::id()));
    let told = Told::default();
    let teller = told.clone();
    let bench = Bench::with(|builder| {
        builder.with_outbox(Outbox::sqlite(&path)).on_session_start(move |it| teller.lock().unwrap().push(it.clone()))
    });
    bench.track("a");
    assert_eq!(told.lock().unwrap()[0].storage_mechanism, StorageMechanism::Sqlite);
    assert_eq!(bench.all()[0].session().storage_mechanism, "SQLITE");
    drop(bench);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let (bench, told) = listening(Anonymity::off(), StateStorage::default());
    bench.track("a");
    assert_eq!(told.lock().unwrap()[0].storage_mechanism, StorageMechanism::LocalStorage);
    assert_eq!(bench.all()[0].session().storage_mechanism, "LOCAL_STORAGE");
}

#[test]
fn b12_the_callback_is_told_masked_ids_and_nothing_of_who_is_fully_anonymous() {
    let (bench, told) = listening(Anonymity::with_session_tracking(), StateStorage::default());
    bench.track("a");
    bench.sessions.rotate();
    bench.track("b");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|it| it.user_id.is_nil() && it.previous_session_id.is_none()), "{told:?}");

    let (bench, told) = listening(Anonymity::full(), StateStorage::default());
    bench.track("a");
    bench.sessions.rotate();
    bench.track("b");
    assert_eq!(bench.all().len(), 5);
    assert_eq!(*told.lock().unwrap(), []);
}

/// On the exporting thread the SDK drops records, so as not to feed itself; the callback hands over to another one.
#[test]
fn b13_a_callback_may_track_an_event_which_is_told_to_nobody_twice() {
    let (to_track, starts) = mpsc::channel::<String>();
    let bench =
        Bench::with(|builder| builder.on_session_start(move |it| to_track.send(it.session_id.to_string()).unwrap()));
    let logger = bench.loggers.logger("callback");
    let now = bench.clock.now();
    let tracker = std::thread::spawn(move || {
        let session = starts.recv_timeout(BOUND).unwrap();
        track(&logger, "greeted", now);
        (session, starts)
    });
    bench.track("open");
    let (session, starts) = tracker.join().unwrap();
    let events = bench.all();
    assert_eq!(events.len(), 3);
    let greeted = events.iter().find(|it| it.name() == "greeted").unwrap();
    assert_eq!(greeted.field("sid"), Some(session.as_str()));
    assert!(starts.try_recv().is_err(), "the event starts no session");
}

#[test]
fn b13_a_callback_may_ask_and_change_its_exporter() {
    let handle = Arc::new(Mutex::new(None::<otel_session::SnowplowExporter>));
    let within = handle.clone();
    let bench = Bench::with(|builder| {
        builder.on_session_start(move |_| {
            let exporter = within.lock().unwrap().clone().unwrap();
            assert!(exporter.flush(BOUND));
            exporter.set_anonymous(Anonymity::with_session_tracking());
            let _ = (exporter.pending(), exporter.losses(), exporter.cross_domain_link());
        })
    });
    *handle.lock().unwrap() = Some(bench.exporter.clone());
    bench.track("open");
    let events = bench.all();
    assert_eq!(bench.exporter.losses().total(), 0, "the callback did not panic");
    assert!(events[0].field("duid").is_some() && events[1].field("duid").is_none());
    handle.lock().unwrap().take();
}

#[test]
fn b43_the_id_that_is_told_is_the_id_that_is_sent() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let bench = Bench::with(|builder| {
        builder.on_accepted(move |it| teller.lock().unwrap().push((it.event_id.to_string(), it.event_index)))
    });
    bench.track("a");
    bench.emit("session.start", &[("session.id", FIRST), ("log.record.uid", "01ARZ3NDEKTSV4RRFFQ69G5FAV")]);
    bench.emit("alone", &[]);
    let sent: Vec<_> =
        bench.all().iter().map(|it| (it.id().to_owned(), it.entity().and_then(|it| it.event_index))).collect();
    assert_eq!(*told.lock().unwrap(), sent);
    assert_eq!(sent.len(), 4);
}

/// While a batch is mapped its commit is to come, which the disk has to take anyway; while callbacks run it is over.
#[test]
fn what_is_removed_while_a_batch_is_mapped_waits_for_no_disk_and_while_callbacks_run_it_does() {
    let (store, removals) = Watched::new();
    let (mapping, telling) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (now_mapping, now_telling) = (mapping.clone(), telling.clone());
    let here: Arc<OnceLock<(SnowplowExporter, ManualClock)>> = Arc::default();
    let (in_filter, in_callback) = (here.clone(), here.clone());
    let deliver = |here: &OnceLock<(SnowplowExporter, ManualClock)>| {
        let (exporter, clock) = here.wait();
        exporter.resume();
        // It is sent, then its removal falls due.
        assert!(clock.advance(MINUTE) && clock.advance(MINUTE));
    };
    let bench = Bench::with(|builder| {
        builder
            .with_outbox(Outbox::custom(store))
            .with_filter(move |_| {
                if now_mapping.swap(false, Ordering::AcqRel) {
                    deliver(&in_filter);
                }
                true
            })
            .on_accepted(move |_| {
                if now_telling.swap(false, Ordering::AcqRel) {
                    deliver(&in_callback);
                }
            })
    });
    assert!(here.set((bench.exporter.clone(), bench.clock.clone())).is_ok());
    for (moment, lazy) in [(mapping, true), (telling, false)] {
        bench.exporter.pause();
        bench.emit("waits", &[]);
        moment.store(true, Ordering::Release);
        bench.emit("comes", &[]);
        assert_eq!(removals.try_recv(), Ok(lazy));
        assert!(bench.exporter.flush(BOUND));
        removals.try_iter().for_each(|lazy| assert!(!lazy, "no batch is in the making"));
    }
}

#[test]
fn a_shutdown_removes_what_was_delivered_although_a_callback_holds_its_thread_up() {
    let (store, removals) = Watched::new();
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let wait = Mutex::new(wait);
    let bench = Bench::with(|builder| {
        builder.with_outbox(Outbox::custom(store)).with_batch_size(1).on_request_success(move |_| {
            tell.send(()).unwrap();
            let _ = wait.lock().unwrap().recv();
        })
    });
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(bench.exporter.clone()).build();
    track(&loggers.logger("shop"), "arrives", bench.clock.now());
    told.recv_timeout(BOUND).unwrap();
    assert_eq!(bench.exporter.shutdown(Duration::ZERO).delivered, 1);
    assert_eq!(removals.try_recv(), Ok(false), "or it would be sent again after the next start");
    drop(go);
}
