//! Reassembly of chunked messages.
//!
//! Responsible for chunks from the moment that their datagrams are known to be good, until the
//! reassembled message is returned or dropped, and for all bounds on memory meanwhile. Not for the
//! content of the message, and not for remembering which messages are over: that is `DedupCache`'s.
//!
//! A message is identified by its [`Origin`] and its `seqId`, so that no sender can add to
//! another's. A claimed number of chunks allocates nothing. Messages that are dropped, to make room
//! or because no more of them came, wait in [`Assembler::poll_given_up`], to be taken after every
//! call that takes `&mut self`.
//!
//! Missing chunks are requested as [`ChunkNacks`] schedule them, one message after the other as
//! [`RequestWindow`] allows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::proto::{
    hash::HashKey,
    receive::{
        attempts::{Attempt, Attempts},
        chunk_nacks::{ChunkNacks, Repair},
        events::ExpiredReason,
        peer::Peer,
        reassembly_buffer::ReassemblyBuffer,
        streams::StreamRef,
    },
    repair::{
        nack_list::Span,
        request_window::{RequestWindow, Requester},
    },
    seal::AuthenticatedSender,
    stats::DropCause,
    wire::{MAX_CHUNKS, MessageId, SeqId},
};

/// Most incomplete messages of one origin.
pub(in crate::proto) const MAX_INCOMPLETE: u32 = 1024;

/// What is reckoned for each slice beside its bytes.
pub(in crate::proto) const PIECE_COST: usize = 128;

/// What is reckoned for each message beside its slices and texts: its entries in the tables here.
pub(in crate::proto) const MESSAGE_COST: usize = 1024;

/// A message that makes progress all the time may still not take longer than so many times
/// `message_ttl`.
const OVERDUE_TTLS: u32 = 20;

/// How many times `message_ttl` a message may wait for its first request after its last chunk,
/// while requests for other messages of its sender are answered: no sender keeps its messages for
/// longer.
const WAITING_TTLS: u32 = 3;

/// Most messages that one call drops because of their age, so that a batch of events stays small.
/// The others follow at the next call, which is due at once.
const MAX_EXPIRED_AT_ONCE: usize = 256;

/// The sender of a message, as far as no other can pose as it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::proto) enum Origin {
    /// Any sender at that address.
    Address(SocketAddr),
    /// The sender that sealed it, wherever it comes from: the source address can be changed on the
    /// way.
    Sealer(AuthenticatedSender),
}

/// A chunk whose metadata is good.
pub(in crate::proto) struct Chunk<'a> {
    pub(in crate::proto) origin: Origin,
    pub(in crate::proto) from: SocketAddr,
    pub(in crate::proto) seq_id: &'a [u8],
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) seq: u32,
    pub(in crate::proto) seq_len: u32,
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) peer: &'a Arc<Peer>,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) slice: &'a [u8],
    pub(in crate::proto) repair: Repair,
    /// The stream that waits for the message.
    pub(in crate::proto) stream: Option<StreamRef>,
    /// When chunks that this one shows to be missing are to be requested.
    pub(in crate::proto) ask_at: Duration,
}

/// What became of a chunk that was taken.
pub(in crate::proto) struct Taken {
    /// It is the first one of its message.
    pub(in crate::proto) opened: bool,
    /// The message, if it was the last one missing.
    pub(in crate::proto) joined: Option<Joined>,
}

/// A request that is to be sent.
pub(in crate::proto) struct Ask {
    pub(in crate::proto) to: SocketAddr,
    pub(in crate::proto) seq_id: SeqId,
    /// The stream that waits for the message.
    pub(in crate::proto) stream: Option<StreamRef>,
    index: usize,
}

/// What all chunks of a message say.
pub(in crate::proto) struct MessageHeader {
    pub(in crate::proto) origin: Origin,
    /// Where its first chunk came from.
    pub(in crate::proto) from: SocketAddr,
    pub(in crate::proto) seq_id: SeqId,
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) name: Box<str>,
    pub(in crate::proto) peer: Arc<Peer>,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) seq_len: u32,
    /// The stream that waits for it.
    pub(in crate::proto) stream: Option<StreamRef>,
}

