//! The check of raw BSON that comes before every decoder.
//!
//! One walk over the bytes, without recursion, in time proportional to their number. It reads no
//! more of a value than is needed to know that every decoder will find what it expects: lengths
//! that fit their containers, zeros at the ends, text that is UTF-8, types that exist, keys that
//! differ. It builds nothing and remembers nothing.
//!
//! Contract: after `Ok`, the bytes are exactly one document, no deeper than [`MAX_DEPTH`].
//! A claimed length is only ever compared, never allocated by. Memory of its own is used for
//! documents with many keys alone, in proportion to the keys that are really there.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use super::raw::{RawElements, read_i32};
use super::{SUBTYPE_BINARY_OLD, element};

/// The deepest nesting of documents and arrays that is taken or sent; the outermost document is 1.
///
/// Decoders follow nesting by recursion, and serde's frames are large without optimisation: this
/// much fits a thread of 2 MiB with room to spare, and nobody nests events deeper by intent.
pub const MAX_DEPTH: usize = 64;

/// The shortest document: its length and its final zero.
const SHORTEST_DOCUMENT: usize = 5;

/// Nesting up to which the walk's first stack reaches. Clearing the whole one costs more than
/// walking a small event; what is deeper is walked again with the whole one.
const USUAL_DEPTH: usize = 8;

/// Up to so many keys each is compared with each; beyond, they go through a hash table.
const FEW_KEYS: usize = 16;

/// A hash table larger than this (in slots of four bytes) is given back after use.
const KEPT_SLOTS: usize = 16 * 1024;

/// Why bytes are not one BSON document that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A document, array, string, binary or scope claims a length that does not fit where it is.
    #[error("a declared length does not fit its container")]
    Length,
    /// A value or a key runs past the end of its document.
    #[error("a value runs past the end of its document")]
    Truncated,
    /// Bytes follow the outermost document.
    #[error("bytes follow the document")]
    TrailingBytes,
    /// A document or a string does not end with a zero.
    #[error("a document or a string does not end with a zero")]
    NoFinalZero,
    /// No BSON type has this number.
    #[error("type 0x{0:02x} is not a BSON type")]
    UnknownType(u8),
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is {0}, not 0 or 1")]
    Boolean(u8),
    /// A key, a string or another text is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// A key stands twice in one document.
    #[error("a key stands twice in one document")]
    DuplicateKey,
    /// Documents and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A payload document has no key `payload`.
    #[error("there is no payload")]
    NoPayload,
}

/// Checks that `bytes` are exactly one BSON document which every decoder can read.
///
/// # Errors
///
/// The first fault that the walk meets. Nothing is kept of the bytes.
pub fn check_document(bytes: &[u8]) -> Result<(), Malformed> {
    check_nested(bytes, MAX_DEPTH, false)
}

/// As [`check_document`], for a document or array that may itself be no deeper than `levels`.
pub(super) fn check_nested(bytes: &[u8], levels: usize, is_array: bool) -> Result<(), Malformed> {
    let keys = Keys::of_array(is_array);
    let levels = levels.min(MAX_DEPTH);
    let usual = levels.min(USUAL_DEPTH);
    match walk(bytes, keys, &mut [Frame::default(); USUAL_DEPTH][..usual]) {
        Err(Malformed::TooDeep) if levels > usual => {
            walk(bytes, keys, &mut [Frame::default(); MAX_DEPTH][..levels])
        }
        done => done,
    }
}

/// A document, array or scope that the walk is inside of.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Where its first element begins.
    start: u32,
    /// Where its final zero stands.
    end: u32,
    keys: Keys,
}

/// What is remembered of the keys of an open document.
#[derive(Clone, Copy, Default)]
pub(super) struct Keys {
    /// Two times 64 classes of keys, one bit for each: whether one of that class was there.
    classes: [u64; 2],
    /// Elements so far.
    count: u32,
    /// A key fell into classes that were taken, so that the keys have to be compared.
    suspect: bool,
    /// An array: its names are not read.
    unnamed: bool,
}

impl Keys {
    fn of_array(unnamed: bool) -> Self {
        Self {
            unnamed,
            ..Self::default()
        }
    }

