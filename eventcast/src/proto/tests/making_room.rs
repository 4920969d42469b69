//! What has to make room, and what is told of it: every number of a sender is delivered once, or
//! reported once, whatever becomes of the place that its stream had.

use super::{
    super::{
        receive::{reorder_buffer::MAX_GAPS, streams::MAX_STREAMS},
        repair::nack_list::GAP_COST,
        wire::control::{self, BYE, GONE, HELLO, Hello},
    },
    net::{Net, engine_address, first_of, nothing, number_of},
    *,
};

const ENGINE_0: u64 = 1_795_585_000_000;

/// A datagram of the incarnation 1 of `id`, or of engine 0.
fn datagram(
    id: &str,
    name: &str,
    number: Option<u64>,
    (seq_len, message): (u32, u64),
    rest: &[u8],
) -> Vec<u8> {
    let mut seq_id = [0; 20];
    seq_id[..8].copy_from_slice(&message.to_le_bytes());
    let mut out = Vec::new();
    let head = Head {
        seq: 0,
        seq_len,
        seq_id: &MessageId(seq_id).text(),
        name,
        time: &TimeWriter::new().write(at(0).unix_ms),
        number,
        schema: None,
    };
    Template::new(HOST, 9100, "elsewhere", id, Some(incarnation(id))).write(&head, &mut out);
    out.extend_from_slice(rest);
    out
}

fn incarnation(id: &str) -> u64 {
    if id == "engine-0" { ENGINE_0 } else { 1 }
}

fn hello(id: &str, last: u64) -> Vec<u8> {
    hello_after(Duration::ZERO, id, last)
}

/// A hello of a sender that has been running for so long.
fn hello_after(up: Duration, id: &str, last: u64) -> Vec<u8> {
    let hello = Hello {
        incarnation: incarnation(id),
        last,
        first: 1,
        up,
        version: "made up",
        capabilities: Vec::new(),
        owed: Vec::new(),
        token: None,
    };
    let mut rest = Vec::new();
    control::write_hello(&mut rest, &hello);
    datagram(id, HELLO, None, (1, 0), &rest)
}

fn bye(id: &str, last: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    control::write_bye(&mut rest, incarnation(id), last, None);
    datagram(id, BYE, None, (1, 0), &rest)
}

fn gone(id: &str, spans: &[(u64, u64)]) -> Vec<u8> {
    let mut rest = Vec::new();
    control::write_gone(&mut rest, incarnation(id), spans, 4_000);
    datagram(id, GONE, None, (1, 0), &rest)
}

fn event(id: &str, number: u64) -> Vec<u8> {
    let payload = payload(vec![number.to_string().into()]);
    datagram(id, "e", Some(number), (1, number), &payload)
}

/// A chunk of three of a message that never becomes whole.
fn chunk(id: &str, number: u64) -> Vec<u8> {
    datagram(id, "e", Some(number), (3, number), &[7; 20])
}

/// The same where the message is larger than any may be.
fn too_large(id: &str, number: u64) -> Vec<u8> {
    datagram(id, "e", Some(number), (262_144, number), &[7; 200])
}

fn name(i: usize) -> String {
    format!("{i:016x}")
}

/// Another IP address for each.
fn elsewhere(i: usize) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + i as u32), 6_000).into()
}

/// Hellos of so many that are made up, as engine 1 hears them.
fn crowd(net: &mut Net, count: usize, addresses: impl Fn(usize) -> SocketAddr) {
    for i in 0..count {
        let now = net.now();
        net.engines[1].handle_datagram(now, addresses(i), &hello(&name(i), 0));
    }
}

/// What engine 1 has told of engine 0.
fn told(net: &mut Net) -> Vec<String> {
    let mut told = net.told(1);
    let about = ["true", "lost", "left engine-0"];
    told.retain(|line| about.iter().any(|word| line.starts_with(word)));
    told
}

/// How the stream of engine 0 is made to give its place to another one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    /// Somebody has said goodbye in its name.
    Departed,
    /// It is at the IP address with most streams.
    Crowded,
    /// Nothing has come of it for a minute.
    Silent,
}

