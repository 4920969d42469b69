//! What eventcast logs, and how much of it. With the feature `log`.
//!
//! eventcast logs with `tracing`, under the targets `eventcast` and `eventcast::repl`, and installs
//! no subscriber by itself: a program that has one sees what eventcast logs there, and sets the
//! levels there. This module is for a program that has none. [`install`] gives it one that prints
//! what eventcast logs, and nothing else, to standard error; [`set_level`] says at run time how
//! much that is, for each [`Component`], process-wide.
//!
//! ```
//! use eventcast::log::{self, Component, Level};
//!
//! # fn main() -> eventcast::Result<()> {
//! log::install()?; // warnings and errors, or what EVENTCAST_LOG says
//! log::set_level(Component::Bus, Level::Debug)?;
//! assert_eq!(log::level(Component::Bus)?, Level::Debug);
//! assert_eq!(log::level(Component::Repl)?, Level::Warn);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing changes for a program that enables the feature and does not call [`install`].

use std::{
    env,
    fmt::{self, Write as _},
    io,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Metadata, dispatcher::Dispatch, field::Field, level_filters::LevelFilter, subscriber::Interest,
};
use tracing_subscriber::{
    Registry,
    field::MakeExt,
    fmt::format::{Writer, debug_fn},
    layer::{Context, Filter, Layer, SubscriberExt},
    reload,
};

use crate::{names::nearest, text::OneLine};

/// The variable that says what is logged from the beginning.
const VARIABLE: &str = "EVENTCAST_LOG";

/// Prints what eventcast logs to standard error from now on: a line each, with time, level and
/// target.
///
/// Warnings and errors are printed, unless the variable `EVENTCAST_LOG` says otherwise: a level for
/// all, or components with theirs, or both: `debug`, `eventcast::repl=info`,
/// `warn,eventcast=trace`. What comes later beats what comes before; an empty value says nothing.
///
/// A second call does nothing.
///
/// # Errors
///
/// [`LogError::Taken`] where the program has a subscriber of its own: what eventcast logs goes
/// there, and is filtered there. [`LogError::Variable`] where `EVENTCAST_LOG` cannot be read.
/// Nothing was installed then.
pub fn install() -> Result<(), LogError> {
    let mut installed = lock();
    if installed.is_some() {
        return Ok(());
    }
    let mut levels = Levels::default();
    if let Some(value) = env::var_os(VARIABLE) {
        let value = value.to_string_lossy();
        levels.change(&value).map_err(|error| LogError::Variable {
            value: value.into_owned(),
            error: Box::new(error),
        })?;
    }
    let (filter, handle) = reload::Layer::new(levels);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .fmt_fields(debug_fn(write_field).delimited(" "))
        // It would report that standard error cannot be written to on standard error, and panic.
        .log_internal_errors(false)
        .with_filter(filter);
    let subscriber = Dispatch::new(Registry::default().with(lines));
    tracing::dispatcher::set_global_default(subscriber).map_err(|_| LogError::Taken)?;
    *installed = Some(handle);
    Ok(())
}

/// Writes one field of a line. What it holds may come from the network, and must not end the line.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut line = OneLine(writer);
    match field.name() {
        "message" => write!(line, "{value:?}"),
        name => write!(line, "{name}={value:?}"),
    }
}

/// How much of a component is logged now.
///
/// # Errors
///
/// [`LogError::NotInstalled`] before [`install`] has succeeded.
pub fn level(component: Component) -> Result<Level, LogError> {
    let installed = lock();
    let handle = installed.as_ref().ok_or(LogError::NotInstalled)?;
    handle
        .with_current(|levels| levels.of(component))
        // The subscriber is dropped only when the process ends.
        .map_err(|_| LogError::NotInstalled)
}

/// Sets how much of a component is logged, from now on, by all buses of the process.
///
/// # Errors
///
/// [`LogError::NotInstalled`] before [`install`] has succeeded.
pub fn set_level(component: Component, level: Level) -> Result<(), LogError> {
    let installed = lock();
    let handle = installed.as_ref().ok_or(LogError::NotInstalled)?;
    handle
        .modify(|levels| levels.set(component, level))
        .map_err(|_| LogError::NotInstalled)
}

