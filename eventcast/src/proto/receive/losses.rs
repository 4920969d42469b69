//! What is reported of lost numbers, and when.
//!
//! The first loss of each stream and reason is reported at once. Losses within ten seconds after
//! that are summed up, and reported when these are over: every number is reported once, and no
//! sender can determine how often. No more than [`MAX_AT_ONCE`] streams of one IP address are
//! reported one by one within ten seconds; the losses of the others are reported together.
//!
//! Not responsible for what is lost: that is [`ReorderBuffer`](super::reorder_buffer)'s.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::proto::{
    budgets::Budgets,
    hash::HashKey,
    ranges::{RangeSet, Span, count},
    rate_limited::REPORT_PAUSE as PAUSE,
    receive::{
        events::{Loss, LostReason},
        peer::Peer,
    },
};

/// Most ranges of numbers that are reported together. The numbers beyond them are counted.
pub(in crate::proto) const MAX_RANGES: usize = 1024;

/// Most ranges of all streams together that wait to be reported, except for a few of each: they are
/// kept for ten seconds, and no sender can determine how much memory that takes.
const MAX_ALL_RANGES: usize = 65_536;
const A_FEW: usize = 8;

/// How many streams of one IP address have their losses reported one by one within ten seconds.
pub(in crate::proto) const MAX_AT_ONCE: u32 = 64;

/// How many streams are tracked, twice as many as are followed at a time. Losses of others are
/// reported together.
const MAX_LINES: usize = 8192;

/// A stream, by a number that no other one ever has, and a reason.
type Key = (u64, LostReason);

struct Line {
    /// Until then nothing more is reported at once.
    until: Duration,
    /// What was not reported yet.
    loss: Option<Loss>,
    /// What may still come for longer than until the report of `loss`, and until when. There is
    /// none without a `loss`.
    later: Option<(Duration, Loss)>,
    /// It was due before, when too much was reported already of its address.
    put_off: bool,
}

pub(in crate::proto) struct Losses {
    lines: HashMap<Key, Line, HashKey>,
    /// How many ranges they have.
    ranges: usize,
    /// All lines with something that was not reported, by the time of the report.
    due: BTreeSet<(Duration, Key)>,
    budgets: Budgets<IpAddr>,
    /// Reports that are made together now, by address.
    together: Vec<(Option<IpAddr>, Loss)>,
    /// Losses of streams beyond those that are tracked, and when they are reported.
    beyond: Option<(Duration, Loss)>,
    next_sweep: Duration,
}

