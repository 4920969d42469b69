//! The key and the shape that the derive makes of each kind of declaration.

use std::{collections::HashMap, fmt::Debug, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{InvalidKey, NetEvent, Shape, ShapeKind, TypeName, event::check_key};

fn key<E: NetEvent>() -> &'static str {
    assert_eq!(check_key(E::KEY), Ok::<(), InvalidKey>(()));
    E::KEY
}

fn shape<E: NetEvent>() -> Shape {
    E::SHAPE
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Ping;

#[derive(NetEvent, Serialize, Deserialize)]
struct Said(String);

#[derive(NetEvent, Serialize, Deserialize)]
struct Moved(f64, f64);

#[derive(NetEvent, Serialize, Deserialize)]
struct Joined {
    user: u64,
    name: String,
}

#[derive(NetEvent, Serialize, Deserialize)]
enum State {
    Idle,
    Busy(u8),
    Gone { since: u64 },
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Nothing();

#[derive(NetEvent, Serialize, Deserialize)]
struct Hollow {}

#[test]
fn each_kind_of_declaration_has_its_key_and_shape() {
    let named = |text| Shape::new(ShapeKind::Named, text);
    assert_eq!(key::<Ping>(), "Ping");
    assert_eq!(shape::<Ping>(), Shape::new(ShapeKind::Unit, "unit"));
    assert_eq!(
        shape::<Said>(),
        Shape::new(ShapeKind::Newtype, "newtype(String)")
    );
    assert_eq!(
        shape::<Moved>(),
        Shape::new(ShapeKind::Tuple(2), "tuple(f64, f64)")
    );
    assert_eq!(
        shape::<Joined>(),
        named("struct { user: u64, name: String }")
    );
    assert_eq!(
        shape::<State>(),
        Shape::new(
            ShapeKind::Enum,
            "enum { Idle, Busy(u8), Gone { since: u64 } }"
        )
    );
    assert_eq!(
        shape::<Nothing>(),
        Shape::new(ShapeKind::Tuple(0), "tuple()")
    );
    assert_eq!(shape::<Hollow>(), named("struct {}"));
}

#[derive(NetEvent, Serialize, Deserialize)]
#[allow(non_camel_case_types, reason = "the raw name is what is tested")]
struct r#type {
    r#match: u8,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "order.placed")]
struct Order(u64);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "größe {{in}} \"mm\"")]
struct Size(u64);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = crate)]
#[net_event(name = r"raw\n")]
struct Raw(u64);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = "crate", name = "by string")]
struct ByString(u64);

