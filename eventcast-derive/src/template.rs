//! The pattern of a key: text, and parameters that their names replace.

use syn::{Ident, ext::IdentExt};

use crate::{
    ast::Param,
    errors::{did_you_mean, listed},
};

/// The parts of a key, in order. No two texts stand side by side, and none is empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// The parameter with this index among the type and const parameters.
    Param(usize),
}

impl Template {
    /// The key that a type has by itself: its name, and those of its parameters in angle brackets.
    pub(crate) fn of_type(ident: &Ident, params: usize) -> Self {
        let mut template = Self { pieces: Vec::new() };
        template.text(&ident.unraw().to_string());
        for index in 0..params {
            template.text(if index == 0 { "<" } else { ", " });
            template.pieces.push(Piece::Param(index));
        }
        if params > 0 {
            template.text(">");
        }
        template
    }

    /// Reads a name in which `{T}` stands for a parameter, `{{` and `}}` for braces.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write.
    pub(crate) fn parse(name: &str, params: &[Param<'_>]) -> Result<Self, String> {
        let mut template = Self { pieces: Vec::new() };
        let mut rest = name;
        while let Some(at) = rest.find(['{', '}']) {
            template.text(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                template.text(brace);
                rest = after;
            } else if brace == "{" {
                let Some((inside, after)) = rest.split_once('}') else {
                    return Err(
                        "this `{` is not closed: write `{T}` for a parameter, `{{` for a brace"
                            .to_owned(),
                    );
                };
                let index = params
                    .iter()
                    .position(|param| param.ident().unraw() == inside)
                    .ok_or_else(|| no_such_parameter(inside, params))?;
                template.pieces.push(Piece::Param(index));
                rest = after;
            } else {
                return Err("this `}` closes nothing: write `}}` for a brace".to_owned());
            }
        }
        template.text(rest);
        Ok(template)
    }

    /// Whether the key depends on parameters.
    pub(crate) fn is_generic(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Param(_)))
    }

    /// Whether the parameter with this index stands in the key.
    pub(crate) fn uses(&self, index: usize) -> bool {
        self.pieces.contains(&Piece::Param(index))
    }

    /// The texts without the parameters.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Param(_) => None,
        })
    }

    fn text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => self.pieces.push(Piece::Text(more.to_owned())),
        }
    }
}

fn no_such_parameter(inside: &str, params: &[Param<'_>]) -> String {
    let names: Vec<String> = params
        .iter()
        .map(|param| param.ident().unraw().to_string())
        .collect();
    let names = || names.iter().map(String::as_str);
    if params.is_empty() {
        return format!(
            "`{{{inside}}}` would stand for a parameter, and the type has none: \
             write `{{{{` and `}}}}` for braces"
        );
    }
    let suggestion = match did_you_mean(inside.trim(), names()) {
        Some(name) => format!(", did you mean `{{{name}}}`?"),
        None => ":".to_owned(),
    };
    let (noun, verb) = if params.len() == 1 {
        ("parameter", "is")
    } else {
        ("parameters", "are")
    };
    format!(
        "the type has no parameter `{inside}`{suggestion} its {noun} {verb} {}; \
         write `{{{{` and `}}}}` for braces",
        listed(names())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    fn parse(name: &str, params: &[&str]) -> Result<Template, String> {
        let idents: Vec<Ident> = params
            .iter()
            .map(|name| Ident::new(name, Span::call_site()))
            .collect();
        let params: Vec<Param<'_>> = idents.iter().map(Param::Type).collect();
        Template::parse(name, &params)
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn a_type_alone_gives_its_name_and_parameters() {
        let ident = syn::parse_str::<Ident>("r#type").unwrap();
        assert_eq!(Template::of_type(&ident, 0).pieces, [text("type")]);
        assert_eq!(
            Template::of_type(&ident, 2).pieces,
            [
                text("type<"),
                Piece::Param(0),
                text(", "),
                Piece::Param(1),
                text(">")
            ]
        );
    }

    #[test]
    fn parameters_are_found_by_name() {
        let pieces = |name| parse(name, &["T", "K"]).unwrap().pieces;
        assert_eq!(pieces("plain"), [text("plain")]);
        assert_eq!(pieces("{T}"), [Piece::Param(0)]);
        assert_eq!(
            pieces("a/{K}/{T}é{K}"),
            [
                text("a/"),
                Piece::Param(1),
                text("/"),
                Piece::Param(0),
                text("é"),
                Piece::Param(1)
            ]
        );
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn doubled_braces_are_braces() {
        let pieces = |name| parse(name, &["T"]).unwrap().pieces;
        assert_eq!(pieces("{{T}}"), [text("{T}")]);
        assert_eq!(pieces("{{{T}}}"), [text("{"), Piece::Param(0), text("}")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |name| parse(name, &["T"]).unwrap_err();
        assert!(error("a{").contains("not closed"));
        assert!(error("a}").contains("closes nothing"));
        assert!(error("{U}").contains("no parameter `U`"));
        assert!(error("{t}").contains("did you mean `{T}`?"));
        assert!(error("{ T }").contains("did you mean `{T}`?"));
        assert!(error("{}").contains("no parameter ``"));
        assert!(parse("{T}", &[]).unwrap_err().contains("has none"));
    }
}
