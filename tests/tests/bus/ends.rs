//! Streams and what waits for an event end when their listeners are taken off; and nobody's
//! listener is taken off by the id of another.

use std::{pin::pin, task::Poll};

use eventcast::{Args, Bus, NetEvent, Notice, Received, Stopped};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{Seen, block_on, soon},
};
use serde::{Deserialize, Serialize};

use crate::{
    common::{self, Runtime, bus},
    ways::{Stage, Way},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "ends::streams_and_waits_end_when_they_are_taken_off",
            streams_and_waits_end_when_they_are_taken_off,
        ),
        Case::new(
            "ends::taking_a_listener_off_wakes_its_readers",
            taking_a_listener_off_wakes_its_readers,
        ),
        Case::new("ends::a_stopped_bus_ends_nothing", a_stopped_bus),
        Case::new("ends::by_pattern", by_pattern),
        Case::new("ends::ids_are_unique_in_the_process", ids_are_unique),
        Case::new(
            "ends::a_queue_is_worked_off_after_off",
            a_queue_is_worked_off,
        ),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "typed")]
struct Typed(i32);

/// Takes everything off, in some way, and gives the handle back if it is still there.
type Off = fn(Bus) -> Option<Bus>;

const WAYS: [(&str, Off); 5] = [
    ("off_all", |bus| {
        bus.off_all::<Typed>();
        Some(bus)
    }),
    ("off_all_named", |bus| {
        bus.off_all_named("typed");
        Some(bus)
    }),
    ("off_everything", |bus| {
        bus.off_everything();
        Some(bus)
    }),
    ("the last handle", |_| None),
    ("off_all, and then the last handle", |bus| {
        bus.off_all::<Typed>();
        None
    }),
];

fn streams_and_waits_end_when_they_are_taken_off() {
    for (what, off) in WAYS {
        println!("{what}");
        let bus = bus(Group::unused());
        let mut typed = bus.subscribe::<Typed>();
        let mut named = bus.subscribe_named("typed");
        let empty = bus.wait_for_named("other");
        let first = bus.wait_for::<Typed>();
        bus.emit(Typed(1)).expect("the bus runs");
        bus.emit(Typed(2)).expect("the bus runs");
        let later = bus.wait_for::<Typed>();
        let rest = off(bus);
        block_on(async {
            // What waited can still be read.
            assert_eq!(typed.next().await.expect("it waited").0, 1);
            assert_eq!(typed.try_next().expect("it waited").0, 2);
            assert!(named.next().await.is_some());
            assert!(named.next().await.is_some());
            for _ in 0..2 {
                assert!(typed.next().await.is_none());
                assert!(typed.try_next().is_err());
                assert!(named.next().await.is_none());
            }
            assert_eq!(first.await.expect("it waited").0, 1);
            assert_eq!(later.await.expect_err("it was taken off"), Stopped);
            if what == "off_everything" || rest.is_none() {
                assert_eq!(empty.await.expect_err("it was taken off"), Stopped);
            }
        });
        if let Some(bus) = rest {
            assert_eq!(bus.emit(Typed(3)).expect("the bus runs").listeners, 0);
            assert!(typed.try_next().is_err());
        }
    }
}

/// Those who wait already are woken, on any runtime.
fn taking_a_listener_off_wakes_its_readers() {
    for runtime in Runtime::ALL {
        for (what, off) in WAYS {
            println!("{what}, {runtime:?}");
            runtime.run(soon(async {
                let bus = common::builder(Group::unused())
                    .start()
                    .await
                    .expect("a bus starts");
                let mut stream = bus.subscribe::<Typed>();
                let first = bus.wait_for_named("typed");
                let streaming = tokio::spawn(async move { stream.next().await.is_none() });
                let waiting = tokio::spawn(async move { first.await.is_err() });
                tokio::task::yield_now().await;
                let rest = off(bus);
                assert!(streaming.await.expect("it does not panic"));
                assert!(waiting.await.expect("it does not panic"));
                drop(rest);
            }));
        }
    }
}

fn a_stopped_bus() {
    let bus = bus(Group::unused());
    let mut stream = bus.subscribe::<Typed>();
    let first = bus.wait_for::<Typed>();
    block_on(bus.stop()).expect("it stops");
    block_on(async {
        let polled = std::future::poll_fn(|cx| Poll::Ready(pin!(stream.next()).poll(cx))).await;
        assert!(polled.is_pending());
    });
    block_on(bus.start()).expect("it starts");
    bus.emit(Typed(1)).expect("the bus runs");
    assert_eq!(block_on(stream.next()).expect("it is open").0, 1);
    assert_eq!(block_on(first).expect("it came").0, 1);
}

/// A pattern is no key: `off_all_named` leaves it, `off_everything` does not.
fn by_pattern() {
    let bus = bus(Group::unused());
    let mut stream = bus.subscribe_pattern("ty*");
    assert_eq!(bus.off_all::<Typed>(), 0);
    assert_eq!(bus.off_all_named("ty*"), 0);
    bus.emit(Typed(1)).expect("the bus runs");
    assert_eq!(bus.off_everything(), 1);
    block_on(async {
        assert!(stream.next().await.is_some());
        assert!(stream.next().await.is_none());
    });
}

fn ids_are_unique() {
    let (one, other) = (bus(Group::unused()), bus(Group::unused()));
    let mut ids = Vec::new();
    for bus in [&one, &other] {
        ids.push(bus.on_named("x", |_: &Received<Args>| {}));
        ids.push(bus.on_pattern("x", |_: &Received<Args>| {}));
        ids.push(bus.on_notice(|_: &Notice| {}));
    }
    let all: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(all.len(), ids.len());
    for id in &ids[..3] {
        assert!(!other.off(*id));
    }
    assert_eq!(other.listener_count_named("x"), 1);
    assert_eq!(
        other.emit_named("x", ()).expect("the bus runs").listeners,
        2
    );
    for id in &ids[3..] {
        assert!(other.off(*id));
        assert!(!other.off(*id));
    }
}

/// Events that came before `off` still reach the listener.
fn a_queue_is_worked_off() {
    for way in [Way::Moved, Way::Async] {
        let stage = Stage::new(way);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let seen = Seen::new();
        let list = seen.clone();
        let id = stage.listen(move |number| {
            let _ = released.lock().expect("one call at a time").recv();
            list.push(number);
        });
        let passed = common::count(&stage.b, "x");
        for number in 1..=5 {
            stage.emit(number);
        }
        passed.wait_for(5);
        assert!(stage.b.off(id));
        stage.emit(6);
        passed.wait_for(6);
        drop(release);
        assert_eq!(seen.wait_for(5), [1, 2, 3, 4, 5]);
    }
}
