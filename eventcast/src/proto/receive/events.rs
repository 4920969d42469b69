//! The events of an engine, in batches.
//!
//! A batch keeps small messages in one buffer that is reused; a large message keeps the buffer in
//! which it was reassembled.

use std::{fmt, net::SocketAddr, ops::Range, sync::Arc};

use crate::{
    codec::RawArgs,
    proto::{DropCause, MessageId, Peer, ranges::RangeSet},
};

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A message for the application.
    Message(Message<'a>),
    /// Traffic was refused.
    Refused(Refused),
    /// A sender uses another version of the protocol.
    VersionMismatch {
        /// Where it came from.
        from: SocketAddr,
        /// The other's version.
        theirs: u64,
        /// How many such datagrams there were since the last report.
        count: u64,
    },
    /// Two buses use one id.
    IdClash {
        /// One of them.
        peer: &'a Arc<Peer>,
        /// The other one; `None`: it is this bus.
        other: Option<&'a Arc<Peer>>,
        /// How many datagrams have shown it since the last report.
        count: u64,
    },
    /// A chunked message was dropped.
    Expired(Expired<'a>),
    /// Messages of a peer are lost. Reported at once where nothing was reported of the same sender
    /// and reason for ten seconds, and of no more than a few senders at its IP address; otherwise
    /// summed up, and reported when the ten seconds are over, or by
    /// [`Engine::leave`](crate::proto::Engine::leave). Every lost number is reported once.
    Lost(Lost<'a>),
    /// A peer has joined: it was heard for the first time, or again.
    ///
    /// Reported at once, unless peers of the same id, or of the same IP address, have joined and
    /// left too often within ten seconds: then when these are over, if it is still true. The same
    /// holds for peers that left.
    PeerJoined {
        /// The peer.
        peer: &'a Arc<Peer>,
    },
    /// A peer has left.
    PeerLeft {
        /// The peer.
        peer: &'a Arc<Peer>,
        /// How that is known.
        reason: LeftReason,
    },
}

/// Messages that were owed to this bus and will not come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lost<'a> {
    /// Their sender.
    pub peer: &'a Arc<Peer>,
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// How many there are: as many as from the first to the last where they follow each other.
    pub count: u64,
    /// Which numbers, in ascending order: from and to, both included. All of them, unless there are
    /// more than 1,024 ranges of numbers, or more than 65,536 of all senders within ten seconds, or
    /// [`peers`](Self::peers) is more than 1.
    pub ranges: &'a [(u64, u64)],
    /// How many senders: 1, unless more senders at one IP address lost something than are reported
    /// one by one. Then `peer` is one of them, `first`, `last` and `ranges` are about it, and
    /// `count` is about all.
    pub peers: u32,
    /// Why they are lost.
    pub reason: LostReason,
}

/// Why messages are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LostReason {
    /// Nothing of them came for `message_ttl`, in spite of repeated requests; while their sender
    /// answered other requests, for up to three times as long.
    Unanswered,
    /// Each came in chunks, and not all of these came in time. (Of few such messages each is
    /// reported as [`Notice::Expired`](crate::Notice::Expired); this is for those beyond.)
    Incomplete,
    /// Their sender no longer has them.
    Gone,
    /// Too much waited for them, or there was no room for their chunks, or for their sender among
    /// 4,096.
    Crowded,
    /// Too many are missing to request them.
    TooMany,
    /// They were sent before this bus had discovered their sender, and it learned that they are
    /// owed to it when later ones had been delivered.
    Overtaken,
    /// Their sender sent them, and this bus does not take them: they are malformed, of another kind
    /// than the bus is, or larger than `max_message_size`.
    /// [`Notice::Refused`](crate::Notice::Refused) names the cause.
    Refused,
}

impl LostReason {
    /// All of them.
    pub(in crate::proto) const ALL: [Self; 7] = [
        Self::Unanswered,
        Self::Incomplete,
        Self::Gone,
        Self::Crowded,
        Self::TooMany,
        Self::Overtaken,
        Self::Refused,
    ];

