//! The tokio runtime of a bus: async listeners run on it, and all other listeners run within it.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};

use tokio::runtime::Handle;

/// Holds the runtime. A `start` within another runtime replaces it.
pub(crate) struct RuntimeSlot {
    state: RwLock<State>,
    /// Rises with each replacement of the runtime.
    version: AtomicU64,
}

struct State {
    handle: Option<Handle>,
    /// The runtime was set on the builder: a `start` within another runtime does not replace it.
    is_given: bool,
}

impl RuntimeSlot {
    /// `given` is the runtime that was set on the builder, if any.
    pub(crate) fn new(given: Option<Handle>) -> Self {
        Self {
            state: RwLock::new(State {
                is_given: given.is_some(),
                handle: given,
            }),
            version: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self) -> Option<Handle> {
        self.read().handle.clone()
    }

    /// Takes the runtime of the calling thread, if the thread is in one and none was set on the
    /// builder.
    pub(crate) fn adopt(&self) {
        let Ok(own) = Handle::try_current() else {
            return;
        };
        let mut state = self.write();
        if state.is_given {
            return;
        }
        let before = state.handle.replace(own);
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        // Dropped without the lock: the last handle of a runtime drops its tasks, which are the
        // user's code.
        drop(before);
    }

    /// Lets the next `start` replace the runtime, also one that was set on the builder: it has
    /// dropped a task, so it is shutting down.
    pub(crate) fn release(&self) {
        self.write().is_given = false;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy of the runtime for a thread that calls listeners. It reads the slot again only after a
/// change.
pub(crate) struct CachedRuntime {
    version: u64,
    handle: Option<Handle>,
}

impl CachedRuntime {
    pub(crate) fn of(slot: &RuntimeSlot) -> Self {
        // The version is read first, so that the next call detects a change in between.
        let version = slot.version.load(Ordering::Acquire);
        let handle = slot.get();
        Self { version, handle }
    }

    pub(crate) fn get(&mut self, slot: &RuntimeSlot) -> Option<&Handle> {
        if slot.version.load(Ordering::Acquire) != self.version {
            *self = Self::of(slot);
        }
        self.handle.as_ref()
    }
}
