//! The layer for `tracing-subscriber`: what is activity, and what a span with `session.id` puts into a scope, in every order
//! of layers.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod activity;
mod model;
mod parents;
mod reloaded;
#[path = "../support/mod.rs"]
mod support;

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::logs::Severity;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _};
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use otel_session::{Activity, Loss, SessionLayer, Sessions, SignalKind};
use support::{MINUTE, Rig, TIMEOUT, session_id, start_span};
use tracing::dispatcher::with_default;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Span, info, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

/// One way to put a subscriber together.
#[derive(Debug, Clone, Copy)]
struct Way {
    order: Order,
    context_activation: bool,
    /// The bridge copies the field `session.id` to logs.
    allowlist: bool,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    SessionsOtelBridge,
    SessionsBridgeOtel,
    OtelSessionsBridge,
    OtelBridgeSessions,
    BridgeSessionsOtel,
    BridgeOtelSessions,
    /// In a `Vec`, which does not tell its layers of their subscriber.
    Listed,
    /// The same with the session layer last.
    ListedLast,
}

fn every_way() -> impl Iterator<Item = Way> {
    use Order::*;
    let orders = [
        SessionsOtelBridge,
        SessionsBridgeOtel,
        OtelSessionsBridge,
        OtelBridgeSessions,
        BridgeSessionsOtel,
        BridgeOtelSessions,
        Listed,
    ];
    let ways = [(true, false), (true, true), (false, false), (false, true)];
    orders
        .into_iter()
        .flat_map(move |order| ways.map(|(context_activation, allowlist)| Way { order, context_activation, allowlist }))
}

/// A subscriber with everything, and what comes out of it.
struct Setup {
    rig: Rig,
    dispatch: Dispatch,
    way: Way,
}

impl Setup {
    fn new(way: Way, rig: Rig) -> Self {
        macro_rules! sessions {
            () => {
                rig.sessions.layer()
            };
        }
        macro_rules! otel {
            () => {
                tracing_opentelemetry::layer().with_tracer(rig.tracer()).with_context_activation(way.context_activation)
            };
        }
        macro_rules! bridge {
            () => {{
                let builder = OpenTelemetryTracingBridge::builder(&rig.loggers);
                let ids = TracingSpanAttributes::allowlist(["session.id"]);
                if way.allowlist { builder.with_tracing_span_attributes(ids) } else { builder }.build()
            }};
        }
        let dispatch = match way.order {
            Order::SessionsOtelBridge => Dispatch::new(registry().with(sessions!()).with(otel!()).with(bridge!())),
            Order::SessionsBridgeOtel => Dispatch::new(registry().with(sessions!()).with(bridge!()).with(otel!())),
            Order::OtelSessionsBridge => Dispatch::new(registry().with(otel!()).with(sessions!()).with(bridge!())),
            Order::OtelBridgeSessions => Dispatch::new(registry().with(otel!()).with(bridge!()).with(sessions!())),
            Order::BridgeSessionsOtel => Dispatch::new(registry().with(bridge!()).with(sessions!()).with(otel!())),
            Order::BridgeOtelSessions => Dispatch::new(registry().with(bridge!()).with(otel!()).with(sessions!())),
            Order::Listed => {
                Dispatch::new(registry().with(vec![sessions!().boxed(), otel!().boxed(), bridge!().boxed()]))
            }
            Order::ListedLast => {
                Dispatch::new(registry().with(vec![otel!().boxed(), bridge!().boxed(), sessions!().boxed()]))
            }
        };
        Self { rig, dispatch, way }
    }

    fn session(&self) -> String {
        self.rig.sessions.record_activity().id().to_owned()
    }

    /// The id on a finished span and on all its events.
    #[track_caller]
    fn expect_span(&self, name: &str, id: &str) {
        let spans = self.rig.finished_spans();
        let span = spans.iter().rfind(|span| span.name == name);
        let span = span.unwrap_or_else(|| panic!("{}: no span {name}", self.way));
        assert_eq!(session_id(&span.attributes).as_deref(), Some(id), "{}: span {name}", self.way);
        for event in &span.events.events {
            let event_id = session_id(&event.attributes);
            assert_eq!(event_id.as_deref(), Some(id), "{}: event {} of span {name}", self.way, event.name);
        }
    }

