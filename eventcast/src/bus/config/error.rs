//! The error about a wrong value.

use std::fmt;

use super::variable;

/// A wrong value of an option: which option, where it was given, the value, and what is allowed.
///
/// Nothing was opened or started. Its text holds all of it:
///
/// ```text
/// option `multicast_membership` (set on the builder) is "10.0.0.1", but must be an IPv4
/// multicast address (224.0.0.0 to 239.255.255.255)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    option: &'static str,
    /// The name of the option or of the variable, as it was written.
    written: &'static str,
    layer: ConfigLayer,
    value: String,
    allowed: String,
    /// A hint, as a sentence of its own.
    hint: Option<&'static str>,
    /// For a missing option: the option that requires it.
    needed_by: Option<&'static str>,
}

/// Where the value of an option was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigLayer {
    /// By a setter of the builder.
    Builder,
    /// By an environment variable.
    Environment,
    /// In a [`Config`](super::Config), which mostly comes from a file.
    File,
}

impl ConfigLayer {
    /// The name of the layer in a sentence.
    pub(in crate::bus) fn describe(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Environment => "environment",
            Self::File => "configuration",
        }
    }
}

impl ConfigLayer {
    /// The layer of an option, as a part of a sentence.
    fn said(self, option: &'static str) -> String {
        match self {
            Self::Builder => "set on the builder".to_owned(),
            Self::Environment => format!("from the variable {}", variable(option)),
            Self::File => "from the configuration".to_owned(),
        }
    }
}

impl ConfigError {
    pub(in crate::bus) fn new(
        option: &'static str,
        layer: ConfigLayer,
        value: String,
        allowed: String,
    ) -> Self {
        let written = match layer {
            ConfigLayer::Environment => variable(option),
            _ => option,
        };
        Self {
            option,
            written,
            layer,
            value,
            allowed,
            hint: None,
            needed_by: None,
        }
    }

    /// The error for a missing option that another option, whose value came from `layer`, requires.
    pub(in crate::bus) fn missing(
        option: &'static str,
        (needed_by, layer): (&'static str, ConfigLayer),
        value: &str,
        reason: &str,
    ) -> Self {
        let allowed = format!(
            "given where `{needed_by}` ({}) is {value}: {reason}",
            layer.said(needed_by)
        );
        Self {
            needed_by: Some(needed_by),
            ..Self::new(option, layer, "none".to_owned(), allowed)
        }
    }

    /// Adds a sentence about the probable origin of the value.
    pub(super) fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    /// Sets the spelling of the option in the file.
    pub(super) fn written(self, written: &'static str) -> Self {
        Self { written, ..self }
    }

    /// Whether Kubernetes has probably set the value.
    pub(in crate::bus) fn is_service_link(&self) -> bool {
        self.hint.is_some()
    }

    /// The option's name, in snake case.
    pub fn option(&self) -> &str {
        self.option
    }

    /// Where its value was given; of an option that is missing, where the one was that makes it
    /// necessary.
    pub fn layer(&self) -> ConfigLayer {
        self.layer
    }

    /// The value; a text in quotes.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is allowed, and how it is written.
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.needed_by.is_some() {
            let (option, allowed) = (self.option, &self.allowed);
            return write!(f, "option `{option}` is not given, but must be {allowed}");
        }
        let written = self.written;
        match self.layer {
            ConfigLayer::Builder => write!(f, "option `{written}` (set on the builder)"),
            ConfigLayer::Environment => {
                let option = self.option;
                write!(f, "option `{option}` (from the variable {written})")
            }
            ConfigLayer::File => write!(f, "option `{written}` (from the configuration)"),
        }?;
        write!(f, " is {}, but must be {}", self.value, self.allowed)?;
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}
