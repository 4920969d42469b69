//! Groups of IPv6, on machines that have no other address at all.

use std::net::{Ipv6Addr, SocketAddr};

use eventcast::{Bus, DropCause, Notice};
use eventcast_tests::{
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    common::{count, fence_between, paced},
    machines::{
        Machine, answer_pings, builder, cable, comings_and_goings, exchange, exchange_with, give,
        ip, joined, pongs, role, started, wait_for,
    },
};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case("ipv6::two_machines_on_one_link", on_one_link),
        case("ipv6::two_machines_on_one_site", on_one_site),
        case("ipv6::all_by_two_cards", all_by_two_cards),
        case(
            "ipv6::a_card_deleted_and_made_again",
            deleted_and_made_again,
        ),
        case("ipv6::a_small_mtu", a_small_mtu),
        case("ipv6::sockets_of_one_machine", sockets_of_one_machine),
        case("ipv6::default_without_a_route", default_without_a_route),
        case("ipv6::errors_name_what_is_there", errors),
    ]
}

/// Two machines with one cable; each card has its link-local address, and this one besides.
fn two(case: &str, group: &str, here: &str, there: &str) -> Machine {
    two_with_mtu(case, group, here, there, 1_500)
}

fn two_with_mtu(case: &str, group: &str, here: &str, there: &str, mtu: u32) -> Machine {
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    no_ipv4();
    let machine = Machine::new(case, group, "b0", &[("b0", there)]);
    machine.plug_with_mtu("a0", "b0", mtu);
    if here != "none" {
        give("a0", here);
    }
    machine
}

fn no_ipv4() {
    ip("addr del 127.0.0.1/8 dev lo");
}

fn on_one_link() {
    let case = "ipv6::two_machines_on_one_link";
    let machine = two(case, "ff12::77", "none", "none");
    // The interface may stand in the group or in its own option.
    for (number, bus) in [
        (1, builder("ff12::77%a0", "default")),
        (2, builder("ff12::77", "a0")),
        (3, builder("ff12::77", "default")),
    ] {
        let bus = started(bus);
        exchange(&bus, &pongs(&bus), number);
        let Some(SocketAddr::V6(own)) = bus.unicast_address() else {
            panic!("{:?}", bus.unicast_address());
        };
        assert!(
            own.ip().is_unicast_link_local() && own.scope_id() > 0,
            "{own}"
        );
        assert_eq!(joined("ff12::77".parse().expect("a group")), ["a0"]);
    }
    drop(machine);
}

fn on_one_site() {
    let case = "ipv6::two_machines_on_one_site";
    let _machine = two(case, "ff15::77", "fd00:77::1/64", "fd00:77::2/64");
    let bus = started(builder("ff15::77", "fd00:77::1"));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    exchange_with(&bus, &pongs, 2, &"x".repeat(20_000));
    let own = bus.unicast_address().expect("it runs");
    assert_eq!(own.ip().to_string(), "fd00:77::1");
}

fn all_by_two_cards() {
    let case = "ipv6::all_by_two_cards";
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    no_ipv4();
    let machine = Machine::new(case, "ff12::78", "all", &[("b0", "none"), ("d0", "none")]);
    machine.plug("a0", "b0");
    machine.plug("c0", "d0");
    let bus = started(builder("ff12::78", "all"));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    // One may have been ready before the other.
    eventually("both cards are joined", || {
        let on = joined("ff12::78".parse().expect("a group"));
        on.len() == 2 && on.iter().all(|card| ["a0", "c0"].contains(&card.as_str()))
    });
    exchange(&bus, &pongs, 1);
    ip("link set a0 down");
    wait_for(&told, "-a0");
    exchange(&bus, &pongs, 2);
    ip("link set a0 up");
    wait_for(&told, "+a0");
    ip("link set c0 down");
    wait_for(&told, "-c0");
    exchange(&bus, &pongs, 3);
}

fn deleted_and_made_again() {
    let case = "ipv6::a_card_deleted_and_made_again";
    let machine = two(case, "ff12::79", "none", "none");
    let bus = started(builder("ff12::79%a0", "default"));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    exchange(&bus, &pongs, 1);
    ip("link del a0");
    wait_for(&told, "-a0");
    machine.plug("a0", "b0");
    wait_for(&told, "+a0");
    exchange(&bus, &pongs, 2);
}

