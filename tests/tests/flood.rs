//! A flood of hostile datagrams, one kind after the other: what is held stays under its bound,
//! memory is flat once it has filled up, little is told, and good events go on arriving.
//!
//! Alone in its binary, because it measures the process. By default each kind comes a few thousand
//! times; with `EVENTCAST_FLOOD=1000000`, in a release build, a million times.

use std::{
    collections::HashMap,
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc};
use eventcast::proto::{Config, Destination, DropCause, Engine, Event, Events, Now, Outgoing};
use eventcast_tests::{
    craft::{self, Message},
    fuzz::Numbers,
    group::Group,
    process::memory_in_use,
};

/// How often each kind comes unless the environment says otherwise.
const FEW: usize = 20_000;

/// A good event comes after so many hostile datagrams.
const GOOD_EVERY: usize = 1_000;

/// Datagrams for each millisecond of the engine's time.
const PER_MS: usize = 100;

/// What the engine has beside the messages that it holds: its tables, and what the allocator does
/// not give back.
const TABLES: u64 = 48 << 20;

/// By how much memory may differ between the middle and the end of a flood: far less than what came
/// between.
const FLAT: u64 = 12 << 20;

/// Reports of one flood in ten seconds of the engine's time: one for each of 1,024 addresses, and a
/// few beside.
const REPORTS: usize = 1_100;

/// Reports of a flood from one address.
const FEW_REPORTS: usize = 16;

/// Reports of peers that come, at one address: as many at once as are told of it.
const ARRIVALS: usize = 280;

/// Reports of as many peers as are followed, half of them in each of the two spans of a short
/// flood: each is told in the end, since it is there.
const TABLE: usize = 4_096 / 2 + REPORTS;

/// A kind of hostile datagrams: its name, what most of it gets, how many reports there are of it in
/// ten seconds, and its `i`-th with its address.
struct Kind {
    name: &'static str,
    cause: Option<DropCause>,
    reports: usize,
    make: Box<dyn Fn(usize) -> (SocketAddr, Vec<u8>)>,
}

fn one_address() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 9000)
}

fn many_addresses(i: usize) -> SocketAddr {
    let i = (i % 60_000) as u32;
    SocketAddr::new(Ipv4Addr::from(0x0a01_0000 + i).into(), 9000)
}

/// The bus that is flooded, and how many events it has sent before.
const BUS: &str = "feedfacefeedface";
const INCARNATION: u64 = 1_795_585_400_000;
const EMITTED: usize = 5_000;

/// Who sends the good events.
const GOOD: &str = "600d600d600d600d";
const GOOD_INCARNATION: i64 = 1_795_585_410_000;

/// What may be sent to an IP address beside three times what came from it. No flood takes a minute
/// of the engine's time.
const A_MINUTE: u64 = 256 << 10;

/// A request for numbers of the bus.
fn nack(group: Group, first: i64, last: i64) -> Message {
    let argument =
        doc! { "id": BUS, "inc": INCARNATION as i64, "token": first, "missing": [[first, last]] };
    let payload = craft::bytes_of(&doc! { "payload": [argument] });
    Message::with_payload(group, "__ec_nack", payload).set("inc", 1_i64)
}

