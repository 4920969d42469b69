//! False claims of strangers, about missing numbers, new peers and messages that never end: they
//! cost no more than the datagrams that carry them, and are reported in sums.

use super::{
    super::{
        rate_limited::REPORT_PAUSE,
        receive::{losses::MAX_RANGES, reorder_buffer::MAX_GAPS},
        repair::nack_list::GAP_COST,
        wire::control::{self, BYE, HELLO, Hello},
    },
    *,
};

/// A datagram of incarnation `inc` of `id`.
fn datagram(id: &str, inc: u64, name: &str, number: Option<u64>, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let head = Head {
        seq: 0,
        seq_len: 1,
        seq_id: &MessageId([number.unwrap_or(0) as u8; 20]).text(),
        name,
        time: &TimeWriter::new().write(at(0).unix_ms),
        number,
        schema: None,
    };
    Template::new(HOST, 9100, "elsewhere", id, Some(inc)).write(&head, &mut out);
    out.extend_from_slice(rest);
    out
}

fn event(id: &str, inc: u64, number: u64) -> Vec<u8> {
    let payload = payload(vec![(number as i64).into()]);
    datagram(id, inc, "e", Some(number), &payload)
}

fn hello(id: &str, inc: u64, last: u64) -> Vec<u8> {
    let hello = Hello {
        incarnation: inc,
        last,
        first: 1,
        up: Duration::from_secs(1),
        version: "x",
        capabilities: Vec::new(),
        owed: Vec::new(),
        token: None,
    };
    let mut rest = Vec::new();
    control::write_hello(&mut rest, &hello);
    datagram(id, inc, HELLO, None, &rest)
}

fn bye(id: &str, inc: u64, last: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    control::write_bye(&mut rest, inc, last, None);
    datagram(id, inc, BYE, None, &rest)
}

/// What an engine told.
#[derive(Default)]
struct Told {
    events: usize,
    messages: u64,
    lost: u64,
    joined: u64,
    left: u64,
    expired: u64,
}

impl Told {
    fn take(&mut self, engine: &mut Engine) {
        let mut events = Events::new();
        engine.take_events(&mut events);
        for event in events.iter() {
            self.events += usize::from(!matches!(event, Event::Message(_)));
            match event {
                Event::Message(_) => self.messages += 1,
                Event::Lost(lost) => {
                    self.lost = self.lost.saturating_add(lost.count);
                    let listed: u64 = lost.ranges.iter().map(|(a, b)| b - a + 1).sum();
                    let all = lost.peers == 1 && lost.ranges.len() < MAX_RANGES;
                    assert!(if all {
                        listed == lost.count
                    } else {
                        listed < lost.count
                    });
                }
                Event::PeerJoined { .. } => self.joined += 1,
                Event::PeerLeft { .. } => self.left += 1,
                Event::Expired(expired) => self.expired += 1 + expired.unreported,
                _ => {}
            }
        }
    }
}

/// Lets time pass, as the engine wants to be called.
fn pass(engine: &mut Engine, until: u64, told: &mut Told) {
    let until = Duration::from_millis(until);
    let mut buf = Vec::new();
    while let Some(due) = engine.poll_timeout().filter(|due| *due <= until) {
        engine.handle_timeout(at(due.as_millis() as u64 + 1));
        while engine
            .poll_transmit(at(due.as_millis() as u64 + 1), &mut buf)
            .is_some()
        {}
        told.take(engine);
    }
}

#[test]
fn numbers_that_are_claimed_one_by_one_are_few_gaps_and_lost_in_sums() {
    for name in [HELLO, BYE] {
        let mut bob = listener();
        let from = address(9100);
        bob.handle_datagram(at(1), from, &hello("x", 5, 0));
        let mut told = Told::default();
        const CLAIMED: u64 = 20_000;
        for last in 1..=CLAIMED {
            let now = last / 10;
            let claim = if name == HELLO {
                hello("x", 5, last)
            } else {
                bye("x", 5, last)
            };
            bob.handle_datagram(at(now), from, &claim);
            pass(&mut bob, now, &mut told);
            assert!(
                bob.stats().held_bytes < 300 * GAP_COST,
                "{}",
                bob.stats().held_bytes
            );
        }
        // One event behind all of them is delivered when they are over.
        bob.handle_datagram(at(2_100), from, &event("x", 5, CLAIMED + 1));
        pass(&mut bob, 12_500, &mut told);
        assert_eq!((told.messages, told.lost), (1, CLAIMED), "{name}");
        assert_eq!(bob.stats().lost_messages, CLAIMED);
        assert!(told.events < 10, "{}", told.events);
        assert_eq!(bob.stats().held_bytes, 0);
    }
}

#[test]
fn a_stream_has_no_more_gaps_than_so() {
    let mut bob = engine(config("listener"));
    let from = address(9100);
    let mut told = Told::default();
    const EVENTS: u64 = 3 * MAX_GAPS as u64;
    for i in 1..=EVENTS {
        bob.handle_datagram(at(1), from, &event("x", 5, 2 * i));
    }
    told.take(&mut bob);
    assert_eq!(told.messages, EVENTS - MAX_GAPS as u64);
    pass(&mut bob, 11_000, &mut told);
    bob.leave(at(11_000));
    told.take(&mut bob);
    // The first number of all was not owed.
    assert_eq!((told.messages, told.lost), (EVENTS, EVENTS - 1));
    assert!(told.events <= 8, "{}", told.events);
    assert_eq!(bob.stats().held_bytes, 0);
}

