//! Values that cannot be sent, and the text of the error.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

use super::*;

fn message<T: Serialize>(value: &T) -> String {
    refused(value, ShapeKind::Newtype).to_string()
}

#[test]
fn numbers_that_bson_does_not_have() {
    #[derive(Serialize)]
    struct Outer<T> {
        #[serde(flatten)]
        inner: Inner<T>,
    }
    #[derive(Serialize)]
    struct Inner<T> {
        n: T,
    }
    for large in [1_u64 << 63, u64::MAX] {
        let error = refused(&Inner { n: large }, ShapeKind::Named);
        assert_eq!(error.path(), "n");
        assert_eq!(*error.kind(), EncodeErrorKind::IntegerTooLarge(large));
        assert!(error.to_string().contains(&large.to_string()), "{error}");
        let error = refused(
            &Outer {
                inner: Inner { n: large },
            },
            ShapeKind::Named,
        );
        assert_eq!(*error.kind(), EncodeErrorKind::IntegerTooLarge(large));
        assert_eq!(error.path(), "n");
    }
    assert_eq!(
        message(&5_i128),
        "BSON has no i128; send an i64, a string or a Decimal128"
    );
    assert!(message(&5_u128).contains("u128"));
}

#[test]
fn map_keys_that_are_no_strings() {
    #[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Id(String);
    #[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Hash)]
    enum Colour {
        Red,
    }
    // These come back.
    let by_id = BTreeMap::from([(Id("k".into()), 2_u8)]);
    assert_eq!(round_trip(&by_id, ShapeKind::Newtype), by_id);
    let by_colour = HashMap::from([(Colour::Red, 1_u8)]);
    assert_eq!(round_trip(&by_colour, ShapeKind::Newtype), by_colour);
    // The form for people is a string.
    let by_address = HashMap::from([("127.0.0.1".parse::<IpAddr>().unwrap(), 1_u8)]);
    assert_eq!(round_trip(&by_address, ShapeKind::Newtype), by_address);
    let by_uuid = BTreeMap::from([(uuid::Uuid::from_bytes([7; 16]), 1_u8)]);
    assert_eq!(round_trip(&by_uuid, ShapeKind::Newtype), by_uuid);

    let refused = [
        message(&HashMap::from([((1_u8, 2_u8), 1)])),
        message(&BTreeMap::from([(Some("k"), 1)])),
        message(&BTreeMap::from([((), 1)])),
        message(&BTreeMap::from([([1_u8], 1)])),
    ];
    for message in refused {
        assert!(
            message.contains("map key must have one text form"),
            "{message}"
        );
        assert!(message.contains("a list of pairs"), "{message}");
    }

    #[derive(Serialize)]
    struct Named {
        by_pair: BTreeMap<(i64, i64), u8>,
    }
    let by_pair = BTreeMap::from([((1, 1), 1)]);
    let error = super::refused(&Named { by_pair }, ShapeKind::Named);
    assert_eq!(error.path(), "by_pair");
}

#[test]
fn map_keys_with_one_text_form() {
    #[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone, Copy)]
    struct Wrapped(i64);
    fn comes_back<K>(keys: impl IntoIterator<Item = K>)
    where
        K: Serialize + DeserializeOwned + Ord + Clone + std::fmt::Debug,
    {
        let map: BTreeMap<K, u8> = keys.into_iter().zip(0..).collect();
        assert_eq!(round_trip(&map, ShapeKind::Newtype), map);
    }
    comes_back([0, 7, u32::MAX]);
    comes_back([i8::MIN, 0, i8::MAX]);
    comes_back([i64::MIN, -1, i64::MAX]);
    comes_back([0, u64::MAX]);
    comes_back([i128::MIN, i128::MAX]);
    comes_back([0, u128::MAX]);
    comes_back([false, true]);
    comes_back([Wrapped(i64::MIN), Wrapped(7)]);
    comes_back(['x', '7']);
    let map = to_bson(&BTreeMap::from([(7_u32, true)])).unwrap();
    assert_eq!(map, bson::bson!({ "7": true }));

    // One text alone is a number's, so that no two are one key.
    for (text, fits) in [
        ("7", true),
        ("07", false),
        ("+7", false),
        ("7.0", false),
        (" 7", false),
        ("-0", false),
        ("256", false),
        ("", false),
    ] {
        let args = crate::args![bson::doc! { text: 1 }];
        let read = args.decode::<HashMap<u8, u8>>();
        assert_eq!(read.is_ok(), fits, "{text:?}: {read:?}");
        if let Err(error) = read {
            assert!(error.to_string().contains("u8"), "{error}");
        }
    }
    assert!(
        crate::args![bson::doc! { "True": 1 }]
            .decode::<HashMap<bool, u8>>()
            .is_err()
    );
}