    /// In words, for a log.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Unanswered => "requested, but not received in time",
            Self::Incomplete => "not all chunks were received in time",
            Self::Gone => {
                "the sender no longer has them (a larger `history_bytes` there keeps them longer)"
            }
            Self::Crowded => {
                "too many later events waited for them, or there was no room for their chunks or for their sender"
            }
            Self::TooMany => "too many were missing to request them",
            Self::Overtaken => {
                "sent just before this bus discovered the sender, whose later events were delivered first"
            }
            Self::Refused => {
                "received, but refused: malformed, of another kind of bus, or larger than `max_message_size`"
            }
        }
    }
}

/// Why a peer counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftReason {
    /// It said goodbye.
    Goodbye,
    /// It has been silent for `peer_timeout`. Its last messages may be missing.
    Silent,
    /// It was silent for `peer_timeout`, and another incarnation of it has said hello since it was
    /// heard last.
    Restarted,
    /// Unknown: too many senders have come, most of them from its address, and its place was
    /// needed.
    Crowded,
}

impl fmt::Display for LeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

impl LeftReason {
    /// In words, for a log.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Goodbye => "it said goodbye",
            Self::Silent => "silent for `peer_timeout`; its last events may be missing",
            Self::Restarted => "it was started again",
            Self::Crowded => {
                "its place was needed: too many senders have come, most of them from its address"
            }
        }
    }
}

/// A message for the application.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The event's key.
    pub key: &'a str,
    /// Its arguments, checked.
    pub args: RawArgs<'a>,
    /// Its sender.
    pub peer: &'a Arc<Peer>,
    /// When it was sent, in milliseconds since 1970 by the sender's clock; `None` if it cannot be
    /// read.
    pub time: Option<u64>,
    /// Its number in the sender's stream, if it has one.
    pub number: Option<u64>,
    /// The fingerprint of the sender's schema, if it sent one.
    pub schema: Option<i64>,
    /// What names it.
    pub message_id: MessageId,
    /// Whether it came sealed.
    pub sealed: bool,
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("key", &self.key)
            .field("peer", &self.peer.id)
            .field("message_id", &self.message_id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Traffic that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Why.
    pub cause: DropCause,
    /// The source address. `None`: several addresses, beyond those that are reported one by one.
    pub from: Option<SocketAddr>,
    /// How many datagrams since the last report.
    pub count: u64,
    /// Its seal was not found good, so that nothing in it can be trusted. Of these, whatever their
    /// cause is, one in ten seconds is reported for an address, and `count` counts them together.
    pub unopened: bool,
    /// Of [`DropCause::Time`]: by how many milliseconds the sender's clock is ahead of this bus's,
    /// or behind if negative, unless the datagram has been recorded.
    pub clock_ahead_ms: Option<i64>,
    /// Of [`DropCause::Duplicate`] on a sealed bus, which reports only duplicates that are older
    /// than a network makes them: how many milliseconds ago the datagram was sent, by its time and
    /// this bus's clock. Of [`DropCause::Old`] the same, where it was sent before this bus was
    /// started.
    pub age_ms: Option<u64>,
    /// Of the latter: for how many milliseconds more this bus refuses such, since it was started so
    /// lately that it cannot know recordings.
    pub refused_for_ms: Option<u64>,
}

impl Refused {
    /// One datagram.
    pub(in crate::proto) fn new(cause: DropCause, from: SocketAddr) -> Self {
        Self {
            cause,
            from: Some(from),
            count: 1,
            unopened: false,
            clock_ahead_ms: None,
            age_ms: None,
            refused_for_ms: None,
        }
    }
}

/// A chunked message that was dropped.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Expired<'a> {
    /// The event's key.
    pub key: &'a str,
    /// Its sender.
    pub peer: &'a Arc<Peer>,
    /// What names it.
    pub message_id: MessageId,
    /// Its number in the sender's stream, which is lost thereby. `None`: it has none, it may still
    /// come, or [`Event::Lost`] reports it.
    pub number: Option<u64>,
    /// How many of its chunks had arrived.
    pub received: u32,
    /// How many it has.
    pub total: u32,
    /// Why it was dropped.
    pub reason: ExpiredReason,
    /// How many others were dropped for this reason, of the same IP address, and not reported one
    /// by one. One is reported in ten seconds, the first at once.
    pub unreported: u64,
}

