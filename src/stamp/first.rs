//! Whose sessions stamp the spans of a tracer provider that has processors of several: those of the first one registered.
//!
//! The SDK gives every processor a copy of the finished span, so nobody sees another's stamp, and it tells no processor what
//! stands beside it. But as a span starts it comes by all of them, one after the other on one thread: who finds that others'
//! sessions have seen the very span a moment before is not the first, now and for good, since processors never move. So the
//! place is known before the first span ends.
//!
//! A span is known by its id and by where it lies as it starts. Generators of ids that count give one to a span of each
//! provider, so providers are told apart as well: the processors of one are all made before it is built. Where those of two are
//! made first on one thread, both providers count alike, and the `Sessions` differ, the second's spans carry the first's ids.
//!
//! Each processor looks at its first [`LOOKS`] spans. Once all have, a span pays one relaxed load.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use opentelemetry::trace::Span as _;
use opentelemetry_sdk::trace::Span;

use crate::lifecycle::Core;
use crate::sync::{Mutex, ThreadId, this_thread};

/// Whose ids a span processor puts on.
#[derive(Debug)]
pub(super) struct Stamper {
    own: Arc<Core>,
    first: OnceLock<Arc<Core>>,
    /// Told last: whoever made the processor may have told it before.
    built: Mutex<Option<Built>>,
    /// How many spans it has looked at.
    looks: AtomicU32,
}

impl Stamper {
    pub(super) fn new(own: &Arc<Core>) -> Self {
        let mut known = KNOWN.lock();
        known.retain(|core| core.strong_count() > 0);
        if !known.iter().any(|core| std::ptr::eq(core.as_ptr(), Arc::as_ptr(own))) {
            known.push(Arc::downgrade(own));
        }
        LOOKING.fetch_add(1, Ordering::Relaxed);
        MADE.set(MADE.get() + 1);
        Self { own: own.clone(), first: OnceLock::new(), built: Mutex::default(), looks: AtomicU32::new(0) }
    }

    /// The provider is being built, and comes by all of its processors.
    pub(super) fn provider_is_built(&self) {
        *self.built.lock() = Some(Built { thread: this_thread(), made: MADE.get() });
    }

    /// A span starts, and comes by here.
    #[inline]
    pub(super) fn span_starts(&self, span: &Span) {
        if LOOKING.load(Ordering::Relaxed) > 0 {
            self.look_before(span);
        }
    }

    #[cold]
    fn look_before(&self, span: &Span) {
        let this = Passing {
            span: u64::from_be_bytes(span.span_context().span_id().to_bytes()),
            place: std::ptr::from_ref(span).addr(),
            core: Arc::as_ptr(&self.own).addr(),
            built: *self.built.lock(),
        };
        let before = PASSING.replace(this);
        if (before.span, before.place) == (this.span, this.place) && !are_apart(before.built, this.built) {
            // It stays the first one's, for those who come after.
            PASSING.set(before);
            if before.core != this.core {
                return self.stand_behind(before.core);
            }
        }
        // A processor before may have started spans of its own in between, so one look is not enough.
        if self.looks.load(Ordering::Relaxed) < LOOKS && self.looks.fetch_add(1, Ordering::Relaxed) + 1 == LOOKS {
            LOOKING.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn stand_behind(&self, first: usize) {
        if self.first.get().is_some() {
            return;
        }
        let first = KNOWN.lock().iter().find(|core| Weak::as_ptr(core).addr() == first).cloned();
        // Without the lock: this may turn out to be the last one who holds it.
        if let Some(first) = first.and_then(|core| core.upgrade()) {
            let _ = self.first.set(first);
            self.look_no_more();
        }
    }

    fn look_no_more(&self) {
        if self.looks.swap(LOOKS, Ordering::Relaxed) < LOOKS {
            LOOKING.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whose ids the spans carry.
    pub(super) fn core(&self) -> &Core {
        self.first.get().unwrap_or(&self.own)
    }
}

impl Drop for Stamper {
    fn drop(&mut self) {
        self.look_no_more();
    }
}

/// A span that starts, and whose processor it came by first.
#[derive(Debug, Clone, Copy)]
struct Passing {
    span: u64,
    /// Where it lies: a generator may give an id twice.
    place: usize,
    core: usize,
    built: Option<Built>,
}

/// When a provider was built: on this thread, after so many processors had been made there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Built {
    thread: ThreadId,
    made: u64,
}

/// Whether two processors belong to two providers. Who was not told of the build may belong to any.
fn are_apart(one: Option<Built>, other: Option<Built>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// How many spans a processor looks at before it takes itself for the first one of its provider.
const LOOKS: u32 = 16;

/// How many processors still look.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// The sessions that have span processors.
static KNOWN: LazyLock<Mutex<Vec<Weak<Core>>>> = LazyLock::new(|| Mutex::new(Vec::new()));

thread_local! {
    static PASSING: Cell<Passing> = const { Cell::new(Passing { span: 0, place: 0, core: 0, built: None }) };
    static MADE: Cell<u64> = const { Cell::new(0) };
}
