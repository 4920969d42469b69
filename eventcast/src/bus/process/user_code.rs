//! Runs and drops the user's code and values. No other part of the bus does.
//!
//! A listener's closure with its captures, an event's value, the future of a call, a waker and the
//! payload of a panic are the user's: each may panic, also when it is dropped, call the bus, or
//! take long. So they run and are dropped only by [`run`], [`run_within`] and [`discard`], without
//! any lock of the bus. A thread that drives the bus drops them on another thread
//! ([`discard_aside`]), except within calls that are watched for their duration.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    task::Waker,
    time::Instant,
};

use tokio::runtime::{EnterGuard, Handle};

use crate::{
    proto::rate_limited::REPORT_PAUSE,
    text::{printable, shortened},
};

/// Payloads that are dropped in a row, if each panics in its drop with another one. The next is
/// leaked.
const PAYLOADS: usize = 8;

thread_local! {
    /// Whether this thread drives a bus and is outside of a watched call. A `Cell` of a `bool` has
    /// no destructor, so other destructors of the thread can still read it.
    static DRIVES: Cell<bool> = const { Cell::new(false) };
}

/// The text of a panic is cut at so many bytes, since it may contain data from the network.
const LONGEST_MESSAGE: usize = 1_024;

/// A caught panic, reduced to its text.
#[derive(Debug)]
pub(crate) struct Panicked {
    pub(crate) message: String,
}

impl Panicked {
    fn of(mut payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = shortened(text.unwrap_or("a panic without a text"), LONGEST_MESSAGE);
        for _ in 0..PAYLOADS {
            match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                Ok(()) => return Self { message },
                Err(next) => payload = next,
            }
        }
        mem::forget(payload);
        Self { message }
    }
}

/// Runs code of the user's. Catches a panic, also one in the drop of its payload.
pub(crate) fn run<R>(work: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::of)
}

/// Runs code of the user's within the bus's tokio runtime, if there is one.
pub(crate) fn run_within<R>(
    runtime: Option<&Handle>,
    work: impl FnOnce() -> R,
) -> Result<R, Panicked> {
    run(|| {
        // Dropped within the caught call: it panics if the user's code has left another runtime
        // entered.
        let _entered = runtime.and_then(entered);
        work()
    })
}

/// `None`: the thread is ending, and tokio's thread-local storage is destroyed.
fn entered(runtime: &Handle) -> Option<EnterGuard<'_>> {
    match Handle::try_current() {
        Err(error) if error.is_thread_local_destroyed() => None,
        _ => Some(runtime.enter()),
    }
}

/// Drops a value of the user's.
pub(crate) fn discard<T>(value: T) -> Result<(), Panicked> {
    run(|| drop(value))
}

/// Wakes a task. Its waker may belong to an executor of the user's.
pub(crate) fn wake(waker: Waker) {
    report_waker(run(|| waker.wake()));
}

/// Logs a panic of a waker.
pub(crate) fn report_waker(woken: Result<(), Panicked>) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Err(panicked) = woken {
        LIMIT.error(|| format!("a waker panicked: {}", panicked.message));
    }
}

/// Logs a line at most once in [`REPORT_PAUSE`]. For failures of the listeners of notices
/// themselves, and others that no notice can report.
#[derive(Debug)]
pub(crate) struct LogLimit {
    state: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    last: Option<Instant>,
    /// The lines held back since then.
    count: u64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new(Held {
                last: None,
                count: 0,
            }),
        }
    }

    pub(crate) fn error(&self, text: impl FnOnce() -> String) {
        let Some(held_back) = self.pass(Instant::now()) else {
            return;
        };
        let text = text();
        // The text of a panic may contain data from the network.
        let text = printable(&text);
        // A subscriber of the log is the user's code.
        let _ = run(|| match held_back {
            0 => tracing::error!(target: "eventcast", "{text}"),
            more => tracing::error!(target: "eventcast", "{text} (and {more} more like it)"),
        });
    }

    /// `None`: the line is held back. Otherwise the number of lines held back since the last that
    /// passed.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = |last| now.saturating_duration_since(last) < REPORT_PAUSE;
        if held.last.is_some_and(is_early) {
            held.count += 1;
            return None;
        }
        held.last = Some(now);
        Some(mem::take(&mut held.count))
    }
}

