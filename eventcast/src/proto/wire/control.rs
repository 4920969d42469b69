//! The arguments of the reserved events (WIRE.md sections 6 and 7).
//!
//! Reading follows the same contract as everything in `wire`: any bytes that have passed the check
//! of BSON, and either a value whose every part is within its limits, or a fault.

use std::time::Duration;

use super::{Fault, MAX_CHUNKS, MAX_ID};
use crate::codec::{RawArgs, RawElements, RawValue, element};

pub(in crate::proto) const HELLO: &str = "__ec_hello";
pub(in crate::proto) const NACK: &str = "__ec_nack";
pub(in crate::proto) const GONE: &str = "__ec_gone";
pub(in crate::proto) const BYE: &str = "__ec_bye";
pub(in crate::proto) const AGAIN: &str = "__ec_again";
pub(in crate::proto) const RETX: &str = "__ec_retx";

/// The key of a token, in a hello or bye to one peer and in requests.
const TOKEN: &str = "token";

/// Most runs of numbers, or indexes of chunks, that one request names.
pub(in crate::proto) const MAX_ASKED: usize = 64;

/// Most capabilities that are remembered of a peer, and the longest text of one, or of a version.
const MAX_CAPABILITIES: usize = 32;
const MAX_TEXT: usize = 64;

/// Most buses that a hello names with what they are owed.
pub(in crate::proto) const MAX_OWED: usize = 8;

/// Whether a reserved name means anything here.
pub(in crate::proto) fn is_known(name: &str) -> bool {
    [HELLO, NACK, GONE, BYE, AGAIN, RETX].contains(&name)
}

/// A reserved event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Control<'a> {
    Hello(Hello<'a>),
    Bye {
        incarnation: u64,
        last: u64,
        token: Option<u64>,
    },
    Nack {
        id: &'a str,
        incarnation: u64,
        token: Option<u64>,
        missing: Vec<(u64, u64)>,
    },
    Gone {
        incarnation: u64,
        missing: Vec<(u64, u64)>,
    },
    /// A datagram repeated for several.
    Again(&'a [u8]),
    /// Chunks that are missing. What is no index of a chunk has been left out.
    Retx {
        seq_id: &'a str,
        token: Option<u64>,
        missing: Vec<u32>,
    },
}

/// That a bus is there, and what it has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Hello<'a> {
    pub(in crate::proto) incarnation: u64,
    pub(in crate::proto) last: u64,
    pub(in crate::proto) first: u64,
    pub(in crate::proto) up: Duration,
    pub(in crate::proto) version: &'a str,
    pub(in crate::proto) capabilities: Vec<&'a str>,
    /// The token that the recipient puts into its requests, to prove that it receives what is sent
    /// to it.
    pub(in crate::proto) token: Option<u64>,
    /// The buses that are owed more than what follows after `last`. Missing: none.
    pub(in crate::proto) owed: Vec<Owed<'a>>,
}

/// The first number that is owed to a bus that was discovered lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Owed<'a> {
    pub(in crate::proto) id: &'a str,
    pub(in crate::proto) incarnation: u64,
    pub(in crate::proto) number: u64,
}

impl<'a> Control<'a> {
    /// Reads the event of that name, which is [known](is_known).
    pub(in crate::proto) fn read(name: &str, args: RawArgs<'a>) -> Result<Self, Fault> {
        let mut args = args.iter();
        let (Some(only), None) = (args.next(), args.next()) else {
            return Err(Fault::Malformed);
        };
        match name {
            HELLO => hello(only),
            NACK => nack(only),
            GONE => gone(only),
            BYE => bye(only),
            AGAIN => again(only),
            RETX => retx(only),
            _ => Err(Fault::Malformed),
        }
    }
}

fn hello(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    let fields = Fields::of(value)?;
    let hello = Hello {
        incarnation: fields.natural("inc")?,
        last: fields.natural("last")?,
        first: fields.natural("first")?,
        up: Duration::from_millis(fields.natural("up")?),
        version: fields.text("ver", MAX_TEXT)?,
        capabilities: fields.texts("can")?,
        owed: fields.owed()?,
        token: fields.token(),
    };
    // `first` is one more than `last` when nothing is available any more, and numbers count from 1.
    if hello.first == 0 || hello.first > hello.last + 1 {
        return Err(Fault::Malformed);
    }
    Ok(Control::Hello(hello))
}

fn bye(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    let fields = Fields::of(value)?;
    Ok(Control::Bye {
        incarnation: fields.natural("inc")?,
        last: fields.natural("last")?,
        token: fields.token(),
    })
}

