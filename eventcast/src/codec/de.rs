//! BSON to serde: typed values straight from checked bytes.
//!
//! Responsible for the argument mapping on the way in and for exact conversion between BSON's
//! kinds of numbers. Strings and bytes are lent, not copied; nothing is allocated here unless
//! something fails, or a value has one of BSON's own types.
//!
//! Contract: the bytes have passed [`check_document`](super::check_document). Others give errors
//! or nonsense, never a panic. Recursion is bounded by the depth of the bytes, and by
//! [`MAX_STEPS`](super::MAX_STEPS) for types that nest without end.

mod args;
mod numbers;
mod special;

use serde::de::value::UnitDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use self::args::{ArgsDeserializer, Missing};
use super::raw::{RawArgs, RawElement, RawElements, RawValue};
use super::{DecodeError, DecodeErrorKind, MAX_STEPS, element, newtype};
use crate::event::ShapeKind;

/// Decodes the arguments of an event into its type, as `shape` maps them.
///
/// Surplus arguments are ignored. A missing one is made up for by its field's `#[serde(default)]`.
///
/// # Errors
///
/// An argument is missing, or has a type or value that the field cannot hold: see
/// [`DecodeErrorKind`].
pub fn decode_event<T: DeserializeOwned>(
    args: RawArgs<'_>,
    shape: ShapeKind,
) -> Result<T, DecodeError> {
    match shape {
        ShapeKind::Unit => T::deserialize(UnitDeserializer::new()),
        ShapeKind::Tuple(_) => decode_args(args),
        ShapeKind::Newtype | ShapeKind::Named | ShapeKind::Enum => match args.iter().next() {
            Some(argument) => T::deserialize(Deserializer::of_value(argument)),
            None => T::deserialize(Missing),
        },
    }
}

/// Decodes arguments into whatever `T` asks for: a tuple or another sequence takes all of them,
/// `()` none, anything else the first.
///
/// # Errors
///
/// As [`decode_event`].
pub fn decode_args<T: DeserializeOwned>(args: RawArgs<'_>) -> Result<T, DecodeError> {
    T::deserialize(ArgsDeserializer::new(args))
}

/// Decodes one value.
#[derive(Clone, Copy)]
pub(super) struct Deserializer<'de> {
    value: RawValue<'de>,
    /// How many more of serde's steps may be opened.
    steps: u16,
    /// The bson crate's wrapper asked for the readable form of what is inside.
    human_readable: bool,
    /// The bson crate asked for the raw form of this value.
    raw: bool,
}

impl<'de> Deserializer<'de> {
    #[inline]
    pub(super) fn of_value(value: RawValue<'de>) -> Self {
        Self {
            value,
            steps: MAX_STEPS as u16,
            human_readable: false,
            raw: false,
        }
    }

    /// Of a value inside this one.
    #[inline]
    fn inside(self, value: RawValue<'de>) -> Self {
        Self {
            value,
            raw: false,
            ..self
        }
    }

    #[inline]
    fn step(self) -> Result<Self, DecodeError> {
        match self.steps.checked_sub(1) {
            Some(steps) => Ok(Self { steps, ..self }),
            None => Err(DecodeError::new(DecodeErrorKind::TooDeep)),
        }
    }

    #[inline]
    fn kind(&self) -> u8 {
        self.value.element_type
    }

