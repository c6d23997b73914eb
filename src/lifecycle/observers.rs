//! Observers of transitions: told in order, one call at a time each, never under a lock of ours.
//!
//! Each observer has a queue of its own, which the keeper empties; only the live session is told of by whoever subscribes,
//! and until that is done the keeper leaves the observer alone. So an observer may call anything of ours, even register another observer or rotate; what that causes waits in
//! the queues. A panic is caught and counted; an observer that lags more than [`WAITING_BOUND`] transitions loses the
//! oldest, counted.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::keeper::Keeper;
use crate::session::Transition;
use crate::sync::Mutex;
use crate::telemetry::{Loss, LossCounters};

/// The most transitions that may wait for one observer.
const WAITING_BOUND: usize = 65_536;

type Callback = Box<dyn FnMut(&Transition) + Send>;

#[derive(Debug, Default)]
pub(crate) struct Observers {
    list: Mutex<Vec<Arc<Observer>>>,
    /// Nothing will be told any more, so nobody is kept for it. Changes under the lock of the list.
    over: AtomicBool,
}

pub(crate) struct Observer {
    active: AtomicBool,
    waiting: Mutex<Waiting>,
    callback: Mutex<Callback>,
}

struct Waiting {
    transitions: VecDeque<Transition>,
    /// Someone is in the callback, or about to be.
    running: bool,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("active", &self.active).finish_non_exhaustive()
    }
}

impl Observers {
    /// Adds an observer, kept for as long as there may be something to tell. If it is `held`, nobody runs it before
    /// [`Observer::tell_first`].
    pub(crate) fn add(&self, callback: Callback, held: bool) -> Arc<Observer> {
        let observer = Arc::new(Observer {
            active: AtomicBool::new(true),
            waiting: Mutex::new(Waiting { transitions: VecDeque::new(), running: held }),
            callback: Mutex::new(callback),
        });
        let mut list = self.list.lock();
        if !self.over.load(Ordering::Relaxed) {
            list.push(observer.clone());
        }
        observer
    }

    /// Queues a transition for every observer.
    pub(crate) fn tell(&self, transition: &Transition, losses: &LossCounters) {
        for observer in self.list.lock().iter() {
            let mut waiting = observer.waiting.lock();
            if waiting.transitions.len() >= WAITING_BOUND {
                waiting.transitions.pop_front();
                losses.add(Loss::ObserverQueueFull, 1);
            }
            waiting.transitions.push_back(transition.clone());
        }
    }

    /// Runs every observer that has something waiting and that nobody else is running.
    pub(crate) fn run(&self, losses: &LossCounters) {
        let (observers, unsubscribed) = {
            let mut list = self.list.lock();
            let gone = |observer: &mut Arc<Observer>| !observer.active.load(Ordering::Acquire);
            let unsubscribed: Vec<_> = list.extract_if(.., gone).collect();
            (list.clone(), unsubscribed)
        };
        drop_all(unsubscribed, losses);
        for observer in observers {
            observer.run(losses);
        }
    }

    /// Drops every observer, and keeps none that comes later: nothing will be told any more.
    pub(crate) fn forget(&self, losses: &LossCounters) {
        let observers = {
            let mut list = self.list.lock();
            self.over.store(true, Ordering::Release);
            std::mem::take(&mut *list)
        };
        // One that was held until now has not heard everything.
        observers.iter().for_each(|observer| observer.run(losses));
        drop_all(observers, losses);
    }

    /// Lets go of an observer that has just subscribed. If the keeper has forgotten it by now, while it was held, it is told here
    /// what came in the meantime.
    pub(crate) fn let_go(&self, observer: Arc<Observer>, losses: &LossCounters) {
        if self.over.load(Ordering::Acquire) {
            observer.run(losses);
        }
        drop_all(vec![observer], losses);
    }

    /// Whether nothing is waiting and nobody is in a callback.
    pub(crate) fn idle(&self) -> bool {
        self.list.lock().iter().all(|observer| {
            let waiting = observer.waiting.lock();
            !observer.active.load(Ordering::Acquire) || (waiting.transitions.is_empty() && !waiting.running)
        })
    }
}

/// Drops observers without a lock: what a callback owns may call us, or panic, as it goes.
fn drop_all(observers: Vec<Arc<Observer>>, losses: &LossCounters) {
    for observer in observers {
        if catch_unwind(AssertUnwindSafe(|| drop(observer))).is_err() {
            losses.add(Loss::ObserverPanic, 1);
        }
    }
}

impl Observer {
    /// Calls the callback until nothing is waiting; does nothing if another thread is at it.
    pub(crate) fn run(&self, losses: &LossCounters) {
        {
            let mut waiting = self.waiting.lock();
            if waiting.running || waiting.transitions.is_empty() {
                return;
            }
            waiting.running = true;
        }
        loop {
            let transition = {
                let mut waiting = self.waiting.lock();
                match waiting.transitions.pop_front() {
                    Some(transition) => transition,
                    None => {
                        waiting.running = false;
                        return;
                    }
                }
            };
            self.call(&transition, losses);
        }
    }

    /// Tells an observer that was added `held` its first transition, on this thread. What came in the meantime is the
    /// keeper's to tell: this thread must not be kept by a stream of transitions.
    pub(crate) fn tell_first(&self, first: &Transition, losses: &LossCounters) {
        self.call(first, losses);
        self.waiting.lock().running = false;
    }

    fn call(&self, transition: &Transition, losses: &LossCounters) {
        if !self.active.load(Ordering::Acquire) {
            return;
        }
        // Only the runner takes this lock, so it guards nothing that anyone else could wait for.
        let mut callback = self.callback.lock();
        if catch_unwind(AssertUnwindSafe(|| callback(transition))).is_err() {
            losses.add(Loss::ObserverPanic, 1);
        }
    }
}

/// Keeps an observer subscribed; dropping it unsubscribes.
///
/// A call that is under way when the watch is dropped still finishes; none begins afterwards. What the observer owns is dropped
/// on the keeper thread, soon after that, or when the sessions shut down; of one that subscribes later, at once.
#[must_use = "dropping a watch unsubscribes its observer; call detach() to keep it for good"]
#[derive(Debug)]
pub struct Watch {
    observer: Weak<Observer>,
    keeper: Arc<Keeper>,
}

impl Watch {
    pub(crate) fn new(observer: &Arc<Observer>, keeper: Arc<Keeper>) -> Self {
        Self { observer: Arc::downgrade(observer), keeper }
    }

    /// Keeps the observer for as long as the sessions live.
    pub fn detach(mut self) {
        self.observer = Weak::new();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.upgrade() {
            observer.active.store(false, Ordering::Release);
            // It drops what the observer owns.
            self.keeper.nudge();
        }
    }
}
