//! A panic of the bus itself: it ends the session and is reported, and the bus can be started
//! again.
//!
//! The caller of a listener catches its panic. Any other panic is a bug of this crate, or comes
//! from a subscriber of `tracing`, which runs in each log call. The state of the engine after one
//! is undefined: so each thread of a session, and each call of the user's that enters the engine,
//! runs within [`Context::guard`](crate::bus::driver::context::Context::guard), which ends the
//! session. A bus that reports its stop is better than one that runs and receives nothing.

use super::user_code::{self, Panicked};
use crate::error::Error;

/// A panic, and what the bus was doing when it happened.
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

/// Runs work that may panic.
#[inline]
pub(crate) fn caught<T>(during: &'static str, work: impl FnOnce() -> T) -> Result<T, Failure> {
    // Data that `work` leaves half done behind a lock is marked by the lock's poison.
    user_code::run(work).map_err(|Panicked { message }| Failure { during, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_drop_of_a_payload_is_caught() {
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
