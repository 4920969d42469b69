//! The watching thread: takes over from a leader whose call takes too long.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{super::context::Context, ReceiveLoop, leader::lead};
use crate::bus::{process::user_code::Driving, telemetry::notice::Notice};

/// For so many ticks the watching thread goes on sampling after each call that it has seen: where
/// calls come more rarely, being woken by each of them costs less.
const TICKS_A_CALL: u32 = 3;

/// It looks on for at most so many ticks after the last call.
const MOST_TICKS: u32 = 64;

const WATCHING: &str = "watching over listeners";

/// How often it looks at the least, so that it ends soon when the session does, whatever the
/// budget.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// How often it looks at the most, so that a tiny budget does not keep a core busy.
const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// How often the watching thread is tried to be started where the system gave none.
const BETWEEN_STARTS: Duration = Duration::from_secs(1);

impl ReceiveLoop {
    /// Starts the watching thread. Reading goes on without it: where the system gives no thread it
    /// is tried again before later calls of listeners, and the returned notice reports that once.
    pub(crate) fn start_watching(self: &Arc<Self>) -> Option<Notice> {
        let again = &self.watch_again;
        let watched = Arc::clone(self);
        let run = move || watch(&watched);
        let Err(error) = self.context.spawn("eventcast-read", WATCHING, run) else {
            again.store(0, Ordering::Relaxed);
            return None;
        };
        let due = self.context.now().elapsed + BETWEEN_STARTS;
        let was_there = again.swap(due.as_micros() as u64, Ordering::Relaxed) == 0;
        was_there.then(|| Notice::Warning {
            text: format!(
                "no thread watches for slow listeners: {error}; it is tried again each second, and until then a slow \
                 listener delays all that comes after it"
            ),
        })
    }

    /// Tries again to start the watching thread, if it is not there.
    #[inline]
    pub(super) fn keep_watched(self: &Arc<Self>) {
        let again = self.watch_again.load(Ordering::Relaxed);
        if again != 0
            && self.context.now().elapsed >= Duration::from_micros(again)
            && let Some(notice) = self.start_watching()
        {
            self.context.shared.telemetry.report(notice);
        }
    }
}

/// The watching thread: leads in place of one whose call takes too long, after it has set another
/// to watch.
fn watch(receive_loop: &Arc<ReceiveLoop>) {
    let _driving = Driving::begin();
    let Context { shared, .. } = &*receive_loop.context;
    let budget = shared.options.listener_budget;
    let tick = (budget / 2).clamp(SHORTEST_TICK, LONGEST_TICK);
    let mut seen: Option<(u64, Instant)> = None;
    let mut alertness = Alertness::new(tick);
    while !receive_loop.closing() {
        #[cfg(test)]
        assert!(
            !receive_loop.watcher_panics.load(Ordering::SeqCst),
            "on purpose: the watcher"
        );
        let call = receive_loop
            .lock_slot()
            .state
            .as_ref()
            .map(|state| state.call);
        match (call, seen) {
            (Some(call), Some((same, since))) if call == same => {
                if since.elapsed() >= budget
                    && let Some(state) = receive_loop.depose(call)
                {
                    if let Some(notice) = receive_loop.start_watching() {
                        shared.telemetry.report(notice);
                    }
                    return lead(receive_loop, state);
                }
            }
            (Some(call), _) => seen = Some((call, Instant::now())),
            (None, _) => seen = None,
        }

        let calls = receive_loop.calls.load(Ordering::Relaxed);
        alertness.look(calls, shared.process.now().elapsed);
        let asleep = call.is_none() && !alertness.pays() && {
            receive_loop.watching.store(false, Ordering::SeqCst);
            // A call that began before the mark was cleared does not wake this thread.
            receive_loop.lock_slot().state.is_none()
        };
        let mut watcher = receive_loop.lock_watcher();
        if asleep {
            while !watcher.woken {
                watcher = receive_loop
                    .woken
                    .wait(watcher)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        } else if !watcher.woken {
            watcher = receive_loop
                .woken
                .wait_timeout(watcher, tick)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        watcher.woken = false;
        drop(watcher);
        receive_loop.watching.store(true, Ordering::SeqCst);
    }
}

/// Whether it pays to look at each tick, rather than to be woken by the next call.
struct Alertness {
    tick: Duration,
    /// When it sampled last, and how many calls there were by then.
    looked: Duration,
    calls: u64,
    /// For so long it pays without any further call.
    left: Duration,
}

impl Alertness {
    fn new(tick: Duration) -> Self {
        Self {
            tick,
            looked: Duration::ZERO,
            calls: 0,
            left: Duration::ZERO,
        }
    }

    fn look(&mut self, calls: u64, now: Duration) {
        let new = calls.saturating_sub(self.calls).min(MOST_TICKS.into()) as u32;
        let most = self.tick * MOST_TICKS;
        let gained = (self.left + self.tick * TICKS_A_CALL * new).min(most);
        // The time since the last look counts against the calls in it: a single one after a long
        // sleep is worth none.
        self.left = gained.saturating_sub(now.saturating_sub(self.looked));
        (self.looked, self.calls) = (now, calls);
    }

    fn pays(&self) -> bool {
        !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the watching thread looks in a second, for so many calls in each tenth of a
    /// millisecond.
    fn looks(calls_at: impl Fn(u32) -> u64) -> u32 {
        let tick = Duration::from_micros(500);
        let mut alertness = Alertness::new(tick);
        let (mut looks, mut calls, mut sleeps) = (0, 0, true);
        for tenth in 0..10_000 {
            let now = Duration::from_micros(100) * tenth;
            let new = calls_at(tenth);
            calls += new;
            if (sleeps && new > 0) || (!sleeps && now >= alertness.looked + tick) {
                alertness.look(calls, now);
                looks += 1;
                sleeps = !alertness.pays();
            }
        }
        looks
    }

    #[test]
    fn single_calls_are_looked_at_once_and_many_at_each_tick() {
        let every = |tenths: u32| move |tenth: u32| u64::from((tenth + 1).is_multiple_of(tenths));
        assert_eq!(looks(every(1_000)), 10);
        assert_eq!(looks(every(100)), 100);
        assert_eq!(looks(every(20)), 500);
        for busy in [looks(every(5)), looks(|_| 4)] {
            assert!((1_900..=2_001).contains(&busy), "{busy}");
        }
        // Some 30 ms after the last of many.
        let burst = looks(|tenth| if tenth < 500 { 4 } else { 0 });
        assert!((160..=170).contains(&burst), "{burst}");
    }
}
