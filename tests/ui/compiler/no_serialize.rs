use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Deserialize)]
struct NoSerialize {
    v: u8,
}

#[derive(NetEvent, Serialize)]
struct NoDeserialize {
    v: u8,
}

fn main() {}
