//! Buses with a passphrase: what they exchange, and what nobody else learns of it. What they refuse
//! is in `refusals`, how they get their keys in `keys`, and what comes of restarts in `restarts`.

mod keys;
mod refusals;
mod restarts;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventcast::{Args, Builder, Bus, DropCause, NetEvent, Notice, Received, Secret};
use eventcast_tests::{
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{Count, builder, collect, count, dropped, emit_whole, fence, started};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body);
    let mut cases = vec![
        case("sealed::one_passphrase", one_passphrase),
        case(
            "sealed::nothing_shows_on_the_wire",
            nothing_shows_on_the_wire,
        ),
        case(
            "sealed::nothing_repeats_on_the_wire",
            nothing_repeats_on_the_wire,
        ),
        case("sealed::classic_buses", classic_buses),
    ];
    cases.extend(keys::cases());
    cases.extend(refusals::cases());
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
fn what_it_refuses(bus: &Bus) -> Seen<(&'static str, String)> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::Refused { cause, .. } = notice {
            list.push((cause.name(), notice.to_string()));
        }
    });
    seen
}

/// Everything that a tap has had by now.
fn all_of(tap: &Tap) -> Vec<Vec<u8>> {
    let next = || tap.next_within(Duration::from_millis(50));
    std::iter::from_fn(next)
        .map(|datagram| datagram.bytes)
        .collect()
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
        let ours = [DropCause::Echo, DropCause::Duplicate];
        for (cause, count) in bus.stats().dropped {
            assert!(count == 0 || ours.contains(&cause), "{count} {cause}");
        }
    }
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

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
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
