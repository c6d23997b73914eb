//! Where events and identities are kept.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use otel_session::SnowplowExporter;
use otel_session::export::snowplow::IdentityLifetime;
use otel_session::export::{Chunk, Commit, Opened, Outbox, OutboxError, OutboxStore, StateRow, Stored};
use otel_session::testing::ManualClock;

use crate::recorder::{BOUND, Recorder};
use crate::rig::{FIRST, Rig, SECOND};

/// A store in memory that outlives its exporters.
#[derive(Debug, Clone, Default)]
struct Store(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    chunks: Vec<(u64, Chunk)>,
    rows: Vec<StateRow>,
    next: u64,
}

impl OutboxStore for Store {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        let kept = self.0.lock().unwrap();
        let chunks = kept.chunks.iter().map(|(number, chunk)| Stored::new(*number, chunk, Vec::new())).collect();
        Ok(Opened::new(chunks, kept.rows.clone(), kept.next))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        let mut kept = self.0.lock().unwrap();
        for (number, chunk) in commit.added {
            kept.chunks.push((*number, (**chunk).clone()));
            kept.next = kept.next.max(number + 1);
        }
        for row in commit.state {
            kept.rows.retain(|old| (old.table, &old.key) != (row.table, &row.key));
            kept.rows.extend(row.value.is_some().then(|| row.clone()));
        }
        kept.chunks.retain(|(number, _)| !commit.removed.contains(number));
        Ok(())
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        let kept = self.0.lock().unwrap();
        let found = kept.chunks.iter().find(|(number, _)| *number == chunk).map(|(_, chunk)| chunk.clone());
        Ok(found.unwrap())
    }
}

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
    assert_eq!(store.0.lock().unwrap().chunks.len(), 1);
    let working = Recorder::start();
    let exporter = build(&working);
    // The same event, under its id, without anything new to wake it.
    assert_eq!(working.wait_events(1)[0].text("eid"), sent.text("eid"));
    assert!(exporter.flush(BOUND));
    assert!(store.0.lock().unwrap().chunks.is_empty());
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
            assert!(store.0.lock().unwrap().rows.is_empty());
        }
    }
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
