//! A keyed hash for tables that strangers can fill.
//!
//! The key comes from the engine's own randomness, so nobody outside can choose inputs that
//! collide, and a run from one seed is the same every time. Quick on short keys and on whole
//! payloads alike; not a cryptographic hash, and its results never leave the process.

use std::hash::{BuildHasher, Hasher};

use rand::{Rng, rngs::StdRng};

/// The secret of one engine's tables.
#[derive(Clone, Copy)]
pub(super) struct HashKey {
    a: u64,
    b: u64,
    c: u64,
}

impl HashKey {
    pub(super) fn random(rng: &mut StdRng) -> Self {
        // Odd factors, so that no product loses its lowest bits.
        Self {
            a: rng.next_u64(),
            b: rng.next_u64() | 1,
            c: rng.next_u64() | 1,
        }
    }

    /// Hashes several parts, each with its length, so that bytes cannot move from one to the next
    /// unnoticed.
    #[inline]
    pub(super) fn hash(self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.build_hasher();
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl BuildHasher for HashKey {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            key: *self,
            state: self.a,
        }
    }
}

pub(super) struct KeyedHasher {
    key: HashKey,
    state: u64,
}

impl KeyedHasher {
    #[inline]
    fn mix(&mut self, low: u64, high: u64) {
        self.state = fold(self.state ^ low, high ^ self.key.b);
    }
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (blocks, tail) = bytes.as_chunks::<16>();
        for block in blocks {
            let block = u128::from_le_bytes(*block);
            self.mix(block as u64, (block >> 64) as u64);
        }
        let mut last = [0; 16];
        last[..tail.len()].copy_from_slice(tail);
        let last = u128::from_le_bytes(last);
        self.mix(last as u64, (last >> 64) as u64);
        self.write_usize(bytes.len());
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value, self.key.c);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        fold(self.state, self.key.c ^ self.key.a)
    }
}

#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn parts_keep_their_borders() {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        let mut seen = HashSet::new();
        for parts in [
            &[&b"ab"[..], b"c"][..],
            &[b"a", b"bc"],
            &[b"abc", b""],
            &[b"", b"abc"],
            &[b"abc"],
            &[b"abc\0"],
        ] {
            assert!(seen.insert(key.hash(parts)));
        }
        assert_ne!(
            key.hash(&[b"abc"]),
            HashKey::random(&mut StdRng::from_seed([2; 32])).hash(&[b"abc"])
        );
    }

    #[test]
    fn bits_spread() {
        let key = HashKey::random(&mut StdRng::from_seed([3; 32]));
        let mut low = HashSet::new();
        for i in 0u32..4096 {
            low.insert(key.hash(&[&i.to_le_bytes()]) & 0xffff);
        }
        // 4,096 balls in 65,536 bins leave about 3,970 bins with one.
        assert!(low.len() > 3_900, "{}", low.len());
    }
}
