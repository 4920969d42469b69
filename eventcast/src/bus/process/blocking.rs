//! Blocking on a future on a thread without a runtime.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The end of `timeout`. `None`: later than the clock can represent, so never.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Blocks the calling thread until the future is ready. `None`: it was not ready at `deadline`.
///
/// Another call may poll a future passed by reference again, if it allows that.
pub(crate) fn block_on<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    // Within a task, tokio would never renew the cooperative budget, since the blocked thread does
    // not return to the runtime.
    let mut future = pin!(tokio::task::coop::unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        // A wake-up between poll and park makes the park return at once. It may also return
        // spuriously.
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[test]
    fn a_future_is_awaited_across_threads() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || block_on(receiver, None));
        sender.send(7).unwrap();
        assert_eq!(thread.join().unwrap(), Some(Ok(7)));
    }

    #[test]
    fn a_deadline_ends_the_wait_unless_the_future_is_ready() {
        let past = Some(Instant::now());
        assert_eq!(block_on(future::pending::<()>(), past), None);
        assert_eq!(block_on(future::ready(7), past), Some(7));
        let soon = Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(block_on(future::pending::<()>(), soon), None);
    }

    #[test]
    fn the_cooperative_budget_of_a_task_does_not_block_for_ever() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..1_000 {
                let budgeted = future::poll_fn(|cx| {
                    tokio::task::coop::poll_proceed(cx).map(|budget| budget.made_progress())
                });
                assert_eq!(block_on(budgeted, None), Some(()));
            }
        });
    }
}
