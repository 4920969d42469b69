//! The identifier of a listener.

use std::sync::atomic::{AtomicU64, Ordering};

/// Names a listener, to take it off again. No two listeners of a process have the same, whatever
/// their buses. Dropping it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) u64);

impl ListenerId {
    /// An id that is new in this process, across all its buses.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
