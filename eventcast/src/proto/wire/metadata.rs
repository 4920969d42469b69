//! The metadata of a datagram, from any sender: the keys in any order, numbers in any type that
//! holds them.

use super::{Fault, MAX_CHUNKS, MAX_HOST, MAX_ID, MAX_NAME, VERSION};
use crate::codec::{self, RawElements, RawValue, element};

/// Metadata whose every value is within its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Metadata<'a> {
    /// Index of this chunk, below `seq_len`.
    pub(in crate::proto) seq: u32,
    /// Number of chunks, at least 1.
    pub(in crate::proto) seq_len: u32,
    pub(in crate::proto) seq_id: &'a str,
    /// `None` where `enc` is true: the rest is classic ciphertext, and holds the description
    /// inside.
    pub(in crate::proto) described: Option<Described<'a>>,
}

/// The metadata of a message and of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Described<'a> {
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) identity: Identity<'a>,
    /// As it stands there; it may be any text.
    pub(in crate::proto) time: &'a str,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) schema: Option<i64>,
}

/// The metadata of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Identity<'a> {
    pub(in crate::proto) host: &'a str,
    pub(in crate::proto) port: u16,
    pub(in crate::proto) hostname: &'a str,
    pub(in crate::proto) id: &'a str,
    pub(in crate::proto) incarnation: Option<u64>,
    /// The elements `host`, `port`, `hostname` and `id` as they stand, if they stand together in
    /// this order.
    pub(in crate::proto) raw: Option<&'a [u8]>,
}

impl<'a> Metadata<'a> {
    /// Reads the document that a datagram's length field frames.
    pub(in crate::proto) fn parse(document: &'a [u8]) -> Result<Self, Fault> {
        codec::check_document(document)?;
        Self::from_elements(&Elements::collect(document))
    }

    /// Reads the metadata of a datagram that may be one of that name, which is never cut. The other
    /// keys only have to be there with their types.
    pub(in crate::proto) fn parse_outer(document: &'a [u8], name: &str) -> Result<Outer, Fault> {
        codec::check_small_document(document, MAX_OUTER)?;
        let found = Elements::collect(document);
        let (_, seq_len, encrypted) = found.place()?;
        found.seq_id.required()?.text(usize::MAX)?;
        if encrypted {
            return Ok(Outer::Encrypted);
        }
        if found.name.required()?.text(usize::MAX)? != name {
            return Ok(Outer::Other);
        }
        for text in [found.host, found.hostname, found.id, found.time] {
            text.required()?.text(usize::MAX)?;
        }
        found.port.required()?.integer()?;
        if seq_len == 1 {
            Ok(Outer::Named)
        } else {
            Err(Fault::Malformed)
        }
    }

    fn from_elements(found: &Elements<'a>) -> Result<Self, Fault> {
        let (seq, seq_len, encrypted) = found.place()?;
        let seq_id = found.seq_id.required()?.text(MAX_ID)?;
        let described = if encrypted {
            found.check_outer()?;
            None
        } else {
            Some(found.describe()?)
        };
        match (u32::try_from(seq), u32::try_from(seq_len)) {
            (Ok(seq), Ok(seq_len)) if seq_len <= MAX_CHUNKS => Ok(Self {
                seq,
                seq_len,
                seq_id,
                described,
            }),
            _ => Err(Fault::OverLimit),
        }
    }
}

/// Most elements of the metadata, and of the payload, of a datagram whose seal is not checked yet:
/// twice as many as there are known keys. A sender of more has no key, and must not cost more than
/// reading the first few.
pub(in crate::proto) const MAX_OUTER: usize = 32;

/// The result for metadata of which only the name is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Outer {
    /// It has the name.
    Named,
    /// It has another.
    Other,
    /// `enc` is true.
    Encrypted,
}

/// An element's type and value, if the key is there.
#[derive(Clone, Copy, Default)]
struct Value<'a>(Option<Found<'a>>);

#[derive(Clone, Copy)]
struct Found<'a> {
    element_type: u8,
    bytes: &'a [u8],
    /// Where the element begins and ends in the document, and which one it is.
    start: usize,
    end: usize,
    index: usize,
}

/// The known keys of a document.
#[derive(Default)]
struct Elements<'a> {
    document: &'a [u8],
    v: Value<'a>,
    seq: Value<'a>,
    seq_len: Value<'a>,
    seq_id: Value<'a>,
    seq_end: Value<'a>,
    enc: Value<'a>,
    nonce: Value<'a>,
    name: Value<'a>,
    host: Value<'a>,
    port: Value<'a>,
    hostname: Value<'a>,
    id: Value<'a>,
    time: Value<'a>,
    inc: Value<'a>,
    n: Value<'a>,
    sh: Value<'a>,
}

