//! From transitions to records: the queues of the log pipelines, the observers, and the keeper.
//!
//! ```text
//! decision ──> hub ──> queue of each log pipeline ──> its inner processor     (by the next log, or the keeper)
//!                └───> queue of each observer ──────> its callback            (by the keeper)
//! ```
//! A decision only fills queues and wakes the keeper, so it may be made anywhere: inside `on_start`, in an exporter, in an
//! observer. Publishing happens where it is safe: in a log's emission, in a flush or shutdown, and on the keeper.

mod hub;
mod keeper;
mod observers;
mod queue;
mod record;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;

pub(crate) use hub::Publish;
pub(crate) use keeper::Keeper;
pub use observers::Watch;
pub(crate) use queue::{QUEUE_BOUND, Queue, Turn};
pub(crate) use record::{Record, blank, scope};

use crate::clock::Attend;
use crate::session::{Chain, Current, IdSource, Transition};
use crate::telemetry::LossCounters;
use hub::Hub;

/// Everything that belongs to one [`Sessions`](crate::Sessions), shared by its handles, processors and layers.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) current: Current<Hub>,
    pub(crate) losses: Arc<LossCounters>,
}

impl Core {
    pub(crate) fn start(
        chain: Chain,
        clock: crate::clock::Source,
        ids: IdSource,
        losses: Arc<LossCounters>,
    ) -> std::io::Result<Arc<Self>> {
        let keeper = Arc::new(Keeper::default());
        if let crate::clock::Source::Given(clock) = &clock {
            let attend: Arc<dyn Attend> = keeper.clone();
            clock.attend(Arc::downgrade(&attend));
        }
        let hub = Hub::new(keeper.clone(), losses.clone());
        let core = Arc::new(Self { current: Current::new(chain, clock, ids, losses.clone(), hub), losses });
        keeper.spawn(Arc::downgrade(&core))?;
        Ok(core)
    }

    /// Attaches a log pipeline, which from now on gets every lifecycle record.
    pub(crate) fn attach(&self, queue: &Arc<Queue<Record>>, pipeline: std::sync::Weak<dyn Publish>) {
        self.current.frozen(|live, now| self.current.sink().attach(queue, pipeline, live, now));
    }

    /// A log pipeline is about to go. If it is the last, the live session ends, so that its end can still be published.
    pub(crate) fn leave(&self, queue: &Arc<Queue<Record>>) {
        if self.current.sink().leave(queue) {
            self.current.suspend();
        }
    }

    /// A log pipeline has gone.
    pub(crate) fn detach(&self, queue: &Arc<Queue<Record>>) {
        self.current.sink().detach(queue);
        let undelivered = queue.take_all().len();
        self.losses.add(crate::telemetry::Loss::LifecycleUndelivered, undelivered as u64);
    }

    /// Adds an observer and tells it of the live session at once.
    pub(crate) fn observe(&self, callback: impl FnMut(&Transition) + Send + 'static) -> Watch {
        let hub = self.current.sink();
        let (observer, first) = self.current.frozen(|live, _| {
            let first =
                live.map(|live| Transition { ended: None, started: Some(crate::session::Session(&live.snapshot)) });
            (hub.observers.add(Box::new(callback), first.is_some()), first)
        });
        if let Some(first) = first {
            observer.tell_first(&first, &self.losses);
        }
        // The keeper may have found the observer held.
        hub.keeper.nudge();
        Watch::new(&observer)
    }

    /// Ends everything and flushes, off this thread, within `timeout`. None if that was not enough.
    pub(crate) fn shutdown(&self, timeout: Duration) -> Option<Vec<String>> {
        self.current.stop();
        let done = self.current.sink().keeper.stop(timeout);
        self.current.sink().give_up_backlog();
        done
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

    fn flush(&self) -> Vec<String> {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let flush = |pipeline: Arc<dyn Publish>| match catch_unwind(AssertUnwindSafe(|| pipeline.flush())) {
            Ok(flushed) => flushed.err().map(|error| error.to_string()),
            Err(_) => Some("a log processor panicked".to_owned()),
        };
        self.current.sink().pipelines().into_iter().filter_map(flush).collect()
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
