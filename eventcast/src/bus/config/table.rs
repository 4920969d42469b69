//! The macro that generates everything from the table of options, and the entries for the readers
//! of files and variables.
//!
//! An entry of the table:
//!
//! ```text
//! /// Documentation of the field and of the setter.
//! name | "otherSpelling" in "EVENTCAST_NAME" {
//!     given: type that the setter takes; converted by Into,
//!     value: type that Config holds; a Value,
//!     option: type that Options holds = default,
//!     allowed: "range, to follow `must be`",
//!     check: |value| Some(option), or None when the value is out of range,
//!     example: what the example of the setter gives,
//! }
//! ```

use std::fmt;

use super::{
    Config,
    value::{HIDDEN, Raw},
};

/// An option for the readers of files and variables.
pub(super) struct Entry {
    /// The spellings in files, snake case first.
    pub(super) names: &'static [&'static str],
    /// The environment variable.
    pub(super) variable: &'static str,
    /// The range, to follow "must be".
    pub(super) allowed: &'static str,
    /// The notation in a file, to follow the range.
    pub(super) file_form: &'static str,
    /// The notation in a variable, to follow the range.
    pub(super) variable_form: &'static str,
    /// The value is never shown.
    pub(super) is_secret: bool,
    /// Sets the field from a file's value. False: the value is wrong, and the field is unchanged.
    pub(super) read_file: fn(&mut Config, &Raw) -> bool,
    /// Sets the field from a variable's value. False: the value is wrong, and the field is
    /// unchanged.
    pub(super) read_variable: fn(&mut Config, &str) -> bool,
}

impl Entry {
    /// The option's name.
    pub(super) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// A wrong value in the form that an error shows.
    pub(super) fn show(&self, value: impl fmt::Display) -> String {
        if self.is_secret {
            HIDDEN.to_owned()
        } else {
            value.to_string()
        }
    }
}

/// An option in the form that the console shows.
#[cfg(feature = "repl")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The option's name.
    pub(crate) name: &'static str,
    /// The value, or the text that it is not shown.
    pub(crate) value: String,
    /// The layer that sets it. `None`: it has its default, or follows from another option.
    pub(crate) given: Option<&'static str>,
}

/// Sets the field to a value that was read, if the option's check accepts it.
pub(super) fn put<V, P>(
    field: &mut Option<V>,
    read: Option<V>,
    check: fn(&V) -> Option<P>,
) -> bool {
    match read.filter(|value| check(value).is_some()) {
        Some(value) => {
            *field = Some(value);
            true
        }
        None => false,
    }
}

