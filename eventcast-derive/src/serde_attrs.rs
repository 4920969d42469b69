//! What of serde's attributes changes how a declaration maps to arguments.
//!
//! Only the words are read, never what they are set to: serde's own derive judges the rest.

use proc_macro2::{Ident, TokenTree};
use syn::{Attribute, Data, Field, Fields, Meta};

use crate::errors::Errors;

const SKIP: &str = "skip";
const SKIP_SERIALIZING: &str = "skip_serializing";
const SKIP_DESERIALIZING: &str = "skip_deserializing";
const SKIP_SERIALIZING_IF: &str = "skip_serializing_if";
const TRANSPARENT: &str = "transparent";
const WITH: &str = "with";
const SERIALIZE_WITH: &str = "serialize_with";

/// Whether the type serializes as its one field does.
pub(crate) fn is_transparent(attrs: &[Attribute]) -> bool {
    word(attrs, TRANSPARENT).is_some()
}

/// Whether a field is neither sent nor read.
pub(crate) fn is_skipped(field: &Field) -> bool {
    let has = |name| word(&field.attrs, name).is_some();
    has(SKIP) || has(SKIP_SERIALIZING) && has(SKIP_DESERIALIZING)
}

/// Whether a function given by an attribute writes the field, whatever its type is.
pub(crate) fn is_written_otherwise(field: &Field) -> bool {
    let has = |name| word(&field.attrs, name).is_some();
    has(WITH) || has(SERIALIZE_WITH)
}

/// Refuses fields without names that are sent but not read, read but not sent, or sent for some
/// values only: such fields are identified by their place, and an omitted one shifts the later
/// ones.
pub(crate) fn refuse_moving_fields(data: &Data, errors: &mut Errors) {
    match data {
        Data::Struct(data) => refuse_in(&data.fields, "a tuple struct", errors),
        Data::Enum(data) => {
            for variant in &data.variants {
                refuse_in(&variant.fields, "a tuple variant", errors);
            }
        }
        Data::Union(_) => {}
    }
}

fn refuse_in(fields: &Fields, of: &str, errors: &mut Errors) {
    let Fields::Unnamed(fields) = fields else {
        return;
    };
    for field in &fields.unnamed {
        if let Some(at) = word(&field.attrs, SKIP_SERIALIZING_IF) {
            errors.at(
                at,
                format_args!(
                    "the fields of {of} are known by their place, so one that is left out for some values moves \
                     those behind it, and nobody can read them: send it always, or give the fields names"
                ),
            );
        }
        if is_skipped(field) {
            continue;
        }
        for (name, done, not) in [
            (SKIP_SERIALIZING, "read", "sent"),
            (SKIP_DESERIALIZING, "sent", "read"),
        ] {
            if let Some(at) = word(&field.attrs, name) {
                errors.at(
                    at,
                    format_args!(
                        "the fields of {of} are known by their place, so one that is {done} but not {not} moves \
                         those behind it: write `#[serde(skip)]`, or give the fields names"
                    ),
                );
            }
        }
    }
}

/// The word, where it stands in one of serde's lists.
fn word(attrs: &[Attribute], name: &str) -> Option<Ident> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("serde"))
        .filter_map(|attr| match &attr.meta {
            Meta::List(list) => Some(list.tokens.clone()),
            Meta::Path(_) | Meta::NameValue(_) => None,
        })
        .find_map(|tokens| {
            let mut begins = true;
            tokens.into_iter().find_map(|token| {
                let first = std::mem::replace(&mut begins, is_comma(&token));
                match token {
                    TokenTree::Ident(ident) if first && ident == name => Some(ident),
                    _ => None,
                }
            })
        })
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}
