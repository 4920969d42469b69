//! Buses with a passphrase: what they exchange, what they refuse, and what nobody else learns.

mod restarts;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    sync::{Arc, Mutex},
    time::Duration,
};

use bson::{Bson, doc};
use eventcast::{Args, Builder, Bus, Error, Keys, NetEvent, Notice, Received, Secret};
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{
    Count, builder, collect, count, emit_whole, fence, fence_between, paced, send_paced, started,
};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body);
    let mut cases = vec![
        case("sealed::one_passphrase", one_passphrase),
        case("sealed::another_passphrase", another_passphrase),
        case(
            "sealed::clear_and_sealed_do_not_mix",
            clear_and_sealed_do_not_mix,
        ),
        case(
            "sealed::clear_requests_are_not_obeyed",
            clear_requests_are_not_obeyed,
        ),
        case(
            "sealed::nothing_shows_on_the_wire",
            nothing_shows_on_the_wire,
        ),
        case(
            "sealed::nothing_repeats_on_the_wire",
            nothing_repeats_on_the_wire,
        ),
        case(
            "sealed::what_is_changed_is_refused_in_silence",
            what_is_changed_is_refused_in_silence,
        ),
        case("sealed::keys_change_without_a_lost_event", keys_change),
        case(
            "sealed::set_keys_says_what_is_wrong",
            set_keys_says_what_is_wrong,
        ),
        case("sealed::a_start_holds_up_nobody", a_start_holds_up_nobody),
        case("sealed::stopped_while_it_starts", stopped_while_it_starts),
        case("sealed::keys_set_while_it_starts", keys_set_while_it_starts),
        case(
            "sealed::short_passphrases_are_warned_about",
            short_passphrases,
        ),
        case("sealed::classic_buses", classic_buses),
    ];
    cases.extend(restarts::cases());
    cases
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "sealed/note")]
struct Note {
    number: u64,
    text: String,
}

/// A key that takes no time to derive.
fn key(byte: u8) -> Secret {
    Secret::ready_key([byte; 32])
}

fn sealed(group: Group, byte: u8) -> Builder {
    builder(group).passphrase(key(byte))
}

/// What a bus says that it refuses: cause, and all of the text.
fn refusals(bus: &Bus) -> Seen<(&'static str, String)> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::Refused { cause, .. } = notice {
            list.push((*cause, notice.to_string()));
        }
    });
    seen
}

fn dropped(bus: &Bus, cause: &str) -> u64 {
    bus.stats().dropped[cause]
}

