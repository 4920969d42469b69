//! Publishes the statistics of a bus to the recorder of the crate `metrics`.
//!
//! [`Bus::publish_metrics`](crate::bus::Bus::publish_metrics) reads [`Stats`] and publishes the
//! differences from the last call. So several buses of one group add up in one series, and a bus
//! that is not published has no cost.

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::stats::{Kind, Metric, Stats};
use crate::bus::process::user_code::{self, LogLimit};

/// The metric that is labelled by cause.
const DROPPED: &str = "eventcast_dropped_total";

const DROPPED_DESCRIPTION: &str =
    "Datagrams, and messages that came in several, that were not delivered, by cause.";

/// The label with address and port of the group.
const GROUP: &str = "group";

const CAUSE: &str = "cause";

/// The statistics of one bus as they were published last.
pub(crate) struct Published {
    group: String,
    /// `None`: not published yet.
    last: Mutex<Option<Stats>>,
}

impl Published {
    pub(crate) fn new(group: SocketAddr) -> Self {
        Self {
            group: group.to_string(),
            last: Mutex::default(),
        }
    }

    pub(crate) fn publish(&self, now: impl FnOnce() -> Stats) {
        // The recorder is the user's code, and may publish the same bus in turn.
        let Some(_publishing) = Publishing::begin() else {
            return;
        };
        // Locked before the statistics are read, so that concurrent calls publish them in order.
        let mut last = self.lock();
        if last.is_none() {
            describe();
        }
        let now = now();
        let before = last.get_or_insert_default();
        for ((metric, now), (_, before)) in now.metrics().zip(before.metrics()) {
            match metric.kind {
                // Published also if it has not risen, so that the series exists from the beginning.
                Kind::Counter => counter!(metric.name, GROUP => self.group.clone())
                    .increment(now.saturating_sub(before)),
                Kind::Gauge => self.move_gauge(metric, before, now),
            }
        }
        for (&cause, &count) in &now.dropped {
            counter!(DROPPED, GROUP => self.group.clone(), CAUSE => cause.name())
                .increment(count.saturating_sub(before.dropped_for(cause)));
        }
        *before = now;
    }

