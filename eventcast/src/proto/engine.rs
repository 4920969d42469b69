//! The engine: everything that the protocol does, driven from outside.

#[cfg(feature = "classic")]
mod classic;
mod control;
mod delivery;
mod encapsulation;
mod presence;
mod receive;
mod repair;
mod send;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

#[cfg(feature = "classic")]
use self::classic::Classic;
use self::{encapsulation::Sealed, presence::Heartbeat, receive::Encapsulation};
use super::{
    Accepted, Config, DropCause, EngineStats, Events, Host, Now, Outgoing, PeerStatus, Refusal,
    SealKeys, Transmit,
    hash::HashKey,
    rate::{RateMeter, TokenBucket},
    receive::{
        arrivals::Arrivals, assembler::Assembler, dedup_cache::DedupCache, losses::Losses,
        newcomers::Newcomers, peers::Peers, streams::Streams, unfollowed::Unfollowed,
    },
    repair::{
        nack_list::Span,
        retransmit_queue::{Class, RetransmitQueue},
        validation::{Budgets, Tokens},
    },
    report::{self, ExpiredLimit, Reporter},
    send::{
        chunker::Chunker,
        fan_out::{self, FanOut},
        history::History,
        queue::SendQueue,
    },
    wire::{MAX_HOST, MAX_ID, Template, TimeReader, TimeWriter},
};

/// How long a finished message is remembered, and one that was sent is kept, in times of
/// `message_ttl`.
const REMEMBERED_TTLS: u32 = 3;

/// One bus, as far as the protocol goes. See the [module](super) for how to drive it.
pub struct Engine {
    id: String,
    incarnation: u64,
    /// As requests name it.
    host: String,
    port: u16,
    /// As long as a datagram of the protocol's own may be.
    longest_control: usize,
    max_held_bytes: usize,
    message_ttl: Duration,

    rng: StdRng,
    clock: TimeWriter,
    template: Template,
    chunker: Chunker,
    queue: SendQueue,
    fan_out: FanOut,
    history: History,
    retransmits: RetransmitQueue,
    tokens: Tokens,
    budgets: Budgets,
    /// What is sent to the group in answer to requests.
    group_bucket: TokenBucket,
    /// What is sent to single addresses in answer to requests, by class, and how much it may be in
    /// a second.
    class_buckets: [TokenBucket; 2],
    class_rates: [u64; 2],
    /// The class of which a requester is served first.
    class_turn: Class,
    /// The rate of new messages.
    sent_anew: RateMeter,
    heartbeat: Heartbeat,

    /// What only a sealed bus has.
    sealing: Option<Box<Sealed>>,
    #[cfg(feature = "classic")]
    classic: Option<Classic>,
    keys: HashKey,
    peers: Peers,
    times: TimeReader,
    dedup: DedupCache,
    assembler: Assembler,
    streams: Streams,
    unfollowed: Unfollowed,
    newcomers: Newcomers,
    /// When numbers that are found missing now are requested for the first time.
    ask_slot: Duration,
    /// Buffers that are used again.
    spans: Vec<Span>,
    indexes: Vec<u32>,

    /// The time of the present call.
    present: Duration,
    losses: Losses,
    expired: ExpiredLimit,
    arrivals: Arrivals,
    reporter: Reporter,
    events: Events,
    stats: EngineStats,
    /// Where a test wants it to panic.
    #[cfg(test)]
    pub(crate) trip: Option<Trip>,
}

/// Where a test can make an engine panic, as a bug of its own would.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    Emit,
    Transmit,
    Datagram,
    Timeout,
    Leave,
    Peers,
    Keys,
}

/// Panics where a test wants the engine to.
macro_rules! trip {
    ($engine:ident, $at:ident) => {
        #[cfg(test)]
        assert!(
            $engine.trip != Some(Trip::$at),
            "on purpose: {:?}",
            Trip::$at
        );
    };
}

