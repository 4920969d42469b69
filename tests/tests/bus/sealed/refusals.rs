//! What a bus with a passphrase does not take: other passphrases, none, and what somebody has
//! changed on the way.

use std::{collections::HashSet, time::Duration};

use bson::{Bson, doc};
use eventcast::Bus;
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{block_on, eventually},
};

use super::{all_of, dropped, sealed, what_it_refuses};
use crate::common::{builder, collect, count, paced, send_paced, started};

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body);
    vec![
        case("sealed::another_passphrase", another_passphrase),
        case(
            "sealed::clear_and_sealed_do_not_mix",
            clear_and_sealed_do_not_mix,
        ),
        case(
            "sealed::clear_requests_are_not_obeyed",
            clear_requests_are_not_obeyed,
        ),
        case(
            "sealed::altered_datagrams_get_no_answer",
            altered_datagrams_get_no_answer,
        ),
    ]
}

/// CR-01.
fn another_passphrase() {
    let group = Group::unused();
    let (a, c) = (started(sealed(group, 1)), started(sealed(group, 2)));
    let b = sealed(group, 2).build().expect("good options");
    let told = what_it_refuses(&b);
    block_on(b.start()).expect("it starts");
    let heard = collect(&b, "sealed/other");
    let before = || dropped(&b, "key");
    paced(
        1_000,
        || before() as usize,
        |index| {
            a.emit_named("sealed/other", index as i32)
                .expect("there is room");
        },
    );
    c.emit_named("sealed/other", "from c").expect("it runs");
    eventually("that of the same passphrase came", || heard.len() == 1);
    assert_eq!(heard.all()[0][0], Bson::from("from c"));
    assert!(dropped(&b, "key") >= 1_000);
    let from = a.unicast_address().expect("it runs").to_string();
    let told = told.all();
    let (cause, text) = &told[0];
    assert_eq!(*cause, "unopened");
    assert!(text.contains(&from), "{text}");
    assert!(text.contains("probably has another passphrase"), "{text}");
    // At most one in ten seconds.
    assert_eq!(told.len(), 1, "{told:?}");
}

/// CR-02, first half.
fn clear_and_sealed_do_not_mix() {
    let group = Group::unused();
    let (closed, open) = (
        sealed(group, 3).build().expect("good options"),
        builder(group).build().expect("good options"),
    );
    let (by_closed, by_open) = (what_it_refuses(&closed), what_it_refuses(&open));
    for bus in [&closed, &open] {
        block_on(bus.start()).expect("it starts");
    }
    let heard = [count(&closed, "unlock"), count(&open, "x")];
    let before = (dropped(&closed, "clear"), dropped(&open, "sealed"));
    open.emit_named("unlock", true).expect("it runs");
    open.emit_named("unlock", "x".repeat(5_000))
        .expect("it runs");
    closed.emit_named("x", 1).expect("it runs");
    closed.emit_named("x", "x".repeat(5_000)).expect("it runs");
    eventually("each has dropped what the other sent", || {
        dropped(&closed, "clear") >= before.0 + 6 && dropped(&open, "sealed") >= before.1 + 6
    });
    // The encrypted mark, both ways, on what is clear.
    let tap = Tap::join(group);
    let marked = |mark| {
        Message::event(group, "unlock", vec![true.into()])
            .set("enc", mark)
            .bytes()
    };
    send_paced(&tap, &closed, [marked(true), marked(false)]);
    assert_eq!(heard.map(|count| count.get()), [0, 0]);
    eventually("both say so", || {
        !by_closed.is_empty() && !by_open.is_empty()
    });
    let (cause, text) = &by_closed.all()[0];
    assert_eq!(*cause, "clear");
    assert!(
        text.contains("the sender probably has no passphrase"),
        "{text}"
    );
    let (cause, text) = &by_open.all()[0];
    assert_eq!(*cause, "sealed");
    assert!(
        text.contains("the sender has a passphrase, and this bus has none"),
        "{text}"
    );
    assert!(closed.peers().is_empty() && open.peers().is_empty());
}

