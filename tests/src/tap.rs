//! A bare socket on the group: it records what passes, and sends any bytes.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::group::{Group, INTERFACE};

/// How long [`Tap::next`] waits for a datagram that must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asked for, for a receive buffer: the system gives what it allows.
const BUFFER: usize = 8 << 20;

/// A socket that has joined a group on the loopback interface, without knowing what is said on it.
pub struct Tap {
    socket: UdpSocket,
    sender: UdpSocket,
    group: Group,
}

/// One datagram and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The address of the socket that sent it.
    pub from: SocketAddr,
    /// All its bytes.
    pub bytes: Vec<u8>,
}

impl Tap {
    /// Joins the group, beside whoever else has.
    pub fn join(group: Group) -> Self {
        let socket = udp_socket();
        socket.set_reuse_address(true).expect("sharing the address");
        socket.set_reuse_port(true).expect("sharing the port");
        // The system gives less than was asked for in silence.
        socket
            .set_recv_buffer_size(BUFFER)
            .expect("a receive buffer");
        socket
            .bind(&group.to_address().into())
            .expect("the group's address can be bound to");
        socket
            .join_multicast_v4(&group.address, &INTERFACE)
            .expect("the group can be joined on the loopback interface");
        Self {
            socket: socket.into(),
            sender: sender(),
            group,
        }
    }

    /// The next datagram, which must come.
    #[track_caller]
    pub fn next(&self) -> Datagram {
        self.next_within(PATIENCE).expect("no datagram came")
    }

    /// The next datagram, if one comes within this time.
    pub fn next_within(&self, patience: Duration) -> Option<Datagram> {
        let timeout = patience.max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(timeout))
            .expect("a timeout that is not zero");
        let mut bytes = vec![0; 65_536];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => {
                bytes.truncate(length);
                Some(Datagram { from, bytes })
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                None
            }
            Err(error) => panic!("the tap cannot receive: {error}"),
        }
    }

    /// Everything up to and with the first datagram that `last` accepts, which must come.
    #[track_caller]
    pub fn record_until(&self, mut last: impl FnMut(&Datagram) -> bool) -> Vec<Datagram> {
        let end = Instant::now() + PATIENCE;
        let mut recorded = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let datagram = self
                .next_within(left)
                .unwrap_or_else(|| panic!("the last datagram never came, after {recorded:?}"));
            let over = last(&datagram);
            recorded.push(datagram);
            if over {
                return recorded;
            }
        }
    }

    /// Sends these bytes to the group.
    pub fn send(&self, bytes: &[u8]) {
        self.send_to(self.group.to_address(), bytes);
    }

    /// Sends these bytes anywhere on this machine.
    pub fn send_to(&self, to: SocketAddrV4, bytes: &[u8]) {
        let sent = self
            .sender
            .send_to(bytes, to)
            .expect("a datagram can be sent on the loopback interface");
        assert_eq!(sent, bytes.len(), "a datagram goes out whole");
    }

    /// The port from which this sends.
    pub fn port(&self) -> u16 {
        self.sender.local_addr().expect("a bound socket").port()
    }
}

/// A socket that sends to groups on the loopback interface, and receives on a port of its own.
pub fn sender() -> UdpSocket {
    let socket = udp_socket();
    socket
        .bind(&SocketAddrV4::new(INTERFACE, 0).into())
        .expect("some port is free");
    socket
        .set_multicast_if_v4(&INTERFACE)
        .expect("the loopback interface takes multicast");
    socket.into()
}

fn udp_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a UDP socket")
}
