//! One registered listener, of whatever kind, and what it takes to hand it an event.
//!
//! An event reaches a listener in one of two ways. [`Listener::offer`] puts it into the listener's queue, where
//! it has one (async listeners, streams, listeners found to be slow); where it has none, the caller runs it on its
//! own thread with [`Listener::run`]. Both are called without any lock of the bus.

use std::{
    any::{Any, TypeId},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    async_listener::AsyncSink,
    backlog::{Pushed, WorkQueue},
    core::Core,
    limit::Tally,
    notice::Notice,
    options::Options,
    received::{Origin, Received},
    subscription::StreamSink,
};
use crate::{
    codec::{self, Args, DecodeError, RawArgs},
    event::NetEvent,
};

/// Names a listener, to take it off again. Dropping it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) u64);

/// What a listener can be handed: a typed event, or the [`Args`] of one that is listened to by name.
///
/// Implemented for every [`NetEvent`] and for [`Args`], and for nothing else.
pub trait FromArgs: Sized + Send + 'static {
    #[doc(hidden)]
    fn from_args(args: RawArgs<'_>, memory_limit: usize) -> Result<Self, DecodeError>;
}

impl<E: NetEvent> FromArgs for E {
    fn from_args(args: RawArgs<'_>, _: usize) -> Result<Self, DecodeError> {
        codec::decode_event(args, E::SHAPE.kind)
    }
}

impl FromArgs for Args {
    fn from_args(args: RawArgs<'_>, memory_limit: usize) -> Result<Self, DecodeError> {
        Self::from_raw_within(args, memory_limit)
    }
}

/// An event on its way to a listener, borrowed from wherever its bytes are.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// The event key.
    pub(crate) name: &'a str,
    pub(crate) args: RawArgs<'a>,
    pub(crate) origin: &'a Origin,
}

/// An event that waits in a queue. The queues of one event share its bytes.
#[derive(Clone)]
pub(crate) struct Waiting {
    name: Arc<str>,
    kind: u8,
    bytes: Arc<[u8]>,
    origin: Origin,
}

impl Waiting {
    fn keep(delivery: &Delivery<'_>) -> Self {
        let (kind, bytes) = delivery.args.parts();
        Self {
            name: delivery.name.into(),
            kind,
            bytes: bytes.into(),
            origin: delivery.origin.clone(),
        }
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            name: &self.name,
            args: RawArgs::from_parts(self.kind, &self.bytes),
            origin: &self.origin,
        }
    }

    /// What it counts against a bound in bytes: the arguments, the name, and the entry itself.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.name.len() + size_of::<Self>()
    }
}

/// A closure with the type of its event erased.
pub(crate) trait Call: Send + Sync {
    fn event_type(&self) -> TypeId;
    /// Decodes, and hands back what runs the closure.
    fn decoded(&self, delivery: &Delivery<'_>, claim: &Claim<'_>) -> Result<Called, DecodeError>;
    /// Runs the closure on a [`Received`] of its own event type.
    fn same_type(&self, received: &dyn Any, claim: &Claim<'_>) -> Called;
}

/// Whether the closure was called: a used-up `once` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Yes,
    UsedUp,
}

/// What stands between a decoded event and the closure: `once` lets one call through.
pub(crate) struct Claim<'a> {
    listener: &'a Listener,
    core: &'a Arc<Core>,
}

impl Claim<'_> {
    /// The event as the listener's type has it.
    pub(crate) fn decode<E: FromArgs>(&self, delivery: &Delivery<'_>) -> Result<E, DecodeError> {
        E::from_args(delivery.args, self.core.options.args_memory())
    }

    /// The decoded event as the listener is to get it.
    pub(crate) fn received<E>(&self, event: E, delivery: &Delivery<'_>) -> Received<E> {
        let name = self.listener.name_of(delivery.name);
        let core = Arc::clone(self.core);
        Received::new(event, name, delivery.origin.clone(), core)
    }

    /// True for every call of an ordinary listener, and for the first of a `once`.
    pub(crate) fn take(&self) -> bool {
        let Some(used) = &self.listener.once else {
            return true;
        };
        if used.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.core.table.remove(self.listener.id);
        true
    }
}

struct Closure<E, F> {
    function: F,
    event: std::marker::PhantomData<fn(E)>,
}