/// Engine 1 has heard five events of engine 0, and lacks what `drops` says; then the place of
/// engine 0 goes to another, and comes back.
fn lose_the_place(why: Why, drops: impl Fn(u64) -> bool) -> Net {
    let mut net = Net::new(2);
    net.run(100, nothing);
    for i in 1..=5 {
        net.emit(0, &format!("true {i}"));
    }
    let lost = |by: usize, _: usize, datagram: &[u8]| {
        by == 0 && number_of(datagram).is_some_and(&drops) || by == 1
    };
    net.run(150, lost);
    let from = engine_address(0);
    match why {
        Why::Departed => {
            let now = net.now();
            net.engines[1].handle_datagram(now, from, &bye("engine-0", 5));
            crowd(&mut net, MAX_STREAMS, elsewhere);
        }
        Why::Crowded => {
            let beside = |i| address(1_000 + i as u16);
            crowd(&mut net, MAX_STREAMS - 1, beside);
            let now = net.now();
            for i in 0..MAX_STREAMS - 1 {
                net.engines[1].handle_datagram(now, beside(i), &event(&name(i), 1));
            }
            let newcomer = hello("newcomer", 0);
            net.engines[1].handle_datagram(now, elsewhere(0), &newcomer);
        }
        Why::Silent => {
            net.run(61_000, |by, _, _| by == 0);
            crowd(&mut net, MAX_STREAMS, elsewhere);
        }
    }
    // Another one says goodbye, so that there is a place.
    let (i, from) = match why {
        Why::Crowded => (0, address(1_000)),
        Why::Departed | Why::Silent => (1, elsewhere(1)),
    };
    let now = net.now();
    net.engines[1].handle_datagram(now, from, &bye(&name(i), 0));
    net
}

#[test]
fn nothing_is_delivered_again_of_a_sender_that_had_to_make_room() {
    for why in [Why::Departed, Why::Crowded, Why::Silent] {
        let mut net = lose_the_place(why, |_| false);
        let next = net.now.as_millis() as u64;
        net.run(next + 1_000, nothing);
        assert_eq!(
            net.engines[1].peers(net.now()).len(),
            MAX_STREAMS,
            "{why:?}"
        );
        net.emit(0, "true 6");
        net.run(next + 3_000, nothing);
        let mut told = told(&mut net);
        told.retain(|line| !line.starts_with("left"));
        let expected = (1..=6).map(|i| format!("true {i}")).collect::<Vec<_>>();
        assert_eq!(told, expected, "{why:?}");
    }
}

#[test]
fn messages_delivered_before_a_stream_was_dropped_stay_duplicates() {
    let mut net = Net::new(2);
    net.run(100, nothing);
    for i in 1..=5 {
        net.emit(0, &format!("true {i}"));
    }
    net.run(150, nothing);
    let from = engine_address(0);
    let now = net.now();
    net.engines[1].handle_datagram(now, from, &bye("engine-0", 5));
    crowd(&mut net, MAX_STREAMS, elsewhere);
    let sent = std::mem::take(&mut net.log);
    for (.., datagram) in &sent {
        if number_of(datagram).is_some() {
            net.engines[1].handle_datagram(now, from, datagram);
        }
    }
    net.emit(0, "true 6");
    net.run(300, nothing);
    let mut told = told(&mut net);
    told.retain(|line| line.starts_with("true"));
    let expected = (1..=6).map(|i| format!("true {i}")).collect::<Vec<_>>();
    assert_eq!(told, expected);
    assert!(net.engines[1].stats().drops.get(DropCause::Unfollowed) > 0);
}

#[test]
fn what_is_missing_of_a_sender_that_has_to_make_room_is_reported() {
    // A gap, and the last ones, which a hello alone has named.
    for (missing, expected) in [(2..=4, "lost Crowded 2-4"), (4..=5, "lost Crowded 4-5")] {
        let mut net = lose_the_place(Why::Crowded, |number| missing.contains(&number));
        let next = net.now.as_millis() as u64;
        net.run(next + 1_000, nothing);
        net.emit(0, "true 6");
        net.run(next + 3_000, nothing);
        let mut told = told(&mut net);
        told.retain(|line| !line.starts_with("true"));
        if missing.contains(&5) {
            // That it has left would be told later, if it had not come back.
            assert_eq!(told, [expected]);
            assert_eq!(net.engines[1].stats().lost_messages, 2);
        } else {
            // What waits for something keeps its place.
            assert_eq!(told, [""; 0]);
        }
    }
}