/// Why a chunked message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpiredReason {
    /// No more of it came for `message_ttl` after the last request; where it had to wait until
    /// others of its sender were answered, for three times as long after its last chunk.
    Silent,
    /// It was not complete 20 × `message_ttl` after its first chunk.
    Overdue,
    /// Its room was needed for others.
    Crowded,
}

impl ExpiredReason {
    /// In words, for a log.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Silent => "no more of it came for `message_ttl`",
            Self::Overdue => "it was not complete after 20 times `message_ttl`",
            Self::Crowded => "there was no room for it (`max_held_bytes`)",
        }
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

impl fmt::Display for ExpiredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

/// A batch of what happened, in order.
#[derive(Default)]
pub struct Events {
    items: Vec<Item>,
    names: String,
    /// Arguments of small messages.
    arena: Vec<u8>,
    /// Whole messages that were put together from chunks.
    large: Vec<Vec<u8>>,
    /// Ranges of lost numbers.
    ranges: Vec<(u64, u64)>,
}

/// Above this a buffer of small things is given back when a batch is cleared, so that one burst is
/// not paid for for ever.
const ARENA_KEPT: usize = 1 << 20;

enum Item {
    Message(MessageItem),
    Expired(ExpiredItem),
    Refused(Refused),
    VersionMismatch {
        from: SocketAddr,
        theirs: u64,
        count: u64,
    },
    IdClash(Arc<Peer>, Option<Arc<Peer>>, u64),
    Lost(LostItem),
    PeerJoined(Arc<Peer>),
    PeerLeft(Arc<Peer>, LeftReason),
}

struct MessageItem {
    name: Range<usize>,
    value: Range<usize>,
    element_type: u8,
    /// Which of the large buffers holds the value, if not the arena.
    large: Option<usize>,
    facts: MessageFacts,
}

struct LostItem {
    peer: Arc<Peer>,
    first: u64,
    last: u64,
    count: u64,
    ranges: Range<usize>,
    peers: u32,
    reason: LostReason,
}

struct ExpiredItem {
    name: Range<usize>,
    facts: ExpiredFacts,
}

/// The facts about a message beside its key and arguments.
pub(in crate::proto) struct MessageFacts {
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) time: Option<u64>,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) schema: Option<i64>,
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) sealed: bool,
}

/// The facts about an expired message beside its key.
pub(in crate::proto) struct ExpiredFacts {
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) received: u32,
    pub(in crate::proto) total: u32,
    pub(in crate::proto) reason: ExpiredReason,
    pub(in crate::proto) unreported: u64,
}

/// Lost numbers that are reported together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Loss {
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) reason: LostReason,
    pub(in crate::proto) first: u64,
    pub(in crate::proto) last: u64,
    pub(in crate::proto) count: u64,
    pub(in crate::proto) ranges: RangeSet,
    /// From how many streams: `peer` is the sender of one, and `count` alone is about all of them.
    pub(in crate::proto) peers: u32,
}

/// A peer has joined, or has left for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Change {
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) left: Option<LeftReason>,
}

/// Messages that were dropped: the last one of them, with the number of the others.
pub(in crate::proto) struct ExpiredReport {
    pub(in crate::proto) name: Box<str>,
    pub(in crate::proto) facts: ExpiredFacts,
}

