//! Requests by those who mean harm: what they bring to an address that was forged, and that they
//! hold up nobody.

use std::net::Ipv4Addr;

use super::{
    net::{Net, engine_address, name_of, nothing, number_of},
    *,
};
use crate::proto::wire::control::{self, HELLO, NACK, RETX};

const ENGINE_0: u64 = 1_795_585_000_000;
const A_MINUTE: usize = 256 << 10;

/// The `i`-th address of somebody who sends under it, or under whose address others do.
fn stranger(i: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a01_0000 + i), 6_000).into()
}

fn control(name: &str, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut rest = Vec::new();
    body(&mut rest);
    let craft = Craft {
        id: "s",
        incarnation: Some(1),
        name,
        rest: &rest,
        ..Craft::default()
    };
    craft.make()
}

fn nack(spans: &[(u64, u64)], token: Option<u64>) -> Vec<u8> {
    control(NACK, |out| {
        let asked = ("engine-0", ENGINE_0);
        control::write_nack(out, asked, token, &mut spans.to_vec(), 10_000);
    })
}

fn hello() -> Vec<u8> {
    control(HELLO, |out| {
        let hello = control::Hello {
            incarnation: 1,
            last: 0,
            first: 1,
            up: Duration::ZERO,
            version: "s",
            capabilities: Vec::new(),
            owed: Vec::new(),
            token: None,
        };
        control::write_hello(out, &hello);
    })
}

/// Bytes that engine 0 has sent to this IP address alone.
fn sent_to(net: &Net, ip: IpAddr) -> usize {
    let to_it = net.log.iter().filter(|(_, by, to, _)| {
        *by == 0 && matches!(to, Destination::Peer(address) if address.ip() == ip)
    });
    to_it.map(|(.., datagram)| datagram.len()).sum()
}

fn token_in(datagram: &[u8]) -> Option<u64> {
    let name = name_of(datagram);
    let args = crate::codec::RawArgs::from_payload(parse(datagram).rest).unwrap();
    match control::Control::read(&name, args) {
        Ok(control::Control::Hello(hello)) => hello.token,
        Ok(control::Control::Bye { token, .. }) => token,
        _ => None,
    }
}

/// A sender with a history: so many events of about so many bytes, and a chunked one.
fn sender(receivers: usize, events: u64, len: usize) -> Net {
    let mut net = Net::new(1 + receivers);
    net.run(1_100, nothing);
    let text = "t".repeat(len);
    for i in 0..events {
        net.emit(0, &text);
        if i % 100 == 99 {
            net.run(net.now.as_millis() as u64 + 1, nothing);
        }
    }
    net.emit(0, &"x".repeat(500_000));
    net.run(net.now.as_millis() as u64 + 200, nothing);
    net
}

#[test]
fn an_address_that_was_forged_gets_little_more_than_what_came_from_it() {
    let mut net = sender(0, 20_000, 600);
    let chunk = net
        .log
        .iter()
        .find(|(.., datagram)| parse(datagram).metadata.seq_len > 1);
    let seq_id = parse(&chunk.unwrap().3).metadata.seq_id.to_owned();
    net.log.clear();
    let victim = stranger(1).ip();
    let (mut came, mut i) = (0, 0);
    let begin = net.now.as_millis() as u64;
    let mut forge = |net: &mut Net, datagram: Vec<u8>, port: u16| {
        came += datagram.len();
        let now = net.now();
        net.engines[0].handle_datagram(now, (victim, port).into(), &datagram);
    };
    for port in 0..16 {
        forge(&mut net, hello(), 6_000 + port);
    }
    while i < 320 {
        let port = 6_000 + (i % 16) as u16;
        // With a token that somebody else had, or that was made up.
        forge(&mut net, nack(&[(1, u64::MAX >> 1)], None), port);
        forge(&mut net, nack(&[(1 + 50 * i, 50 + 50 * i)], Some(i)), port);
        let chunks: Vec<u32> = (0..64).map(|seq| (seq + 64 * i as u32) % 400).collect();
        let retx = control(RETX, |out| {
            let me = ("s", "10.1.0.1", 6_000);
            control::write_retx(out, me, Some(5), seq_id.as_bytes(), &chunks, 1_000);
        });
        forge(&mut net, retx, port);
        i += 1;
        net.run(begin + 20 * i, nothing);
    }
    net.run(begin + 10_000, nothing);
    let sent = sent_to(&net, victim);
    assert!(sent <= 3 * came + A_MINUTE, "{sent} for {came}");
    assert!(sent > A_MINUTE, "{sent}");
    assert!(net.engines[0].stats().answers_refused > 0);
}