/// CR-02, second half.
fn clear_requests_are_not_obeyed() {
    let group = Group::unused();
    let quiet = sealed(group, 4)
        .id("00000000feedface")
        .heartbeat(Duration::from_secs(60));
    let a = started(quiet.peer_timeout(Duration::from_secs(120)));
    let emitted = a.emit_named("sealed/secret", "word").expect("it runs");
    let me = a.unicast_address().expect("it runs");
    let tap = Tap::join(group);
    let nack = doc! { "id": a.id(), "inc": 1_i64, "missing": [[1_i64, 1_i64]] };
    let retx = doc! {
        "id": "0123456789abcdef", "seqId": emitted.message_id.to_string(),
        "missedSeq": [0], "host": "127.0.0.1", "port": i32::from(tap.port()),
    };
    let event = |name: &str, args| Message::event(group, name, args).bytes();
    let hello = doc! { "last": 100_i64, "first": 1_i64 };
    for _ in 0..10 {
        for bytes in [
            event("__ec_nack", vec![nack.clone().into()]),
            event("__ec_retx", vec![retx.clone().into()]),
            event("__ec_hello", vec![hello.clone().into()]),
        ] {
            send_paced(&tap, &a, [&bytes]);
            let std::net::SocketAddr::V4(me) = me else {
                panic!("the loopback interface is of IPv4")
            };
            tap.send_to(me, &bytes);
        }
    }
    eventually("all were dropped", || dropped(&a, "clear") >= 60);
    let stats = a.stats();
    assert_eq!((stats.requests_received, stats.answers_sent), (0, 0));
    assert!(a.peers().is_empty());
}

/// CR-03: every bit, the header's among them.
fn altered_datagrams_get_no_answer() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let quiet = || sealed(group, 7).heartbeat(Duration::from_secs(60));
    let quiet = || quiet().peer_timeout(Duration::from_secs(120));
    let a = started(quiet());
    let b = quiet().build().expect("good options");
    let told = what_it_refuses(&b);
    block_on(b.start()).expect("it starts");
    let heard = count(&b, "sealed/changed");
    a.emit_named("sealed/changed", "one").expect("it runs");
    a.emit_named("sealed/changed", "x".repeat(2_500))
        .expect("it runs");
    heard.wait_for(2);
    block_on(a.stop()).expect("it stops");
    let recorded: Vec<_> = all_of(&tap);
    let sent = b.stats().datagrams_sent;
    let opened = |bus: &Bus| bus.stats().events_received;
    let before = opened(&b);
    let mut refused = 0;
    for bytes in &recorded {
        // Every bit of a short one; of a long one every bit of the label and the end, and some
        // between.
        let bits = (0..bytes.len() * 8).filter(|bit| {
            bytes.len() < 600 || *bit < 400 * 8 || *bit > (bytes.len() - 40) * 8 || bit % 29 == 0
        });
        let flipped = bits.map(|bit| {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let cut = [bytes[..bytes.len() - 16].to_vec(), bytes.clone()];
        let all: Vec<_> = flipped.chain(cut).collect();
        refused += all.len() as u64;
        send_paced(&tap, &b, all);
    }
    let sealed_event = b.emit_named("sealed/end", ()).expect("it runs");
    assert_eq!(sealed_event.listeners, 0);
    assert_eq!(opened(&b), before, "nothing is delivered");
    assert_eq!(heard.get(), 2);
    assert_eq!(b.stats().datagrams_sent, sent + 1, "nothing is sent");
    let counted: u64 = b.stats().dropped.values().sum();
    assert!(counted >= refused, "{counted} of {refused}");
    for cause in ["suite", "key", "mac", "malformed", "duplicate"] {
        assert!(dropped(&b, cause) > 0, "{cause}: {:?}", b.stats().dropped);
    }
    let texts: HashSet<String> = told
        .all()
        .into_iter()
        .filter(|(cause, _)| ["unopened", "suite", "key", "mac"].contains(cause))
        .map(|(cause, text)| {
            let (_, text) = text.split_once(": ").expect("it says why");
            format!("{cause} {text}")
        })
        .collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
}
