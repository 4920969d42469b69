//! Making the sockets of a bus: binding, joining, sharing, buffers.
//!
//! Contract: a group socket from here receives its group on one interface and nothing else, as far as the system can do
//! that; a unicast socket shares its port with no other. What the system refuses becomes an [`OpenError`]. Which
//! interfaces there are to be is decided elsewhere (`joined_interface.rs`, `interface_monitor.rs`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    error::{Buffer, OpenError, OpenWarning},
    interface::{Family, InterfaceChoice},
    joined_interface::{JoinedInterface, Outgoing},
    self_filter::{SelfFilter, set_self_filter},
};

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
    /// Whether other buses of this machine receive what this one sends. On the loopback interface they always do: that
    /// interface itself returns everything.
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

/// Opens the group socket of one interface and joins the group there. The filter for the bus's own datagrams matches
/// the port of its unicast socket.
pub(super) fn open_group(
    options: &SocketOptions,
    joined: &JoinedInterface,
) -> Result<Socket, OpenError> {
    let socket = bind_group(options, joined)?;
    join(&socket, options, joined).map_err(|source| OpenError::Join {
        group: options.group,
        interface: joined.to_string(),
        source: Arc::new(source),
    })?;
    if let Some(size) = options.receive_buffer {
        // A buffer that came out smaller is reported for the unicast socket, where the same happens.
        set_buffer(&socket, Buffer::Receive, size);
    }
    Ok(socket)
}

/// Keeps the bus's own datagrams off a group socket, where they would come back.
pub(super) fn filter_own(
    socket: &Socket,
    options: &SocketOptions,
    joined: &JoinedInterface,
    unicast_port: u16,
) -> Option<SelfFilter> {
    // The loopback interface returns everything, whatever the option is.
    (options.loopback || joined.host.is_loopback())
        .then(|| set_self_filter(socket, joined.host, unicast_port))
        .flatten()
}

fn join(socket: &Socket, options: &SocketOptions, joined: &JoinedInterface) -> io::Result<()> {
    match (options.group, joined.outgoing) {
        (IpAddr::V4(group), Outgoing::V4(interface)) => {
            socket.join_multicast_v4(&group, &interface)
        }
        (IpAddr::V4(group), _) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
        (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, joined.index),
    }
}

/// The group socket, which shares its port with all sockets that allow it.
fn bind_group(options: &SocketOptions, joined: &JoinedInterface) -> Result<Socket, OpenError> {
    let family = options.family();
    let socket = udp_socket(family).map_err(OpenError::socket("make a socket"))?;
    share_port(&socket).map_err(OpenError::socket("share the port of the group"))?;
    hear_only_joined(&socket, family);
    let port = options.port;
    // Where the system allows it, binding to the group keeps out everything else on that port.
    let address = if cfg!(unix) {
        joined.socket_address(options.group, port)
    } else {
        SocketAddr::new(options.address.unwrap_or_else(|| family.any()), port)
    };
    socket
        .bind(&address.into())
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::PortTaken {
                port,
                source: Arc::new(source),
            },
            io::ErrorKind::PermissionDenied => OpenError::Permission {
                port,
                option: "port",
                source: Arc::new(source),
            },
            // The scope of a group on one link is an interface, which was removed.
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput
                if family == Family::V6 =>
            {
                OpenError::Join {
                    group: options.group,
                    interface: joined.to_string(),
                    source: Arc::new(source),
                }
            }
            _ => OpenError::socket("bind the socket of the group")(source),
        })?;
    // By default a member on one interface receives an IPv6 group on all. Where turning this off is refused, as older
    // kernels do to ordinary users, duplicates are dropped later.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if family == Family::V6 {
        let _ = socket.bind_device(Some(joined.name.as_bytes()));
    }
    // Some systems apply this option of the receiving socket to what their own machine sent.
    let _ = match family {
        Family::V4 => socket.set_multicast_loop_v4(options.loopback),
        Family::V6 => socket.set_multicast_loop_v6(options.loopback),
    };
    Ok(socket)
}

/// The socket from which everything is sent, bound to `address`. Not shared, so that answers come
/// here.
pub(super) fn open_unicast(
    options: &SocketOptions,
    address: SocketAddr,
    warnings: &mut Vec<OpenWarning>,
) -> Result<Socket, OpenError> {
    let family = options.family();
    let socket = udp_socket(family).map_err(OpenError::socket("make a socket"))?;
    hear_only_joined(&socket, family);
    let port = options.unicast_port;
    socket
        .bind(&address.into())
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse if port != 0 => OpenError::UnicastPortTaken {
                port,
                source: Arc::new(source),
            },
            io::ErrorKind::PermissionDenied if port != 0 => OpenError::Permission {
                port,
                option: "unicast_port",
                source: Arc::new(source),
            },
            _ => OpenError::socket("bind the unicast socket")(source),
        })?;
    set_outgoing(&socket, options, Outgoing::Route).map_err(OpenError::socket(
        "set TTL and loopback of the unicast socket",
    ))?;
    if let Some(size) = options.receive_buffer {
        warnings.extend(set_buffer(&socket, Buffer::Receive, size));
    }
    if let Some(size) = options.send_buffer {
        warnings.extend(set_buffer(&socket, Buffer::Send, size));
    }
    Ok(socket)
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

/// Programs set one of these or the other, and share only with those that set the same: so both. One is enough to
/// start with.
fn share_port(socket: &Socket) -> io::Result<()> {
    let shared = socket.set_reuse_address(true);
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    let shared = match (shared, socket.set_reuse_port(true)) {
        (Err(error), Err(_)) => Err(error),
        _ => Ok(()),
    };
    shared
}

/// Without this, Linux gives a socket what any other one of the machine has joined. Where it is refused, as by systems
/// that only look like Linux, being bound to the group does nearly the same.
fn hear_only_joined(socket: &Socket, family: Family) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = match family {
        Family::V4 => socket.set_multicast_all_v4(false),
        // Unknown to kernels before 4.20.
        Family::V6 => socket.set_multicast_all_v6(false),
    };
    let _ = (socket, family);
}

/// The default of every system (RFC 1112, section 6.1; RFC 3493, section 5.2).
const DEFAULT_TTL: u32 = 1;

/// Sets by where, how far, and whether to this machine too, a socket sends to groups. Nothing is refused where it is
/// so already.
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

/// Sets a buffer and reads back the size that the system chose.
fn set_buffer(socket: &Socket, buffer: Buffer, asked: usize) -> Option<OpenWarning> {
    let get = || {
        let got = match buffer {
            Buffer::Receive => socket.recv_buffer_size(),
            Buffer::Send => socket.send_buffer_size(),
        };
        // Linux doubles the size for its own bookkeeping, and returns the double.
        got.map(|got| {
            if cfg!(any(target_os = "linux", target_os = "android")) {
                got / 2
            } else {
                got
            }
        })
    };
    let set = |size| match buffer {
        Buffer::Receive => socket.set_recv_buffer_size(size),
        Buffer::Send => socket.set_send_buffer_size(size),
    };
    // Where too much is refused rather than cut down, half of it may be taken.
    let before = get().unwrap_or(asked);
    let mut size = asked.min(i32::MAX as usize / 2);
    while set(size).is_err() && size / 2 > before {
        size /= 2;
    }
    // A size that cannot be read cannot be reported.
    let got = get().unwrap_or(asked);
    (got < asked).then_some(OpenWarning::BufferCapped { buffer, asked, got })
}
