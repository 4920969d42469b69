//! One stream's numbers: which message is delivered next, which ones wait for an earlier one, and
//! what is missing.
//!
//! A stream is all that one incarnation of one sender has sent with numbers (WIRE.md section 7).
//! Its messages are delivered once, in the order of their numbers, at once while nothing is
//! missing. A missing number is in [`NackList`], or belongs to a chunked message that is being
//! reassembled; one that is over is skipped, and the messages behind it follow.
//!
//! Numbers that only a hello or a bye has claimed are requested as well, but not relied on: when
//! nothing comes of them they are reported as lost and not skipped, so that a forged claim costs
//! nothing but a false alarm.
//!
//! Not responsible for the check of claims, for sending requests, or for bounds on memory over all
//! streams.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use crate::proto::{
    cost::{allocation, tree_entry},
    ranges::RangeSet,
    receive::{events::MessageFacts, peer::Peer},
    repair::nack_list::{Filled, GAP_COST, NackList, Span},
};

/// How far a number may be beyond the last known one (WIRE.md section 7).
pub(in crate::proto) const FARTHEST: u64 = 65_536;

/// Most gaps of one stream: as many as there are when every other accepted number is missing.
/// Beyond that the first gap is lost.
pub(in crate::proto) const MAX_GAPS: usize = FARTHEST as usize / 2;

/// What an entry of [`ReorderBuffer::waiting`] takes.
const SLOT_COST: usize = tree_entry(size_of::<(u64, Slot)>());

/// What is to become of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Verdict {
    /// It was received, skipped, or is not owed.
    Over,
    /// It is the next one.
    Next,
    /// Earlier ones are delivered first.
    Ahead,
    /// It is farther away than can be believed.
    Far,
}

/// A message that waits for an earlier one.
pub(in crate::proto) enum Held {
    /// The name, and behind it the arguments.
    Small {
        text: Box<[u8]>,
        name_len: usize,
        element_type: u8,
        facts: MessageFacts,
    },
    /// A message that was put together, with its buffer.
    Large {
        name: Box<str>,
        buffer: Vec<u8>,
        element_type: u8,
        value: Range<usize>,
        facts: MessageFacts,
    },
}

impl Held {
    /// Its sender.
    pub(in crate::proto) fn peer(&self) -> &Peer {
        match self {
            Self::Small { facts, .. } | Self::Large { facts, .. } => &facts.peer,
        }
    }

    /// What it takes, beside its entry among those that wait.
    fn cost(&self) -> usize {
        allocation(size_of::<Self>())
            + match self {
                Self::Small { text, .. } => allocation(text.len()),
                Self::Large { name, buffer, .. } => {
                    allocation(name.len()) + allocation(buffer.capacity())
                }
            }
    }
}

enum Slot {
    /// A message, and what it takes.
    Message(Box<Held>, u32),
    /// From this number to that one everything is lost.
    Lost(u64),
}

pub(in crate::proto) struct ReorderBuffer {
    /// The first number that is owed.
    first: u64,
    /// The next number to be delivered; everything before it is over.
    next: u64,
    /// Nothing is delivered until it is known where the stream begins, or this time has come.
    undecided_until: Option<Duration>,
    /// Only a hello has named the first number: a message may still correct it.
    tentative: bool,
    /// The highest number of a received message, or the one before the first that is owed.
    highest: u64,
    /// The highest number that a hello or a bye has claimed.
    claimed: u64,
    /// Of the claimed numbers, those that were reported lost.
    reported: RangeSet,
    waiting: BTreeMap<u64, Slot>,
    gaps: NackList,
    /// Numbers of chunked messages that are being put together, and how many attempts at each.
    partial: BTreeMap<u64, u32>,
    /// How many messages wait, and what they take.
    messages: usize,
    held: usize,
}

impl ReorderBuffer {
    /// Begins with the first number that is owed, `tentative` if only a hello named it. Lower ones
    /// are not owed.
    pub(in crate::proto) fn new(first: u64, tentative: bool) -> Self {
        debug_assert!(first > 0, "numbers count from 1");
        Self {
            first,
            next: first,
            undecided_until: None,
            tentative,
            highest: first - 1,
            claimed: 0,
            reported: RangeSet::default(),
            waiting: BTreeMap::new(),
            gaps: NackList::default(),
            partial: BTreeMap::new(),
            messages: 0,
            held: 0,
        }
    }

