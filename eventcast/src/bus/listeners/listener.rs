//! One registered listener, of whatever kind, and what it takes to hand it an event.
//!
//! An event reaches a listener in one of two ways. [`Listener::offer`] puts it into the listener's queue, where
//! it has one (async listeners, streams, listeners found to be slow); where it has none, the caller runs it on its
//! own thread with [`Listener::run`]. Both are called without any lock of the bus.
//!
//! The closure is the user's: it runs and is dropped by way of [`user_code`] alone.

use std::{
    any::{Any, TypeId},
    panic::Location,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    async_sink::AsyncSink, info::ListenerMode, owner::Owner, received::Received,
    registry::Registration,
};
use crate::bus::{
    config::options::Options,
    process::{
        runtime::CachedRuntime,
        user_code::{self, Driving, Panicked},
    },
    queue::{
        backlog::{Pushed, Server, WorkQueue},
        mailbox::Mailbox,
    },
    telemetry::{
        Telemetry, listener_id::ListenerId, notice::Notice, origin::Origin, rate_limit::Tally,
    },
};
use crate::{
    codec::{self, Args, DecodeError, RawArgs},
    event::NetEvent,
};

/// What a listener can be handed: a typed event, or the [`Args`] of one that is listened to by key.
///
/// Implemented for every [`NetEvent`] and for [`Args`], and for nothing else.
pub trait FromArgs: Sized + Send + 'static {
    #[doc(hidden)]
    fn from_args(args: RawArgs<'_>, memory_limit: usize) -> Result<Self, DecodeError>;
}

impl<E: NetEvent> FromArgs for E {
    fn from_args(args: RawArgs<'_>, _: usize) -> Result<Self, DecodeError> {
        codec::decode_event_with_room(args, E::SHAPE.kind)
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
        Self::copy(delivery.name, delivery.args, delivery.origin.clone())
    }

    pub(crate) fn copy(name: &str, args: RawArgs<'_>, origin: Origin) -> Self {
        let (kind, bytes) = args.parts();
        Self {
            name: name.into(),
            kind,
            bytes: bytes.into(),
            origin,
        }
    }

    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            name: &self.name,
            args: RawArgs::from_parts(self.kind, &self.bytes),
            origin: &self.origin,
        }
    }

    /// What it counts against a bound in bytes: the arguments, the key, and the entry itself.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.name.len() + size_of::<Self>()
    }
}

/// A closure with the type of its event erased.
pub(crate) trait Call: Send + Sync {
    fn event_type(&self) -> TypeId;
    /// Decodes, and runs the closure.
    fn decoded(&self, delivery: &Delivery<'_>, claim: &Claim<'_>) -> Result<Called, Fault>;
    /// Runs the closure on a [`Received`] of its own event type.
    fn same_type(&self, received: &dyn Any, claim: &Claim<'_>) -> Result<Called, Fault>;
    /// Whether nothing runs when the closure is dropped.
    fn is_trivial(&self) -> bool;
}

/// Whether the closure was called: a used-up `once` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Yes,
    UsedUp,
}

/// What came in the way of a call.
#[derive(Debug)]
pub(crate) enum Fault {
    Undecodable(DecodeError),
    /// In the decoding, in the closure, or when the event was dropped.
    Panicked(Panicked),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

impl From<Panicked> for Fault {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked(panicked)
    }
}

/// What stands between a decoded event and the closure: `once` lets one call through.
pub(crate) struct Claim<'a> {
    listener: &'a Listener,
    owner: &'a Arc<dyn Owner>,
}

