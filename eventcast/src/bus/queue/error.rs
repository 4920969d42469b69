//! Why a read of a stream returns no item.

/// Why there is no event to be had at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryNextError {
    /// None is waiting now; one may come.
    #[error("nothing is waiting now")]
    Empty,
    /// The stream has ended: none will come any more.
    #[error(
        "the stream has ended: its listener was taken off, or the last handle of the bus was dropped"
    )]
    Ended,
}

/// Why no event was had in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// None came in time; one may come.
    #[error("nothing came in time")]
    Timeout,
    /// The stream has ended: none will come any more.
    #[error(
        "the stream has ended: its listener was taken off, or the last handle of the bus was dropped"
    )]
    Ended,
}
