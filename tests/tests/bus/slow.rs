//! Slow listeners cost nobody else anything, and queues have bounds.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bson::Bson;
use eventcast::{Args, Bus, ListenerId, Notice, Received};
use eventcast_tests::{
    group::Group,
    process::memory_in_use,
    runner::Case,
    wait::{Seen, eventually, eventually_async, soon},
};

use crate::common::{self, Count, Runtime, bus, count, paced, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("slow::io06_slow_before_fast", || slow_and_fast(true)),
        Case::new("slow::io06_slow_after_fast", || slow_and_fast(false)),
        Case::new(
            "slow::io06_slow_and_fast_of_one_event",
            slow_and_fast_of_one_event,
        ),
        Case::new(
            "slow::io06_a_subscription_nobody_reads",
            a_subscription_nobody_reads,
        )
        .in_own_process(),
        Case::new(
            "slow::order_before_during_and_after_the_move",
            order_around_the_move,
        ),
        Case::new("slow::a_full_queue_is_reported", a_full_queue_is_reported),
        Case::new("slow::all_listeners_slow_at_once", all_slow_at_once),
    ]
}

/// How long the slow one blocks: longer than all the fast events take.
const BLOCKED: Duration = Duration::from_secs(2);
const FAST: usize = 500;

/// Case IO-06 (1), on every runtime; with the receive buffer that the system gives.
fn slow_and_fast(slow_first: bool) {
    thread::scope(|scope| {
        for runtime in Runtime::ALL {
            scope.spawn(move || runtime.run(soon(slow_and_fast_on(slow_first))));
        }
    });
}

