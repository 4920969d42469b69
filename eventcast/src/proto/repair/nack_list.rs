//! What is missing of one stream, and when it is requested (WIRE.md section 7, "Asking").
//!
//! A gap is a run of numbers that were missed together. It is requested after a short random delay,
//! in which overtaken messages arrive by themselves, then after pauses that double. When nothing of
//! it has come for a whole `message_ttl` it is over. When a part of a gap has come, the rest keeps
//! the schedule of the whole.
//!
//! A sender answers only so much a second. Where more is missing than that, the gaps are answered
//! one after the other, and a gap of which nothing has come is not over while others of its stream
//! are answered: it is then over after three times `message_ttl`, for no sender keeps its messages
//! for longer.
//!
//! Numbers that are missed one after the other, and are to be requested at the same moment, are one
//! gap: a sender that claims one number more each time costs no more than one that claims them at
//! once. Gaps that were requested at different times stay apart, since each has a schedule of its
//! own.
//!
//! Responsible for times and ranges alone: the meaning of a number, and of its loss, is
//! `ReorderBuffer`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::proto::cost::tree_entry;
pub(in crate::proto) use crate::proto::ranges::Span;

/// The pause after the first request for a gap. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many times `message_ttl` a gap may last while others are answered: a sender keeps its
/// messages for as long.
const TTLS_IN_TURN: u32 = 3;

/// How many periods without reception are remembered. A gap that is older than these ends a little
/// sooner than it might.
const TIMES_AWAY: usize = 4;

/// What a gap costs: an entry in each of the tables here, and one in the list of losses that its
/// stream has reported, which has at most one range more than there are gaps.
pub(in crate::proto) const GAP_COST: usize = tree_entry(size_of::<(u64, Gap)>())
    + 2 * tree_entry(size_of::<(Moment, u64)>())
    + tree_entry(size_of::<u64>())
    + tree_entry(size_of::<Span>());

/// A moment in nanoseconds, half as long as a [`Duration`]: there may be many gaps.
type Moment = u64;

fn moment(at: Duration) -> Moment {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Default)]
pub(in crate::proto) struct NackList {
    by_first: BTreeMap<u64, Gap>,
    /// Every gap's first number by the moment at which something is to be done about it.
    by_due: BTreeSet<(Moment, u64)>,
    /// Likewise by the moment since which nothing of it has come.
    by_since: BTreeSet<(Moment, u64)>,
    /// The first number of each gap that was requested.
    asked: BTreeSet<u64>,
    /// When the last requested message came.
    answered: Duration,
    /// What is due has to wait until then.
    paused_until: Duration,
    /// The last few periods without reception: their ends and durations.
    away: Vec<(Duration, Duration)>,
}

#[derive(Clone, Copy)]
struct Gap {
    last: u64,
    /// When it is to be requested next, or ends.
    due: Moment,
    /// When it was missed, or something of it came.
    since: Moment,
    /// When it was requested last, and how often it was.
    asked_at: Moment,
    asks: u32,
    /// How many milliseconds to wait after asking the next time.
    pause_ms: u32,
}

/// How a number came that was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proto) struct Filled {
    /// It was requested.
    pub(in crate::proto) asked: bool,
    /// How long ago, if that was once: with several requests it is unknown which one was answered
    /// (Karn's rule, RFC 6298 section 3).
    pub(in crate::proto) answered_after: Option<Duration>,
    /// Numbers that were reported lost because of a claim alone, and are not: they have come, or
    /// the claim was withdrawn.
    pub(in crate::proto) not_lost: Option<Span>,
}

impl NackList {
    /// How many gaps there are.
    pub(in crate::proto) fn len(&self) -> usize {
        self.by_first.len()
    }

    /// Whether nothing is missing.
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// When there is something to request, or to [end](Self::give_up).
    pub(in crate::proto) fn due(&self) -> Option<Duration> {
        let (due, _) = self.by_due.first()?;
        Some(Duration::from_nanos(*due).max(self.paused_until))
    }

