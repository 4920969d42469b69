//! Which message may request its missing chunks next, where its sender does not answer all
//! requests.
//!
//! A sender answers only so much a second and drops requests beyond that (WIRE.md section 6), and a
//! message is requested only a few times without any answer. So while a part of the last request is
//! unanswered, the next message waits until little enough is under way from that sender. That holds
//! also where a part of the answer has come: otherwise messages that are answered a little all the
//! time use up all that the sender can answer, and the few requests of the others go unanswered.
//! Messages whose requests were answered come first, the older ones of them before the newer.
//!
//! Not responsible for the missing chunks of a message, nor for the time of a request: both are
//! `ChunkNacks`'.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use crate::proto::hash::HashKey;

/// How many requested bytes of one sender may be outstanding, over all its messages, for a request
/// to go out after one that was not answered in full: as much as it answers (4 MiB a second) within
/// some two of the first pauses (50 ms). A link that loses many datagrams needs a few requests
/// under way to be used well, and with twice as much, requests that the sender cannot answer are
/// wasted.
const WINDOW: usize = 512 << 10;

/// A message that may have something to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::proto) struct Requester {
    /// The sender of the message.
    pub(in crate::proto) sender: u64,
    /// Which of them: the older one comes first.
    pub(in crate::proto) birth: u64,
    pub(in crate::proto) index: usize,
}

pub(in crate::proto) struct RequestWindow {
    /// By sender, and whether no request has brought anything yet.
    waiting: BTreeSet<(u64, bool, Requester)>,
    /// What was requested and has not come: how many bytes, and how long it may take.
    open: HashMap<Requester, (usize, Duration), HashKey>,
    open_until: BTreeSet<(Duration, Requester)>,
    /// All that is open of a sender, in bytes.
    by_sender: HashMap<u64, usize, HashKey>,
    /// When a request has last brought something of a sender.
    answered: HashMap<u64, Duration, HashKey>,
}

