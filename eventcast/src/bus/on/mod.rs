//! Registration of listeners on a [`Bus`](super::Bus): a builder with all options, and short
//! methods for the usual ones.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `typed`, `named`, `pattern` | the short methods, for events by type, by key, and by pattern |
//! | `into_pattern` | a pattern, or a text that is one |
//! | `listen` | the builder, in which all of them end |
//! | `info` | the list of registered listeners |

pub(crate) mod guard;
mod info;
mod into_pattern;
mod listen;
mod named;
mod pattern;
mod typed;

use std::fmt;

pub use self::{into_pattern::IntoPattern, listen::Listen};
use super::process::user_code;

/// Returns the builder and the listener. Without a builder it panics with the reason, after it has
/// dropped the listener, which is the user's: a panic in that drop during the unwinding would abort
/// the process.
#[track_caller]
fn or_panic<L, T, R: fmt::Display>(listen: Result<L, R>, listener: T) -> (L, T) {
    match listen {
        Ok(listen) => (listen, listener),
        Err(refusal) => {
            let _ = user_code::discard(listener);
            panic!("{refusal}");
        }
    }
}

/// The same for methods that return the reason.
fn or_error<L, T, R>(listen: Result<L, R>, listener: T) -> Result<(L, T), R> {
    match listen {
        Ok(listen) => Ok((listen, listener)),
        Err(refusal) => {
            let _ = user_code::discard(listener);
            Err(refusal)
        }
    }
}
