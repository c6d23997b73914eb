//! The scopes of OpenTelemetry spans that are open: what a finished span is stamped with, and what its children inherit.
//!
//! A table beside the spans, because the attribute that says the same may be dropped (a span holds 128), cannot be read back,
//! and cannot be put on a span that another layer has yet to start.
//!
//! An entry lives until each wrapped pipeline saw the span end and the tracing span that holds it is gone. Spans that never
//! end are kept out by a bound of [`BOUND`] entries: beyond it a span gets the attribute at its start, the old way.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, LazyLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceId};

use super::{Opened, Scope};
use crate::sync::{Mutex, MutexGuard};

/// How many spans may be in a scope at a time.
const BOUND: usize = 65_536;
const SHARDS: usize = 64;

type Key = (TraceId, SpanId);

#[derive(Debug)]
struct Entry {
    scope: Arc<Opened>,
    /// The id as the span began; none if it was put into the scope later.
    id: Option<Arc<str>>,
    /// What the context that the span started with says: a context of the span that says something else got it later.
    outer: Scope,
    /// Pipelines that saw the start and not yet the end.
    pipelines: u32,
    /// Tracing spans that hold the entry.
    holders: u32,
}

static TABLE: LazyLock<Vec<Mutex<HashMap<Key, Entry>>>> =
    LazyLock::new(|| (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect());

/// A pipeline saw a span start in a scope that has this id. False if the table is full.
pub(crate) fn started(span: &SpanContext, scope: Arc<Opened>, id: Arc<str>, outer: Scope) -> bool {
    insert(key(span), scope, outer, |entry| {
        entry.pipelines += 1;
        entry.id.get_or_insert(id);
    })
}

/// A pipeline saw a span end: the id it is stamped with.
pub(crate) fn ended(span: &SpanContext) -> Option<Arc<str>> {
    let key = key(span);
    let mut shard = shard(&key);
    let entry = shard.get_mut(&key)?;
    entry.pipelines = entry.pipelines.saturating_sub(1);
    let id = entry.id.clone().or_else(|| entry.scope.id());
    if entry.pipelines == 0 && entry.holders == 0 {
        shard.remove(&key);
    }
    id
}

/// The scope of a span that is open, and what its starting context said.
pub(crate) fn of(span: &SpanContext) -> Option<(Arc<Opened>, Scope)> {
    let key = key(span);
    shard(&key).get(&key).map(|entry| (entry.scope.clone(), entry.outer.clone()))
}

/// Says that a span is in a scope for as long as the returned value lives.
pub(crate) fn hold(span: &SpanContext, scope: Arc<Opened>, outer: Scope) -> Option<Held> {
    let key = key(span);
    let inserted = insert(key, scope.clone(), outer, |entry| {
        entry.holders += 1;
        if !Arc::ptr_eq(&entry.scope, &scope) {
            entry.scope = scope;
            entry.id = None;
        }
    });
    inserted.then_some(Held { key })
}

thread_local! {
    static STARTING: Cell<bool> = const { Cell::new(false) };
}

/// Runs what a processor does as a span starts. The SDK may hold the thread's contexts then, and a tracing layer the span, so
/// whatever is called from there must ask for neither.
pub(crate) fn while_starting<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            STARTING.set(self.0);
        }
    }
    let _restore = Restore(STARTING.replace(true));
    f()
}

/// Whether a processor is being told of a span that starts on this thread.
pub(crate) fn is_starting() -> bool {
    STARTING.get()
}

/// An entry of the table, held.
#[derive(Debug)]
pub(crate) struct Held {
    key: Key,
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

fn insert(key: Key, scope: Arc<Opened>, outer: Scope, count: impl FnOnce(&mut Entry)) -> bool {
    let mut shard = shard(&key);
    let full = shard.len() >= BOUND / SHARDS;
    match shard.entry(key) {
        Slot::Occupied(mut slot) => count(slot.get_mut()),
        Slot::Vacant(_) if full => return false,
        Slot::Vacant(slot) => count(slot.insert(Entry { scope, id: None, outer, pipelines: 0, holders: 0 })),
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

    fn opened(id: &str) -> Arc<Opened> {
        Opened::new(Some(id.into()), None)
    }

    fn start(span: &SpanContext) -> bool {
        started(span, opened("a"), "a".into(), None)
    }

    #[test]
    fn an_entry_goes_with_its_last_pipeline_and_its_last_holder() {
        let span = span(1);
        assert!(start(&span) && start(&span));
        let held = hold(&span, opened("b"), None).expect("the table has room");
        assert_eq!(ended(&span).as_deref(), Some("b"));
        assert_eq!(ended(&span).as_deref(), Some("b"));
        assert!(of(&span).is_some());
        drop(held);
        assert!(of(&span).is_none());
    }

    #[test]
    fn a_span_keeps_the_id_it_began_with_unless_it_is_put_into_another_scope() {
        let (span, scope) = (span(2), opened("a"));
        assert!(started(&span, scope.clone(), "a".into(), None));
        scope.set_id("b".into());
        let _held = hold(&span, scope, None);
        assert_eq!(ended(&span).as_deref(), Some("a"));
    }

    #[test]
    fn spans_that_never_end_fill_their_share_and_no_more() {
        let fits = (0..10_000).filter(|n| start(&span(n * 256 + 63))).count();
        assert_eq!(fits, BOUND / SHARDS);
        (0..10_000).for_each(|n| drop(ended(&span(n * 256 + 63))));
        assert!(start(&span(63)));
        assert!(ended(&span(63)).is_some());
    }
}
