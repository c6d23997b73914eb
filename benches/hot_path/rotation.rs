//! What a rotation costs its caller. Publishing the two records is somebody else's work: the keeper's, or the next log's.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_sdk::logs::SdkLoggerProvider;

use crate::contenders::{BlackHole, sessions};
use crate::measure::{median, quantile};

/// Microseconds.
#[derive(Debug)]
pub(crate) struct Rotation {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Rotates with a pause in between, so that the keeper has gone to sleep and must be woken each time.
pub(crate) fn now_and_then(count: usize) -> Rotation {
    rotate(count, || thread::sleep(Duration::from_micros(200)))
}

/// Rotates as fast as it goes, against a keeper that is always busy publishing.
pub(crate) fn back_to_back(count: usize) -> Rotation {
    rotate(count, || {})
}

fn rotate(count: usize, pause: impl Fn()) -> Rotation {
    let sessions = sessions();
    let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(BlackHole)).build();
    let samples: Vec<f64> = (0..count)
        .map(|_| {
            pause();
            let start = Instant::now();
            sessions.rotate();
            start.elapsed().as_nanos() as f64 / 1000.0
        })
        .collect();
    loggers.shutdown().expect("the pipeline shuts down");
    Rotation { median: median(samples.clone()), p99: quantile(samples, 0.99) }
}