    #[track_caller]
    fn expect_log(&self, body: &str, id: &str) {
        assert_eq!(self.rig.log_id(body).as_deref(), Some(id), "{}: log {body}", self.way);
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Runs a scenario in every way, with the subscriber as the thread's.
#[track_caller]
fn in_every_way(scenario: impl Fn(&Setup)) {
    for way in every_way() {
        let setup = Setup::new(way, Rig::new());
        with_default(&setup.dispatch, || scenario(&setup));
        assert_eq!(setup.rig.sessions.losses().count(Loss::Order), 0, "{way}");
    }
}

#[test]
fn everything_beneath_a_span_with_a_session_id_carries_that_id_and_what_follows_does_not() {
    in_every_way(|setup| {
        let session = setup.session();
        let span = info_span!("scope", session.id = "chat-1");
        span.in_scope(|| {
            info!("bridged");
            setup.rig.log("direct");
            setup.rig.span("explicit context");
            setup.rig.tracer().start("implicit context").end();
            setup.rig.tracer().in_span("in span", |context| {
                context.span().add_event("its event", vec![]);
                setup.rig.log("in a span");
                info_span!("beneath an OpenTelemetry span").in_scope(|| info!("deep"));
            });
            let child = info_span!("child");
            child.in_scope(|| {
                info!("in child");
                setup.rig.log("direct in child");
                setup.rig.tracer().start("beneath child").end();
                drop(info_span!("never entered grandchild"));
            });
            drop(info_span!("never entered"));
            info!("after child");
        });
        drop(span);
        info!("outside");
        setup.rig.log("direct outside");
        setup.rig.span("span outside");
        info_span!("tracing span outside").in_scope(|| info!("in span outside"));

        let spans = [
            "scope",
            "explicit context",
            "implicit context",
            "in span",
            "beneath an OpenTelemetry span",
            "child",
            "beneath child",
            "never entered grandchild",
            "never entered",
        ];
        spans.iter().for_each(|name| setup.expect_span(name, "chat-1"));
        let logs = ["bridged", "direct", "in a span", "deep", "in child", "direct in child", "after child"];
        logs.iter().for_each(|body| setup.expect_log(body, "chat-1"));
        ["outside", "direct outside", "in span outside"].iter().for_each(|body| setup.expect_log(body, &session));
        ["span outside", "tracing span outside"].iter().for_each(|name| setup.expect_span(name, &session));
    });
}

#[test]
fn an_id_recorded_later_holds_from_then_on() {
    in_every_way(|setup| {
        let session = setup.session();
        let span = info_span!("scope", session.id = tracing::field::Empty);
        let early = info_span!(parent: &span, "early child");
        span.in_scope(|| {
            info!("before");
            setup.rig.log("direct before");
            early.in_scope(|| {
                span.record("session.id", "chat-1");
                info!("in child");
                setup.rig.log("direct in child");
            });
            info!("after");
            setup.rig.log("direct after");
            setup.rig.span("explicit context");
            setup.rig.tracer().start("implicit context").end();
            info_span!("child").in_scope(|| info!("in late child"));
            drop(info_span!("never entered"));
        });
        drop(early);
        drop(span);
        info!("outside");
        setup.rig.log("direct outside");
        setup.rig.span("span outside");

        ["before", "direct before"].iter().for_each(|body| setup.expect_log(body, &session));
        let logs = ["in child", "direct in child", "after", "direct after", "in late child"];
        logs.iter().for_each(|body| setup.expect_log(body, "chat-1"));
        let spans = ["scope", "explicit context", "implicit context", "child", "never entered"];
        spans.iter().for_each(|name| setup.expect_span(name, "chat-1"));
        ["outside", "direct outside"].iter().for_each(|body| setup.expect_log(body, &session));
        setup.expect_span("span outside", &session);
    });
}

#[test]
fn an_id_recorded_before_the_span_is_entered_counts_like_one_given_at_creation() {
    in_every_way(|setup| {
        let span = info_span!("scope", session.id = tracing::field::Empty);
        span.record("session.id", 42);
        span.in_scope(|| setup.rig.log("in"));
        drop(info_span!(parent: &span, "child"));
        drop(span);
        setup.expect_log("in", "42");
        setup.expect_span("scope", "42");
        setup.expect_span("child", "42");
    });
}

#[test]
fn the_last_recorded_id_wins_and_is_exported_once() {
    in_every_way(|setup| {
        let span = info_span!("scope", session.id = "chat-1");
        span.in_scope(|| {
            info!("first");
            span.record("session.id", tracing::field::display("chat-2"));
            info!("second");
            setup.rig.log("direct second");
            info_span!("child").in_scope(|| {});
        });
        drop(span);
        setup.expect_log("first", "chat-1");
        setup.expect_log("second", "chat-2");
        setup.expect_log("direct second", "chat-2");
        setup.expect_span("scope", "chat-2");
        setup.expect_span("child", "chat-2");
    });
}

#[test]
fn a_root_span_created_in_a_scope_is_not_in_it() {
    in_every_way(|setup| {
        let session = setup.session();
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            let root = info_span!(parent: None, "root");
            root.in_scope(|| {
                info!("in root");
                setup.rig.log("direct in root");
                setup.rig.span("explicit in root");
                setup.rig.tracer().start("implicit in root").end();
                info_span!("child of root").in_scope(|| info!("in child of root"));
                drop(info_span!("never entered child of root"));
            });
            drop(root);
            drop(info_span!(parent: None, "never entered root"));
            let accessed = info_span!(parent: None, "accessed root");
            drop(accessed.context());
            drop(accessed);
            let other = info_span!(parent: None, "other scope", session.id = "chat-2");
            other.in_scope(|| info!("in other scope"));
            drop(info_span!(parent: &other, "child of other scope"));
            info!("after roots");
        });
        let spans = [
            "root",
            "child of root",
            "never entered child of root",
            "never entered root",
            "accessed root",
            "implicit in root",
            "explicit in root",
        ];
        spans.iter().for_each(|name| setup.expect_span(name, &session));
        let logs = ["in root", "direct in root", "in child of root"];
        logs.iter().for_each(|body| setup.expect_log(body, &session));
        setup.expect_span("other scope", "chat-2");
        setup.expect_span("child of other scope", "chat-2");
        setup.expect_log("in other scope", "chat-2");
        setup.expect_log("after roots", "chat-1");
    });
}

