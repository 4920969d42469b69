//! Judges what was read, and yields what the implementations are written from.

use std::fmt::Display;

use syn::{Data, ext::IdentExt, spanned::Spanned};

use crate::{
    ast::{Item, Param},
    errors::Errors,
    map_keys, serde_attrs,
    shape::Shape,
    template::{Piece, Template},
};

/// An event, as far as the declaration could be understood; free of mistakes only if none was
/// reported.
pub(crate) struct Event<'a> {
    pub(crate) item: &'a Item<'a>,
    /// The type and const parameters.
    pub(crate) params: Vec<Param<'a>>,
    pub(crate) key: Template,
    pub(crate) shape: Shape,
}

/// The longest key in bytes: `eventcast::MAX_KEY_LEN`. A test compiles keys at the limit and past
/// it.
const MAX_KEY_LEN: usize = 1024;

/// Keys that start so are the protocol's own.
const RESERVED_PREFIX: &str = "__ec_";

/// `None`: the reported mistakes leave nothing to generate code from. Other mistakes may have been
/// reported, too.
pub(crate) fn validate<'a>(item: &'a Item<'a>, errors: &mut Errors) -> Option<Event<'a>> {
    for lifetime in item.lifetimes() {
        errors.at(
            lifetime,
            format_args!(
                "an event owns its data, so it cannot have the lifetime `{lifetime}`: what comes \
                 from the network cannot be borrowed; write `String` for `&{lifetime} str`, `Vec<T>` \
                 for `&{lifetime} [T]`"
            ),
        );
    }
    let params = item.params();
    let key = key(item, &params, errors);
    let shape = Shape::of(item.data, item.transparent);
    serde_attrs::refuse_moving_fields(item.data, errors);
    map_keys::refuse(item.data, errors);
    if let Data::Union(data) = item.data {
        errors.at_span(
            data.union_token.span(),
            "a union cannot be an event, since nothing says which of its fields is valid: \
             structs and enums can",
        );
    }
    Some(Event {
        item,
        params,
        key: key?,
        shape: shape?,
    })
}

fn key(item: &Item<'_>, params: &[Param<'_>], errors: &mut Errors) -> Option<Template> {
    let Some(name) = &item.options.name else {
        let template = Template::of_type(item.ident, params.len());
        return match check_template(&template) {
            Ok(()) => Some(template),
            Err(fault) => {
                errors.at(
                    item.ident,
                    format_args!(
                        "the type's name is the event's key, and it {fault}: \
                         set another with `#[net_event(name = \"…\")]`"
                    ),
                );
                None
            }
        };
    };
    let template = match Template::parse(&name.value(), params) {
        Ok(template) => template,
        Err(fault) => {
            errors.at(name, fault);
            return None;
        }
    };
    if let Err(fault) = check_template(&template) {
        errors.at(
            name,
            format_args!(
                "the key {fault}: an event's key has 1 to {MAX_KEY_LEN} bytes, no control characters, \
                 and does not start with `{RESERVED_PREFIX}`{}",
                if name.value().is_empty() {
                    format!(
                        " (leave the option out for the type's own name, `{}`)",
                        item.ident.unraw()
                    )
                } else {
                    String::new()
                }
            ),
        );
        return None;
    }
    Some(template)
}

/// The rules of a key, as far as the macro can see: of what parameters put in, a constant of the
/// instance takes care.
fn check_template(template: &Template) -> Result<(), impl Display + use<>> {
    let len: usize = template.texts().map(str::len).sum();
    if template.pieces.is_empty() {
        return Err("is empty".to_owned());
    }
    if len > MAX_KEY_LEN {
        return Err(format!("is too long with {len} bytes"));
    }
    if let Some(c) = template
        .texts()
        .flat_map(str::chars)
        .find(|c| c.is_control())
    {
        return Err(format!(
            "holds the control character `{}`",
            c.escape_default()
        ));
    }
    match template.pieces.first() {
        Some(Piece::Text(text)) if text.starts_with(RESERVED_PREFIX) => Err(format!(
            "starts with `{RESERVED_PREFIX}`, as the protocol's own do"
        )),
        _ => Ok(()),
    }
}