#[test]
fn keys_that_bson_cannot_write() {
    let error = refused(&BTreeMap::from([("a\0b", 1)]), ShapeKind::Newtype);
    assert_eq!(*error.kind(), EncodeErrorKind::ZeroInKey);
    let mut bytes = Vec::new();
    let document = bson::doc! { "outer": { "a\0b": 1 } };
    let error = document.encode_args(&mut bytes).unwrap_err();
    assert_eq!(error.path(), "outer");
    assert!(bson::Bson::from(document).encode_args(&mut bytes).is_err());
    assert!(bytes.is_empty());
}

#[test]
fn a_key_twice_in_one_value() {
    #[derive(Serialize)]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let error = refused(
        &Outer {
            a: 1,
            rest: [("a".into(), 2)].into(),
        },
        ShapeKind::Named,
    );
    assert_eq!(*error.kind(), EncodeErrorKind::DuplicateKey("a".into()));

    #[derive(Serialize)]
    struct Renamed {
        a: u8,
        #[serde(rename = "a")]
        b: u8,
    }
    let error = refused(&Renamed { a: 1, b: 2 }, ShapeKind::Named);
    assert_eq!(*error.kind(), EncodeErrorKind::DuplicateKey("a".into()));

    // Many keys, all different.
    let map: BTreeMap<String, u32> = (0..5000).map(|i| (i.to_string(), i)).collect();
    assert_eq!(round_trip(&map, ShapeKind::Newtype), map);
}

#[test]
fn a_tuple_struct_must_be_a_sequence_of_its_fields() {
    #[derive(Serialize)]
    struct Skips(u8, #[serde(skip)] u8);
    let _ = Skips(1, 2).1;
    let error = refused(&Skips(1, 2), ShapeKind::Tuple(2));
    assert_eq!(
        error.to_string(),
        "a tuple struct with 2 fields must serialize as a sequence of 2, not as a sequence of 1; \
         remove the serde attribute that changes it, or give the fields names"
    );

    #[derive(Serialize, Clone)]
    #[serde(into = "String")]
    struct AsText(u8, u8);
    impl From<AsText> for String {
        fn from(value: AsText) -> Self {
            format!("{}/{}", value.0, value.1)
        }
    }
    let error = refused(&AsText(1, 2), ShapeKind::Tuple(2));
    assert!(error.to_string().contains("not as a string"), "{error}");
    assert!(
        refused(&vec![1, 2, 3], ShapeKind::Tuple(2))
            .to_string()
            .contains("3")
    );
}

#[test]
fn depth_is_limited() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Tree(Vec<Self>);
    let tree = |depth: usize| (1..depth).fold(Tree(vec![]), |inner, _| Tree(vec![inner]));
    // The payload document and the array of arguments are levels as well.
    let deepest = tree(MAX_DEPTH - 2);
    assert_eq!(round_trip(&deepest, ShapeKind::Newtype), deepest);
    for depth in [MAX_DEPTH - 1, 200, 5000] {
        assert_eq!(
            *refused(&tree(depth), ShapeKind::Newtype).kind(),
            EncodeErrorKind::TooDeep
        );
    }
    let bson = |depth: usize| {
        (1..depth).fold(bson::Bson::Array(vec![]), |inner, _| {
            bson::Bson::Array(vec![inner])
        })
    };
    let mut bytes = Vec::new();
    assert!(bson(MAX_DEPTH - 2).encode_args(&mut bytes).is_ok());
    let args = Args::from_raw(RawArgs::from_payload(&bytes).unwrap()).unwrap();
    assert_eq!(args[0], bson(MAX_DEPTH - 2));
    assert!(bson(MAX_DEPTH - 1).encode_args(&mut bytes).is_err());
}

