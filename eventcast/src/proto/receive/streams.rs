//! The streams of a bus, one for each incarnation of a sender, and which senders are there.
//!
//! Responsible for finding, admitting and dropping streams, and for the facts about each sender.
//! The meaning of numbers is [`ReorderBuffer`]'s; events and requests are the engine's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::proto::{
    hash::HashKey,
    ranges::Span,
    rate::RateWindow,
    receive::{
        hello_clock::HelloClock,
        peer::{Peer, PeerStats, PeerStatus},
        reorder_buffer::{ReorderBuffer, Retired, RetiredLosses},
        route::Route,
        shares::Shares,
        vouch::Vouch,
    },
};

/// Most streams that are followed (WIRE.md section 9).
pub(in crate::proto) const MAX_STREAMS: usize = 4096;

/// A stream whose sender was heard within this time is not dropped to make room.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// How many other incarnations of a sender are examined, the latest first: a sender has one, or a
/// few after restarts; only made-up ones are more.
const LOOKED_AT: usize = 64;

/// Of how many senders whose streams were dropped it is remembered how far they were received.
const MAX_ENDED: usize = 65_536;

/// Most new streams of one address in a second.
const MAX_NEW_A_SECOND: u32 = 100;

/// How many of those that have been silent longest are found at a time.
const SILENT_AT_ONCE: usize = 256;

/// How many streams of an address are looked at, at either end, for one that may go.
const FEW: usize = 8;

/// Identifies a stream; the id of a dropped one is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct StreamRef {
    index: usize,
    generation: u64,
}

impl StreamRef {
    /// A number that no other stream ever has.
    pub(in crate::proto) fn id(self) -> u64 {
        self.generation
    }
}

pub(in crate::proto) struct Stream {
    generation: u64,
    /// See [`losses_id`](Self::losses_id).
    losses_id: u64,
    pub(in crate::proto) peer: Arc<Peer>,
    /// The address to whose share of the table it counts.
    began_at: SocketAddr,
    /// The address of its sender, as far as this bus can tell.
    pub(in crate::proto) route: Route,
    /// Its sender's own claims about its numbers.
    pub(in crate::proto) vouch: Vouch,
    pub(in crate::proto) reorder: ReorderBuffer,
    /// The sender as the last kept message describes it: messages that share the description are
    /// counted without it.
    pub(in crate::proto) kept_of: Option<Arc<Peer>>,
    pub(in crate::proto) last_heard: Duration,
    /// Numbers of messages or hellos that were too high to be accepted.
    pub(in crate::proto) far_message: Option<u64>,
    pub(in crate::proto) far_hello: Option<u64>,
    /// How long the sender had been running when it was discovered, if a message showed it.
    pub(in crate::proto) sender_up: Option<Duration>,
    /// When it was discovered, and when it said hello for the first time.
    pub(in crate::proto) opened: Duration,
    pub(in crate::proto) first_hello: Option<Duration>,
    /// When the last hello came, and how long the sender had been running by then.
    pub(in crate::proto) last_hello: Option<(Duration, Duration)>,
    pub(in crate::proto) hello_clock: HelloClock,
    pub(in crate::proto) presence: Presence,
    /// It has a place in [`Streams::departed`].
    is_departed: bool,
    pub(in crate::proto) info: PeerInfo,
    pub(in crate::proto) stats: PeerStats,
    /// Its place in [`Streams::dues`].
    due: Option<Duration>,
    /// What it counts for in [`Streams::held`].
    held: usize,
    /// Its place in [`Streams::by_held`].
    listed: Option<usize>,
    /// Its place in [`Streams::silences`].
    silent_at: Option<Duration>,
}

impl Stream {
    /// The id of the first stream of its sender, as far as is known: what is reported of the losses
    /// of one is taken back in the next.
    pub(in crate::proto) fn losses_id(&self) -> u64 {
        self.losses_id
    }
}

/// Whether a sender is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Presence {
    /// It has not said hello.
    Unknown,
    Present,
    Left,
}