/// More IP addresses than there are budgets have asked for more than they are due: a sender that
/// comes after them is asked all the same, within what has come from it.
#[test]
fn a_sender_without_a_budget_of_its_own_is_asked_for_what_is_missing() {
    let mut net = sender(1, 20_000, 600);
    for i in 0..4_500 {
        let now = net.now();
        let first = 1 + u64::from(i) * 4;
        let count = if i < 4_096 { 4 } else { 200 };
        let request = nack(&[(first, first + count)], Some(7));
        net.engines[0].handle_datagram(now, stranger(i), &request);
    }
    let begin = net.now.as_millis() as u64;
    net.run(begin + 2_000, nothing);
    assert_eq!(net.engines[0].stats().requests_sent, 0);
    let mut lost = 0;
    for i in 0..400 {
        net.emit(1, &format!("{i}"));
        net.run(begin + 2_000 + 5 * i, |by, to, datagram| {
            let is_lost = (by, to) == (1, 0) && number_of(datagram).is_some_and(|n| n % 4 == 2);
            lost += u64::from(is_lost);
            is_lost
        });
    }
    net.run(begin + 8_000, nothing);
    let stats = net.engines[0].stats();
    assert_eq!((stats.delivered_messages, stats.lost_messages), (400, 0));
    assert!(
        lost >= 100 && stats.requests_sent >= 30,
        "{lost}, {stats:?}"
    );
}

#[test]
fn all_forged_addresses_together_get_no_more_than_is_sent_anew() {
    let mut net = sender(0, 20_000, 600);
    // What was sent anew just now is not counted any more.
    net.run(net.now.as_millis() as u64 + 2_000, nothing);
    net.log.clear();
    let begin = net.now.as_millis() as u64;
    for i in 0..2_000 {
        let now = net.now();
        let first = 1 + u64::from(i) * 10;
        let request = nack(&[(first, first + 400)], None);
        net.engines[0].handle_datagram(now, stranger(i), &request);
        net.run(begin + u64::from(i), nothing);
    }
    let sent: usize = net
        .log
        .iter()
        .filter(|(.., to, _)| *to != Destination::Group)
        .map(|(.., datagram)| datagram.len())
        .sum();
    // Two seconds at 1 MiB, and the tokens, each of which was paid for by a request.
    assert!(sent < (2 << 20) + 2_000 * 450, "{sent}");
    let group = net
        .log
        .iter()
        .filter(|(.., to, _)| *to == Destination::Group);
    let group: usize = group.map(|(.., datagram)| datagram.len()).sum();
    assert!(group < (2 << 20) + 10_000, "{group}");
}

#[test]
fn a_token_that_is_echoed_opens_the_way() {
    let mut net = sender(0, 5_000, 600);
    net.log.clear();
    let asker = stranger(1);
    let ask = |net: &mut Net, spans: &[(u64, u64)], token| {
        let now = net.now();
        net.engines[0].handle_datagram(now, asker, &nack(spans, token));
        net.run(now.elapsed.as_millis() as u64 + 100, nothing);
        net.log.split_off(0)
    };
    let first = ask(&mut net, &[(1, 1)], None);
    let token = first.iter().find_map(|(.., to, datagram)| {
        assert!(*to == Destination::Group || *to == Destination::Peer(asker));
        token_in(datagram)
    });
    assert!(
        first
            .iter()
            .any(|(.., datagram)| number_of(datagram) == Some(1))
    );
    let answered = |log: &[(Duration, usize, Destination, Vec<u8>)]| {
        let numbers = log.iter().filter_map(|(.., datagram)| number_of(datagram));
        numbers.count()
    };
    let with_token = ask(&mut net, &[(10, 5_000)], token);
    assert!(answered(&with_token) > 500, "{}", answered(&with_token));
    assert!(
        with_token
            .iter()
            .all(|(.., datagram)| token_in(datagram).is_none())
    );
    // It is of no use to anybody else.
    let now = net.now();
    let request = nack(&[(10, 5_000)], token);
    net.engines[0].handle_datagram(now, stranger(2), &request);
    net.run(now.elapsed.as_millis() as u64 + 100, nothing);
    let elsewhere = sent_to(&net, stranger(2).ip());
    assert!(elsewhere <= A_MINUTE + 3 * request.len(), "{elsewhere}");
}

