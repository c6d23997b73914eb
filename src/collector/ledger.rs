//! The signals of a stream, sorted by session: the one index that sessions, problems and the timeline are drawn from.
//!
//! Building it takes one pass, O(n) in signals. It borrows the stream and decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;

use super::received::{Log, Resource};
use super::stream::Stream;

pub(super) struct Ledger<'a> {
    entries: Vec<Entry<'a>>,
    by_id: HashMap<&'a str, usize>,
    origins: Origins<'a>,
    /// Whether everything that arrived is still there.
    pub(super) complete: bool,
}

/// What was seen of one session id.
pub(super) struct Entry<'a> {
    pub(super) id: &'a str,
    /// The `session.start` records, in the order of arrival.
    pub(super) starts: Vec<&'a Log>,
    /// The `session.end` records, in the order of arrival.
    pub(super) ends: Vec<&'a Log>,
    /// Of an unlinked start: the earliest end that it may have followed, in nanoseconds. See [`Unfollowed`].
    pub(super) end_before: Option<u64>,
    pub(super) spans: usize,
    pub(super) events: usize,
    /// Logs other than the session's own start and end.
    pub(super) logs: usize,
    pub(super) resource: &'a Arc<Resource>,
    /// The earliest and the latest time of its signals, where they have one.
    pub(super) nanos: Option<(u64, u64)>,
}

impl<'a> Ledger<'a> {
    pub(super) fn of(stream: &'a Stream) -> Self {
        let complete = stream.dropped() == 0;
        let mut ledger = Self { entries: Vec::new(), by_id: HashMap::new(), origins: Origins::default(), complete };
        let mut unfollowed = HashMap::<_, Unfollowed<'a>>::new();
        for log in stream.logs() {
            ledger.origins.learn(&log.resource);
            let Some(id) = log.session_id() else { continue };
            let unfollowed = unfollowed.entry(ledger.origins.of(&log.resource)).or_default();
            let end_of_previous = log.previous_session_id().and_then(|id| ledger.find(id)).and_then(Entry::end);
            let entry = ledger.entry(id, &log.resource);
            entry.stretch(log.nanos());
            if log.is_session_start() {
                if entry.starts.is_empty() {
                    entry.end_before = unfollowed.follow(log, end_of_previous);
                }
                entry.starts.push(log);
            } else if log.is_session_end() {
                if entry.ends.is_empty() {
                    unfollowed.0.insert((log.nanos(), id));
                }
                entry.ends.push(log);
            } else {
                entry.logs += 1;
            }
        }
        for span in stream.spans() {
            if let Some(id) = span.session_id() {
                let entry = ledger.entry(id, &span.resource);
                entry.stretch(span.start_unix_nanos);
                entry.spans += 1;
            }
            for event in &span.events {
                if let Some(id) = event.session_id() {
                    let entry = ledger.entry(id, &span.resource);
                    entry.stretch(event.time_unix_nanos);
                    entry.events += 1;
                }
            }
        }
        ledger
    }

    /// In the order in which the ids were first seen, those in logs first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Entry<'a>> {
        self.by_id.get(id).map(|index| &self.entries[*index])
    }

    /// Whether two logs come from resources with the same attributes. The order in which such logs arrive is the order
    /// in which they were sent, whatever connections they came over.
    pub(super) fn same_origin(&self, one: &Log, other: &Log) -> bool {
        self.origins.of(&one.resource) == self.origins.of(&other.resource)
    }

    fn entry(&mut self, id: &'a str, resource: &'a Arc<Resource>) -> &mut Entry<'a> {
        let next = self.entries.len();
        let index = *self.by_id.entry(id).or_insert(next);
        if index == next {
            self.entries.push(Entry {
                id,
                starts: Vec::new(),
                ends: Vec::new(),
                end_before: None,
                spans: 0,
                events: 0,
                logs: 0,
                resource,
                nanos: None,
            });
        }
        &mut self.entries[index]
    }
}

impl<'a> Entry<'a> {
    /// The first `session.start` to arrive.
    pub(super) fn start(&self) -> Option<&'a Log> {
        self.starts.first().copied()
    }

    /// The first `session.end` to arrive.
    pub(super) fn end(&self) -> Option<&'a Log> {
        self.ends.first().copied()
    }

    /// As the start says, or the end of a session whose start was not seen.
    pub(super) fn previous_id(&self) -> Option<&'a str> {
        self.start().or(self.end()).and_then(Log::previous_session_id)
    }

    fn stretch(&mut self, nanos: u64) {
        if nanos != 0 {
            let (first, last) = self.nanos.unwrap_or((nanos, nanos));
            self.nanos = Some((first.min(nanos), last.max(nanos)));
        }
    }
}

/// The ends from one resource that no start has followed yet: time and session.
///
/// One program may have several chains of sessions, and a start that is not linked does not say whose end it follows. With
/// one chain there is at most one such end; with several any of them may be the one.
#[derive(Default)]
struct Unfollowed<'a>(BTreeSet<(u64, &'a str)>);

impl<'a> Unfollowed<'a> {
    /// Takes away the end that a start follows. Returns the earliest that it may have followed, if it is not linked.
    fn follow(&mut self, start: &'a Log, end_of_previous: Option<&'a Log>) -> Option<u64> {
        if let Some(previous) = start.previous_session_id() {
            if let Some(end) = end_of_previous {
                self.0.remove(&(end.nanos(), previous));
            }
            return None;
        }
        let earliest = self.0.first().map(|(nanos, _)| *nanos);
        // Of those that fit the latest: what stays behind then makes later verdicts milder, never harsher.
        let after = (start.nanos().saturating_add(1), "");
        if let Some(followed) = self.0.range(..after).next_back().copied() {
            self.0.remove(&followed);
        }
        earliest
    }
}

/// Numbers resources by what they say: each request brings its own copy of the same one.
#[derive(Default)]
struct Origins<'a> {
    by_address: HashMap<*const Resource, usize>,
    by_content: HashMap<String, usize>,
    // The addresses above are only meaningful while the resources live.
    lifetime: PhantomData<&'a Resource>,
}

impl<'a> Origins<'a> {
    fn learn(&mut self, resource: &'a Arc<Resource>) {
        let address = Arc::as_ptr(resource);
        if !self.by_address.contains_key(&address) {
            let next = self.by_content.len();
            let number = *self.by_content.entry(content(resource)).or_insert(next);
            self.by_address.insert(address, number);
        }
    }

    fn of(&self, resource: &Arc<Resource>) -> Option<usize> {
        self.by_address.get(&Arc::as_ptr(resource)).copied()
    }
}

/// The attributes in an order of their own: a sender may change theirs from batch to batch.
fn content(resource: &Resource) -> String {
    let mut pairs: Vec<_> = resource.attributes.iter().map(|(key, value)| (key, format!("{value:?}"))).collect();
    pairs.sort_unstable();
    let mut content = resource.schema_url.clone();
    for (key, value) in pairs {
        content.push_str(&format!("\n{key:?}={value}"));
    }
    content
}
