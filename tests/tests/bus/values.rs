//! Values of every kind, from a type through the network to the same type.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use bson::{Bson, bson};
use eventcast::{Args, Bus, IntoArgs, NetEvent, Notice, Received, args};
use eventcast_tests::{
    craft,
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};

use crate::common::{builder, bus, collect, count, emit_whole, gives_up_soon, pair, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("values::bs02_numbers", bs02_numbers),
        Case::new("values::bs03_map_keys", bs03_map_keys),
        Case::new("values::bs04_payloads", bs04_payloads),
        Case::new("values::bs04_untyped", bs04_untyped),
        Case::new("values::bs04_nested_options", bs04_nested_options),
        Case::new("values::bs08_bytes", bs08_bytes),
        Case::new(
            "values::bson_types_in_a_typed_event",
            bson_types_in_a_typed_event,
        ),
        Case::new("values::arguments_by_key_keep_their_types", by_name),
        Case::new("values::held_in_serdes_buffers", held_in_serdes_buffers),
        Case::new("values::fields_that_are_skipped", fields_that_are_skipped),
        Case::new("values::json_as_text", json_as_text),
        Case::new("values::one_declaration_spelled_twice", spelled_twice),
        Case::new("values::the_largest_event", the_largest_event),
    ]
}

/// Sends `event` and says what came: it must come equal, unless emit refused it.
#[track_caller]
fn there<E: NetEvent + Clone + PartialEq + Debug>(
    a: &Bus,
    b: &Bus,
    event: E,
) -> Result<(), String> {
    let seen = Seen::new();
    let list = seen.clone();
    let id = b.on::<E>(move |e: &Received<E>| list.push((**e).clone()));
    let emitted = a.emit(event.clone()).map_err(|error| error.to_string());
    if emitted.is_ok() {
        assert_eq!(seen.wait_for(1), [event]);
    }
    b.off(id);
    emitted.map(drop)
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct One<T> {
    value: T,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "t")]
