//! What `multicast_interface` "default" comes to, and what is said of interfaces that cannot do
//! multicast.

use std::net::Ipv4Addr;

use eventcast::{Builder, Bus, InterfaceLeftReason, Notice};
use eventcast_tests::{
    runner::Case,
    wait::{Seen, block_on, eventually},
};

use crate::machines::{
    Machine, answer_pings, builder, cable, exchange, give, ip, joined, pongs, role,
};

const GROUP: &str = "239.192.78.1";
const GROUP_ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 192, 78, 1);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case(
            "default_interface::two_cards_without_a_route",
            two_cards_without_a_route,
        ),
        case(
            "default_interface::a_vpn_becomes_the_default",
            a_vpn_becomes_the_default,
        ),
        case(
            "default_interface::a_vpn_without_an_address",
            a_vpn_without_an_address,
        ),
        case("default_interface::a_vpn_alone", a_vpn_alone),
        case(
            "default_interface::all_cards_gone_and_back",
            all_cards_gone_and_back,
        ),
        case(
            "default_interface::the_flag_is_taken_away",
            the_flag_is_taken_away,
        ),
        case(
            "default_interface::unable_ones_by_name_address_and_all",
            unable_ones_by_name_address_and_all,
        ),
        case(
            "default_interface::ipv6_without_a_route",
            ipv6_without_a_route,
        ),
    ]
}

/// Starts a bus, and collects what it tells of its interfaces.
fn start(builder: Builder) -> (Bus, Seen<Notice>) {
    let bus = builder.build().expect("good options");
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| match notice {
        Notice::Warning { .. } | Notice::InterfaceJoined { .. } | Notice::InterfaceLeft { .. } => {
            list.push(notice.clone());
        }
        _ => {}
    });
    block_on(bus.start()).expect("it starts");
    (bus, seen)
}

/// Waits for a warning with all these words.
#[track_caller]
fn warned(seen: &Seen<Notice>, words: &[&str]) {
    eventually(&format!("a warning with {words:?}"), || {
        seen.all().iter().any(|notice| {
            let text = notice.to_string();
            matches!(notice, Notice::Warning { .. }) && words.iter().all(|word| text.contains(word))
        })
    });
}

/// Waits until it is told that an interface was left, and gives why.
#[track_caller]
fn left(seen: &Seen<Notice>, card: &str) -> InterfaceLeftReason {
    let why = || {
        seen.all().iter().find_map(|notice| match notice {
            Notice::InterfaceLeft { name, reason, .. } if name == card => Some(*reason),
            _ => None,
        })
    };
    eventually(&format!("{card} was left"), || why().is_some());
    why().expect("it was there just now")
}

#[track_caller]
fn is_on(cards: &[&str]) {
    let now = || {
        let mut now = joined(GROUP_ADDRESS.into());
        now.sort();
        now
    };
    eventually(&format!("on {cards:?}"), || now() == cards);
}

/// An interface without the flag for multicast, as many VPNs are.
fn vpn(address: Option<&str>) {
    ip("link add vpn0 type veth peer name vpn1");
    ip("link set vpn0 multicast off");
    ip("link set vpn1 addrgenmode none");
    ip("link set vpn1 up");
    if let Some(address) = address {
        give("vpn0", address);
    }
    ip("link set vpn0 up");
}

/// A machine at the end of two cables, which answers by both.
fn two_cables(case: &str) -> Machine {
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let cards = [("b0", "10.77.0.2/24"), ("d0", "10.88.0.2/24")];
    let machine = Machine::new(case, GROUP, "all", &cards);
    for (here, there, own) in [("a0", "b0", "10.77.0.1/24"), ("c0", "d0", "10.88.0.1/24")] {
        machine.plug(here, there);
        give(here, own);
    }
    machine
}

