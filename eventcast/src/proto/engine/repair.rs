//! Requesting what is missing, and answering requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::Engine;
use crate::proto::{
    Destination, DropCause, LostReason, Now, Peer, Transmit,
    receive::{peers::KnownAt, streams::StreamRef},
    repair::{
        nack_list::Span,
        retransmit_queue::{Class, Item, RequestOutcome, Requester},
        validation::Echoed,
    },
    seal::sealed_len,
    send::history::{Found, History},
    wire::{
        Head, MessageId,
        control::{self, AGAIN, GONE, MAX_ASKED, NACK, RETX},
    },
};

/// What may be sent to the group in answer to requests, in bytes a second, or as much as the rate
/// of new messages if that is more.
const FOR_GROUP: u64 = 1 << 20;

/// Likewise to all single addresses together that have not echoed a token.
const FOR_STRANGERS: u64 = 1 << 20;

/// And to all addresses that have, or as much as was sent anew in the busiest of the last ten
/// seconds.
const FOR_PEERS: u64 = 4 << 20;

/// What a request costs for an item that was requested only just now, in bytes of what its
/// requester may be sent.
const LOOK: usize = 32;

/// So much of what a peer may be sent is left for the first answers to each request, so that few
/// are in vain: those count among the attempts that a message has.
const RESERVE: usize = 512 << 10;
const FIRST_OF_REQUEST: usize = 16;

/// Most numbers that are looked up for one request. The ones beyond are requested again.
const MAX_LOOKS: usize = 4096;

/// The same where its address has not echoed a token: anybody can send such requests, and the token
/// that comes with the first answers makes room for the rest.
const MAX_LOOKS_FOR_STRANGERS: usize = 256;

/// A token is not sent to an address again sooner than this: the one before is on its way.
const BETWEEN_TOKENS: Duration = Duration::from_millis(20);

/// Most incomplete messages that one call examines for chunks to request, and streams for numbers.
/// The others follow at the next call, which is due at once.
const MESSAGES_AT_ONCE: usize = 256;
const STREAMS_AT_ONCE: usize = 256;

/// Most gaps that end in one call, so that a batch of events stays small. The others follow at the
/// next call.
const GAPS_AT_ONCE: usize = 4096;

/// Most requests for the numbers of one stream that are sent at once. Further missing numbers are
/// requested a moment later.
const REQUESTS_AT_ONCE: usize = 8;

/// With so many missing at once, a receiver's buffer was full, and the pace is too quick. The few
/// losses of a bad link are no reason to slow down.
const LOOKS_LIKE_OVERFLOW: usize = 8;

/// How much later a verdict of silence is looked at again for which input has to be read first.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// About what repeating a datagram takes in a payload beside its bytes.
const AROUND_REPEATED: usize = 40;

/// How many chunks answer the request for a message of which nothing has come.
const FIRST_CHUNKS: u32 = 64;

/// The sender of a request, its address, and the token in it.
pub(super) type RequestSource = (KnownAt, SocketAddr, Option<u64>);

impl Engine {
    /// Requests missing chunks of a bounded number of messages.
    pub(super) fn ask_for_chunks(&mut self, now: Now) {
        let mut missing = std::mem::take(&mut self.indexes);
        let mut looks = MESSAGES_AT_ONCE;
        while let Some(ask) = self
            .assembler
            .poll_ask(now.elapsed, &mut looks, &mut missing)
        {
            let (id, host, port) = (self.id.clone(), self.host.clone(), self.port);
            // The source address of sealed datagrams does not prove where their sender is.
            let stream = ask.stream.filter(|_| self.sealing.is_some());
            let stream = stream.and_then(|at| self.streams.get(at));
            let to = stream.map_or(ask.to, |stream| stream.route.address());
            let token = self.token_of(to);
            let mut named = 0;
            let request = self.control(now, RETX, |out, room| {
                let seq_id = ask.seq_id.as_bytes();
                named = control::write_retx(out, (&id, &host, port), token, seq_id, &missing, room);
            });
            let has_gone_out = self.send_request(now, to, request);
            self.assembler.asked(&ask, named, has_gone_out);
        }
        self.indexes = missing;
    }

