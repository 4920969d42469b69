//! Reading a [`Config`] from environment variables.

use std::ffi::OsStr;
use std::fmt;

use super::error::{ConfigError, ConfigLayer};
use super::{Config, TABLE};
use crate::names::nearest;

/// What the variables of eventcast begin with.
const PREFIX: &str = "EVENTCAST_";

/// Variables that are no options of a bus, and still eventcast's: what is logged, and what its
/// own tests say to the processes that they start.
const NO_OPTION: &str = "EVENTCAST_LOG";
const NO_OPTION_PREFIX: &str = "EVENTCAST_TEST_";

/// An environment variable that looks like one of eventcast's, and is none. It has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct UnknownVariable {
    /// The variable's name.
    pub name: String,
    /// The variable that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the variable {} is not known, and does nothing",
            self.name
        )?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ": did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Reads the options out of `variables`, such as [`std::env::vars_os`]. Variables that do
    /// not begin with `EVENTCAST_` are passed over; unknown ones that do are returned. The first
    /// wrong value is the error.
    ///
    /// A whole number, a time or a boolean may have blanks around it. A time is a number of
    /// milliseconds, or has a unit (`3s`); a boolean is `true`, `1`, `yes` or `on`, or `false`,
    /// `0`, `no` or `off`. A variable that is set and empty is a wrong value where an empty text
    /// is.
    pub(in crate::bus) fn from_variables<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, Vec<UnknownVariable>), ConfigError> {
        let mut config = Self::default();
        let mut unknown = Vec::new();
        for (name, value) in variables {
            let name = name.as_ref().to_string_lossy();
            if !name.starts_with(PREFIX) {
                continue;
            }
            if let Some(entry) = TABLE.iter().find(|entry| entry.variable == name) {
                let value = value.as_ref();
                let is_right = value
                    .to_str()
                    .is_some_and(|text| (entry.read_variable)(&mut config, text));
                if !is_right {
                    let allowed = format!("{}{}", entry.allowed, entry.variable_form);
                    let shown = entry.show(format_args!("{value:?}"));
                    return Err(ConfigError::new(
                        entry.name(),
                        ConfigLayer::Environment,
                        shown,
                        allowed,
                    ));
                }
            } else if name != NO_OPTION && !name.starts_with(NO_OPTION_PREFIX) {
                unknown.push(UnknownVariable {
                    suggestion: suggest(&name),
                    name: name.into_owned(),
                });
            }
        }
        Ok((config, unknown))
    }
}

/// What all have in common does not make two names any more alike.
fn suggest(name: &str) -> Option<String> {
    let known = TABLE.iter().map(|entry| entry.variable).chain([NO_OPTION]);
    let known = known.filter_map(|variable| variable.strip_prefix(PREFIX));
    nearest(name.strip_prefix(PREFIX)?, known).map(|suffix| format!("{PREFIX}{suffix}"))
}
