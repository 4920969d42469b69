//! Listening to events by name.

use super::{
    super::{
        Bus,
        async_listener::AsyncListener,
        listener::ListenerId,
        received::Received,
        subscription::{SubscribeOptions, Subscription},
        wait_for::WaitFor,
    },
    agreed, if_agreed,
    listen::refused_name,
    retire,
};
use crate::{codec::Args, event::InvalidKey};

/// Listening to events by name.
impl Bus {
    /// Calls `listener` for every event of this name, with its arguments, typed events of that key included. It is called as
    /// [`on`](Self::on) says.
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
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn on_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.call(listener)
    }

    /// Calls `listener` for one event of this name. It is used up by a call, not by an event that does not decode.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn once_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.once().call(listener)
    }

    /// Calls `listener` for every event of this name, before the listeners that are there.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.prepend_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn prepend_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.prepend().call(listener)
    }

    /// Calls `listener` for one event of this name, before the listeners that are there.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.prepend_once_named("greeting", |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn prepend_once_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.once().prepend().call(listener)
    }

    /// Calls `listener` for every event of this name, or returns what stands in the way; the listener is dropped then.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let name = std::env::args().nth(1).unwrap_or_default();
    /// bus.try_on_named(&name, |args| println!("{args:?}"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] says what is wrong with the name.
    #[track_caller]
    pub fn try_on_named(
        &self,
        name: &str,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> Result<ListenerId, InvalidKey> {
        let (listen, listener) = if_agreed(self.try_listen_named(name), listener)?;
        Ok(listen.call(listener))
    }

    /// Calls an async `listener` for every event of this name, one call after the other, as [`on_async`](Self::on_async) does.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_async_named("greeting", async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn on_async_named(
        &self,
        name: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.call_async(listener)
    }

    /// Calls an async `listener` for one event of this name. It is used up by a call, not by an event that does not decode.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_async_named("greeting", async |args| println!("{args:?}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn once_async_named(
        &self,
        name: &str,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, listener) = agreed(listen, listener);
        listen.once().call_async(listener)
    }

    /// The events of this name as a stream. [`Subscription`] says how much waits in it, and when it ends.
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
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn subscribe_named(&self, name: &str) -> Subscription<Args> {
        self.listen_named(name).subscribe()
    }

    /// The events of this name as a stream, with a say in how much waits and what gives way.
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
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn subscribe_named_with(
        &self,
        name: &str,
        options: SubscribeOptions,
    ) -> Subscription<Args> {
        self.listen_named(name).subscribe_with(options)
    }

    /// The first event of this name from now on: it is registered now, not when it is first polled. [`WaitFor`] says what dropping it
    /// does, and how it is awaited without a runtime.
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
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn wait_for_named(&self, name: &str) -> WaitFor<Args> {
        self.listen_named(name).wait()
    }

    /// The first event of this name from now on for which `condition` holds. The condition is asked as [`wait_for_where`](Self::wait_for_where) says.
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
    /// Where the name is no key: it is empty, longer than 1,024 bytes, has control characters, or is the protocol's own.
    /// [`try_listen_named`](Self::try_listen_named) returns that instead.
    #[track_caller]
    pub fn wait_for_named_where(
        &self,
        name: &str,
        condition: impl Fn(&Received<Args>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<Args> {
        let listen = self
            .try_listen_named(name)
            .map_err(|invalid| refused_name(name, invalid));
        let (listen, condition) = agreed(listen, condition);
        listen.wait_where(condition)
    }

    /// Takes off all listeners of this name, typed ones among them but not those by pattern, and says how many there
    /// were. Streams end after what waits in them, and a [`WaitFor`] yields [`Stopped`](crate::Stopped).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// assert_eq!(bus.off_all_named("greeting"), 1);
    /// # }
    /// ```
    pub fn off_all_named(&self, name: &str) -> usize {
        if self.core.home.is_elsewhere() {
            return 0;
        }
        retire(&self.core, &self.core.table.remove_key(name))
    }

    /// How many listeners this name has, streams among them, without those by pattern.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let greetings = bus.subscribe_named("greeting");
    /// assert_eq!(bus.listener_count_named("greeting"), 1);
    /// # }
    /// ```
    pub fn listener_count_named(&self, name: &str) -> usize {
        if self.core.home.is_elsewhere() {
            return 0;
        }
        self.core.table.count(name)
    }
}
