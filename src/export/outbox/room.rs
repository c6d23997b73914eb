//! Room for new events: what the limits refuse of a batch, and what they drop for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::queue::{CHUNK_COST, EVENT_COST, Progress, Queue, cost};
use super::removals::Removals;
use super::{Limits, OutboxError, Overflow};
use crate::export::Chunk;

/// New chunks on their way into the outbox, none of them empty or longer than a row may be.
#[derive(Debug)]
pub(super) struct Batch(Vec<Chunk>);

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The chunks to add, by number.
    pub(super) added: Vec<(u64, Arc<Chunk>)>,
    /// Chunks of which events are dropped, by queue.
    pub(super) doomed: Vec<(usize, u64)>,
    /// What a store has to be told of the doomed chunks.
    progress: BTreeMap<u64, Progress>,
    /// How many of the new events are not added.
    pub(super) refused: u64,
}

impl Batch {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        let mut fine = Vec::with_capacity(chunks.len());
        for mut chunk in chunks {
            while chunk.events.len() > Chunk::MAX_EVENTS {
                let rest = split_off(&mut chunk, Chunk::MAX_EVENTS);
                fine.push(std::mem::replace(&mut chunk, rest));
            }
            fine.push(chunk);
        }
        fine.retain(|chunk| !chunk.events.is_empty());
        for chunk in &mut fine {
            // What waits should take no more than it needs; a little more is cheaper than another copy.
            if chunk.bytes.capacity() - chunk.bytes.len() > chunk.bytes.len() / 8 {
                chunk.bytes.shrink_to_fit();
            }
            chunk.events.shrink_to_fit();
        }
        Self(fine)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fits the batch into the queues: dooms what has to go for it and refuses what does not fit even so.
    pub(super) fn fit(self, queues: &mut [Queue], limits: &Limits, next: &mut u64) -> Result<Room, OutboxError> {
        if let Some(chunk) = self.0.iter().find(|chunk| usize::from(chunk.queue) >= queues.len()) {
            let problem = format!("a chunk for collector {} of {}", chunk.queue, queues.len());
            return Err(OutboxError::Store(problem.into()));
        }
        let whole =
            |chunk: &Chunk| chunk.events.iter().map(|event| event.len as usize).sum::<usize>() == chunk.bytes.len();
        if !self.0.iter().all(whole) {
            return Err(OutboxError::Store("a chunk whose lengths do not add up".into()));
        }
        let mut room = Room::default();
        let mut chunks = self.0;
        for chunk in &mut chunks {
            room.refused += drop_oversized(chunk, limits.bytes);
            // What is spare in its memory must not be what there is no room for.
            if cost(chunk) > limits.bytes {
                chunk.bytes.shrink_to_fit();
            }
        }
        for (place, queue) in queues.iter_mut().enumerate() {
            room.make(place, queue, &mut chunks, limits);
        }
        for chunk in chunks.into_iter().filter(|chunk| !chunk.events.is_empty()) {
            room.added.push((*next, Arc::new(chunk)));
            *next += 1;
        }
        Ok(room)
    }
}

impl Room {
    fn make(&mut self, place: usize, queue: &mut Queue, chunks: &mut [Chunk], limits: &Limits) {
        let ours = || chunks.iter().filter(|chunk| usize::from(chunk.queue) == place);
        let new_events: u64 = ours().map(|chunk| chunk.events.len() as u64).sum();
        let new_bytes: u64 = ours().map(cost).sum();
        if new_events == 0 {
            return;
        }
        let old = queue.pending();
        let mut events = (old.events + new_events).saturating_sub(limits.events);
        let mut bytes = (old.bytes + new_bytes).saturating_sub(limits.bytes);
        if events == 0 && bytes == 0 {
            return;
        }
        if limits.overflow == Overflow::DropOldest {
            let doomed = queue.doom(events, bytes);
            events = events.saturating_sub(doomed.events);
            bytes = bytes.saturating_sub(doomed.bytes);
            for chunk in doomed.chunks {
                self.doomed.push((place, chunk));
                self.progress.extend(queue.doom_of(chunk).map(|progress| (chunk, progress)));
            }
            let ours = chunks.iter_mut().filter(|chunk| usize::from(chunk.queue) == place);
            self.refused += trim(ours, End::Front, events, bytes);
        } else {
            let ours = chunks.iter_mut().rev().filter(|chunk| usize::from(chunk.queue) == place);
            self.refused += trim(ours, End::Back, events, bytes);
        }
    }

