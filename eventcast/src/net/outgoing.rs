//! By which interface a socket sends to the group, and how far.

use std::{io, net::Ipv4Addr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{interface::Family, options::SocketOptions};

/// How a socket is set to send to a group by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Not set, which only IPv4 allows: the route decides.
    Route,
    /// By an address of it.
    V4(Ipv4Addr),
    /// By its number.
    V6(u32),
}

/// IP fragments are left as the systems have them: allowed.
pub(super) fn udp_socket(family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if family == Family::V6 {
        // Buses of both families may have the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The default of every system (RFC 1112, section 6.1; RFC 3493, section 5.2).
const DEFAULT_TTL: u32 = 1;

/// Sets by where, how far, and whether to this machine too, a socket sends to groups. Nothing is
/// refused where it is so already.
pub(super) fn set_outgoing(
    socket: &Socket,
    options: &SocketOptions,
    outgoing: Outgoing,
) -> io::Result<()> {
    if outgoing != Outgoing::Route {
        choose(socket, outgoing)?;
    }
    let (ttl, loopback) = match options.family() {
        Family::V4 => (
            socket.set_multicast_ttl_v4(options.ttl),
            socket.set_multicast_loop_v4(options.loopback),
        ),
        Family::V6 => (
            socket.set_multicast_hops_v6(options.ttl),
            socket.set_multicast_loop_v6(options.loopback),
        ),
    };
    if options.ttl != DEFAULT_TTL {
        ttl?;
    }
    if !options.loopback {
        loopback?;
    }
    Ok(())
}

/// Sets by where a socket sends to groups. Only IPv4 leaves it to the route.
pub(super) fn choose(socket: &Socket, outgoing: Outgoing) -> io::Result<()> {
    match outgoing {
        // It may have been set to an interface before.
        Outgoing::Route => socket.set_multicast_if_v4(&Ipv4Addr::UNSPECIFIED),
        Outgoing::V4(address) => socket.set_multicast_if_v4(&address),
        Outgoing::V6(index) => socket.set_multicast_if_v6(index),
    }
}
