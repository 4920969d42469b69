//! Async listeners: tasks on a tokio runtime serve the listener's queue, one event after the other
//! or several at once.

use std::{
    future::Future,
    marker::PhantomData,
    mem::needs_drop,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use super::{
    delivery::{Delivery, QueuedEvent},
    fault::Fault,
    identity::ListenerIdentity,
    invocation::{FromArgs, Invocation},
    owner::Owner,
    received::Received,
    user_closure::UserClosure,
};
use crate::{
    bus::{
        process::user_code::{self, LogLimit, Panicked},
        queue::bounded_queue::{Bound, BoundedQueue, Overflow},
    },
    text::printable,
};

/// What [`Bus::on_async`](crate::Bus::on_async) takes: a closure that returns a future which can
/// move between threads.
///
/// It is implemented for every such closure. Together with [`AsyncFn`] it lets the compiler infer
/// `async |e| ..`, and refuse a future that is not `Send`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an async listener",
    note = "an async listener is a closure whose future is `Send`; what it captures is cloned first: \
            `move |e| {{ let db = db.clone(); async move {{ .. }} }}`"
)]
pub trait AsyncListener<A>: Fn(A) -> Self::Fut + Send + Sync + 'static {
    /// The future of one call.
    type Fut: Future<Output = ()> + Send + 'static;
}

impl<A, F, Fut> AsyncListener<A> for F
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Fut = Fut;
}

type CallFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An async closure with the type of its event erased. `start` returns `None` for a used-up `once`.
trait AsyncCall: Send + Sync {
    fn start(
        &self,
        delivery: &Delivery<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<Option<CallFuture>, Fault>;
}

struct Closure<E, F> {
    function: F,
    event: PhantomData<fn(E)>,
}

impl<E: FromArgs, F: AsyncListener<Received<E>>> AsyncCall for Closure<E, F> {
    fn start(
        &self,
        delivery: &Delivery<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<Option<CallFuture>, Fault> {
        let event: E = invocation.decode(delivery)?;
        if !invocation.take() {
            user_code::discard(event)?;
            return Ok(None);
        }
        let received = invocation.received(event, delivery);
        let future = user_code::run(|| (self.function)(received))?;
        Ok(Some(Box::pin(future)))
    }
}

pub(crate) struct AsyncSink {
    call: UserClosure<dyn AsyncCall>,
    /// Most calls at the same time.
    concurrency: NonZeroUsize,
    state: Mutex<State>,
}

struct State {
    queue: BoundedQueue<QueuedEvent>,
    /// Tasks that serve the queue, each with one call at a time: all [`Task`]s of this round, and
    /// those of earlier rounds that have begun.
    running: usize,
    /// Tasks of `running` that have not begun.
    waiting: usize,
    /// Rises when a `start` may have brought another runtime. Tasks that have not begun are then
    /// replaced, since the runtime that holds them may not be driven any more.
    round: u64,
    closed: bool,
    /// The listener has been taken off.
    retired: bool,
}

impl AsyncSink {
    pub(crate) fn new<E: FromArgs, F: AsyncListener<Received<E>>>(
        identity: Arc<ListenerIdentity>,
        bound: Bound,
        concurrency: NonZeroUsize,
        function: F,
    ) -> Arc<Self> {
        let closure = Box::new(Closure {
            function,
            event: PhantomData,
        });
        Arc::new(Self {
            call: UserClosure::new(closure, !needs_drop::<F>(), identity),
            concurrency,
            state: Mutex::new(State {
                queue: BoundedQueue::new(bound, Overflow::DropNewest),
                running: 0,
                waiting: 0,
                round: 0,
                closed: false,
                retired: false,
            }),
        })
    }

    pub(crate) fn identity(&self) -> &Arc<ListenerIdentity> {
        self.call.identity()
    }

    /// Queues an event, and returns how many events were dropped for want of room.
    pub(crate) fn push(&self, event: QueuedEvent, size: usize) -> u64 {
        let mut state = self.lock();
        if state.closed {
            return 0;
        }
        state.queue.push(event, size) as u64
    }

    /// Starts one more task, if an event waits and the concurrency allows it.
    pub(crate) fn start_task(self: &Arc<Self>, owner: &Arc<dyn Owner>) {
        if !self.wants_task(&self.lock()) {
            return;
        }
        let listeners = owner.listeners();
        let Some(runtime) = listeners.process.runtime.get() else {
            // The events wait for the runtime that a `start` brings.
            listeners.retired.keep(self);
            return self.identity().report_no_runtime();
        };
        let mut state = self.lock();
        if !self.wants_task(&state) {
            return;
        }
        let task = Task::begin(&mut state, owner, self);
        drop(state);
        // A runtime that has been shut down drops the task at once.
        if let Err(panicked) = user_code::run(|| runtime.spawn(task.work())) {
            tracing::error!(target: "eventcast", "no task for an async listener: {}", printable(&panicked.message));
        }
    }

