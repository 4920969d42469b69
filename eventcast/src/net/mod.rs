//! The sockets: choosing an interface, joining the group, receiving and sending datagrams.
//!
//! Responsible for all system calls on sockets, and for errors that say what to set when the system
//! refuses one. Not responsible for what the datagrams hold (`proto`), nor for threads: this module
//! has none of its own and keeps no queue.
//!
//! A bus has two kinds of sockets. A *group socket*, one for each interface, is bound to the
//! group's address and port and shared with every other bus of this machine; it only receives. The
//! *unicast socket* has a port of its own, which no other socket shares; everything is sent from
//! it, so that an answer reaches exactly the process that asked (on a shared port the system picks
//! one of the sharers).
//!
//! | step | file |
//! | --- | --- |
//! | which interfaces there are, and which can do multicast | `interface.rs`, with `inet6.rs` for addresses that are not ready |
//! | which of them a bus is on, and by which address | `joined_interface.rs`, with `route.rs` for where the routes lead |
//! | opening, joining, buffers | `open.rs`, with `options.rs` for what is asked for, `outgoing.rs` for the interface to send by, and `self_filter.rs` for the bus's own datagrams |
//! | staying on them while they come and go | `interface_monitor.rs`, with `watch.rs` to learn of it |
//! | what can go wrong there | `error.rs` |
//! | waiting and receiving | `receiver.rs`, with `round_robin.rs` for the next socket, `source.rs` for the system calls and `busy_poll.rs` for staying awake |
//! | sending | `transmitter.rs`, with `sink.rs` for the system calls |
//! | pauses after a refusal | `retry.rs`, with `errno.rs` to tell one from another |
//!
//! What rests on Linux: many datagrams a system call (`recvmmsg`, `UDP_SEGMENT`, `UDP_GRO`), the
//! count of datagrams that the kernel dropped, and the interface's MTU in errors. Elsewhere each
//! datagram takes a call, and the count stays 0. Datagrams are sent joined together on loopback and
//! on network cards only: a virtual link would pass them to its other end as one huge packet.

mod busy_poll;
mod errno;
mod error;
mod inet6;
mod interface;
mod interface_monitor;
mod joined_interface;
mod open;
mod options;
mod outgoing;
mod receiver;
mod retry;
mod round_robin;
mod route;
mod self_filter;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod transmitter;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub(crate) use mio::net::UdpSocket;

#[cfg(feature = "repl")]
pub(crate) use error::open_files_advice;
pub use error::{InterfaceError, OpenError, SendError};
pub(crate) use interface::InterfaceChoice;
pub(crate) use interface_monitor::InterfaceEvent;
pub use interface_monitor::InterfaceLeftReason;
pub(crate) use options::SocketOptions;
pub(crate) use receiver::{CameBy, Change, Receiver, Waker};
pub(crate) use retry::{Rests, RetryBudget};
pub(crate) use sink::Egress;
pub(crate) use transmitter::{Sent, Transmitter};

use error::OpenWarning;
use interface_monitor::InterfaceMonitor;

/// The open sockets of a bus.
pub(crate) struct Sockets {
    /// Reads all sockets.
    pub(crate) receiver: Receiver,
    /// Sends from the unicast socket.
    pub(crate) transmitter: Transmitter,
    /// By where datagrams to the group leave: the interface's id, and the address there. One at
    /// least.
    pub(crate) hosts: Vec<(u32, IpAddr)>,
    /// Where to send what is for the group.
    pub(crate) group: SocketAddr,
    /// The address by which this bus alone is reached, by the first interface.
    pub(crate) unicast: SocketAddr,
    /// What the user should know.
    pub(crate) warnings: Vec<OpenWarning>,
}

/// Opens the sockets. Sends nothing.
///
/// What it returns can receive and be received, as far as the system can tell without sending
/// anything. A failure is an [`OpenError`]; what the user should know about a success is in
/// [`Sockets::warnings`].
pub(crate) fn open(options: &SocketOptions) -> Result<Sockets, OpenError> {
    let group = SocketAddr::new(options.group, options.port);
    let (monitor, opened) = InterfaceMonitor::open(options.clone())?;
    let egress = monitor.egress();
    let unicast = monitor.unicast().ok_or_else(|| OpenError::Socket {
        what: "find an interface",
        source: Arc::new(std::io::ErrorKind::NotFound.into()),
    })?;
    let mut warnings = opened.warnings;
    let (receiver, socket) = Receiver::new(monitor, opened.groups, opened.unicast, &mut warnings)
        .map_err(OpenError::socket("watch the sockets"))?;
    Ok(Sockets {
        receiver,
        hosts: egress
            .iter()
            .map(|egress| (egress.id, egress.host))
            .collect(),
        transmitter: Transmitter::new(sink::UdpSink::new(socket), egress),
        group,
        unicast,
        warnings,
    })
}
