//! Behaviours 30, 34 and 98: what a program finds that begins again, on a SQLite file.

#![allow(clippy::disallowed_methods, reason = "a thread ends when it ends")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry_sdk::logs::{SdkLoggerProvider, SimpleLogProcessor};
use otel_session::collector::DevCollector;
use otel_session::export::Outbox;
use otel_session::testing::ManualClock;
use otel_session::{Sessions, SessionsBuilder, SnowplowExporter};

use crate::bench::{BOUND, Bench, Event, FIRST, SECOND, THIRD, TIMEOUT, epoch, track};

/// A file of its own for each test, gone with it.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("b-table-{name}-{}.db", std::process::id())));
        file.remove();
        file
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }

    /// A run of the program, whose outbox is the file; what it sent.
    fn run(&self, name: &str, begin: SystemTime, program: impl FnOnce(&Bench)) -> Vec<Event> {
        let outbox = Outbox::sqlite(&self.0);
        let bench = Bench::of(begin, |it| it, |it| it.with_namespace(name).with_outbox(outbox));
        program(&bench);
        let sent = bench.all();
        assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
        sent
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

fn start(bench: &Bench, id: &str) {
    bench.emit("session.start", &[("session.id", id)]);
}

/// With a source of sessions that does not count them itself.
#[test]
fn b34_after_a_restart_a_new_session_follows_the_one_before() {
    let file = File::new("b34-new");
    let before = file.run("b34-new", epoch(), |bench| start(bench, FIRST)).remove(0).session();
    let after = file.run("b34-new", epoch() + TIMEOUT / 2, |bench| start(bench, SECOND)).remove(0).session();
    assert_eq!(after.user_id, before.user_id);
    assert_eq!((after.session_index, after.event_index), (2, Some(1)));
    assert_eq!(after.previous_session_id.as_deref(), Some(FIRST));
    let third = file.run("b34-new", epoch() + TIMEOUT, |bench| start(bench, THIRD)).remove(0).session();
    assert_eq!((third.session_index, third.previous_session_id.as_deref()), (3, Some(SECOND)));
}

#[test]
fn b34_after_a_restart_a_session_that_goes_on_counts_on() {
    let file = File::new("b34-same");
    let event = |bench: &Bench| bench.emit("open", &[("session.id", FIRST)]);
    let before = file.run("b34-same", epoch(), |bench| {
        start(bench, FIRST);
        event(bench);
    });
    let after = file.run("b34-same", epoch() + TIMEOUT / 2, event).remove(0).session();
    let first = before[0].session();
    assert_eq!((&after.user_id, after.session_index, after.event_index), (&first.user_id, 1, Some(3)));
    assert_eq!(after.first_event_id.as_deref(), Some(before[0].id()));
    assert_eq!(after.first_event_timestamp, first.first_event_timestamp);
    assert_eq!(after.previous_session_id, None);
}

/// Our own sessions are kept in memory so far, and their index on the record wins: they begin anew, under the same user.
#[test]
fn b34_our_own_sessions_begin_a_chain_of_their_own_at_a_restart() {
    let file = File::new("b34-own");
    let run = |at| file.run("b34-own", at, |bench| bench.track("open")).remove(0).session();
    let (before, after) = (run(epoch()), run(epoch() + TIMEOUT));
    assert_eq!(after.user_id, before.user_id);
    assert_ne!(after.session_id, before.session_id);
    assert_eq!((after.session_index, after.previous_session_id), (1, None));
}

/// The same by an application that keeps the id itself and gives it back to our sessions.
#[test]
fn b34_our_own_session_under_a_kept_id_counts_on() {
    let file = File::new("b34-kept");
    let run = || {
        let outbox = Outbox::sqlite(&file.0);
        let keep = |it: SessionsBuilder| it.with_id_generator(|| FIRST.to_owned());
        let bench = Bench::of(epoch(), keep, |it| it.with_namespace("b34-kept").with_outbox(outbox));
        bench.track("open");
        let story = bench.story();
        assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
        story
    };
    assert_eq!(run(), ["start 1.1", "open 1.2"]);
    assert_eq!(run(), ["start 1.3", "open 1.4"]);
}

/// Handles, and providers that have one, outlive a shutdown.
#[test]
fn after_a_shutdown_the_file_can_be_opened_again_while_handles_are_still_around() {
    let file = File::new("handles");
    let run = |collector: &DevCollector| {
        let outbox = Outbox::sqlite(&file.0);
        let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
        let exporter = builder.with_namespace("handles").with_outbox(outbox).build().unwrap();
        let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
        (exporter, loggers)
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let outbox = Outbox::sqlite(&file.0);
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let builder = SnowplowExporter::builder().with_endpoint(&endpoint).with_endpoint(endpoint);
    let first = builder.with_namespace("handles").with_outbox(outbox).build().unwrap();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(first.clone()).build();
    track(&loggers.logger("shop"), "open", epoch());
    let report = first.shutdown(Duration::from_millis(50));
    assert_eq!((report.pending, first.pending()), (2, 2), "{report}");
    let collector = DevCollector::start().unwrap();
    let opened = (0..400).any(|_| {
        let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
        match builder.with_outbox(Outbox::sqlite(&file.0)).build() {
            Ok(exporter) => exporter.shutdown(BOUND).pending == 0,
            // The thread is still giving up its request: wait for its end.
            Err(_) => first.shutdown(Duration::from_millis(50)).pending == 0,
        }
    });
    assert!(opened);
    let (second, loggers) = run(&collector);
    track(&loggers.logger("shop"), "pay", epoch());
    assert_eq!(second.shutdown(BOUND).pending, 0);
    let (third, _) = run(&collector);
    assert_eq!(third.shutdown(BOUND).pending, 0);
    assert_eq!((first.pending(), second.pending()), (2, 0));
}

/// Whatever number a name of our own got: in another order of building it is another one.
#[test]
fn without_a_name_a_file_counts_on_whatever_else_the_process_exports() {
    let file = File::new("unnamed");
    let run = |name: &'static str| {
        let outbox = Outbox::sqlite(&file.0);
        let bench = Bench::of(epoch(), |it| it, |it| it.with_outbox(outbox));
        bench.emit(name, &[("session.id", FIRST)]);
        let sent = bench.all().remove(0).session();
        assert_eq!(bench.exporter.shutdown(BOUND).pending, 0);
        (bench.exporter.namespace().to_owned(), sent.user_id, sent.event_index)
    };
    let others = || SnowplowExporter::builder().with_endpoint("http://127.0.0.1:9").build().unwrap();
    let before = run("session.start");
    let _others = [others(), others()];
    let after = run("open");
    assert_ne!(before.0, after.0);
    assert_eq!((&after.1, after.2), (&before.1, Some(2)));
}

#[test]
fn b98_what_was_accepted_and_not_answered_is_sent_again_under_its_ids_after_a_restart() {
    let file = File::new("b98");
    let clock = ManualClock::new(epoch());
    let builder = |endpoint: &str| {
        let outbox = Outbox::sqlite(&file.0);
        SnowplowExporter::builder()
            .with_endpoint(endpoint)
            .with_namespace("b98")
            .with_outbox(outbox)
            .with_clock(clock.clone())
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    {
        let teller = told.clone();
        // Nobody answers there.
        let nobody = builder("http://127.0.0.1:9");
        let exporter =
            nobody.on_accepted(move |it| teller.lock().unwrap().push(it.event_id.to_string())).build().unwrap();
        let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
        let processor = sessions.log_processor(SimpleLogProcessor::new(exporter.clone()));
        let loggers = SdkLoggerProvider::builder().with_log_processor(processor).build();
        for name in ["a", "b", "c"] {
            track(&loggers.logger("shop"), name, epoch());
        }
        assert_eq!(exporter.shutdown(Duration::ZERO).pending, 4);
    }
    let collector = DevCollector::start().unwrap();
    let exporter = builder(&collector.snowplow_endpoint()).build().unwrap();
    assert!(exporter.flush(BOUND));
    let stream = collector.stream();
    let sent: Vec<_> = stream.snowplow_good().iter().map(|it| it.event_id().to_owned()).collect();
    assert_eq!(sent.len(), 4);
    assert_eq!(sent, *told.lock().unwrap());
}