#[test]
fn names_are_unraw_and_can_be_set() {
    assert_eq!(key::<r#type>(), "type");
    assert_eq!(shape::<r#type>().text, "struct { match: u8 }");
    assert_eq!(key::<Order>(), "order.placed");
    assert_eq!(key::<Size>(), "größe {in} \"mm\"");
    assert_eq!(key::<Raw>(), "raw\\n");
    assert_eq!(key::<ByString>(), "by string");
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Sample<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
struct Pair<A, B> {
    a: A,
    b: B,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Frame<const N: usize> {
    #[serde(with = "serde_bytes")]
    v: [u8; N],
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Marked<const B: bool, const C: char, const I: i8>;

type Index = u8;

#[derive(NetEvent, Serialize, Deserialize)]
struct Aliased<const I: Index>;

#[test]
fn parameters_stand_in_the_key_of_an_instance() {
    assert_eq!(key::<Sample<f64>>(), "Sample<f64>");
    assert_eq!(key::<Sample<u8>>(), "Sample<u8>");
    assert_eq!(key::<Pair<u8, Vec<String>>>(), "Pair<u8, Vec<String>>");
    assert_eq!(
        key::<Pair<HashMap<String, u8>, Box<[u8; 4]>>>(),
        "Pair<HashMap<String, u8>, Box<[u8; 4]>>"
    );
    assert_eq!(key::<Frame<4>>(), "Frame<4>");
    assert_eq!(key::<Marked<true, '\n', -7>>(), r"Marked<true, '\n', -7>");
    assert_eq!(key::<Aliased<9>>(), "Aliased<9>");
    assert_eq!(shape::<Pair<u8, u8>>().text, "struct { a: A, b: B }");
}

#[test]
fn events_are_parameters_by_their_own_key() {
    assert_eq!(
        key::<Sample<Pair<u8, Joined>>>(),
        "Sample<Pair<u8, Joined>>"
    );
    assert_eq!(key::<Sample<Order>>(), "Sample<order.placed>");
    assert_eq!(key::<Sample<Fixed<u8>>>(), "Sample<fixed>");
    assert_eq!(<Option<Frame<2>>>::NAME, "Option<Frame<2>>");
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{T}")]
struct Path<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "{N}x{T}{{{T}}}")]
struct Twice<T, const N: u8, U> {
    v: T,
    u: U,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fixed")]
struct Fixed<T>(T);

#[derive(Serialize, Deserialize)]
struct Nameless(u8);

#[test]
fn a_name_takes_in_the_parameters_that_it_mentions() {
    assert_eq!(key::<Path<f64>>(), "sample/f64");
    assert_eq!(key::<Twice<bool, 3, Nameless>>(), "3xbool{bool}");
    assert_eq!(key::<Fixed<u8>>(), "fixed");
    assert_eq!(key::<Fixed<Nameless>>(), "fixed");
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Bounded<T: Clone = u8>
where
    T: Debug,
{
    v: T,
}

#[derive(NetEvent, Serialize, Deserialize)]
enum Either<T> {
    A(T),
    B,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[serde(bound(
    serialize = "[u8; K]: Serialize",
    deserialize = "[u8; K]: Deserialize<'de>"
))]
struct Concrete<const K: usize> {
    v: [u8; K],
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Phantom<T> {
    v: u8,
    of: PhantomData<T>,
}

#[derive(NetEvent, Serialize, Deserialize)]
enum Tree<T> {
    Leaf(T),
    Node(Vec<Self>, Option<Box<Self>>),
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Skipped<T: Default> {
    v: u8,
    #[serde(skip)]
    _cache: T,
}

trait Unit {
    type Value;
}

#[derive(NetEvent)]
struct Metre;

impl Serialize for Metre {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Metre {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

impl Unit for Metre {
    type Value = f32;
}

#[derive(NetEvent, Serialize, Deserialize)]
#[serde(bound = "U::Value: Serialize + DeserializeOwned")]
struct Measured<U: Unit> {
    value: U::Value,
}

#[derive(Default)]
struct NotSerialize;

impl TypeName for NotSerialize {
    const NAME: &'static str = "NotSerialize";
}

#[test]
fn bounds_are_those_that_the_type_itself_has() {
    assert_eq!(key::<Bounded>(), "Bounded<u8>");
    assert_eq!(key::<Bounded<String>>(), "Bounded<String>");
    assert_eq!(key::<Either<u8>>(), "Either<u8>");
    assert_eq!(key::<Concrete<4>>(), "Concrete<4>");
    assert_eq!(key::<Frame<4000>>(), "Frame<4000>");
    assert_eq!(key::<Tree<u8>>(), "Tree<u8>");
    assert_eq!(key::<Measured<Metre>>(), "Measured<Metre>");

    // What serde skips need not be serde's.
    assert_eq!(key::<Skipped<NotSerialize>>(), "Skipped<NotSerialize>");
    assert_eq!(key::<Phantom<NotSerialize>>(), "Phantom<NotSerialize>");
}

/// A function for any event of a family compiles with the bounds that a person would think of.
#[test]
fn generic_code_can_name_generic_events() {
    fn of<T: TypeName + Serialize + DeserializeOwned + Send + Sync + 'static>() -> &'static str {
        key::<Sample<Either<T>>>()
    }
    assert_eq!(of::<u8>(), "Sample<Either<u8>>");
    assert_eq!(of::<String>(), "Sample<Either<String>>");
}

/// Types that are called like those of the prelude, and a module called like the crate.
mod shadowed {
    use crate::NetEvent as Event;

    mod eventcast {}
    mod core {}

    #[derive(Event, serde::Serialize, serde::Deserialize)]
    pub(super) struct Result;
    #[derive(Event, serde::Serialize, serde::Deserialize)]
    pub(super) struct Option(u8);
    #[derive(Event, serde::Serialize, serde::Deserialize)]
    pub(super) struct String<Vec>(Vec);
    #[derive(Event, serde::Serialize, serde::Deserialize)]
    pub(super) struct Vec<Text>(Text);
    #[allow(non_camel_case_types, reason = "the name is what is tested")]
    #[derive(Event, serde::Serialize, serde::Deserialize)]
    pub(super) struct str<Send>(Send);
}

#[test]
fn names_of_the_prelude_may_be_taken() {
    assert_eq!(key::<shadowed::Result>(), "Result");
    assert_eq!(key::<shadowed::Option>(), "Option");
    assert_eq!(key::<shadowed::String<u8>>(), "String<u8>");
    assert_eq!(key::<shadowed::Vec<u8>>(), "Vec<u8>");
    assert_eq!(key::<shadowed::str<u8>>(), "str<u8>");
}

/// Declarations that come from a `macro_rules`, whose parts are wrapped in invisible groups.
mod expanded {
    use super::*;

    macro_rules! event {
        ($type:ident, $name:literal, $inner:ty) => {
            #[derive(NetEvent, Serialize, Deserialize)]
            #[net_event(name = $name)]
            struct $type {
                v: Option<$inner>,
            }
        };
    }

    event!(Made, "made", Vec<u8>);

    #[test]
    fn macros_can_declare_events() {
        assert_eq!(key::<Made>(), "made");
        assert_eq!(shape::<Made>().text, "struct { v: Option<Vec<u8>> }");
    }
}