impl Losses {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            lines: HashMap::with_hasher(key),
            ranges: 0,
            due: BTreeSet::new(),
            budgets: Budgets::new(MAX_AT_ONCE, MAX_AT_ONCE, key),
            together: Vec::new(),
            beyond: None,
            next_sweep: Duration::ZERO,
        }
    }

    /// Notes that these numbers of a stream are lost; returns what is to be reported now.
    pub(in crate::proto) fn note(
        &mut self,
        now: Duration,
        stream: u64,
        peer: &Arc<Peer>,
        span: Span,
        reason: LostReason,
    ) -> Option<Loss> {
        let key = (stream, reason);
        let new = || Loss::new(peer, span, reason);
        let Some(line) = self.lines.get_mut(&key) else {
            return self.begin(now, key, new());
        };
        match &mut line.loss {
            Some(loss) => {
                self.ranges -= loss.ranges.len();
                loss.add(span, self.ranges < MAX_ALL_RANGES);
                self.ranges += loss.ranges.len();
            }
            None if now < line.until => {
                line.loss = Some(new());
                self.ranges += 1;
                self.due.insert((line.until, key));
            }
            None => {
                self.lines.remove(&key);
                return self.begin(now, key, new());
            }
        }
        None
    }

    /// The same for numbers that may still come: they are not reported before `until`, so that they
    /// can be [taken back](Self::take_back).
    pub(in crate::proto) fn note_later(
        &mut self,
        now: Duration,
        until: Duration,
        stream: u64,
        peer: &Arc<Peer>,
        span: Span,
        reason: LostReason,
    ) {
        let key = (stream, reason);
        if !self.lines.contains_key(&key) {
            if !self.has_room_for_line(now) {
                self.note_beyond(now, Loss::new(peer, span, reason));
                return;
            }
            let line = Line {
                until,
                loss: None,
                later: None,
                put_off: false,
            };
            self.lines.insert(key, line);
        }
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        if line.loss.is_none() {
            line.until = line.until.max(until);
            self.due.insert((line.until, key));
        }
        let has_room = self.ranges < MAX_ALL_RANGES;
        let new = || Loss::new(peer, span, reason);
        match (&mut line.loss, &mut line.later) {
            (None, _) => {
                line.loss = Some(new());
                self.ranges += 1;
            }
            // A report does not wait for what is lost ever later: that is in the next one.
            (Some(_), later @ None) if until > line.until => {
                *later = Some((until, new()));
                self.ranges += 1;
            }
            (Some(_), Some((latest, loss))) if until > line.until => {
                *latest = until.max(*latest);
                self.ranges -= loss.ranges.len();
                loss.add(span, has_room);
                self.ranges += loss.ranges.len();
            }
            (Some(loss), _) => {
                self.ranges -= loss.ranges.len();
                loss.add(span, has_room);
                self.ranges += loss.ranges.len();
            }
        }
    }

    /// Takes numbers back that are not lost after all; returns how many of them were not reported.
    pub(in crate::proto) fn take_back(&mut self, stream: u64, span: Span) -> u64 {
        let mut taken = 0_u64;
        for reason in LostReason::ALL {
            let key = (stream, reason);
            let Some(line) = self.lines.get_mut(&key) else {
                continue;
            };
            let mut remove = |loss: &mut Loss| {
                self.ranges -= loss.ranges.len();
                taken = taken.saturating_add(loss.remove(span));
                if loss.count > 0 {
                    self.ranges += loss.ranges.len();
                }
                loss.count == 0
            };
            if let Some((_, later)) = &mut line.later
                && remove(later)
            {
                line.later = None;
            }
            if let Some(loss) = &mut line.loss
                && remove(loss)
            {
                line.loss = None;
                self.due.remove(&(line.until, key));
                line.go_on(key, &mut self.due);
            }
        }
        taken
    }

    /// When something is to be reported.
    pub(in crate::proto) fn next_due(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        let beyond = self.beyond.as_ref().map(|(due, _)| *due);
        due.into_iter().chain(beyond).min()
    }

    /// The reports that are due now.
    pub(in crate::proto) fn pop_due(&mut self, now: Duration) -> Option<Loss> {
        while let Some(&(due, key)) = self.due.first()
            && due <= now
        {
            self.due.remove(&(due, key));
            let Some(line) = self.lines.get_mut(&key) else {
                continue;
            };
            let Some(loss) = line.loss.take() else {
                continue;
            };
            self.ranges -= loss.ranges.len();
            let ip = loss.peer.address.ip();
            if self.budgets.take(now, ip) {
                line.until = now + PAUSE;
                line.put_off = false;
                line.go_on(key, &mut self.due);
                return Some(loss);
            }
            let until = self.budgets.until(&ip);
            if line.put_off {
                line.until = now + PAUSE;
                line.put_off = false;
                line.go_on(key, &mut self.due);
                let slot = self.budgets.has(&ip).then_some(ip);
                match self
                    .together
                    .iter_mut()
                    .find(|(other, sum)| *other == slot && sum.reason == loss.reason)
                {
                    Some((_, sum)) => sum.join(&loss),
                    None => self.together.push((slot, loss)),
                }
            } else {
                self.ranges += loss.ranges.len();
                line.loss = Some(loss);
                line.until = until;
                line.put_off = true;
                self.due.insert((until, key));
            }
        }
        if let Some((_, loss)) = self.together.pop() {
            return Some(loss);
        }
        let (_, loss) = self.beyond.take_if(|(due, _)| *due <= now)?;
        Some(loss)
    }

    /// Everything that was not reported.
    pub(in crate::proto) fn drain(&mut self) -> Option<Loss> {
        while let Some((_, key)) = self.due.pop_first() {
            if let Some(line) = self.lines.get_mut(&key)
                && let Some(loss) = line.loss.take()
            {
                self.ranges -= loss.ranges.len();
                line.go_on(key, &mut self.due);
                return Some(loss);
            }
        }
        self.beyond.take().map(|(_, loss)| loss)
    }

    /// A stream without reports for a while.
    fn begin(&mut self, now: Duration, key: Key, loss: Loss) -> Option<Loss> {
        if !self.has_room_for_line(now) {
            self.note_beyond(now, loss);
            return None;
        }
        let ip = loss.peer.address.ip();
        let at_once = self.budgets.take(now, ip);
        let until = if at_once {
            now + PAUSE
        } else {
            self.budgets.until(&ip)
        };
        let mut line = Line {
            until,
            loss: None,
            later: None,
            put_off: !at_once,
        };
        let told = if at_once {
            Some(loss)
        } else {
            self.ranges += loss.ranges.len();
            line.loss = Some(loss);
            self.due.insert((until, key));
            None
        };
        self.lines.insert(key, line);
        told
    }

    fn has_room_for_line(&mut self, now: Duration) -> bool {
        if self.lines.len() >= MAX_LINES {
            self.sweep(now);
        }
        self.lines.len() < MAX_LINES
    }

    /// Counts the losses of a stream that is not tracked.
    fn note_beyond(&mut self, now: Duration, loss: Loss) {
        match &mut self.beyond {
            Some((_, beyond)) => beyond.join(&loss),
            None => self.beyond = Some((now + PAUSE, loss)),
        }
    }

    /// Forgets streams that have nothing to report. Looks at all, so call it rarely.
    fn sweep(&mut self, now: Duration) {
        if now >= self.next_sweep {
            self.next_sweep = now + PAUSE / 10;
            self.lines
                .retain(|_, line| line.loss.is_some() || line.until > now);
        }
    }
}

