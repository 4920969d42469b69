//! What is reported of clients that should not be there. How often is the bus's business: anybody who reaches a console
//! could otherwise fill a log.

use std::{fmt, net::SocketAddr};

use crate::{Notice, WeakBus};

/// What a warning is about. Each is reported by itself, so that none hides behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There are too many clients.
    Crowd,
    /// A client speaks another protocol.
    Foreign,
    /// A client does not know the token.
    Token,
    /// The system refuses something.
    System,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::Crowd => "crowd",
            Self::Foreign => "protocol",
            Self::Token => "token",
            Self::System => "system",
        }
    }
}

/// Reports what is wrong with clients.
pub(super) struct Warnings {
    bus: WeakBus,
}

impl Warnings {
    pub(super) fn new(bus: WeakBus) -> Self {
        Self { bus }
    }

    /// Reports it, of the client at `from` if it is about one.
    pub(super) fn warn(
        &self,
        trouble: Trouble,
        from: Option<SocketAddr>,
        text: fmt::Arguments<'_>,
    ) {
        self.bus.tell(Notice::ConsoleRefused {
            cause: trouble.name(),
            from,
            text: text.to_string(),
            count: 1,
        });
    }
}
