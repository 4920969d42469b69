//! What is emitted while an interface cannot be used, or has another address than the one it was
//! chosen by.

use std::{net::Ipv4Addr, thread, time::Duration};

use eventcast::{Builder, Bus, Emitted, InterfaceLeftReason, Notice, SendState};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually},
};

use crate::{
    common,
    machines::{Machine, answer_pings, builder, cable, exchange, give, ip, joined, pongs, role},
};

const GROUP: &str = "239.192.79.1";
const GROUP_ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 192, 79, 1);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        Case::new(
            "unsent::emitted_tells_sent_from_not_sent",
            emitted_tells_sent_from_not_sent,
        ),
        case(
            "unsent::an_interface_that_is_down",
            an_interface_that_is_down,
        ),
        case("unsent::one_of_two_interfaces", one_of_two_interfaces),
        case(
            "unsent::an_address_that_is_another_now",
            an_address_that_is_another_now,
        ),
        case(
            "unsent::the_option_address_is_lost",
            the_option_address_is_lost,
        ),
        case(
            "unsent::an_ipv6_address_that_is_another_now",
            an_ipv6_address_that_is_another_now,
        ),
    ]
}

/// Starts a bus, and collects what it tells.
fn start(builder: Builder) -> (Bus, Seen<Notice>) {
    let bus = builder.build().expect("good options");
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| list.push(notice.clone()));
    block_on(bus.start()).expect("it starts");
    (bus, seen)
}

/// The other machine, and the card that leads to it.
fn two(case: &str) -> Machine {
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let machine = Machine::new(case, GROUP, "b0", &[("b0", "10.77.0.2/24")]);
    machine.plug("a0", "b0");
    give("a0", "10.77.0.1/24");
    machine
}

#[track_caller]
fn ping(bus: &Bus, number: i32) -> Emitted {
    bus.emit_named("ping", (number, "")).expect("it is taken")
}

/// Waits until it is told that nothing can be sent by an interface, and gives the text.
#[track_caller]
fn send_failed(seen: &Seen<Notice>, label: &str) -> String {
    let text = || {
        seen.all().iter().find_map(|notice| match notice {
            Notice::SendFailed {
                interface: Some(interface),
                ..
            } if interface == label => Some(notice.to_string()),
            _ => None,
        })
    };
    eventually(&format!("nothing can be sent by {label}"), || {
        text().is_some()
    });
    text().expect("it was there just now")
}

#[track_caller]
fn warned(seen: &Seen<Notice>, words: &[&str]) {
    eventually(&format!("a warning with {words:?}"), || {
        seen.all().iter().any(|notice| {
            let text = notice.to_string();
            matches!(notice, Notice::Warning { .. }) && words.iter().all(|word| text.contains(word))
        })
    });
}

fn emitted_tells_sent_from_not_sent() {
    let bus = common::bus(Group::unused());
    // The thread that sends may be busy with a hello.
    eventually("it went out", || {
        let emitted = bus.emit_named("small", ()).expect("it runs");
        assert_ne!(emitted.sent, SendState::NotSent);
        emitted.sent == SendState::Sent
    });
    // More than goes out at once.
    let large = bus.emit_named("large", "x".repeat(20_000_000));
    assert_eq!(large.expect("it runs").sent, SendState::Queued);
}

fn an_interface_that_is_down() {
    let _machine = two("unsent::an_interface_that_is_down");
    let (bus, told) = start(builder(GROUP, "a0"));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    told.take();

    ip("link set a0 down");
    eventually("it is noticed", || ping(&bus, 2).sent == SendState::NotSent);
    let text = send_failed(&told, "a0 (10.77.0.1)");
    for part in [
        "a0 (10.77.0.1)",
        "`multicast_interface`",
        "bring the interface up",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Once the bus has left the interface there is none to be named but the last.
    eventually("the interface was left", || {
        let left = |notice: &Notice| matches!(notice, Notice::InterfaceLeft { reason, .. } if *reason == InterfaceLeftReason::Down);
        told.all().iter().any(left)
    });
    assert_ne!(ping(&bus, 3).sent, SendState::Sent);
    let texts: Vec<_> = told.all().iter().map(ToString::to_string).collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("left interface a0") && text.contains("is down")),
        "{texts:?}"
    );

    // What was emitted meanwhile arrives, and once.
    ip("link set a0 up");
    eventually("3 is answered", || pongs.all().contains(&3));
    exchange(&bus, &pongs, 4);
    let all = pongs.all();
    assert_eq!(
        all.iter().filter(|number| **number == 3).count(),
        1,
        "{all:?}"
    );
}