    /// Requests missing numbers, and ends gaps whose requests were not answered, unless input waits
    /// that may hold them: of a bounded number of streams.
    pub(super) fn ask_for_messages(&mut self, now: Now, input_waits: bool) {
        let ttl = self.message_ttl;
        let mut spans = std::mem::take(&mut self.spans);
        let mut verdicts = GAPS_AT_ONCE;
        for _ in 0..STREAMS_AT_ONCE {
            let Some(at) = self.streams.next_due(now.elapsed) else {
                break;
            };
            if let Some(stream) = self.streams.get(at)
                && stream
                    .reorder
                    .undecided_until()
                    .is_some_and(|until| until <= now.elapsed)
            {
                if input_waits {
                    // The hello may be among it.
                    stream.reorder.wait_for_beginning(now.elapsed + LOOK_AGAIN);
                    self.streams.settle(at);
                } else {
                    self.begin_undecided(now, at);
                }
            }
            if input_waits
                && let Some(stream) = self.streams.get(at)
                && stream.reorder.gaps().has_over(now.elapsed, ttl)
            {
                // A gap that is over is not requested, and its end has to wait.
                stream.reorder.gaps().put_off(now.elapsed);
                self.streams.settle(at);
                continue;
            }
            while verdicts > 0
                && let Some(stream) = self.streams.get(at)
                && let Some(gap) = stream.reorder.gaps().give_up(now.elapsed, ttl)
            {
                verdicts -= 1;
                self.give_up_unanswered(now.elapsed, at, gap);
            }
            if verdicts == 0 {
                // A gap that is over is not requested, so the rest has to wait as well.
                self.streams.settle(at);
                break;
            }
            for _ in 0..REQUESTS_AT_ONCE {
                if !self.ask_once(now, at, &mut spans) {
                    break;
                }
            }
            if let Some(stream) = self.streams.get(at) {
                stream.reorder.gaps().put_off(now.elapsed);
            }
            self.streams.settle(at);
        }
        self.spans = spans;
    }

    /// Sends one request for what is missing of a stream. `false`: nothing is to be requested now.
    fn ask_once(&mut self, now: Now, at: StreamRef, spans: &mut Vec<Span>) -> bool {
        let Some(stream) = self.streams.get(at) else {
            return false;
        };
        stream.reorder.gaps().to_ask(now.elapsed, MAX_ASKED, spans);
        if spans.is_empty() {
            return false;
        }
        let peer = Arc::clone(&stream.peer);
        // What its sender has not named it may not have sent: no answer to that says nothing.
        let is_named = spans
            .first()
            .is_some_and(|(first, _)| stream.vouch.has_named(*first));
        let second = stream.route.ask(now.elapsed, is_named);
        let to = [Some(stream.route.address()), second];
        let asked = (peer.id.as_str(), peer.incarnation.unwrap_or_default());
        let mut named = 0;
        let mut any_queued = false;
        for to in to.into_iter().flatten() {
            let token = self.token_of(to);
            let request = self.control(now, NACK, |out, room| {
                named = control::write_nack(out, asked, token, spans, room);
            });
            any_queued |= self.send_request(now, to, request);
        }
        if !any_queued {
            // It stays due, after a pause.
            return false;
        }
        let ttl = self.message_ttl;
        if let Some(stream) = self.streams.get(at) {
            let gaps = stream.reorder.gaps();
            gaps.asked(now.elapsed, ttl, &spans[..named]);
        }
        true
    }

    /// What an address has sent to be put into requests.
    fn token_of(&mut self, address: SocketAddr) -> Option<u64> {
        let (_, known) = self.peers.get(address)?;
        known.token
    }

