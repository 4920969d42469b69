//! What was put together and then refused is over: it is reported as lost, once, and not asked for
//! again.

use bson::{Document, doc};

use super::{
    net::{Net, nothing},
    sealed::sealed_net,
    *,
};
use crate::proto::wire::control::{self, HELLO, Hello, NACK, RETX};

const INCARNATION: u64 = 1_795_585_000_000;

/// What a message says of itself: a good one, of 5,000 letters, with the number 1.
fn good() -> Document {
    let mut good = metadata();
    good.insert("inc", INCARNATION as i64);
    good.insert("n", 1_i64);
    good
}

fn with(key: &str, value: impl Into<Bson>) -> Document {
    let mut changed = good();
    changed.insert(key, value);
    changed
}

fn without(key: &str) -> Document {
    let mut changed = good();
    changed.remove(key);
    changed
}

fn letters() -> Vec<u8> {
    payload(vec!["x".repeat(5_000).into()])
}

/// The chunks of number 1 that join to `inner`.
fn chunks(inner: &[u8], slice_len: usize) -> Vec<Vec<u8>> {
    let slices: Vec<&[u8]> = inner.chunks(slice_len).collect();
    let count = slices.len() as i32;
    let datagram = |(seq, slice): (usize, &&[u8])| {
        let mut outer = good();
        outer.insert("seqId", "77".repeat(20));
        outer.insert("seq", seq as i32);
        outer.insert("seqLen", count);
        outer.insert("seqEnd", seq as i32 == count - 1);
        framed(&outer, slice)
    };
    slices.iter().enumerate().map(datagram).collect()
}

/// A hello of the peer whose events these are.
fn hello(last: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    let hello = Hello {
        incarnation: INCARNATION,
        last,
        first: 1,
        up: Duration::from_secs(1),
        version: "test",
        capabilities: Vec::new(),
        token: None,
        owed: Vec::new(),
    };
    control::write_hello(&mut rest, &hello);
    let mut outer = good();
    outer.insert("name", HELLO);
    outer.remove("n");
    framed(&outer, &rest)
}

/// Hands in what a peer sends, then lets 20 s pass in which it says hello and answers each request
/// with the same.
fn told_of(listener: &mut Engine, nonsense: &[Vec<u8>], next: &[u8]) -> (Vec<Got>, Vec<String>) {
    let mut events = (Vec::new(), Vec::new());
    let mut take = |listener: &mut Engine| {
        let (messages, others) = drain(listener);
        events.0.extend(messages);
        events.1.extend(others);
    };
    listener.handle_datagram(at(0), address(9100), &hello(0));
    for datagram in nonsense {
        listener.handle_datagram(at(1), address(9100), datagram);
    }
    listener.handle_datagram(at(1), address(9100), next);
    take(listener);
    let mut buf = Vec::new();
    for millis in 2..20_000 {
        let now = at(millis);
        if millis % 1_000 == 0 {
            listener.handle_datagram(now, address(9100), &hello(2));
        }
        if listener
            .poll_timeout()
            .is_some_and(|due| due <= now.elapsed)
        {
            listener.handle_timeout(now);
        }
        while listener.poll_transmit(now, &mut buf).is_some() {
            let name = net::name_of(&buf);
            if name == NACK || name == RETX {
                for datagram in nonsense {
                    listener.handle_datagram(now, address(9100), datagram);
                }
            }
        }
        take(listener);
    }
    events
}

/// The number after the nonsense.
fn second() -> Vec<u8> {
    framed(&with("n", 2_i64), &payload(vec!["second".into()]))
}

#[test]
fn what_a_joined_message_is_refused_for_is_final() {
    let slice = |inner: &[u8]| inner.len().div_ceil(5);
    let mut chunk = good();
    chunk.extend(doc! { "seq": 0, "seqLen": 2, "seqEnd": false });
    let encrypted = doc! {
        "v": 3, "seq": 0, "seqLen": 1, "seqId": "5".repeat(40), "seqEnd": true, "enc": true,
    };
    let whole = framed(&good(), &letters());
    let mut cut_off = whole.clone();
    cut_off.truncate(whole.len() - 10);
    for (what, inner) in [
        ("letters", vec![b'x'; 5_000]),
        ("another number", framed(&with("n", 2_i64), &letters())),
        ("no number", framed(&without("n"), &letters())),
        (
            "a number out of range",
            framed(&with("n", i64::MAX), &letters()),
        ),
        ("a negative number", framed(&with("n", -1_i64), &letters())),
        ("another name", framed(&with("name", "other"), &letters())),
        ("a reserved name", framed(&with("name", HELLO), &letters())),
        ("another sender", framed(&with("id", "other"), &letters())),
        (
            "another incarnation",
            framed(&with("inc", 7_i64), &letters()),
        ),
        ("no incarnation", framed(&without("inc"), &letters())),
        ("a chunk", framed(&chunk, &letters())),
        ("classic", framed(&encrypted, &letters())),
        ("another version", framed(&with("v", 4), &letters())),
        ("no payload", framed(&good(), &[])),
        ("no array", framed(&good(), &[b'x'; 5_000])),
        ("cut off", cut_off),
        ("with more behind it", [whole.as_slice(), b"more"].concat()),
    ] {
        let mut listener = listener();
        let nonsense = chunks(&inner, slice(&inner));
        let (messages, others) = told_of(&mut listener, &nonsense, &second());
        let messages: Vec<_> = messages.iter().map(|got| &*got.name).collect();
        assert_eq!(messages, ["crafted"], "{what}");
        let lost: Vec<_> = others
            .iter()
            .filter(|told| told.starts_with("lost"))
            .collect();
        assert_eq!(lost, ["lost Refused 1-1"], "{what}: {others:?}");
        let stats = listener.stats();
        assert_eq!((stats.requests_sent, stats.lost_messages), (0, 1), "{what}");
        assert_eq!((stats.held_bytes, stats.incomplete_messages), (0, 0));
    }
    // The same way for one that is good.
    let (messages, others) = told_of(&mut listener(), &chunks(&whole, 1_024), &second());
    assert_eq!((messages.len(), others.len()), (2, 1), "{others:?}");
}

