//! The tokio runtime of a bus: where async listeners run, and what is entered where any other listener runs.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};

use tokio::runtime::Handle;

/// Holds the runtime, which a `start` within another one replaces.
pub(crate) struct RuntimeSlot {
    state: RwLock<State>,
    /// Rises each time that the runtime becomes another one.
    version: AtomicU64,
}

struct State {
    handle: Option<Handle>,
    /// The builder gave it: a `start` within another runtime does not replace it.
    is_given: bool,
}

impl RuntimeSlot {
    /// `given` is the runtime that the builder was given, if any.
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

    /// Takes the runtime of the calling thread, if the thread is in one and the builder gave none.
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
        // The last handle of a runtime drops what its tasks have left behind.
        drop(before);
    }

    /// The runtime has dropped a task: it is shutting down, so the next `start` may bring another, also where the builder
    /// gave this one.
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

/// The runtime as a thread that calls listeners keeps it: read from the slot again only after it has changed.
pub(crate) struct CachedRuntime {
    version: u64,
    handle: Option<Handle>,
}

impl CachedRuntime {
    pub(crate) fn of(slot: &RuntimeSlot) -> Self {
        // The version first: the next call finds a change in between.
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
