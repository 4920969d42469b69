//! Reads `#[net_event(..)]`.
//!
//! Each option is read by itself, so that a mistake in one does not hide those in the others.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, LitStr, MacroDelimiter, Meta, MetaList, Path};

use crate::errors::{Errors, did_you_mean, listed};

/// The options of a type, as far as they could be read.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) crate_path: Option<Path>,
    /// An option was given that could not be read, so the crate's path may be unknown.
    pub(crate) crate_path_unreadable: bool,
    pub(crate) best_effort: bool,
}

/// Where options stand in vain.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Field,
    Variant,
}

const NAME: &str = "name";
const CRATE: &str = "crate";
const BEST_EFFORT: &str = "best_effort";
const KNOWN: [&str; 3] = [NAME, CRATE, BEST_EFFORT];

/// Words by which other libraries, or common sense, call an option.
const OTHER_WORDS: [(&str, &str); 8] = [
    ("rename", NAME),
    ("key", NAME),
    ("event", NAME),
    ("topic", NAME),
    ("krate", CRATE),
    ("crate_path", CRATE),
    ("unreliable", BEST_EFFORT),
    ("lossy", BEST_EFFORT),
];

const NAME_FORM: &str = "`name = \"order.placed\"`";
const CRATE_FORM: &str = "`crate = some::path`";

/// The options that stand on the type itself.
pub(crate) fn read_options(attrs: &[Attribute], errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let mut seen = Vec::new();
    for list in lists(attrs, errors) {
        for entry in entries(list, errors) {
            let key = entry.key.to_string();
            if !KNOWN.contains(&key.as_str()) {
                errors.at(&entry.key, unknown(&key));
                continue;
            }
            if seen.contains(&key) {
                errors.at(
                    &entry.key,
                    format_args!("`{key}` is given twice, remove one of them"),
                );
                continue;
            }
            match key.as_str() {
                NAME => options.name = entry.name(errors),
                BEST_EFFORT => options.best_effort = entry.flag(errors),
                _ => {
                    options.crate_path = entry.crate_path(errors);
                    options.crate_path_unreadable = options.crate_path.is_none();
                }
            }
            seen.push(key);
        }
    }
    options
}

/// Says where options belong that were written inside of the type.
pub(crate) fn refuse_options(attrs: &[Attribute], place: Place, errors: &mut Errors) {
    let place = match place {
        Place::Field => "a field",
        Place::Variant => "a variant",
    };
    for attr in ours(attrs) {
        let entries = match &attr.meta {
            Meta::List(list) if is_parenthesised(list) => entries(list, errors),
            _ => Vec::new(),
        };
        if entries.is_empty() {
            errors.at(
                attr,
                format_args!(
                    "`net_event` has no options for {place}: remove it, or write it above the type"
                ),
            );
        }
        for entry in entries {
            let key = entry.key.to_string();
            if KNOWN.contains(&key.as_str()) {
                errors.at(
                    &entry.key,
                    format_args!(
                        "`{key}` is an option of the type, not of {place}: write it above the type"
                    ),
                );
            } else {
                errors.at(
                    &entry.key,
                    format_args!("unknown option `{key}`: `net_event` has no options for {place}"),
                );
            }
        }
    }
}

fn unknown(key: &str) -> String {
    let meant = OTHER_WORDS
        .iter()
        .find(|(word, _)| *word == key)
        .map(|&(_, known)| known)
        .or_else(|| did_you_mean(key, KNOWN));
    let suggestion = meant.map_or_else(String::new, |known| format!(", did you mean `{known}`?"));
    let end = if suggestion.is_empty() { ":" } else { "" };
    format!(
        "unknown option `{key}`{suggestion}{end} the options of `net_event` are {}",
        listed(KNOWN)
    )
}

fn ours(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("net_event"))
}

fn is_parenthesised(list: &MetaList) -> bool {
    matches!(list.delimiter, MacroDelimiter::Paren(_))
}

