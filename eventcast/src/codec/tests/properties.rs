//! What holds for arbitrary values and bytes.

use std::collections::BTreeMap;

use bson::error::ErrorKind;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocument, Regex,
    Timestamp,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
enum Choice {
    Unit,
    Newtype(Option<i64>),
    Tuple(bool, String),
    Struct { x: i16, list: Vec<u32> },
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Numbers {
    a: i8,
    b: u16,
    c: i32,
    d: u32,
    e: i64,
    f: u64,
    g: f32,
    h: f64,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Event {
    numbers: Vec<Numbers>,
    text: String,
    char: char,
    choices: Vec<Choice>,
    map: BTreeMap<String, Option<Choice>>,
    tuple: (u8, (), String),
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    value: Bson,
    document: Document,
    date: DateTime,
    id: Option<ObjectId>,
}

fn key() -> impl Strategy<Value = String> {
    // Without the keys of extended JSON, which the bson crate reads as types.
    "[^\0$]{0,12}"
}

fn bson_leaf() -> impl Strategy<Value = Bson> {
    prop_oneof![
        any::<f64>()
            .prop_filter("comparable", |f| !f.is_nan())
            .prop_map(Bson::Double),
        any::<String>().prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        Just(Bson::Null),
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        (-100_i64..100).prop_map(Bson::Int64),
        any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(ObjectId::from_bytes(id))),
        any::<i64>().prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis))),
        any::<[u8; 16]>().prop_map(|bytes| Bson::Decimal128(Decimal128::from_bytes(bytes))),
        (any::<u32>(), any::<u32>())
            .prop_map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment })),
        (any::<u8>(), vec(any::<u8>(), 0..20)).prop_map(|(subtype, bytes)| {
            Bson::Binary(Binary {
                subtype: BinarySubtype::from(subtype),
                bytes,
            })
        }),
        ("[^\0]{0,8}", prop_oneof!["", "i", "imsx"]).prop_map(|(pattern, options)| {
            Bson::RegularExpression(Regex {
                pattern: pattern.try_into().unwrap(),
                options: options.try_into().unwrap(),
            })
        }),
        any::<String>().prop_map(Bson::JavaScriptCode),
        any::<String>().prop_map(Bson::Symbol),
        Just(Bson::Undefined),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
    ]
}

fn bson() -> impl Strategy<Value = Bson> {
    bson_leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Bson::Array),
            document_of(inner.clone()).prop_map(Bson::Document),
            (any::<String>(), document_of(inner)).prop_map(|(code, scope)| {
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope })
            }),
        ]
    })
}

fn document_of(value: impl Strategy<Value = Bson>) -> impl Strategy<Value = Document> {
    btree_map(key(), value, 0..5).prop_map(|entries| entries.into_iter().collect())
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Unit),
        any::<Option<i64>>().prop_map(Choice::Newtype),
        any::<(bool, String)>().prop_map(|(a, b)| Choice::Tuple(a, b)),
        (any::<i16>(), vec(any::<u32>(), 0..15)).prop_map(|(x, list)| Choice::Struct { x, list }),
    ]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    (
        any::<(i8, u16, i32, u32, i64)>(),
        0..=i64::MAX as u64,
        any::<f32>().prop_filter("comparable", |f| !f.is_nan()),
        any::<f64>().prop_filter("comparable", |f| !f.is_nan()),
    )
        .prop_map(|((a, b, c, d, e), f, g, h)| Numbers {
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
        })
}

fn event() -> impl Strategy<Value = Event> {
    let first = (
        vec(numbers(), 0..3),
        any::<String>(),
        any::<char>(),
        vec(choice(), 0..12),
        btree_map(key(), proptest::option::of(choice()), 0..6),
        any::<(u8, (), String)>(),
    );
    let second = (
        vec(any::<u8>(), 0..50),
        bson(),
        document_of(bson()),
        any::<i64>(),
        any::<Option<[u8; 12]>>(),
    );
    (first, second).prop_map(|(first, second)| {
        let (numbers, text, char, choices, map, tuple) = first;
        let (bytes, value, document, millis, id) = second;
        Event {
            numbers,
            text,
            char,
            choices,
            map,
            tuple,
            bytes,
            value,
            document,
            date: DateTime::from_millis(millis),
            id: id.map(ObjectId::from_bytes),
        }
    })
}

/// The same but for the width of integers.
fn narrowed(value: Bson) -> Bson {
    match value {
        Bson::Int64(wide) => i32::try_from(wide).map_or(Bson::Int64(wide), Bson::Int32),
        Bson::Array(items) => Bson::Array(items.into_iter().map(narrowed).collect()),
        Bson::Document(document) => Bson::Document(
            document
                .into_iter()
                .map(|(key, value)| (key, narrowed(value)))
                .collect(),
        ),
        other => other,
    }
}

fn parsed(bytes: &[u8]) -> Document {
    RawDocument::from_bytes(bytes).unwrap().try_into().unwrap()
}

