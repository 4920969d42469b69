//! Who hears notices: listeners, each on a thread of its own, and streams.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use super::{
    backlog::{Backlog, Bound, Overflow, Pushed, WorkQueue},
    core::Core,
    listener::ListenerId,
    notice::Notice,
};

/// How many notices wait for a listener or a stream; then the newest give way. All of them are logged as well.
const CAPACITY: Bound = Bound {
    items: 1_024,
    bytes: usize::MAX,
};

/// Those who want to hear notices.
#[derive(Default)]
pub(crate) struct Notices {
    sinks: Mutex<Vec<Arc<NoticeSink>>>,
}

struct NoticeSink {
    id: ListenerId,
    kind: Kind,
}

enum Kind {
    /// Called one notice after the other, on a thread of its own: a notice may come from the very place that a
    /// listener must not hold up.
    Listener(Box<dyn Fn(&Notice) + Send + Sync>, WorkQueue<Notice>),
    Stream(Mutex<StreamState>),
}

struct StreamState {
    backlog: Backlog<Notice>,
    waker: Option<Waker>,
    closed: bool,
}

impl Notices {
    pub(crate) fn tell(&self, core: &Arc<Core>, notice: Notice) {
        notice.log();
        let sinks = self.lock().clone();
        for sink in sinks {
            sink.push(core, notice.clone());
        }
    }

    pub(crate) fn on(&self, id: ListenerId, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        self.lock().push(Arc::new(NoticeSink {
            id,
            kind: Kind::Listener(Box::new(listener), WorkQueue::new(CAPACITY, false)),
        }));
    }

    pub(crate) fn stream(&self, id: ListenerId, core: Arc<Core>) -> NoticeStream {
        let sink = Arc::new(NoticeSink {
            id,
            kind: Kind::Stream(Mutex::new(StreamState {
                backlog: Backlog::new(CAPACITY, Overflow::DropNewest),
                waker: None,
                closed: false,
            })),
        });
        self.lock().push(Arc::clone(&sink));
        NoticeStream { sink, core }
    }

    pub(crate) fn off(&self, id: ListenerId) -> bool {
        let mut sinks = self.lock();
        let Some(at) = sinks.iter().position(|sink| sink.id == id) else {
            return false;
        };
        sinks.remove(at);
        true
    }

    /// The last handle has gone: streams end after what waits in them, listeners hear out what waits for them.
    pub(crate) fn close(&self) {
        for sink in self.lock().drain(..) {
            sink.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<NoticeSink>>> {
        // Nothing that can panic runs under this lock.
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NoticeSink {
    fn push(self: &Arc<Self>, core: &Arc<Core>, notice: Notice) {
        match &self.kind {
            Kind::Listener(_, queue) => match queue.push(notice, 1) {
                Pushed::Taken | Pushed::Closed => {}
                Pushed::Missed(count) => core.counters.notices_missed.add(count as u64),
                Pushed::Unserved => self.spawn_server(queue),
            },
            Kind::Stream(state) => {
                let mut state = lock(state);
                let missed = state.backlog.push(notice, 1);
                let waker = state.waker.take();
                drop(state);
                core.counters.notices_missed.add(missed as u64);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    fn spawn_server(self: &Arc<Self>, queue: &WorkQueue<Notice>) {
        let sink = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("eventcast-note".into())
            .spawn(move || sink.serve());
        if spawned.is_err() {
            // It has been logged already; the next notice tries again.
            queue.unserved();
        }
    }

    fn serve(&self) {
        let Kind::Listener(listener, queue) = &self.kind else {
            return;
        };
        queue.serve(|notice| {
            let call = std::panic::AssertUnwindSafe(|| listener(&notice));
            if std::panic::catch_unwind(call).is_err() {
                tracing::error!(target: "eventcast", %notice, "a listener of notices panicked");
            }
        });
    }

    fn close(&self) {
        match &self.kind {
            Kind::Listener(_, queue) => queue.finish(),
            Kind::Stream(state) => {
                let mut state = lock(state);
                state.closed = true;
                let waker = state.waker.take();
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }
}

fn lock(state: &Mutex<StreamState>) -> MutexGuard<'_, StreamState> {
    // Nothing that can panic runs under this lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The notices of a bus, as a [`Stream`]. It ends when the last handle of the bus goes.
#[must_use = "a stream that is dropped hears nothing"]
pub struct NoticeStream {
    sink: Arc<NoticeSink>,
    core: Arc<Core>,
}

impl NoticeStream {
    /// The next notice; `None` when the last handle of the bus has gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        std::future::poll_fn(|cx| self.poll_notice(cx)).await
    }

    fn poll_notice(&self, cx: &Context<'_>) -> Poll<Option<Notice>> {
        let Kind::Stream(state) = &self.sink.kind else {
            unreachable!("a stream of notices is made with a stream's sink");
        };
        let mut state = lock(state);
        if let Some(notice) = state.backlog.pop() {
            return Poll::Ready(Some(notice));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Stream for NoticeStream {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.poll_notice(cx)
    }
}

impl Drop for NoticeStream {
    fn drop(&mut self) {
        self.core.notices.off(self.sink.id);
    }
}

impl fmt::Debug for NoticeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeStream")
    }
}
