//! The event as a listener receives it, with its origin.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::owner::Owner;
use crate::bus::{Bus, telemetry::origin::Origin};

/// An event as a listener gets it.
///
/// It derefs to the event, so fields are read as if it were the event itself.
/// [`origin`](Self::origin) is its sender, and [`bus`](Self::bus) the bus that received it, with
/// which a listener answers.
///
/// ```
/// # use eventcast::{NetEvent, Received};
/// # use serde::{Deserialize, Serialize};
/// #[derive(NetEvent, Serialize, Deserialize)]
/// struct Ping { round: u32 }
/// #[derive(NetEvent, Serialize, Deserialize)]
/// struct Pong { round: u32 }
///
/// fn answer(ping: &Received<Ping>) {
///     println!("{} asks, round {}", ping.origin(), ping.round);
///     if let Err(error) = ping.bus().emit(Pong { round: ping.round }) {
///         eprintln!("{error}");
///     }
/// }
/// ```
///
/// Where the event is `Clone`, so is this. Where the event is `Serialize`, so is this, as a struct
/// of `key`, `origin` and `event`: a line of JSON for a log or a file, for example.
/// [`Args`](crate::Args) say how values are written that JSON has no form for.
///
/// ```no_run
/// # fn log(bus: &eventcast::Bus) {
/// bus.on_every(|e| match serde_json::to_string(e) {
///     Ok(line) => println!("{line}"), // {"key":"moved","origin":{"id":"7c1f…",…},"event":[1.5,-2.0]}
///     Err(error) => eprintln!("{error}"),
/// });
/// # }
/// ```
#[derive(Clone)]
pub struct Received<E> {
    event: E,
    key: Arc<str>,
    origin: Origin,
    owner: Arc<dyn Owner>,
}

/// What [`Received::into_parts`] takes apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedParts<E> {
    /// The event.
    pub event: E,
    /// Its key.
    pub key: Arc<str>,
    /// Who sent it, from where, and when.
    pub origin: Origin,
}

impl<E> Received<E> {
    pub(crate) fn new(event: E, key: Arc<str>, origin: Origin, owner: Arc<dyn Owner>) -> Self {
        Self {
            event,
            key,
            origin,
            owner,
        }
    }

    /// The event's key, by which a listener by pattern or to every event tells its events apart.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_every(|e| println!("{}", e.key()));
    /// # }
    /// ```
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The event. A `Received` also derefs to it.
    ///
    /// ```
    /// # use eventcast::{Args, Received};
    /// fn show(received: &Received<Args>) {
    ///     println!("{:?}", received.event());
    /// }
    /// ```
    pub fn event(&self) -> &E {
        &self.event
    }

    /// The event's sender, its address, and when it was sent.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_named("greeting", |args| println!("from {}", args.origin()));
    /// # }
    /// ```
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The bus that received the event: a listener answers with it.
    ///
    /// A [`Bus`] that is captured by its own listener would keep itself alive; this one does not.
    /// Where the last handle has been dropped in the meantime, the bus that this returns is a
    /// stopped one.
    ///
    /// ```no_run
    /// # fn example(bus: &eventcast::Bus) {
    /// bus.on_named("ping", |args| {
    ///     if let Err(error) = args.bus().emit_named("pong", ()) {
    ///         eprintln!("{error}");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn bus(&self) -> Bus {
        Arc::clone(&self.owner).bus()
    }

    /// The event, without its key and origin.
    ///
    /// ```
    /// # use eventcast::{Args, Received};
    /// fn store(received: Received<Args>) -> Args {
    ///     received.into_inner()
    /// }
    /// ```
    pub fn into_inner(self) -> E {
        self.event
    }

    /// The event, its key and its origin, each to be moved where it is needed.
    ///
    /// ```
    /// # use eventcast::{Args, Received, ReceivedParts};
    /// fn store(received: Received<Args>) -> (String, Args) {
    ///     let ReceivedParts { event, key, origin, .. } = received.into_parts();
    ///     (format!("{key} from {origin}"), event)
    /// }
    /// ```
    pub fn into_parts(self) -> ReceivedParts<E> {
        ReceivedParts {
            event: self.event,
            key: self.key,
            origin: self.origin,
        }
    }

    /// Replaces the event by what `convert` makes of it; key, origin and bus stay.
    ///
    /// ```
    /// # use eventcast::{Args, DecodeError, Received};
    /// fn typed(received: Received<Args>) -> Received<Result<(f64, f64), DecodeError>> {
    ///     received.map(|args| args.decode())
    /// }
    /// ```
    pub fn map<T>(self, convert: impl FnOnce(E) -> T) -> Received<T> {
        Received {
            event: convert(self.event),
            key: self.key,
            origin: self.origin,
            owner: self.owner,
        }
    }
}

impl<E> Deref for Received<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

impl<E: fmt::Debug> fmt::Debug for Received<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.event.fmt(f)
    }
}

impl<E: Serialize> Serialize for Received<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Received", 3)?;
        fields.serialize_field("key", &*self.key)?;
        fields.serialize_field("origin", &self.origin)?;
        fields.serialize_field("event", &self.event)?;
        fields.end()
    }
}
