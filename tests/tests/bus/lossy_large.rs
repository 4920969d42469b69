//! Two machines with a lossy cable between them: events of many datagrams.

use std::{thread, time::Duration};

use eventcast::{Args, Bus, ListenerQueue, NetEvent, Notice, Received};
use eventcast_tests::{
    cable::{Fate, Frame, Way, Weather},
    craft,
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::lossy::{Network, acquainted, losses, numbers};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case("lossy::sixteen_mebibytes_ten_of_ten", sixteen_mebibytes)
            .within(Duration::from_secs(180)),
        case("lossy::a_large_message_given_up", given_up),
        case(
            "lossy::a_large_message_that_its_sender_has_dropped",
            dropped_by_its_sender,
        ),
        case(
            "lossy::mc04_two_buses_of_one_machine",
            mc04_two_buses_of_one_machine,
        ),
        case("lossy::ch06_twenty_receivers", ch06_twenty_receivers),
    ]
}

/// What must never be waited for.
#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "position", best_effort)]
struct Position(u32);

/// A text in which every slice differs from every other.
fn long_text(length: usize) -> String {
    let parts = (0..).map(|number| format!("{number},"));
    let mut text: String = parts.take(length / 2).collect();
    text.truncate(length);
    text
}

/// The names of all events, in the order in which they are delivered.
fn names(bus: &Bus) -> Seen<String> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_every(move |e: &Received<Args>| list.push(e.key().to_owned()));
    seen
}

/// With room for events of 16 MiB in the queue of a listener that is put aside for a moment.
fn roomy(builder: eventcast::Builder) -> eventcast::Builder {
    builder.listener_queue(ListenerQueue {
        events: 16_384,
        bytes: 256 << 20,
    })
}

fn sixteen_mebibytes() {
    const SIZE: usize = 16 << 20;
    let network = Network::new();
    let (a, other) = (network.on_a(|a| a), network.on_a(|c| c));
    let b = network.on_b(roomy);
    acquainted(&[&a, &other, &b]);
    let (sizes, untouched) = network.receive_buffers_on_b();
    assert!(sizes.len() >= 2, "the group's socket and its own");
    assert!(sizes.iter().all(|size| *size == untouched), "{sizes:?}");

    let weather = Weather {
        loss: 0.01,
        ..Weather::default()
    };
    network.cable.set_rule(weather.rule());
    let (order, told) = (names(&b), losses(&b));
    let whole = Seen::new();
    let list = whole.clone();
    let text = long_text(SIZE);
    let expected = text.clone();
    b.on_named("large", move |e: &Received<Args>| {
        let text: String = e.decode().expect("a text");
        list.push(text == expected);
    });
    let numbers = numbers(&b, "after");
    for round in 1..=10 {
        block_on(a.emit_wait_named("large", text.as_str())).expect("there will be room");
        for number in 0..5 {
            a.emit_named("after", number).expect("there is room");
            other.emit_named("other", number).expect("there is room");
        }
        // Some are lost while the receiver does not get to read, but not all for as long as the
        // large one takes.
        let came = |name: &str| order.all().iter().any(|one| one == name);
        for number in 0.. {
            if came("position") || came("large") {
                break;
            }
            a.emit(Position(number)).expect("there is room");
            thread::sleep(Duration::from_millis(2));
        }
        eventually("the round is over", || {
            let count = |name: &str| order.all().iter().filter(|one| *one == name).count();
            count("after") == 5 && count("other") == 5 || !told.is_empty()
        });
        let lost = b.stats().events_lost;
        assert!(lost == 0 && told.is_empty(), "round {round}: {told:?}");
        let seen = order.take();
        let large = seen.iter().position(|one| one == "large");
        let large = large.expect("it came");
        let (before, after) = (&seen[..large], &seen[large + 1..]);
        assert_eq!(after, ["after"; 5], "{seen:?}");
        let others = before.iter().filter(|one| *one == "other").count();
        assert_eq!(others, 5, "{seen:?}");
        assert!(before.iter().any(|one| one == "position"), "{seen:?}");
    }
    assert_eq!(whole.wait_for(10), [true; 10]);
    assert!(numbers.wait_for(50).into_iter().eq((0..50).map(|n| n % 5)));
    let (stats, figures) = (b.stats(), network.cable.figures());
    println!("{figures:?}\n{stats:?}");
    assert_eq!((stats.events_lost, stats.messages_expired), (0, 0));
    assert!(figures.lost > 1_000);
    assert!(figures.longest_packet <= 1_500);
}