#[test]
fn a_child_by_explicit_parent_is_in_the_scope_wherever_it_is_created_and_closed() {
    in_every_way(|setup| {
        let session = setup.session();
        let scope = info_span!("scope", session.id = "chat-1");
        let child = info_span!(parent: &scope, "entered child");
        drop(info_span!(parent: &scope, "never entered child"));
        drop(info_span!(parent: &child, "grandchild"));
        info!("still outside");
        child.in_scope(|| info!("in child"));
        info_span!("other", session.id = "chat-2").in_scope(|| {
            drop(info_span!(parent: &scope, "created within another scope"));
            let late = info_span!(parent: &scope, "entered within another scope");
            late.in_scope(|| {
                info!("within another scope");
                setup.rig.tracer().start("started within another scope").end();
            });
            drop(info_span!(parent: &late, "grandchild within another scope"));
            info!("in other");
        });
        drop((child, scope));
        setup.expect_log("still outside", &session);
        setup.expect_log("in child", "chat-1");
        setup.expect_log("within another scope", "chat-1");
        setup.expect_log("in other", "chat-2");
        let spans = [
            "scope",
            "entered child",
            "never entered child",
            "grandchild",
            "created within another scope",
            "entered within another scope",
            "started within another scope",
            "grandchild within another scope",
        ];
        spans.iter().for_each(|name| setup.expect_span(name, "chat-1"));
        setup.expect_span("other", "chat-2");
    });
}

