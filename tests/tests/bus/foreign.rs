//! A bus and a peer of another make, in another language, understand each other.

use bson::{Bson, bson};
use eventcast::{Args, NetEvent, Received, args};
use eventcast_tests::{
    craft,
    group::Group,
    peer::Peer,
    runner::{Case, Need},
    wait::Seen,
};
use serde::{Deserialize, Serialize};

use crate::common::{builder, bus, collect, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("foreign::arguments", arguments).needs(Need::Node),
        Case::new("foreign::every_bson_type", every_bson_type).needs(Need::Node),
        Case::new("foreign::typed_events", typed_events).needs(Need::Node),
        Case::new("foreign::megabyte_in_large_chunks", || megabyte(16_000)).needs(Need::Node),
        Case::new("foreign::megabyte_in_default_chunks", || megabyte(1_024)).needs(Need::Node),
        Case::new("foreign::metadata", metadata).needs(Need::Node),
        Case::new("foreign::the_peer_asks", the_peer_asks).needs(Need::Node),
        Case::new("foreign::the_peer_is_asked", the_peer_is_asked).needs(Need::Node),
    ]
}

const BUILD_FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

fn arguments() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    let lists: [Args; 5] = [
        args![],
        args![5],
        args![Bson::Null],
        args!["one", 2, 3.5, true],
        args![bson!([]), bson!({}), bson!([1, [2]])],
    ];
    let seen = collect(&bus, "x");
    for (index, list) in lists.iter().enumerate() {
        peer.emit("x", list);
        assert_eq!(seen.wait_for(index + 1)[index][..], list[..]);
    }
    bus.off_all_named("x");
    for list in &lists {
        bus.emit_named("x", list.clone()).expect("the bus runs");
        let heard = peer.next_event();
        assert_eq!(heard.name, "x");
        assert_eq!(heard.arguments, list[..]);
    }
}

fn every_bson_type() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    let seen = collect(&bus, "types");
    peer.emit("types", &craft::every_type());
    assert_eq!(seen.wait_for(1)[0][..], craft::every_type()[..]);
    bus.emit_named("types", craft::every_type())
        .expect("the bus runs");
    assert_eq!(peer.next_event().arguments, craft::every_type());
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[net_event(name = "order.placed")]
struct OrderPlaced {
    number: u64,
    items: Vec<String>,
    paid: Option<bool>,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Moved(f64, f64);

fn typed_events() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    let orders = Seen::new();
    let list = orders.clone();
    bus.on::<OrderPlaced>(move |e: &Received<OrderPlaced>| list.push((**e).clone()));
    let moves = Seen::new();
    let list = moves.clone();
    bus.on::<Moved>(move |e: &Received<Moved>| list.push((**e).clone()));

    // JavaScript has doubles where the number is too large for an int32.
    let order = bson!({ "items": ["a"], "number": 4_294_967_296.0, "surplus": 1 });
    peer.emit("order.placed", &[order]);
    peer.emit("Moved", &[Bson::Int32(1), Bson::Double(-0.5)]);
    let expected = OrderPlaced {
        number: 1 << 32,
        items: vec!["a".to_owned()],
        paid: None,
    };
    assert_eq!(orders.wait_for(1)[0], expected);
    assert_eq!(moves.wait_for(1), [Moved(1.0, -0.5)]);

    bus.emit(expected).expect("the bus runs");
    let heard = peer.next_event();
    assert_eq!(heard.name, "order.placed");
    let order = bson!({ "number": 1_i64 << 32, "items": ["a"], "paid": null });
    assert_eq!(heard.arguments, [order]);
    bus.emit(Moved(1.0, 2.0)).expect("the bus runs");
    let heard = peer.next_event();
    assert_eq!(heard.arguments, [Bson::Double(1.0), Bson::Double(2.0)]);
}

fn megabyte(max_payload_size: usize) {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, max_payload_size);
    let bus = started(builder(group).max_payload_size(max_payload_size));
    let text: String = ('a'..='z').cycle().take(1_000_000).collect();
    let big = [Bson::String(text)];
    let seen = collect(&bus, "big");
    assert!(peer.emit("big", &big) >= 1_000_000 / max_payload_size as u64);
    assert!(seen.wait_for(1)[0][..] == big, "it came changed");

    bus.emit_named("big", big.to_vec()).expect("the bus runs");
    assert!(peer.next_event().arguments == big, "it came changed");
}

fn metadata() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    let origins = Seen::new();
    let list = origins.clone();
    bus.on_named("x", move |e: &Received<Args>| list.push(e.origin().clone()));
    peer.emit("x", &[]);
    let origin = &origins.wait_for(1)[0];
    assert_eq!(origin.hostname(), "node");
    assert_eq!(origin.host(), "127.0.0.1");
    assert!(origin.time().is_some());
    assert_eq!((origin.incarnation(), origin.number()), (None, None));

    bus.emit_named("x", ()).expect("the bus runs");
    let meta = peer.next_event().meta;
    let int = |key: &str| meta[key]["$numberInt"].as_str().map(str::to_owned);
    assert_eq!(int("v").as_deref(), Some("3"));
    assert_eq!(
        int("port"),
        bus.unicast_address().map(|own| own.port().to_string())
    );
    assert_eq!(meta["host"], "127.0.0.1");
    assert_eq!(meta["id"], bus.id().as_str());
    assert_eq!(meta["hostname"], bus.hostname());
    let time = meta["time"].as_str().expect("a text");
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
}

/// Twenty kilobytes, of which every part differs from every other.
pub(crate) fn long() -> Vec<Bson> {
    let text: Vec<_> = (0..6_000).map(|number| number.to_string()).collect();
    let mut text = text.concat();
    text.truncate(20_000);
    vec![text.into()]
}

/// Two chunks in the middle, and the last.
const LOST: [u32; 3] = [3, 7, 19];

fn the_peer_asks() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    peer.lose(&LOST, &[]);
    bus.emit_named("long", long()).expect("the bus runs");
    assert!(peer.next_event().arguments == long(), "it came changed");
    let stats = bus.stats();
    assert!(stats.requests_received >= 1);
    // More where the peer was put aside for a moment.
    assert!(stats.answers_sent >= LOST.len() as u64);
    bus.emit_named("end", ()).expect("the bus runs");
    assert_eq!(peer.next_event().name, "end", "it came once");
}

fn the_peer_is_asked() {
    let group = Group::unused();
    let mut peer = Peer::start(BUILD_FOLDER, group, 1_024);
    let bus = bus(group);
    let (seen, ends) = (collect(&bus, "long"), collect(&bus, "end"));
    peer.lose(&[], &LOST);
    peer.emit("long", &long());
    assert!(seen.wait_for(1)[0][..] == long()[..], "it came changed");
    let stats = bus.stats();
    assert!(stats.requests_sent >= 1);
    assert_eq!(stats.messages_incomplete, 0);
    peer.emit("end", &[]);
    ends.wait_for(1);
    assert_eq!(seen.len(), 1);
}
