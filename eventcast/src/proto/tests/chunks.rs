//! Chunked messages from engine to engine.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;

fn joined(datagrams: &[Vec<u8>]) -> Vec<u8> {
    datagrams
        .iter()
        .flat_map(|datagram| parse(datagram).rest)
        .copied()
        .collect()
}

#[test]
fn a_message_is_cut_where_the_wire_says() {
    let mut alice = engine(config("alice"));
    let overhead = emitted(config("alice"), 1, "edge", &payload(vec!["".into()]))[0].len();
    for (len, datagrams_expected) in [(1024 - overhead, 1), (1025 - overhead, 2)] {
        let payload = payload(vec!["x".repeat(len).into()]);
        let accepted = alice.emit(at(0), outgoing("edge", &payload)).unwrap();
        let waiting = alice.queued_bytes();
        let sent = datagrams(&mut alice, at(0));
        assert_eq!(sent.len(), datagrams_expected);
        assert_eq!(waiting, sent.iter().map(Vec::len).sum::<usize>());
        assert_eq!(
            parse(&sent[0]).metadata.seq_id,
            accepted.message_id.to_string()
        );
    }
}

#[test]
fn slices_and_their_metadata() {
    let mut alice = engine(config("alice"));
    let payload = large_payload(4_000, 0);
    let accepted = alice
        .emit(
            at(3),
            Outgoing {
                schema: Some(77),
                ..outgoing("document", &payload)
            },
        )
        .unwrap();
    let sent = datagrams(&mut alice, at(3));
    assert_eq!(sent.len(), 5);
    for (seq, datagram) in sent.iter().enumerate() {
        let Datagram { metadata, rest } = parse(datagram);
        assert_eq!((metadata.seq, metadata.seq_len), (seq as u32, 5));
        assert_eq!(metadata.seq_id, accepted.message_id.to_string());
        if seq < 4 {
            assert_eq!(rest.len(), 1024);
        }
        let described = metadata.described.unwrap();
        assert_eq!((described.name, described.schema), ("document", None));
        assert_eq!(described.identity.incarnation, Some(config("").incarnation));
    }
    let inner = joined(&sent);
    let Datagram { metadata, rest } = parse(&inner);
    assert_eq!((metadata.seq, metadata.seq_len), (0, 1));
    assert_ne!(metadata.seq_id, accepted.message_id.to_string());
    assert_eq!(metadata.described.unwrap().schema, Some(77));
    assert_eq!(rest, payload);

    let got = deliver(&mut listener(), at(5), address(9001), &sent);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].args, args_of(&payload));
    assert_eq!(
        (got[0].message_id, got[0].time),
        (accepted.message_id, Some(at(3).unix_ms))
    );
}

#[test]
fn no_datagram_is_longer_than_a_frame_carries() {
    for (host, whole) in [("10.9.0.1", 1472), ("fe80::1", 1452)] {
        for name_len in [1, 200, 700] {
            let config = Config {
                max_payload_size: 1400,
                host: host.parse().unwrap(),
                ..config("alice")
            };
            let payload = large_payload(100_000, 0);
            let name = "n".repeat(name_len);
            let sent = emitted(config, 1, &name, &payload);
            assert_eq!(sent.iter().map(Vec::len).max(), Some(whole));
            let got = deliver(&mut listener(), at(0), address(9001), &sent);
            assert_eq!((got.len(), got[0].args.as_slice()), (1, args_of(&payload)));
        }
    }
}

#[test]
fn above_a_frame_slices_are_as_long_as_asked() {
    let payload = large_payload(150_000, 0);
    let sent = emitted(
        Config {
            max_payload_size: 60_000,
            ..config("alice")
        },
        1,
        "e",
        &payload,
    );
    assert_eq!(sent.len(), 3);
    assert_eq!(parse(&sent[0]).rest.len(), 60_000);
    assert_eq!(
        deliver(&mut listener(), at(0), address(9001), &sent).len(),
        1
    );
}

#[test]
fn no_room_for_data() {
    let mut alice = engine(Config {
        hostname: "h".repeat(255),
        ..config(&"i".repeat(64))
    });
    let name = "n".repeat(1024);
    let refused = Refusal::NoRoomForData {
        key_len: 1024,
        max_payload_size: 1024,
    };
    assert_eq!(
        alice.emit(at(0), outgoing(&name, &payload(vec![]))),
        Err(refused)
    );
    assert!(refused.to_string().contains("1024 bytes"), "{refused}");
    assert_eq!(alice.next_transmit(), None);
}

