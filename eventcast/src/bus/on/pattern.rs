//! Listening to many events at once.

use super::{super::Bus, into_pattern::IntoPattern, listen::refused_pattern, or_error, or_panic};
use crate::{
    bus::{
        listeners::{
            async_sink::AsyncListener,
            pattern::{InvalidPattern, Pattern},
            received::Received,
            subscription::{SubscribeOptions, Subscription},
            wait_for::WaitFor,
        },
        telemetry::listener_id::ListenerId,
    },
    codec::Args,
};

/// Listening to many events at once.
impl Bus {
    /// Calls `listener` for every event whose key matches `pattern`, with its arguments; typed
    /// events are among them, and [`Received::key`] says which event it is.
    ///
    /// Among the other listeners of an event it is called in the order of registration. It runs on
    /// the thread that read the datagram or that called `emit`, and should return soon: one that
    /// takes longer than `listener_budget` (1 ms) is moved for good to a queue and a thread of its
    /// own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// let id = bus.on_pattern("order.*", |e| println!("{}: {e:?}", e.key()));
    /// bus.off(id);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn on_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let text = pattern.as_ref().to_owned();
        let listen = self
            .try_listen_pattern(pattern)
            .map_err(|invalid| refused_pattern(&text, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.call(listener)
    }

    /// Calls `listener` for one event whose key matches `pattern`, with its arguments. A call uses
    /// it up; an event that does not decode does not.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_pattern("order.*", |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn once_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        let text = pattern.as_ref().to_owned();
        let listen = self
            .try_listen_pattern(pattern)
            .map_err(|invalid| refused_pattern(&text, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call(listener)
    }

    /// Calls `listener` for every event whose key matches `pattern`, or returns why it cannot.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) -> eventcast::Result<()> {
    /// let pattern = std::env::args().nth(1).unwrap_or_default();
    /// bus.try_on_pattern(&pattern, |e| println!("{}: {e:?}", e.key()))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] where the text is no pattern. A [`Pattern`](crate::Pattern) is never
    /// refused. The listener is dropped on an error.
    #[track_caller]
    pub fn try_on_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> Result<ListenerId, InvalidPattern> {
        let (listen, listener) = or_error(self.try_listen_pattern(pattern), listener)?;
        Ok(listen.call(listener))
    }

    /// Calls an async `listener` for every event whose key matches `pattern`, with its arguments.
    ///
    /// Its calls run on a tokio runtime, one after the other and in the order of each sender's
    /// events, from a queue of its own (`listener_queue`).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_async_pattern("order.*", async |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn on_async_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let text = pattern.as_ref().to_owned();
        let listen = self
            .try_listen_pattern(pattern)
            .map_err(|invalid| refused_pattern(&text, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.call_async(listener)
    }

    /// Calls an async `listener` for one event whose key matches `pattern`, with its arguments. A
    /// call uses it up; an event that does not decode does not.
    ///
    /// The call runs on a tokio runtime.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_async_pattern("order.*", async |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn once_async_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl AsyncFn(Received<Args>) + AsyncListener<Received<Args>>,
    ) -> ListenerId {
        let text = pattern.as_ref().to_owned();
        let listen = self
            .try_listen_pattern(pattern)
            .map_err(|invalid| refused_pattern(&text, invalid));
        let (listen, listener) = or_panic(listen, listener);
        listen.once().call_async(listener)
    }

    /// The events whose keys match `pattern`, with their arguments, as a stream. [`Subscription`]
    /// says how many events wait in it, and when it ends.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let mut events = bus.subscribe_pattern("order.*");
    /// while let Some(e) = events.next().await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn subscribe_pattern(&self, pattern: impl IntoPattern) -> Subscription<Args> {
        self.listen_pattern(pattern).subscribe()
    }

    /// The events whose keys match `pattern`, with their arguments, as a stream. `options` say how
    /// many events wait in it, and whether the oldest or the newest is dropped when it is full.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// use eventcast::SubscribeOptions;
    ///
    /// let newest_alone = bus.subscribe_pattern_with("order.*", SubscribeOptions::latest());
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn subscribe_pattern_with(
        &self,
        pattern: impl IntoPattern,
        options: SubscribeOptions,
    ) -> Subscription<Args> {
        self.listen_pattern(pattern).subscribe_with(options)
    }

    /// The first event from now on whose key matches `pattern`.
    ///
    /// The wait is registered by this call, not by its first poll, so an event that comes in
    /// between is not missed. Dropping the [`WaitFor`] ends the wait; polled again after it was
    /// ready, it waits for the next event. It yields [`Stopped`](crate::Stopped) where the event
    /// can no longer come.
    ///
    /// ```no_run
    /// # async fn example(bus: &eventcast::Bus) {
    /// let answer = bus.wait_for_pattern("order.*");
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn wait_for_pattern(&self, pattern: impl IntoPattern) -> WaitFor<Args> {
        self.listen_pattern(pattern).wait()
    }

    /// The first event from now on whose key matches `pattern` and for which `condition` is true.
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
    /// let answer = bus.wait_for_pattern_where("order.*", |e| e.key() != "order.placed");
    /// if let Ok(e) = answer.await {
    ///     println!("from {}", e.origin());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no [`Pattern`](crate::Pattern).
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that as an error.
    #[track_caller]
    pub fn wait_for_pattern_where(
        &self,
        pattern: impl IntoPattern,
        condition: impl Fn(&Received<Args>) -> bool + Send + Sync + 'static,
    ) -> WaitFor<Args> {
        let text = pattern.as_ref().to_owned();
        let listen = self
            .try_listen_pattern(pattern)
            .map_err(|invalid| refused_pattern(&text, invalid));
        let (listen, condition) = or_panic(listen, condition);
        listen.wait_where(condition)
    }

    /// Calls `listener` for every event, whatever its key, with its arguments; [`Received::key`]
    /// says which event it is.
    ///
    /// It runs on the thread that read the datagram or that called `emit`, and should return soon:
    /// one that takes longer than `listener_budget` (1 ms) is moved for good to a queue and a
    /// thread of its own. A panic in it is caught and reported as a [`Notice`](crate::Notice).
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_every(|e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    #[track_caller]
    pub fn on_every(
        &self,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.listen_pattern(Pattern::every()).call(listener)
    }
}
