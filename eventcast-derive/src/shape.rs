//! Writes down a declaration: kind, field names and field types, as one canonical text.
//!
//! Two declarations that differ in layout, comments or trailing commas alone give the same text, on
//! every version of the compiler: so the spaces between tokens are put by rules of our own.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Data, Fields, Ident, Type, ext::IdentExt};

use crate::serde_attrs::is_skipped;

/// A declaration's kind and text.
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// The same without the types of the fields.
    pub(crate) names: String,
    pub(crate) types: Vec<Type>,
}

/// The kinds of declarations, as `eventcast::ShapeKind` has them.
pub(crate) enum Kind {
    Unit,
    Newtype,
    Tuple(usize),
    Named,
    Enum,
}

impl Shape {
    /// `None`: a union.
    pub(crate) fn of(data: &Data, transparent: bool) -> Option<Self> {
        let mut shape = Self::of_written(data, transparent, written)?;
        shape.names = Self::of_written(data, transparent, |_| "_".to_owned())?.text;
        shape.types = match data {
            Data::Struct(data) => types(&data.fields),
            Data::Enum(data) => data
                .variants
                .iter()
                .flat_map(|variant| types(&variant.fields))
                .collect(),
            Data::Union(_) => Vec::new(),
        };
        Some(shape)
    }

    /// With the types as `written` writes them.
    fn of_written(data: &Data, transparent: bool, written: fn(&Type) -> String) -> Option<Self> {
        match data {
            Data::Struct(data) => Some(Self::of_struct(&data.fields, transparent, written)),
            Data::Enum(data) => {
                let variants = data.variants.iter().map(|variant| {
                    let name = variant.ident.unraw();
                    match &variant.fields {
                        Fields::Unit => name.to_string(),
                        Fields::Unnamed(_) => {
                            format!("{name}{}", positional(&variant.fields, written))
                        }
                        Fields::Named(_) => format!("{name} {}", named(&variant.fields, written)),
                    }
                });
                Some(Self {
                    kind: Kind::Enum,
                    text: format!("enum {}", braced(variants)),
                    names: String::new(),
                    types: Vec::new(),
                })
            }
            Data::Union(_) => None,
        }
    }

    fn of_struct(fields: &Fields, transparent: bool, written: fn(&Type) -> String) -> Self {
        let (kind, text) = match fields {
            Fields::Unit => (Kind::Unit, "unit".to_owned()),
            Fields::Unnamed(_) if fields.len() == 1 => (
                Kind::Newtype,
                format!("newtype{}", positional(fields, written)),
            ),
            Fields::Unnamed(_) => (
                Kind::Tuple(fields.iter().filter(|field| !is_skipped(field)).count()),
                format!("tuple{}", positional(fields, written)),
            ),
            Fields::Named(_) => (Kind::Named, format!("struct {}", named(fields, written))),
        };
        Self {
            // As serde has it, what is transparent is what is inside.
            kind: if transparent { Kind::Newtype } else { kind },
            text,
            names: String::new(),
            types: Vec::new(),
        }
    }
}

impl ToTokens for Kind {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let variant = |name| format_ident!("{name}").into_token_stream();
        tokens.extend(match self {
            Self::Unit => variant("Unit"),
            Self::Newtype => variant("Newtype"),
            Self::Tuple(len) => quote!(Tuple(#len)),
            Self::Named => variant("Named"),
            Self::Enum => variant("Enum"),
        });
    }
}

fn types(fields: &Fields) -> Vec<Type> {
    fields.iter().map(|field| field.ty.clone()).collect()
}

fn positional(fields: &Fields, written: fn(&Type) -> String) -> String {
    let types: Vec<String> = fields.iter().map(|field| written(&field.ty)).collect();
    format!("({})", types.join(", "))
}

fn named(fields: &Fields, written: fn(&Type) -> String) -> String {
    braced(fields.iter().map(|field| {
        let name = field.ident.as_ref().map(Ident::unraw);
        let name = name.map_or_else(String::new, |name| name.to_string());
        format!("{name}: {}", written(&field.ty))
    }))
}

fn braced(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", parts.join(", ")),
    }
}

/// A type as it was written, with canonical spaces.
fn written(ty: &Type) -> String {
    let mut writer = Writer::default();
    writer.stream(ty.to_token_stream());
    writer.text
}

#[derive(Default)]
struct Writer {
    text: String,
    /// What was written last was a word, so another word needs a space before it.
    after_word: bool,
}

