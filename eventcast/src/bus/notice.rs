//! Notices: what the bus itself has to say. They are never network events, and no network event is ever a notice.
//!
//! Who hears them is a matter of [`notices`](super::notices), and how often of [`limit`](super::limit).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    panic::Location,
    sync::Arc,
    time::Duration,
};

use super::{listener::ListenerId, received::Origin};
use crate::{
    codec::DecodeError,
    net::{InterfaceLeftReason, News, SendError},
    proto::{
        DropCause, Event, ExpiredReason, LeftReason, LostReason, MessageId, Peer, Refused,
        WIRE_VERSION,
    },
    text::OneLine,
};

/// What is said where something that was asked for did not come, and its sender has never been heard by unicast.
macro_rules! no_unicast {
    () => {
        "; nothing unicast has ever come from this peer: a firewall probably lets none through, so set `unicast_port` \
         on both buses, and open these UDP ports between them"
    };
}

/// What the bus tells about itself, by [`Bus::on_notice`](crate::Bus::on_notice) and
/// [`Bus::notices`](crate::Bus::notices). Its `Display` is one line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The bus runs.
    #[non_exhaustive]
    Started {
        /// The group and its port.
        group: SocketAddr,
        /// The address that others send to when they mean this bus alone.
        unicast: SocketAddr,
    },
    /// The bus has been stopped, and its sockets are closed.
    Stopped,
    /// A panic inside the bus, not in a listener, has stopped it: [`start`](crate::Bus::start) may be tried again, and
    /// until then `emit` says that the bus is not running. [`Stopped`](Self::Stopped) follows when its sockets are
    /// closed. It is a fault of this crate, or of the program's subscriber of `tracing`: please report it with what the
    /// panic hook has printed.
    #[non_exhaustive]
    Failed {
        /// What the bus was doing.
        during: &'static str,
        /// What the panic said, up to 1,024 bytes.
        message: String,
    },
    /// Something had to be decided, when the bus started or its interfaces changed, that whoever runs it should know.
    #[non_exhaustive]
    Warning {
        /// What happened, and what to do about it.
        text: String,
    },
    /// The bus has joined its group on an interface that came, came back, or has another address now.
    #[non_exhaustive]
    InterfaceJoined {
        /// The interface's name.
        name: String,
        /// The address of the bus there.
        address: IpAddr,
        /// How many comings and goings of the interface this notice stands for; this one is the last of them.
        count: u64,
    },
    /// The bus is not on this interface any more. Where that can still be what `multicast_interface` means, it joins
    /// again when the interface comes back.
    #[non_exhaustive]
    InterfaceLeft {
        /// The interface's name.
        name: String,
        /// The address that the bus had there.
        address: IpAddr,
        /// How many comings and goings of the interface this notice stands for; this one is the last of them.
        count: u64,
        /// Why: it has gone or is down, its address has gone, or another interface is used now.
        reason: InterfaceLeftReason,
    },
    /// Somebody on the group speaks another version of the protocol. Told at most once in ten seconds for each
    /// address.
    #[non_exhaustive]
    VersionMismatch {
        /// Where it came from.
        from: SocketAddr,
        /// The version that was spoken.
        theirs: u64,
        /// The version of this bus.
        ours: u64,
        /// How many such datagrams came since the last notice of this kind from there, this one included.
        count: u64,
    },
    /// An event could not be turned into the type of a listener: its sender has another idea of that type.
    #[non_exhaustive]
    DecodeFailure {
        /// The event key, also where the listener is one of a pattern.
        key: String,
        /// Whose listener it was.
        listener: ListenerId,
        /// Where that listener was registered.
        registered_at: &'static Location<'static>,
        /// Who sent it.
        sender: Origin,
        /// Which field it was, what was expected, and what came.
        error: DecodeError,
        /// How many such failures this notice stands for; this one is the last of them. They are of this field,
        /// listener, event and sender, unless an address sends so many different ones that they are summed up.
        count: u64,
    },
    /// Datagrams were dropped unread. Told at most once in ten seconds for each cause and address.
    #[non_exhaustive]
    Refused {
        /// Why, in the words of the protocol: a key of [`Stats::dropped`](crate::Stats::dropped), or `unopened` for
        /// every seal that was not found good.
        cause: &'static str,
        /// Where they came from. `None`: from many addresses.
        from: Option<SocketAddr>,
        /// How many since the last notice of this kind, this one included.
        count: u64,
        /// What is probably wrong, and what to do about it, where there is something to say.
        advice: Option<String>,
    },
    /// Two buses have the same configured id: another one has that of this bus, or two others share one. Their events
    /// are delivered all the same.
    #[non_exhaustive]
    IdClash {
        /// The id.
        id: String,
        /// Where a bus is that has it.
        from: SocketAddr,
        /// Where the other one is. `None`: it is this bus.
        other: Option<SocketAddr>,
    },
    /// A message in several chunks was given up: the rest did not come in time, or there was no room for it.
    #[non_exhaustive]
    Expired {
        /// The event key.
        key: String,
        /// Which message.
        message_id: MessageId,
        /// Where its chunks came from.
        from: SocketAddr,
        /// Its number among the sender's events, which is lost thereby. `None`: it had none, it may still come, or it is
        /// told by [`Lost`](Self::Lost).
        number: Option<u64>,
        /// How many of its chunks were there.
        received: u32,
        /// How many it has.
        chunks: u32,
        /// Why it was given up.
        reason: &'static str,
        /// How many other messages from the same IP address were given up for this reason since the last notice. The
        /// first one is told at once, and what follows within ten seconds in one notice; what of it had numbers is told by
        /// [`Lost`](Self::Lost).
        others: u64,
    },
    /// Events of a peer were lost on the way, and will not come any more. Events that came after them have been waiting.
    ///
    /// The first loss is told at once, before the events that follow it. What is lost of the same peer for the same reason
    /// within ten seconds after that is summed up, and told when they are over or the bus is stopped. The sum of all
    /// `count`s is what has been lost. Where more than 64 peers at one IP address lose something within ten seconds, one
    /// notice is about several of them.
    #[non_exhaustive]
    Lost {
        /// Whose events they were.
        peer: Arc<Peer>,
        /// The number of the first, among the events that this incarnation of the peer has sent.
        first: u64,
        /// The number of the last.
        last: u64,
        /// How many they are; fewer than from the first to the last if others came that are between them.
        count: u64,
        /// Which numbers, in ascending order, from and to: all of them, unless they are more than 1,024 ranges, or of several
        /// peers.
        ranges: Vec<(u64, u64)>,
        /// Of how many peers at the same address they were: nearly always 1. If it is more, `peer` is one of them, `first`,
        /// `last` and `ranges` are about that one, and `count` is about all.
        peers: u32,
        /// Why they were given up.
        reason: &'static str,
    },
    /// The kernel has dropped datagrams, because they came faster than this bus read them and its receive buffer was
    /// full. What is missing of the events in them is asked for again. Linux alone tells of it.
    #[non_exhaustive]
    KernelDrops {
        /// How many since the last notice of this kind.
        count: u64,
    },
    /// A peer is there: it was heard for the first time, or again.
    ///
    /// Told at once, unless peers of one id or one IP address have come and gone very often within ten seconds: then how
    /// it stands is told when these are over, as far as it has changed. The same holds for [`PeerLeft`](Self::PeerLeft).
    #[non_exhaustive]
    PeerJoined {
        /// Who it is.
        peer: Arc<Peer>,
    },
    /// A peer is gone.
    #[non_exhaustive]
    PeerLeft {
        /// Who it was.
        peer: Arc<Peer>,
        /// How that is known: it said goodbye, or has been silent for `peer_timeout`, also since it was started
        /// again.
        reason: LeftReason,
    },
    /// A call of a listener lasted longer than `listener_budget` on the thread that reads the network. From now on
    /// the listener has a queue of its own.
    #[non_exhaustive]
    ListenerSlow {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// Which listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// The budget that was passed.
        budget: Duration,
        /// How many listeners this notice stands for: more than one where the same place in the program registers ever
        /// new ones.
        count: u64,
    },
    /// The queue of a slow or async listener was full.
    #[non_exhaustive]
    ListenerMissed {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// Which listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// How many events it has missed by now, since it was registered.
        missed: u64,
        /// How many of them since the last notice of this kind. All counts of a listener add up to `missed`.
        count: u64,
    },
    /// A listener panicked. That cost the one call.
    #[non_exhaustive]
    ListenerPanicked {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// Which listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// What the panic said, up to 1,024 bytes.
        message: String,
        /// How many panics of this listener this notice stands for; this one is the last of them.
        count: u64,
    },
    /// An async listener has no tokio runtime to run in: there was none where the bus was started, or it has been shut
    /// down since. A call that was under way there is cut off; what waits in the listener's queue is worked off in the
    /// runtime in which [`Bus::start`](crate::Bus::start) is called next.
    #[non_exhaustive]
    NoRuntime {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// Which listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// How many times since the last notice of this kind, this one included.
        count: u64,
    },
    /// Datagrams could not be sent. Where the interface cannot be used this comes at once, while they are tried again
    /// for up to a second; otherwise when they were given up. What was emitted can still be asked for by peers once the
    /// interface is back, so it need not be emitted again.
    #[non_exhaustive]
    SendFailed {
        /// Where they were to go.
        to: SocketAddr,
        /// The interface by which they were to leave, as `name (address)`. `None`: they were for one peer, and the
        /// route decides.
        interface: Option<String>,
        /// What the system said, and what to do about it.
        error: SendError,
        /// How many bytes were given up, with all that this notice stands for. 0: none yet.
        bytes: usize,
        /// How many such failures this notice stands for; this one is the last of them.
        count: u64,
    },
    /// The console of this bus listens.
    #[non_exhaustive]
    ConsoleOpened {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody has connected to the console of this bus, and has said the token where there is one.
    #[non_exhaustive]
    ConsoleConnected {
        /// From where.
        from: SocketAddr,
        /// How many such clients from its IP address this notice stands for; this one is the last of them.
        count: u64,
    },
    /// A client of the console has gone.
    #[non_exhaustive]
    ConsoleDisconnected {
        /// Where it was.
        from: SocketAddr,
        /// How many such clients from its IP address this notice stands for; this one is the last of them.
        count: u64,
    },
    /// The console of this bus did not serve a client: it did not know the token, spoke another protocol, or could not
    /// be taken.
    #[non_exhaustive]
    ConsoleRefused {
        /// `token`, `protocol`, `crowd` (there are too many clients) or `system` (the system refused something).
        cause: &'static str,
        /// Where the client is, if it is about one.
        from: Option<SocketAddr>,
        /// What happened.
        text: String,
        /// How many such refusals, of this cause and IP address, this notice stands for; this one is the last of them.
        count: u64,
    },
}

