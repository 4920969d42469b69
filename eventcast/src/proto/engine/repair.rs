//! Asking for what is missing, and answering those who ask.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::Engine;
use crate::proto::{
    Destination, DropCause, LostReason, Now, Peer, Transmit,
    answers::Item,
    gaps::Span,
    history::{Found, History},
    peers::KnownAt,
    streams::StreamRef,
    wire::{
        Head, MessageId,
        control::{self, AGAIN, GONE, MAX_ASKED, NACK, RETX},
    },
};

/// What may be sent to one address in answer to requests, in bytes a second: once a hello has come from there, or a
/// quarter of what is sent anew if that is more.
const FOR_PEER: u64 = 4 << 20;

/// And before.
const FOR_STRANGER: u64 = 256 << 10;

/// What may be sent to the group in answer to requests, in bytes a second, or as much as is sent anew if that is more.
const FOR_GROUP: u64 = 1 << 20;

/// Most requests for the numbers of one stream that are sent at once. What else is missing is asked for a moment later.
const REQUESTS_AT_ONCE: usize = 8;

/// Where so much is missing at once, somebody's buffer was full, and the pace is too quick. What a bad link loses here
/// and there is no reason to be slow.
const LOOKS_LIKE_OVERFLOW: usize = 8;

/// How much later a verdict of silence is looked at again for which input has to be read first.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How many chunks answer the request for a message of which nothing has come.
const FIRST_CHUNKS: u32 = 64;

impl Engine {
    /// Asks for chunks that are missing.
    pub(super) fn ask_for_chunks(&mut self, now: Now) {
        let mut missing = std::mem::take(&mut self.indexes);
        while let Some(ask) = self.assembler.poll_ask(now.elapsed, &mut missing) {
            let (id, host, port) = (self.id.clone(), self.host.clone(), self.port);
            // Where something sealed came from says little of where its sender is.
            let stream = ask.stream.filter(|_| self.sealing.is_some());
            let stream = stream.and_then(|at| self.streams.get(at));
            let to = Destination::Peer(stream.map_or(ask.to, |stream| stream.route.address()));
            let mut named = 0;
            let queued = self.send_control(now, to, RETX, |out, room| {
                let seq_id = ask.seq_id.as_bytes();
                named = control::write_retx(out, (&id, &host, port), seq_id, &missing, room);
            });
            self.assembler.asked(&ask, named);
            if queued {
                self.stats.requests_sent += 1;
            } else {
                self.assembler.not_asked(&ask);
            }
        }
        self.indexes = missing;
    }

    /// Asks for numbers that are missing, and gives up those that have been asked for in vain, unless input waits that
    /// may hold them.
    pub(super) fn ask_for_messages(&mut self, now: Now, input_waits: bool) {
        let ttl = self.message_ttl;
        let mut spans = std::mem::take(&mut self.spans);
        while let Some(at) = self.streams.next_due(now.elapsed) {
            if let Some(stream) = self.streams.get(at)
                && stream
                    .order
                    .undecided_until()
                    .is_some_and(|until| until <= now.elapsed)
            {
                if input_waits {
                    // The hello may be among it.
                    stream.order.wait_for_beginning(now.elapsed + LOOK_AGAIN);
                    self.streams.settle(at);
                } else {
                    self.begin_undecided(now, at);
                }
            }
            if input_waits
                && let Some(stream) = self.streams.get(at)
                && stream.order.gaps().has_over(now.elapsed, ttl)
            {
                // What is over is not asked for, and its end has to wait.
                stream.order.gaps().put_off(now.elapsed);
                self.streams.settle(at);
                continue;
            }
            while let Some(stream) = self.streams.get(at)
                && let Some(gap) = stream.order.gaps().give_up(now.elapsed, ttl)
            {
                self.give_up_unanswered(now.elapsed, at, gap);
            }
            for _ in 0..REQUESTS_AT_ONCE {
                if !self.ask_once(now, at, &mut spans) {
                    break;
                }
            }
            if let Some(stream) = self.streams.get(at) {
                stream.order.gaps().put_off(now.elapsed);
            }
            self.streams.settle(at);
        }
        self.spans = spans;
    }

    /// Sends one request for what is missing of a stream. `false`: nothing is to be asked for now.
    fn ask_once(&mut self, now: Now, at: StreamRef, spans: &mut Vec<Span>) -> bool {
        let Some(stream) = self.streams.get(at) else {
            return false;
        };
        stream.order.gaps().to_ask(now.elapsed, MAX_ASKED, spans);
        if spans.is_empty() {
            return false;
        }
        let peer = Arc::clone(&stream.peer);
        let second = stream.route.ask(now.elapsed);
        let to = [Some(stream.route.address()), second];
        let asked = (peer.id.as_str(), peer.incarnation.unwrap_or_default());
        let mut named = 0;
        let mut any_queued = false;
        for to in to.into_iter().flatten() {
            let queued = self.send_control(now, Destination::Peer(to), NACK, |out, room| {
                named = control::write_nack(out, asked, spans, room);
            });
            self.stats.requests_sent += u64::from(queued);
            any_queued |= queued;
        }
        if !any_queued {
            // It stays due, after a pause.
            return false;
        }
        let ttl = self.message_ttl;
        if let Some(stream) = self.streams.get(at) {
            let gaps = stream.order.gaps();
            gaps.asked(now.elapsed, ttl, &spans[..named]);
        }
        true
    }

