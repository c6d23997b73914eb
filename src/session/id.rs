//! Ids of sessions: what is accepted as one, and where new ones come from.

use std::fmt;
use std::sync::Arc;

use crate::error::{InvalidSessionId, MAX_ID_BYTES};

/// A session id that was found fit to be exported: 1 to 200 bytes, no control characters.
///
/// The semantic conventions give `session.id` no format; ids made here are UUIDs of version 4, in lower case, with dashes.
/// Ids from outside (a generator, a cookie, a field of a span) are parsed into this type before they are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The greatest length of an id, in bytes.
    pub const MAX_BYTES: usize = MAX_ID_BYTES;

    /// Checks an id that comes from outside.
    ///
    /// # Errors
    /// When the id is empty, longer than [`MAX_BYTES`](Self::MAX_BYTES), or has a control character.
    pub fn parse(id: &str) -> Result<Self, InvalidSessionId> {
        if id.is_empty() {
            return Err(InvalidSessionId::Empty);
        }
        if id.len() > Self::MAX_BYTES {
            return Err(InvalidSessionId::TooLong { bytes: id.len() });
        }
        if id.chars().any(char::is_control) {
            return Err(InvalidSessionId::ControlCharacter);
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[allow(dead_code)] // only the tracing layer shares ids between spans
    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::parse(id)
    }
}

/// Where new ids come from.
#[derive(Clone, Default)]
pub(crate) enum IdSource {
    /// UUID version 4, lower case, dashed.
    #[default]
    Uuid,
    /// The user's generator: it may be slow, panic, or call any function of ours.
    User(Arc<dyn Fn() -> String + Send + Sync>),
}

impl fmt::Debug for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uuid => "Uuid",
            Self::User(_) => "User",
        })
    }
}

/// An id of our own, leaked: process-wide ids live as long as the process (see `docs/adr`).
pub(crate) fn own_id() -> &'static str {
    leak(&uuid::Uuid::new_v4().hyphenated().to_string())
}

/// Text that lives as long as the process.
pub(crate) fn leak(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_not_empty_not_long_and_has_no_control_characters() {
        assert_eq!(SessionId::parse(""), Err(InvalidSessionId::Empty));
        assert_eq!(SessionId::parse("a\nb"), Err(InvalidSessionId::ControlCharacter));
        assert_eq!(SessionId::parse(&"x".repeat(201)), Err(InvalidSessionId::TooLong { bytes: 201 }));
        assert!(SessionId::parse(&"x".repeat(200)).is_ok());
    }

    #[test]
    fn our_own_ids_are_dashed_lower_case_version_4_uuids() {
        let id = own_id();
        let parsed = uuid::Uuid::parse_str(id).expect("a UUID");
        assert_eq!(parsed.get_version_num(), 4);
        assert_eq!(parsed.hyphenated().to_string(), id);
        assert_eq!(id.len(), 36);
    }
}
