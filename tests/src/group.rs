//! Multicast groups that no other test uses, in this process or another one.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The only interface that tests use, to join on and to send by.
pub const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The organisation-local scope of RFC 2365 (section 6.2), 239.192.0.0/14: 2^18 groups.
const FIRST_GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 0);
const GROUPS: u32 = 1 << 18;

/// Below Linux's range for ports of its own choosing (from 32768), so that none is taken.
const FIRST_PORT: u32 = 12_000;
const PORTS: u32 = 20_000;

/// A multicast group and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's address.
    pub address: Ipv4Addr,
    /// The group's port.
    pub port: u16,
}

impl Group {
    /// One that nobody uses: the process gives the address, a count the port.
    ///
    /// The port too depends on the process, for the sockets of a foreign peer that hear every
    /// group of their port.
    pub fn unused() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let process = process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + (process.wrapping_mul(131).wrapping_add(count)) % PORTS;
        Self {
            address: Ipv4Addr::from_bits(FIRST_GROUP.to_bits() + process % GROUPS),
            port: u16::try_from(port).expect("below 32,000"),
        }
    }

    /// Another group on the same port.
    #[must_use]
    pub fn sibling(self) -> Self {
        let offset = self.address.to_bits() - FIRST_GROUP.to_bits();
        let offset = (offset + GROUPS / 2) % GROUPS;
        Self {
            address: Ipv4Addr::from_bits(FIRST_GROUP.to_bits() + offset),
            port: self.port,
        }
    }

    /// Where datagrams to the group go.
    pub fn to_address(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, self.port)
    }
}
