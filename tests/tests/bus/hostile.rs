//! Datagrams that nobody should send: counted, and nothing more.

use bson::{Bson, doc};
use eventcast::{Bus, NetEvent};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    process::memory_in_use,
    runner::Case,
    tap::Tap,
    wait::block_on,
};
use serde::{Deserialize, Serialize};

use crate::common::{Count, Runtime, builder, bus, collect, count, fence, send_paced};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "hostile::io02_empty_short_and_random",
            io02_empty_short_and_random,
        ),
        Case::new("hostile::bs01_depth", bs01_depth),
        Case::new("hostile::bs01_depth_on_a_runtime", bs01_depth_on_a_runtime),
        Case::new("hostile::bs01_depth_at_emit", bs01_depth_at_emit),
        Case::new(
            "hostile::bs07_malformed_documents",
            bs07_malformed_documents,
        )
        .in_own_process(),
        Case::new("hostile::bs07_mutations", bs07_mutations).in_own_process(),
        Case::new("hostile::metadata", metadata),
        Case::new("hostile::reserved_names", reserved_names),
    ]
}

/// A bus, a count of its `x`, and a tap that sends to it.
struct Target {
    group: Group,
    bus: Bus,
    x: Count,
    tap: Tap,
}

impl Target {
    fn new() -> Self {
        let group = Group::unused();
        let bus = bus(group);
        let x = count(&bus, "x");
        let tap = Tap::join(group);
        Self { group, bus, x, tap }
    }

    fn dropped(&self) -> u64 {
        self.bus.stats().dropped.values().sum()
    }

    /// Sends these: none may be delivered, each must be counted, and the next good one comes.
    #[track_caller]
    fn refuses<D: AsRef<[u8]>>(&self, what: &str, datagrams: impl IntoIterator<Item = D>) {
        let (dropped, delivered) = (self.dropped(), self.x.get());
        let mut sent = 0;
        send_paced(
            &self.tap,
            &self.bus,
            datagrams.into_iter().inspect(|_| sent += 1),
        );
        fence(&self.tap, &self.bus, self.group);
        assert_eq!(self.x.get(), delivered, "{what}: delivered");
        assert_eq!(
            self.dropped() - dropped,
            sent,
            "{what}: {:?}",
            self.bus.stats().dropped
        );
    }

    /// Sends one that must be delivered.
    #[track_caller]
    fn takes(&self, what: &str, datagrams: impl IntoIterator<Item = Vec<u8>>) {
        let delivered = self.x.get();
        send_paced(&self.tap, &self.bus, datagrams);
        fence(&self.tap, &self.bus, self.group);
        assert_eq!(
            self.x.get(),
            delivered + 1,
            "{what}: {:?}",
            self.bus.stats().dropped
        );
    }

    fn with_payload(&self, payload: Vec<u8>) -> Message {
        Message::with_payload(self.group, "x", payload)
    }
}

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn io02_empty_short_and_random() {
    let target = Target::new();
    let mut numbers = Numbers(1);
    let random: Vec<u8> = (0..65_507).map(|_| numbers.next() as u8).collect();
    let strange: [&[u8]; 5] = [b"", b"\0", b"\xff\xff", b"\xff\xff\xff\xff", &random];
    target.refuses("short and random", strange);

    let good = Message::event(target.group, "x", vec![Bson::Int32(1)]).bytes();
    target.refuses("cut", (0..good.len()).map(|length| &good[..length]));
    let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
    target.refuses("padded", [longer]);
    target.takes("whole", [good]);
}

const DEPTHS: [usize; 11] = [32, 50, 62, 63, 64, 100, 125, 200, 500, 1_000, 7_000];

/// WIRE.md, section 9: a document may be 64 deep, itself counted as the first.
const MAX_DEPTH: usize = 64;

fn bs01_depth() {
    try_depths(&Target::new());
}

/// The same with a listener that is called on tokio's threads, whose stacks are 2 MiB.
fn bs01_depth_on_a_runtime() {
    let target = Target::new();
    let listened = target.bus.clone();
    Runtime::MultiThread.run(async move {
        block_off_runtime(move || {
            listened.on_async_named("x", |e| async move {
                assert!(!e.is_empty(), "everything here has one argument");
            });
            try_depths(&target);
        })
        .await;
    });
}

