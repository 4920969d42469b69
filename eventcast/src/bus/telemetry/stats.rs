//! The statistics of a bus.
//!
//! The table below defines each metric once: its description, its name, and its counter. The field
//! of [`Stats`], the sum over all sessions of a bus and the metric of the feature `metrics` are
//! generated from it, so a new metric is one new entry. [`Stats::dropped`], which is counted by
//! cause, is not in the table.
//!
//! Counting costs one addition; everything else is computed when the statistics are read.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::proto::{DropCause, EngineStats};

/// Generates [`Stats`] and its methods over all metrics from a table of entries
///
/// ```text
/// /// What it means: the doc of the field, and the description of the metric.
/// Counter name { session: |s| s.engine.…, bus: |b| b.….get() }
/// ```
///
/// A `Counter` only rises. A `Gauge` is a present amount: an ended session adds nothing to it.
/// `session` reads a [`SessionStats`], `bus` the [`Counters`]; an entry with both is their sum.
macro_rules! stats {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $name:ident { $($source:ident: |$from:ident| $get:expr),+ $(,)? }
    )+) => {
        /// Statistics of a bus since it was built, over all its starts and stops. Plain numbers; a
        /// copy of the moment.
        ///
        /// A number that is described with "now" is a gauge: it rises and falls, and is 0 on a
        /// stopped bus. All others only rise.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $(
                $(#[doc = $doc])+
                pub $name: u64,
            )+
            /// Datagrams, and messages that came in several, that were not delivered, by cause.
            /// Every cause is there once the bus has been started.
            pub dropped: BTreeMap<DropCause, u64>,
        }

        impl Stats {
            /// Adds the statistics of a session; only the counters if it has `ended`.
            pub(crate) fn add_session(&mut self, session: &SessionStats, ended: bool) {
                $($(
                    if !(ended && Kind::$kind.is_gauge()) {
                        self.$name += stats!(@session $source session |$from| $get);
                    }
                )+)+
                for (cause, count) in session.engine.drops.iter() {
                    *self.dropped.entry(cause).or_default() += count;
                }
            }

            /// Adds the counters of the bus, which last over all sessions.
            pub(crate) fn add_counters(&mut self, counters: &Counters) {
                $($(
                    self.$name += stats!(@bus $source counters |$from| $get);
                )+)+
            }

            /// All metrics of the table, each with its description.
            #[cfg(feature = "metrics")]
            pub(crate) fn metrics(&self) -> impl Iterator<Item = (&'static Metric, u64)> {
                // Written out, so that a new field beside the table does not compile until the
                // caller publishes it.
                let Self { $($name,)+ dropped: _ } = self;
                METRICS.iter().zip([$(*$name),+])
            }

            /// All statistics by name, as the console shows them.
            #[cfg(feature = "repl")]
            pub(crate) fn named(&self) -> impl Iterator<Item = (String, u64)> {
                let Self { $($name,)+ dropped } = self;
                let stats = [$((stringify!($name).to_owned(), *$name)),+];
                let dropped = dropped.iter().map(|(cause, count)| (format!("dropped: {cause}"), *count));
                stats.into_iter().chain(dropped)
            }

            /// Statistics with a different number in each field, from 1 on.
            #[cfg(all(test, feature = "metrics"))]
            pub(crate) fn all_different() -> Self {
                let mut numbers = 1..;
                let mut next = || numbers.next().expect("there are enough numbers");
                Self {
                    $($name: next(),)+
                    dropped: [(DropCause::Malformed, next()), (DropCause::Duplicate, next())].into(),
                }
            }
        }

        /// Name and description of each metric, in the order of the table.
        #[cfg(feature = "metrics")]
        const METRICS: &[Metric] = &[$(
            Metric {
                kind: Kind::$kind,
                name: stats!(@metric $kind $name),
                description: concat!($($doc),+),
            },
        )+];
    };

    (@session session $session:ident |$from:ident| $get:expr) => {{
        let $from: &SessionStats = $session;
        $get
    }};
    (@session bus $session:ident |$from:ident| $get:expr) => { 0 };
    (@bus bus $counters:ident |$from:ident| $get:expr) => {{
        let $from: &Counters = $counters;
        $get
    }};
    (@bus session $counters:ident |$from:ident| $get:expr) => { 0 };

    (@metric Counter $name:ident) => { concat!("eventcast_", stringify!($name), "_total") };
    (@metric Gauge $name:ident) => { concat!("eventcast_", stringify!($name)) };
}

