//! Reads the network and calls listeners, so that neither waits for the other longer than it must.
//!
//! One thread leads (`leader`): it reads a batch of datagrams, hands them to the engine, and calls
//! the listeners of what comes out, all by itself, so that a quick listener costs no hand-over.
//! Everything that leading takes (the sockets, the batch, the position in it) is in one
//! [`LeaderState`]. During a call the leader parks its state in a slot, so that a second thread,
//! the `watcher`, can take over: when one call has lasted longer than `listener_budget`, the
//! watcher takes the state from the slot and leads on from the very next listener. The deposed
//! leader comes back from its call and finds in the slot the right to serve the queue of the
//! listener that held it up, and does that from then on: that listener has been moved to the queue
//! for good, and gets its events in order, none of them twice. A thread that finds neither ends.
//!
//! A listener that was taken off the bus while it was being called is dropped in the same way,
//! since it is the user's: while the state is parked.
//!
//! The watcher samples twice a budget while calls follow each other closely. Where calls come
//! singly each of them wakes it, once, and it goes back to sleep as soon as the call is over:
//! looking on between them would cost more than the events do.

mod leader;
mod watcher;

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use self::leader::{Closed, Deposed};
pub(crate) use self::leader::{LeaderState, lead};
use super::{context::Context, send_loop::SendLoop};
use crate::{
    bus::{
        listeners::{delivery::QueuedEvent, listener::Listener},
        process::user_code::Driving,
        queue::work_queue::Server,
        telemetry::notice::Notice,
    },
    net::{Receiver, Waker},
    proto::Events,
};

/// What the threads do, as a notice says it when one of them panics.
pub(crate) const READING: &str = "reading the network and calling listeners";

pub(crate) struct ReceiveLoop {
    context: Arc<Context>,
    send_loop: Arc<SendLoop>,
    slot: Mutex<Slot>,
    waker: Waker,
    closing: AtomicBool,
    watcher: Mutex<Watcher>,
    woken: Condvar,
    /// False while the watching thread sleeps without a limit.
    watching: AtomicBool,
    /// When the watching thread, which could not be started, is to be tried again, in microseconds.
    /// 0: it is there.
    watch_again: AtomicU64,
    /// Calls of listeners so far, of all leaders.
    calls: AtomicU64,
    kernel_drops: AtomicU64,
    socket_errors: AtomicU64,
    /// How often a socket could not be read.
    failures: AtomicU64,
    closed: Arc<Closed>,
    /// A test wants to see a panic on the watching thread.
    #[cfg(test)]
    pub(crate) watcher_panics: AtomicBool,
}

#[derive(Default)]
struct Slot {
    state: Option<Box<LeaderState>>,
    /// For threads that were deposed in a call: its number, and the right to serve the queue of the
    /// listener.
    servers: Vec<(u64, Server<QueuedEvent>)>,
}

#[derive(Default)]
struct Watcher {
    woken: bool,
}

impl ReceiveLoop {
    pub(crate) fn new(
        context: Arc<Context>,
        send_loop: Arc<SendLoop>,
        receiver: Receiver,
        now: Duration,
    ) -> (Arc<Self>, Box<LeaderState>) {
        let closed = Arc::<Closed>::default();
        let receive_loop = Arc::new(Self {
            context,
            send_loop,
            slot: Mutex::default(),
            waker: receiver.waker(),
            closing: AtomicBool::new(false),
            watcher: Mutex::default(),
            woken: Condvar::new(),
            watching: AtomicBool::new(true),
            watch_again: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            kernel_drops: AtomicU64::new(0),
            socket_errors: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            closed: Arc::clone(&closed),
            #[cfg(test)]
            watcher_panics: AtomicBool::new(false),
        });
        let state = LeaderState::new(receiver, closed, now);
        (receive_loop, Box::new(state))
    }

    pub(crate) fn kernel_drops(&self) -> u64 {
        self.kernel_drops.load(Ordering::Relaxed)
    }

