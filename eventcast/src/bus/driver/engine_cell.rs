//! The engine of a session, which several threads enter, and whether anything may still be put into
//! it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    bus::process::failure::caught,
    net::Waker,
    proto::{Accepted, Engine, EngineStats, Events, Now, Outgoing, Refusal},
};

pub(crate) struct EngineCell {
    engine: Mutex<Engine>,
    /// Set under the lock of the engine: nothing is to be put into it any more.
    closed: AtomicBool,
    /// A panic ends the session.
    failing: AtomicBool,
    /// A panic has ended the session, and that has been reported.
    failed: AtomicBool,
    /// Wakes the thread that waits for the engine's next timeout.
    waker: Waker,
    /// When that thread wakes if no datagram comes, in microseconds; 0 while it does not sleep. Set
    /// under the lock of the engine.
    asleep_until: AtomicU64,
    /// How often it could not be woken.
    failed_wakes: AtomicU64,
}

impl EngineCell {
    pub(crate) fn new(engine: Engine, waker: Waker) -> Self {
        Self {
            engine: Mutex::new(engine),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            waker,
            asleep_until: AtomicU64::new(0),
            failed_wakes: AtomicU64::new(0),
        }
    }

    /// The engine. `None`: a panic inside it has poisoned the lock, its state is unknown, and the
    /// session is over.
    #[inline]
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, Engine>> {
        self.engine.lock().ok()
    }

    /// Gives an event to the engine. `None`: nothing may be put into it any more.
    #[inline]
    pub(crate) fn emit(&self, now: Now, event: Outgoing<'_>) -> Option<Result<Accepted, Refusal>> {
        let mut engine = self.lock()?;
        if self.is_closed() {
            return None;
        }
        let accepted = engine.emit(now, event);
        self.wake_for(engine.poll_timeout());
        Some(accepted)
    }

    /// Wakes the thread that waits for a timeout, if it would sleep past this moment. To be called
    /// under the lock.
    #[inline]
    fn wake_for(&self, due: Option<Duration>) {
        let until = self.asleep_until.load(Ordering::Relaxed);
        if due.is_some_and(|due| due.as_micros() < until.into()) {
            self.asleep_until.store(0, Ordering::Relaxed);
            // Counted, and not logged: a subscriber of the log is the user's, and may call the bus.
            if self.waker.wake().is_err() {
                self.failed_wakes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The calling thread is about to sleep until the engine's next timeout, or `other` where that
    /// is earlier. Gives until when, if there is an end to it. `None`: the session is over.
    pub(crate) fn begin_sleep(&self, other: Option<Duration>) -> Option<Option<Duration>> {
        let engine = self.lock()?;
        let due = [engine.poll_timeout(), other].into_iter().flatten().min();
        let micros = due.map_or(u128::from(u64::MAX), |due| due.as_micros());
        self.asleep_until.store(micros as u64, Ordering::Relaxed);
        Some(due)
    }

    pub(crate) fn end_sleep(&self) {
        self.asleep_until.store(0, Ordering::Relaxed);
    }

    /// Says goodbye, once nothing more can be emitted.
    pub(crate) fn begin_to_leave(&self, now: Now) {
        if let Some(mut engine) = self.lock() {
            engine.leave(now);
        }
    }

    /// Whether others have been served since the goodbye, so that the sockets can be closed; to be
    /// asked again until then.
    pub(crate) fn leave(&self, now: Now) -> bool {
        let Some(mut engine) = self.lock() else {
            return true;
        };
        // The reading thread does this as well, unless a listener holds it up.
        engine.handle_timeout(now);
        engine.has_left()
    }

    /// What the engine still has to report when nothing drives it any more.
    pub(crate) fn rest(&self, now: Now) -> Events {
        let mut rest = Events::default();
        if let Some(mut engine) = self.lock() {
            engine.leave(now);
            engine.take_events(&mut rest);
        }
        rest
    }

    /// Lets nothing more into the engine, if `now` says so of the bytes that are left in it.
    pub(crate) fn close_if(&self, now: impl FnOnce(usize) -> bool) -> Option<usize> {
        let left = self.lock()?.queued_bytes();
        now(left).then(|| {
            self.closed.store(true, Ordering::Relaxed);
            left
        })
    }

    /// Whether nothing more can be emitted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A panic has ended the session, and that has been reported.
    #[cold]
    pub(crate) fn fail(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Whether a panic has ended the session, and that has been reported.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Whether a panic has ended the session, or is just about to.
    pub(crate) fn is_broken(&self) -> bool {
        self.has_failed() || self.engine.is_poisoned()
    }

    /// True for the first panic.
    #[cold]
    pub(crate) fn is_first_failure(&self) -> bool {
        !self.failing.swap(true, Ordering::SeqCst)
    }

    /// What the engine has counted so far.
    pub(crate) fn stats(&self) -> EngineStats {
        // What was counted until a panic came is worth having, and reading it changes nothing.
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        caught("counting", || engine.stats()).unwrap_or_default()
    }

    pub(crate) fn failed_wakes(&self) -> u64 {
        self.failed_wakes.load(Ordering::Relaxed)
    }
}
