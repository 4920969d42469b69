//! Notices: what the bus itself has to say. They are never network events, and no network event is ever a notice.
//!
//! What hears them is a matter of [`telemetry`](crate::bus::telemetry), and how often of [`limit`](super::rate_limit).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `cause` | why traffic and clients were refused |
//! | `display` | what they say |
//! | `protocol` | those that come from the protocol |

mod cause;
mod display;
mod protocol;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    panic::Location,
    sync::Arc,
    time::Duration,
};

use tracing::Level;

pub use self::cause::{ConsoleRefusedCause, RefusedCause};
use super::{listener_id::ListenerId, origin::Origin};
use crate::bus::process::failure::Failure;
use crate::{
    codec::DecodeError,
    net::{InterfaceEvent, InterfaceLeftReason, SendError},
    proto::{DropCause, ExpiredReason, LeftReason, LostReason, MessageId, Peer},
};

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
        /// Why.
        cause: RefusedCause,
        /// Where they came from. `None`: from many addresses.
        from: Option<SocketAddr>,
        /// How many since the last notice of this kind, this one included.
        count: u64,
        /// What is probably wrong, and what to do about it, where there is something to say.
        advice: Option<String>,
    },
    /// Nothing has been heard of any other bus in the first 10 s after the start. It is told once a start.
    #[non_exhaustive]
    NobodyHeard {
        /// The group and its port.
        group: SocketAddr,
        /// The interfaces on which the bus is, each as `name (address)`.
        interfaces: Vec<String>,
        /// How many datagrams came and were refused.
        refused: u64,
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
        /// How many datagrams have shown it since the last notice of this kind about these addresses.
        count: u64,
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
        reason: ExpiredReason,
        /// Whether anything unicast has ever come from the sender. Where nothing has, its chunks were asked for in vain: a
        /// firewall probably lets none through.
        unicast_heard: bool,
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
        /// Which numbers, in ascending order, from and to: all of them, unless they are more than 1,024 ranges, or more than
        /// 65,536 of all peers within ten seconds, or of several peers.
        ranges: Vec<(u64, u64)>,
        /// Of how many peers at the same address they were: nearly always 1. If it is more, `peer` is one of them, `first`,
        /// `last` and `ranges` are about that one, and `count` is about all.
        peers: u32,
        /// Why they were given up.
        reason: LostReason,
        /// Whether anything unicast has ever come from the peer. Where nothing has, events were asked for in vain: a firewall
        /// probably lets none through.
        unicast_heard: bool,
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
        /// Why.
        cause: ConsoleRefusedCause,
        /// Where the client is, if it is about one.
        from: Option<SocketAddr>,
        /// What happened.
        text: String,
        /// How many such refusals, of this cause and IP address, this notice stands for; this one is the last of them.
        count: u64,
    },
}

impl From<Failure> for Notice {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            during: failure.during,
            message: failure.message,
        }
    }
}

impl Notice {
    /// What the sockets have to tell of the interfaces.
    pub(crate) fn of_interfaces(news: InterfaceEvent) -> Self {
        match news {
            InterfaceEvent::Joined { name, address } => Self::InterfaceJoined {
                name,
                address,
                count: 1,
            },
            InterfaceEvent::Left {
                name,
                address,
                reason,
            } => Self::InterfaceLeft {
                name,
                address,
                reason,
                count: 1,
            },
            InterfaceEvent::Trouble(text) => Self::Warning { text },
        }
    }

    /// How many this notice stands for, where such notices are summed up by the bus.
    pub(crate) fn count_mut(&mut self) -> Option<&mut u64> {
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

    /// How much it matters.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::Started { .. }
            | Self::Stopped
            | Self::InterfaceJoined { .. }
            | Self::PeerJoined { .. }
            | Self::PeerLeft { .. }
            | Self::ConsoleOpened { .. }
            | Self::ConsoleConnected { .. }
            | Self::ConsoleDisconnected { .. } => Level::INFO,
            Self::Failed { .. } | Self::ListenerPanicked { .. } | Self::SendFailed { .. } => {
                Level::ERROR
            }
            // On a network that doubles datagrams there is nothing that anybody could do about it.
            Self::Refused {
                cause,
                advice: None,
                ..
            } if *cause == RefusedCause::Dropped(DropCause::Duplicate) => Level::DEBUG,
            _ => Level::WARN,
        }
    }

    fn is_of_console(&self) -> bool {
        matches!(
            self,
            Self::ConsoleOpened { .. }
                | Self::ConsoleConnected { .. }
                | Self::ConsoleDisconnected { .. }
                | Self::ConsoleRefused { .. }
        )
    }

    pub(crate) fn log(&self) {
        // Target and level are constants of each place that logs.
        match (self.level(), self.is_of_console()) {
            (Level::ERROR, _) => tracing::error!(target: "eventcast", "{self}"),
            (Level::WARN, false) => tracing::warn!(target: "eventcast", "{self}"),
            (Level::WARN, true) => tracing::warn!(target: "eventcast::repl", "{self}"),
            (Level::INFO, false) => tracing::info!(target: "eventcast", "{self}"),
            (Level::INFO, true) => tracing::info!(target: "eventcast::repl", "{self}"),
            _ => tracing::debug!(target: "eventcast", "{self}"),
        }
    }
}
