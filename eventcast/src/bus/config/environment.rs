//! Reading a [`Config`] from environment variables.

use std::{ffi::OsStr, fmt};

use super::{
    Config, TABLE,
    error::{ConfigError, ConfigLayer},
};
use crate::{names::nearest, text::printable};

/// The prefix of eventcast's variables.
const PREFIX: &str = "EVENTCAST_";

/// Variables of eventcast that are no options of a bus: the filter of the log, and those by which
/// its tests configure their child processes.
const NO_OPTION: &str = "EVENTCAST_LOG";
const NO_OPTION_PREFIX: &str = "EVENTCAST_TEST_";

/// The prefixes of the values of variables that Kubernetes sets for each service: for a service
/// `eventcast`, `EVENTCAST_PORT` is `tcp://10.0.0.1:9000`.
const SERVICE_LINK_VALUES: [&str; 3] = ["tcp://", "udp://", "sctp://"];
const SERVICE_LINK_PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// The advice about them.
pub(super) const SERVICE_LINK: &str = "this looks like a variable that Kubernetes makes for a service called `eventcast`: set `enableServiceLinks: false` \
     in the pod's spec, or give the service another name";

/// The options in the environment, and its unknown variables.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Variables {
    /// The options, with right and wrong values.
    pub(crate) config: Config,
    pub(crate) unknown: Vec<UnknownVariable>,
}

/// An environment variable that looks like one of eventcast's, and is none. It has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct UnknownVariable {
    /// The variable's name.
    pub name: String,
    /// The variable that was probably meant.
    pub suggestion: Option<String>,
    /// It is probably one that Kubernetes makes.
    pub is_service_link: bool,
}

impl UnknownVariable {
    /// One text for each variable, but a single one for all that Kubernetes sets.
    pub(crate) fn describe(unknown: &[Self]) -> Vec<String> {
        let (links, others): (Vec<_>, Vec<_>) = unknown
            .iter()
            .partition(|variable| variable.is_service_link);
        let mut texts: Vec<_> = others.iter().map(ToString::to_string).collect();
        if !links.is_empty() {
            let mut names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            names.sort_unstable();
            let names = names.join(", ");
            let names = printable(&names);
            texts.push(format!("the variables {names} do nothing; {SERVICE_LINK}"));
        }
        texts
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the variable {} is not known, and does nothing",
            printable(&self.name)
        )?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ": did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

impl Variables {
    /// Reads the options out of `variables`, such as [`std::env::vars_os`]. Variables that do
    /// not begin with `EVENTCAST_` are passed over. Whether a wrong value matters is not known
    /// here: another place may have a better one.
    ///
    /// A whole number, a time or a boolean may have blanks around it. A time is a number of
    /// milliseconds, or has a unit (`3s`); a boolean is `true`, `1`, `yes` or `on`, or `false`,
    /// `0`, `no` or `off`. A variable that is set and empty is a wrong value where an empty text
    /// is.
    pub(crate) fn read<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut read = Self::default();
        for (name, value) in variables {
            let name = name.as_ref().to_string_lossy();
            let Some(short) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let value = value.as_ref();
            if let Some(entry) = TABLE.iter().find(|entry| entry.variable == name) {
                let is_right = value
                    .to_str()
                    .is_some_and(|text| (entry.read_variable)(&mut read.config, text));
                if !is_right {
                    let allowed = format!("{}{}", entry.allowed, entry.variable_form);
                    let shown = entry.show(format_args!("{value:?}"));
                    let layer = ConfigLayer::Environment;
                    let mut error = ConfigError::new(entry.name(), layer, shown, allowed);
                    if is_service_link_value(value) {
                        error = error.hint(SERVICE_LINK);
                    }
                    read.config.wrong.push(error);
                }
            } else if name != NO_OPTION && !name.starts_with(NO_OPTION_PREFIX) {
                let is_service_link = is_service_link(short) || is_service_link_value(value);
                read.unknown.push(UnknownVariable {
                    suggestion: suggest(short).filter(|_| !is_service_link),
                    is_service_link,
                    name: name.into_owned(),
                });
            }
        }
        read
    }
}

fn is_service_link_value(value: &OsStr) -> bool {
    let value = value.to_str();
    value.is_some_and(|value| {
        SERVICE_LINK_VALUES
            .iter()
            .any(|scheme| value.starts_with(scheme))
    })
}

/// Whether Kubernetes sets a variable of this name for a service whose name begins with
/// `eventcast`: `…SERVICE_HOST`, `…SERVICE_PORT`, `…SERVICE_PORT_NAME`, `…PORT_9000_TCP`,
/// `…PORT_9000_TCP_ADDR` and so on.
fn is_service_link(short: &str) -> bool {
    let words: Vec<_> = short.split('_').collect();
    words
        .windows(2)
        .any(|pair| pair[0] == "SERVICE" && matches!(pair[1], "HOST" | "PORT"))
        || words.windows(3).any(|three| {
            three[0] == "PORT"
                && three[1].parse::<u16>().is_ok()
                && SERVICE_LINK_PROTOCOLS.contains(&three[2])
        })
}

/// The names are compared without the common prefix, which would make all of them similar.
fn suggest(short: &str) -> Option<String> {
    let known = TABLE.iter().map(|entry| entry.variable).chain([NO_OPTION]);
    let known = known.filter_map(|variable| variable.strip_prefix(PREFIX));
    nearest(short, known).map(|suffix| format!("{PREFIX}{suffix}"))
}
