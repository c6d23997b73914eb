//! The keeper: one parked thread that ends idle sessions on time, publishes what nobody else has, and runs observers.
//!
//! It parks until the live session's deadline, at most a minute: a parked thread does not count the time that the machine
//! sleeps. Every decision wakes it. It holds the sessions weakly, so they can be dropped while it sleeps.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::Core;
use crate::clock::Attend;
use crate::sync::{Condvar, Mutex, ThreadId, spawn, this_thread};

/// What others tell the keeper, and what it tells them.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    asked: Condvar,
    settled: Condvar,
    thread: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with everything that the keeper is told.
    asked: u64,
    /// Everything told up to here is done.
    done: u64,
    /// The threads that are telling an observer of the live session.
    telling: Vec<ThreadId>,
    /// Flush with so much patience, then go.
    stopping: Option<Duration>,
    /// The thread has gone; the errors of its last flush.
    gone: Option<Vec<String>>,
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn spawn(self: &Arc<Self>, core: Weak<Core>) -> std::io::Result<()> {
        let keeper = self.clone();
        spawn("otel-session.keeper", move || keeper.run(&core))
    }

    /// There is something to do.
    pub(crate) fn nudge(&self) -> u64 {
        let mut state = self.state.lock();
        state.asked += 1;
        let asked = state.asked;
        drop(state);
        self.asked.notify_all();
        asked
    }

    /// Asks the keeper to flush and go, and waits for it, at most `bound`. None if it was not done in time.
    pub(crate) fn stop(&self, bound: Duration) -> Option<Vec<String>> {
        self.state.lock().stopping.get_or_insert(bound);
        self.nudge();
        if self.is_this_thread() {
            // An observer asked: the keeper goes on as soon as the observer lets it.
            return Some(Vec::new());
        }
        let (mut state, _) = self.settled.wait_until(self.state.lock(), bound, |state| state.gone.is_some());
        // The errors of the flush are told once.
        state.gone.as_mut().map(std::mem::take)
    }

    /// Runs what tells an observer of the live session, on this thread; it does not panic.
    pub(crate) fn while_telling(&self, tell: impl FnOnce()) {
        let this = this_thread();
        self.state.lock().telling.push(this);
        tell();
        let mut state = self.state.lock();
        if let Some(index) = state.telling.iter().position(|thread| *thread == this) {
            state.telling.swap_remove(index);
        }
    }

    /// Whether an observer is being told on this thread, so that whoever waits here would wait for itself.
    fn is_observer(&self) -> bool {
        self.is_this_thread() || self.state.lock().telling.contains(&this_thread())
    }

    fn is_this_thread(&self) -> bool {
        self.thread.get() == Some(&this_thread())
    }

    fn run(&self, core: &Weak<Core>) {
        let _ = self.thread.set(this_thread());
        loop {
            let asked = self.state.lock().asked;
            let Some(core) = core.upgrade() else { break };
            core.tend();
            let idle = core.current.sink().observers.idle();
            let park = core.park();
            // Dropped before parking: the keeper must not keep alive what it keeps.
            let stopping = self.state.lock().stopping;
            if let Some(patience) = stopping {
                let errors = core.flush(patience);
                core.tend();
                core.current.sink().observers.forget(&core.losses);
                drop(core);
                self.leave(errors);
                return;
            }
            drop(core);
            let mut state = self.state.lock();
            if idle {
                state.done = asked;
                self.settled.notify_all();
            }
            if state.asked == asked {
                drop(self.asked.wait_at_most(state, park));
            }
        }
        self.leave(Vec::new());
    }

    fn leave(&self, errors: Vec<String>) {
        self.state.lock().gone = Some(errors);
        self.settled.notify_all();
    }
}

impl Attend for Keeper {
    fn wake(&self) -> u64 {
        self.nudge()
    }

    fn settle(&self, wake: u64, bound: Duration) -> bool {
        if self.is_observer() {
            return true;
        }
        let done = |state: &mut State| state.done >= wake || state.gone.is_some();
        let (_state, too_long) = self.settled.wait_until(self.state.lock(), bound, done);
        !too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_keeper_that_is_not_done_is_told_so_when_the_bound_is_reached() {
        let keeper = Keeper::default();
        let wake = keeper.wake();
        assert!(!keeper.settle(wake, Duration::from_millis(1)), "nobody does anything");
        keeper.state.lock().done = wake;
        assert!(keeper.settle(wake, Duration::from_millis(1)));
    }
}
