//! Serde to BSON: a typed value straight into the bytes of a payload document.
//!
//! Responsible for the argument mapping on the way out, for narrowing integers, and for refusing
//! what a receiver could not read. Nothing is allocated but in the caller's buffer, and that only
//! while it grows.
//!
//! Contract: on success, what was appended passes [`check_document`](super::check_document). On an
//! error the buffer is as it was.

mod compound;
mod key;
mod special;
mod values;
mod writer;

use std::panic::catch_unwind;

use bson::Bson;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use self::special::{append_options, append_text};
pub(super) use self::writer::Serializer;
use super::{
    DecodeError, EncodeError, EncodeErrorKind, decode_event, decode_event_with_room, element,
    raw::{RawArgs, RawElements},
    readable::Makes,
};
use crate::event::ShapeKind;

/// A payload document up to its first argument, lengths still zero: `{ "payload": [`.
const PAYLOAD_HEAD: &[u8; 17] = b"\0\0\0\0\x04payload\0\0\0\0\0";
/// Where the type of `payload` stands in it, and where its array begins.
const PAYLOAD_TYPE: usize = 4;
const PAYLOAD_ARRAY: usize = 13;

/// Appends the whole payload document of an event to `out`: the arguments as `shape` maps them.
///
/// Allocates only where `out` has to grow.
///
/// # Errors
///
/// What BSON cannot hold, or no receiver could read: see [`EncodeErrorKind`]. `out` is then as it
/// was.
pub fn encode_event<T: Serialize>(
    value: &T,
    shape: ShapeKind,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode_noting(value, shape, out, Makes::default()).map(drop)
}

/// As [`encode_event`], and refuses what the type itself could not read.
///
/// That is tried by decoding, for the first event of each make: with other structs, variants or
/// numbers of fields in it than those before. The rest costs no more than `encode_event`.
///
/// # Errors
///
/// As `encode_event`, and [`EncodeErrorKind::Unreadable`].
pub fn encode_readable_event<T: Serialize + DeserializeOwned>(
    value: &T,
    shape: ShapeKind,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode_tried(value, shape, out, decode_event::<T>)
}

/// As [`encode_readable_event`], and tries it as [`decode_event_with_room`] does.
///
/// # Errors
///
/// As `encode_readable_event`.
pub fn encode_readable_event_with_room<T: Serialize + DeserializeOwned + Send>(
    value: &T,
    shape: ShapeKind,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode_tried(value, shape, out, decode_event_with_room::<T>)
}

