//! What is counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Figures of a bus since it was built, over all its starts and stops. Plain numbers; a copy of the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events given to the network by `emit` and its kin.
    pub events_emitted: u64,
    /// Events that came from the network, whether or not anybody listens.
    pub events_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes sent in them.
    pub bytes_sent: u64,
    /// Datagrams received, the bus's own echoes included.
    pub datagrams_received: u64,
    /// Bytes received in them.
    pub bytes_received: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full. Linux only; 0 elsewhere.
    pub kernel_drops: u64,
    /// Bytes given up because the system would not send them.
    pub bytes_unsent: u64,
    /// Emits refused because the send queue was full.
    pub queue_full: u64,
    /// Chunked messages given up before they were whole.
    pub messages_expired: u64,
    /// Events that did not fit the type of a listener, counted once for each listener.
    pub decode_failures: u64,
    /// Panics of listeners.
    pub listener_panics: u64,
    /// Events that slow or async listeners missed because their queues were full.
    pub listener_missed: u64,
    /// Notices that nobody fetched in time.
    pub notices_missed: u64,
    /// Errors of the sockets that passed by themselves.
    pub socket_errors: u64,
    /// Datagrams that were not delivered, by cause: `malformed`, `double`, `echo`, `version`, and so on.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// How many datagrams were dropped for `cause`; 0 for a cause that never came up.
    pub fn dropped_for(&self, cause: &str) -> u64 {
        self.dropped.get(cause).copied().unwrap_or(0)
    }
}

/// A number that many threads raise and somebody reads now and then.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the bus counts outside the protocol.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) datagrams_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_unsent: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) decode_failures: Counter,
    pub(crate) listener_panics: Counter,
    pub(crate) listener_missed: Counter,
    pub(crate) notices_missed: Counter,
    pub(crate) send_errors: Counter,
}

impl Counters {
    /// `bytes` went out, in datagrams of `segment_size` or, without one, in a single one.
    pub(crate) fn count_sent(&self, bytes: usize, segment_size: Option<usize>) {
        if bytes > 0 {
            let datagrams = segment_size.map_or(1, |size| bytes.div_ceil(size));
            self.datagrams_sent.add(datagrams as u64);
            self.bytes_sent.add(bytes as u64);
        }
    }
}