/// Everything that a tap has had by now.
fn all_of(tap: &Tap) -> Vec<Vec<u8>> {
    let next = || tap.next_within(Duration::from_millis(50));
    std::iter::from_fn(next)
        .map(|datagram| datagram.bytes)
        .collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn one_passphrase() {
    let group = Group::unused();
    let bus = || started(builder(group).passphrase("correct horse battery staple"));
    let (a, b) = (bus(), bus());
    let notes = Seen::new();
    let list = notes.clone();
    b.on::<Note>(move |e: &Received<Note>| {
        list.push((
            e.number,
            e.text.len(),
            e.origin().is_sealed(),
            e.origin().is_local(),
        ));
    });
    let answers = collect(&a, "sealed/answer");
    a.emit(Note {
        number: 1,
        text: "short".to_owned(),
    })
    .expect("it runs");
    eventually("it came", || notes.len() == 1);
    emit_whole(
        || notes.len(),
        || {
            let text = "long ".repeat(60_000);
            a.emit(Note { number: 2, text }).expect("there is room");
        },
    );
    b.emit_named("sealed/answer", 7).expect("it runs");
    eventually("the answer came", || answers.len() == 1);
    assert_eq!(
        notes.all(),
        [(1, 5, true, false), (2, 300_000, true, false)]
    );
    for bus in [&a, &b] {
        eventually("they know each other", || bus.peers().len() == 1);
        let ours = ["echo", "double"];
        for (cause, count) in bus.stats().dropped {
            assert!(count == 0 || ours.contains(&cause), "{count} {cause}");
        }
    }
}

/// CR-01.
fn another_passphrase() {
    let group = Group::unused();
    let (a, c) = (started(sealed(group, 1)), started(sealed(group, 2)));
    let b = sealed(group, 2).build().expect("good options");
    let told = refusals(&b);
    block_on(b.start()).expect("it starts");
    let heard = collect(&b, "sealed/other");
    let before = || dropped(&b, "key");
    paced(
        1_000,
        || before() as usize,
        |index| {
            a.emit_named("sealed/other", index as i32)
                .expect("there is room");
        },
    );
    c.emit_named("sealed/other", "from c").expect("it runs");
    eventually("that of the same passphrase came", || heard.len() == 1);
    assert_eq!(heard.all()[0][0], Bson::from("from c"));
    assert!(dropped(&b, "key") >= 1_000);
    let from = a.unicast_address().expect("it runs").to_string();
    let told = told.all();
    let (cause, text) = &told[0];
    assert_eq!(*cause, "unopened");
    assert!(text.contains(&from), "{text}");
    assert!(text.contains("probably has another passphrase"), "{text}");
    // At most one in ten seconds.
    assert_eq!(told.len(), 1, "{told:?}");
}

/// CR-02, first half.
fn clear_and_sealed_do_not_mix() {
    let group = Group::unused();
    let (closed, open) = (
        sealed(group, 3).build().expect("good options"),
        builder(group).build().expect("good options"),
    );
    let (by_closed, by_open) = (refusals(&closed), refusals(&open));
    for bus in [&closed, &open] {
        block_on(bus.start()).expect("it starts");
    }
    let heard = [count(&closed, "unlock"), count(&open, "x")];
    let before = (dropped(&closed, "clear"), dropped(&open, "sealed"));
    open.emit_named("unlock", true).expect("it runs");
    open.emit_named("unlock", "x".repeat(5_000))
        .expect("it runs");
    closed.emit_named("x", 1).expect("it runs");
    closed.emit_named("x", "x".repeat(5_000)).expect("it runs");
    eventually("each has dropped what the other sent", || {
        dropped(&closed, "clear") >= before.0 + 6 && dropped(&open, "sealed") >= before.1 + 6
    });
    // The encrypted mark, both ways, on what is clear.
    let tap = Tap::join(group);
    let marked = |mark| {
        Message::event(group, "unlock", vec![true.into()])
            .set("enc", mark)
            .bytes()
    };
    send_paced(&tap, &closed, [marked(true), marked(false)]);
    assert_eq!(heard.map(|count| count.get()), [0, 0]);
    eventually("both say so", || {
        !by_closed.is_empty() && !by_open.is_empty()
    });
    let (cause, text) = &by_closed.all()[0];
    assert_eq!(*cause, "clear");
    assert!(
        text.contains("the sender probably has no passphrase"),
        "{text}"
    );
    let (cause, text) = &by_open.all()[0];
    assert_eq!(*cause, "sealed");
    assert!(
        text.contains("the sender has a passphrase, and this bus has none"),
        "{text}"
    );
    assert!(closed.peers().is_empty() && open.peers().is_empty());
}

/// CR-02, second half.
fn clear_requests_are_not_obeyed() {
    let group = Group::unused();
    let quiet = sealed(group, 4)
        .id("00000000feedface")
        .heartbeat(Duration::from_secs(60));
    let a = started(quiet.peer_timeout(Duration::from_secs(120)));
    let emitted = a.emit_named("sealed/secret", "word").expect("it runs");
    let me = a.unicast_address().expect("it runs");
    let tap = Tap::join(group);
    let nack = doc! { "id": a.id(), "inc": 1_i64, "missing": [[1_i64, 1_i64]] };
    let retx = doc! {
        "id": "0123456789abcdef", "seqId": emitted.message_id.to_string(),
        "missedSeq": [0], "host": "127.0.0.1", "port": i32::from(tap.port()),
    };
    let event = |name: &str, args| Message::event(group, name, args).bytes();
    let hello = doc! { "last": 100_i64, "first": 1_i64 };
    for _ in 0..10 {
        for bytes in [
            event("__ec_nack", vec![nack.clone().into()]),
            event("__ec_retx", vec![retx.clone().into()]),
            event("__ec_hello", vec![hello.clone().into()]),
        ] {
            send_paced(&tap, &a, [&bytes]);
            let std::net::SocketAddr::V4(me) = me else {
                panic!("the loopback interface is of IPv4")
            };
            tap.send_to(me, &bytes);
        }
    }
    eventually("all were dropped", || dropped(&a, "clear") >= 60);
    let stats = a.stats();
    assert_eq!((stats.requests_received, stats.answers_sent), (0, 0));
    assert!(a.peers().is_empty());
}

/// CR-03: names and content.
fn nothing_shows_on_the_wire() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let (a, b) = (started(sealed(group, 5)), started(sealed(group, 5)));
    let heard = count(&b, "sealed/very-secret-name");
    a.emit_named("sealed/very-secret-name", "attack at dawn")
        .expect("it runs");
    a.emit_named("sealed/very-secret-name", "attack at dawn ".repeat(300))
        .expect("it runs");
    heard.wait_for(2);
    let recorded = all_of(&tap);
    assert!(recorded.len() >= 6, "{}", recorded.len());
    let id = a.id();
    let hostname = a.hostname();
    for bytes in &recorded {
        assert!(contains(bytes, b"__ec_sealed"));
        // What is very short stands somewhere in any bytes.
        let words = ["very-secret", "attack", "hello", &id, hostname];
        for word in words.into_iter().filter(|word| word.len() > 4) {
            assert!(!contains(bytes, word.as_bytes()), "{word} shows");
        }
    }
}