impl Events {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The `i`-th.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<Event<'_>> {
        Some(match self.items.get(i)? {
            Item::Message(item) => Event::Message(self.message(item)),
            Item::Expired(ExpiredItem { name, facts }) => Event::Expired(Expired {
                key: &self.names[name.clone()],
                peer: &facts.peer,
                message_id: facts.message_id,
                number: facts.number,
                received: facts.received,
                total: facts.total,
                reason: facts.reason,
                unreported: facts.unreported,
            }),
            Item::Refused(refused) => Event::Refused(*refused),
            &Item::VersionMismatch {
                from,
                theirs,
                count,
            } => Event::VersionMismatch {
                from,
                theirs,
                count,
            },
            Item::IdClash(peer, other, count) => Event::IdClash {
                peer,
                other: other.as_ref(),
                count: *count,
            },
            Item::Lost(lost) => Event::Lost(Lost {
                peer: &lost.peer,
                first: lost.first,
                last: lost.last,
                count: lost.count,
                ranges: &self.ranges[lost.ranges.clone()],
                peers: lost.peers,
                reason: lost.reason,
            }),
            Item::PeerJoined(peer) => Event::PeerJoined { peer },
            Item::PeerLeft(peer, reason) => Event::PeerLeft {
                peer,
                reason: *reason,
            },
        })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Empties the batch and keeps its buffers.
    pub fn clear(&mut self) {
        self.items.clear();
        self.large.clear();
        self.names.clear();
        self.names.shrink_to(ARENA_KEPT);
        self.arena.clear();
        self.arena.shrink_to(ARENA_KEPT);
        self.ranges.clear();
        self.ranges.shrink_to(ARENA_KEPT / size_of::<(u64, u64)>());
    }

    fn message<'a>(&'a self, item: &'a MessageItem) -> Message<'a> {
        let bytes = item.large.map_or(&self.arena, |large| &self.large[large]);
        let facts = &item.facts;
        Message {
            key: &self.names[item.name.clone()],
            args: RawArgs::from_parts(item.element_type, &bytes[item.value.clone()]),
            peer: &facts.peer,
            time: facts.time,
            number: facts.number,
            schema: facts.schema,
            message_id: facts.message_id,
            sealed: facts.sealed,
        }
    }

    /// Adds a message, copying name and arguments.
    #[inline]
    pub(in crate::proto) fn push_message(
        &mut self,
        name: &str,
        args: RawArgs<'_>,
        facts: MessageFacts,
    ) {
        let (element_type, value) = args.parts();
        let name = self.keep_name(name);
        let start = self.arena.len();
        self.arena.extend_from_slice(value);
        let value = start..self.arena.len();
        self.items.push(Item::Message(MessageItem {
            name,
            value,
            element_type,
            large: None,
            facts,
        }));
    }

    /// Adds a message that keeps its own buffer, in which its arguments stand at the given place.
    pub(in crate::proto) fn push_large(
        &mut self,
        name: &str,
        buffer: Vec<u8>,
        element_type: u8,
        value: Range<usize>,
        facts: MessageFacts,
    ) {
        let name = self.keep_name(name);
        let large = Some(self.large.len());
        self.large.push(buffer);
        self.items.push(Item::Message(MessageItem {
            name,
            value,
            element_type,
            large,
            facts,
        }));
    }

    pub(in crate::proto) fn push_expired(&mut self, report: ExpiredReport) {
        let ExpiredReport { name, facts } = report;
        let name = self.keep_name(&name);
        self.items.push(Item::Expired(ExpiredItem { name, facts }));
    }

    pub(in crate::proto) fn push_refused(&mut self, refused: Refused) {
        self.items.push(Item::Refused(refused));
    }

    pub(in crate::proto) fn push_version_mismatch(
        &mut self,
        from: SocketAddr,
        theirs: u64,
        count: u64,
    ) {
        self.items.push(Item::VersionMismatch {
            from,
            theirs,
            count,
        });
    }

    pub(in crate::proto) fn push_id_clash(
        &mut self,
        peer: Arc<Peer>,
        other: Option<Arc<Peer>>,
        count: u64,
    ) {
        self.items.push(Item::IdClash(peer, other, count));
    }

    pub(in crate::proto) fn push_lost(&mut self, loss: Loss) {
        let start = self.ranges.len();
        self.ranges.extend(loss.ranges.iter());
        self.items.push(Item::Lost(LostItem {
            peer: loss.peer,
            first: loss.first,
            last: loss.last,
            count: loss.count,
            ranges: start..self.ranges.len(),
            peers: loss.peers,
            reason: loss.reason,
        }));
    }

    pub(in crate::proto) fn push_change(&mut self, change: Change) {
        self.items.push(match change.left {
            None => Item::PeerJoined(change.peer),
            Some(reason) => Item::PeerLeft(change.peer, reason),
        });
    }

    fn keep_name(&mut self, name: &str) -> Range<usize> {
        let start = self.names.len();
        self.names.push_str(name);
        start..self.names.len()
    }
}
