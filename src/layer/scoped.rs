//! What a tracing span keeps of its scope.
//!
//! Only spans that give a scope, or are created in one, keep anything. The scope is found anew when it is asked for, from the
//! span up through its ancestors, so an id recorded late holds for spans that exist already.

use opentelemetry::trace::TraceContextExt as _;
use tracing::Dispatch;
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::scope::spans::{self, Held};
use crate::scope::{Scope, of_context};

/// Kept in the extensions of a span, and dropped with it: after every layer has seen it close.
#[derive(Debug, Default)]
struct Scoped {
    /// The scope that begins with this span.
    own: Scope,
    /// What the context said at the span's creation.
    created: Scope,
    held: Option<Held>,
}

pub(super) fn keep<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, own: Scope, created: Scope) {
    let mut extensions = span.extensions_mut();
    if let Some(kept) = extensions.get_mut::<Scoped>() {
        kept.own = own.or(kept.own.take());
    } else {
        extensions.insert(Scoped { own, created, held: None });
    }
}

/// The scope that a span is in: its own or the nearest ancestor's.
pub(super) fn scope_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Scope {
    span.scope().find_map(|span| span.extensions().get::<Scoped>().and_then(|kept| kept.own.clone()))
}

pub(super) fn created<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Scope {
    span.extensions().get::<Scoped>().and_then(|kept| kept.created.clone())
}

/// Notes the scope of a span by the id of its OpenTelemetry span, which is started if it has not been.
pub(super) fn link<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, scope: &std::sync::Arc<str>, dispatch: &Dispatch) {
    if let Some(held) = span.extensions_mut().get_mut::<Scoped>().and_then(|kept| kept.held.as_mut()) {
        held.rescope(scope);
        return;
    }
    // No extensions are locked here: the OpenTelemetry layer locks them, and may start the span.
    let Some(context) = get_otel_context(&span.id(), dispatch) else { return };
    let otel_span = context.span();
    if !otel_span.span_context().is_valid() {
        return;
    }
    let held = spans::hold(otel_span.span_context(), scope.clone(), of_context(&context));
    let mut extensions = span.extensions_mut();
    if let Some(kept) = extensions.get_mut::<Scoped>() {
        kept.held = held;
    } else {
        extensions.insert(Scoped { held, ..Scoped::default() });
    }
}
