//! The events that wait for one collector: pure bookkeeping, without a lock, a clock or a store.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::blocked::Blocked;
use super::parcel::{Balance, Parcel, Pending, Ticket, Want};
use crate::export::Chunk;
use crate::export::keyed::ByLane;

/// What a chunk costs in memory besides its payload and its events: its entry (twice, since the queue grows by doubling),
/// the chunk itself and what the allocator adds.
pub(super) const CHUNK_COST: u64 = (2 * size_of::<Entry>() + size_of::<Chunk>() + 64) as u64;

/// What an event costs besides its payload.
pub(super) const EVENT_COST: u64 = size_of::<crate::export::ChunkEvent>() as u64;

/// How many events whose lane is not free a queue passes over for those whose lane is: as many as 64 full chunks hold. Chunks
/// may hold one event each, so that to count chunks would leave most of a request empty.
const LOOK_AHEAD: usize = 64 * Chunk::MAX_EVENTS;

/// How many chunks are read from a store at a time.
const READ_AHEAD: usize = 64;

/// The chunks of one collector, in order of acceptance.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Not done; those in flight and those about to be dropped are among them.
    events: u64,
    in_flight: u64,
    bytes: u64,
    delivered: u64,
    /// What is left was counted as lost: nothing that becomes of it is counted again.
    forsaken: bool,
    /// Lanes with events in flight that were taken one per lane.
    lanes: ByLane<u32>,
    /// How far there is nothing for a request that takes one per lane.
    blocked: Blocked,
    /// The numbers and the size of the payloads in memory that could be read back.
    cached: BTreeSet<u64>,
    cached_bytes: u64,
}

/// A chunk in a queue.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// When it was accepted, by boot time: a step of the wall clock must not age it.
    pub(super) born: i64,
    accepted_at: i64,
    /// What the limit counts for it until its last event is done.
    bytes: u64,
    /// The length of its payload.
    payload: u64,
    done: Bits,
    flight: Bits,
    /// About to be dropped by a commit that has not ended.
    doomed: Bits,
    count: u8,
    mode: u8,
    /// `None`: to be read from the store.
    chunk: Option<Arc<Chunk>>,
}

/// A set of events of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(pub(super) u64);

/// What became of some events of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Other events are left; these are done so far.
    Part(Bits, u8),
    /// The chunk is gone.
    Whole,
}

impl Queue {
    pub(super) fn pending(&self) -> Pending {
        Pending { events: self.events, bytes: self.bytes, in_flight: self.in_flight }
    }

    pub(super) fn balance(&self) -> Balance {
        Balance { delivered: self.delivered, pending: self.events }
    }

    /// So many events have arrived.
    pub(super) fn note_delivered(&mut self, events: u64) {
        self.delivered += events;
    }

    /// Leaves what is left as it is from now on; how much that is, the first time.
    pub(super) fn forsake(&mut self) -> u64 {
        if self.forsaken {
            return 0;
        }
        self.forsaken = self.events > 0;
        self.events
    }

