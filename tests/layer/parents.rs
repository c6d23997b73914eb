//! Spans in a scope whose parent comes from another process.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tracing::field::Empty;

use super::*;

#[test]
fn an_id_recorded_within_another_span_leaves_the_span_free_for_a_foreign_parent() {
    in_every_way(|setup| {
        info_span!("server").in_scope(|| {
            for (parent, name) in [(None, "root"), (Span::current().id(), "child")] {
                let request = info_span!(parent: parent, "request", session.id = Empty, otel.name = name);
                request.record("session.id", "chat-1");
                request.set_parent(remote()).unwrap_or_else(|error| panic!("{}: {name}: {error}", setup.way));
                request.in_scope(|| {
                    info!("in request");
                    info_span!("work").in_scope(|| {});
                });
                drop(request);
                for name in [name, "work"] {
                    setup.expect_span(name, "chat-1");
                    let span = setup.rig.finished_spans().into_iter().rfind(|span| span.name == name).unwrap();
                    assert_eq!(span.span_context.trace_id(), TraceId::from(77), "{}: {name}", setup.way);
                }
                setup.expect_log("in request", "chat-1");
            }
        });
    });
}

fn remote() -> Context {
    let (trace, span) = (TraceId::from(77), SpanId::from(88));
    Context::new().with_remote_span_context(SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE))
}
