use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = 5)]
struct Number;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = b"bytes")]
struct Bytes;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = concat!("a", "b"))]
struct Call;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "a" "b")]
struct Two;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name)]
struct Nothing;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = )]
struct Missing;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name("order.placed"))]
struct Called;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name: "order.placed")]
struct Colon;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name == "order.placed")]
struct Compared;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = 5)]
struct CrateNumber;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = "not a path")]
struct CrateText;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = "")]
struct CrateEmpty;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate)]
struct CrateAlone;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = Vec<u8>)]
struct CrateType;

fn main() {}
