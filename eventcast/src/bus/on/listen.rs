//! The builder of a listener.

use std::{fmt, marker::PhantomData, num::NonZeroUsize, panic::Location, sync::Arc};

use super::super::{
    Bus,
    async_listener::{AsyncListener, AsyncSink},
    backlog::{Bound, Overflow},
    emit, fork,
    listener::{FromArgs, Inline, Listener, ListenerId, Sink},
    mailbox::Mailbox,
    pattern::InvalidPattern,
    received::Received,
    subscription::{SubscribeOptions, Subscription},
    table::{Place, Registration, Topic},
    wait_for::WaitFor,
};
use super::pattern::IntoPattern;
use crate::{
    codec::Args,
    event::{self, InvalidKey, KeyConflict, NetEvent},
    text::printable,
};

/// A listener that is about to be registered: what it listens to has been agreed on, and how it is called is said here.
///
/// [`Bus::listen`], [`Bus::listen_named`] and [`Bus::listen_pattern`] begin one. [`call`](Self::call),
/// [`call_async`](Self::call_async), [`subscribe`](Self::subscribe) and [`wait`](Self::wait) register it; before that
/// nothing is.
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
    /// Of a listener by type.
    event_type: Option<&'static str>,
    location: &'static Location<'static>,
    place: Place,
    once: bool,
    concurrency: NonZeroUsize,
    event: PhantomData<fn() -> E>,
}

/// Beginning a listener.
impl Bus {
    /// A builder of a listener to events of type `E`.
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
    /// Where another type of the program claims the same key with another shape; the message names both.
    /// [`try_listen`](Self::try_listen) returns that instead.
    #[track_caller]
    pub fn listen<E: NetEvent>(&self) -> Listen<'_, E> {
        // Not by a closure: the place of the panic is the caller's.
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
        // In a forked child nobody listens, so nothing is claimed.
        if !self.core.home.is_elsewhere() {
            emit::claim_key::<E>(&self.core, location)?;
        }
        let event_type = Some(std::any::type_name::<E>());
        Ok(Listen::new(
            self,
            Topic::Key(E::KEY.into()),
            event_type,
            location,
        ))
    }

    /// A builder of a listener to events by name.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// bus.listen_named("greeting").once().call_async(async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn listen_named(&self, name: &str) -> Listen<'_, Args> {
        match self.try_listen_named(name) {
            Ok(listen) => listen,
            Err(invalid) => panic!("{}", refused_name(name, invalid)),
        }
    }

    /// A builder of a listener to events by name, or what is wrong with the name.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus, name: &str) -> eventcast::Result<()> {
    /// bus.try_listen_named(name)?.call(|args| println!("{args:?}"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] says what is wrong.
    #[track_caller]
    pub fn try_listen_named(&self, name: &str) -> Result<Listen<'_, Args>, InvalidKey> {
        event::check_key(name)?;
        let topic = Topic::Key(name.into());
        Ok(Listen::new(self, topic, None, Location::caller()))
    }

    /// A builder of a listener to all events whose keys match a [`Pattern`](crate::Pattern), or a text that is one.
    ///
    /// ```no_run
    /// # fn register(bus: &eventcast::Bus) {
    /// let mut orders = bus.listen_pattern("order.*").subscribe();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no pattern. [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
    #[track_caller]
    pub fn listen_pattern(&self, pattern: impl IntoPattern) -> Listen<'_, Args> {
        let text = pattern.as_ref().to_owned();
        match self.try_listen_pattern(pattern) {
            Ok(listen) => listen,
            Err(invalid) => panic!("{}", refused_pattern(&text, invalid)),
        }
    }

    /// A builder of a listener to all events whose keys match a [`Pattern`](crate::Pattern), or what is wrong with the text.
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

