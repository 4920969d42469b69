//! Sealed buses: that they work as clear ones do, and that nobody else gets a word in.

use std::{collections::BTreeSet, sync::Mutex};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{
    net::{Net, engine_address, nothing},
    vectors::{from_extended_json, same},
    *,
};
use crate::proto::{
    seal::{sealed_len, vectors},
    wire::control::{self, NACK},
};

fn seal_with(root: u8) -> SealConfig {
    let rng = Mutex::new(StdRng::from_seed([root; 32]));
    let ivs = IvSource::new(move |bytes| rng.lock().unwrap().fill_bytes(bytes));
    let keys = SealKeys::new(SealKey::from_root(&[root; 32]));
    SealConfig::new(keys, [224, 0, 0, 1].into(), 9000, ivs)
}

fn sealed(config: Config) -> Config {
    Config {
        seal: Some(seal_with(7)),
        ..config
    }
}

fn sealed_net(count: usize) -> Net {
    Net::with(count, |config| config.seal = Some(seal_with(7)))
}

/// What stands in a sealed datagram of these tests.
fn inner(datagram: &[u8]) -> Vec<u8> {
    vectors::peek(&seal_with(7), datagram)
        .expect("it is sealed")
        .inner
}

fn inner_name(datagram: &[u8]) -> String {
    net::name_of(&inner(datagram))
}

fn drops(engine: &Engine) -> Vec<(DropCause, u64)> {
    let drops = engine.stats().drops;
    drops.iter().filter(|(_, count)| *count > 0).collect()
}

/// Engine and time of a vector's receiver, which started after the sender: what was before is not owed to it.
fn receiver(vector: &vectors::Vector) -> (Engine, Now) {
    let ivs = IvSource::new(|bytes| bytes.fill(1));
    let mut config = Config::new(vector.receiver.as_str(), 1, HOST, 9001);
    config.seal = Some(SealConfig::new(
        vector.keys(),
        vector.group,
        vector.port,
        ivs,
    ));
    let started = Now {
        elapsed: Duration::ZERO,
        unix_ms: vector.now - 1000,
    };
    let now = Now {
        elapsed: Duration::from_secs(1),
        unix_ms: vector.now,
    };
    (Engine::new(config, [1; 32], started), now)
}

#[test]
fn the_good_vectors_are_delivered_once() {
    let mut delivered = 0;
    for vector in vectors::good() {
        let (mut engine, now) = receiver(&vector);
        engine.handle_datagram(now, address(9100), &vector.datagram);
        let mut events = Events::new();
        engine.take_events(&mut events);
        let event = vector.text("event").unwrap();
        let is_chunk = vector.all["args"] == Value::Null;
        if is_chunk {
            assert_eq!(engine.stats().incomplete_messages, 1);
            assert_eq!(drops(&engine), []);
        } else if event.starts_with("__ec_") {
            // The nack asks another incarnation.
            let asks = (event == NACK).then_some((DropCause::Unsolicited, 1));
            assert_eq!(drops(&engine), Vec::from_iter(asks), "{}", vector.label);
        } else {
            delivered += 1;
            let Some(Event::Message(message)) = events.get(0) else {
                panic!("{}: {:?}", vector.label, drops(&engine));
            };
            assert_eq!((message.name, message.sealed), (event, true));
            let array = bson::RawDocument::from_bytes(message.args.parts().1).unwrap();
            let args = bson::Document::try_from(array).unwrap();
            let args: Vec<Bson> = args.into_iter().map(|(_, value)| value).collect();
            let expected = vector.all["args"].as_array().unwrap();
            let expected: Vec<_> = expected.iter().map(from_extended_json).collect();
            assert!(same(&args, &expected), "{}", vector.label);
            assert_eq!(message.peer.id, vector.text("sender").unwrap());
        }
        let before = engine.stats().drops.total();
        engine.handle_datagram(now, address(9100), &vector.datagram);
        assert_eq!(engine.stats().drops.get(DropCause::Double), 1);
        assert_eq!(engine.stats().drops.total(), before + 1);
        assert!(!engine.take_events(&mut events), "a double is not reported");
    }
    assert_eq!(delivered, 6);
}

