//! Makes datagrams of version 3, from the wire document and the `bson` crate alone.
//!
//! This shares no code with the library, so that it can judge it, and it makes what the library
//! would refuse to make: every part can be replaced by something wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use bson::{Bson, Document, doc, spec::BinarySubtype};

use crate::group::Group;

/// A datagram in the making.
#[derive(Clone, Debug)]
pub struct Message {
    /// The metadata, to be changed at will.
    pub meta: Document,
    /// The bytes after the metadata.
    pub payload: Vec<u8>,
}

impl Message {
    /// A good message as a version 3 peer without any extension sends it, with a new `seqId`.
    pub fn event(group: Group, name: &str, arguments: Vec<Bson>) -> Self {
        let payload = bytes_of(&doc! { "payload": arguments });
        Self::with_payload(group, name, payload)
    }

    /// The same with any bytes as payload.
    pub fn with_payload(group: Group, name: &str, payload: Vec<u8>) -> Self {
        let meta = doc! {
            "v": 3,
            "seq": 0,
            "seqLen": 1,
            "seqId": new_id(),
            "seqEnd": true,
            "enc": false,
            "name": name,
            "host": "127.0.0.1",
            "port": i32::from(group.port),
            "hostname": "crafted",
            "id": "00000000c0ffee00",
            "time": "2026-11-25T05:43:43.172Z",
        };
        Self { meta, payload }
    }

    /// Gives a key of the metadata another value, or adds it at the end.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Bson>) -> Self {
        self.meta.insert(key, value);
        self
    }

    /// Leaves a key of the metadata out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.meta.remove(key);
        self
    }

    /// Its `seqId`.
    pub fn id(&self) -> &str {
        self.meta
            .get_str("seqId")
            .expect("a crafted message has one")
    }

    /// The finished datagram.
    pub fn bytes(&self) -> Vec<u8> {
        join(&bytes_of(&self.meta), &self.payload)
    }

    /// The datagrams of the message when it is cut into slices of `size` bytes, in order.
    pub fn chunks(&self, size: usize) -> Vec<Vec<u8>> {
        let inner = self.bytes();
        let count = inner.len().div_ceil(size);
        let id = new_id();
        inner
            .chunks(size)
            .enumerate()
            .map(|(index, slice)| {
                let mut meta = self.meta.clone();
                meta.insert("seq", number(index));
                meta.insert("seqLen", number(count));
                meta.insert("seqId", id.as_str());
                meta.insert("seqEnd", index + 1 == count);
                join(&bytes_of(&meta), slice)
            })
            .collect()
    }
}

/// Puts metadata and payload together, whatever they hold.
pub fn join(meta: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(meta.len()).expect("metadata fits its length field");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(meta);
    bytes.extend_from_slice(payload);
    bytes
}

/// Takes a good datagram apart again.
pub fn part(bytes: &[u8]) -> (Document, Vec<u8>) {
    let (length, rest) = bytes.split_first_chunk().expect("a length field");
    let length = usize::from(u16::from_be_bytes(*length));
    let (meta, payload) = rest.split_at(length);
    let meta = Document::from_reader(meta).expect("metadata that is BSON");
    (meta, payload.to_vec())
}

/// The event key in a good datagram.
pub fn name_of(bytes: &[u8]) -> String {
    let (meta, _) = part(bytes);
    meta.get_str("name").expect("a name").to_owned()
}

/// The bytes of a document.
pub fn bytes_of(document: &Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    document
        .to_writer(&mut bytes)
        .expect("every document has its bytes");
    bytes
}

/// A document, made without recursion, whose deepest part is `depth` documents deep, itself
/// counted as the first. `array` nests arrays instead, all but the first.
pub fn nested(depth: usize, array: bool) -> Vec<u8> {
    assert!(depth > 0, "the outermost document is there");
    let (kind, key): (u8, &[u8]) = if array { (4, b"0\0") } else { (3, b"a\0") };
    wrapped(vec![5, 0, 0, 0, 0], depth - 1, kind, key)
}

/// Puts `inner`, the bytes of a document, as `payload` into a payload document.
pub fn as_payload(inner: Vec<u8>, kind: u8) -> Vec<u8> {
    wrapped(inner, 1, kind, b"payload\0")
}

fn wrapped(inner: Vec<u8>, times: usize, kind: u8, key: &[u8]) -> Vec<u8> {
    // Every layer is a length, a type, a key, what it holds, and a final zero.
    let layer = 4 + 1 + key.len() + 1;
    let mut bytes = Vec::with_capacity(inner.len() + layer * times);
    for outside in 0..times {
        let length = inner.len() + layer * (times - outside);
        let length = i32::try_from(length).expect("far below 2 GiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(key);
    }
    bytes.extend_from_slice(&inner);
    bytes.resize(bytes.len() + times, 0);
    bytes
}

/// One value of every BSON type that both the `bson` crate and other peers can send.
pub fn every_type() -> Vec<Bson> {
    vec![
        Bson::Double(-0.5),
        Bson::Double(f64::INFINITY),
        Bson::Double(3.0),
        Bson::String("grüße, \u{1F30D}, \0 inside".to_owned()),
        Bson::Document(doc! { "b": 1, "a": { "deep": [] } }),
        Bson::Array(vec![Bson::Int32(1), Bson::Array(vec![]), Bson::Null]),
        Bson::Binary(bson::Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![0, 1, 254, 255],
        }),
        Bson::Binary(bson::Binary {
            subtype: BinarySubtype::UserDefined(0x80),
            bytes: vec![7],
        }),
        Bson::ObjectId(bson::oid::ObjectId::from_bytes([
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        ])),
        Bson::Boolean(true),
        Bson::Boolean(false),
        Bson::DateTime(bson::DateTime::from_millis(1_764_049_423_172)),
        Bson::DateTime(bson::DateTime::from_millis(-1)),
        Bson::Null,
        Bson::RegularExpression(bson::Regex {
            pattern: "^a.*b$".try_into().expect("no zero inside"),
            options: "im".try_into().expect("no zero inside"),
        }),
        Bson::JavaScriptCode("return 1".to_owned()),
        Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
            code: "return x".to_owned(),
            scope: doc! { "x": 1 },
        }),
        Bson::Symbol("sym".to_owned()),
        Bson::Int32(i32::MIN),
        Bson::Timestamp(bson::Timestamp {
            time: 4_000_000_000,
            increment: 2,
        }),
        Bson::Int64(i64::MAX),
        Bson::Int64(1),
        Bson::Decimal128("12345.678901234567890".parse().expect("a decimal")),
        Bson::MinKey,
        Bson::MaxKey,
    ]
}

/// A DBPointer into this namespace. The `bson` crate makes one out of bytes alone.
pub fn db_pointer(namespace: &str) -> Bson {
    let mut value = number(namespace.len() + 1).to_le_bytes().to_vec();
    value.extend_from_slice(namespace.as_bytes());
    value.push(0);
    value.extend_from_slice(&[7; 12]);
    let document = wrapped(value, 1, 0x0c, b"p\0");
    let document = Document::from_reader(&document[..]).expect("a document with one pointer");
    document.get("p").expect("it is there").clone()
}

/// A new id of 40 hex digits.
pub fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{:032x}", std::process::id(), count)
}

fn number(value: usize) -> i32 {
    i32::try_from(value).expect("tests count no further")
}
