//! The retransmissions that others have requested: gathered for a moment, merged, bounded, and made
//! ready to be sent (WIRE.md sections 6 and 7, "Answering").
//!
//! What several peers request at about the same time goes to the group once. Nothing is repeated
//! sooner than the rules allow, however often it is requested. Each requester has a queue of its
//! own, and these are served in turn, so that a requester waits for its own share and not for the
//! requests of others; a full queue refuses further requests of its own requester alone.
//!
//! Not responsible for how much a requester may be sent: that is `validation`'s.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::proto::{hash::HashKey, send::outgoing::Destination, wire::MessageId};

/// How long equal requests are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// The same item is repeated to anybody only after so much time, and to an address that received
/// it, or to the group, only after so much.
const AGAIN_TO_ANYBODY: Duration = Duration::from_millis(20);
const AGAIN_TO_THE_SAME: Duration = Duration::from_millis(50);

/// Most items that are requested at one time, by all requesters together and by one. Where the
/// common limit is reached, the requester with most gives up one of its items to a requester with
/// less.
const MAX_GATHERED: usize = 65_536;
const MAX_OWN: usize = 8_192;

/// Addresses that were sent the same item lately, or wait for it. One that comes after them waits
/// as if it were one of them.
const MAX_SENT_TO: usize = 8;

/// An item that waited for so long is dropped: its requester has repeated the request, or does so
/// soon.
const STALE: Duration = Duration::from_secs(1);

/// Something that can be sent again: one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::proto) enum Item {
    /// A message of one datagram, by its number.
    Small(u64),
    /// A chunk.
    Chunk(MessageId, u32),
}

/// The requester that is served next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::proto) enum Requester {
    /// Several requesters of the same item.
    Group,
    /// An address that has echoed a token.
    Peer(SocketAddr),
    /// All addresses of one IP that have not.
    Stranger(IpAddr),
}

impl Requester {
    fn class(self) -> Class {
        match self {
            Self::Group | Self::Peer(_) => Class::Peers,
            Self::Stranger(_) => Class::Strangers,
        }
    }
}

/// Requesters of one class share a bound on what they are sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Class {
    Peers,
    Strangers,
}