#[test]
fn a_claimed_number_that_comes_after_all_is_not_reported_lost() {
    let mut bob = listener();
    let from = address(9100);
    let mut told = Told::default();
    bob.handle_datagram(at(1), from, &event("x", 5, 1));
    bob.handle_datagram(at(1), from, &event("x", 5, 3));
    pass(&mut bob, 1_000, &mut told);
    assert_eq!((told.messages, told.lost), (2, 1));
    bob.handle_datagram(at(1_000), from, &hello("x", 5, 10));
    pass(&mut bob, 2_000, &mut told);
    assert_eq!((told.lost, bob.stats().lost_messages), (1, 8));
    for number in [4, 6, 7] {
        bob.handle_datagram(at(2_000), from, &event("x", 5, number));
    }
    // And what is not claimed any more does not exist.
    bob.handle_datagram(at(2_000), from, &hello("x", 5, 9));
    assert_eq!(bob.stats().lost_messages, 4);
    pass(&mut bob, 11_000, &mut told);
    assert_eq!((told.messages, told.lost), (5, 4));
}

#[test]
fn sums_of_claims_do_not_overflow() {
    let mut bob = listener();
    let from = address(9100);
    const LAST: u64 = (1 << 63) - 2;
    for inc in 1..=4 {
        bob.handle_datagram(at(1), from, &event("x", inc, 1));
        bob.handle_datagram(at(1), from, &event("x", inc, LAST));
        bob.handle_datagram(at(1), from, &hello("x", inc, LAST));
        bob.handle_datagram(at(1), from, &event("x", inc, LAST));
        bob.handle_datagram(at(1), from, &event("x", inc, LAST + 1));
        bob.handle_datagram(at(1), from, &bye("x", inc, LAST + 1));
    }
    let mut told = Told::default();
    pass(&mut bob, 30_000, &mut told);
    bob.leave(at(30_000));
    assert_eq!(bob.stats().lost_messages, u64::MAX);
    assert_eq!(bob.stats().held_bytes, 0);
}

#[test]
fn reports_of_a_flapping_peer_are_few_and_end_with_its_state() {
    let mut bob = listener();
    let from = address(9100);
    let mut told = Told::default();
    for i in 0..40_000 {
        let now = i / 4;
        bob.handle_datagram(at(now), from, &hello("x", 5 + i % 2, 0));
        bob.handle_datagram(at(now), from, &bye("x", 5 + i % 2, 0));
        pass(&mut bob, now, &mut told);
    }
    bob.handle_datagram(at(10_000), from, &hello("x", 5, 0));
    pass(&mut bob, 14_000, &mut told);
    // It fell silent; what is told is as it stands.
    pass(&mut bob, 60_000, &mut told);
    assert!(told.events < 40, "{}", told.events);
    assert_eq!((told.joined, bob.stats().peers), (told.left, 0));
    assert!(told.joined >= 2);
}

#[test]
fn incomplete_messages_and_their_numbers_are_reported_in_sums() {
    let mut bob = listener();
    let mut told = Told::default();
    const MESSAGES: u64 = 20_000;
    let chunk = |i: u64| Craft {
        seq_id: [i.to_le_bytes(), i.to_le_bytes()].concat()[..]
            .iter()
            .copied()
            .chain([0; 4])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap(),
        seq_len: 3,
        rest: b"something",
        ..Craft::default()
    };
    for i in 0..MESSAGES {
        let now = i / 2;
        bob.handle_datagram(at(now), address(9100 + i as u16 % 8), &chunk(i).make());
        pass(&mut bob, now, &mut told);
    }
    pass(&mut bob, MESSAGES / 2 + 12_000, &mut told);
    assert_eq!(told.expired, MESSAGES);
    assert!(told.events < 10, "{}", told.events);
    // Those with numbers: each number is told once.
    let mut bob = listener();
    let mut told = Told::default();
    bob.handle_datagram(at(0), address(9100), &event("stranger", 1, 1));
    for i in 2..=1_000_u64 {
        let mut metadata = metadata();
        metadata.extend(doc! { "inc": 1_i64, "n": i as i64, "seqId": format!("{i:040x}"), "seqLen": 3, "seqEnd": false });
        bob.handle_datagram(at(i), address(9100), &framed(&metadata, b"slice"));
        pass(&mut bob, i, &mut told);
    }
    bob.handle_datagram(at(1_001), address(9100), &event("stranger", 1, 1_001));
    pass(&mut bob, 15_000, &mut told);
    assert_eq!((told.messages, bob.stats().lost_messages), (2, 999));
    assert_eq!(told.expired, 999);
    // One of them was told by itself.
    assert_eq!(told.lost, 998);
    assert!(told.events < 10, "{}", told.events);
    assert!(REPORT_PAUSE < Duration::from_secs(15));
}
