//! Scopes: a stretch of work whose signals carry an id that is owned elsewhere.
//!
//! A scope is found in two places: in the OpenTelemetry [`Context`](opentelemetry::Context) that a span is started with, and
//! on the thread, where the tracing layer keeps the scope of the span that was entered last. Processes that never open a
//! scope pay one relaxed load a signal.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;

/// Set once the first scope of the process is opened, and never cleared.
static IN_USE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The scope of what runs on this thread; the innermost last. `None` stands for work that is expressly in no scope.
    static ENTERED: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// The id that a context scopes its signals with; `None` shields from an outer scope.
#[derive(Debug, Clone)]
pub(crate) struct ScopedId(pub(crate) Option<Arc<str>>);

/// Whether any scope was ever opened in this process.
#[inline]
pub(crate) fn in_use() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

#[allow(dead_code)] // only the rooms that open scopes call it
pub(crate) fn mark_in_use() {
    IN_USE.store(true, Ordering::Relaxed);
}

/// The scope of the work on this thread: what was entered last, else what the current context says.
pub(crate) fn current() -> Option<Arc<str>> {
    if let Some(entered) = ENTERED.with_borrow(|entered| entered.last().cloned()) {
        return entered;
    }
    Context::map_current(of_context)
}

/// The scope that a context carries.
pub(crate) fn of_context(context: &Context) -> Option<Arc<str>> {
    context.get::<ScopedId>().and_then(|scoped| scoped.0.clone())
}

/// Enters a scope on this thread until [`exit`].
#[allow(dead_code)] // only the tracing layer enters
pub(crate) fn enter(id: Option<Arc<str>>) {
    if id.is_some() {
        mark_in_use();
    }
    ENTERED.with_borrow_mut(|entered| entered.push(id));
}

/// Leaves the scope that was entered last on this thread.
#[allow(dead_code)] // only the tracing layer exits
pub(crate) fn exit() {
    ENTERED.with_borrow_mut(|entered| {
        entered.pop();
    });
}

/// The scope of a span that starts with this context. Called while the thread's context stack may be borrowed, so only the
/// given context is asked, and nothing is attached.
pub(crate) fn of_span_start(context: &Context) -> Option<Arc<str>> {
    if let Some(scoped) = context.get::<ScopedId>() {
        return scoped.0.clone();
    }
    ENTERED.with_borrow(|entered| entered.last().cloned()).flatten()
}
