//! What users hold: the bus, its builder, listeners and streams, and the threads that drive it.
//!
//! | part | what is in it |
//! | --- | --- |
//! | [`process`] | what a bus knows of its process: the time, forks, the tokio runtime; running code of the user; panics |
//! | [`queue`] | bounded queues |
//! | [`config`] | options, builder, secrets: from what the user says to values that have been checked |
//! | [`telemetry`] | notices, statistics, and how often something is reported |
//! | [`listeners`] | the registry, the ways in which a listener takes its events, and what it is handed |
//! | `shared` | what all parts of one bus share, whether it runs or not |
//! | [`driver`] | a session: the engine, the threads that receive and send, the keys |
//! | `extension` | what a bus can be extended by: the console |
//! | [`lifecycle`] | starting and stopping, and replacing keys |
//! | `core` | what all handles of one bus hold |
//! | [`on`], `emit`, `build` | what is public and longer than a line: registering listeners, emitting, building |
//! | this file | [`Bus`] and [`WeakBus`] |
//!
//! Each part uses those above it, never one below (`layers.rs` fails on a circle). Three things
//! lead back up: a listener and a session hold their bus as an
//! [`Owner`](listeners::owner::Owner), which makes a handle of it; a session that ends calls its
//! [`Supervisor`](driver::context::Supervisor); and the console is opened with a [`WeakBus`].
//!
//! # Three ways through
//!
//! *An emit to the socket.* `Bus::emit` → `emit`: the key, the depth and the type are checked, and
//! the event is encoded into a buffer of the thread →
//! [`Session::accept`](driver::session::Session::accept), which enters the engine and has it
//! number, cut and queue the message → [`SendLoop::flush`](driver::send_loop::SendLoop::flush),
//! which takes datagram after datagram out of the engine and gives them to `net`'s transmitter, on
//! the thread that emits; what the socket does not take goes on from the sender thread. The bus's
//! own listeners get the event from `emit` itself: those with a queue between `accept` and `flush`,
//! under the lock that keeps the order of numbers, the others after `flush`, by a call.
//!
//! *A datagram to a listener.* The leader of the [receive loop](driver::receive_loop) reads a batch
//! from `net`'s receiver → `Engine::handle_datagram` or `Engine::handle_unicast` for each, then the
//! timeouts that are due, then `Engine::take_events` for all → what the engine has to send goes to
//! `SendLoop::flush` → the registry gives the listeners of each key →
//! [`Listener::offer`](listeners::listener::Listener::offer) puts the event into the listener's
//! queue, or [`Listener::run`](listeners::listener::Listener::run) decodes it and calls the closure
//! on this thread.
//!
//! *A chunk to a message.* That way lies within [`proto`](crate::proto), whose documentation walks
//! it.
//!
//! # What holds everywhere
//!
//! No lock is held while code of the user runs: a listener, an event's `Drop`, a waker, a
//! subscriber of the log.

mod build;
mod config;
mod core;
mod driver;
mod emit;
mod extension;
mod lifecycle;
mod listeners;
mod on;
mod process;
mod queue;
mod shared;
mod telemetry;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    panic::Location,
    sync::{Arc, Weak},
};

#[cfg(feature = "repl")]
pub(crate) use self::config::{Options, Setting};
#[cfg(feature = "repl")]
pub(crate) use self::extension::Extension;
#[cfg(feature = "repl")]
pub(crate) use self::listeners::nesting::{Misfit, misfits_of};
#[cfg(feature = "repl")]
pub(crate) use self::process::failure::{Failure, caught};
pub use self::{
    build::Start,
    config::{
        Config, ConfigError, ConfigLayer, ListenerQueue,
        builder::Builder,
        secret::{Keys, Secret},
    },
    driver::send_loop::SendState,
    emit::Emitted,
    lifecycle::transition::Transition,
    listeners::{
        async_sink::AsyncListener,
        info::{ListenerInfo, ListenerMode, ListenerScope},
        invocation::FromArgs,
        pattern::{InvalidPattern, Pattern},
        received::{Received, ReceivedParts},
        subscription::{SubscribeOptions, Subscription},
        wait_for::{Stopped, WaitFor},
    },
    on::{IntoPattern, Listen, guard::ListenerGuard},
    queue::{
        bounded_queue::Overflow,
        error::{RecvTimeoutError, TryNextError},
    },
    telemetry::{
        listener_id::ListenerId,
        notice::{ConsoleRefusedCause, Notice, RefusedCause},
        notice_stream::NoticeStream,
        origin::Origin,
        stats::Stats,
    },
};
use self::{
    core::Core,
    process::{blocking::block_on, fork, user_code},
    telemetry::notice_sink::NoticeSink,
};
use crate::{codec::IntoArgs, error::EmitError, event::NetEvent};

