//! Chunked messages from engine to engine.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;

/// The metadata and the slice of a datagram.
fn parse(datagram: &[u8]) -> Datagram<'_> {
    Datagram::parse(datagram).unwrap()
}

fn joined(datagrams: &[Vec<u8>]) -> Vec<u8> {
    datagrams
        .iter()
        .flat_map(|datagram| parse(datagram).rest)
        .copied()
        .collect()
}

/// The datagrams of a message that joins to `inner`, from a peer without extensions.
fn cut(inner: &[u8], slice_len: usize, craft: &Craft<'_>) -> Vec<Vec<u8>> {
    let slices: Vec<&[u8]> = inner.chunks(slice_len).collect();
    let seq_len = slices.len() as u32;
    let datagram = |(seq, rest): (usize, &&[u8])| {
        Craft {
            seq: seq as u32,
            seq_len,
            rest,
            ..*craft
        }
        .make()
    };
    slices.iter().enumerate().map(datagram).collect()
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
        name_len: 1024,
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
        assert_eq!(bob.poll_timeout(), None);
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
        (1, vec!["refused double x1".to_owned()])
    );
    assert_eq!(bob.stats().held_bytes, 0);
}

#[test]
fn small_events_overtake_and_chunks_keep_their_pace() {
    let mut alice = engine(config("alice"));
    let (small, large) = (payload(vec![]), large_payload(200_000, 0));
    alice.emit(at(0), outgoing("large", &large)).unwrap();
    let micros = |micros| Now {
        elapsed: Duration::from_micros(micros),
        unix_ms: 0,
    };
    let mut buf = Vec::new();
    let mut burst = |alice: &mut Engine, now| {
        let mut counts = (0, 0);
        while let Some(transmit) = alice.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks(transmit.segment_size.unwrap_or(buf.len())) {
                match parse(datagram).metadata.seq_len {
                    1 => counts.0 += 1,
                    _ => counts.1 += 1,
                }
            }
        }
        counts
    };
    // (small, chunks)
    assert_eq!(burst(&mut alice, micros(1000)), (0, 64));
    assert_eq!(alice.next_transmit(), Some(Duration::from_micros(1250)));
    assert_eq!(burst(&mut alice, micros(1249)), (0, 0));
    alice.emit(at(1), outgoing("small", &small)).unwrap();
    assert_eq!(alice.next_transmit(), Some(Duration::ZERO));
    assert_eq!(burst(&mut alice, micros(1249)), (1, 0));
    assert_eq!(burst(&mut alice, micros(1250)), (0, 32));
    // Whoever comes late may make up for one burst.
    assert_eq!(burst(&mut alice, micros(5000)), (0, 64));
    assert_eq!(alice.next_transmit(), Some(Duration::from_micros(5250)));
    let rest = datagrams(&mut alice, micros(5250)).len();
    assert_eq!(64 + 32 + 64 + rest, 196);
    assert_eq!((alice.next_transmit(), alice.queued_bytes()), (None, 0));
}

#[test]
fn a_burst_is_bounded_in_bytes_too() {
    let mut alice = engine(Config {
        max_payload_size: 30_000,
        ..config("alice")
    });
    alice
        .emit(at(0), outgoing("large", &large_payload(300_000, 0)))
        .unwrap();
    let mut buf = Vec::new();
    let mut sent = 0;
    while let Some(transmit) = alice.poll_transmit(at(10), &mut buf) {
        assert_eq!(transmit.segment_size, None);
        sent += 1;
    }
    assert_eq!(sent, 4);
}

#[test]
fn small_events_do_not_stop_chunks() {
    let mut alice = engine(config("alice"));
    let small = payload(vec![]);
    alice
        .emit(at(0), outgoing("large", &large_payload(20_000, 0)))
        .unwrap();
    let mut buf = Vec::new();
    let mut polls = 0;
    while alice.queued_bytes() > 0 && polls < 10 {
        alice.emit(at(0), outgoing("small", &small)).unwrap();
        alice.poll_transmit(at(0), &mut buf).unwrap();
        polls += 1;
        if parse(&buf[..buf.len().min(1252)]).metadata.seq_len > 1 {
            return;
        }
    }
    panic!("no chunk was sent");
}

