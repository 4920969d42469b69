//! Which interface: the choice as text, and its resolution to an address of this machine.
//!
//! Not responsible for joining or sending there (`open.rs`). IPv4 only, one interface a bus;
//! several at once and IPv6 are refused by name rather than taken for an interface's name.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::Arc,
};

use if_addrs::{IfAddr, Interface};

use super::error::InterfaceError;

/// The interface on which a bus joins its group and sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum InterfaceChoice {
    /// The one to which the system's route for the group points.
    #[default]
    Default,
    /// The one with this address.
    Address(Ipv4Addr),
    /// The one with this name; of several IPv4 addresses the first counts.
    Name(String),
}

impl FromStr for InterfaceChoice {
    type Err = InterfaceError;

    /// `default` or `0.0.0.0`, an IPv4 address, or the name of an interface. Whether it exists
    /// is found out when the sockets are opened.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let unsupported = |reason| InterfaceError::Unsupported {
            text: text.to_owned(),
            reason,
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return match address {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ok(Self::Default),
                IpAddr::V4(address) if address.is_multicast() || address.is_broadcast() => {
                    Err(unsupported("not the address of an interface"))
                }
                IpAddr::V4(address) => Ok(Self::Address(address)),
                IpAddr::V6(_) => Err(unsupported("an IPv6 address")),
            };
        }
        match text {
            "default" => Ok(Self::Default),
            "" => Err(unsupported("empty")),
            "all" => Err(unsupported("all interfaces at once")),
            // No system allows these in a name: most likely a mistyped address.
            _ if text.contains([':', '/', ' ']) => Err(unsupported("not a name")),
            _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                Err(unsupported("not an address"))
            }
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for InterfaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The IPv4 interfaces of this machine at one moment.
pub(super) struct Interfaces(Vec<Interface>);

impl Interfaces {
    pub(super) fn list() -> Result<Self, InterfaceError> {
        if_addrs::get_if_addrs()
            .map(Self)
            .map_err(|source| InterfaceError::List {
                source: Arc::new(source),
            })
    }

    /// The address that a choice stands for; `None`: the route decides.
    pub(super) fn resolve(
        &self,
        choice: &InterfaceChoice,
    ) -> Result<Option<Ipv4Addr>, InterfaceError> {
        match choice {
            InterfaceChoice::Default => Ok(None),
            InterfaceChoice::Address(address) if self.has(*address) => Ok(Some(*address)),
            InterfaceChoice::Address(address) => Err(InterfaceError::NotOurs {
                address: *address,
                existing: self.describe(),
            }),
            InterfaceChoice::Name(name) => self.by_name(name).map(Some),
        }
    }

