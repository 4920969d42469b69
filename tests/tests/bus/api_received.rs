//! What a listener is handed: taken apart, converted, compared, and written as JSON.

use std::sync::Arc;

use eventcast::{
    Args, NetEvent, Received, ReceivedParts, args,
    bson::{
        self, Binary, Bson, DateTime, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc,
        oid::ObjectId, spec::BinarySubtype,
    },
    to_bson,
};
use eventcast_tests::{
    runner::Case,
    wait::{block_on, eventually},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::common::pair;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("api::received_is_taken_apart_and_converted", taken_apart),
        Case::new("api::origins_are_compared_and_name_the_peer", origins),
        Case::new("api::received_as_json", received_as_json),
        Case::new("api::args_as_relaxed_extended_json", args_as_json),
        Case::new(
            "api::args_in_an_event_keep_their_types",
            args_keep_their_types,
        ),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Shifted {
    x: f64,
    y: f64,
}

/// An event as another bus hears it, and as the one that sent it does.
fn heard() -> (Received<Shifted>, Received<Shifted>) {
    let (a, b) = pair();
    let (local, remote) = (a.wait_for::<Shifted>(), b.wait_for::<Shifted>());
    a.emit(Shifted { x: 1.5, y: -2.0 }).expect("it runs");
    let heard = (block_on(remote), block_on(local));
    (heard.0.expect("it comes"), heard.1.expect("it comes"))
}

fn taken_apart() {
    let (received, _) = heard();
    assert_eq!(received.key(), "Shifted");
    assert_eq!(*received.event(), Shifted { x: 1.5, y: -2.0 });
    // Of a `Received`, not of what it derefs to.
    let copy: Received<Shifted> = received.clone();
    let ReceivedParts {
        event, key, origin, ..
    } = copy.into_parts();
    assert_eq!((&event, &*key), (received.event(), "Shifted"));
    assert_eq!(&origin, received.origin());

    let converted: Received<(f64, f64)> = received.map(|moved| (moved.x, moved.y));
    assert_eq!(*converted, (1.5, -2.0));
    assert_eq!((converted.key(), converted.origin()), ("Shifted", &origin));
    assert_eq!(converted.into_inner(), (1.5, -2.0));
}

fn origins() {
    let (a, b) = pair();
    let mut stream = b.subscribe::<Shifted>();
    for x in [1.0, 2.0] {
        a.emit(Shifted { x, y: 0.0 }).expect("it runs");
    }
    let mut next = || block_on(stream.next()).expect("it comes").origin().clone();
    let (one, other) = (next(), next());
    assert_eq!(one, one.clone());
    assert_ne!(one, other, "their numbers differ");
    assert_eq!(one.peer(), other.peer());
    assert_eq!(one.peer().id, a.id());
    let mut statuses = Vec::new();
    eventually("it has said hello", || {
        statuses = b.peers();
        !statuses.is_empty()
    });
    assert_eq!(&statuses[0].peer, one.peer());
}

fn received_as_json() {
    let (remote, local) = heard();
    let origin = remote.origin().clone();
    let json = serde_json::to_value(&remote).expect("it has a form");
    let time = json["origin"]["time"].as_str().expect("it was sent");
    assert_eq!(
        DateTime::parse_rfc3339_str(time).expect("RFC 3339"),
        DateTime::from_system_time(origin.time().expect("it was sent")),
    );
    assert_eq!(
        json,
        json!({
            "key": "Shifted",
            "origin": {
                "id": origin.id(),
                "incarnation": origin.incarnation(),
                "hostname": origin.hostname(),
                "host": origin.host(),
                "address": origin.address().to_string(),
                "time": time,
                "number": origin.number(),
                "local": false,
                "sealed": false,
            },
            "event": { "x": 1.5, "y": -2.0 },
        })
    );
    let json = serde_json::to_value(local).expect("it has a form");
    assert_eq!(json["origin"]["local"], true);
}

/// One of every type that has a value.
fn values() -> Vec<Bson> {
    let binary = |subtype| {
        Bson::Binary(Binary {
            subtype,
            bytes: vec![0, 1, 254],
        })
    };
    vec![
        Bson::Double(0.5),
        Bson::Double(f64::INFINITY),
        Bson::Double(f64::NEG_INFINITY),
        Bson::String("text".into()),
        Bson::Array(vec![Bson::Double(f64::INFINITY), Bson::Int32(1)]),
        Bson::Document(doc! { "date": DateTime::from_millis(1), "in": { "it": Bson::MinKey } }),
        Bson::Boolean(true),
        Bson::Null,
        Bson::RegularExpression(Regex {
            pattern: "a.*".to_owned().try_into().expect("no zero"),
            options: "im".to_owned().try_into().expect("no zero"),
        }),
        Bson::JavaScriptCode("f()".into()),
        Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
            code: "f()".into(),
            scope: doc! { "date": DateTime::from_millis(1) },
        }),
        Bson::Int32(7),
        Bson::Int64(1 << 40),
        Bson::Timestamp(Timestamp {
            time: 1,
            increment: 2,
        }),
        binary(BinarySubtype::Generic),
        binary(BinarySubtype::Uuid),
        Bson::ObjectId(ObjectId::from_bytes([7; 12])),
        Bson::DateTime(DateTime::from_millis(1_700_000_000_123)),
        Bson::DateTime(DateTime::from_millis(-1)),
        Bson::Symbol("symbol".into()),
        Bson::Decimal128("12.34".parse::<Decimal128>().expect("a decimal")),
        Bson::Undefined,
        Bson::MaxKey,
        Bson::MinKey,
    ]
}

/// The bson crate is the referee, but for years of five digits, which it cuts to 9999.
fn args_as_json() {
    for value in values() {
        let relaxed = value.clone().into_relaxed_extjson();
        let args = Args::from(vec![value]);
        let written = serde_json::to_value(&args).expect("it has a form");
        assert_eq!(written, Value::Array(vec![relaxed]));
    }
    let not_a_number = serde_json::to_value(args![f64::NAN]).expect("it has a form");
    assert_eq!(not_a_number, json!([{ "$numberDouble": "NaN" }]));

    let year_10_000 = args![DateTime::from_millis(253_402_300_800_000)];
    assert_eq!(
        serde_json::to_value(year_10_000).expect("it has a form"),
        json!([{ "$date": { "$numberLong": "253402300800000" } }])
    );

    let (a, b) = pair();
    let heard = b.wait_for_named("x");
    a.emit_named("x", Args::from(values())).expect("it runs");
    let heard = block_on(heard).expect("it comes");
    let json = serde_json::to_value(&heard).expect("it has a form");
    assert_eq!(json["event"].as_array().map(Vec::len), Some(values().len()));
    assert_eq!(json["key"], "x");
}

fn args_keep_their_types() {
    let inside = to_bson(&Args::from(values())).expect("BSON has all of them");
    assert_eq!(inside, to_bson(&values()).expect("BSON has all of them"));
    assert_eq!(inside, Bson::Array(values()));
    let Ok(Bson::Array(not_a_number)) = to_bson(&args![f64::NAN]) else {
        panic!("it is a list");
    };
    assert!(matches!(not_a_number[..], [Bson::Double(n)] if n.is_nan()));
    let shared = Arc::new(args!["x"]);
    assert_eq!(to_bson(&*shared).expect("a list"), bson::bson!(["x"]));
}
