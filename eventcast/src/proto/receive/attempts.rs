//! Attempts at putting numbered messages together, found by their numbers.
//!
//! There may be several at one number: anybody can write a number into a chunk. Each belongs to the
//! holder whose chunks it takes, and to the stream that waits for the message. Not responsible for
//! what an attempt consists of, nor for what its end means.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::proto::repair::nack_list::Span;

/// One attempt, at its place in the assembler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proto) struct Attempt {
    pub(in crate::proto) holder: u64,
    /// [`StreamRef::id`](super::streams::StreamRef::id) of the stream that waits for it.
    pub(in crate::proto) stream: u64,
    pub(in crate::proto) number: u64,
    pub(in crate::proto) index: usize,
}

#[derive(Default)]
pub(in crate::proto) struct Attempts {
    all: BTreeSet<Attempt>,
    /// The attempts of which missing chunks were requested.
    asked: BTreeSet<Attempt>,
}

impl Attempts {
    pub(in crate::proto) fn insert(&mut self, attempt: Attempt) {
        self.all.insert(attempt);
    }

    /// Notes that missing chunks of it were requested.
    pub(in crate::proto) fn note_asked(&mut self, attempt: Attempt) {
        if self.all.contains(&attempt) {
            self.asked.insert(attempt);
        }
    }

    pub(in crate::proto) fn remove(&mut self, attempt: Attempt) {
        self.all.remove(&attempt);
        self.asked.remove(&attempt);
    }

    /// An attempt at one of these numbers.
    pub(in crate::proto) fn first(&self, holder: u64, stream: u64, span: Span) -> Option<Attempt> {
        self.all.range(range(holder, stream, span)).next().copied()
    }

    /// An attempt at one of these numbers of which something was requested, or another one at the
    /// same number: the one with requests comes last.
    pub(in crate::proto) fn first_asked(
        &self,
        holder: u64,
        stream: u64,
        span: Span,
    ) -> Option<Attempt> {
        let asked = *self.asked.range(range(holder, stream, span)).next()?;
        let same = range(holder, stream, (asked.number, asked.number));
        let other = self.all.range(same).find(|other| **other != asked);
        Some(other.copied().unwrap_or(asked))
    }
}

fn range(holder: u64, stream: u64, (first, last): Span) -> RangeInclusive<Attempt> {
    let end = |number, index| Attempt {
        holder,
        stream,
        number,
        index,
    };
    end(first, 0)..=end(last, usize::MAX)
}

#[cfg(test)]
impl Attempts {
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.asked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(stream: u64, number: u64, index: usize) -> Attempt {
        Attempt {
            holder: 1,
            stream,
            number,
            index,
        }
    }

    #[test]
    fn found_by_number_and_by_whether_it_was_asked_for() {
        let mut attempts = Attempts::default();
        for (number, index) in [(5, 3), (5, 1), (9, 2), (7, 0)] {
            attempts.insert(attempt(1, number, index));
        }
        attempts.insert(attempt(2, 5, 4));
        assert_eq!(attempts.first(1, 1, (6, 8)), Some(attempt(1, 7, 0)));
        assert_eq!(attempts.first(1, 1, (10, u64::MAX)), None);
        assert_eq!(attempts.first(2, 1, (0, u64::MAX)), None, "of another");
        assert_eq!(attempts.first_asked(1, 1, (0, u64::MAX)), None);

        attempts.note_asked(attempt(1, 5, 1));
        attempts.note_asked(attempt(1, 6, 9));
        assert_eq!(attempts.first_asked(1, 1, (6, u64::MAX)), None);
        assert_eq!(attempts.first_asked(1, 2, (0, u64::MAX)), None);
        // The other one at the same number goes with it, and goes first.
        for index in [3, 1] {
            let next = attempts.first_asked(1, 1, (5, 9));
            assert_eq!(next, Some(attempt(1, 5, index)));
            attempts.remove(attempt(1, 5, index));
        }
        assert_eq!(attempts.first_asked(1, 1, (0, u64::MAX)), None);
        for (stream, number, index) in [(1, 9, 2), (1, 7, 0), (2, 5, 4)] {
            attempts.remove(attempt(stream, number, index));
        }
        assert!(attempts.is_empty());
    }
}
