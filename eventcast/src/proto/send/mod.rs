//! Sending a message for the first time: cutting, numbering, pacing, keeping, and a copy for each
//! interface.

pub(super) mod chunker;
pub(super) mod fan_out;
pub(super) mod history;
pub(super) mod outgoing;
pub(super) mod queue;
