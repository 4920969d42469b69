//! What is owed to a bus that a sender heard of before the bus heard of the sender.

use super::{
    net::{Net, engine_address, name_of, nothing, number_of},
    sealed::{inner, seal_with},
    *,
};
use crate::proto::wire::control::{self, HELLO, Hello, Owed};

/// Sender 0 has emitted a hundred events when a newcomer starts, and greets it, once it discovers
/// it, by emitting `texts`. `drops` decides which of the sender's datagrams the newcomer does not
/// get, by the time since the greeting and the datagram.
fn greet(
    is_sealed: bool,
    texts: &[&str],
    mut drops: impl FnMut(Option<Duration>, &[u8]) -> bool,
) -> (Net, Vec<String>) {
    let seal = |config: &mut Config| config.seal = is_sealed.then(|| seal_with(7));
    let mut net = Net::with(1, seal);
    net.run(2_000, nothing);
    for i in 0..100 {
        net.emit(0, &format!("old {i}"));
    }
    net.run(5_000, nothing);
    let newcomer = net.start(seal);
    let mut greeted = None;
    for millis in 5_001..12_000 {
        let now = net.now;
        net.run(millis, |by, to, datagram| {
            let since = greeted.map(|greeted| now.saturating_sub(greeted));
            let clear = if is_sealed {
                inner(datagram)
            } else {
                datagram.to_vec()
            };
            (by, to) == (0, 1) && drops(since, &clear)
        });
        if greeted.is_none() && net.events[0].contains(&"joined engine-1".to_owned()) {
            greeted = Some(net.now);
            for text in texts {
                net.emit(0, text);
            }
        }
    }
    assert!(greeted.is_some());
    let told = net.told(newcomer);
    (net, told)
}

#[test]
fn a_greeting_whose_first_datagram_is_lost_comes_all_the_same() {
    for is_sealed in [false, true] {
        let mut lost = false;
        let (_, told) = greet(is_sealed, &["welcome"], |_, datagram| {
            number_of(datagram).is_some() && !std::mem::replace(&mut lost, true)
        });
        assert_eq!(told, ["welcome"], "sealed: {is_sealed}");
        assert!(lost);
    }
}

#[test]
fn whatever_is_lost_of_a_greeting_comes_once_the_sender_is_heard() {
    for is_sealed in [false, true] {
        for silent in [5, 30, 100, 700, 3_000] {
            let (_, told) = greet(is_sealed, &["welcome", "again"], |since, _| {
                since.is_none_or(|since| since < Duration::from_millis(silent))
            });
            assert_eq!(
                told,
                ["welcome", "again"],
                "{silent} ms, sealed: {is_sealed}"
            );
        }
    }
}

#[test]
fn a_greeting_in_chunks_comes_too() {
    let long = "x".repeat(5_000);
    let mut left = 3;
    let (_, told) = greet(false, &[&long, "end"], |_, datagram| {
        let drop = number_of(datagram).is_some() && left > 0;
        left -= i32::from(drop);
        drop
    });
    assert_eq!(told, ["5000 bytes", "end"]);
}

/// Then it is too late to deliver the first one in order.
#[test]
fn what_was_overtaken_is_reported_as_lost() {
    let (_, told) = greet(false, &["first", "second"], |_, datagram| {
        let first = number_of(datagram) == Some(101);
        first
            || name_of(datagram) == HELLO && number_of(datagram).is_none() && first_hello(datagram)
    });
    assert_eq!(told, ["second", "lost Overtaken 101-101"]);
}

/// Whether a hello says that number 102 has not been sent.
fn first_hello(datagram: &[u8]) -> bool {
    let args = crate::codec::RawArgs::from_payload(parse(datagram).rest).unwrap();
    let Ok(control::Control::Hello(hello)) = control::Control::read(HELLO, args) else {
        panic!("it is a hello");
    };
    hello.last < 102
}

#[test]
fn nothing_is_owed_from_before_the_sender_heard_of_it() {
    let (net, told) = greet(false, &[], |_, _| false);
    assert_eq!(told, [""; 0]);
    assert_eq!(net.engines[1].stats().requests_sent, 0);
}

fn forged(owed: u64, up: u64, last: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    let incarnation = 1_795_585_000_000;
    let hello = Hello {
        incarnation,
        last,
        first: 1,
        up: Duration::from_millis(up),
        version: "forged",
        capabilities: Vec::new(),
        token: None,
        owed: vec![Owed {
            id: "engine-1",
            incarnation: incarnation + 1,
            number: owed,
        }],
    };
    control::write_hello(&mut rest, &hello);
    let craft = Craft {
        id: "engine-0",
        incarnation: Some(incarnation),
        name: HELLO,
        rest: &rest,
        ..Craft::default()
    };
    craft.make()
}

