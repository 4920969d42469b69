//! BSON's own types inside typed events, and the bson crate as the referee.

use std::{borrow::Cow, rc::Rc, sync::Arc};

use bson::oid::ObjectId;
use bson::serde_helpers::HumanReadable;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, DbPointer, Decimal128, Document, JavaScriptCodeWithScope, RawArrayBuf,
    RawBson, RawDocumentBuf, Regex, Timestamp, Uuid, doc, rawdoc,
};
use serde::{Deserialize, Serialize};

use super::*;

fn pointer() -> DbPointer {
    let mut element = b"\x0Cp\0\x03\0\0\0db\0".to_vec();
    element.extend([7; 12]);
    let mut bytes = (element.len() as i32 + 5).to_le_bytes().to_vec();
    bytes.extend(element);
    bytes.push(0);
    match Document::from_reader(&bytes[..]).unwrap().remove("p") {
        Some(Bson::DbPointer(pointer)) => pointer,
        other => panic!("{other:?}"),
    }
}

fn regex(pattern: &str, options: &str) -> Regex {
    Regex {
        pattern: pattern.to_owned().try_into().unwrap(),
        options: options.to_owned().try_into().unwrap(),
    }
}

/// A value of every type, twice where there are two ways.
pub(super) fn every_type() -> Vec<Bson> {
    let code = JavaScriptCodeWithScope {
        code: "f(x)".into(),
        scope: doc! { "x": 1_i64, "y": { "z": [Bson::MinKey] } },
    };
    let binary = |subtype: u8, bytes: &[u8]| {
        Bson::Binary(Binary {
            subtype: BinarySubtype::from(subtype),
            bytes: bytes.to_vec(),
        })
    };
    vec![
        Bson::Double(-0.5),
        Bson::String("a\0b ü".into()),
        Bson::Document(doc! { "a": 1, "b": 2_i64, "": "empty key" }),
        Bson::Array(vec![Bson::Int64(1), Bson::Int32(2), Bson::Null]),
        binary(0, b"generic"),
        binary(2, b"old"),
        binary(4, &[9; 16]),
        binary(0x90, b""),
        Bson::Undefined,
        Bson::ObjectId(ObjectId::from_bytes([0xAB; 12])),
        Bson::Boolean(true),
        Bson::DateTime(DateTime::from_millis(-1)),
        Bson::DateTime(DateTime::MAX),
        Bson::Null,
        Bson::RegularExpression(regex("^a+/\"", "imx")),
        Bson::DbPointer(pointer()),
        Bson::JavaScriptCode("g()".into()),
        Bson::Symbol("sym".into()),
        Bson::JavaScriptCodeWithScope(code),
        Bson::Int32(i32::MIN),
        Bson::Timestamp(Timestamp {
            time: u32::MAX,
            increment: 7,
        }),
        Bson::Int64(5),
        Bson::Int64(i64::MAX),
        Bson::Decimal128("-1.50E+10".parse().unwrap()),
        Bson::MaxKey,
        Bson::MinKey,
    ]
}

#[test]
fn a_bson_keeps_its_type_in_a_typed_event() {
    for value in every_type() {
        let expected = args![value.clone()];
        assert_eq!(args_of(&value, ShapeKind::Newtype), expected);
        assert_eq!(round_trip(&value, ShapeKind::Newtype), value);
    }
    let all = every_type();
    assert_eq!(args_of(&all, ShapeKind::Tuple(all.len())).into_vec(), all);
    assert_eq!(round_trip(&all, ShapeKind::Newtype), all);
}

