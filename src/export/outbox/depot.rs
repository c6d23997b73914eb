//! The outbox at work: what is accepted, taken, settled and removed.
//!
//! Two locks, taken in this order: `store` for as long as a commit or a read of the store takes, `state` for bookkeeping in
//! memory only. So a delivery thread that finds its payloads in memory never waits for a disk. A store may be the user's: it
//! runs under `store` alone, and its panics are caught.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::parcel::{Balance, Outcome, Parcel, Pending, Ticket, Want};
use super::queue::{Entry, Progress, Queue};
use super::removals::Removals;
use super::room::{Batch, Room};
use super::spare::Spare;
use super::store::{Closed, corrupt, guarded, has_shut_down};
use super::under_way::UnderWay;
use super::{Commit, Limits, Opened, Outbox, OutboxError, OutboxStore, StateRow};
use crate::BuildError;
use crate::clock::{Moment, Source};
use crate::export::{Chunk, failpoint};
use crate::sync::Mutex;
use crate::telemetry::{Loss, LossCounters, Losses};

/// Payloads kept in memory of what a durable store holds, so that a delivery that keeps up reads nothing back.
const CACHE_BYTES: u64 = 8 << 20;

/// How long to wait before a removal or a read that failed is tried again, in nanoseconds.
const AGAIN: i64 = 1_000_000_000;

/// When to look again whether a commit of others took the removals along, in nanoseconds.
const SOON: i64 = 1_000_000;

/// The events that wait for the collectors of one exporter.
pub(crate) struct Depot {
    source: Source,
    losses: Arc<LossCounters>,
    limits: Limits,
    cache_bytes: u64,
    store: Option<Mutex<Box<dyn OutboxStore>>>,
    state: Mutex<State>,
    wakers: Mutex<Vec<Option<Waker>>>,
    spare: Spare,
    /// A removal failed: nothing is sent until a commit succeeds.
    stopped: AtomicBool,
    /// Batches in the making, and how many of them are being committed, which takes the removals along.
    expected: AtomicU64,
    accepting: AtomicU64,
    /// Delivery threads that have not ended.
    threads: AtomicU64,
}

/// The most bytes that the events of a chunk can have.
const LONGEST: u64 = 64 * u32::MAX as u64;

/// The table of the one row that says whose outbox it is; exporters have those from 1.
const OWNER: u8 = 0;

type Waker = Arc<dyn Fn() + Send + Sync>;

#[derive(Debug)]
struct State {
    /// One for each collector, and a last one for chunks of collectors that the exporter no longer has.
    queues: Vec<Queue>,
    removals: Removals,
    next: u64,
    durable: bool,
    /// No more events are accepted.
    closed: bool,
    /// When removals were first committed that a loss of power could still undo: boot time.
    lazy_since: Option<i64>,
    /// When to try a failed removal again, and when a failed read: boot time.
    remove_again: Option<i64>,
    read_again: Option<i64>,
}

impl Depot {
    /// Opens an outbox for so many collectors, and returns with it the rows of state that it holds.
    ///
    /// # Errors
    ///
    /// If a setting cannot work, or the store cannot be opened.
    pub(crate) fn open(
        outbox: Outbox,
        queues: u16,
        source: Source,
        losses: Arc<LossCounters>,
    ) -> Result<(Arc<Self>, Vec<StateRow>), BuildError> {
        let (store, limits) = outbox.into_parts(queues)?;
        let durable = store.is_some();
        let mut state = State::new(queues, durable);
        let mut rows = Vec::new();
        let store = match store {
            None => None,
            Some(mut store) => {
                let opened = guarded(|| store.open()).map_err(|error| BuildError::Outbox(Box::new(error)))?;
                rows = state.load(opened, source.moment()).map_err(|error| BuildError::Outbox(Box::new(error)))?;
                Some(Mutex::new(store))
            }
        };
        let depot = Self {
            source,
            losses,
            limits,
            cache_bytes: CACHE_BYTES / u64::from(queues.max(1)),
            store,
            state: Mutex::new(state),
            wakers: Mutex::new((0..queues).map(|_| None).collect()),
            spare: Spare::default(),
            stopped: AtomicBool::new(false),
            expected: AtomicU64::new(0),
            accepting: AtomicU64::new(0),
            threads: AtomicU64::new(u64::from(queues)),
        };
        Ok((Arc::new(depot), rows))
    }