    /// Whether an address is one of this machine. Every address of a loopback network is.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.ipv4().any(|(interface, own, netmask)| {
            own == address || interface.is_loopback() && own & netmask == address & netmask
        })
    }

    /// The name of the interface that has an address.
    pub(super) fn name_of(&self, address: Ipv4Addr) -> Option<&str> {
        self.ipv4()
            .find(|(_, own, _)| *own == address)
            .map(|(interface, ..)| interface.name.as_str())
    }

    /// The address of the loopback interface.
    pub(super) fn loopback(&self) -> Option<Ipv4Addr> {
        self.ipv4()
            .find(|(interface, ..)| interface.is_loopback())
            .map(|(_, own, _)| own)
    }

    /// Whether datagrams that leave from `address` may be handed to the kernel joined together.
    ///
    /// A card, or the kernel just before it, cuts them apart, and so does the loopback interface
    /// for those who read there. A virtual link hands them on as they are to whatever stands at
    /// its other end; a capture or a bridge in user space then sees one packet beyond the MTU.
    pub(super) fn cuts_joined_datagrams(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.name_of(address).is_some_and(is_card)
    }

    /// All IPv4 interfaces as `name (address)`, for errors.
    pub(super) fn describe(&self) -> Vec<String> {
        self.ipv4().map(Self::text).collect()
    }

    /// Those that lead off this machine, as `name (address)`.
    pub(super) fn describe_outer(&self) -> Vec<String> {
        self.ipv4()
            .filter(|(interface, ..)| !interface.is_loopback())
            .map(Self::text)
            .collect()
    }

    fn by_name(&self, name: &str) -> Result<Ipv4Addr, InterfaceError> {
        if let Some((_, own, _)) = self.ipv4().find(|(interface, ..)| interface.name == name) {
            return Ok(own);
        }
        let (name, existing) = (name.to_owned(), self.describe());
        Err(if self.exists(&name) {
            InterfaceError::NoIpv4 { name, existing }
        } else {
            InterfaceError::NoSuchName { name, existing }
        })
    }

    /// Whether there is such an interface, with or without an address.
    fn exists(&self, name: &str) -> bool {
        #[cfg(unix)]
        if nix::net::if_::if_nametoindex(name).is_ok() {
            return true;
        }
        self.0.iter().any(|interface| interface.name == name)
    }

    fn ipv4(&self) -> impl Iterator<Item = (&Interface, Ipv4Addr, Ipv4Addr)> {
        self.0.iter().filter_map(|interface| match &interface.addr {
            IfAddr::V4(v4) => Some((interface, v4.ip, v4.netmask)),
            IfAddr::V6(_) => None,
        })
    }

    fn text((interface, own, _): (&Interface, Ipv4Addr, Ipv4Addr)) -> String {
        format!("{} ({own})", interface.name)
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
mod tests {
    use super::*;

    #[test]
    fn text_is_parsed_to_a_choice() {
        let parse = |text: &str| text.parse::<InterfaceChoice>().map_err(|e| e.to_string());
        assert_eq!(parse("default"), Ok(InterfaceChoice::Default));
        assert_eq!(parse("0.0.0.0"), Ok(InterfaceChoice::Default));
        assert_eq!(
            parse("10.1.2.3"),
            Ok(InterfaceChoice::Address(Ipv4Addr::new(10, 1, 2, 3)))
        );
        assert_eq!(parse("eth0"), Ok(InterfaceChoice::Name("eth0".into())));
        assert_eq!(
            parse("enp3s0.7"),
            Ok(InterfaceChoice::Name("enp3s0.7".into()))
        );
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        for text in [
            "all",
            "::1",
            "fe80::1%eth0",
            "",
            "239.1.2.3",
            "10.0.0",
            "10.0.0.0/8",
        ] {
            let error = text.parse::<InterfaceChoice>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
            assert!(error.contains("\"default\", an IPv4 address"), "{error}");
        }
    }

    #[test]
    fn a_choice_reads_back_as_its_text() {
        for text in ["default", "10.1.2.3", "eth0"] {
            let choice: InterfaceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
    }

    #[test]
    fn loopback_is_found_by_address_and_by_name() {
        let interfaces = Interfaces::list().unwrap();
        let loopback = Ipv4Addr::LOCALHOST;
        assert_eq!(interfaces.loopback(), Some(loopback));
        let by_address = interfaces.resolve(&InterfaceChoice::Address(loopback));
        assert_eq!(by_address.unwrap(), Some(loopback));
        let name = interfaces.name_of(loopback).unwrap().to_owned();
        let by_name = interfaces.resolve(&InterfaceChoice::Name(name));
        assert_eq!(by_name.unwrap(), Some(loopback));
    }

    #[test]
    fn loopback_cuts_joined_datagrams_and_no_interface_does_not() {
        let interfaces = Interfaces::list().unwrap();
        assert!(interfaces.cuts_joined_datagrams(Ipv4Addr::LOCALHOST));
        assert!(!interfaces.cuts_joined_datagrams(Ipv4Addr::new(203, 0, 113, 77)));
    }

    #[test]
    fn what_is_not_there_is_named_beside_what_is() {
        let interfaces = Interfaces::list().unwrap();
        // From the block for documentation: nobody has it.
        let address = InterfaceChoice::Address(Ipv4Addr::new(203, 0, 113, 77));
        let error = interfaces.resolve(&address).unwrap_err().to_string();
        assert!(error.contains("203.0.113.77"), "{error}");
        assert!(error.contains("(127.0.0.1)"), "{error}");

        let name = InterfaceChoice::Name("nosuch7".into());
        let error = interfaces.resolve(&name).unwrap_err().to_string();
        assert!(error.contains("`nosuch7`"), "{error}");
        assert!(error.contains("(127.0.0.1)"), "{error}");
    }
}
