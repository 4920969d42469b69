//! The known answers of `tests/vectors/sealed.json`, which another program made from WIRE.md.

use std::{net::IpAddr, path::Path};

use serde_json::Value;

use super::{
    SealConfig,
    boxes::{Ring, SealHeader},
    id_bytes,
    keys::{SealKey, SealKeys},
    opened,
};
use crate::proto::wire::SealedFrame;

pub(in crate::proto) struct Vector {
    pub(in crate::proto) label: String,
    pub(in crate::proto) passphrase: Option<String>,
    pub(in crate::proto) ready_key: Option<Vec<u8>>,
    pub(in crate::proto) salt: Option<Vec<u8>>,
    pub(in crate::proto) group: IpAddr,
    pub(in crate::proto) port: u16,
    pub(in crate::proto) root: [u8; 32],
    pub(in crate::proto) aes_key: Vec<u8>,
    pub(in crate::proto) mac_key: Vec<u8>,
    pub(in crate::proto) key_id: Vec<u8>,
    pub(in crate::proto) receiver: String,
    pub(in crate::proto) now: u64,
    pub(in crate::proto) sealed: Vec<u8>,
    pub(in crate::proto) datagram: Vec<u8>,
    /// Of a good one the inner datagram, else nothing.
    pub(in crate::proto) inner: Vec<u8>,
    /// Everything that stands there.
    pub(in crate::proto) all: Value,
}

impl Vector {
    pub(in crate::proto) fn text(&self, key: &str) -> Option<&str> {
        self.all[key].as_str()
    }

    pub(in crate::proto) fn keys(&self) -> SealKeys {
        SealKeys::new(SealKey::from_root(&self.root))
    }

    pub(super) fn ring(&self) -> Ring {
        Ring::new(&self.keys(), self.group, self.port)
    }

    pub(super) fn header_of_box(&self) -> SealHeader {
        let counter = self.text("counter").unwrap();
        let number = |key: &str| self.all[key].as_u64().unwrap();
        SealHeader {
            sealer: (
                id_bytes(self.text("sender").unwrap()),
                number("incarnation"),
            ),
            counter: u64::from_str_radix(counter, 16).unwrap(),
            iv: hex(self.text("iv").unwrap()).try_into().unwrap(),
            send_time: number("send_time"),
            recipient: self.text("recipient").map_or([0; 8], id_bytes),
        }
    }
}

pub(in crate::proto) fn good() -> Vec<Vector> {
    read("vectors", 9)
}

pub(in crate::proto) fn bad() -> Vec<Vector> {
    read("negatives", 13)
}

pub(in crate::proto) fn all() -> Vec<Vector> {
    good().into_iter().chain(bad()).collect()
}

fn read(part: &str, count: usize) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/sealed.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vectors: Vec<_> = file[part].as_array().unwrap().iter().map(vector).collect();
    assert_eq!(vectors.len(), count);
    vectors
}

fn vector(all: &Value) -> Vector {
    let text = |key: &str| all[key].as_str().map(str::to_owned);
    let bytes = |key: &str| hex(all[key].as_str().unwrap_or_default());
    Vector {
        label: text("label").unwrap(),
        passphrase: text("passphrase"),
        ready_key: all["ready_key"].as_str().map(hex),
        salt: all["salt"].as_str().map(hex),
        group: text("group").unwrap().parse().unwrap(),
        port: all["port"].as_u64().unwrap() as u16,
        root: bytes("root").try_into().unwrap(),
        aes_key: bytes("aes_key"),
        mac_key: bytes("mac_key"),
        key_id: bytes("key_id"),
        receiver: text("receiver").unwrap(),
        now: all["now"].as_u64().unwrap(),
        sealed: bytes("box"),
        datagram: bytes("datagram"),
        inner: bytes("inner"),
        all: all.clone(),
    }
}

pub(in crate::proto) fn hex(digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes().chunks(2);
    let pairs = digits.map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// What a holder of the keys sees of a sealed datagram that it only looks at.
pub(in crate::proto) struct Peeked {
    /// All 64 bits.
    pub(in crate::proto) counter: u64,
    pub(in crate::proto) inner: Vec<u8>,
}

pub(in crate::proto) fn peek(config: &SealConfig, datagram: &[u8]) -> Option<Peeked> {
    let ring = Ring::new(&config.keys, config.group, config.port);
    let Ok(SealedFrame::Box(sealed)) = SealedFrame::read(datagram) else {
        return None;
    };
    let mut plain = Vec::new();
    let label = ring.authenticate(sealed).ok()?.decrypt(&mut plain).ok()?;
    Some(Peeked {
        counter: label.counter,
        inner: opened(&plain).to_vec(),
    })
}
