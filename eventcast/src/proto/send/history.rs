//! The messages that this bus has sent to the group, kept so that they can be sent again.
//!
//! Small messages are kept as their datagrams, one behind the other in blocks of memory that are
//! reused; chunked ones as the whole message, of which any chunk can be written again. The history
//! is bounded by bytes and by age, which counts from the last chunk of a chunked message, and the
//! oldest message is dropped first. A chunked message that is still being sent stays, and half a
//! second longer, since no receiver can have requested the end of it earlier.
//!
//! Of numbered chunked messages that were dropped, the last [`MAX_GONE`] ids stay with their
//! numbers: a request names a chunked message by its id, and the requester has to learn which
//! number is no longer available.
//!
//! Everything is kept as it was before it was sealed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::{Index, IndexMut},
    time::Duration,
};

use crate::proto::{hash::HashKey, send::chunker::Outbound, wire::MessageId};

/// How long a chunked message is kept after its last chunk in any case.
const AFTER_LAST_CHUNK: Duration = Duration::from_millis(500);

/// The size of a block of small messages. One that is longer has a block of its own.
const BLOCK: usize = 64 * 1024;

/// Blocks that wait to be used again. More than a few are handed back to the system.
const SPARE_BLOCKS: usize = 16;

/// The most chunked messages whose numbers stay known after they were dropped.
const MAX_GONE: usize = 1024;

/// What is reckoned for each of them: an entry of a hash table that may be half empty, and one of a
/// queue.
const GONE_COST: usize = 128;

/// At most this part of the limit is used for them, whatever the limit is.
const GONE_SHARE: usize = 16;

/// Where a chunked message stands in [`Larges`].
pub(in crate::proto) type LargeAt = usize;

pub(in crate::proto) struct History {
    limit: usize,
    max_age: Duration,
    /// The messages' own bytes.
    bytes: usize,
    /// The number of the first of `numbered`.
    first: u64,
    numbered: VecDeque<Kept>,
    /// Chunked messages that must stay although they are the oldest, by number.
    staying: BTreeMap<u64, LargeAt>,
    /// Likewise those that have none.
    staying_unnumbered: Vec<LargeAt>,
    /// Chunked messages without a number.
    unnumbered: VecDeque<LargeAt>,
    blocks: Blocks,
    pub(in crate::proto) larges: Larges,
}

#[derive(Clone, Copy)]
enum Kept {
    /// With the moment at which it was handed over.
    Small(Duration, Piece),
    Large(LargeAt),
}

/// A numbered message that is still available.
pub(in crate::proto) enum Found<'a> {
    Small(&'a [u8]),
    Large(LargeAt),
}

impl History {
    pub(in crate::proto) fn new(limit: usize, max_age: Duration, key: HashKey) -> Self {
        Self {
            limit,
            max_age,
            bytes: 0,
            first: 1,
            numbered: VecDeque::new(),
            staying: BTreeMap::new(),
            staying_unnumbered: Vec::new(),
            unnumbered: VecDeque::new(),
            blocks: Blocks::default(),
            larges: Larges::new(limit, key),
        }
    }

    /// Bytes of the messages that are kept.
    pub(in crate::proto) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes that count within the limit: these messages, and the numbers of those that were
    /// dropped.
    fn counted(&self) -> usize {
        self.bytes + self.larges.gone.bytes()
    }

    /// The lowest number that is still available; one more than the last number when none is.
    pub(in crate::proto) fn first(&self) -> u64 {
        let staying = self.staying.first_key_value();
        staying.map_or(self.first, |(number, _)| *number)
    }

    /// The last number that was given out; 0 if none was.
    pub(in crate::proto) fn last(&self) -> u64 {
        self.first + self.numbered.len() as u64 - 1
    }

    /// Keeps the next numbered message, which is one datagram.
    #[inline]
    pub(in crate::proto) fn keep_small(&mut self, now: Duration, datagram: &[u8]) {
        let piece = self.blocks.push(datagram);
        self.bytes += datagram.len();
        self.numbered.push_back(Kept::Small(now, piece));
        self.trim(now);
    }

