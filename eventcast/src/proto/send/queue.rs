//! What waits to be sent.
//!
//! What the protocol itself has to say goes first, and messages of one datagram go as fast as the
//! socket takes them. Chunks are paced, those of messages that are being sent and those that are
//! sent again: a burst that is longer than a receiver's buffer would be lost there. The pace
//! listens: it slows down while receivers report missing chunks, down to a floor, so that one slow
//! or hostile receiver cannot hold up the group, and recovers when they do not.

use std::{collections::VecDeque, time::Duration};

use crate::proto::{
    seal::sealed_len,
    send::{
        history::{LargeAt, Larges},
        outgoing::{Destination, Transmit},
    },
};

/// Most datagrams handed out at once: the kernel's limit for segments of one UDP_SEGMENT call.
const MAX_SEGMENTS: usize = 64;

/// Most bytes handed out at once: the longest UDP payload, which bounds all segments of a call
/// together.
const MAX_HANDED_OUT: usize = 65_507;

/// Longer datagrams are handed out one by one, since the kernel does not segment into what it has
/// to fragment.
const MAX_SEGMENT: usize = 1472;

/// The pace of chunks where no receiver reports losses: bursts of this many datagrams and bytes,
/// each [`PAUSE`]. At this pace a receiver keeps up although its thread is suspended for a while:
/// Linux's usual socket buffer (212,992 bytes) holds some 90 datagrams of a kilobyte, which is what
/// arrives in 3 ms.
const BURST_DATAGRAMS: usize = 16;
const BURST_BYTES: usize = 32 << 10;
const PAUSE: Duration = Duration::from_micros(500);

/// How much slower it may become: some 4 MB/s in datagrams of a kilobyte.
const SLOWEST: u32 = 8;

/// A complaint slows the pace down no sooner than this after the one before, since all receivers
/// complain of one loss at about the same time.
const DEAF_FOR: Duration = Duration::from_millis(20);

/// How long there must have been no complaint for the pace to recover by a step.
const RECOVERY: Duration = Duration::from_millis(50);

/// The pace's steps are this part of the full pace.
const STEPS: u32 = 8;

/// A chunked message of which nothing has been sent for so long sends a little out of turn, so that
/// receivers do not take it for lost.
const LONGEST_SILENCE: Duration = Duration::from_millis(400);

/// Most datagrams of the protocol's own that wait. One that finds no room is repeated or requested
/// again later.
const MAX_URGENT: usize = 1024;

/// So many may wait for another reply to be added.
const MAX_REPLIES: usize = MAX_URGENT / 2;

/// Bytes at the front of the small messages' buffer that are no longer needed are dropped from this
/// many on.
const COMPACT_FROM: usize = 64 << 10;

pub(in crate::proto) struct SendQueue {
    limit: usize,
    /// What is handed out is sealed then.
    sealed: bool,
    /// What the protocol itself has to say.
    urgent: VecDeque<(Destination, Vec<u8>)>,
    /// Small messages, one after the other, from `sent` on.
    small: Vec<u8>,
    sent: usize,
    /// The length of each, and its number or 0.
    lens: VecDeque<(usize, u64)>,
    queued_small: usize,
    large: VecDeque<LargeAt>,
    queued_large: usize,
    pub(in crate::proto) pacer: Pacer,
    /// Chunks go next although small messages wait: they went the last time.
    large_turn: bool,
}

/// What was handed out.
pub(in crate::proto) struct Polled {
    pub(in crate::proto) transmit: Transmit,
    pub(in crate::proto) datagrams: usize,
    /// The highest number among the messages that were begun; 0 for none.
    pub(in crate::proto) number: u64,
}

impl SendQueue {
    pub(in crate::proto) fn new(limit: usize, sealed: bool) -> Self {
        Self {
            limit,
            sealed,
            urgent: VecDeque::new(),
            small: Vec::new(),
            sent: 0,
            lens: VecDeque::new(),
            queued_small: 0,
            large: VecDeque::new(),
            queued_large: 0,
            pacer: Pacer::default(),
            large_turn: false,
        }
    }

    /// Nothing yet, to be handed out.
    #[inline]
    pub(in crate::proto) fn run(&self) -> Run {
        Run {
            sealed: self.sealed,
            ..Run::default()
        }
    }

    /// Bytes of messages that wait.
    pub(in crate::proto) fn queued(&self) -> usize {
        self.queued_small + self.queued_large
    }

    /// Bytes of small messages that wait, and likewise of chunked ones: each may be
    /// [`limit`](Self::limit).
    pub(in crate::proto) fn queued_as(&self, chunked: bool) -> usize {
        if chunked {
            self.queued_large
        } else {
            self.queued_small
        }
    }

