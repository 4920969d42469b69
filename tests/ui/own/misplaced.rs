use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct Named {
    #[net_event(name = "x")]
    v: u8,
    #[net_event(skip)]
    w: u8,
    #[net_event]
    x: u8,
    #[net_event = "x"]
    y: u8,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Tuple(u8, #[net_event(name = "x")] u8);

#[derive(NetEvent, Serialize, Deserialize)]
enum Variants {
    #[net_event(name = "a")]
    A,
    B(#[net_event(crate = x)] u8),
    C {
        #[net_event(other)]
        v: u8,
    },
}

fn main() {}