impl RequestWindow {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            waiting: BTreeSet::new(),
            open: HashMap::with_hasher(key),
            open_until: BTreeSet::new(),
            by_sender: HashMap::with_hasher(key),
            answered: HashMap::with_hasher(key),
        }
    }

    /// Whether a message may send a request now, after one that was answered or not. Otherwise it
    /// waits, until [`next`](Self::next) returns it.
    pub(in crate::proto) fn may_ask(&mut self, requester: Requester, answered: bool) -> bool {
        let own = self.open.get(&requester).map_or(0, |open| open.0);
        let may = self.open_of(requester.sender) - own < WINDOW;
        if !may {
            self.waiting
                .insert((requester.sender, !answered, requester));
        }
        may
    }

    /// Notes that so many bytes of a message were requested, or are still outstanding, until a
    /// moment from which on they are no longer expected.
    pub(in crate::proto) fn set_open(
        &mut self,
        requester: Requester,
        bytes: usize,
        until: Duration,
    ) {
        self.close(requester);
        if bytes > 0 {
            self.open.insert(requester, (bytes, until));
            self.open_until.insert((until, requester));
            *self.by_sender.entry(requester.sender).or_default() += bytes;
        }
    }

    /// Notes that a requested part has come, and how much of the request is still outstanding.
    pub(in crate::proto) fn has_brought(
        &mut self,
        now: Duration,
        requester: Requester,
        rest: usize,
    ) {
        self.answered.insert(requester.sender, now);
        if let Some(&(_, until)) = self.open.get(&requester) {
            self.set_open(requester, rest, until);
        }
    }

    /// When a request has last brought something of a sender; zero if none has.
    pub(in crate::proto) fn answered(&self, sender: u64) -> Duration {
        self.answered.get(&sender).copied().unwrap_or_default()
    }

    /// A message waits no more.
    pub(in crate::proto) fn stop_waiting(&mut self, requester: Requester) {
        for unanswered in [false, true] {
            self.waiting
                .remove(&(requester.sender, unanswered, requester));
        }
    }

    /// Forgets a message.
    pub(in crate::proto) fn forget(&mut self, requester: Requester) {
        self.stop_waiting(requester);
        self.close(requester);
    }

    /// Forgets a sender that has no more messages.
    pub(in crate::proto) fn forget_sender(&mut self, sender: u64) {
        self.answered.remove(&sender);
    }

    /// The next message of this sender that may send a request, if one waits and there is room.
    pub(in crate::proto) fn next(&mut self, sender: u64) -> Option<Requester> {
        let first = Requester {
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

    /// When [`expire`](Self::expire) has something to do, if a message waits.
    pub(in crate::proto) fn due(&self) -> Option<Duration> {
        let (due, _) = self.open_until.first()?;
        (!self.waiting.is_empty()).then_some(*due)
    }

    /// Removes a request whose time is over; returns its sender.
    pub(in crate::proto) fn expire(&mut self, now: Duration) -> Option<u64> {
        let &(_, requester) = self.open_until.first().filter(|(until, _)| *until <= now)?;
        self.close(requester);
        Some(requester.sender)
    }

    fn open_of(&self, sender: u64) -> usize {
        self.by_sender.get(&sender).copied().unwrap_or(0)
    }

    fn close(&mut self, requester: Requester) {
        let Some((bytes, until)) = self.open.remove(&requester) else {
            return;
        };
        self.open_until.remove(&(until, requester));
        if let Entry::Occupied(mut open) = self.by_sender.entry(requester.sender) {
            *open.get_mut() -= bytes;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
impl RequestWindow {
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.open.is_empty()
            && self.open_until.is_empty()
            && self.by_sender.is_empty()
            && self.answered.is_empty()
    }

    pub(in crate::proto) fn is_waiting(&self, requester: Requester) -> bool {
        [false, true]
            .map(|unanswered| (requester.sender, unanswered, requester))
            .iter()
            .any(|key| self.waiting.contains(key))
    }

    pub(in crate::proto) fn is_full(&self, sender: u64) -> bool {
        self.open_of(sender) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Duration = Duration::from_millis(50);

    fn turns() -> RequestWindow {
        use rand::{SeedableRng, rngs::StdRng};
        RequestWindow::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn requester(sender: u64, birth: u64) -> Requester {
        Requester {
            sender,
            birth,
            index: birth as usize,
        }
    }

    #[test]
    fn the_oldest_of_those_who_wait_is_next_when_there_is_room() {
        let mut turns = turns();
        assert!(turns.may_ask(requester(1, 1), false));
        turns.set_open(requester(1, 1), WINDOW, UNTIL);
        assert!(!turns.may_ask(requester(1, 3), false));
        assert!(!turns.may_ask(requester(1, 2), false));
        assert!(!turns.may_ask(requester(1, 4), true));
        assert!(turns.may_ask(requester(2, 1), false), "another sender");
        assert!(turns.may_ask(requester(1, 1), false), "it is its own");
        assert_eq!(turns.next(1), None);
        assert_eq!(turns.due(), Some(UNTIL));
        turns.has_brought(UNTIL / 5, requester(1, 1), WINDOW - 1);
        assert_eq!(turns.answered(1), UNTIL / 5);
        assert_eq!(turns.next(1), Some(requester(1, 4)), "it has had answers");
        assert_eq!(turns.next(1), Some(requester(1, 2)));
        turns.set_open(requester(1, 2), 1, 2 * UNTIL);
        assert_eq!(turns.next(1), None);
        assert_eq!(turns.expire(UNTIL / 2), None);
        assert_eq!(turns.expire(UNTIL), Some(1));
        assert_eq!(turns.next(1), Some(requester(1, 3)));
        assert_eq!((turns.next(1), turns.next(2)), (None, None));
        assert_eq!(turns.due(), None, "nobody waits");
    }

    #[test]
    fn nothing_is_left_of_what_is_over() {
        let mut turns = turns();
        turns.set_open(requester(1, 1), 2 * WINDOW, UNTIL);
        assert!(!turns.may_ask(requester(1, 2), true));
        assert!(!turns.may_ask(requester(1, 3), false));
        turns.forget(requester(1, 2));
        turns.forget(requester(1, 1));
        assert_eq!(turns.next(1), Some(requester(1, 3)));
        turns.set_open(requester(1, 3), 5, UNTIL);
        turns.has_brought(UNTIL, requester(1, 3), 0);
        turns.has_brought(UNTIL, requester(1, 7), 5);
        turns.forget_sender(1);
        assert!(turns.is_empty());
    }
}
