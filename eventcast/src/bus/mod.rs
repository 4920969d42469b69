//! What users hold: the bus, its builder, listeners and streams, and the threads that drive it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `config`, `options`, `builder` | from what the user says to values that have been checked |
//! | `core` | what all handles of one bus share |
//! | `life`, `session` | starting and stopping; what there is between the two |
//! | `reading` | the threads that read the network and call listeners |
//! | `outbox` | sending |
//! | `emit` | from `emit` to the network and to local listeners |
//! | `table`, `pattern`, `listener`, `async_listener`, `subscription` | who hears what |
//! | `backlog` | bounded queues |
//! | `notice`, `stats`, `received` | what the bus tells |
//!
//! No lock is ever held while a listener runs.

mod async_listener;
mod backlog;
mod build;
mod builder;
mod config;
mod core;
mod emit;
mod life;
mod listener;
mod notice;
mod options;
mod outbox;
mod pattern;
mod random;
mod reading;
mod received;
mod session;
mod stats;
mod subscription;
mod table;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    num::NonZeroUsize,
    panic::Location,
    sync::{Arc, Weak, atomic::Ordering},
};

pub use self::{
    async_listener::AsyncListener,
    backlog::Overflow,
    build::Start,
    builder::Builder,
    config::{Config, ConfigError, ConfigLayer, ListenerQueue},
    emit::Emitted,
    life::Transition,
    listener::{FromArgs, ListenerId},
    notice::{Notice, NoticeStream},
    pattern::{InvalidPattern, Pattern},
    received::{Origin, Received},
    stats::Stats,
    subscription::{Stopped, SubscribeOptions, Subscription, WaitFor},
};
use self::{
    async_listener::AsyncSink,
    backlog::Bound,
    core::Core,
    life::Life,
    listener::{Inline, Listener, Sink},
    subscription::StreamSink,
    table::{Place, Registration, Topic},
};
use crate::{
    codec::{Args, IntoArgs},
    error::EmitError,
    event::{self, InvalidKey, KeyConflict, NetEvent},
};

/// A handle to an event bus.
///
/// Cloning is cheap, and all clones are the same bus. When the last one is dropped the bus stops; listeners,
/// events and streams do not keep it alive. A listener that captures a clone does, by a circle that nobody
/// breaks: let it take [`Received::bus`], or a [`WeakBus`] from [`downgrade`](Self::downgrade).
///
/// ```
/// use eventcast::{Bus, NetEvent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(NetEvent, Serialize, Deserialize, Debug)]
/// struct UserJoined { user: u64, name: String }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventcast::Result<()> {
/// let bus = Bus::builder()
///     .multicast_interface("127.0.0.1") // on a network, leave this line out
///     .start()
///     .await?;
/// bus.on::<UserJoined>(|e| println!("{} joined, says {}", e.name, e.origin().hostname()));
/// bus.on_named("greeting", |args| println!("{args:?}"));
/// bus.emit(UserJoined { user: 7, name: "Ada".into() })?;
/// bus.emit_named("greeting", ("hello", 5))?;
/// bus.stop().await
/// # }
/// ```
pub struct Bus {
    core: Arc<Core>,
}

/// Life.
impl Bus {
    /// Begins a bus: options first, then [`build`](Builder::build) or [`start`](Builder::start).
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Opens the sockets and begins to hear and to speak.
    ///
    /// It acts when called. What it returns may be awaited, to learn of errors, or dropped. On a bus that runs it
    /// does nothing; while a `stop` is under way it waits for its end.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open) where the sockets cannot be had, [`Error::NoRuntime`](crate::Error::NoRuntime)
    /// where there are async listeners and no tokio runtime. The bus then stays stopped.
    pub fn start(&self) -> Transition {
        Life::start(&self.core)
    }

    /// Sends what is queued, for a second at most, and closes the sockets.
    ///
    /// It acts when called, and what it returns may be awaited, to learn when the sockets are closed, or dropped.
    /// It does not wait for listeners that are running, so a listener may call it, and await it too. Listeners stay
    /// registered, streams stay open, and [`start`](Self::start) makes the bus run again. On a stopped bus it does
    /// nothing.
    pub fn stop(&self) -> Transition {
        Life::stop(&self.core)
    }

    /// Whether the bus runs: from `start` until `stop` is called.
    pub fn is_running(&self) -> bool {
        self.core.session().is_some()
    }

    /// A handle that does not keep the bus alive.
    pub fn downgrade(&self) -> WeakBus {
        WeakBus {
            core: Arc::downgrade(&self.core),
        }
    }

    /// The bus's id: what was configured, or 16 random hex digits, drawn anew at each start.
    pub fn id(&self) -> String {
        self.core.identity().id.clone()
    }

