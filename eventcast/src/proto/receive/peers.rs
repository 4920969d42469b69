//! The senders: one [`Peer`] for each address, shared by all its messages.

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::{Index, IndexMut},
    sync::Arc,
    time::Duration,
};

use crate::proto::{
    hash::HashKey,
    rate::RateWindow,
    receive::{peer::Peer, streams::StreamRef},
    repair::validation::{MAX_CREDIT, TIMES},
    wire::Identity,
};

/// How many addresses are remembered. Beyond that the ones not heard for longest are removed, which
/// costs them a new [`Peer`] when they send again, and nothing else.
pub(in crate::proto) const MAX_PEERS: usize = 4096;

/// How a sender stands to this bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Relation {
    /// Another sender.
    Other,
    /// This bus itself: its own datagram came back.
    Echo,
    /// Another bus with the same id.
    Namesake,
}

/// What is remembered of an address.
pub(in crate::proto) struct Known {
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) relation: Relation,
    /// [`Identity::raw`] of the last datagram that had it; empty if none had.
    pub(in crate::proto) raw: Vec<u8>,
    /// The stream of the peer, once looked up.
    pub(in crate::proto) stream: Option<StreamRef>,
    /// How often new streams began here.
    pub(in crate::proto) streams_opened: RateWindow,
    /// The 8 bytes under which its datagrams are sealed, once they were found to be its own.
    pub(in crate::proto) sealed_as: Option<[u8; 8]>,
    /// Bytes that have come from here since a request was last answered.
    pub(in crate::proto) received: u64,
    /// When a token was last sent here.
    pub(in crate::proto) token_sent: Option<Duration>,
    /// The token that has come from here last, to be put into requests.
    pub(in crate::proto) token: Option<u64>,
    /// Heard again since the clock hand last passed.
    heard: bool,
}

impl Known {
    /// Takes so many bytes out of what may be sent here for what has come, where the IP address has
    /// no budget of its own. `false`: not enough has come.
    pub(in crate::proto) fn pay(&mut self, bytes: u64) -> bool {
        let received = self.received.min(MAX_CREDIT / TIMES);
        let rest = received.checked_sub(bytes.div_ceil(TIMES));
        self.received = rest.unwrap_or(received);
        rest.is_some()
    }
}

/// The place of a [`Known`], for as long as no other address is looked up.
#[derive(Clone, Copy)]
pub(in crate::proto) struct KnownAt(usize);

impl Index<KnownAt> for Peers {
    type Output = Known;

    fn index(&self, at: KnownAt) -> &Known {
        &self.known[at.0]
    }
}

impl IndexMut<KnownAt> for Peers {
    fn index_mut(&mut self, at: KnownAt) -> &mut Known {
        &mut self.known[at.0]
    }
}

/// The peers by address.
pub(in crate::proto) struct Peers {
    own_id: String,
    own_incarnation: u64,
    by_address: HashMap<SocketAddr, usize, HashKey>,
    known: Vec<Known>,
    /// The next one to remove when there is no room, unless it was heard meanwhile.
    hand: usize,
    /// The address heard last: usually the next one too.
    last: Option<(SocketAddr, usize)>,
}

impl Peers {
    pub(in crate::proto) fn new(own_id: String, own_incarnation: u64, key: HashKey) -> Self {
        Self {
            own_id,
            own_incarnation,
            by_address: HashMap::with_hasher(key),
            known: Vec::new(),
            hand: 0,
            last: None,
        }
    }

    /// What was last heard from an address, and its place.
    #[inline]
    pub(in crate::proto) fn get(&mut self, from: SocketAddr) -> Option<(KnownAt, &mut Known)> {
        let index = match self.last {
            Some((last, index)) if last == from => index,
            _ => *self.by_address.get(&from)?,
        };
        self.last = Some((from, index));
        let known = &mut self.known[index];
        known.heard = true;
        Some((KnownAt(index), known))
    }

    /// The peer that describes itself so, remembered for its address, and its place.
    pub(in crate::proto) fn resolve(
        &mut self,
        from: SocketAddr,
        identity: &Identity<'_>,
    ) -> (KnownAt, &mut Known) {
        let index = match self.by_address.get(&from) {
            Some(&index) => {
                self.known[index].heard = true;
                index
            }
            None => self.admit(from, identity),
        };
        let relation = self.relation(identity);
        let known = &mut self.known[index];
        if !known.peer.is(identity) {
            known.peer = Arc::new(new_peer(from, identity));
            known.relation = relation;
            known.stream = None;
        }
        let raw = identity.raw.unwrap_or_default();
        if known.raw != raw {
            known.raw.clear();
            known.raw.extend_from_slice(raw);
        }
        self.last = Some((from, index));
        (KnownAt(index), known)
    }

