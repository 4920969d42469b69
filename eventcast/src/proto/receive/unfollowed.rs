//! How far senders were received that have no stream.
//!
//! Responsible for the numbers that were delivered without a stream, so that one that begins later
//! does not deliver them again, nor misses them. They are kept by sender and address, since anybody
//! can send in a sender's name, and apart from [`Peers`](super::peers), which forgets addresses
//! where there are more senders than streams.

use std::collections::{HashMap, VecDeque};

use crate::proto::{hash::HashKey, receive::peer::Peer};

/// How many senders are remembered: as many as of which the streams were dropped.
const MAX_SENDERS: usize = 65_536;

/// How many that were heard since the last look are passed over to find one to forget.
const FEW: usize = 8;

struct Entry {
    /// The number after the highest one that was delivered.
    next: u64,
    /// Heard again since it was last looked at.
    heard: bool,
    /// Tells it from an earlier entry of the same sender.
    generation: u64,
}

pub(in crate::proto) struct Unfollowed {
    senders: HashMap<u64, Entry, HashKey>,
    /// All entries, the next to be forgotten first, and some that are not there any more.
    order: VecDeque<(u64, u64)>,
    next_generation: u64,
    key: HashKey,
}

impl Unfollowed {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            senders: HashMap::with_hasher(key),
            order: VecDeque::new(),
            next_generation: 0,
            key,
        }
    }

    /// Notes that a number is delivered although its sender has no stream.
    pub(in crate::proto) fn note(&mut self, peer: &Peer, number: u64) {
        let (hash, next) = (self.hash(peer), number.saturating_add(1));
        if let Some(entry) = self.senders.get_mut(&hash) {
            entry.next = entry.next.max(next);
            entry.heard = true;
            return;
        }
        if self.order.len() >= MAX_SENDERS {
            self.forget_one();
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let entry = Entry {
            next,
            heard: false,
            generation,
        };
        self.senders.insert(hash, entry);
        self.order.push_back((hash, generation));
    }

    /// The stream of a sender begins: gives the number after the highest one that was delivered
    /// before, if any was.
    pub(in crate::proto) fn take(&mut self, peer: &Peer) -> Option<u64> {
        let entry = self.senders.remove(&self.hash(peer))?;
        Some(entry.next)
    }

    fn forget_one(&mut self) {
        for look in 0..=FEW {
            let Some((hash, generation)) = self.order.pop_front() else {
                return;
            };
            match self.senders.get_mut(&hash) {
                Some(entry) if entry.generation == generation => {
                    if look == FEW || !std::mem::take(&mut entry.heard) {
                        self.senders.remove(&hash);
                        return;
                    }
                    self.order.push_back((hash, generation));
                }
                // It has a stream, or had one since.
                _ => return,
            }
        }
    }

    fn hash(&self, peer: &Peer) -> u64 {
        let incarnation = peer.incarnation.unwrap_or_default().to_le_bytes();
        let ip = match peer.address.ip() {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            std::net::IpAddr::V6(v6) => v6,
        };
        let port = peer.address.port().to_le_bytes();
        self.key
            .hash(&[peer.id.as_bytes(), &incarnation, &ip.octets(), &port])
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn unfollowed() -> Unfollowed {
        Unfollowed::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn peer(id: &str, incarnation: u64, address: impl Into<SocketAddr>) -> Peer {
        Peer {
            id: id.to_owned(),
            incarnation: Some(incarnation),
            hostname: String::new(),
            host: String::new(),
            port: 1,
            address: address.into(),
        }
    }

    #[test]
    fn what_was_delivered_unfollowed_stays_so_whatever_else_is_said() {
        let mut unfollowed = unfollowed();
        let at = ([127, 0, 0, 1], 9000);
        unfollowed.note(&peer("a", 1, at), 7);
        unfollowed.note(&peer("a", 1, at), 5);
        let moved = Peer {
            host: "elsewhere".to_owned(),
            ..peer("a", 1, at)
        };
        // Neither another incarnation or sender, nor somebody else in its name.
        for other in [
            peer("a", 2, at),
            peer("b", 1, at),
            peer("a", 1, ([127, 0, 0, 1], 9001)),
            peer("a", 1, ([127, 0, 0, 2], 9000)),
        ] {
            assert_eq!(unfollowed.take(&other), None);
        }
        assert_eq!(unfollowed.take(&moved), Some(8));
        assert_eq!(unfollowed.take(&moved), None, "it has a stream");
    }

    #[test]
    fn strangers_do_not_fill_memory_nor_push_out_who_speaks() {
        let mut unfollowed = unfollowed();
        let at = ([127, 0, 0, 1], 9000);
        for i in 0..3 * MAX_SENDERS as u64 {
            unfollowed.note(&peer("s", i, at), 1);
            if i % 1_000 == 0 {
                unfollowed.note(&peer("a", 1, at), i + 1);
            }
            if i % 3 == 0 {
                assert_eq!(unfollowed.take(&peer("s", i, at)), Some(2));
            }
            assert!(unfollowed.order.len() <= MAX_SENDERS);
        }
        assert!(unfollowed.senders.len() <= MAX_SENDERS);
        let last = 3 * MAX_SENDERS as u64 - 1;
        assert_eq!(
            unfollowed.take(&peer("a", 1, at)),
            Some(last / 1_000 * 1_000 + 2)
        );
        assert_eq!(unfollowed.take(&peer("s", last, at)), Some(2));
        assert_eq!(unfollowed.take(&peer("s", 1, at)), None);
    }
}