fn kinds(group: Group) -> Vec<Kind> {
    let kind = |name, cause, make: Box<dyn Fn(usize) -> (SocketAddr, Vec<u8>)>| Kind {
        name,
        cause,
        reports: REPORTS,
        make,
    };
    let few = |kind: Kind, reports| Kind { reports, ..kind };
    let control = move |name: &str, inc: i64, argument: Document| {
        let payload = craft::bytes_of(&doc! { "payload": [argument] });
        Message::with_payload(group, name, payload).set("inc", inc)
    };
    let hello = move |inc: i64, last: i64| {
        let hello = doc! {
            "inc": inc, "last": last, "first": 1_i64, "up": 1_000_i64, "ver": "flood", "can": [],
        };
        control("__ec_hello", inc, hello)
    };
    let bye =
        move |inc: i64, last: i64| control("__ec_bye", inc, doc! { "inc": inc, "last": last });
    let event = move |i: usize| {
        Message::event(group, "x", vec![Bson::Int32(1)]).set("seqId", format!("{i:040x}"))
    };
    let chunk = move |i: usize| {
        Message::with_payload(group, "x", vec![i as u8; 1_000])
            .set("seqId", format!("{i:040x}"))
            .set("seqLen", 50)
            .set("seqEnd", false)
    };
    use DropCause::{
        Classic, Crowded, Duplicate, Inconsistent, Malformed, OverLimit, Reserved, Sealed, Version,
    };
    vec![
        kind(
            "random bytes",
            Some(Malformed),
            Box::new(|i| {
                let mut numbers = Numbers::new(i as u64);
                let length = numbers.below(600);
                let bytes = (0..length).map(|_| numbers.any() as u8).collect();
                (many_addresses(i), bytes)
            }),
        ),
        kind(
            "nested too deep",
            Some(Malformed),
            Box::new(move |i| {
                let payload = craft::as_payload(craft::nested(100, true), 4);
                let message = Message::with_payload(group, "x", payload);
                (
                    one_address(),
                    message.set("port", i as i32 % 65_536).bytes(),
                )
            }),
        ),
        kind(
            "a key that is missing",
            Some(Malformed),
            Box::new(move |i| (many_addresses(i), event(i).without("host").bytes())),
        ),
        kind(
            "another version",
            Some(Version),
            Box::new(move |i| (many_addresses(i), event(i).set("v", 4 + i as i64).bytes())),
        ),
        kind(
            "too many chunks",
            Some(OverLimit),
            Box::new(move |i| (one_address(), chunk(i).set("seqLen", i32::MAX).bytes())),
        ),
        kind(
            "chunks that contradict each other",
            Some(Inconsistent),
            Box::new(move |i| {
                let chunk = chunk(i / 1_000).set("seqLen", 50 + i as i32 % 2);
                (one_address(), chunk.set("seq", i as i32 % 7).bytes())
            }),
        ),
        kind(
            "one event again and again",
            Some(Duplicate),
            Box::new(move |_| (one_address(), event(0).bytes())),
        ),
        kind(
            "events of ever new senders",
            None,
            Box::new(move |i| {
                let id = format!("{i:016x}");
                let event = event(i).set("id", id).set("inc", 1_i64).set("n", 5_i64);
                (many_addresses(i), event.bytes())
            }),
        ),
        kind(
            "events of ever new incarnations of one address",
            None,
            Box::new(move |i| {
                let event = event(i).set("inc", 1_i64 + i as i64).set("n", 5_i64);
                (one_address(), event.bytes())
            }),
        ),
        few(
            kind(
                "numbers with gaps",
                None,
                Box::new(move |i| {
                    let event = event(i).set("inc", 5_i64).set("n", 2 * i as i64 + 1);
                    (one_address(), event.bytes())
                }),
            ),
            FEW_REPORTS,
        ),
        few(
            kind(
                "hellos that claim one number more each time",
                None,
                Box::new(move |i| (one_address(), hello(5, i as i64).bytes())),
            ),
            FEW_REPORTS,
        ),
        few(
            kind(
                "goodbyes that claim one number more each time",
                None,
                Box::new(move |i| {
                    let said = if i == 0 {
                        hello(5, 0)
                    } else {
                        bye(5, i as i64)
                    };
                    (one_address(), said.bytes())
                }),
            ),
            FEW_REPORTS,
        ),
        few(
            kind(
                "the highest numbers, in three incarnations",
                None,
                Box::new(move |i| {
                    let (inc, last) = (5 + (i / 4) as i64 % 3, i64::MAX - 1 - (i / 12) as i64 % 2);
                    let said = match i % 4 {
                        0 => event(i).set("inc", inc).set("n", 1_i64),
                        1 | 3 => event(i).set("inc", inc).set("n", last),
                        _ => hello(inc, last),
                    };
                    (one_address(), said.bytes())
                }),
            ),
            2 * FEW_REPORTS,
        ),
        few(
            kind(
                "4,090 incarnations of one id in turn",
                None,
                Box::new(move |i| {
                    // They begin at as many addresses, since one has no more than a hundred in a
                    // second, and then speak from one in turn, so that each has to be found.
                    let from = if i < 4_090 {
                        many_addresses(i)
                    } else {
                        one_address()
                    };
                    let event = event(i).set("inc", 1_i64 + (i % 4_090) as i64);
                    (from, event.set("n", 1_i64 + (i / 4_090) as i64).bytes())
                }),
            ),
            FEW_REPORTS,
        ),
        few(
            kind(
                "a peer that comes and goes all the time",
                None,
                Box::new(move |i| {
                    let inc = 5 + (i / 2) as i64 % 2;
                    let said = if i.is_multiple_of(2) {
                        hello(inc, 0)
                    } else {
                        bye(inc, 0)
                    };
                    (one_address(), said.bytes())
                }),
            ),
            2 * FEW_REPORTS,
        ),
        few(
            kind(
                "hellos of ever new peers at one address",
                None,
                Box::new(move |i| {
                    let id = format!("{i:016x}");
                    (one_address(), hello(5, 0).set("id", id).bytes())
                }),
            ),
            2 * ARRIVALS,
        ),
        few(
            kind(
                "unfinished messages with numbers",
                None,
                Box::new(move |i| {
                    let chunk = chunk(i).set("inc", 5_i64).set("n", 1 + i as i64);
                    (one_address(), chunk.bytes())
                }),
            ),
            2 * FEW_REPORTS,
        ),
        kind(
            "messages of one address that never end",
            Some(Crowded),
            Box::new(move |i| (one_address(), chunk(i).bytes())),
        ),
        kind(
            "messages of many addresses that never end",
            Some(Crowded),
            Box::new(move |i| (many_addresses(i), chunk(i).bytes())),
        ),
        kind(
            "requests for all there is, from one address",
            None,
            Box::new(move |i| {
                let from = SocketAddr::new(one_address().ip(), 9_000 + i as u16 % 16);
                (from, nack(group, 1, i64::MAX).bytes())
            }),
        ),
        kind(
            "requests of ever new addresses, with tokens that they made up",
            None,
            Box::new(move |i| {
                let first = 1 + i as i64 % EMITTED as i64;
                (many_addresses(i), nack(group, first, first + 99).bytes())
            }),
        ),
        kind(
            "requests for what was never sent",
            None,
            Box::new(move |i| {
                (
                    one_address(),
                    nack(group, 1 << 40, 1 << 50)
                        .set("port", i as i32 % 65_536)
                        .bytes(),
                )
            }),
        ),
        kind(
            "numbers far ahead in the name of the good sender",
            None,
            Box::new(move |i| {
                let event = event(i).set("id", GOOD).set("inc", GOOD_INCARNATION);
                (
                    one_address(),
                    event.set("n", 60_000 + i as i64 % 5_000).bytes(),
                )
            }),
        ),
        kind(
            "hellos in the name of the good sender",
            None,
            Box::new(move |i| {
                let hello = hello(GOOD_INCARNATION, i as i64).set("id", GOOD);
                (one_address(), hello.bytes())
            }),
        ),
        few(
            kind(
                "hellos of ever new senders from 64 ports",
                None,
                Box::new(move |i| {
                    let from = SocketAddr::new(one_address().ip(), 9_000 + i as u16 % 64);
                    let hello = hello(1, 60_000).set("id", format!("{i:016x}"));
                    (from, hello.bytes())
                }),
            ),
            TABLE,
        ),
        kind(
            "requests from port 0",
            Some(Malformed),
            Box::new(move |_| {
                let from = SocketAddr::new(one_address().ip(), 0);
                (from, nack(group, 1, 100).bytes())
            }),
        ),
        kind(
            "names that nobody knows",
            Some(Reserved),
            Box::new(move |i| (one_address(), event(i).set("name", "__ec_x").bytes())),
        ),
        kind(
            "sealed, on a clear bus",
            Some(Sealed),
            Box::new(move |i| {
                (
                    many_addresses(i),
                    event(i).set("name", "__ec_sealed").bytes(),
                )
            }),
        ),
        kind(
            "classic, on a clear bus",
            Some(Classic),
            Box::new(move |i| (many_addresses(i), event(i).set("enc", true).bytes())),
        ),
    ]
}

