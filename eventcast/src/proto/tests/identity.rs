//! Who a sender is, and since when: two that share an id, one that was started again, clocks that
//! are set.

use super::{
    net::{Net, engine_address, nothing},
    sealed::seal_with,
    *,
};

/// 0 and 1 share an id, 2 looks on.
fn twins(is_sealed: bool) -> Net {
    Net::with(3, |config| {
        if config.port < 9002 {
            config.id = "twin".to_owned();
        }
        config.seal = is_sealed.then(|| seal_with(7));
    })
}

#[test]
fn buses_that_share_an_id_are_two_peers_and_the_clash_is_reported() {
    for is_sealed in [false, true] {
        let mut net = twins(is_sealed);
        let mut expected = Vec::new();
        for i in 0..95 {
            let text = i.to_string();
            net.emit(i % 2, &text);
            expected.push(text);
            net.run(100 * (i as u64 + 1), nothing);
        }
        net.run(9_700, nothing);
        assert_eq!(
            net.events[2]
                .iter()
                .filter(|told| *told == "joined twin")
                .count(),
            2
        );
        let mut told = net.told(2);
        assert_eq!(
            told.iter().filter(|told| *told == "clash twin").count(),
            1,
            "{told:?}"
        );
        told.retain(|told| told != "clash twin");
        assert_eq!(told, expected);
        let now = net.now();
        assert_eq!(net.engines[2].peers(now).len(), 2);
        // They see it of each other.
        for i in 0..2 {
            assert!(net.told(i).contains(&"clash twin".to_owned()));
        }
    }
}

/// A shared id is reported at most once in ten seconds, with the number of datagrams that showed
/// it, and a clash at another address is reported beside it.
#[test]
fn one_clash_hides_no_other_and_what_follows_is_summed_up() {
    let mut bob = engine(config("bob"));
    let datagram = Craft {
        id: "bob",
        incarnation: Some(7),
        ..Craft::default()
    };
    let mut seq_id = 0;
    let mut clashes = |bob: &mut Engine, millis: u64, ip: u8| {
        seq_id += 1;
        let datagram = Craft {
            seq_id: [seq_id; 20],
            ..datagram
        };
        let from = ([10, 0, 0, ip], 9_000).into();
        bob.handle_datagram(at(millis), from, &datagram.make());
        counts(bob)
    };
    let first = |ip: u8| vec![(([10, 0, 0, ip], 9_000).into(), 1)];
    assert_eq!(clashes(&mut bob, 0, 1), first(1));
    assert_eq!(clashes(&mut bob, 10, 2), first(2), "another one");
    for i in 1..=20 {
        assert_eq!(clashes(&mut bob, 400 * i, 1), []);
    }
    bob.handle_timeout(at(9_999));
    assert_eq!(counts(&mut bob), []);
    bob.handle_timeout(at(10_000));
    assert_eq!(counts(&mut bob), [(([10, 0, 0, 1], 9_000).into(), 20)]);
    assert_eq!(clashes(&mut bob, 11_000, 1), []);
    // What is held back is told at the end.
    bob.leave(at(11_000));
    assert_eq!(counts(&mut bob), first(1));
}

/// Where clashes are told of, and how many datagrams showed each.
fn counts(engine: &mut Engine) -> Vec<(SocketAddr, u64)> {
    let mut events = Events::new();
    engine.take_events(&mut events);
    let clash = |event: Event<'_>| match event {
        Event::IdClash {
            peer,
            other: None,
            count,
        } => Some((peer.address, count)),
        _ => None,
    };
    events.iter().filter_map(clash).collect()
}

#[test]
fn who_comes_later_is_owed_nothing_of_two_that_share_an_id() {
    for is_sealed in [false, true] {
        let mut net = twins(is_sealed);
        net.run(100, nothing);
        for i in 0..200 {
            net.emit(i % 2, "old");
        }
        net.run(3_000, nothing);
        let late = net.start(|config| config.seal = is_sealed.then(|| seal_with(7)));
        net.run(4_000, nothing);
        net.emit(0, "new");
        net.emit(1, "new too");
        net.run(15_000, nothing);
        let mut told = net.told(late);
        told.retain(|told| told != "clash twin");
        assert_eq!(told, ["new", "new too"]);
        assert_eq!(net.engines[late].stats().lost_messages, 0);
    }
}

