//! What all handles of one bus share.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use tokio::runtime::Handle;

#[cfg(feature = "metrics")]
use super::metrics::Published;
use super::{
    fork::Home,
    keys::KeyRing,
    last_resort::LastResort,
    life::Life,
    listener::{ListenerId, Sink},
    notices::Notices,
    options::Options,
    retired::Retired,
    secret::Secret,
    session::Session,
    stats::{Counters, Stats},
    table::Table,
    user_code,
};
use crate::proto::{Now, Peer};

pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) hostname: String,
    pub(crate) table: Table,
    /// Listeners that are not in the table any more, and have calls that wait.
    pub(crate) retired: Retired,
    pub(crate) notices: Notices,
    pub(crate) counters: Counters,
    pub(crate) life: Life,
    pub(crate) keys: KeyRing,
    #[cfg(feature = "repl")]
    pub(crate) repl: crate::repl::Repl,
    /// Rung when the send queue has room again, or the bus stops.
    room: tokio::sync::Notify,
    /// How many wait for that.
    waiting_for_room: AtomicUsize,
    /// Where it was started first.
    pub(crate) home: Home,
    pub(crate) max_listeners: AtomicUsize,
    /// How many [`Bus`](super::Bus) handles there are. The bus shuts down when the last one goes; what holds a
    /// `Core` besides (threads, events, streams) does not keep it alive.
    handles: AtomicUsize,
    current: RwLock<Current>,
    /// Goes up when the runtime becomes another one.
    runtime_version: AtomicU64,
    /// Held while an event takes its number and goes into the queues of this bus's own listeners, so that each of these
    /// gets them in the order of their numbers. Nothing of the user's runs under it.
    local_order: Mutex<()>,
    /// Who this bus is, or was when it last ran.
    identity: Mutex<Arc<Peer>>,
    /// What there was to warn about when the bus was built, until it is told at the first start.
    warnings: Mutex<Vec<String>>,
    /// What ended sessions had counted.
    past: Mutex<Stats>,
    #[cfg(feature = "metrics")]
    pub(crate) published: Published,
    origin_of_time: Instant,
}

/// What those who emit look at, all at once.
struct Current {
    /// The running session. [`Life`] decides over it.
    session: Option<Arc<Session>>,
    /// Where async listeners run, and what is entered where any listener runs.
    runtime: Option<Handle>,
    /// Given by the builder: a `start` within another runtime does not replace it.
    is_given: bool,
}

/// The bus's runtime, for a thread that calls listeners: looked up again only when it has changed.
pub(crate) struct RuntimeInUse {
    version: u64,
    handle: Option<Handle>,
}

impl RuntimeInUse {
    pub(crate) fn of(core: &Core) -> Self {
        // The version first: a change in between is found the next time.
        let version = core.runtime_version.load(Ordering::Acquire);
        let handle = core.runtime();
        Self { version, handle }
    }

    pub(crate) fn now(&mut self, core: &Core) -> Option<&Handle> {
        if core.runtime_version.load(Ordering::Acquire) != self.version {
            *self = Self::of(core);
        }
        self.handle.as_ref()
    }
}

impl Core {
    pub(crate) fn new(
        options: Options,
        id: String,
        hostname: String,
        runtime: Option<Handle>,
        receive: Vec<Secret>,
    ) -> Self {
        let identity = Mutex::new(Arc::new(Peer {
            id,
            incarnation: None,
            hostname: hostname.clone(),
            host: String::new(),
            port: 0,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        }));
        let max_listeners = AtomicUsize::new(options.max_listeners);
        #[cfg(feature = "metrics")]
        let group = SocketAddr::from((options.multicast_membership.address, options.port));
        Self {
            keys: KeyRing::new(&options, receive),
            notices: Notices::new(LastResort::new(options.last_resort)),
            options,
            hostname,
            table: Table::default(),
            retired: Retired::default(),
            counters: Counters::default(),
            life: Life::default(),
            room: tokio::sync::Notify::new(),
            waiting_for_room: AtomicUsize::new(0),
            #[cfg(feature = "repl")]
            repl: crate::repl::Repl::new(Vec::new()),
            home: Home::default(),
            max_listeners,
            handles: AtomicUsize::new(0),
            current: RwLock::new(Current {
                session: None,
                is_given: runtime.is_some(),
                runtime,
            }),
            runtime_version: AtomicU64::new(0),
            local_order: Mutex::default(),
            identity,
            warnings: Mutex::default(),
            past: Mutex::default(),
            #[cfg(feature = "metrics")]
            published: Published::new(group),
            origin_of_time: Instant::now(),
        }
    }

