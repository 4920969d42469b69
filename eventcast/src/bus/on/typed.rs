//! Listening to typed events.

use std::num::NonZeroUsize;

use super::{super::Bus, or_error, or_panic};
use crate::{
    bus::{
        listeners::{
            async_sink::AsyncListener,
            received::Received,
            subscription::{SubscribeOptions, Subscription},
            wait_for::WaitFor,
        },
        telemetry::listener_id::ListenerId,
    },
    event::{KeyConflict, NetEvent},
};

/// Listening to typed events.
impl Bus {
    /// Calls `listener` for every event of type `E`, from any bus on the group, this one included.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// A listener gets the events of one sender in their order, whether moved or not; [`Bus`] says
    /// what else it can rely on. An `emit` inside a listener runs at once: the listeners of that
    /// event are called before the other listeners of the first one, as with Node's EventEmitter,
    /// up to 32 deep.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// let id = bus.on::<Joined>(|e| println!("{}", e.user));
    /// bus.off(id);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn on<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.call(listener)
    }

    /// Calls `listener` for one event of type `E`. A call uses it up; an event that does not decode
    /// does not.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// bus.once::<Joined>(|e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn once<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call(listener)
    }

    /// Calls `listener` for every event of type `E`, before the listeners that are registered
    /// already.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// bus.prepend::<Joined>(|e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn prepend<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.prepend().call(listener)
    }

    /// Calls `listener` for one event of type `E`, before the listeners that are registered
    /// already. A call uses it up; an event that does not decode does not.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// bus.prepend_once::<Joined>(|e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn prepend_once<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.once().prepend().call(listener)
    }

    /// Calls `listener` for every event of type `E`, or returns why it cannot.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) -> eventcast::Result<()> {
    /// bus.try_on::<Joined>(|e| println!("{}", e.user))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyConflict`] where another type of the program claims the same key with another shape.
    /// The listener is dropped then.
    #[track_caller]
    pub fn try_on<E: NetEvent>(
        &self,
        listener: impl Fn(&Received<E>) + Send + Sync + 'static,
    ) -> Result<ListenerId, KeyConflict> {
        let (listen, listener) = or_error(self.try_listen::<E>(), listener)?;
        Ok(listen.call(listener))
    }

    /// Calls an async `listener` for every event of type `E`.
    ///
    /// Its calls run on a tokio runtime, one after the other and in the order of each sender's
    /// events, from a queue of its own (`listener_queue`). The runtime is the one in which `start`
    /// is called, or the one given with [`Builder::runtime`](crate::Builder::runtime). A panic in
    /// it is caught and reported as a [`Notice`](crate::Notice). What the listener captures is
    /// cloned for each call:
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// # use std::sync::Arc;
    /// # struct Db;
    /// # impl Db { async fn insert(&self, user: u64) {} }
    /// # let db = Arc::new(Db);
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
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn on_async<E: NetEvent>(
        &self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.call_async(listener)
    }

    /// Calls an async `listener` for every event of type `E`, with up to `concurrency` calls under
    /// way at once. The calls begin in the order of each sender's events, and end in any.
    ///
    /// They run on a tokio runtime, from a queue of the listener's own (`listener_queue`).
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// let four = std::num::NonZeroUsize::new(4).unwrap();
    /// bus.on_async_concurrent::<Joined>(four, async |e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn on_async_concurrent<E: NetEvent>(
        &self,
        concurrency: NonZeroUsize,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.concurrency(concurrency.get()).call_async(listener)
    }

    /// Calls an async `listener` for one event of type `E`. A call uses it up; an event that does
    /// not decode does not.
    ///
    /// The call runs on a tokio runtime.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// bus.once_async::<Joined>(async |e| println!("{}", e.user));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn once_async<E: NetEvent>(
        &self,
        listener: impl AsyncFn(Received<E>) + AsyncListener<Received<E>>,
    ) -> ListenerId {
        let listen = self.try_listen::<E>();
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call_async(listener)
    }

    /// The events of type `E` as a stream. [`Subscription`] says how many events wait in it, and
    /// when it ends.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # async fn example(bus: &Bus) {
    /// let mut events = bus.subscribe::<Joined>();
    /// while let Some(e) = events.next().await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn subscribe<E: NetEvent>(&self) -> Subscription<E> {
        self.listen::<E>().subscribe()
    }

    /// The events of type `E` as a stream. `options` say how many events wait in it, and whether
    /// the oldest or the newest is dropped when it is full.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn example(bus: &Bus) {
    /// use eventcast::SubscribeOptions;
    ///
    /// let newest_alone = bus.subscribe_with::<Joined>(SubscribeOptions::latest());
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn subscribe_with<E: NetEvent>(&self, options: SubscribeOptions) -> Subscription<E> {
        self.listen::<E>().subscribe_with(options)
    }

    /// The first event of type `E` from now on.
    ///
    /// The wait is registered by this call, not by its first poll, so an event that comes in
    /// between is not missed. Dropping the [`WaitFor`] ends the wait; polled again after it was
    /// ready, it waits for the next event. It yields [`Stopped`](crate::Stopped) where the event
    /// can no longer come.
    ///
    /// ```no_run
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # async fn example(bus: &Bus) {
    /// let answer = bus.wait_for::<Joined>();
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn wait_for<E: NetEvent>(&self) -> WaitFor<E> {
        self.listen::<E>().wait()
    }

    /// The first event of type `E` from now on for which `condition` is true.
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
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # async fn example(bus: &Bus) {
    /// let answer = bus.wait_for_where::<Joined>(move |e| e.user == 7);
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where another type of the program claims the same key with another shape; the message names
    /// both. [`try_listen`](Self::try_listen) returns that as an error.
    #[track_caller]
    pub fn wait_for_where<E: NetEvent>(
        &self,
        condition: impl Fn(&Received<E>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<E> {
        let listen = self.try_listen::<E>();
        let (listen, condition) = or_panic(listen, condition);
        listen.wait_where(condition)
    }

    /// Takes off all listeners of the key of type `E`, those by key among them but not those by
    /// pattern, and returns how many there were. Streams end after the events that wait in them,
    /// and a [`WaitFor`] yields [`Stopped`](crate::Stopped).
    ///
    /// ```
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = Bus::builder().build()?;
    /// bus.on::<Joined>(|e| println!("{}", e.user));
    /// assert_eq!(bus.off_all::<Joined>(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn off_all<E: NetEvent>(&self) -> usize {
        self.off_all_named(E::KEY)
    }

    /// How many listeners the key of type `E` has: streams and waits are among them, listeners by
    /// pattern are not.
    ///
    /// ```
    /// # use eventcast::{Bus, NetEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(NetEvent, Serialize, Deserialize)]
    /// # struct Joined { user: u64 }
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = Bus::builder().build()?;
    /// let joined = bus.subscribe::<Joined>();
    /// assert_eq!(bus.listener_count::<Joined>(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn listener_count<E: NetEvent>(&self) -> usize {
        self.listener_count_named(E::KEY)
    }
}
