//! An outbox in a SQLite file.
//!
//! - One connection, exclusive lock: a second opener, in this process or another one, gets [`OutboxError::Locked`].
//! - One transaction a commit, in a write-ahead log. With [`Synchronous::Full`] it is on the disk when it returns, unless it is
//!   [lazy](Commit::lazy).
//! - A chunk is a row, its events a blob: 50 events cost one insert and one delete. Which events of a chunk are done stands
//!   in a table of its own, so that settling one of them does not write the others again.
//! - The events of a chunk are much alike, so they are packed with LZ4: what the disk has to take in before a commit returns
//!   is a quarter.
//! - Nothing that is read is trusted: numbers are range-checked and lengths compared before anything is allocated for them,
//!   and a chunk has a sum, since SQLite takes what a disk gives back for what was written.

mod opening;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Commit, Opened, Outbox, OutboxError, OutboxStore, StateRow};
use crate::export::{Chunk, ChunkEvent};

/// When a commit to a SQLite outbox counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// When it is on the disk: it survives a loss of power. The default.
    #[default]
    Full,
    /// When the operating system has it: it survives the end of the process, killed or not, but the last commits may be
    /// lost with the power. The file stays sound.
    Normal,
}

impl Synchronous {
    /// What SQLite calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

impl Outbox {
    /// An outbox in a SQLite file, which is created if need be, readable by its owner only. It is opened, and locked, by
    /// the exporter's `build()`; the folder must exist. Every exporter needs a file of its own.
    ///
    /// The file is held by its process until the exporter is gone; a child that is forked from it stores nothing. Events are
    /// packed in it with LZ4, batch by batch: those of one program are much alike, and batches of 50 take some 0.2 to 0.3 of
    /// what they count against the [size limit](Outbox::with_max_bytes). What cannot be packed takes a few hundredths more than
    /// it counts, at worst three quarters more, where batches are just over half a page of 4 kB. Beside the file stands a log
    /// (`-wal`) of 16 MiB and the largest commit. After an outage the file shrinks step by step to at most twice what waits and
    /// 16 MiB. What was delivered may stay legible in it until its place is used again.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self { sqlite: true, ..Self::of(Some(Box::new(SqliteStore::new(path.into())))) }
    }

    /// When a commit counts as stored. Only for [`Outbox::sqlite`]. Default: [`Synchronous::Full`].
    pub fn with_synchronous(mut self, synchronous: Synchronous) -> Self {
        let store: Option<&mut dyn std::any::Any> = self.store.as_deref_mut().map(|store| store as _);
        match store.and_then(|store| store.downcast_mut::<SqliteStore>()) {
            Some(store) => store.synchronous = synchronous,
            None => self.misplaced = Some(("with_synchronous", format!("{synchronous:?}"))),
        }
        self
    }
}

/// A store in a SQLite file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    synchronous: Synchronous,
    pub(super) connection: Option<Connection>,
    /// Room for the blob of a chunk in the making; never shortened, so that it need not be filled with zeros again.
    body: Vec<u8>,
    /// Commits with removals since free pages were counted.
    removals: u32,
    /// What SQLite was told last about when a commit counts as stored.
    level: Synchronous,
    /// The process that opened it.
    pub(super) owner: u32,
}

impl SqliteStore {
    pub(super) fn new(path: PathBuf) -> Self {
        let synchronous = Synchronous::default();
        let (level, owner) = (synchronous, std::process::id());
        Self { path, synchronous, connection: None, body: Vec::new(), removals: 0, level, owner }
    }

    /// A child that was forked has the connection too, but not the lock: two that write the log by what each remembers of it
    /// destroy it.
    fn is_inherited(&self) -> bool {
        self.owner != std::process::id()
    }

    fn fault(&self, error: rusqlite::Error) -> OutboxError {
        opening::fault(&self.path, error)
    }
}