    /// Takes note of a key by a word that is equal for equal keys.
    #[inline]
    pub(super) fn note(&mut self, word: u64) {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = word.wrapping_mul(ODD);
        let first = 1u64 << (mixed >> 58);
        let second = 1u64 << ((mixed >> 52) & 63);
        self.suspect |= self.classes[0] & first != 0 && self.classes[1] & second != 0;
        self.classes[0] |= first;
        self.classes[1] |= second;
        self.count += 1;
    }

    /// A key that stands twice in the document whose `elements` were noted.
    #[inline]
    pub(super) fn double<'a>(&self, elements: &'a [u8]) -> Option<&'a [u8]> {
        if self.suspect {
            find_double(elements, self.count as usize)
        } else {
            None
        }
    }
}

fn walk(bytes: &[u8], keys: Keys, stack: &mut [Frame]) -> Result<(), Malformed> {
    let declared = read_i32(bytes, 0).ok_or(Malformed::Truncated)?;
    let declared = usize::try_from(declared).map_err(|_| Malformed::Length)?;
    if declared < SHORTEST_DOCUMENT || declared > bytes.len() {
        return Err(Malformed::Length);
    }
    if declared < bytes.len() {
        return Err(Malformed::TrailingBytes);
    }

    let mut open = Frame {
        start: 4,
        end: (declared - 1) as u32,
        keys,
    };
    if bytes[declared - 1] != 0 {
        return Err(Malformed::NoFinalZero);
    }
    let mut depth = 0;
    let mut at = 4;
    loop {
        let end = open.end as usize;
        if at == end {
            if open.keys.double(&bytes[open.start as usize..end]).is_some() {
                return Err(Malformed::DuplicateKey);
            }
            if depth == 0 {
                return Ok(());
            }
            at += 1;
            depth -= 1;
            open = stack[depth];
            continue;
        }

        let kind = bytes[at];
        if kind == 0 {
            // A zero before the declared end: the document is shorter than it says.
            return Err(Malformed::Length);
        }
        at = check_key(bytes, at + 1, end, &mut open.keys)?;
        let rest = end - at;
        at += match kind {
            element::INT32 => fixed(4, rest)?,
            element::DOUBLE | element::INT64 | element::DATE_TIME | element::TIMESTAMP => {
                fixed(8, rest)?
            }
            element::STRING | element::CODE | element::SYMBOL => check_string(&bytes[at..end])?,
            element::BOOLEAN => match bytes[at..end] {
                [] => return Err(Malformed::Truncated),
                [0 | 1, ..] => 1,
                [other, ..] => return Err(Malformed::Boolean(other)),
            },
            element::NULL | element::UNDEFINED | element::MIN_KEY | element::MAX_KEY => 0,
            element::OBJECT_ID => fixed(12, rest)?,
            element::DECIMAL128 => fixed(16, rest)?,
            element::BINARY => check_binary(&bytes[at..end])?,
            element::REGEX => {
                let options = check_text(bytes, at, end)?;
                check_text(bytes, options, end)? - at
            }
            element::DB_POINTER => {
                let namespace = check_string(&bytes[at..end])?;
                namespace + fixed(12, rest - namespace)?
            }
            element::DOCUMENT | element::ARRAY | element::CODE_WITH_SCOPE => {
                let inner = if kind == element::CODE_WITH_SCOPE {
                    at + check_scope_head(&bytes[at..end])?
                } else {
                    at
                };
                let length = check_document_length(&bytes[inner..end])?;
                // The stack holds what is around the open one.
                if depth + 1 >= stack.len() {
                    return Err(Malformed::TooDeep);
                }
                stack[depth] = open;
                depth += 1;
                open = Frame {
                    start: (inner + 4) as u32,
                    end: (inner + length - 1) as u32,
                    keys: Keys::of_array(kind == element::ARRAY),
                };
                inner + 4 - at
            }
            unknown => return Err(Malformed::UnknownType(unknown)),
        };
    }
}