/// A part of eventcast whose level can be set. Its name, which it is written and read by, is the
/// target of what it logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Component {
    /// The bus and all below it: `eventcast`.
    Bus,
    /// The console: `eventcast::repl`.
    Repl,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Bus, Self::Repl];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bus => "eventcast",
            Self::Repl => "eventcast::repl",
        }
    }

    /// The component that logs under this target. A target of another crate may begin with the same
    /// letters.
    fn of_target(target: &str) -> Option<Self> {
        let is_within = |component: &Self| {
            target
                .strip_prefix(component.name())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        // The narrower one first.
        [Self::Repl, Self::Bus].into_iter().find(is_within)
    }
}

/// How much is logged: what is as urgent as this, or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed, and somebody must see to.
    Error,
    /// What is not as it should be as well. The default.
    #[default]
    Warn,
    /// Life as well: what started, stopped, came and went.
    Info,
    /// What helps to find a fault as well.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Its name. It is read in any case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Component {
    type Err = LogError;

    fn from_str(written: &str) -> Result<Self, LogError> {
        let mut all = Self::ALL.into_iter();
        all.find(|component| component.name() == written)
            .ok_or_else(|| {
                // `repl` is near enough to be meant, though not by its letters.
                let last = |name: &'static str| name.rsplit("::").next().unwrap_or(name);
                let names = Self::ALL.map(Self::name);
                let suggestion = nearest(written, names.into_iter().chain(names.map(last)));
                LogError::UnknownComponent {
                    written: written.to_owned(),
                    suggestion: suggestion
                        .and_then(|near| names.into_iter().find(|name| last(name) == last(near))),
                }
            })
    }
}

impl FromStr for Level {
    type Err = LogError;

    fn from_str(written: &str) -> Result<Self, LogError> {
        let mut all = Self::ALL.into_iter();
        all.find(|level| level.name().eq_ignore_ascii_case(written))
            .ok_or_else(|| LogError::UnknownLevel {
                written: written.to_owned(),
                suggestion: nearest(written, Self::ALL.map(Self::name)),
            })
    }
}