/// One line, whatever the texts in it are that came from others.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut OneLine(f))
    }
}

impl Notice {
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Started { group, unicast } => {
                write!(f, "started on group {group}, reachable at {unicast}")
            }
            Self::Stopped => f.write_str("stopped"),
            Self::Failed { during, message } => write!(
                f,
                "the bus has stopped after a panic while {during}: {message}; `start` may be tried again, and the panic \
                 is a bug to be reported"
            ),
            Self::Warning { text } => f.write_str(text),
            Self::InterfaceJoined {
                name,
                address,
                count,
            } => {
                write!(f, "joined the group on interface {name} ({address})")?;
                after_changes(f, *count)
            }
            Self::InterfaceLeft {
                name,
                address,
                reason,
                count,
            } => {
                let reason = reason.describe();
                write!(f, "left interface {name} ({address}): it {reason}")?;
                after_changes(f, *count)
            }
            Self::VersionMismatch {
                from,
                theirs,
                ours,
                count,
            } => write!(
                f,
                "{from} speaks protocol version {theirs}, this bus version {ours}: {count} datagrams dropped; update the older of the two"
            ),
            Self::DecodeFailure {
                key,
                registered_at,
                sender,
                error,
                count,
                ..
            } => {
                write!(
                    f,
                    "event `{key}` from {sender} does not fit the listener at {registered_at}: {error}"
                )?;
                and_more(f, *count)
            }
            Self::Refused {
                cause,
                from,
                count,
                advice,
            } => {
                write!(f, "{count} datagrams {} from ", what_became_of(cause))?;
                match from {
                    Some(from) => write!(f, "{from}: {cause}")?,
                    None => write!(f, "many addresses: {cause}")?,
                }
                match advice {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            Self::IdClash {
                id,
                from,
                other: None,
            } => write!(
                f,
                "the bus at {from} has the same id `{id}`: give each bus its own, or none"
            ),
            Self::IdClash {
                id,
                from,
                other: Some(other),
            } => write!(
                f,
                "the buses at {from} and {other} have the same id `{id}`: give each bus its own, or none"
            ),
            Self::Expired {
                key,
                message_id,
                from,
                received,
                chunks,
                reason,
                others,
                ..
            } => {
                write!(
                    f,
                    "message {message_id} (`{key}`) from {from} was given up with {received} of {chunks} chunks: {reason}"
                )?;
                match others {
                    0 => Ok(()),
                    others => write!(f, "; so were {others} others from there"),
                }
            }
            Self::Lost {
                peer,
                first,
                last,
                count,
                ranges: _,
                peers,
                reason,
            } => {
                match count {
                    1 => write!(f, "event {first} of {peer} is lost"),
                    _ if *peers > 1 => write!(
                        f,
                        "{count} events of {peers} peers at the address of {peer} are lost"
                    ),
                    _ if last - first < *count => {
                        write!(f, "{count} events of {peer} are lost, {first} to {last}")
                    }
                    _ => write!(
                        f,
                        "{count} events of {peer} are lost, in several places from {first} to {last}"
                    ),
                }?;
                write!(f, ": {reason}")
            }
            Self::KernelDrops { count } => write!(
                f,
                "the kernel dropped {count} datagrams, because the receive buffer was full: make listeners quicker, \
                 or raise `receive_buffer`"
            ),
            Self::PeerJoined { peer } => write!(f, "{peer} is there"),
            Self::PeerLeft { peer, reason } => {
                write!(f, "{peer} is gone: {}", reason.describe())
            }
            Self::ListenerSlow {
                key,
                registered_at,
                budget,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} took longer than {budget:?} and now has a queue of \
                     its own"
                )?;
                and_more(f, *count)
            }
            Self::ListenerMissed {
                key,
                registered_at,
                missed,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} is too slow: its queue was full, {count} events missed"
                )?;
                if missed > count {
                    write!(f, " ({missed} in all)")?;
                }
                f.write_str("; make it quicker, or raise `listener_queue`")
            }
            Self::ListenerPanicked {
                key,
                registered_at,
                message,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} panicked: {message}"
                )?;
                and_more(f, *count)
            }
            Self::NoRuntime {
                key,
                registered_at,
                count,
                ..
            } => {
                write!(
                    f,
                    "the async listener of `{key}` at {registered_at} has no tokio runtime to run in: its events \
                     wait until `start` is called within one"
                )?;
                and_more(f, *count)
            }
            Self::SendFailed {
                error,
                bytes,
                count,
                ..
            } => {
                match bytes {
                    0 => write!(f, "{error}; trying again")?,
                    _ => write!(f, "{bytes} bytes were not sent: {error}")?,
                }
                and_more(f, *count)
            }
            Self::ConsoleOpened { address } => write!(f, "the console listens at {address}"),
            Self::ConsoleConnected { from, count } => {
                write!(f, "{from} has connected to the console")?;
                and_more(f, *count)
            }
            Self::ConsoleDisconnected { from, count } => {
                write!(f, "{from} has left the console")?;
                and_more(f, *count)
            }
            Self::ConsoleRefused { text, count, .. } => {
                f.write_str(text)?;
                and_more(f, *count)
            }
        }
    }
}

