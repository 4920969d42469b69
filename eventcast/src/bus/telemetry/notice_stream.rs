//! The notices of a bus as a stream.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{Telemetry, notice::Notice, notice_sink::NoticeSink};
use crate::bus::{
    process::blocking::{block_on, deadline},
    queue::error::{RecvTimeoutError, TryNextError},
};

/// The notices of a bus, as a [`Stream`]. It ends when the last handle of the bus was dropped and
/// the bus has stopped.
#[must_use = "a stream that is dropped hears nothing"]
pub struct NoticeStream {
    sink: Arc<NoticeSink>,
    telemetry: Arc<Telemetry>,
}

impl NoticeStream {
    pub(crate) fn new(sink: Arc<NoticeSink>, telemetry: Arc<Telemetry>) -> Self {
        Self { sink, telemetry }
    }

    /// The next notice. `None` when the last handle of the bus has been dropped and the bus has
    /// stopped.
    ///
    /// The future may be dropped before it is ready, and no notice is lost; polled again after it
    /// was ready, it panics.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let mut notices = bus.notices();
    /// while let Some(notice) = notices.next().await {
    ///     println!("{notice}");
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Notice> {
        std::future::poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// The next notice, if one is waiting.
    ///
    /// # Errors
    ///
    /// [`TryNextError::Empty`] where none is, [`TryNextError::Ended`] where none will come any
    /// more.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut notices = bus.notices();
    /// while let Ok(notice) = notices.try_next() {
    ///     println!("{notice}");
    /// }
    /// # }
    /// ```
    pub fn try_next(&mut self) -> Result<Notice, TryNextError> {
        if self.telemetry.process.is_forked() {
            return Err(TryNextError::Ended);
        }
        self.sink.mailbox().try_pop()
    }

    /// Blocks the thread until the next notice comes; `None` when the stream has ended. On a thread
    /// of a runtime it holds up what that thread is there for; there, await [`next`](Self::next).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut notices = bus.notices();
    /// std::thread::spawn(move || {
    ///     while let Some(notice) = notices.blocking_next() {
    ///         println!("{notice}");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn blocking_next(&mut self) -> Option<Notice> {
        block_on(self.next(), None).flatten()
    }

    /// Blocks the thread until the next notice comes, for as long as `timeout` says at most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] where none has come by then, [`RecvTimeoutError::Ended`] where
    /// none will come any more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut notices = bus.notices();
    /// while let Ok(notice) = notices.recv_timeout(Duration::from_secs(1)) {
    ///     println!("{notice}");
    /// }
    /// # }
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Notice, RecvTimeoutError> {
        match block_on(self.next(), deadline(timeout)) {
            Some(Some(notice)) => Ok(notice),
            Some(None) => Err(RecvTimeoutError::Ended),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    fn poll_notice(&self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        if self.telemetry.process.is_forked() {
            return Poll::Ready(None);
        }
        self.sink.mailbox().poll_pop(cx)
    }
}

impl Stream for NoticeStream {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.poll_notice(cx)
    }
}

impl Drop for NoticeStream {
    fn drop(&mut self) {
        if !self.telemetry.process.is_forked() {
            self.telemetry.remove(self.sink.id);
        }
    }
}

impl fmt::Debug for NoticeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeStream")
    }
}
