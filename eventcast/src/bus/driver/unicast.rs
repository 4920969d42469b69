//! Which peers have ever reached this bus by unicast.
//!
//! What is asked for comes back by unicast. Where events are lost although their sender is there,
//! and nothing unicast has ever come from it, a firewall is the likely reason, and a notice can say
//! so.

use std::{collections::HashSet, net::SocketAddr};

/// How many addresses are remembered. Beyond that none is said to be unheard any more.
const CAPACITY: usize = 4_096;

#[derive(Default)]
pub(crate) struct HeardUnicast {
    addresses: HashSet<SocketAddr>,
    /// The address noted last: usually the next one too.
    last: Option<SocketAddr>,
}

impl HeardUnicast {
    /// A unicast datagram has come from there.
    pub(crate) fn note(&mut self, from: SocketAddr) {
        if self.last != Some(from) {
            self.last = Some(from);
            if self.addresses.len() < CAPACITY {
                self.addresses.insert(from);
            }
        }
    }

    /// Whether one ever has, as far as this is known.
    pub(crate) fn has_heard(&self, address: SocketAddr) -> bool {
        self.addresses.len() >= CAPACITY || self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_said_to_be_unheard_who_was_heard() {
        let address = |i: usize| SocketAddr::from(([10, 0, 0, 1], i as u16));
        let mut heard = HeardUnicast::default();
        assert!(!heard.has_heard(address(1)));
        for i in 1..2 * CAPACITY {
            heard.note(address(i));
            heard.note(address(i));
            assert!(heard.has_heard(address(i)));
        }
        assert_eq!(heard.addresses.len(), CAPACITY);
        assert!((1..2 * CAPACITY).all(|i| heard.has_heard(address(i))));
    }
}
