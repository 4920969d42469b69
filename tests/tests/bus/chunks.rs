//! Messages of many datagrams.

use std::time::Duration;

use bson::Bson;
use eventcast::{Args, Bus, DropCause, Notice, Received};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    runner::Case,
    tap::Tap,
    wait::Seen,
};

use crate::common::{builder, bus, collect, emit_whole, fence, gives_up_soon, send_paced, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "chunks::io04_no_datagram_passes_1472_bytes",
            io04_datagram_sizes,
        ),
        Case::new("chunks::ch02_any_order", ch02_any_order),
        Case::new(
            "chunks::ch02_interleaved_and_repeated",
            ch02_interleaved_and_repeated,
        ),
        Case::new("chunks::ch02_two_senders_one_id", ch02_two_senders_one_id),
        Case::new(
            "chunks::ch02_of_a_bus_in_any_order",
            ch02_of_a_bus_in_any_order,
        ),
        Case::new(
            "chunks::a_message_without_an_end_is_reported",
            a_message_without_an_end_is_reported,
        ),
        Case::new("chunks::sizes_around_the_limit", sizes_around_the_limit),
        Case::new("chunks::large", large),
    ]
}

/// The event's only argument, wherever it came from.
fn text(args: &Args) -> String {
    args.decode().expect("one text")
}

/// A text in which every slice differs from every other.
fn long_text(length: usize, seed: usize) -> String {
    (0..)
        .map(|n| format!("{seed}-{n},"))
        .flat_map(|part| part.into_bytes())
        .take(length)
        .map(char::from)
        .collect()
}

fn io04_datagram_sizes() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let a = started(builder(group).max_payload_size(1_400));
    let b = started(gives_up_soon(group));
    let name = "n".repeat(200);
    let seen = collect(&b, &name);
    let (sizes, sent) = std::thread::scope(|scope| {
        // What the tap itself misses does not matter: each datagram is looked at alone.
        let tap = scope.spawn(|| {
            let heard = tap.record_until(|one| craft::name_of(&one.bytes) == "end");
            heard.iter().map(|one| one.bytes.len()).collect::<Vec<_>>()
        });
        let text = long_text(1_000_000, 1);
        emit_whole(
            || seen.len(),
            || {
                a.emit_named(&name, text.as_str()).expect("the bus runs");
            },
        );
        a.emit_named("end", ()).expect("the bus runs");
        (tap.join().expect("the end came"), text)
    });
    assert!(sizes.len() > 100, "{} datagrams", sizes.len());
    let largest = sizes.iter().max().expect("not empty");
    // With the headers of UDP and IPv4, an Ethernet frame's 1,500 bytes.
    assert!(*largest <= 1_472, "{largest} bytes");
    assert_eq!(text(&seen.all()[0]), sent);
    assert_eq!(seen.len(), 1);
}

/// Shuffled, the same in every run.
fn shuffled(mut chunks: Vec<Vec<u8>>, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for index in (1..chunks.len()).rev() {
        // Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunks.swap(index, (state % (index as u64 + 1)) as usize);
    }
    chunks
}

/// A message of 300 kB, as 294 chunks.
fn big(group: Group, seed: usize) -> (String, Vec<Vec<u8>>) {
    let text = long_text(300_000, seed);
    let arguments = vec![Bson::String(text.clone())];
    let chunks = Message::event(group, "big", arguments).chunks(1_024);
    (text, chunks)
}

/// A bus that knows a message again for three minutes, however long the test is put aside.
fn remembers(group: Group) -> Bus {
    started(builder(group).message_ttl(Duration::from_secs(60)))
}

fn ch02_any_order() {
    let group = Group::unused();
    let (b, tap) = (remembers(group), Tap::join(group));
    let seen = collect(&b, "big");
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for seed in 0..=20 {
        let (text, chunks) = big(group, seed);
        let chunks = match seed {
            0 => chunks.into_iter().rev().collect(),
            _ => shuffled(chunks, seed as u64),
        };
        send_paced(&tap, &b, &chunks);
        expected.push(text);
        seen.wait_for(expected.len());
        all.push(chunks);
    }
    // Late repeats open nothing again.
    for chunks in &all {
        send_paced(&tap, &b, chunks);
    }
    fence(&tap, &b, group);
    let texts: Vec<_> = seen.all().iter().map(text).collect();
    assert_eq!(texts.len(), expected.len());
    assert!(texts == expected, "some message was joined wrongly");
    assert_eq!(b.stats().messages_expired, 0);
    assert_eq!(b.stats().dropped_for(DropCause::Duplicate), 21 * 294);
}

fn ch02_interleaved_and_repeated() {
    let group = Group::unused();
    let (b, tap) = (remembers(group), Tap::join(group));
    let seen = collect(&b, "big");
    let (one, other) = (big(group, 1), big(group, 2));
    let interleaved = one
        .1
        .iter()
        .zip(&other.1)
        .flat_map(|(one, other)| [one, other]);
    send_paced(&tap, &b, interleaved);
    seen.wait_for(2);
    let fivefold = big(group, 3);
    send_paced(&tap, &b, fivefold.1.iter().flat_map(|chunk| [chunk; 5]));
    seen.wait_for(3);
    fence(&tap, &b, group);
    let texts: Vec<_> = seen.all().iter().map(text).collect();
    assert!(texts == [one.0, other.0, fivefold.0]);
}

