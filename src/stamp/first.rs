//! Whose sessions stamp the spans of a tracer provider that has processors of several: those of the first one registered.
//!
//! The SDK gives every processor a copy of the finished span, so nobody sees another's stamp, and it tells no processor what
//! stands beside it. But as a span starts it comes by all of them, one after the other on one thread: who finds that others'
//! sessions have seen the very span a moment before is not the first, now and for good, since processors never move. So the
//! place is known before the first span ends.
//!
//! Processes in which only one `Sessions` has span processors pay one relaxed load a span.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use opentelemetry::trace::Span as _;
use opentelemetry_sdk::trace::Span;

use crate::lifecycle::Core;
use crate::sync::Mutex;

/// Whose ids a span processor puts on.
#[derive(Debug)]
pub(super) struct Stamper {
    own: Arc<Core>,
    first: OnceLock<Arc<Core>>,
}

impl Stamper {
    pub(super) fn new(own: &Arc<Core>) -> Self {
        let mut known = KNOWN.lock();
        known.retain(|core| core.strong_count() > 0);
        if !known.iter().any(|core| std::ptr::eq(core.as_ptr(), Arc::as_ptr(own))) {
            known.push(Arc::downgrade(own));
        }
        if known.len() > 1 {
            SEVERAL.store(true, Ordering::Relaxed);
        }
        Self { own: own.clone(), first: OnceLock::new() }
    }

    /// A span starts, and comes by here.
    #[inline]
    pub(super) fn span_starts(&self, span: &Span) {
        if SEVERAL.load(Ordering::Relaxed) {
            self.look_before(span);
        }
    }

    #[inline(never)]
    fn look_before(&self, span: &Span) {
        let this = Passing {
            span: u64::from_be_bytes(span.span_context().span_id().to_bytes()),
            place: std::ptr::from_ref(span).addr(),
            core: Arc::as_ptr(&self.own).addr(),
        };
        let before = PASSING.replace(this);
        if (before.span, before.place) != (this.span, this.place) {
            return;
        }
        // It stays the first one's, for those who come after.
        PASSING.set(before);
        if before.core != this.core && self.first.get().is_none() {
            let first = KNOWN.lock().iter().find(|core| Weak::as_ptr(core).addr() == before.core).cloned();
            // Without the lock: this may turn out to be the last one who holds it.
            if let Some(first) = first.and_then(|core| core.upgrade()) {
                let _ = self.first.set(first);
            }
        }
    }

    /// Whose ids the spans carry.
    pub(super) fn core(&self) -> &Core {
        self.first.get().unwrap_or(&self.own)
    }
}

/// A span that starts, and whose processor it came by first.
#[derive(Debug, Clone, Copy)]
struct Passing {
    span: u64,
    /// Where it lies: a generator may give an id twice.
    place: usize,
    core: usize,
}

thread_local! {
    static PASSING: Cell<Passing> = const { Cell::new(Passing { span: 0, place: 0, core: 0 }) };
}

/// The sessions that have span processors.
static KNOWN: LazyLock<Mutex<Vec<Weak<Core>>>> = LazyLock::new(|| Mutex::new(Vec::new()));

/// Set once those of several sessions exist, and never cleared.
static SEVERAL: AtomicBool = AtomicBool::new(false);
