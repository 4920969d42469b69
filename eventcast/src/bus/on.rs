//! Registering listeners on a [`Bus`]: typed ones, those by name, and those for many names.
//!
//! The methods differ in what they take; all of them end in [`Bus::insert`].

use std::{num::NonZeroUsize, panic::Location, sync::Arc};

use super::{
    Bus,
    async_listener::{AsyncListener, AsyncSink},
    backlog::Bound,
    emit, fork,
    listener::{FromArgs, Inline, Listener, ListenerId, Sink},
    mailbox::Mailbox,
    pattern::{InvalidPattern, Pattern},
    received::Received,
    subscription::{SubscribeOptions, Subscription, WaitFor},
    table::{Place, Registration, Topic},
    user_code,
};
use crate::{
    codec::Args,
    event::{self, InvalidKey, KeyConflict, NetEvent},
    text::printable,
};

/// Listening to typed events.
impl Bus {
    /// Calls `listener` for every event of type `E`, from any bus on the group, this one included.
    ///
    /// It runs on the thread that read the datagram, or that called `emit`, and should come back soon. One that
    /// took longer than `listener_budget` (1 ms) is moved for good to a queue and a thread of its own, so that it
    /// holds up nobody else. A listener gets the events of one sender in their order, whether moved or not. A panic
    /// in it is caught and told as a [`Notice`](crate::Notice). [`Bus`] says what else it may count on.
    ///
    /// An `emit` inside a listener runs at once: the listeners of that event are called before the other listeners of the
    /// first one, as with Node's EventEmitter, up to 32 deep.
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same event key with another shape; the message names both.
    /// [`try_on`](Self::try_on) returns that instead.
    #[track_caller]
    pub fn on<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register::<E>(Place::Last, false, Sink::Inline(Inline::new(listener)))
    }

    /// As [`on`](Self::on), for one event. It is used up by a call, not by an event that does not decode.
    ///
    /// # Panics
    ///
    /// As `on`.
    #[track_caller]
    pub fn once<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register::<E>(Place::Last, true, Sink::Inline(Inline::new(listener)))
    }

    /// As [`on`](Self::on), but before the listeners that are there.
    ///
    /// # Panics
    ///
    /// As `on`.
    #[track_caller]
    pub fn prepend<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register::<E>(Place::First, false, Sink::Inline(Inline::new(listener)))
    }

    /// As [`once`](Self::once), but before the listeners that are there.
    ///
    /// # Panics
    ///
    /// As `on`.
    #[track_caller]
    pub fn prepend_once<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register::<E>(Place::First, true, Sink::Inline(Inline::new(listener)))
    }

    /// As [`on`](Self::on), but returns a conflict of event keys.
    ///
    /// # Errors
    ///
    /// [`KeyConflict`] where another type of the program claims the same event key with another shape.
    #[track_caller]
    pub fn try_on<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> Result<ListenerId, KeyConflict> {
        let sink = Sink::Inline(Inline::new(listener));
        self.try_register::<E>(Place::Last, false, sink, Location::caller())
            .map(|listener| listener.id)
    }

    /// Calls an async `listener` for every event of type `E`, on a tokio runtime.
    ///
    /// Its calls run one after the other, in order, from a queue of its own (`listener_queue`). The runtime is the
    /// one in which `start` is called, or the one given with [`Builder::runtime`](crate::Builder::runtime). What the listener captures is
    /// cloned for each call:
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # use std::sync::Arc;
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # struct Db;
    /// # impl Db { async fn insert(&self, user: u64) {} }
    /// # fn register(bus: &Bus, db: Arc<Db>) {
    /// bus.on_async::<Joined>(async |e| println!("{}", e.user));
    /// bus.on_async::<Joined>(move |e| {
    ///     let db = db.clone();
    ///     async move { db.insert(e.user).await }
    /// });
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    #[track_caller]
    pub fn on_async<E: NetEvent>(
        &self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let sink = self.async_sink(NonZeroUsize::MIN, listener);
        self.register::<E>(Place::Last, false, sink)
    }

    /// As [`on_async`](Self::on_async), but with up to `concurrency` calls under way at once. They begin in order,
    /// and end in any.
    ///
    /// # Panics
    ///
    /// As `on`.
    #[track_caller]
    pub fn on_async_concurrent<E: NetEvent>(
        &self,
        concurrency: NonZeroUsize,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let sink = self.async_sink(concurrency, listener);
        self.register::<E>(Place::Last, false, sink)
    }

    /// As [`on_async`](Self::on_async), for one event.
    ///
    /// # Panics
    ///
    /// As `on`.
    #[track_caller]
    pub fn once_async<E: NetEvent>(
        &self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let sink = self.async_sink(NonZeroUsize::MIN, listener);
        self.register::<E>(Place::Last, true, sink)
    }

    /// The events of type `E` as a stream.
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    #[track_caller]
    pub fn subscribe<E: NetEvent>(&self) -> Subscription<E> {
        self.subscribe_with(SubscribeOptions::default())
    }

    /// As [`subscribe`](Self::subscribe), with a say in how much waits and what gives way.
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    #[track_caller]
    pub fn subscribe_with<E: NetEvent>(&self, options: SubscribeOptions) -> Subscription<E> {
        let sink = self.stream_sink(options);
        let listener = self.try_register::<E>(Place::Last, false, sink, Location::caller());
        Subscription::new(unconflicted(listener), Arc::clone(&self.core))
    }

    /// The first event of type `E` from now on.
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    #[track_caller]
    pub fn wait_for<E: NetEvent>(&self) -> WaitFor<E> {
        WaitFor::new(self.subscribe())
    }

    /// Takes off all listeners of type `E`'s key, those by name among them but not those by pattern, and says how
    /// many there were. Streams end after what waits in them, and a [`WaitFor`] yields [`Stopped`](crate::Stopped).
    pub fn off_all<E: NetEvent>(&self) -> usize {
        self.off_all_named(E::KEY)
    }

    /// How many listeners the key of type `E` has, streams among them, without those by pattern.
    pub fn listener_count<E: NetEvent>(&self) -> usize {
        self.listener_count_named(E::KEY)
    }

    #[track_caller]
    fn register<E: NetEvent>(&self, place: Place, once: bool, sink: Sink) -> ListenerId {
        unconflicted(self.try_register::<E>(place, once, sink, Location::caller())).id
    }

    fn try_register<E: NetEvent>(
        &self,
        place: Place,
        once: bool,
        sink: Sink,
        location: &'static Location<'static>,
    ) -> Result<Arc<Listener>, KeyConflict> {
        // In a forked child nobody listens, so nothing is claimed.
        if !self.core.home.is_elsewhere()
            && let Err(conflict) = emit::claim_key::<E>(&self.core, location)
        {
            // What the listener holds is the user's, and the conflict is what there is to say.
            let _ = user_code::discard(sink);
            return Err(conflict);
        }
        Ok(self.insert(
            Topic::Key(E::KEY.into()),
            Registration {
                place,
                once,
                location,
                sink,
                bus: Arc::downgrade(&self.core),
            },
        ))
    }
}

