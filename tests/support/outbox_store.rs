//! A store of a user's own that outlives its exporters and can be looked into.

use std::sync::{Arc, Mutex, MutexGuard};

use otel_session::export::{Chunk, Commit, Opened, OutboxError, OutboxStore, StateRow, Stored};

#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
pub struct Kept {
    pub chunks: Vec<(u64, Chunk)>,
    pub rows: Vec<StateRow>,
    /// The tables that each commit wrote to, and how many events it added.
    pub commits: Vec<(Vec<u8>, usize)>,
    /// Whether commits fail.
    pub broken: bool,
    next: u64,
}

/// The table of whose outbox it is, that of sessions, and that of the installation.
pub const OWNER: u8 = 0;
pub const SESSIONS: u8 = 1;
pub const META: u8 = 3;

impl Store {
    pub fn look(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

impl OutboxStore for Store {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        let kept = self.look();
        let chunks = kept.chunks.iter().map(|(number, chunk)| Stored::new(*number, chunk, Vec::new())).collect();
        Ok(Opened::new(chunks, kept.rows.clone(), kept.next))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        let mut kept = self.look();
        if kept.broken {
            return Err(OutboxError::Store("told to fail".into()));
        }
        let events = commit.added.iter().map(|(_, chunk)| chunk.events.len()).sum();
        kept.commits.push((commit.state.iter().map(|row| row.table).collect(), events));
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
        let kept = self.look();
        let found = kept.chunks.iter().find(|(number, _)| *number == chunk).map(|(_, chunk)| chunk.clone());
        Ok(found.unwrap())
    }
}
