//! How listeners and sessions reach their bus.

use std::sync::Arc;

use super::Listeners;
use crate::bus::{Bus, WeakBus};

/// The bus, as its own parts know it.
///
/// A [`Received`](crate::bus::Received) gives its listener a handle of the bus, so it has to hold
/// what the handles share. This trait is the one edge that leads from the parts of a bus back up to
/// [`Bus`].
pub(crate) trait Owner: Send + Sync {
    /// What the listeners of the bus share.
    fn listeners(&self) -> &Listeners;

    /// One more handle of the bus.
    fn bus(self: Arc<Self>) -> Bus;

    /// A handle that does not keep the bus alive.
    fn downgrade(self: Arc<Self>) -> WeakBus;
}