/// One cause is that of datagrams that were delivered.
fn what_became_of(cause: &str) -> &'static str {
    if cause == DropCause::Unfollowed.name() {
        "not followed"
    } else {
        "dropped"
    }
}

/// For a notice that stands for `count`, itself among them.
fn and_more(f: &mut impl fmt::Write, count: u64) -> fmt::Result {
    match count {
        0 | 1 => Ok(()),
        _ => write!(f, " (and {} more like it)", count - 1),
    }
}

fn after_changes(f: &mut impl fmt::Write, count: u64) -> fmt::Result {
    match count {
        0 | 1 => Ok(()),
        _ => write!(f, ", after {} other changes of it", count - 1),
    }
}

impl Notice {
    /// What the sockets have to tell of the interfaces.
    pub(crate) fn of_interfaces(news: News) -> Self {
        match news {
            News::Joined { name, address } => Self::InterfaceJoined {
                name,
                address,
                count: 1,
            },
            News::Left {
                name,
                address,
                reason,
            } => Self::InterfaceLeft {
                name,
                address,
                reason,
                count: 1,
            },
            News::Trouble(text) => Self::Warning { text },
        }
    }

    /// How many this notice stands for, where such notices are summed up by the bus.
    pub(super) fn count_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::InterfaceJoined { count, .. }
            | Self::InterfaceLeft { count, .. }
            | Self::DecodeFailure { count, .. }
            | Self::KernelDrops { count }
            | Self::ListenerSlow { count, .. }
            | Self::ListenerMissed { count, .. }
            | Self::ListenerPanicked { count, .. }
            | Self::NoRuntime { count, .. }
            | Self::SendFailed { count, .. }
            | Self::ConsoleConnected { count, .. }
            | Self::ConsoleDisconnected { count, .. }
            | Self::ConsoleRefused { count, .. } => Some(count),
            _ => None,
        }
    }

    /// What the protocol has to tell beside messages.
    pub(crate) fn of_protocol(
        event: &Event<'_>,
        has_heard_unicast: impl Fn(SocketAddr) -> bool,
    ) -> Option<Self> {
        Some(match *event {
            Event::Message(_) => return None,
            Event::Refused(refused) => Self::Refused {
                // Of what is not opened nobody outside shall learn why.
                cause: if refused.unopened {
                    UNOPENED
                } else {
                    refused.cause.name()
                },
                from: refused.from,
                count: refused.count,
                advice: advice(&refused),
            },
            Event::VersionMismatch {
                from,
                theirs,
                count,
            } => Self::VersionMismatch {
                from,
                theirs,
                ours: WIRE_VERSION,
                count,
            },
            Event::IdClash { peer, other } => Self::IdClash {
                other: other.map(|other| other.address),
                id: peer.id.clone(),
                from: peer.address,
            },
            Event::Expired(expired) => Self::Expired {
                key: expired.name.to_owned(),
                message_id: expired.message_id,
                from: expired.peer.address,
                number: expired.number,
                received: expired.received,
                chunks: expired.total,
                reason: match expired.reason {
                    ExpiredReason::Silent if !has_heard_unicast(expired.peer.address) => concat!(
                        "the rest was asked for, and nothing more of it came for `message_ttl`",
                        no_unicast!()
                    ),
                    ExpiredReason::Silent => "nothing more of it came for `message_ttl`",
                    ExpiredReason::Overdue => "it was not complete after 20 times `message_ttl`",
                    ExpiredReason::Crowded => "there was no room for it (`max_held_bytes`)",
                },
                others: expired.untold,
            },
            Event::Lost(lost) => Self::Lost {
                peer: Arc::clone(lost.peer),
                first: lost.first,
                last: lost.last,
                count: lost.count,
                ranges: lost.ranges.to_vec(),
                peers: lost.peers,
                reason: match lost.reason {
                    LostReason::Unanswered if !has_heard_unicast(lost.peer.address) => concat!(
                        "they were asked for, and did not come in time",
                        no_unicast!()
                    ),
                    reason => reason.describe(),
                },
            },
            Event::PeerJoined { peer } => Self::PeerJoined {
                peer: Arc::clone(peer),
            },
            Event::PeerLeft { peer, reason } => Self::PeerLeft {
                peer: Arc::clone(peer),
                reason,
            },
        })
    }

    pub(super) fn log(&self) {
        match self {
            Self::Started { .. }
            | Self::Stopped
            | Self::InterfaceJoined { .. }
            | Self::PeerJoined { .. }
            | Self::PeerLeft { .. } => {
                tracing::info!(target: "eventcast", "{self}");
            }
            Self::ConsoleOpened { .. }
            | Self::ConsoleConnected { .. }
            | Self::ConsoleDisconnected { .. } => {
                tracing::info!(target: "eventcast::repl", "{self}");
            }
            Self::ConsoleRefused { .. } => {
                tracing::warn!(target: "eventcast::repl", "{self}");
            }
            Self::Failed { .. } | Self::ListenerPanicked { .. } | Self::SendFailed { .. } => {
                tracing::error!(target: "eventcast", "{self}");
            }
            // On a network that doubles datagrams there is nothing that anybody could do about it.
            Self::Refused {
                cause,
                advice: None,
                ..
            } if *cause == DropCause::Duplicate.name() => {
                tracing::debug!(target: "eventcast", "{self}");
            }
            _ => tracing::warn!(target: "eventcast", "{self}"),
        }
    }
}