stats! {
    /// Events given to the network by the methods that emit.
    Counter events_emitted { session: |s| s.engine.emitted_messages }

    /// Events that came from the network, with or without listeners.
    Counter events_received { session: |s| s.engine.delivered_messages }

    /// Events among those that came in several datagrams.
    Counter events_joined { session: |s| s.engine.joined_messages }

    /// Datagrams sent.
    Counter datagrams_sent { bus: |b| b.datagrams_sent.get() }

    /// Bytes sent in them.
    Counter bytes_sent { bus: |b| b.bytes_sent.get() }

    /// Datagrams received. Of the bus's own datagrams to the group, which come back to it, those
    /// are counted that no filter in the kernel has dropped: on Linux none, unless the filter could
    /// not be set or the bus's address has just changed; elsewhere each.
    Counter datagrams_received { session: |s| s.engine.received_datagrams }

    /// Bytes received in them.
    Counter bytes_received { session: |s| s.engine.received_bytes }

    /// Datagrams that the kernel dropped because the receive buffer was full. Linux only; 0
    /// elsewhere.
    Counter kernel_drops { session: |s| s.kernel_drops }

    /// Bytes dropped because the system would not send them.
    Counter bytes_unsent { bus: |b| b.bytes_unsent.get() }

    /// Bytes that wait in the send queue now.
    Gauge queued_bytes { session: |s| s.engine.queued_bytes as u64 }

    /// Emits refused because the send queue was full.
    Counter queue_full { bus: |b| b.queue_full.get() }

    /// Chunked messages of which some chunks are there now, and others not yet.
    Gauge messages_incomplete { session: |s| s.engine.incomplete_messages as u64 }

    /// Bytes held now for these and for events that wait for an earlier one, as `max_held_bytes`
    /// counts them.
    Gauge held_bytes { session: |s| s.engine.held_bytes as u64 }

    /// Chunked messages dropped before they were complete.
    Counter messages_expired { session: |s| s.engine.expired_messages }

    /// Events that were reported as lost: they came neither by themselves nor on request.
    Counter events_lost { session: |s| s.engine.lost_messages }

    /// Events that came after they had been requested.
    Counter events_repaired { session: |s| s.engine.repaired_messages }

    /// Requests sent for missing events and chunks.
    Counter requests_sent { session: |s| s.engine.requests_sent }

    /// Hellos, goodbyes, requests and other messages of the protocol's own that were not sent,
    /// because 1,024 of them waited already.
    Counter control_unsent { session: |s| s.engine.control_unsent }

    /// Requests received from peers for what they have missed.
    Counter requests_received { session: |s| s.engine.requests_received }

    /// Datagrams sent again in answer to these.
    Counter answers_sent { session: |s| s.engine.answers_sent }

    /// Datagrams that were requested and not sent again, because they would have been too much.
    Counter answers_refused { session: |s| s.engine.answers_refused }

    /// Datagrams that were requested and not sent again, because they had just been sent, or are
    /// about to be.
    Counter answers_duplicate { session: |s| s.engine.answers_duplicate }

    /// Bytes of what was sent that are kept now, as `history_bytes` counts them.
    Gauge history_bytes { session: |s| s.engine.history_bytes as u64 }

    /// Peers that are there now.
    Gauge peers { session: |s| s.engine.peers as u64 }

    /// Events that did not fit the type of a listener, counted once for each listener.
    Counter decode_failures { bus: |b| b.decode_failures.get() }

    /// Panics of listeners.
    Counter listener_panics { bus: |b| b.listener_panics.get() }

    /// Events that slow or async listeners missed because their queues were full.
    Counter listener_missed { bus: |b| b.listener_missed.get() }

    /// Events that subscriptions missed because they were not read in time; those that keep only
    /// the latest miss all others.
    Counter subscription_missed { bus: |b| b.subscription_missed.get() }

    /// Notices that were not fetched in time.
    Counter notices_missed { bus: |b| b.notices_missed.get() }

    /// Errors of the sockets that passed by themselves.
    Counter socket_errors { session: |s| s.socket_errors, bus: |b| b.send_errors.get() }
}

