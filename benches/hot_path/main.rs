//! What sessions cost on the way of a span or log, beside other ways of doing it:
//!
//! ```text
//! cargo bench --bench hot_path --all-features                     # a minute or two
//! cargo bench --bench hot_path --all-features -- --quick          # a few seconds, to see that it runs
//! cargo bench --bench hot_path --all-features -- "wrapped log"    # only the rows whose name has this in it
//! ```
//!
//! Prints nanoseconds that each way adds to a signal of an SDK without sessions, ratios, and which targets hold. It never
//! fails: time is no test.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod contenders;
mod measure;
mod report;
mod rotation;
mod signals;

use std::time::Duration;

use contenders::Pipeline;
use measure::{Effort, measure};
use report::Report;
use signals::Signal;

const THREADS: [usize; 3] = [1, 2, 8];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    // Cargo adds `--bench`.
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let effort = if quick {
        Effort { builds: 1, rounds: 5, sample: Duration::from_micros(50) }
    } else {
        Effort { builds: 7, rounds: 31, sample: Duration::from_micros(300) }
    };
    let mut report = Report::begin(quick);
    for pipeline in [Pipeline::Wrapped, Pipeline::Batch] {
        report.pipeline(pipeline);
        for signal in Signal::ALL.into_iter().filter(|signal| format!("{pipeline} {signal}").contains(&only)) {
            for threads in THREADS {
                report.cell(pipeline, signal, threads, &measure(pipeline, signal, threads, effort));
            }
        }
    }
    if !"rotate()".contains(&only) {
        return report.end();
    }
    let count = if quick { 200 } else { 5_000 };
    report.rotation(&rotation::now_and_then(count), &rotation::back_to_back(count * 4));
    report.end();
}
