//! One registered listener, of whatever kind.
//!
//! An event reaches a listener in one of two ways. [`Listener::offer`] puts it into the listener's queue, where
//! it has one (async listeners, streams, listeners found to be slow); where it has none, the caller runs it on its
//! own thread with [`Listener::run`]. Both are called without any lock of the bus.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    async_sink::AsyncSink,
    delivery::{Delivery, QueuedEvent},
    identity::ListenerIdentity,
    info::ListenerMode,
    inline_sink::InlineSink,
    owner::Owner,
    received::Received,
};
use crate::bus::queue::{bounded_queue::Bound, mailbox::Mailbox, work_queue::Server};

/// How a listener takes its events.
pub(crate) enum Sink {
    /// On the thread that has the event, until it is found to be slow.
    Inline(Arc<InlineSink>),
    /// On a tokio runtime, from a queue of its own.
    Async(Arc<AsyncSink>),
    /// Where the stream is polled.
    Stream(Mailbox<QueuedEvent>),
}

pub(crate) struct Listener {
    pub(crate) identity: Arc<ListenerIdentity>,
    /// Its place among the listeners of its key: ascending.
    pub(crate) order: i64,
    sink: Sink,
}

/// What became of an event that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is in the listener's queue, or was missed for want of room there, which has been reported.
    Queued,
    /// The listener has no queue: the caller runs it.
    RunInline,
}

impl Listener {
    pub(crate) fn new(identity: Arc<ListenerIdentity>, order: i64, sink: Sink) -> Self {
        Self {
            identity,
            order,
            sink,
        }
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// How it takes its events.
    pub(crate) fn mode(&self) -> ListenerMode {
        match &self.sink {
            Sink::Inline(inline) if inline.has_queue() => ListenerMode::Queued,
            Sink::Inline(_) => ListenerMode::Inline,
            Sink::Async(_) => ListenerMode::Async,
            Sink::Stream(_) => ListenerMode::Stream,
        }
    }

    /// Whether its events go through a queue.
    pub(crate) fn has_queue(&self) -> bool {
        match &self.sink {
            Sink::Inline(inline) => inline.has_queue(),
            Sink::Async(_) | Sink::Stream(_) => true,
        }
    }

    /// Queues the event where the listener has a queue. `kept` shares the copy between the queues of one event.
    pub(crate) fn offer(
        &self,
        owner: &Arc<dyn Owner>,
        delivery: &Delivery<'_>,
        kept: &mut Option<QueuedEvent>,
    ) -> Offered {
        if !self.has_queue() {
            return Offered::RunInline;
        }
        let event = kept.get_or_insert_with(|| QueuedEvent::keep(delivery));
        let has_missed = self.queue(event.clone());
        self.serve_queue(owner, has_missed);
        Offered::Queued
    }

    /// Puts the event into the listener's queue. No code of the user runs in here; [`Self::serve_queue`] has to be called
    /// afterwards, with what this returns: whether a miss has to be reported.
    pub(crate) fn queue(&self, event: QueuedEvent) -> bool {
        let size = event.size();
        match &self.sink {
            Sink::Inline(sink) => self.identity.count_missed(sink.push(event, size)),
            Sink::Async(sink) => self.identity.count_missed(sink.push(event, size)),
            Sink::Stream(mailbox) => {
                let missed = mailbox.push(event, size);
                self.identity.count_missed_by_stream(missed);
                false
            }
        }
    }

    /// Has a thread, a task or the reader of a stream take what was put into the listener's queue, and reports a miss.
    pub(crate) fn serve_queue(&self, owner: &Arc<dyn Owner>, has_missed: bool) {
        match &self.sink {
            Sink::Inline(sink) => sink.start_serving(owner),
            Sink::Async(sink) => sink.start_task(owner),
            Sink::Stream(mailbox) => mailbox.wake(),
        }
        if has_missed {
            self.identity.report_missed();
        }
    }

    /// Decodes the event and runs the closure here and now, within the bus's runtime. A panic in it ends here. Gives whether
    /// the closure was called.
    pub(crate) fn run(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        delivery: &Delivery<'_>,
    ) -> bool {
        let Sink::Inline(sink) = &self.sink else {
            unreachable!("only inline listeners are run");
        };
        sink.run(owner, runtime, delivery)
    }

    /// Runs the closure on the very value that was emitted. `None`: the listener is of another type, or has a queue.
    pub(crate) fn run_same_type<E: Send + 'static>(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        received: &Received<E>,
    ) -> Option<bool> {
        match &self.sink {
            Sink::Inline(sink) => sink.run_same_type(owner, runtime, received),
            Sink::Async(_) | Sink::Stream(_) => None,
        }
    }

