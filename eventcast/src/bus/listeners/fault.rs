//! What came of a call of a listener.

use crate::{bus::process::user_code::Panicked, codec::DecodeError};

/// Whether the closure was called: a used-up `once` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoked {
    Yes,
    UsedUp,
}

/// What came in the way of a call.
#[derive(Debug)]
pub(crate) enum Fault {
    Undecodable(DecodeError),
    /// In the decoding, in the closure, or when the event was dropped.
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