/// A bus that has lost much asks with the token that came with the first answer.
#[test]
fn a_receiver_that_lost_much_is_known_after_one_round_trip() {
    let mut net = Net::new(2);
    net.run(1_100, nothing);
    let text = "t".repeat(600);
    for i in 0..6_000 {
        net.emit(0, &text);
        if i % 50 == 49 {
            net.run(net.now.as_millis() as u64 + 1, |by, _, datagram| {
                by == 0 && name_of(datagram) == "e"
            });
        }
    }
    let end = net.now.as_millis() as u64;
    net.run(end + 4_000, nothing);
    assert_eq!(net.told(1).len(), 6_000);
    let tokens = net.log.iter().filter(|(.., datagram)| {
        [HELLO, control::BYE].contains(&&*name_of(datagram)) && token_in(datagram).is_some()
    });
    let tokens = tokens.count();
    assert!((1..=4).contains(&tokens), "{tokens}");
    let requests = net
        .log
        .iter()
        .filter(|(.., datagram)| name_of(datagram) == NACK);
    assert!(requests.count() > 3);
}

/// The token comes with a goodbye from one that leaves: it has not come back.
#[test]
fn one_that_leaves_gives_tokens_too() {
    let mut net = Net::new(2);
    net.run(1_100, nothing);
    let text = "t".repeat(600);
    for _ in 0..2_000 {
        net.emit(0, &text);
    }
    net.run(1_110, |by, _, datagram| by == 0 && name_of(datagram) == "e");
    let now = net.now();
    net.engines[0].leave(now);
    net.run(6_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| line.starts_with("left") || line.starts_with("lost"));
    assert_eq!(told, ["left engine-0 Goodbye"]);
    assert_eq!(net.engines[1].stats().repaired_messages, 2_000);
    assert!(net.engines[0].has_left());
}

/// One address asks for all there is, over and over; another has lost 82 datagrams, and has not
/// asked before.
#[test]
fn one_that_is_flooded_beside_is_repaired_soon() {
    for ports in [1, 16] {
        let mut net = sender(1, 20_000, 600);
        net.told(1);
        let mut said = 0;
        let begin = net.now.as_millis() as u64;
        let mut last_repair = 0;
        for i in 0..320_u64 {
            let from = (stranger(1).ip(), 6_000 + (i % ports) as u16).into();
            for request in [
                nack(&[(1, u64::MAX >> 1)], None),
                nack(&[(15_000, 30_000)], None),
            ] {
                let now = net.now();
                net.engines[0].handle_datagram(now, from, &request);
            }
            if i % 3 == 0 {
                said += 1;
                net.emit(0, &format!("true {said}"));
            }
            net.run(begin + 5 * (i + 1), |by, to, datagram| {
                (by, to) == (0, 1) && name_of(datagram) == "e" && {
                    let number = number_of(datagram).unwrap_or(0);
                    let first =
                        number > 20_001 && !number.is_multiple_of(4) && number > last_repair;
                    last_repair = last_repair.max(number);
                    first
                }
            });
        }
        net.run(begin + 1_800, nothing);
        let expected: Vec<String> = (1..=said).map(|i| format!("true {i}")).collect();
        let mut told = net.told(1);
        told.retain(|line| !line.starts_with("refused duplicate"));
        assert_eq!(told, expected);
        assert!(net.engines[1].stats().repaired_messages >= 70);
    }
}

