//! Floods: what is held and told stays within its limits, and good messages go on arriving.

use super::{
    super::{
        receive::assembler::{MAX_INCOMPLETE, MESSAGE_COST, PIECE_COST},
        report,
    },
    *,
};

/// The `i`-th of as many addresses as needed, none of which the good sender has.
fn stranger(i: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + i as u32).into(), 9000)
}

fn seq_id(i: usize) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&(i as u64).to_le_bytes());
    bytes
}

/// The first of two chunks, 1,000 bytes.
fn beginning(i: usize) -> Vec<u8> {
    Craft {
        seq_id: seq_id(i),
        seq: 0,
        seq_len: 2,
        rest: &[7; 1000],
        ..Craft::default()
    }
    .make()
}

fn time_passes(engine: &mut Engine, mut now: Now) -> Now {
    while engine.stats().incomplete_messages > 0 {
        let timeout = engine.poll_timeout().expect("something is incomplete");
        now.elapsed = now.elapsed.max(timeout);
        engine.handle_timeout(now);
        drain(engine);
    }
    now
}

#[test]
fn claimed_counts_set_nothing_aside() {
    let claims: [(Bson, DropCause); 9] = [
        (Bson::Int32(i32::MAX), DropCause::OverLimit),
        (Bson::Int64(1 << 53), DropCause::OverLimit),
        (Bson::Int64(i64::MAX), DropCause::OverLimit),
        (Bson::Double(9e18), DropCause::OverLimit),
        (Bson::Int32(262_145), DropCause::OverLimit),
        (Bson::Int32(-1), DropCause::Malformed),
        (Bson::Double(1.5), DropCause::Malformed),
        (Bson::Double(f64::INFINITY), DropCause::Malformed),
        (Bson::String("9".to_owned()), DropCause::Malformed),
    ];
    let mut bob = listener();
    for (i, (claim, cause)) in claims.into_iter().enumerate() {
        let mut metadata = metadata();
        metadata.extend(doc! { "seqLen": claim, "seqEnd": false });
        bob.handle_datagram(at(0), address(1), &framed(&metadata, &[7; 100]));
        assert_eq!(
            (bob.stats().held_bytes, bob.stats().drops.total()),
            (0, i as u64 + 1)
        );
        assert!(bob.stats().drops.get(cause) > 0);
    }
    assert_eq!(bob.stats().drops.get(DropCause::Malformed), 4);

    // The most that can be claimed costs what came.
    let most = Craft {
        seq: 100_000,
        seq_len: 262_144,
        rest: &[7; 100],
        ..Craft::default()
    }
    .make();
    bob.handle_datagram(at(0), address(1), &most);
    assert_eq!(bob.stats().incomplete_messages, 1);
    assert!(
        bob.stats().held_bytes < MESSAGE_COST + PIECE_COST + 100 + 1000,
        "{}",
        bob.stats().held_bytes
    );
}

#[test]
fn claimed_bytes_are_limited() {
    let mut bob = engine(Config {
        max_message_size: 100_000,
        ..config("listener")
    });
    let chunk = |seq_id: u8, seq, seq_len, len| {
        let rest = vec![7; len];
        Craft {
            seq_id: [seq_id; 20],
            seq,
            seq_len,
            rest: &rest,
            ..Craft::default()
        }
        .make()
    };
    for (i, (seq, seq_len, len, taken)) in [
        (0, 100, 1000, true),
        (0, 101, 1000, false),
        (100, 101, 1000, true),
        (3, 9, 0, false),
    ]
    .into_iter()
    .enumerate()
    {
        let before = bob.stats();
        bob.handle_datagram(at(0), address(1), &chunk(i as u8, seq, seq_len, len));
        let after = bob.stats();
        assert_eq!(
            after.incomplete_messages - before.incomplete_messages,
            usize::from(taken),
            "case {i}"
        );
        let over = |stats: &EngineStats| stats.drops.get(DropCause::OverLimit);
        assert_eq!(over(&after) - over(&before), u64::from(!taken), "case {i}");
    }
}

