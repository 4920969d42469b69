//! Bounded queues: what waits for a slow listener, an async one, a stream or a notice listener.
//!
//! [`Backlog`] is the bound and the policy alone; [`WorkQueue`] adds the thread that serves it. Nothing here
//! knows what an event is.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a thread that has emptied a queue waits for more before it ends. Long enough that a listener with a
/// steady trickle keeps its thread, short enough that a quiet bus soon has none to spare.
const LINGER: Duration = Duration::from_secs(2);

/// What gives way when the queue of a subscription is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The new one is taken; as many of the oldest as it needs are missed. The default: who has fallen behind wants
    /// what is recent.
    #[default]
    DropOldest,
    /// What is there stays; the new one is missed.
    DropNewest,
}

/// The most that a queue holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// A queue bounded in items and in bytes, which counts what it had to let go.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    bound: Bound,
    overflow: Overflow,
}

impl<T> Backlog<T> {
    pub(crate) fn new(bound: Bound, overflow: Overflow) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            bound,
            overflow,
        }
    }

    /// Takes `item`, which counts `size` bytes, and returns how many items were missed for it: itself, or older
    /// ones. An item larger than the whole bound is taken when it is alone, so that nothing is undeliverable.
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

/// A backlog with at most one thread that works it off.
#[derive(Debug)]
pub(crate) struct WorkQueue<T> {
    state: Mutex<Work<T>>,
    arrived: Condvar,
    idle: Condvar,
}

#[derive(Debug)]
struct Work<T> {
    backlog: Backlog<T>,
    served: bool,
    /// An item has been taken out, and is not worked off yet.
    busy: bool,
    closed: bool,
}

/// What became of a [`WorkQueue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Taken; somebody serves the queue.
    Taken,
    /// Taken; nobody serves the queue, and the caller must see to it that [`WorkQueue::serve`] is called.
    Unserved,
    /// The queue was full, and this many items were missed.
    Missed(usize),
    /// The queue is closed.
    Closed,
}

impl<T> WorkQueue<T> {
    /// `served` tells that the caller is going to call [`Self::serve`] by itself.
    pub(crate) fn new(bound: Bound, served: bool) -> Self {
        Self {
            state: Mutex::new(Work {
                backlog: Backlog::new(bound, Overflow::DropNewest),
                served,
                busy: false,
                closed: false,
            }),
            arrived: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, item: T, size: usize) -> Pushed {
        let mut work = self.lock();
        if work.closed {
            return Pushed::Closed;
        }
        let missed = work.backlog.push(item, size);
        if missed > 0 {
            return Pushed::Missed(missed);
        }
        if !work.served {
            work.served = true;
            return Pushed::Unserved;
        }
        drop(work);
        self.arrived.notify_one();
        Pushed::Taken
    }

    /// Works the queue off, one item after the other, until it has been empty for a while or is closed.
    pub(crate) fn serve(&self, mut run: impl FnMut(T)) {
        let mut work = self.lock();
        loop {
            if let Some(item) = work.backlog.pop() {
                work.busy = true;
                drop(work);
                run(item);
                work = self.lock();
                work.busy = false;
                continue;
            }
            self.idle.notify_all();
            if !work.closed {
                let (again, waited) = self
                    .arrived
                    .wait_timeout(work, LINGER)
                    .unwrap_or_else(PoisonError::into_inner);
                work = again;
                if !waited.timed_out() || !work.backlog.is_empty() {
                    continue;
                }
            }
            work.served = false;
            return;
        }
    }

    /// Waits until everything has been worked off, until then at most.
    pub(crate) fn wait_until_idle(&self, end: Instant) {
        let mut work = self.lock();
        while work.busy || !work.backlog.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            work = self
                .idle
                .wait_timeout(work, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Takes back that somebody serves the queue, where that could not be arranged.
    pub(crate) fn unserved(&self) {
        self.lock().served = false;
    }

    /// Takes nothing any more; what waits is still worked off.
    pub(crate) fn finish(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Drops what waits and takes nothing any more.
    pub(crate) fn close(&self) {
        let mut work = self.lock();
        work.closed = true;
        work.backlog.clear();
        drop(work);
        self.arrived.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Work<T>> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound {
        items: 3,
        bytes: 100,
    };

    fn drained<T>(mut backlog: Backlog<T>) -> Vec<T> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn the_newest_gives_way_when_it_shall() {
        let mut backlog = Backlog::new(BOUND, Overflow::DropNewest);
        let missed: Vec<_> = (0..5).map(|i| backlog.push(i, 1)).collect();
        assert_eq!(missed, [0, 0, 0, 1, 1]);
        assert_eq!(drained(backlog), [0, 1, 2]);
    }

    #[test]
    fn the_oldest_give_way_when_they_shall() {
        let mut backlog = Backlog::new(BOUND, Overflow::DropOldest);
        let missed: Vec<_> = (0..5).map(|i| backlog.push(i, 1)).collect();
        assert_eq!(missed, [0, 0, 0, 1, 1]);
        assert_eq!(drained(backlog), [2, 3, 4]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut backlog = Backlog::new(BOUND, Overflow::DropOldest);
        assert_eq!(backlog.push("a", 50), 0);
        assert_eq!(backlog.push("b", 50), 0);
        assert_eq!(backlog.push("c", 60), 2);
        assert_eq!(backlog.push("larger than all", 1000), 1);
        assert_eq!(drained(backlog), ["larger than all"]);
    }

    #[test]
    fn one_serves_and_the_queue_says_when_nobody_does() {
        let queue = WorkQueue::new(BOUND, false);
        assert_eq!(queue.push(1, 1), Pushed::Unserved);
        assert_eq!(queue.push(2, 1), Pushed::Taken);
        assert_eq!(queue.push(3, 1), Pushed::Taken);
        assert_eq!(queue.push(4, 1), Pushed::Missed(1));
        let mut seen = Vec::new();
        queue.serve(|item| {
            seen.push(item);
            if item == 3 {
                queue.close();
            }
        });
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!(queue.push(5, 1), Pushed::Closed);
    }
}