/// What stands for every reason not to open a datagram.
const UNOPENED: &str = "unopened";

/// What is probably wrong where a datagram was refused.
fn advice(refused: &Refused) -> Option<String> {
    let text = match refused.cause {
        _ if refused.unopened => {
            "its seal does not open: the sender probably has another passphrase (a blank or a line break at its end \
             counts, too), salt, group or port; or somebody without it tries something"
        }
        DropCause::Clear => {
            "it is not sealed: the sender probably has no passphrase, and this bus has one"
        }
        DropCause::Sealed => {
            "it is sealed: the sender has a passphrase, and this bus has none, or the classic cipher"
        }
        DropCause::Classic => {
            "it is encrypted with the classic cipher, which this bus does not speak: the sender is an old peer with a \
             passphrase"
        }
        DropCause::Undecryptable => {
            "it does not decrypt with the classic cipher: the sender probably has another passphrase (a blank or a line \
             break at its end counts, too)"
        }
        DropCause::Time => {
            let ahead = refused.clock_ahead_ms?;
            let seconds = ahead.unsigned_abs().div_ceil(1000);
            let which = if ahead < 0 { "behind" } else { "ahead of" };
            return Some(format!(
                "the sender's clock is {seconds} s {which} this one: set the clocks, or raise `clock_tolerance`; \
                 or it is a recording"
            ));
        }
        DropCause::Duplicate => {
            let seconds = refused.age_ms? / 1000;
            return Some(format!(
                "it was received before, and it was sent {seconds} s ago: somebody shows recordings, or the sender's clock is \
                 behind this one and the network doubles datagrams"
            ));
        }
        DropCause::Old => match (refused.age_ms, refused.refused_for_ms) {
            (Some(age), Some(left)) => {
                let (age, left) = (age.div_ceil(1000), left.div_ceil(1000));
                return Some(format!(
                    "by its time it was sent {age} s ago, before this bus was started, which a sealed bus takes for a \
                     recording in its first minute: if the sender's clock is behind this one, set the clocks, or it is \
                     heard in {left} s"
                ));
            }
            _ => {
                "it was sent long before what came last: a recording, or a network that holds datagrams back"
            }
        },
        DropCause::Recipient => {
            "it is for another bus: one that was at this address before, or somebody passes on what others are sent"
        }
        DropCause::Sender => {
            "it names another sender than its seal: a member of the group poses as another"
        }
        DropCause::Malformed => {
            "it breaks the protocol's format: another program probably uses this group and port, so choose another \
             `port`; or somebody tries something"
        }
        DropCause::OverLimit => {
            "it claims to be larger than this bus takes: raise `max_message_size` if it is meant to be"
        }
        DropCause::Inconsistent => {
            "it contradicts what came before it: two senders probably use one id, or somebody tries something"
        }
        DropCause::Reserved => {
            "its name begins with `__ec_` and means nothing here: the sender probably is of a newer version"
        }
        DropCause::Crowded => {
            "there was no room for it: raise `max_held_bytes`, or have its senders send less at once"
        }
        DropCause::Unfollowed => {
            "order and repair are off for its sender: too many senders have come, or too many at a time from this \
             address; its events are delivered as they come, and what is lost of them is not noticed"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde::de::Error as _;

    use super::*;
    use crate::text::{HOSTILE, assert_is_printable};

    #[test]
    fn no_text_from_elsewhere_leaves_its_line() {
        for &text in HOSTILE {
            let owned = || text.to_owned();
            let address = SocketAddr::from(([192, 0, 2, 7], 9_000));
            let peer = Arc::new(Peer {
                id: owned(),
                incarnation: Some(1),
                hostname: owned(),
                host: owned(),
                port: 1,
                address,
            });
            let origin = Origin::local(Arc::clone(&peer), 0, None);
            let (key, listener, registered_at) = (owned(), ListenerId(1), Location::caller());
            let notices = [
                Notice::Warning { text: owned() },
                Notice::InterfaceJoined {
                    name: owned(),
                    address: address.ip(),
                    count: 2,
                },
                Notice::InterfaceLeft {
                    name: owned(),
                    address: address.ip(),
                    count: 2,
                    reason: InterfaceLeftReason::Down,
                },
                Notice::Failed {
                    during: "reading",
                    message: owned(),
                },
                Notice::DecodeFailure {
                    key: key.clone(),
                    listener,
                    registered_at,
                    sender: origin.clone(),
                    error: DecodeError::custom(text),
                    count: 2,
                },
                Notice::IdClash {
                    id: owned(),
                    from: address,
                    other: None,
                },
                Notice::Lost {
                    peer: Arc::clone(&peer),
                    first: 1,
                    last: 2,
                    count: 2,
                    ranges: vec![(1, 2)],
                    peers: 1,
                    reason: "they were asked for",
                },
                Notice::PeerJoined {
                    peer: Arc::clone(&peer),
                },
                Notice::PeerLeft {
                    peer: Arc::clone(&peer),
                    reason: LeftReason::Silent,
                },
                Notice::ListenerSlow {
                    key: key.clone(),
                    listener,
                    registered_at,
                    budget: Duration::from_millis(1),
                    count: 2,
                },
                Notice::ListenerMissed {
                    key: key.clone(),
                    listener,
                    registered_at,
                    missed: 3,
                    count: 2,
                },
                Notice::ListenerPanicked {
                    key,
                    listener,
                    registered_at,
                    message: owned(),
                    count: 2,
                },
                Notice::ConsoleRefused {
                    cause: "token",
                    from: Some(address),
                    text: owned(),
                    count: 2,
                },
            ];
            for notice in notices {
                assert_is_printable(&notice.to_string());
                assert_is_printable(&format!("{notice:?}"));
            }
            for shown in [
                peer.to_string(),
                origin.to_string(),
                format!("{peer:?}"),
                format!("{origin:?}"),
            ] {
                assert_is_printable(&shown);
            }
        }
    }

    #[test]
    fn what_is_said_of_refused_datagrams() {
        let from = SocketAddr::from(([127, 0, 0, 1], 9_000));
        let told = |cause, unopened, clock_ahead_ms| {
            let refused = Refused {
                cause,
                from: Some(from),
                count: 2,
                unopened,
                clock_ahead_ms,
                age_ms: matches!(cause, DropCause::Duplicate | DropCause::Old).then_some(5_999),
                refused_for_ms: (cause == DropCause::Old).then_some(41_001),
            };
            let notice = Notice::of_protocol(&Event::Refused(refused), |_| true);
            notice.expect("it is told").to_string()
        };
        for (cause, ahead, said) in [
            (DropCause::Clear, None, "probably has no passphrase"),
            (DropCause::Sealed, None, "this bus has none"),
            (DropCause::Classic, None, "an old peer with a passphrase"),
            (
                DropCause::Undecryptable,
                None,
                "probably has another passphrase",
            ),
            (DropCause::Time, Some(-30_001), "31 s behind this one"),
            (DropCause::Time, Some(90_000), "90 s ahead of this one"),
            (DropCause::Duplicate, None, "sent 5 s ago"),
            (
                DropCause::Old,
                None,
                "it was sent 6 s ago, before this bus was started",
            ),
            (
                DropCause::Old,
                None,
                "set the clocks, or it is heard in 42 s",
            ),
            (DropCause::Malformed, None, "another program probably uses"),
            (DropCause::OverLimit, None, "`max_message_size`"),
            (DropCause::Crowded, None, "`max_held_bytes`"),
            (DropCause::Reserved, None, "of a newer version"),
            (
                DropCause::Inconsistent,
                None,
                "two senders probably use one id",
            ),
            (DropCause::Recipient, None, "for another bus"),
            (DropCause::Sender, None, "poses as another"),
            (DropCause::Unfollowed, None, "order and repair are off"),
        ] {
            let text = told(cause, false, ahead);
            // What is not followed is delivered all the same.
            let fate = match cause {
                DropCause::Unfollowed => "not followed",
                _ => "dropped",
            };
            let start = format!("2 datagrams {fate} from {from}: {} (", cause.name());
            assert!(text.starts_with(&start) && text.contains(said), "{text}");
        }
        // Of what was not opened, the same whatever the cause is.
        let texts = [
            DropCause::Malformed,
            DropCause::Suite,
            DropCause::Key,
            DropCause::Mac,
        ];
        let texts = texts.map(|cause| told(cause, true, None));
        assert!(texts[0].contains("probably has another passphrase"));
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    }
}