#[test]
fn what_a_joined_message_must_not_be() {
    let good = Craft {
        rest: &large_payload(900, 0),
        seq_id: [1; 20],
        ..Craft::default()
    }
    .make();
    let with = |change: &dyn Fn(&mut bson::Document)| {
        let mut metadata = metadata();
        change(&mut metadata);
        framed(&metadata, &large_payload(900, 0))
    };
    let nested = Craft {
        seq: 0,
        seq_len: 2,
        rest: &[7; 900],
        ..Craft::default()
    }
    .make();
    let mut encrypted =
        doc! { "v": 3, "seq": 0, "seqLen": 1, "seqId": "x", "seqEnd": true, "enc": true };
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("a chunk", nested, "malformed"),
        ("no datagram", vec![1; 900], "malformed"),
        ("cut off", good[..good.len() - 1].to_vec(), "malformed"),
        ("padded", [&good[..], &[0]].concat(), "malformed"),
        (
            "of another version",
            with(&|m| drop(m.insert("v", 4))),
            "version",
        ),
        (
            "of another name",
            with(&|m| drop(m.insert("name", "other"))),
            "inconsistent",
        ),
        (
            "of another id",
            with(&|m| drop(m.insert("id", "other"))),
            "inconsistent",
        ),
        (
            "of another incarnation",
            with(&|m| drop(m.insert("inc", 5_i64))),
            "inconsistent",
        ),
        (
            "numbered",
            with(&|m| m.extend(doc! { "inc": 5_i64, "n": 1_i64 })),
            "inconsistent",
        ),
        (
            "of a reserved name",
            with(&|m| drop(m.insert("name", "__ec_hello"))),
            "inconsistent",
        ),
        (
            "encrypted",
            framed(&std::mem::take(&mut encrypted), &[7; 900]),
            "classic",
        ),
    ];
    let mut bob = listener();
    for (i, (what, inner, cause)) in cases.into_iter().enumerate() {
        let message = cut(
            &inner,
            300,
            &Craft {
                seq_id: [i as u8 + 100; 20],
                ..Craft::default()
            },
        );
        let before = bob.stats().drops;
        assert_eq!(deliver(&mut bob, at(0), address(1), &message), [], "{what}");
        let cause = DropCause::ALL
            .into_iter()
            .find(|c| c.name() == cause)
            .unwrap();
        assert_eq!(
            bob.stats().drops.get(cause),
            before.get(cause) + 1,
            "{what}"
        );
        // It is over, and its chunks are doubles.
        assert_eq!(deliver(&mut bob, at(0), address(1), &message), [], "{what}");
        assert_eq!(
            bob.stats().drops.get(DropCause::Double) - before.get(DropCause::Double),
            message.len() as u64
        );
        assert_eq!(bob.stats().held_bytes, 0, "{what}");
    }
    assert_eq!(
        deliver(
            &mut bob,
            at(0),
            address(1),
            &cut(&good, 300, &Craft::default())
        )
        .len(),
        1
    );
}

#[test]
fn chunks_that_contradict_the_first_are_dropped_and_do_no_harm() {
    let inner = Craft {
        rest: &large_payload(2_000, 0),
        ..Craft::default()
    }
    .make();
    let message = cut(&inner, 400, &Craft::default());
    let total = message.len() as u32;
    let slice = &inner[400..800];
    let base = || Craft {
        seq: 1,
        seq_len: total,
        rest: slice,
        ..Craft::default()
    };
    let mut bob = listener();
    bob.handle_datagram(at(0), address(1), &message[0]);
    for (i, bad) in [
        Craft {
            seq_len: total + 1,
            ..base()
        },
        Craft {
            name: "other",
            ..base()
        },
        Craft {
            id: "other",
            ..base()
        },
        Craft {
            incarnation: Some(4),
            ..base()
        },
        Craft {
            rest: &slice[1..],
            ..base()
        },
        Craft {
            rest: &inner[400..801],
            ..base()
        },
        Craft {
            seq: 0,
            rest: slice,
            ..base()
        },
        Craft {
            seq: total - 1,
            rest: &inner[..401],
            ..base()
        },
    ]
    .iter()
    .enumerate()
    {
        bob.handle_datagram(at(0), address(1), &bad.make());
        assert_eq!(
            bob.stats().drops.get(DropCause::Inconsistent),
            i as u64 + 1,
            "case {i}"
        );
    }
    assert_eq!(deliver(&mut bob, at(0), address(1), &message[1..]).len(), 1);
}

#[test]
fn a_message_expires_when_nothing_comes_any_more() {
    let sent = emitted(config("alice"), 1, "e", &large_payload(9_000, 0));
    let mut bob = listener();
    assert_eq!(bob.poll_timeout(), None);
    for (i, datagram) in sent[..4].iter().enumerate() {
        bob.handle_datagram(at(400 * i as u64), address(1), datagram);
        // A double is no progress.
        bob.handle_datagram(at(400 * i as u64 + 100), address(1), datagram);
        bob.handle_timeout(at(400 * i as u64 + 399));
        assert_eq!(bob.stats().incomplete_messages, 1);
    }
    drain(&mut bob);
    let mut now = at(1200);
    while let Some(timeout) = bob.poll_timeout() {
        now.elapsed = now.elapsed.max(timeout);
        bob.handle_timeout(now);
    }
    assert_eq!(now.elapsed, Duration::from_millis(1700));
    assert_eq!(
        drain(&mut bob).1,
        [format!("expired Silent 4/{} +0", sent.len())]
    );
    let stats = bob.stats();
    assert_eq!(
        (
            stats.expired_messages,
            stats.incomplete_messages,
            stats.held_bytes
        ),
        (1, 0, 0)
    );
    // What comes later does not open it again.
    assert_eq!(deliver(&mut bob, at(1800), address(1), &sent), []);
    assert_eq!(bob.stats().incomplete_messages, 0);
}

#[test]
fn progress_does_not_keep_a_message_for_ever() {
    let inner = Craft {
        rest: &large_payload(9_000, 0),
        ..Craft::default()
    }
    .make();
    let message = cut(&inner, 100, &Craft::default());
    let mut bob = listener();
    let mut told = Vec::new();
    for (i, datagram) in message.iter().enumerate() {
        let now = at(i as u64 * 250);
        if bob
            .poll_timeout()
            .is_some_and(|timeout| timeout <= now.elapsed)
        {
            bob.handle_timeout(now);
        }
        told.append(&mut drain(&mut bob).1);
        if !told.is_empty() {
            break;
        }
        bob.handle_datagram(now, address(1), datagram);
    }
    // 20 times 500 ms after the first.
    assert_eq!(told, [format!("expired Overdue 40/{} +0", message.len())]);
}
