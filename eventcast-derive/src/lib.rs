//! The derive macro of eventcast.
//!
//! Use it through `eventcast`, which re-exports it beside the trait of the same name.
//!
//! Four stages: `ast` and `attr` read the declaration, `validate` checks it and yields what is
//! certain, `expand` writes the implementations; where there were mistakes, `fallback` writes
//! stand-ins, so that one mistake is one error. One build reports all mistakes of a type, each at
//! the token that is wrong. Nothing is ignored silently, and the macro does not panic.

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
mod map_keys;
mod serde_attrs;
mod shape;
mod template;
mod validate;

use proc_macro2::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a type an event: implements `NetEvent` and `TypeName` for it.
///
/// For structs of every form and enums, generic ones too. The type must be serde's `Serialize` and
/// `Deserialize`, own its data, and be `Send + Sync`:
///
/// ```
/// use eventcast::NetEvent;
/// use serde::{Deserialize, Serialize};
///
/// /// Somebody joined.
/// #[derive(NetEvent, Serialize, Deserialize, Debug)]
/// struct UserJoined {
///     user: u64,
///     name: String,
/// }
/// ```
///
/// # The key
///
/// The type's name is the event's key on the wire (`r#type` is `type`). A generic event's key holds
/// the names of its parameters, from the trait `TypeName`; each instance is an event of its own:
///
/// | declaration | key |
/// | --- | --- |
/// | `struct UserJoined { .. }` | `UserJoined` |
/// | `struct Sample<T>(T);` as `Sample<f64>` | `Sample<f64>` |
/// | `struct Pair<A, B>(A, B);` as `Pair<u8, Vec<String>>` | `Pair<u8, Vec<String>>` |
/// | `struct Frame<const N: usize> { .. }` as `Frame<4>` | `Frame<4>` |
///
/// A key has 1 to 1,024 bytes, no control characters, and does not start with `__ec_`. What stands
/// in the source is checked by the macro; what is joined from names of parameters, where an
/// instance is used.
///
/// # Options
///
/// `#[net_event(name = "order.placed")]` sets the key. In it `{T}` stands for the name of the
/// parameter `T`; without one, all instances of a generic event share the key, and its parameters
/// need no `TypeName`. A brace is written `{{` or `}}`.
///
/// ```
/// use eventcast::NetEvent;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(NetEvent, Serialize, Deserialize)]
/// #[net_event(name = "sample/{T}")]
/// struct Sample<T> {
///     value: T,
/// }
///
/// assert_eq!(<Sample<f64>>::KEY, "sample/f64");
/// ```
///
/// `#[net_event(best_effort)]` says that only the newest event matters: each is delivered at once
/// and never twice, and a lost one is neither waited for nor requested again. So the newest reading
/// of a fast sensor does not wait for older ones.
///
/// `#[net_event(crate = some::path)]`, or `crate = "some::path"`, says where eventcast is, when it
/// was renamed in `Cargo.toml` or comes through another crate. `::eventcast` by default.
///
/// # Generic events
///
/// The implementation keeps the bounds and the where clause of the type, asks for `TypeName` of the
/// parameters that stand in the key, and holds for those instances that are `Serialize`,
/// `DeserializeOwned`, `Send`, `Sync` and `'static`: whatever serde's derive, its attributes
/// (`bound`, `with`, `skip`, …) or an implementation by hand ask for. Lifetime parameters are
/// refused: what comes from the network cannot be borrowed.
#[proc_macro_derive(NetEvent, attributes(net_event))]
pub fn derive_net_event(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    net_event(&input).into()
}

fn net_event(input: &DeriveInput) -> TokenStream {
    let mut errors = errors::Errors::default();
    let item = ast::Item::read(input, &mut errors);
    let event = validate::validate(&item, &mut errors);
    match (event, errors.into_compile_errors()) {
        (Some(event), None) => expand::expand(&event),
        (_, compile_errors) => {
            let stand_in = fallback::fallback(&item);
            quote::quote!(#compile_errors #stand_in)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(options: &str) -> String {
        let declaration = format!("#[net_event({options})] struct Sample<T>(T);");
        net_event(&syn::parse_str(&declaration).unwrap()).to_string()
    }

    /// Every list of up to four of these tokens: none makes the macro panic or write invalid Rust,
    /// and a list that it accepts means what it should.
    #[test]
    fn whatever_stands_in_the_list_is_understood_or_refused() {
        const TOKENS: [&str; 8] = ["name", "crate", "=", ",", "\"x\"", "\"{T}\"", "5", "(a)"];
        let understood = |options: &str| {
            let options = options.trim();
            options
                .strip_suffix(',')
                .unwrap_or(options)
                .split(',')
                .all(|option| {
                    matches!(
                        option.trim(),
                        "name = \"x\""
                            | "name = \"{T}\""
                            | "crate = \"x\""
                            | "crate = crate"
                            | "crate = name"
                    )
                })
        };
        let mut lists = vec![String::new()];
        let mut at = 0;
        while let Some(options) = lists.get(at).cloned() {
            at += 1;
            if options.split_whitespace().count() < 4 {
                lists.extend(TOKENS.map(|token| format!("{options}{token} ")));
            }
            let output = expanded(&options);
            assert!(syn::parse_str::<syn::File>(&output).is_ok(), "{options}");
            assert_eq!(
                !output.contains("compile_error"),
                understood(&options),
                "{options}: {output}"
            );
        }
        assert!(!expanded("name = \"{T}\", crate = \"x\",").contains("compile_error"));
    }

    #[test]
    fn the_stand_in_is_there_but_for_what_cannot_be_an_event() {
        let implements = |declaration: &str| {
            net_event(&syn::parse_str(declaration).unwrap())
                .to_string()
                .contains("NetEvent for")
        };
        assert!(implements("#[net_event(nmae = \"x\")] struct A;"));
        assert!(!implements("#[net_event(crate = 5)] struct A;"));
        assert!(!implements("struct A<'a>(&'a str);"));
        assert!(!implements("union A { a: u8 }"));
    }
}
