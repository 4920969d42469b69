//! The builder of a bus: collects options, and hands them on.
//!
//! The setters, one for each option, stand in the table of [`config`](super::config).

use std::ffi::OsStr;

use super::config::{Config, ConfigError, UnknownVariable};
use super::options::{Layers, Options};

/// Collects the options of a bus.
///
/// For each option there is a setter, an environment variable, and a key of [`Config`]. A setter
/// beats the variable, and that beats the key. Setting one again replaces what was set. Wrong
/// values are errors when the bus is built, wherever they were given.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until a bus is built from it"]
pub struct Builder {
    pub(super) config: Config,
    file: Config,
    environment: bool,
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            file: Config::default(),
            environment: true,
            runtime: None,
        }
    }

    /// Options from a configuration file, or from wherever else serde reads. Setters and
    /// environment variables beat them, also setters that were called before. A second
    /// configuration replaces the first; to merge two, see [`Config::or`].
    pub fn config(mut self, config: Config) -> Self {
        self.file = config;
        self
    }

    /// Whether environment variables (`EVENTCAST_PORT`, …) are read when the bus is built.
    ///
    /// Default: true, so that whoever runs a program can change its options without building it
    /// anew. False makes a bus that is the same everywhere.
    pub fn environment(mut self, environment: bool) -> Self {
        self.environment = environment;
        self
    }

    /// The options of the bus, and the variables to warn about. `variables` are those of the
    /// process, and looked at only if this builder may; `random` is asked at most once.
    ///
    /// # Errors
    ///
    /// The first wrong value.
    pub(super) fn options<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        variables: impl IntoIterator<Item = (N, V)>,
        random: impl FnOnce() -> u64,
    ) -> Result<(Options, Vec<UnknownVariable>), ConfigError> {
        let (environment, unknown) = if self.environment {
            Config::from_variables(variables)?
        } else {
            (Config::default(), Vec::new())
        };
        let layers = Layers {
            builder: self.config.clone(),
            environment,
            file: self.file.clone(),
        };
        Ok((layers.resolve(random)?, unknown))
    }
}
