//! Events that are emitted while an event is delivered on the same thread.

use std::cell::Cell;
#[cfg(feature = "repl")]
use std::{cell::RefCell, panic::Location};

#[cfg(feature = "repl")]
use crate::codec::DecodeError;

/// How deep events may be delivered within events. Each level takes stack, and a circle would take all of it.
pub(crate) const MAX_DEPTH: usize = 32;

thread_local! {
    /// How many local deliveries this thread is inside of. Without a destructor, so it can be read and written for as
    /// long as the thread exists.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether one more level would be too deep.
pub(crate) fn is_too_deep() -> bool {
    DEPTH.get() >= MAX_DEPTH
}

/// One level deeper, until it is dropped.
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

/// A listener that could not decode what was emitted.
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

/// Emits something, and gives the listeners of this bus that could not decode it. Those with a queue decode later, and
/// are not among them.
#[cfg(feature = "repl")]
pub(crate) fn misfits_of<T>(emit: impl FnOnce() -> T) -> (T, Vec<Misfit>) {
    MISFITS.set(Some(Vec::new()));
    let emitted = emit();
    (emitted, MISFITS.take().unwrap_or_default())
}

/// Keeps a misfit of what a console emits; what listeners emit in turn is their own.
#[cfg(feature = "repl")]
pub(crate) fn note_misfit(location: &'static Location<'static>, error: &DecodeError) {
    // While the thread ends there is nobody to tell.
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