impl Claim<'_> {
    /// The event as the listener's type has it. Its `Deserialize` is the user's.
    pub(crate) fn decode<E: FromArgs>(&self, delivery: &Delivery<'_>) -> Result<E, Fault> {
        let memory_limit = self.owner.listeners().options.args_memory();
        let decoded = user_code::run(|| E::from_args(delivery.args, memory_limit))?;
        Ok(decoded?)
    }

    /// The decoded event as the listener is to get it.
    pub(crate) fn received<E>(&self, event: E, delivery: &Delivery<'_>) -> Received<E> {
        let name = self.listener.name_of(delivery.name);
        let owner = Arc::clone(self.owner);
        Received::new(event, name, delivery.origin.clone(), owner)
    }

    /// True for every call of an ordinary listener, and for the first of a `once`.
    pub(crate) fn take(&self) -> bool {
        let Some(used) = &self.listener.once else {
            return true;
        };
        if used.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.owner.listeners().take_off(self.listener.id);
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

    fn decoded(&self, delivery: &Delivery<'_>, claim: &Claim<'_>) -> Result<Called, Fault> {
        let event: E = claim.decode(delivery)?;
        if !claim.take() {
            user_code::discard(event)?;
            return Ok(Called::UsedUp);
        }
        let received = claim.received(event, delivery);
        let called = user_code::run(|| (self.function)(&received));
        // Not while a panic goes through here, where a second one would end the process.
        let dropped = user_code::discard(received);
        called.and(dropped)?;
        Ok(Called::Yes)
    }

    fn same_type(&self, received: &dyn Any, claim: &Claim<'_>) -> Result<Called, Fault> {
        let received = received
            .downcast_ref::<Received<E>>()
            .expect("only events of `event_type` are handed to `same_type`");
        if !claim.take() {
            return Ok(Called::UsedUp);
        }
        user_code::run(|| (self.function)(received))?;
        Ok(Called::Yes)
    }

    fn is_trivial(&self) -> bool {
        !std::mem::needs_drop::<F>()
    }
}

/// How the listener takes its events.
pub(crate) enum Sink {
    /// On the thread that has the event, until it is found to be slow.
    Inline(Inline),
    /// On a tokio runtime, from a queue of its own.
    Async(Box<AsyncSink>),
    /// By whoever polls the stream.
    Stream(Mailbox<Waiting>),
    /// Not any more: the listener is being dropped.
    Gone,
}