impl<E: FromArgs, F: Fn(&Received<E>) + Send + Sync + 'static> Call for Closure<E, F> {
    fn event_type(&self) -> TypeId {
        TypeId::of::<E>()
    }

    fn decoded(&self, delivery: &Delivery<'_>, claim: &Claim<'_>) -> Result<Called, DecodeError> {
        let event: E = claim.decode(delivery)?;
        if !claim.take() {
            return Ok(Called::UsedUp);
        }
        (self.function)(&claim.received(event, delivery));
        Ok(Called::Yes)
    }

    fn same_type(&self, received: &dyn Any, claim: &Claim<'_>) -> Called {
        let received = received
            .downcast_ref::<Received<E>>()
            .expect("only events of `event_type` are handed to `same_type`");
        if !claim.take() {
            return Called::UsedUp;
        }
        (self.function)(received);
        Called::Yes
    }
}

/// How the listener takes its events.
pub(crate) enum Sink {
    /// On the thread that has the event, until it is found to be slow.
    Inline(Inline),
    /// On a tokio runtime, from a queue of its own.
    Async(Box<AsyncSink>),
    /// By whoever polls the stream.
    Stream(StreamSink),
}

pub(crate) struct Inline {
    call: Box<dyn Call>,
    /// There once the listener has been moved to a queue of its own.
    queue: OnceLock<WorkQueue<Waiting>>,
}

impl Inline {
    pub(crate) fn new<E: FromArgs>(
        function: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            call: Box::new(Closure {
                function,
                event: std::marker::PhantomData,
            }),
            queue: OnceLock::new(),
        }
    }
}

pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// The event key, or the pattern.
    pub(crate) key: Arc<str>,
    /// Its place among the listeners of its key: ascending.
    pub(crate) order: i64,
    /// For `once`: whether it has been used up.
    once: Option<AtomicBool>,
    /// Where it was registered.
    pub(crate) location: &'static Location<'static>,
    sink: Sink,
    /// How many events its full queue cost it.
    missed: Arc<Tally>,
}

/// What became of an event that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is in the listener's queue, or was missed for want of room there, which has been told.
    Queued,
    /// The listener has no queue: whoever offers runs it.
    RunInline,
}

impl Listener {
    pub(crate) fn new(
        id: ListenerId,
        key: Arc<str>,
        order: i64,
        once: bool,
        location: &'static Location<'static>,
        sink: Sink,
    ) -> Self {
        Self {
            id,
            key,
            order,
            once: once.then(AtomicBool::default),
            location,
            sink,
            missed: Arc::default(),
        }
    }

    /// The name of an event that came for this listener, without a copy where it is the listener's own key.
    pub(crate) fn name_of(&self, name: &str) -> Arc<str> {
        if *self.key == *name {
            Arc::clone(&self.key)
        } else {
            name.into()
        }
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// How it takes its events, for a person.
    #[cfg(feature = "repl")]
    pub(crate) fn kind(&self) -> &'static str {
        match &self.sink {
            Sink::Inline(inline) if inline.queue.get().is_some() => "slow, in a queue",
            Sink::Inline(_) => "inline",
            Sink::Async(_) => "async",
            Sink::Stream(_) => "stream",
        }
    }

    /// Queues the event where the listener has a queue. `kept` shares the copy between the queues of one event.
    pub(crate) fn offer(
        self: &Arc<Self>,
        core: &Arc<Core>,
        delivery: &Delivery<'_>,
        kept: &mut Option<Waiting>,
    ) -> Offered {
        let mut keep = || kept.get_or_insert_with(|| Waiting::keep(delivery)).clone();
        match &self.sink {
            Sink::Inline(inline) => {
                let Some(queue) = inline.queue.get() else {
                    return Offered::RunInline;
                };
                let waiting = keep();
                let size = waiting.size();
                match queue.push(waiting, size) {
                    Pushed::Taken | Pushed::Closed => {}
                    Pushed::Missed(count) => self.tell_missed(core, count),
                    Pushed::Unserved => self.spawn_server(core, queue),
                }
            }
            Sink::Async(sink) => {
                let missed = sink.push(core, self, keep());
                self.tell_missed(core, missed);
            }
            // A stream counts by itself what it missed, and tells it to whoever reads it.
            Sink::Stream(sink) => {
                let missed = sink.push(keep());
                if missed > 0 {
                    core.counters.subscription_missed.add(missed);
                }
            }
        }
        Offered::Queued
    }

    /// Decodes the event and runs the closure here and now. A panic in it ends here.
    pub(crate) fn run(&self, core: &Arc<Core>, delivery: &Delivery<'_>) -> bool {
        let Sink::Inline(inline) = &self.sink else {
            unreachable!("only inline listeners are run");
        };
        let claim = Claim {
            listener: self,
            core,
        };
        match catch_unwind(AssertUnwindSafe(|| inline.call.decoded(delivery, &claim))) {
            Ok(Ok(called)) => called == Called::Yes,
            Ok(Err(error)) => {
                self.tell_undecodable(core, delivery.origin, error);
                false
            }
            Err(payload) => {
                self.tell_panic(core, payload.as_ref());
                true
            }
        }
    }

