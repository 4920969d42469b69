//! A bounded queue with at most one thread that works it off.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::bounded_queue::{Bound, BoundedQueue, Overflow};
use crate::bus::process::fork::Home;

/// How long a thread that has emptied a queue waits for more before it ends. Long enough that a listener with a
/// steady trickle keeps its thread, short enough that a quiet bus soon has none to spare.
const LINGER: Duration = Duration::from_secs(2);

/// A backlog with at most one thread that works it off: the one that holds its [`Server`].
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
    /// There is a [`Server`].
    served: bool,
    /// An item has been taken out, and is not worked off yet.
    busy: bool,
    /// Nobody puts much into it any more: whoever serves it does not linger.
    retired: bool,
    closed: bool,
}

/// What became of a [`WorkQueue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Taken,
    /// The queue was full, and this many items were missed.
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

    /// A queue, and the right to serve it.
    pub(crate) fn served(bound: Bound) -> (Self, Server<T>) {
        let queue = Self::new(bound);
        queue.shared.lock().served = true;
        let server = Server {
            shared: Arc::clone(&queue.shared),
            is_over: false,
        };
        (queue, server)
    }

    /// Takes an item, and wakes the thread that serves the queue, if there is one: [`Self::server`] has to be called
    /// afterwards.
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

    /// The right to serve the queue, where something waits and nobody has it.
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

    /// Waits until everything has been worked off, until then at most.
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

    /// Whoever serves the queue ends as soon as it is empty. What still comes is taken.
    pub(crate) fn retire(&self) {
        self.shared.lock().retired = true;
        self.shared.arrived.notify_all();
    }

    #[cfg(test)]
    pub(crate) fn is_retired(&self) -> bool {
        self.shared.lock().retired
    }

    /// Takes nothing any more; what waits is still worked off.
    pub(crate) fn finish(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }

    /// Drops what waits and takes nothing any more.
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

/// The right to serve a [`WorkQueue`]. There is one at most for each queue; when it is dropped, wherever that is and for
/// whatever reason, the queue is one that nobody serves.
#[derive(Debug)]
pub(crate) struct Server<T> {
    shared: Arc<Shared<T>>,
    /// It has been said under the lock already.
    is_over: bool,
}

impl<T> Server<T> {
    /// Works the queue off, one item after the other, until it has been empty for a while, is retired or is closed; or
    /// until `run` has forked, and this is the child, where the queue may be locked for ever.
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
            // Before the lock is let go: what comes after this finds that nobody serves the queue.
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
    fn one_serves_and_the_queue_says_when_nobody_does() {
        let queue = WorkQueue::new(BOUND);
        assert!(queue.server().is_none(), "nothing waits");
        assert_eq!(queue.push(1, 1), Pushed::Taken);
        let server = queue.server().unwrap();
        for item in [2, 3] {
            assert_eq!(queue.push(item, 1), Pushed::Taken);
        }
        assert!(queue.server().is_none(), "there is one");
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
    fn a_server_that_goes_in_whatever_way_leaves_a_queue_that_can_be_served() {
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
    fn a_retired_queue_still_takes_what_comes() {
        let (queue, server) = WorkQueue::served(BOUND);
        queue.retire();
        server.serve(&Home::default(), |_| unreachable!("it is empty"));
        assert_eq!(queue.push(1, 1), Pushed::Taken);
        let mut seen = Vec::new();
        queue
            .server()
            .unwrap()
            .serve(&Home::default(), |item| seen.push(item));
        assert_eq!(seen, [1]);
    }

    #[test]
    fn two_never_serve_one_queue() {
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