    /// Goes on with what [`retire`](Self::retire) returned: no lower number is owed any more,
    /// whatever a hello claims, unless only a hello had named the first one.
    pub(in crate::proto) fn resumed(retired: Retired) -> Self {
        let Retired {
            next,
            claimed,
            tentative,
        } = retired;
        let mut reported = RangeSet::default();
        if claimed >= next {
            reported.insert((next, claimed));
        }
        let order = Self {
            claimed,
            reported,
            ..Self::new(next, tentative)
        };
        let first = if tentative { order.first } else { 1 };
        Self { first, ..order }
    }

    /// Begins the stream of a sender that was received before without a stream, and of which
    /// everything up to `next` was delivered or reported. To be called before anything of the
    /// stream is noted. `true`: what a hello had claimed of it before is forgotten.
    pub(in crate::proto) fn begin_unfollowed(&mut self, next: u64) -> bool {
        let was_followed = self.first < self.next;
        let next = if was_followed {
            next.max(self.next)
        } else {
            next
        };
        // A message before the first number that a hello has named: it was of another time, or a
        // lie, and so is what it claimed.
        let is_lie = self.tentative && next <= self.first;
        let claimed = if is_lie { 0 } else { self.claimed };
        *self = Self::resumed(Retired {
            next,
            claimed,
            tentative: false,
        });
        is_lie
    }

    /// Ends the stream, to make room: returns the state with which a later stream of the same
    /// sender goes on, unless only a hello was received of it that claims nothing, and the numbers
    /// that are lost thereby.
    pub(in crate::proto) fn retire(mut self) -> (Option<Retired>, RetiredLosses) {
        let mut lost = Vec::new();
        let mut from = self.next;
        for (first, slot) in std::mem::take(&mut self.waiting) {
            // What was passed has been reported. A message that waits is lost like what is missing
            // before it.
            let Slot::Lost(last) = slot else { continue };
            if from < first {
                lost.push((from, first - 1));
            }
            from = from.max(last + 1);
        }
        if from <= self.highest {
            lost.push((from, self.highest));
        }
        // A number that is only claimed is lost as elsewhere: reported, and not skipped.
        let mut claims = Vec::new();
        while let Some((first, last)) = self.gaps.take_up_to(u64::MAX) {
            let first = first.max(self.highest + 1);
            if first <= last {
                claims.push((first, last));
            }
        }
        let retired = Retired {
            next: from.max(self.highest + 1),
            claimed: self.claimed,
            tentative: self.tentative,
        };
        let is_kept = !retired.tentative || retired.claimed >= retired.next;
        let lost = RetiredLosses { lost, claims };
        (is_kept.then_some(retired), lost)
    }

    /// Bytes of what waits, and of what is known of what is missing.
    pub(in crate::proto) fn held(&self) -> usize {
        self.held + self.waiting.len() * SLOT_COST + self.gaps.len() * GAP_COST
    }

    /// Whether there are more gaps than are kept.
    pub(in crate::proto) fn has_too_many_gaps(&self) -> bool {
        self.gaps.len() > MAX_GAPS
    }

    pub(in crate::proto) fn gaps(&mut self) -> &mut NackList {
        &mut self.gaps
    }

    pub(in crate::proto) fn due(&self) -> Option<Duration> {
        let gaps = self.gaps.due();
        self.undecided_until.map_or(gaps, |until| {
            Some(gaps.map_or(until, |gaps| gaps.min(until)))
        })
    }

    /// From now on nothing is delivered until [`begin_at`](Self::begin_at), which is to be called
    /// by this time.
    pub(in crate::proto) fn wait_for_beginning(&mut self, until: Duration) {
        self.undecided_until = Some(until);
    }

    /// Begins with the number that is first now.
    pub(in crate::proto) fn begin_undecided(&mut self) {
        self.undecided_until = None;
    }