#[test]
fn streams_in_which_something_waits_give_way_as_well() {
    let mut net = Net::new(2);
    net.run(100, |by, _, _| by == 0);
    let one_ip = |i: usize| ([10, 6, 6, 6], 6_000 + (i % 64) as u16).into();
    crowd(&mut net, MAX_STREAMS, one_ip);
    for i in 0..MAX_STREAMS {
        let now = net.now();
        net.engines[1].handle_datagram(now, one_ip(i), &event(&name(i), 2));
    }
    let now = net.now();
    net.engines[1].handle_datagram(now, elsewhere(1), &hello("honest", 0));
    let stats = net.engines[1].stats();
    assert_eq!(stats.drops.get(DropCause::Unfollowed), 0);
    // One that is missing, and the one that waited for it.
    assert_eq!((stats.lost_messages, stats.peers), (2, MAX_STREAMS));
    let peers = net.engines[1].peers(now);
    assert!(peers.iter().any(|peer| peer.peer.id == "honest"));
}

#[test]
fn who_has_said_goodbye_gives_its_place_although_something_is_missing() {
    let mut bob = engine(config("listener"));
    const SENDERS: usize = MAX_STREAMS + 500;
    for i in 0..SENDERS {
        let now = at(1 + i as u64 / 100);
        // One after the other, at one IP address, and the last event of each is lost.
        let from = address(1_000 + i as u16);
        for datagram in [hello(&name(i), 0), event(&name(i), 1), bye(&name(i), 2)] {
            bob.handle_datagram(now, from, &datagram);
        }
    }
    let stats = bob.stats();
    assert_eq!(stats.drops.total(), 0);
    assert_eq!(stats.delivered_messages, SENDERS as u64);
    assert_eq!(stats.lost_messages, 500, "what those lacked that went");
}

#[test]
fn what_came_while_nobody_followed_its_sender_is_neither_lost_nor_delivered_again() {
    for large in [false, true] {
        let mut net = Net::new(2);
        net.run(100, |by, _, _| by == 0);
        // Each at an IP address of its own, so that nobody has more than another.
        crowd(&mut net, MAX_STREAMS, elsewhere);
        let mut expected = Vec::new();
        for i in 1..=5 {
            let text = format!("true {i}{}", ".".repeat(i * usize::from(large) * 900));
            net.emit(0, &text);
            expected.push(match text.len() {
                0..=20 => text,
                long => format!("{long} bytes"),
            });
        }
        net.run(1_500, nothing);
        let now = net.now();
        net.engines[1].handle_datagram(now, elsewhere(0), &bye(&name(0), 0));
        net.emit(0, "true 6");
        expected.push("true 6".to_owned());
        net.run(2_500, nothing);
        // It is followed again.
        net.emit(0, "true 7");
        net.run(4_500, first_of(&[7]));
        expected.push("true 7".to_owned());
        let mut told = net.told(1);
        let about = ["refused unfollowed", "left"];
        told.retain(|line| !about.iter().any(|word| line.starts_with(word)));
        assert_eq!(told, expected);
    }
}

/// Where the stream of a sender is when numbers come that were only claimed when it made room.
#[derive(Clone, Copy, Debug)]
enum Place {
    Unfollowed,
    FollowedAgain,
}

/// A listener in which the stream of "x", of which these came, has made room for others; its events
/// to begin with.
fn without_place(heard: &[Vec<u8>], events: &mut Vec<String>) -> Engine {
    let mut bob = engine(config("listener"));
    for datagram in heard {
        bob.handle_datagram(at(1), elsewhere(0), datagram);
    }
    for i in 1..=MAX_STREAMS {
        bob.handle_datagram(at(1), elsewhere(i), &hello(&name(i), 0));
    }
    assert_eq!(bob.stats().drops.total(), 0);
    events_of(&mut bob, events);
    bob
}

/// Adds the messages and losses of a listener.
fn events_of(bob: &mut Engine, told: &mut Vec<String>) {
    let mut events = Events::new();
    bob.take_events(&mut events);
    for event in events.iter() {
        match event {
            Event::Message(message) => told.push(message.number.unwrap().to_string()),
            Event::Lost(_) => told.push(in_words(&event)),
            _ => {}
        }
    }
}

