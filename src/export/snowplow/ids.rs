//! The UUIDs that Snowplow wants, from the texts that OpenTelemetry has.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use uuid::{Builder, Uuid};

use super::SessionIdPolicy;

/// What became of a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolved {
    /// It is a UUID with dashes.
    Same(Uuid),
    /// It is some other text, for which this UUID stands.
    Derived(Uuid),
    /// The event goes without a session.
    Omitted,
    /// The event does not go.
    Refused,
}

/// Makes UUIDs of texts and remembers the recent ones: a session has many events.
#[derive(Debug)]
pub(super) struct Derivation {
    namespace: Uuid,
    recent: HashMap<Box<str>, Uuid>,
    /// The text asked for last: the next record mostly asks for it again.
    last: (String, Uuid),
    /// The session asked for last that is a UUID.
    last_session: (String, Uuid),
}

impl Derivation {
    pub(super) fn new(namespace: Uuid) -> Self {
        let last = (String::new(), Uuid::new_v5(&namespace, b""));
        Self { namespace, recent: HashMap::new(), last, last_session: (String::new(), Uuid::nil()) }
    }

    /// The UUID of version 5 of a text.
    pub(super) fn derive(&mut self, text: &str) -> Uuid {
        const MOST: usize = 4096;
        const LONGEST: usize = 200;
        if self.last.0 == text {
            return self.last.1;
        }
        let id = self.recent.get(text).copied().unwrap_or_else(|| self.derive_once(text));
        if text.len() <= LONGEST {
            if self.recent.len() >= MOST {
                self.recent.clear();
            }
            if !self.recent.contains_key(text) {
                self.recent.insert(text.into(), id);
            }
            self.last.0.clear();
            self.last.0.push_str(text);
            self.last.1 = id;
        }
        id
    }

    /// The same for a text that will not come again.
    pub(super) fn derive_once(&self, text: &str) -> Uuid {
        Uuid::new_v5(&self.namespace, text.as_bytes())
    }

    pub(super) fn session(&mut self, text: &str, policy: SessionIdPolicy) -> Resolved {
        if text == self.last_session.0 && !text.is_empty() {
            return Resolved::Same(self.last_session.1);
        }
        match (dashed(text), policy) {
            (Some(id), _) => {
                self.last_session.0.clear();
                self.last_session.0.push_str(text);
                self.last_session.1 = id;
                Resolved::Same(id)
            }
            (None, SessionIdPolicy::UuidV5) => Resolved::Derived(self.derive(text)),
            (None, SessionIdPolicy::Exact) => Resolved::Refused,
            (None, SessionIdPolicy::Omit) => Resolved::Omitted,
        }
    }
}

impl Resolved {
    pub(super) fn id(self) -> Option<Uuid> {
        match self {
            Self::Same(id) | Self::Derived(id) => Some(id),
            Self::Omitted | Self::Refused => None,
        }
    }
}

/// A UUID with dashes, in any case, of any version, but not the nil UUID: as `userId` that one says "anonymous".
pub(super) fn dashed(text: &str) -> Option<Uuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return None;
    }
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}

/// Random UUIDs of version 4, drawn for a whole batch at once.
///
/// What a batch does not use is thrown away with it: a process that forks would use it twice.
#[derive(Debug, Default)]
pub(super) struct Randoms {
    pool: Vec<u8>,
}

impl Randoms {
    /// Draws as many as a batch may need.
    pub(super) fn draw(&mut self, count: usize) {
        self.pool.clear();
        self.pool.resize(count.min(MOST_DRAWN) * 16, 0);
        fill(&mut self.pool);
    }

    pub(super) fn next(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        if let Some(start) = self.pool.len().checked_sub(16) {
            bytes.copy_from_slice(&self.pool[start..]);
            self.pool.truncate(start);
        } else {
            fill(&mut bytes);
        }
        Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(super) fn discard(&mut self) {
        self.pool.clear();
    }
}

/// Random bytes of the system; where it has none, of the hasher's keys, since no event may bring the application down.
fn fill(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = RandomState::new().hash_one(index).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// 64 kB at once.
const MOST_DRAWN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::snowplow::ID_NAMESPACE;

    #[test]
    fn the_namespace_is_the_uuid_of_our_vendor_in_the_namespace_of_domain_names() {
        assert_eq!(ID_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, super::super::DEFAULT_VENDOR.as_bytes()));
    }

    #[test]
    fn only_dashed_uuids_are_taken_as_they_are() {
        let mut derivation = Derivation::new(ID_NAMESPACE);
        let id = Uuid::from_u128(0xABCD);
        for policy in [SessionIdPolicy::UuidV5, SessionIdPolicy::Exact, SessionIdPolicy::Omit] {
            assert_eq!(derivation.session(&id.to_string(), policy), Resolved::Same(id));
            assert_eq!(derivation.session(&id.to_string().to_uppercase(), policy), Resolved::Same(id));
            let others =
                [id.simple().to_string(), id.braced().to_string(), id.urn().to_string(), Uuid::nil().to_string()];
            for other in others.iter().map(String::as_str).chain(["1234567891234", "✓", "a\nb"]) {
                let expected = match policy {
                    SessionIdPolicy::UuidV5 => Resolved::Derived(Uuid::new_v5(&ID_NAMESPACE, other.as_bytes())),
                    SessionIdPolicy::Exact => Resolved::Refused,
                    SessionIdPolicy::Omit => Resolved::Omitted,
                };
                assert_eq!(derivation.session(other, policy), expected, "{other:?}");
                assert_eq!(derivation.session(other, policy), expected, "{other:?}, remembered");
            }
        }
    }

    #[test]
    fn random_ids_are_of_version_4_and_differ_beyond_what_was_drawn() {
        let mut randoms = Randoms::default();
        randoms.draw(2);
        let ids: std::collections::HashSet<_> = (0..5).map(|_| randoms.next()).collect();
        assert_eq!(ids.len(), 5);
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
    }
}
