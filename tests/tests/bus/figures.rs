//! `stats()`: what is counted, what is held now, and what stays when a bus stops.
//!
//! That each figure also is a metric is tested where both are made, in the library.

use eventcast::SubscribeOptions;
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{block_on, eventually},
};

use crate::common::{bus, count, emit_whole, pair, send_paced};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("figures::what_is_held", what_is_held),
        Case::new("figures::joined_events", joined_events),
        Case::new("figures::subscriptions", subscriptions),
        Case::new("figures::over_a_restart", over_a_restart),
    ]
}

fn what_is_held() {
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
            (stats.events_emitted, stats.dropped_for("malformed"))
        };
        assert_eq!(count(&bus), (round, round));
        block_on(bus.stop()).expect("it stops");
        assert_eq!(count(&bus), (round, round));
        block_on(bus.start()).expect("it starts");
        assert_eq!(count(&bus), (round, round));
    }
}