fn now(i: usize) -> Now {
    let elapsed = Duration::from_secs(60) + Duration::from_millis((i / PER_MS) as u64);
    Now {
        elapsed,
        unix_ms: 1_795_585_423_172 + elapsed.as_millis() as u64,
    }
}

/// What came out of an engine.
#[derive(Default)]
struct Told {
    good: usize,
    others: usize,
    /// Numbers that are lost.
    lost: u128,
    /// Bytes to single IP addresses.
    sent: HashMap<IpAddr, u64>,
}

fn drain(engine: &mut Engine, now: Now, events: &mut Events, told: &mut Told) {
    let mut buf = Vec::new();
    while let Some(transmit) = engine.poll_transmit(now, &mut buf) {
        if let Destination::Peer(to) = transmit.to {
            *told.sent.entry(to.ip()).or_default() += buf.len() as u64;
        }
    }
    engine.take_events(events);
    for event in events.iter() {
        match event {
            Event::Message(message) if message.key == "good" => told.good += 1,
            Event::Message(_) => {}
            Event::Lost(lost) => {
                told.others += 1;
                told.lost += u128::from(lost.count);
            }
            Event::Expired(expired) => {
                told.others += 1;
                told.lost += u128::from(expired.number.is_some());
            }
            _ => told.others += 1,
        }
    }
}