impl Stats {
    /// How many datagrams were dropped for `cause`.
    ///
    /// ```
    /// use eventcast::DropCause;
    ///
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// assert_eq!(bus.stats().dropped_for(DropCause::Malformed), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn dropped_for(&self, cause: DropCause) -> u64 {
        self.dropped.get(&cause).copied().unwrap_or(0)
    }
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// It is the present value.
    Gauge,
}

impl Kind {
    fn is_gauge(self) -> bool {
        self == Self::Gauge
    }
}

/// Name, kind and description of a metric.
#[cfg(feature = "metrics")]
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) kind: Kind,
    /// The name of the metric.
    pub(crate) name: &'static str,
    /// The text of the doc comment, with blanks around it.
    pub(crate) description: &'static str,
}

/// The statistics of one session.
pub(crate) struct SessionStats {
    pub(crate) engine: EngineStats,
    pub(crate) kernel_drops: u64,
    pub(crate) socket_errors: u64,
}

/// A number that many threads raise and few read.
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

/// The counters of the bus outside of the protocol.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) datagrams_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_unsent: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) decode_failures: Counter,
    pub(crate) listener_panics: Counter,
    pub(crate) listener_missed: Counter,
    pub(crate) subscription_missed: Counter,
    pub(crate) notices_missed: Counter,
    pub(crate) send_errors: Counter,
}

impl Counters {
    /// Counts `bytes` as sent, in datagrams of `segment_size` or, without one, in a single
    /// datagram.
    pub(crate) fn count_sent(&self, bytes: usize, segment_size: Option<usize>) {
        if bytes > 0 {
            let datagrams = segment_size.map_or(1, |size| bytes.div_ceil(size));
            self.datagrams_sent.add(datagrams as u64);
            self.bytes_sent.add(bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(emitted_messages: u64, held_bytes: usize, socket_errors: u64) -> SessionStats {
        SessionStats {
            engine: EngineStats {
                emitted_messages,
                held_bytes,
                ..EngineStats::default()
            },
            kernel_drops: 0,
            socket_errors,
        }
    }

    #[test]
    fn counters_add_up_over_sessions_and_gauges_end_with_them() {
        let mut stats = Stats::default();
        stats.add_session(&session(2, 700, 1), true);
        assert_eq!((stats.events_emitted, stats.held_bytes), (2, 0));
        stats.add_session(&session(3, 50, 1), false);
        assert_eq!((stats.events_emitted, stats.held_bytes), (5, 50));

        let counters = Counters::default();
        counters.send_errors.add(10);
        counters.queue_full.add(4);
        stats.add_counters(&counters);
        assert_eq!((stats.socket_errors, stats.queue_full), (12, 4));
    }

    #[test]
    fn all_drop_causes_are_listed_from_the_beginning() {
        let mut stats = Stats::default();
        stats.add_session(&session(0, 0, 0), false);
        assert_eq!(stats.dropped.get(&DropCause::Malformed), Some(&0));
        assert_eq!(Stats::default().dropped_for(DropCause::Echo), 0);
    }
}