    pub(super) fn payload(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.free().any()).map(|entry| entry.payload).sum()
    }

    /// The first chunk of which anything is left, in flight or not.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.number)
    }

    /// The first chunk of which anything is not in flight. What is about to be dropped may stay after all, and must not have
    /// been passed over then.
    pub(super) fn first_waiting(&self) -> Option<(u64, i64)> {
        let mut waiting = self.entries.iter().filter(|entry| entry.left().without(entry.flight).any());
        waiting.next().map(|entry| (entry.number, entry.born))
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.events += u64::from(entry.left().count());
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    /// Puts as many parcels together as are wanted, and names the first chunks whose payload has to be read for more.
    /// `read` holds payloads that were read for this call.
    pub(super) fn pick(&self, want: &Want, read: &HashMap<u64, Arc<Chunk>>) -> Picked {
        if self.forsaken {
            return Picked::default();
        }
        let blocked = if want.one_per_lane { self.blocked.known() } else { None };
        self.pick_behind(blocked, want, read)
    }

    /// The same, behind what is known to be blocked.
    pub(super) fn pick_behind(
        &self,
        blocked: Option<(u64, usize)>,
        want: &Want,
        read: &HashMap<u64, Arc<Chunk>>,
    ) -> Picked {
        let (end, passed_over) = blocked.unwrap_or_default();
        let begin = if end == 0 { 0 } else { self.entries.partition_point(|entry| entry.number < end) };
        let mut pick = Pick::new(want, passed_over);
        let one_per_lane = want.one_per_lane;
        let mut picked = Picked { one_per_lane, behind: blocked, end, passed_over, ..Picked::default() };
        for (place, entry) in self.entries.range(begin..).enumerate() {
            (picked.end, picked.passed_over) = (entry.number, pick.passed_over);
            // What is doomed comes back if the commit fails, and then it must not come after its successors.
            if entry.doomed.any() {
                break;
            }
            if entry.free().any() {
                if pick.other_mode(entry.mode) || pick.passed_over >= LOOK_AHEAD {
                    break;
                }
                let Some(chunk) = entry.chunk.as_ref().or_else(|| read.get(&entry.number)) else {
                    picked.missing = self.missing_from(begin + place, &pick, read);
                    break;
                };
                if !pick.add(entry, chunk, &self.lanes) {
                    break;
                }
            }
            (picked.end, picked.passed_over) = (entry.number + 1, pick.passed_over);
        }
        picked.parcels = pick.parcels;
        picked
    }

    /// The chunks from `place` on that are likely to be needed too.
    fn missing_from(&self, place: usize, pick: &Pick<'_>, read: &HashMap<u64, Arc<Chunk>>) -> Vec<u64> {
        let (want, mut events, mut bytes) = (pick.want, pick.parcels.len(), pick.bytes);
        let mut missing = Vec::new();
        for entry in self.entries.range(place..).filter(|entry| entry.free().any()) {
            if entry.chunk.is_none() && !read.contains_key(&entry.number) {
                missing.push(entry.number);
            }
            events += entry.free().count() as usize;
            bytes = bytes.saturating_add(usize::try_from(entry.payload).unwrap_or(usize::MAX));
            if events >= want.max_events || bytes >= want.max_bytes || missing.len() == READ_AHEAD {
                break;
            }
        }
        missing
    }

    /// Marks what was picked as in flight.
    pub(super) fn send(&mut self, picked: Picked) -> Vec<Parcel> {
        let parcels = picked.parcels;
        let mut place = 0;
        for Parcel { ticket, .. } in &parcels {
            self.blocked.taken(ticket);
            while self.entries[place].number != ticket.chunk {
                place += 1;
            }
            self.entries[place].flight.set(ticket.index);
            if ticket.in_lane {
                *self.lanes.entry(ticket.lane).or_default() += 1;
            }
        }
        self.in_flight += parcels.len() as u64;
        if picked.one_per_lane {
            let end = (picked.end, picked.passed_over);
            self.blocked.looked(picked.behind.is_some(), end, |lane| self.lanes.contains_key(&lane));
        }
        parcels
    }

    /// Takes events out of flight, `done` or back to their places. Tells what became of each chunk and how many events of
    /// it were really in flight.
    pub(super) fn land(&mut self, tickets: &[Ticket], done: bool, mut tell: impl FnMut(u64, Progress, u64)) {
        if self.forsaken {
            return;
        }
        for run in tickets.chunk_by(|one, other| one.chunk == other.chunk) {
            let Some(place) = self.place(run[0].chunk) else { continue };
            let entry = &mut self.entries[place];
            let mut landed = Bits::default();
            for ticket in run {
                if !entry.flight.has(ticket.index) {
                    continue;
                }
                entry.flight.clear(ticket.index);
                landed.set(ticket.index);
                if !done {
                    self.blocked.put_back(ticket);
                }
                if ticket.in_lane
                    && let Some(busy) = self.lanes.get_mut(&ticket.lane)
                {
                    *busy -= 1;
                    if *busy == 0 {
                        self.lanes.remove(&ticket.lane);
                        self.blocked.freed(ticket.lane);
                    }
                }
            }
            let count = u64::from(landed.count());
            self.in_flight -= count;
            if done && count > 0 {
                let progress = self.finish(place, landed);
                tell(run[0].chunk, progress, count);
            }
        }
    }

    /// Marks events that are not in flight as about to be dropped, the oldest first, until so many events and bytes are
    /// gone from the queue. Returns what was found: the bytes of a chunk count only if nothing of it remains.
    pub(super) fn doom(&mut self, events: u64, bytes: u64) -> Doomed {
        let mut doomed = Doomed::default();
        self.blocked.forget();
        for entry in &mut self.entries {
            if doomed.events >= events && doomed.bytes >= bytes {
                break;
            }
            let whole = entry.free() == entry.left();
            if doomed.bytes < bytes && whole {
                entry.doomed = entry.left();
            } else if doomed.events < events {
                let most = u32::try_from(events - doomed.events).unwrap_or(u32::MAX);
                entry.doomed = entry.free().first(most);
            } else {
                continue;
            }
            if entry.doomed.any() {
                doomed.events += u64::from(entry.doomed.count());
                doomed.bytes += if entry.doomed == entry.left() { entry.bytes } else { 0 };
                doomed.chunks.push(entry.number);
            }
        }
        doomed
    }

    /// What a commit has to store for a chunk whose doomed events go.
    pub(super) fn doom_of(&self, number: u64) -> Option<Progress> {
        let entry = &self.entries[self.place(number)?];
        let done = entry.done.and(entry.doomed);
        Some(if done.count() == u32::from(entry.count) { Progress::Whole } else { Progress::Part(done, entry.count) })
    }

    /// Drops what was doomed, or keeps it after all. Returns how many events went.
    pub(super) fn execute(&mut self, chunk: u64, drop: bool, tell: impl FnOnce(Progress)) -> u64 {
        let Some(place) = self.place(chunk) else { return 0 };
        self.blocked.forget();
        let doomed = std::mem::take(&mut self.entries[place].doomed);
        if !drop || !doomed.any() {
            return 0;
        }
        tell(self.finish(place, doomed));
        u64::from(doomed.count())
    }

    /// Drops what was accepted at `oldest` or before and is not in flight.
    pub(super) fn expire(&mut self, oldest: i64, mut tell: impl FnMut(u64, Progress, u64)) {
        if self.forsaken {
            return;
        }
        let mut place = 0;
        while self.entries.get(place).is_some_and(|entry| entry.born <= oldest) {
            let (number, free) = (self.entries[place].number, self.entries[place].free());
            let progress = if free.any() { self.finish(place, free) } else { Progress::Part(Bits::default(), 0) };
            if free.any() {
                self.blocked.forget();
                tell(number, progress, u64::from(free.count()));
            }
            place += usize::from(progress != Progress::Whole);
        }
    }

    /// The first chunk that was accepted after `oldest`.
    pub(super) fn first_after(&self, oldest: i64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.born > oldest)
    }

    /// Gives up what is left of a chunk that cannot be read.
    pub(super) fn give_up(&mut self, chunk: u64) -> Option<(Progress, u64)> {
        let place = self.place(chunk)?;
        self.blocked.forget();
        let lost = self.entries[place].free();
        Some((self.finish(place, lost), u64::from(lost.count())))
    }

    /// Whether a payload is what was stored under this number.
    pub(super) fn fits(&self, number: u64, chunk: &Chunk) -> bool {
        let Some(place) = self.place(number) else { return true };
        let entry = &self.entries[place];
        let sum: u64 = chunk.events.iter().map(|event| u64::from(event.len)).sum();
        chunk.events.len() == usize::from(entry.count)
            && chunk.mode == entry.mode
            && sum == chunk.bytes.len() as u64
            && sum == entry.payload
    }

    /// Keeps a payload in memory, and lets go of the last ones of the queue while they are more than `budget`.
    pub(super) fn cache(&mut self, number: u64, chunk: &Arc<Chunk>, budget: u64) {
        let Some(place) = self.place(number) else { return };
        let entry = &mut self.entries[place];
        if entry.chunk.is_none() {
            entry.chunk = Some(Arc::clone(chunk));
        }
        if self.cached.insert(number) {
            self.cached_bytes += entry.bytes;
        }
        while self.cached_bytes > budget
            && let Some(last) = self.cached.pop_last()
            && let Some(place) = self.place(last)
        {
            let entry = &mut self.entries[place];
            entry.chunk = None;
            self.cached_bytes -= entry.bytes;
        }
    }

    /// Settles events for good.
    fn finish(&mut self, place: usize, bits: Bits) -> Progress {
        let entry = &mut self.entries[place];
        entry.done = entry.done.and(bits);
        self.events -= u64::from(bits.count());
        if entry.done.count() < u32::from(entry.count) {
            return Progress::Part(entry.done, entry.count);
        }
        if let Some(entry) = self.entries.remove(place) {
            self.bytes -= entry.bytes;
            if self.cached.remove(&entry.number) {
                self.cached_bytes -= entry.bytes;
            }
        }
        Progress::Whole
    }

    fn place(&self, number: u64) -> Option<usize> {
        match self.entries.front() {
            Some(entry) if entry.number == number => Some(0),
            _ => self.entries.binary_search_by_key(&number, |entry| entry.number).ok(),
        }
    }
}