    /// Takes the outbox for a kind of exporter, if it is nobody's yet: what one has encoded means nothing to another's
    /// collector. `rows` are those that it was opened with.
    ///
    /// # Errors
    ///
    /// If it is another one's.
    pub(crate) fn claim(&self, rows: &[StateRow], exporter: &str) -> Result<(), BuildError> {
        let Some(store) = &self.store else { return Ok(()) };
        let owner = rows.iter().find(|row| row.table == OWNER).and_then(|row| row.value.as_deref());
        match owner {
            Some(owner) if owner == exporter.as_bytes() => return Ok(()),
            // A row that is incomplete is as if not there, like every other one.
            Some(owner) if !exporter.as_bytes().starts_with(owner) => {
                let owner = String::from_utf8_lossy(owner).into_owned();
                return Err(BuildError::Outbox(Box::new(OutboxError::OtherExporter { owner })));
            }
            _ => {}
        }
        let row = StateRow::new(OWNER, Vec::new(), Some(exporter.into()));
        // If this fails, a later opening does it. Events that cannot be stored either are told of then.
        let _ = guarded(|| store.lock().commit(&Commit { state: &[row], ..Commit::default() }));
        Ok(())
    }

    /// Accepts events: all of them are committed on return, or none, but for what the limits refuse.
    ///
    /// A queue that is full drops its oldest events or the new ones, as configured, in the same commit.
    ///
    /// # Errors
    ///
    /// If the store failed. Then nothing has changed, and the events are counted as lost.
    pub(crate) fn accept(&self, chunks: Vec<Chunk>, state: Vec<StateRow>) -> Result<(), OutboxError> {
        let events = chunks.iter().map(|chunk| chunk.events.len() as u64).sum();
        let accepting = UnderWay::new(&self.accepting);
        let result = self.accept_all(chunks, &state);
        drop(accepting);
        if result.is_err() {
            self.losses.add(Loss::OutboxError, events);
        }
        if result.is_ok() {
            failpoint::pass("after-commit");
        }
        // A failed commit wakes too: what it had doomed held the queue up.
        self.wake();
        result
    }