impl OutboxStore for SqliteStore {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        // An absolute path stays what it is when the process changes its folder, and never means SQLite's own `:memory:`.
        let path = std::path::absolute(&self.path)
            .map_err(|error| OutboxError::Io { path: self.path.clone(), source: error.into() })?;
        let (connection, opened) = opening::open(&path, self.synchronous)?;
        self.connection = Some(connection);
        self.level = self.synchronous;
        self.owner = std::process::id();
        self.path = path;
        Ok(opened)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        if self.is_inherited() {
            return Err(OutboxError::Locked { path: self.path.clone() });
        }
        let Some(connection) = &self.connection else { return Err(not_open(&self.path)) };
        if is_empty(commit) && self.synchronous == Synchronous::Normal {
            // No commit waits for the disk, so there is nothing to catch up with.
            return Ok(());
        }
        let vacuum = !commit.removed.is_empty() && {
            self.removals += 1;
            self.removals.is_multiple_of(COUNT_EVERY)
        };
        let level = if commit.lazy { Synchronous::Normal } else { self.synchronous };
        let result = set_level(connection, &mut self.level, level).and_then(|()| {
            transaction(connection, || {
                write(connection, commit, &mut self.body)?;
                if is_empty(commit) {
                    // Something, or SQLite would not wait for the disk.
                    opening::write_version(connection)?;
                }
                if vacuum { shrink(connection) } else { Ok(()) }
            })
        });
        // A huge event must not be remembered by its buffer.
        if self.body.len() > 1 << 20 {
            self.body = Vec::new();
        }
        result.map_err(|error| self.fault(error))
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        if self.is_inherited() {
            return Err(OutboxError::Locked { path: self.path.clone() });
        }
        let Some(connection) = &self.connection else { return Err(not_open(&self.path)) };
        read(connection, chunk).map_err(|error| self.fault(error))?.ok_or_else(|| OutboxError::Corrupt {
            place: self.path.display().to_string(),
            problem: format!("chunk {chunk} is not what was stored"),
        })
    }
}

impl Drop for SqliteStore {
    /// A forked child does not close it: that would delete the log of the one that has it open.
    fn drop(&mut self) {
        if self.is_inherited() {
            std::mem::forget(self.connection.take());
        }
    }
}

/// How many commits with removals pass before free pages are counted, and how many free pages of 4 kB are kept for the
/// next events in any case.
const COUNT_EVERY: u32 = 16;
const KEEP_PAGES: i64 = 4096;

/// The length of what stands before a chunk's payload for each event: id, length, lane.
const HEAD: usize = 24;

fn not_open(path: &Path) -> OutboxError {
    OutboxError::Io { path: path.to_owned(), source: "it was not opened".into() }
}

/// Whether there is nothing to store: then it is to bring to the disk what was committed before.
fn is_empty(commit: &Commit<'_>) -> bool {
    commit.added.is_empty() && commit.state.is_empty() && commit.done.is_empty() && commit.removed.is_empty()
}

/// Runs all of it, or nothing.
fn transaction(connection: &Connection, run: impl FnOnce() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    roll_back(connection)?;
    execute(connection, "BEGIN IMMEDIATE")?;
    let result = run().and_then(|()| execute(connection, "COMMIT"));
    if result.is_err() {
        // If this fails too, the next transaction tries it again; the first error is the one to tell.
        let _ = roll_back(connection);
    }
    result
}

