//! Bounded queues: what waits for a slow listener, an async one, a stream, or a listener of notices.

pub(crate) mod backlog;
pub(crate) mod error;
pub(crate) mod mailbox;
