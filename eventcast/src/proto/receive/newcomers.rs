//! The buses that this one has discovered lately, and the first number that each is owed: this
//! bus's hello announces both (WIRE.md section 7).
//!
//! A bus that was just discovered may miss everything that is sent before it discovers this one in
//! turn. Only this bus knows what that was, so its hello names the newcomer with the first number
//! that was sent after the discovery. Not responsible for what a newcomer does with it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::proto::{
    hash::HashKey,
    receive::{
        shares::Shares,
        streams::{Presence, StreamRef, Streams},
    },
    wire::control::{MAX_OWED, OWED_AT_ALL, OWED_COST},
};

/// Most newcomers that are kept. Beyond that the oldest of the IP address with most of them is
/// removed, which was named most often: so a sender of many made-up newcomers pushes out none of
/// others.
const MAX_NEWCOMERS: usize = 256;

/// How long a newcomer is named: as long as a network may take until it carries the group to a
/// receiver that has just joined.
pub(in crate::proto) const NAMED_FOR: Duration = Duration::from_secs(60);

/// Most newcomers of one IP address that one hello names while there are others, so that made-up
/// ones keep none out.
const MAX_OF_ONE_IP: usize = 2;

/// So many are named whatever room there is: a hello without room for any would name none. It stays
/// shorter than the datagram of a slice.
const NAMED_AT_LEAST: usize = 4;

/// A bus that is named in a hello, and the first number that it is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Named {
    pub(in crate::proto) id: String,
    pub(in crate::proto) incarnation: u64,
    pub(in crate::proto) number: u64,
}

pub(in crate::proto) struct Newcomers {
    /// By the number of the stream, which grows: the oldest first.
    list: BTreeMap<u64, Newcomer>,
    /// Their address.
    shares: Shares,
    /// A bus was discovered since the last hello.
    is_unsaid: bool,
}

struct Newcomer {
    stream: StreamRef,
    address: SocketAddr,
    heard: Duration,
    number: u64,
    /// How often it was named.
    said: u32,
}

