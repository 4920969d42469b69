//! What a bus can be extended by: the console, which opens with its first session.

#[cfg(feature = "repl")]
use std::net::SocketAddr;

use super::{WeakBus, config::options::Options, telemetry::notice::Notice};
use crate::error::Error;

/// A part that runs beside a bus and uses its public API alone.
pub(crate) trait Extension: Send + Sync {
    /// Opens it, unless it is open, and returns what is to be reported.
    fn open(&self, options: &Options, bus: WeakBus) -> Result<Vec<Notice>, Error>;

    /// Closes it for good: the last handle of the bus has been dropped.
    fn close(&self);

    /// The address that it listens at, while it is open.
    #[cfg(feature = "repl")]
    fn address(&self) -> Option<SocketAddr>;
}