    /// Says that a batch is in the making, until this is dropped: its commit will bring to the disk what is removed meanwhile.
    pub(crate) fn expect(&self) -> UnderWay<'_> {
        UnderWay::new(&self.expected)
    }

    fn accept_all(&self, chunks: Vec<Chunk>, rows: &[StateRow]) -> Result<(), OutboxError> {
        let now = self.source.moment();
        let batch = Batch::new(chunks);
        let Some(store) = &self.store else {
            let mut state = self.state.lock();
            let room = state.make_room(batch, &self.limits)?;
            self.losses.add(Loss::OutboxFull, room.refused + state.execute(&room, true, now.boot));
            state.add(&room, now, u64::MAX);
            return Ok(());
        };
        let mut store = store.lock();
        let (room, removals) = {
            let mut state = self.state.lock();
            let room = state.make_room(batch, &self.limits)?;
            if room.added.is_empty() && room.doomed.is_empty() && rows.is_empty() {
                self.losses.add(Loss::OutboxFull, room.refused);
                return Ok(());
            }
            (room, std::mem::take(&mut state.removals))
        };
        failpoint::pass("before-commit");
        let (done, removed) = room.with(&removals);
        let commit = Commit { added: &room.added, state: rows, done: &done, removed: &removed, lazy: false };
        let result = guarded(|| store.commit(&commit));
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                self.losses.add(Loss::OutboxFull, room.refused + state.execute(&room, true, now.boot));
                state.add(&room, now, self.cache_bytes);
                (state.remove_again, state.lazy_since) = (None, None);
                self.stopped.store(false, Ordering::Release);
            }
            Err(_) => {
                state.removals.restore(removals);
                state.execute(&room, false, now.boot);
            }
        }
        result
    }

    /// Takes the next events of a queue, in order and all of one mode: they are in flight until settled. Nothing while the
    /// outbox is [stopped](Self::is_stopped).
    pub(crate) fn take(&self, queue: u16, want: &Want) -> Vec<Parcel> {
        let mut read = HashMap::new();
        loop {
            if self.is_stopped() {
                return Vec::new();
            }
            let missing = {
                let mut state = self.state.lock();
                let Some(queue) = state.collector(queue) else { return Vec::new() };
                let picked = queue.pick(want, &read);
                if picked.missing.is_empty() {
                    return queue.send(picked);
                }
                picked.missing
            };
            if !self.read(queue, &missing, &mut read) {
                let mut state = self.state.lock();
                let Some(queue) = state.collector(queue) else { return Vec::new() };
                let picked = queue.pick(want, &read);
                return queue.send(picked);
            }
        }
    }

    /// Reads chunks back. Those that are corrupt are given up and counted; false if the store fails otherwise.
    fn read(&self, queue: u16, missing: &[u64], read: &mut HashMap<u64, Arc<Chunk>>) -> bool {
        let Some(store) = &self.store else { return false };
        let mut store = store.lock();
        for number in missing {
            let result = guarded(|| store.read(*number));
            let mut state = self.state.lock();
            let Some(waiting) = state.collector(queue) else { return false };
            match result {
                Ok(chunk) if waiting.fits(*number, &chunk) => {
                    let chunk = Arc::new(chunk);
                    waiting.cache(*number, &chunk, self.cache_bytes);
                    read.insert(*number, chunk);
                }
                Ok(_) | Err(OutboxError::Corrupt { .. }) => self.give_up(&mut state, queue, *number),
                Err(_) => {
                    state.read_again = Some(self.source.moment().boot.saturating_add(AGAIN));
                    return false;
                }
            }
        }
        true
    }

    fn give_up(&self, state: &mut State, queue: u16, number: u64) {
        let now = self.source.moment().boot;
        if let Some((progress, lost)) = state.collector(queue).and_then(|queue| queue.give_up(number)) {
            state.removals.note(number, progress, lost, now);
            self.losses.add(Loss::OutboxError, lost);
        }
    }

    /// Says what became of events in flight. Tickets that are not in flight are ignored.
    pub(crate) fn settle(&self, queue: u16, tickets: &[Ticket], outcome: Outcome) {
        let now = self.source.moment().boot;
        let mut guard = self.state.lock();
        let mut progress = Vec::new();
        let Some(queue) = guard.collector(queue) else { return };
        queue.land(tickets, outcome != Outcome::Again, |chunk, made, events| progress.push((chunk, made, events)));
        let settled = progress.iter().map(|(_, _, events)| events).sum();
        // With the lock held, as everywhere: whoever asks what became of all events finds each of them once.
        match outcome {
            Outcome::Delivered => queue.note_delivered(settled),
            Outcome::Dropped(loss) => self.losses.add(loss, settled),
            Outcome::Again => {}
        }
        if guard.durable {
            progress.into_iter().for_each(|(chunk, made, events)| guard.removals.note(chunk, made, events, now));
        }
    }

    /// What became of the events of each collector, and what was lost: all of one moment.
    pub(crate) fn balance(&self) -> (Vec<Balance>, Losses) {
        let state = self.state.lock();
        let collectors = state.queues.len() - 1;
        (state.queues[..collectors].iter().map(Queue::balance).collect(), self.losses.read())
    }

    /// Counts as lost what is left in a queue that nothing outlives, once: a reply that comes later changes nothing about it.
    pub(crate) fn forsake(&self, queue: u16) {
        if let Some(queue) = self.state.lock().collector(queue) {
            self.losses.add(Loss::EventUndelivered, queue.forsake());
        }
    }

    /// An empty buffer for a chunk's bytes.
    pub(crate) fn buffer(&self, len: usize) -> Vec<u8> {
        self.spare.take(len)
    }

    /// Lets go of events that have been settled, and keeps the memory of their chunks for others.
    pub(crate) fn recycle(&self, parcels: Vec<Parcel>) {
        for parcel in parcels {
            if let Some(chunk) = Arc::into_inner(parcel.chunk) {
                self.spare.give(chunk.bytes);
            }
        }
    }

    /// What waits in a queue.
    pub(crate) fn pending(&self, queue: u16) -> Pending {
        self.state.lock().collector(queue).map(|queue| queue.pending()).unwrap_or_default()
    }

    /// A number above those of all chunks that were accepted so far.
    pub(crate) fn next(&self) -> u64 {
        self.state.lock().next
    }

    /// Whether nothing is left in a queue of what was accepted when [`next`](Self::next) was this number.
    pub(crate) fn is_past(&self, queue: u16, next: u64) -> bool {
        let mut state = self.state.lock();
        state.collector(queue).and_then(|queue| queue.oldest()).is_none_or(|oldest| oldest >= next)
    }

    /// The first chunk of which something is not in flight: its number, and when it was accepted, by boot time.
    pub(crate) fn first_waiting(&self, queue: u16) -> Option<(u64, i64)> {
        self.state.lock().collector(queue)?.first_waiting()
    }

    /// The encoded bytes of the chunks of which something is not in flight. Looks at each of them.
    pub(crate) fn payload(&self, queue: u16) -> u64 {
        self.state.lock().collector(queue).map(|queue| queue.payload()).unwrap_or_default()
    }

    /// Names whom to wake when there may be new work in a queue. Called outside the locks.
    pub(crate) fn on_work(&self, queue: u16, waker: Waker) {
        if let Some(place) = self.wakers.lock().get_mut(usize::from(queue)) {
            *place = Some(waker);
        }
    }

    fn wake(&self) {
        let wakers: Vec<Waker> = self.wakers.lock().iter().flatten().cloned().collect();
        for wake in wakers {
            wake();
        }
    }

    /// Drops the events that are too old at this boot time.
    pub(crate) fn expire(&self, now: i64) {
        let mut state = self.state.lock();
        self.losses.add(Loss::OutboxAge, state.expire(now, self.limits.age));
    }

    /// Does what is due: drops events that are too old and commits removals. Says how long until it has to be called again,
    /// if nothing else happens; after [`settle`](Self::settle) it has to be called in any case.
    pub(crate) fn tend(&self) -> Option<Duration> {
        let now = self.source.moment().boot;
        self.expire(now);
        let due = {
            let mut state = self.state.lock();
            state.read_again = state.read_again.filter(|again| *again > now);
            state.due(now, self.accepting.load(Ordering::Relaxed) > 0)
        };
        if due.is_some_and(|due| due <= now) {
            // A failure stops sending and is tried again: nothing else is to be done about it here.
            let _ = self.commit_removals(self.expected.load(Ordering::Relaxed) > 0);
        }
        let now = self.source.moment().boot;
        let state = self.state.lock();
        let due = state.due(now, self.accepting.load(Ordering::Relaxed) > 0);
        let next = [due, state.read_again, state.expires(now, self.limits.age)].into_iter().flatten().min()?;
        Some(Duration::from_nanos(u64::try_from(next.saturating_sub(now)).unwrap_or(0)))
    }

    /// Commits all removals at once.
    ///
    /// # Errors
    ///
    /// If the store failed; then sending stops until a commit succeeds, which [`tend`](Self::tend) tries every second.
    pub(crate) fn sync(&self) -> Result<(), OutboxError> {
        self.commit_removals(false)
    }

    /// If lazily, a loss of power may undo it for up to 100 ms; never after a failure, since only the disk tells whether it is
    /// well again.
    fn commit_removals(&self, lazily: bool) -> Result<(), OutboxError> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut store = store.lock();
        let now = self.source.moment().boot;
        let (removals, lazy_since) = {
            let mut state = self.state.lock();
            state.remove_again = None;
            (std::mem::take(&mut state.removals), state.lazy_since)
        };
        let lazy = lazily && !self.is_stopped() && now < lazy_since.unwrap_or(now).saturating_add(Removals::LONGEST);
        if removals.is_empty() && (lazy || lazy_since.is_none()) {
            return Ok(());
        }
        failpoint::pass("before-delete");
        let (done, removed) = (removals.done(), removals.removed());
        let result = guarded(|| store.commit(&Commit { done: &done, removed, lazy, ..Commit::default() }));
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                state.lazy_since = lazy.then_some(lazy_since.unwrap_or(now));
                let was_stopped = self.stopped.swap(false, Ordering::AcqRel);
                drop(state);
                drop(store);
                if was_stopped {
                    self.wake();
                }
            }
            Err(_) => {
                state.removals.restore(removals);
                state.remove_again = Some(self.source.moment().boot.saturating_add(AGAIN));
                self.stopped.store(true, Ordering::Release);
            }
        }
        result
    }

    /// Accepts no more events from now on: whoever was about to when the exporter shut down would hand them to nobody. State is
    /// still taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Says that a collector's delivery thread has ended. With the last one the store is closed: its file can be opened again
    /// while handles of the exporter are still there.
    pub(crate) fn leave(&self) {
        if self.threads.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        if let Some(store) = &self.store {
            let closed = std::mem::replace(&mut *store.lock(), Box::new(Closed));
            // A user's store may panic here, too.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(closed)));
        }
    }

    /// Whether sending has stopped because a removal failed. It goes on after the next commit.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether what waits survives the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.store.is_some()
    }
}

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depot")
            .field("limits", &self.limits)
            .field("durable", &self.is_durable())
            .finish_non_exhaustive()
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        // What was delivered since the last commit would be sent again.
        let _ = self.sync();
    }
}