#[inline]
fn fixed(length: usize, rest: usize) -> Result<usize, Malformed> {
    if length <= rest {
        Ok(length)
    } else {
        Err(Malformed::Truncated)
    }
}

/// Checks the key that begins at `at`, notes it, and says where the value begins.
#[inline]
fn check_key(bytes: &[u8], at: usize, end: usize, keys: &mut Keys) -> Result<usize, Malformed> {
    let (zero, ascii, word) = find_zero(bytes, at, end).ok_or(Malformed::Truncated)?;
    if !keys.unnamed {
        if !ascii && std::str::from_utf8(&bytes[at..zero]).is_err() {
            return Err(Malformed::Utf8);
        }
        keys.note(word);
    }
    Ok(zero + 1)
}

/// Checks a text that ends with its first zero, and says what comes after it.
fn check_text(bytes: &[u8], at: usize, end: usize) -> Result<usize, Malformed> {
    let (zero, ascii, _) = find_zero(bytes, at, end).ok_or(Malformed::Truncated)?;
    if !ascii && std::str::from_utf8(&bytes[at..zero]).is_err() {
        return Err(Malformed::Utf8);
    }
    Ok(zero + 1)
}

/// The first zero in `bytes[at..end]`, whether all before it is ASCII, and a word made of all
/// before it.
#[inline]
fn find_zero(bytes: &[u8], at: usize, end: usize) -> Option<(usize, bool, u64)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut folded = 0u64;
    let mut high = 0u64;
    let mut from = at;
    while let Some(eight) = bytes.get(from..from + 8) {
        let word = u64::from_le_bytes(eight.try_into().ok()?);
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros == 0 {
            folded = folded.rotate_left(5) ^ word;
            high |= word & HIGHS;
            from += 8;
            if from >= end {
                return None;
            }
            continue;
        }
        // The lowest mark is exact; those above it may be echoes of a borrow.
        let bits = zeros.trailing_zeros() - 7;
        let before = word & ((1u64 << bits) - 1);
        folded = folded.rotate_left(5) ^ before;
        high |= before & HIGHS;
        let zero = from + bits as usize / 8;
        return (zero < end).then_some((zero, high == 0, folded));
    }
    // Less than eight bytes are left of the whole input.
    let rest = bytes.get(from..end)?;
    let length = rest.iter().position(|&byte| byte == 0)?;
    let before = rest[..length]
        .iter()
        .rev()
        .fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
    folded = folded.rotate_left(5) ^ before;
    high |= before & HIGHS;
    Some((from + length, high == 0, folded))
}

/// Checks a string with its length before it, and says how many bytes it takes in all.
#[inline]
fn check_string(rest: &[u8]) -> Result<usize, Malformed> {
    let declared = read_i32(rest, 0).ok_or(Malformed::Truncated)?;
    let length = usize::try_from(declared).map_err(|_| Malformed::Length)?;
    if length == 0 || length > rest.len() - 4 {
        return Err(Malformed::Length);
    }
    let (text, zero) = rest[4..4 + length].split_at(length - 1);
    if zero != [0] {
        return Err(Malformed::NoFinalZero);
    }
    if std::str::from_utf8(text).is_err() {
        return Err(Malformed::Utf8);
    }
    Ok(4 + length)
}

fn check_binary(rest: &[u8]) -> Result<usize, Malformed> {
    let declared = read_i32(rest, 0).ok_or(Malformed::Truncated)?;
    let length = usize::try_from(declared).map_err(|_| Malformed::Length)?;
    let (&subtype, data) = rest[4..].split_first().ok_or(Malformed::Truncated)?;
    if length > data.len() {
        return Err(Malformed::Length);
    }
    if subtype == SUBTYPE_BINARY_OLD {
        let inner = read_i32(&data[..length], 0).ok_or(Malformed::Length)?;
        if usize::try_from(inner) != Ok(length - 4) {
            return Err(Malformed::Length);
        }
    }
    Ok(5 + length)
}

