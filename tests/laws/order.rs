//! Law 3: one end, then one start, before the first log of the new session.

use std::time::Duration;

use crate::support::bounded::{Gate, returns};
use crate::support::exporters::Hooked;
use crate::support::pipelines::{KINDS, Kind};
use crate::support::probes::{Hook, LogProbe};
use crate::support::*;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLoggerProvider};

#[test]
fn law_3_a_rotation_is_an_end_and_then_a_linked_start_before_the_first_new_log() {
    for rig in KINDS.map(Rig::of) {
        rig.log("first");
        assert!(rig.clock.advance(TIMEOUT));
        rig.log("second");
        let lines = rig.lines();
        assert_lawful(&lines);
        let order: Vec<&str> = lines.iter().map(|line| line.body.as_str()).collect();
        assert_eq!(order, ["session started", "first", "session ended", "session started", "second"]);
        assert_eq!(lines[3].previous_id, lines[2].id);
        assert_eq!(lines[2].at, Some(epoch()));
        assert_eq!(lines[2].reason.as_deref(), Some("inactivity"));
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_3_a_signal_that_finds_the_session_over_rotates_it_before_it_goes_out() {
    for rig in KINDS.map(Rig::of) {
        rig.log("first");
        rig.clock.suspend(TIMEOUT);
        rig.log("second");
        rig.clock.suspend(TIMEOUT);
        rig.span("span");
        rig.log("third");
        let lines = rig.lines();
        assert_lawful(&lines);
        let order: Vec<&str> = lines.iter().map(|line| line.body.as_str()).collect();
        let rotation = ["session ended", "session started"];
        assert_eq!(order, [&["session started", "first"], &rotation[..], &["second"], &rotation, &["third"]].concat());
        assert_eq!(rig.span_id("span"), lines[6].id);
    }
}

#[test]
fn law_3_only_end_unlinks() {
    let rig = Rig::new();
    rig.log("first");
    rig.sessions.rotate();
    assert!(rig.clock.advance(TIMEOUT));
    rig.log("after the keeper's end");
    rig.sessions.end();
    rig.log("after end()");
    assert!(rig.clock.advance(TIMEOUT));
    rig.sessions.end();
    rig.log("after the keeper's end and end()");
    let starts: Vec<_> = rig.lifecycle().into_iter().filter(Line::is_start).collect();
    let previous = |number: usize| starts[number].previous_id.clone();
    assert_eq!(previous(0), None);
    assert_eq!(previous(1), starts[0].id);
    assert_eq!(previous(2), starts[1].id, "an end by the keeper is linked too");
    assert_eq!(previous(3), None);
    assert_eq!(previous(4), None);
}

#[test]
fn law_3_each_of_several_pipelines_and_providers_gets_every_record_in_order() {
    for kind in KINDS {
        let rig = Rig::of(kind);
        let others: Vec<_> = KINDS
            .into_iter()
            .map(|kind| {
                let logs = otel_session::testing::CapturedLogs::default();
                (kind.loggers(&rig.sessions, logs.clone()), logs)
            })
            .collect();
        for round in 0..20 {
            rig.log("mine");
            let (provider, _) = &others[round % others.len()];
            emit(&logger_of(provider), "theirs", None);
            rig.clock.suspend(if round % 2 == 0 { TIMEOUT } else { MINUTE });
            if round % 3 == 0 {
                rig.sessions.rotate();
            }
        }
        let expected = rig.lifecycle();
        assert!(expected.len() > 20);
        assert_lawful(&rig.lines());
        for (provider, logs) in others {
            provider.force_flush().unwrap();
            let lines = lines(&logs);
            assert_lawful(&lines);
            let lifecycle: Vec<_> = lines.into_iter().filter(Line::is_lifecycle).collect();
            let facts = |line: &Line| (line.event, line.id.clone(), line.previous_id.clone(), line.at);
            assert_eq!(lifecycle.iter().map(facts).collect::<Vec<_>>(), expected.iter().map(facts).collect::<Vec<_>>());
        }
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

fn logger_of(provider: &SdkLoggerProvider) -> opentelemetry_sdk::logs::SdkLogger {
    opentelemetry::logs::LoggerProvider::logger(provider, "other")
}

#[test]
fn law_3_rotate_and_end_are_published_without_any_log() {
    for rig in KINDS.map(Rig::of) {
        rig.sessions.rotate();
        rig.sessions.rotate();
        rig.sessions.end();
        assert!(rig.clock.advance(Duration::ZERO));
        if rig.lifecycle().len() != 4 {
            // The batch thread has its own time; a flush is what it waits for.
            rig.loggers.force_flush().unwrap();
        }
        assert_lawful(&rig.lifecycle());
        assert_eq!(rig.lifecycle().len(), 4);
    }
}

#[test]
fn law_3_the_keeper_publishes_into_a_simple_pipeline_by_itself() {
    let rig = Rig::new();
    rig.sessions.rotate();
    rig.sessions.end();
    assert!(rig.clock.advance(Duration::ZERO));
    assert_eq!(rig.logs.records().len(), 2, "no log, no flush");
}

#[test]
fn law_3_concurrent_signals_rotate_an_expired_session_once() {
    for kind in KINDS {
        let rig = Rig::of(kind);
        for _ in 0..50 {
            rig.clock.suspend(TIMEOUT);
            let barrier = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (rig, barrier) = (&rig, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        match thread {
                            0 => rig.log("log"),
                            1 => rig.span("span"),
                            2 => _ = rig.sessions.record_activity(),
                            _ => rig.log_at("late", rig.clock.now()),
                        }
                    });
                }
            });
        }
        let lines = rig.lines();
        assert_lawful(&lines);
        assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 50);
        assert_eq!(lines.iter().filter(|line| line.is_end()).count(), 49);
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_3_a_hundred_thousand_rotations_behind_the_default_queue_lose_nothing() {
    let rig = Rig::batched(|builder| builder);
    for _ in 0..100_000 {
        rig.sessions.rotate();
    }
    rig.log("last");
    let Rig { loggers, logs, sessions, .. } = rig;
    loggers.shutdown().unwrap();
    let lines = lines(&logs);
    assert_lawful(&lines);
    assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 100_000);
    assert_eq!(lines.iter().filter(|line| line.is_end()).count(), 100_000);
    assert_eq!(sessions.losses().total(), 0, "{}", sessions.losses());
}

