//! Every way in which serde can represent a type, times every type that has a form of its own for
//! people, or that a serializer knows by a private name: each is refused by `emit`, or decodes as
//! the same.
//!
//! serde holds a value in a buffer of its own where a representation needs it (`untagged`,
//! `flatten`, an internal tag), and reads the form for people from there.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Debug,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawArrayBuf, RawBson,
    RawDocumentBuf, Regex, Timestamp, doc, rawdoc,
};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::{super::readable::VARIANT, *};

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Named<T> {
    value: T,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Newtype<T>(T);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Tuple<T>(T, u8);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum External<T> {
    Newtype(T),
    Tuple(u8, T),
    Struct { value: T },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "t")]
enum Internal<T> {
    Struct { value: T },
    Newtype(Named<T>),
    Enum(External<T>),
    Unit,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "t")]
enum InternalAround<T> {
    Only(T),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "t", content = "c")]
enum Adjacent<T> {
    Newtype(T),
    Tuple(u8, T),
    Struct { value: T },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
enum Untagged<T> {
    Struct { value: T },
    Tuple(T, u8),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
enum UntaggedAround<T> {
    Only(T),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Flattened<T> {
    before: u8,
    #[serde(flatten)]
    inner: Named<T>,
    after: u8,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct FlattenedTag<T> {
    before: u8,
    #[serde(flatten)]
    inner: External<T>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct FlattenedAround<T> {
    before: u8,
    #[serde(flatten)]
    inner: T,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct FlattenedMap<T> {
    #[serde(flatten)]
    inner: BTreeMap<String, T>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(transparent)]
struct Transparent<T> {
    value: T,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(
    from = "Named<T>",
    into = "Named<T>",
    bound = "T: Clone + Serialize + for<'a> Deserialize<'a>"
)]
struct FromInto<T>(T);

impl<T> From<Named<T>> for FromInto<T> {
    fn from(named: Named<T>) -> Self {
        Self(named.value)
    }
}

impl<T> From<FromInto<T>> for Named<T> {
    fn from(this: FromInto<T>) -> Self {
        Self { value: this.0 }
    }
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(bound = "T: Serialize + for<'a> Deserialize<'a>")]
struct Skipping<T> {
    #[serde(skip)]
    skipped: u8,
    value: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maybe: Option<T>,
    #[serde(default)]
    defaulted: Option<T>,
    #[serde(rename = "another name", alias = "z")]
    renamed: T,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct SkippingTuple<T>(#[serde(skip)] u8, T, #[serde(skip)] u8);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct With<T> {
    #[serde(with = "forward", bound = "T: Serialize + for<'a> Deserialize<'a>")]
    value: T,
}

mod forward {
    use super::*;

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

/// Writes [`Sample`], the types of which are given.
macro_rules! samples {
    ($($kind:ident($sampled:ty)),+ $(,)?) => {
        /// A value of any of these types, which reads and writes as that value does. The
        /// representations are compiled for this one type, instead of for each of them.
        #[derive(Clone, Debug, PartialEq)]
        enum Sample {
            $($kind($sampled)),+
        }

        /// Which of them is read.
        #[derive(Clone, Copy)]
        enum Kind {
            $($kind),+
        }

        impl Sample {
            fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind),+
                }
            }
        }

        impl Serialize for Sample {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(value) => value.serialize(serializer)),+
                }
            }
        }

        impl<'de> Deserialize<'de> for Sample {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match KIND.get() {
                    $(Kind::$kind => <$sampled>::deserialize(deserializer).map(Self::$kind)),+
                }
            }
        }