#[test]
fn messages_of_one_address_that_never_end() {
    let mut bob = listener();
    let payload = large_payload(100_000, 0);
    let good = emitted(config("alice"), 1, "good", &payload);
    let mut got = Vec::new();
    let mut told = 0;
    for i in 0..100_000 {
        bob.handle_datagram(at(0), stranger(1), &beginning(i));
        if i % 900 == 0
            && let Some(datagram) = good.get(i / 900)
        {
            bob.handle_datagram(at(0), address(9001), datagram);
        }
        let (mut messages, others) = drain(&mut bob);
        got.append(&mut messages);
        told += others.len();
        assert!(bob.stats().incomplete_messages <= MAX_INCOMPLETE as usize + 1);
        assert!(bob.stats().held_bytes < 4 << 20);
    }
    assert_eq!((got.len(), got[0].args.as_slice()), (1, args_of(&payload)));
    assert_eq!(
        bob.stats().drops.get(DropCause::Crowded),
        100_000 - u64::from(MAX_INCOMPLETE)
    );
    assert_eq!(told, 1);
    let end = time_passes(&mut bob, at(0));
    assert_eq!(end.elapsed, Duration::from_millis(500));
    assert_eq!(
        (bob.stats().incomplete_messages, bob.stats().held_bytes),
        (0, 0)
    );
}

#[test]
fn messages_of_many_addresses_that_never_end() {
    let limit = 8 << 20;
    let mut bob = engine(Config {
        max_held_bytes: limit,
        ..config("listener")
    });
    let payload = large_payload(1_000_000, 0);
    let good = emitted(config("alice"), 1, "good", &payload);
    let mut got = Vec::new();
    for i in 0..50_000 {
        bob.handle_datagram(at(i as u64 / 500), stranger(i), &beginning(i));
        if i % 45 == 0
            && let Some(datagram) = good.get(i / 45)
        {
            bob.handle_datagram(at(i as u64 / 500), address(9001), datagram);
        }
        assert!(bob.stats().held_bytes <= limit);
        got.append(&mut drain(&mut bob).0);
    }
    assert_eq!((got.len(), got[0].args.as_slice()), (1, args_of(&payload)));
    assert!(bob.stats().drops.get(DropCause::Crowded) > 30_000);
    time_passes(&mut bob, at(100));
    assert_eq!(
        (bob.stats().incomplete_messages, bob.stats().held_bytes),
        (0, 0)
    );
}

#[test]
fn who_holds_most_gives_way() {
    let mut bob = engine(Config {
        max_held_bytes: 100_000,
        ..config("listener")
    });
    let long = Craft {
        rest: &large_payload(60_000, 0),
        ..Craft::default()
    }
    .make();
    let slices: Vec<&[u8]> = long.chunks(1000).collect();
    let chunk = |seq: usize| Craft {
        seq_id: [8; 20],
        seq: seq as u32,
        seq_len: slices.len() as u32,
        rest: slices[seq],
        ..Craft::default()
    };
    bob.handle_datagram(at(0), address(1), &chunk(0).make());
    for i in 0..30 {
        bob.handle_datagram(at(0), stranger(1), &beginning(i));
    }
    for seq in 1..slices.len() {
        bob.handle_datagram(at(0), address(1), &chunk(seq).make());
        assert!(bob.stats().held_bytes <= 100_000);
    }
    let (got, others) = drain(&mut bob);
    assert_eq!(got.len(), 1);
    assert_eq!(others, ["expired Crowded 1/2 +0"]);
    assert!(bob.stats().drops.get(DropCause::Crowded) > 1);
    // Of the other address the oldest went.
    assert_eq!(deliver(&mut bob, at(0), stranger(1), &[beginning(0)]), []);
    assert_eq!(bob.stats().drops.get(DropCause::Duplicate), 1);
    let left = bob.stats().incomplete_messages;
    let second = Craft {
        seq_id: seq_id(29),
        seq: 1,
        seq_len: 2,
        rest: b"x",
        ..Craft::default()
    }
    .make();
    bob.handle_datagram(at(0), stranger(1), &second);
    assert_eq!(bob.stats().incomplete_messages, left - 1);
}

