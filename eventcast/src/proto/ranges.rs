//! A set of numbers, kept as ranges that neither touch nor overlap: however its numbers come, it
//! costs what its holes cost.

use std::collections::BTreeMap;

/// Numbers from the first to the last of a pair, both included.
pub(super) type Span = (u64, u64);

/// How many numbers a span has.
pub(super) fn count((first, last): Span) -> u64 {
    last.saturating_sub(first).saturating_add(1)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    /// The last number of each range by its first.
    by_first: BTreeMap<u64, u64>,
}

impl RangeSet {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.by_first.len()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> {
        self.by_first.iter().map(|(&first, &last)| (first, last))
    }

    pub(super) fn first(&self) -> Option<Span> {
        self.iter().next()
    }

    /// The lowest and the highest number.
    pub(super) fn ends(&self) -> Option<Span> {
        let (&first, _) = self.by_first.first_key_value()?;
        let (_, &last) = self.by_first.last_key_value()?;
        Some((first, last))
    }

    #[cfg(test)]
    pub(super) fn contains(&self, number: u64) -> bool {
        let before = self.by_first.range(..=number).next_back();
        before.is_some_and(|(_, last)| *last >= number)
    }

    /// Whether this span would not make a new range.
    pub(super) fn touches(&self, (first, last): Span) -> bool {
        let before = self.by_first.range(..=last.saturating_add(1)).next_back();
        before.is_some_and(|(_, &until)| until.saturating_add(1) >= first)
    }

    /// Adds numbers, some of which may be there.
    pub(super) fn insert(&mut self, (mut first, mut last): Span) {
        debug_assert!(first <= last);
        while let Some((&start, &until)) =
            self.by_first.range(..=last.saturating_add(1)).next_back()
            && until.saturating_add(1) >= first
        {
            self.by_first.remove(&start);
            first = first.min(start);
            last = last.max(until);
        }
        self.by_first.insert(first, last);
    }

    /// Takes numbers out, some of which may not be there; gives how many were.
    pub(super) fn remove(&mut self, (first, last): Span) -> u64 {
        let mut removed = 0_u64;
        while let Some((&start, &until)) = self.by_first.range(..=last).next_back()
            && until >= first
        {
            self.by_first.remove(&start);
            removed = removed.saturating_add(count((start.max(first), until.min(last))));
            if until > last {
                self.by_first.insert(last + 1, until);
            }
            if start < first {
                self.by_first.insert(start, first - 1);
                break;
            }
        }
        removed
    }

    /// Takes out everything above a number.
    pub(super) fn remove_above(&mut self, number: u64) {
        if let Some(above) = number.checked_add(1) {
            self.remove((above, u64::MAX));
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_first.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn what_touches_is_one_range() {
        let mut set = RangeSet::default();
        for number in (1..=1_000).rev() {
            set.insert((number, number));
        }
        assert!(set.iter().eq([(1, 1_000)]));
        assert_eq!(set.remove((10, 19)), 10);
        assert_eq!(set.remove((15, 20)), 1);
        assert!(set.iter().eq([(1, 9), (21, 1_000)]));
        assert!(set.touches((10, 12)) && set.touches((15, 20)) && !set.touches((11, 19)));
        set.insert((9, 21));
        set.remove_above(7);
        assert!(set.iter().eq([(1, 7)]));
    }

    #[test]
    fn the_highest_numbers_have_their_place() {
        let mut set = RangeSet::default();
        set.insert((u64::MAX, u64::MAX));
        set.insert((0, 0));
        set.insert((1, u64::MAX - 1));
        assert!(set.iter().eq([(0, u64::MAX)]));
        assert_eq!(set.remove((0, u64::MAX)), u64::MAX, "one more saturates");
        set.remove_above(u64::MAX);
        assert!(set.is_empty());
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut rng = StdRng::from_seed([4; 32]);
        for _ in 0..200 {
            let (mut set, mut plain) = (RangeSet::default(), BTreeSet::new());
            for _ in 0..100 {
                let first = rng.random_range(1..60);
                let span = (first, first + rng.random_range(0..8));
                let numbers = span.0..=span.1;
                if rng.random_range(0..3) > 0 {
                    let touches = (span.0 - 1..=span.1 + 1).any(|n| plain.contains(&n));
                    assert_eq!(set.touches(span), touches);
                    set.insert(span);
                    plain.extend(numbers);
                } else {
                    let removed = numbers.filter(|number| plain.remove(number)).count();
                    assert_eq!(set.remove(span), removed as u64);
                }
                let listed: BTreeSet<u64> = set.iter().flat_map(|(a, b)| a..=b).collect();
                assert_eq!(listed, plain);
                assert!((0..80).all(|number| set.contains(number) == plain.contains(&number)));
                let ranges: Vec<Span> = set.iter().collect();
                assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }
}
