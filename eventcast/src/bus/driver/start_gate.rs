//! Holds a session back until its start has been reported.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The report that the bus has started comes before everything that the bus hears, so reading
/// begins after it.
#[derive(Default)]
pub(crate) struct StartGate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Shut,
    /// The session closes already, and whatever waits is to find that out.
    Closing,
    /// The start has been reported.
    Reported,
}

impl StartGate {
    /// The start has been reported, and others can emit.
    pub(crate) fn open(&self) {
        self.set(State::Reported);
    }

    /// The session closes.
    pub(crate) fn close(&self) {
        self.set(State::Closing);
    }

    /// Whether the start has been reported.
    pub(crate) fn is_open(&self) -> bool {
        *self.lock() == State::Reported
    }

    /// Waits until the start has been reported, for so long at most: what reports it may be waiting
    /// for the stop.
    pub(crate) fn wait_until_open(&self, patience: Duration) {
        let state = self.lock();
        // A poisoned lock says nothing about what it guards.
        let _ = self
            .changed
            .wait_timeout_while(state, patience, |state| *state != State::Reported);
    }

    /// Waits until the start has been reported, or the session closes.
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while *state == State::Shut {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn set(&self, new: State) {
        let mut state = self.lock();
        *state = new.max(*state);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
