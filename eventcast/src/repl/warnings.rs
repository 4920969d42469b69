//! Warnings about clients that should not be there. The bus limits their rate: without that,
//! anybody who reaches a console could fill a log.

use std::{fmt, net::SocketAddr};

use crate::{ConsoleRefusedCause, Notice, WeakBus};

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
        cause: ConsoleRefusedCause,
        from: Option<SocketAddr>,
        text: fmt::Arguments<'_>,
    ) {
        self.bus.tell(Notice::ConsoleRefused {
            cause,
            from,
            text: text.to_string(),
            count: 1,
        });
    }
}