#[test]
fn one_that_is_started_again_is_no_clash() {
    // Once after the other, with a clock that goes on, stands still, or was set back.
    for (life, incarnation) in [2_000_000_000_000, 5, 1_795_585_000_001]
        .into_iter()
        .enumerate()
    {
        let mut net = Net::new(2);
        net.run(2_000 + life as u64, nothing);
        let now = net.now();
        let config = Config::new("engine-0", incarnation, HOST, 9000);
        net.engines[0] = Engine::new(config, [9; 32], now);
        net.run(2_100, nothing);
        net.emit(0, "again");
        net.run(20_000, nothing);
        assert_eq!(
            net.told(1),
            ["again", "left engine-0 Restarted"],
            "{incarnation}"
        );
        let now = net.now();
        let peers = net.engines[1].peers(now);
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].peer.incarnation, Some(incarnation));
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_older() {
    for hours in [-1, 1, -24] {
        let mut net = Net::new(1);
        net.run(1_000, nothing);
        for _ in 0..5_000 {
            net.emit(0, "old");
            if net.engines[0].queued_bytes() > 1 << 20 {
                net.run(net.now.as_millis() as u64 + 10, nothing);
            }
        }
        net.run(3_700_000, nothing);
        net.ahead[0] = hours * 3_600_000;
        net.run(3_701_000, nothing);
        let late = net.start(|_| ());
        // A message is the first that it hears of the sender.
        let no_hello = |_: usize, to: usize, datagram: &[u8]| {
            to == 1 && net::name_of(datagram) == "__ec_hello"
        };
        net.run(3_701_200, no_hello);
        net.emit(0, "new");
        net.run(3_701_250, no_hello);
        net.run(3_720_000, nothing);
        assert_eq!(net.told(late), ["new"], "{hours} h");
        assert_eq!(net.engines[late].stats().requests_sent, 0);
    }
}

#[test]
fn a_clock_that_is_set_hides_no_loss() {
    for hours in [-1, 1, 24] {
        let mut net = Net::new(1);
        net.run(10_000, nothing);
        let sender = net.start(|_| ());
        // Nothing of it is heard at first.
        let mute = |by: usize, _: usize, _: &[u8]| by == 1;
        net.run(10_100, mute);
        net.ahead[sender] = hours * 3_600_000;
        for i in 1..=3 {
            net.emit(sender, &i.to_string());
            net.run(10_100 + 10 * i, mute);
        }
        let no_hello = |by: usize, _: usize, datagram: &[u8]| {
            by == 1 && net::name_of(datagram) == "__ec_hello"
        };
        net.emit(sender, "4");
        net.run(10_140, no_hello);
        net.run(20_000, nothing);
        assert_eq!(net.told(0), ["1", "2", "3", "4"], "{hours} h");
    }
}

/// A peer that says no hello is believed by its messages after a while.
#[test]
fn a_message_without_a_hello_waits_for_a_moment_alone() {
    let mut net = Net::new(1);
    net.run(10_000, nothing);
    let sender = net.start(|_| ());
    let drops = |by: usize, _: usize, datagram: &[u8]| {
        by == 1 && (net::number_of(datagram) == Some(1) || net::name_of(datagram) == "__ec_hello")
    };
    net.emit(sender, "lost");
    net.emit(sender, "here");
    net.run(11_000, drops);
    assert_eq!(net.told(0), [""; 0]);
    net.run(11_700, |by, _, datagram| {
        by == 1 && net::name_of(datagram) == "__ec_hello"
    });
    assert_eq!(net.told(0), ["lost", "here"]);
}

/// Engine 0 has said this, of which some is lost, and engine 1 is started again at its address
/// before it gets what is sent again, which is given as well: where it went, and the datagrams.
fn start_again(
    is_sealed: bool,
    texts: &[&str],
    loses: impl Fn(usize, &[u8]) -> bool,
) -> (Net, Vec<(Destination, Vec<u8>)>) {
    let seal = |config: &mut Config| config.seal = is_sealed.then(|| seal_with(7));
    let mut net = Net::with(8, seal);
    net.run(6_000, nothing);
    for text in texts {
        net.emit(0, text);
    }
    let before = net.log.len();
    let loses = |by: usize, to: usize, datagram: &[u8]| by == 0 && loses(to, datagram);
    net.run(6_020, loses);
    // Nothing of what is sent again reaches anybody.
    let mut seen = std::collections::HashSet::new();
    net.run(6_200, |by, _, _| by == 0);
    let mut repairs = Vec::new();
    for (_, by, to, datagram) in &net.log[before..] {
        let clear = if is_sealed {
            sealed::inner(datagram)
        } else {
            datagram.clone()
        };
        let name = net::name_of(&clear);
        if *by == 0 && (name == "e" && !seen.insert(clear) || name == "__ec_again") {
            repairs.push((*to, datagram.clone()));
        }
    }
    // A process takes the place of the first one, with another incarnation.
    let now = net.now();
    let mut config = Config::new("engine-1", now.unix_ms, HOST, 9001);
    seal(&mut config);
    net.engines[1] = Engine::new(config, [9; 32], now);
    net.told(1);
    (net, repairs)
}

