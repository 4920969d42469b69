//! The IPv6 addresses of this machine as Linux shows them in a file, which also says in what state
//! they are.
//!
//! A new IPv6 address is tentative for a second or two, while the kernel asks the link whether
//! another machine has it (duplicate address detection, RFC 4862, section 5.4). Until then nothing
//! can be sent from it, and the system says "cannot assign requested address".
//!
//! Contract: an empty list where the system has no such file, or does not show it.

use std::net::Ipv6Addr;

/// The flags of linux/if_addr.h.
const DUPLICATE: u32 = 0x08;
const TENTATIVE: u32 = 0x40;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inet6Address {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) address: Ipv6Addr,
    prefix_len: u32,
    flags: u32,
}

/// Whether an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressState {
    Ready,
    /// Duplicate address detection is under way.
    Tentative,
    /// Another machine has it.
    Duplicate,
}

impl Inet6Address {
    pub(super) fn netmask(&self) -> Ipv6Addr {
        let host_bits = 128_u32.saturating_sub(self.prefix_len);
        Ipv6Addr::from(u128::MAX.checked_shl(host_bits).unwrap_or(0))
    }

    pub(super) fn state(&self) -> AddressState {
        if self.flags & DUPLICATE != 0 {
            AddressState::Duplicate
        } else if self.flags & TENTATIVE != 0 {
            AddressState::Tentative
        } else {
            AddressState::Ready
        }
    }

    /// A line: address, number of the interface, length of the prefix, scope and flags, all in hex,
    /// and the name.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let mut number = || u32::from_str_radix(words.next()?, 16).ok();
        let (index, prefix_len, _scope, flags) = (number()?, number()?, number()?, number()?);
        Some(Self {
            name: words.next()?.to_owned(),
            index,
            address: address.into(),
            prefix_len,
            flags,
        })
    }
}

/// All there are, in the network namespace of this thread.
pub(super) fn addresses() -> Vec<Inet6Address> {
    #[cfg(target_os = "linux")]
    let text = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    let text = String::new();
    text.lines().filter_map(Inet6Address::parse).collect()
}

/// An address that keeps an interface from being used although it is there: `address` if it is
/// given, else any of that interface. `None`: it is not for this that the system refuses.
pub(super) fn unready(index: u32, address: Option<Ipv6Addr>) -> Option<Inet6Address> {
    let mut unready: Vec<_> = addresses()
        .into_iter()
        .filter(|one| match address {
            Some(address) => one.address == address,
            None => one.index == index,
        })
        .filter(|one| one.state() != AddressState::Ready)
        .collect();
    // One that will be ready soon is the better explanation than one that never will be.
    unready.sort_by_key(|one| one.state() == AddressState::Duplicate);
    unready.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "fe80000000000000b4c8d0fffe1a2b3c 0b 40 20 c0       a0";
        let one = Inet6Address::parse(line).unwrap();
        assert_eq!(
            one.address,
            "fe80::b4c8:d0ff:fe1a:2b3c".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!((one.name.as_str(), one.index), ("a0", 11));
        assert_eq!(
            one.netmask(),
            "ffff:ffff:ffff:ffff::".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(one.state(), AddressState::Tentative);
        for (flags, state) in [
            ("80", AddressState::Ready),
            ("84", AddressState::Ready),
            ("c8", AddressState::Duplicate),
        ] {
            let line = format!("00000000000000000000000000000001 01 80 10 {flags}       lo");
            assert_eq!(Inet6Address::parse(&line).unwrap().state(), state);
        }
        for line in ["", "fe80", "x 1 2 3 4 a0", "00 1 2 3 4"] {
            assert_eq!(Inet6Address::parse(line), None, "{line:?}");
        }
    }
}
