//! The one place where the bus runs what belongs to its user, and drops it.
//!
//! A listener's closure with all that it captured, an event's value, the future of a call, a waker and the payload of a
//! panic are the user's: each may panic, also when it is dropped, call the bus, or take its time. So nothing of it runs
//! or is dropped but through [`run`], [`run_within`] and [`discard`], without any lock of the bus; and what is dropped
//! on a thread that drives the bus, outside of the calls that are watched over, goes to a thread of its own
//! ([`discard_aside`]).

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

/// How many payloads are dropped one after the other where each panics when it is dropped; the next is leaked.
const PAYLOADS: usize = 8;

thread_local! {
    /// Whether this thread drives a bus, and is not within a call that is watched over. Without a destructor, so it can
    /// be read for as long as the thread exists.
    static DRIVES: Cell<bool> = const { Cell::new(false) };
}

/// Beyond so many bytes the text of a panic is cut: it may hold whatever came from the network.
const LONGEST_MESSAGE: usize = 1_024;

/// What is left of a panic: its text.
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

/// Runs what is the user's. A panic in it ends here, its payload included.
pub(crate) fn run<R>(work: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::of)
}

/// Runs what is the user's, within the bus's tokio runtime if there is one.
pub(crate) fn run_within<R>(
    runtime: Option<&Handle>,
    work: impl FnOnce() -> R,
) -> Result<R, Panicked> {
    run(|| {
        // Left within the call that is caught: it panics where the user has left another runtime entered.
        let _entered = runtime.and_then(entered);
        work()
    })
}

/// `None`: the thread is ending, and tokio has nowhere to note it any more.
fn entered(runtime: &Handle) -> Option<EnterGuard<'_>> {
    match Handle::try_current() {
        Err(error) if error.is_thread_local_destroyed() => None,
        _ => Some(runtime.enter()),
    }
}

/// Drops what is the user's.
pub(crate) fn discard<T>(value: T) -> Result<(), Panicked> {
    run(|| drop(value))
}

/// Wakes a task, whose waker is the user's where its executor is.
pub(crate) fn wake(waker: Waker) {
    report_waker(run(|| waker.wake()));
}

/// Reports what waking a task came to.
pub(crate) fn report_waker(woken: Result<(), Panicked>) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Err(panicked) = woken {
        LIMIT.error(|| format!("a waker panicked: {}", panicked.message));
    }
}

/// Lets a line into the log at most once in [`REPORT_PAUSE`]: for what no notice can say, because whoever would hear it
/// is what has failed.
#[derive(Debug)]
pub(crate) struct LogLimit {
    state: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    last: Option<Instant>,
    /// How many lines since then.
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
        // What a panic says may be made of what came from the network.
        let text = printable(&text);
        // Whoever has subscribed to the log is the user's.
        let _ = run(|| match held_back {
            0 => tracing::error!(target: "eventcast", "{text}"),
            more => tracing::error!(target: "eventcast", "{text} (and {more} more like it)"),
        });
    }

    /// Whether the line may pass, and how many have been held back since the last that did.
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

/// Drops what is the user's, on a thread of its own where this one drives the bus and must not be held up.
pub(crate) fn discard_aside<T: Send + 'static>(
    value: T,
    on_panic: impl FnOnce(Panicked) + Send + 'static,
) {
    let aside = Aside {
        rest: Some((value, on_panic)),
    };
    if DRIVES.get() {
        // Where there is no thread to be had, it is dropped here.
        let _ = std::thread::Builder::new()
            .name("eventcast-drop".into())
            .spawn(move || drop(aside));
    }
}

/// Discards when it is dropped, wherever that is.
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

/// Says of the calling thread whether it drives a bus, until this is dropped.
pub(crate) struct Driving {
    before: bool,
}

impl Driving {
    /// The thread must not be held up from here on.
    pub(crate) fn begin() -> Self {
        Self {
            before: DRIVES.replace(true),
        }
    }

    /// The thread makes a call that is watched over: it may be held up.
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

    /// Panics when it is dropped, with another of its kind, so often.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_ends_here() {
        for depth in [0, 1, PAYLOADS, 3 * PAYLOADS] {
            let panicked = run(|| panic_any(Bomb(depth))).unwrap_err();
            assert_eq!(panicked.message, "a panic without a text");
        }
        assert!(discard(Bomb(2)).is_err());
        assert_eq!(run(|| 7).unwrap(), 7);
    }

    #[test]
    fn a_line_of_the_log_passes_now_and_then() {
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
    fn a_text_is_kept_unless_it_is_long() {
        let panicked = run(|| panic!("on purpose, {}", 1)).unwrap_err();
        assert_eq!(panicked.message, "on purpose, 1");
        let panicked = run(|| panic!("{}", "ä".repeat(1 << 20))).unwrap_err();
        assert_eq!(panicked.message, format!("{}…", "ä".repeat(512)));
    }

    #[test]
    fn what_a_driving_thread_drops_is_dropped_aside() {
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
    fn a_panic_of_what_is_dropped_is_handed_on() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        discard_aside(Bomb(1), move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_runtime_that_was_left_entered_costs_one_call() {
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
