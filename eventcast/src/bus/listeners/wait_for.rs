//! Waiting for a single event.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    invocation::FromArgs,
    received::Received,
    subscription::{Condition, Subscription},
};
use crate::bus::{
    process::blocking::{block_on, deadline},
    queue::error::RecvTimeoutError,
};

/// The listener was taken off, or the last handle of the bus was dropped, before the event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event did not come: its listener was taken off before, or the last handle of the bus was dropped"
)]
pub struct Stopped;

/// The first event of a key, or of all keys that a pattern matches, after
/// [`Bus::wait_for`](crate::Bus::wait_for) or another of the `wait_for` methods was called.
///
/// The wait is registered by that call, so an event that comes before the first poll is not missed.
/// It yields [`Stopped`] when its listener is taken off, as by
/// [`Bus::off_all`](crate::Bus::off_all), or the last handle of the bus is dropped; not when the
/// bus is stopped. Dropping it takes its listener off. It may be polled again when it was ready: it
/// then waits for the next such event. A thread without a runtime calls
/// [`blocking_wait`](Self::blocking_wait) or [`recv_timeout`](Self::recv_timeout).
///
/// ```no_run
/// # use eventcast::{Bus, NetEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(NetEvent, Serialize, Deserialize)]
/// # struct Asked { id: u64 }
/// # #[derive(NetEvent, Serialize, Deserialize)]
/// # struct Answered { id: u64 }
/// # async fn ask(bus: &Bus) -> eventcast::Result<()> {
/// // Registered before the question goes out, so that the answer cannot come too early.
/// let answer = bus.wait_for_where::<Answered>(|e| e.id == 7);
/// bus.emit(Asked { id: 7 })?;
/// println!("{} has answered", answer.await?.origin());
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct WaitFor<E: FromArgs> {
    events: Subscription<E>,
    condition: Option<Condition<E>>,
}

impl<E: FromArgs> WaitFor<E> {
    pub(crate) fn new(events: Subscription<E>, condition: Option<Condition<E>>) -> Self {
        Self { events, condition }
    }

    /// Blocks the thread until the event comes. On a thread of a runtime it holds up what that
    /// thread is there for; there, await this.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where it cannot come any more.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let greeting = bus.wait_for_named("greeting").blocking_wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocking_wait(&mut self) -> Result<Received<E>, Stopped> {
        block_on(self, None).unwrap_or(Err(Stopped))
    }

    /// Blocks the thread until the event comes, for as long as `timeout` says at most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] where it has not come by then: it can be waited for again.
    /// [`RecvTimeoutError::Ended`] where it cannot come any more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let greeting = bus.wait_for_named("greeting").recv_timeout(Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Received<E>, RecvTimeoutError> {
        match block_on(self, deadline(timeout)) {
            Some(Ok(event)) => Ok(event),
            Some(Err(Stopped)) => Err(RecvTimeoutError::Ended),
            None => Err(RecvTimeoutError::Timeout),
        }
    }
}

impl<E: FromArgs> Future for WaitFor<E> {
    type Output = Result<Received<E>, Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let Some(event) = std::task::ready!(self.events.poll_event(cx)) else {
                return Poll::Ready(Err(Stopped));
            };
            let Some(condition) = &self.condition else {
                return Poll::Ready(Ok(event));
            };
            if let Some(event) = self.events.filtered(event, condition) {
                return Poll::Ready(Ok(event));
            }
        }
    }
}

impl<E: FromArgs> fmt::Debug for WaitFor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFor")
            .field("events", &self.events)
            .field("has_condition", &self.condition.is_some())
            .finish_non_exhaustive()
    }
}