#[test]
fn a_message_that_can_never_fit() {
    let mut bob = engine(Config {
        max_held_bytes: 50_000,
        ..config("listener")
    });
    let sent = emitted(config("alice"), 1, "e", &large_payload(100_000, 0));
    assert_eq!(deliver(&mut bob, at(0), address(1), &sent), []);
    assert!(bob.stats().drops.get(DropCause::Crowded) > 0);
    assert_eq!(bob.stats().held_bytes, 0);
    let tiny = engine(Config {
        max_held_bytes: 100,
        ..config("listener")
    });
    for mut bob in [bob, tiny] {
        let small = emitted(config("alice"), 2, "e", &payload(vec![]));
        assert_eq!(deliver(&mut bob, at(0), address(1), &small).len(), 1);
    }
}

#[test]
fn a_call_gives_up_a_bounded_number() {
    let mut bob = listener();
    for i in 0..1000 {
        bob.handle_datagram(at(0), stranger(1), &beginning(i));
    }
    let mut calls = 0;
    while bob.stats().incomplete_messages > 0 {
        bob.handle_timeout(at(600));
        let (_, others) = drain(&mut bob);
        assert!(others.len() <= 256);
        calls += 1;
    }
    assert_eq!((calls, bob.stats().expired_messages), (4, 1000));
}

#[test]
fn what_is_told_of_a_flood_is_bounded() {
    let mut bob = listener();
    let mut told = 0;
    for i in 0..200_000 {
        bob.handle_datagram(at(i as u64 / 100), stranger(i % 5000), b"\xff\xff");
        told += drain(&mut bob).1.len();
    }
    assert_eq!(bob.stats().drops.get(DropCause::Malformed), 200_000);
    assert_eq!(told, report::MAX_REPORTED + 1);
    // Ten seconds later what came meanwhile is told in sum, also when nothing more comes: of each
    // address, and of those beyond together.
    let mut counted = told;
    bob.handle_timeout(at(12_000));
    let (_, sums) = drain(&mut bob);
    assert_eq!(sums.len(), report::MAX_REPORTED + 1);
    for sum in &sums {
        counted += sum
            .strip_prefix("refused malformed x")
            .unwrap()
            .parse::<usize>()
            .unwrap();
    }
    assert_eq!(counted, 200_000);
    // One that comes after the pause takes the sum of its pause along.
    bob.handle_datagram(at(15_000), stranger(0), b"\xff\xff");
    assert_eq!(drain(&mut bob).1, [""; 0]);
    bob.handle_datagram(at(22_000), stranger(0), b"\xff\xff");
    assert_eq!(drain(&mut bob).1, ["refused malformed x2"]);
}

/// A message without a number that made room for a chunk of its own is over: what else comes of it
/// opens it no more.
#[test]
fn who_makes_room_for_itself_is_told_once() {
    let (mut alice, mut bob) = (
        engine(config("alice")),
        engine(Config {
            max_message_size: 64_000,
            max_held_bytes: 128_000,
            ..config("bob")
        }),
    );
    let mut numbered = Vec::new();
    for _ in 0..30 {
        let payload = large_payload(900, 1);
        let event = Outgoing {
            best_effort: false,
            ..outgoing("e", &payload)
        };
        alice.emit(at(0), event).unwrap();
        numbered.extend(datagrams(&mut alice, at(0)));
    }
    let numbered: Vec<_> = numbered
        .into_iter()
        .filter(|datagram| net::number_of(datagram).is_some_and(|number| number != 2))
        .collect();
    assert_eq!(deliver(&mut bob, at(0), address(1), &numbered).len(), 1);
    assert!(bob.stats().held_bytes > 20_000);
    for seq in 0..64 {
        let chunk = Craft {
            seq,
            seq_len: 65,
            rest: &[7; 980],
            ..Craft::default()
        };
        bob.handle_datagram(at(1), address(2), &chunk.make());
    }
    let mut told = drain(&mut bob).1;
    bob.handle_timeout(at(20_000));
    told.extend(drain(&mut bob).1);
    let expired = told.iter().filter(|told| told.starts_with("expired"));
    assert_eq!(expired.count(), 1, "{told:?}");
}
