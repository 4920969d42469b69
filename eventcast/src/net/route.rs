//! By which interface the system would send to an address.
//!
//! Contract: nothing is sent. `None` where there is no route, or the system does not answer: only
//! Linux does, and only where netlink sockets are allowed. The source address of a route, which
//! every system returns, may belong to another interface: that of a tunnel without an address of
//! its own does.

#[cfg(target_os = "linux")]
pub(super) use linux::egress;

#[cfg(not(target_os = "linux"))]
pub(super) fn egress(_to: std::net::IpAddr, _from: Option<std::net::IpAddr>) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{net::IpAddr, os::fd::AsRawFd};

    use nix::{
        libc,
        sys::socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
            socket,
        },
    };

    /// The headers of linux/netlink.h and linux/rtnetlink.h: `nlmsghdr`, `rtmsg` and `rtattr`.
    const MESSAGE_HEADER: usize = 16;
    const ROUTE_HEADER: usize = 12;
    const ATTRIBUTE_HEADER: usize = 4;

    /// An answer has some twenty numbers.
    const ANSWER: usize = 4096;

    /// The number of the interface by which the system would send to `to` from `from`.
    pub(in crate::net) fn egress(to: IpAddr, from: Option<IpAddr>) -> Option<u32> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        let netlink = socket(family, kind, flags, SockProtocol::NetlinkRoute).ok()?;
        let kernel = NetlinkAddr::new(0, 0);
        let question = question(to, from);
        sendto(netlink.as_raw_fd(), &question, &kernel, MsgFlags::empty()).ok()?;
        // The kernel answers within the same call.
        let mut answer = [0; ANSWER];
        let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
        interface_of(&answer[..len])
    }

    fn question(to: IpAddr, from: Option<IpAddr>) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let (family, bits) = match to {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        let from = from.filter(|from| from.is_ipv4() == to.is_ipv4());
        let source_bits = if from.is_some() { bits } else { 0 };
        let mut body = vec![family as u8, bits, source_bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let destination = [(libc::RTA_DST, octets(to))];
        let source = from.map(|from| (libc::RTA_SRC, octets(from)));
        for (kind, value) in destination.into_iter().chain(source) {
            body.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            // A multiple of four, as the next one has to begin at.
            body.extend(value);
        }
        let mut question = Vec::with_capacity(MESSAGE_HEADER + body.len());
        question.extend(((MESSAGE_HEADER + body.len()) as u32).to_ne_bytes());
        question.extend(libc::RTM_GETROUTE.to_ne_bytes());
        question.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
        // Sequence number and port of the request: there is but one.
        question.extend([0; 8]);
        question.extend(body);
        question
    }

    /// Reads the attribute `RTA_OIF` of an answer. `None`: it is an error, as where there is no
    /// route.
    fn interface_of(answer: &[u8]) -> Option<u32> {
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        if kind != libc::RTM_NEWROUTE {
            return None;
        }
        let mut rest = answer.get(MESSAGE_HEADER + ROUTE_HEADER..)?;
        loop {
            let len = u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?).into();
            let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
            let value = rest.get(ATTRIBUTE_HEADER..len)?;
            if kind == libc::RTA_OIF {
                return Some(u32::from_ne_bytes(value.try_into().ok()?));
            }
            rest = rest.get(len.next_multiple_of(4)..)?;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn loopback_leads_to_itself() {
            let lo = nix::net::if_::if_nametoindex("lo").unwrap();
            let address = IpAddr::from([127, 0, 0, 1]);
            assert_eq!(egress(address, None), Some(lo));
            assert_eq!(egress(address, Some(address)), Some(lo));
        }

        #[test]
        fn answers_that_are_cut_or_errors_name_no_interface() {
            let mut answer = vec![0; MESSAGE_HEADER + ROUTE_HEADER];
            answer[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
            answer.extend([5_u16.to_ne_bytes(), 15_u16.to_ne_bytes()].concat());
            answer.extend([0; 4]);
            answer.extend([8_u16.to_ne_bytes(), libc::RTA_OIF.to_ne_bytes()].concat());
            answer.extend(7_u32.to_ne_bytes());
            assert_eq!(interface_of(&answer), Some(7));
            for len in 0..answer.len() {
                assert_eq!(interface_of(&answer[..len]), None, "{len}");
            }
            // An attribute of no length must not be read for ever.
            let mut endless = answer.clone();
            endless[MESSAGE_HEADER + ROUTE_HEADER..][..2].fill(0);
            assert_eq!(interface_of(&endless), None);
            answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
            assert_eq!(interface_of(&answer), None);
        }
    }
}
