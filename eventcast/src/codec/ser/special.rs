//! BSON's own types inside a typed event.
//!
//! The types of the `bson` crate serialize, for any serializer, as structs in the manner of
//! extended JSON: an ObjectId as a struct `$oid` with a string of hex digits, a date as a struct
//! `$date` around a struct with a string of milliseconds. Here these become BSON again, each with
//! its type.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Decimal128};
use serde::ser::{self, Impossible, Serialize};

use super::{
    super::{EncodeError, EncodeErrorKind, element, raw::value_length},
    writer::Serializer,
};

/// Which of BSON's own types.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SpecialKind {
    ObjectId,
    DateTime,
    Binary,
    Timestamp,
    MinKey,
    MaxKey,
    Code,
    CodeWithScope,
    Symbol,
    Undefined,
    Regex,
    DbPointer,
    Decimal128,
    Double,
}

impl SpecialKind {
    /// By the name of the struct as which the `bson` crate serializes it.
    pub(super) fn of_struct(name: &str) -> Option<Self> {
        Some(match name {
            "$oid" => Self::ObjectId,
            "$date" => Self::DateTime,
            "$binary" => Self::Binary,
            "$timestamp" => Self::Timestamp,
            "$minKey" => Self::MinKey,
            "$maxKey" => Self::MaxKey,
            "$code" => Self::Code,
            "$codeWithScope" => Self::CodeWithScope,
            "$symbol" => Self::Symbol,
            "$undefined" => Self::Undefined,
            "$regularExpression" => Self::Regex,
            "$dbPointer" => Self::DbPointer,
            "$numberDecimal" => Self::Decimal128,
            // Of extended JSON as it is written here.
            "$numberDouble" => Self::Double,
            _ => return None,
        })
    }

    fn element_type(self) -> u8 {
        match self {
            Self::ObjectId => element::OBJECT_ID,
            Self::DateTime => element::DATE_TIME,
            Self::Binary => element::BINARY,
            Self::Timestamp => element::TIMESTAMP,
            Self::MinKey => element::MIN_KEY,
            Self::MaxKey => element::MAX_KEY,
            Self::Code => element::CODE,
            Self::CodeWithScope => element::CODE_WITH_SCOPE,
            Self::Symbol => element::SYMBOL,
            Self::Undefined => element::UNDEFINED,
            Self::Regex => element::REGEX,
            Self::DbPointer => element::DB_POINTER,
            Self::Decimal128 => element::DECIMAL128,
            Self::Double => element::DOUBLE,
        }
    }

    #[cold]
    fn refused(self) -> EncodeError {
        let name = element::name(self.element_type());
        // Without the article.
        let name = name.split_once(' ').map_or(name, |(_, name)| name);
        EncodeError::new(EncodeErrorKind::NotTheType(name))
    }
}

/// A value of one of BSON's own types, being written.
pub(in crate::codec) struct Special<'s, 'a> {
    inner: &'s mut Serializer<'a>,
    kind: SpecialKind,
    /// Where its bytes begin, and where its type stands.
    start: usize,
    type_at: usize,
}

impl<'s, 'a> Special<'s, 'a> {
    pub(super) fn begin(inner: &'s mut Serializer<'a>, kind: SpecialKind) -> Self {
        inner.set_type(kind.element_type());
        let start = inner.out.len();
        let type_at = inner.type_at;
        Self {
            inner,
            kind,
            start,
            type_at,
        }
    }

