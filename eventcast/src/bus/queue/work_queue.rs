//! A bounded queue that at most one thread serves.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::bounded_queue::{Bound, BoundedQueue, Overflow};
use crate::bus::process::fork::Home;

/// How long a thread waits at an empty queue before it ends. Long enough that a listener with a
/// steady trickle of events keeps its thread, short enough that a quiet bus soon has no idle
/// thread.
const LINGER: Duration = Duration::from_secs(2);

/// A bounded queue that at most one thread serves: the one that holds its [`Server`].
#[derive(Debug)]
pub(crate) struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<Work<T>>,
    arrived: Condvar,
    idle: Condvar,
}

#[derive(Debug)]
struct Work<T> {
    queue: BoundedQueue<T>,
    /// A [`Server`] exists.
    served: bool,
    /// The server has taken an item out and still works on it.
    busy: bool,
    /// Few items follow, if any: the server does not linger at the empty queue.
    retired: bool,
    closed: bool,
}

/// The outcome of a [`WorkQueue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Taken,
    /// The queue was full, and so many items were dropped.
    Missed(usize),
    /// The queue is closed.
    Closed,
}

impl<T> WorkQueue<T> {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(Work {
                    queue: BoundedQueue::new(bound, Overflow::DropNewest),
                    served: false,
                    busy: false,
                    retired: false,
                    closed: false,
                }),
                arrived: Condvar::new(),
                idle: Condvar::new(),
            }),
        }
    }

    /// A queue with its server.
    pub(crate) fn served(bound: Bound) -> (Self, Server<T>) {
        let queue = Self::new(bound);
        queue.shared.lock().served = true;
        let server = Server {
            shared: Arc::clone(&queue.shared),
            is_over: false,
        };
        (queue, server)
    }

    /// Queues an item, and wakes the thread that serves the queue, if there is a server. The caller
    /// has to call [`Self::server`] afterwards.
    pub(crate) fn push(&self, item: T, size: usize) -> Pushed {
        let mut work = self.shared.lock();
        if work.closed {
            return Pushed::Closed;
        }
        let missed = work.queue.push(item, size);
        if missed > 0 {
            return Pushed::Missed(missed);
        }
        drop(work);
        self.shared.arrived.notify_one();
        Pushed::Taken
    }

    /// The right to serve the queue, if an item waits and there is no server.
    pub(crate) fn server(&self) -> Option<Server<T>> {
        let mut work = self.shared.lock();
        if work.served || work.queue.is_empty() {
            return None;
        }
        work.served = true;
        Some(Server {
            shared: Arc::clone(&self.shared),
            is_over: false,
        })
    }

    /// Waits until the server has worked off all items, until `end` at most.
    pub(crate) fn wait_until_idle(&self, end: Instant) {
        let mut work = self.shared.lock();
        while work.busy || !work.queue.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            work = self
                .shared
                .idle
                .wait_timeout(work, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Makes the server end as soon as the queue is empty. The queue still accepts items.
    pub(crate) fn retire(&self) {
        self.shared.lock().retired = true;
        self.shared.arrived.notify_all();
    }

    #[cfg(test)]
    pub(crate) fn is_retired(&self) -> bool {
        self.shared.lock().retired
    }

    /// Refuses further items. The server still works off the waiting ones.
    pub(crate) fn finish(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }

    /// Drops the waiting items and refuses further ones.
    pub(crate) fn close(&self) {
        let mut work = self.shared.lock();
        work.closed = true;
        work.queue.clear();
        drop(work);
        self.shared.arrived.notify_all();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Work<T>> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to serve a [`WorkQueue`]. Each queue has one at most. Its drop, also by a panic, frees
/// the right for another thread.
#[derive(Debug)]
pub(crate) struct Server<T> {
    shared: Arc<Shared<T>>,
    /// `served` was cleared under the lock already.
    is_over: bool,
}

impl<T> Server<T> {
    /// Calls `run` with one item after the other, until the queue was empty for [`LINGER`], is
    /// retired and empty, or is closed. Also ends in a forked child that `run` made, where a thread
    /// of the parent may hold the queue's lock for ever.
    pub(crate) fn serve(mut self, home: &Home, mut run: impl FnMut(T)) {
        let mut work = self.shared.lock();
        loop {
            if let Some(item) = work.queue.pop() {
                work.busy = true;
                drop(work);
                run(item);
                if home.is_forked() {
                    self.is_over = true;
                    return;
                }
                work = self.shared.lock();
                work.busy = false;
                continue;
            }
            self.shared.idle.notify_all();
            if !work.closed && !work.retired {
                let (again, waited) = self
                    .shared
                    .arrived
                    .wait_timeout(work, LINGER)
                    .unwrap_or_else(PoisonError::into_inner);
                work = again;
                if !waited.timed_out() || !work.queue.is_empty() {
                    continue;
                }
            }
            // Cleared before the lock is released, so that the next push sees that the queue has no
            // server.
            work.served = false;
            break;
        }
        drop(work);
        self.is_over = true;
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut work = self.shared.lock();
            work.served = false;
            work.busy = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const BOUND: Bound = Bound {
        items: 3,
        bytes: 100,
    };

    #[test]
    fn a_queue_with_items_has_one_server_at_most() {
        let queue = WorkQueue::new(BOUND);
        assert!(queue.server().is_none(), "the queue is empty");
        assert_eq!(queue.push(1, 1), Pushed::Taken);
        let server = queue.server().unwrap();
        for item in [2, 3] {
            assert_eq!(queue.push(item, 1), Pushed::Taken);
        }
        assert!(queue.server().is_none(), "there is a server");
        assert_eq!(queue.push(4, 1), Pushed::Missed(1));
        let mut seen = Vec::new();
        server.serve(&Home::default(), |item| {
            seen.push(item);
            if item == 3 {
                queue.close();
            }
        });
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!(queue.push(5, 1), Pushed::Closed);
    }

    #[test]
    fn a_dropped_or_panicked_server_can_be_replaced() {
        let (queue, server) = WorkQueue::served(BOUND);
        assert_eq!(queue.push(1, 1), Pushed::Taken);
        assert!(queue.server().is_none());
        drop(server);
        assert_eq!(queue.push(2, 1), Pushed::Taken);
        let server = queue.server().unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            server.serve(&Home::default(), |item| assert!(item != 1, "on purpose"));
        }));
        assert!(panicked.is_err());
        let mut seen = Vec::new();
        queue.retire();
        queue
            .server()
            .unwrap()
            .serve(&Home::default(), |item| seen.push(item));
        assert_eq!(seen, [2]);
    }

    #[test]
    fn a_retired_queue_still_accepts_items() {
        let (queue, server) = WorkQueue::served(BOUND);
        queue.retire();
        server.serve(&Home::default(), |_| unreachable!("the queue is empty"));
        assert_eq!(queue.push(1, 1), Pushed::Taken);
        let mut seen = Vec::new();
        queue
            .server()
            .unwrap()
            .serve(&Home::default(), |item| seen.push(item));
        assert_eq!(seen, [1]);
    }

    #[test]
    fn two_servers_never_serve_one_queue_at_a_time() {
        let (queue, first) = WorkQueue::served(Bound {
            items: usize::MAX,
            bytes: usize::MAX,
        });
        let serving = AtomicUsize::new(0);
        let served = AtomicUsize::new(0);
        let serve = |server: Server<usize>| {
            server.serve(&Home::default(), |_| {
                assert_eq!(serving.fetch_add(1, Ordering::SeqCst), 0);
                std::thread::yield_now();
                served.fetch_add(1, Ordering::SeqCst);
                serving.fetch_sub(1, Ordering::SeqCst);
            });
        };
        queue.retire();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(first));
            for _ in 0..4 {
                scope.spawn(|| {
                    for item in 0..2_000 {
                        queue.push(item, 1);
                        if let Some(server) = queue.server() {
                            serve(server);
                        }
                    }
                });
            }
        });
        assert_eq!(served.load(Ordering::SeqCst), 8_000);
    }
}
