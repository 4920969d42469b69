//! Networks as people have them: two machines, cards that come and go, many of them, short frames.

use std::{fs, net::Ipv4Addr, process::Command, time::Duration};

use eventcast::{Args, Bus, DropCause, Received};
use eventcast_tests::{
    process,
    runner::Case,
    wait::{Seen, block_on, eventually},
};

use crate::machines::{
    Machine, answer_pings, builder, cable, comings_and_goings, exchange, exchange_with, give, ip,
    joined, play, pongs, role, started, wait_for,
};

const GROUP: &str = "239.192.77.1";
const GROUP_ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 192, 77, 1);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case("networks::two_machines", two_machines),
        case("networks::a_small_mtu", a_small_mtu),
        case(
            "networks::a_card_deleted_and_made_again",
            deleted_and_made_again,
        ),
        case("networks::an_address_that_changes", an_address_that_changes),
        case(
            "networks::the_default_that_comes_later",
            the_default_that_comes_later,
        ),
        case("networks::all_by_two_cards", all_by_two_cards),
        case("networks::all_by_25_cards", all_by_25_cards),
        case(
            "networks::no_permission_for_a_port",
            no_permission_for_a_port,
        ),
        case("networks::errors_name_what_is_there", errors),
    ]
}

/// The two ends of the cable between the two machines.
const HERE: (&str, &str) = ("a0", "10.77.0.1/24");
const THERE: (&str, &str) = ("b0", "10.77.0.2/24");

/// Plugs in this machine's card, and switches the other one on.
fn two(case: &str) -> Machine {
    two_with_mtu(case, 1_500)
}

fn two_with_mtu(case: &str, mtu: u32) -> Machine {
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let machine = Machine::new(case, GROUP, THERE.0, &[THERE]);
    machine.plug_with_mtu(HERE.0, THERE.0, mtu);
    give(HERE.0, HERE.1);
    machine
}

fn two_machines() {
    let _machine = two("networks::two_machines");
    let bus = started(builder(GROUP, HERE.0));
    let pongs = pongs(&bus);
    exchange(&bus, &pongs, 1);
    exchange_with(&bus, &pongs, 2, &"x".repeat(20_000));
    assert_eq!(joined(GROUP_ADDRESS.into()), [HERE.0]);
}

fn a_small_mtu() {
    let _machine = two_with_mtu("networks::a_small_mtu", 576);
    // Beyond 1,472 the user asks for fragments; below, this network makes them.
    for (number, size) in [(1, 1_024), (2, 3_000)] {
        let bus = started(builder(GROUP, HERE.0).max_payload_size(size));
        exchange_with(&bus, &pongs(&bus), number, &"x".repeat(20_000));
    }
    let counted = fs::read_to_string("/proc/net/snmp").expect("Linux counts");
    let mut lines = counted.lines().filter(|line| line.starts_with("Ip:"));
    let (names, figures) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let made = names.split(' ').position(|name| name == "FragCreates");
    let made = made.and_then(|column| figures.split(' ').nth(column)?.parse::<u64>().ok());
    assert!(made.is_some_and(|made| made >= 40), "{counted}");
}

fn deleted_and_made_again() {
    let machine = two("networks::a_card_deleted_and_made_again");
    let bus = started(builder(GROUP, HERE.0));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    for number in 1..=2 {
        exchange(&bus, &pongs, 2 * number);
        ip("link del a0");
        wait_for(&told, "-a0");
        machine.plug(HERE.0, THERE.0);
        give(HERE.0, HERE.1);
        wait_for(&told, "+a0");
        exchange(&bus, &pongs, 2 * number + 1);
        assert_eq!(told.take(), ["-a0", "+a0"]);
    }
    assert_eq!(joined(GROUP_ADDRESS.into()), [HERE.0]);
}

fn an_address_that_changes() {
    let _machine = two("networks::an_address_that_changes");
    let bus = started(builder(GROUP, HERE.0));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    exchange(&bus, &pongs, 1);
    let before = bus.unicast_address().expect("it runs");
    ip("addr del 10.77.0.1/24 dev a0");
    give(HERE.0, "10.77.0.9/24");
    wait_for(&told, "+a0");
    exchange(&bus, &pongs, 2);
    let after = bus.unicast_address().expect("it runs");
    assert_eq!(after.ip().to_string(), "10.77.0.9");
    assert_eq!(after.port(), before.port());
    let own = Seen::new();
    let hosts = own.clone();
    let other = started(builder(GROUP, HERE.0));
    other.on_named("who", move |e: &Received<Args>| {
        hosts.push((e.origin().host().to_owned(), e.origin().address()));
    });
    // Its own listeners are told the same of it as others are.
    let at_home = Seen::new();
    let hosts = at_home.clone();
    bus.on_named("who", move |e: &Received<Args>| {
        hosts.push((e.origin().host().to_owned(), e.origin().address()));
    });
    bus.emit_named("who", ()).expect("it runs");
    let here = [("10.77.0.9".to_owned(), after)];
    assert_eq!(own.wait_for(1), here);
    assert_eq!(at_home.all(), here);
}

/// A machine that is not on any network when its bus starts.
fn the_default_that_comes_later() {
    let case = "networks::the_default_that_comes_later";
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let bus = started(builder(GROUP, "default"));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    assert_eq!(joined(GROUP_ADDRESS.into()), ["lo"]);
    let machine = Machine::new(case, GROUP, THERE.0, &[THERE]);
    machine.plug(HERE.0, THERE.0);
    give(HERE.0, HERE.1);
    ip("route add default via 10.77.0.2");
    wait_for(&told, "+a0");
    exchange(&bus, &pongs, 1);
    assert_eq!(joined(GROUP_ADDRESS.into()), [HERE.0]);
}