fn flood(kind: &Kind, group: Group, count: usize, max_held: usize) {
    let before = memory_in_use();
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut config = Config::new(BUS, INCARNATION, host, 9001);
    config.max_held_bytes = max_held;
    let mut engine = Engine::new(config, [1; 32], now(0));
    let mut events = Events::new();
    let mut told = Told::default();
    let mut came: HashMap<IpAddr, u64> = HashMap::new();
    let payload = craft::bytes_of(&doc! { "payload": ["x".repeat(500)] });
    for _ in 0..EMITTED {
        let event = Outgoing {
            key: "old",
            payload: &payload,
            schema: None,
            best_effort: false,
        };
        engine.emit(now(0), event).expect("it fits");
        drain(&mut engine, now(0), &mut events, &mut told);
    }
    let mut sent = 0;
    let mut middle = 0;
    let began = Instant::now();
    for i in 0..count {
        if i % GOOD_EVERY == 0 {
            sent += 1;
            let good = Message::event(group, "good", vec![Bson::Document(doc! { "i": i as i64 })])
                .set("id", GOOD)
                .set("inc", GOOD_INCARNATION)
                .set("n", sent as i64)
                .bytes();
            engine.handle_datagram(now(i), (host, 9002).into(), &good);
            *came.entry(host).or_default() += good.len() as u64;
        }
        // Who sends the good events has been heard first.
        let (from, bytes) = (kind.make)(i);
        engine.handle_datagram(now(i), from, &bytes);
        *came.entry(from.ip()).or_default() += bytes.len() as u64;
        while engine
            .poll_timeout()
            .is_some_and(|timeout| timeout <= now(i).elapsed)
        {
            engine.handle_timeout(now(i));
        }
        if i % 64 == 0 {
            drain(&mut engine, now(i), &mut events, &mut told);
            assert!(engine.stats().held_bytes <= max_held, "{}", kind.name);
        }
        if i == count / 2 {
            middle = memory_in_use();
        }
    }
    drain(&mut engine, now(count), &mut events, &mut told);
    let each = began.elapsed() / count as u32;
    let end = memory_in_use();
    let stats = engine.stats();
    // What was held back until now.
    engine.leave(now(count));
    drain(&mut engine, now(count), &mut events, &mut told);
    let spans = now(count).elapsed.saturating_sub(now(0).elapsed).as_secs() as usize / 10 + 2;
    assert!(
        told.others <= kind.reports * spans,
        "{}: {} reports",
        kind.name,
        told.others
    );
    assert_eq!(
        told.lost.min(u64::MAX.into()),
        u128::from(engine.stats().lost_messages),
        "{}: each number is told once",
        kind.name
    );
    println!(
        "{}: {count} datagrams, {each:?} each; held {} KiB; memory {} KiB before, {} in the middle, {} at the end; told {}",
        kind.name,
        stats.held_bytes >> 10,
        before >> 10,
        middle >> 10,
        end >> 10,
        told.others,
    );
    assert_eq!(told.good, sent, "{}: good events arrive", kind.name);
    for (ip, bytes) in &told.sent {
        let most = 3 * came.get(ip).copied().unwrap_or_default() + A_MINUTE;
        assert!(
            *bytes <= most,
            "{}: {bytes} to {ip}, {most} at most",
            kind.name
        );
    }
    if let Some(cause) = kind.cause {
        let counted = stats.drops.get(cause);
        assert!(
            counted > count as u64 / 4,
            "{}: {counted} {cause}",
            kind.name
        );
    }
    let bound = max_held as u64 + TABLES;
    assert!(end.saturating_sub(before) < bound, "{}: {end}", kind.name);
    assert!(end.saturating_sub(middle) < FLAT, "{}: not flat", kind.name);
}