impl Class {
    pub(in crate::proto) fn other(self) -> Self {
        match self {
            Self::Peers => Self::Strangers,
            Self::Strangers => Self::Peers,
        }
    }
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum RequestOutcome {
    Taken,
    /// It was sent there only just now, or is about to be.
    Duplicate,
    /// This requester has too many items requested at a time.
    Full,
}

pub(in crate::proto) struct RetransmitQueue {
    gathering: BTreeMap<Item, Asked>,
    by_due: BTreeSet<(Duration, Item)>,
    queues: HashMap<Requester, Queue, HashKey>,
    /// How many items each requester has gathered or ready.
    by_load: BTreeSet<(usize, Requester)>,
    /// The requester to serve next, by [`Class`].
    turns: [VecDeque<Requester>; 2],
    /// The items gathered or ready, each counted once for each requester that waits for it.
    total: usize,
    /// What was sent lately or is ready.
    sent: HashMap<Item, Sent, HashKey>,
    sent_order: VecDeque<(Duration, Item)>,
    /// What was dropped because it waited for too long, or to make room.
    stale: u64,
}

struct Asked {
    by: Vec<(SocketAddr, Requester)>,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Ready>,
    /// How much of this requester is gathered or ready.
    load: usize,
}

#[derive(Clone, Copy)]
struct Ready {
    item: Item,
    to: Destination,
    since: Duration,
}

#[derive(Default)]
struct Sent {
    last: Option<Duration>,
    /// It is ready, and is to go there.
    waiting: Vec<Destination>,
    /// To single addresses, and when.
    to: Vec<(SocketAddr, Duration)>,
    to_group: Option<Duration>,
}

impl RetransmitQueue {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            gathering: BTreeMap::new(),
            by_due: BTreeSet::new(),
            queues: HashMap::with_hasher(key),
            by_load: BTreeSet::new(),
            turns: [VecDeque::new(), VecDeque::new()],
            total: 0,
            sent: HashMap::with_hasher(key),
            sent_order: VecDeque::new(),
            stale: 0,
        }
    }

    /// Takes a request.
    pub(in crate::proto) fn ask(
        &mut self,
        now: Duration,
        item: Item,
        (by, requester): (SocketAddr, Requester),
    ) -> RequestOutcome {
        let mut due = now + GATHER;
        if let Some(sent) = self.sent.get(&item) {
            if sent.will_be_sent_to(by) || sent.was_sent_to(by, now) {
                return RequestOutcome::Duplicate;
            }
            due = due.max(sent.free_at());
        }
        if let Some(asked) = self.gathering.get(&item)
            && (asked.by.len() >= MAX_SENT_TO || asked.by.iter().any(|(other, _)| *other == by))
        {
            return RequestOutcome::Duplicate;
        }
        let load = self.queues.get(&requester).map_or(0, |queue| queue.load);
        if load >= MAX_OWN || self.total >= MAX_GATHERED && !self.make_room(load) {
            return RequestOutcome::Full;
        }
        self.add_load(requester);
        if let Some(asked) = self.gathering.get_mut(&item) {
            asked.by.push((by, requester));
        } else {
            let by = vec![(by, requester)];
            self.gathering.insert(item, Asked { by });
            self.by_due.insert((due, item));
        }
        RequestOutcome::Taken
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(in crate::proto) fn due(&self) -> Option<Duration> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Makes ready the items that were gathered for long enough. `may_go` decides which of them may
    /// go to the group, and which class their requesters are; where one may not, the requester
    /// among them that waits for the fewest items is answered alone. Returns how many requests were
    /// refused.
    pub(in crate::proto) fn handle_timeout(
        &mut self,
        now: Duration,
        mut may_go: impl FnMut(Item, Class) -> bool,
    ) -> u64 {
        let mut refused = 0;
        while let Some(&(_, item)) = self.by_due.first().filter(|(due, _)| *due <= now) {
            self.by_due.pop_first();
            let Some(mut asked) = self.gathering.remove(&item) else {
                continue;
            };
            let free_at = self.sent.get(&item).map_or(now, Sent::free_at);
            if free_at > now {
                // It was sent to another requester meanwhile.
                self.gather(item, free_at, asked.by);
                continue;
            }
            let is_peer = |(_, by): &(SocketAddr, Requester)| by.class() == Class::Peers;
            let class = if asked.by.iter().any(is_peer) {
                Class::Peers
            } else {
                Class::Strangers
            };
            if asked.by.len() > 1 && may_go(item, class) {
                for (_, requester) in asked.by {
                    self.take_load(requester);
                }
                self.add_load(Requester::Group);
                self.make_ready(now, item, Destination::Group, Requester::Group);
                continue;
            }
            let load = |by: &Requester| self.queues.get(by).map_or(0, |queue| queue.load);
            let least = asked.by.iter().enumerate();
            let least = least.min_by_key(|(_, (_, by))| load(by));
            let Some((at, _)) = least else {
                continue;
            };
            let (to, requester) = asked.by.swap_remove(at);
            self.make_ready(now, item, Destination::Peer(to), requester);
            refused += asked.by.len() as u64;
            for (_, requester) in asked.by {
                self.take_load(requester);
            }
        }
        while let Some(&(at, item)) = self.sent_order.front()
            && at + AGAIN_TO_THE_SAME <= now
        {
            self.sent_order.pop_front();
            let over = |sent: &Sent| sent.last.is_none_or(|last| last <= at);
            if self.sent.get(&item).is_some_and(over) {
                self.forget_sent(item);
            }
        }
        refused
    }

    /// The next item for a requester of this class, and its address.
    pub(in crate::proto) fn next(
        &mut self,
        now: Duration,
        class: Class,
    ) -> Option<(Item, Destination)> {
        loop {
            let requester = *self.turns[class as usize].front()?;
            let Some(&Ready { item, to, since }) = self
                .queues
                .get(&requester)
                .and_then(|queue| queue.ready.front())
            else {
                self.turns[class as usize].pop_front();
                continue;
            };
            let sent = self.sent.get(&item);
            if since + STALE < now {
                self.stale += 1;
                self.remove_front(requester);
            } else if sent.is_some_and(|sent| sent.went_to_group_lately(now)) {
                self.remove_front(requester);
            } else if let Some(free_at) = sent.map(Sent::free_at).filter(|at| *at > now) {
                // It was sent to another requester just now.
                self.remove_front(requester);
                if let Destination::Peer(by) = to {
                    self.add_load(requester);
                    match self.gathering.get_mut(&item) {
                        Some(asked) => asked.by.push((by, requester)),
                        None => self.gather(item, free_at, vec![(by, requester)]),
                    }
                }
            } else {
                return Some((item, to));
            }
        }
    }

    /// What may be next, without putting anything in order.
    pub(in crate::proto) fn peek(&self, class: Class) -> Option<(Item, Destination)> {
        let requester = self.turns[class as usize].front()?;
        let first = self.queues.get(requester)?.ready.front()?;
        Some((first.item, first.to))
    }

    /// What was next has been sent, or can be no more.
    pub(in crate::proto) fn done(&mut self, now: Duration, class: Class) {
        let Some(&requester) = self.turns[class as usize].front() else {
            return;
        };
        let Some(Ready { item, to, .. }) = self.remove_front(requester) else {
            return;
        };
        let sent = self.sent.entry(item).or_default();
        sent.last = Some(now);
        match to {
            Destination::Group => sent.to_group = Some(now),
            Destination::Peer(address) => {
                sent.to.retain(|(_, at)| *at + AGAIN_TO_THE_SAME > now);
                sent.to.push((address, now));
            }
        }
        self.sent_order.push_back((now, item));
    }

    /// The requester that is served next.
    pub(in crate::proto) fn turn(&self, class: Class) -> Option<Requester> {
        self.turns[class as usize].front().copied()
    }

    /// Ends a turn, if it has not ended by itself.
    pub(in crate::proto) fn end_turn(&mut self, class: Class, turn: Option<Requester>) {
        let turns = &mut self.turns[class as usize];
        if turns.len() > 1 && turns.front().copied() == turn {
            turns.rotate_left(1);
        }
    }

    /// How many items were dropped since the last call because they waited for too long, or to make
    /// room.
    pub(in crate::proto) fn take_stale(&mut self) -> u64 {
        std::mem::take(&mut self.stale)
    }

    /// Removes the last ready item of the requester that has most, if that is more than so many.
    fn make_room(&mut self, load: usize) -> bool {
        let Some(&(most, fullest)) = self.by_load.last() else {
            return false;
        };
        if most <= load + 1 {
            return false;
        }
        let Some(queue) = self.queues.get_mut(&fullest) else {
            return false;
        };
        let Some(ready) = queue.ready.pop_back() else {
            return false;
        };
        if queue.ready.is_empty() {
            self.turns[fullest.class() as usize].retain(|other| *other != fullest);
        }
        self.stale += 1;
        self.removed(fullest, ready);
        true
    }

    fn gather(&mut self, item: Item, due: Duration, by: Vec<(SocketAddr, Requester)>) {
        self.by_due.insert((due, item));
        self.gathering.insert(item, Asked { by });
    }

    fn make_ready(&mut self, now: Duration, item: Item, to: Destination, requester: Requester) {
        self.sent.entry(item).or_default().waiting.push(to);
        let queue = self.queues.entry(requester).or_default();
        if queue.ready.is_empty() {
            self.turns[requester.class() as usize].push_back(requester);
        }
        queue.ready.push_back(Ready {
            item,
            to,
            since: now,
        });
    }

    /// Removes the first item of the queue that is served next.
    fn remove_front(&mut self, requester: Requester) -> Option<Ready> {
        let queue = self.queues.get_mut(&requester)?;
        let ready = queue.ready.pop_front()?;
        if queue.ready.is_empty() {
            self.turns[requester.class() as usize].pop_front();
        }
        self.removed(requester, ready);
        Some(ready)
    }

    /// An item that was ready no longer is.
    fn removed(&mut self, requester: Requester, ready: Ready) {
        self.take_load(requester);
        if let Some(sent) = self.sent.get_mut(&ready.item) {
            sent.waiting.retain(|to| *to != ready.to);
            if sent.last.is_none() {
                self.forget_sent(ready.item);
            }
        }
    }

    /// Forgets an item unless a requester waits for it.
    fn forget_sent(&mut self, item: Item) {
        if self
            .sent
            .get(&item)
            .is_some_and(|sent| sent.waiting.is_empty())
        {
            self.sent.remove(&item);
        }
    }

    fn add_load(&mut self, requester: Requester) {
        let queue = self.queues.entry(requester).or_default();
        self.by_load.remove(&(queue.load, requester));
        queue.load += 1;
        self.by_load.insert((queue.load, requester));
        self.total += 1;
    }

    fn take_load(&mut self, requester: Requester) {
        self.total -= 1;
        if let Some(queue) = self.queues.get_mut(&requester) {
            self.by_load.remove(&(queue.load, requester));
            queue.load -= 1;
            if queue.load == 0 {
                self.queues.remove(&requester);
            } else {
                self.by_load.insert((queue.load, requester));
            }
        }
    }
}