    /// Keeps a chunked message, `numbered` if it takes the next number.
    pub(in crate::proto) fn keep_large(
        &mut self,
        now: Duration,
        large: Large,
        numbered: bool,
    ) -> LargeAt {
        self.bytes += large.outbound.message_len();
        let at = self.larges.insert(large);
        if numbered {
            self.numbered.push_back(Kept::Large(at));
        } else {
            self.unnumbered.push_back(at);
        }
        self.trim(now);
        at
    }

    /// The lowest number from this one on that is still available, or else the next one to be
    /// assigned.
    pub(in crate::proto) fn next_kept(&self, number: u64) -> u64 {
        let staying = self.staying.range(number..).next();
        let numbered = number.max(self.first);
        staying.map_or(numbered, |(staying, _)| numbered.min(*staying))
    }

    /// A message by its number.
    pub(in crate::proto) fn find(&self, number: u64) -> Option<Found<'_>> {
        if number < self.first {
            return self.staying.get(&number).copied().map(Found::Large);
        }
        let index = usize::try_from(number - self.first).ok()?;
        Some(match *self.numbered.get(index)? {
            Kept::Small(_, piece) => Found::Small(self.blocks.get(piece)),
            Kept::Large(at) => Found::Large(at),
        })
    }

    /// Drops messages that are too old, or exceed the limit.
    pub(in crate::proto) fn trim(&mut self, now: Duration) {
        if cfg!(eventcast_sabotage = "unbounded_history") {
            return;
        }
        // The messages that had to stay are older than all others.
        let larges = &mut self.larges;
        let bytes = &mut self.bytes;
        let (limit, max_age) = (self.limit, self.max_age);
        let mut stays = |at: LargeAt| {
            let too_much = *bytes + larges.gone.bytes() > limit;
            let over = too_much || larges[at].last_sent + max_age < now;
            let goes = over && larges[at].may_go(now);
            if goes {
                *bytes -= larges.remove(at);
            }
            !goes
        };
        self.staying.retain(|_, at| stays(*at));
        self.staying_unnumbered.retain(|at| stays(*at));
        while let Some((sent, has_number)) = self.oldest()
            && (self.counted() > self.limit || sent + self.max_age < now)
        {
            self.drop_oldest(now, has_number);
        }
    }

    /// When the message that goes next was sent, and whether it is one with a number.
    fn oldest(&self) -> Option<(Duration, bool)> {
        let numbered = self.numbered.front().map(|kept| match *kept {
            Kept::Small(at, _) => at,
            Kept::Large(at) => self.larges[at].last_sent,
        });
        let unnumbered = self.unnumbered.front();
        let unnumbered = unnumbered.map(|at| (self.larges[*at].last_sent, false));
        let numbered = numbered.map(|at| (at, true));
        [unnumbered, numbered].into_iter().flatten().min()
    }

    fn drop_oldest(&mut self, now: Duration, has_number: bool) {
        if !has_number {
            if let Some(large) = self.unnumbered.pop_front() {
                self.drop_large(now, None, large);
            }
        } else if let Some(kept) = self.numbered.pop_front() {
            let number = self.first;
            self.first += 1;
            match kept {
                Kept::Small(_, piece) => {
                    self.bytes -= piece.len();
                    self.blocks.pop(piece);
                }
                Kept::Large(large) => self.drop_large(now, Some(number), large),
            }
        }
    }

    fn drop_large(&mut self, now: Duration, number: Option<u64>, at: LargeAt) {
        if self.larges[at].may_go(now) {
            self.bytes -= self.larges.remove(at);
        } else if let Some(number) = number {
            self.staying.insert(number, at);
        } else {
            self.staying_unnumbered.push(at);
        }
    }
}

/// A chunked message, being sent or sent.
pub(in crate::proto) struct Large {
    pub(in crate::proto) outbound: Outbound,
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) number: Option<u64>,
    /// When the last chunk so far was handed out; before the first, when the message was emitted.
    pub(in crate::proto) last_sent: Duration,
}

impl Large {
    fn may_go(&self, now: Duration) -> bool {
        self.outbound.next_len().is_none() && self.last_sent + AFTER_LAST_CHUNK <= now
    }
}

/// Chunked messages, found by place or by id.
pub(in crate::proto) struct Larges {
    slots: Vec<Option<Large>>,
    free: Vec<LargeAt>,
    by_message: HashMap<MessageId, LargeAt, HashKey>,
    gone: Gone,
}

