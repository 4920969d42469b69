//! The argument mapping, the forms of serde's types, and numbers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use bson::{Bson, doc};
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Ping;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Said(String);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Count(u32);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Moved(f64, f64);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Pair(u8, String);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Joined {
    user: u64,
    name: String,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone, Copy)]
enum Cmd {
    Stop,
    Go(u8),
    Both(u8, i8),
    At { x: i8 },
}

#[test]
fn the_shape_decides_the_arguments() {
    assert_eq!(args_of(&Ping, ShapeKind::Unit), args![]);
    assert_eq!(args_of(&Said("hi".into()), ShapeKind::Newtype), args!["hi"]);
    assert_eq!(
        args_of(&Moved(1.0, 2.0), ShapeKind::Tuple(2)),
        args![1.0, 2.0]
    );
    let joined = Joined {
        user: 7,
        name: "Ada".into(),
    };
    assert_eq!(
        args_of(&joined, ShapeKind::Named),
        args![doc! { "user": 7, "name": "Ada" }]
    );
    assert_eq!(args_of(&Cmd::Stop, ShapeKind::Enum), args!["Stop"]);
    assert_eq!(
        args_of(&Cmd::Go(3), ShapeKind::Enum),
        args![doc! { "Go": 3 }]
    );
    assert_eq!(
        args_of(&Cmd::Both(3, -3), ShapeKind::Enum),
        args![doc! { "Both": [3, -3] }]
    );
    assert_eq!(
        args_of(&Cmd::At { x: -1 }, ShapeKind::Enum),
        args![doc! { "At": { "x": -1 } }]
    );
}

#[test]
fn the_bytes_are_what_the_bson_crate_writes() {
    let joined = Joined {
        user: 7,
        name: "Ada".into(),
    };
    let expected = doc! { "payload": [{ "user": 7, "name": "Ada" }] }
        .to_vec()
        .unwrap();
    assert_eq!(encoded(&joined, ShapeKind::Named), expected);
    assert_eq!(
        encoded(&Ping, ShapeKind::Unit),
        doc! { "payload": Vec::<Bson>::new() }.to_vec().unwrap()
    );
}

#[test]
fn every_shape_comes_back() {
    assert_eq!(round_trip(&Ping, ShapeKind::Unit), Ping);
    assert_eq!(round_trip(&Count(5), ShapeKind::Newtype), Count(5));
    assert_eq!(
        round_trip(&Pair(1, "x".into()), ShapeKind::Tuple(2)),
        Pair(1, "x".into())
    );
    let joined = Joined {
        user: 7,
        name: "Ada".into(),
    };
    assert_eq!(round_trip(&joined, ShapeKind::Named), joined);
    for cmd in [Cmd::Stop, Cmd::Go(1), Cmd::Both(1, -1), Cmd::At { x: -1 }] {
        assert_eq!(round_trip(&cmd, ShapeKind::Enum), cmd);
    }
}

#[test]
fn encoding_appends() {
    let mut bytes = b"before".to_vec();
    encode_event(&Count(1), ShapeKind::Newtype, &mut bytes).unwrap();
    assert_eq!(&bytes[..6], b"before");
    assert_eq!(check_document(&bytes[6..]), Ok(()));
}

#[test]
fn arrays_longer_than_their_first_names() {
    let numbers: Vec<u32> = (0..1234).collect();
    assert_eq!(round_trip(&numbers, ShapeKind::Newtype), numbers);
    let document = bson::Document::from_reader(&encoded(&numbers, ShapeKind::Newtype)[..]).unwrap();
    let expected = doc! { "payload": [(0..1234).collect::<Vec<i32>>()] };
    assert_eq!(document.to_vec().unwrap(), expected.to_vec().unwrap());
}

#[test]
fn serde_forms_come_back() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Forms {
        unit: (),
        unit_struct: Ping,
        newtype: Said,
        tuple: (i8, String, f32),
        array: [u16; 3],
        none: Option<u8>,
        some: Option<Vec<Option<u8>>>,
        char: char,
        map: BTreeMap<String, BTreeMap<char, i64>>,
        by_variant: HashMap<Cmd, u8>,
        set: BTreeSet<String>,
        nested: Vec<Vec<Cmd>>,
        boxed: Box<Option<Said>>,
        duration: Duration,
        address: IpAddr,
        result: Result<u8, String>,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        empty: BTreeMap<String, u8>,
    }
    let forms = Forms {
        unit: (),
        unit_struct: Ping,
        newtype: Said("a\0b ü €".into()),
        tuple: (-1, String::new(), 0.1),
        array: [1, 2, 3],
        none: None,
        some: Some(vec![Some(1), None]),
        char: '🦀',
        map: [("k".to_owned(), [('€', i64::MIN)].into())].into(),
        by_variant: [(Cmd::Stop, 1)].into(),
        set: ["a".to_owned(), "b".to_owned()].into(),
        nested: vec![vec![], vec![Cmd::Stop, Cmd::Go(1)]],
        boxed: Box::new(Some(Said("x".into()))),
        duration: Duration::new(5, 6),
        address: "127.0.0.1".parse().unwrap(),
        result: Err("no".into()),
        bytes: vec![0, 255],
        empty: BTreeMap::new(),
    };
    assert_eq!(round_trip(&forms, ShapeKind::Named), forms);
}

