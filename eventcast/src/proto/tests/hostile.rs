//! What no datagram can do, whatever it holds.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// Hands in a datagram and gives the cause of its drop; a message that follows has to arrive.
fn refused(bob: &mut Engine, from: SocketAddr, datagram: &[u8]) -> Option<DropCause> {
    let before = bob.stats();
    bob.handle_datagram(at(0), from, datagram);
    let after = bob.stats();
    let (got, _) = drain(bob);
    let mut causes = DropCause::ALL
        .into_iter()
        .filter(|c| after.drops.get(*c) > before.drops.get(*c));
    let cause = causes.next();
    assert_eq!(
        after.drops.total() - before.drops.total(),
        u64::from(cause.is_some())
    );
    assert_eq!(
        got.len(),
        usize::from(cause.is_none()) - (after.incomplete_messages - before.incomplete_messages)
    );
    cause
}

#[test]
fn short_and_random_ones() {
    let mut bob = listener();
    let mut rng = StdRng::from_seed([1; 32]);
    let mut random = vec![0; 65_507];
    rng.fill(&mut random[..]);
    for datagram in [
        &b""[..],
        b"\0",
        b"\xff\xff",
        b"\xff\xff\xff\xff",
        b"\0\0",
        b"\0\x05\x05\0\0\0\0",
        &random,
    ] {
        assert_eq!(
            refused(&mut bob, address(1), datagram),
            Some(DropCause::Malformed),
            "{datagram:?}"
        );
    }
    for _ in 0..20_000 {
        let len = rng.random_range(0..400);
        rng.fill(&mut random[..len]);
        // Often enough a length field that fits.
        if len > 2 && rng.random() {
            random[0] = 0;
            random[1] = rng.random_range(0..len as u16) as u8;
        }
        assert_eq!(
            refused(&mut bob, address(1), &random[..len]),
            Some(DropCause::Malformed)
        );
    }
    assert_eq!(
        refused(&mut bob, address(1), &Craft::default().make()),
        None
    );
}

#[test]
fn cut_off_and_padded_ones() {
    let good = emitted(config("alice"), 1, "ok", &payload(vec![Bson::Int32(1)])).remove(0);
    let mut strange = listener();
    let mut known = listener();
    let before = emitted(config("alice"), 2, "ok", &payload(vec![]));
    deliver(&mut known, at(0), address(1), &before);
    for bob in [&mut strange, &mut known] {
        for len in 0..good.len() {
            assert_eq!(
                refused(bob, address(1), &good[..len]),
                Some(DropCause::Malformed),
                "{len}"
            );
        }
        assert_eq!(
            refused(bob, address(1), &[&good[..], b"\0"].concat()),
            Some(DropCause::Malformed)
        );
        assert_eq!(refused(bob, address(1), &good), None);
    }
}