/// A handle to an event bus.
///
/// Cloning is cheap, and all clones are the same bus. When the last one is dropped the bus stops;
/// listeners, events and streams do not keep it alive. A listener that captures a clone does,
/// because bus and listener then hold each other: let it take [`Received::bus`], or a [`WeakBus`]
/// from [`downgrade`](Self::downgrade).
///
/// A bus belongs to the process in which it was started first. In a forked child it does not run:
/// `emit` and [`start`](Self::start) return [`Forked`](crate::Error::Forked), and a new bus can be
/// built there. Everything else returns at once, with no effect: there are no listeners and nothing
/// to take off, streams have ended, `wait_for` yields [`Stopped`], and a listener that is
/// registered there is dropped, which is logged as an error. A listener that forks on a thread of
/// the bus ends that thread in the child when it comes back, and with it the child: it calls `exec`
/// or `_exit` before.
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
/// bus.on::<UserJoined>(|e| println!("{:?} joined, says {}", e.name, e.origin()));
/// bus.on_named("greeting", |args| println!("{args:?}"));
/// bus.emit(UserJoined { user: 7, name: "Ada".into() })?;
/// bus.emit_named("greeting", ("hello", 5))?;
/// bus.stop().await
/// # }
/// ```
///
/// # What a listener can rely on
///
/// | the event comes | the listener runs | in the tokio runtime |
/// | --- | --- | --- |
/// | from the network | on a thread of the bus: the one that has read the event | of the bus |
/// | from the network, to a listener that was found to be slow | on a thread of its own | of the bus |
/// | from this bus, by `emit` | on the thread that emits, before `emit` returns | of the bus |
/// | to an async listener | as a task | of the bus |
/// | to a stream or a `wait_for` | where that is polled | of the task that polls it |
/// | from a client of the console, by its `emit` | on a thread of the console | of the bus |
/// | as a notice, to [`on_notice`](Self::on_notice) | on a thread of its own | of the bus |
///
/// - *The runtime* of the bus is the one in which [`start`](Self::start) was called last, or the
///   one given with [`Builder::runtime`]. It is entered for the call, so `tokio::spawn` works in a
///   listener. Where there is none (the bus was started outside of any), nothing is entered. An
///   async listener whose runtime has been shut down waits for the next `start` within one, and
///   [`Notice::NoRuntime`] reports it.
/// - *The stack* of the bus's threads is 4 MiB, whatever `RUST_MIN_STACK` says.
///   [`Args::decode`](crate::Args::decode) takes little of it, here and on every other thread. What
///   a stream, a `wait_for` or an async listener hears is decoded on the thread that polls it,
///   which has to have 2 MiB, as tokio's workers have.
/// - *Order*: a listener gets the events of one sender in their order. A listener without a queue
///   runs within `emit`, so an event that is emitted by a listener is delivered before the other
///   listeners get the first one, and threads that emit at once call it at once. Streams, async
///   listeners and those that were found to be slow have a queue, and get the bus's own events in
///   the order of their numbers, whichever threads emit them.
/// - *Turns*: a slow listener delays no other; the bus's streams and futures keep tokio's
///   cooperative budget, so a task that reads many events in a row lets the other tasks of its
///   thread run in between.
/// - *Locks*: the bus holds none while it runs or drops what is the listener's, so a listener, and
///   a `Drop` of what it captured, may call anything of the bus.
/// - *Panics* are caught and reported ([`Notice::ListenerPanicked`]), and cost the one call: in the
///   decoding of the event, in the closure or its future, and when the event or the closure is
///   dropped.
/// - *The end*: what a listener has captured is dropped as soon as it has been taken off and its
///   last call has ended.
pub struct Bus {
    core: Arc<Core>,
}

