//! The type has a mistake; that it is used as an event is none.

use eventcast::{NetEvent, TypeName};
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(nmae = "x")]
struct Plain;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "{U}")]
struct Generic<T: Clone = u8>
where
    T: Ord,
{
    v: T,
}

fn emit<E: NetEvent>(_: &E) {}

fn name<T: TypeName>() {}

fn main() {
    emit(&Plain);
    emit(&Generic { v: 5 });
    name::<Option<Plain>>();
    name::<Generic>();
}
