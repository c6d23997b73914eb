//! The SQLite outbox: what the file is, and what it survives.

use std::path::{Path, PathBuf};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::export::failpoint;
use crate::telemetry::Loss;

/// A folder of its own for a test, gone at its end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otel-session-outbox-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("outbox.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sqlite(path: &Path) -> (Arc<Depot>, Arc<LossCounters>) {
    open(Outbox::sqlite(path), &SystemClock.into_source())
}

fn fresh(queue: u16, numbers: impl IntoIterator<Item = u128>) -> Chunk {
    let mut chunk = chunk(queue, numbers);
    chunk.accepted_at = SystemClock.into_source().moment().wall;
    chunk
}

#[test]
fn what_was_not_settled_is_there_after_reopening() {
    let folder = Folder::new("reopen");
    let (depot, _) = sqlite(&folder.file());
    let row = |value: &str| StateRow::new(1, b"key".to_vec(), Some(value.into()));
    depot.accept(vec![fresh(0, 1..=40), fresh(1, 90..=91)], vec![row("one")]).unwrap();
    depot.accept(vec![fresh(0, 41..=50)], vec![row("two"), StateRow::new(2, b"key".to_vec(), Some(vec![0]))]).unwrap();
    depot.accept(Vec::new(), vec![StateRow::new(2, b"key".to_vec(), None)]).unwrap();
    let taken = depot.take(0, &Want { max_events: 45, ..ALL });
    let odd: Vec<_> = tickets(&taken).into_iter().step_by(2).collect();
    depot.settle(0, &odd, Outcome::Delivered);
    drop(depot);

    let losses = Arc::new(LossCounters::default());
    let (depot, rows) = Depot::open(Outbox::sqlite(folder.file()), 2, SystemClock.into_source(), losses).unwrap();
    assert_eq!(rows, [row("two")]);
    let rest: Vec<u128> = (2..=44).step_by(2).chain(46..=50).collect();
    assert_eq!(numbers(&depot.take(0, &ALL)), rest);
    assert_eq!(numbers(&depot.take(1, &ALL)), [90, 91]);
}
