//! Async listeners that were taken off while calls of theirs waited for a runtime.
//!
//! Events that were queued before a listener was taken off still reach it. The registry holds no
//! such listener any more, so it is kept here until a start brings a runtime and its queue is
//! empty.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::async_sink::AsyncSink;
use crate::bus::telemetry::listener_id::ListenerId;

/// Most listeners that are kept. Beyond this the oldest is dropped, and its waiting events are
/// reported as missed.
const MAX_KEPT: usize = 1_024;

#[derive(Default)]
pub(crate) struct Retired {
    kept: Mutex<VecDeque<Arc<AsyncSink>>>,
}

impl Retired {
    /// Keeps the listener if it was taken off and events wait for it.
    pub(crate) fn keep(&self, sink: &Arc<AsyncSink>) {
        let id = sink.identity().id;
        let mut kept = self.lock();
        // Checked under this lock: a task that empties the queue releases the listener afterwards.
        if !sink.is_left_waiting() || kept.iter().any(|other| other.identity().id == id) {
            return;
        }
        kept.push_back(Arc::clone(sink));
        let displaced = (kept.len() > MAX_KEPT).then(|| kept.pop_front());
        drop(kept);
        if let Some(displaced) = displaced.flatten() {
            displaced.miss_all();
        }
    }

    /// Releases a listener whose queue is empty.
    pub(crate) fn release(&self, id: ListenerId) {
        let mut kept = self.lock();
        let at = kept.iter().position(|sink| sink.identity().id == id);
        let removed = at.and_then(|at| kept.remove(at));
        // Dropping the listener runs code of the user, so the lock is released before.
        drop(kept);
        drop(removed);
    }

    pub(crate) fn all(&self) -> Vec<Arc<AsyncSink>> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn take_all(&self) -> VecDeque<Arc<AsyncSink>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<AsyncSink>>> {
        // Nothing that can panic runs under this lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::{Bus, Notice};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn runtime() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).build().unwrap()
    }

    fn bus() -> Bus {
        Bus::builder().environment(false).build().unwrap()
    }

    /// Registers an async listener of `x`, and returns a channel of its arguments, which ends when
    /// the listener is dropped.
    fn listen(bus: &Bus) -> (ListenerId, mpsc::Receiver<i32>) {
        let (sender, called) = mpsc::channel();
        let id = bus.on_async_named("x", move |e| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(e.decode().unwrap());
            }
        });
        (id, called)
    }

    /// A start within a runtime, without sockets.
    fn wake_within(bus: &Bus, runtime: &Runtime) {
        let _entered = runtime.enter();
        bus.core.shared.process.runtime.adopt();
        bus.core.shared.listeners.wake_async(&bus.core.owner());
    }

    #[track_caller]
    fn is_called_and_dropped(called: &mpsc::Receiver<i32>, with: &[i32]) {
        for number in with {
            assert_eq!(called.recv_timeout(PATIENCE), Ok(*number));
        }
        let end = called.recv_timeout(PATIENCE);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn events_queued_before_take_off_reach_the_listener_when_a_runtime_comes() {
        type TakeOff = fn(&Bus, ListenerId);
        let ways: [TakeOff; 3] = [
            |bus, id| assert!(bus.off(id)),
            |bus, _| assert_eq!(bus.off_all_named("x"), 1),
            |bus, _| assert_eq!(bus.off_everything(), 1),
        ];
        for take_off in ways {
            let bus = bus();
            let (id, called) = listen(&bus);
            for number in 0..3 {
                bus.emit_named("x", number).unwrap_err();
            }
            take_off(&bus, id);
            assert_eq!(called.try_recv(), Err(mpsc::TryRecvError::Empty));
            let runtime = runtime();
            wake_within(&bus, &runtime);
            is_called_and_dropped(&called, &[0, 1, 2]);
            assert!(bus.core.shared.listeners.retired.all().is_empty());
        }
    }

    #[test]
    fn events_spawned_on_a_dropped_runtime_are_delivered_on_the_next() {
        let bus = bus();
        // A current-thread runtime that is never driven.
        let first = Builder::new_current_thread().build().unwrap();
        wake_within(&bus, &first);
        let (id, called) = listen(&bus);
        for number in 0..3 {
            bus.emit_named("x", number).unwrap_err();
        }
        assert!(bus.off(id));
        drop(first);
        let second = runtime();
        wake_within(&bus, &second);
        is_called_and_dropped(&called, &[0, 1, 2]);
    }

    #[test]
    fn a_listener_without_waiting_events_is_dropped_at_once() {
        let bus = bus();
        let (id, called) = listen(&bus);
        assert!(bus.off(id));
        is_called_and_dropped(&called, &[]);
        // The drop of the last handle drops all of them.
        let (id, called) = listen(&bus);
        bus.emit_named("x", 1).unwrap_err();
        assert!(bus.off(id));
        drop(bus);
        is_called_and_dropped(&called, &[]);
    }

    #[test]
    fn events_of_the_oldest_beyond_the_limit_are_reported_as_missed() {
        let bus = bus();
        let (sender, reported) = mpsc::channel();
        bus.on_notice(move |notice| {
            if let Notice::ListenerMissed { missed, .. } = notice {
                let _ = sender.send(*missed);
            }
        });
        let first = listen(&bus);
        bus.emit_named("x", 1).unwrap_err();
        bus.emit_named("x", 2).unwrap_err();
        assert!(bus.off(first.0));
        for _ in 0..MAX_KEPT {
            let (id, _) = listen(&bus);
            bus.emit_named("x", 3).unwrap_err();
            assert!(bus.off(id));
        }
        assert_eq!(bus.core.shared.listeners.retired.all().len(), MAX_KEPT);
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(2));
        is_called_and_dropped(&first.1, &[]);
    }
}