#[test]
fn a_forged_debt_costs_one_false_report_at_most() {
    let mut net = Net::new(1);
    net.run(1_000, nothing);
    for i in 0..50 {
        net.emit(0, &i.to_string());
    }
    net.run(2_000, nothing);
    let newcomer = net.start(|config| config.incarnation = 1_795_585_000_001);
    net.run(2_500, nothing);
    net.emit(0, "51");
    net.run(2_600, nothing);
    assert_eq!(net.told(newcomer), ["51"]);
    for owed in [40, 30, 30, 0, 1, 1, 40] {
        let now = net.now();
        // It overtakes nothing: it is as old as the sender is.
        let hello = forged(owed, now.elapsed.as_millis() as u64, 51);
        net.engines[newcomer].handle_datagram(now, engine_address(0), &hello);
    }
    // What is reported too often comes in sum.
    net.run(20_000, nothing);
    let mut lost: Vec<u64> = Vec::new();
    for line in net.told(newcomer) {
        let Some(ranges) = line.strip_prefix("lost Overtaken ") else {
            assert!(line.starts_with("refused"), "{line}");
            continue;
        };
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap();
            lost.extend(first.parse::<u64>().unwrap()..=last.parse().unwrap());
        }
    }
    lost.sort_unstable();
    let each_once: Vec<u64> = (1..=50).collect();
    assert_eq!(lost, each_once);
    assert_eq!(net.engines[newcomer].stats().lost_messages, 50);
    net.emit(0, "52");
    net.run(70_000, nothing);
    assert_eq!(net.told(newcomer), ["52"]);
}

#[test]
fn a_debt_is_claimed_of_a_stream_that_is_new_alone() {
    let mut net = Net::new(1);
    net.run(1_000, nothing);
    net.emit(0, "1");
    net.run(2_000, nothing);
    let newcomer = net.start(|config| config.incarnation = 1_795_585_000_001);
    net.run(63_000, nothing);
    let now = net.now();
    let hello = forged(1, now.elapsed.as_millis() as u64, 1);
    net.engines[newcomer].handle_datagram(now, engine_address(0), &hello);
    net.run(70_000, nothing);
    assert_eq!(net.told(newcomer), [""; 0]);
}

#[test]
fn hellos_are_few_at_any_rate_of_events() {
    for pause in [300, 100, 50, 25, 21, 10] {
        let mut net = Net::new(2);
        net.run(3_000, nothing);
        net.log.clear();
        let mut sent = 0;
        while sent * pause < 10_000 {
            net.emit(0, "e");
            sent += 1;
            net.run(3_000 + sent * pause, nothing);
        }
        let hellos = net
            .log
            .iter()
            .filter(|(_, by, _, datagram)| *by == 0 && name_of(datagram) == HELLO);
        let hellos = hellos.count();
        assert!(hellos <= 44, "{hellos} hellos, an event each {pause} ms");
        assert_eq!(net.told(1).len() as u64, sent);
    }
}

#[test]
fn the_tail_is_found_soon_at_any_rate_of_events() {
    for pause in [100, 40, 21] {
        let mut net = Net::new(2);
        net.run(3_000, nothing);
        for i in 0..50 {
            net.emit(0, "e");
            net.run(3_000 + (i + 1) * pause, nothing);
        }
        net.told(1);
        net.emit(0, "last");
        let mut drops = net::first_of(&[51]);
        net.run(3_000 + 50 * pause + 350, &mut drops);
        assert_eq!(net.told(1), ["last"], "an event each {pause} ms");
    }
}

#[test]
fn made_up_newcomers_are_answered_together() {
    let mut net = Net::new(5);
    net.run(5_000, nothing);
    net.log.clear();
    let made_up = |i: u64| {
        let mut rest = Vec::new();
        let hello = Hello {
            incarnation: i,
            last: 0,
            first: 1,
            up: Duration::ZERO,
            version: "made up",
            capabilities: Vec::new(),
            token: None,
            owed: Vec::new(),
        };
        control::write_hello(&mut rest, &hello);
        let craft = Craft {
            incarnation: Some(i),
            name: HELLO,
            rest: &rest,
            ..Craft::default()
        };
        craft.make()
    };
    // 25 a second, for ten seconds.
    for i in 1..=250 {
        let now = net.now();
        for engine in &mut net.engines {
            engine.handle_datagram(now, address(9666), &made_up(i));
        }
        net.run(5_000 + 40 * i, nothing);
    }
    let hellos = net.count(HELLO);
    assert!(hellos <= 5 * 44, "{hellos}");
    // And one that is real hears of all of them at once, or a moment later.
    let newcomer = net.start(|_| ());
    net.run(15_400, nothing);
    let now = net.now();
    assert_eq!(net.engines[newcomer].peers(now).len(), 5);
}
