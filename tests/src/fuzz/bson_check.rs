//! The check of raw BSON against the `bson` crate and against our own decoders.

use bson::{Bson, Document};
use eventcast::{
    Args,
    codec::{MAX_DEPTH, Malformed, RawArgs, RawElements, RawValue, check_document},
};

use super::MAX_INPUT;

const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const CODE_WITH_SCOPE: u8 = 0x0f;

/// Checks a document.
///
/// What is accepted is decoded by everybody, to the same values. What the `bson` crate reads and
/// writes back to the very bytes is refused only for being too deep.
pub fn bson_check(bytes: &[u8]) {
    if bytes.len() > MAX_INPUT {
        return;
    }
    // The decoders say nonsense of what is not checked, but they say it.
    let ours = Args::from_raw(RawArgs::from_parts(DOCUMENT, bytes));
    match check_document(bytes) {
        Ok(()) => {
            let depth = depth_of(bytes).expect("the elements fill the document");
            assert!(depth <= MAX_DEPTH, "{depth} deep");
            match ours {
                Ok(ours) => accepted(bytes, &ours),
                // An argument stands inside another document.
                Err(error) => assert_eq!(depth, MAX_DEPTH, "{error}"),
            }
        }
        Err(reason) => refused(bytes, reason),
    }
}

fn accepted(bytes: &[u8], ours: &Args) {
    let [Bson::Document(ours)] = &ours[..] else {
        panic!("one document is one argument, not {ours:?}")
    };
    let theirs = match Document::from_reader(bytes) {
        Ok(theirs) => theirs,
        // Names in arrays are not read: that is the one thing that we leave unlooked at.
        Err(error) => {
            assert!(has_unreadable_names(bytes), "the bson crate says: {error}");
            return;
        }
    };
    // By bytes, because no NaN equals another.
    let (ours, theirs) = (ours.to_vec(), theirs.to_vec());
    assert_eq!(
        ours.expect("what was read can be written"),
        theirs.expect("what was read can be written"),
        "both read the same"
    );
}

fn refused(bytes: &[u8], reason: Malformed) {
    let Ok(theirs) = Document::from_reader(bytes) else {
        return;
    };
    if theirs.to_vec().is_ok_and(|written| written == bytes) {
        assert_eq!(reason, Malformed::TooDeep, "the bson crate keeps it");
    }
}

/// How deep a checked document is. `None` if its elements, or those of one within, do not fill it
/// to the last byte.
fn depth_of(document: &[u8]) -> Option<usize> {
    let mut length = 4 + 1;
    let mut deepest = 0;
    for element in RawElements::of_document(document) {
        length += 1 + element.key_bytes().len() + 1 + element.value.bytes.len();
        if let Some(inner) = inner(element.value) {
            deepest = deepest.max(depth_of(inner)?);
        }
    }
    (length == document.len()).then_some(1 + deepest)
}

fn has_unreadable_names(document: &[u8]) -> bool {
    RawElements::of_document(document).any(|element| {
        std::str::from_utf8(element.key_bytes()).is_err()
            || inner(element.value).is_some_and(has_unreadable_names)
    })
}

/// The document, array or scope that the value is or has.
fn inner(value: RawValue<'_>) -> Option<&[u8]> {
    match value.element_type {
        DOCUMENT | ARRAY => Some(value.bytes),
        CODE_WITH_SCOPE => {
            let code = i32::from_le_bytes(*value.bytes[4..].first_chunk()?);
            value.bytes.get(8 + usize::try_from(code).ok()?..)
        }
        _ => None,
    }
}
