//! Opening the file: what it must be, what is made of an empty one, and what is read from it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::{Synchronous, transaction};
use crate::export::failpoint;
use crate::export::outbox::{Opened, OutboxError, StateRow, Stored};

/// `PRAGMA application_id`: "otse". Tells our files from other databases.
const APPLICATION: i64 = 0x6f74_7365;

/// `PRAGMA user_version`: the version of the schema.
const VERSION: i64 = 1;

/// The longest blob or text, and so the longest chunk.
const LONGEST: i32 = 256 << 20;

const SCHEMA: &str = "
    CREATE TABLE chunk (
        number INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        mode INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL,
        events INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE settled (number INTEGER PRIMARY KEY, events BLOB NOT NULL) STRICT;
    CREATE TABLE state (
        kind INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the file, locks it and reads what it holds. A file that cannot be used is left as it is.
pub(super) fn open(path: &Path, synchronous: Synchronous) -> Result<(Connection, Opened), OutboxError> {
    let fault = |error| fault(path, error);
    create(path)?;
    failpoint::pass("during-open");
    // Beside a log or a journal the file alone says nothing: a kill in the midst of a checkpoint leaves pages of two times.
    // Then the connection tells, which reads both and writes nothing before it has. They stand where a link leads to.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if !has_content(&beside(&file, "-wal")) && !has_content(&beside(&file, "-journal")) {
        inspect(path)?;
    }
    let connection = connect(path).map_err(fault)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    check(path, &connection, tables)?;
    if tables == 0 {
        // 4 kB pages: a packed chunk of 50 events fills four of them, and what a commit changes besides takes as little as it
        // can. Only now: in a file that has tables this would be a write.
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL").map_err(fault)?;
        transaction(&connection, || {
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "application_id", APPLICATION)?;
            write_version(&connection)?;
            failpoint::pass("during-open");
            Ok(())
        })
        .map_err(fault)?;
    }
    failpoint::pass("during-open");
    let opened = load(path, &connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fault)?;
    if mode != "wal" {
        let source = format!("SQLite cannot keep a write-ahead log here, but only `{mode}`").into();
        return Err(OutboxError::Io { path: path.to_owned(), source });
    }
    settle_in(&connection, synchronous).map_err(fault)?;
    failpoint::pass("during-open");
    Ok((connection, opened))
}

/// Makes an empty file for its owner only. SQLite would let everybody read it; what it puts beside it has the same mode.
fn create(path: &Path) -> Result<(), OutboxError> {
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(OutboxError::Folder { path: path.to_owned() });
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(OutboxError::Io { path: path.to_owned(), source: error.into() })
        }
        _ => Ok(()),
    }
}

/// Looks at a file without a lock, a log or a trace. Through SQLite, since closing a file that we had opened ourselves
/// would release the lock of whoever holds it in this process.
fn inspect(path: &Path) -> Result<(), OutboxError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags).map_err(|error| fault(path, error))?;
    // Not pages: `PRAGMA auto_vacuum` writes a first one, and a kill may leave nothing but that.
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| fault(path, error))?;
    check(path, &connection, tables)
}

/// Refuses what is not ours or not of our time. `content` is 0 for an empty file, which is nobody's.
fn check(path: &Path, connection: &Connection, content: i64) -> Result<(), OutboxError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|error| fault(path, error))?;
    let found = number("user_version").map_err(|error| fault(path, error))?;
    match (application, found) {
        (0, 0) if content == 0 => Ok(()),
        (APPLICATION, VERSION) => Ok(()),
        (APPLICATION, _) if found > VERSION => {
            Err(OutboxError::FutureVersion { path: path.to_owned(), found, known: VERSION })
        }
        (APPLICATION, _) => Err(corrupt(path, format!("schema version {found}"))),
        _ => Err(OutboxError::Foreign { path: path.to_owned() }),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)?;
    // Until everything was found in order, closing must not write what stands in the log into the file.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// Says which version of the schema the file has.
pub(super) fn write_version(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", VERSION)
}

/// The settings of a file that was found in order.
fn settle_in(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    let level = synchronous.name();
    // The two fullfsync settings are Apple's, where fsync alone does not reach the disk.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {level};
         PRAGMA fullfsync = {full};
         PRAGMA checkpoint_fullfsync = {full};
         PRAGMA wal_autocheckpoint = 4096;
         PRAGMA journal_size_limit = 33554432;
         PRAGMA cache_size = -8192;",
        full = synchronous == Synchronous::Full,
    ))?;
    // Takes the lock for writing, so that a file that can only be read is refused now.
    transaction(connection, || Ok(()))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

fn load(path: &Path, connection: &Connection) -> Result<Opened, OutboxError> {
    let fault = |error| fault(path, error);
    let mut settled: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut select =
        connection.prepare("SELECT number, events FROM settled WHERE length(events) <= 8").map_err(fault)?;
    let mut rows = select.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        settled.insert(row.get(0).map_err(fault)?, row.get(1).map_err(fault)?);
    }
    let mut chunks = Vec::new();
    let mut select = connection
        .prepare("SELECT number, queue, mode, accepted_at, events, bytes FROM chunk ORDER BY number")
        .map_err(fault)?;
    let mut rows = select.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let mut stored = stored(row).map_err(fault)?;
        stored.done = settled.remove(&stored.number).unwrap_or_default();
        // Numbers grow by one a chunk: half of them will never be used.
        if stored.number > i64::MAX as u64 / 2 || stored.bytes > LONGEST as u64 || !(1..=64).contains(&stored.events) {
            return Err(corrupt(path, format!("chunk {} is out of range", stored.number)));
        }
        chunks.push(stored);
    }
    let mut state = Vec::new();
    let mut select = connection.prepare("SELECT kind, key, value FROM state").map_err(fault)?;
    let mut rows = select.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let (kind, key) = (row.get(0).map_err(fault)?, row.get(1).map_err(fault)?);
        state.push(StateRow::new(kind, key, Some(row.get(2).map_err(fault)?)));
    }
    let next = chunks.last().map_or(0, |stored: &Stored| stored.number + 1);
    Ok(Opened::new(chunks, state, next))
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        number: row.get(0)?,
        queue: row.get(1)?,
        mode: row.get(2)?,
        accepted_at: row.get(3)?,
        events: row.get(4)?,
        bytes: row.get(5)?,
        done: Vec::new(),
    })
}

/// What an error of SQLite means for the user of an outbox.
pub(super) fn fault(path: &Path, error: Error) -> OutboxError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OutboxError::Locked { path },
        Some(ErrorCode::NotADatabase) => OutboxError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => corrupt(&path, error.to_string()),
        Some(ErrorCode::DiskFull) => OutboxError::Full { path },
        None if unreadable(&error) => corrupt(&path, error.to_string()),
        _ => OutboxError::Io { path, source: error.into() },
    }
}

/// Whether a value was not of the type or in the range that was stored.
fn unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..)
    )
}

fn corrupt(path: &Path, problem: String) -> OutboxError {
    OutboxError::Corrupt { place: path.display().to_string(), problem }
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.len() > 0)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The file as an address that lets SQLite read it as if nobody could change it.
fn immutable(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    // With an empty authority, or a path that begins with two slashes would be taken for one.
    let mut uri = String::from(if matches!(bytes, [b'/' | b'\\', ..]) { "file://" } else { "file:" });
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b':' => uri.push(char::from(*byte)),
            b'\\' if cfg!(windows) => uri.push('/'),
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}
