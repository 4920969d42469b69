//! What was had of each incarnation (WIRE.md section 8, "Replays").
//!
//! Only what a holder of the key has sealed, in time and for this bus, gets this far, so only such a holder can fill
//! this; it is bounded all the same.

use std::{collections::HashMap, time::Duration};

use super::window::Window;
use crate::proto::{DropCause, hash::HashKey};

/// Most incarnations of which something is known.
pub(super) const MAX_INCARNATIONS: usize = 4096;

/// How long what is known of an incarnation is kept after its last datagram, where a datagram stays fresh for 30 s. One
/// whose sender's clock is ahead by that much stays fresh for twice as long.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The highest bit of a counter: it counts datagrams to single peers.
pub(super) const TO_ONE: u64 = 1 << 63;

/// Who sealed a datagram: the sender's 8 bytes and its incarnation.
pub(super) type Sealer = ([u8; 8], u64);

pub(super) struct Replays {
    kept_for: Duration,
    places: HashMap<(u64, u64), usize, HashKey>,
    known: Vec<Known>,
    /// Until then all have been heard too lately to make room.
    full_until: Duration,
}

struct Known {
    sealer: (u64, u64),
    last_heard: Duration,
    to_group: Option<Box<Window>>,
    to_one: Option<Box<Window>>,
}

impl Replays {
    /// For datagrams that count as fresh when their time and the clock differ by no more than `clock_tolerance`.
    pub(super) fn new(clock_tolerance: Duration, key: HashKey) -> Self {
        Self {
            kept_for: KEPT_FOR.max(clock_tolerance.saturating_mul(2)),
            places: HashMap::with_hasher(key),
            known: Vec::new(),
            full_until: Duration::ZERO,
        }
    }

    /// Takes a counter, once. Nothing else is known of a sender by then than that it holds the key.
    #[inline]
    pub(super) fn take(
        &mut self,
        now: Duration,
        (sender, incarnation): Sealer,
        counter: u64,
    ) -> Result<(), DropCause> {
        let sealer = (u64::from_be_bytes(sender), incarnation);
        let place = match self.places.get(&sealer) {
            Some(&place) => place,
            None => self.admit(now, sealer)?,
        };
        let known = &mut self.known[place];
        known.last_heard = now;
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

    fn admit(&mut self, now: Duration, sealer: (u64, u64)) -> Result<usize, DropCause> {
        let known = Known {
            sealer,
            last_heard: now,
            to_group: None,
            to_one: None,
        };
        let place = if self.known.len() < MAX_INCARNATIONS {
            self.known.push(known);
            self.known.len() - 1
        } else {
            let place = self.longest_silent(now)?;
            self.places.remove(&self.known[place].sealer);
            self.known[place] = known;
            place
        };
        self.places.insert(sealer, place);
        Ok(place)
    }

    /// The one to go. Looks at all, but not again before somebody can have been silent for long enough.
    fn longest_silent(&mut self, now: Duration) -> Result<usize, DropCause> {
        if now < self.full_until {
            return Err(DropCause::Crowded);
        }
        let known = self.known.iter().enumerate();
        let oldest = known.min_by_key(|(_, known)| known.last_heard);
        let (place, last_heard) = oldest
            .map(|(place, known)| (place, known.last_heard))
            .ok_or(DropCause::Crowded)?;
        self.full_until = last_heard + self.kept_for;
        if now < self.full_until {
            return Err(DropCause::Crowded);
        }
        Ok(place)
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
        assert_eq!(replays.take(S(0), one, 10), Ok(()));
        assert_eq!(replays.take(S(0), one, 9), Err(DropCause::Double));
        assert_eq!(replays.take(S(0), one, TO_ONE | 5), Ok(()));
        assert_eq!(replays.take(S(0), one, TO_ONE | 6), Ok(()));
        assert_eq!(replays.take(S(0), one, TO_ONE | 4), Err(DropCause::Double));
        assert_eq!(replays.take(S(0), one, 11), Ok(()));
        assert_eq!(replays.take(S(0), sealer(2), 1), Ok(()));
        assert_eq!(replays.incarnations(), 2);
    }

    #[test]
    fn no_more_than_so_many_and_the_longest_silent_goes() {
        let mut replays = replays();
        for i in 0..MAX_INCARNATIONS as u64 {
            assert_eq!(replays.take(S(i / 100), sealer(i), 1), Ok(()));
        }
        // The first ones speak again; 100 to 199 are silent since second 1.
        for i in 0..100 {
            assert_eq!(replays.take(S(50), sealer(i), 2), Ok(()));
        }
        for second in [50, 60] {
            assert_eq!(
                replays.take(S(second), sealer(9_000), 1),
                Err(DropCause::Crowded)
            );
        }
        for i in 0..100 {
            assert_eq!(replays.take(S(61), sealer(9_000 + i), 1), Ok(()));
        }
        assert_eq!(
            replays.take(S(61), sealer(9_100), 1),
            Err(DropCause::Crowded)
        );
        assert_eq!(replays.incarnations(), MAX_INCARNATIONS);
        // Those that went are new, the others are known.
        assert_eq!(replays.take(S(61), sealer(0), 2), Err(DropCause::Double));
        assert_eq!(replays.take(S(61), sealer(200), 1), Err(DropCause::Double));
        assert_eq!(replays.take(S(63), sealer(100), 1), Ok(()));
    }

    #[test]
    fn what_stays_fresh_for_longer_is_known_for_longer() {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        let mut replays = Replays::new(Duration::from_secs(120), key);
        for i in 0..MAX_INCARNATIONS as u64 {
            assert_eq!(replays.take(S(0), sealer(i), 1), Ok(()));
        }
        let new = sealer(9_000);
        assert_eq!(replays.take(S(239), new, 1), Err(DropCause::Crowded));
        assert_eq!(replays.take(S(240), new, 1), Ok(()));
    }

    proptest! {
        /// Whatever comes in whatever order: nothing is taken twice while it can be fresh, nobody takes room from
        /// others, and what was not had and is within the window is taken.
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
                    Err(DropCause::Double)
                } else {
                    Ok(())
                };
                prop_assert_eq!(replays.take(now, sealer(who), counter), expected);
            }
        }
    }
}