    /// The port of the group.
    pub fn port(&self) -> u16 {
        self.core.options.port
    }

    /// The host name that it gives.
    pub fn hostname(&self) -> &str {
        &self.core.hostname
    }

    /// The address to which others send what is meant for this bus alone. `None` while it is not running.
    pub fn unicast_address(&self) -> Option<SocketAddr> {
        self.core.session().map(|session| session.me.address)
    }

    /// The figures of this moment.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        core.add_handle();
        Self { core }
    }
}

/// Emitting. Any thread may, inside a runtime or not.
impl Bus {
    /// Sends an event to everybody on the group, and calls the listeners of this bus.
    ///
    /// The event leaves from the calling thread if the socket takes it, else as soon as it does. Listeners of this
    /// bus are called before `emit` returns, once, and not again from the network; those of the same type get a
    /// reference to the very value, others what encoding and decoding makes of it. Async listeners, streams, and
    /// listeners that were found to be slow get it through their queues.
    ///
    /// # Errors
    ///
    /// [`EmitError`] gives the event back and says why; nothing was sent then, and no listener called, except for
    /// [`EmitErrorKind::NotStarted`](crate::EmitErrorKind::NotStarted), which comes after the local listeners.
    #[track_caller]
    pub fn emit<E: NetEvent>(&self, event: E) -> Result<Emitted, EmitError<E>> {
        emit::emit_typed(&self.core, event, Location::caller())
    }

    /// Sends an event by its name. See [`IntoArgs`] for what can be given as arguments.
    ///
    /// ```no_run
    /// # fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").build()?;
    /// bus.emit_named("tick", ())?;
    /// bus.emit_named("greeting", "hello")?;
    /// bus.emit_named("moved", (1.5, -2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit); also a name that is empty, longer than 1,024 bytes, has control characters, or is
    /// the protocol's own.
    pub fn emit_named<A: IntoArgs>(&self, name: &str, args: A) -> Result<Emitted, EmitError<A>> {
        emit::emit_named(&self.core, name, args)
    }

    /// As [`emit`](Self::emit), but waits for room where the send queue is full. Cancel-safe: where the future is
    /// dropped before it is ready, the event has not been sent.
    ///
    /// # Errors
    ///
    /// As `emit`, without `QueueFull`.
    #[track_caller]
    pub fn emit_wait<E: NetEvent>(
        &self,
        event: E,
    ) -> impl Future<Output = Result<Emitted, EmitError<E>>> + Send + use<E> {
        let place = Location::caller();
        emit::when_there_is_room(Arc::clone(&self.core), event, move |core, event| {
            emit::emit_typed(core, event, place)
        })
    }

    /// As [`emit_named`](Self::emit_named), but waits for room where the send queue is full. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As `emit_named`, without `QueueFull`.
    pub fn emit_wait_named<A: IntoArgs + Send>(
        &self,
        name: &str,
        args: A,
    ) -> impl Future<Output = Result<Emitted, EmitError<A>>> + Send + use<A> {
        emit_wait_named(Arc::clone(&self.core), name.to_owned(), args)
    }
}

async fn emit_wait_named<A: IntoArgs>(
    core: Arc<Core>,
    name: String,
    args: A,
) -> Result<Emitted, EmitError<A>> {
    let emit = |core: &Arc<Core>, args| emit::emit_named(core, &name, args);
    emit::when_there_is_room(core, args, emit).await
}

/// Listening to typed events.
impl Bus {
    /// Calls `listener` for every event of type `E`, from any bus on the group, this one included.
    ///
    /// It runs on the thread that read the datagram, or that called `emit`, and should come back soon. One that
    /// took longer than `listener_budget` (1 ms) is moved for good to a queue and a thread of its own, so that it
    /// holds up nobody else. A listener gets the events of one sender in their order, whether moved or not. A panic
    /// in it is caught and told as a [`Notice`].
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
    /// one in which `start` is called, or the one given with [`Builder::runtime`]. What the listener captures is
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
    /// many there were.
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
        emit::claim_key::<E>(&self.core, location)?;
        Ok(self.insert(
            Topic::Key(E::KEY.into()),
            Registration {
                place,
                once,
                location,
                sink,
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
        event::check_key(name)?;
        let sink = Sink::Inline(Inline::new(listener));
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
    /// were.
    pub fn off_all_named(&self, name: &str) -> usize {
        self.core.table.remove_key(name).len()
    }

    /// How many listeners this name has, streams among them, without those by pattern.
    pub fn listener_count_named(&self, name: &str) -> usize {
        self.core.table.count(name)
    }

    #[track_caller]
    fn register_named(&self, name: &str, place: Place, once: bool, sink: Sink) -> ListenerId {
        self.insert_named(name, place, once, sink).id
    }

    #[track_caller]
    fn insert_named(&self, name: &str, place: Place, once: bool, sink: Sink) -> Arc<Listener> {
        if let Err(invalid) = event::check_key(name) {
            panic!("cannot listen to the event {name:?}: {invalid}");
        }
        self.insert(
            Topic::Key(name.into()),
            Registration {
                place,
                once,
                location: Location::caller(),
                sink,
            },
        )
    }
}

/// Listening to many events at once.
impl Bus {
    /// Calls `listener` for every event whose name matches the [`Pattern`], typed events included, with its
    /// arguments; [`Received::name`] tells which it is. Among the other listeners of an event it has its place in the
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
        self.insert_pattern(valid(pattern), Sink::Inline(Inline::new(listener)))
            .id
    }

    /// Calls `listener` for every event, with its arguments; [`Received::name`] tells which it is.
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
        let listener = self.insert_pattern(valid(pattern), self.stream_sink(options));
        Subscription::new(listener, Arc::clone(&self.core))
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
            },
        )
    }
}