#[test]
fn the_referee_writes_the_same() {
    #[derive(Serialize)]
    struct Payload {
        payload: Vec<Bson>,
    }
    let payload = every_type();
    let ours = encoded(&payload, ShapeKind::Tuple(payload.len()));
    let by_hand = doc! { "payload": payload.clone() }.to_vec().unwrap();
    assert_eq!(ours, by_hand);
    assert_eq!(
        bson::serialize_to_vec(&Payload { payload }).unwrap(),
        by_hand
    );
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Types {
    id: ObjectId,
    date: DateTime,
    decimal: Decimal128,
    generic: Binary,
    other: Binary,
    old: Binary,
    regex: Regex,
    timestamp: Timestamp,
    code: JavaScriptCodeWithScope,
    pointer: DbPointer,
    uuid: Uuid,
    bson: Bson,
    document: Document,
    raw_document: RawDocumentBuf,
    raw_array: RawArrayBuf,
    raw_bson: RawBson,
    raw_id: RawBson,
    maybe: Option<ObjectId>,
    dates: Vec<DateTime>,
}

fn types() -> Types {
    let mut raw_array = RawArrayBuf::new();
    raw_array.push(1_i64);
    raw_array.push(rawdoc! { "x": 2_i64 });
    Types {
        id: ObjectId::from_bytes([1; 12]),
        date: DateTime::from_millis(1_700_000_000_123),
        decimal: "3.14".parse().unwrap(),
        generic: Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![1],
        },
        other: Binary {
            subtype: BinarySubtype::UserDefined(0x81),
            bytes: vec![2; 100],
        },
        old: Binary {
            subtype: BinarySubtype::BinaryOld,
            bytes: vec![3],
        },
        regex: regex("p", "is"),
        timestamp: Timestamp {
            time: 1,
            increment: u32::MAX,
        },
        code: JavaScriptCodeWithScope {
            code: "c".into(),
            scope: doc! { "n": 1_i64 },
        },
        pointer: pointer(),
        uuid: Uuid::from_bytes([5; 16]),
        bson: Bson::Int64(1),
        document: doc! { "n": 1_i64, "d": DateTime::from_millis(0) },
        raw_document: rawdoc! { "n": 1_i64, "id": ObjectId::from_bytes([2; 12]) },
        raw_array,
        raw_bson: RawBson::Int64(1),
        raw_id: RawBson::ObjectId(ObjectId::from_bytes([3; 12])),
        maybe: Some(ObjectId::from_bytes([4; 12])),
        dates: vec![DateTime::MIN, DateTime::MAX],
    }
}

#[test]
fn the_types_of_the_bson_crate_are_kept() {
    let types = types();
    assert_eq!(round_trip(&types, ShapeKind::Named), types);
    // To the byte what the crate writes: every integer in there has a width of its own.
    let mut expected = rawdoc! {};
    let mut payload = RawArrayBuf::new();
    payload.push(bson::serialize_to_raw_document_buf(&types).unwrap());
    expected.append(bson::raw::cstr!("payload"), payload);
    assert_eq!(encoded(&types, ShapeKind::Named), expected.into_bytes());
}

#[test]
fn the_crate_reads_what_we_write_and_we_what_it_writes() {
    let types = types();
    let bytes = encoded(&types, ShapeKind::Named);
    #[derive(Serialize, Deserialize)]
    struct Payload {
        payload: (Types,),
    }
    let read: Payload = bson::deserialize_from_slice(&bytes).unwrap();
    assert_eq!(read.payload.0, types);
    let written = bson::serialize_to_vec(&Payload {
        payload: (types.clone(),),
    })
    .unwrap();
    assert_eq!(decoded(&written, ShapeKind::Named), Ok(types));
}

#[test]
fn a_bson_keeps_the_width_of_its_integers_wherever_its_type_is_seen() {
    let five = Bson::Int64(5);
    #[derive(Serialize)]
    struct Places<'a> {
        field: Bson,
        reference: &'a Bson,
        boxed: Box<Bson>,
        cow: Cow<'a, Bson>,
        some: Option<Bson>,
        list: Vec<Bson>,
        tuple: (Bson, i64),
        document: Document,
        raw: RawBson,
        newtype: Newtype,
    }
    #[derive(Serialize)]
    struct Newtype(Bson);
    let places = Places {
        field: five.clone(),
        reference: &five,
        boxed: Box::new(five.clone()),
        cow: Cow::Borrowed(&five),
        some: Some(five.clone()),
        list: vec![five.clone()],
        tuple: (five.clone(), 5),
        document: doc! { "n": five.clone() },
        raw: RawBson::Int64(5),
        newtype: Newtype(five.clone()),
    };
    let expected = doc! {
        "field": 5_i64, "reference": 5_i64, "boxed": 5_i64, "cow": 5_i64, "some": 5_i64,
        "list": [5_i64], "tuple": [5_i64, 5_i32], "document": { "n": 5_i64 }, "raw": 5_i64,
        "newtype": 5_i64,
    };
    assert_eq!(args_of(&places, ShapeKind::Named), args![expected]);
    // serde's feature `rc` is the user's to turn on; the element alone shows the same.
    fn rc_are_seen<T: ?Sized + 'static>() {}
    rc_are_seen::<(Rc<Bson>, Arc<Bson>)>();
}

