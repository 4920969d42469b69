//! What is missing of one stream, and when it is asked for (WIRE.md section 7, "Asking").
//!
//! A gap is a run of numbers that were missed together. It is asked for after a short random delay, in which what was
//! only overtaken arrives by itself, then after pauses that double. When nothing of it has come for a whole
//! `message_ttl` it is over. What is left of a gap of which something came goes on with the pauses of the whole.
//!
//! Responsible for times and ranges alone: what a number is, and what its loss means, is [`Order`](super::order)'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The pause after the first time that a gap is asked for. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Numbers from the first to the last of a pair, both included.
pub(super) type Span = (u64, u64);

#[derive(Default)]
pub(super) struct Gaps {
    by_first: BTreeMap<u64, Gap>,
    /// Every gap's first number by the moment at which something is to be done about it.
    by_due: BTreeSet<(Duration, u64)>,
}

#[derive(Clone, Copy)]
struct Gap {
    last: u64,
    /// When it is to be asked for next, or given up.
    due: Duration,
    /// How long to wait after asking the next time.
    pause: Duration,
    /// When it was missed, or something of it came.
    since: Duration,
    /// When it was asked for last, and how often it was.
    asked_at: Duration,
    asks: u32,
}

/// How a number came that was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    /// It had been asked for.
    pub(super) asked: bool,
    /// How long ago, if that was once: of what was asked for more often nobody knows which time was answered (Karn's
    /// rule, RFC 6298 section 3).
    pub(super) answered_after: Option<Duration>,
}

impl Gaps {
    /// Whether nothing is missing.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// When [`ask`](Self::ask) or [`give_up`](Self::give_up) has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Notes that these numbers are missing, none of which is noted yet. They are asked for at `due`.
    pub(super) fn add(&mut self, now: Duration, (first, last): Span, due: Duration) {
        debug_assert!(first <= last && self.overlapping((first, last)).is_none());
        let gap = Gap {
            last,
            due,
            pause: FIRST_PAUSE,
            since: now,
            asked_at: now,
            asks: 0,
        };
        self.insert(first, gap);
    }

    /// Notes that a number has come. `None`: it was not missing.
    pub(super) fn fill(&mut self, now: Duration, number: u64) -> Option<Filled> {
        let (first, gap) = self.overlapping((number, number))?;
        self.remove(first);
        let rest = Gap { since: now, ..gap };
        self.insert_if_any((first, number - 1), rest);
        self.insert_if_any((number + 1, gap.last), rest);
        Some(Filled {
            asked: gap.asks > 0,
            answered_after: (gap.asks == 1).then(|| now.saturating_sub(gap.asked_at)),
        })
    }

    /// Takes out what has been asked for of these numbers, piece by piece: `None` when nothing is left of it.
    pub(super) fn take_asked(&mut self, (first, last): Span) -> Option<Span> {
        let mut from = first;
        loop {
            let (start, gap) = self.overlapping((from, last))?;
            if gap.asks > 0 {
                let taken = (start.max(first), gap.last.min(last));
                self.carve(start, gap, taken);
                return Some(taken);
            }
            from = gap.last + 1;
            if from > last {
                return None;
            }
        }
    }

    /// Takes out the first piece that is missing at or below a number.
    pub(super) fn take_up_to(&mut self, number: u64) -> Option<Span> {
        let (&first, &gap) = self.by_first.first_key_value()?;
        if first > number {
            return None;
        }
        let taken = (first, gap.last.min(number));
        self.carve(first, gap, taken);
        Some(taken)
    }

    /// Forgets everything above a number.
    pub(super) fn forget_above(&mut self, number: u64) {
        while let Some((&first, &gap)) = self.by_first.last_key_value()
            && gap.last > number
        {
            self.remove(first);
            self.insert_if_any((first, number), gap);
        }
    }

    /// The numbers that are to be asked for now, in order, up to so many runs. They count as asked. Call
    /// [`give_up`](Self::give_up) first, until it has nothing: what is over is not asked for.
    pub(super) fn ask(&mut self, now: Duration, ttl: Duration, most: usize, spans: &mut Vec<Span>) {
        spans.clear();
        while spans.len() < most
            && let Some(&(due, first)) = self.by_due.first()
            && due <= now
        {
            let mut gap = self.remove(first);
            spans.push((first, gap.last));
            gap.asked_at = now;
            gap.asks += 1;
            // No later than the moment at which it is over.
            gap.due = (now + gap.pause).min(gap.since.saturating_add(ttl));
            gap.pause = (gap.pause * 2).min(LONGEST_PAUSE);
            if cfg!(eventcast_sabotage = "request_storm") {
                gap.due = now + FIRST_PAUSE / 10;
            }
            self.insert(first, gap);
        }
        spans.sort_unstable();
    }

    /// Takes out a gap of which nothing has come for `ttl`.
    pub(super) fn give_up(&mut self, now: Duration, ttl: Duration) -> Option<Span> {
        // Those that are due: each is either asked for or given up, so none of them is looked at twice.
        let over = self
            .by_due
            .range(..=(now, u64::MAX))
            .find_map(|&(_, first)| {
                let gap = self.by_first[&first];
                (gap.since.saturating_add(ttl) <= now).then_some((first, gap.last))
            })?;
        self.remove(over.0);
        Some(over)
    }

    /// The gap, if any, that shares a number with this span; the lowest one.
    fn overlapping(&self, (first, last): Span) -> Option<(u64, Gap)> {
        if let Some((&start, &gap)) = self.by_first.range(..=first).next_back()
            && gap.last >= first
        {
            return Some((start, gap));
        }
        let (&start, &gap) = self.by_first.range(first..=last).next()?;
        Some((start, gap))
    }