/// CR-04, first half: two buses say the same to each other, 5,000 times in all.
fn nothing_repeats_on_the_wire() {
    const EACH: usize = 2_500;
    let group = Group::unused();
    let tap = Tap::join(group);
    let quiet = || {
        let quiet = sealed(group, 6).heartbeat(Duration::from_secs(60));
        started(quiet.peer_timeout(Duration::from_secs(120)))
    };
    let buses = [quiet(), quiet()];
    let heard = [0, 1].map(|index: usize| remote(&buses[index], "sealed/again"));
    let text = "always the same ".repeat(7)[..100].to_owned();
    let mut recorded = Vec::new();
    for (bus, heard) in buses.iter().zip(heard.iter().rev()) {
        for portion in 1..=EACH / 20 {
            for _ in 0..20 {
                bus.emit_named("sealed/again", text.as_str())
                    .expect("it runs");
            }
            for _ in 0..20 {
                recorded.push(tap.next().bytes);
            }
            heard.wait_for(portion * 20);
        }
    }
    assert_eq!(heard.map(|count| count.get()), [EACH, EACH]);
    recorded.extend(all_of(&tap));
    // All but the hellos have the same length.
    let length = recorded[recorded.len() / 2].len();
    recorded.retain(|bytes| bytes.len() == length);
    assert!(recorded.len() >= 2 * EACH, "{}", recorded.len());
    // The box is the last thing but two zeros; its first 29 bytes are the label, then comes the IV.
    let datagram = &recorded[0];
    let at = datagram.len() - 2 - box_len(datagram);
    let ivs: HashSet<&[u8]> = recorded
        .iter()
        .map(|bytes| &bytes[at + 29..at + 45])
        .collect();
    assert_eq!(ivs.len(), recorded.len());
    let mut had: HashSet<&[u8]> = HashSet::new();
    for bytes in &recorded {
        for run in bytes[at + 29..bytes.len() - 2].windows(16) {
            assert!(had.insert(run), "16 bytes come again");
        }
    }
}

