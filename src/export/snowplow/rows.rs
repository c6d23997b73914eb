//! How the tables stand in an outbox: one row a session or user, a version first, then fields of fixed width.
//!
//! Rows come back from a file that anything may have happened to. What is not exactly as we write it is no row; its session
//! is then one whose start was not seen.

use uuid::Uuid;

use super::mapped::Row;
use super::table::{MAX_INDEX, Session, User};

/// A row that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Session { used: u64, session: Session },
    User { used: u64, user: User },
}

pub(super) fn session_row(namespace: &str, id: Uuid, value: Option<(u64, &Session)>) -> Row {
    let value = value.map(|(used, session)| {
        let mut out = Vec::with_capacity(80);
        out.push(VERSION);
        out.extend_from_slice(&used.to_le_bytes());
        out.extend_from_slice(&session.index.to_le_bytes());
        out.extend_from_slice(&session.events.to_le_bytes());
        out.extend_from_slice(session.user.as_bytes());
        let flags = [
            (session.announced, ANNOUNCED),
            (session.closed, CLOSED),
            (session.first.is_some(), HAS_FIRST),
            (session.previous.is_some(), HAS_PREVIOUS),
        ];
        out.push(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        if let Some((id, millis)) = session.first {
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(&millis.to_le_bytes());
        }
        if let Some(previous) = session.previous {
            out.extend_from_slice(previous.as_bytes());
        }
        out
    });
    Row { table: SESSIONS, key: key(namespace, id.as_bytes()), value }
}

pub(super) fn user_row(namespace: &str, id: Uuid, value: Option<(u64, &User)>) -> Row {
    let value = value.map(|(used, user)| {
        let mut out = Vec::with_capacity(32);
        out.push(VERSION);
        out.extend_from_slice(&used.to_le_bytes());
        out.extend_from_slice(&user.index.to_le_bytes());
        if let Some(latest) = user.latest {
            out.extend_from_slice(latest.as_bytes());
        }
        out
    });
    Row { table: USERS, key: key(namespace, id.as_bytes()), value }
}

pub(super) fn installation_row(namespace: &str, id: Option<Uuid>) -> Row {
    let value = id.map(|id| {
        let mut out = vec![VERSION];
        out.extend_from_slice(id.as_bytes());
        out
    });
    Row { table: META, key: key(namespace, INSTALLATION), value }
}

/// The session or user of a row, unless the row is of another namespace or not as we write it.
pub(super) fn read(namespace: &str, row: &Row) -> Option<(Uuid, Stored)> {
    let id = Uuid::from_slice(own_key(namespace, row)?).ok()?;
    let mut fields = Fields(row.value.as_deref()?);
    (fields.byte()? == VERSION).then_some(())?;
    let used = Some(u64::from_le_bytes(fields.take()?)).filter(|used| *used <= MAX_USED)?;
    let index = fields.index()?;
    let stored = match row.table {
        SESSIONS => {
            let events = fields.index()?;
            let user = fields.uuid()?;
            let flags = fields.byte()?;
            let first = match flags & HAS_FIRST {
                0 => None,
                _ => Some((fields.uuid()?, i64::from_le_bytes(fields.take()?))),
            };
            let previous = if flags & HAS_PREVIOUS == 0 { None } else { Some(fields.uuid()?) };
            let (announced, closed) = (flags & ANNOUNCED != 0, flags & CLOSED != 0);
            Stored::Session { used, session: Session { index, events, announced, closed, first, previous, user } }
        }
        USERS => {
            let latest = if fields.0.is_empty() { None } else { Some(fields.uuid()?) };
            Stored::User { used, user: User { index, latest } }
        }
        _ => return None,
    };
    fields.0.is_empty().then_some((id, stored))
}

/// The installation id of a row, if it is that row.
pub(super) fn read_installation(namespace: &str, row: &Row) -> Option<Uuid> {
    if row.table != META || own_key(namespace, row)? != INSTALLATION {
        return None;
    }
    let mut fields = Fields(row.value.as_deref()?);
    (fields.byte()? == VERSION).then_some(())?;
    fields.uuid().filter(|id| fields.0.is_empty() && !id.is_nil())
}

/// The namespace's length stands before it, so that no namespace is the beginning of another's keys.
fn key(namespace: &str, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + namespace.len() + id.len());
    key.extend_from_slice(&u32::try_from(namespace.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(namespace.as_bytes());
    key.extend_from_slice(id);
    key
}

fn own_key<'a>(namespace: &str, row: &'a Row) -> Option<&'a [u8]> {
    row.key.strip_prefix(key(namespace, &[]).as_slice())
}

/// What of a row has not been read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]: [u8; 1]| byte)
    }

    fn index(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes).filter(|index| *index <= MAX_INDEX)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }
}

/// The first byte of every row.
const VERSION: u8 = 1;

/// Beyond this nothing was ever counted, and the counting goes on from what is read.
const MAX_USED: u64 = u64::MAX / 2;

const SESSIONS: u8 = 1;
const USERS: u8 = 2;
const META: u8 = 3;

const INSTALLATION: &[u8] = b"installation";

const ANNOUNCED: u8 = 1;
const CLOSED: u8 = 2;
const HAS_FIRST: u8 = 4;
const HAS_PREVIOUS: u8 = 8;
