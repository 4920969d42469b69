//! The item as it was written, and the options that stand on it. Nothing is judged here but the
//! form of the attributes.

use syn::{
    Attribute, ConstParam, Data, DeriveInput, Fields, GenericParam, Generics, Ident, Lifetime,
    Type, punctuated::Punctuated, token::Comma,
};

use crate::{
    attr::{self, Options, Place},
    errors::Errors,
    serde_attrs,
};

/// The item under the derive.
pub(crate) struct Item<'a> {
    pub(crate) ident: &'a Ident,
    /// As written, but without attributes on the parameters: they belong to the declaration alone.
    pub(crate) generics: Generics,
    pub(crate) data: &'a Data,
    pub(crate) options: Options,
    /// The type serializes as its one field does.
    pub(crate) transparent: bool,
    /// The type is `#[deprecated]`; that its own implementations name it is no use of it.
    pub(crate) deprecated: bool,
}

/// A parameter that distinguishes the instances of a generic event.
pub(crate) enum Param<'a> {
    Type(&'a Ident),
    Const(&'a Ident, &'a Type),
}

impl<'a> Item<'a> {
    pub(crate) fn read(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let options = attr::read_options(&input.attrs, errors);
        refuse_options_inside(input, errors);

        let mut generics = input.generics.clone();
        for param in &mut generics.params {
            match param {
                GenericParam::Lifetime(param) => param.attrs.clear(),
                GenericParam::Type(param) => param.attrs.clear(),
                GenericParam::Const(param) => param.attrs.clear(),
            }
        }
        Self {
            ident: &input.ident,
            generics,
            data: &input.data,
            options,
            transparent: serde_attrs::is_transparent(&input.attrs),
            deprecated: input
                .attrs
                .iter()
                .any(|attr| attr.path().is_ident("deprecated")),
        }
    }

    pub(crate) fn lifetimes(&self) -> impl Iterator<Item = &Lifetime> {
        self.generics.lifetimes().map(|param| &param.lifetime)
    }

    /// The type and const parameters, in order.
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        self.generics
            .params
            .iter()
            .filter_map(|param| match param {
                GenericParam::Lifetime(_) => None,
                GenericParam::Type(param) => Some(Param::Type(&param.ident)),
                GenericParam::Const(ConstParam { ident, ty, .. }) => Some(Param::Const(ident, ty)),
            })
            .collect()
    }
}

impl Param<'_> {
    pub(crate) fn ident(&self) -> &Ident {
        match self {
            Self::Type(ident) | Self::Const(ident, _) => ident,
        }
    }
}

/// Options belong on the type. Anywhere else they would be ignored, so they are mistakes there. (On
/// a parameter the compiler itself refuses them.)
fn refuse_options_inside(input: &DeriveInput, errors: &mut Errors) {
    let mut refuse = |attrs: &[Attribute], place| attr::refuse_options(attrs, place, errors);

    let no_variants = Punctuated::<_, Comma>::new();
    let variants = match &input.data {
        Data::Enum(data) => &data.variants,
        Data::Struct(_) | Data::Union(_) => &no_variants,
    };
    let fields = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Union(data) => data.fields.named.iter().collect(),
        Data::Enum(_) => Vec::new(),
    };
    for field in fields {
        refuse(&field.attrs, Place::Field);
    }
    for variant in variants {
        refuse(&variant.attrs, Place::Variant);
        for field in Fields::iter(&variant.fields) {
            refuse(&field.attrs, Place::Field);
        }
    }
}
