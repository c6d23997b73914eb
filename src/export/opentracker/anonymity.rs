//! How much events say about the user.

use crate::export::personal::{is_of_session, is_personal};

/// How much events say about the user: everything, only the session, or nothing.
///
/// Opentracker itself knows no anonymous mode: what is not sent, it makes up. So without `uid` each session becomes a user of
/// its own, and without both ids each event becomes a session and a user of its own.
///
/// | | `uid` | `sid` | properties left out |
/// |---|---|---|---|
/// | [`Off`](Self::Off) (default) | sent | sent | none |
/// | [`SessionOnly`](Self::SessionOnly) | no | sent | `user`, `user.*`, `enduser`, `enduser.*`, `app.installation.id`, `device.id`, `client.address`, `source.address`, `network.peer.address`, `session.previous_id`, `snowplow.ip`, `snowplow.fp`, `snowplow.tnuid` |
/// | [`Full`](Self::Full) | no | no | these, `session.*` and `otel_session.index` |
///
/// They are left out as attributes of records, as entries of a body and as attributes of the resource, under whatever name
/// they would be sent. What is named on purpose, by `with_property` or by a mapping, is sent.
///
/// It can be switched while the exporter runs; an event that waits in the outbox was encoded in the mode it was accepted in,
/// so the outbox never holds what is not to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anonymity {
    /// Events carry the ids of session and user.
    #[default]
    Off,
    /// Events carry the session, and nothing that outlives it.
    SessionOnly,
    /// Events carry neither.
    Full,
}

impl Anonymity {
    pub(super) fn names_users(self) -> bool {
        self == Self::Off
    }

    pub(super) fn names_sessions(self) -> bool {
        self != Self::Full
    }

    /// Whether an attribute may become a property.
    pub(super) fn permits(self, key: &str) -> bool {
        (self.names_users() || !is_personal(key)) && (self.names_sessions() || !is_of_session(key))
    }

    pub(super) fn to_number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Off,
            1 => Self::SessionOnly,
            _ => Self::Full,
        }
    }
}