/// What is told in the end if these numbers come at that place, some milliseconds later each.
fn told_of_late(
    place: Place,
    heard: &[Vec<u8>],
    late: impl IntoIterator<Item = Vec<u8>>,
) -> (Vec<String>, u64) {
    let mut told = Vec::new();
    let mut bob = without_place(heard, &mut told);
    if let Place::FollowedAgain = place {
        bob.handle_datagram(at(2), elsewhere(1), &bye(&name(1), 0));
    }
    for (i, datagram) in late.into_iter().enumerate() {
        bob.handle_datagram(at(3 + i as u64), elsewhere(0), &datagram);
    }
    let unfollowed = bob.stats().drops.get(DropCause::Unfollowed);
    assert_eq!(unfollowed > 0, matches!(place, Place::Unfollowed));
    for now in (10..2_000).step_by(10) {
        if bob.poll_timeout().is_some_and(|due| due <= at(now).elapsed) {
            bob.handle_timeout(at(now));
        }
        events_of(&mut bob, &mut told);
    }
    (told, bob.stats().lost_messages)
}

/// The chunks of an event of "x" with this number.
fn in_chunks(number: u64) -> Vec<Vec<u8>> {
    let mut sender = Engine::new(Config::new("x", 1, HOST, 9_100), [3; 32], at(0));
    let payload = large_payload(4_000, 0);
    for _ in 0..number {
        let event = Outgoing {
            best_effort: false,
            ..outgoing("e", &payload)
        };
        sender.emit(at(0), event).unwrap();
    }
    let mut chunks = datagrams(&mut sender, at(0));
    chunks.retain(|datagram| number_of(datagram) == Some(number));
    assert!(chunks.len() > 1);
    chunks
}

#[test]
fn what_was_only_claimed_when_its_sender_made_room_is_delivered_or_lost_and_not_both() {
    let heard = [hello("x", 0), event("x", 1), bye("x", 4)];
    for place in [Place::Unfollowed, Place::FollowedAgain] {
        let late = [event("x", 2), event("x", 4)];
        let (told, lost) = told_of_late(place, &heard, late);
        assert_eq!(told, ["1", "2", "4", "lost Crowded 3-3"], "{place:?}");
        assert_eq!(lost, 1, "{place:?}");
        // The same in chunks.
        let late = in_chunks(2).into_iter().chain(in_chunks(4));
        let (told, lost) = told_of_late(place, &heard, late);
        assert_eq!(told, ["1", "2", "4", "lost Crowded 3-3"], "{place:?}");
        assert_eq!(lost, 1, "{place:?}");
    }
}

#[test]
fn what_hello_and_goodbye_alone_have_claimed_of_a_sender_that_made_room_is_delivered_or_lost() {
    let hour = Duration::from_secs(3_600);
    let heard = [hello_after(hour, "x", 5), bye("x", 8)];
    for place in [Place::Unfollowed, Place::FollowedAgain] {
        let late = [event("x", 6), event("x", 8)];
        let (told, lost) = told_of_late(place, &heard, late);
        assert_eq!(told, ["6", "8", "lost Crowded 7-7"], "{place:?}");
        assert_eq!(lost, 1, "{place:?}");
        // A lower number shows that they were lies.
        let late = [event("x", 3), event("x", 4)];
        let (told, lost) = told_of_late(place, &heard, late);
        assert_eq!(told, ["3", "4"], "{place:?}");
        assert_eq!(lost, 0, "{place:?}");
    }
}

#[test]
fn what_was_claimed_when_a_sender_made_room_is_none_of_its_losses_once_it_withdraws_that() {
    let heard = [hello("x", 0), event("x", 1), bye("x", 4)];
    let (told, lost) = told_of_late(Place::FollowedAgain, &heard, [hello("x", 1)]);
    assert_eq!((told, lost), (vec!["1".to_owned()], 0));
    // Otherwise they are reported in the end.
    let (told, lost) = told_of_late(Place::FollowedAgain, &heard, [event("x", 5)]);
    assert_eq!(told, ["1", "5", "lost Crowded 2-4"]);
    assert_eq!(lost, 3);
}

