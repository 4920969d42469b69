//! Where a bus joins its group and from where it sends: the interfaces that its choice resolves to
//! now, and the bus's address on each.
//!
//! Contract: nothing is sent and nothing stays open. The answer holds until the interfaces or the
//! routes of the machine change.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use super::{
    interface::{Family, Inability, Interface, InterfaceChoice, Interfaces, Link},
    options::SocketOptions,
    outgoing::{Outgoing, set_outgoing, udp_socket},
    route,
};

/// An address of the block for documentation: it stands for anywhere beyond this network.
const ANYWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// One interface of which a bus makes use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinedInterface {
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

/// Why an interface that was considered is not used.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The interface cannot do multicast.
    Unable { name: String, inability: Inability },
    /// The route leads to an interface that cannot do multicast.
    Route { name: String, inability: Inability },
    /// The system refuses.
    System(io::Error),
}

impl Obstacle {
    /// As a refusal of the system, which it may be.
    pub(super) fn into_error(self) -> io::Error {
        match self {
            Self::System(error) => error,
            Self::Unable { name, inability } => io::Error::new(
                io::ErrorKind::NetworkDown,
                format!("{name} {}", inability.describe(&name)),
            ),
            Self::Route { name, inability } => io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                format!("it leads to {name}, which {}", inability.describe(&name)),
            ),
        }
    }
}

impl<E: Into<io::Error>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
}

impl JoinedInterface {
    /// At an interface. Of several addresses of it `chosen` counts, if it is given.
    pub(super) fn of(
        options: &SocketOptions,
        interface: &Interface,
        chosen: Option<Ipv4Addr>,
    ) -> Result<Self, Obstacle> {
        if interface.inability() == Some(Inability::Down) {
            return Err(Obstacle::Unable {
                name: interface.name.clone(),
                inability: Inability::Down,
            });
        }
        let outgoing = match (interface.address, chosen) {
            (IpAddr::V4(own), chosen) => Outgoing::V4(chosen.unwrap_or(own)),
            (IpAddr::V6(_), _) => Outgoing::V6(interface.index),
        };
        Ok(Self {
            name: interface.name.clone(),
            index: interface.index,
            host: source_address(options, outgoing)?,
            outgoing,
            cuts: interface.cuts_joined_datagrams(),
        })
    }

