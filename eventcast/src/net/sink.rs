//! Sending datagrams from one socket: the system calls, and nothing about what to do when they
//! fail.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mio::net::UdpSocket;

use super::{
    outgoing::{self, Outgoing},
    self_filter::SelfFilter,
};

/// An interface by which a bus sends to its group.
#[derive(Clone, Debug)]
pub(crate) struct Egress {
    /// What names it for as long as the sockets are open; never given twice.
    pub(crate) id: u32,
    /// What people know it by, as `name (address)`.
    pub(super) label: Arc<str>,
    /// The address from which datagrams to the group leave.
    pub(crate) host: IpAddr,
    pub(super) outgoing: Outgoing,
    /// Whether the interface takes datagrams joined together, if the kernel does.
    pub(super) cuts: bool,
    /// Where a datagram to the group comes back, and is filtered out.
    pub(super) self_filter: Option<SelfFilter>,
}

/// Something by which datagrams are sent. Nothing here blocks, unless it says so.
pub(crate) trait Sink {
    /// From now on datagrams to the group leave by this interface.
    fn choose(&mut self, egress: &Egress) -> io::Result<()>;

    /// Sends one datagram.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()>;

    /// Sends datagrams of `segment_size` bytes, the last may be shorter, in one call: all or none.
    fn send_segments(&mut self, to: SocketAddr, bytes: &[u8], segment_size: u16) -> io::Result<()>;

    /// Whether [`Self::send_segments`] exists on this system.
    fn has_segments(&self) -> bool;

    /// The MTU of the way to `to`, where it is known.
    fn mtu(&self, to: SocketAddr) -> Option<u32>;
}

/// The unicast socket.
pub(crate) struct UdpSink {
    socket: Arc<UdpSocket>,
    has_segments: bool,
    /// The interface that the socket is set to.
    egress: Option<Egress>,
}

impl UdpSink {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        Self {
            has_segments: kernel::probe(&socket),
            socket,
            egress: None,
        }
    }

    /// Another socket takes the place of this one.
    pub(super) fn replace(&mut self, socket: Arc<UdpSocket>) {
        *self = Self::new(socket);
    }

    fn counting_echoes(
        &self,
        to: SocketAddr,
        send: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        match self
            .egress
            .as_ref()
            .and_then(|egress| egress.self_filter.as_ref())
        {
            Some(self_filter) if to.ip().is_multicast() => self_filter.count(send),
            _ => send(),
        }
    }

    pub(super) fn writability(&self) -> Writability {
        Writability(Arc::clone(&self.socket))
    }
}

impl Sink for UdpSink {
    fn choose(&mut self, egress: &Egress) -> io::Result<()> {
        if self.egress.as_ref().is_none_or(|set| set.id != egress.id) {
            self.egress = None;
            outgoing::choose(&socket2::SockRef::from(&*self.socket), egress.outgoing)?;
            self.egress = Some(egress.clone());
        }
        Ok(())
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let send = || self.socket.send_to(datagram, to).map(drop);
        self.counting_echoes(to, send)
    }

    fn send_segments(&mut self, to: SocketAddr, bytes: &[u8], segment_size: u16) -> io::Result<()> {
        // Joined datagrams come back as one, too.
        let send = || kernel::send(&self.socket, to, bytes, segment_size);
        self.counting_echoes(to, send)
    }

    fn has_segments(&self) -> bool {
        self.has_segments
    }

    /// Looked up at each use, since it may change at any time.
    fn mtu(&self, to: SocketAddr) -> Option<u32> {
        kernel::mtu(self.egress.as_ref()?, to)
    }
}

/// Waits until the unicast socket takes datagrams again, without holding the transmitter.
#[derive(Clone)]
pub(crate) struct Writability(Arc<UdpSocket>);

impl Writability {
    #[cfg(test)]
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.0
    }

    /// Waits at most for `timeout`, rounded up to milliseconds. Whether the socket is writable.
    #[cfg(unix)]
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        use nix::{
            errno::Errno,
            poll::{PollFd, PollFlags, PollTimeout, poll},
        };
        use std::os::fd::AsFd;

        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for a moment: there is no portable way to wait for one socket without a poll of
    /// its own, and a full buffer empties within a millisecond.
    #[cfg(not(unix))]
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        std::thread::sleep(timeout.min(Duration::from_millis(1)));
        Ok(true)
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::{
        io::{self, IoSlice},
        net::SocketAddr,
        os::fd::AsRawFd,
    };

    use mio::net::UdpSocket;

    use nix::sys::socket::{
        ControlMessage, MsgFlags, SockaddrStorage, getsockopt, sendmsg, sockopt,
    };

    use super::Egress;
    use crate::net::{interface::Family, outgoing};

    /// A kernel before 4.18 would send everything as one datagram and say nothing.
    pub(super) fn probe(socket: &UdpSocket) -> bool {
        getsockopt(socket, sockopt::UdpGsoSegment).is_ok()
    }

    /// Connecting makes the kernel look up the way; nothing is sent.
    pub(super) fn mtu(egress: &Egress, to: SocketAddr) -> Option<u32> {
        let probe = outgoing::udp_socket(Family::of(to.ip())).ok()?;
        outgoing::choose(&probe, egress.outgoing).ok()?;
        probe.connect(&to.into()).ok()?;
        // Linux answers this one for IPv6 too.
        getsockopt(&probe, sockopt::IpMtu).ok()?.try_into().ok()
    }

    pub(super) fn send(
        socket: &UdpSocket,
        to: SocketAddr,
        bytes: &[u8],
        segment_size: u16,
    ) -> io::Result<()> {
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            &[ControlMessage::UdpGsoSegments(&segment_size)],
            MsgFlags::MSG_DONTWAIT,
            Some(&SockaddrStorage::from(to)),
        )?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::{io, net::SocketAddr};

    use mio::net::UdpSocket;

    use super::Egress;

    pub(super) fn mtu(_: &Egress, _: SocketAddr) -> Option<u32> {
        None
    }

    pub(super) fn probe(_: &UdpSocket) -> bool {
        false
    }

    pub(super) fn send(_: &UdpSocket, _: SocketAddr, _: &[u8], _: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