    fn relation(&self, identity: &Identity<'_>) -> Relation {
        if identity.id != self.own_id {
            return Relation::Other;
        }
        match identity.incarnation {
            Some(incarnation) if incarnation != self.own_incarnation => Relation::Namesake,
            _ => Relation::Echo,
        }
    }

    fn admit(&mut self, from: SocketAddr, identity: &Identity<'_>) -> usize {
        let known = Known {
            peer: Arc::new(new_peer(from, identity)),
            relation: self.relation(identity),
            raw: Vec::new(),
            stream: None,
            streams_opened: RateWindow::default(),
            sealed_as: None,
            received: 0,
            token_sent: None,
            token: None,
            // A sender of a single datagram is removed first.
            heard: false,
        };
        let index = if self.known.len() < MAX_PEERS {
            self.known.push(known);
            self.known.len() - 1
        } else {
            while std::mem::take(&mut self.known[self.hand].heard) {
                self.hand = (self.hand + 1) % MAX_PEERS;
            }
            let index = self.hand;
            self.hand = (self.hand + 1) % MAX_PEERS;
            self.by_address.remove(&self.known[index].peer.address);
            self.known[index] = known;
            index
        };
        self.by_address.insert(from, index);
        index
    }
}

fn new_peer(from: SocketAddr, identity: &Identity<'_>) -> Peer {
    Peer {
        id: identity.id.to_owned(),
        incarnation: identity.incarnation,
        hostname: identity.hostname.to_owned(),
        host: identity.host.to_owned(),
        port: identity.port,
        address: from,
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn peers() -> Peers {
        Peers::new(
            "own".to_owned(),
            7,
            HashKey::random(&mut StdRng::from_seed([1; 32])),
        )
    }

    fn address(i: usize) -> SocketAddr {
        ([127, 0, (i >> 8) as u8, i as u8], 9000).into()
    }

    fn identity<'a>(id: &'a str, incarnation: Option<u64>, raw: &'a [u8]) -> Identity<'a> {
        Identity {
            host: "h",
            port: 1,
            hostname: "n",
            id,
            incarnation,
            raw: Some(raw),
        }
    }

    #[test]
    fn one_peer_while_it_stays_the_same() {
        let mut peers = peers();
        let first = Arc::clone(
            &peers
                .resolve(address(1), &identity("a", Some(1), b"x"))
                .1
                .peer,
        );
        assert!(Arc::ptr_eq(
            &first,
            &peers
                .resolve(address(1), &identity("a", Some(1), b"x"))
                .1
                .peer
        ));
        assert!(Arc::ptr_eq(&first, &peers.get(address(1)).unwrap().1.peer));
        let restarted = Arc::clone(
            &peers
                .resolve(address(1), &identity("a", Some(2), b"y"))
                .1
                .peer,
        );
        assert_eq!(restarted.incarnation, Some(2));
        assert_eq!(peers.get(address(1)).unwrap().1.raw, b"y");
        assert!(!Arc::ptr_eq(
            &restarted,
            &peers
                .resolve(address(2), &identity("a", Some(2), b"y"))
                .1
                .peer
        ));
    }

    #[test]
    fn a_peer_with_the_own_id_and_incarnation_is_an_echo() {
        let mut peers = peers();
        for (id, incarnation, relation) in [
            ("own", Some(7), Relation::Echo),
            ("own", None, Relation::Echo),
            ("own", Some(8), Relation::Namesake),
            ("other", Some(7), Relation::Other),
            ("other", None, Relation::Other),
        ] {
            assert_eq!(
                peers
                    .resolve(address(1), &identity(id, incarnation, b""))
                    .1
                    .relation,
                relation
            );
        }
    }

    #[test]
    fn strangers_do_not_fill_memory_nor_push_out_who_speaks() {
        let mut peers = peers();
        let speaker = Arc::clone(&peers.resolve(address(0), &identity("a", None, b"")).1.peer);
        for i in 1..3 * MAX_PEERS {
            peers.resolve(address(i), &identity("s", None, b""));
            if i % 1000 == 0 {
                assert!(
                    Arc::ptr_eq(&speaker, &peers.get(address(0)).unwrap().1.peer),
                    "{i}"
                );
            }
        }
        assert_eq!(peers.known.len(), MAX_PEERS);
        assert_eq!(peers.by_address.len(), MAX_PEERS);
        assert!(peers.get(address(1)).is_none());
        for i in 2 * MAX_PEERS..3 * MAX_PEERS {
            if let Some((_, known)) = peers.get(address(i)) {
                assert_eq!(known.peer.address, address(i));
            }
        }
    }
}
