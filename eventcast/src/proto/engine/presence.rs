//! Hello and goodbye: sending them, and receiving them of others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::RngExt;

use super::{Engine, delivery::First};
use crate::proto::{
    Destination, DropCause, LeftReason, LostReason, Now, Peer,
    receive::{
        events::Change,
        hello_clock::HelloClock,
        newcomers::NAMED_FOR,
        peers::KnownAt,
        reorder_buffer::FARTHEST,
        route,
        streams::{PeerInfo, Presence, Stream, StreamRef},
    },
    wire::control::{self, BYE, HELLO, Hello, Owed},
};

/// This bus, as it describes itself.
const VERSION: &str = concat!("eventcast ", env!("CARGO_PKG_VERSION"));

/// The features that it announces.
const CAPABILITIES: [&str; 1] = ["repair"];

/// How long nothing more must be emitted for a burst to be over.
const BURST_END: Duration = Duration::from_millis(20);

/// The latest that a hello is answered, in milliseconds.
const ANSWER_WITHIN: u64 = 50;

/// Beside one each interval, hellos answer newcomers and follow the ends of bursts: no more than
/// one in so much time in the long run, however many strangers claim to be new, and so many at
/// once.
const EXTRA_PAUSE: Duration = Duration::from_millis(250);
const EXTRA_AT_ONCE: u32 = 3;

/// Two incarnations of one id that are both active are two buses. The older one may send for so
/// long after the newer one was first heard without being a bus of its own: its last datagrams may
/// have been under way.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// A goodbye is repeated so often, with such pauses.
const GOODBYES: u32 = 3;
const BETWEEN_GOODBYES: Duration = Duration::from_millis(50);

/// A bus that has said goodbye stays until nothing was requested for so long.
const LINGER: Duration = Duration::from_millis(200);

/// A hello with a lower age of its sender than one that came within this time was overtaken by it.
/// Not longer, so that a forged hello, which may claim any age, soon loses its effect.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// When this bus speaks of itself.
pub(super) struct Heartbeat {
    interval: Duration,
    pub(super) peer_timeout: Duration,
    pub(super) started: Duration,
    next_hello: Duration,
    /// When a newcomer is to be answered.
    answer: Option<Duration>,
    /// The end of a burst, as far as it is known.
    burst_end: Option<Duration>,
    /// When all extra hellos sent so far are paid for, at one in [`EXTRA_PAUSE`].
    extras_until: Duration,
    last_emitted: Duration,
    /// The highest number of which something was handed out.
    last_sent: u64,
    leaving: Option<Leaving>,
}

struct Leaving {
    since: Duration,
    said: u32,
    next: Option<Duration>,
    last_asked: Duration,
    left: bool,
    /// When to look again whether it is over.
    look: Duration,
}

impl Heartbeat {
    pub(super) fn new(now: Duration, interval: Duration, peer_timeout: Duration) -> Self {
        Self {
            interval,
            peer_timeout,
            started: now,
            next_hello: now,
            answer: None,
            burst_end: None,
            extras_until: Duration::ZERO,
            last_emitted: now,
            last_sent: 0,
            leaving: None,
        }
    }

    /// A numbered event was emitted: when it was the last for a moment, a hello announces its
    /// number.
    #[inline]
    pub(super) fn has_emitted(&mut self, now: Duration) {
        self.last_emitted = now;
        if self.burst_end.is_none() {
            self.burst_end = Some(now + BURST_END);
        }
    }

    #[inline]
    pub(super) fn has_sent(&mut self, number: u64) {
        self.last_sent = self.last_sent.max(number);
    }

    pub(super) fn last_sent(&self) -> u64 {
        self.last_sent
    }

    /// A peer requests something.
    pub(super) fn was_asked(&mut self, now: Duration) {
        if let Some(leaving) = &mut self.leaving {
            leaving.last_asked = now;
        }
    }