/// Why the levels of the log could not be read or set. Nothing was changed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The program has installed a subscriber of its own.
    #[error(
        "this program has installed a `tracing` subscriber of its own, and there can be one alone: what eventcast \
         logs goes there; set the levels of the targets `eventcast` and `eventcast::repl` there"
    )]
    Taken,
    /// [`install`] has not been called, or did not succeed.
    #[error(
        "eventcast's subscriber is not installed: call `eventcast::log::install()` first, or, where the program has \
         a `tracing` subscriber of its own, set the levels of `eventcast` and `eventcast::repl` there"
    )]
    NotInstalled,
    /// There is no component of that name.
    #[error("unknown component `{written}`: {}", advice(*.suggestion, "it is `eventcast` or `eventcast::repl`"))]
    #[non_exhaustive]
    UnknownComponent {
        /// What was written.
        written: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// There is no level of that name.
    #[error("unknown level `{written}`: {}", advice(*.suggestion, "it is off, error, warn, info, debug or trace"))]
    #[non_exhaustive]
    UnknownLevel {
        /// What was written.
        written: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The environment variable `EVENTCAST_LOG` cannot be read.
    #[error(
        "the variable EVENTCAST_LOG is {value:?}, but must be a level, or components with theirs, such as \
         \"warn,eventcast=debug\": {error}"
    )]
    #[non_exhaustive]
    Variable {
        /// Its value.
        value: String,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

impl fmt::Debug for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn advice(suggestion: Option<&str>, all: &str) -> String {
    suggestion.map_or_else(|| all.to_owned(), |name| format!("did you mean `{name}`?"))
}

/// A level for each component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Levels([Level; Component::ALL.len()]);

impl Levels {
    fn of(&self, component: Component) -> Level {
        self.0[component as usize]
    }

    fn set(&mut self, component: Component, level: Level) {
        self.0[component as usize] = level;
    }

    fn let_through(&self, metadata: &Metadata<'_>) -> bool {
        Component::of_target(metadata.target())
            .is_some_and(|component| *metadata.level() <= self.of(component).filter())
    }

    /// Takes over what the variable says.
    fn change(&mut self, written: &str) -> Result<(), LogError> {
        if written.trim().is_empty() {
            return Ok(());
        }
        for item in written.split(',') {
            match item.split_once('=') {
                Some((component, level)) => {
                    self.set(component.trim().parse()?, level.trim().parse()?);
                }
                None => self.0.fill(item.trim().parse()?),
            }
        }
        Ok(())
    }
}

impl<S> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.let_through(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // It is asked again when the levels have changed.
        if self.let_through(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.iter().max().map(|most| most.filter())
    }
}

type Installed = Option<reload::Handle<Levels, Registry>>;

fn lock() -> MutexGuard<'static, Installed> {
    static INSTALLED: Mutex<Installed> = Mutex::new(None);
    // A panic of another subscriber's, while the levels change, leaves them as they were or as they
    // will be.
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_belong_to_components() {
        for (target, component) in [
            ("eventcast", Some(Component::Bus)),
            ("eventcast::net", Some(Component::Bus)),
            ("eventcast::repl", Some(Component::Repl)),
            ("eventcast::repl::parser", Some(Component::Repl)),
            ("eventcast::replay", Some(Component::Bus)),
            ("eventcast_tests", None),
            ("event", None),
            ("", None),
        ] {
            assert_eq!(Component::of_target(target), component, "{target}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (i, component) in Component::ALL.into_iter().enumerate() {
            assert_eq!(component as usize, i);
            assert_eq!(component.to_string().parse(), Ok(component));
        }
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(level.name().to_uppercase().parse(), Ok(level));
        }
    }

    #[test]
    fn what_was_meant_is_suggested() {
        for (written, advice) in [
            ("evntcast", "did you mean `eventcast`?"),
            ("Repl", "did you mean `eventcast::repl`?"),
            ("eventcast:repl", "did you mean `eventcast::repl`?"),
            ("tokio", "it is `eventcast` or `eventcast::repl`"),
            ("", "it is `eventcast` or `eventcast::repl`"),
        ] {
            let error = written.parse::<Component>().unwrap_err();
            let expected = format!("unknown component `{written}`: {advice}");
            assert_eq!(error.to_string(), expected);
        }
        for (written, advice) in [
            ("debgu", "did you mean `debug`?"),
            ("loudest", "it is off, error, warn, info, debug or trace"),
        ] {
            let error = written.parse::<Level>().unwrap_err();
            let expected = format!("unknown level `{written}`: {advice}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_variable_is_read() {
        use Level::{Debug, Error, Info, Trace, Warn};
        for (written, bus, repl) in [
            ("", Warn, Warn),
            (" ", Warn, Warn),
            ("debug", Debug, Debug),
            ("eventcast=info", Info, Warn),
            ("eventcast::repl=info", Warn, Info),
            (" error , eventcast = TRACE ", Trace, Error),
            ("eventcast=trace,error", Error, Error),
        ] {
            let mut levels = Levels::default();
            levels.change(written).unwrap();
            assert_eq!(levels, Levels([bus, repl]), "{written}");
        }
        for written in [
            ",",
            "debug,",
            "eventcast",
            "eventcast=",
            "=debug",
            "repl=debug",
        ] {
            assert!(Levels::default().change(written).is_err(), "{written}");
        }
    }

    #[test]
    fn the_loudest_component_is_the_hint() {
        let hint = |levels: &Levels| Filter::<Registry>::max_level_hint(levels);
        assert_eq!(hint(&Levels::default()), Some(LevelFilter::WARN));
        let levels = Levels([Level::Off, Level::Debug]);
        assert_eq!(hint(&levels), Some(LevelFilter::DEBUG));
    }
}