    /// Runs the closure on the very value that was emitted, if it is of the listener's own type.
    pub(crate) fn run_same_type<E: Send + 'static>(
        &self,
        core: &Arc<Core>,
        received: &Received<E>,
    ) -> Option<bool> {
        let Sink::Inline(inline) = &self.sink else {
            return None;
        };
        if inline.call.event_type() != TypeId::of::<E>() {
            return None;
        }
        let claim = Claim {
            listener: self,
            core,
        };
        match catch_unwind(AssertUnwindSafe(|| inline.call.same_type(received, &claim))) {
            Ok(called) => Some(called == Called::Yes),
            Err(payload) => {
                self.tell_panic(core, payload.as_ref());
                Some(true)
            }
        }
    }

    /// Gives a listener that is running right now, and too long, a queue of its own; false if it has one. The
    /// thread in which it runs counts as the one that serves it, and calls [`Self::serve`] when the call returns.
    pub(crate) fn move_to_queue(&self, options: &Options) -> bool {
        let Sink::Inline(inline) = &self.sink else {
            return false;
        };
        let queue = WorkQueue::new(options.listener_queue.into(), true);
        inline.queue.set(queue).is_ok()
    }

    pub(crate) fn tell_slow(&self, core: &Arc<Core>) {
        core.notices.tell(
            core,
            Notice::ListenerSlow {
                event: self.key.to_string(),
                listener: self.id,
                registered_at: self.location,
                budget: core.options.listener_budget,
                count: 1,
            },
        );
    }

    /// Works off the queue of a moved listener, if this one is.
    pub(crate) fn serve(&self, core: &Arc<Core>) {
        if let Sink::Inline(inline) = &self.sink
            && let Some(queue) = inline.queue.get()
        {
            queue.serve(|waiting| {
                self.run(core, &waiting.delivery());
            });
        }
    }

    /// Ends what waits for this listener: the last handle of the bus has gone.
    pub(crate) fn close(&self) {
        match &self.sink {
            Sink::Inline(inline) => {
                if let Some(queue) = inline.queue.get() {
                    queue.close();
                }
            }
            Sink::Async(sink) => sink.close(),
            Sink::Stream(sink) => sink.close(),
        }
    }

    pub(crate) fn claim<'a>(&'a self, core: &'a Arc<Core>) -> Claim<'a> {
        Claim {
            listener: self,
            core,
        }
    }

    fn spawn_server(self: &Arc<Self>, core: &Arc<Core>, queue: &WorkQueue<Waiting>) {
        let (listener, serving) = (Arc::clone(self), Arc::clone(core));
        let spawned = std::thread::Builder::new()
            .name("eventcast-slow".into())
            .spawn(move || listener.serve(&serving));
        if let Err(error) = spawned {
            // The event stays in the queue; the next one tries again.
            queue.unserved();
            let (key, location) = (&self.key, self.location);
            let text = format!(
                "the system gives no thread for the slow listener of `{key}` at {location} ({error}): its events wait"
            );
            core.notices.tell(core, Notice::Warning { text });
        }
    }

    /// Counts what a full queue cost, and reports it.
    fn tell_missed(&self, core: &Arc<Core>, count: usize) {
        if count == 0 {
            return;
        }
        core.counters.listener_missed.add(count as u64);
        if self.missed.add(count as u64) {
            core.notices.tell_tally(
                core,
                Notice::ListenerMissed {
                    event: self.key.to_string(),
                    listener: self.id,
                    registered_at: self.location,
                    missed: 0,
                    count: 0,
                },
                Arc::clone(&self.missed),
            );
        }
    }

    pub(crate) fn tell_undecodable(&self, core: &Arc<Core>, sender: &Origin, error: DecodeError) {
        core.counters.decode_failures.add(1);
        core.notices.tell(
            core,
            Notice::DecodeFailure {
                event: self.key.to_string(),
                listener: self.id,
                registered_at: self.location,
                sender: sender.clone(),
                error,
                count: 1,
            },
        );
    }

    pub(crate) fn tell_panic(&self, core: &Arc<Core>, payload: &(dyn Any + Send)) {
        core.counters.listener_panics.add(1);
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".into());
        core.notices.tell(
            core,
            Notice::ListenerPanicked {
                event: self.key.to_string(),
                listener: self.id,
                registered_at: self.location,
                message,
                count: 1,
            },
        );
    }
}