#[test]
fn the_inner_scope_wins_and_the_outer_comes_back() {
    in_every_way(|setup| {
        info_span!("outer", session.id = "chat-1").in_scope(|| {
            info!("in outer");
            info_span!("inner", session.id = "chat-2").in_scope(|| {
                info!("in inner");
                setup.rig.log("direct in inner");
                setup.rig.span("explicit in inner");
                setup.rig.tracer().start("implicit in inner").end();
                info_span!("child of inner").in_scope(|| info!("in child of inner"));
                drop(info_span!("never entered in inner"));
            });
            info!("back in outer");
            setup.rig.log("direct in outer");
            setup.rig.span("explicit in outer");
            drop(info_span!("never entered in outer"));
        });
        let inner = ["in inner", "direct in inner", "in child of inner"];
        inner.iter().for_each(|body| setup.expect_log(body, "chat-2"));
        let inner = ["inner", "explicit in inner", "implicit in inner", "child of inner", "never entered in inner"];
        inner.iter().for_each(|name| setup.expect_span(name, "chat-2"));
        ["in outer", "back in outer", "direct in outer"].iter().for_each(|body| setup.expect_log(body, "chat-1"));
        ["outer", "explicit in outer", "never entered in outer"]
            .iter()
            .for_each(|name| setup.expect_span(name, "chat-1"));
    });
}

#[test]
fn spans_from_elsewhere_entered_within_a_scope_stay_out_of_it() {
    in_every_way(|setup| {
        let session = setup.session();
        let stranger = info_span!("stranger");
        let never_entered = info_span!("never entered stranger");
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            stranger.in_scope(|| {
                info!("in stranger");
                setup.rig.log("direct in stranger");
                drop(info_span!("child of stranger"));
            });
            info!("in scope");
            drop(never_entered);
        });
        drop(stranger);
        setup.expect_log("in stranger", &session);
        setup.expect_log("direct in stranger", &session);
        setup.expect_log("in scope", "chat-1");
        ["stranger", "child of stranger", "never entered stranger"]
            .iter()
            .for_each(|name| setup.expect_span(name, &session));
    });
}

#[test]
fn a_scope_follows_its_span_to_other_threads_and_leaves_them_as_they_were() {
    in_every_way(|setup| {
        let session = setup.session();
        let scope = info_span!("scope", session.id = "chat-1");
        let child = scope.in_scope(|| info_span!("child"));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                with_default(&setup.dispatch, || {
                    scope.in_scope(|| {
                        info!("on another thread");
                        setup.rig.tracer().start("started on another thread").end();
                    });
                    child.in_scope(|| setup.rig.log("child on another thread"));
                    info!("another thread outside");
                });
            });
        });
        info!("here outside");
        drop((child, scope));
        setup.expect_log("on another thread", "chat-1");
        setup.expect_log("child on another thread", "chat-1");
        setup.expect_span("started on another thread", "chat-1");
        setup.expect_span("child", "chat-1");
        setup.expect_log("another thread outside", &session);
        setup.expect_log("here outside", &session);
    });
}

#[test]
fn a_scope_holds_across_awaits_that_change_threads() {
    use tracing::Instrument as _;
    use tracing::instrument::WithSubscriber as _;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for way in every_way() {
        let setup = Arc::new(Setup::new(way, Rig::new()));
        let session = setup.session();
        let tasks = ["chat-1", "chat-2", "chat-3"].map(|id| {
            let inner = setup.clone();
            let task = async move {
                let span = info_span!("conversation", session.id = id, otel.name = id);
                async move {
                    for _ in 0..20 {
                        info!("{id} says");
                        tokio::task::yield_now().await;
                        let step = info_span!("step", otel.name = format!("{id} step"));
                        async { tokio::task::yield_now().await }.instrument(step).await;
                        inner.rig.log(Box::leak(format!("{id} logs").into_boxed_str()));
                    }
                }
                .instrument(span)
                .await;
                info!("outside");
            };
            runtime.spawn(task.with_subscriber(setup.dispatch.clone()))
        });
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        for line in setup.rig.lines().into_iter().filter(|line| !line.is_lifecycle()) {
            let expected = line.body.split(' ').next().filter(|id| id.starts_with("chat")).unwrap_or(&session);
            assert_eq!(line.id.as_deref(), Some(expected), "{way}: {}", line.body);
        }
        let spans = setup.rig.finished_spans();
        assert_eq!(spans.len(), 3 * 21, "{way}");
        for span in spans {
            assert_eq!(session_id(&span.attributes).as_deref(), span.name.split(' ').next(), "{way}");
        }
    }
}