#[test]
fn the_bad_vectors_are_refused_for_their_cause() {
    for vector in vectors::bad() {
        let (mut engine, now) = receiver(&vector);
        engine.handle_datagram(now, address(9100), &vector.datagram);
        let cause = vector.text("cause").unwrap();
        let counted: Vec<_> = drops(&engine)
            .into_iter()
            .map(|(cause, count)| (cause.name(), count))
            .collect();
        assert_eq!(counted, [(cause, 1)], "{}", vector.label);
        let mut events = Events::new();
        engine.take_events(&mut events);
        let Some(Event::Refused(refused)) = events.get(0) else {
            panic!("{}", vector.label)
        };
        assert_eq!((events.len(), refused.from), (1, Some(address(9100))));
        let unopened = matches!(cause, "suite" | "key" | "mac") || vector.label.contains("cut off");
        assert_eq!(refused.unopened, unopened, "{}", vector.label);
        let ahead = (cause == "time").then_some(-30_001);
        assert_eq!(refused.clock_ahead_ms, ahead);
        assert_eq!(engine.stats().peers, 0);
        assert_eq!(engine.next_transmit(), None);
    }
}

#[test]
fn repair_and_replay_protection_do_not_fight() {
    for seed in 0..5 {
        let mut net = Net::with(4, |config| {
            config.seal = Some(seal_with(7));
            config.message_retransmit_attempts = 30;
        });
        net.run(100, nothing);
        let mut rng = StdRng::from_seed([seed; 32]);
        let mut lossy = |_: usize, _: usize, _: &[u8]| rng.random_bool(0.1);
        for i in 0..300 {
            net.emit(0, &i.to_string());
            net.emit(1, &"x".repeat(3000 + i));
            net.run(100 + 3 * (i as u64 + 1), &mut lossy);
        }
        net.run(10_000, &mut lossy);
        net.run(12_000, nothing);
        let expected: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        for i in 1..4 {
            let told = net.told(i);
            let small: Vec<_> = told
                .iter()
                .filter(|text| !text.ends_with("bytes"))
                .collect();
            assert_eq!(small, Vec::from_iter(&expected), "{seed} {i}");
            if i > 1 {
                assert_eq!(told.len(), 600, "{seed} {i}");
            }
            assert!(net.engines[i].stats().repaired_messages > 10);
            let causes = drops(&net.engines[i]);
            let ordinary = causes.iter().all(|(cause, _)| {
                matches!(
                    cause,
                    DropCause::Double | DropCause::Echo | DropCause::Unsolicited
                )
            });
            assert!(ordinary, "{causes:?}");
        }
        // Everything went sealed, no counter went twice, and no repair was wrapped.
        let mut counters = BTreeSet::new();
        for (_, by, to, datagram) in &net.log {
            let peeked = vectors::peek(&seal_with(7), datagram).unwrap();
            assert!(counters.insert((*by, peeked.counter)));
            assert_eq!(peeked.counter >> 63 == 1, *to != Destination::Group);
            assert_ne!(net::name_of(&peeked.inner), control::AGAIN);
        }
    }
}

#[test]
fn several_who_miss_the_same_get_it_by_way_of_the_group_as_it_was() {
    let mut net = sealed_net(10);
    net.run(100, nothing);
    net.emit(0, "a");
    net.emit(0, "b");
    let mut dropped = BTreeSet::new();
    net.run(200, |_, to, datagram| {
        net::number_of(&inner(datagram)) == Some(1) && dropped.insert(to)
    });
    for i in 1..10 {
        assert_eq!(net.told(i), ["a", "b"], "{i}");
    }
    let firsts = net.log.iter().filter(|(_, _, to, datagram)| {
        *to == Destination::Group && net::number_of(&inner(datagram)) == Some(1)
    });
    let firsts: Vec<_> = firsts.map(|(_, _, _, datagram)| inner(datagram)).collect();
    assert!((2..=3).contains(&firsts.len()), "{}", firsts.len());
    assert!(firsts.iter().all(|first| *first == firsts[0]));
}

