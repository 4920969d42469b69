//! The rate limit of notices: repeated ones are summed up.
//!
//! A peer, a client of the console, or a listener in a loop can cause some notices at any rate. The
//! first passes at once. Those that follow within [`REPORT_PAUSE`] are held back, and their sum
//! passes when the pause is over; so every notice is counted exactly once.
//!
//! Notices are limited by three keys, each wider than the one before. The *thing* is one fault as a
//! person sees it: one field that does not fit one listener, one listener that panics. The *source*
//! is what causes it: an IP address, or the line of the program that registers a listener. Of one
//! source, [`THINGS`] things are reported separately in a pause, so that invented names and ever
//! new listeners cause no more notices than that; the rest is summed up by source. If so many
//! sources cause notices that the table is full, they are summed up by *cause* alone.
//!
//! Not responsible for the reports of the engine (refused traffic, lost and expired events, peers
//! that join and leave): the engine limits these by the same rules.
//!
//! Contract: a call takes constant time and a bounded table, whatever the names and addresses are.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::notice::Notice;
use crate::{
    net::SendError,
    proto::rate_limited::{LimitKey, REPORT_PAUSE, RateLimited, Sum},
};

/// Most things and sources that are limited separately at a time.
const CAPACITY: usize = 1_024;

/// Things of one source that are reported separately in one pause. Few programs have as many
/// listeners or peers with different faults; if one has, the rest is summed up.
const THINGS: u32 = 16;

/// The same for warnings. No peer can choose their texts, and a machine may have many interfaces.
const WARNINGS: u32 = 256;

/// Counters of things by source. Sources with the same hash modulo this share one.
const WINDOWS: usize = 256;

/// The kinds of limited notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cause {
    DecodeFailure,
    ListenerSlow,
    ListenerMissed,
    ListenerPanicked,
    NoRuntime,
    SendFailed,
    KernelDrops,
    Interface,
    ConsoleConnected,
    ConsoleDisconnected,
    ConsoleRefused,
    Warning,
}

impl Cause {
    /// Things of one source that are reported separately.
    fn things(self) -> u32 {
        match self {
            Self::Warning => WARNINGS,
            _ => THINGS,
        }
    }
}

/// The subject of a notice, from wide to narrow. Source and thing are keyed hashes: names have no
/// bound, and no peer can choose two that collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    cause: Cause,
    source: u64,
    /// `None`: each notice is a thing of its own, and passes until its source has caused too many.
    thing: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Thing(Cause, u64),
    Source(Cause, u64),
    All(Cause),
}

impl LimitKey for Key {
    fn coarse(&self) -> Self {
        let (Self::Thing(cause, _) | Self::Source(cause, _) | Self::All(cause)) = *self;
        Self::All(cause)
    }
}

impl Scope {
    /// `None`: the notice is never held back.
    pub(crate) fn of(notice: &Notice, hasher: &RandomState) -> Option<Self> {
        fn hash(hasher: &RandomState, value: impl Hash) -> u64 {
            hasher.hash_one(value)
        }
        let (cause, source, thing) = match notice {
            Notice::DecodeFailure {
                key,
                listener,
                sender,
                error,
                ..
            } => (
                Cause::DecodeFailure,
                hash(hasher, sender.address().ip()),
                Some(hash(hasher, (listener, key, sender.id(), error.path()))),
            ),
            Notice::ListenerSlow {
                listener,
                registered_at,
                ..
            } => (
                Cause::ListenerSlow,
                hash(hasher, registered_at),
                Some(hash(hasher, listener)),
            ),
            Notice::ListenerMissed {
                listener,
                registered_at,
                ..
            } => (
                Cause::ListenerMissed,
                hash(hasher, registered_at),
                Some(hash(hasher, listener)),
            ),
            Notice::ListenerPanicked {
                listener,
                registered_at,
                ..
            } => (
                Cause::ListenerPanicked,
                hash(hasher, registered_at),
                Some(hash(hasher, listener)),
            ),
            Notice::NoRuntime {
                listener,
                registered_at,
                ..
            } => (
                Cause::NoRuntime,
                hash(hasher, registered_at),
                Some(hash(hasher, listener)),
            ),
            Notice::SendFailed { to, error, .. } => (
                Cause::SendFailed,
                hash(hasher, to.ip()),
                Some(hash(hasher, (to, error.interface(), refusal(error)))),
            ),
            Notice::KernelDrops { .. } => (Cause::KernelDrops, 0, Some(0)),
            // Of an interface that flaps the last state counts, so both notices share one sum.
            Notice::InterfaceJoined { name, .. } | Notice::InterfaceLeft { name, .. } => {
                (Cause::Interface, hash(hasher, name), None)
            }
            Notice::ConsoleConnected { from, .. } => {
                (Cause::ConsoleConnected, hash(hasher, from.ip()), None)
            }
            Notice::ConsoleDisconnected { from, .. } => {
                (Cause::ConsoleDisconnected, hash(hasher, from.ip()), None)
            }
            Notice::ConsoleRefused { cause, from, .. } => (
                Cause::ConsoleRefused,
                hash(hasher, cause),
                Some(hash(hasher, (cause, from.map(|from| from.ip())))),
            ),
            Notice::Warning { text } => (Cause::Warning, 0, Some(hash(hasher, text))),
            _ => return None,
        };
        Some(Self {
            cause,
            source,
            thing,
        })
    }

