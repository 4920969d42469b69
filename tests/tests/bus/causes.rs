//! WIRE.md, section 9, row by row on real sockets: each kind is counted under its cause, told once,
//! and harms nobody.

use bson::{Bson, doc};
use eventcast::{Bus, DropCause, NetEvent, Notice};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    process::memory_in_use,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{builder, collect, count, dropped, fence, send_paced};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "causes::every_drop_cause_is_counted",
            every_drop_cause_is_counted,
        ),
        Case::new(
            "causes::each_cause_is_reported_once",
            each_cause_is_reported_once,
        ),
        Case::new("causes::too_many_incomplete", too_many_incomplete),
        Case::new(
            "causes::a_message_that_is_too_large_as_values",
            a_message_that_is_too_large_as_values,
        )
        .in_own_process(),
    ]
}

/// What is sent, under which cause it is counted, and how often.
struct Row {
    what: &'static str,
    datagrams: Vec<Vec<u8>>,
    cause: &'static str,
    count: u64,
}

fn started(group: Group) -> (Bus, Seen<(&'static str, u64)>) {
    let bus = builder(group).build().expect("good options");
    let told = Seen::new();
    let list = told.clone();
    bus.on_notice(move |notice: &Notice| match notice {
        Notice::Refused { cause, count, .. } => list.push((cause.name(), *count)),
        Notice::VersionMismatch { count, .. } => list.push(("version", *count)),
        _ => {}
    });
    block_on(bus.start()).expect("it starts");
    (bus, told)
}

fn rows(group: Group) -> Vec<Row> {
    let row = |what, datagrams, cause, count| Row {
        what,
        datagrams,
        cause,
        count,
    };
    let event = || Message::event(group, "x", vec![]);
    // A message of five chunks with 100 bytes each but the last.
    let chunks = || {
        let payload = craft::bytes_of(&doc! { "payload": ["y".repeat(120)] });
        let chunks = Message::with_payload(group, "x", payload).chunks(100);
        assert!(chunks.len() >= 4);
        chunks
    };
    let changed = |chunk: &[u8], key: &str, value: Bson| {
        let (mut meta, slice) = craft::part(chunk);
        meta.insert(key, value);
        craft::join(&craft::bytes_of(&meta), &slice)
    };
    let with_slice = |chunk: &[u8], slice: &[u8]| {
        let (meta, _) = craft::part(chunk);
        craft::join(&craft::bytes_of(&meta), slice)
    };
    let first_then = |second: &dyn Fn(&[Vec<u8>]) -> Vec<u8>| {
        let chunks = chunks();
        vec![chunks[0].clone(), second(&chunks)]
    };

    let mut rows = vec![
        row("a short one", vec![vec![0]], "malformed", 1),
        row(
            "another version",
            vec![event().set("v", 4).bytes(), event().set("v", 2).bytes()],
            "version",
            2,
        ),
        row(
            "too many chunks",
            vec![event().set("seqLen", 262_145).set("seqEnd", false).bytes()],
            "over_limit",
            1,
        ),
        row(
            "an empty slice",
            vec![with_slice(&chunks()[0], b"")],
            "over_limit",
            1,
        ),
        row(
            "too many bytes",
            vec![
                Message::with_payload(group, "x", vec![7; 1_000])
                    .set("seqLen", 40_000)
                    .set("seqEnd", false)
                    .bytes(),
            ],
            "over_limit",
            1,
        ),
        row(
            "other bytes under a seq",
            first_then(&|all| with_slice(&all[0], &[7; 100])),
            "inconsistent",
            1,
        ),
        row(
            "another length in the middle",
            first_then(&|all| with_slice(&all[1], &[7; 99])),
            "inconsistent",
            1,
        ),
        row(
            "a last slice that is too long",
            first_then(&|all| with_slice(&all[all.len() - 1], &[7; 101])),
            "inconsistent",
            1,
        ),
        row(
            "a chunk twice",
            first_then(&|all| all[0].clone()),
            "duplicate",
            1,
        ),
        row(
            "an event three times",
            vec![event().bytes(); 3],
            "duplicate",
            2,
        ),
        row(
            "encrypted",
            vec![event().set("enc", true).bytes()],
            "classic",
            1,
        ),
        row(
            "sealed",
            vec![event().set("name", "__ec_sealed").bytes()],
            "sealed",
            1,
        ),
        row(
            "a name that nobody knows",
            vec![event().set("name", "__ec_nobody").bytes()],
            "reserved",
            1,
        ),
    ];
    for (key, value) in [
        ("name", Bson::String("z".to_owned())),
        ("id", Bson::String("z".to_owned())),
        ("inc", Bson::Int64(7)),
        ("seqLen", Bson::Int32(40)),
    ] {
        let datagrams = first_then(&|all| changed(&all[1], key, value.clone()));
        rows.push(row(
            "a chunk that contradicts the first",
            datagrams,
            "inconsistent",
            1,
        ));
    }
    let finished = chunks();
    let late = finished[1].clone();
    rows.push(row(
        "a chunk of a finished message",
        finished.into_iter().chain([late]).collect(),
        "duplicate",
        1,
    ));
    let inner = Message::event(group, "another", vec![Bson::String("y".repeat(200))]).bytes();
    let liar = {
        let outside = chunks();
        let slices: Vec<&[u8]> = inner.chunks(100).collect();
        let chunk = |(seq, slice): (usize, &&[u8])| {
            let (mut meta, _) = craft::part(&outside[0]);
            meta.insert("seq", seq as i32);
            meta.insert("seqLen", slices.len() as i32);
            meta.insert("seqEnd", seq + 1 == slices.len());
            craft::join(&craft::bytes_of(&meta), slice)
        };
        slices.iter().enumerate().map(chunk).collect()
    };
    rows.push(row(
        "an inner message of another name",
        liar,
        "inconsistent",
        1,
    ));
    rows
}

fn every_drop_cause_is_counted() {
    let group = Group::unused();
    let (bus, _) = started(group);
    let tap = Tap::join(group);
    let another = collect(&bus, "another");
    for row in rows(group) {
        let what = row.what;
        let before = bus.stats();
        let dropped_before = dropped(&bus, row.cause);
        send_paced(&tap, &bus, row.datagrams);
        fence(&tap, &bus, group);
        let after = bus.stats();
        assert_eq!(
            dropped(&bus, row.cause) - dropped_before,
            row.count,
            "{what}: {:?}",
            after.dropped
        );
        let all = |stats: &eventcast::Stats| -> u64 {
            stats
                .dropped
                .iter()
                .filter(|(cause, _)| **cause != DropCause::Echo)
                .map(|(_, count)| count)
                .sum()
        };
        assert_eq!(
            all(&after) - all(&before),
            row.count,
            "{what}: {:?}",
            after.dropped
        );
        assert!(another.is_empty(), "{what}");
    }
}

fn each_cause_is_reported_once() {
    let group = Group::unused();
    let (bus, told) = started(group);
    let tap = Tap::join(group);
    let kinds: [(&str, Vec<u8>); 3] = [
        ("malformed", vec![0xff, 0xff]),
        (
            "version",
            Message::event(group, "x", vec![]).set("v", 9).bytes(),
        ),
        (
            "reserved",
            Message::event(group, "__ec_nobody", vec![]).bytes(),
        ),
    ];
    for _ in 0..3 {
        for (_, datagram) in &kinds {
            send_paced(&tap, &bus, vec![datagram; 40]);
        }
    }
    fence(&tap, &bus, group);
    // A second report would take ten seconds; what came meanwhile is counted all the same.
    let mut told = told.wait_for(kinds.len());
    told.sort_unstable();
    assert_eq!(told, [("malformed", 1), ("reserved", 1), ("version", 1)]);
    for (cause, _) in kinds {
        assert_eq!(dropped(&bus, cause), 120, "{cause}");
    }
}

/// More than 1,024 messages of one address that never end; good ones go on arriving.
fn too_many_incomplete() {
    let group = Group::unused();
    let (bus, _) = started(group);
    let tap = Tap::join(group);
    let good = count(&bus, "good");
    let beginning = |_| {
        Message::with_payload(group, "x", vec![7; 200])
            .set("seqLen", 9)
            .set("seqEnd", false)
            .bytes()
    };
    for round in 1..=15 {
        send_paced(&tap, &bus, (0..100).map(beginning));
        tap.send(&Message::event(group, "good", vec![]).bytes());
        good.wait_for(round);
    }
    fence(&tap, &bus, group);
    // Those that were silent for too long are given up beside; nearly all the others had to make
    // room.
    let stats = bus.stats();
    let gone = stats.dropped_for(DropCause::Crowded) + stats.messages_expired;
    assert!(gone >= 1_500 - 1_024, "{stats:?}");
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "crumbs")]
struct Crumbs(Vec<()>);

