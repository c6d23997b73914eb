//! The SQLite outbox: what the file is, and what it survives.

use std::path::{Path, PathBuf};

use super::*;
use crate::export::outbox::sqlite::SqliteStore;
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

pub(super) fn sqlite(path: &Path) -> (Arc<Depot>, Arc<LossCounters>) {
    open(Outbox::sqlite(path), &SystemClock.into_source())
}

fn refused(path: impl Into<PathBuf>) -> OutboxError {
    let losses = Arc::new(LossCounters::default());
    match Depot::open(Outbox::sqlite(path), 2, SystemClock.into_source(), losses).map(drop) {
        Err(BuildError::Outbox(error)) => *error.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Changes the file behind the outbox's back.
fn tamper(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Every file of a folder with its content, but for empty ones.
fn content(folder: &Folder) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .filter(|(_, content)| !content.is_empty())
        .collect()
}

fn with_events(name: &str) -> Folder {
    let folder = Folder::new(name);
    let (depot, _) = sqlite(&folder.file());
    depot.accept(vec![fresh(0, 1..=120)], vec![StateRow::new(1, vec![1], Some(vec![2]))]).unwrap();
    folder
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

#[test]
fn a_second_opener_gets_an_error_that_names_the_path() {
    let folder = Folder::new("locked");
    let (depot, _) = sqlite(&folder.file());
    let error = refused(folder.file());
    assert!(matches!(error, OutboxError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&folder.file().display().to_string()), "{error}");
    // The refusal must not have cost the first one its lock, which a closed file descriptor would.
    assert!(crash::child("hold", &folder, &[]).is_err());
    depot.accept(vec![fresh(0, 1..=3)], Vec::new()).unwrap();
    drop(depot);
    assert_eq!(sqlite(&folder.file()).0.pending(0).events, 3);
}

#[test]
fn a_forked_child_neither_writes_nor_closes_what_its_parent_has_open() {
    let folder = Folder::new("forked");
    let mut store = SqliteStore::new(folder.file());
    store.open().unwrap();
    let added = [(0, Arc::new(chunk(0, 0..50)))];
    store.commit(&Commit { added: &added, ..Commit::default() }).unwrap();
    let before = content(&folder);
    assert!(before.iter().any(|(path, _)| path.ends_with("outbox.db-wal")));
    // As a child sees it.
    store.owner += 1;
    let removed = Commit { removed: &[0], ..Commit::default() };
    assert!(matches!(store.commit(&removed), Err(OutboxError::Locked { .. })));
    assert!(matches!(store.read(0), Err(OutboxError::Locked { .. })));
    drop(store);
    assert!(content(&folder) == before);
}

#[test]
fn the_file_is_for_its_owner_only() {
    let folder = with_events("mode");
    let (_depot, _) = sqlite(&folder.file());
    #[cfg(unix)]
    for (path, _) in content(&folder) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn the_file_is_set_up_for_chunks_and_durability() {
    let folder = with_events("setup");
    let mut store = SqliteStore::new(folder.file());
    store.open().unwrap();
    let pragma = |name: &str| {
        store
            .connection
            .as_ref()
            .unwrap()
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    for (name, value) in [("page_size", 4096), ("synchronous", 2), ("auto_vacuum", 2), ("user_version", 1)] {
        assert_eq!(pragma(name), value.into(), "{name}");
    }
    assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
    // What SQLite got wrong in its log before 3.51.3 is why it is bundled.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn only_a_lazy_commit_waits_for_no_disk_and_one_of_nothing_does_after_it() {
    let folder = Folder::new("lazy");
    let mut store = SqliteStore::new(folder.file());
    store.open().unwrap();
    let chunk = Arc::new(chunk(0, 0..50));
    let added: Vec<_> = (0..4).map(|number| (number, Arc::clone(&chunk))).collect();
    let everything = Commit { added: &added, ..Commit::default() };
    let lazy = |removed| Commit { removed, lazy: true, ..Commit::default() };
    let nothing = Commit::default();
    let mut commit = |commit: &Commit<'_>| {
        let before = content(&folder);
        store.commit(commit).unwrap();
        let level: i64 =
            store.connection.as_ref().unwrap().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        (level, content(&folder) != before)
    };
    let (full, normal) = (2, 1);
    assert_eq!(commit(&everything), (full, true));
    assert_eq!(commit(&lazy(&[0])), (normal, true));
    assert_eq!(commit(&lazy(&[1])), (normal, true));
    assert_eq!(commit(&nothing), (full, true), "it writes something, since SQLite would not sync otherwise");
    assert_eq!(commit(&lazy(&[2])), (normal, true));
    assert_eq!(commit(&Commit { removed: &[3], ..Commit::default() }), (full, true));

    // Where no commit waits for the disk, there is nothing to write for it.
    let folder = Folder::new("never");
    let mut store = Outbox::sqlite(folder.file()).with_synchronous(Synchronous::Normal).store.unwrap();
    store.open().unwrap();
    store.commit(&everything).unwrap();
    let before = content(&folder);
    store.commit(&nothing).unwrap();
    assert!(content(&folder) == before);
}

#[test]
fn an_awkward_path_is_a_path() {
    let folder = Folder::new("awkward");
    for name in [":memory:", "a?b#c%20 d", "file:x", "é"] {
        let path = folder.0.join(name);
        for _ in 0..2 {
            let (depot, _) = sqlite(&path);
            depot.accept(vec![fresh(0, 1..=3)], Vec::new()).unwrap();
            assert!(path.is_file(), "{name}");
        }
        assert_eq!(sqlite(&path).0.pending(0).events, 6, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_may_begin_with_two_slashes() {
    let folder = Folder::new("slashes");
    let path = PathBuf::from(format!("/{}", folder.file().display()));
    for times in 1..=2 {
        let (depot, _) = sqlite(&path);
        depot.accept(vec![fresh(0, 1..=3)], Vec::new()).unwrap();
        assert_eq!(depot.pending(0).events, 3 * times);
    }
    assert!(folder.file().is_file());
}

#[test]
fn a_missing_folder_is_named() {
    let folder = Folder::new("folder");
    let error = refused(folder.0.join("none/outbox.db"));
    assert!(matches!(error, OutboxError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains("none/outbox.db: its folder does not exist"), "{error}");
    assert!(matches!(refused(folder.0.clone()), OutboxError::Io { .. } | OutboxError::Foreign { .. }));
}

#[test]
fn what_is_not_ours_or_not_of_our_time_is_refused_and_left_untouched() {
    type Case = (&'static str, fn(&Path), fn(&OutboxError) -> bool);
    let cases: [Case; 7] = [
        ("text", |path| std::fs::write(path, "hello").unwrap(), |it| matches!(it, OutboxError::Foreign { .. })),
        ("long", |path| std::fs::write(path, [b'x'; 99_999]).unwrap(), |it| matches!(it, OutboxError::Foreign { .. })),
        (
            "other",
            |path| {
                std::fs::remove_file(path).unwrap();
                tamper(path, "CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
            },
            |it| matches!(it, OutboxError::Foreign { .. }),
        ),
        ("id", |path| tamper(path, "PRAGMA application_id = 7"), |it| matches!(it, OutboxError::Foreign { .. })),
        (
            "future",
            |path| tamper(path, "PRAGMA user_version = 9"),
            |it| matches!(it, OutboxError::FutureVersion { found: 9, known: 1, .. }),
        ),
        ("past", |path| tamper(path, "PRAGMA user_version = -1"), |it| matches!(it, OutboxError::Corrupt { .. })),
        (
            "corrupt",
            |path| {
                let mut bytes = std::fs::read(path).unwrap();
                bytes[16_384..].fill(0x5a);
                std::fs::write(path, bytes).unwrap();
            },
            |it| matches!(it, OutboxError::Corrupt { .. }),
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = with_events(name);
        spoil(&folder.file());
        let before = content(&folder);
        let error = refused(folder.file());
        assert!(expected(&error), "{name}: {error:?}");
        assert!(error.to_string().contains("outbox.db"), "{name}: {error}");
        assert!(content(&folder) == before, "{name}: the files have changed");
    }
}

#[test]
fn a_log_that_holds_commits_is_left_untouched_by_a_version_that_does_not_know_the_schema() {
    let folder = with_events("future-log");
    crash::child("accept", &folder, &[("OTEL_SESSION_FAILPOINT", "after-commit:5")]).unwrap_err();
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(connection);
    let before = content(&folder);
    assert!(before.iter().any(|(path, bytes)| path.ends_with("outbox.db-wal") && bytes.len() > 4096));
    assert!(matches!(refused(folder.file()), OutboxError::FutureVersion { found: 2, .. }));
    let log = |files: Vec<(PathBuf, Vec<u8>)>| {
        files.into_iter().filter(|(path, _)| !path.ends_with("outbox.db-shm")).collect::<Vec<_>>()
    };
    assert!(log(content(&folder)) == log(before));
}

#[test]
fn numbers_out_of_range_are_corruption_at_opening() {
    for change in ["events = 65", "events = 0", "events = -1", "queue = 70000", "mode = 256", "bytes = -5"] {
        let folder = with_events("range");
        tamper(&folder.file(), &format!("UPDATE chunk SET {change}"));
        let error = refused(folder.file());
        assert!(matches!(error, OutboxError::Corrupt { .. }), "{change}: {error:?}");
    }
    let folder = with_events("number");
    tamper(&folder.file(), "UPDATE chunk SET number = 9223372036854775807 WHERE number = 2");
    assert!(matches!(refused(folder.file()), OutboxError::Corrupt { .. }));
}

#[test]
fn a_chunk_whose_lengths_do_not_fit_is_given_up_and_the_others_are_sent() {
    // The second chunk; its first event's length stands at byte 16 of its blob, and is ten.
    let changes = [
        "body = x''",
        "body = zeroblob(200000000)",
        "bytes = bytes + 1",
        "events = 49",
        "mode = 1, events = 50, bytes = 0",
        "body = CAST(substr(body, 1, 16) || x'0bffffff' || substr(body, 21) AS BLOB)",
        "body = CAST(substr(body, 1, 16) || x'ffffff7f' || substr(body, 21) AS BLOB)",
    ];
    for change in changes {
        let folder = with_events("lengths");
        tamper(&folder.file(), &format!("UPDATE chunk SET {change} WHERE number = 1"));
        let (depot, losses) = sqlite(&folder.file());
        let taken = depot.take(0, &Want { max_events: 200, ..ALL });
        let rest = depot.take(0, &ALL);
        let all: Vec<_> = [numbers(&taken), numbers(&rest)].concat();
        assert_eq!(all, (1..=50).chain(101..=120).collect::<Vec<_>>(), "{change}");
        assert_eq!(losses.read().count(Loss::OutboxError), if change == "events = 49" { 49 } else { 50 }, "{change}");
    }
}

#[test]
fn a_chunk_of_which_a_single_byte_has_changed_is_given_up_and_the_others_are_sent() {
    // An event's id, a byte of the payload, and what stands beside the blob.
    let changes = [
        "body = CAST(x'ff' || substr(body, 2) AS BLOB)",
        "body = CAST(substr(body, 1, 1205) || x'00' || substr(body, 1207) AS BLOB)",
        "mode = 1",
        "accepted_at = accepted_at + 1",
    ];
    for change in changes {
        let folder = with_events("byte");
        tamper(&folder.file(), &format!("UPDATE chunk SET {change} WHERE number = 1"));
        let (depot, losses) = sqlite(&folder.file());
        let all: Vec<_> = [numbers(&depot.take(0, &ALL)), numbers(&depot.take(0, &ALL))].concat();
        assert_eq!(all, (1..=50).chain(101..=120).collect::<Vec<_>>(), "{change}");
        assert_eq!(losses.read().count(Loss::OutboxError), 50, "{change}");
    }
}

#[test]
fn a_log_cut_short_anywhere_leaves_whole_commits() {
    let folder = Folder::new("cut");
    crash::child("accept", &folder, &[("OTEL_SESSION_FAILPOINT", "after-commit:12")]).unwrap_err();
    let log = folder.0.join("outbox.db-wal");
    let whole = std::fs::read(&log).unwrap();
    let file = std::fs::read(folder.file()).unwrap();
    let mut last = u64::MAX;
    for part in (0..=20).rev() {
        std::fs::write(folder.file(), &file).unwrap();
        std::fs::write(&log, &whole[..whole.len() * part / 20]).unwrap();
        let (depot, _) = sqlite(&folder.file());
        let events = depot.pending(0).events;
        assert_eq!(events % u64::from(crash::BATCH), 0, "all of a batch or nothing");
        assert!(events <= last);
        assert_eq!(numbers(&depot.take(0, &ALL)), (0..u128::from(events)).collect::<Vec<_>>());
        last = events;
    }
    assert_eq!(last, 0);
}

/// Another path of the file, beside which there is no log; where there are no links, its own.
fn link_to(folder: &Folder) -> PathBuf {
    let link = folder.0.join("link.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.file(), &link).unwrap();
    #[cfg(not(unix))]
    let link = folder.file();
    link
}

/// A checkpoint writes page after page of the log into the file, and may be killed after any of them.
#[test]
fn a_checkpoint_that_a_kill_cut_off_after_any_page_loses_nothing() {
    const PAGE: usize = 4096;
    let folder = Folder::new("checkpoint");
    crash::child("accept", &folder, &[("OTEL_SESSION_FAILPOINT", "after-commit:12")]).unwrap_err();
    let log = folder.0.join("outbox.db-wal");
    let (before, written) = (std::fs::read(folder.file()).unwrap(), std::fs::read(&log).unwrap());
    let (depot, _) = sqlite(&folder.file());
    let events = depot.pending(0).events;
    // The last one to close writes all of the log into the file.
    drop(depot);
    let after = std::fs::read(folder.file()).unwrap();
    assert!(after.len() > before.len() && events > 0);
    let (path, link) = (folder.file(), link_to(&folder));
    for pages in 0..=after.len() / PAGE {
        let mut file = before.clone();
        let end = (pages * PAGE).max(file.len());
        file.resize(end, 0);
        file[..pages * PAGE].copy_from_slice(&after[..pages * PAGE]);
        std::fs::write(folder.file(), file).unwrap();
        std::fs::write(&log, &written).unwrap();
        let (depot, _) = sqlite(if pages % 2 == 0 { &link } else { &path });
        assert_eq!(depot.pending(0).events, events, "after {pages} pages");
        assert_eq!(numbers(&depot.take(0, &ALL)), (0..u128::from(events)).collect::<Vec<_>>());
    }
}

/// A store whose file may not grow beyond so many pages: a disk that is full.
#[derive(Debug)]
struct Tight(SqliteStore, Arc<std::sync::atomic::AtomicU64>);

impl OutboxStore for Tight {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        self.0.open()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        let pages = self.1.load(std::sync::atomic::Ordering::Relaxed);
        self.0
            .connection
            .as_ref()
            .unwrap()
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
        self.0.commit(commit)
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        self.0.read(chunk)
    }
}

#[test]
fn a_full_disk_refuses_a_whole_batch_and_takes_the_next_once_there_is_room() {
    let folder = Folder::new("full");
    let pages = Arc::new(std::sync::atomic::AtomicU64::new(40));
    let store = Tight(SqliteStore::new(folder.file()), Arc::clone(&pages));
    let (depot, losses) = open(Outbox::custom(store), &SystemClock.into_source());
    let mut accepted = 0_u128;
    let error = loop {
        let rows = vec![StateRow::new(1, vec![1], Some(accepted.to_le_bytes().to_vec()))];
        match depot.accept(vec![fresh(0, accepted..accepted + 500)], rows) {
            Ok(()) => accepted += 500,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, OutboxError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("outbox.db: the disk is full"), "{error}");
    assert!(accepted > 2_000, "{accepted}");
    assert_eq!(losses.read().count(Loss::OutboxError), 500);

    let taken = depot.take(0, &Want { max_events: 1_000, ..ALL });
    depot.settle(0, &tickets(&taken), Outcome::Delivered);
    depot.accept(vec![fresh(0, accepted..accepted + 500)], Vec::new()).unwrap();
    pages.store(1_000, std::sync::atomic::Ordering::Relaxed);
    depot.accept(vec![fresh(0, accepted + 500..accepted + 1_000)], Vec::new()).unwrap();
    drop(depot);

    let losses = Arc::new(LossCounters::default());
    let (depot, rows) = Depot::open(Outbox::sqlite(folder.file()), 2, SystemClock.into_source(), losses).unwrap();
    assert_eq!(numbers(&depot.take(0, &ALL)), (1_000..accepted + 1_000).collect::<Vec<_>>());
    assert_eq!(rows[0].value, Some((accepted - 500).to_le_bytes().to_vec()), "the state of the last whole commit");
}

/// On a real file system that others have filled: `OTEL_SESSION_SMALL_DISK` names an empty folder of at most some MiB.
#[test]
fn a_disk_that_others_filled_costs_only_what_is_refused() {
    let Some(disk) = std::env::var_os("OTEL_SESSION_SMALL_DISK") else {
        println!("skipped: OTEL_SESSION_SMALL_DISK names no folder");
        return;
    };
    let (file, filler) = (Path::new(&disk).join("outbox.db"), Path::new(&disk).join("filler"));
    let (depot, _) = sqlite(&file);
    depot.accept(vec![fresh(0, 0..100)], Vec::new()).unwrap();
    let full = std::io::copy(&mut std::io::repeat(b'x'), &mut std::fs::File::create(&filler).unwrap()).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let mut accepted: Vec<u128> = (0..100).collect();
    let mut refused = 0;
    for number in 1..200 {
        match depot.accept(vec![fresh(0, number * 100..number * 100 + 100)], Vec::new()) {
            Ok(()) => accepted.extend(number * 100..number * 100 + 100),
            Err(error) => {
                assert!(matches!(error, OutboxError::Full { .. }), "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    std::fs::remove_file(&filler).unwrap();
    depot.accept(vec![fresh(0, 90_000..90_100)], Vec::new()).unwrap();
    accepted.extend(90_000..90_100);
    drop(depot);
    let (depot, _) = sqlite(&file);
    assert_eq!(numbers(&depot.take(0, &ALL)), accepted);
    println!("{refused} refused, {} accepted", accepted.len());
}

/// Bytes that nothing can shorten, at least within a chunk: a megabyte of them, again and again.
pub(super) struct Noise(Vec<u8>, usize);

impl Noise {
    pub(super) fn new() -> Self {
        let next =
            |word: &u64| Some(word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let words = std::iter::successors(Some(1_u64), next).take(1 << 18);
        Self(words.flat_map(|word| ((word >> 32) as u32).to_le_bytes()).collect(), 0)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        if self.1 + len > self.0.len() {
            self.1 = 0;
        }
        self.1 += len;
        self.0[self.1 - len..self.1].to_vec()
    }

    fn chunk(&mut self, len: usize) -> Chunk {
        let mut chunk = Chunk::new(0, 0, now());
        (0..50).for_each(|number| chunk.push(id(number), 0, &self.bytes(len)));
        chunk
    }
}

/// The lengths of the blobs in the file.
fn blobs(path: &Path) -> Vec<u64> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut select = connection.prepare("SELECT length(body) FROM chunk ORDER BY number").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn events_that_are_alike_take_little_of_the_file_and_come_back_as_they_were() {
    let folder = Folder::new("packed");
    let mut noise = Noise::new();
    let common = noise.bytes(1_000);
    let mut alike = Chunk::new(0, 0, now());
    (0..50).for_each(|number| alike.push(id(number), 0, &[&common[..], &noise.bytes(200)].concat()));
    let chunks = [alike, noise.chunk(1_200), noise.chunk(1), noise.chunk(0)];
    let (depot, _) = sqlite(&folder.file());
    depot.accept(chunks.to_vec(), Vec::new()).unwrap();
    drop(depot);

    let blobs = blobs(&folder.file());
    assert!(blobs[0] < 13_000, "the common part once, and what is each one's own: {blobs:?}");
    assert_eq!(blobs[1..], [50 * (24 + 1_200), 50 * (24 + 1), 50 * 24], "no longer than it has to be");
    let expected: Vec<_> = chunks.iter().flat_map(payloads).collect();
    let (depot, losses) = sqlite(&folder.file());
    let taken: Vec<Vec<u8>> = depot.take(0, &ALL).iter().map(|parcel| parcel.bytes().to_vec()).collect();
    assert!(taken == expected);
    assert_eq!(losses.read().total(), 0);
}

fn payloads(chunk: &Chunk) -> Vec<Vec<u8>> {
    let mut rest = &chunk.bytes[..];
    let payload = |event: &crate::export::ChunkEvent| {
        let (payload, after) = rest.split_at(event.len as usize);
        rest = after;
        payload.to_vec()
    };
    chunk.events.iter().map(payload).collect()
}

#[test]
fn a_packed_chunk_that_is_not_what_it_says_is_given_up() {
    // Each event is ten bytes, all of them 500; the heads are 1,200.
    let changes = [
        "body = substr(body, 1, length(body) - 1)",
        "body = substr(body, 1, 1201)",
        "body = CAST(substr(body, 1, 1200) || zeroblob(40) AS BLOB)",
        // A literal of one byte and a match of far more than there is to be.
        "body = CAST(substr(body, 1, 1200) || x'1f410100ffffffffffffffff' AS BLOB)",
    ];
    for change in changes {
        let folder = with_events("packed-badly");
        assert!(blobs(&folder.file())[1] < 1_700, "it is packed");
        tamper(&folder.file(), &format!("UPDATE chunk SET {change} WHERE number = 1"));
        let (depot, losses) = sqlite(&folder.file());
        let all: Vec<_> = [numbers(&depot.take(0, &ALL)), numbers(&depot.take(0, &ALL))].concat();
        assert_eq!(all, (1..=50).chain(101..=120).collect::<Vec<_>>(), "{change}");
        assert_eq!(losses.read().count(Loss::OutboxError), 50, "{change}");
    }
}

#[test]
fn the_file_shrinks_after_an_outage() {
    let folder = Folder::new("shrink");
    let (depot, _) =
        open(Outbox::sqlite(folder.file()).with_synchronous(Synchronous::Normal), &SystemClock.into_source());
    let mut noise = Noise::new();
    let mut accept = |batches: u128| {
        for _ in 0..batches {
            depot.accept(vec![noise.chunk(1_200)], Vec::new()).unwrap();
        }
    };
    let deliver = || {
        let taken = depot.take(0, &Want { max_bytes: 1_000_000, ..ALL });
        depot.settle(0, &tickets(&taken), Outcome::Delivered);
        depot.sync().unwrap();
        !taken.is_empty()
    };
    let size = || std::fs::metadata(folder.file()).unwrap().len() >> 20;
    accept(1_200);
    assert!(size() > 50, "{} MiB", size());
    while deliver() {}
    for _ in 0..1_000 {
        accept(1);
        deliver();
    }
    assert!(size() <= 24, "{} MiB", size());
}