    pub(super) fn put_field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match self.kind {
            // The type says it all; but a tag that serde adds is not part of it.
            SpecialKind::MinKey if field == "$minKey" => Ok(()),
            SpecialKind::MaxKey if field == "$maxKey" => Ok(()),
            SpecialKind::Undefined if field == "$undefined" => Ok(()),
            SpecialKind::MinKey | SpecialKind::MaxKey | SpecialKind::Undefined => {
                Err(self.kind.refused())
            }
            SpecialKind::CodeWithScope if field == "$scope" => self.put_scope(value),
            _ => value.serialize(Part {
                inner: &mut *self.inner,
                kind: self.kind,
                start: self.start,
                field,
            }),
        }
    }

    fn put_scope<T: Serialize + ?Sized>(&mut self, scope: &T) -> Result<(), EncodeError> {
        // A scope has no type of its own: it borrows that of the whole.
        self.inner.type_at = self.type_at;
        scope.serialize(&mut *self.inner)?;
        let is_document = self.inner.out[self.type_at] == element::DOCUMENT;
        self.inner.out[self.type_at] = element::CODE_WITH_SCOPE;
        if !is_document {
            return Err(self.kind.refused());
        }
        let length = i32::try_from(self.inner.out.len() - self.start);
        let length = length.map_err(|_| super::writer::too_long())?;
        self.inner.out[self.start..self.start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), EncodeError> {
        // A struct of the user's that has such a name may lack fields.
        let value = self.inner.out.get(self.start..).unwrap_or_default();
        if value_length(self.kind.element_type(), value) != Some(value.len()) {
            return Err(self.kind.refused());
        }
        if self.kind == SpecialKind::CodeWithScope {
            // The code, and a scope behind it.
            let code = value_length(element::STRING, value.get(4..).unwrap_or_default());
            if code.is_none_or(|code| value.len() < 4 + code + 5) {
                return Err(self.kind.refused());
            }
        }
        Ok(())
    }
}

/// One field of such a type, which writes a part of its bytes.
struct Part<'p, 'a> {
    inner: &'p mut Serializer<'a>,
    kind: SpecialKind,
    start: usize,
    field: &'static str,
}

impl Part<'_, '_> {
    fn put_text(self, text: &str) -> Result<(), EncodeError> {
        let refused = |_| self.kind.refused();
        let out = &mut *self.inner.out;
        match (self.kind, self.field) {
            (SpecialKind::ObjectId, "$oid") | (SpecialKind::DbPointer, "$oid") => {
                let id = ObjectId::parse_str(text).map_err(|_| self.kind.refused())?;
                out.extend_from_slice(&id.bytes());
            }
            (SpecialKind::DateTime, "$numberLong") => {
                let millis: i64 = text.parse().map_err(|_| self.kind.refused())?;
                out.extend_from_slice(&millis.to_le_bytes());
            }
            (SpecialKind::DateTime, "$date") => {
                let date =
                    bson::DateTime::parse_rfc3339_str(text).map_err(|_| self.kind.refused())?;
                out.extend_from_slice(&date.timestamp_millis().to_le_bytes());
            }
            (SpecialKind::Double, "$numberDouble") => {
                let number: f64 = text.parse().map_err(|_| self.kind.refused())?;
                out.extend_from_slice(&number.to_le_bytes());
            }
            (SpecialKind::Code, "$code")
            | (SpecialKind::Symbol, "$symbol")
            | (SpecialKind::DbPointer, "$ref") => self.inner.append_string(text)?,
            (SpecialKind::CodeWithScope, "$code") => {
                // The length of the whole follows with the scope.
                out.extend_from_slice(&[0; 4]);
                self.inner.append_string(text)?;
            }
            (SpecialKind::Regex, "pattern") => append_text(out, text)?,
            (SpecialKind::Regex, "options") => append_options(out, text)?,
            (SpecialKind::Binary, "base64") => {
                let binary = Binary::from_base64(text, BinarySubtype::Generic);
                let bytes = binary.map_err(|_| self.kind.refused())?.bytes;
                self.inner.put_unplaced_binary(&bytes)?;
            }
            (SpecialKind::Binary, "subType") => {
                let subtype = u8::from_str_radix(text, 16).map_err(|_| self.kind.refused())?;
                return self.put_subtype(subtype);
            }
            (SpecialKind::Decimal128, "$numberDecimal") => {
                let decimal: Decimal128 = text.parse().map_err(refused)?;
                out.extend_from_slice(&decimal.bytes());
            }
            _ => return Err(self.kind.refused()),
        }
        Ok(())
    }