/// A message of 2 MiB that takes 100 MiB as values is a decode failure for a listener without a
/// type, and reaches a typed listener.
fn a_message_that_is_too_large_as_values() {
    const COUNT: usize = 1_000_000;
    let group = Group::unused();
    let bus = builder(group)
        .max_message_size(4 << 20)
        .build()
        .expect("good options");
    let untyped = collect(&bus, "crumbs");
    let typed = Seen::new();
    let list = typed.clone();
    bus.on::<Crumbs>(move |e| list.push(e.0.len()));
    let last = count(&bus, "last");
    let failures = Seen::new();
    let list = failures.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::DecodeFailure { error, .. } = notice {
            list.push(error.to_string());
        }
    });
    block_on(bus.start()).expect("it starts");
    let tap = Tap::join(group);
    let mut array = (4 + 2 * COUNT as i32 + 1).to_le_bytes().to_vec();
    for _ in 0..COUNT {
        array.extend_from_slice(b"\x0a\0");
    }
    array.push(0);
    // As the only argument.
    let mut list = (4 + 3 + array.len() as i32 + 1).to_le_bytes().to_vec();
    list.extend_from_slice(b"\x040\0");
    list.extend_from_slice(&array);
    list.push(0);
    let payload = craft::as_payload(list, 4);
    let before = memory_in_use();
    let message = Message::with_payload(group, "crumbs", payload);
    send_paced(&tap, &bus, message.chunks(1_400));
    tap.send(&Message::event(group, "last", vec![]).bytes());
    last.wait_for(1);
    assert_eq!(typed.wait_for(1), [COUNT]);
    eventually("the failure is told", || !failures.is_empty());
    assert!(failures.all()[0].contains("max_message_size"));
    assert!(untyped.is_empty());
    assert_eq!(bus.stats().events_received, 2);
    let grown = memory_in_use().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more");
}
