//! The boxes of sealed datagrams, made and opened by the wire document (section 8), without the
//! library.
//!
//! Whoever has the key can put anything into a box, and say anything around it: so this can make
//! what the library would not.

use std::{net::IpAddr, ops::Range};

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7},
};
use bson::{Binary, Bson, doc, spec::BinarySubtype};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::craft;

/// The bit of a counter that says that it counts datagrams to single peers.
pub const TO_ONE: u64 = 1 << 63;

// Where things begin in a box.
const AT_KEY_ID: usize = 1;
const AT_SENDER: usize = 5;
const AT_INCARNATION: usize = 13;
const AT_COUNTER: usize = 21;
const AT_IV: usize = 29;
const AT_CIPHERTEXT: usize = 45;
const TAG: usize = 32;

/// What stands before the datagram in the plaintext.
const PRELUDE: usize = 16;

/// What stands between the metadata and the box: the length of a document, the key of an array, its
/// length, the key of a binary value, its length and its subtype.
const BEFORE_BOX: usize = 4 + 1 + 8 + 4 + 1 + 2 + 4 + 1;

/// The ends of the array and of the document.
const AFTER_BOX: usize = 2;

/// A datagram that is, or is to be, in a box, and what stands around it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The sender's 8 bytes and its incarnation.
    pub sealer: ([u8; 8], u64),
    /// Its counter, all 64 bits.
    pub counter: u64,
    /// When it was sent, in milliseconds since 1970 by the sender's clock.
    pub sent_ms: u64,
    /// For whom: zeros for the group.
    pub recipient: [u8; 8],
    /// The datagram.
    pub datagram: Vec<u8>,
}

/// What seals and opens for one group.
pub struct Key {
    id: [u8; 4],
    aes: [u8; 16],
    mac: Hmac<Sha256>,
}

impl Key {
    /// The key of this root.
    pub fn new(root: &[u8; 32], (group, port): (IpAddr, u16)) -> Self {
        let derive = |text: &str| keyed(root).chain_update(text).finalize().into_bytes();
        Self {
            id: first_bytes(&derive("eventcast/1 id")),
            aes: first_bytes(&derive("eventcast/1 aes")),
            mac: keyed(&derive("eventcast/1 mac"))
                .chain_update(format!("eventcast/sealed/1|{group}:{port}|")),
        }
    }

    /// What is in a box. `None`: it was not sealed with this key, or not well.
    pub fn open(&self, sealed: &[u8]) -> Option<Content> {
        let (signed, tag) = sealed.split_last_chunk::<TAG>()?;
        if signed.first() != Some(&1) || signed.get(AT_KEY_ID..AT_SENDER) != Some(&self.id) {
            return None;
        }
        let expected = self.mac.clone().chain_update(signed).finalize();
        if expected.into_bytes()[..] != tag[..] {
            return None;
        }
        let iv: [u8; 16] = first_bytes(signed.get(AT_IV..AT_CIPHERTEXT)?);
        let mut plain = signed[AT_CIPHERTEXT..].to_vec();
        let cipher = cbc::Decryptor::<Aes128>::new(&self.aes.into(), &iv.into());
        let len = cipher.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
        plain.truncate(len);
        let (prelude, datagram) = plain.split_at_checked(PRELUDE)?;
        Some(Content {
            sealer: (
                first_bytes(&signed[AT_SENDER..]),
                word(&signed[AT_INCARNATION..]),
            ),
            counter: word(&signed[AT_COUNTER..]),
            sent_ms: word(prelude),
            recipient: first_bytes(&prelude[8..]),
            datagram: datagram.to_vec(),
        })
    }

    /// The box around this.
    pub fn seal(&self, content: &Content, iv: [u8; 16]) -> Vec<u8> {
        let (sender, incarnation) = content.sealer;
        let label = [
            &[1],
            &self.id[..],
            &sender,
            &incarnation.to_be_bytes(),
            &content.counter.to_be_bytes(),
            &iv,
        ];
        let sent = content.sent_ms.to_be_bytes();
        let plain = [&sent[..], &content.recipient, &content.datagram].concat();
        let mut padded = plain.clone();
        padded.resize(plain.len() + 16, 0);
        let cipher = cbc::Encryptor::<Aes128>::new(&self.aes.into(), &iv.into());
        let text = cipher
            .encrypt_padded::<Pkcs7>(&mut padded, plain.len())
            .expect("there is room for a block of padding");
        let mut sealed = label.concat();
        sealed.extend_from_slice(text);
        let tag = self.mac.clone().chain_update(&sealed).finalize();
        sealed.extend_from_slice(&tag.into_bytes());
        sealed
    }
}

/// Where the box begins and ends in a sealed datagram, if there is room for one.
pub fn box_in(bytes: &[u8]) -> Option<Range<usize>> {
    let metadata = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let range = 2 + metadata + BEFORE_BOX..bytes.len().checked_sub(AFTER_BOX)?;
    (range.end > range.start + AT_CIPHERTEXT + TAG).then_some(range)
}

/// The sealed datagram that carries a box, under this id of 40 hex digits.
pub fn carry(sealed: Vec<u8>, seq_id: &str) -> Vec<u8> {
    let metadata = doc! {
        "v": 3, "seq": 0, "seqLen": 1, "seqId": seq_id, "seqEnd": true, "enc": false, "name": "__ec_sealed",
        "host": "", "port": 0, "hostname": "", "id": "", "time": "",
    };
    let argument = Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: sealed,
    });
    let payload = craft::bytes_of(&doc! { "payload": [argument] });
    craft::join(&craft::bytes_of(&metadata), &payload)
}

/// The 8 bytes that an id of 16 hex digits says.
pub fn bytes_of_id(id: &str) -> [u8; 8] {
    u64::from_str_radix(id, 16).map_or([0; 8], u64::to_be_bytes)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key has any length")
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(first_bytes(bytes))
}

fn first_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("there are more")
}