/// How many events of that name came from others.
fn remote(bus: &Bus, name: &str) -> Count {
    let count = Count::default();
    let counted = count.clone();
    bus.on_named(name, move |e: &Received<Args>| {
        if !e.origin().is_local() {
            counted.add();
        }
    });
    count
}

/// The box is the one argument, a binary value: its length stands before its subtype.
fn box_len(datagram: &[u8]) -> usize {
    let metadata = usize::from(u16::from_be_bytes([datagram[0], datagram[1]]));
    let payload = &datagram[2 + metadata..];
    let at = b"\0\0\0\0\x04payload\0\0\0\0\0\x050\0".len();
    let len = payload[at..at + 4].first_chunk().expect("four bytes");
    u32::from_le_bytes(*len) as usize
}

/// CR-03: every bit, the header's among them.
fn what_is_changed_is_refused_in_silence() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let quiet = || sealed(group, 7).heartbeat(Duration::from_secs(60));
    let quiet = || quiet().peer_timeout(Duration::from_secs(120));
    let a = started(quiet());
    let b = quiet().build().expect("good options");
    let told = refusals(&b);
    block_on(b.start()).expect("it starts");
    let heard = count(&b, "sealed/changed");
    a.emit_named("sealed/changed", "one").expect("it runs");
    a.emit_named("sealed/changed", "x".repeat(2_500))
        .expect("it runs");
    heard.wait_for(2);
    block_on(a.stop()).expect("it stops");
    let recorded: Vec<_> = all_of(&tap);
    let sent = b.stats().datagrams_sent;
    let opened = |bus: &Bus| bus.stats().events_received;
    let before = opened(&b);
    let mut refused = 0;
    for bytes in &recorded {
        // Every bit of a short one; of a long one every bit of the label and the end, and some between.
        let bits = (0..bytes.len() * 8).filter(|bit| {
            bytes.len() < 600 || *bit < 400 * 8 || *bit > (bytes.len() - 40) * 8 || bit % 29 == 0
        });
        let flipped = bits.map(|bit| {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let cut = [bytes[..bytes.len() - 16].to_vec(), bytes.clone()];
        let all: Vec<_> = flipped.chain(cut).collect();
        refused += all.len() as u64;
        send_paced(&tap, &b, all);
    }
    let sealed_event = b.emit_named("sealed/end", ()).expect("it runs");
    assert_eq!(sealed_event.listeners, 0);
    assert_eq!(opened(&b), before, "nothing is delivered");
    assert_eq!(heard.get(), 2);
    assert_eq!(b.stats().datagrams_sent, sent + 1, "nothing is sent");
    let counted: u64 = b.stats().dropped.values().sum();
    assert!(counted >= refused, "{counted} of {refused}");
    for cause in ["suite", "key", "mac", "malformed", "double"] {
        assert!(dropped(&b, cause) > 0, "{cause}: {:?}", b.stats().dropped);
    }
    let texts: HashSet<String> = told
        .all()
        .into_iter()
        .filter(|(cause, _)| ["unopened", "suite", "key", "mac"].contains(cause))
        .map(|(cause, text)| {
            let (_, text) = text.split_once(": ").expect("it says why");
            format!("{cause} {text}")
        })
        .collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

fn keys_change() {
    let group = Group::unused();
    let buses = Arc::new([started(sealed(group, 10)), started(sealed(group, 10))]);
    let heard = collect(&buses[1], "sealed/change");
    let emitted = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let emitting = {
        let (buses, emitted, over) = (Arc::clone(&buses), Arc::clone(&emitted), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let number = emitted.fetch_add(1, Ordering::SeqCst) as i32;
                buses[0]
                    .emit_named("sealed/change", number)
                    .expect("there is room");
                std::thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let [old, new] = [key(10), key(11)];
    for round in [
        Keys::new(old.clone()).and_receive(new.clone()),
        Keys::new(new.clone()).and_receive(old),
        Keys::new(new.clone()),
    ] {
        for bus in &*buses {
            let so_far = emitted.load(Ordering::SeqCst);
            eventually("more are emitted", || {
                emitted.load(Ordering::SeqCst) > so_far + 50
            });
            block_on(bus.set_keys(round.clone())).expect("these are keys");
        }
        // The next round begins when this one is through everywhere, what is on its way included.
        let so_far = emitted.load(Ordering::SeqCst) as usize;
        eventually("all have come", || heard.len() >= so_far);
    }
    over.store(true, Ordering::SeqCst);
    emitting.join().expect("it ended well");
    let emitted = emitted.load(Ordering::SeqCst);
    eventually("all have come", || heard.len() as u64 == emitted);
    let numbers: Vec<_> = heard.all().iter().map(|args| args[0].clone()).collect();
    let wrong = (0..)
        .zip(&numbers)
        .find(|(index, number)| **number != Bson::Int32(*index));
    assert_eq!(wrong, None, "in order");
    assert_eq!(buses[1].stats().events_lost, 0);
    // A bus with the old key alone is not heard any more, and one with the new is.
    let (old, new) = (
        started(sealed(group, 10)),
        started(builder(group).passphrase(new)),
    );
    let refused = dropped(&buses[1], "key");
    old.emit_named("sealed/change", "old").expect("it runs");
    eventually("it is refused", || dropped(&buses[1], "key") > refused);
    fence_between(&new, &buses[1]);
    assert_eq!(heard.len() as u64, emitted);
}

fn set_keys_says_what_is_wrong() {
    let group = Group::unused();
    let open = builder(group).build().expect("good options");
    let error = block_on(open.set_keys(Keys::new(key(1)))).unwrap_err();
    assert!(matches!(error, Error::NotSealed), "{error}");
    let closed = sealed(group, 1).build().expect("good options");
    for keys in [
        Keys::new(""),
        Keys::new(key(1)).and_receive(Secret::ready_key([1; 31])),
    ] {
        let error = block_on(closed.set_keys(keys)).unwrap_err();
        assert!(matches!(error, Error::Key(_)), "{error}");
    }
    // On a stopped bus too: it starts with them.
    block_on(closed.set_keys(Keys::new(key(2)))).expect("it is a key");
    block_on(closed.start()).expect("it starts");
    let other = started(sealed(group, 2));
    let heard = count(&closed, "sealed/set");
    other.emit_named("sealed/set", ()).expect("it runs");
    heard.wait_for(1);
}

/// CR-04, second half: the slow derivation is on no thread of the runtime.
fn a_start_holds_up_nobody() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bus = builder(Group::unused())
            .passphrase("a passphrase that nothing else here uses")
            .build()
            .expect("good options");
        let started = bus.start();
        let mut ticks = 0_u32;
        let ticking = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                ticks += 1;
            }
        };
        tokio::select! {
            started = started => started.expect("it starts"),
            () = ticking => unreachable!("it ticks for ever"),
        }
        // It takes more than a tenth of a second on the fastest machine; had it been here, none had come.
        assert!(ticks >= 3, "{ticks} ticks");
        assert!(bus.is_running());
        // The next start has the key.
        bus.stop().await.expect("it stops");
        drop(bus.start());
        assert!(bus.is_running());
    });
}