impl Stream {
    /// Notes that a requested number has come from an address. From another address than the
    /// sender's, a number that the sender never named does not count: it may be made up there.
    pub(in crate::proto) fn is_answered(&mut self, now: Duration, from: SocketAddr, number: u64) {
        if from != self.route.address() && !self.vouch.has_named(number) {
            return;
        }
        let settled = self.route.is_settled();
        if self.route.note_answer(now, from) {
            self.vouch
                .reset(settled.then(|| self.reorder.next_number()));
        }
    }
}

/// The contents of a sender's hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proto) struct PeerInfo {
    pub(in crate::proto) version: Box<str>,
    pub(in crate::proto) capabilities: Vec<Box<str>>,
}

type Incarnations = BTreeMap<Option<u64>, usize>;

/// A stream that was dropped to make room, of which something is to be reported.
pub(in crate::proto) struct CrowdedOut {
    pub(in crate::proto) at: StreamRef,
    pub(in crate::proto) losses_id: u64,
    pub(in crate::proto) peer: Arc<Peer>,
    /// Its sender was there, and has not said goodbye.
    pub(in crate::proto) was_present: bool,
    /// What was still to come of it.
    pub(in crate::proto) losses: RetiredLosses,
}

/// What is remembered of a stream that was dropped to make room.
struct Ended {
    generation: u64,
    losses_id: u64,
    retired: Retired,
}

pub(in crate::proto) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// By id, and each id's by incarnation: of one id there may be as many as there are streams.
    by_id: HashMap<Box<str>, Incarnations, HashKey>,
    /// Streams in which something can be dropped to make room, by how much they hold.
    by_held: BTreeSet<(usize, usize)>,
    /// Streams in which something is missing, by the moment at which something is to be done about
    /// it.
    dues: BTreeSet<(Duration, usize)>,
    next_generation: u64,
    /// Those that have said goodbye, the first one first.
    departed: VecDeque<StreamRef>,
    /// How far the dropped streams were received, and their generations in order. One that is there
    /// again, or was dropped again since, is still in the order.
    ended: HashMap<u64, Ended, HashKey>,
    ended_order: VecDeque<(u64, u64)>,
    key: HashKey,
    /// Bytes of the messages that wait in all streams.
    held: usize,
    /// Until then every stream is one that does not go.
    full_until: Duration,
    /// Those that were silent longest when all were examined last, the first to drop at the end,
    /// and when they were heard.
    silent_longest: Vec<(Duration, StreamRef)>,
    present: usize,
    /// All that are there, by a moment before which they are not silent for too long.
    silences: BTreeSet<(Duration, usize)>,
    /// How many streams began at each IP address, and at each address of it.
    shares: Shares,
    /// Streams that were dropped to make room.
    crowded_out: Vec<CrowdedOut>,
}

