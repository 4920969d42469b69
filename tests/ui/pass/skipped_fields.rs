//! A field without a name that is neither sent nor read is no argument, and a transparent type is what is inside.

use std::marker::PhantomData;

use eventcast::{NetEvent, ShapeKind};
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct Temp<U>(f64, #[serde(skip)] PhantomData<U>);

#[derive(NetEvent, Serialize, Deserialize)]
struct Middle(u8, #[serde(skip_serializing, skip_deserializing)] u8, u8);

#[derive(NetEvent, Serialize, Deserialize)]
#[serde(transparent)]
struct Wrapped(Vec<u8>, #[serde(skip)] u8);

fn main() {
    assert_eq!(Temp::<u8>::SHAPE.kind, ShapeKind::Tuple(1));
    assert_eq!(Middle::SHAPE.kind, ShapeKind::Tuple(2));
    assert_eq!(Wrapped::SHAPE.kind, ShapeKind::Newtype);
    let _ = (Temp(0.5, PhantomData::<u8>), Middle(1, 2, 3).1, Wrapped(vec![], 0).1);
}
