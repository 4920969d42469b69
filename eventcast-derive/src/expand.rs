//! Writes the implementations of an event without mistakes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Generics, parse_quote};

use crate::{
    ast::{Item, Param},
    template::Piece,
    validate::Event,
};

pub(crate) fn expand(event: &Event<'_>) -> TokenStream {
    let item = event.item;
    let krate = crate_path(item);
    let ident = item.ident;
    let (_, ty_generics, _) = item.generics.split_for_impl();

    let named = with_type_names(event, &krate);
    let (named_impl_generics, _, named_where) = named.split_for_impl();
    let mut sendable = named.clone();
    require_what_events_are(&mut sendable, &krate);
    let (impl_generics, _, where_clause) = sendable.split_for_impl();

    let name = name(event, &krate);
    // A name without parameters was checked here; what parameters put in, only the instance knows.
    let key = if event.key.is_generic() {
        quote!(#krate::__private::checked_key(<Self as #krate::TypeName>::NAME))
    } else {
        quote!(<Self as #krate::TypeName>::NAME)
    };
    let kind = &event.shape.kind;
    let text = &event.shape.text;
    let names = &event.shape.names;
    let types = &event.shape.types;
    let best_effort = item.options.best_effort.then(|| {
        quote!(
            const BEST_EFFORT: ::core::primitive::bool = true;
        )
    });

    let allow = allow(item);
    // Of a generic event each instance is looked at where it is used.
    let small = item.generics.params.is_empty().then(|| {
        let check = quote_spanned!(ident.span()=> #krate::__private::must_be_small::<#ident>());
        quote!(const _: () = #check;)
    });
    quote! {
        #allow
        const _: () = {
            #small

            #[automatically_derived]
            impl #named_impl_generics #krate::TypeName for #ident #ty_generics #named_where {
                const NAME: &'static ::core::primitive::str = #name;
            }

            #[automatically_derived]

            impl #impl_generics #krate::NetEvent for #ident #ty_generics #where_clause {
                const KEY: &'static ::core::primitive::str = #key;
                const SHAPE: #krate::Shape =
                    #krate::Shape::new(#krate::ShapeKind::#kind, #text);
                #best_effort

                fn __fields() -> ::core::option::Option<#krate::__private::Fields> {
                    ::core::option::Option::Some(#krate::__private::Fields {
                        names: #names,
                        types: ::std::vec![#(#krate::__private::typeid::of::<#types>()),*],
                    })
                }
            }
        };
    }
}

pub(crate) fn crate_path(item: &Item<'_>) -> TokenStream {
    match &item.options.crate_path {
        Some(path) => path.to_token_stream(),
        None => quote!(::eventcast),
    }
}

pub(crate) fn allow(item: &Item<'_>) -> Option<TokenStream> {
    item.deprecated.then(|| quote!(#[allow(deprecated)]))
}

/// The bounds that the trait has for every event, written as a where clause of a generic one.
///
/// They stand on the type itself, not on its parameters or fields: which of them serde needs
/// depends on its attributes (`bound`, `with`, `skip`, `default`, …) and on implementations by
/// hand, so only the type knows. An instance that lacks one of these is refused where it is used,
/// by its name.
pub(crate) fn require_what_events_are(generics: &mut Generics, krate: &TokenStream) {
    if generics.params.is_empty() {
        return;
    }
    generics.make_where_clause().predicates.push(parse_quote! {
        Self: #krate::__private::serde::Serialize
            + #krate::__private::serde::de::DeserializeOwned
            + ::core::marker::Send
            + ::core::marker::Sync
            + 'static
    });
}

/// The type's own generics, and `TypeName` for what stands in the key.
fn with_type_names(event: &Event<'_>, krate: &TokenStream) -> Generics {
    let mut generics = event.item.generics.clone();
    for (index, param) in event.params.iter().enumerate() {
        if let Param::Type(ident) = param
            && event.key.uses(index)
        {
            generics
                .make_where_clause()
                .predicates
                .push(parse_quote!(#ident: #krate::TypeName));
        }
    }
    generics
}

fn name(event: &Event<'_>, krate: &TokenStream) -> TokenStream {
    if !event.key.is_generic() {
        let text: String = event.key.texts().collect();
        return text.to_token_stream();
    }
    let pieces = event.key.pieces.iter().map(|piece| match piece {
        Piece::Text(text) => text.to_token_stream(),
        Piece::Param(index) => match event.params[*index] {
            Param::Type(ident) => quote!(<#ident as #krate::TypeName>::NAME),
            Param::Const(ident, ty) => quote! {
                const {
                    &#krate::__private::ConstText::new(
                        <#ty as #krate::__private::ConstParam>::KIND,
                        #ident as ::core::primitive::u128,
                    )
                }
                .as_str()
            },
        },
    });
    quote!(const { &#krate::__private::Text::join(&[#(#pieces),*]) }.as_str())
}