/// Listening to events by name.
impl Bus {
    /// Calls `listener` for every event of this name, with its arguments.
    ///
    /// # Panics
    ///
    /// Where the name is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_on_named`](Self::try_on_named) returns that instead.
    #[track_caller]
    pub fn on_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register_named(
            name,
            Place::Last,
            false,
            Sink::Inline(Inline::new(listener)),
        )
    }

    /// As [`on_named`](Self::on_named), for one event.
    ///
    /// # Panics
    ///
    /// As `on_named`.
    #[track_caller]
    pub fn once_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register_named(name, Place::Last, true, Sink::Inline(Inline::new(listener)))
    }

    /// As [`on_named`](Self::on_named), but before the listeners that are there.
    ///
    /// # Panics
    ///
    /// As `on_named`.
    #[track_caller]
    pub fn prepend_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register_named(
            name,
            Place::First,
            false,
            Sink::Inline(Inline::new(listener)),
        )
    }

    /// As [`once_named`](Self::once_named), but before the listeners that are there.
    ///
    /// # Panics
    ///
    /// As `on_named`.
    #[track_caller]
    pub fn prepend_once_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.register_named(
            name,
            Place::First,
            true,
            Sink::Inline(Inline::new(listener)),
        )
    }

    /// As [`on_named`](Self::on_named), but returns what is wrong with the name.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] says what is wrong.
    #[track_caller]
    pub fn try_on_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> Result<ListenerId, InvalidKey> {
        let sink = Sink::Inline(Inline::new(listener));
        if let Err(invalid) = event::check_key(name) {
            let _ = user_code::discard(sink);
            return Err(invalid);
        }
        Ok(self.register_named(name, Place::Last, false, sink))
    }

    /// Calls an async `listener` for every event of this name, as [`on_async`](Self::on_async) does.
    ///
    /// # Panics
    ///
    /// As [`on_named`](Self::on_named).
    #[track_caller]
    pub fn on_async_named(
        &self,
        name: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let sink = self.async_sink(NonZeroUsize::MIN, listener);
        self.register_named(name, Place::Last, false, sink)
    }

    /// As [`on_async_named`](Self::on_async_named), for one event.
    ///
    /// # Panics
    ///
    /// As [`on_named`](Self::on_named).
    #[track_caller]
    pub fn once_async_named(
        &self,
        name: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let sink = self.async_sink(NonZeroUsize::MIN, listener);
        self.register_named(name, Place::Last, true, sink)
    }

    /// The events of this name as a stream.
    ///
    /// # Panics
    ///
    /// As [`on_named`](Self::on_named).
    #[track_caller]
    pub fn subscribe_named(&self, name: &str) -> Subscription<Args> {
        self.subscribe_named_with(name, SubscribeOptions::default())
    }

    /// As [`subscribe_named`](Self::subscribe_named), with a say in how much waits and what gives way.
    ///
    /// # Panics
    ///
    /// As [`on_named`](Self::on_named).
    #[track_caller]
    pub fn subscribe_named_with(
        &self,
        name: &str,
        options: SubscribeOptions,
    ) -> Subscription<Args> {
        let listener = self.insert_named(name, Place::Last, false, self.stream_sink(options));
        Subscription::new(listener, Arc::clone(&self.core))
    }

    /// The first event of this name from now on.
    ///
    /// # Panics
    ///
    /// As [`on_named`](Self::on_named).
    #[track_caller]
    pub fn wait_for_named(&self, name: &str) -> WaitFor<Args> {
        WaitFor::new(self.subscribe_named(name))
    }

    /// Takes off all listeners of this name, typed ones among them but not those by pattern, and says how many there
    /// were. Streams end after what waits in them, and a [`WaitFor`] yields [`Stopped`](crate::Stopped).
    pub fn off_all_named(&self, name: &str) -> usize {
        if self.core.home.is_elsewhere() {
            return 0;
        }
        retire(&self.core.table.remove_key(name))
    }

    /// How many listeners this name has, streams among them, without those by pattern.
    pub fn listener_count_named(&self, name: &str) -> usize {
        if self.core.home.is_elsewhere() {
            return 0;
        }
        self.core.table.count(name)
    }

    #[track_caller]
    fn register_named(&self, name: &str, place: Place, once: bool, sink: Sink) -> ListenerId {
        self.insert_named(name, place, once, sink).id
    }

    #[track_caller]
    fn insert_named(&self, name: &str, place: Place, once: bool, sink: Sink) -> Arc<Listener> {
        if let Err(invalid) = event::check_key(name) {
            // Not while that panic is under way, where another one would end the process.
            let _ = user_code::discard(sink);
            panic!("cannot listen to the event {name:?}: {invalid}");
        }
        self.insert(
            Topic::Key(name.into()),
            Registration {
                place,
                once,
                location: Location::caller(),
                sink,
                bus: Arc::downgrade(&self.core),
            },
        )
    }
}

