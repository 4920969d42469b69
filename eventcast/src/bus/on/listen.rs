//! The builder of a listener.

use std::{fmt, marker::PhantomData, num::NonZeroUsize, panic::Location, sync::Arc};

use super::{
    super::{Bus, shared::Shared},
    into_pattern::IntoPattern,
};
use crate::{
    bus::{
        listeners::{
            async_sink::{AsyncListener, AsyncSink},
            identity::ListenerIdentity,
            inline_sink::InlineSink,
            invocation::FromArgs,
            listener::{Listener, Sink},
            pattern::InvalidPattern,
            received::Received,
            registry::{Position, Topic},
            subscription::{SubscribeOptions, Subscription},
            wait_for::WaitFor,
        },
        process::{fork, user_code},
        queue::{
            bounded_queue::{Bound, Overflow},
            mailbox::Mailbox,
        },
        telemetry::listener_id::ListenerId,
    },
    codec::Args,
    event::{self, InvalidKey, KeyConflict, NetEvent},
    text::printable,
};

/// A listener that is about to be registered: what it listens to has been agreed on, and how it is
/// called is said here.
///
/// [`Bus::listen`], [`Bus::listen_named`] and [`Bus::listen_pattern`] begin one.
/// [`call`](Self::call), [`call_async`](Self::call_async), [`subscribe`](Self::subscribe) and
/// [`wait`](Self::wait) register it; before that nothing is.
///
/// ```no_run
/// # use eventcast::{Bus, NetEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(NetEvent, Serialize, Deserialize)]
/// # struct Joined { user: u64 }
/// # fn register(bus: &Bus) {
/// bus.listen::<Joined>().once().prepend().call(|e| println!("the first one: {}", e.user));
/// bus.listen_pattern("order.*").concurrency(4).call_async(async |e| println!("{}", e.key()));
/// # }
/// ```
#[must_use = "nothing is registered before `call`, `call_async`, `subscribe` or `wait`"]
pub struct Listen<'a, E: FromArgs> {
    bus: &'a Bus,
    topic: Topic,
    /// The event type of a listener by type.
    event_type: Option<&'static str>,
    location: &'static Location<'static>,
    place: Position,
    once: bool,
    concurrency: NonZeroUsize,
    event: PhantomData<fn() -> E>,
}

/// Beginning a listener.
impl Bus {
    /// A builder of a listener to events of type `E`. Nothing is registered before
    /// [`call`](Listen::call), [`call_async`](Listen::call_async), [`subscribe`](Listen::subscribe)
    /// or [`wait`](Listen::wait).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn register(bus: &Bus) {
    /// let id = bus.listen::<Joined>().prepend().call(|e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn listen<E: NetEvent>(&self) -> Listen<'_, E> {
        // No closure, so that the panic names the caller's line.
        match self.try_listen() {
            Ok(listen) => listen,
            Err(conflict) => panic!("{conflict}"),
        }
    }

    /// A builder of a listener to events of type `E`, or what is wrong with its key.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn register(bus: &Bus) -> eventcast::Result<()> {
    /// let joined = bus.try_listen::<Joined>()?.subscribe();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyConflict`] where another type of the program claims the same key with another shape.
    #[track_caller]
    pub fn try_listen<E: NetEvent>(&self) -> Result<Listen<'_, E>, KeyConflict> {
        let location = Location::caller();
        // A forked child registers no listener, so it claims no key.
        if !self.core.is_forked() {
            self.core.shared.listeners.claim_key::<E>(location)?;
        }
        let event_type = Some(std::any::type_name::<E>());
        Ok(Listen::new(
            self,
            Topic::Key(E::KEY.into()),
            event_type,
            location,
        ))
    }

    /// A builder of a listener to events of this key, with their arguments. Nothing is registered
    /// before [`call`](Listen::call), [`call_async`](Listen::call_async),
    /// [`subscribe`](Listen::subscribe) or [`wait`](Listen::wait).
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_named("greeting").once().call_async(async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn listen_named(&self, key: &str) -> Listen<'_, Args> {
        match self.try_listen_named(key) {
            Ok(listen) => listen,
            Err(invalid) => panic!("{}", refused_key(key, invalid)),
        }
    }

    /// A builder of a listener to events of this key, with their arguments, or what is wrong with
    /// the key.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus, key: &str) -> eventcast::Result<()> {
    /// bus.try_listen_named(key)?.call(|args| println!("{args:?}"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] where `key` is empty, longer than 1,024 bytes, has control characters, or
    /// begins with `__ec_` as the protocol's own do.
    #[track_caller]
    pub fn try_listen_named(&self, key: &str) -> Result<Listen<'_, Args>, InvalidKey> {
        event::check_key(key)?;
        let topic = Topic::Key(key.into());
        Ok(Listen::new(self, topic, None, Location::caller()))
    }

    /// A builder of a listener to all events whose keys match a [`Pattern`](crate::Pattern), or a
    /// text that is one. Nothing is registered before [`call`](Listen::call),
    /// [`call_async`](Listen::call_async), [`subscribe`](Listen::subscribe) or
    /// [`wait`](Listen::wait).
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// let mut orders = bus.listen_pattern("order.*").subscribe();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no pattern. [`try_listen_pattern`](Self::try_listen_pattern) returns that
    /// as an error.
    #[track_caller]
    pub fn listen_pattern(&self, pattern: impl IntoPattern) -> Listen<'_, Args> {
        let text = pattern.as_ref().to_owned();
        match self.try_listen_pattern(pattern) {
            Ok(listen) => listen,
            Err(invalid) => panic!("{}", refused_pattern(&text, invalid)),
        }
    }

    /// A builder of a listener to all events whose keys match a [`Pattern`](crate::Pattern), or
    /// what is wrong with the text.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus, pattern: &str) -> eventcast::Result<()> {
    /// bus.try_listen_pattern(pattern)?.call(|e| println!("{}: {e:?}", e.key()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] says what is wrong. A [`Pattern`](crate::Pattern) is always right.
    #[track_caller]
    pub fn try_listen_pattern(
        &self,
        pattern: impl IntoPattern,
    ) -> Result<Listen<'_, Args>, InvalidPattern> {
        let topic = Topic::Pattern(pattern.into_pattern()?);
        Ok(Listen::new(self, topic, None, Location::caller()))
    }
}