impl Line {
    /// What was to be reported is reported, or taken back: goes on with what follows.
    fn go_on(&mut self, key: Key, due: &mut BTreeSet<(Duration, Key)>) {
        if let Some((until, loss)) = self.later.take() {
            self.until = self.until.max(until);
            self.loss = Some(loss);
            due.insert((self.until, key));
        }
    }
}

impl Loss {
    fn new(peer: &Arc<Peer>, span: Span, reason: LostReason) -> Self {
        let mut ranges = RangeSet::default();
        ranges.insert(span);
        Self {
            peer: Arc::clone(peer),
            reason,
            first: span.0,
            last: span.1,
            count: count(span),
            ranges,
            peers: 1,
        }
    }

    /// Adds more, with a range of its own beyond the first few where there is room for more ranges.
    fn add(&mut self, span: Span, has_room: bool) {
        self.count = self.count.saturating_add(count(span));
        self.first = self.first.min(span.0);
        self.last = self.last.max(span.1);
        let most = if has_room { MAX_RANGES } else { A_FEW };
        if self.ranges.len() < most || self.ranges.touches(span) {
            self.ranges.insert(span);
        }
    }

    fn remove(&mut self, span: Span) -> u64 {
        let removed = self.ranges.remove(span);
        self.count -= removed.min(self.count);
        if removed > 0
            && let Some((first, last)) = self.ranges.ends()
        {
            (self.first, self.last) = (first, last);
        }
        removed
    }