/// A message that is complete.
pub(in crate::proto) struct Joined {
    pub(in crate::proto) header: MessageHeader,
    pub(in crate::proto) bytes: Vec<u8>,
}

/// A message that was dropped.
pub(in crate::proto) struct GivenUp {
    pub(in crate::proto) header: MessageHeader,
    /// When its first chunk came.
    pub(in crate::proto) first: Duration,
    pub(in crate::proto) received: u32,
    pub(in crate::proto) reason: ExpiredReason,
}

pub(in crate::proto) struct Assembler {
    max_message_size: usize,
    max_held_bytes: usize,
    message_ttl: Duration,
    /// Most requests without any chunk between them.
    attempts: u32,
    held: usize,
    /// What other parts hold within the same bound.
    elsewhere: usize,
    by_key: HashMap<Key, usize, HashKey>,
    partials: Vec<Option<Partial>>,
    free: Vec<usize>,
    /// All messages by the moment at which each is to be looked at: never later than its deadline.
    due: BTreeSet<(Duration, usize)>,
    /// Messages of which something is to be requested, by a moment that is not later than the right
    /// one.
    asks: BTreeSet<(Duration, usize)>,
    window: RequestWindow,
    /// Messages for which a stream waits, by number.
    attempts_at: Attempts,
    /// All messages by holder and age.
    by_age: BTreeMap<(Holder, u64), usize>,
    holders: HashMap<Origin, (Holder, u32), HashKey>,
    /// All holders by how many messages they have.
    by_count: BTreeSet<(u32, Holder)>,
    next_holder: Holder,
    next_birth: u64,
    given_up: Vec<GivenUp>,
}

type Key = (Origin, SeqId);

/// An origin that has incomplete messages.
type Holder = u64;

struct Partial {
    header: MessageHeader,
    slices: ReassemblyBuffer,
    holder: Holder,
    birth: u64,
    first: Duration,
    last: Duration,
    /// Its place in [`Assembler::due`].
    due: Duration,
    nacks: ChunkNacks,
    /// Its place in [`Assembler::asks`].
    ask_due: Option<Duration>,
    turn: Turn,
}

/// Whether a message may send a request when it has something to request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It need not wait.
    Free,
    /// It waits, and has no place in [`Assembler::asks`].
    Waits,
    /// It has waited, and its turn has come.
    Comes,
}

impl Assembler {
    pub(in crate::proto) fn new(
        max_message_size: usize,
        max_held_bytes: usize,
        message_ttl: Duration,
        attempts: u32,
        key: HashKey,
    ) -> Self {
        Self {
            max_message_size,
            max_held_bytes,
            message_ttl,
            attempts,
            held: 0,
            elsewhere: 0,
            by_key: HashMap::with_hasher(key),
            partials: Vec::new(),
            free: Vec::new(),
            due: BTreeSet::new(),
            asks: BTreeSet::new(),
            window: RequestWindow::new(key),
            attempts_at: Attempts::default(),
            by_age: BTreeMap::new(),
            holders: HashMap::with_hasher(key),
            by_count: BTreeSet::new(),
            next_holder: 0,
            next_birth: 0,
            given_up: Vec::new(),
        }
    }

    /// Bytes held for incomplete messages.
    pub(in crate::proto) fn held(&self) -> usize {
        self.held
    }

    /// Sets how much other parts hold within the same bound.
    pub(in crate::proto) fn set_elsewhere(&mut self, bytes: usize) {
        self.elsewhere = bytes;
    }

    /// How many messages are incomplete.
    pub(in crate::proto) fn incomplete(&self) -> usize {
        self.by_key.len()
    }

