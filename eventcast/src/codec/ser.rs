//! Serde to BSON: a typed value straight into the bytes of a payload document.
//!
//! Responsible for the argument mapping on the way out, for narrowing integers, and for refusing
//! what a receiver could not read. Nothing is allocated but in the caller's buffer, and that only
//! while it grows.
//!
//! Contract: on success, what was appended passes [`check_document`](super::check_document). On an
//! error the buffer is as it was.

mod key;
mod special;

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::rc::Rc;
use std::sync::Arc;

use bson::{Bson, RawBson, RawBsonRef};
use serde::ser::{self, Serialize};

use self::key::KeySerializer;
use self::special::{Special, SpecialKind};
pub(super) use self::special::{append_options, append_text};
use super::check::{Keys, check_nested};
use super::raw::RawElements;
use super::{EncodeError, EncodeErrorKind, MAX_DEPTH, MAX_STEPS, element, newtype};
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
        inner.type_at = start + PAYLOAD_TYPE;
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

/// Writes values one after another; each goes to the element that was begun last.
pub(super) struct Serializer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Where the type of the value to come stands.
    type_at: usize,
    /// Documents and arrays that are open.
    depth: usize,
    /// Serde's steps that are open: documents, arrays, options and newtypes.
    steps: usize,
    /// The value to come is a `Bson`: its integers keep their width.
    exact: bool,
    /// The bson crate's wrapper asked for the readable form of what is inside.
    human_readable: bool,
    /// What the bson crate said the next bytes are.
    hint: Hint,
    /// An element failed; a `Serialize` that goes on all the same cannot make that good.
    broken: bool,
}

/// What bytes to come are, as one of the bson crate's newtypes announced them.
#[derive(Clone, Copy, PartialEq)]
enum Hint {
    None,
    Uuid,
    RawDocument,
    RawArray,
}

impl<'a> Serializer<'a> {
    fn new(out: &'a mut Vec<u8>, depth: usize) -> Self {
        Self {
            out,
            type_at: 0,
            depth,
            steps: 0,
            exact: false,
            human_readable: false,
            hint: Hint::None,
            broken: false,
        }
    }

    fn finish(self) -> Result<(), EncodeError> {
        if self.broken {
            let message = "a field was refused, and the type's Serialize went on".to_owned();
            return Err(EncodeError::new(EncodeErrorKind::Custom(message)));
        }
        Ok(())
    }

    /// Begins an element of a document.
    #[inline]
    pub(super) fn begin_entry(&mut self, key: &str, keys: &mut Keys) -> Result<(), EncodeError> {
        let key = key.as_bytes();
        if key.contains(&0) {
            return Err(EncodeError::new(EncodeErrorKind::ZeroInKey));
        }
        keys.note(word_of(key));
        self.type_at = self.out.len();
        // Room for a type, a zero, and most values.
        self.out.reserve(key.len() + 16);
        self.out.push(0);
        self.out.extend_from_slice(key);
        self.out.push(0);
        Ok(())
    }

    /// Begins an element of an array.
    #[inline]
    pub(super) fn begin_item(&mut self, index: usize) {
        self.type_at = self.out.len();
        self.out.reserve(16);
        if index < 10 {
            self.out.extend_from_slice(&[0, b'0' + index as u8, 0]);
            return;
        }
        self.out.push(0);
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = index;
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.out.extend_from_slice(&digits[at..]);
        self.out.push(0);
    }

