//! How fast chunks leave, and what overtakes them.

use super::*;

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
    assert_eq!(burst(&mut alice, micros(1000)), (0, 32));
    assert_eq!(alice.next_transmit(), Some(Duration::from_micros(1500)));
    assert_eq!(burst(&mut alice, micros(1499)), (0, 0));
    alice.emit(at(1), outgoing("small", &small)).unwrap();
    assert_eq!(alice.next_transmit(), Some(Duration::ZERO));
    assert_eq!(burst(&mut alice, micros(1499)), (1, 0));
    assert_eq!(burst(&mut alice, micros(1500)), (0, 16));
    // Whoever comes late may make up for one burst.
    assert_eq!(burst(&mut alice, micros(5000)), (0, 32));
    assert_eq!(alice.next_transmit(), Some(Duration::from_micros(5500)));
    let rest = datagrams(&mut alice, micros(5500)).len();
    assert_eq!(32 + 16 + 32 + rest, 196);
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
    assert_eq!(sent, 2);
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