/// A bus that is started at this moment, with a configured id.
fn start(id: &str, incarnation: u64, now: Now) -> Engine {
    let config = Config::new(id, incarnation, HOST, 9001);
    Engine::new(sealed(config), [incarnation as u8; 32], now)
}

fn emit(engine: &mut Engine, now: Now, text: &str) -> Vec<Vec<u8>> {
    let payload = payload(vec![text.into()]);
    let event = Outgoing {
        best_effort: false,
        ..outgoing("e", &payload)
    };
    engine.emit(now, event).unwrap();
    datagrams(engine, now)
}

/// The messages, by their texts.
fn heard(engine: &mut Engine, now: Now, from: u16, datagrams: &[Vec<u8>]) -> Vec<String> {
    for datagram in datagrams {
        engine.handle_datagram(now, address(from), datagram);
    }
    let mut events = Events::new();
    engine.take_events(&mut events);
    let messages = events
        .iter()
        .filter(|event| matches!(event, Event::Message(_)));
    messages.map(|event| net::words(&event)).collect()
}

#[test]
fn a_restarted_sender_is_heard_at_once_also_when_its_clock_went_back() {
    let mut bob = start("bob", 1, at(0));
    let mut lives = Vec::new();
    // Its incarnation is its clock: in the third life that has gone back by more than all lives together.
    for (life, incarnation) in (0..).zip([1_000_000, 1_000_001, 3, 2_000_000]) {
        let now = at(1000 * life);
        let mut alice = start("alice", incarnation, now);
        let mut said = Vec::new();
        for i in 0..500 {
            said.extend(emit(&mut alice, now, &i.to_string()));
        }
        assert_eq!(heard(&mut bob, now, 9100, &said).len(), 500, "{life}");
        // The same address and port, or another: it makes no difference.
        assert_eq!(heard(&mut bob, now, 9100 + life as u16, &said), [""; 0]);
        lives.push(said);
    }
    for said in &lives {
        assert_eq!(heard(&mut bob, at(5000), 9100, said), [""; 0]);
    }
    assert_eq!(drops(&bob), [(DropCause::Double, 4000)]);
}

#[test]
fn what_can_be_shown_again_to_a_receiver_that_was_restarted() {
    let mut alice = start("alice", 1, at(0));
    // One event every 100 ms for 20 s; the receiver is started anew at 10 s, and hears nothing but what is replayed.
    let mut recorded = Vec::new();
    for i in 0..200 {
        recorded.extend(emit(&mut alice, at(100 * i), &i.to_string()));
    }
    let started = 10_000;
    let mut bob = start("bob", 1, at(started));
    let shown = heard(&mut bob, at(20_000), 9666, &recorded);
    // What was sent up to a second before its start, in order, and no more.
    let fresh: Vec<String> = (90..200).map(|i| i.to_string()).collect();
    assert_eq!(shown, fresh);
    assert_eq!(drops(&bob), [(DropCause::Old, 90)]);
    // Once, whoever shows it.
    assert_eq!(heard(&mut bob, at(20_000), 9667, &recorded), [""; 0]);
    // In any other order only what is above the highest so far: here the last one alone.
    let mut carol = start("carol", 1, at(started));
    recorded.reverse();
    assert_eq!(heard(&mut carol, at(20_000), 9666, &recorded), ["199"]);
    // After 30 s everything is stale; there is no time at which both rules leave a gap.
    for millis in (started..100_000).step_by(500) {
        let mut dave = start("dave", 1, at(started));
        recorded.sort_unstable();
        let now = at(millis);
        let shown = heard(&mut dave, now, 9666, &recorded).len() as u64;
        let newest_stale = now.unix_ms - 30_000;
        let oldest = newest_stale.max(at(started - 1000).unix_ms);
        let possible = (0..200).filter(|i| at(100 * i).unix_ms >= oldest).count() as u64;
        assert!(shown <= possible, "{millis}: {shown} of {possible}");
    }
}