    /// With the options as the console shows them.
    #[cfg(feature = "repl")]
    pub(crate) fn with_settings(self, settings: Vec<super::config::Setting>) -> Self {
        let repl = crate::repl::Repl::new(settings);
        Self { repl, ..self }
    }

    /// With what there was to warn about when the bus was built. It has been logged.
    pub(crate) fn with_warnings(self, warnings: Vec<String>) -> Self {
        let warnings = Mutex::new(warnings);
        Self { warnings, ..self }
    }

    /// Takes what there was to warn about when the bus was built.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        // It is replaced by one assignment.
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time, as the protocol takes it.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            elapsed: self.origin_of_time.elapsed(),
            unix_ms: unix.as_millis() as u64,
        }
    }

    /// The running session. `None` in a forked child, too: it is not its own.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        if self.home.is_elsewhere() {
            return None;
        }
        self.read_current().session.clone()
    }

    /// The session, and the runtime in which listeners are to run.
    pub(crate) fn session_and_runtime(&self) -> (Option<Arc<Session>>, Option<Handle>) {
        let current = self.read_current();
        (current.session.clone(), current.runtime.clone())
    }

    pub(crate) fn set_session(&self, session: Option<Arc<Session>>) {
        let before = std::mem::replace(&mut self.write_current().session, session);
        // It may be the last that holds it, and then sockets are closed.
        drop(before);
    }

    /// Who this bus is, or was when it last ran.
    pub(crate) fn identity(&self) -> Arc<Peer> {
        // It is replaced by one assignment.
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_identity(&self, identity: Arc<Peer>) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.read_current().runtime.clone()
    }

    /// Takes the tokio runtime of the calling thread, if it is in one and none was given.
    pub(crate) fn adopt_runtime(&self) {
        let Ok(own) = Handle::try_current() else {
            return;
        };
        let mut current = self.write_current();
        if current.is_given {
            return;
        }
        let before = current.runtime.replace(own);
        self.runtime_version.fetch_add(1, Ordering::Release);
        drop(current);
        // The last handle of a runtime drops what its tasks have left behind.
        drop(before);
    }

    /// The runtime has dropped what it was given to do: if it was given by the builder, the next `start` may bring another.
    pub(crate) fn release_runtime(&self) {
        self.write_current().is_given = false;
    }

    pub(crate) fn has_async_listeners(&self) -> bool {
        self.table
            .any(|listener| matches!(listener.sink(), Sink::Async(_)))
    }

    /// Starts the async listeners on what came for them before there was a runtime.
    pub(crate) fn wake_async_listeners(self: &Arc<Self>) {
        // Those that were taken off meanwhile, too: what had come for them before still reaches them.
        for listener in self.table.all().into_iter().chain(self.retired.all()) {
            if let Sink::Async(sink) = listener.sink() {
                sink.start_tasks(self, &listener);
            }
        }
    }

    /// Takes one listener of events off. False if it is not there, or in another process.
    pub(crate) fn take_off(self: &Arc<Self>, id: ListenerId) -> bool {
        if self.home.is_elsewhere() {
            return false;
        }
        let gone = self.table.remove(id);
        if let Some(listener) = &gone {
            listener.retire();
            self.retired.keep(self, listener);
        }
        gone.is_some()
    }

    /// Takes one listener off, of events or of notices. False if it is not there, or in another process.
    pub(crate) fn off(self: &Arc<Self>, id: ListenerId) -> bool {
        self.take_off(id) || (!self.home.is_elsewhere() && self.notices.off(id))
    }

    /// Runs `attempt` until it says that it is done; between two times, until [`Self::tell_room`] is called.
    pub(crate) async fn when_there_is_room<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        // Where there is room each time, a task that emits in a loop would never let another one run.
        tokio::task::coop::consume_budget().await;
        let _waiting = Waiting::among(&self.waiting_for_room);
        // In a forked child it is refused at once, and nothing may be waited for there.
        if self.home.is_elsewhere()
            && let Some(done) = attempt()
        {
            return done;
        }
        loop {
            // Registered before the attempt: room that is made between the two is not missed.
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(done) = attempt() {
                return done;
            }
            room.await;
        }
    }

    /// The send queue may have room, or will not be sent any more.
    pub(crate) fn tell_room(&self) {
        if self.waiting_for_room.load(Ordering::SeqCst) > 0 {
            // Wakes tasks, whose executor may be the user's.
            user_code::report_waker(user_code::run(|| self.room.notify_waiters()));
        }
    }

    pub(crate) fn add_handle(&self) {
        if self.handles.fetch_add(1, Ordering::Relaxed) == 0 && !self.home.is_elsewhere() {
            // What a listener or a stream still held has brought the bus back.
            self.notices.reopen();
        }
    }

    /// One more handle, unless the last one has gone.
    pub(crate) fn try_add_handle(&self) -> bool {
        self.handles
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |handles| {
                (handles > 0).then_some(handles + 1)
            })
            .is_ok()
    }

    pub(crate) fn remove_handle(self: &Arc<Self>) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shut_down();
        }
    }

    /// What the last handle does when it goes: stops without waiting, and ends everything that waits for events.
    fn shut_down(self: &Arc<Self>) {
        if self.home.is_elsewhere() {
            // What there is belongs to the parent, which goes on with it.
            return;
        }
        drop(Life::stop(self));
        #[cfg(feature = "repl")]
        self.repl.close();
        let retired = self.retired.take_all();
        for listener in self.table.remove_all().into_iter().chain(retired) {
            listener.close();
        }
        self.end_notices();
    }

    /// Ends what waits for notices, once the last handle has gone and everything has been told.
    pub(crate) fn end_notices(self: &Arc<Self>) {
        if self.handles.load(Ordering::Acquire) == 0 && self.life.is_over() {
            self.notices.close(self);
        }
    }

    /// Keeps what an ended session had counted.
    pub(crate) fn absorb(&self, session: &Session) {
        self.lock_past().add_session(&session.figures(), true);
    }

    pub(crate) fn stats(&self) -> Stats {
        if self.home.is_elsewhere() {
            // Whatever locks the parent's threads had stay locked.
            let mut stats = Stats::default();
            stats.add_counters(&self.counters);
            return stats;
        }
        // While the phase stands still, so that a session that ends now is counted once.
        let mut stats = self.life.with_session(|session| {
            let mut stats = self.lock_past().clone();
            if let Some(session) = session {
                stats.add_session(&session.figures(), false);
            }
            stats
        });
        stats.add_counters(&self.counters);
        stats
    }

    fn lock_past(&self) -> MutexGuard<'_, Stats> {
        // Nothing that can panic runs under this lock.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_local_order(&self) -> MutexGuard<'_, ()> {
        // It guards nothing that a panic could leave half done.
        self.local_order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read_current(&self) -> RwLockReadGuard<'_, Current> {
        // Nothing that can panic runs under this lock.
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_current(&self) -> RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who wait, while it is there.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
