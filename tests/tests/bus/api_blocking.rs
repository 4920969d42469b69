//! Threads without a runtime: starting, stopping, and waiting for events; and how to learn that a
//! bus has stopped.

use std::{
    thread,
    time::{Duration, Instant},
};

use eventcast::{
    Args, Builder, Bus, Error, NetEvent, Notice, Received, RecvTimeoutError, Stopped, TryNextError,
};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{PATIENCE, block_on, eventually, soon},
};
use serde::{Deserialize, Serialize};

use crate::common::{self, Count, Runtime, fence_between, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("api::a_thread_starts_and_stops_a_bus", starts_and_stops),
        Case::new("api::a_builder_can_be_awaited", a_builder_is_awaited),
        Case::new("api::a_thread_reads_a_stream", reads_a_stream),
        Case::new("api::a_thread_reads_notices", reads_notices),
        Case::new("api::a_thread_waits_for_an_event", waits_for_an_event),
        Case::new("api::waits_within_a_task_do_not_spin", within_a_task),
        Case::new("api::closed_is_ready_when_the_bus_has_stopped", closed),
        Case::new("api::closed_keeps_no_bus_alive", closed_keeps_nothing),
        Case::new("api::stop_blocking_within_a_listener", within_a_listener),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Tick(u32);

fn builder() -> Builder {
    common::builder(Group::unused())
}

fn starts_and_stops() {
    let bus = builder().start_blocking().expect("loopback is there");
    assert!(bus.is_running());
    for _ in 0..3 {
        bus.stop_blocking().expect("it stops");
        assert!(!bus.is_running());
        bus.start_blocking().expect("it starts again");
        assert!(bus.is_running());
    }
    // What stands in the way is returned.
    let error = builder()
        .multicast_interface("127.0.0.1")
        .max_payload_size(1)
        .start_blocking();
    assert!(matches!(error, Err(Error::Config(_))), "{error:?}");
    let bus = builder().build().expect("these options are good");
    bus.on_async_named("x", async |_| {});
    assert!(matches!(bus.start_blocking(), Err(Error::NoRuntime)));
}

fn a_builder_is_awaited() {
    Runtime::CurrentThread.run(soon(async {
        let bus = builder().await.expect("loopback is there");
        assert!(bus.is_running());
        let error = builder().max_payload_size(1).await;
        assert!(matches!(error, Err(Error::Config(_))));
    }));
}

fn reads_a_stream() {
    let (a, b) = pair();
    let mut ticks = b.subscribe::<Tick>();
    assert!(matches!(ticks.try_next(), Err(TryNextError::Empty)));
    let nothing = ticks.recv_timeout(Duration::from_millis(1));
    assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
    let reading = thread::spawn(move || {
        let first = ticks.blocking_next().map(Received::into_inner);
        let second = ticks.recv_timeout(PATIENCE).map(Received::into_inner);
        (first, second, ticks)
    });
    for number in 1..=2 {
        a.emit(Tick(number)).expect("it runs");
    }
    let (first, second, mut ticks) = reading.join().expect("it does not panic");
    assert_eq!((first, second), (Some(Tick(1)), Ok(Tick(2))));

    // What waits is read before the end.
    a.emit(Tick(3)).expect("it runs");
    fence_between(&a, &b);
    b.off_all::<Tick>();
    assert_eq!(ticks.try_next().map(Received::into_inner), Ok(Tick(3)));
    assert!(matches!(ticks.try_next(), Err(TryNextError::Ended)));
    assert!(ticks.blocking_next().is_none());
    let ended = ticks.recv_timeout(Duration::MAX);
    assert!(matches!(ended, Err(RecvTimeoutError::Ended)));
}

fn reads_notices() {
    let bus = builder().build().expect("these options are good");
    let mut notices = bus.notices();
    assert!(matches!(notices.try_next(), Err(TryNextError::Empty)));
    let nothing = notices.recv_timeout(Duration::from_millis(1));
    assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
    bus.start_blocking().expect("loopback is there");
    let started = notices.recv_timeout(PATIENCE).expect("it has started");
    assert!(matches!(started, Notice::Started { .. }), "{started}");
    drop(bus);
    let mut rest = Vec::new();
    while let Some(notice) = notices.blocking_next() {
        rest.push(notice);
    }
    assert!(matches!(rest[..], [.., Notice::Stopped]), "{rest:?}");
    assert!(matches!(notices.try_next(), Err(TryNextError::Ended)));
    let ended = notices.recv_timeout(Duration::MAX);
    assert!(matches!(ended, Err(RecvTimeoutError::Ended)));
}

fn waits_for_an_event() {
    let (a, b) = pair();
    let mut wait = b.wait_for_where::<Tick>(|tick| tick.0 == 2);
    let nothing = wait.recv_timeout(Duration::from_millis(1));
    assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
    let waiting = thread::spawn(move || {
        let tick = wait.blocking_wait().map(Received::into_inner);
        (tick, wait)
    });
    for number in 1..=2 {
        a.emit(Tick(number)).expect("it runs");
    }
    let (tick, mut wait) = waiting.join().expect("it does not panic");
    assert_eq!(tick, Ok(Tick(2)));
    b.off_all::<Tick>();
    assert!(matches!(wait.blocking_wait(), Err(Stopped)));
    let ended = wait.recv_timeout(Duration::MAX);
    assert!(matches!(ended, Err(RecvTimeoutError::Ended)));
}

/// Where tokio counts what a task does, the wait must not be taken for a task that never lets go.
fn within_a_task() {
    let (a, _) = pair();
    let mut ticks = a.subscribe::<Tick>();
    Runtime::CurrentThread.run(async {
        tokio::task::yield_now().await;
        for number in 0..1_000 {
            a.emit(Tick(number)).expect("it runs");
        }
        for number in 0..1_000 {
            let tick = ticks.blocking_next().expect("it is there");
            assert_eq!(tick.0, number);
        }
        let begin = Instant::now();
        let nothing = ticks.recv_timeout(Duration::from_millis(20));
        assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    });
}

fn closed() {
    let bus = builder().build().expect("these options are good");
    block_on(bus.closed());
    for restarts in [false, true] {
        bus.start_blocking().expect("loopback is there");
        let closed = bus.closed();
        let count = Count::default();
        let counted = count.clone();
        let waiting = thread::spawn(move || {
            block_on(closed);
            counted.add();
        });
        bus.emit_named("x", ()).expect("it runs");
        assert_eq!(count.get(), 0);
        let stopping = bus.stop();
        // A start that follows at once does not hide the end.
        if restarts {
            block_on(bus.start()).expect("it starts again");
        }
        block_on(stopping).expect("it stops");
        waiting.join().expect("it does not panic");
        assert_eq!(bus.is_running(), restarts);
    }
    bus.stop_blocking().expect("it stops");
    block_on(bus.closed());
}

fn closed_keeps_nothing() {
    let bus = builder().start_blocking().expect("loopback is there");
    let (weak, closed) = (bus.downgrade(), bus.closed());
    drop(bus);
    assert!(weak.upgrade().is_none());
    block_on(closed);
}

fn within_a_listener() {
    let (a, b) = pair();
    let done = Count::default();
    let counted = done.clone();
    b.on_named("stop", move |e: &Received<Args>| {
        let bus: Bus = e.bus();
        bus.stop_blocking().expect("it stops");
        counted.add();
    });
    // From the network and from itself.
    a.emit_named("stop", ()).expect("it runs");
    eventually("it has stopped", || done.get() == 1 && !b.is_running());
    b.start_blocking().expect("it starts again");
    b.emit_named("stop", ()).expect("it ran");
    eventually("it has stopped again", || {
        done.get() == 2 && !b.is_running()
    });
}
