//! Listening to many events at once.

use super::{
    super::{
        Bus,
        async_listener::AsyncListener,
        listener::ListenerId,
        pattern::{InvalidPattern, Pattern},
        received::Received,
        subscription::{SubscribeOptions, Subscription},
        wait_for::WaitFor,
    },
    agreed, if_agreed,
    listen::refused_pattern,
};
use crate::codec::Args;

/// What is a pattern, or a text that may be one: a [`Pattern`], a `&str`, a `String`, or a reference to one of these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no pattern",
    note = "a pattern is a `Pattern`, or a text like `\"order.*\"`"
)]
pub trait IntoPattern: AsRef<str> {
    /// The pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    fn into_pattern(self) -> Result<Pattern, InvalidPattern>;
}

impl IntoPattern for Pattern {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        Ok(self)
    }
}

impl IntoPattern for &Pattern {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        Ok(self.clone())
    }
}

impl IntoPattern for &str {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}

impl IntoPattern for String {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}

impl IntoPattern for &String {
    fn into_pattern(self) -> Result<Pattern, InvalidPattern> {
        self.parse()
    }
}

/// Listening to many events at once.
impl Bus {
    /// Calls `listener` for every event whose key matches the [`Pattern`](crate::Pattern), or the text that is one, typed
    /// events included, with its arguments; [`Received::key`] says which event it is. Among the other listeners of an event it
    /// has its place in the order of registration. It is called as [`on`](Self::on) says.
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
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
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
        let (listen, listener) = agreed(listen, listener);
        listen.call(listener)
    }

    /// Calls `listener` for one event whose key matches the pattern. It is used up by a call, not by an event that does not decode.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_pattern("order.*", |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
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
        let (listen, listener) = agreed(listen, listener);
        listen.once().call(listener)
    }

    /// Calls `listener` for every event whose key matches the pattern, or returns what stands in the way; the listener is dropped then.
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
    /// [`InvalidPattern`] says what is wrong with the text. A [`Pattern`](crate::Pattern) is always right.
    #[track_caller]
    pub fn try_on_pattern(
        &self,
        pattern: impl IntoPattern,
        listener: impl Fn(&Received<Args>) + Send + Sync + 'static,
    ) -> Result<ListenerId, InvalidPattern> {
        let (listen, listener) = if_agreed(self.try_listen_pattern(pattern), listener)?;
        Ok(listen.call(listener))
    }

    /// Calls an async `listener` for every event whose key matches the pattern, one call after the other, as [`on_async`](Self::on_async) does.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_async_pattern("order.*", async |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
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
        let (listen, listener) = agreed(listen, listener);
        listen.call_async(listener)
    }

    /// Calls an async `listener` for one event whose key matches the pattern. It is used up by a call, not by an event that does not decode.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.once_async_pattern("order.*", async |e| println!("{}: {e:?}", e.key()));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
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
        let (listen, listener) = agreed(listen, listener);
        listen.once().call_async(listener)
    }

    /// The events whose key matches the pattern as a stream. [`Subscription`] says how much waits in it, and when it ends.
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
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
    #[track_caller]
    pub fn subscribe_pattern(&self, pattern: impl IntoPattern) -> Subscription<Args> {
        self.listen_pattern(pattern).subscribe()
    }

    /// The events whose key matches the pattern as a stream, with a say in how much waits and what gives way.
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
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
    #[track_caller]
    pub fn subscribe_pattern_with(
        &self,
        pattern: impl IntoPattern,
        options: SubscribeOptions,
    ) -> Subscription<Args> {
        self.listen_pattern(pattern).subscribe_with(options)
    }

    /// The first event whose key matches the pattern from now on: it is registered now, not when it is first polled. [`WaitFor`] says what dropping it
    /// does, and how it is awaited without a runtime.
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
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
    #[track_caller]
    pub fn wait_for_pattern(&self, pattern: impl IntoPattern) -> WaitFor<Args> {
        self.listen_pattern(pattern).wait()
    }

    /// The first event whose key matches the pattern from now on for which `condition` holds. The condition is asked as [`wait_for_where`](Self::wait_for_where) says.
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
    /// Where the text is no pattern.
    /// [`try_listen_pattern`](Self::try_listen_pattern) returns that instead.
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
        let (listen, condition) = agreed(listen, condition);
        listen.wait_where(condition)
    }

    /// Calls `listener` for every event, with its arguments; [`Received::key`] says which event it is. It is called as
    /// [`on`](Self::on) says.
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
