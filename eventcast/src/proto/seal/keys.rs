//! Keys: from a passphrase or a ready key to keys that seal and open (WIRE.md section 8, "Keys").
//!
//! Responsible for derivation, and for wiping its intermediate values. Everything that a datagram
//! needs of a key is prepared here once: the AES round keys, and the two states from which every
//! HMAC begins. Not responsible for deriving off the async threads, or once per process: the caller
//! is.

use std::{fmt, net::IpAddr, sync::Arc};

use aes::Aes128;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// PBKDF2's rounds: what OWASP recommends with HMAC-SHA-256.
const ROUNDS: u32 = 600_000;

/// The shortest ready key, in bytes. It is used as it is, so it has to be as hard to guess as the
/// keys derived from it.
pub(super) const SHORTEST_READY_KEY: usize = 32;

/// What the default salt and the text under the HMAC begin with.
const LABEL: &str = "eventcast/sealed/1|";

pub(super) type HmacSha256 = Hmac<Sha256>;

/// A key to seal datagrams with, and to open them.
///
/// Cheap to clone: clones share the key, which is wiped from memory with the last of them. `Debug`
/// shows the key id, which travels in the clear in any case, and nothing else.
#[derive(Clone)]
pub struct SealKey(Arc<Inner>);

struct Inner {
    id: [u8; 4],
    aes: Aes128,
    mac: HmacSha256,
}

/// A passphrase or key is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealKeyError {
    /// The passphrase is empty.
    #[error("the passphrase is empty: give one, or none at all for a bus in the clear")]
    EmptyPassphrase,
    /// The ready key is too short to be safe.
    #[error(
        "a ready key has at least {SHORTEST_READY_KEY} random bytes, this one has {len}: draw a longer one, or give it as a passphrase"
    )]
    ShortKey {
        /// Its length in bytes.
        len: usize,
    },
}

impl SealKey {
    /// The key that a passphrase gives with this salt; [`default_salt`](Self::default_salt) where
    /// none is configured.
    ///
    /// The passphrase is taken as it is, without any normalisation. This is meant to be slow,
    /// 600,000 rounds of PBKDF2-HMAC-SHA-256 (RFC 8018 section 5.2): some 100 ms where the
    /// processor has instructions for SHA-256, and many times as long in a build without
    /// optimisation. Call it once, and not on an async thread.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::EmptyPassphrase`].
    pub fn from_passphrase(passphrase: &str, salt: &[u8]) -> Result<Self, SealKeyError> {
        if passphrase.is_empty() {
            return Err(SealKeyError::EmptyPassphrase);
        }
        let mut root = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), salt, ROUNDS, &mut *root);
        Ok(Self::from_root(&root))
    }

    /// The key that a ready key of 32 bytes or more gives with this salt: HKDF-Extract (RFC 5869
    /// section 2.2), which takes no time. The bytes have to be random.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::ShortKey`].
    pub fn from_ready_key(key: &[u8], salt: &[u8]) -> Result<Self, SealKeyError> {
        if key.len() < SHORTEST_READY_KEY {
            return Err(SealKeyError::ShortKey { len: key.len() });
        }
        Ok(Self::from_root(&hmac(salt, key)))
    }

    /// The key that comes from a root, as a passphrase or a ready key gives one: for tests that
    /// have to be quick.
    #[must_use]
    pub fn from_root(root: &[u8; 32]) -> Self {
        let parts = Parts::of(root);
        Self(Arc::new(Inner {
            id: parts.id,
            aes: Aes128::new_from_slice(&*parts.aes).expect("AES-128 takes 16 bytes"),
            mac: HmacSha256::new_from_slice(&*parts.mac).expect(ANY_LENGTH),
        }))
    }

    /// The salt where none is configured: it parts groups that use one passphrase.
    #[must_use]
    pub fn default_salt(group: IpAddr, port: u16) -> Vec<u8> {
        format!("{LABEL}{group}:{port}").into_bytes()
    }

    /// What names this key on the wire.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.0.id
    }

    /// This key under another one's id, as some two of 65,536 keys may well have the same.
    #[cfg(test)]
    pub(super) fn with_id_of(&self, other: &Self) -> Self {
        Self(Arc::new(Inner {
            id: other.id(),
            aes: self.0.aes.clone(),
            mac: self.0.mac.clone(),
        }))
    }

    pub(super) fn aes(&self) -> &Aes128 {
        &self.0.aes
    }

    /// The HMAC of this key, with the text before it that binds it to one group.
    pub(super) fn mac_for(&self, group: IpAddr, port: u16) -> HmacSha256 {
        let text = format!("{LABEL}{group}:{port}|");
        self.0.mac.clone().chain_update(text)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({:08x})", u32::from_be_bytes(self.0.id))
    }
}