/// Drops a value of the user's; on a thread of its own if this thread drives the bus and must not
/// block.
pub(crate) fn discard_aside<T: Send + 'static>(
    value: T,
    on_panic: impl FnOnce(Panicked) + Send + 'static,
) {
    let aside = Aside {
        rest: Some((value, on_panic)),
    };
    if DRIVES.get() {
        // If the system refuses a thread, the failed spawn drops it on this one.
        let _ = std::thread::Builder::new()
            .name("eventcast-drop".into())
            .stack_size(crate::codec::STACK_SIZE)
            .spawn(move || drop(aside));
    }
}

/// Discards the value in its own drop, on whichever thread that is.
struct Aside<T, F: FnOnce(Panicked)> {
    rest: Option<(T, F)>,
}

impl<T, F: FnOnce(Panicked)> Drop for Aside<T, F> {
    fn drop(&mut self) {
        if let Some((value, on_panic)) = self.rest.take()
            && let Err(panicked) = discard(value)
        {
            on_panic(panicked);
        }
    }
}

/// Marks the calling thread as driving a bus or not, until it is dropped.
pub(crate) struct Driving {
    before: bool,
}

impl Driving {
    /// From here on the thread must not block.
    pub(crate) fn begin() -> Self {
        Self {
            before: DRIVES.replace(true),
        }
    }

    /// The thread makes a watched call, which may block.
    pub(crate) fn pause() -> Self {
        Self {
            before: DRIVES.replace(false),
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVES.set(self.before);
    }
}

impl Drop for LogLimit {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let count = state.unwrap_or_else(PoisonError::into_inner).count;
        if count > 0 {
            let _ = run(
                || tracing::error!(target: "eventcast", "{count} more panics like the last one"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::panic_any,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
    };

    use super::*;

    /// Panics in its drop with another `Bomb`, so many times.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_in_the_drop_of_a_payload_is_caught() {
        for depth in [0, 1, PAYLOADS, 3 * PAYLOADS] {
            let panicked = run(|| panic_any(Bomb(depth))).unwrap_err();
            assert_eq!(panicked.message, "a panic without a text");
        }
        assert!(discard(Bomb(2)).is_err());
        assert_eq!(run(|| 7).unwrap(), 7);
    }

    #[test]
    fn a_log_line_passes_once_in_a_pause() {
        let limit = LogLimit::new();
        let begin = Instant::now();
        assert_eq!(limit.pass(begin), Some(0));
        for _ in 0..5 {
            assert_eq!(limit.pass(begin + REPORT_PAUSE / 2), None);
        }
        assert_eq!(limit.pass(begin + REPORT_PAUSE), Some(5));
        assert_eq!(limit.pass(begin + REPORT_PAUSE), None);
        assert_eq!(limit.pass(begin + 2 * REPORT_PAUSE), Some(1));
    }

    #[test]
    fn a_long_panic_text_is_cut() {
        let panicked = run(|| panic!("on purpose, {}", 1)).unwrap_err();
        assert_eq!(panicked.message, "on purpose, 1");
        let panicked = run(|| panic!("{}", "ä".repeat(1 << 20))).unwrap_err();
        assert_eq!(panicked.message, format!("{}…", "ä".repeat(512)));
    }

    #[test]
    fn a_driving_thread_drops_values_on_another_thread() {
        struct Tells(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().id());
            }
        }
        let own = std::thread::current().id();
        let (sender, dropped) = mpsc::channel();
        let discard = || discard_aside(Tells(sender.clone()), |_| ());
        discard();
        assert_eq!(dropped.recv().unwrap(), own);
        let driving = Driving::begin();
        discard();
        assert_ne!(dropped.recv().unwrap(), own);
        let pause = Driving::pause();
        discard();
        assert_eq!(dropped.recv().unwrap(), own);
        drop(pause);
        discard();
        assert_ne!(dropped.recv().unwrap(), own);
        drop(driving);
        discard();
        assert_eq!(dropped.recv().unwrap(), own);
    }

    #[test]
    fn a_panic_in_the_drop_of_a_value_is_passed_to_the_handler() {
        let reported = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reported);
        discard_aside(Bomb(1), move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(reported.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_runtime_left_entered_fails_one_call() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handle = runtime.handle();
        let left = run_within(Some(handle), || {
            mem::forget(runtime.enter());
        });
        assert!(left.is_err());
        assert!(run_within(Some(handle), Handle::current).is_ok());
    }
}