/// Building, starting and stopping.
impl Bus {
    /// A builder, which collects the options of a new bus. [`build`](Builder::build) makes a
    /// stopped bus of it, [`start`](Builder::start) one that runs.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().port(9000).build()?;
    /// assert_eq!(bus.port(), 9000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Opens the sockets: the bus then receives events and sends them.
    ///
    /// It acts when called. The [`Transition`] that it returns may be awaited, to learn when the
    /// bus runs and of errors, or dropped: the start goes on without it. It may be polled again
    /// when it was ready, and gives the same result. On a bus that runs, `start` does nothing;
    /// while a `stop` is under way it waits for the end of that.
    ///
    /// A bus with a passphrase runs as soon as its key is derived, on a thread of its own; without
    /// one, or when this process has derived the key before, it runs when `start` returns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}")); // before the first event can come
    /// bus.start().await?;
    /// assert!(bus.is_running());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The bus stays stopped, and `start` may be called again.
    ///
    /// - [`Error::Open`](crate::Error::Open): a socket could not be opened; it says what to change.
    /// - [`Error::NoRuntime`](crate::Error::NoRuntime): there are async listeners and no tokio
    ///   runtime.
    /// - [`Error::Thread`](crate::Error::Thread): the system gave the bus no thread.
    /// - [`Error::Stopped`](crate::Error::Stopped): `stop` was called before the start was through.
    /// - [`Error::Forked`](crate::Error::Forked): this process was forked from the one that started
    ///   the bus.
    pub fn start(&self) -> Transition {
        self.core.lifecycle.start()
    }

    /// Sends what is queued, for one second at most, and closes the sockets.
    ///
    /// It acts when called. The [`Transition`] that it returns may be awaited, to learn when the
    /// sockets are closed, or dropped: the stop goes on without it. It may be polled again when it
    /// was ready, and gives the same result. On a stopped bus it does nothing.
    ///
    /// It does not wait for listeners that are running, so a listener may call it, and await it.
    /// Listeners stay registered, streams stay open, and [`start`](Self::start) makes the bus run
    /// again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// bus.emit_named("goodbye", ())?;
    /// bus.stop().await?; // the goodbye has left
    /// assert!(!bus.is_running());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`](crate::Error::Failed) where a panic inside the bus came in the way. The
    /// sockets are closed all the same.
    pub fn stop(&self) -> Transition {
        self.core.lifecycle.stop()
    }

    /// Opens the sockets, and blocks the thread until the bus runs. It is [`start`](Self::start)
    /// for a thread without a runtime. Async listeners need a runtime all the same, given with
    /// [`Builder::runtime`].
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .build()?;
    /// bus.start_blocking()?;
    /// bus.emit_named("greeting", "hello")?;
    /// bus.stop_blocking()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The bus stays stopped, and `start_blocking` may be called again.
    ///
    /// - [`Error::Open`](crate::Error::Open): a socket could not be opened; it says what to change.
    /// - [`Error::NoRuntime`](crate::Error::NoRuntime): there are async listeners and no tokio
    ///   runtime.
    /// - [`Error::Thread`](crate::Error::Thread): the system gave the bus no thread.
    /// - [`Error::Stopped`](crate::Error::Stopped): `stop` was called before the start was through.
    /// - [`Error::Forked`](crate::Error::Forked): this process was forked from the one that started
    ///   the bus.
    pub fn start_blocking(&self) -> crate::Result<()> {
        block_on(self.start(), None).unwrap_or(Ok(()))
    }

    /// Sends what is queued, for one second at most, and blocks the thread until the sockets are
    /// closed. It is [`stop`](Self::stop) for a thread without a runtime. A listener may call it,
    /// too.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().build()?;
    /// bus.stop_blocking()?;
    /// assert!(!bus.is_running());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`](crate::Error::Failed) where a panic inside the bus came in the way. The
    /// sockets are closed all the same.
    pub fn stop_blocking(&self) -> crate::Result<()> {
        block_on(self.stop(), None).unwrap_or(Ok(()))
    }