#[test]
fn requests_for_all_there_is_cost_little() {
    let mut net = sender(0, 60_000, 30);
    for (what, request) in [
        ("all", nack(&[(1, u64::MAX >> 1)], None)),
        ("the upper end", nack(&[(30_000, 60_000)], None)),
    ] {
        let mut all = 0;
        for i in 0..1_000 {
            let now = net.now();
            let before = net.engines[0].stats();
            net.engines[0].handle_datagram(now, stranger(3), &request);
            let after = net.engines[0].stats();
            let looks = after.answers_duplicate - before.answers_duplicate;
            let refused = after.answers_refused - before.answers_refused;
            let paid = if i < 50 { 256 } else { 40 };
            assert!(looks <= paid && refused <= 1, "{what} {i}: {looks}");
            all += looks;
        }
        // What there is for one without a token pays for no more.
        let budget = (256 << 10) + 3 * 1_000 * request.len() as u64;
        assert!(all <= budget / 32, "{what}: {all}");
    }
    // Those who have echoed a token are held to a bound as well.
    let asker = stranger(4);
    let now = net.now();
    net.log.clear();
    net.engines[0].handle_datagram(now, asker, &nack(&[(1, 1)], None));
    net.run(now.elapsed.as_millis() as u64 + 20, nothing);
    let token = net.log.iter().find_map(|(.., datagram)| token_in(datagram));
    assert!(token.is_some());
    let now = net.now();
    let before = net.engines[0].stats();
    for _ in 0..200 {
        net.engines[0].handle_datagram(now, asker, &nack(&[(1, 1 << 40)], token));
    }
    let after = net.engines[0].stats();
    let looks = after.answers_duplicate - before.answers_duplicate;
    assert!(looks <= (1 << 20) / 32, "{looks}");
}

/// A request without a good token is looked into for a few numbers, whatever it names; with one for
/// more.
#[test]
fn a_request_without_a_token_has_few_of_its_numbers_looked_at() {
    let mut net = sender(0, 20_000, 30);
    let wished = |net: &mut Net, from: SocketAddr, request: &[u8]| {
        let now = net.now();
        net.log.clear();
        net.engines[0].handle_datagram(now, from, request);
        net.run(now.elapsed.as_millis() as u64 + 500, nothing);
        let answers = net
            .log
            .iter()
            .filter_map(|(.., datagram)| number_of(datagram));
        answers.count()
    };
    // In one run, and in as many as a request may have; a made-up token is none.
    let runs: Vec<(u64, u64)> = (0..64).map(|i| (1 + 200 * i, 150 + 200 * i)).collect();
    for (i, spans) in [vec![(1, 1 << 40)], runs].into_iter().enumerate() {
        for token in [None, Some(7)] {
            let asker = stranger(10 + 2 * i as u32 + u32::from(token.is_some()));
            assert_eq!(wished(&mut net, asker, &nack(&spans, token)), 256);
        }
    }
    let asker = stranger(20);
    wished(&mut net, asker, &nack(&[(1, 1)], None));
    let token = net.log.iter().find_map(|(.., datagram)| token_in(datagram));
    let with_token = wished(&mut net, asker, &nack(&[(1, 1 << 40)], token));
    assert!(with_token > 1_000, "{with_token}");
}

#[test]
fn requests_for_what_is_not_there_neither_slow_the_pace_nor_delay_a_stop() {
    let mut net = Net::with(1, |config| config.history_bytes = 100_000);
    net.run(1_100, nothing);
    let text = "t".repeat(600);
    for _ in 0..1_000 {
        net.emit(0, &text);
    }
    net.run(1_200, nothing);
    let never: Vec<(u64, u64)> = (0..64).map(|i| (5_000 + 2 * i, 5_000 + 2 * i)).collect();
    let gone: Vec<(u64, u64)> = (0..64).map(|i| (1 + 2 * i, 1 + 2 * i)).collect();
    let chunks: Vec<u32> = (0..64).collect();
    let no_message = control(RETX, |out| {
        let me = ("s", "127.0.0.1", 6_000);
        control::write_retx(out, me, None, &[b'0'; 40], &chunks, 1_000);
    });
    // How long a large message takes beside such requests.
    let mut takes = |asked: bool| {
        let begin = net.now;
        let before = net.log.len();
        net.emit(0, &"x".repeat(4_000_000));
        for i in 1..=100 {
            if asked {
                for (i, request) in [&nack(&never, None), &nack(&gone, None), &no_message]
                    .into_iter()
                    .enumerate()
                {
                    let now = net.now();
                    net.engines[0].handle_datagram(now, stranger(i as u32), request);
                }
            }
            net.run(
                (begin + Duration::from_millis(16 * i)).as_millis() as u64,
                nothing,
            );
        }
        let chunks = net.log[before..].iter();
        let mut chunks = chunks.filter(|(.., datagram)| parse(datagram).metadata.seq_len > 1);
        let last = chunks.next_back().expect("it was sent").0;
        last - begin
    };
    let alone = takes(false);
    let beside = takes(true);
    assert!(beside < alone + alone / 10, "{beside:?} and {alone:?}");
    let leaves = net.now();
    net.engines[0].leave(leaves);
    let mut left = leaves.elapsed;
    while !net.engines[0].has_left() {
        for request in [&nack(&never, None), &nack(&gone, None), &no_message] {
            let now = net.now();
            net.engines[0].handle_datagram(now, stranger(9), request);
        }
        left += Duration::from_millis(16);
        net.run(left.as_millis() as u64, nothing);
    }
    assert!(left - leaves.elapsed < Duration::from_millis(300));
}

