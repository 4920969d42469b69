//! Sealed buses do what clear ones do.

use std::{collections::BTreeSet, sync::Mutex};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{
    net::{Net, nothing},
    vectors::{from_extended_json, same},
    *,
};
use crate::proto::{
    seal::{sealed_len, vectors},
    wire::control::{self, NACK},
};

pub(super) fn seal_with(root: u8) -> SealConfig {
    let rng = Mutex::new(StdRng::from_seed([root; 32]));
    let ivs = IvSource::new(move |bytes| rng.lock().unwrap().fill_bytes(bytes));
    let keys = SealKeys::new(SealKey::from_root(&[root; 32]));
    SealConfig::new(keys, [224, 0, 0, 1].into(), 9000, ivs)
}

pub(super) fn sealed(config: Config) -> Config {
    Config {
        seal: Some(seal_with(7)),
        ..config
    }
}

pub(super) fn sealed_net(count: usize) -> Net {
    Net::with(count, |config| config.seal = Some(seal_with(7)))
}

/// What stands in a sealed datagram of these tests.
pub(super) fn inner(datagram: &[u8]) -> Vec<u8> {
    vectors::peek(&seal_with(7), datagram)
        .expect("it is sealed")
        .inner
}

pub(super) fn inner_name(datagram: &[u8]) -> String {
    net::name_of(&inner(datagram))
}

pub(super) fn drops(engine: &Engine) -> Vec<(DropCause, u64)> {
    let drops = engine.stats().drops;
    drops.iter().filter(|(_, count)| *count > 0).collect()
}

/// Engine and time of a vector's receiver, which started after the sender: what was before is not
/// owed to it.
pub(super) fn receiver(vector: &vectors::Vector) -> (Engine, Now) {
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
            assert_eq!((message.key, message.sealed), (event, true));
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
        assert_eq!(engine.stats().drops.get(DropCause::Duplicate), 1);
        assert_eq!(engine.stats().drops.total(), before + 1);
        assert!(!engine.take_events(&mut events), "a double is not reported");
    }
    assert_eq!(delivered, 6);
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
                    DropCause::Duplicate | DropCause::Echo | DropCause::Unsolicited
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
pub(super) fn start(id: &str, incarnation: u64, now: Now) -> Engine {
    let config = Config::new(id, incarnation, HOST, 9001);
    Engine::new(sealed(config), [incarnation as u8; 32], now)
}

pub(super) fn emit(engine: &mut Engine, now: Now, text: &str) -> Vec<Vec<u8>> {
    let payload = payload(vec![text.into()]);
    let event = Outgoing {
        best_effort: false,
        ..outgoing("e", &payload)
    };
    engine.emit(now, event).unwrap();
    datagrams(engine, now)
}

/// The messages, by their texts.
pub(super) fn heard(
    engine: &mut Engine,
    now: Now,
    from: u16,
    datagrams: &[Vec<u8>],
) -> Vec<String> {
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
    // Its incarnation is its clock: in the third life that has gone back by more than all lives
    // together.
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
    assert_eq!(drops(&bob), [(DropCause::Duplicate, 4000)]);
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
    // So is one that a hello says.
    for _ in 0..70_000 {
        emit(&mut alice, at(4), "missed");
    }
    alice.handle_timeout(at(3000));
    let hello = datagrams(&mut alice, at(3000));
    assert_eq!(inner_name(&hello[0]), control::HELLO);
    bob.handle_datagram(at(3000), address(9100), &hello[0]);
    bob.take_events(&mut events);
    let told: Vec<_> = events.iter().map(|event| net::words(&event)).collect();
    assert_eq!(told, ["joined alice"]);
    // Ten seconds after what was told before.
    bob.handle_timeout(at(10_003));
    bob.take_events(&mut events);
    let told: Vec<_> = events.iter().map(|event| net::words(&event)).collect();
    assert!(
        told.contains(&"lost TooMany 70003-140002".to_owned()),
        "{told:?}"
    );
}

/// The chunks of a message that is sent now: all but the last, and that one.
fn chunks_and_the_last(best_effort: bool, now: Now) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut alice = start("alice", 1, at(0));
    let payload = large_payload(5000, 1);
    let event = Outgoing {
        best_effort,
        ..outgoing("e", &payload)
    };
    alice.emit(now, event).unwrap();
    let mut chunks = datagrams(&mut alice, now);
    assert!(chunks.len() > 4);
    let last = chunks.pop().unwrap();
    (chunks, last)
}

#[test]
fn chunks_belong_to_who_has_sealed_them_wherever_they_come_from() {
    for best_effort in [false, true] {
        let mut bob = start("bob", 1, at(0));
        let (chunks, late) = chunks_and_the_last(best_effort, at(1));
        // On their way they can be given another address.
        for (chunk, port) in chunks.iter().zip([9100, 9200, 9300].into_iter().cycle()) {
            bob.handle_datagram(at(2), address(port), chunk);
        }
        assert_eq!(bob.stats().incomplete_messages, 1);
        let mut events = Events::new();
        bob.handle_datagram(at(3), address(9200), &late);
        bob.take_events(&mut events);
        let is_message = |event: Event<'_>| matches!(event, Event::Message(_));
        assert!(events.len() == 1 && events.get(0).is_some_and(is_message));
        assert_eq!(bob.stats().incomplete_messages, 0);
    }
}