enum Met {
    At { address: SocketAddr },
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Around {
    #[serde(flatten)]
    inner: One<Ipv4Addr>,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
enum Via {
    Ip(Ipv4Addr),
    Raw(Vec<u8>),
}

/// What looks at whether it is written for people comes back from where serde holds it in between.
fn held_in_serdes_buffers() {
    let (a, b) = pair();
    let address = "192.0.2.7:4000".parse().expect("an address");
    let ip = Ipv4Addr::new(8, 8, 8, 8);
    there(&a, &b, Met::At { address }).expect("it can be read");
    there(
        &a,
        &b,
        Around {
            inner: One { value: ip },
        },
    )
    .expect("it can be read");
    there(&a, &b, Via::Ip(ip)).expect("it can be read");
    there(&a, &b, Via::Raw(vec![8, 8, 8, 8])).expect("it can be read");
    there(
        &a,
        &b,
        One {
            value: IpAddr::V4(ip),
        },
    )
    .expect("it can be read");
    // By name, here and there, it is what encoding and decoding give.
    let (here, far) = (collect(&a, Via::KEY), collect(&b, Via::KEY));
    a.emit(Via::Ip(ip)).expect("it can be read");
    for seen in [here, far] {
        assert_eq!(seen.wait_for(1), [args!["8.8.8.8"]]);
    }
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Temp<U>(f64, #[serde(skip)] PhantomData<U>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Sizes(#[serde(skip)] u8, u8, #[serde(skip)] u8, u16);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
struct Bare(Vec<u8>, #[serde(skip)] u8);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Forgets {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Recalls {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

/// What is skipped is no argument; where the rest cannot be read, `emit` says so.
fn fields_that_are_skipped() {
    let (a, b) = pair();
    there(&a, &b, Temp::<u8>(0.5, PhantomData)).expect("one field is left");
    there(&a, &b, Sizes(0, 1, 0, 2)).expect("two fields are left");
    there(&a, &b, Bare(vec![1, 2], 0)).expect("one field is left");
    there(&a, &b, Recalls { list: vec![] }).expect("there is a default");
    there(&a, &b, Forgets { list: vec![1] }).expect("all is sent");
    let heard = count(&b, Forgets::KEY);
    let text = there(&a, &b, Forgets { list: vec![] }).expect_err("nobody could read it");
    for part in ["Forgets", "\"list\"", "missing", "`default`"] {
        assert!(text.contains(part), "{text}");
    }
    there(&a, &b, Forgets { list: vec![2] }).expect("all is sent");
    heard.wait_for(1);
    assert_eq!(heard.get(), 1);
}

/// JSON as text, in the form that `serde_json::value::RawValue` has for a serializer.
#[derive(Debug)]
struct RawJson(&'static str);

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAME: &str = "$serde_json::private::RawValue";
        let mut fields = serializer.serialize_struct(NAME, 1)?;
        fields.serialize_field(NAME, self.0)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self(""))
    }
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct Json {
    text: RawJson,
}

fn json_as_text() {
    let (a, b) = pair();
    let heard = count(&b, Json::KEY);
    let error = a.emit(Json {
        text: RawJson("[1, 2]"),
    });
    let text = error.expect_err("nobody could read it").to_string();
    for part in ["Json", "\"text\"", "serde_json::Value"] {
        assert!(text.contains(part), "{text}");
    }
    there(&a, &b, One { value: 1 }).expect("it can be read");
    assert_eq!(heard.get(), 0);
}

type Serial = u64;
type Octets = Vec<u8>;

mod spelled {
    use super::*;

    #[derive(NetEvent, Serialize, Deserialize)]
    #[net_event(name = "values/spelled")]
    pub(super) struct One {
        pub(super) id: u64,
        pub(super) bytes: Vec<u8>,
    }

    #[derive(NetEvent, Serialize, Deserialize)]
    #[net_event(name = "values/spelled")]
    pub(super) struct Other {
        pub(super) id: Serial,
        pub(super) bytes: Octets,
    }

    #[derive(NetEvent, Serialize, Deserialize, Debug)]
    #[net_event(name = "values/spelled")]
    pub(super) struct Different {
        pub(super) id: u32,
        pub(super) bytes: Vec<u8>,
    }
}

/// Two types under one key are the same if their fields are; an alias is the type that it stands
/// for.
fn spelled_twice() {
    let (a, b) = pair();
    let seen = Seen::new();
    let list = seen.clone();
    b.on::<spelled::One>(move |e| list.push((e.id, e.bytes.clone())));
    let bytes = vec![1];
    a.emit(spelled::Other { id: 7, bytes })
        .expect("it is the same");
    assert_eq!(seen.wait_for(1), [(7, vec![1])]);
    let error = a.emit(spelled::Different {
        id: 7,
        bytes: vec![],
    });
    let text = error.expect_err("a field has another type").to_string();
    for part in [
        "struct { id: u64, bytes: Vec<u8> }",
        "struct { id: u32, bytes: Vec<u8> }",
        "values.rs",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

type Kilobyte = [[u8; 32]; 32];

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Largest {
    values: [Kilobyte; 32],
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Deep {
    pad: [Kilobyte; 8],
    next: Option<Box<Self>>,
}

/// The largest event that compiles ends no thread that it comes to: one that reads, one for a slow
/// listener, a worker of tokio, and whoever reads a stream. What would, is refused by `emit`.
fn the_largest_event() {
    let (a, b) = pair();
    let largest = || Largest {
        values: [[[7; 32]; 32]; 32],
    };
    there(&a, &b, largest()).expect("it fits");
    let slow = Seen::new();
    let list = slow.clone();
    b.on::<Largest>(move |e| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        list.push(e.values[31][31][31]);
    });
    let worked = Seen::new();
    let list = worked.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let waiting = {
        let (b, list) = (b.clone(), list.clone());
        runtime.spawn(async move {
            let mut events = b.subscribe::<Largest>();
            list.push(0);
            for _ in 0..3 {
                let event = events.next().await.expect("the bus is there");
                list.push(event.values[31][31][31]);
            }
        })
    };
    worked.wait_for(1);
    for _ in 0..3 {
        a.emit(largest()).expect("it fits");
    }
    assert_eq!(slow.wait_for(3), [7, 7, 7]);
    runtime.block_on(waiting).expect("no panic");
    assert_eq!(worked.wait_for(4), [0, 7, 7, 7]);

    let chain = |length| {
        (1..length).fold(
            Deep {
                pad: [[[1; 32]; 32]; 8],
                next: None,
            },
            |next, _| Deep {
                pad: [[[1; 32]; 32]; 8],
                next: Some(Box::new(next)),
            },
        )
    };
    there(&a, &b, chain(3)).expect("it fits");
    let text = there(&a, &b, chain(40)).expect_err("it takes too much stack");
    assert!(text.contains("box"), "{text}");
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Flat {
    #[serde(flatten)]
    inner: BTreeMap<String, u64>,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
enum Loose {
    Number(u64),
    Text(String),
}

fn bs02_numbers() {
    let (a, b) = pair();
    there(
        &a,
        &b,
        One {
            value: i64::MAX as u64,
        },
    )
    .expect("it fits");
    there(&a, &b, One { value: 0_u64 }).expect("it fits");
    there(&a, &b, One { value: u32::MAX }).expect("it fits");
    there(&a, &b, One { value: i64::MIN }).expect("it fits");
    there(&a, &b, One { value: -1_i8 }).expect("it fits");
    there(
        &a,
        &b,
        One {
            value: f32::MIN_POSITIVE,
        },
    )
    .expect("it fits");
    there(
        &a,
        &b,
        One {
            value: f64::INFINITY,
        },
    )
    .expect("it fits");
    for value in [1 << 63, u64::MAX] {
        let text = there(&a, &b, One { value }).expect_err("BSON has no such number");
        for part in ["One<u64>", "value", &value.to_string()] {
            assert!(text.contains(part), "{text}");
        }
    }
    let inner = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), u64::MAX)]);
    let text = there(&a, &b, Flat { inner }).expect_err("BSON has no such number");
    assert!(
        text.contains("Flat") && text.contains(&u64::MAX.to_string()),
        "{text}"
    );
    let text = there(&a, &b, Loose::Number(u64::MAX)).expect_err("BSON has no such number");
    assert!(
        text.contains("Loose") && text.contains(&u64::MAX.to_string()),
        "{text}"
    );
    there(&a, &b, Loose::Number(5)).expect("it fits");
    there(&a, &b, Loose::Text("five".to_owned())).expect("it fits");
    let inner = BTreeMap::from([("a".to_owned(), 1)]);
    there(&a, &b, Flat { inner }).expect("it fits");
    let text = there(&a, &b, Wide { value: 5 }).expect_err("128 bits");
    assert!(text.contains("Wide") && text.contains("128"), "{text}");

    // NaN is equal to nothing, and comes all the same.
    let seen = collect(&b, "nan");
    a.emit_named("nan", f64::NAN).expect("a double");
    let Bson::Double(nan) = seen.wait_for(1)[0][0] else {
        panic!("no double came");
    };
    assert!(nan.is_nan());

    // Exact values convert between types, others do not.
    let failures = || b.stats().decode_failures;
    let seen = Seen::new();
    let list = seen.clone();
    b.on::<One<u8>>(move |e: &Received<One<u8>>| list.push(e.value));
    let passed = count(&b, "One<u8>");
    for good in [Bson::Int32(7), Bson::Int64(7), Bson::Double(7.0)] {
        a.emit_named("One<u8>", bson!({ "value": good }))
            .expect("the bus runs");
    }
    assert_eq!(seen.wait_for(3), [7, 7, 7]);
    for bad in [
        Bson::Int32(256),
        Bson::Int32(-1),
        Bson::Double(7.5),
        Bson::Double(f64::NAN),
    ] {
        a.emit_named("One<u8>", bson!({ "value": bad }))
            .expect("the bus runs");
    }
    passed.wait_for(7);
    // On a busy machine the listener may have got a queue of its own.
    eventually("four were refused", || failures() == 4);
    assert_eq!(seen.len(), 3);
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Wide {
    value: i128,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Id(String);

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
enum Colour {
    Red,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ByNumber(BTreeMap<u32, String>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ById(HashMap<Id, u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ByColour(HashMap<Colour, u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ByAddress(HashMap<IpAddr, u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ByPair(HashMap<Pair, u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ByText(HashMap<String, u8>);

/// Equal, or refused in words that name what is wrong.
#[track_caller]
fn equal_or_refused<E: NetEvent + Clone + PartialEq + Debug>(a: &Bus, b: &Bus, event: E) -> bool {
    match there(a, b, event) {
        Ok(()) => true,
        Err(text) => {
            assert!(text.contains("map key") && text.contains(E::KEY), "{text}");
            false
        }
    }
}

fn bs03_map_keys() {
    let (a, b) = pair();
    assert!(equal_or_refused(
        &a,
        &b,
        ByText(HashMap::from([("k".to_owned(), 2)]))
    ));
    let by_number = ByNumber(BTreeMap::from([(1, "a".to_owned())]));
    assert!(equal_or_refused(&a, &b, by_number), "a number is its text");
    assert!(!equal_or_refused(
        &a,
        &b,
        ByPair(HashMap::from([(Pair(1, "one".to_owned()), 3)]))
    ));
    let by_id = ById(HashMap::from([(Id("k".to_owned()), 2)]));
    assert!(equal_or_refused(&a, &b, by_id));
    let by_colour = ByColour(HashMap::from([(Colour::Red, 1)]));
    assert!(equal_or_refused(&a, &b, by_colour));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let by_address = ByAddress(HashMap::from([(address, 1)]));
    assert!(equal_or_refused(&a, &b, by_address));
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Ping;

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Count(u32);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
struct Pair(u8, String);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Cmd {
    Stop,
    Go(u8),
    At { x: i8 },
    Both(u8, u8),
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Listed(Vec<u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Nothing {}

fn bs04_payloads() {
    let (a, b) = pair();
    let named = collect(&b, "Cmd");
    there(&a, &b, Ping).expect("it fits");
    there(&a, &b, Count(5)).expect("it fits");
    there(&a, &b, Pair(1, "one".to_owned())).expect("it fits");
    there(&a, &b, Cmd::Stop).expect("it fits");
    there(&a, &b, Cmd::Go(5)).expect("it fits");
    there(&a, &b, Cmd::At { x: -1 }).expect("it fits");
    there(&a, &b, Cmd::Both(1, 2)).expect("it fits");
    there(&a, &b, Listed(vec![])).expect("it fits");
    there(&a, &b, Listed(vec![1, 2])).expect("it fits");
    there(&a, &b, Nothing {}).expect("it fits");
    let expected = [
        bson!("Stop"),
        bson!({ "Go": 5 }),
        bson!({ "At": { "x": -1 } }),
        bson!({ "Both": [1, 2] }),
    ];
    let named = named.wait_for(4);
    assert!(
        named
            .iter()
            .zip(expected)
            .all(|(args, one)| args[..] == [one]),
        "{named:?}"
    );
}

/// Emits these arguments by key, and gives what arrived.
#[track_caller]
fn heard<A: IntoArgs + Debug>(a: &Bus, seen: &Seen<Args>, arguments: A) -> Vec<Bson> {
    let before = seen.len();
    a.emit_named("x", arguments).expect("the bus runs");
    seen.wait_for(before + 1)[before].to_vec()
}

fn bs04_untyped() {
    let (a, b) = pair();
    let seen = &collect(&b, "x");
    assert_eq!(heard(&a, seen, ()), []);
    assert_eq!(heard(&a, seen, Bson::Null), [Bson::Null]);
    assert_eq!(heard(&a, seen, 5), [Bson::Int32(5)]);
    assert_eq!(heard(&a, seen, 1_i64 << 40), [Bson::Int64(1 << 40)]);
    assert_eq!(heard(&a, seen, 5_i64), [Bson::Int32(5)]);
    assert_eq!(heard(&a, seen, Bson::Int64(5)), [Bson::Int64(5)]);
    assert_eq!(heard(&a, seen, "hi"), [bson!("hi")]);
    assert_eq!(heard(&a, seen, String::from("hi")), [bson!("hi")]);
    assert_eq!(heard(&a, seen, true), [bson!(true)]);
    assert_eq!(heard(&a, seen, bson!([])), [bson!([])]);
    assert_eq!(heard(&a, seen, bson!([1, [2]])), [bson!([1, [2]])]);
    assert_eq!(heard(&a, seen, bson!({})), [bson!({})]);
    assert_eq!(heard(&a, seen, bson::doc! { "a": 1 }), [bson!({ "a": 1 })]);
    assert_eq!(heard(&a, seen, Vec::<Bson>::new()), []);
    assert_eq!(
        heard(&a, seen, vec![bson!(1), Bson::Null]),
        [bson!(1), Bson::Null]
    );
    assert_eq!(heard(&a, seen, (vec![1, 2],)), [bson!([1, 2])]);
    assert_eq!(
        heard(&a, seen, (1, "two", 3.0)),
        [bson!(1), bson!("two"), bson!(3.0)]
    );
    let twelve = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    assert_eq!(
        heard(&a, seen, twelve),
        (1..=12).map(Bson::Int32).collect::<Vec<_>>()
    );
    assert_eq!(heard(&a, seen, args![]), []);
    assert_eq!(
        heard(&a, seen, args![1, Bson::Null]),
        [bson!(1), Bson::Null]
    );
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Maybe {
    simple: Option<u8>,
    #[serde(default)]
    absent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Twice {
    nested: Option<Option<u8>>,
    unit: Option<()>,
}

fn bs04_nested_options() {
    let (a, b) = pair();
    for simple in [None, Some(1)] {
        let maybe = Maybe {
            simple,
            absent: None,
            skipped: None,
        };
        there(&a, &b, maybe).expect("it fits");
    }
    // BSON has one null: what it cannot tell apart comes as the outermost none, as the manual
    // says; everything else comes equal.
    let seen = Seen::new();
    let list = seen.clone();
    b.on::<Twice>(move |e: &Received<Twice>| list.push((e.nested, e.unit)));
    for (nested, unit) in [(None, None), (Some(None), Some(())), (Some(Some(1)), None)] {
        a.emit(Twice { nested, unit }).expect("it fits");
    }
    let seen = seen.wait_for(3);
    assert_eq!(seen, [(None, None), (None, None), (Some(Some(1)), None)]);
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Plain(Vec<u8>);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Compact(#[serde(with = "serde_bytes")] Vec<u8>);

fn bs08_bytes() {
    let group = Group::unused();
    let b = started(gives_up_soon(group));
    let bytes = vec![200_u8; 100_000];
    let (compact, plain) = (Seen::new(), Seen::new());
    let list = compact.clone();
    b.on::<Compact>(move |e: &Received<Compact>| list.push((**e).clone()));
    let list = plain.clone();
    b.on::<Plain>(move |e: &Received<Plain>| list.push((**e).clone()));

    let a = bus(group);
    emit_whole(
        || compact.len(),
        || {
            a.emit(Compact(bytes.clone())).expect("it fits");
        },
    );
    assert_eq!(compact.all(), [Compact(bytes.clone())]);
    block_on(a.stop()).expect("it stops, when all has gone out");
    let datagrams = a.stats().datagrams_sent;
    assert!((90..=125).contains(&datagrams), "{datagrams} datagrams");

    // Ten times as much; in large datagrams, so that they are not so many.
    let wide = started(builder(group).max_payload_size(16_000));
    emit_whole(
        || plain.len(),
        || {
            wide.emit(Plain(bytes.clone())).expect("it fits");
        },
    );
    assert_eq!(plain.all(), [Plain(bytes)]);
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Kept {
    any: Bson,
    date: bson::DateTime,
    id: bson::oid::ObjectId,
    decimal: bson::Decimal128,
    binary: bson::Binary,
    regex: bson::Regex,
    timestamp: bson::Timestamp,
    document: bson::Document,
}

fn bson_types_in_a_typed_event() {
    let (a, b) = pair();
    let named = collect(&b, "Kept");
    let types = craft::every_type();
    let get = |wanted: fn(&Bson) -> bool| types.iter().find(|one| wanted(one)).cloned();
    let kept = Kept {
        any: Bson::Int64(1),
        date: bson::DateTime::from_millis(1_764_049_423_172),
        id: bson::oid::ObjectId::from_bytes([7; 12]),
        decimal: "1.5".parse().expect("a decimal"),
        binary: bson::Binary {
            subtype: bson::spec::BinarySubtype::UserDefined(0x81),
            bytes: vec![1, 2],
        },
        regex: match get(|one| matches!(one, Bson::RegularExpression(_))) {
            Some(Bson::RegularExpression(regex)) => regex,
            _ => unreachable!("one of them is"),
        },
        timestamp: bson::Timestamp {
            time: 1,
            increment: 2,
        },
        document: bson::doc! { "z": 1_i64, "a": Bson::Null },
    };
    there(&a, &b, kept.clone()).expect("it fits");
    let named = named.wait_for(1);
    let expected = bson!({
        "any": Bson::Int64(1),
        "date": kept.date,
        "id": kept.id,
        "decimal": Bson::Decimal128(kept.decimal),
        "binary": Bson::Binary(kept.binary),
        "regex": Bson::RegularExpression(kept.regex),
        "timestamp": Bson::Timestamp(kept.timestamp),
        "document": kept.document,
    });
    assert_eq!(named[0][..], [expected]);
}

fn by_name() {
    let (a, b) = pair();
    let seen = collect(&b, "x");
    a.emit_named("x", craft::every_type())
        .expect("the bus runs");
    assert_eq!(seen.wait_for(1)[0][..], craft::every_type()[..]);

    // And they can be read as serde types.
    let read = Seen::new();
    let list = read.clone();
    let failures = Seen::new();
    let failed = failures.clone();
    b.on_notice(move |notice: &Notice| failed.push(notice.to_string()));
    b.on_named("y", move |e: &Received<Args>| {
        list.push(
            e.decode::<(u8, String, Option<f64>)>()
                .map_err(|error| error.to_string()),
        );
    });
    a.emit_named("y", (1, "two", 3)).expect("the bus runs");
    a.emit_named("y", (1, "two", Bson::Null))
        .expect("the bus runs");
    a.emit_named("y", (300, "two", 3)).expect("the bus runs");
    let read = read.wait_for(3);
    assert_eq!(read[0], Ok((1, "two".to_owned(), Some(3.0))));
    assert_eq!(read[1], Ok((1, "two".to_owned(), None)));
    assert!(
        read[2].as_ref().expect_err("no u8").contains("300"),
        "{read:?}"
    );
}