#[test]
fn a_bson_whose_type_is_hidden_is_narrowed() {
    // Named in the module's documentation.
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Hidden(Bson);
    #[derive(Serialize)]
    struct Outer {
        hidden: Hidden,
    }
    let outer = Outer {
        hidden: Hidden(Bson::Int64(5)),
    };
    assert_eq!(
        args_of(&outer, ShapeKind::Named),
        args![doc! { "hidden": 5_i32 }]
    );
}

#[test]
fn a_document_with_extended_keys_is_kept_by_args_alone() {
    // Named in the module's documentation.
    let document = doc! { "$oid": "0102030405060708090a0b0c" };
    let event = event_of(&args![document.clone()]);
    let args = Args::from_raw(RawArgs::from_payload(&event).unwrap()).unwrap();
    assert_eq!(args, args![document]);
    let typed: Bson = decoded(&event, ShapeKind::Newtype).unwrap();
    assert!(matches!(typed, Bson::ObjectId(_)));
}

#[test]
fn the_readable_form_on_request() {
    let address: std::net::IpAddr = "127.0.0.1".parse().unwrap();
    assert_eq!(
        args_of(&HumanReadable(address), ShapeKind::Newtype),
        args!["127.0.0.1"]
    );
    let back: HumanReadable<std::net::IpAddr> =
        round_trip(&HumanReadable(address), ShapeKind::Newtype);
    assert_eq!(back.0, address);
    let types = HumanReadable(types());
    assert_eq!(round_trip(&types, ShapeKind::Named).0, types.0);
}

#[test]
fn types_do_not_stand_in_for_each_other() {
    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(default)]
    struct AllDefault {
        a: u8,
    }
    for value in every_type() {
        if !matches!(value, Bson::Document(_)) {
            assert!(from_arg::<AllDefault>(value.clone()).is_err(), "{value:?}");
            assert!(from_arg::<Document>(value.clone()).is_err(), "{value:?}");
            assert!(
                from_arg::<RawDocumentBuf>(value.clone()).is_err(),
                "{value:?}"
            );
            let map = from_arg::<std::collections::BTreeMap<String, Bson>>(value.clone());
            assert!(map.is_err(), "{value:?}");
        }
        if !matches!(value, Bson::DateTime(_)) {
            assert!(from_arg::<DateTime>(value.clone()).is_err(), "{value:?}");
        }
        if !matches!(value, Bson::Array(_)) {
            assert!(from_arg::<RawArrayBuf>(value.clone()).is_err(), "{value:?}");
        }
    }
    let old_uuid = Binary {
        subtype: BinarySubtype::UuidOld,
        bytes: vec![0; 16],
    };
    assert_eq!(
        from_arg::<Uuid>(old_uuid).unwrap_err().to_string(),
        "expected a UUID (a binary of subtype 4), found a binary"
    );
}

#[test]
fn options_of_a_regular_expression_come_in_any_order() {
    let mut event = event_of(&args![regex("p", "imx")]);
    let at = event.windows(3).position(|three| three == b"imx").unwrap();
    event[at..at + 3].copy_from_slice(b"xim");
    let args = Args::from_raw(RawArgs::from_payload(&event).unwrap()).unwrap();
    assert_eq!(args, args![regex("p", "imx")]);
    assert_eq!(decoded(&event, ShapeKind::Newtype), Ok(regex("p", "imx")));
    let unordered = regex("p", "xim");
    assert_eq!(
        args_of(&unordered, ShapeKind::Newtype),
        args![regex("p", "imx")]
    );
    assert_eq!(
        Args::from_raw(RawArgs::from_payload(&event_of(&args![unordered])).unwrap()).unwrap(),
        args![regex("p", "imx")]
    );
}