    /// Waits until the bus is stopped and its sockets are closed: after a [`stop`](Self::stop) of
    /// any handle, after the last handle was dropped, or after a panic inside the bus. On a stopped
    /// bus it is ready at once; a bus that is starting counts as running.
    ///
    /// The future holds no handle of the bus. It may be dropped, which changes nothing; polled
    /// again after it was ready, it panics.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .start()
    ///     .await?;
    /// bus.on_named("quit", |args| {
    ///     args.bus().stop();
    /// });
    /// # bus.emit_named("quit", ())?;
    /// bus.closed().await;
    /// assert!(!bus.is_running());
    /// # Ok(())
    /// # }
    /// ```
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.core.lifecycle.closed()
    }

    /// Replaces the keys of a sealed bus, whether it runs or is stopped. No event is lost: what
    /// waits to be sent is sealed with the new key, and an event that was sealed with a key that is
    /// taken away is sealed anew when a peer asks for it.
    ///
    /// It acts when called: the keys are derived on a thread of their own, unless this process has
    /// derived them before. The [`Transition`] that it returns may be awaited, to learn when the
    /// keys are in use, or dropped: the change goes on without it. It may be polled again when it
    /// was ready, and gives the same result. Of several calls the last one counts.
    ///
    /// To change the passphrase of a running group, take three rounds over all its buses. Each
    /// round ends on every bus before the next one begins:
    ///
    /// ```
    /// # use eventcast::{Bus, Keys, Secret};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let [old, new] = [7, 8].map(|byte| Secret::ready_key([byte; 32]));
    /// # let bus = Bus::builder().passphrase(old.clone()).build()?;
    /// bus.set_keys(Keys::new(old.clone()).and_receive(new.clone())).await?; // all can open the new one
    /// bus.set_keys(Keys::new(new.clone()).and_receive(old)).await?; // all seal with the new one
    /// bus.set_keys(Keys::new(new)).await?; // none opens the old one any more
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The keys in use stay.
    ///
    /// - [`Error::SealKey`](crate::Error::SealKey): a passphrase is empty, or a key is too short.
    /// - [`Error::NotSealed`](crate::Error::NotSealed): the bus was built without a passphrase.
    /// - [`Error::Thread`](crate::Error::Thread): the system gave the bus no thread.
    /// - [`Error::Forked`](crate::Error::Forked): this process was forked from the one that started
    ///   the bus.
    pub fn set_keys(&self, keys: Keys) -> Transition {
        self.core.lifecycle.set_keys(keys)
    }

    /// Whether the bus runs: true from the end of `start` until `stop` is called.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// assert!(!bus.is_running());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_running(&self) -> bool {
        self.core.lifecycle.session().is_some()
    }

    /// A handle that does not keep the bus alive: for a task or a closure that must not keep the
    /// bus running for ever.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let weak = bus.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(bus);
    /// assert!(weak.upgrade().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn downgrade(&self) -> WeakBus {
        WeakBus {
            core: Arc::downgrade(&self.core),
        }
    }

    /// The bus's id: the option `id`, or 16 random hex digits, which are drawn anew at each start.
    /// In a forked child it is empty unless the option was given.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().id("robot-3").build()?;
    /// assert_eq!(bus.id(), "robot-3");
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> String {
        if self.core.is_forked() {
            return self.core.shared.options.id.clone().unwrap_or_default();
        }
        self.core.shared.identity().id.clone()
    }

    /// The options in force: those that the builder, the environment and the file gave, checked,
    /// and the defaults for the others. An option is `None` where it has no value. Secrets are
    /// among them, and do not show in `Debug`; a passphrase from a file is `passphrase` here. They
    /// can be given to another bus by [`Builder::config`](crate::Builder::config).
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().max_payload_size(1_200).build()?;
    /// let config = bus.config();
    /// assert_eq!(config.max_payload_size, Some(1_200));
    /// assert_eq!(config.port, Some(bus.port()));
    /// assert_eq!(config.passphrase, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(&self) -> Config {
        self.core.shared.options.in_force()
    }

    /// The UDP port of the group. Where it was drawn at random, this is the one that was drawn:
    /// another bus that shall meet this one needs it.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().port(0).build()?; // any
    /// let other = eventcast::Bus::builder().port(bus.port()).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn port(&self) -> u16 {
        self.core.shared.options.port
    }

    /// The name of this machine, as the bus gives it to its peers ([`Origin::hostname`]).
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().build()?;
    /// println!("{} on {}", bus.id(), bus.hostname());
    /// # Ok(())
    /// # }
    /// ```
    pub fn hostname(&self) -> &str {
        &self.core.shared.hostname
    }

    /// The address of the bus's second socket, to which peers send what is for this bus alone.
    /// `None` while the bus is not running.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// if let Some(address) = bus.unicast_address() {
    ///     println!("a firewall has to let UDP to {address} in");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn unicast_address(&self) -> Option<SocketAddr> {
        self.core
            .lifecycle
            .session()
            .map(|_| self.core.shared.identity().address)
    }

    /// The peers that are there now. A peer is a bus with eventcast's extensions that has said
    /// hello, has not said goodbye since, and was not silent for `peer_timeout`. Programs of
    /// another make that speak version 3 say no hello, and are not listed. Empty while the bus is
    /// not running.
    ///
    /// ```no_run
    /// # fn show(bus: &eventcast::Bus) {
    /// for status in bus.peers() {
    ///     println!("{}, {}: {} events lost", status.peer, status.version, status.stats.lost);
    /// }
    /// # }
    /// ```
    pub fn peers(&self) -> Vec<crate::PeerStatus> {
        let now = self.core.shared.process.now();
        let Some(session) = self.core.lifecycle.session() else {
            return Vec::new();
        };
        let context = &session.context;
        let peers = || Some(context.engine.lock()?.peers(now));
        let peers = context.guard("listing peers", peers);
        peers.flatten().unwrap_or_default()
    }

    /// The bus's statistics at this moment: plain numbers, which do not change afterwards.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().build()?;
    /// let stats = bus.stats();
    /// println!("{} events received, {} lost", stats.events_received, stats.events_lost);
    /// for (cause, count) in &stats.dropped {
    ///     println!("{count} datagrams dropped: {cause}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        self.core.lifecycle.stats()
    }

    /// The TCP address at which the bus's console listens. `None` where the options turn no console
    /// on, before the first start, and in a forked child. With the feature `repl`; the page
    /// [`repl`](crate::repl) says what a console is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder()
    ///     .multicast_interface("127.0.0.1") // on a network, leave this line out
    ///     .repl(true)
    ///     .start()
    ///     .await?;
    /// println!("telnet to {:?}", bus.repl_address());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "repl")]
    pub fn repl_address(&self) -> Option<SocketAddr> {
        if self.core.is_forked() {
            return None;
        }
        self.core.lifecycle.console_address()
    }

    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        core.add_handle();
        Self { core }
    }
}

