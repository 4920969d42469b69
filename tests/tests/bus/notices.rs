//! How often a bus tells of one thing, and how it shows what others have chosen.

use std::{
    panic::panic_any,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bson::{bson, doc};
use eventcast::{Args, Bus, DropCause, NetEvent, Notice, Received};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    runner::{Case, run_alone},
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{Count, bus, count, gives_up_soon, paced, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "notices::a_listener_in_a_loop_of_panics",
            a_listener_in_a_loop_of_panics,
        ),
        Case::new(
            "notices::counts_are_reported_at_the_stop",
            counts_are_reported_at_the_stop,
        ),
        Case::new("notices::a_stop_sums_up_a_flood", a_flood_during_a_stop),
        Case::new(
            "notices::each_decode_failure_is_reported",
            each_decode_failure_is_reported,
        ),
        Case::new("notices::invented_senders", invented_senders),
        Case::new(
            "notices::missed_events_of_a_slow_listener_add_up",
            missed_events_of_a_slow_listener_add_up,
        ),
        Case::new(SHOWS_HOSTILE_TEXTS, shows_hostile_texts).in_own_process(),
        Case::new(
            "notices::hostile_texts_stay_in_their_lines",
            hostile_texts_stay_in_their_lines,
        ),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct LeftAndRight {
    left: u8,
    right: u8,
}

/// What each notice of a kind stands for.
fn counts(bus: &Bus, count: impl Fn(&Notice) -> Option<u64> + Send + Sync + 'static) -> Seen<u64> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice| {
        if let Some(count) = count(notice) {
            list.push(count);
        }
    });
    seen
}

fn of_panics(notice: &Notice) -> Option<u64> {
    match notice {
        Notice::ListenerPanicked { count, .. } => Some(*count),
        _ => None,
    }
}

/// Has a listener of `b` panic so often.
fn panic_often(a: &Bus, b: &Bus, times: usize) {
    let calls = Count::default();
    let called = calls.clone();
    b.on_named("x", move |_: &Received<Args>| {
        called.add();
        panic_any("on purpose");
    });
    paced(
        times,
        || calls.get(),
        |_| {
            a.emit_named("x", ()).expect("the bus runs");
        },
    );
}

fn a_listener_in_a_loop_of_panics() {
    const TIMES: usize = 5_000;
    let (a, b) = pair();
    let told = counts(&b, of_panics);
    panic_often(&a, &b, TIMES);
    // Nothing else comes now, and the bus goes on: what was held back comes by itself, in ten
    // seconds.
    eventually("a sum is told", || told.len() >= 2);
    eventually("every panic is told of", || {
        told.all().iter().sum::<u64>() >= TIMES as u64
    });
    let told = told.all();
    assert_eq!(told.iter().sum::<u64>(), TIMES as u64);
    assert_eq!(told[0], 1, "the first at once");
    assert!(told.len() <= 20, "{told:?}");
    assert_eq!(b.stats().listener_panics, TIMES as u64);
}

fn counts_are_reported_at_the_stop() {
    let (a, b) = pair();
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice| match notice {
        Notice::Stopped => list.push(0),
        other => {
            if let Some(count) = of_panics(other) {
                list.push(count);
            }
        }
    });
    panic_often(&a, &b, 100);
    block_on(b.stop()).expect("it stops");
    eventually("the stop is told of", || told.all().contains(&0));
    let told = told.all();
    assert_eq!(told.iter().sum::<u64>(), 100);
    assert_eq!(told.last(), Some(&0), "{told:?}");
}

fn a_flood_during_a_stop() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let told = counts(&b, |notice| match notice {
        Notice::Refused { count, .. } => Some(*count),
        _ => None,
    });
    let refused = || b.stats().dropped_for(DropCause::Malformed);
    let end = AtomicBool::new(false);
    let tap = Tap::join(group);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                tap.send(b"this is none of ours");
                // What has come meanwhile is answered while the bus leaves.
                let _ = a.emit_named("x", ());
                thread::sleep(Duration::from_micros(200));
            }
        });
        eventually("it comes", || refused() > 100);
        block_on(b.stop()).expect("it stops");
        end.store(true, Ordering::Relaxed);
    });
    eventually("all of it is told", || {
        told.all().iter().sum::<u64>() == refused()
    });
    // One at once and a sum three times: until the stop begins, until others have been served,
    // until the sockets are closed.
    assert!(told.len() <= 6, "{:?}", told.all());
}

