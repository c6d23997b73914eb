//! The sessions of a stream, in their chains.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ledger::{Entry, Ledger};
use super::received::{Log, Resource, system_time, text};
use super::value::Value;
use crate::semconv;

/// A session as it was seen from outside: by its `session.start`, its `session.end` and the signals that carry its id.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeenSession {
    /// The id.
    pub id: String,
    /// The id of the session before it, if its start (or, without one, its end) names it.
    pub previous_id: Option<String>,
    /// Its number in the chain, from the attribute `otel_session.index`.
    pub index: Option<u64>,
    /// The user, if its start (or, without one, its end) names one.
    pub user_id: Option<String>,
    /// The time of its `session.start`; `None` when that was not seen.
    pub started_at: Option<SystemTime>,
    /// The time of its `session.end`; `None` when that was not seen.
    pub ended_at: Option<SystemTime>,
    /// Why it ended, from the attribute `otel_session.end.reason`.
    pub end_reason: Option<String>,
    /// The earliest time of anything that carries its id; `None` when nothing has a time.
    pub first_seen: Option<SystemTime>,
    /// The latest time of anything that carries its id (of a span, its start); `None` when nothing has a time.
    pub last_seen: Option<SystemTime>,
    /// How many spans carry its id.
    pub spans: usize,
    /// How many span events carry its id.
    pub span_events: usize,
    /// How many logs carry its id, without its own start and end.
    pub logs: usize,
    /// Where it was seen first.
    pub resource: Arc<Resource>,
}

impl SeenSession {
    /// From its start to its end; `None` unless both were seen and stand in that order.
    pub fn duration(&self) -> Option<Duration> {
        self.ended_at?.duration_since(self.started_at?).ok()
    }

    fn of(entry: &Entry<'_>) -> Self {
        let (start, end) = (entry.start(), entry.end());
        let about = start.or(end);
        let index = about.and_then(|log| log.attributes.get(semconv::OTEL_SESSION_INDEX)).and_then(Value::as_i64);
        let string = |log: Option<&Log>, key| log.and_then(|log| text(&log.attributes, key)).map(str::to_owned);
        Self {
            id: entry.id.to_owned(),
            previous_id: entry.previous_id().map(str::to_owned),
            index: index.and_then(|index| u64::try_from(index).ok()),
            user_id: string(about, semconv::USER_ID),
            started_at: start.map(Log::time),
            ended_at: end.map(Log::time),
            end_reason: string(end, semconv::OTEL_SESSION_END_REASON),
            first_seen: entry.nanos.map(|(first, _)| system_time(first)),
            last_seen: entry.nanos.map(|(_, last)| system_time(last)),
            spans: entry.spans,
            span_events: entry.events,
            logs: entry.logs,
            resource: Arc::clone(entry.resource),
        }
    }
}

/// Chains one after another, by the time of their first session; inside a chain each session after its previous one.
pub(super) fn sessions(ledger: &Ledger<'_>) -> Vec<SeenSession> {
    let mut waiting: BTreeMap<(u64, usize), &Entry<'_>> = BTreeMap::new();
    let mut followers: HashMap<&str, Vec<(u64, usize)>> = HashMap::new();
    for (position, entry) in ledger.entries().enumerate() {
        let key = (began(entry), position);
        waiting.insert(key, entry);
        if let Some(previous) = entry.previous_id() {
            followers.entry(previous).or_default().push(key);
        }
    }
    let is_follower = |entry: &Entry<'_>| entry.previous_id().is_some_and(|id| ledger.find(id).is_some());
    let roots = waiting.iter().filter(|(_, entry)| !is_follower(entry)).map(|(key, _)| *key);
    // Sessions that follow one another in a circle have no root: they come last, entered at the earliest.
    let order: Vec<_> = roots.chain(waiting.keys().copied()).collect();
    let mut sessions = Vec::with_capacity(waiting.len());
    for root in order {
        let mut next = vec![root];
        while let Some(key) = next.pop() {
            let Some(entry) = waiting.remove(&key) else { continue };
            sessions.push(SeenSession::of(entry));
            let mut after = followers.remove(entry.id).unwrap_or_default();
            after.sort_unstable_by(|one, other| other.cmp(one));
            next.append(&mut after);
        }
    }
    sessions
}

fn began(entry: &Entry<'_>) -> u64 {
    entry.start().map(Log::nanos).or(entry.nanos.map(|(first, _)| first)).unwrap_or(u64::MAX)
}
