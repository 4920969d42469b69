//! A queue bounded in items and in bytes.

use std::collections::VecDeque;

/// Which events a full subscription drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Drops as many of the oldest as the new one needs. The default: a reader that has fallen
    /// behind mostly wants the recent events.
    #[default]
    DropOldest,
    /// Drops the new one.
    DropNewest,
}

/// The most that a queue holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// A queue bounded in items and in bytes, which counts the items that it drops.
#[derive(Debug)]
pub(crate) struct BoundedQueue<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    bound: Bound,
    overflow: Overflow,
}

impl<T> BoundedQueue<T> {
    pub(crate) fn new(bound: Bound, overflow: Overflow) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            bound,
            overflow,
        }
    }

    /// Queues `item`, which counts `size` bytes, and returns how many items were dropped for want
    /// of room: itself, or older ones. An item larger than the whole bound is queued if it is
    /// alone, so that no item is undeliverable.
    pub(crate) fn push(&mut self, item: T, size: usize) -> usize {
        let mut missed = 0;
        while !self.items.is_empty()
            && (self.items.len() >= self.bound.items || self.bytes + size > self.bound.bytes)
        {
            match self.overflow {
                Overflow::DropNewest => return 1,
                Overflow::DropOldest => {
                    self.pop();
                    missed += 1;
                }
            }
        }
        self.bytes += size;
        self.items.push_back((item, size));
        missed
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (item, size) = self.items.pop_front()?;
        self.bytes -= size;
        Some(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound {
        items: 3,
        bytes: 100,
    };

    fn drained<T>(mut queue: BoundedQueue<T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn drop_newest_drops_the_new_item() {
        let mut queue = BoundedQueue::new(BOUND, Overflow::DropNewest);
        let missed: Vec<_> = (0..5).map(|i| queue.push(i, 1)).collect();
        assert_eq!(missed, [0, 0, 0, 1, 1]);
        assert_eq!(drained(queue), [0, 1, 2]);
    }

    #[test]
    fn drop_oldest_drops_the_oldest_items() {
        let mut queue = BoundedQueue::new(BOUND, Overflow::DropOldest);
        let missed: Vec<_> = (0..5).map(|i| queue.push(i, 1)).collect();
        assert_eq!(missed, [0, 0, 0, 1, 1]);
        assert_eq!(drained(queue), [2, 3, 4]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut queue = BoundedQueue::new(BOUND, Overflow::DropOldest);
        assert_eq!(queue.push("a", 50), 0);
        assert_eq!(queue.push("b", 50), 0);
        assert_eq!(queue.push("c", 60), 2);
        assert_eq!(queue.push("larger than all", 1000), 1);
        assert_eq!(drained(queue), ["larger than all"]);
    }
}
