//! The counters received of each incarnation (WIRE.md section 8, "Replays").
//!
//! Only datagrams that a holder of the key has sealed, in time and for this bus, get this far, so
//! only such a holder can fill this table; it is bounded nevertheless.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::window::Window;
use crate::proto::{DropCause, hash::HashKey};

/// Most incarnations of which every counter is known.
pub(super) const MAX_INCARNATIONS: usize = 4096;

/// Most incarnations beside these of which the highest counters are known: those that were
/// displaced. It takes a few million bytes, and allows for more than a thousand that come and go in
/// a second.
const MAX_GONE: usize = 65_536;

/// How long an incarnation stays known after its last datagram; a datagram stays fresh for 30 s.
/// One whose sender's clock is ahead by that much stays fresh for twice as long.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The highest bit of a counter: it counts datagrams to single peers.
pub(super) const TO_ONE: u64 = 1 << 63;

/// The sender of a sealed datagram: its 8 bytes of id and its incarnation.
pub(super) type Sealer = ([u8; 8], u64);

type Key = (u64, u64);

/// The counters received, so that no datagram is accepted twice. A full table never makes this bus
/// deaf: a new incarnation takes the place of one that has said goodbye, or else of the one that
/// was silent longest, and of that one the highest counters stay known; no counter at or below them
/// is accepted any more.
pub(super) struct Replays {
    kept_for: Duration,
    places: HashMap<Key, usize, HashKey>,
    known: Vec<Known>,
    /// Those that have said goodbye, the first one first.
    departed: VecDeque<(usize, Key)>,
    gone: HashMap<Key, Gone, HashKey>,
    /// The keys of `gone` in the order in which they were added; some were removed since.
    gone_order: VecDeque<(Key, u64)>,
    next_gone: u64,
    /// Of unknown incarnations nothing is taken that was sent up to then: it may be one that was
    /// forgotten too early.
    forgotten_until: Option<u64>,
}

struct Known {
    sealer: Key,
    last_heard: Duration,
    /// The latest time, by its sender's clock, at which something of it was sent.
    last_sent: u64,
    has_left: bool,
    to_group: Option<Box<Window>>,
    to_one: Option<Box<Window>>,
}

/// An incarnation that was displaced.
struct Gone {
    /// Which entry of the order is its.
    id: u64,
    last_heard: Duration,
    last_sent: u64,
    /// The highest counters received; 0 for none.
    to_group: u64,
    to_one: u64,
}

impl Replays {
    /// For datagrams that count as fresh when their time and the clock differ by no more than
    /// `clock_tolerance`.
    pub(super) fn new(clock_tolerance: Duration, key: HashKey) -> Self {
        Self {
            kept_for: KEPT_FOR.max(clock_tolerance.saturating_mul(2)),
            places: HashMap::with_hasher(key),
            known: Vec::new(),
            departed: VecDeque::new(),
            gone: HashMap::with_hasher(key),
            gone_order: VecDeque::new(),
            next_gone: 0,
            forgotten_until: None,
        }
    }

    /// Takes a counter, once, of a datagram that was sent at this time. Nothing else is known of a
    /// sender by then than that it holds the key.
    #[inline]
    pub(super) fn take(
        &mut self,
        now: Duration,
        (sender, incarnation): Sealer,
        counter: u64,
        sent: u64,
    ) -> Result<(), DropCause> {
        let sealer = (u64::from_be_bytes(sender), incarnation);
        let place = match self.places.get(&sealer) {
            Some(&place) => place,
            None => self.admit(now, sealer, counter, sent)?,
        };
        let known = &mut self.known[place];
        known.last_heard = now;
        known.last_sent = known.last_sent.max(sent);
        let window = if counter & TO_ONE == 0 {
            &mut known.to_group
        } else {
            &mut known.to_one
        };
        let counter = counter & !TO_ONE;
        match window {
            Some(_) if cfg!(eventcast_sabotage = "replayed") => Ok(()),
            Some(window) => window.take(counter),
            None => {
                *window = Some(Box::new(Window::new(counter)));
                Ok(())
            }
        }
    }

    /// Notes that an incarnation has said goodbye: it is the first to make room.
    pub(super) fn note_goodbye(&mut self, (sender, incarnation): Sealer) {
        let sealer = (u64::from_be_bytes(sender), incarnation);
        if let Some(&place) = self.places.get(&sealer)
            && !std::mem::replace(&mut self.known[place].has_left, true)
        {
            self.departed.push_back((place, sealer));
        }
    }

