//! What others have asked for: gathered for a moment, merged, bounded, and made ready to be sent again
//! (WIRE.md sections 6 and 7, "Answering").
//!
//! Two who ask for the same thing get it once, by way of the group. Nothing is repeated sooner than the rules allow,
//! however often it is asked for, and nobody is sent more than their allowance: a request is small, its answer is not,
//! and who sent it can be forged.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{hash::HashKey, outgoing::Destination, wire::MessageId};

/// How long equal requests are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// The same thing goes out again to anybody only so much later, and to an address that has had it, or to the group,
/// only so much.
const AGAIN_TO_ANYBODY: Duration = Duration::from_millis(20);
const AGAIN_TO_THE_SAME: Duration = Duration::from_millis(50);

/// Most things that are asked for at one time.
const MAX_GATHERED: usize = 65_536;

/// Addresses that had the same thing lately. Who comes after them waits as if they were one of them.
const MAX_SENT_TO: usize = 8;

/// Something that can be sent again: one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Item {
    /// A message of one datagram, by its number.
    Small(u64),
    /// A chunk.
    Chunk(MessageId, u32),
}

pub(super) struct Answers {
    gathering: BTreeMap<Item, Asked>,
    by_due: BTreeSet<(Duration, Item)>,
    ready: VecDeque<(Item, Destination)>,
    /// What was sent lately.
    sent: HashMap<Item, Sent, HashKey>,
    sent_order: VecDeque<(Duration, Item)>,
}

struct Asked {
    by: SocketAddr,
    /// Others have asked as well.
    several: bool,
}

struct Sent {
    last: Duration,
    /// To single addresses, and when.
    to: Vec<(SocketAddr, Duration)>,
    to_group: Option<Duration>,
}

impl Answers {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            gathering: BTreeMap::new(),
            by_due: BTreeSet::new(),
            ready: VecDeque::new(),
            sent: HashMap::with_hasher(key),
            sent_order: VecDeque::new(),
        }
    }

    /// Takes a wish. `false`: it was had only just now, or too much is wished for.
    pub(super) fn ask(&mut self, now: Duration, item: Item, by: SocketAddr) -> bool {
        let mut due = now + GATHER;
        if let Some(sent) = self.sent.get(&item) {
            if sent.was_sent_to(by, now) {
                return false;
            }
            due = due.max(sent.last + AGAIN_TO_ANYBODY);
        }
        if let Some(asked) = self.gathering.get_mut(&item) {
            asked.several |= asked.by != by;
            return true;
        }
        if self.gathering.len() + self.ready.len() >= MAX_GATHERED {
            return false;
        }
        let several = false;
        self.gathering.insert(item, Asked { by, several });
        self.by_due.insert((due, item));
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Makes ready what has been gathered for long enough. `may_go` decides over what is to go to the group. Gives how
    /// many it refused.
    pub(super) fn handle_timeout(
        &mut self,
        now: Duration,
        mut may_go: impl FnMut(Item) -> bool,
    ) -> u64 {
        let mut refused = 0;
        while let Some(&(_, item)) = self.by_due.first().filter(|(due, _)| *due <= now) {
            self.by_due.pop_first();
            let Some(asked) = self.gathering.remove(&item) else {
                continue;
            };
            let to = if asked.several {
                Destination::Group
            } else {
                Destination::Peer(asked.by)
            };
            if asked.several && !may_go(item) {
                refused += 1;
                continue;
            }
            self.remember(now, item, to);
            self.ready.push_back((item, to));
        }
        while let Some(&(at, item)) = self.sent_order.front()
            && at + AGAIN_TO_THE_SAME <= now
        {
            self.sent_order.pop_front();
            if self.sent.get(&item).is_some_and(|sent| sent.last <= at) {
                self.sent.remove(&item);
            }
        }
        refused
    }

    /// What is to be sent next, and where.
    pub(super) fn next(&self) -> Option<(Item, Destination)> {
        self.ready.front().copied()
    }

    /// It has been sent, or can be no more.
    pub(super) fn done(&mut self) {
        self.ready.pop_front();
    }

    fn remember(&mut self, now: Duration, item: Item, to: Destination) {
        let sent = self.sent.entry(item).or_insert_with(|| Sent {
            last: now,
            to: Vec::new(),
            to_group: None,
        });
        sent.last = now;
        match to {
            Destination::Group => sent.to_group = Some(now),
            Destination::Peer(address) => {
                sent.to.retain(|(_, at)| *at + AGAIN_TO_THE_SAME > now);
                sent.to.push((address, now));
            }
        }
        self.sent_order.push_back((now, item));
    }
}

impl Sent {
    fn was_sent_to(&self, address: SocketAddr, now: Duration) -> bool {
        let lately = |at: Duration| at + AGAIN_TO_THE_SAME > now;
        self.to_group.is_some_and(lately)
            || self.to.len() >= MAX_SENT_TO && lately(self.last)
            || self
                .to
                .iter()
                .any(|(had, at)| *had == address && lately(*at))
    }
}

/// How much may be sent to somebody: so many bytes a second, and no more than that in any second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    spent: u64,
    at: Duration,
}

impl Allowance {
    /// Takes so many bytes, if they are left of so many a second.
    pub(super) fn take(&mut self, now: Duration, bytes: usize, per_second: u64) -> bool {
        let has = self.has(now, bytes, per_second);
        if has {
            self.spent += bytes as u64;
        }
        has
    }