/// Checks the two lengths and the code of a code with scope, and says where the scope begins.
fn check_scope_head(rest: &[u8]) -> Result<usize, Malformed> {
    let declared = read_i32(rest, 0).ok_or(Malformed::Truncated)?;
    let length = usize::try_from(declared).map_err(|_| Malformed::Length)?;
    let whole = rest.get(..length).ok_or(Malformed::Length)?;
    let code = check_string(whole.get(4..).ok_or(Malformed::Length)?)?;
    let scope = &whole[4 + code..];
    if check_document_length(scope)? != scope.len() {
        return Err(Malformed::Length);
    }
    Ok(4 + code)
}

/// Checks that a document's length fits and that a zero ends it.
#[inline]
fn check_document_length(rest: &[u8]) -> Result<usize, Malformed> {
    let declared = read_i32(rest, 0).ok_or(Malformed::Truncated)?;
    let length = usize::try_from(declared).map_err(|_| Malformed::Length)?;
    if length < SHORTEST_DOCUMENT || length > rest.len() {
        return Err(Malformed::Length);
    }
    if rest[length - 1] != 0 {
        return Err(Malformed::NoFinalZero);
    }
    Ok(length)
}

/// Compares the `count` keys of one document whose elements are all good.
#[cold]
fn find_double(elements: &[u8], count: usize) -> Option<&[u8]> {
    if count > FEW_KEYS {
        return KEY_TABLE.with_borrow_mut(|table| table.find_double(elements, count));
    }
    let mut seen = [&[][..]; FEW_KEYS];
    for (i, element) in RawElements::new(elements).take(FEW_KEYS).enumerate() {
        let key = element.key_bytes();
        if seen[..i].contains(&key) {
            return Some(key);
        }
        seen[i] = key;
    }
    None
}

thread_local! {
    static KEY_TABLE: RefCell<KeyTable> = RefCell::default();
}

/// Finds two equal keys among many. Hashed with a random secret, so that nobody can choose keys
/// which fall together.
#[derive(Default)]
struct KeyTable {
    /// Where a key begins, plus one; 0 is empty.
    slots: Vec<u32>,
    secret: RandomState,
}

