//! Numbered messages: delivering them in order, and passing what will not come.

use std::{sync::Arc, time::Duration};

use rand::RngExt;

use super::{
    Engine,
    receive::{Dropped, Incoming, Sender},
};
use crate::{
    codec::RawArgs,
    proto::{
        DropCause, Events, LeftReason, LostReason, Now, Peer,
        ranges::count,
        receive::{
            assembler::{MESSAGE_COST, Origin, PIECE_COST},
            events::{Change, MessageFacts},
            losses::Losses,
            peers::KnownAt,
            reorder_buffer::{FARTHEST, Held, ReorderBuffer, Verdict},
            streams::{CrowdedOut, Stream, StreamRef},
        },
        repair::nack_list::Span,
        seal::AuthenticatedSender,
        stats::EngineStats,
    },
};

/// A missing number is requested after so many milliseconds, drawn at random: an overtaken message
/// has come by then, and the receivers that miss it do not all request it at once.
const FIRST_ASK: std::ops::Range<u64> = 2..10;

/// A message, and where its bytes are.
pub(super) enum Body<'a> {
    Small(RawArgs<'a>),
    Large {
        buffer: Vec<u8>,
        element_type: u8,
        value: std::ops::Range<usize>,
    },
}

impl Body<'_> {
    fn push(self, events: &mut Events, name: &str, facts: MessageFacts) {
        match self {
            Self::Small(args) => events.push_message(name, args, facts),
            Self::Large {
                buffer,
                element_type,
                value,
            } => events.push_large(name, buffer, element_type, value, facts),
        }
    }

    fn hold(self, name: &str, facts: MessageFacts) -> Held {
        match self {
            Self::Small(args) => {
                let (element_type, value) = args.parts();
                Held::Small {
                    text: [name.as_bytes(), value].concat().into(),
                    name_len: name.len(),
                    element_type,
                    facts,
                }
            }
            Self::Large {
                buffer,
                element_type,
                value,
            } => Held::Large {
                name: name.into(),
                buffer,
                element_type,
                value,
                facts,
            },
        }
    }
}

/// How a sender was first discovered.
#[derive(Clone, Copy)]
pub(super) enum First {
    /// A hello.
    Hello {
        /// The first number that is owed to every receiver.
        number: u64,
        /// How long the sender has been running.
        up: Duration,
    },
    /// A message.
    Message {
        number: u64,
        /// How long the sender has been running, if its clock has not been set since, and the
        /// message shows it.
        up: Option<Duration>,
    },
}

/// A bus that has run for so long has discovered all earlier ones, in all likelihood. A sender that
/// it discovers now, and whose numbers are still below this, may be younger than its clock says.
const SETTLED: Duration = Duration::from_secs(5);
const LOW_NUMBERS: u64 = 64;

/// The longest that a message waits for the hello of its sender, which comes once a second.
const LONGEST_UNDECIDED: Duration = Duration::from_millis(1_500);

impl Engine {
    /// The stream of a peer. One that is new is followed from the first number that is owed, if
    /// there is room.
    #[inline]
    pub(super) fn stream(
        &mut self,
        now: Now,
        at: KnownAt,
        peer: &Arc<Peer>,
        first: First,
    ) -> Option<StreamRef> {
        if let Some(known) = self.peers[at].stream
            && self.streams.get(known).is_some()
        {
            return Some(known);
        }
        let found = self.streams.find(&peer.id, peer.incarnation).or_else(|| {
            let order = self.begin(now, peer, first);
            let opened = &mut self.peers[at].streams_opened;
            let stream = self
                .streams
                .open(now.elapsed, Arc::clone(peer), order, opened)?;
            if let Some(next) = self.unfollowed.take(peer)
                && let Some(opened) = self.streams.get(stream)
                && opened.reorder.begin_unfollowed(next)
            {
                self.not_lost(stream, Some((0, u64::MAX)));
            }
            // Messages sent from now on are owed to it, though it may discover this bus only
            // afterwards.
            let owed = self.heartbeat.last_sent().saturating_add(1);
            self.newcomers.add(now.elapsed, stream, peer.address, owed);
            self.answer_newcomer(now.elapsed);
            Some(stream)
        });
        while let Some(gone) = self.streams.poll_crowded_out() {
            self.report_crowded_out(gone);
        }
        self.peers[at].stream = found;
        found
    }

