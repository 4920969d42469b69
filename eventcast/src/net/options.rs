//! What is to be opened.

use std::net::IpAddr;

use super::interface::{Family, InterfaceChoice};

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    /// The address of this machine at which unicast messages are taken. `None`: that of the
    /// interface if one is chosen, else any.
    pub(crate) address: Option<IpAddr>,
    /// The port of the group; not 0.
    pub(crate) port: u16,
    /// The multicast group.
    pub(crate) group: IpAddr,
    /// Where to join it, and by where to send.
    pub(crate) interface: InterfaceChoice,
    /// Whether other buses of this machine receive what this one sends. On the loopback interface
    /// they always do: that interface itself returns everything.
    pub(crate) loopback: bool,
    /// How many routers a datagram to the group may pass, and one; at most 255.
    pub(crate) ttl: u32,
    /// The port of the unicast socket. 0: the system chooses.
    pub(crate) unicast_port: u16,
    /// Bytes that may wait to be read, on each socket. `None`: the system's default.
    pub(crate) receive_buffer: Option<usize>,
    /// Bytes that may wait to leave. `None`: the system's default.
    pub(crate) send_buffer: Option<usize>,
}

impl SocketOptions {
    /// The group's family, which all sockets have.
    pub(super) fn family(&self) -> Family {
        Family::of(self.group)
    }
}
