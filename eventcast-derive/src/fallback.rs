//! Stands in for the implementations of a type that has mistakes.
//!
//! Without them every use of the type would be an error too, and hide the one that matters.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, ext::IdentExt};

use crate::{
    ast::Item,
    expand::{allow, crate_path, require_what_events_are},
};

pub(crate) fn fallback(item: &Item<'_>) -> Option<TokenStream> {
    // These can never be what an event must be, and a stand-in would only add errors that say so;
    // and where the crate is unknown, nothing of it can be named.
    if item.lifetimes().next().is_some()
        || matches!(item.data, Data::Union(_))
        || item.options.crate_path_unreadable
    {
        return None;
    }
    let krate = crate_path(item);
    let ident = item.ident;
    let name = ident.unraw().to_string();
    let (type_impl_generics, ty_generics, type_where) = item.generics.split_for_impl();
    let mut sendable = item.generics.clone();
    require_what_events_are(&mut sendable, &krate);
    let (impl_generics, _, where_clause) = sendable.split_for_impl();
    let allow = allow(item);
    Some(quote! {
        #allow
        const _: () = {
            #[automatically_derived]
            impl #type_impl_generics #krate::TypeName for #ident #ty_generics #type_where {
                const NAME: &'static ::core::primitive::str = #name;
            }

            #[automatically_derived]

            impl #impl_generics #krate::NetEvent for #ident #ty_generics #where_clause {
                const KEY: &'static ::core::primitive::str = #name;
                const SHAPE: #krate::Shape = #krate::Shape::new(#krate::ShapeKind::Unit, "");
            }
        };
    })
}
