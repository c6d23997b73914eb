//! The layer within a `reload::Layer`, which does not tell it of its subscriber.

use tracing_subscriber::reload;

use super::*;

#[test]
fn a_layer_that_may_be_exchanged_scopes_like_any_other_also_when_it_comes_later() {
    for (context_activation, later) in [(true, false), (true, true), (false, false), (false, true)] {
        scopes_everything(first, context_activation, later);
        scopes_everything(last, context_activation, later);
    }
}

/// Puts a layer into the place that is kept for it.
type Exchange = Box<dyn Fn(SessionLayer)>;

fn first(rig: &Rig, layer: Option<SessionLayer>, context_activation: bool) -> (Dispatch, Exchange) {
    let (sessions, handle) = reload::Layer::new(layer);
    let otel = tracing_opentelemetry::layer().with_tracer(rig.tracer()).with_context_activation(context_activation);
    let bridge = OpenTelemetryTracingBridge::new(&rig.loggers);
    let exchange: Exchange = Box::new(move |layer| handle.reload(Some(layer)).unwrap());
    (Dispatch::new(registry().with(sessions).with(otel).with(bridge)), exchange)
}

fn last(rig: &Rig, layer: Option<SessionLayer>, context_activation: bool) -> (Dispatch, Exchange) {
    let (sessions, handle) = reload::Layer::new(layer);
    let otel = tracing_opentelemetry::layer().with_tracer(rig.tracer()).with_context_activation(context_activation);
    let bridge = OpenTelemetryTracingBridge::new(&rig.loggers);
    let exchange: Exchange = Box::new(move |layer| handle.reload(Some(layer)).unwrap());
    (Dispatch::new(registry().with(otel).with(bridge).with(sessions)), exchange)
}

fn scopes_everything(
    build: fn(&Rig, Option<SessionLayer>, bool) -> (Dispatch, Exchange),
    context_activation: bool,
    later: bool,
) {
    let rig = Rig::new();
    let session = rig.sessions.record_activity().id().to_owned();
    let (dispatch, exchange) = build(&rig, (!later).then(|| rig.sessions.layer()), context_activation);
    with_default(&dispatch, || {
        if later {
            exchange(rig.sessions.layer());
        }
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            info!("in scope");
            info_span!("child").in_scope(|| info!("in child"));
            drop(info_span!("never entered"));
            let open = info_span!("open");
            let context = open.in_scope(|| Span::current().context());
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    let _attached = context.attach();
                    rig.log("with the context");
                    rig.span("with the context");
                    with_default(&dispatch, || drop(info_span!(parent: &open, "child elsewhere")));
                });
            });
        });
        info!("outside");
    });
    let way = format!("context_activation: {context_activation}, later: {later}");
    for body in ["in scope", "in child", "with the context"] {
        assert_eq!(rig.log_id(body).as_deref(), Some("chat-1"), "{way}: log {body}");
    }
    for name in ["scope", "child", "never entered", "open", "with the context", "child elsewhere"] {
        assert_eq!(rig.span_id(name).as_deref(), Some("chat-1"), "{way}: span {name}");
    }
    assert_eq!(rig.log_id("outside"), Some(session), "{way}");
}
