//! A panic of the bus's own: it ends the session, is told, and the bus can be started again.
//!
//! Listeners are caught where they are called. Any other panic is a bug of this crate, or comes out of a subscriber of
//! `tracing`, which runs wherever something is logged. What the engine holds after one is anybody's guess: so each
//! thread of a session, and each call of the user's that enters the engine, runs within
//! [`Context::guard`](crate::bus::driver::context::Context::guard), which ends the session. A bus that looked alive and heard nothing any more would be worse than one that says that it has stopped.

use super::user_code::{self, Panicked};
use crate::error::Error;

/// A panic, and what the bus was doing.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) during: &'static str,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn error(self) -> Error {
        Error::Failed {
            during: self.during,
            message: self.message,
        }
    }
}

/// Does something that may panic.
#[inline]
pub(crate) fn caught<T>(during: &'static str, work: impl FnOnce() -> T) -> Result<T, Failure> {
    // What `work` leaves half done behind a lock is known by the lock's poison.
    user_code::run(work).map_err(|Panicked { message }| Failure { during, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_caught_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose: the payload");
            }
        }
        let failure = caught("testing", || std::panic::panic_any(Bomb)).unwrap_err();
        assert_eq!(failure.message, "a panic without a text");
    }
}