fn stopped_while_it_starts() {
    let secret = "another passphrase that nothing else here uses";
    let bus = builder(Group::unused())
        .passphrase(secret)
        .build()
        .expect("good options");
    let started = bus.start();
    let again = bus.start();
    assert!(!bus.is_running());
    block_on(bus.stop()).expect("it stops");
    for started in [started, again] {
        assert!(matches!(block_on(started), Err(Error::Stopped)));
    }
    block_on(bus.start()).expect("it starts");
    assert!(bus.is_running());
    // Nothing is left of one that goes while it starts.
    let other = builder(Group::unused()).passphrase("and one that never gets so far");
    let other = other.build().expect("good options");
    let started = other.start();
    drop(other);
    assert!(matches!(block_on(started), Err(Error::Stopped)));
}

fn keys_set_while_it_starts() {
    let group = Group::unused();
    let secret = "a passphrase that is replaced before it was ever used";
    let bus = builder(group).passphrase(secret);
    let bus = bus.build().expect("good options");
    let started_meanwhile = bus.start();
    let set = bus.set_keys(Keys::new(key(13)));
    block_on(started_meanwhile).expect("it starts");
    block_on(set).expect("it is a key");
    let other = started(sealed(group, 13));
    let heard = count(&other, "sealed/meanwhile");
    bus.emit_named("sealed/meanwhile", ()).expect("it runs");
    heard.wait_for(1);
    // Never, not even at first, in the clear.
    assert_eq!(dropped(&other, "clear"), 0);
}