    /// Makes room for an incarnation of which something may be taken.
    fn admit(
        &mut self,
        now: Duration,
        sealer: Key,
        counter: u64,
        sent: u64,
    ) -> Result<usize, DropCause> {
        let (mut to_group, mut to_one) = (None, None);
        if let Some(gone) = self.gone.get(&sealer) {
            let to_one_alone = counter & TO_ONE != 0;
            let highest = if to_one_alone {
                gone.to_one
            } else {
                gone.to_group
            };
            if counter & !TO_ONE <= highest {
                return Err(DropCause::Duplicate);
            }
            let window = |highest: u64| (highest > 0).then(|| Box::new(Window::new(highest)));
            (to_group, to_one) = (window(gone.to_group), window(gone.to_one));
            self.gone.remove(&sealer);
        } else if self.forgotten_until.is_some_and(|until| sent <= until) {
            return Err(DropCause::Old);
        }
        let known = Known {
            sealer,
            last_heard: now,
            last_sent: sent,
            has_left: false,
            to_group,
            to_one,
        };
        let place = if self.known.len() < MAX_INCARNATIONS {
            self.known.push(known);
            self.known.len() - 1
        } else {
            let place = self.next_to_go();
            let before = std::mem::replace(&mut self.known[place], known);
            self.places.remove(&before.sealer);
            self.keep_highest(now, &before);
            place
        };
        self.places.insert(sealer, place);
        Ok(place)
    }

    /// The incarnation to displace. Where none has said goodbye it looks at all: only holders of
    /// the key can cause that.
    fn next_to_go(&mut self) -> usize {
        while let Some((place, sealer)) = self.departed.pop_front() {
            let known = &self.known[place];
            if known.sealer == sealer && known.has_left {
                return place;
            }
        }
        let known = self.known.iter().enumerate();
        let oldest = known.min_by_key(|(_, known)| known.last_heard);
        oldest.map_or(0, |(place, _)| place)
    }

    /// Remembers the highest counters of one that has made room, for as long as something of it can
    /// be fresh.
    fn keep_highest(&mut self, now: Duration, known: &Known) {
        while let Some(&(sealer, id)) = self.gone_order.front() {
            let gone = self.gone.get(&sealer).filter(|gone| gone.id == id);
            let is_fresh = gone.is_some_and(|gone| now < gone.last_heard + self.kept_for);
            if is_fresh && self.gone_order.len() < MAX_GONE {
                break;
            }
            if is_fresh && let Some(gone) = gone {
                self.forgotten_until = self.forgotten_until.max(Some(gone.last_sent));
            }
            if gone.is_some() {
                self.gone.remove(&sealer);
            }
            self.gone_order.pop_front();
        }
        let highest = |window: &Option<Box<Window>>| window.as_ref().map_or(0, |w| w.highest());
        let id = self.next_gone;
        self.next_gone += 1;
        let gone = Gone {
            id,
            last_heard: known.last_heard,
            last_sent: known.last_sent,
            to_group: highest(&known.to_group),
            to_one: highest(&known.to_one),
        };
        self.gone.insert(known.sealer, gone);
        self.gone_order.push_back((known.sealer, id));
    }