fn one_of_two_interfaces() {
    for (card, other, address) in [("a0", "a1", "10.77.0.1/24"), ("c0", "c1", "10.88.0.1/24")] {
        cable(card, other);
        give(card, address);
    }
    let (bus, told) = start(builder(GROUP, "all"));
    eventually("both", || joined(GROUP_ADDRESS.into()).len() == 2);
    // Neither the address by which the interface is chosen nor the interface changes at once.
    ip("addr del 10.88.0.1/24 dev c0");
    assert_ne!(ping(&bus, 1).sent, SendState::NotSent);
    send_failed(&told, "c0 (10.88.0.1)");
    ip("link set a0 down");
    eventually("none is left", || ping(&bus, 2).sent == SendState::NotSent);
    let text = told
        .all()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert!(
        text.iter().all(|text| !text.contains("QueueFull")),
        "{text:?}"
    );
}

fn an_address_that_is_another_now() {
    let _machine = two("unsent::an_address_that_is_another_now");
    let (bus, told) = start(builder(GROUP, "10.77.0.1"));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    let port = bus.unicast_address().expect("it runs").port();
    told.take();

    ip("addr del 10.77.0.1/24 dev a0");
    // It is the interface's only one: what is emitted now cannot go out.
    assert_ne!(ping(&bus, 2).sent, SendState::Sent);
    send_failed(&told, "a0 (10.77.0.1)");
    give("a0", "10.77.0.7/24");
    warned(
        &told,
        &[
            "10.77.0.1",
            "a0 (10.77.0.7)",
            "`multicast_interface`",
            "\"a0\"",
        ],
    );
    eventually("2 is answered", || pongs.all().contains(&2));
    exchange(&bus, &pongs, 3);
    let own = bus.unicast_address().expect("it runs");
    assert_eq!(own.to_string(), format!("10.77.0.7:{port}"));
    assert_eq!(joined(GROUP_ADDRESS.into()), ["a0"]);
    let texts: Vec<_> = told.all().iter().map(ToString::to_string).collect();
    let left = texts
        .iter()
        .find(|text| text.starts_with("left interface a0 (10.77.0.1)"));
    assert!(
        left.is_some_and(|text| text.contains("address")),
        "{texts:?}"
    );

    // And back again.
    ip("addr del 10.77.0.7/24 dev a0");
    give("a0", "10.77.0.1/24");
    eventually("back at its address", || {
        bus.unicast_address()
            .is_some_and(|own| own.to_string() == format!("10.77.0.1:{port}"))
    });
    exchange(&bus, &pongs, 4);
    assert_eq!(pongs.all().iter().filter(|number| **number == 2).count(), 1);
}

fn the_option_address_is_lost() {
    let _machine = two("unsent::the_option_address_is_lost");
    let (bus, told) = start(builder(GROUP, "a0").address("10.77.0.1"));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    ip("addr del 10.77.0.1/24 dev a0");
    give("a0", "10.77.0.7/24");
    warned(&told, &["`address` 10.77.0.1"]);
    exchange(&bus, &pongs, 2);
    let own = bus.unicast_address().expect("it runs");
    assert_eq!(own.ip().to_string(), "10.77.0.7");
}

/// As addresses for privacy do every day (RFC 8981).
fn an_ipv6_address_that_is_another_now() {
    ip("addr del 127.0.0.1/8 dev lo");
    cable("a0", "a1");
    give("a0", "fd00:77::1/64");
    let (bus, told) = start(builder("ff15::79", "fd00:77::1"));
    ip("-6 addr del fd00:77::1/64 dev a0");
    give("a0", "fd00:77::7/64");
    warned(&told, &["fd00:77::1", "a0 (fd00:77::7)"]);
    eventually("at the new address", || {
        bus.unicast_address()
            .is_some_and(|own| own.ip().to_string() == "fd00:77::7")
    });
    eventually("it goes out", || {
        thread::sleep(Duration::from_millis(10));
        bus.emit_named("x", ()).expect("it runs").sent == SendState::Sent
    });
}
