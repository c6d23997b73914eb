//! The cookie `_sp_id` of the browser tracker, for servers that read it.
//!
//! ```text
//! duid . created(s) . visit count . now(s) . last visit(s) . session . previous session . first event . its time(ms) . event index
//! ```
//!
//! Trackers of version 2 wrote the first six parts only, and the very first ones five; what is absent is absent here.

use std::fmt;
use std::str::FromStr;

/// What the browser tracker keeps in the cookie `_sp_id.<hash>`. Times are as the cookie has them.
///
/// Reading never fails: parts that are absent or no numbers take the tracker's own defaults, 0 and nothing.
///
/// ```
/// use otel_session::export::snowplow::IdCookie;
///
/// let cookie = IdCookie::from_header("a=b; _sp_id.1fff=d5c4.1700000000.3.1700000100.1700000050.77a1.66b2.55c3.1700000090123.7");
/// assert_eq!(cookie.map(|it| (it.visit_count, it.event_index)), Some((3, 7)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdCookie {
    /// The domain user id; empty when the session is anonymous.
    pub domain_user_id: String,
    /// When the user was first seen: seconds since 1970.
    pub created: u64,
    /// How many sessions the user has had: the index of the live one, from 1.
    pub visit_count: u64,
    /// When the cookie was written: seconds since 1970.
    pub now: u64,
    /// When the session before began to be the last one: seconds since 1970.
    pub last_visit: Option<u64>,
    /// The live session's id.
    pub session_id: Option<String>,
    /// The id of the session before.
    pub previous_session_id: Option<String>,
    /// The id of the session's first event.
    pub first_event_id: Option<String>,
    /// The time of the session's first event: milliseconds since 1970.
    pub first_event_millis: Option<u64>,
    /// How many events the session has had.
    pub event_index: u64,
}

impl IdCookie {
    /// Reads the first cookie of the header `Cookie` whose name begins with `_sp_id`, the tracker's default.
    #[must_use]
    pub fn from_header(header: &str) -> Option<Self> {
        Self::from_header_named(header, "_sp_")
    }

    /// The same for a tracker configured with another `cookieName`.
    #[must_use]
    pub fn from_header_named(header: &str, cookie_name: &str) -> Option<Self> {
        let named = |name: &str| {
            name.strip_prefix(cookie_name)
                .and_then(|rest| rest.strip_prefix("id"))
                .is_some_and(|it| it.is_empty() || it.starts_with('.'))
        };
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| named(name)).map(|(_, value)| Self::parse(value))
    }

    /// Reads the value of the cookie.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let mut parts = value.split('.');
        let mut text = || parts.next().filter(|it| !it.is_empty()).map(str::to_owned);
        let number = |text: Option<String>| text.and_then(|it| it.parse().ok());
        let domain_user_id = text().unwrap_or_default();
        let created = number(text()).unwrap_or(0);
        let visit_count = number(text()).unwrap_or(0);
        let now = number(text()).unwrap_or(0);
        let last_visit = number(text());
        let (session_id, previous_session_id, first_event_id) = (text(), text(), text());
        let first_event_millis = number(text());
        let event_index = number(text()).unwrap_or(0);
        Self {
            domain_user_id,
            created,
            visit_count,
            now,
            last_visit,
            session_id,
            previous_session_id,
            first_event_id,
            first_event_millis,
            event_index,
        }
    }

    /// The same as an anonymous session keeps it: without the user and the session before.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.domain_user_id.clear();
        self.previous_session_id = None;
        self
    }
}

impl FromStr for IdCookie {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(value))
    }
}

impl fmt::Display for IdCookie {
    /// The value as the tracker writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}.", self.domain_user_id, self.created, self.visit_count, self.now)?;
        write!(f, "{}.", Shown(self.last_visit.as_ref()))?;
        write!(f, "{}.{}.", Shown(self.session_id.as_ref()), Shown(self.previous_session_id.as_ref()))?;
        write!(f, "{}.{}.", Shown(self.first_event_id.as_ref()), Shown(self.first_event_millis.as_ref()))?;
        write!(f, "{}", self.event_index)
    }
}

/// A part, or nothing.
struct Shown<'a, T>(Option<&'a T>);

impl<T: fmt::Display> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |it| it.fmt(f))
    }
}
