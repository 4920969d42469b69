//! Opening the sockets of a bus: binding, joining, and finding out that it really works.
//!
//! Contract: what [`open`] returns can hear and be heard, as far as the system can tell without
//! sending anything; what it cannot do it tells in an [`OpenError`], and what the user should know
//! besides in [`Sockets::warnings`]. IPv4, one interface.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    echo::drop_echo,
    error::{Buffer, OpenError, OpenWarning},
    interface::{InterfaceChoice, Interfaces},
    receiver::Receiver,
    sink::UdpSink,
    transmitter::Transmitter,
};

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    /// The address of this machine at which unicast messages are taken. 0.0.0.0: that of the
    /// interface if one is chosen, else any.
    pub(crate) address: Ipv4Addr,
    /// The port of the group; not 0.
    pub(crate) port: u16,
    /// The multicast group.
    pub(crate) group: Ipv4Addr,
    /// Where to join it, and by where to send.
    pub(crate) interface: InterfaceChoice,
    /// Whether other buses of this machine hear this one. On the loopback interface they always
    /// do: there the interface itself gives back what is sent.
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

/// The open sockets of a bus.
pub(crate) struct Sockets {
    /// Reads both sockets.
    pub(crate) receiver: Receiver,
    /// Sends from the unicast socket.
    pub(crate) transmitter: Transmitter,
    /// The address from which datagrams to the group leave.
    pub(crate) host: Ipv4Addr,
    /// Where to send what is for the group.
    pub(crate) group: SocketAddrV4,
    /// The port on which this bus alone is reached.
    pub(crate) unicast_port: u16,
    /// What the user should know.
    pub(crate) warnings: Vec<OpenWarning>,
}

/// Opens the sockets. Sends nothing.
pub(crate) fn open(options: &SocketOptions) -> Result<Sockets, OpenError> {
    if !options.group.is_multicast() {
        let group = options.group;
        return Err(OpenError::NotMulticast { group });
    }
    let interfaces = Interfaces::list()?;
    let address = own_address(options, &interfaces)?;
    let chosen = interfaces.resolve(&options.interface)?;
    let mut warnings = Vec::new();

    let group = bind_group(options)?;
    let place = place(&group, options, address, chosen, &interfaces, &mut warnings)?;
    let bound_to = address.or(place.outgoing).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let unicast = bind_unicast(options, bound_to)?;
    set_outgoing(&unicast, options, place.outgoing).map_err(OpenError::socket(
        "set interface, TTL and loopback of the unicast socket",
    ))?;
    if let Some(size) = options.receive_buffer {
        warnings.extend(set_buffer(&unicast, Buffer::Receive, size)?);
        // Both come out alike: one warning is enough.
        set_buffer(&group, Buffer::Receive, size)?;
    }
    if let Some(size) = options.send_buffer {
        warnings.extend(set_buffer(&unicast, Buffer::Send, size)?);
    }

    let unicast_port = port_of(&unicast)?;
    // The loopback interface brings everything back, whatever the option says.
    let comes_back = options.loopback || place.host.is_loopback();
    let echoes = comes_back
        .then(|| drop_echo(&group, place.host, unicast_port))
        .flatten();
    let (receiver, unicast) = Receiver::new(into_mio(group), into_mio(unicast), echoes.clone())
        .map_err(OpenError::socket("watch the sockets"))?;
    let may_join = interfaces.cuts_joined_datagrams(place.host);
    Ok(Sockets {
        receiver,
        transmitter: Transmitter::new(UdpSink::new(unicast, place.host, may_join, echoes)),
        host: place.host,
        group: SocketAddrV4::new(options.group, options.port),
        unicast_port,
        warnings,
    })
}

/// Where the group was joined.
struct Place {
    /// The address of the interface to set for sending; `None`: the route decides.
    outgoing: Option<Ipv4Addr>,
    /// The address from which datagrams to the group leave.
    host: Ipv4Addr,
}

/// The option `address`, if it names one address.
fn own_address(
    options: &SocketOptions,
    interfaces: &Interfaces,
) -> Result<Option<Ipv4Addr>, OpenError> {
    let address = options.address;
    if address.is_unspecified() || address == options.group {
        Ok(None)
    } else if interfaces.has(address) {
        Ok(Some(address))
    } else {
        Err(OpenError::NotOurs {
            address,
            existing: interfaces.describe(),
        })
    }
}

