//! What is activity, and what is no signal at all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::logs::{Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::SdkLogger;
use otel_session::Signal;
use tracing::Metadata;

use super::*;

/// Idles for 20 minutes, lets `signal` happen, idles for 20 minutes more: whether the session is still alive.
fn keeps_alive(configure: impl FnOnce(&Sessions) -> SessionLayer, signal: impl FnOnce()) -> bool {
    keeps_alive_with(Activity::EverySignal, configure, signal)
}

fn keeps_alive_with(
    activity: Activity,
    configure: impl FnOnce(&Sessions) -> SessionLayer,
    signal: impl FnOnce(),
) -> bool {
    let rig = Rig::with(|builder| builder.with_activity(activity));
    let first = rig.sessions.record_activity();
    let dispatch = Dispatch::new(registry().with(configure(&rig.sessions)));
    rig.clock.advance(20 * MINUTE);
    with_default(&dispatch, signal);
    rig.clock.advance(20 * MINUTE);
    rig.sessions.current() == Some(first)
}

#[test]
fn spans_and_events_keep_the_session_alive() {
    assert!(keeps_alive(Sessions::layer, || info!("event")));
    assert!(keeps_alive(Sessions::layer, || drop(info_span!("span"))));
    assert!(!keeps_alive(Sessions::layer, || {}));
}

#[test]
fn entering_and_leaving_a_span_is_no_activity() {
    let rig = Rig::new();
    let dispatch = Dispatch::new(registry().with(rig.sessions.layer()));
    with_default(&dispatch, || {
        let span = info_span!("span");
        rig.clock.advance(20 * MINUTE);
        span.in_scope(|| {});
        drop(span);
        rig.clock.advance(20 * MINUTE);
    });
    assert!(rig.sessions.current().is_none());
}

#[test]
fn what_is_more_verbose_than_the_level_is_none() {
    let warnings = |sessions: &Sessions| sessions.layer().with_activity_level(LevelFilter::WARN);
    assert!(keeps_alive(warnings, || tracing::warn!("event")));
    assert!(!keeps_alive(warnings, || info!("event")));
    assert!(!keeps_alive(warnings, || drop(info_span!("span"))));
    assert!(!keeps_alive(|it| it.layer().with_activity_level(LevelFilter::OFF), || tracing::error!("event")));
}

#[test]
fn targets_and_filters_say_what_counts() {
    let targets = || Targets::new().with_target("shop", LevelFilter::INFO).with_target("hyper", LevelFilter::WARN);
    let shop = |sessions: &Sessions| sessions.layer().with_activity_targets(targets());
    assert!(keeps_alive(shop, || info!(target: "shop::cart", "event")));
    assert!(!keeps_alive(shop, || tracing::debug!(target: "shop::cart", "event")));
    assert!(!keeps_alive(shop, || info!("event")));
    assert!(keeps_alive(shop, || tracing::warn!(target: "hyper", "event")));

    let clicks = |sessions: &Sessions| {
        sessions.layer().with_activity_filter(|metadata| metadata.is_span() && metadata.name() == "click")
    };
    assert!(keeps_alive(clicks, || drop(info_span!("click"))));
    assert!(!keeps_alive(clicks, || drop(info_span!("tick"))));
    assert!(!keeps_alive(clicks, || info!("event")));
}

#[test]
fn the_activity_of_the_sessions_is_asked_with_kind_name_target_and_severity() {
    let asked = |activity| move |signal: fn()| keeps_alive_with(activity, Sessions::layer, signal);
    assert!(!asked(Activity::Explicit)(|| info!("event")));
    let spans = Activity::filter(|signal| signal.kind() == SignalKind::TracingSpan && signal.name() == Some("click"));
    assert!(asked(spans.clone())(|| drop(info_span!("click"))));
    assert!(!asked(spans)(|| info!(name: "click", "event")));
    let errors = Activity::filter(|signal| {
        signal.kind() == SignalKind::TracingEvent
            && signal.severity() == Some(Severity::Error)
            && signal.target() == Some("shop")
    });
    assert!(asked(errors.clone())(|| tracing::error!(target: "shop", "event")));
    assert!(!asked(errors)(|| tracing::warn!(target: "shop", "event")));
}

#[test]
fn a_filter_that_panics_counts_as_activity_and_is_counted() {
    let rig = Rig::new();
    let layer = rig.sessions.layer().with_activity_filter(|_| panic!("the application's filter"));
    let first = rig.sessions.record_activity();
    rig.clock.advance(20 * MINUTE);
    with_default(&Dispatch::new(registry().with(layer)), || info!("event"));
    rig.clock.advance(20 * MINUTE);
    assert_eq!(rig.sessions.current(), Some(first));
    assert_eq!(rig.sessions.losses().count(Loss::FilterPanic), 1);
}