/// A run of three buses, and every datagram that they sent.
fn recorded() -> (Net, Vec<(usize, Destination, Vec<u8>)>) {
    let mut net = sealed_net(3);
    net.run(100, nothing);
    let (mut missed, mut tried) = (BTreeSet::new(), BTreeSet::new());
    for i in 0..20 {
        net.emit(i % 2, &i.to_string());
        net.emit(i % 2, &"y".repeat(2500));
        // Requests and answers are among it.
        net.run(net.now.as_millis() as u64 + 20, |by, to, datagram| {
            let drop = by == 0 && to == 2 && i % 5 == 0 && tried.insert(inner(datagram));
            drop && missed.insert(datagram.to_vec())
        });
    }
    net.run(3000, nothing);
    let log = net
        .log
        .iter()
        .map(|(_, by, to, bytes)| (*by, *to, bytes.clone()));
    // What has not come yet is late and not a repetition.
    let log: Vec<_> = log
        .filter(|(_, _, bytes)| !missed.contains(bytes))
        .collect();
    assert!(missed.len() > 3);
    net.told(2);
    assert!(
        log.iter()
            .any(|(_, _, datagram)| inner_name(datagram) == NACK)
    );
    (net, log)
}

#[test]
fn nothing_that_was_recorded_has_any_effect_again() {
    let (mut net, log) = recorded();
    let now = net.now();
    let victim = &mut net.engines[2];
    let mut events = Events::new();
    victim.take_events(&mut events);
    let quiet = |engine: &Engine| {
        let stats = engine.stats();
        let held = (stats.held_bytes, stats.incomplete_messages, stats.peers);
        (
            stats.delivered_messages,
            stats.requests_received,
            held,
            engine.poll_timeout(),
        )
    };
    let before = quiet(victim);
    let counted = victim.stats().drops;
    let mut expected = counted;
    let (mut rng, mut told) = (StdRng::from_seed([5; 32]), 0);
    let mut attack =
        |victim: &mut Engine, from: SocketAddr, datagram: &[u8], causes: &[DropCause]| {
            let drops = victim.stats().drops;
            victim.handle_datagram(now, from, datagram);
            let after = victim.stats().drops;
            let cause = causes
                .iter()
                .find(|cause| after.get(**cause) > drops.get(**cause));
            let cause = cause.unwrap_or_else(|| panic!("none of {causes:?}"));
            assert_eq!(after.total(), drops.total() + 1);
            expected.count(*cause);
            victim.take_events(&mut events);
            for event in events.iter() {
                assert!(matches!(event, Event::Refused(_)), "{event:?}");
                told += 1;
            }
        };
    for (by, to, datagram) in &log {
        let own = *by == 2;
        let for_other = matches!(to, Destination::Peer(address) if *address != engine_address(2));
        let cause = match (own, for_other) {
            (true, _) => DropCause::Echo,
            (_, true) => DropCause::Recipient,
            _ => DropCause::Double,
        };
        for from in [engine_address(*by), engine_address(1), address(9666)] {
            attack(victim, from, datagram, &[cause]);
        }
        let box_at = 205;
        for _ in 0..20 {
            let bit = rng.random_range(box_at * 8..(datagram.len() - 2) * 8);
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let causes = [DropCause::Suite, DropCause::Key, DropCause::Mac];
            attack(victim, address(9667), &flipped, &causes);
        }
        let cut = rng.random_range(0..datagram.len());
        attack(
            victim,
            address(9667),
            &datagram[..cut],
            &[DropCause::Malformed],
        );
        // The beginning of one and the end of another.
        let other = &log[rng.random_range(0..log.len())].2;
        if other.len() == datagram.len() && other != datagram {
            let at = box_at + 45 + 16;
            let spliced = [&datagram[..at], &other[at..]].concat();
            attack(victim, address(9668), &spliced, &[DropCause::Mac]);
        }
        // What is inside, in the clear.
        attack(
            victim,
            engine_address(*by),
            &inner(datagram),
            &[DropCause::Clear],
        );
    }
    assert_eq!(victim.stats().drops, expected);
    assert_eq!(quiet(victim), before);
    assert_eq!(victim.next_transmit(), None);
    // One line for each address and whatever was not opened; clear and for others likewise.
    assert!(told <= 10, "{told}");
    // And all goes on.
    net.emit(0, "still");
    net.run(now.elapsed.as_millis() as u64 + 100, nothing);
    assert_eq!(net.told(2), ["still"]);
}