    #[cfg(test)]
    pub(super) fn incarnations(&self) -> usize {
        assert_eq!(self.places.len(), self.known.len());
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn replays() -> Replays {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        Replays::new(Duration::from_secs(30), key)
    }

    fn sealer(i: u64) -> Sealer {
        ((i / 3).to_be_bytes(), i % 3)
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_first_of_each_kind_sets_its_window() {
        let mut replays = replays();
        let one = sealer(1);
        assert_eq!(replays.take(S(0), one, 10, 0), Ok(()));
        assert_eq!(replays.take(S(0), one, 9, 0), Err(DropCause::Duplicate));
        assert_eq!(replays.take(S(0), one, TO_ONE | 5, 0), Ok(()));
        assert_eq!(replays.take(S(0), one, TO_ONE | 6, 0), Ok(()));
        assert_eq!(
            replays.take(S(0), one, TO_ONE | 4, 0),
            Err(DropCause::Duplicate)
        );
        assert_eq!(replays.take(S(0), one, 11, 0), Ok(()));
        assert_eq!(replays.take(S(0), sealer(2), 1, 0), Ok(()));
        assert_eq!(replays.incarnations(), 2);
    }

    #[test]
    fn a_full_table_hears_newcomers_and_shows_nothing_again() {
        let mut replays = replays();
        let count = MAX_INCARNATIONS as u64;
        for i in 0..count {
            assert_eq!(replays.take(S(i / 100), sealer(i), 5, i), Ok(()));
        }
        // The first ones send again; 100 to 199 were silent longest.
        for i in 0..100 {
            assert_eq!(replays.take(S(50), sealer(i), 6, i), Ok(()));
        }
        for i in 0..100 {
            assert_eq!(replays.take(S(50), sealer(9_000 + i), 1, 0), Ok(()));
        }
        assert_eq!(replays.incarnations(), MAX_INCARNATIONS);
        for i in 0..count {
            assert_eq!(
                replays.take(S(51), sealer(i), 5, i),
                Err(DropCause::Duplicate),
                "{i}"
            );
            assert_eq!(
                replays.take(S(51), sealer(i), 4, i),
                Err(DropCause::Duplicate),
                "{i}"
            );
        }
        // A displaced incarnation is accepted when it goes on.
        for i in 100..200 {
            assert_eq!(replays.take(S(52), sealer(i), 6, i), Ok(()));
            assert_eq!(
                replays.take(S(52), sealer(i), 6, i),
                Err(DropCause::Duplicate)
            );
            assert_eq!(replays.take(S(52), sealer(i), TO_ONE | 1, i), Ok(()));
        }
        assert_eq!(replays.incarnations(), MAX_INCARNATIONS);
    }

    #[test]
    fn who_said_goodbye_makes_room_first() {
        let mut replays = replays();
        for i in 0..MAX_INCARNATIONS as u64 {
            assert_eq!(replays.take(S(i / 100), sealer(i), 1, i), Ok(()));
        }
        for i in 4_000..4_050 {
            replays.note_goodbye(sealer(i));
            replays.note_goodbye(sealer(i));
        }
        for i in 0..50 {
            assert_eq!(replays.take(S(50), sealer(9_000 + i), 1, 0), Ok(()));
        }
        // The one that has been silent longest is still known in full: a counter in its window, and
        // one above.
        assert_eq!(replays.take(S(50), sealer(0), 3, 0), Ok(()));
        assert_eq!(replays.take(S(50), sealer(0), 2, 0), Ok(()));
        for i in 4_000..4_050 {
            assert_eq!(
                replays.take(S(50), sealer(i), 1, i),
                Err(DropCause::Duplicate)
            );
        }
    }

    /// As many short-lived senders as there can be in a minute, and more, one after the other.
    #[test]
    fn ever_new_senders_that_leave_make_nobody_unheard() {
        let mut replays = replays();
        let mut sent = 0;
        for i in 0..100_000_u64 {
            let now = Duration::from_micros(400 * i);
            sent = 1_000_000 + i;
            assert_eq!(replays.take(now, sealer(i), 1, sent), Ok(()), "{i}");
            replays.note_goodbye(sealer(i));
        }
        assert!(replays.gone.len() <= MAX_GONE && replays.gone_order.len() <= MAX_GONE);
        assert!(replays.departed.len() <= MAX_INCARNATIONS);
        // While something of the forgotten ones may be fresh, nothing of them is accepted, nor of
        // unknown ones.
        let now = S(41);
        for i in (0..100_000_u64).step_by(97) {
            let taken = replays.take(now, sealer(i), 1, 1_000_000 + i);
            assert!(
                matches!(taken, Err(DropCause::Duplicate | DropCause::Old)),
                "{i}"
            );
        }
        assert_eq!(replays.take(now, sealer(200_000), 1, sent + 1), Ok(()));
    }

    proptest! {
        /// For any datagrams in any order: none is accepted twice while it can be fresh, no
        /// incarnation takes room from others, and a counter within the window that was not
        /// received is accepted.
        #[test]
        fn nothing_is_taken_twice(
            steps in prop::collection::vec((0_u64..4, 1_u64..50, any::<bool>(), 0_u64..3), 1..500),
        ) {
            let mut replays = replays();
            let mut had = HashSet::new();
            let mut firsts = std::collections::BTreeMap::new();
            let mut now = S(0);
            for (who, counter, to_one, wait) in steps {
                now += S(wait);
                let counter = counter | if to_one { TO_ONE } else { 0 };
                let first = *firsts.entry((who, to_one)).or_insert(counter);
                let expected = if counter < first || !had.insert((who, counter)) {
                    Err(DropCause::Duplicate)
                } else {
                    Ok(())
                };
                prop_assert_eq!(replays.take(now, sealer(who), counter, 0), expected);
            }
        }
    }
}
