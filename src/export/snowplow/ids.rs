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
}

impl Derivation {
    pub(super) fn new(namespace: Uuid) -> Self {
        let last = (String::new(), Uuid::new_v5(&namespace, b""));
        Self { namespace, recent: HashMap::new(), last }
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
        match (dashed(text), policy) {
            (Some(id), _) => Resolved::Same(id),
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

/// Random UUIDs of version 4, of 256 random bits that are drawn for each batch.
///
/// They shall be unique, not secret, so the system need not make every bit of them, which for a batch would cost more than
/// its JSON. What a batch was given is forgotten with it: a process that forks would use it twice.
#[derive(Debug, Default)]
pub(super) struct Randoms {
    /// Of the generator xoshiro256++ by Blackman and Vigna, <https://prng.di.unimi.it>; none between batches.
    state: Option<[u64; 4]>,
}

impl Randoms {
    /// Begins a batch.
    pub(super) fn draw(&mut self) {
        let mut seed = [[0; 8]; 4];
        fill(seed.as_flattened_mut());
        self.state = Some(seed.map(u64::from_ne_bytes));
    }

    pub(super) fn next(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        match &mut self.state {
            Some(state) => bytes.as_chunks_mut().0.iter_mut().for_each(|half| *half = step(state).to_ne_bytes()),
            None => fill(&mut bytes),
        }
        Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(super) fn discard(&mut self) {
        self.state = None;
    }
}

fn step(state: &mut [u64; 4]) -> u64 {
    let [a, b, c, d] = *state;
    let (e, f) = (c ^ a, d ^ b);
    *state = [a ^ f, b ^ e, e ^ (b << 17), f.rotate_left(45)];
    a.wrapping_add(d).rotate_left(23).wrapping_add(a)
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
    fn random_ids_are_of_version_4_and_differ_within_batches_between_and_outside_of_them() {
        let mut randoms = Randoms::default();
        let mut ids = std::collections::HashSet::from([randoms.next(), randoms.next()]);
        for _ in 0..3 {
            randoms.draw();
            ids.extend((0..1000).map(|_| randoms.next()));
            randoms.discard();
        }
        assert_eq!(ids.len(), 3002);
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut state = [1, 2, 3, 4];
        let first = [(); 4].map(|()| step(&mut state));
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }
}
