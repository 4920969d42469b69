//! When the missing chunks of one message are requested, and which (WIRE.md section 6).
//!
//! Chunks before one that has come are requested after a short delay, in which overtaken ones
//! arrive by themselves; all others once nothing has come for a while. The next request goes out
//! when the last one was answered in full, or after a pause that doubles each time.

use std::time::Duration;

use crate::proto::{receive::reassembly_buffer::ReassemblyBuffer, wire::control::MAX_ASKED};

/// How long nothing must have come of a message until its missing end is requested, and the first
/// pause after a request. It doubles each time.
const QUIET: Duration = Duration::from_millis(50);

/// A requested chunk that has not come after so long does not come any more, however long the
/// pause.
const ANSWERED_WITHIN: Duration = QUIET.saturating_mul(4);

/// The first pause towards a peer without extensions.
const SLOW_PAUSE: Duration = Duration::from_millis(500);

/// Whether missing chunks are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Repair {
    /// Not at all: the message is best effort.
    Never,
    /// From a peer without extensions: with long pauses.
    Slow,
    Quick,
}

/// The requests of one message.
pub(in crate::proto) struct ChunkNacks {
    repair: Repair,
    total: u32,
    /// One more than the highest index that has come.
    end: u32,
    /// What the last request named and has not come, in order.
    open: Vec<u32>,
    /// When chunks that are known to be missing are requested.
    hole_at: Option<Duration>,
    /// Nothing more came by itself: all missing chunks are requested.
    whole: bool,
    last: Option<Duration>,
    /// How many without any chunk between them.
    count: u32,
    pause: Duration,
    /// A requested chunk has come.
    answered: bool,
}

impl ChunkNacks {
    /// For a message of so many chunks.
    pub(in crate::proto) fn new(repair: Repair, total: u32) -> Self {
        Self {
            repair,
            total,
            end: 0,
            open: Vec::new(),
            hole_at: None,
            whole: false,
            last: None,
            count: 0,
            pause: QUIET,
            answered: false,
        }
    }

    /// When the last request went out.
    pub(in crate::proto) fn last(&self) -> Option<Duration> {
        self.last
    }

    /// Nothing could be received for a while: the last request counts as sent `later`.
    pub(in crate::proto) fn excuse(&mut self, later: impl Fn(Duration) -> Duration) {
        self.last = self.last.map(later);
    }

    /// Whether the peer follows the rules of requests and answers, and is sent requests without
    /// long pauses.
    pub(in crate::proto) fn is_quick(&self) -> bool {
        self.repair == Repair::Quick
    }

    /// Whether any request has brought something.
    pub(in crate::proto) fn answered(&self) -> bool {
        self.answered
    }

    /// How many chunks the last request named that have not come.
    pub(in crate::proto) fn open(&self) -> usize {
        self.open.len()
    }

    /// The moment from which an answer to the last request is no longer expected.
    pub(in crate::proto) fn answered_by(&self) -> Duration {
        self.last.unwrap_or_default() + self.pause.min(ANSWERED_WITHIN)
    }

    /// When the next is to go out, where the last chunk came at `last_chunk` and no more than so
    /// many attempts are made without any chunk between them.
    pub(in crate::proto) fn due(&self, last_chunk: Duration, attempts: u32) -> Option<Duration> {
        if self.repair == Repair::Never || self.count >= attempts {
            return None;
        }
        Some(match self.last {
            Some(last) if !self.open.is_empty() => last + self.pause,
            _ => {
                let quiet = last_chunk + QUIET;
                self.hole_at.map_or(quiet, |hole| hole.min(quiet))
            }
        })
    }

    /// Notes that a chunk has come, the `received`-th; returns whether it was requested. Chunks
    /// that it shows to be missing are requested at `ask_at`.
    pub(in crate::proto) fn note(
        &mut self,
        now: Duration,
        seq: u32,
        received: u32,
        ask_at: Duration,
    ) -> bool {
        self.count = 0;
        let asked = self.open.binary_search(&seq);
        if let Ok(at) = asked {
            self.answered = true;
            self.open.remove(at);
            if self.open.is_empty() {
                // The answer has come: other missing chunks are requested at once.
                self.hole_at = Some(now);
            }
        }
        if seq > self.end && self.hole_at.is_none() {
            self.hole_at = Some(ask_at);
        }
        self.end = self.end.max(seq + 1);
        if !self.whole && received == self.end {
            self.hole_at = None;
        }
        asked.is_ok()
    }

    /// Collects the indexes of the next request, which goes out now.
    pub(in crate::proto) fn ask(
        &mut self,
        now: Duration,
        last_chunk: Duration,
        slices: &ReassemblyBuffer,
        missing: &mut Vec<u32>,
    ) {
        self.whole |= now >= last_chunk + QUIET;
        let end = if self.whole { self.total } else { self.end };
        slices.missing(end, MAX_ASKED, missing);
        if missing.is_empty() {
            // The holes have been filled meanwhile.
            slices.missing(self.total, MAX_ASKED, missing);
        }
        self.open.clone_from(missing);
        self.hole_at = None;
        let first = match self.repair {
            Repair::Slow => SLOW_PAUSE,
            _ => QUIET,
        };
        self.pause = first.saturating_mul(1 << self.count.min(16));
        self.count += 1;
        self.last = Some(now);
    }

    /// The request has not gone out.
    pub(in crate::proto) fn not_sent(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// The request had room for so many of the indexes: the others were not requested.
    pub(in crate::proto) fn named(&mut self, count: usize) {
        self.open.truncate(count);
    }
}