    /// Takes a request for numbers.
    pub(super) fn answer_nack(
        &mut self,
        now: Now,
        at: KnownAt,
        from: SocketAddr,
        (id, incarnation): (&str, u64),
        missing: &[Span],
    ) -> Result<(), DropCause> {
        if id != self.id || incarnation != self.incarnation {
            return Err(DropCause::Unsolicited);
        }
        self.has_been_asked(now.elapsed, missing.len());
        let last = self.voice.last_sent();
        let mut gone = Vec::new();
        'asked: for &(first, until) in missing {
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
                if !self.take_wish_for(now.elapsed, at, from, number) {
                    break 'asked;
                }
                number += 1;
            }
        }
        if !gone.is_empty() {
            self.tell_gone(now, at, from, &gone);
        }
        Ok(())
    }

    /// Takes a request for chunks.
    pub(super) fn answer_retx(
        &mut self,
        now: Now,
        at: KnownAt,
        from: SocketAddr,
        seq_id: &str,
        missing: &[u32],
    ) -> Result<(), DropCause> {
        let digits = seq_id.as_bytes().try_into().ok();
        let message = digits.and_then(MessageId::from_digits);
        let large = message.and_then(|message| self.history.larges.find(message));
        let (Some(message), Some(large)) = (message, large) else {
            return Err(DropCause::Unsolicited);
        };
        self.has_been_asked(now.elapsed, missing.len());
        for &seq in missing {
            let outbound = &self.history.larges[large].outbound;
            if seq >= outbound.written() {
                continue;
            }
            let len = outbound.len_of(seq);
            if !self.take_wish(now.elapsed, at, from, Item::Chunk(message, seq), len) {
                break;
            }
        }
        Ok(())
    }

    /// Takes a sender's word that numbers cannot be had any more.
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
                && let Some(gap) = stream.order.gaps().take_asked(*span)
            {
                asked = true;
                self.give_up_gap(at, gap, LostReason::Gone);
            }
        }
        self.streams.settle(at);
        if asked {
            Ok(())
        } else {
            Err(DropCause::Unsolicited)
        }
    }

    /// Makes ready what has been asked for.
    pub(super) fn gather_answers(&mut self, now: Duration) {
        let for_group = FOR_GROUP.max(self.sent_anew.per_second(now));
        let (history, allowance) = (&self.history, &mut self.group_allowance);
        let refused = self.answers.handle_timeout(now, |item| {
            let len = len_of(history, item);
            len.is_none_or(|len| allowance.take(now, len, for_group))
        });
        self.stats.answers_refused += refused;
    }

    /// When an answer may go out.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        let (item, _) = self.answers.next()?;
        let len = len_of(&self.history, item);
        Some(len.map_or(Duration::ZERO, |len| self.queue.pacer.next(len)))
    }

    /// What has been asked for and may go now: datagrams of one length to one address, or one to the group.
    pub(super) fn poll_answers(
        &mut self,
        now: Now,
        buf: &mut Vec<u8>,
    ) -> Option<(Transmit, usize)> {
        let mut run = self.queue.run();
        let mut common = None;
        while let Some((item, to)) = self.answers.next()
            && common.is_none_or(|common| common == to)
        {
            let Some(len) = len_of(&self.history, item) else {
                // It has had to make room meanwhile.
                self.answers.done(now.elapsed);
                continue;
            };
            if !self.queue.pacer.ready(now.elapsed, len) || !run.takes(len) {
                break;
            }
            self.queue.pacer.take(len);
            self.answers.done(now.elapsed);
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
        Some((run.transmit(common?), run.datagrams))
    }

    /// Repeats a datagram for several. Peers that know no numbers would take it for a new one, so it travels inside
    /// a reserved event.
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

    fn has_been_asked(&mut self, now: Duration, missing: usize) {
        self.stats.requests_received += 1;
        self.voice.was_asked(now);
        if missing >= LOOKS_LIKE_OVERFLOW {
            self.queue.pacer.complain(now);
        }
    }

    /// Takes the wish for a number that is kept. `false`: enough is enough.
    fn take_wish_for(&mut self, now: Duration, at: KnownAt, from: SocketAddr, number: u64) -> bool {
        match self.history.find(number) {
            None => true,
            Some(Found::Small(bytes)) => {
                let len = bytes.len();
                self.take_wish(now, at, from, Item::Small(number), len)
            }
            Some(Found::Large(large)) => {
                let large = &self.history.larges[large];
                let message = large.message_id;
                let lens = (0..large.outbound.written().min(FIRST_CHUNKS))
                    .map(|seq| (seq, large.outbound.len_of(seq)))
                    .collect::<Vec<_>>();
                lens.into_iter()
                    .all(|(seq, len)| self.take_wish(now, at, from, Item::Chunk(message, seq), len))
            }
        }
    }

    fn take_wish(
        &mut self,
        now: Duration,
        at: KnownAt,
        from: SocketAddr,
        item: Item,
        len: usize,
    ) -> bool {
        let per_second = if self.peers[at].said_hello {
            FOR_PEER.max(self.sent_anew.per_second(now) / 4)
        } else {
            FOR_STRANGER
        };
        let allowance = &mut self.peers[at].allowance;
        if !allowance.has(now, len, per_second) {
            self.stats.answers_refused += 1;
            return false;
        }
        if self.answers.ask(now, item, from) {
            allowance.take(now, len, per_second);
        } else {
            self.stats.answers_refused += 1;
        }
        true
    }

    fn tell_gone(&mut self, now: Now, at: KnownAt, to: SocketAddr, gone: &[Span]) {
        let len = self.longest_control;
        let allowance = &mut self.peers[at].allowance;
        if !allowance.take(now.elapsed, len, FOR_STRANGER) {
            self.stats.answers_refused += 1;
            return;
        }
        let incarnation = self.incarnation;
        self.send_control(now, Destination::Peer(to), GONE, |out, room| {
            control::write_gone(out, incarnation, gone, room);
        });
    }
}

/// The length of the datagram, if it can still be had.
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
