//! The slices of one message, in the order in which they came.
//!
//! They are written one behind the other into a buffer that grows with what has come, never with
//! what was claimed. When they came in order, that buffer is the message.

use std::collections::BTreeMap;

use crate::proto::stats::DropCause;

pub(in crate::proto) struct ReassemblyBuffer {
    /// How many there are to be, at least 2.
    total: u32,
    /// The length of every slice but the last; 0 until one has come.
    slice_len: usize,
    /// All slices but the last, in order of arrival. The last one too, if it came last.
    body: Vec<u8>,
    /// The last slice, if it came before others.
    tail: Option<Vec<u8>>,
    /// Which slices have come, as runs of successive ones that stand together, by the first one.
    runs: BTreeMap<u32, Run>,
    received: u32,
}

#[derive(Clone, Copy)]
struct Run {
    len: u32,
    /// Position of the first among all slices in the body.
    position: u32,
}

impl ReassemblyBuffer {
    pub(in crate::proto) fn new(total: u32) -> Self {
        Self {
            total,
            slice_len: 0,
            body: Vec::new(),
            tail: None,
            runs: BTreeMap::new(),
            received: 0,
        }
    }

    pub(in crate::proto) fn received(&self) -> u32 {
        self.received
    }

    pub(in crate::proto) fn is_complete(&self) -> bool {
        self.received == self.total
    }

