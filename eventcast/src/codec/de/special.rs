//! BSON's own types on the way into a typed event.
//!
//! The types of the `bson` crate read themselves from maps in the manner of extended JSON: an
//! ObjectId from a map with the one key `$oid`. The crate's raw types get shorter maps, which
//! borrow the bytes.

use bson::oid::ObjectId;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{
    super::{DecodeError, element, newtype, raw::RawValue},
    Deserializer,
    access::Key,
    unchecked,
};

/// Shows a value of one of BSON's own types to `visitor`.
pub(super) fn visit<'de, V: Visitor<'de>>(
    value: Deserializer<'de>,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    if value.kind() == element::BINARY {
        let (subtype, bytes) = value.binary()?;
        if subtype == u8::from(bson::spec::BinarySubtype::Generic) {
            return visitor.visit_borrowed_bytes(bytes);
        }
    }
    visitor.visit_map(model(value)?)
}

/// The map that stands for a value.
fn model<'de>(value: Deserializer<'de>) -> Result<Pairs<'de>, DecodeError> {
    let inside = |element_type, bytes| {
        Part::Value(Deserializer {
            raw: value.raw,
            ..value.inside(RawValue {
                element_type,
                bytes,
            })
        })
    };
    let bytes = value.value.bytes;
    Ok(match value.kind() {
        // These two only for the raw form.
        element::DOCUMENT => Pairs::one(newtype::RAW_DOCUMENT, Part::Bytes(bytes)),
        element::ARRAY => Pairs::one(newtype::RAW_ARRAY, Part::Bytes(bytes)),
        element::OBJECT_ID if value.raw => Pairs::one("$oid", Part::Bytes(bytes)),
        element::OBJECT_ID => {
            let id = ObjectId::from_bytes(value.fixed()?);
            Pairs::one("$oid", Part::Text(id.to_hex()))
        }
        element::DATE_TIME => {
            let millis = i64::from_le_bytes(value.fixed()?);
            if value.raw {
                Pairs::one("$date", Part::Number(millis))
            } else {
                let text = Part::Text(millis.to_string());
                Pairs::one("$date", Part::Body(Body::one("$numberLong", text)))
            }
        }
        element::BINARY => {
            let (subtype, bytes) = value.binary()?;
            let body = if value.raw {
                let subtype = Part::Number(subtype.into());
                Body::two("bytes", Part::Bytes(bytes), "subType", subtype)
            } else {
                let subtype = Part::Text(format!("{subtype:02x}"));
                Body::two("base64", Part::Text(base64(bytes)), "subType", subtype)
            };
            Pairs::one("$binary", Part::Body(body))
        }
        element::TIMESTAMP => {
            let both = u64::from_le_bytes(value.fixed()?);
            let (time, increment) = (both >> 32, both & u64::from(u32::MAX));
            let (time, increment) = (Part::Number(time as i64), Part::Number(increment as i64));
            Pairs::one(
                "$timestamp",
                Part::Body(Body::two("t", time, "i", increment)),
            )
        }
        element::REGEX => {
            let (pattern, options) = value.value.regex().ok_or_else(unchecked)?;
            let body = Body::two("pattern", Part::Str(pattern), "options", Part::Str(options));
            Pairs::one("$regularExpression", Part::Body(body))
        }
        element::DB_POINTER => {
            let (namespace, id) = value.value.db_pointer().ok_or_else(unchecked)?;
            let id = inside(id.element_type, id.bytes);
            let body = Body::two("$ref", Part::Str(namespace), "$id", id);
            Pairs::one("$dbPointer", Part::Body(body))
        }
        element::CODE => Pairs::one("$code", Part::Str(value.text()?)),
        element::SYMBOL => Pairs::one("$symbol", Part::Str(value.text()?)),
        element::CODE_WITH_SCOPE => {
            let (code, scope) = value.value.code_with_scope().ok_or_else(unchecked)?;
            let scope = Part::Value(value.inside(RawValue {
                element_type: element::DOCUMENT,
                bytes: scope,
            }));
            Pairs::two("$code", Part::Str(code), "$scope", scope)
        }
        element::DECIMAL128 => Pairs::one("$numberDecimalBytes", Part::Bytes(bytes)),
        element::UNDEFINED => Pairs::one("$undefined", Part::True),
        element::MIN_KEY => Pairs::one("$minKey", Part::Number(1)),
        element::MAX_KEY => Pairs::one("$maxKey", Part::Number(1)),
        _ => return Err(unchecked()),
    })
}

/// A map of one or two pairs that have yet to be visited.
struct Map<'de, P> {
    pairs: [Option<(&'static str, P)>; 2],
    /// The part whose key was visited.
    part: Option<P>,
    lifetime: std::marker::PhantomData<&'de ()>,
}

/// The map that stands for a value, and the map that may be the part of one.
type Pairs<'de> = Map<'de, Part<'de, Body<'de>>>;
type Body<'de> = Map<'de, Part<'de, std::convert::Infallible>>;

impl<P> Map<'_, P> {
    fn one(key: &'static str, part: P) -> Self {
        Self {
            pairs: [Some((key, part)), None],
            part: None,
            lifetime: std::marker::PhantomData,
        }
    }

    fn two(key: &'static str, part: P, other_key: &'static str, other: P) -> Self {
        Self {
            pairs: [Some((key, part)), Some((other_key, other))],
            part: None,
            lifetime: std::marker::PhantomData,
        }
    }
}

impl<'de, P> MapAccess<'de> for Map<'de, P>
where
    P: IntoDeserializer<'de, DecodeError>,
{
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let next = self.pairs.iter_mut().find_map(Option::take);
        let Some((key, part)) = next else {
            return Ok(None);
        };
        self.part = Some(part);
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some(part) = self.part.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(part.into_deserializer())
    }
}

/// What stands under a key of such a map.
enum Part<'de, B> {
    Str(&'de str),
    Text(String),
    Bytes(&'de [u8]),
    Number(i64),
    True,
    Value(Deserializer<'de>),
    Body(B),
}

/// A part's inner map, if there is one.
trait VisitBody<'de> {
    fn visit_body<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError>;
}

impl<'de> VisitBody<'de> for Body<'de> {
    fn visit_body<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(self)
    }
}

impl<'de> VisitBody<'de> for std::convert::Infallible {
    fn visit_body<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        match self {}
    }
}

impl<'de, B: VisitBody<'de>> IntoDeserializer<'de, DecodeError> for Part<'de, B> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de, B: VisitBody<'de>> de::Deserializer<'de> for Part<'de, B> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Str(text) => visitor.visit_borrowed_str(text),
            Self::Text(text) => visitor.visit_string(text),
            Self::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Self::Number(number) => visitor.visit_i64(number),
            Self::True => visitor.visit_bool(true),
            Self::Value(value) => value.deserialize_any(visitor),
            Self::Body(body) => body.visit_body(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Value(value) => value.deserialize_bytes(visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self {
            Self::Value(value) => value.deserialize_newtype_struct(name, visitor),
            other => visitor.visit_newtype_struct(other),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Base64 with padding (RFC 4648, section 4), which is how the bson crate reads a binary.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            // One byte fills two digits, two fill three.
            text.push(if i <= chunk.len() { digit.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_the_bson_crate_reads() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(89)).collect();
            let read = bson::Binary::from_base64(base64(&bytes), None).unwrap();
            assert_eq!(read.bytes, bytes);
        }
    }
}
