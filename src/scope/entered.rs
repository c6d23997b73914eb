//! The tracing spans that are entered on this thread, as far as scopes are concerned.
//!
//! An entered scope is also attached as a context, so that it reaches what takes a copy of the current context. The note on
//! the thread is still needed: an OpenTelemetry layer that comes later attaches the context of the span's creation on top.
//!
//! The user's own contexts are told from those by comparison: a [`Scoped`] that is neither the scope of the span on top nor
//! the one its creation saw was attached since, and is the inner one.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use opentelemetry::{Context, ContextGuard};

use super::{Scope, Scoped, map_current, same, spans};

thread_local! {
    static ENTERED: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// A span that is entered; the innermost stands last.
struct Frame {
    key: Key,
    scope: Scope,
    /// What the context said when the span was created.
    created: Scope,
    /// Never dropped with the thread: that would call into a context stack that may be gone already.
    attached: Option<ManuallyDrop<ContextGuard>>,
}

/// A span of one layer. Span ids alone are not enough: each subscriber counts its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) layer: u64,
    pub(crate) span: u64,
}

/// The scope by what is entered, given what the current context says; none if nothing is entered.
pub(super) fn top(scoped: Option<&Scoped>) -> Option<Scope> {
    with(|frames| {
        let top = frames.last()?;
        let Some(scoped) = scoped else { return top.scope.is_some().then(|| top.scope.clone()) };
        let ours = top.scope.is_some() && (same(&scoped.0, &top.scope) || same(&scoped.0, &top.created));
        Some(if ours { top.scope.clone() } else { scoped.0.clone() })
    })
    .flatten()
}

/// The scope that the application attached within the span on top, if it did.
pub(crate) fn attached_within() -> Scope {
    let scoped = map_current(|context| context.get::<Scoped>().cloned()).flatten()?;
    let within = with(|frames| {
        let top = frames.last()?;
        (!same(&scoped.0, &top.scope) && !same(&scoped.0, &top.created)).then(|| scoped.0.clone())
    });
    within.flatten().flatten()
}

/// Enters a span.
pub(crate) fn enter(key: Key, scope: Scope, created: Scope) {
    let Some(scoped) = map_current(|context| context.get::<Scoped>().cloned()) else { return };
    let Some(attach) = with(|frames| {
        if scope.is_none() && frames.is_empty() {
            return None;
        }
        let outer = frames.last().and_then(|frame| frame.scope.as_ref());
        let attach = match (&scope, &scoped) {
            (Some(_), None) => !same(&scope, &outer.cloned()),
            (Some(_), Some(scoped)) => !same(&scope, &scoped.0),
            // Work outside the scope that the thread is in.
            (None, Some(scoped)) => outer.is_some() && scoped.0.is_some(),
            (None, None) => false,
        };
        Some(attach)
    })
    .flatten() else {
        return;
    };
    // Outside the borrow: attaching may call a context observer. While a span starts the SDK holds the thread's contexts,
    // and attaching would panic.
    let attached = (attach && !spans::is_starting()).then(|| attach_scope(scope.clone()));
    with_mut(|frames| frames.push(Frame { key, scope, created, attached }));
}

/// Leaves a span; spans may be left in any order.
pub(crate) fn exit(key: Key) {
    let left = with_mut(|frames| {
        let index = frames.iter().rposition(|frame| frame.key == key)?;
        let mut left = frames.remove(index);
        // Left before the one entered within it, which found its scope attached already: it takes that over.
        if let Some(within) = frames.get_mut(index)
            && within.attached.is_none()
            && same(&within.scope, &left.scope)
        {
            within.attached = left.attached.take();
        }
        left.attached
    });
    if let Some(attached) = left.flatten() {
        drop(ManuallyDrop::into_inner(attached));
    }
}

/// Whether a span is entered on this thread.
pub(crate) fn is_entered(key: Key) -> bool {
    with(|frames| frames.iter().any(|frame| frame.key == key)).unwrap_or(false)
}

/// Whether nothing is entered on this thread.
pub(crate) fn is_empty() -> bool {
    with(|frames| frames.is_empty()).unwrap_or(true)
}

fn attach_scope(scope: Scope) -> ManuallyDrop<ContextGuard> {
    ManuallyDrop::new(Context::current_with_value(Scoped(scope)).attach())
}

/// None while the thread ends: its notes may be gone before its last signal.
fn with<R>(f: impl FnOnce(&[Frame]) -> R) -> Option<R> {
    ENTERED.try_with(|frames| frames.try_borrow().ok().map(|frames| f(&frames))).ok().flatten()
}

fn with_mut<R>(f: impl FnOnce(&mut Vec<Frame>) -> R) -> Option<R> {
    ENTERED.try_with(|frames| frames.try_borrow_mut().ok().map(|mut frames| f(&mut frames))).ok().flatten()
}
