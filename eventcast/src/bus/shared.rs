//! What all parts of one bus share, whether it runs or not.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    config::options::Options,
    listeners::Listeners,
    process::{Process, user_code},
    telemetry::Telemetry,
};
use crate::proto::Peer;

pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) hostname: String,
    pub(crate) process: Arc<Process>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) listeners: Listeners,
    pub(crate) room: SendRoom,
    /// How many [`Bus`](super::Bus) handles there are. The bus shuts down when the last one goes;
    /// threads, events and streams do not keep it running.
    pub(crate) handles: AtomicUsize,
    /// The bus as a peer of others: now, or when it last ran.
    identity: Mutex<Arc<Peer>>,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        id: String,
        hostname: String,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let options = Arc::new(options);
        let identity = Mutex::new(Arc::new(Peer {
            id,
            incarnation: None,
            hostname: hostname.clone(),
            host: String::new(),
            port: 0,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        }));
        Self {
            listeners: Listeners::new(Arc::clone(&options), Arc::clone(&telemetry.process)),
            options,
            hostname,
            process: Arc::clone(&telemetry.process),
            telemetry,
            room: SendRoom::default(),
            handles: AtomicUsize::new(0),
            identity,
        }
    }

    /// The bus as a peer of others: now, or when it last ran.
    pub(crate) fn identity(&self) -> Arc<Peer> {
        // It is replaced by one assignment.
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_identity(&self, identity: Arc<Peer>) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

/// Tasks that wait until the send queue has room.
#[derive(Default)]
pub(crate) struct SendRoom {
    /// Notified when the send queue may have room again, or the bus stops.
    changed: Notify,
    waiting: AtomicUsize,
}

impl SendRoom {
    /// Runs `attempt` until it returns something; between two runs, until [`notify`](Self::notify)
    /// is called.
    pub(crate) async fn wait<T>(
        &self,
        process: &Process,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> T {
        // Where there is room each time, a task that emits in a loop would never let another one
        // run.
        tokio::task::coop::consume_budget().await;
        let _waiting = Waiting::among(&self.waiting);
        // In a forked child it is refused at once, and nothing may be waited for there.
        if process.is_forked()
            && let Some(done) = attempt()
        {
            return done;
        }
        loop {
            // Registered before the attempt: room that is made between the two is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(done) = attempt() {
                return done;
            }
            changed.await;
        }
    }

    /// Wakes the tasks: the send queue may have room, or will not be sent any more.
    pub(crate) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Wakes tasks, whose executor may be the user's.
            user_code::report_waker(user_code::run(|| self.changed.notify_waiters()));
        }
    }
}

/// Counts one waiting task, until it is dropped.
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
