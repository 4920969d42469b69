//! Registering listeners on a [`Bus`]: one builder that can say everything, and short methods for what is said most.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `typed`, `named`, `pattern` | the short methods, for events by type, by key, and by pattern |
//! | `into_pattern` | a pattern, or a text that is one |
//! | `listen` | the builder, in which all of them end |
//! | `info` | what is registered |

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

/// The builder, and the listener that it is for. Where there is no builder this panics with the reason, once the listener,
/// which is the user's, has been dropped: not while that panic is under way, where another one would end the process.
#[track_caller]
fn agreed<L, T, R: fmt::Display>(listen: Result<L, R>, listener: T) -> (L, T) {
    match listen {
        Ok(listen) => (listen, listener),
        Err(refusal) => {
            let _ = user_code::discard(listener);
            panic!("{refusal}");
        }
    }
}

/// The same for what can be returned.
fn if_agreed<L, T, R>(listen: Result<L, R>, listener: T) -> Result<(L, T), R> {
    match listen {
        Ok(listen) => Ok((listen, listener)),
        Err(refusal) => {
            let _ = user_code::discard(listener);
            Err(refusal)
        }
    }
}
