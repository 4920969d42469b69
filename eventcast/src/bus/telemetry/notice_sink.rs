//! The receiver of a bus's notices: a listener or a stream.

use std::{sync::Arc, time::Instant};

use super::{listener_id::ListenerId, notice::Notice};
use crate::bus::{
    process::{
        Process,
        runtime::CachedRuntime,
        user_code::{self, LogLimit},
    },
    queue::{
        bounded_queue::{Bound, Overflow},
        mailbox::Mailbox,
        work_queue::{Pushed, Server, WorkQueue},
    },
};

/// Notices that wait for a listener or a stream at most. Beyond this the newest are dropped; they
/// are logged nevertheless.
const CAPACITY: Bound = Bound {
    items: 1_024,
    bytes: usize::MAX,
};

pub(crate) struct NoticeSink {
    pub(crate) id: ListenerId,
    kind: Kind,
    panics: LogLimit,
}

enum Kind {
    /// Called with one notice after the other on a thread of its own: a notice may come from a
    /// thread that a listener must not block.
    Listener(Option<Closure>, WorkQueue<Notice>),
    Stream(Mailbox<Notice>),
}

/// A closure of the user's. Only [`user_code`] calls and drops it.
type Closure = Box<dyn Fn(&Notice) + Send + Sync>;

impl NoticeSink {
    pub(crate) fn listener(
        id: ListenerId,
        listener: impl Fn(&Notice) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let kind = Kind::Listener(Some(Box::new(listener)), WorkQueue::new(CAPACITY));
        Self::new(id, kind)
    }

    pub(crate) fn stream(id: ListenerId) -> Arc<Self> {
        Self::new(
            id,
            Kind::Stream(Mailbox::new(CAPACITY, Overflow::DropNewest)),
        )
    }

    fn new(id: ListenerId, kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            id,
            kind,
            panics: LogLimit::new(),
        })
    }

    /// The queue of a stream's sink.
    pub(crate) fn mailbox(&self) -> &Mailbox<Notice> {
        let Kind::Stream(mailbox) = &self.kind else {
            unreachable!("a stream of notices is created with the sink of a stream");
        };
        mailbox
    }

    /// Queues a notice, and returns how many notices were dropped for want of room.
    pub(crate) fn push(self: &Arc<Self>, process: &Arc<Process>, notice: Notice) -> u64 {
        match &self.kind {
            Kind::Listener(_, queue) => {
                let pushed = queue.push(notice, 1);
                if let Some(server) = queue.server() {
                    self.spawn_server(process, server);
                }
                match pushed {
                    Pushed::Missed(count) => count as u64,
                    Pushed::Taken | Pushed::Closed => 0,
                }
            }
            Kind::Stream(mailbox) => {
                let missed = mailbox.push(notice, 1);
                mailbox.wake();
                missed
            }
        }
    }

    fn spawn_server(self: &Arc<Self>, process: &Arc<Process>, server: Server<Notice>) {
        let (sink, process) = (Arc::clone(self), Arc::clone(process));
        // If the system refuses a thread, the notice stays in the queue (it was logged already),
        // and the next one tries again.
        let _ = std::thread::Builder::new()
            .name("eventcast-note".into())
            .stack_size(crate::codec::STACK_SIZE)
            .spawn(move || {
                let serve = || sink.serve(&process, server);
                process.guard_thread("calling a listener of notices", serve, || ());
            });
    }

    fn serve(&self, process: &Process, server: Server<Notice>) {
        let Kind::Listener(Some(listener), _) = &self.kind else {
            return;
        };
        let mut runtime = CachedRuntime::of(&process.runtime);
        server.serve(&process.home, |notice| {
            let called = user_code::run_within(runtime.get(&process.runtime), || listener(&notice));
            if let Err(panicked) = called {
                // Logged and not reported as a notice, which would call this listener again.
                let text = || format!("a listener of notices panicked: {}", panicked.message);
                self.panics.error(text);
            }
        });
    }

    /// Waits until the listener has received all waiting notices, until `end` at most.
    pub(crate) fn wait_until_idle(&self, end: Instant) {
        if let Kind::Listener(_, queue) = &self.kind {
            queue.wait_until_idle(end);
        }
    }

    /// Refuses further notices. The waiting ones are still delivered.
    pub(crate) fn close(&self) {
        match &self.kind {
            Kind::Listener(_, queue) => queue.finish(),
            Kind::Stream(mailbox) => mailbox.close(),
        }
    }
}

impl Drop for NoticeSink {
    fn drop(&mut self) {
        if let Kind::Listener(listener, _) = &mut self.kind
            && let Some(listener) = listener.take()
        {
            static LIMIT: LogLimit = LogLimit::new();
            user_code::discard_aside(listener, |panicked| {
                LIMIT.error(|| {
                    let message = panicked.message;
                    format!("a listener of notices panicked when it was dropped: {message}")
                });
            });
        }
    }
}
