//! Which interface: the choice as text, and the interfaces and addresses that this machine has.
//!
//! Not responsible for joining or sending there (`open.rs`), nor for which of them a bus uses
//! (`joined_interface.rs`).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use super::error::InterfaceError;

/// The interfaces on which a bus joins its group and sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum InterfaceChoice {
    /// The one to which the system's routes point.
    #[default]
    Default,
    /// Every one that is up and does multicast. The loopback interface only where no other is.
    All,
    /// The one with this address.
    Address(IpAddr),
    /// The one of this name that has this link-local address.
    Scoped(Ipv6Addr, String),
    /// The one with this name, or this number; of several IPv4 addresses the first counts.
    Name(String),
}

impl FromStr for InterfaceChoice {
    type Err = InterfaceError;

    /// `default`, `0.0.0.0` or `::`, `all`, an address, or the name of an interface. Whether it
    /// exists is found out when the sockets are opened.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let unsupported = |reason| InterfaceError::Unsupported {
            text: text.to_owned(),
            reason,
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return match address {
                _ if address.is_unspecified() => Ok(Self::Default),
                _ if is_nobodys(address) => Err(unsupported("not the address of an interface")),
                _ => Ok(Self::Address(address)),
            };
        }
        if let Some((address, zone)) = text.split_once('%')
            && let Ok(address) = address.parse::<Ipv6Addr>()
        {
            return match (is_name(zone), is_nobodys(address.into())) {
                (true, false) => Ok(Self::Scoped(address, zone.to_owned())),
                (true, true) => Err(unsupported("not the address of an interface")),
                (false, _) => Err(unsupported("not the name of an interface after the `%`")),
            };
        }
        match text {
            "default" => Ok(Self::Default),
            "all" => Ok(Self::All),
            "" => Err(unsupported("empty")),
            _ if !is_name(text) => Err(unsupported("not a name")),
            _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                Err(unsupported("not an address"))
            }
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// No system allows these in a name: most likely a mistyped address.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '/', ' ', '%'])
}

/// Whether an address cannot be that of one interface.
fn is_nobodys(address: IpAddr) -> bool {
    address.is_multicast() || address.is_unspecified() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl fmt::Display for InterfaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
            Self::Address(address) => address.fmt(f),
            Self::Scoped(address, zone) => write!(f, "{address}%{zone}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The two kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv6() {
            Self::V6
        } else {
            Self::V4
        }
    }

    /// The address that stands for any.
    pub(crate) fn any(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// The system's number of it, by which IPv6 names it.
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) netmask: IpAddr,
    pub(super) is_loopback: bool,
    pub(super) is_up: bool,
    /// It has the flag MULTICAST, as cards have and most VPNs have not.
    pub(super) has_multicast: bool,
}

/// An interface, with addresses or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) is_up: bool,
    is_loopback: bool,
    has_multicast: bool,
}

/// Why an interface cannot be used for multicast. Every choice of interfaces asks the same
/// question, [`Link::inability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inability {
    Down,
    /// Without the flag. The kernel would send all the same, but mostly no other host receives it.
    NoMulticast,
}

impl Inability {
    /// What follows the interface's name, and what to do about it.
    pub(super) fn describe(self, name: &str) -> String {
        match self {
            Self::Down => format!("is down (`ip link set {name} up`)"),
            Self::NoMulticast => format!(
                "cannot do multicast: it has no flag MULTICAST (`ip link set {name} multicast on`, if it carries \
                 multicast after all)"
            ),
        }
    }
}

/// The interfaces of this machine at one moment, each once for each of its addresses.
#[derive(Default)]
pub(super) struct Interfaces {
    list: Vec<Interface>,
    links: Vec<Link>,
    /// Why the system does not list them. Then `list` has what can be known without that.
    unlisted: Option<Arc<io::Error>>,
}

impl Interfaces {
    pub(super) fn list() -> Result<Self, Arc<io::Error>> {
        let (list, links) = system::list().map_err(Arc::new)?;
        Ok(Self {
            list,
            links,
            unlisted: None,
        })
    }

    /// Without a list an address is used as it is given, and the system refuses one that is not of
    /// this machine.
    pub(super) fn unlisted(error: Arc<io::Error>) -> Self {
        Self {
            list: system::list_without_netlink(),
            links: Vec::new(),
            unlisted: Some(error),
        }
    }

    /// Why there is no list.
    pub(super) fn why_unlisted(&self) -> Option<&Arc<io::Error>> {
        self.unlisted.as_ref()
    }

