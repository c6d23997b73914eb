//! Where decisions become records: every attached log pipeline has a queue, and gets every record decided while it is
//! attached.
//!
//! A pipeline that attaches first takes the backlog: what was decided while none was there, at most [`BACKLOG_BOUND`]
//! records, whole pairs, the oldest dropped and counted. One that attaches later gets the live session's start.
//!
//! The pipelines of one provider form a group, since they go together: when one of the last group goes, the live session
//! ends at once, so that its end reaches all of them and not only the one that happens to go last.

use std::sync::{Arc, Weak};

use opentelemetry_sdk::error::OTelSdkResult;

use super::keeper::Keeper;
use super::observers::Observers;
use super::queue::Queue;
use super::record::{Record, What};
use crate::session::{Decided, Live, Session, Sink, Snapshot};
use crate::sync::Mutex;
use crate::telemetry::{Loss, LossCounters};

/// The most records that wait for a first pipeline: 512 pairs.
const BACKLOG_BOUND: usize = 1_024;

/// A log pipeline, as the keeper sees it.
pub(crate) trait Publish: Send + Sync {
    /// Publishes what is pending.
    fn publish(&self);
    /// Publishes what is pending and flushes the inner processor; may block.
    fn flush(&self) -> OTelSdkResult;
}

#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    pub(crate) observers: Observers,
    pub(crate) keeper: Arc<Keeper>,
    losses: Arc<LossCounters>,
}

#[derive(Debug)]
struct State {
    outlets: Vec<Outlet>,
    backlog: Queue<Record>,
}

struct Outlet {
    queue: Arc<Queue<Record>>,
    pipeline: Weak<dyn Publish>,
    group: Group,
}

/// Which provider a pipeline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group(pub(crate) u64);

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Sink for Hub {
    fn decided(&self, decided: Decided) {
        let Decided { transition, last_record, observed_at } = decided;
        let state = self.state.lock();
        let started = transition.started.map(What::Start);
        let ended = transition.ended.map(What::End);
        let first_record = last_record - u64::from(started.is_some() && ended.is_some());
        for (number, what) in (first_record..).zip(ended.into_iter().chain(started)) {
            state.push(number, Record { what, observed_at }, &self.losses);
        }
        drop(state);
        self.observers.tell(&transition, &self.losses);
        self.keeper.nudge();
    }
}

impl Hub {
    pub(crate) fn new(keeper: Arc<Keeper>, losses: Arc<LossCounters>) -> Self {
        let state = State { outlets: Vec::new(), backlog: Queue::new(BACKLOG_BOUND) };
        Self { state: Mutex::new(state), observers: Observers::default(), keeper, losses }
    }

    /// Attaches a pipeline. Called while no decision can be made; `live` is the live session, as it is and as it
    /// began.
    pub(crate) fn attach(
        &self,
        queue: &Arc<Queue<Record>>,
        pipeline: Weak<dyn Publish>,
        group: Group,
        live: Option<(&'static Live, &'static Snapshot)>,
        now: i64,
    ) {
        let mut state = self.state.lock();
        let mut newest = 0;
        if state.outlets.is_empty() {
            for (number, record) in state.backlog.take_all() {
                queue.push(number, record);
                newest = number;
            }
        }
        if let Some((live, began)) = live
            && newest < live.record
        {
            queue.push(live.record, Record { what: What::Start(Session(began)), observed_at: now });
        }
        state.outlets.push(Outlet { queue: queue.clone(), pipeline, group });
        drop(state);
        self.keeper.nudge();
    }

    /// Whether only pipelines of this one's provider are attached, so that the live session must end before it goes.
    pub(crate) fn is_of_last_group(&self, queue: &Arc<Queue<Record>>) -> bool {
        let state = self.state.lock();
        let own = state.outlets.iter().find(|outlet| Arc::ptr_eq(&outlet.queue, queue)).map(|outlet| outlet.group);
        own.is_some_and(|own| state.outlets.iter().all(|outlet| outlet.group == own))
    }

    /// Forgets a pipeline. Called while no decision can be made: what is decided later does not go there.
    pub(crate) fn detach(&self, queue: &Arc<Queue<Record>>) {
        self.state.lock().outlets.retain(|outlet| !Arc::ptr_eq(&outlet.queue, queue));
    }

    /// The pipelines that are attached now.
    pub(crate) fn pipelines(&self) -> Vec<Arc<dyn Publish>> {
        self.state.lock().outlets.iter().filter_map(|outlet| outlet.pipeline.upgrade()).collect()
    }

    /// Counts what waits for a pipeline that will never come.
    pub(crate) fn give_up_backlog(&self) {
        let undelivered = self.state.lock().backlog.take_all().len();
        self.losses.add(Loss::LifecycleUndelivered, undelivered as u64);
    }
}

impl State {
    fn push(&self, number: u64, record: Record, losses: &LossCounters) {
        let mut dropped = 0;
        for outlet in &self.outlets {
            dropped += outlet.queue.push(number, record);
        }
        if self.outlets.is_empty() {
            dropped += self.backlog.push(number, record);
        }
        if dropped > 0 {
            losses.add(Loss::LifecycleQueueFull, dropped);
        }
    }
}