    fn carve(&mut self, start: u64, gap: Gap, (first, last): Span) {
        self.remove(start);
        if first > start {
            self.insert(
                start,
                Gap {
                    last: first - 1,
                    ..gap
                },
            );
        }
        self.insert_if_any((last + 1, gap.last), gap);
    }

    fn insert_if_any(&mut self, (first, last): Span, gap: Gap) {
        if first <= last {
            self.insert(first, Gap { last, ..gap });
        }
    }

    fn insert(&mut self, first: u64, gap: Gap) {
        self.by_first.insert(first, gap);
        self.by_due.insert((gap.due, first));
    }

    fn remove(&mut self, first: u64) -> Gap {
        let gap = self.by_first.remove(&first).expect("it was just found");
        self.by_due.remove(&(gap.due, first));
        gap
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn asked(gaps: &mut Gaps, now: Duration) -> Vec<Span> {
        let mut spans = Vec::new();
        gaps.ask(now, TTL, 64, &mut spans);
        spans
    }

    #[test]
    fn asks_with_growing_pauses_until_it_is_over() {
        let mut gaps = Gaps::default();
        gaps.add(ms(0), (5, 9), ms(7));
        let mut times = Vec::new();
        let mut over = None;
        while let Some(due) = gaps.due() {
            over = gaps.give_up(due, TTL);
            if over.is_some() {
                assert_eq!(due, TTL);
            } else {
                assert_eq!(asked(&mut gaps, due), [(5, 9)]);
                times.push(due.as_millis());
            }
        }
        assert_eq!(over, Some((5, 9)));
        assert_eq!(times, [7, 27, 67, 147, 307, 627, 1127, 1627, 2127, 2627]);
    }

    #[test]
    fn what_comes_splits_a_gap_and_gives_the_rest_more_time() {
        let mut gaps = Gaps::default();
        gaps.add(ms(0), (5, 9), ms(7));
        assert_eq!(gaps.fill(ms(1), 4), None);
        assert_eq!(gaps.fill(ms(1), 10), None);
        assert_eq!(gaps.fill(ms(1), 7), Some(Filled::default()));
        assert_eq!(asked(&mut gaps, ms(7)), [(5, 6), (8, 9)]);
        let answered = |asked, after: Option<u64>| Filled {
            asked,
            answered_after: after.map(ms),
        };
        assert_eq!(gaps.fill(ms(9), 8), Some(answered(true, Some(2))));
        assert_eq!(asked(&mut gaps, ms(27)), [(5, 6), (9, 9)]);
        assert_eq!(gaps.fill(ms(2_000), 5), Some(answered(true, None)));
        assert_eq!(gaps.give_up(ms(3_500), TTL), Some((9, 9)));
        assert_eq!(gaps.give_up(ms(3_500), TTL), None);
        assert_eq!(gaps.fill(ms(3_600), 6), Some(answered(true, None)));
        assert!(gaps.is_empty() && gaps.due().is_none());
    }

    #[test]
    fn only_what_was_asked_for_can_be_taken_out() {
        let mut gaps = Gaps::default();
        gaps.add(ms(0), (10, 20), ms(5));
        gaps.add(ms(0), (30, 40), ms(9));
        assert_eq!(gaps.take_asked((1, 100)), None);
        asked(&mut gaps, ms(5));
        assert_eq!(gaps.take_asked((15, 100)), Some((15, 20)));
        assert_eq!(gaps.take_asked((15, 100)), None);
        assert_eq!(asked(&mut gaps, ms(9)), [(30, 40)]);
        assert_eq!(gaps.take_asked((35, 36)), Some((35, 36)));
        assert_eq!(asked(&mut gaps, ms(100)), [(10, 14), (30, 34), (37, 40)]);
    }

    #[test]
    fn what_is_above_is_forgotten() {
        let mut gaps = Gaps::default();
        gaps.add(ms(0), (10, 20), ms(5));
        gaps.add(ms(0), (30, 40), ms(5));
        gaps.forget_above(15);
        assert_eq!(asked(&mut gaps, ms(5)), [(10, 15)]);
        assert_eq!(gaps.take_up_to(12), Some((10, 12)));
        assert_eq!(gaps.take_up_to(12), None);
        assert_eq!(gaps.take_up_to(99), Some((13, 15)));
        assert!(gaps.is_empty());
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut rng = StdRng::from_seed([3; 32]);
        for _ in 0..200 {
            let mut gaps = Gaps::default();
            let mut missing = BTreeSet::new();
            let mut next = 1;
            for step in 0..200u64 {
                match rng.random_range(0..4) {
                    0 => {
                        let first = next + rng.random_range(0..3);
                        next = first + rng.random_range(1..10);
                        gaps.add(ms(step), (first, next - 1), ms(step + 5));
                        missing.extend(first..next);
                    }
                    1 => {
                        let number = rng.random_range(1..=next);
                        assert_eq!(
                            gaps.fill(ms(step), number).is_some(),
                            missing.remove(&number)
                        );
                    }
                    2 => {
                        asked(&mut gaps, ms(step));
                    }
                    _ => {
                        let first = rng.random_range(1..=next);
                        let span = (first, first + rng.random_range(0..10));
                        while let Some((first, last)) = gaps.take_asked(span) {
                            assert!(span.0 <= first && last <= span.1);
                            for number in first..=last {
                                assert!(missing.remove(&number));
                            }
                        }
                    }
                }
                let noted: BTreeSet<u64> = gaps
                    .by_first
                    .iter()
                    .flat_map(|(&first, gap)| first..=gap.last)
                    .collect();
                assert_eq!(noted, missing);
                assert_eq!(gaps.by_due.len(), gaps.by_first.len());
            }
        }
    }
}