    /// Whether so many bytes are left.
    pub(super) fn has(&mut self, now: Duration, bytes: usize, per_second: u64) -> bool {
        // A quarter may go at once; the rest is what comes back within a second.
        let (burst, back) = (per_second / 4, per_second / 4 * 3);
        let passed = now.saturating_sub(self.at).as_micros().min(1_000_000) as u64;
        self.spent = self.spent.saturating_sub(back * passed / 1_000_000);
        self.at = now;
        self.spent + bytes as u64 <= burst
    }
}

/// How many bytes were sent in the last second, about.
#[derive(Debug, Default)]
pub(super) struct Meter {
    second: u64,
    this: u64,
    before: u64,
}

impl Meter {
    #[inline]
    pub(super) fn add(&mut self, now: Duration, bytes: usize) {
        self.turn(now);
        self.this += bytes as u64;
    }

    pub(super) fn per_second(&mut self, now: Duration) -> u64 {
        self.turn(now);
        let passed = u64::from(now.subsec_millis());
        self.this + self.before / 1000 * (1000 - passed)
    }

    #[inline]
    fn turn(&mut self, now: Duration) {
        let second = now.as_secs();
        if second != self.second {
            self.before = if second == self.second + 1 {
                self.this
            } else {
                0
            };
            (self.second, self.this) = (second, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn address(i: u8) -> SocketAddr {
        ([127, 0, 0, i], 9000).into()
    }

    fn answers() -> Answers {
        Answers::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn ready(answers: &mut Answers, now: Duration) -> Vec<(Item, Destination)> {
        answers.handle_timeout(now, |_| true);
        let mut all = Vec::new();
        while let Some(next) = answers.next() {
            all.push(next);
            answers.done();
        }
        all
    }

    const ITEM: Item = Item::Small(7);

    #[test]
    fn one_who_asks_is_answered_alone_and_several_together() {
        let mut answers = answers();
        assert!(answers.ask(ms(0), ITEM, address(1)));
        assert!(answers.ask(ms(1), ITEM, address(1)));
        assert!(answers.ask(ms(2), Item::Small(8), address(1)));
        assert!(answers.ask(ms(3), Item::Small(8), address(2)));
        assert_eq!(answers.due(), Some(ms(5)));
        assert_eq!(
            ready(&mut answers, ms(6)),
            [(ITEM, Destination::Peer(address(1)))]
        );
        assert_eq!(
            ready(&mut answers, ms(7)),
            [(Item::Small(8), Destination::Group)]
        );
        assert_eq!(answers.due(), None);
    }

    #[test]
    fn nothing_is_repeated_too_soon() {
        let mut answers = answers();
        answers.ask(ms(0), ITEM, address(1));
        assert_eq!(ready(&mut answers, ms(5)).len(), 1);
        // The same one again: not within 50 ms.
        assert!(!answers.ask(ms(30), ITEM, address(1)));
        assert!(!answers.ask(ms(54), ITEM, address(1)));
        // Another one: 20 ms after the first.
        assert!(answers.ask(ms(6), ITEM, address(2)));
        assert!(ready(&mut answers, ms(24)).is_empty());
        assert_eq!(
            ready(&mut answers, ms(25)),
            [(ITEM, Destination::Peer(address(2)))]
        );
        assert!(answers.ask(ms(55), ITEM, address(1)));
        assert!(answers.ask(ms(55), ITEM, address(3)));
        assert_eq!(ready(&mut answers, ms(60)), [(ITEM, Destination::Group)]);
        for i in 1..20 {
            assert!(!answers.ask(ms(109), ITEM, address(i)));
        }
        assert!(answers.ask(ms(110), ITEM, address(9)));
        ready(&mut answers, ms(200));
        ready(&mut answers, ms(300));
        assert!(answers.sent.is_empty() && answers.sent_order.is_empty());
    }

    #[test]
    fn a_flood_of_wishes_is_bounded() {
        let mut answers = answers();
        let taken = (0..200_000).filter(|n| answers.ask(ms(0), Item::Small(*n), address(1)));
        assert_eq!(taken.count(), MAX_GATHERED);
        assert_eq!(ready(&mut answers, ms(5)).len(), MAX_GATHERED);
    }

    #[test]
    fn no_second_has_more_than_is_allowed() {
        let mut allowance = Allowance::default();
        let mut given = Vec::new();
        for millis in 0..5_000 {
            while allowance.take(ms(millis), 1_000, 1_000_000) {
                given.push(millis);
            }
        }
        let most = (0..4_000)
            .map(|from| {
                given
                    .iter()
                    .filter(|at| (from..from + 1_000).contains(*at))
                    .count()
            })
            .max();
        assert!((990..=1_000).contains(&most.unwrap()), "{most:?}");
        assert!(given.len() > 3_500);
    }

    #[test]
    fn the_meter_knows_the_last_second() {
        let mut meter = Meter::default();
        for millis in 0..3_000 {
            meter.add(ms(millis), 1_000);
        }
        let rate = meter.per_second(ms(2_999));
        assert!((999_000..1_010_000).contains(&rate), "{rate}");
        assert!(meter.per_second(ms(3_500)) < 510_000);
        assert_eq!(meter.per_second(ms(5_000)), 0);
    }
}