    /// The length of each but the last, as far as it is known: at least 1.
    pub(in crate::proto) fn slice_len(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, Vec::len);
        self.slice_len.max(tail).max(1)
    }

    /// The lowest indexes below `end` of slices that have not come, up to so many.
    pub(in crate::proto) fn missing(&self, end: u32, most: usize, missing: &mut Vec<u32>) {
        missing.clear();
        let end = end.min(self.total);
        let last = self.total - 1;
        let mut from = 0;
        // What is behind the last run is missing up to the end, but for the very last slice.
        let runs = self.runs.iter().map(|(first, run)| (*first, run.len));
        for (first, len) in runs.chain([(last, u32::from(self.tail.is_some()))]) {
            for seq in from..first.min(end) {
                if missing.len() == most {
                    return;
                }
                missing.push(seq);
            }
            from = first + len;
        }
        if from < end && missing.len() < most {
            missing.push(last);
        }
    }

    /// Bytes set aside for slices.
    pub(in crate::proto) fn allocated(&self) -> usize {
        self.body.capacity() + self.tail.as_ref().map_or(0, Vec::capacity)
    }

    /// Whether a slice would be accepted: `Err(Duplicate)` if it is there, `Err(Inconsistent)` if
    /// it contradicts others.
    pub(in crate::proto) fn check(&self, seq: u32, slice: &[u8]) -> Result<(), DropCause> {
        if let Some(there) = self.find(seq) {
            return Err(if there == slice {
                DropCause::Duplicate
            } else {
                DropCause::Inconsistent
            });
        }
        let fits = if self.is_last(seq) {
            self.slice_len == 0 || slice.len() <= self.slice_len
        } else {
            (self.slice_len == 0 || slice.len() == self.slice_len)
                && self
                    .tail
                    .as_ref()
                    .is_none_or(|tail| tail.len() <= slice.len())
        };
        if fits {
            Ok(())
        } else {
            Err(DropCause::Inconsistent)
        }
    }

    /// How many bytes more will be set aside for a slice that [`check`](Self::check) lets through.
    pub(in crate::proto) fn growth(&self, seq: u32, slice: &[u8]) -> usize {
        if self.is_early_last(seq) {
            slice.len()
        } else {
            self.grown_capacity(slice.len()) - self.body.capacity()
        }
    }

    /// Adds a slice that [`check`](Self::check) has let through.
    pub(in crate::proto) fn add(&mut self, seq: u32, slice: &[u8]) {
        if self.is_early_last(seq) {
            self.tail = Some(slice.to_vec());
        } else {
            let capacity = self.grown_capacity(slice.len());
            self.body.reserve_exact(capacity - self.body.len());
            self.body.extend_from_slice(slice);
            if !self.is_last(seq) {
                self.slice_len = slice.len();
                self.note(seq);
            }
        }
        self.received += 1;
    }

    /// The message, once all slices are there.
    pub(in crate::proto) fn join(mut self) -> Vec<u8> {
        debug_assert!(self.is_complete());
        let in_order = self.runs.len() == 1;
        if in_order {
            self.body.extend_from_slice(&self.tail.unwrap_or_default());
            return self.body;
        }
        let mut joined =
            Vec::with_capacity(self.body.len() + self.tail.as_ref().map_or(0, Vec::len));
        for run in self.runs.values() {
            let start = run.position as usize * self.slice_len;
            joined.extend_from_slice(&self.body[start..start + run.len as usize * self.slice_len]);
        }
        match &self.tail {
            Some(tail) => joined.extend_from_slice(tail),
            // It came after all others, and is stored behind them.
            None => {
                joined.extend_from_slice(&self.body[(self.total as usize - 1) * self.slice_len..]);
            }
        }
        joined
    }

    fn is_last(&self, seq: u32) -> bool {
        seq + 1 == self.total
    }

    fn is_early_last(&self, seq: u32) -> bool {
        self.is_last(seq) && self.received + 1 < self.total
    }

    fn find(&self, seq: u32) -> Option<&[u8]> {
        if self.is_last(seq) {
            // Once it is copied into the body the message is complete, and nothing is looked up any
            // more.
            return self.tail.as_deref();
        }
        let (first, run) = self.run_before(seq)?;
        let offset = seq - first;
        if offset >= run.len {
            return None;
        }
        let start = (run.position + offset) as usize * self.slice_len;
        self.body.get(start..start + self.slice_len)
    }

    /// Notes that a slice stands at the end of the body.
    fn note(&mut self, seq: u32) {
        let position = (self.body.len() / self.slice_len) as u32 - 1;
        if let Some((first, run)) = self.run_before(seq)
            && first + run.len == seq
            && run.position + run.len == position
        {
            self.runs.insert(
                first,
                Run {
                    len: run.len + 1,
                    ..run
                },
            );
        } else {
            self.runs.insert(seq, Run { len: 1, position });
        }
    }

    fn run_before(&self, seq: u32) -> Option<(u32, Run)> {
        self.runs
            .range(..=seq)
            .next_back()
            .map(|(first, run)| (*first, *run))
    }

    /// The body's capacity once it has room for `more` bytes: half as much again each time, so that
    /// what is set aside stays near what has come, but no more than the whole message.
    fn grown_capacity(&self, more: usize) -> usize {
        let needed = self.body.len() + more;
        if needed <= self.body.capacity() {
            return self.body.capacity();
        }
        let whole = self.slice_len.max(more).saturating_mul(self.total as usize);
        (needed + self.body.len() / 2).min(whole).max(needed)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

    use super::*;

    fn slices_of(message: &[u8], len: usize) -> Vec<(u32, &[u8])> {
        message
            .chunks(len)
            .enumerate()
            .map(|(seq, slice)| (seq as u32, slice))
            .collect()
    }

    fn message(len: usize, rng: &mut StdRng) -> Vec<u8> {
        (0..len).map(|_| rng.random()).collect()
    }

    #[test]
    fn any_order_gives_the_message() {
        let mut rng = StdRng::from_seed([1; 32]);
        for round in 0..2_000 {
            let len = rng.random_range(1..100);
            let message = message(rng.random_range(len + 1..len * 40 + 2), &mut rng);
            let mut order = slices_of(&message, len);
            match round % 3 {
                0 => {}
                1 => order.reverse(),
                _ => order.shuffle(&mut rng),
            }
            let mut slices = ReassemblyBuffer::new(order.len() as u32);
            for (i, (seq, slice)) in order.iter().enumerate() {
                assert!(!slices.is_complete());
                assert_eq!(slices.check(*seq, slice), Ok(()));
                let before = slices.allocated();
                let growth = slices.growth(*seq, slice);
                slices.add(*seq, slice);
                assert_eq!(slices.allocated(), before + growth);
                assert_eq!(slices.received(), i as u32 + 1);
                if i + 1 < order.len() {
                    let (seq, slice) = order[rng.random_range(0..=i)];
                    assert_eq!(slices.check(seq, slice), Err(DropCause::Duplicate));
                    let mut other = slice.to_vec();
                    other[0] ^= 1;
                    assert_eq!(slices.check(seq, &other), Err(DropCause::Inconsistent));
                }
            }
            assert!(slices.is_complete());
            assert_eq!(slices.join(), message);
        }
    }

    #[test]
    fn what_is_missing() {
        let mut rng = StdRng::from_seed([2; 32]);
        for _ in 0..500 {
            let total = rng.random_range(2..40);
            let mut slices = ReassemblyBuffer::new(total);
            let mut absent: Vec<u32> = (0..total).collect();
            absent.shuffle(&mut rng);
            for seq in absent.split_off(rng.random_range(1..=total as usize)) {
                slices.add(seq, &[0; 10]);
            }
            absent.sort_unstable();
            let (end, most) = (rng.random_range(0..=total), rng.random_range(1..50));
            let mut missing = Vec::new();
            slices.missing(end, most, &mut missing);
            let expected = absent.iter().copied().filter(|seq| *seq < end).take(most);
            assert_eq!(missing, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn lengths_that_do_not_fit() {
        let mut slices = ReassemblyBuffer::new(4);
        slices.add(3, &[0; 10]);
        assert_eq!(slices.check(1, &[0; 9]), Err(DropCause::Inconsistent));
        assert_eq!(slices.check(1, &[0; 10]), Ok(()));
        slices.add(1, &[0; 12]);
        assert_eq!(slices.check(0, &[0; 11]), Err(DropCause::Inconsistent));
        assert_eq!(slices.check(2, &[0; 13]), Err(DropCause::Inconsistent));
        let mut slices = ReassemblyBuffer::new(3);
        slices.add(0, &[0; 10]);
        assert_eq!(slices.check(2, &[0; 11]), Err(DropCause::Inconsistent));
        assert_eq!(slices.check(2, &[0; 10]), Ok(()));
    }

    #[test]
    fn memory_follows_what_has_come() {
        let mut slices = ReassemblyBuffer::new(262_144);
        slices.add(200_000, &[1; 100]);
        assert_eq!(slices.allocated(), 100);
        for seq in 0..1000 {
            slices.add(seq, &[1; 100]);
            assert!(slices.allocated() <= (seq as usize + 2) * 150);
        }
        let mut slices = ReassemblyBuffer::new(50);
        for seq in 0..50 {
            slices.add(seq, &[1; 100]);
            assert!(slices.allocated() <= 5_000);
        }
    }
}
