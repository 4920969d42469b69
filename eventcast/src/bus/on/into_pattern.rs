//! The conversion of arguments to patterns.

use crate::bus::listeners::pattern::{InvalidPattern, Pattern};

/// What is a pattern, or a text that may be one: a [`Pattern`], a `&str`, a `String`, or a
/// reference to one of these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no pattern",
    note = "a pattern is a `Pattern`, or a text like `\"order.*\"`"
)]
pub trait IntoPattern: AsRef<str> {
    /// The pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    fn into_pattern(self) -> Result<Pattern, InvalidPattern>;
}

impl IntoPattern for Pattern {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        Ok(self)
    }
}

impl IntoPattern for &Pattern {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        Ok(self.clone())
    }
}

impl IntoPattern for &str {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}

impl IntoPattern for String {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}

impl IntoPattern for &String {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}
