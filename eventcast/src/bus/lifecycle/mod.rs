//! Starting and stopping: which phase a bus is in, and what waits for the next one.

pub(crate) mod set_keys;
#[cfg(test)]
mod tests;
pub(crate) mod transition;

#[cfg(feature = "repl")]
use std::net::SocketAddr;
use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::{
    set_keys::spawn,
    transition::{Completion, Promise, Transition, log_failure},
};
use super::{
    driver::{
        context::{Context, Supervisor},
        key_ring::KeyRing,
        session::Session,
    },
    extension::Extension,
    listeners::owner::Owner,
    process::{
        failure::{Failure, caught},
        user_code,
    },
    shared::Shared,
    telemetry::{Telemetry, notice::Notice, stats::Stats},
};
use crate::error::Error;

/// How long the end of a stop waits until the listeners of notices have received it: the process
/// may be about to end. Not longer, because one of them may be waiting for this very stop.
const LAST_NOTICE: Duration = Duration::from_millis(500);

/// How long the end of a stop waits until its start has been reported, where that is still under
/// way. Not for ever, because the listener that receives the report may be waiting for this very
/// stop.
const FIRST_NOTICE: Duration = Duration::from_secs(2);

/// How long a start waits for an address that is tentative: the system asks the link once, for a
/// second and a random part of another one (RFC 4862, sections 5.1 and 5.4.2). It may be set to ask
/// several times.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);

/// How long a start pauses between two attempts meanwhile.
const ADDRESS_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Lifecycle {
    pub(super) shared: Arc<Shared>,
    /// The bus, which a running session keeps.
    owner: Weak<dyn Owner>,
    pub(crate) keys: KeyRing,
    console: Option<Box<dyn Extension>>,
    /// Warnings from when the bus was built, until the first start reports them.
    warnings: Mutex<Vec<String>>,
    /// The running session, for those that emit. The phase decides over it.
    session: RwLock<Option<Arc<Session>>>,
    /// The sums of what ended sessions have counted.
    past: Mutex<Stats>,
    phase: Mutex<Phase>,
    /// How many sessions, or starts of one, have ended.
    ends: AtomicU64,
    /// Notified after each.
    ended: Notify,
}

#[derive(Default)]
enum Phase {
    #[default]
    Stopped,
    /// Keys are being derived, or an address is waited for.
    Starting(Arc<Completion>),
    Running(Arc<Session>),
    Stopping {
        session: Arc<Session>,
        done: Promise,
        /// A `start` came meanwhile: it takes place when the stop is through.
        restart: Option<Promise>,
    },
}