pub(super) fn refused_name(name: &str, invalid: InvalidKey) -> String {
    format!("cannot listen to the event {name:?}: {invalid}")
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
            place: Place::Last,
            once: false,
            concurrency: NonZeroUsize::MIN,
            event: PhantomData,
        }
    }

    /// For one event. It is used up by a call, not by an event that does not decode.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Before the listeners that are there.
    pub fn prepend(mut self) -> Self {
        self.place = Place::First;
        self
    }

    /// With up to so many calls under way at once, which begin in order, and end in any. 0 counts as 1, the default.
    ///
    /// It is for [`call_async`](Self::call_async) alone: a stream is read by one task, and a listener that is not async
    /// is called by the thread that has the event.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = NonZeroUsize::new(calls).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Registers a listener that is called as [`Bus::on`] says.
    pub fn call(self, listener: impl Fn(&Received<E>) + Send + Sync + 'static) -> ListenerId {
        self.insert(Sink::Inline(Inline::new(listener))).id
    }

    /// Registers an async listener, whose calls run as [`Bus::on_async`] says.
    pub fn call_async(
        self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let core = &self.bus.core;
        // Where there is none yet, the first event waits for the runtime of `start`.
        if !core.home.is_elsewhere() && core.runtime().is_none() {
            core.adopt_runtime();
        }
        let bound = core.options.listener_queue.into();
        let sink = AsyncSink::new::<E>(bound, self.concurrency, listener);
        self.insert(Sink::Async(Box::new(sink))).id
    }

    /// Registers a stream of the events. After [`once`](Self::once) it ends with the first one.
    pub fn subscribe(self) -> Subscription<E> {
        self.subscribe_with(SubscribeOptions::default())
    }

    /// Registers a stream of the events, with a say in how much waits and what gives way.
    pub fn subscribe_with(self, options: SubscribeOptions) -> Subscription<E> {
        let core = Arc::clone(&self.bus.core);
        let bound = Bound {
            items: options.capacity.max(1),
            bytes: core.options.listener_queue.bytes,
        };
        let mailbox = Mailbox::new(bound, options.overflow);
        Subscription::new(self.insert(Sink::Stream(mailbox)), core)
    }

    /// Registers a wait for the first event from now on.
    pub fn wait(self) -> WaitFor<E> {
        WaitFor::new(self.subscribe_with(FIRST), None)
    }

    /// Registers a wait for the first event from now on for which `condition` holds. What is said at
    /// [`Bus::wait_for_where`] holds here, too.
    pub fn wait_where(
        self,
        condition: impl Fn(&Received<E>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<E> {
        WaitFor::new(self.subscribe_with(FIRST), Some(Box::new(condition)))
    }

    fn insert(self, sink: Sink) -> Arc<Listener> {
        let core = &self.bus.core;
        let location = self.location;
        let registration = Registration {
            place: self.place,
            once: self.once,
            event_type: self.event_type,
            location,
            sink,
            bus: Arc::downgrade(core),
        };
        if core.home.is_elsewhere() {
            let listener = registration.make(ListenerId::next(), &self.topic, 0);
            fork::tell_deaf(&listener.key, location);
            listener.close();
            return Arc::new(listener);
        }
        let max = self.bus.max_listeners();
        let (listener, crowd) = core.table.insert(self.topic, registration, max);
        if let Some(count) = crowd {
            let text = format!(
                "event `{}` has {count} listeners, the last registered at {location}: a leak? \
                 `set_max_listeners` raises the limit, 0 removes it",
                printable(&listener.key),
            );
            tracing::warn!(target: "eventcast", "{text}");
            core.notices.warn_at_last(&text);
        }
        listener
    }
}

/// What waits for the first event: of those that come before it is polled the first ones count.
const FIRST: SubscribeOptions = SubscribeOptions {
    capacity: 1_024,
    overflow: Overflow::DropNewest,
};

impl<E: FromArgs> fmt::Debug for Listen<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("topic", &self.topic)
            .field("once", &self.once)
            .field("prepend", &(self.place == Place::First))
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