fn nack(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    let fields = Fields::of(value)?;
    Ok(Control::Nack {
        id: fields.text("id", MAX_ID)?,
        incarnation: fields.natural("inc")?,
        token: fields.token(),
        missing: fields.spans()?,
    })
}

fn gone(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    let fields = Fields::of(value)?;
    Ok(Control::Gone {
        incarnation: fields.natural("inc")?,
        missing: fields.spans()?,
    })
}

fn again(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    one_binary(value).map(Control::Again)
}

/// The bytes of a binary of subtype 0.
pub(in crate::proto) fn one_binary(value: RawValue<'_>) -> Result<&[u8], Fault> {
    match value.bytes {
        [_, _, _, _, 0, bytes @ ..] if value.element_type == element::BINARY => Ok(bytes),
        _ => Err(Fault::Malformed),
    }
}

/// Other programs may request what never existed, in numbers of any type: an index that is no index
/// is left out.
fn retx(value: RawValue<'_>) -> Result<Control<'_>, Fault> {
    let fields = Fields::of(value)?;
    fields.text("id", MAX_ID)?;
    let mut missing = Vec::new();
    for value in array(fields.get("missedSeq")?)? {
        if let Ok(seq) = natural(value)
            && seq < MAX_CHUNKS.into()
        {
            missing.push(seq as u32);
            if missing.len() == MAX_ASKED {
                break;
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(Control::Retx {
        seq_id: fields.text("seqId", MAX_ID)?,
        token: fields.token(),
        missing,
    })
}

/// The fields of a document.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(value: RawValue<'a>) -> Result<Self, Fault> {
        if value.element_type == element::DOCUMENT {
            Ok(Self(value.bytes))
        } else {
            Err(Fault::Malformed)
        }
    }

    fn get(self, key: &str) -> Result<RawValue<'a>, Fault> {
        RawElements::of_document(self.0)
            .find(|element| element.key_bytes() == key.as_bytes())
            .map(|element| element.value)
            .ok_or(Fault::Malformed)
    }

    fn natural(self, key: &str) -> Result<u64, Fault> {
        natural(self.get(key)?)
    }

    /// The token, if there is one: what is none counts for nothing.
    fn token(self) -> Option<u64> {
        self.natural(TOKEN).ok()
    }

    fn text(self, key: &str, longest: usize) -> Result<&'a str, Fault> {
        text(self.get(key)?, longest)
    }

    fn texts(self, key: &str) -> Result<Vec<&'a str>, Fault> {
        array(self.get(key)?)?
            .take(MAX_CAPABILITIES)
            .map(|value| text(value, MAX_TEXT))
            .collect()
    }

    /// The buses under `owed`, as far as more than the numbers above `last` can be owed to them.
    fn owed(self) -> Result<Vec<Owed<'a>>, Fault> {
        let Ok(value) = self.get("owed") else {
            return Ok(Vec::new());
        };
        array(value)?.take(MAX_OWED).map(owed).collect()
    }

    /// The runs of numbers under `missing`: ascending, none touching the one before.
    fn spans(self) -> Result<Vec<(u64, u64)>, Fault> {
        let mut spans = Vec::new();
        let mut above = 0;
        for pair in array(self.get("missing")?)? {
            let mut ends = array(pair)?.map(natural);
            let (Some(first), Some(last), None) = (ends.next(), ends.next(), ends.next()) else {
                return Err(Fault::Malformed);
            };
            let (first, last) = (first?, last?);
            if first <= above || last < first || spans.len() == MAX_ASKED {
                return Err(Fault::Malformed);
            }
            above = last;
            spans.push((first, last));
        }
        Ok(spans)
    }
}