impl Sent {
    /// When it may be sent again to any requester.
    fn free_at(&self) -> Duration {
        self.last
            .map_or(Duration::ZERO, |last| last + AGAIN_TO_ANYBODY)
    }

    fn will_be_sent_to(&self, address: SocketAddr) -> bool {
        let to = |to: &Destination| {
            matches!(to, Destination::Group) || *to == Destination::Peer(address)
        };
        self.waiting.len() >= MAX_SENT_TO || self.waiting.iter().any(to)
    }

    fn was_sent_to(&self, address: SocketAddr, now: Duration) -> bool {
        let lately = |at: Duration| at + AGAIN_TO_THE_SAME > now;
        self.to_group.is_some_and(lately)
            || self.to.len() >= MAX_SENT_TO && self.last.is_some_and(lately)
            || self
                .to
                .iter()
                .any(|(had, at)| *had == address && lately(*at))
    }

    /// Whether it went to the group lately, and so to everybody.
    fn went_to_group_lately(&self, now: Duration) -> bool {
        self.to_group.is_some_and(|at| at + AGAIN_TO_THE_SAME > now)
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

    fn answers() -> RetransmitQueue {
        RetransmitQueue::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn by(i: u8) -> (SocketAddr, Requester) {
        (address(i), Requester::Peer(address(i)))
    }

    fn takes(answers: &mut RetransmitQueue, now: Duration, item: Item, i: u8) -> bool {
        answers.ask(now, item, by(i)) == RequestOutcome::Taken
    }

    fn send_one(answers: &mut RetransmitQueue, now: Duration) -> Option<(Item, Destination)> {
        let turn = answers.turn(Class::Peers);
        let next = answers.next(now, Class::Peers)?;
        answers.done(now, Class::Peers);
        answers.end_turn(Class::Peers, turn);
        Some(next)
    }

    fn ready(answers: &mut RetransmitQueue, now: Duration) -> Vec<(Item, Destination)> {
        answers.handle_timeout(now, |_, _| true);
        std::iter::from_fn(|| send_one(answers, now)).collect()
    }

    const ITEM: Item = Item::Small(7);

    #[test]
    fn one_requester_is_answered_by_unicast_and_several_by_the_group() {
        let mut answers = answers();
        assert!(takes(&mut answers, ms(0), ITEM, 1));
        assert_eq!(answers.ask(ms(1), ITEM, by(1)), RequestOutcome::Duplicate);
        assert!(takes(&mut answers, ms(2), Item::Small(8), 1));
        assert!(takes(&mut answers, ms(3), Item::Small(8), 2));
        assert_eq!(answers.due(), Some(ms(5)));
        assert_eq!(
            ready(&mut answers, ms(6)),
            [(ITEM, Destination::Peer(address(1)))]
        );
        assert_eq!(
            ready(&mut answers, ms(7)),
            [(Item::Small(8), Destination::Group)]
        );
        assert_eq!((answers.due(), answers.total), (None, 0));
        assert!(answers.queues.is_empty());
    }

    #[test]
    fn over_the_group_limit_the_requester_with_fewest_items_is_answered_alone() {
        let mut answers = answers();
        for n in 10..20 {
            assert!(takes(&mut answers, ms(0), Item::Small(n), 1));
        }
        for i in 1..=3 {
            assert!(takes(&mut answers, ms(1), ITEM, i));
        }
        let mut asked = Vec::new();
        let refused = answers.handle_timeout(ms(6), |item, class| {
            asked.push((item, class));
            false
        });
        assert_eq!((asked, refused), (vec![(ITEM, Class::Peers)], 2));
        let to: Vec<_> = ready(&mut answers, ms(6))
            .into_iter()
            .filter(|(item, _)| *item == ITEM)
            .collect();
        assert_eq!(to, [(ITEM, Destination::Peer(address(2)))]);
        assert!(answers.queues.is_empty() && answers.total == 0);
        // The others repeat their requests, and are answered in turn.
        assert!(takes(&mut answers, ms(30), ITEM, 1));
        let strangers = [7, 8].map(|i| (address(i), Requester::Stranger(address(i).ip())));
        for stranger in strangers {
            assert_eq!(
                answers.ask(ms(31), Item::Small(9), stranger),
                RequestOutcome::Taken
            );
        }
        let mut classes = Vec::new();
        answers.handle_timeout(ms(40), |_, class| {
            classes.push(class);
            true
        });
        assert_eq!(classes, [Class::Strangers]);
    }

    #[test]
    fn nothing_is_repeated_too_soon() {
        let mut answers = answers();
        assert!(takes(&mut answers, ms(0), ITEM, 1));
        assert_eq!(ready(&mut answers, ms(5)).len(), 1);
        // The same one again: not within 50 ms.
        assert_eq!(answers.ask(ms(30), ITEM, by(1)), RequestOutcome::Duplicate);
        assert_eq!(answers.ask(ms(54), ITEM, by(1)), RequestOutcome::Duplicate);
        // Another one: 20 ms after the first.
        assert!(takes(&mut answers, ms(6), ITEM, 2));
        assert!(ready(&mut answers, ms(24)).is_empty());
        assert_eq!(
            ready(&mut answers, ms(25)),
            [(ITEM, Destination::Peer(address(2)))]
        );
        assert!(takes(&mut answers, ms(55), ITEM, 1));
        assert!(takes(&mut answers, ms(55), ITEM, 3));
        assert_eq!(ready(&mut answers, ms(60)), [(ITEM, Destination::Group)]);
        for i in 1..20 {
            assert!(!takes(&mut answers, ms(109), ITEM, i));
        }
        assert!(takes(&mut answers, ms(110), ITEM, 9));
        ready(&mut answers, ms(200));
        ready(&mut answers, ms(300));
        assert!(answers.sent.is_empty() && answers.sent_order.is_empty());
    }

    #[test]
    fn what_still_waits_to_go_out_is_not_taken_twice() {
        let mut answers = answers();
        assert!(takes(&mut answers, ms(0), ITEM, 1));
        answers.handle_timeout(ms(5), |_, _| true);
        assert!(!takes(&mut answers, ms(100), ITEM, 1));
        // Another one gets it 20 ms after the first, whenever that is.
        assert!(takes(&mut answers, ms(100), ITEM, 2));
        answers.handle_timeout(ms(150), |_, _| true);
        let first = Some((ITEM, Destination::Peer(address(1))));
        assert_eq!(send_one(&mut answers, ms(160)), first);
        assert_eq!(send_one(&mut answers, ms(160)), None);
        assert!(!takes(&mut answers, ms(165), ITEM, 1));
        assert!(ready(&mut answers, ms(179)).is_empty());
        assert_eq!(
            ready(&mut answers, ms(190)),
            [(ITEM, Destination::Peer(address(2)))]
        );
    }

    #[test]
    fn a_flood_of_requests_is_bounded_and_refused_to_its_requester_alone() {
        let mut answers = answers();
        let taken = (0..200_000).filter(|n| takes(&mut answers, ms(0), Item::Small(*n), 1));
        assert_eq!(taken.count(), MAX_OWN);
        assert_eq!(
            answers.ask(ms(0), Item::Small(1 << 40), by(1)),
            RequestOutcome::Full
        );
        // However many there are that take all they can get, a new one finds room.
        for i in 2..=200 {
            let own = u64::from(i) << 32;
            let mut items = (own..).map(Item::Small);
            while takes(&mut answers, ms(0), items.next().unwrap(), i) {}
            answers.handle_timeout(ms(5), |_, _| true);
        }
        assert_eq!(answers.total, MAX_GATHERED);
        for n in 0..256 {
            let item = Item::Small((1 << 41) + n);
            assert!(takes(&mut answers, ms(6), item, 201), "{n}");
        }
        assert_eq!(answers.total, MAX_GATHERED);
        let all = ready(&mut answers, ms(11));
        assert_eq!(all.len(), MAX_GATHERED);
        assert!(answers.queues.is_empty() && answers.by_load.is_empty());
    }

    #[test]
    fn each_has_its_turn() {
        let mut answers = answers();
        for n in 0..5_000 {
            assert!(takes(&mut answers, ms(0), Item::Small(n), 1));
        }
        for n in 0..80 {
            assert!(takes(&mut answers, ms(1), Item::Small(10_000 + n), 2));
        }
        answers.handle_timeout(ms(6), |_, _| true);
        let first: Vec<_> = (0..160)
            .filter_map(|_| send_one(&mut answers, ms(6)))
            .filter(|(_, to)| *to == Destination::Peer(address(2)))
            .collect();
        assert_eq!(first.len(), 80);
        // An item that waited for a second is not sent any more.
        let late = ms(6) + STALE + ms(1);
        assert_eq!(send_one(&mut answers, late), None);
        assert_eq!(answers.take_stale(), 4_920);
        assert_eq!(answers.total, 0);
    }

    #[test]
    fn what_one_waits_for_long_another_gets_in_its_own_turn() {
        let mut answers = answers();
        let stranger = (address(9), Requester::Stranger(address(9).ip()));
        assert_eq!(answers.ask(ms(0), ITEM, stranger), RequestOutcome::Taken);
        answers.handle_timeout(ms(5), |_, _| true);
        // Nothing is sent to strangers for a while.
        assert!(takes(&mut answers, ms(100), ITEM, 1));
        let to_one = [(ITEM, Destination::Peer(address(1)))];
        assert_eq!(ready(&mut answers, ms(105)), to_one);
        assert_eq!(answers.next(ms(106), Class::Strangers), None);
        answers.handle_timeout(ms(125), |_, _| true);
        let to_stranger = Some((ITEM, Destination::Peer(address(9))));
        assert_eq!(answers.next(ms(126), Class::Strangers), to_stranger);
    }
}