    /// Adds what another stream has lost.
    fn join(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.peers = self.peers.saturating_add(other.peers);
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn losses() -> Losses {
        Losses::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn peer(ip: u32) -> Arc<Peer> {
        Arc::new(Peer {
            id: "p".into(),
            incarnation: Some(1),
            hostname: String::new(),
            host: String::new(),
            port: 1,
            address: (std::net::Ipv4Addr::from(ip), 1).into(),
        })
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const GONE: LostReason = LostReason::Gone;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (mut losses, peer) = (losses(), peer(1));
        let first = losses.note(secs(0), 1, &peer, (5, 6), GONE).unwrap();
        assert_eq!((first.count, first.first, first.last), (2, 5, 6));
        assert_eq!(losses.next_due(), None);
        for number in [9, 10, 20, 11] {
            assert_eq!(losses.note(secs(1), 1, &peer, (number, number), GONE), None);
        }
        // Another stream, or another reason, has a pause of its own.
        assert!(losses.note(secs(1), 2, &peer, (1, 1), GONE).is_some());
        let reason = LostReason::Unanswered;
        assert!(losses.note(secs(1), 1, &peer, (30, 30), reason).is_some());
        assert_eq!(losses.next_due(), Some(secs(10)));
        assert_eq!(losses.pop_due(secs(9)), None);
        let sum = losses.pop_due(secs(10)).unwrap();
        assert_eq!((sum.count, sum.first, sum.last), (4, 9, 20));
        assert!(sum.ranges.iter().eq([(9, 11), (20, 20)]));
        assert_eq!(losses.pop_due(secs(10)), None);
        // The pause goes on from there.
        assert_eq!(losses.note(secs(19), 1, &peer, (40, 40), GONE), None);
        assert_eq!(losses.drain().unwrap().count, 1);
        assert_eq!((losses.drain(), losses.next_due()), (None, None));
        assert!(losses.note(secs(20), 1, &peer, (50, 50), GONE).is_some());
    }

    #[test]
    fn what_came_after_all_is_not_told() {
        let (mut losses, peer) = (losses(), peer(1));
        losses.note(secs(0), 1, &peer, (1, 1), GONE);
        losses.note(secs(0), 1, &peer, (10, 19), GONE);
        assert_eq!(losses.take_back(1, (12, 12)), 1);
        assert_eq!(losses.take_back(1, (12, 13)), 1);
        assert_eq!(losses.take_back(2, (0, u64::MAX)), 0);
        let sum = losses.pop_due(secs(10)).unwrap();
        assert_eq!((sum.count, sum.ranges.len()), (8, 2));
        losses.note(secs(11), 1, &peer, (30, 39), GONE);
        assert_eq!(losses.take_back(1, (0, u64::MAX)), 10);
        assert_eq!((losses.next_due(), losses.drain()), (None, None));
    }

    #[test]
    fn what_may_still_come_is_told_when_its_time_is_over() {
        let (mut losses, peer) = (losses(), peer(1));
        losses.note_later(secs(1), secs(4), 1, &peer, (5, 9), GONE);
        // What is lost for certain is told with it.
        assert_eq!(losses.note(secs(2), 1, &peer, (1, 1), GONE), None);
        // It does not wait for what comes later.
        losses.note_later(secs(2), secs(5), 1, &peer, (20, 29), GONE);
        losses.note_later(secs(3), secs(6), 1, &peer, (30, 34), GONE);
        assert_eq!(losses.take_back(1, (7, 7)), 1);
        assert_eq!(losses.pop_due(secs(3)), None);
        assert_eq!(losses.next_due(), Some(secs(4)));
        let sum = losses.pop_due(secs(4)).unwrap();
        assert!(sum.ranges.iter().eq([(1, 1), (5, 6), (8, 9)]));
        // The pause after a report is not shortened.
        assert_eq!(losses.take_back(1, (34, 40)), 1);
        assert_eq!(losses.next_due(), Some(secs(14)));
        let sum = losses.pop_due(secs(14)).unwrap();
        assert_eq!((sum.first, sum.last, sum.count), (20, 33, 14));
        assert_eq!((losses.next_due(), losses.ranges), (None, 0));
        // Where the first ones have all come, the others follow in their own time.
        losses.note_later(secs(30), secs(33), 1, &peer, (40, 40), GONE);
        losses.note_later(secs(31), secs(34), 1, &peer, (50, 50), GONE);
        assert_eq!(losses.take_back(1, (40, 40)), 1);
        assert_eq!(losses.next_due(), Some(secs(34)));
        losses.note_later(secs(32), secs(35), 1, &peer, (60, 60), GONE);
        assert_eq!(losses.take_back(1, (60, 60)), 1);
        losses.note_later(secs(32), secs(35), 1, &peer, (70, 70), GONE);
        assert_eq!(losses.drain().unwrap().first, 50);
        assert_eq!(losses.drain().unwrap().first, 70);
        assert_eq!((losses.next_due(), losses.drain()), (None, None));
        assert_eq!(losses.ranges, 0);
    }

    #[test]
    fn more_ranges_than_are_kept_are_counted() {
        let (mut losses, peer) = (losses(), peer(1));
        let mut told = losses.note(secs(0), 1, &peer, (1, 1), GONE).unwrap().count;
        for i in 1..100_000 {
            assert_eq!(
                losses.note(secs(1), 1, &peer, (2 * i + 1, 2 * i + 1), GONE),
                None
            );
        }
        let sum = losses.pop_due(secs(10)).unwrap();
        told += sum.count;
        assert_eq!((told, sum.ranges.len()), (100_000, MAX_RANGES));
        assert_eq!((sum.first, sum.last), (3, 199_999));
        // Nothing overflows.
        for stream in 1..4 {
            losses.note(secs(11), stream, &peer, (1, u64::MAX), GONE);
            losses.note(secs(11), stream, &peer, (1, u64::MAX), GONE);
        }
    }

    #[test]
    fn all_streams_together_have_no_more_ranges_than_so() {
        let mut losses = losses();
        let streams = 500;
        let (mut noted, mut told) = (0, 0);
        for stream in 0..streams {
            let peer = peer(stream);
            for i in 0..1_000 {
                let number = 2 * i + 1;
                let loss = losses.note(secs(1), stream.into(), &peer, (number, number), GONE);
                (noted, told) = (noted + 1, told + loss.map_or(0, |loss| loss.count));
            }
        }
        let most = MAX_ALL_RANGES + A_FEW * streams as usize;
        assert!(losses.ranges <= most, "{}", losses.ranges);
        // Even a latecomer has room for a few.
        let late = losses.lines[&(u64::from(streams) - 1, GONE)].loss.as_ref();
        assert_eq!(
            late.map(|loss| (loss.count, loss.ranges.len())),
            Some((999, A_FEW))
        );
        told += losses.take_back(0, (0, u64::MAX));
        while let Some(loss) = losses.pop_due(secs(11)) {
            told += loss.count;
        }
        assert_eq!((noted, told), (500_000, 500_000));
        assert_eq!(losses.ranges, 0);
    }

    #[test]
    fn losses_of_many_streams_of_one_address_are_reported_together() {
        let (mut losses, peer) = (losses(), peer(1));
        let (mut told, mut numbers) = (0, 0);
        let mut note = |loss: Option<Loss>| {
            if let Some(loss) = loss {
                told += 1;
                numbers += loss.count;
            }
        };
        for i in 0..5_000 {
            for _ in 0..2 {
                note(losses.note(secs(1), i, &peer, (7, 9), GONE));
            }
        }
        // Losses of others are reported nevertheless.
        let other = losses.note(secs(1), 9_000, &self::peer(2), (1, 1), GONE);
        assert!(other.is_some());
        while let Some(due) = losses.next_due() {
            assert!(due <= secs(31), "{due:?}");
            while let Some(loss) = losses.pop_due(due) {
                note(Some(loss));
            }
        }
        assert_eq!(numbers, 5_000 * 2 * 3);
        assert!(told <= 3 * (MAX_AT_ONCE as usize + 1), "{told}");
        assert!(losses.lines.len() <= MAX_LINES);
    }

    #[test]
    fn there_are_no_more_lines_than_so() {
        let mut losses = losses();
        let mut numbers = 0;
        for i in 0..50_000 {
            let told = losses.note(secs(1), i, &peer(i as u32), (1, 2), GONE);
            numbers += told.map_or(0, |loss| loss.count);
        }
        assert_eq!(losses.lines.len(), MAX_LINES);
        while let Some(loss) = losses.drain() {
            numbers += loss.count;
        }
        assert_eq!(numbers, 100_000);
    }
}
