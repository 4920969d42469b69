//! How much memory arguments take once they are `Bson` values.
//!
//! A few bytes on the wire can become a hundred in memory, or more: a null in an array takes two
//! bytes, and as a `Bson` as much as the largest variant. The sender of a message of the largest
//! size chooses its values, so decoding to [`Args`](super::Args) has a memory limit of its own.
//!
//! Responsible for the estimate alone: it is made by walking the bytes, and errs on the high side.

use bson::Bson;

use super::{
    DecodeError, DecodeErrorKind, MAX_DEPTH, element,
    raw::{RawArgs, RawElements, RawValue},
};

/// No bytes take more memory than so many times their number: the dearest are documents with one
/// short key.
const MOST_PER_BYTE: usize = 128;

/// What a value takes where it stands.
const VALUE: usize = size_of::<Bson>();

/// What an entry of a document takes beside its key's text: the map keeps a hash and an index of
/// each, too.
const ENTRY: usize = VALUE + size_of::<String>() + 3 * size_of::<usize>();

/// A map that has any entry has room for so many, and up to twice as many as it has.
const FEWEST_ENTRIES: usize = 4;

/// The overhead of an allocation beside the requested bytes.
const ALLOCATION: usize = 32;

/// Refuses arguments that would take more than `limit` bytes as values.
pub(super) fn check(args: RawArgs<'_>, limit: usize) -> Result<(), DecodeError> {
    let (_, bytes) = args.parts();
    if bytes.len().saturating_mul(MOST_PER_BYTE) <= limit {
        return Ok(());
    }
    let values = args.iter();
    let needed = values.fold(0, |sum: usize, value| {
        sum.saturating_add(VALUE + behind(value, MAX_DEPTH))
    });
    if needed <= limit {
        return Ok(());
    }
    Err(DecodeError::new(DecodeErrorKind::TooMuchMemory {
        needed,
        limit,
    }))
}

/// What a value takes elsewhere than where it stands.
fn behind(value: RawValue<'_>, levels: usize) -> usize {
    let Some(inner) = levels.checked_sub(1) else {
        // Deeper than anything that is decoded.
        return 0;
    };
    match value.element_type {
        element::ARRAY => RawElements::of_document(value.bytes)
            .map(|item| VALUE + behind(item.value, inner))
            .sum::<usize>()
            .saturating_add(ALLOCATION),
        element::DOCUMENT => of_document(value.bytes, inner),
        element::CODE_WITH_SCOPE => value.code_with_scope().map_or(0, |(code, scope)| {
            code.len() + ALLOCATION + of_document(scope, inner)
        }),
        element::STRING
        | element::BINARY
        | element::REGEX
        | element::DB_POINTER
        | element::CODE
        | element::SYMBOL => value.bytes.len() + 2 * ALLOCATION,
        _ => 0,
    }
}

fn of_document(document: &[u8], levels: usize) -> usize {
    let mut count = 0;
    let mut sum: usize = 0;
    for entry in RawElements::of_document(document) {
        count += 1;
        sum += entry.key_bytes().len() + ALLOCATION + behind(entry.value, levels);
    }
    if count == 0 {
        return 0;
    }
    sum + FEWEST_ENTRIES.max(2 * count) * ENTRY + 2 * ALLOCATION
}