async fn slow_and_fast_on(slow_first: bool) {
    let group = Group::unused();
    let a = common::builder(group).start().await.expect("a bus starts");
    let b = common::builder(group).start().await.expect("a bus starts");
    let slow = Count::default();
    let listen_slow = |b: &Bus| {
        let slow = slow.clone();
        b.on_named("slow", move |_: &Received<Args>| {
            thread::sleep(BLOCKED);
            slow.add();
        });
    };
    if slow_first {
        listen_slow(&b);
    }
    let fast = count(&b, "fast");
    if !slow_first {
        listen_slow(&b);
    }
    a.emit_named("slow", ()).expect("the bus runs");
    for _ in 0..FAST {
        a.emit_named("fast", ()).expect("the bus runs");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eventually_async("all the fast ones came", || fast.get() == FAST).await;
    eventually_async("the slow one ended", || slow.get() == 1).await;
    assert_eq!(b.stats().kernel_drops, 0);
}

/// The same event has a listener that blocks and one that counts, in both orders: the slow one
/// takes as long over its first as the fast one over all.
fn slow_and_fast_of_one_event() {
    for slow_first in [true, false] {
        let (a, b) = pair();
        let (fast, slow) = (Count::default(), Count::default());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for is_slow in [slow_first, !slow_first] {
            let (fast, slow, released) = (fast.clone(), slow.clone(), Arc::clone(&released));
            b.on_named("x", move |_: &Received<Args>| {
                if is_slow {
                    // Until the channel is closed.
                    let _ = released.lock().expect("one call at a time").recv();
                    slow.add();
                } else {
                    fast.add();
                }
            });
        }
        paced(
            100,
            || fast.get(),
            |_| {
                a.emit_named("x", ()).expect("the bus runs");
            },
        );
        assert_eq!(slow.get(), 0);
        drop(release);
        slow.wait_for(100);
        assert_eq!((fast.get(), slow.get()), (100, 100));
    }
}

/// Case IO-06 (2).
fn a_subscription_nobody_reads() {
    const EVENTS: usize = 200_000;
    let group = Group::unused();
    // A kilobyte and the metadata in one datagram.
    let one_datagram = |builder: eventcast::Builder| builder.max_payload_size(1_472);
    let a = common::started(one_datagram(common::builder(group)));
    let b = common::started(one_datagram(common::builder(group)));
    let mut unread = b.subscribe_named("x");
    let others = count(&b, "x");
    let text = "x".repeat(1_000);
    let emit = |_| {
        a.emit_named("x", text.as_str()).expect("the bus runs");
    };
    // What is there once and for all is there after some thousand.
    paced(5_000, || others.get(), emit);
    let before = memory_in_use();
    paced(EVENTS - 5_000, || others.get(), emit);
    let grown = memory_in_use().saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    let mut read = 0;
    while unread.try_next().is_ok() {
        read += 1;
    }
    assert_eq!(read + unread.missed() as usize, EVENTS);
    assert!(unread.missed() > 100_000);
}

fn order_around_the_move() {
    let (a, b) = pair();
    let seen = Seen::new();
    let list = seen.clone();
    let id = b.on_named("x", move |e: &Received<Args>| {
        let number: i32 = e.decode().expect("one small number");
        // Quick, then slow once, then quick, then slow now and then.
        if number == 100 || number > 200 && number % 10 == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        list.push(number);
    });
    let moved = moved_listeners(&b);
    let passed = count(&b, "x");
    paced(
        400,
        || passed.get(),
        |index| {
            a.emit_named("x", index as i32).expect("the bus runs");
        },
    );
    let expected: Vec<_> = (0..400).collect();
    assert_eq!(seen.wait_for(400), expected);
    // Without the move there would have been no order to keep.
    eventually("the listener was moved", || moved.all().contains(&id));
}

/// The listeners that were found to be slow, as the bus tells of them.
fn moved_listeners(bus: &Bus) -> Seen<ListenerId> {
    let moved = Seen::new();
    let told = moved.clone();
    bus.on_notice(move |notice| {
        if let Notice::ListenerSlow { listener, .. } = notice {
            told.push(*listener);
        }
    });
    moved
}

fn a_full_queue_is_reported() {
    let group = Group::unused();
    let a = bus(group);
    let small = common::builder(group).listener_queue(eventcast::ListenerQueue {
        events: 10,
        bytes: 1 << 20,
    });
    let b = common::started(small);
    let (slow, missed) = (Seen::new(), Seen::new());
    let (slow_told, missed_told) = (slow.clone(), missed.clone());
    b.on_notice(move |notice: &Notice| match notice {
        Notice::ListenerSlow { key, listener, .. } => slow_told.push((key.clone(), *listener)),
        Notice::ListenerMissed {
            key,
            listener,
            missed,
            ..
        } => missed_told.push((key.clone(), *listener, *missed)),
        _ => {}
    });
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let numbers = Seen::new();
    let list = numbers.clone();
    let id = b.on_named("x", move |e: &Received<Args>| {
        // Blocks in the first call until the channel is closed, and never again.
        let _ = released.lock().expect("one call at a time").recv();
        list.push(e[0].clone());
    });
    let passed = count(&b, "x");
    paced(
        100,
        || passed.get(),
        |index| {
            a.emit_named("x", index as i32).expect("the bus runs");
        },
    );
    drop(release);
    // The one that blocked, and the ten that waited: the newest gave way.
    let expected: Vec<_> = (0..11).map(Bson::Int32).collect();
    assert_eq!(numbers.wait_for(11), expected);
    assert_eq!(slow.wait_for(1), [("x".to_owned(), id)]);
    let told = missed.wait_for(1);
    assert!(
        told.iter()
            .all(|(event, listener, _)| event == "x" && *listener == id),
        "{told:?}"
    );
    assert_eq!(b.stats().listener_missed, 89);
    a.emit_named("x", 100).expect("the bus runs");
    assert_eq!(numbers.wait_for(12)[11], Bson::Int32(100));
}

fn all_slow_at_once() {
    let (a, b) = pair();
    let slow = Count::default();
    let moved = moved_listeners(&b);
    let ids = ["a", "b", "c", "d", "e", "f"].map(|name| {
        let slow = slow.clone();
        b.on_named(name, move |_: &Received<Args>| {
            thread::sleep(Duration::from_millis(300));
            slow.add();
        })
    });
    let fast = count(&b, "fast");
    for name in ["a", "b", "c", "d", "e", "f"] {
        a.emit_named(name, ()).expect("the bus runs");
        a.emit_named("fast", ()).expect("the bus runs");
    }
    fast.wait_for(6);
    slow.wait_for(6);
    assert_eq!((fast.get(), slow.get()), (6, 6));
    eventually("all six were moved", || {
        let moved = moved.all();
        ids.iter().all(|id| moved.contains(id))
    });
}