pub(crate) struct Inline {
    call: Box<dyn Call>,
    /// There once the listener has been moved to a queue of its own.
    queue: OnceLock<WorkQueue<Waiting>>,
    /// It has been taken off, or the last handle of the bus has gone.
    retired: AtomicBool,
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
            retired: AtomicBool::new(false),
        }
    }

    /// Marked before the queue is looked for, as the queue is set before the mark is: whichever comes second finds the
    /// other.
    fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        if let Some(queue) = self.queue.get() {
            queue.retire();
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
    /// The type of its event, where it was registered by type.
    pub(crate) event_type: Option<&'static str>,
    /// Where it was registered.
    pub(crate) location: &'static Location<'static>,
    sink: Sink,
    /// How many events its full queue cost it.
    missed: Arc<Tally>,
    telemetry: Arc<Telemetry>,
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
        registration: Registration,
    ) -> Self {
        let Registration {
            place: _,
            once,
            event_type,
            location,
            sink,
            telemetry,
        } = registration;
        Self {
            id,
            key,
            order,
            once: once.then(AtomicBool::default),
            event_type,
            location,
            sink,
            missed: Arc::default(),
            telemetry,
        }
    }

    /// The key of an event that came for this listener, without a copy where it is the listener's own key.
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

    /// How it takes its events.
    pub(crate) fn mode(&self) -> ListenerMode {
        match &self.sink {
            Sink::Inline(inline) if inline.queue.get().is_some() => ListenerMode::Queued,
            // One that is being dropped is found by nobody.
            Sink::Inline(_) | Sink::Gone => ListenerMode::Inline,
            Sink::Async(_) => ListenerMode::Async,
            Sink::Stream(_) => ListenerMode::Stream,
        }
    }

    /// Whether it is for one event.
    pub(crate) fn is_once(&self) -> bool {
        self.once.is_some()
    }

    /// Whether its events go through a queue.
    pub(crate) fn has_queue(&self) -> bool {
        match &self.sink {
            Sink::Inline(inline) => inline.queue.get().is_some(),
            Sink::Async(_) | Sink::Stream(_) => true,
            Sink::Gone => false,
        }
    }

    /// Queues the event where the listener has a queue. `kept` shares the copy between the queues of one event.
    pub(crate) fn offer(
        self: &Arc<Self>,
        owner: &Arc<dyn Owner>,
        delivery: &Delivery<'_>,
        kept: &mut Option<Waiting>,
    ) -> Offered {
        if !self.has_queue() {
            return Offered::RunInline;
        }
        let waiting = kept.get_or_insert_with(|| Waiting::keep(delivery)).clone();
        let has_missed = self.queue(waiting);
        self.see_to_queue(owner, has_missed);
        Offered::Queued
    }

    /// Puts the event into the listener's queue. Nothing of the user's runs in here; [`Self::see_to_queue`] has to be
    /// called afterwards, with what this returns: whether a miss has to be reported.
    pub(crate) fn queue(&self, waiting: Waiting) -> bool {
        let size = waiting.size();
        let missed = match &self.sink {
            Sink::Inline(inline) => match inline.queue.get().map(|queue| queue.push(waiting, size))
            {
                Some(Pushed::Missed(count)) => count as u64,
                Some(Pushed::Taken | Pushed::Closed) | None => 0,
            },
            Sink::Async(sink) => sink.push(waiting, size),
            // A stream counts by itself what it missed, and tells it to whoever reads it.
            Sink::Stream(mailbox) => {
                self.telemetry
                    .counters
                    .subscription_missed
                    .add(mailbox.push(waiting, size));
                return false;
            }
            Sink::Gone => 0,
        };
        if missed == 0 {
            return false;
        }
        self.telemetry.counters.listener_missed.add(missed);
        self.missed.add(missed)
    }

    /// Sees to it that what was put into the listener's queue is taken from there, and reports a miss.
    pub(crate) fn see_to_queue(self: &Arc<Self>, owner: &Arc<dyn Owner>, has_missed: bool) {
        match &self.sink {
            Sink::Inline(inline) => {
                if let Some(server) = inline.queue.get().and_then(WorkQueue::server) {
                    self.spawn_server(owner, server);
                }
            }
            Sink::Async(sink) => sink.start_task(owner, self),
            Sink::Stream(mailbox) => mailbox.wake(),
            Sink::Gone => {}
        }
        if has_missed {
            self.report_missed();
        }
    }

    /// Decodes the event and runs the closure here and now, within the bus's runtime. A panic in it ends here.
    pub(crate) fn run(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        delivery: &Delivery<'_>,
    ) -> bool {
        let Sink::Inline(inline) = &self.sink else {
            unreachable!("only inline listeners are run");
        };
        let claim = self.claim(owner);
        let called = user_code::run_within(runtime, || inline.call.decoded(delivery, &claim));
        match flat(called) {
            Ok(called) => called == Called::Yes,
            Err(fault) => {
                let has_panicked = matches!(fault, Fault::Panicked(_));
                self.report_fault(delivery.name, delivery.origin, fault);
                has_panicked
            }
        }
    }

    /// Runs the closure on the very value that was emitted, if it is of the listener's own type.
    pub(crate) fn run_same_type<E: Send + 'static>(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        received: &Received<E>,
    ) -> Option<bool> {
        let Sink::Inline(inline) = &self.sink else {
            return None;
        };
        if inline.call.event_type() != TypeId::of::<E>() {
            return None;
        }
        let claim = self.claim(owner);
        let called = user_code::run_within(runtime, || inline.call.same_type(received, &claim));
        match flat(called) {
            Ok(called) => Some(called == Called::Yes),
            Err(fault) => {
                self.report_fault(received.key(), received.origin(), fault);
                Some(true)
            }
        }
    }

    /// Gives a listener that is running right now, and too long, a queue of its own. The thread in which it runs gets the
    /// right to serve it, and calls [`Self::serve`] when the call returns. `None`: it has one.
    pub(crate) fn move_to_queue(&self, options: &Options) -> Option<Server<Waiting>> {
        let Sink::Inline(inline) = &self.sink else {
            return None;
        };
        let (queue, server) = WorkQueue::served(options.listener_queue.into());
        inline.queue.set(queue).ok()?;
        if inline.retired.load(Ordering::SeqCst) {
            inline.retire();
        }
        Some(server)
    }

    /// `budget` is how long a call may take.
    pub(crate) fn report_slow(&self, budget: Duration) {
        self.telemetry.report(Notice::ListenerSlow {
            key: self.key.to_string(),
            listener: self.id,
            registered_at: self.location,
            budget,
            count: 1,
        });
    }

    /// Works off the queue of a moved listener.
    pub(crate) fn serve(&self, owner: &Arc<dyn Owner>, server: Server<Waiting>) {
        let process = &owner.listeners().process;
        let slot = &process.runtime;
        let mut runtime = CachedRuntime::of(slot);
        server.serve(&process.home, |waiting| {
            let _pause = Driving::pause();
            self.run(owner, runtime.get(slot), &waiting.delivery());
        });
    }

    /// It has been taken off: streams end after what waits in them, and what else waits is worked off without delay.
    pub(crate) fn retire(&self) {
        match &self.sink {
            Sink::Inline(inline) => inline.retire(),
            Sink::Stream(mailbox) => mailbox.close(),
            Sink::Async(sink) => sink.retire(),
            Sink::Gone => {}
        }
    }

    /// Ends what waits for this listener: the last handle of the bus has gone.
    pub(crate) fn close(&self) {
        match &self.sink {
            Sink::Inline(inline) => {
                inline.retire();
                if let Some(queue) = inline.queue.get() {
                    queue.close();
                }
            }
            Sink::Async(sink) => {
                sink.close();
            }
            Sink::Stream(mailbox) => mailbox.close(),
            Sink::Gone => {}
        }
    }

    /// Gives up what waits for this async listener, which misses it.
    pub(crate) fn miss_all(&self) {
        let Sink::Async(sink) = &self.sink else {
            return;
        };
        let missed = sink.close() as u64;
        self.telemetry.counters.listener_missed.add(missed);
        if missed > 0 && self.missed.add(missed) {
            self.report_missed();
        }
    }

    pub(crate) fn claim<'a>(&'a self, owner: &'a Arc<dyn Owner>) -> Claim<'a> {
        Claim {
            listener: self,
            owner,
        }
    }

    fn spawn_server(self: &Arc<Self>, owner: &Arc<dyn Owner>, server: Server<Waiting>) {
        let (listener, owner) = (Arc::clone(self), Arc::clone(owner));
        let spawned = std::thread::Builder::new()
            .name("eventcast-slow".into())
            .stack_size(codec::STACK_SIZE)
            .spawn(move || {
                let serve = || listener.serve(&owner, server);
                let process = &owner.listeners().process;
                process.guard_thread("serving a slow listener", serve, || ());
            });
        if let Err(error) = spawned {
            // The server has gone with the thread; the event stays in the queue, and the next one tries again.
            let (key, location) = (&self.key, self.location);
            let text = format!(
                "the system gives no thread for the slow listener of `{key}` at {location} ({error}): its events wait"
            );
            self.telemetry.report(Notice::Warning { text });
        }
    }

    /// Reports what its full queue cost it.
    fn report_missed(&self) {
        self.telemetry.report_tally(
            Notice::ListenerMissed {
                key: self.key.to_string(),
                listener: self.id,
                registered_at: self.location,
                missed: 0,
                count: 0,
            },
            Arc::clone(&self.missed),
        );
    }

    /// Something went wrong with an event of this key, which need not be the listener's own.
    pub(crate) fn report_fault(&self, key: &str, sender: &Origin, fault: Fault) {
        match fault {
            Fault::Undecodable(error) => self.report_undecodable(key, sender, error),
            Fault::Panicked(panicked) => self.report_panic(panicked),
        }
    }

    fn report_undecodable(&self, key: &str, sender: &Origin, error: DecodeError) {
        #[cfg(feature = "repl")]
        super::nesting::note_misfit(self.location, &error);
        self.telemetry.counters.decode_failures.add(1);
        self.telemetry.report(Notice::DecodeFailure {
            key: key.to_owned(),
            listener: self.id,
            registered_at: self.location,
            sender: sender.clone(),
            error,
            count: 1,
        });
    }

    /// An async listener has no runtime to run in: there is none, or it has been shut down.
    pub(crate) fn report_no_runtime(&self) {
        self.telemetry.report(Notice::NoRuntime {
            key: self.key.to_string(),
            listener: self.id,
            registered_at: self.location,
            count: 1,
        });
    }

    fn report_panic(&self, panicked: Panicked) {
        let (key, id, location) = (&self.key, self.id, self.location);
        report_panic(&self.telemetry, key, id, location, panicked.message);
    }
}

