//! The engine: everything that the protocol does, driven from outside.

mod receive;
mod send;

use std::{net::SocketAddr, time::Duration};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    Accepted, Config, EngineStats, Events, Host, Now, Outgoing, Refusal, Transmit,
    assembler::Assembler,
    chunker::Chunker,
    fan_out::{self, FanOut},
    hash::HashKey,
    peers::Peers,
    queue::SendQueue,
    report::Reporter,
    seen::Seen,
    wire::{MAX_HOST, MAX_ID, Template, TimeReader, TimeWriter},
};

/// How long a finished message is remembered, in times of `message_ttl`.
const REMEMBERED_TTLS: u32 = 3;

/// One bus, as far as the protocol goes. See the [module](super) for how to drive it.
pub struct Engine {
    rng: StdRng,
    clock: TimeWriter,
    template: Template,
    chunker: Chunker,
    queue: SendQueue,
    fan_out: FanOut,

    keys: HashKey,
    peers: Peers,
    times: TimeReader,
    seen: Seen,
    assembler: Assembler,

    reporter: Reporter,
    next_id_clash: Duration,
    events: Events,
    stats: EngineStats,
}

impl Engine {
    /// A bus that has said and heard nothing yet.
    ///
    /// `seed` is all the randomness that it will use; it has to be unpredictable where strangers can reach the bus.
    ///
    /// # Panics
    ///
    /// If the configured id is empty or longer than 64 bytes, or `max_payload_size` is not 64 to 60,000.
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
        let mut rng = StdRng::from_seed(seed);
        let keys = HashKey::random(&mut rng);
        let hostname = shortened(&config.hostname, MAX_HOST);
        Self {
            clock: TimeWriter::new(),
            template: Template::new(
                config.host,
                config.port,
                hostname,
                &config.id,
                Some(config.incarnation),
            ),
            chunker: Chunker::new(
                config.max_payload_size,
                config.max_message_size,
                config.host,
            ),
            queue: SendQueue::new(config.send_queue),
            fan_out: FanOut::default(),
            keys,
            peers: Peers::new(config.id, config.incarnation, keys),
            times: TimeReader::new(),
            seen: Seen::new(config.message_ttl.saturating_mul(REMEMBERED_TTLS)),
            assembler: Assembler::new(
                config.max_message_size,
                config.max_held_bytes,
                config.message_ttl,
                keys,
            ),
            reporter: Reporter::new(keys),
            next_id_clash: now.elapsed,
            events: Events::new(),
            stats: EngineStats::default(),
            rng,
        }
    }

    /// Takes an event to be sent to the group, unless it cannot be. Then nothing has changed.
    ///
    /// After it, [`poll_transmit`](Self::poll_transmit) has something to send.
    ///
    /// # Errors
    ///
    /// Each [`Refusal`] says what to do.
    #[inline]
    pub fn emit(&mut self, now: Now, event: Outgoing<'_>) -> Result<Accepted, Refusal> {
        let result = self.try_emit(now, event);
        match result {
            Ok(_) => self.stats.emitted_messages += 1,
            Err(_) => self.stats.refused_messages += 1,
        }
        result
    }

    /// Replaces what is in `buf` by the next datagrams to be sent: one, or up to 64 of one length (the last may be
    /// shorter), at most 65,507 bytes in all. They count as sent.
    ///
    /// The answer may change after [`emit`](Self::emit), and when the time of
    /// [`next_transmit`](Self::next_transmit) has come. Call it until it gives `None`.
    #[inline]
    pub fn poll_transmit(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let (transmit, datagrams) = if self.fan_out.is_pending() {
            self.fan_out.next(buf)?
        } else {
            let (transmit, datagrams) = self.queue.poll(now.elapsed, buf)?;
            self.fan_out.begin(transmit, datagrams, buf)
        };
        self.stats.sent_datagrams += datagrams as u64;
        self.stats.sent_bytes += buf.len() as u64;
        Some(transmit)
    }

    /// The [`Now::elapsed`] at which [`poll_transmit`](Self::poll_transmit) gives more; one that is past means now.
    /// `None`: nothing waits.
    ///
    /// The answer may change after [`emit`](Self::emit) and [`poll_transmit`](Self::poll_transmit).
    #[must_use]
    pub fn next_transmit(&self) -> Option<Duration> {
        if self.fan_out.is_pending() {
            return Some(Duration::ZERO);
        }
        self.queue.next()
    }

    /// Bytes that wait to be sent. Changes with [`emit`](Self::emit) and [`poll_transmit`](Self::poll_transmit).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued() + self.fan_out.queued()
    }

    /// From now on these are the interfaces by which datagrams to the group leave, and their addresses. With several,
    /// each datagram goes by each of them. Without any, it stays with those before.
    ///
    /// An engine begins with one interface, of which [`Config::host`] is the address.
    pub fn set_hosts(&mut self, hosts: &[Host]) {
        if let Some(longest) = fan_out::longest(hosts) {
            self.template.set_host(longest);
            self.fan_out.set_hosts(hosts);
        }
    }

    /// Takes a datagram from the network, whatever it holds.
    ///
    /// After it, [`take_events`](Self::take_events) may have something to tell, and
    /// [`poll_timeout`](Self::poll_timeout) another answer.
    #[inline]
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        self.stats.received_datagrams += 1;
        self.stats.received_bytes += bytes.len() as u64;
        if let Err(dropped) = self.receive(now.elapsed, from, bytes) {
            self.report(now.elapsed, from, dropped);
        }
    }

    /// Does what time brings: gives up messages of which nothing comes any more.
    ///
    /// To be called when the time of [`poll_timeout`](Self::poll_timeout) has come; at other times it does no harm.
    /// After it, [`take_events`](Self::take_events) may have something to tell, and the next timeout may be due at
    /// once.
    pub fn handle_timeout(&mut self, now: Now) {
        self.assembler.handle_timeout(now.elapsed);
        self.settle_given_up(now.elapsed);
    }

    /// The [`Now::elapsed`] at which [`handle_timeout`](Self::handle_timeout) is to be called; one that is past
    /// means now. `None`: nothing to wait for.
    ///
    /// The answer may change after [`handle_datagram`](Self::handle_datagram) and
    /// [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.assembler.poll_timeout()
    }

    /// Swaps what there is to tell with `into`, which is emptied first; gives whether there is anything. Handing
    /// back the same batch each time, nothing is allocated.
    ///
    /// The answer may change after [`handle_datagram`](Self::handle_datagram) and
    /// [`handle_timeout`](Self::handle_timeout). What is not taken is kept, so take it after each batch of datagrams.
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
            held_bytes: self.assembler.held(),
            ..self.stats
        }
    }
}

/// The beginning of a text that has at most so many bytes.
fn shortened(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