        $(impl From<$sampled> for Sample {
            fn from(value: $sampled) -> Self {
                Self::$kind(value)
            }
        })+
    };
}

samples! {
    V4(Ipv4Addr), V6(Ipv6Addr), Ip(IpAddr), Socket(SocketAddr), Uuid(uuid::Uuid), Form(Form),
    At(time::OffsetDateTime), Day(time::Date), Clock(time::Time), Span(time::Duration),
    Duration(Duration), SystemTime(SystemTime), String(String), Char(char), U64(u64), Array(Seed), Bytes(ByteBuf),
    Pair((u8, String)), Map(BTreeMap<String, Vec<Ipv4Addr>>),
    ObjectId(ObjectId), DateTime(DateTime), Decimal(Decimal128), Binary(Binary), BsonUuid(bson::Uuid),
    Timestamp(Timestamp), Regex(Regex), Code(JavaScriptCodeWithScope), Document(Document),
    Bson(Bson), Raw(RawBson), U128(u128), I128(i128), Json(Json),
}

thread_local! {
    static KIND: Cell<Kind> = const { Cell::new(Kind::V4) };
}

/// What became of a value in a representation.
#[derive(Default)]
struct Outcome {
    /// The representations in which it was refused.
    refused: Vec<&'static str>,
}

impl Outcome {
    fn of<V>(&mut self, name: &'static str, shape: ShapeKind, value: &V)
    where
        V: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let mut bytes = Vec::new();
        if encode_readable_event(value, shape, &mut bytes).is_err() {
            self.refused.push(name);
            return;
        }
        assert_eq!(check_document(&bytes), Ok(()), "{name}: {value:?}");
        match decoded::<V>(&bytes, shape) {
            Ok(back) => assert_eq!(back, *value, "{name}"),
            Err(error) => {
                let args = Args::from_raw(RawArgs::from_payload(&bytes).unwrap()).unwrap();
                panic!("{name}: {value:?} was sent as {args:?}, which nobody can read: {error}")
            }
        }
    }
}

/// Tries a value in every representation, and notes in which it was refused.
fn everywhere(value: &(impl Clone + Into<Sample>)) -> Vec<&'static str> {
    let value: Sample = value.clone().into();
    KIND.set(value.kind());
    VARIANT.set(value.kind() as u64 + 1);
    let refused = everywhere_as_set(&value);
    VARIANT.set(0);
    refused
}

fn everywhere_as_set(value: &Sample) -> Vec<&'static str> {
    let one = ShapeKind::Newtype;
    let mut outcome = Outcome::default();
    let v = || value.clone();
    let named = || Named { value: v() };
    outcome.of("named", ShapeKind::Named, &named());
    outcome.of("newtype", one, &Newtype(v()));
    outcome.of("tuple", ShapeKind::Tuple(2), &Tuple(v(), 1));
    outcome.of("option", one, &vec![Some(v()), None]);
    outcome.of("map", one, &BTreeMap::from([("k".to_owned(), v())]));
    for (name, variant) in [
        ("external newtype", External::Newtype(v())),
        ("external tuple", External::Tuple(1, v())),
        ("external struct", External::Struct { value: v() }),
    ] {
        outcome.of(name, ShapeKind::Enum, &variant);
        outcome.of(
            "internal enum",
            ShapeKind::Enum,
            &Internal::Enum(variant.clone()),
        );
        let flattened = FlattenedTag {
            before: 1,
            inner: variant,
        };
        outcome.of("flattened enum", ShapeKind::Named, &flattened);
    }
    for (name, variant) in [
        ("internal struct", Internal::Struct { value: v() }),
        ("internal newtype", Internal::Newtype(named())),
        ("internal unit", Internal::Unit),
    ] {
        outcome.of(name, ShapeKind::Enum, &variant);
    }
    outcome.of(
        "internal around",
        ShapeKind::Enum,
        &InternalAround::Only(v()),
    );
    for (name, variant) in [
        ("adjacent newtype", Adjacent::Newtype(v())),
        ("adjacent tuple", Adjacent::Tuple(1, v())),
        ("adjacent struct", Adjacent::Struct { value: v() }),
    ] {
        outcome.of(name, ShapeKind::Enum, &variant);
        outcome.of(
            "internal around adjacent",
            ShapeKind::Enum,
            &InternalAround::Only(Named { value: variant }),
        );
    }
    for (name, variant) in [
        ("untagged struct", Untagged::Struct { value: v() }),
        ("untagged tuple", Untagged::Tuple(v(), 1)),
    ] {
        outcome.of(name, ShapeKind::Enum, &variant);
        outcome.of(
            "internal around untagged",
            ShapeKind::Enum,
            &InternalAround::Only(Named { value: variant }),
        );
    }
    outcome.of(
        "untagged around",
        ShapeKind::Enum,
        &UntaggedAround::Only(v()),
    );
    let flattened = Flattened {
        before: 1,
        inner: named(),
        after: 2,
    };
    outcome.of("flattened", ShapeKind::Named, &flattened);
    outcome.of(
        "flattened around",
        ShapeKind::Named,
        &FlattenedAround {
            before: 1,
            inner: v(),
        },
    );
    let inner = BTreeMap::from([("k".to_owned(), v())]);
    outcome.of("flattened map", ShapeKind::Named, &FlattenedMap { inner });
    outcome.of("transparent", one, &Transparent { value: v() });
    outcome.of("from and into", one, &FromInto(v()));
    for maybe in [None, Some(v())] {
        let skipping = Skipping {
            skipped: 0,
            value: v(),
            defaulted: maybe.clone(),
            maybe,
            renamed: v(),
        };
        outcome.of("skipping", ShapeKind::Named, &skipping);
    }
    outcome.of(
        "skipping tuple",
        ShapeKind::Tuple(1),
        &SkippingTuple(0, v(), 0),
    );
    outcome.of("with", ShapeKind::Named, &With { value: v() });
    // Each within each of those that hold the value in a buffer.
    outcome.of(
        "buffers within buffers",
        ShapeKind::Named,
        &Flattened {
            before: 1,
            inner: Named {
                value: vec![UntaggedAround::Only(Internal::Struct {
                    value: Transparent { value: v() },
                })],
            },
            after: 2,
        },
    );
    outcome.refused.dedup();
    outcome.refused
}