fn ch02_two_senders_one_id() {
    let group = Group::unused();
    let b = bus(group);
    let seen = Seen::new();
    let list = seen.clone();
    b.on_named("big", move |e: &Received<Args>| {
        list.push((e.origin().address().port(), text(e)));
    });
    let taps = [Tap::join(group), Tap::join(group)];
    let (one, other) = (big(group, 1), big(group, 2));
    let id = craft::new_id();
    let same_id = |chunks: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let renamed = chunks.iter().map(|chunk| {
            let (mut meta, slice) = craft::part(chunk);
            meta.insert("seqId", id.as_str());
            craft::join(&craft::bytes_of(&meta), &slice)
        });
        renamed.collect()
    };
    for (one, other) in same_id(&one.1).chunks(8).zip(same_id(&other.1).chunks(8)) {
        send_paced(&taps[0], &b, one);
        send_paced(&taps[1], &b, other);
    }
    let mut heard = seen.wait_for(2);
    let mut expected = vec![(taps[0].port(), one.0), (taps[1].port(), other.0)];
    heard.sort();
    expected.sort();
    assert!(heard == expected, "mixed up");
}

/// What a bus sent, from a group that the receiver cannot hear.
fn ch02_of_a_bus_in_any_order() {
    let elsewhere = Group::unused();
    let group = elsewhere.sibling();
    let a = bus(elsewhere);
    let recorder = Tap::join(elsewhere);
    let (b, tap) = (remembers(group), Tap::join(group));
    let seen = collect(&b, "big");
    let mut all = Vec::new();
    for seed in 1..=5 {
        // Few enough to wait in the recorder's buffer all together.
        let text = long_text(80_000, seed);
        a.emit_named("big", text.as_str()).expect("the bus runs");
        let mut chunks = recorder.record_until(|one| {
            let (meta, _) = craft::part(&one.bytes);
            meta.get_bool("seqEnd").unwrap_or(false) && craft::name_of(&one.bytes) == "big"
        });
        chunks.retain(|one| craft::name_of(&one.bytes) == "big");
        let chunks: Vec<_> = chunks.into_iter().map(|one| one.bytes).collect();
        let chunks = shuffled(chunks, seed as u64);
        send_paced(&tap, &b, &chunks);
        assert_eq!(self::text(&seen.wait_for(seed)[seed - 1]), text);
        all.extend(chunks);
    }
    send_paced(&tap, &b, &all);
    fence(&tap, &b, group);
    assert_eq!(seen.len(), 5);
}

fn a_message_without_an_end_is_reported() {
    let group = Group::unused();
    let (b, tap) = (started(gives_up_soon(group)), Tap::join(group));
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice: &Notice| {
        if let Notice::Expired {
            key,
            message_id,
            from,
            received,
            chunks,
            ..
        } = notice
        {
            list.push((
                key.clone(),
                message_id.to_string(),
                from.port(),
                *received,
                *chunks,
            ));
        }
    });
    let seen = collect(&b, "big");
    let (_, chunks) = big(group, 1);
    let (meta, _) = craft::part(&chunks[0]);
    let id = meta.get_str("seqId").expect("every chunk has one");
    send_paced(&tap, &b, &chunks[1..]);
    let count = chunks.len() as u32;
    let expected = (
        "big".to_owned(),
        id.to_owned(),
        tap.port(),
        count - 1,
        count,
    );
    assert_eq!(told.wait_for(1), [expected]);
    assert_eq!(b.stats().messages_expired, 1);
    // Too late.
    send_paced(&tap, &b, &chunks[..1]);
    fence(&tap, &b, group);
    assert!(seen.is_empty());
}

/// Sends texts of these lengths one after the other: each must arrive, once and equal.
fn arrive(a: &Bus, b: &Bus, lengths: impl IntoIterator<Item = usize>) {
    let seen = collect(b, "t");
    for (index, length) in lengths.into_iter().enumerate() {
        let sent = long_text(length, index);
        emit_whole(
            || seen.len(),
            || {
                a.emit_named("t", sent.as_str()).expect("the bus runs");
            },
        );
        let heard = seen.all();
        assert!(text(&heard[index]) == sent, "{length} bytes");
    }
}

fn sizes_around_the_limit() {
    let group = Group::unused();
    for size in [64, 1_024, 1_472, 1_473, 8_000, 60_000] {
        let a = started(builder(group).max_payload_size(size));
        let b = bus(group);
        let lengths = [0, 1, size / 2, size - 1, size, size + 1, 3 * size];
        arrive(
            &a,
            &b,
            lengths.into_iter().filter(|length| *length < 65_000),
        );
        // One byte after the other over the edge where it is cut.
        if size == 1_024 {
            arrive(&a, &b, 600..=1_024);
        }
    }
}

fn large() {
    let group = Group::unused();
    let a = started(builder(group).max_payload_size(16_000));
    let b = started(gives_up_soon(group));
    arrive(&a, &b, [100_000, 1_000_000]);
}
