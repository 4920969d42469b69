//! Events as a stream.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{
    delivery::QueuedEvent,
    fault::Fault,
    invocation::{FromArgs, Invocation},
    listener::{Listener, Sink},
    owner::Owner,
    received::Received,
};
use crate::bus::{
    process::{
        blocking::{block_on, deadline},
        user_code,
    },
    queue::{
        bounded_queue::Overflow,
        error::{RecvTimeoutError, TryNextError},
        mailbox::Mailbox,
    },
};

/// How many events a subscription holds that were not read yet, and which are dropped when it is
/// full.
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
    /// How many events it holds, at least 1. Default: 1,024, enough for a burst. All together they
    /// take no more bytes than `listener_queue` says, whatever this is.
    pub capacity: usize,
    /// What gives way when there is no room. Default: the oldest.
    pub overflow: Overflow,
}

impl SubscribeOptions {
    /// Keeps the newest event alone, so that a reader gets the present value and none before it.
    ///
    /// ```
    /// let options = eventcast::SubscribeOptions::latest();
    /// assert_eq!(options.capacity, 1);
    /// ```
    pub fn latest() -> Self {
        Self::default().capacity(1)
    }

    /// Sets how many events wait before some are dropped. Default: 1,024; 0 counts as 1.
    ///
    /// ```
    /// let options = eventcast::SubscribeOptions::default().capacity(16);
    /// assert_eq!(options.capacity, 16);
    /// ```
    #[must_use]
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// Sets which events are dropped when there is no room. Default: the oldest.
    ///
    /// ```
    /// use eventcast::{Overflow, SubscribeOptions};
    ///
    /// let options = SubscribeOptions::default().overflow(Overflow::DropNewest);
    /// ```
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

/// The user's condition of a wait.
pub(crate) type Condition<E> = Box<dyn Fn(&Received<E>) -> bool + Send + Sync>;

/// The events of one key, or of all keys that a pattern matches, as a [`Stream`].
///
/// It holds unread events up to the limit in its [`SubscribeOptions`]; [`missed`](Self::missed)
/// counts those that were dropped. An event that does not decode is skipped and reported as a
/// notice. The stream ends, after the events that still wait in it, when its listener is taken off
/// ([`Bus::off_all`](crate::Bus::off_all), [`Bus::off_everything`](crate::Bus::off_everything),
/// [`Bus::off_all_named`](crate::Bus::off_all_named)) or the last handle of the bus is dropped; it
/// does not end when the bus is stopped, and goes on when the bus is started again. Dropping the
/// stream takes it off the bus.
///
/// Read within tokio, it keeps the task's cooperative budget: a task that reads many waiting events
/// in a row lets the other tasks of its thread run in between. A thread without a runtime calls
/// [`blocking_next`](Self::blocking_next) or [`recv_timeout`](Self::recv_timeout).
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
    owner: Arc<dyn Owner>,
    event: PhantomData<fn() -> E>,
}

impl<E: FromArgs> Subscription<E> {
    pub(crate) fn new(listener: Arc<Listener>, owner: Arc<dyn Owner>) -> Self {
        Self {
            listener,
            owner,
            event: PhantomData,
        }
    }

    /// The next event. `None` when the stream has ended.
    ///
    /// The future may be dropped before it is ready, and no event is lost; polled again after it
    /// was ready, it panics.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let mut greetings = bus.subscribe_named("greeting");
    /// while let Some(args) = greetings.next().await {
    ///     println!("{args:?}");
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Received<E>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event, if one is waiting.
    ///
    /// # Errors
    ///
    /// [`TryNextError::Empty`] where none is, [`TryNextError::Ended`] where none will come any
    /// more.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut greetings = bus.subscribe_named("greeting");
    /// // Once in a turn of a game's loop, for example.
    /// while let Ok(args) = greetings.try_next() {
    ///     println!("{args:?}");
    /// }
    /// # }
    /// ```
    pub fn try_next(&mut self) -> Result<Received<E>, TryNextError> {
        if self.owner.listeners().process.is_forked() {
            return Err(TryNextError::Ended);
        }
        loop {
            let waiting = self.mailbox().try_pop()?;
            if let Some(event) = self.decoded(&waiting) {
                return Ok(event);
            }
        }
    }

    /// Blocks the thread until the next event comes; `None` when the stream has ended. On a thread
    /// of a runtime it holds up what that thread is there for; there, await [`next`](Self::next).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut greetings = bus.subscribe_named("greeting");
    /// std::thread::spawn(move || {
    ///     while let Some(args) = greetings.blocking_next() {
    ///         println!("{args:?}");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn blocking_next(&mut self) -> Option<Received<E>> {
        block_on(self.next(), None).flatten()
    }

    /// Blocks the thread until the next event comes, for as long as `timeout` says at most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] where none has come by then, [`RecvTimeoutError::Ended`] where
    /// none will come any more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(bus: &eventcast::Bus) {
    /// let mut greetings = bus.subscribe_named("greeting");
    /// match greetings.recv_timeout(Duration::from_secs(1)) {
    ///     Ok(args) => println!("{args:?}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Received<E>, RecvTimeoutError> {
        match block_on(self.next(), deadline(timeout)) {
            Some(Some(event)) => Ok(event),
            Some(None) => Err(RecvTimeoutError::Ended),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// How many events were dropped since the subscription began, because they were not read in
    /// time. It counts those that decode and those that do not.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let greetings = bus.subscribe_named("greeting");
    /// println!("{} missed", greetings.missed());
    /// # }
    /// ```
    pub fn missed(&self) -> u64 {
        if self.owner.listeners().process.is_forked() {
            return 0;
        }
        self.mailbox().missed()
    }

    pub(crate) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Received<E>>> {
        if self.owner.listeners().process.is_forked() {
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

    fn decoded(&self, waiting: &QueuedEvent) -> Option<Received<E>> {
        let delivery = waiting.delivery();
        let invocation = Invocation::new(&self.listener.identity, &self.owner);
        let decoded = invocation.decode(&delivery).and_then(|event| {
            if invocation.take() {
                return Ok(Some(invocation.received(event, &delivery)));
            }
            user_code::discard(event)?;
            Ok(None)
        });
        decoded.unwrap_or_else(|fault| {
            self.listener
                .identity
                .report_fault(delivery.key, delivery.origin, fault);
            None
        })
    }

    /// The event, if the user's condition is true for it.
    pub(crate) fn filtered(
        &self,
        event: Received<E>,
        condition: &Condition<E>,
    ) -> Option<Received<E>> {
        let holds = user_code::run(|| condition(&event));
        if let Ok(true) = holds {
            return Some(event);
        }
        let origin = event.origin().clone();
        let dropped = user_code::discard(event);
        if let Err(panicked) = holds.map(drop).and(dropped) {
            let fault = Fault::Panicked(panicked);
            let key = &self.listener.identity.key;
            self.listener.identity.report_fault(key, &origin, fault);
        }
        None
    }

    fn mailbox(&self) -> &Mailbox<QueuedEvent> {
        let Sink::Stream(mailbox) = self.listener.sink() else {
            unreachable!("a subscription is created with the listener of a stream");
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
        self.owner.listeners().take_off(self.listener.identity.id);
    }
}

impl<E: FromArgs> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("event", &self.listener.identity.key)
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}
