use std::cell::Cell;

use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct Counter {
    v: Cell<u8>,
}

fn main() {}