    fn move_gauge(&self, metric: &'static Metric, before: u64, now: u64) {
        let gauge = gauge!(metric.name, GROUP => self.group.clone());
        if now >= before {
            gauge.increment((now - before) as f64);
        } else {
            gauge.decrement((before - now) as f64);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stats>> {
        // A recorder that panics leaves the last published statistics in place.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Published {
    /// Takes the bus's part out of the gauges.
    fn drop(&mut self) {
        let Some(last) = self.lock().take() else {
            return;
        };
        // A panic of the user's recorder must not reach the thread that drops the bus.
        let withdrawn = user_code::run(|| {
            for (metric, before) in last.metrics() {
                if metric.kind == Kind::Gauge {
                    self.move_gauge(metric, before, 0);
                }
            }
        });
        if let Err(panicked) = withdrawn {
            static LIMIT: LogLimit = LogLimit::new();
            LIMIT.error(|| format!("a recorder of metrics panicked: {}", panicked.message));
        }
    }
}

thread_local! {
    /// Whether this thread publishes the statistics of a bus. A `Cell` of a `bool` has no
    /// destructor, so other destructors of the thread can still use it.
    static PUBLISHES: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as publishing until it is dropped.
struct Publishing;

impl Publishing {
    /// `None`: this thread publishes already.
    fn begin() -> Option<Self> {
        if PUBLISHES.replace(true) {
            return None;
        }
        Some(Self)
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        PUBLISHES.set(false);
    }
}

fn describe() {
    for (metric, _) in Stats::default().metrics() {
        let unit = if metric.name.contains("bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        };
        let description = metric.description.trim();
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, description),
            Kind::Gauge => describe_gauge!(metric.name, unit, description),
        }
    }
    describe_counter!(DROPPED, Unit::Count, DROPPED_DESCRIPTION);
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
        with_local_recorder,
    };

    use super::*;
    use crate::Bus;

    const ADDRESS: &str = "224.0.0.1:9000";

    /// A recorder that keeps all values, under `name{label=value,…}`.
    #[derive(Default)]
    struct Kept {
        counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        descriptions: Mutex<BTreeMap<String, (Option<Unit>, String)>>,
    }

    impl Kept {
        fn counter(&self, name: &str) -> Option<u64> {
            let counters = self.counters.lock().unwrap();
            Some(counters.get(name)?.load(Ordering::Relaxed))
        }

        fn gauge(&self, name: &str) -> Option<f64> {
            let gauges = self.gauges.lock().unwrap();
            Some(f64::from_bits(gauges.get(name)?.load(Ordering::Relaxed)))
        }

        fn len(&self) -> usize {
            self.counters.lock().unwrap().len() + self.gauges.lock().unwrap().len()
        }

        fn describe(&self, name: &KeyName, unit: Option<Unit>, description: &str) {
            let mut descriptions = self.descriptions.lock().unwrap();
            descriptions.insert(name.as_str().to_owned(), (unit, description.to_owned()));
        }
    }

    fn series(key: &Key) -> String {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let mut labels: Vec<_> = labels.collect();
        labels.sort_unstable();
        format!("{}{{{}}}", key.name(), labels.join(","))
    }

    impl Recorder for Kept {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
            self.describe(&name, unit, &description);
        }

        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
            self.describe(&name, unit, &description);
        }

        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            panic!("{name:?} is no histogram");
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let mut counters = self.counters.lock().unwrap();
            Counter::from_arc(Arc::clone(counters.entry(series(key)).or_default()))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let mut gauges = self.gauges.lock().unwrap();
            Gauge::from_arc(Arc::clone(gauges.entry(series(key)).or_default()))
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("{key} is no histogram");
        }
    }

    /// A recorder that publishes the statistics of the same bus, or panics.
    struct Odd<'a> {
        published: &'a Published,
        panics: bool,
    }

    impl Recorder for Odd<'_> {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.published.publish(Stats::default);
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            assert!(!self.panics, "on purpose");
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_recorder_may_publish() {
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let published = published();
            let odd = Odd {
                published: &published,
                panics: false,
            };
            with_local_recorder(&odd, || published.publish(Stats::default));
            let _ = sender.send(());
        });
        let patience = std::time::Duration::from_secs(60);
        ended.recv_timeout(patience).expect("`publish` returns");
    }

    #[test]
    fn a_panic_of_the_recorder_reaches_the_caller_and_no_drop() {
        let (dropped, other) = (published(), published());
        with_local_recorder(&Kept::default(), || dropped.publish(Stats::default));
        let odd = Odd {
            published: &other,
            panics: true,
        };
        with_local_recorder(&odd, || {
            assert!(user_code::run(|| other.publish(Stats::default)).is_err());
            drop(dropped);
        });
        // After a panic the thread does not count as publishing.
        let kept = Kept::default();
        with_local_recorder(&kept, || other.publish(Stats::default));
        assert!(kept.len() > 0);
    }

    fn published() -> Published {
        Published::new(ADDRESS.parse().unwrap())
    }

    /// The fields of `stats` with their values, parsed from its `Debug` and not read from the
    /// table.
    fn fields(stats: &Stats) -> BTreeMap<String, String> {
        let printed = format!("{stats:#?}");
        let fields = printed.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("    ")?.split_once(": ")?;
            let is_nested = name.starts_with(' ');
            (!is_nested).then(|| (name.to_owned(), value.trim_end_matches(',').to_owned()))
        });
        fields.collect()
    }

    #[test]
    fn every_field_has_its_metric() {
        let (kept, published, stats) = (Kept::default(), published(), Stats::all_different());
        with_local_recorder(&kept, || published.publish(|| stats.clone()));

        let mut fields = fields(&stats);
        assert!(fields.contains_key("kernel_drops"), "{fields:?}");
        assert!(fields.remove("dropped").is_some(), "{fields:?}");
        for (field, value) in &fields {
            let value: u64 = value.parse().expect("all others are numbers");
            let counter = kept.counter(&format!("eventcast_{field}_total{{group={ADDRESS}}}"));
            let gauge = kept.gauge(&format!("eventcast_{field}{{group={ADDRESS}}}"));
            match (counter, gauge) {
                (Some(counter), None) => assert_eq!(counter, value, "{field}"),
                (None, Some(gauge)) => assert_eq!(gauge, value as f64, "{field}"),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(!stats.dropped.is_empty());
        for (cause, value) in &stats.dropped {
            let name = format!("eventcast_dropped_total{{cause={cause},group={ADDRESS}}}");
            assert_eq!(kept.counter(&name), Some(*value));
        }
        assert_eq!(kept.len(), fields.len() + stats.dropped.len());
    }

    #[test]
    fn every_metric_is_described() {
        let kept = Kept::default();
        with_local_recorder(&kept, || published().publish(Stats::default));
        let descriptions = kept.descriptions.lock().unwrap();
        assert_eq!(descriptions.len(), Stats::default().metrics().count() + 1);
        for (name, (unit, description)) in &*descriptions {
            assert!(unit.is_some(), "{name}");
            let is_sentence = |text: &str| {
                text.starts_with(char::is_uppercase) && text.ends_with('.') && !text.contains("  ")
            };
            assert!(is_sentence(description), "{name}: {description:?}");
        }
        assert_eq!(
            descriptions["eventcast_bytes_sent_total"],
            (Some(Unit::Bytes), "Bytes sent in them.".to_owned())
        );
    }

    #[test]
    fn buses_of_one_group_add_up_and_leave_when_dropped() {
        let sent = &format!("eventcast_datagrams_sent_total{{group={ADDRESS}}}");
        let held = &format!("eventcast_held_bytes{{group={ADDRESS}}}");
        let duplicate = &format!("eventcast_dropped_total{{cause=duplicate,group={ADDRESS}}}");
        let stats = |datagrams_sent, held_bytes, duplicate| Stats {
            datagrams_sent,
            held_bytes,
            dropped: [(crate::DropCause::Duplicate, duplicate)].into(),
            ..Stats::default()
        };
        let kept = Kept::default();
        let recorded = || {
            (
                kept.counter(sent),
                kept.gauge(held),
                kept.counter(duplicate),
            )
        };
        with_local_recorder(&kept, || {
            let (first, second) = (published(), published());
            first.publish(|| stats(10, 500, 1));
            second.publish(|| stats(1, 30, 0));
            assert_eq!(recorded(), (Some(11), Some(530.0), Some(1)));
            first.publish(|| stats(15, 100, 3));
            first.publish(|| stats(15, 100, 3));
            assert_eq!(recorded(), (Some(16), Some(130.0), Some(3)));
            drop(first);
            assert_eq!(recorded(), (Some(16), Some(30.0), Some(3)));
            drop(second);
            assert_eq!(recorded(), (Some(16), Some(0.0), Some(3)));
        });
    }

    #[test]
    fn a_bus_publishes_its_own_stats() {
        let bus = Bus::builder().environment(false).port(9000).build();
        let bus = bus.unwrap();
        bus.core.shared.telemetry.counters.queue_full.add(3);
        let kept = Kept::default();
        with_local_recorder(&kept, || bus.publish_metrics());
        let name = format!("eventcast_queue_full_total{{group={ADDRESS}}}");
        assert_eq!(kept.counter(&name), Some(bus.stats().queue_full));
        assert_eq!(bus.stats().queue_full, 3);
    }
}
