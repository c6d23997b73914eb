//! Why an outbox cannot be opened, read or written.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// Why an outbox cannot be opened, read or written. The message names the place and what to do about it.
///
/// Met as the source of [`BuildError::Outbox`](crate::BuildError::Outbox) when an exporter is built. Later it is what
/// `export()` returns, and the events are counted as [`Loss::OutboxError`](crate::Loss::OutboxError).
#[derive(Debug)]
#[non_exhaustive]
pub enum OutboxError {
    /// The folder of the file does not exist.
    Folder {
        /// The file.
        path: PathBuf,
    },
    /// Another exporter, in this process or another one, has the file open.
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is no SQLite database, or a database of something else. It was left as it is.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of this crate. It was left as it is.
    FutureVersion {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The latest version that this crate knows.
        known: i64,
    },
    /// What was stored cannot be read back as it was written.
    Corrupt {
        /// The file, or what else the store calls itself.
        place: String,
        /// What does not fit.
        problem: String,
    },
    /// The outbox holds what another kind of exporter has accepted, in an encoding that is not ours. It was left as it is.
    OtherExporter {
        /// The kind of exporter: `snowplow` or `opentracker`.
        owner: String,
    },
    /// The disk is full. Nothing of the failed commit was stored; later ones work once there is room.
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed otherwise.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A store given to [`Outbox::custom`](super::Outbox::custom) failed.
    Store(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path } => write!(f, "{}: its folder does not exist; create it first", path.display()),
            Self::Locked { path } => write!(
                f,
                "{}: another exporter or process has this outbox open; give every exporter a file of its own",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{}: this is not an outbox of otel-session; it was left untouched, name another file",
                path.display()
            ),
            Self::FutureVersion { path, found, known } => write!(
                f,
                "{}: written by a later version of otel-session (schema {found}, this one knows {known}); \
                 it was left untouched, use that version or name another file",
                path.display()
            ),
            Self::Corrupt { place, problem } => {
                write!(f, "{place}: the outbox is corrupt ({problem}); move the file away to start anew")
            }
            Self::OtherExporter { owner } => {
                write!(f, "the outbox belongs to an exporter to {owner}; give every exporter one of its own")
            }
            Self::Full { path } => write!(f, "{}: the disk is full; make room", path.display()),
            Self::Io { path, source } => {
                write!(f, "{}: {source}; see that the file can be written", path.display())
            }
            Self::Store(source) => write!(f, "the outbox's store failed: {source}"),
        }
    }
}

impl Error for OutboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Store(source) => Some(&**source),
            _ => None,
        }
    }
}