    /// Reports the losses of a stream that was displaced.
    fn report_crowded_out(&mut self, gone: CrowdedOut) {
        let (id, now, reason) = (gone.losses_id, self.present, LostReason::Crowded);
        for &span in gone.losses.lost.iter().chain(&gone.losses.claims) {
            self.stats.lost_messages = self.stats.lost_messages.saturating_add(count(span));
        }
        for span in gone.losses.lost {
            if let Some(loss) = self.losses.note(now, id, &gone.peer, span, reason) {
                self.events.push_lost(loss);
            }
        }
        // What was only claimed may be under way, and is delivered if it comes.
        let until = now.saturating_add(self.message_ttl);
        for span in gone.losses.claims {
            self.losses
                .note_later(now, until, id, &gone.peer, span, reason);
        }
        if gone.was_present {
            let (peer, left) = (gone.peer, Some(LeftReason::Crowded));
            self.report_change(gone.at, Change { peer, left });
        }
    }

    /// Where the stream of a sender begins that was not known.
    fn begin(&self, now: Now, peer: &Peer, first: First) -> ReorderBuffer {
        let own_up = now.elapsed.saturating_sub(self.heartbeat.started);
        match first {
            First::Hello { up, .. } if self.was_there(now, up) => ReorderBuffer::new(1, false),
            First::Hello { number, .. } => ReorderBuffer::new(number, true),
            First::Message { number, up } => {
                let mut order = ReorderBuffer::new(number, false);
                // A clock may have been set, so a message alone does not decide.
                let seems_there = up.is_some_and(|up| self.was_there(now, up))
                    || self.streams.knows_another(&peer.id, peer.incarnation);
                let may_be_younger = own_up >= SETTLED && number < LOW_NUMBERS;
                if number > 1 && (seems_there || may_be_younger) {
                    let until = (self.message_ttl / 2).min(LONGEST_UNDECIDED);
                    order.wait_for_beginning(now.elapsed + until);
                }
                order
            }
        }
    }

    /// Lets a stream begin where it is known what is owed of it.
    pub(super) fn begin_at(&mut self, now: Now, at: StreamRef, first: u64) {
        let due = self.ask_due(now.elapsed);
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let is_too_much = stream.reorder.first().saturating_sub(first) > FARTHEST;
        let lost = stream.reorder.begin_at(now.elapsed, first, due);
        let reason = if is_too_much {
            LostReason::TooMany
        } else {
            LostReason::Overtaken
        };
        self.report_lost(at, lost, reason);
        self.release(at);
        self.streams.settle(at);
    }

