//! Whether this is still the process in which a bus was started.
//!
//! A forked child has a copy of the bus's memory and of its sockets, but none of its threads, and whatever a thread had
//! locked stays locked. It must neither speak with the parent's identity nor wait for such a lock: so each operation
//! that could is refused before it begins, and whether it has to be is asked with every emit. To ask the system for the
//! process's id takes some 400 ns, a twentieth of what sending takes; a counter that the C library raises in each
//! child takes none.

use std::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::text::printable;

/// The process in which a bus was started, once it was.
#[derive(Default)]
pub(crate) struct Home(AtomicU64);

impl Home {
    /// The bus starts in this process, unless it has been started before.
    pub(crate) fn settle(&self) {
        let _ =
            self.0
                .compare_exchange(0, this_process() + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the bus was started in another process, of which this one is a child.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        let home = self.0.load(Ordering::Relaxed);
        home != 0 && home != this_process() + 1
    }
}

/// Logs that what is listened with here hears nothing.
#[cold]
pub(crate) fn log_deaf(what: &str, location: &'static Location<'static>) {
    tracing::error!(
        target: "eventcast",
        "{} ({location}) hears nothing: its bus was started in another process, of which this one is a forked child; build \
         a new bus here",
        printable(what),
    );
}

/// What tells a process from its forked children.
#[cfg(not(target_os = "linux"))]
fn this_process() -> u64 {
    std::process::id().into()
}

#[cfg(target_os = "linux")]
use counted::this_process;

#[cfg(target_os = "linux")]
mod counted {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// How many forks lead from the process that asked first to this one. Twice as many, where two threads asked at once:
    /// what counts is that a child's number is another.
    static FORKS: AtomicU64 = AtomicU64::new(0);
    static COUNTS: AtomicBool = AtomicBool::new(false);

    #[inline]
    pub(crate) fn this_process() -> u64 {
        if !COUNTS.load(Ordering::Acquire) {
            begin_to_count();
        }
        FORKS.load(Ordering::Relaxed)
    }

    #[cold]
    fn begin_to_count() {
        // Where there is no memory for it, a child is taken for its parent: then as without all this.
        if count_forks() {
            COUNTS.store(true, Ordering::Release);
        }
    }

    extern "C" fn in_the_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    #[expect(
        unsafe_code,
        reason = "there is no safe way to have the C library call something after a fork"
    )]
    fn count_forks() -> bool {
        // SAFETY: the handler lives as long as the program, and does no more than add to an atomic number, which the
        // child of a process with several threads may do (it is async-signal-safe).
        unsafe { nix::libc::pthread_atfork(None, None, Some(in_the_child)) == 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_at_home_where_it_was_started_first() {
        let home = Home::default();
        assert!(!home.is_forked(), "it is nowhere yet");
        home.settle();
        assert!(!home.is_forked());
        let other = Home(AtomicU64::new(this_process() + 2));
        assert!(other.is_forked());
        other.settle();
        assert!(other.is_forked());
    }
}
