//! How many reports one address, or one peer, may cause within ten seconds.

use std::{collections::HashMap, hash::Hash, time::Duration};

use super::{hash::HashKey, rate_limited::REPORT_PAUSE as PAUSE};

/// How many have a number of their own.
const CAPACITY: usize = 1024;

/// How many reports a key has caused within its present ten seconds.
#[derive(Clone, Copy, Default)]
struct Window {
    until: Duration,
    taken: u32,
}

/// A budget of reports for each of at most [`CAPACITY`] keys, and one that all other keys share. It
/// lasts for the ten seconds that begin with the first report.
pub(super) struct Budgets<K> {
    most: u32,
    most_of_others: u32,
    windows: HashMap<K, Window, HashKey>,
    others: Window,
    next_sweep: Duration,
}

impl<K: Eq + Hash> Budgets<K> {
    /// So many for each key, and for all together that have no number of their own.
    pub(super) fn new(most: u32, most_of_others: u32, key: HashKey) -> Self {
        Self {
            most,
            most_of_others,
            windows: HashMap::with_hasher(key),
            others: Window::default(),
            next_sweep: Duration::ZERO,
        }
    }

    /// Takes one for this key. `false`: none is left.
    pub(super) fn take(&mut self, now: Duration, key: K) -> bool {
        if self.windows.len() >= CAPACITY
            && now >= self.next_sweep
            && !self.windows.contains_key(&key)
        {
            self.next_sweep = now + PAUSE / 10;
            self.windows.retain(|_, window| window.until > now);
        }
        let has_room = self.windows.len() < CAPACITY || self.windows.contains_key(&key);
        let (window, most) = if has_room {
            (self.windows.entry(key).or_default(), self.most)
        } else {
            (&mut self.others, self.most_of_others)
        };
        if now >= window.until {
            *window = Window {
                until: now + PAUSE,
                taken: 0,
            };
        }
        let may = window.taken < most;
        window.taken += u32::from(may);
        may
    }

    /// When there is more for a key for which nothing was left.
    pub(super) fn until(&self, key: &K) -> Duration {
        self.windows.get(key).unwrap_or(&self.others).until
    }

    /// Whether a key has a number of its own.
    pub(super) fn has(&self, key: &K) -> bool {
        self.windows.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn ip(i: u32) -> IpAddr {
        Ipv4Addr::from(i).into()
    }

    #[test]
    fn each_address_has_its_own_and_many_share_one() {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        let mut budgets = Budgets::new(3, 3, key);
        let now = Duration::from_secs(5);
        let taken = (0..10).filter(|_| budgets.take(now, ip(1))).count();
        assert_eq!((taken, budgets.until(&ip(1))), (3, now + PAUSE));
        assert!(budgets.take(now, ip(2)));
        assert!(budgets.take(now + PAUSE, ip(1)));
        let taken = (0..100_000).filter(|i| budgets.take(now + PAUSE, ip(10 + i)));
        assert!(taken.count() <= CAPACITY + 3);
        assert_eq!(budgets.windows.len(), CAPACITY);
        assert!(budgets.has(&ip(1)));
        assert!(!budgets.has(&ip(99_000)));
        assert!(budgets.take(now + 2 * PAUSE, ip(99_000)));
        assert_eq!(budgets.windows.len(), 1);
    }
}