    /// Writes the value of the element that was begun.
    #[inline]
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.exact = keeps_widths::<T>();
        value.serialize(&mut *self)
    }

    #[inline]
    pub(super) fn set_type(&mut self, kind: u8) {
        self.out[self.type_at] = kind;
    }

    #[inline]
    pub(super) fn put_fixed<const N: usize>(&mut self, kind: u8, bytes: [u8; N]) {
        self.set_type(kind);
        self.out.extend_from_slice(&bytes);
    }

    #[inline]
    pub(super) fn put_i64(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(narrow) if !self.exact => self.put_fixed(element::INT32, narrow.to_le_bytes()),
            _ => self.put_fixed(element::INT64, value.to_le_bytes()),
        }
    }

    #[inline]
    pub(super) fn put_string(&mut self, kind: u8, text: &str) -> Result<(), EncodeError> {
        self.set_type(kind);
        self.append_string(text)
    }

    /// A length, the text, a zero.
    #[inline]
    pub(super) fn append_string(&mut self, text: &str) -> Result<(), EncodeError> {
        let length = i32::try_from(text.len() + 1).map_err(|_| too_long())?;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    pub(super) fn put_binary(&mut self, subtype: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        self.set_type(element::BINARY);
        let old = subtype == super::SUBTYPE_BINARY_OLD;
        let length = bytes.len() + if old { 4 } else { 0 };
        let length = i32::try_from(length).map_err(|_| too_long())?;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.push(subtype);
        if old {
            self.out.extend_from_slice(&(length - 4).to_le_bytes());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Begins a document or array and says where, for [`end_document`](Self::end_document).
    #[inline]
    pub(super) fn begin_document(&mut self, kind: u8) -> Result<usize, EncodeError> {
        self.set_type(kind);
        self.open_document()
    }

    /// Begins a document that has no type of its own.
    #[inline]
    pub(super) fn open_document(&mut self) -> Result<usize, EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        self.begin_step()?;
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        Ok(start)
    }

    #[inline]
    pub(super) fn end_document(&mut self, start: usize) -> Result<(), EncodeError> {
        self.out.push(0);
        let length = i32::try_from(self.out.len() - start).map_err(|_| too_long())?;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.depth = self.depth.saturating_sub(1);
        self.end_step();
        Ok(())
    }

    /// As [`end_document`](Self::end_document), where the keys have not been known to differ.
    #[inline]
    fn end_keyed(&mut self, start: usize, keys: &Keys) -> Result<(), EncodeError> {
        if let Some(double) = keys.double(&self.out[start + 4..]) {
            let key = String::from_utf8_lossy(double);
            let key = super::error::cut(&key, 64);
            return Err(EncodeError::new(EncodeErrorKind::DuplicateKey(key)));
        }
        self.end_document(start)
    }

    #[inline]
    fn begin_step(&mut self) -> Result<(), EncodeError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(too_deep());
        }
        Ok(())
    }

    #[inline]
    fn end_step(&mut self) {
        self.steps = self.steps.saturating_sub(1);
    }

    /// Begins `{ "Variant": ` and what stands in it.
    fn begin_variant(&mut self, variant: &str, kind: u8) -> Result<(usize, usize), EncodeError> {
        let outer = self.begin_document(element::DOCUMENT)?;
        self.begin_entry(variant, &mut Keys::default())?;
        Ok((outer, self.begin_document(kind)?))
    }

    /// Raw BSON that a user put together: it may be malformed, or too deep where it stands.
    fn put_raw(&mut self, kind: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        let levels = MAX_DEPTH - self.depth;
        if levels == 0 {
            return Err(too_deep());
        }
        check_nested(bytes, levels, kind == element::ARRAY).map_err(
            |malformed| match malformed {
                super::Malformed::TooDeep => too_deep(),
                other => EncodeError::new(EncodeErrorKind::Malformed(other)),
            },
        )?;
        self.set_type(kind);
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
fn too_long() -> EncodeError {
    EncodeError::new(EncodeErrorKind::TooLong)
}

#[cold]
fn too_deep() -> EncodeError {
    EncodeError::new(EncodeErrorKind::TooDeep)
}

/// A word that is equal for equal keys, made of their ends.
#[inline]
fn word_of(key: &[u8]) -> u64 {
    let length = key.len() as u64;
    if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        return u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29) ^ length;
    }
    if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) << 32 ^ u64::from(last) ^ length;
    }
    key.iter()
        .fold(length, |word, &byte| word << 8 | u64::from(byte))
}