/// One chunk never gets through, however often it is sent.
fn given_up() {
    const MARK: &str = "<this never arrives>";
    let network = Network::new();
    let a = network.on_a(|a| a);
    let b = network.on_b(|b| b.message_ttl(Duration::from_millis(500)));
    acquainted(&[&a, &b]);
    network.cable.set_rule(|frame| {
        if frame.contains(MARK.as_bytes()) {
            Fate::Lost
        } else {
            Fate::Arrives
        }
    });
    let order = names(&b);
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice: &Notice| match notice {
        Notice::Expired {
            key,
            from,
            number,
            received,
            chunks,
            ..
        } => list.push((key.clone(), *from, *number, chunks - received)),
        Notice::Lost { .. } => panic!("told twice: {notice}"),
        _ => {}
    });
    a.emit_named("before", ()).expect("it runs");
    // The middle of a slice, whatever the length of the metadata.
    let mut text = long_text(500_000);
    text.replace_range(7 * 1_024 + 200..7 * 1_024 + 200 + MARK.len(), MARK);
    let large = a.emit_named("large", text).expect("there is room");
    assert_eq!(large.number, Some(2));
    for number in 0..5 {
        a.emit_named("after", number).expect("there is room");
    }
    let from = a.unicast_address().expect("it runs");
    let (event, by, number, missing) = told.wait_for(1)[0].clone();
    assert_eq!(
        (event.as_str(), by, number, missing),
        ("large", from, large.number, 1)
    );
    let seen = order.wait_for(6);
    assert_eq!(
        seen,
        ["before", "after", "after", "after", "after", "after"]
    );
    assert_eq!(told.len(), 1);
    let stats = b.stats();
    assert_eq!(stats.messages_expired, 1);
    assert_eq!((stats.messages_incomplete, stats.held_bytes), (0, 0));
}

/// One chunk never gets through, until its sender needs the room: what is behind is not held up for
/// as long as the receiver would wait.
fn dropped_by_its_sender() {
    const MARK: &str = "<this never arrives>";
    const LENGTH: usize = 50_000;
    let network = Network::new();
    let a = network.on_a(|a| a.max_message_size(100_000).history_bytes(100_000));
    let b = network.on_b(|b| {
        b.message_ttl(Duration::from_secs(60))
            .message_retransmit_attempts(100)
    });
    acquainted(&[&a, &b]);
    network.cable.set_rule(|frame| {
        if frame.contains(MARK.as_bytes()) {
            Fate::Lost
        } else {
            Fate::Arrives
        }
    });
    let (order, told) = (names(&b), losses(&b));
    let mut text = long_text(LENGTH);
    text.replace_range(7 * 1_024 + 200..7 * 1_024 + 200 + MARK.len(), MARK);
    a.emit_named("large", text).expect("there is room");
    a.emit_named("after", ()).expect("there is room");
    eventually("some of it has come", || {
        b.stats().messages_incomplete == 1 && a.stats().answers_sent > 0
    });
    assert_eq!((order.len(), told.len()), (0, 0));
    // It stays for half a second after its last chunk.
    let mut more = 0;
    eventually("it has made room", || {
        a.emit_named("more", long_text(LENGTH))
            .expect("there is room");
        more += 1;
        thread::sleep(Duration::from_millis(50));
        !told.is_empty()
    });
    let told = told.all();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("history_bytes"), "{told:?}");
    let seen = order.wait_for(1 + more);
    assert_eq!(seen[0], "after");
    assert!(seen[1..].iter().all(|name| name == "more"));
    let stats = b.stats();
    assert_eq!((stats.events_lost, stats.messages_expired), (1, 0));
    eventually("nothing is held", || {
        let stats = b.stats();
        (stats.messages_incomplete, stats.held_bytes) == (0, 0)
    });
}