/// Takes back a transaction that was not ended, if there is one.
fn roll_back(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() { Ok(()) } else { execute(connection, "ROLLBACK") }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Tells SQLite when the next commits count as stored.
fn set_level(connection: &Connection, told: &mut Synchronous, level: Synchronous) -> rusqlite::Result<()> {
    if *told != level {
        // Within a transaction it would be refused.
        roll_back(connection)?;
        connection.pragma_update(None, "synchronous", level.name())?;
        *told = level;
    }
    Ok(())
}

fn write(connection: &Connection, commit: &Commit<'_>, body: &mut Vec<u8>) -> rusqlite::Result<()> {
    // First, so that what is added finds the pages free.
    let mut removed = commit.removed.to_vec();
    removed.sort_unstable();
    for run in removed.chunk_by(|one, next| one + 1 == *next) {
        let range = params![run[0], run[run.len() - 1]];
        connection.prepare_cached("DELETE FROM chunk WHERE number BETWEEN ?1 AND ?2")?.execute(range)?;
        connection.prepare_cached("DELETE FROM settled WHERE number BETWEEN ?1 AND ?2")?.execute(range)?;
    }
    for (number, bits) in commit.done {
        let mut settled =
            connection.prepare_cached("INSERT OR REPLACE INTO settled (number, events) VALUES (?1, ?2)")?;
        settled.execute(params![number, bits])?;
    }
    for (number, chunk) in commit.added {
        let body = encode(chunk, body);
        let mut insert = connection.prepare_cached(
            "INSERT INTO chunk (number, queue, mode, accepted_at, events, bytes, sum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let (events, bytes) = (chunk.events.len() as u64, chunk.bytes.len() as u64);
        let sum = sum(*number, (chunk.queue, chunk.mode, chunk.accepted_at), body);
        insert.execute(params![number, chunk.queue, chunk.mode, chunk.accepted_at, events, bytes, sum, body])?;
    }
    if commit.state.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO state (kind, key, value) VALUES (?1, ?2, ?3)")?;
    let mut delete = connection.prepare_cached("DELETE FROM state WHERE kind = ?1 AND key = ?2")?;
    for StateRow { table, key, value } in commit.state {
        match value {
            Some(value) => put.execute(params![table, key, value])?,
            None => delete.execute(params![table, key])?,
        };
    }
    Ok(())
}

/// Gives pages back to the file system when most of the file is free: after an outage. 4 MiB at a time, since it takes part
/// in a commit.
fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    let count = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let (free, all) = (count("PRAGMA freelist_count")?, count("PRAGMA page_count")?);
    if free > KEEP_PAGES && free > all / 2 {
        // A row a page: it has to be asked for every one.
        let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}

/// The blob of a chunk: the heads of its events, and their bytes, packed if that makes them shorter.
fn encode<'a>(chunk: &Chunk, room: &'a mut Vec<u8>) -> &'a [u8] {
    let start = chunk.events.len() * HEAD;
    let needed = start + lz4_flex::block::get_maximum_output_size(chunk.bytes.len());
    if room.len() < needed {
        room.resize(needed, 0);
    }
    let (heads, payload) = room.split_at_mut(start);
    for (head, event) in heads.chunks_exact_mut(HEAD).zip(&chunk.events) {
        head[..16].copy_from_slice(event.id.as_bytes());
        head[16..20].copy_from_slice(&event.len.to_le_bytes());
        head[20..].copy_from_slice(&event.lane.to_le_bytes());
    }
    let packed = lz4_flex::block::compress_into(&chunk.bytes, payload).ok();
    let len = packed.filter(|len| *len < chunk.bytes.len()).unwrap_or_else(|| {
        payload[..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
        chunk.bytes.len()
    });
    &room[..start + len]
}

/// Reads a chunk; `None` if it is not there, or is not what was stored.
fn read(connection: &Connection, number: u64) -> rusqlite::Result<Option<Chunk>> {
    // The lengths are compared before SQLite loads the blob.
    let mut select = connection.prepare_cached(
        "SELECT queue, mode, accepted_at, events, bytes, sum, body FROM chunk WHERE number = ?1 AND length(body) <= events * 24 + bytes",
    )?;
    let chunk = select.query_row([number], |row| {
        let body = row.get_ref(6)?.as_blob().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(6, rusqlite::types::Type::Blob, Box::new(error))
        })?;
        let (queue, mode, accepted_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if row.get::<_, i64>(5)? != i64::from(sum(number, (queue, mode, accepted_at), body)) {
            return Ok(None);
        }
        let decoded = decode(body, row.get(3)?, row.get(4)?);
        Ok(decoded.map(|(events, bytes)| Chunk::from_parts(queue, mode, accepted_at, events, bytes)))
    });
    Ok(chunk.optional()?.flatten())
}

/// A sum over what is stored of a chunk, but for the lengths, which the blob has to fit. One byte that has changed would spoil
/// the whole request: a collector answers 200 and then cannot read it.
fn sum(number: u64, (queue, mode, accepted_at): (u16, u8, i64), body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number.to_le_bytes());
    sum.update(&queue.to_le_bytes());
    sum.update(&[mode]);
    sum.update(&accepted_at.to_le_bytes());
    sum.update(body);
    sum.finalize()
}

fn decode(body: &[u8], events: usize, bytes: usize) -> Option<(Vec<ChunkEvent>, Vec<u8>)> {
    let (heads, payload) = body.split_at_checked(events.checked_mul(HEAD)?)?;
    let events: Vec<_> = heads.chunks_exact(HEAD).map(event).collect();
    let sum: u64 = events.iter().map(|event| u64::from(event.len)).sum();
    (sum == bytes as u64).then_some(())?;
    Some((events, unpack(payload, bytes)?))
}

