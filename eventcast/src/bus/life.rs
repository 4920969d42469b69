//! Starting and stopping: which of the two a bus is doing, and who waits for it to be done.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

#[cfg(feature = "repl")]
use super::WeakBus;
use super::{
    core::Core,
    failure::{Failure, caught},
    keys,
    notice::Notice,
    session::Session,
    user_code,
};
use crate::error::Error;

/// How long the end of a stop waits for listeners of notices to hear of it: the process may be about to end. Not
/// longer, because one of them may be waiting for this very stop.
const LAST_NOTICE: Duration = Duration::from_millis(500);

/// How long the end of a stop waits until its start has been told, where that is still under way. Not for ever, because
/// what is the user's, and hears of it, may be waiting for this very stop.
const FIRST_NOTICE: Duration = Duration::from_secs(2);

/// How long a start waits for an address that is tentative: the system asks the link once, for a second and a random
/// part of another one (RFC 4862, sections 5.1 and 5.4.2). It may be set to ask several times.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is tried meanwhile.
const ADDRESS_PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Life {
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

impl Life {
    pub(crate) fn start(core: &Arc<Core>) -> Transition {
        if core.home.is_elsewhere() {
            return Transition::started(Err(Error::Forked));
        }
        core.home.settle();
        core.adopt_runtime();
        let mut phase = core.life.lock();
        match &mut *phase {
            Phase::Running(_) => Transition::over(Ok(())),
            Phase::Starting(done) => Transition::of(done),
            Phase::Stopping { restart, .. } => {
                Transition::of(&restart.get_or_insert_with(Promise::default).0)
            }
            Phase::Stopped if core.keys.must_be_derived() => {
                let done = Arc::<Completion>::default();
                match Self::go_on_elsewhere(core, &done) {
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
                let mut opened = open(core, &mut phase);
                if opened.passes_soon() {
                    let done = Arc::<Completion>::default();
                    if Self::go_on_elsewhere(core, &done).is_ok() {
                        *phase = Phase::Starting(Arc::clone(&done));
                        drop(phase);
                        opened.tell_notices(core);
                        return Transition::of(&done);
                    }
                }
                drop(phase);
                Transition::started(tell(core, opened))
            }
        }
    }

    /// Goes on with a start on a thread of its own: keys take their time, and so do addresses.
    fn go_on_elsewhere(core: &Arc<Core>, done: &Arc<Completion>) -> Result<(), Error> {
        let done = Arc::clone(done);
        keys::spawn(core, move |core| {
            let derived = caught("deriving keys", || core.keys.derive());
            let started = derived.and_then(|slow| {
                if let Some(notice) = slow {
                    let _ = caught("telling", || core.notices.tell(core, notice));
                }
                caught("starting", || Self::go_on(core, &done))
            });
            if let Err(failure) = started {
                Self::give_up(core, &done, failure);
            }
        })
    }

    pub(crate) fn stop(core: &Arc<Core>) -> Transition {
        if core.home.is_elsewhere() {
            // Nothing of it runs in this process.
            return Transition::over(Ok(()));
        }
        let mut phase = core.life.lock();
        match &mut *phase {
            Phase::Stopped => Transition::over(Ok(())),
            Phase::Starting(done) => {
                let done = Arc::clone(done);
                *phase = Phase::Stopped;
                drop(phase);
                done.complete(Err(Error::Stopped));
                core.life.tell_end();
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
                let done = begin_to_stop(core, &mut phase, &session);
                drop(phase);
                session.begin_to_close();
                core.tell_room();
                Transition::of(&done)
            }
        }
    }

    /// A panic ends a session: it is told, and what is left of the session is closed.
    #[cold]
    pub(crate) fn fail(core: &Arc<Core>, session: &Arc<Session>, failure: Failure) {
        let mut phase = core.life.lock();
        if matches!(&*phase, Phase::Running(running) if Arc::ptr_eq(running, session)) {
            begin_to_stop(core, &mut phase, session);
        }
        drop(phase);
        // What follows from the first one says nothing new.
        if session.is_first_failure() {
            tell_failure(core, failure);
        }
        session.fail();
        core.tell_room();
    }

    /// A panic on a thread that belongs to no session in particular.
    #[cold]
    pub(crate) fn fail_running(core: &Arc<Core>, failure: Failure) {
        match core.session() {
            Some(session) => Self::fail(core, &session, failure),
            None => tracing::error!(target: "eventcast", "{}", failure.notice()),
        }
    }

    /// The keys are there that this start waits for, unless it was stopped meanwhile. Where the address of an interface
    /// is not ready yet, it goes on as soon as it is.
    fn go_on(core: &Arc<Core>, done: &Arc<Completion>) {
        let mut ends = None;
        loop {
            let mut phase = core.life.lock();
            if !matches!(&*phase, Phase::Starting(current) if Arc::ptr_eq(current, done)) {
                return;
            }
            *phase = Phase::Stopped;
            let mut opened = open(core, &mut phase);
            let is_first = ends.is_none();
            let end = *ends.get_or_insert_with(|| Instant::now() + ADDRESS_PATIENCE);
            if opened.passes_soon() && Instant::now() < end {
                *phase = Phase::Starting(Arc::clone(done));
                drop(phase);
                opened.tell_notices(core);
                if is_first {
                    opened.tell_wait(core);
                }
                std::thread::sleep(ADDRESS_PAUSE);
                continue;
            }
            drop(phase);
            let started = tell(core, opened);
            if let Err(error) = &started {
                log_failure(error);
                core.life.tell_end();
            }
            return done.complete(started);
        }
    }

    /// A panic has ended a start that waited for its keys.
    #[cold]
    fn give_up(core: &Arc<Core>, done: &Arc<Completion>, failure: Failure) {
        let mut phase = core.life.lock();
        if matches!(&*phase, Phase::Starting(current) if Arc::ptr_eq(current, done)) {
            *phase = Phase::Stopped;
        }
        drop(phase);
        tell_failure(core, failure.clone());
        done.complete(Err(failure.error()));
        core.life.tell_end();
    }

    /// The session has closed its sockets. Called by its own last act.
    pub(crate) fn stopped(core: &Arc<Core>, session: &Arc<Session>) {
        session.reading.wait_until_told(FIRST_NOTICE);
        // Told while the stop is still under way, so that whoever awaits it, or calls it, finds that it was told.
        let _ = caught("telling", || {
            core.notices.tell(core, Notice::Stopped);
            core.notices.settle(LAST_NOTICE);
        });
        let mut phase = core.life.lock();
        if !matches!(&*phase, Phase::Stopping { session: current, .. } if Arc::ptr_eq(current, session))
        {
            return;
        }
        let Phase::Stopping { done, restart, .. } = std::mem::take(&mut *phase) else {
            return;
        };
        core.absorb(session);
        let restarted = restart.map(|restart| (restart, open(core, &mut phase)));
        let waits = restarted.as_ref().is_some_and(|(restart, opened)| {
            let waits = opened.passes_soon() && Self::go_on_elsewhere(core, &restart.0).is_ok();
            if waits {
                *phase = Phase::Starting(Arc::clone(&restart.0));
            }
            waits
        });
        drop(phase);
        done.0.complete(Ok(()));
        core.life.tell_end();
        core.end_notices();
        match restarted {
            Some((restart, mut opened)) if waits => {
                opened.tell_notices(core);
                restart.hand_on();
            }
            Some((restart, opened)) => restart.0.complete(tell(core, opened)),
            None => {}
        }
    }

    /// Waits until the bus is stopped and its sockets are closed, or has been since this was called.
    pub(crate) fn closed(core: &Arc<Core>) -> impl Future<Output = ()> + Send + use<> {
        let core = Arc::clone(core);
        let ends = core.life.ends.load(Ordering::SeqCst);
        async move {
            // A task that stops and waits in a loop lets others run in between.
            tokio::task::coop::consume_budget().await;
            // In another process the phase may be locked for ever.
            while !core.home.is_elsewhere() {
                // Registered before the look: an end in between is not missed.
                let mut ended = pin!(core.life.ended.notified());
                ended.as_mut().enable();
                if core.life.is_over() || core.life.ends.load(Ordering::SeqCst) != ends {
                    return;
                }
                ended.await;
            }
        }
    }

    /// A session has ended, or a start of one.
    fn tell_end(&self) {
        self.ends.fetch_add(1, Ordering::SeqCst);
        // Wakes tasks, whose executor may be the user's.
        user_code::report_waker(user_code::run(|| self.ended.notify_waiters()));
    }

    /// Whether there is nothing more to be told of a session.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&*self.lock(), Phase::Stopped)
    }

    /// Looks at the session whose counters are still live, running or about to close, while it cannot change.
    pub(crate) fn with_session<T>(&self, look: impl FnOnce(Option<&Arc<Session>>) -> T) -> T {
        match &*self.lock() {
            Phase::Stopped | Phase::Starting(_) => look(None),
            Phase::Running(session) | Phase::Stopping { session, .. } => look(Some(session)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // A phase is replaced by one assignment, so that a panic leaves the one before it or the one after it.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session stops from now on: nobody else finds it.
fn begin_to_stop(core: &Core, phase: &mut Phase, session: &Arc<Session>) -> Arc<Completion> {
    let done = Promise::default();
    let completion = Arc::clone(&done.0);
    *phase = Phase::Stopping {
        session: Arc::clone(session),
        done,
        restart: None,
    };
    core.set_session(None);
    completion
}

/// What came of opening a session.
struct Opened {
    /// To be told when the phase is no longer locked.
    notices: Vec<Notice>,
    result: Result<Arc<Session>, Error>,
}

impl Opened {
    /// Whether it failed for a reason that is over in a moment.
    fn passes_soon(&self) -> bool {
        matches!(&self.result, Err(Error::Open(error)) if error.passes_soon())
    }

    fn tell_notices(&mut self, core: &Arc<Core>) {
        for notice in std::mem::take(&mut self.notices) {
            let _ = caught("telling", || core.notices.tell(core, notice));
        }
    }

    /// Tells what the start waits for.
    fn tell_wait(&self, core: &Arc<Core>) {
        if let Err(error) = &self.result {
            let text = format!("the start waits: {error}");
            let _ = caught("telling", || {
                core.notices.tell(core, Notice::Warning { text });
            });
        }
    }
}

fn open(core: &Arc<Core>, phase: &mut Phase) -> Opened {
    let mut notices = Vec::new();
    let result = open_session(core, &mut notices).inspect(|session| {
        core.set_session(Some(Arc::clone(session)));
        *phase = Phase::Running(Arc::clone(session));
    });
    Opened { notices, result }
}

fn open_session(core: &Arc<Core>, notices: &mut Vec<Notice>) -> Result<Arc<Session>, Error> {
    if core.runtime().is_none() && core.has_async_listeners() {
        return Err(Error::NoRuntime);
    }
    // Before the sockets: where these cannot be had, it shows why.
    #[cfg(feature = "repl")]
    let console = core.repl.open(&core.options, WeakBus::of(core))?;
    #[cfg(not(feature = "repl"))]
    let console = Vec::new();
    let opened = Session::open(core).map(|(session, told)| {
        notices.extend(told);
        session
    });
    notices.extend(console);
    opened
}

/// Tells what there is to tell of a start, and lets the session hear others only then: that it has started comes before
/// everything that it hears.
fn tell(core: &Arc<Core>, mut opened: Opened) -> Result<(), Error> {
    opened.tell_notices(core);
    let session = opened.result?;
    // They were logged when the bus was built.
    for text in core.take_warnings() {
        let _ = caught("telling", || {
            core.notices.repeat(core, Notice::Warning { text });
        });
    }
    session.reading.begin();
    session.outbox.begin(core);
    core.wake_async_listeners();
    Ok(())
}

#[cold]
fn tell_failure(core: &Arc<Core>, failure: Failure) {
    // The panic may be that of a subscriber of `tracing`, which is going to do it again.
    let _ = caught("telling", || core.notices.tell(core, failure.notice()));
}

/// Something that is going to be completed. Where a panic comes in the way it is all the same, as failed: nobody waits
/// for ever.
#[derive(Default)]
struct Promise(Arc<Completion>);

impl Promise {
    /// Others keep it from now on.
    fn hand_on(mut self) {
        drop(std::mem::take(&mut self.0));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let failure = Failure {
            during: "starting or stopping",
            message: "a panic, which was told before".into(),
        };
        self.0.complete(Err(failure.error()));
    }
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
        // A waker that panics when it is cloned or compared leaves the result and the others as they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A `start`, a `stop` or a change of keys under way. It goes on whether or not this is awaited, or dropped; awaiting
/// tells when it is done, and how it went. Polled again it says the same.
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

/// Without any lock: whoever has subscribed to the log is the user's, and may call the bus.
fn log_failure(error: &Error) {
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::{Bus, Notice};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn bus(last_octet: u8) -> Bus {
        Bus::builder()
            .environment(false)
            .multicast_interface("127.0.0.1")
            .multicast_membership(format!("239.194.254.{last_octet}"))
            .port(20_000 + (std::process::id() % 20_000) as u16)
            .build()
            .unwrap()
    }

    /// Other threads emit as soon as there is a session.
    #[test]
    fn that_nothing_can_be_sent_is_told_after_the_start() {
        let bus = bus(1);
        let (sender, told) = mpsc::channel();
        bus.on_notice(move |notice| {
            if matches!(notice, Notice::Started { .. } | Notice::SendFailed { .. }) {
                let _ = sender.send(matches!(notice, Notice::Started { .. }));
            }
        });
        let opened = open(&bus.core, &mut bus.core.life.lock());
        let session = bus.core.session().unwrap();
        session.outbox.fail(&bus.core, &session);
        tell(&bus.core, opened).unwrap();
        let order = [(); 2].map(|()| told.recv_timeout(PATIENCE).unwrap());
        assert_eq!(order, [true, false]);
        // From then on at once.
        session.outbox.fail(&bus.core, &session);
        drop(bus.stop());
    }

    /// A subscriber of the log that calls the bus.
    struct Curious(Bus);

    impl tracing::Subscriber for Curious {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.stats();
            drop(self.0.stop());
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn a_subscriber_of_the_log_may_call_the_bus() {
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let bus = bus(2);
            let subscriber = Curious(bus.clone());
            tracing::subscriber::with_default(subscriber, || {
                drop(bus.start());
                drop(bus.stop());
                // It has async listeners and no runtime: that is logged.
                bus.on_async_named("x", async |_| ());
                drop(bus.start());
            });
            let _ = sender.send(());
        });
        ended.recv_timeout(PATIENCE).expect("it comes back");
    }
}
