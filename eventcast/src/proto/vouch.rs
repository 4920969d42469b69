//! What a sender says of its own numbers, against which numbers are held that others may have made up.
//!
//! A hello names the last number that its sender has sent. A number above it that came well before that hello was
//! written is not the sender's, whoever sent it. "Well before" is measured by the receiver's clock, and a hello that was
//! long under way, which shows by the sender's own clock in it, is no evidence.

use std::time::Duration;

/// How much earlier than a hello a number must have come to be held against it. Less than the default `heartbeat`, so
/// that every second hello is evidence.
const BEFORE: Duration = Duration::from_millis(800);

/// A hello may have been under way for so much longer than the one before it.
const PROMPT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Vouch {
    /// The last number that the sender has named.
    last: Option<u64>,
    /// When its last hello came, and how long it had been running by then.
    hello: Option<(Duration, Duration)>,
    /// When the last hello came that was not long under way.
    prompt: Option<Duration>,
    /// The highest number that had come by a moment.
    seen: Option<(Duration, u64)>,
}

impl Vouch {
    /// Takes a hello of the sender itself, where `highest` is the highest number that has come. `true`: numbers above
    /// `last` have come that are not the sender's.
    pub(super) fn note(&mut self, now: Duration, up: Duration, last: u64, highest: u64) -> bool {
        let delay = self.hello.map(|(at, before)| {
            let expected = before.saturating_add(now.saturating_sub(at));
            expected.saturating_sub(up)
        });
        self.hello = Some((now, up));
        self.last = Some(last);
        if delay.is_none_or(|delay| delay > PROMPT) {
            self.seen.get_or_insert((now, highest));
            return false;
        }
        self.prompt = Some(now);
        let seen = *self.seen.get_or_insert((now, highest));
        if seen.0 + BEFORE > now {
            return false;
        }
        let contradicted = seen.1 > last;
        let left = if contradicted { last } else { highest };
        self.seen = Some((now, left));
        contradicted
    }

    /// The number above which nothing that came before `moment` is the sender's, if it has spoken since.
    pub(super) fn limit(&self, moment: Duration) -> Option<u64> {
        let spoken = self.prompt? >= moment.saturating_add(BEFORE);
        self.last.filter(|_| spoken)
    }

    /// Another address speaks for the sender now.
    pub(super) fn reset(&mut self) {
        (self.last, self.hello, self.prompt) = (None, None, None);
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
        assert!(!vouch.note(ms(0), ms(5_000), 10, 10));
        assert!(
            !vouch.note(ms(1_000), ms(6_000), 20, 60_000),
            "it may be on its way"
        );
        assert!(vouch.note(ms(2_000), ms(7_000), 30, 60_000));
        assert!(!vouch.note(ms(3_000), ms(8_000), 40, 40));
        assert_eq!(vouch.limit(ms(2_200)), Some(40));
        assert_eq!(vouch.limit(ms(2_201)), None);
        vouch.reset();
        assert_eq!(vouch.limit(ms(0)), None);
    }

    #[test]
    fn a_sender_in_full_flow_never_contradicts_itself() {
        let mut vouch = Vouch::default();
        for i in 0..1_000 {
            // Messages overtake the hello.
            assert!(!vouch.note(ms(20 * i), ms(20 * i), 100 * i, 100 * i + 50));
        }
    }

    #[test]
    fn a_hello_that_was_long_under_way_is_no_evidence() {
        let mut vouch = Vouch::default();
        vouch.note(ms(0), ms(0), 0, 0);
        vouch.note(ms(1_000), ms(1_000), 0, 100);
        assert!(!vouch.note(ms(3_000), ms(1_500), 50, 100));
        // Nor one of a sender that was asleep; the next one is.
        assert!(!vouch.note(ms(60_000), ms(4_000), 50, 100));
        assert!(vouch.note(ms(61_000), ms(5_000), 50, 100));
    }
}
