//! One datagram for each interface (WIRE.md section 2): alike, except for the address of the
//! sender.
//!
//! A datagram that the queue returns for the group is kept here until every interface has had its
//! copy. The datagrams are written with the longest of the addresses, so that their measured length
//! holds for all; here each copy gets its own address. Only the outer metadata is changed: the
//! content of a chunk is the same for all interfaces.
//!
//! A bus with one interface does not use this: its datagrams pass as they are.

use std::{net::IpAddr, sync::Arc};

use crate::proto::{
    config::Host,
    send::outgoing::{Destination, Transmit},
    wire::put_host,
};

/// What goes out by several interfaces.
#[derive(Default)]
pub(in crate::proto) struct FanOut {
    /// The interfaces, each with its address as text; empty where there is one alone.
    hosts: Vec<(u32, Arc<str>)>,
    /// The interfaces that still lack the datagram, the next one last.
    left: Vec<(u32, Arc<str>)>,
    /// What is being sent, as the queue gave it.
    batch: Vec<u8>,
    segment_size: Option<usize>,
    datagrams: usize,
}

impl FanOut {
    /// From now on these are the interfaces. What is being sent still goes to those of them that
    /// were there before.
    pub(in crate::proto) fn set_hosts(&mut self, hosts: &[Host]) {
        self.hosts.clear();
        if hosts.len() > 1 {
            let texts = hosts
                .iter()
                .map(|host| (host.interface, host.address.to_string().into()));
            self.hosts.extend(texts);
        }
        self.left
            .retain(|(id, _)| hosts.iter().any(|host| host.interface == *id));
    }

    /// Whether an interface still lacks the current datagram.
    #[inline]
    pub(in crate::proto) fn is_pending(&self) -> bool {
        !self.left.is_empty()
    }

    /// Bytes that wait here.
    pub(in crate::proto) fn queued(&self) -> usize {
        self.batch.len() * self.left.len()
    }

