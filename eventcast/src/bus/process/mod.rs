//! The process of a bus: forks, the time, the tokio runtime, and the handling of panics on threads
//! of the bus.

pub(crate) mod blocking;
pub(crate) mod failure;
pub(crate) mod fork;
pub(crate) mod random;
pub(crate) mod runtime;
pub(crate) mod user_code;

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use tokio::runtime::Handle;

use self::{
    failure::{Failure, caught},
    fork::Home,
    runtime::RuntimeSlot,
};
use crate::proto::Now;

type FailureHandler = Box<dyn Fn(Failure) + Send + Sync>;

pub(crate) struct Process {
    pub(crate) home: Home,
    pub(crate) runtime: RuntimeSlot,
    /// The zero of the times that the protocol receives.
    epoch: Instant,
    on_failure: OnceLock<FailureHandler>,
}

impl Process {
    /// `runtime` is the runtime that the builder was given, if any.
    pub(crate) fn new(runtime: Option<Handle>) -> Self {
        Self {
            home: Home::default(),
            runtime: RuntimeSlot::new(runtime),
            epoch: Instant::now(),
            on_failure: OnceLock::new(),
        }
    }

    /// Whether the bus was started in another process, of which this one is a forked child.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.home.is_forked()
    }

    /// The time in the form that the protocol takes.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            elapsed: self.epoch.elapsed(),
            unix_ms: unix.as_millis() as u64,
        }
    }

    /// Sets the handler of panics on threads that belong to no session. The first call counts.
    pub(crate) fn on_failure(&self, handler: impl Fn(Failure) + Send + Sync + 'static) {
        let _ = self.on_failure.set(Box::new(handler));
    }

    /// Runs the work of a thread that belongs to no session. After a panic, it calls `undo`, so
    /// that another thread can take its place, and the handler of [`on_failure`](Self::on_failure).
    pub(crate) fn guard_thread(
        &self,
        during: &'static str,
        work: impl FnOnce(),
        undo: impl FnOnce(),
    ) {
        if let Err(failure) = caught(during, work) {
            undo();
            self.fail(failure);
        }
    }

    /// Handles a panic on a thread that belongs to no session.
    #[cold]
    pub(crate) fn fail(&self, failure: Failure) {
        if let Some(handler) = self.on_failure.get() {
            handler(failure);
        }
    }
}
