//! A store as a user might write one, which can be made to fail.

use std::collections::BTreeMap;

use super::*;
use crate::sync::Mutex;

/// Clones are the same shelf: dropping a depot and opening another one on a clone is a crash and a restart.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    chunks: BTreeMap<u64, Chunk>,
    done: BTreeMap<u64, Vec<u8>>,
    /// The two as they would be after a loss of power.
    on_disk: (BTreeMap<u64, Chunk>, BTreeMap<u64, Vec<u8>>),
    state: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    next: u64,
    commits: u64,
    lazy: u64,
    trouble: Option<Trouble>,
    meanwhile: Meanwhile,
}

/// What happens while the next commit is under way.
#[derive(Default)]
struct Meanwhile(Option<Box<dyn FnOnce() + Send>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Commits,
    Reads,
    Corruption,
    Panic,
}

impl Shelf {
    pub(super) fn has(&self, trouble: Option<Trouble>) {
        self.0.lock().trouble = trouble;
    }

    pub(super) fn meanwhile(&self, act: impl FnOnce() + Send + 'static) {
        self.0.lock().meanwhile = Meanwhile(Some(Box::new(act)));
    }

    pub(super) fn commits(&self) -> u64 {
        self.0.lock().commits
    }

    /// Commits that need not reach the disk at once.
    pub(super) fn lazy(&self) -> u64 {
        self.0.lock().lazy
    }

    pub(super) fn chunks(&self) -> usize {
        self.0.lock().chunks.len()
    }

    /// What was committed lazily since the last other commit is undone.
    pub(super) fn lose_power(&self) {
        let mut content = self.0.lock();
        (content.chunks, content.done) = content.on_disk.clone();
    }

    pub(super) fn state(&self) -> Vec<StateRow> {
        let content = self.0.lock();
        content
            .state
            .iter()
            .map(|((table, key), value)| StateRow::new(*table, key.clone(), Some(value.clone())))
            .collect()
    }
}

impl OutboxStore for Shelf {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        let content = self.0.lock();
        let stored = |(number, chunk): (&u64, &Chunk)| {
            Stored::new(*number, chunk, content.done.get(number).cloned().unwrap_or_default())
        };
        let chunks = content.chunks.iter().map(stored).collect();
        let next = content.next;
        drop(content);
        Ok(Opened::new(chunks, self.state(), next))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        let meanwhile = self.0.lock().meanwhile.0.take();
        meanwhile.into_iter().for_each(|act| act());
        let mut content = self.0.lock();
        match content.trouble {
            Some(Trouble::Commits) => return Err(OutboxError::Store("no room on the shelf".into())),
            Some(Trouble::Panic) => panic!("the shelf falls down"),
            _ => {}
        }
        assert!(!commit.lazy || commit.added.is_empty() && commit.state.is_empty(), "only removals may be lost");
        content.commits += 1;
        content.lazy += u64::from(commit.lazy);
        for (number, chunk) in commit.added {
            assert!(*number >= content.next, "numbers grow");
            content.next = number + 1;
            content.chunks.insert(*number, Chunk::clone(chunk));
        }
        for (number, bits) in commit.done {
            assert!(content.chunks.contains_key(number), "only what is there can be done in part");
            assert!(!commit.removed.contains(number), "a note on what is removed would be left for a later chunk");
            content.done.insert(*number, bits.clone());
        }
        for number in commit.removed {
            assert!(content.chunks.remove(number).is_some(), "only what is there can be removed");
            content.done.remove(number);
        }
        for row in commit.state {
            let key = (row.table, row.key.clone());
            match &row.value {
                Some(value) => _ = content.state.insert(key, value.clone()),
                None => _ = content.state.remove(&key),
            }
        }
        if !commit.lazy {
            content.on_disk = (content.chunks.clone(), content.done.clone());
        }
        Ok(())
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        let content = self.0.lock();
        match content.trouble {
            Some(Trouble::Reads) => Err(OutboxError::Store("too dark to read".into())),
            Some(Trouble::Corruption) => Ok(Chunk::new(0, 0, 0)),
            _ => Ok(content.chunks[&chunk].clone()),
        }
    }
}
