//! Starting and stopping: which of the two a bus is doing, and who waits for it to be done.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

#[cfg(feature = "repl")]
use super::WeakBus;
use super::{core::Core, keys, notice::Notice, session::Session};
use crate::error::Error;

#[derive(Default)]
pub(crate) struct Life {
    phase: Mutex<Phase>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Stopped,
    /// Keys are being derived.
    Starting(Arc<Completion>),
    Running(Arc<Session>),
    Stopping {
        session: Arc<Session>,
        done: Arc<Completion>,
        /// A `start` came meanwhile: it takes place when the stop is through.
        restart: Option<Arc<Completion>>,
    },
}

impl Life {
    pub(crate) fn start(core: &Arc<Core>) -> Transition {
        core.adopt_runtime();
        let mut phase = core.life.lock();
        match &mut *phase {
            Phase::Running(_) => Transition::over(Ok(())),
            Phase::Starting(done) => Transition::of(done),
            Phase::Stopping { restart, .. } => {
                Transition::of(restart.get_or_insert_with(Arc::default))
            }
            Phase::Stopped if core.keys.must_be_derived() => {
                let done = Arc::<Completion>::default();
                let going_on = Arc::clone(&done);
                let spawned = keys::spawn(core, move |core| {
                    core.keys.derive();
                    Self::go_on(core, &going_on);
                });
                if let Err(error) = spawned {
                    return Transition::started(Err(error));
                }
                *phase = Phase::Starting(Arc::clone(&done));
                Transition::of(&done)
            }
            Phase::Stopped => {
                let opened = open(core, &mut phase);
                drop(phase);
                Transition::started(tell(core, opened))
            }
        }
    }

    pub(crate) fn stop(core: &Arc<Core>) -> Transition {
        let mut phase = core.life.lock();
        match &mut *phase {
            Phase::Stopped => Transition::over(Ok(())),
            Phase::Starting(done) => {
                let done = Arc::clone(done);
                *phase = Phase::Stopped;
                drop(phase);
                done.complete(Err(Error::Stopped));
                Transition::over(Ok(()))
            }
            Phase::Stopping { done, restart, .. } => {
                if let Some(restart) = restart.take() {
                    restart.complete(Err(Error::Stopped));
                }
                Transition::of(done)
            }
            Phase::Running(session) => {
                let session = Arc::clone(session);
                let done = Arc::<Completion>::default();
                *phase = Phase::Stopping {
                    session: Arc::clone(&session),
                    done: Arc::clone(&done),
                    restart: None,
                };
                core.set_session(None);
                drop(phase);
                session.begin_to_close();
                core.tell_room();
                Transition::of(&done)
            }
        }
    }

    /// The keys are there that this start waits for, unless it was stopped meanwhile.
    fn go_on(core: &Arc<Core>, done: &Arc<Completion>) {
        let mut phase = core.life.lock();
        if !matches!(&*phase, Phase::Starting(current) if Arc::ptr_eq(current, done)) {
            return;
        }
        *phase = Phase::Stopped;
        let opened = open(core, &mut phase);
        drop(phase);
        let started = tell(core, opened);
        if let Err(error) = &started {
            log_failure(error);
        }
        done.complete(started);
    }

    /// The session has closed its sockets. Called by its own last act.
    pub(crate) fn stopped(core: &Arc<Core>) {
        let mut phase = core.life.lock();
        let Phase::Stopping {
            session,
            done,
            restart,
        } = std::mem::take(&mut *phase)
        else {
            unreachable!("a session closes only when it was told to stop");
        };
        core.absorb(&session);
        let restarted = restart.map(|restart| (restart, open(core, &mut phase)));
        drop(phase);
        core.notices.tell(core, Notice::Stopped);
        done.complete(Ok(()));
        if let Some((restart, opened)) = restarted {
            restart.complete(tell(core, opened));
        }
    }

    /// Looks at the session whose counters are still live, running or about to close, while it cannot change.
    pub(crate) fn with_session<T>(&self, look: impl FnOnce(Option<&Session>) -> T) -> T {
        match &*self.lock() {
            Phase::Stopped | Phase::Starting(_) => look(None),
            Phase::Running(session) | Phase::Stopping { session, .. } => look(Some(session)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // A panic in `open` leaves the phase as it was: stopped.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of opening a session.
struct Opened {
    /// To be told when the phase is no longer locked.
    notices: Vec<Notice>,
    result: Result<(), Error>,
}

fn open(core: &Arc<Core>, phase: &mut Phase) -> Opened {
    let mut notices = Vec::new();
    let result = open_session(core, &mut notices).map(|session| {
        core.set_session(Some(Arc::clone(&session)));
        *phase = Phase::Running(session);
    });
    Opened { notices, result }
}

fn open_session(core: &Arc<Core>, notices: &mut Vec<Notice>) -> Result<Arc<Session>, Error> {
    if core.runtime().is_none() && core.has_async_listeners() {
        return Err(Error::NoRuntime);
    }
    // Before the sockets: where these cannot be had, it shows why.
    #[cfg(feature = "repl")]
    notices.extend(core.repl.open(&core.options, WeakBus::of(core))?);
    let (session, told) = Session::open(core)?;
    notices.extend(told);
    Ok(session)
}

fn tell(core: &Arc<Core>, opened: Opened) -> Result<(), Error> {
    for notice in opened.notices {
        core.notices.tell(core, notice);
    }
    opened.result?;
    core.wake_async_listeners();
    Ok(())
}

/// Somebody waits for this.
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
    pub(crate) fn complete(&self, result: Result<(), Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.result = Some(result);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = &state.result {
            return Poll::Ready(result.clone());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A `start`, a `stop` or a change of keys under way. It goes on whether or not this is awaited; awaiting tells when
/// it is done, and how it went.
pub struct Transition(Progress);

enum Progress {
    Over(Result<(), Error>),
    Waiting(Arc<Completion>),
}

impl Transition {
    /// A start that is over.
    fn started(result: Result<(), Error>) -> Self {
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

fn log_failure(error: &Error) {
    tracing::error!(target: "eventcast", %error, "could not start");
}

impl Future for Transition {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.0 {
            Progress::Over(result) => Poll::Ready(result.clone()),
            Progress::Waiting(completion) => completion.poll(cx),
        }
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