macro_rules! options {
    ($(
        $(#[$doc:meta])*
        $name:ident $(| $other:literal)? in $variable:literal {
            given: $given:ty,
            value: $value:ty,
            option: $option:ty = $default:expr,
            allowed: $allowed:expr,
            check: $check:expr,
            example: $example:expr,
        }
    )*) => {
        /// The options of a bus, each given or not.
        ///
        /// This is what a configuration file is read into, by any self-describing format of
        /// serde (JSON, TOML, YAML, …): make it a field of your own configuration, and hand it to
        /// [`Builder::config`]. Names are in snake case or in camel case (`multicast_ttl`,
        /// `multicastTtl`), one of them once. A time is a number of milliseconds, or a text with a
        /// unit (`"3s"`, `"250ms"`). `null` is as good as not given.
        ///
        /// An unknown key is an error while it is read, and so is one that stands twice. A wrong
        /// value is an error of [`Builder::build`], and only if it counts: where a variable, a
        /// setter or the program itself gives another value it is a warning. That error names the
        /// key as it is written and the value, but no line, which serde does not hand on.
        ///
        /// ```
        /// #[derive(serde::Deserialize)]
        /// struct Settings {
        ///     colour: String,
        ///     eventcast: eventcast::Config,
        /// }
        ///
        /// let text = r#"{ "colour": "red", "eventcast": { "port": 9000 } }"#;
        /// let settings: Settings = serde_json::from_str(text).unwrap();
        /// assert_eq!(settings.eventcast.port, Some(9000));
        ///
        /// let mistyped = r#"{ "colour": "red", "eventcast": { "prot": 9000 } }"#;
        /// let error = serde_json::from_str::<Settings>(mistyped).err().unwrap();
        /// assert!(error.to_string().contains("did you mean `port`?"));
        ///
        /// let wrong = r#"{ "colour": "red", "eventcast": { "port": 90000 } }"#;
        /// let settings: Settings = serde_json::from_str(wrong).unwrap();
        /// let builder = eventcast::Bus::builder().config(settings.eventcast);
        /// let error = builder.clone().build().err().unwrap();
        /// assert!(error.to_string().contains("option `port` (from the configuration) is 90000"));
        /// assert!(builder.port(9000).build().is_ok());
        /// ```
        ///
        /// It can be flattened into your own as well, so that its keys stand beside yours. But then
        /// serde hands it only the keys that it knows and passes over all others, so that a
        /// mistyped one is lost in silence; and no error says the line.
        ///
        /// ```
        /// #[derive(serde::Deserialize)]
        /// struct Settings {
        ///     colour: String,
        ///     #[serde(flatten)]
        ///     eventcast: eventcast::Config,
        /// }
        ///
        /// let text = r#"{ "colour": "red", "port": 9000 }"#;
        /// let settings: Settings = serde_json::from_str(text).unwrap();
        /// assert_eq!(settings.eventcast.port, Some(9000));
        ///
        /// // No error.
        /// let mistyped = r#"{ "colour": "red", "prot": 9000 }"#;
        /// let settings: Settings = serde_json::from_str(mistyped).unwrap();
        /// assert_eq!(settings.eventcast.port, None);
        /// ```
        ///
        /// What the [`Builder`]'s setters say beats what environment variables say, and that
        /// beats what this says. What nobody says has the default that stands at the option.
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Config {
            $(
                $(#[$doc])*
                #[doc = concat!(
                    "\n\nIn files `", stringify!($name), $("` or `", $other,)?
                    "`, in the environment `", $variable, "`."
                )]
                pub $name: Option<$value>,
            )*
            /// Options that were read with a wrong value. One whose field is given all the same has
            /// got a value since.
            pub(in crate::bus) wrong: Vec<ConfigError>,
        }

        impl Config {
            /// These options, and those of `lower` where these say nothing. A wrong value of these
            /// says something too.
            #[must_use]
            pub fn or(self, mut lower: Self) -> Self {
                for error in &self.wrong {
                    lower.clear(error.option());
                }
                let mut wrong = self.wrong;
                wrong.append(&mut lower.wrong);
                Self { $($name: self.$name.or(lower.$name),)* wrong }
            }
        }

        impl Builder {
            $(
                $(#[$doc])*
                #[doc = concat!(
                    "\n\nBeats the environment's `", $variable, "`, and `",
                    stringify!($name), "` of [`Builder::config`]. A wrong value is an error of [`build`](Self::build).\n\n",
                    "```\n# use std::time::Duration;\nlet builder = eventcast::Bus::builder().",
                    stringify!($name), "(", stringify!($example), ");\n```"
                )]
                pub fn $name(mut self, $name: $given) -> Self {
                    self.config.$name = Some($name.into());
                    self
                }
            )*
        }

        /// The options of a bus, each with its value: given or default, and in range.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct Options {
            $(pub(crate) $name: $option,)*
        }

        impl Config {
            /// The errors of the single values. All values are of `layer`.
            pub(in crate::bus) fn all_wrong(&self, layer: ConfigLayer) -> Vec<ConfigError> {
                let (_, mut wrong) = self.replaced();
                $(
                    let check: fn(&$value) -> Option<$option> = $check;
                    if let Some(value) = &self.$name && check(value).is_none() {
                        let (name, shown) = (stringify!($name), value.show());
                        wrong.push(ConfigError::new(name, layer, shown, $allowed.to_owned()));
                    }
                )*
                wrong
            }

            /// Whether an option has a value, in range or not.
            pub(in crate::bus) fn has(&self, option: &str) -> bool {
                match option {
                    $(stringify!($name) => self.$name.is_some(),)*
                    _ => false,
                }
            }

            /// Removes the value of an option.
            pub(in crate::bus) fn clear(&mut self, option: &str) {
                match option {
                    $(stringify!($name) => self.$name = None,)*
                    _ => {}
                }
            }
        }

        impl Options {
            /// Checks each single value, and fills in the defaults. All values of `config` are of
            /// `layer`.
            pub(in crate::bus) fn fill(config: &Config, layer: ConfigLayer) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($name: match &config.$name {
                        None => $default,
                        Some(value) => {
                            let check: fn(&$value) -> Option<$option> = $check;
                            check(value).ok_or_else(|| ConfigError::new(
                                stringify!($name), layer, value.show(), $allowed.to_owned(),
                            ))?
                        }
                    },)*
                })
            }
        }

        impl Options {
            /// Every option with its value, as a configuration that has the same effect.
            pub(in crate::bus) fn in_force(&self) -> Config {
                let config = Config {
                    $($name: InForce::<$value>::in_force(&self.$name),)*
                    wrong: Vec::new(),
                };
                // One layer may set only one of the two.
                Config {
                    passphrase_file: config.passphrase_file.filter(|_| config.passphrase.is_none()),
                    ..config
                }
            }
        }

        #[cfg(feature = "repl")]
        impl Options {
            /// Every option in the form that the console shows. `layers` are in the order of
            /// precedence, the highest first.
            pub(in crate::bus) fn settings(&self, layers: [(&Config, ConfigLayer); 3]) -> Vec<Setting> {
                let given = |is_given: fn(&Config) -> bool| {
                    layers.iter().find(|(config, _)| is_given(config)).map(|&(_, layer)| layer)
                };
                vec![$(
                    Setting {
                        name: stringify!($name),
                        value: self.$name.show(),
                        given: given(|config| config.$name.is_some()).map(|layer| match layer {
                            ConfigLayer::Builder => "builder",
                            ConfigLayer::Environment => $variable,
                            ConfigLayer::File => "configuration",
                        }),
                    },
                )*]
            }
        }

        /// Every spelling of every option.
        static SPELLINGS: &[&str] = &[$(stringify!($name), $($other,)?)*];

        static TABLE: &[Entry] = &[$(
            Entry {
                names: &[stringify!($name), $($other)?],
                variable: $variable,
                allowed: $allowed,
                file_form: <$value as Value>::IN_FILES,
                variable_form: <$value as Value>::IN_VARIABLES,
                is_secret: <$value as Value>::IS_SECRET,
                read_file: |config, raw| put(&mut config.$name, Value::from_file(raw), $check),
                read_variable: |config, text| put(&mut config.$name, Value::from_variable(text), $check),
            },
        )*];
    };
}
pub(super) use options;