impl Drop for Listener {
    /// What the closure holds is the user's, and whoever had the listener last need not expect it.
    fn drop(&mut self) {
        let closure: Box<dyn Any + Send + Sync> =
            match std::mem::replace(&mut self.sink, Sink::Gone) {
                Sink::Inline(inline) if !inline.call.is_trivial() => Box::new(inline),
                Sink::Async(sink) if !sink.is_trivial() => sink,
                // Nothing runs.
                _ => return,
            };
        let (telemetry, key) = (Arc::clone(&self.telemetry), Arc::clone(&self.key));
        let (id, location) = (self.id, self.location);
        user_code::discard_aside(closure, move |panicked| {
            let message = format!("when it was dropped: {}", panicked.message);
            report_panic(&telemetry, &key, id, location, message);
        });
    }
}

fn report_panic(
    telemetry: &Arc<Telemetry>,
    key: &str,
    listener: ListenerId,
    registered_at: &'static Location<'static>,
    message: String,
) {
    telemetry.counters.listener_panics.add(1);
    telemetry.report(Notice::ListenerPanicked {
        key: key.to_owned(),
        listener,
        registered_at,
        message,
        count: 1,
    });
}

/// What came of a call, wherever it went wrong.
fn flat(called: Result<Result<Called, Fault>, Panicked>) -> Result<Called, Fault> {
    called.unwrap_or_else(|panicked| Err(panicked.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bus;

    #[test]
    fn an_event_that_does_not_fit_a_listener_by_pattern_is_named_by_its_own_key() {
        let builder = Bus::builder().environment(false);
        let bus = builder.max_message_size(1_600_000).build().unwrap();
        bus.on_pattern("order.*", |_| ());
        let mut stream = bus.subscribe_pattern("order.*");
        let (sender, told) = std::sync::mpsc::channel();
        bus.on_notice(move |notice| {
            let _ = sender.send(notice.clone());
        });
        // As values they take a dozen times as much as in the message.
        bus.emit_named("order.placed", (vec![true; 170_000],))
            .unwrap_err();
        assert!(stream.try_next().is_err());
        for _ in 0..2 {
            let notice = told.recv_timeout(Duration::from_secs(60));
            let Ok(Notice::DecodeFailure { key, .. }) = &notice else {
                panic!("{notice:?}");
            };
            assert_eq!(key, "order.placed");
        }
    }

    /// One that is still being called, by whoever took the list before.
    #[test]
    fn what_is_moved_after_it_was_taken_off_does_not_linger() {
        for is_last_handle in [false, true] {
            let bus = Bus::builder().environment(false).build().unwrap();
            let id = bus.on_named("x", |_| ());
            let listener = bus.core.shared.listeners.table.list("x").unwrap()[0].clone();
            let options = Arc::clone(&bus.core.shared.options);
            if is_last_handle {
                drop(bus);
            } else {
                assert!(bus.off(id));
            }
            assert!(listener.move_to_queue(&options).is_some());
            let Sink::Inline(inline) = listener.sink() else {
                unreachable!("`on_named` makes one that runs inline");
            };
            assert!(inline.queue.get().unwrap().is_retired());
        }
    }
}
