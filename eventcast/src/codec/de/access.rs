//! The insides of documents and arrays, and the keys and variants in them.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::{
    super::{
        DecodeError, element,
        raw::{RawElement, RawElements, RawValue},
    },
    Deserializer, unchecked,
};
use crate::event::must_be_small;

#[inline]
pub(super) fn key_of<'de>(element: &RawElement<'de>) -> Result<&'de str, DecodeError> {
    str::from_utf8(element.key_bytes()).map_err(|_| unchecked())
}

/// The entries of a document.
pub(super) struct Entries<'de> {
    outer: Deserializer<'de>,
    elements: RawElements<'de>,
    /// The entry whose value comes next.
    entry: Option<(&'de str, RawValue<'de>)>,
}

impl<'de> Entries<'de> {
    /// Of the document that `outer` is inside of.
    #[inline]
    pub(super) fn new(outer: Deserializer<'de>, document: &'de [u8]) -> Self {
        Self {
            outer,
            elements: RawElements::of_document(document),
            entry: None,
        }
    }
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
        const { must_be_small::<V::Value>() };
        seed.deserialize(self.outer.inside(value))
            .map_err(|error| error.in_key(key))
    }
}

/// The items of an array.
pub(super) struct Items<'de> {
    outer: Deserializer<'de>,
    elements: RawElements<'de>,
    count: usize,
}

impl<'de> Items<'de> {
    /// Of the array that `outer` is inside of.
    #[inline]
    pub(super) fn new(outer: Deserializer<'de>, array: &'de [u8]) -> Self {
        Self {
            outer,
            elements: RawElements::of_document(array),
            count: 0,
        }
    }

    /// Refuses an array of which something is left.
    #[inline]
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.elements.count() {
            0 => Ok(()),
            more => Err(surplus(self.count, more)),
        }
    }
}

#[cold]
fn surplus(taken: usize, more: usize) -> DecodeError {
    DecodeError::mismatch(
        &format_args!("an array of {taken}"),
        &format_args!("an array of {}", taken + more),
    )
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        const { must_be_small::<T::Value>() };
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

/// A key, which is a text, or what has one text form.
#[derive(Clone, Copy)]
pub(super) struct Key<'de>(pub(super) &'de str);

/// Methods that read a key from its one text form. Another text of the same number would be another
/// key, so it is left to the visitor, which refuses it.
macro_rules! read_text {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.0.parse::<$kind>() {
                Ok(key) if is_text_of(self.0, key) => visitor.$visit(key),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

/// Whether a text is the one that a key is written as. Nothing is allocated.
fn is_text_of(text: &str, key: impl fmt::Display) -> bool {
    struct Rest<'a>(&'a str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    fmt::write(&mut rest, format_args!("{key}")).is_ok() && rest.0.is_empty()
}

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = DecodeError;

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

    read_text! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant written as `{ "Name": value }`.
pub(super) struct Variant<'de> {
    pub(super) name: &'de str,
    pub(super) value: Deserializer<'de>,
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