    /// Sends a request, but to an address that was forged no more of them than of anything else.
    /// `false`: too much waits to be sent.
    fn send_request(&mut self, now: Now, to: SocketAddr, request: Vec<u8>) -> bool {
        let len = self.sent_len(request.len());
        let mut is_paid = false;
        if let Some((_, known)) = self.peers.get(to) {
            if self.budgets.has_own(now.elapsed, to.ip()) {
                let received = std::mem::take(&mut known.received);
                self.budgets.credit(now.elapsed, to.ip(), received, 0);
            } else {
                is_paid = known.pay(len as u64);
            }
        }
        let stranger = Requester::Stranger(to.ip());
        if !is_paid && !self.budgets.take(now.elapsed, stranger, len, 0) {
            // It counts as sent and lost.
            return true;
        }
        let queued = self.push_control(Destination::Peer(to), request);
        self.stats.requests_sent += u64::from(queued);
        queued
    }

    /// The length of a datagram as it is sent.
    fn sent_len(&self, len: usize) -> usize {
        match self.sealing {
            Some(_) => sealed_len(len),
            None => len,
        }
    }

    /// Begins to handle a request, with no items yet. A requester without a good token is to be
    /// sent one.
    fn requests(&mut self, now: Now, (at, from, token): RequestSource) -> Requests {
        let echoed = self.tokens.check(now.elapsed, from, token);
        let known = &mut self.peers[at];
        let received = std::mem::take(&mut known.received);
        let (mut answered, mut reply) = (0, None);
        let lately = |sent: Duration| sent + BETWEEN_TOKENS > now.elapsed;
        // A peer without extensions has no use for one.
        let understands = known.peer.incarnation.is_some();
        if understands && echoed != Echoed::Fresh && !known.token_sent.is_some_and(lately) {
            known.token_sent = Some(now.elapsed);
            let datagram = self.token_for(now, from);
            let len = self.sent_len(datagram.len()) as u64;
            // The bytes that came pay for it, so that no other requester can use up its budget.
            if len <= received.saturating_mul(2) {
                (answered, reply) = (len, Some(datagram));
            }
        }
        if self.budgets.has_own(now.elapsed, from.ip()) {
            self.budgets
                .credit(now.elapsed, from.ip(), received, answered);
        } else {
            let known = &mut self.peers[at];
            known.received = received;
            known.pay(answered);
        }
        let requester = match echoed {
            Echoed::Nothing => Requester::Stranger(from.ip()),
            Echoed::Old | Echoed::Fresh => Requester::Peer(from),
        };
        Requests {
            requester,
            from,
            reply,
            looks: 0,
            taken: 0,
            duplicate: false,
            missed: 0,
        }
    }

