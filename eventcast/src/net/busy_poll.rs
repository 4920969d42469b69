//! Decides whether a thread looks for datagrams again and again for a moment before it sleeps.
//!
//! Sleeping and waking costs some 5 µs on each side, as much as everything else that an event
//! costs. Where datagrams follow each other closely, a thread that stays awake gets the next one
//! sooner, and its sender need not wake it. Where they come singly, staying awake would only take a
//! core from other threads. So a thread stays awake as long as nearly all of its waits turn out
//! short; the waits themselves show whether they do.

use std::time::Duration;

/// Waits up to this long are worth staying awake for: two hops of a small event over a fast
/// network, with their wake-ups.
pub(super) const SHORT: Duration = Duration::from_micros(50);

/// So many short waits outweigh one long wait.
const PRICE: u32 = 4;

/// Short waits more than long ones from which on it pays.
const ENOUGH: u32 = 16;

/// No more than this is remembered, so that it ends soon after the datagrams do.
const MOST: u32 = 2 * ENOUGH;

/// Waits of late, in short.
#[derive(Debug, Default)]
pub(super) struct BusyPoll(u32);

impl BusyPoll {
    /// Whether to stay awake for up to [`SHORT`].
    pub(super) fn pays(&self) -> bool {
        self.0 >= ENOUGH
    }

    /// Takes note of how long it took until there was something.
    pub(super) fn waited(&mut self, time: Duration) {
        self.0 = if time <= SHORT {
            (self.0 + 1).min(MOST)
        } else {
            self.0.saturating_sub(PRICE)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(waits: impl IntoIterator<Item = u64>) -> bool {
        let mut busy_poll = BusyPoll::default();
        for micros in waits {
            busy_poll.waited(Duration::from_micros(micros));
        }
        busy_poll.pays()
    }

    #[test]
    fn pays_where_nearly_all_waits_are_short() {
        assert!(!after([]));
        assert!(!after([10; 15]));
        assert!(after([10; 16]));
        // One in six is long.
        assert!(after([10, 10, 10, 10, 10, 900].repeat(20)));
        // One in four.
        assert!(!after([10, 10, 10, 900].repeat(100)));
    }

    #[test]
    fn ends_soon_after_the_datagrams_do() {
        assert!(!after(
            std::iter::repeat_n(10, 100_000).chain([1_000_000; 5])
        ));
    }
}
