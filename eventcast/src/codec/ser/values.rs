//! Serde's data model, each kind of value as BSON.

use std::fmt::{Display, Write};

use serde::ser::{self, Serialize};

use super::{
    super::{EncodeError, EncodeErrorKind, check::Keys, element, newtype},
    compound::{Entries, Fields, Items},
    special::{Special, SpecialKind},
    writer::{Hint, Serializer, too_long},
};

impl<'s, 'a> ser::Serializer for &'s mut Serializer<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'s, 'a>;
    type SerializeTuple = Items<'s, 'a>;
    type SerializeTupleStruct = Items<'s, 'a>;
    type SerializeTupleVariant = Items<'s, 'a>;
    type SerializeMap = Entries<'s, 'a>;
    type SerializeStruct = Fields<'s, 'a>;
    type SerializeStructVariant = Entries<'s, 'a>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.for_people()
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.put_fixed(element::BOOLEAN, [u8::from(value)]);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.put_fixed(element::INT32, value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.put_i64(value);
        Ok(())
    }

    #[inline]
    fn serialize_i128(self, _: i128) -> Result<(), EncodeError> {
        Err(EncodeError::new(EncodeErrorKind::Wide("i128")))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Err(EncodeError::new(EncodeErrorKind::IntegerTooLarge(value))),
        }
    }

    #[inline]
    fn serialize_u128(self, _: u128) -> Result<(), EncodeError> {
        Err(EncodeError::new(EncodeErrorKind::Wide("u128")))
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.put_fixed(element::DOUBLE, value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.put_string(element::STRING, value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        match std::mem::replace(&mut self.hint, Hint::None) {
            Hint::None => self.put_binary(0, value),
            Hint::Uuid => self.put_binary(bson::spec::BinarySubtype::Uuid.into(), value),
            Hint::RawDocument => self.put_raw(element::DOCUMENT, value),
            Hint::RawArray => self.put_raw(element::ARRAY, value),
        }
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.begin_step()?;
        self.put(value)?;
        self.end_step();
        Ok(())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.set_type(element::NULL);
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.note(variant, index as usize);
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.begin_step()?;
        if name.starts_with('$') {
            self.put_announced(name, value)?;
        } else {
            self.put(value)?;
        }
        self.end_step();
        Ok(())
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.note(variant, 1);
        let start = self.begin_document(element::DOCUMENT)?;
        self.begin_entry(variant, &mut Keys::default())?;
        self.put(value).map_err(|error| error.in_key(variant))?;
        self.end_document(start)
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'s, 'a>, EncodeError> {
        let start = self.begin_document(element::ARRAY)?;
        Ok(Items {
            inner: self,
            start,
            count: 0,
            variant: None,
        })
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Items<'s, 'a>, EncodeError> {
        self.serialize_seq(Some(length))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Items<'s, 'a>, EncodeError> {
        self.note(name, length);
        self.serialize_seq(Some(length))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'s, 'a>, EncodeError> {
        self.note(variant, length);
        let (outer, start) = self.begin_variant(variant, element::ARRAY)?;
        Ok(Items {
            inner: self,
            start,
            count: 0,
            variant: Some((variant, outer)),
        })
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'s, 'a>, EncodeError> {
        let start = self.begin_document(element::DOCUMENT)?;
        Ok(Entries {
            inner: self,
            start,
            keys: Keys::default(),
            key: None,
            variant: None,
        })
    }

    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Fields<'s, 'a>, EncodeError> {
        if name.starts_with('$') {
            if let Some(kind) = SpecialKind::of_struct(name) {
                return Ok(Fields::Special(Special::begin(self, kind)));
            }
            refuse_raw_json(name)?;
        }
        self.note(name, length);
        self.serialize_map(Some(length)).map(Fields::Document)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Entries<'s, 'a>, EncodeError> {
        self.note(variant, length);
        let (outer, start) = self.begin_variant(variant, element::DOCUMENT)?;
        Ok(Entries {
            inner: self,
            start,
            keys: Keys::default(),
            key: None,
            variant: Some((variant, outer)),
        })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.set_type(element::STRING);
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let mut text = TextInto(self.out);
        if write!(text, "{value}").is_err() {
            return Err(ser::Error::custom("the value's Display failed"));
        }
        self.out.push(0);
        let length = i32::try_from(self.out.len() - start - 4).map_err(|_| too_long())?;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

impl Serializer<'_> {
    /// Writes what one of the bson crate's newtypes holds.
    fn put_announced<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if name == newtype::RAW_DOCUMENT || name == newtype::RAW_ARRAY {
            // As a `RawBson`.
            self.makes.doubt();
        }
        self.hint = match name {
            newtype::UUID => Hint::Uuid,
            // Their readable form is a plain document or array.
            newtype::RAW_DOCUMENT if !self.human_readable => Hint::RawDocument,
            newtype::RAW_ARRAY if !self.human_readable => Hint::RawArray,
            newtype::HUMAN_READABLE => {
                let before = std::mem::replace(&mut self.human_readable, true);
                self.put(value)?;
                self.human_readable = before;
                return Ok(());
            }
            _ => Hint::None,
        };
        self.put(value)?;
        self.hint = Hint::None;
        Ok(())
    }
}

/// Refuses the name by which serde_json marks JSON that is text: as a document no listener could
/// read it.
#[inline]
pub(super) fn refuse_raw_json(name: &str) -> Result<(), EncodeError> {
    if name == RAW_JSON {
        return Err(EncodeError::new(EncodeErrorKind::RawJson));
    }
    Ok(())
}

/// The name of the struct, and of its one field, as which `serde_json::value::RawValue` serializes.
const RAW_JSON: &str = "$serde_json::private::RawValue";

/// Text that is displayed, appended to bytes.
struct TextInto<'a>(&'a mut Vec<u8>);

impl Write for TextInto<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
