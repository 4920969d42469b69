//! Why a read of a stream returns no item.

/// Why `try_next` returned no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryNextError {
    /// No item is waiting now; one may come later.
    #[error("nothing is waiting now")]
    Empty,
    /// The stream has ended: none will come any more.
    #[error(
        "the stream has ended: its listener was taken off, or the last handle of the bus was dropped"
    )]
    Ended,
}

/// Why `recv_timeout` returned no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No item came in time; one may come later.
    #[error("nothing came in time")]
    Timeout,
    /// The stream has ended: none will come any more.
    #[error(
        "the stream has ended: its listener was taken off, or the last handle of the bus was dropped"
    )]
    Ended,
}
