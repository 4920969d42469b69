//! Events as a stream, and waiting for a single one.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{
    backlog::Overflow,
    core::Core,
    listener::{FromArgs, Listener, Sink, Waiting},
    mailbox::Mailbox,
    received::Received,
};

/// How much a subscription holds while nobody reads it, and what gives way then.
///
/// ```
/// use eventcast::{Overflow, SubscribeOptions};
///
/// let few = SubscribeOptions::default().capacity(16).overflow(Overflow::DropNewest);
/// let newest_alone = SubscribeOptions::latest();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// How many events it holds, at least 1. Default: 1,024, enough for a burst. All together they take no more
    /// bytes than `listener_queue` says, whatever this is.
    pub capacity: usize,
    /// What gives way when there is no room. Default: the oldest.
    pub overflow: Overflow,
}

impl SubscribeOptions {
    /// The newest event alone: whoever reads gets what is true now.
    pub fn latest() -> Self {
        Self::default().capacity(1)
    }

    /// Sets [`capacity`](Self::capacity). 0 counts as 1.
    #[must_use]
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// Sets [`overflow`](Self::overflow).
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            capacity: 1_024,
            overflow: Overflow::DropOldest,
        }
    }
}

/// The events of one key, or of all keys that a pattern matches, as a [`Stream`].
///
/// It holds as much as its [`SubscribeOptions`] say while nobody reads it; [`missed`](Self::missed) counts what gave
/// way then. What does not decode is skipped and told
/// as a notice. The stream ends, after what was still waiting in it, when its listener is taken off
/// ([`Bus::off_all`](crate::Bus::off_all), [`Bus::off_everything`](crate::Bus::off_everything) and their like) or the last
/// handle of the bus goes; it does not end when the bus is stopped, and goes on when it is started again. Dropping it
/// takes it off the bus.
///
/// Read within tokio, it keeps the task's cooperative budget: a task that reads many waiting events in a row lets the
/// others of its thread run in between.
///
/// ```no_run
/// # use eventcast::{Bus, NetEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(NetEvent, Serialize, Deserialize, Debug)]
/// # struct Reading { celsius: f64 }
/// # async fn read(bus: Bus) {
/// let mut readings = bus.subscribe::<Reading>();
/// while let Some(reading) = readings.next().await {
///     println!("{} °C from {}", reading.celsius, reading.origin());
/// }
/// # }
/// ```
#[must_use = "a subscription that is dropped hears nothing"]
pub struct Subscription<E: FromArgs> {
    listener: Arc<Listener>,
    core: Arc<Core>,
    event: PhantomData<fn() -> E>,
}

impl<E: FromArgs> Subscription<E> {
    pub(crate) fn new(listener: Arc<Listener>, core: Arc<Core>) -> Self {
        Self {
            listener,
            core,
            event: PhantomData,
        }
    }

    /// The next event; `None` when the stream has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<E>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event, if one is waiting.
    pub fn try_next(&mut self) -> Option<Received<E>> {
        if self.core.home.is_elsewhere() {
            return None;
        }
        while let Some(waiting) = self.mailbox().try_pop() {
            if let Some(event) = self.decoded(&waiting) {
                return Some(event);
            }
        }
        None
    }

    /// How many events gave way because nobody read them in time, since the subscription began.
    pub fn missed(&self) -> u64 {
        if self.core.home.is_elsewhere() {
            return 0;
        }
        self.mailbox().missed()
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Received<E>>> {
        if self.core.home.is_elsewhere() {
            return Poll::Ready(None);
        }
        loop {
            let Some(waiting) = std::task::ready!(self.mailbox().poll_pop(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(event) = self.decoded(&waiting) {
                return Poll::Ready(Some(event));
            }
        }
    }

    fn decoded(&self, waiting: &Waiting) -> Option<Received<E>> {
        let delivery = waiting.delivery();
        let claim = self.listener.claim(&self.core);
        match claim.decode(&delivery) {
            Ok(event) => Some(claim.received(event, &delivery)),
            Err(fault) => {
                self.listener.tell_fault(&self.core, delivery.origin, fault);
                None
            }
        }
    }

    fn mailbox(&self) -> &Mailbox<Waiting> {
        let Sink::Stream(mailbox) = self.listener.sink() else {
            unreachable!("a subscription is made with a stream's listener");
        };
        mailbox
    }
}

impl<E: FromArgs> Stream for Subscription<E> {
    type Item = Received<E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received<E>>> {
        self.poll_event(cx)
    }
}

impl<E: FromArgs> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.core.take_off(self.listener.id);
    }
}

impl<E: FromArgs> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("event", &self.listener.key)
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}

/// The listener was taken off, or the last handle of the bus went, before the event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event did not come: its listener was taken off before, or the last handle of the bus was dropped"
)]
pub struct Stopped;

/// The first event of a key after [`Bus::wait_for`](crate::Bus::wait_for) was called.
///
/// It was registered when it was made, so an event that comes before the first poll is not missed. It yields [`Stopped`]
/// when its listener is taken off, as by [`Bus::off_all`](crate::Bus::off_all), or the last handle of the bus goes.
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct WaitFor<E: FromArgs> {
    first: Subscription<E>,
}

impl<E: FromArgs> WaitFor<E> {
    pub(crate) fn new(first: Subscription<E>) -> Self {
        Self { first }
    }
}

impl<E: FromArgs> Future for WaitFor<E> {
    type Output = Result<Received<E>, Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.first.poll_event(cx).map(|event| event.ok_or(Stopped))
    }
}