    /// Takes a chunk. On `Err` it was refused; other messages may have been dropped to make room
    /// nevertheless.
    pub(in crate::proto) fn take(
        &mut self,
        now: Duration,
        chunk: &Chunk<'_>,
    ) -> Result<Taken, DropCause> {
        self.check_limits(chunk)?;
        let key = (chunk.origin, SeqId::new(chunk.seq_id));
        let mut opened = false;
        let index = match self.by_key.get(&key) {
            Some(&index) => {
                let partial = self.partial(index);
                partial.header.check(chunk)?;
                partial.slices.check(chunk.seq, chunk.slice)?;
                let birth = partial.birth;
                let more = PIECE_COST + partial.slices.growth(chunk.seq, chunk.slice);
                self.make_room(more)?;
                // Making room may have cost this very message.
                if self.partials[index]
                    .as_ref()
                    .is_none_or(|partial| partial.birth != birth)
                {
                    return Err(DropCause::Crowded);
                }
                index
            }
            None => {
                opened = true;
                self.open(now, key, chunk)?
            }
        };
        self.add(now, index, chunk);
        if !self.partial(index).slices.is_complete() {
            self.schedule(index);
            return Ok(Taken {
                opened,
                joined: None,
            });
        }
        let Partial { header, slices, .. } = self.remove(index);
        let bytes = slices.join();
        Ok(Taken {
            opened,
            joined: Some(Joined { header, bytes }),
        })
    }

    /// The next request that is to be sent now, and the indexes that it names, lowest first. Each
    /// message that is looked at takes one of `looks`; when none are left, nothing is given, and
    /// [`poll_timeout`](Self::poll_timeout) is as due as before.
    pub(in crate::proto) fn poll_ask(
        &mut self,
        now: Duration,
        looks: &mut usize,
        missing: &mut Vec<u32>,
    ) -> Option<Ask> {
        while *looks > 0
            && let Some(sender) = self.window.expire(now)
        {
            *looks -= 1;
            self.pass_turn(sender);
        }
        loop {
            let &(due, index) = self.asks.first().filter(|(due, _)| *due <= now)?;
            *looks = looks.checked_sub(1)?;
            self.asks.remove(&(due, index));
            let attempts = self.attempts;
            let partial = self.partials[index].as_mut().expect(KEPT);
            partial.ask_due = None;
            if partial.ask_at(attempts).is_none_or(|at| at > now) {
                self.schedule(index);
                continue;
            }
            if partial.nacks.open() > 0 {
                let requester = partial.requester(index);
                if !self.window.may_ask(requester, partial.nacks.answered()) {
                    partial.turn = Turn::Waits;
                    self.bring_forward(index);
                    continue;
                }
            }
            partial.turn = Turn::Free;
            partial
                .nacks
                .ask(now, partial.last, &partial.slices, missing);
            let header = &partial.header;
            let (to, seq_id, stream) = (header.from, header.seq_id, header.stream);
            self.schedule(index);
            return Some(Ask {
                to,
                seq_id,
                stream,
                index,
            });
        }
    }

    /// Notes how many of its indexes a request has named: as many as had room. A request that has
    /// not gone out is built again after its pause, and does not count among the attempts.
    pub(in crate::proto) fn asked(&mut self, ask: &Ask, named: usize, has_gone_out: bool) {
        let partial = self.partials[ask.index].as_mut().expect(KEPT);
        if has_gone_out {
            if let Some(attempt) = partial.attempt(ask.index) {
                self.attempts_at.note_asked(attempt);
            }
        } else {
            partial.nacks.not_sent();
        }
        partial.nacks.named(named);
        // A peer without extensions is sent requests without a window: nothing is ever outstanding
        // there.
        if partial.nacks.is_quick() {
            let (requester, bytes) = (partial.requester(ask.index), partial.asked_bytes());
            let until = partial.nacks.answered_by();
            self.window.set_open(requester, bytes, until);
            self.pass_turn(requester.sender);
        }
    }

    /// Lets the next message of a sender send a request, if there is room for it.
    fn pass_turn(&mut self, sender: Holder) {
        if let Some(next) = self.window.next(sender) {
            self.partials[next.index].as_mut().expect(KEPT).turn = Turn::Comes;
            self.schedule(next.index);
        }
    }

    /// Gives up what has waited too long, up to a number of messages at once.
    pub(in crate::proto) fn handle_timeout(&mut self, now: Duration) {
        for _ in 0..MAX_EXPIRED_AT_ONCE {
            let Some(index) = self.most_silent() else {
                return;
            };
            let partial = self.partial(index);
            if partial.due > now {
                return;
            }
            let overdue = partial.due < self.silent_at(index);
            self.give_up(
                index,
                if overdue {
                    ExpiredReason::Overdue
                } else {
                    ExpiredReason::Silent
                },
            );
        }
    }