#[test]
fn keys_change_without_a_lost_event() {
    let mut net = sealed_net(3);
    let (old, new) = (SealKey::from_root(&[7; 32]), SealKey::from_root(&[8; 32]));
    let both = SealKeys::new(old.clone()).and_receive(new.clone());
    let turned = SealKeys::new(new.clone()).and_receive(old);
    let steps = [both, turned, SealKeys::new(new)];
    let mut rng = StdRng::from_seed([1; 32]);
    let mut lossy = |_: usize, _: usize, _: &[u8]| rng.random_bool(0.1);
    net.run(100, nothing);
    let mut said = 0;
    for step in steps {
        for i in 0..3 {
            for _ in 0..20 {
                net.emit(0, &said.to_string());
                said += 1;
                net.run(net.now.as_millis() as u64 + 5, &mut lossy);
            }
            // One bus after the other, while events are under way.
            net.engines[i].set_seal_keys(&step);
        }
        // What was sealed before has come, or come again, before the next step.
        net.run(net.now.as_millis() as u64 + 2000, &mut lossy);
    }
    net.run(net.now.as_millis() as u64 + 3000, nothing);
    let expected: Vec<String> = (0..said).map(|i| i.to_string()).collect();
    for i in 1..3 {
        assert_eq!(net.told(i), expected);
        assert_eq!(net.engines[i].stats().drops.get(DropCause::Key), 0);
    }
    // Who has missed it all hears nothing, and says why.
    let now = net.now();
    let mut late = start("late", 1, now);
    let last = emit(&mut net.engines[0], now, "x");
    assert_eq!(heard(&mut late, now, 9000, &last), [""; 0]);
    assert_eq!(drops(&late)[0].0, DropCause::Key);
}

#[test]
fn incarnations_are_bounded() {
    let mut bob = start("bob", 1, at(0));
    let mut datagrams = Vec::new();
    for i in 0..4200_u64 {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&i.to_le_bytes());
        let config = Config::new("alice", 10 + i, HOST, 9100);
        let mut alice = Engine::new(sealed(config), seed, at(0));
        alice
            .emit(at(0), outgoing("e", &payload(vec!["x".into()])))
            .unwrap();
        datagrams.push(super::datagrams(&mut alice, at(0)).remove(0));
    }
    assert_eq!(heard(&mut bob, at(1), 9100, &datagrams).len(), 4096);
    assert_eq!(bob.stats().drops.get(DropCause::Crowded), 104);
}

#[test]
fn each_interface_has_its_own_counter_and_its_own_address() {
    let mut alice = start("alice", 1, at(0));
    let hosts = ["10.0.0.1", "192.168.100.200"].map(|host| host.parse::<IpAddr>().unwrap());
    alice.set_hosts(&[Host::new(1, hosts[0]), Host::new(2, hosts[1])]);
    let said = emit(&mut alice, at(1), "x");
    assert_eq!(said.len(), 2);
    let peeked = said
        .iter()
        .map(|datagram| vectors::peek(&seal_with(7), datagram).unwrap());
    let seen: Vec<_> = peeked
        .map(|peeked| {
            let host = parse(&peeked.inner)
                .metadata
                .described
                .unwrap()
                .identity
                .host
                .to_owned();
            (peeked.counter, host)
        })
        .collect();
    assert_eq!(seen, [(1, hosts[0].to_string()), (2, hosts[1].to_string())]);
    let mut bob = start("bob", 1, at(0));
    assert_eq!(heard(&mut bob, at(1), 9100, &said), ["x"]);
}