impl KeyTable {
    fn find_double<'a>(&mut self, elements: &'a [u8], count: usize) -> Option<&'a [u8]> {
        self.slots.clear();
        self.slots.resize(count + count / 2, 0);
        let mut walk = RawElements::new(elements);
        let double = loop {
            // Behind the type of the element to come.
            let key_at = elements.len() - walk.rest().len() + 1;
            let Some(element) = walk.next() else {
                break None;
            };
            let key = element.key_bytes();
            if !self.insert(elements, key, key_at) {
                break Some(key);
            }
        };
        if self.slots.capacity() > KEPT_SLOTS {
            self.slots = Vec::new();
        }
        double
    }

    /// False when an equal key is there.
    fn insert(&mut self, elements: &[u8], key: &[u8], key_at: usize) -> bool {
        let size = self.slots.len();
        // The hash scaled down to the table: its high bits choose.
        let hash = self.secret.hash_one(key);
        let mut slot = ((u128::from(hash) * size as u128) >> 64) as usize;
        loop {
            match self.slots[slot] {
                0 => break,
                taken => {
                    let other = &elements[taken as usize - 1..];
                    if other.get(key.len()) == Some(&0) && other.starts_with(key) {
                        return false;
                    }
                }
            }
            slot = if slot + 1 == size { 0 } else { slot + 1 };
        }
        self.slots[slot] = key_at as u32 + 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};
    use proptest::prelude::*;

    use super::*;

    /// A document around elements that are spelled out.
    fn document(elements: &[u8]) -> Vec<u8> {
        let mut bytes = (elements.len() as i32 + 5).to_le_bytes().to_vec();
        bytes.extend_from_slice(elements);
        bytes.push(0);
        bytes
    }

    /// One element called `p`.
    fn element(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, b'p', 0];
        bytes.extend_from_slice(value);
        bytes
    }

    fn check_element(kind: u8, value: &[u8]) -> Result<(), Malformed> {
        check_document(&document(&element(kind, value)))
    }

    /// `depth` documents or arrays, each inside the one before.
    fn nested(depth: usize, kind: u8) -> Vec<u8> {
        (1..depth).fold(document(&[]), |inner, _| document(&element(kind, &inner)))
    }

    /// A document with a value of every BSON type.
    fn every_type() -> Vec<u8> {
        let mut elements = Vec::new();
        let string = b"\x03\0\0\0hi\0";
        let scope = {
            let mut inner = string.to_vec();
            inner.extend(document(&element(0x0A, b"")));
            let mut whole = (inner.len() as i32 + 4).to_le_bytes().to_vec();
            whole.extend(inner);
            whole
        };
        let pointer = [string.as_slice(), &[7; 12]].concat();
        let values: [(u8, &[u8]); 23] = [
            (0x01, &[0; 8]),
            (0x02, string),
            (0x03, &document(&[])),
            (0x04, &document(&[])),
            (0x05, b"\x02\0\0\0\x00hi"),
            (0x05, b"\x06\0\0\0\x02\x02\0\0\0hi"),
            (0x05, b"\0\0\0\0\x80"),
            (0x06, b""),
            (0x07, &[1; 12]),
            (0x08, &[1]),
            (0x09, &[2; 8]),
            (0x0A, b""),
            (0x0B, b"a+\0im\0"),
            (0x0C, &pointer),
            (0x0D, string),
            (0x0E, string),
            (0x0F, &scope),
            (0x10, &[3; 4]),
            (0x11, &[4; 8]),
            (0x12, &[5; 8]),
            (0x13, &[6; 16]),
            (0x7F, b""),
            (0xFF, b""),
        ];
        for (i, (kind, value)) in values.into_iter().enumerate() {
            elements.push(kind);
            elements.extend(format!("key {i}\0").as_bytes());
            elements.extend(value);
        }
        document(&elements)
    }

    #[test]
    fn every_type_is_taken_and_no_cut_of_it() {
        let bytes = every_type();
        assert_eq!(check_document(&bytes), Ok(()));
        for length in 0..bytes.len() {
            assert!(check_document(&bytes[..length]).is_err(), "cut at {length}");
        }
        for length in 4..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            cut[..4].copy_from_slice(&(length as i32).to_le_bytes());
            assert!(
                check_document(&cut).is_err(),
                "cut at {length}, with its length set right"
            );
        }
    }

    #[test]
    fn lengths_of_the_document() {
        for declared in [-1, 0, 4, i32::MAX, i32::MIN] {
            let mut bytes = document(&element(0x0A, b""));
            bytes[..4].copy_from_slice(&declared.to_le_bytes());
            assert_eq!(check_document(&bytes), Err(Malformed::Length), "{declared}");
            let inner = element(0x03, &bytes);
            assert_eq!(
                check_document(&document(&inner)),
                Err(Malformed::Length),
                "{declared}"
            );
        }
        let mut extra = document(&element(0x0A, b""));
        extra.extend([0; 3]);
        assert_eq!(check_document(&extra), Err(Malformed::TrailingBytes));

        let mut last = document(&element(0x0A, b""));
        *last.last_mut().unwrap() = 1;
        assert_eq!(check_document(&last), Err(Malformed::NoFinalZero));
        assert_eq!(
            check_element(0x03, &[5, 0, 0, 0, 9]),
            Err(Malformed::NoFinalZero)
        );

        // Ends before it says so.
        assert_eq!(
            check_document(&document(&[0, 0, 0])),
            Err(Malformed::Length)
        );
        assert_eq!(check_document(b""), Err(Malformed::Truncated));
        assert_eq!(check_document(&[5, 0, 0, 0, 0]), Ok(()));
    }

    #[test]
    fn lengths_of_strings_and_binaries() {
        for declared in [i32::MAX, -1, i32::MIN, 4] {
            let value = [&declared.to_le_bytes()[..], b"hi\0"].concat();
            for kind in [0x02, 0x0D, 0x0E, 0x0C] {
                assert_eq!(
                    check_element(kind, &value),
                    Err(Malformed::Length),
                    "{kind:#x}"
                );
            }
            assert_eq!(
                check_element(0x05, &value),
                Err(Malformed::Length),
                "{declared}"
            );
        }
        assert_eq!(check_element(0x02, b"\0\0\0\0\0"), Err(Malformed::Length));
        assert_eq!(
            check_element(0x02, b"\x03\0\0\0hix"),
            Err(Malformed::NoFinalZero)
        );
        assert_eq!(
            check_element(0x02, b"\x03\0\0\0\0\0\0"),
            Ok(()),
            "zeros inside are text"
        );
        // The old binary's inner length.
        assert_eq!(
            check_element(0x05, b"\x03\0\0\0\x02abc"),
            Err(Malformed::Length)
        );
        assert_eq!(
            check_element(0x05, b"\x06\0\0\0\x02\x03\0\0\0hi"),
            Err(Malformed::Length)
        );
    }

    #[test]
    fn code_with_scope_holds_exactly_its_parts() {
        let scope = |total: i32, code: &[u8], scope: &[u8]| {
            check_element(0x0F, &[&total.to_le_bytes(), code, scope].concat())
        };
        let (code, empty) = (b"\x02\0\0\0x\0".as_slice(), document(&[]));
        assert_eq!(scope(15, code, &empty), Ok(()));
        for total in [-1, 0, 3, 7, 14, 16, i32::MAX] {
            assert!(scope(total, code, &empty).is_err(), "{total}");
        }
        assert!(scope(15, b"\x07\0\0\0x\0", &empty).is_err());
        let twice = document(&[element(0x0A, b""), element(0x0A, b"")].concat());
        assert_eq!(scope(21, code, &twice), Err(Malformed::DuplicateKey));
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(
            check_element(0x02, b"\x03\0\0\0\xff\xfe\0"),
            Err(Malformed::Utf8)
        );
        assert_eq!(check_element(0x0B, b"\xff\0\0"), Err(Malformed::Utf8));
        assert_eq!(check_element(0x0B, b"\0\xff\0"), Err(Malformed::Utf8));
        assert_eq!(check_element(0x0B, "é\0i\0".as_bytes()), Ok(()));
        for length in 1..20 {
            let mut key = vec![0x0A];
            key.resize(length, b'k');
            let bad = document(&[&key[..], b"\xff\0"].concat());
            assert_eq!(check_document(&bad), Err(Malformed::Utf8), "{length}");
            let good = document(&[&key[..], "ü\0".as_bytes()].concat());
            assert_eq!(check_document(&good), Ok(()), "{length}");
        }
    }

    #[test]
    fn booleans_and_types() {
        assert_eq!(check_element(0x08, &[0]), Ok(()));
        assert_eq!(check_element(0x08, &[2]), Err(Malformed::Boolean(2)));
        assert_eq!(check_element(0x08, &[]), Err(Malformed::Truncated));
        for kind in [0x14, 0x15, 0x7E, 0x80, 0xFE] {
            assert_eq!(
                check_element(kind, &[1, 0, 0, 0]),
                Err(Malformed::UnknownType(kind))
            );
        }
        // An int32 whose type byte was changed.
        for kind in [0x0C, 0x0F, 0x14, 0xFF] {
            assert!(check_element(kind, &[1, 0, 0, 0]).is_err(), "{kind:#x}");
        }
    }

    #[test]
    fn depth_is_limited() {
        for kind in [0x03, 0x04] {
            for depth in 1..=MAX_DEPTH {
                assert_eq!(check_document(&nested(depth, kind)), Ok(()), "{depth}");
            }
            for depth in [MAX_DEPTH + 1, 100, 125, 200, 500, 1000, 7000] {
                assert_eq!(
                    check_document(&nested(depth, kind)),
                    Err(Malformed::TooDeep)
                );
            }
        }
        // A scope is a level as well.
        let scope = |inner: &[u8]| {
            let whole = [b"\x02\0\0\0x\0", inner].concat();
            document(&element(
                0x0F,
                &[&(whole.len() as i32 + 4).to_le_bytes(), &whole[..]].concat(),
            ))
        };
        assert_eq!(check_document(&scope(&nested(MAX_DEPTH - 1, 0x03))), Ok(()));
        assert_eq!(
            check_document(&scope(&nested(MAX_DEPTH, 0x03))),
            Err(Malformed::TooDeep)
        );
    }

    #[test]
    fn a_deep_document_is_still_checked_inside() {
        let bad = (1..40).fold(document(&element(0x08, &[7])), |inner, _| {
            document(&element(0x03, &inner))
        });
        assert_eq!(check_document(&bad), Err(Malformed::Boolean(7)));
    }

    #[test]
    fn keys_differ_in_documents_and_not_in_arrays() {
        let twice = [element(0x0A, b""), element(0x0A, b"")].concat();
        assert_eq!(
            check_document(&document(&twice)),
            Err(Malformed::DuplicateKey)
        );
        assert_eq!(
            check_element(0x03, &document(&twice)),
            Err(Malformed::DuplicateKey)
        );
        assert_eq!(check_element(0x04, &document(&twice)), Ok(()));
        assert_eq!(
            check_element(0x04, &document(b"\x0A\xff\0")),
            Ok(()),
            "not read"
        );
        // The same key in two documents is no double.
        assert_eq!(check_element(0x03, &document(&element(0x0A, b""))), Ok(()));
        // A double on both sides of a nested document that has that key too.
        let around = [
            element(0x0A, b""),
            [&[0x03, b'q', 0], &document(&element(0x0A, b""))[..]].concat(),
            element(0x10, &[0; 4]),
        ];
        assert_eq!(
            check_document(&document(&around.concat())),
            Err(Malformed::DuplicateKey)
        );
    }

    #[test]
    fn one_double_is_found_among_any_number_of_keys() {
        for count in (1..100).chain([1000, 20_000]) {
            let keys: Vec<String> = (0..count).map(|i| format!("{i:x}")).collect();
            let elements = |keys: &mut dyn Iterator<Item = &String>| {
                document(&keys.fold(Vec::new(), |mut bytes, key| {
                    bytes.push(0x0A);
                    bytes.extend(key.as_bytes());
                    bytes.push(0);
                    bytes
                }))
            };
            assert_eq!(
                check_document(&elements(&mut keys.iter())),
                Ok(()),
                "{count}"
            );
            for double in [0, count / 2, count - 1] {
                let bytes = elements(&mut keys.iter().chain([&keys[double]]));
                assert_eq!(
                    check_document(&bytes),
                    Err(Malformed::DuplicateKey),
                    "{count}"
                );
            }
        }
    }

    #[test]
    fn the_key_table_is_not_kept_large() {
        let mut elements = Vec::new();
        for i in 0..50_000 {
            elements.extend(format!("\x0A{i}\0").as_bytes());
        }
        assert_eq!(check_document(&document(&elements)), Ok(()));
        KEY_TABLE.with_borrow(|table| assert!(table.slots.capacity() <= KEPT_SLOTS));
    }

    #[test]
    fn long_keys_are_compared_to_their_end() {
        for length in 0..40 {
            let key = |last: u8| {
                let mut element = vec![0x0A];
                element.resize(length + 1, b'k');
                element.extend([last, 0]);
                element
            };
            let differ = document(&[key(b'a'), key(b'b')].concat());
            assert_eq!(check_document(&differ), Ok(()), "{length}");
            let same = document(&[key(b'a'), key(b'c'), key(b'a')].concat());
            assert_eq!(
                check_document(&same),
                Err(Malformed::DuplicateKey),
                "{length}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check_document(&bytes);
            let _ = check_document(&document(&bytes));
        }

        /// What the check takes, the reference can read; what it cannot, the check refuses.
        #[test]
        fn mutated_bytes_agree_with_the_reference(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = every_type();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            if check_document(&bytes).is_ok() {
                let raw = bson::RawDocument::from_bytes(&bytes).expect("the frame is good");
                let read: bson::Document = raw.try_into().expect("every value is good");
                prop_assert_eq!(read.len(), RawElements::of_document(&bytes).count());
            }
        }
    }

    #[test]
    fn what_the_reference_writes_is_taken() {
        let document = doc! { "payload": [1, 2_i64, { "a": { "b": [Bson::Null, true] } }, "x"] };
        assert_eq!(check_document(&document.to_vec().unwrap()), Ok(()));
    }
}
