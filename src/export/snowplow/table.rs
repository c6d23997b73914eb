//! The sessions and users of a stream, and the numbers that events take from them.
//!
//! Nothing here decides when a session begins or ends: the ids on the records do. A session whose `session.start` was
//! accepted here numbers its events from 1 and knows its first one; any other carries no such numbers, unless these are
//! wanted for all. Every change is noted until the outbox has taken the batch, so that a batch that it refused leaves no
//! gap in any number.
//!
//! Bounded: beyond the limit the session is forgotten that ended first, and if none has ended, the one idle for longest.
//! A session that comes back after that is one whose start was not seen.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::mapped::Row;
use super::rows;
use crate::export::keyed::ByUuid;

/// A session, as far as events need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// `sessionIndex`, from 1.
    pub(super) index: u32,
    /// The `eventIndex` of the latest event.
    pub(super) events: u32,
    /// Whether its `session.start` was accepted here.
    pub(super) announced: bool,
    /// Whether it has ended, by its own end or by the start of the next.
    pub(super) closed: bool,
    /// Id and time in milliseconds of the first event.
    pub(super) first: Option<(Uuid, i64)>,
    pub(super) previous: Option<Uuid>,
    /// Whom its latest event named; the nil UUID for one that is not named.
    pub(super) user: Uuid,
}

/// The sessions that one user has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// The index of the latest.
    pub(super) index: u32,
    /// Its id, unless the user is not named.
    pub(super) latest: Option<Uuid>,
}

/// What a record says about its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) session: Uuid,
    /// Who the user is; the nil UUID if this must not be known.
    pub(super) user: Uuid,
    /// The session's index by the record.
    pub(super) index: Option<u32>,
    /// The session before it by the record, another one than itself.
    pub(super) previous: Option<Uuid>,
    pub(super) kind: SightingKind,
    pub(super) event: Uuid,
    pub(super) millis: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SightingKind {
    Start,
    End,
    Other,
}

/// The table of an exporter.
#[derive(Debug)]
pub(super) struct Table {
    sessions: Bounded<Session>,
    users: Bounded<User>,
    number_unannounced: bool,
}

impl Table {
    pub(super) fn new(max_sessions: usize, number_unannounced: bool) -> Self {
        Self { sessions: Bounded::new(max_sessions), users: Bounded::new(max_sessions), number_unannounced }
    }

    /// Takes stored rows, in any order. If the limit is lower than it was, the rest is deleted with the next batch.
    pub(super) fn load(&mut self, rows: impl Iterator<Item = (Uuid, rows::Stored)>) {
        for (key, row) in rows {
            match row {
                rows::Stored::Session { used, session } => self.sessions.load(key, used, session),
                rows::Stored::User { used, user } => self.users.load(key, used, user),
            }
        }
        self.sessions.make_room(self.sessions.most);
        self.users.make_room(self.users.most);
    }

    /// Gives the next event of a session its numbers. The session is then the latest one used. Also tells whether this is
    /// the first start or end of it.
    pub(super) fn observe(&mut self, it: &Sighting) -> (Session, bool) {
        if let Some(seen) = self.number(it) {
            return seen;
        }
        let session = self.meet(it);
        self.sessions.insert(it.session, session.clone());
        self.number(it).unwrap_or((session, false))
    }

    /// Numbers an event of a known session.
    fn number(&mut self, it: &Sighting) -> Option<(Session, bool)> {
        let number_all = self.number_unannounced;
        let mut changes = false;
        let session = self.sessions.update(it.session, |session| {
            changes = match it.kind {
                SightingKind::Start => !session.announced,
                SightingKind::End => !session.closed,
                SightingKind::Other => false,
            };
            if changes && it.kind == SightingKind::Start {
                // Those of its events that came sooner could not say which session was before it.
                session.previous = it.previous.or(session.previous);
            }
            // Who uses a session may become known in its course.
            session.user = it.user;
            if it.user.is_nil() {
                session.previous = None;
            }
            let begins_late = it.kind == SightingKind::Start && !session.announced && !number_all;
            if begins_late || session.first.is_none() {
                // The events before a late start carried no numbers: it is the first that does.
                session.first = Some((it.event, it.millis));
                session.events = 0;
            }
            session.announced |= it.kind == SightingKind::Start;
            session.events = session.events.saturating_add(1).min(MAX_INDEX);
            session.closed |= it.kind == SightingKind::End;
        })?;
        Some((session.clone(), changes))
    }