    /// For this long until now nothing could be received: the time does not count for incomplete
    /// messages.
    pub(in crate::proto) fn excuse(&mut self, now: Duration, away: Duration) {
        let later = |time: Duration| time.saturating_add(away).min(now);
        for partial in self.partials.iter_mut().flatten() {
            partial.first = later(partial.first);
            partial.last = later(partial.last);
            partial.nacks.excuse(later);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_ask`](Self::poll_ask) may have
    /// something to do. It may turn out to be nothing.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        let ask = self.asks.first().map(|(due, _)| *due);
        due.into_iter().chain(ask).chain(self.window.due()).min()
    }

    /// The next message that was dropped.
    pub(in crate::proto) fn poll_given_up(&mut self) -> Option<GivenUp> {
        self.given_up.pop()
    }

    fn check_limits(&self, chunk: &Chunk<'_>) -> Result<(), DropCause> {
        let last = chunk.seq + 1 == chunk.seq_len;
        let size =
            (chunk.seq_len as usize).saturating_mul(if last { 1 } else { chunk.slice.len() });
        if chunk.seq_len > MAX_CHUNKS || chunk.slice.is_empty() || size > self.max_message_size {
            return Err(DropCause::OverLimit);
        }
        Ok(())
    }

    /// Begins a message, without its first chunk.
    fn open(&mut self, now: Duration, key: Key, chunk: &Chunk<'_>) -> Result<usize, DropCause> {
        let header = MessageHeader {
            origin: chunk.origin,
            from: chunk.from,
            seq_id: key.1,
            message_id: chunk.message_id,
            name: chunk.name.into(),
            peer: Arc::clone(chunk.peer),
            number: chunk.number,
            seq_len: chunk.seq_len,
            stream: chunk.stream,
        };
        let cost = header.cost();
        if let Some(&(holder, count)) = self.holders.get(&chunk.origin)
            && count >= MAX_INCOMPLETE
        {
            let oldest = self.oldest_of(holder);
            self.give_up(oldest, ExpiredReason::Crowded);
        }
        self.make_room(cost + PIECE_COST + chunk.slice.len())?;

        let (holder, count) = *self
            .holders
            .get(&chunk.origin)
            .unwrap_or(&(self.next_holder, 0));
        self.next_holder += u64::from(count == 0);
        self.recount(chunk.origin, holder, count, count + 1);
        let birth = self.next_birth;
        self.next_birth += 1;
        let due = now.saturating_add(self.message_ttl);
        let slices = ReassemblyBuffer::new(chunk.seq_len);
        let partial = Partial {
            header,
            slices,
            holder,
            birth,
            first: now,
            last: now,
            due,
            nacks: ChunkNacks::new(chunk.repair, chunk.seq_len),
            ask_due: None,
            turn: Turn::Free,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.partials.push(None);
            self.partials.len() - 1
        });
        if let Some(attempt) = partial.attempt(index) {
            self.attempts_at.insert(attempt);
        }
        self.partials[index] = Some(partial);
        self.by_key.insert(key, index);
        self.due.insert((due, index));
        self.by_age.insert((holder, birth), index);
        self.held += cost;
        Ok(index)
    }

    fn add(&mut self, now: Duration, index: usize, chunk: &Chunk<'_>) {
        let partial = self.partials[index].as_mut().expect(KEPT);
        let before = partial.slices.allocated();
        partial.slices.add(chunk.seq, chunk.slice);
        partial.last = now;
        let received = partial.slices.received();
        let was_asked = partial.nacks.note(now, chunk.seq, received, chunk.ask_at);
        let (requester, asked) = (partial.requester(index), partial.asked_bytes());
        let has_waited = std::mem::replace(&mut partial.turn, Turn::Free) != Turn::Free;
        self.held += PIECE_COST + partial.slices.allocated() - before;
        if has_waited {
            self.window.stop_waiting(requester);
        }
        self.bring_forward(index);
        if was_asked {
            self.window.has_brought(now, requester, asked);
            self.pass_turn(requester.sender);
        }
    }

    /// Schedules the message for the time when something of it is to be requested.
    fn schedule(&mut self, index: usize) {
        let attempts = self.attempts;
        let partial = self.partials[index].as_mut().expect(KEPT);
        debug_assert!(partial.turn != Turn::Waits, "who waits has no place there");
        let Some(at) = partial.ask_at(attempts) else {
            return;
        };
        // One that is looked at too early is put back then.
        if partial.ask_due.is_none_or(|due| at < due) {
            if let Some(due) = partial.ask_due.replace(at) {
                self.asks.remove(&(due, index));
            }
            self.asks.insert((at, index));
        }
    }

    /// Sees to it that the message is not looked at later than its deadline, after that has moved
    /// to an earlier time.
    fn bring_forward(&mut self, index: usize) {
        let deadline = self.deadline(index);
        let partial = self.partials[index].as_mut().expect(KEPT);
        if deadline < partial.due {
            self.due.remove(&(partial.due, index));
            self.due.insert((deadline, index));
            partial.due = deadline;
        }
    }

    /// Gives up messages until there is room for so many bytes more.
    fn make_room(&mut self, more: usize) -> Result<(), DropCause> {
        let most = self.max_held_bytes.saturating_sub(self.elsewhere);
        if more > most {
            return Err(DropCause::Crowded);
        }
        while self.held + more > most {
            let Some(victim) = self.victim() else {
                return Err(DropCause::Crowded);
            };
            self.give_up(victim, ExpiredReason::Crowded);
        }
        Ok(())
    }

    /// The oldest message of the origin that holds most. Among origins that hold as much, the one
    /// whose message was silent longest: so a flood from many addresses does not hit those that
    /// make progress.
    fn victim(&mut self) -> Option<usize> {
        let silent = self.most_silent()?;
        let &(most, crowded) = self.by_count.last()?;
        let partial = self.partial(silent);
        let (holder, count) = self.holders[&partial.header.origin];
        Some(self.oldest_of(if count == most { holder } else { crowded }))
    }

    fn oldest_of(&self, holder: Holder) -> usize {
        let first = self.by_age.range((holder, 0)..).next();
        *first.expect("a holder has a message").1
    }

    /// Drops one message to make room for other parts. `false`: there is none.
    pub(in crate::proto) fn give_up_one(&mut self) -> bool {
        let victim = self.victim();
        if let Some(victim) = victim {
            self.give_up(victim, ExpiredReason::Crowded);
        }
        victim.is_some()
    }

    /// Removes messages that a stream no longer waits for: those with these numbers, of this
    /// origin.
    pub(in crate::proto) fn forget(&mut self, origin: Origin, stream: StreamRef, numbers: Span) {
        let Some(&(holder, _)) = self.holders.get(&origin) else {
            return;
        };
        while let Some(attempt) = self.attempts_at.first(holder, stream.id(), numbers) {
            self.remove(attempt.index);
        }
    }

    /// Removes a message with one of these numbers, of this origin, for which a stream waits and of
    /// which something was requested; returns its number. Other attempts at the same number go with
    /// it: call it until it returns nothing.
    pub(in crate::proto) fn take_asked(
        &mut self,
        origin: Origin,
        stream: StreamRef,
        numbers: Span,
    ) -> Option<u64> {
        let &(holder, _) = self.holders.get(&origin)?;
        let attempt = self.attempts_at.first_asked(holder, stream.id(), numbers)?;
        self.remove(attempt.index);
        Some(attempt.number)
    }

    /// The message whose deadline is next, which is then what [`Partial::due`] says.
    fn most_silent(&mut self) -> Option<usize> {
        loop {
            let &(due, index) = self.due.first()?;
            let deadline = self.deadline(index);
            if deadline <= due {
                return Some(index);
            }
            // It has made progress since it was put there.
            self.due.pop_first();
            self.due.insert((deadline, index));
            self.partials[index].as_mut().expect(KEPT).due = deadline;
        }
    }

    fn deadline(&self, index: usize) -> Duration {
        let overdue = self.message_ttl.saturating_mul(OVERDUE_TTLS);
        let overdue = self.partial(index).first.saturating_add(overdue);
        self.silent_at(index).min(overdue)
    }

    /// When a message was silent for too long: since the last chunk or the last request, and not
    /// before that has gone out. One that waits for the request window is not silent while other
    /// messages of its sender are answered.
    fn silent_at(&self, index: usize) -> Duration {
        let (partial, ttl) = (self.partial(index), self.message_ttl);
        let spoken = if partial.turn == Turn::Free {
            let ask_at = partial.ask_at(self.attempts);
            ask_at.or(partial.nacks.last()).unwrap_or_default()
        } else {
            let longest = ttl.saturating_mul(WAITING_TTLS - 1);
            let answered = self.window.answered(partial.holder);
            let answered = answered.min(partial.last.saturating_add(longest));
            answered.max(partial.nacks.last().unwrap_or_default())
        };
        partial.last.max(spoken).saturating_add(ttl)
    }

    fn give_up(&mut self, index: usize, reason: ExpiredReason) {
        let Partial {
            header,
            first,
            slices,
            ..
        } = self.remove(index);
        self.given_up.push(GivenUp {
            header,
            first,
            received: slices.received(),
            reason,
        });
    }

    fn remove(&mut self, index: usize) -> Partial {
        let partial = self.partials[index].take().expect(KEPT);
        self.free.push(index);
        let header = &partial.header;
        self.by_key.remove(&(header.origin, header.seq_id));
        self.due.remove(&(partial.due, index));
        if let Some(due) = partial.ask_due {
            self.asks.remove(&(due, index));
        }
        if let Some(attempt) = partial.attempt(index) {
            self.attempts_at.remove(attempt);
        }
        self.by_age.remove(&(partial.holder, partial.birth));
        let (_, count) = self.holders[&header.origin];
        self.recount(header.origin, partial.holder, count, count - 1);
        self.held -= partial.cost();
        self.window.forget(partial.requester(index));
        self.pass_turn(partial.holder);
        if count == 1 {
            self.window.forget_sender(partial.holder);
        }
        partial
    }

    fn recount(&mut self, origin: Origin, holder: Holder, before: u32, after: u32) {
        if before > 0 {
            self.by_count.remove(&(before, holder));
        }
        if after > 0 {
            self.by_count.insert((after, holder));
            self.holders.insert(origin, (holder, after));
        } else {
            self.holders.remove(&origin);
        }
    }

    fn partial(&self, index: usize) -> &Partial {
        self.partials[index].as_ref().expect(KEPT)
    }
}

/// Why an index found in one of the tables is that of a message.
const KEPT: &str = "the tables name only messages that are kept";

impl Partial {
    /// When something is to be requested.
    fn ask_at(&self, attempts: u32) -> Option<Duration> {
        self.nacks.due(self.last, attempts)
    }

    /// Bytes that were requested and have not come.
    fn asked_bytes(&self) -> usize {
        self.nacks.open() * self.slices.slice_len()
    }

    /// What it is to the stream that waits for it.
    fn attempt(&self, index: usize) -> Option<Attempt> {
        let (stream, number) = self.header.stream.zip(self.header.number)?;
        Some(Attempt {
            holder: self.holder,
            stream: stream.id(),
            number,
            index,
        })
    }

    fn requester(&self, index: usize) -> Requester {
        Requester {
            sender: self.holder,
            birth: self.birth,
            index,
        }
    }

    fn cost(&self) -> usize {
        self.header.cost() + self.slices.allocated() + PIECE_COST * self.slices.received() as usize
    }
}

impl MessageHeader {
    fn cost(&self) -> usize {
        MESSAGE_COST + self.name.len() + self.peer.size()
    }

    fn check(&self, chunk: &Chunk<'_>) -> Result<(), DropCause> {
        let agrees = self.seq_len == chunk.seq_len
            && self.number == chunk.number
            && *self.name == *chunk.name
            && (Arc::ptr_eq(&self.peer, chunk.peer)
                || self.peer.id == chunk.peer.id
                    && self.peer.incarnation == chunk.peer.incarnation);
        if agrees {
            Ok(())
        } else {
            Err(DropCause::Inconsistent)
        }
    }
}

#[cfg(test)]
mod tests;