    fn put_number(self, number: i64) -> Result<(), EncodeError> {
        match (self.kind, self.field) {
            (SpecialKind::Binary, "subType") => match u8::try_from(number) {
                Ok(subtype) => self.put_subtype(subtype),
                Err(_) => Err(self.kind.refused()),
            },
            (SpecialKind::Timestamp, "t" | "i") => {
                let half = u32::try_from(number).map_err(|_| self.kind.refused())?;
                // The increment stands before the time.
                let at = self.start + if self.field == "t" { 4 } else { 0 };
                self.inner.out.resize(self.start + 8, 0);
                self.inner.out[at..at + 4].copy_from_slice(&half.to_le_bytes());
                Ok(())
            }
            _ => Err(self.kind.refused()),
        }
    }

    /// The subtype comes after the bytes.
    fn put_subtype(self, subtype: u8) -> Result<(), EncodeError> {
        let bytes_at = self.start + 5;
        let Some(length) = self.inner.out.len().checked_sub(bytes_at) else {
            return Err(self.kind.refused());
        };
        self.inner.out[bytes_at - 1] = subtype;
        if subtype == super::super::SUBTYPE_BINARY_OLD {
            let inner = i32::try_from(length).map_err(|_| super::writer::too_long())?;
            let outer = inner.checked_add(4).ok_or_else(super::writer::too_long)?;
            let inner = inner.to_le_bytes();
            self.inner.out.splice(bytes_at..bytes_at, inner);
            self.inner.out[self.start..self.start + 4].copy_from_slice(&outer.to_le_bytes());
        }
        Ok(())
    }
}

impl Serializer<'_> {
    /// A binary whose type is set and whose subtype follows.
    fn put_unplaced_binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let length = i32::try_from(bytes.len()).map_err(|_| super::writer::too_long())?;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.push(0);
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends a text that ends with its first zero.
pub(in crate::codec) fn append_text(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::new(EncodeErrorKind::ZeroInKey));
    }
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

/// Appends the options of a regular expression in alphabetical order.
pub(in crate::codec) fn append_options(
    out: &mut Vec<u8>,
    options: &str,
) -> Result<(), EncodeError> {
    if options.is_ascii() {
        let start = out.len();
        append_text(out, options)?;
        let end = out.len() - 1;
        out[start..end].sort_unstable();
        return Ok(());
    }
    let mut sorted: Vec<char> = options.chars().collect();
    sorted.sort_unstable();
    append_text(out, &String::from_iter(sorted))
}

/// Methods that refuse what no part of such a type is.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$result, EncodeError> {
            Err(self.kind.refused())
        }
    )*};
}

impl ser::Serializer for Part<'_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    fn is_human_readable(&self) -> bool {
        self.inner.for_people()
    }

    fn serialize_str(self, text: &str) -> Result<(), EncodeError> {
        self.put_text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), EncodeError> {
        match (self.kind, self.field) {
            (SpecialKind::Binary, "bytes") => self.inner.put_unplaced_binary(bytes),
            (SpecialKind::Decimal128, "$numberDecimalBytes") => {
                self.inner.out.extend_from_slice(bytes);
                Ok(())
            }
            _ => Err(self.kind.refused()),
        }
    }

    fn serialize_u8(self, number: u8) -> Result<(), EncodeError> {
        self.put_number(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), EncodeError> {
        self.put_number(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), EncodeError> {
        self.put_number(number)
    }

    /// The body of a type: its parts.
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), EncodeError> {
        Err(self.kind.refused())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), EncodeError> {
        Err(self.kind.refused())
    }

    refuse! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_u16(u16) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }
}

impl ser::SerializeStruct for Part<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(Part {
            inner: &mut *self.inner,
            kind: self.kind,
            start: self.start,
            field,
        })
    }

    fn end(self) -> Result<(), EncodeError> {
        Ok(())
    }
}
