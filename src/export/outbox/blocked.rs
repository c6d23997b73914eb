//! Where a queue need not be looked through again.
//!
//! With several requests in flight the events of the sessions that they carry are passed over. Behind a backlog these are
//! thousands, and whoever looks for one more request after each reply finds the same ones in the way: nothing of them can be
//! taken before one of their lanes is free.

use std::collections::HashSet;

use super::parcel::Ticket;

/// The front of a queue of which nothing can be taken: each of its events is in flight, or its lane is not free.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    /// It ends before this chunk.
    end: u64,
    /// How many events in it are not in flight.
    events: usize,
    /// Lanes that may be free since.
    freed: HashSet<u32>,
}

impl Blocked {
    /// Up to where nothing can be taken, and how many events are passed over by not looking; none if that is not known.
    pub(super) fn known(&self) -> Option<(u64, usize)> {
        self.freed.is_empty().then_some((self.end, self.events))
    }

    /// An event is in flight.
    pub(super) fn taken(&mut self, ticket: &Ticket) {
        if ticket.chunk < self.end {
            self.events = self.events.saturating_sub(1);
        }
    }

    /// An event that was in flight is in its place again.
    pub(super) fn put_back(&mut self, ticket: &Ticket) {
        if !ticket.in_lane {
            // Its lane may never have been busy. Where no request keeps lanes apart, nothing else would ever forget them.
            return self.forget();
        }
        if ticket.chunk < self.end {
            self.events += 1;
        }
        self.freed.insert(ticket.lane);
    }

    /// Nothing of a lane is in flight any more.
    pub(super) fn freed(&mut self, lane: u32) {
        self.freed.insert(lane);
    }

    /// The queue was looked through up to a chunk, from the front or from where nothing was left before, with so many events
    /// passed over, and what could be taken was.
    pub(super) fn looked(&mut self, resumed: bool, (end, events): (u64, usize), is_busy: impl Fn(u32) -> bool) {
        self.freed.retain(|lane| !is_busy(*lane));
        // If all lanes are taken again that were free, what was known of further chunks still holds.
        if !resumed && self.freed.is_empty() && end <= self.end {
            return;
        }
        self.freed.clear();
        (self.end, self.events) = (end, events);
    }

    /// Events have gone otherwise than by being taken.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