    /// Until when the beginning may stay open, if it is.
    pub(in crate::proto) fn undecided_until(&self) -> Option<Duration> {
        self.undecided_until
    }

    /// The next number to be delivered.
    pub(in crate::proto) fn next_number(&self) -> u64 {
        self.next
    }

    /// The first number that is owed, as far as is known.
    pub(in crate::proto) fn first(&self) -> u64 {
        self.first
    }

    /// Makes this the first number that is owed, if it is lower than the present one, and lets the
    /// stream begin. The additional numbers are missing from now on; where later ones were
    /// delivered already, or they are too many to request, they are returned instead, to be
    /// reported as lost.
    pub(in crate::proto) fn begin_at(
        &mut self,
        now: Duration,
        first: u64,
        due: Duration,
    ) -> Option<Span> {
        self.undecided_until = None;
        if first >= self.first || first == 0 {
            return None;
        }
        let missing = (first, self.first - 1);
        let is_under_way = self.next > self.first;
        let only_claimed = self.highest < self.first;
        self.first = first;
        if is_under_way || missing.1 - missing.0 >= FARTHEST {
            return Some(missing);
        }
        self.next = first;
        if only_claimed {
            // No message was received: the missing numbers are claims like the others.
            self.highest = first - 1;
            self.claimed = self.claimed.max(missing.1);
        }
        self.gaps.add(now, missing, due);
        None
    }

    /// The last number known.
    pub(in crate::proto) fn known(&self) -> u64 {
        self.highest.max(self.claimed)
    }

    /// What is to become of a message with this number.
    #[inline]
    pub(in crate::proto) fn place(&self, number: u64) -> Verdict {
        let is_undecided = self.undecided_until.is_some();
        if number == self.next && !is_undecided {
            return Verdict::Next;
        }
        if number < self.next {
            return if self.tentative || is_undecided {
                Verdict::Ahead
            } else {
                Verdict::Over
            };
        }
        if number > self.known() && number - self.known() > FARTHEST {
            return Verdict::Far;
        }
        match self.waiting.range(..=number).next_back() {
            Some((&at, Slot::Message(..))) if at == number => Verdict::Over,
            Some((_, Slot::Lost(last))) if *last >= number => Verdict::Over,
            _ => Verdict::Ahead,
        }
    }

    /// Whether a message with this number would show that the stream begins earlier than it seems
    /// to.
    pub(in crate::proto) fn would_begin_at(&self, number: u64) -> bool {
        number < self.next && (self.tentative || self.undecided_until.is_some())
    }

    /// Notes that a message with this number exists: those before it that are not there are missing
    /// from now on, and it is not. Gives whether it was missing, and how it came.
    #[inline]
    pub(in crate::proto) fn note(&mut self, now: Duration, number: u64, due: Duration) -> Filled {
        if std::mem::take(&mut self.tentative) && number < self.next {
            // The hello was of another time, or a lie: what it claimed is forgotten.
            self.gaps.forget_above(0);
            (self.first, self.next, self.highest) = (number, number, number);
            self.claimed = 0;
            self.reported.clear();
            return Filled {
                not_lost: Some((0, u64::MAX)),
                ..Filled::default()
            };
        }
        if number < self.next && self.undecided_until.is_some() {
            // It was overtaken by the one with which the stream seemed to begin.
            if number + 1 < self.next {
                self.gaps.add(now, (number + 1, self.next - 1), due);
            }
            (self.first, self.next) = (number, number);
            return Filled::default();
        }
        if number == self.highest + 1 && self.claimed <= self.highest {
            // Nothing missing, nothing claimed: the usual case.
            self.highest = number;
            return Filled::default();
        }
        self.note_out_of_order(now, number, due)
    }

    fn note_out_of_order(&mut self, now: Duration, number: u64, due: Duration) -> Filled {
        let mut not_lost = None;
        while let Some((first, last)) = self.reported.first()
            && first <= number
        {
            // A message behind a lost number skips it for good.
            self.reported.remove((first, last));
            if first < number {
                self.skip((first, last.min(number - 1)));
            }
            if number < last {
                self.reported.insert((number + 1, last));
            }
            if number <= last {
                not_lost = Some((number, number));
            }
        }
        let known = self.known();
        if number > known {
            if number > known + 1 {
                self.gaps.add(now, (known + 1, number - 1), due);
            }
            self.highest = number;
            return Filled::default();
        }
        self.highest = self.highest.max(number);
        Filled {
            not_lost,
            ..self.gaps.fill(now, number).unwrap_or_default()
        }
    }