/// All listeners, and notices.
impl Bus {
    /// Takes one listener off, of events or of notices. False if it is not there any more.
    ///
    /// Events that came before still reach it: those that are being delivered, and those in its queue.
    pub fn off(&self, id: ListenerId) -> bool {
        self.core.table.remove(id).is_some() || self.core.notices.off(id)
    }

    /// Takes off all listeners of events, those by pattern too, and says how many there were. Listeners of notices
    /// stay.
    pub fn off_everything(&self) -> usize {
        self.core.table.remove_all().len()
    }

    /// The keys that have listeners, sorted.
    pub fn event_names(&self) -> Vec<String> {
        self.core.table.names()
    }

    /// How many listeners a key may have before a warning is logged, once for each key. 0: any number.
    pub fn max_listeners(&self) -> usize {
        self.core.max_listeners.load(Ordering::Relaxed)
    }

    /// Sets [`max_listeners`](Self::max_listeners).
    pub fn set_max_listeners(&self, max: usize) {
        self.core.max_listeners.store(max, Ordering::Relaxed);
    }

    /// Calls `listener` with what the bus itself has to say, on a thread of its own. A listener that is 1,024
    /// notices behind misses the next ones ([`Stats::notices_missed`]).
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> ListenerId {
        let id = self.core.table.next_id();
        self.core.notices.on(id, listener);
        id
    }

    /// What the bus itself has to say, as a stream.
    pub fn notices(&self) -> NoticeStream {
        let id = self.core.table.next_id();
        self.core.notices.stream(id, Arc::clone(&self.core))
    }

    fn async_sink<E: FromArgs>(
        &self,
        concurrency: NonZeroUsize,
        listener: impl AsyncListener<Received<E>>,
    ) -> Sink {
        // Where there is none yet, the first event waits for the runtime of `start`.
        if self.core.runtime().is_none() {
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
        Sink::Stream(StreamSink::new(bound, options.overflow))
    }

    fn insert(&self, topic: Topic, registration: Registration) -> Arc<Listener> {
        let location = registration.location;
        let max = self.max_listeners();
        let (listener, crowd) = self.core.table.insert(topic, registration, max);
        if let Some(count) = crowd {
            tracing::warn!(
                target: "eventcast",
                "event `{}` has {count} listeners, the last registered at {location}: a leak? \
                 `set_max_listeners` raises the limit, 0 removes it",
                listener.key,
            );
        }
        listener
    }
}

#[track_caller]
fn valid(pattern: &str) -> Pattern {
    match pattern.parse() {
        Ok(pattern) => pattern,
        Err(invalid) => panic!("cannot listen to the pattern {pattern:?}: {invalid}"),
    }
}

#[track_caller]
fn unconflicted(listener: Result<Arc<Listener>, KeyConflict>) -> Arc<Listener> {
    match listener {
        Ok(listener) => listener,
        Err(conflict) => panic!("{conflict}"),
    }
}

impl Clone for Bus {
    fn clone(&self) -> Self {
        Self::from_core(Arc::clone(&self.core))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.core.remove_handle();
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("id", &self.id())
            .field("group", &self.core.options.multicast_membership)
            .field("port", &self.port())
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}

/// A handle that does not keep its bus alive.
#[derive(Clone)]
pub struct WeakBus {
    core: Weak<Core>,
}

impl WeakBus {
    /// The bus, unless its last handle has gone.
    pub fn upgrade(&self) -> Option<Bus> {
        let core = self.core.upgrade()?;
        core.try_add_handle().then_some(Bus { core })
    }
}

impl fmt::Debug for WeakBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBus")
    }
}