/// Joins the group, and makes sure that something can be sent to it from there.
fn place(
    socket: &Socket,
    options: &SocketOptions,
    address: Option<Ipv4Addr>,
    chosen: Option<Ipv4Addr>,
    interfaces: &Interfaces,
    warnings: &mut Vec<OpenWarning>,
) -> Result<Place, OpenError> {
    let group = options.group;
    let try_at = |outgoing: Option<Ipv4Addr>| {
        let bound_to = address.or(outgoing).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let host = source_address(options, bound_to, outgoing)?;
        let interface = outgoing.unwrap_or(Ipv4Addr::UNSPECIFIED);
        socket.join_multicast_v4(&group, &interface)?;
        Ok::<_, io::Error>(Place { outgoing, host })
    };

    if let Some(interface) = chosen {
        return try_at(chosen).map_err(|source| OpenError::Join {
            group,
            interface,
            source: Arc::new(source),
        });
    }
    let reason = match try_at(None) {
        Ok(place) => return Ok(place),
        Err(error) => Arc::new(error),
    };
    let loopback = interfaces.loopback().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no loopback interface that is up",
        )
    });
    match loopback.and_then(|loopback| try_at(Some(loopback))) {
        Ok(place) => {
            warnings.push(OpenWarning::LoopbackOnly {
                group,
                reason,
                others: interfaces.describe_outer(),
            });
            Ok(place)
        }
        Err(loopback) => Err(OpenError::NoRoute {
            group,
            source: reason,
            loopback: Arc::new(loopback),
        }),
    }
}

/// The address from which a datagram to the group would leave. Nothing is sent: connecting makes
/// the system look up the route, and choose the address as it would for sending.
fn source_address(
    options: &SocketOptions,
    bound_to: Ipv4Addr,
    outgoing: Option<Ipv4Addr>,
) -> io::Result<Ipv4Addr> {
    let probe = udp_socket()?;
    probe.bind(&SocketAddrV4::new(bound_to, 0).into())?;
    set_outgoing(&probe, options, outgoing)?;
    probe.connect(&SocketAddrV4::new(options.group, options.port).into())?;
    match probe.local_addr()?.as_socket_ipv4() {
        Some(own) if !own.ip().is_unspecified() => Ok(*own.ip()),
        _ => Err(io::Error::new(
            io::ErrorKind::NetworkUnreachable,
            "the route has no source address",
        )),
    }
}

/// The socket that hears the group, and shares its port with all that share it too.
fn bind_group(options: &SocketOptions) -> Result<Socket, OpenError> {
    let socket = udp_socket().map_err(OpenError::socket("make a socket"))?;
    share_port(&socket).map_err(OpenError::socket("share the port of the group"))?;
    hear_only_joined(&socket).map_err(OpenError::socket("keep other groups out"))?;
    // Where the system allows it, binding to the group keeps out everything else on that port.
    let address = if cfg!(unix) {
        options.group
    } else {
        options.address
    };
    let port = options.port;
    socket
        .bind(&SocketAddrV4::new(address, port).into())
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
            _ => OpenError::socket("bind the socket of the group")(source),
        })?;
    // Some systems ask the receiving socket whether it wants what its own machine sent.
    let _ = socket.set_multicast_loop_v4(options.loopback);
    Ok(socket)
}

/// The socket from which everything is sent. Not shared, so that answers come here.
fn bind_unicast(options: &SocketOptions, address: Ipv4Addr) -> Result<Socket, OpenError> {
    let socket = udp_socket().map_err(OpenError::socket("make a socket"))?;
    hear_only_joined(&socket).map_err(OpenError::socket("keep other groups out"))?;
    let port = options.unicast_port;
    socket
        .bind(&SocketAddrV4::new(address, port).into())
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
    Ok(socket)
}

/// IP fragments are left as the systems have them: allowed.
fn udp_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Programs set one of these or the other, and share only with those that set the same: so both.
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// Without this, Linux gives a socket what any other one of the machine has joined.
fn hear_only_joined(socket: &Socket) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_multicast_all_v4(false)?;
    let _ = socket;
    Ok(())
}

fn set_outgoing(
    socket: &Socket,
    options: &SocketOptions,
    outgoing: Option<Ipv4Addr>,
) -> io::Result<()> {
    if let Some(address) = outgoing {
        socket.set_multicast_if_v4(&address)?;
    }
    socket.set_multicast_ttl_v4(options.ttl)?;
    socket.set_multicast_loop_v4(options.loopback)
}

/// Sets a buffer and looks at what the system made of it.
fn set_buffer(
    socket: &Socket,
    buffer: Buffer,
    asked: usize,
) -> Result<Option<OpenWarning>, OpenError> {
    let get = || {
        let got = match buffer {
            Buffer::Receive => socket.recv_buffer_size(),
            Buffer::Send => socket.send_buffer_size(),
        };
        // Linux doubles what was set, for its own bookkeeping, and tells the double.
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
    let before = get().map_err(OpenError::socket("read the size of a buffer"))?;
    let mut size = asked.min(i32::MAX as usize / 2);
    while set(size).is_err() && size / 2 > before {
        size /= 2;
    }
    let got = get().map_err(OpenError::socket("read the size of a buffer"))?;
    Ok((got < asked).then_some(OpenWarning::BufferCapped { buffer, asked, got }))
}

fn port_of(socket: &Socket) -> Result<u16, OpenError> {
    let address = socket
        .local_addr()
        .map_err(OpenError::socket("read the port of the unicast socket"))?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

fn into_mio(socket: Socket) -> UdpSocket {
    UdpSocket::from_std(socket.into())
}