/// Whether `T` is a BSON value whose integers have a width of their own. `Bson` calls
/// `serialize_i64` like everything else, so its type is all that tells it apart.
#[inline]
fn keeps_widths<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<Bson>()
        || id == TypeId::of::<&Bson>()
        || id == TypeId::of::<Box<Bson>>()
        || id == TypeId::of::<Rc<Bson>>()
        || id == TypeId::of::<Arc<Bson>>()
        || id == TypeId::of::<Cow<'static, Bson>>()
        || id == TypeId::of::<RawBson>()
        || id == TypeId::of::<RawBsonRef<'static>>()
}

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
        self.human_readable
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
        _: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
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
        _: &'static str,
        length: usize,
    ) -> Result<Items<'s, 'a>, EncodeError> {
        self.serialize_seq(Some(length))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'s, 'a>, EncodeError> {
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
        if name.starts_with('$')
            && let Some(kind) = SpecialKind::of_struct(name)
        {
            return Ok(Fields::Special(Special::begin(self, kind)));
        }
        self.serialize_map(Some(length)).map(Fields::Document)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries<'s, 'a>, EncodeError> {
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
        self.hint = match name {
            newtype::UUID => Hint::Uuid,
            newtype::RAW_DOCUMENT => Hint::RawDocument,
            newtype::RAW_ARRAY => Hint::RawArray,
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

/// Text that is displayed, appended to bytes.
struct TextInto<'a>(&'a mut Vec<u8>);

impl Write for TextInto<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// An array that is open.
pub(super) struct Items<'s, 'a> {
    inner: &'s mut Serializer<'a>,
    start: usize,
    count: usize,
    /// The variant that it belongs to, and where the document around it begins.
    variant: Option<(&'static str, usize)>,
}

impl Items<'_, '_> {
    #[inline]
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let index = self.count;
        self.count += 1;
        self.inner.begin_item(index);
        self.inner
            .put(value)
            .map_err(|error| self.fail(error, index))
    }

    #[cold]
    fn fail(&mut self, error: EncodeError, index: usize) -> EncodeError {
        self.inner.broken = true;
        let error = error.in_index(index);
        match self.variant {
            Some((variant, _)) => error.in_key(variant),
            None => error,
        }
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        self.inner.end_document(self.start)?;
        match self.variant {
            Some((_, outer)) => self.inner.end_document(outer),
            None => Ok(()),
        }
    }
}

impl ser::SerializeSeq for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

/// A document that is open.
pub(super) struct Entries<'s, 'a> {
    inner: &'s mut Serializer<'a>,
    start: usize,
    keys: Keys,
    /// Where the key begins whose value is to come.
    key: Option<usize>,
    /// The variant that it belongs to, and where the document around it begins.
    variant: Option<(&'static str, usize)>,
}

impl Entries<'_, '_> {
    #[inline]
    fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), EncodeError> {
        self.inner
            .begin_entry(key, &mut self.keys)
            .and_then(|()| self.inner.put(value))
            .map_err(|error| self.fail(error, key))
    }

    #[cold]
    fn fail(&mut self, error: EncodeError, key: &str) -> EncodeError {
        self.inner.broken = true;
        let error = error.in_key(key);
        match self.variant {
            Some((variant, _)) => error.in_key(variant),
            None => error,
        }
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if self.key.is_some() {
            return Err(ser::Error::custom("a key without a value"));
        }
        self.inner.end_keyed(self.start, &self.keys)?;
        match self.variant {
            Some((_, outer)) => self.inner.end_document(outer),
            None => Ok(()),
        }
    }
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if self.key.is_some() {
            self.inner.broken = true;
            return Err(ser::Error::custom("a key without a value"));
        }
        self.key = Some(self.inner.out.len() + 1);
        let serializer = KeySerializer::new(self.inner, &mut self.keys);
        key.serialize(serializer).inspect_err(|_| {
            self.inner.broken = true;
        })
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let Some(key_at) = self.key.take() else {
            self.inner.broken = true;
            return Err(ser::Error::custom("a value without a key"));
        };
        let key_end = self.inner.out.len() - 1;
        self.inner.put(value).map_err(|error| {
            let key = String::from_utf8_lossy(&self.inner.out[key_at..key_end]).into_owned();
            self.fail(error, &key)
        })
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Entries<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.push(key, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

/// A struct that is open: a document, or one of BSON's own types.
pub(super) enum Fields<'s, 'a> {
    Document(Entries<'s, 'a>),
    Special(Special<'s, 'a>),
}

impl ser::SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Document(entries) => entries.push(key, value),
            Self::Special(special) => special.put_field(key, value),
        }
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        match self {
            Self::Document(entries) => entries.finish(),
            Self::Special(special) => special.finish(),
        }
    }
}