    /// Bytes that may wait.
    pub(in crate::proto) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there is room for a message of so many bytes. One alone always has room, and chunked
    /// messages take none from small ones, which overtake them.
    #[inline]
    pub(in crate::proto) fn has_room(&self, bytes: usize, chunked: bool) -> bool {
        let queued = self.queued_as(chunked);
        queued == 0 || queued.saturating_add(bytes) <= self.limit
    }

    /// Adds a datagram of the protocol's own. `false`: there are too many.
    pub(in crate::proto) fn push_urgent(&mut self, to: Destination, datagram: Vec<u8>) -> bool {
        self.push_urgent_within(MAX_URGENT, to, datagram)
    }

    /// Adds a datagram that a peer requested: these leave room for the bus's own messages.
    pub(in crate::proto) fn push_reply(&mut self, to: Destination, datagram: Vec<u8>) -> bool {
        self.push_urgent_within(MAX_REPLIES, to, datagram)
    }

    fn push_urgent_within(&mut self, most: usize, to: Destination, datagram: Vec<u8>) -> bool {
        let room = self.urgent.len() < most;
        if room {
            self.urgent.push_back((to, datagram));
        }
        room
    }

    /// Adds one datagram, which `write` appends, with its number or 0; gives it back.
    #[inline]
    pub(in crate::proto) fn push_small(
        &mut self,
        number: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        if self.sent >= COMPACT_FROM && self.sent * 2 >= self.small.len() {
            self.small.drain(..self.sent);
            self.sent = 0;
        }
        let start = self.small.len();
        write(&mut self.small);
        let len = self.small.len() - start;
        self.lens.push_back((len, number));
        self.queued_small += len;
        &self.small[start..]
    }

    /// Adds a message that goes in chunks, `wire_len` bytes in all.
    pub(in crate::proto) fn push_large(&mut self, large: LargeAt, wire_len: usize) {
        self.large.push_back(large);
        self.queued_large += wire_len;
    }

    /// Appends what may go now to `buf`: datagrams of one length, of which the last may be shorter.
    #[inline]
    pub(in crate::proto) fn poll(
        &mut self,
        now: Duration,
        larges: &mut Larges,
        buf: &mut Vec<u8>,
    ) -> Option<Polled> {
        if let Some((to, datagram)) = self.urgent.pop_front() {
            buf.extend_from_slice(&datagram);
            return Some(Polled {
                transmit: Transmit {
                    to,
                    interface: None,
                    segment_size: None,
                },
                datagrams: 1,
                number: 0,
            });
        }
        let (run, number) = if std::mem::take(&mut self.large_turn) {
            let large = self.poll_large(now, larges, buf);
            large.or_else(|| self.poll_small(buf))?
        } else {
            let small = self.poll_small(buf);
            small.or_else(|| self.poll_large(now, larges, buf))?
        };
        Some(Polled {
            transmit: run.transmit(Destination::Group),
            datagrams: run.datagrams,
            number,
        })
    }

    /// When something may go: zero for at once.
    pub(in crate::proto) fn next(&self, larges: &Larges) -> Option<Duration> {
        if !self.urgent.is_empty() || !self.lens.is_empty() {
            return Some(Duration::ZERO);
        }
        let large = *self.large.front()?;
        Some(self.pacer.next(larges[large].outbound.next_len()?))
    }

    fn poll_small(&mut self, buf: &mut Vec<u8>) -> Option<(Run, u64)> {
        let mut run = self.run();
        let mut highest = 0;
        while let Some(&(len, number)) = self.lens.front()
            && run.takes(len)
        {
            self.lens.pop_front();
            highest = highest.max(number);
        }
        run.first?;
        let end = self.sent + run.bytes;
        buf.extend_from_slice(&self.small[self.sent..end]);
        self.sent = end;
        if self.lens.is_empty() {
            self.small.clear();
            self.sent = 0;
        }
        self.queued_small -= run.bytes;
        self.large_turn = !self.large.is_empty();
        Some((run, highest))
    }

    fn poll_large(
        &mut self,
        now: Duration,
        larges: &mut Larges,
        buf: &mut Vec<u8>,
    ) -> Option<(Run, u64)> {
        let place = self.whose_turn(now, larges)?;
        let large = &mut larges[self.large[place]];
        let mut run = self.run();
        while let Some(len) = large.outbound.next_len()
            && self.pacer.ready(now, len)
            && run.takes(len)
        {
            self.pacer.take(len);
            large.outbound.write_next(buf);
        }
        run.first?;
        large.last_sent = now;
        self.queued_large -= run.bytes;
        let number = large.number.unwrap_or(0);
        if large.outbound.next_len().is_none() {
            self.large.remove(place);
        }
        Some((run, number))
    }