    /// Takes a claim that numbers up to `last` exist. A lower claim withdraws a higher one: then
    /// returns the numbers that no claim covers any more.
    pub(in crate::proto) fn claim(
        &mut self,
        now: Duration,
        last: u64,
        due: Duration,
    ) -> Option<Span> {
        let known = self.known();
        let mut taken_back = None;
        if last > known {
            self.gaps.add(now, (known + 1, last), due);
        } else if last < known && self.claimed > self.highest {
            let rest = last.max(self.highest);
            self.gaps.forget_above(rest);
            self.reported.remove_above(rest);
            taken_back = Some((rest + 1, u64::MAX));
        }
        self.claimed = last;
        taken_back
    }

    /// The highest number of a received message.
    pub(in crate::proto) fn highest(&self) -> u64 {
        self.highest
    }

    /// Everything above a number was made up: it is forgotten, and the messages that wait there are
    /// returned. Numbers there that were delivered or skipped count as not received, so that the
    /// true ones can come.
    pub(in crate::proto) fn forget_above(&mut self, number: u64) -> Vec<Held> {
        let Some(above) = number.checked_add(1) else {
            return Vec::new();
        };
        (self.first, self.next) = (self.first.min(above), self.next.min(above));
        self.highest = self.highest.min(number);
        self.claimed = self.claimed.min(number);
        self.gaps.forget_above(number);
        self.partial.split_off(&above);
        self.reported.remove_above(number);
        let forgotten = self.waiting.split_off(&above);
        if let Some(mut last) = self.waiting.last_entry()
            && let Slot::Lost(until) = last.get_mut()
        {
            *until = number.min(*until);
        }
        let mut messages = Vec::new();
        for slot in forgotten.into_values() {
            if let Slot::Message(held, cost) = slot {
                self.messages -= 1;
                self.held -= cost as usize;
                messages.push(*held);
            }
        }
        messages
    }

    /// Takes out a piece of what is missing before a number.
    pub(in crate::proto) fn take_missing_below(&mut self, number: u64) -> Option<Span> {
        self.gaps.take_up_to(number.checked_sub(1)?)
    }

    /// Keeps a message until it is next. Its sender's description takes so many bytes more, unless
    /// the stream keeps the same one.
    pub(in crate::proto) fn hold(&mut self, number: u64, held: Held, peer_cost: usize) {
        let cost = u32::try_from(held.cost() + peer_cost).unwrap_or(u32::MAX);
        self.messages += 1;
        self.held += cost as usize;
        let slot = Slot::Message(Box::new(held), cost);
        self.waiting.insert(number, slot);
    }

    /// The next number is delivered by the caller.
    #[inline]
    pub(in crate::proto) fn advance(&mut self) {
        self.next += 1;
    }

    /// Whether the waiting messages are about to be released, or wait for something that will come
    /// or end.
    pub(in crate::proto) fn waits_for_something(&self) -> bool {
        let first = self.waiting.first_key_value();
        self.held == 0
            || first.is_some_and(|(&first, _)| first <= self.next)
            || self.undecided_until.is_some()
            || !self.gaps.is_empty()
            || !self.partial.is_empty()
    }

    /// Whether anything waits, so that [`release`](Self::release) may give something.
    #[inline]
    pub(in crate::proto) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something can be dropped to make room.
    #[inline]
    pub(in crate::proto) fn can_give_up(&self) -> bool {
        self.messages > 0 || !self.gaps.is_empty() || self.undecided_until.is_some()
    }

