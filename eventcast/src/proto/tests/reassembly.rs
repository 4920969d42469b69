//! Messages that do not become whole, or not what their chunks said.

use super::*;

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
            bob.stats().drops.get(DropCause::Duplicate) - before.get(DropCause::Duplicate),
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
    for (i, datagram) in sent[..4].iter().enumerate() {
        bob.handle_datagram(at(400 * i as u64), address(1), datagram);
        // A double is no progress.
        bob.handle_datagram(at(400 * i as u64 + 100), address(1), datagram);
        bob.handle_timeout(at(400 * i as u64 + 399));
        assert_eq!(bob.stats().incomplete_messages, 1);
    }
    drain(&mut bob);
    let mut now = at(1200);
    while bob.stats().incomplete_messages > 0 {
        let timeout = bob.poll_timeout().expect("something is incomplete");
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