    pub(super) fn leave(&mut self, now: Duration) {
        self.leaving.get_or_insert(Leaving {
            since: now,
            said: 0,
            next: Some(now),
            last_asked: now,
            left: false,
            look: now + LINGER,
        });
    }

    pub(super) fn has_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.left)
    }

    /// The earliest time for an extra hello.
    fn next_extra(&self) -> Duration {
        self.extras_until
            .saturating_sub(EXTRA_PAUSE * (EXTRA_AT_ONCE - 1))
    }

    fn count_extra(&mut self, now: Duration) {
        self.extras_until = self.extras_until.max(now) + EXTRA_PAUSE;
    }

    pub(super) fn due(&self) -> Option<Duration> {
        match &self.leaving {
            None => [Some(self.next_hello), self.answer, self.burst_end]
                .into_iter()
                .flatten()
                .min(),
            Some(leaving) if leaving.left => None,
            // It is not over before all repetitions were sent.
            Some(leaving) => Some(leaving.next.unwrap_or(leaving.look)),
        }
    }
}

impl Engine {
    /// Sends the hellos and goodbyes that are due.
    pub(super) fn speak(&mut self, now: Now) {
        if self.heartbeat.leaving.is_some() {
            self.say_goodbye(now);
            return;
        }
        let at = now.elapsed;
        let is_regular = self.heartbeat.next_hello <= at;
        let mut is_extra = self.heartbeat.answer.is_some_and(|answer| answer <= at);
        if let Some(end) = self.heartbeat.burst_end
            && end <= at
        {
            let end = self.heartbeat.last_emitted + BURST_END;
            let end = end.max(self.heartbeat.next_extra());
            self.heartbeat.burst_end = if end > at && !is_regular {
                Some(end)
            } else if self.queue.queued_as(false) > 0 {
                // What has not gone out yet would be requested.
                Some(at + BURST_END)
            } else if self.heartbeat.last_emitted + BURST_END > at {
                Some(self.heartbeat.last_emitted + BURST_END)
            } else {
                is_extra = true;
                None
            };
        }
        if is_regular || is_extra {
            if !is_regular {
                self.heartbeat.count_extra(at);
            }
            self.say_hello(now);
        }
    }

    /// Answers an unknown bus with a hello, soon.
    pub(super) fn answer_newcomer(&mut self, now: Duration) {
        let soon = Duration::from_millis(self.rng.random_range(0..ANSWER_WITHIN));
        let answer = (now + soon).max(self.heartbeat.next_extra());
        let before = self.heartbeat.answer.get_or_insert(answer);
        *before = answer.min(*before);
    }

    /// Announces what is owed to buses that were discovered since the last hello, before something
    /// is sent to the group that they might miss.
    #[inline]
    pub(super) fn greet_newcomers(&mut self, now: Now) {
        if self.newcomers.is_unsaid()
            && self.heartbeat.leaving.is_none()
            && self.heartbeat.next_extra() <= now.elapsed
        {
            self.heartbeat.count_extra(now.elapsed);
            self.say_hello(now);
        }
    }

    fn say_hello(&mut self, now: Now) {
        self.heartbeat.answer = None;
        self.heartbeat.next_hello = now.elapsed + self.heartbeat.interval;
        if cfg!(eventcast_sabotage = "chatter") {
            self.heartbeat.next_hello = now.elapsed + self.heartbeat.interval / 4;
        }
        self.history.trim(now.elapsed);
        let mut hello = self.own_hello(now, None);
        let last = hello.last;
        let mut payload = Vec::new();
        control::write_hello(&mut payload, &hello);
        let taken = self.template.len(HELLO.len(), false, false) + payload.len();
        let room = self.longest_control.saturating_sub(taken);
        let at = now.elapsed;
        let named = self.newcomers.name(at, &mut self.streams, last, room);
        if !cfg!(eventcast_sabotage = "greeting_lost") {
            hello.owed.extend(named.iter().map(|named| Owed {
                id: &named.id,
                incarnation: named.incarnation,
                number: named.number,
            }));
        }
        self.send_control(now, Destination::Group, HELLO, |out, _| {
            control::write_hello(out, &hello);
        });
    }