    /// Starts tasks for the events that waited for a runtime, or for one that is driven.
    pub(crate) fn start_tasks(self: &Arc<Self>, owner: &Arc<dyn Owner>) {
        let mut state = self.lock();
        state.round += 1;
        state.running -= std::mem::take(&mut state.waiting);
        let waiting = state.queue.len();
        drop(state);
        for _ in 0..waiting.min(self.concurrency.get()) {
            self.start_task(owner);
        }
    }

    /// The listener was taken off. The waiting events still reach it.
    pub(crate) fn retire(&self) {
        self.lock().retired = true;
    }

    /// Whether the listener was taken off and events wait for it.
    pub(crate) fn is_left_waiting(&self) -> bool {
        let state = self.lock();
        state.retired && !state.queue.is_empty()
    }

    /// Refuses further events, drops the waiting ones and returns their number.
    pub(crate) fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let waited = state.queue.len();
        state.queue.clear();
        waited
    }

    /// Drops the waiting events and reports them as missed.
    pub(crate) fn miss_all(&self) {
        let missed = self.close() as u64;
        if self.identity().count_missed(missed) {
            self.identity().report_missed();
        }
    }

    fn wants_task(&self, state: &State) -> bool {
        state.running < self.concurrency.get() && !state.queue.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the tasks that serve the queue. It counts as running from before it is spawned until it
/// is dropped, also where a runtime drops it unfinished.
struct Task {
    owner: Arc<dyn Owner>,
    sink: Arc<AsyncSink>,
    round: u64,
    has_begun: bool,
    /// `running` does not count it any more.
    is_over: bool,
}

impl Task {
    fn begin(state: &mut State, owner: &Arc<dyn Owner>, sink: &Arc<AsyncSink>) -> Self {
        state.running += 1;
        state.waiting += 1;
        Self {
            owner: Arc::clone(owner),
            sink: Arc::clone(sink),
            round: state.round,
            has_begun: false,
            is_over: false,
        }
    }

    async fn work(mut self) {
        self.mark_begun();
        while let Some(waiting) = self.next() {
            let identity = self.sink.identity();
            let invocation = Invocation::new(identity, &self.owner);
            let started = self.sink.call.start(&waiting.delivery(), &invocation);
            let called = match started {
                Ok(Some(future)) => OneCall(Some(future)).await.map_err(Fault::from),
                Ok(None) => Ok(()),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = called {
                let delivery = waiting.delivery();
                identity.report_fault(delivery.key, delivery.origin, fault);
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Begins, unless a task of a later round has replaced this one.
    fn mark_begun(&mut self) {
        let mut state = self.sink.lock();
        let is_replaced = state.round != self.round;
        if !is_replaced {
            state.waiting -= 1;
        }
        drop(state);
        self.has_begun = true;
        self.is_over = is_replaced;
    }

    /// The next event. `None` ends the task.
    fn next(&mut self) -> Option<QueuedEvent> {
        // A call may have forked. The waiting events are the parent's, and their lock may never be
        // released in the child.
        self.is_over |= self.owner.listeners().process.is_forked();
        if self.is_over {
            return None;
        }
        let mut state = self.sink.lock();
        let next = state.queue.pop();
        if next.is_none() {
            // Counted under this lock, so that the next push sees that the task has ended and
            // starts another.
            state.running -= 1;
            let is_retired = state.retired;
            drop(state);
            self.is_over = true;
            if is_retired {
                self.owner
                    .listeners()
                    .retired
                    .release(self.sink.identity().id);
            }
        }
        next
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.sink.lock();
        if !self.has_begun {
            if state.round != self.round {
                return;
            }
            state.waiting -= 1;
        }
        state.running -= 1;
        drop(state);
        // The task was dropped unfinished: its runtime was shut down.
        let listeners = self.owner.listeners();
        listeners.process.runtime.release();
        listeners.retired.keep(&self.sink);
        self.sink.identity().report_no_runtime();
    }
}

/// One call in progress. It drops the user's future when that has ended or panicked, or when it is
/// dropped itself.
struct OneCall(Option<CallFuture>);

impl Future for OneCall {
    type Output = Result<(), Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Ready(Ok(()));
        };
        let ended = match user_code::run(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => Ok(()),
            Err(panicked) => Err(panicked),
        };
        let dropped = user_code::discard(self.0.take());
        Poll::Ready(ended.and(dropped))
    }
}

impl Drop for OneCall {
    fn drop(&mut self) {
        if let Some(future) = self.0.take()
            && let Err(panicked) = user_code::discard(future)
        {
            static LIMIT: LogLimit = LogLimit::new();
            LIMIT.error(|| {
                format!(
                    "a call of an async listener was cut off, and panicked when it was dropped: {}",
                    panicked.message
                )
            });
        }
    }
}
