//! What can go wrong when sessions are built or shut down.

use std::fmt;
use std::time::Duration;

/// A setting that cannot work. The message names the setting, its value and what to use instead.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A duration is zero, too long, or does not fit another one.
    Duration {
        /// The name of the builder's method.
        setting: &'static str,
        /// What was given.
        value: Duration,
        /// What to use instead.
        fix: String,
    },
    /// A text cannot be exported as it is.
    Text {
        /// The name of the builder's method.
        setting: &'static str,
        /// Why it was refused.
        problem: InvalidSessionId,
    },
    /// A thread of ours could not be started.
    Thread(std::io::Error),
    /// A setting of a bridge cannot work.
    Setting {
        /// The name of the builder's method.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it, and what to use instead.
        fix: String,
    },
    /// The outbox of a bridge could not be opened; the message names its place.
    Outbox(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration { setting, value, fix } => write!(f, "{setting}({value:?}): {fix}"),
            Self::Text { setting, problem } => {
                // Not the words of a session id: this text is none. Nor the text itself, which would break the line.
                let wrong = match problem {
                    InvalidSessionId::Empty => "is empty".to_owned(),
                    InvalidSessionId::TooLong { bytes } => format!("has {bytes} bytes"),
                    InvalidSessionId::ControlCharacter => "holds control characters".to_owned(),
                };
                write!(f, "{setting}: {wrong}; use 1 to {MAX_ID_BYTES} bytes without control characters")
            }
            Self::Thread(error) => write!(f, "a thread could not be started: {error}"),
            Self::Setting { setting, value, fix } => write!(f, "{setting}({value}): {fix}"),
            Self::Outbox(error) => write!(f, "with_outbox: {error}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The message of a text has its problem in it already.
            Self::Duration { .. } | Self::Setting { .. } | Self::Text { .. } => None,
            Self::Thread(error) => Some(error),
            Self::Outbox(error) => Some(&**error),
        }
    }
}

/// Sessions were ended, but not everything could be delivered.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Flushing took longer than allowed; it goes on in the background.
    Timeout(Duration),
    /// Pipelines failed to flush, each with its own message.
    Flush(Vec<String>),
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(timeout) => write!(f, "flushing took longer than {timeout:?}; allow more time"),
            Self::Flush(errors) => write!(f, "flushing failed: {}", errors.join("; ")),
        }
    }
}

impl std::error::Error for ShutdownError {}

/// The greatest length of a session id, in bytes.
pub(crate) const MAX_ID_BYTES: usize = 200;

/// Why a text is not a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSessionId {
    /// It is empty.
    Empty,
    /// It is longer than [`SessionId::MAX_BYTES`](crate::SessionId::MAX_BYTES).
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It holds a control character, which could break a log line or a header.
    ControlCharacter,
}

impl fmt::Display for InvalidSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a session id must not be empty"),
            Self::TooLong { bytes } => {
                write!(f, "a session id has at most {MAX_ID_BYTES} bytes, this one has {bytes}")
            }
            Self::ControlCharacter => f.write_str("a session id must not hold control characters"),
        }
    }
}

impl std::error::Error for InvalidSessionId {}