    /// Notes that these numbers are missing, none of which is noted yet. They are requested at
    /// `due`.
    pub(in crate::proto) fn add(&mut self, now: Duration, (first, last): Span, due: Duration) {
        debug_assert!(first <= last && self.overlapping((first, last)).is_none());
        let gap = Gap {
            last,
            due: moment(due),
            since: moment(now),
            asked_at: moment(now),
            asks: 0,
            pause_ms: FIRST_PAUSE.as_millis() as u32,
        };
        let before = self.by_first.range(..first).next_back();
        if let Some((&start, before)) = before
            && before.last + 1 == first
            && (before.asks, before.due) == (0, gap.due)
        {
            // Both were missed within the few milliseconds before the request.
            self.remove(start);
            self.insert(start, gap);
            return;
        }
        self.insert(first, gap);
    }

    /// Notes that a number has come. `None`: it was not missing.
    pub(in crate::proto) fn fill(&mut self, now: Duration, number: u64) -> Option<Filled> {
        let (first, gap) = self.overlapping((number, number))?;
        self.remove(first);
        if gap.asks > 0 {
            self.answered = now;
        }
        let rest = Gap {
            since: moment(now),
            ..gap
        };
        self.insert_if_any((first, number - 1), rest);
        self.insert_if_any((number + 1, gap.last), rest);
        Some(Filled {
            asked: gap.asks > 0,
            answered_after: (gap.asks == 1)
                .then(|| now.saturating_sub(Duration::from_nanos(gap.asked_at))),
            not_lost: None,
        })
    }

    /// Removes the requested parts of these numbers, piece by piece: `None` when none is left.
    pub(in crate::proto) fn take_asked(&mut self, (first, last): Span) -> Option<Span> {
        let before = self.asked.range(..=first).next_back();
        let before = before.filter(|start| self.by_first[start].last >= first);
        let start = *before.or_else(|| self.asked.range(first..=last).next())?;
        let gap = self.by_first[&start];
        let taken = (start.max(first), gap.last.min(last));
        self.carve(start, gap, taken);
        Some(taken)
    }

    /// Takes out the first piece that is missing at or below a number.
    pub(in crate::proto) fn take_up_to(&mut self, number: u64) -> Option<Span> {
        let (&first, &gap) = self.by_first.first_key_value()?;
        if first > number {
            return None;
        }
        let taken = (first, gap.last.min(number));
        self.carve(first, gap, taken);
        Some(taken)
    }

    /// Forgets everything above a number.
    pub(in crate::proto) fn forget_above(&mut self, number: u64) {
        while let Some((&first, &gap)) = self.by_first.last_key_value()
            && gap.last > number
        {
            self.remove(first);
            self.insert_if_any((first, number), gap);
        }
    }

    /// The numbers to request now, the most urgent first, up to so many runs. Call
    /// [`give_up`](Self::give_up) first, until it returns nothing: a gap that is over is not
    /// requested.
    pub(in crate::proto) fn to_ask(&self, now: Duration, most: usize, spans: &mut Vec<Span>) {
        spans.clear();
        let due = self.by_due.range(..=(moment(now), u64::MAX)).take(most);
        spans.extend(due.map(|&(_, first)| (first, self.by_first[&first].last)));
    }

    /// Notes that these runs, which [`to_ask`](Self::to_ask) returned, were requested.
    pub(in crate::proto) fn asked(&mut self, now: Duration, ttl: Duration, spans: &[Span]) {
        for &(first, _) in spans {
            let mut gap = self.remove(first);
            gap.asked_at = moment(now);
            gap.asks = gap.asks.saturating_add(1);
            // No later than the moment at which it is over.
            let next = now.saturating_add(Duration::from_millis(gap.pause_ms.into()));
            gap.due = moment(next.min(self.over_at(gap.since, ttl)));
            gap.pause_ms = (gap.pause_ms * 2).min(LONGEST_PAUSE.as_millis() as u32);
            if cfg!(eventcast_sabotage = "request_storm") {
                gap.due = moment(now + FIRST_PAUSE / 10);
            }
            self.insert(first, gap);
        }
    }

