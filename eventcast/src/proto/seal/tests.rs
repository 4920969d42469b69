//! Whole datagrams: the vectors, and what is refused for which cause.

use std::sync::Mutex;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{vectors::Vector, *};
use crate::proto::wire::MessageId;

/// A bus that started long ago and has received nothing.
fn receiver(vector: &Vector) -> (Sealing, Now) {
    let ivs = IvSource::new(|_| panic!("it does not send"));
    let config = SealConfig::new(vector.keys(), vector.group, vector.port, ivs);
    let long_ago = Now {
        elapsed: Duration::ZERO,
        unix_ms: vector.now - 1_000_000,
    };
    let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
    let now = Now {
        elapsed: Duration::from_secs(1000),
        unix_ms: vector.now,
    };
    (
        Sealing::new(config, (&vector.receiver, 1), long_ago, key),
        now,
    )
}

/// Opens with a buffer that has been used before.
fn open(sealing: &mut Sealing, now: Now, bytes: &[u8]) -> Result<Vec<u8>, Unsealable> {
    let mut plain = vec![0xa5; 70];
    sealing.open(now, bytes, &mut plain)?;
    Ok(opened(&plain).to_vec())
}

#[test]
fn the_good_vectors_open_once() {
    for vector in vectors::good() {
        let (mut sealing, now) = receiver(&vector);
        let opened = open(&mut sealing, now, &vector.datagram);
        assert_eq!(opened, Ok(vector.inner), "{}", vector.label);
        let again = open(&mut sealing, now, &vector.datagram);
        assert_eq!(again, Err(Unsealable::For(DropCause::Duplicate)));
    }
}

#[test]
fn the_good_vectors_are_sealed_to_the_same_bytes() {
    for vector in vectors::good() {
        let label = vector.header_of_box();
        let ivs = IvSource::new(move |bytes| {
            for iv in bytes.chunks_mut(16) {
                iv.copy_from_slice(&label.iv);
            }
        });
        let config = SealConfig::new(vector.keys(), vector.group, vector.port, ivs);
        let (sender, incarnation) = (vector.text("sender").unwrap(), label.sealer.1);
        let key = HashKey::random(&mut StdRng::from_seed([1; 32]));
        let mut sealing = Sealing::new(config, (sender, incarnation), Now::default(), key);
        let to = vector.text("recipient").map(id_bytes);
        (sealing.to_group, sealing.to_one) = (label.counter - 1, (label.counter - 1) & !TO_ONE);
        let mut out = b"before".to_vec();
        let seq_id = vector.text("seqId").unwrap().as_bytes().try_into().unwrap();
        sealing.seal(label.send_time, &seq_id, to, &vector.inner, &mut out);
        assert_eq!(out[6..], vector.datagram, "{}", vector.label);
        assert_eq!(out.len() - 6, sealed_len(vector.inner.len()));
    }
}

#[test]
fn the_bad_vectors_are_refused_for_their_cause() {
    for vector in vectors::bad() {
        let (mut sealing, now) = receiver(&vector);
        let refused = open(&mut sealing, now, &vector.datagram);
        let expected = match vector.text("cause").unwrap() {
            "suite" => Err(Unsealable::Unknown(DropCause::Suite)),
            "key" => Err(Unsealable::Unknown(DropCause::Key)),
            "mac" => Err(Unsealable::Unknown(DropCause::Mac)),
            "time" => Err(Unsealable::Clock(-30_001)),
            "recipient" => Err(Unsealable::For(DropCause::Recipient)),
            "malformed" if vector.label.contains("cut off") => {
                Err(Unsealable::Unknown(DropCause::Malformed))
            }
            // What is inside is read by the engine.
            "malformed" | "sender" => {
                assert!(refused.is_ok(), "{}", vector.label);
                continue;
            }
            other => panic!("{other}"),
        };
        assert_eq!(refused, expected, "{}", vector.label);
    }
}

