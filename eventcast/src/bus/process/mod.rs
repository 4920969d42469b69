//! What a bus knows of the process that it runs in: whether it is still the same one, the time, the tokio runtime, and
//! what is to be done about a panic on a thread of the bus.

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
    /// Times given to the protocol count from here.
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

    /// The time, as the protocol takes it.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            elapsed: self.epoch.elapsed(),
            unix_ms: unix.as_millis() as u64,
        }
    }

    /// Sets what handles a panic on a thread that belongs to no session in particular. The first call counts.
    pub(crate) fn on_failure(&self, handler: impl Fn(Failure) + Send + Sync + 'static) {
        let _ = self.on_failure.set(Box::new(handler));
    }

    /// Does the work of a thread that belongs to no session in particular. After a panic, `undo` lets another thread take
    /// this one's place, and the handler of [`on_failure`](Self::on_failure) runs.
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

    /// Handles a panic on a thread that belongs to no session in particular.
    #[cold]
    pub(crate) fn fail(&self, failure: Failure) {
        if let Some(handler) = self.on_failure.get() {
            handler(failure);
        }
    }
}