/// Both cables lead to the same machine, so everything arrives there twice.
fn all_by_two_cards() {
    let case = "networks::all_by_two_cards";
    if let Some(words) = role() {
        answer_pings(&words, |builder| builder);
    }
    let cards = [("b0", "10.77.0.2/24"), ("d0", "10.88.0.2/24")];
    let machine = Machine::new(case, GROUP, "all", &cards);
    for (here, there, own) in [("a0", "b0", "10.77.0.1/24"), ("c0", "d0", "10.88.0.1/24")] {
        machine.plug(here, there);
        give(here, own);
    }
    let bus = started(builder(GROUP, "all"));
    let (pongs, told) = (pongs(&bus), comings_and_goings(&bus));
    let mut on = joined(GROUP_ADDRESS.into());
    on.sort();
    assert_eq!(on, ["a0", "c0"]);
    exchange(&bus, &pongs, 0);

    // One card fails while events go on, and comes back.
    for number in 1..=40 {
        match number {
            10 => ip("link set c0 down"),
            20 => wait_for(&told, "-c0"),
            25 => {
                ip("link set c0 up");
                wait_for(&told, "+c0");
            }
            _ => {}
        }
        // By the other card they get through meanwhile, and once each.
        bus.emit_named("ping", (number, "")).expect("it runs");
        eventually(&format!("{number} got through"), || {
            pongs.all().contains(&number)
        });
    }
    let arrived: Vec<_> = pongs
        .take()
        .into_iter()
        .filter(|number| *number > 0)
        .collect();
    assert_eq!(arrived, (1..=40).collect::<Vec<_>>());
    let doubles = bus.stats().dropped_for(DropCause::Duplicate);
    assert!(doubles >= 20, "what came by the second card: {doubles}");
}

fn all_by_25_cards() {
    const CARDS: u8 = 25;
    let name = |card: u8| format!("m{card}");
    for card in 1..=CARDS {
        cable(&name(card), &format!("n{card}"));
        // The far ends have no address, so nobody joins there.
        give(&name(card), &format!("10.99.{card}.1/24"));
    }
    let bus = started(builder(GROUP, "all"));
    assert_eq!(joined(GROUP_ADDRESS.into()).len(), usize::from(CARDS));
    let from = Seen::new();
    let list = from.clone();
    bus.on_named("card", move |e: &Received<Args>| {
        list.push(e[0].as_i32().expect("its number"));
    });
    // What is sent by one card is heard on that card alone.
    let heard = Seen::new();
    for card in 1..=CARDS {
        let one: Bus = started(builder(GROUP, &name(card)));
        one.emit_named("card", (i32::from(card),)).expect("it runs");
        from.wait_for(usize::from(card));
        let (heard, answered) = (heard.clone(), one.wait_for_named("all"));
        one.on_named("all", move |e: &Received<Args>| {
            heard.push(e.origin().host().to_owned());
        });
        bus.emit_named("all", ()).expect("it runs");
        block_on(answered).expect("it came");
    }
    assert_eq!(from.take(), (1..=i32::from(CARDS)).collect::<Vec<_>>());
    let hosts: Vec<_> = (1..=CARDS).map(|card| format!("10.99.{card}.1")).collect();
    assert_eq!(heard.wait_for(hosts.len()), hosts);
}

fn no_permission_for_a_port() {
    if role().is_some() {
        for (options, option) in [
            (builder(GROUP, "127.0.0.1").port(80), "`port`"),
            (
                builder(GROUP, "127.0.0.1").unicast_port(81),
                "`unicast_port`",
            ),
        ] {
            let bus = options.build().expect("good options");
            let text = block_on(bus.start())
                .expect_err("not for everybody")
                .to_string();
            for part in ["permission", option, "1024"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        return;
    }
    // Whoever runs this may be allowed to: a process without that right is asked.
    ip("link set lo up");
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024").expect("this machine's own");
    let without = [
        "setpriv",
        "--bounding-set=-net_bind_service",
        "--inh-caps=-net_bind_service",
    ];
    let mut command: Command = play(
        "networks::no_permission_for_a_port",
        &without,
        "unprivileged",
    );
    if let Err(error) = process::run(&mut command, Duration::from_secs(30)) {
        panic!("{error}");
    }
}

fn errors() {
    cable("a0", "a1");
    give("a0", "10.77.0.1/24");
    let error = |interface: &str| {
        let bus = builder(GROUP, interface).build().expect("good options");
        block_on(bus.start()).expect_err("cannot start").to_string()
    };
    for (interface, parts) in [
        ("10.99.0.1", ["10.99.0.1", "a0 (10.77.0.1)"]),
        ("nosuch", ["`nosuch`", "a0 (10.77.0.1)"]),
        ("a1", ["`a1` has no IPv4 address", "a0 (10.77.0.1)"]),
    ] {
        let text = error(interface);
        for part in parts {
            assert!(text.contains(part), "{interface}: {text}");
        }
        assert!(text.contains("`multicast_interface`"), "{text}");
    }
    ip("link set a0 down");
    let text = error("a0");
    assert!(
        text.contains("a0 (10.77.0.1)") && text.contains("is up"),
        "{text}"
    );
}