    /// The first one, unless another has been silent for too long.
    fn whose_turn(&self, now: Duration, larges: &Larges) -> Option<usize> {
        if self.large.len() < 2 {
            return (!self.large.is_empty()).then_some(0);
        }
        let others = self.large.iter().enumerate().skip(1);
        let silent = others
            .map(|(place, large)| (larges[*large].last_sent, place))
            .min()
            .filter(|(last_sent, _)| *last_sent + LONGEST_SILENCE <= now);
        Some(silent.map_or(0, |(_, place)| place))
    }
}

/// Datagrams that can be handed out together.
#[derive(Default)]
pub(in crate::proto) struct Run {
    first: Option<usize>,
    /// A shorter one was taken: it is the last.
    ended: bool,
    pub(in crate::proto) datagrams: usize,
    bytes: usize,
    /// Each is sealed before it is sent.
    sealed: bool,
    /// Bytes of all as they are sent.
    sent_bytes: usize,
}

impl Run {
    pub(in crate::proto) fn transmit(&self, to: Destination) -> Transmit {
        Transmit {
            to,
            interface: None,
            segment_size: self.first.filter(|_| self.datagrams > 1),
        }
    }

    /// Takes a datagram of that length, if it may follow those before.
    #[inline]
    pub(in crate::proto) fn takes(&mut self, len: usize) -> bool {
        let fits = match self.first {
            None => true,
            Some(first) => {
                self.sent_len(first) <= MAX_SEGMENT
                    && len <= first
                    && !self.ended
                    && self.datagrams < MAX_SEGMENTS
                    && self.sent_bytes + self.sent_len(len) <= MAX_HANDED_OUT
            }
        };
        if fits {
            self.ended = len < *self.first.get_or_insert(len);
            self.datagrams += 1;
            self.bytes += len;
            self.sent_bytes += self.sent_len(len);
        }
        fits
    }

    /// The length of a datagram as it is sent.
    #[inline]
    fn sent_len(&self, len: usize) -> usize {
        if self.sealed { sealed_len(len) } else { len }
    }
}

/// Lets bursts go one after the other. One that is late is made up for by going right after the one
/// before, but never more than one: so it is two at the start, and no burst is ever larger than
/// two.
pub(in crate::proto) struct Pacer {
    /// When the next burst may begin.
    next: Duration,
    /// What is left of the present one.
    datagrams: usize,
    bytes: usize,
    /// How slow it is, in parts of the full pace's pause: [`STEPS`] is full pace.
    slowness: u32,
    /// When it was last changed.
    changed: Duration,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            next: Duration::ZERO,
            datagrams: 0,
            bytes: 0,
            slowness: STEPS,
            changed: Duration::ZERO,
        }
    }
}

impl Pacer {
    /// A receiver reports a loss.
    pub(in crate::proto) fn complain(&mut self, now: Duration) {
        if now >= self.changed + DEAF_FOR {
            self.slowness = (self.slowness + self.slowness / 2).min(SLOWEST * STEPS);
            self.changed = now;
        }
    }

    pub(in crate::proto) fn ready(&mut self, now: Duration, len: usize) -> bool {
        if self.has_room(len) {
            return true;
        }
        if now < self.next {
            return false;
        }
        if self.slowness > STEPS && now >= self.changed + RECOVERY {
            self.slowness = (self.slowness - self.slowness.div_ceil(STEPS)).max(STEPS);
            self.changed = now;
        }
        let pause = PAUSE * self.slowness / STEPS;
        self.next = self.next.max(now.saturating_sub(pause)) + pause;
        (self.datagrams, self.bytes) = (BURST_DATAGRAMS, BURST_BYTES);
        true
    }

    fn has_room(&self, len: usize) -> bool {
        self.datagrams > 0 && len <= self.bytes
    }

    pub(in crate::proto) fn take(&mut self, len: usize) {
        self.datagrams -= 1;
        self.bytes = self.bytes.saturating_sub(len);
    }

    pub(in crate::proto) fn next(&self, len: usize) -> Duration {
        if self.has_room(len) {
            Duration::ZERO
        } else {
            self.next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams of a kilobyte in a second, when complaints come every so often.
    fn pace(complaints_each: Option<u64>) -> usize {
        let mut pacer = Pacer::default();
        let mut sent = 0;
        for micros in 0..1_000_000 {
            let now = Duration::from_secs(9) + Duration::from_micros(micros);
            if complaints_each.is_some_and(|each| micros % (each * 1000) == 0) {
                pacer.complain(now);
            }
            while pacer.ready(now, 1024) {
                pacer.take(1024);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn the_pace_listens_and_has_a_floor() {
        let full = pace(None);
        assert!((31_000..34_000).contains(&full), "{full}");
        // Rare complaints cost little, and endless ones no more than the floor.
        let rare = pace(Some(500));
        assert!((full / 2..full).contains(&rare), "{rare}");
        let endless = pace(Some(1));
        assert!((full / 9..full / 5).contains(&endless), "{endless}");
    }
}
