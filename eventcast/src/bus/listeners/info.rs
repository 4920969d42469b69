//! The description of a registered listener, for diagnostics.

use std::{fmt, panic::Location};

use super::pattern::Pattern;
use crate::{bus::telemetry::listener_id::ListenerId, text::printable};

/// A listener of events as it is registered: [`Bus::listeners`](crate::Bus::listeners) lists them.
///
/// Its `Display` is one line: `` `order.*`, inline, src/main.rs:12:9 ``.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// Which listener.
    pub id: ListenerId,
    /// What it listens to.
    pub scope: ListenerScope,
    /// The name of the Rust type that it takes. `None`: it was registered by key or by pattern, and
    /// takes [`Args`](crate::Args).
    pub event_type: Option<&'static str>,
    /// How it takes its events.
    pub mode: ListenerMode,
    /// Whether it is for one event.
    pub once: bool,
    /// Where it was registered.
    pub registered_at: &'static Location<'static>,
}

/// What a listener listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerScope {
    /// Events of one key.
    Key(String),
    /// Events whose keys match.
    Pattern(Pattern),
}

/// How a listener takes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerMode {
    /// On the thread that has the event.
    Inline,
    /// From a queue and on a thread of its own: it was found to be slow.
    Queued,
    /// Async, from a queue of its own.
    Async,
    /// As a stream, or a wait for one event.
    Stream,
}

impl ListenerScope {
    /// The key, or the pattern as it was written.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// bus.on_pattern("order.*", |e| println!("{}", e.key()));
    /// assert_eq!(bus.listeners()[0].scope.as_str(), "order.*");
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_str(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl fmt::Display for ListenerScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&printable(self.as_str()), f)
    }
}

impl fmt::Display for ListenerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inline => "inline",
            Self::Queued => "slow, in a queue",
            Self::Async => "async",
            Self::Stream => "stream",
        })
    }
}

impl fmt::Display for ListenerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let once = if self.once { ", once" } else { "" };
        let (scope, mode, location) = (&self.scope, self.mode, self.registered_at);
        write!(f, "`{scope}`, {mode}{once}, {location}")
    }
}
