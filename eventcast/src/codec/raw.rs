//! Views of checked BSON: the arguments of an event, elements and values, without a copy.
//!
//! Nothing here decodes. The views tolerate any bytes (a walk that would leave them ends), but what
//! they say is only worth something after [`check_document`](super::check_document).

use std::iter::FusedIterator;

use super::{Malformed, PAYLOAD_KEY, SUBTYPE_BINARY_OLD, element};

/// The arguments of an event as they came: what stands under the key `payload`.
///
/// An array there holds the arguments; anything else is one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawArgs<'a> {
    payload: RawValue<'a>,
}

impl<'a> RawArgs<'a> {
    /// The arguments inside a payload document that has passed the check.
    ///
    /// # Errors
    ///
    /// [`Malformed::NoPayload`] when the key `payload` is missing.
    pub fn from_payload(document: &'a [u8]) -> Result<Self, Malformed> {
        RawElements::of_document(document)
            .find(|element| element.key_bytes() == PAYLOAD_KEY.as_bytes())
            .map(|element| Self {
                payload: element.value,
            })
            .ok_or(Malformed::NoPayload)
    }

    /// Puts together again what [`parts`](Self::parts) took apart.
    pub fn from_parts(element_type: u8, value: &'a [u8]) -> Self {
        Self {
            payload: RawValue {
                element_type,
                bytes: value,
            },
        }
    }

    /// The BSON type and the bytes of what stands under `payload`.
    pub fn parts(&self) -> (u8, &'a [u8]) {
        (self.payload.element_type, self.payload.bytes)
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = RawValue<'a>> + Clone + use<'a> {
        let single = if self.payload.element_type == element::ARRAY {
            None
        } else {
            Some(self.payload)
        };
        self.elements().map(|element| element.value).chain(single)
    }

    /// How many there are, by counting.
    pub fn len(&self) -> usize {
        if self.payload.element_type == element::ARRAY {
            self.elements().count()
        } else {
            1
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.payload.element_type == element::ARRAY && self.elements().next().is_none()
    }

    /// The elements of the array; none when it is not one.
    fn elements(&self) -> RawElements<'a> {
        if self.payload.element_type == element::ARRAY {
            RawElements::of_document(self.payload.bytes)
        } else {
            RawElements::new(&[])
        }
    }
}

/// A value as it stands in the bytes: its BSON type, and all its bytes, own length included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// The number of its BSON type.
    pub element_type: u8,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> RawValue<'a> {
    /// The text of a string, a code or a symbol.
    #[inline]
    pub(super) fn text(&self) -> Option<&'a str> {
        text_of_string(self.bytes)
    }

    /// The subtype and the bytes of a binary, without the second length of the old subtype.
    #[inline]
    pub(super) fn binary(&self) -> Option<(u8, &'a [u8])> {
        let (&subtype, bytes) = self.bytes.get(4..)?.split_first()?;
        if subtype == SUBTYPE_BINARY_OLD {
            return Some((subtype, bytes.get(4..)?));
        }
        Some((subtype, bytes))
    }

    /// The pattern and the options of a regular expression.
    pub(super) fn regex(&self) -> Option<(&'a str, &'a str)> {
        let (pattern, options) = self.bytes.split_at_checked(zero_at(self.bytes)?)?;
        let (_, options) = options.split_first()?;
        let (_, options) = options.split_last()?;
        Some((str::from_utf8(pattern).ok()?, str::from_utf8(options).ok()?))
    }

    /// The namespace and the id of a DBPointer.
    pub(super) fn db_pointer(&self) -> Option<(&'a str, Self)> {
        let namespace_length = self.bytes.len().checked_sub(12)?;
        let (namespace, id) = self.bytes.split_at(namespace_length);
        let id = Self {
            element_type: element::OBJECT_ID,
            bytes: id,
        };
        Some((text_of_string(namespace)?, id))
    }

    /// The code and the scope document of a code with scope.
    pub(super) fn code_with_scope(&self) -> Option<(&'a str, &'a [u8])> {
        let rest = self.bytes.get(4..)?;
        let (code, scope) = rest.split_at_checked(value_length(element::CODE, rest)?)?;
        Some((text_of_string(code)?, scope))
    }
}

#[inline]
fn text_of_string(bytes: &[u8]) -> Option<&str> {
    let (_, text) = bytes.get(4..)?.split_last()?;
    str::from_utf8(text).ok()
}

/// An element of a document or array: a key and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawElement<'a> {
    key: &'a [u8],
    /// The value.
    pub value: RawValue<'a>,
}

impl<'a> RawElement<'a> {
    /// The bytes of the key, without the zero that ends it. Names in arrays can be any bytes.
    #[inline]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }
}

/// The elements of a document or array in order.
#[derive(Clone, Copy, Debug)]
pub struct RawElements<'a> {
    rest: &'a [u8],
}

impl<'a> RawElements<'a> {
    /// Of a whole document or array, its length and its final zero included.
    #[inline]
    pub fn of_document(document: &'a [u8]) -> Self {
        let end = document.len().saturating_sub(1);
        Self {
            rest: document.get(4..end).unwrap_or_default(),
        }
    }

    /// Of what stands between a document's length and its final zero.
    #[inline]
    pub(super) fn new(elements: &'a [u8]) -> Self {
        Self { rest: elements }
    }

    /// What has not been walked yet.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for RawElements<'a> {
    type Item = RawElement<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawElement<'a>> {
        // Ends here, unless a whole element is found.
        let rest = std::mem::take(&mut self.rest);
        let (&element_type, rest) = rest.split_first()?;
        let (key, rest) = rest.split_at_checked(zero_at(rest)?)?;
        let (_, rest) = rest.split_first()?;
        let (bytes, rest) = rest.split_at_checked(value_length(element_type, rest)?)?;
        self.rest = rest;
        Some(RawElement {
            key,
            value: RawValue {
                element_type,
                bytes,
            },
        })
    }
}