impl Engine {
    /// An engine that has sent and received nothing yet.
    ///
    /// `seed` is all the randomness that it uses; it has to be unpredictable where strangers can
    /// reach the bus.
    ///
    /// # Panics
    ///
    /// If the configured id is empty or longer than 64 bytes, if `max_payload_size` is not 64 to
    /// 60,000, or if there are keys for two ciphers.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Self {
        assert!(
            (1..=MAX_ID).contains(&config.id.len()),
            "an id has 1 to {MAX_ID} bytes"
        );
        assert!(
            (64..=60_000).contains(&config.max_payload_size),
            "max_payload_size is 64 to 60,000"
        );
        #[cfg(feature = "classic")]
        assert!(
            config.seal.is_none() || config.classic.is_none(),
            "a bus is sealed, or speaks to old peers"
        );
        let mut rng = StdRng::from_seed(seed);
        let keys = HashKey::random(&mut rng);
        let remembered = config.message_ttl.saturating_mul(REMEMBERED_TTLS);
        // On a sealed bus, for as long as a datagram that was held back on the way stays fresh.
        let fresh = config.seal.as_ref().map(|seal| seal.clock_tolerance);
        let had = remembered.max(fresh.unwrap_or_default().saturating_mul(2));
        let sealing = config.seal.map(|seal| {
            let own = (config.id.as_str(), config.incarnation);
            Box::new(Sealed::new(seal, own, now, keys))
        });
        let mut chunker = Chunker::new(
            config.max_payload_size,
            config.max_message_size,
            config.host,
        );
        let mut longest_control = config.max_payload_size;
        if sealing.is_some() {
            chunker = chunker.sealed();
            longest_control = chunker.longest_control();
        }
        let hostname = shortened(&config.hostname, MAX_HOST);
        Self {
            id: config.id.clone(),
            incarnation: config.incarnation,
            host: config.host.to_string(),
            port: config.port,
            longest_control,
            max_held_bytes: config.max_held_bytes,
            message_ttl: config.message_ttl,
            clock: TimeWriter::new(),
            template: Template::new(
                config.host,
                config.port,
                hostname,
                &config.id,
                Some(config.incarnation),
            ),
            chunker,
            queue: SendQueue::new(config.send_queue, sealing.is_some()),
            fan_out: FanOut::default(),
            history: History::new(config.history_bytes, remembered, keys),
            retransmits: RetransmitQueue::new(keys),
            tokens: Tokens::new(&seed),
            budgets: Budgets::new(keys),
            group_bucket: TokenBucket::default(),
            class_buckets: [TokenBucket::default(); 2],
            class_rates: [0; 2],
            class_turn: Class::Peers,
            sent_anew: RateMeter::default(),
            heartbeat: Heartbeat::new(now.elapsed, config.heartbeat, config.peer_timeout),
            sealing,
            #[cfg(feature = "classic")]
            classic: config.classic.map(Classic::new),
            keys,
            peers: Peers::new(config.id, config.incarnation, keys),
            times: TimeReader::new(),
            dedup: DedupCache::new(had),
            assembler: Assembler::new(
                config.max_message_size,
                config.max_held_bytes,
                config.message_ttl,
                config.message_retransmit_attempts,
                keys,
            ),
            streams: Streams::new(keys),
            unfollowed: Unfollowed::new(keys),
            newcomers: Newcomers::new(keys),
            ask_slot: Duration::ZERO,
            spans: Vec::new(),
            indexes: Vec::new(),
            present: now.elapsed,
            losses: Losses::new(keys),
            expired: report::expired_limit(keys),
            arrivals: Arrivals::new(keys),
            reporter: report::reporter(keys),
            events: Events::new(),
            stats: EngineStats::default(),
            #[cfg(test)]
            trip: None,
            rng,
        }
    }

    /// Takes an event to be sent to the group, unless it is refused. A refusal changes nothing.
    ///
    /// After it, [`poll_transmit`](Self::poll_transmit) has something to send.
    ///
    /// # Errors
    ///
    /// Each [`Refusal`] says what to do.
    #[inline]
    pub fn emit(&mut self, now: Now, event: Outgoing<'_>) -> Result<Accepted, Refusal> {
        trip!(self, Emit);
        let result = self.try_emit(now, event);
        match result {
            Ok(_) => self.stats.emitted_messages += 1,
            Err(_) => self.stats.refused_messages += 1,
        }
        result
    }

    /// Replaces what is in `buf` by the next datagrams to be sent: one, or up to 64 of one length
    /// (the last may be shorter), at most 65,507 bytes in all. They count as sent.
    ///
    /// The answer may change after every call that takes `&mut self`, and when the time of
    /// [`next_transmit`](Self::next_transmit) has come. Call it until it gives `None`.
    #[inline]
    pub fn poll_transmit(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<Transmit> {
        trip!(self, Transmit);
        let (transmit, datagrams) = if self.sealing.is_none() {
            self.poll_clear(now, buf)?
        } else {
            self.poll_sealed(now, buf)?
        };
        self.stats.sent_datagrams += datagrams as u64;
        self.stats.sent_bytes += buf.len() as u64;
        Some(transmit)
    }

    /// What is to be sent, before it is sealed.
    #[inline]
    fn poll_clear(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<(Transmit, usize)> {
        buf.clear();
        if self.fan_out.is_pending() {
            return self.fan_out.next(buf);
        }
        let (transmit, datagrams) = match self.poll_answers(now, buf) {
            Some(answers) => answers,
            None => self.poll_queue(now.elapsed, buf)?,
        };
        Some(self.fan_out.begin(transmit, datagrams, buf))
    }

    /// The [`Now::elapsed`] at which [`poll_transmit`](Self::poll_transmit) gives more; one that is
    /// past means now. `None`: nothing waits.
    ///
    /// The answer may change after every call that takes `&mut self`.
    #[must_use]
    #[inline]
    pub fn next_transmit(&self) -> Option<Duration> {
        if self.fan_out.is_pending() {
            return Some(Duration::ZERO);
        }
        let queue = self.queue.next(&self.history.larges);
        match self.next_answer() {
            None => queue,
            Some(answer) => Some(queue.map_or(answer, |queue| queue.min(answer))),
        }
    }

    /// Bytes of messages that wait to be sent. Changes with [`emit`](Self::emit) and
    /// [`poll_transmit`](Self::poll_transmit).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued() + self.fan_out.queued()
    }

    /// From now on these are the interfaces by which datagrams to the group leave, and their
    /// addresses. With several, each datagram goes by each of them. Without any, it stays with
    /// those before.
    ///
    /// An engine begins with one interface, of which [`Config::host`] is the address.
    pub fn set_hosts(&mut self, hosts: &[Host]) {
        if let Some(longest) = fan_out::longest(hosts) {
            self.host = longest.to_string();
            self.template.set_host(longest);
            self.fan_out.set_hosts(hosts);
        }
    }

    /// Replaces the keys of a sealed bus. Nothing is lost: what waits to be sent is sealed with the
    /// new key, and counters received before stay known.
    ///
    /// # Panics
    ///
    /// If the bus was made without [`Config::seal`]: what it received in the clear until then
    /// proves nothing.
    pub fn set_seal_keys(&mut self, keys: &SealKeys) {
        trip!(self, Keys);
        let sealing = self.sealing.as_mut();
        let sealing = sealing.expect("a bus is sealed from its start, or never");
        sealing.set_keys(keys);
    }

    /// Takes a datagram that was sent to the group, whatever its bytes are.
    ///
    /// After it, [`take_events`](Self::take_events) may have events, and
    /// [`poll_timeout`](Self::poll_timeout) another answer.
    #[inline]
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        self.handle(now, from, bytes, Encapsulation::default());
    }

    /// Takes a datagram that was sent to this bus alone, whatever its bytes are.
    ///
    /// It answers a request, which may have come from a bus that had the same address before: so it
    /// does not show where the numbers of its sender begin. After it,
    /// [`take_events`](Self::take_events) may have events, and [`poll_timeout`](Self::poll_timeout)
    /// another answer.
    #[inline]
    pub fn handle_unicast(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        let encapsulation = Encapsulation {
            to_one: true,
            ..Encapsulation::default()
        };
        self.handle(now, from, bytes, encapsulation);
    }

    #[inline]
    fn handle(&mut self, now: Now, from: SocketAddr, bytes: &[u8], encapsulation: Encapsulation) {
        trip!(self, Datagram);
        self.present = now.elapsed;
        self.stats.received_datagrams += 1;
        self.stats.received_bytes += bytes.len() as u64;
        if !is_answerable(from) {
            // No sender at that address could be answered.
            self.report(now.elapsed, from, DropCause::Malformed.into());
            return;
        }
        let result = if self.sealing.is_none() {
            self.receive(now, from, bytes, encapsulation)
        } else {
            self.receive_sealed(now, from, bytes)
        };
        if let Err(dropped) = result {
            self.report(now.elapsed, from, dropped);
        }
        self.make_room(now.elapsed, 0);
    }

    /// Does what is due at this time: requests what is missing, answers requests, sends hellos,
    /// ends what does not come any more, and reports in sum what came too often to be reported one
    /// by one.
    ///
    /// Call it when the time of [`poll_timeout`](Self::poll_timeout) has come and no input waits;
    /// at other times it does no harm, but may report as lost what has arrived and was not handed
    /// in. After it, [`take_events`](Self::take_events) may have events and
    /// [`poll_transmit`](Self::poll_transmit) datagrams to send, and the next timeout may be due at
    /// once.
    pub fn handle_timeout(&mut self, now: Now) {
        trip!(self, Timeout);
        self.present = now.elapsed;
        self.ask_for_chunks(now);
        self.assembler.handle_timeout(now.elapsed);
        self.settle_given_up(now.elapsed);
        self.ask_for_messages(now, false);
        self.gather_answers(now.elapsed);
        self.speak(now);
        self.make_room(now.elapsed, 0);
        self.find_silent(now.elapsed);
        if self.heartbeat.has_left() {
            self.report_rest();
        } else {
            self.report_due(now.elapsed);
        }
    }

    /// Does what is due at this time while input waits to be handed in: no peer is reported silent,
    /// and nothing ends, because the missing messages may be in that input. So
    /// [`poll_timeout`](Self::poll_timeout) may go on to say that something is due.
    ///
    /// For a bounded time: where input waits always, call [`handle_timeout`](Self::handle_timeout)
    /// now and then nevertheless.
    pub fn handle_timeout_amid_input(&mut self, now: Now) {
        trip!(self, Timeout);
        if cfg!(eventcast_sabotage = "hasty_verdicts") {
            self.handle_timeout(now);
            return;
        }
        self.present = now.elapsed;
        self.ask_for_chunks(now);
        self.ask_for_messages(now, true);
        self.gather_answers(now.elapsed);
        self.speak(now);
        self.make_room(now.elapsed, 0);
        self.report_due(now.elapsed);
    }

    /// For this long until now nothing could be handed in, although the time of
    /// [`poll_timeout`](Self::poll_timeout) had come or input waited: the process was stopped, or
    /// had no processor. This time does not count as silence of any peer, as if the clock had stood
    /// still.
    ///
    /// Call it before [`handle_timeout`](Self::handle_timeout), once for each such time.
    pub fn handle_pause(&mut self, now: Now, away: Duration) {
        if cfg!(eventcast_sabotage = "hasty_verdicts") {
            return;
        }
        self.streams.excuse(now.elapsed, away);
        self.assembler.excuse(now.elapsed, away);
        self.dedup.excuse(now.elapsed, away);
    }

    /// The [`Now::elapsed`] at which [`handle_timeout`](Self::handle_timeout) is to be called; one
    /// that is past means now. `None`: nothing to wait for.
    ///
    /// The answer may change after every call that takes `&mut self`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let dues = [
            self.assembler.poll_timeout(),
            self.streams.due(),
            self.retransmits.due(),
            self.streams.next_silence(),
            self.heartbeat.due(),
            self.reporter.next_due(),
            self.losses.next_due(),
            self.expired.next_due(),
            self.arrivals.next_due(),
        ];
        dues.into_iter().flatten().min()
    }

    /// Says goodbye to the group. The engine is to be driven on until [`has_left`](Self::has_left):
    /// peers may still request what they have missed.
    ///
    /// Emit nothing after it. A second call says no second goodbye. Reports that are held back
    /// because of their rate are due now. Call it again when the engine is not to be driven any
    /// more, and take its [events](Self::take_events), so that no report is lost.
    pub fn leave(&mut self, now: Now) {
        trip!(self, Leave);
        self.heartbeat.leave(now.elapsed);
        self.report_rest();
    }

    /// Whether goodbye was said and no peer requests anything any more: at the latest `message_ttl`
    /// after [`leave`](Self::leave). The answer may change after
    /// [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.heartbeat.has_left()
    }

    /// The peers that are there: those that have said hello, and since then neither said goodbye
    /// nor been silent for `peer_timeout`.
    #[must_use]
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        trip!(self, Peers);
        self.streams.peers(now.elapsed)
    }

    /// Swaps the batch of events with `into`, which is emptied first; returns whether there is any.
    /// With the same batch each time, nothing is allocated.
    ///
    /// The answer may change after [`handle_datagram`](Self::handle_datagram) and
    /// [`handle_timeout`](Self::handle_timeout). Events that are not taken are kept, so take them
    /// after each batch of datagrams.
    pub fn take_events(&mut self, into: &mut Events) -> bool {
        into.clear();
        std::mem::swap(&mut self.events, into);
        !into.is_empty()
    }

    /// What was done so far, and what is held.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            queued_bytes: self.queue.queued(),
            incomplete_messages: self.assembler.incomplete(),
            held_bytes: self.assembler.held() + self.streams.held(),
            history_bytes: self.history.bytes(),
            peers: self.streams.present(),
            ..self.stats
        }
    }
}

/// Whether an address can belong to a sender: any other is forged, and a datagram to it would reach
/// nobody or everybody.
#[inline]
fn is_answerable(address: SocketAddr) -> bool {
    // A socket for both families shows addresses of IPv4 inside such of IPv6.
    let ip_is_one = match address.ip().to_canonical() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    };
    address.port() != 0 && ip_is_one
}

/// The beginning of a text that has at most so many bytes.
fn shortened(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