    /// What a store has to be told: the removals that waited, and what is doomed.
    pub(super) fn with(&self, removals: &Removals) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let mut done = removals.done();
        let mut removed = removals.removed().to_vec();
        done.retain(|(chunk, _)| !self.progress.contains_key(chunk));
        for (chunk, progress) in &self.progress {
            match progress {
                Progress::Part(bits, of) => done.push((*chunk, bits.to_bytes(*of))),
                Progress::Whole => removed.push(*chunk),
            }
        }
        (done, removed)
    }

    /// What the commit says of a doomed chunk.
    pub(super) fn progress_of(&self, chunk: u64) -> Option<Progress> {
        self.progress.get(&chunk).copied()
    }
}

/// Drops events that even an empty queue has no room for: nothing is to make room for them. Returns how many went.
fn drop_oversized(chunk: &mut Chunk, limit: u64) -> u64 {
    let fits = |len: u32| u64::from(len) + EVENT_COST + CHUNK_COST <= limit;
    let before = chunk.events.len();
    if chunk.events.iter().all(|event| fits(event.len)) {
        return 0;
    }
    let mut start = 0;
    let mut kept = Vec::new();
    chunk.events.retain(|event| {
        let end = start + event.len as usize;
        if fits(event.len) {
            kept.extend_from_slice(&chunk.bytes[start..end]);
        }
        start = end;
        fits(event.len)
    });
    kept.shrink_to_fit();
    chunk.events.shrink_to_fit();
    chunk.bytes = kept;
    (before - chunk.events.len()) as u64
}

/// Where a batch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

/// Takes so many events and bytes away, chunk after chunk from one end. Returns how many events went.
fn trim<'a>(chunks: impl Iterator<Item = &'a mut Chunk>, end: End, mut events: u64, mut bytes: u64) -> u64 {
    let mut gone = 0;
    for chunk in chunks {
        if events == 0 && bytes == 0 {
            break;
        }
        let before = cost(chunk);
        let away = cut(chunk, end, events, bytes) as u64;
        let after = if chunk.events.is_empty() { 0 } else { cost(chunk) };
        gone += away;
        events = events.saturating_sub(away);
        bytes = bytes.saturating_sub(before.saturating_sub(after));
    }
    gone
}

/// Cuts at least so many events and bytes off one end of a chunk, if it has them. Returns how many events went.
fn cut(chunk: &mut Chunk, end: End, events: u64, bytes: u64) -> usize {
    let (mut away, mut freed, mut payload) = (0, 0, 0);
    while away < chunk.events.len() && ((away as u64) < events || freed < bytes) {
        let place = if end == End::Front { away } else { chunk.events.len() - 1 - away };
        let len = chunk.events[place].len;
        freed += u64::from(len) + EVENT_COST;
        payload += len as usize;
        away += 1;
    }
    if end == End::Front {
        chunk.events.drain(..away);
        chunk.bytes.drain(..payload);
    } else {
        chunk.events.truncate(chunk.events.len() - away);
        chunk.bytes.truncate(chunk.bytes.len() - payload);
    }
    chunk.events.shrink_to_fit();
    chunk.bytes.shrink_to_fit();
    away
}

/// Leaves a chunk its first events and returns the others.
fn split_off(chunk: &mut Chunk, events: usize) -> Chunk {
    let payload = chunk.events[..events].iter().map(|event| event.len as usize).sum();
    let events = chunk.events.split_off(events);
    let bytes = chunk.bytes.split_off(payload);
    Chunk { queue: chunk.queue, mode: chunk.mode, accepted_at: chunk.accepted_at, events, bytes }
}
