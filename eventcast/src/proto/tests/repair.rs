//! What is lost and comes again, step by step.
//!
//! That the promises hold under all faults at once is shown in the simulated world of the tests
//! package.

use super::{
    net::{Net, engine_address, first_of, name_of, nothing, number_of},
    *,
};
use crate::proto::wire::control::{self, BYE, GONE, HELLO, NACK, RETX};

#[test]
fn numbers_count_from_one_and_arrive_in_order_at_once() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for i in 1..=100 {
        assert_eq!(net.emit(0, &i.to_string()), Some(i));
    }
    net.run(11, nothing);
    let expected: Vec<String> = (1..=100).map(|i: u32| i.to_string()).collect();
    assert_eq!(net.told(1), expected);
    assert_eq!(net.told(0), [""; 0]);
    net.run(1000, nothing);
    assert_eq!(net.count(NACK), 0);
}

#[test]
fn a_lost_event_is_asked_for_and_those_behind_it_wait() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for text in ["a", "b", "c"] {
        net.emit(0, text);
    }
    let mut drops = first_of(&[2]);
    net.run(11, &mut drops);
    assert_eq!(net.told(1), ["a"]);
    net.run(30, &mut drops);
    assert_eq!(net.told(1), ["b", "c"]);
    assert_eq!(net.count(NACK), 1);
    assert_eq!(net.engines[1].stats().repaired_messages, 1);
    assert_eq!(net.engines[0].stats().answers_sent, 1);
    // A millisecond each way, and up to five in which requests are gathered.
    let stats = net.engines[1].peers(net.now())[0].stats;
    let round_trip = stats.round_trip.expect("it was asked for once");
    assert!((2..=7).contains(&round_trip.as_millis()), "{round_trip:?}");
    assert_eq!(net.engines[0].peers(net.now())[0].stats.round_trip, None);
}

#[test]
fn the_last_event_of_a_burst_is_missed_too() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    net.emit(0, "only");
    let mut drops = first_of(&[1]);
    net.run(100, &mut drops);
    assert_eq!(net.told(1), ["only"]);
}

#[test]
fn several_who_miss_the_same_get_it_once_by_way_of_the_group() {
    let mut net = Net::new(20);
    net.run(100, nothing);
    net.emit(0, "a");
    net.emit(0, "b");
    net.run(200, first_of(&[1]));
    for i in 1..20 {
        assert_eq!(net.told(i), ["a", "b"], "{i}");
    }
    let again = net.count(control::AGAIN);
    assert!((1..=2).contains(&again), "{again}");
    assert!(net.engines[0].stats().answers_sent <= 3);
}

#[test]
fn numbers_that_the_sender_has_dropped_are_reported_lost_at_once() {
    let mut net = Net::with(2, |config| config.history_bytes = 10_000);
    net.run(10, nothing);
    net.emit(0, "a");
    net.run(15, first_of(&[1]));
    for _ in 0..100 {
        net.emit(0, "more");
        net.run(net.now.as_millis() as u64 + 1, |_, to, _| to == 1);
    }
    let end = net.emit(0, "end").unwrap();
    net.run(400, nothing);
    let told = net.told(1);
    assert!(told[0].starts_with("lost Gone 1-"), "{told:?}");
    assert_eq!(told.last().unwrap(), "end");
    let lost = net.engines[1].stats().lost_messages;
    assert!((50..end).contains(&lost), "{lost} of {end}");
    assert_eq!(told.len() as u64, 1 + end - lost);
    assert!(net.count(GONE) >= 1);
}

#[test]
fn what_never_comes_is_given_up_after_its_time() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for text in ["a", "b", "c"] {
        net.emit(0, text);
    }
    let drops = |_: usize, _: usize, datagram: &[u8]| number_of(datagram) == Some(2);
    net.run(2_900, drops);
    assert_eq!(net.told(1), ["a"]);
    net.run(3_100, drops);
    assert_eq!(net.told(1), ["lost Unanswered 2-2", "c"]);
    assert_eq!(net.engines[1].stats().held_bytes, 0);
}

#[test]
fn best_effort_is_neither_waited_for_nor_asked_for() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for text in ["a", "b", "c"] {
        let payload = payload(vec![text.into()]);
        let now = net.now();
        let accepted = net.engines[0].emit(now, outgoing("e", &payload));
        assert_eq!(accepted.unwrap().number, None);
    }
    let mut seen = 0;
    net.run(2_000, |_, to, datagram| {
        let is_event = to == 1 && name_of(datagram) == "e";
        seen += usize::from(is_event);
        is_event && seen == 2
    });
    assert_eq!(net.told(1), ["a", "c"]);
    assert_eq!((net.count(NACK), net.count(RETX)), (0, 0));
}

