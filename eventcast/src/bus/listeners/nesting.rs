//! Limits the events that are emitted while an event is delivered on the same thread.

use std::cell::Cell;
#[cfg(feature = "repl")]
use std::{cell::RefCell, panic::Location};

#[cfg(feature = "repl")]
use crate::codec::DecodeError;

/// Most levels of events within events. Each level takes stack, and listeners that emit in a circle
/// would overflow it.
pub(crate) const MAX_DEPTH: usize = 32;

thread_local! {
    /// The local deliveries that this thread is inside of. A `Cell` of a number has no destructor,
    /// so other destructors of the thread can still use it.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether one more level would exceed [`MAX_DEPTH`].
pub(crate) fn is_too_deep() -> bool {
    DEPTH.get() >= MAX_DEPTH
}

/// Counts one level until it is dropped.
pub(crate) struct Deeper;

impl Deeper {
    pub(crate) fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// A listener that could not decode the emitted event.
#[cfg(feature = "repl")]
pub(crate) struct Misfit {
    /// Where it was registered.
    pub(crate) location: &'static Location<'static>,
    pub(crate) error: DecodeError,
}

#[cfg(feature = "repl")]
thread_local! {
    /// The misfits of the event that this thread emits for a console.
    static MISFITS: RefCell<Option<Vec<Misfit>>> = const { RefCell::new(None) };
}

/// Calls `emit`, and returns the listeners of this bus that could not decode the event. Listeners
/// with a queue decode later, and are not among them.
#[cfg(feature = "repl")]
pub(crate) fn misfits_of<T>(emit: impl FnOnce() -> T) -> (T, Vec<Misfit>) {
    MISFITS.set(Some(Vec::new()));
    let emitted = emit();
    (emitted, MISFITS.take().unwrap_or_default())
}

/// Notes a misfit of an event that a console emits, and not of events that listeners emit in turn.
#[cfg(feature = "repl")]
pub(crate) fn note_misfit(location: &'static Location<'static>, error: &DecodeError) {
    // Fails while the thread ends: no console waits for an answer then.
    let _ = MISFITS.try_with(|misfits| {
        if let Some(misfits) = &mut *misfits.borrow_mut()
            && DEPTH.try_with(Cell::get) == Ok(1)
        {
            misfits.push(Misfit {
                location,
                error: error.clone(),
            });
        }
    });
}
