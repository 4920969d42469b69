//! Small events from engine to engine.

use super::*;

#[test]
fn an_event_arrives_as_it_was_sent() {
    let mut alice = engine(Config {
        hostname: "wonder".to_owned(),
        ..config("alice")
    });
    let payload = payload(vec![Bson::Int32(5), "x".into()]);
    let accepted = alice
        .emit(
            at(7),
            Outgoing {
                schema: Some(-5),
                ..outgoing("greeting", &payload)
            },
        )
        .unwrap();
    assert_eq!(accepted.number, None);
    assert!(alice.next_transmit().is_some());
    let sent = datagrams(&mut alice, at(7));
    assert_eq!(sent.len(), 1);
    assert_eq!((alice.queued_bytes(), alice.next_transmit()), (0, None));

    let mut bob = listener();
    bob.handle_datagram(at(9), address(9001), &sent[0]);
    let mut events = Events::new();
    assert!(bob.take_events(&mut events));
    let Some(Event::Message(message)) = events.get(0) else {
        panic!()
    };
    assert!(events.get(1).is_none());
    assert_eq!(
        (message.key, message.args.parts().1),
        ("greeting", args_of(&payload))
    );
    assert_eq!(
        (message.time, message.schema),
        (Some(at(7).unix_ms), Some(-5))
    );
    assert_eq!(message.message_id, accepted.message_id);
    let peer = message.peer;
    assert_eq!(
        (peer.id.as_str(), peer.incarnation),
        ("alice", Some(1_795_585_000_000))
    );
    assert_eq!(
        (peer.hostname.as_str(), peer.host.as_str(), peer.port),
        ("wonder", "127.0.0.1", 9001)
    );
    assert_eq!(peer.address, address(9001));
    assert!(!bob.take_events(&mut events));
}