/// What an engine sends until then, to whom and what is in it.
fn said_until(engine: &mut Engine, from: u64, until: u64) -> Vec<(Destination, Vec<u8>)> {
    let (mut said, mut buf) = (Vec::new(), Vec::new());
    for millis in from..until {
        engine.handle_timeout(at(millis));
        while let Some(transmit) = engine.poll_transmit(at(millis), &mut buf) {
            for datagram in buf.chunks(transmit.segment_size.unwrap_or(buf.len())) {
                said.push((transmit.to, datagram.to_vec()));
            }
        }
    }
    said
}

#[test]
fn the_rest_of_a_message_is_asked_for_where_its_sender_is() {
    let mut alice = start("alice", 1, at(0));
    let mut bob = start("bob", 1, at(0));
    alice.handle_timeout(at(0));
    let hello = datagrams(&mut alice, at(0));
    assert_eq!(heard(&mut bob, at(0), 9100, &hello), [""; 0]);
    said_until(&mut bob, 1, 100);
    let payload = large_payload(5000, 1);
    let event = Outgoing {
        best_effort: false,
        ..outgoing("e", &payload)
    };
    alice.emit(at(100), event).unwrap();
    // One chunk comes, from elsewhere, and a later event.
    let chunk = datagrams(&mut alice, at(100)).remove(0);
    bob.handle_datagram(at(100), address(9200), &chunk);
    let later = emit(&mut alice, at(101), "later");
    assert_eq!(heard(&mut bob, at(101), 9100, &later), [""; 0]);
    let asked: Vec<_> = said_until(&mut bob, 102, 200)
        .into_iter()
        .filter(|(to, _)| *to != Destination::Group)
        .map(|(to, datagram)| (to, inner_name(&datagram)))
        .collect();
    // And the message is not asked for as a whole: some of it is there.
    let expected = (Destination::Peer(address(9100)), control::RETX.to_owned());
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|asked| *asked == expected), "{asked:?}");
}

#[test]
fn what_was_begun_goes_with_the_gap_that_makes_room() {
    for is_sealed in [false, true] {
        let mut bob = Config::new("bob", 1, HOST, 9001);
        let mut alice = Config::new("alice", 1, HOST, 9001);
        bob.max_held_bytes = 60_000;
        if is_sealed {
            (bob, alice) = (sealed(bob), sealed(alice));
        }
        let mut bob = Engine::new(bob, [1; 32], at(0));
        let mut alice = Engine::new(alice, [2; 32], at(0));
        let mut said = emit(&mut alice, at(1), "1");
        // Of the second there is one chunk, and all the others wait for it.
        said.push(emit(&mut alice, at(1), &"2".repeat(5000)).remove(0));
        for _ in 0..100 {
            said.extend(emit(&mut alice, at(1), &"x".repeat(700)));
        }
        let mut told = Vec::new();
        let mut events = Events::new();
        for datagram in &said {
            bob.handle_datagram(at(2), address(9100), datagram);
            bob.take_events(&mut events);
            told.extend(events.iter().map(|event| net::words(&event)));
        }
        assert_eq!(told[..2], ["1", "lost Crowded 2-2"]);
        assert_eq!(told.len(), 102);
        let stats = bob.stats();
        assert_eq!((stats.incomplete_messages, stats.held_bytes), (0, 0));
    }
}

#[test]
fn what_the_protocol_says_itself_needs_no_fragment_either() {
    let config = Config {
        max_payload_size: 1472,
        ..Config::new("bob", 1, HOST, 9001)
    };
    let mut bob = Engine::new(sealed(config), [1; 32], at(0));
    let mut alice = start("alice", 1, at(0));
    for i in 0..400 {
        let said = emit(&mut alice, at(0), "x");
        if i % 2 == 0 {
            bob.handle_datagram(at(0), address(9100), &said[0]);
        }
    }
    let said = said_until(&mut bob, 1, 40);
    let longest = said.iter().map(|(_, datagram)| datagram.len()).max();
    let longest = longest.unwrap();
    assert!((1400..=1472).contains(&longest), "{longest}");
}

#[test]
fn a_late_chunk_from_elsewhere_opens_nothing_again() {
    // A sender's clock that is ahead keeps what it sends fresh for longer.
    for (best_effort, ahead) in [(false, 0), (true, 0), (false, 29), (true, 29)] {
        let mut bob = start("bob", 1, at(0));
        let by_hers = Now {
            unix_ms: at(1).unix_ms + ahead * 1000,
            ..at(1)
        };
        let (chunks, late) = chunks_and_the_last(best_effort, by_hers);
        for chunk in &chunks {
            bob.handle_datagram(at(2), address(9100), chunk);
        }
        let mut told = 0;
        let mut events = Events::new();
        let held_until = 25 + ahead;
        for second in 1..held_until + 15 {
            bob.handle_timeout(at(second * 1000));
            bob.take_events(&mut events);
            let expired = |event: &Event<'_>| matches!(event, Event::Expired(_));
            told += events.iter().filter(expired).count();
            if second == held_until {
                // It is long over. A chunk that was held back is still fresh, of no use, and opens
                // no second attempt.
                assert_eq!((told, bob.stats().incomplete_messages), (1, 0));
                bob.handle_datagram(at(second * 1000 + 1), address(9200), &late);
                assert_eq!(bob.stats().incomplete_messages, 0, "{best_effort} {ahead}");
                assert_eq!(bob.stats().drops.get(DropCause::Time), 0);
            }
        }
        assert_eq!(told, 1, "{best_effort} {ahead}");
    }
}
