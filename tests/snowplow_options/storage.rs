//! Where events and identities are kept.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use otel_session::SnowplowExporter;
use otel_session::export::Outbox;
use otel_session::export::snowplow::IdentityLifetime;
use otel_session::testing::ManualClock;

use crate::recorder::{BOUND, Recorder};
use crate::rig::{FIRST, Rig, SECOND};
use crate::store::{OWNER, SESSIONS, Store};

#[test]
fn a_store_of_ones_own_keeps_the_events() {
    let store = Store::default();
    let build = |collector: &Recorder| {
        SnowplowExporter::builder()
            .with_endpoint(collector.url())
            .with_namespace("storage-own")
            .with_outbox(Outbox::custom(store.clone()))
            .build()
            .unwrap()
    };
    let broken = Recorder::status(503);
    let exporter = build(&broken);
    let rig = Rig::around(broken, exporter);
    rig.start(FIRST);
    let sent = rig.collector.wait_events(1).remove(0);
    assert_eq!(rig.exporter.shutdown(Duration::from_millis(20)).pending, 1);
    drop(rig);
    assert_eq!(store.look().chunks.len(), 1);
    let working = Recorder::start();
    let exporter = build(&working);
    // The same event, under its id, without anything new to wake it.
    assert_eq!(working.wait_events(1)[0].text("eid"), sent.text("eid"));
    assert!(exporter.flush(BOUND));
    assert!(store.look().chunks.is_empty());
}

/// So a collector may move; but one that is left out or put elsewhere leaves its events to the next in its place.
#[test]
fn what_waits_belongs_to_the_place_of_its_collector_among_the_others() {
    let store = Store::default();
    let run = |collectors: &[&Recorder]| {
        let builder = SnowplowExporter::builder().with_namespace("storage-places");
        let each = |builder: otel_session::SnowplowExporterBuilder, it: &&Recorder| builder.with_endpoint(it.url());
        collectors.iter().fold(builder, each).with_outbox(Outbox::custom(store.clone())).build().unwrap()
    };
    let (down, up) = (Recorder::status(503), Recorder::start());
    let rig = Rig::around(up.clone(), run(&[&down, &up]));
    rig.start(FIRST);
    let sent = up.wait_events(1).remove(0);
    assert_eq!(rig.exporter.shutdown(Duration::from_millis(200)).pending, 1);
    drop(rig);
    let elsewhere = Recorder::start();
    let exporter = run(&[&elsewhere, &up]);
    assert!(exporter.flush(BOUND));
    assert_eq!(elsewhere.events()[0].text("eid"), sent.text("eid"));
    assert_eq!(up.events().len(), 1, "which has it already");
}

#[test]
fn an_identity_lasts_as_long_as_it_is_told_to() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    for (lifetime, away, same) in [
        (IdentityLifetime::default(), 700 * DAY, true),
        (IdentityLifetime::default(), 731 * DAY, false),
        (IdentityLifetime::For(DAY), DAY / 2, true),
        (IdentityLifetime::For(DAY), DAY, false),
        (IdentityLifetime::Process, Duration::ZERO, false),
        (IdentityLifetime::NotPersisted, Duration::ZERO, false),
    ] {
        let (store, begin) = (Store::default(), SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let run = |session: &str, now: SystemTime| {
            let collector = Recorder::start();
            let exporter = SnowplowExporter::builder()
                .with_endpoint(collector.url())
                .with_namespace("storage-identity")
                .with_identity_lifetime(lifetime)
                .with_clock(ManualClock::new(now))
                .with_outbox(Outbox::custom(store.clone()))
                .build()
                .unwrap();
            let rig = Rig::around(collector, exporter);
            rig.start(session);
            let entity = rig.collector.wait_events(1)[0].entity("client_session").unwrap();
            assert_eq!(rig.exporter.shutdown(BOUND).pending, 0);
            entity
        };
        let (first, second) = (run(FIRST, begin), run(SECOND, begin + away));
        assert_eq!(first["userId"] == second["userId"], same, "{lifetime:?} {away:?}");
        assert_eq!(second["sessionIndex"], if same { 2 } else { 1 }, "{lifetime:?} {away:?}");
        if lifetime == IdentityLifetime::NotPersisted {
            assert!(store.look().rows.iter().all(|row| row.table == OWNER), "nothing of the user");
        }
    }
}

#[test]
fn who_opted_out_while_the_outbox_failed_is_forgotten_there_when_the_exporter_goes() {
    let store = Store::default();
    let rig =
        Rig::with(|builder| builder.with_namespace("storage-forgotten").with_outbox(Outbox::custom(store.clone())));
    rig.start(FIRST);
    rig.flush();
    // A provider that goes flushes, which would try again.
    rig.loggers.shutdown().unwrap();
    let sessions = || store.look().rows.iter().filter(|row| row.table == SESSIONS).count();
    store.look().broken = true;
    rig.exporter.set_opt_out(true);
    assert_eq!(sessions(), 1);
    store.look().broken = false;
    drop(rig);
    assert_eq!(sessions(), 0);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_sqlite_file_is_said_to_be_one() {
    let path: PathBuf = std::env::temp_dir().join(format!("b-opts-{}.db", std::process::id()));
    let rig = Rig::with(|builder| builder.with_namespace("storage-sqlite").with_outbox(Outbox::sqlite(&path)));
    rig.start(FIRST);
    let session = rig.collector.wait_events(1)[0].entity("client_session").unwrap();
    assert_eq!(session["storageMechanism"], "SQLITE");
    drop(rig);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
