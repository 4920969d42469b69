//! What is asked for where much is missing at once: in turn, and nothing twice while another is not
//! asked for at all.

use std::collections::HashSet;

use super::{
    net::{Net, name_of, nothing, number_of},
    *,
};
use crate::{
    codec::RawArgs,
    proto::{
        receive::reorder_buffer::MAX_GAPS,
        wire::control::{self, Control, GONE, NACK, RETX},
    },
};

/// Of 20 MB most is missing, in thousands of gaps: at 4 MiB a second the last ones have to wait for
/// longer than `message_ttl` until it is their turn.
#[test]
fn what_takes_longer_to_answer_than_a_message_may_take_comes_whole() {
    const EVENTS: u64 = 20_000;
    let mut net = Net::new(2);
    net.run(10, nothing);
    let mut had = HashSet::new();
    let mut first_copies = |_: usize, to: usize, datagram: &[u8]| {
        to == 1 && number_of(datagram).is_some_and(|n| n % 7 != 0 && had.insert(n))
    };
    let text = "t".repeat(650);
    for number in 1..=EVENTS {
        net.emit(0, &format!("{number} {text}"));
        if number % 50 == 0 {
            // Nobody complains before all has been sent.
            net.run(10 + number / 50, |by, to, datagram| {
                by == 1 || first_copies(by, to, datagram)
            });
        }
    }
    net.run(12_000, &mut first_copies);
    let told = net.told(1);
    let lost = told.iter().find(|line| line.starts_with("lost"));
    assert_eq!((lost, told.len() as u64), (None, EVENTS));
    let stats = net.engines[0].stats();
    assert!(
        stats.answers_refused > 0,
        "the sender could answer all at once"
    );
    let repaired = net.engines[1].stats().repaired_messages;
    let bytes: usize = net
        .log
        .iter()
        .map(|(_, _, _, datagram)| datagram.len())
        .sum();
    assert!(
        repaired * bytes as u64 / (EVENTS + repaired) > 3 * (4 << 20),
        "too little for three seconds"
    );
}

/// The same with 20 MB in a hundred large messages, of which little comes at first: were all asked
/// for at once, most would be asked for in vain too often.
#[test]
fn large_messages_that_take_longer_to_answer_come_whole() {
    const MESSAGES: usize = 100;
    // Which seventh of the chunks comes decides over which messages have few and which have none.
    for residue in 0..7 {
        let mut net = Net::with(2, |config| config.send_queue = 32 << 20);
        net.run(100, nothing);
        for _ in 0..MESSAGES {
            net.emit(0, &"x".repeat(200_000));
        }
        let mut sent = 0;
        net.run(2_590, |_, to, datagram| {
            let is_chunk = to == 1 && datagram.len() > 1000;
            sent += usize::from(is_chunk);
            is_chunk && sent % 7 != residue
        });
        net.run(10_000, nothing);
        let told = net.told(1);
        let whole = told.iter().filter(|line| *line == "200000 bytes");
        assert_eq!(whole.count(), MESSAGES, "{residue}");
        let stats = net.engines[1].stats();
        assert_eq!((stats.held_bytes, stats.incomplete_messages), (0, 0));
    }
}

/// Every other one of a thousand is lost, of which one request names but a few.
#[test]
fn what_a_request_does_not_name_is_named_by_the_next() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for number in 1..=1_000 {
        net.emit(0, &number.to_string());
    }
    let drops = |by: usize, _: usize, datagram: &[u8]| {
        by == 1 || number_of(datagram).is_some_and(|n| n % 2 == 0 && n < 1_000)
    };
    net.run(60, drops);
    let mut requests: Vec<(Duration, Vec<u64>)> = Vec::new();
    for (at, _, _, datagram) in &net.log {
        if name_of(datagram) == NACK {
            let missing = asked_numbers(datagram);
            assert!(missing.is_sorted(), "a request names numbers in order");
            requests.push((*at, missing));
        }
    }
    let first = requests[0].0;
    let at_once = requests.iter().filter(|(at, _)| *at == first).count();
    assert_eq!(at_once, 8, "no more requests at once");
    // None is named twice while there are others that have not been, and none is left out.
    let named = requests.iter().take(8).flat_map(|(_, missing)| missing);
    assert!(
        (1..)
            .map(|i| 2 * i)
            .zip(named)
            .all(|(i, number)| i == *number)
    );
    let all: HashSet<u64> = requests
        .iter()
        .flat_map(|(_, missing)| missing)
        .copied()
        .collect();
    assert_eq!(all.len(), 499);
    let next = requests.iter().find(|(at, _)| *at > first);
    assert_eq!(
        next.map(|(at, _)| *at - first),
        Some(Duration::from_millis(20))
    );
}

