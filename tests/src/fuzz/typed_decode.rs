//! From a payload document to Rust types, and back.

use std::collections::BTreeMap;

use bson::{Bson, Document};
use eventcast::{
    Args, EncodeError, EncodeErrorKind, IntoArgs, NetEvent, ShapeKind,
    codec::{RawArgs, check_document, decode_args, decode_event, encode_event},
};
use serde::{Deserialize, Serialize};

use super::MAX_INPUT;

const ARRAY: u8 = 0x04;

#[derive(NetEvent, Serialize, Deserialize, Default)]
#[net_event(name = "fuzz.numbers")]
#[serde(default)]
struct Numbers {
    a: u8,
    b: i16,
    c: u32,
    d: i64,
    e: u64,
    f: f32,
    g: f64,
    h: bool,
    i: Option<i32>,
    j: char,
}

#[derive(NetEvent, Serialize, Deserialize, Default)]
#[net_event(name = "fuzz.texts")]
#[serde(default)]
struct Texts {
    name: String,
    list: Vec<String>,
    map: BTreeMap<String, i64>,
    by_number: BTreeMap<u16, f64>,
    pair: (u8, String),
    three: [i32; 3],
    bytes: Vec<u8>,
    tree: Option<Box<Tree>>,
    choice: Option<Choice>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Tree {
    value: i32,
    inside: Vec<Self>,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.choice")]
enum Choice {
    Nothing,
    One(i32),
    Two(String, f64),
    Named { x: i64, y: Option<Box<Self>> },
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.own_types")]
struct OwnTypes {
    id: Option<bson::oid::ObjectId>,
    date: Option<bson::DateTime>,
    decimal: Option<bson::Decimal128>,
    binary: Option<bson::Binary>,
    regex: Option<bson::Regex>,
    stamp: Option<bson::Timestamp>,
    scope: Option<bson::JavaScriptCodeWithScope>,
    pointer: Option<bson::DbPointer>,
    document: Option<Document>,
    #[serde(flatten)]
    others: BTreeMap<String, Bson>,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.said")]
struct Said(String);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.moved")]
struct Moved(f64, i32, #[serde(default)] Option<String>);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.ping")]
struct Ping;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fuzz.endless")]
struct Endless(Option<Box<Self>>);

/// Decodes a payload document into several types.
///
/// None panics, whether or not the document passes the check. What is decoded encodes again, and
/// that decodes to what encodes to the same bytes.
pub fn typed_decode(bytes: &[u8]) {
    if bytes.len() > MAX_INPUT {
        return;
    }
    let Ok(args) = RawArgs::from_payload(bytes) else {
        return;
    };
    let is_checked = check_document(bytes).is_ok();
    there_and_back::<Numbers>(args, is_checked);
    there_and_back::<Texts>(args, is_checked);
    there_and_back::<Choice>(args, is_checked);
    there_and_back::<OwnTypes>(args, is_checked);
    there_and_back::<Said>(args, is_checked);
    there_and_back::<Moved>(args, is_checked);
    there_and_back::<Ping>(args, is_checked);
    there_and_back::<Endless>(args, is_checked);
    let _ = decode_args::<Bson>(args);
    let _ = decode_args::<Vec<Bson>>(args);
    let _ = decode_args::<Vec<serde::de::IgnoredAny>>(args);
    let _ = decode_args::<(Option<bson::RawDocumentBuf>,)>(args);

    let untyped = Args::from_raw(args);
    if is_checked {
        args_there_and_back(args, &untyped.expect("what was checked can be decoded"));
    }
}

fn there_and_back<E: NetEvent>(args: RawArgs<'_>, is_checked: bool) {
    let decoded = decode_event::<E>(args, E::SHAPE.kind);
    if !is_checked {
        return;
    }
    let Ok(event) = decoded else { return };
    let mut once = Vec::new();
    if let Err(error) = encode_event(&event, E::SHAPE.kind, &mut once) {
        assert!(may_fail(&error, args), "{}: {error}", E::KEY);
        return;
    }
    assert_eq!(check_document(&once), Ok(()), "{}", E::KEY);
    let args = RawArgs::from_payload(&once).expect("what was encoded has a payload");
    assert!(E::SHAPE.kind == ShapeKind::Unit || !args.is_empty());
    let again: E = decode_event(args, E::SHAPE.kind)
        .unwrap_or_else(|error| panic!("{}: {error} in {once:02x?}", E::KEY));
    let mut twice = Vec::new();
    encode_event(&again, E::SHAPE.kind, &mut twice).expect("it was encoded before");
    assert_eq!(once, twice, "{}", E::KEY);
}

/// What can be decoded and still not be sent.
fn may_fail(error: &EncodeError, args: RawArgs<'_>) -> bool {
    match error.kind() {
        // A double can hold an integer that BSON has no integer for.
        EncodeErrorKind::IntegerTooLarge(_) => true,
        // A payload that is not an array becomes the only element of one, one level deeper.
        EncodeErrorKind::TooDeep => args.parts().0 != ARRAY,
        _ => false,
    }
}

fn args_there_and_back(raw: RawArgs<'_>, args: &Args) {
    assert_eq!(args.len(), raw.len());
    let mut once = Vec::new();
    if let Err(error) = args.encode_args(&mut once) {
        assert!(may_fail(&error, raw), "{error}");
        return;
    }
    assert_eq!(check_document(&once), Ok(()));
    let again = RawArgs::from_payload(&once).expect("what was encoded has a payload");
    let again = Args::from_raw(again).expect("what was encoded can be decoded");
    let mut twice = Vec::new();
    again
        .encode_args(&mut twice)
        .expect("it was encoded before");
    assert_eq!(once, twice);
}