/// Where a value that is no struct and no map has no place.
const AROUND: [&str; 2] = ["internal around", "flattened around"];

/// Where serde reads from the bytes, and from no buffer of its own.
const DIRECT: [&str; 12] = [
    "named",
    "newtype",
    "tuple",
    "option",
    "map",
    "external newtype",
    "external tuple",
    "external struct",
    "transparent",
    "from and into",
    "skipping",
    "with",
];

/// The bytes that a value is built from.
type Seed = [u8; 32];

fn number(seed: &Seed) -> u64 {
    u64::from_le_bytes(seed[..8].try_into().unwrap())
}

fn ipv6(seed: &Seed) -> Ipv6Addr {
    Ipv6Addr::from(<[u8; 16]>::try_from(&seed[8..24]).unwrap())
}

fn decimal(seed: &Seed) -> Decimal128 {
    format!("{}E{}", number(seed) as i64, seed[9] as i8)
        .parse()
        .unwrap()
}

fn binary(seed: &Seed) -> Binary {
    Binary {
        subtype: BinarySubtype::from(seed[9]),
        bytes: seed[..usize::from(seed[8] % 32)].to_vec(),
    }
}

fn text(seed: &Seed) -> String {
    String::from_utf8_lossy(&seed[..usize::from(seed[8] % 32)]).replace('\0', "0")
}

