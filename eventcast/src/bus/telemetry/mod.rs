//! What a bus reports: counters, and notices.
//!
//! Every notice takes one way: the rate limit, the log, and then the listeners of notices, each on a thread of its own, and
//! the streams. A notice that neither the log nor anything else takes goes to the [last resort](self::last_resort).
//!
//! A thread of its own reports each sum of held back notices when its pause is over, and ends when nothing is held back:
//! a sum is due also on a bus that does not run, or whose own threads are held up. The stop of the bus and the end of its
//! last handle report at once what is held back.

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
    /// Notified when nothing is held back any more.
    emptied: Condvar,
    last_resort: LastResort,
}

#[derive(Default)]
struct HeldBack {
    limiter: Limiter,
    /// A thread waits for the next sum to be due.
    has_timer: bool,
    /// The last handle has gone: no thread is started any more.
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

    /// One of no bus, whose notices nothing hears.
    #[cfg(test)]
    pub(crate) fn unheard() -> Arc<Self> {
        Arc::new(Self::new(
            Arc::new(Process::new(None)),
            LastResort::new(false),
        ))
    }

    /// Reports a notice, now or as a part of a later sum.
    pub(crate) fn report(self: &Arc<Self>, notice: Notice) {
        self.limit(notice, None);
    }

    /// Reports a notice whose count is what `tally` has when the notice passes.
    pub(crate) fn report_tally(self: &Arc<Self>, notice: Notice, tally: Arc<Tally>) {
        self.limit(notice, Some(tally));
    }

    fn limit(self: &Arc<Self>, notice: Notice, tally: Option<Arc<Tally>>) {
        if self.process.is_forked() {
            // Nothing hears it in a forked child, where locks may be held for ever.
            let _ = user_code::run(|| notice.log());
            return;
        }
        let Some(scope) = Scope::of(&notice, &self.hasher) else {
            // What happened before the stop is reported before it.
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

    /// Reports what is held back, whether it is due or not.
    fn report_held_back(self: &Arc<Self>) {
        let sums = self.lock_held_back().limiter.drain();
        self.emptied.notify_all();
        for notice in sums {
            self.deliver(notice);
        }
    }

    /// Hands on a notice whose text was logged before.
    pub(crate) fn repeat(self: &Arc<Self>, notice: Notice) {
        self.hand_on(notice);
    }

    /// Warns of something that has been logged, and is no notice: by the last resort, where nobody hears notices.
    pub(crate) fn warn_at_last(&self, text: &str) {
        if self.lock().is_empty() {
            self.last_resort.take(Level::WARN, &text);
        }
    }

    fn deliver(self: &Arc<Self>, notice: Notice) {
        // Whoever has subscribed to the log is the user's.
        let _ = user_code::run(|| notice.log());
        self.hand_on(notice);
    }

    /// Hands on a notice that has been logged.
    fn hand_on(self: &Arc<Self>, notice: Notice) {
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
            // The next notice that is held back tries again, and the stop reports it in any case.
            self.lock_held_back().has_timer = false;
        }
    }

    /// Reports each sum when it is due, until nothing is held back any more.
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

    /// Takes one off; what waits for it is still heard.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let mut sinks = self.lock();
        let at = sinks.iter().position(|sink| sink.id == id);
        let gone = at.map(|at| sinks.remove(at));
        // What it holds is dropped without the lock: that may call the bus.
        drop(sinks);
        if let Some(sink) = &gone {
            sink.close();
        }
        gone.is_some()
    }

    /// Waits until the listeners have heard what was told, for so long at most.
    pub(crate) fn settle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let sinks = self.lock().clone();
        for sink in sinks {
            sink.wait_until_idle(end);
        }
    }

    /// The last handle has gone: streams end after what waits in them, listeners hear out what waits for them.
    pub(crate) fn close(self: &Arc<Self>) {
        self.lock_held_back().closed = true;
        self.report_held_back();
        let gone = std::mem::take(&mut *self.lock());
        // What still comes has nobody to hear it, but not because nobody asked.
        self.last_resort.silence(!gone.is_empty());
        for sink in gone {
            sink.close();
        }
    }

    /// There is a handle again.
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
        // What a bus without handles held back has nobody to hear it any more, but its log.
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

    use super::rate_limit::Limiter;
    use super::*;
    use crate::Bus;

    /// A bus that has not been started, and whose pause is short.
    fn bus(pause: Duration) -> Bus {
        let bus = Bus::builder().environment(false).build().unwrap();
        bus.core.shared.telemetry.lock_held_back().limiter = Limiter::new(pause);
        bus
    }

    /// Registers a listener that panics, and has it called.
    fn panic_often(bus: &Bus, times: u64) {
        // Without the hook, which would print each.
        bus.on_named("x", |_| resume_unwind(Box::new("boom")));
        for _ in 0..times {
            // Local listeners are called on a stopped bus, too.
            bus.emit_named("x", ()).unwrap_err();
        }
    }

    /// How many panics each notice stands for, as they are told.
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
    fn a_sum_is_told_when_nothing_else_comes_also_on_a_stopped_bus() {
        let bus = bus(Duration::from_millis(300));
        let told = panics(&bus);
        panic_often(&bus, 5_000);
        // One for each pause that the calls took, and the last.
        let counts = add_up(&told, 5_000);
        assert!(counts.len() < 100, "{} notices", counts.len());
        assert_eq!(bus.stats().listener_panics, 5_000);
    }

    /// Counts the lines of the log, of this thread alone.
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
    fn listeners_that_panic_when_they_are_dropped_write_a_line_now_and_then() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                // Without the hook, which would print each.
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
        // One of these tests may come as another ends, and on a machine that takes its time a second one.
        let lines = lines.load(Ordering::SeqCst);
        assert!(lines <= 10, "{lines} lines");
    }

    #[test]
    fn a_bus_that_came_back_tells_sums_as_before() {
        let first = bus(Duration::from_millis(300));
        let mut held = first.subscribe_named("x");
        first.emit_named("x", ()).unwrap_err();
        let event = held.try_next().unwrap();
        drop(first);
        let back = event.bus();
        let told = panics(&back);
        panic_often(&back, 10);
        assert!(add_up(&told, 10).len() > 1);
    }

    #[test]
    fn the_last_handle_tells_what_is_held_back_and_leaves_no_timer() {
        let bus = bus(Duration::from_secs(600));
        let telemetry = Arc::downgrade(&bus.core.shared.telemetry);
        let told = panics(&bus);
        panic_often(&bus, 5_000);
        drop(bus);
        assert_eq!(add_up(&told, 5_000), [1, 4_999]);
        // The timer holds it while there is one.
        for _ in 0..6_000 {
            if telemetry.strong_count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the timer is still there");
    }
}