#[test]
fn what_came_of_a_sender_without_a_place_stays_so_however_many_others_are_heard() {
    let mut told = Vec::new();
    let mut bob = without_place(&[], &mut told);
    for number in 1..=3 {
        bob.handle_datagram(at(1), elsewhere(0), &event("x", number));
    }
    for i in 0..2 * MAX_STREAMS {
        bob.handle_datagram(at(2), elsewhere(10_000 + i), &hello("y", 0));
    }
    bob.handle_datagram(at(3), elsewhere(1), &bye(&name(1), 0));
    bob.handle_datagram(at(4), elsewhere(0), &hello("x", 3));
    for number in 1..=4 {
        bob.handle_datagram(at(5), elsewhere(0), &event("x", number));
    }
    for ms in (10..2_000).step_by(10) {
        bob.handle_timeout(at(ms));
        events_of(&mut bob, &mut told);
    }
    assert_eq!(told, ["1", "2", "3", "4"]);
}

#[test]
fn what_is_held_is_bounded_where_the_fullest_stream_has_nothing_to_give() {
    const MOST: usize = 256 << 10;
    let mut bob = engine(Config {
        max_held_bytes: MOST,
        max_message_size: 64 << 10,
        ..config("listener")
    });
    // Numbers that are passed, each behind one that is being put together.
    let from = elsewhere(0);
    bob.handle_datagram(at(1), from, &event("x", 1));
    for i in 1..=30 {
        bob.handle_datagram(at(1), from, &chunk("x", 2 * i));
        bob.handle_datagram(at(1), from, &too_large("x", 2 * i + 1));
    }
    for i in 1..4_000 {
        bob.handle_datagram(at(2), elsewhere(i), &hello(&name(i), 5));
        let held = bob.stats().held_bytes;
        assert!(held <= MOST, "{held} bytes");
    }
    assert!(bob.stats().lost_messages > 0);
}

#[test]
fn a_claim_that_is_given_up_to_make_room_is_delivered_or_lost_and_not_both() {
    let mut bob = engine(Config {
        max_held_bytes: 1,
        ..config("listener")
    });
    let (from, mut told) = (elsewhere(0), Vec::new());
    bob.handle_datagram(at(1), from, &hello("x", 0));
    bob.handle_datagram(at(1), from, &hello("x", 4));
    events_of(&mut bob, &mut told);
    assert_eq!(bob.stats().drops.get(DropCause::Crowded), 1);
    for (ms, number) in [(2, 1), (3, 2), (4, 4)] {
        bob.handle_datagram(at(ms), from, &event("x", number));
    }
    for ms in (10..2_000).step_by(10) {
        bob.handle_timeout(at(ms));
        events_of(&mut bob, &mut told);
    }
    assert_eq!(told, ["1", "2", "4", "lost Crowded 3-3"]);
    assert_eq!(bob.stats().lost_messages, 1);
}

#[test]
fn what_messages_say_of_their_sender_counts_while_they_wait() {
    const MESSAGES: u64 = 100;
    let held = |changes: bool| {
        let mut bob = engine(config("listener"));
        let from = elsewhere(0);
        bob.handle_datagram(at(1), from, &event("x", 1));
        for i in 1..=MESSAGES {
            // Its host may have another name each time, in the hello too.
            let which = if changes { i } else { 0 };
            let hostname = format!("{which:0200}");
            let mut by = |name: &str, number: Option<u64>, rest: &[u8]| {
                let mut out = Vec::new();
                let head = Head {
                    seq: 0,
                    seq_len: 1,
                    seq_id: &MessageId([i as u8; 20]).text(),
                    name,
                    time: &TimeWriter::new().write(at(0).unix_ms),
                    number,
                    schema: None,
                };
                Template::new(HOST, 9100, &hostname, "x", Some(1)).write(&head, &mut out);
                out.extend_from_slice(rest);
                bob.handle_datagram(at(1), from, &out);
            };
            let good = hello("x", 2 * i + 1);
            by(HELLO, None, parse(&good).rest);
            by("e", Some(2 * i + 1), &payload(vec![]));
        }
        bob.stats().held_bytes as u64
    };
    let (same, others) = (held(false), held(true));
    assert!(others >= same + (MESSAGES - 1) * 200, "{same}, {others}");
}

