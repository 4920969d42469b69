//! `stats()`: what is counted, what is held now, and what stays when a bus stops.
//!
//! That each figure also is a metric is tested where both are made, in the library.

use std::{sync::mpsc, time::Duration};

use eventcast::{DropCause, Notice, SubscribeOptions};
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, eventually},
};

use crate::common::{builder, bus, count, emit_whole, pair, send_paced};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "figures::held_bytes_and_incomplete_messages",
            held_bytes_and_incomplete_messages,
        ),
        Case::new("figures::joined_events", joined_events),
        Case::new("figures::subscriptions", subscriptions),
        Case::new("figures::over_a_restart", over_a_restart),
        Case::new("figures::kernel_drops", kernel_drops),
        #[cfg(target_os = "linux")]
        Case::new("figures::own_datagrams_are_not_received", own_datagrams),
    ]
}

fn held_bytes_and_incomplete_messages() {
    let group = Group::unused();
    let (bus, tap) = (bus(group), Tap::join(group));
    assert_eq!(bus.stats().messages_incomplete, 0);
    let message = Message::event(group, "half", vec!["h".repeat(3_000).into()]);
    let chunks = message.chunks(1_000);
    // It is held for `message_ttl`, so look before that is over, and send anew where it was over.
    eventually("a part of a message is held", || {
        send_paced(&tap, &bus, &chunks[..1]);
        let stats = bus.stats();
        stats.messages_incomplete > 0 && stats.held_bytes >= 1_000
    });
    block_on(bus.stop()).expect("it stops");
    let stats = bus.stats();
    assert_eq!((stats.messages_incomplete, stats.held_bytes), (0, 0));
    assert_eq!(stats.queued_bytes, 0);
    assert!(stats.datagrams_received > 0);
}

/// A filter in the kernel drops what comes back of the bus's own.
#[cfg(target_os = "linux")]
fn own_datagrams() {
    let group = Group::unused();
    let (bus, tap) = (bus(group), Tap::join(group));
    for _ in 0..20 {
        bus.emit_named("own", ()).expect("the bus runs");
    }
    // What the group hears, the bus would have heard as well.
    let mut own = 0;
    tap.record_until(|datagram| {
        own += usize::from(eventcast_tests::craft::name_of(&datagram.bytes) == "own");
        own == 20
    });
    let last = count(&bus, "last");
    tap.send(&Message::event(group, "last", vec![]).bytes());
    last.wait_for(1);
    let stats = bus.stats();
    assert_eq!(
        (stats.datagrams_received, stats.dropped_for(DropCause::Echo)),
        (1, 0)
    );
    assert!(stats.datagrams_sent >= 20);
}

fn joined_events() {
    let (a, b) = pair();
    let (small, big) = (count(&b, "small"), count(&b, "joined"));
    a.emit_named("small", ()).expect("the bus runs");
    small.wait_for(1);
    assert_eq!(b.stats().events_joined, 0);
    emit_whole(
        || big.get(),
        || {
            a.emit_named("joined", "j".repeat(3_000))
                .expect("the bus runs");
        },
    );
    let stats = b.stats();
    assert_eq!((stats.events_joined, stats.events_received), (1, 2));
}

fn subscriptions() {
    let bus = bus(Group::unused());
    let latest = bus.subscribe_named_with("news", SubscribeOptions::latest());
    let other = bus.subscribe_named("news");
    for number in 0..5 {
        bus.emit_named("news", number).expect("the bus runs");
    }
    assert_eq!((latest.missed(), other.missed()), (4, 0));
    assert_eq!(bus.stats().subscription_missed, 4);
    drop((latest, other));
    bus.emit_named("news", 5).expect("the bus runs");
    let stats = bus.stats();
    assert_eq!((stats.subscription_missed, stats.listener_missed), (4, 0));
}

fn over_a_restart() {
    let group = Group::unused();
    let (bus, tap) = (bus(group), Tap::join(group));
    for round in 1..=3 {
        bus.emit_named("round", round).expect("the bus runs");
        send_paced(&tap, &bus, ["no datagram of ours"]);
        let count = |bus: &eventcast::Bus| {
            let stats = bus.stats();
            (
                stats.events_emitted,
                stats.dropped_for(DropCause::Malformed),
            )
        };
        assert_eq!(count(&bus), (round, round));
        block_on(bus.stop()).expect("it stops");
        assert_eq!(count(&bus), (round, round));
        block_on(bus.start()).expect("it starts");
        assert_eq!(count(&bus), (round, round));
    }
}

fn kernel_drops() {
    let group = Group::unused();
    // The smallest buffer, and a listener that may hold up the reading of it.
    let bus = builder(group)
        .receive_buffer(1)
        .listener_budget(Duration::from_secs(60));
    let bus = bus.build().expect("good options");
    let told = Seen::new();
    let list = told.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::KernelDrops { count, .. } = notice {
            list.push((*count, notice.to_string()));
        }
    });
    let ((held, holds), (release, released)) = (mpsc::channel(), mpsc::channel());
    let released = std::sync::Mutex::new(released);
    bus.on_named(
        "hold/up",
        move |_: &eventcast::Received<eventcast::Args>| {
            let _ = held.send(());
            let released = released.lock().expect("one call at a time");
            let _ = released.recv_timeout(Duration::from_secs(10));
        },
    );
    block_on(bus.start()).expect("it starts");
    let tap = Tap::join(group);
    tap.send(&Message::event(group, "hold/up", vec![]).bytes());
    holds
        .recv_timeout(Duration::from_secs(10))
        .expect("it is called");
    let large = Message::event(group, "drop", vec!["d".repeat(800).into()]);
    for _ in 0..200 {
        tap.send(&large.bytes());
    }
    release.send(()).expect("it waits");
    // The kernel says how many it dropped with the next that it did not.
    eventually("it is told", || {
        tap.send(&Message::event(group, "after", vec![]).bytes());
        !told.all().is_empty()
    });
    let (count, text) = &told.all()[0];
    assert!((1..=bus.stats().kernel_drops).contains(count), "{text}");
    assert!(text.contains("raise `receive_buffer`"), "{text}");
}