#[test]
fn of_each_kind() {
    let count = env::var("EVENTCAST_FLOOD").map_or(FEW, |text| {
        text.parse().expect("EVENTCAST_FLOOD is a number")
    });
    // A small flood has to fill it as well.
    let max_held = if count > 200_000 { 96 << 20 } else { 8 << 20 };
    let group = Group::unused();
    for kind in kinds(group) {
        flood(&kind, group, count, max_held);
    }
}

/// A bus that this one has heard of goes on being named in its hellos with what it is owed, whoever
/// says hello from another IP address meanwhile, and however often.
#[test]
fn a_throng_takes_no_newcomers_place() {
    let group = Group::unused();
    let hello = |id: &str| {
        let argument = doc! {
            "inc": GOOD_INCARNATION, "last": 0_i64, "first": 1_i64, "up": 0_i64, "ver": "good", "can": [],
        };
        Message::event(group, "__ec_hello", vec![Bson::Document(argument)])
            .set("id", id)
            .set("inc", GOOD_INCARNATION)
            .bytes()
    };
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut engine = Engine::new(Config::new(BUS, INCARNATION, host, 9001), [1; 32], now(0));
    engine.handle_datagram(now(0), (host, 9002).into(), &hello(GOOD));
    let payload = craft::bytes_of(&doc! { "payload": ["welcome"] });
    let event = Outgoing {
        key: "welcome",
        payload: &payload,
        schema: None,
        best_effort: false,
    };
    engine.emit(now(0), event).expect("it fits");
    let (mut hellos, mut naming) = (0, 0);
    let mut buf = Vec::new();
    // Twenty seconds.
    for i in 0..20_000 {
        let now = now(i * PER_MS);
        if i % 1_000 == 0 {
            engine.handle_datagram(now, (host, 9002).into(), &hello(GOOD));
        }
        // More than are kept of one address.
        let throng = hello(&format!("{i:016x}"));
        engine.handle_datagram(now, one_address(), &throng);
        while engine.poll_timeout().is_some_and(|due| due <= now.elapsed) {
            engine.handle_timeout(now);
        }
        while let Some(transmit) = engine.poll_transmit(now, &mut buf) {
            let text = |text: &str| buf.windows(text.len()).any(|part| part == text.as_bytes());
            if transmit.to == Destination::Group && text("__ec_hello") {
                hellos += 1;
                naming += usize::from(text(GOOD));
            }
        }
    }
    assert!(hellos >= 20, "{hellos}");
    // The first ones come before there is anything to name.
    assert!(naming * 10 >= hellos * 8, "{naming} of {hellos}");
}