#[test]
fn too_large_for_the_receivers() {
    let config = Config {
        max_message_size: 100_000,
        ..config("alice")
    };
    let mut alice = engine(config.clone());
    for (len, fits) in [
        (90_000, true),
        (98_000, true),
        (100_000, false),
        (1 << 20, false),
    ] {
        let payload = large_payload(len, 0);
        let result = alice.emit(at(0), outgoing("e", &payload));
        assert_eq!(result.is_ok(), fits, "{result:?}");
        let sent = datagrams(&mut alice, at(0));
        assert_eq!(
            deliver(&mut engine(config.clone()), at(0), address(9001), &sent),
            []
        );
        let mut bob = engine(Config {
            id: "bob".to_owned(),
            ..config.clone()
        });
        assert_eq!(
            deliver(&mut bob, at(0), address(9001), &sent).len(),
            usize::from(fits)
        );
    }
}

#[test]
fn any_order_doubled_interleaved_and_again() {
    let one = large_payload(300_000, 1);
    let two = large_payload(300_000, 2);
    let first = emitted(config("alice"), 1, "one", &one);
    let second = emitted(config("alice"), 2, "two", &two);
    let check = |datagrams: &[Vec<u8>], expected: &[&[u8]]| {
        let mut bob = listener();
        let got = deliver(&mut bob, at(0), address(9001), datagrams);
        let args: Vec<&[u8]> = got.iter().map(|got| got.args.as_slice()).collect();
        assert_eq!(args.len(), expected.len());
        assert!(
            expected
                .iter()
                .all(|payload| args.contains(&args_of(payload)))
        );
        assert_eq!(
            (bob.stats().incomplete_messages, bob.stats().held_bytes),
            (0, 0)
        );
        // Late repeats open nothing.
        assert_eq!(deliver(&mut bob, at(1), address(9001), datagrams), []);
        assert_eq!(
            (bob.stats().incomplete_messages, bob.stats().held_bytes),
            (0, 0)
        );
    };

    let mut order = first.clone();
    order.reverse();
    check(&order, &[&one]);
    for seed in 1..=20 {
        order.shuffle(&mut StdRng::from_seed([seed; 32]));
        check(&order, &[&one]);
    }
    let five_times: Vec<_> = first
        .iter()
        .flat_map(|datagram| vec![datagram.clone(); 5])
        .collect();
    check(&five_times, &[&one]);
    let interleaved: Vec<_> = first
        .iter()
        .zip(&second)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    assert_eq!(interleaved.len(), 2 * first.len());
    check(&interleaved, &[&one, &two]);
    let mut all = [first, second].concat();
    all.shuffle(&mut StdRng::from_seed([99; 32]));
    check(&all, &[&one, &two]);
}

#[test]
fn senders_with_the_same_seq_id_are_not_mixed() {
    let payloads = [large_payload(9_000, 1), large_payload(9_000, 2)];
    let messages = payloads.each_ref().map(|payload| {
        let inner = Craft {
            rest: payload,
            seq_id: [1; 20],
            ..Craft::default()
        }
        .make();
        cut(&inner, 500, &Craft::default())
    });
    let mut bob = listener();
    for (a, b) in messages[0].iter().zip(&messages[1]) {
        bob.handle_datagram(at(0), address(1), a);
        bob.handle_datagram(at(0), address(2), b);
    }
    let got = drain(&mut bob).0;
    assert_eq!(got.len(), 2);
    for (got, (port, payload)) in got.iter().zip([(1, &payloads[0]), (2, &payloads[1])]) {
        assert_eq!(
            (got.from, got.args.as_slice()),
            (address(port), args_of(payload))
        );
    }
}

#[test]
fn one_message_from_two_addresses_is_delivered_once() {
    let payload = large_payload(9_000, 1);
    let sent = emitted(config("alice"), 1, "e", &payload);
    let mut bob = listener();
    for datagram in &sent {
        bob.handle_datagram(at(0), address(1), datagram);
        bob.handle_datagram(at(0), address(2), datagram);
    }
    let (got, others) = drain(&mut bob);
    assert_eq!(
        (got.len(), others),
        (1, vec!["refused duplicate x1".to_owned()])
    );
    assert_eq!(bob.stats().held_bytes, 0);
}
