//! Learning from the system that interfaces, addresses or routes may have changed.
//!
//! Contract: costs nothing while nothing changes. It reports that something changed, not what: the
//! caller reads the list again. Only Linux reports changes; elsewhere [`Watch::open`] fails, and
//! the caller looks from time to time.

#[cfg(target_os = "linux")]
pub(super) use linux::Watch;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::Watch;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        os::fd::{AsRawFd, OwnedFd},
    };

    use mio::{Interest, Registry, Token, unix::SourceFd};
    use nix::{
        errno::Errno,
        libc,
        sys::socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
            socket,
        },
    };

    /// The subscriptions: interfaces, their addresses, and the routes, which determine the default.
    const GROUPS: libc::c_int = libc::RTMGRP_LINK
        | libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV6_ROUTE;

    /// Enough for the beginning of any message; what they say is not read.
    const BUFFER_SIZE: usize = 256;

    /// A netlink socket (rtnetlink(7)).
    pub(in crate::net) struct Watch(OwnedFd);

    impl Watch {
        pub(in crate::net) fn open() -> io::Result<Self> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkRoute,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS as u32))?;
            Ok(Self(socket))
        }

        pub(in crate::net) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
            let fd = self.0.as_raw_fd();
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
        }

        /// Reads all reports; whether there was any.
        pub(in crate::net) fn drain(&self) -> bool {
            let mut buffer = [0; BUFFER_SIZE];
            let mut told = false;
            loop {
                match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    // There were more reports than the buffer holds: something changed, too.
                    Ok(_) | Err(Errno::ENOBUFS) => told = true,
                    Err(Errno::EINTR) => {}
                    Err(_) => return told,
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;

    use mio::{Registry, Token};

    pub(in crate::net) enum Watch {}

    impl Watch {
        pub(in crate::net) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::net) fn register(&self, _: &Registry, _: Token) -> io::Result<()> {
            match *self {}
        }

        pub(in crate::net) fn drain(&self) -> bool {
            match *self {}
        }
    }
}