#[test]
fn a_large_message_fills_its_holes() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    net.emit(0, "before");
    net.emit(0, &"x".repeat(1_000_000));
    net.emit(0, "after");
    let mut i = 0;
    net.run(2_000, |_, to, datagram| {
        i += usize::from(to == 1 && datagram.len() > 1000);
        to == 1 && datagram.len() > 1000 && i % 50 == 7
    });
    assert_eq!(net.told(1), ["before", "1000000 bytes", "after"]);
    let stats = net.engines[1].stats();
    assert_eq!((stats.held_bytes, stats.incomplete_messages), (0, 0));
    // Little more than what was lost is sent again.
    let again = net.engines[0].stats().answers_sent;
    assert!((18..40).contains(&again), "{again}");
}

#[test]
fn a_large_message_of_which_nothing_came_is_asked_for_by_number() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    net.emit(0, &"x".repeat(200_000));
    net.emit(0, "after");
    net.run(40, |_, _, datagram| parse(datagram).metadata.seq_len > 1);
    assert_eq!(net.told(1), [""; 0]);
    net.run(1_000, nothing);
    assert_eq!(net.told(1), ["200000 bytes", "after"]);
    assert!(net.count(NACK) >= 1);
}

#[test]
fn a_late_one_is_owed_what_comes_after_it() {
    let mut net = Net::new(2);
    net.run(10, nothing);
    for i in 0..10 {
        net.emit(0, &i.to_string());
    }
    // Engine 2 has not been running as long as the sender, and neither has heard of the other until
    // now.
    net.start(|_| ());
    net.run(20, |by, to, _| by == 2 || to == 2);
    net.emit(0, "now");
    net.run(500, nothing);
    assert_eq!(net.told(2), ["now"]);
}

#[test]
fn who_was_there_is_owed_everything() {
    let mut net = Net::new(2);
    net.run(1_000, nothing);
    let config = Config::new("late", net.now().unix_ms, HOST, 9002);
    let now = net.now();
    net.engines.push(Engine::new(config, [9; 32], now));
    net.events.push(Vec::new());
    net.emit(2, "a");
    net.emit(2, "b");
    // Its first hello and its first event are lost.
    let mut dropped = 0;
    net.run(1_200, |by, to, _| {
        dropped += usize::from(by == 2 && to == 1);
        by == 2 && to == 1 && dropped <= 2
    });
    assert_eq!(net.told(1), ["a", "b"]);
}

#[test]
fn peers_come_and_go() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    assert_eq!(net.events[1], ["joined engine-0"]);
    let now = net.now();
    let peers = net.engines[1].peers(now);
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].peer.address, engine_address(0));
    assert!(peers[0].version.starts_with("eventcast "));
    assert_eq!(peers[0].capabilities, ["repair"]);
    net.run(3_000, nothing);
    // No more than a hello a second from each.
    assert!(net.log.len() <= 10, "{}", net.log.len());
    net.events[1].clear();

    net.run(20_000, |by, _, _| by == 0);
    assert_eq!(net.told(1), ["left engine-0 Silent"]);
    net.run(22_000, nothing);
    assert_eq!(net.events[1], ["joined engine-0"]);
    net.events[1].clear();

    net.engines[0].leave(at(22_000));
    net.engines[0].leave(at(22_000));
    net.run(22_150, nothing);
    assert!(!net.engines[0].has_left());
    net.run(22_250, nothing);
    assert!(net.engines[0].has_left());
    assert_eq!(net.told(1), ["left engine-0 Goodbye"]);
    assert_eq!(net.count(BYE), 3);
}

#[test]
fn who_leaves_still_answers() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    net.emit(0, "last");
    let now = net.now();
    let mut drops = first_of(&[1]);
    // The event goes out before the goodbye.
    net.run(100, &mut drops);
    net.engines[0].leave(now);
    net.run(1_000, &mut drops);
    assert!(net.engines[0].has_left());
    assert_eq!(net.told(1), ["left engine-0 Goodbye", "last"]);
}