#[test]
fn no_bit_and_no_length_of_a_datagram_can_be_changed() {
    for vector in &vectors::good()[..4] {
        let (mut sealing, now) = receiver(vector);
        let box_at = vector.datagram.len() - 2 - vector.sealed.len();
        let id_at = 45..85;
        for bit in 0..vector.datagram.len() * 8 {
            let mut flipped = vector.datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = match open(&mut sealing, now, &flipped) {
                Err(refused) => refused,
                // Another id of the outer message makes no difference: it is the same box, opened
                // for the first time.
                Ok(_) if id_at.contains(&(bit / 8)) => {
                    sealing = receiver(vector).0;
                    continue;
                }
                // Metadata may have another host, port, .. or an unknown key: of these nothing is
                // used.
                Ok(inner) if bit / 8 < box_at => {
                    assert_eq!(inner, vector.inner, "{bit}");
                    sealing = receiver(vector).0;
                    continue;
                }
                Ok(_) => panic!("bit {bit} was changed"),
            };
            let expected = match bit / 8 {
                byte if byte < box_at || byte >= box_at + vector.sealed.len() => matches!(
                    refused,
                    Unsealable::Unknown(DropCause::Malformed)
                        | Unsealable::Version(_)
                        | Unsealable::For(DropCause::Clear | DropCause::Classic)
                ),
                byte if byte == box_at => refused == Unsealable::Unknown(DropCause::Suite),
                byte if byte <= box_at + 4 => refused == Unsealable::Unknown(DropCause::Key),
                _ => refused == Unsealable::Unknown(DropCause::Mac),
            };
            assert!(expected, "{bit}: {refused:?}");
        }
        for len in 0..vector.datagram.len() {
            let refused = open(&mut sealing, now, &vector.datagram[..len]);
            assert_eq!(refused, Err(Unsealable::Unknown(DropCause::Malformed)));
        }
        // And none of it has left anything behind.
        assert_eq!(sealing.replays.incarnations(), 0);
        assert!(open(&mut sealing, now, &vector.datagram).is_ok());
    }
}

const KEYS: fn() -> SealKeys = || SealKeys::new(SealKey::from_root(&[7; 32]));

/// A bus that seals and opens, and its time.
fn bus(id: &str, incarnation: u64, started: Now) -> Sealing {
    let rng = Mutex::new(StdRng::from_seed([3; 32]));
    let ivs = IvSource::new(move |bytes| rng.lock().unwrap().fill_bytes(bytes));
    let config = SealConfig::new(KEYS(), [224, 0, 0, 1].into(), 9000, ivs);
    let key = HashKey::random(&mut StdRng::from_seed([2; 32]));
    Sealing::new(config, (id, incarnation), started, key)
}

fn at(millis: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(millis),
        unix_ms: 1_795_672_980_000 + millis,
    }
}

fn sealed(by: &mut Sealing, now: Now, to: Option<&str>, datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let seq_id = MessageId([9; 20]).text();
    by.seal(now.unix_ms, &seq_id, to.map(id_bytes), datagram, &mut out);
    out
}

#[test]
fn what_is_sealed_is_opened_by_whom_it_is_for() {
    let mut alice = bus("a11ce00000000000", 5, at(0));
    let mut bob = bus("b0b0000000000000", 6, at(0));
    let mut carol = bus("carol", 7, at(0));
    let to_all = sealed(&mut alice, at(10), None, b"for all");
    for other in [&mut bob, &mut carol] {
        assert_eq!(open(other, at(11), &to_all), Ok(b"for all".to_vec()));
    }
    let to_carol = sealed(&mut alice, at(12), Some("carol"), b"for carol");
    let refused = open(&mut bob, at(12), &to_carol);
    assert_eq!(refused, Err(Unsealable::For(DropCause::Recipient)));
    assert_eq!(
        open(&mut carol, at(12), &to_carol),
        Ok(b"for carol".to_vec())
    );
    let echo = open(&mut alice, at(12), &to_all);
    assert_eq!(echo, Err(Unsealable::For(DropCause::Echo)));
    let mut namesake = bus("a11ce00000000000", 4, at(0));
    assert!(open(&mut namesake, at(12), &to_all).is_ok());
}