impl State {
    fn new(queues: u16, durable: bool) -> Self {
        let queues = (0..=queues).map(|_| Queue::default()).collect();
        Self {
            queues,
            removals: Removals::default(),
            next: 0,
            durable,
            closed: false,
            lazy_since: None,
            remove_again: None,
            read_again: None,
        }
    }

    /// The queue of a collector that the exporter has.
    fn collector(&mut self, queue: u16) -> Option<&mut Queue> {
        let collectors = self.queues.len() - 1;
        self.queues[..collectors].get_mut(usize::from(queue))
    }

    /// Takes over what a store holds.
    fn load(&mut self, opened: Opened, now: Moment) -> Result<Vec<StateRow>, OutboxError> {
        let orphans = self.queues.len() - 1;
        if opened.next > u64::MAX / 2 {
            return Err(corrupt(format!("no numbers are left after {}", opened.next)));
        }
        self.next = opened.next;
        let mut last = None;
        for stored in &opened.chunks {
            let count = u8::try_from(stored.events).ok().filter(|count| (1..=64).contains(count));
            let is_fine = Some(stored.number) > last && stored.number < opened.next && stored.bytes <= LONGEST;
            let (Some(count), true) = (count, is_fine) else {
                return Err(corrupt(format!(
                    "chunk {} with {} events is out of order or range",
                    stored.number, stored.events
                )));
            };
            last = Some(stored.number);
            let entry = Entry::stored(stored, count, born(stored.accepted_at, now));
            if entry.left().any() {
                self.queues[usize::from(stored.queue).min(orphans)].push(entry);
            } else {
                self.removals.note(stored.number, Progress::Whole, 0, now.boot);
            }
        }
        Ok(opened.state)
    }