impl Lifecycle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        owner: Weak<dyn Owner>,
        keys: KeyRing,
        console: Option<Box<dyn Extension>>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            shared,
            owner,
            keys,
            console,
            warnings: Mutex::new(warnings),
            session: RwLock::default(),
            past: Mutex::default(),
            phase: Mutex::default(),
            ends: AtomicU64::new(0),
            ended: Notify::new(),
        }
    }

    pub(crate) fn start(self: &Arc<Self>) -> Transition {
        let process = &self.shared.process;
        if process.is_forked() {
            return Transition::started(Err(Error::Forked));
        }
        process.home.settle();
        process.runtime.adopt();
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Running(_) => Transition::over(Ok(())),
            Phase::Starting(done) => Transition::of(done),
            Phase::Stopping { restart, .. } => {
                Transition::of(&restart.get_or_insert_with(Promise::default).0)
            }
            Phase::Stopped if self.keys.must_be_derived() => {
                let done = Arc::<Completion>::default();
                match self.go_on_elsewhere(&done) {
                    Ok(()) => {
                        *phase = Phase::Starting(Arc::clone(&done));
                        Transition::of(&done)
                    }
                    Err(error) => {
                        drop(phase);
                        Transition::started(Err(error))
                    }
                }
            }
            Phase::Stopped => {
                let mut opened = self.open(&mut phase);
                if opened.passes_soon() {
                    let done = Arc::<Completion>::default();
                    if self.go_on_elsewhere(&done).is_ok() {
                        *phase = Phase::Starting(Arc::clone(&done));
                        drop(phase);
                        opened.report_notices(&self.shared.telemetry);
                        return Transition::of(&done);
                    }
                }
                drop(phase);
                Transition::started(self.report_start(opened))
            }
        }
    }

    /// Goes on with a start on a thread of its own: keys take their time, and so do addresses.
    fn go_on_elsewhere(self: &Arc<Self>, done: &Arc<Completion>) -> Result<(), Error> {
        let (lifecycle, done) = (Arc::clone(self), Arc::clone(done));
        spawn(move || {
            let derived = caught("deriving keys", || lifecycle.keys.derive());
            let started = derived.and_then(|slow| {
                if let Some(notice) = slow {
                    lifecycle.report(notice);
                }
                caught("starting", || lifecycle.go_on(&done))
            });
            if let Err(failure) = started {
                lifecycle.give_up(&done, failure);
            }
        })
    }

    pub(crate) fn stop(&self) -> Transition {
        if self.shared.process.is_forked() {
            // Nothing of it runs in this process.
            return Transition::over(Ok(()));
        }
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Stopped => Transition::over(Ok(())),
            Phase::Starting(done) => {
                let done = Arc::clone(done);
                *phase = Phase::Stopped;
                drop(phase);
                done.complete(Err(Error::Stopped));
                self.note_end();
                Transition::over(Ok(()))
            }
            Phase::Stopping { done, restart, .. } => {
                if let Some(restart) = restart.take() {
                    restart.0.complete(Err(Error::Stopped));
                }
                Transition::of(&done.0)
            }
            Phase::Running(session) => {
                let session = Arc::clone(session);
                let done = self.begin_to_stop(&mut phase, &session);
                drop(phase);
                session.begin_to_close();
                self.shared.room.notify();
                Transition::of(&done)
            }
        }
    }

    /// A panic on a thread that belongs to no session in particular ends the one that is running.
    #[cold]
    pub(crate) fn fail_running(&self, failure: Failure) {
        match self.session() {
            Some(session) => session.fail(failure),
            None => tracing::error!(target: "eventcast", "{}", Notice::from(failure)),
        }
    }

    /// Goes on with a start whose keys are derived, unless it was stopped meanwhile. Where the
    /// address of an interface is not ready yet, it waits for that.
    fn go_on(self: &Arc<Self>, done: &Arc<Completion>) {
        let mut ends = None;
        loop {
            let mut phase = self.lock();
            if !matches!(&*phase, Phase::Starting(current) if Arc::ptr_eq(current, done)) {
                return;
            }
            *phase = Phase::Stopped;
            let mut opened = self.open(&mut phase);
            let is_first = ends.is_none();
            let end = *ends.get_or_insert_with(|| Instant::now() + ADDRESS_PATIENCE);
            if opened.passes_soon() && Instant::now() < end {
                *phase = Phase::Starting(Arc::clone(done));
                drop(phase);
                opened.report_notices(&self.shared.telemetry);
                if is_first {
                    opened.report_wait(&self.shared.telemetry);
                }
                std::thread::sleep(ADDRESS_PAUSE);
                continue;
            }
            drop(phase);
            let started = self.report_start(opened);
            if let Err(error) = &started {
                log_failure(error);
                self.note_end();
            }
            return done.complete(started);
        }
    }

    /// Ends a start whose keys could not be derived because of a panic.
    #[cold]
    fn give_up(&self, done: &Arc<Completion>, failure: Failure) {
        let mut phase = self.lock();
        if matches!(&*phase, Phase::Starting(current) if Arc::ptr_eq(current, done)) {
            *phase = Phase::Stopped;
        }
        drop(phase);
        self.report(failure.clone().into());
        done.complete(Err(failure.error()));
        self.note_end();
    }

    /// Waits until the bus is stopped and its sockets are closed, or has been since this was
    /// called.
    pub(crate) fn closed(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let lifecycle = Arc::clone(self);
        let ends = lifecycle.ends.load(Ordering::SeqCst);
        async move {
            // A task that stops and waits in a loop lets others run in between.
            tokio::task::coop::consume_budget().await;
            // In another process the phase may be locked for ever.
            while !lifecycle.shared.process.is_forked() {
                // Registered before the look: an end in between is not missed.
                let mut ended = pin!(lifecycle.ended.notified());
                ended.as_mut().enable();
                if lifecycle.is_over() || lifecycle.ends.load(Ordering::SeqCst) != ends {
                    return;
                }
                ended.await;
            }
        }
    }

    /// Notes the end of a session, or of a start.
    fn note_end(&self) {
        self.ends.fetch_add(1, Ordering::SeqCst);
        // Wakes tasks, whose executor may be the user's.
        user_code::report_waker(user_code::run(|| self.ended.notify_waiters()));
    }

    /// Whether no session is there, and everything of the last one has been reported.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&*self.lock(), Phase::Stopped)
    }

    /// Calls `look` with the session that is running or closing, while none can begin or end.
    pub(super) fn with_session<T>(&self, look: impl FnOnce(Option<&Arc<Session>>) -> T) -> T {
        match &*self.lock() {
            Phase::Stopped | Phase::Starting(_) => look(None),
            Phase::Running(session) | Phase::Stopping { session, .. } => look(Some(session)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // A phase is replaced by one assignment, so that a panic leaves the one before it or the
        // one after it.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session stops from now on: nothing else finds it.
    fn begin_to_stop(&self, phase: &mut Phase, session: &Arc<Session>) -> Arc<Completion> {
        let done = Promise::default();
        let completion = Arc::clone(&done.0);
        *phase = Phase::Stopping {
            session: Arc::clone(session),
            done,
            restart: None,
        };
        self.set_session(None);
        completion
    }

    fn open(self: &Arc<Self>, phase: &mut Phase) -> Opened {
        let mut notices = Vec::new();
        let result = self.open_session(&mut notices).inspect(|session| {
            self.set_session(Some(Arc::clone(session)));
            *phase = Phase::Running(Arc::clone(session));
        });
        Opened { notices, result }
    }

    fn open_session(self: &Arc<Self>, notices: &mut Vec<Notice>) -> Result<Arc<Session>, Error> {
        let shared = &self.shared;
        if shared.process.runtime.get().is_none() && shared.listeners.has_async() {
            return Err(Error::NoRuntime);
        }
        // Nothing that starts a session outlives the bus.
        let owner = self.owner.upgrade().ok_or(Error::Stopped)?;
        // Before the sockets: where these cannot be had, it shows why.
        let opened = self.console.as_ref();
        let opened =
            opened.map(|console| console.open(&shared.options, Arc::clone(&owner).downgrade()));
        let console = opened.transpose()?.unwrap_or_default();
        let seal = self.keys.config(&shared.options);
        let supervisor = Arc::<Self>::clone(self);
        let opened = Session::open(shared, owner, supervisor, seal).map(|(session, warnings)| {
            notices.extend(warnings);
            notices.extend(self.keys.warnings(&shared.options));
            notices.push(session.started());
            Arc::new(session)
        });
        notices.extend(console);
        opened
    }

    /// Reports what there is to report of a start, and lets the session hear others only then: that
    /// it has started comes before everything that it hears.
    fn report_start(&self, mut opened: Opened) -> Result<(), Error> {
        let telemetry = &self.shared.telemetry;
        opened.report_notices(telemetry);
        let session = opened.result?;
        // They were logged when the bus was built.
        for text in self.take_warnings() {
            let _ = caught("reporting", || telemetry.repeat(Notice::Warning { text }));
        }
        session.begin();
        self.shared.listeners.wake_async(&session.context.owner);
        Ok(())
    }

    /// Reports a notice where a panic of a subscriber of `tracing` must not come in the way of what
    /// follows.
    pub(super) fn report(&self, notice: Notice) {
        let _ = caught("reporting", || self.shared.telemetry.report(notice));
    }

    /// The running session. `None` in a forked child, too: it is not its own.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        if self.shared.process.is_forked() {
            return None;
        }
        // It is replaced by one assignment.
        let session = self.session.read();
        session.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_session(&self, session: Option<Arc<Session>>) {
        let mut current = self.session.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, session);
        drop(current);
        // It may be the last that holds it, and then sockets are closed.
        drop(before);
    }

    /// Takes the warnings from when the bus was built.
    fn take_warnings(&self) -> Vec<String> {
        // It is replaced by one assignment.
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops without waiting, and ends everything that waits for events: the last handle has been
    /// dropped.
    pub(crate) fn shut_down(&self) {
        drop(self.stop());
        if let Some(console) = &self.console {
            console.close();
        }
        self.shared.listeners.close();
        self.end_notices();
    }

    /// Ends the streams of notices, once the last handle has been dropped and everything has been
    /// reported.
    fn end_notices(&self) {
        if self.shared.handles.load(Ordering::Acquire) == 0 && self.is_over() {
            self.shared.telemetry.close();
        }
    }

    /// The address of the console, while it is open.
    #[cfg(feature = "repl")]
    pub(crate) fn console_address(&self) -> Option<SocketAddr> {
        self.console.as_ref()?.address()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.shared.telemetry.counters;
        if self.shared.process.is_forked() {
            // What a thread of the parent has locked stays locked.
            let mut stats = Stats::default();
            stats.add_counters(counters);
            return stats;
        }
        // While the phase stands still, so that a session that ends now is counted once.
        let mut stats = self.with_session(|session| {
            let mut stats = self.lock_past().clone();
            if let Some(session) = session {
                stats.add_session(&session.stats(), false);
            }
            stats
        });
        stats.add_counters(counters);
        stats
    }

    fn lock_past(&self) -> MutexGuard<'_, Stats> {
        // Nothing that can panic runs under this lock.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor for Lifecycle {
    fn session_failed(&self, context: &Arc<Context>, failure: Failure) {
        let mut phase = self.lock();
        let session = match &*phase {
            Phase::Running(session) | Phase::Stopping { session, .. } => Some(Arc::clone(session)),
            Phase::Stopped | Phase::Starting(_) => None,
        };
        let session = session.filter(|session| Arc::ptr_eq(&session.context, context));
        if let (Phase::Running(_), Some(session)) = (&*phase, &session) {
            self.begin_to_stop(&mut phase, session);
        }
        drop(phase);
        // Later panics follow from the first.
        if context.engine.is_first_failure() {
            self.report(failure.into());
        }
        context.engine.fail();
        if let Some(session) = session {
            session.begin_to_close();
        }
        self.shared.room.notify();
    }

    fn session_closed(self: Arc<Self>, context: &Arc<Context>) {
        context.gate.wait_until_open(FIRST_NOTICE);
        // Reported while the stop is still under way: when it is over for its caller, the notice
        // has been heard.
        let telemetry = &self.shared.telemetry;
        let _ = caught("reporting", || {
            telemetry.report(Notice::Stopped);
            telemetry.settle(LAST_NOTICE);
        });
        let mut phase = self.lock();
        if !matches!(&*phase, Phase::Stopping { session, .. } if Arc::ptr_eq(&session.context, context))
        {
            return;
        }
        let Phase::Stopping {
            session,
            done,
            restart,
        } = std::mem::take(&mut *phase)
        else {
            return;
        };
        self.lock_past().add_session(&session.stats(), true);
        let restarted = restart.map(|restart| (restart, self.open(&mut phase)));
        let waits = restarted.as_ref().is_some_and(|(restart, opened)| {
            let waits = opened.passes_soon() && self.go_on_elsewhere(&restart.0).is_ok();
            if waits {
                *phase = Phase::Starting(Arc::clone(&restart.0));
            }
            waits
        });
        drop(phase);
        done.0.complete(Ok(()));
        self.note_end();
        self.end_notices();
        match restarted {
            Some((restart, mut opened)) if waits => {
                opened.report_notices(telemetry);
                restart.hand_on();
            }
            Some((restart, opened)) => restart.0.complete(self.report_start(opened)),
            None => {}
        }
    }
}

/// The result of opening a session.
struct Opened {
    /// To be reported when the phase is no longer locked.
    notices: Vec<Notice>,
    result: Result<Arc<Session>, Error>,
}

impl Opened {
    /// Whether it failed for a reason that will soon be over.
    fn passes_soon(&self) -> bool {
        matches!(&self.result, Err(Error::Open(error)) if error.passes_soon())
    }

    fn report_notices(&mut self, telemetry: &Arc<Telemetry>) {
        for notice in std::mem::take(&mut self.notices) {
            let _ = caught("reporting", || telemetry.report(notice));
        }
    }

    /// Reports what the start waits for.
    fn report_wait(&self, telemetry: &Arc<Telemetry>) {
        if let Err(error) = &self.result {
            let text = format!("the start waits: {error}");
            let _ = caught("reporting", || telemetry.report(Notice::Warning { text }));
        }
    }
}
