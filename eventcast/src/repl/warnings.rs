//! What is logged of clients that should not be there, and how often: anybody who reaches a console could otherwise
//! fill a log.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The pause between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// What a warning is about. Each is told by itself, so that none hides behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There are too many clients.
    Crowd,
    /// A client speaks another protocol.
    Foreign,
    /// A client does not know the token.
    Token,
    /// The system refuses something.
    System,
}

/// When something was told last, and how much was not since.
#[derive(Debug, Default)]
pub(super) struct Warnings([Mutex<Told>; 4]);

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

impl Warnings {
    /// Logs it, unless something of the kind was logged just now.
    pub(super) fn warn(&self, trouble: Trouble, text: fmt::Arguments<'_>) {
        match self.note(trouble, Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(target: "eventcast::repl", "{text}"),
            Some(untold) => tracing::warn!(
                target: "eventcast::repl",
                "{text}; and {untold} like it since the last warning"
            ),
        }
    }

    /// Whether it is to be told now, and for how many others it stands.
    fn note(&self, trouble: Trouble, now: Instant) -> Option<u64> {
        // Nothing that can panic runs under this lock.
        let mut told = self.0[trouble as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < PAUSE)
        {
            told.untold += 1;
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_ten_seconds_for_each_kind() {
        let warnings = Warnings::default();
        let begin = Instant::now();
        let note = |trouble, seconds| warnings.note(trouble, begin + Duration::from_secs(seconds));
        assert_eq!(note(Trouble::Token, 0), Some(0));
        assert_eq!(note(Trouble::Token, 1), None);
        assert_eq!(note(Trouble::Crowd, 1), Some(0));
        assert_eq!(note(Trouble::Token, 9), None);
        assert_eq!(note(Trouble::Token, 10), Some(2));
        assert_eq!(note(Trouble::Token, 20), Some(0));
        for trouble in [Trouble::Foreign, Trouble::System] {
            assert_eq!(note(trouble, 20), Some(0));
        }
    }
}
