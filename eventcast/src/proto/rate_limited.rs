//! A limit on how often one thing is reported, which loses no count.
//!
//! The first value of a key passes at once. Those that follow within the pause are held back and
//! summed up; the sum passes when the pause is over, also when nothing more comes, and begins
//! another pause. So a key costs at most one report a pause, and every value is part of some
//! report.
//!
//! A table that is full takes a new key's values under [`LimitKey::coarse`]: a flood of keys ends
//! as one report for each coarse key. Time comes in as an argument; each call costs a constant
//! amount of work, except [`RateLimited::pop_due`], which in sum removes no more keys than were put
//! in.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
    time::Duration,
};

/// The pause between two reports of one key, unless another is configured.
pub(crate) const REPORT_PAUSE: Duration = Duration::from_secs(10);

/// What reports are limited by.
pub(crate) trait LimitKey: Clone + Eq + Hash {
    /// The key that stands for this one when there is no room for it. There must be few of them,
    /// and each is its own coarse key: they are taken beyond the capacity.
    fn coarse(&self) -> Self;
}

/// A value that can stand for several.
pub(crate) trait Sum {
    /// Adds one that came later.
    fn add(&mut self, later: Self);
}

impl Sum for u64 {
    fn add(&mut self, later: Self) {
        *self = self.saturating_add(later);
    }
}

/// Passes at most one value for each key and pause, and sums up the rest.
pub(crate) struct RateLimited<K, V, S> {
    pause: Duration,
    capacity: usize,
    keys: HashMap<K, Entry<V>, S>,
    /// The ends of the pauses, ascending because all last equally long. One that is not its key's
    /// present end is stale: the key has begun another pause since.
    pauses: VecDeque<(Duration, K)>,
    /// How many keys hold something back.
    waiting: usize,
}

struct Entry<V> {
    pause_ends: Duration,
    held_back: Option<V>,
}

impl<K: LimitKey, V: Sum, S: BuildHasher> RateLimited<K, V, S> {
    /// A limiter for `capacity` keys beside the coarse ones. `hasher` is a keyed one: strangers
    /// choose the keys.
    pub(crate) fn new(pause: Duration, capacity: usize, hasher: S) -> Self {
        Self {
            pause,
            capacity,
            keys: HashMap::with_hasher(hasher),
            pauses: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Takes one value. Gives what is to be reported now, with the key under which it was counted:
    /// `key`, or its coarse key where the table is full. `None`: the value is part of a later sum.
    pub(crate) fn note(&mut self, now: Duration, key: K, value: V) -> Option<(K, V)> {
        self.forget_silent(now);
        let has_room = self.keys.len() < self.capacity || self.keys.contains_key(&key);
        let key = if has_room { key } else { key.coarse() };
        let report = match self.keys.get_mut(&key) {
            None => value,
            Some(entry) => {
                let is_over = entry.pause_ends <= now;
                match entry.held_back.take() {
                    None if is_over => value,
                    None => {
                        entry.held_back = Some(value);
                        self.waiting += 1;
                        return None;
                    }
                    Some(mut sum) => {
                        sum.add(value);
                        if !is_over {
                            entry.held_back = Some(sum);
                            return None;
                        }
                        self.waiting -= 1;
                        sum
                    }
                }
            }
        };
        self.begin_pause(now, key.clone());
        Some((key, report))
    }

    /// Whether the pause of `key` is not over, or its sum not reported yet.
    pub(crate) fn is_limited(&mut self, now: Duration, key: &K) -> bool {
        self.forget_silent(now);
        self.keys.contains_key(key)
    }

    /// When [`pop_due`](Self::pop_due) is to be called; `None` while nothing is held back. The
    /// answer may be earlier than the next report: a call then only forgets a key that has been
    /// silent.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let (due, _) = self.pauses.front().filter(|_| self.waiting > 0)?;
        Some(*due)
    }

    /// The next sum whose pause is over. Call it until it returns `None`.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<(K, V)> {
        self.forget_silent(now);
        // What stands in front now is not stale, and holds something back or is not over.
        let (due, _) = self.pauses.front()?;
        if *due > now {
            return None;
        }
        let (_, key) = self.pauses.pop_front()?;
        let sum = self.keys.get_mut(&key)?.held_back.take()?;
        self.waiting -= 1;
        self.begin_pause(now, key.clone());
        Some((key, sum))
    }

    /// Returns everything that is held back, whether due or not, and forgets every key: for the end
    /// of the reporter.
    pub(crate) fn drain(&mut self) -> Vec<(K, V)> {
        self.waiting = 0;
        // In the order of their pauses, so that one run is like the other.
        let pauses = std::mem::take(&mut self.pauses);
        let held_back = pauses
            .into_iter()
            .filter_map(|(_, key)| Some((key.clone(), self.keys.remove(&key)?.held_back?)))
            .collect();
        self.keys.clear();
        held_back
    }

