//! Patterns over event names.

use std::{fmt, str::FromStr};

use crate::event::MAX_KEY_LEN;

/// A pattern over event names.
///
/// | in the pattern | matches |
/// | --- | --- |
/// | `*` | any run of characters but `.`, also none |
/// | `**` | any run of characters, also none |
/// | `?` | one character |
/// | `\` | takes the next character literally |
/// | anything else | itself; case counts |
///
/// A pattern matches a name as a whole: `order.*` matches `order.placed`, and neither `order.item.added` nor
/// `reorder.placed`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    tokens: Box<[Token]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    /// A run without `.`.
    Run,
    /// A run of anything.
    LongRun,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// It has no characters: it would match nothing.
    #[error("a pattern must have at least one character; `**` matches every name")]
    Empty,
    /// It is longer than any name that it could match.
    #[error("a pattern may have at most {MAX_KEY_LEN} bytes, this one has {len}")]
    #[non_exhaustive]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It ends with a `\` that has nothing to take literally.
    #[error("a pattern cannot end with a single `\\`; write `\\\\` for the character itself")]
    OpenEscape,
}

impl Pattern {
    /// Whether it matches all of `name`.
    ///
    /// However pattern and name are made, it takes no more steps than the product of their lengths.
    pub fn matches(&self, name: &str) -> bool {
        // All the places in the pattern to which the part of the name that was read may have led.
        let mut places = vec![false; self.tokens.len() + 1];
        places[0] = true;
        self.pass_runs(&mut places);
        for c in name.chars() {
            let mut next = vec![false; places.len()];
            for (at, token) in self.tokens.iter().enumerate() {
                if !places[at] {
                    continue;
                }
                match token {
                    Token::Char(this) => next[at + 1] |= *this == c,
                    Token::AnyChar => next[at + 1] = true,
                    Token::Run => next[at] |= c != '.',
                    Token::LongRun => next[at] = true,
                }
            }
            self.pass_runs(&mut next);
            places = next;
        }
        places[self.tokens.len()]
    }

    /// A run may be empty: what stands before one stands behind it too.
    fn pass_runs(&self, places: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            if places[at] && matches!(token, Token::Run | Token::LongRun) {
                places[at + 1] = true;
            }
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern that matches every name.
    pub(crate) fn every() -> Self {
        Self {
            text: "**".into(),
            tokens: [Token::LongRun].into(),
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > MAX_KEY_LEN {
            return Err(InvalidPattern::TooLong { len: text.len() });
        }
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => Token::LongRun,
                '*' => Token::Run,
                '?' => Token::AnyChar,
                '\\' => Token::Char(chars.next().ok_or(InvalidPattern::OpenEscape)?),
                c => Token::Char(c),
            });
        }
        Ok(Self {
            text: text.into(),
            tokens: tokens.into(),
        })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(name)
    }

    #[test]
    fn a_run_stops_at_a_dot_and_a_long_one_does_not() {
        for (pattern, name, expected) in [
            ("order.*", "order.placed", true),
            ("order.*", "order.", true),
            ("order.*", "order", false),
            ("order.*", "order.item.added", false),
            ("order.*", "reorder.placed", false),
            ("order.**", "order.item.added", true),
            ("**", "", true),
            ("**", "any.thing at all", true),
            ("*", "one", true),
            ("*", "one.two", false),
            ("*.*", "one.two", true),
            ("*.*", "one.two.three", false),
            ("**.added", "order.item.added", true),
            ("**.added", "added", false),
            ("*b*b*", "abcb", true),
            ("*b*b*", "abc", false),
            ("***", "one.two", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn characters_count_not_bytes_and_case_counts() {
        assert!(matches("gr?n", "grün"));
        assert!(!matches("gr?n", "grn"));
        assert!(matches("a?b", "a.b"));
        assert!(!matches("Tick", "tick"));
    }

    #[test]
    fn a_backslash_takes_the_next_literally() {
        assert!(matches(r"a\*b", "a*b"));
        assert!(!matches(r"a\*b", "axb"));
        assert!(matches(r"a\\b", r"a\b"));
        assert!(matches(r"\a", "a"));
        assert!(matches(r"\?\.", "?."));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error(""), InvalidPattern::Empty);
        assert_eq!(error("a\\"), InvalidPattern::OpenEscape);
        assert_eq!(
            error(&"x".repeat(1_025)),
            InvalidPattern::TooLong { len: 1_025 }
        );
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = "**a".repeat(300);
        assert!(!matches(&pattern, &"a".repeat(299)));
        assert!(matches(&pattern, &"a".repeat(1_024)));
    }

    proptest! {
        #[test]
        fn an_escaped_name_matches_itself_alone(name in ".{1,20}", other in ".{1,20}") {
            let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&escaped, &name));
            prop_assert_eq!(matches(&escaped, &other), name == other);
        }

        #[test]
        fn nothing_panics(pattern in "[a.*?\\\\ü]{0,12}", name in "[a.ü]{0,12}") {
            if let Ok(pattern) = pattern.parse::<Pattern>() {
                pattern.matches(&name);
            }
        }
    }
}