    #[cfg(test)]
    pub(super) fn of(list: impl IntoIterator<Item = Interface>) -> Self {
        let list: Vec<_> = list.into_iter().collect();
        Self {
            links: list.iter().map(Interface::link).collect(),
            list,
            unlisted: None,
        }
    }

    /// The interface that a choice names, for a group of this family. Of several addresses of that
    /// family the first.
    pub(super) fn find(
        &self,
        choice: &InterfaceChoice,
        family: Family,
    ) -> Result<Option<&Interface>, InterfaceError> {
        match choice {
            InterfaceChoice::Default | InterfaceChoice::All => Ok(None),
            InterfaceChoice::Address(address) => self.by_address(*address, family).map(Some),
            InterfaceChoice::Scoped(address, zone) => {
                let named = self.by_name(zone, family)?;
                let has = self
                    .list
                    .iter()
                    .any(|one| one.index == named.index && one.address == IpAddr::V6(*address));
                if has {
                    Ok(Some(named))
                } else {
                    Err(self.not_ours((*address).into()))
                }
            }
            InterfaceChoice::Name(name) => self.by_name(name, family).map(Some),
        }
    }

    /// One address of this family for each interface that is up and does multicast.
    pub(super) fn that_do_multicast(&self, family: Family) -> Vec<&Interface> {
        let mut found: Vec<&Interface> = Vec::new();
        for one in self.of_family(family) {
            let is_new = found.iter().all(|known| known.index != one.index);
            if one.inability().is_none() && !one.is_loopback && is_new {
                found.push(one);
            }
        }
        found
    }

    /// Whether an address is one of this machine, as far as is known. Every address of a loopback
    /// network is.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.unlisted.is_some() || self.with_address(address).is_some()
    }

    /// The interface that has an address.
    pub(super) fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        let exact = self.list.iter().find(|one| one.address == address);
        exact.or_else(|| {
            let mut loopback = self.list.iter().filter(|one| one.is_loopback);
            loopback.find(|one| one.is_in_its_network(address))
        })
    }

    /// Whether an address belongs to one interface alone.
    pub(super) fn has_once(&self, address: IpAddr) -> bool {
        let having = self.list.iter().filter(|one| one.address == address);
        having.count() == 1
    }

    /// The interface with this number; of several addresses of that family the first.
    pub(super) fn with_index(&self, index: u32, family: Family) -> Option<&Interface> {
        self.of_family(family).find(|one| one.index == index)
    }

    /// Whether there is one with an address that fits.
    pub(super) fn any(&self, fits: impl Fn(&Interface) -> bool) -> bool {
        self.list.iter().any(fits)
    }

    /// The interface with this number, with an address or without.
    pub(super) fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The loopback interface.
    pub(super) fn loopback(&self, family: Family) -> Option<&Interface> {
        self.of_family(family).find(|one| one.is_loopback)
    }

    /// All of this family as `name (address)`, for errors.
    pub(super) fn describe(&self, family: Family) -> Vec<String> {
        if let Some(error) = &self.unlisted {
            return vec![format!(
                "those of this machine, which cannot be listed ({error})"
            )];
        }
        self.of_family(family).map(ToString::to_string).collect()
    }

    /// Each interface that leads off this machine and cannot be used, and why.
    pub(super) fn describe_unable(&self, family: Family) -> Vec<String> {
        let mut unable = Vec::new();
        for one in self.of_family(family).filter(|one| !one.is_loopback) {
            if let Some(inability) = one.inability() {
                unable.push(format!("{one} {}", inability.describe(&one.name)));
            }
        }
        for link in &self.links {
            let is_candidate = link.is_up && !link.is_loopback;
            if is_candidate && self.with_index(link.index, family).is_none() {
                unable.push(format!("{} has no {} address", link.name, family.name()));
            }
        }
        unable
    }

    fn by_address(&self, address: IpAddr, family: Family) -> Result<&Interface, InterfaceError> {
        let found = self
            .with_address(address)
            .ok_or_else(|| self.not_ours(address))?;
        if Family::of(address) == family {
            return Ok(found);
        }
        // An IPv4 address names an interface for an IPv6 group as well.
        self.by_name(&found.name, family)
    }

    fn by_name(&self, name: &str, family: Family) -> Result<&Interface, InterfaceError> {
        let number = name.parse::<u32>().ok();
        let is_it = |one: &&Interface| one.name == name || number == Some(one.index);
        if let Some(found) = self.of_family(family).find(is_it) {
            return Ok(found);
        }
        let (name, existing) = (name.to_owned(), self.describe(family));
        Err(if self.exists(&name) {
            InterfaceError::NoAddress {
                name,
                family: family.name(),
                existing,
            }
        } else {
            InterfaceError::NoSuchName { name, existing }
        })
    }

    fn not_ours(&self, address: IpAddr) -> InterfaceError {
        InterfaceError::NotOurs {
            address,
            existing: self.describe(Family::of(address)),
        }
    }

    /// Whether there is such an interface, with or without an address.
    fn exists(&self, name: &str) -> bool {
        #[cfg(unix)]
        if nix::net::if_::if_nametoindex(name).is_ok() {
            return true;
        }
        self.list.iter().any(|interface| interface.name == name)
    }

    fn of_family(&self, family: Family) -> impl Iterator<Item = &Interface> {
        self.list
            .iter()
            .filter(move |one| Family::of(one.address) == family)
    }
}