    /// At the loopback interface.
    pub(super) fn loopback(
        options: &SocketOptions,
        interfaces: &Interfaces,
    ) -> Result<Self, Obstacle> {
        let loopback = interfaces.loopback(options.family()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "there is no loopback interface that is up",
            )
        })?;
        Self::of(options, loopback, None)
    }

    /// At what was chosen, on a machine that does not list its interfaces: only IPv4 can do
    /// without.
    pub(super) fn unlisted(options: &SocketOptions) -> Result<Option<Self>, Obstacle> {
        let address = match &options.interface {
            _ if options.group.is_ipv6() => return Ok(None),
            InterfaceChoice::Address(IpAddr::V4(address)) => *address,
            InterfaceChoice::Name(name) => match address_by_name(options, name)? {
                Some(address) => address,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let name = match &options.interface {
            InterfaceChoice::Name(name) => name.clone(),
            _ if address.is_loopback() => "lo".to_owned(),
            _ => "unknown".to_owned(),
        };
        Ok(Some(Self {
            index: index_of(&name),
            name,
            outgoing: Outgoing::V4(address),
            host: source_address(options, Outgoing::V4(address))?,
            cuts: address.is_loopback(),
        }))
    }

    /// Where the system's routes lead, if multicast can be done there.
    pub(super) fn by_route(
        options: &SocketOptions,
        interfaces: &Interfaces,
    ) -> Result<Self, Obstacle> {
        match options.group {
            IpAddr::V4(_) => Self::by_route_v4(options, interfaces),
            IpAddr::V6(_) => Self::by_route_v6(options, interfaces),
        }
    }

    fn by_route_v4(options: &SocketOptions, interfaces: &Interfaces) -> Result<Self, Obstacle> {
        let host = source_address(options, Outgoing::Route)?;
        // The address may be that of another interface than the route's.
        let index = route::egress(options.group, options.address);
        let index = index.or_else(|| Some(interfaces.with_address(host)?.index));
        let link = index.and_then(|index| interfaces.link(index));
        if let Some(link) = link
            && let Some(inability) = link.inability()
        {
            let name = link.name.clone();
            return Err(Obstacle::Route { name, inability });
        }
        let name = link.map_or_else(|| "default".to_owned(), |link| link.name.clone());
        // Identified by its address where that is unambiguous, so that an interface to which a
        // route leads later on is the same one as when it was taken without a route.
        let is_clear = interfaces.has_once(host)
            && interfaces.with_address(host).map(|one| one.index) == index;
        Ok(Self {
            name,
            index: index.unwrap_or(0),
            outgoing: match host {
                IpAddr::V4(own) if is_clear => Outgoing::V4(own),
                _ => Outgoing::Route,
            },
            host,
            cuts: link.is_some_and(Link::cuts_joined_datagrams),
        })
    }

    /// Every interface has a route for all IPv6 groups, so these say nothing: the one by which
    /// everything else leaves counts.
    fn by_route_v6(options: &SocketOptions, interfaces: &Interfaces) -> Result<Self, Obstacle> {
        let egress = way_out(interfaces).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                "there is no route off this network",
            )
        })?;
        if let Some(link) = interfaces.link(egress)
            && let Some(inability) = link.inability()
        {
            let name = link.name.clone();
            return Err(Obstacle::Route { name, inability });
        }
        let interface = interfaces.with_index(egress, Family::V6);
        let interface = interface.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Self::of(options, interface, None)
    }

    /// Whether both send by the same interface and address. The number 0 of an interface that was
    /// found without a list matches any.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_index = self.index == other.index || self.index == 0 || other.index == 0;
        same_index && (self.outgoing, self.host) == (other.outgoing, other.host)
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

impl fmt::Display for JoinedInterface {
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
    let family = options.family();
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

/// The number of the interface by which everything else leaves, if there is such a way.
fn way_out(interfaces: &Interfaces) -> Option<u32> {
    route::egress(ANYWHERE.into(), None).or_else(|| {
        let probe = udp_socket(Family::V6).ok()?;
        // Any port does; 9 is the one to discard.
        let anywhere = SocketAddr::from((ANYWHERE, 9));
        probe.connect(&anywhere.into()).ok()?;
        let own = probe.local_addr().ok()?.as_socket()?.ip();
        Some(interfaces.with_address(own)?.index)
    })
}

/// The address of an interface that is not listed, by asking the system what it would send from
/// there.
fn address_by_name(options: &SocketOptions, name: &str) -> io::Result<Option<Ipv4Addr>> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let probe = udp_socket(Family::V4)?;
        probe.bind_device(Some(name.as_bytes()))?;
        let to = SocketAddr::new(options.group, options.port);
        probe.connect(&to.into())?;
        let own = probe.local_addr()?.as_socket_ipv4();
        Ok(own.map(|own| *own.ip()).filter(|own| !own.is_unspecified()))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (options, name);
        Ok(None)
    }
}

/// The system's number of an interface; 0 where it is not known.
fn index_of(name: &str) -> u32 {
    #[cfg(unix)]
    return nix::net::if_::if_nametoindex(name).unwrap_or(0);
    #[cfg(not(unix))]
    {
        let _ = name;
        0
    }
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
        let joined = JoinedInterface {
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
            assert_eq!(
                joined.scope_of(address.parse().unwrap()),
                scope,
                "{address}"
            );
        }
        assert_eq!(
            joined
                .socket_address("ff02::1".parse().unwrap(), 9)
                .to_string(),
            "[ff02::1%7]:9"
        );
        assert_eq!(
            joined
                .socket_address("10.0.0.1".parse().unwrap(), 9)
                .to_string(),
            "10.0.0.1:9"
        );
    }
}
