//! A listener's identity, and the notices that name it.

use std::{
    panic::Location,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::fault::Fault;
use crate::{
    bus::{
        process::user_code::Panicked,
        telemetry::{
            Telemetry, listener_id::ListenerId, notice::Notice, origin::Origin, rate_limit::Tally,
        },
    },
    codec::DecodeError,
};

/// Shared by the parts of one listener, so that its calls and its queue report as this listener.
pub(crate) struct ListenerIdentity {
    pub(crate) id: ListenerId,
    /// The event key, or the pattern.
    pub(crate) key: Arc<str>,
    /// The name of its event type, if it was registered by type.
    pub(crate) event_type: Option<&'static str>,
    /// Where it was registered.
    pub(crate) location: &'static Location<'static>,
    /// For `once`: whether its one call has taken place.
    pub(crate) once: Option<AtomicBool>,
    telemetry: Arc<Telemetry>,
    /// Events dropped because its queue was full.
    missed: Arc<Tally>,
}

impl ListenerIdentity {
    /// The identity of a new listener.
    pub(crate) fn new(
        key: Arc<str>,
        event_type: Option<&'static str>,
        location: &'static Location<'static>,
        is_once: bool,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: ListenerId::next(),
            key,
            event_type,
            location,
            once: is_once.then(AtomicBool::default),
            telemetry,
            missed: Arc::default(),
        })
    }

    /// Whether the listener takes one event only.
    pub(crate) fn is_once(&self) -> bool {
        self.once.is_some()
    }

    /// The key as an `Arc`. Where it is the listener's own key, no copy is made.
    pub(crate) fn key_of(&self, key: &str) -> Arc<str> {
        if *self.key == *key {
            Arc::clone(&self.key)
        } else {
            key.into()
        }
    }

    /// Counts events that were dropped because the listener's queue was full. True: the caller has
    /// to call [`report_missed`](Self::report_missed).
    pub(crate) fn count_missed(&self, count: u64) -> bool {
        if count == 0 {
            return false;
        }
        self.telemetry.counters.listener_missed.add(count);
        self.missed.add(count)
    }

    /// Counts events that were dropped because a stream was full. No notice: the stream reports
    /// them to its reader.
    pub(crate) fn count_missed_by_stream(&self, count: u64) {
        self.telemetry.counters.subscription_missed.add(count);
    }

    pub(crate) fn report_missed(&self) {
        self.telemetry.report_tally(
            Notice::ListenerMissed {
                key: self.key.to_string(),
                listener: self.id,
                registered_at: self.location,
                missed: 0,
                count: 0,
            },
            Arc::clone(&self.missed),
        );
    }

    /// Reports a call that has taken longer than `budget`.
    pub(crate) fn report_slow(&self, budget: Duration) {
        self.telemetry.report(Notice::ListenerSlow {
            key: self.key.to_string(),
            listener: self.id,
            registered_at: self.location,
            budget,
            count: 1,
        });
    }

    /// Reports that the system refused a thread to serve the listener's queue.
    pub(crate) fn report_no_thread(&self, error: &std::io::Error) {
        let (key, location) = (&self.key, self.location);
        let text = format!(
            "the system gives no thread for the slow listener of `{key}` at {location} ({error}): its events wait"
        );
        self.telemetry.report(Notice::Warning { text });
    }

    /// Reports that an async listener has no runtime: there is none, or it was shut down.
    pub(crate) fn report_no_runtime(&self) {
        self.telemetry.report(Notice::NoRuntime {
            key: self.key.to_string(),
            listener: self.id,
            registered_at: self.location,
            count: 1,
        });
    }

    /// Reports a failed call with an event of this key. It differs from the listener's own key
    /// where the listener is registered by pattern.
    pub(crate) fn report_fault(&self, key: &str, sender: &Origin, fault: Fault) {
        match fault {
            Fault::Undecodable(error) => self.report_undecodable(key, sender, error),
            Fault::Panicked(Panicked { message }) => self.report_panic(message),
        }
    }

    fn report_undecodable(&self, key: &str, sender: &Origin, error: DecodeError) {
        #[cfg(feature = "repl")]
        super::nesting::note_misfit(self.location, &error);
        self.telemetry.counters.decode_failures.add(1);
        self.telemetry.report(Notice::DecodeFailure {
            key: key.to_owned(),
            listener: self.id,
            registered_at: self.location,
            sender: sender.clone(),
            error,
            count: 1,
        });
    }

    pub(crate) fn report_panic(&self, message: String) {
        self.telemetry.counters.listener_panics.add(1);
        self.telemetry.report(Notice::ListenerPanicked {
            key: self.key.to_string(),
            listener: self.id,
            registered_at: self.location,
            message,
            count: 1,
        });
    }
}