    #[inline]
    fn text(&self) -> Result<&'de str, DecodeError> {
        self.value.text().ok_or_else(unchecked)
    }

    #[inline]
    fn fixed<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.value.bytes.try_into().map_err(|_| unchecked())
    }

    #[inline]
    fn boolean(&self) -> bool {
        self.value.bytes == [1]
    }

    #[inline]
    fn binary(&self) -> Result<(u8, &'de [u8]), DecodeError> {
        self.value.binary().ok_or_else(unchecked)
    }

    #[inline]
    fn visit_document<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(Entries {
            outer: self.step()?,
            elements: RawElements::of_document(self.value.bytes),
            entry: None,
        })
    }

    #[inline]
    fn visit_array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut items = Items {
            outer: self.step()?,
            elements: RawElements::of_document(self.value.bytes),
            count: 0,
        };
        let value = visitor.visit_seq(&mut items)?;
        match items.elements.count() {
            0 => Ok(value),
            more => Err(surplus(items.count, more)),
        }
    }

    /// The bytes of a binary, one number each, for a `Vec<u8>`.
    fn visit_numbers<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (_, bytes) = self.binary()?;
        let mut items = de::value::SeqDeserializer::new(bytes.iter().copied());
        let value = visitor.visit_seq(&mut items)?;
        // Says how many were left.
        items.end()?;
        Ok(value)
    }

    /// What came, for an error.
    fn unexpected(&self) -> Unexpected<'de> {
        match self.kind() {
            element::DOUBLE => self.fixed().map_or(Unexpected::Other("a double"), |bytes| {
                Unexpected::Float(f64::from_le_bytes(bytes))
            }),
            element::INT32 | element::INT64 => self
                .integer()
                .map_or(Unexpected::Other("an integer"), Unexpected::Signed),
            element::STRING => self
                .text()
                .map_or(Unexpected::Other("a string"), Unexpected::Str),
            element::BOOLEAN => Unexpected::Bool(self.boolean()),
            other => Unexpected::Other(element::name(other)),
        }
    }

    /// The value of an int32 or int64.
    #[inline]
    fn integer(&self) -> Result<i64, DecodeError> {
        if self.kind() == element::INT32 {
            Ok(i32::from_le_bytes(self.fixed()?).into())
        } else {
            Ok(i64::from_le_bytes(self.fixed()?))
        }
    }

    #[cold]
    fn refuse<T>(&self, expected: &dyn de::Expected) -> Result<T, DecodeError> {
        Err(de::Error::invalid_type(self.unexpected(), expected))
    }

    /// Whether this is a type of BSON's own, which serde's model shows as a map with `$` keys.
    fn is_special(&self) -> bool {
        !matches!(
            self.kind(),
            element::DOUBLE
                | element::STRING
                | element::DOCUMENT
                | element::ARRAY
                | element::BOOLEAN
                | element::NULL
                | element::INT32
                | element::INT64
        )
    }

    /// For a plain type that is not there: its own visitor tells what it expected, unless it would
    /// take one of BSON's own types for the map or the bytes that serde's model makes of it.
    #[cold]
    fn visit_other<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_special() {
            return self.refuse(&visitor);
        }
        de::Deserializer::deserialize_any(self, visitor)
    }

    /// A newtype by which the bson crate says what it wants.
    fn deserialize_announced<V: Visitor<'de>>(
        self,
        name: &str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let raw = Self { raw: true, ..self };
        match name {
            newtype::RAW_BSON => de::Deserializer::deserialize_any(raw, visitor),
            newtype::RAW_DOCUMENT if self.kind() != element::DOCUMENT => self.refuse(&"a document"),
            newtype::RAW_ARRAY if self.kind() != element::ARRAY => self.refuse(&"an array"),
            newtype::RAW_DOCUMENT | newtype::RAW_ARRAY => {
                de::Deserializer::deserialize_any(raw, visitor)
            }
            newtype::UUID => {
                let uuid = u8::from(bson::spec::BinarySubtype::Uuid);
                if self.kind() == element::BINARY && self.binary()?.0 != uuid {
                    return self.refuse(&"a UUID (a binary of subtype 4)");
                }
                de::Deserializer::deserialize_any(self, visitor)
            }
            newtype::HUMAN_READABLE => visitor.visit_newtype_struct(Self {
                human_readable: true,
                ..self.step()?
            }),
            _ => visitor.visit_newtype_struct(self.step()?),
        }
    }
}

/// Bytes that have not been checked were given to a decoder.
#[cold]
pub(super) fn unchecked() -> DecodeError {
    let message = "the bytes are not the BSON that they say they are".to_owned();
    DecodeError::new(DecodeErrorKind::Custom(message))
}

#[cold]
fn surplus(taken: usize, more: usize) -> DecodeError {
    DecodeError::mismatch(
        &format_args!("an array of {taken}"),
        &format_args!("an array of {}", taken + more),
    )
}

