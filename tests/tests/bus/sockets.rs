//! Groups, interfaces and ports.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use eventcast::{Bus, DropCause, Notice};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::{builder, bus, count, fence, fence_between, paced};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("sockets::mc01_loopback_alone", mc01_loopback_alone).in_own_network(),
        Case::new(
            "sockets::mc01_default_interface_without_a_route",
            mc01_default_interface,
        )
        .in_own_network(),
        Case::new(
            "sockets::mc03_other_groups_are_not_heard",
            mc03_other_groups,
        ),
        Case::new("sockets::mc04_sharing_the_port", mc04_sharing_the_port),
        Case::new(
            "sockets::mc05_own_and_doubled_messages",
            mc05_own_and_doubled,
        ),
        Case::new("sockets::many_buses_on_one_group", many_buses),
        Case::new("sockets::io01_a_peer_that_left", io01_a_peer_that_left),
        Case::new("sockets::interface_by_name", interface_by_name),
        Case::new("sockets::loopback_off", loopback_off),
    ]
}

fn mc01_loopback_alone() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let hello = count(&b, "hello");
    a.emit_named("hello", "hi").expect("the bus runs");
    hello.wait_for(1);
    fence_between(&a, &b);
    assert_eq!(hello.get(), 1);
}

fn mc01_default_interface() {
    let group = Group::unused();
    let warnings = Seen::new();
    let default_interface = |warnings: &Seen<String>| -> Option<Bus> {
        let bus = builder(group).multicast_interface("default").build();
        let bus = bus.expect("good options");
        let warnings = warnings.clone();
        bus.on_notice(move |notice: &Notice| {
            if let Notice::Warning { text, .. } = notice {
                warnings.push(text.clone());
            }
        });
        match block_on(bus.start()) {
            Ok(()) => Some(bus),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&group.address.to_string()), "{text}");
                assert!(text.contains("multicast_interface"), "{text}");
                None
            }
        }
    };
    let Some(a) = default_interface(&warnings) else {
        return;
    };
    let b = default_interface(&warnings).expect("what the one can the other can");
    // It started: then it says where it went, once each, and it hears.
    let hello = count(&b, "hello");
    a.emit_named("hello", "hi").expect("the bus runs");
    hello.wait_for(1);
    let warnings = warnings.wait_for(2);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("loopback") || warnings[0].contains("127.0.0.1"),
        "{warnings:?}"
    );
}

/// Where a running bus alone is reached.
fn unicast(bus: &Bus) -> SocketAddrV4 {
    match bus.unicast_address() {
        Some(SocketAddr::V4(own)) => own,
        other => panic!("a running bus on IPv4 has such an address, not {other:?}"),
    }
}

fn mc03_other_groups() {
    let one = Group::unused();
    let two = one.sibling();
    let (a, b, c) = (bus(one), bus(two), bus(one));
    let a_pong = count(&a, "pong");
    let b_ping = count(&b, "ping");
    let c_ping = count(&c, "ping");
    let b_pong = count(&b, "pong");
    paced(
        100,
        || c_ping.get(),
        |_| {
            a.emit_named("ping", ()).expect("the bus runs");
            b.emit_named("pong", ()).expect("the bus runs");
        },
    );
    for (tap, group, bus) in [(Tap::join(one), one, &a), (Tap::join(two), two, &b)] {
        fence(&tap, bus, group);
    }
    assert_eq!((a_pong.get(), b_ping.get()), (0, 0));
    assert_eq!((c_ping.get(), b_pong.get()), (100, 100));
}

fn mc04_sharing_the_port() {
    for (reuse_address, reuse_port) in [(true, false), (false, true), (false, false)] {
        let group = Group::unused();
        let other = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        other.set_reuse_address(reuse_address).expect("an option");
        other.set_reuse_port(reuse_port).expect("an option");
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, group.port);
        other.bind(&any.into()).expect("nobody has the port yet");
        let bus = builder(group).build().expect("good options");
        let started = block_on(bus.start());
        if reuse_address || reuse_port {
            started.expect("the other one shares");
            let tap = Tap::join(group);
            fence(&tap, &bus, group);
        } else {
            let text = started
                .expect_err("the other one does not share")
                .to_string();
            assert!(text.contains(&group.port.to_string()), "{text}");
            assert!(text.contains("in use"), "{text}");
        }
    }
}

