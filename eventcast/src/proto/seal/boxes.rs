//! The box: one datagram encrypted, then authenticated (WIRE.md section 8).
//!
//! Responsible for the bytes of the box and for the order in which they are looked at. Whether what
//! was opened is fresh, for this bus, and new is decided elsewhere. Nothing here allocates once its
//! buffers have grown.

use std::net::IpAddr;

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, block_padding::Pkcs7},
};
use hmac::Mac;

use super::{
    keys::{HmacSha256, SealKey, SealKeys},
    replays::Sealer,
};
use crate::proto::DropCause;

type Encryptor<'a> = cbc::Encryptor<&'a Aes128>;
type Decryptor<'a> = cbc::Decryptor<&'a Aes128>;

/// The one suite there is.
const SUITE: u8 = 1;

// Where things begin.
const AT_KEY_ID: usize = 1;
const AT_SENDER: usize = 5;
const AT_INCARNATION: usize = 13;
const AT_COUNTER: usize = 21;
const AT_IV: usize = 29;
const AT_CIPHERTEXT: usize = 45;
const TAG_LEN: usize = 32;

const BLOCK: usize = 16;

/// What stands before the datagram in the plaintext: send time and recipient.
const PRELUDE: usize = 16;

/// The shortest box: two blocks of ciphertext, which is what the prelude takes with its padding.
const SHORTEST: usize = AT_CIPHERTEXT + 2 * BLOCK + TAG_LEN;

/// The length of the box that holds a datagram of so many bytes.
pub(super) const fn box_len(datagram: usize) -> usize {
    AT_CIPHERTEXT + ((PRELUDE + datagram) / BLOCK + 1) * BLOCK + TAG_LEN
}

/// The length of the longest datagram whose box has at most so many bytes.
pub(super) const fn longest_in(box_len: usize) -> usize {
    let blocks = box_len.saturating_sub(AT_CIPHERTEXT + TAG_LEN) / BLOCK;
    (blocks * BLOCK).saturating_sub(PRELUDE + 1)
}

/// What is written around a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealHeader {
    pub(super) sealer: Sealer,
    /// All 64 bits.
    pub(super) counter: u64,
    pub(super) iv: [u8; 16],
    pub(super) send_time: u64,
    /// Zeros for the group.
    pub(super) recipient: [u8; 8],
}

/// Keys, bound to one group.
pub(super) struct Ring {
    send: Bound,
    receive: Vec<Bound>,
}

/// A key whose HMAC has absorbed the group's name.
struct Bound {
    key: SealKey,
    mac: HmacSha256,
}

impl Ring {
    pub(super) fn new(keys: &SealKeys, group: IpAddr, port: u16) -> Self {
        let bind = |key: &SealKey| Bound {
            key: key.clone(),
            mac: key.mac_for(group, port),
        };
        Self {
            send: bind(&keys.send),
            receive: keys.receive.iter().map(bind).collect(),
        }
    }

    /// Appends the box of a datagram.
    pub(super) fn seal(&self, header: &SealHeader, datagram: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let (sender, incarnation) = header.sealer;
        let Bound { key, mac } = &self.send;
        out.push(SUITE);
        out.extend_from_slice(&key.id());
        out.extend_from_slice(&sender);
        out.extend_from_slice(&incarnation.to_be_bytes());
        out.extend_from_slice(&header.counter.to_be_bytes());
        out.extend_from_slice(&header.iv);
        out.extend_from_slice(&header.send_time.to_be_bytes());
        out.extend_from_slice(&header.recipient);
        out.extend_from_slice(datagram);
        out.resize(start + box_len(datagram.len()) - TAG_LEN, 0);
        let text = &mut out[start + AT_CIPHERTEXT..];
        let encrypted = Encryptor::inner_iv_init(key.aes(), &header.iv.into())
            .encrypt_padded::<Pkcs7>(text, PRELUDE + datagram.len());
        debug_assert!(encrypted.is_ok(), "there is room for the padding");
        let tag = mac.clone().chain_update(&out[start..]).finalize();
        out.extend_from_slice(&tag.into_bytes());
    }