impl Writer {
    fn stream(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut depth = 0_usize;
        let mut commas = 0_usize;
        let mut in_arrow = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => self.word(&ident.unraw().to_string()),
                TokenTree::Literal(literal) => self.word(&literal.to_string()),
                TokenTree::Group(group) => self.group(group.delimiter(), group.stream()),
                TokenTree::Punct(punct) => {
                    let arrow = in_arrow;
                    in_arrow = punct.as_char() == '-' && punct.spacing() == Spacing::Joint;
                    match punct.as_char() {
                        ',' => {
                            // A trailing comma means something in a tuple of one alone.
                            let trailing = match tokens.peek() {
                                None => depth > 0 || commas > 0,
                                Some(TokenTree::Punct(next)) => next.as_char() == '>',
                                Some(_) => false,
                            };
                            if depth == 0 {
                                commas += 1;
                            }
                            match (trailing, tokens.peek()) {
                                (true, _) => {}
                                (false, None) => self.glued(","),
                                (false, Some(_)) => self.glued(", "),
                            }
                        }
                        ';' => self.glued("; "),
                        '+' | '=' => self.glued(&format!(" {} ", punct.as_char())),
                        '-' if in_arrow => self.glued(" -"),
                        '>' if arrow => self.glued("> "),
                        // A lifetime: its name follows.
                        '\'' => {
                            if self.after_word {
                                self.text.push(' ');
                            }
                            self.glued("'");
                        }
                        other => {
                            match other {
                                '<' => depth += 1,
                                '>' => depth = depth.saturating_sub(1),
                                _ => {}
                            }
                            self.glued(other.encode_utf8(&mut [0; 4]));
                        }
                    }
                }
            }
        }
    }

    fn group(&mut self, delimiter: Delimiter, inside: TokenStream) {
        let (open, close) = match delimiter {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Brace => ("{", "}"),
            // A group that `macro_rules` inserted: it has no delimiter in the source.
            Delimiter::None => return self.stream(inside),
        };
        // `&'a [u8]`; a parenthesis follows its word closely: `Fn(u8)`.
        if self.after_word && delimiter == Delimiter::Bracket {
            self.text.push(' ');
        }
        self.glued(open);
        self.stream(inside);
        self.glued(close);
    }

    fn word(&mut self, word: &str) {
        if self.after_word {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.after_word = true;
    }

    fn glued(&mut self, text: &str) {
        self.text.push_str(text);
        self.after_word = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::DeriveInput;

    #[track_caller]
    fn shape(declaration: &str) -> String {
        let input: DeriveInput = syn::parse_str(declaration).unwrap();
        Shape::of(&input.data, false).unwrap().text
    }

    #[test]
    fn each_kind_has_its_text() {
        assert_eq!(shape("struct A;"), "unit");
        assert_eq!(shape("struct A(String);"), "newtype(String)");
        assert_eq!(shape("struct A(f64, f64);"), "tuple(f64, f64)");
        assert_eq!(shape("struct A();"), "tuple()");
        assert_eq!(shape("struct A {}"), "struct {}");
        assert_eq!(
            shape("struct A { user: u64, name: String }"),
            "struct { user: u64, name: String }"
        );
        assert_eq!(
            shape("enum A { Idle, Busy(u8), Gone { since: u64 } }"),
            "enum { Idle, Busy(u8), Gone { since: u64 } }"
        );
    }

    #[test]
    fn what_is_skipped_is_no_argument() {
        let kind = |declaration: &str| {
            let input: DeriveInput = syn::parse_str(declaration).unwrap();
            let transparent = crate::serde_attrs::is_transparent(&input.attrs);
            let kind = Shape::of(&input.data, transparent).unwrap().kind;
            kind.into_token_stream().to_string()
        };
        assert_eq!(kind("struct A(u8, #[serde(skip)] u8);"), "Tuple (1usize)");
        assert_eq!(
            kind("struct A(#[serde(default, skip)] u8, u8, u8);"),
            "Tuple (2usize)"
        );
        assert_eq!(
            kind("struct A(u8, #[serde(skip_serializing, skip_deserializing)] u8);"),
            "Tuple (1usize)"
        );
        assert_eq!(
            kind("struct A(u8, #[serde(default = \"skip\")] u8);"),
            "Tuple (2usize)"
        );
        assert_eq!(
            kind("#[serde(transparent)] struct A(u8, #[serde(skip)] u8);"),
            "Newtype"
        );
        assert_eq!(kind("#[serde(transparent)] struct A { a: u8 }"), "Newtype");
        assert_eq!(
            kind("#[serde(rename_all = \"x\")] struct A { transparent: u8 }"),
            "Named"
        );
    }

    #[test]
    fn raw_names_are_bare() {
        assert_eq!(
            shape("struct r#type { r#match: r#type }"),
            "struct { match: type }"
        );
    }

    #[test]
    fn layout_makes_no_difference() {
        let canonical = "struct { m: HashMap<String, Vec<(u8, [i8; 4])>>, n: Option<u8> }";
        assert_eq!(
            shape("struct A { m : HashMap < String , Vec<(u8,[i8;4],)> , > , n:Option<u8,> }"),
            canonical
        );
        assert_eq!(
            shape(
                "/// Words.\nstruct A {\n  /// More.\n  pub(crate) m: HashMap<\n String,\n Vec<(u8, [i8; 4])>,\n>,\n  // note\n  n: Option<u8>,\n}"
            ),
            canonical
        );
    }

    #[test]
    fn tuples_of_one_keep_their_comma() {
        assert_eq!(shape("struct A((u8,), (u8));"), "tuple((u8,), (u8))");
        assert_eq!(
            shape("struct A((Map<u8, u8>,));"),
            "newtype((Map<u8, u8>,))"
        );
        assert_eq!(
            shape("struct A((Map<u8, u8>, u8,));"),
            "newtype((Map<u8, u8>, u8))"
        );
    }

    #[test]
    fn types_read_as_people_write_them() {
        for ty in [
            "std::collections::BTreeMap<String, u8>",
            "<T as Iterator>::Item",
            "Box<dyn Fn(u8, &str) -> Vec<u8> + Send>",
            "&'static [u8; N]",
            "Cow<'static, str>",
            "Option<fn(u8) -> u8>",
            "Buffer<{N}, -1, 'x'>",
            "Stream<Item = u8>",
        ] {
            assert_eq!(shape(&format!("struct A({ty});")), format!("newtype({ty})"));
        }
    }
}
