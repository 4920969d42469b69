//! The multicast group as text: an address, and for IPv6 the interface to which it belongs.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

/// A multicast group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupAddress {
    pub(crate) address: IpAddr,
    /// The name or the number of an interface, as in `ff02::1234%eth0` (RFC 4007, section 11).
    pub(crate) zone: Option<String>,
}

impl GroupAddress {
    /// All hosts of the local network.
    pub(super) const DEFAULT: Self = Self {
        address: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
        zone: None,
    };

    /// `None`: this is no multicast group.
    pub(in crate::bus) fn parse(text: &str) -> Option<Self> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let zone_fits = match zone {
            None => true,
            Some(zone) => address.is_ipv6() && is_zone(zone),
        };
        (address.is_multicast() && zone_fits).then(|| Self {
            address,
            zone: zone.map(str::to_owned),
        })
    }
}

fn is_zone(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || matches!(c, '%' | '/' | ':' | ' ');
    !text.is_empty() && !text.contains(is_odd)
}

impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.address),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_families_and_their_zones() {
        for text in [
            "224.0.0.1",
            "239.255.255.255",
            "ff02::1234",
            "ff02::1234%eth0",
            "ff05::1%2",
            "ff0e::1",
        ] {
            let group = GroupAddress::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(group.to_string(), text);
        }
        for text in [
            "",
            "10.0.0.1",
            "fe80::1",
            "::",
            "224.0.0.1%eth0",
            "ff02::1%",
            "ff02::1%a b",
            "ff02::1%a%b",
            "[ff02::1]",
            "ff02::1:9000/16",
        ] {
            assert_eq!(GroupAddress::parse(text), None, "{text}");
        }
    }
}
