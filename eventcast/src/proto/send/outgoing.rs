//! What the application hands over to be sent, and what it gets back.

use std::net::SocketAddr;

use crate::proto::MessageId;

/// An event that is to be sent to the group.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The event's key, 1 to 1,024 bytes.
    pub key: &'a str,
    /// The finished payload document.
    pub payload: &'a [u8],
    /// The fingerprint of its schema, if it has one.
    pub schema: Option<i64>,
    /// The message gets no number: receivers neither wait for it nor request it again.
    pub best_effort: bool,
}

/// An event was taken, and will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// What names it on the wire.
    pub message_id: MessageId,
    /// Its number among those that are delivered in order; `None` for one that is not.
    pub number: Option<u64>,
}

/// An event was not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key is one that cannot travel.
    #[error("an event's key has 1 to {limit} bytes, this one has {len}")]
    KeyLength {
        /// Its length in bytes.
        len: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// The key belongs to the protocol.
    #[error("keys that begin with `__ec_` are the protocol's own: choose another")]
    ReservedKey,
    /// The message is too large for its receivers.
    #[error(
        "the message takes {size} bytes, more than the {limit} that are allowed: raise max_message_size on all buses, or send less at a time"
    )]
    TooLarge {
        /// Its size in bytes as receivers reckon it: number of slices times their length if it is
        /// cut.
        size: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// The message has to be cut, and its key and the sender's host name leave no room for data in
    /// a datagram.
    #[error(
        "a key of {key_len} bytes leaves no room for data in datagrams of {max_payload_size} bytes: shorten it, or raise max_payload_size above 1,472"
    )]
    NoRoomForData {
        /// The key's length in bytes.
        key_len: usize,
        /// The option's value.
        max_payload_size: usize,
    },
    /// Too much waits to be sent.
    #[error("{queued} bytes wait to be sent, and {limit} may: send later, or raise send_queue")]
    QueueFull {
        /// How many bytes wait.
        queued: usize,
        /// How many may.
        limit: usize,
    },
}

/// Where a datagram is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the group.
    Group,
    /// To one peer.
    Peer(SocketAddr),
}

/// One or more datagrams that are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// Where they go.
    pub to: Destination,
    /// The interface, if there are several: its number in [`Host`](crate::proto::Host). `None`: the
    /// only one, or the one that the system's route chooses.
    pub interface: Option<u32>,
    /// The length of each datagram but the last, which may be shorter, if there are several.
    pub segment_size: Option<usize>,
}
