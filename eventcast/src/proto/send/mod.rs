//! What is sent anew: cut, numbered, paced, kept, and handed out for each interface.

pub(super) mod chunker;
pub(super) mod fan_out;
pub(super) mod history;
pub(super) mod outgoing;
pub(super) mod queue;
