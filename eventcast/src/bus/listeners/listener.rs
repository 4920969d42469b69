//! One registered listener, of whatever kind.
//!
//! An event reaches a listener in one of two ways. [`Listener::offer`] puts it into the listener's
//! queue, if there is one (async listeners, streams, slow listeners); if not, the caller runs the
//! listener on its own thread by [`Listener::run`]. The caller holds no lock of the bus in either.

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
    /// On the thread that delivers the event, until a call is too slow.
    Inline(Arc<InlineSink>),
    /// On a tokio runtime, from a queue of its own.
    Async(Arc<AsyncSink>),
    /// In a mailbox, until the reader of the stream polls.
    Stream(Mailbox<QueuedEvent>),
}

pub(crate) struct Listener {
    pub(crate) identity: Arc<ListenerIdentity>,
    /// The rank among the listeners of its key; the lowest is called first.
    pub(crate) order: i64,
    sink: Sink,
}

/// The outcome of [`Listener::offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The event is in the listener's queue, or was dropped for want of room and reported.
    Queued,
    /// The listener has no queue: the caller has to run it.
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

    /// Whether the events go through a queue.
    pub(crate) fn has_queue(&self) -> bool {
        match &self.sink {
            Sink::Inline(inline) => inline.has_queue(),
            Sink::Async(_) | Sink::Stream(_) => true,
        }
    }

    /// Queues the event if the listener has a queue. `kept` holds the one copy of the event that
    /// all queues share.
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

    /// Puts the event into the listener's queue and returns whether a drop has to be reported. No
    /// code of the user runs in here. The caller has to pass the result to [`Self::serve_queue`].
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

    /// Starts or wakes what serves the listener's queue (a thread, a task, or the reader of a
    /// stream), and reports dropped events.
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

    /// Decodes the event and runs the closure on this thread, within the bus's runtime. Catches a
    /// panic of the closure. Returns whether the closure was called.
    pub(crate) fn run(
        &self,
        owner: &Arc<dyn Owner>,
        runtime: Option<&Handle>,
        delivery: &Delivery<'_>,
    ) -> bool {
        let Sink::Inline(sink) = &self.sink else {
            unreachable!("`run` is called for inline listeners only");
        };
        sink.run(owner, runtime, delivery)
    }

    /// Runs the closure on the emitted value itself, without encoding. `None`: the listener takes
    /// another type, or has a queue.
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

    /// Moves a listener whose call takes too long to a queue of its own. The returned server
    /// belongs to the thread that runs the call: it calls [`Self::serve`] when the call returns.
    /// `None`: the listener has a queue already.
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

    /// Ends a listener that was taken off. The waiting events are still delivered; a stream ends
    /// after them.
    pub(crate) fn retire(&self) {
        match &self.sink {
            Sink::Inline(sink) => sink.retire(),
            Sink::Async(sink) => sink.retire(),
            Sink::Stream(mailbox) => mailbox.close(),
        }
    }

    /// Ends a listener after the last handle of the bus was dropped: a stream ends after its
    /// waiting events, and other queues drop theirs.
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
    fn a_decode_failure_of_a_listener_by_pattern_names_the_key_of_the_event() {
        let builder = Bus::builder().environment(false);
        let bus = builder.max_message_size(1_600_000).build().unwrap();
        bus.on_pattern("order.*", |_| ());
        let mut stream = bus.subscribe_pattern("order.*");
        let (sender, notices) = std::sync::mpsc::channel();
        bus.on_notice(move |notice| {
            let _ = sender.send(notice.clone());
        });
        // Decoded, the booleans take a dozen times as many bytes as in the message: more than the
        // limit.
        bus.emit_named("order.placed", (vec![true; 170_000],))
            .unwrap_err();
        assert!(stream.try_next().is_err());
        for _ in 0..2 {
            let notice = notices.recv_timeout(Duration::from_secs(60));
            let Ok(Notice::DecodeFailure { key, .. }) = &notice else {
                panic!("{notice:?}");
            };
            assert_eq!(key, "order.placed");
        }
    }

    /// The listener is still running, from a snapshot that was taken before.
    #[test]
    fn a_listener_moved_to_a_queue_after_it_was_taken_off_is_retired() {
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
                unreachable!("`on_named` registers an inline listener");
            };
            assert!(inline.is_retired());
        }
    }
}