/// Emitting. Any thread may, inside a runtime or not.
impl Bus {
    /// Sends an event to all buses on the group, and calls the listeners of this bus.
    ///
    /// The event leaves from the calling thread if the socket takes it, else as soon as the socket
    /// does. Listeners of this bus are called before `emit` returns, once, and not again from the
    /// network; those of the same type get a reference to the very value, others get what encoding
    /// and decoding makes of it. Async listeners, streams, and listeners that were found to be slow
    /// get it through their queues.
    ///
    /// `Ok` means that the bus has taken the event and answers for it: where the network is away
    /// for now, peers ask for it once it is back, so the event must not be emitted again.
    /// [`Emitted::sent`] says whether it went out, and [`Notice::SendFailed`] comes at once where
    /// no interface can be used.
    ///
    /// ```
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(NetEvent, Serialize, Deserialize)]
    /// struct Moved { x: f64, y: f64 }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// let emitted = bus.emit(Moved { x: 1.5, y: -2.0 })?;
    /// println!("event {:?} called {} local listeners", emitted.number, emitted.listeners);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An [`EmitError`] gives the event back ([`into_event`](EmitError::into_event)) and says why
    /// in its [`kind`](EmitError::kind). Nothing was sent and no listener was called, except where
    /// the bus is not running ([`NotStarted`](crate::EmitErrorKind::NotStarted)): then the
    /// listeners of this bus were called.
    ///
    /// | kind | what to do |
    /// | --- | --- |
    /// | `QueueFull` | more waits than `send_queue` allows: use [`emit_wait`](Self::emit_wait), or send less |
    /// | `NotStarted`, `Forked` | call [`start`](Self::start); in a forked child build a new bus |
    /// | `TooLarge`, `NoRoomForData` | raise `max_message_size` on all buses; shorten the key, or raise `max_payload_size` |
    /// | `Encode` | mend the field that it names |
    /// | `KeyConflict`, `KeyEndsOldPeers` | choose another key for one of the types |
    /// | `TooDeep` | listeners emit within listeners, 32 deep: break the circle |
    ///
    /// # Panics
    ///
    /// Where the event's `Serialize` panics. A panic of a listener is caught and reported.
    #[track_caller]
    pub fn emit<E: NetEvent>(&self, event: E) -> Result<Emitted, EmitError<E>> {
        emit::emit_typed(&self.core, event, Location::caller())
    }

    /// Sends an event by its key, with arguments in the place of a type. [`IntoArgs`] says what can
    /// be given: nothing, a single value, or a tuple. It is sent, and the listeners of this bus are
    /// called, before `emit_named` returns; typed listeners of that key get it too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// bus.emit_named("tick", ())?;
    /// bus.emit_named("greeting", "hello")?;
    /// bus.emit_named("moved", (1.5, -2.0))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An [`EmitError`] gives the arguments back ([`into_event`](EmitError::into_event)) and says
    /// why in its [`kind`](EmitError::kind). Nothing was sent and no listener was called, except
    /// where the bus is not running ([`NotStarted`](crate::EmitErrorKind::NotStarted)): then the
    /// listeners of this bus were called.
    ///
    /// | kind | what to do |
    /// | --- | --- |
    /// | `InvalidKey`, `Reserved` | the key is empty, longer than 1,024 bytes, has control characters, or begins with `__ec_`: choose another |
    /// | `QueueFull` | more waits than `send_queue` allows: use [`emit_wait_named`](Self::emit_wait_named), or send less |
    /// | `NotStarted`, `Forked` | call [`start`](Self::start); in a forked child build a new bus |
    /// | `TooLarge`, `NoRoomForData` | raise `max_message_size` on all buses; shorten the key, or raise `max_payload_size` |
    /// | `Encode` | mend the argument that it names |
    /// | `KeyEndsOldPeers` | choose another key |
    /// | `TooDeep` | listeners emit within listeners, 32 deep: break the circle |
    pub fn emit_named<A: IntoArgs>(&self, key: &str, args: A) -> Result<Emitted, EmitError<A>> {
        emit::emit_named(&self.core, key, args)
    }

    /// Sends an event to all buses on the group as soon as the send queue has room, and calls the
    /// listeners of this bus.
    ///
    /// Nothing happens before the future is polled. It is cancel-safe: dropped before it is ready,
    /// it has sent nothing and called nobody. Polled again after it was ready, it panics.
    ///
    /// ```
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Row { number: u32 }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// for number in 0..100 {
    ///     bus.emit_wait(Row { number }).await?; // as fast as the network takes them
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An [`EmitError`] gives the event back and says why. It is one of the kinds that
    /// [`emit`](Self::emit) lists, but never `QueueFull`. A bus that is stopped while the future
    /// waits ends the wait with [`NotStarted`](crate::EmitErrorKind::NotStarted).
    ///
    /// # Panics
    ///
    /// The future panics where the event's `Serialize` does.
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

    /// Sends an event by its key, with arguments in the place of a type, as soon as the send queue
    /// has room, and calls the listeners of this bus.
    ///
    /// Nothing happens before the future is polled. It is cancel-safe: dropped before it is ready,
    /// it has sent nothing and called nobody. Polled again after it was ready, it panics.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventcast::Result<()> {
    /// # let bus = eventcast::Bus::builder().multicast_interface("127.0.0.1").start().await?;
    /// for number in 0..100 {
    ///     bus.emit_wait_named("row", number).await?; // as fast as the network takes them
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An [`EmitError`] gives the arguments back and says why. It is one of the kinds that
    /// [`emit_named`](Self::emit_named) lists, but never `QueueFull`. A bus that is stopped while
    /// the future waits ends the wait with [`NotStarted`](crate::EmitErrorKind::NotStarted).
    pub fn emit_wait_named<A: IntoArgs + Send>(
        &self,
        key: &str,
        args: A,
    ) -> impl Future<Output = Result<Emitted, EmitError<A>>> + Send + use<A> {
        emit_wait_named(Arc::clone(&self.core), key.to_owned(), args)
    }
}

