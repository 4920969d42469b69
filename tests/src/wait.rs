//! Waiting for what must come. Nothing here proves that something takes, or does not take, long.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long something may take that must happen. Far above what it needs, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How much of what came is shown when something did not, in characters.
const SHOWN: usize = 1_000;

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, which it must.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds, which it must, without blocking the runtime.
#[track_caller]
pub fn eventually_async(
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < end,
                "it never came to this: {what} ({caller})"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Runs `future` to its end, which must come in time, on a runtime that is of no use to anybody
/// else.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without any driver but a clock");
    runtime.block_on(soon(future))
}

/// Awaits `future`, which must end in time.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("this future never ended ({caller})"),
        }
    }
}

/// What listeners saw, in order. Clones share one list.
#[derive(Debug)]
pub struct Seen<T> {
    list: Arc<Mutex<Vec<T>>>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self {
            list: Arc::clone(&self.list),
        }
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self {
            list: Arc::default(),
        }
    }
}

impl<T> Seen<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&self, item: T) {
        self.lock().push(item);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes them all out.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }

    /// A listener that panics while it pushes harms no other.
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Debug> Seen<T> {
    /// What there is now.
    pub fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// Waits until there are at least this many, which must come, and gives them all.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<T> {
        let end = Instant::now() + PATIENCE;
        while self.len() < count {
            if Instant::now() >= end {
                let came = format!("{:?}", self.all());
                let came: String = came.chars().take(SHOWN).collect();
                panic!("{count} were to come, but only {} did: {came}", self.len());
            }
            thread::sleep(PAUSE);
        }
        self.all()
    }
}
