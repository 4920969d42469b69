//! The values that end a version 3 peer of another make (WIRE.md section 3): its BSON library, or
//! its conversion to JSON, fails on these, and nothing catches that.

use super::{
    EncodeError, EncodeErrorKind, MAX_DEPTH, element,
    raw::{RawArgs, RawElements, RawValue},
};
use crate::event::ShapeKind;

/// The event key that ends an old peer: its own emitter throws when nothing listens to that key.
pub(crate) const FATAL_NAME: &str = "error";

/// Refuses a payload document that was just encoded, if an old peer would end with it.
///
/// `shape` is that of a typed event; with it the error's path begins as that of any other encode
/// error does.
///
/// # Errors
///
/// [`EncodeErrorKind::NotForOldPeers`], with the way to the value.
pub(crate) fn check_for_old_peers(
    payload: &[u8],
    shape: Option<ShapeKind>,
) -> Result<(), EncodeError> {
    let Ok(args) = RawArgs::from_payload(payload) else {
        return Ok(());
    };
    let is_list = matches!(shape, None | Some(ShapeKind::Tuple(_)));
    for (index, argument) in args.iter().enumerate() {
        check(argument, MAX_DEPTH).map_err(|error| {
            if is_list {
                error.in_index(index)
            } else {
                error
            }
        })?;
    }
    Ok(())
}

fn check(value: RawValue<'_>, levels: usize) -> Result<(), EncodeError> {
    let Some(levels) = levels.checked_sub(1) else {
        return Ok(());
    };
    match value.element_type {
        element::DECIMAL128 | element::DB_POINTER => Err(EncodeError::new(
            EncodeErrorKind::NotForOldPeers(element::name(value.element_type)),
        )),
        element::ARRAY => RawElements::of_document(value.bytes)
            .enumerate()
            .try_for_each(|(index, item)| {
                check(item.value, levels).map_err(|error| error.in_index(index))
            }),
        element::DOCUMENT => check_document(value.bytes, levels),
        element::CODE_WITH_SCOPE => match value.code_with_scope() {
            Some((_, scope)) => check_document(scope, levels),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_document(document: &[u8], levels: usize) -> Result<(), EncodeError> {
    RawElements::of_document(document).try_for_each(|entry| {
        check(entry.value, levels).map_err(|error| {
            let key = String::from_utf8_lossy(entry.key_bytes());
            error.in_key(&key)
        })
    })
}
