//! Scopes: a stretch of work whose signals carry an id that is owned elsewhere.
//!
//! A scope is found in three places, and the innermost wins:
//!
//! - in an OpenTelemetry [`Context`] ([`Scoped`]), which whoever opens a scope attaches;
//! - on the thread ([`entered`]), where the tracing layer notes the spans that are entered, since a context of ours is hidden
//!   by the one that an outer OpenTelemetry layer attaches after it;
//! - by the OpenTelemetry span that a context carries ([`spans`]): a context taken from a span leads to the span's scope on
//!   any thread, and a span that starts late finds its parent's.
//!
//! Processes that never open a scope pay one relaxed load a signal.

#[allow(dead_code)] // only the tracing layer enters
pub(crate) mod entered;
#[allow(dead_code)] // only the tracing layer holds entries
pub(crate) mod spans;

use std::cell::Cell;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

use crate::sync::Mutex;

/// The scope of some work; none is work that is in no scope.
pub(crate) type Scope = Option<Arc<Opened>>;

/// A scope that was opened. Its id may come, and change, while it is open; until it has one, the outer scope's holds.
#[derive(Debug)]
pub(crate) struct Opened {
    id: Mutex<Option<Arc<str>>>,
    outer: Scope,
}

#[allow(dead_code)] // only the rooms that open scopes call it
impl Opened {
    pub(crate) fn new(id: Option<Arc<str>>, outer: Scope) -> Arc<Self> {
        mark_in_use();
        Arc::new(Self { id: Mutex::new(id), outer })
    }

    /// From now on this is the id.
    pub(crate) fn set_id(&self, id: Arc<str>) {
        *self.id.lock() = Some(id);
    }

    pub(crate) fn id(&self) -> Option<Arc<str>> {
        let mut opened = self;
        loop {
            if let Some(id) = &*opened.id.lock() {
                return Some(id.clone());
            }
            opened = opened.outer.as_deref()?;
        }
    }
}

/// Set once the first scope of the process is opened, and never cleared.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// The scope of a context; `None` shields from an outer scope.
#[derive(Debug, Clone)]
pub(crate) struct Scoped(pub(crate) Scope);

/// Whether any scope was ever opened in this process.
#[inline]
pub(crate) fn in_use() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

fn mark_in_use() {
    // Read first, so that opening scopes on many threads does not fight over the line that every signal reads.
    if !in_use() {
        IN_USE.store(true, Ordering::Relaxed);
    }
}

/// The scope of the work on this thread.
pub(crate) fn current() -> Scope {
    map_current(innermost).flatten()
}

/// The id of that scope.
pub(crate) fn current_id() -> Option<Arc<str>> {
    current()?.id()
}

/// What a context says by itself, the span it carries apart.
pub(crate) fn of_context(context: &Context) -> Scope {
    context.get::<Scoped>().and_then(|scoped| scoped.0.clone())
}

/// The scope on this thread while `context` is the current one.
fn innermost(context: &Context) -> Scope {
    let scoped = context.get::<Scoped>();
    entered::top(scoped).unwrap_or_else(|| of_spans(context, scoped).unwrap_or_else(|| of_context(context)))
}

/// The scope of a span that starts with this context. Called while the thread's context stack may be borrowed, so nothing is
/// attached.
///
/// What is entered on the thread counts only if the context is the thread's current one. A span of the tracing layer starts
/// with the context of its creation, long after it perhaps, on a thread that may meanwhile be in a scope of somebody else.
pub(crate) fn of_span_start(context: &Context) -> Scope {
    let on_thread = map_current(|current| is_current(context, current).then(|| innermost(current))).flatten();
    on_thread.unwrap_or_else(|| of_spans(context, context.get::<Scoped>()).unwrap_or_else(|| of_context(context)))
}

/// The scope by the span that the context carries, unless an inner one was attached since that span started.
fn of_spans(context: &Context, scoped: Option<&Scoped>) -> Option<Scope> {
    if !context.has_active_span() {
        return None;
    }
    let (scope, outer) = spans::of(context.span().span_context())?;
    let scoped = scoped.and_then(|scoped| scoped.0.clone());
    Some(if same(&scoped, &outer) { Some(scope) } else { scoped })
}

/// Whether a span that starts with `context` is started from the thread's current context: `Tracer::start` and its like pass
/// that context itself; others pass a copy, which is recognised by its span.
fn is_current(context: &Context, current: &Context) -> bool {
    if std::ptr::eq(context, current) {
        return true;
    }
    let (span, current_span) = (context.span(), current.span());
    span.span_context().is_valid()
        && span.span_context() == current_span.span_context()
        && same(&of_context(context), &of_context(current))
}

/// Reads the current context; none while the thread ends and its contexts are gone, where `Context` would panic.
pub(crate) fn map_current<R>(f: impl FnOnce(&Context) -> R) -> Option<R> {
    let there = BEFORE_CONTEXTS.try_with(|sentinel| sentinel.contexts_are_there).unwrap_or(false);
    there.then(|| Context::map_current(f))
}

thread_local! {
    /// Goes before the thread's contexts go, since it came after them.
    static BEFORE_CONTEXTS: Sentinel = Sentinel { contexts_are_there: are_contexts_there() };
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// A thread that asks for the first time as it ends may have lost its contexts already. Nothing but a panic tells, which would
/// take the process down with it, and so would another one in a hook that traces panics.
fn are_contexts_there() -> bool {
    if ASKING.replace(true) {
        return false;
    }
    let there = catch_unwind(|| Context::map_current(|_| ())).is_ok();
    ASKING.set(false);
    there
}

struct Sentinel {
    contexts_are_there: bool,
}

impl Drop for Sentinel {
    /// Makes the sentinel a value that goes at all.
    fn drop(&mut self) {}
}

/// Whether two scopes are the same one, not only equal in id.
pub(crate) fn same(one: &Scope, other: &Scope) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
