//! Collects the mistakes of a type, so that one build reports all of them.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    all: Option<syn::Error>,
}

impl Errors {
    /// A mistake that underlines all of `tokens`; where there are none, the derive.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// A mistake at one token.
    pub(crate) fn at_span(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// `None`: there were no mistakes.
    pub(crate) fn into_compile_errors(self) -> Option<TokenStream> {
        Some(self.all?.into_compile_error())
    }

    fn push(&mut self, error: syn::Error) {
        match &mut self.all {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }
}

/// Below this likeness (1 is equality) a suggestion would puzzle more than it helps.
const LIKENESS: f64 = 0.75;

/// What was probably meant by `word`.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                candidate,
                strsim::jaro_winkler(&word, &candidate.to_lowercase()),
            )
        })
        .filter(|&(_, likeness)| likeness >= LIKENESS)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(candidate, _)| candidate)
}

/// The words in backquotes, as a list for a sentence: `` `a` ``, `` `a` and `b` ``.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        assert_eq!(did_you_mean("nmae", ["name", "crate"]), Some("name"));
        assert_eq!(did_you_mean("crat", ["name", "crate"]), Some("crate"));
        assert_eq!(did_you_mean("t", ["T", "U"]), Some("T"));
        assert_eq!(did_you_mean("qos", ["name", "crate"]), None);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(listed(["a"]), "`a`");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