    /// Lets a stream begin whose sender has said no hello in time: at the message by which it was
    /// discovered.
    pub(super) fn begin_undecided(&mut self, now: Now, at: StreamRef) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let (first, sender_up) = (stream.reorder.first(), stream.sender_up);
        let up_now = |up: Duration| up.saturating_add(now.elapsed.saturating_sub(stream.opened));
        let there = sender_up
            .map(up_now)
            .is_some_and(|up| self.was_there(now, up));
        self.begin_at(now, at, if there { 1 } else { first });
    }

    /// When numbers that are found missing now are requested for the first time. Those found at
    /// about the same time are requested together.
    #[inline]
    pub(super) fn ask_due(&mut self, now: Duration) -> Duration {
        if self.ask_slot < now + Duration::from_millis(FIRST_ASK.start) {
            self.ask_slot = now + Duration::from_millis(self.rng.random_range(FIRST_ASK));
        }
        self.ask_slot
    }

    /// Whether this bus was there when a sender started that has been running for so long.
    pub(super) fn was_there(&self, now: Now, sender_up: Duration) -> bool {
        let up = now.elapsed.saturating_sub(self.heartbeat.started);
        up.as_millis() > sender_up.as_millis()
    }

    /// Takes a whole numbered message: it is delivered, kept until its turn comes, or dropped.
    #[inline]
    pub(super) fn take_numbered(
        &mut self,
        now: Now,
        at: StreamRef,
        number: u64,
        name: &str,
        body: Body<'_>,
        facts: MessageFacts,
    ) -> Result<(), Dropped> {
        let due = self.ask_due(now.elapsed);
        let Some(stream) = self.streams.get(at) else {
            return Err(DropCause::Unfollowed.into());
        };
        stream.last_heard = now.elapsed;
        let from = facts.peer.address;
        stream.route.note(now.elapsed, from);
        let place = self.accept_number(at, number)?;
        let Some(stream) = self.streams.get(at) else {
            return Err(DropCause::Unfollowed.into());
        };
        match place {
            Verdict::Over | Verdict::Far => {
                stream.stats.duplicates += 1;
                if cfg!(eventcast_sabotage = "double_delivery") {
                    body.push(&mut self.events, name, facts);
                }
                return Err(DropCause::Duplicate.into());
            }
            Verdict::Next => {
                let filled = stream.reorder.note(now.elapsed, number, due);
                self.stats.repaired_messages += stream.stats.count_repair(filled);
                if filled.not_lost.is_some() {
                    take_back(&mut self.losses, &mut self.stats, stream, filled.not_lost);
                }
                if filled.asked {
                    stream.is_answered(now.elapsed, from, number);
                }
                stream.reorder.forget_partial(number);
                stream.reorder.advance();
                stream.stats.received += 1;
                self.stats.delivered_messages += 1;
                body.push(&mut self.events, name, facts);
                if stream.reorder.has_waiting() {
                    self.release(at);
                }
            }
            Verdict::Ahead => {
                let filled = stream.reorder.note(now.elapsed, number, due);
                self.stats.repaired_messages += stream.stats.count_repair(filled);
                take_back(&mut self.losses, &mut self.stats, stream, filled.not_lost);
                if filled.asked {
                    stream.is_answered(now.elapsed, from, number);
                }
                stream.reorder.forget_partial(number);
                if cfg!(eventcast_sabotage = "wrong_order") {
                    stream.reorder.skip((number, number));
                    body.push(&mut self.events, name, facts);
                    return Ok(());
                }
                let kept_of = stream.kept_of.as_ref();
                let shared = kept_of.is_some_and(|peer| Arc::ptr_eq(peer, &facts.peer));
                let peer_cost = if shared { 0 } else { facts.peer.size() };
                if !shared {
                    stream.kept_of = Some(Arc::clone(&facts.peer));
                }
                let held = body.hold(name, facts);
                stream.reorder.hold(number, held, peer_cost);
                self.bound_gaps(at);
                self.make_room(now.elapsed, 0);
                self.release(at);
            }
        }
        self.streams.settle(at);
        Ok(())
    }

    /// What is to become of a number, once it has been made sure that it can be believed.
    pub(super) fn accept_number(&mut self, at: StreamRef, number: u64) -> Result<Verdict, Dropped> {
        let Some(stream) = self.streams.get(at) else {
            return Err(DropCause::Unfollowed.into());
        };
        let place = stream.reorder.place(number);
        if place != Verdict::Far {
            return Ok(place);
        }
        let agreed = self.sealing.is_some()
            || stream
                .far_hello
                .is_some_and(|hello| hello.abs_diff(number) <= FARTHEST);
        if !agreed {
            stream.far_message = Some(number);
            return Err(DropCause::Inconsistent.into());
        }
        (stream.far_message, stream.far_hello) = (None, None);
        let lost = stream.reorder.jump(number);
        self.report_lost(at, lost, LostReason::TooMany);
        self.release(at);
        self.streams.settle(at);
        let stream = self.streams.get(at);
        Ok(stream.map_or(Verdict::Over, |stream| stream.reorder.place(number)))
    }

    /// Delivers what waited and waits no more.
    pub(super) fn release(&mut self, at: StreamRef) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        while let Some(held) = stream.reorder.release() {
            stream.stats.received += 1;
            self.stats.delivered_messages += 1;
            match held {
                Held::Small {
                    text,
                    name_len,
                    element_type,
                    facts,
                } => {
                    let (name, value) = text.split_at(name_len);
                    let name = std::str::from_utf8(name).expect("it was a name");
                    let args = RawArgs::from_parts(element_type, value);
                    self.events.push_message(name, args, facts);
                }
                Held::Large {
                    name,
                    buffer,
                    element_type,
                    value,
                    facts,
                } => self
                    .events
                    .push_large(&name, buffer, element_type, value, facts),
            }
        }
    }

    /// Reports numbers as lost that were skipped.
    pub(super) fn report_lost(&mut self, at: StreamRef, lost: Option<Span>, reason: LostReason) {
        let Some(((first, last), stream)) = lost.zip(self.streams.get(at)) else {
            return;
        };
        let (peer, id) = (Arc::clone(&stream.peer), stream.losses_id());
        self.count_lost(at, count((first, last)));
        if cfg!(eventcast_sabotage = "silent_gap") {
            return;
        }
        let now = self.present;
        let loss = self.losses.note(now, id, &peer, (first, last), reason);
        if let Some(loss) = loss {
            self.events.push_lost(loss);
        }
    }

    /// The same for numbers that were only claimed, and requested for less than `message_ttl`: they
    /// may be under way.
    fn report_lost_later(&mut self, at: StreamRef, lost: Span, reason: LostReason) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let (peer, id) = (Arc::clone(&stream.peer), stream.losses_id());
        self.count_lost(at, count(lost));
        let now = self.present;
        let until = now.saturating_add(self.message_ttl);
        self.losses.note_later(now, until, id, &peer, lost, reason);
    }

    pub(super) fn count_lost(&mut self, at: StreamRef, count: u64) {
        if let Some(stream) = self.streams.get(at) {
            stream.stats.lost = stream.stats.lost.saturating_add(count);
        }
        self.stats.lost_messages = self.stats.lost_messages.saturating_add(count);
    }

    /// Numbers that were reported lost because of a claim alone are not lost after all.
    pub(super) fn not_lost(&mut self, at: StreamRef, numbers: Option<Span>) {
        if let Some(stream) = self.streams.get(at) {
            take_back(&mut self.losses, &mut self.stats, stream, numbers);
        }
    }

    /// Notes that a number is delivered although its sender has no stream: it is not lost, though
    /// it was claimed in the one that made room.
    pub(super) fn not_lost_unfollowed(&mut self, peer: &Peer, number: u64) {
        if let Some((losses_id, numbers)) = self.streams.note_unfollowed(peer, number) {
            let count = self.losses.take_back(losses_id, numbers);
            self.stats.lost_messages = self.stats.lost_messages.saturating_sub(count);
        }
    }

    /// Gives up gaps of a stream that has too many of them.
    pub(super) fn bound_gaps(&mut self, at: StreamRef) {
        while let Some(stream) = self.streams.get(at)
            && stream.reorder.has_too_many_gaps()
            && self.give_up_first(at)
        {}
        self.streams.settle(at);
    }

    /// Gives up what a stream waits for first. `false`: there is nothing.
    fn give_up_first(&mut self, at: StreamRef) -> bool {
        let Some(stream) = self.streams.get(at) else {
            return false;
        };
        if stream.reorder.undecided_until().is_some() {
            // There is no room to wait for a hello.
            stream.reorder.begin_undecided();
            self.release(at);
            self.streams.settle(at);
            return true;
        }
        let mut lost = Vec::new();
        let Some(given_up) = stream.reorder.give_up_first(&mut lost) else {
            return false;
        };
        if given_up.partials
            && let Some(origin) = self.origin_of(at)
        {
            self.assembler.forget(origin, at, given_up.numbers);
        }
        self.stats.drops.count(DropCause::Crowded);
        for gap in lost {
            if given_up.is_claim {
                self.report_lost_later(at, gap, LostReason::Crowded);
            } else {
                self.report_lost(at, Some(gap), LostReason::Crowded);
            }
        }
        self.release(at);
        self.streams.settle(at);
        true
    }

    /// The holder of the chunks that a stream waits for.
    pub(super) fn origin_of(&mut self, at: StreamRef) -> Option<Origin> {
        let is_sealed = self.sealing.is_some();
        let stream = self.streams.get(at)?;
        Some(match stream.peer.incarnation {
            Some(incarnation) if is_sealed => {
                Origin::Sealer(AuthenticatedSender::new(&stream.peer.id, incarnation))
            }
            _ => Origin::Address(stream.route.address()),
        })
    }

    /// Gives up a gap, and lets what waits for it through if it is one that was seen.
    pub(super) fn give_up_gap(&mut self, at: StreamRef, gap: Span, reason: LostReason) {
        if let Some(stream) = self.streams.get(at)
            && !stream.reorder.is_mere_claim(gap)
        {
            stream.reorder.skip(gap);
        }
        self.report_lost(at, Some(gap), reason);
        self.release(at);
    }

    /// Skips a number that its sender has sent, and that is refused. It must not be missing any
    /// more.
    pub(super) fn refuse_number(&mut self, at: StreamRef, number: u64) {
        if let Some(stream) = self.streams.get(at) {
            stream.reorder.skip((number, number));
        }
        self.report_lost(at, Some((number, number)), LostReason::Refused);
        self.release(at);
        self.streams.settle(at);
    }

    /// Ends a gap of which nothing has come in time. Where its sender has corrected its last number
    /// since then, the numbers above that are not its own: they are forgotten, and nothing is
    /// skipped for them.
    pub(super) fn give_up_unanswered(&mut self, now: Duration, at: StreamRef, (first, last): Span) {
        let before = now.saturating_sub(self.message_ttl);
        let limit = match self.streams.get(at) {
            Some(stream) if self.sealing.is_none() => stream.vouch.limit(before),
            _ => None,
        };
        let Some(limit) = limit.filter(|limit| last > *limit) else {
            self.give_up_gap(at, (first, last), LostReason::Unanswered);
            return;
        };
        self.disbelieve(now, at, limit);
        if first <= limit {
            self.give_up_gap(at, (first, limit), LostReason::Unanswered);
        }
    }

    /// Forgets all numbers above one that its sender named as its last, but none that it has
    /// confirmed before.
    pub(super) fn disbelieve(&mut self, now: Duration, at: StreamRef, last: u64) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let mut last = last.max(stream.vouch.sure());
        if stream.vouch.may_have_sent_above(last) {
            // What overtook the hello, or came since, has been delivered, and is not to be
            // delivered again.
            last = last.max(stream.reorder.next_number().saturating_sub(1));
        }
        for held in stream.reorder.forget_above(last) {
            let from = held.peer().address;
            self.report(now, from, DropCause::Inconsistent.into());
        }
        self.not_lost(at, Some((last.saturating_add(1), u64::MAX)));
        self.streams.settle(at);
    }

    /// What a sender no longer has is lost at once, as far as it is missing.
    pub(super) fn give_up_below(&mut self, at: StreamRef, first: u64) {
        while let Some(stream) = self.streams.get(at)
            && let Some(gap) = stream.reorder.take_missing_below(first)
        {
            self.give_up_gap(at, gap, LostReason::Gone);
        }
    }

    /// Makes room for a slice, as far as that is not the assembler's own business.
    #[inline]
    pub(super) fn make_room_for_chunk(&mut self, now: Duration, len: usize) {
        if self.streams.held() > 0 {
            // A buffer that grows takes half as much again, and the message may be a new one.
            let more = self.assembler.held() / 2 + len + PIECE_COST + MESSAGE_COST;
            self.make_room(now, more.min(self.max_held_bytes / 4));
        }
        self.assembler.set_elsewhere(self.streams.held());
    }

    /// Gives up what must go so that so many bytes more may be held.
    pub(super) fn make_room(&mut self, now: Duration, more: usize) {
        while self.assembler.held() + self.streams.held() + more > self.max_held_bytes
            && !cfg!(eventcast_sabotage = "unbounded_waiting")
        {
            // The larger part loses: messages that wait, or messages that are being reassembled.
            let waiting_is_more = self.streams.held() >= self.assembler.held();
            if waiting_is_more && let Some(at) = self.streams.fullest() {
                if !self.give_up_first(at) {
                    break;
                }
            } else if self.assembler.give_up_one() {
                self.settle_given_up(now);
            } else {
                break;
            }
        }
        self.assembler.set_elsewhere(self.streams.held());
    }

    /// Whether a sealed message was emitted before this bus was started: one that several have
    /// requested is sealed anew and goes to the group. The comparison uses the sender's clock
    /// alone, read at two moments.
    fn is_older_than_this_bus(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        sender: &Sender,
    ) -> bool {
        let Some(sealed) = sender.encapsulation.sealed_ms else {
            return false;
        };
        let Some(emitted) = self.times.read(incoming.time) else {
            return false;
        };
        let up = now.elapsed.saturating_sub(self.heartbeat.started);
        u128::from(sealed.saturating_sub(emitted)) > up.as_millis()
    }

    /// The stream that a message belongs to, if it has a number and its sender is followed.
    #[inline]
    pub(super) fn stream_of(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        sender: &Sender,
    ) -> Result<Option<(StreamRef, u64)>, Dropped> {
        let Some(number) = incoming.number else {
            return Ok(None);
        };
        let (at, peer) = (sender.at, &sender.peer);
        let known = self.peers[at].stream;
        let known = known.filter(|known| self.streams.get(*known).is_some());
        let known = known.or_else(|| self.streams.find(&peer.id, peer.incarnation));
        let stream = known.and_then(|known| self.streams.get(known));
        if stream.is_none_or(|stream| stream.reorder.would_begin_at(number))
            && (sender.encapsulation.is_answer()
                || self.is_older_than_this_bus(now, incoming, sender))
        {
            // It does not show where the stream begins.
            return Err(DropCause::Unsolicited.into());
        }
        // The sender's clock alone is read, at two moments: it need not agree with any other. It
        // may have been set between them.
        let mut sender_up = || {
            let sent = self.times.read(incoming.time)?;
            let up = sent.checked_sub(peer.incarnation?)?;
            Some(Duration::from_millis(up))
        };
        let up = match self.peers[at].stream {
            Some(_) => None,
            None => sender_up(),
        };
        match self.stream(now, at, peer, First::Message { number, up }) {
            Some(stream) => {
                if let Some(up) = up
                    && let Some(stream) = self.streams.get(stream)
                    && stream.opened == now.elapsed
                {
                    stream.sender_up = Some(up);
                }
                Ok(Some((stream, number)))
            }
            None if self.streams.is_over(peer, number) => Err(DropCause::Duplicate.into()),
            None => {
                let unfollowed = DropCause::Unfollowed;
                self.report(now.elapsed, sender.from, unfollowed.into());
                if incoming.seq_len == 1 {
                    self.unfollowed.note(peer, number);
                }
                Ok(None)
            }
        }
    }
}

/// Removes numbers of a stream from the losses that are to be reported.
fn take_back(
    losses: &mut Losses,
    stats: &mut EngineStats,
    stream: &mut Stream,
    numbers: Option<Span>,
) {
    if let Some(numbers) = numbers {
        let count = losses.take_back(stream.losses_id(), numbers);
        stream.stats.lost = stream.stats.lost.saturating_sub(count);
        stats.lost_messages = stats.lost_messages.saturating_sub(count);
    }
}
