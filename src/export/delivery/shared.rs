//! What the callers and the delivery thread tell each other.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Attend, Source};
use crate::sync::{Condvar, Mutex, ThreadId, this_thread};

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    answered: Condvar,
    /// Events were accepted; the worker listens when it could send some.
    pub(super) work: Notify,
    /// Something else was asked; the worker always listens.
    pub(super) control: Notify,
    thread: OnceLock<ThreadId>,
    /// Where requests go, as it is told.
    endpoint: Mutex<String>,
    /// They have gone elsewhere since the worker last looked.
    pub(super) moved: AtomicBool,
    pub(super) paused: AtomicBool,
    /// How many events must wait for the worker to have something to do: what is accepted below a batch need not wake it.
    pub(super) enough: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with everything that the worker is asked.
    asked: u64,
    /// Everything asked up to here has been attempted.
    done: u64,
    flushes: BTreeMap<u64, Flush>,
    stop: Option<Stop>,
    /// The thread has gone.
    gone: bool,
}

/// A call of `flush`, keyed by what `asked` was.
#[derive(Debug)]
struct Flush {
    /// It is fulfilled when nothing is left of the chunks below this number. Counting what has left would not do: of several
    /// requests in flight a newer one may arrive first.
    until: u64,
    /// Real boot time, in ns.
    deadline: i64,
    fulfilled: Option<bool>,
}

/// Drain, then go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) asked: u64,
    /// Real boot time, in ns.
    pub(super) deadline: i64,
}

impl Stop {
    pub(super) fn is_over(self) -> bool {
        real_time() >= self.deadline
    }
}

/// What the worker reads at the start of each round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) asked: u64,
    pub(super) stop: Option<Stop>,
    /// The last call of `flush` or `shutdown` that is still waiting: it may cut the backoff short, once.
    pub(super) urgent: Option<u64>,
    /// The first deadline among them that is to come.
    pub(super) deadline: Option<i64>,
}

impl Shared {
    pub(super) fn this_is_the_thread(&self) {
        let _ = self.thread.set(this_thread());
    }

    pub(super) fn is_this_thread(&self) -> bool {
        self.thread.get() == Some(&this_thread())
    }

    pub(super) fn name(&self, endpoint: &str) {
        endpoint.clone_into(&mut self.endpoint.lock());
    }

    /// Requests go elsewhere from now on: what the collector before asked for does not hold there.
    pub(super) fn move_to(&self, endpoint: &str) {
        self.name(endpoint);
        self.moved.store(true, Ordering::Release);
        self.control.notify_one();
    }

    pub(super) fn endpoint(&self) -> String {
        self.endpoint.lock().clone()
    }

    pub(super) fn nudge(&self) -> u64 {
        let asked = {
            let mut state = self.state.lock();
            state.asked += 1;
            state.asked
        };
        self.control.notify_one();
        asked
    }

    /// Waits until nothing is left of the chunks below this number; false if that failed or took longer than `bound`.
    pub(super) fn flush(&self, until: u64, bound: Duration) -> bool {
        let deadline = real_time().saturating_add(crate::clock::duration_nanos(bound));
        let asked = {
            let mut state = self.state.lock();
            state.asked += 1;
            let asked = state.asked;
            state.flushes.insert(asked, Flush { until, deadline, fulfilled: None });
            asked
        };
        self.control.notify_one();
        let answered =
            |state: &mut State| state.gone || state.flushes.get(&asked).is_none_or(|it| it.fulfilled.is_some());
        let (mut state, _) = self.answered.wait_until(self.state.lock(), bound, answered);
        state.flushes.remove(&asked).and_then(|it| it.fulfilled).unwrap_or(false)
    }