    /// A session that is not in the table.
    fn meet(&mut self, it: &Sighting) -> Session {
        let user = self.users.get(it.user);
        let (last, latest) = user.map_or((0, None), |user| (user.index, user.latest));
        let index = it.index.unwrap_or_else(|| last.saturating_add(1).min(MAX_INDEX));
        // A start that counts its own sessions and names none before has none; one that does not count is linked to the
        // user's latest, as trackers do. Of a session seen midway it is not known what came before, unless the first sight
        // of a session is to be taken for its start.
        let begins = it.kind == SightingKind::Start || self.number_unannounced;
        let follows = begins && it.index.is_none();
        let previous = it.previous.or(latest.filter(|latest| follows && *latest != it.session));
        if index >= last {
            let latest = (!it.user.is_nil()).then_some(it.session);
            self.users.put(it.user, User { index, latest });
        }
        let previous = previous.filter(|_| !it.user.is_nil());
        Session { index, events: 0, announced: false, closed: false, first: None, previous, user: it.user }
    }

    /// Ends a session because its successor has started. The session, if it is known and had not ended.
    pub(super) fn close(&mut self, id: Uuid) -> Option<&Session> {
        if self.sessions.get(id).is_none_or(|session| session.closed) {
            return None;
        }
        self.sessions.update(id, |session| session.closed = true)
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// The rows of everything that changed since the last commit.
    pub(super) fn changed_rows(&self, namespace: &str, rows: &mut Vec<Row>) {
        for (id, changed) in self.sessions.changes() {
            rows.push(rows::session_row(namespace, id, changed));
        }
        for (id, changed) in self.users.changes() {
            rows.push(rows::user_row(namespace, id, changed));
        }
    }

    pub(super) fn commit(&mut self) {
        self.sessions.commit();
        self.users.commit();
    }

    pub(super) fn roll_back(&mut self) {
        self.sessions.roll_back();
        self.users.roll_back();
    }

    /// Empties the table, and says what to delete.
    pub(super) fn forget(&mut self, namespace: &str, rows: &mut Vec<Row>) {
        rows.extend(self.sessions.clear().map(|id| rows::session_row(namespace, id, None)));
        rows.extend(self.users.clear().map(|id| rows::user_row(namespace, id, None)));
    }
}

/// Whether an entry may be forgotten before others.
pub(super) trait Done {
    fn is_done(&self) -> bool;
}

impl Done for Session {
    fn is_done(&self) -> bool {
        self.closed
    }
}

impl Done for User {
    fn is_done(&self) -> bool {
        false
    }
}

/// A map of at most so many entries that forgets the done ones first, then those not used for longest, and that can take
/// back everything since the last commit.
#[derive(Debug)]
struct Bounded<T> {
    most: usize,
    entries: ByUuid<Entry<T>>,
    /// Every entry: those to be forgotten first come first.
    order: BTreeSet<(bool, u64, Uuid)>,
    /// Counts uses; it is stored, so that the order outlives a restart.
    uses: u64,
    /// What entries were before the first change since the last commit, in the order of these changes.
    undo: Vec<(Uuid, Option<(u64, T)>)>,
    /// Entries forgotten since the last commit; each is in `undo`.
    forgotten: HashSet<Uuid>,
    batch: u64,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    used: u64,
    /// The batch that changed it last.
    batch: u64,
}

impl<T: Clone + Done> Bounded<T> {
    fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            entries: ByUuid::default(),
            order: BTreeSet::new(),
            uses: 0,
            undo: Vec::new(),
            forgotten: HashSet::new(),
            batch: 1,
        }
    }

    fn contains(&self, key: Uuid) -> bool {
        self.entries.contains_key(&key)
    }

    fn get(&self, key: Uuid) -> Option<&T> {
        self.entries.get(&key).map(|entry| &entry.value)
    }

    fn load(&mut self, key: Uuid, used: u64, value: T) {
        self.uses = self.uses.max(used);
        self.remove(key);
        self.add(key, used, 0, value);
    }

    /// Forgets what is too much, so that at most so many entries are left.
    fn make_room(&mut self, most: usize) {
        while self.entries.len() > most {
            let Some((_, _, oldest)) = self.order.first().copied() else { break };
            let Some(old) = self.remove(oldest) else { break };
            if old.batch != self.batch {
                self.undo.push((oldest, Some((old.used, old.value))));
            }
            self.forgotten.insert(oldest);
        }
    }

    fn put(&mut self, key: Uuid, value: T) {
        if self.contains(key) {
            self.update(key, |old| *old = value);
        } else {
            self.insert(key, value);
        }
    }

    /// Adds an entry that is not there yet.
    fn insert(&mut self, key: Uuid, value: T) {
        self.make_room(self.most - 1);
        // An entry forgotten and met again within a batch has been noted already.
        if !self.forgotten.remove(&key) {
            self.undo.push((key, None));
        }
        self.uses += 1;
        self.add(key, self.uses, self.batch, value);
    }

    /// Changes an entry, if it is there. Its place in the order changes once a batch.
    fn update(&mut self, key: Uuid, change: impl FnOnce(&mut T)) -> Option<&T> {
        let entry = self.entries.get_mut(&key)?;
        let was_done = entry.value.is_done();
        let was_used = entry.used;
        if entry.batch != self.batch {
            self.undo.push((key, Some((entry.used, entry.value.clone()))));
            entry.batch = self.batch;
            self.uses += 1;
            entry.used = self.uses;
        }
        change(&mut entry.value);
        let place = (!entry.value.is_done(), entry.used);
        if place != (!was_done, was_used) {
            self.order.remove(&(!was_done, was_used, key));
            self.order.insert((place.0, place.1, key));
        }
        Some(&entry.value)
    }

    fn add(&mut self, key: Uuid, used: u64, batch: u64, value: T) {
        self.order.insert((!value.is_done(), used, key));
        self.entries.insert(key, Entry { value, used, batch });
    }

    fn remove(&mut self, key: Uuid) -> Option<Entry<T>> {
        let entry = self.entries.remove(&key)?;
        self.order.remove(&(!entry.value.is_done(), entry.used, key));
        Some(entry)
    }

    /// Every entry that changed since the last commit, as it is now.
    fn changes(&self) -> impl Iterator<Item = (Uuid, Option<(u64, &T)>)> {
        self.undo.iter().filter_map(|(key, before)| {
            let now = self.entries.get(key).map(|entry| (entry.used, &entry.value));
            // Met and forgotten within one batch: nothing was ever stored.
            (now.is_some() || before.is_some()).then_some((*key, now))
        })
    }

    fn commit(&mut self) {
        self.undo.clear();
        self.forgotten.clear();
        self.batch += 1;
    }

    fn roll_back(&mut self) {
        for (key, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.remove(key);
            if let Some((used, value)) = before {
                self.add(key, used, 0, value);
            }
        }
        self.forgotten.clear();
        self.batch += 1;
    }

    /// Forgets every entry, and names all that a store may hold: what was forgotten since the last commit, too.
    fn clear(&mut self) -> impl Iterator<Item = Uuid> {
        self.order.clear();
        self.undo.clear();
        std::mem::take(&mut self.entries).into_keys().chain(std::mem::take(&mut self.forgotten))
    }
}

/// The greatest index that `client_session` takes.
pub(super) const MAX_INDEX: u32 = 2_147_483_647;

#[cfg(test)]
mod tests;