/// What was picked, and how far the queue was looked through for it.
#[derive(Debug, Default)]
pub(super) struct Picked {
    pub(super) parcels: Vec<Parcel>,
    /// Chunks to be read before more can be picked.
    pub(super) missing: Vec<u64>,
    one_per_lane: bool,
    /// What was known to be blocked.
    pub(super) behind: Option<(u64, usize)>,
    /// Nothing is left before this chunk, and so many events were passed over before it.
    pub(super) end: u64,
    passed_over: usize,
}

/// What overflow is going to drop.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) chunks: Vec<u64>,
}

impl Entry {
    /// A chunk that has just been accepted.
    pub(super) fn new(number: u64, chunk: &Arc<Chunk>, born: i64) -> Self {
        Self {
            number,
            born,
            accepted_at: chunk.accepted_at,
            bytes: cost(chunk),
            payload: chunk.bytes.len() as u64,
            done: Bits::default(),
            flight: Bits::default(),
            doomed: Bits::default(),
            count: u8::try_from(chunk.events.len()).unwrap_or(u8::MAX),
            mode: chunk.mode,
            chunk: Some(Arc::clone(chunk)),
        }
    }

    /// A chunk that a store holds.
    pub(super) fn stored(stored: &super::Stored, count: u8, born: i64) -> Self {
        Self {
            number: stored.number,
            born,
            accepted_at: stored.accepted_at,
            bytes: stored.bytes.saturating_add(EVENT_COST * u64::from(count)).saturating_add(CHUNK_COST),
            payload: stored.bytes,
            done: Bits::from_bytes(&stored.done, count),
            flight: Bits::default(),
            doomed: Bits::default(),
            count,
            mode: stored.mode,
            chunk: None,
        }
    }

