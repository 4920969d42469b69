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

use bson::Bson;
use serde::Serialize;

pub(super) use self::special::{append_options, append_text};
pub(super) use self::writer::Serializer;
use super::raw::RawElements;
use super::{EncodeError, EncodeErrorKind, element};
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
    match shape {
        ShapeKind::Unit => encode_arguments(out, |_| Ok(())),
        ShapeKind::Newtype | ShapeKind::Named | ShapeKind::Enum => {
            encode_arguments(out, |arguments| arguments.push_only(value))
        }
        ShapeKind::Tuple(fields) => encode_fields(value, fields, out),
    }
}

/// Appends a payload document whose arguments are what `write` pushes.
pub(super) fn encode_arguments(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Arguments<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    undone_on_error(out, |out| {
        let start = out.len();
        out.extend_from_slice(PAYLOAD_HEAD);
        let mut arguments = Arguments {
            inner: Serializer::new(out, 2),
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
) -> Result<(), EncodeError> {
    undone_on_error(out, |out| {
        let start = out.len();
        out.extend_from_slice(&PAYLOAD_HEAD[..PAYLOAD_ARRAY]);
        let mut inner = Serializer::new(out, 1);
        inner.place_type(start + PAYLOAD_TYPE);
        value.serialize(&mut inner)?;
        inner.end_document(start)?;
        inner.finish()?;

        let kind = out[start + PAYLOAD_TYPE];
        let sequence = &out[start + PAYLOAD_ARRAY..out.len() - 1];
        let found = RawElements::of_document(sequence).count();
        if kind == element::ARRAY && found == fields {
            return Ok(());
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

fn undone_on_error(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
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

    /// Appends an argument with exactly the type that it has.
    pub(super) fn push_bson(&mut self, value: &Bson) -> Result<(), EncodeError> {
        let index = self.count;
        self.inner.begin_item(index);
        self.count += 1;
        super::value::write(&mut self.inner, value).map_err(|error| error.in_index(index))
    }
}
