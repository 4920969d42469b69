//! What the threads of one session have in common.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{engine_cell::EngineCell, start_gate::StartGate};
use crate::{
    bus::{
        listeners::owner::Owner,
        process::failure::{Failure, caught},
        shared::Shared,
    },
    error::Error,
    proto::{Now, Peer},
};

/// What a session calls when it ends, by itself or by a panic.
pub(crate) trait Supervisor: Send + Sync {
    /// A thread has panicked within this session: the supervisor ends the session.
    fn session_failed(&self, session: &Arc<Context>, failure: Failure);

    /// The session has closed its sockets. This is the last call that it makes.
    fn session_closed(self: Arc<Self>, session: &Arc<Context>);
}

pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Arc<dyn Owner>,
    pub(crate) engine: EngineCell,
    pub(crate) gate: StartGate,
    supervisor: Arc<dyn Supervisor>,
    /// The bus itself, as the origin of what it emits.
    me: Mutex<Arc<Peer>>,
}

impl Context {
    pub(crate) fn new(
        shared: Arc<Shared>,
        owner: Arc<dyn Owner>,
        supervisor: Arc<dyn Supervisor>,
        engine: EngineCell,
        me: Arc<Peer>,
    ) -> Self {
        Self {
            shared,
            owner,
            engine,
            gate: StartGate::default(),
            supervisor,
            me: Mutex::new(me),
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.shared.process.now()
    }

    /// The bus itself, as the origin of what it emits now.
    #[inline]
    pub(crate) fn me(&self) -> Arc<Peer> {
        Arc::clone(&self.lock_me())
    }

    /// The bus is reached at another address from now on.
    pub(crate) fn set_address(&self, unicast: SocketAddr) {
        let mut me = self.lock_me();
        if me.address == unicast {
            return;
        }
        *me = Arc::new(Peer {
            host: unicast.ip().to_string(),
            port: unicast.port(),
            address: unicast,
            ..(**me).clone()
        });
        self.shared.set_identity(Arc::clone(&me));
    }

    /// Does something for the session. A panic ends the session, and gives `None`.
    #[inline]
    pub(crate) fn guard<T>(
        self: &Arc<Self>,
        during: &'static str,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        match caught(during, work) {
            Ok(done) => Some(done),
            Err(failure) => {
                self.fail(failure);
                None
            }
        }
    }

    /// A panic ends the session.
    #[cold]
    pub(crate) fn fail(self: &Arc<Self>, failure: Failure) {
        self.supervisor.session_failed(self, failure);
    }

    /// The session has closed its sockets.
    pub(crate) fn report_closed(self: &Arc<Self>) {
        Arc::clone(&self.supervisor).session_closed(self);
    }

    /// Starts a thread that takes part in this session. A panic on it ends the session.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        during: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let context = Arc::clone(self);
        thread::Builder::new()
            .name(name.into())
            .stack_size(crate::codec::STACK_SIZE)
            .spawn(move || {
                context.guard(during, run);
            })
            .map(drop)
            .map_err(|error| Error::Thread(Arc::new(error)))
    }

    fn lock_me(&self) -> MutexGuard<'_, Arc<Peer>> {
        // It is replaced by one assignment.
        self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
