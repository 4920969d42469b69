//! A sender as it describes itself, and the statistics of its messages.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    proto::{repair::nack_list::Filled, wire::Identity},
    text::printable,
};

/// A sender as it describes itself, and where it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its id, as claimed.
    pub id: String,
    /// Its incarnation, if it has the extensions.
    pub incarnation: Option<u64>,
    /// Its host's name, as claimed.
    pub hostname: String,
    /// Its address, as claimed.
    pub host: String,
    /// Its unicast port, as claimed.
    pub port: u16,
    /// The address that its datagrams came from.
    pub address: SocketAddr,
}

/// Its id, host name and address, for a log: one line, whatever they are.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, hostname) = (printable(&self.id), printable(&self.hostname));
        write!(f, "{id} ({hostname} at {})", self.address)
    }
}

impl Peer {
    pub(in crate::proto) fn is(&self, identity: &Identity<'_>) -> bool {
        self.id == identity.id
            && self.incarnation == identity.incarnation
            && self.port == identity.port
            && self.host == identity.host
            && self.hostname == identity.hostname
    }

    /// About how many bytes it takes.
    pub(in crate::proto) fn size(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.hostname.len() + self.host.len()
    }
}

/// What came of one sender's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Messages with numbers that were delivered.
    pub received: u64,
    /// How many of them came after they had been requested.
    pub repaired: u64,
    /// Numbers that were reported as lost.
    pub lost: u64,
    /// Messages that came more than once.
    pub duplicates: u64,
    /// How long it takes from a request to its answer, smoothed as in RFC 6298 section 2: the round
    /// trip, and up to 5 ms for which a peer gathers requests. `None` as long as nothing had to be
    /// requested.
    pub round_trip: Option<Duration>,
}

impl PeerStats {
    /// Counts a message that was requested, and returns 1 if this one was.
    #[inline]
    pub(in crate::proto) fn count_repair(&mut self, filled: Filled) -> u64 {
        if !filled.asked {
            return 0;
        }
        self.repaired += 1;
        if let Some(now) = filled.answered_after {
            self.round_trip = Some(match self.round_trip {
                None => now,
                Some(before) => (before * 7 + now) / 8,
            });
        }
        1
    }
}

/// A peer as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer.
    pub peer: Arc<Peer>,
    /// Its implementation and version, as it announces them.
    pub version: String,
    /// Its features, as it announces them.
    pub capabilities: Vec<String>,
    /// How long ago it was heard.
    pub heard_ago: Duration,
    /// What came of its messages.
    pub stats: PeerStats,
}
