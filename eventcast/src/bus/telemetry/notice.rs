//! Notices: reports of the bus about itself. They are never network events, and no network event is
//! ever a notice.
//!
//! Their delivery is the task of [`telemetry`](crate::bus::telemetry), their rate that of
//! [`rate_limit`](super::rate_limit).
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
use crate::{
    bus::process::failure::Failure,
    codec::DecodeError,
    net::{InterfaceEvent, InterfaceLeftReason, SendError},
    proto::{DropCause, ExpiredReason, LeftReason, LostReason, MessageId, Peer},
};

/// A report of the bus about itself, given by [`Bus::on_notice`](crate::Bus::on_notice) and
/// [`Bus::notices`](crate::Bus::notices). Its `Display` is one line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The bus runs.
    #[non_exhaustive]
    Started {
        /// The group and its port.
        group: SocketAddr,
        /// The address to which peers send what is for this bus alone.
        unicast: SocketAddr,
    },
    /// The bus was stopped, and its sockets are closed.
    Stopped,
    /// A panic inside the bus, not in a listener, has stopped it: call [`start`](crate::Bus::start)
    /// to try again, and until then `emit` returns that the bus is not running.
    /// [`Stopped`](Self::Stopped) follows when its sockets are closed. It is a fault of this crate,
    /// or of the program's subscriber of `tracing`: please report it with the output of the panic
    /// hook.
    #[non_exhaustive]
    Failed {
        /// What the bus was doing.
        during: &'static str,
        /// The message of the panic, up to 1,024 bytes.
        message: String,
    },
    /// The bus had to make a choice, at its start or when its interfaces changed, that its operator
    /// should know of.
    #[non_exhaustive]
    Warning {
        /// What happened, and what to do about it.
        text: String,
    },
    /// The bus has joined its group on an interface that came, came back, or has another address
    /// now.
    #[non_exhaustive]
    InterfaceJoined {
        /// The interface's name.
        name: String,
        /// The address of the bus there.
        address: IpAddr,
        /// How many comings and goings of the interface this notice stands for; this one is the
        /// last of them.
        count: u64,
    },
    /// The bus left this interface. Where `multicast_interface` can still mean it, the bus joins
    /// again when the interface comes back.
    #[non_exhaustive]
    InterfaceLeft {
        /// The interface's name.
        name: String,
        /// The address that the bus used there.
        address: IpAddr,
        /// How many comings and goings of the interface this notice stands for; this one is the
        /// last of them.
        count: u64,
        /// Why: it was removed or is down, its address was removed, or another interface is used
        /// now.
        reason: InterfaceLeftReason,
    },
    /// A sender on the group uses another version of the protocol. Reported at most once in ten
    /// seconds for each address.
    #[non_exhaustive]
    VersionMismatch {
        /// The sender's address.
        from: SocketAddr,
        /// The version that it uses.
        theirs: u64,
        /// The version of this bus.
        ours: u64,
        /// How many such datagrams came since the last notice of this kind from there, this one
        /// included.
        count: u64,
    },
    /// An event could not be decoded into the type of a listener: its sender declares that type
    /// differently.
    #[non_exhaustive]
    DecodeFailure {
        /// The event key, also where the listener is one of a pattern.
        key: String,
        /// The listener.
        listener: ListenerId,
        /// Where that listener was registered.
        registered_at: &'static Location<'static>,
        /// The sender.
        sender: Origin,
        /// Which field it was, what was expected, and what came.
        error: DecodeError,
        /// How many such failures this notice stands for; this one is the last of them. They are of
        /// this field, listener, event and sender, unless an address sends so many different ones
        /// that they are summed up.
        count: u64,
    },
    /// Datagrams were dropped unread. Reported at most once in ten seconds for each cause and
    /// address.
    #[non_exhaustive]
    Refused {
        /// Why.
        cause: RefusedCause,
        /// Their source address. `None`: many addresses.
        from: Option<SocketAddr>,
        /// How many since the last notice of this kind, this one included.
        count: u64,
        /// What is probably wrong, and what to do about it, where there is something to say.
        advice: Option<String>,
    },
    /// No other bus was heard in the first 10 s after the start. Reported once a start.
    #[non_exhaustive]
    NobodyHeard {
        /// The group and its port.
        group: SocketAddr,
        /// The interfaces on which the bus is, each as `name (address)`.
        interfaces: Vec<String>,
        /// How many datagrams came and were refused.
        refused: u64,
    },
    /// Two buses have the same configured id: another one has that of this bus, or two others share
    /// one. Their events are delivered nevertheless.
    #[non_exhaustive]
    IdClash {
        /// The id.
        id: String,
        /// The address of a bus that has it.
        from: SocketAddr,
        /// The address of the other one. `None`: it is this bus.
        other: Option<SocketAddr>,
        /// How many datagrams have shown it since the last notice of this kind about these
        /// addresses.
        count: u64,
    },
    /// A message in several chunks was dropped: the rest did not come in time, or there was no room
    /// for it.
    #[non_exhaustive]
    Expired {
        /// The event key.
        key: String,
        /// The message.
        message_id: MessageId,
        /// The source address of its chunks.
        from: SocketAddr,
        /// Its number among the sender's events, which is lost thereby. `None`: it has none, it may
        /// still come, or [`Lost`](Self::Lost) reports it.
        number: Option<u64>,
        /// How many of its chunks had arrived.
        received: u32,
        /// How many it has.
        chunks: u32,
        /// Why it was dropped.
        reason: ExpiredReason,
        /// Whether anything unicast has ever come from the sender. If not, the requests for its
        /// chunks had no chance: a firewall probably lets no unicast datagrams through.
        unicast_heard: bool,
        /// How many other messages from the same IP address were dropped for this reason since the
        /// last notice. The first one is reported at once, those within ten seconds after it in one
        /// notice; [`Lost`](Self::Lost) reports those with numbers.
        others: u64,
    },
    /// Events of a peer were lost on the way, and will not come any more. Later events have waited
    /// for them.
    ///
    /// The first loss is reported at once, before the events that follow it. Losses of the same
    /// peer for the same reason within ten seconds after that are summed up, and reported when
    /// these are over or the bus is stopped. The sum of all `count`s is the number of lost events.
    /// Where more than 64 peers at one IP address lose something within ten seconds, one notice is
    /// about several of them.
    #[non_exhaustive]
    Lost {
        /// The peer that sent them.
        peer: Arc<Peer>,
        /// The number of the first, among the events that this incarnation of the peer has sent.
        first: u64,
        /// The number of the last.
        last: u64,
        /// How many they are; fewer than from the first to the last if others between them arrived.
        count: u64,
        /// Which numbers, in ascending order, from and to: all of them, unless they are more than
        /// 1,024 ranges, or more than 65,536 of all peers within ten seconds, or of several peers.
        ranges: Vec<(u64, u64)>,
        /// Of how many peers at the same address they were: nearly always 1. If it is more, `peer`
        /// is one of them, `first`, `last` and `ranges` are about that one, and `count` is about
        /// all.
        peers: u32,
        /// Why they are lost.
        reason: LostReason,
        /// Whether anything unicast has ever come from the peer. If not, the requests for its
        /// events had no chance: a firewall probably lets no unicast datagrams through.
        unicast_heard: bool,
    },
    /// The kernel dropped datagrams, because they came faster than this bus read them and its
    /// receive buffer was full. Events that are missing for that are requested again. Only Linux
    /// reports it.
    #[non_exhaustive]
    KernelDrops {
        /// How many since the last notice of this kind.
        count: u64,
    },
    /// A peer has joined: it was heard for the first time, or again.
    ///
    /// Reported at once, unless peers of one id or one IP address have joined and left very often
    /// within ten seconds: then their state is reported when these are over, if it has changed. The
    /// same holds for [`PeerLeft`](Self::PeerLeft).
    #[non_exhaustive]
    PeerJoined {
        /// The peer.
        peer: Arc<Peer>,
    },
    /// A peer has left.
    #[non_exhaustive]
    PeerLeft {
        /// The peer.
        peer: Arc<Peer>,
        /// Why it counts as gone: it said goodbye, or was silent for `peer_timeout`, also since it
        /// was started again.
        reason: LeftReason,
    },
    /// A call of a listener lasted longer than `listener_budget` on the thread that reads the
    /// network. From now on the listener has a queue of its own.
    #[non_exhaustive]
    ListenerSlow {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// The listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// The budget that the call exceeded.
        budget: Duration,
        /// How many listeners this notice stands for: more than one where the same place in the
        /// program registers ever new ones.
        count: u64,
    },
    /// The queue of a slow or async listener was full.
    #[non_exhaustive]
    ListenerMissed {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// The listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// How many events it has missed since it was registered.
        missed: u64,
        /// How many of them since the last notice of this kind. All counts of a listener add up to
        /// `missed`.
        count: u64,
    },
    /// A listener panicked. The panic cost one call.
    #[non_exhaustive]
    ListenerPanicked {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// The listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// The message of the panic, up to 1,024 bytes.
        message: String,
        /// How many panics of this listener this notice stands for; this one is the last of them.
        count: u64,
    },
    /// An async listener has no tokio runtime to run in: there was none where the bus was started,
    /// or it was shut down since. A call that was under way there is cut off; the events in the
    /// listener's queue are handled in the runtime in which [`Bus::start`](crate::Bus::start) is
    /// called next.
    #[non_exhaustive]
    NoRuntime {
        /// The event key that it listens to, or the pattern.
        key: String,
        /// The listener.
        listener: ListenerId,
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// How many times since the last notice of this kind, this one included.
        count: u64,
    },
    /// Datagrams could not be sent. Where the interface cannot be used this comes at once, while
    /// they are tried again for up to a second; otherwise when they were dropped. Peers can still
    /// request the events once the interface is back, so they need not be emitted again.
    #[non_exhaustive]
    SendFailed {
        /// Their destination.
        to: SocketAddr,
        /// The interface by which they were to leave, as `name (address)`. `None`: they were for
        /// one peer, and the route decides.
        interface: Option<String>,
        /// The system's error, and what to do about it.
        error: SendError,
        /// How many bytes were dropped, for all failures that this notice stands for. 0: none yet.
        bytes: usize,
        /// How many such failures this notice stands for; this one is the last of them.
        count: u64,
    },
    /// The console of this bus is open.
    #[non_exhaustive]
    ConsoleOpened {
        /// Its address.
        address: SocketAddr,
    },
    /// A client has connected to the console of this bus, and has sent the token where there is
    /// one.
    #[non_exhaustive]
    ConsoleConnected {
        /// The client's address.
        from: SocketAddr,
        /// How many such clients from its IP address this notice stands for; this one is the last
        /// of them.
        count: u64,
    },
    /// A client of the console has disconnected.
    #[non_exhaustive]
    ConsoleDisconnected {
        /// The client's address.
        from: SocketAddr,
        /// How many such clients from its IP address this notice stands for; this one is the last
        /// of them.
        count: u64,
    },
    /// The console of this bus refused a client: it did not have the token, used another protocol,
    /// or could not be served.
    #[non_exhaustive]
    ConsoleRefused {
        /// Why.
        cause: ConsoleRefusedCause,
        /// The client's address, if it is about one client.
        from: Option<SocketAddr>,
        /// What happened.
        text: String,
        /// How many such refusals, of this cause and IP address, this notice stands for; this one
        /// is the last of them.
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
    /// The notice for a change of interfaces.
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

    /// How many such notices this one stands for, where the bus sums them up.
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

    /// Its level in the log.
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
            // Some networks duplicate datagrams, and the user cannot change that.
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
        // `tracing` needs constants for target and level, so each pair has its own call.
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