    /// Finds room for a batch: what of it is refused, and what is doomed for it.
    fn make_room(&mut self, batch: Batch, limits: &Limits) -> Result<Room, OutboxError> {
        if self.closed && !batch.is_empty() {
            return Err(has_shut_down());
        }
        let collectors = self.queues.len() - 1;
        batch.fit(&mut self.queues[..collectors], limits, &mut self.next)
    }

    /// Drops what was doomed for a batch, or keeps it. Returns how many events went.
    fn execute(&mut self, room: &Room, drop: bool, now: i64) -> u64 {
        let Self { queues, removals, durable, .. } = self;
        let gone = room.doomed.iter().map(|(queue, chunk)| {
            queues[*queue].execute(*chunk, drop, |progress| {
                // The commit has stored what was doomed; more may have been settled meanwhile.
                if *durable && room.progress_of(*chunk) != Some(progress) {
                    removals.note(*chunk, progress, 0, now);
                }
            })
        });
        gone.sum()
    }

    fn add(&mut self, room: &Room, now: Moment, cache_bytes: u64) {
        for (number, chunk) in &room.added {
            let queue = &mut self.queues[usize::from(chunk.queue)];
            queue.push(Entry::new(*number, chunk, born(chunk.accepted_at, now)));
            if self.durable {
                queue.cache(*number, chunk, cache_bytes);
            }
        }
    }

    /// When removals have to be committed: boot time. While new events are being accepted, their commit takes the removals
    /// along or is followed by one that does, and a commit of our own would only make both wait; but never beyond 100 ms.
    fn due(&self, now: i64, accepting: bool) -> Option<i64> {
        if self.remove_again.is_some() {
            return self.remove_again;
        }
        let put_off = |due: i64| if accepting { due.max(now + SOON).min(self.removals.latest()) } else { due };
        let lazy = self.lazy_since.map(|since| since.saturating_add(Removals::LONGEST));
        self.removals.due().map(put_off).into_iter().chain(lazy).min()
    }

    fn expire(&mut self, now: i64, age: i64) -> u64 {
        let Self { queues, removals, durable, .. } = self;
        let mut gone = 0;
        for queue in queues {
            queue.expire(now.saturating_sub(age), |chunk, progress, events| {
                gone += events;
                if *durable {
                    removals.note(chunk, progress, events, now);
                }
            });
        }
        gone
    }

    /// When the next event gets too old: boot time.
    fn expires(&self, now: i64, age: i64) -> Option<i64> {
        let oldest = now.saturating_sub(age);
        let next = self.queues.iter().filter_map(|queue| queue.first_after(oldest));
        next.map(|entry| entry.born.saturating_add(age)).min()
    }
}

/// When something was accepted, by boot time. What was accepted in the future was accepted now.
fn born(accepted_at: i64, now: Moment) -> i64 {
    now.boot.saturating_sub(now.wall.saturating_sub(accepted_at).max(0))
}