/// What a root gives.
struct Parts {
    aes: Zeroizing<[u8; 16]>,
    mac: Zeroizing<[u8; 32]>,
    id: [u8; 4],
}

impl Parts {
    fn of(root: &[u8; 32]) -> Self {
        let first = |label: &[u8]| hmac(root, label);
        Self {
            aes: Zeroizing::new(*first(b"eventcast/1 aes").first_chunk().expect(SHORTER)),
            mac: first(b"eventcast/1 mac"),
            id: *first(b"eventcast/1 id").first_chunk().expect(SHORTER),
        }
    }
}

const ANY_LENGTH: &str = "HMAC takes keys of any length";
const SHORTER: &str = "it is shorter than a digest";

fn hmac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mac = HmacSha256::new_from_slice(key).expect(ANY_LENGTH);
    Zeroizing::new(mac.chain_update(text).finalize().into_bytes().into())
}

/// The keys of a bus: one to seal with, and all that it opens with.
///
/// To change the key of a running group without losing an event: first let every bus receive with
/// both keys, then every bus send with the new one, then take the old one away.
#[derive(Clone, Debug)]
pub struct SealKeys {
    pub(super) send: SealKey,
    pub(super) receive: Vec<SealKey>,
}

impl SealKeys {
    /// This key both ways.
    #[must_use]
    pub fn new(key: SealKey) -> Self {
        Self {
            send: key,
            receive: Vec::new(),
        }
    }

    /// And this one to receive with.
    #[must_use]
    pub fn and_receive(mut self, key: SealKey) -> Self {
        self.receive.push(key);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{super::vectors, *};

    #[test]
    fn every_root_of_the_vectors_gives_its_keys() {
        for vector in vectors::all() {
            let parts = Parts::of(&vector.root);
            assert_eq!(parts.aes.as_slice(), vector.aes_key, "{}", vector.label);
            assert_eq!(parts.mac.as_slice(), vector.mac_key, "{}", vector.label);
            assert_eq!(parts.id.as_slice(), vector.key_id, "{}", vector.label);
        }
    }

    #[test]
    fn passphrases_and_ready_keys_give_the_roots() {
        let mut done = Vec::new();
        for vector in vectors::all() {
            let salt = vector.salt.clone();
            let salt = salt.unwrap_or_else(|| SealKey::default_salt(vector.group, vector.port));
            let what = (vector.passphrase.clone(), salt.clone());
            if done.contains(&what) {
                continue;
            }
            done.push(what);
            let key = match (&vector.passphrase, &vector.ready_key) {
                (Some(passphrase), None) => SealKey::from_passphrase(passphrase, &salt),
                (None, Some(ready)) => {
                    assert_eq!(*hmac(&salt, ready), vector.root, "{}", vector.label);
                    SealKey::from_ready_key(ready, &salt)
                }
                _ => panic!("{}", vector.label),
            };
            // The whole root stands behind the id.
            assert_eq!(key.unwrap().id().as_slice(), vector.key_id);
        }
        assert_eq!(done.len(), 4);
    }

    /// That is a feature of each of these crates, without which everything else would go on as
    /// before. An HMAC is two states of its hash and a buffer of it, and says nothing of its own.
    #[test]
    fn what_holds_a_key_is_wiped_when_it_goes() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<Aes128>();
        is_wiped::<Sha256>();
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let empty = SealKey::from_passphrase("", b"salt");
        assert_eq!(empty.unwrap_err(), SealKeyError::EmptyPassphrase);
        let short = SealKey::from_ready_key(&[7; 31], b"salt");
        assert_eq!(short.unwrap_err(), SealKeyError::ShortKey { len: 31 });
        assert!(SealKey::from_ready_key(&[7; 32], b"").is_ok());
    }

    #[test]
    fn nothing_shows_but_the_id() {
        let key = SealKey::from_root(&[7; 32]);
        let id = u32::from_be_bytes(key.id());
        assert_eq!(format!("{key:?}"), format!("SealKey({id:08x})"));
        let keys = SealKeys::new(key.clone()).and_receive(key);
        let shown = format!("{keys:?}");
        assert_eq!(
            shown,
            format!("SealKeys {{ send: SealKey({id:08x}), receive: [SealKey({id:08x})] }}")
        );
    }

    #[test]
    fn salts_are_spelled_as_the_page_says() {
        let salt = |group: &str| SealKey::default_salt(group.parse().unwrap(), 9000);
        assert_eq!(salt("224.0.0.1"), b"eventcast/sealed/1|224.0.0.1:9000");
        assert_eq!(
            salt("FF02:0:0:0:0:0:0:1234"),
            b"eventcast/sealed/1|ff02::1234:9000"
        );
    }
}