impl<'a> Elements<'a> {
    /// Walks a checked document.
    fn collect(document: &'a [u8]) -> Self {
        let mut found = Self {
            document,
            ..Self::default()
        };
        let mut start = 4;
        for (index, element) in RawElements::of_document(document).enumerate() {
            let key = element.key_bytes();
            let RawValue {
                element_type,
                bytes,
            } = element.value;
            let end = start + 1 + key.len() + 1 + bytes.len();
            let value = Value(Some(Found {
                element_type,
                bytes,
                start,
                end,
                index,
            }));
            start = end;
            let place = match key {
                b"v" => &mut found.v,
                b"seq" => &mut found.seq,
                b"seqLen" => &mut found.seq_len,
                b"seqId" => &mut found.seq_id,
                b"seqEnd" => &mut found.seq_end,
                b"enc" => &mut found.enc,
                b"nonce" => &mut found.nonce,
                b"name" => &mut found.name,
                b"host" => &mut found.host,
                b"port" => &mut found.port,
                b"hostname" => &mut found.hostname,
                b"id" => &mut found.id,
                b"time" => &mut found.time,
                b"inc" => &mut found.inc,
                b"n" => &mut found.n,
                b"sh" => &mut found.sh,
                _ => continue,
            };
            *place = value;
        }
        found
    }

    /// `seq`, `seqLen` and `enc`.
    #[inline]
    fn place(&self) -> Result<(u64, u64, bool), Fault> {
        // First of all: another version may mean anything by the other keys.
        let version = self.v.required()?.natural()?;
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let seq = self.seq.required()?.natural()?;
        let seq_len = self.seq_len.required()?.natural()?;
        let seq_end = self.seq_end.required()?.boolean()?;
        let encrypted = self.enc.required()?.boolean()?;
        if seq >= seq_len || seq_end != (seq + 1 == seq_len) {
            return Err(Fault::Malformed);
        }
        Ok((seq, seq_len, encrypted))
    }

    fn describe(&self) -> Result<Described<'a>, Fault> {
        if let Value(Some(nonce)) = self.nonce {
            nonce.text(usize::MAX)?;
        }
        let incarnation = self.inc.optional(Found::natural)?;
        let number = self.n.optional(Found::natural)?;
        // Numbers count from 1, within an incarnation.
        if number.is_some() && (incarnation.is_none() || number == Some(0)) {
            return Err(Fault::Malformed);
        }
        let port = self.port.required()?.natural()?;
        Ok(Described {
            name: self.name.required()?.text(MAX_NAME)?,
            identity: Identity {
                host: self.host.required()?.text(MAX_HOST)?,
                port: u16::try_from(port).map_err(|_| Fault::Malformed)?,
                hostname: self.hostname.required()?.text(MAX_HOST)?,
                id: self.id.required()?.text(MAX_ID)?,
                incarnation,
                raw: self.identity_bytes(),
            },
            time: self.time.required()?.text(usize::MAX)?,
            number,
            schema: self.sh.optional(Found::integer)?,
        })
    }

    /// Metadata of ciphertext has no more keys, and never those of an incarnation.
    fn check_outer(&self) -> Result<(), Fault> {
        match (self.inc.0, self.n.0) {
            (None, None) => Ok(()),
            _ => Err(Fault::Malformed),
        }
    }

    fn identity_bytes(&self) -> Option<&'a [u8]> {
        let (host, port, hostname, id) = (self.host.0?, self.port.0?, self.hostname.0?, self.id.0?);
        let together = port.index == host.index + 1
            && hostname.index == host.index + 2
            && id.index == host.index + 3;
        if together {
            self.document.get(host.start..id.end)
        } else {
            None
        }
    }
}

impl<'a> Value<'a> {
    fn required(self) -> Result<Found<'a>, Fault> {
        self.0.ok_or(Fault::Malformed)
    }

    fn optional<T>(
        self,
        read: impl FnOnce(Found<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.0.map(read).transpose()
    }
}

impl<'a> Found<'a> {
    fn natural(self) -> Result<u64, Fault> {
        u64::try_from(self.integer()?).map_err(|_| Fault::Malformed)
    }

    fn integer(self) -> Result<i64, Fault> {
        match (self.element_type, self.bytes) {
            (element::INT32, &[a, b, c, d]) => Ok(i32::from_le_bytes([a, b, c, d]).into()),
            (element::INT64, bytes) => Ok(i64::from_le_bytes(
                bytes.try_into().map_err(|_| Fault::Malformed)?,
            )),
            (element::DOUBLE, bytes) => {
                let double = f64::from_le_bytes(bytes.try_into().map_err(|_| Fault::Malformed)?);
                // -2⁶³ to below 2⁶³, both of which a double holds exactly.
                let range = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
                if double.fract() == 0.0 && range.contains(&double) {
                    Ok(double as i64)
                } else {
                    Err(Fault::Malformed)
                }
            }
            _ => Err(Fault::Malformed),
        }
    }

    fn boolean(self) -> Result<bool, Fault> {
        match (self.element_type, self.bytes) {
            (element::BOOLEAN, [0]) => Ok(false),
            (element::BOOLEAN, [1]) => Ok(true),
            _ => Err(Fault::Malformed),
        }
    }

    fn text(self, longest: usize) -> Result<&'a str, Fault> {
        let (element::STRING, [_, _, _, _, text @ .., 0]) = (self.element_type, self.bytes) else {
            return Err(Fault::Malformed);
        };
        if text.len() > longest {
            return Err(Fault::Malformed);
        }
        std::str::from_utf8(text).map_err(|_| Fault::Malformed)
    }
}