    pub(crate) fn socket_errors(&self) -> u64 {
        let failures = self.failures.load(Ordering::Relaxed) + self.context.engine.failed_wakes();
        self.socket_errors.load(Ordering::Relaxed) + failures
    }

    /// Ends the threads, closes the sockets, and returns when they are closed. Does not wait for a
    /// listener that is running: its thread ends when it comes back.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            tracing::error!(target: "eventcast", %error, "cannot wake the reading thread");
        }
        self.context.gate.close();
        self.wake_watcher();
        // The sockets of a leader that is in a call are closed here; any other closes them itself.
        let state = self.lock_slot().state.take();
        if let Some(state) = state {
            self.report(&state.batch, state.event);
        }
        self.closed.wait();
    }

    /// Reports what the engine still has to report when nothing drives it any more.
    pub(crate) fn report_rest(&self) {
        let rest = self.context.engine.rest(self.context.now());
        self.report(&rest, 0);
    }

    /// Reports what is no event for listeners in a batch that is not delivered any more, from its
    /// place `from` on.
    fn report(&self, batch: &Events, from: usize) {
        let rest = (from..).map_while(|at| batch.get(at));
        // Which peers were heard by unicast is known to the state alone: without it nothing is made
        // of that.
        for notice in rest.filter_map(|event| Notice::of_protocol(&event, |_| true)) {
            self.context.shared.telemetry.report(notice);
        }
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn wake_watcher(&self) {
        self.lock_watcher().woken = true;
        self.woken.notify_all();
    }

    /// Calls code of the user on this thread, while the state is parked in the slot.
    fn call(
        &self,
        mut state: Box<LeaderState>,
        listener: Option<&Arc<Listener>>,
        work: impl FnOnce(),
    ) -> Result<Box<LeaderState>, Deposed> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        state.call = call;
        state.called = listener.map(Arc::clone);
        let mut slot = self.lock_slot();
        // `close` sets the mark before it looks into the slot: either it finds the state, or this
        // finds the mark.
        if self.closing() {
            drop(slot);
            return Ok(state);
        }
        slot.state = Some(state);
        drop(slot);
        // The watcher clears the mark before it looks into the slot for the last time: likewise.
        if !self.watching.load(Ordering::SeqCst) {
            self.wake_watcher();
        }

        let pause = Driving::pause();
        work();
        drop(pause);
        if self.context.shared.process.is_forked() {
            // The user's code has forked, and this is the child: the parent has a thread of its own
            // that leads, and what others have locked stays locked here.
            return Err(None);
        }

        let mut slot = self.lock_slot();
        if let Some(mut state) = slot.state.take_if(|state| state.call == call) {
            drop(slot);
            // It may have been taken off meanwhile, and nothing is kept of it.
            state.called = None;
            return Ok(state);
        }
        let at = slot.servers.iter().position(|(number, _)| *number == call);
        let server = at.map(|at| slot.servers.swap_remove(at).1);
        drop(slot);
        let listener = listener.map(Arc::clone);
        Err(listener.zip(server))
    }

    /// Takes the state away from a leader that is still in call number `call`.
    fn depose(&self, call: u64) -> Option<Box<LeaderState>> {
        let mut slot = self.lock_slot();
        let mut state = slot.state.take_if(|state| state.call == call)?;
        let listener = state.called.take();
        // Under the lock of the slot: the old leader must find the queue when it comes back.
        let options = &self.context.shared.options;
        let server = listener
            .as_ref()
            .and_then(|listener| listener.move_to_queue(options.listener_queue.into()));
        let has_moved = server.is_some();
        slot.servers.extend(server.map(|server| (call, server)));
        drop(slot);
        if let Some(listener) = listener
            && has_moved
        {
            listener.identity.report_slow(options.listener_budget);
        }
        Some(state)
    }

    fn lock_slot(&self) -> MutexGuard<'_, Slot> {
        // The state is put in and taken out whole: a panic under this lock leaves it on one side or
        // the other.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_watcher(&self) -> MutexGuard<'_, Watcher> {
        // Nothing that can panic runs under this lock.
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