#[test]
fn spans_may_be_left_in_any_order() {
    in_every_way(|setup| {
        let session = setup.session();
        let (one, two) = (info_span!("one", session.id = "chat-1"), info_span!("two", session.id = "chat-2"));
        let in_one = one.enter();
        let in_two = two.enter();
        drop(in_one);
        info!("in two");
        setup.rig.log("direct in two");
        let again = two.enter();
        drop(in_two);
        setup.rig.log("still in two");
        drop(again);
        setup.rig.log("outside");
        ["in two", "direct in two", "still in two"].iter().for_each(|body| setup.expect_log(body, "chat-2"));
        setup.expect_log("outside", &session);
    });
}

#[test]
fn an_id_that_is_none_scopes_nothing_and_is_counted_while_what_was_written_stays() {
    in_every_way(|setup| {
        let session = setup.session();
        let span = info_span!("scope", session.id = "line\nbreak");
        span.in_scope(|| {
            setup.rig.log("direct");
            info_span!("child").in_scope(|| {});
            span.record("session.id", "chat-1");
            setup.rig.log("direct later");
        });
        drop(span);
        assert_eq!(setup.rig.sessions.losses().count(Loss::InvalidScope), 1, "{}", setup.way);
        setup.expect_log("direct", &session);
        setup.expect_span("child", &session);
        setup.expect_log("direct later", "chat-1");
        setup.expect_span("scope", "chat-1");

        drop(info_span!("never valid", session.id = "line\nbreak"));
        setup.expect_span("never valid", "line\nbreak");
    });
}

#[test]
fn an_id_that_cannot_be_written_is_none_and_takes_nothing_down() {
    struct Unwritten;
    impl fmt::Display for Unwritten {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half").and(Err(fmt::Error))
        }
    }
    let sessions = Sessions::builder().build().unwrap();
    with_default(&Dispatch::new(registry().with(sessions.layer())), || {
        let span = info_span!("scope", session.id = %Unwritten);
        span.record("session.id", tracing::field::display(Unwritten));
    });
    assert_eq!(sessions.losses().count(Loss::InvalidScope), 2);
}

#[test]
fn ids_that_the_application_puts_on_a_signal_win_over_the_scope() {
    in_every_way(|setup| {
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            info!(session.id = "mine", "event");
            let span = info_span!("child");
            span.set_attribute("session.id", "mine");
            span.in_scope(|| info!("in child"));
            drop(span);
            let mut span = setup.rig.tracer().start("direct");
            span.set_attribute(opentelemetry::KeyValue::new("session.id", "mine"));
        });
        setup.expect_log("event", "mine");
        setup.expect_span("child", "mine");
        setup.expect_log("in child", "chat-1");
        setup.expect_span("direct", "mine");
    });
}

#[test]
fn a_span_that_is_full_of_attributes_does_not_lose_its_scope() {
    in_every_way(|setup| {
        let fill = |span: &Span| (0..200).for_each(|n| span.set_attribute(format!("attribute.{n}"), n));
        let late = info_span!("full before its id", session.id = tracing::field::Empty);
        late.in_scope(|| {
            drop(info_span!("starts the parent"));
            fill(&late);
            late.record("session.id", "chat-1");
            let child = info_span!("full child");
            fill(&child);
            child.in_scope(|| {});
            let never_entered = info_span!("full, never entered");
            fill(&never_entered);
            let mut direct = setup.rig.tracer().start("full OpenTelemetry span");
            (0..200).for_each(|n| direct.set_attribute(opentelemetry::KeyValue::new(format!("attribute.{n}"), n)));
            info_span!("next").in_scope(|| {});
        });
        drop(late);
        let spans = ["full before its id", "full child", "full, never entered", "full OpenTelemetry span"];
        spans.iter().for_each(|name| setup.expect_span(name, "chat-1"));
    });
}

