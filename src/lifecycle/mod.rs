//! From transitions to records: the queues of the log pipelines, the observers, and the keeper.
//!
//! ```text
//! decision ──> hub ──> queue of each log pipeline ──> its inner processor     (by the next log, or the keeper)
//!                └───> queue of each observer ──────> its callback            (by the keeper)
//! ```
//! A decision only fills queues and wakes the keeper, so it may be made anywhere: inside `on_start`, in an exporter, in an
//! observer. Publishing happens where it is safe: in a log's emission, in a flush or shutdown, and on the keeper.

mod grouping;
mod hub;
mod keeper;
mod observers;
mod queue;
mod record;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;

pub(crate) use hub::Publish;
pub(crate) use keeper::Keeper;
pub use observers::Watch;
#[cfg(otel_session_loom)]
pub(crate) use queue::Paired;
pub(crate) use queue::{FLUSH_BOUND, QUEUE_BOUND, Queue, Turn};
pub(crate) use record::{Record, blank, scope};

use crate::clock::{Attend, Source};
use crate::session::{Chain, Current, IdSource, Live, Transition};
use crate::telemetry::{Loss, LossCounters};
use grouping::Grouping;
use hub::Hub;

/// Whether there are threads to start.
const THREADS: bool = !cfg!(target_family = "wasm");

/// Flushes a pipeline. A processor that panics must not take the keeper with it. One that gave up waiting, as the SDK's does
/// after five seconds whatever its caller's patience, is asked again while that lasts: what it flushes goes on meanwhile.
fn flush(pipeline: &dyn Publish, patience: Duration) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        match catch_unwind(AssertUnwindSafe(|| pipeline.flush())) {
            Ok(Err(OTelSdkError::Timeout(bound))) if !bound.is_zero() && waited.saturating_add(bound) < patience => {
                waited += bound;
            }
            Ok(flushed) => return flushed.map_err(|error| error.to_string()),
            Err(_) => return Err("a log processor panicked".to_owned()),
        }
    }
}

/// Everything that belongs to one [`Sessions`](crate::Sessions), shared by its handles, processors and layers.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) current: Current<Hub>,
    pub(crate) losses: Arc<LossCounters>,
    pub(crate) grouping: Grouping,
}

impl Core {
    /// Everything but the keeper's thread.
    pub(crate) fn new(chain: Chain, clock: Source, ids: IdSource, losses: Arc<LossCounters>) -> Self {
        let hub = Hub::new(Arc::new(Keeper::default()), losses.clone());
        let current = Current::new(chain, clock, ids, losses.clone(), hub);
        Self { current, losses, grouping: Grouping::default() }
    }

    /// Starts the keeper. WebAssembly has no threads to give it: there a session ends at the next signal.
    pub(crate) fn start(self) -> std::io::Result<Arc<Self>> {
        let core = Arc::new(self);
        let keeper = &core.current.sink().keeper;
        if let Source::Given(clock) = core.current.clock() {
            let attend: Arc<dyn Attend> = keeper.clone();
            clock.attend(Arc::downgrade(&attend));
        }
        if THREADS {
            keeper.spawn(Arc::downgrade(&core))?;
        }
        Ok(core)
    }

    /// Attaches a log pipeline, which from now on gets every lifecycle record.
    pub(crate) fn attach(&self, queue: &Arc<Queue<Record>>, pipeline: Weak<dyn Publish>, resource: Option<&Resource>) {
        let group = self.grouping.group_of(resource);
        self.current.frozen(|live, now| self.current.sink().attach(queue, pipeline, group, live, now));
    }

    /// A log pipeline goes. If no other provider's is left, the live session ends, and its end is in the queue; nothing is
    /// put there afterwards. It is told the last session that it knows.
    pub(crate) fn leave(&self, queue: &Arc<Queue<Record>>, tell: impl FnOnce(Option<&'static Live>)) {
        let forget = |hub: &Hub, last| {
            hub.detach(queue);
            tell(last);
        };
        self.current.leave(|hub| hub.is_of_last_group(queue), forget);
    }

    /// Counts what a pipeline that has gone did not publish.
    pub(crate) fn left(&self, queue: &Arc<Queue<Record>>) {
        let undelivered = queue.take_all().len();
        self.losses.add(Loss::LifecycleUndelivered, undelivered as u64);
    }

    /// Adds an observer and tells it of the live session at once.
    pub(crate) fn observe(&self, callback: impl FnMut(&Transition) + Send + 'static) -> Watch {
        let hub = self.current.sink();
        let (observer, first) = self.current.frozen(|live, _| {
            let first = live
                .map(|(live, _)| Transition { ended: None, started: Some(crate::session::Session(&live.snapshot)) });
            (hub.observers.add(Box::new(callback), first.is_some()), first)
        });
        if let Some(first) = first {
            hub.keeper.while_telling(|| observer.tell_first(&first, &self.losses));
        }
        // The keeper may have found the observer held.
        hub.keeper.nudge();
        let watch = Watch::new(&observer, hub.keeper.clone());
        hub.observers.let_go(observer, &self.losses);
        watch
    }

    /// Ends everything and flushes, off this thread, within `timeout`. None if that was not enough.
    pub(crate) fn shutdown(&self, timeout: Duration) -> Option<Vec<String>> {
        self.current.stop();
        let done = if THREADS {
            self.current.sink().keeper.stop(timeout)
        } else {
            self.tend();
            Some(self.flush(timeout))
        };
        self.current.sink().give_up_backlog();
        done
    }

    /// There is something for the keeper to do.
    pub(crate) fn nudge_keeper(&self) {
        self.current.sink().keeper.nudge();
    }

    /// One round of the keeper.
    fn tend(&self) {
        self.current.end_if_due();
        {
            // What an exporter does on our behalf is not the application's telemetry.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            for pipeline in self.current.sink().pipelines() {
                pipeline.publish();
            }
        }
        self.current.sink().observers.run(&self.losses);
    }

    /// Flushes every pipeline, all at once: one that cannot export must not use up the time of the others.
    fn flush(&self, patience: Duration) -> Vec<String> {
        let flush = |pipeline: &Arc<dyn Publish>| {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            flush(&**pipeline, patience).err()
        };
        let pipelines = self.current.sink().pipelines();
        let Some((first, others)) = pipelines.split_first() else { return Vec::new() };
        std::thread::scope(|scope| {
            let beside = |pipeline| {
                let thread = std::thread::Builder::new().name("otel-session.flush".into());
                (pipeline, thread.spawn_scoped(scope, move || flush(pipeline)))
            };
            let others: Vec<_> = others.iter().map(beside).collect();
            let first = flush(first);
            let others = others.into_iter().map(|(pipeline, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| Some("a log processor panicked".to_owned())),
                Err(_) => flush(pipeline),
            });
            [first].into_iter().chain(others).flatten().collect()
        })
    }

    /// How long the keeper may park.
    fn park(&self) -> Duration {
        let remaining =
            self.current.deadline().map(|deadline| deadline.saturating_sub(self.current.clock().moment().boot));
        self.current.clock().park(remaining)
    }
}

impl Drop for Core {
    /// Wakes the keeper to go, instead of leaving its thread parked for up to a minute.
    fn drop(&mut self) {
        self.current.sink().keeper.nudge();
    }
}