/// A type that notes in which form it was written, and reads no other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Form;

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readable = serializer.is_human_readable();
        if readable {
            (readable, 1).serialize(serializer)
        } else {
            serializer.serialize_i32(2)
        }
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            <(bool, u8)>::deserialize(deserializer)?;
        } else {
            i32::deserialize(deserializer)?;
        }
        Ok(Self)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn types_with_a_form_for_people(seed in any::<Seed>()) {
        let v4 = Ipv4Addr::from(number(&seed) as u32);
        let v6 = ipv6(&seed);
        let port = seed[8].into();
        prop_assert_eq!(everywhere(&v4), AROUND);
        prop_assert_eq!(everywhere(&v6), AROUND);
        prop_assert_eq!(everywhere(&IpAddr::V4(v4)), AROUND);
        prop_assert_eq!(everywhere(&IpAddr::V6(v6)), AROUND);
        prop_assert_eq!(everywhere(&SocketAddr::from((v4, port))), AROUND);
        prop_assert_eq!(everywhere(&SocketAddr::from((v6, port))), AROUND);
        let uuid = uuid::Uuid::from_bytes(seed[..16].try_into().unwrap());
        prop_assert_eq!(everywhere(&uuid), AROUND);
        prop_assert_eq!(everywhere(&Form), AROUND);
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(number(&seed).into()).unwrap();
        prop_assert_eq!(everywhere(&at), AROUND);
        prop_assert_eq!(everywhere(&at.date()), AROUND);
        prop_assert_eq!(everywhere(&at.time()), AROUND);
        prop_assert_eq!(everywhere(&time::Duration::nanoseconds(number(&seed) as i64)), AROUND);
    }

    #[test]
    fn types_of_the_standard_library(seed in any::<Seed>()) {
        let nothing: [&str; 0] = [];
        let duration = Duration::new(number(&seed) >> 2, u32::from(seed[8]));
        prop_assert_eq!(everywhere(&duration), nothing);
        let time = SystemTime::UNIX_EPOCH + Duration::new(number(&seed) >> 8, 5);
        prop_assert_eq!(everywhere(&time), nothing);
        prop_assert_eq!(everywhere(&text(&seed)), AROUND);
        prop_assert_eq!(everywhere(&'ü'), AROUND);
        prop_assert_eq!(everywhere(&(number(&seed) >> 1)), AROUND);
        prop_assert_eq!(everywhere(&seed), AROUND);
        prop_assert_eq!(everywhere(&ByteBuf::from(&seed[..usize::from(seed[8] % 32)])), AROUND);
        prop_assert_eq!(everywhere(&(seed[0], text(&seed))), AROUND);
        prop_assert_eq!(everywhere(&BTreeMap::from([(text(&seed), v4s(&seed))])), nothing);
    }

    #[test]
    fn types_of_the_bson_crate(seed in any::<Seed>()) {
        let nothing: [&str; 0] = [];
        let id = ObjectId::from_bytes(seed[..12].try_into().unwrap());
        let date = DateTime::from_millis(number(&seed) as i64);
        prop_assert_eq!(everywhere(&id), ["internal around"]);
        prop_assert_eq!(everywhere(&date), ["internal around"]);
        prop_assert_eq!(everywhere(&decimal(&seed)), ["internal around"]);
        prop_assert_eq!(everywhere(&binary(&seed)).len() / 3, 0);
        prop_assert_eq!(everywhere(&bson::Uuid::from_bytes(seed[..16].try_into().unwrap())), AROUND);
        let timestamp = Timestamp { time: number(&seed) as u32, increment: seed[9].into() };
        prop_assert_eq!(everywhere(&timestamp), ["internal around"]);
        let regex = Regex {
            pattern: text(&seed).try_into().unwrap(),
            options: "im".to_owned().try_into().unwrap(),
        };
        prop_assert_eq!(everywhere(&regex), ["internal around"]);
        let code = JavaScriptCodeWithScope { code: text(&seed), scope: doc! { "id": id } };
        prop_assert_eq!(everywhere(&code), ["internal around"]);
        let document = doc! { "a": text(&seed), "id": id, "date": date, "list": [binary(&seed), 1_i64 << 40] };
        prop_assert_eq!(everywhere(&document), nothing);
    }

    #[test]
    fn any_bson(seed in any::<Seed>()) {
        let values = [
            Bson::Double(0.5),
            Bson::String(text(&seed)),
            Bson::Array(vec![Bson::Int64(1 << 40), Bson::Null, Bson::Binary(binary(&seed))]),
            Bson::Document(doc! { "a": 1_i64 << 40, "d": decimal(&seed) }),
            Bson::Boolean(true),
            Bson::RegularExpression(Regex {
                pattern: text(&seed).try_into().unwrap(),
                options: String::new().try_into().unwrap(),
            }),
            Bson::JavaScriptCode(text(&seed)),
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: text(&seed), scope: doc! { "x": 1_i64 << 40 } }),
            Bson::Int32(number(&seed) as i32),
            Bson::Int64(i64::MAX - i64::from(seed[0])),
            Bson::Timestamp(Timestamp { time: 1, increment: seed[0].into() }),
            Bson::Binary(binary(&seed)),
            Bson::ObjectId(ObjectId::from_bytes(seed[..12].try_into().unwrap())),
            Bson::DateTime(DateTime::from_millis(number(&seed) as i64)),
            Bson::Symbol(text(&seed)),
            Bson::Decimal128(decimal(&seed)),
            Bson::Undefined,
            Bson::MaxKey,
            Bson::MinKey,
        ];
        for value in &values {
            let refused = everywhere(value);
            prop_assert!(refused.iter().all(|name| AROUND.contains(name)), "{:?}: {:?}", value, refused);
        }
    }

    #[test]
    fn raw_types_of_the_bson_crate(seed in any::<Seed>()) {
        let document: RawDocumentBuf = rawdoc! {
            "a": text(&seed),
            "n": 1_i64 << 40,
            "id": ObjectId::from_bytes(seed[..12].try_into().unwrap()),
            "binary": RawBson::Binary(binary(&seed)),
            "inner": { "x": [1_i64 << 40, { "d": RawBson::Decimal128(decimal(&seed)) }] },
        };
        let mut array = RawArrayBuf::new();
        array.push(document.clone());
        array.push(RawBson::Binary(binary(&seed)));
        // A date, and a binary with a subtype, are read from a buffer by the other types alone.
        let only_direct: RawDocumentBuf = rawdoc! { "date": DateTime::from_millis(seed[0].into()) };
        for value in [
            RawBson::Document(document),
            RawBson::Array(array),
            RawBson::Document(only_direct),
            RawBson::Int64(1 << 40),
        ] {
            let refused = everywhere(&value);
            for direct in DIRECT {
                prop_assert!(!refused.contains(&direct), "{:?}: {:?}", value, refused);
            }
        }
    }

    #[test]
    fn what_bson_has_no_place_for_is_refused_everywhere(seed in any::<Seed>()) {
        let everything = everywhere(&u128::from(number(&seed)));
        prop_assert!(everything.len() > 25, "{:?}", everything);
        prop_assert_eq!(everywhere(&(-i128::from(number(&seed)))), everything);
    }
}