    fn source(self) -> Key {
        Key::Source(self.cause, self.source)
    }
}

/// The kind of the error, without the datagram's length.
fn refusal(error: &SendError) -> Option<io::ErrorKind> {
    match error {
        SendError::TooLong { .. } => None,
        SendError::Refused { source, .. } => Some(source.kind()),
    }
}

/// A held back notice with the count of those that it stands for.
struct Held {
    notice: Notice,
    count: u64,
    /// The counter of its source, which is read when the notice passes.
    tally: Option<Arc<Tally>>,
}

impl Held {
    fn new(mut notice: Notice, tally: Option<Arc<Tally>>) -> Self {
        Self {
            count: notice.count_mut().map_or(1, |count| *count),
            notice,
            tally,
        }
    }

    /// Takes the count from the tally.
    fn settle(&mut self) {
        if let Some(tally) = self.tally.take() {
            let (count, total) = tally.take();
            self.count += count;
            if let Notice::ListenerMissed { missed, .. } = &mut self.notice {
                *missed = total;
            }
        }
    }

    /// The notice with its count.
    fn into_notice(mut self) -> Notice {
        self.settle();
        let Self {
            mut notice, count, ..
        } = self;
        if let Some(own) = notice.count_mut() {
            *own = count;
        } else if let Notice::Warning { text } = &mut notice
            && count > 1
        {
            text.push_str(&format!(" (and {} more like it)", count - 1));
        }
        notice
    }
}

impl Sum for Held {
    /// Adds the counts and keeps everything else of the later notice, which is the nearest to the
    /// present state.
    fn add(&mut self, later: Self) {
        let mut earlier = std::mem::replace(self, later);
        earlier.settle();
        self.count = self.count.saturating_add(earlier.count);
        if let Notice::SendFailed { bytes, .. } = &mut self.notice
            && let Notice::SendFailed { bytes: before, .. } = earlier.notice
        {
            *bytes = bytes.saturating_add(before);
        }
    }
}

/// A counter for events too frequent for a notice each: one notice is created, and takes the count
/// when it passes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    unreported: AtomicU64,
    reported: AtomicU64,
}

impl Tally {
    /// Adds `count`. True: the counter was zero, so the caller has to create the notice.
    pub(crate) fn add(&self, count: u64) -> bool {
        self.unreported.fetch_add(count, Ordering::AcqRel) == 0
    }

    /// Takes the unreported count; returns it and the total.
    fn take(&self) -> (u64, u64) {
        let count = self.unreported.swap(0, Ordering::AcqRel);
        let before = self.reported.fetch_add(count, Ordering::AcqRel);
        (count, before + count)
    }
}

/// The things of some sources in the pause that ends at `until`.
#[derive(Clone, Copy, Default)]
struct Window {
    until: Duration,
    things: u32,
}

pub(crate) struct Limiter {
    pause: Duration,
    table: RateLimited<Key, Held, RandomState>,
    windows: Box<[Window]>,
}

impl Limiter {
    pub(crate) fn new(pause: Duration) -> Self {
        Self {
            pause,
            table: RateLimited::new(pause, CAPACITY, RandomState::new()),
            windows: vec![Window::default(); WINDOWS].into(),
        }
    }