/// A way to decode events of type `T`.
type Decode<T> = fn(RawArgs<'_>, ShapeKind) -> Result<T, DecodeError>;

fn encode_tried<T: Serialize>(
    value: &T,
    shape: ShapeKind,
    out: &mut Vec<u8>,
    decode: Decode<T>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let makes = encode_noting(value, shape, out, Makes::of::<T>())?;
    if !makes.must_be_tried() {
        return Ok(());
    }
    try_to_read(&out[start..], shape, makes, decode).inspect_err(|_| out.truncate(start))
}

#[cold]
fn try_to_read<T>(
    payload: &[u8],
    shape: ShapeKind,
    makes: Makes,
    decode: Decode<T>,
) -> Result<(), EncodeError> {
    let args = RawArgs::from_payload(payload)
        .map_err(|malformed| EncodeError::new(EncodeErrorKind::Malformed(malformed)))?;
    // A panic in there is its receivers' affair, as it is without this.
    let read = catch_unwind(|| decode(args, shape).map(drop));
    match read {
        Ok(Err(error)) => Err(EncodeError::new(EncodeErrorKind::Unreadable(error))),
        Ok(Ok(())) => {
            makes.remember();
            Ok(())
        }
        Err(panic) => {
            // What was thrown may throw again when it is dropped. It is so once for each make.
            std::mem::forget(panic);
            makes.remember();
            Ok(())
        }
    }
}

/// Encodes, and gives back what occurred in the value.
fn encode_noting<T: Serialize>(
    value: &T,
    shape: ShapeKind,
    out: &mut Vec<u8>,
    makes: Makes,
) -> Result<Makes, EncodeError> {
    match shape {
        ShapeKind::Unit => encode_list(out, makes, |arguments| arguments.check_unit(value)),
        ShapeKind::Newtype | ShapeKind::Named | ShapeKind::Enum => {
            encode_list(out, makes, |arguments| arguments.push_only(value))
        }
        ShapeKind::Tuple(fields) => encode_fields(value, fields, out, makes),
    }
}

/// Appends a payload document with the arguments that `write` pushes.
pub(super) fn encode_arguments(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Arguments<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    encode_list(out, Makes::default(), write).map(drop)
}

#[inline]
fn encode_list(
    out: &mut Vec<u8>,
    makes: Makes,
    write: impl FnOnce(&mut Arguments<'_>) -> Result<(), EncodeError>,
) -> Result<Makes, EncodeError> {
    undone_on_error(out, |out| {
        let start = out.len();
        out.extend_from_slice(PAYLOAD_HEAD);
        let mut arguments = Arguments {
            inner: Serializer::new(out, 2, makes),
            count: 0,
        };
        write(&mut arguments)?;
        let mut inner = arguments.inner;
        inner.end_document(start + PAYLOAD_ARRAY)?;
        inner.end_document(start)?;
        inner.finish()
    })
}

/// Appends the payload document of a tuple struct: its sequence is the array of arguments.
fn encode_fields<T: Serialize>(
    value: &T,
    fields: usize,
    out: &mut Vec<u8>,
    makes: Makes,
) -> Result<Makes, EncodeError> {
    undone_on_error(out, |out| {
        let start = out.len();
        out.extend_from_slice(&PAYLOAD_HEAD[..PAYLOAD_ARRAY]);
        let mut inner = Serializer::new(out, 1, makes);
        inner.place_type(start + PAYLOAD_TYPE);
        value.serialize(&mut inner)?;
        inner.end_document(start)?;
        let makes = inner.finish()?;

        let kind = out[start + PAYLOAD_TYPE];
        let sequence = &out[start + PAYLOAD_ARRAY..out.len() - 1];
        let found = RawElements::of_document(sequence).count();
        if kind == element::ARRAY && found == fields {
            return Ok(makes);
        }
        Err(EncodeError::new(EncodeErrorKind::NotTheFields {
            expected: fields,
            found: if kind == element::ARRAY {
                format!("a sequence of {found}")
            } else {
                element::name(kind).to_owned()
            },
        }))
    })
}

fn undone_on_error<T>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, EncodeError>,
) -> Result<T, EncodeError> {
    let start = out.len();
    let done = write(out);
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// The array of arguments, open for more.
pub(super) struct Arguments<'a> {
    inner: Serializer<'a>,
    count: usize,
}

impl Arguments<'_> {
    /// Appends an argument.
    pub(super) fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let index = self.count;
        self.push_only(value).map_err(|error| error.in_index(index))
    }

    /// Appends an argument that stands for the whole event, so that a path begins inside it.
    #[inline]
    pub(super) fn push_only<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.inner.begin_item(self.count);
        self.count += 1;
        self.inner.put(value)
    }

    /// Refuses what is not nothing: a unit struct may serialize as something else, by
    /// `#[serde(into)]`.
    fn check_unit<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let start = self.inner.out.len();
        self.inner.begin_item(0);
        let value_at = self.inner.out.len();
        self.inner.put(value)?;
        let kind = self.inner.out[start];
        if kind != element::NULL || self.inner.out.len() != value_at {
            let found = element::name(kind);
            return Err(EncodeError::new(EncodeErrorKind::NotAUnit(found)));
        }
        self.inner.out.truncate(start);
        Ok(())
    }

    /// Appends an argument with exactly the type that it has.
    pub(super) fn push_bson(&mut self, value: &Bson) -> Result<(), EncodeError> {
        let index = self.count;
        self.inner.begin_item(index);
        self.count += 1;
        super::value::write(&mut self.inner, value).map_err(|error| error.in_index(index))
    }
}