#[test]
fn nothing_is_sent_to_where_nobody_is() {
    let mut net = sender(0, 100, 600);
    net.log.clear();
    let odd: [SocketAddr; 9] = [
        SocketAddr::new(HOST, 0),
        ([0, 0, 0, 0], 6_000).into(),
        ([255, 255, 255, 255], 6_000).into(),
        ([239, 1, 2, 3], 6_000).into(),
        (std::net::Ipv6Addr::UNSPECIFIED, 6_000).into(),
        ([0xff02, 0, 0, 0, 0, 0, 0, 1], 6_000).into(),
        // As a socket for both families shows them.
        ([0, 0, 0, 0, 0, 0xffff, 0, 0], 6_000).into(),
        ([0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff], 6_000).into(),
        ([0, 0, 0, 0, 0, 0xffff, 0xef01, 0x0203], 6_000).into(),
    ];
    for from in odd {
        for datagram in [hello(), nack(&[(1, 90)], None)] {
            let now = net.now();
            net.engines[0].handle_datagram(now, from, &datagram);
        }
    }
    net.run(net.now.as_millis() as u64 + 2_500, nothing);
    assert!(net.log.iter().all(|(.., to, _)| *to == Destination::Group));
    assert_eq!(net.engines[0].stats().drops.get(DropCause::Malformed), 18);
    assert_eq!(net.engines[0].stats().peers, 0);
}

/// Somebody says hello in the name of ever new senders that have lost much, all under one address:
/// requests go there.
#[test]
fn requests_to_an_address_that_was_forged_are_bounded_too() {
    let mut net = Net::new(1);
    net.run(10, nothing);
    let victim = stranger(1);
    let mut came = 0;
    for i in 0..2_000_u64 {
        let id = format!("{i:016x}");
        let mut rest = Vec::new();
        let hello = control::Hello {
            incarnation: 1,
            last: 60_000,
            first: 1,
            up: Duration::ZERO,
            version: "s",
            capabilities: Vec::new(),
            owed: Vec::new(),
            token: None,
        };
        control::write_hello(&mut rest, &hello);
        let craft = Craft {
            id: &id,
            incarnation: Some(1),
            name: HELLO,
            rest: &rest,
            ..Craft::default()
        };
        let datagram = craft.make();
        came += datagram.len();
        let now = net.now();
        net.engines[0].handle_datagram(now, victim, &datagram);
        net.run(10 + 10 * i, nothing);
    }
    let sent = sent_to(&net, victim.ip());
    assert!(sent <= 3 * came + A_MINUTE, "{sent} for {came}");
    assert_eq!(sent_to(&net, engine_address(0).ip()), 0);
}

/// What may go next is longer than what is left, and what another waits for is shorter: that one's
/// turn has not come.
#[test]
fn who_waits_for_a_budget_does_not_make_the_engine_spin() {
    let mut net = Net::new(1);
    net.run(1_100, nothing);
    for i in 0..3_000_usize {
        net.emit(0, &"t".repeat(600 - i * 37 % 500));
        if i % 50 == 49 {
            net.run(net.now.as_millis() as u64 + 1, nothing);
        }
    }
    net.run(net.now.as_millis() as u64 + 2_000, nothing);
    let mut now = net.now();
    let engine = &mut net.engines[0];
    let mut buf = Vec::new();
    let mut answers = 0;
    for i in 0..300_u32 {
        let first = 1 + u64::from(i) * 9;
        engine.handle_datagram(now, stranger(i % 8), &nack(&[(first, first + 300)], None));
        now.elapsed += Duration::from_micros(3_137);
        while engine.poll_timeout().is_some_and(|due| due <= now.elapsed) {
            engine.handle_timeout(now);
        }
        while engine.poll_transmit(now, &mut buf).is_some() {
            answers += 1;
        }
        let next = engine.next_transmit();
        assert!(next.is_none_or(|next| next > now.elapsed), "{i}: {next:?}");
    }
    assert!(answers > 300, "{answers}");
}
