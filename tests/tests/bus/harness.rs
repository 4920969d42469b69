//! The harness against itself: a tap, a crafted datagram, and the peer in another language.

use bson::{Bson, doc};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    peer::Peer,
    process,
    runner::{Case, Need},
    tap::Tap,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("harness::tap_and_craft_agree", tap_and_craft_agree),
        Case::new(
            "harness::nested_is_as_deep_as_it_says",
            nested_is_as_deep_as_it_says,
        ),
        Case::new("harness::groups_differ", groups_differ),
        Case::new("harness::own_network_is_empty", own_network_is_empty).in_own_network(),
        Case::new("harness::peer_talks_and_listens", peer_talks_and_listens).needs(Need::Node),
    ]
}

fn tap_and_craft_agree() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let stranger = Tap::join(group.sibling());
    let message = Message::event(group, "tick", vec![Bson::Int32(1)]);
    stranger.send(&message.bytes());
    tap.send(&message.bytes());
    let heard = tap.next();
    assert_eq!(heard.bytes, message.bytes());
    assert_eq!(heard.from.port(), tap.port());
    let (meta, payload) = craft::part(&heard.bytes);
    assert_eq!(meta, message.meta);
    assert_eq!(payload, message.payload);
}

fn nested_is_as_deep_as_it_says() {
    let two = craft::bytes_of(&doc! { "a": { "a": {} } });
    assert_eq!(craft::nested(3, false), two);
    let array = craft::bytes_of(&doc! { "0": [[]] });
    assert_eq!(craft::nested(3, true), array);
    let payload = craft::bytes_of(&doc! { "payload": [[]] });
    assert_eq!(craft::as_payload(craft::nested(2, true), 4), payload);
}

fn groups_differ() {
    let (one, other) = (Group::unused(), Group::unused());
    assert_ne!(one.port, other.port);
    assert_ne!(one.sibling().address, one.address);
    assert!(one.address.is_multicast() && one.sibling().address.is_multicast());
}

fn own_network_is_empty() {
    let run = process::run(
        std::process::Command::new("ip").args(["-o", "link"]),
        std::time::Duration::from_secs(10),
    );
    let links = String::from_utf8(run.expect("ip runs").stdout).expect("ip prints text");
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("LOOPBACK,UP"), "{links}");
}

fn peer_talks_and_listens() {
    let group = Group::unused();
    let mut one = Peer::start(env!("CARGO_TARGET_TMPDIR"), group, 1024);
    let mut other = Peer::start(env!("CARGO_TARGET_TMPDIR"), group, 1024);
    assert_eq!(one.emit("all", &craft::every_type()), 1);
    let heard = other.next_event();
    assert_eq!(heard.name, "all");
    assert_eq!(heard.arguments, craft::every_type());
    let big = vec![Bson::String("ä".repeat(50_000))];
    assert!(one.emit("big", &big) > 90);
    assert_eq!(other.next_event().arguments, big);
}