#[test]
fn spans_in_a_scope_can_still_be_given_a_foreign_parent() {
    in_every_way(|setup| {
        let remote = || {
            let context = opentelemetry::trace::SpanContext::new(
                opentelemetry::trace::TraceId::from(77),
                opentelemetry::trace::SpanId::from(88),
                opentelemetry::trace::TraceFlags::SAMPLED,
                true,
                opentelemetry::trace::TraceState::NONE,
            );
            Context::new().with_remote_span_context(context)
        };
        let scope = info_span!("scope", session.id = "chat-1");
        scope.set_parent(remote()).unwrap();
        scope.in_scope(|| {
            if !setup.way.context_activation {
                Span::current().set_parent(remote()).unwrap();
            }
            let child = info_span!("child");
            child.set_parent(remote()).unwrap();
            child.in_scope(|| info!("in child"));
        });
        drop(scope);
        let ids = setup
            .rig
            .finished_spans()
            .into_iter()
            .map(|span| u128::from_be_bytes(span.span_context.trace_id().to_bytes()));
        assert_eq!(ids.collect::<Vec<_>>(), [77, 77], "{}", setup.way);
        setup.expect_span("scope", "chat-1");
        setup.expect_log("in child", "chat-1");
        if setup.way.context_activation {
            setup.expect_span("child", "chat-1");
        }
    });
}

#[test]
fn a_context_taken_from_a_span_in_a_scope_leads_to_it_on_another_thread() {
    in_every_way(|setup| {
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            let context = info_span!("child").in_scope(|| Span::current().context());
            let child = info_span!("open child");
            let open = child.in_scope(|| Span::current().context());
            let rig = &setup.rig;
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    let _attached = open.attach();
                    rig.log("with the context");
                    rig.tracer().start("implicit").end();
                    rig.span("explicit");
                });
            });
            drop(context);
        });
        setup.expect_log("with the context", "chat-1");
        setup.expect_span("implicit", "chat-1");
        setup.expect_span("explicit", "chat-1");
    });
}

#[test]
fn links_between_spans_change_no_scope() {
    in_every_way(|setup| {
        let session = setup.session();
        let stranger = info_span!("stranger");
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            let child = info_span!("child");
            child.follows_from(&stranger);
            stranger.follows_from(&child);
        });
        drop(stranger);
        setup.expect_span("child", "chat-1");
        setup.expect_span("stranger", &session);
    });
}

#[test]
fn two_pipelines_of_one_provider_both_carry_the_scope() {
    use opentelemetry::trace::TracerProvider as _;
    let rig = Rig::new();
    let (one, two) = (otel_session::testing::CapturedSpans::default(), otel_session::testing::CapturedSpans::default());
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_span_processor(rig.sessions.batch_span_processor(one.clone()))
        .with_span_processor(rig.sessions.batch_span_processor(two.clone()))
        .build();
    let otel = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let dispatch = Dispatch::new(registry().with(rig.sessions.layer()).with(otel));
    with_default(&dispatch, || {
        info_span!("scope", session.id = "chat-1").in_scope(|| info_span!("child").in_scope(|| {}));
    });
    provider.force_flush().unwrap();
    for spans in [one.spans(), two.spans()] {
        assert_eq!(spans.len(), 2);
        assert!(spans.iter().all(|span| session_id(&span.attributes).as_deref() == Some("chat-1")));
    }
}

#[test]
fn scopes_work_without_any_opentelemetry_layer() {
    let rig = Rig::new();
    let session = rig.sessions.record_activity();
    let dispatch = Dispatch::new(registry().with(rig.sessions.layer()));
    with_default(&dispatch, || {
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            rig.log("direct");
            rig.span("explicit");
            rig.tracer().in_span("implicit", |_| info_span!("child").in_scope(|| rig.log("in child")));
        });
        rig.log("outside");
    });
    assert_eq!(rig.log_id("direct").as_deref(), Some("chat-1"));
    assert_eq!(rig.log_id("in child").as_deref(), Some("chat-1"));
    assert_eq!(rig.span_id("explicit").as_deref(), Some("chat-1"));
    assert_eq!(rig.span_id("implicit").as_deref(), Some("chat-1"));
    assert_eq!(rig.log_id("outside").as_deref(), Some(session.id()));
}