    fn own_hello<'a>(&self, now: Now, token: Option<u64>) -> Hello<'a> {
        let last = self.heartbeat.last_sent();
        Hello {
            incarnation: self.incarnation,
            last,
            first: self.history.first().min(last + 1),
            up: now.elapsed.saturating_sub(self.heartbeat.started),
            version: VERSION,
            capabilities: CAPABILITIES.to_vec(),
            owed: Vec::new(),
            token,
        }
    }

    /// A datagram with nothing new in it but the token for its recipient's requests.
    pub(super) fn token_for(&mut self, now: Now, to: SocketAddr) -> Vec<u8> {
        let token = Some(self.tokens.make(now.elapsed, to));
        if self.heartbeat.leaving.is_some() {
            let (incarnation, last) = (self.incarnation, self.heartbeat.last_sent());
            return self.control(now, BYE, |out, _| {
                control::write_bye(out, incarnation, last, token);
            });
        }
        let hello = self.own_hello(now, token);
        self.control(now, HELLO, |out, _| control::write_hello(out, &hello))
    }

    fn say_goodbye(&mut self, now: Now) {
        let at = now.elapsed;
        let ttl = self.message_ttl;
        // A message that still waits counts, too: it may never be sent, and its receivers are to
        // learn that there was one.
        let last = self.heartbeat.last_sent().max(self.history.last());
        let incarnation = self.incarnation;
        let Some(leaving) = &mut self.heartbeat.leaving else {
            return;
        };
        if leaving.left {
            return;
        }
        let due = leaving.next.is_some_and(|next| next <= at);
        if due {
            leaving.said += 1;
            leaving.next = (leaving.said < GOODBYES).then_some(at + BETWEEN_GOODBYES);
        }
        let quiet = (leaving.last_asked + LINGER).min(leaving.since + ttl);
        leaving.look = quiet;
        leaving.left = leaving.next.is_none() && quiet <= at;
        if due {
            self.send_control(now, Destination::Group, BYE, |out, _| {
                control::write_bye(out, incarnation, last, None);
            });
        }
    }

    pub(super) fn hear_hello(
        &mut self,
        now: Now,
        (at, peer): (KnownAt, &Arc<Peer>),
        hello: &Hello<'_>,
    ) -> Result<(), DropCause> {
        if peer.incarnation != Some(hello.incarnation) {
            return Err(DropCause::Malformed);
        }
        let first = First::Hello {
            number: hello.last.saturating_add(1),
            up: hello.up,
        };
        let Some(stream_at) = self.stream(now, at, peer, first) else {
            return Err(DropCause::Unfollowed);
        };
        let due = self.ask_due(now.elapsed);
        // One that carries a token names nothing that is owed.
        let is_reply = hello.token.is_some();
        let mut is_first = false;
        let mut made_up = false;
        let is_clear = self.sealing.is_none();
        if let Some(stream) = self.streams.get(stream_at) {
            let settled = stream.route.is_settled();
            let next = stream.reorder.next_number();
            match stream.route.note_hello(now.elapsed, peer.address) {
                route::Speaker::Own => {}
                route::Speaker::Moved => {
                    stream.vouch.reset(settled.then_some(next));
                    stream.last_hello = None;
                    stream.hello_clock = HelloClock::default();
                }
                // Only the sender's own hello counts, not that of others in its name. A sealed one
                // is its own, wherever it comes from.
                route::Speaker::Other if is_clear => {
                    return self.ignore_posed(stream_at, peer.address);
                }
                route::Speaker::Other => {}
            }
            if stream
                .last_hello
                .is_some_and(|(at, up)| hello.up < up && now.elapsed.saturating_sub(at) < OVERTAKEN)
            {
                // It was overtaken, and is out of date.
                return Ok(());
            }
            stream.last_hello = Some((now.elapsed, hello.up));
            stream.hello_clock.note(now.elapsed, hello.up);
            if !is_reply {
                is_first = stream.first_hello.is_none();
                stream.first_hello.get_or_insert(now.elapsed);
            }
            let highest = stream.reorder.highest();
            made_up = stream
                .vouch
                .note(now.elapsed, hello.up, hello.last, (highest, next));
            if stream.route.is_settled() {
                stream.vouch.note_over(now.elapsed, hello.last, next);
            }
            stream.peer = Arc::clone(peer);
            stream.last_heard = now.elapsed;
        }
        // A number that was sealed was sent by the sealer.
        if made_up && self.sealing.is_none() {
            self.disbelieve(now.elapsed, stream_at, hello.last);
        }
        if !is_reply {
            self.settle_beginning(now, stream_at, hello, is_first);
        }
        if !cfg!(eventcast_sabotage = "lost_tail") {
            self.claim(now, stream_at, hello.last, due);
        }
        self.give_up_below(stream_at, hello.first);
        self.greet(stream_at, hello);
        self.release(stream_at);
        self.bound_gaps(stream_at);
        self.make_room(now.elapsed, 0);
        Ok(())
    }

