//! A sealed bus takes datagrams from holders of the key alone, and each of them once.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    net::{Net, engine_address, nothing},
    sealed::{
        drops, emit, heard, inner, inner_name, receiver, seal_with, sealed, sealed_net, start,
    },
    *,
};
use crate::proto::{
    seal::vectors,
    wire::control::{self, NACK},
};

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
fn a_young_bus_reports_by_how_much_a_clock_is_behind_and_for_how_long_it_refuses() {
    let mut alice = start("alice", 1, at(0));
    let late = emit(&mut alice, at(6_000), "late");
    let mut bob = start("bob", 1, at(10_000));
    bob.handle_datagram(at(12_000), address(9100), &late[0]);
    let mut events = Events::new();
    bob.take_events(&mut events);
    let Some(Event::Refused(refused)) = events.get(0) else {
        panic!("nothing was told")
    };
    assert_eq!((refused.cause, refused.unopened), (DropCause::Old, false));
    assert_eq!(refused.age_ms, Some(6_000));
    assert_eq!(refused.refused_for_ms, Some(58_000));
}

#[test]
fn what_can_be_shown_again_to_a_receiver_that_was_restarted() {
    let mut alice = start("alice", 1, at(0));
    // One event every 100 ms for 20 s; the receiver is started anew at 10 s, and hears nothing but
    // what is replayed.
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
            _ => DropCause::Duplicate,
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
fn a_request_that_was_held_back_and_moved_is_answered_once_and_for_its_sender_alone() {
    let mut net = sealed_net(2);
    net.run(100, nothing);
    net.emit(0, "1");
    net.emit(0, "2");
    let mut held = Vec::new();
    net.run(115, |_, _, datagram| {
        let request = inner_name(datagram) == NACK;
        if request {
            held.push(datagram.to_vec());
        }
        request || net::number_of(&inner(datagram)) == Some(1)
    });
    assert!(!held.is_empty());
    let before = net.log.len();
    let (now, elsewhere) = (net.now(), address(9666));
    for _ in 0..10 {
        net.engines[0].handle_datagram(now, elsewhere, &held[0]);
    }
    net.run(125, |_, _, datagram| inner_name(datagram) == NACK);
    let answers = net.log[before..].iter().filter_map(|(_, _, to, answer)| {
        let moved = *to == Destination::Peer(elsewhere);
        moved.then(|| answer.clone())
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len(), 1);
    let mut other = start("other", 1, at(0));
    assert_eq!(heard(&mut other, net.now(), 9000, &answers), [""; 0]);
    assert_eq!(drops(&other), [(DropCause::Recipient, 1)]);
    let of = engine_address(0).port();
    assert_eq!(heard(&mut net.engines[1], now, of, &answers), ["1", "2"]);
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
    // All are heard, and nothing a second time, also of those that had to make room.
    assert_eq!(heard(&mut bob, at(1), 9100, &datagrams).len(), 4200);
    assert_eq!(heard(&mut bob, at(2), 9100, &datagrams), [""; 0]);
    assert_eq!(drops(&bob), [(DropCause::Duplicate, 4200)]);
}

#[test]
fn thousands_that_come_and_go_make_no_newcomer_unheard() {
    let mut bob = start("bob", 1, at(0));
    let mut recorded = Vec::new();
    let mut events = 0;
    for i in 0..6_000_u64 {
        let now = at(5 * i);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&i.to_le_bytes());
        let config = Config::new(format!("short-{i}"), 10 + i, HOST, 9100);
        let mut alice = Engine::new(sealed(config), seed, now);
        alice.handle_timeout(now);
        let payload = payload(vec![i.to_string().into()]);
        let event = Outgoing {
            best_effort: false,
            ..outgoing("e", &payload)
        };
        alice.emit(now, event).unwrap();
        let mut said = datagrams(&mut alice, now);
        alice.leave(now);
        alice.handle_timeout(now);
        said.extend(datagrams(&mut alice, now));
        let port = 10_000 + i as u16;
        events += usize::from(heard(&mut bob, now, port, &said) == [i.to_string()]);
        recorded.push((port, said));
    }
    assert_eq!(events, 6_000);
    assert_eq!(drops(&bob), []);
    let now = at(30_001);
    for (port, said) in &recorded {
        assert_eq!(heard(&mut bob, now, *port, said), [""; 0]);
    }
    let mut late = start("late", 1, now);
    let said = emit(&mut late, now, "late");
    assert_eq!(heard(&mut bob, now, 9_200, &said), ["late"]);
}

#[test]
fn kinds_of_buses_do_not_hear_each_other() {
    let configs = [
        config("clear"),
        sealed(config("sealed")),
        #[cfg(feature = "classic")]
        Config {
            classic: Some(ClassicKey::from_passphrase("bravo").unwrap()),
            ..config("classic")
        },
    ];
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

/// A datagram as a holder of the key seals it who says that it is this one.
fn seal_as(who: (&str, u64), datagram: &[u8]) -> Vec<u8> {
    let key = hash::HashKey::random(&mut StdRng::from_seed([1; 32]));
    let mut mallory = seal::Sealing::new(seal_with(7), who, at(0), key);
    let mut out = Vec::new();
    let seq_id = MessageId([1; 20]).text();
    mallory.seal(at(0).unix_ms, &seq_id, None, datagram, &mut out);
    out
}

#[test]
fn what_a_holder_of_the_key_may_not_seal() {
    let mut alice = start("alice", 1, at(0));
    let good = emit(&mut alice, at(0), "x").remove(0);
    let seal = |datagram: &[u8]| seal_as(("alice", 1), datagram);
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
    // Its own id, sealed by another incarnation and without one of its own, is a namesake's and not
    // an echo.
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

#[test]
fn who_was_heard_before_lends_its_name_to_nobody() {
    let mut alice = start("alice", 1, at(0));
    let said = ["1", "2", "3"].map(|text| emit(&mut alice, at(0), text).remove(0));
    let mut bob = start("bob", 1, at(0));
    assert_eq!(heard(&mut bob, at(0), 9100, &said[..2]), ["1", "2"]);
    // From her address and in the very form in which she speaks, so that it is read the quick way.
    for who in [("mallory", 1), ("alice", 2)] {
        let posed = seal_as(who, &inner(&said[2]));
        assert_eq!(heard(&mut bob, at(0), 9100, &[posed]), [""; 0]);
    }
    assert_eq!(drops(&bob), [(DropCause::Sender, 2)]);
    assert_eq!(heard(&mut bob, at(0), 9100, &said[2..]), ["3"]);
}

#[test]
fn the_outer_metadata_may_hold_anything_that_has_its_type() {
    let mut alice = start("alice", 1, at(0));
    let mut said = |text: &str| {
        let datagram = emit(&mut alice, at(0), text).remove(0);
        datagram[180..].to_vec()
    };
    let outer = bson::doc! {
        "unknown": { "x": [1, 2] }, "time": "whenever", "id": "\u{1f511}".repeat(40), "hostname": "h".repeat(2000),
        "port": -7.0, "host": "h".repeat(300), "name": "__ec_sealed", "enc": false, "seqEnd": true,
        "seqId": "\u{e9}".repeat(200), "seqLen": 1_i64, "seq": 0.0, "v": 3_i64, "inc": "any",
    };
    let mut bob = start("bob", 1, at(0));
    let odd = framed(&outer, &said("odd"));
    assert_eq!(heard(&mut bob, at(0), 9100, &[odd]), ["odd"]);
    for key in [
        "time", "id", "hostname", "port", "host", "name", "enc", "seqEnd", "seqId", "seqLen",
        "seq", "v",
    ] {
        let payload = said("refused");
        let mut without = outer.clone();
        without.remove(key);
        let mut other = outer.clone();
        other.insert(key, Bson::Null);
        for outer in [without, other] {
            let before = bob.stats().drops.get(DropCause::Malformed);
            assert_eq!(
                heard(&mut bob, at(0), 9100, &[framed(&outer, &payload)]),
                [""; 0]
            );
            assert_eq!(
                bob.stats().drops.get(DropCause::Malformed),
                before + 1,
                "{key}"
            );
        }
    }
    for (change, cause) in [
        (
            bson::doc! { "seqLen": 2, "seqEnd": false },
            DropCause::Malformed,
        ),
        (bson::doc! { "v": 4 }, DropCause::Version),
        (bson::doc! { "enc": true }, DropCause::Classic),
        (bson::doc! { "name": "__ec_seal" }, DropCause::Clear),
    ] {
        let mut changed = outer.clone();
        changed.extend(change);
        let before = bob.stats().drops.get(cause);
        let datagram = framed(&changed, &said("refused"));
        assert_eq!(heard(&mut bob, at(0), 9100, &[datagram]), [""; 0]);
        assert_eq!(bob.stats().drops.get(cause), before + 1, "{cause}");
    }
    // Of another version nothing is told: anybody can say so.
    let mut dora = start("dora", 1, at(0));
    let mut changed = outer.clone();
    changed.extend(bson::doc! { "v": 4 });
    dora.handle_datagram(at(0), address(9100), &framed(&changed, &said("refused")));
    assert_eq!(drops(&dora), [(DropCause::Version, 1)]);
    assert!(!dora.take_events(&mut Events::new()));
    // Of the payload, one binary of subtype 0 in an array or alone, and nothing else.
    let boxes = [said("a"), said("b"), said("c")];
    let binary = |payload: &[u8], subtype| {
        Bson::Binary(bson::Binary {
            subtype,
            bytes: payload[25..payload.len() - 2].to_vec(),
        })
    };
    let generic = |payload: &[u8]| binary(payload, bson::spec::BinarySubtype::Generic);
    let uuid = binary(&boxes[0], bson::spec::BinarySubtype::UserDefined(0x80));
    for (payload, expected) in [
        (bson::doc! { "payload": [] }, None),
        (bson::doc! { "payload": [uuid] }, None),
        (bson::doc! { "payload": ["text"] }, None),
        (
            bson::doc! { "payload": [generic(&boxes[0]), generic(&boxes[1])] },
            None,
        ),
        (bson::doc! { "other": [generic(&boxes[0])] }, None),
        (bson::doc! { "payload": [generic(&boxes[0])] }, Some("a")),
        (bson::doc! { "payload": generic(&boxes[1]) }, Some("b")),
        (
            bson::doc! { "x": 1, "payload": [generic(&boxes[2])], "y": 2 },
            Some("c"),
        ),
    ] {
        // None is missed in between: what is told is what came.
        let mut carol = start("carol", 1, at(0));
        let datagram = framed(&outer, &payload.to_vec().unwrap());
        carol.handle_datagram(at(0), address(9100), &datagram);
        let stats = carol.stats();
        assert_eq!(stats.drops.total() == 0, expected.is_some(), "{payload}");
    }
}

#[test]
fn noise_is_malformed_and_nothing_else() {
    let mut bob = start("bob", 1, at(0));
    let mut rng = StdRng::from_seed([9; 32]);
    let mut noise = vec![0; 65_507];
    rng.fill(&mut noise[..]);
    for i in 0..20_000 {
        let len = if i % 1000 == 0 {
            noise.len()
        } else {
            rng.random_range(0..700)
        };
        let start = rng.random_range(0..=noise.len() - len);
        bob.handle_datagram(at(0), address(9100), &noise[start..start + len]);
    }
    assert_eq!(drops(&bob), [(DropCause::Malformed, 20_000)]);
    // Behind the head of a sealed datagram the same is a box of no suite, or of one by chance.
    let good = emit(&mut start("alice", 1, at(0)), at(0), "x").remove(0);
    for _ in 0..5000 {
        let mut noisy = good.clone();
        let from = rng.random_range(205..noisy.len() - 2);
        let to = noisy.len() - 2;
        rng.fill(&mut noisy[from..to]);
        if noisy != good {
            bob.handle_datagram(at(0), address(9100), &noisy);
        }
    }
    let known = [
        DropCause::Malformed,
        DropCause::Suite,
        DropCause::Key,
        DropCause::Mac,
    ];
    assert!(drops(&bob).iter().all(|(cause, _)| known.contains(cause)));
    assert_eq!(
        (bob.stats().delivered_messages, bob.next_transmit()),
        (0, None)
    );
    assert_eq!(heard(&mut bob, at(0), 9100, &[good]), ["x"]);
}

#[test]
fn a_duplicate_later_than_a_network_makes_it_is_reported() {
    let mut bob = start("bob", 1, at(0));
    let mut alice = start("alice", 1, at(0));
    let said = emit(&mut alice, at(0), "x");
    assert_eq!(heard(&mut bob, at(0), 9100, &said), ["x"]);
    let mut events = Events::new();
    let mut told = |bob: &mut Engine, millis: u64| {
        bob.handle_datagram(at(millis), address(9666), &said[0]);
        bob.take_events(&mut events);
        let refused = events.iter().map(|event| match event {
            Event::Refused(refused) => (refused.cause, refused.from, refused.count, refused.age_ms),
            other => panic!("{other:?}"),
        });
        refused.collect::<Vec<_>>()
    };
    let late = |count, age| [(DropCause::Duplicate, Some(address(9666)), count, Some(age))];
    assert_eq!(told(&mut bob, 1), []);
    assert_eq!(told(&mut bob, 999), []);
    assert_eq!(told(&mut bob, 1000), late(1, 1000));
    assert_eq!(told(&mut bob, 1001), []);
    assert_eq!(told(&mut bob, 11_000), late(2, 11_000));
    assert_eq!(bob.stats().drops.get(DropCause::Duplicate), 5);
}

#[test]
fn unopened_datagrams_are_reported_as_one_and_a_wrong_clock_with_its_offset() {
    let mut bob = start("bob", 1, at(0));
    let mut alice = start("alice", 1, at(0));
    let good = emit(&mut alice, at(0), "x").remove(0);
    let flipped = |byte: usize| {
        let mut flipped = good.clone();
        flipped[byte] ^= 1;
        flipped
    };
    // Length, suite, key and tag; each three times, from two addresses.
    let bad = [
        good[..good.len() - 1].to_vec(),
        flipped(205),
        flipped(206),
        flipped(300),
    ];
    let tell = |bob: &mut Engine, now: Now| {
        for _ in 0..3 {
            for datagram in &bad {
                bob.handle_datagram(now, address(9100), datagram);
                bob.handle_datagram(now, ([127, 0, 0, 2], 9100).into(), datagram);
            }
        }
        let mut events = Events::new();
        bob.take_events(&mut events);
        let refused = events.iter().map(|event| match event {
            Event::Refused(refused) => (refused.unopened, refused.count),
            other => panic!("{other:?}"),
        });
        refused.collect::<Vec<_>>()
    };
    assert_eq!(tell(&mut bob, at(0)), [(true, 1), (true, 1)]);
    assert_eq!(tell(&mut bob, at(9_999)), []);
    assert_eq!(tell(&mut bob, at(10_000)), [(true, 24), (true, 24)]);
    for cause in [
        DropCause::Malformed,
        DropCause::Suite,
        DropCause::Key,
        DropCause::Mac,
    ] {
        assert_eq!(bob.stats().drops.get(cause), 18, "{cause}");
    }
    let late = Now {
        unix_ms: at(0).unix_ms + 90_000,
        ..at(10_001)
    };
    bob.handle_datagram(late, address(9100), &good);
    let mut events = Events::new();
    bob.take_events(&mut events);
    let Some(Event::Refused(refused)) = events.get(0) else {
        panic!("nothing was told")
    };
    assert_eq!((refused.cause, refused.unopened), (DropCause::Time, false));
    assert_eq!(refused.clock_ahead_ms, Some(-90_000));
}

#[test]
fn no_key_shows_in_a_configuration() {
    let shown = format!("{:?}", sealed(config("alice")));
    let keys = seal_with(7).keys;
    assert!(shown.contains(&format!("{keys:?}")));
    assert!(!shown.contains("7, 7") && !shown.contains("0707"));
}

/// Somebody without the key has moved the first datagram of a sender to another address, and goes
/// on with others.
#[test]
fn what_is_sealed_is_obeyed_wherever_it_comes_from() {
    let mut net = sealed_net(2);
    net.run(1_500, |by, to, _| (by, to) == (0, 1));
    let mut moved = net.log.len();
    let mut said = Vec::new();
    for i in 0..60_u64 {
        let text = i.to_string();
        net.emit(0, &text);
        said.push(text);
        // The last few do not arrive at first.
        let mut held_back = i >= 55;
        net.run(1_500 + 100 * (i + 1), |by, to, datagram| {
            let is_event = (by, to) == (0, 1) && inner_name(datagram) == "e";
            let is_first = (by, to) == (0, 1) && i == 0;
            is_first || is_event && std::mem::take(&mut held_back)
        });
        let sent = net.log.split_off(moved);
        if i % 10 == 0
            && let Some((.., datagram)) = sent.iter().find(|(_, by, ..)| *by == 0)
        {
            let now = net.now();
            net.engines[1].handle_datagram(now, address(6_666), datagram);
        }
        moved = net.log.len();
    }
    net.run(12_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| line.parse::<u64>().is_ok() || line.starts_with("lost"));
    assert_eq!(told, said);
}