pub(super) fn refused_key(key: &str, invalid: InvalidKey) -> String {
    format!("cannot listen to the key {key:?}: {invalid}")
}

pub(super) fn refused_pattern(pattern: &str, invalid: InvalidPattern) -> String {
    format!("cannot listen to the pattern {pattern:?}: {invalid}")
}

impl<'a, E: FromArgs> Listen<'a, E> {
    fn new(
        bus: &'a Bus,
        topic: Topic,
        event_type: Option<&'static str>,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            bus,
            topic,
            event_type,
            location,
            place: Position::Last,
            once: false,
            concurrency: NonZeroUsize::MIN,
            event: PhantomData,
        }
    }

    /// Makes it a listener for one event. A call uses it up; an event that does not decode does
    /// not. A stream ends with that event.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_named("greeting").once().call(|args| println!("the first: {args:?}"));
    /// # }
    /// ```
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Puts it before the listeners that are registered already. Default: after them.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_pattern("order.*").prepend().call(|e| println!("{}", e.key()));
    /// # }
    /// ```
    pub fn prepend(mut self) -> Self {
        self.place = Position::First;
        self
    }

    /// Lets up to `calls` calls of an async listener be under way at once. They begin in the order
    /// of each sender's events, and end in any. Default: 1; 0 counts as 1.
    ///
    /// It matters to [`call_async`](Self::call_async) alone: a stream is read by one task, and a
    /// listener that is not async is called by the thread that has the event.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_named("job").concurrency(4).call_async(async |args| println!("{args:?}"));
    /// # }
    /// ```
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = NonZeroUsize::new(calls).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Registers a closure that is called for each event.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// let id = bus.listen_named("greeting").call(|args| println!("{args:?}"));
    /// bus.off(id);
    /// # }
    /// ```
    pub fn call(self, listener: impl Fn(&Received<E>) + Send + Sync + 'static) -> ListenerId {
        let identity = self.identity();
        let sink = Sink::Inline(InlineSink::new(Arc::clone(&identity), listener));
        self.insert(identity, sink).identity.id
    }

    /// Registers an async closure that is called for each event. Its calls run on a tokio runtime,
    /// one after the other and in the order of each sender's events, from a queue of its own
    /// (`listener_queue`). [`concurrency`](Self::concurrency) allows more at once. A panic in it is
    /// caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_named("greeting").call_async(async |args| println!("{args:?}"));
    /// # }
    /// ```
    pub fn call_async(
        self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let shared = &self.bus.core.shared;
        let process = &shared.process;
        // Without a runtime, the first event waits for that of `start`.
        if !process.is_forked() && process.runtime.get().is_none() {
            process.runtime.adopt();
        }
        let bound = shared.options.listener_queue.into();
        let identity = self.identity();
        let shared_identity = Arc::clone(&identity);
        let sink = AsyncSink::new::<E, _>(shared_identity, bound, self.concurrency, listener);
        self.insert(identity, Sink::Async(sink)).identity.id
    }

    /// Registers a stream of the events, which holds up to 1,024 that nobody has read yet, and then
    /// drops the oldest. After [`once`](Self::once) it ends with the first event.
    ///
    /// ```no_run
    /// # async fn read(bus: &eventcast::Bus) {
    /// let mut orders = bus.listen_pattern("order.*").subscribe();
    /// while let Some(e) = orders.next().await {
    ///     println!("{}", e.key());
    /// }
    /// # }
    /// ```
    pub fn subscribe(self) -> Subscription<E> {
        self.subscribe_with(SubscribeOptions::default())
    }

    /// Registers a stream of the events. `options` say how many wait in it, and whether the oldest
    /// or the newest is dropped when it is full.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// use eventcast::SubscribeOptions;
    ///
    /// let newest_alone = bus.listen_named("position").subscribe_with(SubscribeOptions::latest());
    /// # }
    /// ```
    pub fn subscribe_with(self, options: SubscribeOptions) -> Subscription<E> {
        let core = &self.bus.core;
        let bound = Bound {
            items: options.capacity.max(1),
            bytes: core.shared.options.listener_queue.bytes,
        };
        let mailbox = Mailbox::new(bound, options.overflow);
        let owner = core.owner();
        let identity = self.identity();
        Subscription::new(self.insert(identity, Sink::Stream(mailbox)), owner)
    }

    /// Registers a wait for the first event from now on.
    ///
    /// The wait is registered by this call, not by its first poll, so an event that comes in
    /// between is not missed. Dropping the [`WaitFor`] ends the wait; polled again after it was
    /// ready, it waits for the next event. It yields [`Stopped`](crate::Stopped) where the event
    /// can no longer come.
    ///
    /// ```no_run
    /// # async fn wait(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let greeting = bus.listen_named("greeting").wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> WaitFor<E> {
        WaitFor::new(self.subscribe_with(FIRST), None)
    }

    /// Registers a wait for the first event from now on for which `condition` is true.
    ///
    /// `condition` is called where the wait is polled, and an event for which it is false is
    /// dropped there. Until then up to 1,024 events wait, and no more bytes than `listener_queue`
    /// allows; events that come beyond that are missed, so the wait should be polled soon. A
    /// condition that panics counts as false for that event, and is reported as
    /// [`Notice::ListenerPanicked`](crate::Notice).
    ///
    /// The wait is registered by this call, not by its first poll, so an event that comes in
    /// between is not missed. Dropping the [`WaitFor`] ends the wait; polled again after it was
    /// ready, it waits for the next event. It yields [`Stopped`](crate::Stopped) where the event
    /// can no longer come.
    ///
    /// ```no_run
    /// # async fn wait(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let pair = bus.listen_named("greeting").wait_where(|args| args.len() == 2).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_where(
        self,
        condition: impl Fn(&Received<E>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<E> {
        WaitFor::new(self.subscribe_with(FIRST), Some(Box::new(condition)))
    }

    fn identity(&self) -> Arc<ListenerIdentity> {
        ListenerIdentity::new(
            self.topic.text(),
            self.event_type,
            self.location,
            self.once,
            Arc::clone(&self.bus.core.shared.telemetry),
        )
    }

    fn insert(self, identity: Arc<ListenerIdentity>, sink: Sink) -> Arc<Listener> {
        let Shared {
            process,
            telemetry,
            listeners,
            ..
        } = &*self.bus.core.shared;
        let location = self.location;
        if process.is_forked() {
            fork::log_deaf(&identity.key, location);
            let listener = Listener::new(identity, 0, sink);
            listener.close();
            return Arc::new(listener);
        }
        let (topic, place, max) = (self.topic, self.place, listeners.max());
        let (listener, exceeded) = listeners.registry.insert(topic, place, identity, sink, max);
        if let Some(count) = exceeded {
            let text = format!(
                "event `{}` has {count} listeners, the last registered at {location}: a leak? \
                 `set_max_listeners` raises the limit, 0 removes it",
                printable(&listener.identity.key),
            );
            // A subscriber of the log is the user's code.
            let _ = user_code::run(|| tracing::warn!(target: "eventcast", "{text}"));
            telemetry.warn_at_last(&text);
        }
        listener
    }
}

/// The queue of a wait. It keeps the oldest events, since the first one ends the wait.
const FIRST: SubscribeOptions = SubscribeOptions {
    capacity: 1_024,
    overflow: Overflow::DropNewest,
};

impl<E: FromArgs> fmt::Debug for Listen<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("topic", &self.topic)
            .field("once", &self.once)
            .field("prepend", &(self.place == Position::First))
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