/// Runs what blocks beside the runtime, within it.
async fn block_off_runtime(work: impl FnOnce() + Send + 'static) {
    let outcome = tokio::task::spawn_blocking(work).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn try_depths(target: &Target) {
    for array in [false, true] {
        for depth in DEPTHS {
            // Inside the payload document it is one deeper; arrays lie in a document that is
            // the outermost of `nested`.
            let nested = craft::nested(depth, array);
            let payload = craft::as_payload(nested.clone(), 3);
            let message = target.with_payload(payload);
            let what = format!("{depth} deep, array {array}");
            if depth < MAX_DEPTH {
                target.takes(&what, [message.bytes()]);
            } else {
                target.refuses(&what, [message.bytes()]);
            }

            let unheard = Message::with_payload(target.group, "unheard", message.payload.clone());
            let dropped = target.dropped();
            target.tap.send(&unheard.bytes());
            fence(&target.tap, &target.bus, target.group);
            assert_eq!(
                target.dropped() - dropped,
                u64::from(depth >= MAX_DEPTH),
                "{what}"
            );

            let chunked = target.with_payload(message.payload.clone());
            let chunks = chunked.chunks(200);
            if depth < MAX_DEPTH {
                target.takes(&what, chunks);
            } else {
                let dropped = target.dropped();
                send_paced(&target.tap, &target.bus, chunks);
                fence(&target.tap, &target.bus, target.group);
                assert!(target.dropped() > dropped, "{what}, in chunks");
            }

            // In the metadata, under a key that nobody knows.
            let good = target.with_payload(craft::bytes_of(&doc! { "payload": [] }));
            let meta = with_extra(&craft::bytes_of(&good.meta), 3, &nested);
            let datagram = craft::join(&meta, &good.payload);
            if depth < MAX_DEPTH {
                target.takes(&what, [datagram]);
            } else {
                target.refuses(&what, [datagram]);
            }
        }
    }
}

/// The document with one more element at the end, `extra`.
fn with_extra(document: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = document[..document.len() - 1].to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(b"extra\0");
    bytes.extend_from_slice(value);
    bytes.push(0);
    let length = i32::try_from(bytes.len()).expect("far below 2 GiB");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct Tree {
    inside: Vec<Self>,
}

fn bs01_depth_at_emit() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let x = count(&b, "x");
    let trees = count(&b, "Tree");
    for depth in [1, 10, 40, 61, 62, 63, 64, 65, 200] {
        let mut value = Bson::Array(vec![]);
        for _ in 1..depth {
            value = Bson::Array(vec![value]);
        }
        // The payload document and the array of arguments are around it.
        let fits = depth + 2 <= MAX_DEPTH;
        let before = x.get();
        let emitted = a.emit_named("x", value);
        assert_eq!(emitted.is_ok(), fits, "{depth} deep");
        if let Err(error) = emitted {
            assert!(error.to_string().contains("64"), "{error}");
        } else {
            x.wait_for(before + 1);
        }
    }
    // A document and an array for each level.
    for depth in [1, 30, 31, 32, 100] {
        let mut tree = Tree { inside: vec![] };
        for _ in 1..depth {
            tree = Tree { inside: vec![tree] };
        }
        let before = trees.get();
        match a.emit(tree) {
            Ok(_) => {
                assert!(2 * depth + 2 <= MAX_DEPTH, "{depth} levels");
                trees.wait_for(before + 1);
            }
            Err(error) => {
                assert!(2 * depth + 2 > MAX_DEPTH, "{depth} levels: {error}");
                assert!(error.to_string().contains("Tree"), "{error}");
            }
        }
    }
}

/// Payload documents with one thing wrong, each with a name.
fn malformed() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let good = craft::bytes_of(&doc! { "payload": ["text", { "p": 1 }] });
    for length in [
        -1,
        0,
        4,
        i32::MAX,
        good.len() as i32 - 1,
        good.len() as i32 + 1,
    ] {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        all.push((format!("document of length {length}"), bytes));
    }
    let string_at = position(&good, b"text\0") - 4;
    let binary = craft::bytes_of(&doc! { "payload": [Bson::Binary(bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: b"text".to_vec(),
    })]});
    let binary_at = position(&binary, b"\0text") - 4;
    for (what, bytes, at) in [("string", &good, string_at), ("binary", &binary, binary_at)] {
        for length in [i32::MAX, -1, i32::MIN, 1_000] {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            all.push((format!("{what} of length {length}"), bytes));
        }
    }
    let mut bytes = good.clone();
    bytes[string_at..string_at + 4].copy_from_slice(&0_i32.to_le_bytes());
    all.push(("string of length 0".to_owned(), bytes));
    let mut bytes = good.clone();
    bytes[string_at + 4..string_at + 6].copy_from_slice(b"\xff\xfe");
    all.push(("text that is not UTF-8".to_owned(), bytes));
    let mut bytes = good.clone();
    bytes[string_at + 8] = 1;
    all.push(("string without a zero".to_owned(), bytes));
    let mut bytes = good.clone();
    *bytes.last_mut().expect("not empty") = 1;
    all.push(("document without a zero".to_owned(), bytes));
    let mut bytes = good.clone();
    bytes.pop();
    all.push(("document that ends early".to_owned(), bytes));
    let mut bytes = good.clone();
    bytes.extend_from_slice(b"\0\0\0");
    all.push(("three bytes more".to_owned(), bytes));

    let one = craft::bytes_of(&doc! { "p": 1 });
    let mut twice = with_extra(&one, 0x10, &2_i32.to_le_bytes());
    let extra = position(&twice, b"extra\0");
    twice.splice(extra..extra + 6, *b"p\0");
    let length = i32::try_from(twice.len()).expect("small");
    twice[..4].copy_from_slice(&length.to_le_bytes());
    all.push(("a key twice".to_owned(), craft::as_payload(twice, 3)));

    for kind in [0x14, 0x7e, 0x80, 0xff_u8] {
        let unknown = with_extra(&one, kind, b"\0\0\0\0\0\0\0\0");
        all.push((format!("type {kind:#x}"), craft::as_payload(unknown, 3)));
    }
    let boolean = with_extra(&one, 8, &[2]);
    all.push(("a boolean of 2".to_owned(), craft::as_payload(boolean, 3)));
    // A DBPointer and a code with scope that claim more than there is.
    let pointer = with_extra(&one, 0x0c, b"\xff\0\0\0x\0");
    all.push((
        "a pointer too long".to_owned(),
        craft::as_payload(pointer, 3),
    ));
    let code = with_extra(&one, 0x0f, b"\xff\0\0\0\x02\0\0\0x\0\x05\0\0\0\0");
    all.push(("a scope too long".to_owned(), craft::as_payload(code, 3)));
    all.push((
        "no payload at all".to_owned(),
        craft::bytes_of(&doc! { "other": [] }),
    ));
    all.push(("nothing".to_owned(), Vec::new()));
    all
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    let mut windows = bytes.windows(what.len());
    windows.position(|one| one == what).expect("it is in there")
}