/// Loses the fifth long datagram to the group, once, and tells which it was.
fn fifth_long_one(lost: Seen<Vec<u8>>) -> impl FnMut(&Frame<'_>) -> Fate + Send {
    let mut count = 0;
    move |frame| {
        count += u32::from(is_long(frame));
        if count == 5 && lost.is_empty() {
            lost.push(frame.payload.to_vec());
            Fate::Lost
        } else {
            Fate::Arrives
        }
    }
}

fn is_long(frame: &Frame<'_>) -> bool {
    frame.way == Way::There && frame.payload.len() > 800
}

/// Case MC-04 (1).
fn mc04_two_buses_of_one_machine() {
    let network = Network::new();
    let sender = network.on_a(|a| a);
    let text = long_text(20_000);
    for order in [["r1", "r2"], ["r2", "r1"]] {
        let receivers = order.map(|id| network.on_b(|b| b.id(id)));
        acquainted(&[&sender, &receivers[0], &receivers[1]]);
        let lost = Seen::new();
        network.cable.set_rule(fifth_long_one(lost.clone()));
        let seen = receivers.each_ref().map(|one| {
            let seen = Seen::new();
            let list = seen.clone();
            one.on_named("text", move |e: &Received<Args>| {
                list.push(e.decode::<String>().expect("a text"));
            });
            seen
        });
        sender
            .emit_named("text", text.as_str())
            .expect("there is room");
        for seen in &seen {
            assert!(seen.wait_for(1)[0] == text, "it came changed");
        }
        assert_eq!(lost.len(), 1);
        for receiver in &receivers {
            block_on(receiver.stop()).expect("it stops");
        }
        assert!(seen.iter().all(|seen| seen.len() == 1), "{order:?}");
        eventually("they are gone", || sender.peers().is_empty());
    }
}

/// Case CH-06 (2).
fn ch06_twenty_receivers() {
    const RECEIVERS: usize = 20;
    let network = Network::new();
    let sender = network.on_a(|a| a);
    let text = long_text(20_000);
    let whole = Seen::new();
    let receivers: Vec<_> = (0..RECEIVERS)
        .map(|_| {
            let receiver = network.on_b(|b| b);
            let (list, expected) = (whole.clone(), text.clone());
            receiver.on_named("text", move |e: &Received<Args>| {
                let text: String = e.decode().expect("a text");
                list.push(text == expected);
            });
            receiver
        })
        .collect();
    eventually("all have heard of the sender", || {
        receivers.iter().all(|one| !one.peers().is_empty()) && sender.peers().len() == RECEIVERS
    });
    let (lost, again) = (Seen::new(), Seen::new());
    let (mut rule, list) = (fifth_long_one(lost.clone()), again.clone());
    let mut slice: Option<Vec<u8>> = None;
    network.cable.set_rule(move |frame| {
        if let Some(slice) = &slice
            && frame.contains(slice)
        {
            list.push(frame.to);
        }
        let fate = rule(frame);
        if fate == Fate::Lost {
            // What is sent to all may be wrapped, and then cut in two: its beginning stays in one
            // piece.
            let (_, payload) = craft::part(frame.payload);
            slice = Some(payload[..200].to_vec());
        }
        fate
    });
    sender
        .emit_named("text", text.as_str())
        .expect("there is room");
    assert_eq!(whole.wait_for(RECEIVERS), [true; RECEIVERS]);
    assert_eq!(lost.len(), 1);
    let again = again.all();
    assert!((1..=3).contains(&again.len()), "{again:?}");
    for receiver in &receivers {
        assert_eq!(receiver.stats().messages_incomplete, 0);
    }
}
