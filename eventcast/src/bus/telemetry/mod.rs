//! What a bus reports: statistics and notices.
//!
//! A notice passes the rate limit, then the log, then the listeners of notices, each on a thread of
//! its own, and the streams. A notice that neither the log nor a listener takes goes to the
//! [last resort](self::last_resort).
//!
//! A timer thread reports each sum of held back notices when its pause is over, and ends when
//! nothing is held back. It is a thread of its own because a sum is due also on a bus that does not
//! run, or whose threads are blocked. Stopping the bus and dropping its last handle report all sums
//! at once.

pub(crate) mod last_resort;
pub(crate) mod listener_id;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod notice;
pub(crate) mod notice_sink;
pub(crate) mod notice_stream;
pub(crate) mod origin;
pub(crate) mod rate_limit;
pub(crate) mod stats;

use std::{
    hash::RandomState,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::Level;

use self::{
    last_resort::LastResort,
    listener_id::ListenerId,
    notice::Notice,
    notice_sink::NoticeSink,
    rate_limit::{Limiter, Scope, Tally},
    stats::Counters,
};
use super::process::{
    Process,
    user_code::{self, Driving},
};

pub(crate) struct Telemetry {
    pub(crate) process: Arc<Process>,
    pub(crate) counters: Counters,
    sinks: Mutex<Vec<Arc<NoticeSink>>>,
    hasher: RandomState,
    held_back: Mutex<HeldBack>,
    /// Notified when nothing is held back any more, so that the timer thread ends.
    emptied: Condvar,
    last_resort: LastResort,
}

#[derive(Default)]
struct HeldBack {
    limiter: Limiter,
    /// A timer thread runs.
    has_timer: bool,
    /// The last handle was dropped: no timer thread is started any more.
    closed: bool,
}

impl Telemetry {
    pub(crate) fn new(process: Arc<Process>, last_resort: LastResort) -> Self {
        Self {
            process,
            counters: Counters::default(),
            sinks: Mutex::default(),
            hasher: RandomState::new(),
            held_back: Mutex::default(),
            emptied: Condvar::new(),
            last_resort,
        }
    }

    /// Telemetry without a bus and without listeners.
    #[cfg(test)]
    pub(crate) fn without_listeners() -> Arc<Self> {
        Arc::new(Self::new(
            Arc::new(Process::new(None)),
            LastResort::new(false),
        ))
    }

    /// Reports a notice, now or as part of a later sum.
    pub(crate) fn report(self: &Arc<Self>, notice: Notice) {
        self.limit(notice, None);
    }

    /// Reports a notice that takes its count from `tally` when it passes the rate limit.
    pub(crate) fn report_tally(self: &Arc<Self>, notice: Notice, tally: Arc<Tally>) {
        self.limit(notice, Some(tally));
    }

    fn limit(self: &Arc<Self>, notice: Notice, tally: Option<Arc<Tally>>) {
        if self.process.is_forked() {
            // A forked child logs only: its other locks may be held for ever by threads of the
            // parent.
            let _ = user_code::run(|| notice.log());
            return;
        }
        let Some(scope) = Scope::of(&notice, &self.hasher) else {
            // Notices from before the stop are reported before it.
            if matches!(notice, Notice::Stopped) {
                self.report_held_back();
            }
            return self.deliver(notice);
        };
        let mut held_back = self.lock_held_back();
        let now = self.process.now().elapsed;
        let passed = held_back.limiter.note(now, scope, notice, tally);
        let needs_timer =
            !held_back.has_timer && !held_back.closed && held_back.limiter.next_due().is_some();
        held_back.has_timer |= needs_timer;
        drop(held_back);
        if needs_timer {
            self.spawn_timer();
        }
        if let Some(notice) = passed {
            self.deliver(notice);
        }
    }

    /// Reports all sums, due or not.
    fn report_held_back(self: &Arc<Self>) {
        let sums = self.lock_held_back().limiter.drain();
        self.emptied.notify_all();
        for notice in sums {
            self.deliver(notice);
        }
    }

    /// Delivers a notice whose text was logged before.
    pub(crate) fn repeat(self: &Arc<Self>, notice: Notice) {
        self.fan_out(notice);
    }

    /// Writes a warning that was logged and is no notice to the last resort, if there are no
    /// listeners.
    pub(crate) fn warn_at_last(&self, text: &str) {
        if self.lock().is_empty() {
            self.last_resort.take(Level::WARN, &text);
        }
    }

    fn deliver(self: &Arc<Self>, notice: Notice) {
        // A subscriber of the log is the user's code.
        let _ = user_code::run(|| notice.log());
        self.fan_out(notice);
    }

    /// Delivers a notice that was logged.
    fn fan_out(self: &Arc<Self>, notice: Notice) {
        let sinks = self.lock().clone();
        if sinks.is_empty() {
            return self.last_resort.take(notice.level(), &notice);
        }
        for sink in sinks {
            let missed = sink.push(&self.process, notice.clone());
            self.counters.notices_missed.add(missed);
        }
    }

    fn spawn_timer(self: &Arc<Self>) {
        let timed = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("eventcast-sums".into())
            .spawn(move || {
                let undo = || timed.lock_held_back().has_timer = false;
                let process = &timed.process;
                process.guard_thread("reporting sums", || timed.report_sums(), undo);
            });
        if spawned.is_err() {
            // The next held back notice tries again, and the stop reports the sum in any case.
            self.lock_held_back().has_timer = false;
        }
    }

    /// The timer thread: reports each sum when it is due, until nothing is held back any more.
    fn report_sums(self: &Arc<Self>) {
        let _driving = Driving::begin();
        let mut held_back = self.lock_held_back();
        while let Some(due) = held_back.limiter.next_due() {
            let now = self.process.now().elapsed;
            if due > now {
                held_back = self
                    .emptied
                    .wait_timeout(held_back, due - now)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            let sum = held_back.limiter.pop_due(now);
            drop(held_back);
            if let Some(notice) = sum {
                self.deliver(notice);
            }
            held_back = self.lock_held_back();
        }
        held_back.has_timer = false;
    }

    pub(crate) fn add(&self, sink: Arc<NoticeSink>) {
        self.lock().push(sink);
    }

    /// Takes a sink off. It still receives the waiting notices.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let mut sinks = self.lock();
        let at = sinks.iter().position(|sink| sink.id == id);
        let removed = at.map(|at| sinks.remove(at));
        // The sink is dropped without the lock: its closure is the user's, and its drop may call
        // the bus.
        drop(sinks);
        if let Some(sink) = &removed {
            sink.close();
        }
        removed.is_some()
    }

    /// Waits until the listeners have received all reported notices, for `patience` at most.
    pub(crate) fn settle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let sinks = self.lock().clone();
        for sink in sinks {
            sink.wait_until_idle(end);
        }
    }

    /// Ends all sinks after the last handle was dropped. They still receive the waiting notices.
    pub(crate) fn close(self: &Arc<Self>) {
        self.lock_held_back().closed = true;
        self.report_held_back();
        let removed = std::mem::take(&mut *self.lock());
        // Later notices find no listener. Where there was one, the program has asked for notices,
        // and standard error stays silent.
        self.last_resort.silence(!removed.is_empty());
        for sink in removed {
            sink.close();
        }
    }

    /// Opens again, since a listener has made a new handle.
    pub(crate) fn reopen(&self) {
        self.last_resort.silence(false);
        self.lock_held_back().closed = false;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<NoticeSink>>> {
        // Nothing that can panic runs under this lock.
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_held_back(&self) -> MutexGuard<'_, HeldBack> {
        // Nothing that can panic runs under this lock.
        self.held_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // Notices that were held back after the last handle was dropped reach the log only.
        let held_back = self.held_back.get_mut();
        for notice in held_back
            .unwrap_or_else(PoisonError::into_inner)
            .limiter
            .drain()
        {
            let _ = user_code::run(|| notice.log());
            self.last_resort.take(notice.level(), &notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::resume_unwind,
        sync::atomic::{AtomicUsize, Ordering},
        sync::mpsc::{Receiver, channel},
        time::Duration,
    };

    use super::{rate_limit::Limiter, *};
    use crate::Bus;

    /// A bus that is not started, with a report pause of `pause`.
    fn bus(pause: Duration) -> Bus {
        let bus = Bus::builder().environment(false).build().unwrap();
        bus.core.shared.telemetry.lock_held_back().limiter = Limiter::new(pause);
        bus
    }

    /// Registers a listener that panics, and calls it `times` times.
    fn panic_often(bus: &Bus, times: u64) {
        // Skips the panic hook, which would print each.
        bus.on_named("x", |_| resume_unwind(Box::new("boom")));
        for _ in 0..times {
            // A stopped bus still calls local listeners.
            bus.emit_named("x", ()).unwrap_err();
        }
    }

    /// The count of each notice about panics, as they are reported.
    fn panics(bus: &Bus) -> Receiver<u64> {
        let (sender, receiver) = channel();
        bus.on_notice(move |notice| {
            if let Notice::ListenerPanicked { count, .. } = notice {
                let _ = sender.send(*count);
            }
        });
        receiver
    }

    /// The counts, until they add up to `times`.
    fn add_up(panics: &Receiver<u64>, times: u64) -> Vec<u64> {
        let mut counts: Vec<u64> = Vec::new();
        while counts.iter().sum::<u64>() < times {
            let next = panics.recv_timeout(Duration::from_secs(60));
            counts.push(next.unwrap_or_else(|_| panic!("nothing more comes after {counts:?}")));
        }
        assert_eq!(counts.iter().sum::<u64>(), times);
        counts
    }

    #[test]
    fn a_sum_is_reported_without_further_notices_also_on_a_stopped_bus() {
        let bus = bus(Duration::from_millis(300));
        let reported = panics(&bus);
        panic_often(&bus, 5_000);
        // One for each pause during the calls, and the last.
        let counts = add_up(&reported, 5_000);
        assert!(counts.len() < 100, "{} notices", counts.len());
        assert_eq!(bus.stats().listener_panics, 5_000);
    }

    /// Counts the log lines of this thread.
    struct Lines(Arc<AtomicUsize>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn panics_of_dropped_listeners_are_logged_at_a_limited_rate() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                // Skips the panic hook, which would print each.
                resume_unwind(Box::new("boom"));
            }
        }
        let lines = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Lines(Arc::clone(&lines)), || {
            let bus = bus(Duration::from_secs(600));
            for _ in 0..1_000 {
                let bomb = Bomb;
                let id = bus.on_notice(move |_| {
                    let _ = &bomb;
                });
                assert!(bus.off(id));
            }
        });
        // The limit of these lines is shared by all tests, so a pause may end during this one.
        let lines = lines.load(Ordering::SeqCst);
        assert!(lines <= 10, "{lines} lines");
    }

    #[test]
    fn a_reopened_bus_reports_sums() {
        let first = bus(Duration::from_millis(300));
        let mut held = first.subscribe_named("x");
        first.emit_named("x", ()).unwrap_err();
        let event = held.try_next().unwrap();
        drop(first);
        let back = event.bus();
        let reported = panics(&back);
        panic_often(&back, 10);
        assert!(add_up(&reported, 10).len() > 1);
    }

    #[test]
    fn dropping_the_last_handle_reports_sums_and_ends_the_timer() {
        let bus = bus(Duration::from_secs(600));
        let telemetry = Arc::downgrade(&bus.core.shared.telemetry);
        let reported = panics(&bus);
        panic_often(&bus, 5_000);
        drop(bus);
        assert_eq!(add_up(&reported, 5_000), [1, 4_999]);
        // The timer thread holds the telemetry while it runs.
        for _ in 0..6_000 {
            if telemetry.strong_count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the timer thread still runs");
    }
}