    /// Lets a stream begin where its sender's hello says.
    fn settle_beginning(&mut self, now: Now, at: StreamRef, hello: &Hello<'_>, is_first: bool) {
        let there = is_first && self.was_there(now, hello.up);
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let first = stream.reorder.first();
        let is_young = now.elapsed.saturating_sub(stream.opened) < NAMED_FOR;
        let owed = hello
            .owed
            .iter()
            .filter(|owed| is_young && owed.incarnation == self.incarnation && owed.id == self.id);
        let owed = owed.map(|owed| owed.number).min().unwrap_or(first);
        let owed = if there { 1 } else { owed.clamp(1, first) };
        if owed < first || stream.reorder.undecided_until().is_some() {
            self.begin_at(now, at, owed);
        }
    }

    pub(super) fn hear_goodbye(
        &mut self,
        now: Now,
        peer: &Arc<Peer>,
        (incarnation, last): (u64, u64),
    ) -> Result<(), DropCause> {
        if peer.incarnation != Some(incarnation) {
            return Err(DropCause::Malformed);
        }
        // An unknown sender leaves no stream behind.
        let Some(at) = self.streams.find(&peer.id, peer.incarnation) else {
            return Ok(());
        };
        let due = self.ask_due(now.elapsed);
        let is_sealed = self.sealing.is_some();
        let is_own =
            |stream: &mut Stream| is_sealed || stream.route.is_own(now.elapsed, peer.address);
        if !self.streams.get(at).is_some_and(is_own) {
            return self.ignore_posed(at, peer.address);
        }
        self.claim(now, at, last, due);
        self.part(at, LeftReason::Goodbye);
        self.streams.note_goodbye(at);
        self.bound_gaps(at);
        self.make_room(now.elapsed, 0);
        Ok(())
    }

    /// Ignores a hello or goodbye in a sender's name from another address. A sender with several
    /// interfaces is heard from several IP addresses and one port: its copies from the other ones
    /// are duplicates, and not reported.
    fn ignore_posed(&mut self, at: StreamRef, from: SocketAddr) -> Result<(), DropCause> {
        let own_port = self
            .streams
            .get(at)
            .map(|stream| stream.route.address().port());
        if own_port == Some(from.port()) {
            self.stats.drops.count(DropCause::Duplicate);
            return Ok(());
        }
        Err(DropCause::Posed)
    }