    /// Takes a request for numbers.
    pub(super) fn answer_nack(
        &mut self,
        now: Now,
        source: RequestSource,
        (id, incarnation): (&str, u64),
        missing: &[Span],
    ) -> Result<(), DropCause> {
        if id != self.id || incarnation != self.incarnation {
            return Err(DropCause::Unsolicited);
        }
        self.stats.requests_received += 1;
        let last = self.heartbeat.last_sent();
        if missing.first().is_none_or(|(first, _)| *first > last) {
            return Ok(());
        }
        let mut requests = self.requests(now, source);
        let mut gone = Vec::new();
        'asked: for &(first, until) in missing {
            let before = requests.taken;
            // What was never sent is nothing to answer.
            let until = until.min(last);
            let mut number = first;
            while number <= until {
                let kept = self.history.next_kept(number);
                if kept > number {
                    gone.push((number, until.min(kept - 1)));
                    number = kept;
                    continue;
                }
                if !self.take_wish_for(now.elapsed, &mut requests, number) {
                    requests.missed += usize::from(requests.taken > before);
                    break 'asked;
                }
                number += 1;
            }
            requests.missed += usize::from(requests.taken > before);
        }
        if !gone.is_empty() {
            self.report_gone(now, &requests, &gone);
        }
        self.note_requests(now.elapsed, requests);
        Ok(())
    }

    /// Takes a request for chunks.
    pub(super) fn answer_retx(
        &mut self,
        now: Now,
        source: RequestSource,
        seq_id: &str,
        missing: &[u32],
    ) -> Result<(), DropCause> {
        let digits = seq_id.as_bytes().try_into().ok();
        let message = digits.and_then(MessageId::from_digits);
        let Some(message) = message else {
            return Err(DropCause::Unsolicited);
        };
        let Some(large) = self.history.larges.find(message) else {
            return self.answer_retx_of_gone(now, source, message, missing);
        };
        self.stats.requests_received += 1;
        let written = self.history.larges[large].outbound.written();
        if missing.first().is_none_or(|first| *first >= written) {
            return Ok(());
        }
        let mut requests = self.requests(now, source);
        for &seq in missing {
            let outbound = &self.history.larges[large].outbound;
            if seq >= outbound.written() {
                continue;
            }
            let len = outbound.len_of(seq);
            if !self.take_wish(now.elapsed, &mut requests, Item::Chunk(message, seq), len) {
                break;
            }
        }
        requests.missed = requests.taken;
        self.note_requests(now.elapsed, requests);
        Ok(())
    }

    /// Handles a request for chunks of a message that is not kept. Where the message had a number,
    /// its requester learns that this one is not available: once for a request, however many chunks
    /// it names.
    fn answer_retx_of_gone(
        &mut self,
        now: Now,
        source: RequestSource,
        message: MessageId,
        missing: &[u32],
    ) -> Result<(), DropCause> {
        let (at, ..) = source;
        // A peer without extensions knows no numbers, nor what this answer means.
        let understands = self.peers[at].peer.incarnation.is_some();
        let number = self.history.larges.number_of_gone(message);
        let Some(number) = number.filter(|_| understands) else {
            return Err(DropCause::Unsolicited);
        };
        self.stats.requests_received += 1;
        if !missing.is_empty() {
            let requests = self.requests(now, source);
            self.report_gone(now, &requests, &[(number, number)]);
            self.note_requests(now.elapsed, requests);
        }
        Ok(())
    }

    /// Handles a sender's statement that numbers are no longer available: gaps, and messages that
    /// are being reassembled.
    pub(super) fn hear_gone(
        &mut self,
        from: SocketAddr,
        peer: &Arc<Peer>,
        incarnation: u64,
        missing: &[Span],
    ) -> Result<(), DropCause> {
        if peer.incarnation != Some(incarnation) {
            return Err(DropCause::Malformed);
        }
        let at = self.streams.find(&peer.id, peer.incarnation);
        let Some((at, stream)) = at.and_then(|at| Some((at, self.streams.get(at)?))) else {
            return Err(DropCause::Unsolicited);
        };
        if stream.route.address() != from {
            return Err(DropCause::Unsolicited);
        }
        let mut asked = false;
        for span in missing {
            while let Some(stream) = self.streams.get(at)
                && let Some(gap) = stream.reorder.gaps().take_asked(*span)
            {
                asked = true;
                self.give_up_gap(at, gap, LostReason::Gone);
            }
            let origin = self.origin_of(at);
            while let Some(origin) = origin
                && let Some(number) = self.assembler.take_asked(origin, at, *span)
            {
                asked = true;
                // One that comes from where its sender was before may still become whole.
                if let Some(stream) = self.streams.get(at)
                    && stream.reorder.close_partial(number)
                {
                    self.give_up_gap(at, (number, number), LostReason::Gone);
                }
            }
        }
        // What is taken out of the middle of a gap leaves two.
        self.bound_gaps(at);
        if asked {
            Ok(())
        } else {
            Err(DropCause::Unsolicited)
        }
    }

    /// Makes requested items ready.
    pub(super) fn gather_answers(&mut self, now: Duration) {
        let for_group = FOR_GROUP.max(self.sent_anew.per_second(now));
        let around = match self.sealing {
            Some(_) => sealed_len(0),
            None => self.template.len(AGAIN.len(), false, false) + AROUND_REPEATED,
        };
        self.class_rates = [
            FOR_PEERS.max(self.sent_anew.busiest(now)),
            FOR_STRANGERS.max(self.sent_anew.per_second(now)),
        ];
        let for_strangers = self.class_rates[Class::Strangers as usize];
        let (history, group) = (&self.history, &mut self.group_bucket);
        let strangers = &mut self.class_buckets[Class::Strangers as usize];
        let refused = self.retransmits.handle_timeout(now, |item, class| {
            let len = len_of(history, item);
            len.is_none_or(|len| match class {
                Class::Peers => group.take(now, len, for_group),
                // Requesters without a token take nothing from those with one.
                Class::Strangers => strangers.take(now, len + around, for_strangers),
            })
        });
        self.stats.answers_refused += refused + self.retransmits.take_stale();
    }

    /// When an answer may go out.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        let classes = [Class::Peers, Class::Strangers].into_iter();
        let next = classes.filter_map(|class| {
            let (item, to) = self.retransmits.peek(class)?;
            let Some(len) = len_of(&self.history, item) else {
                return Some(Duration::ZERO);
            };
            let rate = self.class_rates[class as usize];
            let allowed = match to {
                Destination::Group => Duration::ZERO,
                Destination::Peer(_) => self.class_buckets[class as usize].next(len, rate),
            };
            Some(self.queue.pacer.next(len).max(allowed))
        });
        next.min()
    }

    /// The requested datagrams that may be sent now: datagrams of one length to one address, or one
    /// to the group.
    pub(super) fn poll_answers(
        &mut self,
        now: Now,
        buf: &mut Vec<u8>,
    ) -> Option<(Transmit, usize)> {
        let first = self.class_turn;
        let polled = self.poll_class(now, first, buf);
        if polled.is_some() {
            self.class_turn = first.other();
            return polled;
        }
        self.poll_class(now, first.other(), buf)
    }

    fn poll_class(
        &mut self,
        now: Now,
        class: Class,
        buf: &mut Vec<u8>,
    ) -> Option<(Transmit, usize)> {
        let mut run = self.queue.run();
        let mut common = None;
        let turn = self.retransmits.turn(class);
        turn?;
        let rate = self.class_rates[class as usize];
        while let Some((item, to)) = self.retransmits.next(now.elapsed, class)
            && common.is_none_or(|common| common == to)
        {
            let Some(len) = len_of(&self.history, item) else {
                // It was dropped meanwhile to make room.
                self.retransmits.done(now.elapsed, class);
                continue;
            };
            let bucket = &mut self.class_buckets[class as usize];
            // What goes to the group was counted when it was gathered.
            let counts = to != Destination::Group;
            if !self.queue.pacer.ready(now.elapsed, len)
                || counts && !bucket.has(now.elapsed, len, rate)
                || !run.takes(len)
            {
                break;
            }
            if counts {
                bucket.take(now.elapsed, len, rate);
            }
            self.queue.pacer.take(len);
            self.retransmits.done(now.elapsed, class);
            common = Some(to);
            self.stats.answers_sent += 1;
            self.stats.answers_bytes += len as u64;
            match to {
                Destination::Peer(_) => write(&self.history, item, buf),
                // No old peer opens it.
                Destination::Group if self.sealing.is_some() => write(&self.history, item, buf),
                Destination::Group if cfg!(eventcast_sabotage = "bare_repairs") => {
                    write(&self.history, item, buf);
                    break;
                }
                Destination::Group => {
                    self.write_again(now, item, buf);
                    break;
                }
            }
        }
        let to = common?;
        // A requester that may not be sent anything yet keeps its turn.
        self.retransmits.end_turn(class, turn);
        Some((run.transmit(to), run.datagrams))
    }

    /// Repeats a datagram for several. Peers that know no numbers would take it for a new one, so
    /// it travels inside a reserved event.
    fn write_again(&mut self, now: Now, item: Item, buf: &mut Vec<u8>) {
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &MessageId::random(&mut self.rng).text(),
            name: AGAIN,
            time: &self.clock.write(now.unix_ms),
            number: None,
            schema: None,
        };
        self.template.write(&head, buf);
        control::write_again(buf, |out| write(&self.history, item, out));
    }

    /// Takes the request for a number that is kept. `false`: the requester has reached its limit.
    fn take_wish_for(&mut self, now: Duration, requests: &mut Requests, number: u64) -> bool {
        match self.history.find(number) {
            None => true,
            Some(Found::Small(bytes)) => {
                let len = bytes.len();
                self.take_wish(now, requests, Item::Small(number), len)
            }
            Some(Found::Large(large)) => {
                let large = &self.history.larges[large];
                let message = large.message_id;
                let lens = (0..large.outbound.written().min(FIRST_CHUNKS))
                    .map(|seq| (seq, large.outbound.len_of(seq)))
                    .collect::<Vec<_>>();
                lens.into_iter()
                    .all(|(seq, len)| self.take_wish(now, requests, Item::Chunk(message, seq), len))
            }
        }
    }

    fn take_wish(
        &mut self,
        now: Duration,
        requests: &mut Requests,
        item: Item,
        len: usize,
    ) -> bool {
        let (by, len) = (requests.requester, self.sent_len(len));
        let anew = self.sent_anew.per_second(now);
        requests.looks += 1;
        let reserve = match by {
            Requester::Peer(_) if requests.taken >= FIRST_OF_REQUEST => RESERVE,
            _ => 0,
        };
        let most = match by {
            Requester::Stranger(_) => MAX_LOOKS_FOR_STRANGERS,
            Requester::Group | Requester::Peer(_) => MAX_LOOKS,
        };
        if requests.looks > most || !self.budgets.has(now, by, len + reserve, anew) {
            self.stats.answers_refused += 1;
            return false;
        }
        match self.retransmits.ask(now, item, (requests.from, by)) {
            RequestOutcome::Taken => {
                self.budgets.take(now, by, len, anew);
                requests.taken += 1;
            }
            RequestOutcome::Duplicate => {
                self.budgets.take(now, by, LOOK, anew);
                requests.duplicate = true;
                self.stats.answers_duplicate += 1;
            }
            RequestOutcome::Full => {
                self.stats.answers_refused += 1;
                return false;
            }
        }
        true
    }

    /// Notes that a receiver lacks something that was sent, and how much; sends the replies that
    /// there are.
    fn note_requests(&mut self, now: Duration, requests: Requests) {
        if let Some(reply) = requests.reply {
            self.queue
                .push_reply(Destination::Peer(requests.from), reply);
        }
        if requests.taken > 0 || requests.duplicate {
            self.heartbeat.was_asked(now);
        }
        if requests.missed >= LOOKS_LIKE_OVERFLOW {
            self.queue.pacer.complain(now);
        }
    }

    fn report_gone(&mut self, now: Now, requests: &Requests, gone: &[Span]) {
        let incarnation = self.incarnation;
        let datagram = self.control(now, GONE, |out, room| {
            control::write_gone(out, incarnation, gone, room);
        });
        let (len, anew) = (
            self.sent_len(datagram.len()),
            self.sent_anew.per_second(now.elapsed),
        );
        let to = Destination::Peer(requests.from);
        if !self
            .budgets
            .take(now.elapsed, requests.requester, len, anew)
            || !self.queue.push_reply(to, datagram)
        {
            self.stats.answers_refused += 1;
        }
    }
}

/// The items that one request names.
struct Requests {
    requester: Requester,
    from: SocketAddr,
    /// A token, for a requester that has not echoed one.
    reply: Option<Vec<u8>>,
    /// How much was looked at, and taken.
    looks: usize,
    taken: usize,
    /// An item was requested that is on its way already.
    duplicate: bool,
    /// How many runs or chunks something was taken of.
    missed: usize,
}

/// The length of the datagram, if it is still available.
fn len_of(history: &History, item: Item) -> Option<usize> {
    match item {
        Item::Small(number) => match history.find(number)? {
            Found::Small(bytes) => Some(bytes.len()),
            Found::Large(_) => None,
        },
        Item::Chunk(message, seq) => {
            let large = history.larges.find(message)?;
            Some(history.larges[large].outbound.len_of(seq))
        }
    }
}

/// Appends the datagram.
fn write(history: &History, item: Item, out: &mut Vec<u8>) {
    match item {
        Item::Small(number) => {
            if let Some(Found::Small(bytes)) = history.find(number) {
                out.extend_from_slice(bytes);
            }
        }
        Item::Chunk(message, seq) => {
            if let Some(large) = history.larges.find(message) {
                history.larges[large].outbound.write(seq, out);
            }
        }
    }
}