    /// Checks a box as far as its HMAC. Until that is good, nothing in the box can be trusted.
    pub(super) fn authenticate<'a>(&'a self, sealed: &'a [u8]) -> Result<Authentic<'a>, DropCause> {
        if sealed.len() < SHORTEST || sealed.len() % BLOCK != SHORTEST % BLOCK {
            return Err(DropCause::Malformed);
        }
        if sealed[0] != SUITE {
            return Err(DropCause::Suite);
        }
        let (signed, tag) = sealed.split_at(sealed.len() - TAG_LEN);
        let id: [u8; 4] = array_at(sealed, AT_KEY_ID);
        let mut cause = DropCause::Key;
        for Bound { key, mac } in std::iter::once(&self.send).chain(&self.receive) {
            if key.id() != id {
                continue;
            }
            // In constant time.
            if mac.clone().chain_update(signed).verify_slice(tag).is_ok() {
                return Ok(Authentic { key, signed });
            }
            cause = DropCause::Mac;
        }
        Err(cause)
    }
}

/// A box that a holder of a key has sealed.
pub(super) struct Authentic<'a> {
    key: &'a SealKey,
    signed: &'a [u8],
}

impl Authentic<'_> {
    pub(super) fn sealer(&self) -> Sealer {
        let incarnation = u64::from_be_bytes(array_at(self.signed, AT_INCARNATION));
        (array_at(self.signed, AT_SENDER), incarnation)
    }

    /// Replaces what is in `plain` by the datagram; gives what is written around it.
    pub(super) fn decrypt(&self, plain: &mut Vec<u8>) -> Result<SealHeader, DropCause> {
        let iv = array_at(self.signed, AT_IV);
        plain.clear();
        plain.extend_from_slice(&self.signed[AT_CIPHERTEXT..]);
        let len = Decryptor::inner_iv_init(self.key.aes(), &iv.into())
            .decrypt_padded::<Pkcs7>(plain)
            .map_err(|_| DropCause::Malformed)?
            .len();
        plain.truncate(len);
        // Two blocks have at least 16 bytes that are no padding.
        let header = SealHeader {
            sealer: self.sealer(),
            counter: u64::from_be_bytes(array_at(self.signed, AT_COUNTER)),
            iv,
            send_time: u64::from_be_bytes(array_at(plain, 0)),
            recipient: array_at(plain, 8),
        };
        Ok(header)
    }
}

/// The datagram in what [`Authentic::decrypt`] gave.
pub(super) fn datagram(plain: &[u8]) -> &[u8] {
    &plain[PRELUDE..]
}

/// The bytes that begin there, of a text that was found long enough.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the length was checked")
}

#[cfg(test)]
mod tests {
    use super::{super::vectors, *};

    #[test]
    fn every_vector_is_sealed_to_its_box_and_opened_again() {
        for vector in vectors::good() {
            let ring = vector.ring();
            let mut sealed = Vec::new();
            let header = vector.header_of_box();
            ring.seal(&header, &vector.inner, &mut sealed);
            assert_eq!(sealed, vector.sealed, "{}", vector.label);
            assert_eq!(sealed.len(), box_len(vector.inner.len()));

            let authentic = ring.authenticate(&vector.sealed).expect("its tag is good");
            assert_eq!(authentic.sealer(), header.sealer);
            let mut plain = Vec::new();
            assert_eq!(authentic.decrypt(&mut plain), Ok(header));
            assert_eq!(datagram(&plain), vector.inner);
        }
    }