    fn begin_pause(&mut self, now: Duration, key: K) {
        let pause_ends = now.saturating_add(self.pause);
        self.pauses.push_back((pause_ends, key.clone()));
        let held_back = None;
        self.keys.insert(
            key,
            Entry {
                pause_ends,
                held_back,
            },
        );
    }

    /// Removes stale entries from the front, and the keys whose pause is over and of which nothing
    /// is held back.
    fn forget_silent(&mut self, now: Duration) {
        while let Some((due, key)) = self.pauses.front()
            && *due <= now
        {
            if let Some(entry) = self.keys.get(key)
                && entry.pause_ends == *due
            {
                if entry.held_back.is_some() {
                    return;
                }
                self.keys.remove(key);
            }
            self.pauses.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::proto::hash::HashKey;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Key {
        Of(u32),
        Others,
    }

    impl LimitKey for Key {
        fn coarse(&self) -> Self {
            Self::Others
        }
    }

    fn limiter(capacity: usize) -> RateLimited<Key, u64, HashKey> {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        RateLimited::new(REPORT_PAUSE, capacity, key)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_passes_and_the_rest_is_summed_up_when_the_pause_is_over() {
        let mut limiter = limiter(10);
        let key = Key::Of(1);
        assert_eq!(limiter.note(at(0), key, 1), Some((key, 1)));
        assert_eq!(limiter.next_due(), None);
        for second in 1..10 {
            assert_eq!(limiter.note(at(second), key, 1), None);
        }
        assert_eq!(limiter.next_due(), Some(at(10)));
        assert_eq!(limiter.pop_due(at(9)), None);
        // The sum comes although nothing else does, and begins another pause.
        assert_eq!(limiter.pop_due(at(10)), Some((key, 9)));
        assert_eq!(limiter.pop_due(at(10)), None);
        assert_eq!(limiter.note(at(11), key, 1), None);
        assert_eq!(limiter.pop_due(at(20)), Some((key, 1)));
        // After a pause without any it passes at once again.
        assert_eq!(limiter.pop_due(at(30)), None);
        assert_eq!(limiter.note(at(31), key, 5), Some((key, 5)));
        // One that comes after the pause, before the sum was called for, takes the sum along.
        assert_eq!(limiter.note(at(32), key, 2), None);
        assert_eq!(limiter.note(at(42), key, 1), Some((key, 3)));
        assert_eq!(limiter.note(at(43), key, 1), None);
        assert_eq!(limiter.pop_due(at(51)), None);
        assert_eq!(limiter.pop_due(at(52)), Some((key, 1)));
    }

    #[test]
    fn keys_do_not_hide_each_other() {
        let mut limiter = limiter(10);
        for key in 0..5 {
            assert!(limiter.note(at(0), Key::Of(key), 1).is_some());
            assert!(limiter.note(at(1), Key::Of(key), 2).is_none());
        }
        for key in 0..5 {
            assert_eq!(limiter.pop_due(at(10)), Some((Key::Of(key), 2)));
        }
        assert_eq!(limiter.pop_due(at(10)), None);
    }

    #[test]
    fn a_flood_of_keys_is_reported_as_one() {
        let mut limiter = limiter(100);
        let mut reports = 0;
        let mut counted = 0;
        for key in 0..10_000 {
            if let Some((_, count)) = limiter.note(at(0), Key::Of(key), 1) {
                reports += 1;
                counted += count;
            }
        }
        assert_eq!(reports, 101);
        assert!(limiter.keys.len() <= 101);
        while let Some((key, count)) = limiter.pop_due(at(10)) {
            assert_eq!(key, Key::Others);
            counted += count;
        }
        assert_eq!(counted, 10_000);
        // The keys of the flood are forgotten: there is room again.
        assert_eq!(
            limiter.note(at(21), Key::Of(77_777), 1),
            Some((Key::Of(77_777), 1))
        );
    }

    #[test]
    fn room_comes_back_without_a_call_of_pop_due() {
        let mut limiter = limiter(2);
        assert!(limiter.note(at(0), Key::Of(1), 1).is_some());
        assert!(limiter.note(at(0), Key::Of(2), 1).is_some());
        assert_eq!(limiter.note(at(5), Key::Of(3), 1), Some((Key::Others, 1)));
        assert_eq!(limiter.note(at(10), Key::Of(4), 1), Some((Key::Of(4), 1)));
    }

    #[test]
    fn nothing_is_lost_at_the_end() {
        let mut limiter = limiter(2);
        for key in 0..50 {
            limiter.note(at(0), Key::Of(key), 1);
        }
        limiter.note(at(1), Key::Of(1), 7);
        let rest: u64 = limiter.drain().into_iter().map(|(_, count)| count).sum();
        // Three passed: two keys and the first of the others.
        assert_eq!(rest, 50 - 3 + 7);
        assert_eq!(limiter.next_due(), None);
        assert_eq!(limiter.pop_due(at(100)), None);
    }
}