/// What is sent again comes to the new process at once, or after the sender's hello; then it is
/// told of no losses of before, and gets what is new.
fn is_told_of_nothing_old(mut net: Net, repairs: &[(Destination, Vec<u8>)], after_hello: bool) {
    if after_hello {
        net.run(7_300, |by, to, _| by == 0 && to != 1);
    }
    for (to, datagram) in repairs {
        let now = net.now();
        match to {
            Destination::Peer(_) => net.engines[1].handle_unicast(now, engine_address(0), datagram),
            Destination::Group => net.engines[1].handle_datagram(now, engine_address(0), datagram),
        }
    }
    net.run(8_000, nothing);
    net.emit(0, "new");
    net.run(30_000, nothing);
    let mut told = net.told(1);
    told.retain(|told| !told.starts_with("refused") && !told.starts_with("left"));
    assert_eq!(told, ["new"], "after the hello: {after_hello}");
    let stats = net.engines[1].stats();
    assert_eq!((stats.lost_messages, stats.requests_sent), (0, 0));
}

const OLD: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];

#[test]
fn a_repair_for_one_that_was_there_before_begins_no_stream() {
    for is_sealed in [false, true] {
        for after_hello in [false, true] {
            let misses = |to: usize, datagram: &[u8]| to == 1 && third(is_sealed, datagram);
            let (net, repairs) = start_again(is_sealed, &OLD, misses);
            assert!(!repairs.is_empty());
            assert!(
                repairs
                    .iter()
                    .all(|(to, _)| *to == Destination::Peer(engine_address(1)))
            );
            is_told_of_nothing_old(net, &repairs, after_hello);
        }
    }
}

#[test]
fn a_repair_for_several_begins_no_stream() {
    for is_sealed in [false, true] {
        for after_hello in [false, true] {
            let misses = |_: usize, datagram: &[u8]| third(is_sealed, datagram);
            let (net, repairs) = start_again(is_sealed, &OLD, misses);
            assert!(repairs.iter().any(|(to, _)| *to == Destination::Group));
            is_told_of_nothing_old(net, &repairs, after_hello);
        }
    }
}

#[test]
fn nor_does_a_chunk_of_one() {
    let long = "x".repeat(5_000);
    let texts = ["1", "2", &long, "4", "5"];
    for is_sealed in [false, true] {
        for after_hello in [false, true] {
            for all in [false, true] {
                let misses =
                    |to: usize, datagram: &[u8]| (all || to == 1) && third(is_sealed, datagram);
                let (net, repairs) = start_again(is_sealed, &texts, misses);
                assert!(!repairs.is_empty());
                is_told_of_nothing_old(net, &repairs, after_hello);
            }
        }
    }
}

/// Whether a datagram is the third message, or a chunk of it.
fn third(is_sealed: bool, datagram: &[u8]) -> bool {
    let clear = if is_sealed {
        sealed::inner(datagram)
    } else {
        datagram.to_vec()
    };
    net::number_of(&clear) == Some(3)
}

/// A clock that shows the same millisecond again gives a second start the incarnation of the first.
/// Then what it says under numbers that were used is a duplicate; nothing comes twice, and what
/// follows comes.
#[test]
fn a_second_start_with_the_same_incarnation_delivers_nothing_twice() {
    for is_sealed in [false, true] {
        let seal = |config: &mut Config| config.seal = is_sealed.then(|| seal_with(7));
        let mut net = Net::with(2, seal);
        net.run(6_000, nothing);
        for text in ["1", "2", "3"] {
            net.emit(0, text);
        }
        net.run(8_000, nothing);
        assert_eq!(net.told(1), ["1", "2", "3"]);
        let now = net.now();
        let mut config = Config::new("engine-0", 1_795_585_000_000, HOST, 9000);
        seal(&mut config);
        net.engines[0] = Engine::new(config, [9; 32], now);
        let mut expected = Vec::new();
        for number in 1..=200 {
            let text = format!("again {number}");
            net.emit(0, &text);
            net.run(8_000 + 100 * number, nothing);
            expected.push(text);
        }
        let mut told = net.told(1);
        told.retain(|line| line.starts_with("again"));
        // The last ones are there, in order, and each once.
        let last = &expected[expected.len() - told.len()..];
        assert_eq!(told, last, "sealed: {is_sealed}");
        assert!(told.len() >= 100, "sealed: {is_sealed}: {}", told.len());
    }
}
