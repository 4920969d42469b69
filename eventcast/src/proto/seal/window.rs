//! The counters received, for one incarnation and one kind of counter (WIRE.md section 8,
//! "Replays").

use crate::proto::DropCause;

/// How many counters below the highest are remembered one by one.
pub(super) const WIDTH: u64 = 4096;

const WORDS: usize = WIDTH as usize / 64;

/// The counters from `highest - WIDTH + 1` to `highest`.
pub(super) struct Window {
    highest: u64,
    /// Bit `counter % WIDTH`: it was received.
    had: [u64; WORDS],
}

impl Window {
    /// Begins with the first counter that is accepted: every lower one counts as received.
    pub(super) fn new(first: u64) -> Self {
        Self {
            highest: first,
            had: [u64::MAX; WORDS],
        }
    }

    /// The highest counter received.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Takes a counter, once.
    #[inline]
    pub(super) fn take(&mut self, counter: u64) -> Result<(), DropCause> {
        let place = (counter / 64) as usize % WORDS;
        let bit = 1 << (counter % 64);
        if counter > self.highest {
            self.advance(counter);
        } else if self.highest - counter >= WIDTH {
            return Err(DropCause::Old);
        } else if self.had[place] & bit != 0 {
            return Err(DropCause::Duplicate);
        }
        self.had[place] |= bit;
        Ok(())
    }

    /// Makes this the highest counter. The counters that it skips were not received.
    fn advance(&mut self, counter: u64) {
        if counter - self.highest >= WIDTH {
            self.had = [0; WORDS];
        } else {
            for passed in self.highest + 1..=counter {
                self.had[(passed / 64) as usize % WORDS] &= !(1 << (passed % 64));
            }
        }
        self.highest = counter;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A plain set of all received counters, as a reference.
    struct Model {
        first: u64,
        highest: u64,
        had: BTreeSet<u64>,
    }

    impl Model {
        fn take(&mut self, counter: u64) -> Result<(), DropCause> {
            if self.highest.saturating_sub(counter) >= WIDTH {
                return Err(DropCause::Old);
            }
            if counter < self.first || !self.had.insert(counter) {
                return Err(DropCause::Duplicate);
            }
            self.highest = self.highest.max(counter);
            Ok(())
        }
    }

    /// Steps from the highest counter so far: mostly small ones, now and then over the whole window
    /// or far beyond.
    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![
            8 => -3_i64..4,
            4 => -200_i64..200,
            2 => -5_000_i64..5_000,
            1 => prop_oneof![Just(4_095), Just(4_096), Just(-4_095), Just(-4_096), Just(1 << 40)],
        ]
    }

    proptest! {
        #[test]
        fn a_window_does_what_the_model_does(first in 1_u64..20_000, steps in prop::collection::vec(step(), 1..600)) {
            let mut window = Window::new(first);
            let mut model = Model { first, highest: first, had: BTreeSet::from([first]) };
            for step in steps {
                let counter = model.highest.saturating_add_signed(step).max(1);
                prop_assert_eq!(window.take(counter), model.take(counter), "{}", counter);
            }
        }
    }

    #[test]
    fn its_edges() {
        let mut window = Window::new(1);
        assert_eq!(window.take(1), Err(DropCause::Duplicate));
        assert_eq!(window.take(4096), Ok(()));
        assert_eq!(window.take(1), Err(DropCause::Duplicate));
        assert_eq!(window.take(2), Ok(()));
        assert_eq!(window.take(4097), Ok(()));
        assert_eq!(window.take(1), Err(DropCause::Old));
        assert_eq!(window.take(2), Err(DropCause::Duplicate));
        let last = (1 << 63) - 1;
        assert_eq!(window.take(last), Ok(()));
        assert_eq!(window.take(last), Err(DropCause::Duplicate));
        assert_eq!(window.take(last - WIDTH + 1), Ok(()));
        assert_eq!(window.take(last - WIDTH), Err(DropCause::Old));
    }
}