fn bs07_malformed_documents() {
    let target = Target::new();
    target.takes(
        "a good one",
        [Message::event(target.group, "x", vec![]).bytes()],
    );
    let before = memory_in_use();
    for (what, payload) in malformed() {
        let message = target.with_payload(payload.clone());
        target.refuses(&what, [message.bytes()]);
        target.takes(
            "a good one",
            [Message::event(target.group, "x", vec![]).bytes()],
        );
        // The same inside a message that is cut.
        let dropped = target.dropped();
        let delivered = target.x.get();
        let chunked = target.with_payload(payload);
        send_paced(&target.tap, &target.bus, chunked.chunks(100));
        fence(&target.tap, &target.bus, target.group);
        assert!(target.dropped() > dropped, "{what}, in chunks");
        assert_eq!(target.x.get(), delivered, "{what}, in chunks");
    }
    let grown = memory_in_use().saturating_sub(before);
    assert!(grown < 4 << 20, "memory grew by {grown} bytes");
}

/// Some thousand mutations of good datagrams: the fuzz targets do the same without sockets, and
/// go on for longer.
fn bs07_mutations() {
    let target = Target::new();
    let good = Message::event(target.group, "x", craft::every_type());
    let mut numbers = Numbers(2);
    let chunks = good.chunks(300);
    let mutated = (0..6_000).map(|round| {
        let mut bytes = match round % 3 {
            0 => chunks[numbers.below(chunks.len())].clone(),
            _ => good.bytes(),
        };
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = numbers.next() as u8,
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, numbers.next() as u8),
            }
        }
        bytes
    });
    send_paced(&target.tap, &target.bus, mutated);
    target.takes(
        "a good one",
        [Message::event(target.group, "x", vec![]).bytes()],
    );
}

