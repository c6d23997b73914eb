//! A store that keeps nothing, and tells of each commit with removals whether it was lazy.

use std::sync::mpsc::{Receiver, Sender, channel};

use otel_session::export::{Chunk, Commit, Opened, OutboxError, OutboxStore};

#[derive(Debug)]
pub struct Watched(Sender<bool>);

impl Watched {
    pub fn new() -> (Self, Receiver<bool>) {
        let (tell, told) = channel();
        (Self(tell), told)
    }
}

impl OutboxStore for Watched {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        Ok(Opened::default())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        if !commit.removed.is_empty() {
            let _ = self.0.send(commit.lazy);
        }
        Ok(())
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        Err(OutboxError::Store(format!("no chunk {chunk}").into()))
    }
}
