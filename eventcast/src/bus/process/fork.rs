//! Detects that the process is a forked child of the one in which a bus was started.
//!
//! A forked child has a copy of the bus's memory and sockets, but none of its threads, and locks
//! that a thread of the parent holds are never released. The child must neither send with the
//! parent's identity nor wait for such a lock: each operation that could is refused before it
//! begins, so every emit checks. The system call for the process's id takes some 400 ns, a
//! twentieth of a send; reading a counter that the C library raises in each child costs next to
//! nothing.

use std::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::text::printable;

/// The process in which a bus was started; 0 before.
#[derive(Default)]
pub(crate) struct Home(AtomicU64);

impl Home {
    /// Records this process as the one of the bus, at its first start.
    pub(crate) fn settle(&self) {
        let _ =
            self.0
                .compare_exchange(0, this_process() + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the bus was started in another process, of which this one is a forked child.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        let home = self.0.load(Ordering::Relaxed);
        home != 0 && home != this_process() + 1
    }
}

/// Logs that a listener, stream or wait of a forked child receives nothing.
#[cold]
pub(crate) fn log_deaf(what: &str, location: &'static Location<'static>) {
    tracing::error!(
        target: "eventcast",
        "{} ({location}) receives nothing: its bus was started in another process, of which this one is a forked child; build \
         a new bus here",
        printable(what),
    );
}

/// A number that differs between a process and its forked children.
#[cfg(not(target_os = "linux"))]
fn this_process() -> u64 {
    std::process::id().into()
}

#[cfg(target_os = "linux")]
use counted::this_process;

#[cfg(target_os = "linux")]
mod counted {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// The forks from the first process that counted to this one, counted twice if two threads set
    /// up the counter at once: only the difference between parent and child matters.
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
        // Fails for want of memory only. A child is then treated as its parent.
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
        // SAFETY: the handler lives as long as the program, and does no more than add to an atomic
        // number, which the child of a process with several threads may do (it is
        // async-signal-safe).
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