    /// Asks the worker to drain and to be gone after `bound`. Nobody asks for more time than it was given before: what was
    /// left then may have been counted as lost.
    pub(super) fn ask_to_stop(&self, bound: Duration) {
        // A part of it is for closing the outbox, or whoever waits would find that still open.
        let draining = bound - (bound / 16).min(LEAVING);
        let deadline = real_time().saturating_add(crate::clock::duration_nanos(draining));
        {
            let mut state = self.state.lock();
            state.asked += 1;
            let deadline = state.stop.map_or(deadline, |stop| stop.deadline.min(deadline));
            state.stop = Some(Stop { asked: state.asked, deadline });
        }
        self.control.notify_one();
    }

    /// The same, and waits for it as long; true if it has gone.
    pub(super) fn stop(&self, bound: Duration) -> bool {
        self.ask_to_stop(bound);
        if self.is_this_thread() {
            // A callback asked: the worker goes on when the callback returns.
            return false;
        }
        let (state, _) = self.answered.wait_until(self.state.lock(), bound, |state| state.gone);
        state.gone
    }

    pub(super) fn orders(&self) -> Orders {
        let state = self.state.lock();
        let waiting = || state.flushes.iter().filter(|(_, flush)| flush.fulfilled.is_none());
        let flush = waiting().next_back().map(|(asked, _)| *asked);
        let flushes = waiting().map(|(_, flush)| flush.deadline);
        // One that has passed has been seen: its caller gives up on its own, and it must not hide a later one.
        let now = real_time();
        let deadline = flushes.chain(state.stop.map(|stop| stop.deadline)).filter(|deadline| *deadline > now).min();
        Orders { asked: state.asked, stop: state.stop, urgent: flush.max(state.stop.map(|stop| stop.asked)), deadline }
    }

    /// Answers the flushes for which `judge(until, deadline)` knows an answer. A good answer is given only after `confirm`,
    /// which may take its time and may turn it.
    pub(super) fn answer(&self, judge: impl Fn(u64, i64) -> Option<bool>, confirm: impl FnOnce() -> bool) {
        let judged: Vec<(u64, bool)> = {
            let state = self.state.lock();
            let waiting = state.flushes.iter().filter(|(_, flush)| flush.fulfilled.is_none());
            waiting.filter_map(|(asked, flush)| Some((*asked, judge(flush.until, flush.deadline)?))).collect()
        };
        if judged.is_empty() {
            return;
        }
        let confirmed = judged.iter().any(|(_, good)| *good) && confirm();
        let mut state = self.state.lock();
        for (asked, good) in judged {
            if let Some(flush) = state.flushes.get_mut(&asked) {
                flush.fulfilled = Some(good && confirmed);
            }
        }
        drop(state);
        self.answered.notify_all();
    }

    /// Everything asked up to here has been attempted.
    pub(super) fn attempted(&self, asked: u64) {
        let mut state = self.state.lock();
        if state.done < asked {
            state.done = asked;
            drop(state);
            self.answered.notify_all();
        }
    }

    pub(super) fn leave(&self) {
        self.state.lock().gone = true;
        self.answered.notify_all();
    }

    pub(super) fn has_gone(&self) -> bool {
        self.state.lock().gone
    }
}

impl Attend for Shared {
    fn wake(&self) -> u64 {
        self.nudge()
    }

    fn settle(&self, wake: u64, bound: Duration) -> bool {
        if self.is_this_thread() {
            return true;
        }
        let done = |state: &mut State| state.done >= wake || state.gone;
        let (_state, too_long) = self.answered.wait_until(self.state.lock(), bound, done);
        !too_long
    }
}

/// Boot time of the machine, in ns, whatever clock the exporter lives by.
pub(super) fn real_time() -> i64 {
    Source::System.moment().boot
}

/// The longest that the thread is given for leaving, out of the time of a shutdown.
const LEAVING: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_hides_none_that_is_to_come() {
        let shared = Shared::default();
        // Its caller has given up, but has not come to say so.
        let late = Flush { until: 0, deadline: 0, fulfilled: None };
        shared.state.lock().flushes.insert(1, late);
        shared.ask_to_stop(Duration::from_secs(60));
        let stop = shared.orders().stop.unwrap();
        assert_eq!(shared.orders().deadline, Some(stop.deadline));
    }
}