fn owed(value: RawValue<'_>) -> Result<Owed<'_>, Fault> {
    let fields = Fields::of(value)?;
    Ok(Owed {
        id: fields.text("id", MAX_ID)?,
        incarnation: fields.natural("inc")?,
        number: fields.natural("n")?,
    })
}

fn array(value: RawValue<'_>) -> Result<impl Iterator<Item = RawValue<'_>>, Fault> {
    if value.element_type == element::ARRAY {
        Ok(RawElements::of_document(value.bytes).map(|element| element.value))
    } else {
        Err(Fault::Malformed)
    }
}

/// A number below 2⁶³, in any type that holds it.
fn natural(value: RawValue<'_>) -> Result<u64, Fault> {
    let number = match (value.element_type, value.bytes) {
        (element::INT32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
        (element::INT64, bytes) => {
            i64::from_le_bytes(bytes.try_into().map_err(|_| Fault::Malformed)?)
        }
        (element::DOUBLE, bytes) => {
            let double = f64::from_le_bytes(bytes.try_into().map_err(|_| Fault::Malformed)?);
            if double.fract() != 0.0 || !(0.0..9_223_372_036_854_775_808.0).contains(&double) {
                return Err(Fault::Malformed);
            }
            double as i64
        }
        _ => return Err(Fault::Malformed),
    };
    u64::try_from(number).map_err(|_| Fault::Malformed)
}

fn text(value: RawValue<'_>, longest: usize) -> Result<&str, Fault> {
    match (value.element_type, value.bytes) {
        (element::STRING, [_, _, _, _, text @ .., 0]) if text.len() <= longest => {
            std::str::from_utf8(text).map_err(|_| Fault::Malformed)
        }
        _ => Err(Fault::Malformed),
    }
}

/// The bytes that a hello takes to name one bus, and to name any bus at all.
pub(in crate::proto) const OWED_COST: usize =
    3 + 4 + (1 + 3 + 4 + 1) + (1 + 4 + 8) + (1 + 2 + 8) + 1;
pub(in crate::proto) const OWED_AT_ALL: usize = 1 + 5 + 4 + 1;

/// Writes the payload of a hello.
pub(in crate::proto) fn write_hello(out: &mut Vec<u8>, hello: &Hello<'_>) {
    one_argument(out, |out| {
        put_int64(out, "inc", hello.incarnation);
        put_int64(out, "last", hello.last);
        put_int64(out, "first", hello.first);
        put_int64(out, "up", hello.up.as_millis() as u64);
        put_text(out, "ver", hello.version.as_bytes());
        put_array(out, "can", |out| {
            for (i, capability) in hello.capabilities.iter().enumerate() {
                put_text(out, &i.to_string(), capability.as_bytes());
            }
        });
        put_token(out, hello.token);
        if hello.owed.is_empty() {
            return;
        }
        put_array(out, "owed", |out| {
            for (i, owed) in hello.owed.iter().enumerate() {
                put_document(out, &i.to_string(), |out| {
                    put_text(out, "id", owed.id.as_bytes());
                    put_int64(out, "inc", owed.incarnation);
                    put_int64(out, "n", owed.number);
                });
            }
        });
    });
}

/// Writes the payload of a bye.
pub(in crate::proto) fn write_bye(
    out: &mut Vec<u8>,
    incarnation: u64,
    last: u64,
    token: Option<u64>,
) {
    one_argument(out, |out| {
        put_int64(out, "inc", incarnation);
        put_int64(out, "last", last);
        put_token(out, token);
    });
}

/// Writes the payload of a nack, which requests the first of these numbers from this sender, as
/// many as fit into so many bytes, at least one run. Returns how many runs that was, and leaves
/// those in ascending order.
pub(in crate::proto) fn write_nack(
    out: &mut Vec<u8>,
    (id, incarnation): (&str, u64),
    token: Option<u64>,
    missing: &mut [(u64, u64)],
    room: usize,
) -> usize {
    let mut written = 0;
    let end = out.len() + room;
    one_argument(out, |out| {
        put_text(out, "id", id.as_bytes());
        put_int64(out, "inc", incarnation);
        put_token(out, token);
        written = runs_that_fit(end.saturating_sub(out.len())).min(missing.len());
        missing[..written].sort_unstable();
        put_spans(out, &missing[..written]);
    });
    written
}

/// Writes the payload of a gone, with the same rules.
pub(in crate::proto) fn write_gone(
    out: &mut Vec<u8>,
    incarnation: u64,
    missing: &[(u64, u64)],
    room: usize,
) -> usize {
    let mut written = 0;
    let end = out.len() + room;
    one_argument(out, |out| {
        put_int64(out, "inc", incarnation);
        written = runs_that_fit(end.saturating_sub(out.len())).min(missing.len());
        put_spans(out, &missing[..written]);
    });
    written
}

/// Writes the payload that repeats a datagram.
pub(in crate::proto) fn write_again(out: &mut Vec<u8>, datagram: impl FnOnce(&mut Vec<u8>)) {
    document(out, |out| {
        put_array(out, "payload", |out| {
            out.extend_from_slice(b"\x050\0");
            let start = out.len();
            out.extend_from_slice(&[0; 5]);
            datagram(out);
            let len = out.len() - start - 5;
            set_len(out, start, len);
        });
    });
}

/// Writes the payload of a request for chunks, which stands in no array: the requester, the
/// message, and as many of the indexes as fit into so many bytes, at least one. Gives how many.
pub(in crate::proto) fn write_retx(
    out: &mut Vec<u8>,
    (id, host, port): (&str, &str, u16),
    token: Option<u64>,
    seq_id: &[u8],
    missing: &[u32],
    room: usize,
) -> usize {
    // What comes behind the indexes: two ends of documents, and the elements of the requester.
    let tail = 3 + 11 + host.len() + 10;
    let end = (out.len() + room).saturating_sub(tail);
    let mut written = 0;
    document(out, |out| {
        put_document(out, "payload", |out| {
            put_text(out, "id", id.as_bytes());
            put_text(out, "seqId", seq_id);
            put_token(out, token);
            put_array(out, "missedSeq", |out| {
                for seq in missing.iter().take(MAX_ASKED) {
                    if written > 0 && out.len() + 8 > end {
                        break;
                    }
                    out.push(element::INT32);
                    put_key(out, &written.to_string());
                    out.extend_from_slice(&seq.to_le_bytes());
                    written += 1;
                }
            });
            put_text(out, "host", host.as_bytes());
            out.push(element::INT32);
            put_key(out, "port");
            out.extend_from_slice(&u32::from(port).to_le_bytes());
        });
    });
    written
}

fn put_spans(out: &mut Vec<u8>, missing: &[(u64, u64)]) {
    put_array(out, "missing", |out| {
        for (i, (first, last)) in missing.iter().enumerate() {
            put_array(out, &i.to_string(), |out| {
                put_int64(out, "0", *first);
                put_int64(out, "1", *last);
            });
        }
    });
}

/// How many runs fit into so many bytes, at least one.
fn runs_that_fit(room: usize) -> usize {
    // The array, a run with a key of one digit, and the ends of all documents around it.
    const ARRAY: usize = 1 + 8 + 4;
    const RUN: usize = 4 + 4 + 2 * (3 + 8);
    const ENDS: usize = 4;
    let room = room.saturating_sub(ARRAY + ENDS);
    let fit = match room / RUN {
        few @ ..=10 => few,
        // All others have keys of two digits.
        _ => 10 + (room - 10 * RUN) / (RUN + 1),
    };
    fit.clamp(1, MAX_ASKED)
}

/// `{payload: [{ .. }]}`
fn one_argument(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    document(out, |out| {
        put_array(out, "payload", |out| put_document(out, "0", fields));
    });
}

fn document(out: &mut Vec<u8>, elements: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    elements(out);
    out.push(0);
    let len = out.len() - start;
    set_len(out, start, len);
}

fn put_document(out: &mut Vec<u8>, key: &str, elements: impl FnOnce(&mut Vec<u8>)) {
    out.push(element::DOCUMENT);
    put_key(out, key);
    document(out, elements);
}

fn put_array(out: &mut Vec<u8>, key: &str, elements: impl FnOnce(&mut Vec<u8>)) {
    out.push(element::ARRAY);
    put_key(out, key);
    document(out, elements);
}

fn put_int64(out: &mut Vec<u8>, key: &str, value: u64) {
    out.push(element::INT64);
    put_key(out, key);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_token(out: &mut Vec<u8>, token: Option<u64>) {
    if let Some(token) = token {
        put_int64(out, TOKEN, token);
    }
}

fn put_text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    out.push(element::STRING);
    put_key(out, key);
    out.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
    out.extend_from_slice(text);
    out.push(0);
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(key.as_bytes());
    out.push(0);
}

fn set_len(out: &mut [u8], at: usize, len: usize) {
    out[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;
    use crate::codec::check_document;

    fn read<'a>(name: &str, payload: &'a [u8]) -> Result<Control<'a>, Fault> {
        check_document(payload).expect("it is BSON");
        Control::read(name, RawArgs::from_payload(payload).unwrap())
    }

    fn payload(argument: impl Into<Bson>) -> Vec<u8> {
        doc! { "payload": [argument.into()] }.to_vec().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let hello = Hello {
            incarnation: 5,
            last: 9,
            first: 3,
            up: Duration::from_millis(77),
            version: "eventcast 1",
            capabilities: vec!["repair"],
            owed: Vec::new(),
            token: None,
        };
        let mut out = Vec::new();
        write_hello(&mut out, &hello);
        let expected = doc! { "payload": [{
            "inc": 5i64, "last": 9i64, "first": 3i64, "up": 77i64, "ver": "eventcast 1", "can": ["repair"],
        }] };
        assert_eq!(out, expected.to_vec().unwrap());
        assert_eq!(read(HELLO, &out), Ok(Control::Hello(hello.clone())));

        let before = out.len();
        out.clear();
        let owed = |id, number| Owed {
            id,
            incarnation: 7,
            number,
        };
        let hello = Hello {
            owed: vec![owed("a11ce00000000000", 4), owed("bob", 9)],
            ..hello
        };
        write_hello(&mut out, &hello);
        let expected = doc! { "payload": [{
            "inc": 5i64, "last": 9i64, "first": 3i64, "up": 77i64, "ver": "eventcast 1", "can": ["repair"],
            "owed": [
                { "id": "a11ce00000000000", "inc": 7i64, "n": 4i64 },
                { "id": "bob", "inc": 7i64, "n": 9i64 },
            ],
        }] };
        assert_eq!(out, expected.to_vec().unwrap());
        assert_eq!(out.len() - before, OWED_AT_ALL + 2 * OWED_COST + 16 + 3);
        assert_eq!(read(HELLO, &out), Ok(Control::Hello(hello)));

        for token in [None, Some(0), Some(u64::MAX >> 1)] {
            out.clear();
            write_bye(&mut out, 5, 9, token);
            let bye = Control::Bye {
                incarnation: 5,
                last: 9,
                token,
            };
            assert_eq!(read(BYE, &out), Ok(bye));
        }

        out.clear();
        write_again(&mut out, |out| out.extend_from_slice(b"datagram"));
        assert_eq!(read(AGAIN, &out), Ok(Control::Again(b"datagram")));
        assert!(is_known(AGAIN) && !is_known("__ec_other"));
    }

    #[test]
    fn what_a_hello_says_is_owed_is_bounded_and_well_formed() {
        let with = |owed: Bson| {
            payload(doc! {
                "inc": 5i64, "last": 9i64, "first": 3i64, "up": 77i64, "ver": "v", "can": [], "owed": owed,
            })
        };
        let entry = doc! { "id": "a", "inc": 1i64, "n": 2i64 };
        let many = with(vec![entry.clone(); 100].into());
        let Ok(Control::Hello(hello)) = read(HELLO, &many) else {
            panic!("it is a hello");
        };
        assert_eq!(hello.owed.len(), MAX_OWED);
        let without = |key: &str| {
            let mut entry = entry.clone();
            entry.remove(key);
            with(vec![entry].into())
        };
        let other = |key: &str, value: Bson| {
            let mut entry = entry.clone();
            entry.insert(key, value);
            with(vec![entry].into())
        };
        for bad in [
            with(1.into()),
            with(vec![Bson::Int32(1)].into()),
            without("id"),
            without("inc"),
            without("n"),
            other("id", "x".repeat(MAX_ID + 1).into()),
            other("inc", Bson::Int64(-1)),
            other("n", "2".into()),
        ] {
            assert_eq!(read(HELLO, &bad), Err(Fault::Malformed));
        }
    }

    #[test]
    fn a_request_names_as_many_as_fit() {
        let missing: Vec<(u64, u64)> = (1..=100).map(|n| (n * 10, n * 10 + 5)).collect();
        for (room, expected, token) in [
            (10, 1, None),
            (500, 14, None),
            (515, 14, Some(77)),
            (100_000, MAX_ASKED, Some(77)),
        ] {
            let mut out = b"before".to_vec();
            // The most urgent first.
            let mut urgent: Vec<(u64, u64)> =
                missing.iter().copied().take(expected).rev().collect();
            urgent.extend(&missing[expected..]);
            let written = write_nack(&mut out, ("somebody", 7), token, &mut urgent, room);
            assert_eq!(written, expected, "{room}");
            assert!(written == 1 || out.len() - 6 <= room);
            let nack = Control::Nack {
                id: "somebody",
                incarnation: 7,
                token,
                missing: missing[..written].to_vec(),
            };
            assert_eq!(read(NACK, &out[6..]), Ok(nack));

            out.clear();
            let written = write_gone(&mut out, 7, &missing, room);
            assert!(written >= expected && (written == 1 || out.len() <= room));
            let gone = Control::Gone {
                incarnation: 7,
                missing: missing[..written].to_vec(),
            };
            assert_eq!(read(GONE, &out), Ok(gone));
        }

        let seqs: Vec<u32> = (0..100).map(|i| i * 2).collect();
        for (room, expected, token) in [
            (10, 1, None),
            (300, 26, None),
            (315, 26, Some(77)),
            (100_000, MAX_ASKED, Some(77)),
        ] {
            let mut out = Vec::new();
            let me = ("requester", "10.0.0.1", 9001);
            let written = write_retx(&mut out, me, token, b"0123", &seqs, room);
            assert_eq!(written, expected, "{room}");
            assert!(written == 1 || out.len() <= room);
            let document = bson::Document::from_reader(&out[..]).unwrap();
            let inner = document.get_document("payload").unwrap();
            assert_eq!(inner.get_str("id").unwrap(), "requester");
            assert_eq!(inner.get_str("host").unwrap(), "10.0.0.1");
            assert_eq!(inner.get_i32("port").unwrap(), 9001);
            let retx = Control::Retx {
                seq_id: "0123",
                token,
                missing: seqs[..written].to_vec(),
            };
            assert_eq!(read(RETX, &out), Ok(retx));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let good =
            doc! { "inc": 1i64, "last": 2i64, "first": 1i64, "up": 0i64, "ver": "v", "can": ["a"] };
        assert!(read(HELLO, &payload(good.clone())).is_ok());
        let with = |key: &str, value: Bson| {
            let mut changed = good.clone();
            changed.insert(key, value);
            payload(changed)
        };
        for (key, value) in [
            ("inc", Bson::Int64(-1)),
            ("last", Bson::String("2".into())),
            ("last", Bson::Double(1.5)),
            ("first", Bson::Int64(4)),
            ("first", Bson::Int64(0)),
            ("ver", Bson::String("v".repeat(65))),
            ("can", Bson::Array(vec![Bson::Int32(1)])),
        ] {
            let bytes = with(key, value.clone());
            assert_eq!(read(HELLO, &bytes), Err(Fault::Malformed), "{key} {value}");
        }
        for key in ["inc", "last", "first", "up", "ver", "can"] {
            let mut lacking = good.clone();
            lacking.remove(key);
            assert_eq!(
                read(HELLO, &payload(lacking)),
                Err(Fault::Malformed),
                "{key}"
            );
        }
        let two = doc! { "payload": [good.clone(), good] }.to_vec().unwrap();
        assert_eq!(read(HELLO, &two), Err(Fault::Malformed));

        let spans = |spans: Vec<Bson>| payload(doc! { "id": "x", "inc": 1, "missing": spans });
        let pair = |first: i64, last: i64| Bson::Array(vec![first.into(), last.into()]);
        assert!(read(NACK, &spans(vec![pair(1, 1), pair(2, 9)])).is_ok());
        let many: Vec<Bson> = (1..=65).map(|n| pair(n, n)).collect();
        for wrong in [
            vec![pair(0, 1)],
            vec![pair(2, 1)],
            vec![pair(1, 5), pair(5, 9)],
            vec![pair(7, 9), pair(1, 2)],
            vec![Bson::Array(vec![1.into()])],
            vec![Bson::Int64(1)],
            many,
        ] {
            assert_eq!(read(NACK, &spans(wrong)), Err(Fault::Malformed));
        }
        let old_binary = bson::Binary {
            subtype: bson::spec::BinarySubtype::Uuid,
            bytes: vec![0; 16],
        };
        assert_eq!(read(AGAIN, &payload(old_binary)), Err(Fault::Malformed));
    }

    #[test]
    fn a_token_that_is_none_counts_for_nothing() {
        for odd in [Bson::Int64(-1), "77".into(), Bson::Null, doc! {}.into()] {
            let bye = payload(doc! { "inc": 5i64, "last": 9i64, "token": odd });
            let expected = Control::Bye {
                incarnation: 5,
                last: 9,
                token: None,
            };
            assert_eq!(read(BYE, &bye), Ok(expected));
        }
    }

    #[test]
    fn odd_indexes_of_chunks_are_left_out() {
        let document = doc! { "payload": {
            "id": "x", "seqId": "y", "host": "h", "port": 1,
            "missedSeq": [-1, 49, 999_999, 1i64 << 40, "x", Bson::Null, 3.0, 49],
        } };
        let bytes = document.to_vec().unwrap();
        let retx = Control::Retx {
            seq_id: "y",
            token: None,
            missing: vec![3, 49],
        };
        assert_eq!(read(RETX, &bytes), Ok(retx));
    }
}
