//! Whose missing chunks are asked for again first, where one sender does not answer to all.
//!
//! A sender answers only so much a second and drops what is above (WIRE.md section 6), and a message is asked for only
//! a few times in vain. So after a request that brought nothing, the next one waits until not too much is under way from
//! that sender. First come messages of which a request has brought something, and the older ones of those.
//!
//! Not responsible for what a message lacks, nor for when that is to be asked for: that is `Requests`'.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use super::hash::HashKey;

/// Bytes that may be asked for and not have come, of all messages of one sender, for another request in vain to go out:
/// some two of the first pauses' worth of what it answers (4 MiB a second, 50 ms). With half of that, repair over a bad
/// link takes longer; with twice as much, it comes to nothing more often.
const WINDOW: usize = 512 << 10;

/// A message that may have something to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Asker {
    /// Whose message it is.
    pub(super) sender: u64,
    /// Which of them: the older one comes first.
    pub(super) birth: u64,
    pub(super) index: usize,
}

pub(super) struct Turns {
    /// By sender, and whether no request has brought anything yet.
    waiting: BTreeSet<(u64, bool, Asker)>,
    /// What has been asked for and has not come: how many bytes, and how long it may take.
    open: HashMap<Asker, (usize, Duration), HashKey>,
    open_until: BTreeSet<(Duration, Asker)>,
    /// All that is open of a sender, in bytes.
    by_sender: HashMap<u64, usize, HashKey>,
}

impl Turns {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            waiting: BTreeSet::new(),
            open: HashMap::with_hasher(key),
            open_until: BTreeSet::new(),
            by_sender: HashMap::with_hasher(key),
        }
    }

    /// Whether a message may ask again now, for which a request has brought something or not. Else it waits, until
    /// [`next`](Self::next) gives it.
    pub(super) fn may_ask(&mut self, asker: Asker, answered: bool) -> bool {
        let own = self.open.get(&asker).map_or(0, |open| open.0);
        let may = self.open_of(asker.sender) - own < WINDOW;
        if !may {
            self.waiting.insert((asker.sender, !answered, asker));
        }
        may
    }

    /// Notes that so many bytes of a message have been asked for, or are still to come, until a moment from which on
    /// nobody counts on them.
    pub(super) fn set_open(&mut self, asker: Asker, bytes: usize, until: Duration) {
        self.close(asker);
        if bytes > 0 {
            self.open.insert(asker, (bytes, until));
            self.open_until.insert((until, asker));
            *self.by_sender.entry(asker.sender).or_default() += bytes;
        }
    }

    /// Notes how much of what was asked for is still to come.
    #[inline]
    pub(super) fn set_missing(&mut self, asker: Asker, bytes: usize) {
        if let Some(&(before, until)) = self.open.get(&asker)
            && before != bytes
        {
            self.set_open(asker, bytes, until);
        }
    }

    /// Forgets a message.
    pub(super) fn forget(&mut self, asker: Asker) {
        for unanswered in [false, true] {
            self.waiting.remove(&(asker.sender, unanswered, asker));
        }
        self.close(asker);
    }

    /// The message of this sender whose turn it is now, if one waits and there is room.
    pub(super) fn next(&mut self, sender: u64) -> Option<Asker> {
        let first = Asker {
            sender,
            birth: 0,
            index: 0,
        };
        let next = *self.waiting.range((sender, false, first)..).next()?;
        if next.0 != sender || self.open_of(sender) >= WINDOW {
            return None;
        }
        self.waiting.remove(&next);
        Some(next.2)
    }

    /// When [`expire`](Self::expire) has something to do that somebody waits for.
    pub(super) fn due(&self) -> Option<Duration> {
        let (due, _) = self.open_until.first()?;
        (!self.waiting.is_empty()).then_some(*due)
    }

    /// Counts no more on one that has had its time; gives its sender.
    pub(super) fn expire(&mut self, now: Duration) -> Option<u64> {
        let &(_, asker) = self.open_until.first().filter(|(until, _)| *until <= now)?;
        self.close(asker);
        Some(asker.sender)
    }

    fn open_of(&self, sender: u64) -> usize {
        self.by_sender.get(&sender).copied().unwrap_or(0)
    }

    fn close(&mut self, asker: Asker) {
        let Some((bytes, until)) = self.open.remove(&asker) else {
            return;
        };
        self.open_until.remove(&(until, asker));
        if let Entry::Occupied(mut open) = self.by_sender.entry(asker.sender) {
            *open.get_mut() -= bytes;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Duration = Duration::from_millis(50);

    fn turns() -> Turns {
        use rand::{SeedableRng, rngs::StdRng};
        Turns::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn asker(sender: u64, birth: u64) -> Asker {
        Asker {
            sender,
            birth,
            index: birth as usize,
        }
    }

    #[test]
    fn the_oldest_of_those_who_wait_is_next_when_there_is_room() {
        let mut turns = turns();
        assert!(turns.may_ask(asker(1, 1), false));
        turns.set_open(asker(1, 1), WINDOW, UNTIL);
        assert!(!turns.may_ask(asker(1, 3), false));
        assert!(!turns.may_ask(asker(1, 2), false));
        assert!(!turns.may_ask(asker(1, 4), true));
        assert!(turns.may_ask(asker(2, 1), false), "another sender");
        assert!(turns.may_ask(asker(1, 1), false), "it is its own");
        assert_eq!(turns.next(1), None);
        assert_eq!(turns.due(), Some(UNTIL));
        turns.set_missing(asker(1, 1), WINDOW - 1);
        assert_eq!(turns.next(1), Some(asker(1, 4)), "it has had answers");
        assert_eq!(turns.next(1), Some(asker(1, 2)));
        turns.set_open(asker(1, 2), 1, 2 * UNTIL);
        assert_eq!(turns.next(1), None);
        assert_eq!(turns.expire(UNTIL / 2), None);
        assert_eq!(turns.expire(UNTIL), Some(1));
        assert_eq!(turns.next(1), Some(asker(1, 3)));
        assert_eq!((turns.next(1), turns.next(2)), (None, None));
        assert_eq!(turns.due(), None, "nobody waits");
    }

    #[test]
    fn nothing_is_left_of_what_is_over() {
        let mut turns = turns();
        turns.set_open(asker(1, 1), 2 * WINDOW, UNTIL);
        assert!(!turns.may_ask(asker(1, 2), true));
        assert!(!turns.may_ask(asker(1, 3), false));
        turns.forget(asker(1, 2));
        turns.forget(asker(1, 1));
        assert_eq!(turns.next(1), Some(asker(1, 3)));
        turns.set_open(asker(1, 3), 5, UNTIL);
        turns.set_missing(asker(1, 3), 0);
        turns.set_missing(asker(1, 7), 5);
        assert!(turns.waiting.is_empty() && turns.open.is_empty());
        assert!(turns.open_until.is_empty() && turns.by_sender.is_empty());
    }
}
