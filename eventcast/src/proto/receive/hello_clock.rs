//! When a sender wrote its hellos, by this bus's clock.
//!
//! A hello says how long its sender has been running. The hello with the shortest time under way
//! shows how far that clock is from this bus's, and every other one then shows how long it was
//! under way itself: a hello that was held back, by the network, by a pause of this bus or by an
//! attacker, is no sign that its sender is still active.

use std::time::Duration;

/// The shortest time under way is that of this window and the one before, so that clocks which
/// drift apart, or one that stands still while its machine sleeps, count for so long at most.
/// Nothing sealed can be held back for longer than twice the default `clock_tolerance`, which is as
/// long.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(in crate::proto) struct HelloClock {
    /// When the window began.
    since: Duration,
    /// The least difference between the clocks in it, in nanoseconds, and in the one before.
    least: Option<i128>,
    least_before: Option<i128>,
    written: Option<Duration>,
}

impl HelloClock {
    /// Notes a hello that arrived now, from a sender that had been running for `up` when it wrote
    /// it.
    pub(in crate::proto) fn note(&mut self, now: Duration, up: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed >= WINDOW {
            let is_next = passed < 2 * WINDOW;
            self.least_before = self.least.take().filter(|_| is_next);
            self.since = now;
        }
        let nanos = |time: Duration| time.as_nanos() as i128;
        let difference = nanos(now) - nanos(up);
        let least = self.least.map_or(difference, |least| least.min(difference));
        self.least = Some(least);
        let least = self.least_before.map_or(least, |before| before.min(least));
        let written = u64::try_from(nanos(up) + least).unwrap_or(0);
        self.written = Some(Duration::from_nanos(written).min(now));
    }

    /// When the last one was written, or somewhat later.
    pub(in crate::proto) fn written(&self) -> Option<Duration> {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_was_held_back_was_written_before() {
        let mut clock = HelloClock::default();
        assert_eq!(clock.written(), None);
        for i in 0..10 {
            clock.note(secs(100 + i), secs(5 + i));
            assert_eq!(clock.written(), Some(secs(100 + i)));
        }
        // All that was held back comes at once, or one each second.
        clock.note(secs(120), secs(15));
        assert_eq!(clock.written(), Some(secs(110)));
        clock.note(secs(120), secs(16));
        assert_eq!(clock.written(), Some(secs(111)));
        clock.note(secs(121), secs(17));
        assert_eq!(clock.written(), Some(secs(112)));
        clock.note(secs(122), secs(27));
        assert_eq!(clock.written(), Some(secs(122)));
    }

    #[test]
    fn a_clock_that_stood_still_is_believed_again_after_two_windows() {
        let mut clock = HelloClock::default();
        clock.note(secs(1_000), secs(2_000));
        for i in 0..200 {
            clock.note(secs(5_000 + i), secs(2_001 + i));
        }
        assert_eq!(clock.written(), Some(secs(5_199)));
        // One that is away from us, at the ends of what can be said.
        clock.note(Duration::ZERO, Duration::MAX);
        clock.note(secs(10_000), Duration::MAX);
        clock.note(Duration::MAX, Duration::ZERO);
        assert!(clock.written().is_some());
    }
}