    /// Whether a message is being put together.
    pub(in crate::proto) fn has_partials(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The next message to deliver.
    pub(in crate::proto) fn release(&mut self) -> Option<Held> {
        if self.undecided_until.is_some() {
            return None;
        }
        loop {
            let entry = self.waiting.first_entry()?;
            if *entry.key() > self.next {
                return None;
            }
            match entry.remove() {
                Slot::Lost(last) => self.next = self.next.max(last + 1),
                Slot::Message(held, cost) => {
                    self.messages -= 1;
                    self.held -= cost as usize;
                    self.next += 1;
                    return Some(*held);
                }
            }
        }
    }

    /// Chunks of this number are being put together: it needs no asking for.
    pub(in crate::proto) fn open_partial(
        &mut self,
        now: Duration,
        number: u64,
        due: Duration,
    ) -> Filled {
        *self.partial.entry(number).or_default() += 1;
        self.note(now, number, due)
    }

    /// One attempt at putting this number together has ended without a message. Gives whether it
    /// was the last one, so that the number is lost.
    pub(in crate::proto) fn close_partial(&mut self, number: u64) -> bool {
        let Some(attempts) = self.partial.get_mut(&number) else {
            return false;
        };
        *attempts -= 1;
        if *attempts > 0 {
            return false;
        }
        self.partial.remove(&number);
        !matches!(self.place(number), Verdict::Over)
    }

    /// Whether chunks of this number are being put together.
    pub(in crate::proto) fn is_partial(&self, number: u64) -> bool {
        self.partial.contains_key(&number)
    }

    /// The message of this number is complete: other attempts at it are dropped.
    pub(in crate::proto) fn forget_partial(&mut self, number: u64) {
        self.partial.remove(&number);
    }

    /// Skips numbers that will not come. They must not be missing any more.
    pub(in crate::proto) fn skip(&mut self, (mut first, mut last): Span) {
        // Passed ranges that touch are one, so that there are no more of them than of what lies
        // between.
        if let Some((&start, Slot::Lost(until))) = self.waiting.range(..first).next_back()
            && *until + 1 >= first
        {
            (first, last) = (start, last.max(*until));
        }
        if let Some(&Slot::Lost(until)) = self.waiting.get(&(last + 1)) {
            self.waiting.remove(&(last + 1));
            last = until;
        }
        self.waiting.insert(first, Slot::Lost(last));
    }

    /// Whether a gap that is over consists of claimed numbers alone; then they are not passed, and
    /// what was reported of them is remembered.
    pub(in crate::proto) fn is_mere_claim(&mut self, (first, last): Span) -> bool {
        if first <= self.highest {
            return false;
        }
        self.reported.insert((first, last));
        true
    }

    /// Passes everything up to a number that turned out to be far away, which is the next one now;
    /// gives what is thereby lost beyond what is missing already.
    pub(in crate::proto) fn jump(&mut self, number: u64) -> Option<Span> {
        let known = self.known();
        let lost = (known + 1, number.checked_sub(1)?);
        if lost.0 > lost.1 {
            return None;
        }
        self.tentative = false;
        // Numbers reported lost on a mere claim are below, and a message is behind them now.
        while let Some(given_up) = self.reported.first() {
            self.reported.remove(given_up);
            self.skip(given_up);
        }
        self.skip(lost);
        self.highest = lost.1;
        Some(lost)
    }

    /// Removes the first gap, which blocks everything that waits, to make room. With it go the
    /// messages that are being reassembled there. Numbers of it that were skipped before are left
    /// out of `lost`.
    pub(in crate::proto) fn give_up_first(&mut self, lost: &mut Vec<Span>) -> Option<GivenUp> {
        // Passed numbers alone may be many, and stay until the gaps between them are over.
        if self.messages == 0 {
            return self.give_up_gap(lost);
        }
        let mut slots = self.waiting.iter();
        let (&waits, _) = slots.find(|(_, slot)| matches!(slot, Slot::Message(..)))?;
        let passed = (self.next, waits.checked_sub(1)?);
        if passed.0 > passed.1 {
            return None;
        }
        while self.gaps.take_up_to(passed.1).is_some() {}
        let rest = self.partial.split_off(&waits);
        let partials = std::mem::replace(&mut self.partial, rest).len();
        let rest = self.waiting.split_off(&waits);
        let mut from = passed.0;
        for (first, slot) in std::mem::replace(&mut self.waiting, rest) {
            let Slot::Lost(last) = slot else { continue };
            if from < first {
                lost.push((from, first - 1));
            }
            from = from.max(last + 1);
        }
        if from <= passed.1 {
            lost.push((from, passed.1));
        }
        self.skip(passed);
        Some(GivenUp {
            numbers: passed,
            partials: partials > 0,
            is_claim: false,
        })
    }

    /// The same where nothing waits.
    fn give_up_gap(&mut self, lost: &mut Vec<Span>) -> Option<GivenUp> {
        let gap = self.gaps.take_up_to(u64::MAX)?;
        let is_claim = self.is_mere_claim(gap);
        if !is_claim {
            self.skip(gap);
        }
        lost.push(gap);
        Some(GivenUp {
            numbers: gap,
            partials: false,
            is_claim,
        })
    }
}

/// How far a stream was that has made room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Retired {
    /// The next number to be delivered: what is before was delivered or reported.
    pub(in crate::proto) next: u64,
    /// The highest number that was claimed: what is from `next` to there was reported.
    pub(in crate::proto) claimed: u64,
    /// Only a hello has named `next`: a message may still correct it.
    pub(in crate::proto) tentative: bool,
}

