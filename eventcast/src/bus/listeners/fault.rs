//! The outcome of a call of a listener.

use crate::{bus::process::user_code::Panicked, codec::DecodeError};

/// Whether the closure was called. A used-up `once` is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoked {
    Yes,
    UsedUp,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Undecodable(DecodeError),
    /// A panic in the decoding, in the closure, or in the drop of the event.
    Panicked(Panicked),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

impl From<Panicked> for Fault {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked(panicked)
    }
}
