//! A queue of lifecycle records that one thread at a time empties, in order, with no lock held while it emits.
//!
//! Records come in pairs, a start and its end. The queue is bounded; when it is full the oldest whole pair goes, so what
//! remains is still balanced. `published` is the number of the newest record that needs no more care: who sees a session
//! compares it once and is done.
//!
//! Whoever publishes holds the *turn*. Others wait for the turn at most [`TURN_BOUND`] ([`FLUSH_BOUND`] to flush); a thread that already has it (the
//! inner processor called back into us) does not wait for itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering, ThreadId, this_thread};

/// The most records that may wait: 131,072 pairs.
pub(crate) const QUEUE_BOUND: usize = 262_144;
/// How long a log waits for the thread that is publishing the records before it.
const TURN_BOUND: Duration = Duration::from_millis(100);
/// How long a flush or a shutdown waits for its turn; the SDK's own flushes wait as long.
pub(crate) const FLUSH_BOUND: Duration = Duration::from_secs(5);

/// What a queue must know of its records.
pub(crate) trait Paired {
    /// Whether this is a start, which the end after it belongs to.
    fn is_start(&self) -> bool;
}

#[derive(Debug)]
pub(crate) struct Queue<R> {
    state: Mutex<State<R>>,
    turn_over: Condvar,
    published: AtomicU64,
}

#[derive(Debug)]
struct State<R> {
    pending: VecDeque<(u64, R)>,
    bound: usize,
    /// The number of the newest record pushed.
    newest: u64,
    publisher: Option<ThreadId>,
    /// How many threads wait for the publisher.
    waiting: usize,
}

/// How a call of [`Queue::publish`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Everything asked for has been emitted.
    Taken,
    /// Another call holds the turn, on this very thread or for too long: what was asked for has not been emitted yet.
    Refused,
}

impl<R: Paired> Queue<R> {
    pub(crate) fn new(bound: usize) -> Self {
        let state = State { pending: VecDeque::new(), bound, newest: 0, publisher: None, waiting: 0 };
        Self { state: Mutex::new(state), turn_over: Condvar::new(), published: AtomicU64::new(0) }
    }

    /// Whether the record with this number, and all before it, need no more care.
    #[inline]
    pub(crate) fn is_published(&self, record: u64) -> bool {
        self.published.load(Ordering::Acquire) >= record
    }

    /// Adds a record. Returns how many records were dropped to make room: whole pairs.
    pub(crate) fn push(&self, number: u64, record: R) -> u64 {
        let mut state = self.state.lock();
        let dropped = if state.pending.len() >= state.bound { state.drop_oldest_pair() } else { 0 };
        state.pending.push_back((number, record));
        state.newest = number;
        dropped
    }

    /// Emits what is pending, in order, up to the record `through` (the newest by now, if none is named), without a lock.
    pub(crate) fn publish(&self, through: Option<u64>, emit: impl Fn(R)) -> Turn {
        let bound = if through.is_some() { TURN_BOUND } else { FLUSH_BOUND };
        let mut state = self.state.lock();
        let through = through.unwrap_or(state.newest);
        loop {
            if self.is_published(through) {
                return Turn::Taken;
            }
            match state.publisher {
                None => break,
                Some(thread) if thread == this_thread() => return Turn::Refused,
                Some(_) => {
                    state.waiting += 1;
                    let (guard, too_long) = self
                        .turn_over
                        .wait_until(state, bound, |state| state.publisher.is_none() || self.is_published(through));
                    state = guard;
                    state.waiting -= 1;
                    if too_long {
                        return Turn::Refused;
                    }
                }
            }
        }
        state.publisher = Some(this_thread());
        while let Some((number, record)) = state.next(through) {
            drop(state);
            emit(record);
            self.published.store(number, Ordering::Release);
            state = self.state.lock();
            if state.waiting > 0 {
                // Whoever waits needs one record, and not the end of a turn that others may keep feeding.
                self.turn_over.notify_all();
            }
        }
        // What was dropped from a full queue is gone, and nobody shall wait for it.
        let reached = state.pending.front().map_or(state.newest, |(number, _)| number - 1);
        if !self.is_published(reached) {
            self.published.store(reached, Ordering::Release);
        }
        state.publisher = None;
        self.turn_over.notify_all();
        Turn::Taken
    }

    /// Whether this thread is publishing, further up its stack.
    pub(crate) fn is_turn_of_this_thread(&self) -> bool {
        self.state.lock().publisher == Some(this_thread())
    }

    /// Takes everything pending away, oldest first; for a consumer that emits by itself.
    pub(crate) fn take_all(&self) -> VecDeque<(u64, R)> {
        std::mem::take(&mut self.state.lock().pending)
    }

    /// Notes that records up to this number need no more care of those who see a session.
    pub(crate) fn mark_published(&self, record: u64) {
        let _turn = self.state.lock();
        if !self.is_published(record) {
            self.published.store(record, Ordering::Release);
        }
    }

    /// The number of the newest record if any is pending.
    pub(crate) fn pending(&self) -> Option<u64> {
        self.state.lock().pending.back().map(|(number, _)| *number)
    }
}

