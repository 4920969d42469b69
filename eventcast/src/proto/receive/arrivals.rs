//! What is reported of peers that join and leave, and how often.
//!
//! A peer that joins or leaves is reported at once, so that the application can greet an honest
//! newcomer. A peer that joins and leaves all the time, or does so with ever new ids or
//! incarnations, uses up the reports of its id and its IP address within ten seconds; then only its
//! state when these are over counts, and is reported if it differs from the last report.
//!
//! Not responsible for which peers are there: that is [`Streams`](super::streams::Streams)'.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use crate::proto::{
    budgets::Budgets,
    hash::HashKey,
    receive::{events::Change, peer::Peer},
};

/// How many changes are reported within ten seconds of the peers of one id at one IP address: three
/// restarts.
const FOR_ID: u32 = 8;

/// And of all peers at one IP address.
pub(in crate::proto) const FOR_ADDRESS: u32 = 256;

/// How many peers may have changed without a report. Beyond that, one is reported for each that is
/// added.
const MAX_PENDING: usize = 8192;

struct Pending {
    /// How it stands now.
    now: Change,
    /// The last report said that it is there.
    told: bool,
}

pub(in crate::proto) struct Arrivals {
    /// By stream.
    pending: HashMap<u64, Pending, HashKey>,
    due: BTreeSet<(Duration, u64)>,
    by_id: Budgets<u64>,
    by_address: Budgets<IpAddr>,
    key: HashKey,
}

impl Arrivals {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            pending: HashMap::with_hasher(key),
            due: BTreeSet::new(),
            // Where there are more ids than have numbers of their own, those of the addresses bound
            // them all.
            by_id: Budgets::new(FOR_ID, u32::MAX, key),
            by_address: Budgets::new(FOR_ADDRESS, FOR_ADDRESS, key),
            key,
        }
    }

    /// Notes that the sender of a stream has joined or left; returns what is to be reported now.
    pub(in crate::proto) fn note(
        &mut self,
        now: Duration,
        stream: u64,
        change: Change,
    ) -> Option<Change> {
        if let Some(pending) = self.pending.get_mut(&stream) {
            pending.now = change;
            return None;
        }
        if self.may_tell(now, &change.peer) {
            return Some(change);
        }
        let told = change.left.is_some();
        self.put_off(stream, change, told);
        if self.pending.len() > MAX_PENDING {
            return self.drain();
        }
        None
    }

    /// When something may be due to be reported.
    pub(in crate::proto) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The reports that are due now.
    pub(in crate::proto) fn pop_due(&mut self, now: Duration) -> Option<Change> {
        while let Some(&(due, stream)) = self.due.first()
            && due <= now
        {
            self.due.remove(&(due, stream));
            let Some(pending) = self.pending.remove(&stream) else {
                continue;
            };
            if !pending.is_news() {
                continue;
            }
            if self.may_tell(now, &pending.now.peer) {
                return Some(pending.now);
            }
            self.put_off(stream, pending.now, pending.told);
        }
        None
    }

    /// The changes that were not reported, whenever they are due.
    pub(in crate::proto) fn drain(&mut self) -> Option<Change> {
        while let Some((_, stream)) = self.due.pop_first() {
            let pending = self.pending.remove(&stream);
            if let Some(pending) = pending.filter(Pending::is_news) {
                return Some(pending.now);
            }
        }
        None
    }

    fn may_tell(&mut self, now: Duration, peer: &Peer) -> bool {
        self.by_id.take(now, self.id_of(peer)) && self.by_address.take(now, peer.address.ip())
    }

    fn put_off(&mut self, stream: u64, now: Change, told: bool) {
        let by_id = self.by_id.until(&self.id_of(&now.peer));
        let due = by_id.max(self.by_address.until(&now.peer.address.ip()));
        self.due.insert((due, stream));
        self.pending.insert(stream, Pending { now, told });
    }

    fn id_of(&self, peer: &Peer) -> u64 {
        let ip = match peer.address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.key.hash(&[&ip.octets(), peer.id.as_bytes()])
    }
}