/// As on a robot: a switch that knows of no way out.
fn two_cards_without_a_route() {
    let _machine = two_cables("default_interface::two_cards_without_a_route");
    let (bus, told) = start(builder(GROUP, "default"));
    let pongs = pongs(&bus);
    is_on(&["a0", "c0"]);
    let words = ["a0 (10.77.0.1)", "c0 (10.88.0.1)", "`multicast_interface`"];
    warned(&told, &words);
    exchange(&bus, &pongs, 1);

    ip("route add default via 10.88.0.2");
    is_on(&["c0"]);
    assert_eq!(left(&told, "a0"), InterfaceLeftReason::NotChosen);
    warned(&told, &["route", "c0 (10.88.0.1)", "alone"]);
    exchange(&bus, &pongs, 2);
    // The card that stayed was not left for a moment.
    let texts: Vec<_> = told.all().iter().map(ToString::to_string).collect();
    let about = |card: &str, what: &str| {
        texts
            .iter()
            .any(|text| text.starts_with(what) && text.contains(card))
    };
    assert!(!about("c0", "left") && !about("c0", "joined"), "{texts:?}");

    ip("route del default");
    is_on(&["a0", "c0"]);
    exchange(&bus, &pongs, 3);
}

fn a_vpn_becomes_the_default() {
    let _machine = two_cables("default_interface::a_vpn_becomes_the_default");
    ip("link set c0 down");
    ip("route add default via 10.77.0.2");
    let (bus, told) = start(builder(GROUP, "default"));
    let pongs = pongs(&bus);
    is_on(&["a0"]);
    exchange(&bus, &pongs, 1);
    assert!(told.is_empty(), "{:?}", told.all());

    vpn(Some("10.9.0.1/24"));
    ip("route replace default dev vpn0");
    warned(
        &told,
        &[
            "vpn0",
            "multicast",
            "a0 (10.77.0.1)",
            "`multicast_interface`",
        ],
    );
    exchange(&bus, &pongs, 2);
    is_on(&["a0"]);

    ip("route del default");
    ip("link del vpn0");
    ip("route add default via 10.77.0.2");
    warned(&told, &["route", "a0 (10.77.0.1)", "alone"]);
    exchange(&bus, &pongs, 3);
}

/// The address that the route has as its source is that of the card, so it does not tell where the
/// route leads.
fn a_vpn_without_an_address() {
    let _machine = two_cables("default_interface::a_vpn_without_an_address");
    ip("link set c0 down");
    vpn(None);
    ip("route add default dev vpn0 src 10.77.0.1");
    let (bus, told) = start(builder(GROUP, "default"));
    warned(&told, &["vpn0", "multicast", "a0 (10.77.0.1)"]);
    is_on(&["a0"]);
    exchange(&bus, &pongs(&bus), 1);
}

fn a_vpn_alone() {
    vpn(Some("10.9.0.1/24"));
    ip("route add default dev vpn0");
    let (_bus, told) = start(builder(GROUP, "default"));
    is_on(&["lo"]);
    let advice = "ip link set vpn0 multicast on";
    warned(&told, &["loopback", "vpn0", "MULTICAST", advice]);
    // What was advised helps.
    ip("link set vpn0 multicast on");
    is_on(&["vpn0"]);
    assert_eq!(left(&told, "lo"), InterfaceLeftReason::NotChosen);
}

fn all_cards_gone_and_back() {
    let case = "default_interface::all_cards_gone_and_back";
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let there = ("b0", "10.77.0.2/24");
    let machine = Machine::new(case, GROUP, "b0", &[there]);
    let plug = || {
        machine.plug("a0", "b0");
        give("a0", "10.77.0.1/24");
    };
    plug();
    let (bus, told) = start(builder(GROUP, "default"));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    ip("link del a0");
    is_on(&["lo"]);
    assert_eq!(left(&told, "a0"), InterfaceLeftReason::Gone);
    warned(&told, &["loopback", "only this machine"]);
    plug();
    is_on(&["a0"]);
    exchange(&bus, &pongs, 2);
    assert_eq!(left(&told, "lo"), InterfaceLeftReason::NotChosen);
    let texts: Vec<_> = told.all().iter().map(ToString::to_string).collect();
    let gone = texts
        .iter()
        .any(|text| text.contains("lo (127.0.0.1)") && text.contains("gone"));
    assert!(!gone, "{texts:?}");
    ip("link set a0 down");
    is_on(&["lo"]);
    let down = || {
        let all = told.all();
        let mut left = all.iter().filter_map(|notice| match notice {
            Notice::InterfaceLeft { reason, .. } => Some(*reason),
            _ => None,
        });
        left.any(|reason| reason == InterfaceLeftReason::Down)
    };
    eventually("a0 is told as down", down);
}

