//! Eight threads, a hundred thousand rotations, three pipelines: what exporters get stays lawful, and no lifecycle record
//! is lost.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::trace::{Span as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider, SimpleLogProcessor};
use opentelemetry_sdk::trace::{SdkTracerProvider, SimpleSpanProcessor};
use otel_session::testing::{CapturedSpans, ManualClock};
use otel_session::{Loss, Sessions};

use support::bounded::returns;
use support::{Line, MINUTE, TIMEOUT, emit, epoch, session_id, start_span};

const ROTATIONS: u64 = 100_000;

/// Checks a stream as it arrives, and keeps no more of it than the ids that have started.
#[derive(Debug, Clone, Default)]
struct Checker(Arc<Mutex<Stream>>);

#[derive(Debug, Default)]
struct Stream {
    started: HashSet<String>,
    live: Option<(String, Option<SystemTime>)>,
    last: Option<(String, Option<SystemTime>)>,
    ends: u64,
    unlinked: u64,
    logs: u64,
    faults: Vec<String>,
}

impl Stream {
    fn see(&mut self, line: Line) {
        let Some(id) = line.id.clone() else { return self.fault(&line, "no id") };
        if line.is_start() {
            if self.live.is_some() {
                self.fault(&line, "starts while another is live");
            }
            if !self.started.insert(id.clone()) {
                self.fault(&line, "starts twice");
            }
            match (&self.last, &line.previous_id) {
                (_, None) => self.unlinked += 1,
                (Some((last, _)), Some(previous)) if last == previous => {}
                _ => self.fault(&line, "is linked to another than the last"),
            }
            if self.last.as_ref().is_some_and(|(_, end)| line.at < *end) {
                self.fault(&line, "starts before the end before it");
            }
            self.live = Some((id, line.at));
        } else if line.is_end() {
            self.ends += 1;
            match self.live.take() {
                Some((live, start)) if live == id && start <= line.at => {}
                _ => self.fault(&line, "ends without its start"),
            }
            self.last = Some((id, line.at));
        } else {
            self.logs += 1;
            if !self.started.contains(&id) {
                self.fault(&line, "carries an id that has not started");
            }
        }
    }

    fn fault(&mut self, line: &Line, fault: &str) {
        if self.faults.len() < 10 {
            let Line { body, id, previous_id, user_id, at, .. } = line;
            let seen = (self.started.len(), self.logs, &self.live);
            self.faults.push(format!("{fault}: {body} {id:?} <- {previous_id:?} {user_id:?} {at:?} after {seen:?}"));
        }
    }
}

impl LogExporter for Checker {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut stream = self.0.lock().unwrap();
        batch.iter().for_each(|(record, _)| stream.see(Line::of(record)));
        Ok(())
    }
}

/// What makes sessions rotate, until there were enough; each is a thread.
fn storm(
    sessions: &Sessions,
    clock: &ManualClock,
    loggers: [&SdkLoggerProvider; 2],
    tracers: &SdkTracerProvider,
) -> [u64; 2] {
    let enough = AtomicBool::new(false);
    let emitted = [AtomicU64::new(0), AtomicU64::new(0)];
    let forever = |work: &mut dyn FnMut(u64)| {
        let mut round = 0;
        while !enough.load(Ordering::Relaxed) {
            work(round);
            round += 1;
        }
    };
    std::thread::scope(|scope| {
        for (provider, count) in loggers.into_iter().zip(&emitted) {
            for own_times in [false, true] {
                scope.spawn(move || {
                    let logger = provider.logger("stress");
                    forever(&mut |round| {
                        let at = clock.now();
                        let late = MINUTE * u32::try_from(round % 7).unwrap();
                        emit(&logger, "log", own_times.then(|| at - late));
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let tracer = tracers.tracer("stress");
                forever(&mut |_| start_span(&tracer, "span", clock.now()).end());
            });
        }
        // Sleep past the timeout, so that the next signal rotates; or pass it awake, so that the keeper ends.
        scope.spawn(|| {
            forever(&mut |round| match round % 4 {
                0 => _ = clock.advance(TIMEOUT),
                1 => clock.suspend(MINUTE),
                _ => clock.suspend(TIMEOUT),
            });
        });
        scope.spawn(|| {
            forever(&mut |round| {
                match round % 64 {
                    0 => sessions.end(),
                    1 => sessions.set_user_id(Some(if round % 128 == 1 { "ada" } else { "bob" })),
                    2 => sessions.set_background(round % 128 == 2),
                    _ => {}
                }
                if sessions.rotate().index() >= ROTATIONS {
                    enough.store(true, Ordering::Relaxed);
                }
            });
        });
    });
    emitted.map(AtomicU64::into_inner)
}

fn stress(attach: impl Fn(&Sessions, [Checker; 3]) -> [SdkLoggerProvider; 2]) {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let checkers: [Checker; 3] = Default::default();
    let loggers = attach(&sessions, checkers.clone());
    let spans = CapturedSpans::default();
    let tracers = SdkTracerProvider::builder()
        .with_span_processor(sessions.span_processor(SimpleSpanProcessor::new(spans.clone())))
        .build();
    let [first, second] = storm(&sessions, &clock, [&loggers[0], &loggers[1]], &tracers);
    let sessions_made = sessions.rotate().index();
    sessions.shutdown(Duration::from_secs(60)).unwrap();
    loggers.iter().for_each(|provider| provider.shutdown().unwrap());

    let mut missing = 0;
    let mut unlinked = HashSet::new();
    for (checker, emitted) in checkers.iter().zip([first, first, second]) {
        let stream = checker.0.lock().unwrap();
        assert!(stream.faults.is_empty(), "{}: {:#?}", sessions.losses(), stream.faults);
        assert_eq!((stream.started.len() as u64, stream.ends), (sessions_made, sessions_made));
        assert!(stream.logs > 0);
        missing += emitted - stream.logs;
        unlinked.insert(stream.unlinked);
    }
    assert_eq!(unlinked.len(), 1, "every pipeline saw the same chain");
    let stream = checkers[0].0.lock().unwrap();
    let spans = spans.spans();
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| stream.started.contains(&session_id(&span.attributes).unwrap())));

    let losses = sessions.losses();
    assert_eq!(losses.count(Loss::LogQueueFull), missing, "{losses}");
    // Logs may be older than the history; nothing else may be lost.
    assert_eq!(losses.total(), missing + losses.count(Loss::HistoryForgotten), "{losses}");
}

#[test]
fn a_hundred_thousand_rotations_behind_simple_processors_stay_lawful() {
    returns("the storm", || {
        stress(|sessions, [a, b, c]| {
            let simple = |exporter| sessions.log_processor(SimpleLogProcessor::new(exporter));
            [
                SdkLoggerProvider::builder().with_log_processor(simple(a)).with_log_processor(simple(b)).build(),
                SdkLoggerProvider::builder().with_log_processor(simple(c)).build(),
            ]
        });
    });
}

#[test]
fn a_hundred_thousand_rotations_behind_batch_processors_with_their_default_queue_stay_lawful() {
    returns("the storm", || {
        stress(|sessions, [a, b, c]| {
            let batch = |exporter| sessions.batch_log_processor(exporter);
            [
                SdkLoggerProvider::builder().with_log_processor(batch(a)).with_log_processor(batch(b)).build(),
                SdkLoggerProvider::builder().with_log_processor(batch(c)).build(),
            ]
        });
    });
}
