//! Listeners that run on the thread that delivers the event. A slow one is moved to a queue of its
//! own, which a thread of its own serves.

use std::{
    any::{Any, TypeId},
    marker::PhantomData,
    mem::needs_drop,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::runtime::Handle;

use super::{
    delivery::{Delivery, QueuedEvent},
    fault::{Fault, Invoked},
    identity::ListenerIdentity,
    invocation::{FromArgs, Invocation},
    owner::Owner,
    received::Received,
    user_closure::UserClosure,
};
use crate::{
    bus::{
        process::{
            runtime::CachedRuntime,
            user_code::{self, Driving, Panicked},
        },
        queue::{
            bounded_queue::Bound,
            work_queue::{Pushed, Server, WorkQueue},
        },
    },
    codec,
};

/// A closure with the type of its event erased.
trait Call: Send + Sync {
    fn event_type(&self) -> TypeId;
    /// Decodes the event and runs the closure.
    fn decoded(
        &self,
        delivery: &Delivery<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<Invoked, Fault>;
    /// Runs the closure on a [`Received`] of its own event type.
    fn same_type(&self, received: &dyn Any, invocation: &Invocation<'_>) -> Result<Invoked, Fault>;
}

struct Closure<E, F> {
    function: F,
    event: PhantomData<fn(E)>,
}

impl<E: FromArgs, F: Fn(&Received<E>) + Send + Sync + 'static> Call for Closure<E, F> {
    fn event_type(&self) -> TypeId {
        TypeId::of::<E>()
    }

    fn decoded(
        &self,
        delivery: &Delivery<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<Invoked, Fault> {
        let event: E = invocation.decode(delivery)?;
        if !invocation.take() {
            user_code::discard(event)?;
            return Ok(Invoked::UsedUp);
        }
        let received = invocation.received(event, delivery);
        let called = user_code::run(|| (self.function)(&received));
        // Dropped after the call has returned: a panic during the unwinding of another one would
        // abort the process.
        let dropped = user_code::discard(received);
        called.and(dropped)?;
        Ok(Invoked::Yes)
    }

    fn same_type(&self, received: &dyn Any, invocation: &Invocation<'_>) -> Result<Invoked, Fault> {
        let received = received
            .downcast_ref::<Received<E>>()
            .expect("the caller passes `same_type` only events of `event_type`");
        if !invocation.take() {
            return Ok(Invoked::UsedUp);
        }
        user_code::run(|| (self.function)(received))?;
        Ok(Invoked::Yes)
    }
}

pub(crate) struct InlineSink {
    call: UserClosure<dyn Call>,
    /// Set when the listener is moved to a queue of its own.
    queue: OnceLock<WorkQueue<QueuedEvent>>,
    /// The listener was taken off, or the last handle of the bus was dropped.
    retired: AtomicBool,
}

impl InlineSink {
    pub(crate) fn new<E: FromArgs, F: Fn(&Received<E>) + Send + Sync + 'static>(
        identity: Arc<ListenerIdentity>,
        function: F,
    ) -> Arc<Self> {
        let closure = Box::new(Closure {
            function,
            event: PhantomData,
        });
        Arc::new(Self {
            call: UserClosure::new(closure, !needs_drop::<F>(), identity),
            queue: OnceLock::new(),
            retired: AtomicBool::new(false),
        })
    }

    /// Whether the events go through a queue.
    pub(crate) fn has_queue(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Queues an event if there is a queue, and returns how many events were dropped for want of
    /// room.
    pub(crate) fn push(&self, event: QueuedEvent, size: usize) -> u64 {
        match self.queue.get().map(|queue| queue.push(event, size)) {
            Some(Pushed::Missed(count)) => count as u64,
            Some(Pushed::Taken | Pushed::Closed) | None => 0,
        }
    }

    /// Starts a thread to serve the queue, if an event waits in it and no thread serves it.
    pub(crate) fn start_serving(self: &Arc<Self>, owner: &Arc<dyn Owner>) {
        let Some(server) = self.queue.get().and_then(WorkQueue::server) else {
            return;
        };
        let (sink, owner) = (Arc::clone(self), Arc::clone(owner));
        let spawned = std::thread::Builder::new()
            .name("eventcast-slow".into())
            .stack_size(codec::STACK_SIZE)
            .spawn(move || {
                let serve = || sink.serve(&owner, server);
                let process = &owner.listeners().process;
                process.guard_thread("serving a slow listener", serve, || ());
            });
        if let Err(error) = spawned {
            // The failed spawn has dropped the server. The event stays in the queue, and the next
            // event tries again.
            self.call.identity().report_no_thread(&error);
        }
    }

    /// Serves the queue: calls the listener with one event after the other until the queue is
    /// empty.
    pub(crate) fn serve(&self, owner: &Arc<dyn Owner>, server: Server<QueuedEvent>) {
        let process = &owner.listeners().process;
        let slot = &process.runtime;
        let mut runtime = CachedRuntime::of(slot);
        server.serve(&process.home, |event: QueuedEvent| {
            let _pause = Driving::pause();
            self.run(owner, runtime.get(slot), &event.delivery());
        });
    }

    /// Decodes the event and runs the closure on this thread, within the bus's runtime. Catches a
    /// panic of the closure.
    pub(crate) fn run(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        delivery: &Delivery<'_>,
    ) -> bool {
        let identity = self.call.identity();
        let invocation = Invocation::new(identity, owner);
        let called = user_code::run_within(runtime, || self.call.decoded(delivery, &invocation));
        match flat(called) {
            Ok(called) => called == Invoked::Yes,
            Err(fault) => {
                let has_panicked = matches!(fault, Fault::Panicked(_));
                identity.report_fault(delivery.key, delivery.origin, fault);
                has_panicked
            }
        }
    }

    /// Runs the closure on the emitted value itself, without encoding, if it is of the listener's
    /// event type.
    pub(crate) fn run_same_type<E: Send + 'static>(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        received: &Received<E>,
    ) -> Option<bool> {
        if self.call.event_type() != TypeId::of::<E>() {
            return None;
        }
        let identity = self.call.identity();
        let invocation = Invocation::new(identity, owner);
        let called = user_code::run_within(runtime, || self.call.same_type(received, &invocation));
        match flat(called) {
            Ok(called) => Some(called == Invoked::Yes),
            Err(fault) => {
                identity.report_fault(received.key(), received.origin(), fault);
                Some(true)
            }
        }
    }

    /// Moves a listener whose call takes too long to a queue of its own. The returned server
    /// belongs to the thread that runs the call: it calls [`serve`](Self::serve) when the call
    /// returns. `None`: the listener has a queue already.
    pub(crate) fn move_to_queue(&self, bound: Bound) -> Option<Server<QueuedEvent>> {
        let (queue, server) = WorkQueue::served(bound);
        self.queue.set(queue).ok()?;
        // `retire` sets the mark and then reads the queue, this sets the queue and then reads the
        // mark: whichever runs second sees the other.
        if self.retired.load(Ordering::SeqCst) {
            self.retire();
        }
        Some(server)
    }

    /// The listener was taken off: the thread of its queue still delivers the waiting events, and
    /// then ends at once.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        if let Some(queue) = self.queue.get() {
            queue.retire();
        }
    }

    /// Drops the waiting events, since the last handle of the bus was dropped.
    pub(crate) fn close(&self) {
        self.retire();
        if let Some(queue) = self.queue.get() {
            queue.close();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_retired(&self) -> bool {
        self.queue.get().is_some_and(WorkQueue::is_retired)
    }
}

/// Joins a panic outside of the call with the outcome of the call.
fn flat(called: Result<Result<Invoked, Fault>, Panicked>) -> Result<Invoked, Fault> {
    called.unwrap_or_else(|panicked| Err(panicked.into()))
}