/// As over a slow link, when a stop gives up what the socket has not taken.
#[test]
fn events_that_a_leaving_sender_never_sent_are_reported_as_lost() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    net.emit(0, "first");
    net.run(200, nothing);
    assert_eq!(net.told(1), ["first"]);
    let now = net.now();
    for _ in 0..3 {
        net.emit(0, "unsent");
    }
    net.engines[0].leave(now);
    net.engines[0].handle_timeout(now);
    let mut datagram = Vec::new();
    let transmit = net.engines[0].poll_transmit(now, &mut datagram);
    assert!(transmit.is_some());
    assert!(name_of(&datagram) == BYE, "the goodbye is first");
    net.engines[1].handle_datagram(now, (HOST, 9000).into(), &datagram);
    // The sender is gone, with all that it had.
    net.run(20_000, |from, _, _| from == 0);
    assert_eq!(
        net.told(1),
        ["left engine-0 Goodbye", "lost Unanswered 2-4"]
    );
}

#[test]
fn a_restarted_sender_is_heard_at_once_though_its_clock_went_back() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    net.emit(0, "before");
    net.run(200, nothing);
    let config = Config::new("engine-0", 1_000, HOST, 9000);
    let now = net.now();
    net.engines[0] = Engine::new(config, [77; 32], now);
    net.emit(0, "after");
    net.run(400, nothing);
    assert_eq!(net.told(1), ["before", "after"]);
    // Whether the older one says something more nobody knows yet.
    let now = net.now();
    assert_eq!(net.engines[1].peers(now).len(), 2);
    net.run(5_300, nothing);
    assert_eq!(net.told(1), ["left engine-0 Restarted"]);
    let now = net.now();
    assert_eq!(net.engines[1].peers(now).len(), 1);
}

/// A reserved event as `id` and `incarnation` would send it.
fn control(id: &str, incarnation: u64, name: &str, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut rest = Vec::new();
    body(&mut rest);
    let craft = Craft {
        id,
        incarnation: Some(incarnation),
        name,
        rest: &rest,
        ..Craft::default()
    };
    craft.make()
}

const ENGINE_0: u64 = 1_795_585_000_000;

#[test]
fn forged_control_messages_do_no_lasting_harm() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    net.emit(0, "1");
    net.run(150, nothing);
    let hello = |last, first| {
        control("engine-0", ENGINE_0, HELLO, |out| {
            let hello = control::Hello {
                incarnation: ENGINE_0,
                last,
                first,
                up: Duration::ZERO,
                version: "forged",
                capabilities: Vec::new(),
                owed: Vec::new(),
                token: None,
            };
            control::write_hello(out, &hello);
        })
    };
    let forged = [
        hello(60_000, 1),
        hello(60_000, 50_000),
        hello(1 << 50, 1 << 49),
        hello(0, 1),
        control("engine-0", ENGINE_0, BYE, |out| {
            control::write_bye(out, ENGINE_0, 50_000, None);
        }),
        control("engine-0", ENGINE_0, GONE, |out| {
            control::write_gone(out, ENGINE_0, &[(2, 1_000)], 1_000);
        }),
    ];
    for (i, datagram) in forged.iter().enumerate() {
        let now = net.now();
        net.engines[1].handle_datagram(now, address(6_666), datagram);
        // Longer than anything is asked for, so that what was claimed is given up, and then goes
        // on.
        net.run(net.now.as_millis() as u64 + 4_000, nothing);
        net.told(1);
        let text = format!("after {i}");
        net.emit(0, &text);
        net.run(net.now.as_millis() as u64 + 1_000, nothing);
        let mut told = net.told(1);
        told.retain(|line| !line.starts_with("refused posed"));
        assert_eq!(told, [text]);
    }
}

#[test]
fn a_gone_counts_only_from_the_address_of_its_sender() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    net.emit(0, "1");
    net.emit(0, "2");
    // The first is missed, and asked for in vain.
    net.run(140, |_, _, datagram| {
        number_of(datagram) == Some(1) || name_of(datagram) == NACK
    });
    let gone = control("engine-0", ENGINE_0, GONE, |out| {
        control::write_gone(out, ENGINE_0, &[(1, 1)], 1_000);
    });
    let now = net.now();
    for (from, told) in [
        (address(6_666), vec!["refused unsolicited x1"]),
        (engine_address(0), vec!["lost Gone 1-1", "2"]),
    ] {
        net.engines[1].handle_datagram(now, from, &gone);
        net.run(now.elapsed.as_millis() as u64, nothing);
        assert_eq!(net.told(1), told);
    }
}