#[test]
fn a_message_above_the_limit_is_lost_at_its_first_chunk() {
    let mut listener = engine(Config {
        max_message_size: 4_000,
        ..config("listener")
    });
    let nonsense = chunks(&framed(&good(), &letters()), 1_024);
    let (messages, others) = told_of(&mut listener, &nonsense, &second());
    assert_eq!(messages.len(), 1);
    assert!(
        others.contains(&"lost Refused 1-1".to_owned()),
        "{others:?}"
    );
    assert_eq!(listener.stats().requests_sent, 0);
}

#[test]
fn another_attempt_at_the_number_may_still_succeed() {
    let mut listener = listener();
    listener.handle_datagram(at(0), address(9100), &hello(0));
    let whole = chunks(&framed(&good(), &letters()), 1_024);
    let nonsense = chunks(&[b'x'; 5_000], 1_024);
    let renamed = |datagram: &Vec<u8>| {
        let text = "88".repeat(20);
        let at = datagram
            .windows(40)
            .position(|window| window == "77".repeat(20).as_bytes());
        let mut renamed = datagram.clone();
        renamed[at.unwrap()..][..40].copy_from_slice(text.as_bytes());
        renamed
    };
    let got = deliver(&mut listener, at(1), address(9100), &whole[..3]);
    assert_eq!(got, []);
    let nonsense: Vec<_> = nonsense.iter().map(renamed).collect();
    assert_eq!(deliver(&mut listener, at(1), address(9100), &nonsense), []);
    let got = deliver(&mut listener, at(1), address(9100), &whole[3..]);
    assert_eq!(got.len(), 1);
    assert_eq!(listener.stats().lost_messages, 0);
}

#[test]
fn nonsense_of_another_address_costs_the_sender_nothing() {
    let mut listener = listener();
    listener.handle_datagram(at(0), address(9100), &hello(0));
    let nonsense = chunks(&[b'x'; 5_000], 1_024);
    assert_eq!(deliver(&mut listener, at(1), address(9666), &nonsense), []);
    let whole = chunks(&framed(&good(), &letters()), 1_024);
    assert_eq!(
        deliver(&mut listener, at(1), address(9100), &whole).len(),
        1
    );
    assert_eq!(listener.stats().lost_messages, 0);
}

fn emit_nonsense(net: &mut Net, len: usize) {
    let payload = vec![b'x'; len];
    let event = Outgoing {
        best_effort: false,
        ..outgoing("e", &payload)
    };
    let now = net.now();
    net.engines[0].emit(now, event).unwrap();
}

#[test]
fn a_member_that_seals_nonsense_loses_that_number_alone() {
    for mut net in [Net::new(3), sealed_net(3)] {
        net.run(100, nothing);
        net.emit(0, "before");
        emit_nonsense(&mut net, 5_000);
        net.emit(0, "behind");
        net.run(20_000, nothing);
        for i in 1..3 {
            let mut told = net.told(i);
            told.retain(|told| !told.starts_with("refused"));
            assert_eq!(told, ["before", "lost Refused 2-2", "behind"]);
            assert_eq!(net.engines[i].stats().requests_sent, 0);
        }
    }
}

/// One datagram may have been altered on its way, so it is asked for again, but not beyond its
/// time.
#[test]
fn a_small_one_is_asked_for_again_until_its_time_is_over() {
    for mut net in [Net::new(2), sealed_net(2)] {
        net.run(100, nothing);
        emit_nonsense(&mut net, 50);
        net.emit(0, "behind");
        net.run(20_000, nothing);
        let mut told = net.told(1);
        told.retain(|told| !told.starts_with("refused"));
        assert_eq!(told, ["lost Unanswered 1-1", "behind"]);
        let asked = net.engines[1].stats().requests_sent;
        assert!((1..=11).contains(&asked), "{asked}");
    }
}

#[cfg(feature = "classic")]
#[test]
fn letters_in_the_clear_cost_a_classic_bus_no_requests() {
    let mut net = Net::with(2, |config| {
        if config.port == 9001 {
            config.classic = Some(ClassicKey::from_passphrase("bravo").unwrap());
        }
    });
    net.run(100, nothing);
    let payload = letters();
    let event = Outgoing {
        best_effort: false,
        ..outgoing("e", &payload)
    };
    let now = net.now();
    net.engines[0].emit(now, event).unwrap();
    net.run(20_000, nothing);
    let mut told = net.told(1);
    told.retain(|told| told != "refused clear x1");
    assert_eq!(told, ["lost Refused 1-1"]);
    assert_eq!(net.engines[1].stats().requests_sent, 0);
    assert_eq!(net.count(NACK) + net.count(RETX), 0);
}
