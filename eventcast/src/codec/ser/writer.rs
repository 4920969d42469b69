//! The bytes of documents: elements, lengths, nesting.
//!
//! A value does not know its place, and its type stands before its key: so an element is begun with
//! a place for the type, and the value fills that in when it comes.

use std::{any::TypeId, borrow::Cow, rc::Rc, sync::Arc};

use bson::{Bson, Decimal128, RawBson, RawBsonRef};
use serde::Serialize;

use super::super::{
    EncodeError, EncodeErrorKind, MAX_DEPTH, MAX_STEPS,
    check::{Keys, check_nested},
    element,
    readable::Makes,
};

/// Writes values one after another; each goes to the element that was begun last.
pub(in crate::codec) struct Serializer<'a> {
    pub(in crate::codec) out: &'a mut Vec<u8>,
    /// Where the type of the value to come stands.
    pub(super) type_at: usize,
    /// Documents and arrays that are open.
    depth: usize,
    /// Serde's steps that are open: documents, arrays, options and newtypes.
    steps: usize,
    /// The value to come is a `Bson`: its integers keep their width.
    pub(super) exact: bool,
    /// The next value is one of the bson crate's, whose compact form loses nothing and takes no
    /// text.
    pub(super) compact: bool,
    /// A wrapper of the bson crate requested the readable form of the value inside.
    pub(super) human_readable: bool,
    /// What the bson crate announced the next bytes to be.
    pub(super) hint: Hint,
    /// An element failed; a `Serialize` that goes on after that cannot repair it.
    pub(super) broken: bool,
    /// What occurred in the value.
    pub(super) makes: Makes,
}

/// What bytes to come are, as one of the bson crate's newtypes announced them.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Hint {
    None,
    Uuid,
    RawDocument,
    RawArray,
}

