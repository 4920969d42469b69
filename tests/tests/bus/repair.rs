//! What is lost and comes again, on real sockets.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use eventcast::{Args, LeftReason, ListenerQueue, NetEvent, Notice, Received};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{builder, bus, pair, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("repair::sixteen_mebibytes_ten_of_ten", sixteen_mebibytes),
        Case::new(
            "repair::small_events_pass_a_large_message",
            passing_a_large_one,
        ),
        Case::new("repair::numbers", numbers),
        Case::new("repair::peers_come_and_go", peers),
        Case::new("repair::a_burst_larger_than_the_buffer", burst),
    ]
}

/// What must never be waited for.
#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(best_effort)]
struct Position {
    at: u32,
}

/// Under the system's own buffers, which hold some 90 datagrams of a kilobyte.
fn sixteen_mebibytes() {
    let (a, b) = pair();
    let lens = Seen::new();
    let list = lens.clone();
    b.on_named("image", move |e: &Received<Args>| {
        let text: String = e.decode().expect("a text");
        let whole = text.bytes().enumerate().all(|(i, byte)| byte == letter(i));
        list.push((text.len(), whole));
    });
    let text: String = (0..16 << 20).map(|i| char::from(letter(i))).collect();
    for round in 1..=10 {
        block_on(a.emit_wait_named("image", text.as_str())).expect("there will be room");
        lens.wait_for(round);
    }
    assert_eq!(lens.all(), [(16 << 20, true); 10]);
    assert_eq!(b.stats().events_lost, 0);
    assert_eq!(b.stats().messages_expired, 0);
}

fn letter(i: usize) -> u8 {
    b'a' + ((i + i / 26 + i / 7_919) % 26) as u8
}

/// Ordered events of the same sender wait for the large one; best-effort ones and those of others
/// do not.
fn passing_a_large_one() {
    let group = Group::unused();
    let (a, b, c) = (bus(group), bus(group), bus(group));
    let order = Seen::new();
    let list = order.clone();
    // One listener for all, so that it sees the order in which they are delivered, moved to a queue
    // or not.
    b.on_every(move |e: &Received<Args>| list.push(e.key().to_owned()));

    a.emit_named("before", ()).expect("the bus runs");
    order.wait_for(1);
    a.emit_named("large", "l".repeat(16 << 20))
        .expect("it fits");
    a.emit_named("after", ()).expect("small ones have room");
    c.emit_named("of another", ()).expect("the bus runs");
    // One may be lost in the flood, but not all.
    for at in 0..50 {
        a.emit(Position { at }).expect("small ones have room");
        std::thread::sleep(Duration::from_millis(1));
    }
    eventually("all came", || order.all().contains(&"after".to_owned()));
    let seen = order.all();
    let place = |name: &str| seen.iter().position(|seen| seen == name);
    let large = place("large").expect("it came");
    assert_eq!(place("before"), Some(0));
    assert_eq!(place("after"), Some(large + 1));
    assert!(place("of another") < Some(large), "{seen:?}");
    assert!(place("Position") < Some(large), "{seen:?}");
}

fn numbers() {
    let (a, b) = pair();
    let seen = Seen::new();
    let list = seen.clone();
    b.on_named("n", move |e: &Received<Args>| {
        list.push(e.origin().number());
    });
    let positions = Seen::new();
    let list = positions.clone();
    b.on::<Position>(move |e| list.push((e.at, e.origin().number())));
    for number in 1..=3 {
        let emitted = a.emit_named("n", ()).expect("the bus runs");
        assert_eq!(emitted.number, Some(number));
    }
    let emitted = a.emit(Position { at: 7 }).expect("the bus runs");
    assert_eq!(emitted.number, None);
    assert_eq!(seen.wait_for(3), [Some(1), Some(2), Some(3)]);
    assert_eq!(positions.wait_for(1), [(7, None)]);

    let quick = started(builder(Group::unused()).best_effort(true));
    assert_eq!(quick.emit_named("n", ()).expect("it runs").number, None);
}

fn peers() {
    let group = Group::unused();
    let a = bus(group);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&notices);
    a.on_notice(move |notice| match notice {
        Notice::PeerJoined { peer, .. } => list.lock().unwrap().push((peer.id.clone(), None)),
        Notice::PeerLeft { peer, reason, .. } => {
            list.lock().unwrap().push((peer.id.clone(), Some(*reason)));
        }
        _ => {}
    });
    assert!(a.peers().is_empty());
    let b = started(builder(group).id("bee"));
    eventually("each knows the other", || {
        a.peers().len() == 1 && b.peers().len() == 1
    });
    let status = &a.peers()[0];
    assert_eq!(status.peer.id, "bee");
    assert_eq!(Some(status.peer.address), b.unicast_address());
    assert!(status.version.starts_with("eventcast "));
    assert_eq!(a.stats().peers, 1);

    block_on(b.stop()).expect("it stops");
    block_on(b.start()).expect("it starts again");
    eventually("it is there again", || notices.lock().unwrap().len() >= 3);
    drop(b);
    eventually("it is gone", || a.peers().is_empty());
    let bee = |reason| ("bee".to_owned(), reason);
    let goodbye = Some(LeftReason::Goodbye);
    let expected = [bee(None), bee(goodbye), bee(None), bee(goodbye)];
    eventually("all has been told", || notices.lock().unwrap().len() >= 4);
    assert_eq!(*notices.lock().unwrap(), expected);
}

/// Far more than the receiver's buffer holds, as fast as they can be emitted: each arrives, in
/// order.
fn burst() {
    const EVENTS: u32 = 20_000;
    let group = Group::unused();
    let a = bus(group);
    // A listener that is put aside for a moment gets a queue: let it hold them all.
    let b = started(builder(group).listener_queue(ListenerQueue {
        events: EVENTS as usize,
        bytes: 256 << 20,
    }));
    let lost = Seen::new();
    let list = lost.clone();
    b.on_notice(move |notice| {
        if let Notice::Lost { .. } = notice {
            list.push(notice.to_string());
        }
    });
    let numbers = Seen::new();
    let list = numbers.clone();
    b.on_named("b", move |e: &Received<Args>| {
        let (number, _): (u32, String) = e.decode().expect("a number and a text");
        list.push(number);
    });
    let text = "t".repeat(500);
    for number in 0..EVENTS {
        while a.emit_named("b", (number, text.as_str())).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    eventually("each came, or was told as lost", || {
        numbers.len() as u64 + b.stats().events_lost >= u64::from(EVENTS)
    });
    let stats = b.stats();
    assert_eq!(
        (stats.events_lost, stats.listener_missed),
        (0, 0),
        "{:?}\n{stats:?}\nsender: {:?}",
        lost.all(),
        a.stats()
    );
    assert!(numbers.all().into_iter().eq(0..EVENTS), "out of order");
}