impl Retired {
    /// Whether a number was delivered or reported for good.
    pub(in crate::proto) fn is_over(self, number: u64) -> bool {
        number < self.next && !self.tentative
    }
}

/// What is lost of a stream that has made room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::proto) struct RetiredLosses {
    /// Numbers that are passed: they are not delivered any more.
    pub(in crate::proto) lost: Vec<Span>,
    /// Numbers that were only claimed, and may still come.
    pub(in crate::proto) claims: Vec<Span>,
}

impl RetiredLosses {
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.claims.is_empty()
    }
}

/// What was dropped to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct GivenUp {
    pub(in crate::proto) numbers: Span,
    /// Some of it was being put together.
    pub(in crate::proto) partials: bool,
    /// It was only claimed, and may still come.
    pub(in crate::proto) is_claim: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::MessageId;

    const DUE: Duration = Duration::from_millis(5);
    const NOW: Duration = Duration::ZERO;
    const TTL: Duration = Duration::from_secs(3);

    fn held(number: u64) -> Held {
        Held::Small {
            text: Box::new([0; 100]),
            name_len: 4,
            element_type: 4,
            facts: MessageFacts {
                sealed: false,
                peer: Arc::new(Peer {
                    id: "p".into(),
                    incarnation: Some(1),
                    hostname: String::new(),
                    host: String::new(),
                    port: 1,
                    address: ([127, 0, 0, 1], 1).into(),
                }),
                time: None,
                number: Some(number),
                schema: None,
                message_id: MessageId::default(),
            },
        }
    }

    fn begun(next: u64) -> ReorderBuffer {
        ReorderBuffer::new(next, false)
    }

    /// What an engine does with a message; gives the numbers that are delivered thereby.
    fn receive(order: &mut ReorderBuffer, number: u64) -> Vec<u64> {
        let mut delivered = Vec::new();
        match order.place(number) {
            Verdict::Over | Verdict::Far => return delivered,
            Verdict::Next => {
                order.note(NOW, number, DUE);
                order.advance();
                delivered.push(number);
            }
            Verdict::Ahead => {
                order.note(NOW, number, DUE);
                order.hold(number, held(number), 0);
            }
        }
        delivered.extend(released(order));
        delivered
    }

    fn released(order: &mut ReorderBuffer) -> Vec<u64> {
        std::iter::from_fn(|| order.release())
            .map(|held| match held {
                Held::Small { facts, .. } => facts.number.unwrap(),
                Held::Large { .. } => unreachable!("none is held here"),
            })
            .collect()
    }

    fn missing(order: &mut ReorderBuffer) -> Vec<Span> {
        let mut spans = Vec::new();
        order.gaps().to_ask(DUE, 64, &mut spans);
        order.gaps().asked(DUE, TTL, &spans);
        spans
    }

    #[test]
    fn in_order_nothing_waits() {
        let mut order = begun(1);
        for number in 1..100 {
            assert_eq!(receive(&mut order, number), [number]);
            assert!(!order.has_waiting() && order.due().is_none());
        }
        assert!(receive(&mut order, 50).is_empty());
    }

    #[test]
    fn what_is_ahead_waits_for_what_is_missing() {
        let mut order = begun(1);
        assert!(receive(&mut order, 3).is_empty());
        assert!(receive(&mut order, 3).is_empty(), "a double");
        assert!(receive(&mut order, 6).is_empty());
        assert_eq!(
            order.held(),
            2 * (SLOT_COST + allocation(size_of::<Held>()) + allocation(100) + GAP_COST)
        );
        assert_eq!(missing(&mut order), [(1, 2), (4, 5)]);
        assert_eq!(receive(&mut order, 1), [1]);
        assert_eq!(receive(&mut order, 2), [2, 3]);
        assert!(receive(&mut order, 5).is_empty());
        assert_eq!(receive(&mut order, 4), [4, 5, 6]);
        assert_eq!((order.held(), order.due()), (0, None));
    }

    #[test]
    fn what_is_passed_lets_the_others_through_and_does_not_come_back() {
        let mut order = begun(1);
        receive(&mut order, 4);
        receive(&mut order, 8);
        assert_eq!(order.gaps().take_up_to(u64::MAX), Some((1, 3)));
        order.skip((2, 3));
        assert!(released(&mut order).is_empty());
        assert_eq!(order.place(2), Verdict::Over);
        assert_eq!(order.place(1), Verdict::Next);
        order.skip((1, 1));
        assert_eq!(released(&mut order), [4]);
        let mut lost = Vec::new();
        let given_up = GivenUp {
            numbers: (5, 7),
            partials: false,
            is_claim: false,
        };
        assert_eq!(order.give_up_first(&mut lost), Some(given_up));
        assert_eq!(lost, [(5, 7)]);
        assert_eq!(released(&mut order), [8]);
        assert_eq!(order.give_up_first(&mut lost), None);
        assert!(order.gaps().is_empty());
    }

    #[test]
    fn far_numbers_are_not_believed() {
        let mut order = begun(1);
        assert_eq!(order.place(FARTHEST), Verdict::Ahead);
        assert_eq!(order.place(FARTHEST + 1), Verdict::Far);
        assert_eq!(order.jump(1_000_000), Some((1, 999_999)));
        assert!(released(&mut order).is_empty());
        assert_eq!(receive(&mut order, 1_000_000), [1_000_000]);
    }

    #[test]
    fn a_claim_is_asked_for_and_can_be_taken_back() {
        let mut order = begun(1);
        order.claim(NOW, 5, DUE);
        assert_eq!(missing(&mut order), [(1, 5)]);
        assert_eq!(receive(&mut order, 1), [1]);
        order.claim(NOW, 3, DUE);
        assert_eq!(order.gaps().take_up_to(9), Some((2, 3)));
        assert!(order.gaps().is_empty());
        // The number counts on from what messages have shown.
        assert_eq!(receive(&mut order, 2), [2]);
    }

    #[test]
    fn a_claim_of_which_nothing_comes_costs_nothing() {
        let mut order = begun(1);
        assert_eq!(receive(&mut order, 1), [1]);
        order.claim(NOW, 60_000, DUE);
        let over = order.gaps().give_up(TTL, TTL).unwrap();
        assert_eq!(over, (2, 60_000));
        assert!(order.is_mere_claim(over));
        order.claim(NOW, 60_000, DUE);
        assert!(order.gaps().is_empty(), "reported once");
        assert_eq!(receive(&mut order, 2), [2]);
        assert_eq!(receive(&mut order, 3), [3]);
        // Numbers that were reported as lost are skipped, and not requested, when they are below
        // the present number.
        assert!(receive(&mut order, 60_002).is_empty());
        assert_eq!(missing(&mut order), [(60_001, 60_001)]);
        assert_eq!(receive(&mut order, 60_001), [60_001, 60_002]);
    }

    #[test]
    fn what_was_given_up_on_a_claim_is_passed_by_a_jump() {
        let mut order = begun(1);
        order.claim(NOW, 54, DUE);
        let gone = order.take_missing_below(1_000_000).unwrap();
        assert_eq!(gone, (1, 54));
        assert!(order.is_mere_claim(gone));
        assert_eq!(order.jump(1_000_000), Some((55, 999_999)));
        assert_eq!(receive(&mut order, 1_000_000), [1_000_000]);
        assert_eq!((order.held(), order.due()), (0, None));
    }

    #[test]
    fn a_hello_begins_for_the_time_being() {
        let mut order = ReorderBuffer::new(1001, true);
        order.claim(NOW, 1005, DUE);
        assert_eq!(receive(&mut order, 7), [7]);
        assert_eq!(receive(&mut order, 8), [8]);
        assert!(receive(&mut order, 6).is_empty());
        assert!(receive(&mut order, 10).is_empty());
        assert_eq!(missing(&mut order), [(9, 9)]);
        let mut order = ReorderBuffer::new(1001, true);
        assert_eq!(receive(&mut order, 1001), [1001]);
        assert!(receive(&mut order, 7).is_empty());
    }

    #[test]
    fn what_makes_room_is_delivered_or_lost_once_and_goes_on_behind() {
        let mut order = begun(1);
        assert_eq!(receive(&mut order, 1), [1]);
        for number in [4, 5, 9] {
            assert!(receive(&mut order, number).is_empty());
        }
        assert_eq!(order.gaps().take_up_to(7), Some((2, 3)));
        order.skip((2, 3));
        assert_eq!(released(&mut order), [4, 5]);
        order.open_partial(NOW, 11, DUE);
        assert!(order.has_partials());
        order.claim(NOW, 20, DUE);
        let (retired, RetiredLosses { lost, claims }) = order.retire();
        assert_eq!((lost, claims), (vec![(6, 11)], vec![(12, 20)]));

        let mut order = ReorderBuffer::resumed(retired.unwrap());
        assert_eq!(order.begin_at(NOW, 1, DUE), None, "nothing before is owed");
        assert!(receive(&mut order, 9).is_empty());
        order.claim(NOW, 20, DUE);
        assert!(order.gaps().is_empty(), "reported once");
        assert_eq!(receive(&mut order, 12), [12]);
        order.claim(NOW, 21, DUE);
        assert_eq!(missing(&mut order), [(21, 21)]);
        assert_eq!(order.retire().1.claims, [(21, 21)]);
        // Where only a hello was heard, nothing is known.
        let order = ReorderBuffer::new(1001, true);
        assert_eq!(order.retire(), (None, RetiredLosses::default()));
        // What it claims may come, and a lower number shows that it was a lie.
        let mut order = ReorderBuffer::new(1001, true);
        order.claim(NOW, 1005, DUE);
        let (retired, losses) = order.retire();
        assert_eq!((losses.lost, losses.claims), (vec![], vec![(1001, 1005)]));
        let retired = retired.unwrap();
        assert!(!retired.is_over(7));
        let mut order = ReorderBuffer::resumed(retired);
        order.claim(NOW, 1005, DUE);
        assert!(order.gaps().is_empty(), "reported once");
        assert_eq!(receive(&mut order, 7), [7]);
        order.claim(NOW, 8, DUE);
        assert_eq!(missing(&mut order), [(8, 8)]);
        let mut order = ReorderBuffer::resumed(retired);
        assert_eq!(receive(&mut order, 1001), [1001]);
        assert_eq!(receive(&mut order, 1005), [1005]);
        assert!(receive(&mut order, 7).is_empty());
    }

    #[test]
    fn a_number_that_is_put_together_is_not_missing() {
        let mut order = begun(1);
        order.open_partial(NOW, 2, DUE);
        order.open_partial(NOW, 2, DUE);
        assert_eq!(missing(&mut order), [(1, 1)]);
        assert_eq!(receive(&mut order, 1), [1]);
        assert!(receive(&mut order, 3).is_empty());
        assert!(!order.close_partial(2));
        assert!(order.close_partial(2), "nobody is at it any more");
        order.skip((2, 2));
        assert_eq!(released(&mut order), [3]);
    }
}