#[test]
fn nesting_without_documents_is_limited_as_well() {
    #[derive(Serialize, Deserialize, Debug)]
    struct List(Option<Box<Self>>);
    let mut list = List(None);
    for _ in 0..100_000 {
        list = List(Some(Box::new(list)));
    }
    assert_eq!(
        *refused(&list, ShapeKind::Newtype).kind(),
        EncodeErrorKind::TooDeep
    );
    // Dropping it by recursion would overflow the test's stack.
    while let Some(next) = list.0.take() {
        list = *next;
    }

    struct Again;
    impl Serialize for Again {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_some(&Self)
        }
    }
    assert_eq!(
        *refused(&Again, ShapeKind::Newtype).kind(),
        EncodeErrorKind::TooDeep
    );
}

#[test]
fn a_serialize_that_goes_on_after_an_error() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            let _ = map.serialize_entry("large", &u64::MAX);
            map.serialize_entry("small", &1)?;
            map.end()
        }
    }
    assert!(message(&Stubborn).contains("went on"));

    struct Backwards;
    impl Serialize for Backwards {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_value(&1)?;
            map.end()
        }
    }
    assert_eq!(message(&Backwards), "a value without a key");

    struct Unfinished;
    impl Serialize for Unfinished {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_key("k")?;
            map.end()
        }
    }
    assert_eq!(message(&Unfinished), "a key without a value");
}

#[test]
fn a_struct_with_the_name_of_a_bson_type() {
    struct Fake<'a>(&'static str, &'a [&'static str]);
    impl Serialize for Fake<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct(self.0, self.1.len())?;
            for field in self.1 {
                fields.serialize_field(field, "zz")?;
            }
            fields.end()
        }
    }
    let names = [
        "$oid",
        "$date",
        "$binary",
        "$timestamp",
        "$code",
        "$codeWithScope",
        "$symbol",
        "$regularExpression",
        "$dbPointer",
        "$numberDecimal",
    ];
    for name in names {
        let error = refused(&Fake(name, &[]), ShapeKind::Newtype);
        assert!(
            matches!(error.kind(), EncodeErrorKind::NotTheType(_)),
            "{name}: {error}"
        );
        let error = refused(&Fake(name, &["other"]), ShapeKind::Newtype);
        assert!(
            matches!(error.kind(), EncodeErrorKind::NotTheType(_)),
            "{name}: {error}"
        );
        assert!(encode_event(&Fake(name, &[name, name]), ShapeKind::Newtype, &mut vec![]).is_err());
    }
    for fields in [
        &["$scope"][..],
        &["$code"],
        &["$code", "$code"],
        &["$scope", "$code"],
    ] {
        refused(&Fake("$codeWithScope", fields), ShapeKind::Newtype);
    }
    refused(
        &Fake("$regularExpression", &["pattern"]),
        ShapeKind::Newtype,
    );
    refused(&Fake("$binary", &["subType"]), ShapeKind::Newtype);
    // A name of one's own that begins like theirs is a document.
    assert_eq!(
        args_of(&Fake("$mine", &["a"]), ShapeKind::Newtype),
        args![bson::doc! { "a": "zz" }]
    );
}

#[test]
fn raw_documents_that_are_malformed_or_too_deep() {
    use bson::{RawDocumentBuf, rawdoc};
    // The crate looks at the length and the last zero alone.
    let twice = rawdoc! { "a": 1, "b": 2 };
    let mut bytes = twice.into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'b').unwrap();
    bytes[at] = b'a';
    let malformed = RawDocumentBuf::from_bytes(bytes).unwrap();
    assert_eq!(
        *refused(&malformed, ShapeKind::Newtype).kind(),
        EncodeErrorKind::Malformed(Malformed::DuplicateKey)
    );
    let deep = |depth: usize| (1..depth).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner });
    encoded(&deep(MAX_DEPTH - 2), ShapeKind::Newtype);
    for depth in [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1] {
        let error = refused(&deep(depth), ShapeKind::Newtype);
        assert_eq!(*error.kind(), EncodeErrorKind::TooDeep, "{depth}");
    }
}
