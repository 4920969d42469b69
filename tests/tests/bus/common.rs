//! What the cases share: buses that stay on this machine, runtimes, and events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventcast::{Args, Builder, Bus, DropCause, Received};
use eventcast_tests::{
    craft::Message,
    group::{Group, INTERFACE},
    tap::Tap,
    wait::{Seen, block_on, eventually},
};

/// How many datagrams may be on their way to a bus before it is waited for: they fit into the
/// smallest receive buffer, also while nobody reads it.
const WINDOW: usize = 32;

/// A bus of this group that reads nothing from the environment.
pub(crate) fn builder(group: Group) -> Builder {
    Bus::builder()
        .environment(false)
        .last_resort(false)
        .port(group.port)
        .multicast_membership(group.address.to_string())
        .multicast_interface(INTERFACE.to_string())
}

/// The same, but it soon tells of what will never be whole.
pub(crate) fn gives_up_soon(group: Group) -> Builder {
    builder(group).message_ttl(Duration::from_millis(500))
}

/// Builds and starts, outside of any runtime.
#[track_caller]
pub(crate) fn started(builder: Builder) -> Bus {
    let bus = builder.build().expect("these options are good");
    block_on(bus.start()).expect("the loopback interface is there");
    bus
}

/// A running bus with nothing special about it.
#[track_caller]
pub(crate) fn bus(group: Group) -> Bus {
    started(builder(group))
}

/// Two running buses of a group of their own: the first is to emit, the second to listen.
#[track_caller]
pub(crate) fn pair() -> (Bus, Bus) {
    let group = Group::unused();
    (bus(group), bus(group))
}

/// Two started buses whose listeners may take their time: none is moved to a queue of its own
/// because the machine is busy, so their order is that of their registration.
pub(crate) fn patient_pair() -> (Bus, Bus) {
    let group = Group::unused();
    let patient = || started(builder(group).listener_budget(Duration::from_secs(60)));
    (patient(), patient())
}

/// How many datagrams a bus has dropped for a cause, by its name.
#[track_caller]
pub(crate) fn dropped(bus: &Bus, cause: &str) -> u64 {
    let mut causes = DropCause::ALL.into_iter();
    let cause = causes.find(|one| one.name() == cause);
    bus.stats()
        .dropped_for(cause.expect("there is such a cause"))
}

/// The arguments of every event of that name, remote ones and local ones.
pub(crate) fn collect(bus: &Bus, name: &str) -> Seen<Args> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named(name, move |e: &Received<Args>| list.push((**e).clone()));
    seen
}

/// How many events of that name there were.
pub(crate) fn count(bus: &Bus, name: &str) -> Count {
    let count = Count::default();
    let counted = count.clone();
    bus.on_named(name, move |_: &Received<Args>| counted.add());
    count
}

/// A number that listeners raise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until it is at least this, which must come.
    #[track_caller]
    pub(crate) fn wait_for(&self, number: usize) {
        eventually(
            &format!("{number} events, of which {} came", self.get()),
            || self.get() >= number,
        );
    }
}

/// Emits `number` events, no faster than `arrived` rises.
#[track_caller]
pub(crate) fn paced(number: usize, arrived: impl Fn() -> usize, mut emit: impl FnMut(usize)) {
    let before = arrived();
    for index in 0..number {
        emit(index);
        if (index + 1) % WINDOW == 0 {
            eventually("what was emitted arrived", || arrived() > before + index);
        }
    }
    eventually("all that was emitted arrived", || {
        arrived() >= before + number
    });
}

/// Emits a message of many datagrams, and waits until it has arrived: what a receiver that was put
/// aside for a moment has lost of it is repaired.
#[track_caller]
pub(crate) fn emit_whole(arrived: impl Fn() -> usize, emit: impl FnOnce()) {
    let before = arrived();
    emit();
    eventually("it came whole", || arrived() > before);
    assert_eq!(arrived(), before + 1, "once");
}

/// Sends these datagrams to the bus's group, no faster than it takes them.
#[track_caller]
pub(crate) fn send_paced<D: AsRef<[u8]>>(
    tap: &Tap,
    bus: &Bus,
    datagrams: impl IntoIterator<Item = D>,
) {
    let received = || bus.stats().datagrams_received;
    let mut expected = received();
    let mut on_their_way = 0;
    for datagram in datagrams {
        tap.send(datagram.as_ref());
        expected += 1;
        on_their_way += 1;
        if on_their_way == WINDOW {
            eventually("the bus took the datagrams", || received() >= expected);
            on_their_way = 0;
        }
    }
    eventually("the bus took all the datagrams", || received() >= expected);
}

/// Lets the bus catch up with everything that came before this, from the same tap.
#[track_caller]
pub(crate) fn fence(tap: &Tap, bus: &Bus, group: Group) {
    let passed = bus.wait_for_named("fence");
    tap.send(&Message::event(group, "fence", vec![]).bytes());
    block_on(passed).expect("the bus is still there");
}

/// Lets `to` catch up with everything that `from` emitted before this.
#[track_caller]
pub(crate) fn fence_between(from: &Bus, to: &Bus) {
    let passed = to.wait_for_named("fence");
    from.emit_named("fence", ()).expect("the bus runs");
    block_on(passed).expect("the bus is still there");
}

/// On which kind of runtime something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    CurrentThread,
    MultiThread,
}

impl Runtime {
    pub(crate) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    #[track_caller]
    pub(crate) fn run<F: Future>(self, future: F) -> F::Output {
        let mut builder = match self {
            Self::CurrentThread => tokio::runtime::Builder::new_current_thread(),
            Self::MultiThread => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime without any driver but a clock");
        let output = runtime.block_on(future);
        runtime.shutdown_background();
        output
    }
}