fn asked_numbers(datagram: &[u8]) -> Vec<u64> {
    let args = RawArgs::from_payload(parse(datagram).rest).expect("a request has an argument");
    match Control::read(NACK, args) {
        Ok(Control::Nack { missing, .. }) => missing
            .into_iter()
            .flat_map(|(from, to)| from..=to)
            .collect(),
        other => panic!("no request: {other:?}"),
    }
}

/// Requests for most messages are never answered, and may be repeated ten times, with pauses of up
/// to half a minute: the others are there long before.
#[test]
fn what_is_asked_for_in_vain_does_not_hold_up_the_rest() {
    let mut net = Net::with(2, |config| {
        config.send_queue = 32 << 20;
        config.message_retransmit_attempts = 10;
    });
    net.run(10, nothing);
    for _ in 0..60 {
        net.emit(0, &"x".repeat(100_000));
    }
    let mut sent = 0;
    net.run(600, |_, to, datagram| {
        let is_chunk = to == 1 && datagram.len() > 1000;
        sent += usize::from(is_chunk);
        is_chunk && sent % 7 != 0 || name_of(datagram) == RETX
    });
    net.run(6_000, |_, _, datagram| {
        name_of(datagram) == RETX && !is_lucky(&asked_message(datagram))
    });
    let chunks = net
        .log
        .iter()
        .filter(|(_, by, _, datagram)| *by == 0 && datagram.len() > 1000);
    let messages: HashSet<String> = chunks
        .map(|(_, _, _, datagram)| parse(datagram).metadata.seq_id.to_owned())
        .collect();
    assert_eq!(messages.len(), 60);
    let lucky = messages.iter().filter(|id| is_lucky(id)).count();
    assert!((5..40).contains(&lucky), "{lucky}");
    assert_eq!(net.engines[1].stats().joined_messages, lucky as u64);
}

fn asked_message(datagram: &[u8]) -> String {
    let args = RawArgs::from_payload(parse(datagram).rest).expect("a request has an argument");
    match Control::read(RETX, args) {
        Ok(Control::Retx { seq_id, .. }) => seq_id.to_owned(),
        other => panic!("no request: {other:?}"),
    }
}

fn is_lucky(seq_id: &str) -> bool {
    seq_id.ends_with(['0', '1', '2', '3'])
}

/// As many gaps as a stream can have, none of them asked for, and a sender that says again and
/// again that all is gone: what it says is about nothing, and none of them is looked at.
#[test]
fn gaps_that_were_not_asked_for_cost_a_gone_nothing() {
    const NUMBERS: u64 = MAX_GAPS as u64;
    const INCARNATION: u64 = 1_795_585_423_171;
    let mut bob = engine(Config::new("bob", 1_795_585_000_000, HOST, 9001));
    let template = Template::new(HOST, 9100, "elsewhere", "x", Some(INCARNATION));
    let time = TimeWriter::new().write(at(0).unix_ms);
    let datagram = |name: &str, number: Option<u64>, payload: &[u8]| {
        let mut out = Vec::new();
        let seq_id = MessageId([number.unwrap_or(0) as u8; 20]).text();
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &seq_id,
            name,
            time: &time,
            number,
            schema: None,
        };
        template.write(&head, &mut out);
        out.extend_from_slice(payload);
        out
    };
    let nothing = payload(vec![]);
    for i in 1..=NUMBERS {
        bob.handle_datagram(at(1), address(9100), &datagram("e", Some(2 * i), &nothing));
    }
    let mut all = Vec::new();
    control::write_gone(&mut all, INCARNATION, &[(1, u64::MAX >> 1)], 1_000);
    let gone = datagram(GONE, None, &all);
    for _ in 0..10_000 {
        bob.handle_datagram(at(1), address(9100), &gone);
    }
    let stats = bob.stats();
    assert_eq!(stats.drops.get(DropCause::Unsolicited), 10_000);
    assert_eq!(stats.lost_messages, 0);
}

