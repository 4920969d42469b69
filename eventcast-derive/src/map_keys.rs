//! Keys of maps that cannot travel: BSON's keys are texts.
//!
//! Only what stands in the declaration is seen, by the names of the standard library's maps. What
//! the macro does not see, `emit` refuses.

use syn::{Data, Field, GenericArgument, PathArguments, Type};

use crate::{errors::Errors, serde_attrs};

/// Types that have no one text form, by their names.
const NO_KEYS: [&str; 9] = [
    "f32", "f64", "Option", "Vec", "VecDeque", "HashMap", "BTreeMap", "HashSet", "BTreeSet",
];

/// Refuses keys without one text form, in fields that serde writes by itself.
pub(crate) fn refuse(data: &Data, errors: &mut Errors) {
    let fields: Vec<&Field> = match data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect(),
        Data::Union(_) => return,
    };
    for field in fields {
        if !serde_attrs::is_skipped(field) && !serde_attrs::is_written_otherwise(field) {
            refuse_in(&field.ty, errors);
        }
    }
}

fn refuse_in(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Array(array) => refuse_in(&array.elem, errors),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|ty| refuse_in(ty, errors)),
        Type::Paren(paren) => refuse_in(&paren.elem, errors),
        Type::Group(group) => refuse_in(&group.elem, errors),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return;
            };
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return;
            };
            let mut types = arguments.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            let is_map = last.ident == "HashMap" || last.ident == "BTreeMap";
            if is_map
                && let Some(key) = types.next()
                && let Some(kind) = no_key(key)
            {
                errors.at(
                    key,
                    format_args!(
                        "{kind} has no one text form, so it cannot be the key of a map on the wire: use a string, \
                         an integer, a bool, a char, a unit variant or a newtype of one, or send a list of pairs"
                    ),
                );
            }
            for ty in types {
                refuse_in(ty, errors);
            }
        }
        _ => {}
    }
}

/// What a key is that cannot be one.
fn no_key(key: &Type) -> Option<String> {
    match key {
        Type::Tuple(_) => Some("a tuple".to_owned()),
        Type::Array(_) | Type::Slice(_) => Some("a list".to_owned()),
        Type::Paren(paren) => no_key(&paren.elem),
        Type::Group(group) => no_key(&group.elem),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let name = last.ident.to_string();
            NO_KEYS.contains(&&*name).then(|| format!("`{name}`"))
        }
        _ => None,
    }
}