    /// Takes a notice, and returns the one to report now. `None`: it is part of a later sum.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        scope: Scope,
        notice: Notice,
        tally: Option<Arc<Tally>>,
    ) -> Option<Notice> {
        let held = Held::new(notice, tally);
        let Some(key) = self.key(now, scope) else {
            return Some(held.into_notice());
        };
        let (_, held) = self.table.note(now, key, held)?;
        Some(held.into_notice())
    }

    /// When [`pop_due`](Self::pop_due) has to be called. `None`: nothing is held back.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.table.next_due()
    }

    /// The next sum whose pause is over.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Notice> {
        let (_, held) = self.table.pop_due(now)?;
        Some(held.into_notice())
    }

    /// All sums, due or not.
    pub(crate) fn drain(&mut self) -> Vec<Notice> {
        let held = self.table.drain().into_iter();
        held.map(|(_, held)| held.into_notice()).collect()
    }

    /// The key by which the notice is limited. `None`: it is not limited.
    fn key(&mut self, now: Duration, scope: Scope) -> Option<Key> {
        let source = scope.source();
        let thing = scope.thing.map(|thing| Key::Thing(scope.cause, thing));
        if let Some(thing) = thing
            && self.table.is_limited(now, &thing)
        {
            return Some(thing);
        }
        // While the source has a sum, its new things join it. Otherwise the sum would be reported
        // after newer notices.
        if self.table.is_limited(now, &source) || !self.count_thing(now, scope) {
            return Some(source);
        }
        thing
    }

    /// Counts a new thing. False: its source has caused too many in this pause.
    fn count_thing(&mut self, now: Duration, scope: Scope) -> bool {
        let at = scope.source ^ (scope.cause as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let window = &mut self.windows[(at % WINDOWS as u64) as usize];
        if now >= window.until {
            *window = Window {
                until: now.saturating_add(self.pause),
                things: 0,
            };
        }
        window.things = window.things.saturating_add(1);
        window.things <= scope.cause.things()
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(REPORT_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, SocketAddr},
        panic::Location,
        time::Instant,
    };

    use serde::de::Error as _;

    use super::*;
    use crate::{
        bus::{ListenerId, Origin},
        codec::DecodeError,
        net::InterfaceLeftReason,
        proto::Peer,
    };

    /// A limiter, and the notices that passed it.
    #[derive(Default)]
    struct Reported {
        limiter: Limiter,
        hasher: RandomState,
        passed: Vec<Notice>,
    }

    impl Reported {
        fn note(&mut self, second: u64, notice: Notice) {
            let scope = Scope::of(&notice, &self.hasher).expect("the notice is limited");
            let now = Duration::from_secs(second);
            self.passed
                .extend(self.limiter.note(now, scope, notice, None));
        }

        fn pop_due(&mut self, second: u64) {
            while let Some(notice) = self.limiter.pop_due(Duration::from_secs(second)) {
                self.passed.push(notice);
            }
        }

        /// The counts of the notices that passed.
        fn counts(&self) -> Vec<u64> {
            let count = |notice: &Notice| {
                *notice
                    .clone()
                    .count_mut()
                    .expect("a limited notice has a count")
            };
            self.passed.iter().map(count).collect()
        }
    }

    fn address(i: u32, port: u16) -> SocketAddr {
        (IpAddr::from(i.to_be_bytes()), port).into()
    }

    fn decode_failure(
        listener: u64,
        sender: &str,
        from: SocketAddr,
        field: &'static str,
    ) -> Notice {
        let peer = Peer {
            id: sender.to_owned(),
            incarnation: None,
            hostname: "h".to_owned(),
            host: "h".to_owned(),
            port: 1,
            address: from,
        };
        Notice::DecodeFailure {
            key: "e".to_owned(),
            listener: ListenerId(listener),
            registered_at: Location::caller(),
            sender: Origin::local(Arc::new(peer), 0, None),
            error: DecodeError::missing_field(field),
            count: 1,
        }
    }

    fn panicked(listener: u64, registered_at: &'static Location<'static>) -> Notice {
        Notice::ListenerPanicked {
            key: "e".to_owned(),
            listener: ListenerId(listener),
            registered_at,
            message: "boom".to_owned(),
            count: 1,
        }
    }

    fn not_sent(to: SocketAddr) -> Notice {
        Notice::SendFailed {
            to,
            error: SendError::Refused {
                to,
                interface: None,
                source: Arc::new(io::Error::from(io::ErrorKind::InvalidInput)),
            },
            interface: None,
            bytes: 100,
            count: 1,
        }
    }

    #[test]
    fn the_first_passes_and_the_others_are_summed_up_exactly() {
        let here = Location::caller();
        let from = address(7, 40_000);
        let registered = |notice: fn(&'static Location<'static>) -> Notice| notice(here);
        for notice in [
            decode_failure(1, "s", from, "f"),
            panicked(1, here),
            not_sent(from),
            Notice::KernelDrops { count: 1 },
            registered(|registered_at| Notice::ListenerSlow {
                key: "e".to_owned(),
                listener: ListenerId(1),
                registered_at,
                budget: Duration::from_millis(1),
                count: 1,
            }),
        ] {
            let mut reported = Reported::default();
            for i in 0..5_000 {
                reported.note(i / 1_000, notice.clone());
            }
            assert_eq!(reported.counts(), [1], "{notice}");
            // The sum passes without a further notice.
            reported.pop_due(9);
            assert_eq!(reported.counts(), [1], "{notice}");
            reported.pop_due(10);
            assert_eq!(reported.counts(), [1, 4_999], "{notice}");
            assert_eq!(reported.limiter.next_due(), None);
            // After a pause without notices the next one passes at once.
            reported.note(30, notice.clone());
            assert_eq!(reported.counts(), [1, 4_999, 1], "{notice}");
        }
    }

    #[test]
    fn bytes_that_were_not_sent_add_up() {
        let mut reported = Reported::default();
        for _ in 0..700 {
            reported.note(0, not_sent(address(7, 0)));
        }
        reported.pop_due(10);
        let Some(Notice::SendFailed { bytes, count, .. }) = reported.passed.get(1) else {
            panic!("{:?}", reported.passed);
        };
        assert_eq!((*bytes, *count), (69_900, 699));
        let text = reported.passed[1].to_string();
        assert!(text.ends_with("(and 698 more like it)"), "{text}");
    }

    #[test]
    fn decode_failures_are_reported_by_field_listener_and_sender() {
        let mut reported = Reported::default();
        let from = address(7, 40_000);
        for _ in 0..3 {
            reported.note(0, decode_failure(1, "s", from, "f"));
            reported.note(0, decode_failure(1, "s", from, "another field"));
            reported.note(0, decode_failure(2, "s", from, "f"));
            // On the same machine.
            reported.note(
                0,
                decode_failure(1, "another sender", address(7, 40_001), "f"),
            );
        }
        assert_eq!(reported.counts(), [1; 4]);
        reported.pop_due(10);
        assert_eq!(reported.counts(), [1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn invented_senders_share_the_limit_of_their_address() {
        let mut reported = Reported::default();
        let begin = Instant::now();
        const MANY: u64 = 20_000;
        for i in 0..MANY {
            reported.note(
                0,
                decode_failure(1, &format!("{i:016x}"), address(7, 40_000), "f"),
            );
        }
        // A notice of another machine still passes.
        reported.note(0, decode_failure(1, "s", address(8, 40_000), "f"));
        assert_eq!(reported.passed.len() as u32, THINGS + 2);
        reported.pop_due(10);
        assert_eq!(reported.passed.len() as u32, THINGS + 3);
        assert_eq!(reported.counts().iter().sum::<u64>(), MANY + 1);
        // Not a test of speed: a linear search of the table for each would take minutes.
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn listeners_registered_in_a_loop_are_one_source() {
        let here = Location::caller();
        let mut reported = Reported::default();
        for listener in 0..5_000 {
            reported.note(0, panicked(listener, here));
        }
        reported.note(0, panicked(5_000, Location::caller()));
        reported.pop_due(10);
        assert_eq!(reported.passed.len() as u32, THINGS + 3);
        assert_eq!(reported.counts().iter().sum::<u64>(), 5_001);
    }

    #[test]
    fn the_table_is_bounded_for_ever_new_addresses() {
        let mut reported = Reported::default();
        for i in 0..100_000 {
            reported.note(0, not_sent(address(i, 9)));
        }
        assert!(
            reported.passed.len() <= CAPACITY + 1,
            "{}",
            reported.passed.len()
        );
        reported.pop_due(10);
        assert_eq!(reported.counts().iter().sum::<u64>(), 100_000);
        assert!(
            reported.passed.len() <= 2 * CAPACITY,
            "{}",
            reported.passed.len()
        );
    }

    #[test]
    fn the_last_notice_of_a_flapping_interface_is_its_last_state() {
        let change = |i: u32| {
            let (name, address) = ("eth0".to_owned(), IpAddr::from([10, 0, 0, 1]));
            if i.is_multiple_of(2) {
                Notice::InterfaceLeft {
                    name,
                    address,
                    reason: InterfaceLeftReason::Down,
                    count: 1,
                }
            } else {
                Notice::InterfaceJoined {
                    name,
                    address,
                    count: 1,
                }
            }
        };
        let mut reported = Reported::default();
        for i in 0..THINGS {
            reported.note(0, change(i));
        }
        // The first changes are reported as they happen.
        assert_eq!(reported.counts(), vec![1; THINGS as usize]);
        for i in THINGS..100 {
            reported.note(u64::from(i) / 10, change(i));
            reported.pop_due(u64::from(i) / 10);
        }
        reported.pop_due(100);
        assert_eq!(reported.counts().iter().sum::<u64>(), 100);
        assert!(reported.passed.len() < THINGS as usize + 5);
        let last = reported.passed.last().expect("some passed").to_string();
        assert!(
            last.contains("joined the group on interface eth0"),
            "{last}"
        );
        assert!(last.contains("other changes of this interface"), "{last}");
    }

    #[test]
    fn console_clients_are_reported_each_up_to_a_limit() {
        let mut reported = Reported::default();
        for port in 0..1_000 {
            reported.note(
                0,
                Notice::ConsoleConnected {
                    from: address(7, port),
                    count: 1,
                },
            );
        }
        reported.pop_due(10);
        assert_eq!(reported.passed.len() as u32, THINGS + 2);
        assert_eq!(reported.counts().iter().sum::<u64>(), 1_000);
    }

    #[test]
    fn a_repeated_warning_carries_its_count() {
        let mut reported = Reported::default();
        for text in ["a", "b", "a", "a", "a"] {
            reported.note(
                0,
                Notice::Warning {
                    text: text.to_owned(),
                },
            );
        }
        reported.pop_due(10);
        let texts: Vec<_> = reported.passed.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a", "b", "a (and 2 more like it)"]);
    }

    #[test]
    fn missed_events_are_counted_once_in_one_notice() {
        let hasher = RandomState::new();
        let mut limiter = Limiter::default();
        let tally = Arc::<Tally>::default();
        let missed = |limiter: &mut Limiter, count| {
            let notice = Notice::ListenerMissed {
                key: "e".to_owned(),
                listener: ListenerId(1),
                registered_at: Location::caller(),
                missed: 0,
                count: 0,
            };
            let scope = Scope::of(&notice, &hasher)?;
            tally
                .add(count)
                .then(|| limiter.note(Duration::ZERO, scope, notice, Some(Arc::clone(&tally))))?
        };
        let facts = |notice: Option<Notice>| match notice {
            Some(Notice::ListenerMissed { missed, count, .. }) => (missed, count),
            other => panic!("{other:?}"),
        };
        assert_eq!(facts(missed(&mut limiter, 3)), (3, 3));
        for _ in 0..5_000 {
            assert!(missed(&mut limiter, 2).is_none());
        }
        let sum = limiter.pop_due(REPORT_PAUSE);
        assert_eq!(facts(sum), (10_003, 10_000));
        assert!(limiter.pop_due(2 * REPORT_PAUSE).is_none());
    }

    #[test]
    fn drain_returns_the_sums() {
        let mut reported = Reported::default();
        for _ in 0..10 {
            reported.note(0, not_sent(address(7, 0)));
            reported.note(0, Notice::KernelDrops { count: 5 });
        }
        let rest = reported.limiter.drain();
        reported.passed.extend(rest);
        assert_eq!(reported.counts(), [1, 5, 9, 45]);
        assert_eq!(reported.limiter.next_due(), None);
    }
}
