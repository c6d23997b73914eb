//! The scopes of OpenTelemetry spans that are open: what a finished span is stamped with, and what its children inherit.
//!
//! A table beside the spans, because the attribute that says the same may be dropped (a span holds 128), cannot be read back,
//! and cannot be put on a span that another layer has yet to start.
//!
//! An entry lives until each wrapped pipeline saw the span end and the tracing span that holds it is gone. Spans that never
//! end are kept out by a bound of [`BOUND`] entries: beyond it a span gets the attribute at its start, the old way.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, LazyLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceId};

use super::Scope;
use crate::sync::{Mutex, MutexGuard};

/// How many spans may be in a scope at a time.
const BOUND: usize = 65_536;
const SHARDS: usize = 64;

type Key = (TraceId, SpanId);

#[derive(Debug)]
struct Entry {
    scope: Arc<str>,
    /// What the context that the span started with says: a context of the span that says something else got it later.
    outer: Scope,
    /// Pipelines that saw the start and not yet the end.
    pipelines: u32,
    /// Tracing spans that hold the entry.
    holders: u32,
}

static TABLE: LazyLock<Vec<Mutex<HashMap<Key, Entry>>>> =
    LazyLock::new(|| (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect());

/// A pipeline saw a span start in a scope. False if the table is full.
pub(crate) fn started(span: &SpanContext, scope: Arc<str>, outer: Scope) -> bool {
    insert(key(span), scope, outer, |entry| entry.pipelines += 1)
}

/// A pipeline saw a span end: the scope it was in.
pub(crate) fn ended(span: &SpanContext) -> Scope {
    let key = key(span);
    let mut shard = shard(&key);
    let entry = shard.get_mut(&key)?;
    entry.pipelines = entry.pipelines.saturating_sub(1);
    let scope = entry.scope.clone();
    if entry.pipelines == 0 && entry.holders == 0 {
        shard.remove(&key);
    }
    Some(scope)
}

/// The scope of a span that is open, and what its starting context said.
pub(super) fn of(span: &SpanContext) -> Option<(Arc<str>, Scope)> {
    let key = key(span);
    shard(&key).get(&key).map(|entry| (entry.scope.clone(), entry.outer.clone()))
}

/// Says that a span is in a scope for as long as the returned value lives.
#[allow(dead_code)] // only the tracing layer holds entries
pub(crate) fn hold(span: &SpanContext, scope: Arc<str>, outer: Scope) -> Option<Held> {
    let key = key(span);
    let inserted = insert(key, scope.clone(), outer, |entry| {
        entry.holders += 1;
        entry.scope = scope.clone();
    });
    inserted.then_some(Held { key, scope })
}

/// An entry of the table, held.
#[derive(Debug)]
#[allow(dead_code)] // only the tracing layer holds entries
pub(crate) struct Held {
    key: Key,
    scope: Arc<str>,
}

impl Held {
    /// The span has got another scope.
    #[allow(dead_code)] // only the tracing layer holds entries
    pub(crate) fn rescope(&mut self, scope: &Arc<str>) {
        if !Arc::ptr_eq(&self.scope, scope) {
            self.scope = scope.clone();
            if let Some(entry) = shard(&self.key).get_mut(&self.key) {
                entry.scope = scope.clone();
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut shard = shard(&self.key);
        if let Some(entry) = shard.get_mut(&self.key) {
            entry.holders = entry.holders.saturating_sub(1);
            if entry.pipelines == 0 && entry.holders == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

fn insert(key: Key, scope: Arc<str>, outer: Scope, count: impl FnOnce(&mut Entry)) -> bool {
    let mut shard = shard(&key);
    let full = shard.len() >= BOUND / SHARDS;
    match shard.entry(key) {
        Slot::Occupied(mut slot) => count(slot.get_mut()),
        Slot::Vacant(_) if full => return false,
        Slot::Vacant(slot) => count(slot.insert(Entry { scope, outer, pipelines: 0, holders: 0 })),
    }
    true
}

fn key(span: &SpanContext) -> Key {
    (span.trace_id(), span.span_id())
}

fn shard(key: &Key) -> MutexGuard<'static, HashMap<Key, Entry>> {
    let [.., last] = key.1.to_bytes();
    TABLE[usize::from(last) % SHARDS].lock()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

    fn span(id: u64) -> SpanContext {
        SpanContext::new(TraceId::from(7), SpanId::from(id), TraceFlags::SAMPLED, false, TraceState::NONE)
    }

    #[test]
    fn an_entry_goes_with_its_last_pipeline_and_its_last_holder() {
        let (span, scope): (_, Arc<str>) = (span(1), "a".into());
        assert!(started(&span, scope.clone(), None));
        assert!(started(&span, scope.clone(), None));
        let held = hold(&span, "b".into(), None).expect("the table has room");
        assert_eq!(ended(&span).as_deref(), Some("b"));
        assert_eq!(ended(&span).as_deref(), Some("b"));
        assert!(of(&span).is_some());
        drop(held);
        assert!(of(&span).is_none());
    }

    #[test]
    fn spans_that_never_end_fill_their_share_and_no_more() {
        let fits = (0..10_000).filter(|n| started(&span(n * 256 + 63), "a".into(), None)).count();
        assert_eq!(fits, BOUND / SHARDS);
        (0..10_000).for_each(|n| drop(ended(&span(n * 256 + 63))));
        assert!(started(&span(63), "a".into(), None));
        assert!(ended(&span(63)).is_some());
    }
}