fn each_decode_failure_is_reported() {
    let (a, b) = pair();
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice| {
        if let Notice::DecodeFailure {
            listener,
            error,
            count,
            ..
        } = notice
        {
            list.push((*listener, error.path(), *count));
        }
    });
    let first = b.on::<LeftAndRight>(|_| {});
    let second = b.on::<LeftAndRight>(|_| {});
    let named = count(&b, "LeftAndRight");
    const EACH: u64 = 10;
    for _ in 0..EACH {
        for (left, right) in [(bson!("one"), bson!(2)), (bson!(1), bson!("two"))] {
            a.emit_named("LeftAndRight", bson!({ "left": left, "right": right }))
                .expect("the bus runs");
        }
    }
    named.wait_for(2 * EACH as usize);
    block_on(b.stop()).expect("it stops");
    for listener in [first, second] {
        for field in ["left", "right"] {
            let counts = || {
                let of = told.all();
                let of = of
                    .iter()
                    .filter(|(id, path, _)| *id == listener && path == field);
                of.map(|(_, _, count)| *count).collect::<Vec<_>>()
            };
            eventually("each is told of", || counts().iter().sum::<u64>() >= EACH);
            let counts = counts();
            assert_eq!(counts.iter().sum::<u64>(), EACH, "{field}");
            assert_eq!(counts[0], 1, "{field}: the first at once");
            assert!(counts.len() <= 4, "{field}: {counts:?}");
        }
    }
}

fn invented_senders() {
    const SENDERS: u64 = 3_000;
    let group = Group::unused();
    let (tap, bus) = (Tap::join(group), bus(group));
    let told = counts(&bus, |notice| match notice {
        Notice::DecodeFailure { count, .. } => Some(*count),
        _ => None,
    });
    bus.on::<LeftAndRight>(|_| {});
    let datagrams = (0..SENDERS).map(|i| {
        Message::event(group, "LeftAndRight", vec![bson!({ "left": "one" })])
            .set("id", format!("{i:016x}"))
            .bytes()
    });
    crate::common::send_paced(&tap, &bus, datagrams);
    eventually("all were received", || {
        bus.stats().decode_failures >= SENDERS
    });
    block_on(bus.stop()).expect("it stops");
    eventually("each is told of", || {
        told.all().iter().sum::<u64>() >= SENDERS
    });
    let told = told.all();
    assert_eq!(told.iter().sum::<u64>(), SENDERS);
    assert!(told.len() <= 100, "{} notices", told.len());
}

fn missed_events_of_a_slow_listener_add_up() {
    let group = Group::unused();
    let a = bus(group);
    let b = crate::common::started(crate::common::builder(group).listener_queue(
        eventcast::ListenerQueue {
            events: 10,
            bytes: 1 << 20,
        },
    ));
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice| {
        if let Notice::ListenerMissed { missed, count, .. } = notice {
            list.push((*missed, *count));
        }
    });
    let calls = count(&b, "x");
    b.on_named("x", |_: &Received<Args>| {
        thread::sleep(Duration::from_millis(10));
    });
    paced(
        1_000,
        || calls.get(),
        |_| {
            a.emit_named("x", ()).expect("the bus runs");
        },
    );
    block_on(b.stop()).expect("it stops");
    let missed = b.stats().listener_missed;
    assert!(missed > 0, "the queue was full");
    eventually("all that was missed is told of", || {
        told.all().iter().map(|(_, count)| count).sum::<u64>() >= missed
    });
    let told = told.all();
    assert_eq!(told.last().map(|(missed, _)| *missed), Some(missed));
    assert!(told.len() <= 20, "one a call is too many: {told:?}");
}

/// What a hostile sender may choose as its id, its host's name, or a text. No more than 64 bytes
/// each.
const HOSTILE: [&str; 7] = [
    "a\nERROR eventcast: the disk is on fire",
    "b\r\nERROR eventcast: b",
    "\u{1b}[2J\u{1b}[1;31mred",
    "\u{1b}]0;title\u{7}\u{1b}]52;c;cm0gLXJm\u{1b}\\",
    "\u{9b}31m \u{9d}0;t\u{9c} \u{85}",
    "user\u{202e}gnp.exe \u{2066}\u{200f}\u{2028}",
    "\0\u{8}\u{7f}\u{200b}\u{feff}",
];

fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || "\u{202e}\u{2066}\u{200f}\u{2028}\u{200b}\u{feff}".contains(c))
}

const SHOWS_HOSTILE_TEXTS: &str = "notices::shows_hostile_texts";

/// Has a bus with a log tell of a peer that chooses whatever it likes. Judges what its notices,
/// peers and origins show, and leaves the log to [`hostile_texts_stay_in_their_lines`].
fn shows_hostile_texts() {
    eventcast::log::install().expect("nobody else did");
    let group = Group::unused();
    let bus = gives_up_soon(group).build().expect("good options");
    let (shown, kinds) = (Seen::new(), Seen::new());
    let (lines, list) = (shown.clone(), kinds.clone());
    bus.on_notice(move |notice| {
        lines.push(notice.to_string());
        lines.push(format!("{notice:?}"));
        list.push(match notice {
            Notice::PeerJoined { .. } => "joined",
            Notice::PeerLeft { .. } => "left",
            Notice::DecodeFailure { .. } => "misfit",
            Notice::Expired { .. } => "expired",
            Notice::Lost { .. } => "lost",
            Notice::ListenerPanicked { .. } => "panicked",
            _ => "another",
        });
    });
    bus.on::<LeftAndRight>(|_| {});
    let lines = shown.clone();
    bus.on_every(move |e: &Received<Args>| {
        lines.push(e.origin().to_string());
        lines.push(format!("{:?} {e:?}", e.origin()));
    });
    let calls = Count::default();
    let called = calls.clone();
    bus.on_named("panics", move |_: &Received<Args>| {
        called.add();
        panic_any("on purpose\nERROR eventcast: panicked \u{1b}[2J");
    });
    block_on(bus.start()).expect("it starts");
    let tap = Tap::join(group);
    for (i, text) in HOSTILE.into_iter().enumerate() {
        let incarnation = 1_700_000_000_000 + i as i64;
        let from = |message: Message| {
            let message = message.set("id", text).set("hostname", text);
            message.set("inc", incarnation)
        };
        let control = |name: &str, argument| {
            let payload = craft::bytes_of(&doc! { "payload": [argument] });
            tap.send(&from(Message::with_payload(group, name, payload)).bytes());
        };
        let hello = |last: i64| {
            doc! { "inc": incarnation, "last": last, "first": 1_i64, "up": 0_i64, "ver": text, "can": [] }
        };
        control("__ec_hello", hello(0));
        eventually("the peer is there", || {
            bus.peers().iter().any(|status| status.peer.id == text)
        });
        for status in bus.peers() {
            shown.push(format!("{} {status:?}", status.peer));
        }
        let key = text.replace('\0', "");
        for argument in [bson!({ "left": text }), bson!({ key: text })] {
            tap.send(&from(Message::event(group, "LeftAndRight", vec![argument])).bytes());
        }
        let event = Message::event(group, text, vec![bson!("x".repeat(500))]);
        tap.send(&from(event).chunks(100)[0]);
        control("__ec_hello", hello(3));
        tap.send(&from(Message::event(group, "panics", vec![])).bytes());
        calls.wait_for(i + 1);
    }
    for kind in ["joined", "misfit", "expired", "lost"] {
        eventually(kind, || kinds.all().contains(&kind));
    }
    block_on(bus.stop()).expect("it stops");
    drop(bus);
    eventually("the panics are told of", || {
        kinds.all().contains(&"panicked")
    });
    for line in shown.all() {
        assert!(is_harmless(&line), "{line:?}");
    }
}

fn hostile_texts_stay_in_their_lines() {
    let output = run_alone(SHOWS_HOSTILE_TEXTS, &[("EVENTCAST_LOG", "trace")])
        .unwrap_or_else(|error| panic!("{error}"));
    let printed = String::from_utf8(output.stderr).expect("text");
    let mut warned = 0;
    for line in printed.lines() {
        assert!(is_harmless(line), "{line:?}");
        // Time, level, target: no line was begun by somebody else.
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        assert!(
            words.len() == 3 && words[0].ends_with('Z') && words[2].starts_with("eventcast"),
            "{line:?}"
        );
        warned += usize::from(line.contains("the disk is on fire"));
    }
    assert!(warned > 3, "the log tells of it: {printed}");
}
