//! A start, a stop or a change of keys as its caller sees it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    bus::process::{failure::Failure, user_code},
    error::Error,
};

/// A completion that is certain: where a panic comes first, it completes as failed, so that nothing
/// waits for ever.
#[derive(Default)]
pub(crate) struct Promise(pub(crate) Arc<Completion>);

impl Promise {
    /// Leaves the completion to its other owners.
    pub(crate) fn hand_on(mut self) {
        drop(std::mem::take(&mut self.0));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let failure = Failure {
            during: "starting or stopping",
            message: "a panic, which was reported before".into(),
        };
        self.0.complete(Err(failure.error()));
    }
}

/// A result that tasks may wait for.
#[derive(Default)]
pub(crate) struct Completion {
    state: Mutex<Awaited>,
}

#[derive(Default)]
struct Awaited {
    result: Option<Result<(), Error>>,
    wakers: Vec<Waker>,
}

impl Completion {
    /// The first result counts.
    pub(crate) fn complete(&self, result: Result<(), Error>) {
        let mut state = self.lock();
        if state.result.is_some() {
            return;
        }
        state.result = Some(result);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            user_code::wake(waker);
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        // Cloned without the lock: it is the executor's, which may be the user's.
        let mut own: Option<Waker> = None;
        loop {
            let mut state = self.lock();
            if let Some(result) = &state.result {
                return Poll::Ready(result.clone());
            }
            if state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(own) = own.take() {
                state.wakers.push(own);
                return Poll::Pending;
            }
            drop(state);
            own = Some(cx.waker().clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        // A waker that panics when it is cloned or compared leaves the result and the others as
        // they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A `start`, a `stop` or a change of keys under way. It goes on whether this future is awaited or
/// dropped; awaiting it returns the result. Polled again after it was ready, it returns the same
/// result.
pub struct Transition(Progress);

enum Progress {
    Over(Result<(), Error>),
    Waiting(Arc<Completion>),
}

impl Transition {
    /// A start that is over.
    pub(crate) fn started(result: Result<(), Error>) -> Self {
        if let Err(error) = &result {
            log_failure(error);
        }
        Self::over(result)
    }

    pub(crate) fn over(result: Result<(), Error>) -> Self {
        Self(Progress::Over(result))
    }

    pub(crate) fn of(completion: &Arc<Completion>) -> Self {
        Self(Progress::Waiting(Arc::clone(completion)))
    }
}

/// To be called without any lock: a subscriber of the log is the user's, and may call the bus.
pub(crate) fn log_failure(error: &Error) {
    let log = || tracing::error!(target: "eventcast", %error, "could not start");
    let _ = user_code::run(log);
}

impl Future for Transition {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that starts and stops in a loop lets others run in between.
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let polled = match &self.0 {
            Progress::Over(result) => Poll::Ready(result.clone()),
            Progress::Waiting(completion) => completion.poll(cx),
        };
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }
}

impl fmt::Debug for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Progress::Over(Ok(())) => "Transition(done)",
            Progress::Over(Err(_)) => "Transition(failed)",
            Progress::Waiting(_) => "Transition(under way)",
        })
    }
}
