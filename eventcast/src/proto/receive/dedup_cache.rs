//! Messages that are over, so that none is delivered twice or opened again.
//!
//! Every message that is delivered, and every chunked one that is complete or dropped, leaves one
//! entry under its `seqId`. The same `seqId` means the same message if it comes from the same
//! address, or if the content is the same, wherever it comes from: a sender with two interfaces is
//! heard from two addresses. Other content from another address under the same `seqId` is another
//! message.
//!
//! Entries live for a fixed time and there are at most [`MAX_ENTRIES`], the oldest removed first;
//! all steps take constant time, and after the first message nothing is allocated.

use std::time::Duration;

/// WIRE.md section 9. At more than 1,800 messages a second an entry does not live its whole time.
pub(in crate::proto) const MAX_ENTRIES: usize = 16_384;

/// Twice as many places as entries, so that runs of taken places stay short.
const PLACES: usize = 2 * MAX_ENTRIES;

/// Most entries of one `seqId`, so that no sender can make the search long. An honest one has one,
/// or a few where addresses change; beyond this a message is not remembered, and delivered again if
/// it comes again.
const MAX_ALIKE: usize = 8;

/// Keyed hashes of what a message is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Fingerprint {
    /// Of the `seqId`.
    pub(in crate::proto) seq_id: u64,
    /// Of the address.
    pub(in crate::proto) address: u32,
    /// Of everything that makes it that message. `None`: not known, because it was never whole.
    pub(in crate::proto) content: Option<u32>,
}

pub(in crate::proto) struct DedupCache {
    lifetime: Duration,
    /// A ring: once full, the oldest is at `oldest`.
    entries: Vec<Entry>,
    oldest: usize,
    live: usize,
    /// Open addressing with linear probing; 0 is a free place, see [`Place`].
    places: Box<[u64]>,
}

struct Entry {
    fingerprint: Fingerprint,
    at: Duration,
}

impl DedupCache {
    pub(in crate::proto) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            entries: Vec::new(),
            oldest: 0,
            live: 0,
            places: Box::default(),
        }
    }

    /// Whether a message with this `seqId` was received from this address, or with this content
    /// from any.
    #[inline]
    pub(in crate::proto) fn contains(&self, now: Duration, fingerprint: Fingerprint) -> bool {
        self.alike(fingerprint.seq_id).any(|entry| {
            let same = entry.fingerprint.address == fingerprint.address
                || fingerprint.content.is_some()
                    && entry.fingerprint.content == fingerprint.content;
            same && now.saturating_sub(entry.at) < self.lifetime
        })
    }

    /// Remembers a message.
    pub(in crate::proto) fn insert(&mut self, now: Duration, fingerprint: Fingerprint) {
        if self.places.is_empty() {
            self.places = vec![0; PLACES].into_boxed_slice();
            self.entries.reserve_exact(MAX_ENTRIES);
        }
        if self.alike(fingerprint.seq_id).count() >= MAX_ALIKE {
            return;
        }
        if self.live == MAX_ENTRIES {
            self.remove_oldest();
        }
        let index = (self.oldest + self.live) % MAX_ENTRIES;
        let entry = Entry {
            fingerprint,
            at: now,
        };
        match self.entries.get_mut(index) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        self.live += 1;
        let mut at = home(fingerprint.seq_id);
        while self.places[at] != 0 {
            at = next(at);
        }
        self.places[at] = Place::new(fingerprint.seq_id, index).0;
    }

    /// For this long until now nothing could be received: input that waited meanwhile may be a
    /// duplicate.
    pub(in crate::proto) fn excuse(&mut self, now: Duration, away: Duration) {
        for entry in &mut self.entries {
            entry.at = entry.at.saturating_add(away).min(now);
        }
    }

    /// The entries of a `seqId`.
    #[inline]
    fn alike(&self, seq_id: u64) -> impl Iterator<Item = &Entry> {
        let mut at = home(seq_id);
        std::iter::from_fn(move || {
            // There is always a free place, unless the table is empty.
            let place = Place(*self.places.get(at)?);
            at = next(at);
            (place.0 != 0).then_some(place)
        })
        .filter(move |place| place.tag() == seq_id as u32)
        .map(|place| &self.entries[place.entry()])
        .filter(move |entry| entry.fingerprint.seq_id == seq_id)
    }

    /// Frees the oldest entry's place, and moves up those behind it that were not at home.
    fn remove_oldest(&mut self) {
        let index = self.oldest;
        self.oldest = (index + 1) % MAX_ENTRIES;
        self.live -= 1;
        let seq_id = self.entries[index].fingerprint.seq_id;
        let wanted = Place::new(seq_id, index).0;
        let mut hole = home(seq_id);
        while self.places[hole] != wanted {
            hole = next(hole);
        }
        let mut at = next(hole);
        while self.places[at] != 0 {
            // It may move if the hole is not before its home.
            let from_home = distance(home(Place(self.places[at]).tag().into()), at);
            if from_home >= distance(hole, at) {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = next(at);
        }
        self.places[hole] = 0;
    }
}

