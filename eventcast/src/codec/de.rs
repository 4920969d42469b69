//! BSON to serde: typed values straight from checked bytes.
//!
//! Responsible for the argument mapping on the way in and for exact conversion between BSON's kinds
//! of numbers. Strings and bytes are borrowed, not copied; nothing is allocated here unless
//! something fails, or a value has one of BSON's own types.
//!
//! Contract: the bytes have passed [`check_document`](super::check_document). Other bytes give
//! errors or wrong values, never a panic. Recursion is bounded by the depth of the bytes, and by
//! [`MAX_STEPS`] for types that nest without end.

mod access;
mod args;
mod numbers;
mod room;
mod special;

use serde::de::value::UnitDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use self::{
    access::{Entries, Items, Variant, key_of},
    args::{ArgsDeserializer, Missing},
    room::{ANYWHERE, INLINE},
};
use super::{
    DecodeError, DecodeErrorKind, MAX_STEPS, element, newtype,
    raw::{RawArgs, RawElements, RawValue},
};
use crate::event::{ShapeKind, must_be_small};

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
    const { must_be_small::<T>() };
    match shape {
        ShapeKind::Unit => T::deserialize(UnitDeserializer::new()),
        ShapeKind::Tuple(_) => decode_args(args),
        ShapeKind::Newtype | ShapeKind::Named | ShapeKind::Enum => match args.iter().next() {
            Some(argument) => T::deserialize(Deserializer::of_value(argument)),
            None => T::deserialize(Missing),
        },
    }
}

/// As [`decode_event`], on a thread with a large stack where values in a buffer of serde's may need
/// one.
///
/// # Errors
///
/// As `decode_event`.
pub fn decode_event_with_room<T: DeserializeOwned + Send>(
    args: RawArgs<'_>,
    shape: ShapeKind,
) -> Result<T, DecodeError> {
    room::with_room(ANYWHERE, || decode_event(args, shape))
}

/// Decodes arguments into a `T`: a tuple or another sequence takes all of them, `()` none, anything
/// else the first.
///
/// # Errors
///
/// Those of [`decode_event`].
pub fn decode_args<T: DeserializeOwned>(args: RawArgs<'_>) -> Result<T, DecodeError> {
    const { must_be_small::<T>() };
    T::deserialize(ArgsDeserializer::new(args))
}

/// Decodes arguments into a `T` with however much stack the caller has left: what needs more than a
/// little is decoded on a thread with a large stack.
///
/// # Errors
///
/// Those of [`decode_event`].
pub(super) fn decode_args_anywhere<T: DeserializeOwned + Send>(
    args: RawArgs<'_>,
) -> Result<T, DecodeError> {
    room::with_room(INLINE, || decode_args(args))
}

/// The most bytes of values that may be on the stack at once. Of 2 MiB, the stack of a tokio
/// worker, this leaves more than a quarter for the frames, which do not depend on the size of the
/// values, and for the caller.
const MAX_STACK: u32 = 1_400 << 10;

/// How many copies of a value its frames hold at once. Measured without optimisation: 14 to 15.
const COPIES: u32 = 16;

/// What the frames of one step take, whatever the size of the value. Measured without optimisation.
const FRAMES: u32 = 2 << 10;

/// What making a `T` takes of the stack, but for what is inside of it.
const fn stack_of<T>() -> u32 {
    must_be_small::<T>();
    size_of::<T>() as u32 * COPIES
}

/// Decodes one value.
#[derive(Clone, Copy)]
pub(super) struct Deserializer<'de> {
    value: RawValue<'de>,
    /// How many more of serde's steps may be opened.
    steps: u16,
    /// How many more bytes of values may be under way on the stack.
    stack: u32,
    /// How many more bytes may be taken of this thread's stack.
    inline: u32,
    /// How deep this is in a buffer of serde's.
    buffered: u8,
    /// A wrapper of the bson crate requested the readable form of the value inside.
    human_readable: bool,
    /// The bson crate requested the raw form of this value.
    raw: bool,
}

impl<'de> Deserializer<'de> {
    #[inline]
    pub(super) fn of_value(value: RawValue<'de>) -> Self {
        Self {
            value,
            steps: MAX_STEPS as u16,
            stack: MAX_STACK,
            inline: room::inline(),
            buffered: 0,
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

    /// One step deeper, to make a `T`.
    #[inline]
    fn step<T>(self) -> Result<Self, DecodeError> {
        let Some(steps) = self.steps.checked_sub(1) else {
            return Err(DecodeError::new(DecodeErrorKind::TooDeep));
        };
        let buffered = match room::is_buffer::<T>() {
            true => room::one_deeper(self.buffered)?,
            false => self.buffered,
        };
        let needed = const { stack_of::<T>() };
        let Some(stack) = self.stack.checked_sub(needed) else {
            return Err(DecodeError::new(DecodeErrorKind::TooMuchStack));
        };
        let Some(inline) = self.inline.checked_sub(needed + FRAMES) else {
            return Err(room::exceeded());
        };
        Ok(Self {
            steps,
            stack,
            inline,
            buffered,
            ..self
        })
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
        visitor.visit_map(Entries::new(self.step::<V::Value>()?, self.value.bytes))
    }

    #[inline]
    fn visit_array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut items = Items::new(self.step::<V::Value>()?, self.value.bytes);
        let value = visitor.visit_seq(&mut items)?;
        items.finish()?;
        Ok(value)
    }

    /// The bytes of a binary, one number each, for a `Vec<u8>`.
    fn visit_numbers<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.step::<V::Value>()?;
        let (_, bytes) = self.binary()?;
        let mut items = de::value::SeqDeserializer::new(bytes.iter().copied());
        let value = visitor.visit_seq(&mut items)?;
        // Returns how many were left.
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

    /// For a missing value of a plain type: its own visitor makes the error, unless it would accept
    /// one of BSON's own types as the map or the bytes that serde's model makes of it.
    #[cold]
    fn visit_other<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_special() {
            return self.refuse(&visitor);
        }
        de::Deserializer::deserialize_any(self, visitor)
    }

    /// A newtype by which the bson crate requests a form.
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
                ..self.step::<V::Value>()?
            }),
            _ => visitor.visit_newtype_struct(self.step::<V::Value>()?),
        }
    }
}

/// Bytes that have not been checked were given to a decoder.
#[cold]
pub(super) fn unchecked() -> DecodeError {
    let message = "the bytes are not the BSON that they say they are".to_owned();
    DecodeError::new(DecodeErrorKind::Custom(message))
}

impl<'de> de::Deserializer<'de> for Deserializer<'de> {
    type Error = DecodeError;

    /// What is binary is no form for people, so a `Uuid` is read from a string as well as from a
    /// binary.
    #[inline]
    fn is_human_readable(&self) -> bool {
        self.human_readable || !matches!(self.kind(), element::BINARY | element::OBJECT_ID)
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
        const { must_be_small::<V::Value>() };
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
        visitor.visit_some(self.step::<V::Value>()?)
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
        visitor.visit_newtype_struct(self.step::<V::Value>()?)
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
        // A date is no struct without fields; but the bson crate requests its types in this way.
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
                        value: self.step::<V::Value>()?.inside(entry.value),
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