async fn emit_wait_named<A: IntoArgs>(
    core: Arc<Core>,
    key: String,
    args: A,
) -> Result<Emitted, EmitError<A>> {
    let emit = |core: &Arc<Core>, args| emit::emit_named(core, &key, args);
    emit::when_there_is_room(core, args, emit).await
}

/// All listeners, and notices.
impl Bus {
    /// Takes one listener off, of events or of notices. False if this bus does not have it, or no
    /// longer: an id names one listener of one bus.
    ///
    /// Events that came before still reach the listener: those that are being delivered, and those
    /// in its queue.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let id = bus.on_named("greeting", |args| println!("{args:?}"));
    /// assert!(bus.off(id));
    /// assert!(!bus.off(id));
    /// # Ok(())
    /// # }
    /// ```
    pub fn off(&self, id: ListenerId) -> bool {
        self.core.off(id)
    }

    /// Takes off all listeners of events, those by pattern too, and returns how many there were.
    /// Listeners of notices stay. Streams end after the events that wait in them, and a [`WaitFor`]
    /// yields [`Stopped`].
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// bus.on_every(|e| println!("{}", e.key()));
    /// assert_eq!(bus.off_everything(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn off_everything(&self) -> usize {
        if self.core.is_forked() {
            return 0;
        }
        let listeners = &self.core.shared.listeners;
        listeners.retire(&listeners.registry.remove_all())
    }

    /// The keys that have listeners, sorted. Listeners by pattern add none.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// assert_eq!(bus.event_keys(), ["greeting"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn event_keys(&self) -> Vec<String> {
        if self.core.is_forked() {
            return Vec::new();
        }
        self.core.shared.listeners.registry.keys()
    }

    /// How many listeners a key may have before a warning is logged, once for each key. 0: any
    /// number. Default: the option `max_listeners`, which is 10.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// assert_eq!(bus.max_listeners(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_listeners(&self) -> usize {
        self.core.shared.listeners.max()
    }

    /// Sets how many listeners a key may have before a warning is logged, once for each key. 0: any
    /// number. More listeners than that work all the same; the warning is there to find one that is
    /// registered again and again.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// bus.set_max_listeners(100);
    /// assert_eq!(bus.max_listeners(), 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_max_listeners(&self, max: usize) {
        self.core.shared.listeners.set_max(max);
    }

    /// Calls `listener` with each [`Notice`] of the bus: peers that join and leave, events that
    /// were lost, faults.
    ///
    /// It is called on a thread of its own, one notice after the other. A listener that is 1,024
    /// notices behind misses the next ones ([`Stats::notices_missed`]). What happens again and
    /// again is summed up; [`notices`](Self::notices) has the table. A panic in the listener is
    /// caught and logged.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// use eventcast::{Bus, Notice};
    ///
    /// let bus = Bus::builder().build()?;
    /// bus.on_notice(|notice| match notice {
    ///     Notice::Lost { .. } => eprintln!("{notice}"),
    ///     _ => println!("{notice}"),
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> ListenerId {
        let id = ListenerId::next();
        if self.core.is_forked() {
            fork::log_deaf("a listener of notices", Location::caller());
            let _ = user_code::discard(listener);
            return id;
        }
        let sink = NoticeSink::listener(id, listener);
        self.core.shared.telemetry.add(sink);
        id
    }

    /// The notices of the bus as a stream. It ends when the last handle of the bus has gone and the
    /// bus has stopped. It holds 1,024 notices that nobody has read yet, and misses the next ones
    /// ([`Stats::notices_missed`]).
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let mut notices = bus.notices();
    /// while let Some(notice) = notices.next().await {
    ///     println!("{notice}");
    /// }
    /// # }
    /// ```
    ///
    /// Things that a peer, a client of the console or a listener in a loop could cause at any rate
    /// are summed up. The first notice of a thing comes at once. The ones after it are held back,
    /// and come as one notice ten seconds after the last, whether or not anything more happens; at
    /// once when the bus stops and when its last handle goes. The field `count` says how many such
    /// things a notice stands for, itself included, and its other fields are those of the last one.
    /// The counts of all notices add up to what happened, and each notice is logged once, as it
    /// comes.
    ///
    /// | notice | one thing is |
    /// | --- | --- |
    /// | `DecodeFailure` | a field of an event, a listener and a sender |
    /// | `ListenerSlow`, `ListenerMissed`, `ListenerPanicked`, `NoRuntime` | a listener |
    /// | `SendFailed` | an address and kind of error |
    /// | `KernelDrops` | all of them |
    /// | `Warning` | a text; where it came again, it says how often |
    /// | `InterfaceJoined`, `InterfaceLeft` | each change; beyond 16 in ten seconds, an interface |
    /// | `ConsoleConnected`, `ConsoleDisconnected` | each client; beyond 16 in ten seconds, an IP address |
    /// | `ConsoleRefused` | a cause and an IP address |
    /// | `Refused`, `VersionMismatch` | a cause and an IP address |
    /// | `Lost` | a peer and a reason; `count` events, and which |
    /// | `Expired` | a reason and an IP address; `others` beside the one that is named |
    /// | `PeerJoined`, `PeerLeft` | each, unless they are very many: then how it stands in the end |
    ///
    /// Of one source (an IP address, or the place in the program where listeners are registered) 16
    /// things are kept apart in ten seconds, and the others are summed up together; of all sources
    /// 1,024.
    pub fn notices(&self) -> NoticeStream {
        let id = ListenerId::next();
        let telemetry = &self.core.shared.telemetry;
        let sink = NoticeSink::stream(id);
        // In a forked child a stream has ended.
        if !self.core.is_forked() {
            telemetry.add(Arc::clone(&sink));
        }
        NoticeStream::new(sink, Arc::clone(telemetry))
    }
}