/// An occupied place: the hash's lower half, which gives the entry's home, then a bit that is set,
/// then the entry.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    fn new(seq_id: u64, entry: usize) -> Self {
        Self(seq_id << 32 | 1 << 31 | entry as u64)
    }

    fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn entry(self) -> usize {
        self.0 as usize % MAX_ENTRIES
    }
}

fn home(seq_id: u64) -> usize {
    seq_id as usize % PLACES
}

fn next(at: usize) -> usize {
    (at + 1) % PLACES
}

fn distance(from: usize, to: usize) -> usize {
    to.wrapping_sub(from) % PLACES
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(9);

    fn fingerprint(seq_id: u64, address: u32, content: u32) -> Fingerprint {
        Fingerprint {
            seq_id,
            address,
            content: Some(content),
        }
    }

    #[test]
    fn the_same_address_or_the_same_content() {
        let mut seen = DedupCache::new(LIFETIME);
        let now = Duration::from_secs(100);
        assert!(!seen.contains(now, fingerprint(1, 1, 1)));
        seen.insert(now, fingerprint(1, 1, 1));
        assert!(seen.contains(now, fingerprint(1, 1, 2)));
        assert!(seen.contains(now, fingerprint(1, 2, 1)));
        assert!(!seen.contains(now, fingerprint(1, 2, 2)));
        assert!(!seen.contains(now, fingerprint(2, 1, 1)));
        // Another one with the same lower half.
        assert!(!seen.contains(now, fingerprint(1 << 32 | 1, 1, 1)));

        seen.insert(
            now,
            Fingerprint {
                content: None,
                ..fingerprint(3, 1, 0)
            },
        );
        assert!(seen.contains(
            now,
            Fingerprint {
                content: None,
                ..fingerprint(3, 1, 0)
            }
        ));
        assert!(!seen.contains(
            now,
            Fingerprint {
                content: None,
                ..fingerprint(3, 2, 0)
            }
        ));
        assert!(!seen.contains(
            now,
            Fingerprint {
                content: Some(0),
                ..fingerprint(3, 2, 0)
            }
        ));
    }

    #[test]
    fn until_its_time_is_over() {
        let mut seen = DedupCache::new(LIFETIME);
        let start = Duration::from_secs(100);
        seen.insert(start, fingerprint(1, 1, 1));
        assert!(seen.contains(
            start + LIFETIME - Duration::from_nanos(1),
            fingerprint(1, 1, 1)
        ));
        assert!(!seen.contains(start + LIFETIME, fingerprint(1, 1, 1)));
        // Stored again beside the old entry.
        seen.insert(start + LIFETIME, fingerprint(1, 1, 1));
        assert!(seen.contains(start + LIFETIME, fingerprint(1, 1, 1)));
    }

    #[test]
    fn many_under_one_seq_id_do_not_pile_up() {
        let mut seen = DedupCache::new(LIFETIME);
        for i in 0..1000 {
            seen.insert(Duration::ZERO, fingerprint(1, i, i));
        }
        assert_eq!(seen.live, MAX_ALIKE);
        assert!(seen.contains(Duration::ZERO, fingerprint(1, 0, 0)));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut seen = DedupCache::new(LIFETIME);
        let last = MAX_ENTRIES as u64 + 10;
        for i in 0..last {
            seen.insert(Duration::ZERO, fingerprint(i << 16, 0, 0));
        }
        for i in 0..last {
            assert_eq!(
                seen.contains(Duration::ZERO, fingerprint(i << 16, 0, 0)),
                i >= 10,
                "{i}"
            );
        }
    }

    #[test]
    fn agrees_with_a_plain_list() {
        let mut rng = StdRng::from_seed([5; 32]);
        let mut seen = DedupCache::new(LIFETIME);
        let mut counts = std::collections::BTreeMap::new();
        let mut order = VecDeque::new();
        for step in 0..200_000 {
            // Few homes, so that places are contended; around the table's end too.
            let seq_id = rng.random_range(0..4u64) << 40
                | (rng.random_range(0..30_000) + PLACES as u64 - 9_000);
            let there = counts.get(&seq_id).copied().unwrap_or(0);
            assert_eq!(
                seen.contains(Duration::ZERO, fingerprint(seq_id, 0, 0)),
                there > 0,
                "step {step}"
            );
            if there == MAX_ALIKE {
                continue;
            }
            seen.insert(Duration::ZERO, fingerprint(seq_id, 0, 0));
            *counts.entry(seq_id).or_insert(0) += 1;
            order.push_back(seq_id);
            if order.len() > MAX_ENTRIES {
                let oldest = order.pop_front().unwrap();
                let count = counts.get_mut(&oldest).unwrap();
                *count -= 1;
            }
        }
        assert_eq!(
            seen.places.iter().filter(|place| **place != 0).count(),
            MAX_ENTRIES
        );
    }
}