impl<'de> de::Deserializer<'de> for Deserializer<'de> {
    type Error = DecodeError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.human_readable
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::INT32 => visitor.visit_i32(i32::from_le_bytes(self.fixed()?)),
            element::INT64 => visitor.visit_i64(i64::from_le_bytes(self.fixed()?)),
            element::DOUBLE => visitor.visit_f64(f64::from_le_bytes(self.fixed()?)),
            element::STRING => visitor.visit_borrowed_str(self.text()?),
            element::BOOLEAN => visitor.visit_bool(self.boolean()),
            element::NULL => visitor.visit_unit(),
            element::DOCUMENT if !self.raw => self.visit_document(visitor),
            element::ARRAY if !self.raw => self.visit_array(visitor),
            _ => special::visit(self, visitor),
        }
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::BOOLEAN {
            return visitor.visit_bool(self.boolean());
        }
        self.visit_other(visitor)
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_wide(visitor)
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_integer(visitor)
    }

    #[inline]
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_wide(visitor)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_f32(visitor)
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_f64(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::STRING {
            return visitor.visit_borrowed_str(self.text()?);
        }
        self.visit_other(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::BINARY => visitor.visit_borrowed_bytes(self.binary()?.1),
            element::OBJECT_ID => visitor.visit_borrowed_bytes(self.value.bytes),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::NULL {
            return visitor.visit_none();
        }
        visitor.visit_some(self.step()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::NULL {
            return visitor.visit_unit();
        }
        self.visit_other(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name.starts_with('$') {
            return self.deserialize_announced(name, visitor);
        }
        visitor.visit_newtype_struct(self.step()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::ARRAY => self.visit_array(visitor),
            element::BINARY => self.visit_numbers(visitor),
            _ => self.visit_other(visitor),
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::DOCUMENT {
            return self.visit_document(visitor);
        }
        self.visit_other(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if self.kind() == element::DOCUMENT {
            return self.visit_document(visitor);
        }
        // A date is no struct without fields; but the bson crate asks for its types like this.
        if self.is_special() && !fields.iter().any(|field| field.starts_with('$')) {
            return self.refuse(&visitor);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::STRING => visitor.visit_enum(self.text()?.into_deserializer()),
            element::DOCUMENT => {
                let mut entries = RawElements::of_document(self.value.bytes);
                match (entries.next(), entries.next()) {
                    (Some(entry), None) => visitor.visit_enum(Variant {
                        name: key_of(&entry)?,
                        value: self.step()?.inside(entry.value),
                    }),
                    _ => Err(DecodeError::mismatch(
                        &"a document with the variant as its one key",
                        &format_args!(
                            "a document with {} keys",
                            RawElements::of_document(self.value.bytes).count()
                        ),
                    )),
                }
            }
            _ => self.refuse(&visitor),
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { identifier }
}

#[inline]
fn key_of<'de>(element: &RawElement<'de>) -> Result<&'de str, DecodeError> {
    str::from_utf8(element.key_bytes()).map_err(|_| unchecked())
}

/// The entries of a document.
struct Entries<'de> {
    outer: Deserializer<'de>,
    elements: RawElements<'de>,
    /// The entry whose value is to come.
    entry: Option<(&'de str, RawValue<'de>)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some(element) = self.elements.next() else {
            return Ok(None);
        };
        let key = key_of(&element)?;
        self.entry = Some((key, element.value));
        match seed.deserialize(Key(key)) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(error.of_key(key)),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((key, value)) = self.entry.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(self.outer.inside(value))
            .map_err(|error| error.in_key(key))
    }
}

/// The items of an array.
struct Items<'de> {
    outer: Deserializer<'de>,
    elements: RawElements<'de>,
    count: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(element) = self.elements.next() else {
            return Ok(None);
        };
        let index = self.count;
        self.count += 1;
        match seed.deserialize(self.outer.inside(element.value)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_index(index)),
        }
    }

    /// Known without counting where all items have the length of the first.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        let rest = self.elements.rest();
        let first = self.elements.clone().next()?;
        let fixed = matches!(
            first.value.element_type,
            element::DOUBLE | element::INT32 | element::INT64 | element::BOOLEAN
        );
        // A type, a zero, and on average three digits of the name.
        fixed.then(|| rest.len() / (first.value.bytes.len() + 5))
    }
}

/// A key, which is a string, or what can be read from one.
#[derive(Clone, Copy)]
struct Key<'de>(&'de str);

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = DecodeError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant written as `{ "Name": value }`.
struct Variant<'de> {
    name: &'de str,
    value: Deserializer<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        Ok((seed.deserialize(Key(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        if self.value.kind() == element::NULL {
            return Ok(());
        }
        let refused = self
            .value
            .refuse(&"nothing, or null: the variant holds no data");
        refused.map_err(|error| error.in_key(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.value)
            .map_err(|error| error.in_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_tuple(self.value, length, visitor)
            .map_err(|error| error.in_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_struct(self.value, "", fields, visitor)
            .map_err(|error| error.in_key(self.name))
    }
}