/// Where too many wait to be sent, a message of the protocol's own is dropped: it is counted as
/// that and not as sent, and what it asked for is asked for again.
#[test]
fn requests_that_find_no_room_are_not_counted_as_sent() {
    const EACH: u16 = 600;
    let config = Config::new("receiver", 1, HOST, 9_002);
    let mut receiver = Engine::new(config, [2; 32], at(0));
    for port in [9_003, 9_004] {
        let config = Config::new(format!("sender-{port}"), 2, HOST, port);
        let mut sender = Engine::new(config, [3; 32], at(0));
        for salt in 0..EACH {
            let payload = large_payload(3_000, salt as u8);
            let event = Outgoing {
                best_effort: false,
                ..outgoing("e", &payload)
            };
            sender.emit(at(0), event).unwrap();
            // Of each message its first chunk alone.
            let first = datagrams(&mut sender, at(0)).swap_remove(0);
            receiver.handle_datagram(at(0), address(port), &first);
        }
    }
    assert_eq!(receiver.stats().incomplete_messages, 2 * EACH as usize);
    timeouts(&mut receiver, at(60));
    let stats = receiver.stats();
    let sent = |receiver: &mut Engine, now| {
        let (mut buf, mut sent) = (Vec::new(), 0);
        while let Some(transmit) = receiver.poll_transmit(now, &mut buf) {
            let size = transmit.segment_size.unwrap_or(buf.len());
            sent += buf.chunks(size).filter(|one| name_of(one) == RETX).count() as u64;
        }
        sent
    };
    // The greatest number that may wait; a hello is among them.
    assert_eq!(sent(&mut receiver, at(60)), stats.requests_sent);
    assert!((1_000..=1_024).contains(&stats.requests_sent), "{stats:?}");
    assert!(
        stats.control_unsent >= u64::from(2 * EACH) - stats.requests_sent,
        "{stats:?}"
    );
    assert_eq!(stats.answers_refused, 0);

    timeouts(&mut receiver, at(120));
    assert!(sent(&mut receiver, at(120)) >= u64::from(2 * EACH) - stats.requests_sent);
}

/// Handles all that is due; gives in how many calls.
fn timeouts(engine: &mut Engine, now: Now) -> usize {
    let mut calls = 0;
    while engine.poll_timeout().is_some_and(|due| due <= now.elapsed) {
        engine.handle_timeout(now);
        calls += 1;
        assert!(calls < 1_000, "it is busy with nothing");
    }
    calls
}

/// Thousands of messages lack something at the same moment: each call asks for some of them, in
/// turn, and nothing is asked for twice.
#[test]
fn many_messages_are_asked_for_a_few_at_a_time() {
    const MESSAGES: u16 = 1_000;
    let mut receiver = engine(Config::new("receiver", 1, HOST, 9_002));
    for i in 0..MESSAGES {
        let inner = [7; 2_000];
        let mut seq_id = [0; 20];
        seq_id[..2].copy_from_slice(&i.to_be_bytes());
        let craft = Craft {
            seq_id,
            ..Craft::default()
        };
        let first = cut(&inner, 1_000, &craft).swap_remove(0);
        receiver.handle_datagram(at(0), address(9_003), &first);
    }
    assert_eq!(receiver.stats().incomplete_messages, usize::from(MESSAGES));
    // What is due beside them.
    receiver.handle_timeout(at(40));
    let (mut buf, mut calls, mut asked) = (Vec::new(), 0, HashSet::new());
    while receiver
        .poll_timeout()
        .is_some_and(|due| due <= at(60).elapsed)
    {
        receiver.handle_timeout(at(60));
        calls += 1;
        let mut at_once = 0;
        while let Some(transmit) = receiver.poll_transmit(at(60), &mut buf) {
            let size = transmit.segment_size.unwrap_or(buf.len());
            let requests = buf.chunks(size).filter(|one| name_of(one) == RETX);
            for request in requests {
                at_once += 1;
                assert!(asked.insert(asked_message(request)), "once");
            }
        }
        assert!(at_once <= 256, "{at_once}");
    }
    assert!((4..10).contains(&calls), "{calls}");
    assert_eq!(asked.len(), usize::from(MESSAGES));
}
