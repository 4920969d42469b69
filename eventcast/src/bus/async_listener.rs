//! Async listeners: a queue of their own, worked off on a tokio runtime, one event after the other or several at
//! once.

use std::{
    future::Future,
    marker::PhantomData,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    backlog::{Backlog, Bound, Overflow},
    core::Core,
    listener::{Claim, Delivery, FromArgs, Listener, Sink, Waiting},
    received::Received,
};
use crate::codec::DecodeError;

/// What [`Bus::on_async`](crate::Bus::on_async) takes: a closure that returns a future which can move between
/// threads.
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

/// An async closure with the type of its event erased. `None`: a `once` that was used up.
trait AsyncCall: Send + Sync {
    fn start(
        &self,
        delivery: &Delivery<'_>,
        claim: &Claim<'_>,
    ) -> Result<Option<CallFuture>, DecodeError>;
}

struct Closure<E, F> {
    function: F,
    event: PhantomData<fn(E)>,
}

impl<E: FromArgs, F: AsyncListener<Received<E>>> AsyncCall for Closure<E, F> {
    fn start(
        &self,
        delivery: &Delivery<'_>,
        claim: &Claim<'_>,
    ) -> Result<Option<CallFuture>, DecodeError> {
        let event: E = claim.decode(delivery)?;
        if !claim.take() {
            return Ok(None);
        }
        let received = claim.received(event, delivery);
        Ok(Some(Box::pin((self.function)(received))))
    }
}

pub(crate) struct AsyncSink {
    call: Box<dyn AsyncCall>,
    /// How many calls may be under way at once.
    concurrency: NonZeroUsize,
    state: Mutex<State>,
}

struct State {
    backlog: Backlog<Waiting>,
    /// Tasks that work the queue off, one call at a time each.
    running: usize,
    closed: bool,
}

impl AsyncSink {
    pub(crate) fn new<E: FromArgs>(
        bound: Bound,
        concurrency: NonZeroUsize,
        function: impl AsyncListener<Received<E>>,
    ) -> Self {
        Self {
            call: Box::new(Closure {
                function,
                event: PhantomData,
            }),
            concurrency,
            state: Mutex::new(State {
                backlog: Backlog::new(bound, Overflow::DropNewest),
                running: 0,
                closed: false,
            }),
        }
    }

    /// Queues an event, sees to it that a task works the queue off, and says how many events were missed.
    pub(crate) fn push(&self, core: &Arc<Core>, listener: &Arc<Listener>, event: Waiting) -> usize {
        let size = event.size();
        let mut state = self.lock();
        if state.closed {
            return 0;
        }
        let missed = state.backlog.push(event, size);
        // Where there is no runtime, it waits for the one that `start` brings.
        if state.running < self.concurrency.get()
            && let Some(runtime) = core.runtime()
        {
            state.running += 1;
            drop(state);
            runtime.spawn(drain(Arc::clone(listener), Arc::clone(core)));
        }
        missed
    }

    /// Starts on what was queued before there was a runtime.
    pub(crate) fn wake(&self, core: &Arc<Core>, listener: &Arc<Listener>) {
        let Some(runtime) = core.runtime() else {
            return;
        };
        let mut state = self.lock();
        let wanted = state.backlog.len().min(self.concurrency.get());
        while state.running < wanted {
            state.running += 1;
            runtime.spawn(drain(Arc::clone(listener), Arc::clone(core)));
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.backlog.clear();
    }

    /// The next event; `None` ends the task that asks.
    fn pop(&self) -> Option<Waiting> {
        let mut state = self.lock();
        let next = state.backlog.pop();
        if next.is_none() {
            state.running -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a task works the queue off no more, where the runtime drops it in the middle.
struct Abandoned<'a>(&'a AsyncSink);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

async fn drain(listener: Arc<Listener>, core: Arc<Core>) {
    let Sink::Async(sink) = listener.sink() else {
        unreachable!("only async listeners have a task");
    };
    let abandoned = Abandoned(sink);
    while let Some(waiting) = sink.pop() {
        let started = catch_unwind(AssertUnwindSafe(|| {
            sink.call.start(&waiting.delivery(), &listener.claim(&core))
        }));
        match started {
            Ok(Ok(Some(future))) => {
                if let Err(payload) = caught(future).await {
                    listener.tell_panic(&core, payload.as_ref());
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => listener.tell_undecodable(&core, waiting.delivery().origin, error),
            Err(payload) => listener.tell_panic(&core, payload.as_ref()),
        }
        tokio::task::coop::consume_budget().await;
    }
    // `pop` has counted it out under the lock, and another task may run by now.
    std::mem::forget(abandoned);
}

/// The future's end, or the panic that ended it.
async fn caught(mut future: CallFuture) -> std::thread::Result<()> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => std::task::Poll::Ready(Err(payload)),
        }
    })
    .await
}
