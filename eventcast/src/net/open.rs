//! Making the sockets of a bus: binding, joining, sharing, buffers.
//!
//! Contract: a group socket from here receives its group on one interface and nothing else, as far
//! as the system can do that; a unicast socket shares its port with no other. What the system
//! refuses becomes an [`OpenError`]. Which interfaces there are to be is decided elsewhere
//! (`joined_interface.rs`, `interface_monitor.rs`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use socket2::Socket;

use super::{
    error::{Buffer, OpenError, OpenWarning},
    interface::Family,
    joined_interface::JoinedInterface,
    options::SocketOptions,
    outgoing::{Outgoing, set_outgoing, udp_socket},
    self_filter::{SelfFilter, set_self_filter},
};

/// Opens the group socket of one interface and joins the group there. The filter for the bus's own
/// datagrams matches the port of its unicast socket.
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
        // A buffer that came out smaller is reported for the unicast socket, where the same
        // happens.
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
    // By default a member on one interface receives an IPv6 group on all. Where turning this off is
    // refused, as older kernels do to ordinary users, duplicates are dropped later.
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

/// Programs set one of these or the other, and share only with those that set the same: so both.
/// One is enough to start with.
fn share_port(socket: &Socket) -> io::Result<()> {
    let shared = socket.set_reuse_address(true);
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    let shared = match (shared, socket.set_reuse_port(true)) {
        (Err(error), Err(_)) => Err(error),
        _ => Ok(()),
    };
    shared
}

/// Without this, Linux gives a socket what any other one of the machine has joined. Where it is
/// refused, as by systems that only look like Linux, being bound to the group does nearly the same.
fn hear_only_joined(socket: &Socket, family: Family) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = match family {
        Family::V4 => socket.set_multicast_all_v4(false),
        // Unknown to kernels before 4.20.
        Family::V6 => socket.set_multicast_all_v6(false),
    };
    let _ = (socket, family);
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