/// Everything that reads bytes, on bytes that may be anything. What passes the check must decode.
fn read_all(bytes: &[u8]) {
    let checked = check_document(bytes).is_ok();
    let Ok(args) = RawArgs::from_payload(bytes) else {
        return;
    };
    let values = Args::from_raw(args);
    let _ = decode_args::<Event>(args);
    let _ = decode_event::<Event>(args, ShapeKind::Named);
    let _ = decode_args::<Vec<Bson>>(args);
    let _ = decode_args::<Vec<bson::RawBson>>(args);
    let _ = decode_args::<BTreeMap<String, Vec<Choice>>>(args);
    let _ = decode_args::<(f32, Option<i8>, serde::de::IgnoredAny)>(args);
    if checked {
        let values = values.expect("what was checked can be read");
        assert_eq!(values.len(), args.len());
        // What was read can be written, and is then the same.
        let mut again = Vec::new();
        values.encode_args(&mut again).unwrap();
        assert_eq!(check_document(&again), Ok(()));
        let read = Args::from_raw(RawArgs::from_payload(&again).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{values:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn untyped_arguments_come_back(values in vec(bson(), 0..6)) {
        let args = Args::from(values.clone());
        let bytes = event_of(&args);
        let read = Args::from_raw(RawArgs::from_payload(&bytes).unwrap()).unwrap();
        prop_assert_eq!(&read, &args);
        // To the byte as the referee writes them.
        let mut document = Document::new();
        document.insert("payload", values);
        prop_assert_eq!(bytes, document.to_vec().unwrap());
    }

    #[test]
    fn a_typed_bson_comes_back(value in bson()) {
        prop_assert_eq!(args_of(&value, ShapeKind::Newtype), args![value.clone()]);
        prop_assert_eq!(round_trip(&value, ShapeKind::Newtype), value);
    }

    #[test]
    fn typed_events_come_back_and_the_referee_agrees(event in event()) {
        #[derive(Serialize, Deserialize)]
        struct Payload {
            payload: (Event,),
        }
        let ours = encoded(&event, ShapeKind::Named);
        prop_assert_eq!(&decoded::<Event>(&ours, ShapeKind::Named).unwrap(), &event);

        let payload = Payload { payload: (event.clone(),) };
        let theirs = bson::serialize_to_vec(&payload).unwrap();
        prop_assert_eq!(
            narrowed(parsed(&ours).into()),
            narrowed(parsed(&theirs).into())
        );
        prop_assert_eq!(&decoded::<Event>(&theirs, ShapeKind::Named).unwrap(), &event);
        let read: Payload = bson::deserialize_from_slice(&ours).unwrap();
        prop_assert_eq!(read.payload.0, event);
    }

    #[test]
    fn integers_come_back_or_are_refused(value in any::<i64>(), double in any::<f64>()) {
        prop_assert_eq!(from_arg::<i64>(value), Ok(value));
        prop_assert_eq!(from_arg::<u64>(value).ok(), u64::try_from(value).ok());
        prop_assert_eq!(from_arg::<i16>(value).ok(), i16::try_from(value).ok());
        if let Ok(read) = from_arg::<f64>(value) {
            prop_assert_eq!(read as i128, i128::from(value));
        }
        if let Ok(read) = from_arg::<i64>(double) {
            prop_assert_eq!(read as f64, double);
        } else {
            prop_assert!(double.trunc() != double || double.abs() >= 9.2e18);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..150)) {
        read_all(&bytes);
        let mut payload = (bytes.len() as i32 + 14).to_le_bytes().to_vec();
        payload.extend(b"\x04payload\0");
        payload.extend(bytes);
        payload.push(0);
        read_all(&payload);
    }

    #[test]
    fn mutated_events_are_survived(
        event in event(),
        changes in vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = encoded(&event, ShapeKind::Named);
        read_all(&bytes);
        for (index, byte, kind) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte & 7),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, byte),
            }
            read_all(&bytes);
        }
        // With the outer length set right, more gets past the first look.
        let length = bytes.len() as i32;
        if let Some(declared) = bytes.get_mut(..4) {
            declared.copy_from_slice(&length.to_le_bytes());
        }
        read_all(&bytes);
    }

    /// Single changed bytes of a small event often pass the check: every one of them is tried.
    #[test]
    fn changed_bytes_of_a_small_event(values in vec(bson_leaf(), 1..3), byte in any::<u8>()) {
        let bytes = event_of(&Args::from(values));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] = byte;
            read_all(&changed);
            if check_document(&changed).is_err() {
                continue;
            }
            // The referee can read it as well, but for names in arrays that are not UTF-8.
            let raw = RawDocument::from_bytes(&changed).unwrap();
            if let Err(error) = Document::try_from(raw) {
                prop_assert!(matches!(error.kind, ErrorKind::Utf8Encoding { .. }), "{}", error);
            }
        }
    }
}