#[test]
fn times_at_their_limits() {
    let mut alice = bus("alice", 5, at(0));
    let mut bob = bus("bob", 6, at(0));
    let now = at(1_000_000);
    let at_offset = |offset: i64| Now {
        unix_ms: now.unix_ms.saturating_add_signed(offset),
        ..now
    };
    for (offset, expected) in [
        (-30_000, Ok(())),
        (30_000, Ok(())),
        (-30_001, Err(Unsealable::Clock(-30_001))),
        (30_001, Err(Unsealable::Clock(30_001))),
        (i64::MIN, Err(Unsealable::Clock(-(now.unix_ms as i64)))),
        (i64::MAX, Err(Unsealable::Clock(i64::MAX))),
    ] {
        let datagram = sealed(&mut alice, at_offset(offset), None, b"x");
        let opened = open(&mut bob, now, &datagram).map(|_| ());
        assert_eq!(opened, expected, "{offset}");
    }
}

#[test]
fn a_young_bus_takes_nothing_from_before_its_start() {
    let mut alice = bus("alice", 5, at(0));
    let mut datagrams = |sent: u64| sealed(&mut alice, at(sent), None, b"x");
    let (early, late, early_too) = (datagrams(38_999), datagrams(39_000), datagrams(38_999));
    let mut bob = bus("bob", 6, at(40_000));
    let old = |age_ms, left_ms| Err(Unsealable::BeforeStart { age_ms, left_ms });
    assert_eq!(open(&mut bob, at(40_001), &early), old(1_002, 59_999));
    assert_eq!(open(&mut bob, at(68_000), &early), old(29_001, 32_000));
    assert!(open(&mut bob, at(68_000), &late).is_ok());
    // A bus with a long tolerance has run for long before such a datagram is stale.
    let mut patient = bus("patient", 6, at(40_000));
    patient.tolerance_ms = 120_000;
    assert_eq!(open(&mut patient, at(99_999), &early_too), old(61_000, 1));
    assert!(open(&mut patient, at(100_000), &early_too).is_ok());
}

#[test]
fn a_young_bus_whose_clock_is_set_goes_by_what_it_shows_now() {
    let hour = 3_600_000;
    let right = at(40_000);
    let (ahead, behind) = (right.unix_ms + hour, right.unix_ms - hour);
    for unix_ms in [ahead, behind] {
        let mut alice = bus("alice", 5, at(0));
        let early = sealed(&mut alice, at(38_999), None, b"early");
        let late = sealed(&mut alice, at(39_000), None, b"late");
        let mut bob = bus("bob", 6, Now { unix_ms, ..right });
        let clock = open(&mut bob, Now { unix_ms, ..right }, &late);
        assert!(matches!(clock, Err(Unsealable::Clock(_))), "{clock:?}");
        // Five seconds later it is set.
        let old = open(&mut bob, at(45_000), &early);
        assert!(
            matches!(old, Err(Unsealable::BeforeStart { .. })),
            "{old:?}"
        );
        assert!(open(&mut bob, at(45_000), &late).is_ok());
    }
    // One that is a little faster than the other is left at that.
    let mut alice = bus("alice", 5, at(0));
    let late = sealed(&mut alice, at(39_000), None, b"late");
    let mut bob = bus("bob", 6, right);
    let fast = Now {
        unix_ms: at(45_000).unix_ms + 999,
        ..at(45_000)
    };
    assert!(open(&mut bob, fast, &late).is_ok());
}

#[test]
fn a_clock_that_is_set_back_makes_recordings_fresh_but_of_whom_it_knows() {
    let mut known = bus("alice", 5, at(0));
    let mut gone = bus("alice", 4, at(0));
    let recorded = sealed(&mut gone, at(10), None, b"of one that it never heard");
    let had = sealed(&mut known, at(20), None, b"of one that it hears");
    let mut bob = bus("bob", 6, at(100_000));
    let later = sealed(&mut known, at(150_000), None, b"later");
    assert!(open(&mut bob, at(150_000), &later).is_ok());
    let set_back = Now {
        unix_ms: at(1000).unix_ms,
        ..at(200_000)
    };
    assert!(open(&mut bob, set_back, &recorded).is_ok());
    let double = Err(Unsealable::For(DropCause::Duplicate));
    assert_eq!(open(&mut bob, set_back, &had), double);
}