    /// Postpones what is still to be requested now, if anything is.
    pub(in crate::proto) fn put_off(&mut self, now: Duration) {
        if self
            .by_due
            .first()
            .is_some_and(|(due, _)| *due <= moment(now))
        {
            self.paused_until = now + FIRST_PAUSE;
        }
    }

    /// Removes a gap when nothing of it has come for `ttl`, and no other gap was answered.
    pub(in crate::proto) fn give_up(&mut self, now: Duration, ttl: Duration) -> Option<Span> {
        let &(since, first) = self.by_since.first()?;
        // No other is over before this one.
        (self.over_at(since, ttl) <= now).then(|| (first, self.remove(first).last))
    }

    /// Whether [`give_up`](Self::give_up) gives something.
    pub(in crate::proto) fn has_over(&self, now: Duration, ttl: Duration) -> bool {
        let first = self.by_since.first();
        first.is_some_and(|&(since, _)| self.over_at(since, ttl) <= now)
    }

    /// For this long until now nothing could be received, so this time does not count for what is
    /// missing.
    pub(in crate::proto) fn excuse(&mut self, now: Duration, away: Duration) {
        if self.by_first.is_empty() || self.away.len() >= TIMES_AWAY {
            let old = self.away.len().min(1);
            self.away.drain(..old);
        }
        if !self.by_first.is_empty() {
            self.away.push((now, away));
        }
    }

    /// When a gap is over of which nothing has come since then, unless others are answered
    /// meanwhile.
    fn over_at(&self, since: Moment, ttl: Duration) -> Duration {
        // By a clock that stood still while nothing could be received, so that no gap is over
        // before an older one.
        let since = self.heard_by(Duration::from_nanos(since));
        let in_turn = ttl.saturating_mul(TTLS_IN_TURN - 1);
        let waits = self
            .heard_by(self.answered)
            .min(since.saturating_add(in_turn));
        let over = since.max(waits).saturating_add(ttl);
        let away = self.away.iter().map(|(_, away)| *away);
        away.fold(over, Duration::saturating_add)
    }

    /// How much of the time until a moment allowed reception.
    fn heard_by(&self, at: Duration) -> Duration {
        self.away.iter().fold(at, |heard, &(until, away)| {
            let before = at.saturating_sub(until.saturating_sub(away));
            heard.saturating_sub(before.min(away))
        })
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
        self.by_since.insert((gap.since, first));
        if gap.asks > 0 {
            self.asked.insert(first);
        }
    }

