//! Mistakes that other session implementations made, each as the test that would have found it. The numbers are those of the
//! second table in `tests/behaviours/README.md`, which also says which wait for a later room.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "mistakes/chain.rs"]
mod chain;
#[path = "mistakes/records.rs"]
mod records;
#[path = "mistakes/signals.rs"]
mod signals;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use otel_session::Sessions;
use otel_session::testing::ManualClock;

use support::epoch;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn sessions() -> (ManualClock, Sessions) {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    (clock, sessions)
}

/// Runs `work` on eight threads at the same moment.
fn at_once<R: Send>(work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        let run = |n| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(n)
            })
        };
        let threads: Vec<_> = (0..8).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