#[test]
fn a_counter_agrees_with_its_recipient() {
    let mut bob = bus("bob", 6, at(0));
    let ring = Ring::new(&KEYS(), [224, 0, 0, 1].into(), 9000);
    let mut check = |counter: u64, recipient: [u8; 8]| {
        let label = SealHeader {
            sealer: ([1; 8], 5),
            counter,
            iv: [0; 16],
            send_time: at(0).unix_ms,
            recipient,
        };
        let mut datagram = Vec::new();
        let seq_id = MessageId([9; 20]).text();
        write_sealed(&seq_id, box_len(1), &mut datagram, |out| {
            ring.seal(&label, b"x", out);
        });
        open(&mut bob, at(0), &datagram).map(|_| ())
    };
    let malformed = Err(Unsealable::For(DropCause::Malformed));
    let (all, bob) = ([0; 8], id_bytes("bob"));
    assert_eq!(check(TO_ONE | 1, all), malformed);
    assert_eq!(check(1, bob), malformed);
    assert_eq!(check(0, all), malformed);
    assert_eq!(check(TO_ONE, bob), malformed);
    assert_eq!(
        check(TO_ONE | 7, [3; 8]),
        Err(Unsealable::For(DropCause::Recipient))
    );
    assert_eq!(check(1, all), Ok(()));
    assert_eq!(check(TO_ONE | 1, bob), Ok(()));
    assert_eq!(check(u64::MAX, bob), Ok(()));
    assert_eq!(
        check(u64::MAX, bob),
        Err(Unsealable::For(DropCause::Duplicate))
    );
    assert_eq!(check(TO_ONE | 2, bob), Err(Unsealable::For(DropCause::Old)));
}

#[test]
fn counters_and_vectors_never_repeat_also_over_a_change_of_key() {
    let mut alice = bus("alice", 5, at(0));
    let mut bob = bus("bob", 6, at(0));
    let new = SealKey::from_root(&[8; 32]);
    bob.set_keys(&KEYS().and_receive(new.clone()));
    let (mut ivs, mut had) = (Vec::new(), Vec::new());
    for i in 0..400 {
        if i == 200 {
            alice.set_keys(&SealKeys::new(new.clone()));
        }
        let to = (i % 3 == 0).then_some("bob");
        let datagram = sealed(&mut alice, at(i), to, b"the same");
        assert!(open(&mut bob, at(i), &datagram).is_ok(), "{i}");
        ivs.push(datagram[205 + 29..][..16].to_vec());
        let again = open(&mut bob, at(i), &datagram);
        assert_eq!(again, Err(Unsealable::For(DropCause::Duplicate)));
        had.push(datagram);
    }
    // Nor is anything new again because the receiver has other keys.
    bob.set_keys(&SealKeys::new(new).and_receive(SealKey::from_root(&[7; 32])));
    for datagram in &had {
        let again = open(&mut bob, at(400), datagram);
        assert_eq!(again, Err(Unsealable::For(DropCause::Duplicate)));
    }
    ivs.sort_unstable();
    ivs.dedup();
    assert_eq!(ivs.len(), 400);
    assert_eq!((alice.to_group, alice.to_one), (266, 134));
}

#[test]
fn ids_in_bytes() {
    assert_eq!(
        id_bytes("0123456789abcdef"),
        [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
    );
    let hashed = |id: &str| -> [u8; 8] { Sha256::digest(id)[..8].try_into().unwrap() };
    for id in [
        "",
        "a",
        "0123456789ABCDEF",
        "0123456789abcdeg",
        "0123456789abcdef0",
    ] {
        assert_eq!(id_bytes(id), hashed(id), "{id}");
    }
}