#[test]
fn metadata_that_is_refused() {
    let with = |change: bson::Document| {
        let mut metadata = metadata();
        metadata.extend(change);
        metadata
    };
    let good = payload(vec![]);
    let mut bob = listener();
    let mut check = |metadata: &bson::Document, cause: Option<DropCause>| {
        assert_eq!(
            refused(&mut bob, address(1), &framed(metadata, &good)),
            cause,
            "{metadata}"
        );
    };

    for key in metadata().keys() {
        let mut without = metadata();
        without.remove(key);
        check(&without, Some(DropCause::Malformed));
        check(&with(doc! { key: Bson::Null }), Some(DropCause::Malformed));
        check(&with(doc! { key: { "x": 1 } }), Some(DropCause::Malformed));
    }
    for key in ["v", "seq", "seqLen", "port", "inc", "n"] {
        for value in [
            Bson::Int32(-1),
            Bson::Int64(-1),
            Bson::Double(-1.0),
            Bson::Double(0.5),
            Bson::Double(f64::NAN),
        ] {
            check(
                &with(doc! { "inc": 1, key: value }),
                Some(DropCause::Malformed),
            );
        }
        check(
            &with(doc! { "inc": 1, key: "1" }),
            Some(DropCause::Malformed),
        );
        check(
            &with(doc! { "inc": 1, key: true }),
            Some(DropCause::Malformed),
        );
    }
    for malformed in [
        doc! { "port": 65_536 },
        doc! { "seq": 1 },
        doc! { "seq": 2, "seqEnd": false },
        doc! { "seqLen": 0 },
        doc! { "seqLen": 2 },
        doc! { "seqEnd": false },
        doc! { "seq": 1, "seqLen": 2, "seqEnd": false },
        doc! { "seqId": "x".repeat(65) },
        doc! { "id": "x".repeat(65) },
        doc! { "host": "x".repeat(256) },
        doc! { "hostname": "x".repeat(256) },
        doc! { "name": "x".repeat(1025) },
        doc! { "nonce": 5 },
        doc! { "n": 1 },
        doc! { "inc": 5, "n": 0 },
        doc! { "sh": "x" },
        doc! { "enc": true, "inc": 5 },
    ] {
        check(&with(malformed), Some(DropCause::Malformed));
    }
    check(
        &with(doc! { "seqLen": 262_145, "seqEnd": false }),
        Some(DropCause::OverLimit),
    );
    check(&with(doc! { "enc": true }), Some(DropCause::Classic));
    check(
        &with(doc! { "name": "__ec_sealed" }),
        Some(DropCause::Sealed),
    );
    check(
        &with(doc! { "name": "__ec_other" }),
        Some(DropCause::Reserved),
    );
    check(
        &with(doc! { "name": "__ec_other", "seqLen": 2, "seqEnd": false }),
        Some(DropCause::Reserved),
    );
    check(&with(doc! { "name": "__ec_" }), Some(DropCause::Reserved));
    // Of a sender that is known, which is read the quick way.
    assert_eq!(
        refused(&mut bob, address(1), &framed(&metadata(), &good)),
        None
    );
    for (name, cause) in [
        ("__ec_sealed", DropCause::Sealed),
        ("__ec_nobody", DropCause::Reserved),
    ] {
        let reserved = framed(&with(doc! { "name": name }), &good);
        assert_eq!(refused(&mut bob, address(1), &reserved), Some(cause));
    }
}

#[test]
fn metadata_that_is_taken() {
    let good = payload(vec![]);
    let mut bob = listener();
    let mut i = 0_u64;
    let mut check = |metadata: bson::Document| {
        let mut metadata = metadata;
        i += 1;
        metadata.insert("seqId", format!("{i:040x}"));
        assert_eq!(
            refused(&mut bob, address(1), &framed(&metadata, &good)),
            None,
            "{metadata}"
        );
    };
    let with = |change: bson::Document| {
        let mut metadata = metadata();
        metadata.extend(change);
        metadata
    };

    let mut keys: Vec<_> = metadata().into_iter().collect();
    keys.reverse();
    check(keys.into_iter().collect());
    check(with(
        doc! { "v": 3_i64, "seq": 0.0, "seqLen": 1_i64, "port": 9100.0 },
    ));
    check(with(
        doc! { "v": 3.0, "seq": -0.0, "seqLen": 1.0, "port": 65_535_i64, "inc": 7.0, "n": 9 },
    ));
    check(with(
        doc! { "unknown": { "deep": [1, { "v": 4 }] }, "nonce": "x", "other": Bson::Null },
    ));
    check(with(doc! { "sh": -1_i64 }));
    check(with(doc! { "sh": i64::MIN }));
    check(with(
        doc! { "name": "", "id": "", "host": "", "hostname": "", "time": "" },
    ));
    check(with(doc! { "time": "yesterday" }));
    check(with(
        doc! { "name": "n".repeat(1024), "id": "x".repeat(64), "host": "h".repeat(255) },
    ));
    check(with(doc! { "name": "\u{0}\u{1}💡" }));
    check(with(doc! { "name": "__EC_hello" }));

    let mut metadata = metadata();
    metadata.insert("seqId", "not hex");
    assert_eq!(
        refused(&mut bob, address(1), &framed(&metadata, &good)),
        None
    );
    assert_eq!(
        refused(&mut bob, address(1), &framed(&metadata, &good)),
        Some(DropCause::Duplicate)
    );
}

