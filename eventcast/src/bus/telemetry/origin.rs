//! The origin of an event.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    proto::{Message, Peer},
    text::printable,
};

/// The sender of an event, the address that it came from, and when it was sent. Cheap to clone.
///
/// Two origins are equal where all their fields are. Two events of one sender have different ones,
/// since their times or numbers differ: compare [`peer`](Self::peer) to learn whether the sender is
/// the same.
///
/// It is `Serialize`, as a struct of `id`, `incarnation`, `hostname`, `host`, `address`, `time` (a
/// text, as in RFC 3339), `number`, `local` and `sealed`.
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
    pub(crate) fn remote(message: &Message<'_>) -> Self {
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

    /// The sender, as it describes itself. [`Bus::peers`](crate::Bus::peers) and the notices about
    /// peers have the same.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The sender's id: 16 hex digits unless it was configured. Anybody on an unsealed group can
    /// write any id, of any characters: print it by the origin's `Display` or by
    /// [`printable`](crate::printable), which keep a terminal from obeying it.
    pub fn id(&self) -> &str {
        &self.peer.id
    }

    /// Which start of the sender sent the event: the sender's clock at that start, in milliseconds
    /// since 1970. `None` where the sender is of another make, or this bus has never been started.
    pub fn incarnation(&self) -> Option<u64> {
        self.peer.incarnation
    }

    /// The host name that the sender gives. As for the [`id`](Self::id), it may have any
    /// characters.
    pub fn hostname(&self) -> &str {
        &self.peer.hostname
    }

    /// The IP address that the sender gives as its own. [`address`](Self::address) is the one that
    /// the datagram came from.
    pub fn host(&self) -> &str {
        &self.peer.host
    }

    /// The address from which the event came. For a local event it is the bus's own unicast
    /// address.
    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// When the event was sent, by the sender's clock, to the millisecond. `None` where the
    /// datagram has no readable time.
    pub fn time(&self) -> Option<SystemTime> {
        // A time on the wire is in the year 9999 at the latest, which a `SystemTime` can hold.
        self.time
            .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
    }

    /// The number of the event among those that this incarnation of the sender has sent, from 1.
    /// `None` for best-effort events and those of a sender of another make.
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
        // A time on the wire is in the year 9999 at the latest, which RFC 3339 can write.
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

/// Its id, address and host name, for messages: `7c1f… at 192.0.2.7:40000 (robot-3)`. One line,
/// whatever they are.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, hostname) = (printable(self.id()), printable(self.hostname()));
        write!(f, "{id} at {} ({hostname})", self.address())
    }
}
