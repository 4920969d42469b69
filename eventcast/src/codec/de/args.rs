//! The list of arguments as a whole, and the argument that did not come.

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::{
    super::{
        DecodeError, DecodeErrorKind, MAX_STEPS, element,
        raw::{RawArgs, RawValue},
    },
    Deserializer,
};

/// Gives a sequence all arguments, nothing none, and anything else the first.
#[derive(Clone, Copy)]
pub(super) struct ArgsDeserializer<'de> {
    args: RawArgs<'de>,
    /// How many more options may be opened around the arguments.
    steps: u16,
}

impl<'de> ArgsDeserializer<'de> {
    #[inline]
    pub(super) fn new(args: RawArgs<'de>) -> Self {
        let steps = MAX_STEPS as u16;
        Self { args, steps }
    }

    fn first(&self) -> Option<RawValue<'de>> {
        self.args.iter().next()
    }

    /// The only one.
    fn single(&self) -> Option<RawValue<'de>> {
        let mut all = self.args.iter();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    #[inline]
    fn visit_all<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut list = List {
            rest: self.args.iter(),
            count: 0,
            ended: false,
        };
        match visitor.visit_seq(&mut list) {
            Ok(value) => Ok(value),
            Err(error) if list.ended => Err(missing(error, list.count)),
            Err(error) => Err(error),
        }
    }
}

/// A type that came to the end of the arguments complains of their number.
#[cold]
fn missing(error: DecodeError, found: usize) -> DecodeError {
    match error.kind() {
        DecodeErrorKind::Mismatch { expected, .. } if error.path().is_empty() => {
            DecodeError::new(DecodeErrorKind::MissingArgument {
                expected: expected.clone(),
                found,
            })
        }
        _ => error,
    }
}

struct List<I> {
    rest: I,
    count: usize,
    ended: bool,
}

impl<'de, I: Iterator<Item = RawValue<'de>>> SeqAccess<'de> for List<I> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(value) = self.rest.next() else {
            self.ended = true;
            return Ok(None);
        };
        let index = self.count;
        self.count += 1;
        match seed.deserialize(Deserializer::of_value(value)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_index(index)),
        }
    }
}

/// Methods that decode the first argument.
macro_rules! first {
    ($($method:ident($($name:ident: $argument:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $argument,)*
            visitor: V,
        ) -> Result<V::Value, DecodeError> {
            match self.first() {
                Some(value) => Deserializer::of_value(value).$method($($name,)* visitor),
                None => Missing.$method($($name,)* visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for ArgsDeserializer<'de> {
    type Error = DecodeError;

    fn is_human_readable(&self) -> bool {
        self.first()
            .is_none_or(|value| Deserializer::of_value(value).is_human_readable())
    }

    /// A type that takes anything gets the value itself where there is one, else the list.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.single() {
            Some(value) => Deserializer::of_value(value).deserialize_any(visitor),
            None => self.visit_all(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit_all(visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.visit_all(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.visit_all(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    /// No argument, or a single null, is none.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let null = |value: RawValue<'_>| value.element_type == element::NULL;
        if self.args.is_empty() || self.single().is_some_and(null) {
            return visitor.visit_none();
        }
        match self.steps.checked_sub(1) {
            Some(steps) => visitor.visit_some(Self { steps, ..self }),
            None => Err(DecodeError::new(DecodeErrorKind::TooDeep)),
        }
    }

    first! {
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_map()
        deserialize_identifier()
        deserialize_newtype_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

/// A missing argument. A type whose fields all have defaults can do without it.
#[derive(Clone, Copy)]
pub(super) struct Missing;

impl Missing {
    /// Lets `visit` try to do without.
    fn attempt<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        visit: impl FnOnce(V) -> Result<V::Value, DecodeError>,
    ) -> Result<V::Value, DecodeError> {
        let kind = DecodeErrorKind::MissingArgument {
            expected: super::super::error::cut(&(&visitor as &dyn de::Expected), 256),
            found: 0,
        };
        visit(visitor).map_err(|_| DecodeError::new(kind))
    }
}

impl<'de> de::Deserializer<'de> for Missing {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.attempt(visitor, |_| Err(super::unchecked()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        // An empty sequence makes serde look for the field's default.
        let empty = std::iter::empty::<()>();
        self.attempt(visitor, |visitor| {
            visitor.visit_seq(de::value::SeqDeserializer::new(empty))
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let empty = std::iter::empty::<((), ())>();
        self.attempt(visitor, |visitor| {
            visitor.visit_map(de::value::MapDeserializer::new(empty))
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct enum identifier ignored_any
    }
}
