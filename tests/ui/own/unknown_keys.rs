use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(nmae = "x")]
struct Typo;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(rename = "x")]
struct AsInSerde;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(qos = 2)]
struct FarOff;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(Name = "x")]
struct Case;

// All mistakes of a type are told at once.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(krate = x, name = 5)]
struct Several {
    #[net_event(name = "x")]
    v: u8,
}

fn main() {}