    /// Gives a listener that is running right now, and too long, a queue of its own. The thread in which it runs gets the
    /// right to serve it, and calls [`Self::serve`] when the call returns. `None`: it has one.
    pub(crate) fn move_to_queue(&self, bound: Bound) -> Option<Server<QueuedEvent>> {
        match &self.sink {
            Sink::Inline(sink) => sink.move_to_queue(bound),
            Sink::Async(_) | Sink::Stream(_) => None,
        }
    }

    /// Serves the queue of a moved listener.
    pub(crate) fn serve(&self, owner: &Arc<dyn Owner>, server: Server<QueuedEvent>) {
        if let Sink::Inline(sink) = &self.sink {
            sink.serve(owner, server);
        }
    }

    /// It has been taken off: a stream ends after what waits in it, and what else waits is worked off without delay.
    pub(crate) fn retire(&self) {
        match &self.sink {
            Sink::Inline(sink) => sink.retire(),
            Sink::Async(sink) => sink.retire(),
            Sink::Stream(mailbox) => mailbox.close(),
        }
    }

    /// The last handle of the bus has gone: what waits is given up, and a stream ends after what waits in it.
    pub(crate) fn close(&self) {
        match &self.sink {
            Sink::Inline(sink) => sink.close(),
            Sink::Async(sink) => {
                sink.close();
            }
            Sink::Stream(mailbox) => mailbox.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Bus, Notice};

    #[test]
    fn an_event_that_does_not_fit_a_listener_by_pattern_is_named_by_its_own_key() {
        let builder = Bus::builder().environment(false);
        let bus = builder.max_message_size(1_600_000).build().unwrap();
        bus.on_pattern("order.*", |_| ());
        let mut stream = bus.subscribe_pattern("order.*");
        let (sender, told) = std::sync::mpsc::channel();
        bus.on_notice(move |notice| {
            let _ = sender.send(notice.clone());
        });
        // As values they take a dozen times as much as in the message.
        bus.emit_named("order.placed", (vec![true; 170_000],))
            .unwrap_err();
        assert!(stream.try_next().is_err());
        for _ in 0..2 {
            let notice = told.recv_timeout(Duration::from_secs(60));
            let Ok(Notice::DecodeFailure { key, .. }) = &notice else {
                panic!("{notice:?}");
            };
            assert_eq!(key, "order.placed");
        }
    }

    /// One that is still being called, by whoever took the list before.
    #[test]
    fn what_is_moved_after_it_was_taken_off_does_not_linger() {
        for is_last_handle in [false, true] {
            let bus = Bus::builder().environment(false).build().unwrap();
            let id = bus.on_named("x", |_| ());
            let listener = bus.core.shared.listeners.registry.list("x").unwrap()[0].clone();
            let bound = bus.core.shared.options.listener_queue.into();
            if is_last_handle {
                drop(bus);
            } else {
                assert!(bus.off(id));
            }
            assert!(listener.move_to_queue(bound).is_some());
            let Sink::Inline(inline) = listener.sink() else {
                unreachable!("`on_named` makes one that runs inline");
            };
            assert!(inline.is_retired());
        }
    }
}
