//! The causes of refused traffic and refused clients.

use std::fmt;

use crate::proto::DropCause;

/// Why datagrams were refused: the cause of a [`Notice::Refused`](crate::Notice::Refused). Its
/// `Display` is its [`name`](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedCause {
    /// A seal that was not found good, for whatever reason: a notice may be shown to people who
    /// should not learn which. [`Stats::dropped`](crate::Stats::dropped) counts the reasons one by
    /// one.
    Unopened,
    /// Any other cause, as it is counted.
    Dropped(DropCause),
}

impl RefusedCause {
    /// A short name for statistics and logs: that of the [`DropCause`], or `unopened`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Dropped(cause) => cause.name(),
        }
    }
}

impl fmt::Display for RefusedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a console refused a client: the cause of a
/// [`Notice::ConsoleRefused`](crate::Notice::ConsoleRefused). Its `Display` is its
/// [`name`](Self::name). Each cause is reported by itself, so that none hides behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsoleRefusedCause {
    /// There are too many clients.
    Crowd,
    /// The client speaks another protocol.
    Protocol,
    /// The client did not have the token.
    Token,
    /// The system refused a call.
    System,
}

impl ConsoleRefusedCause {
    /// A short name for statistics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crowd => "crowd",
            Self::Protocol => "protocol",
            Self::Token => "token",
            Self::System => "system",
        }
    }
}

impl fmt::Display for ConsoleRefusedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