    #[test]
    fn every_length_comes_back() {
        let ring = vectors::good()[0].ring();
        let header = vectors::good()[0].header_of_box();
        let (mut sealed, mut plain) = (Vec::new(), Vec::new());
        for len in 0..100 {
            let datagram_in: Vec<u8> = (0..len).collect();
            sealed.clear();
            ring.seal(&header, &datagram_in, &mut sealed);
            assert_eq!(sealed.len(), box_len(len.into()));
            let authentic = ring.authenticate(&sealed).expect("its tag is good");
            assert_eq!(authentic.decrypt(&mut plain), Ok(header));
            assert_eq!(datagram(&plain), datagram_in);
        }
        for len in 0..3000 {
            let longest = longest_in(len);
            assert!(longest == 0 || box_len(longest) <= len);
            assert!(len < SHORTEST || box_len(longest + 1) > len);
        }
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_cut() {
        let vector = &vectors::good()[0];
        let ring = vector.ring();
        let refused = |sealed: &[u8]| ring.authenticate(sealed).err();
        for bit in 0..vector.sealed.len() * 8 {
            let mut flipped = vector.sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let cause = match bit / 8 {
                0 => DropCause::Suite,
                1..=4 => DropCause::Key,
                _ => DropCause::Mac,
            };
            assert_eq!(refused(&flipped), Some(cause), "{bit}");
        }
        for len in 0..vector.sealed.len() {
            let fits = len >= SHORTEST && (len - SHORTEST).is_multiple_of(16);
            let cause = if fits {
                DropCause::Mac
            } else {
                DropCause::Malformed
            };
            assert_eq!(refused(&vector.sealed[..len]), Some(cause), "{len}");
        }
    }

    /// A box around any plaintext, padded or not, from a holder of the key that breaks the rules.
    fn around(ring: &Ring, blocks: &[u8]) -> Vec<u8> {
        use aes::cipher::block_padding::NoPadding;
        let header = vectors::good()[0].header_of_box();
        let mut sealed = Vec::new();
        ring.seal(&header, b"", &mut sealed);
        sealed.truncate(AT_CIPHERTEXT);
        let mut text = blocks.to_vec();
        Encryptor::inner_iv_init(ring.send.key.aes(), &header.iv.into())
            .encrypt_padded::<NoPadding>(&mut text, blocks.len())
            .unwrap();
        sealed.extend_from_slice(&text);
        let tag = ring.send.mac.clone().chain_update(&sealed).finalize();
        sealed.extend_from_slice(&tag.into_bytes());
        sealed
    }

    #[test]
    fn padding_is_checked() {
        let ring = vectors::good()[0].ring();
        let mut plain = Vec::new();
        let mut open = |blocks: &[u8]| {
            let sealed = around(&ring, blocks);
            let authentic = ring.authenticate(&sealed).expect("its tag is good");
            authentic
                .decrypt(&mut plain)
                .map(|_| datagram(&plain).len())
        };
        assert_eq!(open(&[16; 32]), Ok(0));
        assert_eq!(open(&[1; 32]), Ok(15));
        assert_eq!(open(&[2; 48]), Ok(30));
        for last in [0, 17, 32, 255] {
            let mut blocks = [16; 32];
            blocks[31] = last;
            assert_eq!(open(&blocks), Err(DropCause::Malformed), "{last}");
        }
        let mut blocks = [3; 32];
        blocks[29] = 4;
        assert_eq!(open(&blocks), Err(DropCause::Malformed));
    }

    #[test]
    fn keys_that_share_an_id_are_each_tried() {
        let good = &vectors::good()[0];
        let mut other = [9; 32];
        // Roots whose ids are the same are hard to come by; a key with the id of another is not.
        let theirs = SealKey::from_root(&good.root);
        let ours = (0..).map(|i: u32| {
            other[..4].copy_from_slice(&i.to_le_bytes());
            SealKey::from_root(&other)
        });
        let ours: Vec<_> = ours.take(3).collect();
        let keys = |send: &SealKey, receive: &[&SealKey]| {
            let keys = SealKeys::new(send.clone());
            receive
                .iter()
                .fold(keys, |keys, key| keys.and_receive((*key).clone()))
        };
        let opens = |keys: &SealKeys| {
            let ring = Ring::new(keys, good.group, good.port);
            ring.authenticate(&good.sealed).map(|_| ())
        };
        assert_eq!(opens(&keys(&ours[0], &[&ours[1], &theirs])), Ok(()));
        assert_eq!(opens(&keys(&theirs, &[])), Ok(()));
        assert_eq!(
            opens(&keys(&ours[0], &[&ours[1], &ours[2]])),
            Err(DropCause::Key)
        );
        let twin = ours[0].with_id_of(&theirs);
        assert_eq!(opens(&keys(&twin, &[])), Err(DropCause::Mac));
        assert_eq!(opens(&keys(&twin, &[&theirs])), Ok(()));
        assert_eq!(opens(&keys(&ours[1], &[&twin, &theirs])), Ok(()));
    }
}
