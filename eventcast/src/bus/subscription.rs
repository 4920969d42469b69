//! Events as a stream, and waiting for a single one.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use super::{
    backlog::{Backlog, Bound, Overflow},
    core::Core,
    listener::{FromArgs, Listener, Sink, Waiting},
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

/// The queue between the bus and whoever polls.
pub(crate) struct StreamSink {
    state: Mutex<State>,
}

struct State {
    backlog: Backlog<Waiting>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

impl StreamSink {
    pub(crate) fn new(bound: Bound, overflow: Overflow) -> Self {
        Self {
            state: Mutex::new(State {
                backlog: Backlog::new(bound, overflow),
                missed: 0,
                waker: None,
                closed: false,
            }),
        }
    }

    /// Takes an event, and returns how many are missed for it: itself, or older ones.
    pub(crate) fn push(&self, event: Waiting) -> u64 {
        let size = event.size();
        let mut state = self.lock();
        if state.closed {
            return 0;
        }
        let missed = state.backlog.push(event, size) as u64;
        state.missed += missed;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        missed
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn try_pop(&self) -> Option<Waiting> {
        self.lock().backlog.pop()
    }

    fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Waiting>> {
        let mut state = self.lock();
        if let Some(event) = state.backlog.pop() {
            return Poll::Ready(Some(event));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn missed(&self) -> u64 {
        self.lock().missed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of one key, or of all keys that a pattern matches, as a [`Stream`].
///
/// It holds as much as its [`SubscribeOptions`] say while nobody reads it; [`missed`](Self::missed) counts what gave
/// way then. What does not decode is skipped and told
/// as a notice. The stream ends when the last handle of the bus goes, after what was still waiting; it does not end
/// when the bus is stopped, and goes on when it is started again. Dropping it takes it off the bus.
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

    /// The next event; `None` when the last handle of the bus has gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<E>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event, if one is waiting.
    pub fn try_next(&mut self) -> Option<Received<E>> {
        while let Some(waiting) = self.sink().try_pop() {
            if let Some(event) = self.decoded(&waiting) {
                return Some(event);
            }
        }
        None
    }

    /// How many events gave way because nobody read them in time, since the subscription began.
    pub fn missed(&self) -> u64 {
        self.sink().missed()
    }

    fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Received<E>>> {
        loop {
            let Some(waiting) = std::task::ready!(self.sink().poll_pop(cx)) else {
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
            Err(error) => {
                self.listener
                    .tell_undecodable(&self.core, delivery.origin, error);
                None
            }
        }
    }

    fn sink(&self) -> &StreamSink {
        let Sink::Stream(sink) = self.listener.sink() else {
            unreachable!("a subscription is made with a stream's listener");
        };
        sink
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
        self.core.table.remove(self.listener.id);
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

/// The last handle of the bus went before the event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last handle of the bus was dropped before the event came")]
pub struct Stopped;

/// The first event of a key after [`Bus::wait_for`](crate::Bus::wait_for) was called.
///
/// It was registered when it was made, so an event that comes before the first poll is not missed.
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