fn v4s(seed: &Seed) -> Vec<Ipv4Addr> {
    seed[..usize::from(seed[9] % 8)]
        .iter()
        .map(|&byte| Ipv4Addr::new(byte, 0, 0, 1))
        .collect()
}

#[derive(Serialize, Deserialize, Debug, Clone)]
#[serde(transparent)]
struct Json(Box<serde_json::value::RawValue>);

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

#[test]
fn json_as_text_is_refused_everywhere() {
    let json = Json(serde_json::value::to_raw_value(&[1, 2]).unwrap());
    let everything = everywhere(&json);
    for representation in DIRECT.iter().chain(&AROUND) {
        assert!(
            everything.contains(representation),
            "{representation}: {everything:?}"
        );
    }
    let error = refused(&Named { value: json }, ShapeKind::Named);
    assert_eq!(error.path(), "value");
    assert_eq!(*error.kind(), EncodeErrorKind::RawJson);
    assert!(error.to_string().contains("`serde_json::Value`"), "{error}");
}

#[test]
fn a_tag_is_no_part_of_a_bson_type() {
    for value in [Bson::MinKey, Bson::MaxKey, Bson::Undefined] {
        let error = refused(&InternalAround::Only(value), ShapeKind::Enum);
        assert!(
            matches!(error.kind(), EncodeErrorKind::NotTheType(_)),
            "{error}"
        );
    }
}

#[test]
fn a_unit_struct_that_stands_for_something_is_refused() {
    #[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
    #[serde(from = "String", into = "String")]
    struct Word;
    impl From<String> for Word {
        fn from(_: String) -> Self {
            Self
        }
    }
    impl From<Word> for String {
        fn from(_: Word) -> Self {
            "word".into()
        }
    }
    let error = refused(&Word, ShapeKind::Unit);
    assert_eq!(*error.kind(), EncodeErrorKind::NotAUnit("a string"));
    assert_eq!(round_trip(&Word, ShapeKind::Newtype), Word);
}

