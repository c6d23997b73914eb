//! How much events say about the user.

/// How much events say about the user: everything, only the session, or nothing.
///
/// | | user ids | `sid`, `vid` | `client_session` | stored |
/// |---|---|---|---|---|
/// | [`off`](Self::off) (default) | sent | sent | all fields | all |
/// | [`with_session_tracking`](Self::with_session_tracking) | none | sent | the nil UUID for the user, no previous session | the same, masked |
/// | [`full`](Self::full) | none | none | none | nothing |
///
/// Attributes, and members of a body, that tell more than that are left out of the event's data by their names. What stands
/// deeper within maps, or in texts, is not looked through.
///
/// It can be switched while the exporter runs; an event that waits in the outbox keeps the mode it was accepted in, and
/// events of different modes never share a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Anonymity {
    pub(crate) users: Users,
    pub(crate) server: bool,
}

/// What of the user stands in an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Users {
    #[default]
    Named,
    SessionOnly,
    Hidden,
}

impl Anonymity {
    /// Events carry the user's ids; the default.
    #[must_use]
    pub const fn off() -> Self {
        Self { users: Users::Named, server: false }
    }

    /// Neither user nor session: the tracker's `anonymousTracking: true`.
    #[must_use]
    pub const fn full() -> Self {
        Self { users: Users::Hidden, server: false }
    }

    /// The session without the user: the tracker's `anonymousTracking: { withSessionTracking: true }`.
    #[must_use]
    pub const fn with_session_tracking() -> Self {
        Self { users: Users::SessionOnly, server: false }
    }

    /// Asks the collector, too, for anonymity, by the header `SP-Anonymous: *`: it then neither sets its own cookie nor
    /// records the address. It needs a collector of version 2.1.0 or later; an older one fails the request.
    #[must_use]
    pub const fn with_server_anonymisation(mut self) -> Self {
        self.server = true;
        self
    }

    /// Whether the collector is asked for anonymity.
    #[must_use]
    pub const fn is_server_anonymous(self) -> bool {
        self.server
    }

    /// Whether events carry the user's ids.
    #[must_use]
    pub const fn names_users(self) -> bool {
        matches!(self.users, Users::Named)
    }

    /// Whether events carry their session.
    #[must_use]
    pub const fn names_sessions(self) -> bool {
        !matches!(self.users, Users::Hidden)
    }

    /// What stands for it in the outbox: a number for each, since a request that held events of two would tell that they are of
    /// one user.
    pub(crate) const fn mode(self) -> u8 {
        let users = match self.users {
            Users::Named => 0,
            Users::SessionOnly => 2,
            Users::Hidden => 4,
        };
        if self.server { users | MODE_SERVER_ANONYMOUS } else { users }
    }
}

/// The bit of the modes whose requests are sent with `SP-Anonymous`.
pub(crate) const MODE_SERVER_ANONYMOUS: u8 = 1;