impl Larges {
    fn new(limit: usize, key: HashKey) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_message: HashMap::with_hasher(key),
            gone: Gone::new(limit, key),
        }
    }

    pub(in crate::proto) fn find(&self, message: MessageId) -> Option<LargeAt> {
        self.by_message.get(&message).copied()
    }

    /// The number of a message that was kept and dropped.
    pub(in crate::proto) fn number_of_gone(&self, message: MessageId) -> Option<u64> {
        self.gone.numbers.get(&message).copied()
    }

    pub(in crate::proto) fn insert(&mut self, large: Large) -> LargeAt {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_message.insert(large.message_id, at);
        self.slots[at] = Some(large);
        at
    }

    /// Gives the length of the message.
    fn remove(&mut self, at: LargeAt) -> usize {
        let large = self.slots[at].take().expect(KEPT);
        self.free.push(at);
        self.by_message.remove(&large.message_id);
        if let Some(number) = large.number {
            self.gone.insert(large.message_id, number);
        }
        large.outbound.message_len()
    }
}

/// The numbers of chunked messages that were dropped, the oldest removed first.
struct Gone {
    numbers: HashMap<MessageId, u64, HashKey>,
    order: VecDeque<MessageId>,
    capacity: usize,
}

impl Gone {
    /// For a history of so many bytes.
    fn new(limit: usize, key: HashKey) -> Self {
        Self {
            numbers: HashMap::with_hasher(key),
            order: VecDeque::new(),
            capacity: (limit / GONE_SHARE / GONE_COST).clamp(1, MAX_GONE),
        }
    }

    fn bytes(&self) -> usize {
        self.order.len() * GONE_COST
    }

    fn insert(&mut self, message: MessageId, number: u64) {
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
        if self.numbers.insert(message, number).is_none() {
            self.order.push_back(message);
        }
    }
}

const KEPT: &str = "a place is handed out for a message that is kept, and forgotten with it";

impl Index<LargeAt> for Larges {
    type Output = Large;

    fn index(&self, at: LargeAt) -> &Large {
        self.slots[at].as_ref().expect(KEPT)
    }
}

impl IndexMut<LargeAt> for Larges {
    fn index_mut(&mut self, at: LargeAt) -> &mut Large {
        self.slots[at].as_mut().expect(KEPT)
    }
}

/// Datagrams one behind the other, which go in the order in which they came.
#[derive(Default)]
struct Blocks {
    blocks: VecDeque<Block>,
    /// How many blocks were dropped.
    gone: u64,
    spare: Vec<Vec<u8>>,
}

struct Block {
    bytes: Vec<u8>,
    pieces: usize,
}

/// Where a datagram stands.
#[derive(Clone, Copy)]
struct Piece {
    block: u64,
    start: u32,
    len: u32,
}

impl Piece {
    fn len(self) -> usize {
        self.len as usize
    }
}

impl Blocks {
    #[inline]
    fn push(&mut self, datagram: &[u8]) -> Piece {
        let fits = self
            .blocks
            .back()
            .is_some_and(|block| block.bytes.capacity() - block.bytes.len() >= datagram.len());
        if !fits {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.reserve_exact(BLOCK.max(datagram.len()));
            self.blocks.push_back(Block { bytes, pieces: 0 });
        }
        let index = self.blocks.len() - 1;
        let block = &mut self.blocks[index];
        let start = block.bytes.len();
        block.bytes.extend_from_slice(datagram);
        block.pieces += 1;
        // A datagram has less than 64 KiB, and a block no more than one of these beyond its size.
        Piece {
            block: self.gone + index as u64,
            start: start as u32,
            len: datagram.len() as u32,
        }
    }

    fn get(&self, piece: Piece) -> &[u8] {
        let block = &self.blocks[(piece.block - self.gone) as usize];
        &block.bytes[piece.start as usize..][..piece.len()]
    }