/// Listening to many events at once.
impl Bus {
    /// Calls `listener` for every event whose name matches the [`Pattern`], typed events included, with its
    /// arguments; [`Received::key`] tells which it is. Among the other listeners of an event it has its place in the
    /// order of registration.
    ///
    /// ```no_run
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").build().unwrap();
    /// bus.on_pattern("order.*", |e| println!("{}: {e:?}", e.name()));
    /// ```
    ///
    /// # Panics
    ///
    /// Where the pattern is none; parse it as a [`Pattern`] first where it comes from outside.
    #[track_caller]
    pub fn on_pattern(
        &self,
        pattern: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.insert_valid(pattern, Sink::Inline(Inline::new(listener)))
            .id
    }

    /// Calls `listener` for every event, with its arguments; [`Received::key`] tells which it is.
    #[track_caller]
    pub fn on_every(
        &self,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.insert_pattern(Pattern::every(), Sink::Inline(Inline::new(listener)))
            .id
    }

    /// The events whose names match the [`Pattern`] as a stream.
    ///
    /// # Panics
    ///
    /// As [`on_pattern`](Self::on_pattern).
    #[track_caller]
    pub fn subscribe_pattern(&self, pattern: &str) -> Subscription<Args> {
        self.subscribe_pattern_with(pattern, SubscribeOptions::default())
    }