#[test]
fn law_3_a_stuck_exporter_and_a_full_queue_lose_no_lifecycle_record_and_the_logs_are_counted() {
    let gate = Gate::default();
    let at = gate.clone();
    let exporter = Hooked::new(move |_, _| {
        at.pass();
        true
    });
    let clock = otel_session::testing::ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let provider = Kind::Batch.loggers(&sessions, exporter.clone());
    let logger = logger_of(&provider);
    for _ in 0..10_000 {
        sessions.rotate();
        emit(&logger, "log", None);
    }
    gate.open();
    provider.shutdown().unwrap();
    let lines = lines(&exporter.logs);
    assert_lawful(&lines);
    assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 10_000);
    assert_eq!(lines.iter().filter(|line| line.is_end()).count(), 10_000);
    let logs = lines.iter().filter(|line| !line.is_lifecycle()).count() as u64;
    assert!(logs < 10_000, "the queue was full");
    let losses = sessions.losses();
    assert_eq!(losses.count(otel_session::Loss::LogQueueFull), 10_000 - logs);
    assert_eq!(losses.total(), 10_000 - logs);
}

#[test]
fn law_3_a_log_that_outlives_the_history_does_not_run_ahead_of_the_starts() {
    // While the records before the log go out, so many sessions come and go that the log's own is forgotten. The oldest one
    // known then has not started yet in this pipeline.
    let clock = otel_session::testing::ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let (rotating, moving) = (sessions.clone(), clock.clone());
    let exporter = Hooked::new(move |_, record| {
        if record.event_name() == Some("session.start") && rotating.current().is_some_and(|it| it.index() == 2) {
            for _ in 0..100 {
                moving.suspend(2 * MINUTE);
                rotating.rotate();
            }
        }
        true
    });
    let provider = Kind::Simple.loggers(&sessions, exporter.clone());
    emit(&logger_of(&provider), "first", None);
    clock.suspend(TIMEOUT);
    emit(&logger_of(&provider), "late", Some(epoch() + MINUTE));
    provider.shutdown().unwrap();
    let lines = lines(&exporter.logs);
    assert_lawful(&lines);
    assert_eq!(lines.iter().filter(|line| line.is_start()).count(), 102);
    assert_eq!(sessions.losses().count(otel_session::Loss::HistoryForgotten), 1);
}

#[test]
fn law_3_a_log_that_comes_while_its_pipeline_leaves_stands_behind_the_start_of_its_session() {
    let gate = Gate::default();
    let at = gate.clone();
    let hook = Hook::new(move |record: &SdkLogRecord| {
        if record.event_name() == Some("session.end") {
            at.pass();
        }
    });
    let probe = LogProbe { hook, ..LogProbe::default() };
    let clock = otel_session::testing::ManualClock::new(epoch());
    let sessions = otel_session::Sessions::builder().with_clock(clock).build().unwrap();
    let provider = provider_of(sessions.log_processor(probe.clone()));
    let logger = logger_of(&provider);
    emit(&logger, "first", None);
    sessions.rotate();
    // The keeper is held up before the start of the second session, and who shuts down waits for the keeper.
    gate.arrival();
    let held = sessions.clone();
    returns("a log while its pipeline leaves", move || {
        std::thread::scope(|scope| {
            let leaving = scope.spawn(|| provider.shutdown());
            while held.current().is_some() {
                std::thread::yield_now();
            }
            // Decided after the end above, and so after the pipeline has left.
            held.set_user_id(None);
            emit(&logger, "late", None);
            gate.open();
            leaving.join().unwrap().unwrap();
        });
    });
    let lines = probe.lines();
    assert_lawful(&lines);
    let late: Vec<&Line> = lines.iter().filter(|line| line.body == "late").collect();
    assert_eq!((late.len(), &late[0].id), (1, &lines[3].id));
    assert_eq!(sessions.losses().total(), 0, "{}", sessions.losses());
}

/// An exporter that notes how large its batches are, and stands still at the first.
#[derive(Debug, Clone, Default)]
struct Sizes(std::sync::Arc<std::sync::Mutex<Vec<usize>>>, Gate);

impl opentelemetry_sdk::logs::LogExporter for Sizes {
    async fn export(&self, batch: opentelemetry_sdk::logs::LogBatch<'_>) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.lock().unwrap().push(batch.iter().count());
        self.1.pass();
        Ok(())
    }
}

#[test]
fn law_3_lifecycle_records_that_were_held_up_go_out_in_requests_of_the_size_of_a_batch() {
    use opentelemetry::logs::LoggerProvider as _;
    returns("an exporter that is held up", || {
        let exporter = Sizes::default();
        let rig = Rig::new();
        let loggers = Kind::Batch.loggers(&rig.sessions, exporter.clone());
        emit(&loggers.logger("test"), "first", None);
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| loggers.force_flush());
            exporter.1.arrival();
            (0..2_000).for_each(|_| _ = rig.sessions.rotate());
            exporter.1.open();
            flush.join().unwrap().unwrap();
        });
        loggers.force_flush().unwrap();
        let sizes = exporter.0.lock().unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 4_002, "a start, a log, and two records a rotation");
        assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
    });
}