    /// Takes a claim that numbers up to `last` exist, if it can be believed.
    fn claim(&mut self, now: Now, at: StreamRef, last: u64, due: Duration) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let known = stream.reorder.known();
        if last <= known || last - known <= FARTHEST {
            stream.far_hello = None;
            let taken_back = stream.reorder.claim(now.elapsed, last, due);
            self.not_lost(at, taken_back);
            return;
        }
        // A sealed hello cannot be forged.
        let agreed = self.sealing.is_some()
            || stream
                .far_message
                .is_some_and(|message| message.abs_diff(last) <= FARTHEST);
        if !agreed {
            stream.far_hello = Some(last);
            return;
        }
        (stream.far_message, stream.far_hello) = (None, None);
        let lost = stream.reorder.jump(last + 1);
        self.report_lost(at, lost, LostReason::TooMany);
        self.release(at);
    }

    /// The peer is there.
    fn greet(&mut self, at: StreamRef, hello: &Hello<'_>) {
        let timeout = self.heartbeat.peer_timeout;
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let same = *stream.info.version == *hello.version
            && stream
                .info
                .capabilities
                .iter()
                .map(|c| &**c)
                .eq(hello.capabilities.iter().copied());
        if !same {
            stream.info = PeerInfo {
                version: hello.version.into(),
                capabilities: hello.capabilities.iter().map(|c| (*c).into()).collect(),
            };
        }
        if stream.presence == Presence::Present {
            self.look_for_namesake(at);
            return;
        }
        let peer = Arc::clone(&stream.peer);
        self.streams.set_presence(at, Presence::Present, timeout);
        self.report_change(at, Change { peer, left: None });
        if cfg!(eventcast_sabotage = "one_by_id") {
            let others = self.streams.others_present(at);
            let others = others
                .map(|other| Arc::clone(&other.peer))
                .collect::<Vec<_>>();
            for other in others {
                if let Some(other) = self.streams.find(&other.id, other.incarnation) {
                    self.part(other, LeftReason::Restarted);
                }
            }
        }
    }

    /// Reports it where another bus with the id of this sender, which has just said hello, is
    /// active as well. After a restart the old incarnation is silent.
    fn look_for_namesake(&mut self, at: StreamRef) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let (now, first) = (stream.last_heard, stream.first_hello);
        let written = stream.hello_clock.written();
        let peer = Arc::clone(&stream.peer);
        let speaks_too = |other: &&Stream| {
            let (newer, older_wrote) = if other.first_hello > first {
                (other.first_hello, written)
            } else {
                (first, other.hello_clock.written())
            };
            let newer = newer.unwrap_or_default();
            older_wrote.is_some_and(|wrote| wrote >= newer + UNDER_WAY)
        };
        let other = self.streams.others_present(at).find(speaks_too);
        if let Some(other) = other.map(|other| Arc::clone(&other.peer)) {
            self.report_id_clash(now, &peer, Some(&other));
        }
    }

    /// The peer left.
    fn part(&mut self, at: StreamRef, reason: LeftReason) {
        let timeout = self.heartbeat.peer_timeout;
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        if stream.presence == Presence::Present {
            let peer = Arc::clone(&stream.peer);
            self.streams.set_presence(at, Presence::Left, timeout);
            let left = Some(reason);
            self.report_change(at, Change { peer, left });
        }
    }

    /// A peer has joined or left, which is reported now or later.
    pub(super) fn report_change(&mut self, at: StreamRef, change: Change) {
        if let Some(change) = self.arrivals.note(self.present, at.id(), change) {
            self.events.push_change(change);
        }
    }

    /// Reports the peers that were silent for too long.
    pub(super) fn find_silent(&mut self, now: Duration) {
        if self.streams.next_silence().is_none_or(|next| next > now) {
            return;
        }
        for at in self.streams.silent(now, self.heartbeat.peer_timeout) {
            let last_heard = self.streams.get(at).map(|stream| stream.last_heard);
            let is_newer = |other: &Stream| other.first_hello >= last_heard;
            let is_back = self.streams.others_present(at).any(is_newer);
            let reason = if is_back {
                LeftReason::Restarted
            } else {
                LeftReason::Silent
            };
            self.part(at, reason);
        }
    }
}