    fn remove(&mut self, first: u64) -> Gap {
        let gap = self.by_first.remove(&first).expect("it was just found");
        self.by_due.remove(&(gap.due, first));
        self.by_since.remove(&(gap.since, first));
        self.asked.remove(&first);
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

    fn asked(gaps: &mut NackList, now: Duration) -> Vec<Span> {
        let mut spans = Vec::new();
        gaps.to_ask(now, 64, &mut spans);
        gaps.asked(now, TTL, &spans);
        spans.sort_unstable();
        spans
    }

    #[test]
    fn asks_with_growing_pauses_until_it_is_over() {
        let mut gaps = NackList::default();
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
    fn what_is_missed_at_about_the_same_time_is_one_gap() {
        let mut gaps = NackList::default();
        for i in 1..=1_000 {
            gaps.add(ms(i / 250), (i, i), ms(8));
        }
        assert_eq!(gaps.len(), 1);
        // Numbers that are missed a little later are requested later, and are another gap.
        gaps.add(ms(7), (1_001, 1_002), ms(15));
        assert_eq!(asked(&mut gaps, ms(8)), [(1, 1_000)]);
        gaps.add(ms(9), (1_003, 1_003), ms(15));
        assert_eq!(gaps.len(), 2);
        assert_eq!(asked(&mut gaps, ms(15)), [(1_001, 1_003)]);
        // Each has its whole time, counted from when its last number was missed.
        assert_eq!(gaps.give_up(TTL + ms(3), TTL), None);
        assert_eq!(gaps.give_up(TTL + ms(4), TTL), Some((1, 1_000)));
        assert_eq!(gaps.give_up(TTL + ms(8), TTL), None);
        assert_eq!(gaps.give_up(TTL + ms(9), TTL), Some((1_001, 1_003)));
    }

    #[test]
    fn what_comes_splits_a_gap_and_gives_the_rest_more_time() {
        let mut gaps = NackList::default();
        gaps.add(ms(0), (5, 9), ms(7));
        assert_eq!(gaps.fill(ms(1), 4), None);
        assert_eq!(gaps.fill(ms(1), 10), None);
        assert_eq!(gaps.fill(ms(1), 7), Some(Filled::default()));
        assert_eq!(asked(&mut gaps, ms(7)), [(5, 6), (8, 9)]);
        let answered = |asked, after: Option<u64>| Filled {
            asked,
            answered_after: after.map(ms),
            not_lost: None,
        };
        assert_eq!(gaps.fill(ms(9), 8), Some(answered(true, Some(2))));
        assert_eq!(asked(&mut gaps, ms(27)), [(5, 6), (9, 9)]);
        assert_eq!(gaps.fill(ms(2_000), 5), Some(answered(true, None)));
        assert_eq!(gaps.fill(ms(2_600), 6), Some(answered(true, None)));
        assert_eq!(gaps.give_up(ms(5_599), TTL), None);
        assert_eq!(gaps.give_up(ms(5_600), TTL), Some((9, 9)));
        assert!(gaps.is_empty() && gaps.due().is_none());
    }

    #[test]
    fn others_that_are_answered_give_a_gap_more_time_but_not_for_ever() {
        let mut gaps = NackList::default();
        gaps.add(ms(0), (1, 2_000), ms(5));
        gaps.add(ms(0), (3_000, 3_009), ms(5));
        asked(&mut gaps, ms(5));
        // The first gap is answered number by number, for longer than the second one is available.
        let mut over = Vec::new();
        for i in 1..=1_000 {
            let now = ms(10 * i);
            gaps.fill(now, i);
            while let Some(gap) = gaps.give_up(now, TTL) {
                over.push((now, gap));
            }
            asked(&mut gaps, now);
        }
        assert_eq!(over, [(3 * TTL, (3_000, 3_009))]);
        // Nothing comes any more.
        let last = ms(10_000) + TTL;
        assert_eq!(gaps.give_up(last - ms(1), TTL), None);
        assert_eq!(gaps.give_up(last, TTL), Some((1_001, 2_000)));
    }

    /// As many gaps as possible, half of them over while the others are still to be requested: no
    /// call looks at all of them again.
    #[test]
    fn many_are_over_at_once() {
        let mut gaps = NackList::default();
        for i in 0..20_000 {
            gaps.add(ms(0), (4 * i + 1, 4 * i + 1), ms(5));
        }
        let mut spans = Vec::new();
        gaps.to_ask(ms(5), usize::MAX, &mut spans);
        gaps.asked(ms(5), TTL, &spans);
        for i in 0..20_000 {
            gaps.add(ms(2_900), (4 * i + 3, 4 * i + 3), ms(2_905));
        }
        for i in 0..20_000 {
            assert_eq!(gaps.give_up(TTL, TTL), Some((4 * i + 1, 4 * i + 1)));
        }
        assert_eq!(gaps.give_up(TTL, TTL), None);
        assert_eq!(gaps.due(), Some(ms(2_905)));
    }

    #[test]
    fn time_in_which_nothing_could_be_heard_does_not_count() {
        let mut gaps = NackList::default();
        gaps.add(ms(0), (1, 9), ms(5));
        asked(&mut gaps, ms(5));
        gaps.excuse(ms(8_000), ms(7_000));
        gaps.add(ms(8_000), (20, 29), ms(8_005));
        assert!(!gaps.has_over(ms(9_999), TTL));
        assert_eq!(gaps.give_up(ms(9_999), TTL), None);
        // After the first second and the two that were left of three.
        assert!(gaps.has_over(ms(10_000), TTL));
        assert_eq!(gaps.give_up(ms(10_000), TTL), Some((1, 9)));
        assert_eq!(gaps.give_up(ms(10_999), TTL), None);
        assert_eq!(gaps.give_up(ms(11_000), TTL), Some((20, 29)));
        // Where nothing is missing, nothing is remembered.
        for i in 0..100 {
            gaps.excuse(ms(20_000 + i), ms(1));
        }
        assert!(gaps.away.is_empty());
        gaps.add(ms(30_000), (30, 30), ms(30_005));
        for i in 0..100 {
            gaps.excuse(ms(30_000 + i), ms(1));
        }
        assert_eq!(gaps.away.len(), TIMES_AWAY);
    }

    #[test]
    fn after_a_pause_no_gap_is_over_before_an_older_one() {
        let mut gaps = NackList::default();
        gaps.add(ms(0), (1, 1), ms(5));
        gaps.add(ms(0), (3, 3), ms(5));
        asked(&mut gaps, ms(5));
        gaps.excuse(ms(20_000), ms(19_900));
        gaps.add(ms(20_000), (10, 10), ms(20_005));
        gaps.fill(ms(20_000), 3);
        let over = ms(20_000) + TTL;
        assert!(!gaps.has_over(over - ms(1), TTL));
        asked(&mut gaps, over - ms(1));
        assert_eq!(gaps.give_up(over, TTL), Some((1, 1)));
        assert_eq!(gaps.give_up(over, TTL), Some((10, 10)));
    }

    #[test]
    fn what_comes_unasked_gives_nobody_more_time() {
        let mut gaps = NackList::default();
        gaps.add(ms(0), (1, 1), ms(5));
        asked(&mut gaps, ms(5));
        gaps.add(ms(100), (3, 4), ms(200));
        gaps.fill(ms(110), 3);
        assert_eq!(gaps.give_up(TTL, TTL), Some((1, 1)));
    }

    #[test]
    fn what_a_request_does_not_name_stays_due() {
        let mut gaps = NackList::default();
        for i in 0..10 {
            gaps.add(ms(0), (10 * i + 1, 10 * i + 2), ms(5));
        }
        let mut spans = Vec::new();
        gaps.to_ask(ms(4), 5, &mut spans);
        assert_eq!(spans, []);
        gaps.to_ask(ms(5), 5, &mut spans);
        assert_eq!(spans, [(1, 2), (11, 12), (21, 22), (31, 32), (41, 42)]);
        gaps.asked(ms(5), TTL, &spans[..2]);
        assert_eq!(gaps.due(), Some(ms(5)));
        gaps.put_off(ms(5));
        assert_eq!(gaps.due(), Some(ms(25)));
        assert_eq!(gaps.take_asked((21, 100)), None);
        gaps.to_ask(ms(5), 2, &mut spans);
        assert_eq!(spans, [(21, 22), (31, 32)]);
    }

    #[test]
    fn only_what_was_asked_for_can_be_taken_out() {
        let mut gaps = NackList::default();
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
        let mut gaps = NackList::default();
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
            let mut gaps = NackList::default();
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
                assert_eq!(gaps.by_since.len(), gaps.by_first.len());
                let asked = gaps.by_first.iter().filter(|(_, gap)| gap.asks > 0);
                assert!(asked.map(|(first, _)| first).eq(&gaps.asked));
            }
        }
    }
}
