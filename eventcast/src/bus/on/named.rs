//! Listening to events by key, without a type.

use super::{super::Bus, listen::refused_key, or_error, or_panic};
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
    codec::Args,
    event::InvalidKey,
};

/// Listening to events by key, without a type.
impl Bus {
    /// Calls `listener` for every event of this key, with its arguments; typed events of that key
    /// are among them.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let id = bus.on_named("greeting", |args| println!("{args:?}"));
    /// bus.off(id);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn on_named(
        &self,
        key: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.call(listener)
    }

    /// Calls `listener` for one event of this key, with its arguments. A call uses it up; an event
    /// that does not decode does not.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn once_named(
        &self,
        key: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call(listener)
    }

    /// Calls `listener` for every event of this key, before the listeners that are registered
    /// already.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.prepend_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn prepend_named(
        &self,
        key: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.prepend().call(listener)
    }

    /// Calls `listener` for one event of this key, with its arguments, before the listeners that
    /// are registered already. A call uses it up; an event that does not decode does not.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.prepend_once_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn prepend_once_named(
        &self,
        key: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.once().prepend().call(listener)
    }

    /// Calls `listener` for every event of this key, or returns why it cannot.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let key = std::env::args().nth(1).unwrap_or_default();
    /// bus.try_on_named(&key, |args| println!("{args:?}"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] where `key` is empty, longer than 1,024 bytes, has control characters, or
    /// begins with `__ec_` as the protocol's own do. The listener is dropped then.
    #[track_caller]
    pub fn try_on_named(
        &self,
        key: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> Result<ListenerId, InvalidKey> {
        let (listen, listener) = or_error(self.try_listen_named(key), listener)?;
        Ok(listen.call(listener))
    }

    /// Calls an async `listener` for every event of this key, with its arguments.
    ///
    /// Its calls run on a tokio runtime, one after the other and in the order of each sender's
    /// events, from a queue of its own (`listener_queue`).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_async_named("greeting", async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn on_async_named(
        &self,
        key: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.call_async(listener)
    }

    /// Calls an async `listener` for one event of this key, with its arguments. A call uses it up;
    /// an event that does not decode does not.
    ///
    /// The call runs on a tokio runtime.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_async_named("greeting", async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn once_async_named(
        &self,
        key: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call_async(listener)
    }

    /// The events of this key, with their arguments, as a stream. [`Subscription`] says how many
    /// events wait in it, and when it ends.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let mut events = bus.subscribe_named("greeting");
    /// while let Some(e) = events.next().await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn subscribe_named(&self, key: &str) -> Subscription<Args> {
        self.listen_named(key).subscribe()
    }

    /// The events of this key, with their arguments, as a stream. `options` say how many events
    /// wait in it, and whether the oldest or the newest is dropped when it is full.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// use eventcast::SubscribeOptions;
    ///
    /// let newest_alone = bus.subscribe_named_with("greeting", SubscribeOptions::latest());
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn subscribe_named_with(&self, key: &str, options: SubscribeOptions) -> Subscription<Args> {
        self.listen_named(key).subscribe_with(options)
    }

    /// The first event of this key from now on.
    ///
    /// The wait is registered by this call, not by its first poll, so an event that comes in
    /// between is not missed. Dropping the [`WaitFor`] ends the wait; polled again after it was
    /// ready, it waits for the next event. It yields [`Stopped`](crate::Stopped) where the event
    /// can no longer come.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let answer = bus.wait_for_named("greeting");
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn wait_for_named(&self, key: &str) -> WaitFor<Args> {
        self.listen_named(key).wait()
    }

    /// The first event of this key from now on for which `condition` is true.
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
    /// # async fn example(bus: &eventcast::Bus) {
    /// let answer = bus.wait_for_named_where("greeting", |args| args.len() == 2);
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where `key` is empty, longer than 1,024 bytes, has control characters, or begins with
    /// `__ec_` as the protocol's own do. [`try_listen_named`](Self::try_listen_named) returns that
    /// as an error.
    #[track_caller]
    pub fn wait_for_named_where(
        &self,
        key: &str,
        condition: impl Fn(&Received<Args>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<Args> {
        let listen = self
            .try_listen_named(key)
            .map_err(|invalid| refused_key(key, invalid));
        let (listen, condition) = or_panic(listen, condition);
        listen.wait_where(condition)
    }

    /// Takes off all listeners of this key, typed ones among them but not those by pattern, and
    /// returns how many there were. Streams end after the events that wait in them, and a
    /// [`WaitFor`] yields [`Stopped`](crate::Stopped).
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// assert_eq!(bus.off_all_named("greeting"), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn off_all_named(&self, key: &str) -> usize {
        if self.core.is_forked() {
            return 0;
        }
        let listeners = &self.core.shared.listeners;
        listeners.retire(&listeners.registry.remove_key(key))
    }

    /// How many listeners this key has: streams and waits are among them, listeners by pattern are
    /// not.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let greetings = bus.subscribe_named("greeting");
    /// assert_eq!(bus.listener_count_named("greeting"), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn listener_count_named(&self, key: &str) -> usize {
        if self.core.is_forked() {
            return 0;
        }
        self.core.shared.listeners.registry.count(key)
    }
}