#[test]
fn batches_hold_what_a_call_can_send() {
    let mut alice = start("alice", 1, at(0));
    let mut buf = Vec::new();
    let mut most = 0;
    for len in [0, 100, 500, 700, 850] {
        let payload = payload(vec!["x".repeat(len).into()]);
        for _ in 0..300 {
            alice.emit(at(0), outgoing("e", &payload)).unwrap();
        }
        while let Some(transmit) = alice.poll_transmit(at(0), &mut buf) {
            let size = transmit.segment_size.unwrap_or(buf.len());
            let count = buf.len().div_ceil(size);
            assert!(
                count <= 64 && buf.len() <= 65_507 && size <= 1472,
                "{count} of {size}"
            );
            most = most.max(buf.len());
            let chunks = buf.chunks(size);
            assert!(
                chunks
                    .clone()
                    .rev()
                    .skip(1)
                    .all(|datagram| datagram.len() == size)
            );
            for datagram in chunks {
                assert_eq!(datagram.len(), sealed_len(inner(datagram).len()));
            }
        }
    }
    assert!(most > 60_000, "{most}");
    // And chunks never need a fragment.
    alice
        .emit(at(0), outgoing("e", &large_payload(50_000, 1)))
        .unwrap();
    let chunks = datagrams(&mut alice, at(10));
    assert!(chunks.len() > 50);
    let longest = chunks.iter().map(Vec::len).max().unwrap();
    assert!((1472 - 16..=1472).contains(&longest), "{longest}");
}

#[test]
fn a_number_far_ahead_is_believed_at_once() {
    let mut alice = start("alice", 1, at(0));
    let mut bob = start("bob", 1, at(0));
    let said = emit(&mut alice, at(1), "1");
    assert_eq!(heard(&mut bob, at(1), 9100, &said), ["1"]);
    for _ in 0..70_000 {
        emit(&mut alice, at(2), "missed");
    }
    let said = emit(&mut alice, at(3), "70002");
    for datagram in &said {
        bob.handle_datagram(at(3), address(9100), datagram);
    }
    let mut events = Events::new();
    bob.take_events(&mut events);
    let told: Vec<_> = events.iter().map(|event| net::words(&event)).collect();
    assert_eq!(told, ["lost TooMany 2-70001", "70002"]);
}

#[test]
fn kinds_of_buses_do_not_hear_each_other() {
    let mut configs = vec![config("clear"), sealed(config("sealed"))];
    #[cfg(feature = "classic")]
    configs.push(Config {
        classic: Some(ClassicKey::from_passphrase("bravo").unwrap()),
        ..config("classic")
    });
    let cause = |by: usize, at: usize| match (by, at) {
        (0, _) => DropCause::Clear,
        (1, _) => DropCause::Sealed,
        _ => DropCause::Classic,
    };
    for by in 0..configs.len() {
        for to in 0..configs.len() {
            let mut listener = engine(configs[to].clone());
            let (small, large) = (payload(vec![]), large_payload(3000, 1));
            let mut other = configs[by].clone();
            other.id = "other".to_owned();
            let small = emitted(other.clone(), 1, "small", &small);
            assert_eq!(small.len(), 1);
            let got = deliver(&mut listener, at(1), address(9100), &small);
            if by == to {
                assert_eq!(got.len(), 1, "{by}");
                continue;
            }
            assert_eq!(got, []);
            assert_eq!(drops(&listener), [(cause(by, to), 1)], "{by} to {to}");
            // A chunk may come in the clear where what it joins to may not.
            let large = emitted(other, 2, "large", &large);
            assert_eq!(deliver(&mut listener, at(1), address(9100), &large), []);
            assert!(listener.stats().drops.total() > 1, "{by} to {to}");
        }
    }
    // What a bus says of itself is not obeyed either.
    let mut alice = engine(Config {
        heartbeat: Duration::from_secs(1),
        ..config("alice")
    });
    alice.handle_timeout(at(0));
    let hello = datagrams(&mut alice, at(0));
    let mut bob = engine(sealed(config("bob")));
    for _ in 0..100 {
        deliver(&mut bob, at(0), address(9100), &hello);
    }
    assert_eq!(drops(&bob), [(DropCause::Clear, 100)]);
    assert_eq!((bob.stats().peers, bob.next_transmit()), (0, None));
}