impl FusedIterator for RawElements<'_> {}

/// The lowest and the highest bit of each byte of a word.
const LOWS: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Eight bytes, if there are so many.
#[inline(always)]
pub(super) fn read_word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

/// How many of a word's eight bytes stand before its first zero, and these alone.
#[inline(always)]
pub(super) fn before_zero(word: u64) -> Option<(usize, u64)> {
    let zeros = word.wrapping_sub(LOWS) & !word & HIGHS;
    if zeros == 0 {
        return None;
    }
    // The lowest mark is exact; those above it may be echoes of a borrow.
    let bits = zeros.trailing_zeros() & !7;
    Some((bits as usize / 8, word & ((1 << bits) - 1)))
}

/// Where the first zero is.
#[inline(always)]
fn zero_at(bytes: &[u8]) -> Option<usize> {
    match read_word(bytes, 0).and_then(before_zero) {
        Some((length, _)) => Some(length),
        None => far_zero_at(bytes),
    }
}

#[inline(never)]
fn far_zero_at(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == 0)
}

/// The length of each type's values where it is always the same.
pub(super) static FIXED_LENGTHS: [u8; 256] = {
    let mut lengths = [NOT_FIXED; 256];
    lengths[element::NULL as usize] = 0;
    lengths[element::UNDEFINED as usize] = 0;
    lengths[element::MIN_KEY as usize] = 0;
    lengths[element::MAX_KEY as usize] = 0;
    lengths[element::INT32 as usize] = 4;
    lengths[element::DOUBLE as usize] = 8;
    lengths[element::INT64 as usize] = 8;
    lengths[element::DATE_TIME as usize] = 8;
    lengths[element::TIMESTAMP as usize] = 8;
    lengths[element::OBJECT_ID as usize] = 12;
    lengths[element::DECIMAL128 as usize] = 16;
    lengths
};

/// Stands for a length that is not always the same, or a type that there is not. A boolean is
/// among them because its byte has to be looked at.
pub(super) const NOT_FIXED: u8 = u8::MAX;

/// How many bytes the value takes that begins `rest`.
#[inline]
pub(super) fn value_length(element_type: u8, rest: &[u8]) -> Option<usize> {
    let fixed = FIXED_LENGTHS[element_type as usize];
    if fixed != NOT_FIXED {
        return Some(fixed.into());
    }
    let declared = || usize::try_from(read_i32(rest, 0)?).ok();
    match element_type {
        element::STRING | element::CODE | element::SYMBOL => declared()?.checked_add(4),
        element::DOCUMENT | element::ARRAY | element::CODE_WITH_SCOPE => declared(),
        element::BOOLEAN => Some(1),
        element::BINARY => declared()?.checked_add(5),
        element::DB_POINTER => declared()?.checked_add(4 + 12),
        element::REGEX => {
            let pattern = zero_at(rest)? + 1;
            Some(pattern + zero_at(&rest[pattern..])? + 1)
        }
        _ => None,
    }
}

#[inline]
pub(super) fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(i32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;

    fn payload(value: impl Into<Bson>) -> Vec<u8> {
        doc! { "other": { "payload": 9 }, "payload": value.into(), "more": 1 }
            .to_vec()
            .unwrap()
    }

    #[test]
    fn an_array_holds_the_arguments() {
        let bytes = payload(vec![Bson::Int32(5), Bson::Null, Bson::Boolean(true)]);
        let args = RawArgs::from_payload(&bytes).unwrap();
        let expected =
            [(0x10, &[5, 0, 0, 0][..]), (0x0A, &[]), (0x08, &[1])].map(|(element_type, bytes)| {
                RawValue {
                    element_type,
                    bytes,
                }
            });
        assert!(args.iter().eq(expected));
        assert_eq!((args.len(), args.is_empty()), (3, false));
        let (element_type, value) = args.parts();
        assert_eq!(RawArgs::from_parts(element_type, value), args);
    }

    #[test]
    fn no_arguments() {
        let bytes = payload(Vec::<Bson>::new());
        let args = RawArgs::from_payload(&bytes).unwrap();
        assert_eq!(
            (args.len(), args.is_empty(), args.iter().count()),
            (0, true, 0)
        );
    }

    #[test]
    fn what_is_no_array_is_one_argument() {
        for value in [Bson::Int32(7), Bson::Null, doc! { "0": 1, "1": 2 }.into()] {
            let bytes = payload(value);
            let args = RawArgs::from_payload(&bytes).unwrap();
            assert_eq!(
                (args.len(), args.is_empty(), args.iter().count()),
                (1, false, 1)
            );
        }
    }

    #[test]
    fn a_payload_must_be_there() {
        let bytes = doc! { "payloads": [1], "b": { "payload": [1] } }
            .to_vec()
            .unwrap();
        assert_eq!(RawArgs::from_payload(&bytes), Err(Malformed::NoPayload));
        assert_eq!(RawArgs::from_payload(b""), Err(Malformed::NoPayload));
    }

    #[test]
    fn unchecked_bytes_end_the_walk() {
        let bytes = payload(vec![Bson::String("hello".into()); 3]);
        for length in 0..bytes.len() {
            if let Ok(args) = RawArgs::from_payload(&bytes[..length]) {
                assert!(args.iter().count() <= 3);
            }
        }
        assert_eq!(RawElements::of_document(&[0xFF; 40]).count(), 0);
    }
}