impl Interface {
    /// Why it cannot be used for multicast.
    pub(super) fn inability(&self) -> Option<Inability> {
        self.link().inability()
    }

    /// Without its address.
    fn link(&self) -> Link {
        Link {
            name: self.name.clone(),
            index: self.index,
            is_up: self.is_up,
            is_loopback: self.is_loopback,
            has_multicast: self.has_multicast,
        }
    }

    fn is_in_its_network(&self, address: IpAddr) -> bool {
        match (self.address, self.netmask, address) {
            (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(address)) => {
                own & mask == address & mask
            }
            (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(address)) => {
                own & mask == address & mask
            }
            _ => false,
        }
    }

    /// Whether datagrams that leave by it may be handed to the kernel joined together.
    pub(super) fn cuts_joined_datagrams(&self) -> bool {
        self.link().cuts_joined_datagrams()
    }
}

impl Link {
    /// Why it cannot be used for multicast. The loopback interface can, without the flag.
    pub(super) fn inability(&self) -> Option<Inability> {
        if !self.is_up {
            Some(Inability::Down)
        } else if !self.has_multicast && !self.is_loopback {
            Some(Inability::NoMulticast)
        } else {
            None
        }
    }

    /// Whether the kernel may get several datagrams joined together for this interface.
    ///
    /// A network card, or the kernel just before it, cuts them apart, and so does the loopback
    /// interface for its receivers. A virtual link passes them on as they are to its other end; a
    /// capture or a bridge in user space there sees one packet that exceeds the MTU.
    pub(super) fn cuts_joined_datagrams(&self) -> bool {
        self.is_loopback || is_card(&self.name)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

#[cfg(unix)]
mod system {
    use std::{io, net::IpAddr};

    use nix::{
        ifaddrs::getifaddrs,
        net::if_::{InterfaceFlags, if_nametoindex},
        sys::socket::SockaddrStorage,
    };

    use super::{Interface, Link};

    /// Every address of every interface, and the interfaces.
    pub(super) fn list() -> io::Result<(Vec<Interface>, Vec<Link>)> {
        let (mut list, mut links) = (Vec::new(), Vec::<Link>::new());
        for one in getifaddrs()? {
            let name = one.interface_name;
            let is_up = one.flags.contains(InterfaceFlags::IFF_UP);
            let is_loopback = one.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            let has_multicast = one.flags.contains(InterfaceFlags::IFF_MULTICAST);
            let known = links.iter().find(|link| link.name == name);
            let index = known.map(|link| link.index).unwrap_or_else(|| {
                let index = if_nametoindex(name.as_str()).unwrap_or(0);
                links.push(Link {
                    name: name.clone(),
                    index,
                    is_up,
                    is_loopback,
                    has_multicast,
                });
                index
            });
            let Some(address) = one.address.as_ref().and_then(ip) else {
                continue;
            };
            let unknown = if address.is_ipv6() {
                super::Family::V6.any()
            } else {
                super::Family::V4.any()
            };
            list.push(Interface {
                name,
                index,
                address,
                netmask: one.netmask.as_ref().and_then(ip).unwrap_or(unknown),
                is_loopback,
                is_up,
                has_multicast,
            });
        }
        Ok((list, links))
    }

    fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    }

    /// What is known of addresses where the system lists none: those of IPv6 stand in a file on
    /// Linux, and the loopback interface of IPv4 has the same address everywhere. Whether they are
    /// up shows when they are used.
    pub(super) fn list_without_netlink() -> Vec<Interface> {
        let loopback = Interface {
            name: "lo".to_owned(),
            index: if_nametoindex("lo").unwrap_or(0),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            netmask: std::net::Ipv4Addr::new(255, 0, 0, 0).into(),
            is_loopback: true,
            is_up: true,
            has_multicast: false,
        };
        let v6 = super::super::inet6::addresses().into_iter();
        let v6 = v6.map(|one| Interface {
            netmask: one.netmask().into(),
            is_loopback: one.address.is_loopback(),
            name: one.name,
            index: one.index,
            address: one.address.into(),
            is_up: true,
            has_multicast: true,
        });
        std::iter::once(loopback).chain(v6).collect()
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use if_addrs::IfAddr;

    use super::{Interface, Link};

    /// Every address of every interface that is up. Which of them can do multicast is unknown here.
    pub(super) fn list() -> io::Result<(Vec<Interface>, Vec<Link>)> {
        let found = if_addrs::get_if_addrs()?;
        let list = found.into_iter().map(|one| Interface {
            index: one.index.unwrap_or(0),
            address: one.ip(),
            netmask: match &one.addr {
                IfAddr::V4(v4) => v4.netmask.into(),
                IfAddr::V6(v6) => v6.netmask.into(),
            },
            is_loopback: one.is_loopback(),
            is_up: true,
            has_multicast: true,
            name: one.name,
        });
        let list: Vec<_> = list.collect();
        let links = list.iter().map(Interface::link).collect();
        Ok((list, links))
    }

    pub(super) fn list_without_netlink() -> Vec<Interface> {
        Vec::new()
    }
}

/// Whether an interface has a device behind it. A network namespace may see the files of another
/// one, so the interface's number must be the right one too.
#[cfg(target_os = "linux")]
fn is_card(name: &str) -> bool {
    let files = std::path::Path::new("/sys/class/net").join(name);
    let told = std::fs::read_to_string(files.join("ifindex"))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    told.is_some()
        && told == nix::net::if_::if_nametoindex(name).ok()
        && files.join("device").exists()
}

#[cfg(not(target_os = "linux"))]
fn is_card(_: &str) -> bool {
    false
}

#[cfg(test)]
impl Interface {
    /// One that is up and does multicast, with a network of 256 addresses.
    pub(super) fn example(name: &str, index: u32, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        Self {
            name: name.to_owned(),
            index,
            netmask: match address {
                IpAddr::V4(_) => Ipv4Addr::new(255, 255, 255, 0).into(),
                IpAddr::V6(_) => Ipv6Addr::from(!0xff).into(),
            },
            is_loopback: address.is_loopback(),
            is_up: true,
            has_multicast: !address.is_loopback(),
            address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cards() -> Interfaces {
        Interfaces::of([
            Interface::example("lo", 1, "127.0.0.1"),
            Interface::example("eth0", 2, "10.0.0.1"),
            Interface::example("eth0", 2, "10.0.1.1"),
            Interface::example("eth1", 3, "10.1.0.1"),
            Interface::example("lo", 1, "::1"),
            Interface::example("eth0", 2, "fe80::7"),
            Interface::example("eth1", 3, "fe80::7"),
            Interface::example("eth1", 3, "fd00::1"),
        ])
    }

    #[test]
    fn text_is_parsed_to_a_choice() {
        let parse = |text: &str| text.parse::<InterfaceChoice>().map_err(|e| e.to_string());
        for text in ["default", "0.0.0.0", "::"] {
            assert_eq!(parse(text), Ok(InterfaceChoice::Default));
        }
        assert_eq!(parse("all"), Ok(InterfaceChoice::All));
        for text in ["10.1.2.3", "::1", "fd00::1"] {
            let address = text.parse().unwrap();
            assert_eq!(parse(text), Ok(InterfaceChoice::Address(address)));
        }
        assert_eq!(
            parse("fe80::1%eth0"),
            Ok(InterfaceChoice::Scoped(
                "fe80::1".parse().unwrap(),
                "eth0".into()
            ))
        );
        for text in ["eth0", "enp3s0.7"] {
            assert_eq!(parse(text), Ok(InterfaceChoice::Name(text.into())));
        }
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        for text in [
            "",
            "239.1.2.3",
            "255.255.255.255",
            "ff02::1",
            "ff02::1%eth0",
            "fe80::1%",
            "fe80::1%a/b",
            "10.0.0",
            "10.0.0.0/8",
            "fe80:::1",
            "eth0%1",
        ] {
            let error = text.parse::<InterfaceChoice>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
            assert!(error.contains("\"default\", \"all\""), "{error}");
        }
    }

    #[test]
    fn a_choice_reads_back_as_its_text() {
        for text in ["default", "all", "10.1.2.3", "::1", "fe80::1%eth0", "eth0"] {
            let choice: InterfaceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
    }

    #[test]
    fn a_choice_finds_its_interface_in_the_family_of_the_group() {
        let interfaces = two_cards();
        let find = |text: &str, family| {
            let choice = text.parse().unwrap();
            let found = interfaces
                .find(&choice, family)
                .map_err(|e| e.to_string())?;
            Ok::<_, String>(found.map(ToString::to_string).unwrap_or_default())
        };
        let found = |text: &str, family, want: &str| {
            assert_eq!(find(text, family).as_deref(), Ok(want), "{text}");
        };
        found("eth0", Family::V4, "eth0 (10.0.0.1)");
        found("eth0", Family::V6, "eth0 (fe80::7)");
        found("10.0.1.1", Family::V4, "eth0 (10.0.1.1)");
        found("10.0.1.1", Family::V6, "eth0 (fe80::7)");
        found("fe80::7%eth1", Family::V6, "eth1 (fe80::7)");
        found("fd00::1", Family::V6, "eth1 (fd00::1)");
        // Every address of the loopback interface's network is one of this machine.
        found("127.0.0.9", Family::V4, "lo (127.0.0.1)");
        found("127.0.0.1", Family::V6, "lo (::1)");
        found("all", Family::V4, "");
        for text in ["eth7", "10.0.0.2", "fe80::8%eth0"] {
            assert!(find(text, Family::V6).is_err(), "{text}");
        }
    }

    #[test]
    fn all_are_those_that_do_multicast_each_once() {
        let names = |family| -> Vec<String> {
            let interfaces = two_cards();
            let all = interfaces.that_do_multicast(family);
            all.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(Family::V4), ["eth0 (10.0.0.1)", "eth1 (10.1.0.1)"]);
        assert_eq!(names(Family::V6), ["eth0 (fe80::7)", "eth1 (fe80::7)"]);
        let mut tunnel = Interface::example("tun0", 4, "10.2.0.1");
        tunnel.has_multicast = false;
        let mut down = Interface::example("eth2", 5, "10.3.0.1");
        down.is_up = false;
        let unable = Interfaces::of([tunnel, down]);
        assert!(unable.that_do_multicast(Family::V4).is_empty());
        let texts = unable.describe_unable(Family::V4);
        assert!(
            texts[0].starts_with("tun0 (10.2.0.1) cannot do multicast"),
            "{texts:?}"
        );
        assert!(
            texts[1].starts_with("eth2 (10.3.0.1) is down (`ip link set eth2 up`"),
            "{texts:?}"
        );
    }

    #[test]
    fn loopback_is_found_by_address_and_by_name() {
        let interfaces = Interfaces::list().unwrap();
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let found = interfaces.loopback(Family::V4).unwrap();
        assert_eq!(found.address, loopback);
        assert!(found.cuts_joined_datagrams());
        for text in ["127.0.0.1", &found.name] {
            let choice = text.parse().unwrap();
            let by_text = interfaces.find(&choice, Family::V4).unwrap();
            assert_eq!(by_text, Some(found));
        }
    }

    #[test]
    fn a_virtual_link_does_not_cut_joined_datagrams() {
        assert!(!Interface::example("nosuch7", 77, "203.0.113.77").cuts_joined_datagrams());
    }

    #[test]
    fn what_is_not_there_is_named_beside_what_is() {
        let interfaces = two_cards();
        let error = |text: &str, family| {
            let choice = text.parse().unwrap();
            interfaces.find(&choice, family).unwrap_err().to_string()
        };
        // From the blocks for documentation: no machine has them.
        let text = error("203.0.113.77", Family::V4);
        assert!(text.contains("203.0.113.77"), "{text}");
        assert!(text.contains("(127.0.0.1), eth0 (10.0.0.1)"), "{text}");
        let text = error("2001:db8::77", Family::V6);
        assert!(text.contains("2001:db8::77"), "{text}");
        assert!(text.contains("(::1), eth0 (fe80::7)"), "{text}");
        let text = error("nosuch7", Family::V6);
        assert!(text.contains("`nosuch7`"), "{text}");
        assert!(text.contains("eth1 (fd00::1)"), "{text}");
    }
}