#[test]
fn what_is_sent_has_every_key_of_the_wire_in_order() {
    let sent = emitted(config("alice"), 1, "greeting", &payload(vec![]));
    let document = bson::RawDocument::from_bytes(&sent[0][2..][..sent[0].len() - 2 - 19]).unwrap();
    let keys: Vec<String> = document
        .iter()
        .map(|element| element.unwrap().0.to_string())
        .collect();
    let expected = [
        "v", "seq", "seqLen", "seqId", "seqEnd", "enc", "name", "host", "port", "hostname", "id",
        "time", "inc",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn equal_datagrams_go_together() {
    let mut alice = engine(config("alice"));
    let (short, long) = (payload(vec![]), payload(vec!["0123456789".into()]));
    for i in 0..100 {
        alice
            .emit(at(0), outgoing("e", if i == 70 { &short } else { &long }))
            .unwrap();
    }
    alice.emit(at(0), outgoing("e", &short)).unwrap();
    alice.emit(at(0), outgoing("e", &long)).unwrap();
    let waiting = alice.queued_bytes();
    let mut buf = b"what was there".to_vec();
    let mut groups = Vec::new();
    let mut total = 0;
    while let Some(transmit) = alice.poll_transmit(at(0), &mut buf) {
        let len = transmit.segment_size.unwrap_or(buf.len());
        groups.push(buf.len().div_ceil(len));
        assert_eq!(transmit.segment_size.is_some(), buf.len() > len);
        total += buf.len();
        assert_eq!(alice.queued_bytes(), waiting - total);
    }
    assert!(buf.is_empty());
    // As many as the kernel takes; up to and with the shorter one; the rest with the shorter one;
    // the last.
    assert_eq!(groups, [64, 7, 30, 1]);
    assert_eq!(alice.stats().sent_datagrams, 102);
    assert_eq!(alice.stats().sent_bytes, waiting as u64);
}

#[test]
fn long_datagrams_go_one_by_one() {
    let mut alice = engine(Config {
        max_payload_size: 2000,
        ..config("alice")
    });
    for _ in 0..3 {
        alice
            .emit(at(0), outgoing("e", &large_payload(1600, 0)))
            .unwrap();
    }
    let mut buf = Vec::new();
    for _ in 0..3 {
        assert_eq!(
            alice.poll_transmit(at(0), &mut buf).unwrap().segment_size,
            None
        );
        assert!(buf.len() > 1600 && buf.len() <= 2000);
    }
    assert!(alice.poll_transmit(at(0), &mut buf).is_none());
}

#[test]
fn doubled_datagrams_are_one_event() {
    let sent = emitted(config("alice"), 1, "tick", &payload(vec![Bson::Int32(1)]));
    let mut bob = listener();
    assert_eq!(deliver(&mut bob, at(0), address(9001), &sent).len(), 1);
    assert_eq!(deliver(&mut bob, at(1), address(9001), &sent), []);
    // From elsewhere too: another interface of the sender, or somebody who recorded it.
    assert_eq!(deliver(&mut bob, at(2), address(9002), &sent), []);
    assert_eq!(deliver(&mut bob, at(1499), address(9001), &sent), []);
    assert_eq!(bob.stats().drops.get(DropCause::Duplicate), 3);
    // Remembered for three times the messages' life, no longer.
    assert_eq!(deliver(&mut bob, at(1500), address(9001), &sent).len(), 1);
}

#[test]
fn equal_content_alone_is_no_double() {
    let mut alice = engine(config("alice"));
    let payload = payload(vec![Bson::Int32(1)]);
    alice.emit(at(0), outgoing("tick", &payload)).unwrap();
    alice.emit(at(0), outgoing("tick", &payload)).unwrap();
    let sent = datagrams(&mut alice, at(0));
    assert_eq!(
        deliver(&mut listener(), at(0), address(9001), &sent).len(),
        2
    );
}

#[test]
fn another_message_of_another_address_is_no_double() {
    let mut bob = listener();
    let one = Craft {
        rest: &payload(vec![Bson::Int32(1)]),
        ..Craft::default()
    }
    .make();
    let two = Craft {
        rest: &payload(vec![Bson::Int32(2)]),
        ..Craft::default()
    }
    .make();
    assert_eq!(
        deliver(&mut bob, at(0), address(1), std::slice::from_ref(&one)).len(),
        1
    );
    assert_eq!(
        deliver(&mut bob, at(0), address(2), std::slice::from_ref(&two)).len(),
        1
    );
    assert_eq!(deliver(&mut bob, at(0), address(1), &[two, one]), []);
}

#[test]
fn echoes_are_dropped_and_namesakes_told() {
    let mut alice = engine(config("alice"));
    let incarnation = config("alice").incarnation;
    let mut seq = 0;
    let mut craft = |incarnation| {
        seq += 1;
        Craft {
            id: "alice",
            incarnation,
            seq_id: [seq; 20],
            ..Craft::default()
        }
        .make()
    };
    for round in 1..=2 {
        for incarnation in [Some(incarnation), None] {
            alice.handle_datagram(at(0), address(1), &craft(incarnation));
            assert_eq!(drain(&mut alice), (vec![], vec![]));
        }
        assert_eq!(alice.stats().drops.get(DropCause::Echo), 2 * round);
    }
    for (now, told) in [(0, true), (5_000, false), (10_000, true)] {
        alice.handle_datagram(at(now), address(1), &craft(Some(7)));
        let (messages, others) = drain(&mut alice);
        assert_eq!(
            (messages.len(), others.len()),
            (1, usize::from(told)),
            "{now}"
        );
        assert!(others.iter().all(|other| other == "clash alice"));
    }
    // Also when a namesake has been heard from that address, and the other way round.
    alice.handle_datagram(at(0), address(1), &craft(Some(incarnation)));
    assert_eq!(alice.stats().drops.get(DropCause::Echo), 5);
}

#[test]
fn names_that_cannot_be_emitted() {
    let mut alice = engine(config("alice"));
    let payload = payload(vec![]);
    for (name, refusal) in [
        (
            "",
            Refusal::KeyLength {
                len: 0,
                limit: 1024,
            },
        ),
        (
            &"n".repeat(1025),
            Refusal::KeyLength {
                len: 1025,
                limit: 1024,
            },
        ),
        ("__ec_hello", Refusal::ReservedKey),
    ] {
        assert_eq!(alice.emit(at(0), outgoing(name, &payload)), Err(refusal));
    }
    assert_eq!(
        (alice.queued_bytes(), alice.stats().refused_messages),
        (0, 3)
    );
    alice.emit(at(0), outgoing("__ec", &payload)).unwrap();
}

#[test]
fn the_longest_names_travel() {
    let long = Config {
        hostname: "h".repeat(300),
        max_payload_size: 60_000,
        ..config(&"i".repeat(64))
    };
    let sent = emitted(long, 1, &"n".repeat(1024), &payload(vec![]));
    let mut bob = listener();
    for datagram in sent {
        bob.handle_datagram(at(0), address(9001), &datagram);
    }
    let mut events = Events::new();
    bob.take_events(&mut events);
    let Some(Event::Message(message)) = events.get(0) else {
        panic!()
    };
    assert_eq!(
        (
            message.key.len(),
            message.peer.hostname.len(),
            message.peer.id.len()
        ),
        (1024, 255, 64)
    );
}

#[test]
fn a_full_queue_refuses_and_changes_nothing() {
    let mut alice = engine(Config {
        send_queue: 1000,
        ..config("alice")
    });
    let (small, large) = (payload(vec![]), large_payload(5_000, 0));
    // Alone, anything has room.
    alice.emit(at(0), outgoing("large", &large)).unwrap();
    let queued = alice.queued_bytes();
    assert!(queued > 5_000);
    let full = Err(Refusal::QueueFull {
        queued,
        limit: 1000,
    });
    assert_eq!(alice.emit(at(0), outgoing("large", &large)), full);
    assert_eq!(alice.queued_bytes(), queued);
    // It takes no room from small ones.
    alice.emit(at(0), outgoing("small", &small)).unwrap();
    assert_eq!(datagrams(&mut alice, at(0)).len(), 7);
    assert_eq!(alice.queued_bytes(), 0);

    let one = Craft::default().make().len();
    let mut taken = 0;
    while alice.emit(at(0), outgoing("small", &small)).is_ok() {
        taken += 1;
    }
    assert!(
        taken >= 1000 / (one + 20) && taken <= 1000 / (one - 20),
        "{taken}"
    );
    assert!(alice.queued_bytes() <= 1000);
    assert_eq!(datagrams(&mut alice, at(0)).len(), taken);
}

#[test]
fn a_queue_that_never_empties_keeps_order_and_size() {
    let mut alice = engine(config("alice"));
    let mut buf = Vec::new();
    let mut next = 0;
    for i in 0..3_000 {
        // Lengths differ, so that one goes at a time.
        let payload = payload(vec![Bson::Int32(i), "x".repeat((i % 300) as usize).into()]);
        alice.emit(at(0), outgoing("e", &payload)).unwrap();
        if i < 100 {
            continue;
        }
        let transmit = alice.poll_transmit(at(0), &mut buf).unwrap();
        for datagram in buf.chunks(transmit.segment_size.unwrap_or(buf.len())) {
            let rest = Datagram::parse(datagram).unwrap().rest;
            let args = crate::codec::RawArgs::from_payload(rest).unwrap();
            assert_eq!(args.iter().next().unwrap().bytes, i32::to_le_bytes(next));
            next += 1;
        }
    }
    assert!(next > 2_000);
}