#[test]
fn serde_attributes_work() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Inner {
        n: u64,
        s: String,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(tag = "kind", rename_all = "camelCase")]
    enum Tagged {
        OneWay { x_pos: u8 },
        Other,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        Number(i64),
        Text(String),
        List(Vec<u8>),
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A(u8),
        B,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct All {
        #[serde(flatten)]
        inner: Inner,
        #[serde(rename = "type")]
        kind: Tagged,
        other: Tagged,
        untagged: Vec<Untagged>,
        adjacent: (Adjacent, Adjacent),
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        #[serde(flatten)]
        rest: BTreeMap<String, i64>,
    }
    let all = All {
        inner: Inner {
            n: i64::MAX as u64,
            s: "x".into(),
        },
        kind: Tagged::OneWay { x_pos: 1 },
        other: Tagged::Other,
        untagged: vec![
            Untagged::Number(1 << 40),
            Untagged::Text("t".into()),
            Untagged::List(vec![1, 2]),
        ],
        adjacent: (Adjacent::A(1), Adjacent::B),
        left_out: None,
        rest: [("extra".to_owned(), -5)].into(),
    };
    assert_eq!(round_trip(&all, ShapeKind::Named), all);
}

#[test]
fn surplus_arguments_are_ignored_and_missing_ones_are_not() {
    let three = event_of(&args![1.0, 2.0, "more"]);
    assert_eq!(decoded(&three, ShapeKind::Tuple(2)), Ok(Moved(1.0, 2.0)));
    assert_eq!(decoded(&three, ShapeKind::Unit), Ok(Ping));
    assert_eq!(
        decoded(&event_of(&args!["a", "b"]), ShapeKind::Newtype),
        Ok(Said("a".into()))
    );

    let one = decoded::<Moved>(&event_of(&args![1.0]), ShapeKind::Tuple(2)).unwrap_err();
    assert_eq!(
        one.to_string(),
        "expected tuple struct Moved with 2 elements, found 1 argument(s)"
    );
    let none = event_of(&args![]);
    let missing = |result: Result<(), DecodeError>| {
        matches!(
            result.unwrap_err().kind(),
            DecodeErrorKind::MissingArgument { found: 0, .. }
        )
    };
    assert!(missing(
        decoded::<Said>(&none, ShapeKind::Newtype).map(drop)
    ));
    assert!(missing(
        decoded::<Joined>(&none, ShapeKind::Named).map(drop)
    ));
    assert!(missing(decoded::<Cmd>(&none, ShapeKind::Enum).map(drop)));
    assert!(missing(
        decoded::<String>(&none, ShapeKind::Newtype).map(drop)
    ));
    assert!(missing(
        decoded::<Moved>(&none, ShapeKind::Tuple(2)).map(drop)
    ));
}