/// What was packed, if it has this length. What is as long was not packed.
fn unpack(payload: &[u8], bytes: usize) -> Option<Vec<u8>> {
    if payload.len() == bytes {
        return Some(payload.to_vec());
    }
    // LZ4 says at most 255 bytes with one: a few bytes do not make us allocate what they only claim.
    if bytes / 255 > payload.len() {
        return None;
    }
    let mut unpacked = vec![0; bytes];
    let len = lz4_flex::block::decompress_into(payload, &mut unpacked).ok()?;
    (len == bytes).then_some(unpacked)
}

fn event(head: &[u8]) -> ChunkEvent {
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| head[at + index]));
    ChunkEvent::new(Uuid::from_bytes(std::array::from_fn(|index| head[index])), number(16), number(20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(lens: &[u16], bytes: &[u8], period: usize) -> Chunk {
        let mut chunk = Chunk::new(0, 0, 0);
        for (number, len) in lens.iter().enumerate() {
            let event: Vec<u8> = (0..usize::from(*len)).map(|at| bytes[(at + number) % period]).collect();
            chunk.push(Uuid::from_u128(number as u128), number as u32, &event);
        }
        chunk
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_chunk_comes_back_from_its_blob(
            lens in prop::collection::vec(0_u16..2_000, 0..50),
            bytes in prop::collection::vec(any::<u8>(), 1..4_000),
            before in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let chunk = chunk(&lens, &bytes, bytes.len());
            // What was left in the room by a chunk before must not matter.
            let mut room = before;
            let blob = encode(&chunk, &mut room).to_vec();
            prop_assert!(blob.len() <= chunk.events.len() * HEAD + chunk.bytes.len());
            prop_assert_eq!(decode(&blob, chunk.events.len(), chunk.bytes.len()), Some((chunk.events, chunk.bytes)));
        }

        #[test]
        fn a_blob_that_was_tampered_with_is_refused_or_has_the_lengths_it_says(
            lens in prop::collection::vec(0_u16..300, 1..50),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let chunk = chunk(&lens, b"a few words again and again", 27);
            let mut room = Vec::new();
            let mut blob = encode(&chunk, &mut room).to_vec();
            blob.truncate(blob.len() - cut.index(3).min(blob.len()));
            for (place, byte) in changes {
                if !blob.is_empty() {
                    let place = place.index(blob.len());
                    blob[place] = byte;
                }
            }
            if let Some((events, bytes)) = decode(&blob, chunk.events.len(), chunk.bytes.len()) {
                prop_assert_eq!(events.iter().map(|it| it.len as usize).sum::<usize>(), bytes.len());
                prop_assert_eq!(bytes.len(), chunk.bytes.len());
            }
        }
    }

    #[test]
    fn a_payload_that_packs_to_just_its_own_length_comes_back_as_well() {
        let next = |word: &u32| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let noise: Vec<u8> = std::iter::successors(Some(1), next).take(1_500).map(|word| (word >> 24) as u8).collect();
        let mut exact = 0;
        for (len, repeated) in (100..1_500).step_by(50).flat_map(|len| (0..40).map(move |repeated| (len, repeated))) {
            let bytes = [&noise[..len], &noise[..repeated]].concat();
            exact += usize::from(lz4_flex::block::compress(&bytes).len() == bytes.len());
            let mut chunk = Chunk::new(0, 0, 0);
            chunk.push(Uuid::nil(), 0, &bytes);
            let blob = encode(&chunk, &mut Vec::new()).to_vec();
            assert!(decode(&blob, 1, bytes.len()) == Some((chunk.events, bytes)), "{len}, {repeated}");
        }
        assert!(exact > 0, "which is what this is about");
    }

    #[test]
    fn what_unpacks_to_less_than_it_says_is_refused() {
        let literal = [0x10, b'x'];
        assert_eq!((unpack(&literal, 1), unpack(&literal, 5)), (Some(b"x".to_vec()), None));
    }

    #[test]
    fn a_few_bytes_do_not_claim_a_large_chunk() {
        let mut head = [0; HEAD];
        head[16..20].copy_from_slice(&(200_u32 << 20).to_le_bytes());
        let blob = [&head[..], &[0x1f, b'x', 1, 0, 0xff, 0xff, 0xff]].concat();
        let allocated = allocation_counter::measure(|| assert_eq!(decode(&blob, 1, 200 << 20), None));
        assert!(allocated.bytes_max < 1_000, "{} bytes", allocated.bytes_max);
    }
}