#[test]
fn requests_are_answered_within_bounds() {
    let mut net = Net::new(1);
    net.run(10, nothing);
    for i in 0..2_000 {
        net.emit(0, &i.to_string());
    }
    net.emit(0, &"x".repeat(50_000));
    net.run(100, nothing);
    let before = net.log.len();
    let stranger = address(6_666);
    let nack = |spans: &[(u64, u64)]| {
        control("s", 1, NACK, |out| {
            control::write_nack(
                out,
                ("engine-0", ENGINE_0),
                None,
                &mut spans.to_vec(),
                10_000,
            );
        })
    };
    // All there is and far more, again and again.
    let all = nack(&[(1, u64::MAX >> 1)]);
    for i in 0..100 {
        let now = net.now();
        net.engines[0].handle_datagram(now, stranger, &all);
        net.run(100 + i, nothing);
    }
    let came = 100 * all.len();
    let answers = &net.log[before..];
    let bytes: usize = answers.iter().map(|(.., datagram)| datagram.len()).sum();
    let bound = (256 << 10) + 3 * came;
    assert!((30_000..=bound).contains(&bytes), "{bytes}");
    for (_, _, to, datagram) in answers {
        let to_stranger = *to == Destination::Peer(stranger);
        assert!(to_stranger || name_of(datagram) == HELLO);
    }
    // No number twice.
    let mut numbers: Vec<_> = answers
        .iter()
        .filter(|(.., datagram)| datagram.len() < 600)
        .filter_map(|(.., datagram)| number_of(datagram))
        .collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(count < 2 * numbers.len() + 1, "{count}");

    // Numbers that were never sent, another incarnation, another bus: nothing.
    net.run(3_000, nothing);
    let before = net.log.len();
    for datagram in [
        nack(&[(5_000, 6_000)]),
        control("s", 1, NACK, |out| {
            control::write_nack(out, ("engine-0", 7), None, &mut [(1, 5)], 1_000);
        }),
        control("s", 1, NACK, |out| {
            control::write_nack(out, ("other", ENGINE_0), None, &mut [(1, 5)], 1_000);
        }),
        control("s", 1, RETX, |out| {
            let me = ("s", "127.0.0.1", 6_000);
            control::write_retx(out, me, None, &[b'0'; 40], &[0, 1], 1_000);
        }),
    ] {
        let now = net.now();
        net.engines[0].handle_datagram(now, stranger, &datagram);
    }
    net.run(3_100, nothing);
    assert!(
        net.log[before..]
            .iter()
            .all(|(.., datagram)| name_of(datagram) == HELLO)
    );
}

#[test]
fn chunks_go_to_who_asks_and_to_nobody_else() {
    let mut net = Net::new(1);
    net.run(10, nothing);
    net.emit(0, &"x".repeat(50_000));
    net.run(100, nothing);
    let chunk = net.log.iter().find(|(.., datagram)| datagram.len() > 1_000);
    let seq_id = parse(&chunk.unwrap().3).metadata.seq_id.to_owned();
    let before = net.log.len();
    let stranger = address(6_666);
    for _ in 0..100 {
        let request = control("s", 1, RETX, |out| {
            // The victim is only named.
            let me = ("s", "127.0.0.1", 6_000);
            control::write_retx(out, me, None, seq_id.as_bytes(), &[3, 49, 999], 1_000);
        });
        let now = net.now();
        net.engines[0].handle_datagram(now, stranger, &request);
        net.run(net.now.as_millis() as u64 + 1, nothing);
    }
    net.run(300, nothing);
    let answers: Vec<_> = net.log[before..]
        .iter()
        .filter(|(.., datagram)| name_of(datagram) != HELLO)
        .collect();
    assert!(
        answers
            .iter()
            .all(|(_, _, to, _)| *to == Destination::Peer(stranger))
    );
    // In 100 ms two copies of each.
    assert!((2..=4).contains(&answers.len()), "{}", answers.len());
    let seqs = answers
        .iter()
        .map(|(.., datagram)| parse(datagram).metadata.seq);
    assert!(seqs.clone().all(|seq| seq == 3 || seq == 49));
}