#[test]
fn defaults_make_up_for_missing_arguments_and_fields() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Tuple(u8, #[serde(default)] String, #[serde(default)] Option<u8>);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Newtype(#[serde(default)] String);
    #[derive(Serialize, Deserialize, Debug, PartialEq, Default)]
    #[serde(default)]
    struct Named {
        a: u8,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Fields {
        #[serde(default)]
        a: u8,
        b: Option<String>,
        c: u8,
    }
    let none = event_of(&args![]);
    assert_eq!(
        decoded(&event_of(&args![1]), ShapeKind::Tuple(3)),
        Ok(Tuple(1, String::new(), None))
    );
    assert_eq!(
        decoded(&none, ShapeKind::Newtype),
        Ok(Newtype(String::new()))
    );
    assert_eq!(decoded(&none, ShapeKind::Named), Ok(Named { a: 0 }));
    assert_eq!(
        from_arg(doc! { "c": 1 }),
        Ok(Fields {
            a: 0,
            b: None,
            c: 1
        })
    );
    let error = from_arg::<Fields>(doc! { "a": 1 }).unwrap_err();
    assert_eq!(error.to_string(), "field \"c\": missing");
}

#[test]
fn a_payload_that_is_no_array_is_one_argument() {
    let bytes = doc! { "payload": "hi" }.to_vec().unwrap();
    assert_eq!(decoded(&bytes, ShapeKind::Newtype), Ok(Said("hi".into())));
    let bytes = doc! { "payload": { "user": 1, "name": "x" } }
        .to_vec()
        .unwrap();
    let joined = Joined {
        user: 1,
        name: "x".into(),
    };
    assert_eq!(decoded(&bytes, ShapeKind::Named), Ok(joined));
    let bytes = doc! { "payload": 1.5 }.to_vec().unwrap();
    assert!(decoded::<Moved>(&bytes, ShapeKind::Tuple(2)).is_err());
}

#[test]
fn what_is_not_kept() {
    // Named in the module's documentation.
    assert_eq!(round_trip(&Some(None::<u8>), ShapeKind::Newtype), None);
    assert_eq!(
        round_trip(&Some(Some(5_u8)), ShapeKind::Newtype),
        Some(Some(5))
    );
    assert_eq!(round_trip(&None::<Option<u8>>, ShapeKind::Newtype), None);
    assert_eq!(round_trip(&Some(()), ShapeKind::Newtype), None);

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Inner {
        n: u64,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    assert_eq!(from_arg::<Inner>(doc! { "n": 5.0 }), Ok(Inner { n: 5 }));
    assert!(from_arg::<Outer>(doc! { "n": 5.0 }).is_err());
}

#[test]
fn bytes_come_from_binary_and_from_arrays() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Plain(Vec<u8>);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Advised(#[serde(with = "serde_bytes")] Vec<u8>);
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    let plain = encoded(&Plain(bytes.clone()), ShapeKind::Newtype);
    let advised = encoded(&Advised(bytes.clone()), ShapeKind::Newtype);
    assert!(plain.len() > 1_000_000, "{}", plain.len());
    assert!(advised.len() < 100_050, "{}", advised.len());
    for event in [plain, advised] {
        assert_eq!(
            decoded(&event, ShapeKind::Newtype),
            Ok(Plain(bytes.clone()))
        );
        assert_eq!(
            decoded(&event, ShapeKind::Newtype),
            Ok(Advised(bytes.clone()))
        );
    }
    let other_subtype = bson::Binary {
        subtype: bson::spec::BinarySubtype::UserDefined(0x90),
        bytes: vec![1, 2],
    };
    assert_eq!(from_arg(other_subtype.clone()), Ok(Advised(vec![1, 2])));
    assert_eq!(from_arg(other_subtype.clone()), Ok(Plain(vec![1, 2])));
    assert_eq!(from_arg(other_subtype.clone()), Ok([1_u8, 2]));
    assert!(from_arg::<[u8; 1]>(other_subtype).is_err());
}

#[test]
fn arrays_have_the_length_that_was_asked_for() {
    assert_eq!(from_arg([1, 2]), Ok([1_u8, 2]));
    assert_eq!(
        from_arg::<[u8; 2]>([1, 2, 3]).unwrap_err().to_string(),
        "expected an array of 2, found an array of 3"
    );
    assert!(from_arg::<(u8, u8)>([1]).is_err());
}

#[test]
fn enums_come_in_their_tagged_form_alone() {
    let message = |argument: Bson| from_arg::<Cmd>(argument).unwrap_err().to_string();
    assert_eq!(from_arg(doc! { "Stop": Bson::Null }), Ok(Cmd::Stop));
    assert_eq!(
        message("Jump".into()),
        "expected one of `Stop`, `Go`, `Both`, `At`, found variant \"Jump\""
    );
    assert_eq!(message(5.into()), "expected enum Cmd, found integer 5");
    assert!(message("Go".into()).contains("unit variant"));
    assert!(message(doc! { "Stop": 1 }.into()).starts_with("field \"Stop\": expected nothing"));
    assert!(message(doc! { "Stop": 1, "Go": 1 }.into()).contains("2 keys"));
    assert!(message(doc! {}.into()).contains("0 keys"));
    assert_eq!(
        message(doc! { "At": { "x": 300 } }.into()),
        "field \"At.x\": expected i8, found integer 300"
    );
    assert_eq!(
        message(doc! { "Both": [1, "x"] }.into()),
        "field \"Both[1]\": expected i8, found string \"x\""
    );
}

#[test]
fn errors_say_where() {
    #[derive(Deserialize, Debug)]
    struct Outer {
        #[expect(dead_code, reason = "only decoded")]
        users: Vec<Joined>,
    }
    let outer = doc! { "users": [{ "user": 1, "name": "a" }, { "user": 3.5, "name": "b" }] };
    let error = from_arg::<Outer>(outer).unwrap_err();
    assert_eq!(error.path(), "users[1].user");
    assert_eq!(
        error.to_string(),
        "field \"users[1].user\": expected u64, found double 3.5"
    );
    let error = decoded::<Moved>(&event_of(&args![1.0, "x"]), ShapeKind::Tuple(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "field \"[1]\": expected f64, found string \"x\""
    );

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[expect(dead_code, reason = "only decoded")]
        a: u8,
    }
    assert_eq!(
        from_arg::<Strict>(doc! { "a": 1, "b": 2 })
            .unwrap_err()
            .to_string(),
        "unknown field \"b\"; expected `a`"
    );
}

#[test]
fn what_an_error_shows_is_cut() {
    let long = "ü".repeat(1_000_000);
    let error = from_arg::<u8>(long.clone()).unwrap_err();
    assert!(error.to_string().len() < 500, "{}", error.to_string().len());
    let error = from_arg::<BTreeMap<String, u8>>(doc! { &long: "x" }).unwrap_err();
    assert!(error.to_string().len() < 500, "{}", error.to_string().len());
    let error = from_arg::<bson::oid::ObjectId>(doc! { "$oid": long }).unwrap_err();
    assert!(error.to_string().len() < 500, "{}", error.to_string().len());
}