#[test]
fn two_sessions_in_one_subscriber_share_its_scopes() {
    let (one, two) = (Rig::new(), Rig::new());
    let dispatch = Dispatch::new(registry().with(one.sessions.layer()).with(two.sessions.layer()));
    with_default(&dispatch, || {
        info_span!("scope", session.id = "chat-1").in_scope(|| {
            one.log("in scope");
            two.log("in scope");
        });
        one.log("outside");
    });
    assert_eq!(one.log_id("in scope").as_deref(), Some("chat-1"));
    assert_eq!(two.log_id("in scope").as_deref(), Some("chat-1"));
    assert_ne!(one.log_id("outside").as_deref(), Some("chat-1"));
}

#[test]
fn a_tracing_event_with_an_explicit_parent_is_an_event_of_that_span() {
    in_every_way(|setup| {
        let scope = info_span!("scope", session.id = "chat-1");
        info!(parent: &scope, "from outside");
        scope.in_scope(|| {});
        drop(scope);
        setup.expect_span("scope", "chat-1");
        let span = setup.rig.finished_spans().pop().unwrap();
        assert_eq!(span.events.len(), 1, "{}", setup.way);
    });
}

#[test]
fn a_processor_may_enter_scoped_spans_while_a_span_starts() {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};

    #[derive(Debug, Clone, Default)]
    struct Busy(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl SpanProcessor for Busy {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let work = info_span!("work", session.id = "busy", otel.kind = "internal");
            work.in_scope(|| info_span!("more work").in_scope(|| info!("working")));
            info_span!("work of the scope").in_scope(|| {});
        }

        fn on_end(&self, _: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    let rig = Rig::new();
    let processor = Busy::default();
    let busy = rig.sessions.span_processor(processor.clone());
    let busy = SdkTracerProvider::builder().with_span_processor(busy).build();
    // The spans of the processor start spans of their own; the layer for OpenTelemetry sees only those outside.
    macro_rules! otel {
        () => {{
            let outside = tracing_subscriber::filter::filter_fn(|metadata| !metadata.name().contains("work"));
            tracing_opentelemetry::layer().with_tracer(busy.tracer("busy")).with_filter(outside)
        }};
    }
    let first = Dispatch::new(registry().with(otel!()).with(rig.sessions.layer()));
    let last = Dispatch::new(registry().with(rig.sessions.layer()).with(otel!()));
    for dispatch in [first, last] {
        with_default(&dispatch, || {
            busy.tracer("busy").start("direct").end();
            info_span!("scope", session.id = "chat-1").in_scope(|| {
                busy.tracer("busy").start("direct in scope").end();
                info_span!("child").in_scope(|| rig.log("after"));
            });
        });
        assert_eq!(rig.log_id("after").as_deref(), Some("chat-1"));
    }
    assert_eq!(processor.0.load(std::sync::atomic::Ordering::Relaxed), 8, "four spans, twice");
}

/// A direct span in `support` starts with an explicit copy of the current context; the tests above rely on that.
#[test]
fn a_span_of_the_rig_starts_with_a_copy_of_the_current_context() {
    let rig = Rig::new();
    let parent = rig.tracer().start("parent");
    let _attached = Context::current().with_span(parent).attach();
    let child = start_span(&rig.tracer(), "child", rig.clock.now());
    assert_eq!(child.span_context().trace_id(), Context::current().span().span_context().trace_id());
}

#[test]
fn a_leaf_is_in_the_scope_of_the_first_span_that_a_listed_layer_sees() {
    for context_activation in [true, false] {
        let way = Way { order: Order::ListedLast, context_activation, allowlist: false };
        let setup = Setup::new(way, Rig::new());
        with_default(&setup.dispatch, || {
            info_span!("scope", session.id = "chat-1").in_scope(|| info_span!("leaf").in_scope(|| info!("event")));
        });
        setup.expect_span("leaf", "chat-1");
    }
}
