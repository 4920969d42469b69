//! The keys of maps: texts, and what has one text form, from which a receiver reads it back.

use std::{fmt, io::Write};

use serde::ser::{self, Impossible, Serialize};

use super::{
    super::{EncodeError, EncodeErrorKind, check::Keys},
    values::refuse_raw_json,
    writer::Serializer,
};

/// Writes one key: a string, a char, an integer, a bool, a unit variant, or a newtype of one of
/// these.
pub(super) struct KeySerializer<'k, 'a> {
    inner: &'k mut Serializer<'a>,
    keys: &'k mut Keys,
}

impl<'k, 'a> KeySerializer<'k, 'a> {
    #[inline]
    pub(super) fn new(inner: &'k mut Serializer<'a>, keys: &'k mut Keys) -> Self {
        Self { inner, keys }
    }
}

#[cold]
fn refused(kind: &'static str) -> EncodeError {
    EncodeError::new(EncodeErrorKind::MapKey(kind))
}

/// Methods that write the one text form of a key.
macro_rules! write_text {
    ($($method:ident($argument:ty);)*) => {$(
        #[inline]
        fn $method(self, key: $argument) -> Result<(), EncodeError> {
            let text = KeyText::of(key);
            self.inner.begin_entry(text.as_str(), self.keys)
        }
    )*};
}

/// The text of a number or a bool, without an allocation.
struct KeyText {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl KeyText {
    /// The digits of `i128::MIN`, and its sign.
    const MOST: usize = 40;

    fn of(key: impl fmt::Display) -> Self {
        let mut bytes = [0; Self::MOST];
        let mut room = &mut bytes[..];
        // Nothing is longer than the longest number.
        let _ = write!(room, "{key}");
        let len = Self::MOST - room.len();
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// Methods that refuse a key of one kind.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $result:ty, $kind:literal;)*) => {$(
        #[inline]
        fn $method(self, $(_: $argument),*) -> Result<$result, EncodeError> {
            Err(refused($kind))
        }
    )*};
}

impl ser::Serializer for KeySerializer<'_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        true
    }

    #[inline]
    fn serialize_str(self, key: &str) -> Result<(), EncodeError> {
        if key.starts_with('$') {
            refuse_raw_json(key)?;
        }
        self.inner.begin_entry(key, self.keys)
    }

    #[inline]
    fn serialize_char(self, key: char) -> Result<(), EncodeError> {
        self.serialize_str(key.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), EncodeError> {
        Err(refused("an Option"))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), EncodeError> {
        Err(refused("a variant with data"))
    }

    write_text! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
    }

    refuse! {
        serialize_f32(f32) -> (), "an f32";
        serialize_f64(f64) -> (), "an f64";
        serialize_bytes(&[u8]) -> (), "bytes";
        serialize_none() -> (), "an Option";
        serialize_unit() -> (), "a unit";
        serialize_unit_struct(&'static str) -> (), "a unit struct";
        serialize_seq(Option<usize>) -> Self::SerializeSeq, "a sequence";
        serialize_tuple(usize) -> Self::SerializeTuple, "a tuple";
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct, "a tuple struct";
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant, "a variant with data";
        serialize_map(Option<usize>) -> Self::SerializeMap, "a map";
        serialize_struct(&'static str, usize) -> Self::SerializeStruct, "a struct";
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant, "a variant with data";
    }
}
