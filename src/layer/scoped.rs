//! What a tracing span keeps of its scope.
//!
//! Only spans that open a scope, or are created in one, keep anything. The scope of a span is found when it is asked for, from
//! the span up through its ancestors.

use std::sync::Arc;

use opentelemetry::trace::TraceContextExt as _;
use tracing::Dispatch;
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::scope::spans::{self, Held};
use crate::scope::{Opened, Scope, of_context};

/// Kept in the extensions of a span, and dropped with it: after every layer has seen it close.
#[derive(Debug, Default)]
struct Kept {
    /// The scope that begins with this span.
    own: Scope,
    /// What the context said at the span's creation.
    created: Scope,
    held: Option<Held>,
}

/// Notes at a span's creation which scope begins with it, if one does, and what the context says.
pub(super) fn keep<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, own: Scope, created: Scope) {
    let mut extensions = span.extensions_mut();
    // Another layer of ours may have been here.
    if extensions.get_mut::<Kept>().is_none() {
        extensions.insert(Kept { own, created, held: None });
    }
}

/// The scope that begins with a span.
pub(super) fn own<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Scope {
    span.extensions().get::<Kept>().and_then(|kept| kept.own.clone())
}

/// The scope that a span is in: its own or the nearest ancestor's.
pub(super) fn scope_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Scope {
    span.scope().find_map(|span| own(&span))
}

pub(super) fn created<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Scope {
    span.extensions().get::<Kept>().and_then(|kept| kept.created.clone())
}

/// Notes the scope of a span by the id of its OpenTelemetry span, which is started if it has not been.
pub(super) fn link<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, scope: &Arc<Opened>, dispatch: &Dispatch) {
    if span.extensions().get::<Kept>().is_some_and(|kept| kept.held.is_some()) {
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
    if let Some(kept) = extensions.get_mut::<Kept>() {
        kept.held = held;
    } else {
        extensions.insert(Kept { held, ..Kept::default() });
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::{Span, info_span};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::prelude::*;
    use tracing_subscriber::registry;

    use super::*;
    use crate::sessions::Sessions;

    #[test]
    fn nothing_is_noted_of_a_span_that_is_gone_whichever_layer_comes_first() {
        let sessions = Sessions::builder().build().expect("the defaults can be built");
        let exporter = opentelemetry_sdk::trace::InMemorySpanExporter::default();
        let tracers = SdkTracerProvider::builder().with_span_processor(sessions.batch_span_processor(exporter)).build();
        macro_rules! otel {
            () => {
                tracing_opentelemetry::layer().with_tracer(tracers.tracer("test"))
            };
        }
        let first = Dispatch::new(registry().with(sessions.layer()).with(otel!()));
        let last = Dispatch::new(registry().with(otel!()).with(sessions.layer()));
        for dispatch in [first, last] {
            let (scope, child) = tracing::dispatcher::with_default(&dispatch, || {
                info_span!("scope", session.id = "chat-1").in_scope(|| {
                    let child = info_span!("child").in_scope(|| span_context(&Span::current()));
                    let scope = span_context(&Span::current());
                    assert!(spans::of(&scope).is_some());
                    assert!(spans::of(&child).is_none());
                    (scope, child)
                })
            });
            assert!(spans::of(&scope).is_none() && spans::of(&child).is_none());
        }
    }

    fn span_context(span: &Span) -> SpanContext {
        span.context().span().span_context().clone()
    }
}