/// The attributes of the right form; the others are reported.
fn lists<'a>(attrs: &'a [Attribute], errors: &mut Errors) -> Vec<&'a MetaList> {
    let mut lists = Vec::new();
    for attr in ours(attrs) {
        match &attr.meta {
            Meta::List(list) if !is_parenthesised(list) => errors.at(
                list,
                format_args!(
                    "the options stand in parentheses: `#[net_event({})]`",
                    list.tokens
                ),
            ),
            Meta::List(list) if list.tokens.is_empty() => {
                errors.at(attr, nothing("`#[net_event()]`"));
            }
            Meta::List(list) => lists.push(list),
            Meta::Path(_) => errors.at(attr, nothing("`#[net_event]`")),
            Meta::NameValue(pair) => errors.at(
                &attr.meta,
                format_args!(
                    "the options stand in parentheses: `#[net_event(name = {})]`",
                    // Only a string could have been meant as the name.
                    match syn::parse2::<LitStr>(pair.value.to_token_stream()) {
                        Ok(name) => name.token().to_string(),
                        Err(_) => "\"order.placed\"".to_owned(),
                    }
                ),
            ),
        }
    }
    lists
}

fn nothing(form: &str) -> String {
    format!(
        "{form} without options says nothing: remove it, or write `#[net_event(name = \"order.placed\")]`"
    )
}

/// One option of a list: `key`, and what stands behind it up to the comma.
struct Entry {
    key: Ident,
    rest: TokenStream,
}

/// The options of a list; whatever is no option is reported.
fn entries(list: &MetaList, errors: &mut Errors) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut tokens = list.tokens.clone().into_iter().peekable();
    while let Some(first) = tokens.next() {
        let key = match first {
            TokenTree::Ident(key) => Some(key),
            TokenTree::Punct(comma) if comma.as_char() == ',' => {
                errors.at(comma, "an option is missing before this comma");
                continue;
            }
            TokenTree::Literal(literal) => {
                errors.at(
                    &literal,
                    format_args!("options have names: `name = {literal}`"),
                );
                None
            }
            other => {
                errors.at(
                    other,
                    format_args!(
                        "expected an option, the options of `net_event` are {}",
                        listed(KNOWN)
                    ),
                );
                None
            }
        };
        let mut rest = TokenStream::new();
        while let Some(token) = tokens.next_if(|token| !is_punct(token, ',')) {
            rest.extend([token]);
        }
        // The comma, if this was not the last one.
        tokens.next();
        if let Some(key) = key {
            entries.push(Entry { key, rest });
        }
    }
    entries
}

impl Entry {
    fn name(&self, errors: &mut Errors) -> Option<LitStr> {
        let value = self.value(NAME_FORM, errors)?;
        match syn::parse2::<LitStr>(value.clone()) {
            Ok(name) if name.suffix().is_empty() => Some(name),
            _ => {
                errors.at(
                    value,
                    format_args!("the name is a string literal: {NAME_FORM}"),
                );
                None
            }
        }
    }

    /// An option that has no value: it is there.
    fn flag(&self, errors: &mut Errors) -> bool {
        if !self.rest.is_empty() {
            errors.at(
                &self.rest,
                format_args!(
                    "`{key}` has no value: write `{key}`, or leave it out",
                    key = self.key
                ),
            );
        }
        true
    }

    fn crate_path(&self, errors: &mut Errors) -> Option<Path> {
        use syn::parse::Parser;

        let value = self.value(CRATE_FORM, errors)?;
        let path = match syn::parse2::<LitStr>(value.clone()) {
            Ok(text) => text.parse_with(Path::parse_mod_style),
            Err(_) => Path::parse_mod_style.parse2(value.clone()),
        };
        if path.is_err() {
            errors.at(
                value,
                format_args!("the path of the crate is a path or a string: {CRATE_FORM}"),
            );
        }
        path.ok()
    }

    /// What stands behind the `=`.
    fn value(&self, form: &str, errors: &mut Errors) -> Option<TokenStream> {
        let mut rest = self.rest.clone().into_iter();
        match rest.next() {
            Some(equals) if is_punct(&equals, '=') => {
                let value: TokenStream = rest.collect();
                if value.is_empty() {
                    errors.at_span(
                        equals.span(),
                        format_args!("the value is missing, write {form}"),
                    );
                    return None;
                }
                return Some(value);
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                errors.at(
                    group,
                    format_args!("the value of `{}` stands behind `=`: {form}", self.key),
                );
            }
            Some(_) => errors.at(
                &self.rest,
                format_args!("expected `=` and the value of `{}`: {form}", self.key),
            ),
            None => errors.at_span(
                self.key.span(),
                format_args!("`{}` needs a value, write {form}", self.key),
            ),
        }
        None
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}
