//! A sender's own claims about its numbers, which are compared with numbers that others may have
//! made up.
//!
//! A hello names the last number that its sender has sent. A higher number that arrived well before
//! that hello was written is not the sender's, whatever address it came from. "Well before" is
//! measured by the receiver's clock, and a hello that was long under way, which shows by the
//! sender's own clock in it, is no evidence.

use std::time::Duration;

/// How much earlier than a hello a number must have come to count as made up. Less than the default
/// `heartbeat`, so that every second hello is evidence.
const BEFORE: Duration = Duration::from_millis(800);

/// A hello may have been under way for so much longer than the one before it.
const PROMPT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(in crate::proto) struct Vouch {
    /// The last number that the sender has named.
    last: Option<u64>,
    /// When its last hello came, and how long it had been running by then.
    hello: Option<(Duration, Duration)>,
    /// When the last hello came that was not long under way.
    prompt: Option<Duration>,
    /// The highest number that had come by a moment, and the next one to be delivered then.
    seen: Option<(Duration, u64, u64)>,
    /// The next number to be delivered as it was well before the last hello came.
    next_before: Option<u64>,
    /// What was over by a hello that named it, and when that came: a later one has to agree.
    over: Option<(Duration, u64)>,
    /// Up to here everything is over and was the sender's, so that no hello takes it back.
    sure: u64,
}

impl Vouch {
    /// Takes a hello of the sender itself, where `highest` is the highest number that has come, and
    /// `next` the next one to be delivered. `true`: numbers above `last` have come that are not the
    /// sender's.
    pub(in crate::proto) fn note(
        &mut self,
        now: Duration,
        up: Duration,
        last: u64,
        (highest, next): (u64, u64),
    ) -> bool {
        let delay = self.hello.map(|(at, before)| {
            let expected = before.saturating_add(now.saturating_sub(at));
            expected.saturating_sub(up)
        });
        self.hello = Some((now, up));
        self.last = Some(last);
        if delay.is_none_or(|delay| delay > PROMPT) {
            self.seen.get_or_insert((now, highest, next));
            return false;
        }
        self.prompt = Some(now);
        let seen = *self.seen.get_or_insert((now, highest, next));
        if seen.0 + BEFORE > now {
            return false;
        }
        let contradicted = seen.1 > last;
        let left = if contradicted { last } else { highest };
        let next = if contradicted && seen.2 > left {
            // What was delivered there is taken back.
            next.min(left.saturating_add(1))
        } else {
            next
        };
        self.seen = Some((now, left, next));
        self.next_before = Some(seen.2);
        contradicted
    }

    /// The number above which nothing that came before `moment` is the sender's, if it has spoken
    /// since.
    pub(in crate::proto) fn limit(&self, moment: Duration) -> Option<u64> {
        let spoken = self.prompt? >= moment.saturating_add(BEFORE);
        self.last.filter(|_| spoken)
    }

    /// Whether what was delivered above a number that the last hello named came so shortly before
    /// that hello, or after it, that the sender may have sent it since.
    pub(in crate::proto) fn may_have_sent_above(&self, last: u64) -> bool {
        self.next_before
            .is_none_or(|next| next <= last.saturating_add(1))
    }

    /// Whether the sender itself has said in its last hello that this number was sent.
    pub(in crate::proto) fn has_named(&self, number: u64) -> bool {
        self.last.is_some_and(|last| number <= last)
    }

    /// Notes that everything below `next` was over when a hello came that named `last`, from where
    /// the sender is for certain. A sender never names less than before, so what two of them have
    /// named is its own.
    pub(in crate::proto) fn note_over(&mut self, now: Duration, last: u64, next: u64) {
        let over = last.min(next.saturating_sub(1));
        let (at, before) = *self.over.get_or_insert((now, over));
        if last < before {
            self.over = Some((now, over));
        } else if at + BEFORE <= now {
            self.sure = self.sure.max(before);
            self.over = Some((now, over));
        }
    }

    /// The number up to which nothing was made up.
    pub(in crate::proto) fn sure(&self) -> u64 {
        self.sure
    }

