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

mod keys;

pub(super) use self::keys::Keys;
use super::{
    SUBTYPE_BINARY_OLD, element,
    raw::{FIXED_LENGTHS, HIGHS, NOT_FIXED, before_zero, read_i32, read_word},
};

/// The deepest nesting of documents and arrays that is accepted or sent; the outermost document is
/// 1.
///
/// Decoders follow nesting by recursion, and serde's frames are large without optimisation: this
/// depth fits a thread of 2 MiB with room to spare, and no real event is nested deeper.
pub const MAX_DEPTH: usize = 64;

/// How many bytes an ObjectId takes.
const OBJECT_ID_LENGTH: usize = 12;

/// The shortest document: its length and its final zero.
const SHORTEST_DOCUMENT: usize = 5;

/// Nesting up to which the walk's first stack reaches. Clearing the whole one costs more than
/// walking a small event; what is deeper is walked again with the whole one.
const USUAL_DEPTH: usize = 8;

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
    /// There are more elements, in all documents and arrays together, than a document of the
    /// protocol's own has.
    #[error("too many elements")]
    TooManyElements,
    /// Documents and arrays are nested deeper than 64.
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

/// Checks a document as [`check_document`] does, but allows `most` elements in all, those of nested
/// documents included. A document with more is refused at the first one too many, whatever follows,
/// and before keys are compared.
pub(crate) fn check_small_document(bytes: &[u8], most: usize) -> Result<(), Malformed> {
    let keys = Keys::of_array(false);
    walk::<true>(bytes, keys, &mut [Frame::default(); USUAL_DEPTH], most)
}

/// As [`check_document`], for a document or array that may itself be no deeper than `levels`.
pub(super) fn check_nested(bytes: &[u8], levels: usize, is_array: bool) -> Result<(), Malformed> {
    let keys = Keys::of_array(is_array);
    let levels = levels.min(MAX_DEPTH);
    let usual = levels.min(USUAL_DEPTH);
    match walk::<false>(
        bytes,
        keys,
        &mut [Frame::default(); USUAL_DEPTH][..usual],
        0,
    ) {
        Err(Malformed::TooDeep) if levels > usual => {
            walk::<false>(bytes, keys, &mut [Frame::default(); MAX_DEPTH][..levels], 0)
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

/// Walks all of it, or where it is `LIMITED` no further than `most` elements.
fn walk<const LIMITED: bool>(
    bytes: &[u8],
    keys: Keys,
    stack: &mut [Frame],
    mut most: usize,
) -> Result<(), Malformed> {
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

        if LIMITED {
            most = most.checked_sub(1).ok_or(Malformed::TooManyElements)?;
        }
        let kind = bytes[at];
        at = check_key(bytes, at + 1, end, &mut open.keys)?;
        let length = FIXED_LENGTHS[kind as usize];
        if length != NOT_FIXED {
            at += length as usize;
            if at > end {
                return Err(Malformed::Truncated);
            }
            continue;
        }
        at += match kind {
            element::STRING | element::CODE | element::SYMBOL => check_string(&bytes[at..end])?,
            element::BOOLEAN => match bytes[at..end] {
                [] => return Err(Malformed::Truncated),
                [0 | 1, ..] => 1,
                [other, ..] => return Err(Malformed::Boolean(other)),
            },
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
            element::BINARY => check_binary(&bytes[at..end])?,
            element::REGEX => {
                let options = check_text(bytes, at, end)?;
                check_text(bytes, options, end)? - at
            }
            element::DB_POINTER => {
                let namespace = check_string(&bytes[at..end])?;
                if end - at - namespace < OBJECT_ID_LENGTH {
                    return Err(Malformed::Truncated);
                }
                namespace + OBJECT_ID_LENGTH
            }
            // A zero before the declared end: the document is shorter than its length field claims.
            0 => return Err(Malformed::Length),
            unknown => return Err(Malformed::UnknownType(unknown)),
        };
    }
}

/// Checks the key that begins at `at`, notes it, and returns where the value begins.
#[inline(always)]
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

/// Checks a text that ends with its first zero, and returns what follows it.
fn check_text(bytes: &[u8], at: usize, end: usize) -> Result<usize, Malformed> {
    let (zero, ascii, _) = find_zero(bytes, at, end).ok_or(Malformed::Truncated)?;
    if !ascii && std::str::from_utf8(&bytes[at..zero]).is_err() {
        return Err(Malformed::Utf8);
    }
    Ok(zero + 1)
}

/// The first zero in `bytes[at..end]`, whether all before it is ASCII, and a word made of all
/// before it.
#[inline(always)]
fn find_zero(bytes: &[u8], at: usize, end: usize) -> Option<(usize, bool, u64)> {
    // Nearly all keys are shorter than a word, and nearly all have a word's worth behind them.
    if let Some(word) = read_word(bytes, at)
        && let Some((length, before)) = before_zero(word)
    {
        let zero = at + length;
        return (zero < end).then_some((zero, before & HIGHS == 0, before));
    }
    find_far_zero(bytes, at, end)
}

/// As [`find_zero`], for a long text, or one at the end of everything.
#[inline(never)]
fn find_far_zero(bytes: &[u8], at: usize, end: usize) -> Option<(usize, bool, u64)> {
    let mut folded = 0u64;
    let mut high = 0u64;
    let mut from = at;
    while let Some(word) = read_word(bytes, from) {
        if let Some((length, before)) = before_zero(word) {
            let zero = from + length;
            let ascii = (high | before) & HIGHS == 0;
            return (zero < end).then_some((zero, ascii, folded.rotate_left(5) ^ before));
        }
        folded = folded.rotate_left(5) ^ word;
        high |= word;
        from += 8;
        if from >= end {
            return None;
        }
    }
    // Less than eight bytes are left of the whole input.
    let rest = bytes.get(from..end)?;
    let length = rest.iter().position(|&byte| byte == 0)?;
    let before = rest[..length]
        .iter()
        .rev()
        .fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
    let ascii = (high | before) & HIGHS == 0;
    Some((from + length, ascii, folded.rotate_left(5) ^ before))
}

/// Checks a string with its length field, and returns how many bytes both take.
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

/// Checks the two lengths and the code of a code with scope, and returns where the scope begins.
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

#[cfg(test)]
mod tests;