impl<R: Paired> State<R> {
    fn next(&mut self, through: u64) -> Option<(u64, R)> {
        let (number, _) = self.pending.front()?;
        if *number > through {
            return None;
        }
        self.pending.pop_front()
    }

    /// Records alternate, so the oldest start is the first or the second, and its end follows it.
    fn drop_oldest_pair(&mut self) -> u64 {
        let start = usize::from(self.pending.front().is_some_and(|(_, record)| !record.is_start()));
        let pair = self.pending.drain(start..(start + 2).min(self.pending.len()));
        pair.count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc;

    impl Paired for (bool, u32) {
        fn is_start(&self) -> bool {
            self.0
        }
    }

    fn drained(queue: &Queue<(bool, u32)>, through: Option<u64>) -> Vec<(bool, u32)> {
        let seen = RefCell::new(Vec::new());
        assert_eq!(queue.publish(through, |record| seen.borrow_mut().push(record)), Turn::Taken);
        seen.into_inner()
    }

    #[test]
    fn records_come_out_in_order_up_to_what_is_asked() {
        let queue = Queue::new(8);
        for number in 1..=4 {
            assert_eq!(queue.push(number, (number % 2 == 1, 0)), 0);
        }
        assert_eq!(drained(&queue, Some(3)).len(), 3);
        assert!(queue.is_published(3) && !queue.is_published(4));
        assert_eq!(drained(&queue, None).len(), 1);
        assert!(queue.is_published(4));
    }

    #[test]
    fn a_full_queue_drops_the_oldest_whole_pair() {
        let queue = Queue::new(4);
        for session in 0..4 {
            queue.push(u64::from(session) * 2 + 1, (true, session));
            queue.push(u64::from(session) * 2 + 2, (false, session));
        }
        assert_eq!(drained(&queue, None), [(true, 2), (false, 2), (true, 3), (false, 3)]);
    }

    #[test]
    fn an_end_whose_start_is_out_already_is_never_dropped() {
        let queue = Queue::new(3);
        queue.push(2, (false, 0));
        queue.push(3, (true, 1));
        queue.push(4, (false, 1));
        assert_eq!(queue.push(5, (true, 2)), 2);
        assert_eq!(drained(&queue, None), [(false, 0), (true, 2)]);
        assert!(queue.is_published(5));
    }

    #[test]
    fn a_call_from_inside_emit_does_not_wait_for_itself() {
        let queue = Queue::new(8);
        queue.push(1, (true, 0));
        let inner = RefCell::new(None);
        queue.publish(None, |_| *inner.borrow_mut() = Some(queue.publish(Some(1), |_| {})));
        assert_eq!(inner.into_inner(), Some(Turn::Refused));
    }

    #[test]
    fn who_waits_for_one_record_does_not_wait_for_the_end_of_the_turn() {
        // A machine that has other things to do may let the time of a wait pass.
        assert!((0..20).any(|_| is_told_of_one_record_of_three()));
    }

    /// Whether who waits for the first one has it before it looks again by itself.
    fn is_told_of_one_record_of_three() -> bool {
        let now = || crate::clock::Source::System.moment().boot;
        let queue = Queue::new(8);
        (1..=3).for_each(|number| _ = queue.push(number, (number % 2 == 1, 0)));
        let queue = &queue;
        std::thread::scope(|scope| {
            let (entered, has_entered) = mpsc::channel();
            let (let_go, go) = mpsc::channel();
            let turn = scope.spawn(move || {
                queue.publish(None, |record| {
                    entered.send(record).unwrap();
                    go.recv().unwrap();
                })
            });
            has_entered.recv().unwrap();
            let since = now();
            let waiter = scope.spawn(move || queue.publish(Some(1), |_| panic!("it is not its turn")));
            while queue.state.lock().waiting == 0 && !waiter.is_finished() {
                std::thread::yield_now();
            }
            let_go.send(()).unwrap();
            // The second record is on its way, and will be until the waiter has gone.
            has_entered.recv().unwrap();
            let waited = waiter.join().unwrap();
            let took = now() - since;
            assert_eq!(queue.state.lock().waiting, 0);
            let_go.send(()).unwrap();
            let_go.send(()).unwrap();
            assert_eq!(turn.join().unwrap(), Turn::Taken);
            waited == Turn::Taken && took < crate::clock::duration_nanos(TURN_BOUND)
        })
    }

    #[test]
    fn nobody_waits_for_what_a_full_queue_has_dropped() {
        let queue = Queue::new(2);
        (1..=4).for_each(|number| _ = queue.push(number, (number % 2 == 1, 0)));
        assert_eq!(drained(&queue, Some(2)), []);
        assert!(queue.is_published(2) && !queue.is_published(3));
        assert_eq!(queue.pending(), Some(4));
        assert_eq!(drained(&queue, None).len(), 2);
        assert_eq!(queue.pending(), None);
    }

    #[test]
    fn what_needs_no_more_care_is_not_taken_back() {
        let queue = Queue::<(bool, u32)>::new(2);
        queue.mark_published(3);
        assert!(queue.is_published(3) && !queue.is_published(4));
        queue.mark_published(2);
        assert!(queue.is_published(3));
    }
}