impl Pending {
    fn is_news(&self) -> bool {
        self.told != self.now.left.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::proto::LeftReason;

    fn arrivals() -> Arrivals {
        Arrivals::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn peer(id: &str, ip: u32) -> Arc<Peer> {
        Arc::new(Peer {
            id: id.into(),
            incarnation: Some(1),
            hostname: String::new(),
            host: String::new(),
            port: 1,
            address: (Ipv4Addr::from(ip), 1).into(),
        })
    }

    fn joined(peer: &Arc<Peer>) -> Change {
        let peer = Arc::clone(peer);
        Change { peer, left: None }
    }

    fn left(peer: &Arc<Peer>) -> Change {
        let left = Some(LeftReason::Goodbye);
        Change {
            left,
            ..joined(peer)
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_last_report_of_a_flapping_peer_is_its_state() {
        let mut arrivals = arrivals();
        let peer = peer("a", 1);
        let mut told = 0;
        for _ in 0..100_000 {
            told += u32::from(arrivals.note(secs(1), 1, joined(&peer)).is_some());
            told += u32::from(arrivals.note(secs(1), 1, left(&peer)).is_some());
        }
        assert_eq!(told, FOR_ID);
        // The last report is still true: there is nothing to report.
        assert_eq!(arrivals.pop_due(secs(11)), None);
        assert_eq!(arrivals.next_due(), None);
        for _ in 0..1_000 {
            arrivals.note(secs(12), 1, joined(&peer));
            arrivals.note(secs(12), 1, left(&peer));
        }
        arrivals.note(secs(13), 1, joined(&peer));
        let due = arrivals.next_due().unwrap();
        assert_eq!(arrivals.pop_due(due), Some(joined(&peer)));
        assert_eq!(arrivals.next_due(), None);
    }

    #[test]
    fn newcomers_are_told_at_once_until_there_are_too_many_of_one_address() {
        let mut arrivals = arrivals();
        let mut told = 0;
        for i in 0..10_000_u32 {
            let peer = peer(&i.to_string(), 1);
            told += u32::from(arrivals.note(secs(1), i.into(), joined(&peer)).is_some());
        }
        assert!((FOR_ADDRESS..FOR_ADDRESS + 3_000).contains(&told), "{told}");
        assert!(arrivals.pending.len() <= MAX_PENDING);
        // Those of another address are reported at once.
        let other = peer("other", 2);
        assert!(arrivals.note(secs(1), 20_000, joined(&other)).is_some());
        // All are reported in the end, a bounded number at a time.
        while let Some(due) = arrivals.next_due() {
            let before = told;
            while arrivals.pop_due(due).is_some() {
                told += 1;
            }
            assert!(told - before <= FOR_ADDRESS, "{} at {due:?}", told - before);
        }
        assert_eq!(told, 10_000);
    }

    #[test]
    fn what_is_told_alternates_and_ends_with_the_truth() {
        let mut rng = StdRng::from_seed([2; 32]);
        let mut arrivals = arrivals();
        let (mut there, mut told) = (BTreeMap::new(), BTreeMap::new());
        let mut tell = |change: Change| {
            let now = change.left.is_none();
            let before = told.insert(change.peer.id.clone(), now).unwrap_or(false);
            assert_ne!(before, now);
        };
        for step in 0..20_000 {
            let stream = rng.random_range(0..600_u64);
            let peer = peer(&(stream / 3).to_string(), 1);
            let peer = Arc::new(Peer {
                id: format!("{} {stream}", peer.id),
                ..(*peer).clone()
            });
            let now: &mut bool = there.entry(peer.id.clone()).or_default();
            *now = !*now;
            let change = if *now { joined(&peer) } else { left(&peer) };
            let at = Duration::from_millis(step * 7);
            arrivals
                .note(at, stream, change)
                .into_iter()
                .for_each(&mut tell);
            while let Some(change) = arrivals.pop_due(at) {
                tell(change);
            }
        }
        while let Some(change) = arrivals.drain() {
            tell(change);
        }
        told.retain(|_, now| *now);
        there.retain(|_, now| *now);
        assert_eq!(told, there);
    }
}