#[cfg(feature = "metrics")]
impl Bus {
    /// Hands the statistics of this moment to the recorder of the crate `metrics`, and by it to
    /// Prometheus and its like. With the feature `metrics`.
    ///
    /// Each field of [`Stats`] is a metric. A counter is called `eventcast_`, the field's name,
    /// `_total`: `eventcast_events_emitted_total`. A gauge has no `_total`: `eventcast_held_bytes`.
    /// What is in [`Stats::dropped`] is `eventcast_dropped_total`, with the label `cause`. All have
    /// the label `group`, the address and port of the group: `224.0.0.1:9000`; the buses of one
    /// group in one process add up.
    ///
    /// Nothing is published but by calling this: call it where the metrics are collected, or now
    /// and then. It takes some microseconds, and blocks nobody. Install the recorder before; what
    /// was published without one does not reach the next. When the last handle of a bus has gone,
    /// so has its share of the gauges. Where a recorder calls this while it receives the statistics
    /// of a bus, it does nothing.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().port(9000).start().await?;
    /// let weak = bus.downgrade();
    /// tokio::spawn(async move {
    ///     // Ends when the bus does.
    ///     while let Some(bus) = weak.upgrade() {
    ///         bus.publish_metrics();
    ///         drop(bus);
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_metrics(&self) {
        if self.core.is_forked() {
            return;
        }
        self.core.published.publish(|| self.core.lifecycle.stats());
    }
}