fn mc05_own_and_doubled() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let (a, b) = (bus(group), bus(group));
    let (at_a, at_b) = (count(&a, "tick"), count(&b, "tick"));
    a.emit_named("tick", 1).expect("the bus runs");
    at_b.wait_for(1);
    let heard = tap.record_until(|one| craft::name_of(&one.bytes) == "tick");
    let tick = &heard.last().expect("the last one is it").bytes;
    for _ in 0..3 {
        tap.send(tick);
    }
    fence(&tap, &a, group);
    fence(&tap, &b, group);
    assert_eq!((at_a.get(), at_b.get()), (1, 1));
    assert_eq!(
        a.stats().dropped_for(DropCause::Echo),
        3,
        "{:?}",
        a.stats().dropped
    );
    assert!(
        b.stats().dropped_for(DropCause::Duplicate) >= 3,
        "{:?}",
        b.stats().dropped
    );

    // The same holds for a peer that numbers nothing.
    let stranger = Message::event(group, "tick", vec![]).bytes();
    for _ in 0..4 {
        tap.send(&stranger);
    }
    fence(&tap, &a, group);
    fence(&tap, &b, group);
    assert_eq!((at_a.get(), at_b.get()), (2, 2));

    // Equal content alone is no double.
    a.emit_named("tick", 1).expect("the bus runs");
    a.emit_named("tick", 1).expect("the bus runs");
    fence_between(&a, &b);
    assert_eq!((at_a.get(), at_b.get()), (4, 4));
}

fn many_buses() {
    const BUSES: usize = 8;
    let group = Group::unused();
    let buses: Vec<_> = (0..BUSES).map(|_| bus(group)).collect();
    let counts: Vec<_> = buses.iter().map(|bus| count(bus, "x")).collect();
    for bus in &buses {
        bus.emit_named("x", ()).expect("the bus runs");
    }
    for count in &counts {
        count.wait_for(BUSES);
    }
    // Unicast reaches exactly the one that it is meant for.
    let tap = Tap::join(group);
    let to = unicast(&buses[3]);
    tap.send_to(to, &Message::event(group, "x", vec![]).bytes());
    counts[3].wait_for(BUSES + 1);
    for bus in &buses {
        fence(&tap, bus, group);
    }
    for (index, count) in counts.iter().enumerate() {
        assert_eq!(count.get(), BUSES + usize::from(index == 3));
    }
}

fn io01_a_peer_that_left() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let ok = count(&a, "ok");
    let to = unicast(&a);
    for _ in 0..50 {
        // Another socket each time, and closed at once: what is answered meets nobody.
        let request = craft::bytes_of(&bson::doc! { "payload": {
            "id": "00000000c0ffee00",
            "seqId": craft::new_id(),
            "missedSeq": [0, 1],
            "host": "127.0.0.1",
            "port": i32::from(group.port),
        }});
        let gone = Tap::join(group);
        gone.send_to(
            to,
            &Message::with_payload(group, "__ec_retx", request).bytes(),
        );
    }
    b.emit_named("ok", 1).expect("the bus runs");
    ok.wait_for(1);
    fence_between(&b, &a);
    assert_eq!(ok.get(), 1);
    // And a still speaks.
    fence_between(&a, &b);
}

fn interface_by_name() {
    let group = Group::unused();
    let by_name = builder(group).multicast_interface("lo").build();
    let by_name = by_name.expect("good options");
    block_on(by_name.start()).expect("every Linux has it");
    let by_address = bus(group);
    fence_between(&by_name, &by_address);
    fence_between(&by_address, &by_name);
}

/// On the loopback interface itself the others hear all the same, as Linux has it: what can be
/// seen here is that the bus's own listeners are called, once, and that it still hears.
fn loopback_off() {
    let group = Group::unused();
    let silent = builder(group).multicast_loopback(false);
    let silent = crate::common::started(silent);
    let own = count(&silent, "x");
    silent.emit_named("x", ()).expect("the bus runs");
    assert_eq!(own.get(), 1);
    fence(&Tap::join(group), &silent, group);
    assert_eq!(own.get(), 1);
}