#[test]
fn a_stream_has_no_more_gaps_than_so_whatever_makes_them() {
    let most = MAX_GAPS * GAP_COST;
    // Every other number is refused.
    let mut bob = engine(config("listener"));
    let from = elsewhere(0);
    bob.handle_datagram(at(1), from, &event("x", 1));
    let refused = 2 * MAX_GAPS as u64;
    for i in 1..=refused {
        bob.handle_datagram(at(1), from, &too_large("x", 2 * i + 1));
    }
    // As many ranges of passed numbers lie between them.
    assert!(bob.stats().held_bytes < 2 * most);
    assert_eq!(bob.stats().lost_messages, refused + MAX_GAPS as u64);

    // Every other number of many that are claimed, and have been asked for, is gone.
    let mut bob = engine(config("listener"));
    bob.handle_datagram(at(1), from, &hello("x", 0));
    let mut buf = Vec::new();
    for i in 1..=4 {
        bob.handle_datagram(at(20 * i), from, &hello("x", 65_536 * i));
        while bob
            .poll_timeout()
            .is_some_and(|due| due <= at(20 * i + 15).elapsed)
        {
            bob.handle_timeout(at(20 * i + 15));
        }
        while bob.poll_transmit(at(20 * i + 15), &mut buf).is_some() {}
    }
    for i in 0..1_500_u64 {
        let spans: Vec<_> = (0..64)
            .map(|j| (2 * (64 * i + j) + 1, 2 * (64 * i + j) + 1))
            .collect();
        bob.handle_datagram(at(100), from, &gone("x", &spans));
        assert!(bob.stats().held_bytes <= most, "{}", bob.stats().held_bytes);
    }
    assert!(
        bob.stats().lost_messages > 90_000,
        "{}",
        bob.stats().lost_messages
    );
}

#[test]
fn a_gap_that_makes_room_costs_no_look_at_all_that_was_passed() {
    let mut bob = engine(config("listener"));
    let from = elsewhere(0);
    bob.handle_datagram(at(1), from, &event("x", 1));
    let mut next = 3;
    let mut time_of_a_few = |bob: &mut Engine, count: u64| {
        let begin = std::time::Instant::now();
        for _ in 0..count {
            bob.handle_datagram(at(1), from, &chunk("x", next));
            next += 2;
        }
        begin.elapsed()
    };
    let before = time_of_a_few(&mut bob, 2_000);
    time_of_a_few(&mut bob, MAX_GAPS as u64);
    // Now each makes room, where 30,000 ranges were passed. A look at all of them takes hundreds of
    // times as long.
    let after = time_of_a_few(&mut bob, 2_000);
    assert!(after < 15 * before, "{before:?}, then {after:?}");
}

#[test]
fn gaps_that_are_over_at_one_time_are_given_up_a_few_at_a_time() {
    const GAPS: u64 = 20_000;
    let mut bob = engine(config("listener"));
    let from = elsewhere(0);
    for i in 0..GAPS {
        bob.handle_datagram(at(1), from, &event("x", 2 * i + 2));
    }
    assert_eq!(bob.stats().delivered_messages, 1);
    // Nobody has called for an hour.
    let late = at(3_600_000);
    let mut calls = 0;
    while bob.poll_timeout().is_some_and(|due| due <= late.elapsed) {
        let before = bob.stats().lost_messages;
        bob.handle_timeout(late);
        assert!(bob.stats().lost_messages - before <= 4_096);
        calls += 1;
        assert!(calls < 100);
    }
    assert_eq!(bob.stats().lost_messages, GAPS - 1);
    assert_eq!(bob.stats().delivered_messages, GAPS);
    assert_eq!(bob.stats().held_bytes, 0);
}

#[test]
fn peers_that_fall_silent_one_after_the_other_are_not_all_looked_at_for_each() {
    let mut bob = engine(config("listener"));
    let mut events = Events::new();
    // The time spent on each that is found silent, where each says hello once in five and a half
    // seconds.
    let mut time_of_each = |peers: u64, begin: u64| {
        let mut spent = Duration::ZERO;
        let mut left = 0;
        for ms in 0..16_500 {
            let now = at(begin + ms);
            if ms % 5_500 < peers {
                let i = (ms % 5_500) as usize;
                bob.handle_datagram(now, elsewhere(i), &hello(&name(i), 0));
            }
            if bob.poll_timeout().is_some_and(|due| due <= now.elapsed) {
                let peers = bob.stats().peers;
                let begin = std::time::Instant::now();
                bob.handle_timeout(now);
                spent += begin.elapsed();
                left += (peers - bob.stats().peers) as u32;
            }
            bob.take_events(&mut events);
        }
        assert!(u64::from(left) >= 2 * peers, "{left}");
        spent / left
    };
    let few = time_of_each(100, 0);
    let many = time_of_each(4_000, 100_000);
    assert!(many < 8 * few, "{few:?}, then {many:?}");
}