    /// Not done.
    pub(super) fn left(&self) -> Bits {
        Bits::first_of_all(self.count).without(self.done)
    }

    /// Neither done nor in flight nor about to be dropped.
    fn free(&self) -> Bits {
        self.left().without(self.flight).without(self.doomed)
    }
}

/// What the limit counts for a chunk: the memory that it really takes.
pub(super) fn cost(chunk: &Chunk) -> u64 {
    chunk.bytes.capacity() as u64 + chunk.events.capacity() as u64 * EVENT_COST + CHUNK_COST
}

/// A request's worth of parcels in the making.
struct Pick<'a> {
    want: &'a Want,
    parcels: Vec<Parcel>,
    bytes: usize,
    mode: Option<u8>,
    /// Events whose lane is not free.
    passed_over: usize,
}

impl<'a> Pick<'a> {
    fn new(want: &'a Want, passed_over: usize) -> Self {
        Self { want, parcels: Vec::new(), bytes: want.fixed, mode: None, passed_over }
    }

    fn other_mode(&self, mode: u8) -> bool {
        self.mode.is_some_and(|first| first != mode)
    }

    /// Adds the chunk's free events until the first that does not fit any more; false if there was one.
    fn add(&mut self, entry: &Entry, chunk: &Arc<Chunk>, busy: &ByLane<u32>) -> bool {
        let free = entry.free();
        let mut start = 0;
        for (index, event) in (0_u8..).zip(&chunk.events) {
            let len = event.len as usize;
            let from = start;
            start += len;
            if !free.has(index) {
                continue;
            }
            if self.parcels.len() >= self.want.max_events.max(1) {
                return false;
            }
            // Those of one lane may share a request: it keeps their order.
            if self.want.one_per_lane && busy.contains_key(&event.lane) {
                self.passed_over += 1;
                continue;
            }
            let bytes = self.bytes.saturating_add(len).saturating_add(self.want.per_event);
            if bytes > self.want.max_bytes && !self.parcels.is_empty() {
                return false;
            }
            self.bytes = bytes;
            self.mode = Some(entry.mode);
            let ticket = Ticket { chunk: entry.number, lane: event.lane, index, in_lane: self.want.one_per_lane };
            self.parcels.push(Parcel::new(ticket, Arc::clone(chunk), from, entry.accepted_at));
        }
        true
    }
}

impl Bits {
    fn first_of_all(count: u8) -> Self {
        Self(u64::MAX.checked_shr(64 - u32::from(count)).unwrap_or(0))
    }

    fn has(self, index: u8) -> bool {
        self.0 & (1 << index) != 0
    }

    fn set(&mut self, index: u8) {
        self.0 |= 1 << index;
    }

    fn clear(&mut self, index: u8) {
        self.0 &= !(1 << index);
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn any(self) -> bool {
        self.0 != 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The lowest so many.
    fn first(self, most: u32) -> Self {
        let mut rest = self.0;
        for _ in 0..most.min(self.count()) {
            rest &= rest - 1;
        }
        Self(self.0 & !rest)
    }

    pub(super) fn to_bytes(self, count: u8) -> Vec<u8> {
        self.0.to_le_bytes()[..usize::from(count).div_ceil(8)].to_vec()
    }

    /// Bits beyond the chunk's events are ignored.
    fn from_bytes(bytes: &[u8], count: u8) -> Self {
        let mut all = [0; 8];
        all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(u64::from_le_bytes(all) & Self::first_of_all(count).0)
    }
}
