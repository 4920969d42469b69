//! The types of option values, and their notations in files and in variables.
//!
//! A file is strict: a number is a number and a text is a text. A variable is always text, so it is
//! parsed as the option's type; blanks around it are ignored unless the option is a text.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use zeroize::Zeroize;

use super::{GroupAddress, secret::Secret};
use crate::text::printable;

/// Replaces a value that is never shown.
pub(super) const HIDDEN: &str = "a value that is not shown";

/// The key of the table that represents a date of a TOML file.
const TOML_DATE: &str = "$__toml_private_datetime";

/// An untyped value of a configuration file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// A value that no option takes.
    Other(&'static str),
    List,
    Registry(Vec<(String, Self)>),
}

impl Raw {
    /// Wipes the memory of a value that was read as a secret.
    pub(super) fn wipe(&mut self) {
        match self {
            Self::Text(text) => text.zeroize(),
            Self::Registry(entries) => entries.iter_mut().for_each(|(_, value)| value.wipe()),
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => {}
            Self::Other(_) | Self::List => {}
        }
    }
}

/// The form that an error shows.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Other(kind) => f.write_str(kind),
            Self::List => f.write_str("a list"),
            Self::Registry(entries) => {
                if let [(key, Self::Text(date))] = &entries[..]
                    && key == TOML_DATE
                {
                    return printable(date).fmt(f);
                }
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma} {}: {value}", printable(key))?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// An option's value in the form of [`Config`](super::Config).
pub(super) trait InForce<V> {
    /// `None`: the option has no value.
    fn in_force(&self) -> Option<V>;
}

impl<V: Clone> InForce<V> for V {
    fn in_force(&self) -> Option<V> {
        Some(self.clone())
    }
}

impl<V: Clone> InForce<V> for Option<V> {
    fn in_force(&self) -> Self {
        self.clone()
    }
}

impl InForce<String> for IpAddr {
    fn in_force(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl InForce<String> for Option<IpAddr> {
    fn in_force(&self) -> Option<String> {
        self.map(|address| address.to_string())
    }
}

impl InForce<String> for GroupAddress {
    fn in_force(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The form that an error or the console shows.
pub(super) trait Show {
    fn show(&self) -> String;
}

/// A type of option values.
pub(super) trait Value: Show + Sized {
    /// The notation in a file; follows the range in an error.
    const IN_FILES: &'static str = "";
    /// The notation in a variable; follows the range in an error.
    const IN_VARIABLES: &'static str = "";
    /// The value is never shown.
    const IS_SECRET: bool = false;

    fn from_file(raw: &Raw) -> Option<Self>;
    fn from_variable(text: &str) -> Option<Self>;
}

/// An option without a default.
impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }
}

impl Show for IpAddr {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for GroupAddress {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn from_file(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Show for String {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for Secret {
    const IN_FILES: &'static str = ": a text, or a table with a text `key`";
    const IS_SECRET: bool = true;

    fn from_file(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Some(text.as_str().into()),
            Raw::Registry(entries) => match &entries[..] {
                [(key, Raw::Text(text))] if key == "key" => Some(text.as_str().into()),
                _ => None,
            },
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

impl Show for Secret {
    fn show(&self) -> String {
        if self.bytes().is_empty() {
            "empty".to_owned()
        } else {
            HIDDEN.to_owned()
        }
    }
}

impl Value for PathBuf {
    fn from_file(raw: &Raw) -> Option<Self> {
        String::from_file(raw).map(Self::from)
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}

impl Value for Vec<u8> {
    fn from_file(raw: &Raw) -> Option<Self> {
        String::from_file(raw).map(String::into_bytes)
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.as_bytes().to_vec())
    }
}

impl Show for Vec<u8> {
    fn show(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(self))
    }
}

impl Value for bool {
    const IN_VARIABLES: &'static str = " (or 1 or 0, yes or no, on or off)";

    fn from_file(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn from_file(raw: &Raw) -> Option<Self> {
                match raw {
                    Raw::Integer(value) => Self::try_from(*value).ok(),
                    _ => None,
                }
            }

            fn from_variable(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }

        impl Show for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u8 u16 u32 usize);

impl Value for Duration {
    const IN_FILES: &'static str = ": a number of milliseconds, or a text with a unit as in \"3s\"";
    const IN_VARIABLES: &'static str = ": a number of milliseconds, or with a unit as in 3s";

    fn from_file(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Integer(millis) => u64::try_from(*millis).ok().map(Self::from_millis),
            Raw::Float(millis) => from_fractional_millis(*millis),
            Raw::Text(text) => humantime::parse_duration(text).ok(),
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(millis) = text.parse() {
            return Some(Self::from_millis(millis));
        }
        match text.parse() {
            Ok(millis) => from_fractional_millis(millis),
            Err(_) => humantime::parse_duration(text).ok(),
        }
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

fn from_fractional_millis(millis: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(millis / 1000.0).ok()
}

/// How much may wait for one slow listener: the option `listener_queue`.
///
/// ```
/// use eventcast::ListenerQueue;
///
/// let short = ListenerQueue { events: 100, ..ListenerQueue::default() };
/// assert_eq!(short.bytes, 16 * 1024 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerQueue {
    /// The most events that wait, at least 1. Default: 16,384.
    pub events: usize,
    /// The most bytes that they take together, at least 1. Default: 16,777,216 (16 MiB).
    pub bytes: usize,
}

impl ListenerQueue {
    pub(crate) const DEFAULT: Self = Self {
        events: 16_384,
        bytes: 16 * 1024 * 1024,
    };

    /// Reads parts, each at most once. A missing part has its default.
    fn from_parts<V>(
        parts: impl IntoIterator<Item = (impl AsRef<str>, V)>,
        read: impl Fn(V) -> Option<usize>,
    ) -> Option<Self> {
        let (mut events, mut bytes) = (None, None);
        for (key, value) in parts {
            let part = match key.as_ref() {
                "events" => &mut events,
                "bytes" => &mut bytes,
                _ => return None,
            };
            if part.replace(read(value)?).is_some() {
                return None;
            }
        }
        Some(Self {
            events: events.unwrap_or(Self::DEFAULT.events),
            bytes: bytes.unwrap_or(Self::DEFAULT.bytes),
        })
    }
}

impl Default for ListenerQueue {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Value for ListenerQueue {
    const IN_FILES: &'static str = ": a number of events, or a table of `events` and `bytes`";
    const IN_VARIABLES: &'static str = ": a number of events, or as in events=1000,bytes=1000000";

    fn from_file(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Integer(_) => Self::from_parts([("events", raw)], usize::from_file),
            Raw::Registry(entries) => Self::from_parts(
                entries.iter().map(|(key, value)| (key, value)),
                usize::from_file,
            ),
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        if !text.contains('=') {
            return Self::from_parts([("events", text)], usize::from_variable);
        }
        let parts: Option<Vec<_>> = text.split(',').map(|part| part.split_once('=')).collect();
        Self::from_parts(
            parts?.into_iter().map(|(key, value)| (key.trim(), value)),
            usize::from_variable,
        )
    }
}

impl Show for ListenerQueue {
    fn show(&self) -> String {
        format!("{} events and {} bytes", self.events, self.bytes)
    }
}

/// `value` if it is neither below `low` nor above `high`.
pub(super) fn within<T: PartialOrd>(low: T, value: T, high: T) -> Option<T> {
    (low <= value && value <= high).then_some(value)
}
