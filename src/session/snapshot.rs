//! What a session is: an immutable snapshot, and the transition from one to the next.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::clock::to_system_time;
use crate::semconv::end_reason;

/// A session as it was at the moment of asking: an immutable snapshot, cheap to clone.
///
/// Two snapshots are equal when all their fields are.
#[derive(Clone, Copy)]
pub struct Session(pub(crate) &'static Snapshot);

impl Session {
    /// The session's id, exported as `session.id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id
    }

    /// The id of the session before this one, if this one continues it; never equal to [`id`](Self::id).
    #[must_use]
    pub fn previous_id(&self) -> Option<&str> {
        self.0.previous_id
    }

    /// When the session began, on the wall clock.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        to_system_time(self.0.started_at)
    }

    /// The session's number in its chain, counted from 1. Linked and unlinked sessions count alike.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// The user that signals of this session are stamped with, if one was set.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.0.user_id
    }

    /// The installation of the application, if one was set.
    #[must_use]
    pub fn installation_id(&self) -> Option<&str> {
        self.0.installation_id
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Session {}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("previous_id", &self.previous_id())
            .field("started_at", &self.started_at())
            .field("index", &self.index())
            .field("user_id", &self.user_id())
            .field("installation_id", &self.installation_id())
            .finish()
    }
}

/// The fields of a [`Session`]; its texts live as long as the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: &'static str,
    pub(crate) previous_id: Option<&'static str>,
    /// Nanoseconds on the wall clock.
    pub(crate) started_at: i64,
    pub(crate) index: u64,
    pub(crate) user_id: Option<&'static str>,
    pub(crate) installation_id: Option<&'static str>,
}

/// A change of the live session: one ended, one started, or both.
///
/// When a signal or [`rotate`](crate::Sessions::rotate) replaces a session, both are present. When the keeper ends an idle
/// session the end stands alone, and the start follows in a later transition, with the next signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub(crate) ended: Option<EndedSession>,
    pub(crate) started: Option<Session>,
}

impl Transition {
    /// The session that ended, if one did.
    #[must_use]
    pub fn ended(&self) -> Option<&EndedSession> {
        self.ended.as_ref()
    }

    /// The session that started, if one did.
    #[must_use]
    pub fn started(&self) -> Option<&Session> {
        self.started.as_ref()
    }
}

/// A session that has ended: which, why and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    pub(crate) session: Session,
    pub(crate) reason: EndReason,
    /// Nanoseconds on the wall clock, never before the session's start.
    pub(crate) ended_at: i64,
}

impl EndedSession {
    /// The session as it was when it ended.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Why it ended.
    #[must_use]
    pub fn reason(&self) -> EndReason {
        self.reason
    }

    /// When it ended: its last activity ([`EndReason::Inactivity`]), its start plus the maximum duration
    /// ([`EndReason::MaxDuration`]), else the moment of the call that ended it. Never before its start.
    #[must_use]
    pub fn ended_at(&self) -> SystemTime {
        to_system_time(self.ended_at)
    }

    /// How long it lasted: end minus start.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let nanos = self.ended_at.saturating_sub(self.session.0.started_at);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

/// Why a session ended; exported as `otel_session.end.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// No activity for the inactivity (or background) timeout.
    Inactivity,
    /// It reached the maximum duration.
    MaxDuration,
    /// [`Sessions::rotate`](crate::Sessions::rotate) was called.
    Rotated,
    /// [`Sessions::end`](crate::Sessions::end) was called.
    Ended,
    /// The program, or the last log pipeline, shut down.
    Shutdown,
    /// A stored session lay in the future: the clock had been set back. Not produced yet: it comes with durable stores.
    ClockJump,
    /// The process that had it died; found by the next one. Not produced yet: it comes with durable stores.
    Crash,
}

impl EndReason {
    /// The value of the attribute `otel_session.end.reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactivity => end_reason::INACTIVITY,
            Self::MaxDuration => end_reason::MAX_DURATION,
            Self::Rotated => end_reason::ROTATED,
            Self::Ended => end_reason::ENDED,
            Self::Shutdown => end_reason::SHUTDOWN,
            Self::ClockJump => end_reason::CLOCK_JUMP,
            Self::Crash => end_reason::CRASH,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