fn a_small_mtu() {
    let case = "ipv6::a_small_mtu";
    // The least that IPv6 has.
    let here_and_there = ("fd00:80::1/64", "fd00:80::2/64");
    let _machine = two_with_mtu(case, "ff15::80", here_and_there.0, here_and_there.1, 1_280);
    for (number, size) in [(1, 1_400), (2, 3_000)] {
        let bus = started(builder("ff15::80", "a0").max_payload_size(size));
        exchange_with(&bus, &pongs(&bus), number, &"x".repeat(20_000));
    }
}

/// What `sockets` tries on loopback with IPv4.
fn sockets_of_one_machine() {
    no_ipv4();
    cable("a0", "a1");
    give("a0", "fd00:77::1/64");
    let bus = |group: &str| started(builder(group, "a0"));

    // Other groups of the port are not heard, and one's own events come once.
    let (a, b, c) = (bus("ff15::1"), bus("ff15::2"), bus("ff15::1"));
    let (a_ping, a_pong) = (count(&a, "ping"), count(&a, "pong"));
    let (b_ping, c_ping) = (count(&b, "ping"), count(&c, "ping"));
    paced(
        100,
        || c_ping.get(),
        |_| {
            a.emit_named("ping", ()).expect("it runs");
            b.emit_named("pong", ()).expect("it runs");
        },
    );
    fence_between(&a, &c);
    fence_between(&c, &a);
    assert_eq!((a_ping.get(), c_ping.get()), (100, 100));
    assert_eq!((a_pong.get(), b_ping.get()), (0, 0));
    assert_eq!(
        a.stats().dropped_for(DropCause::Echo),
        0,
        "{:?}",
        a.stats().dropped
    );
    assert_eq!(a.stats().kernel_drops, 0);

    // The port is shared with those who share it.
    for (port, reuse_address, reuse_port) in [
        (9_778, true, false),
        (9_779, false, true),
        (9_780, false, false),
    ] {
        let other = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        other.set_only_v6(true).expect("an option");
        other.set_reuse_address(reuse_address).expect("an option");
        other.set_reuse_port(reuse_port).expect("an option");
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        other.bind(&any.into()).expect("nobody has the port yet");
        let bus = builder("ff15::3", "a0")
            .port(port)
            .build()
            .expect("good options");
        let outcome = block_on(bus.start()).map_err(|error| error.to_string());
        match outcome {
            Ok(()) => assert!(reuse_address || reuse_port),
            Err(text) => {
                assert!(!reuse_address && !reuse_port, "{text}");
                assert!(text.contains("9780") && text.contains("in use"), "{text}");
            }
        }
    }
}

/// Loopback has to be given a route first; what to do is said.
fn default_without_a_route() {
    no_ipv4();
    let bus = || builder("ff15::4", "default").build().expect("good options");
    let text = block_on(bus().start()).expect_err("no route").to_string();
    for part in [
        "ff15::4",
        "`multicast_interface`",
        "ip -6 route add local ff00::/8 dev lo",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    ip("-6 route add local ff00::/8 dev lo table local");
    let warnings = Seen::new();
    let start = || -> Bus {
        let (bus, warnings) = (bus(), warnings.clone());
        bus.on_notice(move |notice: &Notice| {
            if let Notice::Warning { text, .. } = notice {
                warnings.push(text.clone());
            }
        });
        block_on(bus.start()).expect("loopback has a route");
        bus
    };
    let (a, b) = (start(), start());
    let hello = count(&b, "hello");
    a.emit_named("hello", ()).expect("it runs");
    hello.wait_for(1);
    let warnings = warnings.wait_for(2);
    assert!(
        warnings.iter().all(|text| text.contains("loopback")),
        "{warnings:?}"
    );
}

fn errors() {
    no_ipv4();
    cable("a0", "a1");
    give("a0", "fd00:77::1/64");
    ip("link set a1 down");
    let error = |group: &str, interface: &str| {
        let bus = builder(group, interface).build().expect("good options");
        block_on(bus.start()).expect_err("cannot start").to_string()
    };
    for (group, interface, part) in [
        ("ff15::5", "2001:db8::9", "2001:db8::9"),
        ("ff15::5", "nosuch", "`nosuch`"),
        ("ff12::5%nosuch", "default", "`nosuch`"),
        ("ff15::5", "a1", "`a1` has no IPv6 address"),
    ] {
        let text = error(group, interface);
        assert!(text.contains(part), "{part}: {text}");
        assert!(text.contains("a0 (fd00:77::1)"), "{text}");
        assert!(text.contains("`multicast_interface`"), "{text}");
    }
}
