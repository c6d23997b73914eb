//! Exporters by their namespace.

use std::time::Duration;

use otel_session::export::snowplow;
use otel_session::{BuildError, SnowplowExporter};

use crate::recorder::{BOUND, Recorder};
use crate::rig::{FIRST, Rig};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn a_namespace_is_taken_once_and_free_again_when_its_exporter_is_gone() {
    let first = snowplow::create("registry-once", NOWHERE).unwrap();
    let error = snowplow::create("registry-once", NOWHERE).unwrap_err();
    assert!(
        matches!(&error, BuildError::Setting { setting: "with_namespace", value, .. } if value.contains("registry-once"))
    );
    assert!(error.to_string().contains("snowplow::get"), "{error}");
    drop(first);
    let again = snowplow::create("registry-once", NOWHERE).unwrap();
    assert_eq!(again.pending(), 0);
    let _ = again.shutdown(Duration::ZERO);
    // Its handle is still here, but the name is not its own any more.
    assert!(snowplow::create("registry-once", NOWHERE).is_ok());
}

#[test]
fn an_exporter_is_found_by_its_namespace_until_it_is_removed() {
    assert!(snowplow::get("registry-get").is_none());
    let exporter = snowplow::create("registry-get", NOWHERE).unwrap();
    assert_eq!(snowplow::get("registry-get").unwrap().namespace(), "registry-get");
    assert!(snowplow::remove(&exporter));
    assert!(!snowplow::remove(&exporter));
    assert!(snowplow::get("registry-get").is_none());
    let second = snowplow::create("registry-get", NOWHERE).unwrap();
    assert!(snowplow::remove_by_namespace("registry-get"));
    assert!(!snowplow::remove_by_namespace("registry-get"));
    drop((exporter, second));
}

#[test]
fn an_exporter_that_has_lost_its_namespace_does_not_take_it_from_who_has_it_now() {
    let first = snowplow::create("registry-moved", NOWHERE).unwrap();
    assert!(snowplow::remove(&first));
    let second = snowplow::create("registry-moved", NOWHERE).unwrap();
    assert!(!snowplow::remove(&first), "it was not there");
    let _ = first.shutdown(Duration::ZERO);
    drop(first);
    assert!(snowplow::get("registry-moved").is_some());
    assert!(snowplow::create("registry-moved", NOWHERE).is_err(), "the second one still has it");
    assert!(snowplow::remove(&second));
}

#[test]
fn an_exporter_without_a_namespace_gets_one_that_is_free() {
    let build = || SnowplowExporter::builder().with_endpoint(NOWHERE).build().unwrap();
    let exporters = [build(), build(), build()];
    let names: std::collections::BTreeSet<_> = exporters.iter().map(|it| it.namespace().to_owned()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|it| it.starts_with("otel-session")), "{names:?}");
}

#[test]
fn a_build_that_fails_leaves_the_namespace_free() {
    assert!(SnowplowExporter::builder().with_namespace("registry-failed").build().is_err());
    let unreadable = SnowplowExporter::builder()
        .with_namespace("registry-failed")
        .with_endpoint(NOWHERE)
        .with_outbox(otel_session::export::Outbox::memory().with_max_events(0))
        .build();
    assert!(unreadable.is_err());
    assert!(snowplow::create("registry-failed", NOWHERE).is_ok());
}

/// Runs in a process of its own: it would take the other tests' exporters out of the registry.
#[test]
fn a_reset_flushes_every_exporter_and_empties_the_registry() {
    if !crate::privacy::alone("registry::a_reset_flushes_every_exporter_and_empties_the_registry", &[]) {
        return;
    }
    let rigs = [1, 2].map(|_| {
        let rig = Rig::on(Recorder::start(), |builder| {
            builder.with_batch_size(50).with_schedule_delay(Duration::from_secs(3600))
        });
        rig.start(FIRST);
        rig
    });
    assert!(snowplow::reset(BOUND));
    for rig in &rigs {
        assert_eq!(rig.collector.events().len(), 1);
        assert!(snowplow::get(rig.exporter.namespace()).is_none());
    }
    // They go on.
    rigs[0].start(crate::rig::SECOND);
    rigs[0].flush();
    assert_eq!(rigs[0].collector.events().len(), 2);

    let failing = Rig::on(Recorder::answering(|_, _| Some((503, Vec::new()))), |builder| builder);
    failing.start(FIRST);
    assert!(!snowplow::reset(Duration::from_millis(1)), "an event was left");
    assert!(snowplow::get(failing.exporter.namespace()).is_none());
}