/// What the console looks at.
#[cfg(feature = "repl")]
impl Bus {
    pub(crate) fn settings(&self) -> &[Setting] {
        &self.core.settings
    }

    pub(crate) fn group(&self) -> String {
        let group = &self.core.shared.options.multicast_membership;
        match group.address {
            std::net::IpAddr::V4(_) => format!("{group}:{}", self.port()),
            std::net::IpAddr::V6(_) => format!("[{group}]:{}", self.port()),
        }
    }

    /// How this bus's datagrams are protected, in words for the console.
    pub(crate) fn secrecy(&self) -> &'static str {
        let options = &self.core.shared.options;
        match &options.passphrase {
            None => "none: everything goes in the clear",
            Some(_) if options.classic_cipher => {
                "the classic cipher, which protects against nothing"
            }
            Some(_) => "sealed",
        }
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
            .field(
                "group",
                &format_args!("{}", self.core.shared.options.multicast_membership),
            )
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
    /// A handle that keeps the bus alive. `None` when the last such handle of the bus has been
    /// dropped.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let weak = bus.downgrade();
    /// std::thread::spawn(move || {
    ///     while let Some(bus) = weak.upgrade() {
    ///         println!("{} peers", bus.stats().peers);
    ///         drop(bus); // not kept while this thread sleeps
    ///         std::thread::sleep(std::time::Duration::from_secs(1));
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn upgrade(&self) -> Option<Bus> {
        let core = self.core.upgrade()?;
        // Not made before it is known to count: dropping it would count, too.
        core.try_add_handle().then(|| Bus { core })
    }

    /// Reports a notice without making a handle. Such a handle could become the last one, and the
    /// bus would then end here, on a thread of the console.
    #[cfg(feature = "repl")]
    pub(crate) fn tell(&self, notice: Notice) {
        if let Some(core) = self.core.upgrade() {
            core.shared.telemetry.report(notice);
        }
    }

    /// Whether the bus was started in another process, of which this one is a forked child.
    #[cfg(feature = "repl")]
    pub(crate) fn is_forked(&self) -> bool {
        let core = self.core.upgrade();
        core.is_some_and(|core| core.shared.process.is_forked())
    }

    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::downgrade(core),
        }
    }
}

impl fmt::Debug for WeakBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBus")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Args;

    #[test]
    fn what_users_hold_moves_between_threads() {
        fn moves<T: Send + Sync>() {}
        moves::<Bus>();
        moves::<WeakBus>();
        moves::<Received<Args>>();
        moves::<Subscription<Args>>();
        moves::<WaitFor<Args>>();
        moves::<NoticeStream>();
        moves::<Notice>();
        moves::<crate::Error>();
    }

    #[test]
    fn the_last_handle_is_the_last() {
        let bus = Bus::builder().environment(false).build().unwrap();
        let weak = bus.downgrade();
        let second = weak.upgrade().unwrap();
        drop(bus);
        assert!(weak.upgrade().is_some());
        let mut stream = second.subscribe_named("x");
        drop(second);
        for _ in 0..3 {
            assert!(weak.upgrade().is_none());
        }
        assert!(matches!(stream.try_next(), Err(TryNextError::Ended)));
    }
}