fn short_passphrases() {
    let group = Group::unused();
    for (passphrase, warned) in [("elevenbytes", true), ("twelve bytes", false)] {
        let bus = builder(group)
            .passphrase(passphrase)
            .build()
            .expect("good options");
        let told = Seen::new();
        let list = told.clone();
        bus.on_notice(move |notice: &Notice| list.push(notice.to_string()));
        block_on(bus.start()).expect("it starts");
        eventually("it says that it runs", || {
            told.all().iter().any(|text| text.starts_with("started"))
        });
        let warnings = told
            .all()
            .iter()
            .filter(|text| text.contains("is short"))
            .count();
        assert_eq!(warnings, usize::from(warned));
        for shown in told.all().iter().chain([&format!("{bus:?} {bus:#?}")]) {
            assert!(!shown.contains(passphrase), "{shown}");
        }
    }
}

fn classic_buses() {
    let group = Group::unused();
    let classic = |passphrase: &str| {
        builder(group)
            .passphrase(passphrase)
            .classic_cipher(true)
            .build()
            .expect("good options")
    };
    let buses = [classic("alpha"), classic("alpha"), classic("bravo")];
    let told = Arc::new(Mutex::new(Vec::new()));
    for (index, bus) in buses.iter().enumerate() {
        let list = Arc::clone(&told);
        bus.on_notice(move |notice: &Notice| {
            let text = notice.to_string();
            list.lock().expect("nothing panics").push((index, text));
        });
        block_on(bus.start()).expect("it starts");
    }
    let [a, b, other] = &buses;
    let heard = collect(b, "sealed/classic");
    let not_heard = count(other, "sealed/classic");
    a.emit_named("sealed/classic", "short").expect("it runs");
    a.emit_named("sealed/classic", "x".repeat(20_000))
        .expect("it runs");
    eventually("both came", || heard.len() == 2);
    eventually("another passphrase is counted", || {
        dropped(other, "undecryptable") >= 1
    });
    assert_eq!(not_heard.get(), 0);
    // What is clear, or sealed, is not for them.
    let (open, closed) = (started(builder(group)), started(sealed(group, 12)));
    let tap = Tap::join(group);
    open.emit_named("sealed/classic", "clear").expect("it runs");
    closed
        .emit_named("sealed/classic", "sealed")
        .expect("it runs");
    eventually("both are refused", || {
        dropped(b, "clear") >= 1 && dropped(b, "sealed") >= 1
    });
    fence(&tap, &open, group);
    assert_eq!(heard.len(), 2);
    eventually("each has warned of the cipher once", || {
        let told = told.lock().expect("nothing panics");
        let warned = |index| {
            let of =
                |(who, text): &&(usize, String)| *who == index && text.contains("classic_cipher");
            told.iter().filter(of).count()
        };
        (0..3).all(|index| warned(index) == 1)
    });
}