    /// Takes what the queue put into `buf`, and leaves there what goes first.
    #[inline]
    pub(in crate::proto) fn begin(
        &mut self,
        transmit: Transmit,
        datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> (Transmit, usize) {
        if self.hosts.is_empty() || transmit.to != Destination::Group {
            return (transmit, datagrams);
        }
        std::mem::swap(&mut self.batch, buf);
        self.segment_size = transmit.segment_size;
        self.datagrams = datagrams;
        self.left.extend(self.hosts.iter().rev().cloned());
        self.next(buf).unwrap_or((transmit, datagrams))
    }

    /// Puts what goes by the next interface into `buf`.
    pub(in crate::proto) fn next(&mut self, buf: &mut Vec<u8>) -> Option<(Transmit, usize)> {
        let (interface, host) = self.left.pop()?;
        buf.clear();
        let size = self.segment_size.unwrap_or(self.batch.len());
        let mut first = None;
        for datagram in self.batch.chunks(size.max(1)) {
            let start = buf.len();
            put_host(datagram, &host, buf);
            first.get_or_insert(buf.len() - start);
        }
        let transmit = Transmit {
            to: Destination::Group,
            interface: Some(interface),
            segment_size: self.segment_size.and(first),
        };
        Some((transmit, self.datagrams))
    }
}

/// The address that takes most room in metadata.
pub(in crate::proto) fn longest(hosts: &[Host]) -> Option<IpAddr> {
    let addresses = hosts.iter().map(|host| host.address);
    addresses.max_by_key(|address| address.to_string().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::{Datagram, Head, Template, TimeWriter};

    fn hosts(addresses: &[&str]) -> Vec<Host> {
        let hosts = (10..).zip(addresses);
        hosts
            .map(|(interface, address)| Host::new(interface, address.parse().unwrap()))
            .collect()
    }

    fn datagram(name: &str, host: &str, payload: &[u8]) -> Vec<u8> {
        let template = Template::new(host.parse().unwrap(), 9, "h", "id", Some(7));
        let mut datagram = Vec::new();
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: b"0123456789012345678901234567890123456789",
            name,
            time: &TimeWriter::new().write(0),
            number: Some(3),
            schema: None,
        };
        template.write(&head, &mut datagram);
        datagram.extend_from_slice(payload);
        datagram
    }

    fn group(segment_size: Option<usize>) -> Transmit {
        Transmit {
            to: Destination::Group,
            interface: None,
            segment_size,
        }
    }

    #[test]
    fn each_interface_gets_the_same_but_for_the_host() {
        let mut fan_out = FanOut::default();
        let addresses = ["10.0.0.1", "192.168.178.200", "fe80::1"];
        fan_out.set_hosts(&hosts(&addresses));
        let written = |host: &str| {
            let mut all = datagram("name", host, &[1; 50]);
            let len = all.len();
            all.extend(datagram("name", host, &[2; 50]));
            all.extend(datagram("name", host, b"short"));
            (all, len)
        };
        let (mut buf, len) = written("192.168.178.200");
        let (mut transmit, mut count) = fan_out.begin(group(Some(len)), 3, &mut buf);
        for (interface, address) in (10..).zip(addresses) {
            let (want, len) = written(address);
            assert_eq!(buf, want, "{address}");
            assert_eq!(transmit.interface, Some(interface));
            assert_eq!((transmit.segment_size, count), (Some(len), 3));
            for one in buf.chunks(len) {
                Datagram::parse(one).expect("its lengths are right");
            }
            if let Some(next) = fan_out.next(&mut buf) {
                (transmit, count) = next;
            }
        }
        assert!(!fan_out.is_pending());
        assert_eq!(fan_out.queued(), 0);
    }

    #[test]
    fn one_interface_and_one_peer_are_left_alone() {
        let original = datagram("name", "10.0.0.1", b"x");
        let peer = Transmit {
            to: Destination::Peer(([10, 0, 0, 9], 9).into()),
            ..group(None)
        };
        for (addresses, transmit) in [
            (&["10.0.0.7"][..], group(None)),
            (&[], group(None)),
            (&["10.0.0.7", "10.0.0.8"], peer),
        ] {
            let mut fan_out = FanOut::default();
            fan_out.set_hosts(&hosts(addresses));
            let mut buf = original.clone();
            assert_eq!(fan_out.begin(transmit, 1, &mut buf), (transmit, 1));
            assert_eq!(buf, original);
            assert!(!fan_out.is_pending());
        }
    }

    #[test]
    fn what_has_no_host_passes_as_it_is() {
        let mut fan_out = FanOut::default();
        fan_out.set_hosts(&hosts(&["10.0.0.7", "10.0.0.8"]));
        let sealed = {
            let mut bytes = datagram("__ec_sealed", "10.0.0.1", b"box");
            let at = bytes.windows(8).position(|w| w == b"10.0.0.1").unwrap();
            bytes.drain(at..at + 8);
            bytes[at - 4] = 1;
            bytes
        };
        for original in [vec![], vec![0; 30], vec![0xff; 200], sealed] {
            let mut buf = original.clone();
            fan_out.begin(group(None), 1, &mut buf);
            assert_eq!(buf, original);
            fan_out.next(&mut buf).unwrap();
            assert_eq!(buf, original);
        }
    }

    #[test]
    fn interfaces_that_go_meanwhile_are_left_out_and_the_others_are_served() {
        let mut fan_out = FanOut::default();
        let three = hosts(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        fan_out.set_hosts(&three);
        let mut buf = datagram("name", "10.0.0.1", b"x");
        let len = buf.len();
        let (first, _) = fan_out.begin(group(None), 1, &mut buf);
        assert_eq!(first.interface, Some(10));
        assert_eq!(fan_out.queued(), 2 * len);
        fan_out.set_hosts(&[three[0], three[2]]);
        let (next, _) = fan_out.next(&mut buf).unwrap();
        assert_eq!(next.interface, Some(12));
        assert_eq!(buf, datagram("name", "10.0.0.3", b"x"));
        assert!(fan_out.next(&mut buf).is_none());
    }
}
