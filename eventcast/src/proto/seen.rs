//! What was had: the keys of messages that are over, so that none is delivered twice or opened again.
//!
//! Every message without a number that is delivered, and every chunked one that is finished or given up, leaves one
//! entry. An entry is found by either of two keys: one says from which address a `seqId` came, the other what the
//! message was, wherever it came from, since a sender with two interfaces is heard from two addresses. What other
//! addresses send under the same `seqId` is another message.
//!
//! Entries live for a fixed time and there are at most [`MAX_ENTRIES`], the oldest going first; all steps take
//! constant time, and after the first message nothing is allocated.

use std::time::Duration;

/// WIRE.md section 9. At more than 1,800 messages a second an entry does not live its whole time.
pub(super) const MAX_ENTRIES: usize = 16_384;

/// Twice as many places as keys, so that runs of taken places stay short.
const PLACES: usize = 4 * MAX_ENTRIES;

/// A keyed hash of what names a message.
pub(super) type Key = u64;

pub(super) struct Seen {
    lifetime: Duration,
    /// A ring: once full, the oldest is at `oldest`.
    entries: Vec<Entry>,
    oldest: usize,
    live: usize,
    /// Open addressing with linear probing; 0 is a free place, see [`Place`].
    places: Box<[u32]>,
}

struct Entry {
    keys: [Option<Key>; 2],
    at: Duration,
}

impl Seen {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            entries: Vec::new(),
            oldest: 0,
            live: 0,
            places: Box::default(),
        }
    }

    pub(super) fn contains(&self, now: Duration, key: Key) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let mut at = home(key);
        while self.places[at] != 0 {
            let place = Place(self.places[at]);
            if place.tag() == Place::tag_of(key) {
                let entry = &self.entries[place.entry()];
                if entry.keys[place.which()] == Some(key)
                    && now.saturating_sub(entry.at) < self.lifetime
                {
                    return true;
                }
            }
            at = next(at);
        }
        false
    }

    /// Remembers one message by up to two keys.
    pub(super) fn insert(&mut self, now: Duration, keys: [Option<Key>; 2]) {
        if self.places.is_empty() {
            self.places = vec![0; PLACES].into_boxed_slice();
            self.entries.reserve_exact(MAX_ENTRIES);
        }
        let index = if self.live < MAX_ENTRIES {
            (self.oldest + self.live) % MAX_ENTRIES
        } else {
            let index = self.oldest;
            for which in 0..2 {
                self.remove(index, which);
            }
            self.oldest = (index + 1) % MAX_ENTRIES;
            self.live -= 1;
            index
        };
        let entry = Entry { keys, at: now };
        match self.entries.get_mut(index) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        self.live += 1;
        for (which, key) in keys.into_iter().enumerate() {
            if let Some(key) = key {
                let mut at = home(key);
                while self.places[at] != 0 {
                    at = next(at);
                }
                self.places[at] = Place::new(index, which, key).0;
            }
        }
    }

    /// Frees the place of an entry's key, and moves up those behind it that were not at home.
    fn remove(&mut self, index: usize, which: usize) {
        let Some(key) = self.entries[index].keys[which] else {
            return;
        };
        let wanted = Place::new(index, which, key).0;
        let mut hole = home(key);
        while self.places[hole] != wanted {
            hole = next(hole);
        }
        let mut at = next(hole);
        while self.places[at] != 0 {
            let place = Place(self.places[at]);
            let key =
                self.entries[place.entry()].keys[place.which()].expect("a place belongs to a key");
            // How far the place is from home, and how far the hole: it may move if the hole is not before its home.
            let (from_home, from_hole) = (distance(home(key), at), distance(hole, at));
            if from_home >= from_hole {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = next(at);
        }
        self.places[hole] = 0;
    }
}

/// A taken place: the highest bit is set, 16 bits of the key follow, then which of the two keys, then the entry.
#[derive(Clone, Copy)]
struct Place(u32);

impl Place {
    fn new(entry: usize, which: usize, key: Key) -> Self {
        Self(1 << 31 | Self::tag_of(key) << 15 | (which as u32) << 14 | entry as u32)
    }

    /// Not the bits that say where the key's home is.
    fn tag_of(key: Key) -> u32 {
        (key >> 48) as u32
    }

    fn tag(self) -> u32 {
        self.0 << 1 >> 16
    }

    fn which(self) -> usize {
        (self.0 >> 14 & 1) as usize
    }

    fn entry(self) -> usize {
        (self.0 & 0x3fff) as usize
    }
}

fn home(key: Key) -> usize {
    key as usize % PLACES
}

fn next(at: usize) -> usize {
    (at + 1) % PLACES
}

fn distance(from: usize, to: usize) -> usize {
    to.wrapping_sub(from) % PLACES
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(9);

    #[test]
    fn found_by_either_key_until_its_time_is_over() {
        let mut seen = Seen::new(LIFETIME);
        let start = Duration::from_secs(100);
        assert!(!seen.contains(start, 1));
        seen.insert(start, [Some(1), Some(2)]);
        seen.insert(start, [Some(3), None]);
        let last = start + LIFETIME - Duration::from_nanos(1);
        for key in [1, 2, 3] {
            assert!(seen.contains(last, key));
            assert!(!seen.contains(start + LIFETIME, key));
        }
        assert!(!seen.contains(start, 4));
        // Remembered anew beside the old entry.
        seen.insert(start + LIFETIME, [Some(1), Some(2)]);
        assert!(seen.contains(start + LIFETIME, 1));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut seen = Seen::new(LIFETIME);
        for i in 0..MAX_ENTRIES as u64 + 10 {
            seen.insert(Duration::ZERO, [Some(i << 48 | i), None]);
        }
        for i in 0..MAX_ENTRIES as u64 + 10 {
            assert_eq!(seen.contains(Duration::ZERO, i << 48 | i), i >= 10, "{i}");
        }
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut rng = StdRng::from_seed([5; 32]);
        let mut seen = Seen::new(LIFETIME);
        let mut order = VecDeque::new();
        let mut set = HashSet::new();
        for step in 0..200_000 {
            // Few homes and tags, so that places are contended; around the table's end too.
            let key = rng.random_range(0..3_000u64) << 50
                | (rng.random_range(0..30_000) + PLACES as u64 - 9_000);
            assert_eq!(
                seen.contains(Duration::ZERO, key),
                set.contains(&key),
                "step {step}"
            );
            if set.contains(&key) || set.contains(&(key ^ 1 << 40)) {
                continue;
            }
            let second = (step % 3 != 0).then_some(key ^ 1 << 40);
            seen.insert(Duration::ZERO, [Some(key), second]);
            set.insert(key);
            set.extend(second);
            order.push_back((key, second));
            if order.len() > MAX_ENTRIES {
                let (key, second) = order.pop_front().unwrap();
                set.remove(&key);
                second.map(|second| set.remove(&second));
            }
        }
        assert!(order.len() > MAX_ENTRIES / 2);
        assert_eq!(
            seen.places.iter().filter(|place| **place != 0).count(),
            set.len()
        );
    }
}