#[test]
fn what_a_holder_of_the_key_may_not_seal() {
    let mut alice = start("alice", 1, at(0));
    let good = emit(&mut alice, at(0), "x").remove(0);
    let seal = |datagram: &[u8]| {
        let mut mallory = seal::Sealing::new(
            seal_with(7),
            ("alice", 1),
            at(0),
            hash::HashKey::random(&mut StdRng::from_seed([1; 32])),
        );
        let mut out = Vec::new();
        let seq_id = MessageId([1; 20]).text();
        mallory.seal(at(0).unix_ms, &seq_id, None, datagram, &mut out);
        out
    };
    let plain = inner(&good);
    let other = |id: &str, incarnation| {
        Craft {
            id,
            incarnation,
            ..Craft::default()
        }
        .make()
    };
    let again = |datagram: &[u8]| {
        let mut wrapped = Craft {
            id: "alice",
            name: control::AGAIN,
            rest: b"",
            ..Craft::default()
        }
        .make();
        control::write_again(&mut wrapped, |out| out.extend_from_slice(datagram));
        wrapped
    };
    let mut encrypted = metadata();
    encrypted.insert("enc", true);
    for (datagram, cause) in [
        (plain.clone(), None),
        (other("alice", None), None),
        (other("alice", Some(1)), None),
        (again(&other("alice", None)), None),
        (other("alice", Some(2)), Some(DropCause::Sender)),
        (other("mallory", Some(1)), Some(DropCause::Sender)),
        (again(&other("mallory", None)), Some(DropCause::Sender)),
        (again(&again(&plain)), Some(DropCause::Malformed)),
        (good.clone(), Some(DropCause::Malformed)),
        (again(&good), Some(DropCause::Malformed)),
        (framed(&encrypted, &[0; 32]), Some(DropCause::Malformed)),
        (b"".to_vec(), Some(DropCause::Malformed)),
        (
            plain[..plain.len() - 1].to_vec(),
            Some(DropCause::Malformed),
        ),
    ] {
        let mut bob = start("bob", 1, at(0));
        let got = deliver(&mut bob, at(0), address(9100), &[seal(&datagram)]);
        assert_eq!(got.len(), usize::from(cause.is_none()), "{cause:?}");
        assert_eq!(drops(&bob), Vec::from_iter(cause.map(|cause| (cause, 1))));
    }
    // Its own id, sealed by another incarnation and without one of its own, is a namesake's and not an echo.
    let mut namesake = start("alice", 2, at(0));
    let without = seal(&other("alice", None));
    let mut events = Events::new();
    namesake.handle_datagram(at(0), address(9100), &without);
    namesake.take_events(&mut events);
    let told: Vec<_> = events.iter().map(|event| in_words(&event)).collect();
    assert_eq!(told, ["clash alice", "message crafted"]);
    let mut itself = start("alice", 1, at(0));
    itself.handle_datagram(at(0), address(9100), &without);
    assert_eq!(drops(&itself), [(DropCause::Echo, 1)]);
}
