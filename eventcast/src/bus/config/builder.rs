//! The builder of a bus, which collects options.
//!
//! The table of [`config`](crate::bus::config) generates its setters, one for each option.

use std::ffi::OsStr;

use super::{
    Config, ConfigError, ConfigLayer, SECRET, Variables,
    options::{Layers, Options},
    secret::Secret,
};

/// Collects the options of a bus.
///
/// For each option there is a setter, an environment variable, and a key of [`Config`]. A setter
/// beats the variable, and that beats the key. Setting one again replaces what was set. A wrong
/// value is an error when the bus is built, if it counts; one that a better place overrides is a
/// warning.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until a bus is built from it"]
pub struct Builder {
    pub(crate) config: Config,
    file: Config,
    environment: bool,
    pub(crate) runtime: Option<tokio::runtime::Handle>,
    pub(crate) receive: Vec<Secret>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            file: Config::default(),
            environment: true,
            runtime: None,
            receive: Vec::new(),
        }
    }

    /// Options from a configuration file, or from wherever else serde reads. Setters and
    /// environment variables beat them, also setters that were called before. A second
    /// configuration replaces the first; to merge two, see [`Config::or`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config: eventcast::Config = serde_json::from_str(r#"{ "port": 9000, "messageTtl": "5s" }"#)?;
    /// let bus = eventcast::Bus::builder().config(config).build()?;
    /// assert_eq!(bus.port(), 9000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.file = config;
        self
    }

    /// Whether environment variables (`EVENTCAST_PORT`, …) are read when the bus is built.
    ///
    /// Default: true, so that a program's options can be changed without building it anew. False
    /// makes a bus that is the same everywhere.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().environment(false).port(9000).build()?;
    /// assert_eq!(bus.port(), 9000); // whatever EVENTCAST_PORT says
    /// # Ok(())
    /// # }
    /// ```
    pub fn environment(mut self, environment: bool) -> Self {
        self.environment = environment;
        self
    }

    /// A passphrase or key with which this bus opens what others have sealed, beside its own. It
    /// may be called several times: each call adds one.
    ///
    /// Default: none. [`Bus::set_keys`](crate::Bus::set_keys) says how a running group changes its
    /// passphrase.
    ///
    /// ```
    /// use eventcast::{Bus, Secret};
    ///
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = Bus::builder()
    ///     .passphrase(Secret::ready_key([1; 32])) // of random bytes, in a program
    ///     .receive_with(Secret::ready_key([2; 32]))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_with(mut self, secret: impl Into<Secret>) -> Self {
        self.receive.push(secret.into());
        self
    }

    /// The options of each layer. `variables` are those of the process, and are read only if this
    /// builder may read them.
    pub(crate) fn layers<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Layers {
        let environment = if self.environment {
            Variables::read(variables)
        } else {
            Variables::default()
        };
        Layers {
            builder: self.config.clone(),
            environment,
            file: self.file.clone(),
        }
    }

    /// The options of the bus, and the warnings. `random` is called at most once.
    ///
    /// # Errors
    ///
    /// The first wrong value that takes effect.
    pub(crate) fn options(
        &self,
        layers: &Layers,
        random: impl FnOnce() -> u64,
    ) -> Result<(Options, Vec<String>), ConfigError> {
        let (options, warnings) = layers.resolve(random)?;
        self.check_receive(&options)?;
        Ok((options, warnings))
    }

    /// Checks that the secrets to receive with are usable, and that the bus is sealed.
    fn check_receive(&self, options: &Options) -> Result<(), ConfigError> {
        let error = |allowed: &str| {
            let (layer, shown) = (ConfigLayer::Builder, "given".to_owned());
            ConfigError::new("receive_with", layer, shown, allowed.to_owned())
        };
        if !self.receive.iter().all(Secret::is_usable) {
            return Err(error(SECRET));
        }
        let is_sealed = options.passphrase.is_some() && !options.classic_cipher;
        if !self.receive.is_empty() && !is_sealed {
            return Err(error(
                "left out on a bus that does not seal: give `passphrase` as well",
            ));
        }
        Ok(())
    }
}
