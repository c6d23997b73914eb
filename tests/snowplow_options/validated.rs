//! What each option makes of an event is good at a collector that validates schemas and atomic rules.

use std::time::Duration;

use opentelemetry::logs::AnyValue;
use otel_session::collector::DevCollector;
use otel_session::export::snowplow::{Anonymity, EventStyle, Method, Platform, SessionIdPolicy, StateStorage, Subject};
use otel_session::{SnowplowExporter, SnowplowExporterBuilder};

use crate::recorder::{BOUND, Recorder};
use crate::rig::{FIRST, Rig, SECOND};

type Configure = fn(SnowplowExporterBuilder) -> SnowplowExporterBuilder;

#[test]
fn every_form_of_an_event_is_good_at_a_collector() {
    let subject = || {
        Subject::new()
            .with_platform(Platform::Headset)
            .with_user_id("ada")
            .with_domain_user_id("any text")
            .with_domain_session_id(SECOND)
            .with_domain_session_index(3)
            .with_network_user_id("n1")
            .with_ip_address("192.0.2.7")
            .with_useragent("Tracker/1 (✓)")
            .with_language("en-GB")
            .with_timezone("Europe/Amsterdam")
            .with_screen_resolution(1920, 1080)
            .with_viewport(800, 600)
            .with_color_depth(24)
    };
    let forms: [(&str, Configure); 12] = [
        ("default", |builder| builder),
        ("base64", |builder| builder.with_base64(true)),
        ("get", |builder| builder.with_method(Method::Get)),
        ("plain get", |builder| builder.with_method(Method::Get).with_base64(false)),
        ("structured", |builder| builder.with_event_style(EventStyle::Structured)),
        ("entities", |builder| builder.with_resource_context(true).with_trace_context(true)),
        ("anonymous", |builder| builder.with_anonymity(Anonymity::full())),
        ("anonymous session", |builder| builder.with_anonymity(Anonymity::with_session_tracking())),
        ("server anonymous", |builder| builder.with_anonymity(Anonymity::full().with_server_anonymisation())),
        ("omit", |builder| builder.with_session_ids(SessionIdPolicy::Omit)),
        ("cookie, true time, logs", |builder| {
            builder.with_state_storage(StateStorage::Cookie).with_true_timestamps(true).with_logs(true)
        }),
        ("unannounced, ends", |builder| builder.with_number_unannounced_sessions(true).with_synthesize_end(true)),
    ];
    for (name, configure) in forms {
        for with_subject in [false, true] {
            let collector = DevCollector::start().unwrap();
            let builder = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint());
            let builder = if with_subject { builder.with_subject(subject()) } else { builder };
            let rig = Rig::around(Recorder::start(), configure(builder).build().unwrap());
            rig.named("no uuid");
            rig.start(FIRST);
            rig.event("check ✓ out!", FIRST, &[("note", "\u{0}\t\"</script>"), ("user.id", "Zoë")]);
            rig.emit("", Some(FIRST), [("load", AnyValue::Double(f64::INFINITY))], None);
            rig.event("session.start", SECOND, &[("session.previous_id", FIRST)]);
            rig.end(SECOND);
            rig.emit("checkout", None, [], None);
            let report = rig.exporter.shutdown(BOUND);
            assert_eq!((report.pending, report.dropped.total() <= 2), (0, true), "{name}: {report}");
            let arrived = usize::try_from(report.delivered).unwrap();
            assert!(arrived >= 6, "{name}: {report}");
            let all = collector.wait_until(Duration::from_secs(20), |stream| {
                stream.snowplow_good().len() + stream.snowplow_bad().len() >= arrived
            });
            let stream = collector.stream();
            assert!(all && stream.snowplow_bad().is_empty(), "{name}: {:?}", stream.snowplow_bad());
            let anonymous = stream.snowplow_good().iter().filter(|event| event.is_anonymous()).count();
            assert_eq!(anonymous, if name == "server anonymous" { arrived } else { 0 }, "{name}");
        }
    }
}
