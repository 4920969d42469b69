//! What waits to be sent.
//!
//! Messages of one datagram wait as finished datagrams and go as fast as the socket takes them. Chunked ones wait as
//! wholes and are cut when their turn comes; they are paced, and small messages overtake them.

use std::{collections::VecDeque, time::Duration};

use super::{
    chunker::Outbound,
    outgoing::{Destination, Transmit},
};

/// Most datagrams handed out at once: the kernel's limit for segments of one UDP_SEGMENT call.
const MAX_SEGMENTS: usize = 64;

/// Most bytes handed out at once: the longest UDP payload, which bounds all segments of a call together.
const MAX_HANDED_OUT: usize = 65_507;

/// Longer datagrams are handed out one by one, since the kernel does not segment into what it has to fragment.
const MAX_SEGMENT: usize = 1472;

/// The pace of chunked messages: bursts of this many datagrams and bytes, each [`PAUSE`]. A slice that is lost takes
/// the whole message with it, so the pace is one at which a receiver keeps up although its thread is put aside for a
/// while: Linux's usual socket buffer (212,992 bytes) holds some 90 datagrams of a kilobyte, which is what comes in
/// 3 ms.
const BURST_DATAGRAMS: usize = 16;
const BURST_BYTES: usize = 32 << 10;
const PAUSE: Duration = Duration::from_micros(500);

/// Bytes at the front of the small messages' buffer that are no longer needed are dropped from this many on.
const COMPACT_FROM: usize = 64 << 10;

pub(super) struct SendQueue {
    limit: usize,
    queued: usize,
    /// Small messages, one after the other, from `sent` on.
    small: Vec<u8>,
    sent: usize,
    lens: VecDeque<usize>,
    large: VecDeque<Outbound>,
    pacer: Pacer,
    /// Chunks go next although small messages wait: they went the last time.
    large_turn: bool,
}

impl SendQueue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            queued: 0,
            small: Vec::new(),
            sent: 0,
            lens: VecDeque::new(),
            large: VecDeque::new(),
            pacer: Pacer::default(),
            large_turn: false,
        }
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes that may wait.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there is room for so many bytes. A message alone always has room.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.queued == 0 || self.queued.saturating_add(bytes) <= self.limit
    }

    /// Adds one datagram, which `write` appends.
    #[inline]
    pub(super) fn push_small(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.sent >= COMPACT_FROM && self.sent * 2 >= self.small.len() {
            self.small.drain(..self.sent);
            self.sent = 0;
        }
        let start = self.small.len();
        write(&mut self.small);
        let len = self.small.len() - start;
        self.lens.push_back(len);
        self.queued += len;
    }

    /// Adds a message that goes in chunks, `wire_len` bytes in all.
    pub(super) fn push_large(&mut self, outbound: Outbound, wire_len: usize) {
        self.large.push_back(outbound);
        self.queued += wire_len;
    }

    /// Appends what may go now to `buf`: datagrams of one length, of which the last may be shorter. Gives their
    /// number too.
    #[inline]
    pub(super) fn poll(&mut self, now: Duration, buf: &mut Vec<u8>) -> Option<(Transmit, usize)> {
        let before = buf.len();
        let (first, datagrams) = if std::mem::take(&mut self.large_turn) {
            self.poll_large(now, buf).or_else(|| self.poll_small(buf))?
        } else {
            self.poll_small(buf).or_else(|| self.poll_large(now, buf))?
        };
        self.queued -= buf.len() - before;
        Some((
            Transmit {
                to: Destination::Group,
                interface: None,
                segment_size: (datagrams > 1).then_some(first),
            },
            datagrams,
        ))
    }

    /// When something may go: zero for at once.
    pub(super) fn next(&self) -> Option<Duration> {
        if !self.lens.is_empty() {
            return Some(Duration::ZERO);
        }
        Some(self.pacer.next(self.large.front()?.next_len()?))
    }

    fn poll_small(&mut self, buf: &mut Vec<u8>) -> Option<(usize, usize)> {
        let mut group = Group::default();
        while let Some(&len) = self.lens.front()
            && group.takes(len)
        {
            self.lens.pop_front();
        }
        let first = group.first?;
        let end = self.sent + group.bytes;
        buf.extend_from_slice(&self.small[self.sent..end]);
        self.sent = end;
        if self.lens.is_empty() {
            self.small.clear();
            self.sent = 0;
        }
        self.large_turn = !self.large.is_empty();
        Some((first, group.datagrams))
    }

    fn poll_large(&mut self, now: Duration, buf: &mut Vec<u8>) -> Option<(usize, usize)> {
        let outbound = self.large.front_mut()?;
        let mut group = Group::default();
        while let Some(len) = outbound.next_len()
            && self.pacer.ready(now, len)
            && group.takes(len)
        {
            self.pacer.take(len);
            outbound.write_next(buf);
        }
        if outbound.next_len().is_none() {
            self.large.pop_front();
        }
        Some((group.first?, group.datagrams))
    }
}

/// Datagrams that can be handed out together.
#[derive(Default)]
struct Group {
    first: Option<usize>,
    /// A shorter one was taken: it is the last.
    ended: bool,
    datagrams: usize,
    bytes: usize,
}

impl Group {
    /// Takes a datagram of that length, if it may follow those before.
    #[inline]
    fn takes(&mut self, len: usize) -> bool {
        let fits = match self.first {
            None => true,
            Some(first) => {
                first <= MAX_SEGMENT
                    && len <= first
                    && !self.ended
                    && self.datagrams < MAX_SEGMENTS
                    && self.bytes + len <= MAX_HANDED_OUT
            }
        };
        if fits {
            self.ended = len < *self.first.get_or_insert(len);
            self.datagrams += 1;
            self.bytes += len;
        }
        fits
    }
}

/// Lets bursts go one after the other. One that is late is made up for by going right after the one before, but
/// never more than one: so it is two at the start, and no burst is ever larger than two.
#[derive(Default)]
struct Pacer {
    /// When the next burst may begin.
    next: Duration,
    /// What is left of the present one.
    datagrams: usize,
    bytes: usize,
}

impl Pacer {
    fn ready(&mut self, now: Duration, len: usize) -> bool {
        if self.has_room(len) {
            return true;
        }
        if now < self.next {
            return false;
        }
        self.next = self.next.max(now.saturating_sub(PAUSE)) + PAUSE;
        (self.datagrams, self.bytes) = (BURST_DATAGRAMS, BURST_BYTES);
        true
    }

    fn has_room(&self, len: usize) -> bool {
        self.datagrams > 0 && len <= self.bytes
    }

    fn take(&mut self, len: usize) {
        self.datagrams -= 1;
        self.bytes = self.bytes.saturating_sub(len);
    }

    fn next(&self, len: usize) -> Duration {
        if self.has_room(len) {
            Duration::ZERO
        } else {
            self.next
        }
    }
}
