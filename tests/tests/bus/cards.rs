//! A machine with two network cards, made of cables between virtual ones: what leaves by which.

use std::{
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    thread,
};

use eventcast::{Builder, Bus};
use eventcast_tests::{
    group::Group,
    runner::{Case, Need},
    wait::{Seen, block_on},
};

use crate::{
    common::builder,
    machines::{ip, joined},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        in_two_card_machine("cards::mc02_the_chosen_card", mc02_the_chosen_card),
        in_two_card_machine("cards::the_default_route_s_card", the_default_card),
        in_two_card_machine("cards::io04_no_fragments_on_a_cable", io04_no_fragments),
        in_two_card_machine("cards::ttl", ttl),
    ]
}

fn in_two_card_machine(name: &str, body: fn()) -> Case {
    let body = move || {
        plug_in();
        body();
    };
    Case::new(name, body).needs(Need::Python).in_own_network()
}

/// A card, its address, and the far end of its cable.
struct Card {
    name: &'static str,
    address: Ipv4Addr,
    far_end: &'static str,
}

const FIRST: Card = Card {
    name: "d0",
    address: Ipv4Addr::new(10, 77, 0, 1),
    far_end: "d1",
};

/// The default route goes by this one.
const SECOND: Card = Card {
    name: "e0",
    address: Ipv4Addr::new(10, 88, 0, 1),
    far_end: "e1",
};

fn plug_in() {
    for card in [FIRST, SECOND] {
        let (name, far_end) = (card.name, card.far_end);
        ip(&format!("link add {name} type veth peer name {far_end}"));
        ip(&format!("addr add {}/24 dev {name}", card.address));
        ip(&format!("link set {name} up"));
        ip(&format!("link set {far_end} up"));
    }
    ip("route add default via 10.88.0.254");
}

/// The datagrams that come out of a cable.
struct Frames {
    python: Child,
    seen: Seen<Frame>,
}

#[derive(Clone, Debug, PartialEq)]
struct Frame {
    source: Ipv4Addr,
    ttl: u8,
    length: usize,
    is_fragment: bool,
}

impl Frames {
    /// Those from now on that contain `text`.
    fn of(card: &Card, text: &str) -> Self {
        let mut python = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peer/frames.py"))
            .args([card.far_end, text])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let output = python.stdout.take().expect("a pipe was asked for");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("ready"));
        let seen = Seen::new();
        let list = seen.clone();
        thread::spawn(move || {
            for line in lines {
                list.push(Frame::parse(&line).unwrap_or_else(|| panic!("no frame: {line:?}")));
            }
        });
        Self { python, seen }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

impl Frame {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            source: words.next()?.parse().ok()?,
            ttl: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            is_fragment: words.next()? == "1",
        })
    }
}

#[track_caller]
fn started(builder: Builder) -> Bus {
    let bus = builder.build().expect("good options");
    block_on(bus.start()).expect("the card is there");
    bus
}

/// Five events leave by this card alone.
fn leaves_by(card: &Card, other: &Card, group: Group, interface: &str) {
    let name = format!("by {}", card.name);
    let (frames, none) = (Frames::of(card, &name), Frames::of(other, &name));
    let bus = started(builder(group).multicast_interface(interface));
    assert_eq!(joined(group.address.into()), [card.name]);
    let own = bus.unicast_address().expect("it runs");
    assert_eq!(own.ip(), card.address);
    for _ in 0..5 {
        bus.emit_named(&name, ()).expect("it runs");
    }
    // What comes after it by either cable tells that nothing else came before.
    let last = started(builder(group).multicast_interface(other.address.to_string()));
    last.emit_named(&name, ()).expect("it runs");
    let heard = frames.seen.wait_for(5);
    assert_eq!(heard.len(), 5, "{heard:?}");
    assert!(
        heard.iter().all(|one| one.source == card.address),
        "{heard:?}"
    );
    let heard = none.seen.wait_for(1);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].source, other.address);
}

fn mc02_the_chosen_card() {
    for (card, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        leaves_by(&card, &other, Group::unused(), &card.address.to_string());
        leaves_by(&card, &other, Group::unused(), card.name);
    }
}

fn the_default_card() {
    leaves_by(&SECOND, &FIRST, Group::unused(), "default");
}

fn io04_no_fragments() {
    let frames = Frames::of(&FIRST, "");
    let bus = builder(Group::unused()).multicast_interface(FIRST.address.to_string());
    let bus = started(bus.max_payload_size(1_400));
    let name = "n".repeat(200);
    bus.emit_named(&name, "x".repeat(1_000_000))
        .expect("it runs");
    // Of some nine hundred; a slow reader of frames may miss some, which is no fault of the bus.
    let frames = frames.seen.wait_for(300);
    let largest = frames.iter().map(|one| one.length).max();
    assert!(
        largest.is_some_and(|largest| (1_400..=1_500).contains(&largest)),
        "{largest:?}"
    );
    assert!(frames.iter().all(|one| !one.is_fragment));
}

fn ttl() {
    let frames = Frames::of(&FIRST, "ttl");
    for (index, ttl) in [1, 0, 7, 255].into_iter().enumerate() {
        let bus = builder(Group::unused()).multicast_interface(FIRST.address.to_string());
        let bus = started(bus.multicast_ttl(ttl));
        bus.emit_named("ttl", ()).expect("it runs");
        // With 0 nothing leaves the machine.
        if ttl > 0 {
            let count = if index == 0 { 1 } else { index };
            let frames = frames.seen.wait_for(count);
            assert_eq!(frames.iter().map(|one| one.ttl).next_back(), Some(ttl));
        }
    }
}