fn metadata() {
    let target = Target::new();
    let good = || Message::event(target.group, "x", vec![]);
    for key in [
        "v", "seq", "seqLen", "seqId", "seqEnd", "enc", "name", "host", "port", "hostname", "id",
        "time",
    ] {
        target.refuses(&format!("no {key}"), [good().without(key).bytes()]);
        target.refuses(
            &format!("{key} null"),
            [good().set(key, Bson::Null).bytes()],
        );
    }
    let long = |length: usize| "x".repeat(length);
    let wrong: Vec<(&str, Bson)> = vec![
        ("v", Bson::Int32(2)),
        ("v", Bson::Int32(4)),
        ("v", Bson::Double(3.5)),
        ("v", Bson::String("3".to_owned())),
        ("seq", Bson::Int32(1)),
        ("seq", Bson::Int32(-1)),
        ("seqLen", Bson::Int32(0)),
        ("seqLen", Bson::Int32(-1)),
        ("seqLen", Bson::Int32(i32::MAX)),
        ("seqLen", Bson::Int64(1 << 53)),
        ("seqLen", Bson::Double(1.5)),
        ("seqLen", Bson::String("9".to_owned())),
        ("seqEnd", Bson::Boolean(false)),
        ("enc", Bson::Boolean(true)),
        ("enc", Bson::Int32(0)),
        ("port", Bson::Int32(65_536)),
        ("port", Bson::Int32(-1)),
        ("seqId", Bson::String(long(65))),
        ("id", Bson::String(long(65))),
        ("host", Bson::String(long(256))),
        ("hostname", Bson::String(long(256))),
        ("name", Bson::String(long(1_025))),
        ("name", Bson::String("__ec_nobody_knows".to_owned())),
    ];
    for (key, value) in wrong {
        let what = format!("{key}: {value}");
        target.refuses(&what, [good().set(key, value).bytes()]);
    }
    // The same numbers in other types, keys in another order, and keys that nobody knows.
    target.takes(
        "int64",
        [good().set("seqLen", 1_i64).set("v", 3_i64).bytes()],
    );
    target.takes(
        "doubles",
        [good().set("seq", 0.0).set("seqLen", 1.0).bytes()],
    );
    target.takes(
        "more keys",
        [good().set("future", doc! { "a": [1] }).bytes()],
    );
    let mut turned = good();
    let mut keys: Vec<_> = turned.meta.into_iter().collect();
    keys.reverse();
    turned.meta = keys.into_iter().collect();
    target.takes("another order", [turned.bytes()]);
}

fn reserved_names() {
    let group = Group::unused();
    let bus = builder(group).build().expect("good options");
    let everything = collect(&bus, "error");
    block_on(bus.start()).expect("it starts");
    let tap = Tap::join(group);
    for name in [
        "__ec_",
        "__ec_hello",
        "__ec_bye",
        "__ec_again",
        "__ec_sealed",
        "__ec_x",
    ] {
        for arguments in [vec![], vec![Bson::Int32(1)], vec![Bson::Document(doc! {})]] {
            tap.send(&Message::event(group, name, arguments).bytes());
        }
    }
    fence(&tap, &bus, group);
    assert!(everything.is_empty());
    assert!(bus.is_running());
}