/// An old peer forgets a message that it has delivered, and takes a chunk that comes later for the
/// beginning of another.
#[test]
fn a_doubled_request_of_an_old_peer_is_answered_once() {
    let mut net = Net::new(1);
    net.run(10, nothing);
    net.emit(0, &"x".repeat(5_000));
    net.run(100, nothing);
    let chunk = net.log.iter().find(|(.., datagram)| datagram.len() > 1_000);
    let message = parse(&chunk.unwrap().3).metadata.seq_id.to_owned();
    let before = net.log.len();
    let request = |seq_id: [u8; 20]| {
        let mut rest = Vec::new();
        let me = ("old", "127.0.0.1", 6_666);
        control::write_retx(&mut rest, me, None, message.as_bytes(), &[1], 1_000);
        let craft = Craft {
            id: "old",
            seq_id,
            incarnation: None,
            name: RETX,
            rest: &rest,
            ..Craft::default()
        };
        craft.make()
    };
    let (first, second) = (request([1; 20]), request([2; 20]));
    for (after, datagram) in [(100, &first), (170, &first), (500, &first), (800, &second)] {
        net.run(after, nothing);
        let now = net.now();
        net.engines[0].handle_datagram(now, address(6_666), datagram);
    }
    net.run(1_000, nothing);
    let answers = net.log[before..]
        .iter()
        .filter(|(_, _, to, datagram)| {
            *to == Destination::Peer(address(6_666)) && name_of(datagram) != HELLO
        })
        .count();
    assert_eq!(answers, 2, "one for each request");
    assert_eq!(net.engines[0].stats().drops.get(DropCause::Duplicate), 2);
}

#[test]
fn held_messages_stay_within_their_bound() {
    let limit = 1 << 20;
    let mut net = Net::with(2, |config| {
        config.max_held_bytes = limit;
        config.max_message_size = limit / 2;
    });
    net.run(10, nothing);
    net.emit(0, "first");
    let text = "t".repeat(600);
    for _ in 0..3_000 {
        net.emit(0, &text);
    }
    net.run(2_000, |_, _, datagram| number_of(datagram) == Some(1));
    let told = net.told(1);
    assert_eq!(told[0], "lost Crowded 1-1");
    assert_eq!(told.len(), 3_001);
    assert!(net.engines[1].stats().held_bytes <= limit);
}

#[test]
fn missing_chunks_of_an_old_peer_are_asked_for_three_times() {
    let inner = Craft {
        rest: &large_payload(9_000, 0),
        ..Craft::default()
    };
    let message = cut(&inner.make(), 1_000, &Craft::default());
    let mut net = Net::with(1, |config| config.message_ttl = Duration::from_millis(500));
    net.run(10, nothing);
    let now = net.now();
    for datagram in &message[..9] {
        net.engines[0].handle_datagram(now, address(9_100), datagram);
    }
    net.run(4_000, nothing);
    let asked: Vec<_> = net
        .log
        .iter()
        .filter(|(.., datagram)| name_of(datagram) == RETX)
        .map(|(at, _, to, _)| (at.as_millis(), *to))
        .collect();
    let to = Destination::Peer(address(9_100));
    assert_eq!(asked, [(60, to), (560, to), (1_560, to)]);
    let total = message.len();
    assert_eq!(net.told(0), [format!("expired Silent 9/{total} +0")]);
    assert_eq!(net.engines[0].stats().incomplete_messages, 0);
}

#[test]
fn what_an_old_peer_answers_is_followed_by_the_next_request_at_once() {
    let inner = Craft {
        rest: &large_payload(200_000, 0),
        ..Craft::default()
    };
    let message = cut(&inner.make(), 1_000, &Craft::default());
    // With such a name a request has no room for all that it might name.
    let mut net = Net::with(1, |config| config.hostname = "h".repeat(250));
    net.run(10, nothing);
    let peer = address(9_100);
    let now = net.now();
    net.engines[0].handle_datagram(now, peer, &message[0]);
    let mut answered = 0;
    while net.engines[0].stats().incomplete_messages > 0 {
        net.run(net.now.as_millis() as u64 + 1, nothing);
        let now = net.now();
        for (.., datagram) in net.log.split_off(answered) {
            if name_of(&datagram) == RETX {
                let args = bson::RawDocument::from_bytes(parse(&datagram).rest).unwrap();
                let request = args.get_document("payload").unwrap();
                for seq in request.get_array("missedSeq").unwrap() {
                    let seq = seq.unwrap().as_i32().unwrap() as usize;
                    net.engines[0].handle_datagram(now, peer, &message[seq]);
                }
            }
        }
        answered = net.log.len();
        assert!(
            net.now < Duration::from_millis(200),
            "it waits though it was answered"
        );
    }
    net.run(net.now.as_millis() as u64 + 1, nothing);
    assert_eq!(net.told(0), ["200000 bytes"]);
    assert!(net.engines[0].stats().requests_sent >= 4);
}