    /// Another address counts as the sender's now. `next` is given where the one before was the
    /// sender's for certain: its confirmed numbers stay confirmed, whatever hellos from the other
    /// address claim.
    pub(in crate::proto) fn reset(&mut self, next: Option<u64>) {
        if let (Some(next), Some(last)) = (next, self.last) {
            self.sure = self.sure.max(last.min(next.saturating_sub(1)));
        }
        (self.last, self.hello, self.prompt) = (None, None, None);
        (self.over, self.next_before) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_number_that_its_sender_has_not_sent_is_found_out() {
        let mut vouch = Vouch::default();
        assert!(!vouch.note(ms(0), ms(5_000), 10, (10, 1)));
        assert!(
            !vouch.note(ms(1_000), ms(6_000), 20, (60_000, 1)),
            "it may be on its way"
        );
        assert!(vouch.note(ms(2_000), ms(7_000), 30, (60_000, 1)));
        assert!(!vouch.note(ms(3_000), ms(8_000), 40, (40, 1)));
        assert_eq!(vouch.limit(ms(2_200)), Some(40));
        assert_eq!(vouch.limit(ms(2_201)), None);
        vouch.reset(None);
        assert_eq!(vouch.limit(ms(0)), None);
    }

    #[test]
    fn what_was_named_and_is_over_stays_so() {
        let mut vouch = Vouch::default();
        vouch.note_over(ms(0), 50, 41);
        assert_eq!(vouch.sure(), 0, "one hello may be forged");
        vouch.note_over(ms(10), 30, 41);
        vouch.note_over(ms(1_000), 60, 61);
        assert_eq!(vouch.sure(), 30);
        vouch.note_over(ms(2_000), 60, 90);
        vouch.note_over(ms(3_000), 0, 90);
        assert_eq!(vouch.sure(), 60);
        // Numbers claimed by another address that took its place for a while are not the sender's.
        vouch.note(ms(3_000), ms(3_000), 80, (89, 1));
        vouch.reset(None);
        assert_eq!(vouch.sure(), 60);
        vouch.note(ms(4_000), ms(4_000), 80, (89, 1));
        vouch.reset(Some(71));
        assert_eq!(vouch.sure(), 70);
    }

    #[test]
    fn a_sender_in_full_flow_never_contradicts_itself() {
        let mut vouch = Vouch::default();
        for i in 0..1_000 {
            // Messages overtake the hello.
            assert!(!vouch.note(ms(20 * i), ms(20 * i), 100 * i, (100 * i + 50, 1)));
        }
    }

    #[test]
    fn a_hello_that_was_long_under_way_is_no_evidence() {
        let mut vouch = Vouch::default();
        vouch.note(ms(0), ms(0), 0, (0, 1));
        vouch.note(ms(1_000), ms(1_000), 0, (100, 1));
        assert!(!vouch.note(ms(3_000), ms(1_500), 50, (100, 1)));
        // Nor one of a sender that was asleep; the next one is.
        assert!(!vouch.note(ms(60_000), ms(4_000), 50, (100, 1)));
        assert!(vouch.note(ms(61_000), ms(5_000), 50, (100, 1)));
    }

    #[test]
    fn what_came_shortly_before_a_hello_may_be_the_senders_though_it_is_not_named() {
        let mut vouch = Vouch::default();
        vouch.note(ms(0), ms(0), 10, (10, 11));
        assert!(vouch.may_have_sent_above(10));
        // Somebody makes up a number far ahead; the sender goes on, and its hello is overtaken by
        // what it sends next.
        assert!(!vouch.note(ms(1_000), ms(1_000), 20, (60_000, 21)));
        assert!(vouch.note(ms(2_000), ms(1_990), 30, (60_000, 33)));
        assert!(vouch.may_have_sent_above(30));
        // What was there long before is not.
        assert!(!vouch.note(ms(3_000), ms(2_990), 40, (41, 42)));
        assert!(vouch.note(ms(4_000), ms(3_990), 40, (41, 42)));
        assert!(!vouch.may_have_sent_above(40));
    }
}
