//! Where a bus joins its group and by where it sends: which interfaces its choice comes to now,
//! and the address that it has there.
//!
//! Contract: nothing is sent and nothing stays open. The answer holds until the interfaces or the
//! routes of the machine change.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use super::{
    interface::{Family, Interface, InterfaceChoice, Interfaces},
    open::{SocketOptions, set_outgoing, udp_socket},
};

/// An address of the block for documentation: it stands for anywhere beyond this network.
const ANYWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// One interface of which a bus makes use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The interface's name.
    pub(super) name: String,
    /// The system's number of it; 0 where it is not known.
    pub(super) index: u32,
    /// What is set for sending there.
    pub(super) outgoing: Outgoing,
    /// The address from which datagrams to the group leave.
    pub(super) host: IpAddr,
    /// Whether datagrams may be handed to the kernel joined together.
    pub(super) cuts: bool,
}

/// How a socket is told by which interface to send to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Not at all, which only IPv4 has: the route decides.
    Route,
    /// By an address of it.
    V4(Ipv4Addr),
    /// By its number.
    V6(u32),
}

impl Place {
    /// Where a choice of one interface leads.
    pub(super) fn of(
        options: &SocketOptions,
        interface: &Interface,
        cuts: bool,
    ) -> io::Result<Self> {
        // Of several addresses of an interface the one that was chosen counts.
        let outgoing = match (interface.address, &options.interface) {
            (IpAddr::V4(_), InterfaceChoice::Address(IpAddr::V4(chosen))) => Outgoing::V4(*chosen),
            (IpAddr::V4(own), _) => Outgoing::V4(own),
            (IpAddr::V6(_), _) => Outgoing::V6(interface.index),
        };
        Ok(Self {
            name: interface.name.clone(),
            index: interface.index,
            host: source_address(options, outgoing)?,
            outgoing,
            cuts,
        })
    }

    /// The loopback interface.
    pub(super) fn loopback(options: &SocketOptions, interfaces: &Interfaces) -> io::Result<Self> {
        let family = Family::of(options.group);
        let loopback = interfaces.loopback(family).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "there is no loopback interface that is up",
            )
        })?;
        Self::of(options, loopback, true)
    }

    /// Where the system's routes lead.
    pub(super) fn by_route(options: &SocketOptions, interfaces: &Interfaces) -> io::Result<Self> {
        if options.group.is_ipv6() {
            return Self::by_route_v6(options, interfaces);
        }
        let host = source_address(options, Outgoing::Route)?;
        let interface = interfaces.with_address(host);
        Ok(Self {
            name: interface.map_or_else(|| "default".to_owned(), |one| one.name.clone()),
            index: interface.map_or(0, |one| one.index),
            outgoing: Outgoing::Route,
            host,
            cuts: interface.is_some_and(Interface::cuts_joined_datagrams),
        })
    }

    /// Every interface has a route for all IPv6 groups, so these say nothing: the one by which
    /// everything else leaves comes first, then the first that works.
    fn by_route_v6(options: &SocketOptions, interfaces: &Interfaces) -> io::Result<Self> {
        let able = interfaces.that_do_multicast(Family::V6);
        let usual = way_out().and_then(|own| interfaces.with_address(own.into()));
        let usual = usual.map(|usual| usual.index);
        let (first, rest): (Vec<&Interface>, Vec<_>) =
            able.into_iter().partition(|one| Some(one.index) == usual);
        let mut refusal = None;
        for interface in first.into_iter().chain(rest) {
            match Self::of(options, interface, interface.cuts_joined_datagrams()) {
                Ok(place) => return Ok(place),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                "no interface that is up does IPv6 multicast",
            )
        }))
    }

    /// The scope that an address needs to be bound to there.
    pub(super) fn scope_of(&self, address: Ipv6Addr) -> u32 {
        if address.is_unicast_link_local() || has_link_scope(address) {
            self.index
        } else {
            0
        }
    }

    /// An address and a port to bind to there.
    pub(super) fn socket_address(&self, address: IpAddr, port: u16) -> SocketAddr {
        match address {
            IpAddr::V4(_) => SocketAddr::new(address, port),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, self.scope_of(v6)).into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.host)
    }
}

/// Whether a group is another one on each link: scopes 1 and 2 of RFC 4291, section 2.7.
fn has_link_scope(address: Ipv6Addr) -> bool {
    address.is_multicast() && matches!(address.octets()[1] & 0xf, 1 | 2)
}

/// The address from which a datagram to the group would leave. Nothing is sent: connecting makes
/// the system look up the route, and choose the address as it would for sending.
fn source_address(options: &SocketOptions, outgoing: Outgoing) -> io::Result<IpAddr> {
    let family = Family::of(options.group);
    let probe = udp_socket(family)?;
    let bound_to = match (options.address, outgoing) {
        (Some(address), _) => address,
        (None, Outgoing::V4(address)) => address.into(),
        (None, _) => family.any(),
    };
    let scope = match (bound_to, outgoing) {
        (IpAddr::V6(v6), Outgoing::V6(index)) if v6.is_unicast_link_local() => index,
        _ => 0,
    };
    probe.bind(&with_scope(bound_to, 0, scope).into())?;
    set_outgoing(&probe, options, outgoing)?;
    probe.connect(&SocketAddr::new(options.group, options.port).into())?;
    match probe.local_addr()?.as_socket() {
        Some(own) if !own.ip().is_unspecified() => Ok(own.ip()),
        _ => Err(io::Error::new(
            io::ErrorKind::NetworkUnreachable,
            "the route has no source address",
        )),
    }
}

/// This machine's address on the way to everywhere else, if there is such a way.
fn way_out() -> Option<Ipv6Addr> {
    let probe = udp_socket(Family::V6).ok()?;
    // Any port does; 9 is the one to discard.
    probe
        .connect(&SocketAddr::from((ANYWHERE, 9)).into())
        .ok()?;
    let own = probe.local_addr().ok()?.as_socket_ipv6()?;
    Some(*own.ip())
}

fn with_scope(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_link_to_link_has_a_scope() {
        let place = Place {
            name: "eth7".to_owned(),
            index: 7,
            outgoing: Outgoing::V6(7),
            host: "fe80::1".parse().unwrap(),
            cuts: false,
        };
        for (address, scope) in [
            ("fe80::1", 7),
            ("ff01::1", 7),
            ("ff12::1", 7),
            ("ff05::1", 0),
            ("ff0e::1", 0),
            ("fd00::1", 0),
            ("::1", 0),
        ] {
            assert_eq!(place.scope_of(address.parse().unwrap()), scope, "{address}");
        }
        assert_eq!(
            place
                .socket_address("ff02::1".parse().unwrap(), 9)
                .to_string(),
            "[ff02::1%7]:9"
        );
        assert_eq!(
            place
                .socket_address("10.0.0.1".parse().unwrap(), 9)
                .to_string(),
            "10.0.0.1:9"
        );
    }
}