impl Newcomers {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            list: BTreeMap::new(),
            shares: Shares::new(key),
            is_unsaid: false,
        }
    }

    /// Notes a bus that was discovered, to which everything from this number on is owed.
    pub(in crate::proto) fn add(
        &mut self,
        now: Duration,
        stream: StreamRef,
        address: SocketAddr,
        number: u64,
    ) {
        if self.list.len() >= MAX_NEWCOMERS {
            self.make_room(address);
        }
        let newcomer = Newcomer {
            stream,
            address,
            heard: now,
            number,
            said: 0,
        };
        if self.list.insert(stream.id(), newcomer).is_none() {
            self.shares.add(address, stream.id(), 0);
        }
        self.is_unsaid = true;
    }

    /// Drops the oldest of the address that has most.
    fn make_room(&mut self, newcomer: SocketAddr) {
        let oldest_of = |entries: &BTreeMap<u64, usize>| entries.keys().next().copied();
        let oldest = match self.shares.fullest(newcomer) {
            Some(addresses) => addresses.filter_map(oldest_of).min(),
            None => self.shares.nearest(newcomer).and_then(oldest_of),
        };
        // Where all have as few, the oldest of all goes.
        let oldest = oldest.or_else(|| self.list.keys().next().copied());
        if let Some(oldest) = oldest
            && let Some(gone) = self.list.remove(&oldest)
        {
            self.shares.remove(gone.address, oldest);
        }
    }

    /// Whether a bus was discovered since the last hello.
    #[inline]
    pub(in crate::proto) fn is_unsaid(&self) -> bool {
        self.is_unsaid
    }

    /// The newcomers that a hello with this `last` names in so many bytes, or a few more: those
    /// that were named least often first. One that is owed nothing before `last + 1` need not be
    /// named.
    pub(in crate::proto) fn name(
        &mut self,
        now: Duration,
        streams: &mut Streams,
        last: u64,
        room: usize,
    ) -> Vec<Named> {
        self.is_unsaid = false;
        let shares = &mut self.shares;
        self.list.retain(|id, newcomer| {
            let stream = streams.get(newcomer.stream);
            let stays = stream.is_some_and(|stream| stream.presence != Presence::Left)
                && now.saturating_sub(newcomer.heard) < NAMED_FOR;
            if !stays {
                shares.remove(newcomer.address, *id);
            }
            stays
        });
        let owed = self.list.iter();
        let owed = owed.filter(|(_, newcomer)| newcomer.number <= last);
        let mut order: Vec<_> = owed
            .map(|(id, newcomer)| (newcomer.said, *id, newcomer.address.ip()))
            .collect();
        order.sort_unstable();
        let (mut chosen, mut others) = (Vec::new(), Vec::new());
        for (_, id, ip) in order {
            let alike = chosen.iter().filter(|(_, other)| *other == ip);
            if alike.count() < MAX_OF_ONE_IP {
                chosen.push((id, ip));
            } else {
                others.push((id, ip));
            }
            if chosen.len() == MAX_OWED {
                break;
            }
        }
        let mut room = room.saturating_sub(OWED_AT_ALL);
        let mut named = Vec::new();
        for (id, _) in chosen.into_iter().chain(others).take(MAX_OWED) {
            let Some(newcomer) = self.list.get_mut(&id) else {
                continue;
            };
            let peer = streams.get(newcomer.stream).map(|stream| &stream.peer);
            let Some((peer, incarnation)) = peer.and_then(|peer| Some((peer, peer.incarnation?)))
            else {
                continue;
            };
            let cost = OWED_COST + peer.id.len();
            if cost > room && named.len() >= NAMED_AT_LEAST {
                break;
            }
            room = room.saturating_sub(cost);
            newcomer.said = newcomer.said.saturating_add(1);
            named.push(Named {
                id: peer.id.clone(),
                incarnation,
                number: newcomer.number,
            });
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::proto::{Peer, rate::RateWindow, receive::reorder_buffer::ReorderBuffer};

    const ROOM: usize = 1_000;
    const S: fn(u64) -> Duration = Duration::from_secs;

    fn heard(streams: &mut Streams, i: u64, ip: [u8; 4]) -> StreamRef {
        heard_at(streams, i, (ip, 1).into())
    }

    fn heard_at(streams: &mut Streams, i: u64, address: SocketAddr) -> StreamRef {
        let peer = Arc::new(Peer {
            id: format!("{i}"),
            incarnation: Some(i),
            hostname: String::new(),
            host: String::new(),
            port: 1,
            address,
        });
        let order = ReorderBuffer::new(1, false);
        let opened = &mut RateWindow::default();
        streams.open(Duration::ZERO, peer, order, opened).unwrap()
    }

    fn streams() -> Streams {
        Streams::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn newcomers() -> Newcomers {
        Newcomers::new(HashKey::random(&mut StdRng::from_seed([2; 32])))
    }

    fn ids(named: Vec<Named>) -> Vec<String> {
        named.into_iter().map(|named| named.id).collect()
    }

    #[test]
    fn all_are_named_in_turn_and_no_longer_than_a_minute() {
        let (mut streams, mut newcomers) = (streams(), newcomers());
        for i in 0..10 {
            let stream = heard(&mut streams, i, [10, 0, 0, i as u8]);
            newcomers.add(S(i), stream, ([10, 0, 0, i as u8], 1).into(), 5);
        }
        assert!(newcomers.is_unsaid());
        assert!(newcomers.name(S(10), &mut streams, 4, ROOM).is_empty());
        assert!(!newcomers.is_unsaid());
        let first = ids(newcomers.name(S(10), &mut streams, 5, ROOM));
        assert_eq!(first, ["0", "1", "2", "3", "4", "5", "6", "7"]);
        let second = ids(newcomers.name(S(11), &mut streams, 5, ROOM));
        assert_eq!(second, ["8", "9", "0", "1", "2", "3", "4", "5"]);
        assert_eq!(
            ids(newcomers.name(S(67), &mut streams, 5, ROOM)),
            ["8", "9"]
        );
        assert!(newcomers.name(S(69), &mut streams, 5, ROOM).is_empty());
    }

    #[test]
    fn many_of_one_address_keep_nobody_out() {
        let (mut streams, mut newcomers) = (streams(), newcomers());
        for i in 0..1_000 {
            let stream = heard(&mut streams, i, [10, 6, 6, 6]);
            newcomers.add(S(0), stream, ([10, 6, 6, 6], 1).into(), 1);
        }
        let stream = heard(&mut streams, 1_000, [10, 0, 0, 1]);
        newcomers.add(S(0), stream, ([10, 0, 0, 1], 1).into(), 1);
        assert_eq!(newcomers.list.len(), MAX_NEWCOMERS);
        let named = ids(newcomers.name(S(1), &mut streams, 9, ROOM));
        assert_eq!(named.len(), 8);
        assert!(named.contains(&"1000".to_owned()), "{named:?}");
    }

    #[test]
    fn many_of_one_ip_address_push_out_none_of_others() {
        let strangers: [&dyn Fn(u64) -> SocketAddr; 3] = [
            &|_| ([10, 6, 6, 6], 1).into(),
            &|i| ([10, 6, 6, 6], i as u16).into(),
            // At the IP address of three of the others.
            &|_| ([10, 0, 0, 1], 666).into(),
        ];
        for stranger in strangers {
            let (mut streams, mut newcomers) = (streams(), newcomers());
            let mut add = |i: u64, address: SocketAddr| {
                let stream = heard_at(&mut streams, i, address);
                newcomers.add(S(0), stream, address, 1);
            };
            for i in 0..10 {
                let ip = [10, 0, 0, if i < 3 { 1 } else { i as u8 }];
                add(i, (ip, 1 + i as u16).into());
            }
            for i in 10..3_000 {
                add(i, stranger(i));
            }
            assert_eq!(newcomers.list.len(), MAX_NEWCOMERS);
            for i in 0..10 {
                let id = i.to_string();
                let is_kept = |newcomer: &Newcomer| {
                    let stream = streams.get(newcomer.stream);
                    stream.is_some_and(|stream| stream.peer.id == id)
                };
                assert!(newcomers.list.values().any(is_kept), "{id}");
            }
            // What is known of shares is what there is.
            newcomers.name(S(100), &mut streams, 9, ROOM);
            assert!(newcomers.list.is_empty());
            assert!(newcomers.shares.is_empty());
        }
    }

    #[test]
    fn where_all_have_as_few_the_oldest_makes_room() {
        let (mut streams, mut newcomers) = (streams(), newcomers());
        for i in 0..=MAX_NEWCOMERS as u64 {
            let address = ([10, 0, (i >> 8) as u8, i as u8], 1).into();
            let stream = heard_at(&mut streams, i, address);
            newcomers.add(S(0), stream, address, 1);
        }
        let left: Vec<u64> = newcomers.list.keys().copied().collect();
        assert_eq!(left, Vec::from_iter(1..=MAX_NEWCOMERS as u64));
    }

    #[test]
    fn no_more_are_named_than_fit_and_the_others_are_next() {
        let (mut streams, mut newcomers) = (streams(), newcomers());
        for i in 0..7 {
            let stream = heard(&mut streams, i, [10, 0, 0, i as u8]);
            newcomers.add(S(0), stream, ([10, 0, 0, i as u8], 1).into(), 1);
        }
        let mut name = |room| ids(newcomers.name(S(1), &mut streams, 9, room)).join(" ");
        let five = OWED_AT_ALL + 5 * (OWED_COST + 1);
        assert_eq!(name(five), "0 1 2 3 4");
        assert_eq!(name(five), "5 6 0 1 2");
        // A few are named where there is no room, so that each has its turn.
        assert_eq!(name(0), "3 4 5 6");
        assert_eq!(name(20), "0 1 2 3");
    }

    #[test]
    fn who_has_left_is_not_named() {
        let (mut streams, mut newcomers) = (streams(), newcomers());
        let stream = heard(&mut streams, 1, [10, 0, 0, 1]);
        newcomers.add(S(0), stream, ([10, 0, 0, 1], 1).into(), 1);
        streams.set_presence(stream, Presence::Left, S(5));
        assert!(newcomers.name(S(1), &mut streams, 9, ROOM).is_empty());
    }
}