#[test]
fn a_time_that_cannot_be_read_is_unknown() {
    let mut bob = listener();
    for (i, (time, expected)) in [
        ("yesterday", None),
        ("2026-11-25T05:43:43.172Z", Some(1_795_585_423_172)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut metadata = metadata();
        metadata.extend(doc! { "time": time, "seqId": i.to_string() });
        let got = deliver(
            &mut bob,
            at(0),
            address(1),
            &[framed(&metadata, &payload(vec![]))],
        );
        assert_eq!(got[0].time, expected);
    }
}

#[test]
fn payloads_that_are_refused() {
    let mut bob = listener();
    let deep = |depth: usize| {
        let mut value = Bson::Int32(1);
        for _ in 0..depth {
            value = Bson::Array(vec![value]);
        }
        payload(vec![value])
    };
    // The payload document is 1, the array of arguments 2.
    assert_eq!(
        refused(&mut bob, address(1), &framed(&metadata(), &deep(62))),
        None
    );
    let good = payload(vec![Bson::Int32(1), "text".into()]);
    let mut wrong_length = good.clone();
    wrong_length[0] += 1;
    let mut no_text = good.clone();
    let place = no_text.windows(4).position(|w| w == b"text").unwrap();
    no_text[place] = 0xff;
    for bad in [
        deep(63),
        wrong_length,
        no_text,
        vec![],
        good[..good.len() - 1].to_vec(),
        [&good[..], b"\0\0\0"].concat(),
        doc! {}.to_vec().unwrap(),
        doc! { "payloads": [1] }.to_vec().unwrap(),
        b"\x15\0\0\0\x0apayload\0\x0apayload\0\0".to_vec(),
        b"\x10\0\0\0\x08payload\0\x02\0".to_vec(),
        b"\x0e\0\0\0\x14payload\0\0".to_vec(),
    ] {
        let mut metadata = metadata();
        metadata.insert("seqId", "another");
        assert_eq!(
            refused(&mut bob, address(1), &framed(&metadata, &bad)),
            Some(DropCause::Malformed),
            "{bad:x?}"
        );
    }
}

#[test]
fn payloads_that_are_one_argument_or_have_company() {
    let mut bob = listener();
    let mut metadata = metadata();
    let one = framed(
        &metadata,
        &doc! { "payload": { "id": 5 } }.to_vec().unwrap(),
    );
    metadata.insert("seqId", "another");
    let company = framed(
        &metadata,
        &doc! { "a": [9], "payload": [5], "z": 1 }.to_vec().unwrap(),
    );
    for datagram in [one, company] {
        bob.handle_datagram(at(0), address(1), &datagram);
    }
    let mut events = Events::new();
    bob.take_events(&mut events);
    for event in events.iter() {
        let Event::Message(message) = event else {
            panic!("{event:?}")
        };
        assert_eq!(message.args.len(), 1);
    }
    assert_eq!(events.len(), 2);
}

#[test]
fn another_version_is_told_with_its_number() {
    let mut bob = listener();
    let old = |version: i64| framed(&doc! { "v": version, "whatever": true }, b"anything");
    for version in [2, 4] {
        bob.handle_datagram(at(0), address(1), &old(version));
    }
    bob.handle_datagram(at(0), stranger(), &old(1 << 40));
    assert_eq!(
        drain(&mut bob).1,
        ["version 2 x1", "version 1099511627776 x1"]
    );
    bob.handle_datagram(at(10_000), address(1), &old(5));
    assert_eq!(drain(&mut bob).1, ["version 5 x2"]);
    assert_eq!(bob.stats().drops.get(DropCause::Version), 4);
}

fn stranger() -> SocketAddr {
    ([10, 0, 0, 1], 5).into()
}

/// A few bytes changed, removed or added.
fn mutated(datagram: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = rng.random(),
            3 => drop(bytes.remove(at)),
            _ => bytes.insert(at, rng.random()),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// The quick way of reading and the thorough one agree on everything.
#[test]
fn mutations_are_read_alike_whether_the_sender_is_known_or_not() {
    let mut rng = StdRng::from_seed([4; 32]);
    let mut alice = engine(config("alice"));
    let payload = payload(vec![doc! { "user": 7, "name": "Ada" }.into()]);
    alice.emit(at(0), outgoing("first", &payload)).unwrap();
    alice
        .emit(
            at(0),
            Outgoing {
                schema: Some(5),
                ..outgoing("order.placed", &payload)
            },
        )
        .unwrap();
    alice
        .emit(at(0), outgoing("large", &large_payload(2_000, 0)))
        .unwrap();
    let sent = datagrams(&mut alice, at(0));
    let mut delivered = 0;
    for round in 0..30_000 {
        let bytes = mutated(&sent[1 + round % (sent.len() - 1)], &mut rng);
        let results = [false, true].map(|known| {
            let mut bob = listener();
            if known {
                deliver(&mut bob, at(0), address(1), &sent[..1]);
            }
            let before = bob.stats();
            let got = deliver(&mut bob, at(0), address(1), std::slice::from_ref(&bytes));
            let after = bob.stats();
            let drops: Vec<u64> = DropCause::ALL
                .iter()
                .map(|c| after.drops.get(*c) - before.drops.get(*c))
                .collect();
            (got, drops, after.incomplete_messages)
        });
        assert_eq!(results[0], results[1], "round {round}: {bytes:x?}");
        delivered += results[0].0.len();
    }
    // Flipped text is text; so some get through, but most do not.
    assert!(delivered > 100 && delivered < 15_000, "{delivered}");
}

/// What a sender says of itself has to stand in each datagram, wherever it stood in the one before.
#[test]
fn a_datagram_without_its_sender_is_malformed_whatever_came_before() {
    let mut bob = listener();
    let mut apart = metadata();
    let host = apart.remove("host").unwrap();
    apart.insert("host", host);
    let whole = framed(&metadata(), &payload(vec![]));
    let raw = parse(&whole).metadata.described.unwrap().identity.raw;
    let raw = raw.unwrap().to_vec();
    let begin = whole.windows(raw.len()).position(|part| part == raw);
    let mut without = whole.clone();
    without.drain(begin.unwrap()..begin.unwrap() + raw.len());
    let len = u16::from_be_bytes([whole[0], whole[1]]) - raw.len() as u16;
    without[..2].copy_from_slice(&len.to_be_bytes());
    without[2..6].copy_from_slice(&u32::from(len).to_le_bytes());
    for before in [framed(&apart, &payload(vec![])), whole] {
        deliver(&mut bob, at(0), address(1), &[before]);
        let malformed = bob.stats().drops.get(DropCause::Malformed);
        let got = deliver(&mut bob, at(0), address(1), std::slice::from_ref(&without));
        assert_eq!(got, []);
        assert_eq!(bob.stats().drops.get(DropCause::Malformed), malformed + 1);
    }
}

/// A receiver under a hail of mutations, chunks among them, never fails, and every datagram is
/// accounted for.
#[test]
fn mutations_never_harm() {
    let mut rng = StdRng::from_seed([6; 32]);
    let mut bob = engine(Config {
        max_held_bytes: 1 << 20,
        ..config("listener")
    });
    let mut originals = emitted(config("alice"), 1, "small", &payload(vec![Bson::Int32(5)]));
    originals.extend(emitted(
        config("alice"),
        2,
        "large",
        &large_payload(5_000, 0),
    ));
    for round in 0..200_000_u64 {
        let from = address(1 + rng.random_range(0..20));
        let bytes = mutated(&originals[rng.random_range(0..originals.len())], &mut rng);
        let now = at(round / 50);
        bob.handle_datagram(now, from, &bytes);
        if bob
            .poll_timeout()
            .is_some_and(|timeout| timeout <= now.elapsed)
        {
            bob.handle_timeout(now);
        }
        assert!(bob.stats().held_bytes <= 1 << 20);
        if round % 64 == 0 {
            let mut events = Events::new();
            bob.take_events(&mut events);
            for event in events.iter() {
                if let Event::Message(message) = event {
                    assert!(!message.key.starts_with("__ec_"));
                    assert!(message.args.iter().count() == message.args.len());
                }
            }
        }
    }
    drain(&mut bob);
    let good = emitted(config("alice"), 9, "ok", &payload(vec![]));
    assert_eq!(deliver(&mut bob, at(5_000), address(1), &good).len(), 1);
}