impl<'a> Serializer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, depth: usize, makes: Makes) -> Self {
        Self {
            out,
            type_at: 0,
            depth,
            steps: 0,
            exact: false,
            compact: false,
            human_readable: false,
            hint: Hint::None,
            broken: false,
            makes,
        }
    }

    pub(super) fn finish(self) -> Result<Makes, EncodeError> {
        if self.broken {
            let message = "a field was refused, and the type's Serialize went on".to_owned();
            return Err(EncodeError::new(EncodeErrorKind::Custom(message)));
        }
        Ok(self.makes)
    }

    /// Sets where the type of the value to come stands.
    pub(super) fn place_type(&mut self, at: usize) {
        self.type_at = at;
    }

    /// Begins an element of a document.
    pub(in crate::codec) fn begin_entry(
        &mut self,
        key: &str,
        keys: &mut Keys,
    ) -> Result<(), EncodeError> {
        self.begin_field(key, keys)
    }

    /// As [`begin_entry`](Self::begin_entry), made part of its caller: where the key is a constant,
    /// nothing remains of this but to write it.
    #[inline(always)]
    pub(super) fn begin_field(&mut self, key: &str, keys: &mut Keys) -> Result<(), EncodeError> {
        let key = key.as_bytes();
        let Some(word) = word_of(key) else {
            return Err(EncodeError::new(EncodeErrorKind::ZeroInKey));
        };
        keys.note(word);
        self.type_at = self.out.len();
        // A place for the type, the key, a zero.
        let mut short = [0; 16];
        if let Some(place) = short.get_mut(1..key.len() + 1)
            && key.len() + 2 <= 16
        {
            place.copy_from_slice(key);
            self.out.extend_from_slice(&short[..key.len() + 2]);
        } else {
            self.out.push(0);
            self.out.extend_from_slice(key);
            self.out.push(0);
        }
        Ok(())
    }

    /// Begins an element of an array.
    #[inline]
    pub(in crate::codec) fn begin_item(&mut self, index: usize) {
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
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.exact = keeps_widths::<T>();
        if is_raw::<T>() {
            // In a buffer of serde's, not all that stands in one can be read: that is up to its
            // content.
            self.makes.doubt();
        }
        self.compact = self.exact || is_decimal::<T>();
        value.serialize(&mut *self)
    }

    /// Whether a type is to write the form for people: all do but the bson crate's own, which are
    /// written compactly and keep their BSON type.
    ///
    /// The answer has to be the same for all others: where serde holds a value in a buffer on the
    /// way in (`flatten`, `untagged`, an internal tag), it reads the form for people, whatever the
    /// format prefers.
    #[inline]
    pub(super) fn for_people(&self) -> bool {
        self.human_readable || !self.compact && self.hint == Hint::None
    }

    #[inline]
    pub(in crate::codec) fn set_type(&mut self, kind: u8) {
        self.out[self.type_at] = kind;
    }

    #[inline]
    pub(in crate::codec) fn put_fixed<const N: usize>(&mut self, kind: u8, bytes: [u8; N]) {
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
    pub(in crate::codec) fn put_string(&mut self, kind: u8, text: &str) -> Result<(), EncodeError> {
        self.set_type(kind);
        self.append_string(text)
    }

    /// A length, the text, a zero.
    #[inline]
    pub(in crate::codec) fn append_string(&mut self, text: &str) -> Result<(), EncodeError> {
        let length = i32::try_from(text.len() + 1).map_err(|_| too_long())?;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    pub(in crate::codec) fn put_binary(
        &mut self,
        subtype: u8,
        bytes: &[u8],
    ) -> Result<(), EncodeError> {
        self.set_type(element::BINARY);
        let old = subtype == super::super::SUBTYPE_BINARY_OLD;
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

    /// Begins a document or array and returns where, for [`end_document`](Self::end_document).
    #[inline]
    pub(in crate::codec) fn begin_document(&mut self, kind: u8) -> Result<usize, EncodeError> {
        self.set_type(kind);
        self.open_document()
    }

    /// Begins a document that has no type of its own.
    #[inline]
    pub(in crate::codec) fn open_document(&mut self) -> Result<usize, EncodeError> {
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
    pub(in crate::codec) fn end_document(&mut self, start: usize) -> Result<(), EncodeError> {
        self.out.push(0);
        let length = i32::try_from(self.out.len() - start).map_err(|_| too_long())?;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.depth = self.depth.saturating_sub(1);
        self.end_step();
        Ok(())
    }

    /// As [`end_document`](Self::end_document), where the keys have not been known to differ.
    #[inline]
    pub(super) fn end_keyed(&mut self, start: usize, keys: &Keys) -> Result<(), EncodeError> {
        if let Some(double) = keys.double(&self.out[start + 4..]) {
            let key = String::from_utf8_lossy(double);
            let key = super::super::error::cut(&key, 64);
            return Err(EncodeError::new(EncodeErrorKind::DuplicateKey(key)));
        }
        self.end_document(start)
    }

    #[inline]
    pub(super) fn begin_step(&mut self) -> Result<(), EncodeError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(too_deep());
        }
        Ok(())
    }

    #[inline]
    pub(super) fn end_step(&mut self) {
        self.steps = self.steps.saturating_sub(1);
    }

    /// Something called `name` occurs here, with so many fields. How deep counts too: what lies too
    /// deep for a thread's stack cannot be read.
    #[inline]
    pub(super) fn note(&mut self, name: &'static str, fields: usize) {
        self.makes.note(name, fields ^ self.steps << 16);
    }

    /// Begins `{ "Variant": ` and what stands in it.
    pub(super) fn begin_variant(
        &mut self,
        variant: &str,
        kind: u8,
    ) -> Result<(usize, usize), EncodeError> {
        let outer = self.begin_document(element::DOCUMENT)?;
        self.begin_entry(variant, &mut Keys::default())?;
        Ok((outer, self.begin_document(kind)?))
    }

    /// Raw BSON that a user put together: it may be malformed, or too deep where it stands.
    pub(super) fn put_raw(&mut self, kind: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        let levels = MAX_DEPTH - self.depth;
        if levels == 0 {
            return Err(too_deep());
        }
        check_nested(bytes, levels, kind == element::ARRAY).map_err(
            |malformed| match malformed {
                super::super::Malformed::TooDeep => too_deep(),
                other => EncodeError::new(EncodeErrorKind::Malformed(other)),
            },
        )?;
        self.set_type(kind);
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
pub(super) fn too_long() -> EncodeError {
    EncodeError::new(EncodeErrorKind::TooLong)
}

#[cold]
pub(super) fn too_deep() -> EncodeError {
    EncodeError::new(EncodeErrorKind::TooDeep)
}

/// A word that is equal for equal keys, built from their ends. `None` for a key with a zero in it.
#[inline(always)]
fn word_of(key: &[u8]) -> Option<u64> {
    let length = key.len() as u64;
    if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if has_zero(first) || has_zero(last) || key.len() > 16 && key[8..].contains(&0) {
            return None;
        }
        return Some(first ^ last.rotate_left(29) ^ length);
    }
    if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        let word = u64::from(first) << 32 | u64::from(last);
        return (!has_zero(word)).then_some(word ^ length);
    }
    let mut word = length;
    for &byte in key {
        if byte == 0 {
            return None;
        }
        word = word << 8 | u64::from(byte);
    }
    Some(word)
}

/// Whether one of the eight bytes is zero.
#[inline(always)]
fn has_zero(word: u64) -> bool {
    super::super::raw::before_zero(word).is_some()
}

/// Whether `T` is a BSON value whose integers have a width of their own. `Bson` calls
/// `serialize_i64` like every other type, so only its type distinguishes it.
#[inline]
fn keeps_widths<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<Bson>()
        || id == TypeId::of::<&Bson>()
        || id == TypeId::of::<Box<Bson>>()
        || id == TypeId::of::<Rc<Bson>>()
        || id == TypeId::of::<Arc<Bson>>()
        || id == TypeId::of::<Cow<'static, Bson>>()
        || is_raw::<T>()
}

/// Whether `T` is a value of the bson crate's that is kept as bytes.
#[inline]
fn is_raw<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<RawBson>()
        || id == TypeId::of::<RawBsonRef<'static>>()
        || id == TypeId::of::<&RawBsonRef<'static>>()
}

/// Whether `T` is a `Decimal128`: its text loses the payload of a NaN.
#[inline]
fn is_decimal<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<Decimal128>()
        || id == TypeId::of::<&Decimal128>()
        || id == TypeId::of::<Box<Decimal128>>()
        || id == TypeId::of::<Rc<Decimal128>>()
        || id == TypeId::of::<Arc<Decimal128>>()
        || id == TypeId::of::<Cow<'static, Decimal128>>()
}