#[test]
fn a_filter_that_logs_is_not_asked_about_that_and_its_logs_are_no_activity() {
    static LOGGER: OnceLock<SdkLogger> = OnceLock::new();
    static DISPATCH: OnceLock<Dispatch> = OnceLock::new();
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn log() {
        let logger = LOGGER.get().unwrap();
        logger.emit(logger.create_log_record());
    }
    let of_sessions = |signal: &Signal<'_>| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        log();
        // Only where `tracing` did not call: it has no thread's subscriber exchanged while it does.
        if signal.kind() == SignalKind::Log {
            with_default(DISPATCH.get().unwrap(), || info_span!("asked").in_scope(|| info!("asked")));
        }
        false
    };
    let of_layer = |_: &Metadata<'_>| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        log();
        true
    };
    let rig = Rig::with(|builder| builder.with_activity(Activity::filter(of_sessions)));
    let layer = rig.sessions.layer().with_activity_filter(of_layer);
    let dispatch = DISPATCH.get_or_init(|| Dispatch::new(registry().with(layer)));
    LOGGER.set(rig.loggers.logger("filter")).unwrap();

    let session = rig.sessions.record_activity();
    rig.clock.advance(TIMEOUT - MINUTE);
    with_default(dispatch, || info!("accepted by one of two"));
    assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    rig.log("not accepted");
    assert_eq!(ASKED.load(Ordering::Relaxed), 3);
    rig.clock.advance(MINUTE);
    assert_ne!(rig.sessions.record_activity().id(), session.id());
}

#[test]
fn the_traffic_of_exporters_neither_keeps_a_session_alive_nor_starts_one() {
    let traffic: [fn(); 5] = [
        || tracing::trace!(target: "h2::proto::streams", "event"),
        || drop(info_span!(target: "hyper_util::client::legacy", "span")),
        || info!(target: "opentelemetry_sdk", "event"),
        || info!(target: "log", { log.target = "rustls::client" }, "a record of the log crate"),
        || {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            info!("event");
            drop(info_span!("span"));
        },
    ];
    for traffic in traffic {
        assert!(!keeps_alive(Sessions::layer, traffic));
        let rig = Rig::new();
        with_default(&Dispatch::new(registry().with(rig.sessions.layer())), traffic);
        assert!(rig.sessions.current().is_none());
    }
    assert!(keeps_alive(Sessions::layer, || info!(target: "hyperspace", "event")));
    assert!(keeps_alive(Sessions::layer, || info!(target: "tower_defence", "event")));
    assert!(keeps_alive(Sessions::layer, || info!(target: "log", { log.target = "shop" }, "event")));
}

#[test]
fn the_bridged_logs_of_exporters_do_not_keep_a_session_alive_either() {
    let rig = Rig::new();
    let bridge = OpenTelemetryTracingBridge::new(&rig.loggers);
    let dispatch = Dispatch::new(registry().with(rig.sessions.layer()).with(bridge));
    let first = rig.sessions.record_activity();
    rig.clock.advance(20 * MINUTE);
    with_default(&dispatch, || tracing::debug!(target: "h2::codec", "frame"));
    rig.clock.advance(20 * MINUTE);
    assert!(rig.sessions.current().is_none());
    assert_eq!(rig.log_id("frame").as_deref(), Some(first.id()));
}

#[test]
fn what_is_no_activity_still_starts_a_session_when_there_is_none() {
    let rig = Rig::with(|builder| builder.with_activity(Activity::Explicit));
    let dispatch = Dispatch::new(registry().with(rig.sessions.layer().with_activity_level(LevelFilter::OFF)));
    with_default(&dispatch, || info!("event"));
    let first = rig.sessions.current().expect("a signal starts a session");
    rig.clock.advance(TIMEOUT);
    assert!(rig.sessions.current().is_none());
    with_default(&dispatch, || drop(info_span!("span")));
    assert_eq!(rig.sessions.current().unwrap().previous_id(), Some(first.id()));
}

#[test]
fn a_rotation_by_a_tracing_signal_gives_its_spans_and_logs_the_new_session() {
    in_every_way(|setup| {
        let first = setup.session();
        setup.rig.clock.advance(TIMEOUT);
        info_span!("span").in_scope(|| info!("event"));
        let second = setup.rig.sessions.current().unwrap();
        assert_eq!(second.previous_id(), Some(first.as_str()));
        setup.expect_log("event", second.id());
        setup.expect_span("span", second.id());
    });
}