    /// As [`subscribe_pattern`](Self::subscribe_pattern), with a say in how much waits and what gives way.
    ///
    /// # Panics
    ///
    /// As [`on_pattern`](Self::on_pattern).
    #[track_caller]
    pub fn subscribe_pattern_with(
        &self,
        pattern: &str,
        options: SubscribeOptions,
    ) -> Subscription<Args> {
        let listener = self.insert_valid(pattern, self.stream_sink(options));
        Subscription::new(listener, Arc::clone(&self.core))
    }

    #[track_caller]
    fn insert_valid(&self, pattern: &str, sink: Sink) -> Arc<Listener> {
        match pattern.parse() {
            Ok(pattern) => self.insert_pattern(pattern, sink),
            Err(invalid) => {
                let invalid: InvalidPattern = invalid;
                // As for a name.
                let _ = user_code::discard(sink);
                panic!("cannot listen to the pattern {pattern:?}: {invalid}");
            }
        }
    }

    #[track_caller]
    fn insert_pattern(&self, pattern: Pattern, sink: Sink) -> Arc<Listener> {
        self.insert(
            Topic::Pattern(pattern),
            Registration {
                place: Place::Last,
                once: false,
                location: Location::caller(),
                sink,
                bus: Arc::downgrade(&self.core),
            },
        )
    }
}

/// What all of these come down to.
impl Bus {
    fn async_sink<E: FromArgs>(
        &self,
        concurrency: NonZeroUsize,
        listener: impl AsyncListener<Received<E>>,
    ) -> Sink {
        // Where there is none yet, the first event waits for the runtime of `start`.
        if !self.core.home.is_elsewhere() && self.core.runtime().is_none() {
            self.core.adopt_runtime();
        }
        let bound = self.core.options.listener_queue.into();
        Sink::Async(Box::new(AsyncSink::new::<E>(bound, concurrency, listener)))
    }

    fn stream_sink(&self, options: SubscribeOptions) -> Sink {
        let bound = Bound {
            items: options.capacity.max(1),
            bytes: self.core.options.listener_queue.bytes,
        };
        Sink::Stream(Mailbox::new(bound, options.overflow))
    }

    fn insert(&self, topic: Topic, registration: Registration) -> Arc<Listener> {
        let location = registration.location;
        if self.core.home.is_elsewhere() {
            let listener = registration.make(ListenerId::next(), &topic, 0);
            fork::tell_deaf(&listener.key, location);
            listener.close();
            return Arc::new(listener);
        }
        let max = self.max_listeners();
        let (listener, crowd) = self.core.table.insert(topic, registration, max);
        if let Some(count) = crowd {
            tracing::warn!(
                target: "eventcast",
                "event `{}` has {count} listeners, the last registered at {location}: a leak? \
                 `set_max_listeners` raises the limit, 0 removes it",
                printable(&listener.key),
            );
        }
        listener
    }
}

#[track_caller]
fn unconflicted(listener: Result<Arc<Listener>, KeyConflict>) -> Arc<Listener> {
    match listener {
        Ok(listener) => listener,
        Err(conflict) => panic!("{conflict}"),
    }
}

/// Ends what has been taken off, and says how many there are.
pub(super) fn retire(gone: &[Arc<Listener>]) -> usize {
    for listener in gone {
        listener.retire();
    }
    gone.len()
}
