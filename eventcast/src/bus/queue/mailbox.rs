//! A bounded queue that a task polls. Streams of events and of notices read from it.
//!
//! A waker runs code of its executor, which may be the user's: none is cloned, woken or dropped
//! under the lock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    bounded_queue::{Bound, BoundedQueue, Overflow},
    error::TryNextError,
};
use crate::bus::process::user_code;

#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: BoundedQueue<T>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(bound: Bound, overflow: Overflow) -> Self {
        Self {
            state: Mutex::new(State {
                queue: BoundedQueue::new(bound, overflow),
                missed: 0,
                waker: None,
                closed: false,
            }),
        }
    }

    /// Queues an item, and returns how many were dropped for want of room: itself, or older ones.
    /// The caller has to call [`Self::wake`] afterwards.
    pub(crate) fn push(&self, item: T, size: usize) -> u64 {
        let mut state = self.lock();
        if state.closed {
            return 0;
        }
        let missed = state.queue.push(item, size) as u64;
        state.missed += missed;
        missed
    }

    /// Wakes the task that waits for an item, if there is one.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            user_code::wake(waker);
        }
    }

    /// Refuses further items. The waiting ones can still be read before the end.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    pub(crate) fn try_pop(&self) -> Result<T, TryNextError> {
        let mut state = self.lock();
        match state.queue.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(TryNextError::Ended),
            None => Err(TryNextError::Empty),
        }
    }

    /// The next item; `None` at the end. Takes one unit of the task's cooperative budget, where
    /// tokio counts one.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let popped = self.pop_or_wait(cx);
        if popped.is_ready() {
            budget.made_progress();
        }
        popped
    }

    fn pop_or_wait(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut own: Option<Waker> = None;
        loop {
            let mut state = self.lock();
            if let Some(item) = state.queue.pop() {
                return Poll::Ready(Some(item));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let registered = state.waker.as_ref();
            if registered.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(own) = own.take() {
                let before = state.waker.replace(own);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            drop(state);
            own = Some(cx.waker().clone());
        }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.lock().missed
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        // Without the lock: in a forked child, a thread of the parent may hold it for ever.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waker = state.waker.take();
        // A panic of the waker is ignored: no reader is left.
        let _ = user_code::discard(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    const BOUND: Bound = Bound {
        items: 4,
        bytes: 100,
    };

    /// A task that reads the mailbox whenever its waker is woken or dropped, as an executor of the
    /// user's may.
    struct Curious {
        mailbox: Arc<Mailbox<u8>>,
        woken: AtomicUsize,
    }

    impl Wake for Curious {
        fn wake(self: Arc<Self>) {
            self.mailbox.missed();
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Drop for Curious {
        fn drop(&mut self) {
            self.mailbox.missed();
        }
    }

    fn task(mailbox: &Arc<Mailbox<u8>>) -> (Arc<Curious>, Waker) {
        let task = Arc::new(Curious {
            mailbox: Arc::clone(mailbox),
            woken: AtomicUsize::new(0),
        });
        (Arc::clone(&task), Waker::from(task))
    }

    #[test]
    fn waiting_items_are_read_before_the_end() {
        let mailbox = Arc::new(Mailbox::new(BOUND, Overflow::DropOldest));
        let (task, waker) = task(&mailbox);
        let mut cx = Context::from_waker(&waker);
        assert!(mailbox.poll_pop(&mut cx).is_pending());
        mailbox.push(1, 1);
        mailbox.wake();
        assert_eq!(task.woken.load(Ordering::SeqCst), 1);
        mailbox.close();
        assert_eq!(mailbox.push(2, 1), 0);
        assert_eq!(mailbox.poll_pop(&mut cx), Poll::Ready(Some(1)));
        for _ in 0..2 {
            assert_eq!(mailbox.poll_pop(&mut cx), Poll::Ready(None));
        }
    }

    #[test]
    fn close_wakes_the_waiting_task() {
        let mailbox = Arc::new(Mailbox::new(BOUND, Overflow::DropOldest));
        let (task, waker) = task(&mailbox);
        assert!(
            mailbox
                .poll_pop(&mut Context::from_waker(&waker))
                .is_pending()
        );
        mailbox.close();
        assert_eq!(task.woken.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn wakers_are_dropped_without_the_lock() {
        let mailbox = Arc::new(Mailbox::new(BOUND, Overflow::DropOldest));
        // The second poll drops the first waker, and with it the task, which reads the mailbox.
        for _ in 0..3 {
            let (_, waker) = task(&mailbox);
            assert!(
                mailbox
                    .poll_pop(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        mailbox.wake();
    }
}
