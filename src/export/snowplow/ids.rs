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
    /// Sessions of late that are UUIDs, by a place that follows from the text.
    sessions: Vec<(String, Uuid)>,
}

impl Derivation {
    pub(super) fn new(namespace: Uuid) -> Self {
        let last = (String::new(), Uuid::new_v5(&namespace, b""));
        Self { namespace, recent: HashMap::new(), last, sessions: Vec::new() }
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
        let Some(end) = text.as_bytes().last_chunk::<4>() else { return self.other_session(text, policy) };
        if self.sessions.is_empty() {
            self.sessions.resize_with(SESSIONS, Default::default);
        }
        // The last digits are random in ids of any version but 1, and there they are as good as any.
        let bits = u32::from_le_bytes(*end).wrapping_mul(0x9e37_79b9) >> 16;
        let (known, id) = &mut self.sessions[bits as usize % SESSIONS];
        if known == text {
            return Resolved::Same(*id);
        }
        let Some(new) = dashed(text) else { return self.other_session(text, policy) };
        known.clear();
        known.push_str(text);
        *id = new;
        Resolved::Same(new)
    }

    /// A session whose id is not a UUID.
    #[inline(never)]
    fn other_session(&mut self, text: &str, policy: SessionIdPolicy) -> Resolved {
        match policy {
            SessionIdPolicy::UuidV5 => Resolved::Derived(self.derive(text)),
            SessionIdPolicy::Exact => Resolved::Refused,
            SessionIdPolicy::Omit => Resolved::Omitted,
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

/// How many sessions are remembered.
const SESSIONS: usize = 512;

/// A UUID with dashes, in any case, of any version, but not the nil UUID: as `userId` that one says "anonymous".
pub(super) fn dashed(text: &str) -> Option<Uuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return None;
    }
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}

/// UUIDs of version 4 for a batch: random bits of the system, spread over its events.
///
/// Nothing of a batch is left for the next: a process that forks would use it twice. The spreading can be undone, so
/// that who knows one id of a batch may find the others; ids of events are no secrets.
#[derive(Debug, Default)]
pub(super) struct Randoms {
    high: u64,
    low: u64,
}

impl Randoms {
    /// Asks the system for new bits.
    pub(super) fn draw(&mut self) {
        let (high, low) = random().as_u64_pair();
        (self.high, self.low) = (high, low);
    }

    pub(super) fn next(&mut self) -> Uuid {
        // Two sequences that visit every number once, each mixed without loss: no two ids of a batch are the same, and
        // those of two batches are only if all 128 bits they were drawn with fit together.
        self.high = self.high.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.low = self.low.wrapping_add(0xd1b5_4a32_d192_ed03);
        let bits = u128::from(mix(self.high)) << 64 | u128::from(mix(self.low));
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// The finish of `SplitMix64` (Steele, Lea, Flood 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A UUID of random bits of the system; where it has none, of the hasher's keys, since no event may bring the application
/// down.
pub(super) fn random() -> Uuid {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&RandomState::new().hash_one(index).to_ne_bytes());
        }
    }
    Uuid::from_bytes(bytes)
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
    fn random_ids_are_of_version_4_and_differ_within_and_between_batches() {
        let mut randoms = Randoms::default();
        let mut ids = std::collections::HashSet::new();
        for _ in 0..100 {
            randoms.draw();
            ids.extend((0..100).map(|_| randoms.next()));
        }
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122));
        let ones: u32 = ids.iter().map(|id| id.as_u128().count_ones()).sum();
        assert!((614_000..646_000).contains(&ones), "{ones} of 1,280,000 bits");
    }
}