    /// Drops the oldest.
    fn pop(&mut self, piece: Piece) {
        debug_assert_eq!(piece.block, self.gone);
        let alone = self.blocks.len() == 1;
        let block = &mut self.blocks[0];
        block.pieces -= 1;
        if block.pieces > 0 {
            return;
        }
        if alone {
            // The one that is being filled.
            block.bytes.clear();
            return;
        }
        let Some(Block { mut bytes, .. }) = self.blocks.pop_front() else {
            return;
        };
        self.gone += 1;
        if self.spare.len() < SPARE_BLOCKS {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::proto::send::chunker::Chunker;

    fn history(limit: usize) -> History {
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        History::new(limit, Duration::from_secs(9), key)
    }

    fn small(history: &History, number: u64) -> Option<Vec<u8>> {
        match history.find(number)? {
            Found::Small(bytes) => Some(bytes.to_vec()),
            Found::Large(_) => panic!("{number} is small"),
        }
    }

    fn large(len: usize, id: u8, number: Option<u64>) -> Large {
        let plan = Chunker::new(1000, 1 << 20, Ipv4Addr::LOCALHOST.into())
            .plan(len, 200, 8)
            .unwrap();
        Large {
            outbound: Outbound::new(vec![id; len], vec![0; 200], plan),
            message_id: MessageId([id; 20]),
            number,
            last_sent: Duration::ZERO,
        }
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn bounded_by_bytes() {
        let mut history = history(1_000_000);
        assert_eq!((history.first(), history.last()), (1, 0));
        for number in 1..=20_000u64 {
            let len = 50 + (number % 400) as usize;
            history.keep_small(at(1), &vec![number as u8; len]);
            assert!(history.bytes() <= 1_000_000);
        }
        assert_eq!(history.last(), 20_000);
        let first = history.first();
        assert!((15_000..17_000).contains(&first), "{first}");
        assert!(history.find(first - 1).is_none() && history.find(20_001).is_none());
        for number in first..=20_000 {
            let len = 50 + (number % 400) as usize;
            assert_eq!(small(&history, number), Some(vec![number as u8; len]));
        }
        let memory: usize = history
            .blocks
            .blocks
            .iter()
            .map(|b| b.bytes.capacity())
            .sum();
        assert!(memory < 1_200_000, "{memory}");
        assert!(history.blocks.spare.len() <= SPARE_BLOCKS);
    }

    #[test]
    fn bounded_by_age() {
        let mut history = history(1_000_000);
        history.keep_small(at(1), b"one");
        history.keep_small(at(5), b"two");
        history.trim(at(10));
        assert_eq!(history.first(), 1);
        history.trim(at(11));
        assert_eq!((history.first(), history.last()), (2, 2));
        history.trim(at(100));
        assert_eq!(
            (history.first(), history.last(), history.bytes()),
            (3, 2, 0)
        );
        history.keep_small(at(100), b"three");
        assert_eq!(small(&history, 3), Some(b"three".to_vec()));
    }

    #[test]
    fn the_age_of_a_large_one_counts_from_its_last_chunk() {
        let mut history = history(1_000_000);
        let numbered = history.keep_large(at(0), large(5_000, 1, Some(1)), true);
        let other = history.keep_large(at(0), large(5_000, 2, None), false);
        history.keep_small(at(1), b"behind it");
        // It is sent slowly, or waits for others.
        for secs in 1..=25 {
            for large in [numbered, other] {
                let large = &mut history.larges[large];
                if large.outbound.next_len().is_some() && secs % 5 == 0 {
                    large.outbound.write_next(&mut Vec::new());
                    large.last_sent = at(secs);
                }
            }
            history.trim(at(secs));
        }
        for large in [numbered, other] {
            assert_eq!(history.larges[large].outbound.next_len(), None);
        }
        history.trim(at(34));
        assert!(matches!(history.find(1), Some(Found::Large(_))));
        assert!(history.larges.find(MessageId([2; 20])).is_some());
        history.trim(at(35));
        assert!(history.find(1).is_none());
        assert_eq!(history.bytes(), 0);
    }

    #[test]
    fn a_datagram_longer_than_a_block() {
        let mut history = history(1_000_000);
        history.keep_small(at(1), b"one");
        history.keep_small(at(1), &[7; 65_500]);
        history.keep_small(at(1), b"three");
        assert_eq!(small(&history, 2), Some(vec![7; 65_500]));
        assert_eq!(small(&history, 3), Some(b"three".to_vec()));
    }

    #[test]
    fn what_is_being_sent_stays() {
        let mut history = history(100_000);
        let mut out = Vec::new();
        let first = history.keep_large(at(1), large(60_000, 1, Some(1)), true);
        history.keep_large(at(1), large(60_000, 2, None), false);
        for number in 3..=1000u64 {
            history.keep_small(at(1), &[number as u8; 500]);
        }
        // Neither of the two has been sent: they fill the history, and nothing else stays.
        assert_eq!((history.first(), history.bytes()), (1, 120_000));
        assert!(matches!(history.find(1), Some(Found::Large(at)) if at == first));
        assert!(history.find(999).is_none());
        assert_eq!(history.larges.find(MessageId([2; 20])), Some(1));

        let sent = &mut history.larges[first];
        while sent.outbound.next_len().is_some() {
            sent.outbound.write_next(&mut out);
        }
        sent.last_sent = at(2);
        history.trim(at(2));
        assert_eq!(history.first(), 1, "half a second more");
        history.trim(at(3));
        assert!(history.find(1).is_none());
        assert_eq!(history.larges.find(MessageId([1; 20])), None);
        assert_eq!(
            (history.first(), history.bytes()),
            (history.last() + 1, 60_000)
        );
        history.keep_small(at(3), b"kept");
        assert_eq!(small(&history, history.last()), Some(b"kept".to_vec()));
    }

    /// Ids of messages, as different as those on the wire.
    fn id(i: u32) -> MessageId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&i.to_be_bytes());
        MessageId(id)
    }

    fn sent(now: Duration, number: Option<u64>, i: u32) -> Large {
        let mut large = large(3_000, 0, number);
        large.last_sent = now;
        large.message_id = id(i);
        while large.outbound.next_len().is_some() {
            large.outbound.write_next(&mut Vec::new());
        }
        large
    }

    #[test]
    fn the_numbers_of_chunked_messages_that_have_gone_stay_known_within_a_bound() {
        const MESSAGES: u64 = 3_000;
        // As few bytes as there may be, and many.
        for (limit, known) in [(3_200, 1), (100_000, 48), (64 << 20, MAX_GONE as u64)] {
            let mut history = history(limit);
            for number in 1..=MESSAGES {
                let i = number as u32;
                let large = sent(at(number), Some(number), i);
                history.keep_large(at(number), large, true);
                assert_eq!(history.larges.number_of_gone(id(i)), None);
                assert!(history.counted() <= limit + 3_000);
            }
            history.trim(at(2 * MESSAGES));
            let counted = known as usize * GONE_COST;
            assert_eq!((history.bytes(), history.counted()), (0, counted));
            assert_eq!(history.larges.gone.numbers.len() as u64, known);
            for number in 1..=MESSAGES {
                let gone = history.larges.number_of_gone(id(number as u32));
                assert_eq!(gone, (number > MESSAGES - known).then_some(number));
            }
        }
    }

    #[test]
    fn what_had_to_stay_goes_before_what_is_younger() {
        for numbered in [true, false] {
            let mut history = history(200_000);
            let mut old = large(150_000, 1, numbered.then_some(1));
            while old.outbound.next_len().is_some() {
                old.outbound.write_next(&mut Vec::new());
            }
            old.last_sent = at(1);
            history.keep_large(at(1), old, numbered);
            for _ in 0..100 {
                history.keep_small(at(1), &[7; 1_000]);
            }
            // It was sent only just now, and dropped to make room.
            assert!(history.larges.find(MessageId([1; 20])).is_some());
            let first = history.next_kept(2);
            assert!(history.last() - first < 60, "{first}");
            history.keep_small(at(2), &[7; 1_000]);
            assert!(history.larges.find(MessageId([1; 20])).is_none());
            assert_eq!(history.first(), first);
        }
    }

    #[test]
    fn chunked_messages_without_a_number_leave_nothing_behind() {
        let mut history = history(100_000);
        for i in 1..=100 {
            history.keep_large(at(i), sent(at(i), None, i as u32), false);
        }
        history.trim(at(1_000));
        assert_eq!(history.bytes(), 0);
        assert_eq!(history.larges.number_of_gone(id(1)), None);
    }
}