impl Streams {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::with_hasher(key),
            by_held: BTreeSet::new(),
            dues: BTreeSet::new(),
            next_generation: 0,
            departed: VecDeque::new(),
            ended: HashMap::with_hasher(key),
            ended_order: VecDeque::new(),
            key,
            held: 0,
            full_until: Duration::ZERO,
            silent_longest: Vec::new(),
            present: 0,
            silences: BTreeSet::new(),
            shares: Shares::new(key),
            crowded_out: Vec::new(),
        }
    }

    /// A stream that was dropped to make room.
    pub(in crate::proto) fn poll_crowded_out(&mut self) -> Option<CrowdedOut> {
        self.crowded_out.pop()
    }

    /// Bytes of the messages that wait.
    pub(in crate::proto) fn held(&self) -> usize {
        self.held
    }

    /// How many peers are there.
    pub(in crate::proto) fn present(&self) -> usize {
        self.present
    }

    #[inline]
    pub(in crate::proto) fn get(&mut self, at: StreamRef) -> Option<&mut Stream> {
        let stream = self.slots.get_mut(at.index)?.as_mut()?;
        (stream.generation == at.generation).then_some(stream)
    }

    /// The stream of this incarnation.
    pub(in crate::proto) fn find(&self, id: &str, incarnation: Option<u64>) -> Option<StreamRef> {
        let index = *self.by_id.get(id)?.get(&incarnation)?;
        let generation = self.slots[index].as_ref()?.generation;
        Some(StreamRef { index, generation })
    }

    /// Whether another incarnation of this one is known.
    pub(in crate::proto) fn knows_another(&self, id: &str, incarnation: Option<u64>) -> bool {
        self.by_id
            .get(id)
            .is_some_and(|ours| ours.len() > usize::from(ours.contains_key(&incarnation)))
    }

    /// Whether a number was delivered or reported before the stream of its sender made room.
    pub(in crate::proto) fn is_over(&self, peer: &Peer, number: u64) -> bool {
        let ended = self.ended.get(&self.hash(peer));
        ended.is_some_and(|ended| ended.retired.is_over(number))
    }

    /// A number is delivered although its sender has no stream: gives the
    /// [id of the losses](Stream::losses_id) of the one that made room, and which of them are none
    /// after all.
    pub(in crate::proto) fn note_unfollowed(
        &mut self,
        peer: &Peer,
        number: u64,
    ) -> Option<(u64, Span)> {
        let hash = self.hash(peer);
        let &Ended {
            losses_id, retired, ..
        } = self.ended.get(&hash)?;
        if retired.tentative && number < retired.next {
            // The hello was of another time, or a lie: what it claimed is forgotten.
            self.ended.remove(&hash);
            return Some((losses_id, (0, u64::MAX)));
        }
        Some((losses_id, (number, number)))
    }

    /// Begins to follow a sender, if there is room.
    pub(in crate::proto) fn open(
        &mut self,
        now: Duration,
        peer: Arc<Peer>,
        order: ReorderBuffer,
        opened: &mut RateWindow,
    ) -> Option<StreamRef> {
        if !opened.take(now, MAX_NEW_A_SECOND) {
            return None;
        }
        if self.slots.len() - self.free.len() >= MAX_STREAMS {
            self.drop_departed(false)
                .or_else(|| self.drop_silent(now))
                .or_else(|| self.drop_crowded(peer.address))
                .or_else(|| self.drop_departed(true))?;
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let (order, losses_id) = match self.ended.remove(&self.hash(&peer)) {
            // It goes on where it was when it made room.
            Some(ended) => (ReorderBuffer::resumed(ended.retired), ended.losses_id),
            None => (order, generation),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_id
            .entry(peer.id.as_str().into())
            .or_default()
            .insert(peer.incarnation, index);
        self.shares.add(peer.address, generation, index);
        self.slots[index] = Some(Stream {
            generation,
            losses_id,
            began_at: peer.address,
            route: Route::new(now, peer.address),
            vouch: Vouch::default(),
            peer,
            reorder: order,
            kept_of: None,
            last_heard: now,
            far_message: None,
            far_hello: None,
            sender_up: None,
            opened: now,
            first_hello: None,
            last_hello: None,
            hello_clock: HelloClock::default(),
            presence: Presence::Unknown,
            is_departed: false,
            info: PeerInfo::default(),
            stats: PeerStats::default(),
            due: None,
            held: 0,
            listed: None,
            silent_at: None,
        });
        Some(StreamRef { index, generation })
    }

    /// Sets the books right after a stream's order has changed.
    #[inline]
    pub(in crate::proto) fn settle(&mut self, at: StreamRef) {
        let Some(stream) = self.slots[at.index].as_mut() else {
            return;
        };
        debug_assert!(stream.reorder.waits_for_something());
        let held = stream.reorder.held();
        self.held = self.held - stream.held + held;
        stream.held = held;
        let listed = (held > 0 && stream.reorder.can_give_up()).then_some(held);
        if listed != stream.listed {
            if let Some(before) = stream.listed {
                self.by_held.remove(&(before, at.index));
            }
            if let Some(held) = listed {
                self.by_held.insert((held, at.index));
            }
            stream.listed = listed;
        }
        let due = stream.reorder.due();
        if due != stream.due {
            if let Some(due) = stream.due {
                self.dues.remove(&(due, at.index));
            }
            if let Some(due) = due {
                self.dues.insert((due, at.index));
            }
            stream.due = due;
        }
    }

    /// When [`next_due`](Self::next_due) gives something.
    pub(in crate::proto) fn due(&self) -> Option<Duration> {
        self.dues.first().map(|(due, _)| *due)
    }

    /// A stream in which something is to be requested, or to end.
    pub(in crate::proto) fn next_due(&self, now: Duration) -> Option<StreamRef> {
        let &(due, index) = self.dues.first()?;
        let generation = self.slots[index].as_ref()?.generation;
        (due <= now).then_some(StreamRef { index, generation })
    }

    /// The stream in which most waits, of those in which something can be dropped.
    pub(in crate::proto) fn fullest(&self) -> Option<StreamRef> {
        let &(_, index) = self.by_held.last()?;
        let generation = self.slots[index].as_ref()?.generation;
        Some(StreamRef { index, generation })
    }

    /// Changes whether a sender is there.
    pub(in crate::proto) fn set_presence(
        &mut self,
        at: StreamRef,
        presence: Presence,
        timeout: Duration,
    ) {
        let Some(stream) = self.get(at) else {
            return;
        };
        let before = std::mem::replace(&mut stream.presence, presence);
        let silent = stream.last_heard.saturating_add(timeout);
        let silent_at = (presence == Presence::Present).then_some(silent);
        let listed_before = std::mem::replace(&mut stream.silent_at, silent_at);
        self.present -= usize::from(before == Presence::Present);
        self.present += usize::from(presence == Presence::Present);
        if let Some(before) = listed_before {
            self.silences.remove(&(before, at.index));
        }
        if let Some(silent) = silent_at {
            self.silences.insert((silent, at.index));
        }
    }

    /// The other incarnations of a sender that count as present.
    pub(in crate::proto) fn others_present(&self, at: StreamRef) -> impl Iterator<Item = &Stream> {
        let ours = self.slots[at.index]
            .as_ref()
            .and_then(|stream| self.by_id.get(stream.peer.id.as_str()));
        let others = ours
            .into_iter()
            .flat_map(|ours| ours.values().rev().take(LOOKED_AT))
            .filter(move |index| **index != at.index);
        others
            .filter_map(|&index| self.slots[index].as_ref())
            .filter(|stream| stream.presence == Presence::Present)
    }

    /// For this long until now nothing could be received: no sender was silent then.
    pub(in crate::proto) fn excuse(&mut self, now: Duration, away: Duration) {
        for stream in self.slots.iter_mut().flatten() {
            let first_hello = &mut stream.first_hello;
            // Otherwise the first hello, or the last datagram of a restarted sender, would seem to
            // have come after that.
            for at in std::iter::once(&mut stream.last_heard).chain(first_hello) {
                *at = at.saturating_add(away).min(now);
            }
            stream.route.excuse(now, away);
            stream.reorder.gaps().excuse(now, away);
        }
    }

    /// A sender has said goodbye: its stream is dropped first when room is needed.
    pub(in crate::proto) fn note_goodbye(&mut self, at: StreamRef) {
        if let Some(stream) = self.get(at)
            && !std::mem::replace(&mut stream.is_departed, true)
        {
            self.departed.push_back(at);
        }
    }

    /// When [`silent`](Self::silent) may find a sender.
    pub(in crate::proto) fn next_silence(&self) -> Option<Duration> {
        self.silences.first().map(|(at, _)| *at)
    }

    /// The senders that are there and were silent for so long, whose [presence](Self::set_presence)
    /// is to be ended. One that was heard since the last look is examined again when it may be
    /// silent; those that would be due soon are postponed together, so that many peers do not cause
    /// many calls.
    pub(in crate::proto) fn silent(&mut self, now: Duration, timeout: Duration) -> Vec<StreamRef> {
        let mut silent = Vec::new();
        let soon = now.saturating_add(timeout / 8);
        while let Some(&(listed, index)) = self.silences.first()
            && listed <= soon
            && let Some(stream) = &mut self.slots[index]
        {
            let at = stream.last_heard.saturating_add(timeout);
            if at <= now {
                let generation = stream.generation;
                silent.push(StreamRef { index, generation });
            } else if at <= listed {
                break;
            }
            self.silences.pop_first();
            stream.silent_at = (at > now).then_some(at);
            if at > now {
                self.silences.insert((at, index));
            }
        }
        silent
    }

    /// All peers that are there.
    pub(in crate::proto) fn peers(&self, now: Duration) -> Vec<PeerStatus> {
        let streams = self.slots.iter().flatten();
        let present = streams.filter(|stream| stream.presence == Presence::Present);
        present
            .map(|stream| PeerStatus {
                peer: Arc::clone(&stream.peer),
                version: stream.info.version.to_string(),
                capabilities: stream
                    .info
                    .capabilities
                    .iter()
                    .map(|c| c.to_string())
                    .collect(),
                heard_ago: now.saturating_sub(stream.last_heard),
                stats: stream.stats,
            })
            .collect()
    }

    /// Drops the stream that was silent longest, if it was so for long enough. Examines all of them
    /// once for [`SILENT_AT_ONCE`] that are dropped.
    fn drop_silent(&mut self, now: Duration) -> Option<()> {
        if let Some(at) = self.pop_silent() {
            return self.retire(at.index);
        }
        if now < self.full_until {
            return None;
        }
        let streams = self.slots.iter().enumerate();
        let mut all: Vec<_> = streams
            .filter_map(|(index, slot)| {
                let stream = slot.as_ref()?;
                let generation = stream.generation;
                Some((stream.last_heard, StreamRef { index, generation }))
            })
            .collect();
        all.sort_unstable_by_key(|(last_heard, at)| (*last_heard, at.index));
        let &(last_heard, _) = all.first()?;
        if last_heard + KEPT_FOR > now {
            self.full_until = last_heard + KEPT_FOR;
            return None;
        }
        all.truncate(SILENT_AT_ONCE);
        all.retain(|(last_heard, _)| *last_heard + KEPT_FOR <= now);
        all.reverse();
        self.silent_longest = all;
        let at = self.pop_silent()?;
        self.retire(at.index)
    }

    /// The next of those that were found to be silent longest, unless it was heard since.
    fn pop_silent(&mut self) -> Option<StreamRef> {
        while let Some((last_heard, at)) = self.silent_longest.pop() {
            if self
                .get(at)
                .is_some_and(|stream| stream.last_heard == last_heard)
            {
                return Some(at);
            }
        }
        None
    }

    /// Drops a stream of the IP address with most of them, if the newcomer's has fewer, and of the
    /// address with most of that one.
    fn drop_crowded(&mut self, newcomer: SocketAddr) -> Option<()> {
        // The oldest and the latest few are looked at, of a few addresses where several have as
        // many. One in which something waits goes last, and else the one of which least came.
        let candidates = self.shares.fullest(newcomer)?.flat_map(|indexes| {
            let latest = indexes.values().rev().take(FEW);
            indexes.values().take(FEW).chain(latest)
        });
        let candidates = candidates.filter_map(|&index| {
            let stream = self.slots[index].as_ref()?;
            let waits = stream.reorder.has_waiting();
            Some((waits, stream.stats.received > 0, stream.last_heard, index))
        });
        let (.., index) = candidates.min()?;
        self.retire(index)
    }

    /// Drops a stream that said goodbye, the first one of a few in which nothing is missing and
    /// nothing waits. Where `whatever`, the first one of all, also if something is.
    fn drop_departed(&mut self, whatever: bool) -> Option<()> {
        let mut looks = FEW;
        while looks > 0
            && let Some(at) = self.departed.pop_front()
        {
            let Some(stream) = self.get(at) else { continue };
            if stream.presence != Presence::Left {
                stream.is_departed = false;
                continue;
            }
            let is_over =
                stream.held == 0 && stream.due.is_none() && !stream.reorder.has_partials();
            if is_over || whatever {
                return self.retire(at.index);
            }
            self.departed.push_back(at);
            looks -= 1;
        }
        None
    }

    /// Drops a stream to make room. How far it was stays known, so that nothing of it is delivered
    /// again, and what was still to come of it is reported.
    fn retire(&mut self, index: usize) -> Option<()> {
        let stream = self.remove(index)?;
        let (retired, losses) = stream.reorder.retire();
        let losses_id = stream.losses_id;
        if let Some(retired) = retired {
            let (hash, generation) = (self.hash(&stream.peer), stream.generation);
            let ended = Ended {
                generation,
                losses_id,
                retired,
            };
            self.ended.insert(hash, ended);
            self.ended_order.push_back((hash, generation));
            if self.ended_order.len() > MAX_ENDED
                && let Some((oldest, generation)) = self.ended_order.pop_front()
                && self
                    .ended
                    .get(&oldest)
                    .is_some_and(|kept| kept.generation == generation)
            {
                self.ended.remove(&oldest);
            }
        }
        let was_present = stream.presence == Presence::Present;
        if was_present || !losses.is_empty() {
            let generation = stream.generation;
            self.crowded_out.push(CrowdedOut {
                at: StreamRef { index, generation },
                losses_id,
                peer: stream.peer,
                was_present,
                losses,
            });
        }
        Some(())
    }

    /// What an incarnation is known by when it has made room.
    fn hash(&self, peer: &Peer) -> u64 {
        let incarnation = peer.incarnation.unwrap_or_default().to_le_bytes();
        self.key.hash(&[peer.id.as_bytes(), &incarnation])
    }

    fn remove(&mut self, index: usize) -> Option<Stream> {
        let stream = self.slots[index].take()?;
        self.free.push(index);
        self.shares.remove(stream.began_at, stream.generation);
        self.held -= stream.held;
        if let Some(held) = stream.listed {
            self.by_held.remove(&(held, index));
        }
        if let Some(silent_at) = stream.silent_at {
            self.silences.remove(&(silent_at, index));
        }
        self.present -= usize::from(stream.presence == Presence::Present);
        if let Some(due) = stream.due {
            self.dues.remove(&(due, index));
        }
        if let Some(ours) = self.by_id.get_mut(stream.peer.id.as_str()) {
            ours.remove(&stream.peer.incarnation);
            if ours.is_empty() {
                self.by_id.remove(stream.peer.id.as_str());
            }
        }
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn streams() -> Streams {
        Streams::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    #[test]
    fn who_said_goodbye_makes_room_and_nothing_of_it_comes_again() {
        let mut streams = streams();
        for i in 0..2 * MAX_STREAMS as u64 {
            let order = ReorderBuffer::new(1 + i % 7, false);
            let at = streams.open(secs(1), peer("x", i), order, &mut RateWindow::default());
            let at = at.expect("others have said goodbye");
            streams.set_presence(at, Presence::Present, secs(5));
            streams.set_presence(at, Presence::Left, secs(5));
            streams.note_goodbye(at);
            streams.note_goodbye(at);
        }
        // The first ones have made room. One that speaks again goes on where it was.
        for i in 0..100 {
            assert_eq!(streams.find("x", Some(i)), None);
            let at = open(
                &mut streams,
                secs(1),
                peer("x", i),
                &mut RateWindow::default(),
            )
            .unwrap();
            // It is not owed anything before that, whatever its hello says.
            assert_eq!(streams.get(at).unwrap().reorder.first(), 1);
            assert_eq!(streams.get(at).unwrap().reorder.next_number(), 1 + i % 7);
        }
        assert!(streams.departed.len() <= 2 * MAX_STREAMS);
    }

    fn peer(id: &str, incarnation: u64) -> Arc<Peer> {
        Arc::new(Peer {
            id: id.to_owned(),
            incarnation: Some(incarnation),
            hostname: String::new(),
            host: String::new(),
            port: 1,
            address: ([127, 0, 0, 1], 1).into(),
        })
    }

    fn open(
        streams: &mut Streams,
        now: Duration,
        peer: Arc<Peer>,
        opened: &mut RateWindow,
    ) -> Option<StreamRef> {
        streams.open(now, peer, ReorderBuffer::new(1, false), opened)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn one_that_makes_room_twice_is_known_as_long_as_others() {
        let mut streams = streams();
        let go = |streams: &mut Streams, i: u64| {
            let at = open(streams, secs(i), peer("x", i), &mut RateWindow::default()).unwrap();
            let next = streams.get(at).unwrap().reorder.next_number();
            streams.get(at).unwrap().reorder.advance();
            streams.retire(at.index);
            next
        };
        assert_eq!(go(&mut streams, 0), 1);
        assert_eq!(go(&mut streams, 0), 2);
        for i in 1..MAX_ENDED as u64 {
            assert_eq!(go(&mut streams, i), 1);
        }
        assert_eq!(streams.ended.len(), MAX_ENDED);
        assert_eq!(go(&mut streams, 0), 3);
        // It is the last to go now.
        assert_eq!(go(&mut streams, MAX_ENDED as u64), 1);
        assert_eq!(go(&mut streams, 0), 4);
        assert!(streams.ended.len() <= MAX_ENDED && streams.ended_order.len() <= MAX_ENDED);
    }

    #[test]
    fn each_incarnation_is_a_stream_of_its_own() {
        let mut streams = streams();
        let mut rate = RateWindow::default();
        let first = open(&mut streams, secs(0), peer("a", 1), &mut rate).unwrap();
        assert_eq!(streams.find("a", Some(1)), Some(first));
        assert_eq!(streams.find("a", Some(2)), None);
        assert!(streams.knows_another("a", Some(2)) && !streams.knows_another("a", Some(1)));
        let second = open(&mut streams, secs(0), peer("a", 2), &mut rate).unwrap();
        streams.set_presence(first, Presence::Present, secs(5));
        let others = |at| {
            streams
                .others_present(at)
                .map(|stream| stream.peer.incarnation)
        };
        assert_eq!(Vec::from_iter(others(second)), [Some(1)]);
        assert_eq!(others(first).count(), 0);
        assert_eq!((streams.present(), streams.peers(secs(1)).len()), (1, 1));
        assert_eq!(streams.next_silence(), Some(secs(5)));
        assert!(streams.silent(secs(4), secs(5)).is_empty());
        assert_eq!(streams.silent(secs(5), secs(5)), [first]);
    }

    #[test]
    fn the_fullest_is_found_among_all() {
        let mut streams = streams();
        let mut refs = Vec::new();
        for i in 0..MAX_STREAMS as u64 {
            // Of one id all of them.
            let at = open(
                &mut streams,
                secs(i),
                peer("x", i),
                &mut RateWindow::default(),
            );
            refs.push(at.unwrap());
        }
        assert_eq!(streams.find("x", Some(4_000)), Some(refs[4_000]));
        assert!(streams.knows_another("x", Some(0)) && !streams.knows_another("y", Some(0)));
        assert_eq!(streams.fullest(), None);
        let mut grow = |at: StreamRef, gaps: u64| {
            let order = &mut streams.get(at).unwrap().reorder;
            for _ in 0..gaps {
                let known = order.known();
                order.claim(secs(1), known + 1, secs(2 * known));
            }
            streams.settle(at);
            streams.fullest()
        };
        assert_eq!(grow(refs[7], 1), Some(refs[7]));
        assert_eq!(grow(refs[4_095], 3), Some(refs[4_095]));
        assert_eq!(grow(refs[7], 1), Some(refs[4_095]));
        assert_eq!(grow(refs[7], 2), Some(refs[7]));
        streams.get(refs[7]).unwrap().reorder.gaps().forget_above(0);
        streams.settle(refs[7]);
        assert_eq!(streams.fullest(), Some(refs[4_095]));
    }

    #[test]
    fn no_more_than_so_many_and_the_silent_ones_go() {
        let mut streams = streams();
        let mut refs = Vec::new();
        for i in 0..MAX_STREAMS {
            let at = open(
                &mut streams,
                secs(i as u64),
                peer("x", i as u64),
                &mut RateWindow::default(),
            );
            refs.push(at.unwrap());
        }
        // The first ones have been silent for more than a minute.
        let late = secs(MAX_STREAMS as u64);
        let more = open(&mut streams, late, peer("y", 1), &mut RateWindow::default());
        assert!(more.is_some() && streams.get(refs[0]).is_none());
        assert_eq!(streams.find("x", Some(0)), None);
        for at in refs.iter().skip(1) {
            streams.get(*at).unwrap().last_heard = late;
        }
        let soon = late + secs(59);
        assert!(open(&mut streams, soon, peer("z", 1), &mut RateWindow::default()).is_none());
        let later = late + secs(60);
        assert!(
            open(
                &mut streams,
                later,
                peer("z", 1),
                &mut RateWindow::default()
            )
            .is_some()
        );
    }

    fn peer_at(id: &str, address: SocketAddr) -> Arc<Peer> {
        let mut peer = Arc::unwrap_or_clone(peer(id, 1));
        peer.address = address;
        Arc::new(peer)
    }

    #[test]
    fn one_with_few_finds_room_where_another_has_many() {
        let mut streams = streams();
        let honest = peer_at("honest", ([10, 0, 0, 1], 1).into());
        let honest = open(&mut streams, secs(0), honest, &mut RateWindow::default()).unwrap();
        for i in 1..MAX_STREAMS {
            let address = ([10, 0, 0, 2], 1 + i as u16 % 64).into();
            let at = open(
                &mut streams,
                secs(1),
                peer_at(&i.to_string(), address),
                &mut RateWindow::default(),
            );
            streams.set_presence(at.unwrap(), Presence::Present, secs(5));
        }
        assert_eq!(streams.present(), MAX_STREAMS - 1);
        // An address with many streams gets no room for another one. A second IP address does, and
        // so does another port of the first.
        let more = peer_at("more", ([10, 0, 0, 2], 1).into());
        assert!(open(&mut streams, secs(2), more, &mut RateWindow::default()).is_none());
        for address in [([10, 0, 0, 3], 1), ([10, 0, 0, 2], 999)] {
            let newcomer = peer_at("newcomer", address.into());
            assert!(open(&mut streams, secs(2), newcomer, &mut RateWindow::default()).is_some());
            assert!(streams.poll_crowded_out().is_some());
        }
        assert_eq!(streams.present(), MAX_STREAMS - 3);
        assert!(streams.get(honest).is_some());
        // One of which messages came goes after those of which none did.
        let at = streams.find("1", Some(1)).unwrap();
        streams.get(at).unwrap().stats.received = 1;
        for i in 0..200 {
            let newcomer = peer_at("newcomer", ([10, 0, 1, i], 1).into());
            assert!(open(&mut streams, secs(2), newcomer, &mut RateWindow::default()).is_some());
        }
        assert!(streams.get(at).is_some());
    }

    #[test]
    fn the_one_that_was_silent_longest_goes_first_however_many_go() {
        let mut streams = streams();
        let mut refs = Vec::new();
        for i in 0..MAX_STREAMS as u64 {
            let at = open(
                &mut streams,
                secs(i),
                peer("x", i),
                &mut RateWindow::default(),
            );
            refs.push(at.unwrap());
        }
        let late = secs(2 * MAX_STREAMS as u64);
        let mut expected: Vec<usize> = (0..MAX_STREAMS).collect();
        for i in 0..1_000_u64 {
            let more = open(&mut streams, late, peer("y", i), &mut RateWindow::default());
            assert!(more.is_some());
            let gone = expected.remove(0);
            assert_eq!(streams.get(refs[gone]).map(|_| ()), None, "{i}");
            assert!(streams.get(refs[expected[0]]).is_some(), "{i}");
            if i % 3 == 0 {
                // The one that would be next is heard.
                let heard = expected.remove(0);
                streams.get(refs[heard]).unwrap().last_heard = late;
                expected.push(heard);
            }
        }
    }

    #[test]
    fn new_ones_come_no_faster_than_so() {
        let mut streams = streams();
        let mut rate = RateWindow::default();
        let opened = (0..1_000)
            .filter(|i| open(&mut streams, secs(5), peer("x", *i), &mut rate).is_some())
            .count();
        assert_eq!(opened, MAX_NEW_A_SECOND as usize);
        assert!(open(&mut streams, secs(6), peer("y", 1), &mut rate).is_some());
    }
}