fn the_flag_is_taken_away() {
    for (card, address) in [("a0", "10.77.0.1/24"), ("c0", "10.88.0.1/24")] {
        cable(card, &format!("{card}x"));
        give(card, address);
    }
    ip("route add default dev a0");
    let (_bus, told) = start(builder(GROUP, "default"));
    is_on(&["a0"]);
    ip("link set a0 multicast off");
    is_on(&["c0"]);
    warned(&told, &["a0", "MULTICAST", "c0 (10.88.0.1)"]);
    assert_eq!(left(&told, "a0"), InterfaceLeftReason::Refused);
    ip("link set a0 multicast on");
    is_on(&["a0"]);
}

fn unable_ones_by_name_address_and_all() {
    vpn(Some("10.9.0.1/24"));
    cable("a0", "a1");
    give("a0", "10.77.0.1/24");
    // Whoever names it may know better; it is used, and told.
    for choice in ["vpn0", "10.9.0.1"] {
        let (bus, told) = start(builder(GROUP, choice));
        is_on(&["vpn0"]);
        warned(
            &told,
            &["vpn0 (10.9.0.1)", "MULTICAST", "`multicast_interface`"],
        );
        block_on(bus.stop()).expect("it stops");
    }
    let (bus, _) = start(builder(GROUP, "all"));
    is_on(&["a0"]);
    block_on(bus.stop()).expect("it stops");

    ip("link set a0 down");
    for choice in ["a0", "10.77.0.1"] {
        let bus = builder(GROUP, choice).build().expect("good options");
        let text = block_on(bus.start()).expect_err("it is down").to_string();
        for part in ["a0 (10.77.0.1)", "is down", "ip link set a0 up"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    for choice in ["all", "default"] {
        let (bus, told) = start(builder(GROUP, choice));
        is_on(&["lo"]);
        warned(
            &told,
            &["loopback", "a0 (10.77.0.1) is down", "vpn0 (10.9.0.1)"],
        );
        block_on(bus.stop()).expect("it stops");
    }
}

fn ipv6_without_a_route() {
    ip("addr del 127.0.0.1/8 dev lo");
    for (card, address) in [("a0", "fd00:77::1/64"), ("c0", "fd00:88::1/64")] {
        ip(&format!("link add {card} type veth peer name {card}x"));
        // Without an address of the kernel's own, which would take a moment.
        ip(&format!("link set {card} addrgenmode none"));
        ip(&format!("link set {card} up"));
        ip(&format!("link set {card}x up"));
        give(card, address);
    }
    let group = "ff15::78";
    let on = |cards: &[&str]| {
        eventually(&format!("on {cards:?}"), || {
            let mut now = joined(group.parse().expect("a group"));
            now.sort();
            now == cards
        });
    };
    let (_bus, told) = start(builder(group, "default"));
    on(&["a0", "c0"]);
    warned(&told, &["a0 (fd00:77::1)", "c0 (fd00:88::1)"]);
    ip("-6 route add default dev c0");
    on(&["c0"]);
    vpn(Some("fd00:99::1/64"));
    ip("-6 route replace default dev vpn0");
    warned(&told, &["vpn0", "MULTICAST", "a0 (fd00:77::1)"]);
    on(&["a0", "c0"]);
}