#[test]
fn bytes_of_a_uuid_are_read_as_well_as_its_text() {
    let id = uuid::Uuid::from_bytes([9; 16]);
    assert_eq!(args_of(&id, ShapeKind::Newtype), args![id.to_string()]);
    let binary = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.as_bytes().to_vec(),
    };
    assert_eq!(from_arg::<uuid::Uuid>(binary), Ok(id));
}

#[test]
fn a_decimal_keeps_every_bit_where_its_type_is_seen() {
    // A NaN with a payload, which has no text of its own.
    let mut bytes = [0x5A; 16];
    bytes[15] = 0x7C;
    let nan = Decimal128::from_bytes(bytes);
    assert_eq!(
        round_trip(&Named { value: nan }, ShapeKind::Named).value,
        nan
    );
    let flattened = Flattened {
        before: 1,
        inner: Named {
            value: Bson::Decimal128(nan),
        },
        after: 2,
    };
    assert_eq!(round_trip(&flattened, ShapeKind::Named), flattened);
}

#[track_caller]
fn unreadable<T: Serialize + DeserializeOwned>(value: &T, shape: ShapeKind) -> EncodeError {
    let mut bytes = b"before".to_vec();
    // As often as it is tried.
    for _ in 0..2 {
        let error = encode_readable_event(value, shape, &mut bytes).unwrap_err();
        assert!(
            matches!(error.kind(), EncodeErrorKind::Unreadable(_)),
            "{error}"
        );
        assert_eq!(bytes, b"before");
    }
    encode_readable_event(value, shape, &mut bytes).unwrap_err()
}

#[track_caller]
fn readable<T: Serialize + DeserializeOwned>(value: &T, shape: ShapeKind) {
    encode_readable_event(value, shape, &mut Vec::new()).unwrap();
}

#[test]
fn what_the_type_itself_cannot_read_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Forgets {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
    }
    readable(&Forgets { list: vec![1] }, ShapeKind::Named);
    let error = unreadable(&Forgets { list: vec![] }, ShapeKind::Named);
    assert_eq!(
        error.to_string(),
        "the type cannot read what it serializes to, so no listener could either (field \"list\": missing); look at \
         its serde attributes: a field that is not always sent needs `default`, and names and forms must be the same \
         both ways"
    );

    #[derive(Serialize, Deserialize)]
    struct Inner(
        u8,
        #[serde(skip_serializing_if = "Option::is_none")] Option<u8>,
    );
    readable(
        &Named {
            value: Inner(1, Some(2)),
        },
        ShapeKind::Named,
    );
    unreadable(
        &Named {
            value: Inner(1, None),
        },
        ShapeKind::Named,
    );
    readable(&vec![Inner(1, Some(2))], ShapeKind::Newtype);
    unreadable(&vec![Inner(1, Some(2)), Inner(1, None)], ShapeKind::Newtype);

    #[derive(Serialize, Deserialize)]
    struct OtherName {
        #[serde(rename(serialize = "out", deserialize = "in"))]
        value: u8,
    }
    unreadable(&OtherName { value: 1 }, ShapeKind::Named);

    #[derive(Serialize, Deserialize)]
    enum OneWay {
        Both,
        #[serde(skip_deserializing)]
        Out,
    }
    readable(&OneWay::Both, ShapeKind::Enum);
    unreadable(&OneWay::Out, ShapeKind::Enum);

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Lost {
        #[serde(skip_deserializing)]
        Out(u8),
        In(String),
    }
    unreadable(
        &Named {
            value: Lost::Out(1),
        },
        ShapeKind::Named,
    );
    readable(
        &Named {
            value: Lost::In("x".into()),
        },
        ShapeKind::Named,
    );
}

#[test]
fn a_panic_in_a_type_that_is_tried_does_not_reach_the_sender() {
    struct Bomb;
    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit_variant("Bomb", 0, "Bomb of a test")
        }
    }
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a bomb, which a test expects");
        }
    }
    readable(&Bomb, ShapeKind::Newtype);
}
