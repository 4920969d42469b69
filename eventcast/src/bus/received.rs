//! What a listener is handed: the event, and where it came from.

use std::{
    fmt,
    net::SocketAddr,
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Bus, owner::Owner};
use crate::{proto::Peer, text::printable};

/// An event as a listener gets it.
///
/// It derefs to the event, so fields are read as if it were the event itself. [`origin`](Self::origin) tells who
/// sent it, and [`bus`](Self::bus) gives the bus that heard it, to answer with.
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
/// Where the event is `Clone`, so is this. Where the event is `Serialize`, so is this, as a struct of `key`, `origin`
/// and `event`: a line of JSON for a log or a file, for example. [`Args`](crate::Args) say how values are written that
/// JSON has no form for.
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
    /// A [`Bus`] that is captured by its own listener would keep itself alive; this one does not. Where the last
    /// handle has been dropped in the meantime, the bus that this returns is a stopped one.
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

/// The sender of an event, the address that it came from, and when it was sent. Cheap to clone.
///
/// Two origins are equal where all their fields are. Two events of one sender have different ones, since their times
/// or numbers differ: compare [`peer`](Self::peer) to learn whether the sender is the same.
///
/// It is `Serialize`, as a struct of `id`, `incarnation`, `hostname`, `host`, `address`, `time` (a text, as in RFC
/// 3339), `number`, `local` and `sealed`.
///
/// ```no_run
/// # fn example(bus: &eventcast::Bus) {
/// bus.on_every(|e| {
///     let origin = e.origin();
///     if !origin.is_local() {
///         println!("event {:?} of {} on {}", origin.number(), origin.id(), origin.hostname());
///     }
/// });
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    peer: Arc<Peer>,
    time: Option<u64>,
    number: Option<u64>,
    local: bool,
    sealed: bool,
}

impl Origin {
    pub(crate) fn remote(message: &crate::proto::Message<'_>) -> Self {
        Self {
            peer: Arc::clone(message.peer),
            time: message.time,
            number: message.number,
            local: false,
            sealed: message.sealed,
        }
    }

    pub(crate) fn local(me: Arc<Peer>, unix_ms: u64, number: Option<u64>) -> Self {
        Self {
            peer: me,
            time: Some(unix_ms),
            number,
            local: true,
            sealed: false,
        }
    }

    /// The sender, as it describes itself. [`Bus::peers`] and the notices about peers have the same.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The sender's id: 16 hex digits unless it was configured. Anybody on an unsealed group can write any id, of any
    /// characters: print it by the origin's `Display` or by [`printable`](crate::printable), which keep a terminal
    /// from obeying it.
    pub fn id(&self) -> &str {
        &self.peer.id
    }

    /// Which start of the sender sent the event: the sender's clock at that start, in milliseconds since 1970. `None`
    /// where the sender is of another make, or this bus has never been started.
    pub fn incarnation(&self) -> Option<u64> {
        self.peer.incarnation
    }

    /// The host name that the sender gives. As for the [`id`](Self::id), it may have any characters.
    pub fn hostname(&self) -> &str {
        &self.peer.hostname
    }

    /// The IP address that the sender gives as its own. [`address`](Self::address) is the one that the datagram came
    /// from.
    pub fn host(&self) -> &str {
        &self.peer.host
    }

    /// The address from which the event came. For a local event it is the bus's own unicast address.
    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// When the event was sent, by the sender's clock, to the millisecond. `None` where the datagram has no readable
    /// time.
    pub fn time(&self) -> Option<SystemTime> {
        // A wire time is at most the year 9999, which a SystemTime holds.
        self.time
            .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
    }

    /// The number of the event among those that this incarnation of the sender has sent, from 1. `None` for
    /// best-effort events and those of a sender of another make.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// Whether this very bus emitted the event.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Whether the event came sealed: its sender has the passphrase then.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("id", &self.id())
            .field("incarnation", &self.incarnation())
            .field("hostname", &self.hostname())
            .field("address", &self.address())
            .field("number", &self.number())
            .field("local", &self.local)
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A wire time is at most the year 9999, which the text holds.
        let time = self.time.and_then(|ms| {
            let time = bson::DateTime::from_millis(i64::try_from(ms).ok()?);
            time.try_to_rfc3339_string().ok()
        });
        let mut fields = serializer.serialize_struct("Origin", 9)?;
        fields.serialize_field("id", self.id())?;
        fields.serialize_field("incarnation", &self.incarnation())?;
        fields.serialize_field("hostname", self.hostname())?;
        fields.serialize_field("host", self.host())?;
        fields.serialize_field("address", &self.address())?;
        fields.serialize_field("time", &time)?;
        fields.serialize_field("number", &self.number)?;
        fields.serialize_field("local", &self.local)?;
        fields.serialize_field("sealed", &self.sealed)?;
        fields.end()
    }
}

/// Its id, address and host name, for messages: `7c1f… at 192.0.2.7:40000 (robot-3)`. One line, whatever they are.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, hostname) = (printable(self.id()), printable(self.hostname()));
        write!(f, "{id} at {} ({hostname})", self.address())
    }
}
