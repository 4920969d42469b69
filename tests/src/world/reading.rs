//! What a datagram is, read by the wire document and the `bson` crate alone, as a strict old peer
//! would.

use bson::{Bson, Document, RawBsonRef, RawDocument, spec::BinarySubtype};

/// A good datagram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// The index of the chunk.
    pub seq: u32,
    /// The number of chunks.
    pub seq_len: u32,
    /// What names the message.
    pub seq_id: [u8; 20],
    /// The event's name.
    pub name: String,
    /// Where its sender says it can be reached.
    pub host: String,
    /// And at which port.
    pub port: u16,
    /// The number in the sender's stream.
    pub number: Option<u64>,
    /// What it says.
    pub said: Said,
    /// Where what comes after the metadata begins.
    pub body_at: usize,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// An event of the application, or a chunk of one.
    Event,
    /// `__ec_hello`: the last number, and the lowest that can be had.
    Hello {
        /// The last number sent.
        last: u64,
        /// The lowest that can still be had.
        first: u64,
        /// It is for one alone, and brings a token.
        is_reply: bool,
    },
    /// `__ec_nack`: of whom, and what.
    Nack {
        /// The id of the bus that is asked.
        id: String,
        /// Its incarnation.
        inc: u64,
        /// From and to, both included.
        missing: Vec<(u64, u64)>,
    },
    /// `__ec_retx`: of which message, and which chunks.
    Retx {
        /// The message.
        seq_id: [u8; 20],
        /// The indexes.
        missing: Vec<u32>,
        /// Where the requester says it can be reached.
        host: String,
        /// And at which port.
        port: u16,
    },
    /// `__ec_gone`.
    Gone,
    /// `__ec_bye`: the last number.
    Bye {
        /// The last number sent.
        last: u64,
    },
    /// `__ec_again`: the datagram in it.
    Again(Box<Reading>),
    /// `__ec_sealed`: the box.
    Sealed(Vec<u8>),
}

/// Reads a datagram. `None`: an old peer would not survive it, or it is nothing that the wire
/// document knows.
#[must_use]
pub(super) fn read(bytes: &[u8]) -> Option<Reading> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (metadata, body) = rest.split_at_checked(length)?;
    let mut found = Found::default();
    for element in RawDocument::from_bytes(metadata).ok()?.iter() {
        let (key, value) = element.ok()?;
        found.take(key.as_str(), value)?;
    }
    let name = found.name?;
    let (seq, seq_len) = (found.seq?, found.seq_len?);
    let good = found.v? == 3
        && !found.enc?
        && seq < seq_len
        && found.seq_end? == (seq + 1 == seq_len)
        && found.texts == 3;
    let said = if name.starts_with("__ec_") {
        control(&name, body)?
    } else if seq_len == 1 {
        let payload = Document::from_reader(body).ok()?;
        payload.get("payload")?;
        Said::Event
    } else {
        Said::Event
    };
    good.then_some(Reading {
        seq,
        seq_len,
        seq_id: found.seq_id?,
        name,
        host: found.host?,
        port: found.port?,
        number: found.number,
        said,
        body_at: 2 + length,
    })
}

/// The keys of the metadata.
#[derive(Default)]
struct Found {
    v: Option<i32>,
    seq: Option<u32>,
    seq_len: Option<u32>,
    seq_id: Option<[u8; 20]>,
    seq_end: Option<bool>,
    enc: Option<bool>,
    name: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    number: Option<u64>,
    /// How many of `hostname`, `id` and `time` there were.
    texts: u32,
}

impl Found {
    fn take(&mut self, key: &str, value: RawBsonRef<'_>) -> Option<()> {
        match key {
            "v" => self.v = Some(value.as_i32()?),
            "seq" => self.seq = value.as_i32()?.try_into().ok(),
            "seqLen" => self.seq_len = value.as_i32()?.try_into().ok(),
            "seqId" => self.seq_id = Some(digits(value.as_str()?)?),
            "seqEnd" => self.seq_end = Some(value.as_bool()?),
            "enc" => self.enc = Some(value.as_bool()?),
            "name" => self.name = Some(value.as_str()?.to_owned()),
            "host" => self.host = Some(value.as_str()?.to_owned()),
            "port" => self.port = value.as_i32()?.try_into().ok(),
            "hostname" | "id" | "time" => {
                value.as_str()?;
                self.texts += 1;
            }
            "n" => self.number = value.as_i64()?.try_into().ok(),
            // An old peer would take it for the metadata's own length.
            "length" => return None,
            _ => {}
        }
        Some(())
    }
}

fn control(name: &str, body: &[u8]) -> Option<Said> {
    let payload = Document::from_reader(body).ok()?.remove("payload")?;
    let first = match &payload {
        Bson::Array(arguments) if arguments.len() == 1 => &arguments[0],
        other => other,
    };
    let natural = |key| u64::try_from(first.as_document()?.get_i64(key).ok()?).ok();
    Some(match name {
        "__ec_hello" => Said::Hello {
            last: natural("last")?,
            first: natural("first")?,
            is_reply: first.as_document()?.contains_key("token"),
        },
        "__ec_bye" => Said::Bye {
            last: natural("last")?,
        },
        "__ec_gone" => Said::Gone,
        "__ec_nack" => Said::Nack {
            id: first.as_document()?.get_str("id").ok()?.to_owned(),
            inc: natural("inc")?,
            missing: ranges(first.as_document()?)?,
        },
        "__ec_retx" => {
            let request = payload.as_document()?;
            let missing = request.get_array("missedSeq").ok()?.iter();
            Said::Retx {
                seq_id: digits(request.get_str("seqId").ok()?)?,
                missing: missing
                    .map(|index| index.as_i32()?.try_into().ok())
                    .collect::<Option<_>>()?,
                host: request.get_str("host").ok()?.to_owned(),
                port: request.get_i32("port").ok()?.try_into().ok()?,
            }
        }
        "__ec_again" => match first {
            Bson::Binary(binary) if binary.subtype == BinarySubtype::Generic => {
                let inner = read(&binary.bytes)?;
                // Wrapped once, and only what an application sent.
                (inner.said == Said::Event).then(|| Said::Again(Box::new(inner)))?
            }
            _ => return None,
        },
        "__ec_sealed" => match first {
            Bson::Binary(binary) if binary.subtype == BinarySubtype::Generic => {
                Said::Sealed(binary.bytes.clone())
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn ranges(request: &Document) -> Option<Vec<(u64, u64)>> {
    let range = |pair: &Bson| match pair.as_array()?.as_slice() {
        [Bson::Int64(from), Bson::Int64(to)] if (1..=*to).contains(from) => {
            Some((*from as u64, *to as u64))
        }
        _ => None,
    };
    request
        .get_array("missing")
        .ok()?
        .iter()
        .map(range)
        .collect()
}

fn digits(text: &str) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
