//! Maps by ids and their like, which every event looks into.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

#[cfg(feature = "snowplow")]
use uuid::Uuid;

/// A map by UUID.
#[cfg(feature = "snowplow")]
pub(super) type ByUuid<T> = HashMap<Uuid, T, Keys>;

/// A map by the lane of an event.
pub(super) type ByLane<T> = HashMap<u32, T, Keys>;

/// Hashes an id by one multiplication with keys that are random to each map: ids come from outside, and nobody shall be able to
/// choose some that all fall into one place.
#[derive(Debug, Clone)]
pub(super) struct Keys([u64; 2]);

impl Default for Keys {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0), random.hash_one(1)])
    }
}

impl BuildHasher for Keys {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { keys: self.0, hash: 0 }
    }
}

/// The hash in the making.
#[derive(Debug)]
pub(super) struct Folded {
    keys: [u64; 2],
    hash: u64,
}

impl Hasher for Folded {
    // So that how many bytes it hashes is known to the compiler.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for half in bytes.chunks(16) {
            let mut words = [[0; 8]; 2];
            words.as_flattened_mut()[..half.len()].copy_from_slice(half);
            let [one, other] = words.map(u64::from_ne_bytes);
            let product = u128::from(one ^ self.keys[0] ^ self.hash) * u128::from(other ^ self.keys[1]);
            #[allow(clippy::cast_possible_truncation)] // folding
            let folded = (product >> 64) as u64 ^ product as u64;
            self.hash = folded;
        }
    }

    /// How long an id is need not be hashed.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_that_differ_in_any_bit_have_other_hashes_and_other_maps_have_other_ones() {
        let (keys, others) = (Keys::default(), Keys::default());
        let id = Uuid::from_u128(0x6de9_024e_17b9_4026_bd4d_efec_50ae_84cb);
        let mut hashes: Vec<_> = (0..128).map(|bit| keys.hash_one(Uuid::from_u128(id.as_u128() ^ 1 << bit))).collect();
        assert_eq!(keys.hash_one(id), keys.hash_one(id));
        hashes.extend([keys.hash_one(id), others.hash_one(id)]);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 130);
    }
}
