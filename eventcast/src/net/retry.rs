//! Pauses after a refusal that will pass, and how long to go on trying.
//!
//! No clock in here: the time comes in, so that tests run on virtual time.

use std::time::Duration;

/// The first pause: about what a full queue of a network card needs to drain.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// No pause is longer: a link that comes back is used again at once as far as a person can see.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long one datagram is tried before the transmitter drops it, so that the failure is reported
/// within a second. Later it would be of little use: by then the receivers have requested it again,
/// or stopped waiting for it.
const PATIENCE: Duration = Duration::from_millis(900);

/// Pauses that double from 1 ms to 100 ms, until something succeeds.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    pub(super) fn after_success(&mut self) {
        self.next = FIRST_PAUSE;
    }
}

/// Limits the retries after [`Sent::Pause`](super::Sent::Pause) to 1 s in all.
///
/// `now` is the time since any fixed moment, and must not go back.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    ends: Option<Duration>,
}

impl RetryBudget {
    /// How long to pause before the next try, or `None`: give up. The time begins with the first
    /// call after [`Self::reset`]; the last pause is cut so that one more try falls on its end.
    pub(crate) fn grant(&mut self, now: Duration, pause: Duration) -> Option<Duration> {
        let ends = *self.ends.get_or_insert(now + PATIENCE);
        let left = ends.saturating_sub(now);
        (!left.is_zero()).then(|| pause.min(left))
    }

    /// Call when the datagram was sent or dropped.
    pub(crate) fn reset(&mut self) {
        self.ends = None;
    }
}

/// How long one of several interfaces is left out once it has refused: long enough that it costs
/// the others nothing, and within the second in which a removed one is noticed.
const REST: Duration = Duration::from_secs(1);

/// Which of several interfaces are left out for now.
///
/// `now` is the time since any fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Rests(Vec<(u32, Duration)>);

impl Rests {
    /// This interface refused.
    pub(crate) fn begin(&mut self, now: Duration, interface: u32) {
        self.0.retain(|(_, ends)| *ends > now);
        self.0.push((interface, now + REST));
    }

    /// Whether it is left out.
    pub(crate) fn is_resting(&self, now: Duration, interface: u32) -> bool {
        let mut resting = self.0.iter();
        resting.any(|(one, ends)| *one == interface && *ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_refused_rests_for_a_second() {
        let (mut rests, start) = (Rests::default(), Duration::from_secs(500));
        assert!(!rests.is_resting(start, 1));
        rests.begin(start, 1);
        assert!(rests.is_resting(start, 1));
        assert!(!rests.is_resting(start, 2));
        assert!(!rests.is_resting(start + REST, 1));
        // Those that are over are forgotten.
        rests.begin(start + REST, 2);
        assert_eq!(rests.0.len(), 1);
    }

    #[test]
    fn pauses_double_to_their_bound_and_start_again() {
        let mut pauses = Pauses::new();
        let took: Vec<_> = (0..9).map(|_| pauses.after_failure().as_millis()).collect();
        assert_eq!(took, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        pauses.after_success();
        assert_eq!(pauses.after_failure().as_millis(), 1);
    }

    #[test]
    fn endless_refusal_ends_within_a_second_of_virtual_time() {
        let (mut pauses, mut budget) = (Pauses::new(), RetryBudget::default());
        let start = Duration::from_secs(500);
        let mut now = start;
        let mut tries = 1;
        while let Some(pause) = budget.grant(now, pauses.after_failure()) {
            assert!(!pause.is_zero(), "a busy loop");
            now += pause;
            tries += 1;
        }
        assert_eq!(now - start, PATIENCE);
        assert!(tries < 20, "{tries}");
        // The next datagram has its own time.
        budget.reset();
        assert_eq!(budget.grant(now, FIRST_PAUSE), Some(FIRST_PAUSE));
    }
}
